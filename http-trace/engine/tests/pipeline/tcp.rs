//! Segments: order, copies, overlaps, gaps, wrap-around, tuple reuse, forgeries.

use crate::talk::{MS, Side, Talk, check, get, ok};
use http_trace_common::record::flag;

pub const TWO: [&str; 2] = ["GET /1 -> 200 OK 5 Length", "GET /2 -> 200 OK 2 Length"];

#[test]
fn order_and_copies_change_nothing() {
    let (one, two) = (get("/1"), get("/2"));
    let answer = ok("hello");
    let (head, body) = answer.split_at(20);
    let talk = Talk::open().c(&one).s(head).s(body).early(1).c(&two).s(&ok("ab"));
    check("response out of order", &talk, &TWO);
    let talk = Talk::open().c(&one).s(&answer).early(1).c(&two).s(&ok("ab"));
    check("request after its response", &talk, &TWO);
    let talk = Talk::open().c(&one).s(&answer).c(&two).s(&ok("ab")).early(1);
    check("second request after its response", &talk, &TWO);
    let talk = Talk::open().c(&one).again().s(&answer).again().c(&two).again().s(&ok("ab")).again();
    check("every segment twice", &talk, &TWO);
    let (first, second) = one.split_at(9);
    let talk =
        Talk::open().c(first).c(second).early(1).s(head).s(body).early(1).c(&two).s(&ok("ab"));
    check("both out of order", &talk, &TWO);
}

/// A retransmission counts whether or not the response waits for its request when it comes.
#[test]
fn copies_of_what_waits_are_counted() {
    let answer = ok("hello");
    let (most, rest) = answer.split_at(answer.len() - 2);
    let copied = ["GET /1 -> 200 OK 5 Length copies 2"];
    check("in order", &Talk::open().c(&get("/1")).s(most).again().again().s(rest), &copied);
    let mut talk = Talk::open().c(&get("/1"));
    let request = talk.segs.pop().expect("a request");
    let talk = talk.s(most).again().again().push(request).s(rest);
    check("before its request", &talk, &copied);
}

/// A mebibyte of a body arrives before the head that it follows.
#[test]
fn a_mebibyte_waits_for_the_segment_before_it() {
    let body = vec![b'x'; 1 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut talk = Talk::open().c(&get("/1")).s(&head);
    let late = talk.segs.len() - 1;
    for piece in body.chunks(1448) {
        talk = talk.send(Side::Server, piece, 0);
    }
    let mut head = talk.segs.remove(late);
    head.time_ns = talk.now_ns;
    talk.segs.push(head);
    check("the head comes last", &talk, &["GET /1 -> 200 OK 1048576 Length"]);
}

#[test]
fn sequence_numbers_wrap() {
    for before in [1, 2, 30, 60] {
        let talk = Talk::with_isn(0u32.wrapping_sub(before), 0u32.wrapping_sub(before)).handshake();
        let talk = talk.c(&get("/1")).s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
        check("wrap", &talk, &TWO);
        let talk = Talk::with_isn(0u32.wrapping_sub(before), 0u32.wrapping_sub(before)).handshake();
        let talk = talk.c(&get("/1")).s(&ok("hello")).early(1).c(&get("/2")).s(&ok("ab")).early(1);
        check("wrap, reordered", &talk, &TWO);
    }
}

#[test]
fn the_first_copy_of_a_byte_wins_and_a_difference_is_flagged() {
    // Both copies wait, because the segment before them comes last.
    let talk = Talk::open().c(&get("/1")).s("HTTP/1.1 200 OK\r\n");
    let base = talk.server;
    let mut first = talk.seg(Side::Server, b"X: first\r\nContent-Length: 0\r\n\r\n");
    let mut other = talk.seg(Side::Server, b"X: other\r\nContent-Length: 0\r\n\r\n");
    (first.seq, other.seq) = (base, base);
    let mut talk = Talk::open().c(&get("/1"));
    talk = talk.push(first).push(other);
    let line = talk.seg(Side::Server, b"HTTP/1.1 200 OK\r\n");
    let talk = talk.push(line);
    let mut bench = crate::talk::Bench::new(http_trace_engine::pipeline::PipelineConfig::default());
    bench.push_all(&talk.segs);
    assert_eq!(bench.lines, ["GET /1 -> 200 OK 0 Length flags overlap_differs"]);
    let value = bench.events[0].response.as_ref().and_then(|head| head.headers.first("x"));
    assert_eq!(value, Some(&b"first"[..]));
}

#[test]
fn a_request_of_which_another_version_came_is_flagged_and_no_other() {
    for (copies, flagged) in [(0, ""), (1, " flags overlap_differs")] {
        let mut talk = Talk::open().c(&get("/0")).s(&ok("hello"));
        let other = talk.seg(Side::Client, get("/X").as_bytes());
        talk = talk.c(&get("/1"));
        for _ in 0..copies {
            talk = talk.push(other.clone());
        }
        let talk = talk.s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
        let mut bench =
            crate::talk::Bench::new(http_trace_engine::pipeline::PipelineConfig::default());
        bench.push_all(&talk.segs);
        assert_eq!(
            bench.lines,
            [
                "GET /0 -> 200 OK 5 Length".to_owned(),
                format!("GET /1 -> 200 OK 5 Length{flagged}"),
                "GET /2 -> 200 OK 2 Length".to_owned(),
            ]
        );
    }
}

#[test]
fn partial_retransmissions_bring_what_is_new() {
    let answer = ok("hello");
    let talk = Talk::open().c(&get("/1")).s(&answer[..30]);
    let mut overlapping = talk.seg(Side::Server, &answer.as_bytes()[10..]);
    overlapping.seq = overlapping.seq.wrapping_sub(20);
    let mut talk = talk.push(overlapping);
    talk.server = talk.server.wrapping_add(answer.len() as u32 - 30);
    check("overlap", &talk.c(&get("/2")).s(&ok("ab")), &TWO);
}

#[test]
fn probes_are_not_data() {
    let talk = Talk::open().c(&get("/1")).s(&ok("hello"));
    let mut probe = talk.seg(Side::Client, b"\0");
    probe.seq = probe.seq.wrapping_sub(1);
    let mut empty = talk.seg(Side::Server, b"");
    empty.seq = empty.seq.wrapping_sub(1);
    let talk = talk.push(probe).push(empty).wait_ms(45_000).c(&get("/2")).s(&ok("ab"));
    check("keep-alive probes", &talk, &TWO);
}

/// A sender that meets a zero window sends the next byte repeatedly (RFC 9293 §3.8.6.1), and the
/// receiver takes it or does not; Linux repeats the last byte instead.
#[test]
fn a_window_of_zero_costs_nothing() {
    let answer = ok("hello");
    for at in [0, 10, answer.len() - 3] {
        for taken in [false, true] {
            let (before, after) = answer.split_at(at);
            let mut talk = Talk::open().c(&get("/1"));
            if at > 0 {
                talk = talk.s(before);
            }
            talk = talk.c_ack();
            for wait_ms in [200, 400, 800] {
                let probe = talk.seg(Side::Server, &after.as_bytes()[..1]);
                let mut old = talk.seg(Side::Server, b"");
                old.seq = old.seq.wrapping_sub(1);
                talk = talk.wait_ms(wait_ms).push(probe).c_ack().push(old).c_ack();
            }
            // A byte that was taken is not sent again.
            let rest = if taken {
                talk.server += 1;
                &after[1..]
            } else {
                after
            };
            let talk = talk.c_ack().s(rest).c(&get("/2")).s(&ok("ab"));
            let lines: Vec<String> = talk
                .judged()
                .into_iter()
                .map(|line| line.split(" copies ").next().unwrap_or_default().to_owned())
                .collect();
            assert_eq!(lines, TWO, "at byte {at}, taken: {taken}");
        }
    }
}

#[test]
fn data_with_syn_and_fin() {
    let mut talk = Talk::new();
    talk.client += 1;
    let mut syn = talk.seg(Side::Client, get("/1").as_bytes()).flag(flag::SYN);
    syn.ack = None;
    talk = talk.push(syn);
    talk.client += get("/1").len() as u32;
    talk.server += 1;
    let answer = talk.seg(Side::Server, b"").flag(flag::SYN);
    talk = talk.push(answer).s(&ok("hello")).c(&get("/2"));
    let talk = talk.send(Side::Server, ok("ab").as_bytes(), flag::FIN).c_fin();
    check("fast open, and FIN with data", &talk, &TWO);
}

/// A closed port answers a SYN with data by a RST that acknowledges them, at sequence number 0 (RFC 9293 §3.10.7.1).
#[test]
fn a_request_in_a_syn_can_be_refused() {
    let one = get("/1");
    let refused = |ack: u32| {
        let mut talk = syn_with(Talk::new(), 1001, &one);
        talk.server = 0;
        let mut rst = talk.seg(Side::Server, b"").flag(flag::RST);
        rst.ack = Some(ack);
        talk.push(rst)
    };
    let end = 1001 + one.len() as u32;
    check("refused", &refused(end), &["(finish)", "GET /1 -> Reset"]);
    check("a RST of somebody else", &refused(end + 7), &["(finish)", "GET /1 -> Unseen"]);
    // The server answers all the same: the RST was forged.
    let talk = syn_ack(refused(end), 500_001, one.len()).s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
    check("disproved", &talk, &TWO);
}

#[test]
fn a_tuple_is_used_again() {
    let second = |mut talk: Talk, client, server| {
        (talk.client, talk.server) = (client, server);
        talk.handshake().c(&get("/2")).s(&ok("ab"))
    };
    let first = || Talk::open().c(&get("/1")).s(&ok("hello"));
    check("after close", &second(first().c_fin().s_fin(), 7_000_000, 9_000_000), &TWO);
    check("after reset", &second(first().c_rst(), 7_000_000, 9_000_000), &TWO);
    check("close not seen", &second(first(), 7_000_000, 9_000_000), &TWO);
    check("close not seen, numbers close by", &second(first(), 2_000, 501_000), &TWO);
    let unfinished =
        Talk::open().c(&get("/0")).s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    let events = second(unfinished, 7_000_000, 9_000_000).judged();
    assert_eq!(
        events,
        ["GET /0 -> 200 OK 3 Cut missing [End] flags length_mismatch", "GET /2 -> 200 OK 2 Length"]
    );
}

/// A SYN with a request in it (RFC 7413); the client's position is then `client`.
fn syn_with(mut talk: Talk, client: u32, bytes: &str) -> Talk {
    talk.client = client;
    let mut syn = talk.seg(Side::Client, bytes.as_bytes()).flag(flag::SYN);
    syn.ack = None;
    talk.push(syn)
}

/// The SYN-ACK, which acknowledges `taken` bytes of the SYN's data.
fn syn_ack(mut talk: Talk, server: u32, taken: usize) -> Talk {
    talk.server = server;
    talk.client = talk.client.wrapping_add(taken as u32);
    let answer = talk.seg(Side::Server, b"").flag(flag::SYN);
    talk.push(answer)
}

#[test]
fn a_tuple_is_used_again_with_data_in_the_syn() {
    let first = || Talk::open().c(&get("/1")).s(&ok("hello"));
    let two = get("/2");
    let places = [(7_000_000, 9_000_000), (900_000_000, 2_000_000_000), (2_000, 501_000)];
    for (client, server) in places {
        let name = |what: &str| format!("{what}, at {client}");
        let whole = syn_ack(syn_with(first(), client, &two), server, two.len());
        check(&name("whole"), &whole.s(&ok("ab")), &TWO);
        let copied = syn_with(first(), client, &two).again();
        let copied = syn_ack(copied, server, two.len()).again().c_ack();
        check(&name("copied"), &copied.s(&ok("ab")), &TWO);
        // What the server did not accept is sent again.
        for taken in [0, 7] {
            let part = syn_ack(syn_with(first(), client, &two), server, taken);
            check(&name("not all"), &part.c(&two[taken..]).s(&ok("ab")), &TWO);
        }
        // The client may also continue before the answer.
        let (head, tail) = two.split_at(11);
        let more = syn_ack(syn_with(first(), client, head), server, head.len());
        check(&name("first part"), &more.c(tail).s(&ok("ab")), &TWO);
        let unanswered = Talk::open().c(&get("/0"));
        let talk = syn_ack(syn_with(unanswered, client, &two), server, two.len());
        check(
            &name("one before without an answer"),
            &talk.s(&ok("ab")),
            &["GET /0 -> Closed", TWO[1]],
        );
    }
    // The SYN-ACK is not seen: only a server that accepted the SYN acknowledges data this far away.
    let mut lost = syn_with(first(), 900_000_000, &two);
    (lost.client, lost.server) = (900_000_000 + two.len() as u32, 2_000_000_000);
    let events = lost.s(&ok("ab")).judged();
    assert_eq!(events.len(), 3, "{events:?}");
    assert!(events[2].starts_with("GET /2 -> 200 OK 2"), "{events:?}");
}

/// [`TWO`] after a forged segment was disproved.
const DISPUTED: [&str; 2] =
    ["GET /1 -> 200 OK 5 Length", "GET /2 -> 200 OK 2 Length flags disputed_segment"];

/// Nobody accepts the data of a forged SYN, wherever it would begin.
#[test]
fn data_in_a_forged_syn_makes_nothing() {
    let rest = |talk: Talk| talk.s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
    for off in [1u32, 30, 3_000, 3 << 20, 900 << 20] {
        for quiet in [false, true] {
            let talk = Talk::open().c(&get("/1"));
            let talk = if quiet { talk.s(&ok("hello")) } else { talk };
            let (client, server) = (talk.client, talk.server);
            let mut talk = syn_with(talk, client.wrapping_add(off), &get("/forged")).again();
            (talk.client, talk.server) = (client, server);
            let name = format!("{off} ahead, quiet: {quiet}");
            if quiet {
                check(&name, &talk.c(&get("/2")).s(&ok("ab")), &DISPUTED);
                continue;
            }
            check(&name, &rest(talk.clone()), &DISPUTED);
            // A SYN-ACK for another SYN, or for more than this one carried.
            for ack in [client, client.wrapping_add(off + 40_000)] {
                let mut answer = talk.seg(Side::Server, b"").flag(flag::SYN);
                (answer.seq, answer.ack) = (77_000_000, Some(ack));
                check(&name, &rest(talk.clone().push(answer)), &DISPUTED);
            }
        }
    }
}

#[test]
fn forgeries_do_not_end_a_connection() {
    let first = || Talk::open().c(&get("/1"));
    let rest = |talk: Talk| talk.s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
    for off in [1u32, 1000, 70_000, 0u32.wrapping_sub(5000)] {
        let talk = first();
        let mut forged = talk.seg(Side::Server, b"").flag(flag::RST);
        forged.seq = forged.seq.wrapping_add(off);
        check("RST not at the expected number", &rest(talk.push(forged)), &TWO);
        let talk = first();
        let mut forged = talk.seg(Side::Client, b"").flag(flag::RST);
        forged.seq = forged.seq.wrapping_add(off);
        check("RST of the client not at the expected number", &rest(talk.push(forged)), &TWO);
    }
    let talk = first();
    let mut forged = talk.seg(Side::Client, b"").flag(flag::SYN);
    (forged.seq, forged.ack) = (3_000_000, None);
    check("SYN", &rest(talk.push(forged.clone())), &DISPUTED);
    // Data follows it that nobody acknowledged.
    let talk = first().push(forged);
    let mut data = talk.seg(Side::Client, get("/forged").as_bytes());
    data.seq = 3_000_000;
    check("SYN and data", &rest(talk.push(data)), &DISPUTED);
}

#[test]
fn late_copies_of_a_closed_connection_make_nothing() {
    let talk = Talk::open().c(&get("/1")).s(&ok("hello")).c_fin().s_fin();
    let copies: Vec<_> = talk.segs.iter().filter(|seg| !seg.bytes.is_empty()).cloned().collect();
    let talk = copies.into_iter().fold(talk, Talk::push);
    check("copies", &talk, &TWO[..1]);
}

#[test]
fn a_connection_is_taken_up_in_the_middle() {
    let body = "x".repeat(40);
    let talk =
        Talk::new().s("rest of a body").c(&get("/1")).s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
    check(
        "at a request",
        &talk,
        &["GET /1 -> 200 OK 5 Length flags request_assumed,resynchronised", TWO[1]],
    );
    let talk = Talk::new().s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
    check(
        "at a response",
        &talk,
        &[
            "(finish)",
            "? -> 200 OK 5 Length missing [Request] flags resynchronised",
            "GET /2 -> 200 OK 2 Length flags request_assumed",
        ],
    );
    let talk = Talk::new().c(&body).c(&body).s_ack().s(&ok("hello")).c(&get("/2")).s(&ok("ab"));
    // It answers no request that was seen, as if in the middle of a response.
    check(
        "in a request's body",
        &talk,
        &["(finish)", "GET /2 -> 200 OK 2 Length flags request_assumed,resynchronised"],
    );
    // The capture begins within a batch of two: it is unknown which of them is answered.
    let talk = Talk::new().c(&get("/b")).c(&get("/c"));
    let mut talk = talk.s(&ok("1"));
    for seg in &mut talk.segs {
        if seg.from == Side::Client {
            seg.ack = Some(500_000);
        }
    }
    let events = talk.s(&ok("2")).s(&ok("3")).judged();
    assert!(events.iter().all(|line| line.starts_with("? ->")), "{events:?}");
}

#[test]
fn one_direction_alone() {
    let talk = Talk::open()
        .c(&get("/1"))
        .s(&ok("hello"))
        .wait_ms(200)
        .c(&get("/2"))
        .s(&ok("ab"))
        .c_fin()
        .s_fin();
    let mut server = talk.clone();
    server.segs.retain(|seg| seg.from == Side::Server);
    check(
        "responses",
        &server,
        &["? -> 200 OK 5 Length missing [Request]", "? -> 200 OK 2 Length missing [Request]"],
    );
    let mut client = talk;
    client.segs.retain(|seg| seg.from == Side::Client);
    check("requests", &client, &["(finish)", "GET /1 -> Unseen", "GET /2 -> Unseen"]);
}

/// Segments as two taps see them, one per direction: the clock of the server's is early by `skew_ms`.
fn skewed(talk: &Talk, skew_ms: u64) -> Talk {
    let mut talk = talk.clone();
    for seg in talk.segs.iter_mut().filter(|seg| seg.from == Side::Server) {
        seg.time_ns -= skew_ms * MS;
    }
    talk.segs.sort_by_key(|seg| seg.time_ns);
    talk
}

/// The server's answers, and its SYN-ACK, may be seen before what they answer.
#[test]
fn a_tap_whose_clock_is_early_costs_no_pair() {
    let asks = |talk: Talk, n: u32| talk.wait_ms(5).c(&get(&format!("/{n}"))).s(&ok("hello"));
    let whole = (0..6).fold(Talk::open(), asks).c_fin().s_fin();
    let pairs: Vec<_> = (0..6).map(|n| format!("GET /{n} -> 200 OK 5 Length")).collect();
    for skew_ms in 0..60 {
        let talk = skewed(&whole, skew_ms);
        assert_eq!(talk.judged(), pairs, "{skew_ms} ms");
        // Without the SYN, nothing says that the first request is the first.
        let mut late = talk;
        late.segs.retain(|seg| seg.from == Side::Server || seg.flags & flag::SYN == 0);
        let mut assumed = pairs.clone();
        assumed[0] += " flags request_assumed";
        assert_eq!(late.judged(), assumed, "{skew_ms} ms, no SYN");
    }
    // Beyond the time that a hole is waited for, pairs are missing, and none is wrong.
    for skew_ms in [100, 120, 200] {
        let events = skewed(&whole, skew_ms).judged();
        let known = |event: &String| event.starts_with("? -> 200") || pairs.contains(event);
        assert!(events.iter().all(known), "{skew_ms} ms: {events:#?}");
    }
}

/// A SYN-ACK may acknowledge data of the SYN (RFC 7413), which comes late. Where that is all of the request, nothing
/// shows that the response is early; no pair is wrong.
#[test]
fn a_tap_whose_clock_is_early_makes_no_wrong_pair_of_data_in_the_syn() {
    let one = get("/1");
    for (taken, skew_ms) in
        [0, 10, one.len()].into_iter().flat_map(|n| (0..60).map(move |ms| (n, ms)))
    {
        let talk = syn_ack(syn_with(Talk::new().wait_ms(100), 1001, &one), 500_001, taken);
        let rest = &one[taken..];
        let talk = if rest.is_empty() { talk } else { talk.c(rest) };
        let talk = talk.s(&ok("hello")).wait_ms(5).c(&get("/2")).s(&ok("ab")).c_fin().s_fin();
        let events = skewed(&talk, skew_ms).judged();
        let unpaired = |event: &String| rest.is_empty() && event.starts_with("? -> 200");
        assert_eq!(events.len(), 2, "{taken} {skew_ms} ms");
        assert!(
            events.iter().zip(TWO).all(|(event, pair)| event == pair || unpaired(event)),
            "{taken} {skew_ms} ms: {events:?}"
        );
    }
}

/// As in captures that programs write, which all begin at the same numbers.
#[test]
fn the_same_numbers_long_after_are_another_connection() {
    let visit = |path: &str, body: &str| Talk::open().c(&get(path)).s(&ok(body));
    for days in [1, 50] {
        let mut talk = visit("/1", "hello");
        for mut seg in visit("/2", "ab").segs {
            seg.time_ns += days * 86_400_000 * MS;
            talk.segs.push(seg);
        }
        check("later", &talk, &TWO);
    }
}
