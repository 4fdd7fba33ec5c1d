//! The bounded table of connections: a hash index over a slab, with lists in order of last use.
//!
//! Insertion, lookup, removal and finding the oldest of a list are O(1). The table must not decide what
//! is evicted: its owner asks for the oldest of a [`List`] and removes it.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

/// State of a connection; each state has a list, least recently used first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum List {
    /// Only SYNs and answers to them: in a SYN flood, evicted first after the closed ones.
    Embryonic = 0,
    /// Open, with nothing in flight.
    Idle = 1,
    /// Open, with bytes or messages in flight.
    Busy = 2,
    /// Closed; kept so that late copies make no second event.
    Closed = 3,
}

const LISTS: usize = 4;
const NONE: u32 = u32::MAX;

/// Times in the table are in units of 2^26 ns, so that they fit 32 bits.
const COARSE: u32 = 26;

const fn coarse(ns: u64) -> u32 {
    (ns >> COARSE) as u32
}

/// The slot of a connection, valid until the connection is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u32);

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    last: u32,
    previous: u32,
    next: u32,
    list: List,
    value: Option<V>,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
    len: usize,
}

/// The table: maps keys `K` to values `V`.
#[derive(Debug)]
pub struct Table<K, V> {
    index: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    free: u32,
    lists: [Ends; LISTS],
    hasher: foldhash::fast::RandomState,
}

impl<K: Copy + Eq + Hash, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// Memory that a connection takes in the table, in bytes, without the hash index.
    pub const SLOT_BYTES: usize = size_of::<Slot<K, V>>();

    /// An empty table; it grows as connections come.
    pub fn new() -> Self {
        Table {
            index: HashTable::new(),
            slots: Vec::new(),
            free: NONE,
            lists: [Ends { first: NONE, last: NONE, len: 0 }; LISTS],
            // Keys come from the network, so the hash is randomly seeded.
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    /// Number of connections.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub fn find(&self, key: &K) -> Option<Id> {
        let hash = self.hasher.hash_one(key);
        let slots = &self.slots;
        self.index
            .find(hash, |&i| slots.get(i as usize).is_some_and(|slot| slot.key == *key))
            .map(|&i| Id(i))
    }

    /// Adds a connection that is not in the table yet, at the end of `list`.
    pub fn insert(&mut self, key: K, value: V, list: List, now_ns: u64) -> Id {
        let slot = Slot {
            key,
            last: coarse(now_ns),
            previous: NONE,
            next: NONE,
            list,
            value: Some(value),
        };
        let at = if self.free == NONE {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        } else {
            let at = self.free;
            let place = &mut self.slots[at as usize];
            self.free = place.next;
            *place = slot;
            at
        };
        let (hasher, slots) = (&self.hasher, &self.slots);
        self.index
            .insert_unique(hasher.hash_one(key), at, |&i| hasher.hash_one(slots[i as usize].key));
        self.link(at, list);
        Id(at)
    }

    pub fn remove(&mut self, id: Id) -> Option<(K, V)> {
        let at = id.0;
        let slot = self.slots.get_mut(at as usize)?;
        let value = slot.value.take()?;
        let key = slot.key;
        let hash = self.hasher.hash_one(key);
        if let Ok(entry) = self.index.find_entry(hash, |&i| i == at) {
            entry.remove();
        }
        self.unlink(at);
        self.slots[at as usize].next = self.free;
        self.free = at;
        Some((key, value))
    }

    pub fn get_mut(&mut self, id: Id) -> Option<(&K, &mut V)> {
        let slot = self.slots.get_mut(id.0 as usize)?;
        Some((&slot.key, slot.value.as_mut()?))
    }

    pub fn get(&self, id: Id) -> Option<&V> {
        self.slots.get(id.0 as usize)?.value.as_ref()
    }

    /// Time since a connection was last used, in ns, with a resolution of 67 ms.
    pub fn age_ns(&self, id: Id, now_ns: u64) -> u64 {
        let last = self.slots.get(id.0 as usize).map_or(0, |slot| slot.last);
        let age = coarse(now_ns).wrapping_sub(last) as i32;
        (age.max(0) as u64) << COARSE
    }

    /// The least recently used connection of `list`.
    pub fn oldest(&self, list: List) -> Option<Id> {
        let first = self.lists[list as usize].first;
        (first != NONE).then_some(Id(first))
    }

    /// The connection after `id` in its list: used later.
    pub fn newer(&self, id: Id) -> Option<Id> {
        let next = self.slots.get(id.0 as usize)?.next;
        (next != NONE).then_some(Id(next))
    }

    /// Marks a use, which moves the connection to the end of `list`.
    pub fn touch(&mut self, id: Id, list: List, now_ns: u64) {
        let at = id.0;
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        slot.last = coarse(now_ns);
        if slot.list == list && self.lists[list as usize].last == at {
            return;
        }
        self.unlink(at);
        self.link(at, list);
    }

    /// Sets when a connection was last used, without moving it in its list.
    pub fn refresh(&mut self, id: Id, now_ns: u64) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.last = coarse(now_ns);
        }
    }

    /// All connections, in no particular order.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<K, V> {
        let ids: Vec<u32> = self.index.iter().copied().collect();
        ids.into_iter().map(Id)
    }

    fn link(&mut self, at: u32, list: List) {
        let ends = &mut self.lists[list as usize];
        let previous = ends.last;
        ends.last = at;
        ends.len += 1;
        if previous == NONE {
            ends.first = at;
        } else {
            self.slots[previous as usize].next = at;
        }
        let slot = &mut self.slots[at as usize];
        slot.list = list;
        slot.previous = previous;
        slot.next = NONE;
    }

    fn unlink(&mut self, at: u32) {
        let (previous, next, list) = {
            let slot = &self.slots[at as usize];
            (slot.previous, slot.next, slot.list)
        };
        let ends = &mut self.lists[list as usize];
        ends.len -= 1;
        if previous == NONE {
            ends.first = next;
        }
        if next == NONE {
            ends.last = previous;
        }
        if previous != NONE {
            self.slots[previous as usize].next = next;
        }
        if next != NONE {
            self.slots[next as usize].previous = previous;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_common::flow::{FlowKey, v4_mapped};

    fn key(port: u16) -> FlowKey {
        FlowKey::new(&v4_mapped([10, 0, 0, 1]), port, &v4_mapped([10, 0, 0, 2]), 80, 0).0
    }

    fn order(table: &Table<FlowKey, u16>, list: List) -> Vec<u16> {
        let mut out = Vec::new();
        let mut at = table.oldest(list);
        while let Some(id) = at {
            out.push(*table.get(id).expect("linked slots are in use"));
            at = table.newer(id);
        }
        out
    }

    #[test]
    fn keeps_each_list_in_order_of_last_use() {
        let mut table = Table::new();
        for port in 0..5 {
            table.insert(key(port), port, List::Idle, u64::from(port));
        }
        let second = table.find(&key(1)).expect("inserted");
        table.touch(second, List::Idle, 9);
        assert_eq!(order(&table, List::Idle), [0, 2, 3, 4, 1]);
        let fourth = table.find(&key(3)).expect("inserted");
        table.touch(fourth, List::Closed, 10);
        assert_eq!(order(&table, List::Idle), [0, 2, 4, 1]);
        assert_eq!(order(&table, List::Closed), [3]);
        assert_eq!((table.len(), table.lists[List::Idle as usize].len), (5, 4));
    }

    #[test]
    fn reuses_slots_and_forgets_what_is_removed() {
        let mut table = Table::new();
        for round in 0..1000u16 {
            let id = table.insert(key(round), round, List::Busy, 0);
            assert_eq!(id.0, u32::from(round % 2));
            if round % 2 == 1 {
                for port in [round - 1, round] {
                    let id = table.find(&key(port)).expect("inserted");
                    assert_eq!(table.remove(id).map(|(_, v)| v), Some(port));
                    assert_eq!(table.find(&key(port)), None);
                    assert_eq!(table.remove(id), None);
                }
                // The free list is last in, first out: put it back into the order asserted above.
                let (a, b) = (key(60_000), key(60_001));
                let first = table.insert(a, 0, List::Busy, 0);
                let second = table.insert(b, 0, List::Busy, 0);
                assert_eq!(first.0 + second.0, 1);
                table.remove(if first.0 == 1 { first } else { second });
                table.remove(if first.0 == 1 { second } else { first });
            }
        }
        assert!(table.is_empty());
        assert_eq!(table.oldest(List::Busy), None);
    }
}
