//! Names of connections: the canonical 4-tuple with its network namespace.

use bytemuck::{Pod, Zeroable};

/// An address as 16 bytes in network order; IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
pub type Address = [u8; 16];

/// The IPv4-mapped form of an IPv4 address.
pub const fn v4_mapped(v4: [u8; 4]) -> Address {
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3],
    ]
}

/// Which of the two endpoints of a [`FlowKey`] sent a segment. Says nothing of who is the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Sent by endpoint `a` of the key.
    FromA = 0,
    /// Sent by endpoint `b` of the key.
    FromB = 1,
}

impl Direction {
    /// The other way.
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

/// A connection: both endpoints in canonical order (the smaller `(address, port)` is `a`) and the
/// namespace the loader assigned to the hook (or, in a capture, the tunnel or VLAN it was seen in).
/// 40 bytes without padding: the kernel hashes it as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Pod, Zeroable)]
#[repr(C)]
pub struct FlowKey {
    /// Address of endpoint `a`.
    pub a: Address,
    /// Address of endpoint `b`.
    pub b: Address,
    /// TCP port of `a`, host order.
    pub a_port: u16,
    /// TCP port of `b`, host order.
    pub b_port: u16,
    /// Tells equal tuples in different namespaces (or VLANs, or tunnels) apart.
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
        let (s, d) = (halves(src), halves(dst));
        let src_first = (s.0, s.1, src_port) <= (d.0, d.1, dst_port);
        if src_first {
            (
                FlowKey {
                    a: *src,
                    b: *dst,
                    a_port: src_port,
                    b_port: dst_port,
                    netns,
                },
                Direction::FromA,
            )
        } else {
            (
                FlowKey {
                    a: *dst,
                    b: *src,
                    a_port: dst_port,
                    b_port: src_port,
                    netns,
                },
                Direction::FromB,
            )
        }
    }

    /// Address and port of the endpoint that sends in `direction`.
    pub fn sender(&self, direction: Direction) -> (Address, u16) {
        match direction {
            Direction::FromA => (self.a, self.a_port),
            Direction::FromB => (self.b, self.b_port),
        }
    }
}

/// Compared as two words: a loop over sixteen bytes costs the kernel's program ten times as much.
#[inline(always)]
fn halves(a: &Address) -> (u64, u64) {
    let [
        b0,
        b1,
        b2,
        b3,
        b4,
        b5,
        b6,
        b7,
        b8,
        b9,
        b10,
        b11,
        b12,
        b13,
        b14,
        b15,
    ] = *a;
    (
        u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
        u64::from_be_bytes([b8, b9, b10, b11, b12, b13, b14, b15]),
    )
}

/// Signed distance from `from` to `to` in TCP sequence space (RFC 9293 §3.4): positive when `to`
/// lies after `from`, for distances under 2 GiB.
#[inline(always)]
pub const fn seq_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}
