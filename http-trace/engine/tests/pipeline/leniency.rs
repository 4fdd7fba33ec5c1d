//! Messages that break the rules, and streams that are not HTTP/1.x.

use crate::talk::{Bench, Talk, check, get, ok};
use http_trace_engine::pipeline::PipelineConfig;

#[test]
fn leniencies_are_flags() {
    for (name, response, expected) in [
        ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 1\n\nx", "200 OK 1 Length flags bare_lf"),
        (
            "fold",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 1\r\n\r\nx",
            "200 OK 1 Length flags obs_fold",
        ),
        (
            "leading",
            "\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "200 OK 1 Length flags leading_crlf",
        ),
        (
            "no colon",
            "HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 1\r\n\r\nx",
            "200 OK 1 Length flags line_without_colon",
        ),
        (
            "conflict",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            "200 OK missing [Body, End] flags length_conflict",
        ),
        (
            "both",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "200 OK 0 Chunked flags coding_and_length,length_mismatch",
        ),
        ("no reason", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", "404  0 Length"),
        (
            "two blanks",
            "HTTP/1.1  200 OK\r\nContent-Length: 1\r\n\r\nx",
            "200 OK 1 Length flags status_blanks",
        ),
        (
            "tab",
            "HTTP/1.1\t404 No\r\nContent-Length: 1\r\n\r\nx",
            "404 No 1 Length flags status_blanks",
        ),
        (
            "blanks of both kinds",
            "HTTP/1.1 \t  500\r\nContent-Length: 1\r\n\r\nx",
            "500  1 Length flags status_blanks",
        ),
    ] {
        let talk = Talk::open().c(&get("/x")).s(response);
        check(name, &talk, &[&format!("GET /x -> {expected}")]);
    }
}

#[test]
fn malformed_request_lines_are_paired_and_flagged() {
    const BAD: &str = "HTTP/1.1 400 B\r\nContent-Length: 3\r\n\r\nbad";
    for (line, expected) in [
        ("GET /HTTP/1.1", "GET /HTTP/1.1 -> 400 B 3 Length flags malformed_request"),
        ("GET / HTTP/1.", "GET / -> 400 B 3 Length flags malformed_request"),
        ("CCM_POST /a b", "CCM_POST /a b -> 400 B 3 Length flags malformed_request"),
        ("OPTIONS HTTP/1.1", "OPTIONS HTTP/1.1 -> 400 B 3 Length flags malformed_request"),
        ("GET /a http/1.1", "GET /a -> 400 B 3 Length flags malformed_request"),
        // The server need not have read the method: the body exists.
        ("HEAD /HTTP/1.1", "HEAD /HTTP/1.1 -> 400 B 3 Length flags malformed_request"),
        ("OPTIONS rtsp://x RTSP/1.0", "OPTIONS rtsp://x -> 400 B 3 Length flags malformed_request"),
        // An unknown method: not a request.
        ("FOO /", "? -> 400 B 3 Length missing [Request]"),
    ] {
        let head = format!("{line}\r\nHost: x\r\n\r\n");
        check(line, &Talk::open().c(&head).s(BAD), &[expected]);
        let cut = line.len() + 4;
        let talk = Talk::open().c(&head[..cut]).c(&head[cut..]).s(BAD);
        check(&format!("{line}, cut"), &talk, &[expected]);
    }
    let talk = Talk::open()
        .c(&(get("/1") + "POST /2\r\nContent-Length: 2\r\n\r\nab" + &get("/3")))
        .s(&(ok("a") + BAD + &ok("bc")));
    check(
        "pipelined",
        &talk,
        &[
            "GET /1 -> 200 OK 1 Length",
            "POST /2 -> 400 B 3 Length flags malformed_request",
            "GET /3 -> 200 OK 2 Length",
        ],
    );
    for (name, client, server) in [
        ("inline Redis", "GET key\r\n", "$5\r\nhello\r\n"),
        ("fields of its own", "GET a\r\nb: c\r\n\r\n", "d\r\n"),
        ("RTSP", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "RTSP/1.0 200 OK\r\n\r\n"),
    ] {
        let talk = Talk::open().c(client).s(server).c(client).s(server);
        check(name, &talk, &[]);
    }
}

#[test]
fn what_cannot_be_read_is_counted_by_protocol_and_port() {
    let mut bench = Bench::new(PipelineConfig::default());
    for (port, first) in [
        (1, "\x16\x03\x01\x02\x00"),
        (2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (3, "SSH-2.0-x\r\n"),
        (4, "\x16\x03\x03\x01\x00"),
    ] {
        let mut talk = Talk::new();
        talk.client_port = port;
        bench.push_all(&talk.handshake().c(first).s("\x16\x03\x03\x00").c("xx").segs);
    }
    // The server of an HTTP/2 connection may speak first (RFC 9113 §3.4).
    let mut talk = Talk::new();
    talk.client_port = 5;
    talk = talk.handshake().s("\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64");
    bench.push_all(&talk.c("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").segs);
    let counted: Vec<_> = bench
        .pipeline
        .stats()
        .unreadable
        .iter()
        .map(|((kind, port), n)| (kind.name(), *port, *n))
        .collect();
    assert_eq!(counted, [("TLS", 80, 2), ("HTTP/2", 80, 2), ("other", 80, 1)]);
    assert_eq!(bench.finish(), [] as [&str; 0]);
}

#[test]
fn a_connection_that_begins_otherwise_may_turn_to_http() {
    let talk = Talk::open()
        .c("\x05\x01\x00")
        .s("\x05\x00")
        .c("\x05\x01\x00\x01abcd\x00\x50")
        .s("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00");
    let talk = talk.c(&get("/1")).s(&ok("a")).c(&get("/2")).s(&ok("bc"));
    check(
        "SOCKS",
        &talk,
        &[
            "GET /1 -> 200 OK 1 Length flags request_assumed,resynchronised",
            "GET /2 -> 200 OK 2 Length",
        ],
    );
    let talk = Talk::open()
        .c("\x16\x03\x01\x00\x05hello")
        .s("HTTP/1.1 400 B\r\nContent-Length: 0\r\n\r\n");
    check("TLS to an HTTP port", &talk, &["? -> 400 B 0 Length missing [Request]"]);
}

/// Request heads that two servers can end at different places (RFC 9112 §11.2, request smuggling).
#[test]
fn request_heads_that_servers_read_differently_are_flagged() {
    for (fields, body, flag) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            "0\r\n\r\n",
            "request_coding_and_length",
        ),
        ("Content-Length: 1\r\nContent-Length: 1", "a", "request_length_repeated"),
        ("Content-Length : 1", "a", "request_space_before_colon"),
        ("Host : x", "", "request_space_before_colon"),
        ("A: b\r\n c", "", "request_obs_fold"),
        ("A: b\nB: c", "", "request_bare_lf"),
        ("Content-Length: x", "", "request_length_invalid"),
        ("Transfer-Encoding: chunked, x", "", "request_coding_not_chunked"),
    ] {
        let head = format!("POST /1 HTTP/1.1\r\n{fields}\r\n\r\n{body}");
        let expected = format!("POST /1 -> 200 OK 1 Length flags {flag}");
        check(fields, &Talk::open().c(&head).s(&ok("a")), &[&expected]);
    }
}
