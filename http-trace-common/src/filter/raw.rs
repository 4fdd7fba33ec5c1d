//! Segments that ship as they are: of directions whose framing is lost or that somebody else holds,
//! and bytes below the floor. Those of a direction whose framing is lost are framed on trial, whatever
//! comes of it. Nothing is skipped here.

use super::{
    Env, Scratch, View, held, met, mode, side,
    steps::{LINES_AT_ONCE, load, ship},
};
use crate::{counter::Counter, flow::seq_distance, framer::Phase, record::flag};

/// Ships a block of the segment as it is; `false` when the segment is done.
#[inline(always)]
pub fn raw<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    if s.at >= s.raw_end {
        if s.frame_from >= s.end {
            return raw_done(s);
        }
        s.mode = mode::FRAME;
        s.at = s.frame_from;
        s.loaded = 0;
        s.cursor = 0;
        // Above `next` an unsure side goes on as it is.
        if !E::FRAMES || side(s).framer.phase() == Phase::Unsure {
            s.mode = mode::RAW;
            s.raw_end = s.end;
            s.frame_from = s.end;
            s.in_order = 1;
        }
        return true;
    }
    if !E::FRAMES || s.loaded == 0 {
        let until = s.raw_end;
        if !load(s, env, until) {
            s.at = s.raw_end;
            fail_trial(s);
            return true;
        }
        if s.at == 0 {
            begin_raw::<E>(s);
        }
    }
    if E::FRAMES && s.in_order != 0 && try_out(s, env) {
        return true;
    }
    let seq = s.seq.wrapping_add(s.at);
    s.cursor = s.loaded;
    if E::FRAMES && s.at == 0 {
        tell_trial(s);
    }
    if E::FRAMES && s.dropped != 0 {
        let end = seq.wrapping_add(s.loaded);
        side(s).told = end;
        s.at = s.at.wrapping_add(s.loaded);
        s.loaded = 0;
        s.cursor = 0;
        return true;
    }
    let own = side(s);
    let (told, below) = (own.told, seq_distance(seq, own.floor) > 0);
    let end = seq.wrapping_add(s.loaded);
    if s.held == held::FLOW && !below {
        // What was skipped between the last record and here was proven to be body.
        let skip_from = if E::FRAMES { told } else { seq };
        ship(s, env, seq, skip_from, end, flag::UNFILTERED);
    } else {
        // Below the floor, or not ours: what the flow has told stays as it was.
        ship(s, env, seq, seq, end, flag::UNFILTERED);
        side(s).told = told;
    }
    s.at = s.at.wrapping_add(s.loaded);
    s.loaded = 0;
    s.cursor = 0;
    true
}

/// What a segment has left after [`super::RAW_STEPS`] is not seen by anybody, and counted.
#[inline(always)]
pub fn drop_rest<E: Env>(s: &mut Scratch, env: &mut E) {
    env.count(Counter::UnsureDropped, 1);
    env.count(Counter::UnsureDroppedBytes, s.end.saturating_sub(s.at));
    raw_done(s);
    let own = side(s);
    own.told = own.next;
}

#[inline(always)]
fn raw_done(s: &mut Scratch) -> bool {
    if s.held == held::FLOW {
        let end = s.seq.wrapping_add(s.end);
        let own = side(s);
        if seq_distance(own.next, end) > 0 {
            own.next = end;
        }
    }
    false
}

/// The first bytes of a segment that ships as it is. Where they look like a start line a trial may
/// begin; whether it is one, the framer says.
#[inline(always)]
fn begin_raw<E: Env>(s: &mut Scratch) {
    s.record_flags |= u32::from(flag::SEGMENT_BEGINS);
    let like = looks_like_start_line::<E>(s);
    let (seq, in_order) = (s.seq, s.in_order != 0);
    let own = side(s);
    if E::FRAMES
        && in_order
        && like != Like::Nothing
        && own.framer.may_begin_trial(like == Like::Status)
    {
        own.framer.begin_trial(seq);
        s.flow.queue.set_unknown();
    } else if like != Like::Nothing && !own.framer.is_on_trial() {
        s.record_flags |= u32::from(flag::HEAD_BEGINS);
    }
}

/// A direction on trial: frames some of the block, of which all ships or drops whatever comes of it;
/// `false` when there is nothing left of it.
#[inline(always)]
fn try_out<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    let left = s.loaded.saturating_sub(s.cursor);
    let own = side(s);
    if left == 0 || !own.framer.is_on_trial() {
        return false;
    }
    let skippable = own.framer.on_its_word().skippable();
    if skippable > 0 {
        let n = if skippable < u64::from(left) {
            skippable as u32
        } else {
            left
        };
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
        let framer = side(s).framer.on_its_word();
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

/// What the host must know of a trial to confirm it. A start line that is not whole where the trial
/// began was none: a long line of text is not waited for.
#[inline(always)]
fn tell_trial(s: &mut Scratch) {
    let (seq, in_order) = (s.seq, s.in_order != 0);
    let own = side(s);
    let from = own.framer.trial_from();
    if !in_order || !own.framer.is_on_trial() {
        return;
    }
    if from == seq && own.framer.on_its_word().phase() == Phase::StartLine {
        own.framer.lose();
        return;
    }
    s.block.header.trial_from = from;
    s.record_flags |= u32::from(flag::TRIAL);
}

/// The trial at hand has met what it cannot have followed to here.
#[inline(always)]
pub(super) fn fail_trial(s: &mut Scratch) {
    let own = side(s);
    if own.framer.is_on_trial() {
        own.framer.lose();
    }
}

/// How an unfiltered block begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Like {
    Status,
    Other,
    Nothing,
}

/// Whether an unfiltered block begins as a start line does, so that the host may look for one.
#[inline(always)]
fn looks_like_start_line<E: Env>(s: &Scratch) -> Like {
    use crate::{framer::Window, start_line};
    let view = View::<E>::new(&s.block);
    let b = view.byte(0);
    let other = |yes| if yes { Like::Other } else { Like::Nothing };
    if s.loaded < 16 {
        return other(start_line::is_token(b));
    }
    if b == b'H' && start_line::status_in_words(view.word(0), view.word(8)).is_some() {
        return Like::Status;
    }
    other(start_line::is_token(b) && start_line::is_token(view.byte(1)))
}
