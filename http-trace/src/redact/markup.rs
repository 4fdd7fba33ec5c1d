//! Secrets in bodies that do not directly follow their name: content of elements, and values next to a
//! `name`, as in HTML forms, multipart bodies and lists of headers in JSON. Searches a bounded distance
//! around each name.

use memchr::memmem;

use super::pairs::{Pair, pairs};

/// How far from a name its value is searched for, in bytes.
const NEAR: usize = 1024;

/// Longest such value: the longest body that events contain.
const LONGEST_VALUE: usize = 4096;

/// Adds the ranges of values whose name `is_secret`.
pub(super) fn secrets(
    text: &[u8],
    is_secret: &dyn Fn(&[u8]) -> bool,
    cuts: &mut Vec<(usize, usize)>,
) {
    elements(text, is_secret, cuts);
    named(text, is_secret, cuts);
}

/// Matches `<password>…</password>`.
fn elements(text: &[u8], is_secret: &dyn Fn(&[u8]) -> bool, cuts: &mut Vec<(usize, usize)>) {
    let mut done = 0;
    for open in memchr::memchr_iter(b'<', text) {
        let rest = &text[open + 1..];
        let near = &rest[..rest.len().min(NEAR)];
        let of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b':' | b'.');
        let len = near.iter().take(64).take_while(|b| of_name(b)).count();
        if open < done || !is_secret(&near[..len]) {
            continue;
        }
        let Some(close) = memchr::memchr(b'>', near).filter(|at| near[at - 1] != b'/') else {
            continue;
        };
        let from = open + 1 + close + 1;
        let to = memmem::find(&text[from..], b"</").map_or(text.len(), |n| from + n);
        if to > from {
            cuts.push((from, to));
            done = to;
        }
    }
}

/// Matches `name="token" value="…"` in either order within an element or object, and parts of
/// `multipart/form-data` (RFC 7578 §4.2).
fn named(text: &[u8], is_secret: &dyn Fn(&[u8]) -> bool, cuts: &mut Vec<(usize, usize)>) {
    let is = |pair: &Pair<'_>, names: &[&[u8]]| {
        names.iter().any(|name| pair.name.eq_ignore_ascii_case(name))
    };
    for pair in pairs(text).filter(|pair| is(pair, &[b"name", b"key"])) {
        let (from, to) = pair.value(&text[..text.len().min(pair.at + NEAR)]);
        if to - from > 64 || !is_secret(&text[from..to]) {
            continue;
        }
        let before = &text[pair.at.saturating_sub(NEAR)..pair.at];
        let after = &text[to..text.len().min(to + NEAR)];
        let line = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        if memmem::find(&before[line..], b"form-data").is_some() {
            let Some((blank, len)) = blank_line(after) else {
                continue;
            };
            let from = to + blank + len;
            let to = memmem::find(&text[from..], b"\n--").map_or(text.len(), |n| from + n);
            if to > from {
                cuts.push((from, to));
            }
            continue;
        }
        let begin = before.iter().rposition(|b| matches!(b, b'<' | b'{'));
        let end = after.iter().position(|b| matches!(b, b'>' | b'}'));
        let begin = pair.at - before.len() + begin.unwrap_or(before.len());
        let end = to + end.unwrap_or(after.len());
        let values = pairs(&text[begin..end]).filter(|pair| is(pair, &[b"value", b"content"]));
        for value in values.take(4) {
            // The value may contain the terminator of the element.
            let (from, to) = value.value(&text[begin..text.len().min(end + LONGEST_VALUE)]);
            if to > from {
                cuts.push((begin + from, begin + to));
            }
        }
    }
}

/// End of a part's head, and length of the blank line.
fn blank_line(text: &[u8]) -> Option<(usize, usize)> {
    let crlf = memmem::find(text, b"\r\n\r\n").map(|at| (at, 4));
    crlf.or_else(|| memmem::find(text, b"\n\n").map(|at| (at, 2)))
}
