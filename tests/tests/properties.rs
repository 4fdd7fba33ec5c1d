//! Generated conversations through walk, filter and judge: the truth when all was seen; nothing
//! false, and honest flags, when it was not.

use http_trace::host_filter::Faults;
use http_trace_common::counter::Counter;
use http_trace_tests::flood;
use http_trace_tests::generate::{self, conversation};
use http_trace_tests::judged::{
    Judged, difference, filtered, frames, is_honest, is_truth, plain, responses, same,
};
use http_trace_tests::mangle::{self, mangles};
use http_trace_tests::scene::Scene;
use http_trace_tests::tcp::{Layout, Path, Segment, segments};
use proptest::prelude::*;

fn layouts() -> impl Strategy<Value = Layout> {
    let cut = prop_oneof![1usize..40, 40usize..2000, 2000usize..20_000];
    (
        any::<[u32; 2]>(),
        prop::collection::vec(cut, 1..8),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(isn, cuts, coalesce, acks)| Layout {
            isn,
            cuts,
            coalesce,
            acks,
            ..Layout::default()
        })
}

fn ok(result: Result<(), String>) -> Result<(), TestCaseError> {
    result.map_err(TestCaseError::fail)
}

fn conversations() -> impl Strategy<Value = Scene> {
    conversation(generate::Options::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// All was seen, in order: the events are the truth, with the filter and without, and the
    /// filter ships no body but what is too short to skip.
    #[test]
    fn an_undisturbed_conversation(scene in conversations(), layout in layouts(), v6 in any::<bool>()) {
        let path = if v6 { Path::v6(40_000) } else { Path::v4(40_000) };
        let frames = frames(&path, &segments(&scene, &layout));
        let all = plain(&frames);
        ok(is_truth(&all, &scene.truth))?;
        let (some, filter) = filtered(&frames, Faults::default());
        ok(same(&all, &some))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
        // A segment of tiny chunks may take more steps than a hook is given.
        if filter.counter(Counter::StepBudget) == 0 {
            prop_assert_eq!(filter.counter(Counter::BecameUnsure), 0);
        }
    }

    /// Copies, other cuts and reordering within a direction change nothing.
    #[test]
    #[ignore = "about one reordering in a thousand leaves a request unpaired that was there"]
    fn copies_and_reordering(
        scene in conversations(),
        layout in layouts(),
        mangles in mangles(mangle::Options { count: 8, loss: false, reach: 9, causal: true }),
    ) {
        // The handshake and the first bytes of the request stay where they are: a connection whose
        // first segment comes late is taken up as one that was open before.
        let (seen, _) = mangle::apply(&segments(&scene, &layout), &mangles, 4, true);
        let frames = frames(&Path::v4(40_000), &seen);
        let all = plain(&frames);
        ok(is_truth(&all, &scene.truth))?;
        let (some, _) = filtered(&frames, Faults::default());
        ok(is_truth(&some, &scene.truth))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// Losses, and effects seen before their causes: nothing false, and the lack is told.
    #[test]
    #[ignore = "the judge and the filter do not hold it yet"]
    fn losses(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        layout in layouts(),
        mangles in mangles(mangle::Options { count: 8, loss: true, reach: 9, causal: false }),
    ) {
        let (seen, _) = mangle::apply(&segments(&scene, &layout), &mangles, 0, false);
        let frames = frames(&Path::v4(40_000), &seen);
        ok(is_honest(&plain(&frames), &scene.truth))?;
        let (some, _) = filtered(&frames, Faults::default());
        ok(is_honest(&some, &scene.truth))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// Whatever state the kernel loses, nothing false comes of it.
    #[test]
    #[ignore = "the judge and the filter do not hold it yet"]
    fn faults_of_the_filter(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        layout in layouts(),
        (refuse, forget, lose) in (0u32..9, 0u32..9, prop_oneof![Just(0), 2u32..20]),
    ) {
        let frames = frames(&Path::v4(40_000), &segments(&scene, &layout));
        let faults = Faults {
            refuse_claim_every: refuse,
            forget_flow_every: forget,
            lose_record_every: lose,
        };
        ok(is_honest(&filtered(&frames, faults).0, &scene.truth))?;
    }

    /// A second connection on the ports of the first, which may not even have been closed.
    #[test]
    fn port_reuse(
        first in conversations(),
        second in conversations(),
        cut in any::<prop::sample::Index>(),
        layout in layouts(),
        isn in any::<[u32; 2]>(),
    ) {
        let mut one = segments(&first, &layout);
        one.truncate(3 + cut.index(one.len() - 2));
        let start_ns = one.last().map_or(0, |s| s.time_ns) + 3_000_000_000;
        let two = segments(&second, &Layout { start_ns, isn, ..layout.clone() });
        let path = Path::v4(40_000);
        let both: Vec<Segment> = one.iter().chain(&two).cloned().collect();
        let alone = plain(&frames(&path, &one));
        for judged in [plain(&frames(&path, &both)), filtered(&frames(&path, &both), Faults::default()).0] {
            let events = responses(&judged);
            let split = events.len().saturating_sub(second.truth.len());
            prop_assert_eq!(split, responses(&alone).len(), "of the first connection");
            for (event, truth) in events[split..].iter().zip(&second.truth) {
                if let Some(wrong) = difference(event, truth) {
                    prop_assert!(false, "{wrong}\n{event:#?}");
                }
            }
        }
    }

    /// Several connections at once do not touch each other.
    #[test]
    fn interleaved_connections(scenes in prop::collection::vec((conversations(), layouts()), 2..5)) {
        let mut frames = Vec::new();
        for (n, (scene, layout)) in scenes.iter().enumerate() {
            let path = Path::v4(40_000 + n as u16);
            frames.extend(segments(scene, layout).iter().map(|s| (s.time_ns, path.frame(s))));
        }
        frames.sort_by_key(|(time, _)| *time);
        for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
            for (n, (scene, _)) in scenes.iter().enumerate() {
                let port = 40_000 + n as u16;
                let events = judged.events.iter().filter(|e| e.client.port == port).cloned().collect();
                let own = Judged { events, losses: Vec::new(), stats: judged.stats.clone() };
                ok(is_truth(&own, &scene.truth))?;
            }
        }
    }
}

/// The filter's table is bounded, whatever comes.
#[test]
fn the_filter_is_bounded() {
    let mut file = Vec::new();
    flood::Flood::NeverClosed
        .write(&mut file, 70_000)
        .expect("a capture");
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while let Some((head, more)) = rest.split_at_checked(16) {
        let field =
            |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (frame, more) = more.split_at(field(8) as usize);
        let time = u64::from(field(0)) * 1_000_000_000 + u64::from(field(4));
        frames.push((time, frame.to_vec()));
        rest = more;
    }
    let (judged, filter) = filtered(&frames, Faults::default());
    assert!(filter.flows() <= 65_536, "{}", filter.flows());
    assert!(filter.counter(Counter::TableFull) > 0);
    assert!(!judged.losses.is_empty() || judged.stats.flows_evicted == 0);
}
