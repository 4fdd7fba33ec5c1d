//! Parses single field values: trace context, media type, user of Basic authentication. Borrows from the head.

use base64::Engine as _;

use super::head::Headers;
use super::known::Known;

/// Trace id and span id of a request: W3C `traceparent` (Trace Context §3.2, which is to be ignored where it is not
/// in lower case or has other parts), else B3 in one header or in several. Only what is well-formed and not all
/// zeros; hexadecimal as sent.
pub fn trace_context(headers: &Headers) -> Option<(&[u8], Option<&[u8]>)> {
    let id = |t: &[u8], lens: &[usize]| {
        lens.contains(&t.len())
            && t.iter().all(u8::is_ascii_hexdigit)
            && t.iter().any(|b| *b != b'0')
    };
    if let Some(value) = headers.first_known(Known::TRACEPARENT) {
        let mut parts = value.split(|b| *b == b'-');
        let mut next = |len| {
            let lower = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            parts.next().filter(|part| part.len() == len && part.iter().all(lower))
        };
        let version = next(2).filter(|version| *version != b"ff");
        let of = (version, next(32), next(16), next(2));
        if let (Some(version), Some(trace), Some(span), Some(_)) = of
            && id(trace, &[32])
            && id(span, &[16])
            // Later versions may have more.
            && (version != b"00" || parts.next().is_none())
        {
            return Some((trace, Some(span)));
        }
    }
    if let Some(value) = headers.first("b3") {
        let mut parts = value.split(|b| *b == b'-');
        if let (Some(trace), Some(span)) = (parts.next(), parts.next())
            && id(trace, &[16, 32])
            && id(span, &[16])
        {
            return Some((trace, Some(span)));
        }
    }
    let trace = headers.first("x-b3-traceid").filter(|t| id(t, &[16, 32]))?;
    let span = headers.first("x-b3-spanid").filter(|s| id(s, &[16]));
    Some((trace, span))
}

/// The media type without its parameters (RFC 9110 §8.3.1), if it is plausible.
pub fn mime_type(value: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let mime = value[..end].trim_ascii();
    (memchr::memchr(b'/', mime).is_some() && mime.iter().all(u8::is_ascii_graphic)).then_some(mime)
}

/// The user name in `Authorization: Basic` (RFC 7617 §2). The password is discarded.
pub fn basic_user(headers: &Headers) -> Option<Vec<u8>> {
    let value = headers.first_known(Known::AUTHORIZATION)?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    (colon > 0).then(|| decoded[..colon].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_contexts() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        const SPAN: &str = "00f067aa0ba902b7";
        let zeros = "0".repeat(32);
        for (lines, expected) in [
            (vec![("traceparent", format!("00-{TRACE}-{SPAN}-01"))], Some((TRACE, Some(SPAN)))),
            (vec![("traceparent", format!("ff-{TRACE}-{SPAN}-01"))], None),
            (vec![("traceparent", format!("00-{zeros}-{SPAN}-01"))], None),
            (vec![("traceparent", "00-x".to_owned())], None),
            (vec![("traceparent", format!("00-{}-{SPAN}-01", TRACE.to_uppercase()))], None),
            (vec![("traceparent", format!("00-{TRACE}-{SPAN}"))], None),
            (vec![("traceparent", format!("00-{TRACE}-{SPAN}-1"))], None),
            (vec![("traceparent", format!("0g-{TRACE}-{SPAN}-01"))], None),
            (vec![("traceparent", format!("00-{TRACE}-{SPAN}-01-x"))], None),
            (vec![("traceparent", format!("01-{TRACE}-{SPAN}-01-x"))], Some((TRACE, Some(SPAN)))),
            (vec![("b3", format!("{TRACE}-{SPAN}-1"))], Some((TRACE, Some(SPAN)))),
            (vec![("b3", "0".to_owned())], None),
            (vec![("X-B3-TraceId", SPAN.to_owned())], Some((SPAN, None))),
            (
                vec![("X-B3-TraceId", TRACE.to_owned()), ("X-B3-SpanId", SPAN.to_owned())],
                Some((TRACE, Some(SPAN))),
            ),
        ] {
            let headers: Headers = lines.iter().map(|(n, v)| (n, v.as_bytes())).collect();
            let expected = expected.map(|(t, s)| (t.as_bytes(), s.map(str::as_bytes)));
            assert_eq!(trace_context(&headers), expected, "{lines:?}");
        }
    }

    #[test]
    fn media_types() {
        for (value, expected) in [
            (&b"text/html; charset=utf-8"[..], Some(&b"text/html"[..])),
            (b" image/png ", Some(b"image/png")),
            (b"text/html , x", None),
            (b"nonsense", None),
            (b"", None),
        ] {
            assert_eq!(mime_type(value), expected);
        }
    }
}
