//! Generated conversations through walk, filter and judge: the truth if everything was seen; otherwise
//! nothing false, and every missing response is accounted for.

use http_trace_common::counter::Counter;
use http_trace_engine::host_filter::Faults;
use http_trace_tests::flood;
use http_trace_tests::generate::{self, conversation};
use http_trace_tests::judged::{
    Judged, Return, cut, difference, filtered, filtered_late, is_honest, is_truth, plain,
    responses, returns, same, same_times,
};
use http_trace_tests::mangle::{self, mangles};
use http_trace_tests::scene::{Scene, Side, Step};
use http_trace_tests::tcp::{Layout, Path, Segment, frames, segments};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// The same cases in each run. `PROPTEST_RNG_SEED` and `PROPTEST_CASES` explore further.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(600);
    if std::env::var_os("PROPTEST_CASES").is_none() && config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(9112);
    }
    config
}

fn layouts() -> impl Strategy<Value = Layout> {
    let cut = prop_oneof![1usize..40, 40usize..2000, 2000usize..20_000];
    (
        any::<[u32; 2]>(),
        prop::collection::vec(cut, 1..8),
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.25),
    )
        .prop_map(|(isn, cuts, coalesce, acks, fast_open)| Layout {
            isn,
            cuts,
            coalesce,
            acks,
            fast_open,
            ..Layout::default()
        })
}

fn ok(result: Result<(), String>) -> Result<(), TestCaseError> {
    result.map_err(TestCaseError::fail)
}

/// As [`ok`], for a run with the filter.
fn filter_ok(result: Result<(), String>) -> Result<(), TestCaseError> {
    ok(result.map_err(|wrong| format!("filtered: {wrong}")))
}

fn conversations() -> impl Strategy<Value = Scene> {
    conversation(generate::Options::default())
}

proptest! {
    #![proptest_config(config())]

    /// Everything was seen, in order: the events are the truth, with the filter and without, and the filter
    /// ships no body except what is too short to skip.
    #[test]
    fn an_undisturbed_conversation(scene in conversations(), layout in layouts(), v6 in any::<bool>()) {
        let path = if v6 { Path::v6(40_000) } else { Path::v4(40_000) };
        let frames = frames(&path, &segments(&scene, &layout));
        let all = plain(&frames);
        ok(is_truth(&all, &scene.truth))?;
        let (some, filter) = filtered(&frames, Faults::default());
        ok(same(&all, &some))?;
        ok(same_times(&all, &some))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
        // A segment of tiny chunks may take more steps than a hook allows.
        if filter.counter(Counter::StepBudget) == 0 {
            prop_assert_eq!(filter.counter(Counter::BecameUnsure), 0);
        }
    }

    /// A capture with a snap length: nothing false, and most of one in which each side waits for the other.
    #[test]
    fn a_capture_with_a_snap_length(
        scene in conversations(),
        layout in layouts(),
        snap_length in prop_oneof![54usize..300, 300usize..1600],
    ) {
        let frames = frames(&Path::v4(40_000), &segments(&scene, &layout));
        ok(is_honest(&cut(&frames, snap_length), &scene.truth))?;
    }

    /// A close or reset anywhere, by either side, and what a server still sends to a client that has closed: the filter
    /// has skipped bodies of which it must then say how far they came. (Of those that cross a reset it does so a few
    /// times a second.)
    #[test]
    fn a_close_amid_a_conversation(
        scene in conversations(),
        layout in layouts(),
        place in any::<prop::sample::Index>(),
        (by_client, fin, crossing) in (any::<bool>(), any::<bool>(), 0usize..4),
    ) {
        // Fewer bytes do not tell HEAD from a status line.
        let cuts = layout.cuts.iter().map(|cut| (*cut).max(5)).collect();
        let mut seen = segments(&scene, &Layout { fast_open: false, cuts, ..layout });
        // A filter follows from the first payload on.
        let first = 1 + seen.iter().position(|s| !s.payload.is_empty()).unwrap_or(2);
        let at = first + place.index(seen.len() - first);
        let from = if by_client { Side::Client } else { Side::Server };
        let stands = seen[..at].iter().rfind(|s| s.from == from).expect("it has opened");
        let close = Segment {
            time_ns: seen[at - 1].time_ns + 1,
            seq: stands.payload_seq().wrapping_add(stands.payload.len() as u32 + u32::from(stands.fin)),
            syn: false,
            fin,
            rst: !fin,
            payload: Vec::new(),
            ..stands.clone()
        };
        let mut late = seen.split_off(at);
        late.retain(|s| fin && by_client && s.from != from);
        seen.push(close);
        seen.extend(late.into_iter().take(crossing));
        let frames = frames(&Path::v4(40_000), &seen);
        let (some, _) = filtered(&frames, Faults::default());
        let all = plain(&frames);
        ok(same(&all, &some))?;
        ok(same_times(&all, &some))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// Copies, other boundaries and reordering within a direction change nothing: the events are the truth
    /// with the filter and without, and what the filter skips is body.
    #[test]
    fn copies_and_reordering(
        scene in conversations(),
        layout in layouts(),
        mangles in mangles(mangle::Options { count: 8, loss: false, reach: 9, causal: true }),
    ) {
        // The handshake and the first bytes of the request stay in place: a connection whose first segment
        // comes late counts as open before the start.
        let (seen, _) = mangle::apply(&segments(&scene, &layout), &mangles, 4, true);
        let frames = frames(&Path::v4(40_000), &seen);
        let all = plain(&frames);
        ok(is_truth(&all, &scene.truth))?;
        let (some, _) = filtered(&frames, Faults::default());
        filter_ok(is_truth(&some, &scene.truth))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
        for event in all.events.iter().chain(&some.events) {
            let starts = [event.request_start_ns, event.response_start_ns, event.response_start_ns];
            let ends = [event.request_end_ns, event.head_end_ns, event.response_end_ns];
            for (start, end) in starts.into_iter().zip(ends) {
                prop_assert!(end.is_none() || start <= end, "{event:?}");
            }
        }
    }

    /// Losses, and effects before their causes.
    ///
    /// Nothing false: no response that was not sent, none twice, none out of order, no wrong header or body
    /// in one that claims to be complete, no request but its own. One kind of pair is a guess and flagged so:
    /// `request_assumed`, where nothing is known of what came before the first request.
    ///
    /// Nothing silent: each response without an event is accounted for by a report of sufficient size: an
    /// unanswered request (an event, or counted), bytes that are missing or belong to no message (at least a
    /// response head's worth for each), lost records, or, if the connection shows no HTTP at all, that it
    /// could not be read. Responses before the first one seen may belong to a connection "open before", those
    /// after the last to one "without an end", whose content is unknown. Of a connection with only a
    /// handshake nothing is known.
    #[test]
    fn losses(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        layout in layouts(),
        mangles in mangles(mangle::Options { count: 8, loss: true, reach: 9, causal: false }),
    ) {
        let (seen, _) = mangle::apply(&segments(&scene, &layout), &mangles, 0, false);
        let truth = if mangle::shows_speech(&seen) { &scene.truth[..] } else { &[] };
        let frames = frames(&Path::v4(40_000), &seen);
        ok(is_honest(&plain(&frames), truth))?;
        let (some, _) = filtered(&frames, Faults::default());
        filter_ok(is_honest(&some, truth))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// Whatever state the kernel loses, nothing is false and nothing silent, as above.
    #[test]
    fn faults_of_the_filter(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        layout in layouts(),
        (refuse, forget, lose) in (0u32..9, 0u32..9, prop_oneof![Just(0), 2u32..20]),
        busy in prop_oneof![2 => Just(0), 1 => 2u32..20],
    ) {
        // A SYN that is not looked at is an unseen beginning.
        let fast_open = layout.fast_open && busy == 0;
        let layout = Layout { fast_open, ..layout };
        let frames = frames(&Path::v4(40_000), &segments(&scene, &layout));
        let faults = Faults {
            refuse_claim_every: refuse,
            forget_flow_every: forget,
            lose_record_every: lose,
            spend_budget_every: 0,
            scratch_busy_every: busy,
        };
        let (some, _) = filtered(&frames, faults);
        filter_ok(is_honest(&some, &scene.truth))?;
        // A lost record may hide a tunnel's beginning, which the filter knows and the judge does not.
        if lose == 0 {
            prop_assert_eq!(some.stats.filter_disagrees, 0);
        }
    }

    /// Connections open before the start, or with late segments: hand-backs, whenever they come, skip bodies
    /// and change nothing else. Without them every byte ships. (On a connection open before the start, a body
    /// that imitates a message cannot be told from one.)
    #[test]
    fn what_is_handed_back_changes_nothing(
        (scene, open_before) in prop_oneof![
            (conversations(), Just(None)),
            (
                conversation(generate::Options { lookalikes: false, ..Default::default() }),
                any::<prop::sample::Index>().prop_map(Some),
            ),
        ],
        layout in layouts(),
        mangles in mangles(mangle::Options { count: 4, loss: false, reach: 9, causal: true }),
        returns in prop::collection::vec(returns(), 1..6),
    ) {
        let mut seen = segments(&scene, &layout);
        let from = open_before.map_or(0, |index| index.index(seen.len()));
        let spare = if from == 0 { 4 } else { 0 };
        let (seen, _) = mangle::apply(&seen.split_off(from), &mangles, spare, true);
        let frames = frames(&Path::v4(40_000), &seen);
        let (all, _) = filtered_late(&frames, Faults::default(), &[Return::NEVER]);
        let (some, _) = filtered_late(&frames, Faults::default(), &returns);
        filter_ok(same(&all, &some))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// Bodies that imitate messages where segments begin, while the filter has lost framing and the judge has
    /// not: as above.
    #[test]
    fn an_imitation_is_not_taken_for_a_message(
        imitated in imitations(),
        returns in prop::collection::vec(returns(), 1..6),
    ) {
        ok(changes_nothing(&imitated, &returns))?;
    }

    /// Losses, a spent budget and a filter that loses state, with hand-backs that come late, never, twice, or
    /// for another connection: nothing false, and nothing silent.
    #[test]
    fn losses_and_late_hand_backs(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        layout in layouts(),
        mangles in mangles(mangle::Options { count: 8, loss: true, reach: 9, causal: false }),
        returns in prop::collection::vec(returns(), 1..6),
        (refuse, lose, spend) in
            (prop_oneof![Just(0), 2u32..20], prop_oneof![Just(0), 2u32..20], 0u32..4),
        busy in prop_oneof![2 => Just(0), 1 => 2u32..20],
    ) {
        let (seen, _) = mangle::apply(&segments(&scene, &layout), &mangles, 0, false);
        let truth = if mangle::shows_speech(&seen) { &scene.truth[..] } else { &[] };
        let frames = frames(&Path::v4(40_000), &seen);
        let faults = Faults {
            refuse_claim_every: refuse,
            forget_flow_every: 0,
            lose_record_every: lose,
            spend_budget_every: spend,
            scratch_busy_every: busy,
        };
        let (some, _) = filtered_late(&frames, faults, &returns);
        filter_ok(is_honest(&some, truth))?;
        if lose == 0 {
            prop_assert_eq!(some.stats.filter_disagrees, 0);
        }
    }

    /// A SYN with data that nobody answers, or only with an answer to another one, changes nothing, whatever
    /// its sender and its sequence number.
    #[test]
    fn a_forged_syn_with_data_changes_nothing(
        scene in conversations(),
        layout in layouts(),
        place in any::<prop::sample::Index>(),
        (isn, ahead) in (any::<u32>(), prop::option::of(0u32..100_000)),
        (len, twice, by_client) in (40usize..9000, any::<bool>(), any::<bool>()),
    ) {
        let mut seen = segments(&scene, &layout);
        // Before any payload it may be the SYN of a client that retries.
        let first = seen.iter().position(|s| !s.payload.is_empty()).unwrap_or(0).max(2);
        let at = first + 1 + place.index(seen.len() - first);
        let from = if by_client { Side::Client } else { Side::Server };
        let stands = seen[..at].iter().rfind(|s| s.from == from).expect("it has opened");
        let next = stands.payload_seq().wrapping_add(stands.payload.len() as u32);
        // Behind the current position it would be a copy, and at it the next segment in order.
        let isn = ahead.map_or_else(
            || if isn.wrapping_sub(next) > 1 << 31 { next.wrapping_add(1 << 24) } else { isn },
            |ahead| next.wrapping_add(ahead),
        );
        let mut payload = b"GET /forged/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n".to_vec();
        payload.resize(len, b'x');
        let forged = Segment {
            time_ns: seen[at - 1].time_ns + 1,
            from,
            seq: isn,
            ack: 0,
            syn: true,
            fin: false,
            rst: false,
            payload,
        };
        let again = Segment { time_ns: forged.time_ns + 1, ..forged.clone() };
        seen.insert(at, forged);
        if twice {
            seen.insert(at + 1, again);
        }
        let frames = frames(&Path::v4(40_000), &seen);
        ok(is_truth(&plain(&frames), &scene.truth))?;
        let (some, _) = filtered(&frames, Faults::default());
        filter_ok(is_truth(&some, &scene.truth))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// A second connection on the ports of the first, which may not have been closed.
    #[test]
    fn port_reuse(
        first in conversations(),
        second in conversations(),
        cut in any::<prop::sample::Index>(),
        layout in layouts(),
        isn in any::<[u32; 2]>(),
    ) {
        // Ahead of the first one's number, as a stack chooses it (RFC 9293 §3.4.1): slightly behind, it looks
        // like a copy.
        let isn = [0, 1].map(|n| {
            let behind = layout.isn[n].wrapping_sub(isn[n]) as i32;
            let near = (-(1 << 20)..1 << 21).contains(&behind);
            if near { isn[n].wrapping_add(1 << 23) } else { isn[n] }
        });
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

    /// Concurrent connections do not affect each other.
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

/// Bodies with these numbers of segments, of which one begins like a message; and every how many segments the
/// filter cannot claim the flow.
type Imitated = (Vec<(usize, usize)>, u32);

fn imitations() -> impl Strategy<Value = Imitated> {
    (prop::collection::vec((1usize..12, 0usize..12), 2..8), 4u32..20)
}

/// All bytes are seen, but not framed by the filter: hand-backs change nothing.
fn changes_nothing((bodies, refuse): &Imitated, returns: &[Return]) -> Result<(), String> {
    const SEGMENT: usize = 1448;
    const ENDLESS: &[u8] = b"HTTP/1.1 200 OK\r\nX-Nr: 99\r\nContent-Length: 9999999\r\n\r\n";
    let mut steps = Vec::new();
    // The last skip is reported with the next segment, for which the filter may not get the flow.
    let all_bodies = bodies.iter().chain(&[(0, 0); 6]);
    for (n, (count, at)) in all_bodies.enumerate() {
        let len = count * SEGMENT;
        let head = format!(
            "HTTP/1.1 200 OK\r\n{}: {n}\r\nContent-Length: {len}\r\n\r\n",
            generate::NUMBER
        );
        let mut body = vec![b'x'; len];
        if let Some(from) = body.get_mut(at * SEGMENT..) {
            for (into, byte) in from.iter_mut().zip(ENDLESS) {
                *into = *byte;
            }
        }
        steps.extend([
            Step::client(format!("GET /{n}/ HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()),
            Step::server(head.into_bytes()),
            Step::server(body),
        ]);
    }
    let scene = Scene { name: "imitated", steps, truth: Vec::new() };
    let layout = Layout { cuts: vec![SEGMENT], coalesce: false, ..Layout::default() };
    let frames = frames(&Path::v4(40_000), &segments(&scene, &layout));
    let faults = Faults { refuse_claim_every: *refuse, ..Faults::default() };
    let (all, _) = filtered_late(&frames, faults, &[Return::NEVER]);
    let (some, _) = filtered_late(&frames, faults, returns);
    same(&all, &some)?;
    match some.stats.filter_disagrees {
        0 => Ok(()),
        n => Err(format!("{n} times the judge disagrees")),
    }
}

/// The test would notice a wrong trial that is confirmed.
#[test]
fn a_lie_about_trials_is_noticed() {
    let lie = Return { after: Some(2), lie: true, ..Return::AT_ONCE };
    let mut runner = proptest::test_runner::TestRunner::new(config());
    let outcome = runner.run(&imitations(), |imitated| ok(changes_nothing(&imitated, &[lie])));
    assert!(outcome.is_err());
}

/// The filter's table is bounded, whatever comes, and newcomers find room in it.
#[test]
fn the_filter_is_bounded() {
    let mut file = Vec::new();
    let whole = flood::Flood::NeverClosed.write(&mut file, 70_000).expect("a capture");
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
    assert_eq!(filter.counter(Counter::TableFull), 0);
    assert_eq!(responses(&judged).len(), whole);
    assert!(!judged.losses.is_empty() || judged.stats.flows_evicted == 0);
}

/// A forged segment far beyond any window makes no event, and the filter still ships what is true.
#[test]
fn a_segment_from_far_off_changes_nothing() {
    use http_trace_tests::generate::NUMBER;
    use http_trace_tests::scene::{End, Transaction};

    let get = |n| Step::client(format!("GET /{n}/ HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes());
    let ok = |n, body: usize| {
        let head = format!("HTTP/1.1 200 OK\r\n{NUMBER}: {n}\r\nContent-Length: {body}\r\n\r\n");
        Step::server([head.into_bytes(), vec![b'x'; body]].concat())
    };
    let answered = |n: usize, body: usize| {
        Transaction::new("GET", &format!("/{n}/"), 200, "OK")
            .header(NUMBER, n.to_string())
            .header("Content-Length", body.to_string())
            .body(body as u64, End::Length)
    };
    let scene = Scene {
        name: "forged",
        steps: vec![
            get(0),
            ok(0, 0),
            get(1),
            ok(1, 5000),
            get(2),
            ok(2, 700),
            Step::Close(Side::Server),
            Step::Close(Side::Client),
        ],
        truth: vec![answered(0, 0), answered(1, 5000), answered(2, 700)],
    };
    let sent = segments(&scene, &Layout { acks: false, ..Layout::default() });
    let forged = b"HTTP/1.1 404 Forged\r\nContent-Length: 0\r\n\r\n";
    // Before any other payload, and after the close, it counts as a connection that is open.
    for at in 4..sent.len() - 1 {
        for far in [20 << 20, 100 << 20, 1 << 30, 3 << 30] {
            let mut seen = sent.clone();
            let last = seen[..at].iter().rfind(|s| s.from == Side::Server).expect("a SYN-ACK");
            let end = last.payload_seq().wrapping_add(last.payload.len() as u32);
            let segment = Segment {
                time_ns: seen[at].time_ns - 1,
                seq: end.wrapping_add(far),
                payload: forged.to_vec(),
                syn: false,
                fin: false,
                ..last.clone()
            };
            seen.insert(at, segment);
            let frames = frames(&Path::v4(40_000), &seen);
            let (some, _) = filtered(&frames, Faults::default());
            for (judged, how) in [(plain(&frames), "all bytes"), (some, "filtered")] {
                let result = is_truth(&judged, &scene.truth);
                assert_eq!(result, Ok(()), "before {at}, {far} ahead: {how}");
                assert_eq!(judged.stats.filter_disagrees, 0, "before {at}, {far} ahead: {how}");
            }
        }
    }
}
