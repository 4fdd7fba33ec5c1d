//! The table of event fields that ECS has no name for, and of the observer's fields.

use http_trace_common::record::Hook;
use http_trace_common::walk::LayerKind;

use super::entry::Field;
use super::event::{VERSIONS, always, field};
use super::value::{About, Kind, Value};
use crate::constant;
use crate::event::{BodyEnd, HttpEvent, Missing, NoResponse, oddity};

/// Flag of a record with text that contains bytes that are not UTF-8, written as `\xNN`.
pub const ESCAPED_BYTES: &str = "escaped_bytes";

const OBJECT: Kind = Kind::Object;
const NUMBER: Kind = Kind::NUMBER;

/// Members of a 1xx head.
const INFORMATIONAL: &[About] = &[
    About::new("version", VERSIONS, "status line", "").always(),
    About::new("status_code", Kind::STATUS, "status line", "").always(),
    About::new("status_phrase", Kind::Text, "status line", "The reason phrase, possibly empty.")
        .always(),
    About::new("headers", Kind::ResponseHeaders, "response head", ""),
    About::new("content_length", NUMBER, "Content-Length", ""),
    About::new("at", Kind::Time, "clock of the capture", "").always(),
];

const LAYER: &[About] = &[
    About::new("type", Kind::OneOf(&LayerKind::NAMES), "tunnel header", "").always(),
    About::new(
        "id",
        NUMBER,
        "tunnel header",
        "VLAN, PPPoE or ERSPAN session, MPLS label, GRE key, VNI, TEID (which differs by direction), or L2TP tunnel << 16 | session.",
    ),
];

const OUTER: &[About] = &[
    About::new("client", OBJECT, "", "").always(),
    About::new("client.ip", Kind::Ip, "outer IP header", "").always(),
    About::new("server", OBJECT, "", "").always(),
    About::new("server.ip", Kind::Ip, "outer IP header", "").always(),
];

pub(super) const OWN: &[Field<HttpEvent>] = &[
    always("observer", OBJECT, "", ""),
    always("observer.hostname", Kind::Text, "agent", "Name of the tracing host.")
        .of_run()
        .get(|v| Some(Value::Text(v.hostname))),
    constant!("observer.type", "sensor").of_run(),
    always("observer.version", Kind::Text, "agent", "Version of http-trace.")
        .of_run()
        .get(|_| Some(Value::word(env!("CARGO_PKG_VERSION")))),
    always("observer.egress.interface", OBJECT, "", ""),
    always("observer.egress.interface.name", Kind::Text, "hook", "First interface that the response left by.")
        .get(|v| interface(v.record, true)),
    always("observer.ingress.interface", OBJECT, "", ""),
    always("observer.ingress.interface.name", Kind::Text, "hook", "First interface that the response came in by.")
        .get(|v| interface(v.record, false)),
    always("http_trace", OBJECT, "", ""),
    field("http_trace.status_class", Kind::OneOf(&["1xx", "2xx", "3xx", "4xx", "5xx", "other"]), "status line", "")
        .rules(&["http_trace.status_class"])
        .get(|v| v.record.status_class().map(Value::word)),
    field("http_trace.content_length", NUMBER, "Content-Length", "The declared length; absent when none or not one plain number.")
        .rules(&["http_trace.content_length"])
        .get(|v| v.response()?.content_length.map(Value::Number))
        .read(|d, v| d.content_length = v.number()),
    field("http_trace.informational", Kind::Rows(INFORMATIONAL, 1, u64::MAX), "1xx heads", "The 1xx heads before the final one.")
        .strict()
        .get(|v| informational(v.record))
        .read(|d, v| d.informational = v.into_list()),
    field("http_trace.request_version", Kind::Text, "request line", "The protocol of a request line that is not HTTP/1.x, as sent (`RTSP/1.0`).")
        .get(|v| v.request()?.version.as_deref().map(Value::Text))
        .read(|d, v| d.request_version = v.into_bytes()),
    field("http_trace.response_version", Kind::Text, "status line", "The version of a status line that is not HTTP/1.x, as sent (`HTTP/2.0`).")
        .get(|v| v.response()?.version.as_deref().map(Value::Text))
        .read(|d, v| d.response_version = v.into_bytes()),
    field("http_trace.no_response", Kind::OneOf(&NoResponse::NAMES), "end of the connection", "Why the request has no response; http.response is then absent.")
        .rules(&["http_trace.no_response"])
        .get(|v| v.record.no_response.map(|why| Value::word(why.name())))
        .read(|d, v| d.event.no_response = v.bytes().and_then(NoResponse::named)),
    field("http_trace.ttfb_ns", NUMBER, "clock of the capture", "Time from the last byte of the request to the first byte of the final head, in ns.")
        .get(|v| v.record.ttfb_ns().map(Value::Number))
        .read(|d, v| d.ttfb_ns = v.number()),
    field("http_trace.ttlb_ns", NUMBER, "clock of the capture", "Time from the last byte of the request to the last byte of the response, in ns.")
        .get(|v| v.record.ttlb_ns().map(Value::Number)),
    field("http_trace.body_end", Kind::OneOf(&BodyEnd::NAMES), "message framing", "How the body ended, once it has (RFC 9112 section 6.3).")
        .get(|v| v.record.body_end.map(|end| Value::word(end.name())))
        .read(|d, v| d.event.body_end = v.bytes().and_then(BodyEnd::named)),
    always("http_trace.transaction", Kind::Pattern(r"^\d+\.\d+$"), "counter", "Numbers of the connection in this run and of the transaction in it.")
        .get(|v| Some(Value::Dotted(v.record.connection, v.record.ordinal.into())))
        .read(|d, v| d.set_connection(&v)),
    always("http_trace.ordinal", Kind::Number(1, u64::MAX), "counter", "Position within the connection.")
        .get(|v| Some(Value::Number(v.record.ordinal.into())))
        .read(|d, v| {
            if let Some(ordinal) = v.number() {
                d.event.ordinal = ordinal.try_into().unwrap_or(u32::MAX);
            }
        }),
    always("http_trace.complete", Kind::Bool, "message framing", "Whether the message's end was seen.")
        .get(|v| Some(Value::Bool(v.record.complete)))
        .read(|d, v| d.event.complete = v != Value::Bool(false)),
    always("http_trace.missing", Kind::Set(&Missing::NAMES), "message framing", "Parts of the transaction that were not seen, or that the record does not hold: `headers` and `request_headers` if it lacks header fields of the response or of the request, also those beyond the first 64 KiB of a head.")
        .rules(&["http_trace.missing"])
        .get(|v| {
            let seen = |what: &Missing| !v.record.missing.contains(what);
            let missing = v.record.missing.iter().copied().chain(v.left_out().filter(seen));
            Some(Value::List(missing.map(|what| Value::word(what.name())).collect()))
        })
        .read(|d, v| d.missing = Some(v.texts().filter_map(Missing::named).collect())),
    always("http_trace.flags", Kind::Flags, "heads and message framing", "Each leniency or oddity; escaped_bytes: some text holds bytes that are not UTF-8, as \\xNN.")
        .rules(&["http_trace.flags"])
        .get(|v| {
            if !v.escaped {
                return Some(Value::Words(&v.record.flags));
            }
            // Keeps the list sorted.
            let (before, after) = v.record.flags.split_at(v.record.flags.partition_point(|f| *f < ESCAPED_BYTES));
            let flags = before.iter().chain([&ESCAPED_BYTES]).chain(after);
            Some(Value::List(flags.map(|flag| Value::word(flag)).collect()))
        })
        // `escaped_bytes` is not read back: it describes the written text, not the event.
        .read(|d, v| {
            let names = v.texts().filter_map(|name| std::str::from_utf8(name).ok());
            d.event.flags = names.filter_map(oddity::named).collect();
        }),
    field("http_trace.rules", Kind::Texts(1), "detection", "Ids of the rules that this response counted for")
        .get(|v| Some(Value::Names(&v.record.rules)).filter(|_| !v.record.rules.is_empty())),
    always("http_trace.retransmissions", NUMBER, "TCP sequence numbers", "Copies of this response's segments; where the kernel skips a body, possibly fewer than passed.")
        .get(|v| Some(Value::Number(v.record.retransmissions.into()))),
    always("http_trace.hook", Kind::OneOf(&Hook::NAMES), "hook", "Hook at which the response's head was captured.")
        .get(|v| Some(Value::word(v.record.hook.name()))),
    always("http_trace.interfaces", Kind::Texts(0), "hook", "Interfaces that the response was seen on.")
        .rules(&["http_trace.interfaces"])
        .get(|v| Some(Value::Names(&v.record.interfaces)))
        .read(|d, v| {
            let names = v.texts().filter_map(|name| std::str::from_utf8(name).ok());
            d.event.interfaces = names.map(Into::into).collect();
        }),
    always("http_trace.packet_len", NUMBER, "capture", "Length on the wire of the frame that held the response's first byte.")
        .get(|v| Some(Value::Number(v.record.packet_len.into())))
        .read(|d, v| d.event.packet_len = v.number().and_then(|n| n.try_into().ok()).unwrap_or(0)),
    field("http_trace.cgroup_id", NUMBER, "hook", "Id of the cgroup on this host that sent or received the response.")
        .get(|v| v.record.cgroup_id.map(Value::Number))
        .read(|d, v| d.event.cgroup_id = v.number()),
    field("http_trace.tunnel", OBJECT, "", "Tunnels around the response (or around the request, if there is no response), outermost first."),
    always("http_trace.tunnel.layers", Kind::Rows(LAYER, 1, u64::MAX), "tunnel headers", "")
        .get(|v| layers(v.record)),
    always("http_trace.tunnel.outer", Kind::Rows(OUTER, 0, u64::MAX), "outer IP headers", "Addresses of the outer IP headers: on the client's side and on the server's.")
        .get(|v| outer(v.record)),
];

/// The first interface, if the response passed in this direction.
fn interface(event: &HttpEvent, egress: bool) -> Option<Value<'_>> {
    let name = event.interfaces.first().filter(|_| event.egress == Some(egress))?;
    Some(Value::word(name))
}

fn informational(event: &HttpEvent) -> Option<Value<'_>> {
    let heads = event.informational.iter();
    let row = heads.map(|head| {
        let values = vec![
            Some(Value::Dotted(1, head.minor_version.into())),
            Some(Value::Number(head.status.into())),
            Some(Value::Text(&head.reason)),
            Some(Value::headers(&head.headers)),
            head.content_length.map(Value::Number),
            Some(Value::Time(head.first_byte_ns)),
        ];
        Value::Row(INFORMATIONAL, values)
    });
    Some(Value::List(row.collect())).filter(|_| !event.informational.is_empty())
}

fn layers(event: &HttpEvent) -> Option<Value<'_>> {
    let layers = event.tunnel()?.layers().iter();
    let row = layers.map(|layer| {
        let id = layer.number().map(|id| Value::Number(id.into()));
        Value::Row(LAYER, vec![Some(Value::word(layer.kind.name())), id])
    });
    Some(Value::List(row.collect()))
}

fn outer(event: &HttpEvent) -> Option<Value<'_>> {
    event.tunnel()?;
    let row = event.outer_ips().map(|[client, server]| {
        Value::Row(OUTER, vec![None, Some(Value::Ip(client)), None, Some(Value::Ip(server))])
    });
    Some(Value::List(row.collect()))
}
