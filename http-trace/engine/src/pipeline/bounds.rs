//! Eviction when memory is full: of connections, heads in flight, and out-of-order bytes. Must not look
//! into connections.

use http_trace_common::flow::FlowKey;
use http_trace_model::event::{LossUnit, Output};

use super::Pipeline;
use crate::crowd::{self, Doing, Entry};
use crate::protocol::End;
use crate::table::{Id, List};

impl Pipeline {
    /// Evicts a closed connection, else one without payload, else an eighth of all, by each client's
    /// share of the table ([`crowd`]).
    pub(super) fn make_room(&mut self, out: &mut dyn FnMut(Output)) {
        if let Some(id) = self.table.oldest(List::Closed) {
            return self.remove(id, End::Stopped, out);
        }
        if let Some(id) = self.table.oldest(List::Embryonic) {
            self.evicted("table_full");
            return self.remove(id, End::Stopped, out);
        }
        let excess = (self.table.len() / 8).max(1);
        for key in self.leaving(&[List::Idle, List::Busy]).take(excess) {
            self.evict(&key, "table_full", out);
        }
    }

    /// The connections of these lists in order of eviction.
    fn leaving(&mut self, lists: &[List]) -> impl Iterator<Item = FlowKey> + use<> {
        let now = self.shared.now_ns;
        let mut entries = Vec::new();
        for &list in lists {
            let mut next = self.table.oldest(list);
            while let Some(id) = next {
                next = self.table.newer(id);
                let age_ns = self.table.age_ns(id, now);
                let Some((&key, connection)) = self.table.get_mut(id) else {
                    continue;
                };
                let doing = match connection.profile().http {
                    true => Doing::spoken(age_ns / 1_000_000_000),
                    false => Doing::Silent,
                };
                entries.push(Entry { key, doing, last_seen: now.saturating_sub(age_ns) });
            }
        }
        crowd::leaving(entries)
    }

    fn evict(&mut self, key: &FlowKey, place: &'static str, out: &mut dyn FnMut(Output)) {
        if let Some(id) = self.table.find(key) {
            self.evicted(place);
            self.remove(id, End::Stopped, out);
        }
    }

    pub(super) fn evicted(&mut self, place: &'static str) {
        let now = self.shared.now_ns;
        self.shared.stats.flows_evicted += 1;
        self.shared.losses.add(place, LossUnit::Flows, 1, now, now);
    }

    /// Evicts connections with heads in flight when these exceed their limit, down to three quarters.
    pub(super) fn free_heads(&mut self, out: &mut dyn FnMut(Output)) {
        let bound = self.shared.config.heads_bytes;
        if self.heads_bytes <= bound {
            return;
        }
        for key in self.leaving(&[List::Busy]) {
            self.evict(&key, "heads_in_flight", out);
            if self.heads_bytes <= bound - bound / 4 {
                break;
            }
        }
    }

    /// Gives up gaps of the least recently used connections while out-of-order bytes exceed their limit.
    pub(super) fn free_reorder(&mut self, current: Id, out: &mut dyn FnMut(Output)) {
        const LOOK_AT: usize = 64;
        while self.reorder_bytes > self.shared.config.reorder_bytes {
            let mut at = self.table.oldest(List::Busy);
            let mut victim = current;
            for _ in 0..LOOK_AT {
                let Some(id) = at else { break };
                if self.table.get(id).is_some_and(|connection| connection.memory().1 > 0) {
                    victim = id;
                    break;
                }
                at = self.table.newer(id);
            }
            let Some((&key, connection)) = self.table.get_mut(victim) else {
                break;
            };
            let before = connection.memory();
            let name = (Some(victim), key, connection.number);
            self.shared.with(name, out, |env| connection.flush_buffers(env));
            let after = connection.memory();
            let now = self.shared.now_ns;
            let freed = (before.1 - after.1.min(before.1)) as u64;
            self.shared.losses.add("reorder_memory", LossUnit::Bytes, freed, now, now);
            self.heads_bytes = (self.heads_bytes + after.0).saturating_sub(before.0);
            self.reorder_bytes = (self.reorder_bytes + after.1).saturating_sub(before.1);
            if freed == 0 {
                break;
            }
        }
    }
}
