//! What the lean walk reads on request: one tunnel, and the VLANs of a frame.

use bytemuck::{Pod, Zeroable};

use super::encap::Tunnel;
use super::lean::{
    Ipv4Header, Ipv6Header, MAX_TAGS, MORE_OR_OFFSET, after_ethernet, extensions, mapped,
};
use super::segment::{PacketBytes, Skip, TAG_LEN, VLAN_NUMBER, ether_type, ip_proto, is_tag};
use crate::config::decap;

/// UDP ports of VXLAN: the IANA port, and the one that Linux used before.
const VXLAN_PORTS: [u16; 2] = [4789, 8472];

/// Finds the inner IP header of a tunnel, one level deep: VXLAN over IPv4 or IPv6, or IP in IP, as
/// requested by `which` (bits of [`decap`]). The outer IP header is at `at`. Stores the tunnel in
/// `tunnel`, whose kind otherwise stays the same.
///
/// # Errors
/// A [`Skip`]: [`Skip::NotTcp`] if the packet is not such a tunnel, [`Skip::Fragment`] if it may be a
/// fragment of one.
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
            // The I flag must be set: the VNI is valid.
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

/// A VXLAN header (RFC 7348 §5); integers in network byte order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct VxlanHeader {
    flags: u8,
    reserved: [u8; 3],
    /// The VNI, followed by a reserved byte.
    number: u32,
}

/// The VLANs of a frame: the outermost two tags with a VLAN ID, 12 bits each, the inner one in bits 0
/// to 11; 0 if there are none. `outer` is the VLAN ID of the tag that the kernel keeps outside the
/// frame, 0 if there is none.
#[inline(always)]
pub fn tags(bytes: &(impl PacketBytes + ?Sized), has_ethernet: bool, outer: u32) -> u32 {
    let mut tags = outer;
    if !has_ethernet {
        return tags;
    }
    // The EtherType. If it is that of a tag, the tag follows.
    let mut at = 12;
    for _ in 0..MAX_TAGS {
        let Some([kind, tag]) = bytes.read_as::<[u16; 2]>(at) else {
            break;
        };
        if tags > VLAN_NUMBER || !is_tag(u16::from_be(kind)) {
            break;
        }
        // VLAN ID 0 is a priority without a VLAN.
        let number = u32::from(u16::from_be(tag)) & VLAN_NUMBER;
        if number != 0 {
            tags = tags << VLAN_NUMBER.count_ones() | number;
        }
        at += TAG_LEN;
    }
    tags
}
