//! IP fragments put together (RFC 791 §3.2, RFC 815, RFC 8200 §4.5), within fixed bounds.
//!
//! The first copy of a byte wins. Packets that do not become whole go after half a minute, as Linux
//! has it, or when the bounds are reached, oldest first, and are counted; so are those that could
//! never become whole.
//!
//! [`shipped`] does it for pieces that came from the programs in the kernel.

pub mod shipped;

use std::collections::{HashMap, VecDeque};

use http_trace_common::record::RecordHeader;
use http_trace_common::walk::{
    self, Encap, Found, Fragment, FragmentId, Segment, Skip, WalkOptions,
};

/// The most packets in the making.
const MAX_PACKETS: usize = 4096;
/// The most bytes in them.
const MAX_BYTES: usize = 16 << 20;
/// The most pieces of one packet that leave gaps between them.
const MAX_RANGES: usize = 256;
/// How long a packet of a capture waits for its pieces: Linux's `ipfrag_time`. Identifications come
/// around.
pub const PATIENCE_NS: u64 = 30_000_000_000;

/// What became of fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Fragments seen.
    pub fragments: u64,
    /// Packets that became whole.
    pub reassembled: u64,
    /// Packets given up to stay within the bounds, or incomplete at the end of the captures.
    pub given_up: u64,
    /// Fragments that contradict others of their packet, and were left out.
    pub contradicting: u64,
    /// Fragments some of whose bytes had come before and differed.
    pub differing_overlaps: u64,
}

/// Where a piece was seen, and when.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What it was wrapped in.
    pub encap: &'a Encap,
    /// When, ns.
    pub time_ns: u64,
    /// Copies that were seen elsewhere are put together by themselves.
    pub place: Place,
    /// Whether its segment is known to be the first of its stream.
    pub stream_begins: bool,
    /// How long its packet waits for the others, ns.
    pub patience_ns: u64,
}

/// A hook at an interface of a network namespace; the same for all of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    netns: u32,
    interface: u32,
    hook: u8,
    flags: u16,
}

impl Place {
    /// Where a record was taken.
    pub fn of(header: &RecordHeader) -> Self {
        Place {
            netns: header.netns,
            interface: header.interfaces[0],
            hook: header.hook,
            flags: header.flags & http_trace_common::record::flag::EGRESS,
        }
    }
}

/// A packet that became whole.
#[derive(Debug)]
pub struct Whole {
    /// Its addresses.
    pub id: FragmentId,
    /// Protocol of its payload, as the piece at offset 0 says.
    pub protocol: u8,
    /// What that piece was wrapped in.
    pub encap: Encap,
    /// Whether one of its pieces was known to begin a stream.
    pub stream_begins: bool,
    /// The payload.
    pub payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Pieces {
    payload: Vec<u8>,
    /// Ranges that are there, sorted, neither touching nor overlapping.
    ranges: Vec<(u32, u32)>,
    /// Length of the payload, once the last piece is there.
    total: Option<u32>,
    first: Option<(u8, Encap)>,
    stream_begins: bool,
    /// When its first piece came.
    since_ns: u64,
    /// Tells a packet from a later one with the same name in `order`.
    serial: u64,
}

/// Names a packet in the making: equal ids in different VLANs or tunnels are different packets.
type Name = (FragmentId, Encap, Place);

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
        self.counts.fragments += 1;
        let name = (piece.id, *seen.encap, seen.place);
        let (from, to) = (piece.offset, piece.offset.checked_add(data.len() as u32)?);
        if let Some(packet) = self.packets.get(&name)
            && seen.time_ns.saturating_sub(packet.since_ns) > seen.patience_ns
        {
            self.bytes -= packet.payload.len();
            self.packets.remove(&name);
            self.counts.given_up += 1;
        }
        if !self.packets.contains_key(&name) {
            self.make_room();
            self.serial += 1;
            self.order.push_back((name, self.serial));
        }
        let serial = self.serial;
        let packet = self.packets.entry(name).or_insert_with(|| Pieces {
            serial,
            since_ns: seen.time_ns,
            ..Pieces::default()
        });
        packet.stream_begins |= seen.stream_begins;
        let had = packet.payload.len();
        match packet.add(piece, data, from, to, seen.encap) {
            Added::Yes { differing } => self.counts.differing_overlaps += u64::from(differing),
            Added::Contradicts => self.counts.contradicting += 1,
        }
        self.bytes += packet.payload.len() - had;
        if !packet.is_whole() {
            self.keep_bounds();
            return None;
        }
        let packet = self.packets.remove(&name)?;
        self.bytes -= packet.payload.len();
        self.counts.reassembled += 1;
        let (protocol, encap) = packet.first?;
        Some(Whole {
            id: piece.id,
            protocol,
            encap,
            stream_begins: packet.stream_begins,
            payload: packet.payload,
        })
    }

    /// What became of all fragments so far; packets still in the making count as given up.
    pub fn counts(&self) -> FragmentCounts {
        let mut counts = self.counts;
        counts.given_up += self.packets.len() as u64;
        counts
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
                if let Some(packet) = self.packets.remove(&name) {
                    self.bytes -= packet.payload.len();
                    self.counts.given_up += 1;
                }
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
    Yes { differing: bool },
    Contradicts,
}

impl Pieces {
    fn add(&mut self, piece: &Fragment, data: &[u8], from: u32, to: u32, encap: &Encap) -> Added {
        let furthest = self.payload.len() as u32;
        let contradicts = match self.total {
            Some(total) => to > total || (!piece.more && to != total),
            None => !piece.more && to < furthest,
        };
        if contradicts || self.ranges.len() >= MAX_RANGES {
            return Added::Contradicts;
        }
        if !piece.more {
            self.total = Some(to);
        }
        if from == 0 && self.first.is_none() {
            self.first = Some((piece.protocol, *encap));
        }
        if furthest < to {
            self.payload.resize(to as usize, 0);
        }
        let differing = self.copy_missing(data, from, to);
        self.note(from, to);
        Added::Yes { differing }
    }

    /// Copies what is not there yet; whether what is there differs.
    fn copy_missing(&mut self, data: &[u8], from: u32, to: u32) -> bool {
        let mut differing = false;
        let mut at = from;
        for &(start, end) in &self.ranges {
            if end <= at || start >= to {
                continue;
            }
            if start > at {
                copy(&mut self.payload, data, from, at, start);
            }
            let (start, end) = (start.max(at), end.min(to));
            let old = self.payload.get(start as usize..end as usize);
            differing |= old != data.get((start - from) as usize..(end - from) as usize);
            at = end;
        }
        if at < to {
            copy(&mut self.payload, data, from, at, to);
        }
        differing
    }

    /// Adds a range to those that are there.
    fn note(&mut self, mut from: u32, mut to: u32) {
        self.ranges.retain(|&(start, end)| {
            let apart = end < from || start > to;
            if !apart {
                from = from.min(start);
                to = to.max(end);
            }
            apart
        });
        let at = self.ranges.partition_point(|&(start, _)| start < from);
        self.ranges.insert(at, (from, to));
    }

    fn is_whole(&self) -> bool {
        match (self.total, self.ranges.as_slice()) {
            (Some(total), &[(0, end)]) => end == total && self.first.is_some(),
            _ => false,
        }
    }
}

/// Copies the bytes [`at`, `to`) of a payload from `data`, which begins at `from`.
fn copy(payload: &mut [u8], data: &[u8], from: u32, at: u32, to: u32) {
    let target = payload.get_mut(at as usize..to as usize);
    let source = data.get((at - from) as usize..(to - from) as usize);
    if let (Some(target), Some(source)) = (target, source) {
        target.copy_from_slice(source);
    }
}
