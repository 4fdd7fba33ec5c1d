//! PROXY protocol headers, versions 1 and 2 (HAProxy, The PROXY protocol, §2): the client of the proxy
//! that opened the connection. Takes only bytes that the framer recognised as such a header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http_trace_model::event::Forwarded;

/// Version 2's signature.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The source that the header names; `None` if it names none (`UNKNOWN`, `LOCAL`, a family without IP
/// addresses) or is malformed. `header` may lack the blank lines at the beginning of version 2.
pub fn source(header: &[u8]) -> Option<Forwarded> {
    match header.strip_prefix(b"PROXY ") {
        Some(line) => version_1(line),
        None => {
            // The first four bytes are line terminators, which belong to no head.
            let short = header.strip_prefix(SIGNATURE.get(4..)?);
            version_2(header.strip_prefix(SIGNATURE).or(short)?)
        }
    }
}

/// `TCP4 SOURCE DESTINATION PORT PORT`.
fn version_1(line: &[u8]) -> Option<Forwarded> {
    let line = std::str::from_utf8(line.trim_ascii_end()).ok()?;
    let mut words = line.split(' ');
    let family = words.next()?;
    let ip: IpAddr = words.next()?.parse().ok()?;
    let port = words.nth(1)?.parse().ok()?;
    let fits = match family {
        "TCP4" => ip.is_ipv4(),
        "TCP6" => ip.is_ipv6(),
        _ => false,
    };
    fits.then(|| Forwarded { ip: ip.to_canonical(), port: Some(port) })
}

/// Version and command, family, length, addresses.
fn version_2(rest: &[u8]) -> Option<Forwarded> {
    const PROXY: u8 = 0x21;
    const TCP_OVER_IPV4: u8 = 0x11;
    const TCP_OVER_IPV6: u8 = 0x21;
    let (&[command, family, _, _], addresses) = rest.split_first_chunk()?;
    let (ip, ports): (IpAddr, &[u8]) = match (command, family) {
        (PROXY, TCP_OVER_IPV4) => {
            let (ip, rest) = addresses.split_first_chunk::<4>()?;
            (Ipv4Addr::from(*ip).into(), rest.get(4..)?)
        }
        (PROXY, TCP_OVER_IPV6) => {
            let (ip, rest) = addresses.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*ip).to_canonical(), rest.get(16..)?)
        }
        _ => return None,
    };
    let (port, _) = ports.split_first_chunk::<2>()?;
    Some(Forwarded { ip, port: Some(u16::from_be_bytes(*port)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_both_versions() {
        let v6 = [
            &b"\0\r\nQUIT\n\x21\x21\0\x24"[..],
            &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 16],
            b"\x12\x34\0\x50",
        ]
        .concat();
        for (header, expected) in [
            (&b"PROXY TCP4 203.0.113.9 10.0.0.2 4660 80\r\n"[..], Some("203.0.113.9 4660")),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 4660 80\r\n", Some("2001:db8::1 4660")),
            (b"PROXY TCP4 2001:db8::1 2001:db8::2 4660 80\r\n", None),
            (b"PROXY UNKNOWN\r\n", None),
            (b"PROXY UNKNOWN 203.0.113.9 10.0.0.2 4660 80\r\n", None),
            (b"PROXY TCP4 203.0.113.9\r\n", None),
            (b"PROXY TCP4 203.0.113.9 10.0.0.2 x 80\r\n", None),
            (
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x02\x12\x34\0\x50",
                Some("203.0.113.9 4660"),
            ),
            (&v6, Some("2001:db8::1 4660")),
            // LOCAL, datagrams, too short.
            (b"\0\r\nQUIT\n\x20\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x02\x12\x34\0\x50", None),
            (b"\0\r\nQUIT\n\x21\x12\0\x0c\xcb\0\x71\x09\x0a\0\0\x02\x12\x34\0\x50", None),
            (b"\0\r\nQUIT\n\x21\x11\0\x04\xcb\0\x71\x09", None),
        ] {
            let named = source(header).map(|f| format!("{} {}", f.ip, f.port.unwrap_or(0)));
            assert_eq!(named.as_deref(), expected, "{}", header.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(begin in 0_usize..3, bytes: Vec<u8>) {
            let begins: [&[u8]; 3] = [b"PROXY TCP4 ", b"\0\r\nQUIT\n\x21\x11", b""];
            let _ = source(&[begins[begin], &bytes].concat());
        }
    }
}
