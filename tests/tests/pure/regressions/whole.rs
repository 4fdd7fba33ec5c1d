//! Conversations that were seen completely, late or copied: the events are the truth.

use http_trace_tests::judged::{Return, filtered_late, same};

use super::*;

#[test]
fn r001_a_fin_overtakes_the_answer_to_what_came_with_the_syn() {
    Found::new(closed(vec![get(0), ok(0, b"")]), vec![answered("GET", 0, 0)])
        .fast_open()
        .cuts(&[1, 40, 61])
        .seen(&[0, 1, 2, 3, 5, 4])
        .check(is_truth);
}

/// A body that was skipped before a gap is reported.
#[test]
fn r002_a_body_that_was_skipped_before_a_hole_is_told() {
    let chunk = [b"3e8\r\n".as_slice(), &[b'x'; 1000], b"\r\n0\r\n\r\n"].concat();
    let post = b"POST /0/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    Found::new(
        closed(vec![Step::client([post.as_slice(), &chunk].concat()), ok(0, b"")]),
        vec![answered("POST", 0, 0)],
    )
    .cuts(&[300])
    .seen(&[0, 1, 2, 3, 4, 5, 7, 6])
    .check(is_truth);
}

#[test]
fn r003_a_fin_overtakes_the_body_that_it_ends() {
    let until_close = Transaction::new("GET", "/0/", 200, "OK").header(NUMBER, "0");
    Found::new(
        closed(vec![
            get(0),
            Step::server([b"HTTP/1.1 200 OK\r\nX-Nr: 0\r\n\r\n".as_slice(), &[b'x'; 74]].concat()),
        ]),
        vec![until_close.body(74, End::Close)],
    )
    .cuts(&[40, 28, 74])
    .seen(&[0, 1, 2, 3, 6, 4, 5])
    .check(is_truth);
}

#[test]
fn r004_a_body_like_a_response_while_the_filter_does_not_know_the_order() {
    let lookalike = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh";
    Found::new(
        closed(vec![get(0), get(1), ok(0, lookalike), ok(1, b""), get(2), ok(2, b"")]),
        vec![answered("GET", 0, 39), answered("GET", 1, 0), answered("GET", 2, 0)],
    )
    .cuts(&[24, 4])
    .seen(&[0, 1, 2, 3, 4, 5, 7, 6])
    .check(is_truth);
}

#[test]
fn r005_a_copy_after_the_close_of_a_connection_whose_syn_ack_came_late() {
    Found::new(closed(vec![get(0), ok(0, b"")]), vec![answered("GET", 0, 0)])
        .seen(&[0, 2, 1, 3, 4, 5, 6, 7, 4])
        .check(is_truth);
}

/// The filter cannot claim the flow for one segment, and a 1xx head is seen before its request: the request
/// does not get the next response.
#[test]
fn r006_a_request_that_comes_after_its_first_head_is_not_the_next_ones() {
    let scene = Scene {
        name: "a 1xx head before its request",
        steps: vec![
            get(0),
            wait(),
            ok(0, b""),
            get(1),
            ok(1, b""),
            Step::Close(Side::Client),
            Step::Close(Side::Server),
        ],
        truth: vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0)],
    };
    let layout = Layout { cuts: vec![40], ..Layout::default() };
    let mut seen = segments(&scene, &layout);
    let request = seen.remove(3);
    seen.insert(5, request);
    let frames = frames(&Path::v4(40_000), &seen);
    for refuse_claim_every in 1..20 {
        let faults = Faults { refuse_claim_every, ..Faults::default() };
        let (some, _) = filtered_late(&frames, faults, &[Return::NEVER]);
        let honest = is_honest(&some, &scene.truth);
        assert_eq!(honest, Ok(()), "every {refuse_claim_every}");
    }
}

/// Data on a SYN (RFC 7413), and a foreign SYN-ACK with the sequence number at which the client continues:
/// neither begins another connection.
#[test]
fn r007_a_syn_ack_that_acknowledges_more_than_the_syn_begins_nothing() {
    let scene = Scene {
        name: "pipelined",
        steps: closed(vec![get(0), get(1), ok(0, b""), ok(1, b""), get(2), ok(2, b"")]),
        truth: (0..3).map(|n| answered("GET", n, 0)).collect(),
    };
    let layout = |cut: usize, fast_open| Layout {
        cuts: vec![cut],
        acks: false,
        fast_open,
        ..Layout::default()
    };
    let mut forged = segments(&scene, &layout(1448, false));
    let second = forged.iter().rposition(|s| s.ack == forged[3].ack && !s.payload.is_empty());
    let second = second.expect("a second request");
    forged.insert(
        second,
        Segment {
            from: Side::Server,
            seq: 123_456,
            ack: forged[second].seq,
            syn: true,
            payload: Vec::new(),
            ..forged[second].clone()
        },
    );
    let whole = segments(&scene, &layout(1448, true));
    let half = segments(&scene, &layout(20, true));
    for (name, sent) in [("forged", forged), ("whole", whole), ("half", half)] {
        let frames = frames(&Path::v4(40_000), &sent);
        for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
            assert_eq!(is_truth(&judged, &scene.truth), Ok(()), "{name}");
        }
    }
}

/// A connection open before the start: a hand-back changes nothing, whichever segment is the first that is
/// seen.
#[test]
fn r008_what_is_handed_back_of_a_connection_open_before_changes_nothing() {
    let get_late = Step::client(b"\r\nGET /0/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec());
    let scene = Scene {
        name: "a request cut after its empty line",
        steps: closed(vec![get_late, long_wait(2200), ok(0, &[b'x'; 535]), get(1), ok(1, b"")]),
        truth: Vec::new(),
    };
    let layout =
        Layout { cuts: vec![20, 40, 855, 4, 24], coalesce: true, acks: false, ..Layout::default() };
    let sent = segments(&scene, &layout);
    for from in 0..sent.len() {
        let frames = frames(&Path::v4(40_000), &sent[from..]);
        let (all, _) = filtered_late(&frames, Faults::default(), &[Return::NEVER]);
        let (some, _) = filtered_late(&frames, Faults::default(), &[Return::AT_ONCE]);
        assert_eq!(same(&all, &some), Ok(()), "from {from}");
        assert_eq!(some.stats.filter_disagrees, 0, "from {from}");
    }
}

/// A connection open before the start: a request that is answered before its body ends has that answer,
/// however much of the body is in the segments seen so far.
#[test]
fn r009_a_request_of_a_connection_open_before_is_answered_before_its_body_ends() {
    let length = b"POST /0/ HTTP/1.1\r\nContent-Length: 300\r\n\r\n".as_slice();
    let chunked = b"POST /0/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n";
    for head in [length, chunked] {
        let post = [head, &[b'x'; 300]].concat();
        let (now, later) = post.split_at(200);
        let later = [later, if head == length { b"" } else { b"\r\n0\r\n\r\n" }].concat();
        let scene = Scene {
            name: "answered early",
            steps: closed(vec![Step::client(now.to_vec()), ok(0, b""), Step::client(later)]),
            truth: vec![answered("POST", 0, 0)],
        };
        for cut in [30, 100, 1448] {
            let layout = Layout { cuts: vec![cut], acks: false, ..Layout::default() };
            let frames = frames(&Path::v4(40_000), &segments(&scene, &layout)[3..]);
            let (all, _) = filtered_late(&frames, Faults::default(), &[Return::NEVER]);
            let (some, _) = filtered_late(&frames, Faults::default(), &[Return::AT_ONCE]);
            for judged in [plain(&frames), all, some] {
                assert_eq!(is_truth(&judged, &scene.truth), Ok(()), "segments of {cut}");
            }
        }
    }
}

/// A connection open before the start: a request's head comes after its body, which then does not ship.
/// Stepping over that, by the judge or by a hand-back, changes nothing.
#[test]
fn r010_segments_of_a_connection_open_before_overtake_each_other() {
    let head = b"POST /0/ HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 11725\r\n\r\n";
    let scene = Scene {
        name: "overtaken",
        steps: vec![
            Step::client(head.to_vec()),
            Step::client(vec![b'@'; 11725]),
            long_wait(1226),
            ok(0, b""),
            get(1),
            long_wait(1846),
            Step::server(b"HTTP/1.1 101 OK\r\nX-Nr: 1\r\nContent-Length: 0\r\n\r\n".to_vec()),
            Step::client(vec![0xc3; 300]),
            Step::server(vec![0xc3; 300]),
            Step::Close(Side::Client),
            Step::Close(Side::Server),
        ],
        truth: Vec::new(),
    };
    for coalesce in [false, true] {
        let layout = Layout {
            cuts: vec![64, 1, 40, 11684],
            coalesce,
            isn: [0, 0],
            acks: false,
            ..Layout::default()
        };
        let sent = segments(&scene, &layout);
        for from in 1..sent.len() {
            let run = sent[from..].iter().take_while(|s| s.from == sent[from].from);
            for late in 0..run.count() {
                let mut seen = sent[from..].to_vec();
                seen[..=late].rotate_left(1);
                for (segment, sent) in seen.iter_mut().zip(&sent[from..]) {
                    segment.time_ns = sent.time_ns;
                }
                let frames = frames(&Path::v4(40_000), &seen);
                let (all, _) = filtered_late(&frames, Faults::default(), &[Return::NEVER]);
                let (some, _) = filtered_late(&frames, Faults::default(), &[Return::AT_ONCE]);
                let name = format!("from {from}, {late} later");
                assert_eq!(same(&all, &some), Ok(()), "{name}");
                assert_eq!(some.stats.filter_disagrees, 0, "{name}");
            }
        }
    }
}

/// A SYN-ACK that acknowledges nothing of the client's, before it is known where the answers begin: the first
/// byte of `HTTP` and `HEAD` shows neither who is the client nor what is acknowledged.
#[test]
fn r011_a_forged_syn_ack_does_not_say_where_the_answers_begin() {
    let scene = Scene {
        name: "forged",
        steps: closed(vec![
            Step::client(b"HEAD /0/ HTTP/1.1\r\n\r\n".to_vec()),
            Step::server(head(0)),
        ]),
        truth: vec![answered("HEAD", 0, 0).body(0, End::None)],
    };
    let layout = Layout { cuts: vec![1], acks: false, ..Layout::default() };
    let mut seen = segments(&scene, &layout);
    let forged = Segment {
        from: Side::Server,
        seq: layout.isn[1] + (1 << 24),
        ack: 0,
        syn: true,
        payload: vec![b'x'; 40],
        ..seen[3].clone()
    };
    seen.insert(4, forged);
    let frames = frames(&Path::v4(40_000), &seen);
    for judged in [plain(&frames), filtered(&frames, Faults::default()).0] {
        assert_eq!(is_truth(&judged, &scene.truth), Ok(()));
    }
}
