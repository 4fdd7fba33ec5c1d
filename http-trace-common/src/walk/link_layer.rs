//! The link layers before the first IP header or EtherType, by link type.

use super::cursor::{At, Step, Walk};
use super::encap::LayerKind;
use super::link::LinkType;
use super::segment::{Skip, ether_type};

/// Returns the first header of a frame of this link type, and its offset.
pub(super) fn begin(walk: &mut Walk<'_>, link: LinkType) -> Result<(At, u32), Skip> {
    Ok(match link {
        LinkType::ETHERNET => (At::Ethernet, 0),
        LinkType::RAW | LinkType::RAW_DLT | LinkType::RAW_OPENBSD => (At::Ip, 0),
        LinkType::IPV4 => (At::EtherType(ether_type::IPV4), 0),
        LinkType::IPV6 => (At::EtherType(ether_type::IPV6), 0),
        LinkType::NULL | LinkType::LOOP => loopback(walk, link, 0)?,
        LinkType::LINUX_SLL => cooked(walk, 14, 2, 16)?,
        LinkType::LINUX_SLL2 => cooked(walk, 0, 8, 20)?,
        LinkType::PPP => (At::Ppp, 0),
        LinkType::PPP_HDLC => ppp_hdlc(walk)?,
        LinkType::PPP_PPPD => (At::Ppp, 2),
        LinkType::PPP_WITH_DIR => (At::Ppp, 1),
        LinkType::PPP_ETHER => (At::Pppoe, 0),
        LinkType::C_HDLC => (At::EtherType(walk.read_u16(2)?), 4),
        LinkType::C_HDLC_WITH_DIR => (At::EtherType(walk.read_u16(3)?), 5),
        LinkType::FRELAY => frame_relay(walk, 0)?,
        LinkType::FRELAY_WITH_DIR => frame_relay(walk, 1)?,
        LinkType::SLIP => (At::Ip, 16),
        LinkType::ENC => (At::Ip, 12),
        LinkType::IPNET => (At::Ip, 24),
        LinkType::PFLOG => pflog(walk)?,
        LinkType::NFLOG => nflog(walk)?,
        LinkType::IPOIB => (At::EtherType(walk.read_u16(40)?), 44),
        LinkType::ARCNET_BSD => arcnet(walk, 2)?,
        LinkType::ARCNET_LINUX => arcnet(walk, 4)?,
        LinkType::IEEE802_5 => token_ring(walk)?,
        LinkType::FDDI => fddi(walk)?,
        LinkType::ATM_RFC1483 => (At::Llc, 0),
        LinkType::SUNATM => sunatm(walk)?,
        LinkType::IP_OVER_FC => (At::Llc, 16),
        LinkType::NETANALYZER | LinkType::DSA_TAG_BRCM_PREPEND => (At::Ethernet, 4),
        LinkType::EPON => (At::Ethernet, 8),
        LinkType::NETANALYZER_TRANSPARENT => (At::Ethernet, 12),
        LinkType::ETHERNET_MPACKET => mpacket(walk)?,
        LinkType::DSA_TAG_BRCM | LinkType::DSA_TAG_DSA => switch_tag(walk, 4)?,
        LinkType::DSA_TAG_EDSA => switch_tag(walk, 8)?,
        LinkType::ERF => erf(walk)?,
        LinkType::MPLS => (At::Mpls, 0),
        LinkType::DOCSIS => docsis(walk)?,
        LinkType::IP_OVER_1394 => (At::EtherType(walk.read_u16(16)?), 18),
        LinkType::IEEE802_11 => (At::Ieee80211, 0),
        LinkType::IEEE802_11_RADIOTAP => radiotap(walk)?,
        LinkType::IEEE802_11_PRISM | LinkType::IEEE802_11_AVS => prism(walk)?,
        LinkType::PPI => {
            let [_, _, l1, l2, link @ ..] = walk.read::<8>(0)?;
            let length = u32::from(u16::from_le_bytes([l1, l2]));
            named(walk, u32::from_le_bytes(link), 8, length)?
        }
        LinkType::PKTAP => {
            let length = u32::from_le_bytes(walk.read(0)?);
            named(walk, u32::from_le_bytes(walk.read(8)?), 12, length)?
        }
        _ => return Err(Skip::LinkType),
    })
}

/// The frame after a header of `length` bytes (at least `least`) that names its link type. Only link
/// types that occur after such headers are supported.
fn named(walk: &Walk<'_>, link: u32, least: u32, length: u32) -> Result<(At, u32), Skip> {
    if length < least {
        return Err(Skip::Malformed);
    }
    // Check that the whole header is there, so that offsets stay within the captured bytes.
    walk.read::<1>(length - 1)?;
    match LinkType(link) {
        LinkType::ETHERNET => Ok((At::Ethernet, length)),
        LinkType::RAW | LinkType::RAW_DLT | LinkType::RAW_OPENBSD => Ok((At::Ip, length)),
        link @ (LinkType::NULL | LinkType::LOOP) => loopback(walk, link, length),
        LinkType::PPP => Ok((At::Ppp, length)),
        LinkType::IEEE802_11 => Ok((At::Ieee80211, length)),
        _ => Err(Skip::LinkType),
    }
}

/// BSD loopback. The family is in the byte order of the capturing host (NULL) or of the network
/// (LOOP). It is a small number, so the position of its nonzero byte shows the order.
fn loopback(walk: &Walk<'_>, link: LinkType, offset: u32) -> Result<(At, u32), Skip> {
    let bytes = walk.read::<4>(offset)?;
    let big = u32::from_be_bytes(bytes);
    let family =
        if link == LinkType::LOOP || big <= 0xffff { big } else { u32::from_le_bytes(bytes) };
    match family {
        2 => Ok((At::EtherType(ether_type::IPV4), offset + 4)),
        // AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin.
        10 | 23 | 24 | 28 | 30 => Ok((At::EtherType(ether_type::IPV6), offset + 4)),
        _ => Err(Skip::NotIp),
    }
}

/// Linux cooked capture. The protocol field is an EtherType, but on GRE devices a GRE protocol; small
/// numbers mean LLC. Devices of type ARPHRD_NONE and PPP carry IP as the protocol says.
fn cooked(walk: &mut Walk<'_>, protocol: u32, device: u32, after: u32) -> Result<(At, u32), Skip> {
    /// `ARPHRD_NETLINK`: the rest is not a packet.
    const NETLINK: u16 = 824;
    /// `ETH_P_802_2`.
    const LLC: u16 = 0x0004;
    let kind = walk.read_u16(protocol)?;
    if walk.read_u16(device)? == NETLINK {
        return Err(Skip::NotIp);
    }
    // Check that the header is there even if nothing of it is read.
    walk.read::<1>(after - 1)?;
    match kind {
        LLC => Ok((At::Llc, after)),
        0..0x0600 => Err(Skip::NotIp),
        _ => Ok((At::EtherType(kind), after)),
    }
}

/// PPP in HDLC-like framing. A first byte other than 0xff means Cisco HDLC (as for C_HDLC).
fn ppp_hdlc(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    match walk.read::<1>(0)? {
        [0x0f | 0x8f] => Ok((At::EtherType(walk.read_u16(2)?), 4)),
        _ => Ok((At::Ppp, 0)),
    }
}

/// Netfilter log: a 4-byte header, then attributes whose lengths are in the byte order of the
/// capturing host. One of them is the packet.
fn nflog(walk: &mut Walk<'_>) -> Result<(At, u32), Skip> {
    /// `NFULA_PAYLOAD`.
    const PAYLOAD: u16 = 9;
    /// Maximum number of attributes before the payload; the kernel has about twenty kinds.
    const MAX_ATTRIBUTES: usize = 64;
    let [_, version, g1, g2] = walk.read(0)?;
    if version != 0 {
        return Err(Skip::Malformed);
    }
    walk.encap.push(LayerKind::Nflog, u32::from(u16::from_be_bytes([g1, g2])));
    let mut offset = 4;
    let first = walk.read::<2>(offset)?;
    let room = walk.end.saturating_sub(offset);
    // The first attribute (the packet header, 8 bytes) is short, so the smaller reading is correct.
    let little = u16::from_le_bytes(first) <= u16::from_be_bytes(first);
    let number = |bytes: [u8; 2]| {
        if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    };
    if u32::from(number(first)) > room {
        return Err(Skip::Malformed);
    }
    for _ in 0..MAX_ATTRIBUTES {
        let [l1, l2, t1, t2] = walk.read(offset)?;
        let length = u32::from(number([l1, l2]));
        if length < 4 {
            return Err(Skip::Malformed);
        }
        // The upper bits are NLA_F_NESTED and NLA_F_NET_BYTEORDER.
        if number([t1, t2]) & 0x3fff == PAYLOAD {
            walk.narrow(offset, length);
            return Ok((At::Ip, offset + 4));
        }
        offset = offset.saturating_add(length.next_multiple_of(4));
    }
    Err(Skip::Malformed)
}

/// ARCNET: source and destination, on Linux two bytes of offset, the protocol, and for RFC 1201 a
/// split flag and a sequence number.
fn arcnet(walk: &Walk<'_>, offset: u32) -> Result<(At, u32), Skip> {
    let [protocol, split] = walk.read(offset)?;
    match protocol {
        // RFC 1051 has no further header.
        0xf0 => Ok((At::EtherType(ether_type::IPV4), offset + 1)),
        // RFC 1201: IPv4; IPv6 by RFC 2497.
        0xd4 | 0xc4 if split != 0 => Err(Skip::Fragment),
        0xd4 => Ok((At::EtherType(ether_type::IPV4), offset + 4)),
        0xc4 => Ok((At::EtherType(ether_type::IPV6), offset + 4)),
        _ => Err(Skip::NotIp),
    }
}

/// Frame Relay: a 2- to 4-byte address, whose last byte has its lowest bit set, then the header of RFC
/// 2427 §3, or an EtherType in Cisco's encapsulation.
fn frame_relay(walk: &Walk<'_>, offset: u32) -> Result<(At, u32), Skip> {
    let mut at = offset;
    while walk.read::<1>(at)?[0] & 1 == 0 {
        at += 1;
        if at == offset + 4 {
            return Err(Skip::Malformed);
        }
    }
    at += 1;
    let [control, id] = walk.read(at)?;
    match (control, id) {
        (0x03, 0xcc) => Ok((At::EtherType(ether_type::IPV4), at + 2)),
        (0x03, 0x8e) => Ok((At::EtherType(ether_type::IPV6), at + 2)),
        // SNAP, after a padding byte for alignment.
        (0x03, 0x00 | 0x80) => {
            let oui = at + if id == 0 { 3 } else { 2 };
            match walk.read(oui)? {
                [0, 0, 0, t1, t2] => Ok((At::EtherType(u16::from_be_bytes([t1, t2])), oui + 5)),
                _ => Err(Skip::NotIp),
            }
        }
        (0x03, _) => Err(Skip::NotIp),
        _ => Ok((At::EtherType(u16::from_be_bytes([control, id])), at + 2)),
    }
}

/// OpenBSD packet filter log: a header that contains its length without padding.
fn pflog(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    let [length] = walk.read(0)?;
    Ok((At::Ip, u32::from(length).next_multiple_of(4)))
}

/// IEEE 802.5 §3.2: access and frame control, addresses, and routing information if a bit of the
/// source address says so.
fn token_ring(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    let [frame_control] = walk.read(1)?;
    if frame_control >> 6 != 1 {
        return Err(Skip::NotIp);
    }
    let [source] = walk.read(8)?;
    if source & 0x80 == 0 {
        return Ok((At::Llc, 14));
    }
    let [routing] = walk.read(14)?;
    Ok((At::Llc, 14 + u32::from(routing & 0x1f)))
}

/// FDDI: frame control and addresses; only LLC frames carry packets.
fn fddi(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    match walk.read::<1>(0)?[0] & 0x70 {
        0x50 => Ok((At::Llc, 13)),
        _ => Err(Skip::NotIp),
    }
}

/// SunATM: flags, whose lower half gives the type of what follows, and the circuit.
fn sunatm(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    match walk.read::<1>(0)?[0] & 0x0f {
        2 => Ok((At::Llc, 4)),
        _ => Err(Skip::NotIp),
    }
}

/// DOCSIS (SCTE 79-1 §6): control, a parameter, a length, an extended header if the control byte says
/// so, and a check value. Only unencrypted packets are followed.
fn docsis(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    let [control, parameter] = walk.read(0)?;
    // Only the packet type is followed; ATM and management frames have others.
    if control >> 6 != 0 {
        return Err(Skip::NotIp);
    }
    let extended = if control & 1 != 0 { u32::from(parameter) } else { 0 };
    Ok((At::Ethernet, 6 + extended))
}

/// IEEE 802.3br: a preamble, then the marker of a whole frame. Fragments of preempted frames are not
/// packets.
fn mpacket(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    const PREAMBLE: u8 = 0x55;
    const BEGINS_EXPRESS: u8 = 0xd5;
    for at in 0..8 {
        match walk.read::<1>(at)? {
            [PREAMBLE] => {}
            [BEGINS_EXPRESS] => return Ok((At::Ethernet, at + 1)),
            _ => break,
        }
    }
    Err(Skip::NotIp)
}

/// Ethernet with a switch tag between the addresses and the type.
fn switch_tag(walk: &Walk<'_>, tag: u32) -> Result<(At, u32), Skip> {
    let kind = walk.read_u16(12 + tag)?;
    match kind {
        0..0x0600 => Ok((At::Llc, 14 + tag)),
        _ => Ok((At::EtherType(kind), 14 + tag)),
    }
}

/// Endace records: a 16-byte header, then extensions as long as a bit says so, then contents by type.
/// Ethernet is preceded by two alignment bytes.
fn erf(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    /// Maximum number of extensions of a record; there are about ten kinds.
    const MAX_EXTENSIONS: u32 = 16;
    let [kind] = walk.read(8)?;
    let mut offset = 16;
    let mut more = kind & 0x80 != 0;
    while more {
        more = walk.read::<1>(offset)?[0] & 0x80 != 0;
        offset += 8;
        if offset > 16 + 8 * MAX_EXTENSIONS {
            return Err(Skip::Malformed);
        }
    }
    match kind & 0x7f {
        // TYPE_ETH and its coloured, flow-hashed and DSM variants.
        2 | 11 | 16 | 20 => Ok((At::Ethernet, offset + 2)),
        // TYPE_IPV4, TYPE_IPV6.
        22 | 23 => Ok((At::Ip, offset)),
        _ => Err(Skip::NotIp),
    }
}

/// A Prism header in the byte order of the capturing host, or an AVS header, which drivers use in its
/// place.
fn prism(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    /// Magic number of the AVS header; its lowest bits are the version.
    const AVS: u32 = 0x8021_1000;
    let magic = walk.read::<4>(0)?;
    let length = walk.read::<4>(4)?;
    let length = if u32::from_be_bytes(magic) & 0xffff_f000 == AVS {
        u32::from_be_bytes(length)
    } else {
        // The length is a small number, so the smaller of both readings is correct.
        u32::from_be_bytes(length).min(u32::from_le_bytes(length))
    };
    if !(8..=1024).contains(&length) {
        return Err(Skip::Malformed);
    }
    Ok((At::Ieee80211, length))
}

/// Radiotap (radiotap.org): a little-endian length, then the 802.11 frame. A frame check sequence lies
/// after the end of the packet, and padding is detected from the contents.
fn radiotap(walk: &mut Walk<'_>) -> Result<(At, u32), Skip> {
    let [version, _, l1, l2] = walk.read(0)?;
    let length = u32::from(u16::from_le_bytes([l1, l2]));
    if version != 0 || length < 8 {
        return Err(Skip::Malformed);
    }
    Ok((At::Ieee80211, length))
}

/// IEEE 802.11 §9.3.2: unencrypted data frames carry LLC.
pub(super) fn ieee80211(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let [fc0, fc1] = walk.read(offset)?;
    let (version, kind, subtype) = (fc0 & 3, fc0 >> 2 & 3, fc0 >> 4);
    // Only data frames, and only the subtypes that carry data.
    if version != 0 || kind != 2 || subtype & 4 != 0 {
        return Err(Skip::NotIp);
    }
    let (to_ds, from_ds, protected, order) =
        (fc1 & 1 != 0, fc1 & 2 != 0, fc1 & 0x40 != 0, fc1 & 0x80 != 0);
    let mut after = offset + 24;
    if to_ds && from_ds {
        after += 6;
    }
    let mut aggregate = false;
    if subtype & 8 != 0 {
        let [qos, _] = walk.read(after)?;
        aggregate = qos & 0x80 != 0;
        after += 2;
        if order {
            after += 4;
        }
    }
    // Some hardware pads the header to four bytes.
    if !(after - offset).is_multiple_of(4) && !is_snap(walk, after) && is_snap(walk, after + 2) {
        after += 2;
    }
    // Decrypting tools may leave the bit set.
    if protected && !is_snap(walk, after) {
        return Err(Skip::Encrypted);
    }
    let at = if aggregate { At::Subframe } else { At::Llc };
    Ok(Step::Next(at, after))
}

/// Whether LLC with SNAP begins here (RFC 1042).
fn is_snap(walk: &Walk<'_>, offset: u32) -> bool {
    walk.read(offset) == Ok([0xaa, 0xaa, 0x03, 0, 0])
}
