//! The state that detection keeps across a restart, as bytes for a file: a header with version and checksum,
//! then hits, then counters, most valuable first. The event thread encodes counters in small steps, so that
//! no event waits for all of them. Another thread assembles the pieces and drops what does not fit
//! ([`Snapshot::into_file`]). Performs no I/O, and never panics, whatever the bytes.

use std::cmp::Reverse;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::counter::Counter;
use super::hits::{Hits, OfRule};

/// Magic number of a state file.
pub const MAGIC: [u8; 8] = *b"httptrst";

/// Format version; must be raised with every change of what is saved.
pub const VERSION: u32 = 11;

/// Length of the header, in bytes: magic, version, length of the payload, checksum of the payload.
pub const HEADER: usize = 8 + 4 + 8 + 20;

/// Approximate number of bytes encoded per step.
pub(super) const STEP_BYTES: usize = 16 << 10;

/// Maximum length of an encoded number, in bytes.
const MOST_VARINT: usize = 10;

/// Limits of entities and days per rule's hits, applied in turn until the hits take at most half of the file.
const LESS: [(usize, usize); 6] = [(50, 400), (20, 400), (10, 90), (3, 30), (0, 30), (0, 1)];

/// Why a snapshot was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSnapshot {
    /// Wrong magic number.
    #[error("it is not a state file of http-trace")]
    NotOurs,
    #[error("it has version {0}, this http-trace reads version {VERSION}")]
    Version(u32),
    /// Truncated or modified.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// State other than hits and counters.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Context {
    /// Key of the hash function for keys.
    pub key: [u64; 2],
    pub now_ns: u64,
    pub lossy_until_ns: u64,
    pub suspects: Vec<(IpAddr, u64)>,
    /// Fingerprints of the correlations; counters refer to them by index.
    pub fingerprints: Vec<u64>,
}

/// A counter: index of its fingerprint, hash of the group's values, and its state.
pub(super) type Placed<C> = (u16, u64, C);

/// Content of a snapshot. Any change here, or in a type within, requires a new [`VERSION`].
#[derive(Deserialize)]
pub(super) struct Content {
    pub hits: Hits,
    pub context: Context,
    pub counters: Vec<Placed<Counter>>,
}

/// The hits of a snapshot, and its time.
#[derive(Debug)]
pub struct SnapshotHits {
    pub hits: Hits,
    /// Time of the last event or tick, event time, Unix ns.
    pub now_ns: u64,
}

pub fn hits(bytes: &[u8]) -> Result<SnapshotHits, BadSnapshot> {
    let taken = postcard::take_from_bytes::<(Hits, Context)>(open(bytes)?);
    let ((hits, context), _) = taken.map_err(damaged)?;
    Ok(SnapshotHits { hits, now_ns: context.now_ns })
}

pub(super) fn decode(payload: &[u8]) -> Result<Content, BadSnapshot> {
    postcard::from_bytes(payload).map_err(damaged)
}

fn damaged(error: postcard::Error) -> BadSnapshot {
    BadSnapshot::Damaged(error.to_string())
}

/// The header of a payload given in parts.
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

/// Checks a snapshot, and returns its payload.
pub fn open(bytes: &[u8]) -> Result<&[u8], BadSnapshot> {
    let damaged = |why: &str| BadSnapshot::Damaged(why.to_owned());
    let rest = bytes.strip_prefix(&MAGIC).ok_or(BadSnapshot::NotOurs)?;
    let cut = || damaged("its header is truncated");
    let (version, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(BadSnapshot::Version(version));
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
    let (checksum, payload) = rest.split_first_chunk::<20>().ok_or_else(cut)?;
    if payload.len() as u64 != u64::from_le_bytes(*length) {
        return Err(damaged("its length differs from its header"));
    }
    if Sha1::digest(payload)[..] != checksum[..] {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(payload)
}

/// Value of a counter; the most valuable ones are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Worth {
    pub open: bool,
    /// Whether half of the threshold is reached.
    pub halfway: bool,
    /// Approximate time of the last counted event, ns.
    pub last_ns: u64,
    pub count: u64,
}

/// An encoded counter.
type Piece = (Worth, Box<[u8]>);

/// A snapshot in progress.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) rules: Vec<OfRule>,
    pieces: Vec<Piece>,
    pub(super) context: Context,
    /// The next slot of the table to be saved.
    pub(super) next_slot: usize,
    /// The detector's change count at the start.
    pub changes: u64,
}

/// What was kept and what was dropped for lack of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Number of counters kept.
    pub counters: usize,
    /// Number of counters dropped.
    pub left_out: usize,
    /// Limits of entities and days per rule's hits, if the hits were shortened.
    pub hits: Option<(usize, usize)>,
}

impl LeftOut {
    /// Whether anything was dropped.
    pub const fn is_any(&self) -> bool {
        self.left_out > 0 || self.hits.is_some()
    }
}

/// Content of a state file, in pieces because it may be large.
#[derive(Debug)]
pub struct File {
    /// The header and everything before the counters.
    head: Vec<u8>,
    pieces: Vec<Piece>,
}

impl File {
    /// The whole content, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let counters = self.pieces.iter().map(|(_, bytes)| &bytes[..]);
        std::iter::once(&self.head[..]).chain(counters)
    }

    /// The whole content in one vector.
    pub fn to_vec(&self) -> Vec<u8> {
        self.slices().flatten().copied().collect()
    }
}

impl Snapshot {
    /// Adds a counter; returns its encoded length.
    pub(super) fn add(&mut self, worth: Worth, counter: &Placed<&Counter>) -> usize {
        let bytes = encode(counter);
        let len = bytes.len();
        self.pieces.push((worth, bytes.into()));
        len
    }

    /// Assembles a file of at most `most` bytes. Takes long; not for the event thread.
    pub fn into_file(mut self, most: usize) -> (File, LeftOut) {
        let context = encode(&self.context);
        let room = most.saturating_sub(HEADER + context.len() + 2 * MOST_VARINT);
        let mut left_out =
            LeftOut { hits: fit_hits(&mut self.rules, room / 2), ..LeftOut::default() };
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
        let mut file = File { head: payload, pieces: self.pieces };
        let header = header(file.slices());
        file.head.splice(..0, header);
        (file, left_out)
    }
}

/// Shortens hits to at most `most` bytes; returns the limits that were applied, if any.
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
    // There are very many rules: keep those with the most hits.
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
    // Encoding these types into memory cannot fail.
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
