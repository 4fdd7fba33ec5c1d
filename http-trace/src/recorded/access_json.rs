//! Access logs in JSON, an object per line: nginx's `log_format … escape=json` and similar, with the names of
//! variables or other common keys; HAProxy, Traefik, Envoy; Caddy and Kong, whose requests are nested objects; and the
//! names of ECS, as Filebeat's modules write them, with dots or nested.

use serde_json::Value;

use super::combined::{clf_time, request_line};
use super::parts::{
    Client, Line, address, answered, line_of, logged_status, of_client, request, seconds, socket,
    time,
};
use crate::text::unescaped;
use http_trace_model::field::draft::basic;
use http_trace_model::head::RequestHead;

/// Looks up values by any of several keys.
struct Record<'a> {
    object: &'a Value,
    /// Whether bytes that JSON cannot contain were written as `\xNN`.
    repaired: bool,
}

impl Record<'_> {
    fn get(&self, names: &[&str]) -> Option<Vec<u8>> {
        let said = |value: &Value| match value {
            Value::String(text) if !matches!(&**text, "" | "-") => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let within = |object: &Value| names.iter().find_map(|name| said(at(object, name)?));
        let part = |name: &str| self.object.get(name).filter(|part| part.is_object());
        let found = within(self.object)
            .or_else(|| within(part("request")?))
            .or_else(|| within(part("response")?))?;
        Some(if self.repaired { unescaped(&found).into_owned() } else { found.into_bytes() })
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        String::from_utf8(self.get(names)?).ok()
    }

    fn number(&self, names: &[&str]) -> Option<u64> {
        self.text(names)?.parse().ok()
    }
}

const ADDRESS: &[&str] = &[
    "remote_addr", "remote_ip", "client_ip", "clientip", "client", "remote", "ClientHost",
    "downstream_remote_address", "source.ip", "source.address", "client.ip", "client.address",
];
const STATUS: &[&str] = &[
    "status", "status_code", "response_code", "response", "DownstreamStatus", "http_status",
    "http_status_code", "response_status", ECS_STATUS,
];
const ECS_STATUS: &str = "http.response.status_code";
const TIME: &[&str] = &[
    "time_iso8601", "msec", "time_local", "@timestamp", "timestamp", "time", "ts", "date",
    "start_time", "started_at",
];
/// A whole request line, or the target alone.
const LINE: &[&str] = &["request", "request_line", "http_request"];
const METHOD: &[&str] = &[
    "request_method", "method", "verb", "RequestMethod", "http_method", "http_verb",
    "http.request.method",
];
/// Targets, of which those of [`LINE`] are tried last: Logstash's patterns call the target of a request line `request`.
const TARGET: &[&str] = &[
    "request_uri", "uri", "path", "url", "RequestPath", "request_path", "uri_path", "http_uri",
    "http_url", "http_path", "url.original", "url.path",
];
const QUERY: &[&str] = &["args", "query_string", "http_query", "url.query"];
/// Keys of the request as HAProxy's logs name it, which are no header fields.
const NO_FIELDS: &[&str] = &[
    "version", "referrer", "method", "verb", "request", "uri", "url", "path", "query", "status",
    "status-code",
];

fn has_any(object: &Value, names: &[&str]) -> bool {
    names.iter().any(|name| object.get(name).is_some())
}

/// The member of this name, which may be nested at any of its dots.
fn at<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let nested = || {
        let mut dots = name.match_indices('.');
        dots.find_map(|(dot, _)| at(object.get(&name[..dot])?, &name[dot + 1..]))
    };
    object.get(name).or_else(nested)
}

/// Whether a record with the names of ECS is from an access log, and not our own.
pub(super) fn is_ecs(object: &Value) -> bool {
    let dataset = at(object, "event.dataset").and_then(Value::as_str);
    let is_ours = match dataset {
        Some(dataset) => dataset.starts_with("http_trace."),
        None => at(object, "event.kind").is_some() && at(object, "event.module").is_none(),
    };
    let is_there = |names: &[&str]| names.iter().any(|name| at(object, name).is_some());
    !is_ours && is_there(&[ECS_STATUS]) && is_there(&["@timestamp"]) && is_there(ADDRESS)
}

/// Whether a record names its request. Servers leave it empty where a client sent none, and refuse what is none.
fn has_request(object: &Value, is_refused: bool) -> bool {
    let has = |names: &[&str]| {
        let request = object.get("request").filter(|request| request.is_object());
        let is_in = |object: &Value| names.iter().any(|name| at(object, name).is_some());
        is_in(object) || request.is_some_and(is_in)
    };
    // Filebeat leaves out what a client sent in place of a request line.
    let dataset = at(object, "event.dataset").and_then(Value::as_str);
    if !has(METHOD) && dataset.is_some_and(|dataset| dataset.ends_with(".access")) {
        return true;
    }
    let line = LINE.iter().find_map(|name| object.get(name).filter(|line| !line.is_object()));
    // A target alone is a request whose method has another name, unless a client sent it as its line.
    let is_target = line.and_then(Value::as_str).is_some_and(|line| line.starts_with('/'));
    let is_target = is_target && !is_refused;
    line.is_some() && !is_target || has(METHOD) && (line.is_some() || has(TARGET))
}

fn has_address(object: &Value) -> bool {
    let request = object.get("request").filter(|request| request.is_object());
    has_any(object, ADDRESS) || request.is_some_and(|request| has_any(request, ADDRESS))
}

/// Whether a JSON record is from an access log. Some logs of Zeek have columns of these names.
pub(super) fn is_one(object: &Value) -> bool {
    let of_zeek = object.get("id.orig_h").is_some();
    has_address(object) && has_any(object, STATUS) && has_any(object, TIME) && !of_zeek
}

/// Whether a JSON record is a message of a server (Caddy, Traefik) that logs requests likewise.
pub(super) fn is_message(object: &Value) -> bool {
    let is_text = |name: &str| object.get(name).is_some_and(Value::is_string);
    let is_said = is_text("level") && ["msg", "message"].into_iter().any(is_text);
    is_said && !has_address(object) && !has_any(object, STATUS)
}

/// Parses a record; `repaired` means that bytes which JSON cannot contain were written as `\xNN`.
pub(super) fn event(object: &Value, repaired: bool) -> Result<Line, String> {
    let record = Record { object, repaired };
    let wrong = |what: &str| format!("missing or invalid {what} in an access log record");
    let from = record.text(ADDRESS).unwrap_or_default();
    let socket = socket(&from);
    let port = record.number(&["remote_port", "client_port", "source.port", "client.port"]);
    let port = port.and_then(|port| u16::try_from(port).ok());
    let ip = socket.map(|(ip, _)| ip).or_else(|| address(&from));
    let client = ip.map(Client::Ip);
    let client = client.or_else(|| Client::named(from.as_bytes()));
    let client = client.ok_or_else(|| wrong("client address (remote_addr)"))?;
    let when = record.text(TIME);
    let when = when
        .as_deref()
        .and_then(|text| epoch(text).or_else(|| time(text)).or_else(|| clf_time(text)));
    let time_ns = when.ok_or_else(|| wrong("time (time_iso8601, msec, time_local)"))?;
    let bytes = record.number(&[
        "body_bytes_sent", "bytes", "size", "DownstreamContentSize", "http.response.body.bytes",
    ]);
    let code = record.number(STATUS).and_then(|code| logged_status(code, bytes));
    let code = code.ok_or_else(|| wrong("status from 100 to 999, or 0 for none"))?;

    let mut event = of_client(client, time_ns);
    event.client.port = port.or(socket.map(|(_, port)| port)).unwrap_or(0);
    let line = record.get(LINE);
    // A target may contain what looks like a version.
    let line = line.as_deref().filter(|line| !line.starts_with(b"/")).and_then(request_line);
    let protocol = record.text(&[
        "server_protocol", "protocol", "http_version", "proto", "RequestProtocol", "http.version",
    ]);
    let version = line.map(|(.., version)| version).or(protocol.as_deref());
    let version = version.unwrap_or_default();
    event.request = request_head(&record, line, version);
    let content_type = content_type(&record);
    let fields = [("content-type", content_type.as_deref())];
    answered(&mut event, code, version, &fields);
    if event.request.is_none() && !has_request(object, code.is_none_or(|code| code >= 400)) {
        return Err(wrong("request (request, or request_method and request_uri)"));
    }
    if code.is_some() {
        event.body_bytes = bytes;
        event.response_bytes = record.number(&["bytes_sent"]);
    }
    // The line was written after the response, so this gives the start of the request.
    let taken = record.text(&["request_time"]);
    if let Some(start) =
        taken.as_deref().and_then(seconds).and_then(|taken| time_ns.checked_sub(taken))
    {
        event.request_start_ns = Some(start);
        event.response_end_ns = code.map(|_| time_ns);
    }
    Ok(line_of(event))
}

/// That of the response. nginx's variable `content_type` is the request's, which the client chooses: it is not believed
/// beside other variables of nginx.
fn content_type(record: &Record<'_>) -> Option<Vec<u8>> {
    let named = [
        "sent_http_content_type", "upstream_http_content_type", "response_content_type",
        "downstream_Content-Type", "http.response.mime_type",
    ];
    // Of Caddy and Kong.
    let fields = ["/resp_headers", "/response/headers"];
    let in_fields = || {
        let fields = fields.iter().find_map(|at| record.object.pointer(at)?.as_object())?;
        let is_it = |(name, _): &(&String, _)| name.eq_ignore_ascii_case("content-type");
        let (_, value) = fields.iter().find(is_it)?;
        let first = value.as_array().and_then(|all| all.first()).unwrap_or(value);
        first.as_str().map(|text| text.as_bytes().to_vec())
    };
    let of_nginx = ["request_uri", "time_iso8601", "time_local", "msec"];
    let is_nginx = of_nginx.iter().any(|name| record.object.get(*name).is_some());
    let plain = || record.get(&["content_type"]).filter(|_| !is_nginx);
    record.get(&named).or_else(in_fields).or_else(plain)
}

/// The request, with the header fields that the record has; `line` is its request line.
fn request_head(
    record: &Record<'_>,
    line: Option<(&[u8], &[u8], &str)>,
    version: &str,
) -> Option<RequestHead> {
    let (method, target) = match line {
        Some((method, target, _)) => (method.to_vec(), target.to_vec()),
        None => {
            (record.get(METHOD)?, record.get(&["request_uri"]).or_else(|| path_and_query(record))?)
        }
    };
    let mut head = request(&method, &target, version, &[]);
    let mut named = NO_FIELDS.to_vec();
    for (name, keys) in [
        (
            "host",
            &[
                "http_host", "host", "server_name", "vhost", "RequestHost", "authority",
                "url.domain",
            ][..],
        ),
        (
            "referer",
            &["http_referer", "http_referrer", "referer", "referrer", "http.request.referrer"],
        ),
        ("user-agent", &["http_user_agent", "user_agent", "agent", "user_agent.original"]),
        ("x-forwarded-for", &["http_x_forwarded_for", "x_forwarded_for", "forwarded_for"]),
    ] {
        if let Some(value) = record.get(keys) {
            head.headers.push(name.as_bytes(), &value);
            named.push(name);
        }
    }
    let members = || record.object.as_object().into_iter().flatten();
    // nginx variables of other header fields.
    for (key, _) in members() {
        let Some(name) = key.strip_prefix("http_").map(|name| name.replace('_', "-")) else {
            continue;
        };
        if !named.contains(&&*name)
            && let Some(value) = record.get(&[key])
        {
            head.headers.push(name.as_bytes(), &value);
        }
    }
    // Header fields under their own names: with a prefix in Traefik, in an object in Caddy and Kong.
    for (key, value) in members() {
        if let Some(name) = key.strip_prefix("request_")
            && name.starts_with(|c: char| c.is_ascii_uppercase())
            && let Value::String(value) = value
        {
            head.headers.push(name.as_bytes(), value.as_bytes());
        }
    }
    let fields = record.object.pointer("/request/headers").and_then(Value::as_object);
    for (name, values) in fields.into_iter().flatten() {
        let values = values.as_array().map_or(std::slice::from_ref(values), Vec::as_slice);
        // Caddy empties the lists of credentials and cookies.
        let removed = values.is_empty().then_some("");
        for value in values.iter().filter_map(Value::as_str).chain(removed) {
            head.headers.push(name.as_bytes(), value.as_bytes());
        }
    }
    if let Some(user) = record
        .get(&["remote_user", "user", "user_id", "ClientUsername", "user.name"])
        .filter(|_| head.headers.first("authorization").is_none())
    {
        head.headers.push(b"authorization", &basic(&user));
    }
    Some(head)
}

fn path_and_query(record: &Record<'_>) -> Option<Vec<u8>> {
    let mut path = record.get(TARGET).or_else(|| record.get(LINE))?;
    if !path.contains(&b'?')
        && let Some(query) = record.get(QUERY)
    {
        path.push(b'?');
        // HAProxy's has it.
        path.extend(query.strip_prefix(b"?").unwrap_or(&query));
    }
    Some(path)
}

/// Parses Unix time in seconds, or in milliseconds if it has thirteen digits.
fn epoch(text: &str) -> Option<u64> {
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    match text.len() {
        13 if !text.contains('.') => text.parse::<u64>().ok()?.checked_mul(1_000_000),
        _ => seconds(text),
    }
}

/// Rewrites what JSON cannot contain as `\xNN`: bytes that are not UTF-8, and `\x` escapes of servers that
/// were not configured to write JSON. Backslashes become `\x5c`, so that the result is unambiguous.
pub(super) fn repaired(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + 16);
    for chunk in line.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let (before, escape) = rest.split_at(at);
            out.extend_from_slice(before);
            let taken = match escape {
                [_, b'x', high, low, ..] => {
                    out.extend_from_slice(b"\\\\x");
                    out.extend([high, low].map(u8::to_ascii_lowercase));
                    4
                }
                [_, b'\\', ..] => {
                    out.extend_from_slice(b"\\\\x5c");
                    2
                }
                other => {
                    let taken = other.len().min(2);
                    out.extend_from_slice(&other[..taken]);
                    taken
                }
            };
            rest = &escape[taken..];
        }
        out.extend_from_slice(rest);
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\\\x{byte:02x}").as_bytes());
        }
    }
    out
}
