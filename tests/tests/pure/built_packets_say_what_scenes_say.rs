//! The packet builder lays out the bytes of the scene, and its frames parse back.

use std::collections::BTreeMap;

use http_trace_tests::generate::{self, conversation};
use http_trace_tests::mangle::{self, mangles};
use http_trace_tests::scene::{Scene, Side};
use http_trace_tests::tcp::{Layout, Path, Segment, segments};
use proptest::prelude::*;

/// The bytes of one direction as a receiver reassembles them: by sequence number, the first copy wins.
fn receive(segments: &[Segment], side: Side, isn: u32) -> Vec<u8> {
    let mut bytes = BTreeMap::new();
    for segment in segments.iter().filter(|s| s.from == side) {
        let start = segment.payload_seq().wrapping_sub(isn.wrapping_add(1));
        for (offset, byte) in segment.payload.iter().enumerate() {
            bytes.entry(start + offset as u32).or_insert(*byte);
        }
    }
    bytes.into_values().collect()
}

fn layouts() -> impl Strategy<Value = Layout> {
    (any::<[u32; 2]>(), prop::collection::vec(1usize..3000, 1..8), any::<bool>())
        .prop_map(|(isn, cuts, coalesce)| Layout { isn, cuts, coalesce, ..Layout::default() })
}

fn check(scene: &Scene, segments: &[Segment], layout: &Layout) {
    for side in [Side::Client, Side::Server] {
        assert_eq!(receive(segments, side, layout.isn[side.index()]), scene.stream(side));
    }
}

proptest! {
    #[test]
    fn segments_carry_the_streams(
        scene in conversation(generate::Options::default()),
        layout in layouts(),
        mangles in mangles(mangle::Options { count: 6, loss: true, reach: 9, causal: false }),
    ) {
        let sent = segments(&scene, &layout);
        check(&scene, &sent, &layout);
        let (seen, mangled) = mangle::apply(&sent, &mangles, 3, false);
        prop_assert!(seen.is_sorted_by_key(|s| s.time_ns));
        if !mangled.lost {
            check(&scene, &seen, &layout);
        }
    }

    #[test]
    fn frames_parse_back(scene in conversation(generate::Options::default()), v6 in any::<bool>()) {
        let path = if v6 { Path::v6(40_000) } else { Path::v4(40_000) };
        for segment in segments(&scene, &Layout::default()) {
            let frame = path.frame(&segment);
            let parsed = etherparse::SlicedPacket::from_ethernet(&frame).expect("a whole frame");
            let Some(etherparse::TransportSlice::Tcp(tcp)) = parsed.transport else {
                panic!("no TCP in {frame:?}");
            };
            prop_assert_eq!(tcp.payload(), segment.payload.as_slice());
            prop_assert_eq!(tcp.sequence_number(), segment.seq);
            prop_assert_eq!((tcp.syn(), tcp.fin(), tcp.rst()), (segment.syn, segment.fin, segment.rst));
        }
    }
}
