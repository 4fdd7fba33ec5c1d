//! Secrets in the text of a body: a value that stands behind a name that says so, as JSON, forms,
//! settings and dumps of headers write it. Knows no format, since a body's beginning need not be
//! whole and an error message need not be any.

/// The longest name that matters.
const LONGEST_NAME: usize = 64;

/// Ranges of values whose name `is_secret` (in any case).
pub(super) fn secrets(text: &[u8], is_secret: &dyn Fn(&[u8]) -> bool) -> Vec<(usize, usize)> {
    let mut cuts: Vec<(usize, usize)> = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        if !matches!(byte, b':' | b'=') || cuts.last().is_some_and(|cut| at < cut.1) {
            continue;
        }
        let Some(name) = name_before(text, at) else {
            continue;
        };
        if !is_secret(name) {
            continue;
        }
        let (from, to) = value_after(text, at + 1, *byte == b'=');
        if to > from {
            cuts.push((from, to));
        }
    }
    cuts
}

/// The name that ends before `at`: quotes and blanks between are not of it.
fn name_before(text: &[u8], at: usize) -> Option<&[u8]> {
    let around = |b: &u8| matches!(b, b'"' | b'\'' | b'\\' | b' ' | b'\t');
    let before = text.get(..at)?;
    let end = before.iter().rposition(|b| !around(b))? + 1;
    let before = before.get(end.saturating_sub(LONGEST_NAME)..end)?;
    let of_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let start = before.iter().rposition(|b| !of_name(b));
    before.get(start.map_or(0, |at| at + 1)..)
}

/// Where the value from `at` on begins and ends: within its quotes, or at what ends it without any.
/// After a colon that may be a line's end, since values of headers hold blanks; in JSON it is what
/// ends a number.
fn value_after(text: &[u8], at: usize, form: bool) -> (usize, usize) {
    let rest = text.get(at..).unwrap_or_default();
    let blanks = rest
        .iter()
        .take_while(|b| matches!(b, b' ' | b'\t'))
        .count();
    let from = at + blanks;
    let rest = text.get(from..).unwrap_or_default();
    let escaped = usize::from(rest.first() == Some(&b'\\'));
    if let Some(quote @ (b'"' | b'\'')) = rest.get(escaped) {
        let inside = from + escaped + 1;
        return (inside, end_of_quoted(text, inside, *quote, escaped > 0));
    }
    let ends = |b: &u8| match b {
        b'\r' | b'\n' | b'"' | b'<' | b'>' => true,
        b'&' | b';' | b' ' | b'\t' => form,
        b',' | b'}' | b']' => !form,
        _ => false,
    };
    let len = rest.iter().position(ends).unwrap_or(rest.len());
    (from, from + len)
}

/// The closing quote, or the end of what there is. Quotes that are escaped themselves, as in JSON
/// within a string of JSON, end with such.
fn end_of_quoted(text: &[u8], inside: usize, quote: u8, escaped: bool) -> usize {
    let mut at = inside;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' if escaped && text.get(at + 1) == Some(&quote) => return at,
            b'\\' => at += 2,
            b if *b == quote => return at,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use crate::redact::Secrets;

    #[test]
    fn values_behind_names_that_say_so() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for (text, expected) in [
            ("no secret in here: really", None),
            ("", None),
            (
                r#"{"user":"a","password":"b\"c","x":1}"#,
                Some(r#"{"user":"a","password":"‹redacted:4 bytes›","x":1}"#),
            ),
            (
                r#"{"Token" : 1234, "y": 2}"#,
                Some(r#"{"Token" : ‹redacted:4 bytes›, "y": 2}"#),
            ),
            (
                r#"{"inner":"{\"secret\":\"ab\",\"z\":1}"}"#,
                Some(r#"{"inner":"{\"secret\":\"‹redacted:2 bytes›\",\"z\":1}"}"#),
            ),
            // Cut off by the number of bytes that were asked for.
            (
                r#"{"api_key":"abc"#,
                Some(r#"{"api_key":"‹redacted:3 bytes›"#),
            ),
            (
                "grant=x&password=hunter2&scope=y",
                Some("grant=x&password=‹redacted:7 bytes›&scope=y"),
            ),
            ("password=hunter2", Some("password=‹redacted:7 bytes›")),
            (
                "Host: a\r\nAuthorization: Basic YTpi\r\nAccept: */*",
                Some("Host: a\r\nAuthorization: ‹redacted:10 bytes›\r\nAccept: */*"),
            ),
            (
                "<a href=\"/x?token=abc&b=1\">",
                Some("<a href=\"/x?token=‹redacted:3 bytes›&b=1\">"),
            ),
            (
                "cannot reach http://user:pass@db.example/x now",
                Some("cannot reach http://‹redacted:9 bytes›@db.example/x now"),
            ),
            (jwt, Some("‹redacted:49 bytes›")),
            ("the password is wrong", None),
            ("password=", None),
        ] {
            let got = Secrets::default().body(text.as_bytes());
            let got = got.map(|clean| String::from_utf8(clean).expect("UTF-8"));
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }
}
