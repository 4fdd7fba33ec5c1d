//! SYNs: where a stream begins, who does not answer, and whether a tuple begins another connection.

use bytemuck::Zeroable;

use super::{
    env::Env,
    segment::new_framer,
    state::{
        NEAR_START, Scratch, Side, Syn, both, generation, other_side, side, side_flag, unreported,
    },
};
use crate::{
    framer::{Phase, RequestQueue},
    record::{HEADER_LEN, RecordHeader, flag},
    walk::{Segment, tcp_flag},
};

/// A SYN repeated after this time was not answered; before, it is the same packet at another hook (RFC
/// 6298 §2: a SYN is retransmitted after one second).
pub const SYN_AGAIN_MS: u32 = 500;

/// Maximum number of payload bytes in a SYN: those of one packet.
const SYN_DATA: u32 = 0xffff;

/// Remembers the ISN of a SYN or SYN-ACK. A SYN is reported to the host only when it is repeated, which
/// means that nobody answered.
#[inline(always)]
pub(super) fn note_syn<E: Env>(s: &mut Scratch, env: &mut E) {
    env.syn(&s.key, &mut s.syn);
    let ships = E::learn_syn(s);
    env.set_syn(&s.key, &s.syn);
    if ships && !env.is_own(&s.key) && env.unsure_budget(s.time_ns, HEADER_LEN as u32) {
        E::fill_header(s);
        env.emit(&mut s.block);
    }
}

/// Learns from the current SYN or SYN-ACK what is new about its tuple. Returns whether to report it to
/// the host.
///
/// A separate function because the kernel's stack is small, like [`super::frame::frame_step`].
#[inline(always)]
pub fn learn_syn(s: &mut Scratch) -> bool {
    let (known, first, ..) = both(s);
    if known && first != s.seq {
        s.syn.keep_open();
    }
    let kept = s.syn.valid & Syn::KEPT;
    let ships = learn_numbers(s);
    s.syn.valid |= kept;
    ships
}

#[inline(always)]
fn learn_numbers(s: &mut Scratch) -> bool {
    let now_ms = (s.time_ns / 1_000_000) as u32;
    let own = 1 << (s.direction & 1);
    let before = s.syn.valid;
    let (known, first, _, peer_first) = both(s);
    let again = known && first == s.seq;
    let answered = first.wrapping_sub(s.seq);
    if s.direction == 0 {
        s.syn.first[0] = s.seq;
    } else {
        s.syn.first[1] = s.seq;
    }
    let ships;
    if s.tcp_flags as u8 & tcp_flag::ACK != 0 {
        ships = before & (Syn::SHIPPED | Syn::ACKNOWLEDGED) == Syn::SHIPPED;
        // A SYN-ACK says both: its own ISN, and which SYN it answers. It may also acknowledge data sent
        // with the SYN (RFC 7413 §4.1.2): then only the SYN says where the stream begins.
        let past = s.ack.wrapping_sub(peer_first);
        if again && before & Syn::OPEN == Syn::OPEN && past > SYN_DATA {
            // The right one was seen before.
            return false;
        }
        let data = before & Syn::DATA;
        s.syn.valid = Syn::OPEN | data;
        if before & (own ^ 3) == 0 || past > SYN_DATA {
            if s.direction == 0 {
                s.syn.first[1] = s.ack;
            } else {
                s.syn.first[0] = s.ack;
            }
            s.syn.valid = Syn::ACKNOWLEDGED | own | data;
        }
    } else if again {
        if before & Syn::ACKNOWLEDGED != 0 {
            // The peer has answered: this SYN is late.
            return false;
        }
        let repeated = now_ms.wrapping_sub(s.syn.since_ms) >= SYN_AGAIN_MS;
        ships = repeated && before & Syn::SHIPPED == 0;
    } else {
        ships = false;
        s.syn.since_ms = now_ms;
        s.syn.valid = if s.end > 0 { own | Syn::DATA } else { own };
        if before & Syn::ACKNOWLEDGED != 0 && answered <= SYN_DATA {
            // Seen after its SYN-ACK, the SYN only says where the stream begins.
            s.syn.valid |= before;
        }
    }
    if ships {
        s.syn.valid |= Syn::SHIPPED;
    }
    ships
}

/// Handles a RST on a connection that is not followed: if it refuses a SYN, both are reported to the
/// host.
#[inline(always)]
pub(super) fn note_refusal<E: Env>(s: &mut Scratch, env: &mut E, segment: &Segment) {
    env.syn(&s.key, &mut s.syn);
    let refuses = segment.flags & tcp_flag::ACK != 0
        && s.syn.begins(segment.direction.opposite(), segment.ack);
    let reported = s.syn.valid & (Syn::ACKNOWLEDGED | Syn::REFUSED) != 0;
    if !refuses
        || reported
        || env.is_own(&s.key)
        || !env.unsure_budget(s.time_ns, 2 * HEADER_LEN as u32)
    {
        return;
    }
    s.syn.valid |= Syn::REFUSED;
    env.set_syn(&s.key, &s.syn);
    // Ship the SYN as the peer sent it, then the RST.
    let (seq, flags) = (s.seq, s.record_flags as u16);
    E::fill_header(s);
    swap_ends(&mut s.block.header);
    place(&mut s.block.header, segment.ack, (flags & !flag::ACK) ^ flag::EGRESS | flag::SYN);
    env.emit(&mut s.block);
    swap_ends(&mut s.block.header);
    place(&mut s.block.header, seq, flags | flag::RST);
    env.emit(&mut s.block);
}

/// Ships the SYN before the first bytes of a connection: nothing that passed here has answered it, and what answers these
/// may pass elsewhere, too.
#[inline(always)]
pub(super) fn ship_unanswered<E: Env>(s: &mut Scratch, env: &mut E) {
    let (seq, flags) = (s.seq, s.record_flags as u16);
    E::fill_header(s);
    place(&mut s.block.header, seq, flags & !flag::ACK | flag::SYN);
    env.emit(&mut s.block);
}

/// Swaps sender and receiver.
#[inline(always)]
fn swap_ends(header: &mut RecordHeader) {
    (header.src, header.dst) = (header.dst, header.src);
    (header.src_port, header.dst_port) = (header.dst_port, header.src_port);
}

/// Sets the header to a record without bytes at `seq`.
#[inline(always)]
fn place(header: &mut RecordHeader, seq: u32, flags: u16) {
    header.seq = seq;
    header.skip_from = seq;
    header.skip_to = seq;
    header.len = 0;
    header.flags = flags;
}

/// Remembers a followed connection that is closed. Returns whether its flow may be deleted; inside an
/// exchange it may not, since bytes that continue could not be framed without it.
///
/// A close may be forged: if both directions are between exchanges, their positions replace their starts,
/// so that the connection is followed from there if it continues. A SYN since its start may belong to the
/// next connection or be forged too: it is kept beside the positions.
///
/// A separate function because the kernel's stack is small, like [`super::frame::frame_step`].
#[inline(always)]
pub fn remember_close(s: &mut Scratch) -> bool {
    let (flags, ack) = (s.tcp_flags as u8, s.ack);
    // A side that ends its direction has seen the end of the other.
    let seen = flags & tcp_flag::FIN != 0 && ack == other_side(s).next.wrapping_add(1);
    let [a, b] = &s.flow.sides;
    let ends = |side: &Side| match side.framer.phase() {
        Phase::Unsure | Phase::Peek => true,
        Phase::UntilClose => seen,
        _ => false,
    };
    if a.framer.phase() == Phase::Opaque && b.framer.phase() == Phase::Opaque {
        // A tunnel may hold messages. A SYN that names its position would assign them to a new
        // connection.
        return false;
    }
    // No other connection begins exactly at this position.
    let [first_a, first_b] = s.syn.first;
    let pending = s.flow.syn_pending != 0 && first_a != a.next && first_b != b.next;
    s.syn.valid &= if pending { !Syn::ACKNOWLEDGED } else { Syn::KEPT } & !Syn::BEFORE;
    if ends(a) || ends(b) || s.flow.queue.is_unknown() {
        return true;
    }
    if !a.framer.at_rest() || !b.framer.at_rest() || !s.flow.queue.has_none() {
        return false;
    }
    if a.flags & b.flags & side_flag::KNOWN != 0 {
        s.syn.previous = [a.next, b.next];
        s.syn.valid |= Syn::PREVIOUS;
    }
    true
}

/// Handles a segment on the tuple of a followed connection after a SYN was seen there; the tuple's entry
/// of SYNs is loaded. The SYN may be a retransmission or forged, so the flow stays as it is until one of
/// two segments proves another connection: payload at the ISN + 1 that a SYN-ACK acknowledged, or a
/// SYN-ACK that acknowledges the data of the SYN.
///
/// Returns whether the segment is such a SYN with data: it ships as it is, and the host ignores it until
/// the SYN-ACK is reported.
///
/// A separate function because the kernel's stack is small, like [`super::frame::frame_step`].
#[inline(always)]
pub fn after_syn<E: Env>(s: &mut Scratch) -> bool {
    let flags = s.tcp_flags as u8;
    let is_syn = flags & tcp_flag::SYN != 0;
    let answers = is_syn && flags & tcp_flag::ACK != 0;
    if answers {
        note_peer_start::<E>(s);
    }
    restart_on_new_connection::<E>(s, answers);
    is_syn && is_data_of_another(s)
}

/// Takes the start of the responses from a SYN-ACK, if the first request of the connection came with the
/// SYN (RFC 7413).
#[inline(always)]
fn note_peer_start<E: Env>(s: &mut Scratch) {
    let (seq, (_, _, _, first)) = (s.seq, both(s));
    let peer = other_side(s);
    let since_syn = peer.flags & side_flag::KNOWN != 0 && peer.floor == first;
    let own = side(s);
    if own.flags & side_flag::KNOWN != 0 || !since_syn {
        return;
    }
    own.stand_at(seq);
    own.flags |= side_flag::KNOWN | side_flag::AT_START;
    report_peer_start::<E>(s);
}

/// Has the current SYN-ACK reported to the host: no other record says where the direction begins before
/// the first response, which may be lost.
#[inline(always)]
fn report_peer_start<E: Env>(s: &mut Scratch) {
    if E::FRAMES {
        s.unreported = unreported::BEGINNING;
    }
}

/// Whether `first`, the start of a direction or a copy of it, lies behind its position `next`. For the
/// next use of a tuple a stack chooses a higher number (RFC 9293 §3.4.1), unless more bytes were sent than its clock
/// has counted.
#[inline(always)]
const fn is_behind(first: u32, next: u32) -> bool {
    next.wrapping_sub(first) < NEAR_START as u32
}

/// Whether the data of a SYN belongs to another connection than the followed one.
#[inline(always)]
fn is_data_of_another(s: &mut Scratch) -> bool {
    let (seq, end) = (s.seq, s.end);
    let own = side(s);
    end > 0
        && own.flags & side_flag::KNOWN != 0
        && !(own.next == seq && own.flags & side_flag::AT_START != 0)
        && !is_behind(seq.wrapping_add(end), own.next)
}

#[inline(always)]
fn restart_on_new_connection<E: Env>(s: &mut Scratch, answers: bool) {
    let (seq, ack) = (s.seq, s.ack);
    let (knows, first, peer_knows, peer_first) = both(s);
    let peer_next = if answers {
        let taken = peer_knows && ack != peer_first && s.syn.valid & Syn::DATA != 0;
        let peer = other_side(s);
        if !taken || peer.flags & side_flag::KNOWN == 0 || is_behind(peer_first, peer.next) {
            return;
        }
        ack
    } else {
        let begins = knows && first == seq;
        let acknowledged = s.syn.valid & Syn::ACKNOWLEDGED != 0;
        if s.end == 0 {
            return;
        }
        let reset = other_side(s).flags & side_flag::RST;
        let own = side(s);
        let (continues, behind) = (own.next == seq, is_behind(seq, own.next));
        let was_reset = (own.flags & side_flag::RST | reset) != 0;
        let at_start = own.floor == seq;
        // Where both would fit, the acknowledgement tells a new connection from the followed one.
        let answered = peer_knows && ack == peer_first && ack != other_side(s).next;
        if continues && !answered {
            // The segment continues at the current position, whatever number a SYN-ACK acknowledged.
            if begins {
                s.flow.syn_pending = 0;
            }
            return;
        }
        // Behind the current position it is a copy of the connection's start, and the SYN came late, unless a
        // RST ended the connection before.
        let copied = behind && !continues && !was_reset;
        if !acknowledged || !begins || at_start || copied {
            return;
        }
        if peer_knows { peer_first } else { ack }
    };
    let fresh = |first: u32| Side {
        framer: new_framer::<E>(),
        floor: first,
        next: first,
        reported: first,
        flags: side_flag::KNOWN | side_flag::AT_START,
        ..Side::zeroed()
    };
    let peer = fresh(peer_next);
    let own = fresh(seq);
    if s.direction == 0 {
        s.flow.sides = [own, peer];
    } else {
        s.flow.sides = [peer, own];
    }
    s.flow.queue = RequestQueue::new();
    s.flow.generation = generation(s.time_ns);
    s.flow.syn_pending = 0;
    if answers {
        // The data of the SYN was not framed.
        let peer = other_side(s);
        peer.flags = side_flag::KNOWN;
        peer.framer.lose();
        s.flow.queue.set_unknown();
        report_peer_start::<E>(s);
    }
}
