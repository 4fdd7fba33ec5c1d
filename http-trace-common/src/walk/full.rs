//! The full walk of a replay: through link types, tags and tunnels to the innermost TCP segment.
//!
//! It keeps no state between frames: IP fragments are returned to the caller, who reassembles them and
//! calls [`resume`]. Every layer narrows the range of bytes that the next may use, and the number of
//! steps is bounded, so that no input makes it loop.
//!
//! A tunnel that is recognised by its UDP port alone is accepted only if its contents are consistent:
//! version, lengths and (IPv4) checksum of the inner IP header.

use super::cursor::{At, Found, Fragment, FragmentId, More, Step, Walk, WalkOptions};
use super::encap::{Encap, Layer, LayerKind};
use super::lean::tcp;
use super::link::LinkType;
use super::segment::{PacketBytes, Skip, VLAN_NUMBER, ether_type, ip_proto, tcp_flag};
use super::{checksum, link_layer, tag, tunnel};
use crate::config::decap;
use crate::flow::{v4_mapped, words};

/// Maximum number of headers in one frame.
const MAX_STEPS: usize = 48;

/// Finds the innermost TCP segment or fragment of a frame, and its encapsulation.
///
/// The `netns` of the segment is 0: whether tags and tunnels distinguish connections of the same tuple
/// cannot be decided from one frame.
///
/// `wire_len` is the length of the frame before it was cut to the snap length (the length of `bytes`
/// if it was not).
///
/// # Errors
/// A [`Skip`] that says why there is none; [`Skip::LinkType`] if `link` is unknown.
pub fn frame(
    bytes: &[u8],
    wire_len: u32,
    link: LinkType,
    options: WalkOptions,
) -> Result<(Found, Encap), Skip> {
    packet(bytes, wire_len, link, options, &mut None)
}

/// Like [`frame`], for a frame that may aggregate several packets: walks the first one, or the one in
/// `more`, and stores the next one in `more`.
///
/// # Errors
/// As [`frame`], for this packet alone.
pub fn packet(
    bytes: &[u8],
    wire_len: u32,
    link: LinkType,
    options: WalkOptions,
    more: &mut Option<More>,
) -> Result<(Found, Encap), Skip> {
    let wire_end = wire_len.max(PacketBytes::len(bytes));
    let mut walk = Walk {
        bytes,
        wire_end,
        end: wire_end,
        encap: Encap::default(),
        ip: None,
        guessed: false,
        options,
        more: None,
    };
    let found = match more.take() {
        Some(this) => {
            (walk.end, walk.encap, walk.ip) = (this.end, this.encap, this.ip);
            walk.run(At::Subframe, this.offset)
        }
        None => link_layer::begin(&mut walk, link).and_then(|(at, offset)| walk.run(at, offset)),
    };
    *more = walk.more;
    found
}

/// Continues in the payload of an IP packet that was reassembled from `fragments` with `id`,
/// encapsulated in `encap`. `protocol` is that of the fragment at offset 0.
///
/// # Errors
/// As [`frame`].
pub fn resume(
    payload: &[u8],
    id: &FragmentId,
    protocol: u8,
    encap: Encap,
    options: WalkOptions,
) -> Result<(Found, Encap), Skip> {
    let mut walk = Walk {
        bytes: payload,
        wire_end: PacketBytes::len(payload),
        end: PacketBytes::len(payload),
        encap,
        ip: Some((id.src, id.dst)),
        guessed: false,
        options,
        more: None,
    };
    walk.run(At::IpProtocol(protocol), 0)
}

impl Walk<'_> {
    fn run(&mut self, mut at: At, mut offset: u32) -> Result<(Found, Encap), Skip> {
        for _ in 0..MAX_STEPS {
            match self.step(at, offset)? {
                Step::Next(next, after) => (at, offset) = (next, after),
                Step::Done(found) => return Ok((found, self.encap)),
            }
        }
        Err(Skip::TooDeep)
    }

    fn step(&mut self, at: At, offset: u32) -> Result<Step, Skip> {
        if let Some(tunnels) = self.options.tunnels
            && !self.lean_walk_knows(at, tunnels)
        {
            return Err(Skip::NotTcp);
        }
        match at {
            At::Ethernet => self.ethernet(offset),
            At::EtherType(kind) => self.ether_type(kind, offset),
            At::Llc => self.llc(offset),
            At::Ip => self.ip_header(offset),
            At::IpProtocol(protocol) => self.ip_payload(protocol, offset),
            At::Ppp => tunnel::ppp(self, offset),
            At::Pppoe => tunnel::pppoe(self, offset),
            At::Mpls => tunnel::mpls(self, offset),
            At::Udp => tunnel::udp(self, offset),
            At::Gre => tunnel::gre(self, offset),
            At::Erspan2 => tunnel::erspan2(self, offset),
            At::Erspan3 => tunnel::erspan3(self, offset),
            At::Ieee80211 => link_layer::ieee80211(self, offset),
            At::Subframe => self.subframe(offset),
        }
    }

    /// Whether the lean walk, looking into these tunnels, would continue here.
    fn lean_walk_knows(&self, at: At, tunnels: u32) -> bool {
        let is_tag = |layer: &Layer| layer.kind == LayerKind::Vlan;
        let outside = self.encap.layers().iter().all(is_tag);
        match at {
            At::Ethernet | At::Ip => true,
            At::EtherType(kind) => matches!(
                kind,
                ether_type::IPV4
                    | ether_type::IPV6
                    | ether_type::VLAN
                    | ether_type::QINQ
                    | ether_type::QINQ_OLD
            ),
            At::IpProtocol(ip_proto::IPIP | ip_proto::IPV6) => {
                outside && tunnels & decap::IPIP != 0
            }
            At::IpProtocol(ip_proto::UDP) | At::Udp => outside && tunnels & decap::VXLAN != 0,
            At::IpProtocol(protocol) => matches!(
                protocol,
                ip_proto::TCP
                    | ip_proto::HOP_BY_HOP
                    | ip_proto::ROUTING
                    | ip_proto::DESTINATION
                    | ip_proto::AH
                    | ip_proto::FRAGMENT
            ),
            At::Llc
            | At::Ppp
            | At::Pppoe
            | At::Mpls
            | At::Gre
            | At::Erspan2
            | At::Erspan3
            | At::Ieee80211
            | At::Subframe => false,
        }
    }

    /// A subframe of an A-MSDU (IEEE 802.11 §9.3.2.2.2): destination, source and length as in
    /// Ethernet, with padding to four bytes after all but the last.
    fn subframe(&mut self, offset: u32) -> Result<Step, Skip> {
        const HEADER: u32 = 14;
        let length = u32::from(self.read_u16(offset + 12)?);
        let next = offset.saturating_add((HEADER + length).next_multiple_of(4));
        // A frame check sequence and the padding before it are shorter than a subframe header.
        if next.saturating_add(HEADER) <= self.end {
            self.more = Some(More { offset: next, end: self.end, encap: self.encap, ip: self.ip });
        }
        self.narrow(offset + HEADER, length);
        Ok(Step::Next(At::Llc, offset + HEADER))
    }

    fn ethernet(&mut self, offset: u32) -> Result<Step, Skip> {
        let kind = self.read_u16(offset + 12)?;
        let after = offset + 14;
        // This is a length, not a type (IEEE 802.3 §3.2.6).
        if kind < 0x0600 {
            if kind != 0 {
                self.narrow(after, u32::from(kind));
            }
            return Ok(Step::Next(At::Llc, after));
        }
        Ok(Step::Next(At::EtherType(kind), after))
    }

    fn ether_type(&mut self, kind: u16, offset: u32) -> Result<Step, Skip> {
        Ok(match kind {
            ether_type::IPV4 | ether_type::IPV6 => {
                let [first] = self.read(offset)?;
                let said = if kind == ether_type::IPV4 { 4 } else { 6 };
                if first >> 4 != said {
                    return Err(Skip::Malformed);
                }
                Step::Next(At::Ip, offset)
            }
            ether_type::VLAN | ether_type::QINQ | ether_type::QINQ_OLD => {
                let [tci, kind] = [self.read_u16(offset)?, self.read_u16(offset + 2)?];
                // VLAN ID 0 is a priority without a VLAN.
                let number = u32::from(tci) & VLAN_NUMBER;
                if number != 0 {
                    self.encap.push(LayerKind::Vlan, number);
                }
                // A tag may also precede a length and LLC.
                if kind < 0x0600 {
                    Step::Next(At::Llc, offset + 4)
                } else {
                    Step::Next(At::EtherType(kind), offset + 4)
                }
            }
            ether_type::PPPOE_SESSION => Step::Next(At::Pppoe, offset),
            ether_type::MPLS | ether_type::MPLS_MULTICAST => Step::Next(At::Mpls, offset),
            ether_type::TEB => {
                self.encap.push(LayerKind::Ethernet, 0);
                Step::Next(At::Ethernet, offset)
            }
            ether_type::JUMBO_LLC => Step::Next(At::Llc, offset),
            _ => return tag::walk(self, kind, offset),
        })
    }

    /// IEEE 802.2: SNAP with an EtherType, or the DSAP of IP (RFC 1042, and earlier RFC 948).
    fn llc(&mut self, offset: u32) -> Result<Step, Skip> {
        let [dsap, ssap, control] = self.read(offset)?;
        match (dsap, ssap, control) {
            (0xaa, 0xaa, 0x03) => {
                let [o1, o2, o3, t1, t2] = self.read(offset + 3)?;
                // Encapsulated Ethernet (RFC 1042) and its bridge-tunnel form (IEEE 802.1H).
                if !matches!([o1, o2, o3], [0, 0, 0] | [0, 0, 0xf8]) {
                    return Err(Skip::NotIp);
                }
                self.encap.push(LayerKind::Llc, 0);
                Ok(Step::Next(At::EtherType(u16::from_be_bytes([t1, t2])), offset + 8))
            }
            (0x06, 0x06, 0x03) => {
                self.encap.push(LayerKind::Llc, 0);
                Ok(Step::Next(At::Ip, offset + 3))
            }
            _ => Err(Skip::NotIp),
        }
    }

    fn ip_header(&mut self, offset: u32) -> Result<Step, Skip> {
        let [first] = self.read(offset)?;
        if !matches!(first >> 4, 4 | 6) {
            return Err(Skip::NotIp);
        }
        if let Some((src, dst)) = self.ip.take() {
            self.encap.push_outer(src, dst);
        }
        if first >> 4 == 4 { self.ipv4(offset) } else { self.ipv6(offset) }
    }

    fn ipv4(&mut self, offset: u32) -> Result<Step, Skip> {
        let h = self.read::<20>(offset)?;
        let header_len = u32::from(h[0] & 0x0f) * 4;
        let total = u32::from(u16::from_be_bytes([h[2], h[3]]));
        if header_len < 20 || (total != 0 && total < header_len) {
            return Err(Skip::Malformed);
        }
        let stated_sum = u16::from_be_bytes([h[10], h[11]]);
        if self.guessed || self.options.verify_checksums {
            let sum = checksum::internet(self.bytes, offset, header_len, 0);
            match sum {
                Some(0) => {}
                // Checksum left to hardware. A guessed layer only has to show that the header is not
                // there by chance.
                _ if self.guessed && stated_sum == 0 && !self.options.verify_checksums => {}
                _ => return Err(Skip::BadChecksum),
            }
        }
        if self.guessed && (total == 0 || offset.saturating_add(total) > self.end) {
            return Err(Skip::Malformed);
        }
        self.guessed = false;
        if total != 0 {
            self.narrow_ip(offset, total);
        }
        let src = v4_mapped([h[12], h[13], h[14], h[15]]);
        let dst = v4_mapped([h[16], h[17], h[18], h[19]]);
        let after = offset + header_len;
        let fragment = u16::from_be_bytes([h[6], h[7]]);
        if fragment & 0x3fff != 0 {
            let id = FragmentId {
                src,
                dst,
                identification: u32::from(u16::from_be_bytes([h[4], h[5]])),
                protocol: h[9],
                version: 4,
            };
            let at = u32::from(fragment & 0x1fff) * 8;
            return self.fragment(id, h[9], at, fragment & 0x2000 != 0, after);
        }
        self.ip = Some((src, dst));
        Ok(Step::Next(At::IpProtocol(h[9]), after))
    }

    fn ipv6(&mut self, offset: u32) -> Result<Step, Skip> {
        let h = self.read::<40>(offset)?;
        let length = u32::from(u16::from_be_bytes([h[4], h[5]]));
        let after = offset + 40;
        if self.guessed && (length == 0 || after.saturating_add(length) > self.end) {
            return Err(Skip::Malformed);
        }
        self.guessed = false;
        if length != 0 {
            self.narrow_ip(offset, 40 + length);
        }
        let address = |at: usize| {
            h.get(at..).and_then(|rest| rest.first_chunk::<16>()).copied().unwrap_or_default()
        };
        self.ip = Some((address(8), address(24)));
        Ok(Step::Next(At::IpProtocol(h[6]), after))
    }

    /// The length in the outermost IP header may exceed that of the frame, because some writers cut
    /// frames without recording it. Any inner one must fit the enclosing layer.
    fn narrow_ip(&mut self, offset: u32, len: u32) {
        if self.encap.outers().is_empty() && self.end == self.wire_end {
            self.end = offset.saturating_add(len);
        } else {
            self.narrow(offset, len);
        }
    }

    /// Handles what follows an IP header or an IPv6 extension header.
    fn ip_payload(&mut self, protocol: u8, offset: u32) -> Result<Step, Skip> {
        let after_extension = |walk: &Self, unit: u32| -> Result<Step, Skip> {
            let [next, len] = walk.read(offset)?;
            let after = offset.saturating_add(u32::from(len) * unit + 8);
            Ok(Step::Next(At::IpProtocol(next), after))
        };
        match protocol {
            ip_proto::TCP => self.tcp(offset),
            ip_proto::UDP => Ok(Step::Next(At::Udp, offset)),
            ip_proto::HOP_BY_HOP | ip_proto::ROUTING | ip_proto::DESTINATION => {
                after_extension(self, 8)
            }
            ip_proto::AH => after_extension(self, 4),
            ip_proto::FRAGMENT => self.ipv6_fragment(offset),
            ip_proto::IPIP | ip_proto::IPV6 => {
                self.encap.push(LayerKind::Ip, 0);
                Ok(Step::Next(At::Ip, offset))
            }
            ip_proto::GRE => Ok(Step::Next(At::Gre, offset)),
            ip_proto::ETHERIP => {
                self.encap.push(LayerKind::Ethernet, 0);
                Ok(Step::Next(At::Ethernet, offset.saturating_add(2)))
            }
            ip_proto::MPLS => Ok(Step::Next(At::Mpls, offset)),
            ip_proto::L2TP => tunnel::l2tp3(self, offset),
            ip_proto::ESP => Err(Skip::Encrypted),
            _ => Err(Skip::NotTcp),
        }
    }

    fn ipv6_fragment(&mut self, offset: u32) -> Result<Step, Skip> {
        let [next, _, o1, o2, i1, i2, i3, i4] = self.read(offset)?;
        let field = u16::from_be_bytes([o1, o2]);
        // An atomic fragment (RFC 6946) is the whole packet.
        if field & 0xfff9 == 0 {
            return Ok(Step::Next(At::IpProtocol(next), offset + 8));
        }
        let (src, dst) = self.ip.ok_or(Skip::Malformed)?;
        let id = FragmentId {
            src,
            dst,
            identification: u32::from_be_bytes([i1, i2, i3, i4]),
            protocol: 0,
            version: 6,
        };
        self.fragment(id, next, u32::from(field & 0xfff8), field & 1 != 0, offset + 8)
    }

    fn fragment(
        &mut self,
        id: FragmentId,
        protocol: u8,
        at: u32,
        more: bool,
        data_offset: u32,
    ) -> Result<Step, Skip> {
        let data_len = self.end.checked_sub(data_offset).ok_or(Skip::Malformed)?;
        // All fragments but the last are multiples of eight bytes, and no packet exceeds 64 KiB.
        if data_len == 0 || (more && data_len % 8 != 0) || at.saturating_add(data_len) > 0xffff {
            return Err(Skip::Malformed);
        }
        if data_offset + data_len > PacketBytes::len(self.bytes) {
            return Err(Skip::Cut);
        }
        let fragment = Fragment { id, protocol, offset: at, data_offset, data_len, more };
        Ok(Step::Done(Found::Fragment(fragment)))
    }

    fn tcp(&mut self, offset: u32) -> Result<Step, Skip> {
        let (src, dst) = self.ip.ok_or(Skip::Malformed)?;
        if self.guessed {
            return Err(Skip::NotIp);
        }
        let segment = tcp(self.bytes, offset, self.end, words(&src), words(&dst), 0)?;
        if self.options.verify_checksums && self.end <= PacketBytes::len(self.bytes) {
            let len = self.end.saturating_sub(offset);
            let pseudo = checksum::pseudo_header(&src, &dst, ip_proto::TCP, len);
            if checksum::internet(self.bytes, offset, len, pseudo) != Some(0) {
                return Err(Skip::BadChecksum);
            }
        }
        debug_assert!(segment.flags & tcp_flag::RST == 0 || segment.payload_len == 0);
        Ok(Step::Done(Found::Segment(segment)))
    }
}
