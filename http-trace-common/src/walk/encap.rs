//! What lay between the frame's start and the innermost IP header: tags and tunnels, in a value of
//! fixed size.

use bytemuck::{Pod, Zeroable};

use super::segment::VLAN_NUMBER;
use crate::config::decap;
use crate::flow::{Address, Words};

/// The most layers that are remembered; deeper ones are walked through unnamed.
pub const MAX_LAYERS: usize = 12;

/// The most outer IP headers that are remembered.
pub const MAX_OUTERS: usize = 4;

/// A kind of tag or tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum LayerKind {
    /// IEEE 802.1Q or 802.1ad tag; the id is the VLAN's.
    #[default]
    Vlan,
    /// IEEE 802.2 LLC, with SNAP or without.
    Llc,
    /// PPPoE session (RFC 2516); the id is the session's.
    Pppoe,
    /// PPP (RFC 1661).
    Ppp,
    /// MPLS (RFC 3032); the id is the label, one layer for each.
    Mpls,
    /// An Ethernet frame within another layer (pseudowire, TEB).
    Ethernet,
    /// GRE (RFC 2784, 2890, 2637); the id is the key.
    Gre,
    /// ERSPAN mirror; the id is the session's.
    Erspan,
    /// IP in IP of either version; the outer addresses tell which.
    Ip,
    /// Teredo (RFC 4380).
    Teredo,
    /// L2TP version 2 (RFC 2661), the id is tunnel << 16 | session; or version 3 (RFC 3931), the id is
    /// the session's.
    L2tp,
    /// VXLAN (RFC 7348), GPE too; the id is the VNI.
    Vxlan,
    /// Geneve (RFC 8926); the id is the VNI.
    Geneve,
    /// GTP-U (3GPP TS 29.281); the id is the TEID, which differs by direction.
    Gtpu,
    /// Linux netfilter log; the id is the group.
    Nflog,
    /// Cisco's VN-Tag; the id is the destination's interface.
    VnTag,
    /// The E-tag of IEEE 802.1BR; the id is the channel's.
    ETag,
    /// Provider backbone bridging (IEEE 802.1ah); the id is the service's.
    Pbb,
    /// Cisco FabricPath; the id is the tree's.
    FabricPath,
    /// TRILL (RFC 6325).
    Trill,
    /// Network service header (RFC 8300); the id is the path's.
    Nsh,
    /// AYIYA (draft-massar-v6ops-ayiya).
    Ayiya,
    /// LISP (RFC 9300); the id is the instance's.
    Lisp,
    /// CAPWAP (RFC 5415).
    Capwap,
    /// TaZmen sniffer protocol.
    Tzsp,
}

impl LayerKind {
    /// The name in events.
    pub const fn name(self) -> &'static str {
        match self {
            LayerKind::Vlan => "vlan",
            LayerKind::Llc => "llc",
            LayerKind::Pppoe => "pppoe",
            LayerKind::Ppp => "ppp",
            LayerKind::Mpls => "mpls",
            LayerKind::Ethernet => "ethernet",
            LayerKind::Gre => "gre",
            LayerKind::Erspan => "erspan",
            LayerKind::Ip => "ip",
            LayerKind::Teredo => "teredo",
            LayerKind::L2tp => "l2tp",
            LayerKind::Vxlan => "vxlan",
            LayerKind::Geneve => "geneve",
            LayerKind::Gtpu => "gtpu",
            LayerKind::Nflog => "nflog",
            LayerKind::VnTag => "vntag",
            LayerKind::ETag => "etag",
            LayerKind::Pbb => "pbb",
            LayerKind::FabricPath => "fabricpath",
            LayerKind::Trill => "trill",
            LayerKind::Nsh => "nsh",
            LayerKind::Ayiya => "ayiya",
            LayerKind::Lisp => "lisp",
            LayerKind::Capwap => "capwap",
            LayerKind::Tzsp => "tzsp",
        }
    }
}

/// One tag or tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// Its number, as [`LayerKind`] says; 0 where it has none.
    pub id: u32,
}

impl Layer {
    /// Its number, where layers of its kind have one; a GRE key is optional.
    pub const fn number(&self) -> Option<u32> {
        match self.kind {
            LayerKind::Llc
            | LayerKind::Ppp
            | LayerKind::Ethernet
            | LayerKind::Ip
            | LayerKind::Teredo
            | LayerKind::Trill
            | LayerKind::Ayiya
            | LayerKind::Capwap
            | LayerKind::Tzsp => None,
            LayerKind::Lisp | LayerKind::Gre if self.id == 0 => None,
            _ => Some(self.id),
        }
    }
}

/// Addresses of an IP header that carries a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outer {
    /// Sender.
    pub src: Address,
    /// Receiver.
    pub dst: Address,
}

/// The layers of a frame, outermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Encap {
    layers: [Layer; MAX_LAYERS],
    outers: [Outer; MAX_OUTERS],
    layer_count: u8,
    outer_count: u8,
}

impl Encap {
    /// The layers, outermost first.
    pub fn layers(&self) -> &[Layer] {
        self.layers
            .get(..usize::from(self.layer_count))
            .unwrap_or_default()
    }

    /// The outer IP headers, outermost first.
    pub fn outers(&self) -> &[Outer] {
        self.outers
            .get(..usize::from(self.outer_count))
            .unwrap_or_default()
    }

    /// Whether there is neither tag nor tunnel.
    pub fn is_empty(&self) -> bool {
        self.layer_count == 0
    }

    /// Adds a layer below those that are there.
    pub(super) fn push(&mut self, kind: LayerKind, id: u32) {
        if let Some(slot) = self.layers.get_mut(usize::from(self.layer_count)) {
            *slot = Layer { kind, id };
            self.layer_count += 1;
        }
    }

    /// Adds the addresses of an IP header that turned out to carry a tunnel.
    pub(super) fn push_outer(&mut self, src: Address, dst: Address) {
        if let Some(slot) = self.outers.get_mut(usize::from(self.outer_count)) {
            *slot = Outer { src, dst };
            self.outer_count += 1;
        }
    }
}

/// The one tunnel that the lean walk looks into, or else the VLANs that a packet was in, as a record
/// from the kernel bears them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Tunnel {
    /// 0 for none. Otherwise [`Tunnel::MARK`], one of [`Tunnel::VXLAN`], [`Tunnel::IP`] and
    /// [`Tunnel::VLAN`], and in bits 0 to 23 the number that its kind has.
    pub what: u64,
    /// Sender of the outer packet; zeros of a VLAN.
    pub src: Words,
    /// Its receiver, likewise.
    pub dst: Words,
}

/// Size of a [`Tunnel`] in bytes.
pub const TUNNEL_LEN: usize = size_of::<Tunnel>();

impl Tunnel {
    /// Set in [`Tunnel::what`] of every tunnel, and in no time: by it a record that begins with a
    /// tunnel is told from one that begins with its header.
    pub const MARK: u64 = 1 << 63;
    /// VXLAN; the number is the VNI.
    pub const VXLAN: u64 = 1 << 24;
    /// IP in IP; no number.
    pub const IP: u64 = 2 << 24;
    /// One or two VLAN tags; the number is as [`super::tags`] returns it.
    pub const VLAN: u64 = 4 << 24;

    /// The VLANs of a packet with these tags; none without.
    #[inline(always)]
    pub const fn of_tags(tags: u32) -> Tunnel {
        let what = match tags {
            0 => 0,
            _ => Tunnel::MARK | Tunnel::VLAN | tags as u64,
        };
        Tunnel {
            what,
            src: [0; 2],
            dst: [0; 2],
        }
    }

    /// What stands for the network namespace `own` in the keys of connections with these tags:
    /// connections of one tuple in two VLANs are two. No two numbers give the same.
    #[inline(always)]
    pub const fn netns_tagged(tags: u32, own: u32) -> u32 {
        own.wrapping_add(tags.wrapping_mul(0x85eb_ca6b))
    }

    /// What stands for the network namespace `own` in the keys of connections in a tunnel with this
    /// [`Tunnel::what`]: connections of one tuple in two VXLAN networks are two, unless `which` (bits
    /// of [`decap`]) says that a network's number may differ by direction. No two numbers give the
    /// same.
    #[inline(always)]
    pub const fn netns(what: u64, own: u32, which: u32) -> u32 {
        if what & Tunnel::VXLAN == 0 || which & decap::JOINED != 0 {
            return own;
        }
        let number = (what & 0xff_ffff) as u32 + 1;
        own.wrapping_add(number.wrapping_mul(0x9e37_79b1))
    }

    /// The same as the full walk has it of such a frame.
    pub fn encap(&self) -> Encap {
        let mut encap = Encap::default();
        let kind = match self.what & (0xff << 24) {
            Tunnel::VXLAN => LayerKind::Vxlan,
            Tunnel::IP => LayerKind::Ip,
            Tunnel::VLAN => {
                let tags = self.what as u32;
                let numbers = [tags >> VLAN_NUMBER.count_ones(), tags].map(|n| n & VLAN_NUMBER);
                for number in numbers.into_iter().filter(|number| *number != 0) {
                    encap.push(LayerKind::Vlan, number);
                }
                return encap;
            }
            _ => return encap,
        };
        encap.push(kind, self.what as u32 & 0xff_ffff);
        encap.push_outer(bytemuck::cast(self.src), bytemuck::cast(self.dst));
        encap
    }
}
