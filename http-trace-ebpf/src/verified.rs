//! Parts of the filter that the verifier walks once, as separate functions.
//!
//! To the verifier an exported function is a *global* function (Linux 5.6; pointers to structs as
//! arguments, 5.13): it is checked for any arguments of its types, and calls to it are not followed.
//! Otherwise every path through one part would be walked again for every path through the parts before
//! it.

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::bpf_ktime_get_boot_ns,
};
use http_trace_common::{
    config::decap,
    counter::Counter,
    filter::{self, Block, FRAGMENT_STEPS, Flow, Inside, Scratch},
    flow::FlowKey,
    record::Hook,
    walk::{self, PacketBytes, Skip, Tunnel},
};

use crate::{
    env::{Kernel, emit, our_claim},
    insn::compare_exchange,
    maps::{SCRATCH, config, count, is_own},
    packet::{ByHelper, Packet, Skb, SocketSkb, Xdp, inside},
    scratch::Slot,
};

/// Runs one step of the framer.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_frame_step(scratch: *mut Scratch) -> u32 {
    // SAFETY: null or a scratch; the verifier checks this for all callers. The same holds below.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        filter::frame_step::<Kernel<Skb>>(scratch);
    }
    0
}

/// Takes wanted body bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_take_body(scratch: *mut Scratch) -> u32 {
    // SAFETY: as above.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        filter::take_body(scratch);
    }
    0
}

/// Sets the flow to a connection that begins.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_begin_flow(scratch: *mut Scratch, place: u32) -> u32 {
    // SAFETY: as above.
    match unsafe { scratch.as_mut() } {
        Some(scratch) => filter::begin_flow::<Kernel<Skb>>(scratch, place),
        None => 0,
    }
}

/// Learns from a SYN. 1 if it must be reported.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_learn_syn(scratch: *mut Scratch) -> u32 {
    // SAFETY: as above.
    match unsafe { scratch.as_mut() } {
        Some(scratch) => filter::learn_syn(scratch).into(),
        None => 0,
    }
}

/// Handles a segment on a tuple on which a SYN was seen.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_after_syn(scratch: *mut Scratch) -> u32 {
    // SAFETY: as above.
    match unsafe { scratch.as_mut() } {
        Some(scratch) => filter::after_syn::<Kernel<Skb>>(scratch).into(),
        None => 0,
    }
}

/// Decides what happens to a flow when its connection seems to close.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_note_close(scratch: *mut Scratch) -> u32 {
    // SAFETY: as above.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        filter::note_close(scratch);
    }
    0
}

/// Remembers a connection that closes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_remember_close(scratch: *mut Scratch) -> u32 {
    // SAFETY: as above.
    match unsafe { scratch.as_mut() } {
        Some(scratch) => filter::remember_close(scratch).into(),
        None => 0,
    }
}

/// Finds the end of a line: the number of bytes up to it, and 1 in the upper half if it was found.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_find_lf(block: *const Block, at: u32, end: u32) -> u64 {
    // SAFETY: as above.
    let Some(block) = (unsafe { block.as_ref() }) else {
        return 0;
    };
    let (taken, found) = filter::find_lf::<Kernel<Skb>>(block, at, end);
    u64::from(taken) | u64::from(found) << 32
}

/// Matches the end of a request line.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_match_suffix(block: *const Block, state: u32, at: u32, end: u32) -> u32 {
    // SAFETY: as above.
    match unsafe { block.as_ref() } {
        Some(block) => filter::match_suffix::<Kernel<Skb>>(block, state as u8, at, end).into(),
        None => 0,
    }
}

/// Classifies a segment of an unknown connection: the number of the [`filter::First`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_classify(w0: u64, w1: u64, len: u32) -> u32 {
    filter::classify(w0, w1, len) as u32
}

/// Fills in the header fields that are the same for all records of a segment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_fill_header(scratch: *mut Scratch) -> u32 {
    // SAFETY: as above.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        filter::fill_header(scratch);
    }
    0
}

/// Fills in the header fields that differ between records.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_prepare_record(
    scratch: *mut Scratch,
    seq: u32,
    skip_from: u32,
    skip_to: u32,
    extra: u32,
) -> u32 {
    // SAFETY: as above.
    if let Some(scratch) = unsafe { scratch.as_mut() } {
        filter::prepare_record(scratch, seq, skip_from, skip_to, extra as u16);
    }
    0
}

/// Whether one end of a connection is one of the agent's own sockets.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_is_own(key: *const FlowKey) -> u32 {
    // SAFETY: as above.
    let Some(key) = (unsafe { key.as_ref() }) else {
        return 0;
    };
    u32::from(is_own(&key.a, key.a_port) || is_own(&key.b, key.b_port))
}

/// Skips a segment inside a body: [`filter::skip_inside`]. 1 if that was done. `at` is its place, and above it its
/// direction.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_skip_inside(flow: *mut Flow, seq: u32, len: u32, at: u64) -> u32 {
    // SAFETY: as above.
    let Some(flow) = (unsafe { flow.as_mut() }) else {
        return 0;
    };
    let segment = Inside {
        direction: (at >> 32) as u32,
        seq,
        len,
        place: at as u32,
        no_write_back: config().no_write_back != 0,
    };
    let claim = &raw mut flow.claim;
    // SAFETY: a field of the flow. While it is held, no other context accesses the rest.
    unsafe {
        if compare_exchange(claim, 0, our_claim()) != 0 {
            return 0;
        }
        let now_s = (bpf_ktime_get_boot_ns() / 1_000_000_000) as u32;
        let skipped = filter::skip_inside(flow, &segment, now_s);
        claim.write_volatile(0);
        skipped.into()
    }
}

// Functions that look up a key in a map take the index of their slot: before Linux 6.2 the verifier
// accepts no map key from behind a pointer argument.

macro_rules! begin {
    ($(#[$doc:meta])* $name:ident, $packet:ident, $context:ty) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(context: *mut $context, index: u32) -> u32 {
            let Some(slot) = slot(index) else {
                return 0;
            };
            let mut env = Kernel::<_> { packet: $packet(context), slot: index };
            let more = filter::begin(
                &mut slot.scratch,
                &mut env,
                config(),
                &slot.segment,
                &slot.context,
            );
            u32::from(more)
        }
    };
}

macro_rules! disproved {
    ($(#[$doc:meta])* $name:ident, $packet:ident, $context:ty) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(context: *mut $context, index: u32) -> u32 {
            let Some(slot) = slot(index) else {
                return 0;
            };
            let mut env = Kernel::<_> { packet: $packet(context), slot: index };
            filter::sum::is_disproved(&mut slot.scratch, &mut env, &slot.segment).into()
        }
    };
}

disproved!(
    /// Whether a SYN, FIN or RST has a wrong checksum, at TC and cgroup_skb.
    disproved_skb, Skb, __sk_buff
);
disproved!(
    /// Whether a SYN, FIN or RST has a wrong checksum, at a socket filter.
    disproved_sock, SocketSkb, __sk_buff
);
disproved!(
    /// Whether a SYN, FIN or RST has a wrong checksum, at XDP.
    disproved_xdp, Xdp, xdp_md
);

macro_rules! emit {
    ($(#[$doc:meta])* $name:ident, $packet:ident, $context:ty) => {
        $(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(context: *mut $context, block: *mut Block) -> u32 {
            // SAFETY: as above.
            if let Some(block) = unsafe { block.as_mut() } {
                emit::<true>(block, $packet(context).socket());
            }
            0
        }
    };
}

emit!(
    /// Writes a record to the ring buffer, at TC and cgroup_skb.
    verified_emit_skb, Skb, __sk_buff
);
emit!(
    /// Writes a record to the ring buffer, at a socket filter.
    verified_emit_socket, SocketSkb, __sk_buff
);
/// Writes a record to the ring buffer, at XDP, where no socket is known: a context that is not used is not passed.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn verified_emit_xdp(block: *mut Block) -> u32 {
    // SAFETY: as above.
    if let Some(block) = unsafe { block.as_mut() } {
        emit::<true>(block, (0, 0));
    }
    0
}

begin!(
    /// Examines a segment, at TC and cgroup_skb.
    verified_begin_skb, Skb, __sk_buff
);
begin!(
    /// Examines a segment, at a socket filter.
    verified_begin_socket, SocketSkb, __sk_buff
);
begin!(
    /// Examines a segment, at XDP.
    verified_begin_xdp, Xdp, xdp_md
);

// Before Linux 5.13 a global function can take only the context and numbers. So what those kernels
// need, the path without framing and everything it calls, takes the index of its slot.

/// The slot with this index.
#[inline(always)]
fn slot<'a>(index: u32) -> Option<&'a mut Slot> {
    // SAFETY: the caller holds the slot, and has no reference to it during the call.
    SCRATCH.get_ptr_mut(index).and_then(|slot| unsafe { slot.as_mut() })
}

/// The value for the packet's network namespace, and for its VLANs, in flow keys.
#[inline(always)]
fn netns(packet: &impl Packet, slot: &Slot) -> u32 {
    let config = config();
    let own = if slot.context.hook as u8 == Hook::Cgroup as u8 {
        packet.netns(config.netns)
    } else {
        config.netns
    };
    if config.decap & decap::VLAN == 0 {
        return own;
    }
    Tunnel::netns_tagged(slot.tags, own)
}

/// Like [`netns`], including the tunnel in the slot if there is one.
#[inline(always)]
fn netns_inside(packet: &impl Packet, slot: &Slot) -> u32 {
    let (own, which) = (netns(packet, slot), config().decap);
    if which == 0 {
        return own;
    }
    Tunnel::netns(slot.scratch.block.tunnel.what, own, which)
}

/// Stores the VLANs of a packet in its slot and in the key of the segment there, if that belongs to
/// this packet.
#[inline(always)]
fn put_tags(frame: &impl PacketBytes, has_ethernet: bool, beside: u32, index: u32) -> u32 {
    let Some(slot) = slot(index) else {
        return 0;
    };
    let tags = walk::tags(frame, has_ethernet, beside);
    slot.tags = tags;
    slot.scratch.block.tunnel = Tunnel::of_tags(tags);
    let key = &mut slot.segment.key;
    key.netns = Tunnel::netns_tagged(tags, key.netns);
    0
}

/// Calls [`put_tags`] for an skb, which begins with an Ethernet header unless `has_ethernet` is 0.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tags_skb(context: *mut __sk_buff, index: u32, has_ethernet: u32) -> u32 {
    let packet = Skb(context);
    let (has_ethernet, beside) = (has_ethernet != 0, packet.tag_beside());
    put_tags(&ByHelper(packet), has_ethernet, beside, index)
}

/// Calls [`put_tags`] at a socket filter.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tags_sock(context: *mut __sk_buff, index: u32) -> u32 {
    let packet = SocketSkb(context);
    let (frame, has_ethernet) = packet.frame();
    put_tags(&frame, has_ethernet, packet.tag_beside(), index)
}

/// Calls [`put_tags`] at XDP.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tags_xdp(context: *mut xdp_md, index: u32) -> u32 {
    put_tags(&ByHelper(Xdp(context)), true, 0, index)
}

macro_rules! inside {
    ($name:ident, $packet:ident, $context:ty) => {
        /// Looks into a tunnel or a fragment; takes and returns bits of [`inside`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(context: *mut $context, index: u32, what: u32) -> u32 {
            let Some(slot) = slot(index) else {
                return 0;
            };
            let packet = ByHelper($packet(context));
            let has_ethernet = $packet::ETHERNET && what & inside::HAS_ETHERNET != 0;
            let outer = match has_ethernet {
                true => walk::ip_of_ethernet(&packet),
                false => Ok(packet.0.before()),
            };
            let piece_at = if what & inside::FRAGMENT != 0 {
                outer
            } else {
                let tunnel = &mut slot.scratch.block.tunnel;
                let inner = |at| walk::inner_ip(&packet, at, config().decap, tunnel);
                match outer.and_then(inner) {
                    Ok(at) => match walk::ip(&packet, at, netns_inside(&packet.0, slot)) {
                        Ok(segment) => {
                            slot.segment = segment;
                            count(Counter::Decapsulated, 1);
                            return inside::SEGMENT;
                        }
                        Err(Skip::Fragment) => Ok(at),
                        Err(skip) => Err(skip),
                    },
                    Err(Skip::Fragment) => outer,
                    Err(skip) => Err(skip),
                }
            };
            match piece_at {
                Ok(at) => inside::FRAGMENT | at & inside::OFFSET,
                Err(_) => {
                    count(Counter::NotTcp, 1);
                    0
                }
            }
        }
    };
}

inside!(inside_skb, Skb, __sk_buff);
inside!(inside_sock, SocketSkb, __sk_buff);
inside!(inside_xdp, Xdp, xdp_md);

macro_rules! fragment {
    ($name:ident, $packet:ident, $context:ty, $frames:literal) => {
        /// Ships the IP fragment that was found by looking inside.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(context: *mut $context, index: u32, found: u32) -> u32 {
            let Some(slot) = slot(index) else {
                return 0;
            };
            let packet = $packet(context);
            let netns = netns_inside(&packet, slot);
            let mut env = Kernel::<_, $frames> { packet, slot: index };
            let (bytes, at) = (ByHelper(packet), found & inside::OFFSET);
            let (s, context) = (&mut slot.scratch, &slot.context);
            if filter::begin_fragment(s, &mut env, config(), &bytes, at, netns, context) {
                let mut steps = 0;
                while steps < FRAGMENT_STEPS && filter::fragment_step(s, &mut env) {
                    steps += 1;
                }
            }
            0
        }
    };
}

fragment!(fragment_skb, Skb, __sk_buff, true);
fragment!(fragment_sock, SocketSkb, __sk_buff, true);
fragment!(fragment_xdp, Xdp, xdp_md, true);
fragment!(plain_fragment_skb, Skb, __sk_buff, false);
fragment!(plain_fragment_sock, SocketSkb, __sk_buff, false);

/// Whether the first line in the block of a slot ends like a request line.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn plain_ends_request_line(index: u32, len: u32) -> u32 {
    let Some(slot) = slot(index) else {
        return 0;
    };
    u32::from(filter::ends_request_line::<Kernel<Skb, false>>(&slot.scratch.block, len))
}

macro_rules! plain {
    ($packet:ident, $begin:ident, $step:ident, $finish:ident) => {
        /// Examines a segment.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $begin(context: *mut __sk_buff, index: u32) -> u32 {
            let Some(slot) = slot(index) else {
                return 0;
            };
            let mut env = Kernel::<_, false> { packet: $packet(context), slot: index };
            let s = &mut slot.scratch;
            let more = filter::begin(s, &mut env, config(), &slot.segment, &slot.context);
            u32::from(more)
        }

        /// Ships one block of the segment.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $step(context: *mut __sk_buff, index: u32) -> u32 {
            let Some(slot) = slot(index) else {
                return 0;
            };
            let mut env = Kernel::<_, false> { packet: $packet(context), slot: index };
            u32::from(filter::raw_step(&mut slot.scratch, &mut env))
        }

        /// Finishes the segment; `all` is 0 if not all of it was shipped.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $finish(context: *mut __sk_buff, index: u32, all: u32) -> u32 {
            let Some(slot) = slot(index) else {
                return 0;
            };
            let mut env = Kernel::<_, false> { packet: $packet(context), slot: index };
            if all == 0 {
                filter::drop_rest(&mut slot.scratch, &mut env);
            }
            filter::finish(&mut slot.scratch, &mut env, config());
            0
        }
    };
}

plain!(Skb, plain_begin_skb, plain_step_skb, plain_finish_skb);
plain!(SocketSkb, plain_begin_sock, plain_step_sock, plain_finish_sock);
