//! The two ways to regain lost framing: the host hands its position back, or it confirms a trial.
//!
//! Each covers what the other cannot. On a connection whose messages follow each other without a
//! pause, a hand-back always comes too late, so only a trial works. In a direction inside one long
//! body no head begins a trial, so only a hand-back works. Nothing is skipped before either.

use super::{
    env::Env,
    frame::LINES_AT_ONCE,
    state::{Handed, Scratch, Side, handed, met, side, side_flag},
};
use crate::{counter::Counter, flow::seq_distance, framer::Phase, record::flag};

/// Adopts the host's framing: all of it if both directions are still at the reported position, or
/// only body has arrived since; otherwise only the verdicts on their trials.
#[inline(always)]
pub(super) fn take_back<E: Env>(s: &mut Scratch, env: &mut E) {
    if !env.hand_back(&s.key, &mut s.hand_back) || s.hand_back.generation != s.flow.generation {
        return;
    }
    let inside = |handed: &Handed, side: &Side| {
        side.flags & side_flag::KNOWN != 0
            && seq_distance(handed.from, side.next) >= 0
            && seq_distance(side.next, handed.to) >= 0
    };
    let what = s.hand_back.what;
    let [a, b] = &s.hand_back.sides;
    if what & handed::PLACES != 0 && inside(a, &s.flow.sides[0]) && inside(b, &s.flow.sides[1]) {
        take_side(&mut s.flow.sides[0], &s.hand_back.sides[0]);
        take_side(&mut s.flow.sides[1], &s.hand_back.sides[1]);
        s.flow.queue = s.hand_back.queue;
        env.count(Counter::HandedBack, 1);
        return;
    }
    let [a, b] = s.hand_back.trials;
    end_trial(&mut s.flow.sides[0], a, what, env);
    end_trial(&mut s.flow.sides[1], b, what >> 1, env);
    // A confirmed trial may have met the message that makes the connection a tunnel.
    let [a, b] = &mut s.flow.sides;
    if a.framer.phase() == Phase::Opaque {
        b.framer.set_opaque();
    } else if b.framer.phase() == Phase::Opaque {
        a.framer.set_opaque();
    }
}

#[inline(always)]
fn take_side(side: &mut Side, handed: &Handed) {
    side.framer = handed.framer;
    side.framer.skip(u64::from(side.next.wrapping_sub(handed.from)));
    side.unsure_bytes = 0;
}

/// Applies the host's verdict on the trial that began at `from`. The trial is right or wrong as a
/// whole, however far it has continued: both ran the same code over the same bytes.
#[inline(always)]
fn end_trial<E: Env>(side: &mut Side, from: u32, what: u32, env: &mut E) {
    if !side.framer.is_on_trial() || side.framer.trial_from() != from {
        return;
    }
    if what & handed::RIGHT != 0 {
        side.framer.trust();
        side.unsure_bytes = 0;
        env.count(Counter::TrialRight, 1);
    } else if what & handed::WRONG != 0 {
        side.framer.lose();
        env.count(Counter::TrialWrong, 1);
    }
}

/// Frames part of the block of a direction on trial. All of the block ships or is dropped
/// regardless of the result. Returns `false` when nothing of it is left.
#[inline(always)]
pub(super) fn try_out<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    let left = s.loaded.saturating_sub(s.cursor);
    let own = side(s);
    if left == 0 || !own.framer.is_on_trial() {
        return false;
    }
    let skippable = own.framer.tentative().skippable();
    if skippable > 0 {
        let n = if skippable < u64::from(left) { skippable as u32 } else { left };
        own.framer.pass_on_trial(u64::from(n));
        if env.ships_bodies() {
            s.flow.wanted = s.flow.wanted.saturating_sub(n);
        }
        s.cursor = s.cursor.wrapping_add(n);
        return true;
    }
    let mut lines = 0;
    while lines < LINES_AT_ONCE {
        E::frame_step(s);
        let framer = side(s).framer.tentative();
        if s.met & (met::LOST | met::NOT_HTTP | met::NEVER_HTTP) != 0 {
            fail_trial(s);
            break;
        }
        if s.met & met::HEAD_ENDS != 0
            && env.ships_bodies()
            && matches!(framer.is_response(), Some(true))
        {
            s.flow.wanted = env.body_bytes(framer.status());
        }
        if s.cursor >= s.loaded || framer.phase() != Phase::Head {
            break;
        }
        lines += 1;
    }
    true
}

/// Adds to the record what the host needs to confirm a trial. A start line that is incomplete in
/// the segment where the trial began ends the trial: a long line of text is not waited for.
#[inline(always)]
pub(super) fn report_trial(s: &mut Scratch) {
    let (seq, in_order) = (s.seq, s.in_order != 0);
    let own = side(s);
    let from = own.framer.trial_from();
    if !in_order || !own.framer.is_on_trial() {
        return;
    }
    if from == seq && own.framer.tentative().phase() == Phase::StartLine {
        own.framer.lose();
        return;
    }
    s.block.header.trial_from = from;
    s.record_flags |= u32::from(flag::TRIAL);
}

/// Ends the current trial: what it met shows that it did not follow the stream to here.
#[inline(always)]
pub(super) fn fail_trial(s: &mut Scratch) {
    let own = side(s);
    if own.framer.is_on_trial() {
        own.framer.lose();
    }
}
