//! The fields that are the same in every record of a connection, rendered once: keep-alive
//! connections ask for them with every response, and addresses and the Community ID cost more than
//! all else in a record.

use std::io::Write as _;

use super::object::{comma, decimal};
use crate::event::Endpoint;
use crate::sink::community::community_id;

const SLOTS: usize = 256;

/// The last connections' fields.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    of: Option<(Endpoint, Endpoint)>,
    text: Vec<u8>,
}

impl Default for Cache {
    fn default() -> Self {
        Cache {
            slots: vec![Slot::default(); SLOTS],
        }
    }
}

impl Cache {
    /// Appends `source`, `client`, `destination`, `server` and `network`, the last one open.
    pub fn append(
        &mut self,
        out: &mut Vec<u8>,
        connection: u64,
        client: Endpoint,
        server: Endpoint,
    ) {
        let Some(slot) = self.slots.get_mut((connection % SLOTS as u64) as usize) else {
            return;
        };
        if slot.of != Some((client, server)) {
            slot.of = Some((client, server));
            slot.text.clear();
            render(&mut slot.text, client, server);
        }
        comma(out);
        out.extend_from_slice(&slot.text);
    }
}

fn render(text: &mut Vec<u8>, client: Endpoint, server: Endpoint) {
    for (peer, role, end) in [
        ("source", "client", client),
        ("destination", "server", server),
    ] {
        // Writing to a vector cannot fail.
        let _ = write!(text, "\"{peer}\":{{\"ip\":\"{}\",\"port\":", end.ip);
        decimal(text, u64::from(end.port));
        let _ = write!(
            text,
            "}},\"{role}\":{{\"ip\":\"{ip}\",\"address\":\"{ip}\",\"port\":",
            ip = end.ip
        );
        decimal(text, u64::from(end.port));
        text.extend_from_slice(b"},");
    }
    text.extend_from_slice(br#""network":{"transport":"tcp","protocol":"http","type":""#);
    text.extend_from_slice(if server.ip.is_ipv4() {
        b"ipv4"
    } else {
        b"ipv6"
    });
    text.extend_from_slice(br#"","community_id":""#);
    text.extend_from_slice(&community_id(client, server));
    text.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_never_answers_for_another_connection() {
        let end = |text: &str| {
            let address: std::net::SocketAddr = text.parse().expect("an address");
            Endpoint {
                ip: address.ip(),
                port: address.port(),
            }
        };
        let mut cache = Cache::default();
        let server = end("10.0.0.1:80");
        for port in 1..1000_u16 {
            let client = Endpoint {
                port,
                ..end("10.0.0.2:1")
            };
            for connection in [u64::from(port), 7] {
                let (mut got, mut expected) = (Vec::new(), Vec::new());
                cache.append(&mut got, connection, client, server);
                render(&mut expected, client, server);
                assert_eq!(got, expected);
            }
        }
    }
}
