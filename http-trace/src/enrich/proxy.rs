//! The real client behind trusted proxies: the right-most address of the forwarding chain that does not
//! belong to a trusted proxy. Reads request heads; believes nothing that an untrusted peer wrote.
//!
//! A proxy appends its peer's address, so the chain is read from the right: an entry is true as long as the
//! one who wrote it is trusted, and anything left of the first untrusted address may be forged.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use http_trace_model::event::{Forwarded, HttpEvent};
use http_trace_model::forwarding;
use http_trace_model::head::Headers;

/// Name of the flag of a request whose forwarding fields name different clients.
pub const CONFLICT: &str = "forwarded_conflict";

/// Maximum length of a chain; of a longer one the right end is used.
const MOST_HOPS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    networks: Vec<IpNet>,
}

impl Default for Trusted {
    fn default() -> Self {
        Trusted { networks: loopback().into() }
    }
}

/// 127.0.0.0/8 (RFC 1122 §3.2.1.3) and ::1 (RFC 4291 §2.5.3).
fn loopback() -> [IpNet; 2] {
    [
        IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
    ]
}

impl Trusted {
    /// Trusts loopback and these networks.
    pub fn with(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let mut trusted = Trusted::default();
        trusted.networks.extend(networks);
        trusted
    }

    /// Trusts these networks only, without loopback.
    pub const fn only(networks: Vec<IpNet>) -> Self {
        Trusted { networks }
    }

    /// Whether an address belongs to a trusted proxy.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }

    /// Sets [`HttpEvent::forwarded`] if the connection's peer is trusted and names a client. If
    /// X-Forwarded-For, Forwarded and X-Real-IP disagree, the first of them that is present wins and the
    /// event is flagged: most proxies set only one and forward the others unchanged.
    pub fn name_client(&self, event: &mut HttpEvent) {
        // A client from PROXY protocol applies to every request of the connection.
        let connection = event.forwarded.take();
        let peer = match connection {
            _ if !self.contains(event.client.ip) => return,
            Some(from) => from,
            None => Forwarded { ip: event.client.ip, port: event.client.known_port() },
        };
        event.forwarded = connection;
        if !self.contains(peer.ip) {
            return;
        }
        let Some(request) = &event.request else { return };
        // `Some(None)`: the field hides the client, whatever the others say.
        let mut named: Option<Option<Forwarded>> = None;
        let mut conflict = false;
        for field in FIELDS {
            let Some(client) = client_of(field, &request.headers, self) else { continue };
            match named {
                None => named = Some(client),
                Some(first) => conflict |= first.map(|f| f.ip) != client.map(|c| c.ip),
            }
        }
        if let Some(Some(named)) = named {
            event.forwarded = Some(named);
        }
        if conflict && let Err(at) = event.flags.binary_search(&CONFLICT) {
            event.flags.insert(at, CONFLICT);
        }
    }
}

/// Request fields that carry a forwarding chain: a list of addresses, the elements of RFC 7239 §4, and one address,
/// set by the proxy next to the server.
const FIELDS: [&str; 3] = ["x-forwarded-for", FORWARDED, "x-real-ip"];

const FORWARDED: &str = "forwarded";

/// The right-most untrusted address of a field; if all are trusted, the left-most one. `None` if the field is not there
/// or empty, `Some(None)` if its right end hides the client.
fn client_of(field: &str, headers: &Headers, trusted: &Trusted) -> Option<Option<Forwarded>> {
    // Several lines form one list (RFC 9110 §5.3), so the last line holds the right end.
    let lines: Vec<&[u8]> = headers.all(field).collect();
    let mut client = None;
    let mut hops = 0;
    for line in lines.into_iter().rev() {
        let entries = match field {
            FORWARDED => forwarding::split(line, b','),
            _ => line.split(|b| *b == b',').collect(),
        };
        for entry in entries.into_iter().rev() {
            let entry = entry.trim_ascii();
            if entry.is_empty() {
                continue;
            }
            hops += 1;
            if hops > MOST_HOPS {
                return Some(client);
            }
            let hop = match field {
                FORWARDED => forwarding::element(entry),
                _ => forwarding::node(entry),
            };
            // The client behind a hidden hop is unknown; the hop to its right is the nearest known one.
            let Some(address) = hop else { return Some(client) };
            client = Some(address);
            if !trusted.contains(address.ip) {
                return Some(client);
            }
        }
    }
    client.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_samples as testing;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// The client that `peer` names with these fields; trusted are loopback and 10.0.0.0/8.
    fn client(peer: &str, fields: &[(&str, &str)]) -> (Option<String>, bool) {
        let trusted = Trusted::with(["10.0.0.0/8".parse::<IpNet>().expect("a network")]);
        let mut event = testing::event();
        event.client.ip = ip(peer);
        let lines: Vec<(&[u8], &[u8])> =
            fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        if let Some(request) = &mut event.request {
            request.headers = testing::headers(&lines);
        }
        trusted.name_client(&mut event);
        let shown = event.forwarded.map(|f| match f.port {
            Some(port) => format!("{} {port}", f.ip),
            None => f.ip.to_string(),
        });
        (shown, event.flags.contains(&CONFLICT))
    }

    #[test]
    fn the_right_most_untrusted_address_is_the_client() {
        const XFF: &str = "X-Forwarded-For";
        for (peer, fields, expected) in [
            ("127.0.0.1", &[][..], None),
            ("127.0.0.1", &[(XFF, "203.0.113.9")], Some("203.0.113.9")),
            // Fields of an untrusted peer are ignored.
            ("198.51.100.1", &[(XFF, "203.0.113.9")], None),
            // The client forged the left part.
            ("127.0.0.1", &[(XFF, "1.1.1.1, 203.0.113.9")], Some("203.0.113.9")),
            ("::1", &[(XFF, "1.1.1.1,203.0.113.9, 10.0.0.7 ,10.0.0.8")], Some("203.0.113.9")),
            // Two lines form one list.
            (
                "10.2.2.2",
                &[(XFF, "203.0.113.9"), ("x-forwarded-for", "10.0.0.1")],
                Some("203.0.113.9"),
            ),
            // All trusted: an internal client.
            ("127.0.0.1", &[(XFF, "10.0.0.7, 10.0.0.8")], Some("10.0.0.7")),
            ("127.0.0.1", &[(XFF, "203.0.113.9:4711")], Some("203.0.113.9 4711")),
            ("127.0.0.1", &[(XFF, "2001:db8::1")], Some("2001:db8::1")),
            ("127.0.0.1", &[(XFF, "[2001:db8::1]:80")], Some("2001:db8::1 80")),
            ("127.0.0.1", &[(XFF, "::ffff:203.0.113.9")], Some("203.0.113.9")),
            ("127.0.0.1", &[(XFF, "203.0.113.9, unknown")], None),
            ("127.0.0.1", &[(XFF, "203.0.113.9, unknown, 10.0.0.1")], Some("10.0.0.1")),
            ("127.0.0.1", &[(XFF, "")], None),
            ("127.0.0.1", &[(XFF, ",, 203.0.113.9,,")], Some("203.0.113.9")),
            (
                "127.0.0.1",
                &[("Forwarded", "for=203.0.113.9;proto=http;by=10.0.0.1")],
                Some("203.0.113.9"),
            ),
            (
                "127.0.0.1",
                &[("Forwarded", "For=\"[2001:db8:cafe::17]:4711\", for=10.0.0.2")],
                Some("2001:db8:cafe::17 4711"),
            ),
            // A comma inside a quoted string does not end the element.
            ("127.0.0.1", &[("Forwarded", "host=\"a,b\";for=203.0.113.9")], Some("203.0.113.9")),
            ("127.0.0.1", &[("Forwarded", "for=203.0.113.9, for=_hidden")], None),
            ("127.0.0.1", &[("Forwarded", "for=\"203.0.113.9")], None),
            ("127.0.0.1", &[("X-Real-IP", "203.0.113.9")], Some("203.0.113.9")),
        ] {
            let expected = expected.map(str::to_owned);
            assert_eq!(client(peer, fields), (expected, false), "{peer} {fields:?}");
        }
    }

    #[test]
    fn fields_that_disagree_are_flagged() {
        let real = ("X-Real-IP", "203.0.113.9");
        let forged = ("Forwarded", "for=8.8.8.8");
        let list = ("X-Forwarded-For", "203.0.113.9");
        let named = Some("203.0.113.9".to_owned());
        assert_eq!(client("127.0.0.1", &[forged, list]), (named.clone(), true));
        assert_eq!(client("127.0.0.1", &[real, list]), (named, false));
    }

    /// Regression: the client chose its address with the next field.
    #[test]
    fn a_field_that_hides_the_client_is_not_outdone_by_another() {
        let fields = [("X-Forwarded-For", "1.2.3.4, x"), ("X-Real-IP", "6.6.6.6")];
        assert_eq!(client("10.0.0.1", &fields), (None, true));
        let fields = [("X-Forwarded-For", ""), ("X-Real-IP", "6.6.6.6")];
        assert_eq!(client("10.0.0.1", &fields), (Some("6.6.6.6".into()), false));
    }

    #[test]
    fn what_the_proxy_protocol_named_is_where_the_chain_begins() {
        let trusted = Trusted::default();
        let list: &[(&[u8], &[u8])] = &[(b"X-Forwarded-For", b"203.0.113.9")];
        for (peer, from, expected) in [
            ("127.0.0.1", "198.51.100.1", Some("198.51.100.1")),
            ("127.0.0.1", "127.0.0.1", Some("203.0.113.9")),
            ("198.51.100.7", "198.51.100.1", None),
        ] {
            let mut event = testing::event();
            event.client.ip = ip(peer);
            event.forwarded = Some(Forwarded { ip: ip(from), port: None });
            if let Some(request) = &mut event.request {
                request.headers = testing::headers(list);
            }
            trusted.name_client(&mut event);
            assert_eq!(event.forwarded.map(|f| f.ip), expected.map(ip), "{peer} {from}");
        }
    }

    #[test]
    fn a_chain_without_end_is_cut() {
        let trusted = "10.0.0.1, ".repeat(100_000) + "10.0.0.9";
        let (client, _) = client("127.0.0.1", &[("X-Forwarded-For", &trusted)]);
        assert_eq!(client.as_deref(), Some("10.0.0.1"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(value: Vec<u8>) {
            let headers = testing::headers(&[(b"forwarded", &value), (b"x-forwarded-for", &value)]);
            for field in FIELDS {
                let _ = client_of(field, &headers, &Trusted::default());
            }
        }
    }
}
