//! Secrets in URLs: userinfo (RFC 3986 §3.2.1), and values of parameters with a name that denotes a secret.
//! Finds ranges and changes nothing.

use memchr::memmem;

use super::context::Context;
use super::names::is_ambiguous;
use super::shapes::{is_token, looks_random};

/// Adds the ranges of values of secret parameters: in query and fragment they end at `&` or `#`; path
/// parameters (`;jsessionid=…`) also at the next `/`, `?` or `;`.
pub(super) fn parameter_values(
    text: &[u8],
    cx: &Context,
    is_secret: &dyn Fn(&[u8]) -> bool,
    cuts: &mut Vec<(usize, usize)>,
) {
    let mut in_query = cx.query;
    let mut begins = cx.query;
    let (mut of_oauth, mut of_subsonic) = (None, None);
    // Where a URL ends, or the name of a parameter may follow.
    let is_before_name = |b: &u8| matches!(b, b'?' | b'#' | b'&' | b';') || cx.ends.contains(b);
    let mut at = 0;
    loop {
        if !begins {
            let next = text[at..].iter().position(is_before_name);
            let Some(next) = next else { break };
            at += next + 1;
            match text[at - 1] {
                b'?' | b'#' => in_query = true,
                b'&' | b';' => {}
                _ => {
                    in_query = false;
                    continue;
                }
            }
        }
        begins = false;
        let rest = &text[at..];
        let name_end = rest.iter().position(|b| *b == b'=' || is_before_name(b));
        let Some(name_len) = name_end.filter(|n| rest[*n] == b'=') else {
            continue;
        };
        let name = &rest[..name_len];
        let from = at + name_len + 1;
        let is_end = |b: &u8| {
            matches!(b, b'&' | b'#')
                || cx.ends.contains(b)
                || (!in_query && matches!(b, b'/' | b'?' | b';'))
        };
        let end = || text[from..].iter().position(is_end).map_or(text.len(), |n| from + n);
        let has = |name: &[u8]| has_parameter(text, name);
        // `code` is a secret only beside `state` (RFC 6749 §4.1.2) or at a callback: elsewhere it is more often
        // a product's. Subsonic's clients send a password, or a hash of it and the salt, as `p`, `t` and `s`.
        let secret = match name {
            [b'p' | b's' | b't'] => {
                let is_one = || {
                    let of_api = |part: &[u8]| memmem::find(text, part).is_some();
                    of_api(b"/rest/") && has(b"u=") && (of_api(b".view?") || has(b"v=1."))
                };
                is_secret(name) || *of_subsonic.get_or_insert_with(is_one)
            }
            name if name.eq_ignore_ascii_case(b"code") => {
                is_secret(name)
                    || *of_oauth.get_or_insert_with(|| has(b"state=") || is_callback(text))
            }
            name => is_secret(name) || is_ambiguous(name) && begins_random(&text[from..]),
        };
        if !secret {
            continue;
        }
        let to = end();
        if to > from {
            cuts.push((from, to));
        }
        at = to;
    }
}

/// Path segments that are followed by a token in links sent by mail, or by the key of an integration.
const ANNOUNCES: &str = "activate activation confirm confirmation integration invitation invitations invite \
                         magic magic-link password-reset reset reset-password unsubscribe verification verify \
                         verify-email";

/// Adds the ranges of path segments that look like tokens and follow a segment whose name is secret or
/// announces a token: `/reset-token/…`, with a number or name between them: `/reset/MTIz/…`; and cookieless sessions
/// of ASP.NET (`/(S(…))/`) and cPanel (`/cpsess…/`), and private calendars (`/private-…/basic.ics`). A path may also
/// be the value of a parameter, or in the fragment.
pub(super) fn segments(
    text: &[u8],
    is_secret: &dyn Fn(&[u8]) -> bool,
    cuts: &mut Vec<(usize, usize)>,
) {
    let announces = |name: &[u8]| {
        let mut words = ANNOUNCES.split(' ');
        words.any(|word| name.eq_ignore_ascii_case(word.as_bytes()))
    };
    let mut at = 0;
    for path in text.split(|b| matches!(b, b'?' | b'#' | b'&' | b'=')) {
        // The two segments before, without those that name no other place.
        let mut before: [&[u8]; 2] = [&[]; 2];
        for segment in path.split(|b| *b == b'/') {
            let [outer, name] = before;
            let announced = || announces(name) || (name.len() <= 12 && announces(outer));
            // Most segments are too short for a token.
            if looks_random(segment) && (announced() || is_secret(name)) {
                cuts.push((at, at + segment.len()));
            } else if segment.starts_with(b"(S(") || segment.starts_with(b"(F(") {
                let inner = segment.strip_suffix(b"))").unwrap_or(segment);
                cuts.push((at + 3, at + inner.len().max(3)));
            } else if let Some(prefix) = before_token(segment, &text[at + segment.len()..]) {
                cuts.push((at + prefix, at + segment.len()));
            }
            if !matches!(segment, b"" | b".") {
                before = [name, segment];
            }
            at += segment.len() + 1;
        }
    }
}

/// Whether a text begins with what looks like a token. Looks no further than its first word.
fn begins_random(text: &[u8]) -> bool {
    let len = text.iter().position(|byte| !is_token(byte)).unwrap_or(text.len());
    let kinds =
        text[..len].iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::is_ascii_digit);
    let next = kinds.clone().skip(1);
    // A name with a number in it alternates less.
    looks_random(&text[..len]) && kinds.zip(next).filter(|(one, other)| one != other).count() >= 3
}

/// Length of what a segment, which `after` follows, has before a token that it is for itself.
fn before_token(segment: &[u8], after: &[u8]) -> Option<usize> {
    let is_calendar = || after.starts_with(b"/basic.ics") || after.starts_with(b"/full.ics");
    let (prefix, least, is): (&[u8], usize, fn(&u8) -> bool) = match segment.first()? {
        b'c' => (b"cpsess", 6, u8::is_ascii_digit),
        b'p' if is_calendar() => (b"private-", 16, u8::is_ascii_hexdigit),
        _ => return None,
    };
    let token = segment.strip_prefix(prefix)?;
    (token.len() >= least && token.iter().all(is)).then_some(prefix.len())
}

/// Whether the path is one to which an authorization server sends back.
fn is_callback(text: &[u8]) -> bool {
    let path = memchr::memchr2(b'?', b'#', text).unwrap_or(text.len());
    let mut parts = text[..path].split(|b| *b == b'/');
    parts.any(|part| {
        let is = |name: &[u8]| part.eq_ignore_ascii_case(name);
        is(b"callback") || is(b"oauth") || is(b"oauth2") || is(b"oidc")
    })
}

/// Whether a parameter begins so.
fn has_parameter(text: &[u8], begin: &[u8]) -> bool {
    memmem::find_iter(text, begin).any(|at| match at.checked_sub(1) {
        Some(before) => matches!(text[before], b'?' | b'&' | b'#' | b';'),
        None => true,
    })
}

/// Adds the ranges of userinfo: after each `//` that begins an authority (and at the start of an authority),
/// up to the last `@` in it (RFC 3986 §3.2.1).
pub(super) fn userinfos(text: &[u8], cx: &Context, cuts: &mut Vec<(usize, usize)>) {
    let mut add = |from: usize| {
        let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#' | b'<' | b'>') || cx.ends.contains(b);
        let end = text[from..].iter().position(is_end);
        let authority = &text[from..end.map_or(text.len(), |n| from + n)];
        let len = memchr::memrchr(b'@', authority).or_else(|| {
            // Truncated before its '@': a password rather than a port.
            let colon = memchr::memchr(b':', authority).filter(|_| cx.cut && end.is_none())?;
            let digits = authority[colon + 1..].iter().all(u8::is_ascii_digit);
            (!digits && !authority.starts_with(b"[")).then_some(authority.len())
        });
        if let Some(len) = len.filter(|n| *n > 0) {
            cuts.push((from, from + len));
        }
    };
    if cx.authority {
        add(0);
    }
    for slashes in memmem::find_iter(text, b"//") {
        let before = slashes.checked_sub(1).map(|at| text[at]);
        if before.is_none_or(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'/' | b'.' | b'-')) {
            add(slashes + 2);
        }
    }
}

/// Adds the ranges of user and password before the `@` of data sources that are not URLs: of Go
/// (`user:password@tcp(host)/db`), of Oracle (`user/password@host:1521/service`), and `user:password@host:port`.
pub(super) fn data_sources(text: &[u8], cx: &Context, cuts: &mut Vec<(usize, usize)>) {
    let outside = |b: &u8| {
        b.is_ascii_whitespace()
            || matches!(b, b'"' | b'\'' | b'`' | b'<' | b'>' | b'=' | b'&' | b'?')
    };
    let mut from = 0;
    for word in text.split(outside) {
        // Found once for all `@` of the word, of which there may be many.
        let mut slashes = memchr::memchr_iter(b'/', word);
        let (slash, second) = (slashes.next(), slashes.next());
        let colon = memchr::memchr(b':', word).filter(|n| *n > 0);
        let user = slash.map_or(0, |slash| {
            let before = word[..slash].iter().rposition(|b| *b == b':');
            before.map_or(0, |n| n + 1)
        });
        let is_user = slash.is_some_and(|n| user < n && word[user..n].iter().all(is_name));
        let is_jdbc = word.starts_with(b"jdbc:oracle:");
        for at in memchr::memchr_iter(b'@', word) {
            let after = &text[from + at + 1..];
            let rest = || {
                let name = after.iter().position(|b| !is_name(b));
                &after[name.unwrap_or(after.len())..]
            };
            let is_port = || {
                let rest = rest();
                let digits = rest.iter().skip(1).take_while(|b| b.is_ascii_digit());
                let len = digits.take(6).count();
                rest.first() == Some(&b':')
                    && (1..=5).contains(&len)
                    && !rest.get(len + 1).is_some_and(u8::is_ascii_alphanumeric)
            };
            let begin = if slash.is_some_and(|n| n > 0 && n + 1 < at) {
                let is_one = second.is_none_or(|second| second > at);
                let goes_to = || after.starts_with(b"//") || after.starts_with(b"(") || is_port();
                (is_user && is_one && (is_jdbc || goes_to())).then_some(user)
            } else if colon.is_some_and(|n| n < at) && word[at - 1] != b':' {
                let goes_to = || rest().starts_with(b"(") || after.starts_with(b"/");
                let is_address = || cx.colons && is_port() && !word.starts_with(b"sip");
                (goes_to() || is_address()).then_some(0)
            } else {
                None
            };
            if let Some(begin) = begin {
                cuts.push((from + begin, from + at));
            }
        }
        from += word.len() + 1;
    }
}

/// Whether a byte may be in the name of a host or a user.
fn is_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$' | b'#')
}
