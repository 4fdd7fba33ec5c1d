//! Events as JSON with the names of the Elastic Common Schema. A pure function of the event:
//! decides nothing, performs no I/O. The record is written by hand into a buffer that is used
//! again, since a tree or a serializer per field would cost more than the rest of the pipeline.

mod alert;
mod headers;
mod object;
mod peers;
mod tunnel;

use headers::headers;
use object::{
    comma, decimal, hex_string, hex16, key, lower_string, number, open, text, time, version, word,
    words,
};
use peers::Peers;

use super::{Entry, Render};
use crate::config::HeaderChoice;
use crate::text::json_string;
use http_trace_detect::alert::Alert;
use http_trace_model::event::{BodyEnd, HttpEvent, Loss, LossUnit, NoResponse};
use http_trace_model::fields::{mime_type, trace_context};
use http_trace_model::head::{Headers, RequestHead, ResponseHead};
use http_trace_model::known::Known;
use http_trace_model::target::Target;

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
    peers: peers::Cache,
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
            peers: peers::Cache::default(),
        }
    }

    fn observer(&self, out: &mut Vec<u8>, event: Option<&HttpEvent>) {
        open!(out, "observer");
        out.extend_from_slice(&self.observer);
        if let Some((egress, name)) = event.and_then(|e| Some((e.egress?, e.interfaces.first()?))) {
            if egress {
                open!(out, "egress");
            } else {
                open!(out, "ingress");
            }
            open!(out, "interface");
            key!(out, "name");
            json_string(out, name.as_bytes());
            out.extend_from_slice(b"}}");
        }
        out.push(b'}');
    }

    fn peers(&mut self, out: &mut Vec<u8>, event: &HttpEvent) {
        self.peers.append(out, event.connection, Peers::of(event));
        if let Some(egress) = event.egress {
            word!(out, "direction", if egress { "egress" } else { "ingress" });
        }
        tunnel::vlans(out, event);
        out.push(b'}');
    }

    fn http(&self, out: &mut Vec<u8>, event: &HttpEvent) -> bool {
        let mut escaped = false;
        let minor = event.response.as_ref().or(event.informational.last());
        let minor = minor.map(|r| r.minor_version);
        open!(out, "http");
        if let Some(minor) = minor.or(event.request.as_ref().map(|r| r.minor_version)) {
            version(out, minor);
        }
        if let Some(request) = &event.request {
            escaped |= self.request(out, event, request);
        }
        if let Some(response) = &event.response {
            open!(out, "response");
            escaped |= self.response_head(out, response);
            if let Some(mime) = response
                .headers
                .first_known(Known::CONTENT_TYPE)
                .and_then(|v| mime_type(v))
            {
                key!(out, "mime_type");
                escaped |= lower_string(out, mime);
            }
            if let Some(bytes) = event.response_bytes {
                number!(out, "bytes", bytes);
            }
            if let Some(bytes) = event.body_bytes {
                open!(out, "body");
                number!(out, "bytes", bytes);
                if let Some(content) = &event.body_snippet {
                    escaped |= text!(out, "content", content);
                }
                out.push(b'}');
            }
            out.push(b'}');
        }
        out.push(b'}');
        escaped
    }

    fn request(&self, out: &mut Vec<u8>, event: &HttpEvent, request: &RequestHead) -> bool {
        let mut escaped = false;
        open!(out, "request");
        escaped |= text!(out, "method", &request.method);
        if let Some(id) = request.headers.first("x-request-id") {
            escaped |= text!(out, "id", id);
        }
        if let Some(whole) = event.request_bytes() {
            number!(out, "bytes", whole);
        }
        if let Some(body) = event.request_body_bytes {
            open!(out, "body");
            number!(out, "bytes", body);
            out.push(b'}');
        }
        if let Some(referrer) = request.headers.first_known(Known::REFERER) {
            escaped |= text!(out, "referrer", referrer);
        }
        if self.request_headers != HeaderChoice::None {
            escaped |= headers(out, &request.headers, &self.request_headers);
        }
        out.push(b'}');
        escaped
    }

    /// Status code, phrase and headers, into an object that is open.
    fn response_head(&self, out: &mut Vec<u8>, response: &ResponseHead) -> bool {
        number!(out, "status_code", u64::from(response.status));
        let mut escaped = text!(out, "status_phrase", &response.reason);
        if self.headers != HeaderChoice::None {
            escaped |= headers(out, &response.headers, &self.headers);
        }
        escaped
    }

    fn own(&self, out: &mut Vec<u8>, event: &HttpEvent, mut escaped: bool) {
        open!(out, "http_trace");
        if let Some(class) = event.status_class() {
            word!(out, "status_class", class);
        }
        if let Some(length) = event.response.as_ref().and_then(|r| r.content_length) {
            number!(out, "content_length", length);
        }
        if !event.informational.is_empty() {
            key!(out, "informational");
            out.push(b'[');
            for head in &event.informational {
                comma(out);
                out.push(b'{');
                version(out, head.minor_version);
                escaped |= self.response_head(out, head);
                if let Some(length) = head.content_length {
                    number!(out, "content_length", length);
                }
                time!(out, "at", head.first_byte_ns);
                out.push(b'}');
            }
            out.push(b']');
        }
        if let Some(version) = event.request.as_ref().and_then(|r| r.version.as_ref()) {
            escaped |= text!(out, "request_version", version);
        }
        if let Some(why) = event.no_response {
            word!(out, "no_response", no_response(why));
        }
        if let Some(ns) = event.ttfb_ns() {
            number!(out, "ttfb_ns", ns);
        }
        if let Some(ns) = event.ttlb_ns() {
            number!(out, "ttlb_ns", ns);
        }
        if let Some(end) = event.body_end {
            word!(out, "body_end", body_end(end));
        }
        key!(out, "transaction");
        out.push(b'"');
        decimal(out, event.connection);
        out.push(b'.');
        decimal(out, u64::from(event.ordinal));
        out.push(b'"');
        number!(out, "ordinal", u64::from(event.ordinal));
        key!(out, "complete");
        out.extend_from_slice(if event.complete { b"true" } else { b"false" });
        key!(out, "missing");
        words(out, event.missing.iter().map(|m| m.name()));
        key!(out, "flags");
        if escaped {
            // The list is sorted, and stays so.
            let at = event.flags.partition_point(|f| *f < ESCAPED_BYTES);
            let (before, after) = event.flags.split_at(at);
            let flags = before.iter().chain([&ESCAPED_BYTES]).chain(after);
            words(out, flags.copied());
        } else {
            words(out, event.flags.iter().copied());
        }
        if !event.rules.is_empty() {
            key!(out, "rules");
            out.push(b'[');
            for rule in &*event.rules {
                comma(out);
                json_string(out, rule.as_bytes());
            }
            out.push(b']');
        }
        number!(out, "retransmissions", u64::from(event.retransmissions));
        word!(out, "hook", event.hook.name());
        key!(out, "interfaces");
        out.push(b'[');
        for name in &event.interfaces {
            comma(out);
            json_string(out, name.as_bytes());
        }
        out.push(b']');
        number!(out, "packet_len", u64::from(event.packet_len));
        if let Some(cgroup) = event.cgroup_id {
            number!(out, "cgroup_id", cgroup);
        }
        tunnel::tunnel(out, event);
        out.push(b'}');
    }
}

impl Render for Json {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let event = entry.event;
        out.push(b'{');
        header(out, event.time_ns);
        open!(out, "event");
        out.extend_from_slice(
            br#""kind":"event","category":["network","web"],"type":["access","protocol""#,
        );
        let status = event.response.as_ref().map(|r| r.status);
        if status.is_some_and(|s| s >= 400) {
            out.extend_from_slice(br#","error""#);
        }
        out.extend_from_slice(br#"],"action":"http-response","dataset":"http_trace.response""#);
        word!(out, "outcome", outcome(event));
        if let Some(ns) = event.duration_ns() {
            number!(out, "duration", ns);
        }
        let start = event.request_start_ns.unwrap_or(event.time_ns);
        time!(out, "start", start);
        let end = event.end_ns().unwrap_or(event.time_ns);
        time!(out, "end", end);
        key!(out, "id");
        hex16(out, event.id);
        number!(out, "sequence", event.sequence);
        out.push(b'}');

        self.peers(out, event);
        let mut escaped = self.http(out, event);
        if let Some(request) = &event.request {
            escaped |= url(out, request);
            if let Some(agent) = request.headers.first_known(Known::USER_AGENT) {
                open!(out, "user_agent");
                escaped |= text!(out, "original", agent);
                out.push(b'}');
            }
            if let Some(name) = entry.user {
                open!(out, "user");
                escaped |= text!(out, "name", name);
                out.push(b'}');
            }
            trace(out, &request.headers);
        }
        self.observer(out, Some(event));
        self.own(out, event, escaped);
        out.extend_from_slice(b"}\n");
    }

    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>) {
        out.push(b'{');
        header(out, alert.time_ns);
        alert::members(out, alert);
        self.observer(out, None);
        out.extend_from_slice(b"}\n");
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        out.push(b'{');
        header(out, loss.until_ns);
        open!(out, "event");
        out.extend_from_slice(
            br#""kind":"pipeline_error","category":["network","web"],"type":["error"]"#,
        );
        out.extend_from_slice(br#","action":"responses-lost","dataset":"http_trace.loss"}"#);
        self.observer(out, None);
        open!(out, "http_trace");
        open!(out, "lost");
        number!(out, "count", loss.count);
        word!(out, "unit", unit(loss.unit));
        key!(out, "where");
        json_string(out, loss.place.as_bytes());
        time!(out, "since", loss.since_ns);
        time!(out, "until", loss.until_ns);
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
    time!(out, "@timestamp", at);
    open!(out, "ecs");
    word!(out, "version", ECS_VERSION);
    out.push(b'}');
}

fn url(out: &mut Vec<u8>, request: &RequestHead) -> bool {
    let target = Target::of(request);
    open!(out, "url");
    let mut escaped = text!(out, "original", &request.target);
    if let Some(scheme) = target.scheme {
        escaped |= text!(out, "scheme", scheme);
    }
    if let Some(host) = target.host {
        escaped |= text!(out, "domain", host);
    }
    if let Some(path) = target.path {
        escaped |= text!(out, "path", path);
    }
    if let Some(query) = target.query {
        escaped |= text!(out, "query", query);
    }
    if let Some(port) = target.port {
        number!(out, "port", u64::from(port));
    }
    out.push(b'}');
    escaped
}

/// `trace.id` and `span.id` from W3C `traceparent`, else B3 in one header or in several.
fn trace(out: &mut Vec<u8>, headers: &Headers) {
    let Some((trace, span)) = trace_context(headers) else {
        return;
    };
    open!(out, "trace");
    key!(out, "id");
    hex_string(out, trace);
    out.push(b'}');
    if let Some(span) = span {
        open!(out, "span");
        key!(out, "id");
        hex_string(out, span);
        out.push(b'}');
    }
}

const fn body_end(end: BodyEnd) -> &'static str {
    match end {
        BodyEnd::None => "none",
        BodyEnd::Length => "length",
        BodyEnd::Chunked => "chunked",
        BodyEnd::Close => "close",
        BodyEnd::Cut => "cut",
        BodyEnd::Tunnel => "tunnel",
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
        LossUnit::Packets => "packets",
    }
}

#[cfg(test)]
mod tests;
