//! Request lines that are not HTTP/1.x but get HTTP/1.x answers: what is paired, and what is not.

use crate::talk::{Bench, Talk, check, get, ok};
use http_trace_engine::pipeline::PipelineConfig;

/// A web server's answer to what it cannot read.
const BAD: &str = "HTTP/1.1 400 B\r\nContent-Length: 3\r\n\r\nbad";

/// Lines of HTTP/0.9, of other protocols and single words, as nmap's service probes send them.
#[test]
fn lines_that_are_no_http_1_are_paired_where_http_1_answers() {
    for (sent, expected) in [
        ("GET /\r\n\r\n", "GET /"),
        ("GET /a b\n\n", "GET /a b"),
        ("GET / HTTP/2.0\r\n\r\n", "GET /"),
        ("OPTIONS / RTSP/1.0\r\n\r\n", "OPTIONS /"),
        (
            "OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm;branch=foo\r\nContent-Length: 0\r\n\r\n",
            "OPTIONS sip:nm",
        ),
        ("HELP\r\n\r\n", "HELP "),
        ("HELP\r\n", "HELP "),
        // The server does not wait for a blank line.
        ("GET /\r\n", "GET /"),
    ] {
        let expected = format!("{expected} -> 400 B 3 Length flags malformed_request");
        check(sent, &Talk::open().c(sent).s(BAD), &[&expected]);
    }
    let talk = Talk::open().c("GET /\r\n").c("\r\n").s(BAD);
    let expected = "GET / -> 400 B 3 Length flags malformed_request";
    check("cut before the blank line", &talk, &[expected]);
    let talk = Talk::open()
        .c(&get("/1"))
        .s(&ok("a"))
        .c("GET /2\r\n\r\n")
        .s(BAD)
        .c(&get("/3"))
        .s(&ok("bc"));
    check(
        "behind a request",
        &talk,
        &[
            "GET /1 -> 200 OK 1 Length",
            "GET /2 -> 400 B 3 Length flags malformed_request",
            "GET /3 -> 200 OK 2 Length",
        ],
    );
}

/// Servers that accept any version repeat it.
#[test]
fn answers_with_the_version_of_their_request_are_paired() {
    for version in ["HTTP/2.0", "HTTP/1.10", "HTTP/0.9", "HTTP/3", "HTTP/1."] {
        let ask = |n: u8| format!("GET /{n} {version}\r\nHost: a\r\n\r\n");
        let answer = format!("{version} 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let expected = |n: u8| {
            format!(
                "GET /{n} -> 200 OK 2 Length missing [Version] flags malformed_request,other_version"
            )
        };
        let talk = Talk::open().c(&ask(1)).s(&answer).c(&ask(2)).s(&answer);
        check(version, &talk, &[&expected(1), &expected(2)]);
    }
    // Without a request, such a line may be anything.
    let preface = Talk::open().c("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    check("preface", &preface.s("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), &[]);
    check("unasked", &Talk::open().s("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), &[]);
}

/// The result does not depend on where a segment ends: the framer refuses a line at its first impossible
/// byte, whatever follows.
#[test]
fn such_lines_may_be_cut_anywhere() {
    for (sent, expected) in [
        ("GET /\r\n\r\n", "GET /"),
        ("GET /\r\r\n\r\r\n", "GET /"),
        ("GET /a b\n\n", "GET /a b"),
        ("GET / HTTP/2.0\r\n\r\n", "GET /"),
        ("OPTIONS / RTSP/1.0\r\n\r\n", "OPTIONS /"),
        ("OPTIONS sip:nm SIP/2.0\r\nVia: a\r\n\r\n", "OPTIONS sip:nm"),
        ("HELP\r\n\r\n", "HELP "),
        ("HELP\r\r\n\r\r\n", "HELP "),
        ("HELP\r\n", "HELP "),
        ("GET /\r\n", "GET /"),
    ] {
        let expected = format!("{expected} -> 400 B 3 Length flags malformed_request");
        for cut in 1..sent.len() {
            let (first, second) = sent.split_at(cut);
            let talk = Talk::open().c(first).c(second).s(BAD);
            check(&format!("{first:?} {second:?}"), &talk, &[&expected]);
        }
        if !expected.starts_with("HELP") {
            let expected = ["GET /1 -> 200 OK 1 Length", &expected];
            for cut in 1..sent.len() {
                let (first, second) = sent.split_at(cut);
                let talk = Talk::open().c(&get("/1")).s(&ok("a"));
                let talk = talk.c(first).c(second).s(BAD);
                check(&format!("second {first:?} {second:?}"), &talk, &expected);
            }
        }
    }
    const ORPHAN: &str = "? -> 400 B 3 Length missing [Request]";
    for sent in ["help\r\n\r\n", "HELP me\r\n\r\n", "get / RTSP/1.0\r\n\r\n"] {
        for cut in 1..sent.len() {
            let (first, second) = sent.split_at(cut);
            let talk = Talk::open().c(first).c(second).s(BAD);
            check(&format!("{first:?} {second:?}"), &talk, &[ORPHAN]);
        }
    }
}

/// An answer before a line's first field loses nothing if it answers another request: the field may
/// still come.
#[test]
fn an_answer_before_the_first_field_loses_only_a_line_that_it_answers() {
    const LATE: &str = "HTTP/1.1 408 L\r\nContent-Length: 0\r\n\r\n";
    // Not at the first byte of the stream, so that an answer alone does not make it a request.
    let talk = Talk::open()
        .c("\r\nGET /a\r\n")
        .s(LATE)
        .c("Host: x\r\n\r\n")
        .s(BAD)
        .c(&get("/b"))
        .s(&ok("c"));
    let mut bench = Bench::new(PipelineConfig::default());
    bench.push_all(&talk.segs);
    assert_eq!(
        bench.finish(),
        [
            "? -> 408 L 0 Length missing [Request] flags request_unfinished",
            "GET /a -> 400 B 3 Length flags malformed_request",
            "GET /b -> 200 OK 1 Length",
        ]
    );
    assert_eq!(bench.pipeline.stats().unframed_bytes, 0);
    assert_eq!(bench.pipeline.stats().became_unsure, 0);
}

/// The kept part of a line has the limit of a head: no target is made of pieces that are not adjacent.
#[test]
fn a_line_longer_than_a_head_may_be_is_no_request() {
    let piece = "a".repeat(1000);
    for (pieces, paired) in [(60, true), (70, false)] {
        let mut talk = Talk::open().c("OPTIONS /");
        for _ in 0..pieces {
            talk = talk.c(&piece);
        }
        let lines = talk.c(" RTSP/1.0\r\n\r\n").s(BAD).judged();
        let begins = if paired { "OPTIONS /aaa" } else { "? -> 400" };
        assert!(lines[0].starts_with(begins), "{pieces}: {lines:?}");
    }
}

#[test]
fn what_follows_a_line_that_was_answered_is_counted_as_not_framed() {
    for (behind, unframed) in [("", 0), ("Hos", 3)] {
        let mut bench = Bench::new(PipelineConfig::default());
        let talk = Talk::open().c(&get("/1")).s(&ok("a"));
        let talk = talk.c("GET /2\r\n").c(behind).s(BAD);
        bench.push_all(&talk.segs);
        let lines = bench.finish();
        assert_eq!(
            lines,
            ["GET /1 -> 200 OK 1 Length", "GET /2 -> 400 B 3 Length flags malformed_request"]
        );
        assert_eq!(bench.pipeline.stats().unframed_bytes, unframed, "{behind:?}");
    }
}

/// What is not a request although HTTP/1.x follows it, or is a request of another protocol.
#[test]
fn lines_that_http_1_does_not_answer_are_no_requests() {
    const ORPHAN: &str = "? -> 400 B 3 Length missing [Request]";
    for sent in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x00\x05hello",
        "help\r\n\r\n",
        "HELP me\r\n\r\n",
        "\r\n\r\n",
        // STOMP's, with its own fields.
        "CONNECT\naccept-version:1.2\n\n",
        "get / RTSP/1.0\r\n\r\n",
    ] {
        check(sent, &Talk::open().c(sent).s(BAD), &[ORPHAN]);
    }
    let rtsp = "RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n";
    for sent in ["OPTIONS / RTSP/1.0\r\n\r\n", "HELP\r\n", "GET /\r\n\r\n"] {
        // Its own server answers, or closes, or there is no answer.
        check(sent, &Talk::open().c(sent).s(rtsp).c(sent).s(rtsp), &[]);
        check(sent, &Talk::open().c(sent).c_fin().s_fin(), &[]);
        check(sent, &Talk::open().c(sent), &[]);
        // A later HTTP/1.x message answers something else, unless it is part of a body.
        check(sent, &Talk::open().c(sent).s(rtsp).s(BAD), &[]);
        // A server that speaks first is not a web server.
        let talk = Talk::open().s("220 ready\r\n").c(sent).s(BAD);
        check(sent, &talk, &[]);
        // Within a body it is body.
        let post = format!("POST /1 HTTP/1.1\r\nContent-Length: {}\r\n\r\n{sent}", sent.len());
        let talk = Talk::open().c(&post).s(&ok("a")).c(&get("/2")).s(&ok("b"));
        check(sent, &talk, &["POST /1 -> 200 OK 1 Length", "GET /2 -> 200 OK 1 Length"]);
    }
    // Unanswered, it is not reported, although the connection is HTTP.
    let talk = Talk::open().c(&get("/1")).s(&ok("a")).c("GET /2\r\n\r\n");
    check("closed", &talk.c_fin().s_fin(), &["GET /1 -> 200 OK 1 Length"]);
}
