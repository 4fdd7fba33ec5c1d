//! What a request asks for: its target (RFC 9112 §3.2) combined with Host (RFC 9110 §7.2).
//! Borrows from the head and decodes nothing.

use super::head::RequestHead;
use super::known::Known;

/// The parts of the requested URL. Parts that were not sent are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// Scheme; `http` for the forms that omit it; absent for CONNECT.
    pub scheme: Option<&'a [u8]>,
    /// Host without port; an IPv6 literal with its brackets.
    pub host: Option<&'a [u8]>,
    /// Port as sent, or the scheme's default if a host was sent without one.
    pub port: Option<u16>,
    /// Path as sent, `*` for the asterisk form; absent for CONNECT.
    pub path: Option<&'a [u8]>,
    /// Query after the first `?`, which is excluded.
    pub query: Option<&'a [u8]>,
}

impl<'a> Target<'a> {
    /// The target where there is no request.
    pub const NOTHING: Target<'static> =
        Target { scheme: None, host: None, port: None, path: None, query: None };

    /// Splits a request's target. An authority in the target takes precedence over the Host
    /// header (RFC 9112 §3.2.2).
    pub fn of(request: &'a RequestHead) -> Self {
        let target: &[u8] = &request.target;
        if *request.method == *b"CONNECT" {
            let (host, port) = authority(target);
            return Target { host, port, ..Target::default() };
        }
        let host_header = || request.headers.first_known(Known::HOST);
        if let Some((scheme, rest)) = absolute(target) {
            let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
            let (named, rest) = rest.split_at(end.unwrap_or(rest.len()));
            let (host, port) = authority(named);
            let (path, query) = path_and_query(rest);
            return Target {
                scheme: Some(scheme),
                host,
                port: port.or(host.and_then(|_| default_port(scheme))),
                path: Some(if path.is_empty() { b"/" } else { path }),
                query,
            };
        }
        let (host, port) = host_header().map_or((None, None), authority);
        let (path, query) = path_and_query(target);
        Target {
            scheme: Some(b"http"),
            host,
            port: port.or(host.and_then(|_| default_port(b"http"))),
            path: Some(path),
            query,
        }
    }
}

/// Scheme and the text after `://` of a target in absolute form.
fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    if !target.first()?.is_ascii_alphabetic() {
        return None;
    }
    let colon = target.iter().position(|b| !(b.is_ascii_alphanumeric() || b"+-.".contains(b)))?;
    let (scheme, rest) = target.split_at(colon);
    Some((scheme, rest.strip_prefix(b"://")?))
}

/// Host and port of `[userinfo@]host[:port]`.
fn authority(text: &[u8]) -> (Option<&[u8]>, Option<u16>) {
    if memchr::memchr2(b'@', b':', text).is_none() {
        return ((!text.is_empty()).then_some(text), None);
    }
    let text = match text.iter().rposition(|b| *b == b'@') {
        Some(at) => &text[at + 1..],
        None => text,
    };
    let after_brackets = match text.first() {
        Some(b'[') => text.iter().position(|b| *b == b']').unwrap_or(0),
        _ => 0,
    };
    let colon = text.iter().rposition(|b| *b == b':').filter(|at| *at >= after_brackets);
    let (host, port) = match colon {
        Some(at) => (&text[..at], port_number(&text[at + 1..])),
        None => (text, None),
    };
    ((!host.is_empty()).then_some(host), port)
}

fn port_number(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
        .and_then(|n| u16::try_from(n).ok())
}

fn default_port(scheme: &[u8]) -> Option<u16> {
    if scheme.eq_ignore_ascii_case(b"http") {
        Some(80)
    } else if scheme.eq_ignore_ascii_case(b"https") {
        Some(443)
    } else {
        None
    }
}

fn path_and_query(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn request(line: &str, host: &str) -> RequestHead {
        let (method, rest) = line.split_once(' ').expect("a method");
        let (target, _) = rest.rsplit_once(' ').expect("a version");
        let host = [("Host", host)].into_iter().filter(|(_, host)| !host.is_empty());
        RequestHead {
            method: Bytes::copy_from_slice(method.as_bytes()),
            target: Bytes::copy_from_slice(target.as_bytes()),
            minor_version: 1,
            version: None,
            headers: host.collect(),
            wire_len: 0,
        }
    }

    #[test]
    fn targets() {
        type Expected = (
            Option<&'static str>,
            Option<&'static str>,
            Option<u16>,
            Option<&'static str>,
            Option<&'static str>,
        );
        let table: &[(&str, &str, Expected)] = &[
            (
                "GET /a?b=c HTTP/1.1",
                "h.example",
                (Some("http"), Some("h.example"), Some(80), Some("/a"), Some("b=c")),
            ),
            (
                "GET /a?b?c HTTP/1.1",
                "h:8080",
                (Some("http"), Some("h"), Some(8080), Some("/a"), Some("b?c")),
            ),
            ("GET / HTTP/1.1", "", (Some("http"), None, None, Some("/"), None)),
            (
                "GET / HTTP/1.1",
                "[::1]:81",
                (Some("http"), Some("[::1]"), Some(81), Some("/"), None),
            ),
            ("GET / HTTP/1.1", "[::1]", (Some("http"), Some("[::1]"), Some(80), Some("/"), None)),
            ("GET / HTTP/1.1", "h:99999", (Some("http"), Some("h"), Some(80), Some("/"), None)),
            (
                "GET http://u:p@a.example:81/x?y HTTP/1.1",
                "other",
                (Some("http"), Some("a.example"), Some(81), Some("/x"), Some("y")),
            ),
            (
                "GET https://a.example?y HTTP/1.1",
                "",
                (Some("https"), Some("a.example"), Some(443), Some("/"), Some("y")),
            ),
            (
                "GET ftp://a.example/ HTTP/1.1",
                "",
                (Some("ftp"), Some("a.example"), None, Some("/"), None),
            ),
            (
                "CONNECT a.example:443 HTTP/1.1",
                "b",
                (None, Some("a.example"), Some(443), None, None),
            ),
            ("OPTIONS * HTTP/1.1", "h", (Some("http"), Some("h"), Some(80), Some("*"), None)),
            (
                "GET //x:y@z/ HTTP/1.1",
                "h",
                (Some("http"), Some("h"), Some(80), Some("//x:y@z/"), None),
            ),
            ("GET odd HTTP/1.1", "h", (Some("http"), Some("h"), Some(80), Some("odd"), None)),
        ];
        for (line, host, expected) in table {
            let request = request(line, host);
            let text = |b: Option<&[u8]>| b.map(|b| String::from_utf8_lossy(b).into_owned());
            let got = Target::of(&request);
            let expected = (
                expected.0.map(str::to_owned),
                expected.1.map(str::to_owned),
                expected.2,
                expected.3.map(str::to_owned),
                expected.4.map(str::to_owned),
            );
            let got = (text(got.scheme), text(got.host), got.port, text(got.path), text(got.query));
            assert_eq!(got, expected, "{line}");
        }
    }
}
