//! Segments that ship as they are: those of directions whose framing is lost or whose flow another context
//! holds, and bytes below the floor. A direction whose framing is lost is also framed on trial, which does
//! not affect what ships. Nothing is skipped here.

use super::{
    env::Env,
    first::first_words,
    resync::{fail_trial, report_trial, try_out},
    segment::load,
    ship::{ship, ship_all},
    state::{Scratch, held, mode, side},
};
use crate::{counter::Counter, flow::seq_distance, framer::Phase, record::flag};

/// Ships a block of the segment as it is. Returns `false` when the segment is done.
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
        // Above `next`, an unsure side continues as it is.
        if !E::FRAMES || side(s).framer.phase() == Phase::Unsure {
            ship_all(s);
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
            if is_copy(s) {
                let seq = s.seq;
                let compared = !E::FRAMES || side(s).ships_near(seq) || begins_as_head(s);
                if !compared || !env.unsure_budget(s.time_ns, s.loaded) {
                    return pass_copy(s);
                }
                s.raw_end = s.loaded;
            }
            begin_raw::<E>(s);
        }
    }
    if E::FRAMES && s.in_order != 0 && try_out(s, env) {
        return true;
    }
    let seq = s.seq.wrapping_add(s.at);
    s.cursor = s.loaded;
    if E::FRAMES && s.at == 0 {
        report_trial(s);
    }
    if E::FRAMES && s.dropped != 0 {
        let end = seq.wrapping_add(s.loaded);
        side(s).reported = end;
        s.at = s.at.wrapping_add(s.loaded);
        s.loaded = 0;
        s.cursor = 0;
        return true;
    }
    let own = side(s);
    let (reported, again) = (own.reported, seq_distance(seq, own.reported) > 0);
    let end = seq.wrapping_add(s.loaded);
    // Behind `reported`, or the flow is not claimed: `reported` stays as it was.
    let advances = s.held == held::FLOW && !again;
    // What was skipped between the last record and this one was proven to be body.
    let skips = E::FRAMES && advances;
    let skip_from = if skips { reported } else { seq };
    ship(s, env, seq, skip_from, end, flag::UNFILTERED);
    if !advances {
        side(s).reported = reported;
    }
    s.at = s.at.wrapping_add(s.loaded);
    s.loaded = 0;
    s.cursor = 0;
    true
}

/// Whether the current bytes were seen before, at the same hook, and are repeated. A segment that begins
/// like a start line or lies before shipped bytes ships all the same, up to a block of it: the receiver may
/// have rejected the first copy, so the host compares them.
#[inline(always)]
fn is_copy(s: &mut Scratch) -> bool {
    let (seq, held) = (s.seq, s.held);
    let own = side(s);
    held == held::FLOW && seq_distance(own.floor, seq) >= 0 && seq_distance(seq, own.next) > 0
}

/// Whether the current bytes begin with a capital letter and have a space among the next eight bytes: start
/// lines of the usual methods and of responses do, and few pieces of a body.
#[inline(always)]
fn begins_as_head(s: &Scratch) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let [first, second] = first_words(&s.block);
    // A space becomes zero, of which the lowest one sets its highest bit.
    let other = (first >> 8 | second << 56) ^ (ONES * 0x20);
    s.loaded >= 16
        && (first as u8).is_ascii_uppercase()
        && other.wrapping_sub(ONES) & !other & (ONES * 0x80) != 0
}

/// Counts the current copy without shipping it.
#[inline(always)]
fn pass_copy(s: &mut Scratch) -> bool {
    let own = side(s);
    own.retransmissions = own.retransmissions.saturating_add(1);
    s.at = s.raw_end;
    true
}

/// Counts what is left of a segment after [`super::RAW_STEPS`], which does not ship.
#[inline(always)]
pub fn drop_rest<E: Env>(s: &mut Scratch, env: &mut E) {
    env.count(Counter::UnsureDropped, 1);
    env.count(Counter::UnsureDroppedBytes, s.end.saturating_sub(s.at));
    raw_done(s);
    let own = side(s);
    own.reported = own.next;
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

/// Handles the first bytes of a segment that ships as it is. If they look like a start line, a trial may
/// begin; the framer decides whether it is one.
#[inline(always)]
fn begin_raw<E: Env>(s: &mut Scratch) {
    let like = looks_like_start_line(s);
    s.record_flags |= u32::from(flag::SEGMENT_BEGINS);
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

/// How an unfiltered block begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Like {
    Status,
    Other,
    Nothing,
}

/// Whether an unfiltered block begins like a start line, so that the host may look for one.
#[inline(always)]
fn looks_like_start_line(s: &Scratch) -> Like {
    use crate::start_line;
    let [first, second] = first_words(&s.block);
    let b = first as u8;
    let other = |yes| if yes { Like::Other } else { Like::Nothing };
    if s.loaded < 16 {
        return other(start_line::is_token(b));
    }
    if b == b'H' && start_line::status_in_words(first, second).is_some() {
        return Like::Status;
    }
    other(start_line::is_token(b) && start_line::is_token((first >> 8) as u8))
}
