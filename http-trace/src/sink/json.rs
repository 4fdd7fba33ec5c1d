//! Events as JSON with the names of the Elastic Common Schema. A pure function of the event:
//! decides nothing, performs no I/O. The record is written by hand into a buffer that is used
//! again, since a tree or a serializer per field would cost more than the rest of the pipeline.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::IpAddr;

use super::community::Cache;
use super::text::json_string;
use super::time::rfc3339;
use super::{Entry, Render};
use crate::config::HeaderChoice;
use crate::event::{HttpEvent, Loss, LossUnit, Missing, NoResponse};
use crate::http::head::{Headers, RequestHead, ResponseHead};
use crate::http::target::Target;

/// Version of the Elastic Common Schema whose names are used.
pub const ECS_VERSION: &str = "8.17.0";

/// The flag of a record some of whose text is bytes that are not UTF-8, written as `\xNN`.
pub const ESCAPED_BYTES: &str = "escaped_bytes";

/// Writes events as JSON.
#[derive(Debug)]
pub struct Json {
    headers: HeaderChoice,
    request_headers: HeaderChoice,
    /// `"hostname":…,"type":…,"version":…`, the same in every record.
    observer: Vec<u8>,
    community: Cache,
}

impl Json {
    /// `hostname` is this host's, as `observer.hostname`.
    pub fn new(headers: HeaderChoice, request_headers: HeaderChoice, hostname: &[u8]) -> Self {
        let mut observer = Vec::new();
        observer.extend_from_slice(b"\"hostname\":");
        json_string(&mut observer, hostname);
        observer.extend_from_slice(b",\"type\":\"sensor\",\"version\":");
        json_string(&mut observer, env!("CARGO_PKG_VERSION").as_bytes());
        Json {
            headers,
            request_headers,
            observer,
            community: Cache::default(),
        }
    }

    fn observer(&self, out: &mut Vec<u8>, event: Option<&HttpEvent>) {
        open(out, "observer");
        out.extend_from_slice(&self.observer);
        if let Some((egress, name)) = event.and_then(|e| Some((e.egress?, e.interfaces.first()?))) {
            open(out, if egress { "egress" } else { "ingress" });
            open(out, "interface");
            key(out, "name");
            json_string(out, name.as_bytes());
            out.extend_from_slice(b"}}");
        }
        out.push(b'}');
    }

    fn network(&mut self, out: &mut Vec<u8>, event: &HttpEvent) {
        open(out, "network");
        word(out, "transport", "tcp");
        word(out, "protocol", "http");
        word(
            out,
            "type",
            if event.server.ip.is_ipv4() {
                "ipv4"
            } else {
                "ipv6"
            },
        );
        if let Some(egress) = event.egress {
            word(out, "direction", if egress { "egress" } else { "ingress" });
        }
        key(out, "community_id");
        out.push(b'"');
        out.extend_from_slice(
            self.community
                .get(event.connection, event.client, event.server),
        );
        out.extend_from_slice(b"\"}");
    }

    fn http(&self, out: &mut Vec<u8>, event: &HttpEvent) -> bool {
        let mut escaped = false;
        let minor = event.response.as_ref().or(event.informational.last());
        let minor = minor.map(|r| r.minor_version);
        open(out, "http");
        if let Some(minor) = minor.or(event.request.as_ref().map(|r| r.minor_version)) {
            version(out, minor);
        }
        if let Some(request) = &event.request {
            escaped |= self.request(out, event, request);
        }
        if let Some(response) = &event.response {
            open(out, "response");
            escaped |= self.response_head(out, response);
            if let Some(mime) = response
                .headers
                .first("content-type")
                .and_then(|v| mime_type(v))
            {
                key(out, "mime_type");
                let start = out.len();
                escaped |= json_string(out, mime);
                out[start..].make_ascii_lowercase();
            }
            if let Some(bytes) = event.response_bytes {
                number(out, "bytes", bytes);
            }
            if let Some(bytes) = event.body_bytes {
                open(out, "body");
                number(out, "bytes", bytes);
                out.push(b'}');
            }
            out.push(b'}');
        }
        out.push(b'}');
        escaped
    }

    fn request(&self, out: &mut Vec<u8>, event: &HttpEvent, request: &RequestHead) -> bool {
        let mut escaped = false;
        open(out, "request");
        escaped |= text(out, "method", &request.method);
        if let Some(id) = request.headers.first("x-request-id") {
            escaped |= text(out, "id", id);
        }
        if let Some(body) = event.request_body_bytes {
            // Chunk framing is not in the body's count, so the whole is known only without it.
            if request.headers.first("transfer-encoding").is_none() {
                number(out, "bytes", request.wire_len.saturating_add(body));
            }
            open(out, "body");
            number(out, "bytes", body);
            out.push(b'}');
        }
        if let Some(referrer) = request.headers.first("referer") {
            escaped |= text(out, "referrer", referrer);
        }
        if self.request_headers != HeaderChoice::None {
            escaped |= headers(out, &request.headers, &self.request_headers);
        }
        out.push(b'}');
        escaped
    }

    /// Status code, phrase and headers, into an object that is open.
    fn response_head(&self, out: &mut Vec<u8>, response: &ResponseHead) -> bool {
        number(out, "status_code", u64::from(response.status));
        let mut escaped = text(out, "status_phrase", &response.reason);
        if self.headers != HeaderChoice::None {
            escaped |= headers(out, &response.headers, &self.headers);
        }
        escaped
    }

    fn own(&self, out: &mut Vec<u8>, event: &HttpEvent, mut escaped: bool) {
        open(out, "http_trace");
        if let Some(class) = event.status_class() {
            word(out, "status_class", class);
        }
        if let Some(length) = event.response.as_ref().and_then(|r| r.content_length) {
            number(out, "content_length", length);
        }
        if !event.informational.is_empty() {
            key(out, "informational");
            out.push(b'[');
            for head in &event.informational {
                comma(out);
                out.push(b'{');
                version(out, head.minor_version);
                escaped |= self.response_head(out, head);
                if let Some(length) = head.content_length {
                    number(out, "content_length", length);
                }
                time(out, "at", head.first_byte_ns);
                out.push(b'}');
            }
            out.push(b']');
        }
        if let Some(why) = event.no_response {
            word(out, "no_response", no_response(why));
        }
        if let Some(ns) = event.ttfb_ns() {
            number(out, "ttfb_ns", ns);
        }
        key(out, "transaction");
        out.push(b'"');
        decimal(out, event.connection);
        out.push(b'.');
        decimal(out, u64::from(event.ordinal));
        out.push(b'"');
        number(out, "ordinal", u64::from(event.ordinal));
        key(out, "complete");
        out.extend_from_slice(if event.complete { b"true" } else { b"false" });
        words(out, "missing", event.missing.iter().map(|m| missing(*m)));
        // Both lists are sorted.
        let (before, after): (Vec<&str>, Vec<&str>) = match escaped {
            true => event.flags.iter().partition(|f| **f < ESCAPED_BYTES),
            false => (Vec::new(), Vec::new()),
        };
        match escaped {
            true => words(
                out,
                "flags",
                before.into_iter().chain([ESCAPED_BYTES]).chain(after),
            ),
            false => words(out, "flags", event.flags.iter().copied()),
        }
        number(out, "retransmissions", u64::from(event.retransmissions));
        word(out, "hook", event.hook.name());
        key(out, "interfaces");
        out.push(b'[');
        for name in &event.interfaces {
            comma(out);
            json_string(out, name.as_bytes());
        }
        out.push(b']');
        number(out, "packet_len", u64::from(event.packet_len));
        out.push(b'}');
    }
}

impl Render for Json {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let event = entry.event;
        out.push(b'{');
        header(out, event.time_ns);
        open(out, "event");
        out.extend_from_slice(
            br#""kind":"event","category":["network","web"],"type":["access","protocol""#,
        );
        let status = event.response.as_ref().map(|r| r.status);
        if status.is_some_and(|s| s >= 400) {
            out.extend_from_slice(br#","error""#);
        }
        out.extend_from_slice(br#"],"action":"http-response","dataset":"http_trace.response""#);
        word(out, "outcome", outcome(event));
        if let Some(ns) = event.duration_ns() {
            number(out, "duration", ns);
        }
        time(
            out,
            "start",
            event.request_start_ns.unwrap_or(event.time_ns),
        );
        let end = event
            .response_end_ns
            .or(event.head_end_ns)
            .unwrap_or(event.time_ns);
        time(out, "end", end);
        key(out, "id");
        let _ = write!(out, "\"{:016x}\"", event.id);
        number(out, "sequence", event.sequence);
        out.push(b'}');

        endpoints(out, event);
        self.network(out, event);
        let mut escaped = self.http(out, event);
        if let Some(request) = &event.request {
            escaped |= url(out, request);
            if let Some(agent) = request.headers.first("user-agent") {
                open(out, "user_agent");
                escaped |= text(out, "original", agent);
                out.push(b'}');
            }
            if let Some(name) = entry.user {
                open(out, "user");
                escaped |= text(out, "name", name);
                out.push(b'}');
            }
            trace(out, &request.headers);
        }
        self.observer(out, Some(event));
        self.own(out, event, escaped);
        out.extend_from_slice(b"}\n");
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        out.push(b'{');
        header(out, loss.until_ns);
        open(out, "event");
        out.extend_from_slice(
            br#""kind":"pipeline_error","category":["network","web"],"type":["error"]"#,
        );
        out.extend_from_slice(br#","action":"responses-lost","dataset":"http_trace.loss"}"#);
        self.observer(out, None);
        open(out, "http_trace");
        open(out, "lost");
        number(out, "count", loss.count);
        word(out, "unit", unit(loss.unit));
        key(out, "where");
        json_string(out, loss.place.as_bytes());
        time(out, "since", loss.since_ns);
        time(out, "until", loss.until_ns);
        out.extend_from_slice(b"}}}\n");
    }
}

/// `failure` for statuses from 400 and for no answer, `unknown` while only 1xx heads came.
fn outcome(event: &HttpEvent) -> &'static str {
    match (&event.response, event.no_response) {
        (_, Some(_)) => "failure",
        (Some(r), _) if r.status >= 400 => "failure",
        (Some(_), _) => "success",
        (None, None) => "unknown",
    }
}

fn header(out: &mut Vec<u8>, at: u64) {
    time(out, "@timestamp", at);
    open(out, "ecs");
    word(out, "version", ECS_VERSION);
    out.push(b'}');
}

fn endpoints(out: &mut Vec<u8>, event: &HttpEvent) {
    for (peer, role, end) in [
        ("source", "client", event.client),
        ("destination", "server", event.server),
    ] {
        let ip = Address::of(end.ip);
        for (name, address) in [(peer, false), (role, true)] {
            open(out, name);
            word(out, "ip", ip.text());
            if address {
                word(out, "address", ip.text());
            }
            number(out, "port", u64::from(end.port));
            out.push(b'}');
        }
    }
}

fn url(out: &mut Vec<u8>, request: &RequestHead) -> bool {
    let target = Target::of(request);
    open(out, "url");
    let mut escaped = text(out, "original", &request.target);
    let parts = [
        ("scheme", target.scheme),
        ("domain", target.host),
        ("path", target.path),
        ("query", target.query),
    ];
    for (name, part) in parts {
        if let Some(part) = part {
            escaped |= text(out, name, part);
        }
    }
    if let Some(port) = target.port {
        number(out, "port", u64::from(port));
    }
    out.push(b'}');
    escaped
}

/// `trace.id` and `span.id` from W3C `traceparent`, else B3 in one header or in several.
fn trace(out: &mut Vec<u8>, headers: &Headers) {
    let Some((trace, span)) = trace_context(headers) else {
        return;
    };
    open(out, "trace");
    hex_text(out, "id", trace);
    out.push(b'}');
    if let Some(span) = span {
        open(out, "span");
        hex_text(out, "id", span);
        out.push(b'}');
    }
}

fn trace_context(headers: &Headers) -> Option<(&[u8], Option<&[u8]>)> {
    let id = |t: &[u8], lens: &[usize]| {
        lens.contains(&t.len())
            && t.iter().all(u8::is_ascii_hexdigit)
            && t.iter().any(|b| *b != b'0')
    };
    if let Some(value) = headers.first("traceparent") {
        let mut parts = value.split(|b| *b == b'-');
        let version = parts.next().filter(|v| v.len() == 2 && *v != b"ff");
        if let (Some(_), Some(trace), Some(span)) = (version, parts.next(), parts.next())
            && id(trace, &[32])
            && id(span, &[16])
        {
            return Some((trace, Some(span)));
        }
    }
    if let Some(value) = headers.first("b3") {
        let mut parts = value.split(|b| *b == b'-');
        if let (Some(trace), Some(span)) = (parts.next(), parts.next())
            && id(trace, &[16, 32])
            && id(span, &[16])
        {
            return Some((trace, Some(span)));
        }
    }
    let trace = headers.first("x-b3-traceid").filter(|t| id(t, &[16, 32]))?;
    let span = headers.first("x-b3-spanid").filter(|s| id(s, &[16]));
    Some((trace, span.map(|s| &s[..])))
}

/// The media type without its parameters (RFC 9110 §8.3.1), if it looks like one.
fn mime_type(value: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let mime = value[..end].trim_ascii();
    (memchr::memchr(b'/', mime).is_some() && mime.iter().all(u8::is_ascii_graphic)).then_some(mime)
}

fn headers(out: &mut Vec<u8>, headers: &Headers, choice: &HeaderChoice) -> bool {
    // Beyond this many, comparing each with each is what an attacker would have us do.
    const FEW: usize = 48;
    open(out, "headers");
    let lines = &headers.0;
    let escaped = if lines.len() <= FEW {
        few_headers(out, headers, choice)
    } else {
        many_headers(out, headers, choice)
    };
    out.push(b'}');
    escaped
}

fn few_headers(out: &mut Vec<u8>, headers: &Headers, choice: &HeaderChoice) -> bool {
    let lines = &headers.0;
    let mut escaped = false;
    // One bit for each line whose value is out already.
    let mut done = 0_u64;
    for (at, line) in lines.iter().enumerate() {
        if done & 1 << at != 0 || !choice.admits(&line.name) {
            continue;
        }
        escaped |= lower_key(out, &line.name);
        out.push(b'[');
        escaped |= json_string(out, &line.value);
        for (later, other) in lines.iter().enumerate().skip(at + 1) {
            if other.name.eq_ignore_ascii_case(&line.name) {
                done |= 1 << later;
                out.push(b',');
                escaped |= json_string(out, &other.value);
            }
        }
        out.push(b']');
    }
    escaped
}

fn many_headers(out: &mut Vec<u8>, headers: &Headers, choice: &HeaderChoice) -> bool {
    let mut escaped = false;
    let mut groups: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
    let mut place: HashMap<Vec<u8>, usize, foldhash::quality::RandomState> = HashMap::default();
    for (at, line) in headers.0.iter().enumerate() {
        if !choice.admits(&line.name) {
            continue;
        }
        let name = line.name.to_ascii_lowercase();
        match place.get(&name) {
            Some(group) => groups[*group].1.push(at),
            None => {
                place.insert(name.clone(), groups.len());
                groups.push((name, vec![at]));
            }
        }
    }
    for (name, lines) in groups {
        escaped |= lower_key(out, &name);
        out.push(b'[');
        for at in lines {
            comma(out);
            escaped |= json_string(out, &headers.0[at].value);
        }
        out.push(b']');
    }
    escaped
}

/// A field's name in lower case as a key.
fn lower_key(out: &mut Vec<u8>, name: &[u8]) -> bool {
    comma(out);
    let start = out.len();
    let escaped = json_string(out, name);
    // Escapes are lower case themselves, so the text may be folded as a whole.
    out[start..].make_ascii_lowercase();
    out.push(b':');
    escaped
}

/// A comma unless this is the first in its object or array.
fn comma(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{' | b'[') | None) {
        out.push(b',');
    }
}

fn key(out: &mut Vec<u8>, name: &str) {
    comma(out);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// `"name":{`
fn open(out: &mut Vec<u8>, name: &str) {
    key(out, name);
    out.push(b'{');
}

/// A value that needs no escape.
fn word(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// An array of values that need no escape.
fn words<'a>(out: &mut Vec<u8>, name: &str, values: impl Iterator<Item = &'a str>) {
    key(out, name);
    out.push(b'[');
    for value in values {
        comma(out);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

/// Bytes from the wire; returns whether some had to be written as `\xNN`.
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) -> bool {
    key(out, name);
    json_string(out, value)
}

fn hex_text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    key(out, name);
    let start = out.len();
    json_string(out, value);
    out[start..].make_ascii_lowercase();
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    decimal(out, value);
}

fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn time(out: &mut Vec<u8>, name: &str, ns: u64) {
    key(out, name);
    out.push(b'"');
    out.extend_from_slice(&rfc3339(ns));
    out.push(b'"');
}

fn version(out: &mut Vec<u8>, minor: u8) {
    key(out, "version");
    out.extend_from_slice(b"\"1.");
    decimal(out, u64::from(minor));
    out.push(b'"');
}

fn missing(what: Missing) -> &'static str {
    match what {
        Missing::Request => "request",
        Missing::Headers => "headers",
        Missing::Body => "body",
        Missing::End => "end",
    }
}

fn no_response(why: NoResponse) -> &'static str {
    match why {
        NoResponse::Reset => "reset",
        NoResponse::Closed => "closed",
        NoResponse::Timeout => "timeout",
        NoResponse::Unreachable => "unreachable",
        NoResponse::Refused => "refused",
    }
}

/// The unit's name in records and summaries.
pub fn unit(unit: LossUnit) -> &'static str {
    match unit {
        LossUnit::Records => "records",
        LossUnit::Bytes => "bytes",
        LossUnit::Events => "events",
        LossUnit::Flows => "flows",
    }
}

/// An address as text without allocation; 45 bytes are the longest there is.
struct Address {
    bytes: [u8; 48],
    len: usize,
}

impl Address {
    fn of(ip: IpAddr) -> Self {
        let mut bytes = [0; 48];
        let mut rest = &mut bytes[..];
        let _ = write!(rest, "{ip}");
        let len = 48 - rest.len();
        Address { bytes, len }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}
