//! Part of a connection was missed, reordered or unsolicited: later exchanges that are acknowledged and not
//! pipelined pair again, with the filter and without.

use http_trace_engine::host_filter::Faults;
use http_trace_tests::judged::{Judged, cut, filtered, plain, responses};
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{Path, Segment, frames};

const SECOND: u64 = 1_000_000_000;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn get(n: usize) -> Vec<u8> {
    format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n").into_bytes()
}

/// Segments of successive connections on the same tuple.
struct Wire {
    seen: Vec<Segment>,
    next: [u32; 2],
    now_ns: u64,
}

impl Wire {
    fn open() -> Self {
        let mut wire =
            Wire { seen: Vec::new(), next: [1_000, 5_000_000], now_ns: 1_700_000_000 * SECOND };
        wire.handshake();
        wire
    }

    fn handshake(&mut self) {
        self.push(Side::Client, b"", |s| (s.syn, s.ack) = (true, 0));
        self.push(Side::Server, b"", |s| s.syn = true);
        self.push(Side::Client, b"", |_| {});
    }

    /// The client resets the connection, or both ends close it.
    fn close(&mut self, reset: bool) {
        if reset {
            return self.push(Side::Client, b"", |s| s.rst = true);
        }
        self.push(Side::Client, b"", |s| s.fin = true);
        self.push(Side::Server, b"", |s| s.fin = true);
        self.push(Side::Client, b"", |_| {});
    }

    fn push(&mut self, from: Side, payload: &[u8], change: impl FnOnce(&mut Segment)) {
        self.now_ns += 1_000_000;
        let mut segment = Segment {
            time_ns: self.now_ns,
            ack: self.next[from.peer().index()],
            ..Segment::new(from, self.next[from.index()], payload)
        };
        change(&mut segment);
        let taken = payload.len() as u32 + u32::from(segment.syn) + u32::from(segment.fin);
        let next = &mut self.next[from.index()];
        *next = next.wrapping_add(taken);
        self.seen.push(segment);
    }

    /// One end sends this, and the other acknowledges it.
    fn send(&mut self, from: Side, payload: &[u8]) {
        self.push(from, payload, |_| {});
        self.push(from.peer(), b"", |_| {});
    }

    fn exchange(&mut self, n: usize) {
        self.send(Side::Client, &get(n));
        self.send(Side::Server, ANSWER);
    }

    fn judged(&self) -> [(&'static str, Judged); 2] {
        let frames = frames(&Path::v4(40_000), &self.seen);
        [("plain", plain(&frames)), ("filtered", filtered(&frames, Faults::default()).0)]
    }
}

/// The status of each response and the target of its request.
fn told(judged: &Judged) -> Vec<String> {
    let line = |event: &&http_trace_model::event::HttpEvent| {
        let status = event.response.as_ref().map_or(0, |r| r.status);
        let target = event.request.as_ref().map(|r| r.target.escape_ascii().to_string());
        format!("{status} {}", target.unwrap_or("-".into()))
    };
    responses(judged).iter().map(line).collect()
}

#[test]
fn a_tuple_is_used_again_and_again() {
    for cut in 0..4 {
        for reset in [true, false] {
            let mut wire = Wire::open();
            for n in 0..20 {
                if n > 0 {
                    // As close to the previous one as stacks choose it.
                    wire.next = wire.next.map(|next| next.wrapping_add(40_000));
                    wire.now_ns += SECOND / 50;
                    wire.handshake();
                }
                wire.exchange(n);
                wire.close(reset);
            }
            // SYN; its SYN-ACK; the ACK; the request.
            let missed: &[usize] = [&[0, 2, 3][..], &[0, 1, 2, 3], &[3], &[0]][cut];
            let mut n = 0;
            wire.seen.retain(|_| {
                n += 1;
                !missed.contains(&(n - 1))
            });
            let expected: Vec<_> = (1..20).map(|n| format!("200 /{n}")).collect();
            for (mode, judged) in wire.judged() {
                let told = told(&judged);
                assert_eq!(told.len(), 20, "{mode} {cut} {reset}: {told:?}");
                assert_eq!(told[1..], expected, "{mode} {cut} {reset}");
                assert!(judged.stats.hole_bytes <= 36, "{mode} {:?}", judged.stats);
            }
        }
    }
}

/// The request before has no answer: that of the next is not its.
#[test]
fn a_server_that_always_begins_at_one_number_answers_the_request_that_it_has() {
    for end in 0..4 {
        for pause_ns in [SECOND / 3, 2 * SECOND, 20 * SECOND] {
            let mut wire = Wire::open();
            wire.send(Side::Client, &get(0));
            match end {
                0 => {}
                1 => wire.push(Side::Client, b"", |s| s.fin = true),
                2 => wire.push(Side::Server, b"", |s| s.fin = true),
                _ => wire.close(false),
            }
            wire.next = [2_000_000_000, 5_000_000];
            wire.now_ns += pause_ns;
            wire.handshake();
            wire.exchange(1);
            wire.close(false);
            for (mode, judged) in wire.judged() {
                assert_eq!(told(&judged), ["200 /1"], "{mode} {end} {pause_ns}");
            }
        }
    }
}

/// They may count from 0, have no handshake, or acknowledge 0.
#[test]
fn packets_that_were_made_by_hand_pair() {
    let starts = [[0, 0], [1, 1], [1_000, 0], [0, 1_000], [u32::MAX, 0], [0, u32::MAX], [7, 9]];
    let ways = [false, true].into_iter().flat_map(|a| [(a, false), (a, true)]);
    for ((handshake, acks), next) in ways.flat_map(|way| starts.map(|next| (way, next))) {
        if handshake && !acks && next.contains(&u32::MAX) {
            // The stream does begin at 0.
            continue;
        }
        for count in [1, 3] {
            let mut wire = Wire { seen: Vec::new(), next, now_ns: 1_700_000_000 * SECOND };
            if handshake {
                wire.handshake();
            }
            for n in 0..count {
                wire.push(Side::Client, &get(n), |_| {});
                wire.push(Side::Server, ANSWER, |_| {});
            }
            let seen = wire.seen.iter_mut().skip(if handshake { 3 } else { 0 });
            seen.filter(|_| !acks).for_each(|segment| segment.ack = 0);
            let expected: Vec<_> = (0..count).map(|n| format!("200 /{n}")).collect();
            for (mode, judged) in wire.judged() {
                assert_eq!(told(&judged), expected, "{mode} {handshake} {acks} {next:?}");
            }
        }
    }
}

/// Only the acknowledgement of its SYN-ACK tells it from the one before.
#[test]
fn a_connection_begins_exactly_where_its_client_ended() {
    for (open, handshake) in [0, 1, 2].into_iter().flat_map(|n| [(n, true), (n, false)]) {
        let mut wire = Wire::open();
        wire.exchange(0);
        if open == 0 {
            wire.push(Side::Client, b"", |s| s.fin = true);
            wire.push(Side::Server, b"", |s| s.fin = true);
            wire.next[0] -= 1;
        } else if open == 1 {
            wire.push(Side::Client, b"", |s| s.rst = true);
        }
        wire.next = [wire.next[0].wrapping_sub(1), wire.next[1].wrapping_add(900_000)];
        wire.now_ns += SECOND;
        if handshake {
            wire.handshake();
        } else {
            // The acknowledgement of the SYN-ACK is lost.
            wire.push(Side::Client, b"", |s| (s.syn, s.ack) = (true, 0));
            wire.push(Side::Server, b"", |s| s.syn = true);
        }
        wire.exchange(1);
        for (mode, judged) in wire.judged() {
            assert_eq!(told(&judged), ["200 /0", "200 /1"], "{mode} {open} {handshake}");
        }
    }
}

#[test]
fn the_halves_of_the_first_request_are_swapped() {
    for (half, reset) in [1, 5, 16, 20, 30].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let mut wire = Wire::open();
        for n in 0..8 {
            wire.exchange(n);
        }
        if reset {
            wire.push(Side::Client, b"", |s| s.rst = true);
            wire.next = wire.next.map(|next| next.wrapping_add(40_000));
            wire.now_ns += 2 * SECOND;
            wire.handshake();
            wire.exchange(8);
        }
        let first = wire.seen.iter().position(|s| !s.payload.is_empty());
        let first = first.expect("it asks");
        let mut second = wire.seen[first].clone();
        second.payload = wire.seen[first].payload.split_off(half);
        second.seq = second.seq.wrapping_add(half as u32);
        wire.seen.insert(first, second);
        let expected: Vec<_> = (0..8 + usize::from(reset)).map(|n| format!("200 /{n}")).collect();
        for (mode, judged) in wire.judged() {
            let told = told(&judged);
            // The filter drops a segment that begins no message.
            let open = usize::from(mode == "filtered");
            assert_eq!(told.len(), expected.len(), "{mode} {half} {reset}: {told:?}");
            assert_eq!(told[open..], expected[open..], "{mode} {half} {reset}");
        }
    }
}

#[test]
fn a_response_comes_that_nobody_asked_for() {
    for together in [true, false] {
        let mut wire = Wire::open();
        wire.exchange(0);
        let spare = b"HTTP/1.1 201 X\r\nContent-Length: 2\r\n\r\nhi";
        if together {
            wire.send(Side::Client, &get(1));
            wire.send(Side::Server, &[ANSWER, spare].concat());
        } else {
            wire.exchange(1);
            wire.send(Side::Server, spare);
        }
        for n in 2..8 {
            wire.exchange(n);
        }
        let mut expected: Vec<_> = (0..8).map(|n| format!("200 /{n}")).collect();
        expected.insert(2, "201 -".into());
        for (mode, judged) in wire.judged() {
            assert_eq!(told(&judged), expected, "{mode} {together}");
        }
    }
}

#[test]
fn a_copy_after_the_close_is_none() {
    for (wait_s, reset) in [(1, true), (59, true), (117, true), (117, false), (600, true)] {
        let mut wire = Wire::open();
        wire.exchange(0);
        let answer = wire.seen.iter().rfind(|s| !s.payload.is_empty());
        let mut copy = answer.expect("it answers").clone();
        if reset {
            wire.push(Side::Client, b"", |s| s.rst = true);
        } else {
            wire.push(Side::Client, b"", |s| s.fin = true);
            wire.push(Side::Server, b"", |s| s.fin = true);
        }
        copy.time_ns = wire.now_ns + wait_s * SECOND;
        wire.seen.push(copy);
        for (mode, judged) in wire.judged() {
            assert_eq!(told(&judged), ["200 /0"], "{mode} {wait_s} {reset}");
        }
    }
}

/// The next connection's ACKs, of either end, overtake the bytes that they follow or acknowledge.
#[test]
fn acknowledgements_overtake_the_first_bytes_after_a_reset_response() {
    for server in [false, true] {
        let mut wire = Wire::open();
        wire.send(Side::Client, &get(0));
        wire.push(Side::Server, &ANSWER[..ANSWER.len() - 2], |_| {});
        wire.push(Side::Client, b"", |s| s.rst = true);
        wire.next = wire.next.map(|next| next.wrapping_add(2_000_000));
        wire.handshake();
        let ahead = get(1).len() as u32;
        if server {
            wire.push(Side::Server, b"", |s| s.ack += ahead);
        } else {
            wire.push(Side::Client, b"", |s| s.seq += ahead);
        }
        wire.exchange(1);
        for (mode, judged) in wire.judged() {
            assert_eq!(told(&judged), ["200 /0", "200 /1"], "{mode} {server}");
            assert_eq!(judged.stats.hole_bytes, 0, "{mode} {server}");
        }
    }
}

/// Some devices and tools begin each connection of a port at the same sequence number; the server does not.
#[test]
fn a_client_that_always_begins_at_one_number_has_every_exchange() {
    for (reset, answered) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut wire = Wire::open();
        for n in 0..3 {
            match answered || n > 0 {
                true => wire.exchange(n),
                false => {
                    wire.send(Side::Client, &get(0));
                }
            }
            wire.close(reset);
            wire.next = [1_000, wire.next[1].wrapping_add(70_000_000)];
            wire.handshake();
        }
        for (mode, judged) in wire.judged() {
            let first = ["200 /0"].into_iter().filter(|_| answered);
            let expected: Vec<&str> = first.chain(["200 /1", "200 /2"]).collect();
            assert_eq!(told(&judged), expected, "{mode} {reset} {answered}");
            assert_eq!(judged.events.len(), 3, "{mode} {reset} {answered}");
            assert_eq!(judged.stats.hole_bytes, 0, "{mode} {reset} {answered}");
        }
    }
}

/// The rest of a request was not seen; the server has it, and answers.
#[test]
fn an_answer_after_a_reset_acknowledges_more_than_was_seen() {
    let mut wire = Wire::open();
    wire.send(Side::Client, &get(0)[..20]);
    wire.push(Side::Client, b"", |s| s.rst = true);
    wire.push(Side::Server, ANSWER, |s| s.ack += 383);
    for (mode, judged) in wire.judged() {
        assert_eq!(judged.stats.hole_bytes, 383, "{mode}");
    }
}

/// The server takes the copy of the SYN for a new connection, and answers it.
#[test]
fn a_copy_of_syn_and_request_after_the_close_is_none() {
    for reset in [true, false] {
        let mut wire = Wire::open();
        wire.exchange(0);
        let [syn, request] = [0, 3].map(|n| wire.seen[n].clone());
        if reset {
            wire.push(Side::Client, b"", |s| s.rst = true);
        } else {
            wire.push(Side::Client, b"", |s| s.fin = true);
            wire.push(Side::Server, b"", |s| s.fin = true);
        }
        let (acked, first) = (syn.seq.wrapping_add(1), request.ack);
        wire.push(Side::Client, b"", |s| *s = Segment { time_ns: s.time_ns, ..syn });
        wire.push(Side::Server, b"", |s| (s.syn, s.seq, s.ack) = (true, s.seq + 90_000, acked));
        wire.push(Side::Client, b"", |s| *s = Segment { time_ns: s.time_ns, ..request });
        wire.push(Side::Server, b"", |s| (s.rst, s.seq) = (true, first));
        wire.push(Side::Client, b"", |s| (s.rst, s.seq) = (true, acked));
        for (mode, judged) in wire.judged() {
            assert_eq!(told(&judged), ["200 /0"], "{mode} {reset}");
            assert_eq!(judged.events.len(), 1, "{mode} {reset}");
        }
    }
}

/// Whoever answers a SYN first, with a forged RST and FIN, does not begin another connection.
#[test]
fn a_connection_that_a_forger_refuses_first_is_one() {
    let mut wire = Wire::open();
    wire.exchange(0);
    let asked = wire.seen[1].ack;
    let forged = |rst| Segment { rst, fin: !rst, ack: asked, ..Segment::new(Side::Server, 0, b"") };
    for (at, rst) in [(1, true), (2, false)] {
        let time_ns = wire.seen[0].time_ns + at as u64;
        wire.seen.insert(at, Segment { time_ns, ..forged(rst) });
    }
    let time_ns = wire.seen[0].time_ns + 3;
    let answer = Segment { rst: true, time_ns, ..Segment::new(Side::Client, asked, b"") };
    wire.seen.insert(3, answer);
    for (mode, judged) in wire.judged() {
        assert_eq!(told(&judged), ["200 /0"], "{mode}");
        assert_eq!(judged.events[0].connection, 1, "{mode}");
    }
}

#[test]
fn a_refusal_crosses_the_reset_of_half_a_request() {
    for len in [3, 10, 20, 31] {
        let mut wire = Wire::open();
        wire.push(Side::Client, &get(0)[..len.min(get(0).len())], |_| {});
        wire.push(Side::Client, b"", |s| s.rst = true);
        let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello";
        wire.push(Side::Server, refusal, |s| s.ack = s.ack.wrapping_add(400));
        for (mode, judged) in wire.judged() {
            assert_eq!(told(&judged), ["403 -"], "{mode} {len}");
        }
    }
}

/// Programs that take a 103 for the answer ask again before they have it. When one segment of theirs is lost, a response
/// has the request that it answers, or none.
#[test]
fn a_client_asks_again_when_it_has_a_hint() {
    const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    let mut wire = Wire::open();
    for n in 0..8 {
        if n == 0 {
            wire.send(Side::Client, &get(n));
        }
        wire.send(Side::Server, HINT);
        // The next request, now and then, and what answers the one before.
        let early = n % 3 == 1;
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
        assert!(all.iter().all(|(status, target, _)| *target == Some(right(*status))), "{all:?}");
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
            let finals = events.filter(|e| e.response.as_ref().is_some_and(|r| r.status == 200));
            let paired = finals.filter(|event| event.request.is_some()).count();
            // The first ones show how the client works.
            let least = if lost < 3 + 3 * 2 { 10 } else { 11 };
            assert!(paired >= least, "without segment {lost}: {:?}", told(&judged));
            assert_eq!(judged.stats.requests_unmatched, 12 - paired as u64, "segment {lost}");
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

/// A request that meets the server's FIN is given up no sooner than it was sent.
#[test]
fn a_request_meets_the_close() {
    let mut wire = Wire::open();
    wire.exchange(0);
    wire.push(Side::Server, b"", |s| s.fin = true);
    wire.next[1] -= 1;
    wire.push(Side::Client, &get(1), |_| {});
    wire.next[1] += 1;
    wire.push(Side::Server, b"", |s| (s.rst, s.ack) = (true, 0));
    for (filter, judged) in wire.judged() {
        let events = &judged.events;
        assert_eq!(events.len(), 2, "{filter}");
        assert!(events[1].no_response.is_some(), "{filter}");
        assert!(events[1].end_ns() >= events[1].request_start_ns, "{filter}");
    }
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
