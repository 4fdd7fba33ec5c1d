//! Tables for the lean walk: a frame, and the expected segment or reason.

use std::vec::Vec;

use super::*;
use crate::flow::v4_mapped;

/// An IPv4 packet with `options` (a multiple of four bytes) around a TCP segment.
fn ipv4_packet(options: &[u8], tcp: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut p = std::vec![0u8; 20];
    p[0] = 0x40 | (header_len / 4) as u8;
    p[2..4].copy_from_slice(&((header_len + tcp.len()) as u16).to_be_bytes());
    p[8] = 64;
    p[9] = ip_proto::TCP;
    p[12..16].copy_from_slice(&[10, 0, 0, 1]);
    p[16..20].copy_from_slice(&[10, 0, 0, 2]);
    p.extend_from_slice(options);
    p.extend_from_slice(tcp);
    p
}

/// An IPv6 packet whose next header is `next`.
fn ipv6_packet(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut p = std::vec![0u8; 40];
    p[0] = 0x60;
    p[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
    p[6] = next;
    p[23] = 1;
    p[39] = 2;
    p.extend_from_slice(rest);
    p
}

/// A TCP segment from port 80 to port 50000 with `options` and `payload`.
fn tcp_segment(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut t = std::vec![0u8; 20];
    t[0..2].copy_from_slice(&80u16.to_be_bytes());
    t[2..4].copy_from_slice(&50000u16.to_be_bytes());
    t[4..8].copy_from_slice(&1000u32.to_be_bytes());
    t[8..12].copy_from_slice(&2000u32.to_be_bytes());
    t[12] = (((20 + options.len()) / 4) << 4) as u8;
    t[13] = flags;
    t.extend_from_slice(options);
    t.extend_from_slice(payload);
    t
}

/// An Ethernet frame with `tags` (TPID, TCI) before `ether_type`.
fn ethernet_frame(tags: &[(u16, u16)], ether_type: u16, packet: &[u8]) -> Vec<u8> {
    let mut f = std::vec![2u8; 12];
    for (tpid, tci) in tags {
        f.extend_from_slice(&tpid.to_be_bytes());
        f.extend_from_slice(&tci.to_be_bytes());
    }
    f.extend_from_slice(&ether_type.to_be_bytes());
    f.extend_from_slice(packet);
    f
}

/// What a test checks of a segment: flags, payload offset and length.
type Brief = Result<(u8, u32, u32), Skip>;

/// [`Brief`] of a segment.
fn brief(found: Result<Segment, Skip>) -> Brief {
    found.map(|s| (s.flags, s.payload_offset, s.payload_len))
}

#[test]
fn ethernet_frames() {
    let tcp = tcp_segment(tcp_flag::ACK, &[1; 12], b"HTTP");
    let v4 = ipv4_packet(&[], &tcp);
    let v6 = ipv6_packet(ip_proto::TCP, &tcp);
    let mut padded = ethernet_frame(&[], 0x0800, &ipv4_packet(&[], &tcp_segment(0x10, &[], b"")));
    padded.resize(60, 0);
    let mut tso = v4.clone();
    tso[2..4].copy_from_slice(&[0, 0]);
    let mut big = v6.clone();
    big[4..6].copy_from_slice(&[0, 0]);
    let mut fragment = v4.clone();
    fragment[7] = 1;
    let mut first_fragment = v4.clone();
    first_fragment[6] = 0x20;
    let mut udp = v4.clone();
    udp[9] = 17;
    let mut short_total = v4.clone();
    short_total[3] = 51;
    let mut short_ihl = v4.clone();
    short_ihl[0] = 0x44;
    let mut short_offset = v4.clone();
    short_offset[32] = 0x40;
    let mut rst = v4.clone();
    rst[33] = tcp_flag::RST;

    let table: &[(&str, Vec<u8>, Brief)] = &[
        ("plain", ethernet_frame(&[], 0x0800, &v4), Ok((0x10, 66, 4))),
        ("one tag", ethernet_frame(&[(0x8100, 5)], 0x0800, &v4), Ok((0x10, 70, 4))),
        ("two tags", ethernet_frame(&[(0x88a8, 5), (0x8100, 6)], 0x0800, &v4), Ok((0x10, 74, 4))),
        ("three tags", ethernet_frame(&[(0x8100, 5); 3], 0x0800, &v4), Err(Skip::NotIp)),
        ("padding", padded, Ok((0x10, 54, 0))),
        (
            "IPv4 options",
            ethernet_frame(&[], 0x0800, &ipv4_packet(&[1; 40], &tcp)),
            Ok((0x10, 106, 4)),
        ),
        ("super-packet", ethernet_frame(&[], 0x0800, &tso), Ok((0x10, 66, 4))),
        ("IPv6", ethernet_frame(&[], 0x86dd, &v6), Ok((0x10, 86, 4))),
        ("IPv6 super-packet", ethernet_frame(&[], 0x86dd, &big), Ok((0x10, 86, 4))),
        ("fragment", ethernet_frame(&[], 0x0800, &fragment), Err(Skip::Fragment)),
        ("first fragment", ethernet_frame(&[], 0x0800, &first_fragment), Err(Skip::Fragment)),
        ("UDP", ethernet_frame(&[], 0x0800, &udp), Err(Skip::NotTcp)),
        ("ARP", ethernet_frame(&[], 0x0806, &v4), Err(Skip::NotIp)),
        ("IPv6 said, IPv4 there", ethernet_frame(&[], 0x86dd, &v4), Err(Skip::Malformed)),
        ("total too short", ethernet_frame(&[], 0x0800, &short_total), Err(Skip::Malformed)),
        ("IHL too short", ethernet_frame(&[], 0x0800, &short_ihl), Err(Skip::Malformed)),
        ("data offset too short", ethernet_frame(&[], 0x0800, &short_offset), Err(Skip::Malformed)),
        ("text in RST", ethernet_frame(&[], 0x0800, &rst), Ok((tcp_flag::RST, 66, 0))),
    ];
    for (name, frame, expected) in table {
        assert_eq!(brief(ethernet(frame.as_slice(), 0)), *expected, "{name}");
    }
}

#[test]
fn vlans_by_number() {
    let v4 = ipv4_packet(&[], &tcp_segment(0x10, &[], b""));
    // The tags in the frame, the VLAN ID of the tag outside it, and the expected result.
    let cases: &[(&[(u16, u16)], u32, u32)] = &[
        (&[], 0, 0),
        (&[], 7, 7),
        (&[(0x8100, 0xe00a)], 0, 10),
        (&[(0x88a8, 100), (0x8100, 10)], 0, 100 << 12 | 10),
        (&[(0x9100, 0xfff), (0x8100, 0xffff)], 0, 0xfff_fff),
        (&[(0x8100, 10)], 100, 100 << 12 | 10),
        // A priority tag alone, outside and inside.
        (&[(0x8100, 0xe000), (0x8100, 30)], 0, 30),
        (&[(0x88a8, 100), (0x8100, 0xe000)], 0, 100),
        // A third tag is not examined.
        (&[(0x88a8, 1), (0x8100, 2), (0x8100, 3)], 0, 1 << 12 | 2),
        (&[(0x8100, 2), (0x8100, 3)], 1, 1 << 12 | 2),
    ];
    for (tagged, beside, expected) in cases {
        let frame = ethernet_frame(tagged, 0x0800, &v4);
        let found = tags(frame.as_slice(), true, *beside);
        assert_eq!(found, *expected, "{tagged:x?} {beside}");
        let layers = |tunnel: Tunnel| tunnel.encap().layers().iter().map(|l| l.id).collect();
        let numbers: Vec<u32> = layers(Tunnel::of_tags(found));
        let kept = [found >> 12, found & 0xfff].into_iter().filter(|n| *n != 0);
        assert_eq!(numbers, kept.collect::<Vec<_>>(), "{tagged:x?} {beside}");
    }
    // A frame that is cut, and one without an Ethernet header.
    assert_eq!(tags(&[0; 13][..], true, 5), 5);
    assert_eq!(tags(v4.as_slice(), false, 5), 5);
}

#[test]
fn ipv6_extension_headers() {
    let tcp = tcp_segment(tcp_flag::ACK, &[], b"HTTP");
    let chain = |headers: &[(u8, [u8; 8])]| {
        let mut rest = Vec::new();
        for (i, (_, bytes)) in headers.iter().enumerate() {
            let mut bytes = *bytes;
            bytes[0] = headers.get(i + 1).map_or(ip_proto::TCP, |(kind, _)| *kind);
            rest.extend_from_slice(&bytes);
        }
        rest.extend_from_slice(&tcp);
        ipv6_packet(headers[0].0, &rest)
    };
    let later_fragment = [0, 0, 0, 8, 0, 0, 0, 1];
    let table: &[(&str, Vec<u8>, Brief)] = &[
        ("hop-by-hop", chain(&[(0, [0; 8])]), Ok((0x10, 68, 4))),
        (
            "all kinds",
            chain(&[(0, [0; 8]), (60, [0; 8]), (43, [0; 8]), (44, [0; 8]), (60, [0; 8])]),
            Ok((0x10, 100, 4)),
        ),
        ("too many", chain(&[(60, [0; 8]); 7]), Err(Skip::TooDeep)),
        ("fragment", chain(&[(44, later_fragment)]), Err(Skip::Fragment)),
        (
            "longer than the packet",
            chain(&[(60, [0, 200, 0, 0, 0, 0, 0, 0])]),
            Err(Skip::Malformed),
        ),
        ("ESP", chain(&[(50, [0; 8])]), Err(Skip::NotTcp)),
    ];
    for (name, packet, expected) in table {
        assert_eq!(brief(ip(packet.as_slice(), 0, 0)), *expected, "{name}");
    }
    let mut ah = ipv6_packet(ip_proto::AH, &[ip_proto::TCP, 4, 0, 0]);
    ah.extend_from_slice(&[0; 20]);
    ah.extend_from_slice(&tcp);
    let length = (ah.len() - 40) as u16;
    ah[4..6].copy_from_slice(&length.to_be_bytes());
    assert_eq!(brief(ip(ah.as_slice(), 0, 0)), Ok((0x10, 84, 4)));
}

#[test]
fn fields_of_a_segment() {
    let packet = ipv4_packet(&[], &tcp_segment(tcp_flag::SYN | tcp_flag::ACK, &[], b""));
    let s = ip(packet.as_slice(), 0, 7).expect("a SYN");
    assert_eq!((s.seq, s.ack, s.payload_seq()), (1000, 2000, 1001));
    assert_eq!(s.key.sender(s.direction), (v4_mapped([10, 0, 0, 1]), 80));
    assert_eq!(s.key.sender(s.direction.opposite()), (v4_mapped([10, 0, 0, 2]), 50000));
    assert_eq!(s.key.netns, 7);
}

#[test]
fn cut_anywhere_is_malformed_or_whole() {
    let frame = ethernet_frame(
        &[(0x8100, 5)],
        0x0800,
        &ipv4_packet(&[1; 4], &tcp_segment(0x10, &[1; 4], b"HTTP/1.1 200 OK")),
    );
    let whole = ethernet(frame.as_slice(), 0);
    for n in 0..frame.len() {
        let found = ethernet(&frame[..n], 0);
        // The payload may be cut by a snap length, the headers may not. TCP options are not read.
        let expected = if n < 18 + 24 + 20 { Err(Skip::Malformed) } else { whole };
        assert_eq!(found, expected, "{n} bytes");
    }
}
