//! The detector: events in, events with the rules they counted for and alerts out. Synchronous,
//! without I/O and without a clock but event time.
//!
//! # Layout
//! - [`fed`] says which correlations an event is fed to; [`core`] takes it through matching, and [`counting`]
//!   to the counters.
//! - [`reload`] changes the rules while they are at work, [`persist`] takes what is counted into a snapshot
//!   and back.

mod core;
mod counting;
mod fed;
pub(crate) mod persist;
pub(crate) mod reload;

use std::sync::Arc;

use super::clock::Clock;
pub use super::lifecycle::window_text;
use super::rule::{Rule, RuleSet};
use http_trace_model::event::HttpEvent;

use self::core::{Core, SWEEP_TICK};
pub use self::core::{DetectStats, Detected, Settings};

/// Rules at work.
#[derive(Debug)]
pub struct Detector {
    clock: Clock,
    core: Core,
}

impl Detector {
    /// Sets rules to work.
    pub fn new(rules: RuleSet, settings: Settings) -> Self {
        Detector {
            clock: Clock::new(settings.live),
            core: Core::new(rules, settings),
        }
    }

    /// The rules at work.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.core.rules
    }

    /// Takes an event in. It comes out at once, or, when its time is far ahead of all others in a
    /// capture, once that is clear; always in order.
    pub fn push(&mut self, event: Box<HttpEvent>, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock
            .push(event, &mut |event, time_ns| core.event(event, time_ns, out));
    }

    /// Time goes on without events.
    pub fn tick(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock.tick(now_ns, &mut |event, time_ns| {
            core.event(event, time_ns, out);
        });
        core.end_expired(self.clock.now_ns(), out);
        core.sweep(SWEEP_TICK, self.clock.now_ns());
    }

    /// Nothing more comes: alerts that are open say what they counted since they spoke last. They
    /// do not end, for nobody knows whether what they are about is over; with a state they go on.
    pub fn finish(&mut self, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock
            .finish(&mut |event, time_ns| core.event(event, time_ns, out));
        core.tell_open(self.clock.now_ns(), out);
    }

    /// Something was lost up to this time: alerts over it say that they may count too little.
    pub fn note_loss(&mut self, until_ns: u64) {
        self.core.changes += 1;
        self.core.lossy_until_ns = self.core.lossy_until_ns.max(until_ns);
    }

    /// What a rule has counted, by its id.
    #[cfg(test)]
    pub(super) fn hits_of(&self, id: &str) -> Option<&super::hits::Tally> {
        let mut all = self.core.hits.all().iter();
        all.find(|of| of.id == id).map(|of| &of.tally)
    }

    /// What was counted about detection itself.
    pub fn stats(&self) -> DetectStats {
        DetectStats {
            clamped: self.clock.clamped(),
            turnover: self.core.counters.turnover(),
            keys: self.core.counters.len(),
            bytes: self.core.counters.bytes(),
            ..self.core.stats
        }
    }
}
