//! Endpoints: path templates, the service of an event, and lists of known endpoints. Pure functions of
//! events, so that rules, reports and metrics name an endpoint alike in every run. Opens no file.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::event::HttpEvent;
use crate::target::Target;

/// Turns paths into templates: `/users/17` and `/users/18` become `/users/{id}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    /// Templates of the user, split into segments; a segment in braces matches any segment.
    own: Vec<Vec<Vec<u8>>>,
}

impl Templates {
    /// With the user's templates, such as `/users/{name}/posts`, which take precedence.
    pub fn new(own: &[String]) -> Self {
        let segments = |template: &String| split(template.as_bytes()).map(<[u8]>::to_vec).collect();
        Templates { own: own.iter().map(segments).collect() }
    }

    /// Whether a template is one of the user's.
    pub fn is_own(&self, template: &[u8]) -> bool {
        self.own.iter().any(|own| own.iter().map(Vec::as_slice).eq(split(template)))
    }

    pub fn of<'a>(&self, path: &'a [u8]) -> Cow<'a, [u8]> {
        let fits = |own: &&Vec<Vec<u8>>| {
            let mut segments = split(path);
            let each = own.iter();
            each.fold(true, |fits, own| {
                let segment = segments.next();
                fits && segment.is_some_and(|segment| own == segment || is_open(own))
            }) && segments.next().is_none()
        };
        if let Some(own) = self.own.iter().find(fits) {
            return Cow::Owned(own.join(&b'/'));
        }
        if !path.iter().any(u8::is_ascii_digit) {
            return Cow::Borrowed(path);
        }
        let mut out = Vec::with_capacity(path.len());
        for (at, segment) in split(path).enumerate() {
            if at > 0 {
                out.push(b'/');
            }
            // File names vary in parts between dots, where a hash may be as short as 8 digits.
            let hex = if segment.contains(&b'.') { 8 } else { 16 };
            for (at, part) in segment.split(|b| *b == b'.').enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(stands_for(part, hex).unwrap_or(part));
            }
        }
        Cow::Owned(out)
    }
}

fn split(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/')
}

fn is_open(segment: &[u8]) -> bool {
    segment.starts_with(b"{") && segment.ends_with(b"}")
}

/// Placeholder for a variable segment or part of a file name; a hash has at least `hex` hexadecimal digits.
fn stands_for(text: &[u8], hex: usize) -> Option<&'static [u8]> {
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    if digits == text.len() && text.len() <= 20 {
        // One or two digits in a file name belong to it: jquery.3.min.js.
        return (hex >= 16 || digits > 2).then_some(b"{id}");
    }
    if is_uuid(text) {
        return Some(b"{uuid}");
    }
    if is_like(text, b"0000-00-00") {
        return Some(b"{date}");
    }
    if text.iter().all(u8::is_ascii_hexdigit) && text.len() >= hex {
        return Some(b"{hash}");
    }
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'=');
    let has = |of: fn(&u8) -> bool| text.iter().any(of);
    let is_mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && digits > 1;
    (text.len() >= 20 && text.iter().all(is_token) && is_mixed).then_some(b"{token}")
}

/// Whether text has the form of a UUID (RFC 9562 §4).
pub fn is_uuid(text: &[u8]) -> bool {
    is_like(text, b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
}

/// Whether text has this shape: `x` stands for a hexadecimal digit, `0` for a decimal one.
fn is_like(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, shape)| match shape {
            b'x' => byte.is_ascii_hexdigit(),
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// Whether a status (0: no response) shows that an endpoint exists. Without this check, a scanner that gets
/// 404 for everything would create endpoints.
pub const fn is_there(status: u16) -> bool {
    matches!(status, 100..=399 | 401 | 405 | 500..=999)
}

/// The requested host in lower case, with its port unless that is 80 or 443, converted to text by `shown`.
pub fn named_service(target: &Target<'_>, shown: fn(&[u8]) -> String) -> Option<String> {
    let host = shown(target.host?).to_ascii_lowercase();
    Some(match target.port {
        Some(port) if !matches!(port, 80 | 443) => format!("{host}:{port}"),
        _ => host,
    })
}

/// The service of an event, as bytes from the wire: the host in lower case, otherwise the server's address.
pub fn service<'a>(event: &HttpEvent, target: &Target<'a>) -> Cow<'a, [u8]> {
    let Some(host) = target.host else {
        return service_address(event).into_bytes().into();
    };
    let port = target.port.filter(|port| !matches!(port, 80 | 443));
    if port.is_none() && !host.iter().any(u8::is_ascii_uppercase) {
        return host.into();
    }
    let mut service = host.to_ascii_lowercase();
    if let Some(port) = port {
        service.extend_from_slice(format!(":{port}").as_bytes());
    }
    service.into()
}

/// The server's address, for events whose host does not name the service.
pub fn service_address(event: &HttpEvent) -> String {
    match (event.server.known_ip(), event.server.known_port()) {
        (Some(ip), Some(port)) => SocketAddr::new(ip, port).to_string(),
        (Some(ip), None) => ip.to_string(),
        _ => "-".to_owned(),
    }
}

/// Known endpoints, from a list with one per line: `GET shop.example /cart/{id}`. A report's
/// allow list has this format.
#[derive(Clone, Debug)]
pub struct KnownEndpoints {
    lines: HashSet<[String; 3]>,
    shown: fn(&[u8]) -> String,
}

impl KnownEndpoints {
    /// Parses a list; `#` begins a comment, `*` matches any method or any service. `shown` must convert bytes
    /// from the wire to text as the list has it.
    ///
    /// # Errors
    /// The number of an invalid line, and the format that is expected.
    pub fn parse(text: &str, shown: fn(&[u8]) -> String) -> Result<Self, String> {
        let mut lines = HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let [method, service, template] = words[..] else {
                return Err(format!(
                    "line {}: want METHOD SERVICE PATH, such as 'GET shop.example /cart/{{id}}'",
                    at + 1
                ));
            };
            lines.insert([method, service, template].map(str::to_owned));
        }
        Ok(KnownEndpoints { lines, shown })
    }

    /// The line for an endpoint. `None` if a line could not say it, or would say more: clients choose their methods,
    /// hosts and paths.
    pub fn line(method: &str, service: &str, template: &str) -> Option<String> {
        let is_word = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
        let is_listable = [method, service, template].into_iter().all(is_word)
            && !method.starts_with('#')
            && method != "*"
            && service != "*";
        is_listable.then(|| format!("{method} {service} {template}"))
    }

    pub fn has(&self, method: &str, service: &str, template: &str) -> bool {
        let any = "*";
        [(method, service), (any, service), (method, any), (any, any)].into_iter().any(
            |(method, service)| {
                self.lines.contains(&[method, service, template].map(str::to_owned))
            },
        )
    }

    /// Whether an event's endpoint is in the list; `None` without a path.
    fn knows(&self, event: &HttpEvent, target: &Target<'_>, templates: &Templates) -> Option<bool> {
        let (request, shown) = (event.request.as_ref()?, self.shown);
        let template = shown(&templates.of(target.path?));
        let service = named_service(target, shown).unwrap_or_else(|| service_address(event));
        Some(self.has(&shown(&request.method), &service, &template))
    }
}

/// How a run names endpoints and recognises known ones.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    pub templates: Templates,
    pub known: Option<Arc<KnownEndpoints>>,
}

impl Endpoints {
    /// Whether an event's endpoint is known; `None` without a list or a path.
    pub fn knows(&self, event: &HttpEvent, target: &Target<'_>) -> Option<bool> {
        self.known.as_ref()?.knows(event, target, &self.templates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_writes_a_line_that_says_more() {
        for [method, service, path] in [
            ["GET", "*", "/admin"],
            ["*", "a", "/admin"],
            ["#GET", "a", "/admin"],
            ["GET", "a b", "/"],
            ["GET", "a", "/\u{a0}"],
            ["CONNECT", "a:443", ""],
        ] {
            assert_eq!(KnownEndpoints::line(method, service, path), None, "{service}{path}");
        }
        let line = KnownEndpoints::line("GET", "a", "/*").expect("a line");
        let known = KnownEndpoints::parse(&line, |bytes| String::from_utf8_lossy(bytes).into());
        assert!(known.expect("a list").has("GET", "a", "/*"));
    }

    #[test]
    fn what_differs_is_folded() {
        let templates = Templates::new(&["/users/{name}/posts".to_owned()]);
        for (path, expected) in [
            ("/", "/"),
            ("/cart/7", "/cart/{id}"),
            ("/cart/7/items/19", "/cart/{id}/items/{id}"),
            ("/v1/users", "/v1/users"),
            ("/o/123e4567-e89b-12d3-a456-426614174000", "/o/{uuid}"),
            ("/log/2026-11-20", "/log/{date}"),
            ("/blob/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/blob/{hash}"),
            ("/static/app.3f2a9c1b.js", "/static/app.{hash}.js"),
            ("/static/jquery.3.min.js", "/static/jquery.3.min.js"),
            ("/i/dQw4w9WgXcQ4dQw4w9WgXcQ", "/i/{token}"),
            ("/a-long-name-of-an-article-2", "/a-long-name-of-an-article-2"),
            ("/users/anna/posts", "/users/{name}/posts"),
            ("/users/anna/posts/7", "/users/anna/posts/{id}"),
            ("/users/anna", "/users/anna"),
            ("/deadbeef", "/deadbeef"),
            ("", ""),
            ("7", "{id}"),
            ("//", "//"),
        ] {
            let of = templates.of(path.as_bytes());
            assert_eq!(String::from_utf8_lossy(&of), expected, "{path}");
        }
    }

    #[test]
    fn lists_of_endpoints() {
        let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let text = "# ours\nGET a /b\n\n*  a /c\n * * /healthz\n";
        let known = KnownEndpoints::parse(text, shown).expect("a list");
        assert!(known.has("GET", "a", "/b") && !known.has("POST", "a", "/b"));
        assert!(known.has("PUT", "a", "/c") && !known.has("PUT", "b", "/c"));
        assert!(known.has("HEAD", "x", "/healthz"));
        let error = KnownEndpoints::parse("GET /b", shown).expect_err("two words");
        assert!(error.starts_with("line 1: want METHOD SERVICE PATH"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn a_template_is_its_own(path in "(/[a-zA-Z0-9.{}-]{0,40}){0,4}") {
            let templates = Templates::default();
            let once = templates.of(path.as_bytes()).into_owned();
            proptest::prop_assert_eq!(templates.of(&once).into_owned(), once);
        }
    }
}
