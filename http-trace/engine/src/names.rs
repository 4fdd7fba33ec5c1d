//! Finds copies of one connection that bear another name: before and after an address translation,
//! on a pod's side and on its host's.
//!
//! Translators rewrite addresses and ports and leave the rest of TCP alone, so the head of a request
//! is seen twice with the same sequence number, the same acknowledgement number and the same bytes.
//! [`Sightings`] remembers the heads of the last two seconds and says, of each new one, whose copy
//! it is; [`Aliases`] remembers the names that were found to be another connection's, so that the
//! copies' records go to that connection, where they fall to the sequence numbers as any copy does.
//! Both are bounded. They must not know more of messages than the bytes of a head.
//!
//! # Why two honest connections are not taken for one
//! - Sequence and acknowledgement number are drawn by two hosts, 64 random bits together; the head's
//!   bytes come to them, by a hash whose key nobody knows. Where both beginnings of the sender's
//!   stream were seen they must be equal too; with those of the other stream they may stand in for
//!   an acknowledgement number that differs because a copy was retransmitted.
//! - Who opens many connections can choose one of the two numbers and the bytes, and draws the other
//!   against itself: among 10,000 of its connections in flight one pair in a hundred tries. Such a
//!   pair comes the same way, so where and which way the head passed (hook, interface, direction,
//!   namespace) tells: one packet does not pass one point twice in one direction. A client alone
//!   therefore merges nothing; one that also sees the other's packets to copy them could as well
//!   send under their name.
//! - A capture may have been taken at one point that all copies pass (`tcpdump -i any` on a router).
//!   There the translation must show in an address, not in a port alone as between two connections
//!   of one client, and both numbers must look drawn: captures that were written by programs begin
//!   every connection at 0, 1 or 1000.
//! - In a capture equal tuples were told apart by the reader already, which saw more than heads.
//!
//! Translations that rewrite sequence numbers (SYN proxies, some firewalls) are not followed: both
//! sides are then reported.
//!
//! # Names of one direction
//! Where two translations meet a bridge that calls the IP hooks, answers pass it with one of them
//! undone and the other not: a name under which no request is ever seen. Its responses are known as
//! copies because a connection with several names has the heads of its responses noted too. (An
//! agent that is let see that bridge alone sees requests under one name and responses under another
//! and does not bring them together.)
//!
//! # Which name is the server's
//! A request passes the server's side last, and its response there first. The names are put in
//! order by when each saw the same head: by one clock when live. Where captures of two hosts are
//! merged their clocks must agree to less than the way between them takes.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::HashMap;
use http_trace_common::flow::{Direction, FlowKey};

use crate::origin::{Ack, CapturePoint};
use crate::table::Id;

/// How far apart in event time two sightings of one head may be.
pub const WITHIN_NS: u64 = 2_000_000_000;

/// Heads that are remembered: sets of [`WAYS`], in which the oldest makes room.
const SETS: usize = 4096;
const WAYS: usize = 4;

/// Limit of aliases; the oldest is evicted, and found again when needed.
pub const MAX_ALIASES: usize = 65_536;

/// Numbers below this do not look as if a host had drawn them.
const DRAWN: u32 = 1 << 20;

/// Names of one connection whose order is remembered.
const PATHS: usize = 8;

/// Kind of a message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A request's.
    Request,
    /// A response's, of which only those are looked for whose request was not seen.
    Response,
}

/// A head that was seen.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    /// Name of the connection.
    pub key: FlowKey,
    /// Who sent the head.
    pub sender: Direction,
    /// The connection's place in the table.
    pub id: Id,
    /// The connection's number: places are used again.
    pub number: u64,
    /// What kind of message it begins.
    pub kind: Kind,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Acknowledgement number of the segment with its first byte, if it had one.
    pub ack: Ack,
    /// Sequence numbers of both streams' first bytes, the sender's first, as far as they are known.
    pub starts: [Option<u32>; 2],
    /// When its first byte was seen, ns.
    pub time_ns: u64,
    /// Where.
    pub point: CapturePoint,
    /// Under which of the connection's names, as [`Alias::path`].
    pub path: u8,
}

/// Heads whose hashes begin alike.
type Set = [Option<Entry>; WAYS];

/// A sighting and the hash of its head.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    sighting: Sighting,
}

/// The connection that a sighting is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Place of the connection that was seen first.
    pub id: Id,
    /// Its number.
    pub number: u64,
    /// Its directions are the other way round than the copy's.
    pub flipped: bool,
    /// How much nearer to the server the copy was seen than the first, in ns; negative when farther.
    pub nearer_ns: i64,
    /// Under which of its connection's names the first was seen, as [`Alias::path`].
    pub path: u8,
    /// What kind of head shows it.
    pub kind: Kind,
}

/// Recent heads, in a table of fixed size that is allocated with the first.
#[derive(Debug, Default)]
pub struct Sightings {
    sets: Vec<Set>,
    hasher: foldhash::quality::RandomState,
}

impl Sightings {
    /// Remembers a head with these bytes, of `len` on the wire, unless it is a copy: then of what.
    pub fn meet(&mut self, sighting: Sighting, bytes: &[u8], len: u64) -> Option<Original> {
        let (hash, set) = self.set(&sighting, bytes, len)?;
        for entry in set.iter().flatten() {
            if entry.hash == hash && is_copy(&entry.sighting, &sighting) {
                return Some(original(&entry.sighting, &sighting));
            }
        }
        put(set, Entry { hash, sighting });
        None
    }

    /// Remembers a head that is known to be no copy, so that copies of it are found.
    pub fn note(&mut self, sighting: Sighting, bytes: &[u8], len: u64) {
        if let Some((hash, set)) = self.set(&sighting, bytes, len) {
            put(set, Entry { hash, sighting });
        }
    }

    /// The hash of a head and where it belongs; `None` when nothing could prove a copy of it.
    fn set(&mut self, sighting: &Sighting, bytes: &[u8], len: u64) -> Option<(u64, &mut Set)> {
        if sighting.ack.number().is_none() && sighting.starts.contains(&None) {
            return None;
        }
        if self.sets.is_empty() {
            self.sets = vec![[None; WAYS]; SETS];
        }
        let hash = self
            .hasher
            .hash_one((sighting.kind, sighting.seq, len, bytes));
        Some((hash, self.sets.get_mut(hash as usize % SETS)?))
    }
}

/// The oldest of a set makes room.
fn put(set: &mut Set, entry: Entry) {
    let age = |entry: &&mut Option<Entry>| entry.as_ref().map_or(0, |e| e.sighting.time_ns);
    if let Some(oldest) = set.iter_mut().min_by_key(age) {
        *oldest = Some(entry);
    }
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
    // The other end's beginning may be a guess, where nothing of it was seen: it proves, and does
    // not disprove.
    if own == Some(false) {
        return false;
    }
    let begin_alike = own == Some(true) && peer == Some(true);
    if !(first.ack.number().is_some() && first.ack == second.ack || begin_alike) {
        return false;
    }
    translates(first, second)
}

/// Whether the names can be of one connection, seen where they were.
fn translates(first: &Sighting, second: &Sighting) -> bool {
    let live = first.point.is_live();
    let (a, b) = (ends(first), ends(second));
    if live != second.point.is_live() || a == b && !live {
        return false;
    }
    if first.point != second.point {
        return true;
    }
    // A live hook sees a packet once in each direction at each place.
    let translated = a.iter().zip(&b).any(|(a, b)| a.0 != b.0);
    let drawn = first.seq >= DRAWN && first.ack.number().is_some_and(|ack| ack >= DRAWN);
    !live && translated && drawn
}

/// Address and port of the sender and of the receiver.
fn ends(sighting: &Sighting) -> [(http_trace_common::flow::Address, u16); 2] {
    [sighting.sender, sighting.sender.opposite()].map(|end| sighting.key.sender(end))
}

fn original(first: &Sighting, second: &Sighting) -> Original {
    let later = second.time_ns.wrapping_sub(first.time_ns) as i64;
    // Of two at the same time the one that came first was there first.
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

/// A name that is another connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    /// Place of the connection that its records belong to.
    pub id: Id,
    /// That connection's number; another there means that the alias is of the past.
    pub number: u64,
    /// Directions are the other way round.
    pub flipped: bool,
    /// Tells the paths of one connection apart; 0 is that of its own name.
    pub path: u8,
    /// Order in which aliases were made.
    made: u64,
}

/// The names that one connection was seen under, as far as they matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// The one nearest to the server, and whether its directions are the other way round than the
    /// connection's.
    pub server: (FlowKey, bool),
    /// The one nearest to the client.
    pub client: (FlowKey, bool),
    server_ns: i64,
    client_ns: i64,
    paths: u8,
    /// Requests were seen under more than one of them.
    asked: bool,
    /// How much nearer to the server than the connection's own name each of the first others is.
    nearer_ns: [i64; PATHS],
}

/// Names of connections that have more than one.
#[derive(Debug, Default)]
pub struct Aliases {
    by_key: HashMap<FlowKey, Alias, foldhash::fast::RandomState>,
    /// Aliases in the order they were made, some of them gone since.
    order: VecDeque<(u64, FlowKey)>,
    made: u64,
    names: HashMap<u64, Names, foldhash::fast::RandomState>,
}

impl Aliases {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whose name `key` is, if it is another connection's.
    pub fn get(&self, key: &FlowKey) -> Option<Alias> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get(key).copied()
    }

    /// The names of the connection with this number, if it has several.
    pub fn names(&self, number: u64) -> Option<&Names> {
        self.names.get(&number)
    }

    /// `alias` is another name of the connection named `key` that `copy` was taken from.
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
        // A name of responses alone lies between those of requests; how long the way back takes
        // does not compare with how long the way there took.
        let counts = original.kind == Kind::Request || !names.asked;
        if counts && nearer_ns > names.server_ns {
            names.server_ns = nearer_ns;
            names.server = (alias, original.flipped);
        }
        if counts && nearer_ns < names.client_ns {
            names.client_ns = nearer_ns;
            names.client = (alias, original.flipped);
        }
        self.made += 1;
        self.by_key.insert(
            alias,
            Alias {
                id: original.id,
                number: original.number,
                flipped: original.flipped,
                path,
                made: self.made,
            },
        );
        self.order.push_back((self.made, alias));
        while self.by_key.len() > MAX_ALIASES {
            let Some((made, key)) = self.order.pop_front() else {
                break;
            };
            if self.by_key.get(&key).is_some_and(|a| a.made == made) {
                self.by_key.remove(&key);
            }
        }
        if self.order.len() > 2 * self.by_key.len() + 1024 {
            let by_key = &self.by_key;
            self.order
                .retain(|(made, key)| by_key.get(key).is_some_and(|a| a.made == *made));
        }
    }

    /// `key` names a connection of its own from here on.
    pub fn remove(&mut self, key: &FlowKey) {
        self.by_key.remove(key);
    }

    /// The connection with this number is gone. Its aliases go when they are looked up again, or when
    /// there are too many.
    pub fn forget(&mut self, number: u64) {
        self.names.remove(&number);
    }
}

#[cfg(test)]
mod tests;
