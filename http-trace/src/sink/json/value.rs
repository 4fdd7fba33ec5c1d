//! Appends values as JSON, without allocation for those in most records.

use std::io::Write as _;

use super::headers::{headers, pairs};
use crate::sink::choice::HeaderChoice;
use crate::sink::time::rfc3339;
use crate::text::json_string;
use http_trace_model::field::{About, Kind, Value};

/// Which header fields are written.
#[derive(Clone, Debug)]
pub struct Choices {
    pub response: HeaderChoice,
    pub request: HeaderChoice,
    /// As a list of objects with `name` and `value`.
    pub pairs: bool,
}

impl Choices {
    const fn of(&self, kind: Kind) -> &HeaderChoice {
        match kind {
            Kind::RequestHeaders => &self.request,
            _ => &self.response,
        }
    }
}

pub fn is_written(kind: Kind, choices: &Choices) -> bool {
    let is_headers = matches!(kind, Kind::RequestHeaders | Kind::ResponseHeaders);
    !is_headers || *choices.of(kind) != HeaderChoice::None
}

/// Appends a value. Returns whether any byte was written as `\xNN`.
pub fn append(out: &mut Vec<u8>, value: Value<'_>, kind: Kind, choices: &Choices) -> bool {
    match value {
        Value::Text(text) => return json_string(out, text),
        Value::Made(text) => return json_string(out, &text),
        Value::Lower(text) => return lower_string(out, text),
        Value::Number(number) => decimal(out, number),
        Value::Seconds(_) => value.with_text(|text| out.extend_from_slice(text)),
        Value::Dotted(major, minor) => {
            out.push(b'"');
            decimal(out, major);
            out.push(b'.');
            decimal(out, minor);
            out.push(b'"');
        }
        Value::Bool(yes) => out.extend_from_slice(if yes { b"true" } else { b"false" }),
        // Writing to a vector cannot fail.
        Value::Ip(ip) => drop(write!(out, "\"{ip}\"")),
        Value::Time(ns) => {
            out.push(b'"');
            out.extend_from_slice(&rfc3339(ns));
            out.push(b'"');
        }
        Value::Id(id) => hex16(out, id),
        Value::Words(words) => list(out, words, |out, word| json_string(out, word.as_bytes())),
        Value::Names(names) => list(out, names, |out, name| json_string(out, name.as_bytes())),
        Value::List(values) => {
            let mut escaped = false;
            list(out, values, |out, value| {
                escaped |= append(out, value, kind, choices);
            });
            return escaped;
        }
        Value::Row(abouts, values) => return row(out, abouts, values, choices),
        Value::Counts(counts) => {
            out.push(b'{');
            for (name, count) in counts {
                comma(out);
                json_string(out, name.as_bytes());
                out.push(b':');
                decimal(out, count);
            }
            out.push(b'}');
        }
        Value::Headers(lines) if choices.pairs => return pairs(out, lines, choices.of(kind)),
        Value::Headers(lines) => return headers(out, lines, choices.of(kind)),
        Value::MadeHeaders(lines) => return headers(out, &lines, choices.of(kind)),
        Value::Open => {}
    }
    false
}

fn list<T, U>(
    out: &mut Vec<u8>,
    values: impl IntoIterator<Item = T>,
    mut item: impl FnMut(&mut Vec<u8>, T) -> U,
) {
    out.push(b'[');
    for value in values {
        comma(out);
        item(out, value);
    }
    out.push(b']');
}

/// Appends an object in a list; its members are nested at most one level.
fn row(
    out: &mut Vec<u8>,
    abouts: &[About],
    values: Vec<Option<Value<'_>>>,
    choices: &Choices,
) -> bool {
    let (mut escaped, mut open) = (false, "");
    out.push(b'{');
    for (about, value) in abouts.iter().zip(values) {
        let Some(value) = value.filter(|_| is_written(about.kind, choices)) else {
            continue;
        };
        let (object, name) = about.parts();
        if object != open {
            if !open.is_empty() {
                out.push(b'}');
            }
            comma(out);
            let _ = write!(out, "\"{object}\":{{");
            open = object;
        }
        comma(out);
        let _ = write!(out, "\"{name}\":");
        escaped |= append(out, value, about.kind, choices);
    }
    out.extend_from_slice(if open.is_empty() { b"}" } else { b"}}" });
    escaped
}

/// A comma unless this is the first in its object or array.
#[inline]
pub fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[') | None) {
        out.push(b',');
    }
}

fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends sixteen hexadecimal digits as a string.
fn hex16(out: &mut Vec<u8>, value: u64) {
    let mut text = *b"\"0000000000000000\"";
    for (at, digit) in text[1..17].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(value >> (60 - 4 * at) & 15) as usize];
    }
    out.extend_from_slice(&text);
}

/// Bytes from the wire in lower case, as a string. Folded before they are escaped: `\X55` must not
/// turn into what reads as an escaped byte.
pub fn lower_string(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let mut short = [0; 64];
    match short.get_mut(..bytes.len()) {
        Some(short) => {
            short.copy_from_slice(bytes);
            short.make_ascii_lowercase();
            json_string(out, short)
        }
        None => json_string(out, &bytes.to_ascii_lowercase()),
    }
}
