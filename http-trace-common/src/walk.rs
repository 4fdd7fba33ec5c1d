//! From a frame to the TCP segment in it: Ethernet, VLAN, IPv4 and IPv6 with extension headers,
//! tunnels, TCP. Knows nothing of HTTP and keeps nothing between packets.

use crate::flow::{Direction, FlowKey};

/// Random access to a frame's bytes. The kernel reads the linear part of an skb directly and the
/// rest through a helper; on the host it is a slice.
pub trait PacketBytes {
    /// `N` bytes at `offset` from the frame's start, or `None` past its (captured) end.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
    /// How many bytes can be read.
    fn len(&self) -> u32;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PacketBytes for [u8] {
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.get(offset as usize..)?.first_chunk().copied()
    }
    fn len(&self) -> u32 {
        <[u8]>::len(self) as u32
    }
}

/// TCP header flags (RFC 9293 §3.1).
pub mod tcp_flag {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement field is significant.
    pub const ACK: u8 = 0x10;
}

/// A TCP segment found in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The connection; `netns` is the caller's.
    pub key: FlowKey,
    /// Which endpoint sent it.
    pub direction: Direction,
    /// Sequence number as in the header (a SYN's own, not the payload's).
    pub seq: u32,
    /// Acknowledgement number; meaningful with ACK set.
    pub ack: u32,
    /// Bits of [`tcp_flag`].
    pub flags: u8,
    /// Offset of the payload from the frame's start.
    pub payload_offset: u32,
    /// Payload length on the wire; fewer bytes may be in the frame when it was cut by a snap length.
    pub payload_len: u32,
}

impl Segment {
    /// Sequence number of the first payload byte: one more than the header's when SYN is set.
    pub const fn payload_seq(&self) -> u32 {
        self.seq.wrapping_add((self.flags & tcp_flag::SYN != 0) as u32)
    }
}
