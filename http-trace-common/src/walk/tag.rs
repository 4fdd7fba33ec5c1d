//! The rarer tags between the addresses of a frame and its contents, by EtherType.

use super::cursor::{At, Step, Walk};
use super::encap::LayerKind;
use super::segment::{Skip, ether_type};

/// Walks a tag of this EtherType, whose first byte is at `offset`.
pub(super) fn walk(walk: &mut Walk<'_>, kind: u16, offset: u32) -> Result<Step, Skip> {
    match kind {
        ether_type::VN_TAG => {
            let word = u32::from_be_bytes(walk.read(offset)?);
            walk.encap.push(LayerKind::VnTag, word >> 16 & 0x3fff);
            then_type(walk, offset + 4)
        }
        ether_type::E_TAG => {
            let channel = walk.read_u16(offset + 2)?;
            walk.encap.push(LayerKind::ETag, u32::from(channel & 0x0fff));
            then_type(walk, offset + 6)
        }
        // Four bits of path, the size, and a sequence number.
        ether_type::HSR => then_type(walk, offset + 4),
        ether_type::CISCO_METADATA => {
            // Version 1, then the number of 4-byte options.
            match walk.read(offset)? {
                [1, options @ 1..=8] => then_type(walk, offset + 2 + u32::from(options) * 4),
                _ => Err(Skip::NotIp),
            }
        }
        ether_type::MACSEC => macsec(walk, offset),
        ether_type::PBB => {
            let [_, i1, i2, i3] = walk.read(offset)?;
            walk.encap.push(LayerKind::Pbb, u32::from_be_bytes([0, i1, i2, i3]));
            Ok(Step::Next(At::Ethernet, offset + 4))
        }
        ether_type::FABRIC_PATH => {
            let tree = walk.read_u16(offset)? >> 6;
            walk.encap.push(LayerKind::FabricPath, u32::from(tree));
            Ok(Step::Next(At::Ethernet, offset + 2))
        }
        ether_type::TRILL => {
            // Five bits give the number of option words.
            let options = u32::from(walk.read_u16(offset)? >> 6 & 0x1f);
            walk.encap.push(LayerKind::Trill, 0);
            Ok(Step::Next(At::Ethernet, offset + 6 + options * 4))
        }
        ether_type::NSH => nsh(walk, offset),
        _ => Err(Skip::NotIp),
    }
}

/// An EtherType at `offset`, or a length followed by LLC.
fn then_type(walk: &Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let kind = walk.read_u16(offset)?;
    let at = match kind {
        0..0x0600 => At::Llc,
        _ => At::EtherType(kind),
    };
    Ok(Step::Next(at, offset + 2))
}

/// MACsec (IEEE 802.1AE §9): frames that are protected but not encrypted can be read; the check
/// value after them lies past the end of the packet.
fn macsec(walk: &Walk<'_>, offset: u32) -> Result<Step, Skip> {
    const ENCRYPTED_OR_CHANGED: u8 = 0x0c;
    const CHANNEL: u8 = 0x20;
    let [control] = walk.read(offset)?;
    if control & ENCRYPTED_OR_CHANGED != 0 {
        return Err(Skip::Encrypted);
    }
    then_type(walk, offset + if control & CHANNEL != 0 { 14 } else { 6 })
}

/// The network service header (RFC 8300 §2): its length in words, the next protocol, and the path.
fn nsh(walk: &mut Walk<'_>, offset: u32) -> Result<Step, Skip> {
    let [v1, v2, _, next, p1, p2, p3, _] = walk.read(offset)?;
    let words = u32::from(u16::from_be_bytes([v1, v2]) & 0x3f);
    if v1 >> 6 != 0 || words < 2 {
        return Err(Skip::NotIp);
    }
    walk.encap.push(LayerKind::Nsh, u32::from_be_bytes([0, p1, p2, p3]));
    let at = match next {
        1 | 2 => At::Ip,
        3 => At::Ethernet,
        4 => At::EtherType(ether_type::NSH),
        5 => At::Mpls,
        _ => return Err(Skip::NotIp),
    };
    Ok(Step::Next(at, offset + words * 4))
}
