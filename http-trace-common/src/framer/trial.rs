//! Framing on trial: where framing was lost, the framer runs on from a start line that may be one, and
//! nobody takes its word until somebody who knows better has confirmed where it began.
//!
//! To all but the functions here its phase is [`Phase::Unsure`] meanwhile, so that nothing can be
//! skipped by mistake.

use super::{Framer, Phase};

/// Set in [`Framer::phase`] while on trial: a number that is no phase is `Unsure`.
const ON_TRIAL: u8 = 1 << 7;

impl Framer {
    /// Framing was lost, and what begins at `seq` may be a start line.
    #[inline(always)]
    pub const fn begin_trial(&mut self, seq: u32) {
        self.restart();
        self.phase |= ON_TRIAL;
        self.trial_from = seq;
    }

    /// Whether it is on trial.
    #[inline(always)]
    pub const fn is_on_trial(&self) -> bool {
        self.phase & ON_TRIAL != 0
    }

    /// Where the trial at hand began.
    #[inline(always)]
    pub const fn trial_from(&self) -> u32 {
        self.trial_from
    }

    /// What it was right about if it is right; the same of one that is on no trial.
    #[inline(always)]
    pub const fn on_its_word(&self) -> Framer {
        let mut framer = *self;
        framer.trust();
        framer
    }

    /// The trial is over: where it began a message began.
    #[inline(always)]
    pub const fn trust(&mut self) {
        self.phase &= !ON_TRIAL;
    }

    /// Takes over what came of [`Framer::on_its_word`]; on trial as before.
    #[inline(always)]
    pub const fn go_on(&mut self, after: Framer) {
        let on_trial = self.phase & ON_TRIAL;
        *self = after;
        self.phase |= on_trial;
    }

    /// Bytes that are not seen, or that need not be: whether the trial goes on behind them, since by
    /// its own framing they are body. Otherwise framing is lost.
    #[inline(always)]
    pub const fn pass_on_trial(&mut self, n: u64) -> bool {
        let mut framer = self.on_its_word();
        if !self.is_on_trial() || framer.skippable() < n {
            return false;
        }
        framer.skip(n);
        self.go_on(framer);
        true
    }

    /// Whether a trial may begin: framing is lost and on none, or on one that does not know whether a
    /// head or a body comes next. A `status` line decides that for a new one.
    #[inline(always)]
    pub const fn may_begin_trial(&self, status: bool) -> bool {
        match self.on_its_word().phase() {
            Phase::Unsure => true,
            Phase::Peek => self.is_on_trial() && status && self.pos == 0,
            _ => false,
        }
    }
}
