//! Connections that are followed: what of a segment is new, and what becomes of a direction whose
//! framing is lost.

use super::steps::wanted;
use super::{
    Context, Continue, Env, Handed, Scratch, Side,
    admit::{First, first_bytes},
    handed, held, mode, other_side, ship_all, side, side_flag, steps, untold,
};
use crate::{
    config::FilterConfig,
    counter::Counter,
    flow::seq_distance,
    framer,
    walk::{Segment, tcp_flag},
};

/// A segment of a followed connection, which we hold.
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
    if s.flow.syn_pending != 0 {
        env.syn(&s.key, &mut s.syn);
        if E::after_syn(s) {
            s.held = held::FOR_ANOTHER;
            ship_all(s);
            return true;
        }
    }
    if segment.flags & tcp_flag::RST != 0 {
        let expected = {
            let (seq, side) = (s.seq, side(s));
            side.flags & side_flag::KNOWN == 0 || side.next == seq
        };
        // RFC 5961 §3: any other RST may be forged. The host judges it; the flow stays.
        s.delete = u32::from(expected);
    }
    if segment.flags & tcp_flag::FIN != 0 {
        side(s).flags |= side_flag::FIN;
        if other_side(s).flags & side_flag::FIN != 0 {
            s.delete = 1;
        }
    }
    if s.end == 0 {
        return false;
    }
    let (seq, end) = (s.seq, s.end);
    let own = side(s);
    if own.flags & side_flag::KNOWN == 0 {
        // The first of this side, and nobody knows what came before.
        own.floor = seq;
        own.next = seq;
        own.told = seq;
        own.flags |= side_flag::KNOWN;
        own.framer.lose();
        s.flow.queue.set_unknown();
        env.count(Counter::BecameUnsure, 1);
    }
    let place = context.interface << 1 | u32::from(context.egress);
    let own = side(s);
    let ahead = seq_distance(own.next, seq);
    if ahead >= 0 {
        own.place = place;
    }
    if ahead > 0 {
        let (gap, skippable) = (ahead as u64, own.framer.skippable());
        if skippable >= gap {
            if own.framer.skip(gap).is_some() {
                s.untold = untold::END;
            }
            side(s).next = seq;
        } else {
            if own.flags & side_flag::AT_START != 0 {
                // The stream's first bytes are late or lost: the host must know where it begins.
                steps::emit_start(s, env);
            } else if E::FRAMES && own.told != own.next {
                // What was skipped up to the hole was body all the same.
                steps::emit_passed(s, env);
            }
            let own = side(s);
            if !own.framer.pass_on_trial(gap) {
                own.framer.lose();
            }
            own.floor = seq;
            own.next = seq;
            own.told = seq;
            // The stream's first bytes were not seen; what ships next is not its beginning.
            own.flags &= !side_flag::AT_START;
            s.flow.queue.set_unknown();
            env.count(Counter::BecameUnsure, 1);
        }
    } else if ahead < 0 {
        let past = ahead.unsigned_abs();
        let below_floor = seq_distance(seq, own.floor);
        if below_floor <= 0 {
            if own.place == place {
                own.retransmissions = own.retransmissions.saturating_add(1);
            }
            if past >= end {
                env.count(Counter::Copies, 1);
                return false;
            }
            s.at = past;
        } else {
            // Bytes from before the floor were never seen: they ship as they are, what is above
            // `next` is framed as ever.
            s.mode = mode::RAW;
            s.raw_end = if below_floor as u32 >= end {
                end
            } else {
                below_floor as u32
            };
            s.frame_from = if past >= end { end } else { past };
            return true;
        }
    }
    if !E::FRAMES {
        return unsure(s, env, config);
    }
    if side(s).framer.is_length_unbegun() && s.flow.queue.has_none() {
        // The client was answered before it sent any of the body: another request may come instead.
        // The host sees it, and hands back what goes on.
        side(s).framer.lose();
    }
    let left = s.end.saturating_sub(s.at);
    if side(s).framer.skippable() >= u64::from(left) && wanted(s, env) == 0 {
        // Nothing but body, as most segments of a download are: nothing to load, nothing to ship.
        if side(s).framer.skip(u64::from(left)).is_some() {
            s.untold = untold::END;
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

/// Takes the framing over from the host: all of it, if both directions stand where it says, since
/// nothing, or nothing but body, has come since; otherwise what it says of their trials.
#[inline(always)]
fn take_back<E: Env>(s: &mut Scratch, env: &mut E) {
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
    // A trial that was right may have met what makes the connection a tunnel.
    let [a, b] = &mut s.flow.sides;
    if a.framer.phase() == framer::Phase::Opaque {
        b.framer.set_opaque();
    } else if b.framer.phase() == framer::Phase::Opaque {
        a.framer.set_opaque();
    }
}

#[inline(always)]
fn take_side(side: &mut Side, handed: &Handed) {
    side.framer = handed.framer;
    side.framer
        .skip(u64::from(side.next.wrapping_sub(handed.from)));
    side.unsure_bytes = 0;
}

/// The host has looked at the trial that began at `from`. However far it has come since, it is right
/// or wrong as a whole: the same code over the same bytes.
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

/// A side whose framing is lost: everything ships, within a budget, until the host hands it back.
/// Meanwhile it is framed on trial.
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
    if spent && !env.unsure_budget(n) {
        let first = first_bytes::<E>(s, env);
        if s.at != 0 || !matches!(first, First::Status | First::Request) {
            env.count(Counter::UnsureDropped, 1);
            env.count(Counter::UnsureDroppedBytes, n);
            let own = side(s);
            if !own.framer.is_on_trial() || own.framer.pass_on_trial(u64::from(n)) {
                let next = s.seq.wrapping_add(s.end);
                let own = side(s);
                own.next = next;
                own.told = next;
                return false;
            }
            s.dropped = 1;
        }
    }
    s.mode = mode::RAW;
    s.raw_end = s.end;
    s.frame_from = s.end;
    true
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
