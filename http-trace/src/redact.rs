//! Takes secrets out of events before any sink sees them: values of headers that carry
//! credentials, JWTs anywhere, userinfo and secret parameters in URLs. Rules run before this.
//! Copies only what it changes, and never panics whatever the bytes.

mod body;
mod url;

use crate::detect::alert::{Alert, Piece, Shown};
use crate::detect::field::Field;
use crate::event::HttpEvent;
use crate::http::head::Headers;
use bytes::Bytes;

/// Headers whose whole value is a secret (of cookies, each value).
const HEADERS: &[&str] = &[
    "authorization",
    "cookie",
    "private-token",
    "proxy-authorization",
    "set-cookie",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-vault-token",
    "x-xsrf-token",
];

/// Parameters of URLs whose value is a secret. `code` is one only beside `state` (RFC 6749
/// §4.1.2): alone it is more often a product's.
const PARAMETERS: &[&str] = &[
    "access_token",
    "accesstoken",
    "api-key",
    "api_key",
    "apikey",
    "auth_token",
    "client_assertion",
    "client_secret",
    "code_verifier",
    "id_token",
    "id_token_hint",
    "jsessionid",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "phpsessid",
    "private_key",
    "pwd",
    "refresh_token",
    "samlresponse",
    "secret",
    "session_token",
    "sig",
    "signature",
    "token",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

/// Headers that hold URLs, and the bytes that end a URL there.
const URL_HEADERS: &[(&str, &[u8])] = &[
    ("location", b""),
    ("content-location", b""),
    ("referer", b""),
    ("x-original-url", b""),
    ("x-rewrite-url", b""),
    ("x-forwarded-uri", b""),
    ("link", b">"),
    ("refresh", b"'\""),
];

/// What counts as a secret.
#[derive(Clone, Debug)]
pub struct Secrets {
    headers: Vec<String>,
    parameters: Vec<String>,
    /// One bit for each length of a name in `headers` or in [`URL_HEADERS`]: most fields are done
    /// with by their length.
    lengths: u64,
}

impl Default for Secrets {
    fn default() -> Self {
        Secrets::with(Vec::new(), Vec::new())
    }
}

impl Secrets {
    /// The default lists and these names, in lower case.
    pub fn with(headers: Vec<String>, parameters: Vec<String>) -> Self {
        let join = |own: &[&str], more: Vec<String>| {
            own.iter().map(|n| (*n).to_owned()).chain(more).collect()
        };
        let headers: Vec<String> = join(HEADERS, headers);
        let names = headers.iter().map(String::len);
        let names = names.chain(URL_HEADERS.iter().map(|(n, _)| n.len()));
        Secrets {
            lengths: names.fold(0, |bits, len| bits | length_bit(len)),
            headers,
            parameters: join(PARAMETERS, parameters),
        }
    }

    /// Replaces every secret in the event's heads.
    pub fn redact(&self, event: &mut HttpEvent) {
        if let Some(request) = &mut event.request {
            replace(&mut request.target, |target| {
                let connect = *request.method == *b"CONNECT";
                let clean = self.url(target, b"", connect);
                without_jwt(clean.as_deref().unwrap_or(target)).or(clean)
            });
            self.headers(&mut request.headers);
        }
        for response in event.response.iter_mut().chain(&mut event.informational) {
            replace(&mut response.reason, without_jwt);
            self.headers(&mut response.headers);
        }
        if let Some(content) = &mut event.body_snippet {
            replace(content, |text| self.body(text));
        }
    }

    /// Replaces every secret in what an alert shows.
    pub fn redact_alert(&self, alert: &mut Alert) {
        let url = |text: &mut Vec<u8>| {
            let clean = self.url(text, b"", false);
            if let Some(clean) = without_jwt(clean.as_deref().unwrap_or(text)).or(clean) {
                *text = clean;
            }
        };
        alert.samples.iter_mut().for_each(|s| url(&mut s.target));
        alert.paths.iter_mut().for_each(|(path, _)| url(path));
        let texts = alert.hosts.iter_mut().chain(&mut alert.user_agents);
        for (text, _) in texts {
            if let Some(clean) = without_jwt(text) {
                *text = clean;
            }
        }
        let of_entities = alert.entities.iter_mut().map(|e| &mut e.shown);
        let of_summary = alert.summary.iter_mut().filter_map(|piece| match piece {
            Piece::Value(shown) => Some(shown),
            Piece::Text(_) => None,
        });
        of_entities
            .chain(of_summary)
            .for_each(|shown| self.shown(shown));
    }

    /// Removes the secrets of a value that is shown.
    pub fn shown(&self, shown: &mut Shown) {
        let value = &shown.value;
        let clean = match &shown.field {
            Field::Query => {
                // Parameters are known by what is before them.
                let marked = [b"?", &value[..]].concat();
                let clean = self.url(&marked, b"", false).map(|mut clean| {
                    clean.remove(0);
                    clean
                });
                without_jwt(clean.as_deref().unwrap_or(value)).or(clean)
            }
            Field::Path | Field::PathTemplate | Field::Target | Field::Uri => {
                let clean = self.url(value, b"", false);
                without_jwt(clean.as_deref().unwrap_or(value)).or(clean)
            }
            Field::Cookie => self.value(b"cookie", value),
            Field::Referrer => self.value(b"referer", value),
            Field::RequestHeader(name) | Field::ResponseHeader(name) => {
                self.value(name.as_bytes(), value)
            }
            _ => without_jwt(value),
        };
        if let Some(clean) = clean {
            shown.value = clean;
        }
    }

    fn headers(&self, headers: &mut Headers) {
        for header in &mut headers.0 {
            let name = &header.name;
            replace(&mut header.value, |value| self.value(name, value));
        }
    }

    /// The value without its secrets, if it has any.
    fn value(&self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        if value.is_empty() {
            return None;
        }
        if self.lengths & length_bit(name.len()) == 0 {
            return without_jwt(value);
        }
        if is_one_of(&self.headers, name) {
            let cookie = name.eq_ignore_ascii_case(b"cookie");
            let set_cookie = name.eq_ignore_ascii_case(b"set-cookie");
            let mut out = Vec::with_capacity(value.len() + 32);
            if cookie || set_cookie {
                cookies(value, cookie, &mut out);
                return without_jwt(&out).or(Some(out));
            }
            put_redacted(&mut out, value.len());
            return Some(out);
        }
        let url = URL_HEADERS
            .iter()
            .find(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name));
        let clean = url.and_then(|(_, ends)| self.url(value, ends, false));
        without_jwt(clean.as_deref().unwrap_or(value)).or(clean)
    }

    /// A body's text without what its names, its URLs or its shape say is a secret.
    fn body(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut cuts = url::secrets(text, b"\"'<>\r\n\t ", false, &self.parameters);
        cuts.extend(body::secrets(text, &|name| {
            is_one_of(&self.parameters, name) || is_one_of(&self.headers, name)
        }));
        let clean = apply(text, cuts);
        without_jwt(clean.as_deref().unwrap_or(text)).or(clean)
    }

    /// A text with URLs in it, without userinfo and secret parameters.
    fn url(&self, text: &[u8], ends: &[u8], authority_form: bool) -> Option<Vec<u8>> {
        apply(
            text,
            url::secrets(text, ends, authority_form, &self.parameters),
        )
    }
}

/// The text without what is shaped like a JWT (RFC 7519 §3): base64url of `{"`, and at least
/// two dots.
fn without_jwt(text: &[u8]) -> Option<Vec<u8>> {
    let mut cuts = Vec::new();
    let (mut from, mut run_end) = (0, 0);
    while let Some(start) = find_jwt(text, from) {
        if start >= run_end {
            let token = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            let len = text[start..].iter().position(|b| !token(b));
            run_end = len.map_or(text.len(), |n| start + n);
        }
        let mut parts = text[start..run_end].split(|b| *b == b'.');
        let header = parts.next().map_or(0, <[u8]>::len);
        let Some(claims) = parts.next().map(<[u8]>::len) else {
            from = run_end;
            continue;
        };
        if header >= 8 && claims >= 2 && parts.next().is_some() {
            cuts.push((start, run_end));
            from = run_end;
        } else {
            // A later beginning in this segment would be shorter still.
            from = start + header + 1;
        }
    }
    apply(text, cuts)
}

/// Where `eyJ` is from `from` on. The capital is rare where the others are not.
fn find_jwt(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    // Shorter than any.
    if rest.len() < 12 {
        return None;
    }
    memchr::memchr_iter(b'J', rest)
        .find(|at| at.checked_sub(2).and_then(|start| rest.get(start..*at)) == Some(b"ey"))
        .map(|at| from + at - 2)
}

/// The bit of a name's length; all long ones share one.
fn length_bit(len: usize) -> u64 {
    1 << len.min(63)
}

/// The user of `Authorization: Basic` (RFC 7617 §2); the password is never looked at.
pub fn basic_user(event: &HttpEvent) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let value = event.request.as_ref()?.headers.first("authorization")?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(rest.trim_ascii())
        .ok()?;
    let colon = decoded.iter().position(|b| *b == b':')?;
    (colon > 0).then(|| decoded[..colon].to_vec())
}

fn replace(bytes: &mut Bytes, clean: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
    if let Some(clean) = clean(bytes) {
        *bytes = Bytes::from(clean);
    }
}

fn is_one_of(names: &[String], name: &[u8]) -> bool {
    names
        .iter()
        .any(|n| n.as_bytes().eq_ignore_ascii_case(name))
}

/// The text with each range (in any order) replaced; ranges that overlap become one.
fn apply(text: &[u8], mut cuts: Vec<(usize, usize)>) -> Option<Vec<u8>> {
    if cuts.is_empty() {
        return None;
    }
    cuts.sort_unstable();
    cuts.dedup_by(|next, kept| {
        let overlap = next.0 < kept.1;
        if overlap {
            kept.1 = kept.1.max(next.1);
        }
        overlap
    });
    let mut out = Vec::with_capacity(text.len() + cuts.len() * 24);
    let mut done = 0;
    for (from, to) in cuts {
        out.extend_from_slice(&text[done..from]);
        put_redacted(&mut out, to - from);
        done = to;
    }
    out.extend_from_slice(&text[done..]);
    Some(out)
}

fn put_redacted(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice("‹redacted:".as_bytes());
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(" bytes›".as_bytes());
}

/// `a=1; b=2` with its values replaced; with `all` false (Set-Cookie) the first only, since the
/// others are attributes. A pair without `=` is a value without a name (RFC 6265bis §5.7).
fn cookies(text: &[u8], all: bool, out: &mut Vec<u8>) {
    for (nth, pair) in text.split(|b| *b == b';').enumerate() {
        if nth > 0 {
            out.push(b';');
        }
        if nth > 0 && !all {
            out.extend_from_slice(pair);
            continue;
        }
        let blanks = pair.len() - pair.trim_ascii_start().len();
        let name = memchr::memchr(b'=', pair).map_or(blanks, |at| at + 1);
        out.extend_from_slice(&pair[..name]);
        if pair.len() > name {
            put_redacted(out, pair.len() - name);
        }
    }
}

#[cfg(test)]
mod tests {
    use memchr::memmem;
    use proptest::prelude::*;

    use super::*;
    use crate::testing;

    fn value(name: &str, text: &str) -> String {
        let clean = Secrets::default().value(name.as_bytes(), text.as_bytes());
        clean.map_or("unchanged".to_owned(), |c| {
            String::from_utf8_lossy(&c).into_owned()
        })
    }

    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

    #[test]
    fn header_values() {
        let bearer = format!("Bearer {JWT}");
        for (name, text, expected) in [
            ("Server", "nginx", "unchanged"),
            ("Authorization", "Basic YTpi", "‹redacted:10 bytes›"),
            ("PROXY-AUTHORIZATION", "x", "‹redacted:1 bytes›"),
            ("X-Api-Key", "", "unchanged"),
            (
                "Cookie",
                "a=1; b=22;c=",
                "a=‹redacted:1 bytes›; b=‹redacted:2 bytes›;c=",
            ),
            ("Cookie", "  loose", "  ‹redacted:5 bytes›"),
            ("Cookie", ";;=x", ";;=‹redacted:1 bytes›"),
            (
                "Set-Cookie",
                "sid=0123456789abcdef; Path=/; HttpOnly; Max-Age=60",
                "sid=‹redacted:16 bytes›; Path=/; HttpOnly; Max-Age=60",
            ),
            ("X-Other", &bearer, "Bearer ‹redacted:49 bytes›"),
            ("X-Other", "eyJhbGciOiJIUzI1NiJ9", "unchanged"),
            ("X-Other", "eyJhbGciOiJIUzI1NiJ9.x.", "unchanged"),
            (
                "X-Other",
                "v1.eyJhbGciOiJIUzI1NiJ9.e30.",
                "v1.‹redacted:25 bytes›",
            ),
            (
                "Location",
                "/next?a=1&token=abc#top",
                "/next?a=1&token=‹redacted:3 bytes›#top",
            ),
            (
                "Location",
                "/#access_token=abc&x=1",
                "/#access_token=‹redacted:3 bytes›&x=1",
            ),
            (
                "Location",
                "/cb?code=abc&state=d",
                "/cb?code=‹redacted:3 bytes›&state=d",
            ),
            ("Location", "/shop?code=abc", "unchanged"),
            (
                "Location",
                "https://u:p@h.example/@x",
                "https://‹redacted:3 bytes›@h.example/@x",
            ),
            (
                "Location",
                "/x?next=http://u:p@h/",
                "/x?next=http://‹redacted:3 bytes›@h/",
            ),
            (
                "Location",
                "/?token=http://u:p@h/&b=1",
                "/?token=‹redacted:13 bytes›&b=1",
            ),
            (
                "Location",
                "/a;jsessionid=AB/b;c=d?e",
                "/a;jsessionid=‹redacted:2 bytes›/b;c=d?e",
            ),
            (
                "Referer",
                "http://h/?user[password]=ab",
                "http://h/?user[password]=‹redacted:2 bytes›",
            ),
            (
                "Referer",
                "http://h/?pass%77ord=ab",
                "http://h/?pass%77ord=‹redacted:2 bytes›",
            ),
            (
                "Link",
                "</a?sig=xy>; rel=next, <http://u@h/b?c=d>; rel=\"x\"",
                "</a?sig=‹redacted:2 bytes›>; rel=next, <http://‹redacted:1 bytes›@h/b?c=d>; rel=\"x\"",
            ),
            (
                "Refresh",
                "5; url='/a?token=x y'",
                "5; url='/a?token=‹redacted:3 bytes›'",
            ),
            ("Server", "/a?token=x", "unchanged"),
        ] {
            assert_eq!(value(name, text), expected, "{name}: {text}");
        }
    }

    #[test]
    fn targets_of_requests() {
        for (line, expected) in [
            ("GET /a?b=c HTTP/1.1", "/a?b=c"),
            (
                "GET /a?password=a b;c&d=e HTTP/1.1",
                "/a?password=‹redacted:5 bytes›&d=e",
            ),
            ("GET http://u:p@h/ HTTP/1.1", "http://‹redacted:3 bytes›@h/"),
            ("CONNECT u:p@h:443 HTTP/1.1", "‹redacted:3 bytes›@h:443"),
            ("GET /a@b HTTP/1.1", "/a@b"),
        ] {
            let mut event = testing::event();
            event.request = Some(testing::request(&format!("{line}\r\n\r\n")));
            Secrets::default().redact(&mut event);
            let target = event.request.map(|r| r.target).expect("a request");
            assert_eq!(String::from_utf8_lossy(&target), expected, "{line}");
        }
    }

    #[test]
    fn a_list_of_ones_own_extends_it() {
        let secrets = Secrets::with(vec!["x-mine".into()], vec!["pin".into()]);
        assert!(secrets.value(b"X-Mine", b"a").is_some());
        assert!(secrets.value(b"Location", b"/?PIN=1234").is_some());
        assert!(secrets.value(b"Cookie", b"a=b").is_some());
    }

    #[test]
    fn nothing_is_copied_where_nothing_is_secret() {
        let mut event = testing::event();
        let before: Vec<*const u8> = event
            .response
            .iter()
            .flat_map(|r| &r.headers.0)
            .map(|h| h.value.as_ptr())
            .collect();
        Secrets::default().redact(&mut event);
        let after: Vec<*const u8> = event
            .response
            .iter()
            .flat_map(|r| &r.headers.0)
            .map(|h| h.value.as_ptr())
            .collect();
        assert_eq!(before, after);
    }

    #[test]
    fn the_user_of_basic() {
        for (text, expected) in [
            ("Basic YWxpY2U6c2VjcmV0", Some("alice")),
            ("basic  YWxpY2U6c2VjcmV0 ", Some("alice")),
            ("Basic OnNlY3JldA==", None),
            ("Basic ????", None),
            ("Bearer YWxpY2U6c2VjcmV0", None),
            ("Ba", None),
        ] {
            let mut event = testing::event();
            event.request = Some(testing::request(&format!(
                "GET / HTTP/1.1\r\nAuthorization: {text}\r\n\r\n"
            )));
            let user = basic_user(&event).map(|u| String::from_utf8_lossy(&u).into_owned());
            assert_eq!(user.as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived_and_a_secret_never_is(
            name in prop::sample::select(vec!["Cookie", "Set-Cookie", "Location", "Link", "Refresh", "X"]),
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"eyJ.;=&?#@:/[]%<>token ".to_vec())], 0..200),
        ) {
            let secrets = Secrets::default();
            let _ = secrets.value(name.as_bytes(), &bytes);
            let _ = secrets.url(&bytes, b">", true);
            let hidden = [&bytes[..], b"?token=HIDDEN"].concat();
            let clean = secrets.url(&hidden, b"", false).expect("changed");
            prop_assert!(memmem::find(&clean, b"HIDDEN").is_none());
        }
    }
}
