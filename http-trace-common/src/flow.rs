//! Keys of connections: the canonical 4-tuple with its network namespace.

use bytemuck::{Pod, Zeroable};

/// An address as 16 bytes in network byte order; IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
pub type Address = [u8; 16];

/// The IPv4-mapped form of an IPv4 address.
pub const fn v4_mapped(v4: [u8; 4]) -> Address {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}

/// Which of the two endpoints of a [`FlowKey`] sent a segment. Does not say which one is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Sent by endpoint `a` of the key.
    FromA = 0,
    /// Sent by endpoint `b` of the key.
    FromB = 1,
}

impl Direction {
    /// The opposite direction.
    pub const fn opposite(self) -> Self {
        match self {
            Direction::FromA => Direction::FromB,
            Direction::FromB => Direction::FromA,
        }
    }

    /// 0 or 1, for arrays of two.
    pub const fn index(self) -> usize {
        self as usize & 1
    }
}

/// A connection: both endpoints in canonical order (the smaller `(address, port)` is `a`), and the
/// network namespace that the loader assigned to the hook (in a capture, a number that distinguishes
/// equal tuples in different VLANs or tunnels).
/// 40 bytes without padding, because the kernel hashes all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub struct FlowKey {
    /// Address of endpoint `a`.
    pub a: Address,
    /// Address of endpoint `b`.
    pub b: Address,
    /// TCP port of `a`, host byte order.
    pub a_port: u16,
    /// TCP port of `b`, host byte order.
    pub b_port: u16,
    /// Distinguishes equal tuples in different namespaces (or VLANs, or tunnels).
    pub netns: u32,
}

impl FlowKey {
    /// The key of a segment from `src` to `dst`, and which endpoint `src` is.
    #[inline(always)]
    pub fn new(
        src: &Address,
        src_port: u16,
        dst: &Address,
        dst_port: u16,
        netns: u32,
    ) -> (Self, Direction) {
        FlowKey::from_words(words(src), src_port, words(dst), dst_port, netns)
    }

    /// Like [`FlowKey::new`], for addresses as two words each.
    #[inline(always)]
    pub fn from_words(
        src: Words,
        src_port: u16,
        dst: Words,
        dst_port: u16,
        netns: u32,
    ) -> (Self, Direction) {
        // Compare in byte order, but as two words: a loop over sixteen bytes costs the kernel's
        // program ten times as much.
        let [s, d] = [src, dst].map(|[high, low]| (u64::from_be(high), u64::from_be(low)));
        let src_first = (s.0, s.1, src_port) <= (d.0, d.1, dst_port);
        let direction = if src_first { Direction::FromA } else { Direction::FromB };
        let (a, a_port, b, b_port) =
            if src_first { (src, src_port, dst, dst_port) } else { (dst, dst_port, src, src_port) };
        let key = FlowKey { a: bytemuck::cast(a), b: bytemuck::cast(b), a_port, b_port, netns };
        (key, direction)
    }

    /// Address and port of the endpoint that sends in `direction`.
    pub fn sender(&self, direction: Direction) -> (Address, u16) {
        match direction {
            Direction::FromA => (self.a, self.a_port),
            Direction::FromB => (self.b, self.b_port),
        }
    }
}

/// An [`Address`] as two words, read from memory without swapping bytes.
pub type Words = [u64; 2];

/// The two words of an address.
#[inline(always)]
pub fn words(address: &Address) -> Words {
    bytemuck::cast(*address)
}

/// Signed distance from `from` to `to` in TCP sequence space (RFC 9293 §3.4): positive when `to`
/// lies after `from`, for distances under 2 GiB.
#[inline(always)]
pub const fn seq_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}
