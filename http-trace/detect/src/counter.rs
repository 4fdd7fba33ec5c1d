//! What is counted for one key of one rule: [`super::correlate`] moves it on, an alert is told from it,
//! and a snapshot keeps it across a restart. Decides nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::alert::Active;
use super::distinct::Distinct;
use super::evidence::Evidence;
use super::window::Window;

/// What is counted for one key of one rule.
#[derive(Debug, Serialize, Deserialize)]
pub struct Counter {
    /// Events, or distinct values, or a sum.
    pub window: Window,
    /// Events since the counter began.
    pub events: u64,
    /// Whether events of the key may be missing: it was not admitted at once.
    pub incomplete: bool,
    /// The last status, of a sequence of them; 0 when there is none.
    pub status: u16,
    /// The distinct values.
    pub distinct: Distinct,
    /// What few counters have.
    pub more: Option<Box<More>>,
}

/// What a counter has when its rule or its count asks for it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct More {
    /// For each input when it was seen last, or when the ordered chain up to it began; 0 never.
    pub seen: Vec<u64>,
    /// Values with their times.
    pub values: VecDeque<(u64, u64)>,
    /// How many values there are in a sum.
    pub addends: Option<Window>,
    /// What an alert will show.
    pub evidence: Option<Box<Evidence>>,
    /// The alert that is open.
    pub active: Option<Box<Active>>,
}

impl Counter {
    /// An empty one.
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

    /// What few counters have, made if it is not there.
    pub fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The open alert.
    pub fn active(&self) -> Option<&Active> {
        self.more.as_ref()?.active.as_deref()
    }

    /// Whether an alert is open that says nothing at this time, whatever is counted.
    pub fn is_silent_at(&self, time_ns: u64) -> bool {
        let active = self.active();
        active.is_some_and(|active| time_ns < active.next_update_ns)
    }

    /// Whether it counts what one that was newly made would: a file may say anything.
    pub fn is_like(&self, fresh: &Counter) -> bool {
        let (mine, other) = (self.more.as_deref(), fresh.more.as_deref());
        let seen = |more: Option<&More>| more.map_or(0, |m| m.seen.len());
        let addends = |more: Option<&More>| more.is_some_and(|m| m.addends.is_some());
        self.window.is_like(&fresh.window)
            && seen(mine) == seen(other)
            && addends(mine) == addends(other)
    }

    /// Bytes beside the value itself.
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
