//! Anybody can send a RST or a FIN that fits, and its receiver may not take it: a wrong checksum, an
//! option that fails, too few hops. Who goes on has not closed, so such a segment changes no event.

use http_trace_engine::host_filter::Faults;
use http_trace_tests::generate::{self, conversation};
use http_trace_tests::judged::{filtered, is_truth, plain, same};
use http_trace_tests::scene::{End, Scene, Side, Step, Transaction};
use http_trace_tests::tcp::{Layout, Path, Segment, frames, segments};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(400);
    if std::env::var_os("PROPTEST_CASES").is_none() && config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(5961);
    }
    config
}

/// What is forged, and who is said to have sent it.
#[derive(Clone, Copy, Debug)]
enum Forged {
    Rst(Side),
    Fin(Side),
}

impl Forged {
    fn sender(self) -> Side {
        match self {
            Forged::Rst(side) | Forged::Fin(side) => side,
        }
    }
}

fn forged() -> impl Strategy<Value = Forged> {
    prop_oneof![
        Just(Forged::Rst(Side::Client)),
        Just(Forged::Rst(Side::Server)),
        Just(Forged::Fin(Side::Client)),
        Just(Forged::Fin(Side::Server)),
    ]
}

/// The segments with a forged one before number `at`, where its sender stands then. `None` where that
/// sender says nothing more: its close would be as good as any.
fn with(seen: &[Segment], at: usize, forged: Forged) -> Option<Vec<Segment>> {
    let from = forged.sender();
    let (before, after) = seen.split_at_checked(at)?;
    let goes_on = after
        .iter()
        .any(|s| s.from == from && !s.payload.is_empty());
    let last = before.iter().rfind(|s| s.from == from)?;
    let other = before.iter().rfind(|s| s.from != from)?;
    if !goes_on || last.fin || before.len() < 3 {
        return None;
    }
    let stands = |s: &Segment| s.payload_seq().wrapping_add(s.payload.len() as u32);
    let segment = Segment {
        time_ns: before.last()?.time_ns + 1,
        from,
        seq: stands(last),
        ack: stands(other),
        syn: false,
        fin: matches!(forged, Forged::Fin(_)),
        rst: matches!(forged, Forged::Rst(_)),
        payload: Vec::new(),
    };
    Some([before, &[segment], after].concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn wherever_it_is_put(
        scene in conversation(generate::Options::default()),
        (isn, acks, coalesce) in (any::<[u32; 2]>(), any::<bool>(), any::<bool>()),
        cuts in prop::collection::vec(prop_oneof![1usize..40, 40usize..2000], 1..8),
        places in prop::collection::vec((any::<prop::sample::Index>(), forged()), 1..5),
    ) {
        let layout = Layout { isn, acks, coalesce, cuts, ..Layout::default() };
        let mut seen = segments(&scene, &layout);
        for (place, forged) in places {
            let at = place.index(seen.len());
            seen = with(&seen, at, forged).unwrap_or(seen);
        }
        let frames = frames(&Path::v4(40_000), &seen);
        let all = plain(&frames);
        is_truth(&all, &scene.truth).map_err(TestCaseError::fail)?;
        // Of a body that is still going on at the end the filter has not told that it does.
        if scene.truth.iter().any(|t| t.end == End::Open) {
            return Ok(());
        }
        let (some, _) = filtered(&frames, Faults::default());
        is_truth(&some, &scene.truth)
            .map_err(|wrong| TestCaseError::fail(format!("filtered: {wrong}")))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }
}

/// A scan behind one forged segment: each attempt is told, with its request, and the forged one is counted.
#[test]
fn a_scan_behind_one_is_told_whole() {
    const ATTEMPTS: [&str; 3] = [
        "/?id=1%27%20OR%201=1--",
        "/../../etc/passwd",
        "/wp-login.php",
    ];
    let mut scene = Scene {
        name: "scan",
        steps: Vec::new(),
        truth: Vec::new(),
    };
    for n in 0..72 {
        let target = format!("{}&n={n}", ATTEMPTS[n % 3]);
        scene.steps.extend([
            Step::client(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()),
            Step::server(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno".to_vec()),
        ]);
        let asked = Transaction::new("GET", &target, 404, "Not Found");
        let answered = asked.header("Content-Length", "2").body(2, End::Length);
        scene.truth.push(answered);
    }
    scene
        .steps
        .extend([Step::Close(Side::Client), Step::Close(Side::Server)]);
    for acks in [true, false] {
        let layout = Layout {
            acks,
            ..Layout::default()
        };
        let honest = segments(&scene, &layout);
        let expected = plain(&frames(&Path::v4(40_000), &honest));
        for at in 3..16 {
            for forged in [
                Forged::Rst(Side::Client),
                Forged::Rst(Side::Server),
                Forged::Fin(Side::Client),
                Forged::Fin(Side::Server),
            ] {
                let seen = with(&honest, at, forged).expect("both go on");
                let frames = frames(&Path::v4(40_000), &seen);
                // Before the first message the filter has nothing that it would tell of one.
                let ignored = plain(&frames).stats.ignored_segments;
                assert!(ignored > 0, "{at} {forged:?}");
                for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
                    is_truth(&judged, &scene.truth)
                        .unwrap_or_else(|e| panic!("{at} {forged:?}: {e}"));
                    same(&judged, &expected).unwrap_or_else(|e| panic!("{at} {forged:?}: {e}"));
                }
            }
        }
    }
}

/// Of two SYN-ACKs the client's acknowledgement says which one it took.
#[test]
fn the_client_decides_between_two_syn_acks() {
    let scene = Scene {
        name: "two",
        steps: vec![
            Step::client(b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            Step::server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
            Step::client(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
            Step::server(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno".to_vec()),
        ],
        truth: Vec::new(),
    };
    for acks in [true, false] {
        let layout = Layout {
            acks,
            ..Layout::default()
        };
        let honest = segments(&scene, &layout);
        let syn_ack = honest
            .iter()
            .position(|s| s.syn && s.from == Side::Server)
            .expect("it opens");
        let expected = plain(&frames(&Path::v4(40_000), &honest));
        for at in [syn_ack, syn_ack + 1] {
            for off in [1, 100_000, 1 << 30] {
                let mut forged = honest[syn_ack].clone();
                forged.seq = forged.seq.wrapping_add(off);
                let mut seen = honest.clone();
                seen.insert(at, forged);
                let frames = frames(&Path::v4(40_000), &seen);
                for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
                    same(&judged, &expected).unwrap_or_else(|e| panic!("{at} {off}: {e}"));
                }
            }
        }
    }
}
