//! IP fragments put together (RFC 791 §3.2, RFC 815, RFC 8200 §4.5), within fixed bounds.
//!
//! As Linux does it (`ip_fragment.c`, `inet_fragment.c`, since 4.19; RFC 5722 for IPv6): a piece that
//! is all there already is a copy; one that overlaps others in part, or contradicts them, has its whole
//! packet dropped. Packets that do not become whole go after half a minute, or when the bounds are
//! reached, oldest first. All of it is counted.
//!
//! [`shipped`] does it for pieces that came from the programs in the kernel.

pub mod shipped;

use std::collections::{HashMap, VecDeque};

use http_trace_common::walk::{
    self, Encap, Found, Fragment, FragmentId, Segment, Skip, WalkOptions,
};

use crate::origin::CapturePoint;

/// The most packets in the making.
const MAX_PACKETS: usize = 4096;
/// The most bytes in them.
const MAX_BYTES: usize = 16 << 20;
/// The most pieces of one packet that leave gaps between them.
const MAX_RUNS: usize = 256;
/// Overhead of a run of bytes.
const RUN_BYTES: usize = 64;
/// How long a packet of a capture waits for its pieces: Linux's `ipfrag_time`. Identifications come
/// around.
pub const PATIENCE_NS: u64 = 30_000_000_000;

/// Counters of fragments and packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Fragments seen.
    pub fragments: u64,
    /// Packets that became whole.
    pub reassembled: u64,
    /// Packets whose pieces did not all come in time, or were not all there at the end.
    pub given_up: u64,
    /// Packets given up to stay within the bounds.
    pub displaced: u64,
    /// Packets dropped because a piece contradicts others in where the packet ends, or leaves too many
    /// gaps.
    pub contradicting: u64,
    /// Packets dropped because a piece overlaps others in part.
    pub overlapping: u64,
}

/// Where a piece was seen, and when.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its tags and tunnels.
    pub encap: &'a Encap,
    /// When, ns.
    pub time_ns: u64,
    /// Copies that were seen elsewhere are put together by themselves.
    pub point: CapturePoint,
    /// Whether its segment is known to be the first of its stream.
    pub stream_begins: bool,
    /// How long its packet waits for the others, ns.
    pub patience_ns: u64,
    /// Whether these are further bytes of a piece that was counted.
    pub goes_on: bool,
}

/// A packet that became whole.
#[derive(Debug)]
pub struct Whole {
    /// Its addresses.
    pub id: FragmentId,
    /// Protocol of its payload, as the piece at offset 0 says.
    pub protocol: u8,
    /// Tags and tunnels of that piece.
    pub encap: Encap,
    /// Whether one of its pieces was known to begin a stream.
    pub stream_begins: bool,
    /// The payload.
    pub payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Pieces {
    /// Bytes so far, in order; no two runs touch or overlap.
    runs: Vec<Run>,
    /// Length of the payload, once the last piece is there.
    total: Option<u32>,
    first: Option<(u8, Encap)>,
    stream_begins: bool,
    /// Whether further pieces are dropped: it cannot become whole, or nobody wants it.
    dropped: bool,
    /// When its first piece came.
    since_ns: u64,
    /// Tells a packet from a later one with the same name in `order`.
    serial: u64,
}

/// Bytes of a payload.
#[derive(Debug)]
struct Run {
    start: u32,
    bytes: Vec<u8>,
}

impl Run {
    fn end(&self) -> u32 {
        self.start.saturating_add(self.bytes.len() as u32)
    }
}

/// Names a packet in the making: equal ids in different VLANs or tunnels are different packets.
type Name = (FragmentId, Encap, CapturePoint);

/// Packets in the making.
#[derive(Debug, Default)]
pub struct Fragments {
    packets: HashMap<Name, Pieces, foldhash::quality::RandomState>,
    order: VecDeque<(Name, u64)>,
    bytes: usize,
    serial: u64,
    counts: FragmentCounts,
}

impl Fragments {
    /// Adds a piece found in `bytes`; what is in the packet, if that made it whole. A packet in a
    /// tunnel may itself be a piece of one.
    pub fn walk(
        &mut self,
        piece: &Fragment,
        bytes: &[u8],
        seen: &Seen<'_>,
        options: WalkOptions,
    ) -> Option<(Whole, Result<(Segment, Encap), Skip>)> {
        let mut whole = self.add(piece, data(piece, bytes), seen)?;
        loop {
            let found = walk::resume(
                &whole.payload,
                &whole.id,
                whole.protocol,
                whole.encap,
                options,
            );
            match found {
                Ok((Found::Segment(segment), encap)) => return Some((whole, Ok((segment, encap)))),
                Err(skip) => return Some((whole, Err(skip))),
                Ok((Found::Fragment(piece), encap)) => {
                    let seen = Seen {
                        encap: &encap,
                        ..*seen
                    };
                    whole = self.add(&piece, data(&piece, &whole.payload), &seen)?;
                }
            }
        }
    }

    /// Adds a piece with its bytes; the packet, if that made it whole.
    pub fn add(&mut self, piece: &Fragment, data: &[u8], seen: &Seen<'_>) -> Option<Whole> {
        self.counts.fragments += u64::from(!seen.goes_on);
        let name = (piece.id, *seen.encap, seen.point);
        let (from, to) = (piece.offset, piece.offset.checked_add(data.len() as u32)?);
        let is_another = |packet: &Pieces| {
            let waited = seen.time_ns.saturating_sub(packet.since_ns);
            // The first piece of a packet of which nothing more is expected is another packet's.
            waited > seen.patience_ns || packet.dropped && from == 0 && !seen.goes_on
        };
        if self.packets.get(&name).is_none_or(is_another) {
            self.begin(name, seen.time_ns);
        }
        let packet = self.packets.get_mut(&name)?;
        if packet.dropped {
            return None;
        }
        packet.stream_begins |= seen.stream_begins;
        let had = packet.cost();
        let wrong = match packet.add(piece, data, from, to, seen.encap) {
            Added::Yes => None,
            Added::Contradicts => Some(&mut self.counts.contradicting),
            Added::Overlaps => Some(&mut self.counts.overlapping),
        };
        if let Some(count) = wrong {
            *count += 1;
            packet.drop_all();
        }
        self.bytes = (self.bytes + packet.cost()).saturating_sub(had);
        if !packet.is_whole() {
            self.keep_bounds();
            return None;
        }
        let packet = self.packets.remove(&name)?;
        self.bytes = self.bytes.saturating_sub(packet.cost());
        self.counts.reassembled += 1;
        let (protocol, encap) = packet.first?;
        let payload = packet.runs.into_iter().next()?.bytes;
        Some(Whole {
            id: piece.id,
            protocol,
            encap,
            stream_begins: packet.stream_begins,
            payload,
        })
    }

    /// Nobody wants the packet of which this is the first piece: the others are dropped as they come,
    /// and are not waited for.
    pub fn refuse(&mut self, id: FragmentId, seen: &Seen<'_>) {
        self.counts.fragments += 1;
        let name = (id, *seen.encap, seen.point);
        // The pieces so far were of this packet.
        if let Some(packet) = self.packets.get_mut(&name) {
            packet.dropped = true;
        }
        self.begin(name, seen.time_ns);
        if let Some(packet) = self.packets.get_mut(&name) {
            packet.dropped = true;
        }
    }

    /// Gives up what has waited for longer than this.
    pub fn expire(&mut self, now_ns: u64, patience_ns: u64) {
        while let Some((name, serial)) = self.order.front() {
            if let Some(packet) = self.packets.get(name)
                && packet.serial == *serial
            {
                if now_ns.saturating_sub(packet.since_ns) <= patience_ns {
                    return;
                }
                let name = *name;
                self.counts.given_up += self.remove(&name);
            }
            self.order.pop_front();
        }
    }

    /// Counters so far; incomplete packets count as given up.
    pub fn counts(&self) -> FragmentCounts {
        let mut counts = self.counts;
        let waiting = self.packets.values().filter(|packet| !packet.dropped);
        counts.given_up += waiting.count() as u64;
        counts
    }

    /// [`Fragments::counts`] without the packets in the making, of which nothing is decided.
    pub const fn decided(&self) -> FragmentCounts {
        self.counts
    }

    /// A packet without pieces yet, in place of what has its name.
    fn begin(&mut self, name: Name, time_ns: u64) {
        self.counts.given_up += self.remove(&name);
        self.make_room();
        self.serial += 1;
        self.order.push_back((name, self.serial));
        let packet = Pieces {
            serial: self.serial,
            since_ns: time_ns,
            ..Pieces::default()
        };
        self.packets.insert(name, packet);
    }

    /// Takes a packet out; 1 if it was waiting for more, otherwise 0.
    fn remove(&mut self, name: &Name) -> u64 {
        let Some(packet) = self.packets.remove(name) else {
            return 0;
        };
        self.bytes = self.bytes.saturating_sub(packet.cost());
        u64::from(!packet.dropped)
    }

    fn make_room(&mut self) {
        while self.packets.len() >= MAX_PACKETS {
            if !self.drop_oldest() {
                break;
            }
        }
        // Names of packets that became whole stay in `order` until here.
        if self.order.len() > 2 * MAX_PACKETS {
            let packets = &self.packets;
            self.order
                .retain(|(name, serial)| packets.get(name).is_some_and(|p| p.serial == *serial));
        }
    }

    fn keep_bounds(&mut self) {
        while self.bytes > MAX_BYTES {
            if !self.drop_oldest() {
                break;
            }
        }
    }

    /// Gives up the oldest packet; `false` when there is none.
    fn drop_oldest(&mut self) -> bool {
        while let Some((name, serial)) = self.order.pop_front() {
            if self.packets.get(&name).is_some_and(|p| p.serial == serial) {
                self.counts.displaced += self.remove(&name);
                return true;
            }
        }
        false
    }
}

/// The bytes of a piece that was found in `bytes`.
fn data<'a>(piece: &Fragment, bytes: &'a [u8]) -> &'a [u8] {
    let (from, len) = (piece.data_offset as usize, piece.data_len as usize);
    let rest = bytes.get(from..).unwrap_or_default();
    rest.get(..len).unwrap_or_default()
}

enum Added {
    Yes,
    Contradicts,
    Overlaps,
}

impl Pieces {
    fn add(&mut self, piece: &Fragment, data: &[u8], from: u32, to: u32, encap: &Encap) -> Added {
        let furthest = self.runs.last().map_or(0, Run::end);
        let contradicts = match self.total {
            Some(total) => to > total || (!piece.more && to != total),
            None => !piece.more && to < furthest,
        };
        if contradicts {
            return Added::Contradicts;
        }
        let at = self.runs.partition_point(|run| run.end() <= from);
        if let Some(run) = self.runs.get(at)
            && run.start < to
        {
            if from < run.start || run.end() < to {
                return Added::Overlaps;
            }
        } else if !self.put(at, data, from) {
            return Added::Contradicts;
        }
        if !piece.more {
            self.total = Some(to);
        }
        if from == 0 && self.first.is_none() {
            self.first = Some((piece.protocol, *encap));
        }
        Added::Yes
    }

    /// Puts bytes in that overlap no others, before the run at `at`; `false` when there would be too
    /// many runs.
    fn put(&mut self, at: usize, data: &[u8], from: u32) -> bool {
        let before = at.checked_sub(1).filter(|&i| {
            let run = self.runs.get(i);
            run.is_some_and(|run| run.end() == from)
        });
        let at = match before.and_then(|i| Some((i, self.runs.get_mut(i)?))) {
            Some((i, run)) => {
                run.bytes.extend_from_slice(data);
                i
            }
            None => {
                if self.runs.len() >= MAX_RUNS {
                    return false;
                }
                let bytes = data.to_vec();
                self.runs.insert(at, Run { start: from, bytes });
                at
            }
        };
        let end = self.runs.get(at).map(Run::end);
        if self.runs.get(at + 1).map(|next| next.start) == end && end.is_some() {
            let next = self.runs.remove(at + 1);
            if let Some(run) = self.runs.get_mut(at) {
                run.bytes.extend_from_slice(&next.bytes);
            }
        }
        true
    }

    /// Memory in use.
    fn cost(&self) -> usize {
        let of = |run: &Run| run.bytes.capacity() + RUN_BYTES;
        self.runs.iter().map(of).sum()
    }

    /// Frees its pieces and drops further ones.
    fn drop_all(&mut self) {
        self.dropped = true;
        self.runs = Vec::new();
    }

    fn is_whole(&self) -> bool {
        match (self.total, self.runs.as_slice()) {
            (Some(total), [run]) => run.start == 0 && run.end() == total && self.first.is_some(),
            _ => false,
        }
    }
}
