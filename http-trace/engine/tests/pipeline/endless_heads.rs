//! Heads that never end.

use crate::talk::{Bench, Side, Talk, check, get, ok};
use http_trace_common::record::{Hook, flag};
use http_trace_engine::pipeline::PipelineConfig;

/// As Slowloris and `slowhttptest -H` send: a head without an end.
#[test]
fn heads_that_never_end() {
    let begun = || Talk::open().c("GET /1 HTTP/1.1\r\nHost: h\r\nX-a: ");
    let unfinished = |why: &str| [format!("GET /1 -> {why} flags request_unfinished")];
    let told = |name: &str, talk: &Talk, why: &str| {
        let expected = unfinished(why);
        // A close is accepted after a second without further bytes.
        let talk = talk.clone().wait_ms(1_100).c_ack();
        check(name, &talk, &[expected[0].as_str()]);
    };
    told("the server closes", &begun().s_ack().wait_ms(9_000).c("b\r\n").s_fin().c_fin(), "Closed");
    told("the client closes", &begun().s_ack().c_fin().s_fin(), "Closed");
    told("the client closes and the server resets", &begun().s_ack().c_fin().s_rst(), "Reset");
    told("the server resets", &begun().s_ack().s_rst(), "Reset");
    told("the client resets", &begun().s_ack().c_rst(), "Reset");
    let dragged = begun().s_ack().wait_ms(20_000).c("b\r\nX-c: ").s_ack();
    check("not yet", &dragged.clone().wait_ms(9_000).c("d\r\n"), &[]);
    let late = dragged.clone().wait_ms(11_000).c("d\r\nX-e: ");
    told("dragged out", &late.clone().s_ack(), "Timeout");
    told("told once", &late.clone().wait_ms(40_000).s_fin().c_fin(), "Timeout");
    told(
        "told once, though it is finished and not answered",
        &late.clone().c("f\r\n\r\n").s_ack().wait_ms(40_000).s_fin().c_fin(),
        "Timeout",
    );
    check(
        "finished and answered after all",
        &late.clone().c("f\r\n\r\n").s(&ok("a")).c(&get("/2")).s(&ok("b")),
        &[
            "GET /1 -> Timeout flags request_unfinished",
            "GET /1 -> 200 OK 1 Length flags reported_unanswered",
            "GET /2 -> 200 OK 1 Length",
        ],
    );
    check(
        "after one that is answered, and one that is not",
        &Talk::open()
            .c(&get("/1"))
            .s(&ok("a"))
            .c(&(get("/2") + "GET /3 HTTP/1.1\r\nHost: h\r\n"))
            .s_ack()
            .s_fin()
            .c_fin()
            .wait_ms(1_100)
            .c_ack(),
        &[
            "GET /1 -> 200 OK 1 Length",
            "GET /2 -> Closed",
            "GET /3 -> Closed flags request_unfinished",
        ],
    );
    let timed_out = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
    check(
        "the server says that it waited for long enough",
        &begun().s_ack().s(timed_out).s_fin().c_fin(),
        &[
            "GET /1 -> 408 Request Timeout 0 Length missing [RequestHeaders] flags request_unfinished",
        ],
    );
    check(
        "the server says so long after that was told",
        &late.clone().s(timed_out).s_fin().c_fin(),
        &[
            "GET /1 -> Timeout flags request_unfinished",
            "GET /1 -> 408 Request Timeout 0 Length missing [RequestHeaders] flags \
             reported_unanswered,request_unfinished",
        ],
    );
    let too_large = "HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let refused =
        "GET /1 -> 431 Too Large 0 Length missing [RequestHeaders] flags request_unfinished";
    check(
        "the server has read enough, and its client goes on",
        &begun().s_ack().s(too_large).c("b\r\nX-c: d\r\n\r\n").s_fin().c_fin(),
        &[refused],
    );
    check(
        "the server answers twice",
        &begun().s(too_large).s(too_large).c("b\r\n\r\n").s_fin().c_fin(),
        &[refused, "? -> 431 Too Large 0 Length missing [Request]"],
    );
    check(
        "the connection goes on",
        &begun().s(too_large).c("b\r\n\r\n").c(&get("/2")).s(&ok("a")).c(&get("/3")).s(&ok("b")),
        &[refused, "GET /2 -> 200 OK 1 Length", "GET /3 -> 200 OK 1 Length"],
    );
    // It was sent before any of the request had arrived.
    let mut early = begun();
    let mut answer = early.seg(Side::Server, timed_out.as_bytes());
    answer.ack = answer.ack.map(|ack| ack.wrapping_sub(32));
    early = early.push(answer);
    check(
        "a request crosses the answer to none",
        &early.c("b\r\n\r\n"),
        &["? -> 408 Request Timeout 0 Length missing [Request]", "(finish)", "GET /1 -> Unseen"],
    );
    check(
        "the server says so of a body",
        &Talk::open()
            .c("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
            .s(timed_out)
            .s_fin()
            .c_fin(),
        &["POST /1 -> 408 Request Timeout 0 Length flags request_unfinished"],
    );
    check(
        "of a quiet connection",
        &Talk::open().c(&get("/1")).s(&ok("a")).s(timed_out).s_fin(),
        &["GET /1 -> 200 OK 1 Length", "? -> 408 Request Timeout 0 Length missing [Request]"],
    );
}

/// A response before the end of its request's head, on a connection that goes on: whether it has a body depends on that
/// request's method.
#[test]
fn heads_that_are_answered_before_they_end() {
    let rest = "b\r\n\r\n";
    let later = ["GET /2 -> 200 OK 1 Length", "GET /3 -> 200 OK 1 Length"];
    for status in ["400 B", "408 T", "431 L"] {
        for (method, fields, body, ended) in [
            ("GET", "Content-Length: 3", "abc", "3 Length"),
            ("GET", "Transfer-Encoding: chunked", "1\r\na\r\n0\r\n\r\n", "1 Chunked"),
            ("GET", "Content-Length: 52", &(ok("a") + "0123456789abc"), "52 Length"),
            ("HEAD", "Content-Length: 9", "", "0 None"),
            ("HEAD", "Transfer-Encoding: chunked", "", "0 None"),
            ("HEAD", "Server: s", "", "0 None"),
        ] {
            let begun = Talk::open().c(&format!("{method} /1 HTTP/1.1\r\nHost: h\r\nX-a: "));
            let answered = begun.s(&format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{body}"));
            let refused = format!(
                "{method} /1 -> {status} {ended} missing [RequestHeaders] flags request_unfinished"
            );
            // Where HEAD was answered, a status line where a body was possible shows that there is none.
            let next = match method {
                "HEAD" => later[0].to_owned() + " flags resynchronised",
                _ => later[0].to_owned(),
            };
            let expected = [refused.as_str(), &next, later[1]];
            let (two, three) = (get("/2"), get("/3"));
            let whole = answered.clone().c(rest);
            let name = format!("{method} {status} {fields}");
            check(&name, &whole.clone().c(&two).s(&ok("a")).c(&three).s(&ok("b")), &expected);
            let at_once = whole.c(&(two + &three)).s(&(ok("a") + &ok("b"))).s_fin().c_fin();
            check(&name, &at_once, &expected);
        }
    }
}

/// An informational response does not end its request.
#[test]
fn heads_that_are_answered_provisionally_before_they_end() {
    let begun =
        || Talk::open().c("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-a: ").s(CONTINUE);
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let hints = "HTTP/1.1 103 E\r\nLink: a\r\n\r\n";
    let later = |talk: Talk| talk.c(&get("/2")).s(&ok("b"));
    check(
        "then the request goes on",
        &later(begun().s(hints).c("b\r\n\r\nabc").s(&ok("a"))),
        &["POST /1 -> 100 103 200 OK 1 Length", "GET /2 -> 200 OK 1 Length"],
    );
    check(
        "and finally too",
        &later(begun().s(&ok("a")).c("b\r\n\r\nabc")),
        &[
            "POST /1 -> 100 200 OK 1 Length missing [RequestHeaders] flags request_unfinished",
            "GET /2 -> 200 OK 1 Length",
        ],
    );
    let closed = |talk: Talk| talk.s_ack().s_fin().c_fin().wait_ms(1_100).c_ack();
    check(
        "and no more",
        &closed(begun()),
        &["POST /1 -> 100 Continue 0 None missing [RequestHeaders, End] flags request_unfinished"],
    );
    check(
        "and no more, though the request goes on",
        &closed(begun().c("b\r\n\r\nabc")),
        &["POST /1 -> 100 Continue 0 None missing [End]"],
    );
    check(
        "and the final one may have been lost",
        &later(begun().s(&ok("a")).lost().s("x").wait_ms(40_000).c_ack().c("b\r\n\r\nabc")),
        &[
            "POST /1 -> 100 Continue 0 None missing [RequestHeaders, End] flags request_unfinished",
            "(finish)",
            "GET /2 -> 200 OK 1 Length flags resynchronised",
        ],
    );
    let mut early = Talk::open().c("POST /1 HTTP/1.1\r\nHost: h\r\nX-a: ");
    let mut answer = early.seg(Side::Server, CONTINUE.as_bytes());
    answer.ack = answer.ack.map(|ack| ack.wrapping_sub(38));
    early = early.push(answer);
    early.server = early.server.wrapping_add(CONTINUE.len() as u32);
    check(
        "before any of it had arrived",
        &early.c("b\r\n\r\n").s(&ok("a")),
        &["? -> 100 200 OK 1 Length missing [Request]"],
    );
}

/// A pod's side and its host's side of one connection, with different ports.
#[test]
fn a_head_that_never_ends_is_told_once_whatever_its_names() {
    let inside = |talk: Talk| talk.c("GET /1 HTTP/1.1\r\nHost: h\r\n").s_ack();
    let ways: [(&str, fn(Talk) -> Talk, &str); 3] = [
        ("closed", |talk| talk.s_fin().c_fin().wait_ms(1_100).c_ack(), "Closed"),
        ("dragged out", |talk| talk.wait_ms(31_000).c("A: b\r\n"), "Timeout"),
        (
            "answered",
            |talk| talk.s("HTTP/1.1 400 B\r\nContent-Length: 0\r\n\r\n").s_fin().c_fin(),
            "400 B 0 Length missing [RequestHeaders]",
        ),
    ];
    for (name, end, why) in ways {
        let mut near = end(inside(Talk::open()));
        let mut far = near.clone();
        let mut bench = Bench::new(PipelineConfig::default());
        for (a, b) in near.segs.iter_mut().zip(&mut far.segs) {
            (a.hook, b.hook) = (Hook::Tc, Hook::Tc);
            b.client_port = 50_000;
            *b = b.clone().flag(flag::EGRESS);
            bench.push(a);
            bench.push(b);
        }
        let expected = [format!("GET /1 -> {why} flags request_unfinished")];
        assert_eq!(bench.lines, expected, "{name}");
    }
}

/// What is not certain is not reported.
#[test]
fn heads_of_which_nobody_knows_that_they_never_ended() {
    let begun = || Talk::open().c("GET /1 HTTP/1.1\r\nHost: h\r\n");
    check("the capture ends", &begun(), &[]);
    check("no whole request line", &Talk::open().c("GET /1 HTTP/1.1").s_ack().s_fin().c_fin(), &[]);
    check(
        "another protocol",
        &Talk::open().c("EHLO there\r\nfoo").s_ack().wait_ms(40_000).s_fin().c_fin(),
        &[],
    );
    check(
        "a request line without version",
        &Talk::open().c("GET /1\r\n").s_ack().s_fin().c_fin(),
        &[],
    );
    for line in [".1 /2 HTTP/1.1\r\n", "GET F\x06 HTTP/1.1\r\n", "GET /1\t GET /2 HTTP/1.1\r\n"] {
        check(
            "a request line that is none to the letter",
            &Talk::open()
                .c("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n")
                .s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .c(line)
                .c("Ho: \r\n")
                .s_ack()
                .s_fin()
                .c_fin(),
            &["GET /1 -> 200 OK 0 Length"],
        );
    }
    check(
        "the rest of the head was not seen",
        &begun().c("\r\n").lost().s_ack().s_fin().c_fin(),
        &[],
    );
    check(
        "the rest of the head was not seen, and silence",
        &begun().c("\r\n").lost().s_ack().wait_ms(40_000).s_ack(),
        &[],
    );
    let mut deaf = Talk::new();
    deaf = deaf.c("GET /1 HTTP/1.1\r\nHost: h\r\n").wait_ms(40_000);
    for seg in &mut deaf.segs {
        seg.ack = None;
    }
    check("nothing of the server was seen", &deaf.c_rst(), &[]);
    let tunnel = "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HTTP/1.1\r\n";
    check(
        "what may be a tunnel's",
        &Talk::open().c(tunnel).s_ack().s_fin().c_fin().wait_ms(1_100).c_ack(),
        &["CONNECT a:1 -> Closed"],
    );
    let off = PipelineConfig { no_response: false, ..PipelineConfig::default() };
    assert_eq!(begun().s_rst().judged_with(off), [] as [&str; 0]);
}
