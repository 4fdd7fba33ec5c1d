//! The table of event fields, in the order of the JSON. Reads nothing but the event.

use super::attribution::{CLIENT, SERVER};
use super::entry::{Field, Get};
use super::own::OWN;
use super::value::{About, Kind, Value};
use crate::constant;
use crate::event::{Endpoint, Forwarded, HttpEvent, NoResponse, basic_user};
use crate::fields::{mime_type, trace_context};
use crate::known::Known;

/// Version of the Elastic Common Schema that names follow.
pub const ECS_VERSION: &str = "8.17.0";

pub const EVENT: &[&[Field<HttpEvent>]] = &[ENVELOPE, PEERS, HTTP, SERVER, OWN, CLIENT];

/// Getter of the field with this name.
pub fn getter(name: &str) -> Option<Get<HttpEvent>> {
    let mut fields = EVENT.iter().copied().flatten();
    fields.find(|field| field.about.name == name)?.get
}

/// A new entry.
pub(super) const fn field(
    name: &'static str,
    kind: Kind,
    source: &'static str,
    meaning: &'static str,
) -> Field<HttpEvent> {
    Field::new(About::new(name, kind, source, meaning))
}

/// A new entry that is present whenever its parent object is.
pub(super) const fn always(
    name: &'static str,
    kind: Kind,
    source: &'static str,
    meaning: &'static str,
) -> Field<HttpEvent> {
    field(name, kind, source, meaning).always()
}

/// HTTP/1.x versions.
pub const VERSIONS: Kind =
    Kind::OneOf(&["1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9"]);
const OBJECT: Kind = Kind::Object;
const NUMBER: Kind = Kind::NUMBER;

const ENVELOPE: &[Field<HttpEvent>] = &[
    always("@timestamp", Kind::Time, "clock of the capture", "Time of the first byte of the response; of the request, if there is no response.")
        .strict()
        .get(|v| Some(Value::Time(v.record.time_ns)))
        .read(|d, v| d.time_ns = v.time()),
    always("ecs", OBJECT, "", ""),
    always("ecs.version", Kind::Text, "constant", "Version of the Elastic Common Schema whose names are used.")
        .of_run()
        .get(|_| Some(Value::word(ECS_VERSION))),
    always("event", OBJECT, "", ""),
    constant!("event.kind", "event").of_run(),
    always("event.category", Kind::Tags(&[&["network", "web"]]), "constant", "")
        .of_run()
        .get(|_| Some(Value::Words(&["network", "web"]))),
    always("event.type", Kind::Tags(&[&["access", "protocol"], &["access", "protocol", "error"]]), "status line", "With `error` for status codes from 400.")
        .get(|v| {
            let is_error = v.response().is_some_and(|r| r.status >= 400);
            let all = &["access", "protocol", "error"];
            Some(Value::Words(if is_error { all } else { &all[..2] }))
        }),
    constant!("event.action", "http-response").of_run(),
    constant!("event.dataset", "http_trace.response").of_run(),
    always("event.outcome", Kind::OneOf(&["success", "failure", "unknown"]), "status line", "`failure` for status codes from 400 and for no response, `unknown` while only 1xx heads came, and where the response was not seen.")
        .get(|v| Some(Value::word(outcome(v.record)))),
    field("event.duration", NUMBER, "clock of the capture", "Time from the first byte of the request to `event.end`, in ns.")
        .get(|v| v.record.duration_ns().map(Value::Number))
        .read(|d, _| d.has_duration = true),
    always("event.start", Kind::Time, "clock of the capture", "Time of the first byte of the request; of the response, if the request was not seen.")
        .get(|v| Some(Value::Time(v.record.request_start_ns.unwrap_or(v.record.time_ns))))
        .read(|d, v| d.start_ns = v.time()),
    always("event.end", Kind::Time, "clock of the capture", "Time of the last byte of the response, or of its head if the end was not seen.")
        .get(|v| Some(Value::Time(v.record.end_ns().unwrap_or(v.record.time_ns))))
        .read(|d, v| d.end_ns = v.time()),
    always("event.id", Kind::Id, "tuple, sequence number and head", "The same for the same bytes on the wire, or for the same line of a log.")
        .get(|v| Some(Value::Id(v.record.id)))
        .read(|d, v| {
            if let Value::Id(id) = v {
                d.event.id = id;
            }
        }),
    always("event.sequence", NUMBER, "counter", "Position in this run, from 0, without gaps.")
        .get(|v| Some(Value::Number(v.record.sequence))),
];

const PEERS: &[Field<HttpEvent>] = &[
    field("source", OBJECT, "", "The client's end of the connection. Without a port if the recorded event (http-trace detect) has none; absent if an access log has a name in place of the address."),
    always("source.ip", Kind::Ip, "IP header", "The connection's client, nearest to the server.")
        .strict()
        .of_connection()
        .rules(&["source.ip", "source.address"])
        .get(|v| v.record.client_name.is_none().then_some(Value::Ip(v.record.client.ip)))
        .read(|d, v| d.source_ip = v.ip()),
    field("source.port", Kind::Port, "TCP header", "")
        .of_connection()
        .rules(&["c-port", "src_port", "client.port", "source.port", "id.orig_p"])
        .get(|v| v.record.client.known_port().map(|port| Value::Number(port.into())))
        .read(|d, v| d.event.client.port = v.port().unwrap_or(0)),
    field("source.nat", OBJECT, "", "The same end as seen nearest to the client, if addresses were translated on the way."),
    always("source.nat.ip", Kind::Ip, "IP header", "")
        .of_connection()
        .get(|v| v.record.nat_client.map(|nat| Value::Ip(nat.ip))),
    always("source.nat.port", Kind::Port, "TCP header", "")
        .of_connection()
        .get(|v| v.record.nat_client.map(|nat| Value::Number(nat.port.into()))),
    always("client", OBJECT, "", ""),
    field("client.ip", Kind::Ip, "IP header; X-Forwarded-For, Forwarded, X-Real-IP or PROXY protocol of a trusted proxy", "The client: the real one behind trusted proxies, otherwise as `source.ip`.")
        .of_connection()
        .rules(&["c-ip", "src_ip", "src-ip", "clientip", "client_ip", "client.ip", "client.address", "id.orig_h"])
        .get(|v| v.record.known_client().map(Value::Ip)),
    always("client.address", Kind::Text, "as client.ip", "As `client.ip`, or what an access log has in place of an address: the name of a host, or `unix:`. Rules count such a client under its name.")
        .of_connection()
        .get(|v| Some(v.record.client_name.as_deref().map_or_else(|| Value::Ip(v.record.client_ip()), Value::Text)))
        .read(|d, v| d.client_address = v.into_bytes()),
    field("client.port", Kind::Port, "as client.ip", "")
        .of_connection()
        .get(|v| client(v.record).port.map(|port| Value::Number(port.into())))
        .read(|d, v| d.client_port = v.port()),
    field("destination", OBJECT, "", "The server's end of the connection. Absent, like `server`, if the recorded event (http-trace detect) does not name the server, as in access logs; the same holds for the port alone."),
    always("destination.ip", Kind::Ip, "IP header", "")
        .strict()
        .of_connection()
        .get(|v| server(v.record).map(|end| Value::Ip(end.ip)))
        .read(|d, v| d.destination_ip = v.ip()),
    field("destination.port", Kind::Port, "TCP header", "")
        .of_connection()
        .get(|v| v.record.server.known_port().map(|port| Value::Number(port.into())))
        .read(|d, v| d.event.server.port = v.port().unwrap_or(0)),
    field("destination.nat", OBJECT, "", "The same end as seen nearest to the client, if addresses were translated on the way."),
    always("destination.nat.ip", Kind::Ip, "IP header", "")
        .of_connection()
        .get(|v| server(v.record).and(v.record.nat_server).map(|nat| Value::Ip(nat.ip))),
    always("destination.nat.port", Kind::Port, "TCP header", "")
        .of_connection()
        .get(|v| server(v.record).and(v.record.nat_server).map(|nat| Value::Number(nat.port.into()))),
    always("server.ip", Kind::Ip, "IP header", "The server; as `destination.ip`.")
        .of_connection()
        .rules(&["s-ip", "dst_ip", "dst-ip", "server.ip", "server.address", "destination.ip", "id.resp_h"])
        .get(|v| server(v.record).map(|end| Value::Ip(end.ip))),
    always("server.address", Kind::Text, "IP header", "As `server.ip`.")
        .of_connection()
        .get(|v| server(v.record).map(|end| Value::Ip(end.ip))),
    field("server.port", Kind::Port, "TCP header", "As `destination.port`.")
        .of_connection()
        .rules(&["s-port", "dst_port", "server.port", "destination.port", "id.resp_p"])
        .get(|v| v.record.server.known_port().map(|port| Value::Number(port.into()))),
    always("network", OBJECT, "", ""),
    constant!("network.transport", "tcp").of_connection(),
    constant!("network.protocol", "http").of_connection(),
    field("network.type", Kind::OneOf(&["ipv4", "ipv6"]), "IP header", "")
        .of_connection()
        .get(|v| {
            let of_client = || v.record.client_name.is_none().then_some(v.record.client.ip);
            let ip = v.record.server.known_ip().or_else(of_client)?;
            Some(Value::word(if ip.is_ipv4() { "ipv4" } else { "ipv6" }))
        }),
    field("network.community_id", Kind::Pattern("^1:[A-Za-z0-9+/]{27}=$"), "tuple", "Community ID version 1, to join records with those of Zeek, Suricata and Packetbeat. Absent unless both ends are known with their ports.")
        .of_connection()
        .get(|v| community_id(v.record)),
    field("network.forwarded_ip", Kind::Ip, "X-Forwarded-For, Forwarded, X-Real-IP or PROXY protocol of a trusted proxy", "The real client, if the peer is a trusted proxy that names it.")
        .of_connection()
        .get(|v| v.record.forwarded.map(|client| Value::Ip(client.ip)))
        .read(|d, v| d.forwarded_ip = v.ip()),
    field("network.direction", Kind::OneOf(&["ingress", "egress"]), "hook", "Direction of the response, seen from this host.")
        .get(|v| v.record.egress.map(|egress| Value::word(if egress { "egress" } else { "ingress" })))
        .read(|d, v| d.event.egress = v.bytes().map(|direction| direction == b"egress")),
    field("network.vlan", OBJECT, "", "IEEE 802.1Q tag; the outermost, where there are several."),
    always("network.vlan.id", Kind::Pattern("^[0-9]+$"), "VLAN tag", "")
        .get(|v| v.record.vlans().next().map(number_as_text)),
    field("network.inner", OBJECT, "", "The innermost tag, where there are several."),
    always("network.inner.vlan", OBJECT, "", ""),
    always("network.inner.vlan.id", Kind::Pattern("^[0-9]+$"), "VLAN tag", "")
        .get(|v| v.record.vlans().skip(1).last().map(number_as_text)),
];

const HTTP: &[Field<HttpEvent>] = &[
    always("http", OBJECT, "", "").get(|_| Some(Value::Open)),
    field("http.version", VERSIONS, "status line; request line, where there is no response", "")
        .rules(&["cs-version", "version", "http.version"])
        .get(|v| {
            Some(Value::Dotted(1, v.record.minor_version()?.into()))
        })
        .read(|d, v| d.set_version(&v)),
    always("http.request.method", Kind::Text, "request line", "As sent.")
        .rules(&["cs-method", "method", "http.request.method"])
        .get(|v| v.request().map(|request| Value::Text(&request.method)))
        .read(|d, v| d.method = v.into_bytes()),
    field("http.request.id", Kind::Text, "X-Request-Id", "X-Request-Id.")
        .get(|v| v.request()?.headers.first("x-request-id").map(Value::Text))
        .read(|d, v| d.add_line("x-request-id", v)),
    field("http.request.bytes", NUMBER, "message framing", "Head and body; absent where the length is not known.")
        .rules(&["cs-bytes", "http.request.bytes"])
        .get(|v| v.record.request_bytes().map(Value::Number))
        .read(|d, v| d.request_bytes = v.number()),
    always("http.request.body.bytes", NUMBER, "message framing", "Body bytes on the wire, without chunk framing.")
        .rules(&["request_body_len", "http.request.body.bytes"])
        .get(|v| v.request().and(v.record.request_body_bytes).map(Value::Number))
        .read(|d, v| d.event.request_body_bytes = v.number()),
    field("http.request.referrer", Kind::Text, "Referer", "Referer, redacted.")
        .rules(&["cs-referer", "cs-referrer", "c-referer", "referrer", "referer", "http.request.referrer"])
        .get(|v| v.request()?.headers.first_known(Known::REFERER).map(Value::Text))
        .read(|d, v| d.add_line("referer", v)),
    field("http.request.headers", Kind::RequestHeaders, "request head", "Those that --request-headers names.")
        .get(|v| v.request().map(|request| Value::headers(&request.headers)))
        .read(|d, v| d.request_headers = Some(v.into_headers())),
    always("http.response.status_code", Kind::STATUS, "status line", "")
        .strict()
        .rules(&["sc-status", "status_code", "http.response.status_code"])
        .get(|v| v.response().map(|response| Value::Number(response.status.into())))
        .read(|d, v| d.status = v.number()),
    always("http.response.status_phrase", Kind::Text, "status line", "The reason phrase, possibly empty.")
        .rules(&["status_msg", "http.response.status_phrase"])
        .get(|v| v.response().map(|response| Value::Text(&response.reason)))
        .read(|d, v| d.reason = v.into_bytes()),
    field("http.response.headers", Kind::ResponseHeaders, "response head", "Those that --headers names.")
        .get(|v| v.response().map(|response| Value::headers(&response.headers)))
        .read(|d, v| d.response_headers = Some(v.into_headers())),
    field("http.response.mime_type", Kind::Text, "Content-Type", "Media type of Content-Type, lower case, without parameters.")
        .rules(&["sc-content-type", "http.response.mime_type"])
        .get(|v| {
            let value = v.response()?.headers.first_known(Known::CONTENT_TYPE)?;
            mime_type(value).map(Value::Lower)
        })
        .read(|d, v| d.add_line("content-type", v)),
    field("http.response.bytes", NUMBER, "message framing", "Head, framing and body on the wire; if the event was written before the end, those so far, and absent if the kernel skips body.")
        .rules(&["http.response.bytes"])
        .get(|v| v.response().and(v.record.response_bytes).map(Value::Number))
        .read(|d, v| d.event.response_bytes = v.number()),
    field("http.response.body.bytes", NUMBER, "message framing", "Body bytes on the wire, without chunk framing; if the event was written before the end, those so far, and absent before the first or if the kernel skips them.")
        .rules(&["response_body_len", "http.response.body.bytes"])
        .get(|v| v.response().and(v.record.body_bytes).map(Value::Number))
        .read(|d, v| d.event.body_bytes = v.number()),
    field("http.response.body.content", Kind::Text, "response body", "The first bytes of the body, decoded, if requested by --body-snippet.")
        .rules(&["http.response.body.content"])
        .get(|v| v.response().and(v.record.body_snippet.as_deref()).map(Value::Text))
        .read(|d, v| d.event.body_snippet = v.into_bytes()),
    always("url.original", Kind::Text, "request line", "The request target as sent.")
        .rules(&["url.original", "uri"])
        .get(|v| v.request().map(|request| Value::Text(&request.target)))
        .read(|d, v| d.target = v.into_bytes()),
    field("url.scheme", Kind::Text, "request target", "`http` if the target has none; absent for CONNECT.")
        .get(|v| v.target.scheme.map(Value::Text)),
    field("url.domain", Kind::Text, "request target, Host", "Host without port.")
        .rules(&["cs-host", "host", "vhost", "r-dns", "url.domain"])
        .get(|v| v.target.host.map(Value::Text))
        .read(|d, v| d.host = v.into_bytes()),
    field("url.path", Kind::Text, "request target", "")
        .rules(&["cs-uri-stem", "c-uri-stem", "uri_path", "url.path"])
        .get(|v| v.target.path.map(Value::Text)),
    field("url.query", Kind::Text, "request target", "Without `?`. Rules also compare path and query together, since many public rules put a path here.")
        .rules(&["cs-uri-query", "c-uri-query", "uri_query", "url.query"])
        .get(|v| v.target.query.map(Value::Text)),
    field("url.port", Kind::Port, "request target, Host", "As sent, or the scheme's default if the host was sent without one.")
        .get(|v| v.target.port.map(|port| Value::Number(port.into())))
        .read(|d, v| d.port = v.number()),
    always("user_agent.original", Kind::Text, "User-Agent", "")
        .rules(&["cs-user-agent", "c-useragent", "cs-useragent", "user_agent", "useragent", "user-agent", "user_agent.original"])
        .get(|v| v.request()?.headers.first_known(Known::USER_AGENT).map(Value::Text))
        .read(|d, v| d.add_line("user-agent", v)),
    field("user", OBJECT, "", "Of Basic authentication."),
    always("user.name", Kind::Text, "Authorization", "User of Basic authentication; the password is never read.")
        .rules(&["cs-username", "username", "user.name"])
        .get(|v| match v.user {
            Some(name) => v.request().map(|_| Value::Text(name)),
            None => basic_user(v.record).map(Value::Made),
        })
        .read(|d, v| d.user = v.into_bytes()),
    always("trace.id", Kind::Pattern("^([0-9a-f]{16}|[0-9a-f]{32})$"), "traceparent, b3, X-B3-TraceId", "")
        .get(|v| Some(Value::Lower(trace_context(&v.request()?.headers)?.0))),
    always("span.id", Kind::Pattern("^[0-9a-f]{16}$"), "traceparent, b3, X-B3-SpanId", "")
        .get(|v| trace_context(&v.request()?.headers)?.1.map(Value::Lower)),
];

/// `failure` for status codes from 400 and for no response, `unknown` if only 1xx heads were seen, or nothing.
fn outcome(event: &HttpEvent) -> &'static str {
    match (&event.response, event.no_response) {
        (_, Some(NoResponse::Unseen)) => "unknown",
        (_, Some(_)) => "failure",
        (Some(r), _) if r.status >= 400 => "failure",
        (Some(_), _) => "success",
        (None, None) => "unknown",
    }
}

fn client(event: &HttpEvent) -> Forwarded {
    event.forwarded.unwrap_or(Forwarded { ip: event.client.ip, port: event.client.known_port() })
}

fn server(event: &HttpEvent) -> Option<Endpoint> {
    Some(event.server).filter(|end| *end != Endpoint::NOBODY)
}

/// The Community ID, if both ends are known with their ports.
pub fn community_id(event: &HttpEvent) -> Option<Value<'static>> {
    event.server.known_ip()?;
    event.client.known_port().and(event.server.known_port())?;
    let id = crate::community::community_id(event.client, event.server);
    Some(Value::Made(id.to_vec()))
}

fn number_as_text(number: u32) -> Value<'static> {
    Value::Made(number.to_string().into_bytes())
}
