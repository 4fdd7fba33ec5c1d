//! HTTP/1.x transactions in Suricata's eve.json. Other records are ignored.

use serde_json::Value;

use super::parts::{Line, address, missing, port as port_of, request, response, status, time};
use crate::text::unescaped;
use http_trace_model::event::{Endpoint, HttpEvent, Missing};
use http_trace_model::head::Headers;

/// Whether a JSON record of any kind is Suricata's.
pub(super) fn is_one(record: &Value) -> bool {
    let names = ["src_ip", "flow_id", "timestamp"];
    record.get("event_type").is_some_and(Value::is_string)
        && names.iter().any(|name| record.get(name).is_some())
}

/// Parses a transaction.
pub(super) fn event(record: &Value) -> Result<Line, String> {
    let Some(http) = record.get("http").filter(|_| record["event_type"] == "http") else {
        return Ok(Line::Other);
    };
    // HTTP/2, which is not supported.
    if http.get("http2").is_some() {
        return Ok(Line::Other);
    }
    let end = |name: &str, port: &str| {
        let ip = record.get(name).and_then(Value::as_str).and_then(address);
        Ok::<_, String>(Endpoint {
            ip: ip.ok_or_else(|| format!("missing {name} in an eve.json record"))?,
            port: port_of(record.get(port).and_then(Value::as_u64)),
        })
    };
    let when = record.get("timestamp").and_then(Value::as_str);
    let time_ns = when.and_then(time).ok_or("missing timestamp in an eve.json record")?;
    let (client, server) = (end("src_ip", "src_port")?, end("dest_ip", "dest_port")?);
    let mut event = HttpEvent::new(time_ns, client, server);
    let text = |name: &str| {
        let text = http.get(name).and_then(Value::as_str)?;
        Some(unescaped(text).into_owned())
    };
    let version = text("protocol").and_then(|v| String::from_utf8(v).ok());
    let version = version.unwrap_or_default();
    if let Some(id) = record.get("tx_id").and_then(Value::as_u64) {
        event.ordinal = id.saturating_add(1).min(u32::MAX.into()) as u32;
    }
    if let Some(method) = text("http_method") {
        let port = http.get("http_port").and_then(Value::as_u64);
        let host = text("hostname").map(|mut host| {
            host.extend(port.into_iter().flat_map(|port| format!(":{port}").into_bytes()));
            host
        });
        let mut head = request(&method, &text("url").unwrap_or_default(), &version, &[]);
        let named = [
            ("host", host),
            ("user-agent", text("http_user_agent")),
            ("referer", text("http_refer")),
            ("x-forwarded-for", text("xff")),
        ];
        add(&mut head.headers, http.get("request_headers"), named);
        event.request = Some(head);
    }
    let code = http.get("status").and_then(Value::as_u64).and_then(status);
    if let Some(code) = code {
        let phrase = text("http_response_phrase").unwrap_or_default();
        let mut head = response(code, &phrase, &version, &[]);
        let named = [("content-type", text("http_content_type")), ("location", text("redirect"))];
        add(&mut head.headers, http.get("response_headers"), named);
        if (100..200).contains(&code) && code != 101 {
            event.informational.push(head);
        } else {
            event.response = Some(head);
            event.body_bytes = http.get("length").and_then(Value::as_u64);
        }
    }
    let told = record.pointer("/http_trace/missing");
    let told = |what: Missing| {
        let mut names = told.and_then(Value::as_array).into_iter().flatten();
        names.any(|name| name == what.name())
    };
    let whole = |dump: &str, what| http.get(dump).is_some() && !told(what);
    event.missing = missing(
        &event,
        &version,
        whole("request_headers", Missing::RequestHeaders),
        whole("response_headers", Missing::Headers),
    );
    Ok(match event.request.is_none() && code.is_none() {
        true => Line::Other,
        false => Line::Event(Box::new(event)),
    })
}

/// Adds header fields from the dump of all headers, if present, and separately named ones that are missing in
/// it.
fn add<const N: usize>(
    headers: &mut Headers,
    dump: Option<&Value>,
    named: [(&'static str, Option<Vec<u8>>); N],
) {
    for line in dump.and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| line.get(name).and_then(Value::as_str).map(unescaped);
        if let (Some(name), Some(value)) = (part("name"), part("value")) {
            headers.push(&name, &value);
        }
    }
    for (name, value) in named {
        if let Some(value) = value.filter(|_| headers.first(name).is_none()) {
            headers.push(name.as_bytes(), &value);
        }
    }
}
