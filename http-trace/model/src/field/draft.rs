//! An event while it is being read back from our own JSON: fields arrive one by one, [`Draft::finish`]
//! assembles heads and times. Headers that were not written are missing, except those with an ECS field
//! of their own. Parses no JSON.

use std::net::IpAddr;

use base64::Engine as _;
use bytes::Bytes;

use super::value::Value;
use crate::event::{Forwarded, HttpEvent, Missing};
use crate::head::{Headers, RequestHead, ResponseHead};

/// What was read so far.
#[derive(Debug, Default)]
pub struct Draft {
    /// The event; members that depend on no other field are set directly.
    pub event: HttpEvent,
    pub(super) time_ns: Option<u64>,
    pub(super) start_ns: Option<u64>,
    pub(super) end_ns: Option<u64>,
    /// Without a request, `event.start` is the response's start; the presence of a duration tells them apart.
    pub(super) has_duration: bool,
    pub(super) ttfb_ns: Option<u64>,
    pub(super) source_ip: Option<IpAddr>,
    pub(super) client_address: Option<Bytes>,
    pub(super) destination_ip: Option<IpAddr>,
    pub(super) client_port: Option<u16>,
    pub(super) forwarded_ip: Option<IpAddr>,
    /// 1 unless it was read.
    minor_version: Option<u8>,
    pub(super) method: Option<Bytes>,
    pub(super) target: Option<Bytes>,
    pub(super) request_version: Option<Bytes>,
    pub(super) response_version: Option<Bytes>,
    pub(super) request_bytes: Option<u64>,
    pub(super) request_headers: Option<Headers>,
    /// Header fields with an ECS field of their own.
    lines: Vec<(&'static str, Bytes)>,
    pub(super) host: Option<Bytes>,
    pub(super) port: Option<u64>,
    pub(super) user: Option<Bytes>,
    pub(super) status: Option<u64>,
    pub(super) reason: Option<Bytes>,
    pub(super) response_headers: Option<Headers>,
    pub(super) content_length: Option<u64>,
    pub(super) informational: Vec<Value<'static>>,
    pub(super) missing: Option<Vec<Missing>>,
}

impl Draft {
    pub(super) fn add_line(&mut self, name: &'static str, value: Value<'_>) {
        if let Some(value) = value.into_bytes() {
            self.lines.push((name, value));
        }
    }

    /// Sets the digit after the dot of `1.1`; 1 for versions other than HTTP/1.x.
    pub(super) fn set_version(&mut self, version: &Value<'_>) {
        let version = version.bytes().and_then(|v| std::str::from_utf8(v).ok());
        self.minor_version = Some(minor_version(version.unwrap_or_default()));
    }

    /// Sets the connection number, the first part of `7.3`.
    pub(super) fn set_connection(&mut self, transaction: &Value<'_>) {
        let text = transaction.bytes().and_then(|t| std::str::from_utf8(t).ok());
        let number = text.and_then(|t| t.split_once('.')?.0.parse().ok());
        self.event.connection = number.unwrap_or(0);
    }

    /// Assembles the event.
    ///
    /// # Errors
    /// The name of a missing field.
    pub fn finish(mut self) -> Result<HttpEvent, &'static str> {
        let time_ns = self.time_ns.ok_or("@timestamp")?;
        self.event.time_ns = time_ns;
        match (self.source_ip, self.client_address.take()) {
            (Some(ip), _) => self.event.client.ip = ip,
            (None, Some(name)) if Value::Text(&name).ip().is_none() => {
                self.event.client_name = Some(Box::from(&name[..]));
            }
            (None, _) => return Err("source.ip"),
        }
        if let Some(ip) = self.destination_ip {
            self.event.server.ip = ip;
        }
        self.event.forwarded = self.forwarded_ip.map(|ip| Forwarded { ip, port: self.client_port });
        self.set_times(time_ns);
        self.event.request = self.request();
        self.event.user = self.user.take().map(|user| Box::from(&user[..]));
        self.event.response = self.status.map(|status| ResponseHead {
            version: self.response_version.clone(),
            content_length: self.content_length,
            first_byte_ns: time_ns,
            ..self.response(status, self.reason.clone(), self.response_headers())
        });
        self.set_missing();
        let heads = std::mem::take(&mut self.informational).into_iter();
        self.event.informational = heads
            .filter_map(|head| match head {
                Value::Row(_, values) => self.informational_head(values),
                _ => None,
            })
            .collect();
        Ok(self.event)
    }

    /// Converts start, end and latencies back to points in time.
    fn set_times(&mut self, time_ns: u64) {
        let event = &mut self.event;
        event.request_start_ns = self.start_ns.filter(|_| self.has_duration);
        if event.no_response.is_some() {
            event.given_up_ns = self.end_ns;
            return;
        }
        event.response_start_ns = Some(time_ns);
        let missing = self.missing.iter().flatten();
        let is_seen = event.complete && missing.copied().all(|what| what != Missing::End);
        event.response_end_ns = self.end_ns.filter(|_| is_seen);
        event.head_end_ns = self.end_ns;
        event.request_end_ns = self.ttfb_ns.and_then(|ns| time_ns.checked_sub(ns));
    }

    /// Header fields are missing if the record has no object of them, or does not say what is missing.
    fn set_missing(&mut self) {
        let event = &mut self.event;
        let is_told = self.missing.is_some();
        event.missing = self.missing.take().unwrap_or_default();
        for (what, is_there, headers) in [
            (Missing::RequestHeaders, event.request.is_some(), &self.request_headers),
            (Missing::Headers, event.response.is_some(), &self.response_headers),
        ] {
            let unknown = is_there && (headers.is_none() || !is_told);
            if unknown && !event.missing.contains(&what) {
                event.missing.push(what);
            }
        }
    }

    fn line(&self, name: &str) -> Option<Bytes> {
        let mut lines = self.lines.iter();
        lines.find(|line| line.0 == name).map(|line| line.1.clone())
    }

    fn response_headers(&self) -> Headers {
        let mut headers = self.response_headers.clone().unwrap_or_default();
        if let Some(value) = self.line("content-type")
            && headers.first("content-type").is_none()
        {
            headers.push(b"content-type", &value);
        }
        headers
    }

    fn request(&self) -> Option<RequestHead> {
        let host = self.host.as_ref().map(|host| match self.port {
            Some(port) if port != 80 => {
                [host, &b":"[..], port.to_string().as_bytes()].concat().into()
            }
            _ => host.clone(),
        });
        let user = self.user.as_ref().map(|name| basic(name));
        let mut headers = self.request_headers.clone().unwrap_or_default();
        for (name, value) in [
            ("host", host),
            ("referer", self.line("referer")),
            ("user-agent", self.line("user-agent")),
            ("x-request-id", self.line("x-request-id")),
            ("authorization", user),
        ] {
            if let Some(value) = value
                && headers.first(name).is_none()
            {
                headers.push(name.as_bytes(), &value);
            }
        }
        let body = self.event.request_body_bytes.unwrap_or(0);
        Some(RequestHead {
            method: self.method.clone()?,
            target: self.target.clone().unwrap_or_default(),
            minor_version: self.minor_version.unwrap_or(1),
            version: self.request_version.clone(),
            headers,
            wire_len: self.request_bytes.map_or(0, |whole| whole.saturating_sub(body)),
        })
    }

    fn response(&self, status: u64, reason: Option<Bytes>, headers: Headers) -> ResponseHead {
        ResponseHead {
            minor_version: self.minor_version.unwrap_or(1),
            version: None,
            // The reader has checked the range.
            status: status.try_into().unwrap_or(u16::MAX),
            reason: reason.unwrap_or_default(),
            headers,
            content_length: None,
            wire_len: 0,
            first_byte_ns: 0,
        }
    }

    /// Builds a 1xx head from its members, in the order of the table.
    fn informational_head(&self, values: Vec<Option<Value<'static>>>) -> Option<ResponseHead> {
        let mut values = values.into_iter();
        let (_version, status) = (values.next()?, values.next()??);
        let (reason, headers) = (values.next()?, values.next()?);
        let (content_length, at) = (values.next()?, values.next()?);
        let headers = headers.map(Value::into_headers).unwrap_or_default();
        Some(ResponseHead {
            content_length: content_length.and_then(|length| length.number()),
            first_byte_ns: at.and_then(|at| at.time()).unwrap_or(self.event.time_ns),
            ..self.response(status.number()?, reason.and_then(Value::into_bytes), headers)
        })
    }
}

/// The digit after the dot of `1.1` or `HTTP/1.1`; 1 for versions other than HTTP/1.x.
pub fn minor_version(version: &str) -> u8 {
    let version = version.strip_prefix("HTTP/").unwrap_or(version);
    let digit = version.strip_prefix("1.");
    digit.map_or(1, |digit| digit.parse().unwrap_or(1))
}

/// Basic credentials of a user with an unknown password (RFC 7617 §2).
pub fn basic(name: &[u8]) -> Bytes {
    let encoded = base64::engine::general_purpose::STANDARD.encode([name, b":"].concat());
    format!("Basic {encoded}").into()
}
