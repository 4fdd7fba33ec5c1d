//! Our own json, read back.

use serde_json::Value;

use super::{one, read, shown};
use crate::redact::Secrets;
use crate::sink::json::Json;
use crate::sink::{Entry, Render, Style};
use bytes::Bytes;
use http_trace_common::record::Hook;
use http_trace_model::event::{BodyEnd, Endpoint, HttpEvent, Missing, NoResponse, basic_user};
use http_trace_samples as testing;

#[test]
fn our_own_json_comes_back() {
    let mut json = Json::new(&Style::default());
    let mut proxied = testing::event();
    proxied.forwarded = Some(http_trace_model::event::Forwarded {
        ip: "203.0.113.9".parse().expect("an address"),
        port: None,
    });
    let mut posted = testing::event();
    posted.request_body_bytes = Some(30);
    let mut unanswered = testing::event();
    (unanswered.response, unanswered.no_response) = (None, Some(NoResponse::Timeout));
    (unanswered.body_bytes, unanswered.response_bytes) = (None, None);
    unanswered.given_up_ns = unanswered.response_end_ns;
    unanswered.response_start_ns = None;
    unanswered.head_end_ns = None;
    unanswered.response_end_ns = None;
    let mut open = testing::event();
    (open.complete, open.missing) = (false, vec![Missing::Request, Missing::End]);
    (open.request, open.request_body_bytes) = (None, None);
    open.flags = vec!["bare_lf", "still_open"];
    open.interfaces = ["eth0", "eth1"].map(Into::into).into_iter().collect();
    let mut other_version = testing::event();
    if let Some(request) = &mut other_version.request {
        request.version = Some(Bytes::from_static(b"RTSP/1.0"));
    }
    let mut logged = testing::event();
    (logged.server, logged.client.port) = (Endpoint::NOBODY, 0);
    let mut anonymous = logged.clone();
    anonymous.client = Endpoint::NOBODY;
    for event in
        [testing::event(), logged, anonymous, proxied, posted, unanswered, open, other_version]
    {
        let mut line = Vec::new();
        json.event(&Entry { event: &event, user: None }, &mut line);
        let back = one(&line);
        assert_eq!(shown(&back), shown(&event));
        assert_eq!((back.client, back.server), (event.client, event.server));
        assert_eq!(back.id, event.id);
        assert_eq!(back.request_bytes(), event.request_bytes());
        assert_eq!(back.ttfb_ns(), event.ttfb_ns());
        assert!(event.duration_ns().is_some());
        assert_eq!(back.duration_ns(), event.duration_ns());
        assert_eq!(back.no_response, event.no_response);
        assert_eq!(back.missing, event.missing);
        assert_eq!(back.flags, event.flags);
        assert_eq!(back.interfaces, event.interfaces);
        let version = |e: &HttpEvent| e.request.as_ref().and_then(|r| r.version.clone());
        assert_eq!(version(&back), version(&event));
        let count = |e: &HttpEvent| e.response.as_ref().map(|r| r.headers.len());
        assert_eq!(count(&back), count(&event));
    }
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let wire: [&[u8]; 5] =
        [br"\x16x03", b"/caf\xe9 \x16\x03", br"C:\x5c", b"\\\xff", "\u{202e}\u{e9}".as_bytes()];
    let mut json = Json::new(&Style::default());
    for bytes in wire {
        let mut event = testing::event();
        let copy = Bytes::copy_from_slice(bytes);
        let request = event.request.as_mut().expect("a request");
        (request.method, request.target) = (copy.clone(), copy.clone());
        request.headers.push(b"x-bytes", bytes);
        let response = event.response.as_mut().expect("a response");
        response.reason = copy.clone();
        event.body_snippet = Some(copy.clone());
        let mut line = Vec::new();
        let entry = Entry { event: &event, user: None };
        json.event(&entry, &mut line);
        let back = one(&line);
        let (request, response) = (back.request.expect("one"), back.response.expect("one"));
        assert_eq!(request.method, bytes);
        assert_eq!(request.target, bytes);
        assert_eq!(request.headers.first("x-bytes"), Some(bytes));
        assert_eq!(response.reason, bytes);
        assert_eq!(back.body_snippet.as_deref(), Some(bytes));
    }
}

#[test]
fn our_own_json_that_is_malformed_says_what() {
    let record = |stamp: &str, ip: &str, status: &str| {
        format!(
            r#"{{"@timestamp":{stamp},"event":{{"kind":"event"}},"source":{{"ip":{ip}}},"destination":{{"ip":"10.0.0.2"}},"http":{{"response":{{"status_code":{status}}}}}}}"#
        )
    };
    let (stamp, ip) = (r#""2020-11-20T06:20:07Z""#, r#""10.0.0.1""#);
    for (line, expected) in [
        (record(stamp, ip, "200"), None),
        (format!("\u{feff}{}", record(stamp, ip, "200")), None),
        (record(stamp, ip, "99999"), Some("malformed http.response.status_code")),
        (record(stamp, ip, "99"), Some("malformed http.response.status_code")),
        (record(stamp, ip, "\"200\""), Some("malformed http.response.status_code")),
        (record("\"yesterday\"", ip, "200"), Some("malformed @timestamp")),
        (record("5", ip, "200"), Some("malformed @timestamp")),
        (record(stamp, "\"10.0.0.300\"", "200"), Some("malformed source.ip")),
        (record(stamp, "7", "200"), Some("malformed source.ip")),
    ] {
        let mut all = read(line.as_bytes());
        let got = all.remove(0).map(|e| e.response.map(|r| r.status));
        let expected = match expected {
            Some(why) => Err(format!("line 1: {why}")),
            None => Ok(Some(200)),
        };
        assert_eq!(got, expected, "{line}");
    }
}

/// Of an event without secrets, or whose secrets are redacted.
#[test]
fn an_event_that_was_read_is_written_as_it_was() {
    let request = |authorization: &str| {
        testing::request(&format!(
            "GET /a?token=abc HTTP/1.1\r\nHost: h\r\nCookie: a=b; c=d\r\n{authorization}\r\n"
        ))
    };
    let mut secrets = Secrets::default();
    let mut json = Json::new(&Style::default());
    let mut written = |event: &HttpEvent| {
        let (mut event, mut line) = (event.clone(), Vec::new());
        let user = basic_user(&event).map(|user| secrets.user(user));
        secrets.redact(&mut event);
        json.event(&Entry { event: &event, user: user.as_deref() }, &mut line);
        line
    };
    for authorization in
        ["", "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n", "Authorization: Bearer abc\r\n"]
    {
        for end in [BodyEnd::Length, BodyEnd::Close, BodyEnd::Cut] {
            let response =
                "HTTP/1.1 200 OK\r\nSet-Cookie: sid=abc; Path=/\r\nContent-Length: 7\r\n\r\n";
            let mut event = testing::event_of(request(authorization), testing::response(response));
            (event.hook, event.body_end, event.packet_len) = (Hook::Capture, Some(end), 300);
            let mut early = testing::response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            early.first_byte_ns = event.time_ns - 5;
            event.informational = vec![early];
            let line = written(&event);
            let record = |line: &[u8]| serde_json::from_slice::<Value>(line).expect("JSON");
            assert_eq!(record(&written(&one(&line))), record(&line));
        }
    }
}
