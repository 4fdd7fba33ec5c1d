//! Values of fields, and the description of a field without a record. Knows no table.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::head::Headers;

/// What a field holds, for the schema, for documentation and for reading it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An object that other fields are in.
    Object,
    /// Text from the wire; a byte that is not UTF-8 is `\xNN` in JSON.
    Text,
    /// Text that matches a regular expression.
    Pattern(&'static str),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Always this word.
    Constant(&'static str),
    /// One of these lists of words.
    Tags(&'static [&'static [&'static str]]),
    /// A whole number in this range; `u64::MAX` is no limit.
    Number(u64, u64),
    /// A TCP port.
    Port,
    /// `true` or `false`.
    Bool,
    /// An IPv4 or IPv6 address.
    Ip,
    /// RFC 3339 with nanoseconds, UTC.
    Time,
    /// Sixteen hexadecimal digits.
    Id,
    /// Texts, at least this many.
    Texts(u64),
    /// Some of these words, each once.
    Set(&'static [&'static str]),
    /// Names of flags, each once.
    Flags,
    /// Header fields of a request: name in lower case to values in the order they were sent.
    RequestHeaders,
    /// The same of a response.
    ResponseHeaders,
    /// Objects with these members: at least the first number of them, at most the second.
    Rows(&'static [About], u64, u64),
    /// How often each status code was seen; `none` for no response.
    StatusCounts,
    /// How many took how long, by the largest number of ms; `more` for what is beyond them.
    LatencyCounts,
}

impl Kind {
    /// Any whole number.
    pub const NUMBER: Kind = Kind::Number(0, u64::MAX);
    /// A status code.
    pub const STATUS: Kind = Kind::Number(100, 999);

    /// Whether values are numbers, so that rules compare them as such.
    pub const fn is_number(&self) -> bool {
        matches!(self, Kind::Number(..) | Kind::Port)
    }

    /// Whether values are addresses, so that rules compare them with networks.
    pub const fn is_ip(&self) -> bool {
        matches!(self, Kind::Ip)
    }
}

/// What is known of a field without a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name in our JSON, dots between objects.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Where its value comes from.
    pub source: &'static str,
    /// What it says; empty where the name says it all.
    pub meaning: &'static str,
    /// Whether it is there whenever the object is that it is in.
    pub always: bool,
    /// Whether a recorded event with another type of value here is refused.
    pub strict: bool,
    /// Whether it is the same in all events of a connection, so that writers may keep it.
    pub of_connection: bool,
    /// Whether it is there, and the same, in all records of a run.
    pub of_run: bool,
    /// The names under which rules may use it, the one that messages use first. None: rules may not.
    pub rules: &'static [&'static str],
}

impl About {
    /// An entry; `source` is where the value comes from, `meaning` what it says.
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

    /// It is there whenever its object is.
    #[must_use]
    pub const fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// The object it is in and its own name there.
    pub fn parts(&self) -> (&'static str, &'static str) {
        self.name.rsplit_once('.').unwrap_or(("", self.name))
    }
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Bytes of the wire, or a word of ours.
    Text(&'a [u8]),
    /// Bytes that had to be put together.
    Made(Vec<u8>),
    /// Bytes of the wire, to be shown in lower case.
    Lower(&'a [u8]),
    /// A number.
    Number(u64),
    /// Two numbers as text with a dot between them.
    Dotted(u64, u64),
    /// Yes or no.
    Bool(bool),
    /// An address.
    Ip(IpAddr),
    /// Unix ns.
    Time(u64),
    /// Unix ns, shown as seconds with six decimals.
    Seconds(u64),
    /// Sixteen hexadecimal digits.
    Id(u64),
    /// Words of ours.
    Words(&'a [&'static str]),
    /// Names.
    Names(&'a [Arc<str>]),
    /// Any values.
    List(Vec<Value<'a>>),
    /// An object: the values of the members of its [`Kind::Rows`], in their order.
    Row(&'static [About], Vec<Option<Value<'a>>>),
    /// Names and how often each was seen.
    Counts(Vec<(String, u64)>),
    /// Field lines of a head.
    Headers(&'a Headers),
    /// Field lines that had to be put together.
    MadeHeaders(Box<Headers>),
    /// An object that is there even if none of its members are.
    Open,
}

impl<'a> Value<'a> {
    /// A word of ours.
    pub const fn word(word: &'a str) -> Self {
        Value::Text(word.as_bytes())
    }

    /// The bytes of a text, if it is one.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) | Value::Lower(text) => Some(text),
            Value::Made(text) => Some(text),
            _ => None,
        }
    }

    /// Field lines.
    pub const fn headers(headers: &'a Headers) -> Self {
        Value::Headers(headers)
    }

    /// A number, if it is one.
    pub const fn number(&self) -> Option<u64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A port, if it is one.
    pub fn port(&self) -> Option<u16> {
        self.number()?.try_into().ok()
    }

    /// An address, if it is one.
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Value::Ip(ip) => Some(*ip),
            _ => None,
        }
    }

    /// A time in Unix ns, if it is one.
    pub const fn time(&self) -> Option<u64> {
        match self {
            Value::Time(ns) => Some(*ns),
            _ => None,
        }
    }

    /// The bytes of a text, copied if they are not its own.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Value::Made(text) => Some(text.into()),
            other => other.bytes().map(Bytes::copy_from_slice),
        }
    }

    /// The values of a list.
    pub fn into_list(self) -> Vec<Value<'a>> {
        match self {
            Value::List(values) => values,
            _ => Vec::new(),
        }
    }

    /// The texts of a list.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let values = match self {
            Value::List(values) => &values[..],
            _ => &[],
        };
        values.iter().filter_map(Value::bytes)
    }

    /// The field lines of a value that has some.
    pub fn into_headers(self) -> Headers {
        match self {
            Value::Headers(headers) => headers.clone(),
            Value::MadeHeaders(headers) => *headers,
            _ => Headers::default(),
        }
    }

    /// Hands out the value as text, as it is shown and compared with text; lists and objects as none.
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
                // The longest is an IPv4-mapped address in full, 45 bytes.
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

    /// Hands the value to `test`, or, of a list, each of its values until one passes; whether one did.
    pub fn any(self, test: &mut dyn FnMut(Value<'a>) -> bool) -> bool {
        match self {
            Value::Words(words) => words.iter().any(|word| test(Value::word(word))),
            Value::Names(names) => names.iter().any(|name| test(Value::word(name))),
            Value::List(values) => values.into_iter().any(|value| value.any(test)),
            value => test(value),
        }
    }
}
