//! The cache of matching: outcomes of keys that came before. Bounded and allocated once; a key is compared in
//! full, so that nobody can choose one that is taken for another.

use std::hash::{BuildHasher, Hasher};

/// About the most memory, in bytes, and the most keys.
const BYTES: usize = 2 << 20;
const ENTRIES: usize = 4096;

/// Entries that a key may be in.
const WAYS: usize = 2;

/// Keys with their outcomes, which are all of one length.
#[derive(Debug)]
pub struct Memo<T> {
    hasher: foldhash::fast::RandomState,
    /// Of each entry what it is a key of, and how long it is.
    entries: Vec<(u32, usize)>,
    /// The bytes of each entry's key, with room for the longest.
    keys: Vec<u8>,
    longest: usize,
    /// Those of the entries, and one that is not kept.
    outcomes: Vec<T>,
    outcome: usize,
    /// Counts insertions: alternates the entry to evict.
    inserted: usize,
}

/// No key is of this group.
const EMPTY: (u32, usize) = (u32::MAX, 0);

impl<T: Copy + Default> Memo<T> {
    /// For keys and outcomes of at most these lengths.
    pub fn new(longest: usize, outcome: usize) -> Self {
        let room = BYTES / (longest + size_of::<T>() * outcome).max(1);
        let entries = room.clamp(WAYS, ENTRIES) / WAYS * WAYS;
        Memo {
            hasher: foldhash::fast::RandomState::default(),
            entries: vec![EMPTY; entries],
            keys: vec![0; entries * longest],
            longest,
            outcomes: vec![T::default(); (entries + 1) * outcome],
            outcome,
            inserted: 0,
        }
    }

    /// The outcome of a key of a group; made, and kept unless the key is too long, when it is not there.
    pub fn of(&mut self, group: u32, key: &[u8], make: impl FnOnce(&mut [T])) -> &[T] {
        let at = if key.len() > self.longest {
            let spare = self.entries.len();
            make(&mut self.outcomes[spare * self.outcome..]);
            spare
        } else {
            let mut hasher = self.hasher.build_hasher();
            hasher.write_u32(group);
            hasher.write(key);
            // A place below the number of sets without a division.
            let sets = (self.entries.len() / WAYS) as u64;
            let first = (((hasher.finish() >> 32) * sets) >> 32) as usize * WAYS;
            let entry = (group, key.len());
            let mut ways = first..first + WAYS;
            let known = |at: &usize| {
                self.entries[*at] == entry && self.keys[at * self.longest..][..key.len()] == *key
            };
            ways.clone().find(known).unwrap_or_else(|| {
                let empty = ways.find(|at| self.entries[*at] == EMPTY);
                // Keys that come in turns must not evict each other in step: both counters move.
                self.inserted = self
                    .inserted
                    .wrapping_mul(0x9e37_79b1)
                    .wrapping_add(first | 1);
                let at = empty.unwrap_or(first + (self.inserted >> 16) % WAYS);
                self.entries[at] = entry;
                self.keys[at * self.longest..][..key.len()].copy_from_slice(key);
                make(&mut self.outcomes[at * self.outcome..][..self.outcome]);
                at
            })
        };
        &self.outcomes[at * self.outcome..][..self.outcome]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 192;

    fn memo() -> Memo<u64> {
        Memo::new(LONGEST, 1)
    }

    /// What is found of a key, and put there if nothing is.
    fn of(memo: &mut Memo<u64>, group: u32, key: &[u8], outcome: u64) -> Option<u64> {
        let mut is_new = false;
        let found = memo.of(group, key, |made| {
            is_new = true;
            made[0] = outcome;
        })[0];
        (!is_new).then_some(found)
    }

    #[test]
    fn a_key_has_its_own_outcome_in_each_group() {
        let mut memo = memo();
        for _ in 0..2 {
            for (group, key) in (0..3).flat_map(|group| [b"ab", &b""[..], b"a"].map(|k| (group, k)))
            {
                let outcome = u64::from(group) * 8 + key.len() as u64;
                let found = of(&mut memo, group, key, outcome);
                assert!(found.is_none_or(|found| found == outcome), "{key:?}");
            }
        }
        assert_eq!(of(&mut memo, 2, b"ab", 0), Some(18));
    }

    #[test]
    fn values_without_end_evict_others_and_long_ones_are_not_kept() {
        let mut memo = memo();
        let mut found = 0;
        for n in 0..100_000_u64 {
            let text = n.to_string();
            assert_eq!(of(&mut memo, 0, text.as_bytes(), n), None);
            assert_eq!(of(&mut memo, 0, text.as_bytes(), 0), Some(n));
            found += u64::from(of(&mut memo, 1, b"always", 7).is_some());
        }
        assert!(found > 90_000, "{found}");
        let long = [b'x'; LONGEST + 1];
        for _ in 0..2 {
            assert_eq!(of(&mut memo, 0, &long, 1), None);
        }
    }

    #[test]
    fn long_outcomes_make_it_smaller() {
        let memo: Memo<u64> = Memo::new(LONGEST, 1 << 16);
        assert!(memo.outcomes.len() * 8 <= BYTES.max((WAYS + 1) * (1 << 19)));
    }
}
