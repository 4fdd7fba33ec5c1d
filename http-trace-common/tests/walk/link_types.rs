//! Link types: how each one's frames begin.

use http_trace_common::walk::LinkType;

use crate::build::*;

#[test]
fn link_types() {
    let (v4, v6) = (packet(), packet_v6());
    let eth = ethernet(&v4);
    let sll =
        |protocol: [u8; 2], rest: &[u8]| cat(&[&[0, 0, 0, 1, 0, 6], &[2; 8], &protocol, rest]);
    let snap = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4]);
    let wlan = cat(&[&[0x08, 0x01], &[0; 22], &snap]);
    let wlan_qos_four = cat(&[&[0x88, 0x03], &[0; 28], &[0, 0], &snap]);
    let wlan_padded = cat(&[&[0x88, 0x01], &[0; 24], &[0, 0], &snap]);
    let amsdu_len = (snap.len() as u16).to_be_bytes();
    let amsdu = cat(&[&[0x88, 0x01], &[0; 22], &[0x80, 0], &[2; 12], &amsdu_len, &snap]);
    let nflog = |little: bool| {
        let number = |n: u16| {
            if little { n.to_le_bytes() } else { n.to_be_bytes() }
        };
        let header = cat(&[&number(8), &number(1), &[8, 0, 1, 0]]);
        let prefix = cat(&[&number(5), &number(10), &[0, 0, 0, 0]]);
        cat(&[&[2, 0, 0, 42], &header, &prefix, &number(v4.len() as u16 + 4), &number(9), &v4])
    };
    let length = (snap.len() as u16).to_be_bytes();
    let table: &[(&str, LinkType, Vec<u8>, &str)] = &[
        ("Ethernet", LinkType::ETHERNET, ethernet(&v4), " +0"),
        ("Ethernet, IPv6", LinkType::ETHERNET, ethernet(&v6), " +0"),
        ("802.3 with SNAP", LinkType::ETHERNET, cat(&[&[2; 12], &length, &snap]), "llc:0 +0"),
        ("raw", LinkType::RAW, v4.clone(), " +0"),
        ("raw, IPv6", LinkType::RAW, v6.clone(), " +0"),
        ("raw as 12", LinkType::RAW_DLT, v4.clone(), " +0"),
        ("raw as 14", LinkType::RAW_OPENBSD, v6.clone(), " +0"),
        ("IPv4", LinkType::IPV4, v4.clone(), " +0"),
        ("IPv6", LinkType::IPV6, v6.clone(), " +0"),
        ("null, little-endian", LinkType::NULL, cat(&[&[2, 0, 0, 0], &v4]), " +0"),
        ("null, big-endian", LinkType::NULL, cat(&[&[0, 0, 0, 2], &v4]), " +0"),
        ("null, Darwin's IPv6", LinkType::NULL, cat(&[&[30, 0, 0, 0], &v6]), " +0"),
        ("loop, OpenBSD's IPv6", LinkType::LOOP, cat(&[&[0, 0, 0, 24], &v6]), " +0"),
        ("cooked", LinkType::LINUX_SLL, sll([8, 0], &v4), " +0"),
        (
            "cooked with a tag",
            LinkType::LINUX_SLL,
            sll([0x81, 0], &cat(&[&[0, 5, 8, 0], &v4])),
            "vlan:5 +0",
        ),
        ("cooked 2", LinkType::LINUX_SLL2, cat(&[&[0x86, 0xdd], &[0; 18], &v6]), " +0"),
        ("PPP", LinkType::PPP, cat(&[&[0xff, 3, 0, 0x21], &v4]), "ppp:0 +0"),
        ("PPP, short", LinkType::PPP, cat(&[&[0x57], &v6]), "ppp:0 +0"),
        ("PPP in HDLC framing", LinkType::PPP_HDLC, cat(&[&[0xff, 3, 0, 0x57], &v6]), "ppp:0 +0"),
        ("Cisco HDLC", LinkType::C_HDLC, cat(&[&[0x0f, 0, 8, 0], &v4]), " +0"),
        (
            "ARCNET, RFC 1201",
            LinkType::ARCNET_LINUX,
            cat(&[&[1, 2, 0, 0, 0xd4, 0, 0, 7], &v4]),
            " +0",
        ),
        ("ARCNET, RFC 1051", LinkType::ARCNET_LINUX, cat(&[&[1, 2, 0, 0, 0xf0], &v4]), " +0"),
        ("netfilter log", LinkType::NFLOG, nflog(true), "nflog:2a +0"),
        ("netfilter log, big-endian", LinkType::NFLOG, nflog(false), "nflog:2a +0"),
        ("802.11", LinkType::IEEE802_11, wlan.clone(), "llc:0 +0"),
        ("802.11 QoS, four addresses", LinkType::IEEE802_11, wlan_qos_four, "llc:0 +0"),
        ("802.11 A-MSDU", LinkType::IEEE802_11, amsdu, "llc:0 +0"),
        (
            "radiotap",
            LinkType::IEEE802_11_RADIOTAP,
            cat(&[&[0, 0, 10, 0, 0, 0, 0, 0, 0, 0], &wlan]),
            "llc:0 +0",
        ),
        (
            "radiotap, padded header",
            LinkType::IEEE802_11_RADIOTAP,
            cat(&[&[0, 0, 8, 0, 0, 0, 0, 0], &wlan_padded]),
            "llc:0 +0",
        ),
        (
            "802.11, decrypted by a tool",
            LinkType::IEEE802_11,
            cat(&[&[0x08, 0x41], &[0; 22], &snap]),
            "llc:0 +0",
        ),
        (
            "Prism, little-endian",
            LinkType::IEEE802_11_PRISM,
            cat(&[&[0x44, 0, 0, 0, 144, 0, 0, 0], &[0; 136], &wlan]),
            "llc:0 +0",
        ),
        (
            "AVS in the place of Prism",
            LinkType::IEEE802_11_PRISM,
            cat(&[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64], &[0; 56], &wlan]),
            "llc:0 +0",
        ),
        (
            "PPI and 802.11",
            LinkType::PPI,
            cat(&[&[0, 0, 12, 0, 105, 0, 0, 0], &[0; 4], &wlan]),
            "llc:0 +0",
        ),
        (
            "PKTAP and Ethernet",
            LinkType::PKTAP,
            cat(&[&[16, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], &[0; 4], &eth]),
            " +0",
        ),
        (
            "PKTAP and loopback",
            LinkType::PKTAP,
            cat(&[&[12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], &[30, 0, 0, 0], &v6]),
            " +0",
        ),
        (
            "Token Ring, source-routed",
            LinkType::IEEE802_5,
            cat(&[&[0x10, 0x40], &[2; 6], &[0x82; 6], &[0x02, 0], &snap]),
            "llc:0 +0",
        ),
        ("FDDI", LinkType::FDDI, cat(&[&[0x51], &[2; 12], &snap]), "llc:0 +0"),
        ("ARCNET of a BSD", LinkType::ARCNET_BSD, cat(&[&[1, 2, 0xd4, 0, 0, 7], &v4]), " +0"),
        ("SLIP", LinkType::SLIP, cat(&[&[0; 16], &v4]), " +0"),
        ("ATM", LinkType::ATM_RFC1483, snap.clone(), "llc:0 +0"),
        ("SunATM", LinkType::SUNATM, cat(&[&[0x82, 0, 0, 5], &snap]), "llc:0 +0"),
        ("Frame Relay", LinkType::FRELAY, cat(&[&[0x18, 0x41, 0x03, 0xcc], &v4]), " +0"),
        (
            "Frame Relay with SNAP",
            LinkType::FRELAY_WITH_DIR,
            cat(&[&[1, 0x18, 0x41, 0x03, 0, 0x80, 0, 0, 0, 0x86, 0xdd], &v6]),
            " +0",
        ),
        ("Frame Relay, Cisco's", LinkType::FRELAY, cat(&[&[0x18, 0x41, 8, 0], &v4]), " +0"),
        (
            "Cisco HDLC with direction",
            LinkType::C_HDLC_WITH_DIR,
            cat(&[&[1, 0x0f, 0, 8, 0], &v4]),
            " +0",
        ),
        ("PPP of pppd", LinkType::PPP_PPPD, cat(&[&[0, 3, 0, 0x21], &v4]), "ppp:0 +0"),
        (
            "PPP with direction",
            LinkType::PPP_WITH_DIR,
            cat(&[&[1, 0xff, 3, 0, 0x21], &v4]),
            "ppp:0 +0",
        ),
        ("packet filter log", LinkType::PFLOG, cat(&[&[61, 2], &[0; 62], &v4]), " +0"),
        ("IPsec interface", LinkType::ENC, cat(&[&[2, 0, 0, 0], &[0; 8], &v4]), " +0"),
        ("Solaris' observability", LinkType::IPNET, cat(&[&[1, 1, 0, 2], &[0; 20], &v4]), " +0"),
        ("InfiniBand", LinkType::IPOIB, cat(&[&[0; 40], &[0x86, 0xdd, 0, 0], &v6]), " +0"),
        ("Fibre Channel", LinkType::IP_OVER_FC, cat(&[&[0; 16], &snap]), "llc:0 +0"),
        ("netANALYZER", LinkType::NETANALYZER, cat(&[&[0; 4], &eth]), " +0"),
        ("preamble", LinkType::ETHERNET_MPACKET, cat(&[&[0x55; 7], &[0xd5], &eth]), " +0"),
        (
            "a switch's tag",
            LinkType::DSA_TAG_DSA,
            cat(&[&[2; 12], &[0xc0, 0, 0, 1], &[8, 0], &v4]),
            " +0",
        ),
        (
            "Endace, an extension",
            LinkType::ERF,
            cat(&[&[0; 8], &[0x82], &[0; 7], &[0; 8], &[0; 2], &eth]),
            " +0",
        ),
    ];
    for (name, link, frame, expected) in table {
        check(name, *link, frame, expected);
    }
}
