//! The per-segment decision: what of a segment the host must see.
//!
//! The same code runs at every hook in the kernel and, in a replay that asks for it, on the host.
//! It may skip only what the framing proves to be body, copies of what it has handled, connections
//! that have not begun a message, opaque ones, and what the config excludes. Whatever else it does
//! not understand it ships: an error here can cost bytes, never truth.
//!
//! [`begin`] looks at the segment and the flow, [`step`] is called until it says `false`, and
//! [`finish`] writes the flow back. The kernel drives `step` with `bpf_loop`, the host with `while`.
//! Without the framer ([`Env::FRAMES`]) [`raw_step`] takes the place of `step`: at most
//! [`RAW_STEPS`] of them ship a segment, and [`drop_rest`] counts what a larger one has left.
//!
//! Pieces of IP packets go another way: [`begin_fragment`] and [`fragment_step`].

mod admit;
mod env;
mod fragment;
mod known;
mod raw;
mod resync;
mod state;
mod steps;
pub mod sum;
mod syn;

pub use admit::{First, classify, ends_request_line};
pub(crate) use env::View;
pub use env::{Claim, Context, Env, Verified, find_lf, match_suffix};
pub use fragment::{FRAGMENT_STEPS, begin_fragment, fragment_step};
pub use known::note_close;
pub use raw::{drop_rest, raw as raw_step};
pub use state::{
    BLOCK_BYTES, Block, Flow, HandBack, Handed, Scratch, Side, Syn, handed, held, met, mode,
    side_flag, untold,
};
pub use steps::{frame_step, prepare_record, step, take_body};
pub use syn::{after_syn, learn_syn, remember_close};

use crate::{
    config::FilterConfig,
    counter::Counter,
    flow::{Address, FlowKey, seq_distance},
    framer::Framer,
    record::{self, flag},
    walk::{Segment, tcp_flag},
};

/// Whether any step remains to be taken.
pub type Continue = bool;

/// Steps that ship a segment of 128 KiB as it is: its blocks, one cut in two where it is new only in
/// part, and the ends. What leaves by lo has been seen with 93 KiB: it is cut only after the hook.
pub const RAW_STEPS: u32 = 128 / (BLOCK_BYTES >> 10) + 4;

/// First look at a segment: limits, SYNs, admission, what of it is new. `true` when [`step`] is to
/// be called; [`finish`] must be called in any case.
#[inline(always)]
pub fn begin<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    segment: &Segment,
    context: &Context,
) -> Continue {
    s.held = held::NOT;
    s.delete = 0;
    s.end = segment.payload_len;
    let control = segment.flags & (tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST);
    if s.end == 0 && control == 0 {
        return false;
    }
    if segment.is_refused() {
        env.count(Counter::WithoutAck, 1);
        return false;
    }
    if !followed(config, &segment.key) {
        env.count(Counter::Excluded, 1);
        return false;
    }
    prepare::<E>(s, config, segment, context);
    if control & tcp_flag::SYN != 0 {
        syn::note_syn(s, env);
    }
    match env.claim(&s.key, &mut s.flow) {
        Claim::Held => {
            s.held = held::FLOW;
            known::known_flow(s, env, config, segment, context)
        }
        Claim::Refused => {
            env.count(Counter::ClaimRefused, 1);
            ship_raw::<E>(s);
            s.held = held::REFUSED;
            if s.end > 0 {
                // Whoever holds the flow may not have got to its first record yet.
                env.syn(&s.key, &mut s.syn);
                if s.syn.begins(segment.direction, s.seq) {
                    s.record_flags |= u32::from(flag::STREAM_BEGINS);
                }
                steps::tell_start(s, env);
            }
            true
        }
        Claim::Missing => {
            if control & tcp_flag::RST != 0 {
                syn::note_refusal(s, env, segment);
            }
            if s.end == 0 {
                return false;
            }
            admit::admit(s, env, config, segment, context)
        }
    }
}

/// Writes the flow back and ships what is still to be told.
#[inline(always)]
pub fn finish<E: Env>(s: &mut Scratch, env: &mut E, config: &FilterConfig) {
    if s.held == held::NOT {
        return;
    }
    let closing = (s.tcp_flags as u8) & (tcp_flag::FIN | tcp_flag::RST) != 0;
    if s.held == held::REFUSED {
        if closing {
            steps::tell_end(s, env);
        }
        return;
    }
    let (end_untold, begins) = (s.untold == untold::END, s.untold == untold::BEGINNING);
    // What the peer of one that may have reset the connection sends neither confirms that nor disproves
    // it, so the host waits, but not for long in silence.
    let [a, b] = &s.flow.sides;
    let claimed = E::FRAMES && (a.flags | b.flags) & side_flag::RST != 0;
    let moment = (s.time_ns >> 28) as u16;
    let goes_on = claimed && s.flow.told_at != moment;
    if goes_on {
        s.flow.told_at = moment;
    }
    let side = side(s);
    let is_behind = side.told != side.next;
    // A FIN that overtook the body it ends has been told before.
    let ended = end_untold || goes_on || side.flags & side_flag::FIN != 0;
    // A long body is told of before its sequence numbers come near to wrapping.
    let long = seq_distance(side.told, side.next) > 1 << 29;
    if s.held == held::FLOW && s.delete < 2 && (closing || (ended && is_behind) || long || begins) {
        if !begins {
            // The place is not the SYN's.
            s.record_flags &= !u32::from(flag::SYN);
        }
        steps::emit_position::<E>(s, env);
    }
    if s.heads > 1 {
        env.count(Counter::SkbSeveralHeads, 1);
    }
    if s.delete == 1 {
        if E::FRAMES && E::remember_close(s) {
            env.set_syn(&s.key, &s.syn);
        } else {
            // Without the framer nobody knows whether it is between exchanges: it stays until it has been
            // silent, or a SYN begins another.
            s.delete = 0;
        }
    }
    if s.delete != 0 {
        env.count(Counter::FlowsClosed, 1);
    }
    if config.no_write_back == 0 {
        env.release(&s.key, &s.flow, s.delete != 0);
    } else {
        env.give_up(&s.key);
    }
}

/// The fields of the scratch and of the record's header that stay the same for all of a segment.
#[inline(always)]
fn prepare<E: Env>(s: &mut Scratch, config: &FilterConfig, segment: &Segment, context: &Context) {
    // As words, and zeroes that the compiler does not know for such: it would make loops over bytes
    // of both.
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
    s.untold = zero;
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

/// The fields of a record's header that are the same for all records of a segment. Filled in only
/// once there is a record: most segments have none.
#[inline(always)]
pub fn fill_header(s: &mut Scratch) {
    // As words: copied as arrays they cost the kernel's program a loop over bytes.
    let words = |address: Address| bytemuck::cast::<_, [u64; 2]>(address);
    let (a, b, a_port, b_port) = (words(s.key.a), words(s.key.b), s.key.a_port, s.key.b_port);
    let (src, dst, src_port, dst_port) = if s.direction == 0 {
        (a, b, a_port, b_port)
    } else {
        (b, a, b_port, a_port)
    };
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

/// Whether one of the ports is among those to follow. Which end is the server is not known here;
/// the host looks again.
#[inline(always)]
fn followed(config: &FilterConfig, key: &FlowKey) -> bool {
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

#[inline(always)]
pub(crate) fn side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 {
        &mut s.flow.sides[0]
    } else {
        &mut s.flow.sides[1]
    }
}

#[inline(always)]
pub(crate) fn other_side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 {
        &mut s.flow.sides[1]
    } else {
        &mut s.flow.sides[0]
    }
}

/// Of a flow that begins at this time: never 0, which stands for none.
#[inline(always)]
pub(crate) const fn generation(time_ns: u64) -> u32 {
    (time_ns >> 16) as u32 | 1
}

/// Makes the flow an empty one. As words, and a zero that the compiler does not know for one: it would
/// make a loop over bytes of it.
#[inline(always)]
fn clear_flow<E: Env>(s: &mut Scratch) {
    let zero = u64::from(E::forget(&s.block, 0));
    let words: &mut [u64; size_of::<Flow>() / 8] = bytemuck::cast_mut(&mut s.flow);
    for word in words {
        *word = zero;
    }
    s.flow.sides[0].framer = new_framer::<E>();
    s.flow.sides[1].framer = new_framer::<E>();
}

/// The framer of a direction that is taken up.
#[inline(always)]
fn new_framer<E: Env>() -> Framer {
    let mut framer = Framer::new();
    if !E::FRAMES {
        framer.lose();
    }
    framer
}

/// The whole segment ships as it is, without the flow's knowledge.
#[inline(always)]
fn ship_raw<E: Env>(s: &mut Scratch) {
    clear_flow::<E>(s);
    // Where something is skipped the host must know that this cannot say what; elsewhere nothing is.
    s.flow.generation = u32::from(!E::FRAMES);
    s.block.header.trial_from = 0;
    s.in_order = 0;
    ship_all(s);
}

/// The whole segment ships as it is.
#[inline(always)]
fn ship_all(s: &mut Scratch) {
    s.mode = mode::RAW;
    s.raw_end = s.end;
    s.frame_from = s.end;
}
