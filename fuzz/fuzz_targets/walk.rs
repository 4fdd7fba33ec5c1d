//! Any bytes as a frame of any link type: no panic, no loop, and every range found lies in the frame. The
//! first byte selects the link type, the second the options and whether the frame was cut.
#![no_main]

use http_trace_common::walk::{self, Found, LinkType, WalkOptions};
use libfuzzer_sys::fuzz_target;

const LINKS: &[u32] = &[
    0, 1, 9, 12, 14, 50, 51, 101, 104, 105, 108, 113, 127, 129, 228, 229, 239, 276, 6, 7, 8, 10,
    100, 107, 109, 117, 119, 122, 123, 163, 166, 192, 197, 204, 205, 206, 226, 240, 241, 242, 258,
    259, 274, 281, 282, 284, 285, 138, 143, 219,
];

fuzz_target!(|data: &[u8]| {
    let [link, byte, bytes @ ..] = data else {
        return;
    };
    let link = LinkType(LINKS[usize::from(*link) % LINKS.len()]);
    let verify_checksums = byte & 1 != 0;
    let wire_len = bytes.len() as u32 + u32::from(byte >> 1);
    let options = WalkOptions { verify_checksums, ..WalkOptions::default() };
    let mut more = None;
    for turn in 0.. {
        match walk::packet(bytes, wire_len, link, options, &mut more) {
            Ok((Found::Segment(segment), encap)) => {
                let end = u64::from(segment.payload_offset) + u64::from(segment.payload_len);
                assert!(end <= u64::from(wire_len) + 0xffff + 40);
                assert!(encap.layers().len() >= encap.outers().len());
            }
            Ok((Found::Fragment(piece), encap)) => {
                let data = &bytes[piece.data_offset as usize..][..piece.data_len as usize];
                assert!(piece.offset as usize + data.len() <= 0xffff);
                let _ = walk::resume(data, &piece.id, piece.protocol, encap, options);
            }
            Err(_) => {}
        }
        if more.is_none() {
            break;
        }
        // Each packet of an aggregate has its own header.
        assert!(turn <= bytes.len() / 14, "packets without end");
    }
    let lean = walk::ethernet(bytes, 0);
    let _ = walk::ip(bytes, u32::from(*byte), 0);
    // Where the kernel's walk finds the segment of a whole packet, the full walk finds the same, unless it is
    // a first fragment.
    if let (Ok(lean), Ok((Found::Segment(full), encap))) =
        (lean, walk::frame(bytes, wire_len, LinkType::ETHERNET, WalkOptions::default()))
        && encap.outers().is_empty()
    {
        assert_eq!(
            (lean.key, lean.seq, lean.payload_offset),
            (full.key, full.seq, full.payload_offset)
        );
    }
});
