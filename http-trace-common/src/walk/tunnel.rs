//! The tunnels between one IP header and the next.

use super::checksum;
use super::cursor::{At, Step, Walk};
use super::encap::LayerKind;
use super::segment::{Skip, ether_type, is_tag};

/// UDP ports by which tunnels are guessed.
mod port {
    pub const L2TP: u16 = 1701;
    pub const GTP_U: u16 = 2152;
    pub const TEREDO: u16 = 3544;
    pub const VXLAN: u16 = 4789;
    pub const VXLAN_GPE: u16 = 4790;
    pub const GENEVE: u16 = 6081;
    pub const MPLS: u16 = 6635;
    pub const LISP: u16 = 4341;
    pub const GRE: u16 = 4754;
    pub const AYIYA: u16 = 5072;
    pub const CAPWAP: u16 = 5247;
    pub const TZSP: u16 = 37008;
    /// VXLAN port of Linux before one was assigned, and still the default of some overlays.
    pub const VXLAN_LINUX: u16 = 8472;
}

/// PPP (RFC 1661 §2), with or without address and control, with a one- or two-byte protocol field.
pub(super) fn ppp(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let mut at = offset;
    if let Ok([0xff, 0x03]) = walk.read(at) {
        at += 2;
    }
    let [first] = walk.read(at)?;
    // An odd first byte is a compressed protocol field.
    let (protocol, after) =
        if first & 1 == 1 { (u16::from(first), at + 1) } else { (walk.read_u16(at)?, at + 2) };
    walk.encap.push(LayerKind::Ppp, 0);
    match protocol {
        0x0021 => Ok(Step::Next(At::EtherType(ether_type::IPV4), after)),
        0x0057 => Ok(Step::Next(At::EtherType(ether_type::IPV6), after)),
        0x0281 => Ok(Step::Next(At::Mpls, after)),
        0x0053 => Err(Skip::Encrypted),
        _ => Err(Skip::NotIp),
    }
}

/// PPPoE session (RFC 2516 §4).
pub(super) fn pppoe(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let [version_type, code, s1, s2, l1, l2] = walk.read(offset)?;
    if version_type != 0x11 || code != 0 {
        return Err(Skip::NotIp);
    }
    walk.encap.push(LayerKind::Pppoe, u32::from(u16::from_be_bytes([s1, s2])));
    walk.narrow(offset + 6, u32::from(u16::from_be_bytes([l1, l2])));
    Ok(Step::Next(At::Ppp, offset + 6))
}

/// MPLS (RFC 3032 §2.1). Nothing names what follows the bottom label: the version nibble shows IP, a zero
/// nibble shows a pseudowire control word (RFC 4385), anything else is an Ethernet frame.
pub(super) fn mpls(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let entry = u32::from_be_bytes(walk.read(offset)?);
    walk.encap.push(LayerKind::Mpls, entry >> 12);
    let after = offset + 4;
    if entry & 0x100 == 0 {
        return Ok(Step::Next(At::Mpls, after));
    }
    let [first] = walk.read(after)?;
    let is_ethernet = |at: u32| {
        let kind = walk.read_u16(at + 12);
        kind.is_ok_and(|kind| matches!(kind, ether_type::IPV4 | ether_type::IPV6) || is_tag(kind))
    };
    // Some MAC addresses begin like an IP header. If an EtherType follows where two MAC addresses would end,
    // the possible IP header must prove itself.
    let is_ip = match first >> 4 {
        4 | 6 if !is_ethernet(after) => true,
        4 => {
            let len = u32::from(first & 15) * 4;
            checksum::internet(walk.bytes, after, len.max(20), 0) == Some(0)
        }
        // In a real header the length fits the frame, which may have padding after it. A jumbogram
        // (RFC 2675) and a packet that a network card will split give no length.
        6 => {
            let len = u32::from(walk.read_u16(after + 4)?);
            len != 0 && after + 40 + len <= walk.end
        }
        _ => false,
    };
    if is_ip {
        return Ok(Step::Next(At::Ip, after));
    }
    // Many MAC addresses also begin with a zero nibble, so a control word is accepted only if an EtherType
    // stands at the matching offset.
    let after = match first >> 4 {
        0 if is_ethernet(after + 4) => after + 4,
        _ if is_ethernet(after) => after,
        _ => return Err(Skip::NotIp),
    };
    walk.encap.push(LayerKind::Ethernet, 0);
    Ok(Step::Next(At::Ethernet, after))
}

/// GRE versions 0 and 1 (RFC 2784, 2890; RFC 2637).
pub(super) fn gre(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGEMENT: u16 = 0x0080;
    let (flags, protocol) = (walk.read_u16(offset)?, walk.read_u16(offset + 2)?);
    let version = flags & 7;
    if flags & ROUTING != 0 || version > 1 {
        return Err(Skip::NotIp);
    }
    let mut after = offset + 4;
    if flags & CHECKSUM != 0 {
        after += 4;
    }
    let mut id = 0;
    if flags & KEY != 0 {
        id = u32::from_be_bytes(walk.read(after)?);
        after += 4;
    }
    if flags & SEQUENCE != 0 {
        after += 4;
    }
    if version == 1 {
        if flags & ACKNOWLEDGEMENT != 0 {
            after += 4;
        }
        // The key consists of the payload length and the call number.
        id &= 0xffff;
    }
    walk.encap.push(LayerKind::Gre, id);
    Ok(Step::Next(
        match protocol {
            0x880b => At::Ppp,
            // ERSPAN type I has neither a sequence number nor an ERSPAN header.
            0x88be if flags & SEQUENCE == 0 => At::Ethernet,
            0x88be => At::Erspan2,
            0x22eb => At::Erspan3,
            // WCCP: a 4-byte redirect header first, or IP directly.
            0x883e => {
                let [first] = walk.read(after)?;
                if first >> 4 != 4 {
                    after += 4;
                }
                At::Ip
            }
            other => At::EtherType(other),
        },
        after,
    ))
}

/// ERSPAN type II (draft-foschiano-erspan §4.2): eight bytes.
pub(super) fn erspan2(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let word = u32::from_be_bytes(walk.read(offset)?);
    walk.encap.push(LayerKind::Erspan, word & 0x3ff);
    Ok(Step::Next(At::Ethernet, offset + 8))
}

/// ERSPAN type III (§4.3): twelve bytes, plus eight if the last bit is set. It may carry bare IP.
pub(super) fn erspan3(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let word = u32::from_be_bytes(walk.read(offset)?);
    let flags = walk.read_u16(offset + 10)?;
    walk.encap.push(LayerKind::Erspan, word & 0x3ff);
    let after = offset + if flags & 1 != 0 { 20 } else { 12 };
    // The frame type field: 0 Ethernet, 2 IP.
    match flags >> 10 & 0x1f {
        0 => Ok(Step::Next(At::Ethernet, after)),
        2 => Ok(Step::Next(At::Ip, after)),
        _ => Err(Skip::NotIp),
    }
}

/// UDP: a tunnel if the port, and then the contents, show one.
pub(super) fn udp(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let [s1, s2, d1, d2, l1, l2, _, _] = walk.read(offset)?;
    let (src, dst) = (u16::from_be_bytes([s1, s2]), u16::from_be_bytes([d1, d2]));
    let length = u32::from(u16::from_be_bytes([l1, l2]));
    let after = offset + 8;
    if length != 0 {
        if length < 8 {
            return Err(Skip::NotTcp);
        }
        walk.narrow(offset, length);
    }
    let either = |port| src == port || dst == port;
    let found = if walk.options.tunnels.is_some() {
        // For UDP the lean walk knows only VXLAN, by its destination port.
        if dst != port::VXLAN && dst != port::VXLAN_LINUX {
            return Err(Skip::NotTcp);
        }
        vxlan(walk, after, false)
    } else if either(port::TEREDO) {
        teredo(walk, after)
    } else if either(port::L2TP) {
        l2tp(walk, after)
    } else if either(port::VXLAN) || either(port::VXLAN_LINUX) {
        vxlan(walk, after, false)
    } else if either(port::VXLAN_GPE) {
        vxlan(walk, after, true)
    } else if either(port::GENEVE) {
        geneve(walk, after)
    } else if either(port::GTP_U) {
        gtp_u(walk, after)
    } else if dst == port::MPLS {
        Ok(Step::Next(At::Mpls, after))
    } else if dst == port::GRE {
        Ok(Step::Next(At::Gre, after))
    } else if either(port::AYIYA) {
        ayiya(walk, after)
    } else if either(port::LISP) {
        lisp(walk, after)
    } else if either(port::CAPWAP) {
        capwap(walk, after)
    } else if either(port::TZSP) {
        tzsp(walk, after)
    } else {
        // Both also run on other ports; their headers and the inner one leave little to chance.
        gtp_u(walk, after).or_else(|_| teredo_anywhere(walk, after))
    };
    match found {
        Ok(step) => {
            walk.guessed = true;
            Ok(step)
        }
        Err(_) => Err(Skip::NotTcp),
    }
}

/// Teredo (RFC 4380 §5.1.1): optional authentication and origin indication, then IPv6.
fn teredo(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let mut after = offset;
    if let [0, 1] = walk.read(after)? {
        let [client, authentication] = walk.read(after + 2)?;
        after += 13 + u32::from(client) + u32::from(authentication);
    }
    if let [0, 0] = walk.read(after)? {
        after += 8;
    }
    let [first] = walk.read(after)?;
    if first >> 4 != 6 {
        return Err(Skip::NotTcp);
    }
    walk.encap.push(LayerKind::Teredo, 0);
    Ok(Step::Next(At::Ip, after))
}

/// Teredo on a port chosen by a NAT or an administrator: an IPv6 packet that fills the datagram and has an
/// endpoint in the Teredo prefix 2001::/32 (RFC 4380 §2.6).
fn teredo_anywhere(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    const HEADER: u32 = 40;
    const PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];
    let [first] = walk.read(offset)?;
    let length = u32::from(walk.read_u16(offset + 4)?);
    let fills = offset.saturating_add(HEADER).saturating_add(length) == walk.end;
    let prefixed = walk.read::<4>(offset + 8)? == PREFIX || walk.read::<4>(offset + 24)? == PREFIX;
    if first >> 4 != 6 || !fills || !prefixed {
        return Err(Skip::NotTcp);
    }
    walk.encap.push(LayerKind::Teredo, 0);
    Ok(Step::Next(At::Ip, offset))
}

/// L2TP version 2 data messages (RFC 2661 §3.1).
fn l2tp(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    const CONTROL: u16 = 0x8000;
    const LENGTH: u16 = 0x4000;
    const SEQUENCE: u16 = 0x0800;
    const OFFSET: u16 = 0x0200;
    let flags = walk.read_u16(offset)?;
    if flags & (CONTROL | 0x000f) == 3 {
        return l2tp3(walk, offset + 4);
    }
    if flags & 0x000f != 2 || flags & CONTROL != 0 {
        return Err(Skip::NotTcp);
    }
    let mut after = offset + 2;
    if flags & LENGTH != 0 {
        walk.narrow(offset, u32::from(walk.read_u16(after)?));
        after += 2;
    }
    let id = u32::from_be_bytes(walk.read(after)?);
    after += 4;
    if flags & SEQUENCE != 0 {
        after += 4;
    }
    if flags & OFFSET != 0 {
        after += 2 + u32::from(walk.read_u16(after)?);
    }
    walk.encap.push(LayerKind::L2tp, id);
    Ok(Step::Next(At::Ppp, after))
}

/// L2TP version 3 data (RFC 3931 §4.1): the session, then a cookie and a sublayer whose lengths the
/// endpoints negotiated earlier. An Ethernet frame is searched for after each possible length.
pub(super) fn l2tp3(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let session = u32::from_be_bytes(walk.read(offset)?);
    if session == 0 {
        // This is a control message.
        return Err(Skip::NotTcp);
    }
    for between in [0, 4, 8, 12] {
        let at = offset + 4 + between;
        let (Ok(kind), Ok([first])) = (walk.read_u16(at + 12), walk.read(at + 14)) else {
            break;
        };
        let version = match kind {
            ether_type::IPV4 => 4,
            ether_type::IPV6 => 6,
            _ if is_tag(kind) => first >> 4,
            _ => continue,
        };
        if first >> 4 == version {
            walk.encap.push(LayerKind::L2tp, session);
            walk.guessed = true;
            return Ok(Step::Next(At::Ethernet, at));
        }
    }
    Err(Skip::NotTcp)
}

/// AYIYA (draft-massar-v6ops-ayiya §3): lengths of identity and signature, and the next header.
fn ayiya(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    const FORWARD: u8 = 1;
    let [identity, signature, operation, next] = walk.read(offset)?;
    if operation & 0x0f != FORWARD || !matches!(next, 4 | 41) {
        return Err(Skip::NotTcp);
    }
    let identity = 1u32 << (identity >> 4);
    let signature = u32::from(signature >> 4) * 4;
    walk.encap.push(LayerKind::Ayiya, 0);
    Ok(Step::Next(At::Ip, offset + 8 + identity + signature))
}

/// LISP data (RFC 9300 §5.3): flags and a nonce, and the instance ID if a flag says so.
fn lisp(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    const INSTANCE: u8 = 0x08;
    let [flags, _, _, _, i1, i2, i3, _] = walk.read(offset)?;
    let id = match flags & INSTANCE {
        0 => 0,
        _ => u32::from_be_bytes([0, i1, i2, i3]),
    };
    walk.encap.push(LayerKind::Lisp, id);
    Ok(Step::Next(At::Ip, offset + 8))
}

/// CAPWAP data (RFC 5415 §4.3) that is neither encrypted nor fragmented: the length of its header in words,
/// then an 802.11 or Ethernet frame.
fn capwap(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    const NATIVE: u8 = 0x01;
    const FRAGMENT: u8 = 0x80;
    let [preamble, length, binding, flags] = walk.read(offset)?;
    let words = u32::from(length >> 3);
    if preamble != 0 || words < 2 || flags & FRAGMENT != 0 {
        return Err(Skip::NotTcp);
    }
    // The wireless binding: 1 for 802.11.
    let at = match (binding & NATIVE, binding >> 1 & 0x1f) {
        (0, _) => At::Ethernet,
        (_, 1) => At::Ieee80211,
        _ => return Err(Skip::NotTcp),
    };
    walk.encap.push(LayerKind::Capwap, 0);
    Ok(Step::Next(at, offset + words * 4))
}

/// TZSP: the type of the captured frame, then tagged fields up to an end tag.
fn tzsp(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    /// Maximum number of fields; about twenty are known.
    const MAX_FIELDS: usize = 32;
    let [version, kind, p1, p2] = walk.read(offset)?;
    if version != 1 || kind > 1 {
        return Err(Skip::NotTcp);
    }
    let at = match u16::from_be_bytes([p1, p2]) {
        1 => At::Ethernet,
        18 => At::Ieee80211,
        _ => return Err(Skip::NotTcp),
    };
    let mut after = offset + 4;
    for _ in 0..MAX_FIELDS {
        match walk.read(after)? {
            [0] => after += 1,
            [1] => {
                walk.encap.push(LayerKind::Tzsp, 0);
                return Ok(Step::Next(at, after + 1));
            }
            _ => {
                let [length] = walk.read(after + 1)?;
                after += 2 + u32::from(length);
            }
        }
    }
    Err(Skip::NotTcp)
}

/// VXLAN (RFC 7348 §5), its group-policy variant, and GPE (draft-ietf-nvo3-vxlan-gpe §3) with a
/// next-protocol field. Reserved bits are ignored, as both require.
fn vxlan(walk: &mut Walk<'_>, offset: u32, gpe: bool) -> Result<Step, Skip> {
    let [flags, _, _, next, v1, v2, v3, _] = walk.read(offset)?;
    if flags & 0x08 == 0 {
        return Err(Skip::NotTcp);
    }
    let at = match (gpe && flags & 0x04 != 0, next) {
        (false, _) | (true, 3) => At::Ethernet,
        (true, 1 | 2) => At::Ip,
        (true, 4) => At::EtherType(ether_type::NSH),
        (true, 5) => At::Mpls,
        _ => return Err(Skip::NotTcp),
    };
    walk.encap.push(LayerKind::Vxlan, u32::from_be_bytes([0, v1, v2, v3]));
    Ok(Step::Next(at, offset + 8))
}

/// Geneve (RFC 8926 §3.4).
fn geneve(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let [version_len, _, p1, p2, v1, v2, v3, _] = walk.read(offset)?;
    if version_len >> 6 != 0 {
        return Err(Skip::NotTcp);
    }
    walk.encap.push(LayerKind::Geneve, u32::from_be_bytes([0, v1, v2, v3]));
    let after = offset + 8 + u32::from(version_len & 0x3f) * 4;
    Ok(Step::Next(At::EtherType(u16::from_be_bytes([p1, p2])), after))
}

/// GTP-U version 1 G-PDUs (3GPP TS 29.281 §5).
fn gtp_u(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    /// Maximum number of extension headers that are followed.
    const MAX_EXTENSIONS: usize = 8;
    let [flags, kind, l1, l2, t1, t2, t3, t4] = walk.read(offset)?;
    let length = u32::from(u16::from_be_bytes([l1, l2]));
    let mut after = offset + 8;
    // Version 1, protocol type GTP, message type G-PDU, and a length that matches UDP's.
    if flags >> 4 != 3 || kind != 255 || after.saturating_add(length) != walk.end {
        return Err(Skip::NotTcp);
    }
    if flags & 7 != 0 {
        let [_, _, _, mut next] = walk.read(after)?;
        after += 4;
        // The field is only meaningful if the E flag is set.
        if flags & 4 == 0 {
            next = 0;
        }
        for _ in 0..MAX_EXTENSIONS {
            if next == 0 {
                break;
            }
            let [units] = walk.read(after)?;
            if units == 0 {
                return Err(Skip::NotTcp);
            }
            after = after.saturating_add(u32::from(units) * 4);
            [next] = walk.read(after - 1)?;
        }
    }
    let [first] = walk.read(after)?;
    if !matches!(first >> 4, 4 | 6) {
        return Err(Skip::NotTcp);
    }
    walk.encap.push(LayerKind::Gtpu, u32::from_be_bytes([t1, t2, t3, t4]));
    Ok(Step::Next(At::Ip, after))
}
