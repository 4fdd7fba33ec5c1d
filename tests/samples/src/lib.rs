//! Sample events and alerts for unit tests of the stages after the pipeline.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http_trace_common::record::Hook;
use http_trace_detect::alert::Alert;
use http_trace_detect::{Detected, Detector, Settings, builtin, parse};
use http_trace_model::event::{BodyEnd, Endpoint, HttpEvent};
use http_trace_model::head::{Headers, RequestHead, ResponseHead};

/// 2026-11-20 06:40:07.123456789 UTC.
pub const TIME_NS: u64 = 1_795_156_807_123_456_789;

/// The default event: a GET of a page that does not exist, answered with 404.
pub fn event() -> HttpEvent {
    let request = request(
        "GET /cart/7?x=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: curl/8.5.0\r\n\
         Accept: */*\r\n\r\n",
    );
    let response = response(
        "HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Length: 512\r\nX-Two: a\r\nx-two: b\r\n\r\n",
    );
    event_of(request, response)
}

/// An event with these heads, at [`TIME_NS`], from 10.1.2.3:50000 to 10.9.9.9:80.
pub fn event_of(request: RequestHead, response: ResponseHead) -> HttpEvent {
    let end = |ip: [u8; 4], port| Endpoint { ip: IpAddr::V4(Ipv4Addr::from(ip)), port };
    HttpEvent {
        id: 0x0123_4567_89ab_cdef,
        request_start_ns: Some(TIME_NS - 1_100_000),
        request_end_ns: Some(TIME_NS - 1_000_000),
        response_start_ns: Some(TIME_NS),
        head_end_ns: Some(TIME_NS),
        response_end_ns: Some(TIME_NS + 100_000),
        request_body_bytes: Some(0),
        request: Some(request),
        body_bytes: response.content_length,
        response_bytes: response.content_length.map(|n| n + response.wire_len),
        response: Some(response),
        body_end: Some(BodyEnd::Length),
        connection: 3,
        ordinal: 2,
        hook: Hook::Tc,
        egress: Some(true),
        interfaces: ["eth0".into()].into_iter().collect(),
        packet_len: 730,
        ..HttpEvent::new(TIME_NS, end([10, 1, 2, 3], 50000), end([10, 9, 9, 9], 80))
    }
}

/// Field lines from `(name, value)` pairs.
pub fn headers(lines: &[(&[u8], &[u8])]) -> Headers {
    lines.iter().copied().collect()
}

fn fields(text: &str) -> Headers {
    let lines: Vec<_> = text
        .lines()
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.as_bytes(), v.trim().as_bytes()))
        .collect();
    headers(&lines)
}

pub fn request(text: &str) -> RequestHead {
    let (line, rest) = text.split_once("\r\n").expect("a request line");
    let (method, rest_of_line) = line.split_once(' ').expect("a method");
    let (target, version) = rest_of_line.rsplit_once(' ').expect("a version");
    RequestHead {
        method: Bytes::copy_from_slice(method.as_bytes()),
        target: Bytes::copy_from_slice(target.as_bytes()),
        minor_version: u8::from(version.ends_with('1')),
        version: None,
        headers: fields(rest),
        wire_len: text.len() as u64,
    }
}

pub fn response(text: &str) -> ResponseHead {
    let (line, rest) = text.split_once("\r\n").expect("a status line");
    let mut parts = line.splitn(3, ' ');
    let version = parts.next().expect("a version");
    let status = parts.next().expect("a code").parse().expect("a number");
    let headers = fields(rest);
    let length = headers.first("content-length");
    let content_length =
        length.and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok());
    ResponseHead {
        minor_version: u8::from(version.ends_with('1')),
        version: None,
        status,
        reason: Bytes::copy_from_slice(parts.next().unwrap_or("").as_bytes()),
        content_length,
        headers,
        wire_len: text.len() as u64,
        first_byte_ns: TIME_NS - 500_000,
    }
}

/// An alert of the built-in spike rule, raised by hostile requests.
pub fn alert() -> Alert {
    let parsed = parse::parse(&builtin::sources(), &|_| false);
    let mut detector = Detector::new(parsed.rules, Settings::default());
    let mut alerts = Vec::new();
    for n in 0..350_u64 {
        let mut event = event_of(
            request(
                "GET /\u{1b}[2J\u{202e}?token=hidden HTTP/1.1\r\nHost: shop.example\r\n\
                 User-Agent: \u{1b}]0;owned\u{7}\r\n\r\n",
            ),
            response("HTTP/1.1 404 Not Found\r\n\r\n"),
        );
        event.time_ns += n * 1_000_000;
        detector.push(Box::new(event), &mut |detected| {
            if let Detected::Alert(alert) = detected {
                alerts.push(*alert);
            }
        });
    }
    alerts.pop().expect("an alert")
}
