//! Part of a connection was missed, reordered or unsolicited: later exchanges that are acknowledged and not
//! pipelined pair again, with the filter and without.

use http_trace_tests::judged::responses;
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::Segment;
use http_trace_tests::wire::{ANSWER, SECOND, Wire, get, told};

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

/// Starman sends the body of its answer to HEAD, too. Clients read up to the next status line, and go on.
#[test]
fn a_server_sends_a_body_to_head() {
    let head = |n: usize, fields: &str| format!("HTTP/1.1 {} OK\r\n{fields}\r\n", 210 + n);
    for fields in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", ""] {
        let mut wire = Wire::open();
        for n in 0..12 {
            let is_head = n % 3 == 2;
            let asked = if is_head { "HEAD" } else { "GET" };
            wire.send(Side::Client, format!("{asked} /{n} HTTP/1.1\r\n\r\n").as_bytes());
            if is_head {
                wire.send(Side::Server, head(n, fields).as_bytes());
                wire.send(Side::Server, b"hello");
            } else {
                let answer = head(n, "Content-Length: 5\r\n");
                wire.send(Side::Server, format!("{answer}hello").as_bytes());
            }
        }
        let right: Vec<_> = (0..12).map(|n| format!("{} /{n}", 210 + n)).collect();
        for (how, judged) in wire.judged() {
            assert_eq!(told(&judged), right, "{how} {fields:?}");
            let sizes = responses(&judged).into_iter().map(|event| event.body_bytes);
            let right = (0..12).map(|n| Some(if n % 3 == 2 { 0 } else { 5 }));
            assert_eq!(sizes.collect::<Vec<_>>(), right.collect::<Vec<_>>(), "{how} {fields:?}");
        }
    }
}
