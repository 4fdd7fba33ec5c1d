//! Decoded heads. Values are the wire's bytes; what a sink cannot print it escapes.

use bytes::Bytes;

use super::known::Known;

/// One field line (RFC 9112 §5): name in the case it was sent, value without surrounding blanks,
/// folded lines joined by one blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Field name as sent.
    pub name: Bytes,
    /// Field value, any bytes.
    pub value: Bytes,
    /// The name's number; see [`Header::new`].
    known: Known,
}

impl Header {
    /// A line; the name is not to be changed afterwards.
    pub fn new(name: Bytes, value: Bytes) -> Self {
        let known = Known::of(&name);
        Header { name, value, known }
    }

    /// The number of the name.
    pub const fn known(&self) -> Known {
        self.known
    }
}

/// Field lines in the order they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<Header>);

impl Headers {
    /// The values of a field, in order; names compare without case (RFC 9110 §5.1).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Bytes> {
        self.0
            .iter()
            .filter(move |h| h.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|h| &h.value)
    }

    /// The first value of a field.
    pub fn first<'a>(&'a self, name: &'a str) -> Option<&'a Bytes> {
        self.all(name).next()
    }

    /// The first value of a field whose name has this number.
    pub fn first_known(&self, name: Known) -> Option<&Bytes> {
        let line = self.0.iter().find(|line| line.known == name);
        line.map(|line| &line.value)
    }
}

/// A decoded request head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Method as sent.
    pub method: Bytes,
    /// Request target as sent (RFC 9112 §3.2), raw blanks included.
    pub target: Bytes,
    /// The digit after `HTTP/1.`; 0 where a malformed line has none.
    pub minor_version: u8,
    /// What stands for a version, as sent, where it is none of HTTP/1.x.
    pub version: Option<Bytes>,
    /// Field lines.
    pub headers: Headers,
    /// Length of the head on the wire, blank line included, in bytes.
    pub wire_len: u64,
}

/// A decoded response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The digit after `HTTP/1.`.
    pub minor_version: u8,
    /// Status code, 100–999.
    pub status: u16,
    /// Reason phrase, possibly empty.
    pub reason: Bytes,
    /// Field lines.
    pub headers: Headers,
    /// The declared Content-Length, when there is exactly one plain number (repeats of the same
    /// number count as one).
    pub content_length: Option<u64>,
    /// Length of the head on the wire, blank line included, in bytes.
    pub wire_len: u64,
    /// Time of its first byte, Unix ns.
    pub first_byte_ns: u64,
}
