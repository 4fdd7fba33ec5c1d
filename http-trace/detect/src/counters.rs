//! The counters of all rules, by rule and key: one table under one memory bound. At the bound, the least
//! recently used of a small sample is evicted, and a full table admits only keys that were seen several times
//! recently. Every operation takes constant time, because the index is allocated for all keys at the start.
//! Only the [`Sketch`] is not included in the bound.

use std::cmp::Reverse;

use hashbrown::HashTable;

use super::counter::Counter;
use super::sketch::Sketch;

/// Maximum number of keys that the index has room for at the start.
const INDEXED: usize = 1 << 20;

/// Sightings that a full table requires before it admits a key.
const ADMIT_AFTER: u8 = 16;

/// Number of counters of which the least recently used is evicted.
const SAMPLE: usize = 8;

/// Approximate size of an index entry, in bytes.
const INDEX_BYTES: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Index of the correlation.
    pub correlation: u16,
    /// Keyed hash of the group's values.
    pub hash: u64,
}

impl Key {
    /// Keys of one group of values share an index position and differ in their tag (the highest seven bits):
    /// an event that counts for ten rules costs one cache miss in the index instead of ten.
    const fn index_hash(self) -> u64 {
        self.hash ^ (self.correlation as u64) << 57
    }
}

#[derive(Debug)]
struct Slot {
    key: Key,
    /// `None` in a free slot.
    counter: Option<Counter>,
    /// Heap memory of the counter.
    bytes: u32,
    /// Time of the last use, in uses of the table, wrapping.
    used: u32,
}

/// Numbers of evicted and refused keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    pub evicted: u64,
    /// Events whose key was not admitted.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub struct Counters {
    /// The slot of each key.
    index: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Number of keys of each correlation.
    of_correlation: Vec<usize>,
    bytes: usize,
    most_bytes: usize,
    uses: u32,
    sketch: Sketch,
    /// Sightings of each group of values in the current event, from the sketch.
    sighted: Vec<(u64, u8)>,
    turnover: Turnover,
    /// Next slot for [`Counters::sweep`], and for [`Counters::evict`].
    sweep_at: usize,
    evict_at: usize,
}

impl Counters {
    /// An empty table of at most about `most_bytes` bytes.
    pub fn new(most_bytes: usize) -> Self {
        Counters {
            index: HashTable::with_capacity((most_bytes / size_of::<Slot>()).min(INDEXED)),
            most_bytes,
            sighted: Vec::with_capacity(16),
            ..Counters::default()
        }
    }

    /// Starts the next event: each group of values is counted once more when it asks for admission.
    pub fn begin(&mut self) {
        self.sighted.clear();
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Number of keys of a correlation.
    pub fn len_of(&self, correlation: usize) -> usize {
        self.of_correlation.get(correlation).copied().unwrap_or(0)
    }

    /// Memory that counts against the bound, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Numbers of evicted and refused keys.
    pub const fn turnover(&self) -> Turnover {
        self.turnover
    }

    pub fn find(&self, key: Key) -> Option<usize> {
        let is_it = |at: &u32| self.slots[*at as usize].key == key;
        let at = self.index.find(key.index_hash(), is_it)?;
        Some(*at as usize)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Counter> {
        let at = self.find(key)?;
        self.slots[at].counter.as_mut()
    }

    /// The counter in a slot, marked as used.
    pub fn use_at(&mut self, at: usize) -> Option<&mut Counter> {
        self.uses = self.uses.wrapping_add(1);
        let uses = self.uses;
        let slot = self.slots.get_mut(at)?;
        slot.used = uses;
        slot.counter.as_mut()
    }

    /// Accounts for the current size of the counter in a slot; evicts others if the bound is exceeded.
    pub fn settle(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let after = heap_bytes(slot.counter.as_ref());
        let before = std::mem::replace(&mut slot.bytes, after);
        self.bytes = self.bytes + after as usize - before as usize;
        while self.bytes > self.most_bytes && self.len() > 1 {
            self.evict(at);
        }
    }

    /// Whether a new key is admitted; `Some(true)` if earlier events of it may have been refused. Must be
    /// called once per event and key.
    pub fn admit(&mut self, key: Key, limit: Option<usize>) -> Option<bool> {
        let rule_is_full = limit.is_some_and(|limit| self.len_of(key.correlation.into()) >= limit);
        if self.bytes < self.most_bytes / 2 && !rule_is_full {
            return Some(false);
        }
        let sighted = match self.sighted.iter().find(|(hash, _)| *hash == key.hash) {
            Some((_, times)) => *times,
            None => {
                let times = self.sketch.see(key.hash);
                self.sighted.push((key.hash, times));
                times
            }
        };
        let full = rule_is_full || self.bytes >= self.most_bytes / 4 * 3;
        if full && (sighted < ADMIT_AFTER || rule_is_full) {
            self.turnover.refused += 1;
            return None;
        }
        Some(full)
    }

    /// Adds a key that is not in the table; returns its slot.
    pub fn insert(&mut self, key: Key, counter: Counter) -> usize {
        let bytes = heap_bytes(Some(&counter));
        let slot = Slot { key, bytes, used: self.uses, counter: Some(counter) };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at as usize
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.index(key, at);
        self.bytes += size_of::<Slot>() + INDEX_BYTES + bytes as usize;
        at
    }

    fn index(&mut self, key: Key, at: usize) {
        let slots = &self.slots;
        let hash = |at: &u32| slots[*at as usize].key.index_hash();
        self.index.insert_unique(key.index_hash(), at as u32, hash);
        let number = usize::from(key.correlation);
        if self.of_correlation.len() <= number {
            self.of_correlation.resize(number + 1, 0);
        }
        self.of_correlation[number] += 1;
    }

    /// Evicts the least recently used of the next few keys, preferring those without an open alert.
    fn evict(&mut self, keep: usize) {
        let (mut victim, mut left) = (None, SAMPLE);
        for _ in 0..self.slots.len() {
            let at = self.evict_at;
            self.evict_at = (at + 1) % self.slots.len();
            let slot = &self.slots[at];
            let Some(counter) = slot.counter.as_ref().filter(|_| at != keep) else {
                continue;
            };
            let unused = self.uses.wrapping_sub(slot.used);
            victim = victim.max(Some((counter.active().is_none(), unused, Reverse(at))));
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if let Some((_, _, Reverse(at))) = victim {
            self.turnover.evicted += 1;
            self.remove_at(at);
        }
    }

    fn remove_at(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        let (key, bytes) = (slot.key, slot.bytes as usize);
        if slot.counter.take().is_none() {
            return;
        }
        let known = |of: &u32| *of as usize == at;
        if let Ok(entry) = self.index.find_entry(key.index_hash(), known) {
            entry.remove();
        }
        self.free.push(at as u32);
        self.bytes -= size_of::<Slot>() + INDEX_BYTES + bytes;
        self.of_correlation[usize::from(key.correlation)] -= 1;
    }

    /// Number of slots, used or free.
    pub const fn slots(&self) -> usize {
        self.slots.len()
    }

    pub fn at(&self, slot: usize) -> Option<(Key, &Counter)> {
        let slot = self.slots.get(slot)?;
        Some((slot.key, slot.counter.as_ref()?))
    }

    /// Restores a counter whose key is not in the table; returns `false` if there is no room.
    pub fn restore(&mut self, key: Key, counter: Counter) -> bool {
        let fits = self.bytes + counter.heap_bytes() <= self.most_bytes / 4 * 3;
        if fits {
            self.insert(key, counter);
        }
        fits
    }

    /// Renumbers correlations and removes the keys of those without a new number. New numbers must be unique.
    pub fn renumber(&mut self, number: impl Fn(u16) -> Option<u16>) {
        for at in 0..self.slots.len() {
            if number(self.slots[at].key.correlation).is_none() {
                self.remove_at(at);
            }
        }
        self.index.clear();
        self.of_correlation.clear();
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            if slot.counter.is_some()
                && let Some(number) = number(slot.key.correlation)
            {
                slot.key.correlation = number;
                let key = slot.key;
                self.index(key, at);
            }
        }
    }

    /// Checks the next `few` keys, and removes those of which `is_over` says that nothing is
    /// left in their window.
    pub fn sweep(&mut self, few: usize, mut is_over: impl FnMut(Key, &Counter) -> bool) {
        let slots = self.slots();
        for _ in 0..few.min(slots) {
            let at = self.sweep_at;
            self.sweep_at = if at + 1 < slots { at + 1 } else { 0 };
            if self.at(at).is_some_and(|(key, counter)| is_over(key, counter)) {
                self.remove_at(at);
            }
        }
    }
}

fn heap_bytes(counter: Option<&Counter>) -> u32 {
    u32::try_from(counter.map_or(0, Counter::heap_bytes)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
