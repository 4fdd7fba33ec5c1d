//! Writes events as `tracee.v1beta1.Event`, the format of newer Tracee: names and types of its protobuf in their JSON
//! encoding (zero and empty values are omitted, 64-bit numbers are strings). Must not write alerts or losses.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::choice::Style;
use super::render::{Entry, Render};
use super::time::rfc3339;
use super::tracee::{Heads, Message};
use http_trace_model::process::{Container, Pod, Process};

/// Writes events as `tracee.v1beta1.Event`.
#[derive(Debug)]
pub struct TraceeV1 {
    heads: Heads,
}

impl TraceeV1 {
    /// Uses the style's header fields.
    pub fn new(style: &Style) -> Self {
        TraceeV1 { heads: Heads::new(style) }
    }

    fn put(message: Message<'_>, out: &mut Vec<u8>) {
        let mut metadata = adapted(message.metadata);
        if let Some(egress) = message.egress {
            metadata["direction"] = if egress { "EGRESS" } else { "INGRESS" }.into();
        }
        let record = known(json!({
            "timestamp": timestamp(message.time_ns),
            "id": message.id,
            "name": message.name,
            "workload": message.process.map(workload),
            "data": [
                {"name": "metadata", "value": metadata},
                {"name": message.argument, "value": adapted(message.value)},
            ],
        }));
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *out, &record);
        out.push(b'\n');
    }
}

impl Render for TraceeV1 {
    fn event(&mut self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        for message in self.heads.of(entry.event) {
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

/// An object without the members that are null.
fn known(mut object: Json) -> Json {
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    object
}

fn workload(process: &Process) -> Json {
    let Process { executable, name, .. } = process;
    known(json!({
        "process": known(json!({
            "executable": executable.as_ref().map(|path| json!({"path": path})),
            "host_pid": process.pid,
            "real_user": process.user_id.map(|id| json!({"id": id})),
            "thread": name.as_ref().map(|name| json!({"name": name})),
        })),
        "container": process.workload.container.as_ref().map(container),
        "k8s": process.workload.pod.as_ref().map(kubernetes),
    }))
}

fn container(container: &Container) -> Json {
    let image = container.image.as_ref();
    known(json!({
        "id": container.id,
        "name": container.name.as_deref().unwrap_or(""),
        "image": image.map(|name| json!({"id": "", "name": name})),
        "started": true,
    }))
}

/// `K8s`
fn kubernetes(pod: &Pod) -> Json {
    let labels = pod.labels.iter().filter_map(|label| label.split_once('='));
    let labels: BTreeMap<&str, &str> = labels.collect();
    let namespace = pod.namespace.as_ref();
    known(json!({
        "pod": known(json!({
            "name": pod.name.as_deref().unwrap_or(""),
            "uid": pod.uid,
            "labels": (!labels.is_empty()).then_some(labels),
        })),
        "namespace": namespace.map(|name| json!({"name": name})),
    }))
}

/// Converts older Tracee's metadata or head to `PacketMetadata`, `HTTPRequest` or `HTTPResponse`.
fn adapted(object: Json) -> Json {
    let Json::Object(members) = object else { return object };
    let adapted = |(name, value): (String, Json)| {
        let value = match (&name[..], value) {
            ("packet_len" | "content_length", value) if value == 0 => None,
            ("content_length", length) => Some(length.to_string().into()),
            ("headers", Json::Object(headers)) => wrapped(headers),
            (_, Json::String(text)) if text.is_empty() => None,
            (_, value) => Some(value),
        };
        Some((name, value?))
    };
    members.into_iter().filter_map(adapted).collect()
}

/// Header fields, each with its values in an `HttpHeader`; `None` if there are none.
fn wrapped(headers: serde_json::Map<String, Json>) -> Option<Json> {
    let is_empty = headers.is_empty();
    let wrapped = |(name, values): (String, Json)| (name, json!({ "header": values }));
    (!is_empty).then(|| headers.into_iter().map(wrapped).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use http_trace_model::event::HttpEvent;
    use http_trace_model::process;
    use http_trace_samples as testing;

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
