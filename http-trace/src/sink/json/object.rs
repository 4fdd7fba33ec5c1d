//! The pieces that a JSON record is written of, appended to a buffer: no tree, no allocation.

use crate::text::json_string;

/// A comma unless this is the first in its object or array.
#[inline]
pub fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[') | None) {
        out.push(b',');
    }
}

/// A literal `,"name":`, whose comma goes when it is the first in its object.
#[inline(always)]
pub fn put_key(out: &mut Vec<u8>, literal: &'static str) {
    let literal = literal.as_bytes();
    let first = matches!(out.last(), Some(b'{') | None);
    out.extend_from_slice(if first { &literal[1..] } else { literal });
}

/// `"name":`; a literal of one piece, since keys are half of a record.
macro_rules! key {
    ($out:expr, $name:literal) => {
        $crate::sink::json::object::put_key($out, concat!(",\"", $name, "\":"))
    };
}

/// `"name":{`
macro_rules! open {
    ($out:expr, $name:literal) => {
        $crate::sink::json::object::put_key($out, concat!(",\"", $name, "\":{"))
    };
}

/// A value that needs no escape.
macro_rules! word {
    ($out:expr, $name:literal, $value:expr) => {{
        let value: &str = $value;
        $crate::sink::json::object::put_key($out, concat!(",\"", $name, "\":\""));
        $out.extend_from_slice(value.as_bytes());
        $out.push(b'"');
    }};
}

/// Bytes from the wire; whether some had to be written as `\xNN`.
macro_rules! text {
    ($out:expr, $name:literal, $value:expr) => {{
        $crate::sink::json::object::key!($out, $name);
        $crate::text::json_string($out, $value)
    }};
}

/// A number.
macro_rules! number {
    ($out:expr, $name:literal, $value:expr) => {{
        $crate::sink::json::object::key!($out, $name);
        $crate::sink::json::object::decimal($out, $value);
    }};
}

/// A time, RFC 3339.
macro_rules! time {
    ($out:expr, $name:literal, $ns:expr) => {{
        $crate::sink::json::object::put_key($out, concat!(",\"", $name, "\":\""));
        $out.extend_from_slice(&$crate::sink::time::rfc3339($ns));
        $out.push(b'"');
    }};
}

pub(super) use {key, number, open, text, time, word};

/// The values of an array, which need no escape, and its end.
pub fn words<'a>(out: &mut Vec<u8>, values: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for value in values {
        comma(out);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

/// Hexadecimal digits as a string, in lower case.
pub fn hex_string(out: &mut Vec<u8>, value: &[u8]) {
    let start = out.len();
    json_string(out, value);
    out[start..].make_ascii_lowercase();
}

/// Digits alone.
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `"version":"1.1"`
pub fn version(out: &mut Vec<u8>, minor: u8) {
    put_key(out, ",\"version\":\"1.");
    decimal(out, u64::from(minor));
    out.push(b'"');
}

/// Sixteen hexadecimal digits as a string.
pub fn hex16(out: &mut Vec<u8>, value: u64) {
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
