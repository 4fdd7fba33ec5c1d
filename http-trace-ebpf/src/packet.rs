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
        decapsulate_skb, decapsulate_sock, decapsulate_xdp, plain_begin_skb, plain_begin_sock,
        plain_finish_skb, plain_finish_sock, plain_step_skb, plain_step_sock, verified_begin_skb,
        verified_begin_socket, verified_begin_xdp,
    },
};

/// Where headers can lie. Larger than any chain of them that the walk follows.
const HEADER_SPACE: u32 = 0x3fff;

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
    /// Puts the segment in a tunnel's packet into the slot of an index; `false` when there is none.
    fn decapsulate(&self, index: u32, has_ethernet: bool) -> bool;
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
    fn decapsulate(&self, index: u32, has_ethernet: bool) -> bool {
        decapsulate_skb(self.0, index, has_ethernet.into()) != 0
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
    fn decapsulate(&self, index: u32, has_ethernet: bool) -> bool {
        decapsulate_sock(self.0, index, has_ethernet.into()) != 0
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
    fn decapsulate(&self, index: u32, has_ethernet: bool) -> bool {
        decapsulate_xdp(self.0, index, has_ethernet.into()) != 0
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
