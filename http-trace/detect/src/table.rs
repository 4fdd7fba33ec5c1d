//! Where correlations keep what they count, by rule and key: one table under one bound for all of
//! them. The key used about longest ago goes when the bound is reached, and a full table admits only
//! who was seen at several events lately. Every operation costs the same however many keys there are:
//! slots are allocated a few hundred at a time and the index is in many small parts, so that nothing large
//! is ever moved. Beside the bound are what is of one size from the beginning: [`Sketch`], [`Presence`] and
//! the slots used lately, less than a megabyte for the usual bound.

use hashbrown::HashTable;

use super::counter::Counter;
use super::presence::Presence;
use super::sketch::Sketch;

const SHARDS: usize = 1024;
const CHUNK: usize = 256;
const NONE: u32 = u32::MAX;

/// Sightings that a full table asks for before it admits a key.
const ADMIT_AFTER: u8 = 16;

/// About what the index takes for a key, in bytes.
const INDEX_BYTES: usize = 6;

/// Names a key of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Place of the correlation.
    pub correlation: u16,
    /// Keyed hash of the group's values.
    pub hash: u64,
}

impl Key {
    /// The keys of one group of values lie together, each with its own tag (the seven bits that the
    /// index looks at first): an event that counts for ten rules costs one place in memory, not ten.
    const fn index_hash(self) -> u64 {
        self.hash ^ (self.correlation as u64) << 57
    }
}

const fn shard_of(hash: u64) -> usize {
    (hash >> 44) as usize % SHARDS
}

#[derive(Debug)]
struct Slot {
    key: Key,
    counter: Option<Counter>,
    bytes: u32,
    newer: u32,
    older: u32,
    /// When it was made the newest, in uses of the table, wrapped.
    linked: u32,
}

impl Slot {
    const EMPTY: Slot = Slot {
        key: Key {
            correlation: u16::MAX,
            hash: 0,
        },
        counter: None,
        bytes: 0,
        newer: NONE,
        older: NONE,
        linked: 0,
    };
}

/// What became of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Keys pushed out by others.
    pub evicted: u64,
    /// Events whose key was not admitted.
    pub refused: u64,
}

/// The table.
#[derive(Debug)]
pub struct Table {
    index: Vec<HashTable<u32>>,
    /// Of a length that is known, so that there is little to be looked at on the way to a slot.
    chunks: Vec<Box<[Slot; CHUNK]>>,
    /// How many slots have ever been used.
    slots: usize,
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    keys: usize,
    of_rule: Vec<usize>,
    /// The correlations that have keys, a bit each.
    with_keys: Vec<u64>,
    bytes: usize,
    most_bytes: usize,
    /// Uses of the table, wrapped.
    uses: u32,
    /// For how many uses a key counts as among the newest, which it need not be made then: its
    /// neighbours in the list are anywhere in memory. Nothing goes that was used within the last
    /// three quarters of a table's worth of uses; while half of the room is free, nothing goes soon.
    fresh: usize,
    sketch: Sketch,
    /// What the sketch said of groups of values at the event at hand.
    seen: Vec<(u64, u8)>,
    turnover: Turnover,
    /// Next slot to be looked at by [`Table::sweep`].
    cursor: u32,
    presence: Presence,
    /// Keys used lately, each where its hash says: a few clients make most events.
    recent: Box<[Row; ROWS]>,
}

/// Slots used lately: those of one group of values are in one row, two lines of a cache, since an event
/// counts for many rules of one client.
#[derive(Debug)]
#[repr(align(128))]
struct Row([Recent; ROW]);

const ROW: usize = 32;
const ROWS: usize = 256;

/// Bytes of the bound for each cell of [`Presence`]: several times as many cells as there can be keys.
const BYTES_A_CELL: usize = 64;

/// The slot of a key used lately, and eight bits of the key's hash, so that what is another key's is
/// mostly known without a look at the slot; what is in the slot now has the last word.
#[derive(Clone, Copy, Debug)]
struct Recent(u32);

impl Recent {
    const NONE: Recent = Recent(u32::MAX);

    /// A slot of a number that takes more than 24 bits is not kept.
    const fn new(key: Key, at: u32) -> Recent {
        match at >> 24 {
            0 => Recent(at << 8 | Recent::mark(key)),
            _ => Recent::NONE,
        }
    }

    const fn mark(key: Key) -> u32 {
        (key.hash >> 24) as u32 & 0xff
    }

    /// Where it is among those of all keys.
    #[inline]
    const fn of(rows: &mut [Row; ROWS], key: Key) -> &mut Recent {
        &mut rows[key.hash as usize % ROWS].0[key.correlation as usize % ROW]
    }

    /// The slot that may be the key's.
    const fn slot(self, key: Key) -> Option<u32> {
        if self.0 & 0xff == Recent::mark(key) {
            Some(self.0 >> 8)
        } else {
            None
        }
    }
}

impl Table {
    /// An empty table that takes at most about `most_bytes`.
    pub fn new(most_bytes: usize) -> Self {
        Table {
            index: (0..SHARDS).map(|_| HashTable::new()).collect(),
            chunks: Vec::new(),
            slots: 0,
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            keys: 0,
            of_rule: Vec::new(),
            with_keys: Vec::new(),
            bytes: 0,
            most_bytes,
            uses: 0,
            fresh: 0,
            sketch: Sketch::default(),
            seen: Vec::with_capacity(16),
            turnover: Turnover::default(),
            cursor: 0,
            presence: Presence::new(most_bytes / BYTES_A_CELL),
            recent: Box::new([const { Row([Recent::NONE; ROW]) }; ROWS]),
        }
    }

    /// The next event: whoever asks to be admitted is sighted once more.
    pub fn begin(&mut self) {
        self.seen.clear();
    }

    /// Keys in the table.
    pub const fn len(&self) -> usize {
        self.keys
    }

    /// The correlations that have keys, a bit each.
    pub fn with_keys(&self) -> &[u64] {
        &self.with_keys
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// Bytes in use, as they are counted against the bound.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What became of keys.
    pub const fn turnover(&self) -> Turnover {
        self.turnover
    }

    fn slot(&self, at: u32) -> Option<&Slot> {
        let chunk = self.chunks.get(at as usize / CHUNK)?;
        Some(&chunk[at as usize % CHUNK])
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot> {
        let chunk = self.chunks.get_mut(at as usize / CHUNK)?;
        Some(&mut chunk[at as usize % CHUNK])
    }

    fn find(&self, key: Key) -> Option<u32> {
        if !self.presence.may_have(key.hash, key.correlation) {
            return None;
        }
        let hash = key.index_hash();
        let shard = self.index.get(shard_of(hash))?;
        shard
            .find(hash, |at| {
                self.slot(*at).is_some_and(|slot| slot.key == key)
            })
            .copied()
    }

    /// The counter of a key.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Counter> {
        let at = self.find(key)?;
        self.slot_mut(at)?.counter.as_mut()
    }

    /// Where a key is, kept in mind for the next time.
    #[inline]
    fn place(&mut self, key: Key) -> Option<u32> {
        let is_it = |slot: &Slot| slot.key == key && slot.counter.is_some();
        if let Some(at) = Recent::of(&mut self.recent, key).slot(key)
            && self.slot(at).is_some_and(is_it)
        {
            return Some(at);
        }
        self.find_and_remember(key)
    }

    #[inline(never)]
    fn find_and_remember(&mut self, key: Key) -> Option<u32> {
        let at = self.find(key)?;
        *Recent::of(&mut self.recent, key) = Recent::new(key, at);
        Some(at)
    }

    /// Whether `work` was all that was to be done to the counter of a key; `None` when the key is not
    /// there. As [`Table::work`], for what never changes how much room a counter takes.
    #[inline]
    pub fn glance(&mut self, key: Key, work: impl FnOnce(&mut Counter) -> bool) -> Option<bool> {
        if let Some(at) = Recent::of(&mut self.recent, key).slot(key)
            && let Some(chunk) = self.chunks.get_mut(at as usize / CHUNK)
            && let slot = &mut chunk[at as usize % CHUNK]
            && slot.key == key
            && let Some(counter) = &mut slot.counter
        {
            let done = work(counter);
            let linked = slot.linked;
            if done {
                self.used(at, linked);
            }
            return Some(done);
        }
        let at = self.find_and_remember(key)?;
        let slot = self.slot_mut(at)?;
        let done = work(slot.counter.as_mut()?);
        let linked = slot.linked;
        if done {
            self.used(at, linked);
        }
        Some(done)
    }

    /// The key in a slot, which was made the newest at that time, is used.
    #[inline]
    fn used(&mut self, at: u32, linked: u32) {
        self.uses = self.uses.wrapping_add(1);
        if self.uses.wrapping_sub(linked) as usize > self.fresh {
            self.renew(at);
        }
    }

    /// Lets `work` work on the counter of a key, as the one used last; makes it with `make`, if
    /// there is one, when the key is new and admitted. `None` when it is not. `work` also says
    /// whether the counter may take more room or less than before. `admitted` is what
    /// [`Table::admit`] said of a key that is known not to be there.
    pub fn work<T>(
        &mut self,
        key: Key,
        admitted: Option<bool>,
        limit: Option<usize>,
        make: Option<impl FnOnce() -> Counter>,
        work: impl FnOnce(&mut Counter) -> (T, bool),
    ) -> Option<T> {
        let place = match admitted {
            Some(_) => None,
            None => self.place(key),
        };
        let at = match place {
            Some(at) => at,
            None => {
                let make = make?;
                let late = admitted.or_else(|| self.admit(key, limit))?;
                let mut counter = make();
                counter.incomplete = late;
                let at = self.insert(key, counter);
                *Recent::of(&mut self.recent, key) = Recent::new(key, at);
                at
            }
        };
        let slot = self.slot_mut(at)?;
        let linked = slot.linked;
        let counter = slot.counter.as_mut()?;
        let (result, resized) = work(counter);
        if resized {
            let after = u32::try_from(counter.heap_bytes()).unwrap_or(u32::MAX);
            let before = std::mem::replace(&mut slot.bytes, after);
            self.resize(before as usize, after as usize);
        }
        self.used(at, linked);
        while self.bytes > self.most_bytes && self.keys > 1 {
            self.evict(at);
        }
        Some(result)
    }

    /// Measures again how much room the counter of a key takes.
    pub fn measure(&mut self, key: Key) {
        let Some(at) = self.find(key) else { return };
        if let Some(slot) = self.slot_mut(at) {
            let after = slot.counter.as_ref().map_or(0, Counter::heap_bytes);
            let after = u32::try_from(after).unwrap_or(u32::MAX);
            let before = std::mem::replace(&mut slot.bytes, after);
            self.resize(before as usize, after as usize);
        }
    }

    /// Something that took so many bytes takes so many now.
    fn resize(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        self.fresh = self.keys / 4;
        if self.bytes < self.most_bytes / 2 {
            self.fresh += 4096;
        }
    }

    /// Whether a new key may come in: `Some(true)` when events of it were turned away before. To be asked
    /// once an event of the key.
    pub fn admit(&mut self, key: Key, limit: Option<usize>) -> Option<bool> {
        let number = usize::from(key.correlation);
        if self.of_rule.len() <= number {
            self.of_rule.resize(number + 1, 0);
        }
        let rule_is_full = limit.is_some_and(|limit| self.of_rule[number] >= limit);
        if self.bytes < self.most_bytes / 2 && !rule_is_full {
            return Some(false);
        }
        let seen = match self.seen.iter().find(|(hash, _)| *hash == key.hash) {
            Some((_, seen)) => *seen,
            None => {
                let seen = self.sketch.see(key.hash);
                self.seen.push((key.hash, seen));
                seen
            }
        };
        let full = rule_is_full || self.bytes >= self.most_bytes / 4 * 3;
        if full && (seen < ADMIT_AFTER || rule_is_full) {
            self.turnover.refused += 1;
            return None;
        }
        Some(full)
    }

    fn insert(&mut self, key: Key, counter: Counter) -> u32 {
        let bytes = u32::try_from(counter.heap_bytes()).unwrap_or(u32::MAX);
        let slot = Slot {
            key,
            counter: Some(counter),
            bytes,
            newer: NONE,
            older: NONE,
            linked: 0,
        };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.slot_mut(at) {
                    *place = slot;
                }
                at
            }
            None => {
                if self.slots == self.chunks.len() * CHUNK {
                    let empty: Vec<Slot> = (0..CHUNK).map(|_| Slot::EMPTY).collect();
                    self.chunks.extend(empty.into_boxed_slice().try_into());
                }
                let at = self.slots as u32;
                self.slots += 1;
                if let Some(place) = self.slot_mut(at) {
                    *place = slot;
                }
                at
            }
        };
        self.index(key, at);
        self.keys += 1;
        self.resize(0, size_of::<Slot>() + INDEX_BYTES + bytes as usize);
        self.link(at);
        at
    }

    fn link(&mut self, at: u32) {
        let (before, uses) = (self.newest, self.uses);
        if let Some(slot) = self.slot_mut(at) {
            (slot.older, slot.newer, slot.linked) = (before, NONE, uses);
        }
        match self.slot_mut(before) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Some(slot) = self.slot(at) else { return };
        let (newer, older) = (slot.newer, slot.older);
        match self.slot_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        match self.slot_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// Makes a key the newest.
    fn renew(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link(at);
        }
    }

    /// The key used longest ago goes; of the oldest few, one without an open alert if there is one.
    fn evict(&mut self, keep: u32) {
        const LOOK_AT: usize = 8;
        let mut at = self.oldest;
        let mut victim = NONE;
        for _ in 0..LOOK_AT {
            let Some(slot) = self.slot(at) else { break };
            let open = slot.counter.as_ref().is_some_and(|c| c.active().is_some());
            if at != keep && (victim == NONE || !open) {
                victim = at;
                if !open {
                    break;
                }
            }
            at = slot.newer;
        }
        self.turnover.evicted += 1;
        self.remove_at(if victim == NONE { self.oldest } else { victim });
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: Key) {
        if let Some(at) = self.find(key) {
            self.remove_at(at);
        }
    }

    fn remove_at(&mut self, at: u32) {
        self.unlink(at);
        let Some(slot) = self.slot_mut(at) else {
            return;
        };
        let (key, bytes) = (slot.key, slot.bytes as usize);
        slot.counter = None;
        let hash = key.index_hash();
        if let Some(shard) = self.index.get_mut(shard_of(hash))
            && let Ok(entry) = shard.find_entry(hash, |found| *found == at)
        {
            entry.remove();
        }
        self.presence.remove(key.hash, key.correlation);
        self.free.push(at);
        self.keys -= 1;
        self.resize(size_of::<Slot>() + INDEX_BYTES + bytes, 0);
        let number = usize::from(key.correlation);
        if let Some(count) = self.of_rule.get_mut(number) {
            *count -= 1;
            if *count == 0
                && let Some(word) = self.with_keys.get_mut(number / 64)
            {
                *word &= !(1 << (number % 64));
            }
        }
    }

    /// How many places for keys there are.
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// What is in a place.
    pub fn at(&self, slot: usize) -> Option<(Key, &Counter)> {
        let slot = self.slot(u32::try_from(slot).ok()?)?;
        Some((slot.key, slot.counter.as_ref()?))
    }

    /// Puts a counter back, as the one used longest ago; `false` when there is no room for it.
    /// That its key is not there is for the caller to know.
    pub fn restore(&mut self, key: Key, counter: Counter) -> bool {
        if self.bytes + counter.heap_bytes() > self.most_bytes / 4 * 3 {
            return false;
        }
        let at = self.insert(key, counter);
        if self.oldest != at {
            self.unlink(at);
            let before = std::mem::replace(&mut self.oldest, at);
            // Long ago, so that the first use makes it the newest.
            let linked = self.uses.wrapping_sub(u32::MAX / 2);
            if let Some(slot) = self.slot_mut(at) {
                (slot.older, slot.newer, slot.linked) = (NONE, before, linked);
            }
            if let Some(slot) = self.slot_mut(before) {
                slot.older = at;
            }
        }
        at != NONE
    }

    /// Gives correlations other numbers; keys of those that get none are forgotten. No two may get
    /// the same.
    pub fn renumber(&mut self, number: impl Fn(u16) -> Option<u16>) {
        let slots = self.slots() as u32;
        for at in 0..slots {
            let used = |slot: &&Slot| slot.counter.is_some();
            let key = self.slot(at).filter(used).map(|slot| slot.key);
            if key.is_some_and(|key| number(key.correlation).is_none()) {
                self.remove_at(at);
            }
        }
        for shard in &mut self.index {
            shard.clear();
        }
        self.presence.clear();
        self.of_rule.clear();
        self.with_keys.clear();
        for at in 0..slots {
            let used = |slot: &&mut Slot| slot.counter.is_some();
            let Some(slot) = self.slot_mut(at).filter(used) else {
                continue;
            };
            if let Some(number) = number(slot.key.correlation) {
                slot.key.correlation = number;
                let key = slot.key;
                self.index(key, at);
            }
        }
    }

    /// Makes a key findable at its slot.
    fn index(&mut self, key: Key, at: u32) {
        let hash = key.index_hash();
        let chunks = &self.chunks;
        if let Some(shard) = self.index.get_mut(shard_of(hash)) {
            shard.insert_unique(hash, at, |at| {
                let chunk = chunks.get(*at as usize / CHUNK);
                chunk.map_or(0, |chunk| chunk[*at as usize % CHUNK].key.index_hash())
            });
        }
        self.presence.add(key.hash, key.correlation);
        let number = usize::from(key.correlation);
        if self.of_rule.len() <= number {
            self.of_rule.resize(number + 1, 0);
        }
        if let Some(count) = self.of_rule.get_mut(number) {
            *count += 1;
        }
        if self.with_keys.len() <= number / 64 {
            self.with_keys.resize(number / 64 + 1, 0);
        }
        if let Some(word) = self.with_keys.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Looks at a few keys, in turn, and forgets those of which `is_over` says that nothing of
    /// them is in their window any more.
    pub fn sweep(&mut self, few: usize, mut is_over: impl FnMut(Key, &Counter) -> bool) {
        let slots = self.slots();
        for _ in 0..few.min(slots) {
            let at = self.cursor;
            let next = at as usize + 1;
            self.cursor = if next < slots { next as u32 } else { 0 };
            let over = self
                .slot(at)
                .and_then(|slot| Some(is_over(slot.key, slot.counter.as_ref()?)));
            if over == Some(true) {
                self.remove_at(at);
            }
        }
    }
}

#[cfg(test)]
mod tests;
