//! Link types: the format of the first header of a captured frame.

/// A LINKTYPE value from the registry at <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkType(pub u32);

impl LinkType {
    /// BSD loopback: the address family as 32 bits in the capturing host's byte order.
    pub const NULL: LinkType = LinkType(0);
    /// Ethernet (EN10MB).
    pub const ETHERNET: LinkType = LinkType(1);
    /// IEEE 802.5 (Token Ring).
    pub const IEEE802_5: LinkType = LinkType(6);
    /// ARCNET as delivered by the BSDs.
    pub const ARCNET_BSD: LinkType = LinkType(7);
    /// SLIP after a 16-byte header.
    pub const SLIP: LinkType = LinkType(8);
    /// PPP, with or without HDLC-like address and control bytes.
    pub const PPP: LinkType = LinkType(9);
    pub const FDDI: LinkType = LinkType(10);
    /// DLT_RAW as numbered by most systems; files should use 101, but some use this.
    pub const RAW_DLT: LinkType = LinkType(12);
    /// DLT_RAW as numbered by OpenBSD.
    pub const RAW_OPENBSD: LinkType = LinkType(14);
    /// PPP in HDLC-like framing (RFC 1662).
    pub const PPP_HDLC: LinkType = LinkType(50);
    /// A PPPoE header, then PPP.
    pub const PPP_ETHER: LinkType = LinkType(51);
    /// LLC on ATM (RFC 2684).
    pub const ATM_RFC1483: LinkType = LinkType(100);
    /// An IPv4 or IPv6 packet.
    pub const RAW: LinkType = LinkType(101);
    /// Cisco HDLC.
    pub const C_HDLC: LinkType = LinkType(104);
    /// IEEE 802.11.
    pub const IEEE802_11: LinkType = LinkType(105);
    /// Frame Relay (RFC 2427 or Cisco).
    pub const FRELAY: LinkType = LinkType(107);
    /// OpenBSD loopback: the address family as 32 bits in network byte order.
    pub const LOOP: LinkType = LinkType(108);
    /// OpenBSD IPsec interface: family, SPI and flags, then the IP packet.
    pub const ENC: LinkType = LinkType(109);
    /// Linux "cooked" capture.
    pub const LINUX_SLL: LinkType = LinkType(113);
    /// OpenBSD packet filter log.
    pub const PFLOG: LinkType = LinkType(117);
    /// IEEE 802.11 after a Prism or AVS header.
    pub const IEEE802_11_PRISM: LinkType = LinkType(119);
    /// IP over Fibre Channel (RFC 2625).
    pub const IP_OVER_FC: LinkType = LinkType(122);
    /// ATM as delivered by SunATM devices.
    pub const SUNATM: LinkType = LinkType(123);
    /// Linux ARCNET.
    pub const ARCNET_LINUX: LinkType = LinkType(129);
    /// Apple IP over IEEE 1394: two 8-byte addresses and an EtherType.
    pub const IP_OVER_1394: LinkType = LinkType(138);
    /// DOCSIS MAC frames.
    pub const DOCSIS: LinkType = LinkType(143);
    /// Begins with MPLS labels.
    pub const MPLS: LinkType = LinkType(219);
    /// IEEE 802.11 after an AVS header.
    pub const IEEE802_11_AVS: LinkType = LinkType(163);
    /// PPP whose address byte gives the direction.
    pub const PPP_PPPD: LinkType = LinkType(166);
    /// Per-packet information, then a frame of the type that it names.
    pub const PPI: LinkType = LinkType(192);
    /// Endace extensible record format.
    pub const ERF: LinkType = LinkType(197);
    /// PPP after a direction byte.
    pub const PPP_WITH_DIR: LinkType = LinkType(204);
    /// Cisco HDLC after a direction byte.
    pub const C_HDLC_WITH_DIR: LinkType = LinkType(205);
    /// Frame Relay after a direction byte.
    pub const FRELAY_WITH_DIR: LinkType = LinkType(206);
    /// Solaris IP observability: a 24-byte header, then the packet.
    pub const IPNET: LinkType = LinkType(226);
    /// IEEE 802.11 after a radiotap header.
    pub const IEEE802_11_RADIOTAP: LinkType = LinkType(127);
    /// An IPv4 packet.
    pub const IPV4: LinkType = LinkType(228);
    /// An IPv6 packet.
    pub const IPV6: LinkType = LinkType(229);
    /// Linux netfilter log messages.
    pub const NFLOG: LinkType = LinkType(239);
    /// Hilscher netANALYZER: four bytes, then Ethernet.
    pub const NETANALYZER: LinkType = LinkType(240);
    /// Hilscher netANALYZER: four bytes, the preamble, then Ethernet.
    pub const NETANALYZER_TRANSPARENT: LinkType = LinkType(241);
    /// IP over InfiniBand (RFC 4391) after a global route header.
    pub const IPOIB: LinkType = LinkType(242);
    /// Apple PKTAP: a header that names the type of the following frame.
    pub const PKTAP: LinkType = LinkType(258);
    /// Ethernet after the 8-byte EPON preamble.
    pub const EPON: LinkType = LinkType(259);
    /// Ethernet with its preamble (IEEE 802.3br).
    pub const ETHERNET_MPACKET: LinkType = LinkType(274);
    /// Linux "cooked" capture, version 2.
    pub const LINUX_SLL2: LinkType = LinkType(276);
    /// Ethernet with a 4-byte switch tag before the type (Broadcom).
    pub const DSA_TAG_BRCM: LinkType = LinkType(281);
    /// Ethernet with a 4-byte switch tag before the addresses (Broadcom).
    pub const DSA_TAG_BRCM_PREPEND: LinkType = LinkType(282);
    /// Ethernet with a 4-byte switch tag before the type (Marvell).
    pub const DSA_TAG_DSA: LinkType = LinkType(284);
    /// Ethernet with an 8-byte switch tag before the type (Marvell).
    pub const DSA_TAG_EDSA: LinkType = LinkType(285);
}
