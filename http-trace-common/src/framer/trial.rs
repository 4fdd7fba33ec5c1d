//! Framing on trial: after framing was lost, the framer continues from a possible start line, and its
//! result is not used until the host has confirmed where the trial began.
//!
//! During a trial the phase is [`Phase::Unsure`] to everything but the functions in this file, so that
//! nothing can be skipped by mistake.

use super::{Framer, Phase};

/// Set in [`Framer::phase`] during a trial. A number that is not a phase reads as `Unsure`.
const ON_TRIAL: u8 = 1 << 7;

impl Framer {
    /// Begins a trial: framing was lost, and a start line may begin at `seq`.
    #[inline(always)]
    pub const fn begin_trial(&mut self, seq: u32) {
        self.restart();
        self.phase |= ON_TRIAL;
        self.trial_from = seq;
    }

    /// Whether a trial is running.
    #[inline(always)]
    pub const fn is_on_trial(&self) -> bool {
        self.phase & ON_TRIAL != 0
    }

    /// Where the current trial began.
    #[inline(always)]
    pub const fn trial_from(&self) -> u32 {
        self.trial_from
    }

    /// The framer as it would be if the trial is right; an unchanged copy if no trial is running.
    #[inline(always)]
    pub const fn tentative(&self) -> Framer {
        let mut framer = *self;
        framer.trust();
        framer
    }

    /// Ends the trial: a message did begin where it began.
    #[inline(always)]
    pub const fn trust(&mut self) {
        self.phase &= !ON_TRIAL;
    }

    /// Takes over the state that [`Framer::tentative`] led to; a running trial continues.
    #[inline(always)]
    pub const fn adopt(&mut self, after: Framer) {
        let on_trial = self.phase & ON_TRIAL;
        *self = after;
        self.phase |= on_trial;
    }

    /// Passes `n` bytes that were not seen or need not be. Returns whether the trial continues after
    /// them, because they are body by its own framing. Otherwise framing is lost.
    #[inline(always)]
    pub const fn pass_on_trial(&mut self, n: u64) -> bool {
        let mut framer = self.tentative();
        if !self.is_on_trial() || framer.skippable() < n {
            return false;
        }
        framer.skip(n);
        self.adopt(framer);
        true
    }

    /// Whether a trial may begin: framing is lost and no trial is running, or the running one does not
    /// know whether a head or a body comes next. A `status` line decides that in favour of a new
    /// trial.
    #[inline(always)]
    pub const fn may_begin_trial(&self, status: bool) -> bool {
        match self.tentative().phase() {
            Phase::Unsure => true,
            Phase::Peek => self.is_on_trial() && status && self.pos == 0,
            _ => false,
        }
    }
}
