//! One step over a segment: load, frame, ship. Bounded work each, so that the kernel's verifier
//! sees one of them and not the loop.

use super::{
    BLOCK_BYTES, Env, Scratch, Verified, View, admit::insert, fill_header, held, met, mode,
    other_side, raw::raw, resync::fail_trial, side, side_flag, syn::both, untold,
};
use crate::{
    counter::Counter,
    flow::seq_distance,
    framer::{self, Event, Phase},
    record::{HEADER_LEN, flag},
    walk::tcp_flag,
};

/// Takes one step; `false` when the segment is done.
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

/// The budget is spent: what is pending ships, the rest ships as it is.
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

/// Loads the next block of the payload.
#[inline(always)]
pub(super) fn load<E: Env>(s: &mut Scratch, env: &mut E, until: u32) -> bool {
    let left = until.saturating_sub(s.at);
    let len = if left < BLOCK_BYTES {
        left
    } else {
        BLOCK_BYTES
    };
    if len == 0 {
        return false;
    }
    // `mask(len - 1) + 1` tells the verifier that it is neither zero nor more than the block.
    let len = E::mask(len - 1, BLOCK_BYTES - 1) + 1;
    let offset = s.payload_offset.wrapping_add(s.at);
    if !env.load(&mut s.block, offset, len) {
        env.count(Counter::LoadFailed, 1);
        return false;
    }
    s.loaded = len;
    s.cursor = 0;
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
            side(s).told = next;
            return done(s);
        }
        if s.at == 0 {
            s.record_flags |= u32::from(flag::SEGMENT_BEGINS);
        }
        if env.ships_bodies() && side(s).framer.skippable() > 0 {
            // Body that is wanted: taken in a step of its own.
            return true;
        }
    }
    // Several lines of a head at once: coming back for each costs as much as the line.
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

/// Lines of a head that one step frames.
pub(super) const LINES_AT_ONCE: u32 = 8;

/// One step of the framer over the block; what it met goes to [`Scratch::met`].
///
/// Apart from the rest so that the kernel's verifier walks each of its paths once, and not again
/// together with each path of what comes after.
#[inline(always)]
pub fn frame_step<E: Verified>(s: &mut Scratch) {
    // The queue and the framer both live in the flow; the window is the block.
    let (mut framer, mut queue) = (side(s).framer.on_its_word(), s.flow.queue);
    let step = framer.step_in(&mut queue, &View::<E>::new(&s.block), s.cursor, s.loaded);
    side(s).framer.go_on(framer);
    s.flow.queue = queue;
    if s.cursor == 0 && framer.is_at_start_line() {
        s.record_flags |= u32::from(flag::HEAD_BEGINS);
    }
    s.cursor = s.cursor.wrapping_add(step.taken);
    // Only which event it is, and the framer's state, are looked at: what an event carries is
    // undefined in the others, and the verifier refuses to move what is.
    s.met = match step.event {
        None | Some(Event::BodyBegins { .. } | Event::MessageEnds | Event::Preface) => 0,
        Some(Event::HeadBegins { .. }) if framer.is_at_start_line() => met::HEAD_BEGINS,
        // Where a body was possible a status line may be a body's: nothing after it is proven.
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
            // Not HTTP/1.x: the flow is dropped.
            s.delete = 2;
            env.count(Counter::NotHttp, 1);
            if !shipped {
                return false;
            }
            // It answers a line that was shipped: the host must see that HTTP/1.x does not.
        }
        // Otherwise a client's first line, which a server may answer in HTTP/1.x: HTTP/0.9's, or
        // another protocol's. It ships, and so does all else until the server has spoken.
        s.cursor = 0;
        s.in_order = 1;
    }
    if met & (met::LOST | met::NOT_HTTP | met::NEVER_HTTP) != 0 {
        let at_status = s.at == 0 && s.cursor == PEEKED;
        if at_status && side(s).framer.phase() == Phase::StartLine {
            // A segment begins with the status line: nothing of it has shipped, and it may begin a
            // trial.
            s.cursor = 0;
            s.in_order = 1;
        }
        lose(s, env);
    }
    true
}

/// Bytes of a status line after which [`Phase::Peek`] knows it for one.
const PEEKED: u32 = 12;

/// What a segment before this one began does not go on with it. It may begin a message itself, as
/// any segment of a connection that is not followed may.
#[inline(always)]
fn look_again(s: &mut Scratch) -> bool {
    side(s).framer.restart();
    s.flow.queue.set_unknown();
    s.cursor = 0;
    s.mode = mode::PROBE;
    true
}

/// Framing is lost here: what is pending ships as framed, the rest of the segment as it is.
#[inline(always)]
fn lose<E: Env>(s: &mut Scratch, env: &mut E) {
    ship_pending(s, env, 0);
    s.at = s.at.wrapping_add(s.cursor);
    s.loaded = 0;
    s.cursor = 0;
    side(s).framer.lose();
    s.flow.queue.set_unknown();
    env.count(Counter::BecameUnsure, 1);
    s.mode = mode::RAW;
    s.raw_end = s.end;
    s.frame_from = s.end;
}

#[inline(always)]
fn is_response(s: &mut Scratch) -> bool {
    matches!(side(s).framer.is_response(), Some(true))
}

/// How many of the body bytes that come next are to ship.
#[inline(always)]
pub(super) fn wanted<E: Env>(s: &mut Scratch, env: &E) -> u32 {
    if env.ships_bodies() && is_response(s) && side(s).framer.phase() != Phase::Opaque {
        s.flow.wanted
    } else {
        0
    }
}

/// Bytes of the block are body that is wanted: they ship as a head does.
///
/// Apart from the rest for the sake of the kernel's stack, as [`frame_step`] is.
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

/// `skippable` bytes from payload offset `here` are body.
#[inline(always)]
fn skip_body<E: Env>(s: &mut Scratch, env: &mut E, here: u32, skippable: u64) -> bool {
    let left = s.end.saturating_sub(here);
    let n = if skippable < u64::from(left) {
        skippable as u32
    } else {
        left
    };
    if n == 0 {
        ship_pending(s, env, 0);
        s.at = s.end;
        return done(s);
    }
    let in_block = s.loaded.saturating_sub(s.cursor);
    let ended = side(s).framer.skip(u64::from(n)).is_some();
    if n <= in_block && n < HEADER_LEN as u32 {
        // Shorter than a record's header, and at hand: it ships along.
        s.cursor = s.cursor.wrapping_add(n);
        return true;
    }
    env.count(Counter::BodySkipped, n);
    if ended {
        s.untold = untold::END;
    }
    ship_pending(s, env, n);
    s.at = here.wrapping_add(n);
    s.loaded = 0;
    s.cursor = 0;
    if s.at >= s.end { done(s) } else { true }
}

/// Everything of the segment is handled.
#[inline(always)]
fn done(s: &mut Scratch) -> bool {
    let next = s.seq.wrapping_add(s.end);
    side(s).next = next;
    false
}

/// Ships the framed bytes of the block, and with them that `skipped` bytes after them are body.
#[inline(always)]
fn ship_pending<E: Env>(s: &mut Scratch, env: &mut E, skipped: u32) {
    if s.cursor == 0 {
        return;
    }
    let seq = s.seq.wrapping_add(s.at);
    env.count(Counter::HeadShipped, s.cursor);
    let own = side(s);
    let told = own.told;
    let end = seq.wrapping_add(s.cursor);
    ship(s, env, seq, told, end.wrapping_add(skipped), 0);
}

/// Ships `cursor` bytes.
#[inline(always)]
pub(super) fn ship<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    seq: u32,
    skip_from: u32,
    skip_to: u32,
    extra: u16,
) {
    E::prepare_record(s, seq, skip_from, skip_to, extra);
    env.emit(&mut s.block);
}

/// Fills in what differs from record to record of a segment.
#[inline(always)]
pub fn prepare_record(s: &mut Scratch, seq: u32, skip_from: u32, skip_to: u32, extra: u16) {
    fill_header(s);
    let cursor = s.cursor;
    let own = side(s);
    let retransmissions = own.retransmissions;
    own.retransmissions = 0;
    // A FIN that comes before the data it ends stands further on than the stream's beginning.
    let goes_on = own.told == skip_from;
    own.told = skip_to;
    let mut flags = s.record_flags as u16 | extra;
    let own = side(s);
    if goes_on && own.flags & side_flag::AT_START != 0 {
        own.flags &= !side_flag::AT_START;
        flags |= flag::STREAM_BEGINS;
    }
    if s.flow.queue.is_unknown() {
        flags |= flag::ORDER_UNKNOWN;
    }
    let header = &mut s.block.header;
    header.seq = seq;
    header.skip_from = skip_from;
    header.skip_to = skip_to;
    header.len = cursor;
    header.flags = flags;
    header.retransmissions = retransmissions;
    header.generation = s.flow.generation;
    let first = header.interfaces[0];
    header.interfaces = s.flow.interfaces;
    if header.interfaces[0] != first && first != 0 {
        // This segment's own interface comes first.
        let others = s.flow.interfaces;
        header.interfaces = [
            first,
            others[0],
            if others[1] == first {
                others[2]
            } else {
                others[1]
            },
            if others[1] == first || others[2] == first {
                others[3]
            } else {
                others[2]
            },
        ];
    }
    s.flow.interfaces = [first, 0, 0, 0];
    s.record_flags &=
        !u32::from(flag::SEGMENT_BEGINS | flag::HEAD_BEGINS | flag::STREAM_BEGINS | flag::TRIAL);
    s.untold = untold::NOTHING;
}

/// How far behind its stream's beginning a segment may be that tells of it, in bytes: the SYN that
/// is remembered may be of an older connection.
pub(super) const NEAR_START: i32 = 1 << 20;

/// Ships no bytes, only where the stream begins that this segment is not the first of, when its SYN
/// was seen: the host must know that something is missing before it.
#[inline(always)]
pub(super) fn tell_start<E: Env>(s: &mut Scratch, env: &mut E) {
    if !E::FRAMES {
        // Whole connections ship; the small program's stack has no room for more.
        return;
    }
    let (known, first, peer_known, peer_first) = both(s);
    let past = seq_distance(first, s.seq);
    if !known || past <= 0 || past > NEAR_START {
        return;
    }
    E::fill_header(s);
    let header = &mut s.block.header;
    header.seq = first;
    header.skip_from = first;
    header.skip_to = first;
    header.flags |= flag::STREAM_BEGINS;
    // The first bytes acknowledge the peer's SYN; what this segment does is another matter.
    header.ack = peer_first;
    header.flags &= !flag::ACK;
    if peer_known {
        header.flags |= flag::ACK;
    }
    env.emit(&mut s.block);
}

/// Ships no bytes, only how a segment closes that somebody else holds the flow of: where either side
/// stands is not known here, so that nothing is said to be skipped.
#[inline(always)]
pub(super) fn tell_end<E: Env>(s: &mut Scratch, env: &mut E) {
    s.cursor = 0;
    // The place is not the SYN's.
    s.record_flags &= !u32::from(flag::SYN);
    let (seq, extra) = (s.seq.wrapping_add(s.end), closing(s));
    ship(s, env, seq, seq, seq, flag::UNFILTERED | extra);
}

/// The flags of a record that tells how the segment closes.
#[inline(always)]
const fn closing(s: &Scratch) -> u16 {
    let tcp_flags = s.tcp_flags as u8;
    let fin = if tcp_flags & tcp_flag::FIN != 0 {
        flag::FIN
    } else {
        0
    };
    let rst = if tcp_flags & tcp_flag::RST != 0 {
        flag::RST
    } else {
        0
    };
    fin | rst
}

/// Ships no bytes, only where the direction's stream begins.
#[inline(always)]
pub(super) fn emit_start<E: Env>(s: &mut Scratch, env: &mut E) {
    s.cursor = 0;
    let first = side(s).next;
    // It is not the first bytes that acknowledge what this segment does.
    let flags = s.record_flags;
    s.record_flags &= !u32::from(flag::ACK);
    ship(s, env, first, first, first, 0);
    s.record_flags = flags;
}

/// Ships no bytes, only that all up to `next` has passed.
#[inline(always)]
pub(super) fn emit_passed<E: Env>(s: &mut Scratch, env: &mut E) {
    s.cursor = 0;
    let own = side(s);
    let (told, next) = (own.told, own.next);
    ship(s, env, next, told, next, 0);
}

/// Ships no bytes, only that all up to `next` has passed, and how the segment closes.
#[inline(always)]
pub(super) fn emit_position<E: Env>(s: &mut Scratch, env: &mut E) {
    s.cursor = 0;
    let extra = closing(s);
    let end = s.seq.wrapping_add(s.end);
    let own = side(s);
    let (told, next) = (own.told, own.next);
    // A FIN or RST stands at its own place, which need not be where we are.
    let seq = if extra != 0 { end } else { next };
    let in_order = seq == next && own.flags & side_flag::KNOWN != 0;
    let skip_from = if in_order && E::FRAMES { told } else { seq };
    // Elsewhere it does not show that what lies between was there.
    let extra = if in_order {
        extra
    } else {
        extra | flag::UNFILTERED
    };
    ship(s, env, seq, skip_from, seq, extra);
    if !in_order {
        side(s).told = told;
    }
}

/// Looks for the end of a request line in the segment's first block; a connection that was not
/// followed is admitted only with one, and one of which nothing was HTTP/1.x goes on only with one.
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
    s.mode = mode::RAW;
    s.in_order = 1;
    s.at = 0;
    s.loaded = 0;
    s.cursor = 0;
    s.raw_end = s.end;
    s.frame_from = s.end;
    if s.held != held::NOT {
        return true;
    }
    tell_start(s, env);
    // The record took the block's header alone: the bytes are loaded anew.
    insert(s, env)
}
