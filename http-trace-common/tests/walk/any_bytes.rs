//! Whatever the bytes, the walk ends, and what it finds lies where it says.

use http_trace_common::walk::{self, Found, LinkType, WalkOptions, tcp_flag};
use http_trace_testkit::scene::Side;
use http_trace_testkit::tcp::{self, Path};
use proptest::prelude::*;

use crate::build::*;

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
    LinkType::IEEE802_5,
    LinkType::ARCNET_BSD,
    LinkType::SLIP,
    LinkType::FDDI,
    LinkType::ATM_RFC1483,
    LinkType::FRELAY,
    LinkType::ENC,
    LinkType::PFLOG,
    LinkType::IEEE802_11_PRISM,
    LinkType::IP_OVER_FC,
    LinkType::SUNATM,
    LinkType::IEEE802_11_AVS,
    LinkType::PPP_PPPD,
    LinkType::PPI,
    LinkType::ERF,
    LinkType::PPP_WITH_DIR,
    LinkType::C_HDLC_WITH_DIR,
    LinkType::FRELAY_WITH_DIR,
    LinkType::IPNET,
    LinkType::NETANALYZER,
    LinkType::NETANALYZER_TRANSPARENT,
    LinkType::IPOIB,
    LinkType::PKTAP,
    LinkType::EPON,
    LinkType::ETHERNET_MPACKET,
    LinkType::DSA_TAG_BRCM,
    LinkType::DSA_TAG_BRCM_PREPEND,
    LinkType::DSA_TAG_DSA,
    LinkType::DSA_TAG_EDSA,
];

/// Frames with valid headers to change at random: the walk gets deeper into them than into noise.
fn seeds() -> Vec<(LinkType, Vec<u8>)> {
    let (v4, v6) = (packet(), packet_v6());
    let eth = ethernet(&v4);
    vec![
        (LinkType::ETHERNET, eth.clone()),
        (LinkType::RAW, udp(4789, &cat(&[&[8, 0, 0, 0, 0, 0, 11, 0], &eth]))),
        (LinkType::RAW, udp(6081, &cat(&[&[2, 0, 0x86, 0xdd, 0, 0, 12, 0], &[0; 8], &v6]))),
        (LinkType::RAW, udp(1701, &cat(&[&[2, 2, 0, 3, 0, 4, 0, 2, 9, 9, 0, 0x21], &v4]))),
        (LinkType::RAW, udp(3544, &cat(&[&[0, 1, 1, 2], &[0; 12], &[0; 8], &v6]))),
        (LinkType::RAW, outer(47, &cat(&[&[0xb0, 0, 0x65, 0x58], &[0; 12], &eth]))),
        (
            LinkType::IEEE802_11,
            cat(&[
                &[0x88, 1],
                &[0; 22],
                &[0x80, 0],
                &[2; 12],
                &[0, 8],
                &[0xaa, 0xaa, 3, 0, 0, 0, 8, 6],
                &[0, 0],
                &[2; 12],
                &[0, v4.len() as u8 + 8],
                &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0],
                &v4,
            ]),
        ),
        (LinkType::NFLOG, cat(&[&[2, 0, 0, 42, 8, 0, 1, 0, 8, 0, 1, 0], &[88, 0, 9, 0], &v4])),
    ]
}

/// Whatever is found lies within the frame.
fn holds_together(bytes: &[u8], wire_len: u32, link: LinkType) {
    for verify_checksums in [false, true] {
        let options = WalkOptions { verify_checksums, ..WalkOptions::default() };
        all_hold_together(bytes, wire_len, link, options);
    }
}

fn all_hold_together(bytes: &[u8], wire_len: u32, link: LinkType, options: WalkOptions) {
    let mut more = None;
    // Each packet of an aggregate takes its header at least.
    for _ in 0..=1 + bytes.len() / 14 {
        match walk::packet(bytes, wire_len, link, options, &mut more) {
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
        if more.is_none() {
            return;
        }
    }
    panic!("packets without end");
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
        let link = tcp::LinkType::Ethernet;
        let path = if v6 { Path::v6(50_000) } else { v4() };
        let frame = Path { link, vlan: tag, ..path }.frame(&tcp::Segment {
            syn,
            fin,
            rst,
            ..tcp::Segment::new(Side::Client, 7, &payload)
        });
        let lean = walk::ethernet(frame.as_slice(), 0);
        let full = walk::frame(&frame, frame.len() as u32, LinkType::ETHERNET, WalkOptions::default());
        prop_assert_eq!(lean, segment(full).map(|(segment, _)| segment));
        let expected = if rst { 0 } else { payload.len() };
        prop_assert_eq!(lean.map(|s| s.payload_len as usize), Ok(expected));
    }
}
