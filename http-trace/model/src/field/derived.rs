//! The table of fields that only rules see. Detection computes the values of entries without a getter.

use std::borrow::Cow;

use super::entry::Field;
use super::event::field;
use super::value::{Kind, Value};
use crate::endpoint::service;
use crate::event::HttpEvent;

/// An entry, which rules use by its name or `as` others.
macro_rules! entry {
    ($name:literal, $kind:expr, $source:literal; $meaning:literal) => {
        entry!($name as [$name], $kind, $source; $meaning)
    };
    ($name:literal as [$($rules:literal),+], $kind:expr, $source:literal; $meaning:literal) => {
        field($name, $kind, $source, $meaning).rules(&[$($rules),+])
    };
}

/// The fields; none of them is written.
pub const DERIVED: &[Field<HttpEvent>] = &[
    entry!("url.full" as ["c-uri", "cs-uri", "url", "url.full"], Kind::Text, "request target, Host";
        "The full URL; rules also compare the request target as sent."),
    entry!("url.extension" as ["c-uri-extension", "cs-uri-extension", "url.extension"], Kind::Text, "request target";
        "Extension of the last path segment, without the dot."),
    entry!("http.request.cookie" as ["cs-cookie", "c-cookie", "cookie"], Kind::Text, "Cookie";
        "Cookie of the request."),
    entry!("http_trace.sent_bytes" as ["sc-bytes"], Kind::NUMBER, "message framing, access log";
        "Head and body of the response; in access logs the logged number, mostly of the body only.")
        .get(|v| v.response().and(v.record.response_bytes.or(v.record.body_bytes)).map(Value::Number)),
    entry!("http_trace.duration_ms" as ["time-taken", "duration_ms"], Kind::NUMBER, "clock of the capture";
        "Time from the first byte of the request to the last byte of the response, in ms.")
        .get(|v| v.record.duration_ns().map(|ns| Value::Number(ns / 1_000_000))),
    entry!("http_trace.ttfb_ms" as ["ttfb_ms", "http_trace.ttfb_ms"], Kind::NUMBER, "clock of the capture";
        "Time from the last byte of the request to the first byte of the final head, in ms.")
        .get(|v| v.record.ttfb_ns().map(|ns| Value::Number(ns / 1_000_000))),
    entry!("http_trace.path_id", Kind::Text, "request target";
        "The last path segment that is a number or a UUID."),
    entry!("http_trace.path_template", Kind::Text, "request target";
        "The path with `{id}` for numbers, `{uuid}`, `{date}`, `{hash}` and `{token}`, or a template of --template."),
    entry!("http_trace.service", Kind::Text, "request, server";
        "The requested host in lower case, with the port if it is not the default; otherwise the server's address; `-` if neither is known.")
        .get(|v| Some(match service(v.record, &v.target) {
            Cow::Borrowed(host) => Value::Text(host),
            Cow::Owned(service) => Value::Made(service),
        })),
    entry!("http_trace.endpoint_known", Kind::Bool, "request";
        "Whether method, service and template are in the list of --known; absent without one."),
    entry!("http_trace.first_segment", Kind::Text, "request target";
        "The first path segment."),
    entry!("http_trace.decoded_target", Kind::Text, "request target";
        "The normalised target: decoded up to three times, without NUL; `+` in the query, white space and SQL comments become one blank."),
    entry!("http_trace.only_parameter", Kind::Text, "request target";
        "Name of the query's parameter, if it has exactly one, with a value, and the name is not a number."),
    entry!("http_trace.first_parameter", Kind::Text, "request target";
        "Name of the first of two to eight parameters, with a value, and the name is not a number."),
    entry!("http_trace.parameters_after", Kind::Text, "request target";
        "Names of the parameters after `http_trace.first_parameter`, each with `&`."),
    entry!("http_trace.last_parameter", Kind::Text, "request target";
        "Name of the last of two to eight parameters, with a value, and the name is not a number."),
    entry!("http_trace.parameters_before", Kind::Text, "request target";
        "Names of the parameters before `http_trace.last_parameter`, each with `&`."),
    entry!("http_trace.parameter_origin", Kind::Text, "request target";
        "Scheme, host and port of the first URL that is the value of a parameter, as in `/preview?url=http://10.0.0.1:80/`."),
    entry!("http_trace.host_archive", Kind::Text, "request target, Host";
        "The host that an archive or dump is named after, as in `/www.shop.example.zip`."),
    entry!("http_trace.label_archive", Kind::Text, "request target, Host";
        "The label of the host that an archive or dump in the root is named after: `/shop.zip` of `www.shop.example`."),
    entry!("http_trace.client_kind", Kind::Text, "request head";
        "User agent and names of header fields in order, without those that vary between requests: the same for all clients that run one program."),
    entry!("http_trace.same_site", Kind::Bool, "Referer, Host";
        "Whether the referrer is a page of the same host."),
    entry!("http_trace.cookie_lacks", Kind::Set(&["httponly", "samesite", "secure"]), "Set-Cookie";
        "Protective attributes that a cookie set by the response lacks."),
    entry!("http_trace.forwarded_client", Kind::Ip, "X-Forwarded-For, Forwarded, X-Real-IP";
        "The client named by a peer that is not a trusted proxy."),
    entry!("http_trace.client_cgroup", Kind::NUMBER, "hook";
        "Cgroup id of the client, if it is on this host."),
    entry!("http_trace.server_cgroup", Kind::NUMBER, "hook";
        "Cgroup id of the server, if it is on this host."),
    entry!("http_trace.sniffed_type", Kind::Text, "response body";
        "The media type recognised from the first bytes of the body (`--body-snippet`)."),
];
