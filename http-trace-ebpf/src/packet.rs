//! Reading a packet, by context: the linear part directly where the hook allows it, the rest
//! through a helper that copies. Nothing here writes to a packet or makes it linear.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, xdp_md},
    helpers::{
        bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_skb_cgroup_id, bpf_skb_load_bytes,
        bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
    },
};
use bytemuck::AnyBitPattern;
use http_trace_common::walk::PacketBytes;

use crate::{
    insn::{mask, opaque},
    maps::CGROUP_NETNS,
    scratch::Slot,
    verified::{
        fragment_skb, fragment_sock, fragment_xdp, inside_skb, inside_sock, inside_xdp,
        plain_begin_skb, plain_begin_sock, plain_finish_skb, plain_finish_sock, plain_fragment_skb,
        plain_fragment_sock, plain_step_skb, plain_step_sock, verified_begin_skb,
        verified_begin_socket, verified_begin_xdp,
    },
};

/// Where headers can lie. Larger than any chain of them that the walk follows.
const HEADER_SPACE: u32 = 0x3fff;

/// What is known of a packet to look into, and what it turned out to be.
pub mod inside {
    /// Where a piece's IP header begins.
    pub const OFFSET: u32 = 0xffff;
    /// It begins with an Ethernet header.
    pub const HAS_ETHERNET: u32 = 1 << 16;
    /// It is a piece of another packet.
    pub const FRAGMENT: u32 = 1 << 17;
    /// The slot holds its segment.
    pub const SEGMENT: u32 = 1 << 18;
}

/// A packet at some hook.
pub trait Packet: PacketBytes + Copy {
    /// Copies `len` bytes at `offset` to `to`; false when they are not all there.
    ///
    /// # Safety
    /// `to` must have room for `len` bytes, and the verifier must see that, and that `len > 0`.
    unsafe fn load(&self, offset: u32, to: *mut u8, len: u32) -> bool;
    /// The interface's index.
    fn ifindex(&self) -> u32;
    /// Whether the payload is (at least partly) outside the linear part.
    fn is_non_linear(&self) -> bool;
    /// How many wire segments it holds, 0 or 1 for one.
    fn gso_segments(&self) -> u32;
    /// The socket's cookie and cgroup id, 0 when not known here.
    fn socket(&self) -> (u64, u64);
    /// [`http_trace_common::filter::begin`] over the slot.
    fn begin(&self, slot: *mut Slot) -> bool;
    /// Looks into a packet that is a tunnel's or a piece of one, by the slot of an index. `what` and
    /// what is returned are bits of [`inside`].
    fn look_inside(&self, index: u32, what: u32) -> u32;
    /// Ships a piece of a packet by the slot of an index; `found` is what [`Packet::look_inside`]
    /// returned.
    fn fragment<const FRAMES: bool>(&self, index: u32, found: u32);
    /// [`Packet::begin`] without framing, over the slot of an index; so the two below.
    #[inline(always)]
    fn plain_begin(&self, _index: u32) -> bool {
        false
    }
    /// [`http_trace_common::filter::raw_step`].
    #[inline(always)]
    fn plain_step(&self, _index: u32) -> bool {
        false
    }
    /// [`http_trace_common::filter::finish`]; `all` is 0 when not all was shipped.
    #[inline(always)]
    fn plain_finish(&self, _index: u32, _all: u32) {}
    /// What stands for its network namespace in flow keys; `own` is the agent's.
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
    fn begin(&self, slot: *mut Slot) -> bool {
        verified_begin_skb(self.0, slot) != 0
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
        // As the loader folds its own, so that every hook of a namespace says the same.
        (cookie ^ (cookie >> 32)) as u32
    }
    #[inline(always)]
    fn socket(&self) -> (u64, u64) {
        // SAFETY: the context is valid.
        unsafe {
            (
                bpf_get_socket_cookie(self.0.cast()),
                bpf_skb_cgroup_id(self.0),
            )
        }
    }
}

/// An skb at a socket filter, where only helpers read.
#[derive(Clone, Copy)]
pub struct SocketSkb(pub *mut __sk_buff);

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
    #[inline(always)]
    fn look_inside(&self, index: u32, what: u32) -> u32 {
        inside_sock(self.0, index, what)
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
    fn begin(&self, slot: *mut Slot) -> bool {
        verified_begin_socket(self.0, slot) != 0
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
    fn fragment<const FRAMES: bool>(&self, index: u32, found: u32) {
        fragment_xdp(self.0, index, found);
    }
    #[inline(always)]
    fn begin(&self, slot: *mut Slot) -> bool {
        verified_begin_xdp(self.0, slot) != 0
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

/// A packet read through the helper alone, where speed does not matter: many direct reads in one
/// function have the compiler copy packet pointers in ways that the verifier refuses.
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

/// A `T` of the linear part, if it is in it.
#[inline(always)]
fn read_linear<T: AnyBitPattern>(data: usize, end: usize, offset: u32) -> Option<T> {
    let at = data + mask(offset, HEADER_SPACE) as usize;
    // Opaque, lest the comparison becomes `at >= end`, from which the verifier learns nothing.
    let after = opaque((at + size_of::<T>()) as *const u8) as usize;
    if offset > HEADER_SPACE || after > end {
        return None;
    }
    // SAFETY: within the packet, as just compared.
    Some(unsafe { (at as *const T).read_unaligned() })
}

#[inline(always)]
fn read_by_helper<T: AnyBitPattern>(packet: &impl Packet, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: room for a `T`, all of whose bytes are written when the helper succeeds.
    unsafe {
        packet
            .load(offset, value.as_mut_ptr().cast(), size_of::<T>() as u32)
            .then(|| value.assume_init())
    }
}
