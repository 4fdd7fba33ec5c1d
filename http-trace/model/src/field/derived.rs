//! The table of fields that only rules see. Detection computes the values of entries without a getter.

use super::entry::Field;
use super::event::field;
use super::value::{Kind, Value};
use crate::endpoint::service;
use crate::event::HttpEvent;

/// The fields; none of them is written.
pub const DERIVED: &[Field<HttpEvent>] = &[
    field(
        "url.full",
        Kind::Text,
        "request target, Host",
        "The whole URL; rules also compare the request target as sent.",
    )
    .rules(&["c-uri", "cs-uri", "url", "url.full"]),
    field(
        "url.extension",
        Kind::Text,
        "request target",
        "What follows the last dot of the path's last segment.",
    )
    .rules(&["c-uri-extension", "cs-uri-extension", "url.extension"]),
    field(
        "http.request.cookie",
        Kind::Text,
        "Cookie",
        "Cookie of the request.",
    )
    .rules(&["cs-cookie", "c-cookie", "cookie"]),
    field(
        "http_trace.sent_bytes",
        Kind::NUMBER,
        "message framing, access log",
        "Head and body of the response; of an access log the number that it has, mostly the body's.",
    )
    .rules(&["sc-bytes"])
    .get(|v| {
        let body = v.record.body_bytes;
        v.response()
            .and(v.record.response_bytes.or(body))
            .map(Value::Number)
    }),
    field(
        "http_trace.duration_ms",
        Kind::NUMBER,
        "clock of the capture",
        "First byte of the request to last of the response, in ms.",
    )
    .rules(&["time-taken", "duration_ms"])
    .get(|v| {
        v.record
            .duration_ns()
            .map(|ns| Value::Number(ns / 1_000_000))
    }),
    field(
        "http_trace.ttfb_ms",
        Kind::NUMBER,
        "clock of the capture",
        "Last byte of the request to first byte of the final head, in ms.",
    )
    .rules(&["ttfb_ms", "http_trace.ttfb_ms"])
    .get(|v| v.record.ttfb_ns().map(|ns| Value::Number(ns / 1_000_000))),
    field(
        "http_trace.path_id",
        Kind::Text,
        "request target",
        "The last path segment that is a number or a UUID.",
    )
    .rules(&["http_trace.path_id"]),
    field(
        "http_trace.path_template",
        Kind::Text,
        "request target",
        "The path with `{id}` for numbers, `{uuid}`, `{date}`, `{hash}` and `{token}`, or a template of --template.",
    )
    .rules(&["http_trace.path_template"]),
    field(
        "http_trace.service",
        Kind::Text,
        "request, server",
        "The host that was asked for in lower case, with a port that is not the usual one; else the server's address; `-` where none is known.",
    )
    .rules(&["http_trace.service"])
    .get(|v| Some(Value::Made(service(v.record, &v.target)))),
    field(
        "http_trace.endpoint_known",
        Kind::Bool,
        "request",
        "Whether method, service and template are in the list of --known; absent without one.",
    )
    .rules(&["http_trace.endpoint_known"]),
    field(
        "http_trace.first_segment",
        Kind::Text,
        "request target",
        "The first path segment.",
    )
    .rules(&["http_trace.first_segment"]),
    field(
        "http_trace.decoded_target",
        Kind::Text,
        "request target",
        "The target as a program reads it: decoded up to three times, without NUL; `+` of the query, blanks and comments of SQL are one blank.",
    )
    .rules(&["http_trace.decoded_target"]),
    field(
        "http_trace.only_parameter",
        Kind::Text,
        "request target",
        "Name of the query's parameter, if it has one alone, with a value; none that is a number.",
    )
    .rules(&["http_trace.only_parameter"]),
    field(
        "http_trace.client_kind",
        Kind::Text,
        "request head",
        "User agent and names of header fields in their order, but for those that change from request to request: the same for all clients of one program.",
    )
    .rules(&["http_trace.client_kind"]),
    field(
        "http_trace.same_site",
        Kind::Bool,
        "Referer, Host",
        "Whether the referrer is a page of the same host.",
    )
    .rules(&["http_trace.same_site"]),
    field(
        "http_trace.cookie_lacks",
        Kind::Set(&["httponly", "samesite", "secure"]),
        "Set-Cookie",
        "What some cookie that is set lacks.",
    )
    .rules(&["http_trace.cookie_lacks"]),
    field(
        "http_trace.forwarded_client",
        Kind::Ip,
        "X-Forwarded-For, Forwarded, X-Real-IP",
        "The client that a peer which is no trusted proxy says it forwards for.",
    )
    .rules(&["http_trace.forwarded_client"]),
    field(
        "http_trace.client_cgroup",
        Kind::NUMBER,
        "hook",
        "Number of the cgroup that asked, where that is on this host.",
    )
    .rules(&["http_trace.client_cgroup"]),
    field(
        "http_trace.server_cgroup",
        Kind::NUMBER,
        "hook",
        "Number of the cgroup that answered, where that is on this host.",
    )
    .rules(&["http_trace.server_cgroup"]),
    field(
        "http_trace.sniffed_type",
        Kind::Text,
        "response body",
        "The media type that the first bytes of the body look like (`--body-snippet`).",
    )
    .rules(&["http_trace.sniffed_type"]),
];
