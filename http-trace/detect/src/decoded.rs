//! The request target with obfuscation removed: percent-encoding (also nested), `+` for a space, overlong
//! UTF-8, SQL comments. Only for comparison: the result is no longer a valid URL.

use std::borrow::Cow;

/// Maximum decoding passes; attackers encode twice where a proxy decodes first.
const ROUNDS: usize = 3;

/// The target as an application would read it.
pub fn decoded(target: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |b: &u8| (b'!'..0x7f).contains(b) && !matches!(b, b'%' | b'+' | b'*');
    if target.iter().all(is_plain) {
        return Cow::Borrowed(target);
    }
    let mut text = target.to_vec();
    if let Some(query) = memchr::memchr(b'?', &text) {
        for b in text[query..].iter_mut().filter(|b| **b == b'+') {
            *b = b' ';
        }
    }
    let rounds = (0..ROUNDS).take_while(|_| percent_decode(&mut text));
    rounds.for_each(drop);
    squeeze(&mut text);
    Cow::Owned(text)
}

/// Decodes `%XX`, and `%uXXXX` below U+0100. Returns whether there was any.
fn percent_decode(text: &mut Vec<u8>) -> bool {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let (byte, len) = match &text[from..] {
            [b'%', b'u' | b'U', b'0', b'0', high, low, ..] => hex(*high, *low).map(|b| (b, 6)),
            [b'%', high, low, ..] => hex(*high, *low).map(|b| (b, 3)),
            _ => None,
        }
        .unwrap_or((text[from], 1));
        text[to] = byte;
        from += len;
        to += 1;
    }
    text.truncate(to);
    from != to
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Collapses whitespace and comments to one space, drops NUL, and decodes overlong ASCII.
fn squeeze(text: &mut Vec<u8>) {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let (byte, len) = match &text[from..] {
            // MySQL executes the content of a versioned comment.
            [b'/', b'*', b'!', rest @ ..] => {
                let version = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                (b' ', 3 + version)
            }
            [b'/', b'*', rest @ ..] => match memchr::memmem::find(rest, b"*/") {
                Some(end) => (b' ', end + 4),
                None => (b'/', 1),
            },
            [b'*', b'/', ..] => (b' ', 2),
            [lead @ (0xc0 | 0xc1), next @ 0x80..=0xbf, ..] => (lead << 6 | next & 0x3f, 2),
            [b'\t'..=b'\r' | b' ', ..] => (b' ', 1),
            [byte, ..] => (*byte, 1),
            [] => break,
        };
        from += len;
        let is_again = byte == b' ' && to > 0 && text[to - 1] == b' ';
        if byte != 0 && !is_again {
            text[to] = byte;
            to += 1;
        }
    }
    text.truncate(to);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_without_their_encodings() {
        for (target, plain) in [
            ("/a/b?c=d", "/a/b?c=d"),
            ("/a+b?c+d", "/a+b?c d"),
            ("/%2e%2E/%252e%25252e/%2525252e", "/../../%2e"),
            ("/?q=%u003Cscript%u2028", "/?q=<script%u2028"),
            ("/?q=1%27/**/or/*x*/1=1--+", "/?q=1' or 1=1-- "),
            (
                "/?q=1+%20%09%0a+union/*!50000select*/1",
                "/?q=1 union select 1",
            ),
            ("/..%c0%af..%C1%9C%c0%", "/../..\\\u{fffd}%"),
            ("/a%00b%", "/ab%"),
            ("/%zz%4", "/%zz%4"),
            ("*", "*"),
            ("/*", "/*"),
            ("", ""),
        ] {
            let got = decoded(target.as_bytes());
            assert_eq!(String::from_utf8_lossy(&got), plain, "{target}");
        }
    }

    #[test]
    fn nothing_gets_longer() {
        proptest::proptest!(|(target: Vec<u8>)| {
            assert!(decoded(&target).len() <= target.len());
        });
    }
}
