//! The lean walk of the kernel's hooks: Ethernet, up to two VLAN tags, IPv4, IPv6 with a few extension
//! headers, TCP. It makes few reads, all of fixed size, since in the kernel each read is a bounds
//! check or a helper call.

use bytemuck::{Pod, Zeroable};

use super::segment::{PacketBytes, Segment, Skip, TAG_LEN, ether_type, ip_proto, is_tag, tcp_flag};
use crate::flow::{FlowKey, Words};

/// Maximum number of VLAN tags before the IP header.
pub(super) const MAX_TAGS: usize = 2;
/// Maximum number of IPv6 extension headers before TCP: one of each kind, plus one.
pub(super) const MAX_EXTENSIONS: usize = 6;

/// Finds the TCP segment in a frame that begins with an Ethernet II header.
///
/// `netns` is copied into the key of the segment.
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

/// Returns the EtherType after the Ethernet header at `start` and its tags, and the offset after it.
#[inline(always)]
pub(super) fn after_ethernet(
    bytes: &(impl PacketBytes + ?Sized),
    start: u32,
) -> Result<(u16, u32), Skip> {
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

/// Mask for the flags and offset of an IPv4 header: more fragments follow, or this is not the first
/// one.
pub(super) const MORE_OR_OFFSET: u16 = 0x3fff;

/// Offset of the IP header in an Ethernet frame, after the Ethernet header and tags.
///
/// # Errors
/// [`Skip::Malformed`] if they are cut.
#[inline(always)]
pub fn ip_of_ethernet(bytes: &(impl PacketBytes + ?Sized)) -> Result<u32, Skip> {
    Ok(after_ethernet(bytes, 0)?.1)
}

/// Whether this is the number of an IPv6 extension header.
#[inline(always)]
const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        ip_proto::HOP_BY_HOP
            | ip_proto::ROUTING
            | ip_proto::DESTINATION
            | ip_proto::AH
            | ip_proto::FRAGMENT
    )
}

/// Skips the IPv6 extension headers at `at`, the first of which is `next`. Returns what follows them
/// and its offset.
///
/// # Errors
/// [`Skip::Fragment`] for a fragment, [`Skip::Malformed`] if they are cut.
#[inline(always)]
pub(super) fn extensions(
    bytes: &(impl PacketBytes + ?Sized),
    mut next: u8,
    mut at: u32,
) -> Result<(u8, u32), Skip> {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(next) {
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

/// Finds the TCP segment in the IPv4 or IPv6 packet at `offset`.
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

/// An IPv4 header without options (RFC 791 §3.1); integers in network byte order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Ipv4Header {
    pub(super) version_and_length: u8,
    pub(super) service: u8,
    pub(super) total_length: u16,
    pub(super) id: u16,
    pub(super) flags_and_offset: u16,
    pub(super) ttl: u8,
    pub(super) protocol: u8,
    pub(super) checksum: u16,
    pub(super) src: u32,
    pub(super) dst: u32,
}

/// An IPv6 header (RFC 8200 §3); integers in network byte order, addresses as in memory.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Ipv6Header {
    pub(super) version_class_label: [u8; 4],
    pub(super) payload_length: u16,
    pub(super) next: u8,
    pub(super) hop_limit: u8,
    pub(super) src: Words,
    pub(super) dst: Words,
}

/// The common beginning of IPv6 extension headers, followed by the rest of a fragment header.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ExtensionHeader {
    pub(super) next: u8,
    pub(super) length: u8,
    pub(super) fragment_offset: u16,
}

/// A TCP header without options (RFC 9293 §3.1); integers in network byte order.
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

/// IPv4 (RFC 791). If the length of a super-packet does not fit (BIG TCP), Linux leaves a total length
/// of 0 in its header: the packet then ends with the frame.
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
    let end = if total == 0 { bytes.len() } else { offset.wrapping_add(total) };
    let (src, dst) = (mapped(h.src), mapped(h.dst));
    tcp(bytes, offset.wrapping_add(header_len), end, src, dst, netns)
}

/// Builds the IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) of an IPv4 address as in memory.
#[inline(always)]
pub(super) fn mapped(v4: u32) -> Words {
    let [a, b, c, d] = v4.to_ne_bytes();
    [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, a, b, c, d])]
}

/// IPv6 (RFC 8200). A payload length of 0 means a jumbogram (RFC 2675) or a super-packet: it ends with
/// the frame.
#[inline(always)]
fn ipv6(bytes: &(impl PacketBytes + ?Sized), offset: u32, netns: u32) -> Result<Segment, Skip> {
    let h: Ipv6Header = bytes.read_as(offset).ok_or(Skip::Malformed)?;
    if h.version_class_label[0] >> 4 != 6 {
        return Err(Skip::Malformed);
    }
    let length = u32::from(u16::from_be(h.payload_length));
    let mut at = offset.wrapping_add(40);
    let end = if length == 0 { bytes.len() } else { at.wrapping_add(length) };
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
                    // An offset or more fragments. With neither it is an atomic fragment (RFC 6946).
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
            // Whatever follows, no sender has a use for so many.
            return Err(if is_extension(next) { Skip::TooDeep } else { Skip::NotTcp });
        }
    }
    tcp(bytes, at, end, h.src, h.dst, netns)
}

/// TCP (RFC 9293 §3.1) at `offset`, in an IP packet that ends at `end`.
///
/// Text in a RST (RFC 9293 §3.5.3, RFC 1122 §4.2.2.12) is not stream data: the payload length is 0.
#[inline(always)]
pub(super) fn tcp(
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
    let payload_len = if h.flags & tcp_flag::RST != 0 { 0 } else { end - payload_offset };
    let (key, direction) =
        FlowKey::from_words(src, u16::from_be(h.src_port), dst, u16::from_be(h.dst_port), netns);
    Ok(Segment {
        key,
        direction,
        seq: u32::from_be(h.seq),
        ack: u32::from_be(h.ack),
        flags: h.flags,
        header_len: if payload_len == end - payload_offset { header_len as u8 } else { 0 },
        payload_offset,
        payload_len,
    })
}
