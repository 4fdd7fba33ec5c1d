//! Reassembles IP packets from fragments (RFC 791 §3.2, RFC 815, RFC 8200 §4.5), within fixed limits.
//! Decides nothing about the segments inside.
//!
//! Follows Linux (`ip_fragment.c`, `inet_fragment.c`, since 4.19; RFC 5722 for IPv6): a fragment whose
//! bytes are all present is a copy; one that overlaps others in part, or contradicts them, drops its
//! whole packet. Incomplete packets are dropped after half a minute, or when a limit is reached, oldest
//! first. All of this is counted.
//!
//! [`shipped`] does this for fragments shipped by the programs in the kernel.

pub mod shipped;

use std::num::NonZeroUsize;

use http_trace_common::walk::{
    self, Encap, Found, Fragment, FragmentId, Segment, Skip, WalkOptions,
};
use lru::LruCache;

use crate::origin::CapturePoint;

/// Limit of incomplete packets.
const MAX_PACKETS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Limit of bytes in incomplete packets.
const MAX_BYTES: usize = 16 << 20;
/// Limit of separate runs of bytes in one packet.
const MAX_RUNS: usize = 256;
/// Memory overhead of a run, in bytes.
const RUN_BYTES: usize = 64;
/// How long a packet of a capture waits for its fragments: Linux's `ipfrag_time`. Identifications are reused.
pub const PATIENCE_NS: u64 = 30_000_000_000;

/// Counters of fragments and packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    pub fragments: u64,
    /// Packets that were completed.
    pub reassembled: u64,
    /// Packets whose fragments did not all come in time, or were incomplete at the end.
    pub given_up: u64,
    /// Packets dropped to stay within the limits.
    pub displaced: u64,
    /// Packets dropped because a fragment contradicts others about the packet's end, or leaves too many gaps.
    pub contradicting: u64,
    /// Packets dropped because a fragment overlaps others in part.
    pub overlapping: u64,
}

/// Where and when a fragment was seen.
#[derive(Clone, Copy, Debug)]
pub struct FragmentOrigin<'a> {
    /// Its tags and tunnels.
    pub encap: &'a Encap,
    pub time_ns: u64,
    /// Copies seen at other points are reassembled separately.
    pub point: CapturePoint,
    /// Whether its segment is known to be the first of its stream.
    pub stream_begins: bool,
    /// How long its packet waits for the other fragments, ns.
    pub patience_ns: u64,
    /// Whether these are more bytes of a fragment that was already counted.
    pub continues: bool,
}

/// A completed packet.
#[derive(Debug)]
pub struct Whole {
    pub id: FragmentId,
    /// Protocol of its payload, from the fragment at offset 0.
    pub protocol: u8,
    /// Tags and tunnels of that fragment.
    pub encap: Encap,
    /// Whether one of its fragments was known to begin a stream.
    pub stream_begins: bool,
    pub payload: Vec<u8>,
}

#[derive(Debug, Default)]
struct Pieces {
    /// Bytes so far, in order; no two runs touch or overlap.
    runs: Vec<Run>,
    /// Length of the payload, once the last fragment is known.
    total: Option<u32>,
    first: Option<(u8, Encap)>,
    stream_begins: bool,
    /// Whether further fragments are dropped: the packet cannot be completed, or is not wanted.
    dropped: bool,
    /// When its first fragment came.
    since_ns: u64,
}

/// Contiguous bytes of a payload.
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

/// Names an incomplete packet: equal ids in different VLANs or tunnels are different packets.
type Name = (FragmentId, Encap, CapturePoint);

/// Incomplete packets.
#[derive(Debug)]
pub struct Fragments {
    /// In the order in which they began.
    packets: LruCache<Name, Pieces>,
    bytes: usize,
    counts: FragmentCounts,
}

impl Default for Fragments {
    fn default() -> Self {
        let packets = LruCache::sparse(MAX_PACKETS);
        Fragments { packets, bytes: 0, counts: FragmentCounts::default() }
    }
}

impl Fragments {
    /// Adds the fragment found in `bytes`; if it completes the packet, returns the packet and what is in
    /// it. A packet in a tunnel may itself be a fragment.
    pub fn walk(
        &mut self,
        piece: &Fragment,
        bytes: &[u8],
        seen: &FragmentOrigin<'_>,
        options: WalkOptions,
    ) -> Option<(Whole, Result<(Segment, Encap), Skip>)> {
        let mut whole = self.add(piece, data(piece, bytes), seen)?;
        loop {
            let found =
                walk::resume(&whole.payload, &whole.id, whole.protocol, whole.encap, options);
            match found {
                Ok((Found::Segment(segment), encap)) => return Some((whole, Ok((segment, encap)))),
                Err(skip) => return Some((whole, Err(skip))),
                Ok((Found::Fragment(piece), encap)) => {
                    let seen = FragmentOrigin { encap: &encap, ..*seen };
                    whole = self.add(&piece, data(&piece, &whole.payload), &seen)?;
                }
            }
        }
    }

    /// Adds a fragment with its bytes; returns the packet if it is complete.
    pub fn add(
        &mut self,
        piece: &Fragment,
        data: &[u8],
        seen: &FragmentOrigin<'_>,
    ) -> Option<Whole> {
        self.counts.fragments += u64::from(!seen.continues);
        let name = (piece.id, *seen.encap, seen.point);
        let (from, to) = (piece.offset, piece.offset.checked_add(data.len() as u32)?);
        let is_another = |packet: &Pieces| {
            let waited = seen.time_ns.saturating_sub(packet.since_ns);
            // A first fragment for a packet that expects none belongs to another packet.
            waited > seen.patience_ns || packet.dropped && from == 0 && !seen.continues
        };
        if self.packets.peek(&name).is_none_or(is_another) {
            self.begin(name, seen.time_ns);
        }
        let packet = self.packets.peek_mut(&name)?;
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
            while self.bytes > MAX_BYTES
                && let Some((_, oldest)) = self.packets.pop_lru()
            {
                self.counts.displaced += self.release(&oldest);
            }
            return None;
        }
        let packet = self.packets.pop(&name)?;
        self.bytes = self.bytes.saturating_sub(packet.cost());
        self.counts.reassembled += 1;
        let (protocol, encap) = packet.first?;
        let payload = packet.runs.into_iter().next()?.bytes;
        Some(Whole { id: piece.id, protocol, encap, stream_begins: packet.stream_begins, payload })
    }

    /// Drops the packet that begins with this fragment because it is not wanted: its other fragments are
    /// dropped as they come and are not waited for.
    pub fn refuse(&mut self, id: FragmentId, seen: &FragmentOrigin<'_>) {
        self.counts.fragments += 1;
        let name = (id, *seen.encap, seen.point);
        // The fragments so far belonged to this packet.
        if let Some(packet) = self.packets.peek_mut(&name) {
            packet.dropped = true;
        }
        self.begin(name, seen.time_ns);
        if let Some(packet) = self.packets.peek_mut(&name) {
            packet.dropped = true;
        }
    }

    /// Drops packets that have waited for longer than `patience_ns`.
    pub fn expire(&mut self, now_ns: u64, patience_ns: u64) {
        let waited = |packet: &Pieces| now_ns.saturating_sub(packet.since_ns);
        while self.packets.peek_lru().is_some_and(|(_, packet)| waited(packet) > patience_ns)
            && let Some((_, packet)) = self.packets.pop_lru()
        {
            self.counts.given_up += self.release(&packet);
        }
    }

    /// Counters so far; incomplete packets count as given up.
    pub fn counts(&self) -> FragmentCounts {
        let mut counts = self.counts;
        let waiting = self.packets.iter().filter(|(_, packet)| !packet.dropped);
        counts.given_up += waiting.count() as u64;
        counts
    }

    /// [`Fragments::counts`] without incomplete packets, which are still undecided.
    pub const fn decided(&self) -> FragmentCounts {
        self.counts
    }

    /// Begins a packet without fragments, replacing one with the same name.
    fn begin(&mut self, name: Name, time_ns: u64) {
        if let Some(packet) = self.packets.pop(&name) {
            self.counts.given_up += self.release(&packet);
        }
        let packet = Pieces { since_ns: time_ns, ..Pieces::default() };
        if let Some((_, oldest)) = self.packets.push(name, packet) {
            self.counts.displaced += self.release(&oldest);
        }
    }

    /// Subtracts the memory of a packet that was removed; returns 1 if it was incomplete, otherwise 0.
    fn release(&mut self, packet: &Pieces) -> u64 {
        self.bytes = self.bytes.saturating_sub(packet.cost());
        u64::from(!packet.dropped)
    }
}

/// The bytes of a fragment that was found in `bytes`.
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

    /// Inserts bytes that overlap no others before the run at `at`; `false` if there would be too many runs.
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

    /// Memory in use, in bytes.
    fn cost(&self) -> usize {
        let of = |run: &Run| run.bytes.capacity() + RUN_BYTES;
        self.runs.iter().map(of).sum()
    }

    /// Frees its fragments and drops further ones.
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
