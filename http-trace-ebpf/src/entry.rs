//! One entry point per hook. Each looks and lets the packet go on.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext,
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_loop, bpf_ringbuf_output},
    macros::{cgroup_skb, classifier, socket_filter, xdp},
    programs::{SkBuffContext, TcContext, XdpContext},
};
use http_trace_common::{
    counter::Counter,
    flow::Direction,
    record::{HEADER_LEN, Hook, MAX_BYTES, RecordHeader, VERSION, flag},
    walk::{self, Segment, tcp_flag},
};

use crate::{
    insn::mask,
    maps::{EVENTS, config, count},
    packet::{Packet, Skb, SocketSkb, Xdp},
    scratch::{Claimed, Slot},
};

/// What a packet begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Ethernet,
    Ip,
}

/// TC ingress on a device with Ethernet headers. Linux 5.17 (`bpf_loop`); TCX from 6.6.
#[classifier]
pub fn tc_ingress(skb: TcContext) -> i32 {
    look(Skb(skb.skb.skb), Link::Ethernet, Hook::Tc, false);
    TC_ACT_UNSPEC
}

/// TC egress, as [`tc_ingress`].
#[classifier]
pub fn tc_egress(skb: TcContext) -> i32 {
    look(Skb(skb.skb.skb), Link::Ethernet, Hook::Tc, true);
    TC_ACT_UNSPEC
}

/// TC ingress on a device without a link-layer header (tun, wireguard).
#[classifier]
pub fn tc_ingress_ip(skb: TcContext) -> i32 {
    look(Skb(skb.skb.skb), Link::Ip, Hook::Tc, false);
    TC_ACT_UNSPEC
}

/// TC egress on a device without a link-layer header.
#[classifier]
pub fn tc_egress_ip(skb: TcContext) -> i32 {
    look(Skb(skb.skb.skb), Link::Ip, Hook::Tc, true);
    TC_ACT_UNSPEC
}

/// What enters sockets of a cgroup and those below it. 1 lets it go on.
#[cgroup_skb(ingress)]
pub fn cgroup_ingress(skb: SkBuffContext) -> i32 {
    look(Skb(skb.skb.skb), Link::Ip, Hook::Cgroup, false);
    1
}

/// What sockets of a cgroup and those below it send.
#[cgroup_skb(egress)]
pub fn cgroup_egress(skb: SkBuffContext) -> i32 {
    look(Skb(skb.skb.skb), Link::Ip, Hook::Cgroup, true);
    1
}

/// The filter of an AF_PACKET socket of type SOCK_DGRAM, whose packets begin with their IP header
/// on every device: 0 keeps every packet out of the socket's queue.
#[socket_filter]
pub fn packet_socket(skb: SkBuffContext) -> i64 {
    // PACKET_OUTGOING (linux/if_packet.h).
    // SAFETY: the context is valid.
    let outgoing = unsafe { (*skb.skb.skb).pkt_type } == 4;
    look(
        SocketSkb(skb.skb.skb),
        Link::Ip,
        Hook::SocketFilter,
        outgoing,
    );
    0
}

/// XDP, ingress only. Linux 5.18 (`bpf_xdp_load_bytes`).
#[xdp(frags)]
pub fn xdp(context: XdpContext) -> u32 {
    look(Xdp(context.ctx), Link::Ethernet, Hook::Xdp, false);
    XDP_PASS
}

#[inline(always)]
fn look<P: Packet>(packet: P, link: Link, hook: Hook, egress: bool) {
    count(Counter::Packets, 1);
    let netns = config().netns;
    let segment = match link {
        Link::Ethernet => walk::ethernet(&packet, netns),
        Link::Ip => walk::ip(&packet, 0, netns),
    };
    match segment {
        Err(skip) => count(skip.counter(), 1),
        Ok(segment) if segment.payload_len > 16 => ship(packet, &segment, hook, egress),
        Ok(_) => {}
    }
}

struct Loop<P> {
    slot: *mut Slot,
    packet: P,
}

#[inline(always)]
fn ship<P: Packet>(packet: P, segment: &Segment, hook: Hook, egress: bool) {
    let mut start = [0u64; 2];
    // SAFETY: sixteen bytes.
    if !unsafe { packet.load(segment.payload_offset, (&raw mut start).cast(), 16) } {
        return count(Counter::LoadFailed, 1);
    }
    if start[0] & 0xff_ffff_ffff != u64::from_le_bytes(*b"HTTP/\0\0\0") {
        return count(Counter::NotHttp, 1);
    }
    let Some(slot) = Claimed::new() else {
        return count(Counter::ScratchBusy, 1);
    };
    let len = segment.payload_len.min(MAX_BYTES as u32);
    let (src, src_port) = segment.key.sender(segment.direction);
    let (dst, dst_port) = segment.key.sender(segment.direction.opposite());
    let h = unsafe { &mut (*slot.0).header };
    h.time_ns = unsafe { bpf_ktime_get_boot_ns() };
    h.cgroup_id = 0;
    h.socket_cookie = 0;
    h.src = src;
    h.dst = dst;
    h.netns = segment.key.netns;
    h.generation = 0;
    h.seq = segment.payload_seq();
    h.ack = segment.ack;
    h.skip_from = segment.payload_seq();
    h.skip_to = segment.payload_seq().wrapping_add(len);
    h.len = len;
    h.wire_len = packet.len();
    h.attempt = 0;
    h.src_port = src_port;
    h.dst_port = dst_port;
    h.flags = flag::SEGMENT_BEGINS
        | flag::UNFILTERED
        | if egress { flag::EGRESS } else { 0 }
        | if segment.flags & tcp_flag::ACK != 0 {
            flag::ACK
        } else {
            0
        };
    h.retransmissions = 0;
    h.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    h.version = VERSION;
    h.hook = hook as u8;
    h.interfaces = [packet.ifindex(), 0, 0, 0];
    h.reserved = [segment.payload_offset, 0];
    let mut state = Loop {
        slot: slot.0,
        packet,
    };
    // SAFETY: the callback takes what it is given here.
    unsafe { bpf_loop(1, step::<P> as *mut c_void, (&raw mut state).cast(), 0) };
    slot.release();
}

extern "C" fn step<P: Packet>(_: u64, state: *mut Loop<P>) -> i64 {
    // SAFETY: `ship` passes these.
    unsafe {
        let slot = (*state).slot;
        let packet = (*state).packet;
        let len = mask::<{ MAX_BYTES as u32 - 1 }>(u64::from((*slot).header.len) - 1) + 1;
        let to = (&raw mut (*slot).bytes).cast();
        if !packet.load((*slot).header.reserved[0], to, len as u32) {
            count(Counter::LoadFailed, 1);
            return 1;
        }
        (*slot).header.reserved = [0, 0];
        let record = (&raw mut (*slot).header).cast();
        let written = bpf_ringbuf_output(
            (&raw const EVENTS).cast_mut().cast(),
            record,
            HEADER_LEN as u64 + len,
            2, // BPF_RB_NO_WAKEUP
        );
        count(
            if written == 0 {
                Counter::Records
            } else {
                Counter::RingFull
            },
            1,
        );
    }
    1
}
