//! Messages: framing, pairing, and the exchanges around a response (RFC 9110, RFC 9112).

use crate::talk::{Bench, MS, START_NS, Side, Talk, check, get, ok};
use http_trace_engine::pipeline::{Emit, PipelineConfig};
use http_trace_engine::stats::Unreadable;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn one_exchange_after_another() {
    let talk = Talk::open().c(&get("/1")).s(&ok("hello")).c(&get("/2")).s(&ok(""));
    check("keep-alive", &talk, &["GET /1 -> 200 OK 5 Length", "GET /2 -> 200 OK 0 Length"]);
    let talk = Talk::open().c(&(get("/1") + &get("/2"))).s(&(ok("a") + &ok("bc")));
    check("pipelined", &talk, &["GET /1 -> 200 OK 1 Length", "GET /2 -> 200 OK 2 Length"]);
    let mut talk = Talk::open();
    for byte in get("/1").bytes() {
        talk = talk.c(std::str::from_utf8(&[byte]).expect("ASCII"));
    }
    for byte in ok("hello").bytes() {
        talk = talk.s(std::str::from_utf8(&[byte]).expect("ASCII"));
    }
    check("a byte a segment", &talk, &["GET /1 -> 200 OK 5 Length"]);
}

#[test]
fn a_proxy_protocol_header_is_no_message_and_names_the_client() {
    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x02\x12\x34\0\x50";
    for preface in [&b"PROXY TCP4 203.0.113.9 10.0.0.2 4660 80\r\n"[..], V2] {
        // In the segment of the first request, and alone.
        for together in [true, false] {
            let mut first = preface.to_vec();
            let mut talk = Talk::open();
            if !together {
                talk = talk.send(Side::Client, &first, 0);
                first.clear();
            }
            first.extend_from_slice(get("/1").as_bytes());
            let talk = talk.send(Side::Client, &first, 0).s(&ok("hello")).c(&get("/2")).s(&ok(""));
            check("proxied", &talk, &["GET /1 -> 200 OK 5 Length", "GET /2 -> 200 OK 0 Length"]);
            let mut bench = Bench::new(PipelineConfig::default());
            bench.push_all(&talk.segs);
            bench.finish();
            for event in &bench.events {
                let forwarded = event.forwarded.map(|f| (f.ip.to_string(), f.port));
                assert_eq!(forwarded, Some(("203.0.113.9".to_owned(), Some(4660))));
            }
        }
    }
}

#[test]
fn bodies_end_as_rfc_9112_says() {
    let until_close = "HTTP/1.1 200 OK\r\n\r\nabc";
    for (name, request, response, expected) in [
        (
            "chunked",
            "GET",
            format!("{CHUNKED}3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n"),
            "200 OK 5 Chunked",
        ),
        ("close", "GET", until_close.to_owned(), "200 OK 3 Close"),
        ("HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".into(), "200 OK 0 None"),
        ("204", "GET", "HTTP/1.1 204 No\r\n\r\n".into(), "204 No 0 None"),
        ("304", "GET", "HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n".into(), "304  0 None"),
        ("CONNECT", "CONNECT", "HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01".into(), "200 OK 0 Tunnel"),
        (
            "CONNECT refused",
            "CONNECT",
            "HTTP/1.1 403 F\r\nContent-Length: 1\r\n\r\nx".into(),
            "403 F 1 Length",
        ),
        ("101", "GET", "HTTP/1.1 101 S\r\nUpgrade: w\r\n\r\n\x01\x02".into(), "101 S 0 Tunnel"),
        (
            "repeated length",
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx".into(),
            "200 OK 1 Length flags length_repeated",
        ),
    ] {
        let request = format!("{request} /x HTTP/1.1\r\n\r\n");
        let talk = Talk::open().c(&request).s(&response).s_fin().c_fin();
        let method = request.split(' ').next().expect("a method");
        check(name, &talk, &[&format!("{method} /x -> {expected}")]);
    }
}

#[test]
fn what_follows_a_tunnel_is_not_looked_at() {
    let talk = Talk::open()
        .c("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        .s("HTTP/1.1 101 Switching\r\n\r\n")
        .c(&get("/inside"))
        .s(&ok("inside"));
    check("101", &talk, &["GET /ws -> 101 Switching 0 Tunnel"]);
}

/// What a tunnel holds is not read, and the end of a run says so.
#[test]
fn what_follows_a_tunnel_is_counted_as_not_readable() {
    for (response, expected) in [
        ("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n", Unreadable::Tunnel),
        ("HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n", Unreadable::Http2),
    ] {
        let talk = Talk::open().c("GET /x HTTP/1.1\r\nUpgrade: x\r\n\r\n").s(response);
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&talk.s("\0\0\x06").segs);
        assert_eq!(bench.pipeline.stats().unreadable, [((expected, 80), 1)].into());
    }
}

#[test]
fn what_is_sent_after_connect_is_the_tunnels_if_there_is_one() {
    let connect = "CONNECT db:443 HTTP/1.1\r\nHost: db\r\n\r\n";
    let inside = get("/inside");
    let tunnel = "HTTP/1.1 200 OK\r\n\r\n";
    let refused = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
    let upgrade = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let early = |first: &str, answer: &str| Talk::open().c(first).c(&inside).s(answer);
    let closed = |talk: Talk| talk.s_fin().c_fin().wait_ms(1_100).c_ack();
    for (name, talk, expected) in [
        (
            "a request",
            closed(early(connect, tunnel).s(&ok("inside"))),
            &["CONNECT db:443 -> 200 OK 0 Tunnel"][..],
        ),
        (
            "a request, and no more",
            closed(early(connect, tunnel)),
            &["CONNECT db:443 -> 200 OK 0 Tunnel"],
        ),
        (
            "in one segment",
            closed(Talk::open().c(&[connect, &inside].concat()).s(tunnel)),
            &["CONNECT db:443 -> 200 OK 0 Tunnel"],
        ),
        (
            "half of one",
            closed(Talk::open().c(connect).c(&inside[..20]).s(tunnel)),
            &["CONNECT db:443 -> 200 OK 0 Tunnel"],
        ),
        (
            "before 101",
            closed(early(upgrade, "HTTP/1.1 101 S\r\n\r\n")),
            &["GET /ws -> 101 S 0 Tunnel"],
        ),
        (
            "refused",
            closed(early(connect, refused).s(&ok("ab"))),
            &["CONNECT db:443 -> 403 No 0 Length", "GET /inside -> 200 OK 2 Length"],
        ),
        (
            "refused, and closed then",
            closed(early(connect, refused)),
            &["CONNECT db:443 -> 403 No 0 Length", "GET /inside -> Closed"],
        ),
        (
            "not answered",
            closed(Talk::open().c(&get("/1")).s(&ok("")).c(connect).c(&inside)),
            &["GET /1 -> 200 OK 0 Length", "CONNECT db:443 -> Closed"],
        ),
    ] {
        check(name, &talk, expected);
    }
    let waits = Talk::open().c(&get("/1")).s(&ok("")).c(connect).c(&inside);
    let mut bench = Bench::new(PipelineConfig::default());
    bench.push_all(&waits.segs);
    bench.tick(waits.now_ns + 31_000 * MS);
    assert_eq!(bench.lines, ["GET /1 -> 200 OK 0 Length", "CONNECT db:443 -> Timeout"]);
}

#[test]
fn informational_heads_ride_on_their_final_response() {
    let talk = Talk::open()
        .c("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        .s("HTTP/1.1 100 Continue\r\n\r\n")
        .c("ab")
        .s("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        .s(&ok("z"))
        .c(&get("/2"))
        .s(&ok(""));
    check(
        "100 and 103",
        &talk,
        &["POST /1 -> 100 103 200 OK 1 Length", "GET /2 -> 200 OK 0 Length"],
    );
    let talk = Talk::open()
        .c(&get("/1"))
        .s("HTTP/1.1 102 Processing\r\n\r\n")
        .s_fin()
        .c_fin()
        .wait_ms(1_100)
        .c_ack();
    check("alone", &talk, &["GET /1 -> 102 Processing 0 None missing [End]"]);
}

#[test]
fn an_unsolicited_408_answers_nothing() {
    let timeout = "HTTP/1.1 408 T\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let talk = Talk::open().c(&get("/1")).s(&ok("a")).wait_ms(60_000).s(timeout).s_fin().c_fin();
    check("idle", &talk, &["GET /1 -> 200 OK 1 Length", "? -> 408 T 0 Length missing [Request]"]);
    // The request crossed it: the server had not seen it.
    let talk = Talk::open().c(&get("/1")).s(&ok("a"));
    let late = talk.seg(Side::Server, timeout.as_bytes());
    let talk = talk.c(&get("/2")).push(late);
    check(
        "crossing",
        &talk,
        &[
            "GET /1 -> 200 OK 1 Length",
            "? -> 408 T 0 Length missing [Request]",
            "(finish)",
            "GET /2 -> Unseen",
        ],
    );
    // Half a request had arrived: it is answered, though not all of it can be shown.
    let talk = Talk::open().c("GET /slow HTTP/1.1\r\nHo").s(timeout).s_fin().c_fin();
    check(
        "partial request",
        &talk,
        &["GET /slow -> 408 T 0 Length missing [RequestHeaders] flags request_unfinished"],
    );
    // Part of a request line: a server need not wait for its end, if it is too long or too slow.
    let long = format!("GET /{} HT", "long".repeat(3_000));
    let talk =
        Talk::open().c(&long).s("HTTP/1.1 414 L\r\nContent-Length: 0\r\n\r\n").s_fin().c_fin();
    check(
        "partial request line",
        &talk,
        &[&format!(
            "GET /{} -> 414 L 0 Length missing [RequestHeaders] flags request_unfinished",
            "long".repeat(3_000)
        )],
    );
}

#[test]
fn a_response_may_come_before_its_request_has_ended() {
    let talk = Talk::open()
        .c("POST /1 HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        .s("HTTP/1.1 413 L\r\nContent-Length: 0\r\n\r\n")
        .c("defghij")
        .c(&get("/2"))
        .s(&ok("x"));
    check(
        "early",
        &talk,
        &["POST /1 -> 413 L 0 Length flags request_unfinished", "GET /2 -> 200 OK 1 Length"],
    );
}

/// Of a request body whose end nobody can find, nobody knows the size.
#[test]
fn an_upload_whose_framing_is_lost_has_no_size() {
    let chunked = "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let begun = || Talk::open().c(chunked);
    for (name, talk, size) in [
        ("whole", begun().c("2\r\nde\r\n0\r\n\r\n"), Some(5)),
        ("no chunk size", begun().c("zz\r\nde\r\n0\r\n\r\n"), None),
        ("a gap", begun().c("2\r\n").lost().c("de\r\n0\r\n\r\n"), None),
    ] {
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&talk.s(&ok("x")).c_ack().c(&get("/2")).s(&ok("")).segs);
        bench.finish();
        let sizes: Vec<_> = bench.events.iter().map(|event| event.request_body_bytes).collect();
        assert_eq!(sizes, [size, Some(0)], "{name}: {:#?}", bench.lines);
    }
}

#[test]
fn an_impossible_status_is_no_response_and_what_follows_is_found() {
    for code in ["000", "1000", "99", "2x0"] {
        let talk = Talk::open()
            .c(&get("/1"))
            .s(&format!("HTTP/1.1 {code} Odd\r\nContent-Length: 3\r\n\r\nabc"))
            .c(&get("/2"))
            .s(&ok("z"));
        check(code, &talk, &["GET /1 -> Unreadable", "GET /2 -> 200 OK 1 Length"]);
    }
}

#[test]
fn an_answer_that_is_no_http_1_is_told() {
    for answer in [
        "ICY 200 OK\r\nicy-name: radio\r\n\r\nmusic",
        "<html>HTTP/0.9</html>",
        "RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "-ERR unknown command 'GET'\r\n",
    ] {
        let talk = Talk::open().c(&get("/1")).s(answer);
        check(answer, &talk, &["GET /1 -> Unreadable"]);
        let later = Talk::open().c(&get("/1")).s(&ok("x")).c(&get("/2"));
        let talk = later.clone().s(answer).c_fin().s_fin().wait_ms(1_100).c_ack();
        check(answer, &talk, &["GET /1 -> 200 OK 1 Length", "GET /2 -> Unreadable"]);
        check(
            answer,
            &later.s(answer).c(&get("/3")).s(&ok("y")),
            &[
                "GET /1 -> 200 OK 1 Length",
                "GET /2 -> Unreadable",
                "GET /3 -> 200 OK 1 Length flags resynchronised",
            ],
        );
        // The server had not received the request.
        let mut crossed = Talk::open().c(&get("/1")).s(&ok("x")).c(&get("/2"));
        let mut rest = crossed.seg(Side::Server, answer.as_bytes());
        rest.ack = rest.ack.map(|ack| ack.wrapping_sub(get("/2").len() as u32));
        crossed = crossed.push(rest).c_fin().s_fin();
        check(answer, &crossed.wait_ms(1_100).c_ack(), &["GET /1 -> 200 OK 1 Length"]);
        // Bytes after a response are not the next one.
        let talk = Talk::open().c(&get("/1")).c(&get("/2")).s(&ok("x")).s(answer);
        check(answer, &talk, &["GET /1 -> 200 OK 1 Length"]);
    }
}

#[test]
fn a_head_longer_than_what_is_kept_is_flagged_and_followed() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nA: b\r\nX: {}\r\nContent-Length: 3\r\n\r\nabc",
        "x".repeat(80_000)
    );
    let talk = Talk::open().c(&get("/1")).s(&long).c(&get("/2")).s(&ok("z"));
    check(
        "80 KB",
        &talk,
        &[
            "GET /1 -> 200 OK 3 Length missing [Headers] flags headers_truncated",
            "GET /2 -> 200 OK 1 Length",
        ],
    );
}

#[test]
fn emission() {
    let slow = || {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
        Talk::open()
            .c(&get("/1"))
            .s(head)
            .wait_ms(5_000)
            .c_ack()
            .s("defghij")
            .c(&get("/2"))
            .s(&ok("z"))
    };
    for (emit, expected) in [
        (
            Emit::Auto,
            ["GET /1 -> 200 OK 3 missing [End] flags still_open", "GET /2 -> 200 OK 1 Length"],
        ),
        (Emit::End, ["GET /1 -> 200 OK 10 Length", "GET /2 -> 200 OK 1 Length"]),
        (Emit::Head, ["GET /1 -> 200 OK missing [End]", "GET /2 -> 200 OK missing [End]"]),
    ] {
        let config = PipelineConfig { emit, ..PipelineConfig::default() };
        assert_eq!(slow().judged_with(config), expected, "{emit:?}");
    }
    // Time alone suffices, too.
    let mut bench = Bench::new(PipelineConfig::default());
    let talk = Talk::open().c(&get("/1")).s("HTTP/1.1 200 OK\r\n\r\ndata: 1\n");
    bench.push_all(&talk.segs);
    bench.tick(START_NS + 1_900 * MS);
    assert_eq!(bench.lines, [] as [&str; 0]);
    bench.tick(START_NS + 2_100 * MS);
    assert_eq!(bench.lines, ["GET /1 -> 200 OK 8 missing [End] flags still_open"]);
    assert_eq!(bench.finish().len(), 1);
    // If the request may have been HEAD, only the first byte of a body shows that there is one.
    for (body, expected) in [
        ("", "? -> 200 OK missing [Request, End]"),
        ("abc", "? -> 200 OK 3 missing [Request, End] flags still_open"),
    ] {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
        let mut bench = Bench::new(PipelineConfig::default());
        bench.push_all(&Talk::open().s(&format!("{head}{body}")).segs);
        bench.tick(START_NS + 2_100 * MS);
        assert_eq!(bench.lines, [expected]);
    }
}

#[test]
fn however_many_requests_wait_each_response_is_framed_by_its_own() {
    const FAKE: &str = "HTTP/1.1 500 FAKE\r\nContent-Length: 0\r\n\r\n";
    let method = |n: usize| if n.is_multiple_of(3) { "GET" } else { "HEAD" };
    let ask = |from: usize, to: usize| -> String {
        let all = (from..to).map(|n| format!("{} /{n} HTTP/1.1\r\n\r\n", method(n)));
        all.collect()
    };
    for waiting in [1, 27, 28, 29, 30, 57, 100] {
        let mut talk = Talk::open().c(&ask(0, waiting));
        let mut expected = Vec::new();
        for n in 0..waiting + 10 {
            if n == waiting / 2 {
                talk = talk.c(&ask(waiting, waiting + 10));
            }
            let len = FAKE.len();
            talk = talk.s(&format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n"));
            let body = match method(n) {
                "GET" => {
                    talk = talk.s(FAKE);
                    format!("{len} Length")
                }
                _ => "0 None".to_owned(),
            };
            expected.push(format!("{} /{n} -> 200 OK {body}", method(n)));
        }
        assert_eq!(talk.judged(), expected, "{waiting} requests wait");
    }
}

#[test]
fn times_and_sizes() {
    let talk = Talk::open()
        .c("POST /1 HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")
        .c("cd")
        .s("HTTP/1.1 200 OK\r\nTransfer-")
        .s("Encoding: chunked\r\n\r\n")
        .s("3\r\nabc\r\n")
        .s("0\r\n\r\n");
    let mut bench = Bench::new(PipelineConfig::default());
    bench.push_all(&talk.segs);
    let event = &bench.events[0];
    let at = |n: u64| Some(START_NS + n * MS);
    assert_eq!((event.request_start_ns, event.request_end_ns), (at(3), at(4)));
    assert_eq!(
        (event.response_start_ns, event.head_end_ns, event.response_end_ns),
        (at(5), at(6), at(8))
    );
    assert_eq!((event.body_bytes, event.request_body_bytes), (Some(3), Some(4)));
    let head = event.response.as_ref().expect("a response").wire_len;
    assert_eq!(event.response_bytes, Some(head + 8 + 5));
    assert_eq!((event.client.port, event.server.port), (40_000, 80));
    assert_eq!((event.connection, event.ordinal, event.sequence), (1, 1, 0));
}

/// Regression: beyond 1,024 requests at once the order was lost, and with it every request of the connection; where they
/// were of HEAD, responses were taken for bodies.
#[test]
fn thousands_of_requests_at_once_are_paired() {
    let asked: String = (0..3000)
        .map(|n| match n % 3 {
            0 => format!("HEAD /{n} HTTP/1.1\r\nHost: a\r\n\r\n"),
            _ => get(&format!("/{n}")),
        })
        .collect();
    let answers: String = (0..3000)
        .map(|n| match n % 3 {
            0 => "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".to_owned(),
            _ => ok("a"),
        })
        .collect();
    let mut bench = Bench::new(PipelineConfig::default());
    let mut talk = Talk::open();
    let in_pieces = |text: &str| {
        let pieces = text.as_bytes().chunks(1400).map(String::from_utf8_lossy);
        pieces.map(String::from).collect::<Vec<_>>()
    };
    for piece in in_pieces(&asked) {
        talk = talk.c(&piece);
    }
    for piece in in_pieces(&answers) {
        talk = talk.s(&piece);
    }
    bench.push_all(&talk.c(&get("/last")).s(&ok("b")).segs);
    assert_eq!(bench.lines.len(), 3001);
    for (n, line) in bench.lines[..3000].iter().enumerate() {
        let method = ["HEAD", "GET", "GET"][n % 3];
        assert!(line.starts_with(&format!("{method} /{n} -> 200 ")), "{line}");
    }
}

/// Regression: the fields at the end of a request's head, which name the client, were missing without a word.
#[test]
fn a_request_whose_head_is_too_long_says_so() {
    let field = |n| format!("X-{n}: {}\r\n", "v".repeat(8000));
    let fields: String = (0..9).map(field).collect();
    let asked = format!("GET /1 HTTP/1.1\r\nHost: a\r\n{fields}X-Forwarded-For: 10.0.0.9\r\n\r\n");
    let mut talk = Talk::open();
    for piece in asked.as_bytes().chunks(1400) {
        talk = talk.c(&String::from_utf8_lossy(piece));
    }
    check(
        "a long request",
        &talk.s(&ok("a")),
        &["GET /1 -> 200 OK 1 Length missing [RequestHeaders]"],
    );
}

/// A server that ignores the body of a GET answers what it looks like. Which response that is, nothing shows in time.
#[test]
fn what_is_sent_behind_a_body_that_a_server_may_ignore_is_assumed() {
    for (method, is_assumed) in [("GET", true), ("DELETE", true), ("POST", false)] {
        let body = "GET /no HTTP/1.1\r\n\r\n";
        let length = body.len();
        let first = format!("{method} /1 HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
        let flag = if is_assumed { " flags request_assumed" } else { "" };
        let talk = Talk::open().c(&(first.clone() + &get("/2") + &get("/3"))).s(&ok("a"));
        let talk = talk.s(&ok("b")).s(&ok("c"));
        let expected = [
            format!("{method} /1 -> 200 OK 1 Length"),
            format!("GET /2 -> 200 OK 1 Length{flag}"),
            format!("GET /3 -> 200 OK 1 Length{flag}"),
            "GET /4 -> 200 OK 1 Length".to_owned(),
        ];
        let expected = expected.each_ref().map(String::as_str);
        check(method, &talk.c(&get("/4")).s(&ok("d")), &expected);
        let talk = Talk::open().c(&first).s(&ok("a")).c(&get("/4")).s(&ok("d"));
        check(method, &talk, &[expected[0], expected[3]]);
    }
}

/// While only the server is heard, a declared body is one, whatever it looks like, unless another request may have come.
#[test]
fn a_declared_body_is_one_where_only_the_server_is_heard() {
    let body = ok("a").repeat(3);
    let whole = ok(&body);
    let (head, _) = whole.split_at(whole.len() - body.len());
    for (name, parts) in [
        ("at once", &[&whole[..]][..]),
        ("head apart", &[head, &body]),
        ("by the message", &[head, &ok("a"), &ok("a"), &ok("a")]),
    ] {
        let mut talk = Talk::open();
        for n in 0..2 {
            talk = talk.c(&get(&format!("/{n}")));
            talk = parts.iter().fold(talk, |talk, part| talk.s(part));
            // After a SYN-ACK the client is waited for.
            talk = talk.wait_ms(100);
        }
        talk = talk.c("HEAD / HTTP/1.1\r\n\r\n").s(head).c(&get("/4")).s(&ok("b")).s_fin();
        talk.segs.retain(|seg| seg.from == Side::Server);
        let one = format!("? -> 200 OK {} Length missing [Request]", body.len());
        let of_head = "? -> 200 OK 0 None missing [Request]";
        let last = "? -> 200 OK 1 Length missing [Request] flags resynchronised";
        check(name, &talk, &[&one, &one, "(finish)", of_head, last]);
    }
}
