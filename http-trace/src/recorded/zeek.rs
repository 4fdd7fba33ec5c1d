//! Zeek's http.log, as JSON (flat keys) or as TSV with its `#` lines.

use serde_json::Value;

use super::parts::{Line, address, missing, request, response, seconds, status, time};
use crate::text::unescaped;
use http_trace_model::event::{Endpoint, HttpEvent};
use http_trace_model::head::ResponseHead;

/// Whether a JSON record of any log is Zeek's.
pub(super) fn is_one(record: &Value) -> bool {
    record.get("_path").is_some() || record.get("id.orig_h").is_some()
}

pub(super) fn json(record: &Value) -> Result<Line, String> {
    if record.get("_path").is_some_and(|path| path != "http") {
        return Ok(Line::Other);
    }
    // Numbers are kept as text: a time has more digits than a float can hold.
    let text = |name: &str| match record.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => items.first()?.as_str().map(str::to_owned),
        _ => None,
    };
    // Zeek writes bytes that are not UTF-8 as \xNN, here as in TSV.
    event(&|name| Some(unescaped(&text(name)?).into_owned()))
}

/// Contents of the `#` lines of TSV.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    separator: u8,
    unset: Vec<u8>,
    empty: Vec<u8>,
    fields: Vec<String>,
    http: bool,
}

/// Processes a `#` line.
pub(super) fn comment(line: &[u8], columns: &mut Option<Columns>) -> Result<(), String> {
    let text = String::from_utf8_lossy(line);
    if let Some(separator) = text.strip_prefix("#separator ") {
        let byte = match separator.trim().strip_prefix("\\x") {
            Some(hex) => {
                u8::from_str_radix(hex, 16).map_err(|_| "missing #separator".to_owned())?
            }
            None => *separator.as_bytes().first().ok_or("missing #separator")?,
        };
        *columns = Some(Columns {
            separator: byte,
            unset: b"-".to_vec(),
            empty: b"(empty)".to_vec(),
            fields: Vec::new(),
            http: true,
        });
        return Ok(());
    }
    let Some(columns) = columns else {
        return Ok(());
    };
    let mut words = text.split(char::from(columns.separator));
    match words.next() {
        Some("#unset_field") => columns.unset = words.next().unwrap_or("-").into(),
        Some("#empty_field") => columns.empty = words.next().unwrap_or("(empty)").into(),
        Some("#path") => columns.http = words.next() == Some("http"),
        Some("#fields") => columns.fields = words.map(str::to_owned).collect(),
        _ => {}
    }
    Ok(())
}

impl Columns {
    /// Parses a line of TSV.
    pub(super) fn event(&self, line: &[u8]) -> Result<Line, String> {
        if !self.http {
            return Ok(Line::Other);
        }
        let values: Vec<&[u8]> = line.split(|b| *b == self.separator).collect();
        let (got, want) = (values.len(), self.fields.len());
        if got != want {
            return Err(format!("{got} columns of {want} in a Zeek http.log record"));
        }
        event(&|name| {
            let at = self.fields.iter().position(|field| field == name)?;
            let value = values.get(at).filter(|v| **v != self.unset)?;
            match **value == self.empty {
                true => Some(Vec::new()),
                false => Some(unescape(value)),
            }
        })
    }
}

/// Undoes `\xHH`.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let hex = (byte == b'\\' && value.get(at + 1) == Some(&b'x'))
            .then(|| std::str::from_utf8(value.get(at + 2..at + 4)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(hex.unwrap_or(byte));
        at += if hex.is_some() { 4 } else { 1 };
    }
    out
}

/// Builds an event from the fields of the log.
fn event(field: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Line, String> {
    let text = |name: &str| field(name).and_then(|value| String::from_utf8(value).ok());
    let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
    let end = |ip: &str, port: &str| {
        let ip = text(ip)
            .as_deref()
            .and_then(address)
            .ok_or_else(|| format!("missing {ip} in a Zeek http.log record"))?;
        let port = number(port).and_then(|port| u16::try_from(port).ok());
        Ok::<_, String>(Endpoint { ip, port: port.unwrap_or(0) })
    };
    let time_ns = text("ts")
        .as_deref()
        .and_then(|ts| seconds(ts).or_else(|| time(ts)))
        .ok_or("missing ts in a Zeek http.log record")?;
    let client = end("id.orig_h", "id.orig_p")?;
    let server = end("id.resp_h", "id.resp_p")?;
    let mut event: HttpEvent = HttpEvent::new(time_ns, client, server);
    event.ordinal = number("trans_depth").map_or(1, |n| n.min(u32::MAX.into()) as u32);
    let version = text("version").unwrap_or_default();
    if let Some(method) = field("method") {
        let (host, referrer, agent) = (field("host"), field("referrer"), field("user_agent"));
        let fields = [
            ("host", host.as_deref()),
            ("referer", referrer.as_deref()),
            ("user-agent", agent.as_deref()),
        ];
        let target = field("uri").unwrap_or_default();
        event.request = Some(request(&method, &target, &version, &fields));
        event.request_start_ns = Some(time_ns);
        event.request_body_bytes = number("request_body_len");
    }
    let head = |code: &str, phrase: &str, mime: Option<Vec<u8>>| -> Option<ResponseHead> {
        let fields = [("content-type", mime.as_deref())];
        let phrase = field(phrase).unwrap_or_default();
        Some(response(status(number(code)?)?, &phrase, &version, &fields))
    };
    event.informational.extend(head("info_code", "info_msg", None));
    let kinds = field("resp_mime_types").filter(|kinds| !kinds.is_empty());
    // TSV separates several by commas.
    let kind = kinds.and_then(|kinds| kinds.split(|b| *b == b',').next().map(<[u8]>::to_vec));
    event.response = head("status_code", "status_msg", kind);
    event.body_bytes = number("response_body_len").filter(|_| event.response.is_some());
    event.missing = missing(&event, &version, false, false);
    Ok(match event.response.is_none() && event.request.is_none() {
        true => Line::Other,
        false => Line::Event(Box::new(event)),
    })
}
