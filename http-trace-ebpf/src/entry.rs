//! One entry point per hook. Each examines the packet and lets it pass. The kernel shows these names
//! wherever it lists programs, cut after 15 bytes.

use core::{ffi::c_void, ptr::null_mut};

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action::XDP_PASS},
    helpers::{bpf_ktime_get_boot_ns, bpf_loop},
    macros::{cgroup_skb, classifier, socket_filter, xdp},
    programs::{SkBuffContext, TcContext, XdpContext},
};
use http_trace_common::{
    config::decap,
    counter::Counter,
    filter::{self, Flow, RAW_STEPS, Scratch},
    flow::FlowKey,
    record::Hook,
    walk::{self, Segment, Skip, tcp_flag},
};

use crate::{
    env::Kernel,
    log,
    maps::{FLOWS, config, count, is_wanted_interface},
    packet::{Packet, Skb, SocketSkb, Xdp, inside},
    scratch::Claimed,
    verified::verified_skip_inside,
};

/// First header of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Ethernet,
    Ip,
}

/// TC ingress on a device with Ethernet headers. Linux 5.17 (`bpf_loop`); TCX from 6.6.
#[classifier]
pub fn http_trace_in(skb: TcContext) -> i32 {
    look::<_, true>(Skb(skb.skb.skb), Link::Ethernet, Hook::Tc, false);
    TC_ACT_UNSPEC
}

/// TC egress, otherwise like [`http_trace_in`].
#[classifier]
pub fn http_trace_out(skb: TcContext) -> i32 {
    look::<_, true>(Skb(skb.skb.skb), Link::Ethernet, Hook::Tc, true);
    TC_ACT_UNSPEC
}

/// TC ingress on a device without a link-layer header (tun, wireguard).
#[classifier]
pub fn http_trace_ip_in(skb: TcContext) -> i32 {
    look::<_, true>(Skb(skb.skb.skb), Link::Ip, Hook::Tc, false);
    TC_ACT_UNSPEC
}

/// TC egress on a device without a link-layer header.
#[classifier]
pub fn http_trace_ipout(skb: TcContext) -> i32 {
    look::<_, true>(Skb(skb.skb.skb), Link::Ip, Hook::Tc, true);
    TC_ACT_UNSPEC
}

/// Packets that enter sockets of a cgroup and its descendants. 1 lets them pass.
#[cgroup_skb(ingress)]
pub fn http_trace_cg_in(skb: SkBuffContext) -> i32 {
    look::<_, true>(Skb(skb.skb.skb), Link::Ip, Hook::Cgroup, false);
    1
}

/// Packets sent by sockets of a cgroup and its descendants.
#[cgroup_skb(egress)]
pub fn http_trace_cgout(skb: SkBuffContext) -> i32 {
    look::<_, true>(Skb(skb.skb.skb), Link::Ip, Hook::Cgroup, true);
    1
}

/// The filter of an AF_PACKET socket of type SOCK_DGRAM, whose packets begin with their IP header on
/// every device. 0 keeps every packet out of the queue of the socket.
#[socket_filter]
pub fn http_trace_sock(skb: SkBuffContext) -> i64 {
    look_at_socket::<true>(&skb)
}

/// XDP, ingress only. Linux 5.18 (`bpf_xdp_load_bytes`).
#[xdp(frags)]
pub fn http_trace_xdp(context: XdpContext) -> u32 {
    look::<_, true>(Xdp(context.ctx), Link::Ethernet, Hook::Xdp, false);
    XDP_PASS
}

// The same for kernels without bpf_loop: nothing is framed in the kernel. Linux 5.8 (ring buffer).

/// [`http_trace_in`] without framing.
#[classifier]
pub fn http_trace_hin(skb: TcContext) -> i32 {
    look::<_, false>(Skb(skb.skb.skb), Link::Ethernet, Hook::Tc, false);
    TC_ACT_UNSPEC
}

/// [`http_trace_out`] without framing.
#[classifier]
pub fn http_trace_hout(skb: TcContext) -> i32 {
    look::<_, false>(Skb(skb.skb.skb), Link::Ethernet, Hook::Tc, true);
    TC_ACT_UNSPEC
}

/// [`http_trace_ip_in`] without framing.
#[classifier]
pub fn http_trace_hipi(skb: TcContext) -> i32 {
    look::<_, false>(Skb(skb.skb.skb), Link::Ip, Hook::Tc, false);
    TC_ACT_UNSPEC
}

/// [`http_trace_ipout`] without framing.
#[classifier]
pub fn http_trace_hipo(skb: TcContext) -> i32 {
    look::<_, false>(Skb(skb.skb.skb), Link::Ip, Hook::Tc, true);
    TC_ACT_UNSPEC
}

/// [`http_trace_cg_in`] without framing.
#[cgroup_skb(ingress)]
pub fn http_trace_hcgi(skb: SkBuffContext) -> i32 {
    look::<_, false>(Skb(skb.skb.skb), Link::Ip, Hook::Cgroup, false);
    1
}

/// [`http_trace_cgout`] without framing.
#[cgroup_skb(egress)]
pub fn http_trace_hcgo(skb: SkBuffContext) -> i32 {
    look::<_, false>(Skb(skb.skb.skb), Link::Ip, Hook::Cgroup, true);
    1
}

/// [`http_trace_sock`] without framing.
#[socket_filter]
pub fn http_trace_hsoc(skb: SkBuffContext) -> i64 {
    look_at_socket::<false>(&skb)
}

/// 0 keeps the packet out of the socket's queue.
#[inline(always)]
fn look_at_socket<const FRAMES: bool>(skb: &SkBuffContext) -> i64 {
    let packet = SocketSkb::begin(skb.skb.skb);
    let outgoing = packet.is_outgoing();
    look::<_, FRAMES>(packet, Link::Ip, Hook::SocketFilter, outgoing);
    0
}

/// Handles a packet, then logs pending messages.
#[inline(always)]
fn look<P: Packet, const FRAMES: bool>(packet: P, link: Link, hook: Hook, egress: bool) {
    follow::<P, FRAMES>(packet, link, hook, egress);
    log::log_pending::<FRAMES>(packet.ifindex());
}

/// Finds the TCP segment and lets the filter decide which part of it the host must see.
#[inline(always)]
fn follow<P: Packet, const FRAMES: bool>(packet: P, link: Link, hook: Hook, egress: bool) {
    count(Counter::Packets, 1);
    let config = config();
    let netns = if hook == Hook::Cgroup { packet.netns(config.netns) } else { config.netns };
    let everywhere = matches!(hook, Hook::Cgroup | Hook::SocketFilter);
    if everywhere && !is_wanted_interface(packet.ifindex(), netns == config.netns) {
        return count(Counter::Excluded, 1);
    }
    let segment = match link {
        Link::Ethernet => walk::ethernet(&packet, netns),
        Link::Ip => walk::ip(&packet, packet.before(), netns),
    };
    // Each branch claims a slot of its own: a common variable for an optional segment would not fit
    // the stack.
    let slot = match segment {
        Ok(segment) => {
            // A bare acknowledgement, like most packets of a download: nothing to examine.
            let control = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
            if segment.payload_len == 0 && segment.flags & control == 0 {
                return;
            }
            if config.count_skbs != 0 && segment.payload_len > 0 {
                count_kind(&packet, link, hook);
            }
            // The socket filter has no room for it.
            if FRAMES && hook != Hook::SocketFilter && is_settled(&packet, &segment, hook, egress) {
                return;
            }
            let Some(slot) = Claimed::new::<FRAMES>() else {
                return count(Counter::ScratchBusy, 1);
            };
            // SAFETY: the slot is ours until it is released, and there is no other reference to it.
            unsafe { (*slot.0).segment = segment };
            note(&slot, &packet, link, hook, egress);
            slot
        }
        Err(skip)
            if skip == Skip::Fragment
                || skip == Skip::NotTcp && config.decap & decap::TUNNELS != 0 =>
        {
            let Some(slot) = Claimed::new::<FRAMES>() else {
                return count(Counter::ScratchBusy, 1);
            };
            note(&slot, &packet, link, hook, egress);
            let what = (u32::from(link == Link::Ethernet) * inside::HAS_ETHERNET)
                | (u32::from(skip == Skip::Fragment) * inside::FRAGMENT);
            let found = packet.look_inside(slot.1, what);
            if found & inside::FRAGMENT != 0 {
                packet.fragment::<FRAMES>(slot.1, found);
            }
            if found & inside::SEGMENT == 0 {
                return slot.release();
            }
            slot
        }
        Err(skip) => return count(skip.counter(), 1),
    };
    if !FRAMES {
        ship(packet, slot.1);
        return slot.release();
    }
    // SAFETY: as above.
    let flags = unsafe { (*slot.0).segment.flags };
    let control = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
    if flags & control != 0 && packet.is_disproved(slot.1) {
        count(Counter::BadChecksum, 1);
        return slot.release();
    }
    let mut env = Kernel::<P> { packet, slot: slot.1 };
    if packet.begin(slot.1) {
        // SAFETY: as above.
        let scratch = unsafe { &raw mut (*slot.0).scratch };
        let mut state = Steps { scratch, env };
        // SAFETY: the callback gets the context that it expects.
        unsafe { bpf_loop(STEPS, step::<P> as *mut c_void, (&raw mut state).cast(), 0) };
        env = state.env;
    }
    // SAFETY: as above.
    filter::finish(unsafe { &mut (*slot.0).scratch }, &mut env, config);
    slot.release();
}

/// Settles a segment whose first byte begins no message, if that needs no working memory: of a connection that is not
/// followed, like most packets that are not HTTP/1.x, or inside a body.
#[inline(always)]
fn is_settled(packet: &impl Packet, segment: &Segment, hook: Hook, egress: bool) -> bool {
    let first: Option<u32> = packet.read_as(segment.payload_offset);
    if first.is_none_or(|word| !filter::may_settle(config(), segment, word as u8)) {
        return false;
    }
    let [a, b, c, d, e] = bytemuck::cast(segment.key);
    let flow = look_up(a, b, c, d, e);
    if flow.is_null() {
        count(Counter::NotHttp, 1);
        return true;
    }
    let place = filter::place(packet.ifindex(), hook, egress);
    let at = (segment.direction as u64) << 32 | u64::from(place);
    let len = segment.payload_len;
    if verified_skip_inside(flow, segment.payload_seq(), len, at) == 0 {
        return false;
    }
    count(Counter::BodySkipped, len.into());
    true
}

/// The flow whose key has these words, or null. A function of its own because the key must not stay on the stack of its
/// caller.
#[inline(never)]
extern "C" fn look_up(a: u64, b: u64, c: u64, d: u64, e: u64) -> *mut Flow {
    let mut key = [0; size_of::<FlowKey>() / 8];
    // Word by word: the compiler would otherwise write parts of words, which the stack must not get unaligned.
    let words = [a, b, c, d, e];
    let mut i = 0;
    while i < words.len() {
        // SAFETY: an element of the array.
        unsafe { (&raw mut key[i]).write_volatile(words[i]) };
        i += 1;
    }
    FLOWS.get_ptr_mut(bytemuck::cast_ref::<_, FlowKey>(&key)).unwrap_or(null_mut())
}

/// Records where and when the packet was seen. If it has a segment, the slot must hold it already.
#[inline(always)]
fn note(slot: &Claimed, packet: &impl Packet, link: Link, hook: Hook, egress: bool) {
    // SAFETY: the slot is ours until it is released, and there is no other reference to it; the clock
    // is only read.
    unsafe {
        let context = &raw mut (*slot.0).context;
        (*context).time_ns = bpf_ktime_get_boot_ns();
        (*context).interface = packet.ifindex();
        (*context).wire_len = packet.len();
        (*context).egress = egress;
        (*context).hook = hook;
        if config().decap != 0 {
            // Clear the tunnel of the previous packet in this slot.
            (*slot.0).scratch.block.tunnel.what = 0;
        }
    }
    // Packets at sockets have no tags.
    if config().decap & decap::VLAN != 0 && hook != Hook::Cgroup {
        packet.tell_tags(slot.1, link == Link::Ethernet);
    }
}

/// Ships what the filter selects, without framing it.
#[inline(always)]
fn ship(packet: impl Packet, index: u32) {
    let mut all = 1;
    if packet.plain_begin(index) {
        let mut steps = 0;
        while steps < RAW_STEPS && packet.plain_step(index) {
            steps += 1;
        }
        if steps == RAW_STEPS {
            all = 0;
        }
    }
    packet.plain_finish(index, all);
}

/// Counts the kind of this skb.
#[inline(always)]
fn count_kind<P: Packet>(packet: &P, link: Link, hook: Hook) {
    if packet.is_non_linear() {
        count(Counter::SkbNonLinear, 1);
    }
    if packet.gso_segments() > 1 {
        count(Counter::SkbGso, 1);
    }
    if link == Link::Ip && hook == Hook::Tc {
        count(Counter::SkbL3, 1);
    }
}

/// More than any step budget: the filter ends the loop itself.
const STEPS: u32 = 1 << 16;

/// Context of the `bpf_loop` callback.
struct Steps<P> {
    scratch: *mut Scratch,
    env: Kernel<P>,
}

/// One step of the filter. 1 ends the loop.
extern "C" fn step<P: Packet>(_: u64, state: *mut Steps<P>) -> i64 {
    // SAFETY: `follow` passes valid pointers and waits for the loop.
    let (scratch, env) = unsafe { (&mut *(*state).scratch, &mut (*state).env) };
    i64::from(!filter::step(scratch, env))
}
