//! The tags and tunnels between the start of a frame and the innermost IP header, in a value of fixed
//! size.

use bytemuck::{Pod, Zeroable};

use super::segment::VLAN_NUMBER;
use crate::config::decap;
use crate::flow::{Address, Words};

/// Maximum number of layers that are recorded; deeper ones are walked but not recorded.
pub const MAX_LAYERS: usize = 12;

/// Maximum number of outer IP headers that are recorded.
pub const MAX_OUTERS: usize = 4;

crate::named_enum! {
    /// A kind of tag or tunnel.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum LayerKind {
        /// IEEE 802.1Q or 802.1ad tag; the id is the VLAN ID.
        #[default]
        Vlan = "vlan",
        /// IEEE 802.2 LLC, with SNAP or without.
        Llc = "llc",
        /// PPPoE session (RFC 2516); the id is the session ID.
        Pppoe = "pppoe",
        /// PPP (RFC 1661).
        Ppp = "ppp",
        /// MPLS (RFC 3032); the id is the label. One layer per label.
        Mpls = "mpls",
        /// An Ethernet frame inside another layer (pseudowire, TEB).
        Ethernet = "ethernet",
        /// GRE (RFC 2784, 2890, 2637); the id is the key.
        Gre = "gre",
        /// ERSPAN mirror; the id is the session ID.
        Erspan = "erspan",
        /// IP in IP of either version; the outer addresses show which.
        Ip = "ip",
        /// Teredo (RFC 4380).
        Teredo = "teredo",
        /// L2TP version 2 (RFC 2661): the id is tunnel << 16 | session. Version 3 (RFC 3931): the id is
        /// the session ID.
        L2tp = "l2tp",
        /// VXLAN (RFC 7348), including GPE; the id is the VNI.
        Vxlan = "vxlan",
        /// Geneve (RFC 8926); the id is the VNI.
        Geneve = "geneve",
        /// GTP-U (3GPP TS 29.281); the id is the TEID, which differs by direction.
        Gtpu = "gtpu",
        /// Linux netfilter log; the id is the group.
        Nflog = "nflog",
        /// Cisco VN-Tag; the id is the destination interface.
        VnTag = "vntag",
        /// The E-tag of IEEE 802.1BR; the id is the channel ID.
        ETag = "etag",
        /// Provider backbone bridging (IEEE 802.1ah); the id is the service ID.
        Pbb = "pbb",
        /// Cisco FabricPath; the id is the tree ID.
        FabricPath = "fabricpath",
        /// TRILL (RFC 6325).
        Trill = "trill",
        /// Network service header (RFC 8300); the id is the path ID.
        Nsh = "nsh",
        /// AYIYA (draft-massar-v6ops-ayiya).
        Ayiya = "ayiya",
        /// LISP (RFC 9300); the id is the instance ID.
        Lisp = "lisp",
        /// CAPWAP (RFC 5415).
        Capwap = "capwap",
        /// TaZmen sniffer protocol.
        Tzsp = "tzsp",
    }
}

/// One tag or tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Layer {
    pub kind: LayerKind,
    /// Its number, as described at [`LayerKind`]; 0 if it has none.
    pub id: u32,
}

impl Layer {
    /// Its number, if layers of its kind have one; a GRE key is optional.
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
        self.layers.get(..usize::from(self.layer_count)).unwrap_or_default()
    }

    /// The outer IP headers, outermost first.
    pub fn outers(&self) -> &[Outer] {
        self.outers.get(..usize::from(self.outer_count)).unwrap_or_default()
    }

    /// Whether there are neither tags nor tunnels.
    pub fn is_empty(&self) -> bool {
        self.layer_count == 0
    }

    /// Adds a layer inside the existing ones.
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

/// The tunnel that the lean walk looked into, or else the VLANs of a packet, as stored in a record
/// from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Tunnel {
    /// 0 if there is none. Otherwise [`Tunnel::MARK`], one of [`Tunnel::VXLAN`], [`Tunnel::IP`] and
    /// [`Tunnel::VLAN`], and in bits 0 to 23 the number of that kind.
    pub what: u64,
    /// Sender of the outer packet; zeroes for VLANs.
    pub src: Words,
    /// Receiver of the outer packet; zeroes for VLANs.
    pub dst: Words,
}

/// Size of a [`Tunnel`] in bytes.
pub const TUNNEL_LEN: usize = size_of::<Tunnel>();

impl Tunnel {
    /// Set in [`Tunnel::what`] of every tunnel and never in a time. It distinguishes a record that
    /// begins with a tunnel from one that begins with its header.
    pub const MARK: u64 = 1 << 63;
    /// VXLAN; the number is the VNI.
    pub const VXLAN: u64 = 1 << 24;
    /// IP in IP; no number.
    pub const IP: u64 = 2 << 24;
    /// One or two VLAN tags; the number is the return value of [`super::tags`].
    pub const VLAN: u64 = 4 << 24;

    /// The VLANs of a packet with these tags; empty if there are none.
    #[inline(always)]
    pub const fn of_tags(tags: u32) -> Tunnel {
        let what = match tags {
            0 => 0,
            _ => Tunnel::MARK | Tunnel::VLAN | tags as u64,
        };
        Tunnel { what, src: [0; 2], dst: [0; 2] }
    }

    /// Replaces the network namespace `own` in the keys of connections with these tags, so that equal
    /// tuples in two VLANs are two connections. Different tags give different values.
    #[inline(always)]
    pub const fn netns_tagged(tags: u32, own: u32) -> u32 {
        own.wrapping_add(tags.wrapping_mul(0x85eb_ca6b))
    }

    /// Replaces the network namespace `own` in the keys of connections in a tunnel with this
    /// [`Tunnel::what`], so that equal tuples in two VXLAN networks are two connections, unless
    /// `which` (bits of [`decap`]) says that the VNI may differ by direction. Different VNIs give
    /// different values.
    #[inline(always)]
    pub const fn netns(what: u64, own: u32, which: u32) -> u32 {
        if what & Tunnel::VXLAN == 0 || which & decap::JOINED != 0 {
            return own;
        }
        let number = (what & 0xff_ffff) as u32 + 1;
        own.wrapping_add(number.wrapping_mul(0x9e37_79b1))
    }

    /// Converts it to the form that the full walk gives for the same frame.
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
