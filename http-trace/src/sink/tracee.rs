//! Writes events as Tracee's `net_packet_http_request` and `net_packet_http_response`: one line per head, 1xx
//! included. Header names, omitted header fields and lengths follow Go's net/http. Must not write alerts or losses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::choice::{HeaderChoice, Style};
use super::render::{Entry, Render};
use crate::text::terminal;
use http_trace_model::event::{Endpoint, HttpEvent};
use http_trace_model::head::{Headers, RequestHead, ResponseHead};
use http_trace_model::process::Process;
use http_trace_model::target::Target;

/// IP protocol number of TCP.
const TCP: u8 = 6;

/// Members of `trace.Event` with unknown numbers, which are zero, as in Tracee.
const ZERO: &str = "hostParentProcessId hostThreadId mountNamespace parentEntityId parentProcessId \
     pidNamespace processEntityId processId processorId returnValue threadEntityId threadId \
     threadStartTime";

/// Writes events in Tracee's shape.
#[derive(Debug)]
pub struct Tracee {
    hostname: String,
    heads: Heads,
}

impl Tracee {
    /// Uses the style's host name and header fields.
    pub fn new(style: &Style) -> Self {
        Tracee { hostname: style.hostname.clone(), heads: Heads::new(style) }
    }

    fn put(&self, message: Message<'_>, out: &mut Vec<u8>) {
        let process = message.process;
        let workload = process.map(|process| &process.workload);
        let container = workload.and_then(|workload| workload.container.as_ref());
        let pod = workload.and_then(|workload| workload.pod.as_ref());
        let mut record = json!({
            "timestamp": message.time_ns,
            "cgroupId": message.cgroup_id,
            "hostProcessId": process.map_or(0, |process| process.pid),
            "userId": process.and_then(|process| process.user_id).unwrap_or(0),
            "processName": process.and_then(|process| process.name.as_deref()).unwrap_or(""),
            "executable": {
                "path": process.and_then(|process| process.executable.as_deref()).unwrap_or(""),
            },
            "hostName": self.hostname,
            "containerId": container.map_or("", |container| &container.id),
            "container": texts([
                ("id", container.map(|container| &*container.id)),
                ("name", container.and_then(|container| container.name.as_deref())),
                ("image", container.and_then(|container| container.image.as_deref())),
            ]),
            "kubernetes": texts([
                ("podName", pod.and_then(|pod| pod.name.as_deref())),
                ("podNamespace", pod.and_then(|pod| pod.namespace.as_deref())),
                ("podUID", pod.map(|pod| &*pod.uid)),
            ]),
            "eventId": message.id.to_string(),
            "eventName": message.name,
            "matchedPolicies": [""],
            "argsNum": 2,
            "syscall": "",
            "stackAddresses": null,
            "contextFlags": {"containerStarted": container.is_some(), "isCompat": false},
            "args": [
                {"name": "metadata", "type": "trace.PktMeta", "value": message.metadata},
                {"name": message.argument, "type": message.r#type, "value": message.value},
            ],
        });
        for name in ZERO.split(' ') {
            record[name] = 0.into();
        }
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *out, &record);
        out.push(b'\n');
    }
}

/// An object of those texts that are not empty.
fn texts<const N: usize>(members: [(&str, Option<&str>); N]) -> Json {
    let members = members.into_iter();
    members.filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?))).collect()
}

/// One head, with the values that both of Tracee's formats contain.
pub(super) struct Message<'a> {
    /// Tracee's event id.
    pub id: u32,
    pub name: &'static str,
    pub time_ns: u64,
    /// `trace.PktMeta`
    pub metadata: Json,
    /// Name of the argument that contains the head.
    pub argument: &'static str,
    pub r#type: &'static str,
    /// `trace.ProtoHTTPRequest` or `trace.ProtoHTTPResponse`
    pub value: Json,
    pub process: Option<&'a Process>,
    pub cgroup_id: u64,
    /// Whether it left this host.
    pub egress: Option<bool>,
}

/// Converts the heads of events to messages.
#[derive(Debug)]
pub(super) struct Heads {
    headers: HeaderChoice,
    request_headers: HeaderChoice,
}

impl Heads {
    /// Uses the style's header fields.
    pub fn new(style: &Style) -> Self {
        Heads { headers: style.headers.clone(), request_headers: style.request_headers.clone() }
    }

    /// One message per head, in order.
    pub fn of<'a>(&self, event: &'a HttpEvent) -> impl Iterator<Item = Message<'a>> {
        let request = event.request.iter().map(Head::Request);
        let responses = event.informational.iter().chain(&event.response);
        let heads = request.chain(responses.map(Head::Response));
        heads.map(move |head| self.message(event, head))
    }

    fn message<'a>(&self, event: &'a HttpEvent, head: Head<'a>) -> Message<'a> {
        let (client, server) = (event.client, event.server);
        let last = event.response.as_ref();
        let (time_ns, packet_len) = match head {
            Head::Request(_) => (event.request_start_ns.unwrap_or(event.time_ns), 0),
            Head::Response(head) if last == Some(head) => (event.time_ns, event.packet_len),
            Head::Response(head) => (head.first_byte_ns, 0),
        };
        let value = self.value(head);
        let cgroup_id = event.cgroup_id.unwrap_or(0);
        match head {
            Head::Request(_) => Message {
                id: 2010,
                name: "net_packet_http_request",
                time_ns,
                metadata: metadata(event, client, server, packet_len),
                argument: "http_request",
                r#type: "trace.ProtoHTTPRequest",
                value,
                process: event.client_process.as_deref(),
                cgroup_id,
                egress: event.egress.map(|egress| !egress),
            },
            Head::Response(_) => Message {
                id: 2011,
                name: "net_packet_http_response",
                time_ns,
                metadata: metadata(event, server, client, packet_len),
                argument: "http_response",
                r#type: "trace.ProtoHTTPResponse",
                value,
                process: event.server_process.as_deref(),
                cgroup_id,
                egress: event.egress,
            },
        }
    }

    fn value(&self, head: Head<'_>) -> Json {
        match head {
            Head::Request(request) => {
                let target = Target::of(request);
                json!({
                    "method": text(&request.method),
                    "protocol": protocol(request.minor_version),
                    "host": text(target.host.unwrap_or_default()),
                    "uri_path": text(target.path.unwrap_or_default()),
                    "headers": headers(&request.headers, &self.request_headers, true),
                    "content_length": match is_chunked(&request.headers) {
                        true => -1,
                        false => declared(&request.headers).unwrap_or(0),
                    },
                })
            }
            Head::Response(response) => json!({
                "status": format!("{} {}", response.status, text(&response.reason)),
                "status_code": response.status,
                "protocol": protocol(response.minor_version),
                "headers": headers(&response.headers, &self.headers, false),
                "content_length": match response.status {
                    100..=199 | 204 | 304 => 0,
                    _ if is_chunked(&response.headers) => -1,
                    _ => response
                        .content_length
                        .and_then(|n| n.try_into().ok())
                        .unwrap_or(-1_i64),
                },
            }),
        }
    }
}

impl Render for Tracee {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        for message in self.heads.of(entry.event) {
            self.put(message, out);
        }
    }
}

#[derive(Clone, Copy)]
enum Head<'a> {
    Request(&'a RequestHead),
    Response(&'a ResponseHead),
}

fn metadata(event: &HttpEvent, from: Endpoint, to: Endpoint, packet_len: u32) -> Json {
    json!({
        "src_ip": from.ip,
        "dst_ip": to.ip,
        "src_port": from.port,
        "dst_port": to.port,
        "protocol": TCP,
        "packet_len": packet_len,
        "iface": event.interfaces.first().map_or("", |name| name),
    })
}

fn protocol(minor_version: u8) -> String {
    format!("HTTP/1.{minor_version}")
}

/// Bytes from the wire as text; invalid UTF-8 and control characters become `\xNN`.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    if bytes.iter().all(|b| matches!(b, b' '..=b'~') && *b != b'\\') {
        return String::from_utf8_lossy(bytes);
    }
    let mut text = String::new();
    terminal(&mut text, bytes);
    text.into()
}

fn is_chunked(headers: &Headers) -> bool {
    let last = headers.all("transfer-encoding").last().unwrap_or_default();
    let coding = last.rsplit(|b| *b == b',').next().unwrap_or_default();
    coding.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn declared(headers: &Headers) -> Option<i64> {
    let value = headers.first("content-length")?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Field lines by canonical name. Go removes Transfer-Encoding from the map, Host from that of a request, and
/// Trailer from that of a chunked message.
fn headers<'a>(
    headers: &'a Headers,
    choice: &HeaderChoice,
    is_request: bool,
) -> BTreeMap<String, Vec<Cow<'a, str>>> {
    let is_chunked = is_chunked(headers);
    let mut map = BTreeMap::<_, Vec<_>>::new();
    for line in headers.iter().filter(|line| choice.admits(line.name)) {
        let name = canonical(line.name);
        let is_left_out = match &name[..] {
            "Transfer-Encoding" => true,
            "Host" => is_request,
            "Trailer" => is_chunked,
            _ => false,
        };
        if !is_left_out {
            map.entry(name).or_default().push(text(line.value));
        }
    }
    map
}

/// A field name as Go's textproto writes it: the first letter and those after `-` in upper case; unchanged if it is
/// not a token (RFC 9110 §5.6.2).
fn canonical(name: &[u8]) -> String {
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    if !name.iter().all(is_token) {
        return text(name).into_owned();
    }
    let mut upper = true;
    let letter = |b: &u8| {
        let folded = if upper { b.to_ascii_uppercase() } else { b.to_ascii_lowercase() };
        upper = *b == b'-';
        char::from(folded)
    };
    name.iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use http_trace_model::process;
    use http_trace_samples as testing;

    fn records(event: &HttpEvent) -> Vec<Json> {
        let (mut tracee, mut out) = (Tracee::new(&Style::default()), Vec::new());
        tracee.event(&Entry { event, user: None }, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON")
    }

    #[test]
    fn a_process_has_its_container_and_pod() {
        let mut event = testing::event();
        event.server_process = Some(Arc::new(Process {
            workload: process::Workload {
                service: None,
                container: Some(process::Container {
                    id: "c0ffee".into(),
                    runtime: Some("containerd"),
                    name: Some("shop".into()),
                    image: Some("shop:1".into()),
                }),
                pod: Some(process::Pod {
                    uid: "u-1".into(),
                    name: Some("shop-7d".into()),
                    namespace: Some("web".into()),
                    ..process::Pod::default()
                }),
            },
            ..Process::default()
        }));
        let records = records(&event);
        assert_eq!(records[0]["container"], json!({}));
        assert_eq!(records[0]["contextFlags"]["containerStarted"], json!(false));
        let response = &records[1];
        assert_eq!(
            response["container"],
            json!({"id": "c0ffee", "name": "shop", "image": "shop:1"})
        );
        assert_eq!(
            response["kubernetes"],
            json!({"podName": "shop-7d", "podNamespace": "web", "podUID": "u-1"})
        );
        assert_eq!(response["containerId"], "c0ffee");
        assert_eq!(response["contextFlags"]["containerStarted"], json!(true));
    }

    #[test]
    fn each_message_has_the_process_that_sent_it() {
        let process = |pid, name: &str| {
            Some(Arc::new(Process {
                pid,
                name: Some(name.into()),
                user_id: Some(33),
                ..Process::default()
            }))
        };
        let mut event = testing::event();
        event.client_process = process(7, "curl");
        event.server_process = process(8, "nginx");
        for (record, (pid, name)) in records(&event).iter().zip([(7, "curl"), (8, "nginx")]) {
            assert_eq!(record["hostProcessId"], pid);
            assert_eq!(record["processName"], name);
            assert_eq!(record["userId"], 33);
        }
    }

    #[test]
    fn a_response_is_as_tracee_writes_it() {
        let mut event = testing::event();
        (event.packet_len, event.interfaces) = (300, ["eth0".into()].into_iter().collect());
        let records = records(&event);
        assert_eq!(records.len(), 2);
        let expected: Json = serde_json::from_str(r#"{
                "timestamp": 1795156807123456789, "threadStartTime": 0, "processorId": 0, "processId": 0,
                "cgroupId": 0, "threadId": 0, "parentProcessId": 0, "hostProcessId": 0,
                "hostThreadId": 0, "hostParentProcessId": 0, "userId": 0, "mountNamespace": 0,
                "pidNamespace": 0, "processName": "", "executable": {"path": ""}, "hostName": "host",
                "containerId": "", "container": {}, "kubernetes": {}, "eventId": "2011",
                "eventName": "net_packet_http_response", "matchedPolicies": [""], "argsNum": 2,
                "returnValue": 0, "syscall": "", "stackAddresses": null,
                "contextFlags": {"containerStarted": false, "isCompat": false}, "threadEntityId": 0,
                "processEntityId": 0, "parentEntityId": 0,
                "args": [
                    {"name": "metadata", "type": "trace.PktMeta", "value": {
                        "src_ip": "10.9.9.9", "dst_ip": "10.1.2.3", "src_port": 80, "dst_port": 50000,
                        "protocol": 6, "packet_len": 300, "iface": "eth0"}},
                    {"name": "http_response", "type": "trace.ProtoHTTPResponse", "value": {
                        "status": "404 Not Found", "status_code": 404, "protocol": "HTTP/1.1",
                        "headers": {
                            "Server": ["nginx"], "Content-Type": ["text/html; charset=utf-8"],
                            "Content-Length": ["512"], "X-Two": ["a", "b"]},
                        "content_length": 512}}
                ]
            }"#)
        .expect("JSON");
        assert_eq!(records[1], expected);
        let request = &records[0];
        assert_eq!((&request["eventId"], &request["argsNum"]), (&json!("2010"), &json!(2)));
        assert_eq!(request["eventName"], "net_packet_http_request");
        assert_eq!(request["args"][0]["value"]["dst_port"], 80);
        let expected = json!({"name": "http_request", "type": "trace.ProtoHTTPRequest", "value": {
            "method": "GET", "protocol": "HTTP/1.1", "host": "shop.example", "uri_path": "/cart/7",
            "headers": {"User-Agent": ["curl/8.5.0"], "Accept": ["*/*"]}, "content_length": 0}});
        assert_eq!(request["args"][1], expected);
    }

    #[test]
    fn one_record_for_each_head() {
        let mut event = testing::event_of(
            testing::request("GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
            testing::response(
                "HTTP/1.1 200 \r\ntransfer-encoding: Chunked\r\nx-a_b: \u{1b}\r\n\r\n",
            ),
        );
        event.informational = vec![testing::response("HTTP/1.1 103 Early Hints\r\n\r\n")];
        let records = records(&event);
        let value = |at: usize| &records[at]["args"][1]["value"];
        assert_eq!(records.len(), 3);
        assert_eq!(
            (&value(1)["status_code"], &value(1)["content_length"]),
            (&json!(103), &json!(0))
        );
        assert_eq!(
            (&value(2)["status"], &value(2)["content_length"]),
            (&json!("200 "), &json!(-1))
        );
        assert_eq!(value(2)["headers"], json!({"X-A_b": ["\\x1b"]}));
    }

    #[test]
    fn names_are_canonical() {
        for (name, expected) in [
            (&b"content-type"[..], "Content-Type"),
            (b"WWW-AUTHENTICATE", "Www-Authenticate"),
            (b"x--y", "X--Y"),
            (b"bad name", "bad name"),
            (b"\xff", "\\xff"),
        ] {
            assert_eq!(canonical(name), expected);
        }
    }
}
