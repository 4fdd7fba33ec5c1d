//! Fragments are handed back, whole packets in fragment's clothing are not.

use http_trace_common::flow::v4_mapped;
use http_trace_common::walk::{self, Encap, Found, FragmentId, LinkType, Skip, WalkOptions};

use crate::build::*;

#[test]
fn fragments_are_handed_back() {
    let v4 = packet();
    let mut first = v4[..20 + 24].to_vec();
    first[2..4].copy_from_slice(&44u16.to_be_bytes());
    first[4..6].copy_from_slice(&[0xab, 0xcd]);
    first[6] = 0x20;
    let found = walk::frame(&first, 44, LinkType::RAW, WalkOptions::default());
    let Ok((Found::Fragment(piece), _)) = found else { panic!("{found:?}") };
    let id = FragmentId {
        src: v4_mapped(SERVER),
        dst: v4_mapped(CLIENT),
        identification: 0xabcd,
        protocol: 6,
        version: 4,
    };
    assert_eq!(piece.id, id);
    assert_eq!((piece.offset, piece.data_offset, piece.data_len, piece.more), (0, 20, 24, true));

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
    let found = walk::frame(&second, second.len() as u32, LinkType::RAW, WalkOptions::default());
    let Ok((Found::Fragment(piece), _)) = found else { panic!("{found:?}") };
    assert_eq!((piece.offset, piece.more, piece.protocol), (24, false, 6));
    assert_eq!((piece.id.identification, piece.id.version), (9, 6));
}
