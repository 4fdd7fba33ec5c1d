//! Eviction when memory is full: of connections, of heads in flight, of bytes out of order. Must not
//! look into connections.

use http_trace_model::event::{LossUnit, Output};

use super::Pipeline;
use crate::protocol::End;
use crate::table::{Id, List};

impl Pipeline {
    /// Evicts one connection: a closed one, else one without payload, else the one idle for longest,
    /// else the busy one least recently used.
    pub(super) fn make_room(&mut self, out: &mut dyn FnMut(Output)) {
        for list in [List::Closed, List::Embryonic, List::Idle, List::Busy] {
            if let Some(id) = self.table.oldest(list) {
                if list != List::Closed {
                    self.evicted("table_full");
                }
                self.remove(id, End::Stopped, out);
                return;
            }
        }
    }

    pub(super) fn evicted(&mut self, place: &'static str) {
        let now = self.shared.now_ns;
        self.shared.stats.flows_evicted += 1;
        self.shared.losses.add(place, LossUnit::Flows, 1, now, now);
    }

    /// Evicts the least recently used connections while heads in flight take too much.
    pub(super) fn free_heads(&mut self, out: &mut dyn FnMut(Output)) {
        while self.heads_bytes > self.shared.config.heads_bytes {
            let Some(id) = self.table.oldest(List::Busy) else {
                break;
            };
            self.evicted("heads_in_flight");
            self.remove(id, End::Stopped, out);
        }
    }

    /// Gives up the gaps of the least recently used connections while bytes out of order take too much.
    pub(super) fn free_reorder(&mut self, current: Id, out: &mut dyn FnMut(Output)) {
        const LOOK_AT: usize = 64;
        while self.reorder_bytes > self.shared.config.reorder_bytes {
            let mut at = self.table.oldest(List::Busy);
            let mut victim = current;
            for _ in 0..LOOK_AT {
                let Some(id) = at else { break };
                if self
                    .table
                    .get(id)
                    .is_some_and(|connection| connection.memory().1 > 0)
                {
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
            self.shared
                .with(name, out, |env| connection.flush_buffers(env));
            let after = connection.memory();
            let now = self.shared.now_ns;
            let freed = (before.1 - after.1.min(before.1)) as u64;
            self.shared
                .losses
                .add("reorder_memory", LossUnit::Bytes, freed, now, now);
            self.heads_bytes = (self.heads_bytes + after.0).saturating_sub(before.0);
            self.reorder_bytes = (self.reorder_bytes + after.1).saturating_sub(before.1);
            if freed == 0 {
                break;
            }
        }
    }
}
