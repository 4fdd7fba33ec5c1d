//! The request target without what hides it from a reader: percent-encoding, also repeated, `+` for a blank,
//! overlong UTF-8, escapes as in JSON, character references of HTML, letters and signs of other widths, comments of SQL.
//! For comparing only; it decides nothing and keeps no structure of a URL.

use http_trace_model::value::hex;

/// Maximum decoding passes; attackers encode twice where a proxy decodes first.
const ROUNDS: usize = 3;

/// Whether nothing in a target is encoded.
pub fn is_plain(target: &[u8]) -> bool {
    let is_plain =
        |b: &u8| (b'!'..0x7f).contains(b) && !matches!(b, b'%' | b'+' | b'*' | b'\\' | b'#');
    // Without an early end, so that many bytes are compared at once.
    target.iter().fold(true, |all, b| all & is_plain(b))
}

/// Writes the target as an application would read it to `text`, which must be empty.
pub fn decode(target: &[u8], text: &mut Vec<u8>) {
    text.extend_from_slice(target);
    if let Some(query) = memchr::memchr(b'?', text) {
        for b in text[query..].iter_mut().filter(|b| **b == b'+') {
            *b = b' ';
        }
    }
    let rounds = (0..ROUNDS).take_while(|_| percent_decode(text));
    rounds.for_each(drop);
    squeeze(text);
}

/// Decodes `%XX`, `&#NN;` and `&#xXX;`, and `%uXXXX` and `\uXXXX` of what has one byte or stands for it; whether
/// there was any.
fn percent_decode(text: &mut Vec<u8>) -> bool {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let (byte, len) = match &text[from..] {
            [b'%' | b'\\', b'u' | b'U', a, b, c, d, ..] => {
                let scalar = hex(&[*a, *b]).zip(hex(&[*c, *d]));
                let scalar = scalar.map(|(high, low)| u32::from(high) << 8 | u32::from(low));
                scalar.and_then(plain).map(|b| (b, 6))
            }
            [b'&', b'#', rest @ ..] => reference(rest).map(|(b, len)| (b, len + 2)),
            [b'%', high, low, ..] => hex(&[*high, *low]).map(|b| (b, 3)),
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

/// The ASCII character of a numeric reference (HTML Standard, section 13.2.5.80) after its `&#`, and the length to its `;`.
fn reference(rest: &[u8]) -> Option<(u8, usize)> {
    let end = rest.iter().take(8).position(|b| *b == b';')?;
    let digits = std::str::from_utf8(rest.get(..end)?).ok()?;
    let byte = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u8::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    byte.is_ascii().then_some((byte, end + 1))
}

/// The byte that a character is, or that programs take it for: of full width, as of slashes and full stops of other
/// scripts, and digits in circles. Not of punctuation that Chinese and Japanese text is full of.
fn plain(scalar: u32) -> Option<u8> {
    let byte = match scalar {
        0..=0xff => scalar,
        0x2044 | 0x2215 | 0x29f8 => u32::from(b'/'),
        0x2216 | 0x29f5 => u32::from(b'\\'),
        0x3002 | 0xff61 => u32::from(b'.'),
        0x24ea => u32::from(b'0'),
        0x2460..=0x2468 => scalar - 0x2460 + u32::from(b'1'),
        0xff02
        | 0xff07
        | 0xff0e..=0xff19
        | 0xff1c
        | 0xff1e
        | 0xff21..=0xff3a
        | 0xff3c
        | 0xff41..=0xff5a => scalar - 0xff00 + 0x20,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// The character of three bytes of UTF-8, overlong or not.
const fn of_three(lead: u8, next: u8, last: u8) -> u32 {
    ((lead & 0xf) as u32) << 12 | ((next & 0x3f) as u32) << 6 | (last & 0x3f) as u32
}

/// Makes one blank of blanks and comments, drops NUL, and writes overlong ASCII, and what stands for it, as such.
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
            // As lenient decoders read them, whatever the second byte's upper bits.
            [0xc0, next @ (b'/' | b'.' | b'\\'), ..] => (*next, 2),
            [0xc1, 0x1c, ..] => (b'\\', 2),
            [lead @ 0xe0..=0xef, next @ 0x80..=0xbf, last @ 0x80..=0xbf, ..] => {
                match plain(of_three(*lead, *next, *last)) {
                    // Two bytes would do for these, so nobody writes them so.
                    Some(byte) if byte < 0x80 => (byte, 3),
                    _ => (*lead, 1),
                }
            }
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
            ("/?q=1+%20%09%0a+union/*!50000select*/1", "/?q=1 union select 1"),
            ("/..%c0%af..%C1%9C%c0%", "/../..\\\u{fffd}%"),
            ("/%e0%80%ae%E0%80%AE/..%c0%2f..%c1%1c", "/../../..\\"),
            ("/%uff0e%uFF0E%u2215..%u2216", "/../..\\"),
            ("/?q=${\\u006a%5cu006Edi}\\u20ac\\x", "/?q=${jndi}\\u20ac\\x"),
            ("/?q=%EF%BC%9Cｓcript>＇%E2%91%A06%E3%80%822", "/?q=<script>'16.2"),
            ("/?q=€；（ä）", "/?q=€；（ä）"),
            ("/?q=1%26%2332;and&#x20;&#83;LEEP&#40;5)", "/?q=1 and SLEEP(5)"),
            ("/?q=&#;&#+5;&#x;&#300;&#", "/?q=&#;&# 5;&#x;&#300;&#"),
            ("/a%00b%", "/ab%"),
            ("/%zz%4", "/%zz%4"),
            ("*", "*"),
            ("/*", "/*"),
            ("", ""),
        ] {
            let mut got = Vec::new();
            decode(target.as_bytes(), &mut got);
            assert_eq!(String::from_utf8_lossy(&got), plain, "{target}");
            assert!(!is_plain(target.as_bytes()) || target == plain, "{target}");
        }
    }

    #[test]
    fn nothing_gets_longer() {
        proptest::proptest!(|(target: Vec<u8>)| {
            let mut got = Vec::new();
            decode(&target, &mut got);
            assert!(got.len() <= target.len());
            assert!(!is_plain(&target) || got == target);
        });
    }
}
