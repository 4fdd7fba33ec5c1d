//! The fields that are the same in every record of a connection, rendered once: keep-alive
//! connections ask for them with every response, and addresses and the Community ID cost more than
//! all else in a record.

use std::io::Write as _;

use super::object::{comma, decimal};
use http_trace_model::community::community_id;
use http_trace_model::event::{Endpoint, Forwarded, HttpEvent};

/// Of some 450 bytes each.
const SLOTS: usize = 1024;

/// The last connections' fields.
#[derive(Debug)]
pub struct Cache {
    slots: Vec<Slot>,
}

/// The ends of a connection, as an event has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peers {
    client: Endpoint,
    server: Endpoint,
    nat_client: Option<Endpoint>,
    nat_server: Option<Endpoint>,
    forwarded: Option<Forwarded>,
}

impl Peers {
    /// Of an event.
    pub const fn of(event: &HttpEvent) -> Self {
        Peers {
            client: event.client,
            server: event.server,
            nat_client: event.nat_client,
            nat_server: event.nat_server,
            forwarded: event.forwarded,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Slot {
    of: Option<Peers>,
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
    pub fn append(&mut self, out: &mut Vec<u8>, connection: u64, peers: Peers) {
        let Some(slot) = self.slots.get_mut((connection % SLOTS as u64) as usize) else {
            return;
        };
        if slot.of != Some(peers) {
            slot.of = Some(peers);
            slot.text.clear();
            render(&mut slot.text, peers);
        }
        comma(out);
        out.extend_from_slice(&slot.text);
    }
}

/// What a recording does not say of an end is left out, and with it the Community ID, which would be
/// that of another connection.
fn render(text: &mut Vec<u8>, peers: Peers) {
    let Peers { client, server, .. } = peers;
    let of = |end: Endpoint| Forwarded {
        ip: end.ip,
        port: end.known_port(),
    };
    let real = peers.forwarded.unwrap_or(of(client));
    for (peer, role, end, who, nat) in [
        ("source", "client", client, real, peers.nat_client),
        (
            "destination",
            "server",
            server,
            of(server),
            peers.nat_server,
        ),
    ] {
        if role == "server" && end == Endpoint::NOBODY {
            continue;
        }
        // Writing to a vector cannot fail.
        let _ = write!(text, "\"{peer}\":{{\"ip\":\"{}\"", end.ip);
        if let Some(port) = end.known_port() {
            text.extend_from_slice(b",\"port\":");
            decimal(text, u64::from(port));
        }
        if let Some(nat) = nat {
            let _ = write!(text, ",\"nat\":{{\"ip\":\"{}\",\"port\":", nat.ip);
            decimal(text, u64::from(nat.port));
            text.push(b'}');
        }
        let _ = write!(
            text,
            "}},\"{role}\":{{\"ip\":\"{ip}\",\"address\":\"{ip}\"",
            ip = who.ip
        );
        if let Some(port) = who.port {
            text.extend_from_slice(b",\"port\":");
            decimal(text, u64::from(port));
        }
        text.extend_from_slice(b"},");
    }
    text.extend_from_slice(br#""network":{"transport":"tcp","protocol":"http","type":""#);
    let ip = server.known_ip().unwrap_or(client.ip);
    text.extend_from_slice(if ip.is_ipv4() { b"ipv4\"" } else { b"ipv6\"" });
    if server.known_ip().is_some() && [client, server].iter().all(|e| e.known_port().is_some()) {
        text.extend_from_slice(br#","community_id":""#);
        text.extend_from_slice(&community_id(client, server));
        text.push(b'"');
    }
    if let Some(forwarded) = peers.forwarded {
        let _ = write!(text, ",\"forwarded_ip\":\"{}\"", forwarded.ip);
    }
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
            for (connection, nat_client) in [(u64::from(port), None), (7, None), (7, Some(server))]
            {
                let peers = Peers {
                    client,
                    server,
                    nat_client,
                    nat_server: None,
                    forwarded: None,
                };
                let (mut got, mut expected) = (Vec::new(), Vec::new());
                cache.append(&mut got, connection, peers);
                render(&mut expected, peers);
                assert_eq!(got, expected);
            }
        }
    }
}
