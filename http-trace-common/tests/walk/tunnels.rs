//! Tags and tunnels between the link type's header and the TCP segment, and what of them is named.

use http_trace_common::flow::v4_mapped;
use http_trace_common::walk::{self, LinkType, WalkOptions};

use crate::build::*;

#[test]
fn tags_and_tunnels() {
    let (v4, v6) = (packet(), packet_v6());
    let (eth, eth6) = (ethernet(&v4), ethernet(&v6));
    let ppp = cat(&[&[0, 0x21], &v4]);
    let pppoe = cat(&[&[0x11, 0, 0, 9], &(ppp.len() as u16).to_be_bytes(), &ppp]);
    let gtp = |flags: u8, more: &[u8]| {
        let length = ((v4.len() + more.len()) as u16).to_be_bytes();
        cat(&[&[0x30 | flags, 255], &length, &[0, 0, 0, 7], more, &v4])
    };
    let l2tp_len = (ppp.len() as u16 + 12).to_be_bytes();
    let table: &[(&str, [u8; 2], Vec<u8>, &str)] = &[
        ("802.1Q", [0x81, 0], cat(&[&[0xe0, 5, 8, 0], &v4]), "vlan:5 +0"),
        ("QinQ", [0x88, 0xa8], cat(&[&[0, 5, 0x81, 0, 0, 6, 0x86, 0xdd], &v6]), "vlan:5 vlan:6 +0"),
        (
            "three tags",
            [0x91, 0],
            cat(&[&[0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0], &v4]),
            "vlan:5 vlan:6 vlan:7 +0",
        ),
        ("PPPoE", [0x88, 0x64], pppoe, "pppoe:9 ppp:0 +0"),
        ("MPLS", [0x88, 0x47], cat(&[&[0, 1, 0, 64, 0, 2, 1, 64], &v4]), "mpls:10 mpls:20 +0"),
        ("MPLS, IPv6", [0x88, 0x47], cat(&[&[0, 2, 1, 64], &v6]), "mpls:20 +0"),
        (
            "pseudowire with control word",
            [0x88, 0x47],
            cat(&[&[0, 2, 1, 64, 0, 0, 0, 0], &eth]),
            "mpls:20 ethernet:0 +0",
        ),
        ("pseudowire without", [0x88, 0x47], cat(&[&[0, 2, 1, 64], &eth]), "mpls:20 ethernet:0 +0"),
        ("IP in IP", [8, 0], outer(4, &v4), "ip:0 +1"),
        ("6in4", [8, 0], outer(41, &v6), "ip:0 +1"),
        ("EtherIP", [8, 0], outer(97, &cat(&[&[0x30, 0], &eth])), "ethernet:0 +1"),
        ("GRE", [8, 0], outer(47, &cat(&[&[0, 0, 8, 0], &v4])), "gre:0 +1"),
        (
            "GRE with everything",
            [8, 0],
            outer(47, &cat(&[&[0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1], &eth6])),
            "gre:5 ethernet:0 +1",
        ),
        (
            "PPTP",
            [8, 0],
            outer(
                47,
                &cat(&[&[0x30, 0x81, 0x88, 0x0b, 0, 50, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1], &ppp]),
            ),
            "gre:3 ppp:0 +1",
        ),
        ("ERSPAN I", [8, 0], outer(47, &cat(&[&[0, 0, 0x88, 0xbe], &eth])), "gre:0 +1"),
        (
            "ERSPAN II",
            [8, 0],
            outer(47, &cat(&[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 6, 0, 0, 0, 0], &eth])),
            "gre:0 erspan:6 +1",
        ),
        (
            "ERSPAN III",
            [8, 0],
            outer(47, &cat(&[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 7], &[0; 8], &eth])),
            "gre:0 erspan:7 +1",
        ),
        (
            "ERSPAN III, long",
            [8, 0],
            outer(
                47,
                &cat(&[
                    &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1],
                    &[0; 8],
                    &eth,
                ]),
            ),
            "gre:0 erspan:7 +1",
        ),
        ("VXLAN", [8, 0], udp(4789, &cat(&[&[8, 0, 0, 0, 0, 0, 11, 0], &eth])), "vxlan:b +1"),
        (
            "VXLAN, reserved bits set",
            [8, 0],
            udp(8472, &cat(&[&[0xff, 1, 2, 3, 0, 0, 11, 4], &eth])),
            "vxlan:b +1",
        ),
        ("VXLAN GPE", [8, 0], udp(4790, &cat(&[&[0x0c, 0, 0, 2, 0, 0, 11, 0], &v6])), "vxlan:b +1"),
        (
            "Geneve",
            [8, 0],
            udp(6081, &cat(&[&[0, 0, 0x65, 0x58, 0, 0, 12, 0], &eth])),
            "geneve:c ethernet:0 +1",
        ),
        (
            "Geneve with options",
            [8, 0],
            udp(6081, &cat(&[&[2, 0, 0x86, 0xdd, 0, 0, 12, 0], &[0; 8], &v6])),
            "geneve:c +1",
        ),
        ("Teredo", [8, 0], udp(3544, &v6), "teredo:0 +1"),
        (
            "Teredo on another port",
            [8, 0],
            udp(40_000, &{
                let mut prefixed = v6.clone();
                // With its complement further on, the prefix leaves the checksum as it was.
                prefixed[8..14].copy_from_slice(&[0x20, 0x01, 0, 0, 0xdf, 0xfe]);
                prefixed
            }),
            "teredo:0 +1",
        ),
        (
            "Teredo with all its headers",
            [8, 0],
            udp(3544, &cat(&[&[0, 1, 1, 2], &[0; 12], &[0; 8], &v6])),
            "teredo:0 +1",
        ),
        ("L2TP", [8, 0], udp(1701, &cat(&[&[0, 2, 0, 3, 0, 4], &ppp])), "l2tp:30004 ppp:0 +1"),
        (
            "L2TP with everything",
            [8, 0],
            udp(
                1701,
                &cat(&[
                    &[0x4a, 2],
                    &(l2tp_len[1] as u16 + 4).to_be_bytes(),
                    &[0, 3, 0, 4, 0, 1, 0, 0, 0, 2, 9, 9],
                    &ppp,
                ]),
            ),
            "l2tp:30004 ppp:0 +1",
        ),
        ("GTP-U", [8, 0], udp(2152, &gtp(0, &[])), "gtpu:7 +1"),
        ("GTP-U with a sequence number", [8, 0], udp(2152, &gtp(2, &[0, 1, 0, 0])), "gtpu:7 +1"),
        (
            "GTP-U with an extension",
            [8, 0],
            udp(2152, &gtp(4, &[0, 0, 0, 0x85, 1, 0x10, 9, 0])),
            "gtpu:7 +1",
        ),
        ("GTP-U on another port", [8, 0], udp(9999, &gtp(0, &[])), "gtpu:7 +1"),
        (
            "tunnels in tunnels",
            [8, 0],
            outer(
                47,
                &cat(&[
                    &[0, 0, 8, 0],
                    &udp(
                        4789,
                        &cat(&[
                            &[
                                8, 0, 0, 0, 0, 0, 1, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0x81,
                                0, 0, 3, 8, 0,
                            ],
                            &outer(41, &v6),
                        ]),
                    ),
                ]),
            ),
            "gre:0 vxlan:1 vlan:3 ip:0 +3",
        ),
    ];
    for (name, kind, rest, expected) in table {
        check(name, LinkType::ETHERNET, &cat(&[&[2; 12], kind, rest]), expected);
    }
}

#[test]
fn rarer_tags_and_tunnels() {
    let (v4, v6) = (packet(), packet_v6());
    let (eth, eth6) = (ethernet(&v4), ethernet(&v6));
    let snap = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4]);
    let wlan = cat(&[&[0x08, 0x01], &[0; 22], &snap]);
    let table: &[(&str, [u8; 2], Vec<u8>, &str)] = &[
        ("VN-Tag", [0x89, 0x26], cat(&[&[0x80, 5, 0, 9, 8, 0], &v4]), "vntag:5 +0"),
        (
            "E-tag below a VLAN",
            [0x81, 0],
            cat(&[&[0, 5, 0x89, 0x3f], &[0xe0, 1, 0x10, 7, 0, 0, 8, 0], &v4]),
            "vlan:5 etag:7 +0",
        ),
        ("HSR", [0x89, 0x2f], cat(&[&[0, 64, 0, 1, 0x86, 0xdd], &v6]), " +0"),
        ("Cisco metadata", [0x89, 0x09], cat(&[&[1, 1, 0, 1, 0, 9, 8, 0], &v4]), " +0"),
        (
            "MACsec without encryption",
            [0x88, 0xe5],
            cat(&[&[0x20, 0, 0, 0, 0, 1], &[7; 8], &[8, 0], &v4, &[9; 16]]),
            " +0",
        ),
        ("MACsec, short", [0x88, 0xe5], cat(&[&[0, 0, 0, 0, 0, 1], &[8, 0], &v4, &[9; 16]]), " +0"),
        (
            "provider backbone bridging below its B-tag",
            [0x88, 0xa8],
            cat(&[&[0, 5, 0x88, 0xe7], &[0, 0, 1, 2], &eth]),
            "vlan:5 pbb:102 +0",
        ),
        ("FabricPath", [0x89, 0x03], cat(&[&[0, 0x60], &eth6]), "fabricpath:1 +0"),
        ("TRILL", [0x22, 0xf3], cat(&[&[0, 0x41, 0, 1, 0, 2, 0, 0, 0, 0], &eth]), "trill:0 +0"),
        (
            "NSH",
            [0x89, 0x4f],
            cat(&[&[0x0f, 0xc6, 1, 3, 0, 0, 7, 255], &[0; 16], &eth]),
            "nsh:7 +0",
        ),
        (
            "NSH, short, in NSH",
            [0x89, 0x4f],
            cat(&[&[0, 2, 2, 4, 0, 0, 7, 1], &[0, 2, 2, 2, 0, 0, 8, 1], &v6]),
            "nsh:7 nsh:8 +0",
        ),
        (
            "NSH in VXLAN GPE",
            [8, 0],
            udp(4790, &cat(&[&[0x0c, 0, 0, 4, 0, 0, 11, 0], &[0, 2, 2, 1, 0, 0, 7, 1], &v4])),
            "vxlan:b nsh:7 +1",
        ),
        ("long LLC", [0x88, 0x70], snap.clone(), "llc:0 +0"),
        ("GRE in UDP", [8, 0], udp(4754, &cat(&[&[0x20, 0, 8, 0, 0, 0, 0, 5], &v4])), "gre:5 +1"),
        (
            "AYIYA",
            [8, 0],
            udp(5072, &cat(&[&[0x41, 0x52, 0x11, 41], &[1; 4], &[2; 16], &[3; 20], &v6])),
            "ayiya:0 +1",
        ),
        ("LISP", [8, 0], udp(4341, &cat(&[&[0x88, 1, 2, 3, 0, 0, 9, 0], &v4])), "lisp:9 +1"),
        (
            "CAPWAP with 802.11",
            [8, 0],
            udp(5247, &cat(&[&[0, 0x10, 0x43, 0], &[0; 4], &wlan])),
            "capwap:0 llc:0 +1",
        ),
        (
            "CAPWAP with Ethernet",
            [8, 0],
            udp(5247, &cat(&[&[0, 0x18, 0x42, 0x10], &[0; 8], &eth])),
            "capwap:0 +1",
        ),
        (
            "TZSP",
            [8, 0],
            udp(37008, &cat(&[&[1, 0, 0, 1], &[0], &[10, 1, 200], &[1], &eth])),
            "tzsp:0 +1",
        ),
        (
            "TZSP with 802.11",
            [8, 0],
            udp(37008, &cat(&[&[1, 0, 0, 18, 1], &wlan])),
            "tzsp:0 llc:0 +1",
        ),
        ("L2TP version 3", [8, 0], outer(115, &cat(&[&[0, 0, 0, 9], &eth])), "l2tp:9 +1"),
        (
            "L2TP version 3 with cookie and sublayer",
            [8, 0],
            outer(115, &cat(&[&[0, 0, 0, 9], &[7; 8], &[0x40, 0, 0, 1], &eth])),
            "l2tp:9 +1",
        ),
        (
            "L2TP version 3 in UDP",
            [8, 0],
            udp(1701, &cat(&[&[0, 3, 0, 0, 0, 0, 0, 9], &[7; 4], &eth6])),
            "l2tp:9 +1",
        ),
    ];
    for (name, kind, inner, expected) in table {
        let frame = cat(&[&[2; 12], kind, inner]);
        check(name, LinkType::ETHERNET, &frame, expected);
    }
    let mpls = cat(&[&[0, 2, 1, 64], &v4]);
    check("MPLS as a link type", LinkType::MPLS, &mpls, "mpls:20 +0");
    let firewire = cat(&[&[7; 16], &[8, 0], &v4]);
    check("IEEE 1394", LinkType::IP_OVER_1394, &firewire, " +0");
    let docsis = cat(&[&[0, 0, 0, 0, 0, 0], &eth]);
    check("DOCSIS", LinkType::DOCSIS, &docsis, " +0");
    let docsis = cat(&[&[1, 3, 0, 0, 1, 2, 3, 0, 0], &eth]);
    check("DOCSIS, long", LinkType::DOCSIS, &docsis, " +0");
}

#[test]
fn outer_addresses() {
    let frame = outer(4, &packet());
    let found = walk::frame(&frame, frame.len() as u32, LinkType::RAW, WalkOptions::default());
    let (segment, encap) = segment(found).expect("a segment");
    assert_eq!(encap.outers().len(), 1);
    assert_eq!(encap.outers()[0].src, v4_mapped([192, 0, 2, 1]));
    assert_eq!(encap.outers()[0].dst, v4_mapped([192, 0, 2, 2]));
    assert_eq!(segment.key.sender(segment.direction), (v4_mapped(SERVER), 80));
}
