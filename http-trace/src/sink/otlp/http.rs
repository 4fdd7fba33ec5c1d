//! OTLP/HTTP: requests by POST (opentelemetry.io, OTLP specification 1.x, "OTLP/HTTP").

use std::time::Duration;

use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::exporter::{Failure, Transport};
use crate::own_client;
use crate::own_sockets::OwnSockets;
use crate::sink::choice::Signal;

/// How long a collector may take for a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 64 << 10;

/// A collector by HTTP.
pub struct Http {
    agent: Agent,
    url: String,
}

impl Http {
    /// `url` without the path of a signal.
    pub fn new(url: &str, own: OwnSockets) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = own_client::config()
            .timeout_global(Some(PATIENCE))
            .tls_config(tls.build())
            .build();
        Http {
            agent: own_client::agent(config, own),
            url: url.to_owned(),
        }
    }
}

impl Transport for Http {
    fn export(&mut self, signal: Signal, request: &[u8]) -> Result<Vec<u8>, Failure> {
        let path = match signal {
            Signal::Logs => "/v1/logs",
            Signal::Spans => "/v1/traces",
        };
        let answer = self
            .agent
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/x-protobuf")
            .send(request);
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let is_lasting = matches!(error, Error::BadUri(_) | Error::Http(_));
                return Err(Failure {
                    why: error.to_string(),
                    again: (!is_lasting).then_some(Duration::ZERO),
                });
            }
        };
        let status = answer.status();
        let after = answer.headers().get("retry-after");
        let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
        let again = match status.as_u16() {
            200..=299 => {
                let body = answer.body_mut().with_config().limit(LONGEST_ANSWER);
                // The collector has it, whatever it says.
                return Ok(body.read_to_vec().unwrap_or_default());
            }
            429 | 502..=504 => Some(Duration::from_secs(after.unwrap_or(0))),
            _ => None,
        };
        Err(Failure {
            why: format!("answered {status}"),
            again,
        })
    }
}
