//! The cache of matching: outcomes of keys that came before. Bounded and allocated once; a key is compared in
//! full, so that nobody can choose one that is taken for another.

use std::hash::{BuildHasher, Hasher};

/// About the most memory, in bytes, and the most keys.
const BYTES: usize = 2 << 20;
const ENTRIES: usize = 4096;

/// The most parts of a key, such as a target and its host.
pub const PARTS: usize = 3;

/// Entries that a key may be in.
const WAYS: usize = 2;

/// Keys with their outcomes, which are all of one length.
#[derive(Debug)]
pub struct Memo<T> {
    hasher: foldhash::fast::RandomState,
    entries: Vec<Entry>,
    /// The bytes of each entry's key, with room for the longest.
    keys: Vec<u8>,
    longest: usize,
    outcomes: Vec<T>,
    outcome: usize,
    /// Counts insertions: alternates the entry to evict.
    inserted: usize,
}

/// Of a key, what is not its bytes: what it is a key of, and how long its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    group: u32,
    lengths: [u16; PARTS],
}

/// No key is of this group.
const EMPTY: Entry = Entry {
    group: u32::MAX,
    lengths: [0; PARTS],
};

impl<T: Copy + Default> Memo<T> {
    /// For keys and outcomes of at most these lengths.
    pub fn new(longest: usize, outcome: usize) -> Self {
        let longest = longest.min(u16::MAX.into());
        let room = BYTES / (longest + size_of::<T>() * outcome).max(1);
        let entries = room.clamp(WAYS, ENTRIES) / WAYS * WAYS;
        Memo {
            hasher: foldhash::fast::RandomState::default(),
            entries: vec![EMPTY; entries],
            keys: vec![0; entries * longest],
            longest,
            outcomes: vec![T::default(); entries * outcome],
            outcome,
            inserted: 0,
        }
    }

    /// Whether a place has the key of these parts.
    fn is(&self, at: usize, entry: Entry, parts: [&[u8]; PARTS]) -> bool {
        let mut from = at * self.longest;
        self.entries[at] == entry
            && parts.iter().all(|part| {
                let here = from..from + part.len();
                from = here.end;
                part.is_empty() || self.keys[here] == **part
            })
    }

    /// The outcome of a key, or the place where it may be put ([`Memo::put`]).
    ///
    /// # Errors
    /// With that place, when the key is not there; `None` when it is too long to be kept.
    pub fn get(&self, group: u32, parts: [&[u8]; PARTS]) -> Result<&[T], Option<usize>> {
        let entry = entry(group, parts);
        if parts.iter().map(|part| part.len()).sum::<usize>() > self.longest {
            return Err(None);
        }
        let mut hasher = self.hasher.build_hasher();
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .for_each(|part| hasher.write(part));
        let hash = (hasher.finish() ^ u64::from(group)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // A place below the number of sets without a division.
        let sets = (self.entries.len() / WAYS) as u64;
        let first = (((hash >> 32) * sets) >> 32) as usize * WAYS;
        let mut ways = first..first + WAYS;
        let at = ways.find(|at| self.is(*at, entry, parts));
        let at = at.ok_or(Some(first))?;
        Ok(&self.outcomes[at * self.outcome..][..self.outcome])
    }

    /// Puts a key that is not there where [`Memo::get`] said, and evicts another.
    pub fn put(&mut self, first: usize, group: u32, parts: [&[u8]; PARTS], outcome: &[T]) {
        let empty = (first..first + WAYS).find(|at| self.entries[*at] == EMPTY);
        // Keys that come in turns must not evict each other in step: both counters move.
        self.inserted = self
            .inserted
            .wrapping_mul(0x9e37_79b1)
            .wrapping_add(first | 1);
        let at = empty.unwrap_or(first + (self.inserted >> 16) % WAYS);
        let mut from = at * self.longest;
        for part in parts {
            self.keys[from..from + part.len()].copy_from_slice(part);
            from += part.len();
        }
        self.entries[at] = entry(group, parts);
        self.outcomes[at * self.outcome..][..outcome.len()].copy_from_slice(outcome);
    }
}

fn entry(group: u32, parts: [&[u8]; PARTS]) -> Entry {
    let lengths = parts.map(|part| part.len() as u16);
    Entry { group, lengths }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 192;

    fn memo() -> Memo<u64> {
        Memo::new(LONGEST, 1)
    }

    /// What is found of a key, and put there if nothing is.
    fn of(memo: &mut Memo<u64>, group: u32, parts: [&[u8]; 3], outcome: u64) -> Option<u64> {
        match memo.get(group, parts) {
            Ok(found) => Some(found[0]),
            Err(place) => {
                if let Some(place) = place {
                    memo.put(place, group, parts, &[outcome]);
                }
                None
            }
        }
    }

    #[test]
    fn a_value_has_its_own_outcome_wherever_its_parts_end() {
        let mut memo = memo();
        let values: [[&[u8]; 3]; 4] = [
            [b"ab", b"c", b""],
            [b"a", b"bc", b""],
            [b"abc", b"", b""],
            [b""; 3],
        ];
        for _ in 0..2 {
            for (group, parts) in (0..3).flat_map(|group| values.map(|parts| (group, parts))) {
                let outcome = u64::from(group) * 8 + parts[0].len() as u64;
                let found = of(&mut memo, group, parts, outcome);
                assert!(found.is_none_or(|found| found == outcome), "{parts:?}");
            }
        }
        assert_eq!(of(&mut memo, 2, values[0], 0), Some(18));
    }

    #[test]
    fn values_without_end_evict_others_and_long_ones_are_not_kept() {
        let mut memo = memo();
        let mut found = 0;
        for n in 0..100_000_u64 {
            let text = n.to_string();
            assert_eq!(of(&mut memo, 0, [text.as_bytes(), b"", b""], n), None);
            let same = of(&mut memo, 0, [text.as_bytes(), b"", b""], 0);
            assert_eq!(same, Some(n));
            found += u64::from(of(&mut memo, 1, [b"always", b"", b""], 7).is_some());
        }
        assert!(found > 90_000, "{found}");
        let long = [b'x'; LONGEST + 1];
        assert_eq!(memo.get(0, [&long, b"", b""]), Err(None));
    }

    #[test]
    fn long_outcomes_make_it_smaller() {
        let memo: Memo<u64> = Memo::new(LONGEST, 1 << 16);
        assert!(memo.outcomes.len() * 8 <= BYTES.max(WAYS * (1 << 19)));
    }
}
