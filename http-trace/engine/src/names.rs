//! Finds copies of one connection under another name (tuple): before and after an address translation,
//! on a pod's side and on its host's.
//!
//! Translators rewrite addresses and ports and leave the rest of TCP alone, so a request's head is seen
//! twice with the same sequence number, acknowledgement number and bytes. [`Sightings`] remembers the
//! heads of the last two seconds and finds whose copy a new one is. [`Aliases`] remembers the names that
//! belong to another connection, so that the copies' records go to that connection, whose sequence
//! numbers show them to be copies. Both are bounded. They must not know more of messages than the bytes
//! of a head.
//!
//! # Why two independent connections are not merged
//! - Sequence and acknowledgement numbers are drawn by two hosts, 64 random bits together; the head's
//!   bytes are compared as well, by a hash with a secret key. If the beginning of the sender's stream
//!   was seen in both, the beginnings must be equal too. Equal beginnings of the other stream may
//!   replace an acknowledgement number that differs because a copy was retransmitted.
//! - A client that opens many connections can choose one of the two numbers and the bytes, so it only
//!   has to match the other: among 10,000 of its connections in flight, one attempt in a hundred finds a
//!   pair. Such a pair comes by the same path, so the point where the head passed (hook, interface,
//!   direction, namespace) decides: one packet does not pass one point twice in one direction. A client
//!   alone therefore merges nothing; one that also sees another's packets, to copy them, could equally
//!   send under its name.
//! - A capture may be taken at one point that all copies pass (`tcpdump -i any` on a router). There the
//!   translation must change an address, since two connections of one client differ in a port alone.
//! - In captures, both numbers must look random, or one at different points: those written by programs begin every
//!   connection at 0, 1 or 1000.
//! - In a capture, equal tuples were already told apart by the reader, which sees more than heads.
//!
//! Translations that rewrite sequence numbers (SYN proxies, some firewalls) are not followed: both sides
//! are reported.
//!
//! # Names of one direction
//! If two translations meet a bridge that calls the IP hooks, responses pass it with only one of them
//! undone: under a name that never carries a request. They are recognised as copies because the heads of answers
//! are noted, too.
//!
//! Where a host translates the address of its own server (a port that is redirected, a sidecar), requests pass under the
//! server's name and responses under the one that the client asked for: neither is a copy. [`Halves`] joins them by what
//! both have: the client's end, the number that the request expects and the response begins with, and the bytes of the
//! request that the response acknowledges.
//!
//! # Which name is the server's
//! A request passes the server's side last, and its response passes there first. Names are ordered by
//! when each saw the same head: by one clock in live traffic. If captures of two hosts are merged, their
//! clocks must agree to within the time between them.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;

use hashbrown::HashMap;
use http_trace_common::flow::{Address, Direction, FlowKey};
use http_trace_common::record::{Hook, RecordHeader, flag};
use lru::LruCache;

use crate::origin::{Ack, CapturePoint};
use crate::table::Id;

/// Limit on the time between two sightings of one head, in event time.
pub const WITHIN_NS: u64 = 2_000_000_000;

/// Limit of heads that are remembered.
const HEADS: usize = SETS * WAYS;
/// Sets of the index, of [`WAYS`] heads each.
const SETS: usize = 4096;
const WAYS: usize = 4;

/// Limit of aliases; the oldest is evicted, and found again when needed.
pub const MAX_ALIASES: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

/// Numbers below this do not look random.
const DRAWN: u32 = 1 << 20;

/// Limit of names of one connection whose order is remembered.
const PATHS: usize = 8;

/// Kind of a message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request's.
    Request,
    /// A response's; looked up only if its request was not seen.
    Response,
}

/// A head that was seen, with what identifies it.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    pub key: FlowKey,
    pub sender: Direction,
    /// The connection's slot in the table.
    pub id: Id,
    /// The connection's number, since slots are reused.
    pub number: u64,
    /// Kind of the message that it begins.
    pub kind: Kind,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Acknowledgement number of the segment with its first byte, if it had one.
    pub ack: Ack,
    /// Sequence numbers of both streams' first bytes, the sender's first, as far as they are known.
    pub starts: [Option<u32>; 2],
    /// When its first byte was seen, ns.
    pub time_ns: u64,
    /// Where its first byte was seen.
    pub point: CapturePoint,
    /// Name of the connection that it was seen under, as [`Alias::path`].
    pub path: u8,
}

/// A sighting and the hash of its head.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    sighting: Sighting,
}

/// Where a head is found: half of its hash, and its number.
type HeadIndex = (u32, u32);

/// The connection that a sighting is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Slot of the connection that was seen first.
    pub id: Id,
    pub number: u64,
    /// Its directions are swapped relative to the copy's.
    pub flipped: bool,
    /// How much nearer to the server the copy was seen than the first, in ns; negative if farther.
    pub nearer_ns: i64,
    /// Name of its connection that the first was seen under, as [`Alias::path`].
    pub path: u8,
    /// Kind of head that shows it.
    pub kind: Kind,
}

/// Recent heads. They are written one after the other, and found in a small index: a head that is new, as
/// nearly all are, touches little memory.
#[derive(Debug, Default)]
pub struct Sightings {
    /// The latest heads, each at its number modulo [`HEADS`].
    heads: Vec<Entry>,
    /// Places of heads whose hashes share a suffix.
    index: Vec<[HeadIndex; WAYS]>,
    /// Number of heads so far.
    count: u32,
    hasher: foldhash::quality::RandomState,
}

impl Sightings {
    /// Looks a head up; `len` is its length on the wire. Returns what it is a copy of, otherwise
    /// remembers it.
    pub fn meet(&mut self, sighting: Sighting, bytes: &[u8], len: u64) -> Option<Original> {
        let hash = self.hash(&sighting, bytes, len)?;
        let set = self.index.get(hash as usize % SETS)?;
        for (_, number) in set.iter().filter(|place| place.0 == tag(hash)) {
            if let Some(first) = self.heads.get(*number as usize % HEADS)
                && first.hash == hash
                && is_copy(&first.sighting, &sighting)
            {
                return Some(original(&first.sighting, &sighting));
            }
        }
        self.put(Entry { hash, sighting });
        None
    }

    /// Remembers a head that is known not to be a copy, so that its copies are found.
    pub fn note(&mut self, sighting: Sighting, bytes: &[u8], len: u64) {
        if let Some(hash) = self.hash(&sighting, bytes, len) {
            self.put(Entry { hash, sighting });
        }
    }

    /// The hash of a head; `None` if nothing could prove a copy of it.
    fn hash(&mut self, sighting: &Sighting, bytes: &[u8], len: u64) -> Option<u64> {
        if sighting.ack.number().is_none() && sighting.starts.contains(&None) {
            return None;
        }
        if self.index.is_empty() {
            self.index = vec![[(0, 0); WAYS]; SETS];
        }
        let head = (sighting.kind, sighting.seq, len, bytes);
        Some(self.hasher.hash_one(head))
    }

    /// Adds a head; the oldest one is evicted, and the oldest of a full set of the index.
    fn put(&mut self, entry: Entry) {
        let (number, set) = (self.count, entry.hash as usize % SETS);
        self.count = number.wrapping_add(1);
        // An empty place looks like one of the first head, which must stay.
        let age = |place: &&mut HeadIndex| (**place == (0, 0), number.wrapping_sub(place.1));
        let set = self.index.get_mut(set);
        if let Some(oldest) = set.and_then(|set| set.iter_mut().max_by_key(age)) {
            *oldest = (tag(entry.hash), number);
        }
        match self.heads.get_mut(number as usize % HEADS) {
            Some(head) => *head = entry,
            None => self.heads.push(entry),
        }
    }
}

/// The half of a hash that does not choose its set.
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn is_copy(first: &Sighting, second: &Sighting) -> bool {
    if first.number == second.number
        || first.kind != second.kind
        || first.seq != second.seq
        || first.time_ns.abs_diff(second.time_ns) > WITHIN_NS
    {
        return false;
    }
    let [own, peer] = [0, 1].map(|side| {
        let known = first.starts[side].zip(second.starts[side]);
        known.map(|(a, b)| a == b)
    });
    // The other end's beginning may be a guess if nothing of it was seen: it can prove a match, but not
    // disprove one.
    if own == Some(false) {
        return false;
    }
    let begin_alike = own == Some(true) && peer == Some(true);
    if !(first.ack.number().is_some() && first.ack == second.ack || begin_alike) {
        return false;
    }
    translates(first, second)
}

/// Whether both names can belong to one connection, given where they were seen.
fn translates(first: &Sighting, second: &Sighting) -> bool {
    let live = first.point.is_live();
    let (a, b) = (ends(first), ends(second));
    if live != second.point.is_live() || a == b && !live {
        return false;
    }
    let is_elsewhere = first.point != second.point;
    if live {
        // A hook sees a packet once per direction at each point.
        return is_elsewhere;
    }
    let translated = a.iter().zip(&b).any(|(a, b)| a.0 != b.0);
    // Captures that programs write begin every connection at the same numbers. One of two may be low by chance.
    let drawn = [Some(first.seq), first.ack.number()].map(|number| number >= Some(DRAWN));
    if is_elsewhere { drawn.contains(&true) } else { translated && drawn == [true; 2] }
}

/// Address and port of the sender and of the receiver.
fn ends(sighting: &Sighting) -> [(Address, u16); 2] {
    [sighting.sender, sighting.sender.opposite()].map(|end| sighting.key.sender(end))
}

fn original(first: &Sighting, second: &Sighting) -> Original {
    let later = second.time_ns.wrapping_sub(first.time_ns) as i64;
    // At equal times, the one that arrived first was first.
    let later = if later == 0 { 1 } else { later };
    Original {
        id: first.id,
        number: first.number,
        flipped: first.sender != second.sender,
        nearer_ns: match first.kind {
            Kind::Request => later,
            Kind::Response => -later,
        },
        path: first.path,
        kind: first.kind,
    }
}

/// Requests that may be answered under another name, at one slot each: a newer one replaces an older one.
#[derive(Debug, Default)]
pub struct Halves {
    slots: Vec<Option<Half>>,
    hasher: foldhash::quality::RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Half {
    client: (Address, u16),
    sender: Direction,
    id: Id,
    number: u64,
    seq: u32,
    /// What it expects of the server.
    ack: u32,
    is_live: bool,
    path: u8,
    time_ns: u64,
}

/// Limit on the time from a request to its response under another name.
const ANSWERED_WITHIN_NS: u64 = 300_000_000_000;

/// Limit on the bytes of a request that its response acknowledges.
const REQUEST_BYTES: u32 = 1 << 20;

impl Halves {
    /// Remembers the first request of a connection.
    pub fn note(&mut self, request: &Sighting) {
        let Some(ack) = request.ack.number() else { return };
        self.slots.resize(SETS, None);
        let [client, _] = ends(request);
        let slot = self.slot(client, ack);
        self.slots[slot] = Some(Half {
            client,
            sender: request.sender,
            id: request.id,
            number: request.number,
            seq: request.seq,
            ack,
            is_live: request.point.is_live(),
            path: request.path,
            time_ns: request.time_ns,
        });
    }

    /// The connection of the request that these bytes answer, the first of a connection with this name.
    pub fn meet(
        &self,
        key: &FlowKey,
        sender: Direction,
        header: &RecordHeader,
    ) -> Option<Original> {
        let client = key.sender(sender.opposite());
        let half = self.slots.get(self.slot(client, header.seq))?.as_ref()?;
        let is_one = half.client == client
            && half.ack == header.seq
            && header.has(flag::ACK)
            && (1..=REQUEST_BYTES).contains(&header.ack.wrapping_sub(half.seq))
            && half.is_live == (header.hook != Hook::Capture as u8)
            // Captures that programs write begin every connection at the same numbers.
            && (half.is_live || half.seq >= DRAWN && half.ack >= DRAWN)
            && header.time_ns.abs_diff(half.time_ns) <= ANSWERED_WITHIN_NS;
        is_one.then_some(Original {
            id: half.id,
            number: half.number,
            flipped: half.sender == sender,
            nearer_ns: 0,
            path: half.path,
            kind: Kind::Response,
        })
    }

    fn slot(&self, client: (Address, u16), seq: u32) -> usize {
        self.hasher.hash_one((client, seq)) as usize % SETS
    }
}

/// A name that belongs to another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Slot of the connection that its records belong to.
    pub id: Id,
    /// That connection's number; if another is found there, the alias is stale.
    pub number: u64,
    /// Directions are swapped.
    pub flipped: bool,
    /// Distinguishes the paths of one connection; 0 is that of its own name.
    pub path: u8,
}

/// The names that one connection was seen under, as far as needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// The name nearest to the server, and whether its directions are swapped relative to the connection's.
    pub server: (FlowKey, bool),
    pub client: (FlowKey, bool),
    server_ns: i64,
    client_ns: i64,
    paths: u8,
    /// Whether requests were seen under more than one name.
    asked: bool,
    /// How much nearer to the server than the connection's own name each of the first others is, in ns.
    nearer_ns: [i64; PATHS],
}

/// Names of connections that have more than one.
#[derive(Debug)]
pub struct Aliases {
    by_key: LruCache<FlowKey, Alias>,
    names: HashMap<u64, Names, foldhash::fast::RandomState>,
}

impl Default for Aliases {
    fn default() -> Self {
        Aliases { by_key: LruCache::sparse(MAX_ALIASES), names: HashMap::default() }
    }
}

impl Aliases {
    /// The connection that `key` is an alias of, if any.
    pub fn get(&self, key: &FlowKey) -> Option<Alias> {
        self.by_key.peek(key).copied()
    }

    /// The names of the connection with this number, if it has several.
    pub fn names(&self, number: u64) -> Option<&Names> {
        self.names.get(&number)
    }

    /// Adds `alias` as another name of the connection named `key`, whose copy was found.
    pub fn insert(&mut self, alias: FlowKey, key: FlowKey, original: &Original) {
        let names = self.names.entry(original.number).or_insert(Names {
            server: (key, false),
            client: (key, false),
            server_ns: 0,
            client_ns: 0,
            paths: 0,
            asked: false,
            nearer_ns: [0; PATHS],
        });
        names.paths = names.paths.saturating_add(1);
        let path = names.paths;
        let of_first = names.nearer_ns.get(usize::from(original.path));
        let nearer_ns = of_first.map_or(0, |ns| ns.saturating_add(original.nearer_ns));
        if let Some(place) = names.nearer_ns.get_mut(usize::from(path)) {
            *place = nearer_ns;
        }
        names.asked |= original.kind == Kind::Request;
        // A name that carries only responses lies between those of requests; travel times of the two
        // directions cannot be compared.
        let counts = original.kind == Kind::Request || !names.asked;
        if counts && nearer_ns > names.server_ns {
            names.server_ns = nearer_ns;
            names.server = (alias, original.flipped);
        }
        if counts && nearer_ns < names.client_ns {
            names.client_ns = nearer_ns;
            names.client = (alias, original.flipped);
        }
        let &Original { id, number, flipped, .. } = original;
        self.by_key.put(alias, Alias { id, number, flipped, path });
    }

    /// From here on, `key` names a connection of its own.
    pub fn remove(&mut self, key: &FlowKey) {
        self.by_key.pop(key);
    }

    /// The connection with this number is gone. Its aliases are removed when they are looked up, or when
    /// there are too many.
    pub fn forget(&mut self, number: u64) {
        self.names.remove(&number);
    }
}

#[cfg(test)]
mod tests;
