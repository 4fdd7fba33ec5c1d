//! Distinguishes connections that have the same addresses and ports: in different VLANs or tunnels, or on
//! different interfaces.
//!
//! Tags alone are not sufficient. In real captures the two directions of a connection may carry different
//! ones (a mirror port tags one direction only; tunnel ids of GTP-U and L2TP belong to their receiver), and a
//! packet may be seen with several (router on a stick, a device and its VLAN device). So a *lane* is found by
//! TCP: sequence and acknowledgement numbers that continue each other. Only if they do not, or if the same
//! sequence numbers carry other bytes, do different tags mean different connections.
//!
//! The first lane of a tuple is 0, so that captures without such tuples are not affected, and nothing is
//! stored until a tag or a second interface has been seen.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;

use http_trace_common::flow::{FlowKey, seq_distance};
use http_trace_common::walk::{Encap, Segment, tcp_flag};
use lru::LruCache;

/// Maximum number of tuples; the one that was not seen for the longest time is evicted.
const MAX_TUPLES: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();
/// Maximum number of lanes of a tuple; beyond it the last lane is used.
const MAX_LANES: usize = 16;
/// Maximum distance between sequence numbers of a connection: more than any window in use.
const WINDOW: u32 = 16 << 20;
/// Number of segments per direction that are remembered to recognise copies.
const RECENT: usize = 4;
/// Prefix lengths compared if two copies differ in length.
const PREFIXES: [usize; 3] = [16, 64, 256];

type State = foldhash::fast::RandomState;

#[derive(Debug)]
pub struct Lanes {
    enabled: bool,
    first_interface: Option<u32>,
    by_tuple: LruCache<FlowKey, Vec<Lane>>,
    hasher: State,
}

impl Default for Lanes {
    fn default() -> Self {
        let (by_tuple, hasher) = (LruCache::sparse(MAX_TUPLES), State::default());
        Lanes { enabled: false, first_interface: None, by_tuple, hasher }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LanePosition {
    /// Number of the lane within its tuple.
    pub lane: u32,
    /// Its payload starts a stream whose SYN was seen, but was taken for a copy of another lane's.
    pub stream_begins: bool,
}

#[derive(Clone, Debug, Default)]
struct Lane {
    sides: [Side; 2],
}

#[derive(Clone, Debug, Default)]
struct Side {
    /// Tag (encapsulation and interface) of this direction's first segment.
    tag: Option<u64>,
    /// Sequence number after the last segment.
    next: Option<u32>,
    /// ISN + 1 of the last SYN.
    begin: Option<u32>,
    recent: [Option<Sample>; RECENT],
    turn: usize,
}

/// Fingerprint of a segment with payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    seq: u32,
    len: u32,
    /// Hash of the whole payload.
    whole: u32,
    /// Hashes of its prefixes, as far as it is long enough.
    prefixes: [u32; PREFIXES.len()],
}

/// How well a segment fits a lane; the greatest wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Not,
    /// The tag matches, the numbers do not: a new connection on the same tuple, or a gap.
    Tag,
    /// The numbers match, the tag does not: a copy on another path, or a changed path.
    Numbers,
    /// The numbers match; its direction has not been seen yet.
    Fresh,
    /// As [`Fit::Fresh`], and the other direction has the same tag.
    FreshTag,
    /// Both match.
    Both,
}

impl Lanes {
    /// The lane of a segment with `payload` (as captured), encapsulated in `encap`, from `interface`.
    pub fn place(
        &mut self,
        segment: &Segment,
        payload: &[u8],
        encap: &Encap,
        interface: u32,
    ) -> LanePosition {
        let first = *self.first_interface.get_or_insert(interface);
        self.enabled |= !encap.is_empty() || interface != first;
        if !self.enabled {
            return LanePosition { lane: 0, stream_begins: false };
        }
        let tag = self.hasher.hash_one((encap, interface));
        let sample = Sample::of(&self.hasher, segment.payload_seq(), payload);
        let lanes = self.by_tuple.get_or_insert_mut(segment.key, Vec::new);
        let best = lanes
            .iter()
            .enumerate()
            .map(|(number, lane)| (lane.fit(segment, tag, sample.as_ref()), number))
            .filter(|(fit, _)| *fit != Fit::Not)
            // The first of equals.
            .max_by_key(|&(fit, number)| (fit, std::cmp::Reverse(number)));
        let mut stream_begins = false;
        let number = match best {
            Some((_, number)) => number,
            None => {
                // Its SYN may have been taken for a copy: same numbers, and no payload to compare.
                stream_begins = sample.is_some()
                    && lanes.iter().any(|lane| {
                        lane.sides[segment.direction.index()].begin == Some(segment.payload_seq())
                    });
                if lanes.len() < MAX_LANES {
                    lanes.push(Lane::default());
                }
                lanes.len() - 1
            }
        };
        lanes[number].take(segment, tag, payload.len() as u32, sample);
        LanePosition { lane: number as u32, stream_begins }
    }
}

impl Lane {
    fn fit(&self, segment: &Segment, tag: u64, sample: Option<&Sample>) -> Fit {
        let own = &self.sides[segment.direction.index()];
        let other = &self.sides[segment.direction.opposite().index()];
        let continues = continues(own, other, segment);
        match own.tag {
            Some(t) if t == tag => {
                if continues {
                    Fit::Both
                } else {
                    Fit::Tag
                }
            }
            Some(_) if continues && !sample.is_some_and(|s| own.contradicts(s)) => Fit::Numbers,
            None if continues && other.tag == Some(tag) => Fit::FreshTag,
            None if continues => Fit::Fresh,
            _ => Fit::Not,
        }
    }

    fn take(&mut self, segment: &Segment, tag: u64, len: u32, sample: Option<Sample>) {
        let side = &mut self.sides[segment.direction.index()];
        side.tag.get_or_insert(tag);
        // A RST does not show its sender's position, because it may be forged.
        if segment.flags & tcp_flag::RST != 0 {
            return;
        }
        if segment.flags & tcp_flag::SYN != 0 {
            side.begin = Some(segment.payload_seq());
        }
        side.next = Some(segment.payload_seq().wrapping_add(len));
        if let Some(sample) = sample
            && !side.recent.contains(&Some(sample))
        {
            side.recent[side.turn] = Some(sample);
            side.turn = (side.turn + 1) % RECENT;
        }
    }
}

/// Whether a segment's numbers continue what a lane has seen.
fn continues(own: &Side, other: &Side, segment: &Segment) -> bool {
    let near = |a: u32, b: u32| seq_distance(a, b).unsigned_abs() < WINDOW;
    let acknowledges = segment.flags & tcp_flag::ACK != 0;
    let answers = other.next.filter(|_| acknowledges).map(|next| near(next, segment.ack));
    if segment.flags & tcp_flag::SYN != 0 {
        return match (own.begin, own.next) {
            (Some(begin), _) => begin == segment.payload_seq(),
            (None, None) => answers == Some(true),
            // A copy of a SYN from before tracking was enabled: it must precede the known stream.
            (None, Some(next)) => {
                let past = seq_distance(segment.payload_seq(), next);
                (0..WINDOW as i32).contains(&past) && answers != Some(false)
            }
        };
    }
    match (own.next.map(|next| near(next, segment.seq)), answers) {
        (Some(own), _) if segment.flags & tcp_flag::RST != 0 => own,
        (Some(false), _) | (_, Some(false)) | (None, None) => false,
        _ => true,
    }
}

impl Side {
    /// Whether the same sequence number was seen with other bytes.
    fn contradicts(&self, sample: &Sample) -> bool {
        self.recent.iter().flatten().any(|seen| seen.seq == sample.seq && !seen.agrees(sample))
    }
}

impl Sample {
    fn of(hasher: &State, seq: u32, payload: &[u8]) -> Option<Self> {
        if payload.is_empty() {
            return None;
        }
        let hash = |bytes: &[u8]| hasher.hash_one(bytes) as u32;
        Some(Sample {
            seq,
            len: payload.len() as u32,
            whole: hash(payload),
            prefixes: PREFIXES.map(|n| payload.get(..n).map_or(0, hash)),
        })
    }

    /// Whether both may be copies of the same bytes. Their lengths may differ: segments before and after the
    /// network card splits them.
    fn agrees(&self, other: &Sample) -> bool {
        if self.len == other.len {
            return self.whole == other.whole;
        }
        let shorter = self.len.min(other.len) as usize;
        PREFIXES
            .iter()
            .zip(self.prefixes.iter().zip(other.prefixes))
            .filter(|(n, _)| **n <= shorter)
            .all(|(_, (a, b))| *a == b)
    }
}

#[cfg(test)]
mod tests {
    use http_trace_common::flow::v4_mapped;

    use super::*;

    const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 50000);
    const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 80);

    /// From the client, flags, sequence and acknowledgement numbers, payload, interface (which represents any
    /// tag here), and expected lane.
    type Row = (bool, u8, u32, u32, &'static [u8], u32, u32);

    fn run(name: &str, rows: &[Row]) {
        // Enabled from the start, as if by a second interface.
        let mut lanes = Lanes { enabled: true, ..Lanes::default() };
        for (i, (from_client, flags, seq, ack, payload, interface, expected)) in
            rows.iter().enumerate()
        {
            let (src, dst) = if *from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
            let (key, direction) =
                FlowKey::new(&v4_mapped(src.0), src.1, &v4_mapped(dst.0), dst.1, 0);
            let segment = Segment {
                key,
                direction,
                seq: *seq,
                ack: *ack,
                flags: *flags,
                header_len: 0,
                payload_offset: 0,
                payload_len: payload.len() as u32,
            };
            let place = lanes.place(&segment, payload, &Encap::default(), *interface);
            assert_eq!(place.lane, *expected, "{name}: row {i}");
        }
    }

    const SYN: u8 = tcp_flag::SYN;
    const ACK: u8 = tcp_flag::ACK;
    const SYN_ACK: u8 = SYN | ACK;

    #[test]
    fn one_connection_stays_one() {
        run(
            "tags differ by direction",
            &[
                (true, SYN, 100, 0, b"", 1, 0),
                (false, SYN_ACK, 900, 101, b"", 2, 0),
                (true, ACK, 101, 901, b"GET", 1, 0),
                (false, ACK, 901, 104, b"HTTP", 2, 0),
            ],
        );
        run(
            "every packet twice, under two tags",
            &[
                (true, SYN, 100, 0, b"", 1, 0),
                (true, SYN, 100, 0, b"", 2, 0),
                (false, SYN_ACK, 900, 101, b"", 2, 0),
                (false, SYN_ACK, 900, 101, b"", 1, 0),
                (true, ACK, 101, 901, b"GET", 1, 0),
                (true, ACK, 101, 901, b"GET", 2, 0),
                (false, ACK, 901, 104, b"HTTP", 2, 0),
                (false, ACK, 901, 104, b"HTTP", 1, 0),
            ],
        );
        run(
            "a path that changes midstream",
            &[
                (true, ACK, 5000, 901, b"GET", 1, 0),
                (false, ACK, 901, 5003, b"HTTP", 1, 0),
                (true, ACK, 5003, 905, b"GET", 3, 0),
                (false, ACK, 905, 5006, b"HTTP", 4, 0),
            ],
        );
        run(
            "a super-packet and what the card makes of it",
            &[
                (false, ACK, 901, 101, b"HTTP/1.1 200 OK\r\n and more", 1, 0),
                (false, ACK, 901, 101, b"HTTP/1.1 200 OK\r\n", 2, 0),
                (false, ACK, 918, 101, b" and more", 2, 0),
            ],
        );
        run(
            "a copy that comes behind what followed it, of what nobody remembers",
            &[
                (true, SYN, 100, 0, b"", 2, 0),
                (false, ACK, 901, 104, b"HTTP", 1, 0),
                (false, SYN_ACK, 900, 101, b"", 2, 0),
                (true, ACK, 101, 901, b"GET", 2, 0),
                (false, ACK, 901, 104, b"HTTP", 2, 0),
            ],
        );
        run(
            "port reuse under the same tag",
            &[
                (true, SYN, 100, 0, b"", 1, 0),
                (false, SYN_ACK, 900, 101, b"", 2, 0),
                (true, SYN, 2_000_000_000, 0, b"", 1, 0),
                (false, SYN_ACK, 3_000_000_000, 2_000_000_001, b"", 2, 0),
            ],
        );
    }

    #[test]
    fn two_connections_are_two() {
        run(
            "two VLANs at once",
            &[
                (true, SYN, 100, 0, b"", 1, 0),
                (true, SYN, 2_000_000_000, 0, b"", 2, 1),
                (false, SYN_ACK, 900, 101, b"", 1, 0),
                (false, SYN_ACK, 3_000_000_000, 2_000_000_001, b"", 2, 1),
                (true, ACK, 101, 901, b"GET", 1, 0),
                (true, ACK, 2_000_000_001, 3_000_000_001, b"GET", 2, 1),
                (false, ACK, 3_000_000_001, 2_000_000_004, b"HTTP", 2, 1),
                (false, ACK, 901, 104, b"HTTP", 1, 0),
            ],
        );
        run(
            "two VLANs at once with the same initial sequence numbers",
            &[
                (true, SYN, 100, 0, b"", 1, 0),
                (true, SYN, 100, 0, b"", 2, 0),
                (false, SYN_ACK, 900, 101, b"", 1, 0),
                (false, SYN_ACK, 900, 101, b"", 2, 0),
                (true, ACK, 101, 901, b"GET /one", 1, 0),
                (true, ACK, 101, 901, b"GET /two", 2, 1),
                (false, ACK, 901, 109, b"HTTP one", 1, 0),
                (false, ACK, 901, 109, b"HTTP two", 2, 1),
            ],
        );
        run(
            "midstream",
            &[
                (true, ACK, 5000, 901, b"GET", 1, 0),
                (true, ACK, 1_000_000_000, 77, b"GET", 2, 1),
                (false, ACK, 901, 5003, b"HTTP", 1, 0),
                (false, ACK, 77, 1_000_000_003, b"HTTP", 2, 1),
            ],
        );
    }
}
