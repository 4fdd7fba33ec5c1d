//! What is counted for one key of one rule: the state that [`super::count`] moves on, that an alert is
//! told from, and that is kept across a restart.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::alert::Active;
use super::distinct::{Distinct, Few};
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
    /// The distinct values, as long as there are few in the window.
    pub few: Few,
    /// The last status, of a sequence of them; 0 when there is none.
    pub status: u16,
    /// What few counters have.
    pub more: Option<Box<More>>,
}

/// What a counter has when its rule or its count asks for it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct More {
    /// Distinct values, from when there are more than few.
    pub distinct: Option<Distinct>,
    /// For each input when it was seen last, or when the ordered chain up to it began; 0 never.
    pub seen: Vec<u64>,
    /// Values with their times.
    pub values: VecDeque<(u64, u64)>,
    /// The least and the greatest of the values, and of some that were there before; not kept.
    #[serde(skip)]
    pub extremes: Option<(u64, u64)>,
    /// How many values there are in a sum.
    pub addends: Option<Window>,
    /// What an alert will show.
    pub evidence: Option<Box<Evidence>>,
    /// The alert that is open.
    pub active: Option<Box<Active>>,
    /// Before this time it says nothing, whatever it counts, if it is not 0; not kept. The alert knows
    /// the time itself, which would take a look at it with each event.
    #[serde(skip)]
    pub silent_until_ns: u64,
}

impl More {
    /// Bounds of all values: after some of these have gone not always the narrowest.
    pub fn extremes(&mut self) -> (u64, u64) {
        let all = || self.values.iter().map(|(_, value)| *value);
        *self
            .extremes
            .get_or_insert_with(|| (all().min().unwrap_or(u64::MAX), all().max().unwrap_or(0)))
    }
}

impl Counter {
    /// An empty one.
    pub const fn new(window: Window) -> Self {
        Counter {
            window,
            events: 0,
            incomplete: false,
            few: Few::NONE,
            status: 0,
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

    /// Whether the alert that is open says nothing at this time, whatever it counts.
    pub fn is_silent_at(&mut self, time_ns: u64) -> bool {
        let Some(more) = &mut self.more else {
            return false;
        };
        if more.silent_until_ns == 0
            && let Some(active) = &more.active
        {
            more.silent_until_ns = active.next_update_ns;
        }
        time_ns < more.silent_until_ns
    }

    /// The distinct values, when there are more than few.
    pub fn distinct(&self) -> Option<&Distinct> {
        self.more.as_ref()?.distinct.as_ref()
    }

    /// Whether evidence is being gathered.
    pub fn has_evidence(&self) -> bool {
        self.windows_of_evidence() != 0
    }

    /// Of how many windows there is evidence: none, one or two.
    pub fn windows_of_evidence(&self) -> u8 {
        let evidence = self.more.as_ref().and_then(|more| more.evidence.as_ref());
        evidence.map_or(0, |evidence| evidence.windows())
    }

    /// Whether it counts what one that was newly made would, which counts distinct values up to
    /// `most` if it does: a file may say anything.
    pub fn is_like(&self, fresh: &Counter, most: Option<usize>) -> bool {
        fn same<T>(a: Option<&T>, b: Option<&T>, alike: impl Fn(&T, &T) -> bool) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => alike(a, b),
                (None, None) => true,
                _ => false,
            }
        }
        let (mine, other) = (self.more.as_deref(), fresh.more.as_deref());
        let seen = |more: Option<&More>| more.map_or(0, |m| m.seen.len());
        self.window.is_like(&fresh.window)
            && seen(mine) == seen(other)
            && mine
                .and_then(|m| m.distinct.as_ref())
                .is_none_or(|distinct| most.is_some_and(|most| distinct.counts_to(most)))
            && same(
                mine.and_then(|m| m.addends.as_ref()),
                other.and_then(|m| m.addends.as_ref()),
                Window::is_like,
            )
    }

    /// Bytes beside the value itself.
    pub fn heap_bytes(&self) -> usize {
        let more = self.more.as_ref().map_or(0, |more| {
            size_of::<More>()
                + more.distinct.as_ref().map_or(0, Distinct::heap_bytes)
                + more.seen.capacity() * size_of::<u64>()
                + more.values.capacity() * size_of::<(u64, u64)>()
                + more.addends.as_ref().map_or(0, Window::heap_bytes)
                + more.evidence.as_ref().map_or(0, |e| e.bytes())
                + more.active.as_ref().map_or(0, |a| a.bytes())
        });
        self.window.heap_bytes() + more
    }
}
