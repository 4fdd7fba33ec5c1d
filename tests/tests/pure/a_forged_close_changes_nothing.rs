//! Anybody can send a RST or FIN that fits, and its receiver may refuse it: a wrong checksum, an option that
//! fails, a TTL too small. A sender that continues has not closed, so such a segment changes no event.

use http_trace_engine::host_filter::Faults;
use http_trace_tests::generate::{self, conversation};
use http_trace_tests::judged::{Judged, filtered, is_truth, plain, same};
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

/// What is forged, and its alleged sender.
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

/// The segments with a forged one before number `at`, at its sender's position. `None` if that sender sends
/// nothing more: then the close is as good as any.
fn with(seen: &[Segment], at: usize, forged: Forged) -> Option<Vec<Segment>> {
    let from = forged.sender();
    let (before, after) = seen.split_at_checked(at)?;
    let goes_on = after.iter().any(|s| s.from == from && !s.payload.is_empty());
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
        let (some, _) = filtered(&frames, Faults::default());
        is_truth(&some, &scene.truth)
            .map_err(|wrong| TestCaseError::fail(format!("filtered: {wrong}")))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// If a sender fills checksums in, a wrong one disproves the segment by itself: it may be the last of its
    /// sender, and any silence may follow.
    #[test]
    fn with_a_wrong_checksum_whatever_follows(
        scene in conversation(generate::Options::default()),
        (isn, acks, v6) in (any::<[u32; 2]>(), any::<bool>(), any::<bool>()),
        cuts in prop::collection::vec(40usize..2000, 1..8),
        places in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4u8), 1..5),
        silence_ns in prop_oneof![Just(0), Just(3_000_000_000u64)],
        sum in 1..u16::MAX,
    ) {
        let layout = Layout { isn, acks, cuts, ..Layout::default() };
        let path = if v6 { Path::v6(40_000) } else { Path::v4(40_000) };
        let honest = segments(&scene, &layout);
        let mut expected = frames(&path, &honest);
        let mut seen = expected.clone();
        for (place, of, kind) in places {
            let at = 2 + place.index(honest.len() - 1);
            let other = &honest[of.index(at)];
            let mut forged = Segment { payload: Vec::new(), ..other.clone() };
            (forged.syn, forged.fin, forged.rst) = (kind >= 2, kind == 0, kind == 1);
            if kind == 3 {
                forged.seq = forged.seq.wrapping_add(77_777);
            } else if !other.syn {
                forged.seq = forged.seq.wrapping_add(other.payload.len() as u32);
            }
            let mut frame = path.frame(&forged);
            damage(&mut frame, sum);
            // Later segments are delayed by the silence.
            let at = at + seen.len() - honest.len();
            let time_ns = seen[at - 1].0 + 1;
            seen.insert(at, (time_ns, frame));
            for late in &mut seen[at + 1..] {
                late.0 += silence_ns;
            }
        }
        // The honest ones keep their times.
        let ours: std::collections::HashSet<&Vec<u8>> = expected.iter().map(|(_, f)| f).collect();
        let times: Vec<u64> = seen.iter().filter(|(_, f)| ours.contains(f)).map(|(t, _)| *t).collect();
        prop_assert_eq!(times.len(), expected.len());
        for (frame, time_ns) in expected.iter_mut().zip(times) {
            frame.0 = time_ns;
        }
        for (judged, honest) in [
            (plain(&seen), plain(&expected)),
            (filtered(&seen, Faults::default()).0, filtered(&expected, Faults::default()).0),
        ] {
            same(&judged, &honest).map_err(TestCaseError::fail)?;
            prop_assert_eq!(judged.stats.disputed_segments, honest.stats.disputed_segments);
        }
    }

    /// Checksums that are left to the network card, in one form or another, disprove nothing.
    #[test]
    fn checksums_that_are_not_filled_in_disprove_nothing(
        scene in conversation(generate::Options::default()),
        acks in any::<bool>(),
        (form, only_data) in (0..3u8, any::<bool>()),
        junk in prop::collection::vec(any::<u16>(), 64),
    ) {
        let layout = Layout { acks, ..Layout::default() };
        let honest = segments(&scene, &layout);
        let mut sent = frames(&Path::v4(40_000), &honest);
        let expected = [plain(&sent), filtered(&sent, Faults::default()).0];
        for (n, (segment, (_, frame))) in honest.iter().zip(&mut sent).enumerate() {
            let len = frame.len() - TCP;
            let sum = match form {
                0 => pseudo_header(frame, len as u16),
                // Segmentation offload, which concerns payload.
                1 => pseudo_header(frame, if segment.payload.is_empty() { len as u16 } else { 0 }),
                _ => junk[n % junk.len()],
            };
            // Some stacks fill in the sums of SYNs only, but leave no arbitrary values in the others.
            if !(only_data && segment.syn && form != 2) {
                frame[SUM..SUM + 2].copy_from_slice(&sum.to_be_bytes());
            }
        }
        for (judged, expected) in [plain(&sent), filtered(&sent, Faults::default()).0].iter().zip(&expected) {
            same(judged, expected).map_err(TestCaseError::fail)?;
        }
    }
}

/// Offset of the TCP header in [`Path::v4`]'s frames, and of the checksum in it.
const TCP: usize = 34;
const SUM: usize = TCP + 16;

/// Makes a frame's TCP checksum wrong.
fn damage(frame: &mut [u8], by: u16) {
    let at = if frame[12..14] == [0x86, 0xdd] { SUM + 20 } else { SUM };
    let sum = u16::from_be_bytes([frame[at], frame[at + 1]]);
    let wrong = (u32::from(sum) + u32::from(by)) % 0xffff;
    // 0 may stand for a sum that is not filled in.
    let wrong = if wrong == 0 { sum ^ 0x5555 } else { wrong as u16 };
    frame[at..at + 2].copy_from_slice(&wrong.to_be_bytes());
}

/// The pseudo-header's sum with this length, as Linux leaves it to the network card.
fn pseudo_header(frame: &[u8], len: u16) -> u16 {
    let words = frame[26..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum = words.sum::<u32>() + 6 + u32::from(len);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// Events without the flag for forged segments, and the number that had it.
fn without_flag(mut judged: Judged) -> (Judged, usize) {
    let mut flagged = 0;
    for event in &mut judged.events {
        let had = event.flags.len();
        event.flags.retain(|flag| *flag != "disputed_segment");
        flagged += had - event.flags.len();
    }
    (judged, flagged)
}

/// A forged close in the middle of a body that continues longer than a close waits for confirmation.
#[test]
fn inside_a_body_that_lasts() {
    for (chunked, at) in [(false, 30), (true, 30), (false, 400), (false, 1_000)] {
        let body = vec![b'x'; 3 << 20];
        let mut scene = Scene { name: "long", steps: Vec::new(), truth: Vec::new() };
        for n in 0..3 {
            let target = format!("/{n}");
            let (field, value, sent, end) = if chunked {
                let mut sent = format!("{:x}\r\n", body.len()).into_bytes();
                sent.extend_from_slice(&body);
                sent.extend_from_slice(b"\r\n0\r\n\r\n");
                ("Transfer-Encoding", "chunked".to_owned(), sent, End::Chunked)
            } else {
                ("Content-Length", body.len().to_string(), body.clone(), End::Length)
            };
            let head = format!("HTTP/1.1 200 OK\r\n{field}: {value}\r\n\r\n");
            scene.steps.extend([
                Step::client(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()),
                Step::server([head.into_bytes(), sent].concat()),
            ]);
            let asked = Transaction::new("GET", &target, 200, "OK");
            scene.truth.push(asked.header(field, value).body(body.len() as u64, end));
        }
        // A body of 2,170 segments in 11 s.
        let layout = Layout { step_ns: 5_000_000, ..Layout::default() };
        let honest = segments(&scene, &layout);
        let expected = plain(&frames(&Path::v4(40_000), &honest));
        for forged in [
            vec![Forged::Rst(Side::Client)],
            vec![Forged::Rst(Side::Server)],
            vec![Forged::Fin(Side::Client)],
            vec![Forged::Fin(Side::Server)],
            vec![Forged::Rst(Side::Client), Forged::Rst(Side::Server)],
            vec![Forged::Fin(Side::Client), Forged::Fin(Side::Server)],
        ] {
            let mut seen = honest.clone();
            for forged in &forged {
                seen = with(&seen, at, *forged).expect("both go on");
            }
            let frames = frames(&Path::v4(40_000), &seen);
            for (mode, judged) in
                [("plain", plain(&frames)), ("filtered", filtered(&frames, Faults::default()).0)]
            {
                let (judged, flagged) = without_flag(judged);
                let context = format!("{mode} {chunked} {at} {forged:?}");
                is_truth(&judged, &scene.truth).unwrap_or_else(|e| panic!("{context}: {e}"));
                same(&judged, &expected).unwrap_or_else(|e| panic!("{context}: {e}"));
                assert!((1..=2).contains(&flagged), "{context}: {flagged}");
                assert!(judged.stats.disputed_segments > 0, "{context}");
            }
        }
    }
}

/// A scan behind one forged segment: each attempt is reported with its request, and the forged segment is
/// counted.
#[test]
fn a_scan_behind_one_is_told_whole() {
    const ATTEMPTS: [&str; 3] = ["/?id=1%27%20OR%201=1--", "/../../etc/passwd", "/wp-login.php"];
    let mut scene = Scene { name: "scan", steps: Vec::new(), truth: Vec::new() };
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
    scene.steps.extend([Step::Close(Side::Client), Step::Close(Side::Server)]);
    for acks in [true, false] {
        let layout = Layout { acks, ..Layout::default() };
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
                // Before the first message the filter has no event to flag.
                let disputed = plain(&frames).stats.disputed_segments;
                assert!(disputed > 0, "{at} {forged:?}");
                let mut both = Vec::new();
                for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
                    let (judged, flagged) = without_flag(judged);
                    // The filter does not report one before its sender's first message.
                    let from = forged.sender();
                    let mut before = honest[..at].iter();
                    let spoke = before.any(|s| s.from == from && !s.payload.is_empty());
                    assert!(flagged == 1 || !spoke && flagged == 0, "{at} {forged:?}: {flagged}");
                    both.push(flagged);
                    is_truth(&judged, &scene.truth)
                        .unwrap_or_else(|e| panic!("{at} {forged:?}: {e}"));
                    same(&judged, &expected).unwrap_or_else(|e| panic!("{at} {forged:?}: {e}"));
                }
                assert_eq!(both[0], both[1], "{at} {forged:?}: with the filter");
            }
        }
    }
}

/// The client's acknowledgement shows which of two SYN-ACKs it accepted.
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
        let layout = Layout { acks, ..Layout::default() };
        let honest = segments(&scene, &layout);
        let syn_ack =
            honest.iter().position(|s| s.syn && s.from == Side::Server).expect("it opens");
        let expected = plain(&frames(&Path::v4(40_000), &honest));
        for at in [syn_ack, syn_ack + 1] {
            for off in [1, 100_000, 1 << 30] {
                let mut forged = honest[syn_ack].clone();
                forged.seq = forged.seq.wrapping_add(off);
                let mut seen = honest.clone();
                seen.insert(at, forged);
                let frames = frames(&Path::v4(40_000), &seen);
                for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
                    let (judged, flagged) = without_flag(judged);
                    same(&judged, &expected).unwrap_or_else(|e| panic!("{at} {off}: {e}"));
                    assert_eq!(flagged, 0, "{at} {off}");
                }
            }
        }
    }
}
