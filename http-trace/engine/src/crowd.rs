//! Which connections a full table evicts, and which are forgotten when idle: the kernel's, the filter's on the host, the
//! pipeline's. Must not know a table or a clock.
//!
//! Each client's connections are ranked: open exchanges first, then idle, silent and closed ones, each
//! by last segment. The highest ranks are evicted, whichever client they belong to, so that no client
//! keeps more than another while others wait. Among equal ranks, as in a flood from many addresses, the
//! least valuable connections go first.

use std::collections::HashMap;
use std::hash::BuildHasher;

use http_trace_common::filter::{Flow, side_flag};
use http_trace_common::flow::{Address, Direction, FlowKey, seq_distance};
use http_trace_common::framer::Phase;

/// What a connection is doing, in order of value, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Doing {
    /// Both ends have sent something, or a complete request waits for its response.
    Exchange,
    /// As [`Doing::Exchange`], but without a segment for a while.
    Idle,
    /// Only one end has sent something.
    Silent,
    /// An end has sent FIN or RST.
    Closed,
}

/// A connection is idle after this long without a segment, in seconds.
const IDLE_S: u32 = 5;

/// How long a connection without a segment is followed, in seconds. Longer than the default keep-alive timeout of
/// servers (nginx 75 s, Node 5 s, Apache 5 s, HAProxy 300 s).
pub const FORGOTTEN_S: u32 = 15 * 60;

/// The same inside an exchange, whose next bytes nobody could frame: as long as TCP itself waits for a sign of life
/// (RFC 9293 §3.8.4).
pub const FORGOTTEN_INSIDE_S: u32 = 2 * 3600;

/// Whether a filter forgets a connection that had its last segment `quiet_s` seconds ago.
pub fn is_forgotten(flow: &Flow, quiet_s: u32) -> bool {
    let is_over = flow.sides.iter().any(|s| s.flags & CLOSED != 0);
    let rests = |phase| matches!(phase, Phase::Idle | Phase::Opaque);
    let rests = flow.queue.is_empty() && flow.sides.iter().all(|s| rests(s.framer.phase()));
    quiet_s > if is_over || rests { FORGOTTEN_S } else { FORGOTTEN_INSIDE_S }
}

/// A direction's end was seen.
const CLOSED: u16 = side_flag::FIN | side_flag::RST;

/// Number of connections in a table of this capacity at which eviction begins.
pub const fn high_mark(capacity: usize) -> usize {
    capacity - capacity / 8
}

/// Number of connections that eviction leaves, so that the next one does not trigger it again.
pub const fn low_mark(capacity: usize) -> usize {
    capacity - capacity / 4
}

impl Doing {
    /// From the filter's state; `now_s` is in seconds of the kernel's clock.
    pub fn of(flow: &Flow, now_s: u32) -> Self {
        if flow.sides.iter().any(|s| s.flags & CLOSED != 0) {
            return Doing::Closed;
        }
        // The floor of a direction is where tracing of it began.
        let spoken = |side: &http_trace_common::filter::Side| {
            side.flags & side_flag::KNOWN != 0 && seq_distance(side.floor, side.next) != 0
        };
        // A connection whose request waits for a response is not silent.
        if flow.queue.has_none() && !flow.sides.iter().all(spoken) {
            return Doing::Silent;
        }
        Doing::spoken(now_s.saturating_sub(flow.last_seen_s).into())
    }

    /// For a connection on which messages were seen, the last one `quiet_s` seconds ago.
    pub const fn spoken(quiet_s: u64) -> Self {
        if quiet_s > IDLE_S as u64 { Doing::Idle } else { Doing::Exchange }
    }
}

/// What eviction needs to know of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The connection's key.
    pub key: FlowKey,
    pub doing: Doing,
    /// Time of its last segment, in any unit.
    pub last_seen: u64,
}

/// The connections in order of eviction.
pub fn leaving(entries: Vec<Entry>) -> impl Iterator<Item = FlowKey> {
    // A server has many connections at one port, a client has each at a different port.
    let mut at: HashMap<u64, u32> = HashMap::with_capacity(entries.len());
    let hasher = at.hasher().clone();
    let end = |address: &Address, port: u16| hasher.hash_one((address, port));
    for Entry { key, .. } in &entries {
        for (address, port) in [(&key.a, key.a_port), (&key.b, key.b_port)] {
            *at.entry(end(address, port)).or_default() += 1;
        }
    }
    let many = |(address, port): (Address, u16)| at.get(&end(&address, port)).copied();
    let client = |key: &FlowKey| {
        let (a, b) = (key.sender(Direction::FromA), key.sender(Direction::FromB));
        // If that does not decide, the end with the higher port is the client.
        let a_serves = (many(a), b.1) > (many(b), a.1);
        let (address, _) = if a_serves { b } else { a };
        whose(&address)
    };
    let mut ranked: Vec<(u64, Entry)> =
        entries.into_iter().map(|entry| (client(&entry.key), entry)).collect();
    let worth = |e: &Entry| (e.doing, std::cmp::Reverse(e.last_seen));
    ranked.sort_unstable_by_key(|(client, entry)| (*client, worth(entry)));
    let (mut of, mut rank) = (None, 0u32);
    let mut leaving: Vec<(u32, Entry)> = ranked
        .into_iter()
        .map(|(client, entry)| {
            rank = if of == Some(client) { rank + 1 } else { 0 };
            of = Some(client);
            (rank, entry)
        })
        .collect();
    leaving.sort_unstable_by_key(|(rank, entry)| std::cmp::Reverse((*rank, worth(entry))));
    leaving.into_iter().map(|(_, entry)| entry.key)
}

/// The owner of an address: itself, or its /64 in IPv6 (RFC 6177: an end site has at least one).
fn whose(address: &Address) -> u64 {
    let [high, low] = http_trace_common::flow::words(address);
    // IPv4-mapped (RFC 4291 §2.5.5.2).
    if high == 0 { low } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;
    use http_trace_common::filter::Side;
    use http_trace_common::flow::v4_mapped;

    fn entry(client: [u8; 4], port: u16, doing: Doing, last_seen: u64) -> Entry {
        let (client, server) = (v4_mapped(client), v4_mapped([10, 0, 0, 1]));
        let (key, _) = FlowKey::new(&client, port, &server, 80, 0);
        Entry { key, doing, last_seen }
    }

    fn stays(entries: &[Entry], excess: usize) -> Vec<Entry> {
        let leaving: Vec<FlowKey> = leaving(entries.to_vec()).take(excess).collect();
        assert_eq!(leaving.len(), excess.min(entries.len()));
        let mut stay = entries.to_vec();
        stay.retain(|e| !leaving.contains(&e.key));
        assert_eq!(stay.len(), entries.len() - leaving.len(), "each leaves once");
        stay
    }

    #[test]
    fn a_connection_is_kept_for_longer_inside_an_exchange() {
        use http_trace_common::framer::{Framer, MethodKind, RequestQueue};
        let kept = |flow: &Flow| {
            assert!(is_forgotten(flow, FORGOTTEN_INSIDE_S + 1));
            !is_forgotten(flow, FORGOTTEN_S + 1)
        };
        let at = |bytes: &[u8]| {
            let mut flow = Flow::zeroed();
            flow.sides = flow.sides.map(|side| Side { framer: Framer::new(), ..side });
            let mut at = 0;
            while at < bytes.len() {
                let step = flow.sides[1].framer.step(&mut flow.queue, &bytes[at..]);
                at += step.taken as usize;
            }
            flow
        };
        assert!(!kept(&at(b"")));
        assert!(kept(&at(b"HTTP/1.1 200 OK\r\nA: b")));
        let mut inside = at(b"HTTP/1.1 408 T\r\nContent-Length: 9\r\n\r\nabc");
        assert!(kept(&inside));
        inside.sides[0].flags |= side_flag::FIN;
        assert!(!kept(&inside));
        assert!(!kept(&at(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")));
        let mut asked = at(b"");
        asked.queue = RequestQueue::new();
        asked.queue.push(MethodKind::Other);
        assert!(kept(&asked));
    }

    #[test]
    fn closed_silent_and_idle_connections_leave_first() {
        let me = [10, 9, 9, 9];
        let all = [
            entry(me, 1, Doing::Exchange, 100),
            entry(me, 2, Doing::Idle, 90),
            entry(me, 3, Doing::Silent, 100),
            entry(me, 4, Doing::Closed, 100),
            entry(me, 5, Doing::Idle, 50),
        ];
        for (excess, expected) in
            [(1, &[1, 2, 3, 5][..]), (2, &[1, 2, 5]), (3, &[1, 2]), (4, &[1]), (9, &[])]
        {
            let ports: Vec<u16> =
                stays(&all, excess).iter().map(|e| e.key.a_port.min(e.key.b_port)).collect();
            assert_eq!(ports, expected, "{excess}");
        }
    }

    #[test]
    fn one_client_does_not_displace_the_others() {
        // A flood of fresh, active connections, and honest clients, some of them idle.
        let flood = (0..5000).map(|n| entry([10, 6, 6, 6], 10_000 + n, Doing::Exchange, 100));
        let honest = (0..50u16).map(|n| {
            let doing = if n % 2 == 0 { Doing::Exchange } else { Doing::Idle };
            entry([10, 1, 0, n as u8 % 10], 30_000 + n, doing, 40)
        });
        let all: Vec<Entry> = flood.chain(honest.clone()).collect();
        let stay = stays(&all, 4900);
        for honest in honest {
            assert!(stay.iter().any(|e| e.key == honest.key), "{honest:?}");
        }
        // From many addresses, one connection each: silent ones are evicted, active ones stay.
        let flood = (0..5000u16).map(|n| {
            let [high, low] = n.to_be_bytes();
            entry([10, 66, high, low], 7000, Doing::Silent, 100)
        });
        let honest = (0..50u8).map(|n| entry([10, 1, 0, n], 30_000, Doing::Idle, 40));
        let all: Vec<Entry> = flood.chain(honest.clone()).collect();
        let stay = stays(&all, 4900);
        for honest in honest {
            assert!(stay.iter().any(|e| e.key == honest.key), "{honest:?}");
        }
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        let address = |network: u8, host: u16| {
            let mut address = [0; 16];
            (address[0], address[7]) = (0x20, network);
            address[14..].copy_from_slice(&host.to_be_bytes());
            address
        };
        assert_eq!(whose(&address(1, 1)), whose(&address(1, 2)));
        assert_ne!(whose(&address(1, 1)), whose(&address(2, 1)));
        assert_ne!(whose(&v4_mapped([10, 0, 0, 1])), whose(&v4_mapped([10, 0, 0, 2])));
    }
}
