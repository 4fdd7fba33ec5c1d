//! Tables of heads that are copies, and of heads that are not.

use std::net::Ipv4Addr;

use http_trace_common::flow::{FlowKey, v4_mapped};
use http_trace_common::record::Hook;

use super::*;
use crate::table::{List, Table};

const SECOND: u64 = 1_000_000_000;
const CLIENT: &str = "192.0.2.7:40000";
const SERVER: &str = "198.51.100.80:80";
const ROUTER: &str = "203.0.113.1:61000";
const INSIDE: &str = "10.0.0.5:8080";

fn ids() -> [Id; 2] {
    let mut table = Table::new();
    let end = v4_mapped([0; 4]);
    [1, 2].map(|port| table.insert(FlowKey::new(&end, port, &end, 3, 0).0, (), List::Idle, 0))
}

fn end(text: &str) -> ([u8; 16], u16) {
    let (ip, port) = text.split_once(':').expect("address:port");
    let ip: Ipv4Addr = ip.parse().expect("an address");
    (v4_mapped(ip.octets()), port.parse().expect("a port"))
}

/// A request head from `client` to `server` as seen by the hook of `point`.
fn seen(number: u64, client: &str, server: &str, point: CapturePoint) -> Sighting {
    let (client, server) = (end(client), end(server));
    let (key, sender) = FlowKey::new(&client.0, client.1, &server.0, server.1, point.netns);
    Sighting {
        key,
        sender,
        id: ids()[number as usize & 1],
        number,
        kind: Kind::Request,
        seq: 0x9000_0001,
        ack: Ack::of(0x7000_0001),
        starts: [Some(0x9000_0001), None],
        time_ns: 100 * SECOND + number * 1000,
        point,
        path: 0,
    }
}

const fn tc(interface: u32, egress: bool) -> CapturePoint {
    CapturePoint { hook: Hook::Tc, interface, egress, netns: 1 }
}

const fn capture(interface: u32, netns: u32) -> CapturePoint {
    CapturePoint { hook: Hook::Capture, interface, egress: false, netns }
}

fn cgroup(netns: u32) -> CapturePoint {
    CapturePoint { hook: Hook::Cgroup, netns, ..tc(1, true) }
}

/// Looks up `second` after `first`, both with the same head.
fn matched(first: Sighting, second: Sighting) -> Option<Original> {
    const HEAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    let mut sightings = Sightings::default();
    assert_eq!(sightings.meet(first, HEAD, HEAD.len() as u64), None);
    sightings.meet(second, HEAD, HEAD.len() as u64)
}

#[test]
fn translations_are_seen_through() {
    for (name, first, second) in [
        ("masquerade", seen(1, CLIENT, SERVER, tc(2, false)), seen(2, ROUTER, SERVER, tc(3, true))),
        ("DNAT", seen(1, CLIENT, SERVER, tc(2, false)), seen(2, CLIENT, INSIDE, tc(3, true))),
        (
            "both at once",
            seen(1, CLIENT, SERVER, tc(2, false)),
            seen(2, ROUTER, INSIDE, tc(3, true)),
        ),
        (
            "back out of the same interface",
            seen(1, CLIENT, SERVER, tc(2, false)),
            seen(2, ROUTER, INSIDE, tc(2, true)),
        ),
        (
            "redirected to another port",
            seen(1, CLIENT, "198.51.100.80:80", tc(2, false)),
            seen(2, CLIENT, "198.51.100.80:8080", cgroup(1)),
        ),
        (
            "a pod and its host",
            seen(1, CLIENT, SERVER, cgroup(7)),
            seen(2, CLIENT, SERVER, tc(3, true)),
        ),
        (
            "captures of both sides",
            seen(1, CLIENT, SERVER, capture(1, 0)),
            seen(2, ROUTER, SERVER, capture(2, 0)),
        ),
        (
            "a capture of every interface",
            seen(1, CLIENT, SERVER, capture(1, 0)),
            seen(2, ROUTER, INSIDE, capture(1, 0)),
        ),
    ] {
        let copy = matched(first, second).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((copy.number, copy.nearer_ns), (1, 1000), "{name}");
        assert_eq!(copy.flipped, first.sender != second.sender, "{name}");
        // The other order of arrival: the time decides which is nearer.
        let copy = matched(second, first).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((copy.number, copy.nearer_ns), (2, -1000), "{name}");
        // A response passes the server's side first.
        let response = |s: Sighting| Sighting { kind: Kind::Response, ..s };
        let copy = matched(response(first), response(second)).expect(name);
        assert_eq!(copy.nearer_ns, -1000, "{name}");
    }
}

#[test]
fn other_connections_are_left_alone() {
    let first = seen(1, CLIENT, SERVER, tc(2, false));
    let second = seen(2, ROUTER, SERVER, tc(3, true));
    assert!(matched(first, second).is_some());
    let changed = |change: fn(&mut Sighting)| {
        let mut second = second;
        change(&mut second);
        second
    };
    for (name, second) in [
        ("another number", changed(|s| s.seq += 1)),
        ("another acknowledgement", changed(|s| s.ack = Ack::of(0x7000_0002))),
        ("no acknowledgement", changed(|s| s.ack = Ack::default())),
        ("another beginning", changed(|s| s.starts = [Some(0x9000_0000), None])),
        ("a response", changed(|s| s.kind = Kind::Response)),
        ("too late", changed(|s| s.time_ns += 3 * SECOND)),
        ("too early", changed(|s| s.time_ns -= 3 * SECOND)),
        ("itself", changed(|s| s.number = 1)),
        ("another client at the same place", seen(2, ROUTER, SERVER, tc(2, false))),
        ("another connection of the client", seen(2, "192.0.2.7:40001", SERVER, tc(2, false))),
        ("a capture beside it", seen(2, ROUTER, SERVER, capture(2, 0))),
    ] {
        assert_eq!(matched(first, second), None, "{name}");
    }
    let first = seen(1, CLIENT, SERVER, capture(1, 0));
    let small = |s: Sighting| Sighting { seq: 1, ack: Ack::of(1), starts: [None; 2], ..s };
    let other_port = seen(2, "192.0.2.7:40001", SERVER, capture(1, 0));
    assert_eq!(matched(first, other_port), None, "another port");
    for interface in [1, 2] {
        let written = small(seen(2, ROUTER, SERVER, capture(interface, 0)));
        assert_eq!(matched(small(first), written), None, "no drawn numbers");
    }
    let lane = seen(2, CLIENT, SERVER, capture(2, 1));
    assert_eq!(matched(first, lane), None, "told apart by the reader");
}

#[test]
fn other_bytes_are_another_head() {
    let first = seen(1, CLIENT, SERVER, tc(2, false));
    let second = seen(2, ROUTER, SERVER, tc(3, true));
    let mut sightings = Sightings::default();
    for (sighting, bytes, len) in
        [(first, "GET /a", 6), (second, "GET /b", 6), (second, "GET /a", 7)]
    {
        assert_eq!(sightings.meet(sighting, bytes.as_bytes(), len), None);
    }
    assert!(sightings.meet(second, b"GET /a", 6).is_some());
}

/// The first head was overwritten by the next one of its set of the index, though that had empty places.
#[test]
fn the_first_heads_of_a_set_are_all_kept() {
    let first = seen(1, CLIENT, SERVER, tc(2, false));
    let second = seen(2, ROUTER, SERVER, tc(3, true));
    let mut sightings = Sightings::default();
    let hash = |sightings: &mut Sightings, text: &str| {
        let hash = sightings.hash(&first, text.as_bytes(), 6);
        hash.expect("drawn numbers") as usize % SETS
    };
    let set = hash(&mut sightings, "GET /0");
    let others = (1..).map(|n| format!("GET /{n}"));
    let mut same: Vec<String> =
        others.filter(|text| hash(&mut sightings, text) == set).take(WAYS - 1).collect();
    same.insert(0, "GET /0".to_owned());
    for text in &same {
        assert_eq!(sightings.meet(first, text.as_bytes(), 6), None);
    }
    for text in &same {
        let met = sightings.meet(second, text.as_bytes(), 6);
        assert!(met.is_some(), "{text}");
    }
}

#[test]
fn beginnings_stand_in_for_a_retransmission_with_another_acknowledgement() {
    let starts = [Some(0x9000_0001), Some(0x6fff_0000)];
    let first = Sighting { starts, ..seen(1, CLIENT, SERVER, tc(2, false)) };
    let second =
        Sighting { starts, ack: Ack::of(0x7000_0fff), ..seen(2, ROUTER, SERVER, tc(3, true)) };
    assert!(matched(first, second).is_some());
}

#[test]
fn heads_beyond_the_bound_are_forgotten_oldest_first() {
    let mut sightings = Sightings::default();
    let many = (SETS * WAYS * 4) as u64;
    for n in 0..many {
        let mut head = seen(n + 10, CLIENT, SERVER, tc(2, false));
        (head.seq, head.time_ns) = (0x9000_0000 + n as u32, n);
        head.starts = [None; 2];
        assert_eq!(sightings.meet(head, b"GET /", 5), None);
    }
    let mut found = 0;
    for n in many - 4096..many {
        let mut head = seen(n + 1_000_000, ROUTER, SERVER, tc(3, true));
        (head.seq, head.time_ns) = (0x9000_0000 + n as u32, n);
        head.starts = [None; 2];
        found += u32::from(sightings.meet(head, b"GET /", 5).is_some());
    }
    // A set that got more than its share evicted some: about 80, depending on the key of the hash.
    assert!(found > 3900, "{found}");
}

#[test]
fn the_names_of_a_chain_are_put_in_order() {
    let key = |n: u8| {
        let end = v4_mapped([10, 0, 0, n]);
        FlowKey::new(&end, 1000, &v4_mapped([10, 0, 1, n]), 80, 0).0
    };
    let [id, _] = ids();
    let copy = |nearer_ns| Original {
        id,
        number: 5,
        flipped: false,
        nearer_ns,
        path: 0,
        kind: Kind::Request,
    };
    let mut aliases = Aliases::default();
    assert_eq!(aliases.get(&key(2)), None);
    let (asks, answers) = (Kind::Request, Kind::Response);
    for (n, nearer, path, kind) in
        [(2, 3, 0, asks), (3, 2, 0, asks), (4, -1, 0, asks), (5, 1, 1, asks), (6, 9, 0, answers)]
    {
        // The last copy was seen beside the second name, not beside the first.
        let copy = Original { path, kind, ..copy(nearer) };
        aliases.insert(key(n), key(1), &copy);
    }
    let names = aliases.names(5).expect("several names");
    assert_eq!((names.server.0, names.client.0), (key(5), key(4)));
    assert_eq!(aliases.get(&key(3)).map(|a| (a.number, a.path)), Some((5, 2)));
    aliases.remove(&key(3));
    aliases.forget(5);
    assert_eq!((aliases.get(&key(3)), aliases.names(5)), (None, None));
    assert_eq!(aliases.by_key.len(), 4);
}

#[test]
fn aliases_are_bounded() {
    let mut aliases = Aliases::default();
    let [id, _] = ids();
    let key = |n: u32| {
        let end = v4_mapped(n.to_be_bytes());
        FlowKey::new(&end, 1000, &v4_mapped([10, 0, 1, 1]), 80, 0).0
    };
    let copy = |number| Original {
        id,
        number,
        flipped: false,
        nearer_ns: 1,
        path: 0,
        kind: Kind::Request,
    };
    for n in 0..2 * MAX_ALIASES.get() as u32 {
        // Some repeatedly.
        for again in [n, n / 2] {
            aliases.insert(key(again), key(u32::MAX), &copy(u64::from(n % 7)));
        }
    }
    assert_eq!(aliases.by_key.len(), MAX_ALIASES.get());
}
