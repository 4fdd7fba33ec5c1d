//! Whatever SYNs, SYN-ACKs, RSTs and FINs are forged into a connection whose ends continue: the events are
//! those of the connection alone.

use std::cell::Cell;

use http_trace_common::config::FilterConfig;
use http_trace_engine::fragments::shipped::Shipped;
use http_trace_engine::host_filter::{Faults, HostFilter};
use http_trace_tests::generate::{self, conversation};
use http_trace_tests::judged::{Judged, filtered, filtered_by, is_honest, is_truth, plain, same};
use http_trace_tests::scene::{End, Scene, Side};
use http_trace_tests::tcp::{Layout, Path, Segment, Timed, frames, segments};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(600);
    config.max_global_rejects = 1 << 20;
    if let Some(cases) = std::env::var_os("PROPTEST_CASES") {
        config.cases = cases.to_str().and_then(|n| n.parse().ok()).unwrap_or(600);
    } else if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(793);
    }
    config
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syn,
    SynAck,
    Rst,
    Fin,
    Ack,
}

/// A sequence or acknowledgement number, relative to that end's position.
type Off = i32;

#[derive(Clone, Copy, Debug)]
struct Forged {
    from: Side,
    kind: Kind,
    seq: Off,
    ack: Off,
    /// A wrong checksum, of which only its receiver can be sure.
    wrong_sum: bool,
    /// Both ends are silent for a while after it.
    pause: bool,
}

fn off() -> impl Strategy<Value = Off> {
    prop_oneof![
        3 => Just(0),
        1 => Just(-1),
        1 => Just(1),
        2 => -70_000..70_000,
        2 => any::<i32>(),
    ]
}

fn forged() -> impl Strategy<Value = Forged> {
    let kind = prop_oneof![
        Just(Kind::Syn),
        Just(Kind::SynAck),
        Just(Kind::Rst),
        Just(Kind::Fin),
        Just(Kind::Ack),
    ];
    let pause = prop::bool::weighted(0.1);
    (any::<bool>(), kind, off(), off(), any::<bool>(), pause).prop_map(
        |(by_client, kind, seq, ack, wrong_sum, pause)| Forged {
            from: if by_client { Side::Client } else { Side::Server },
            kind,
            seq,
            ack,
            wrong_sum,
            pause,
        },
    )
}

/// The position of `from` after these segments.
fn stands(seen: &[Segment], from: Side) -> u32 {
    let ends = seen.iter().filter(|s| s.from == from).map(|s| {
        let len = s.payload.len() as u32 + u32::from(s.fin);
        s.payload_seq().wrapping_add(len)
    });
    ends.reduce(|a, b| if b.wrapping_sub(a) as i32 > 0 { b } else { a }).unwrap_or(0)
}

/// The position of `from` after all its data.
fn end(honest: &[Segment], from: Side) -> u32 {
    let fins = honest.iter().filter(|s| s.from == from && s.fin).count() as u32;
    stands(honest, from).wrapping_sub(fins)
}

fn segment(seen: &[Segment], forged: Forged) -> Segment {
    let Forged { from, kind, .. } = forged;
    let seq = stands(seen, from).wrapping_add_signed(forged.seq);
    let ack = stands(seen, from.peer()).wrapping_add_signed(forged.ack);
    Segment {
        time_ns: seen.last().map_or(0, |s| s.time_ns) + 1,
        from,
        seq,
        ack: if kind == Kind::Syn && from == Side::Client { 0 } else { ack },
        syn: matches!(kind, Kind::Syn | Kind::SynAck),
        fin: kind == Kind::Fin,
        rst: kind == Kind::Rst,
        payload: Vec::new(),
    }
}

/// The frames of a connection, with each forged segment before the segment of that number.
fn with(path: &Path, honest: &[Segment], forged: &[(usize, Forged)]) -> Vec<Timed> {
    let mut out = Vec::new();
    let mut silence_ns = 0;
    for (n, own) in honest.iter().enumerate() {
        for (_, forged) in forged.iter().filter(|(at, _)| *at == n) {
            let segment = segment(&honest[..n], *forged);
            let past = segment.seq.wrapping_sub(end(honest, forged.from));
            if segment.fin && past < 1 << 24 {
                // Its sender never sends beyond it, so nothing disproves it.
                continue;
            }
            let mut frame = path.frame(&segment);
            if forged.kind == Kind::Syn && frame[FLAGS] & ACK != 0 {
                without_ack(&mut frame);
            }
            if forged.wrong_sum {
                frame[SUM] ^= 0x5a;
            }
            out.push((silence_ns + segment.time_ns, frame));
            silence_ns += if forged.pause { PAUSE_NS } else { 0 };
        }
        out.push((silence_ns + own.time_ns, path.frame(own)));
    }
    out
}

/// A silence of this length confirms a close.
const PAUSE_NS: u64 = 1_500_000_000;

/// Offsets in the frames of [`Path::v4`]: TCP flags and checksum.
const FLAGS: usize = 14 + 20 + 13;
const SUM: usize = FLAGS + 3;
const ACK: u8 = 0x10;

/// Number of segments after which one of both ends continues.
fn going_on(honest: &[Segment]) -> usize {
    let last = |side| {
        let speaks = |s: &Segment| s.from == side && !s.payload.is_empty();
        honest.iter().rposition(speaks).unwrap_or(0)
    };
    last(Side::Client).min(last(Side::Server))
}

/// One conversation in this many may be incomplete because of forged segments, and says so.
const ONE_IN: u32 = 1000;

/// The events are those of the connection alone. The few incomplete ones say so, and nothing is false.
#[test]
fn while_both_ends_go_on() {
    let config = config();
    let cases = config.cases;
    let mut runner = TestRunner::new(config);
    let wire = (
        any::<[u32; 2]>(),
        any::<bool>(),
        any::<bool>(),
        cuts(),
        prop::collection::vec((any::<prop::sample::Index>(), forged()), 1..12),
    );
    let options = generate::Options { exchanges: 10, body: 6_000, ..Default::default() };
    let lacking = Cell::new(0);
    let judge = |(scene, (isn, acks, coalesce, cuts, places)): (Scene, _)| {
        let layout = Layout { isn, acks, coalesce, cuts, ..Layout::default() };
        let honest = segments(&scene, &layout);
        let until = going_on(&honest);
        prop_assume!(until > 3);
        let first = honest.iter().position(|s| !s.payload.is_empty());
        let mut handshakes = 0;
        let mut forged = placed(places, until);
        forged.retain_mut(|(at, forged)| {
            // No forged close is confirmed, by an acknowledgement or by silence.
            no_acknowledgement(forged);
            // With several handshakes before the first byte, the right one is unknown.
            let begins = Some(*at) <= first && matches!(forged.kind, Kind::Syn | Kind::SynAck);
            handshakes += u32::from(begins);
            forged.kind != Kind::Ack && (!begins || handshakes == 1)
        });
        for (mode, judged) in modes(&with(&Path::v4(40_000), &honest, &forged)) {
            let honest = is_honest(&judged, &scene.truth);
            prop_assert!(honest.is_ok(), "{mode}: {honest:?}\n{forged:?}");
            if let Err(lacks) = is_truth(&judged, &scene.truth) {
                let lacks = lacks.lines().next().unwrap_or_default();
                println!("{mode}: {lacks} {forged:?}");
                lacking.set(lacking.get() + 1);
            }
            prop_assert_eq!(judged.stats.filter_disagrees, 0, "{} {:?}", mode, &forged);
        }
        Ok(())
    };
    let result = runner.run(&(conversation(options), wire), judge);
    if let Err(error) = result {
        panic!("{error}");
    }
    let lacking = lacking.get();
    assert!(lacking <= 3 * cases / ONE_IN, "{lacking} of {cases} conversations lack something");
}

/// Why a receiver refuses a segment with payload, and whether an observer can see that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    WithoutAck,
    WrongSum,
    /// For a reason that only the receiver knows.
    Unseen,
}

/// The frames of a connection, with a forged segment before each of these segments: at the same position in
/// the stream, with other bytes.
fn with_payload(path: &Path, honest: &[Segment], places: &[usize], refused: Refused) -> Vec<Timed> {
    let mut out = Vec::new();
    for (n, own) in honest.iter().enumerate() {
        if places.contains(&n) {
            let mut forged = own.clone();
            forged.time_ns = out.last().map_or(0, |(ns, _)| *ns) + 1;
            forged.fin = false;
            let text: &[u8] = match own.from {
                Side::Client => b"GET /forged HTTP/1.1\r\nHost: a\r\n\r\n",
                Side::Server => b"HTTP/1.1 500 FORGED\r\nContent-Length: 0\r\n\r\n",
            };
            let len = forged.payload.len();
            forged.payload = text.iter().copied().cycle().take(len).collect();
            let mut frame = path.frame(&forged);
            match refused {
                Refused::WithoutAck => without_ack(&mut frame),
                Refused::WrongSum => {
                    frame[SUM] ^= 0x5a;
                    while is_left_to_card(&frame) {
                        frame[SUM + 1] = frame[SUM + 1].wrapping_add(1);
                    }
                }
                Refused::Unseen => {}
            }
            out.push((forged.time_ns, frame));
        }
        out.push((own.time_ns, path.frame(own)));
    }
    out
}

/// Whether a checksum is what a sender stores that leaves it to its card: the sum of the pseudo-header, or nothing.
fn is_left_to_card(frame: &[u8]) -> bool {
    let word = |at: usize| u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let ends = (26..34).step_by(2).map(word).sum::<u32>() + 6;
    let len = word(16) - 20;
    [0, 0xffff, fold(fold(ends)), fold(fold(ends + len))].contains(&word(SUM))
}

/// Gives frames timestamps that are a tick apart (RFC 7323), but those of `old` one of the connection's beginning.
fn stamped(frames: &mut [Timed], from: &[Side], old: &[usize]) {
    const LEN: usize = 14 + 20 + 12;
    let mut last = [0_u32; 2];
    for (n, ((_, frame), side)) in frames.iter_mut().zip(from).enumerate() {
        let d = usize::from(*side == Side::Server);
        let own = if old.contains(&n) { 0 } else { 10 + n as u32 };
        let option = [[1, 1, 8, 10], own.to_be_bytes(), last[1 - d].to_be_bytes()].concat();
        last[d] = last[d].max(own);
        frame.splice(LEN + 8..LEN + 8, option);
        frame[LEN] += 3 << 4;
        // Left to the card, as on a host of its own: no checksum shows what is forged.
        frame[SUM..SUM + 2].fill(0);
        let len = u16::from_be_bytes([frame[16], frame[17]]) + 12;
        frame[16..18].copy_from_slice(&len.to_be_bytes());
    }
}

/// Takes the ACK out of a frame, and its share out of the checksum.
fn without_ack(frame: &mut [u8]) {
    frame[FLAGS] &= !ACK;
    let sum = u32::from(frame[SUM]) << 8 | u32::from(frame[SUM + 1]);
    let sum = sum + u32::from(ACK);
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[SUM..SUM + 2].copy_from_slice(&(sum as u16).to_be_bytes());
}

/// Random connections, and the indexes of segments with payload that are forged first.
fn forged_first() -> impl Strategy<Value = (Scene, Vec<Segment>, Vec<usize>)> {
    let options = generate::Options { lookalikes: false, ..Default::default() };
    let places = prop::collection::vec(any::<prop::sample::Index>(), 1..6);
    (conversation(options), any::<[u32; 2]>(), any::<bool>(), places).prop_filter_map(
        "payload",
        |(scene, isn, acks, places)| {
            let layout = Layout { isn, acks, ..Layout::default() };
            let honest = segments(&scene, &layout);
            let has_payload = |n: &usize| !honest[*n].syn && honest[*n].payload.len() > 1;
            let all: Vec<usize> = (0..honest.len()).filter(has_payload).collect();
            let places = places.iter().map(|place| place.get(&all)).copied().collect();
            (!all.is_empty()).then_some((scene, honest, places))
        },
    )
}

proptest! {
    #![proptest_config(config())]

    /// Payload without ACK changes nothing.
    #[test]
    fn by_payload_without_ack((_, honest, places) in forged_first()) {
        let path = Path::v4(40_000);
        let alone = modes(&frames(&path, &honest));
        let seen = modes(&with_payload(&path, &honest, &places, Refused::WithoutAck));
        for ((mode, judged), (_, alone)) in seen.iter().zip(&alone) {
            same(judged, alone).map_err(|e| TestCaseError::fail(format!("{mode}: {e}")))?;
        }
    }

    /// Payload with a wrong checksum changes nothing, if its sender's payload had right ones before. Without
    /// the filter, or when reading a capture.
    #[test]
    fn by_payload_with_a_wrong_checksum((_, honest, places) in forged_first()) {
        let spoke = |n: usize| {
            let mut before = honest[..n].iter();
            before.any(|s| s.from == honest[n].from && !s.syn && !s.payload.is_empty())
        };
        let places: Vec<usize> = places.into_iter().filter(|n| spoke(*n)).collect();
        let path = Path::v4(40_000);
        let alone = plain(&frames(&path, &honest));
        let seen = plain(&with_payload(&path, &honest, &places, Refused::WrongSum));
        same(&seen, &alone).map_err(TestCaseError::fail)?;
    }

    /// Nor is payload with a timestamp older than one that the receiver has echoed, where a capture is read.
    #[test]
    fn by_payload_with_an_old_timestamp((_, honest, places) in forged_first()) {
        // What a server has taken of its client it says in the SYN-ACK; a client, with its first bytes.
        let client_spoke = |n: usize| {
            honest[..n].iter().any(|s| s.from == Side::Client && !s.syn && !s.payload.is_empty())
        };
        let allowed = |n: &usize| honest[*n].from == Side::Client || client_spoke(*n);
        let places: Vec<usize> = places.into_iter().filter(allowed).collect();
        let path = Path::v4(40_000);
        let from: Vec<Side> = honest.iter().map(|segment| segment.from).collect();
        let mut alone = frames(&path, &honest);
        stamped(&mut alone, &from, &[]);
        let (mut old, mut all) = (Vec::new(), Vec::new());
        for (n, side) in from.into_iter().enumerate() {
            if places.contains(&n) {
                old.push(all.len());
                all.push(side);
            }
            all.push(side);
        }
        let mut seen = with_payload(&path, &honest, &places, Refused::Unseen);
        stamped(&mut seen, &all, &old);
        same(&plain(&seen), &plain(&alone)).map_err(TestCaseError::fail)?;
    }

    /// Payload of which nothing shows that it is refused: it is told that there were two versions. The filter
    /// ships both where they begin as heads usually do.
    #[test]
    fn by_payload_that_fits((scene, honest, places) in forged_first()) {
        let path = Path::v4(40_000);
        let judged = plain(&with_payload(&path, &honest, &places, Refused::Unseen));
        if is_truth(&judged, &scene.truth).is_err() {
            prop_assert!(judged.stats.overlaps_differ > 0);
        }
        let is_head = |n: &&usize| {
            let payload = &honest[**n].payload;
            payload.len() >= 16 && payload[0].is_ascii_uppercase() && payload[1..9].contains(&b' ')
        };
        let places: Vec<usize> = places.iter().filter(is_head).copied().collect();
        for (mode, judged) in modes(&with_payload(&path, &honest, &places, Refused::Unseen)) {
            if is_truth(&judged, &scene.truth).is_err() {
                prop_assert!(judged.stats.overlaps_differ > 0, "{mode}: {:?}", judged.events);
            }
        }
    }

    /// The same inside the first head of either end, in segments of their own: all modes tell it.
    #[test]
    fn by_payload_inside_a_head(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        (isn, acks) in (any::<[u32; 2]>(), any::<bool>()),
        cuts in prop::collection::vec(2usize..40, 1..8),
        place in any::<prop::sample::Index>(),
    ) {
        let layout = Layout { isn, acks, cuts, ..Layout::default() };
        let honest = segments(&scene, &layout);
        let inside = inside_first_heads(&honest);
        prop_assume!(!inside.is_empty());
        let forged = with_payload(&Path::v4(40_000), &honest, &[*place.get(&inside)], Refused::Unseen);
        for (mode, judged) in modes(&forged) {
            if is_truth(&judged, &scene.truth).is_err() {
                prop_assert!(judged.stats.overlaps_differ > 0, "{mode}: {:?}", judged.events);
            }
        }
    }

    /// Whatever is forged, including silence and acknowledgements that confirm it: nothing is false, no
    /// response has another's request, and what is missing is reported.
    #[test]
    fn what_is_undecided_is_told(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        (isn, acks, coalesce) in (any::<[u32; 2]>(), any::<bool>(), any::<bool>()),
        cuts in cuts(),
        places in prop::collection::vec((any::<prop::sample::Index>(), forged()), 1..20),
    ) {
        let layout = Layout { isn, acks, coalesce, cuts, ..Layout::default() };
        let honest = segments(&scene, &layout);
        let mut forged = placed(places, honest.len() - 2);
        let lasting = |end| matches!(end, End::Close | End::Cut | End::Open);
        if scene.truth.iter().any(|truth| lasting(truth.end)) {
            // If a body lasts until the close, a confirmed one is the only sign of its end.
            forged.iter_mut().for_each(|(_, forged)| no_acknowledgement(forged));
            forged.retain(|(_, forged)| forged.kind != Kind::Ack);
        }
        for (mode, judged) in modes(&with(&Path::v4(40_000), &honest, &forged)) {
            let honest = is_honest(&judged, &scene.truth);
            prop_assert!(honest.is_ok(), "{mode}: {honest:?}\n{forged:?}");
        }
    }
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1usize..40, 40usize..2000], 1..8)
}

/// Indexes of the segments of more than a byte that lie in the first head of either end.
fn inside_first_heads(honest: &[Segment]) -> Vec<usize> {
    let mut heads = [Vec::new(), Vec::new()];
    let is_whole = |head: &[u8]| head.windows(4).any(|four| four == b"\r\n\r\n");
    let mut inside = Vec::new();
    for (n, segment) in honest.iter().enumerate() {
        let head = &mut heads[usize::from(segment.from == Side::Server)];
        if segment.syn || is_whole(head) {
            continue;
        }
        head.extend_from_slice(&segment.payload);
        if segment.payload.len() > 1 {
            inside.push(n);
        }
    }
    inside
}

/// The forged segment acknowledges no FIN, and no silence follows it.
fn no_acknowledgement(forged: &mut Forged) {
    forged.pause = false;
    if forged.ack == 1 {
        forged.ack = 0;
    }
}

type Place = (prop::sample::Index, Forged);

/// In order, none before the handshake and none after the segment `until`.
fn placed(places: Vec<Place>, until: usize) -> Vec<(usize, Forged)> {
    let places = places.into_iter();
    let mut forged: Vec<_> = places
        .map(|(place, forged)| (3.min(until) + place.index(until.saturating_sub(2).max(1)), forged))
        .collect();
    forged.sort_by_key(|(at, _)| *at);
    forged
}

/// All modes: without the filter, with it, and with that of kernels that cannot frame.
fn modes(frames: &[Timed]) -> [(&'static str, Judged); 3] {
    let (framed, _) = filtered(frames, Faults::default());
    let filter = HostFilter::without_framing(FilterConfig::DEFAULT);
    let shipped = frames.iter().map(|(ns, frame)| (*ns, 1, frame.as_slice()));
    let (unframed, _) = filtered_by(filter, Shipped::default(), shipped);
    [("plain", plain(frames)), ("filtered", framed), ("unframed", unframed)]
}
