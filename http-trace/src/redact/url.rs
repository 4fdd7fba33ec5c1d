//! Where the secrets of a URL are: userinfo (RFC 3986 §3.2.1) and the values of parameters whose
//! names say so. Finds ranges and changes nothing.

use memchr::memmem;

use super::is_one_of;

/// Ranges of secrets in a text with URLs, in no order; they may overlap. `ends` are bytes that end
/// a URL there; `authority_form` is the target of CONNECT.
pub fn secrets(
    text: &[u8],
    ends: &[u8],
    authority_form: bool,
    parameters: &[String],
) -> Vec<(usize, usize)> {
    let mut cuts = userinfos(text, ends, authority_form);
    parameter_values(text, ends, parameters, &mut cuts);
    cuts
}

/// Ranges of the values of secret parameters: in the query and the fragment they end at `&`
/// or `#`, as path parameters (`;jsessionid=…`) at the next `/`, `?`, `;` or `#` too.
fn parameter_values(text: &[u8], ends: &[u8], secret: &[String], cuts: &mut Vec<(usize, usize)>) {
    // Without any '=' there is no parameter; most targets end here.
    if memchr::memchr(b'=', text).is_none() {
        return;
    }
    let mut in_query = false;
    let mut beside_state = None;
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if ends.contains(&byte) {
            in_query = false;
        }
        match byte {
            b'?' | b'#' => in_query = true,
            b'&' | b';' => {}
            _ => continue,
        }
        let rest = &text[at..];
        let stop = |b: &u8| matches!(b, b'=' | b'&' | b';' | b'?' | b'#') || ends.contains(b);
        let Some(name_len) = rest.iter().position(stop).filter(|n| rest[*n] == b'=') else {
            continue;
        };
        let name = &rest[..name_len];
        let secret = is_secret_parameter(name, secret)
            || (name.eq_ignore_ascii_case(b"code")
                && *beside_state.get_or_insert_with(|| has_state(text)));
        if !secret {
            continue;
        }
        let from = at + name_len + 1;
        let is_end = |b: &u8| {
            matches!(b, b'&' | b'#')
                || ends.contains(b)
                || (!in_query && matches!(b, b'/' | b'?' | b';'))
        };
        let to = text[from..]
            .iter()
            .position(is_end)
            .map_or(text.len(), |n| from + n);
        if to > from {
            cuts.push((from, to));
        }
        at = to;
    }
}

fn is_secret_parameter(name: &[u8], secret: &[String]) -> bool {
    let mut buffer = [0_u8; 64];
    let Some(name) = plain_name(name, &mut buffer) else {
        return false;
    };
    // user[password]=, token[]=
    let bracket = name.iter().position(|b| *b == b'[').unwrap_or(name.len());
    let inner = name
        .strip_suffix(b"]")
        .and_then(|n| n.rsplit(|b| *b == b'[').next());
    [Some(name), Some(&name[..bracket]), inner]
        .into_iter()
        .flatten()
        .any(|n| is_one_of(secret, n))
}

/// Whether there is a parameter `state`.
fn has_state(text: &[u8]) -> bool {
    memmem::find_iter(text, b"state=").any(|at| {
        at.checked_sub(1)
            .is_some_and(|before| matches!(text[before], b'?' | b'&' | b'#' | b';'))
    })
}

/// Ranges of userinfo: after each `://` (and, for CONNECT, at the beginning) up to the last `@`
/// of the authority (RFC 3986 §3.2.1).
fn userinfos(text: &[u8], ends: &[u8], authority_form: bool) -> Vec<(usize, usize)> {
    let mut cuts = Vec::new();
    if memchr::memchr(b'@', text).is_none() {
        return cuts;
    }
    let mut add = |from: usize| {
        let is_end =
            |b: &u8| matches!(b, b'/' | b'?' | b'#' | b' ' | b'<' | b'>') || ends.contains(b);
        let end = text[from..]
            .iter()
            .position(is_end)
            .map_or(text.len(), |n| from + n);
        let at = memchr::memrchr(b'@', &text[from..end]);
        if let Some(len) = at.filter(|n| *n > 0) {
            cuts.push((from, from + len));
        }
    };
    if authority_form {
        add(0);
    }
    for slashes in memmem::find_iter(text, b"://") {
        add(slashes + 3);
    }
    cuts
}

/// A parameter's name, percent-decoded and in lower case; `None` when it is longer than any that
/// matters.
fn plain_name<'a>(name: &[u8], buffer: &'a mut [u8; 64]) -> Option<&'a [u8]> {
    let mut len = 0;
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(h), Some(l)) => (h << 4 | l, after),
                _ => (b'%', tail),
            },
            _ => (*first, tail),
        };
        *buffer.get_mut(len)? = byte.to_ascii_lowercase();
        len += 1;
        rest = tail;
    }
    buffer.get(..len)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}
