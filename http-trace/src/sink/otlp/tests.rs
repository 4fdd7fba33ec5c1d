//! What the records hold, and what becomes of them when the collector is not there, refuses or lies.

use std::collections::VecDeque;
#[cfg(feature = "live")]
use std::io::Read as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::exporter::{Exporter, Failure, Partial, State, Transport};
use super::*;
use crate::protobuf::{Read, find};
use crate::sink::writer::WhenFull;
use http_trace_model::event::LossUnit;
use http_trace_samples as testing;

fn frames(mut out: &[u8], signal: Signal) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Some((head, rest)) = out.split_first_chunk::<FRAME_HEAD>() {
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(Read::Bytes(record)) = find(&rest[..length], 2) else { panic!("a record") };
        if head[0] == signal as u8 {
            all.push(record);
        }
        out = &rest[length..];
    }
    all
}

fn bytes(message: &[u8], field: u32) -> Option<&[u8]> {
    match find(message, field)? {
        Read::Bytes(bytes) | Read::Fixed(bytes) => Some(bytes),
        Read::Number(_) => None,
    }
}

fn number(message: &[u8], field: u32) -> Option<u64> {
    match find(message, field)? {
        Read::Number(number) => Some(number),
        Read::Bytes(_) | Read::Fixed(_) => None,
    }
}

/// Whether a record has an attribute of this name with this text, or this number as text.
fn has(record: &[u8], name: &str, value: &Value<'_>) -> bool {
    let mut expected = Vec::new();
    for field in [6, 9] {
        attribute(&mut expected, field, name, value);
        if memchr::memmem::find(record, &expected).is_some() {
            return true;
        }
        expected.clear();
    }
    false
}

fn written(event: &HttpEvent, style: &Style) -> Vec<u8> {
    let mut out = Vec::new();
    Otlp::new(style).event(&Entry { event, user: None }, &mut out);
    out
}

#[test]
fn a_response_is_a_log_record_and_a_span_of_the_trace_that_the_request_names() {
    let request = testing::request(
        "GET /cart/7?x=1 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: a\r\ntracestate: k=v\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
    );
    let response = testing::response("HTTP/1.1 503 No\r\nX-Two: a\r\nx-two: b\\x41ÿ\r\n\r\n");
    let event = testing::event_of(request, response);
    let out = written(&event, &Style::default());
    let [log] = frames(&out, Signal::Logs)[..] else { panic!("one") };
    let [span] = frames(&out, Signal::Spans)[..] else { panic!("one") };
    let text = Value::word;
    for record in [log, span] {
        for (name, value) in [
            ("http.request.method", text("GET")),
            ("url.path", text("/cart/7")),
            ("url.query", text("x=1")),
            ("server.address", text("shop.example")),
            ("server.port", Value::Number(8080)),
            ("client.address", text("10.1.2.3")),
            ("network.peer.port", Value::Number(50000)),
            ("http.response.status_code", Value::Number(503)),
            ("network.protocol.version", text("1.1")),
            ("error.type", text("503")),
            ("user_agent.original", text("a")),
            ("http.response.header.x-two", Value::List(vec![text("a"), text("b\\x41ÿ")])),
        ] {
            assert!(has(record, name, &value), "{name}");
        }
        assert!(!has(record, "url.full", &text("http://shop.example:8080/cart/7?x=1")));
    }
    let trace = [
        0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47,
        0x36,
    ];
    assert_eq!(bytes(span, 1), Some(&trace[..]));
    assert_eq!(bytes(span, 4), Some(&[0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7][..]));
    assert_eq!(bytes(span, 3), Some(&b"k=v"[..]));
    assert_eq!(bytes(span, 5), Some(&b"GET"[..]));
    assert_eq!(number(span, 6), Some(2), "of a server");
    assert_eq!(bytes(span, 15).and_then(|status| number(status, 3)), Some(2), "an error");
    assert_eq!(bytes(span, 16), Some(&[1, 3, 0, 0][..]), "sampled, remote parent");
    // The log record is of the span.
    assert_eq!((bytes(log, 9), bytes(log, 10)), (bytes(span, 1), bytes(span, 2)));
    assert_eq!(number(log, 2), Some(17));
    // Where no spans are sent, of the one that asked.
    let style = Style { signals: vec![Signal::Logs], ..Style::default() };
    let out = written(&event, &style);
    assert!(frames(&out, Signal::Spans).is_empty());
    assert_eq!(bytes(frames(&out, Signal::Logs)[0], 10), bytes(span, 4));
}

#[test]
fn what_this_host_asked_is_a_span_of_a_client_and_4xx_fails_there_alone() {
    let mut event = testing::event();
    let out = written(&event, &Style::default());
    let of_server = frames(&out, Signal::Spans)[0];
    assert_eq!((number(of_server, 6), bytes(of_server, 15)), (Some(2), None));
    assert!(bytes(of_server, 4).is_none() && bytes(of_server, 1).is_some());
    event.egress = Some(false);
    let out = written(&event, &Style::default());
    let of_client = frames(&out, Signal::Spans)[0];
    assert_eq!(number(of_client, 6), Some(3));
    assert!(bytes(of_client, 15).is_some());
    assert!(has(of_client, "url.full", &Value::word("http://shop.example/cart/7?x=1")));
    assert!(has(of_client, "network.peer.port", &Value::Number(80)));
}

#[test]
fn no_method_makes_a_name_of_its_own() {
    let request = testing::request("BREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    let event = testing::event_of(request, testing::response("HTTP/1.1 200 \r\n\r\n"));
    let out = written(&event, &Style::default());
    let span = frames(&out, Signal::Spans)[0];
    assert_eq!(bytes(span, 5), Some(&b"HTTP"[..]));
    assert!(has(span, "http.request.method", &Value::word("_OTHER")));
    assert!(has(span, "http.request.method_original", &Value::word("BREW")));
}

#[test]
fn ids_of_other_lengths() {
    assert_eq!(hex::<2>(b"a"), [0, 0x0a]);
    assert_eq!(hex::<2>(b"12Ab"), [0x12, 0xab]);
    assert_eq!(hex::<2>(b"99812ab"), [0x12, 0xab]);
}

/// Answers as it is told, and keeps what it took.
struct Fake {
    answers: VecDeque<Result<Partial, Failure>>,
    got: Arc<Mutex<Vec<(Signal, usize)>>>,
}

impl Transport for Fake {
    fn export(&mut self, signal: Signal, request: &[u8]) -> Result<Partial, Failure> {
        let answer = self.answers.pop_front().unwrap_or(Ok(Partial::default()));
        if answer.is_ok() {
            let resource = bytes(request, 1).expect("a resource");
            let scope = bytes(resource, 2).expect("a scope");
            assert!(bytes(resource, 1).is_some() && bytes(scope, 1).is_some());
            self.got.lock().expect("free").push((signal, scope.len()));
        }
        answer
    }
}

fn exporter(
    answers: Vec<Result<Partial, Failure>>,
) -> (Exporter, State, Arc<Mutex<Vec<(Signal, usize)>>>) {
    exporter_that(WhenFull::Drop, answers)
}

fn exporter_that(
    when_full: WhenFull,
    answers: Vec<Result<Partial, Failure>>,
) -> (Exporter, State, Arc<Mutex<Vec<(Signal, usize)>>>) {
    let got = Arc::new(Mutex::new(Vec::new()));
    let fake = Fake { answers: answers.into(), got: Arc::clone(&got) };
    let state = State::default();
    let exporter = Exporter::new(Box::new(fake), "h", when_full, state.clone());
    (exporter, state, got)
}

fn failure(why: &str, again: Option<Duration>) -> Result<Partial, Failure> {
    Err(Failure { why: why.to_owned(), again })
}

fn signals(got: &Mutex<Vec<(Signal, usize)>>) -> Vec<Signal> {
    got.lock().expect("free").iter().map(|(signal, _)| *signal).collect()
}

#[test]
fn what_was_taken_is_not_sent_again_and_pauses_are_kept() {
    let out = written(&testing::event(), &Style::default());
    let answers = vec![Ok(Partial::default()), failure("away", Some(Duration::ZERO))];
    let (mut exporter, state, got) = exporter(answers);
    for _ in 0..3 {
        let error = exporter.write(&out).expect_err("away");
        assert_eq!(error.to_string(), "away");
    }
    assert_eq!(signals(&got), [Signal::Logs]);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(exporter.write(&out).expect("back"), out.len());
    assert_eq!(signals(&got), [Signal::Logs, Signal::Spans]);
    assert_eq!(state.refused(), 0);
}

#[test]
fn a_run_that_ends_does_not_wait_for_the_next_attempt() {
    let out = written(&testing::event(), &Style::default());
    let (mut exporter, state, _) = exporter(vec![failure("away", Some(Duration::from_secs(60)))]);
    for _ in 0..2 {
        exporter.write(&out).expect_err("away");
    }
    state.end();
    assert_eq!(exporter.write(&out).expect("back"), out.len());
}

/// A run that ends does not send one request after the other to a collector that fails.
#[test]
fn a_run_that_ends_tries_at_once_and_few_times() {
    let out = written(&testing::event(), &Style::default());
    let stop = Arc::new(AtomicBool::new(false));
    for (when_full, already_failed) in
        [(WhenFull::Drop, false), (WhenFull::Drop, true), (WhenFull::Wait, false)]
    {
        let away = |n| failure(&format!("away {n}"), Some(Duration::ZERO));
        let (mut exporter, state, got) = exporter_that(when_full, (0..100).map(away).collect());
        if already_failed {
            exporter.write(&out).expect_err("away");
        }
        match when_full {
            WhenFull::Drop => state.end(),
            WhenFull::Wait => {
                state.end_with(&stop);
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(200));
                    stop.store(true, Ordering::Relaxed);
                });
            }
        }
        let begun = std::time::Instant::now();
        let error = exporter.write(&out).expect_err("away").to_string();
        let tried: u32 = error.trim_start_matches("away ").parse().expect("the last attempt");
        assert!((1..=3).contains(&tried), "{when_full:?}: {error}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{when_full:?}: {:?}", begun.elapsed());
        assert!(signals(&got).is_empty());
    }
}

/// The address may be wrong.
#[test]
fn a_replay_waits_less_for_a_collector_that_never_answered() {
    let out = written(&testing::event(), &Style::default());
    let away = || failure("away", Some(Duration::from_secs(60)));
    let (mut exporter, _, _) = exporter_that(WhenFull::Wait, vec![away()]);
    assert_eq!(exporter.write(&out).expect_err("away").to_string(), "away");
    let (mut exporter, _, got) =
        exporter_that(WhenFull::Wait, vec![Ok(Partial::default()), away()]);
    assert_eq!(exporter.write(&out).expect("waited for"), out.len());
    assert_eq!(signals(&got), [Signal::Logs, Signal::Spans]);
}

#[test]
fn what_is_refused_is_counted_and_the_next_goes_on() {
    let event = testing::event();
    let out = [written(&event, &Style::default()), written(&event, &Style::default())].concat();
    // Two log records of which one is refused; then a lie, and an error.
    let partial = |count: u8| {
        let answer = [0x0a, 7, 0x08, count, 0x12, 3, b'w', b'h', b'y'];
        Ok(Partial::of(&answer).expect("a message"))
    };
    let (mut exporter, state, got) =
        exporter(vec![partial(1), partial(100), failure("answered 400 Bad Request", None)]);
    for expected in [(1 + 2, "why"), (3 + 2, "answered 400 Bad Request")] {
        assert_eq!(exporter.write(&out).expect("done with"), out.len());
        assert_eq!((state.refused(), state.why().as_str()), expected);
    }
    assert_eq!(signals(&got).len(), 3);
}

#[test]
fn requests_are_bounded() {
    let one = written(&testing::event(), &Style::default());
    let out = one.repeat(5000);
    let (mut exporter, _, got) = exporter(Vec::new());
    let mut rest = &out[..];
    while !rest.is_empty() {
        let taken = exporter.write(rest).expect("taken");
        rest = &rest[taken..];
    }
    let got = got.lock().expect("free");
    assert!(got.len() >= 2 * 5000 / 512, "{}", got.len());
    assert!(got.iter().all(|(_, bytes)| *bytes <= 1 << 20));
}

#[test]
fn a_loss_is_a_log_record() {
    let loss = Loss {
        count: 3,
        unit: LossUnit::Records,
        place: "ring_full",
        since_ns: 0,
        until_ns: 1_000_000_000,
        detail: None,
    };
    let mut out = Vec::new();
    Otlp::new(&Style::default()).loss(&loss, &mut out);
    let log = frames(&out, Signal::Logs)[0];
    assert!(has(log, "http_trace.lost.count", &Value::Number(3)));
    assert_eq!(number(log, 2), Some(13));
}

/// What a listener answers, one after the other, and what it does then.
#[cfg(feature = "live")]
enum Then {
    Close,
    /// Sends this as fast as it is taken.
    Flood(&'static [u8]),
    /// Sends a byte from time to time.
    Trickle,
    Hang,
}

#[cfg(feature = "live")]
fn serve(listener: &std::net::TcpListener, answer: &str, then: &Then) {
    let (mut stream, _) = listener.accept().expect("a client");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\nbody") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"POST /v1/traces HTTP/1.1\r\n"));
    stream.write_all(answer.as_bytes()).expect("sent");
    match then {
        Then::Close => {}
        Then::Flood(bytes) => while stream.write_all(bytes).is_ok() {},
        Then::Trickle => {
            while stream.write_all(b"\n").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Then::Hang => drop(stream.read(&mut [0])),
    }
}

/// `Some(true)`: taken; `Some(false)`: to be tried again; `None`: counted as refused.
#[cfg(feature = "live")]
#[test]
fn http_answers_and_what_they_mean() {
    const PATIENCE: Duration = Duration::from_millis(300);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    const EMPTY: &str = "Content-Length: 0\r\nConnection: close\r\n\r\n";
    let whole = |head: &str, body: &str| {
        let length = body.len();
        format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let protobuf = "200 OK\r\nContent-Type: application/x-protobuf";
    let json = "200 OK\r\nContent-Type: application/json";
    let answers = [
        (format!("200 OK\r\n{EMPTY}"), Then::Close, Some(true)),
        (format!("202 Accepted\r\n{EMPTY}"), Then::Close, Some(true)),
        ("204 No Content\r\n\r\n".to_owned(), Then::Close, Some(true)),
        (format!("503 Away\r\nRetry-After: 7\r\n{EMPTY}"), Then::Close, Some(false)),
        (format!("429 Slow\r\n{EMPTY}"), Then::Close, Some(false)),
        (format!("400 No\r\n{EMPTY}"), Then::Close, None),
        (format!("302 There\r\nLocation: http://127.0.0.1:1/\r\n{EMPTY}"), Then::Close, None),
        // What OTLP has as an answer, and what it has not.
        (whole(protobuf, "\n\0"), Then::Close, Some(true)),
        (whole(json, "{\"partialSuccess\":{}}"), Then::Close, Some(true)),
        (whole(json, "{\"partialSuccess\":"), Then::Close, None),
        (whole(protobuf, "\n\x05cut"), Then::Close, None),
        (whole("200 OK", "OK"), Then::Close, None),
        (whole("200 OK", "<html><h1>Welcome</h1>"), Then::Close, None),
        (whole("200 OK\r\nContent-Type: Text/HTML; charset=utf-8", "Hi"), Then::Close, None),
        (whole("200 OK\r\nContent-Type: text/html", ""), Then::Close, None),
        // Answers without end, and too long ones.
        ("200 OK\r\n\r\n".to_owned(), Then::Flood(&[b'\n'; 4096]), None),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            Then::Flood(b"2\r\n\n\0\r\n"),
            None,
        ),
        ("200 OK\r\nX: ".to_owned(), Then::Flood(&[b'x'; 4096]), Some(false)),
        (whole(protobuf, &"\n\0".repeat(33 << 10)), Then::Close, None),
        (whole(protobuf, &"\n\0".repeat(32 << 10)), Then::Close, Some(true)),
        ("200 OK\r\n\r\n".to_owned(), Then::Trickle, None),
        ("200 OK\r\nContent-Length: 9\r\n\r\n\n".to_owned(), Then::Hang, None),
        ("200 OK\r\nContent-Length: 9\r\n\r\n\n".to_owned(), Then::Close, None),
        ("200 O".to_owned(), Then::Hang, Some(false)),
    ];
    let none = crate::own_sockets::OwnSockets::default;
    let mut http = http::Http::new(&url, false, "", none(), PATIENCE).expect("good");
    for (answer, then, expected) in &answers {
        std::thread::scope(|scope| {
            scope.spawn(|| serve(&listener, &format!("HTTP/1.1 {answer}"), then));
            let begun = std::time::Instant::now();
            let result = http.export(Signal::Spans, b"body");
            let got = match &result {
                Ok(_) => Some(true),
                Err(failure) => failure.again.map(|_| false),
            };
            let shown = answer.get(..99).unwrap_or(answer);
            assert_eq!(got, *expected, "{shown}: {result:?}");
            assert!(begun.elapsed() < 10 * PATIENCE, "{shown}");
        });
    }
    drop(listener);
    let failure = http.export(Signal::Spans, b"body").expect_err("nobody listens");
    assert!(failure.again.is_some(), "{}", failure.why);
}

/// Some collectors answer in JSON whatever they were sent.
#[cfg(feature = "live")]
#[test]
fn what_an_answer_in_json_refuses_is_counted() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let body = r#"{"partialSuccess":{"rejectedSpans":"7","errorMessage":"old"}}"#;
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    let server = std::thread::spawn(move || serve(&listener, &answer, &Then::Close));
    let none = crate::own_sockets::OwnSockets::default();
    let mut http = http::Http::new(&url, false, "", none, request::PATIENCE).expect("good");
    let partial = http.export(Signal::Spans, b"body").expect("an answer");
    assert_eq!(partial, Partial::new(7, b"old"));
    server.join().expect("served");
}

fn named(at: &[u8], name: &str) -> bool {
    bytes(at, 1) == Some(name.as_bytes())
}

#[test]
fn metrics_are_cumulative_and_sent_when_they_are_due() {
    const SECOND: u64 = 1_000_000_000;
    let style = Style { signals: vec![Signal::Metrics], every_ns: 10 * SECOND, ..Style::default() };
    let mut otlp = Otlp::new(&style);
    let mut out = Vec::new();
    let mut push = |otlp: &mut Otlp, second: u64, host: &str| {
        let request = testing::request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let mut event = testing::event_of(request, testing::response("HTTP/1.1 503 x\r\n\r\n"));
        event.time_ns = second * SECOND;
        event.request_start_ns = Some(event.time_ns - 20_000_000);
        event.request_end_ns = event.request_start_ns;
        otlp.event(&Entry { event: &event, user: None }, &mut out);
        std::mem::take(&mut out)
    };
    assert!(push(&mut otlp, 1000, "a.example").is_empty());
    assert_eq!(otlp.due_ns(), Some(1010 * SECOND));
    let mut out = Vec::new();
    for (now, events) in [(1010, 1), (1030, 2)] {
        otlp.tick(now * SECOND, &mut out);
        let sent = frames(&out, Signal::Metrics);
        let ttfb = sent.iter().find(|m| named(m, "http_trace.server.time_to_first_byte"));
        assert!(ttfb.is_some(), "{}", sent.len());
        let sum = sent.iter().find(|m| named(m, "http_trace.responses")).expect("counts");
        let point = bytes(bytes(sum, 7).expect("a sum"), 1).expect("a point");
        assert_eq!(bytes(point, 6), Some(&u64::to_le_bytes(events)[..]));
        let mut class = Vec::new();
        attribute(&mut class, 7, "http_trace.status_class", &Value::word("5xx"));
        assert!(memchr::memmem::find(point, &class).is_some());
        out.clear();
        otlp.tick((now + 10) * SECOND, &mut out);
        assert!(out.is_empty(), "nothing came");
        push(&mut otlp, now + 11, "a.example");
    }
    // What finds no room in the queue is counted as well.
    let response = testing::response("HTTP/1.1 503 x\r\n\r\n");
    let request = testing::request("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let event = testing::event_of(request, response);
    otlp.missed(&Entry { event: &event, user: None });
    otlp.tick(1060 * SECOND, &mut out);
    let sent = frames(&out, Signal::Metrics);
    let sum = sent.iter().find(|m| named(m, "http_trace.responses")).expect("counts");
    let point = bytes(bytes(sum, 7).expect("a sum"), 1).expect("a point");
    assert_eq!(bytes(point, 6), Some(&u64::to_le_bytes(4)[..]));
    // Whoever invents hosts makes no more series than there may be.
    for n in 0..2500 {
        push(&mut otlp, 1041, &format!("h{n}.example"));
    }
    push(&mut otlp, 1041, &"x".repeat(3000));
    let tail = otlp.tail();
    let mut overflow = Vec::new();
    attribute(&mut overflow, 7, "otel.metric.overflow", &Value::Bool(true));
    assert!(memchr::memmem::find(&tail, &overflow).is_some());
    assert!(tail.len() < 4 << 20, "{}", tail.len());
    let sent = frames(&tail, Signal::Metrics);
    assert!(sent.iter().all(|metric| metric.len() < 1 << 18));
}
