//! Field values, and the description of a field independent of a record. Knows no table.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::head::Headers;

/// Type of a field, for the schema, the documentation and reading it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object with member fields.
    Object,
    /// Text from the wire; bytes that are not UTF-8 are `\xNN` in JSON.
    Text,
    /// Text that matches a regular expression.
    Pattern(&'static str),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Always this word.
    Constant(&'static str),
    /// One of these lists of words.
    Tags(&'static [&'static [&'static str]]),
    /// A whole number in this range; `u64::MAX` means no limit.
    Number(u64, u64),
    Port,
    /// `true` or `false`.
    Bool,
    /// An IPv4 or IPv6 address.
    Ip,
    /// RFC 3339 with nanoseconds, UTC.
    Time,
    /// Sixteen hexadecimal digits.
    Id,
    /// A list of texts, at least this many.
    Texts(u64),
    /// Some of these words, each once.
    Set(&'static [&'static str]),
    /// Names of flags, each once.
    Flags,
    /// Header fields of a request: lower-case name to values in the order sent.
    RequestHeaders,
    /// Header fields of a response, likewise.
    ResponseHeaders,
    /// Objects with these members: minimum and maximum number of objects.
    Rows(&'static [About], u64, u64),
    /// Number of responses per status code; `none` counts requests without a response.
    StatusCounts,
    /// Latency histogram: counts by upper bound in ms; `more` counts longer ones.
    LatencyCounts,
}

impl Kind {
    /// Any whole number.
    pub const NUMBER: Kind = Kind::Number(0, u64::MAX);
    pub const STATUS: Kind = Kind::Number(100, 999);

    /// Whether values are numbers, which rules compare numerically.
    pub const fn is_number(&self) -> bool {
        matches!(self, Kind::Number(..) | Kind::Port)
    }

    /// Whether values are addresses, which rules match against networks.
    pub const fn is_ip(&self) -> bool {
        matches!(self, Kind::Ip)
    }
}

/// Description of a field, independent of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Name in our JSON; dots separate objects.
    pub name: &'static str,
    pub kind: Kind,
    /// Where its value comes from.
    pub source: &'static str,
    /// Meaning; empty if the name is self-explanatory.
    pub meaning: &'static str,
    /// Whether it is present whenever its parent object is.
    pub always: bool,
    /// Whether a recorded event with a value of another type is rejected.
    pub strict: bool,
    /// Whether it is the same in all events of a connection, so that writers may cache it.
    pub of_connection: bool,
    /// Whether it is present, with the same value, in all records of a run.
    pub of_run: bool,
    /// Names in rules; messages use the first. Empty: not available to rules.
    pub rules: &'static [&'static str],
}

impl About {
    /// A description; `source` says where the value comes from.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        source: &'static str,
        meaning: &'static str,
    ) -> Self {
        About {
            name,
            kind,
            source,
            meaning,
            always: false,
            strict: false,
            of_connection: false,
            of_run: false,
            rules: &[],
        }
    }

    /// Marks it as present whenever its parent object is.
    pub const fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// Name of its parent object, and its own name there.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Bytes from the wire, or one of our words.
    Text(&'a [u8]),
    /// Bytes assembled for this value.
    Made(Vec<u8>),
    /// Bytes from the wire, shown in lower case.
    Lower(&'a [u8]),
    Number(u64),
    /// Two numbers shown with a dot between them.
    Dotted(u64, u64),
    Bool(bool),
    Ip(IpAddr),
    /// Time in Unix ns.
    Time(u64),
    /// Time in Unix ns, shown as seconds with six decimals.
    Seconds(u64),
    /// Sixteen hexadecimal digits.
    Id(u64),
    /// Some of our words.
    Words(&'a [&'static str]),
    Names(&'a [Arc<str>]),
    List(Vec<Value<'a>>),
    /// An object: values of the members of its [`Kind::Rows`], in the same order.
    Row(&'static [About], Vec<Option<Value<'a>>>),
    Counts(Vec<(String, u64)>),
    /// Field lines of a head.
    Headers(&'a Headers),
    /// Field lines assembled for this value.
    MadeHeaders(Box<Headers>),
    /// An object that is present even if it has no members.
    Open,
}

impl<'a> Value<'a> {
    pub const fn word(word: &'a str) -> Self {
        Value::Text(word.as_bytes())
    }

    /// The bytes, if it is text.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) | Value::Lower(text) => Some(text),
            Value::Made(text) => Some(text),
            _ => None,
        }
    }

    /// The field lines of a head.
    pub const fn headers(headers: &'a Headers) -> Self {
        Value::Headers(headers)
    }

    pub const fn number(&self) -> Option<u64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub fn port(&self) -> Option<u16> {
        self.number()?.try_into().ok()
    }

    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Value::Ip(ip) => Some(*ip),
            _ => None,
        }
    }

    /// The time in Unix ns, if it is one.
    pub const fn time(&self) -> Option<u64> {
        match self {
            Value::Time(ns) => Some(*ns),
            _ => None,
        }
    }

    /// The bytes, if it is text; copied if borrowed.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Value::Made(text) => Some(text.into()),
            other => other.bytes().map(Bytes::copy_from_slice),
        }
    }

    /// The values of a list; empty for other values.
    pub fn into_list(self) -> Vec<Value<'a>> {
        match self {
            Value::List(values) => values,
            _ => Vec::new(),
        }
    }

    /// The texts of a list; none for other values.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let values = match self {
            Value::List(values) => &values[..],
            _ => &[],
        };
        values.iter().filter_map(Value::bytes)
    }

    /// The field lines; empty for other values.
    pub fn into_headers(self) -> Headers {
        match self {
            Value::Headers(headers) => headers.clone(),
            Value::MadeHeaders(headers) => *headers,
            _ => Headers::default(),
        }
    }

    /// Calls `work` with the value as text, as shown and as compared with text. Lists and
    /// objects are empty text.
    pub fn with_text<T>(&self, work: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Value::Text(text) => work(text),
            Value::Made(text) => work(text),
            Value::Lower(text) => work(&text.to_ascii_lowercase()),
            Value::Number(n) | Value::Time(n) => work(itoa::Buffer::new().format(*n).as_bytes()),
            Value::Dotted(a, b) => work(format!("{a}.{b}").as_bytes()),
            Value::Seconds(ns) => {
                let (seconds, micros) = (ns / 1_000_000_000, ns / 1000 % 1_000_000);
                work(format!("{seconds}.{micros:06}").as_bytes())
            }
            Value::Id(id) => work(format!("{id:016x}").as_bytes()),
            Value::Ip(ip) => {
                // The longest text is an IPv4-mapped address in full, 45 bytes.
                let mut text = [0; 48];
                let mut rest = &mut text[..];
                let left = match write!(rest, "{ip}") {
                    Ok(()) => rest.len(),
                    Err(_) => text.len(),
                };
                work(&text[..text.len() - left])
            }
            Value::Bool(yes) => work(if *yes { b"true" } else { b"false" }),
            _ => work(b""),
        }
    }

    /// Whether `test` accepts the value, or any value of a list; stops at the first match.
    pub fn any(self, test: &mut dyn FnMut(Value<'a>) -> bool) -> bool {
        match self {
            Value::Words(words) => words.iter().any(|word| test(Value::word(word))),
            Value::Names(names) => names.iter().any(|name| test(Value::word(name))),
            Value::List(values) => values.into_iter().any(|value| value.any(test)),
            value => test(value),
        }
    }
}
