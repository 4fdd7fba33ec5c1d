//! Writes events as Zeek's http.log, as JSON with flat names or as TSV with `#` lines; in JSON also alerts as
//! notice.log and losses as reporter.log. Must not open files.

use super::choice::Style;
use super::flow_id;
use super::json::tables::{Shape, Tables};
use super::render::{Entry, Render};
use super::time::zeek_open;
use crate::recorded::zeek::OF_PROXIES;
use crate::text::terminal;
use http_trace_detect::alert::Alert;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_model::field::{About, Field, Kind, Value};
use http_trace_model::fields::mime_type;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

const SHAPE: Shape = Shape { nested: false, pairs: false };

/// The renderer of Zeek's JSON, with the style's host name.
pub fn tables(style: &Style) -> Tables {
    let events = PATH.iter().chain(HTTP);
    Tables::new(style, SHAPE, events, NOTICE, REPORTER)
}

#[derive(Debug)]
pub struct ZeekTsv {
    /// Start of the run, formatted for the `#open` line.
    open: String,
    tables: Tables,
    value: String,
}

impl ZeekTsv {
    /// Uses the style's start time.
    pub fn new(style: &Style) -> Self {
        ZeekTsv {
            open: zeek_open(style.start_ns),
            tables: Tables::new(style, SHAPE, HTTP, &[], &[]),
            value: String::new(),
        }
    }
}

impl Render for ZeekTsv {
    fn head(&self) -> Vec<u8> {
        let line = |of: fn(&About) -> &'static str| {
            let all = HTTP.iter().map(|field| of(&field.about));
            all.collect::<Vec<_>>().join("\t")
        };
        let (names, types) = (line(|about| about.name), line(|about| about.source));
        let open = &self.open;
        format!(
            "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\thttp\n\
             #open\t{open}\n#fields\t{names}\n#types\t{types}\n"
        )
        .into_bytes()
    }

    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let view = self.tables.view(entry);
        for (at, field) in HTTP.iter().enumerate() {
            if at > 0 {
                out.push(b'\t');
            }
            match field.get.and_then(|get| get(&view)) {
                None => out.push(b'-'),
                Some(Value::List(values)) if values.is_empty() => out.extend(b"(empty)"),
                Some(Value::List(values)) => {
                    for (nth, value) in values.iter().enumerate() {
                        if nth > 0 {
                            out.push(b',');
                        }
                        put(out, &mut self.value, value, true);
                    }
                }
                Some(value) => put(out, &mut self.value, &value, false),
            }
        }
        out.push(b'\n');
    }
}

/// Appends a value. Values that equal a marker (`-`, `(empty)`) or contain a separator are escaped.
fn put(out: &mut Vec<u8>, text: &mut String, value: &Value<'_>, is_member: bool) {
    text.clear();
    value.with_text(|bytes| terminal(text, bytes));
    match &text[..] {
        "" => out.extend(b"(empty)"),
        "-" => out.extend(br"\x2d"),
        "(empty)" => out.extend(br"\x28empty)"),
        text if is_member => out.extend(text.replace(',', r"\x2c").bytes()),
        text => out.extend(text.bytes()),
    }
}

/// An entry; `source` holds Zeek's type.
const fn field<R>(name: &'static str, kind: Kind, zeek: &'static str) -> Field<R> {
    Field::new(About::new(name, kind, zeek, ""))
}

const fn text<R>(name: &'static str) -> Field<R> {
    field(name, Kind::Text, "string")
}

const fn count<R>(name: &'static str) -> Field<R> {
    field(name, Kind::NUMBER, "count")
}

const fn texts<R>(name: &'static str) -> Field<R> {
    field(name, Kind::Texts(0), "vector[string]")
}

/// The log that a record belongs to.
const PATH: &[Field<HttpEvent>] = &[text("_path").get(|_| Some(Value::word("http")))];

/// The fields of http.log, in its order; those that need the content of bodies are unset.
const HTTP: &[Field<HttpEvent>] = &[
    field("ts", Kind::Time, "time")
        .get(|v| Some(Value::Seconds(v.record.request_start_ns.unwrap_or(v.record.time_ns)))),
    text("uid").get(|v| Some(Value::Made(flow_id::uid(v.record).into_bytes()))),
    field("id.orig_h", Kind::Ip, "addr").get(|v| v.record.client.known_ip().map(Value::Ip)),
    field("id.orig_p", Kind::Port, "port").get(|v| v.record.client.known_port().map(number)),
    field("id.resp_h", Kind::Ip, "addr").get(|v| v.record.server.known_ip().map(Value::Ip)),
    field("id.resp_p", Kind::Port, "port").get(|v| v.record.server.known_port().map(number)),
    count("trans_depth").get(|v| Some(number(v.record.ordinal))),
    text("method").get(|v| Some(Value::Text(&v.record.request.as_ref()?.method))),
    text("host").get(|v| v.target.host.map(Value::Text)),
    text("uri").get(|v| Some(Value::Text(&v.record.request.as_ref()?.target))),
    text("referrer").get(|v| of_request(v.record, Known::REFERER)),
    text("version").get(|v| {
        let minor = v.record.minor_version()?;
        Some(Value::Made(format!("1.{minor}").into_bytes()))
    }),
    text("user_agent").get(|v| of_request(v.record, Known::USER_AGENT)),
    text("origin").get(|v| v.record.request.as_ref()?.headers.first("origin").map(Value::Text)),
    count("request_body_len")
        .get(|v| Some(Value::Number(v.record.request_body_bytes.unwrap_or(0)))),
    count("response_body_len").get(|v| v.record.whole_body_bytes().map(Value::Number)),
    count("status_code").get(|v| Some(number(v.record.response.as_ref()?.status))),
    text("status_msg").get(|v| Some(Value::Text(&v.record.response.as_ref()?.reason))),
    count("info_code").get(|v| Some(number(v.record.informational.last()?.status))),
    text("info_msg").get(|v| Some(Value::Text(&v.record.informational.last()?.reason))),
    field("tags", Kind::Texts(0), "set[enum]").get(|_| Some(Value::List(Vec::new()))),
    text("username").get(|v| v.user.map(Value::Text)),
    text("password"),
    field("proxied", Kind::Texts(0), "set[string]")
        .get(|v| proxied(&v.record.request.as_ref()?.headers)),
    texts("orig_fuids"),
    texts("orig_filenames"),
    texts("orig_mime_types").get(|v| {
        let sent = v.record.request_body_bytes.unwrap_or(0) > 0;
        media_type(&v.record.request.as_ref().filter(|_| sent)?.headers)
    }),
    texts("resp_fuids"),
    texts("resp_filenames"),
    texts("resp_mime_types").get(|v| {
        let sent = v.record.body_bytes.unwrap_or(0) > 0;
        media_type(&v.record.response.as_ref().filter(|_| sent)?.headers)
    }),
];

const NOTICE: &[Field<Alert>] = &[
    text("_path").get(|_| Some(Value::word("notice"))),
    field("ts", Kind::Time, "time").get(|v| Some(Value::Seconds(v.record.time_ns))),
    text("note").get(|v| Some(Value::Made(format!("HttpTrace::{}", v.record.rule.id).into()))),
    text("msg").get(|v| Some(Value::Made(v.record.message()))),
    text("sub").get(|v| {
        let (level, state) = (v.record.severity.level().name(), v.record.state.name());
        Some(Value::Made(format!("{level}, {state}").into()))
    }),
    field("src", Kind::Ip, "addr").get(|v| Some(Value::Ip(v.record.clients.first()?.0))),
    field("dst", Kind::Ip, "addr").get(|v| Some(Value::Ip(v.record.servers.first()?.0))),
    count("n").get(|v| Some(Value::Number(v.record.count))),
    text("peer_descr").get(|v| Some(Value::Text(v.hostname))),
    field("actions", Kind::Texts(0), "set[enum]")
        .get(|_| Some(Value::List(vec![Value::word("Notice::ACTION_LOG")]))),
];

const REPORTER: &[Field<Loss>] = &[
    text("_path").get(|_| Some(Value::word("reporter"))),
    field("ts", Kind::Time, "time").get(|v| Some(Value::Seconds(v.record.until_ns))),
    text("level").get(|_| Some(Value::word("Reporter::WARNING"))),
    text("message").get(|v| {
        let Loss { count, unit, place, .. } = v.record;
        let mut message = format!("lost: {count} {}, {place}", unit.name());
        if let Some(detail) = &v.record.detail {
            message.extend([", ", detail]);
        }
        Some(Value::Made(message.into_bytes()))
    }),
    text("location").get(|_| Some(Value::word("http-trace"))),
];

fn number(number: impl Into<u64>) -> Value<'static> {
    Value::Number(number.into())
}

fn of_request(event: &HttpEvent, name: Known) -> Option<Value<'_>> {
    event.request.as_ref()?.headers.first_known(name).map(Value::Text)
}

/// Header fields that reveal a proxy, as Zeek lists them.
fn proxied(headers: &Headers) -> Option<Value<'_>> {
    let lines = OF_PROXIES.iter().flat_map(|name| {
        let values = headers.all(name);
        values.map(move |value| [name.to_ascii_uppercase().as_bytes(), b" -> ", value].concat())
    });
    let lines: Vec<_> = lines.map(Value::Made).collect();
    (!lines.is_empty()).then_some(Value::List(lines))
}

/// The declared media type; Zeek detects it from the content.
fn media_type(headers: &Headers) -> Option<Value<'_>> {
    let kind = mime_type(headers.first_known(Known::CONTENT_TYPE)?)?;
    Some(Value::List(vec![Value::Lower(kind)]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use http_trace_samples as testing;

    #[test]
    fn a_response_is_as_zeek_writes_it() {
        let event = testing::event();
        let (mut zeek, mut out) = (tables(&Style::default()), Vec::new());
        let user = Some(&b"anna"[..]);
        zeek.event(&Entry { event: &event, user }, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.starts_with(r#"{"_path":"http","ts":1795156807.1"#), "{text}");
        let mut record: Json = serde_json::from_str(&text).expect("JSON");
        let members = record.as_object_mut().expect("an object");
        let uid = members.remove("uid");
        assert!(uid.is_some_and(|uid| uid.as_str().is_some_and(|uid| uid.starts_with('C'))));
        members.remove("ts");
        let expected = json!({
            "_path": "http", "id.orig_h": "10.1.2.3", "id.orig_p": 50000, "id.resp_h": "10.9.9.9",
            "id.resp_p": 80, "trans_depth": 2, "method": "GET", "host": "shop.example",
            "uri": "/cart/7?x=1", "version": "1.1", "user_agent": "curl/8.5.0", "request_body_len": 0,
            "response_body_len": 512, "status_code": 404, "status_msg": "Not Found", "tags": [],
            "username": "anna", "resp_mime_types": ["text/html"],
        });
        assert_eq!(record, expected);
    }

    fn cells(event: &HttpEvent) -> Vec<String> {
        let (mut zeek, mut out) = (ZeekTsv::new(&Style::default()), Vec::new());
        zeek.event(&Entry { event, user: None }, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let line = text.strip_suffix('\n').expect("a line");
        line.split('\t').map(str::to_owned).collect()
    }

    fn cell(event: &HttpEvent, name: &str) -> String {
        let at = HTTP.iter().position(|field| field.about.name == name);
        cells(event)[at.expect("a column")].clone()
    }

    #[test]
    fn values_in_tsv_are_told_from_none_and_from_several() {
        let request = |agent: &str| {
            testing::request(&format!(
                "POST /a HTTP/1.1\r\nUser-Agent: {agent}\r\nVia: 1.1 a, 1.1 b\r\nForwarded: for=c\r\n\r\n"
            ))
        };
        for (agent, expected) in [
            ("-", r"\x2d"),
            ("(empty)", r"\x28empty)"),
            ("", "(empty)"),
            ("a\tb", r"a\x09b"),
            ("a,b", "a,b"),
            ("é", "é"),
            ("a\u{2028}b", r"a\xe2\x80\xa8b"),
            (r"\u{2028}", r"\u{2028}"),
        ] {
            let event =
                testing::event_of(request(agent), testing::response("HTTP/1.1 200 \r\n\r\n"));
            assert_eq!(cell(&event, "user_agent"), expected);
            assert_eq!(cells(&event).len(), HTTP.len());
        }
        let mut event = testing::event_of(request("x"), testing::response("HTTP/1.1 200 \r\n\r\n"));
        assert_eq!(cell(&event, "proxied"), r"FORWARDED -> for=c,VIA -> 1.1 a\x2c 1.1 b");
        assert_eq!(
            (cell(&event, "tags"), cell(&event, "status_msg")),
            ("(empty)".into(), "(empty)".into())
        );
        event.flags.push("still_open");
        assert_eq!(cell(&event, "response_body_len"), "-");
        event.response = None;
        assert_eq!(
            (cell(&event, "status_code"), cell(&event, "password")),
            ("-".into(), "-".into())
        );
    }

    #[test]
    fn its_lines_begin_with_names_and_types() {
        let head = ZeekTsv::new(&Style::default()).head();
        let head = String::from_utf8(head).expect("UTF-8");
        let lines: Vec<&str> = head.lines().collect();
        assert_eq!(lines[0], r"#separator \x09");
        assert_eq!(lines[5], "#open\t1970-01-01-00-00-00");
        assert!(lines[6].starts_with("#fields\tts\tuid\tid.orig_h\t"));
        assert!(lines[7].starts_with("#types\ttime\tstring\taddr\tport\t"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_one_cell(bytes: Vec<u8>) {
            let mut event = testing::event();
            if let Some(response) = &mut event.response {
                response.reason = bytes.into();
            }
            proptest::prop_assert_eq!(cells(&event).len(), HTTP.len());
        }
    }
}
