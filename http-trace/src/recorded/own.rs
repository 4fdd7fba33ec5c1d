//! Our own json back into events: what it holds of them. Headers that were not written are not
//! there, but those that have a field of their own in ECS.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;

use super::{Line, address, request, response, status};
use crate::text::unescaped;
use http_trace_model::event::{Endpoint, Forwarded, HttpEvent, Missing, NoResponse, oddity};
use http_trace_model::head::Headers;

/// Nanoseconds since 1970 of an RFC 3339 time.
pub(super) fn time(text: &str) -> Option<u64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_nanosecond()).ok()
}

/// An event of one of our records; alerts and losses are none.
pub(super) fn event(record: &Value) -> Result<Line, String> {
    let at = |pointer: &str| record.pointer(pointer);
    let text = |pointer: &str| at(pointer).and_then(Value::as_str);
    // What was on the wire, whose bytes that are no text were written as `\xNN`.
    let wire = |pointer: &str| text(pointer).map(unescaped);
    let number = |pointer: &str| at(pointer).and_then(Value::as_u64);
    match text("/event/kind") {
        Some("event") => {}
        Some(_) => return Ok(Line::Other),
        None => return Err("neither event.kind nor Zeek's id.orig_h in it".into()),
    }
    let name = |pointer: &str| pointer[1..].replace('/', ".");
    let needed = |pointer: &str| match at(pointer) {
        Some(_) => format!("malformed {} in it", name(pointer)),
        None => format!("no {} in it", name(pointer)),
    };
    let stamp = |pointer: &str| text(pointer).and_then(time);
    let time_ns = stamp("/@timestamp").ok_or_else(|| needed("/@timestamp"))?;
    let end = |name: &str| {
        let ip = text(&format!("/{name}/ip")).and_then(address);
        let port = number(&format!("/{name}/port")).and_then(|port| u16::try_from(port).ok());
        Ok::<_, String>(Endpoint {
            ip: ip.ok_or_else(|| needed(&format!("/{name}/ip")))?,
            port: port.unwrap_or(0),
        })
    };
    // What was made of an access log has no server.
    let server = match at("/destination") {
        Some(_) => end("destination")?,
        None => Endpoint::NOBODY,
    };
    let mut event = HttpEvent::new(time_ns, end("source")?, server);
    event.forwarded = text("/network/forwarded_ip")
        .and_then(address)
        .map(|ip| Forwarded {
            ip,
            port: number("/client/port").and_then(|port| u16::try_from(port).ok()),
        });
    event.id = text("/event/id")
        .and_then(|id| u64::from_str_radix(id, 16).ok())
        .unwrap_or(0);
    let transaction = text("/http_trace/transaction").and_then(|t| t.split_once('.'));
    event.connection = transaction.and_then(|(n, _)| n.parse().ok()).unwrap_or(0);
    event.ordinal = number("/http_trace/ordinal").map_or(1, |n| n.min(u32::MAX.into()) as u32);
    event.complete = at("/http_trace/complete")
        .and_then(Value::as_bool)
        .unwrap_or(true);
    event.missing = words(at("/http_trace/missing"))
        .filter_map(missing)
        .collect();
    // All but `escaped_bytes`, which is said of the text of a record and not of its event.
    event.flags = words(at("/http_trace/flags"))
        .filter_map(oddity::named)
        .collect();
    event.interfaces = words(at("/http_trace/interfaces")).map(Arc::from).collect();
    event.no_response = text("/http_trace/no_response").and_then(no_response);
    times(&mut event, time_ns, &stamp, &number);
    event.body_bytes = number("/http/response/body/bytes");
    event.response_bytes = number("/http/response/bytes");
    event.request_body_bytes = number("/http/request/body/bytes");
    event.egress = text("/network/direction").map(|direction| direction == "egress");
    event.cgroup_id = number("/http_trace/cgroup_id");
    event.body_snippet = wire("/http/response/body/content").map(bytes);

    let version = text("/http/version").unwrap_or("1.1");
    if let Some(method) = wire("/http/request/method") {
        let target = wire("/url/original").unwrap_or_default();
        let mut head = request(&method, &target, version, &[]);
        head.version = wire("/http_trace/request_version").map(bytes);
        let mut lines = fields(at("/http/request/headers"));
        let body = event.request_body_bytes.unwrap_or(0);
        let whole = number("/http/request/bytes");
        head.wire_len = whole.map_or(0, |whole| whole.saturating_sub(body));
        let host = wire("/url/domain").map(|domain| match number("/url/port") {
            Some(port) if port != 80 => [&domain, &b":"[..], port.to_string().as_bytes()].concat(),
            _ => domain.into_owned(),
        });
        let user = wire("/user/name").map(|name| {
            let pair = [&name, &b":"[..]].concat();
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            format!("Basic {encoded}").into_bytes()
        });
        for (name, value) in [
            ("host", host.map(Cow::Owned)),
            ("referer", wire("/http/request/referrer")),
            ("user-agent", wire("/user_agent/original")),
            ("x-request-id", wire("/http/request/id")),
            ("authorization", user.map(Cow::Owned)),
        ] {
            if let Some(value) = value
                && lines.first(name).is_none()
            {
                lines.push(name.as_bytes(), &value);
            }
        }
        head.headers = lines;
        event.request = Some(head);
    }
    let code = "/http/response/status_code";
    if at(code).is_some() {
        let code = number(code).and_then(status).ok_or_else(|| needed(code))?;
        let phrase = wire("/http/response/status_phrase").unwrap_or_default();
        let mut head = response(code, &phrase, version, &[]);
        head.headers = fields(at("/http/response/headers"));
        head.content_length = number("/http_trace/content_length");
        head.first_byte_ns = time_ns;
        event.response = Some(head);
    }
    for head in at("/http_trace/informational")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let code = head.get("status_code").and_then(Value::as_u64);
        let code = code
            .and_then(status)
            .ok_or("malformed http_trace.informational in it")?;
        let phrase = head.get("status_phrase").and_then(Value::as_str);
        let phrase = unescaped(phrase.unwrap_or_default());
        let mut one = response(code, &phrase, version, &[]);
        one.headers = fields(head.get("headers"));
        event.informational.push(one);
    }
    Ok(Line::Event(Box::new(event)))
}

/// Start, end and latencies, back to the moments that they came from.
fn times(
    event: &mut HttpEvent,
    time_ns: u64,
    stamp: &dyn Fn(&str) -> Option<u64>,
    number: &dyn Fn(&str) -> Option<u64>,
) {
    // `event.start` is the response's own when no request was seen; only a duration tells.
    event.request_start_ns = number("/event/duration").and_then(|_| stamp("/event/start"));
    if event.no_response.is_some() {
        event.given_up_ns = stamp("/event/end");
        return;
    }
    event.response_start_ns = Some(time_ns);
    event.response_end_ns = stamp("/event/end").filter(|_| event.complete);
    event.head_end_ns = stamp("/event/end");
    event.request_end_ns = number("/http_trace/ttfb_ns").and_then(|ns| time_ns.checked_sub(ns));
}

/// Field lines of `name → [value, …]`.
fn fields(object: Option<&Value>) -> Headers {
    let mut lines = Headers::default();
    for (name, values) in object.and_then(Value::as_object).into_iter().flatten() {
        for value in words(Some(values)) {
            lines.push(&unescaped(name), &unescaped(value));
        }
    }
    lines
}

fn bytes(text: Cow<'_, [u8]>) -> Bytes {
    Bytes::from(text.into_owned())
}

fn words(array: Option<&Value>) -> impl Iterator<Item = &str> {
    array
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn missing(name: &str) -> Option<Missing> {
    Missing::ALL.into_iter().find(|what| what.name() == name)
}

fn no_response(name: &str) -> Option<NoResponse> {
    Some(match name {
        "reset" => NoResponse::Reset,
        "closed" => NoResponse::Closed,
        "timeout" => NoResponse::Timeout,
        "unreachable" => NoResponse::Unreachable,
        "refused" => NoResponse::Refused,
        _ => return None,
    })
}
