//! The kind of a text, which determines where secrets in it begin and end. Finds none.

use http_trace_detect::{evidence, hits};

/// Header fields that are or contain URLs, and the bytes that end a URL there. Other fields are plain text.
const URL_HEADERS: &[(&str, Ends)] = &[
    ("location", Ends::NONE),
    ("content-location", Ends::NONE),
    ("destination", Ends::NONE),
    ("origin", Ends::NONE),
    ("referer", Ends::NONE),
    ("x-forwarded-uri", Ends::NONE),
    ("x-original-uri", Ends::NONE),
    ("x-original-url", Ends::NONE),
    ("x-rewrite-url", Ends::NONE),
    ("link", Ends(const { &Ends::table(b">") })),
    ("refresh", Ends(const { &Ends::table(b"'\"") })),
];

/// Header fields with an authority (RFC 9110 §4.2), possibly with invalid userinfo.
const AUTHORITY_HEADERS: &[&str] = &["host", "x-forwarded-host", "x-original-host"];

/// Which bytes end a URL, besides those that separate its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends(&'static [u8; 256]);

/// Flags of a byte in [`Ends`].
const END: u8 = 1;
const BEFORE_NAME: u8 = 1 << 1;
const EQUALS: u8 = 1 << 2;

impl Ends {
    const NONE: Ends = Ends(const { &Self::table(b"") });

    const fn table(ends: &[u8]) -> [u8; 256] {
        let mut table = [0; 256];
        let mut at = 0;
        while at < ends.len() {
            table[ends[at] as usize] = END;
            at += 1;
        }
        let mut at = 0;
        while at < b"?#&;".len() {
            table[b"?#&;"[at] as usize] |= BEFORE_NAME;
            at += 1;
        }
        table[b'=' as usize] |= EQUALS;
        table
    }

    pub(super) fn contains(self, byte: &u8) -> bool {
        self.0[usize::from(*byte)] & END != 0
    }

    /// Whether a URL ends here, or the name of a parameter may follow.
    pub(super) fn is_end_or_before_name(self, byte: &u8) -> bool {
        self.0[usize::from(*byte)] & (END | BEFORE_NAME) != 0
    }

    /// Whether the name of a parameter ends here, with or without a value.
    pub(super) fn is_end_of_name(self, byte: &u8) -> bool {
        self.0[usize::from(*byte)] != 0
    }
}

/// The kind of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context {
    /// Bytes that end a URL.
    pub ends: Ends,
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
        ends: Ends::NONE,
        authority: false,
        query: false,
        colons: false,
        cut: false,
        body: false,
        protocols: false,
    };
    pub const QUERY: Context = Context { query: true, ..Context::URL };
    pub const AUTHORITY: Context = Context { authority: true, ..Context::URL };
    pub const TEXT: Context =
        Context { ends: Ends(const { &Ends::table(b" \t\"'<>") }), colons: true, ..Context::URL };
    pub const BODY: Context = Context {
        ends: Ends(const { &Ends::table(b" \t\r\n\"'<>") }),
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
            return Context { ends: *ends, ..Context::URL };
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
