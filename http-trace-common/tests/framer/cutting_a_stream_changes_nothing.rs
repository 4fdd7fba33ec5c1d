//! Spans and events are the same wherever a stream is cut, and when bodies are skipped.

use http_trace_common::framer::{Event, Framer, MethodKind, Phase, RequestQueue};
use proptest::prelude::*;

use crate::{OTHER, requests, run};

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
    let kind =
        prop_oneof![Just(MethodKind::Other), Just(MethodKind::Head), Just(MethodKind::Connect)];
    proptest::option::of(proptest::collection::vec(kind, 0..6))
        .prop_map(|kinds| kinds.map_or(RequestQueue::unknown(), |k| requests(&k)))
}

/// `not-http` may be seen after more or fewer bytes of the bad line; nothing else may differ.
fn comparable(lines: Vec<String>) -> Vec<String> {
    let Some(at) = lines.iter().position(|l| l.starts_with("not-http")) else {
        return lines;
    };
    let mut out = lines[..at].to_vec();
    while out.last().is_some_and(|l| l.starts_with("Head ") || l.starts_with("Ignored")) {
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
