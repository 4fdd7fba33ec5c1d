//! Writes attributes: those of events with the names of OpenTelemetry's semantic conventions, those of alerts and
//! losses with the names of `json`. Must not write anything but `KeyValue` and `AnyValue`
//! (opentelemetry/proto/common/v1/common.proto).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::wire;
use crate::metrics::method;
use crate::sink::choice::HeaderChoice;
use crate::sink::time::rfc3339;
use crate::text::utf8;
use http_trace_model::event::{HttpEvent, NoResponse};
use http_trace_model::field::event::getter;
use http_trace_model::field::{Field, Get, Value, View};
use http_trace_model::head::Headers;

/// Attributes and the fields of `json` that they are taken from.
const SAME: &[(&str, &str)] = &[
    ("http.request.size", "http.request.bytes"),
    ("http.request.body.size", "http.request.body.bytes"),
    ("http.response.status_code", "http.response.status_code"),
    ("http.response.size", "http.response.bytes"),
    ("http.response.body.size", "http.response.body.bytes"),
    ("url.scheme", "url.scheme"),
    ("url.path", "url.path"),
    ("url.query", "url.query"),
    ("user_agent.original", "user_agent.original"),
    ("client.address", "client.address"),
    ("client.port", "client.port"),
    ("network.transport", "network.transport"),
    ("network.type", "network.type"),
    ("network.protocol.version", "http.version"),
    ("network.community_id", "network.community_id"),
    ("user.name", "user.name"),
    ("process.pid", "process.pid"),
    ("process.executable.name", "process.name"),
    ("process.executable.path", "process.executable"),
    ("container.id", "container.id"),
    ("container.name", "container.name"),
    ("k8s.pod.uid", "orchestrator.resource.id"),
    ("k8s.pod.name", "orchestrator.resource.name"),
    ("k8s.namespace.name", "orchestrator.namespace"),
    ("http_trace.service", "service.name"),
    ("http_trace.content_length", "http_trace.content_length"),
    ("http_trace.no_response", "http_trace.no_response"),
    ("http_trace.ttfb_ns", "http_trace.ttfb_ns"),
    ("http_trace.transaction", "http_trace.transaction"),
    ("http_trace.complete", "http_trace.complete"),
    ("http_trace.missing", "http_trace.missing"),
    ("http_trace.flags", "http_trace.flags"),
    ("http_trace.rules", "http_trace.rules"),
    ("http_trace.hook", "http_trace.hook"),
    ("http_trace.interfaces", "http_trace.interfaces"),
];

/// Attributes without a field of `json`.
const OWN: &[(&str, Get<HttpEvent>)] = &[
    ("http.request.method", |v| Some(Value::word(method(&v.record.request.as_ref()?.method)))),
    ("http.request.method_original", |v| {
        let sent = &v.record.request.as_ref()?.method[..];
        (method(sent).as_bytes() != sent).then_some(Value::Text(sent))
    }),
    ("server.address", |v| match v.target.host {
        // Brackets around an IPv6 address belong to the URL only.
        Some(host) => {
            let inner = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]"));
            Some(Value::Text(inner.unwrap_or(host)))
        }
        None => v.record.server.known_ip().map(Value::Ip),
    }),
    ("server.port", |v| {
        let named = v.target.host.and(v.target.port);
        named.or(v.record.server.known_port()).map(port)
    }),
    ("url.full", |v| {
        let (scheme, host) = (v.target.scheme?, v.target.host?);
        is_client(v.record).then(|| {
            let mut url = [scheme, b"://", host].concat();
            let usual = if *scheme == *b"https" { 443 } else { 80 };
            if let Some(port) = v.target.port.filter(|port| *port != usual) {
                url.extend_from_slice(format!(":{port}").as_bytes());
            }
            url.extend_from_slice(v.target.path.unwrap_or_default());
            if let Some(query) = v.target.query {
                url.push(b'?');
                url.extend_from_slice(query);
            }
            Value::Made(url)
        })
    }),
    ("network.peer.address", |v| ends(v.record)[0].0.map(Value::Ip)),
    ("network.peer.port", |v| ends(v.record)[0].1.map(port)),
    ("network.local.address", |v| ends(v.record)[1].0.map(Value::Ip)),
    ("network.local.port", |v| ends(v.record)[1].1.map(port)),
    ("error.type", |v| error_type(v.record)),
    ("http_trace.informational", |v| {
        let heads = v.record.informational.iter();
        let statuses: Vec<_> = heads.map(|head| Value::Number(head.status.into())).collect();
        (!statuses.is_empty()).then_some(Value::List(statuses))
    }),
];

fn port(port: u16) -> Value<'static> {
    Value::Number(port.into())
}

/// Whether this host is the client and another one the server.
pub fn is_client(event: &HttpEvent) -> bool {
    event.egress == Some(false) && event.server_process.is_none()
}

/// The remote end of the connection, and the end that the span describes.
fn ends(event: &HttpEvent) -> [(Option<IpAddr>, Option<u16>); 2] {
    let [client, server] =
        [event.client, event.server].map(|end| (end.known_ip(), end.known_port()));
    if is_client(event) { [server, client] } else { [client, server] }
}

/// The error of a span: no response, or a status code that is an error for its kind (semantic conventions for HTTP
/// spans, status).
pub fn error_type(event: &HttpEvent) -> Option<Value<'static>> {
    let least = if is_client(event) { 400 } else { 500 };
    match (&event.response, event.no_response) {
        (_, Some(why)) if why != NoResponse::Unseen => Some(Value::word(why.name())),
        (Some(response), None) if response.status >= least => {
            Some(Value::Made(response.status.to_string().into_bytes()))
        }
        _ => None,
    }
}

/// Writes the attributes of events.
#[derive(Debug)]
pub struct Attributes {
    all: Vec<(&'static str, Get<HttpEvent>)>,
    response: HeaderChoice,
    request: HeaderChoice,
}

impl Attributes {
    /// Writes these header fields.
    pub fn new(response: HeaderChoice, request: HeaderChoice) -> Self {
        let same = SAME.iter().filter_map(|(name, of_json)| Some((*name, getter(of_json)?)));
        Attributes { all: OWN.iter().copied().chain(same).collect(), response, request }
    }

    pub fn only(names: &[&str]) -> Self {
        let mut some = Attributes::new(HeaderChoice::None, HeaderChoice::None);
        some.all.retain(|(name, _)| names.contains(name));
        some
    }

    /// Appends all attributes of an event as fields with this number.
    pub fn put(&self, out: &mut Vec<u8>, number: u32, view: &View<'_, HttpEvent>) {
        for (name, get) in &self.all {
            if let Some(value) = get(view) {
                attribute(out, number, name, &value);
            }
        }
        let event = view.record;
        if let Some(request) = &event.request {
            let prefix = "http.request.header.";
            headers(out, number, prefix, &request.headers, &self.request);
        }
        if let Some(response) = &event.response {
            let prefix = "http.response.header.";
            headers(out, number, prefix, &response.headers, &self.response);
        }
    }
}

fn headers(out: &mut Vec<u8>, number: u32, prefix: &str, from: &Headers, choice: &HeaderChoice) {
    for (name, values) in grouped(from, choice) {
        let key = format!("{prefix}{}", utf8(&name));
        key_value(out, number, &key, |out| {
            array(out, values, text);
        });
    }
}

/// Values by lower-case name.
fn grouped<'a>(headers: &'a Headers, choice: &HeaderChoice) -> BTreeMap<Vec<u8>, Vec<&'a [u8]>> {
    let mut groups: BTreeMap<Vec<u8>, Vec<&[u8]>> = BTreeMap::new();
    for line in headers.iter().filter(|line| choice.admits(line.name)) {
        let name = line.name.to_ascii_lowercase();
        groups.entry(name).or_default().push(line.value);
    }
    groups
}

/// Appends the fields of a table except those named.
pub fn table<R>(
    out: &mut Vec<u8>,
    number: u32,
    fields: &[Field<R>],
    without: &[&str],
    view: &View<'_, R>,
) {
    for field in fields {
        if let Some(value) = field.get.and_then(|get| get(view))
            && !without.contains(&field.about.name)
        {
            attribute(out, number, field.about.name, &value);
        }
    }
}

pub fn attribute(out: &mut Vec<u8>, number: u32, name: &str, value: &Value<'_>) {
    if *value != Value::Open {
        key_value(out, number, name, |out| any_value(out, value));
    }
}

fn key_value(out: &mut Vec<u8>, number: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    wire::message(out, number, |out| {
        wire::bytes(out, 1, key.as_bytes());
        wire::message(out, 2, value);
    });
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    wire::bytes(out, 1, utf8(bytes).as_bytes());
}

/// Appends a value as a field of `AnyValue`.
pub fn any_value(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Bool(yes) => wire::number_even_0(out, 2, (*yes).into()),
        // AnyValue has no unsigned integers.
        Value::Number(n) => wire::number_even_0(out, 3, (*n).min(i64::MAX as u64)),
        Value::Time(ns) => text(out, &rfc3339(*ns)),
        Value::Words(words) => array(out, *words, |out, word| text(out, word.as_bytes())),
        Value::Names(names) => array(out, *names, |out, name| text(out, name.as_bytes())),
        Value::List(values) => array(out, values, any_value),
        Value::Row(abouts, values) => wire::message(out, 6, |out| {
            for (about, value) in abouts.iter().zip(values) {
                if let Some(value) = value {
                    attribute(out, 1, about.name, value);
                }
            }
        }),
        Value::Counts(counts) => wire::message(out, 6, |out| {
            for (name, count) in counts {
                attribute(out, 1, name, &Value::Number(*count));
            }
        }),
        // Each header is an attribute of its own.
        Value::Headers(_) | Value::MadeHeaders(_) => {}
        Value::Open => {}
        other => other.with_text(|shown| text(out, shown)),
    }
}

fn array<T>(
    out: &mut Vec<u8>,
    values: impl IntoIterator<Item = T>,
    mut item: impl FnMut(&mut Vec<u8>, T),
) {
    wire::message(out, 5, |out| {
        for value in values {
            wire::message(out, 1, |out| item(out, value));
        }
    });
}
