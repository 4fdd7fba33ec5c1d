//! Link types: what the first byte of a captured frame belongs to.

/// A LINKTYPE value of the registry at <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u32);

impl LinkType {
    /// BSD loopback: the address family as 32 bits in the capturing host's byte order.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet (EN10MB).
    pub const ETHERNET: LinkType = LinkType(1);
    /// PPP, with or without its HDLC-like address and control bytes.
    pub const PPP: LinkType = LinkType(9);
    /// DLT_RAW as most systems number it; files should say 101 but some say this.
    pub const RAW_DLT: LinkType = LinkType(12);
    /// DLT_RAW as OpenBSD numbers it.
    pub const RAW_OPENBSD: LinkType = LinkType(14);
    /// PPP in HDLC-like framing (RFC 1662).
    pub const PPP_HDLC: LinkType = LinkType(50);
    /// A PPPoE header, then PPP.
    pub const PPP_ETHER: LinkType = LinkType(51);
    /// An IPv4 or IPv6 packet.
    pub const RAW: LinkType = LinkType(101);
    /// Cisco HDLC.
    pub const C_HDLC: LinkType = LinkType(104);
    /// IEEE 802.11.
    pub const IEEE802_11: LinkType = LinkType(105);
    /// OpenBSD loopback: the address family as 32 bits in network byte order.
    pub const LOOP: LinkType = LinkType(108);
    /// Linux "cooked" capture.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// Linux ARCNET.
    pub const ARCNET_LINUX: LinkType = LinkType(129);
    /// IEEE 802.11 after a radiotap header.
    pub const IEEE802_11_RADIOTAP: LinkType = LinkType(127);
    /// An IPv4 packet.
    pub const IPV4: LinkType = LinkType(228);
    /// An IPv6 packet.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux netfilter log messages.
    pub const NFLOG: LinkType = LinkType(239);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: LinkType = LinkType(276);
}
