//! The link layers below the first IP header or EtherType, by link type.

use super::encap::LayerKind;
use super::full::{At, Step, Walk};
use super::link::LinkType;
use super::{Skip, ether_type};

/// Where the walk of a frame of this link type begins.
pub(super) fn begin(walk: &mut Walk<'_>, link: LinkType) -> Result<(At, u32), Skip> {
    Ok(match link {
        LinkType::ETHERNET => (At::Ethernet, 0),
        LinkType::RAW | LinkType::RAW_DLT | LinkType::RAW_OPENBSD => (At::Ip, 0),
        LinkType::IPV4 => (At::EtherType(ether_type::IPV4), 0),
        LinkType::IPV6 => (At::EtherType(ether_type::IPV6), 0),
        LinkType::NULL | LinkType::LOOP => loopback(walk, link)?,
        LinkType::LINUX_SLL => cooked(walk, 14, 2, 16)?,
        LinkType::LINUX_SLL2 => cooked(walk, 0, 8, 20)?,
        LinkType::PPP => (At::Ppp, 0),
        LinkType::PPP_HDLC => ppp_hdlc(walk)?,
        LinkType::PPP_ETHER => (At::Pppoe, 0),
        LinkType::C_HDLC => (At::EtherType(walk.read_u16(2)?), 4),
        LinkType::NFLOG => nflog(walk)?,
        LinkType::ARCNET_LINUX => arcnet(walk)?,
        LinkType::IEEE802_11 => (At::Ieee80211, 0),
        LinkType::IEEE802_11_RADIOTAP => radiotap(walk)?,
        _ => return Err(Skip::LinkType),
    })
}

/// BSD loopback. The family's byte order is the capturing host's (NULL) or the network's (LOOP);
/// a family is a small number, so either way is told by where its byte stands.
fn loopback(walk: &Walk<'_>, link: LinkType) -> Result<(At, u32), Skip> {
    let bytes = walk.read::<4>(0)?;
    let big = u32::from_be_bytes(bytes);
    let family = if link == LinkType::LOOP || big <= 0xffff {
        big
    } else {
        u32::from_le_bytes(bytes)
    };
    match family {
        2 => Ok((At::EtherType(ether_type::IPV4), 4)),
        // Linux, Windows, NetBSD and OpenBSD, FreeBSD, Darwin each have their own AF_INET6.
        10 | 23 | 24 | 28 | 30 => Ok((At::EtherType(ether_type::IPV6), 4)),
        _ => Err(Skip::NotIp),
    }
}

/// Linux cooked capture: the protocol field is an EtherType, but a GRE protocol on GRE devices, and
/// small numbers mean LLC. Devices of ARPHRD_NONE and PPP carry IP as the protocol says.
fn cooked(walk: &mut Walk<'_>, protocol: u32, device: u32, after: u32) -> Result<(At, u32), Skip> {
    /// `ARPHRD_NETLINK`: the rest is no packet.
    const NETLINK: u16 = 824;
    /// `ETH_P_802_2`.
    const LLC: u16 = 0x0004;
    let kind = walk.read_u16(protocol)?;
    if walk.read_u16(device)? == NETLINK {
        return Err(Skip::NotIp);
    }
    // So that an absent header is an error even when nothing is read of it.
    walk.read::<1>(after - 1)?;
    match kind {
        LLC => Ok((At::Llc, after)),
        0..0x0600 => Err(Skip::NotIp),
        _ => Ok((At::EtherType(kind), after)),
    }
}

/// PPP in HDLC-like framing; a first byte other than 0xff means Cisco HDLC (as for C_HDLC).
fn ppp_hdlc(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    match walk.read::<1>(0)? {
        [0x0f | 0x8f] => Ok((At::EtherType(walk.read_u16(2)?), 4)),
        _ => Ok((At::Ppp, 0)),
    }
}

/// Netfilter log: a header of four bytes, then attributes whose lengths are in the capturing host's
/// byte order; the packet is one of them.
fn nflog(walk: &mut Walk<'_>) -> Result<(At, u32), Skip> {
    /// `NFULA_PAYLOAD`.
    const PAYLOAD: u16 = 9;
    /// The most attributes before the payload; the kernel has about twenty kinds.
    const MAX_ATTRIBUTES: usize = 64;
    let [_, version, g1, g2] = walk.read(0)?;
    if version != 0 {
        return Err(Skip::Malformed);
    }
    walk.encap
        .push(LayerKind::Nflog, u32::from(u16::from_be_bytes([g1, g2])));
    let mut offset = 4;
    let first = walk.read::<2>(offset)?;
    let room = walk.end.saturating_sub(offset);
    // The first attribute (the packet header, 8 bytes) is short: the smaller reading is the right one.
    let little = u16::from_le_bytes(first) <= u16::from_be_bytes(first);
    let number = |bytes: [u8; 2]| {
        if little {
            u16::from_le_bytes(bytes)
        } else {
            u16::from_be_bytes(bytes)
        }
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

/// ARCNET as Linux hands it over: source, destination, two bytes of offset, the protocol, and for
/// RFC 1201 a split flag and a sequence number.
fn arcnet(walk: &Walk<'_>) -> Result<(At, u32), Skip> {
    let [protocol, split] = walk.read(4)?;
    match protocol {
        // RFC 1051: no more header.
        0xf0 => Ok((At::EtherType(ether_type::IPV4), 5)),
        // RFC 1201: IPv4, and IPv6 by RFC 2497.
        0xd4 | 0xc4 if split != 0 => Err(Skip::Fragment),
        0xd4 => Ok((At::EtherType(ether_type::IPV4), 8)),
        0xc4 => Ok((At::EtherType(ether_type::IPV6), 8)),
        _ => Err(Skip::NotIp),
    }
}

/// Radiotap (radiotap.org): a little-endian length, then the 802.11 frame. Of its fields only the
/// flags matter: whether the frame ends with a check sequence, and whether its header is padded.
fn radiotap(walk: &mut Walk<'_>) -> Result<(At, u32), Skip> {
    let [version, _, l1, l2] = walk.read(0)?;
    let length = u32::from(u16::from_le_bytes([l1, l2]));
    if version != 0 || length < 8 {
        return Err(Skip::Malformed);
    }
    Ok((At::Ieee80211, length))
}

/// IEEE 802.11 §9.3.2: data frames that are not encrypted carry LLC.
pub(super) fn ieee80211(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let [fc0, fc1] = walk.read(offset)?;
    let (version, kind, subtype) = (fc0 & 3, fc0 >> 2 & 3, fc0 >> 4);
    // Only data frames, and of those only the subtypes that carry any.
    if version != 0 || kind != 2 || subtype & 4 != 0 {
        return Err(Skip::NotIp);
    }
    let (to_ds, from_ds, protected, order) =
        (fc1 & 1 != 0, fc1 & 2 != 0, fc1 & 0x40 != 0, fc1 & 0x80 != 0);
    if protected {
        return Err(Skip::Encrypted);
    }
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
    if aggregate {
        // An A-MSDU's first subframe: destination, source and length, as in Ethernet.
        let length = u32::from(walk.read_u16(after + 12)?);
        after += 14;
        walk.narrow(after, length);
    }
    Ok(Step::Next(At::Llc, after))
}
