//! The detector: takes events, returns them with the rules that counted them, and alerts. Synchronous,
//! without I/O; its only clock is event time.
//!
//! # Layout
//! - [`fed`] decides which correlations an event is fed to; [`core`] takes it through matching, and
//!   [`counting`] to the counters.
//! - [`reload`] replaces the rules while running, [`persist`] saves state to a snapshot and restores it.

mod core;
mod counting;
mod fed;
pub(crate) mod persist;
pub(crate) mod reload;

use super::clock::Clock;
pub use super::lifecycle::window_text;
use super::rule::RuleSet;
use http_trace_model::event::HttpEvent;

use self::core::{Core, SWEEP_TICK};
pub use self::core::{DetectStats, Detected, Settings};

/// Active rules and their state.
#[derive(Debug)]
pub struct Detector {
    clock: Clock,
    core: Core,
}

impl Detector {
    pub fn new(rules: RuleSet, settings: Settings) -> Self {
        Detector { clock: Clock::new(settings.live), core: Core::new(rules, settings) }
    }

    /// Takes an event. It is passed on at once, or, in a capture, if its time is far ahead of all others,
    /// once later events show whether that is right; always in order.
    pub fn push(&mut self, event: Box<HttpEvent>, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock.push(event, &mut |event, time_ns| core.event(event, time_ns, out));
    }

    /// Advances time without events.
    pub fn tick(&mut self, now_ns: u64, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock.tick(now_ns, &mut |event, time_ns| {
            core.event(event, time_ns, out);
        });
        core.end_expired(self.clock.now_ns(), out);
        core.sweep(SWEEP_TICK, self.clock.now_ns());
    }

    /// Ends the stream: open alerts report what they counted since their last report. They do not end,
    /// because their cause may persist; with a saved state they continue in the next run.
    pub fn finish(&mut self, out: &mut dyn FnMut(Detected)) {
        let core = &mut self.core;
        self.clock.finish(&mut |event, time_ns| core.event(event, time_ns, out));
        core.report_open(self.clock.now_ns(), out);
    }

    /// Records a loss up to this time: alerts whose window covers it say that they may have
    /// counted too little.
    pub fn note_loss(&mut self, until_ns: u64) {
        self.core.changes += 1;
        self.core.lossy_until_ns = self.core.lossy_until_ns.max(until_ns);
    }

    /// The hits of a rule, by its id.
    #[cfg(test)]
    pub(super) fn hits_of(&self, id: &str) -> Option<&super::hits::Tally> {
        let mut all = self.core.hits.all().iter();
        all.find(|of| of.id == id).map(|of| &of.tally)
    }

    /// Statistics about detection itself.
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
