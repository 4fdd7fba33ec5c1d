//! One step over a segment: load, frame, ship. Each does bounded work, so that the kernel's
//! verifier sees one step and not the loop.

use super::{
    admit::insert,
    env::Env,
    frame::{LINES_AT_ONCE, is_response, wanted},
    raw::raw,
    resync::fail_trial,
    segment::load,
    ship::{ship_all, ship_pending, ship_start},
    state::{Scratch, held, met, mode, other_side, side, side_flag, unreported},
};
use crate::{
    counter::Counter,
    framer::Phase,
    record::{HEADER_LEN, flag},
};

/// Takes one step. Returns `false` when the segment is done.
#[inline(always)]
pub fn step<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    if s.steps == 0 {
        return out_of_steps(s, env);
    }
    s.steps -= 1;
    match s.mode {
        mode::FRAME => frame(s, env),
        mode::RAW => raw(s, env),
        _ => probe(s, env),
    }
}

/// The budget is spent: ships what is pending, and the rest as it is.
#[inline(always)]
fn out_of_steps<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    if s.mode == mode::PROBE {
        s.delete = 2;
        return false;
    }
    if s.mode == mode::FRAME {
        env.count(Counter::StepBudget, 1);
        lose(s, env);
    } else if s.in_order != 0 {
        fail_trial(s);
    }
    // Each of these ships a block; a segment has at most sixteen.
    s.steps = 64;
    true
}

/// Frames one line, or skips one body.
#[inline(always)]
fn frame<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    let here = s.at.wrapping_add(s.cursor);
    let skippable = side(s).framer.skippable();
    if skippable > 0 {
        if wanted(s, env) == 0 {
            return skip_body(s, env, here, skippable);
        }
        if s.cursor < s.loaded {
            E::take_body(s);
            return true;
        }
    }
    if s.cursor >= s.loaded {
        ship_pending(s, env, 0);
        s.at = here;
        if here >= s.end {
            return done(s);
        }
        let end = s.end;
        if !load(s, env, end) {
            // Bytes that cannot be read are lost to the host too.
            s.at = s.end;
            s.flow.queue.set_unknown();
            side(s).framer.lose();
            env.count(Counter::BecameUnsure, 1);
            let next = s.seq.wrapping_add(s.end);
            side(s).reported = next;
            return done(s);
        }
        if s.at == 0 {
            s.record_flags |= u32::from(flag::SEGMENT_BEGINS);
        }
        if env.ships_bodies() && side(s).framer.skippable() > 0 {
            // Wanted body is taken in its own step.
            return true;
        }
    }
    // Several head lines at once: returning here for each costs as much as the line itself.
    let mut lines = 0;
    while lines < LINES_AT_ONCE {
        E::frame_step(s);
        if s.met != 0 {
            return happened(s, env);
        }
        if s.cursor >= s.loaded || side(s).framer.phase() != Phase::Head {
            break;
        }
        lines += 1;
    }
    true
}

#[inline(always)]
fn happened<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    let met = s.met;
    if met & met::HEAD_ENDS != 0 {
        s.heads += 1;
        if env.ships_bodies() && is_response(s) {
            let status = side(s).framer.status();
            s.flow.wanted = env.body_bytes(status);
        }
    }
    if met & met::BAD_STATUS != 0 {
        env.count(Counter::BadStatusLine, 1);
    }
    if met & met::TUNNEL != 0 {
        other_side(s).framer.set_opaque();
    }
    if met & met::NEVER_HTTP != 0 && other_side(s).framer.is_response().is_none() {
        let peer = other_side(s);
        let silent = peer.framer.phase() == Phase::Idle;
        let shipped = peer.framer.phase() == Phase::Unsure && peer.next != peer.floor;
        if !silent || !side(s).framer.begins_with_capital() {
            if !shipped && s.at == 0 && side(s).flags & side_flag::AT_START == 0 {
                return look_again(s);
            }
            // Not HTTP/1.x: drop the flow.
            s.delete = 2;
            env.count(Counter::NotHttp, 1);
            if !shipped {
                return false;
            }
            // It answers a line that was shipped: the host must see that the answer is not
            // HTTP/1.x.
        }
        // Otherwise it is the first line of a client, which a server may answer in HTTP/1.x:
        // HTTP/0.9 or another protocol. It ships, and so does everything until the server has
        // answered.
        s.cursor = 0;
        s.in_order = 1;
    }
    if met & (met::LOST | met::NOT_HTTP | met::NEVER_HTTP) != 0 {
        let at_status = s.at == 0 && s.cursor == PEEKED;
        if at_status && side(s).framer.phase() == Phase::StartLine {
            // The segment begins with the status line: nothing of it has shipped, and it may begin
            // a trial.
            s.cursor = 0;
            s.in_order = 1;
        }
        lose(s, env);
    }
    true
}

/// Number of bytes of a status line after which [`Phase::Peek`] recognises it.
const PEEKED: u32 = 12;

/// Handles a segment that does not continue what an earlier segment began. It may begin a message
/// itself, like any segment of a connection that is not followed.
#[inline(always)]
fn look_again(s: &mut Scratch) -> bool {
    side(s).framer.restart();
    s.flow.queue.set_unknown();
    s.cursor = 0;
    s.mode = mode::PROBE;
    true
}

/// Framing is lost here: ships what is pending as framed, and the rest of the segment as it is.
#[inline(always)]
fn lose<E: Env>(s: &mut Scratch, env: &mut E) {
    ship_pending(s, env, 0);
    s.at = s.at.wrapping_add(s.cursor);
    s.loaded = 0;
    s.cursor = 0;
    side(s).framer.lose();
    s.flow.queue.set_unknown();
    env.count(Counter::BecameUnsure, 1);
    ship_all(s);
}

/// Skips body: `skippable` bytes from payload offset `here` on.
#[inline(always)]
fn skip_body<E: Env>(s: &mut Scratch, env: &mut E, here: u32, skippable: u64) -> bool {
    let left = s.end.saturating_sub(here);
    let n = if skippable < u64::from(left) { skippable as u32 } else { left };
    if n == 0 {
        ship_pending(s, env, 0);
        s.at = s.end;
        return done(s);
    }
    let in_block = s.loaded.saturating_sub(s.cursor);
    let ended = side(s).framer.skip(u64::from(n)).is_some();
    if n <= in_block && n < HEADER_LEN as u32 {
        // Shorter than a record header and already loaded: ship it too.
        s.cursor = s.cursor.wrapping_add(n);
        return true;
    }
    env.count(Counter::BodySkipped, n);
    if ended {
        s.unreported = unreported::END;
    }
    ship_pending(s, env, n);
    s.at = here.wrapping_add(n);
    s.loaded = 0;
    s.cursor = 0;
    if s.at >= s.end { done(s) } else { true }
}

/// Everything in the segment is handled.
#[inline(always)]
fn done(s: &mut Scratch) -> bool {
    let next = s.seq.wrapping_add(s.end);
    side(s).next = next;
    false
}

/// Searches the first block of the segment for the end of a request line. Without one, a connection
/// is not admitted, and a connection without any HTTP/1.x so far is dropped.
#[inline(always)]
fn probe<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    if s.cursor >= s.loaded {
        let end = s.end;
        if s.cursor > 0 || !load(s, env, end) {
            s.delete = 2;
            env.count(Counter::NotHttp, 1);
            return false;
        }
    }
    E::frame_step(s);
    if s.met & (met::NOT_HTTP | met::NEVER_HTTP) != 0 {
        s.delete = 2;
        env.count(Counter::NotHttp, 1);
        return false;
    }
    if side(s).framer.phase() != Phase::Head {
        return true;
    }
    side(s).framer.lose();
    env.count(Counter::BecameUnsure, 1);
    s.record_flags |= u32::from(flag::HEAD_BEGINS);
    ship_all(s);
    s.in_order = 1;
    s.at = 0;
    s.loaded = 0;
    s.cursor = 0;
    if s.held != held::NOT {
        return true;
    }
    ship_start(s, env);
    // The record used only the header of the block: the bytes must be loaded again.
    insert(s, env)
}
