//! Writes events as `tracee.v1beta1.Event`, the format of newer Tracee: names and types of its protobuf in their JSON
//! encoding (zero and empty values are omitted, 64-bit numbers are strings). Must not write alerts or losses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::choice::Style;
use super::render::{Entry, Render};
use super::time::rfc3339;
use super::tracee::{HeaderMap, Heads, Message, PacketMeta, Value};
use http_trace_model::event::HttpEvent;
use http_trace_model::process::{Container, Pod, Process};

/// Writes events as `tracee.v1beta1.Event`.
#[derive(Debug)]
pub struct TraceeV1 {
    heads: Heads,
}

impl TraceeV1 {
    /// Uses the style's header fields.
    pub fn new(style: &Style) -> Self {
        TraceeV1 {
            heads: Heads::new(style),
        }
    }

    fn put(message: Message<'_>, out: &mut Vec<u8>) {
        let record = Record {
            timestamp: timestamp(message.time_ns),
            id: message.id,
            name: message.name,
            workload: message.process.map(Workload::new),
            data: [
                EventValue {
                    name: "metadata",
                    value: Data::Packet(Packet::new(message.metadata, message.egress)),
                },
                EventValue {
                    name: message.argument,
                    value: Data::Head(Head::new(message.value)),
                },
            ],
        };
        // Serialization of these types cannot fail.
        if serde_json::to_writer(&mut *out, &record).is_ok() {
            out.push(b'\n');
        }
    }
}

impl Render for TraceeV1 {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let event: &HttpEvent = entry.event;
        for message in self.heads.of(event) {
            Self::put(message, out);
        }
    }
}

/// Formats a time like Go's `RFC3339Nano`: without trailing zeros.
fn timestamp(ns: u64) -> String {
    let text = rfc3339(ns);
    let text = String::from_utf8_lossy(&text[..text.len() - 1]);
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}

/// `Event`
#[derive(Serialize)]
struct Record<'a> {
    timestamp: String,
    id: u32,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<Workload<'a>>,
    data: [EventValue<'a>; 2],
}

/// `EventValue`
#[derive(Serialize)]
struct EventValue<'a> {
    name: &'a str,
    value: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Packet(Packet<'a>),
    Head(Head<'a>),
}

/// `Workload`
#[derive(Serialize)]
struct Workload<'a> {
    process: ProcessOf<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerOf<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k8s: Option<Kubernetes<'a>>,
}

impl<'a> Workload<'a> {
    fn new(process: &'a Process) -> Self {
        Workload {
            process: ProcessOf {
                executable: process.executable.as_deref().map(|path| Path { path }),
                host_pid: process.pid,
                real_user: process.user_id.map(|id| User { id }),
                thread: process.name.as_deref().map(|name| Name { name }),
            },
            container: process.workload.container.as_ref().map(ContainerOf::new),
            k8s: process.workload.pod.as_ref().map(Kubernetes::new),
        }
    }
}

/// `Process`
#[derive(Serialize)]
struct ProcessOf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<Path<'a>>,
    host_pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_user: Option<User>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<Name<'a>>,
}

#[derive(Serialize)]
struct Path<'a> {
    path: &'a str,
}

#[derive(Serialize)]
struct User {
    id: u32,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

/// `Container`
#[derive(Serialize)]
struct ContainerOf<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Image<'a>>,
    started: bool,
}

#[derive(Serialize)]
struct Image<'a> {
    id: &'a str,
    name: &'a str,
}

impl<'a> ContainerOf<'a> {
    fn new(container: &'a Container) -> Self {
        let image = container.image.as_deref();
        ContainerOf {
            id: &container.id,
            name: container.name.as_deref().unwrap_or(""),
            image: image.map(|name| Image { id: "", name }),
            started: true,
        }
    }
}

/// `K8s`
#[derive(Serialize)]
struct Kubernetes<'a> {
    pod: PodOf<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Name<'a>>,
}

#[derive(Serialize)]
struct PodOf<'a> {
    name: &'a str,
    uid: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
}

impl<'a> Kubernetes<'a> {
    fn new(pod: &'a Pod) -> Self {
        Kubernetes {
            pod: PodOf {
                name: pod.name.as_deref().unwrap_or(""),
                uid: &pod.uid,
                labels: pod
                    .labels
                    .iter()
                    .filter_map(|l| l.split_once('='))
                    .collect(),
            },
            namespace: pod.namespace.as_deref().map(|name| Name { name }),
        }
    }
}

/// `PacketMetadata`
#[derive(Serialize)]
struct Packet<'a> {
    src_ip: IpAddr,
    dst_ip: IpAddr,
    src_port: u16,
    dst_port: u16,
    protocol: u8,
    #[serde(skip_serializing_if = "is_zero")]
    packet_len: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    iface: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    direction: Option<&'static str>,
}

impl<'a> Packet<'a> {
    fn new(metadata: PacketMeta<'a>, egress: Option<bool>) -> Self {
        Packet {
            src_ip: metadata.src_ip,
            dst_ip: metadata.dst_ip,
            src_port: metadata.src_port,
            dst_port: metadata.dst_port,
            protocol: metadata.protocol,
            packet_len: metadata.packet_len,
            iface: metadata.iface,
            direction: egress.map(|egress| if egress { "EGRESS" } else { "INGRESS" }),
        }
    }
}

/// `HTTPRequest` or `HTTPResponse`
#[derive(Default, Serialize)]
struct Head<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    method: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    protocol: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    uri_path: Cow<'a, str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, Header<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_length: Option<String>,
}

/// `HttpHeader`
#[derive(Serialize)]
struct Header<'a> {
    header: Vec<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    fn new(value: Value<'a>) -> Self {
        match value {
            Value::Request {
                method,
                protocol,
                host,
                uri_path,
                headers,
                content_length,
            } => Head {
                method,
                protocol,
                host,
                uri_path,
                headers: wrapped(headers),
                content_length: length(content_length),
                ..Head::default()
            },
            Value::Response {
                status,
                status_code,
                protocol,
                headers,
                content_length,
            } => Head {
                status,
                status_code: Some(status_code),
                protocol,
                headers: wrapped(headers),
                content_length: length(content_length),
                ..Head::default()
            },
        }
    }
}

fn wrapped(headers: HeaderMap<'_>) -> BTreeMap<String, Header<'_>> {
    let wrapped = |(name, header)| (name, Header { header });
    headers.into_iter().map(wrapped).collect()
}

/// In protobuf's JSON encoding, 64-bit numbers are strings and zero is omitted.
fn length(length: i64) -> Option<String> {
    (length != 0).then(|| length.to_string())
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value as Json, json};

    use super::*;
    use http_trace_model::process;
    use http_trace_model::testing;

    fn records(event: &HttpEvent) -> Vec<Json> {
        let (mut tracee, mut out) = (TraceeV1::new(&Style::default()), Vec::new());
        tracee.event(&Entry { event, user: None }, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON")
    }

    #[test]
    fn a_response_has_names_and_types_of_the_protobuf() {
        let mut event = testing::event();
        (event.packet_len, event.interfaces) = (300, ["eth0".into()].into_iter().collect());
        event.egress = Some(true);
        event.server_process = Some(Arc::new(Process {
            pid: 8,
            name: Some("nginx".into()),
            executable: Some("/usr/sbin/nginx".into()),
            user_id: Some(33),
            workload: process::Workload {
                container: Some(Container {
                    id: "3f5a".into(),
                    name: Some("web".into()),
                    image: Some("nginx:1".into()),
                    ..Container::default()
                }),
                pod: Some(Pod {
                    uid: "u-1".into(),
                    name: Some("shop-7d".into()),
                    namespace: Some("shop".into()),
                    labels: vec!["app=shop".into()],
                    ..Pod::default()
                }),
                ..process::Workload::default()
            },
            ..Process::default()
        }));
        let records = records(&event);
        assert_eq!(records.len(), 2);
        let expected = json!({
            "timestamp": "2026-11-20T06:40:07.123456789Z", "id": 2011,
            "name": "net_packet_http_response",
            "workload": {
                "process": {"executable": {"path": "/usr/sbin/nginx"}, "host_pid": 8,
                    "real_user": {"id": 33}, "thread": {"name": "nginx"}},
                "container": {"id": "3f5a", "name": "web", "image": {"id": "", "name": "nginx:1"},
                    "started": true},
                "k8s": {"pod": {"name": "shop-7d", "uid": "u-1", "labels": {"app": "shop"}},
                    "namespace": {"name": "shop"}}},
            "data": [
                {"name": "metadata", "value": {"src_ip": "10.9.9.9", "dst_ip": "10.1.2.3",
                    "src_port": 80, "dst_port": 50000, "protocol": 6, "packet_len": 300,
                    "iface": "eth0", "direction": "EGRESS"}},
                {"name": "http_response", "value": {"status": "404 Not Found", "status_code": 404,
                    "protocol": "HTTP/1.1", "content_length": "512", "headers": {
                        "Server": {"header": ["nginx"]},
                        "Content-Type": {"header": ["text/html; charset=utf-8"]},
                        "Content-Length": {"header": ["512"]},
                        "X-Two": {"header": ["a", "b"]}}}}]});
        assert_eq!(records[1], expected);
        let request = &records[0];
        assert_eq!(
            (&request["id"], &request["name"]),
            (&json!(2010), &json!("net_packet_http_request"))
        );
        assert_eq!(request["data"][0]["value"]["direction"], "INGRESS");
        let expected = json!({"name": "http_request", "value": {
            "method": "GET", "protocol": "HTTP/1.1", "host": "shop.example", "uri_path": "/cart/7",
            "headers": {"User-Agent": {"header": ["curl/8.5.0"]}, "Accept": {"header": ["*/*"]}}}});
        assert_eq!(request["data"][1], expected);
        assert!(request.get("workload").is_none());
    }

    #[test]
    fn times_end_as_in_go() {
        for (ns, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_500_000_000, "1970-01-01T00:00:01.5Z"),
            (10_000_000_001, "1970-01-01T00:00:10.000000001Z"),
        ] {
            assert_eq!(timestamp(ns), expected);
        }
    }
}
