//! Values computed from those on the wire: identifiers in paths, whether a referrer is of the same site, the
//! client that a proxy names. Pure functions of bytes.

use std::net::IpAddr;

use http_trace_model::endpoint::is_uuid;
use http_trace_model::forwarding;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

/// Text after the last dot of the last segment, if not empty.
pub fn extension(path: &[u8]) -> Option<&[u8]> {
    let dot = path.iter().rposition(|b| matches!(b, b'.' | b'/'))?;
    let (found, extension) = path[dot..].split_first()?;
    (*found == b'.' && !extension.is_empty()).then_some(extension)
}

/// Whether a segment is an identifier that can be enumerated: decimal digits, or a UUID.
fn is_id(segment: &[u8]) -> bool {
    match segment.first() {
        Some(first) if first.is_ascii_hexdigit() => {}
        _ => return false,
    }
    (segment.len() <= 20 && segment.iter().all(u8::is_ascii_digit)) || is_uuid(segment)
}

/// The last segment that is an identifier.
pub fn path_id(path: &[u8]) -> Option<&[u8]> {
    let mut segments = path.rsplit(|b| *b == b'/');
    segments.find(|segment| is_id(segment))
}

/// Magic bytes and their media types. Letters are compared case-insensitively.
const SNIFFED: &[(&[u8], &[u8])] = &[
    (b"<!doctype html", b"text/html"),
    (b"<html", b"text/html"),
    (b"\x89PNG\r\n\x1a\n", b"image/png"),
    (b"\xff\xd8\xff", b"image/jpeg"),
    (b"GIF87a", b"image/gif"),
    (b"GIF89a", b"image/gif"),
    (b"%PDF-", b"application/pdf"),
];

/// The media type of a body by its first bytes, if they identify one.
pub fn sniffed_type(body: &[u8]) -> Option<&'static [u8]> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii_start();
    let begins = |with: &[u8]| {
        let begin = body.get(..with.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(with))
    };
    let found = SNIFFED.iter().find(|(with, _)| begins(with));
    found.map(|(_, media_type)| *media_type)
}

/// The first non-empty segment.
pub fn first_segment(path: &[u8]) -> Option<&[u8]> {
    path.split(|b| *b == b'/').find(|segment| !segment.is_empty())
}

/// The name of the query's parameter, if it has exactly one, with a value. Numeric names are
/// excluded: they are cache busters.
pub fn only_parameter(query: &[u8]) -> Option<&[u8]> {
    if query.contains(&b'&') {
        return None;
    }
    let name = query.split(|b| *b == b'=').next()?;
    let is_name = !name.is_empty() && name.len() < query.len();
    (is_name && !name.iter().all(u8::is_ascii_digit)).then_some(name)
}

/// Scheme and authority of the first URL that is the value of a parameter.
pub fn parameter_origin(target: &[u8]) -> Option<&[u8]> {
    let query = &target[memchr::memchr(b'?', target)?..];
    memchr::memmem::find_iter(query, b"://").find_map(|colon| {
        let scheme = query[..colon].iter().rposition(|b| !b.is_ascii_alphanumeric())? + 1;
        let rest = &query[colon + 3..];
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#' | b'&' | b' '));
        let origin = &query[scheme..colon + 3 + end.unwrap_or(rest.len())];
        (query[scheme - 1] == b'=').then_some(origin)
    })
}

/// Most parameters among which one is looked at: beacons and large forms have more.
const PARAMETERS: usize = 8;

/// Which of several parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    First,
    Last,
}

/// The name of the first or last of several parameters, as of [`only_parameter`], and the others.
fn among(query: &[u8], end: End) -> Option<(&[u8], &[u8])> {
    let of = match end {
        End::First => memchr::memchr(b'&', query)?,
        End::Last => memchr::memrchr(b'&', query)?,
    };
    let (before, after) = (&query[..of], &query[of + 1..]);
    let (tried, others) = match end {
        End::First => (before, after),
        End::Last => (after, before),
    };
    let few = memchr::memchr_iter(b'&', others).count() + 1 < PARAMETERS;
    Some((only_parameter(tried)?, others)).filter(|_| few)
}

/// The name of the first or last of several parameters.
pub fn parameter_among(query: &[u8], end: End) -> Option<&[u8]> {
    Some(among(query, end)?.0)
}

/// The names of the parameters before the last or after the first one, each with `&`.
pub fn parameters_beside(query: &[u8], end: End) -> Option<Vec<u8>> {
    let (_, others) = among(query, end)?;
    let mut names = Vec::new();
    for parameter in others.split(|b| *b == b'&') {
        names.extend(parameter.iter().take_while(|b| **b != b'='));
        names.push(b'&');
    }
    Some(names)
}

/// Header fields that vary between requests of one client.
const CHANGING: [&[u8]; 9] = [
    b"authorization", b"content-length", b"content-type", b"cookie", b"if-modified-since",
    b"if-none-match", b"origin", b"range", b"referer",
];

/// Maximum length of a client kind, in bytes.
const KIND: usize = 512;

/// The user agent and the names of header fields in order, without the varying ones.
pub fn client_kind(headers: &Headers) -> Vec<u8> {
    let mut kind = headers.first("user-agent").unwrap_or_default().to_vec();
    for header in headers.iter() {
        let changes = |known: &&[u8]| header.name.eq_ignore_ascii_case(known);
        if kind.len() < KIND && !CHANGING.iter().any(changes) {
            kind.push(b',');
            kind.extend(header.name.iter().map(u8::to_ascii_lowercase));
        }
    }
    kind.truncate(KIND);
    kind
}

/// The protective attributes missing from a Set-Cookie (RFC 6265 §4.1.2; SameSite from RFC 6265bis). A cookie
/// that is being deleted needs none.
pub fn cookie_lacks(cookie: &[u8]) -> impl Iterator<Item = &'static [u8]> {
    const WANTED: [&[u8]; 3] = [b"httponly", b"samesite", b"secure"];
    let end = memchr::memchr(b';', cookie).unwrap_or(cookie.len());
    let (pair, attributes) = cookie.split_at(end);
    let mut lacks = [!pair.trim_ascii().ends_with(b"="); 3];
    for attribute in attributes.split(|b| *b == b';') {
        let name = attribute.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        for (lacks, wanted) in lacks.iter_mut().zip(WANTED) {
            *lacks &= !name.eq_ignore_ascii_case(wanted);
        }
    }
    WANTED.into_iter().zip(lacks).filter(|(_, lacks)| *lacks).map(|(name, _)| name)
}

/// Whether `referrer` is a URL of `host`.
pub fn same_site(referrer: &[u8], host: &[u8]) -> bool {
    let Some(at) = referrer.windows(3).position(|w| w == b"://") else {
        return false;
    };
    let rest = &referrer[at + 3..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
    let authority = &rest[..end.unwrap_or(rest.len())];
    let port = authority
        .iter()
        .rposition(|b| *b == b':')
        .filter(|at| authority[at + 1..].iter().all(u8::is_ascii_digit));
    authority[..port.unwrap_or(authority.len())].eq_ignore_ascii_case(host)
}

/// Last parts of names of archives and dumps.
const ARCHIVES: &[&str] =
    &["zip", "rar", "7z", "gz", "tgz", "bz2", "xz", "tar", "sql", "bak", "old", "war"];

/// A host without its port, and without `www.`.
fn bare_host(host: &[u8]) -> (&[u8], &[u8]) {
    let host = host.split(|b| *b == b':').next().unwrap_or_default();
    match host.split_at_checked(4) {
        Some((www, bare)) if www.eq_ignore_ascii_case(b"www.") => (host, bare),
        _ => (host, host),
    }
}

/// The last segment without the ends of an archive, if it has any.
fn archive_name(path: &[u8]) -> Option<&[u8]> {
    let whole = path.rsplit(|b| *b == b'/').next()?;
    let mut name = whole;
    while let Some(dot) = memchr::memrchr(b'.', name) {
        let end = &name[dot + 1..];
        let is_end = |of: &&str| end.eq_ignore_ascii_case(of.as_bytes());
        if !ARCHIVES.iter().any(is_end) {
            break;
        }
        name = &name[..dot];
    }
    (name.len() < whole.len()).then_some(name)
}

/// The host that the last segment names before the ends of an archive: `/www.shop.example.tar.gz`, or without `www.`,
/// with `_` or `-` for dots.
pub fn host_archive<'a>(path: &'a [u8], host: &[u8]) -> Option<&'a [u8]> {
    let (host, bare) = bare_host(host);
    if !bare.contains(&b'.') {
        return None;
    }
    let name = archive_name(path)?;
    let is_host = |host: &[u8]| {
        name.len() == host.len()
            && name.iter().zip(host).all(|(name, host)| {
                name.eq_ignore_ascii_case(host) || *host == b'.' && matches!(name, b'_' | b'-')
            })
    };
    (is_host(host) || is_host(bare)).then_some(name)
}

/// The label of the host that an archive in the root is named after: `/shop.zip` of `www.shop.example`. The last label
/// and those of one or two letters are no name.
pub fn label_archive<'a>(path: &'a [u8], host: &[u8]) -> Option<&'a [u8]> {
    if memchr::memrchr(b'/', path) != Some(0) {
        return None;
    }
    let (_, bare) = bare_host(host);
    let dot = memchr::memrchr(b'.', bare)?;
    let name = archive_name(path)?;
    let is_named = |label: &[u8]| {
        label.len() >= 3
            && label.eq_ignore_ascii_case(name)
            && !label.iter().all(u8::is_ascii_digit)
    };
    let mut labels = bare[..dot].split(|b| *b == b'.');
    labels.any(is_named).then_some(name)
}

/// The first address in `X-Forwarded-For`, `Forwarded` (RFC 7239 §5.2) or `X-Real-IP`: an
/// unverified claim of the sender.
pub fn forwarded_client(headers: &Headers) -> Option<IpAddr> {
    let client = if let Some(value) = headers.first_known(Known::X_FORWARDED_FOR) {
        forwarding::node(value.split(|b| *b == b',').next()?.trim_ascii())
    } else if let Some(value) = headers.first_known(Known::FORWARDED) {
        forwarding::element(forwarding::split(value, b',').first()?)
    } else {
        forwarding::node(headers.first_known(Known::X_REAL_IP)?.trim_ascii())
    };
    client.map(|client| client.ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_samples as testing;

    #[test]
    fn the_origin_of_a_url_in_a_parameter() {
        let cases = [
            ("/x?url=http://10.0.0.1:80/a?b", Some("http://10.0.0.1:80")),
            ("/x?a=1&u=https://[::1]&b=http://b", Some("https://[::1]")),
            ("/x?q=see http://a&url=http://b#c", Some("http://b")),
            ("/http://a/x?url=b", None),
            ("/x?url=://a", Some("://a")),
            ("/x?://", None),
            ("/x", None),
        ];
        for (target, origin) in cases {
            let found = parameter_origin(target.as_bytes());
            assert_eq!(found, origin.map(str::as_bytes), "{target}");
        }
    }

    #[test]
    fn the_only_parameter_and_the_kind_of_a_client() {
        for (query, name) in [
            ("a=1", Some("a")),
            ("a=", Some("a")),
            ("a", None),
            ("=1", None),
            ("17=1", None),
            ("a=1&b=2", None),
            ("", None),
        ] {
            let name = name.map(str::as_bytes);
            assert_eq!(only_parameter(query.as_bytes()), name, "{query}");
        }
        let kind = |head: &str| {
            let head = format!("GET / HTTP/1.1\r\n{head}\r\n");
            let request = testing::request(&head);
            String::from_utf8_lossy(&client_kind(&request.headers)).into_owned()
        };
        let first = kind("Host: a\r\nUser-Agent: x/1\r\nCookie: a=b\r\nAccept: */*\r\n");
        assert_eq!(first, "x/1,host,user-agent,accept");
        assert_eq!(first, kind("host: b\r\nuser-agent: x/1\r\naccept: a\r\nReferer: c\r\n"));
        assert_ne!(first, kind("User-Agent: x/1\r\nHost: a\r\nAccept: */*\r\n"));
        assert_eq!(kind(&"X-Long-Name: 1\r\n".repeat(99)).len(), KIND);
    }

    #[test]
    fn parameters_among_others() {
        for (query, first, last) in [
            ("a=1&b=2", Some(("a", "b&")), Some(("b", "a&"))),
            ("a=1&b=2&c=", Some(("a", "b&c&")), Some(("c", "a&b&"))),
            ("a=1&b", Some(("a", "b&")), None),
            ("17=1&b=2", None, Some(("b", "17&"))),
            ("a=1", None, None),
            ("&", None, None),
            ("&=", None, None),
            ("", None, None),
            ("a=1&b&b&b&b&b&b&b&b=2", None, None),
        ] {
            for (end, expected) in [(End::First, first), (End::Last, last)] {
                let found = parameter_among(query.as_bytes(), end);
                let beside = parameters_beside(query.as_bytes(), end);
                let expected = expected.map(|(name, of)| (name.as_bytes(), of.as_bytes().to_vec()));
                assert_eq!(found.zip(beside), expected, "{query} {end:?}");
            }
        }
    }

    #[test]
    fn identifiers_in_paths() {
        const UUID: &str = "/u/0b0e7a4e-2f0b-4f49-9b3f-6f0d6f0c9a11/x";
        for (path, id) in [
            ("/users/17/edit", Some("17")),
            ("/a/1/b/2", Some("2")),
            (UUID, Some(&UUID[3..39])),
            ("/users/17a", None),
            ("/", None),
            ("//", None),
            ("", None),
            ("7", Some("7")),
            ("/7/", Some("7")),
            ("/a7", None),
            ("/articles/long/19/winter", Some("19")),
        ] {
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            assert_eq!(path_id(path.as_bytes()).map(text).as_deref(), id, "{path}");
        }
    }

    #[test]
    fn extensions_and_segments() {
        for (path, expected, first) in [
            ("/a.b/c.tar.gz", Some("gz"), Some("a.b")),
            ("/a.b/c", None, Some("a.b")),
            ("/.", None, Some(".")),
            ("/", None, None),
        ] {
            assert_eq!(extension(path.as_bytes()), expected.map(str::as_bytes), "{path}");
            assert_eq!(first_segment(path.as_bytes()), first.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn pages_of_the_same_site() {
        for (referrer, host, expected) in [
            ("http://shop.example/a", "shop.example", true),
            ("https://SHOP.example:8443?x", "shop.example", true),
            ("http://shop.example.evil/", "shop.example", false),
            ("http://[::1]:80/", "[::1]", true),
            ("http://shop.example", "shop.example", true),
            ("http://shop.example:80/", "shop.example:80", false),
            ("http://shop.example/a", "shop.example/a", false),
            ("/a", "shop.example", false),
            ("", "", false),
        ] {
            assert_eq!(same_site(referrer.as_bytes(), host.as_bytes()), expected, "{referrer}");
        }
    }

    #[test]
    fn archives_named_after_the_host() {
        for (path, host, expected) in [
            ("/shop.example.zip", "shop.example", Some("shop.example")),
            ("/shop.example.zip", "www.shop.example:8080", Some("shop.example")),
            ("/b/WWW.shop.example.tar.gz", "www.shop.example", Some("WWW.shop.example")),
            ("/shop_example.SQL", "shop.example", Some("shop_example")),
            ("/shop.example", "shop.example", None),
            ("/shop.example.html", "shop.example", None),
            ("/shop.zip", "shop.example", None),
            ("/other.example.zip", "shop.example", None),
            ("/localhost.zip", "localhost", None),
            ("/.zip", "a.b", None),
            ("/", "", None),
        ] {
            let name = host_archive(path.as_bytes(), host.as_bytes());
            assert_eq!(name, expected.map(str::as_bytes), "{path} {host}");
        }
    }

    #[test]
    fn archives_named_after_a_label() {
        for (path, host, expected) in [
            ("/shop.zip", "shop.example", Some("shop")),
            ("/SHOP.tar.gz", "www.shop.example:80", Some("SHOP")),
            ("/shop.sql", "api.shop.example", Some("shop")),
            ("/api.sql.gz", "api.shop.example", Some("api")),
            ("/example.zip", "shop.example", None),
            ("/co.zip", "shop.co.example", None),
            ("/files/shop.zip", "shop.example", None),
            ("/shop.html", "shop.example", None),
            ("/shop-1.2.zip", "shop.example", None),
            ("/192.zip", "192.0.2.1", None),
            ("/localhost.zip", "localhost", None),
            ("/.zip", "..", None),
            ("", "", None),
        ] {
            let name = label_archive(path.as_bytes(), host.as_bytes());
            assert_eq!(name, expected.map(str::as_bytes), "{path} {host}");
        }
    }

    #[test]
    fn cookies_without_protection() {
        for (cookie, expected) in [
            ("a=b", &["httponly", "samesite", "secure"][..]),
            ("a=b; HttpOnly; SameSite=Lax; Secure", &[]),
            ("a=httponly;secure ; Path=/", &["httponly", "samesite"]),
            ("a=; Max-Age=0", &[]),
        ] {
            let got: Vec<_> = cookie_lacks(cookie.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|l| l.as_bytes()).collect();
            assert_eq!(got, expected, "{cookie}");
        }
    }

    #[test]
    fn what_a_proxy_says() {
        for (lines, expected) in [
            (&[("X-Forwarded-For", "1.2.3.4, 9.9.9.9")][..], Some("1.2.3.4")),
            (&[("X-Forwarded-For", "1.2.3.4:5678")], Some("1.2.3.4")),
            (&[("X-Forwarded-For", "unknown")], None),
            (&[("Forwarded", "proto=https;for=\"[2001:db8::1]:80\", for=x")], Some("2001:db8::1")),
            (&[("Forwarded", "for=_hidden")], None),
            (&[("Forwarded", "by=\"a,b\"; for = \"[::ffff:1.2.3.4]:80\"")], Some("1.2.3.4")),
            (&[("X-Real-IP", "::ffff:1.2.3.4")], Some("1.2.3.4")),
            (&[("Via", "1.1 x")], None),
        ] {
            let fields: Vec<_> = lines.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            let got = forwarded_client(&testing::headers(&fields));
            assert_eq!(got.map(|ip| ip.to_string()).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn media_types_by_first_bytes() {
        for (body, expected) in [
            (&b"<!DOCTYPE html><title>"[..], Some(&b"text/html"[..])),
            (b"\xef\xbb\xbf\r\n <HTML lang=", Some(b"text/html")),
            (b"\x89PNG\r\n\x1a\n\0", Some(b"image/png")),
            (b"gif89a", Some(b"image/gif")),
            (b"%PDF-1.7", Some(b"application/pdf")),
            (b"%PD", None),
            (b"{\"a\":\"<html>\"}", None),
            (b"", None),
        ] {
            assert_eq!(sniffed_type(body), expected, "{body:?}");
        }
    }
}
