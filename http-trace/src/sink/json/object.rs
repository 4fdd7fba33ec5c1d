//! The pieces that a JSON record is written of, appended to a buffer: no tree, no allocation.

use std::io::Write as _;
use std::net::IpAddr;

use crate::sink::text::json_string;
use crate::sink::time::rfc3339;

/// A comma unless this is the first in its object or array.
pub fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[') | None) {
        out.push(b',');
    }
}

/// `"name":`
pub fn key(out: &mut Vec<u8>, name: &str) {
    comma(out);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// `"name":{`
pub fn open(out: &mut Vec<u8>, name: &str) {
    key(out, name);
    out.push(b'{');
}

/// A value that needs no escape.
pub fn word(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// An array of values that need no escape.
pub fn words<'a>(out: &mut Vec<u8>, name: &str, values: impl Iterator<Item = &'a str>) {
    key(out, name);
    out.push(b'[');
    for value in values {
        comma(out);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

/// Bytes from the wire; returns whether some had to be written as `\xNN`.
pub fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) -> bool {
    key(out, name);
    json_string(out, value)
}

/// Hexadecimal digits, in lower case.
pub fn hex_text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    let start = out.len();
    json_string(out, value);
    out[start..].make_ascii_lowercase();
}

/// A number.
pub fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    decimal(out, value);
}

/// Digits alone.
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A time, RFC 3339.
pub fn time(out: &mut Vec<u8>, name: &str, ns: u64) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(&rfc3339(ns));
    out.push(b'"');
}

/// `"version":"1.1"`
pub fn version(out: &mut Vec<u8>, minor: u8) {
    key(out, "version");
    out.extend_from_slice(b"\"1.");
    decimal(out, u64::from(minor));
    out.push(b'"');
}

/// An address as text without allocation; 45 bytes are the longest there is.
#[derive(Debug)]
pub struct Address {
    bytes: [u8; 48],
    len: usize,
}

impl Address {
    /// Formats it.
    pub fn of(ip: IpAddr) -> Self {
        let mut bytes = [0; 48];
        let mut rest = &mut bytes[..];
        let _ = write!(rest, "{ip}");
        let len = 48 - rest.len();
        Address { bytes, len }
    }

    /// The text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}
