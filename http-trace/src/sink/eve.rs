//! Writes records in Suricata's EVE format: events as `http`, alerts as `alert`, losses as `stats`, from three field
//! tables with EVE's names. Must not write fields that EVE does not have, except `http_trace.*`.

use std::net::IpAddr;

use super::choice::Style;
use super::flow_id;
use super::json::tables::{Shape, Tables};
use super::time::rfc3339;
use http_trace_detect::alert::Alert;
use http_trace_detect::rule::Level;
use http_trace_model::event::{HttpEvent, Loss};
use http_trace_model::field::event::community_id;
use http_trace_model::field::{About, Field, Kind, Value};
use http_trace_model::fields::mime_type;
use http_trace_model::known::Known;

const SHAPE: Shape = Shape { nested: true, pairs: true };

/// The renderer of EVE, with the style's header fields.
pub fn tables(style: &Style) -> Tables {
    Tables::new(style, SHAPE, HTTP, ALERT, STATS)
}

const fn field<R>(name: &'static str, kind: Kind) -> Field<R> {
    Field::new(About::new(name, kind, "", ""))
}

const fn text<R>(name: &'static str) -> Field<R> {
    field(name, Kind::Text)
}

const fn number<R>(name: &'static str) -> Field<R> {
    field(name, Kind::NUMBER)
}

const HTTP: &[Field<HttpEvent>] = &[
    text("timestamp").get(|v| Some(timestamp(v.record.time_ns))),
    number("flow_id").get(|v| Some(Value::Number(flow_id::number(v.record)))),
    text("in_iface").get(|v| v.record.interfaces.first().map(|name| Value::word(name))),
    text("event_type").get(|_| Some(Value::word("http"))),
    number("vlan").get(|v| {
        let tags: Vec<_> = v.record.vlans().map(|id| Value::Number(id.into())).collect();
        (!tags.is_empty()).then_some(Value::List(tags))
    }),
    text("src_ip").get(|v| v.record.client.known_ip().map(address)),
    number("src_port").get(|v| v.record.client.known_port().map(port)),
    text("dest_ip").get(|v| v.record.server.known_ip().map(address)),
    number("dest_port").get(|v| v.record.server.known_port().map(port)),
    text("proto").get(|_| Some(Value::word("TCP"))),
    text("community_id").get(|v| community_id(v.record)),
    number("tx_id").get(|v| Some(Value::Number(v.record.ordinal.saturating_sub(1).into()))),
    field("http", Kind::Object).get(|_| Some(Value::Open)),
    text("http.hostname").get(|v| v.target.host.map(Value::Text)),
    // Suricata writes the port that the request names; 80 is omitted.
    number("http.http_port").get(|v| v.target.port.filter(|port| *port != 80).map(port)),
    text("http.url").get(|v| Some(Value::Text(&v.record.request.as_ref()?.target))),
    text("http.http_user_agent").get(|v| of_request(v.record, Known::USER_AGENT)),
    text("http.xff").get(|v| of_request(v.record, Known::X_FORWARDED_FOR)),
    text("http.http_content_type").get(|v| {
        let value = v.record.response.as_ref()?.headers.first_known(Known::CONTENT_TYPE)?;
        mime_type(value).map(Value::Text)
    }),
    text("http.content_range.raw").get(|v| content_range(v.record).map(Value::Text)),
    number("http.content_range.start").get(|v| Some(Value::Number(range(v.record)?.bytes?.0))),
    number("http.content_range.end").get(|v| Some(Value::Number(range(v.record)?.bytes?.1))),
    number("http.content_range.size").get(|v| Some(Value::Number(range(v.record)?.size?))),
    text("http.http_refer").get(|v| of_request(v.record, Known::REFERER)),
    text("http.http_method").get(|v| Some(Value::Text(&v.record.request.as_ref()?.method))),
    text("http.protocol").get(|v| {
        let of_either = v.record.minor_version()?;
        let request = v.record.request.as_ref();
        let minor = request.map_or(of_either, |head| head.minor_version);
        Some(Value::Made(format!("HTTP/1.{minor}").into_bytes()))
    }),
    number("http.status").get(|v| Some(Value::Number(v.record.response.as_ref()?.status.into()))),
    text("http.redirect").get(|v| {
        let response = v.record.response.as_ref().filter(|head| head.status / 100 == 3)?;
        response.headers.first("location").map(Value::Text)
    }),
    number("http.length").get(|v| v.record.whole_body_bytes().map(Value::Number)),
    field("http.request_headers", Kind::RequestHeaders)
        .get(|v| Some(Value::headers(&v.record.request.as_ref()?.headers))),
    field("http.response_headers", Kind::ResponseHeaders)
        .get(|v| Some(Value::headers(&v.record.response.as_ref()?.headers))),
    // Suricata's lists hold all header fields; a reader must know if these do not.
    field("http_trace.missing", Kind::Texts(0)).get(|v| {
        let missing: Vec<_> = v.left_out().map(|what| Value::word(what.name())).collect();
        (!missing.is_empty()).then_some(Value::List(missing))
    }),
];

const ALERT: &[Field<Alert>] = &[
    text("timestamp").get(|v| Some(timestamp(v.record.time_ns))),
    text("event_type").get(|_| Some(Value::word("alert"))),
    text("src_ip").get(|v| Some(address(v.record.clients.first()?.0))),
    text("dest_ip").get(|v| Some(address(v.record.servers.first()?.0))),
    text("proto").get(|_| Some(Value::word("TCP"))),
    text("alert.action").get(|_| Some(Value::word("allowed"))),
    number("alert.gid").get(|_| Some(Value::Number(1))),
    number("alert.signature_id").get(|v| Some(Value::Number(flow_id::of_rule(&v.record.rule.id)))),
    number("alert.rev").get(|v| {
        let version = v.record.rule.version.as_deref();
        Some(Value::Number(version.and_then(|text| text.parse().ok()).unwrap_or(1)))
    }),
    text("alert.signature").get(|v| Some(Value::word(&v.record.rule.title))),
    text("alert.category")
        .get(|v| Some(Value::word(v.record.rule.category.as_deref().unwrap_or_default()))),
    number("alert.severity").get(|v| {
        Some(Value::Number(match v.record.severity.level() {
            Level::Critical | Level::High => 1,
            Level::Medium => 2,
            Level::Low => 3,
            Level::Informational => 4,
        }))
    }),
    field("alert.metadata.rule", Kind::Texts(1)).get(|v| one(Value::word(&v.record.rule.id))),
    field("alert.metadata.state", Kind::Texts(1)).get(|v| one(Value::word(v.record.state.name()))),
    field("alert.metadata.level", Kind::Texts(1))
        .get(|v| one(Value::word(v.record.severity.level().name()))),
    field("alert.metadata.message", Kind::Texts(1)).get(|v| one(Value::Made(v.record.message()))),
    field("alert.metadata.count", Kind::Texts(1))
        .get(|v| one(Value::Made(v.record.count.to_string().into_bytes()))),
    field("alert.metadata.mitre_technique_id", Kind::Texts(1)).get(|v| {
        let threat = &v.record.rule.threat;
        let ids = threat.techniques.iter().chain(&threat.subtechniques);
        let ids: Vec<_> = ids.map(|id| Value::word(id)).collect();
        (!ids.is_empty()).then_some(Value::List(ids))
    }),
];

const STATS: &[Field<Loss>] = &[
    text("timestamp").get(|v| Some(timestamp(v.record.until_ns))),
    text("event_type").get(|_| Some(Value::word("stats"))),
    number("stats.http_trace.lost.count").get(|v| Some(Value::Number(v.record.count))),
    text("stats.http_trace.lost.unit").get(|v| Some(Value::word(v.record.unit.name()))),
    text("stats.http_trace.lost.where").get(|v| Some(Value::word(v.record.place))),
    text("stats.http_trace.lost.detail")
        .get(|v| v.record.detail.as_ref().map(|detail| Value::word(detail))),
    text("stats.http_trace.lost.since").get(|v| Some(timestamp(v.record.since_ns))),
];

fn of_request(event: &HttpEvent, name: Known) -> Option<Value<'_>> {
    let request = event.request.as_ref()?;
    request.headers.first_known(name).map(Value::Text)
}

fn content_range(event: &HttpEvent) -> Option<&[u8]> {
    event.response.as_ref()?.headers.first("content-range")
}

/// A parsed Content-Range (RFC 9110 §14.4).
struct Range {
    /// The first byte and the last.
    bytes: Option<(u64, u64)>,
    size: Option<u64>,
}

/// `None` if it is malformed, or has numbers beyond the range of Suricata.
fn range(event: &HttpEvent) -> Option<Range> {
    let text = std::str::from_utf8(content_range(event)?).ok()?;
    let (bytes, size) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let number = |text: &str| {
        let number = text.parse().ok().filter(|n| i64::try_from(*n).is_ok());
        number.filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
    };
    Some(Range {
        bytes: match bytes {
            "*" => None,
            _ => {
                let (first, last) = bytes.split_once('-')?;
                Some((number(first)?, number(last)?))
            }
        },
        size: match size {
            "*" => None,
            _ => Some(number(size)?),
        },
    })
}

fn port(port: u16) -> Value<'static> {
    Value::Number(port.into())
}

fn one(value: Value<'_>) -> Option<Value<'_>> {
    Some(Value::List(vec![value]))
}

/// `2026-11-20T06:40:07.123456+0000`
fn timestamp(ns: u64) -> Value<'static> {
    let mut text = rfc3339(ns)[..26].to_vec();
    text.extend_from_slice(b"+0000");
    Value::Made(text)
}

/// Formats an address as Suricata does: IPv6 without abbreviation.
fn address(ip: IpAddr) -> Value<'static> {
    let IpAddr::V6(v6) = ip else { return Value::Ip(ip) };
    let groups = v6.segments().map(|group| format!("{group:04x}"));
    Value::Made(groups.join(":").into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::sink::render::{Entry, Render as _};
    use http_trace_common::walk::Tunnel;
    use http_trace_model::event::LossUnit;
    use http_trace_samples as testing;

    fn record(event: &HttpEvent) -> Json {
        let (mut eve, mut out) = (tables(&Style::default()), Vec::new());
        eve.event(&Entry { event, user: None }, &mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn ranges_are_as_suricata_reads_them() {
        for (value, expected) in [
            ("bytes 0-2058/51838090", json!({"start": 0, "end": 2058, "size": 51838090})),
            ("bytes 10-5/*", json!({"start": 10, "end": 5})),
            ("bytes */7", json!({"size": 7})),
            ("bytes 0--5/*", json!({})),
            ("bytes 0-9223372036854775807/9223372036854775808", json!({})),
            ("bytes 1-2", json!({})),
            ("items 1-2/3", json!({})),
            ("bytes +1-2/3", json!({})),
        ] {
            let head = format!("HTTP/1.1 206 Partial\r\nContent-Range: {value}\r\n\r\n");
            let event = testing::event_of(
                testing::request("GET / HTTP/1.1\r\n\r\n"),
                testing::response(&head),
            );
            let mut expected = expected;
            expected["raw"] = value.into();
            assert_eq!(record(&event)["http"]["content_range"], expected);
        }
        assert!(record(&testing::event())["http"].get("content_range").is_none());
    }

    #[test]
    fn a_response_is_as_suricata_writes_it() {
        let mut event = testing::event();
        event.interfaces = ["eth0".into()].into_iter().collect();
        let mut record = record(&event);
        let flow = record.as_object_mut().and_then(|r| r.remove("flow_id"));
        assert!(flow.is_some_and(|flow| flow.is_u64()));
        let expected: Json = serde_json::from_str(
            r#"{"timestamp": "2026-11-20T06:40:07.123456+0000", "in_iface": "eth0", "event_type": "http",
                "src_ip": "10.1.2.3", "src_port": 50000, "dest_ip": "10.9.9.9", "dest_port": 80,
                "proto": "TCP", "community_id": "1:TbGj7claXA41erllAAleT9BtMu8=", "tx_id": 1,
                "http": {"hostname": "shop.example", "url": "/cart/7?x=1",
                    "http_user_agent": "curl/8.5.0", "http_content_type": "text/html",
                    "http_method": "GET", "protocol": "HTTP/1.1", "status": 404, "length": 512,
                    "request_headers": [{"name": "Host", "value": "shop.example"},
                        {"name": "User-Agent", "value": "curl/8.5.0"}, {"name": "Accept", "value": "*/*"}],
                    "response_headers": [{"name": "Server", "value": "nginx"},
                        {"name": "Content-Type", "value": "text/html; charset=utf-8"},
                        {"name": "Content-Length", "value": "512"},
                        {"name": "X-Two", "value": "a"}, {"name": "x-two", "value": "b"}]}}"#,
        )
        .expect("JSON");
        assert_eq!(record, expected);
    }

    #[test]
    fn a_length_so_far_is_not_given_for_that_of_the_body() {
        let mut event = testing::event();
        event.flags.push("still_open");
        assert!(record(&event)["http"].get("length").is_none());
    }

    #[test]
    fn rare_members() {
        let request = testing::request(
            "GET /a HTTP/1.0\r\nHost: [::1]:8080\r\nReferer: http://b/\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n",
        );
        let response = testing::response("HTTP/1.1 302 \r\nLocation: /b\r\n\r\n");
        let mut event = testing::event_of(request, response);
        event.client.ip = "2001:db8::1".parse().expect("an address");
        let encap = Tunnel::of_tags(201 << 12 | 200).encap();
        event.encap = Some(std::sync::Arc::new(encap));
        let vlans: Vec<u32> = event.vlans().collect();
        assert_eq!(vlans.len(), 2);
        let record = record(&event);
        assert_eq!(record["vlan"], json!(vlans));
        assert_eq!(record["src_ip"], "2001:0db8:0000:0000:0000:0000:0000:0001");
        let http = &record["http"];
        for (name, expected) in [
            ("hostname", json!("[::1]")),
            ("http_port", json!(8080)),
            ("http_refer", json!("http://b/")),
            ("xff", json!("10.0.0.1")),
            ("protocol", json!("HTTP/1.0")),
            ("redirect", json!("/b")),
        ] {
            assert_eq!(http[name], expected, "{name}");
        }
    }

    #[test]
    fn a_loss_is_a_statistic() {
        let loss = Loss {
            count: 3,
            unit: LossUnit::Records,
            place: "ring_full",
            since_ns: 0,
            until_ns: 1_000_000_000,
            detail: None,
        };
        let (mut eve, mut out) = (tables(&Style::default()), Vec::new());
        eve.loss(&loss, &mut out);
        let record: Json = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(record["event_type"], "stats");
        assert_eq!(record["stats"]["http_trace"]["lost"]["count"], 3);
    }
}
