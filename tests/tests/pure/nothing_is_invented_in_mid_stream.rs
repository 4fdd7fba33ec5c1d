//! An observer that starts in the middle of a connection sees bodies before heads. Here each segment of a
//! body, of responses and of requests, begins like a response, and some are whole responses: none of them
//! becomes an event.

use std::collections::VecDeque;

use http_trace_engine::host_filter::Faults;
use http_trace_tests::judged::{Judged, filtered, plain, responses};
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{Path, Segment, frames};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(400);
    if std::env::var_os("PROPTEST_CASES").is_none() && config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(9293);
    }
    config
}

/// When the client sends requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// After each answer.
    OneByOne,
    /// This many at once, after all answers.
    Batches(usize),
    /// While fewer than this many are unanswered.
    Window(usize),
}

/// The declared framing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    /// The answer to HEAD.
    Head,
}

/// A response: its framing, and the number of segments of its body.
type Answer = (Framing, usize);

const BLOCK: usize = 200;

/// A segment of a body: a head like a response's; `rest` says how its body is framed.
fn imitation(kind: usize, last: bool) -> Vec<u8> {
    let head = match kind % 4 {
        // A whole response, with others after it.
        0 => "HTTP/1.1 500 FAKE\r\nContent-Length: 151\r\nX: 00\r\n\r\n",
        1 => "HTTP/1.1 500 FAKE\r\nContent-Length: 0\r\n\r\n",
        2 => "HTTP/1.1 500 FAKE\r\nServer: x\r\n\r\n",
        _ => "HTTP/1.1 500 FAKE\r\nContent-Length: 5000\r\n\r\n",
    };
    let mut block = head.as_bytes().to_vec();
    block.resize(BLOCK, b'x');
    if last {
        // No imitation ends with the body: that would be indistinguishable from a response.
        block.extend_from_slice(b"end of the body");
    }
    block
}

/// The segments of response number `n`, and the offset of each.
fn answer(n: usize, (framing, blocks): Answer, talk: &Talk) -> Vec<Vec<u8>> {
    let kind = talk.kind + n;
    let body: Vec<_> = (0..blocks).map(|i| imitation(kind + i, i + 1 == blocks)).collect();
    let len: usize = body.iter().map(Vec::len).sum();
    let length = match framing {
        Framing::Chunked => "Transfer-Encoding: chunked".to_owned(),
        Framing::Length | Framing::Head => format!("Content-Length: {len}"),
    };
    let head = format!("HTTP/1.1 200 OK\r\nNumber: {n}\r\n{length}\r\n\r\n").into_bytes();
    let mut segments = vec![head];
    match framing {
        Framing::Head => {}
        Framing::Length => segments.extend(body),
        Framing::Chunked => {
            for block in body {
                // The size is at the end of the previous segment.
                let size = format!("{:x}\r\n", block.len());
                if let Some(before) = segments.last_mut() {
                    before.extend_from_slice(size.as_bytes());
                }
                segments.push([&block[..], b"\r\n"].concat());
            }
            if let Some(before) = segments.last_mut() {
                before.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }
    if !talk.apart && segments.len() > 1 {
        let first = segments.remove(1);
        segments[0].extend_from_slice(&first);
    }
    segments
}

/// The segments of request number `n`: its head, and its upload.
fn ask(n: usize, talk: &Talk) -> Vec<Vec<u8>> {
    let head = |method: &str, length: &str| {
        format!("{method} /{n} HTTP/1.1\r\nHost: a\r\n{length}\r\n").into_bytes()
    };
    let blocks = talk.uploads[n % talk.uploads.len()];
    match talk.answers[n].0 {
        Framing::Head => vec![head("HEAD", "")],
        _ if blocks == 0 => vec![head("GET", "")],
        _ => {
            let block = |i| imitation(talk.kind + n + i, i + 1 == blocks);
            let body: Vec<_> = (0..blocks).map(block).collect();
            let length = format!("Content-Length: {}\r\n", body.concat().len());
            [vec![head("POST", &length)], body].concat()
        }
    }
}

/// A connection as seen by an observer next to one end.
#[derive(Clone, Debug)]
struct Talk {
    client: Client,
    answers: Vec<Answer>,
    /// Numbers of segments of the uploads, used cyclically.
    uploads: Vec<usize>,
    kind: usize,
    /// Whether a head is a segment of its own.
    apart: bool,
    /// Whether the observer is next to the server.
    at_server: bool,
    /// How many of the server's segments may be in flight.
    in_flight: usize,
    /// The order of turns, used cyclically.
    turns: Vec<u8>,
    acks: bool,
}

/// What the observer sees, and the number of segments before each request.
struct Seen {
    segments: Vec<Segment>,
    asked: Vec<usize>,
}

const ISN: [u32; 2] = [1_000, 5_000_000];

impl Talk {
    fn play(&self) -> Seen {
        let mut seen = Seen { segments: Vec::new(), asked: Vec::new() };
        let all = self.answers.len();
        // Client: requests sent and answered, positions sent and received.
        let (mut asked, mut answered) = (0, 0);
        let [mut sent, mut received] = ISN;
        // Server: segments to send, positions sent and received.
        let mut to_send: VecDeque<(Vec<u8>, bool)> = VecDeque::new();
        let (mut served, mut taken) = (ISN[1], ISN[0]);
        // With the requests that begin and end in them.
        let mut to_server: VecDeque<(Segment, Vec<usize>, Vec<usize>)> = VecDeque::new();
        let mut to_client: VecDeque<(Segment, bool)> = VecDeque::new();
        let mut turns = self.turns.iter().cycle();
        let open = [Side::Client, Side::Server, Side::Client].map(|from| Segment {
            syn: true,
            ack: if from == Side::Client { 0 } else { ISN[0] },
            ..Segment::new(from, ISN[from.index()].wrapping_sub(1), b"")
        });
        seen.segments.extend(open);
        seen.segments[2] = Segment { ack: ISN[1], ..Segment::new(Side::Client, ISN[0], b"") };
        while answered < all {
            let turn = turns.next().copied().unwrap_or(0) % 3;
            let may_ask = match self.client {
                Client::OneByOne => usize::from(asked == answered),
                Client::Batches(n) if asked == answered => n,
                Client::Batches(_) => 0,
                Client::Window(n) => n.saturating_sub(asked - answered),
            };
            if may_ask > 0 && asked < all && (turn == 0 || to_client.is_empty()) {
                let numbers: Vec<_> = (asked..all.min(asked + may_ask)).collect();
                asked += numbers.len();
                // Consecutive heads are one segment.
                let mut payloads: Vec<(Vec<u8>, Vec<usize>, Vec<usize>)> = Vec::new();
                let mut joins = false;
                for n in numbers {
                    let parts = ask(n, self);
                    let uploads = parts.len() > 1;
                    for (i, part) in parts.into_iter().enumerate() {
                        if !(joins && i == 0) {
                            payloads.push((Vec::new(), Vec::new(), Vec::new()));
                        }
                        let Some((bytes, begun, _)) = payloads.last_mut() else {
                            continue;
                        };
                        bytes.extend(part);
                        begun.extend((i == 0).then_some(n));
                    }
                    if let Some((_, _, done)) = payloads.last_mut() {
                        done.push(n);
                    }
                    joins = !uploads;
                }
                for (payload, begun, done) in payloads {
                    let segment =
                        Segment { ack: received, ..Segment::new(Side::Client, sent, &payload) };
                    sent += payload.len() as u32;
                    if !self.at_server {
                        let until = begun.last().map_or(0, |n| n + 1).max(seen.asked.len());
                        seen.asked.resize(until, seen.segments.len());
                        seen.segments.push(segment.clone());
                    }
                    to_server.push_back((segment, begun, done));
                }
            }
            match turn {
                0 => {
                    let Some((segment, begun, done)) = to_server.pop_front() else {
                        continue;
                    };
                    taken += segment.payload.len() as u32;
                    if self.at_server {
                        let until = begun.last().map_or(0, |n| n + 1).max(seen.asked.len());
                        seen.asked.resize(until, seen.segments.len());
                        seen.segments.push(segment);
                    }
                    for n in done {
                        let segments = answer(n, self.answers[n], self);
                        let last = segments.len() - 1;
                        let segments = segments.into_iter().enumerate();
                        to_send.extend(segments.map(|(i, bytes)| (bytes, i == last)));
                    }
                }
                1 if to_client.len() < self.in_flight => {
                    let Some((bytes, ends)) = to_send.pop_front() else {
                        continue;
                    };
                    let segment =
                        Segment { ack: taken, ..Segment::new(Side::Server, served, &bytes) };
                    served += bytes.len() as u32;
                    if self.at_server {
                        seen.segments.push(segment.clone());
                    }
                    to_client.push_back((segment, ends));
                }
                _ => {
                    let Some((segment, ends)) = to_client.pop_front() else {
                        continue;
                    };
                    received += segment.payload.len() as u32;
                    answered += usize::from(ends);
                    if !self.at_server {
                        seen.segments.push(segment);
                    }
                    if self.acks {
                        seen.segments.push(Segment {
                            ack: received,
                            ..Segment::new(Side::Client, sent, b"")
                        });
                    }
                }
            }
        }
        for (from, seq, ack) in [(Side::Client, sent, received), (Side::Server, served, sent + 1)] {
            seen.segments.push(Segment { ack, fin: true, ..Segment::new(from, seq, b"") });
        }
        for (n, segment) in seen.segments.iter_mut().enumerate() {
            segment.time_ns = 1_700_000_000_000_000_000 + n as u64 * 100_000;
        }
        seen
    }
}

fn talks() -> impl Strategy<Value = Talk> {
    let client = prop_oneof![
        2 => Just(Client::OneByOne),
        1 => (2usize..17).prop_map(Client::Batches),
        1 => (2usize..17).prop_map(Client::Window),
    ];
    let framing = prop_oneof![
        4 => Just(Framing::Length),
        2 => Just(Framing::Chunked),
        1 => Just(Framing::Head),
    ];
    (
        client,
        prop::collection::vec((framing, 1usize..6), 8..40),
        prop_oneof![Just(vec![0]), prop::collection::vec(0usize..6, 1..9)],
        (0usize..4, any::<bool>(), any::<bool>(), any::<bool>()),
        1usize..6,
        prop::collection::vec(0u8..3, 8..60),
    )
        .prop_map(
            |(
                client,
                mut answers,
                uploads,
                (kind, apart, at_server, acks),
                in_flight,
                mut turns,
            )| {
                turns.extend([0, 1, 2]);
                if let Client::Window(_) = client {
                    // With many open requests it is unknown which is HEAD, so a body may seem absent.
                    answers.retain(|(framing, _)| *framing != Framing::Head);
                    answers.resize(answers.len().max(8), (Framing::Length, 2));
                }

                Talk { client, answers, uploads, kind, apart, at_server, in_flight, turns, acks }
            },
        )
}

/// Each event is a response that was sent, in order, with its own request; and all responses whose request
/// came `from` or later have one. `shown` says that the client's way of sending was seen.
fn check(judged: &Judged, talk: &Talk, from: Option<usize>, shown: bool) -> Result<(), String> {
    let mut last = None;
    let mut told = vec![false; talk.answers.len()];
    for event in responses(judged) {
        let Some(head) = &event.response else {
            continue;
        };
        let number = head
            .headers
            .first("number")
            .and_then(|n| String::from_utf8_lossy(n).parse::<usize>().ok());
        let Some(number) = number.filter(|_| head.status == 200) else {
            return Err(format!("invented: {}", event.ordinal));
        };
        if last >= Some(number) {
            return Err(format!("{number} after {last:?}"));
        }
        last = Some(number);
        told[number] = true;
        let target = event.request.as_ref().map(|r| r.target.to_vec());
        // A client that sends each of many open requests as another is answered seems to ask one by one.
        let guessed = event.flags.contains(&"request_assumed")
            || matches!(talk.client, Client::Window(_)) && !shown;
        if target.is_some_and(|target| target != format!("/{number}").into_bytes()) && !guessed {
            return Err(format!(
                "not its request: {number} {:?} {:?}",
                event.request.as_ref().map(|r| &r.target),
                event.flags
            ));
        }
    }
    let from = from.unwrap_or(told.len());
    match told.iter().skip(from).position(|told| !told) {
        Some(lacks) => Err(format!(
            "{} of {} is missing, from {from}: {told:?}\n{:?}",
            from + lacks,
            told.len(),
            judged.stats
        )),
        None => Ok(()),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn wherever_one_begins_to_listen(talk in talks(), cut in any::<prop::sample::Index>()) {
        let seen = talk.play();
        let cut = cut.index(seen.segments.len() - 2);
        let later = &seen.segments[cut..];
        let first = seen.asked.iter().position(|&at| at >= cut);
        let from = match talk.client {
            Client::OneByOne => first,
            // Uploads between requests of a batch may seem to belong to the server.
            Client::Batches(_) if talk.uploads.iter().any(|&blocks| blocks > 0) => None,
            // Which request of the first batch is answered may be known only at its end.
            Client::Batches(n) => first.map(|first| talk.answers.len().min(first + n)),
            Client::Window(_) => None,
        };
        let frames = frames(&Path::v4(40_000), later);
        let all = plain(&frames);
        check(&all, &talk, from, false).map_err(TestCaseError::fail)?;
        let (some, _) = filtered(&frames, Faults::default());
        check(&some, &talk, from, false)
            .map_err(|wrong| TestCaseError::fail(format!("filtered: {wrong}")))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// A client that asks one by one and is not seen, on a connection whose start is: each response is found.
    #[test]
    fn where_only_the_server_is_seen(mut talk in talks()) {
        talk.client = Client::OneByOne;
        let mut seen = talk.play();
        seen.segments.retain(|segment| segment.from == Side::Server);
        let frames = frames(&Path::v4(40_000), &seen.segments);
        check(&plain(&frames), &talk, Some(0), false).map_err(TestCaseError::fail)?;
        let (some, _) = filtered(&frames, Faults::default());
        check(&some, &talk, Some(0), false)
            .map_err(|wrong| TestCaseError::fail(format!("filtered: {wrong}")))?;
        prop_assert_eq!(some.stats.filter_disagrees, 0);
    }

    /// After losses, a client that was seen to keep several requests open is not taken for one that asks one
    /// by one, or in batches.
    #[test]
    fn wherever_one_misses_a_part(
        (talk, window) in (talks(), 2usize..17).prop_map(|(mut talk, window)| {
            talk.client = Client::Window(window);
            talk.answers.iter_mut().for_each(|(framing, _)| *framing = Framing::Length);
            talk.answers = talk.answers.iter().copied().cycle().take(6 * window + 20).collect();
            (talk, window)
        }),
        (begin, length) in any::<(prop::sample::Index, prop::sample::Index)>(),
    ) {
        let mut seen = talk.play();
        let shown = seen.asked[3 * window];
        let begin = shown + begin.index(seen.segments.len() - shown);
        let length = length.index(seen.segments.len() - begin);
        seen.segments.drain(begin..begin + length);
        let frames = frames(&Path::v4(40_000), &seen.segments);
        check(&plain(&frames), &talk, None, true).map_err(TestCaseError::fail)?;
        let (some, _) = filtered(&frames, Faults::default());
        check(&some, &talk, None, true)
            .map_err(|wrong| TestCaseError::fail(format!("filtered: {wrong}")))?;
    }
}
