//! Frames that hold no TCP segment, and why.

use http_trace_common::counter::Counter;
use http_trace_common::walk::{self, LinkType, Skip, WalkOptions};

use crate::build::*;

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
        ("bad IPv4 checksum, asked for", raw, bad_ip, true, Skip::BadChecksum),
        ("bad TCP checksum, asked for", raw, bad_tcp, true, Skip::BadChecksum),
        ("unknown link type", LinkType(147), v4.clone(), false, Skip::LinkType),
        ("ESP", raw, outer(50, &v4), false, Skip::Encrypted),
        ("802.11 with a key", LinkType::IEEE802_11, encrypted, false, Skip::Encrypted),
        ("802.11 beacon", LinkType::IEEE802_11, vec![0x80; 60], false, Skip::NotIp),
        ("DNS", raw, udp(53, &[0; 40]), false, Skip::NotTcp),
        ("port of VXLAN, other contents", raw, udp(4789, &[0xff; 80]), false, Skip::NotIp),
        (
            "VXLAN whose inner checksum is wrong",
            raw,
            udp(4789, &cat(&[&[8, 0, 0, 0, 0, 0, 1, 0], &wrong_inner])),
            false,
            Skip::BadChecksum,
        ),
        ("Teredo whose inner length is wrong", raw, udp(3544, &long_inner), false, Skip::Malformed),
        ("ARP", LinkType::ETHERNET, cat(&[&[2; 12], &[8, 6], &[0; 28]]), false, Skip::NotIp),
        (
            "spanning tree",
            LinkType::ETHERNET,
            cat(&[&[2; 12], &[0, 38, 0x42, 0x42, 3], &[0; 40]]),
            false,
            Skip::NotIp,
        ),
        ("nothing", LinkType::ETHERNET, vec![], false, Skip::Malformed),
    ];
    for (name, link, frame, verify_checksums, expected) in table {
        let options = WalkOptions { verify_checksums: *verify_checksums, ..WalkOptions::default() };
        let found = walk::frame(frame, frame.len() as u32, *link, options);
        assert_eq!(found.map(|_| ()), Err(*expected), "{name}");
    }
}

#[test]
fn labels_without_end_are_too_deep_or_cut() {
    let labels = [0u8, 0, 0, 64].repeat(100);
    let frame = cat(&[&[2; 12], &[0x88, 0x47], &labels]);
    let found = walk::frame(&frame, frame.len() as u32, LinkType::ETHERNET, WalkOptions::default());
    assert_eq!(found.map(|_| ()), Err(Skip::TooDeep));
}

/// Found by fuzzing: a frame that says to have been of 4 GiB, around the last piece of a packet that
/// says no length.
#[test]
fn a_fragment_as_long_as_a_number_goes_is_malformed() {
    let mut piece = vec![0x45, 0, 0, 0, 0, 1, 0x1f, 0xff, 64, 6, 0, 0];
    piece.extend_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4]);
    for wire_len in [1 << 17, u32::MAX] {
        let found = walk::frame(&piece, wire_len, LinkType::RAW, WalkOptions::default());
        assert_eq!(found.map(|_| ()), Err(Skip::Malformed), "{wire_len}");
    }
}

/// Of extension headers the hooks follow a few. More hide a segment, which is not the same as none.
#[test]
fn extension_headers_without_end_are_too_deep() {
    const DESTINATION: u8 = 60;
    for number in 0..12_u8 {
        let mut packet = packet_v6();
        let tcp = packet[6];
        let padding = |next| [next, 0, 1, 4, 0, 0, 0, 0];
        for nth in 0..number {
            let next = if nth == 0 { tcp } else { DESTINATION };
            packet.splice(40..40, padding(next));
            packet[6] = DESTINATION;
        }
        packet[5] += 8 * number;
        let frame = ethernet(&packet);
        let found = walk::ethernet(&frame[..], 0);
        assert_eq!(found.err(), (number > 6).then_some(Skip::TooDeep), "{number}");
        let whole =
            walk::frame(&frame, frame.len() as u32, LinkType::ETHERNET, WalkOptions::default());
        assert!(whole.is_ok(), "{number}");
    }
    assert_eq!(Skip::TooDeep.counter(), Counter::TooManyHeaders);
}
