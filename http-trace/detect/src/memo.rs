//! The match cache: outcomes by key. Bounded and allocated once. Keys are compared in full, so that an
//! attacker cannot craft a key that is mistaken for another.

use std::hash::{BuildHasher, Hasher};

/// Approximate maximum memory in bytes, and maximum number of entries.
const BYTES: usize = 2 << 20;
const ENTRIES: usize = 4096;

/// Associativity: the number of entries in which a key may be stored.
const WAYS: usize = 2;

/// A set-associative cache. All outcomes have the same length.
#[derive(Debug)]
pub struct Memo<T> {
    hasher: foldhash::fast::RandomState,
    /// Group and length of each entry's key.
    entries: Vec<(u32, usize)>,
    /// Key bytes of each entry, `longest` bytes each.
    keys: Vec<u8>,
    longest: usize,
    /// Outcomes of the entries, and a spare one for keys that are not cached.
    outcomes: Vec<T>,
    outcome: usize,
    /// Pseudo-random state that selects the entry to evict; changes with each insertion.
    inserted: usize,
}

/// Marks a free entry: no key has this group.
const EMPTY: (u32, usize) = (u32::MAX, 0);

impl<T: Copy + Default> Memo<T> {
    /// A cache for keys and outcomes of at most these lengths.
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

    /// The cached outcome of a key in a group; on a miss `make` computes it, and it is cached
    /// unless the key is too long.
    pub fn of(&mut self, group: u32, key: &[u8], make: impl FnOnce(&mut [T])) -> &[T] {
        let at = if key.len() > self.longest {
            let spare = self.entries.len();
            make(&mut self.outcomes[spare * self.outcome..]);
            spare
        } else {
            let mut hasher = self.hasher.build_hasher();
            hasher.write_u32(group);
            hasher.write(key);
            // Maps the hash to a set without a division.
            let sets = (self.entries.len() / WAYS) as u64;
            let first = (((hasher.finish() >> 32) * sets) >> 32) as usize * WAYS;
            let entry = (group, key.len());
            let mut ways = first..first + WAYS;
            let known = |at: &usize| {
                self.entries[*at] == entry && self.keys[at * self.longest..][..key.len()] == *key
            };
            ways.clone().find(known).unwrap_or_else(|| {
                let empty = ways.find(|at| self.entries[*at] == EMPTY);
                // A pseudo-random choice, so that keys which recur in turn do not evict each other in step.
                self.inserted = self.inserted.wrapping_mul(0x9e37_79b1).wrapping_add(first | 1);
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

    /// The cached outcome of a key; otherwise inserts one.
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
