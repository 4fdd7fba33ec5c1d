//! Fills the scratch from the current segment: its fields, an empty flow, bytes of its payload.
//!
//! Decides nothing and ships nothing.

use super::{
    env::{Context, Env},
    first::{First, PEEK, first_words},
    state::{BLOCK_BYTES, Flow, Scratch, mode},
};
use crate::{
    config::FilterConfig,
    counter::Counter,
    flow::FlowKey,
    framer::Framer,
    record::flag,
    start_line::{self, is_token},
    walk::{Segment, tcp_flag},
};

/// Sets the fields of the scratch and of the record header that are the same for the whole segment.
#[inline(always)]
pub(super) fn prepare<E: Env>(
    s: &mut Scratch,
    config: &FilterConfig,
    segment: &Segment,
    context: &Context,
) {
    // Copy words, and zeroes unknown to the compiler: it would turn both into loops over bytes.
    s.key = bytemuck::cast(bytemuck::cast::<_, [u64; 5]>(segment.key));
    let zero = E::forget(&s.block, 0);
    s.direction = segment.direction as u32;
    s.mode = mode::FRAME;
    s.seq = segment.payload_seq();
    s.tcp_flags = u32::from(segment.flags);
    s.payload_offset = segment.payload_offset;
    s.at = zero;
    s.loaded = zero;
    s.cursor = zero;
    s.raw_end = zero;
    s.frame_from = zero;
    s.in_order = zero;
    s.dropped = zero;
    s.unreported = zero;
    s.heads = zero;
    s.steps = config.steps;
    let mut flags = flag::FILTERED;
    if segment.flags & tcp_flag::ACK != 0 {
        flags |= flag::ACK;
    }
    if segment.flags & tcp_flag::SYN != 0 {
        flags |= flag::SYN;
    }
    if context.egress {
        flags |= flag::EGRESS;
    }
    s.record_flags = u32::from(flags);
    s.time_ns = context.time_ns;
    s.ack = segment.ack;
    s.wire_len = context.wire_len;
    s.interface = context.interface;
    s.hook = context.hook as u32;
}

/// Whether one of the ports is configured to be followed. It is not known here which end is the
/// server; the host checks again.
#[inline(always)]
pub(super) fn followed(config: &FilterConfig, key: &FlowKey) -> bool {
    if config.port_ranges == 0 {
        return true;
    }
    let mut i = 0;
    while i < config.ports.len() {
        let range = &config.ports[i];
        let inside = |port: u16| port >= range.first && port <= range.last;
        if i < config.port_ranges as usize && (inside(key.a_port) || inside(key.b_port)) {
            return true;
        }
        i += 1;
    }
    false
}

/// Empties the flow, with words and a zero unknown to the compiler, which would otherwise emit a loop
/// over bytes.
#[inline(always)]
pub(super) fn clear_flow<E: Env>(s: &mut Scratch) {
    let zero = u64::from(E::forget(&s.block, 0));
    let words: &mut [u64; size_of::<Flow>() / 8] = bytemuck::cast_mut(&mut s.flow);
    for word in words {
        *word = zero;
    }
    s.flow.sides[0].framer = new_framer::<E>();
    s.flow.sides[1].framer = new_framer::<E>();
}

/// The initial framer of a direction.
#[inline(always)]
pub(super) fn new_framer<E: Env>() -> Framer {
    let mut framer = Framer::new();
    if !E::FRAMES {
        framer.lose();
    }
    framer
}

/// Loads the next block of the payload.
#[inline(always)]
pub(super) fn load<E: Env>(s: &mut Scratch, env: &mut E, until: u32) -> bool {
    let left = until.saturating_sub(s.at);
    let len = if left < BLOCK_BYTES { left } else { BLOCK_BYTES };
    if len == 0 {
        return false;
    }
    // `mask(len - 1) + 1` tells the verifier that the length is neither zero nor more than the block.
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

/// First byte of a TLS record with a handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 0x16;

/// Whether a segment with this first byte can be the first of a connection that is reported.
#[inline(always)]
pub(super) fn may_begin(byte: u8) -> bool {
    is_token(byte) || matches!(byte, b'\r' | b'\n' | b' ' | b'\t' | HANDSHAKE)
}

/// Loads and classifies the first sixteen bytes.
#[inline(always)]
pub(super) fn first_bytes<E: Env>(s: &mut Scratch, env: &mut E) -> First {
    let len = if s.end < PEEK { s.end } else { PEEK };
    if len == 0 || !env.load(&mut s.block, s.payload_offset, len) {
        env.count(Counter::LoadFailed, 1);
        return First::Other;
    }
    let [w0, w1] = first_words(&s.block);
    let b0 = w0 as u8;
    if !may_begin(b0) {
        return First::Other;
    }
    if b0 == HANDSHAKE {
        let hello = len >= 6 && (w0 >> 8) as u8 == 3 && (w0 >> 40) as u8 == 1;
        return if hello { First::Tls } else { First::Other };
    }
    if len == PEEK && b0 == b'H' && start_line::status_in_words(w0, w1).is_some() {
        return First::Status;
    }
    E::classify(w0, w1, len)
}
