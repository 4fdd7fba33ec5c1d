//! The one cache of matching: values that were tested before, and which tests they passed. Bounded and
//! allocated once; a value is compared in full, so that nobody can choose one that is taken for another.

use std::hash::{BuildHasher, Hasher};

/// About the memory for outcomes, in bytes, and the most values.
const OUTCOME_BYTES: usize = 2 << 20;
const ENTRIES: usize = 4096;

/// The longest value, all parts together; the parts of one.
const LONGEST: usize = 192;
pub const PARTS: usize = 3;

/// Entries that a value may be in.
const WAYS: usize = 2;

/// Values with the tests that they passed.
#[derive(Debug)]
pub struct Memo {
    hasher: foldhash::fast::RandomState,
    entries: Vec<Entry>,
    /// The outcome of each entry, `words` long.
    outcomes: Vec<u64>,
    words: usize,
    /// Counts insertions: alternates the entry to evict.
    inserted: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    group: u32,
    lengths: [u8; PARTS],
    bytes: [u8; LONGEST],
}

/// The group of an empty entry.
const EMPTY: u32 = u32::MAX;

/// A value in parts, such as a target and its host.
pub type Parts<'a> = [&'a [u8]; PARTS];

impl Memo {
    /// For outcomes of at most so many words.
    pub fn new(words: usize) -> Self {
        let room = OUTCOME_BYTES / size_of::<u64>() / words.max(1);
        let entries = room.clamp(WAYS, ENTRIES) / WAYS * WAYS;
        let empty = Entry {
            group: EMPTY,
            lengths: [0; PARTS],
            bytes: [0; LONGEST],
        };
        Memo {
            hasher: foldhash::fast::RandomState::default(),
            entries: vec![empty; entries],
            outcomes: vec![0; entries * words],
            words,
            inserted: 0,
        }
    }

    /// The first entry that a value of a group may be in; `None` for what is too long.
    fn first(&self, group: u32, parts: &Parts<'_>) -> Option<usize> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > LONGEST {
            return None;
        }
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u32(group);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        let set = hasher.finish() as usize % (self.entries.len() / WAYS);
        Some(set * WAYS)
    }

    fn outcome(&self, at: usize) -> &[u64] {
        &self.outcomes[at * self.words..][..self.words]
    }

    /// The outcome of a value's tests, or the place where it may be put ([`Memo::put`]).
    ///
    /// # Errors
    /// With that place, when the value is not there; `None` when it is too long to be kept.
    pub fn get(&self, group: u32, parts: &Parts<'_>) -> Result<&[u64], Option<usize>> {
        let first = self.first(group, parts).ok_or(None)?;
        let ways = &self.entries[first..first + WAYS];
        let way = ways.iter().position(|entry| entry.is(group, parts));
        way.map(|way| self.outcome(first + way)).ok_or(Some(first))
    }

    /// Puts a value that is not there where [`Memo::get`] said, and evicts another.
    pub fn put(&mut self, first: usize, group: u32, parts: &Parts<'_>, outcome: &[u64]) {
        let ways = &self.entries[first..first + WAYS];
        let empty = ways.iter().position(|entry| entry.group == EMPTY);
        // Values that come in turns must not evict each other in step: both counters move.
        self.inserted = self
            .inserted
            .wrapping_mul(0x9e37_79b1)
            .wrapping_add(first | 1);
        let at = first + empty.unwrap_or((self.inserted >> 16) % WAYS);
        let entry = &mut self.entries[at];
        let mut rest = &mut entry.bytes[..];
        for (part, length) in parts.iter().zip(&mut entry.lengths) {
            let (here, after) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            *length = part.len() as u8;
            rest = after;
        }
        entry.group = group;
        self.outcomes[at * self.words..][..outcome.len()].copy_from_slice(outcome);
    }
}

impl Entry {
    fn is(&self, group: u32, parts: &Parts<'_>) -> bool {
        let mut rest = &self.bytes[..];
        self.group == group
            && parts.iter().zip(self.lengths).all(|(part, length)| {
                let (here, after) = rest.split_at(length.into());
                rest = after;
                here == *part
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found of a value, and put there if nothing is.
    fn of(memo: &mut Memo, group: u32, parts: Parts<'_>, outcome: u64) -> Option<u64> {
        match memo.get(group, &parts) {
            Ok(found) => Some(found[0]),
            Err(place) => {
                if let Some(place) = place {
                    memo.put(place, group, &parts, &[outcome]);
                }
                None
            }
        }
    }

    #[test]
    fn a_value_has_its_own_outcome_wherever_its_parts_end() {
        let mut memo = Memo::new(1);
        let values: [Parts<'_>; 4] = [
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
        let mut memo = Memo::new(1);
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
        assert_eq!(memo.get(0, &[&long, b"", b""]), Err(None));
    }

    #[test]
    fn long_outcomes_make_it_smaller() {
        let memo = Memo::new(1 << 16);
        assert!(memo.outcomes.len() * 8 <= OUTCOME_BYTES.max(WAYS * (1 << 19)));
    }
}
