//! Followed connections: which part of a segment is new, and what happens to a direction whose
//! framing is lost.

use super::{
    env::{Context, Env},
    first::First,
    frame::wanted,
    resync::take_back,
    segment::first_bytes,
    ship::{emit_passed, ship_all},
    state::{Continue, Scratch, held, mode, other_side, side, side_flag, unreported},
};
use crate::{
    config::FilterConfig,
    counter::Counter,
    flow::seq_distance,
    framer,
    walk::{Segment, tcp_flag},
};

/// Handles a segment of a followed connection whose flow is claimed.
#[inline(always)]
pub(super) fn known_flow<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    segment: &Segment,
    context: &Context,
) -> Continue {
    s.flow.last_seen_s = (context.time_ns / 1_000_000_000) as u32;
    note_interface(s, context.interface);
    if segment.flags & tcp_flag::SYN != 0 {
        s.flow.syn_pending = 1;
    }
    let closes = segment.flags & (tcp_flag::RST | tcp_flag::FIN) != 0;
    if s.flow.syn_pending != 0 || E::FRAMES && closes {
        env.syn(&s.key, &mut s.syn);
        if s.flow.syn_pending != 0 && E::after_syn(s) {
            s.held = held::FOR_ANOTHER;
            ship_all(s);
            return true;
        }
    }
    if closes || side(s).flags & side_flag::CLOSED != 0 {
        E::note_close(s);
    }
    if s.end == 0 {
        return false;
    }
    let seq = s.seq;
    let own = side(s);
    if own.flags & side_flag::KNOWN == 0 {
        // The first segment of this side; what came before is unknown.
        own.stand_at(seq);
        own.flags |= side_flag::KNOWN;
        own.framer.lose();
        s.flow.queue.set_unknown();
        env.count(Counter::BecameUnsure, 1);
    }
    let place = context.place();
    let own = side(s);
    let ahead = seq_distance(own.next, seq);
    if ahead >= 0 {
        own.place = place;
    }
    if ahead > 0 {
        pass_gap(s, env, ahead as u32);
    } else if ahead < 0
        && let Some(goes_on) = repeat(s, env, place, ahead.unsigned_abs())
    {
        return goes_on;
    }
    if !E::FRAMES {
        return unsure(s, env, config);
    }
    if side(s).framer.is_length_unbegun() && s.flow.queue.has_none() {
        // The client was answered before it sent any of the body, so another request may follow
        // instead. The host sees it and hands back the framing.
        side(s).framer.lose();
    }
    let left = s.end.saturating_sub(s.at);
    if side(s).framer.skippable() >= u64::from(left) && wanted(s, env) == 0 {
        // Only body, like most segments of a download: nothing to load, nothing to ship.
        if side(s).framer.skip(u64::from(left)).is_some() {
            s.unreported = unreported::END;
        }
        env.count(Counter::BodySkipped, left);
        let next = s.seq.wrapping_add(s.end);
        side(s).next = next;
        return false;
    }
    let phase = side(s).framer.phase();
    if phase == framer::Phase::Unsure {
        return unsure(s, env, config);
    }
    true
}

/// Handles `ahead` bytes before the segment that were not seen.
#[inline(always)]
fn pass_gap<E: Env>(s: &mut Scratch, env: &mut E, ahead: u32) {
    let seq = s.seq;
    let own = side(s);
    let gap = u64::from(ahead);
    let is_body = own.framer.skippable() >= gap;
    // Of a body of which nothing came since its head, the bytes may have come before it.
    let has_begun = !own.framer.is_length_unbegun();
    let ends = is_body && own.framer.skip(gap).is_some();
    if is_body && !(ends && has_begun) {
        own.next = seq;
        if ends {
            s.unreported = unreported::END;
        }
        return;
    }
    // If the first bytes of the stream are late or lost, the host must know where it begins; and what was
    // skipped up to the gap was body nevertheless. When a body ended in it is not known.
    let at_start = own.flags & side_flag::AT_START != 0;
    if at_start || E::FRAMES && own.reported != own.next {
        emit_passed(s, env);
    }
    let own = side(s);
    own.stand_at(seq);
    // The first bytes of the stream were not seen; what ships next is not its beginning.
    own.flags &= !side_flag::AT_START;
    if !is_body {
        if !own.framer.pass_on_trial(gap) {
            own.framer.lose();
        }
        s.flow.queue.set_unknown();
        env.count(Counter::BecameUnsure, 1);
    }
}

/// Handles a segment whose first `past` bytes, or more, were handled before; `place` is where it was seen. `None` if it is
/// framed behind them as usual, else what [`known_flow`] returns.
#[inline(always)]
fn repeat<E: Env>(s: &mut Scratch, env: &mut E, place: u32, past: u32) -> Option<Continue> {
    let (seq, end) = (s.seq, s.end);
    let own = side(s);
    let copied = if past < end { past } else { end };
    let below_floor = seq_distance(seq, own.floor);
    if below_floor <= 0 && copied == end {
        env.count(Counter::Copies, 1);
    }
    // Bytes below the floor were never seen and ship as they are. Repeated bytes may differ
    // from the first copy, so they are examined (`raw`). Bytes above `next` are framed as
    // usual; those of an unsure side only within its budget.
    let is_bounded = copied == end || own.framer.phase() != framer::Phase::Unsure;
    if below_floor > 0 || own.place == place && is_bounded {
        let until = below_floor as u32;
        s.mode = mode::RAW;
        s.raw_end = if below_floor > 0 && until < end { until } else { copied };
        s.frame_from = copied;
        return Some(true);
    }
    if copied == end {
        return Some(false);
    }
    s.at = past;
    None
}

/// Handles a side whose framing is lost: everything ships, within a budget, until the host hands
/// the framing back. Meanwhile the side is framed on trial.
#[inline(always)]
pub(super) fn unsure<E: Env>(s: &mut Scratch, env: &mut E, config: &FilterConfig) -> Continue {
    if E::FRAMES {
        take_back(s, env);
        if side(s).framer.phase() != framer::Phase::Unsure {
            return true;
        }
        s.in_order = 1;
    }
    let n = s.end.saturating_sub(s.at);
    let own = side(s);
    let spent = own.unsure_bytes >= config.unsure_flow_bytes;
    own.unsure_bytes = own.unsure_bytes.saturating_add(n);
    if spent && !env.unsure_budget(s.time_ns, n) {
        let first = first_bytes::<E>(s, env);
        if s.at != 0 || !matches!(first, First::Status | First::Request) {
            env.count(Counter::UnsureDropped, 1);
            env.count(Counter::UnsureDroppedBytes, n);
            let own = side(s);
            if !own.framer.is_on_trial() || own.framer.pass_on_trial(u64::from(n)) {
                let next = s.seq.wrapping_add(s.end);
                let own = side(s);
                own.next = next;
                own.reported = next;
                return false;
            }
            s.dropped = 1;
        }
    }
    ship_all(s);
    true
}

/// Handles a segment that closes its direction or follows a close: decides whether the flow is
/// deleted.
///
/// A separate function because the kernel's stack is small, like [`super::frame::frame_step`].
#[inline(always)]
pub fn note_close(s: &mut Scratch) {
    let (tcp_flags, seq, end) = (s.tcp_flags as u8, s.seq, s.end);
    let peer_ended = other_side(s).flags & side_flag::FIN != 0;
    let own = side(s);
    let ahead = seq_distance(own.next, seq);
    let expected = own.flags & side_flag::KNOWN == 0 || ahead == 0;
    // A RST after the sender's FIN is one sequence number further.
    let after_fin =
        own.flags & (side_flag::FIN | side_flag::FIN_AHEAD) == side_flag::FIN && ahead == 1;
    let mut delete = tcp_flags & tcp_flag::RST != 0 && (expected || after_fin);
    if delete {
        // RFC 5961 §3: any other RST may be forged. The host judges it; the flow stays.
        own.flags |= side_flag::RST;
    }
    let mut continues = false;
    if tcp_flags & tcp_flag::FIN != 0 {
        own.flags |= side_flag::FIN;
        if !expected && ahead > 0 {
            own.flags |= side_flag::FIN_AHEAD;
        }
        delete |= peer_ended;
    } else if end > 0 && ahead >= 0 {
        // A side that continues has not closed. The host must know, even if the bytes are body.
        continues = own.flags & side_flag::CLOSED != 0;
        // The position of a FIN further ahead is not stored, so each segment is reported.
        own.flags &= if own.flags & side_flag::FIN_AHEAD != 0 {
            !side_flag::RST
        } else {
            !side_flag::CLOSED
        };
    }
    if delete {
        s.delete = 1;
    }
    if continues {
        s.unreported = unreported::END;
    }
}

#[inline(always)]
fn note_interface(s: &mut Scratch, interface: u32) {
    let seen = &mut s.flow.interfaces;
    if interface == 0 || seen[0] == interface || seen[1] == interface || seen[2] == interface {
        return;
    }
    if seen[0] == 0 {
        seen[0] = interface;
    } else if seen[1] == 0 {
        seen[1] = interface;
    } else if seen[2] == 0 {
        seen[2] = interface;
    } else {
        seen[3] = interface;
    }
}
