//! Runs the framer over the current block: heads line by line, and the part of a body that ships.

use super::{
    env::{Env, Verified, View},
    state::{Scratch, met, other_side, side},
};
use crate::{
    framer::{self, Event, Phase},
    record::flag,
};

/// Number of head lines that one step frames.
pub(super) const LINES_AT_ONCE: u32 = 8;

/// Runs one step of the framer over the block and stores what it found in [`Scratch::met`].
///
/// A separate function, so that the kernel's verifier walks each of its paths once and not again
/// with each path of what follows.
#[inline(always)]
pub fn frame_step<E: Verified>(s: &mut Scratch) {
    // The queue and the framer are both in the flow; the window is the block.
    let (mut framer, mut queue) = (side(s).framer.tentative(), s.flow.queue);
    let step = framer.step_in(&mut queue, &View::<E>::new(&s.block), s.cursor, s.loaded);
    side(s).framer.adopt(framer);
    s.flow.queue = queue;
    if s.cursor == 0 && framer.is_at_start_line() {
        s.record_flags |= u32::from(flag::HEAD_BEGINS);
    }
    s.cursor = s.cursor.wrapping_add(step.taken);
    // Use only the kind of event and the state of the framer: the data of other variants is
    // uninitialised, and the verifier rejects copying it.
    s.met = match step.event {
        // If this answers HEAD after all, skipping until the close would hide all that follows. The host,
        // which knows the request if one was seen, hands the framing back.
        Some(Event::BodyBegins { .. })
            if framer.phase() == Phase::UntilClose && other_side(s).framer.has_framed() =>
        {
            met::LOST
        }
        None | Some(Event::BodyBegins { .. } | Event::MessageEnds | Event::Preface) => 0,
        Some(Event::HeadBegins { .. }) if framer.is_at_start_line() => met::HEAD_BEGINS,
        // Where a body was possible, the status line may be part of it: nothing after it is proven.
        Some(Event::HeadBegins { .. }) => met::LOST,
        Some(Event::HeadEnds { .. }) => {
            let bad = framer.flags() & framer::flag::BAD_STATUS != 0;
            met::HEAD_ENDS
                | if bad { met::BAD_STATUS } else { 0 }
                | match framer.phase() {
                    Phase::Opaque => met::TUNNEL,
                    Phase::Unsure => met::LOST,
                    _ => 0,
                }
        }
        Some(Event::NotHttp { .. }) if framer.has_framed() => met::NOT_HTTP,
        Some(Event::NotHttp { .. }) => met::NEVER_HTTP,
        Some(Event::Lost) => met::LOST,
    };
}

/// Number of the next body bytes that must ship.
#[inline(always)]
pub(super) fn wanted<E: Env>(s: &mut Scratch, env: &E) -> u32 {
    if env.ships_bodies() && is_response(s) && side(s).framer.phase() != Phase::Opaque {
        s.flow.wanted
    } else {
        0
    }
}

#[inline(always)]
pub(super) fn is_response(s: &mut Scratch) -> bool {
    matches!(side(s).framer.is_response(), Some(true))
}

/// Takes the bytes of the block that are wanted body: they ship like a head.
///
/// A separate function because the kernel's stack is small, like [`frame_step`].
#[inline(always)]
pub fn take_body(s: &mut Scratch) {
    let mut n = s.loaded.saturating_sub(s.cursor);
    let wanted = s.flow.wanted;
    if wanted < n {
        n = wanted;
    }
    let skippable = side(s).framer.skippable();
    if skippable < u64::from(n) {
        n = skippable as u32;
    }
    side(s).framer.skip(u64::from(n));
    s.flow.wanted = wanted.saturating_sub(n);
    s.cursor = s.cursor.wrapping_add(n);
}
