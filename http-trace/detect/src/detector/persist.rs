//! Saves the state of a detector to a [`Snapshot`] and restores it. State that does not fit the current rules
//! is dropped: correlations are identified by fingerprint, hits by rule id.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::correlate;
use crate::counter::Counter;
use crate::counters::Key;
use crate::hashes::Hashes;
use crate::lifecycle::{newest_ns, over_at};
use crate::snapshot::{self, BadSnapshot, Content, STEP_BYTES, Snapshot, Worth};

use super::Detector;
use super::core::{Core, Due, SUSPECTS};

/// Number of slots examined per step, used or free.
const STEP_SLOTS: usize = 4096;

/// Tolerance for counters with times in the future: a bucket ends after its events, and clocks
/// are adjusted by small amounts.
const CLOCKS_DIFFER_NS: u64 = 60_000_000_000;

/// Result of restoring a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    pub keys: usize,
    /// Restored keys with an open alert that is reported.
    pub open: usize,
    /// Keys whose correlation was removed or changed.
    pub changed: usize,
    pub no_room: usize,
    /// Keys whose last event is in the future.
    pub future: usize,
    /// Time of the last event or tick before it was saved, event time, Unix ns.
    pub until_ns: u64,
}

impl Detector {
    /// Counts changes of the saved state.
    pub const fn changes(&self) -> u64 {
        self.core.changes
    }

    /// Adds the next part of the state to a snapshot; returns whether that was the last one. Each counter is
    /// saved consistently, as of now; between two steps other counters may change.
    pub fn save_some(&self, snapshot: &mut Snapshot) -> bool {
        let core = &self.core;
        if snapshot.context.fingerprints != core.fingerprints {
            // First step, or the rules were reloaded since: indexes have changed.
            *snapshot = Snapshot::default();
            snapshot.changes = core.changes;
            snapshot.context.fingerprints.clone_from(&core.fingerprints);
        }
        while let Some(of) = core.hits.all().get(snapshot.rules.len()) {
            snapshot.rules.push(of.clone());
            if !of.entities.is_empty() {
                return false;
            }
        }
        let mut bytes = 0;
        let slots = core.counters.slots();
        let last = slots.min(snapshot.next_slot + STEP_SLOTS);
        while snapshot.next_slot < last {
            let slot = core.counters.at(snapshot.next_slot);
            snapshot.next_slot += 1;
            if let Some((key, counter)) = slot {
                let placed = (key.correlation, key.hash, counter);
                bytes += snapshot.add(self.worth(key, counter), &placed);
                if bytes >= STEP_BYTES {
                    break;
                }
            }
        }
        let done = snapshot.next_slot >= slots;
        if done {
            let context = &mut snapshot.context;
            context.key = core.keys.hashes().key();
            context.now_ns = self.clock.now_ns();
            context.lossy_until_ns = core.lossy_until_ns;
            context.suspects.clone_from(&core.suspects);
        }
        done
    }

    /// Saves everything at once.
    pub fn save(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        while !self.save_some(&mut snapshot) {}
        snapshot
    }

    fn worth(&self, key: Key, counter: &Counter) -> Worth {
        let more = counter.more.as_deref();
        let correlation = self.core.correlations.get(usize::from(key.correlation));
        let now_ns = self.clock.now_ns();
        Worth {
            open: more.is_some_and(|more| more.active.is_some()),
            halfway: more.is_some_and(|more| more.evidence.is_some()),
            last_ns: correlation.map_or(0, |c| newest_ns(c, counter, now_ns)),
            count: counter.window.total(),
        }
    }

    /// Restores a snapshot at this time (Unix ns). Must be called before the first event. Counters with later
    /// times, from before a clock was set back, are dropped: they would refuse all events until that time.
    ///
    /// # Errors
    /// The bytes are damaged or not a snapshot of this version; nothing is restored then.
    pub fn restore(&mut self, bytes: &[u8], now_ns: u64) -> Result<Restored, BadSnapshot> {
        self.core.restore(snapshot::open(bytes)?, now_ns)
    }
}

impl Core {
    fn restore(&mut self, payload: &[u8], now_ns: u64) -> Result<Restored, BadSnapshot> {
        let Content { hits, context, counters } = snapshot::decode(payload)?;
        self.keys.hash_as(Hashes::with_key(context.key));
        self.lossy_until_ns = context.lossy_until_ns;
        self.suspects = context.suspects;
        self.suspects.truncate(SUSPECTS);
        self.hits = hits;
        self.bind_hits();
        let latest_ns = now_ns.saturating_add(CLOCKS_DIFFER_NS);
        let places: HashMap<u64, u16> = self.fingerprints.iter().copied().zip(0..).collect();
        let mut restored = Restored { until_ns: context.now_ns, ..Restored::default() };
        for (place, hash, counter) in counters {
            let fingerprint = context.fingerprints.get(usize::from(place));
            let number = fingerprint.and_then(|fingerprint| places.get(fingerprint));
            match number {
                Some(&correlation) => {
                    let times = [context.now_ns, latest_ns];
                    self.put_back(Key { correlation, hash }, counter, times, &mut restored);
                }
                None => restored.changed += 1,
            }
        }
        Ok(restored)
    }

    fn put_back(
        &mut self,
        key: Key,
        mut counter: Counter,
        [saved_ns, latest_ns]: [u64; 2],
        restored: &mut Restored,
    ) {
        let correlation = self.correlations.get(usize::from(key.correlation));
        let like = |c| counter.is_like(&correlate::make(c, saved_ns));
        let Some(correlation) = correlation.filter(|c| like(*c)) else {
            restored.changed += 1;
            return;
        };
        if self.counters.get_mut(key).is_some() {
            // The key was removed and added again during the save; the more valuable counter
            // is already there.
            return;
        }
        if newest_ns(correlation, &counter, saved_ns) > latest_ns {
            restored.future += 1;
            return;
        }
        // Events between the two runs were not seen.
        counter.incomplete |= self.settings.live;
        let over_ns = over_at(correlation, &counter, saved_ns);
        let active = counter.active();
        let open = active.map(|active| (active.id, active.due(over_ns)));
        let is_open = counter.active().is_some_and(|active| !active.is_silent());
        if !self.counters.restore(key, counter) {
            restored.no_room += 1;
            return;
        }
        restored.keys += 1;
        if let Some((id, due_ns)) = open {
            restored.open += usize::from(is_open);
            self.due.push(Reverse(Due::new(due_ns, id, key)));
        }
    }

    /// Binds hits to the current correlations.
    pub(super) fn bind_hits(&mut self) {
        let rules = &self.rules;
        self.hits
            .bind(&self.correlations, |number| rules.get(number).map(|rule| rule.id.to_string()));
    }
}

#[cfg(test)]
mod tests;
