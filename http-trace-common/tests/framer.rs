//! The framer on whole and cut streams: tables of spans and events, and the property that cutting a
//! stream anywhere changes nothing.

use http_trace_common::framer::{
    Event, Framer, HeadFacts, MethodKind, Phase, RequestQueue, Span, flag,
};
use proptest::prelude::*;

/// Runs `pieces` through one framer; spans are merged, so that only what bytes *are* is compared.
fn run(framer: &mut Framer, queue: &mut RequestQueue, pieces: &[&[u8]]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut open: Option<(Span, usize)> = None;
    let close = |open: &mut Option<(Span, usize)>, out: &mut Vec<String>| {
        if let Some((span, n)) = open.take() {
            out.push(format!("{span:?} {n}"));
        }
    };
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let step = framer.step(queue, rest);
            assert!(step.taken as usize <= rest.len());
            assert!(
                step.taken > 0 || step.event.is_some(),
                "no progress in {:?}",
                framer.phase()
            );
            rest = &rest[step.taken as usize..];
            if step.taken > 0 {
                match &mut open {
                    Some((span, n)) if *span == step.span => *n += step.taken as usize,
                    _ => {
                        close(&mut open, &mut out);
                        open = Some((step.span, step.taken as usize));
                    }
                }
            }
            if let Some(event) = step.event {
                close(&mut open, &mut out);
                out.push(match event {
                    Event::HeadBegins { back } => format!("begin-{back}"),
                    Event::HeadEnds { head, body } => {
                        let head = match head {
                            HeadFacts::Request { method } => format!("{method:?}"),
                            HeadFacts::Response { status, answers } => match answers {
                                Some(kind) => format!("{status} to {kind:?}"),
                                None => format!("{status}"),
                            },
                        };
                        let names: Vec<_> = flag::NAMES
                            .iter()
                            .filter(|(bit, _)| framer.flags() & bit != 0)
                            .map(|(_, name)| *name)
                            .collect();
                        format!("head {head} {body:?} [{}]", names.join(","))
                    }
                    Event::BodyBegins { back } => format!("body-{back}"),
                    Event::MessageEnds => "end".into(),
                    Event::NotHttp { after_messages } => format!("not-http {after_messages}"),
                    Event::Lost => "lost".into(),
                    Event::Preface => "preface".into(),
                });
            }
        }
    }
    close(&mut open, &mut out);
    out.push(format!("{:?}", framer.phase()));
    out
}

fn requests(kinds: &[MethodKind]) -> RequestQueue {
    let mut queue = RequestQueue::new();
    kinds.iter().for_each(|&k| queue.push(k));
    queue
}

#[track_caller]
fn response(kinds: &[MethodKind], stream: &[u8], expected: &[&str]) {
    let got = run(&mut Framer::new(), &mut requests(kinds), &[stream]);
    assert_eq!(got, expected, "{}", stream.escape_ascii());
}

const OTHER: MethodKind = MethodKind::Other;

#[test]
fn response_bodies_by_rfc_9112_6_3() {
    response(
        &[OTHER, OTHER],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404\r\ncontent-length:0\r\n\r\n",
        &["begin-0", "Head 38", "head 200 to Other Length(5) []", "Body 5", "end", "begin-0", "Head 34",
          "head 404 to Other Length(0) []", "Idle"],
    );
    response(
        &[MethodKind::Head, OTHER],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        &[
            "begin-0",
            "Head 38",
            "head 200 to Head None []",
            "begin-0",
            "Head 19",
            "head 204 to Other None []",
            "Idle",
        ],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
        &["begin-0", "Head 25", "head 100 None []", "begin-0", "Head 27", "head 103 None []", "begin-0", "Head 37",
          "head 304 to Other None []", "Idle"],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;x=y\r\nhello\r\n00\r\nT: 1\r\n\r\n",
        &["begin-0", "Head 53", "head 200 to Other Chunked []", "ChunkFraming 7", "Body 5", "ChunkFraming 6",
          "Trailers 8", "end", "Idle"],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc",
        &[
            "begin-0",
            "Head 53",
            "head 200 to Other Close [coding_not_chunked]",
            "Body 3",
            "UntilClose",
        ],
    );
    response(
        &[OTHER],
        b"HTTP/1.0 200 OK\r\n\r\nabc",
        &[
            "begin-0",
            "Head 19",
            "head 200 to Other Close []",
            "Body 3",
            "UntilClose",
        ],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\x81\x05hello",
        &[
            "begin-0",
            "Head 38",
            "head 101 to Other Tunnel []",
            "Ignored 7",
            "Opaque",
        ],
    );
    response(
        &[MethodKind::Connect],
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\x16\x03\x01",
        &[
            "begin-0",
            "Head 38",
            "head 200 to Connect Tunnel []",
            "Ignored 3",
            "Opaque",
        ],
    );
    response(
        &[MethodKind::Connect],
        b"HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nabc",
        &[
            "begin-0",
            "Head 38",
            "head 407 to Connect Length(3) []",
            "Body 3",
            "end",
            "Idle",
        ],
    );
}

#[test]
fn lengths() {
    let cases: &[(&str, &str)] = &[
        ("Content-Length: 3", "Length(3) []"),
        ("Content-Length:3", "Length(3) []"),
        ("Content-Length: \t3 \t", "Length(3) []"),
        ("CONTENT-LENGTH: 3", "Length(3) []"),
        ("Content-Length : 3", "Length(3) [space_before_colon]"),
        (
            "Content-Length: 3\r\nContent-Length: 3",
            "Length(3) [length_repeated]",
        ),
        ("Content-Length: 3, 3", "Length(3) [length_repeated]"),
        (
            "Content-Length: 3\r\nContent-Length: 4",
            "Unknown [length_conflict]",
        ),
        ("Content-Length: 3, 4", "Unknown [length_conflict]"),
        ("Content-Length: -3", "Unknown [length_invalid]"),
        ("Content-Length: +3", "Unknown [length_invalid]"),
        ("Content-Length:", "Unknown [length_invalid]"),
        ("Content-Length: 3 3", "Unknown [length_invalid]"),
        ("Content-Length: 0x3", "Unknown [length_invalid]"),
        (
            "Content-Length: 99999999999999999999999999",
            "Unknown [length_invalid]",
        ),
        ("Content-Length: 003", "Length(3) []"),
        ("Content-Length:\r\n 3", "Length(3) [obs_fold]"),
        (
            "Content-Length: 3\r\n 4",
            "Unknown [obs_fold,length_invalid]",
        ),
        ("X-Content-Length: 3", "Close []"),
        ("Content-Lengthy: 3", "Close []"),
        ("Content-Length2: 3", "Close []"),
        ("X: 1\r\n Content-Length: 3", "Close [obs_fold]"),
        ("Transfer-Encoding: chunked", "Chunked []"),
        ("Transfer-Encoding:chunked", "Chunked []"),
        ("transfer-encoding: CHUNKED ", "Chunked []"),
        (
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            "Chunked []",
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
            "Close [coding_not_chunked]",
        ),
        (
            "Transfer-Encoding: chunked;q=1",
            "Close [coding_not_chunked]",
        ),
        ("Transfer-Encoding: chunked,", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: chunkedx", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: xchunked", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: gzip,\r\n chunked", "Chunked [obs_fold]"),
        ("Transfer-Encoding: identity", "Close []"),
        (
            "Transfer-Encoding: Identity \r\nContent-Length: 3",
            "Length(3) []",
        ),
        (
            "Content-Length: 3\r\nTransfer-Encoding:\r\n identity",
            "Length(3) [obs_fold]",
        ),
        ("Transfer-Encoding: identity, chunked", "Chunked []"),
        (
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            "Chunked []",
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Chunked []",
        ),
        (
            "Transfer-Encoding: chunked, identity",
            "Close [coding_not_chunked]",
        ),
        (
            "Transfer-Encoding: identityx\r\nContent-Length: 3",
            "Close [coding_and_length,coding_not_chunked]",
        ),
        (
            "Transfer-Encoding: identit\r\nContent-Length: 3",
            "Close [coding_and_length,coding_not_chunked]",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Chunked [coding_and_length]",
        ),
        (
            "Content-Length: 3\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
            "Chunked [length_conflict,coding_and_length]",
        ),
        ("X: y\nContent-Length: 3", "Length(3) [bare_lf]"),
        ("X: y\rContent-Length: 3", "Close []"),
    ];
    for (fields, expected) in cases {
        let stream = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        let got = run(
            &mut Framer::new(),
            &mut requests(&[OTHER]),
            &[stream.as_bytes()],
        );
        let head = got
            .iter()
            .find_map(|l| l.strip_prefix("head 200 to Other "))
            .unwrap_or("none");
        assert_eq!(head, *expected, "{fields:?}: {got:?}");
    }
}

#[test]
fn start_lines() {
    let cases: &[(&[u8], &[&str])] = &[
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            &["begin-0", "Head 27", "head Other None []", "Idle"],
        ),
        (
            b"HEAD / HTTP/1.1\r\n\r\n",
            &["begin-0", "Head 19", "head Head None []", "Idle"],
        ),
        (
            b"CONNECT a:1 HTTP/1.1\r\n\r\n",
            &["begin-0", "Head 24", "head Connect None []", "Idle"],
        ),
        (
            b"HTTPX / HTTP/1.1\r\n\r\n",
            &["begin-0", "Head 20", "head Other None []", "Idle"],
        ),
        (
            b"H / HTTP/1.1\r\n\r\n",
            &["begin-0", "Head 16", "head Other None []", "Idle"],
        ),
        (
            b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            &[
                "Ignored 4",
                "begin-0",
                "Head 18",
                "head Other None [leading_crlf]",
                "Idle",
            ],
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab",
            &[
                "begin-0",
                "Head 38",
                "head Other Length(2) []",
                "Body 2",
                "end",
                "Idle",
            ],
        ),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nab",
            &[
                "begin-0",
                "Head 44",
                "head Other Unknown [coding_not_chunked]",
                "Ignored 2",
                "Unsure",
            ],
        ),
        (
            b"HTTP/1.1 200 OK\r\r\nContent-Length: 2\r\r\n\r\r\nab",
            &[
                "begin-0",
                "Head 41",
                "head 200 Length(2) []",
                "body-0",
                "Body 2",
                "end",
                "Idle",
            ],
        ),
        (
            b"GET / HTTP/1.1\r\nA: b\r\n\r\rC: d\r\n\r\n",
            &["begin-0", "Head 32", "head Other None []", "Idle"],
        ),
        (b"GET /\r\nxx", &["begin-0", "Head 9", "Head"]),
        (
            b"GET /\r\nxx y",
            &["begin-0", "Ignored 11", "not-http false", "Unsure"],
        ),
        (
            b"GET /\r\n\r\n",
            &["begin-0", "Ignored 9", "not-http false", "Unsure"],
        ),
        (
            b"GET / http/1.1\r\nHost: x\r\n\r\n",
            &[
                "begin-0",
                "Head 27",
                "head Other None [malformed_request]",
                "Idle",
            ],
        ),
        (
            b"get /\r\nHost: x\r\n\r\n",
            &["begin-0", "Ignored 18", "not-http false", "Unsure"],
        ),
        (
            b"GET /HTTP/1.1\nHost: x\n\n",
            &[
                "begin-0",
                "Head 23",
                "head Other None [bare_lf,malformed_request]",
                "Idle",
            ],
        ),
        (
            b"POST / HTTP/1.\r\nContent-Length: 2\r\n\r\nab",
            &[
                "begin-0",
                "Head 37",
                "head Other Length(2) [malformed_request]",
                "Body 2",
                "end",
                "Idle",
            ],
        ),
        (
            b"PUT / HTTP/2\r\nTransfer-Encodings: x\r\nTransfer-Encoding:  chunked\r\n\r\n0\r\n\r\n",
            &[
                "begin-0",
                "Head 68",
                "head Other Chunked [malformed_request]",
                "ChunkFraming 3",
                "Trailers 2",
                "end",
                "Idle",
            ],
        ),
        (
            b"PUT / HTTP/1.1\r\n\r\nPUT /2\r\nContent-Length-: 3\r\n\r\n",
            &[
                "begin-0",
                "Head 18",
                "head Other None []",
                "begin-0",
                "Head 30",
                "head Other None [malformed_request]",
                "Idle",
            ],
        ),
        (
            b"\x16\x03\x01",
            &["begin-0", "not-http false", "Ignored 3", "Unsure"],
        ),
        (
            b"HTTP/1.1 000 X\r\nContent-Length: 1\r\n\r\naGET",
            &[
                "begin-0",
                "Head 37",
                "head 0 Length(1) [bad_status]",
                "body-0",
                "Body 1",
                "end",
                "begin-0",
                "not-http true",
                "Ignored 3",
                "Unsure",
            ],
        ),
        (
            b"HTTP/1.1 1000 X\r\n\r\n",
            &["begin-0", "Head 19", "head 0 Close [bad_status]", "Peek"],
        ),
        (
            b"HTTP/2 200 OK\r\n\r\n",
            &["begin-0", "Ignored 17", "not-http false", "Unsure"],
        ),
    ];
    for (stream, expected) in cases {
        let mut got = run(&mut Framer::new(), &mut RequestQueue::new(), &[stream]);
        // Which bytes of a line that is none were taken before it was seen is of no interest.
        if got.iter().any(|l| l == "not-http false") {
            got = summarise(got);
            assert_eq!(
                got,
                summarise(expected.iter().map(ToString::to_string).collect()),
                "{}",
                stream.escape_ascii()
            );
            continue;
        }
        assert_eq!(got, *expected, "{}", stream.escape_ascii());
    }
}

#[test]
fn a_body_is_unbegun_until_its_first_byte() {
    let post = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, begun) in [(&post[..], &b"a"[..]), (chunked, b"2")] {
        let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
        run(&mut framer, &mut queue, &[head]);
        assert!(framer.is_body_unbegun());
        let mut refused = framer;
        refused.leave_out_body();
        let lines = run(&mut refused, &mut queue, &[b"GET / HTTP/1.1\r\n\r\n"]);
        assert_eq!(lines.last().map(String::as_str), Some("Idle"), "{lines:?}");
        assert!(!refused.is_body_unbegun());
        run(&mut framer, &mut queue, &[begun]);
        assert!(!framer.is_body_unbegun());
    }
    // Stepped over, it has begun as well; and a response's is never left out.
    let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
    run(&mut framer, &mut queue, &[post]);
    framer.skip(2);
    assert!(!framer.is_body_unbegun());
    let mut framer = Framer::new();
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    run(&mut framer, &mut requests(&[OTHER]), &[ok]);
    assert!(!framer.is_body_unbegun());
}

#[test]
fn lines_of_other_protocols_are_no_malformed_requests() {
    let fields = "CSeq: 1\r\n\r\n";
    for line in [
        "OPTIONS rtsp://x/ RTSP/1.0",
        "SUBSCRIBE sip:a@x SIP/2.0",
        "OPTIONS icap://x/ ICAP/1.0",
        "SOURCE /live ICE/1.0 ",
        "220 mail.example ESMTP",
        "set key 0 0 5",
        "* OK IMAP4rev1",
    ] {
        let stream = format!("{line}\r\n{fields}");
        let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
        let lines = run(&mut framer, &mut queue, &[stream.as_bytes()]);
        assert!(lines.iter().any(|l| l == "not-http false"), "{lines:?}");
    }
    // Where a request is not due, a malformed one is none.
    let line = "GET /\r\nHost: x\r\n\r\n";
    for mut queue in [RequestQueue::unknown(), requests(&[OTHER])] {
        let lines = run(&mut Framer::new(), &mut queue, &[line.as_bytes()]);
        assert!(lines.iter().any(|l| l == "not-http false"), "{lines:?}");
    }
    let mut framer = Framer::new();
    framer.restart();
    let lines = run(&mut framer, &mut RequestQueue::new(), &[line.as_bytes()]);
    assert!(lines.iter().any(|l| l == "not-http false"), "{lines:?}");
}

#[test]
fn proxy_protocol_headers() {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x12\x34\0\x50";
    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    for (preface, span) in [
        (&b"PROXY TCP4 10.0.0.1 10.0.0.2 4660 80\r\n"[..], "Head 38"),
        (b"PROXY UNKNOWN\r\n", "Head 15"),
        (V2, "Head 24"),
        // LOCAL, without addresses.
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "Head 12"),
    ] {
        let stream = [preface, GET].concat();
        for cut in 0..=stream.len() {
            let (first, second) = stream.split_at(cut);
            let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
            let mut lines = run(&mut framer, &mut queue, &[first, second]);
            lines.retain(|line| !line.starts_with("Ignored") && *line != "begin-0");
            let expected = [span, "preface", "Head 18", "head Other None []", "Idle"];
            assert_eq!(lines, expected, "{} at {cut}", preface.escape_ascii());
        }
    }
    for (stream, after) in [
        // Only before the first message, and only what begins as one.
        (
            &b"GET / HTTP/1.1\r\n\r\nPROXY TCP4 a b 1 2\r\n\r\n"[..],
            "not-http true",
        ),
        (b"PROXYTCP4 a b 1 2\r\n\r\n", "not-http false"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", "not-http false"),
        (b"\0\r\nQUIT\n\x21\x11\0\0", "not-http false"),
    ] {
        let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
        let lines = run(&mut framer, &mut queue, &[stream]);
        assert!(lines.iter().any(|line| line == after), "{lines:?}");
    }
}

fn summarise(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .filter(|l| !l.starts_with("Ignored") && !l.starts_with("Head "))
        .collect()
}

#[test]
fn unknown_requests_are_decided_by_the_next_thirteen_bytes() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n";
    let mut with_status_line = head.to_vec();
    with_status_line.extend_from_slice(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        run(
            &mut Framer::new(),
            &mut RequestQueue::unknown(),
            &[&with_status_line]
        ),
        [
            "begin-0",
            "Head 39",
            "head 200 Length(20) []",
            "Undecided 12",
            "begin-12",
            "Head 26",
            "head 404 Length(0) [resynchronised]",
            "Idle"
        ],
    );
    let mut with_body = head.to_vec();
    with_body.extend_from_slice(b"HTTP/1.1 is twenty b");
    assert_eq!(
        run(
            &mut Framer::new(),
            &mut RequestQueue::unknown(),
            &[&with_body]
        ),
        [
            "begin-0",
            "Head 39",
            "head 200 Length(20) []",
            "Undecided 9",
            "body-9",
            "Body 11",
            "end",
            "Idle"
        ],
    );
    let mut short_body = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nH".to_vec();
    short_body.extend_from_slice(b"HTTP/1.1 204 No\r\n\r\n");
    assert_eq!(
        run(
            &mut Framer::new(),
            &mut RequestQueue::unknown(),
            &[&short_body]
        ),
        [
            "begin-0",
            "Head 38",
            "head 200 Length(1) []",
            "Undecided 1",
            "body-1",
            "end",
            "begin-0",
            "Head 19",
            "head 204 None []",
            "Idle"
        ],
    );
}

#[test]
fn the_queue_forgets_nothing_up_to_its_capacity() {
    let mut queue = RequestQueue::new();
    let kinds = [MethodKind::Head, MethodKind::Other, MethodKind::Connect];
    (0..RequestQueue::CAPACITY).for_each(|i| queue.push(kinds[i as usize % 3]));
    for i in 0..RequestQueue::CAPACITY {
        assert_eq!(queue.pop(), Some(kinds[i as usize % 3]));
    }
    assert_eq!((queue.pop(), queue.is_unknown()), (None, false));
    (0..=RequestQueue::CAPACITY).for_each(|_| queue.push(MethodKind::Head));
    assert!(queue.is_unknown());
    assert_eq!(queue.pop(), None);
}

#[test]
fn skipping_equals_looking() {
    let stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    let (mut framer, mut queue) = (Framer::new(), requests(&[OTHER, OTHER]));
    let (mut rest, mut skipped, mut ends) = (&stream[..], 0, 0);
    while !rest.is_empty() {
        let n = framer.skippable().min(rest.len() as u64);
        let (taken, event) = if n > 0 {
            skipped += n;
            (n as usize, framer.skip(n))
        } else {
            let step = framer.step(&mut queue, rest);
            (step.taken as usize, step.event)
        };
        ends += usize::from(event == Some(Event::MessageEnds));
        rest = &rest[taken..];
    }
    assert_eq!((skipped, ends, framer.phase()), (9, 2, Phase::Idle));
}

/// Fragments that make streams in which much happens.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        Just(b"HTTP/1.1 200 OK\r\n".to_vec()),
        Just(b"HTTP/1.0 404\n".to_vec()),
        Just(b"HTTP/1.1 1x0 \r\n".to_vec()),
        Just(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(b"HEAD /a%20b c HTTP/1.1 \r\n".to_vec()),
        Just(b"CONNECT x:1 HTTP/1.1\r\n".to_vec()),
        Just(b"GET /0.9\r\n".to_vec()),
        Just(b"HEAD /HTTP/1.1\nHost: x\n\n".to_vec()),
        Just(b"OPTIONS rtsp://x RTSP/1.0\r\nCSeq: 1\r\n".to_vec()),
        Just(b"PROXY TCP4 a b 1 2\r\n".to_vec()),
        "[A-Z]{1,10} [A-Za-z/.0-9 ]{0,20}( [HR]?TT?S?P/[0-9][.][0-9]?)? ?\r?\n[CTHct][a-z-]{0,16}:?( 3)?\r?\n?"
            .prop_map(String::into_bytes),
        "(POST|HEAD) (/|/ HTTP/1[.]|HTTP/1[.]1)\r\n(Content-Length|Content-Lengt|Transfer-Encoding| X):? ?(3|chunked)\r\n"
            .prop_map(String::into_bytes),
        Just(b"Content-Length: 3\r\n".to_vec()),
        Just(b"content-length : 30 \n".to_vec()),
        Just(b"Content-Length: 4, 4\r\n".to_vec()),
        Just(b"Content-Type: text/html; charset=utf-8\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"TRANSFER-ENCODING: gzip, CHUNKED\r\n".to_vec()),
        Just(b"Transfer-Encoding:\r\n chunked\r\n".to_vec()),
        Just(b"Trailer: x\r\n".to_vec()),
        Just(b"X: ".to_vec()),
        Just(b" folded\r\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"3\r\nabc\r\n".to_vec()),
        Just(b"1a;ext=1\r\nabcdefghijklmnopqrstuvwxyz\r\n".to_vec()),
        Just(b"0\r\n\r\n".to_vec()),
        Just(b"0\r\nT: v\r\n\r\n".to_vec()),
        "[ -~]{0,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20),
        (1usize..600).prop_map(|n| vec![b'a'; n]),
        Just(b" HTTP/1.1".to_vec()),
    ];
    proptest::collection::vec(fragment, 0..24).prop_map(|v| v.concat())
}

fn queue() -> impl Strategy<Value = RequestQueue> {
    let kind = prop_oneof![
        Just(MethodKind::Other),
        Just(MethodKind::Head),
        Just(MethodKind::Connect)
    ];
    proptest::option::of(proptest::collection::vec(kind, 0..6))
        .prop_map(|kinds| kinds.map_or(RequestQueue::unknown(), |k| requests(&k)))
}

/// `not-http` may be seen after more or fewer bytes of the bad line; nothing else may differ.
fn comparable(lines: Vec<String>) -> Vec<String> {
    let Some(at) = lines.iter().position(|l| l.starts_with("not-http")) else {
        return lines;
    };
    let mut out = lines[..at].to_vec();
    while out
        .last()
        .is_some_and(|l| l.starts_with("Head ") || l.starts_with("Ignored"))
    {
        out.pop();
    }
    out.push(lines[at].clone());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn cutting_anywhere_changes_nothing(stream in stream(), queue in queue(), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let mut at: Vec<usize> = cuts.iter().map(|i| i.index(stream.len() + 1)).collect();
        at.push(0);
        at.push(stream.len());
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        let (mut a, mut b, mut c) = (queue, queue, queue);
        let whole = comparable(run(&mut Framer::new(), &mut a, &[&stream]));
        prop_assert_eq!(&comparable(run(&mut Framer::new(), &mut b, &pieces)), &whole);
        prop_assert_eq!(&comparable(run(&mut Framer::new(), &mut c, &bytes)), &whole);
        prop_assert_eq!((a, a), (b, c));
    }

    #[test]
    fn any_bytes_end(stream in proptest::collection::vec(any::<u8>(), 0..2000), queue in queue()) {
        let mut queue = queue;
        run(&mut Framer::new(), &mut queue, &[&stream]);
    }
}
