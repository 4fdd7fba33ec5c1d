//! OTLP/HTTP: one POST per request (opentelemetry.io, OTLP specification 1.x, "OTLP/HTTP").

use std::io;
use std::time::Duration;

use http::{HeaderMap, Response};
use ureq::{Agent, Body, Error};

use super::exporter::{Failure, Partial, Transport};
use super::request::{PATIENCE, gzip, headers};
use crate::own_client;
use crate::own_sockets::OwnSockets;
use crate::sink::choice::Signal;

pub struct Http {
    agent: Agent,
    url: String,
    gzip: bool,
    headers: HeaderMap,
}

impl Http {
    /// `url` without the path of a signal; `given`: see [`headers`].
    ///
    /// # Errors
    /// Malformed header fields.
    pub fn new(
        url: &str,
        gzip: bool,
        given: &str,
        own: OwnSockets,
        patience: Duration,
    ) -> io::Result<Self> {
        Ok(Http {
            agent: own_client::within(patience, own),
            url: url.to_owned(),
            gzip,
            headers: headers(given).map_err(io::Error::other)?,
        })
    }
}

impl Transport for Http {
    fn export(&mut self, signal: Signal, request: &[u8]) -> Result<Partial, Failure> {
        let path = match signal {
            Signal::Logs => "/v1/logs",
            Signal::Spans => "/v1/traces",
            Signal::Metrics => "/v1/metrics",
        };
        let mut post = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/x-protobuf");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let answer = match self.gzip {
            true => post.header("content-encoding", "gzip").send(&gzip(request)[..]),
            false => post.send(request),
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let is_lasting = matches!(error, Error::BadUri(_) | Error::Http(_));
                let why = match error {
                    Error::Timeout(_) => format!("no answer in {} s", PATIENCE.as_secs()),
                    error => own_client::worded(&error),
                };
                return Err(Failure { why, again: (!is_lasting).then_some(Duration::ZERO) });
            }
        };
        let status = answer.status();
        let after = answer.headers().get("retry-after");
        let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
        let (also, again) = match status.as_u16() {
            200..=299 => match taken(&mut answer) {
                Ok(partial) => return Ok(partial),
                // Not retried: the collector may have accepted it.
                Err(why) => (why, None),
            },
            429 | 502..=504 => (String::new(), Some(Duration::from_secs(after.unwrap_or(0)))),
            _ => (String::new(), None),
        };
        Err(Failure { why: format!("answered {status}{also}"), again })
    }
}

/// The records that a response with a success status reports as rejected.
///
/// # Errors
/// A message if the response is not OTLP, but of a proxy or another service.
fn taken(answer: &mut Response<Body>) -> Result<Partial, String> {
    if is_page(answer.headers()) {
        return Err(" with an HTML page; it is not an OTLP collector".to_owned());
    }
    let body = own_client::read_answer(answer.body_mut()).map_err(|why| format!(", then {why}"))?;
    // Some collectors answer protobuf requests in JSON.
    let partial = match body.first() {
        Some(b'{') => in_json(&body),
        _ => Partial::of(&body),
    };
    partial.ok_or_else(|| ", but not with an OTLP response; it is not an OTLP collector".to_owned())
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"text/html"))
}

/// Parses [`Partial`] from protobuf's JSON encoding, where 64-bit numbers are strings.
fn in_json(body: &[u8]) -> Option<Partial> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let partial = &answer["partialSuccess"];
    let refused = ["rejectedLogRecords", "rejectedSpans", "rejectedDataPoints"]
        .into_iter()
        .find_map(|name| match &partial[name] {
            serde_json::Value::String(text) => text.parse().ok(),
            number => number.as_u64(),
        });
    let why = partial["errorMessage"].as_str().unwrap_or_default();
    Some(Partial::new(refused.unwrap_or(0), why.as_bytes()))
}
