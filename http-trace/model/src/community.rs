//! Community ID version 1: an identifier of a connection shared with other tools
//! (<https://github.com/corelight/community-id-spec>).

use std::net::IpAddr;

use base64::Engine as _;
use sha1::{Digest, Sha1};

use crate::event::Endpoint;

/// Length of the text in bytes: `1:` and 20 bytes in base64.
pub const LEN: usize = 30;

/// The Community ID of a TCP connection, with the default seed 0.
pub fn community_id(one: Endpoint, other: Endpoint) -> [u8; LEN] {
    const TCP: u8 = 6;
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for ip in [low.ip, high.ip] {
        match ip {
            IpAddr::V4(v4) => hash.update(v4.octets()),
            IpAddr::V6(v6) => hash.update(v6.octets()),
        }
    }
    hash.update([TCP, 0]);
    hash.update(low.port.to_be_bytes());
    hash.update(high.port.to_be_bytes());
    let mut text = [0; LEN];
    text[..2].copy_from_slice(b"1:");
    // 20 bytes always encode to 28 characters.
    let written =
        base64::engine::general_purpose::STANDARD.encode_slice(hash.finalize(), &mut text[2..]);
    debug_assert_eq!(written, Ok(28));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> Endpoint {
        let address: std::net::SocketAddr = text.parse().expect("an address");
        Endpoint { ip: address.ip(), port: address.port() }
    }

    /// Values from the specification's own baseline.
    #[test]
    fn published_values() {
        for (one, other, expected) in [
            ("128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (
                "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
                "[2607:f8b0:400c:c03::1a]:25",
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
        ] {
            let (one, other) = (end(one), end(other));
            assert_eq!(std::str::from_utf8(&community_id(one, other)), Ok(expected));
            assert_eq!(std::str::from_utf8(&community_id(other, one)), Ok(expected));
        }
    }
}
