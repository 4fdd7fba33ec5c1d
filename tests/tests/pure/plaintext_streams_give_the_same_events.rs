//! Streams without TCP give the same events as the same conversations over TCP.

use std::collections::HashSet;
use std::path::Path as FilePath;

use http_trace::capture::Frames;
use http_trace_common::config::FilterConfig;
use http_trace_common::filter::Context;
use http_trace_common::record::Hook;
use http_trace_engine::host_filter::HostFilter;
use http_trace_tests::ethernet::PushEthernet;
use http_trace_tests::generate::{self, conversation};
use http_trace_tests::judged::{Judged, is_truth, plain, records, same};
use http_trace_tests::streams::Source;
use http_trace_tests::tcp::{Layout, Path, Timed, frames, segments};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(300);
    if std::env::var_os("PROPTEST_CASES").is_none() && config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(9110);
    }
    config
}

/// Pushes every byte, as streams.
fn whole(frames: &[Timed]) -> Source {
    let mut source = Source::default();
    records(frames, |record| source.push(&record));
    source
}

/// Pushes what the filter ships, as streams with declared skips.
fn skipping(frames: &[Timed]) -> Source {
    let mut source = Source::default();
    let mut filter = HostFilter::new(FilterConfig::DEFAULT);
    for (time_ns, frame) in frames {
        let context = Context {
            time_ns: *time_ns,
            interface: 1,
            wire_len: frame.len() as u32,
            egress: false,
            hook: Hook::Capture,
        };
        filter.push_ethernet(frame, &context, &mut |record| source.push(&record));
    }
    source
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_generated_conversation(
        scene in conversation(generate::Options::default()),
        isn in any::<[u32; 2]>(),
        cuts in prop::collection::vec(1usize..20_000, 1..8),
    ) {
        let layout = Layout { isn, cuts, ..Layout::default() };
        let frames = frames(&Path::v4(40_000), &segments(&scene, &layout));
        let all = plain(&frames);
        let streams = whole(&frames);
        if !streams.disturbed.is_empty() {
            return Ok(());
        }
        let streams = streams.finish();
        is_truth(&streams, &scene.truth).map_err(TestCaseError::fail)?;
        same(&all, &streams).map_err(TestCaseError::fail)?;
        let skips = skipping(&frames);
        if skips.disturbed.is_empty() {
            let skips = skips.finish();
            prop_assert_eq!(skips.stats.filter_disagrees, 0);
            same(&all, &skips).map_err(TestCaseError::fail)?;
        }
    }
}

/// Events in an order that does not depend on when a connection closed.
fn in_order(mut judged: Judged, only: &HashSet<(u16, u16)>) -> Judged {
    judged.events.retain(|event| {
        let (a, b) = (event.client.port, event.server.port);
        !only.contains(&(a, b)) && !only.contains(&(b, a))
    });
    judged.events.sort_by_key(|event| (event.connection, event.ordinal));
    judged
}

#[test]
fn captures_whole_and_with_skips() {
    let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("captures");
    let (mut compared, mut skipped) = (0, 0);
    for name in ["nginx", "nginx-v6", "node", "python", "scenes", "tls"] {
        let mut reader = Frames::open(&[folder.join(format!("{name}.pcap"))]);
        let mut frames: Vec<Timed> = Vec::new();
        while let Some(frame) = reader.next_frame() {
            frames.push((frame.time_ns, frame.data.to_vec()));
        }
        assert!(!frames.is_empty(), "{name}");
        for streams in [whole(&frames), skipping(&frames)] {
            let disturbed = streams.disturbed.iter();
            let disturbed: HashSet<_> = disturbed.map(|key| (key.a_port, key.b_port)).collect();
            skipped += streams.skipped;
            let streams = in_order(streams.finish(), &disturbed);
            let all = in_order(plain(&frames), &disturbed);
            compared += all.events.len();
            same(&all, &streams).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
    assert!(compared > 300, "{compared} events were compared");
    assert!(skipped > 64 << 10, "{skipped} bytes were skipped");
}
