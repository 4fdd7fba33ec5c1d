//! Reads a packet at each kind of hook: the linear part directly where the hook allows it, the rest
//! through a helper that copies. Nothing here writes to a packet or makes it linear.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::{
        bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_skb_cgroup_id, bpf_skb_load_bytes,
        bpf_skb_load_bytes_relative, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
};
use bytemuck::AnyBitPattern;
use http_trace_common::{
    filter::Block,
    walk::{self, PacketBytes, VLAN_NUMBER},
};

use crate::{
    insn::{mask, opaque},
    maps::CGROUP_NETNS,
    verified::{
        disproved_skb, disproved_sock, disproved_xdp, fragment_skb, fragment_sock, fragment_xdp,
        inside_skb, inside_sock, inside_xdp, plain_begin_skb, plain_begin_sock, plain_finish_skb,
        plain_finish_sock, plain_fragment_skb, plain_fragment_sock, plain_step_skb,
        plain_step_sock, tags_skb, tags_sock, tags_xdp, verified_begin_skb, verified_begin_socket,
        verified_begin_xdp, verified_emit_skb, verified_emit_socket, verified_emit_xdp,
    },
};

/// Range of offsets in which headers can lie. Larger than any chain of headers that the walk follows.
const HEADER_SPACE: u32 = 0x3fff;

/// What is known about a packet to look into, and what was found in it.
pub mod inside {
    /// Offset of the IP header of a fragment.
    pub const OFFSET: u32 = 0xffff;
    /// It begins with an Ethernet header.
    pub const HAS_ETHERNET: u32 = 1 << 16;
    /// It is a fragment of an IP packet.
    pub const FRAGMENT: u32 = 1 << 17;
    /// The slot holds its segment.
    pub const SEGMENT: u32 = 1 << 18;
}

/// A packet at a hook.
pub trait Packet: PacketBytes + Copy {
    /// Whether it can begin with an Ethernet header.
    const ETHERNET: bool = true;
    /// Copies `len` bytes at `offset` to `to`. Returns false if not all of them are there.
    ///
    /// # Safety
    /// `to` must have room for `len` bytes, and the verifier must see that, and that `len > 0`.
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> bool;
    /// Number of bytes before the IP header if there is no Ethernet header.
    #[inline(always)]
    fn before(&self) -> u32 {
        0
    }
    /// Index of the interface.
    fn ifindex(&self) -> u32;
    /// Whether the payload is (at least partly) outside the linear part.
    fn is_non_linear(&self) -> bool;
    /// Number of wire segments that it holds; 0 or 1 for one.
    fn gso_segments(&self) -> u32;
    /// Cookie and cgroup id of the socket; 0 if not known here.
    fn socket(&self) -> (u64, u64);
    /// Writes a record of this packet to the ring buffer.
    fn emit(&self, block: &mut Block);
    /// Calls [`http_trace_common::filter::sum::is_disproved`] for the slot with this index.
    fn is_disproved(&self, index: u32) -> bool;
    /// Calls [`http_trace_common::filter::begin`] for the slot with this index.
    fn begin(&self, index: u32) -> bool;
    /// Looks into a packet that is a tunnel or a fragment, using the slot with this index. `what` and
    /// the return value are bits of [`inside`].
    fn look_inside(&self, index: u32, what: u32) -> u32;
    /// Ships a fragment, using the slot with this index; `found` is the return value of
    /// [`Packet::look_inside`].
    fn fragment<const FRAMES: bool>(&self, index: u32, found: u32);
    /// [`Packet::begin`] without framing. Like the next two, it uses the slot with this index.
    #[inline(always)]
    fn plain_begin(&self, _index: u32) -> bool {
        false
    }
    /// [`http_trace_common::filter::raw_step`].
    #[inline(always)]
    fn plain_step(&self, _index: u32) -> bool {
        false
    }
    /// [`http_trace_common::filter::finish`]; `all` is 0 if not everything was shipped.
    #[inline(always)]
    fn plain_finish(&self, _index: u32, _all: u32) {}
    /// Stores the VLANs of the packet in the slot with this index, and in the key of its segment.
    fn tell_tags(&self, index: u32, has_ethernet: bool);
    /// VLAN ID of the tag that the kernel keeps outside the frame; 0 if there is none.
    #[inline(always)]
    fn tag_beside(&self) -> u32 {
        0
    }
    /// The value for its network namespace in flow keys; `own` is that of the agent.
    #[inline(always)]
    fn netns(&self, own: u32) -> u32 {
        own
    }
}

/// An skb whose linear part can be read directly: TC and cgroup_skb.
#[derive(Clone, Copy)]
pub struct Skb(pub *mut __sk_buff);

impl PacketBytes for Skb {
    #[inline(always)]
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T> {
        // SAFETY: the context is valid; the verifier turns these into packet pointers.
        let (data, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        if let Some(bytes) = read_linear(data, end, offset) {
            return Some(bytes);
        }
        read_by_helper(self, offset)
    }
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { (*self.0).len }
    }
}

impl Packet for Skb {
    #[inline(always)]
    fn look_inside(&self, index: u32, what: u32) -> u32 {
        inside_skb(self.0, index, what)
    }
    #[inline(always)]
    fn tell_tags(&self, index: u32, has_ethernet: bool) {
        tags_skb(self.0, index, u32::from(has_ethernet));
    }
    #[inline(always)]
    fn tag_beside(&self) -> u32 {
        tag_beside(self.0)
    }
    #[inline(always)]
    fn fragment<const FRAMES: bool>(&self, index: u32, found: u32) {
        if FRAMES {
            fragment_skb(self.0, index, found);
        } else {
            plain_fragment_skb(self.0, index, found);
        }
    }
    #[inline(always)]
    fn plain_begin(&self, index: u32) -> bool {
        plain_begin_skb(self.0, index) != 0
    }
    #[inline(always)]
    fn plain_step(&self, index: u32) -> bool {
        plain_step_skb(self.0, index) != 0
    }
    #[inline(always)]
    fn plain_finish(&self, index: u32, all: u32) {
        plain_finish_skb(self.0, index, all);
    }
    #[inline(always)]
    fn is_disproved(&self, index: u32) -> bool {
        disproved_skb(self.0, index) != 0
    }
    #[inline(always)]
    fn emit(&self, block: &mut Block) {
        verified_emit_skb(self.0, block);
    }
    #[inline(always)]
    fn begin(&self, index: u32) -> bool {
        verified_begin_skb(self.0, index) != 0
    }
    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: by contract.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to.cast(), len) == 0 }
    }
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { (*self.0).ifindex }
    }
    #[inline(always)]
    fn is_non_linear(&self) -> bool {
        // SAFETY: the context is valid.
        let (data, end) = unsafe { ((*self.0).data, (*self.0).data_end) };
        u64::from(end) - u64::from(data) < u64::from(self.len())
    }
    #[inline(always)]
    fn gso_segments(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { (*self.0).gso_segs }
    }
    #[inline(always)]
    fn netns(&self, own: u32) -> u32 {
        if CGROUP_NETNS.load() == 0 {
            return own;
        }
        // SAFETY: the context is valid.
        let cookie = unsafe { bpf_get_netns_cookie(self.0.cast()) };
        // Fold it like the loader, so that every hook of a namespace gives the same value.
        (cookie ^ (cookie >> 32)) as u32
    }
    #[inline(always)]
    fn socket(&self) -> (u64, u64) {
        // SAFETY: the context is valid.
        unsafe { (bpf_get_socket_cookie(self.0.cast()), bpf_skb_cgroup_id(self.0)) }
    }
}

/// An skb at a socket filter, which can only be read through helpers. [`SocketSkb::begin`] must be
/// called first.
#[derive(Clone, Copy)]
pub struct SocketSkb(pub *mut __sk_buff);

impl SocketSkb {
    /// Wraps the packet that the program gets, and determines where its IP header begins.
    #[inline(always)]
    pub fn begin(skb: *mut __sk_buff) -> Self {
        let packet = SocketSkb(skb);
        // The kernel has removed the outer tag of a received packet from the frame. If there is a
        // second tag, the network header begins with it (`skb_vlan_untag`).
        let before = match packet.has_tag_in_bytes() && !packet.is_outgoing() {
            true => walk::TAG_LEN,
            false => 0,
        };
        // SAFETY: the context is valid, and its `cb` belongs to the program. The stack has no room for
        // the value.
        unsafe { (&raw mut (*skb).cb[0]).write_volatile(before) };
        packet
    }

    /// Whether the frame itself contains a tag.
    #[inline(always)]
    fn has_tag_in_bytes(&self) -> bool {
        // SAFETY: the context is valid.
        walk::is_tag(u16::from_be(unsafe { (*self.0).protocol } as u16))
    }

    /// The whole frame, and whether it has an Ethernet header with a tag.
    #[inline(always)]
    pub fn frame(&self) -> (FrameOf, bool) {
        (FrameOf(*self), self.has_tag_in_bytes())
    }

    /// Whether this host sends it: PACKET_OUTGOING (linux/if_packet.h).
    #[inline(always)]
    pub fn is_outgoing(&self) -> bool {
        // SAFETY: the context is valid.
        unsafe { (*self.0).pkt_type == 4 }
    }
}

/// The frame of an skb at a socket filter, from its MAC header on.
pub struct FrameOf(SocketSkb);

impl PacketBytes for FrameOf {
    #[inline(always)]
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T> {
        /// BPF_HDR_START_MAC (linux/bpf.h).
        const MAC: u32 = 0;
        let mut value = MaybeUninit::<T>::uninit();
        let (skb, len) = (self.0.0.cast(), size_of::<T>() as u32);
        // SAFETY: room for a `T`, all of whose bytes are written if the helper succeeds.
        unsafe {
            let to = value.as_mut_ptr().cast();
            let failed = bpf_skb_load_bytes_relative(skb, offset, to, len, MAC);
            (failed == 0).then(|| value.assume_init())
        }
    }
    #[inline(always)]
    fn len(&self) -> u32 {
        self.0.len()
    }
}

impl PacketBytes for SocketSkb {
    #[inline(always)]
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T> {
        read_by_helper(self, offset)
    }
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { (*self.0).len }
    }
}

impl Packet for SocketSkb {
    // The socket is of type SOCK_DGRAM, and its memory has little room for code that never runs.
    const ETHERNET: bool = false;
    #[inline(always)]
    fn before(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { (&raw const (*self.0).cb[0]).read_volatile() }
    }
    #[inline(always)]
    fn look_inside(&self, index: u32, what: u32) -> u32 {
        inside_sock(self.0, index, what)
    }
    #[inline(always)]
    fn tell_tags(&self, index: u32, _has_ethernet: bool) {
        tags_sock(self.0, index);
    }
    #[inline(always)]
    fn tag_beside(&self) -> u32 {
        tag_beside(self.0)
    }
    #[inline(always)]
    fn fragment<const FRAMES: bool>(&self, index: u32, found: u32) {
        if FRAMES {
            fragment_sock(self.0, index, found);
        } else {
            plain_fragment_sock(self.0, index, found);
        }
    }
    #[inline(always)]
    fn plain_begin(&self, index: u32) -> bool {
        plain_begin_sock(self.0, index) != 0
    }
    #[inline(always)]
    fn plain_step(&self, index: u32) -> bool {
        plain_step_sock(self.0, index) != 0
    }
    #[inline(always)]
    fn plain_finish(&self, index: u32, all: u32) {
        plain_finish_sock(self.0, index, all);
    }
    #[inline(always)]
    fn is_disproved(&self, index: u32) -> bool {
        disproved_sock(self.0, index) != 0
    }
    #[inline(always)]
    fn emit(&self, block: &mut Block) {
        verified_emit_socket(self.0, block);
    }
    #[inline(always)]
    fn begin(&self, index: u32) -> bool {
        verified_begin_socket(self.0, index) != 0
    }
    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: by contract.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, to.cast(), len) == 0 }
    }
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { (*self.0).ifindex }
    }
    #[inline(always)]
    fn is_non_linear(&self) -> bool {
        false
    }
    #[inline(always)]
    fn gso_segments(&self) -> u32 {
        0
    }
    #[inline(always)]
    fn socket(&self) -> (u64, u64) {
        // SAFETY: the context is valid.
        (unsafe { bpf_get_socket_cookie(self.0.cast()) }, 0)
    }
}

/// An XDP buffer.
#[derive(Clone, Copy)]
pub struct Xdp(pub *mut xdp_md);

impl PacketBytes for Xdp {
    #[inline(always)]
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T> {
        // SAFETY: the context is valid; the verifier turns these into packet pointers.
        let (data, end) = unsafe { ((*self.0).data as usize, (*self.0).data_end as usize) };
        if let Some(bytes) = read_linear(data, end, offset) {
            return Some(bytes);
        }
        read_by_helper(self, offset)
    }
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }
}

impl Packet for Xdp {
    #[inline(always)]
    fn look_inside(&self, index: u32, what: u32) -> u32 {
        inside_xdp(self.0, index, what)
    }
    #[inline(always)]
    fn tell_tags(&self, index: u32, _has_ethernet: bool) {
        tags_xdp(self.0, index);
    }
    #[inline(always)]
    fn fragment<const FRAMES: bool>(&self, index: u32, found: u32) {
        fragment_xdp(self.0, index, found);
    }
    #[inline(always)]
    fn is_disproved(&self, index: u32) -> bool {
        disproved_xdp(self.0, index) != 0
    }
    #[inline(always)]
    fn emit(&self, block: &mut Block) {
        verified_emit_xdp(block);
    }
    #[inline(always)]
    fn begin(&self, index: u32) -> bool {
        verified_begin_xdp(self.0, index) != 0
    }
    #[inline(always)]
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> bool {
        // SAFETY: by contract.
        unsafe { bpf_xdp_load_bytes(self.0, offset, to.cast(), len) == 0 }
    }
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid.
        unsafe { (*self.0).ingress_ifindex }
    }
    #[inline(always)]
    fn is_non_linear(&self) -> bool {
        false
    }
    #[inline(always)]
    fn gso_segments(&self) -> u32 {
        0
    }
    #[inline(always)]
    fn socket(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// A packet that is read only through the helper, for code where speed does not matter. With many
/// direct reads in one function, the compiler copies packet pointers in ways that the verifier rejects.
pub struct ByHelper<P>(pub P);

impl<P: Packet> PacketBytes for ByHelper<P> {
    #[inline(always)]
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T> {
        read_by_helper(&self.0, offset)
    }
    #[inline(always)]
    fn len(&self) -> u32 {
        self.0.len()
    }
}

/// Implements [`Packet::tag_beside`] for an skb.
#[inline(always)]
fn tag_beside(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the context is valid.
    unsafe {
        match (*skb).vlan_present {
            0 => 0,
            _ => (*skb).vlan_tci & VLAN_NUMBER,
        }
    }
}

/// Reads a `T` from the linear part, if it lies within it.
#[inline(always)]
fn read_linear<T: AnyBitPattern>(data: usize, end: usize, offset: u32) -> Option<T> {
    let at = data + mask(offset, HEADER_SPACE) as usize;
    // Opaque, because the compiler would turn the comparison into `at >= end`, from which the verifier
    // learns nothing.
    let after = opaque((at + size_of::<T>()) as *const u8) as usize;
    if offset > HEADER_SPACE || after > end {
        return None;
    }
    // SAFETY: within the packet, by the comparison above.
    Some(unsafe { (at as *const T).read_unaligned() })
}

#[inline(always)]
fn read_by_helper<T: AnyBitPattern>(packet: &impl Packet, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: room for a `T`, all of whose bytes are written if the helper succeeds.
    unsafe {
        packet
            .load(offset, value.as_mut_ptr().cast(), size_of::<T>() as u32)
            .then(|| value.assume_init())
    }
}
