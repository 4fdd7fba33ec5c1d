//! SYNs: where a stream begins, who does not answer, and whether a tuple begins another connection.

use bytemuck::Zeroable;

use super::{
    Context, Env, Scratch, Side, Syn, fill_header, new_framer, other_side, side, side_flag, steps,
    untold,
};
use crate::{
    flow::seq_distance,
    framer::RequestQueue,
    record::{HEADER_LEN, RecordHeader, flag},
    walk::{Segment, tcp_flag},
};

/// A SYN that comes again this much later was not answered; sooner it is the same one at another
/// hook (RFC 6298 §2: a SYN is repeated after a second).
const SYN_AGAIN_MS: u32 = 500;

/// The most bytes that come with a SYN: a packet's.
const SYN_DATA: u32 = 0xffff;

/// Remembers a SYN's or a SYN-ACK's ISN. The host hears of a SYN only when it is repeated, which
/// says that nobody answered.
#[inline(always)]
pub(super) fn note_syn<E: Env>(s: &mut Scratch, env: &mut E, segment: &Segment, context: &Context) {
    let now_ms = (context.time_ns / 1_000_000) as u32;
    env.syn(&s.key, &mut s.syn);
    let before = s.syn.valid;
    let again = s.syn.begins(segment.direction, s.seq);
    let answered = s.syn.first(segment.direction).wrapping_sub(s.seq);
    let own = 1 << (s.direction & 1);
    s.syn.set_first(segment.direction, s.seq);
    let tell;
    if segment.flags & tcp_flag::ACK != 0 {
        tell = before & (Syn::TOLD | Syn::ACKNOWLEDGED) == Syn::TOLD;
        // A SYN-ACK says both: its own ISN, and which SYN it answers. It may acknowledge data that
        // came with the SYN as well (RFC 7413 §4.1.2): the stream begins where the SYN says, and
        // nobody knows where without it.
        let peer = segment.direction.opposite();
        let past = segment.ack.wrapping_sub(s.syn.first(peer));
        s.syn.valid = Syn::ACKNOWLEDGED | 3;
        if before & (own ^ 3) == 0 || past > SYN_DATA {
            s.syn.set_first(peer, segment.ack);
            s.syn.valid = Syn::ACKNOWLEDGED | own;
        }
    } else if again {
        if before & Syn::ACKNOWLEDGED != 0 {
            // The peer has answered: this one is late.
            return;
        }
        let repeated = now_ms.wrapping_sub(s.syn.since_ms) >= SYN_AGAIN_MS;
        tell = repeated && before & Syn::TOLD == 0;
    } else {
        tell = false;
        s.syn.since_ms = now_ms;
        s.syn.valid = own;
        if before & Syn::ACKNOWLEDGED != 0 && answered <= SYN_DATA {
            // Seen after its SYN-ACK, it says where the stream begins, and no more.
            s.syn.valid |= before;
        }
    }
    if tell {
        s.syn.valid |= Syn::TOLD;
    }
    env.set_syn(&s.key, &s.syn);
    if tell && !env.is_own(&s.key) && env.unsure_budget(HEADER_LEN as u32) {
        fill_header(s);
        s.block.header.flags |= flag::SYN;
        env.emit(&mut s.block);
    }
}

/// A RST on a connection that is not followed: when it refuses a SYN, the host hears of both.
#[inline(always)]
pub(super) fn note_refusal<E: Env>(s: &mut Scratch, env: &mut E, segment: &Segment) {
    env.syn(&s.key, &mut s.syn);
    let refuses = segment.flags & tcp_flag::ACK != 0
        && s.syn.begins(segment.direction.opposite(), segment.ack);
    let told = s.syn.valid & (Syn::ACKNOWLEDGED | REFUSED) != 0;
    if !refuses || told || env.is_own(&s.key) || !env.unsure_budget(2 * HEADER_LEN as u32) {
        return;
    }
    s.syn.valid |= REFUSED;
    env.set_syn(&s.key, &s.syn);
    // The SYN, as the peer sent it; then the RST.
    let (seq, flags) = (s.seq, s.record_flags as u16);
    fill_header(s);
    turn_round(&mut s.block.header);
    place(
        &mut s.block.header,
        segment.ack,
        (flags & !flag::ACK) ^ flag::EGRESS | flag::SYN,
    );
    env.emit(&mut s.block);
    turn_round(&mut s.block.header);
    place(&mut s.block.header, seq, flags | flag::RST);
    env.emit(&mut s.block);
}

/// Swaps sender and receiver.
#[inline(always)]
fn turn_round(header: &mut RecordHeader) {
    (header.src, header.dst) = (header.dst, header.src);
    (header.src_port, header.dst_port) = (header.dst_port, header.src_port);
}

/// A record without bytes at `seq`.
#[inline(always)]
fn place(header: &mut RecordHeader, seq: u32, flags: u16) {
    header.seq = seq;
    header.skip_from = seq;
    header.skip_to = seq;
    header.len = 0;
    header.flags = flags;
}

/// In [`Syn::valid`]: the refusal was told; a copy of the RST at another hook is none.
const REFUSED: u32 = 1 << 4;

/// The SYN-ACK of a connection that is followed since its SYN, with which its first request came
/// (RFC 7413): says where the answers begin.
#[inline(always)]
pub(super) fn note_peer_start<E: Env>(s: &mut Scratch, segment: &Segment) {
    // Its SYN's entry is at hand, of `note_syn`.
    let (seq, first) = (s.seq, s.syn.first(segment.direction.opposite()));
    let peer = other_side(s);
    let since_syn = peer.flags & side_flag::KNOWN != 0 && peer.floor == first;
    let own = side(s);
    if segment.flags & tcp_flag::ACK == 0 || own.flags & side_flag::KNOWN != 0 || !since_syn {
        return;
    }
    own.floor = seq;
    own.next = seq;
    own.told = seq;
    own.flags |= side_flag::KNOWN | side_flag::AT_START;
    if E::FRAMES {
        // No other record says it before the first answer, which may be lost. What this segment
        // acknowledges is another matter.
        s.untold = untold::BEGINNING;
        s.record_flags &= !u32::from(flag::ACK);
    }
}

/// A SYN was seen on the tuple of a followed connection. Payload at its ISN + 1, once a SYN-ACK
/// acknowledged it, begins another connection; anything else leaves the flow as it is, since the
/// SYN may be a retransmission or forged.
#[inline(always)]
pub(super) fn restart_on_new_connection<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    segment: &Segment,
    context: &Context,
) {
    env.syn(&s.key, &mut s.syn);
    let begins = s.syn.begins(segment.direction, s.seq);
    let acknowledged = s.syn.valid & Syn::ACKNOWLEDGED != 0;
    let peer_first = if s.syn.knows(segment.direction.opposite()) {
        s.syn.first(segment.direction.opposite())
    } else {
        segment.ack
    };
    let (seq, own) = (s.seq, side(s));
    if own.next == seq {
        // It goes on where it stood, whatever number a SYN-ACK acknowledged.
        if begins {
            s.flow.syn_pending = 0;
        }
        return;
    }
    // Behind what is at work it is a copy of its beginning, and the SYN came late: a stack gives the
    // next use of a tuple a number ahead (RFC 9293 §3.4.1).
    let past = seq_distance(seq, own.next);
    if !acknowledged || !begins || own.floor == seq || (past > 0 && past < steps::NEAR_START) {
        return;
    }
    let fresh = |first: u32| Side {
        framer: new_framer::<E>(),
        floor: first,
        next: first,
        told: first,
        flags: side_flag::KNOWN | side_flag::AT_START,
        ..Side::zeroed()
    };
    let peer = fresh(peer_first);
    let own = fresh(seq);
    if s.direction == 0 {
        s.flow.sides = [own, peer];
    } else {
        s.flow.sides = [peer, own];
    }
    s.flow.queue = RequestQueue::new();
    s.flow.generation = (context.time_ns >> 16) as u32;
    s.flow.syn_pending = 0;
}
