//! First lines that are not an HTTP/1.x request line.

use super::*;

#[test]
fn a_malformed_request_line_is_followed_by_its_first_field() {
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    wire.send(true, b"GET /HTTP/1.1\nHost: x\n\n");
    wire.send(false, &ok(100_000));
    assert_eq!(wire.filter.counter(Counter::NotHttp), 0);
    assert_eq!(wire.filter.counter(Counter::BecameUnsure), 0);
    // The first byte shows that it is not a status line.
    assert!(wire.filter.counter(Counter::BodySkipped) >= 99_999);
}

#[test]
fn a_malformed_request_may_be_cut_after_its_line() {
    use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
    use http_trace_model::event::Output;
    let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (sent, target) in [
        // The first field is in a segment of its own, or comes byte by byte.
        (vec![&b"GET /a\r\n"[..], b"Host: x\r\n\r\n"], "/a"),
        (vec![b"GET /a\r\n", b"H", b"o", b"st: x\r\n\r\n"], "/a"),
        // A request follows instead of a field.
        (vec![b"GET /a\r\n", b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n"], "/b"),
    ] {
        let mut pipeline = Pipeline::new(PipelineConfig::default());
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        let mut targets = Vec::new();
        let mut out = |output| {
            if let Output::Http(event) = output {
                targets.extend(event.request.map(|request| request.target.to_vec()));
            }
        };
        for bytes in &sent {
            wire.judged(true, bytes, &mut pipeline, &mut out);
        }
        wire.judged(false, refusal, &mut pipeline, &mut out);
        pipeline.finish(&mut out);
        assert_eq!(targets, [target.as_bytes()], "{sent:?}");
    }
}

/// Lines that are not HTTP/1.x and their HTTP/1.x answers, at the first byte of a stream and after a request.
#[test]
fn a_line_that_is_no_http_1_is_shipped() {
    use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
    use http_trace_model::event::Output;
    let refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    for (lines, target, first_only) in [
        (vec![&b"GET /2\r\n\r\n"[..]], &b"/2"[..], false),
        (vec![b"OPTIONS /2 RTSP/1.0\r\n\r\n"], b"/2", false),
        (vec![b"OPTIONS /2 RT", b"SP/1.0\r\n\r\n"], b"/2", false),
        (vec![b"OPTIONS /2 SIP/2.0\r\nVia: a\r\n\r\n"], b"/2", false),
        (vec![b"GET /2\r\n", b"\r\n"], b"/2", false),
        (vec![b"GET /2\r\n"], b"/2", false),
        (vec![b"GET\t/2\tHTTP/1.1\r\nHost: a\r\n\r\n"], b"/2", false),
        (vec![b"GET\x0b/2 HTTP/1.1\r\nHost: a\r\n\r\n"], b"/2", false),
        (vec![b"HELP\r\n"], b"", true),
        (vec![b"HEL", b"P\r\n\r\n"], b"", true),
        (vec![b"DESCRIBESOMETHING\r\n"], b"", true),
    ] {
        for behind in [true, false] {
            if behind && first_only {
                continue;
            }
            let mut pipeline = Pipeline::new(PipelineConfig::default());
            let mut wire = Wire::new(FilterConfig::DEFAULT);
            let mut events = Vec::new();
            let mut out = |output| {
                if let Output::Http(event) = output {
                    events.push(*event);
                }
            };
            if behind {
                wire.judged(true, &get("/1"), &mut pipeline, &mut out);
                wire.judged(false, &ok(1), &mut pipeline, &mut out);
            }
            for line in &lines {
                wire.judged(true, line, &mut pipeline, &mut out);
            }
            wire.judged(false, refusal, &mut pipeline, &mut out);
            pipeline.finish(&mut out);
            let last = events.pop().expect("an event");
            let request = last.request.as_ref().map(|request| &request.target[..]);
            assert_eq!(last.response.map(|r| r.status), Some(400));
            assert_eq!(request, Some(target), "{lines:?} {behind}");
            assert_eq!(last.flags, ["malformed_request"], "{lines:?} {behind}");
            assert_eq!(events.len(), usize::from(behind), "{lines:?} {behind}");
        }
    }
}

/// Empty lines and blanks before the first request, and a version that a server repeats, hide no request.
#[test]
fn what_servers_pass_over_hides_no_request() {
    use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
    use http_trace_model::event::Output;
    let many = b"\r\n".repeat(30);
    for (before, version) in [
        (&b"\r\n\r\n\r\n"[..], "HTTP/1.1"),
        (b"\n\n\n\n\n", "HTTP/1.1"),
        (&many, "HTTP/1.1"),
        (b" ", "HTTP/1.1"),
        (b"\t  \r\n ", "HTTP/1.1"),
        (b"", "HTTP/2.0"),
        (b"", "HTTP/1.10"),
        (b"\n", "HTTP/3"),
    ] {
        let ask = |n: u8| format!("GET /{n} {version}\r\nHost: a\r\n\r\n").into_bytes();
        let answer = format!("{version} 200 OK\r\nContent-Length: 0\r\n\r\n");
        for together in [true, false] {
            let mut pipeline = Pipeline::new(PipelineConfig::default());
            let mut wire = Wire::new(FilterConfig::DEFAULT);
            let mut targets = Vec::new();
            let mut out = |output| {
                if let Output::Http(event) = output {
                    targets.push(event.request.map(|request| request.target));
                }
            };
            let first = if together { [before, &ask(1)].concat() } else { ask(1) };
            if !together && !before.is_empty() {
                wire.judged(true, before, &mut pipeline, &mut out);
            }
            for sent in [first, ask(2)] {
                wire.judged(true, &sent, &mut pipeline, &mut out);
                wire.judged(false, answer.as_bytes(), &mut pipeline, &mut out);
            }
            pipeline.finish(&mut out);
            let expected = ["/1", "/2"].map(|target| Some(target.into()));
            assert_eq!(targets, expected, "{} {version} {together}", before.escape_ascii());
        }
    }
}

/// Of another protocol, the first line in capitals and its answer ship, and nothing after that.
#[test]
fn another_protocol_is_dropped_once_both_ends_have_spoken() {
    const RTSP: &[u8] = b"OPTIONS / RTSP/1.0\r\n\r\n";
    for (first, second, shipped) in [
        (RTSP, &b"RTSP/1.0 200 OK\r\n\r\n"[..], 2),
        (b"HELP\r\n", b"\x05binary", 2),
        // Methods are not in lower case.
        (b"get a key of mine\r\n", b"END\r\n", 0),
    ] {
        let mut wire = Wire::new(FilterConfig::DEFAULT);
        wire.send(true, first);
        wire.send(false, second);
        let bytes: Vec<_> = wire.records.iter().map(|r| &r.5[..]).collect();
        assert_eq!(bytes, [first, second][..shipped]);
        wire.send(true, RTSP);
        wire.send(false, second);
        assert_eq!(wire.records.len(), shipped, "{:?}", first.escape_ascii());
        assert_eq!(wire.filter.counter(Counter::BodySkipped), 0);
    }
}

#[test]
fn a_line_that_no_field_follows_is_not_held_for_long() {
    use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
    let config = PipelineConfig::default();
    let patience = config.response_timeout_ns;
    let mut pipeline = Pipeline::new(config);
    let mut wire = Wire::new(FilterConfig::DEFAULT);
    wire.judged(true, b"EHLO mail.example\r\n", &mut pipeline, &mut |_| {});
    let held = pipeline.memory().0;
    assert!(held > 0);
    pipeline.tick(wire.time_ns + patience / 2, &mut |_| {});
    assert_eq!(pipeline.memory().0, held);
    pipeline.tick(wire.time_ns + 2 * patience, &mut |_| {});
    assert_eq!(pipeline.memory().0, 0);
}
