//! The kind of a text, which determines where secrets in it begin and end. Finds none.

use http_trace_detect::{evidence, hits};

/// Header fields that are or contain URLs, and the bytes that end a URL there. Other fields are plain text.
const URL_HEADERS: &[(&str, &[u8])] = &[
    ("location", b""),
    ("content-location", b""),
    ("destination", b""),
    ("origin", b""),
    ("referer", b""),
    ("x-forwarded-uri", b""),
    ("x-original-uri", b""),
    ("x-original-url", b""),
    ("x-rewrite-url", b""),
    ("link", b">"),
    ("refresh", b"'\""),
];

/// Header fields with an authority (RFC 9110 §4.2), possibly with invalid userinfo.
const AUTHORITY_HEADERS: &[&str] = &["host", "x-forwarded-host", "x-original-host"];

/// The kind of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Bytes that end a URL, besides those that separate its parts.
    pub ends: &'static [u8],
    /// Begins with an authority: a target of CONNECT, Host.
    pub authority: bool,
    /// Begins with a parameter: a query without its `?`.
    pub query: bool,
    /// Whether `name: value` is a pair, like `name=value`. Not in paths.
    pub colons: bool,
    /// May be truncated.
    pub cut: bool,
    /// May contain markup and multipart bodies.
    pub body: bool,
    /// A list of subprotocols (RFC 6455 §11.3.4), in which browsers send tokens.
    pub protocols: bool,
}

impl Context {
    pub const URL: Context = Context {
        ends: b"",
        authority: false,
        query: false,
        colons: false,
        cut: false,
        body: false,
        protocols: false,
    };
    pub const QUERY: Context = Context { query: true, ..Context::URL };
    pub const AUTHORITY: Context = Context { authority: true, ..Context::URL };
    pub const TEXT: Context = Context { ends: b" \t\"'<>", colons: true, ..Context::URL };
    pub const BODY: Context = Context {
        ends: b" \t\r\n\"'<>",
        query: true,
        colons: true,
        cut: true,
        body: true,
        ..Context::URL
    };

    /// Whether it is a URL with a path.
    pub const fn is_url(&self) -> bool {
        !self.colons && !self.authority
    }

    /// Whether it is that of header fields without a format of their own, [`Context::TEXT`].
    pub const fn is_text(&self) -> bool {
        self.colons && !self.protocols && !self.body
    }

    /// The context of a header field's value.
    pub fn of_header(name: &[u8]) -> Context {
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        if let Some((_, ends)) = URL_HEADERS.iter().find(|(known, _)| is(known)) {
            return Context { ends, ..Context::URL };
        }
        match AUTHORITY_HEADERS.iter().any(|known| is(known)) {
            true => Context::AUTHORITY,
            false => Context { protocols: is("sec-websocket-protocol"), ..Context::TEXT },
        }
    }

    pub fn of_target(method: &[u8]) -> Context {
        match method {
            b"CONNECT" => Context::AUTHORITY,
            _ => Context::URL,
        }
    }

    /// The context of a text that evidence or hits may have truncated to their maximum length, too.
    pub const fn kept(self, text: &[u8]) -> Context {
        let cut = self.cut || text.len() == hits::TEXT || text.len() >= evidence::TEXT;
        Context { cut, ..self }
    }
}
