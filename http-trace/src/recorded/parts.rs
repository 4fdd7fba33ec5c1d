//! Common parts of the readers: heads from their parts, addresses, times. Reads no lines.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use http_trace_model::event::{Endpoint, HttpEvent, Missing, NoResponse};
use http_trace_model::field::draft::minor_version;
use http_trace_model::head::{Headers, RequestHead, ResponseHead};

#[derive(Debug)]
pub(super) enum Line {
    Event(Box<HttpEvent>),
    /// Not a response: an alert, a loss, a comment, a record of another log.
    Other,
}

/// A client as a log names it.
pub(super) enum Client<'a> {
    Ip(IpAddr),
    /// A name in place of the address: that of a host (Apache's HostnameLookups), or of a Unix socket (`unix:`).
    Name(&'a [u8]),
}

impl<'a> Client<'a> {
    pub(super) fn named(name: &'a [u8]) -> Option<Self> {
        let is_name = name.iter().any(u8::is_ascii_alphabetic)
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:/@".contains(byte));
        is_name.then_some(Client::Name(name))
    }
}

/// An event of a log that names no server.
pub(super) fn of_client(client: Client<'_>, time_ns: u64) -> HttpEvent {
    let mut event = HttpEvent::new(time_ns, Endpoint::NOBODY, Endpoint::NOBODY);
    match client {
        Client::Ip(ip) => event.client.ip = ip,
        Client::Name(name) => event.client_name = Some(name.into()),
    }
    event
}

/// Builds a request head from its parts, without absent fields.
pub(super) fn request(
    method: &[u8],
    target: &[u8],
    version: &str,
    fields: &[(&str, Option<&[u8]>)],
) -> RequestHead {
    RequestHead {
        method: Bytes::copy_from_slice(method),
        target: Bytes::copy_from_slice(target),
        minor_version: minor_version(version),
        version: (!is_http1(version)).then(|| Bytes::copy_from_slice(version.as_bytes())),
        headers: headers(fields),
        wire_len: 0,
    }
}

pub(super) fn response(
    status: u16,
    reason: &[u8],
    version: &str,
    fields: &[(&str, Option<&[u8]>)],
) -> ResponseHead {
    ResponseHead {
        minor_version: minor_version(version),
        version: None,
        status,
        reason: Bytes::copy_from_slice(reason),
        headers: headers(fields),
        content_length: None,
        wire_len: 0,
        first_byte_ns: 0,
    }
}

fn headers(fields: &[(&str, Option<&[u8]>)]) -> Headers {
    let fields = fields.iter();
    let lines = fields.filter_map(|(name, value)| Some((name, (*value)?)));
    lines.collect()
}

/// Whether a version is that of HTTP/1.x, with or without the name of the protocol.
pub(super) fn is_http1(version: &str) -> bool {
    version.strip_prefix("HTTP/").unwrap_or(version).starts_with("1.")
}

/// What a record lacks: the request, a version of HTTP/1.x, or header fields, unless all of the request's or of the
/// response's are known.
pub(super) fn missing(
    event: &HttpEvent,
    version: &str,
    request: bool,
    response: bool,
) -> Vec<Missing> {
    let parts = [
        (Missing::Version, !is_http1(version)),
        (Missing::Request, event.request.is_none()),
        (Missing::RequestHeaders, event.request.is_some() && !request),
        (Missing::Headers, event.response.is_some() && !response),
    ];
    let missing = parts.into_iter().filter(|(_, is_missing)| *is_missing);
    missing.map(|(what, _)| what).collect()
}

/// A status code that is valid in an event.
pub(super) fn status(code: u64) -> Option<u16> {
    u16::try_from(code).ok().filter(|code| (100..=999).contains(code))
}

/// That of a line of a log: `Some(None)` for 0, and for nginx's 499 without a body, which servers write if the
/// client left before there was one.
pub(super) fn logged_status(code: u64, body_bytes: Option<u64>) -> Option<Option<u16>> {
    match (code, body_bytes) {
        (0, _) | (499, Some(0)) => Some(None),
        (code, _) => status(code).map(Some),
    }
}

/// Sets how an event of a log, whose request is set, was answered, and what the log lacks.
pub(super) fn answered(
    event: &mut HttpEvent,
    code: Option<u16>,
    version: &str,
    fields: &[(&str, Option<&[u8]>)],
) {
    match code {
        Some(code) => {
            event.response = Some(response(code, b"", version, fields));
            event.response_start_ns = Some(event.time_ns);
        }
        None => {
            event.no_response = Some(NoResponse::Closed);
            event.given_up_ns = Some(event.time_ns);
        }
    }
    event.missing = missing(event, version, false, false);
}

/// What a line of a log tells: without a request and a response nothing happened.
pub(super) fn line_of(event: HttpEvent) -> Line {
    match event.request.is_some() || event.response.is_some() {
        true => Line::Event(Box::new(event)),
        false => Line::Other,
    }
}

pub(super) fn utf8(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    utf8(bytes)?.parse().ok()
}

/// A port, 0 if it is not known.
pub(super) fn port(number: Option<u64>) -> u16 {
    number.and_then(|number| u16::try_from(number).ok()).unwrap_or(0)
}

/// Parses `ADDRESS:PORT`.
pub(super) fn socket(text: &str) -> Option<(IpAddr, u16)> {
    let socket: SocketAddr = text.parse().ok()?;
    Some((socket.ip().to_canonical(), socket.port()))
}

pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

/// Whether a text is a list of addresses, as proxies write one for the clients before them.
pub(super) fn is_forwarded(list: &[u8]) -> bool {
    utf8(list).unwrap_or_default().split(',').all(|part| address(part.trim()).is_some())
}

/// Converts seconds with up to nine decimals to Unix ns.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 9 || !part.bytes().all(|b| b.is_ascii_digit()) {
        // A float printed with more digits than its precision.
        let float: f64 = text.parse().ok()?;
        return (0.0..1e10).contains(&float).then_some((float * 1e9) as u64);
    }
    let part: u64 = format!("{part:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(part)
}

/// Converts an RFC 3339 time to Unix ns.
pub(super) fn time(text: &str) -> Option<u64> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_nanosecond()).ok()
}
