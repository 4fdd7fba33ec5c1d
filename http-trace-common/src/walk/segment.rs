//! Input and output of a walk: packet bytes, segments, reasons for finding none, and protocol numbers.
//! Walks nothing itself.

use bytemuck::AnyBitPattern;

use crate::counter::Counter;
use crate::flow::{Direction, FlowKey};

/// Random access to the bytes of a frame. In the kernel it reads the linear part of an skb directly and the
/// rest through a helper; on the host it is a slice.
pub trait PacketBytes {
    /// `N` bytes at `offset` from the start of the frame, or `None` past its (captured) end.
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.read_as(offset)
    }
    /// The bytes at `offset` as a `T`, integers in host byte order.
    ///
    /// A header that is read as a struct of integers stays in words. Read as an array it becomes twenty
    /// single bytes, which do not fit the stack of the kernel's program.
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T>;
    /// Number of bytes that can be read.
    fn len(&self) -> u32;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PacketBytes for [u8] {
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T> {
        let bytes = self.get(offset as usize..)?.get(..size_of::<T>())?;
        bytemuck::try_pod_read_unaligned(bytes).ok()
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
    /// The connection; `netns` is set by the caller.
    pub key: FlowKey,
    /// Which endpoint sent it.
    pub direction: Direction,
    /// Sequence number from the header (for a SYN its own, not that of the payload).
    pub seq: u32,
    /// Acknowledgement number; meaningful if ACK is set.
    pub ack: u32,
    /// Bits of [`tcp_flag`].
    pub flags: u8,
    /// Length of the TCP header, which ends where the payload begins. 0 if [`super::checksum::of_segment`] must not examine
    /// the segment: text in a RST is covered by its checksum but is not payload.
    pub header_len: u8,
    /// Offset of the payload from the start of the frame.
    pub payload_offset: u32,
    /// Payload length on the wire; the frame may contain fewer bytes if it was cut to a snap length.
    pub payload_len: u32,
}

impl Segment {
    /// Sequence number of the first payload byte: one more than that in the header if SYN is set.
    pub const fn payload_seq(&self) -> u32 {
        self.seq.wrapping_add((self.flags & tcp_flag::SYN != 0) as u32)
    }

    /// Whether every receiver drops it in any state: neither SYN, RST nor ACK is set (RFC 9293 §3.10.7.4).
    #[inline(always)]
    pub const fn is_refused(&self) -> bool {
        self.flags & (tcp_flag::SYN | tcp_flag::RST | tcp_flag::ACK) == 0
    }
}

crate::named_enum! {
    /// Why a frame (or a packet in it) contains no TCP segment.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Skip {
        /// Neither IPv4 nor IPv6.
        NotIp = "not_ip",
        /// IP, but not TCP.
        NotTcp = "not_tcp",
        /// An IP fragment, whose segment is incomplete: see [`super::piece()`].
        Fragment = "fragment",
        /// Headers that are cut, or that contradict each other or the length of the frame.
        Malformed = "malformed_packet",
        /// Encrypted below TCP: ESP, or protected 802.11. Only the full walk reports it.
        Encrypted = "encrypted",
        /// A wrong checksum while [`super::WalkOptions::verify_checksums`] is set.
        BadChecksum = "bad_checksum",
        /// A fragment that was not captured completely, so its packet cannot be reassembled.
        Cut = "fragment_cut",
        /// More headers than any real frame has.
        TooDeep = "too_deep",
        /// An unknown link type.
        LinkType = "link_type",
    }
}

impl Skip {
    /// The counter that the kernel's program uses for it.
    #[inline(always)]
    pub const fn counter(self) -> Counter {
        match self {
            Skip::NotIp | Skip::NotTcp | Skip::Encrypted | Skip::LinkType => Counter::NotTcp,
            Skip::Fragment | Skip::Cut => Counter::Fragment,
            Skip::Malformed | Skip::BadChecksum => Counter::MalformedPacket,
            Skip::TooDeep => Counter::TooManyHeaders,
        }
    }
}

/// EtherTypes (IEEE 802 numbers).
pub mod ether_type {
    pub const IPV4: u16 = 0x0800;
    pub const IPV6: u16 = 0x86dd;
    /// IEEE 802.1Q C-tag.
    pub const VLAN: u16 = 0x8100;
    /// IEEE 802.1ad S-tag.
    pub const QINQ: u16 = 0x88a8;
    /// The S-tag of equipment older than 802.1ad.
    pub const QINQ_OLD: u16 = 0x9100;
    /// Transparent Ethernet bridging (inside GRE and Geneve).
    pub const TEB: u16 = 0x6558;
    /// MPLS unicast.
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    /// PPPoE session stage.
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// TRILL (RFC 6325).
    pub const TRILL: u16 = 0x22f3;
    /// LLC in a frame that is longer than its length field can express.
    pub const JUMBO_LLC: u16 = 0x8870;
    /// MACsec (IEEE 802.1AE).
    pub const MACSEC: u16 = 0x88e5;
    /// I-tag of provider backbone bridges (IEEE 802.1ah).
    pub const PBB: u16 = 0x88e7;
    /// Cisco FabricPath.
    pub const FABRIC_PATH: u16 = 0x8903;
    /// Cisco metadata: security groups.
    pub const CISCO_METADATA: u16 = 0x8909;
    /// Cisco VN-Tag.
    pub const VN_TAG: u16 = 0x8926;
    /// HSR (IEC 62439-3).
    pub const HSR: u16 = 0x892f;
    /// The E-tag of IEEE 802.1BR.
    pub const E_TAG: u16 = 0x893f;
    /// Network service header (RFC 8300).
    pub const NSH: u16 = 0x894f;
}

/// IP protocol numbers and IPv6 extension headers (IANA).
pub mod ip_proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv4 within IP.
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    /// IPv6 within IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// Authentication header (RFC 4302).
    pub const AH: u8 = 51;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// EtherIP (RFC 3378).
    pub const ETHERIP: u8 = 97;
    /// L2TP version 3 (RFC 3931).
    pub const L2TP: u8 = 115;
    /// MPLS within IP (RFC 4023).
    pub const MPLS: u8 = 137;
}

/// Whether an EtherType is that of a VLAN tag.
#[inline(always)]
pub const fn is_tag(kind: u16) -> bool {
    matches!(kind, ether_type::VLAN | ether_type::QINQ | ether_type::QINQ_OLD)
}

/// Bytes of a VLAN tag.
pub const TAG_LEN: u32 = 4;
/// Mask of the VLAN ID in a tag (IEEE 802.1Q).
pub const VLAN_NUMBER: u32 = 0x0fff;
