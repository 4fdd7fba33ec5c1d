//! The field table: one entry for each field of an event, a loss or an alert, with its type, its
//! meaning, where on the wire it comes from, how to get it, how to read it back from JSON, and the
//! names under which rules may use it. The JSON writer, the JSON Schema, the reader of our own JSON,
//! the rule fields and `docs/FIELDS.md` are made from it. Formats nothing and performs no I/O.
//!
//! # Layout
//! - [`event`] is the table of events, [`derived`] that of fields which only rules see, [`loss`] that
//!   of losses. Alerts have theirs beside the JSON writer, since they are made by detection.
//! - [`draft`] is an event while it is read back.
//!
//! To add a field: give it a member in [`HttpEvent`] and an entry in the table.

pub mod derived;
pub mod draft;
pub mod event;
pub mod loss;
mod own;

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::HttpEvent;
use crate::head::{Headers, RequestHead, ResponseHead};
use crate::target::Target;
use draft::Draft;

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
    /// The names under which rules may use it, the one that messages use first. None: rules may not.
    pub rules: &'static [&'static str],
}

/// Takes a field's value from a record.
pub type Get<R> = for<'v, 'a> fn(&'v View<'a, R>) -> Option<Value<'a>>;

/// Puts a value that was read back into an event.
pub type Read = fn(&mut Draft, Value<'static>);

/// An entry of a table.
#[derive(Debug)]
pub struct Field<R: 'static> {
    /// What is known of it without a record.
    pub about: About,
    /// Its value; `None` for objects that are there because of their members, and for fields that
    /// detection computes.
    pub get: Option<Get<R>>,
    /// How to read it back; `None` for what follows from other fields.
    pub read: Option<Read>,
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

impl<R> Field<R> {
    /// An entry without getter and reader.
    pub const fn new(about: About) -> Self {
        Field {
            about,
            get: None,
            read: None,
        }
    }

    /// How to take it from a record.
    #[must_use]
    pub const fn get(mut self, get: Get<R>) -> Self {
        self.get = Some(get);
        self
    }

    /// How to read it back.
    #[must_use]
    pub const fn read(mut self, read: Read) -> Self {
        self.read = Some(read);
        self
    }

    /// The names under which rules may use it, the one that messages use first.
    #[must_use]
    pub const fn rules(mut self, names: &'static [&'static str]) -> Self {
        self.about.rules = names;
        self
    }

    /// See [`About::always`].
    #[must_use]
    pub const fn always(mut self) -> Self {
        self.about.always = true;
        self
    }

    /// See [`About::strict`].
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.about.strict = true;
        self
    }

    /// See [`About::of_connection`].
    #[must_use]
    pub const fn of_connection(mut self) -> Self {
        self.about.of_connection = true;
        self
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
    /// Field lines.
    Headers(Cow<'a, Headers>),
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
        Value::Headers(Cow::Borrowed(headers))
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
            Value::Headers(headers) => headers.into_owned(),
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

/// A record with what its fields are taken from beside it.
#[derive(Debug)]
pub struct View<'a, R> {
    /// The record.
    pub record: &'a R,
    /// Of an event: its target, taken apart.
    pub target: Target<'a>,
    /// Of an event: the user of Basic authentication, if that was kept when secrets were redacted.
    pub user: Option<&'a [u8]>,
    /// Name of this host.
    pub hostname: &'a [u8],
    /// Whether text that was written before this field holds bytes that are not UTF-8.
    pub escaped: bool,
}

impl<'a, R> View<'a, R> {
    /// Of a record alone.
    pub const fn new(record: &'a R) -> Self {
        View {
            record,
            target: Target::NOTHING,
            user: None,
            hostname: b"",
            escaped: false,
        }
    }
}

impl<'a> View<'a, HttpEvent> {
    const fn request(&self) -> Option<&'a RequestHead> {
        self.record.request.as_ref()
    }

    const fn response(&self) -> Option<&'a ResponseHead> {
        self.record.response.as_ref()
    }
}

/// A field that rules may use. Two are equal if their names are.
#[derive(Clone, Copy, Debug)]
pub struct RuleField(&'static Field<HttpEvent>);

impl RuleField {
    /// The field of a name that rules use, in lower case.
    pub fn named(name: &str) -> Option<RuleField> {
        let mut fields = rule_fields();
        fields.find(|field| field.about().rules.contains(&name))
    }

    /// What is known of it without an event.
    pub const fn about(self) -> &'static About {
        &self.0.about
    }

    /// Its value; `None` also where detection computes it.
    pub fn of<'a>(self, view: &View<'a, HttpEvent>) -> Option<Value<'a>> {
        self.0.get?(view)
    }
}

impl PartialEq for RuleField {
    fn eq(&self, other: &Self) -> bool {
        self.about().name == other.about().name
    }
}

impl Eq for RuleField {}

impl std::hash::Hash for RuleField {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.about().name.hash(state);
    }
}

/// The fields that rules may use.
pub fn rule_fields() -> impl Iterator<Item = RuleField> {
    let all = event::EVENT.iter().copied().flatten();
    let all = all.chain(derived::DERIVED).map(RuleField);
    all.filter(|field| !field.about().rules.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let (mut names, mut rules) = (HashSet::new(), HashSet::new());
        for field in event::EVENT
            .iter()
            .copied()
            .flatten()
            .chain(derived::DERIVED)
        {
            assert!(names.insert(field.about.name), "{}", field.about.name);
            for name in field.about.rules {
                assert!(rules.insert(*name), "{name}");
                assert_eq!(
                    *name,
                    name.to_ascii_lowercase(),
                    "rules compare without case"
                );
            }
        }
    }
}
