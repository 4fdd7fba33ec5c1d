//! Bytes from the network as text: in JSON strings and on terminals. What is not UTF-8 is written
//! as `\xNN` (two lower-case hexadecimal digits) and loses nothing: a backslash that would read as
//! the beginning of such an escape is itself written `\x5c`, so that replacing each `\xNN` by its
//! byte, from left to right, gives back what was on the wire ([`unescaped`]).

use std::borrow::Cow;
use std::fmt;

use http_trace_model::value::hex;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a quoted JSON string (RFC 8259 §7). Control characters (including C1 and DEL) and characters that
/// reorder text are escaped. Returns whether any byte had to be written as `\xNN`.
pub fn json_string(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let escaped = json_content(out, bytes);
    out.push(b'"');
    escaped
}

fn json_content(out: &mut Vec<u8>, mut bytes: &[u8]) -> bool {
    loop {
        let (plain, rest) = bytes.split_at(plain_prefix(bytes));
        out.extend_from_slice(plain);
        match rest {
            [] => return false,
            // Every entity tag contains two of them.
            [b'"', rest @ ..] => {
                out.extend_from_slice(b"\\\"");
                bytes = rest;
            }
            _ => return json_chunks(out, rest),
        }
    }
}

/// Appends bytes that need escapes other than quotes.
fn json_chunks(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let mut escaped = false;
    for chunk in bytes.utf8_chunks() {
        json_text(out, chunk.valid());
        for byte in chunk.invalid() {
            escaped = true;
            out.extend_from_slice(&[b'\\', b'\\', b'x', nibble(byte >> 4), nibble(byte & 15)]);
        }
    }
    escaped
}

fn json_text(out: &mut Vec<u8>, mut text: &str) {
    loop {
        let plain = plain_prefix(text.as_bytes());
        let (run, rest) = text.split_at(plain);
        out.extend_from_slice(run.as_bytes());
        let mut chars = rest.chars();
        let Some(c) = chars.next() else { return };
        text = chars.as_str();
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' if begins_escape(text.as_bytes()) => out.extend_from_slice(br"\\x5c"),
            '\\' => out.extend_from_slice(br"\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if is_unsafe(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(b"\\u");
                    for shift in [12, 8, 4, 0] {
                        out.push(nibble((*unit >> shift) as u8 & 15));
                    }
                }
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Converts bytes to the text that a reader of a [`json_string`] gets: UTF-8, with `\xNN` for other bytes.
pub fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && memchr::memchr(b'\\', bytes).is_none()
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 8);
    push_text(&mut out, bytes, String::push);
    Cow::Owned(out)
}

/// Bytes as text for a terminal: anything that could control it (C0, DEL, C1, characters that reorder, hide
/// or break lines) is written as the `\xNN` of its bytes, everything else unchanged.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::with_capacity(self.0.len());
        terminal(&mut out, self.0);
        f.pad(&out)
    }
}

/// Appends the text of [`Escaped`].
pub fn terminal(out: &mut String, bytes: &[u8]) {
    // The common case; a backslash may begin an escape.
    let plain = |b: &u8| matches!(b, b' '..=b'~') && *b != b'\\';
    if let Ok(text) = std::str::from_utf8(bytes)
        && bytes.iter().all(plain)
    {
        out.push_str(text);
        return;
    }
    push_text(out, bytes, push_safe);
}

/// Appends each character with `push`, and as escapes bytes that are not UTF-8 and backslashes that look like one.
fn push_text(out: &mut String, bytes: &[u8], push: impl Fn(&mut String, char)) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid().chars();
        while let Some(c) = rest.next() {
            match c {
                '\\' if begins_escape(rest.as_str().as_bytes()) => out.push_str("\\x5c"),
                c => push(out, c),
            }
        }
        for byte in chunk.invalid() {
            push_hex(out, *byte);
        }
    }
}

fn push_safe(out: &mut String, c: char) {
    match c {
        // All bytes of the character, so that no text of another meaning looks the same.
        c if is_unsafe(c) => {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).bytes();
            bytes.for_each(|byte| push_hex(out, byte));
        }
        c => out.push(c),
    }
}

/// Escapes everything that could control a terminal, like [`terminal`], except line ends. Existing escapes
/// stay as they are.
pub fn lines_for_terminal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(c),
            c => push_safe(&mut out, c),
        }
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    out.push_str("\\x");
    out.push(char::from(nibble(byte >> 4)));
    out.push(char::from(nibble(byte & 15)));
}

/// Characters that a terminal or viewer may act on: controls, bidirectional embeddings, overrides, isolates
/// and marks (UAX #9), line and paragraph separators, the byte order mark, tags.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Whether a backslash before `rest` would read as `\xNN`.
fn begins_escape(rest: &[u8]) -> bool {
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    matches!(rest, [b'x', high, low, ..] if digit(high) && digit(low))
}

fn nibble(value: u8) -> u8 {
    HEX[usize::from(value & 15)]
}

/// Number of leading bytes that need no escape in a JSON string. Checks many at a time: this takes most of
/// the time of writing a record.
fn plain_prefix(bytes: &[u8]) -> usize {
    if is_plain(bytes) {
        return bytes.len();
    }
    let plain = |b: &u8| matches!(b, 0x20..=0x7e) && *b != b'"' && *b != b'\\';
    bytes.iter().position(|b| !plain(b)).unwrap_or(bytes.len())
}

/// Whether no byte needs an escape. The last bytes may be checked twice.
fn is_plain(bytes: &[u8]) -> bool {
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    let eight = |bytes: &[u8; 8]| !has_special(u64::from_le_bytes(*bytes));
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (words, _) = bytes.as_chunks();
        return eight(last) && eight(first) && words.iter().skip(1).all(eight);
    }
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) => !has_special(half(first) | half(last) << 32),
        _ => {
            let mut word = [b' '; 8];
            for (to, from) in word.iter_mut().zip(bytes) {
                *to = *from;
            }
            eight(&word)
        }
    }
}

/// Whether any of eight bytes is below 0x20, above 0x7e, a quote or a backslash. (The classic
/// `(x − low) & !x & high` finds a zero byte; borrows affect only bytes above one that was found.)
fn has_special(word: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_in = |w: u64| w.wrapping_sub(LOW) & !w;
    let control = word.wrapping_sub(LOW * 0x20);
    let delete = zero_in(word ^ (LOW * 0x7f));
    let quote = zero_in(word ^ (LOW * 0x22));
    let backslash = zero_in(word ^ (LOW * 0x5c));
    (word | control | delete | quote | backslash) & HIGH != 0
}

/// Restores the original bytes from the decoded text of a [`json_string`], replacing each `\xNN` by its byte.
pub fn unescaped<T: AsRef<[u8]> + ?Sized>(text: &T) -> Cow<'_, [u8]> {
    let mut rest = text.as_ref();
    let mut out = Vec::new();
    while let Some(at) = memchr::memchr_iter(b'\\', rest).find(|at| begins_escape(&rest[at + 1..]))
    {
        out.extend_from_slice(&rest[..at]);
        out.extend(hex(&rest[at + 2..at + 4]));
        rest = &rest[at + 4..];
    }
    if out.is_empty() {
        return Cow::Borrowed(rest);
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        json_string(&mut out, bytes);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn json_strings() {
        for (bytes, expected) in [
            (&b"plain"[..], r#""plain""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\0\n\t\x1b\x7f", r#""\u0000\n\t\u001b\u007f""#),
            ("é–\u{85}\u{202e}".as_bytes(), "\"é–\\u0085\\u202e\""),
            ("a\u{e0041}".as_bytes(), r#""a\udb40\udc41""#),
            (b"caf\xe9 12345678", r#""caf\\xe9 12345678""#),
            (br"C:\x5c \xzz \xE9", r#""C:\\x5cx5c \\xzz \\xE9""#),
            (b"\\\xff", r#""\\\\xff""#),
            (b"", r#""""#),
        ] {
            assert_eq!(json(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn terminal_text() {
        for (bytes, expected) in [
            (&b"GET /a"[..], "GET /a"),
            (b"\x1b[31mred\x07\r\n", r"\x1b[31mred\x07\x0d\x0a"),
            ("\u{9b}31m\u{202e}é".as_bytes(), r"\xc2\x9b31m\xe2\x80\xaeé"),
            ("a\u{e0041}".as_bytes(), r"a\xf3\xa0\x81\x81"),
            (b"\x9b\xff", r"\x9b\xff"),
            (br"\x1b", r"\x5cx1b"),
            ("\u{2028}".as_bytes(), r"\xe2\x80\xa8"),
            (br"\u{2028} \xe2\x80\xa8", r"\u{2028} \x5cxe2\x5cx80\x5cxa8"),
        ] {
            let mut out = String::new();
            terminal(&mut out, bytes);
            assert_eq!(out, expected, "{bytes:?}");
        }
    }

    #[test]
    fn lines_of_our_own_for_a_terminal() {
        for (text, expected) in [
            ("reading a.pcap", "reading a.pcap"),
            ("reading \u{1b}[31m.pcap\nx", "reading \\x1b[31m.pcap\nx"),
            ("\u{202e}\r", r"\xe2\x80\xae\x0d"),
            (r"\x1b", r"\x1b"),
        ] {
            assert_eq!(lines_for_terminal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_byte_at_every_place_of_a_word() {
        for byte in 0..=255_u8 {
            for place in 0..8 {
                let mut word = [b'a'; 8];
                word[place] = byte;
                let special = !(0x20..=0x7e).contains(&byte) || byte == b'"' || byte == b'\\';
                assert_eq!(has_special(u64::from_le_bytes(word)), special, "{byte:#x} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"\\x5cff\"".to_vec())], 0..64)
        ) {
            let text = json(&bytes);
            let decoded: String = serde_json::from_str(&text).expect("valid JSON");
            prop_assert_eq!(unescaped(&decoded).into_owned(), bytes);
        }
    }
}
