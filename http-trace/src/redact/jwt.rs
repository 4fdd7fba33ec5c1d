//! What is shaped like a JWT (RFC 7519 §3), anywhere in a text. Finds ranges and changes nothing.

/// Ranges of JWTs: base64url of `{"` up to a dot, and claims behind it. Where the text was cut, what
/// reaches its end need not be whole.
pub(super) fn secrets(text: &[u8], cut: bool, cuts: &mut Vec<(usize, usize)>) {
    let (mut from, mut run_end) = (0, 0);
    while let Some(start) = find(text, from) {
        if start >= run_end {
            let token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            let len = text[start..].iter().position(|b| !token(b));
            run_end = len.map_or(text.len(), |n| start + n);
        }
        let mut parts = text[start..run_end].split(|b| *b == b'.');
        let header = parts.next().map_or(0, <[u8]>::len);
        let claims = parts.next();
        let signature = parts.next();
        let whole = header >= 8
            && claims.is_some_and(|claims| {
                // Without a signature the claims say it themselves.
                (claims.len() >= 2 && signature.is_some()) || claims.starts_with(b"eyJ")
            });
        if whole || (cut && run_end == text.len()) {
            cuts.push((start, run_end));
            from = run_end;
        } else if claims.is_none() {
            from = run_end;
        } else {
            // A later beginning in this segment would be shorter still.
            from = start + header + 1;
        }
    }
}

/// Where `eyJ` is from `from` on. The capital is rare where the others are not.
fn find(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    // Shorter than any that says something.
    if rest.len() < 12 {
        return None;
    }
    memchr::memchr_iter(b'J', rest)
        .find(|at| at.checked_sub(2).and_then(|start| rest.get(start..*at)) == Some(b"ey"))
        .map(|at| from + at - 2)
}
