//! What a text is, and so where secrets in it begin and end. Finds none.

use http_trace_detect::{evidence, hits};

/// Fields that are a URL or hold some, and the bytes that end one there. Elsewhere text is around.
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

/// Fields that are an authority (RFC 9110 §4.2), perhaps with userinfo that has no place there.
const AUTHORITY_HEADERS: &[&str] = &["host", "x-forwarded-host", "x-original-host"];

/// What a text is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Bytes that end a URL.
    pub ends: &'static [u8],
    /// It begins with an authority: a target of CONNECT, Host.
    pub authority: bool,
    /// It begins with a parameter: a query without its `?`.
    pub query: bool,
    /// `name: value` counts, not only `name=value`. In a path a colon is nothing of the kind.
    pub colons: bool,
    /// It may be a text's beginning alone.
    pub cut: bool,
    /// It may hold markup and parts.
    pub body: bool,
    /// It is a list of subprotocols (RFC 6455 §11.3.4), in which browsers send tokens.
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
    pub const QUERY: Context = Context {
        query: true,
        ..Context::URL
    };
    pub const AUTHORITY: Context = Context {
        authority: true,
        ..Context::URL
    };
    pub const TEXT: Context = Context {
        ends: b" \t\"'<>",
        colons: true,
        ..Context::URL
    };
    pub const BODY: Context = Context {
        ends: b" \t\r\n\"'<>",
        query: true,
        colons: true,
        cut: true,
        body: true,
        ..Context::URL
    };

    /// Whether it is a URL, with a path.
    pub const fn is_url(&self) -> bool {
        !self.colons && !self.authority
    }

    /// Of a field's value.
    pub fn of_header(name: &[u8]) -> Context {
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        if let Some((_, ends)) = URL_HEADERS.iter().find(|(known, _)| is(known)) {
            return Context {
                ends,
                ..Context::URL
            };
        }
        match AUTHORITY_HEADERS.iter().any(|known| is(known)) {
            true => Context::AUTHORITY,
            false => Context {
                protocols: is("sec-websocket-protocol"),
                ..Context::TEXT
            },
        }
    }

    /// Of a request's target.
    pub fn of_target(method: &[u8]) -> Context {
        match method {
            b"CONNECT" => Context::AUTHORITY,
            _ => Context::URL,
        }
    }

    /// Of a text of which evidence, or a rule's hits, keep so many bytes at most.
    pub const fn kept(self, text: &[u8]) -> Context {
        Context {
            cut: text.len() == hits::TEXT || text.len() >= evidence::TEXT,
            ..self
        }
    }
}
