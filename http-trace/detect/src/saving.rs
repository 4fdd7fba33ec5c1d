//! What is counted on its way into a file. The thread that counts encodes it in small steps
//! ([`Saving::add`]), so that no event waits for all of it; another puts the pieces together,
//! leaves out what is worth least when they are too large, and adds the header
//! ([`Saving::into_file`]). No I/O.

use std::cmp::Reverse;

use serde::Serialize;

use super::hits::OfRule;
use super::state;

/// About how much a step encodes, in bytes.
pub const STEP_BYTES: usize = 16 << 10;

/// How much of the entities and of the days of each rule is kept, one after the other until the
/// hits take no more than half of the file.
const LESS: [(usize, usize); 6] = [(50, 400), (20, 400), (10, 90), (3, 30), (0, 30), (0, 1)];

/// What one piece is worth: the one worth more stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worth {
    /// Whether an alert is open.
    pub open: bool,
    /// Whether half of the threshold is reached.
    pub halfway: bool,
    /// When it counted last, about, in ns.
    pub last_ns: u64,
    /// How much it counts.
    pub count: u64,
}

/// A piece of a chunk.
#[derive(Debug)]
struct Piece {
    worth: Worth,
    chunk: u32,
    at: u32,
    len: u32,
}

/// What is encoded so far.
#[derive(Debug, Default)]
pub struct Saving {
    /// Each rule's hits.
    hits: Vec<Vec<u8>>,
    /// Counters, many in each.
    chunks: Vec<Vec<u8>>,
    pieces: Vec<Piece>,
    /// What stands between them.
    middle: Vec<u8>,
    /// The hits and the slots that were seen to.
    pub(super) next_rule: usize,
    pub(super) next_slot: usize,
    /// The correlations that places of counters are of.
    pub(super) fingerprints: Vec<u64>,
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
pub struct Content {
    pieces: Vec<Vec<u8>>,
    order: Vec<Piece>,
    chunks: Vec<Vec<u8>>,
}

impl Content {
    /// All of it, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let counters = self.order.iter().map(|piece| {
            let chunk = self.chunks.get(piece.chunk as usize);
            let at = piece.at as usize;
            chunk
                .and_then(|chunk| chunk.get(at..at + piece.len as usize))
                .unwrap_or_default()
        });
        self.pieces.iter().map(Vec::as_slice).chain(counters)
    }

    /// All of it in one.
    pub fn to_vec(&self) -> Vec<u8> {
        self.slices().flatten().copied().collect()
    }
}

impl Saving {
    /// Nothing yet, of correlations with these fingerprints, when there were so many changes.
    pub(super) fn new(fingerprints: Vec<u64>, changes: u64) -> Self {
        Saving {
            fingerprints,
            changes,
            ..Saving::default()
        }
    }

    /// Adds the hits of a rule; returns their bytes.
    pub(super) fn add_hits(&mut self, of: &OfRule) -> usize {
        let bytes = encode(of);
        let len = bytes.len();
        self.hits.push(bytes);
        len
    }

    /// Begins a chunk of counters.
    pub(super) fn begin_chunk(&mut self) {
        self.chunks.push(Vec::with_capacity(STEP_BYTES + 4096));
    }

    /// Adds a counter to the chunk; returns the bytes in it.
    pub(super) fn add(&mut self, worth: Worth, counter: &impl Serialize) -> usize {
        let number = self.chunks.len().saturating_sub(1) as u32;
        let Some(chunk) = self.chunks.last_mut() else {
            return 0;
        };
        let at = chunk.len();
        // Into memory, of types that all have a form: it does not fail.
        *chunk = postcard::to_extend(counter, std::mem::take(chunk)).unwrap_or_default();
        self.pieces.push(Piece {
            worth,
            chunk: number,
            at: at as u32,
            len: (chunk.len() - at) as u32,
        });
        chunk.len()
    }

    /// Sets what stands between hits and counters.
    pub(super) fn set_middle(&mut self, middle: &impl Serialize) {
        self.middle = encode(middle);
    }

    /// Puts it together, in at most `most` bytes: a header, hits, counters with the ones worth most
    /// first. For a thread that has time.
    pub fn into_file(mut self, most: usize) -> (Content, LeftOut) {
        let mut left_out = LeftOut::default();
        let room = most.saturating_sub(state::HEADER + self.middle.len() + 2 * MOST_VARINT);
        left_out.hits = self.fit_hits(room / 2);
        let of_hits: usize = self.hits.iter().map(Vec::len).sum();
        let mut room = room.saturating_sub(of_hits);
        self.pieces
            .sort_unstable_by_key(|piece| Reverse(piece.worth));
        let fits = |piece: &&Piece| match room.checked_sub(piece.len as usize) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        left_out.counters = self.pieces.iter().take_while(fits).count();
        left_out.left_out = self.pieces.len() - left_out.counters;
        self.pieces.truncate(left_out.counters);
        let mut pieces = vec![Vec::new(), encode(&self.hits.len())];
        pieces.append(&mut self.hits);
        pieces.push(self.middle);
        pieces.push(encode(&self.pieces.len()));
        let mut content = Content {
            pieces,
            order: self.pieces,
            chunks: self.chunks,
        };
        let header = state::header(content.slices());
        if let Some(first) = content.pieces.first_mut() {
            first.extend_from_slice(&header);
        }
        (content, left_out)
    }

    /// Makes the hits take no more than `most` bytes.
    fn fit_hits(&mut self, most: usize) -> Option<(usize, usize)> {
        let size = |hits: &[Vec<u8>]| hits.iter().map(Vec::len).sum::<usize>();
        if size(&self.hits) <= most {
            return None;
        }
        let decoded = self.hits.iter().filter_map(|bytes| {
            // They were encoded here.
            postcard::from_bytes::<OfRule>(bytes).ok()
        });
        let mut rules: Vec<OfRule> = decoded.collect();
        let mut kept = (0, 0);
        for (entities, days) in LESS {
            rules.iter_mut().for_each(|of| of.keep(entities, days));
            self.hits = rules.iter().map(encode).collect();
            kept = (entities, days);
            if size(&self.hits) <= most {
                return Some(kept);
            }
        }
        // Rules by the ten thousand: those that were hit most.
        rules.sort_by_key(|of| Reverse(of.tally.count));
        let mut room = most;
        self.hits = rules
            .iter()
            .map(encode)
            .take_while(|bytes| {
                let rest = room.checked_sub(bytes.len());
                room = rest.unwrap_or(room);
                rest.is_some()
            })
            .collect();
        Some(kept)
    }
}

/// The most bytes of a number.
const MOST_VARINT: usize = 10;

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Into memory, of types that all have a form: it does not fail.
    postcard::to_allocvec(value).unwrap_or_default()
}
