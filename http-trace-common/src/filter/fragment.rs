//! IP fragments. The TCP segment is known only when all fragments are there, so each ships as it
//! is, within its own budget, and the host reassembles them.
//!
//! To the flow such a segment is a gap: where it is not provably body, the direction becomes
//! `Unsure`, as after any other gap, until the host hands its framing back.

use super::{
    env::{Claim, Context, Env},
    first::First,
    segment::{clear_flow, first_bytes, followed, prepare},
    ship::emit_passed,
    state::{BLOCK_BYTES, Continue, Scratch, generation, side},
};
use crate::{
    config::{FilterConfig, decap},
    counter::Counter,
    flow::Words,
    framer::RequestQueue,
    record::{self, FragmentHeader, HEADER_LEN, flag},
    walk::{self, PacketBytes, Piece, ip_proto},
};

/// Number of calls of [`fragment_step`] that ship a fragment of 64 KiB.
pub const FRAGMENT_STEPS: u32 = 64 / (BLOCK_BYTES >> 10);

/// Examines the fragment in the IP packet at offset `at` of a frame. Returns `true` if
/// [`fragment_step`] must be called until it returns `false`.
#[inline(always)]
pub fn begin_fragment<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    frame: &(impl PacketBytes + ?Sized),
    at: u32,
    netns: u32,
    context: &Context,
) -> Continue {
    let piece = match walk::piece(frame, at) {
        Ok(piece) => piece,
        Err(skip) => {
            env.count(skip.counter(), 1);
            return false;
        }
    };
    if !may_hold_tcp(piece.protocol, config.decap) {
        env.count(Counter::NotTcp, 1);
        return false;
    }
    let mut flags = flag::FRAGMENT;
    if piece.offset == 0 && piece.protocol == ip_proto::TCP {
        flags = first_of_segment(s, env, config, frame, &piece, netns, context);
    }
    // The other fragments of a packet do not show their connection and ship. Without a record that
    // says the first one is not wanted, they would wait for it and might be combined with the next
    // packet of the same identification.
    let wanted = flags != 0;
    flags |= flag::FRAGMENT | flag::FILTERED | flag::UNFILTERED | flag::SEGMENT_BEGINS;
    if context.egress {
        flags |= flag::EGRESS;
    }
    s.record_flags = u32::from(flags);
    s.payload_offset = piece.data_offset;
    s.end = if wanted { piece.data_len } else { 0 };
    s.at = 0;
    let blocks = (s.end >> 12) + 1;
    if !env.fragment_budget(context.time_ns, s.end + blocks * HEADER_LEN as u32) {
        if wanted {
            env.count(Counter::FragmentDropped, 1);
            env.count(Counter::FragmentDroppedBytes, s.end);
        }
        return false;
    }
    if wanted {
        env.count(Counter::Fragment, 1);
    }
    fill_header(s, &piece, netns, context);
    true
}

/// Ships a block of the fragment, or the record that says it is not wanted. Returns whether there
/// is more.
#[inline(always)]
pub fn fragment_step<E: Env>(s: &mut Scratch, env: &mut E) -> Continue {
    let left = s.end.saturating_sub(s.at);
    let block = BLOCK_BYTES;
    let len = if left < block { left } else { block };
    if len != 0 {
        let len = E::mask(len - 1, block - 1) + 1;
        let offset = s.payload_offset.wrapping_add(s.at);
        if !env.load(&mut s.block, offset, len) {
            env.count(Counter::LoadFailed, 1);
            return false;
        }
    }
    let last = len == left;
    let begins = s.at == 0;
    let header = fragment_header(s);
    if !begins {
        header.flags &= !flag::SEGMENT_BEGINS;
    }
    let more = header.more;
    if !last {
        header.more = 1;
    }
    header.end = header.offset.wrapping_add(len);
    header.len = len;
    env.emit(&mut s.block);
    let header = fragment_header(s);
    header.more = more;
    header.offset = header.end;
    s.at = s.at.wrapping_add(len);
    !last
}

/// The header of the record of a fragment.
#[inline(always)]
fn fragment_header(s: &mut Scratch) -> &mut FragmentHeader {
    bytemuck::cast_mut(&mut s.block.header)
}

/// Whether a payload of this protocol is TCP, may turn out to be, or belongs to a decapsulated
/// tunnel.
#[inline(always)]
fn may_hold_tcp(protocol: u8, which: u32) -> bool {
    match protocol {
        ip_proto::TCP
        | ip_proto::HOP_BY_HOP
        | ip_proto::ROUTING
        | ip_proto::DESTINATION
        | ip_proto::AH => true,
        ip_proto::UDP => which & decap::VXLAN != 0,
        ip_proto::IPIP | ip_proto::IPV6 => which & decap::IPIP != 0,
        _ => false,
    }
}

/// Handles the first fragment of a packet, which has the TCP header: finds the connection and
/// updates it. Returns the flags of the record, 0 if it does not ship.
#[inline(always)]
fn first_of_segment<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    frame: &(impl PacketBytes + ?Sized),
    piece: &Piece,
    netns: u32,
    context: &Context,
) -> u16 {
    let Ok(segment) = walk::first_piece(frame, piece, netns) else {
        // The rest of the TCP header is in another fragment; the ports are in this one.
        let Some(key) = walk::piece_key(frame, piece, netns) else {
            return flag::FRAGMENT;
        };
        s.key = bytemuck::cast(bytemuck::cast::<_, [u64; 5]>(key));
        if !followed(config, &s.key) {
            env.count(Counter::Excluded, 1);
            return 0;
        }
        return if is_own(s, env) { 0 } else { flag::FRAGMENT };
    };
    if !followed(config, &segment.key) {
        env.count(Counter::Excluded, 1);
        return 0;
    }
    prepare::<E>(s, config, &segment, context);
    s.end = segment.payload_len;
    env.syn(&s.key, &mut s.syn);
    let at_start = s.syn.begins(segment.direction, s.seq);
    let flags = if at_start { flag::FRAGMENT | flag::STREAM_BEGINS } else { flag::FRAGMENT };
    match env.claim(&s.key, &mut s.flow) {
        Claim::Held => {
            if side(s).framer.is_response() != Some(true) {
                // A request that is not seen here may change how its response is framed (HEAD,
                // CONNECT).
                s.flow.queue.set_unknown();
            }
            s.flow.last_seen_s = (context.time_ns / 1_000_000_000) as u32;
            let own = side(s);
            if E::FRAMES && own.reported != own.next {
                // The host will get bytes on both sides of what was skipped since.
                emit_passed(s, env);
            }
        }
        Claim::Refused => return flags,
        // No payload yet: only the next fragment shows whether a message begins.
        Claim::Missing if s.end == 0 => return if is_own(s, env) { 0 } else { flags },
        Claim::Missing => {
            let begins = match first_bytes(s, env) {
                First::Status | First::Request => true,
                First::Prefix => at_start,
                _ => false,
            };
            if !begins {
                env.count(Counter::NotHttp, 1);
                return 0;
            }
            if is_own(s, env) {
                return 0;
            }
            // Follow the connection from here on, although the position of either side is unknown:
            // the rest of the message may come in whole packets.
            clear_flow::<E>(s);
            s.flow.queue = RequestQueue::unknown();
            s.flow.generation = generation(context.time_ns);
            s.flow.last_seen_s = (context.time_ns / 1_000_000_000) as u32;
            s.flow.interfaces = [context.interface, 0, 0, 0];
            match env.insert(&s.key, &mut s.flow) {
                Claim::Held => env.count(Counter::FlowsAdmitted, 1),
                Claim::Refused => return flags,
                Claim::Missing => {
                    env.count(Counter::TableFull, 1);
                    return flags;
                }
            }
        }
    }
    env.release(&s.key, &s.flow, false);
    flags
}

/// Whether the segment belongs to a connection of the agent itself; counts it if so.
#[inline(always)]
fn is_own<E: Env>(s: &Scratch, env: &mut E) -> bool {
    let own = env.is_own(&s.key);
    if own {
        env.count(Counter::OwnTraffic, 1);
    }
    own
}

/// Fills in the header fields that are the same for all records of the fragment.
#[inline(always)]
fn fill_header(s: &mut Scratch, piece: &Piece, netns: u32, context: &Context) {
    let flags = s.record_flags as u16;
    let header = fragment_header(s);
    header.time_ns = context.time_ns;
    header.src = bytemuck::cast::<Words, _>(piece.src);
    header.dst = bytemuck::cast::<Words, _>(piece.dst);
    header.netns = netns;
    header.generation = 0;
    header.identification = piece.identification;
    header.protocol = piece.protocol;
    header.more = piece.more as u8;
    header.v6 = piece.v6 as u8;
    header.pad = 0;
    header.offset = piece.offset;
    header.wire_len = context.wire_len;
    header.ports = [0; 2];
    header.flags = flags;
    header.retransmissions = 0;
    header.version = record::VERSION;
    header.hook = context.hook as u8;
    header.interfaces = [context.interface, 0, 0, 0];
}
