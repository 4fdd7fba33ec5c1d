//! Makes records: of bytes, of the start or position of a direction, and of how it closes.
//!
//! Does not decide what ships.

use super::{
    env::Env,
    segment::clear_flow,
    state::{NEAR_START, Scratch, both, held, mode, other_side, side, side_flag, unreported},
};
use crate::{
    counter::Counter,
    flow::{Address, seq_distance},
    record::{self, flag},
    walk::tcp_flag,
};

/// Fills in the header fields that are the same for all records of a segment. Called only once
/// there is a record, since most segments have none.
#[inline(always)]
pub fn fill_header(s: &mut Scratch) {
    // Copy words: an array copy costs the kernel's program a loop over bytes.
    let words = |address: Address| bytemuck::cast::<_, [u64; 2]>(address);
    let (a, b, a_port, b_port) = (words(s.key.a), words(s.key.b), s.key.a_port, s.key.b_port);
    let (src, dst, src_port, dst_port) =
        if s.direction == 0 { (a, b, a_port, b_port) } else { (b, a, b_port, a_port) };
    let header = &mut s.block.header;
    header.time_ns = s.time_ns;
    header.src = bytemuck::cast(src);
    header.dst = bytemuck::cast(dst);
    header.netns = s.key.netns;
    header.generation = 0;
    header.seq = s.seq;
    header.ack = s.ack;
    header.skip_from = s.seq;
    header.skip_to = s.seq;
    header.len = 0;
    header.wire_len = s.wire_len;
    header.src_port = src_port;
    header.dst_port = dst_port;
    header.flags = s.record_flags as u16;
    header.retransmissions = 0;
    header.version = record::VERSION;
    header.hook = s.hook as u8;
    header.interfaces[0] = s.interface;
    header.interfaces[1] = 0;
    header.interfaces[2] = 0;
    header.interfaces[3] = 0;
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

/// Ships the framed bytes of the block and declares the `skipped` bytes after them as body.
#[inline(always)]
pub(super) fn ship_pending<E: Env>(s: &mut Scratch, env: &mut E, skipped: u32) {
    if s.cursor == 0 {
        return;
    }
    let seq = s.seq.wrapping_add(s.at);
    env.count(Counter::HeadShipped, s.cursor);
    let own = side(s);
    let reported = own.reported;
    let end = seq.wrapping_add(s.cursor);
    ship(s, env, seq, reported, end.wrapping_add(skipped), 0);
}

/// Fills in the header fields that differ between the records of a segment.
#[inline(always)]
pub fn prepare_record(s: &mut Scratch, seq: u32, skip_from: u32, skip_to: u32, extra: u16) {
    fill_header(s);
    let cursor = s.cursor;
    let mut flags = s.record_flags as u16 | extra;
    let own = side(s);
    let retransmissions = own.retransmissions;
    own.retransmissions = 0;
    // A FIN that comes before the data it ends is further on than the beginning of the stream.
    let continues = own.reported == skip_from;
    own.reported = skip_to;
    own.note_shipped(seq.wrapping_add(cursor));
    if continues && own.flags & side_flag::AT_START != 0 {
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
    let [a, b, c, d] = s.flow.interfaces;
    header.interfaces = if first == 0 || a == first {
        [a, b, c, d]
    } else {
        // The interface of this segment comes first.
        let (third, fourth) = if b == first { (c, d) } else { (b, if c == first { d } else { c }) };
        [first, a, third, fourth]
    };
    s.flow.interfaces = [first, 0, 0, 0];
    s.record_flags &=
        !u32::from(flag::SEGMENT_BEGINS | flag::HEAD_BEGINS | flag::STREAM_BEGINS | flag::TRIAL);
    s.unreported = unreported::NOTHING;
}

/// Ships the whole segment as it is.
#[inline(always)]
pub(super) fn ship_all(s: &mut Scratch) {
    s.mode = mode::RAW;
    s.raw_end = s.end;
    s.frame_from = s.end;
}

/// Ships the whole segment as it is, without the flow.
#[inline(always)]
pub(super) fn ship_raw<E: Env>(s: &mut Scratch) {
    clear_flow::<E>(s);
    // Where the filter skips bytes, the host must know that this record cannot declare skips.
    // Without the framer nothing is skipped.
    s.flow.generation = u32::from(!E::FRAMES);
    s.block.header.trial_from = 0;
    s.in_order = 0;
    ship_all(s);
}

/// Ships a record without bytes that says where the stream begins, if its SYN was seen and this
/// segment is not its first: the host must know that bytes before it are missing.
#[inline(always)]
pub(super) fn ship_start<E: Env>(s: &mut Scratch, env: &mut E) {
    if !E::FRAMES {
        // Whole connections ship here, and the stack of the small program has no room for more.
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
    // Take the acknowledgement from the peer's SYN, as the first bytes do; that of this segment may
    // be different.
    header.ack = peer_first;
    header.flags &= !flag::ACK;
    if peer_known {
        header.flags |= flag::ACK;
    }
    env.emit(&mut s.block);
}

/// Ships a record without bytes that says how a segment closes whose flow another context holds.
/// The position of either side is unknown here, so nothing is declared as skipped.
#[inline(always)]
pub(super) fn ship_end<E: Env>(s: &mut Scratch, env: &mut E) {
    s.cursor = 0;
    // `seq` is not that of the SYN.
    s.record_flags &= !u32::from(flag::SYN);
    let (seq, extra) = (s.seq.wrapping_add(s.end), closing(s));
    ship(s, env, seq, seq, seq, flag::UNFILTERED | extra);
}

/// The flags of a record that reports how the segment closes.
#[inline(always)]
const fn closing(s: &Scratch) -> u16 {
    let tcp_flags = s.tcp_flags as u8;
    let fin = if tcp_flags & tcp_flag::FIN != 0 { flag::FIN } else { 0 };
    let rst = if tcp_flags & tcp_flag::RST != 0 { flag::RST } else { 0 };
    fin | rst
}

/// Ships a record without bytes that says that everything up to `next` has passed, or that the stream begins there.
#[inline(always)]
pub(super) fn emit_passed<E: Env>(s: &mut Scratch, env: &mut E) {
    s.cursor = 0;
    let (flags, unreported) = (s.record_flags, s.unreported);
    // The acknowledgement of this segment is not that of the bytes before.
    s.record_flags &= !u32::from(flag::ACK | flag::SYN);
    let own = side(s);
    let (reported, next) = (own.reported, own.next);
    ship(s, env, next, reported, next, 0);
    (s.record_flags, s.unreported) = (flags, unreported);
}

/// Says how far the other direction has come, if it is inside a body: this segment may answer, end or reset what
/// passes there, and no record of its own may follow.
#[inline(always)]
pub(super) fn report_other<E: Env>(s: &mut Scratch, env: &mut E) {
    let is_held = s.held == held::FLOW;
    let other = other_side(s);
    if !is_held || other.reported == other.next {
        return;
    }
    s.direction ^= 1;
    s.record_flags ^= u32::from(flag::EGRESS);
    emit_passed(s, env);
    s.record_flags ^= u32::from(flag::EGRESS);
    s.direction ^= 1;
}

/// Ships a record without bytes that says that everything up to `next` has passed, and how the
/// segment closes.
#[inline(always)]
pub(super) fn emit_position<E: Env>(s: &mut Scratch, env: &mut E) {
    s.cursor = 0;
    let extra = closing(s);
    let end = s.seq.wrapping_add(s.end);
    let own = side(s);
    let (reported, next) = (own.reported, own.next);
    // A FIN or RST has its own position, which may differ from `next`.
    let seq = if extra != 0 { end } else { next };
    let in_order = seq == next && own.flags & side_flag::KNOWN != 0;
    let skip_from = if in_order && E::FRAMES { reported } else { seq };
    // Elsewhere it does not prove that the bytes in between were there.
    let extra = if in_order { extra } else { extra | flag::UNFILTERED };
    ship(s, env, seq, skip_from, seq, extra);
    if !in_order {
        side(s).reported = reported;
    }
}
