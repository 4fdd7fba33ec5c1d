//! What detection keeps across a restart, as bytes for a file: a header that tells whether they are whole and of
//! this version, then hits, then counters, the ones worth most first. The thread that counts encodes
//! counters in small steps, so that no event waits for all of them; another thread puts the pieces
//! together and leaves out what does not fit ([`Snapshot::into_file`]). No I/O, and no panic whatever the
//! bytes.

use std::cmp::Reverse;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::counter::Counter;
use super::hits::{Hits, OfRule};

/// How a state begins.
pub const MAGIC: [u8; 8] = *b"httptrst";

/// To be raised with every change of what is kept.
pub const VERSION: u32 = 10;

/// Magic, version, length of the payload, checksum of the payload.
pub const HEADER: usize = 8 + 4 + 8 + 20;

/// About how much a step encodes, in bytes.
pub(super) const STEP_BYTES: usize = 16 << 10;

/// The most bytes of an encoded number.
const MOST_VARINT: usize = 10;

/// How much of the entities and of the days of each rule's hits is kept, one after the other until the
/// hits take no more than half of the file.
const LESS: [(usize, usize); 6] = [(50, 400), (20, 400), (10, 90), (3, 30), (0, 30), (0, 1)];

/// Why bytes are no snapshot of use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// No magic.
    #[error("it is no state file of http-trace")]
    NotOurs,
    /// Another version.
    #[error("it is of version {0}, and this is version {VERSION}")]
    Version(u32),
    /// Cut or changed.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// What is kept beside hits and counters.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Context {
    /// What keys are hashed with.
    pub key: [u64; 2],
    pub now_ns: u64,
    pub lossy_until_ns: u64,
    pub suspects: Vec<(IpAddr, u64)>,
    /// Of the correlations that places of counters are of.
    pub fingerprints: Vec<u64>,
}

/// A counter: place of the fingerprint, hash of the group's values, and what is counted.
pub(super) type Placed<C> = (u16, u64, C);

/// All that is in a snapshot. Whoever changes it, or anything in it, raises [`VERSION`].
#[derive(Deserialize)]
pub(super) struct Content {
    pub hits: Hits,
    pub context: Context,
    pub counters: Vec<Placed<Counter>>,
}

/// The hits of a snapshot, and how late it was, event time, Unix ns.
#[derive(Debug)]
pub struct Seen {
    /// What was hit.
    pub hits: Hits,
    /// The time of the last event or tick.
    pub now_ns: u64,
}

/// Only the hits of a snapshot.
///
/// # Errors
/// What is no snapshot, or damaged.
pub fn hits(bytes: &[u8]) -> Result<Seen, BadSnapshot> {
    let taken = postcard::take_from_bytes::<(Hits, Context)>(open(bytes)?);
    let ((hits, context), _) = taken.map_err(damaged)?;
    Ok(Seen {
        hits,
        now_ns: context.now_ns,
    })
}

/// All of a payload.
pub(super) fn decode(payload: &[u8]) -> Result<Content, BadSnapshot> {
    postcard::from_bytes(payload).map_err(damaged)
}

fn damaged(error: postcard::Error) -> BadSnapshot {
    BadSnapshot::Damaged(error.to_string())
}

/// The header of a payload, which may come in parts.
pub fn header<'a>(payload: impl Iterator<Item = &'a [u8]>) -> [u8; HEADER] {
    let (mut checksum, mut len) = (Sha1::new(), 0);
    for part in payload {
        checksum.update(part);
        len += part.len() as u64;
    }
    let mut out = [0; HEADER];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&len.to_le_bytes());
    out[20..].copy_from_slice(&checksum.finalize());
    out
}

/// The payload of a whole snapshot of this version.
///
/// # Errors
/// Anything else.
pub fn open(bytes: &[u8]) -> Result<&[u8], BadSnapshot> {
    let damaged = |why: &str| BadSnapshot::Damaged(why.to_owned());
    let rest = bytes.strip_prefix(&MAGIC).ok_or(BadSnapshot::NotOurs)?;
    let cut = || damaged("its header is cut");
    let (version, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(BadSnapshot::Version(version));
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let (checksum, payload) = rest.split_first_chunk::<20>().ok_or_else(cut)?;
    if payload.len() as u64 != u64::from_le_bytes(*length) {
        return Err(damaged("it is not as long as it says"));
    }
    if Sha1::digest(payload)[..] != checksum[..] {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(payload)
}

/// What a counter is worth: the one worth more is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worth {
    /// Whether an alert is open.
    pub open: bool,
    /// Whether half of the threshold is reached.
    pub halfway: bool,
    /// When it counted last, about, in ns.
    pub last_ns: u64,
    /// How much it counts.
    pub count: u64,
}

/// An encoded counter.
type Piece = (Worth, Box<[u8]>);

/// What is encoded so far.
#[derive(Debug, Default)]
pub struct Snapshot {
    rules: Vec<OfRule>,
    pieces: Vec<Piece>,
    pub(super) context: Context,
    /// The next slot of the table.
    pub(super) next_slot: usize,
    /// The detector's count of changes when this began.
    pub changes: u64,
}

/// What was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Counters that are kept.
    pub counters: usize,
    /// Counters that are not.
    pub left_out: usize,
    /// Entities and days of each rule's hits that are kept, when they are fewer than there are.
    pub hits: Option<(usize, usize)>,
}

impl LeftOut {
    /// Whether anything was.
    pub const fn is_any(&self) -> bool {
        self.left_out > 0 || self.hits.is_some()
    }
}

/// A file's content: in pieces, since there may be much of it.
#[derive(Debug)]
pub struct File {
    /// The header, and all before the counters.
    head: Vec<u8>,
    pieces: Vec<Piece>,
}

impl File {
    /// All of it, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let counters = self.pieces.iter().map(|(_, bytes)| &bytes[..]);
        std::iter::once(&self.head[..]).chain(counters)
    }

    /// All of it in one.
    pub fn to_vec(&self) -> Vec<u8> {
        self.slices().flatten().copied().collect()
    }
}

impl Snapshot {
    /// Rules whose hits were taken.
    pub(super) const fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Takes the hits of the next rule.
    pub(super) fn add_hits(&mut self, of: &OfRule) {
        self.rules.push(of.clone());
    }

    /// Adds a counter; returns its bytes.
    pub(super) fn add(&mut self, worth: Worth, counter: &Placed<&Counter>) -> usize {
        let bytes = encode(counter);
        let len = bytes.len();
        self.pieces.push((worth, bytes.into()));
        len
    }

    /// Puts it together, in at most `most` bytes. For a thread that has time.
    pub fn into_file(mut self, most: usize) -> (File, LeftOut) {
        let context = encode(&self.context);
        let room = most.saturating_sub(HEADER + context.len() + 2 * MOST_VARINT);
        let mut left_out = LeftOut {
            hits: fit_hits(&mut self.rules, room / 2),
            ..LeftOut::default()
        };
        let mut payload = encode(&Hits::of(self.rules));
        let mut room = room.saturating_sub(payload.len());
        self.pieces.sort_by_key(|(worth, _)| Reverse(*worth));
        let fits = |(_, bytes): &&Piece| match room.checked_sub(bytes.len()) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        left_out.counters = self.pieces.iter().take_while(fits).count();
        left_out.left_out = self.pieces.len() - left_out.counters;
        self.pieces.truncate(left_out.counters);
        payload.extend(context);
        payload.extend(encode(&self.pieces.len()));
        let mut file = File {
            head: payload,
            pieces: self.pieces,
        };
        let header = header(file.slices());
        file.head.splice(..0, header);
        (file, left_out)
    }
}

/// Makes hits take no more than `most` bytes; says what of each rule is kept if that is not all.
fn fit_hits(rules: &mut Vec<OfRule>, most: usize) -> Option<(usize, usize)> {
    let size = |rules: &[OfRule]| rules.iter().map(|of| encode(of).len()).sum::<usize>();
    if size(rules) <= most {
        return None;
    }
    let mut kept = (0, 0);
    for (entities, days) in LESS {
        rules.iter_mut().for_each(|of| of.keep(entities, days));
        kept = (entities, days);
        if size(rules) <= most {
            return Some(kept);
        }
    }
    // Rules by the ten thousand: those that were hit most.
    rules.sort_by_key(|of| Reverse(of.tally.count));
    let mut room = most;
    let fits = |of: &&OfRule| {
        let rest = room.checked_sub(encode(*of).len());
        room = rest.unwrap_or(room);
        rest.is_some()
    };
    let fitting = rules.iter().take_while(fits).count();
    rules.truncate(fitting);
    Some(kept)
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Into memory, of types that all have a form: it does not fail.
    postcard::to_allocvec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_and_ours_is_refused() {
        let payload = b"payload";
        let good = [&header([&payload[..]].into_iter())[..], payload].concat();
        assert_eq!(open(&good), Ok(&b"payload"[..]));
        for cut in 0..good.len() {
            assert!(open(&good[..cut]).is_err(), "{cut}");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(open(&bad).is_err(), "{at}");
        }
        let mut other = good;
        other[8] = 8;
        assert_eq!(open(&other), Err(BadSnapshot::Version(8)));
    }
}
