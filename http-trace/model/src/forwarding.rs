//! Parses the entries of Forwarded (RFC 7239) and X-Forwarded-For. Which of them to believe is not decided here.

use std::net::IpAddr;

use super::event::Forwarded;

/// Splits at a separator outside quoted strings (RFC 9110 §5.6.4).
pub fn split(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b if *b == separator && !quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// The `for` parameter of a forwarded-element (RFC 7239 §4), as [`node`].
pub fn element(text: &[u8]) -> Option<Forwarded> {
    for pair in split(text, b';') {
        let Some(equals) = pair.iter().position(|b| *b == b'=') else {
            continue;
        };
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"for") {
            return match value.strip_prefix(b"\"") {
                None => node(value),
                // No address needs a quoted-pair.
                Some(rest) => rest.strip_suffix(b"\"").and_then(node),
            };
        }
    }
    None
}

/// Parses a node (RFC 7239 §6), and forms found in X-Forwarded-For: IPv6 with or without brackets, optionally
/// with a port. `None` for `unknown`, an obfuscated identifier (§6.2, §6.3), or anything else.
pub fn node(text: &[u8]) -> Option<Forwarded> {
    let text = std::str::from_utf8(text).ok()?.trim_matches('"');
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(Forwarded { ip: ip.to_canonical(), port: None });
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => text.rsplit_once(':').map(|(host, port)| (host, Some(port)))?,
    };
    let ip: IpAddr = host.parse().ok()?;
    // An obfuscated port (`_x`) does not invalidate the address.
    let port = port.and_then(|port| port.parse().ok());
    Some(Forwarded { ip: ip.to_canonical(), port })
}
