//! Zeek's http.log, as JSON (flat keys) or as TSV with its `#` lines.

use serde_json::Value;

use super::parts::{
    self, Line, address, line_of, missing, request, response, seconds, status, time,
};
use crate::text::unescaped;
use http_trace_model::event::{Endpoint, HttpEvent};
use http_trace_model::field::draft::basic;
use http_trace_model::head::ResponseHead;
use http_trace_model::value::hex;

/// Header fields that Zeek lists in `proxied`.
pub(crate) const OF_PROXIES: [&str; 7] = [
    "forwarded", "x-forwarded-for", "x-forwarded-from", "client-ip", "via", "xroxy-connection",
    "proxy-connection",
];

/// Whether a JSON record of any log is Zeek's.
pub(super) fn is_one(record: &Value) -> bool {
    record.get("_path").is_some() || record.get("id.orig_h").is_some()
}

/// Whether a log is of HTTP: http.log, or what a filter names otherwise. sip.log has columns of the same names.
fn is_http(path: Option<&str>, has: impl Fn(&str) -> bool) -> bool {
    match path {
        Some("http") => true,
        Some("sip") => false,
        _ if ["call_id", "request_path", "response_path"].into_iter().any(&has) => false,
        Some(_) => ["method", "uri", "status_code"].into_iter().all(has),
        None => true,
    }
}

pub(super) fn json(record: &Value) -> Result<Line, String> {
    let path = record.get("_path").map(|path| path.as_str().unwrap_or_default());
    if !is_http(path, |name| record.get(name).is_some()) || path.is_none() && is_sip(record) {
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
    let bytes = |text: &str| unescaped(text).into_owned();
    let proxied = record.get("proxied").and_then(Value::as_array).into_iter().flatten();
    let proxied: Vec<_> = proxied.filter_map(Value::as_str).map(bytes).collect();
    event(&|name| Some(bytes(&text(name)?)), &proxied)
}

/// Whether a record of a log without a name is one of sip.log, whose columns may be left out. HTTP has a version or a
/// host, whatever its client asks for.
fn is_sip(record: &Value) -> bool {
    let of_http = ["version", "host"].into_iter().any(|name| record.get(name).is_some());
    let uri = record.get("uri").and_then(Value::as_str).unwrap_or_default();
    let scheme = uri.split(':').next().unwrap_or_default();
    !of_http && ["sip", "sips"].iter().any(|sip| scheme.eq_ignore_ascii_case(sip))
}

/// Contents of the `#` lines of TSV.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    separator: u8,
    /// Between the members of a set.
    set_separator: u8,
    unset: Vec<u8>,
    empty: Vec<u8>,
    path: Option<String>,
    fields: Vec<String>,
}

/// Processes a `#` line.
pub(super) fn comment(line: &[u8], columns: &mut Option<Columns>) -> Result<(), String> {
    let text = String::from_utf8_lossy(line);
    if let Some(separator) = text.strip_prefix("#separator ") {
        let byte = match separator.trim().strip_prefix("\\x") {
            Some(digits) => hex(digits.as_bytes()).ok_or("missing #separator")?,
            None => *separator.as_bytes().first().ok_or("missing #separator")?,
        };
        *columns = Some(Columns {
            separator: byte,
            set_separator: b',',
            unset: b"-".to_vec(),
            empty: b"(empty)".to_vec(),
            path: None,
            fields: Vec::new(),
        });
        return Ok(());
    }
    let Some(known) = columns else { return Ok(()) };
    let mut words = text.split(char::from(known.separator));
    match words.next() {
        Some("#set_separator") => {
            known.set_separator = words.next().and_then(|w| w.bytes().next()).unwrap_or(b',');
        }
        Some("#unset_field") => known.unset = words.next().unwrap_or("-").into(),
        Some("#empty_field") => known.empty = words.next().unwrap_or("(empty)").into(),
        Some("#path") => known.path = words.next().map(str::to_owned),
        Some("#fields") => known.fields = words.map(str::to_owned).collect(),
        Some("#close") => *columns = None,
        _ => {}
    }
    Ok(())
}

impl Columns {
    /// Parses a line of TSV.
    pub(super) fn event(&self, line: &[u8]) -> Result<Line, String> {
        let values: Vec<&[u8]> = line.split(|b| *b == self.separator).collect();
        let (got, want) = (values.len(), self.fields.len());
        if got != want {
            return Err(format!("{got} columns of {want} in a record of a Zeek log"));
        }
        if !is_http(self.path.as_deref(), |name| self.fields.iter().any(|field| field == name)) {
            return Ok(Line::Other);
        }
        let cell = |name: &str| {
            let at = self.fields.iter().position(|field| field == name)?;
            let value = *values.get(at).filter(|v| **v != self.unset)?;
            Some(if value == self.empty { b"" } else { value })
        };
        // Separators within a member are escaped.
        let proxied = cell("proxied").unwrap_or_default().split(|b| *b == self.set_separator);
        let unescaped = |value| unescaped(value).into_owned();
        let proxied: Vec<_> = proxied.map(unescaped).collect();
        event(&|name| cell(name).map(unescaped), &proxied)
    }
}

/// Builds an event from the fields of the log, of which `proxied` is a set.
fn event(field: &dyn Fn(&str) -> Option<Vec<u8>>, proxied: &[Vec<u8>]) -> Result<Line, String> {
    let text = |name: &str| field(name).and_then(|value| String::from_utf8(value).ok());
    let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
    let end = |ip: &str, port: &str| {
        let ip = text(ip)
            .as_deref()
            .and_then(address)
            .ok_or_else(|| format!("missing {ip} in a Zeek http.log record"))?;
        Ok::<_, String>(Endpoint { ip, port: parts::port(number(port)) })
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
        let target = field("uri").unwrap_or_default();
        let mut head = request(&method, &target, &version, &[]);
        // The log may lack the password; a user name shows that credentials were sent.
        let user = field("username").filter(|user| !user.is_empty());
        for (name, value) in [
            ("host", field("host")),
            ("referer", field("referrer")),
            ("user-agent", field("user_agent")),
            ("origin", field("origin")),
            ("authorization", user.map(|user| basic(&user).to_vec())),
        ] {
            if let Some(value) = value {
                head.headers.push(name.as_bytes(), &value);
            }
        }
        for line in proxied {
            if let Some((name, value)) = of_proxy(line) {
                head.headers.push(name.as_bytes(), value);
            }
        }
        event.request = Some(head);
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
    Ok(line_of(event))
}

/// Parses `X-FORWARDED-FOR -> 192.0.2.7`.
fn of_proxy(line: &[u8]) -> Option<(&'static str, &[u8])> {
    const ARROW: &[u8] = b" -> ";
    let at = memchr::memmem::find(line, ARROW)?;
    let mut names = OF_PROXIES.iter().chain(&["x-real-ip"]);
    let name = names.find(|name| line[..at].eq_ignore_ascii_case(name.as_bytes()))?;
    Some((name, &line[at + ARROW.len()..]))
}
