//! A segment is missing, cut or late: the exchanges that it does not belong to are told as they were, with the filter and
//! without.

use http_trace_engine::host_filter::Faults;
use http_trace_model::event::HttpEvent;
use http_trace_tests::judged::{cut, filtered, plain, responses};
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{Path, Segment, frames};
use http_trace_tests::wire::{ANSWER, Wire, get, told};

/// Programs that take a 103 for the answer ask again before they have it. When one segment of theirs is lost, a response
/// has the request that it answers, or none.
#[test]
fn a_client_asks_again_when_it_has_a_hint() {
    const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    // Now and then, and once it has waited a few times.
    for asks_early in [|n| n % 3 == 1, |n| n > 3] {
        let mut wire = Wire::open();
        for n in 0..8 {
            if n == 0 {
                wire.send(Side::Client, &get(n));
            }
            wire.send(Side::Server, HINT);
            // The next request, and what answers the one before.
            let early: bool = asks_early(n);
            if early {
                wire.send(Side::Client, &get(n + 1));
            }
            wire.send(
                Side::Server,
                format!("HTTP/1.1 {} OK\r\nContent-Length: 1\r\n\r\na", 210 + n).as_bytes(),
            );
            if !early {
                wire.send(Side::Client, &get(n + 1));
            }
        }
        let told = |seen: &[Segment]| {
            let frames = frames(&Path::v4(40_000), seen);
            [plain(&frames), filtered(&frames, Faults::default()).0].map(|judged| {
                let events = responses(&judged).into_iter();
                let pairs = events.filter_map(|event| {
                    let status =
                        event.response.as_ref().map(|head| head.status).filter(|s| *s >= 210)?;
                    let target = event.request.as_ref().map(|head| head.target.to_vec());
                    Some((status, target, event.flags.contains(&"request_assumed")))
                });
                pairs.collect::<Vec<_>>()
            })
        };
        let right = |status: u16| format!("/{}", status - 210).into_bytes();
        for all in told(&wire.seen) {
            assert_eq!(all.len(), 8);
            assert!(
                all.iter().all(|(status, target, _)| *target == Some(right(*status))),
                "{all:?}"
            );
        }
        for lost in 3..wire.seen.len() {
            let mut seen = wire.seen.clone();
            seen.remove(lost);
            for pairs in told(&seen) {
                for (status, target, is_assumed) in &pairs {
                    let fits = target.as_ref().is_none_or(|target| *target == right(*status));
                    assert!(fits || *is_assumed, "without segment {lost}: {pairs:?}");
                }
            }
        }
    }
}

/// A client that waits for the final response after each 103: a lost segment of the server costs its own exchange.
#[test]
fn a_patient_client_loses_one_hint() {
    const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    let mut wire = Wire::open();
    for n in 0..12 {
        wire.send(Side::Client, &get(n));
        wire.send(Side::Server, HINT);
        wire.send(Side::Server, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
    }
    // Behind the handshake; the last exchange has none after it.
    for lost in 3..wire.seen.len() - 3 {
        if wire.seen[lost].from == Side::Client {
            continue;
        }
        let mut seen = wire.seen.clone();
        seen.remove(lost);
        let frames = frames(&Path::v4(40_000), &seen);
        for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
            let events = responses(&judged).into_iter();
            let told_of: Vec<_> = events.filter(|event| event.request.is_some()).collect();
            let is_final = |e: &&&HttpEvent| e.response.as_ref().is_some_and(|r| r.status == 200);
            let paired = told_of.iter().filter(is_final).count();
            // The first ones show how the client works.
            let least = if lost < 3 + 3 * 2 { 10 } else { 11 };
            assert!(paired >= least, "without segment {lost}: {:?}", told(&judged));
            let untold = 12 - told_of.len() as u64;
            assert_eq!(judged.stats.requests_unmatched, untold, "segment {lost}");
        }
    }
}

/// A client that sends head and body apart, whose body overtakes the head: the server had received both when it
/// answered.
#[test]
fn a_body_overtakes_its_head() {
    for length in [1_usize, 10, 1_000] {
        let mut wire = Wire::open();
        let head = format!("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        wire.push(Side::Client, head.as_bytes(), |_| {});
        wire.push(Side::Client, &vec![b'x'; length], |_| {});
        let last = wire.seen.len() - 1;
        wire.seen.swap(last - 1, last);
        wire.send(Side::Server, ANSWER);
        wire.exchange(1);
        for (filter, judged) in wire.judged() {
            let events = responses(&judged);
            assert_eq!(events.len(), 2, "{filter}, {length}");
            assert_eq!(events[0].request_body_bytes, Some(length as u64), "{filter}");
            assert!(events[0].flags.is_empty(), "{filter}, {length}: {:?}", events[0].flags);
        }
    }
}

/// The last chunk of an upload is not seen, and the server answers: nobody knows how long it was.
#[test]
fn the_end_of_an_upload_is_lost() {
    let mut wire = Wire::open();
    let head = b"POST /0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    wire.send(Side::Client, head);
    let lost = wire.seen.len();
    wire.send(Side::Client, b"2\r\nbb\r\n0\r\n\r\n");
    let next = wire.seen.len() - lost;
    wire.send(Side::Server, ANSWER);
    wire.exchange(1);
    wire.seen.drain(lost..lost + next);
    for (filter, judged) in wire.judged() {
        let events = responses(&judged);
        assert_eq!(events[0].request_body_bytes, None, "{filter}");
        assert!(events[0].flags.is_empty(), "{filter}: {:?}", events[0].flags);
    }
}

/// A client closes amid its chunks, and the server answers what it has: nothing was lost.
#[test]
fn an_upload_is_broken_off() {
    let mut wire = Wire::open();
    let head = b"POST /0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    wire.push(Side::Client, head, |segment| segment.fin = true);
    wire.send(Side::Server, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    for (filter, judged) in wire.judged() {
        assert_eq!(responses(&judged)[0].flags, ["request_unfinished"], "{filter}");
    }
}

/// Of a batch, a snap length leaves a whole HEAD and the beginning of the next request: each answer ends as it should.
#[test]
fn a_batch_is_cut_behind_head() {
    let mut wire = Wire::open();
    let batch = ["HEAD /0", "GET /1", "GET /2", "GET /3"];
    let batch =
        batch.map(|line| format!("{line} HTTP/1.1\r\nUser-Agent: {}\r\n\r\n", "a".repeat(99)));
    wire.send(Side::Client, batch.concat().as_bytes());
    for length in [9, 0, 0, 0] {
        let answer = format!("HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: {length}\r\n\r\n");
        wire.send(Side::Server, answer.as_bytes());
    }
    let frames = frames(&Path::v4(40_000), &wire.seen);
    let judged = cut(&frames, frames[0].1.len() + batch[0].len() + 20);
    assert_eq!(told(&judged), ["200 /0", "200 /1", "200 -", "200 -"]);
    assert!(responses(&judged).iter().all(|event| event.complete));
}

/// A client that sends sixteen requests at once, again and again: a lost response costs at most the batch that it was in,
/// though the next ones were all seen before it was given up.
#[test]
fn a_batch_loses_a_response() {
    const BATCH: usize = 16;
    let mut wire = Wire::open();
    for batch in 0..60 {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        wire.push(Side::Client, &numbers.clone().flat_map(get).collect::<Vec<_>>(), |_| {});
        for n in numbers {
            let answer = format!("HTTP/1.1 200 OK\r\nNumber: {n}\r\nContent-Length: 1\r\n\r\na");
            wire.push(Side::Server, answer.as_bytes(), |_| {});
        }
    }
    let answers: Vec<usize> =
        (3..wire.seen.len()).filter(|&at| wire.seen[at].from == Side::Server).collect();
    for lost in [answers[20 * BATCH], answers[20 * BATCH + 7], answers[21 * BATCH - 1]] {
        let segment = wire.seen.remove(lost);
        for (filter, judged) in wire.judged() {
            let events = responses(&judged);
            assert!(events.len() >= 59 * BATCH, "{filter}: {}", events.len());
            for event in events {
                let number = event.response.as_ref().and_then(|head| head.headers.first("number"));
                let asked = event.request.as_ref().map(|head| head.target[1..].to_vec());
                assert!(
                    asked.is_none_or(|asked| Some(&asked[..]) == number),
                    "{filter}: {number:?}"
                );
            }
        }
        wire.seen.insert(lost, segment);
    }
}

/// A capture ends in an upload: how much of it came is told only where all of it was read.
#[test]
fn a_capture_ends_in_an_upload() {
    let mut wire = Wire::open();
    wire.exchange(0);
    wire.send(Side::Client, b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n");
    for _ in 0..4 {
        wire.send(Side::Client, &[b'x'; 1_000]);
    }
    for ((filter, judged), seen) in wire.judged().into_iter().zip([Some(4_000), None]) {
        let events: Vec<_> = judged.events.iter().collect();
        assert_eq!(events[1].request_body_bytes, seen, "{filter}");
    }
}
