//! Start lines, lines of other protocols and PROXY protocol headers.

use http_trace_common::framer::{Framer, RequestQueue};

use crate::{OTHER, requests, run, summarise};

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
fn lines_of_other_protocols_are_no_malformed_requests() {
    let fields = "CSeq: 1\r\n\r\n";
    for line in [
        "OPTIONS rtsp://x/ RTSP/1.0", "SUBSCRIBE sip:a@x SIP/2.0", "OPTIONS icap://x/ ICAP/1.0",
        "SOURCE /live ICE/1.0 ", "220 mail.example ESMTP", "set key 0 0 5", "* OK IMAP4rev1",
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
        (&b"GET / HTTP/1.1\r\n\r\nPROXY TCP4 a b 1 2\r\n\r\n"[..], "not-http true"),
        (b"PROXYTCP4 a b 1 2\r\n\r\n", "not-http false"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", "not-http false"),
        (b"\0\r\nQUIT\n\x21\x11\0\0", "not-http false"),
    ] {
        let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
        let lines = run(&mut framer, &mut queue, &[stream]);
        assert!(lines.iter().any(|line| line == after), "{lines:?}");
    }
}
