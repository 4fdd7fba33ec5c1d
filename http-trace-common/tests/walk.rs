//! The full walk: link types, tags and tunnels, each in a frame of its own; and what must hold for
//! any bytes at all.

use etherparse::PacketBuilder;
use http_trace_common::flow::v4_mapped;
use http_trace_common::walk::{
    self, Encap, Found, FragmentId, LinkType, Segment, Skip, WalkOptions, tcp_flag,
};
use proptest::prelude::*;

const PAYLOAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
const SERVER: [u8; 4] = [10, 0, 0, 1];
const CLIENT: [u8; 4] = [10, 0, 0, 2];

const LINKS: &[LinkType] = &[
    LinkType::NULL,
    LinkType::ETHERNET,
    LinkType::PPP,
    LinkType::RAW_DLT,
    LinkType::RAW_OPENBSD,
    LinkType::PPP_HDLC,
    LinkType::PPP_ETHER,
    LinkType::RAW,
    LinkType::C_HDLC,
    LinkType::IEEE802_11,
    LinkType::LOOP,
    LinkType::LINUX_SLL,
    LinkType::ARCNET_LINUX,
    LinkType::IEEE802_11_RADIOTAP,
    LinkType::IPV4,
    LinkType::IPV6,
    LinkType::NFLOG,
    LinkType::LINUX_SLL2,
];

/// An IPv4 packet with the TCP segment that every frame here holds.
fn packet() -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4(SERVER, CLIENT, 64)
        .tcp(80, 50000, 1000, 4000)
        .ack(2000)
        .write(&mut out, PAYLOAD)
        .expect("a packet in memory");
    out
}

/// The same over IPv6.
fn packet_v6() -> Vec<u8> {
    let (mut src, mut dst) = ([0u8; 16], [0u8; 16]);
    (src[15], dst[15]) = (1, 2);
    let mut out = Vec::new();
    PacketBuilder::ipv6(src, dst, 64)
        .tcp(80, 50000, 1000, 4000)
        .ack(2000)
        .write(&mut out, PAYLOAD)
        .expect("a packet in memory");
    out
}

/// The same with an Ethernet header, as a tunnel carries it.
fn ethernet(inner: &[u8]) -> Vec<u8> {
    let kind = if inner[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    cat(&[&[2; 12], &kind, inner])
}

/// An IPv4 packet of `protocol` from 192.0.2.1 to 192.0.2.2.
fn outer(protocol: u8, inner: &[u8]) -> Vec<u8> {
    let mut header = etherparse::Ipv4Header::new(
        inner.len() as u16,
        64,
        etherparse::IpNumber(protocol),
        [192, 0, 2, 1],
        [192, 0, 2, 2],
    )
    .expect("a length that fits");
    header.header_checksum = header.calc_header_checksum();
    cat(&[&header.to_bytes(), inner])
}

fn udp(port: u16, inner: &[u8]) -> Vec<u8> {
    let length = (inner.len() as u16 + 8).to_be_bytes();
    outer(
        17,
        &cat(&[
            &40000u16.to_be_bytes(),
            &port.to_be_bytes(),
            &length,
            &[0, 0],
            inner,
        ]),
    )
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Layers as `name:id`, then how many outer IP headers there were.
fn describe(encap: &Encap) -> String {
    let layers: Vec<_> = encap
        .layers()
        .iter()
        .map(|l| format!("{}:{:x}", l.kind.name(), l.id))
        .collect();
    format!("{} +{}", layers.join(" "), encap.outers().len())
}

fn segment(found: Result<(Found, Encap), Skip>) -> Result<(Segment, Encap), Skip> {
    match found? {
        (Found::Segment(segment), encap) => Ok((segment, encap)),
        (Found::Fragment(_), _) => Err(Skip::Fragment),
    }
}

/// What a frame must be found to hold: its encapsulation, as [`describe`] says it.
fn check(name: &str, link: LinkType, frame: &[u8], expected: &str) {
    let found = walk::frame(frame, frame.len() as u32, link, WalkOptions::default());
    let (segment, encap) = segment(found).unwrap_or_else(|skip| panic!("{name}: {skip:?}"));
    assert_eq!(describe(&encap), expected, "{name}");
    let from = segment.payload_offset as usize;
    assert_eq!(
        &frame[from..from + segment.payload_len as usize],
        PAYLOAD,
        "{name}"
    );
    assert_eq!((segment.seq, segment.ack), (1000, 2000), "{name}");
    assert_eq!(segment.key.sender(segment.direction).1, 80, "{name}");

    // Checksums are right, so asking for them changes nothing.
    let strict = WalkOptions {
        verify_checksums: true,
    };
    let verified = walk::frame(frame, frame.len() as u32, link, strict);
    assert_eq!(
        verified.map(|(_, encap)| encap),
        Ok(encap),
        "{name}, checksums verified"
    );

    // Cut anywhere it is an error or the same segment with fewer bytes.
    for n in 0..frame.len() {
        match walk::frame(
            &frame[..n],
            frame.len() as u32,
            link,
            WalkOptions::default(),
        ) {
            Ok((Found::Segment(cut), _)) => assert_eq!(cut, segment, "{name} cut to {n} bytes"),
            Ok((Found::Fragment(_), _)) => panic!("{name} cut to {n} bytes is a fragment"),
            Err(_) => {}
        }
    }
}

#[test]
fn link_types() {
    let (v4, v6) = (packet(), packet_v6());
    let sll =
        |protocol: [u8; 2], rest: &[u8]| cat(&[&[0, 0, 0, 1, 0, 6], &[2; 8], &protocol, rest]);
    let snap = cat(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &v4]);
    let wlan = cat(&[&[0x08, 0x01], &[0; 22], &snap]);
    let wlan_qos_four = cat(&[&[0x88, 0x03], &[0; 28], &[0, 0], &snap]);
    let amsdu_len = (snap.len() as u16).to_be_bytes();
    let amsdu = cat(&[
        &[0x88, 0x01],
        &[0; 22],
        &[0x80, 0],
        &[2; 12],
        &amsdu_len,
        &snap,
    ]);
    let nflog = |little: bool| {
        let number = |n: u16| {
            if little {
                n.to_le_bytes()
            } else {
                n.to_be_bytes()
            }
        };
        let header = cat(&[&number(8), &number(1), &[8, 0, 1, 0]]);
        let prefix = cat(&[&number(5), &number(10), &[0, 0, 0, 0]]);
        cat(&[
            &[2, 0, 0, 42],
            &header,
            &prefix,
            &number(v4.len() as u16 + 4),
            &number(9),
            &v4,
        ])
    };
    let length = (snap.len() as u16).to_be_bytes();
    let table: &[(&str, LinkType, Vec<u8>, &str)] = &[
        ("Ethernet", LinkType::ETHERNET, ethernet(&v4), " +0"),
        ("Ethernet, IPv6", LinkType::ETHERNET, ethernet(&v6), " +0"),
        (
            "802.3 with SNAP",
            LinkType::ETHERNET,
            cat(&[&[2; 12], &length, &snap]),
            "llc:0 +0",
        ),
        ("raw", LinkType::RAW, v4.clone(), " +0"),
        ("raw, IPv6", LinkType::RAW, v6.clone(), " +0"),
        ("raw as 12", LinkType::RAW_DLT, v4.clone(), " +0"),
        ("raw as 14", LinkType::RAW_OPENBSD, v6.clone(), " +0"),
        ("IPv4", LinkType::IPV4, v4.clone(), " +0"),
        ("IPv6", LinkType::IPV6, v6.clone(), " +0"),
        (
            "null, little-endian",
            LinkType::NULL,
            cat(&[&[2, 0, 0, 0], &v4]),
            " +0",
        ),
        (
            "null, big-endian",
            LinkType::NULL,
            cat(&[&[0, 0, 0, 2], &v4]),
            " +0",
        ),
        (
            "null, Darwin's IPv6",
            LinkType::NULL,
            cat(&[&[30, 0, 0, 0], &v6]),
            " +0",
        ),
        (
            "loop, OpenBSD's IPv6",
            LinkType::LOOP,
            cat(&[&[0, 0, 0, 24], &v6]),
            " +0",
        ),
        ("cooked", LinkType::LINUX_SLL, sll([8, 0], &v4), " +0"),
        (
            "cooked with a tag",
            LinkType::LINUX_SLL,
            sll([0x81, 0], &cat(&[&[0, 5, 8, 0], &v4])),
            "vlan:5 +0",
        ),
        (
            "cooked 2",
            LinkType::LINUX_SLL2,
            cat(&[&[0x86, 0xdd], &[0; 18], &v6]),
            " +0",
        ),
        (
            "PPP",
            LinkType::PPP,
            cat(&[&[0xff, 3, 0, 0x21], &v4]),
            "ppp:0 +0",
        ),
        (
            "PPP, short",
            LinkType::PPP,
            cat(&[&[0x57], &v6]),
            "ppp:0 +0",
        ),
        (
            "PPP in HDLC framing",
            LinkType::PPP_HDLC,
            cat(&[&[0xff, 3, 0, 0x57], &v6]),
            "ppp:0 +0",
        ),
        (
            "Cisco HDLC",
            LinkType::C_HDLC,
            cat(&[&[0x0f, 0, 8, 0], &v4]),
            " +0",
        ),
        (
            "ARCNET, RFC 1201",
            LinkType::ARCNET_LINUX,
            cat(&[&[1, 2, 0, 0, 0xd4, 0, 0, 7], &v4]),
            " +0",
        ),
        (
            "ARCNET, RFC 1051",
            LinkType::ARCNET_LINUX,
            cat(&[&[1, 2, 0, 0, 0xf0], &v4]),
            " +0",
        ),
        ("netfilter log", LinkType::NFLOG, nflog(true), "nflog:2a +0"),
        (
            "netfilter log, big-endian",
            LinkType::NFLOG,
            nflog(false),
            "nflog:2a +0",
        ),
        ("802.11", LinkType::IEEE802_11, wlan.clone(), "llc:0 +0"),
        (
            "802.11 QoS, four addresses",
            LinkType::IEEE802_11,
            wlan_qos_four,
            "llc:0 +0",
        ),
        ("802.11 A-MSDU", LinkType::IEEE802_11, amsdu, "llc:0 +0"),
        (
            "radiotap",
            LinkType::IEEE802_11_RADIOTAP,
            cat(&[&[0, 0, 10, 0, 0, 0, 0, 0, 0, 0], &wlan]),
            "llc:0 +0",
        ),
    ];
    for (name, link, frame, expected) in table {
        check(name, *link, frame, expected);
    }
}

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
        (
            "802.1Q",
            [0x81, 0],
            cat(&[&[0xe0, 5, 8, 0], &v4]),
            "vlan:5 +0",
        ),
        (
            "QinQ",
            [0x88, 0xa8],
            cat(&[&[0, 5, 0x81, 0, 0, 6, 0x86, 0xdd], &v6]),
            "vlan:5 vlan:6 +0",
        ),
        (
            "three tags",
            [0x91, 0],
            cat(&[&[0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 8, 0], &v4]),
            "vlan:5 vlan:6 vlan:7 +0",
        ),
        ("PPPoE", [0x88, 0x64], pppoe, "pppoe:9 ppp:0 +0"),
        (
            "MPLS",
            [0x88, 0x47],
            cat(&[&[0, 1, 0, 64, 0, 2, 1, 64], &v4]),
            "mpls:10 mpls:20 +0",
        ),
        (
            "MPLS, IPv6",
            [0x88, 0x47],
            cat(&[&[0, 2, 1, 64], &v6]),
            "mpls:20 +0",
        ),
        (
            "pseudowire with control word",
            [0x88, 0x47],
            cat(&[&[0, 2, 1, 64, 0, 0, 0, 0], &eth]),
            "mpls:20 ethernet:0 +0",
        ),
        (
            "pseudowire without",
            [0x88, 0x47],
            cat(&[&[0, 2, 1, 64], &eth]),
            "mpls:20 ethernet:0 +0",
        ),
        ("IP in IP", [8, 0], outer(4, &v4), "ip:0 +1"),
        ("6in4", [8, 0], outer(41, &v6), "ip:0 +1"),
        (
            "EtherIP",
            [8, 0],
            outer(97, &cat(&[&[0x30, 0], &eth])),
            "ethernet:0 +1",
        ),
        (
            "GRE",
            [8, 0],
            outer(47, &cat(&[&[0, 0, 8, 0], &v4])),
            "gre:0 +1",
        ),
        (
            "GRE with everything",
            [8, 0],
            outer(
                47,
                &cat(&[
                    &[0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1],
                    &eth6,
                ]),
            ),
            "gre:5 ethernet:0 +1",
        ),
        (
            "PPTP",
            [8, 0],
            outer(
                47,
                &cat(&[
                    &[0x30, 0x81, 0x88, 0x0b, 0, 50, 0, 3, 0, 0, 0, 1, 0, 0, 0, 1],
                    &ppp,
                ]),
            ),
            "gre:3 ppp:0 +1",
        ),
        (
            "ERSPAN I",
            [8, 0],
            outer(47, &cat(&[&[0, 0, 0x88, 0xbe], &eth])),
            "gre:0 +1",
        ),
        (
            "ERSPAN II",
            [8, 0],
            outer(
                47,
                &cat(&[
                    &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 6, 0, 0, 0, 0],
                    &eth,
                ]),
            ),
            "gre:0 erspan:6 +1",
        ),
        (
            "ERSPAN III",
            [8, 0],
            outer(
                47,
                &cat(&[
                    &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 7],
                    &[0; 8],
                    &eth,
                ]),
            ),
            "gre:0 erspan:7 +1",
        ),
        (
            "ERSPAN III, long",
            [8, 0],
            outer(
                47,
                &cat(&[
                    &[
                        0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1,
                    ],
                    &[0; 8],
                    &eth,
                ]),
            ),
            "gre:0 erspan:7 +1",
        ),
        (
            "VXLAN",
            [8, 0],
            udp(4789, &cat(&[&[8, 0, 0, 0, 0, 0, 11, 0], &eth])),
            "vxlan:b +1",
        ),
        (
            "VXLAN, reserved bits set",
            [8, 0],
            udp(8472, &cat(&[&[0xff, 1, 2, 3, 0, 0, 11, 4], &eth])),
            "vxlan:b +1",
        ),
        (
            "VXLAN GPE",
            [8, 0],
            udp(4790, &cat(&[&[0x0c, 0, 0, 2, 0, 0, 11, 0], &v6])),
            "vxlan:b +1",
        ),
        (
            "Geneve",
            [8, 0],
            udp(6081, &cat(&[&[0, 0, 0x65, 0x58, 0, 0, 12, 0], &eth])),
            "geneve:c ethernet:0 +1",
        ),
        (
            "Geneve with options",
            [8, 0],
            udp(
                6081,
                &cat(&[&[2, 0, 0x86, 0xdd, 0, 0, 12, 0], &[0; 8], &v6]),
            ),
            "geneve:c +1",
        ),
        ("Teredo", [8, 0], udp(3544, &v6), "teredo:0 +1"),
        (
            "Teredo with all its headers",
            [8, 0],
            udp(3544, &cat(&[&[0, 1, 1, 2], &[0; 12], &[0; 8], &v6])),
            "teredo:0 +1",
        ),
        (
            "L2TP",
            [8, 0],
            udp(1701, &cat(&[&[0, 2, 0, 3, 0, 4], &ppp])),
            "l2tp:30004 ppp:0 +1",
        ),
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
        (
            "GTP-U with a sequence number",
            [8, 0],
            udp(2152, &gtp(2, &[0, 1, 0, 0])),
            "gtpu:7 +1",
        ),
        (
            "GTP-U with an extension",
            [8, 0],
            udp(2152, &gtp(4, &[0, 0, 0, 0x85, 1, 0x10, 9, 0])),
            "gtpu:7 +1",
        ),
        (
            "GTP-U on another port",
            [8, 0],
            udp(9999, &gtp(0, &[])),
            "gtpu:7 +1",
        ),
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
        check(
            name,
            LinkType::ETHERNET,
            &cat(&[&[2; 12], kind, rest]),
            expected,
        );
    }
}

#[test]
fn outer_addresses() {
    let frame = outer(4, &packet());
    let found = walk::frame(
        &frame,
        frame.len() as u32,
        LinkType::RAW,
        WalkOptions::default(),
    );
    let (segment, encap) = segment(found).expect("a segment");
    assert_eq!(encap.outers().len(), 1);
    assert_eq!(encap.outers()[0].src, v4_mapped([192, 0, 2, 1]));
    assert_eq!(encap.outers()[0].dst, v4_mapped([192, 0, 2, 2]));
    assert_eq!(
        segment.key.sender(segment.direction),
        (v4_mapped(SERVER), 80)
    );
}

#[test]
fn refused() {
    let v4 = packet();
    let mut bad_ip = v4.clone();
    bad_ip[10] ^= 1;
    let mut bad_tcp = v4.clone();
    bad_tcp[36] ^= 1;
    let mut wrong_inner = ethernet(&v4);
    wrong_inner[14 + 10] ^= 1;
    let mut long_inner = packet_v6();
    long_inner[5] += 1;
    let raw = LinkType::RAW;
    let encrypted = cat(&[&[0x08, 0x41], &[0; 40]]);
    let table: &[(&str, LinkType, Vec<u8>, bool, Skip)] = &[
        (
            "bad IPv4 checksum, asked for",
            raw,
            bad_ip,
            true,
            Skip::BadChecksum,
        ),
        (
            "bad TCP checksum, asked for",
            raw,
            bad_tcp,
            true,
            Skip::BadChecksum,
        ),
        (
            "unknown link type",
            LinkType(147),
            v4.clone(),
            false,
            Skip::LinkType,
        ),
        ("ESP", raw, outer(50, &v4), false, Skip::Encrypted),
        (
            "802.11 with a key",
            LinkType::IEEE802_11,
            encrypted,
            false,
            Skip::Encrypted,
        ),
        (
            "802.11 beacon",
            LinkType::IEEE802_11,
            vec![0x80; 60],
            false,
            Skip::NotIp,
        ),
        ("DNS", raw, udp(53, &[0; 40]), false, Skip::NotTcp),
        (
            "port of VXLAN, other contents",
            raw,
            udp(4789, &[0xff; 80]),
            false,
            Skip::NotIp,
        ),
        (
            "VXLAN whose inner checksum is wrong",
            raw,
            udp(4789, &cat(&[&[8, 0, 0, 0, 0, 0, 1, 0], &wrong_inner])),
            false,
            Skip::BadChecksum,
        ),
        (
            "Teredo whose inner length is wrong",
            raw,
            udp(3544, &long_inner),
            false,
            Skip::Malformed,
        ),
        (
            "ARP",
            LinkType::ETHERNET,
            cat(&[&[2; 12], &[8, 6], &[0; 28]]),
            false,
            Skip::NotIp,
        ),
        (
            "spanning tree",
            LinkType::ETHERNET,
            cat(&[&[2; 12], &[0, 38, 0x42, 0x42, 3], &[0; 40]]),
            false,
            Skip::NotIp,
        ),
        (
            "nothing",
            LinkType::ETHERNET,
            vec![],
            false,
            Skip::Malformed,
        ),
    ];
    for (name, link, frame, verify_checksums, expected) in table {
        let options = WalkOptions {
            verify_checksums: *verify_checksums,
        };
        let found = walk::frame(frame, frame.len() as u32, *link, options);
        assert_eq!(found.map(|_| ()), Err(*expected), "{name}");
    }
}

#[test]
fn labels_without_end_are_too_deep_or_cut() {
    let labels = [0u8, 0, 0, 64].repeat(100);
    let frame = cat(&[&[2; 12], &[0x88, 0x47], &labels]);
    let found = walk::frame(
        &frame,
        frame.len() as u32,
        LinkType::ETHERNET,
        WalkOptions::default(),
    );
    assert_eq!(found.map(|_| ()), Err(Skip::TooDeep));
}

#[test]
fn fragments_are_handed_back() {
    let v4 = packet();
    let mut first = v4[..20 + 24].to_vec();
    first[2..4].copy_from_slice(&44u16.to_be_bytes());
    first[4..6].copy_from_slice(&[0xab, 0xcd]);
    first[6] = 0x20;
    let found = walk::frame(&first, 44, LinkType::RAW, WalkOptions::default());
    let Ok((Found::Fragment(piece), _)) = found else {
        panic!("{found:?}")
    };
    let id = FragmentId {
        src: v4_mapped(SERVER),
        dst: v4_mapped(CLIENT),
        identification: 0xabcd,
        protocol: 6,
        version: 4,
    };
    assert_eq!(piece.id, id);
    assert_eq!(
        (piece.offset, piece.data_offset, piece.data_len, piece.more),
        (0, 20, 24, true)
    );

    // What was put together is walked on with what the first piece was wrapped in.
    let resumed = walk::resume(&v4[20..], &id, 6, Encap::default(), WalkOptions::default());
    let (segment, _) = segment(resumed).expect("a segment");
    assert_eq!(segment.payload_len as usize, PAYLOAD.len());

    // A piece that a snap length cut can never be used.
    let cut = walk::frame(&first[..30], 44, LinkType::RAW, WalkOptions::default());
    assert_eq!(cut.map(|_| ()), Err(Skip::Cut));
}

#[test]
fn ipv6_fragments() {
    let v6 = packet_v6();
    let fragment = |field: u16, data: &[u8]| {
        let mut p = v6[..40].to_vec();
        p[4..6].copy_from_slice(&(data.len() as u16 + 8).to_be_bytes());
        p[6] = 44;
        cat(&[&p, &[6, 0], &field.to_be_bytes(), &[0, 0, 0, 9], data])
    };
    let atomic = fragment(0, &v6[40..]);
    check("atomic fragment", LinkType::RAW, &atomic, " +0");
    let second = fragment(24, &v6[64..]);
    let found = walk::frame(
        &second,
        second.len() as u32,
        LinkType::RAW,
        WalkOptions::default(),
    );
    let Ok((Found::Fragment(piece), _)) = found else {
        panic!("{found:?}")
    };
    assert_eq!((piece.offset, piece.more, piece.protocol), (24, false, 6));
    assert_eq!((piece.id.identification, piece.id.version), (9, 6));
}

/// Frames with valid headers to change at random: the walk gets deeper into them than into noise.
fn seeds() -> Vec<(LinkType, Vec<u8>)> {
    let (v4, v6) = (packet(), packet_v6());
    let eth = ethernet(&v4);
    vec![
        (LinkType::ETHERNET, eth.clone()),
        (
            LinkType::RAW,
            udp(4789, &cat(&[&[8, 0, 0, 0, 0, 0, 11, 0], &eth])),
        ),
        (
            LinkType::RAW,
            udp(
                6081,
                &cat(&[&[2, 0, 0x86, 0xdd, 0, 0, 12, 0], &[0; 8], &v6]),
            ),
        ),
        (
            LinkType::RAW,
            udp(1701, &cat(&[&[2, 2, 0, 3, 0, 4, 0, 2, 9, 9, 0, 0x21], &v4])),
        ),
        (
            LinkType::RAW,
            udp(3544, &cat(&[&[0, 1, 1, 2], &[0; 12], &[0; 8], &v6])),
        ),
        (
            LinkType::RAW,
            outer(47, &cat(&[&[0xb0, 0, 0x65, 0x58], &[0; 12], &eth])),
        ),
        (
            LinkType::NFLOG,
            cat(&[&[2, 0, 0, 42, 8, 0, 1, 0, 8, 0, 1, 0], &[88, 0, 9, 0], &v4]),
        ),
    ]
}

/// Whatever is found lies within the frame.
fn holds_together(bytes: &[u8], wire_len: u32, link: LinkType) {
    for verify_checksums in [false, true] {
        match walk::frame(bytes, wire_len, link, WalkOptions { verify_checksums }) {
            Ok((Found::Segment(s), _)) => {
                assert!(s.payload_offset as usize <= bytes.len() + 40);
                assert!(s.flags & tcp_flag::RST == 0 || s.payload_len == 0);
            }
            Ok((Found::Fragment(f), _)) => {
                assert!((f.data_offset + f.data_len) as usize <= bytes.len());
                assert!(f.offset + f.data_len <= 0xffff);
            }
            Err(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200), more in any::<u32>()) {
        for link in LINKS {
            holds_together(&bytes, more, *link);
        }
        let _ = walk::ethernet(bytes.as_slice(), 0);
        let _ = walk::ip(bytes.as_slice(), more, 0);
    }

    #[test]
    fn changed_frames(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let seeds = seeds();
        let (link, frame) = which.get(&seeds);
        let mut frame = frame.clone();
        for (at, value) in &changes {
            let at = at.index(frame.len());
            frame[at] = *value;
        }
        holds_together(&frame, frame.len() as u32, *link);
        frame.truncate(cut.index(frame.len()));
        holds_together(&frame, frame.len() as u32 + 100, *link);
    }

    /// What the kernel's walk finds, the host's finds too, and the same.
    #[test]
    fn lean_and_full_agree(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        syn in any::<bool>(), fin in any::<bool>(), rst in any::<bool>(),
        tag in prop::option::of(0u16..4096),
        v6 in any::<bool>(),
    ) {
        let start = PacketBuilder::ethernet2([1; 6], [2; 6]);
        let ip = match (tag, v6) {
            (Some(tag), true) => start.single_vlan(tag.try_into().expect("12 bits")).ipv6([1; 16], [2; 16], 9),
            (Some(tag), false) => start.single_vlan(tag.try_into().expect("12 bits")).ipv4(CLIENT, SERVER, 9),
            (None, true) => start.ipv6([1; 16], [2; 16], 9),
            (None, false) => start.ipv4(CLIENT, SERVER, 9),
        };
        let mut tcp = ip.tcp(50000, 80, 7, 100);
        if syn { tcp = tcp.syn(); }
        if fin { tcp = tcp.fin(); }
        if rst { tcp = tcp.rst(); }
        let mut frame = Vec::new();
        tcp.write(&mut frame, &payload).expect("a packet in memory");
        let lean = walk::ethernet(frame.as_slice(), 0);
        let full = walk::frame(&frame, frame.len() as u32, LinkType::ETHERNET, WalkOptions::default());
        prop_assert_eq!(lean, segment(full).map(|(segment, _)| segment));
        let expected = if rst { 0 } else { payload.len() };
        prop_assert_eq!(lean.map(|s| s.payload_len as usize), Ok(expected));
    }
}
