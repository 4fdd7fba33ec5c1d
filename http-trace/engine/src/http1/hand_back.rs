//! Resynchronises a filter that lost framing, so that it skips bodies again: offers it the judge's
//! position, and verdicts on its trials. The filter checks whether an offer still fits.

use http_trace_common::{
    filter::{HandBack, Handed, handed},
    framer::{Framer, Phase, RequestQueue},
    record::{RecordHeader, flag},
};

use super::Http1;
use crate::origin::position;

/// In bodies shorter than this, an offer would reach the filter too late.
const WORTH_BYTES: u64 = 16 << 10;
/// Sequence numbers are compared over less than half their range.
const FAR_BYTES: u64 = 1 << 30;

/// A filter's trial, as a record describes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    /// Generation of the filter's table entry that it belongs to.
    generation: u32,
    /// Sequence number where it began.
    from: u32,
    /// Position of the record's first byte.
    at: u64,
    /// Whether the trial found a head there.
    begins: bool,
    /// Whether the judge found a head there.
    met: bool,
}

impl Trial {
    /// The judge found a head at `start`.
    pub fn meet(&mut self, start: u64) {
        self.met |= self.at == start;
    }
}

/// The trials judged last, with their generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    generation: u32,
    /// Bits of [`handed`], by direction of the connection.
    what: [u32; 2],
    from: [u32; 2],
}

/// No offer for either direction.
const NOWHERE: Handed = Handed { framer: Framer::new(), from: 0, to: 0 };

impl Http1 {
    /// Notes the trial of a record of direction `d`, before its bytes are handed over.
    pub(super) fn remember_trial(&mut self, d: usize, header: &RecordHeader) {
        let half = &mut self.halves[d];
        let at = position(half.next, header.seq);
        if !header.has(flag::TRIAL) || header.generation == 0 || at < half.next {
            return;
        }
        half.trial = Some(Trial {
            generation: header.generation,
            from: header.trial_from,
            at,
            begins: header.has(flag::HEAD_BEGINS),
            met: false,
        });
    }

    /// The offer to a filter of this generation, if it is new: verdicts on trials and, if `in_order`,
    /// the position of framing.
    pub(super) fn offer(&mut self, generation: u32, in_order: bool) -> Option<HandBack> {
        let judged = self.judge_trials(generation);
        // A filter that adopted what is only claimed here would skip what follows.
        let places = (in_order && self.claim.is_none()).then(|| self.places()).flatten();
        if !judged && places.is_none_or(|(_, _, ends)| self.handed_back == ends) {
            return None;
        }
        let mut offer = HandBack {
            sides: [NOWHERE; 2],
            queue: RequestQueue::unknown(),
            generation,
            what: 0,
            trials: [0; 2],
        };
        if let Some((sides, queue, ends)) = places {
            self.handed_back = ends;
            offer.what = handed::PLACES;
            offer.sides = sides;
            offer.queue = queue;
        }
        for d in 0..2 {
            offer.what |= self.verdicts.what[d] << d;
            offer.trials[d] = self.verdicts.from[d];
        }
        Some(offer)
    }

    /// The positions of both directions and the end of their bodies, if both are in a body or between
    /// messages and an offer is worthwhile.
    fn places(&self) -> Option<([Handed; 2], RequestQueue, [u64; 2])> {
        let mut ends = [0; 2];
        let mut in_body = false;
        let mut sides = [NOWHERE; 2];
        for ((half, end), side) in self.halves.iter().zip(&mut ends).zip(&mut sides) {
            let body = half.framer.skippable().min(FAR_BYTES);
            if !half.framer.at_rest() && body == 0 {
                return None;
            }
            in_body |= body >= WORTH_BYTES;
            *end = half.next + body;
            let from = half.next as u32;
            *side = Handed { framer: half.framer, from, to: from.wrapping_add(body as u32) };
        }
        // In one message, the other end's framer shows no more than that a role is known.
        let resting = self.exchanges.is_quiet();
        (in_body || resting).then_some((sides, self.queue, ends))
    }

    /// Judges trials of this generation; returns whether anything is new. If the judge found a head
    /// where the trial did, both frame alike from there on. The judge, which gets all bytes, recognises
    /// a body that imitates a head.
    fn judge_trials(&mut self, generation: u32) -> bool {
        let before = self.verdicts;
        if before.generation != generation {
            self.verdicts = Verdicts { generation, ..Verdicts::default() };
        }
        let mut judged = false;
        for (d, half) in self.halves.iter_mut().enumerate() {
            // Undecided bytes may turn out to be a head.
            let decided = half.undecided.is_empty();
            let Some(trial) = half.trial.filter(|trial| half.next > trial.at && decided) else {
                continue;
            };
            half.trial = None;
            if trial.generation != generation || !(trial.begins || trial.met) {
                continue;
            }
            let same = trial.begins && trial.met;
            let claimed = self.claim.is_some();
            if same && (claimed || half.framer.phase() == Phase::Unsure) {
                continue;
            }
            self.verdicts.what[d] = if same { handed::RIGHT } else { handed::WRONG };
            self.verdicts.from[d] = trial.from;
            judged = true;
        }
        judged
    }
}
