//! OTLP/HTTP: requests by POST (opentelemetry.io, OTLP specification 1.x, "OTLP/HTTP").

use std::io;
use std::time::Duration;

use http::HeaderMap;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::exporter::{Failure, Transport};
use super::request::{PATIENCE, gzip, headers};
use crate::own_client;
use crate::own_sockets::OwnSockets;
use crate::sink::choice::Signal;

/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 64 << 10;

/// A collector by HTTP.
pub struct Http {
    agent: Agent,
    url: String,
    gzip: bool,
    headers: HeaderMap,
}

impl Http {
    /// `url` without the path of a signal; `headers` as [`headers`] takes them.
    ///
    /// # Errors
    /// Headers that are none.
    pub fn new(url: &str, gzip: bool, given: &str, own: OwnSockets) -> io::Result<Self> {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = own_client::config()
            .timeout_global(Some(PATIENCE))
            .tls_config(tls.build())
            .build();
        Ok(Http {
            agent: own_client::agent(config, own),
            url: url.to_owned(),
            gzip,
            headers: headers(given).map_err(io::Error::other)?,
        })
    }
}

impl Transport for Http {
    fn export(&mut self, signal: Signal, request: &[u8]) -> Result<Vec<u8>, Failure> {
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
            true => post
                .header("content-encoding", "gzip")
                .send(&gzip(request)[..]),
            false => post.send(request),
        };
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let is_lasting = matches!(error, Error::BadUri(_) | Error::Http(_));
                let why = match error {
                    Error::Timeout(_) => format!("no answer in {} s", PATIENCE.as_secs()),
                    error => error.to_string(),
                };
                return Err(Failure {
                    why,
                    again: (!is_lasting).then_some(Duration::ZERO),
                });
            }
        };
        let status = answer.status();
        let after = answer.headers().get("retry-after");
        let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
        let again = match status.as_u16() {
            // A page of a proxy, or of whatever else is at that port: nothing took the records.
            200..=299 if is_page(answer.headers()) => None,
            200..=299 => {
                let body = answer.body_mut().with_config().limit(LONGEST_ANSWER);
                // The collector has it, whatever it says.
                return Ok(body.read_to_vec().unwrap_or_default());
            }
            429 | 502..=504 => Some(Duration::from_secs(after.unwrap_or(0))),
            _ => None,
        };
        let page = match is_page(answer.headers()) && status.is_success() {
            true => " with a page of HTML: it is no collector",
            false => "",
        };
        Err(Failure {
            why: format!("answered {status}{page}"),
            again,
        })
    }
}

fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get("content-type").map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(b"text/html"))
}
