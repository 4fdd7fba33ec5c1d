//! From a frame to the TCP segment in it. Knows nothing of HTTP and keeps nothing between packets.
//!
//! [`ethernet`] and [`ip`] are the lean walk of the kernel's hooks: Ethernet, up to two VLAN tags,
//! IPv4, IPv6 with a few extension headers, TCP. They read fixed sizes only and few of them, since
//! in the kernel each read is a bounds check or a helper call.

use crate::counter::Counter;
use crate::flow::{Address, Direction, FlowKey, v4_mapped};

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
        self.seq
            .wrapping_add((self.flags & tcp_flag::SYN != 0) as u32)
    }
}

/// Why a frame (or a packet within it) holds no TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Skip {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP, but another protocol than TCP.
    NotTcp,
    /// An IP fragment other than the first: it has no TCP header.
    Fragment,
    /// Headers that are cut, or that contradict each other or the frame's length.
    Malformed,
}

impl Skip {
    /// The counter under which the kernel's program counts it.
    #[inline(always)]
    pub const fn counter(self) -> Counter {
        match self {
            Skip::NotIp | Skip::NotTcp => Counter::NotTcp,
            Skip::Fragment => Counter::Fragment,
            Skip::Malformed => Counter::MalformedPacket,
        }
    }
}

/// EtherTypes (IEEE 802 numbers).
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1Q C-tag.
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad S-tag.
    pub const QINQ: u16 = 0x88a8;
    /// The S-tag of equipment older than 802.1ad.
    pub const QINQ_OLD: u16 = 0x9100;
}

/// IP protocol numbers and IPv6 extension headers (IANA).
pub mod ip_proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// TCP.
    pub const TCP: u8 = 6;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header (RFC 4302).
    pub const AH: u8 = 51;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
}

/// The most VLAN tags before the IP header.
const MAX_TAGS: usize = 2;
/// The most IPv6 extension headers before TCP: one of each kind, and one more.
const MAX_EXTENSIONS: usize = 6;

/// The TCP segment in a frame that begins with an Ethernet II header.
///
/// `netns` goes into the segment's key as it is.
///
/// # Errors
/// A [`Skip`] that says why there is none.
#[inline(always)]
pub fn ethernet(bytes: &(impl PacketBytes + ?Sized), netns: u32) -> Result<Segment, Skip> {
    let mut kind = u16::from_be_bytes(bytes.read::<2>(12).ok_or(Skip::Malformed)?);
    let mut offset = 14;
    for _ in 0..MAX_TAGS {
        if !matches!(
            kind,
            ether_type::VLAN | ether_type::QINQ | ether_type::QINQ_OLD
        ) {
            break;
        }
        kind = u16::from_be_bytes(bytes.read::<2>(offset + 2).ok_or(Skip::Malformed)?);
        offset += 4;
    }
    match kind {
        ether_type::IPV4 => ipv4(bytes, offset, netns),
        ether_type::IPV6 => ipv6(bytes, offset, netns),
        _ => Err(Skip::NotIp),
    }
}

/// The TCP segment in the IPv4 or IPv6 packet that begins at `offset`.
///
/// # Errors
/// A [`Skip`] that says why there is none.
#[inline(always)]
pub fn ip(bytes: &(impl PacketBytes + ?Sized), offset: u32, netns: u32) -> Result<Segment, Skip> {
    let [first] = bytes.read::<1>(offset).ok_or(Skip::Malformed)?;
    match first >> 4 {
        4 => ipv4(bytes, offset, netns),
        6 => ipv6(bytes, offset, netns),
        _ => Err(Skip::NotIp),
    }
}

/// IPv4 (RFC 791). A total length of 0 is what Linux leaves in the header of a super-packet whose
/// length does not fit (BIG TCP): the packet then ends with the frame.
#[inline(always)]
fn ipv4(bytes: &(impl PacketBytes + ?Sized), offset: u32, netns: u32) -> Result<Segment, Skip> {
    let h = bytes.read::<20>(offset).ok_or(Skip::Malformed)?;
    let header_len = u32::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header_len < 20 {
        return Err(Skip::Malformed);
    }
    if h[9] != ip_proto::TCP {
        return Err(Skip::NotTcp);
    }
    if u16::from_be_bytes([h[6], h[7]]) & 0x1fff != 0 {
        return Err(Skip::Fragment);
    }
    let total = u32::from(u16::from_be_bytes([h[2], h[3]]));
    let end = if total == 0 {
        bytes.len()
    } else {
        offset.wrapping_add(total)
    };
    let src = v4_mapped([h[12], h[13], h[14], h[15]]);
    let dst = v4_mapped([h[16], h[17], h[18], h[19]]);
    tcp(
        bytes,
        offset.wrapping_add(header_len),
        end,
        &src,
        &dst,
        netns,
    )
}

/// IPv6 (RFC 8200). A payload length of 0 means a jumbogram (RFC 2675) or a super-packet: it ends
/// with the frame.
#[inline(always)]
fn ipv6(bytes: &(impl PacketBytes + ?Sized), offset: u32, netns: u32) -> Result<Segment, Skip> {
    let h = bytes.read::<40>(offset).ok_or(Skip::Malformed)?;
    if h[0] >> 4 != 6 {
        return Err(Skip::Malformed);
    }
    let length = u32::from(u16::from_be_bytes([h[4], h[5]]));
    let mut at = offset.wrapping_add(40);
    let end = if length == 0 {
        bytes.len()
    } else {
        at.wrapping_add(length)
    };
    let mut next = h[6];
    if next != ip_proto::TCP {
        for _ in 0..MAX_EXTENSIONS {
            let e = bytes.read::<4>(at).ok_or(Skip::Malformed)?;
            let extension_len = match next {
                ip_proto::HOP_BY_HOP | ip_proto::ROUTING | ip_proto::DESTINATION => {
                    u32::from(e[1]) * 8 + 8
                }
                ip_proto::AH => u32::from(e[1]) * 4 + 8,
                ip_proto::FRAGMENT => {
                    if u16::from_be_bytes([e[2], e[3]]) & 0xfff8 != 0 {
                        return Err(Skip::Fragment);
                    }
                    8
                }
                _ => return Err(Skip::NotTcp),
            };
            at = at.wrapping_add(extension_len);
            next = e[0];
            if next == ip_proto::TCP {
                break;
            }
        }
        if next != ip_proto::TCP {
            return Err(Skip::NotTcp);
        }
    }
    let src = [
        h[8], h[9], h[10], h[11], h[12], h[13], h[14], h[15], h[16], h[17], h[18], h[19], h[20],
        h[21], h[22], h[23],
    ];
    let dst = [
        h[24], h[25], h[26], h[27], h[28], h[29], h[30], h[31], h[32], h[33], h[34], h[35], h[36],
        h[37], h[38], h[39],
    ];
    tcp(bytes, at, end, &src, &dst, netns)
}

/// TCP (RFC 9293 §3.1) at `offset`, in an IP packet that ends at `end`.
///
/// Text in an RST (RFC 9293 §3.5.3, RFC 1122 §4.2.2.12) is no data of the stream: its payload
/// length is 0.
#[inline(always)]
fn tcp(
    bytes: &(impl PacketBytes + ?Sized),
    offset: u32,
    end: u32,
    src: &Address,
    dst: &Address,
    netns: u32,
) -> Result<Segment, Skip> {
    let h = bytes.read::<20>(offset).ok_or(Skip::Malformed)?;
    let header_len = u32::from(h[12] >> 4) * 4;
    let payload_offset = offset.wrapping_add(header_len);
    if header_len < 20 || payload_offset > end {
        return Err(Skip::Malformed);
    }
    let flags = h[13];
    let payload_len = if flags & tcp_flag::RST != 0 {
        0
    } else {
        end - payload_offset
    };
    let (key, direction) = FlowKey::new(
        src,
        u16::from_be_bytes([h[0], h[1]]),
        dst,
        u16::from_be_bytes([h[2], h[3]]),
        netns,
    );
    Ok(Segment {
        key,
        direction,
        seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        ack: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
        flags,
        payload_offset,
        payload_len,
    })
}

#[cfg(test)]
mod tests;
