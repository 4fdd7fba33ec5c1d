//! From a frame to the TCP segment in it. Knows nothing of HTTP and keeps nothing between packets.
//!
//! [`ethernet`] and [`ip`] are the lean walk of the kernel's hooks: Ethernet, up to two VLAN tags,
//! IPv4, IPv6 with a few extension headers, TCP. They read fixed sizes only and few of them, since
//! in the kernel each read is a bounds check or a helper call. [`inner_ip`] looks into one tunnel
//! where the configuration asks for it, and [`tags`] names the VLANs.
//!
//! [`frame`] is the full walk of a replay: every link type, tag and tunnel down to the innermost
//! TCP segment, with what it was wrapped in as an [`Encap`].

mod checksum;
mod encap;
mod full;
mod link;
mod link_layer;
mod tag;
mod tunnel;

pub use encap::{Encap, Layer, LayerKind, MAX_LAYERS, MAX_OUTERS, Outer, TUNNEL_LEN, Tunnel};
pub use full::{Found, Fragment, FragmentId, More, WalkOptions, frame, packet, resume};
pub use link::LinkType;

use bytemuck::{AnyBitPattern, Pod, Zeroable};

use crate::config::decap;
use crate::counter::Counter;
use crate::flow::{Direction, FlowKey, Words};

/// Random access to a frame's bytes. The kernel reads the linear part of an skb directly and the
/// rest through a helper; on the host it is a slice.
pub trait PacketBytes {
    /// `N` bytes at `offset` from the frame's start, or `None` past its (captured) end.
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.read_as(offset)
    }
    /// The bytes at `offset` as a `T`, integers in the machine's order.
    ///
    /// A header read as a struct of integers stays words all the way down; read as an array it
    /// becomes twenty single bytes, which do not fit the stack of the kernel's program.
    fn read_as<T: AnyBitPattern>(&self, offset: u32) -> Option<T>;
    /// How many bytes can be read.
    fn len(&self) -> u32;
    /// Whether there are none.
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
    /// A piece of an IP packet, whose segment is not all there: see [`piece`].
    Fragment,
    /// Headers that are cut, or that contradict each other or the frame's length.
    Malformed,
    /// Encrypted below TCP: ESP, or 802.11 with a key. Only the full walk says so.
    Encrypted,
    /// A wrong checksum, and [`WalkOptions::verify_checksums`] was set.
    BadChecksum,
    /// A fragment that was not captured whole, so that its packet cannot be put together.
    Cut,
    /// More headers than any real frame has.
    TooDeep,
    /// A link type that is not known.
    LinkType,
}

impl Skip {
    /// The counter under which the kernel's program counts it.
    #[inline(always)]
    pub const fn counter(self) -> Counter {
        match self {
            Skip::NotIp | Skip::NotTcp | Skip::Encrypted | Skip::LinkType => Counter::NotTcp,
            Skip::Fragment | Skip::Cut => Counter::Fragment,
            Skip::Malformed | Skip::BadChecksum | Skip::TooDeep => Counter::MalformedPacket,
        }
    }

    /// Every reason, in the order of [`Skip::index`].
    pub const ALL: [Skip; 9] = [
        Skip::NotIp,
        Skip::NotTcp,
        Skip::Fragment,
        Skip::Malformed,
        Skip::Encrypted,
        Skip::BadChecksum,
        Skip::Cut,
        Skip::TooDeep,
        Skip::LinkType,
    ];

    /// Its place in [`Skip::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Skip::NotIp => "not_ip",
            Skip::NotTcp => "not_tcp",
            Skip::Fragment => "fragment",
            Skip::Malformed => "malformed_packet",
            Skip::Encrypted => "encrypted",
            Skip::BadChecksum => "bad_checksum",
            Skip::Cut => "fragment_cut",
            Skip::TooDeep => "too_deep",
            Skip::LinkType => "link_type",
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
    /// Transparent Ethernet bridging (within GRE and Geneve).
    pub const TEB: u16 = 0x6558;
    /// MPLS unicast.
    pub const MPLS: u16 = 0x8847;
    /// MPLS multicast.
    pub const MPLS_MULTICAST: u16 = 0x8848;
    /// PPPoE session stage.
    pub const PPPOE_SESSION: u16 = 0x8864;
    /// TRILL (RFC 6325).
    pub const TRILL: u16 = 0x22f3;
    /// LLC in a frame longer than its length field could say.
    pub const JUMBO_LLC: u16 = 0x8870;
    /// MACsec (IEEE 802.1AE).
    pub const MACSEC: u16 = 0x88e5;
    /// Provider backbone bridges' I-tag (IEEE 802.1ah).
    pub const PBB: u16 = 0x88e7;
    /// Cisco FabricPath.
    pub const FABRIC_PATH: u16 = 0x8903;
    /// Cisco metadata: security groups.
    pub const CISCO_METADATA: u16 = 0x8909;
    /// Cisco's VN-Tag.
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
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 within IP.
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE.
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
    matches!(
        kind,
        ether_type::VLAN | ether_type::QINQ | ether_type::QINQ_OLD
    )
}

/// Bytes of a VLAN tag.
pub const TAG_LEN: u32 = 4;

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
    match after_ethernet(bytes, 0)? {
        (ether_type::IPV4, offset) => ipv4(bytes, offset, netns),
        (ether_type::IPV6, offset) => ipv6(bytes, offset, netns),
        _ => Err(Skip::NotIp),
    }
}

/// What follows the Ethernet header that begins at `start`, and its tags: an EtherType, and where.
#[inline(always)]
fn after_ethernet(bytes: &(impl PacketBytes + ?Sized), start: u32) -> Result<(u16, u32), Skip> {
    let mut kind = u16::from_be_bytes(bytes.read::<2>(start + 12).ok_or(Skip::Malformed)?);
    let mut offset = start + 14;
    for _ in 0..MAX_TAGS {
        if !is_tag(kind) {
            break;
        }
        kind = u16::from_be_bytes(bytes.read::<2>(offset + 2).ok_or(Skip::Malformed)?);
        offset += TAG_LEN;
    }
    Ok((kind, offset))
}

/// The VLANs of a frame, the outermost two of those that have a number: 12 bits each, the inner one in
/// bits 0 to 11; 0 for none. `outer` is that of a tag which the kernel keeps beside the frame, 0
/// without.
#[inline(always)]
pub fn tags(bytes: &(impl PacketBytes + ?Sized), has_ethernet: bool, outer: u32) -> u32 {
    let mut tags = outer;
    if !has_ethernet {
        return tags;
    }
    // The EtherType, and behind that of a tag the tag.
    let mut at = 12;
    for _ in 0..MAX_TAGS {
        let Some([kind, tag]) = bytes.read_as::<[u16; 2]>(at) else {
            break;
        };
        if tags > VLAN_NUMBER || !is_tag(u16::from_be(kind)) {
            break;
        }
        // Number 0 is a priority without a VLAN.
        let number = u32::from(u16::from_be(tag)) & VLAN_NUMBER;
        if number != 0 {
            tags = tags << VLAN_NUMBER.count_ones() | number;
        }
        at += TAG_LEN;
    }
    tags
}

/// The bits of a tag that are its VLAN's number (IEEE 802.1Q).
pub const VLAN_NUMBER: u32 = 0x0fff;

/// In an IPv4 header's flags and offset: more fragments follow, or this one is not the first.
const MORE_OR_OFFSET: u16 = 0x3fff;

/// UDP ports of VXLAN: IANA's, and the one that Linux used before.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];

/// Where the IP header of an Ethernet frame begins: after its header and tags.
///
/// # Errors
/// [`Skip::Malformed`] when they are cut.
#[inline(always)]
pub fn ip_of_ethernet(bytes: &(impl PacketBytes + ?Sized)) -> Result<u32, Skip> {
    Ok(after_ethernet(bytes, 0)?.1)
}

/// Where the IP header in a tunnel's packet begins, one tunnel deep: VXLAN over IPv4 or IPv6, or IP in
/// IP, as `which` (bits of [`decap`]) asks for. The outer IP header begins at `at`. What tunnel it is
/// goes to `tunnel`, whose kind otherwise stays.
///
/// # Errors
/// A [`Skip`]; [`Skip::NotTcp`] when it is no such packet, [`Skip::Fragment`] when it may be a piece
/// of one.
#[inline(always)]
pub fn inner_ip(
    bytes: &(impl PacketBytes + ?Sized),
    at: u32,
    which: u32,
    tunnel: &mut Tunnel,
) -> Result<u32, Skip> {
    let [first] = bytes.read::<1>(at).ok_or(Skip::Malformed)?;
    let (protocol, inner) = if first >> 4 == 4 {
        let h: Ipv4Header = bytes.read_as(at).ok_or(Skip::Malformed)?;
        if h.flags_and_offset & MORE_OR_OFFSET.to_be() != 0 {
            return Err(Skip::Fragment);
        }
        if first & 0x0f < 5 {
            return Err(Skip::Malformed);
        }
        (tunnel.src, tunnel.dst) = (mapped(h.src), mapped(h.dst));
        (h.protocol, at + u32::from(first & 0x0f) * 4)
    } else if first >> 4 == 6 {
        let h: Ipv6Header = bytes.read_as(at).ok_or(Skip::Malformed)?;
        (tunnel.src, tunnel.dst) = (h.src, h.dst);
        extensions(bytes, h.next, at + 40)?
    } else {
        return Err(Skip::NotIp);
    };
    match protocol {
        ip_proto::IPIP | ip_proto::IPV6 if which & decap::IPIP != 0 => {
            tunnel.what = Tunnel::MARK | Tunnel::IP;
            Ok(inner)
        }
        ip_proto::UDP if which & decap::VXLAN != 0 => {
            let port = u16::from_be_bytes(bytes.read::<2>(inner + 2).ok_or(Skip::Malformed)?);
            if port != VXLAN_PORTS[0] && port != VXLAN_PORTS[1] {
                return Err(Skip::NotTcp);
            }
            let h: VxlanHeader = bytes.read_as(inner + 8).ok_or(Skip::Malformed)?;
            // The I flag: the network identifier is valid, as it must be.
            if h.flags & 0x08 == 0 {
                return Err(Skip::NotTcp);
            }
            match after_ethernet(bytes, inner + 16)? {
                (ether_type::IPV4 | ether_type::IPV6, offset) => {
                    let number = u64::from(u32::from_be(h.number) >> 8);
                    tunnel.what = Tunnel::MARK | Tunnel::VXLAN | number;
                    Ok(offset)
                }
                _ => Err(Skip::NotTcp),
            }
        }
        _ => Err(Skip::NotTcp),
    }
}

/// What follows the IPv6 extension headers that begin at `at`, of which `next` is the first, and
/// where.
///
/// # Errors
/// [`Skip::Fragment`] of a piece, [`Skip::Malformed`] when they are cut.
#[inline(always)]
fn extensions(
    bytes: &(impl PacketBytes + ?Sized),
    mut next: u8,
    mut at: u32,
) -> Result<(u8, u32), Skip> {
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(
            next,
            ip_proto::HOP_BY_HOP
                | ip_proto::ROUTING
                | ip_proto::DESTINATION
                | ip_proto::AH
                | ip_proto::FRAGMENT
        ) {
            break;
        }
        let e: ExtensionHeader = bytes.read_as(at).ok_or(Skip::Malformed)?;
        at = at.wrapping_add(match next {
            ip_proto::AH => u32::from(e.length) * 4 + 8,
            ip_proto::FRAGMENT => {
                // Neither an offset nor more fragments: an atomic fragment (RFC 6946).
                if e.fragment_offset & 0xfff9_u16.to_be() != 0 {
                    return Err(Skip::Fragment);
                }
                8
            }
            _ => u32::from(e.length) * 8 + 8,
        });
        next = e.next;
    }
    Ok((next, at))
}

/// A VXLAN header (RFC 7348 §5); integers in network order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct VxlanHeader {
    flags: u8,
    reserved: [u8; 3],
    /// The network identifier, and a reserved byte after it.
    number: u32,
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

/// An IPv4 header without options (RFC 791 §3.1); integers in network order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Ipv4Header {
    version_and_length: u8,
    service: u8,
    total_length: u16,
    id: u16,
    flags_and_offset: u16,
    ttl: u8,
    protocol: u8,
    checksum: u16,
    src: u32,
    dst: u32,
}

/// An IPv6 header (RFC 8200 §3); integers in network order, addresses as they lie in memory.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Ipv6Header {
    version_class_label: [u8; 4],
    payload_length: u16,
    next: u8,
    hop_limit: u8,
    src: Words,
    dst: Words,
}

/// What every IPv6 extension header begins with; what a fragment header continues with.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ExtensionHeader {
    next: u8,
    length: u8,
    fragment_offset: u16,
}

/// A TCP header without options (RFC 9293 §3.1); integers in network order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct TcpHeader {
    src_port: u16,
    dst_port: u16,
    seq: u32,
    ack: u32,
    data_offset: u8,
    flags: u8,
    window: u16,
    checksum: u16,
    urgent: u16,
}

/// IPv4 (RFC 791). A total length of 0 is what Linux leaves in the header of a super-packet whose
/// length does not fit (BIG TCP): the packet then ends with the frame.
#[inline(always)]
fn ipv4(bytes: &(impl PacketBytes + ?Sized), offset: u32, netns: u32) -> Result<Segment, Skip> {
    let h: Ipv4Header = bytes.read_as(offset).ok_or(Skip::Malformed)?;
    let header_len = u32::from(h.version_and_length & 0x0f) * 4;
    if h.version_and_length >> 4 != 4 || header_len < 20 {
        return Err(Skip::Malformed);
    }
    if h.protocol != ip_proto::TCP {
        return Err(Skip::NotTcp);
    }
    if h.flags_and_offset & MORE_OR_OFFSET.to_be() != 0 {
        return Err(Skip::Fragment);
    }
    let total = u32::from(u16::from_be(h.total_length));
    let end = if total == 0 {
        bytes.len()
    } else {
        offset.wrapping_add(total)
    };
    let (src, dst) = (mapped(h.src), mapped(h.dst));
    tcp(bytes, offset.wrapping_add(header_len), end, src, dst, netns)
}

/// The IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) of one that is as it lies in memory.
#[inline(always)]
fn mapped(v4: u32) -> Words {
    let [a, b, c, d] = v4.to_ne_bytes();
    [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
}

/// IPv6 (RFC 8200). A payload length of 0 means a jumbogram (RFC 2675) or a super-packet: it ends
/// with the frame.
#[inline(always)]
fn ipv6(bytes: &(impl PacketBytes + ?Sized), offset: u32, netns: u32) -> Result<Segment, Skip> {
    let h: Ipv6Header = bytes.read_as(offset).ok_or(Skip::Malformed)?;
    if h.version_class_label[0] >> 4 != 6 {
        return Err(Skip::Malformed);
    }
    let length = u32::from(u16::from_be(h.payload_length));
    let mut at = offset.wrapping_add(40);
    let end = if length == 0 {
        bytes.len()
    } else {
        at.wrapping_add(length)
    };
    let mut next = h.next;
    if next != ip_proto::TCP {
        for _ in 0..MAX_EXTENSIONS {
            let e: ExtensionHeader = bytes.read_as(at).ok_or(Skip::Malformed)?;
            let extension_len = match next {
                ip_proto::HOP_BY_HOP | ip_proto::ROUTING | ip_proto::DESTINATION => {
                    u32::from(e.length) * 8 + 8
                }
                ip_proto::AH => u32::from(e.length) * 4 + 8,
                ip_proto::FRAGMENT => {
                    // An offset, or more fragments; neither is an atomic fragment (RFC 6946).
                    if e.fragment_offset & 0xfff9_u16.to_be() != 0 {
                        return Err(Skip::Fragment);
                    }
                    8
                }
                _ => return Err(Skip::NotTcp),
            };
            at = at.wrapping_add(extension_len);
            next = e.next;
            if next == ip_proto::TCP {
                break;
            }
        }
        if next != ip_proto::TCP {
            return Err(Skip::NotTcp);
        }
    }
    tcp(bytes, at, end, h.src, h.dst, netns)
}

/// A piece of an IP packet, as the kernel's hooks hand it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Sender.
    pub src: Words,
    /// Receiver.
    pub dst: Words,
    /// The identification field.
    pub identification: u32,
    /// Protocol of the payload, as this piece says.
    pub protocol: u8,
    /// 1 when pieces follow it, 0 when it is the last.
    pub more: u32,
    /// 1 of an IPv6 packet, 0 of an IPv4 one.
    pub v6: u32,
    /// Where its first byte belongs in the packet's payload.
    pub offset: u32,
    /// Where its bytes begin in the frame.
    pub data_offset: u32,
    /// How many they are, 1 to 65,535.
    pub data_len: u32,
}

/// An IPv6 fragment header (RFC 8200 §4.5); integers in network order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FragmentHeader {
    next: u8,
    reserved: u8,
    offset: u16,
    identification: u32,
}

/// The piece in the IP packet that begins at `at`, of which the walk said [`Skip::Fragment`].
///
/// # Errors
/// [`Skip::Malformed`] when it cannot be one.
#[inline(always)]
pub fn piece(bytes: &(impl PacketBytes + ?Sized), at: u32) -> Result<Piece, Skip> {
    let [first] = bytes.read::<1>(at).ok_or(Skip::Malformed)?;
    let piece = if first >> 4 == 4 {
        let h: Ipv4Header = bytes.read_as(at).ok_or(Skip::Malformed)?;
        let header_len = u32::from(first & 0x0f) * 4;
        if header_len < 20 {
            return Err(Skip::Malformed);
        }
        let total = u32::from(u16::from_be(h.total_length));
        let field = u32::from(u16::from_be(h.flags_and_offset));
        Piece {
            src: mapped(h.src),
            dst: mapped(h.dst),
            identification: u32::from(u16::from_be(h.id)),
            protocol: h.protocol,
            more: field >> 13 & 1,
            v6: 0,
            offset: (field & 0x1fff) * 8,
            data_offset: at.wrapping_add(header_len),
            data_len: total.wrapping_sub(header_len),
        }
    } else {
        let h: Ipv6Header = bytes.read_as(at).ok_or(Skip::Malformed)?;
        let mut to = at.wrapping_add(40);
        let end = to.wrapping_add(u32::from(u16::from_be(h.payload_length)));
        let mut next = h.next;
        for _ in 0..MAX_EXTENSIONS {
            if next == ip_proto::FRAGMENT {
                break;
            }
            let e: ExtensionHeader = bytes.read_as(to).ok_or(Skip::Malformed)?;
            to = to.wrapping_add(if next == ip_proto::AH {
                u32::from(e.length) * 4 + 8
            } else {
                u32::from(e.length) * 8 + 8
            });
            next = e.next;
        }
        if next != ip_proto::FRAGMENT {
            return Err(Skip::Malformed);
        }
        let f: FragmentHeader = bytes.read_as(to).ok_or(Skip::Malformed)?;
        let field = u32::from(u16::from_be(f.offset));
        Piece {
            src: h.src,
            dst: h.dst,
            identification: u32::from_be(f.identification),
            protocol: f.next,
            more: field & 1,
            v6: 1,
            offset: field & 0xfff8,
            data_offset: to.wrapping_add(8),
            data_len: end.wrapping_sub(to.wrapping_add(8)),
        }
    };
    // All but the last piece are multiples of eight bytes, and no packet exceeds 64 KiB.
    let cut_badly = piece.more != 0 && piece.data_len % 8 != 0;
    if piece.data_len == 0
        || piece.data_len > 0xffff
        || piece.offset + piece.data_len > 0xffff
        || cut_badly
    {
        return Err(Skip::Malformed);
    }
    Ok(piece)
}

/// The segment whose first bytes a packet's first piece has: its payload length is that of the
/// piece.
///
/// # Errors
/// [`Skip::Malformed`] when the TCP header is not all in the piece.
#[inline(always)]
pub fn first_piece(
    bytes: &(impl PacketBytes + ?Sized),
    piece: &Piece,
    netns: u32,
) -> Result<Segment, Skip> {
    let end = piece.data_offset.wrapping_add(piece.data_len);
    tcp(bytes, piece.data_offset, end, piece.src, piece.dst, netns)
}

/// The connection of a packet's first piece, by the ports that its TCP header begins with.
#[inline(always)]
pub fn piece_key(
    bytes: &(impl PacketBytes + ?Sized),
    piece: &Piece,
    netns: u32,
) -> Option<FlowKey> {
    let [src_port, dst_port]: [u16; 2] = bytes.read_as(piece.data_offset)?;
    let (src_port, dst_port) = (u16::from_be(src_port), u16::from_be(dst_port));
    Some(FlowKey::from_words(piece.src, src_port, piece.dst, dst_port, netns).0)
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
    src: Words,
    dst: Words,
    netns: u32,
) -> Result<Segment, Skip> {
    let h: TcpHeader = bytes.read_as(offset).ok_or(Skip::Malformed)?;
    let header_len = u32::from(h.data_offset >> 4) * 4;
    let payload_offset = offset.wrapping_add(header_len);
    if header_len < 20 || payload_offset > end {
        return Err(Skip::Malformed);
    }
    let payload_len = if h.flags & tcp_flag::RST != 0 {
        0
    } else {
        end - payload_offset
    };
    let (key, direction) = FlowKey::from_words(
        src,
        u16::from_be(h.src_port),
        dst,
        u16::from_be(h.dst_port),
        netns,
    );
    Ok(Segment {
        key,
        direction,
        seq: u32::from_be(h.seq),
        ack: u32::from_be(h.ack),
        flags: h.flags,
        payload_offset,
        payload_len,
    })
}

#[cfg(test)]
mod tests;
