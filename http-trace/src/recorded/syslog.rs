//! Removes the syslog header before a log line (RFC 3164 §4.1, RFC 5424 §6, and the file formats of rsyslog
//! and journald).

use super::parts::{time, utf8};

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The message after the header, if there is one.
pub(super) fn message(line: &[u8]) -> Option<&[u8]> {
    let line = match line.strip_prefix(b"<") {
        Some(rest) => {
            let (priority, rest) = cut(rest, b'>')?;
            let is_one = (1..=3).contains(&priority.len());
            (is_one && priority.iter().all(u8::is_ascii_digit)).then_some(rest)?
        }
        None => line,
    };
    match line.strip_prefix(b"1 ") {
        Some(rest) => structured(rest),
        None => traditional(line),
    }
}

/// Parses `TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA [MSG]`.
fn structured(text: &[u8]) -> Option<&[u8]> {
    let (when, mut rest) = cut(text, b' ')?;
    if when != b"-" {
        time(utf8(when)?)?;
    }
    for _ in 0..4 {
        rest = cut(rest, b' ')?.1;
    }
    rest = match rest.strip_prefix(b"-") {
        Some(rest) => rest,
        None => {
            while let Some(element) = rest.strip_prefix(b"[") {
                rest = after_element(element)?;
            }
            rest
        }
    };
    let message = rest.strip_prefix(b" ")?;
    Some(message.strip_prefix(super::BYTE_ORDER_MARK).unwrap_or(message))
}

/// Skips an element of structured data; quotes and brackets in its values are escaped.
fn after_element(text: &[u8]) -> Option<&[u8]> {
    let mut quoted = false;
    let mut at = 0;
    loop {
        match (text.get(at)?, quoted) {
            (b'\\', true) => at += 1,
            (b'"', _) => quoted = !quoted,
            (b']', false) => return text.get(at + 1..),
            _ => {}
        }
        at += 1;
    }
}

/// Parses `Nov 22 10:00:00 HOST TAG: MSG`, where the host may be absent and the time may be RFC 3339.
fn traditional(text: &[u8]) -> Option<&[u8]> {
    let rest = match text.first_chunk::<16>() {
        Some([a, b, c, b' ', day @ .., b' ']) if MONTHS.contains(&&[*a, *b, *c][..]) => {
            // Matches `22 10:00:00`.
            let as_time = |(at, byte): (usize, &u8)| match at {
                0 => *byte == b' ' || byte.is_ascii_digit(),
                2 => *byte == b' ',
                5 | 8 => *byte == b':',
                _ => byte.is_ascii_digit(),
            };
            day.iter().enumerate().all(as_time).then_some(&text[16..])?
        }
        _ => {
            let (when, rest) = cut(text, b' ')?;
            time(utf8(when)?)?;
            rest
        }
    };
    let (first, rest) = cut(rest, b' ')?;
    if first.ends_with(b":") {
        return Some(rest);
    }
    let (tag, rest) = cut(rest, b' ')?;
    tag.ends_with(b":").then_some(rest)
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let found = memchr::memchr(at, text)?;
    Some((&text[..found], &text[found + 1..]))
}
