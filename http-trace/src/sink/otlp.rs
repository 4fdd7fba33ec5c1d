//! Formats log records, spans and metrics for an OpenTelemetry collector (OTLP 1.x). Each becomes a [`frame`] with its
//! protobuf; the exporter combines frames into requests. Must not open connections.
//!
//! # Layout
//! - `wire`: protobuf. `attributes`: attributes of records. `numbers`: metrics.
//! - `exporter`: batches and retries. `http`, `grpc`: transports. `request`: what transports have in common.

mod attributes;
pub mod exporter;
#[cfg(feature = "live")]
mod grpc;
#[cfg(feature = "live")]
mod http;
mod numbers;
#[cfg(feature = "live")]
mod request;
mod wire;

use sha1::{Digest as _, Sha1};

use self::attributes::{Attributes, attribute, error_type, is_client, table};
use self::numbers::Numbers;
use super::choice::{Signal, Style};
use super::json::ALERT;
use super::render::{Entry, Render};
use crate::metrics::method;
use crate::text::utf8;
use http_trace_detect::alert::Alert;
use http_trace_detect::rule::Level;
use http_trace_model::event::{HttpEvent, Loss, NoResponse};
use http_trace_model::field::loss::LOSS;
use http_trace_model::field::{Value, View};
use http_trace_model::fields::trace_context;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

/// Severity numbers of the log data model.
mod severity {
    pub const INFO: (u64, &str) = (9, "INFO");
    pub const INFO2: (u64, &str) = (10, "INFO2");
    pub const WARN: (u64, &str) = (13, "WARN");
    pub const ERROR: (u64, &str) = (17, "ERROR");
    pub const FATAL: (u64, &str) = (21, "FATAL");
}

/// Writes records as frames.
#[derive(Debug)]
pub struct Otlp {
    signals: Vec<Signal>,
    attributes: Attributes,
    hostname: Vec<u8>,
    numbers: Option<Numbers>,
}

impl Otlp {
    /// Uses the style's header fields and signals.
    pub fn new(style: &Style) -> Self {
        Otlp {
            signals: style.signals.clone(),
            attributes: Attributes::new(style.headers.clone(), style.request_headers.clone()),
            hostname: style.hostname.as_bytes().to_vec(),
            numbers: style.signals.contains(&Signal::Metrics).then(|| Numbers::new(style.every_ns)),
        }
    }

    fn sends(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }
}

impl Render for Otlp {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let event = entry.event;
        let view = entry.view(&self.hostname);
        if let Some(numbers) = &mut self.numbers {
            numbers.tick(event.time_ns, out);
            numbers.event(&view);
            if !self.sends(Signal::Logs) && !self.sends(Signal::Spans) {
                return;
            }
        }
        let context = Context::of(event);
        if self.sends(Signal::Logs) {
            let (number, text) = severity_of(event);
            let record = Record {
                time_ns: event.time_ns,
                severity: (number, text),
                body: body(event),
                name: "http_trace.response",
            };
            frame(out, Signal::Logs, |out| {
                record.put(out);
                self.attributes.put(out, 6, &view);
                wire::fixed32(out, 8, context.flags & 0xff);
                // The span that is sent too, otherwise the caller's.
                let span = match self.sends(Signal::Spans) {
                    true => Some(context.span),
                    false => context.parent,
                };
                if let Some(span) = span {
                    wire::bytes(out, 9, &context.trace);
                    wire::bytes(out, 10, &span);
                }
            });
        }
        if self.sends(Signal::Spans) {
            frame(out, Signal::Spans, |out| {
                self.span(out, &view, &context);
            });
        }
    }

    fn missed(&mut self, entry: &Entry<'_>) {
        if let Some(numbers) = &mut self.numbers {
            numbers.event(&entry.view(&self.hostname));
        }
    }

    fn alert(&mut self, alert: &Alert, out: &mut Vec<u8>) {
        if !self.sends(Signal::Logs) {
            return;
        }
        let record = Record {
            time_ns: alert.time_ns,
            severity: match alert.severity.level() {
                Level::Informational => severity::INFO,
                Level::Low => severity::INFO2,
                Level::Medium => severity::WARN,
                Level::High => severity::ERROR,
                Level::Critical => severity::FATAL,
            },
            body: alert.message(),
            name: "http_trace.alert",
        };
        const WITHOUT: &[&str] = &["@timestamp", "ecs.version", "message", "observer.hostname"];
        frame(out, Signal::Logs, |out| {
            record.put(out);
            table(out, 6, ALERT, WITHOUT, &View::new(alert));
        });
    }

    fn loss(&mut self, loss: &Loss, out: &mut Vec<u8>) {
        if !self.sends(Signal::Logs) {
            return;
        }
        let record = Record {
            time_ns: loss.until_ns,
            severity: severity::WARN,
            body: format!("{} {} lost: {}", loss.count, loss.unit.name(), loss.place).into_bytes(),
            name: "http_trace.lost",
        };
        const WITHOUT: &[&str] = &["@timestamp", "ecs.version", "observer.hostname"];
        frame(out, Signal::Logs, |out| {
            record.put(out);
            table(out, 6, LOSS, WITHOUT, &View::new(loss));
        });
    }

    fn due_ns(&self) -> Option<u64> {
        self.numbers.as_ref().and_then(Numbers::due_ns)
    }

    fn tick(&mut self, now_ns: u64, out: &mut Vec<u8>) {
        if let Some(numbers) = &mut self.numbers {
            numbers.tick(now_ns, out);
        }
    }

    fn tail(&self) -> Vec<u8> {
        self.numbers.as_ref().map_or_else(Vec::new, Numbers::tail)
    }
}

impl Otlp {
    /// A `Span` (opentelemetry/proto/trace/v1/trace.proto).
    fn span(&self, out: &mut Vec<u8>, view: &View<'_, HttpEvent>, context: &Context) {
        const SERVER: u64 = 2;
        const CLIENT: u64 = 3;
        const ERROR: u64 = 2;
        let event = view.record;
        wire::bytes(out, 1, &context.trace);
        wire::bytes(out, 2, &context.span);
        let request = event.request.as_ref();
        if let Some(parent) = &context.parent {
            let state = request.and_then(|request| request.headers.joined("tracestate"));
            if let Some(state) = state.and_then(|state| String::from_utf8(state).ok()) {
                wire::bytes(out, 3, state.as_bytes());
            }
            wire::bytes(out, 4, parent);
        }
        // Paths are unbounded, so they must not be in span names.
        let name = match request.map(|request| method(&request.method)) {
            None | Some("_OTHER") => "HTTP",
            Some(method) => method,
        };
        wire::bytes(out, 5, name.as_bytes());
        let kind = if is_client(event) { CLIENT } else { SERVER };
        wire::number(out, 6, kind);
        let start_ns = event.request_start_ns.unwrap_or(event.time_ns);
        wire::fixed64(out, 7, start_ns);
        let end_ns = event.end_ns().unwrap_or(event.time_ns);
        wire::fixed64(out, 8, end_ns.max(start_ns));
        self.attributes.put(out, 9, view);
        if error_type(event).is_some() {
            wire::message(out, 15, |out| wire::number(out, 3, ERROR));
        }
        wire::fixed32(out, 16, context.flags);
    }
}

/// Fields that all log records have.
struct Record {
    time_ns: u64,
    severity: (u64, &'static str),
    body: Vec<u8>,
    name: &'static str,
}

impl Record {
    /// Appends fields of a `LogRecord` (opentelemetry/proto/logs/v1/logs.proto).
    fn put(&self, out: &mut Vec<u8>) {
        wire::fixed64(out, 1, self.time_ns);
        wire::number(out, 2, self.severity.0);
        wire::bytes(out, 3, self.severity.1.as_bytes());
        wire::message(out, 5, |out| {
            wire::bytes(out, 1, utf8(&self.body).as_bytes());
        });
        wire::fixed64(out, 11, self.time_ns);
        wire::bytes(out, 12, self.name.as_bytes());
    }
}

fn severity_of(event: &HttpEvent) -> (u64, &'static str) {
    match (&event.response, event.no_response) {
        (_, Some(NoResponse::Unseen)) => severity::INFO,
        (_, Some(_)) => severity::ERROR,
        (Some(response), _) if response.status >= 500 => severity::ERROR,
        (Some(response), _) if response.status >= 400 => severity::WARN,
        _ => severity::INFO,
    }
}

/// `GET /cart/7 404`
fn body(event: &HttpEvent) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(request) = &event.request {
        body.extend_from_slice(&request.method);
        body.push(b' ');
        body.extend_from_slice(&request.target);
        body.push(b' ');
    }
    let head = event.response.as_ref().or(event.informational.last());
    match (head, event.no_response) {
        (_, Some(why)) => body.extend_from_slice(why.name().as_bytes()),
        (Some(head), None) => body.extend_from_slice(head.status.to_string().as_bytes()),
        (None, None) => {}
    }
    body
}

/// The trace that an exchange belongs to.
struct Context {
    trace: [u8; 16],
    span: [u8; 8],
    /// The caller's span.
    parent: Option<[u8; 8]>,
    /// Flags of the trace, with the flag for a remote parent.
    flags: u32,
}

impl Context {
    /// Taken from the request (W3C Trace Context, B3); otherwise a new trace, with the same ids for the same bytes on
    /// the wire.
    fn of(event: &HttpEvent) -> Self {
        // An id of zeros is invalid.
        let span = event.id.max(1).to_be_bytes();
        let headers = event.request.as_ref().map(|request| &request.headers);
        let named = headers.and_then(|headers| Some((headers, trace_context(headers)?)));
        let Some((headers, (trace, parent))) = named else {
            let mut trace = [0; 16];
            trace.copy_from_slice(&Sha1::digest(span)[..16]);
            return Context { trace, span, parent: None, flags: 0 };
        };
        // HAS_IS_REMOTE and IS_REMOTE (trace.proto, SpanFlags).
        const REMOTE: u32 = 0x300;
        Context {
            trace: hex(trace),
            span,
            parent: parent.map(hex),
            flags: sampled(headers) | parent.map_or(0, |_| REMOTE),
        }
    }
}

/// The flags of `traceparent`.
fn sampled(headers: &Headers) -> u32 {
    let flags = headers.first_known(Known::TRACEPARENT);
    let flags = flags.and_then(|value| value.split(|b| *b == b'-').nth(3));
    let flags = flags.filter(|flags| flags.len() == 2);
    let flags = flags.and_then(|flags| std::str::from_utf8(flags).ok());
    flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).unwrap_or(0)
}

/// Decodes hexadecimal digits; missing leading bytes are zero.
fn hex<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (at, digit) in digits.iter().rev().enumerate() {
        let value = char::from(*digit).to_digit(16).unwrap_or(0) as u8;
        if let Some(byte) = N.checked_sub(at / 2 + 1).and_then(|at| bytes.get_mut(at)) {
            *byte |= value << (4 * (at % 2));
        }
    }
    bytes
}

/// Length of a frame's header: signal and content length.
const FRAME_HEAD: usize = 5;

/// Appends a record of a signal as it is encoded in a request.
fn frame(out: &mut Vec<u8>, signal: Signal, fill: impl FnOnce(&mut Vec<u8>)) {
    out.push(signal as u8);
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    // Log records, spans and metrics have the same field number in their requests.
    wire::message(out, 2, fill);
    let length = (out.len() - begin - 4) as u32;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// The resource and the scope of all records: fields of `ResourceLogs` and `ScopeLogs`, with the same numbers as for
/// spans and metrics.
fn origin(hostname: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut resource, mut scope) = (Vec::new(), Vec::new());
    wire::message(&mut resource, 1, |out| {
        for (name, value) in [
            ("service.name", env!("CARGO_PKG_NAME")),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("host.name", hostname),
        ] {
            attribute(out, 1, name, &Value::word(value));
        }
    });
    wire::message(&mut scope, 1, |out| {
        wire::bytes(out, 1, env!("CARGO_PKG_NAME").as_bytes());
        wire::bytes(out, 2, env!("CARGO_PKG_VERSION").as_bytes());
    });
    (resource, scope)
}

#[cfg(test)]
mod tests;
