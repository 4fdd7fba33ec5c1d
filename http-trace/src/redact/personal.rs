//! Mail addresses anywhere in a text, for `--redact personal`. Finds ranges and changes nothing.

/// Adds the ranges of addresses: a word, `@`, and a name with a dot.
pub(super) fn addresses(text: &[u8], cuts: &mut Vec<(usize, usize)>) {
    let local = |b: &u8| b.is_ascii_alphanumeric() || b".!#$*+-/^_`{|}~".contains(b);
    let domain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let mut done = 0;
    for at in memchr::memchr_iter(b'@', text) {
        // At most 64 bytes (RFC 5321 §4.5.3.1.1).
        let before = &text[at.saturating_sub(64).max(done)..at];
        let start = before.iter().rposition(|b| !local(b) || *b == b'/');
        let from = at - before.len() + start.map_or(0, |start| start + 1);
        let len = text[at + 1..].iter().position(|b| !domain(b));
        let to = len.map_or(text.len(), |len| at + 1 + len);
        done = to;
        if from < at && memchr::memchr(b'.', &text[at + 1..to]).is_some_and(|dot| dot > 0) {
            cuts.push((from, to));
        }
    }
}
