//! What the lean walk looks into where the configuration asks for it: one tunnel, and a frame's VLANs.

use bytemuck::{Pod, Zeroable};

use super::encap::Tunnel;
use super::lean::{
    Ipv4Header, Ipv6Header, MAX_TAGS, MORE_OR_OFFSET, after_ethernet, extensions, mapped,
};
use super::segment::{PacketBytes, Skip, TAG_LEN, VLAN_NUMBER, ether_type, ip_proto, is_tag};
use crate::config::decap;

/// UDP ports of VXLAN: IANA's, and the one that Linux used before.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];

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

/// A VXLAN header (RFC 7348 §5); integers in network order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct VxlanHeader {
    flags: u8,
    reserved: [u8; 3],
    /// The network identifier, and a reserved byte after it.
    number: u32,
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
