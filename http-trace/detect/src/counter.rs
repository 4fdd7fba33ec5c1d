//! The state of one key of one rule: [`super::correlate`] updates it, alerts are made from it, and a snapshot
//! keeps it across a restart. Decides nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::alert::Active;
use super::distinct::Distinct;
use super::evidence::Evidence;
use super::window::Window;

/// Counts for one key of one rule.
#[derive(Debug, Serialize, Deserialize)]
pub struct Counter {
    /// Windowed count of events or distinct values, or a windowed sum.
    pub window: Window,
    /// Number of events since the counter was created.
    pub events: u64,
    /// Whether earlier events of the key may be missing, because it was not admitted at once.
    pub incomplete: bool,
    /// The last status, for a status sequence; 0 if there is none.
    pub status: u16,
    pub distinct: Distinct,
    /// State that few counters need.
    pub more: Option<Box<More>>,
}

/// State that a counter allocates only when its rule or its count needs it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct More {
    /// For each input the time it was last seen, or, for an ordered chain, the time at which the chain up to
    /// it began; ns, 0 if never.
    pub seen: Vec<u64>,
    /// Values with their times (ns).
    pub values: VecDeque<(u64, u64)>,
    /// Number of values in a sum, to compute a mean.
    pub addends: Option<Window>,
    pub evidence: Option<Box<Evidence>>,
    /// The open alert.
    pub active: Option<Box<Active>>,
}

impl Counter {
    pub fn new(window: Window) -> Self {
        Counter {
            window,
            events: 0,
            incomplete: false,
            status: 0,
            distinct: Distinct::default(),
            more: None,
        }
    }

    /// The rarely needed state, allocated on first use.
    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The open alert.
    pub fn active(&self) -> Option<&Active> {
        self.more.as_ref()?.active.as_deref()
    }

    /// Whether a restored counter has the same structure as a new one; a state file may contain anything.
    pub fn is_like(&self, fresh: &Counter) -> bool {
        let (mine, other) = (self.more.as_deref(), fresh.more.as_deref());
        let seen = |more: Option<&More>| more.map_or(0, |m| m.seen.len());
        let addends = |more: Option<&More>| more.is_some_and(|m| m.addends.is_some());
        self.window.is_like(&fresh.window)
            && seen(mine) == seen(other)
            && addends(mine) == addends(other)
    }

    pub fn heap_bytes(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            size_of::<More>()
                + more.seen.capacity() * size_of::<u64>()
                + more.values.capacity() * size_of::<(u64, u64)>()
                + more.addends.as_ref().map_or(0, Window::heap_bytes)
                + more.evidence.as_ref().map_or(0, |e| e.bytes())
                + more.active.as_ref().map_or(0, |a| a.bytes())
        });
        self.window.heap_bytes() + self.distinct.heap_bytes() + more
    }
}
