//! Classifies a segment of an unknown connection by its first sixteen bytes.
//!
//! Does not decide what happens to the connection.

use super::state::Block;
use crate::start_line::{self, is_separator, is_token};

/// How an unknown connection's segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum First {
    /// Anything else.
    Other = 0,
    /// A strict status line.
    Status = 1,
    /// A method and SP: a request line may follow.
    Request = 2,
    /// A prefix of either that fills the segment, a single word, or something that may precede a
    /// message.
    Prefix = 3,
    /// A TLS ClientHello (RFC 8446 §5.1).
    Tls = 4,
    /// The HTTP/2 preface (RFC 9113 §3.4).
    Http2 = 5,
}

impl First {
    /// The variant with this number.
    #[inline(always)]
    pub const fn from_number(n: u32) -> Self {
        match n {
            1 => First::Status,
            2 => First::Request,
            3 => First::Prefix,
            4 => First::Tls,
            5 => First::Http2,
            _ => First::Other,
        }
    }
}

pub(super) const PEEK: u32 = 16;

/// Bytes that decide a status line.
const DECIDES: u32 = start_line::STATUS_LINE_DECIDES as u32;

/// Classifies a segment that begins with a token or a blank line and not with a complete status line.
/// The two little-endian words hold its first `len` bytes, at most sixteen. See [`super::segment::first_bytes`].
#[inline(always)]
pub fn classify(w0: u64, w1: u64, len: u32) -> First {
    let b0 = w0 as u8;
    if w0 == u64::from_le_bytes(*b"\r\n\r\n\0\r\nQ") {
        // PROXY protocol version 2: a message may follow.
        return First::Prefix;
    }
    if len >= 13 && w0 == u64::from_le_bytes(*b"PRI * HT") {
        let version_2 = w1 & 0xff_ffff_ffff == u64::from_le_bytes(*b"TP/2.\0\0\0");
        return if version_2 { First::Http2 } else { First::Other };
    }
    let byte = |i: u32| match i {
        0..8 => (w0 >> (8 * i)) as u8,
        _ => (w1 >> (8 * (i - 8))) as u8,
    };
    let mut i = 0;
    while i < PEEK && i < len {
        let b = byte(i);
        if b == b' ' && i > 0 {
            return First::Request;
        }
        if !is_token(b) {
            let ends_line = b == b'\r' || b == b'\n';
            if ends_line && b0.is_ascii_uppercase() {
                // A single word: a request only at the start of the client's stream.
                return First::Prefix;
            }
            if !ends_line || i >= 4 {
                break;
            }
        }
        i += 1;
    }
    if i == PEEK {
        // Sixteen token bytes: longer than all but one or two registered methods.
        return First::Request;
    }
    if i == len {
        return First::Prefix;
    }
    let passed_over = matches!(b0, b'\r' | b'\n' | b' ' | b'\t');
    if passed_over || (is_separator(byte(i)) && b0.is_ascii_uppercase()) {
        // Servers pass over empty lines and blanks before a request line, and may accept other whitespace than SP
        // in it.
        return First::Prefix;
    }
    // A prefix of a status line that fills the segment. Its first byte that is not a token character
    // is the slash of `HTTP/`.
    if i != 4 || !start_line::begins_with_http(w0) {
        return First::Other;
    }
    while i < DECIDES && i < len {
        if !start_line::status_byte(i as u8, byte(i)) {
            return First::Other;
        }
        i += 1;
    }
    if i == DECIDES { First::Status } else { First::Prefix }
}

#[inline(always)]
pub(super) fn first_words(block: &Block) -> [u64; 2] {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |w| u64::from_le_bytes(*w));
    [word(block.bytes.first_chunk()), word(block.bytes.get(8..16).and_then(<[u8]>::first_chunk))]
}
