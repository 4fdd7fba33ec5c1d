//! OTLP/gRPC: one unary call per request (opentelemetry.io, OTLP specification 1.x, "OTLP/gRPC").

use std::io;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::exporter::{Failure, Partial, Transport};
use super::request::{PATIENCE, gzip, headers};
use crate::grpc::client::{Client, Server};
use crate::grpc::{Answer, code};
use crate::own_client;
use crate::own_sockets::OwnSockets;
use crate::protobuf::{self, Read};
use crate::sink::choice::Signal;
use crate::sink::deliver::host_and_port;

/// Default port of collectors.
const PORT: u16 = 4317;
/// Base64 of `-bin` metadata, whose padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub struct Grpc {
    client: Client,
    gzip: bool,
    headers: HeaderMap,
}

/// Parses `HOST`, `HOST:PORT`, or either with an IPv6 address in brackets.
pub fn server(place: &str, tls: bool) -> Server {
    let (host, port) = host_and_port(place).unwrap_or((place, None));
    Server { host: host.to_owned(), port: port.unwrap_or(PORT), tls }
}

impl Grpc {
    /// `given`: see [`headers`].
    ///
    /// # Errors
    /// Malformed header fields.
    pub fn new(server: Server, gzip: bool, given: &str, own: OwnSockets) -> io::Result<Self> {
        Ok(Grpc {
            client: Client::new(server, own),
            gzip,
            headers: headers(given).map_err(io::Error::other)?,
        })
    }
}

impl Transport for Grpc {
    fn export(&mut self, signal: Signal, request: &[u8]) -> Result<Partial, Failure> {
        let path = match signal {
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Signal::Spans => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        };
        let zipped = self.gzip.then(|| gzip(request));
        let message = zipped.as_deref().unwrap_or(request);
        let deadline = Instant::now() + PATIENCE;
        let called = self.client.call(path, &self.headers, message, self.gzip, deadline);
        match called {
            Ok(answer) if answer.code == code::OK => {
                Partial::of(&answer.message).ok_or_else(|| Failure {
                    why: "answered OK, but not with an OTLP response".to_owned(),
                    again: None,
                })
            }
            Ok(answer) => Err(failure(&answer)),
            Err(error) => {
                Err(Failure { why: own_client::worded(&error), again: Some(Duration::ZERO) })
            }
        }
    }
}

/// Classifies a status code; the specification says which are retryable.
fn failure(answer: &Answer) -> Failure {
    let delay = answer.details.as_deref().and_then(retry_delay);
    let again = match answer.code {
        code::CANCELLED
        | code::DEADLINE_EXCEEDED
        | code::ABORTED
        | code::OUT_OF_RANGE
        | code::UNAVAILABLE
        | code::DATA_LOSS => Some(delay.unwrap_or_default()),
        // Retryable only with a delay from the server.
        code::RESOURCE_EXHAUSTED => delay,
        _ => None,
    };
    let why: Vec<u8> = percent_decode_str(&answer.why).take(200).collect();
    let why = String::from_utf8_lossy(&why);
    Failure { why: format!("answered status {} ({why})", answer.code), again }
}

/// `google.rpc.RetryInfo.retry_delay` of a `google.rpc.Status`, which may have other details too.
fn retry_delay(details: &str) -> Option<Duration> {
    let status = BASE64.decode(details).ok()?;
    let info = protobuf::fields(&status).find_map(|(field, read)| match read {
        Read::Bytes(detail) if field == 3 => protobuf::bytes(detail, 1)?
            .ends_with(b"/google.rpc.RetryInfo")
            .then(|| protobuf::bytes(detail, 2))?,
        _ => None,
    })?;
    let delay = protobuf::bytes(info, 1).unwrap_or_default();
    // A negative number decodes as a huge one.
    let nanos = u32::try_from(protobuf::number(delay, 2)).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(protobuf::number(delay, 1), nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_as_in_urls() {
        for (place, host, port) in [
            ("a.example", "a.example", 4317),
            ("a:5", "a", 5),
            ("[::1]", "::1", 4317),
            ("[::1]:5", "::1", 5),
        ] {
            let got = server(place, false);
            assert_eq!((got.host.as_str(), got.port), (host, port), "{place}");
        }
    }

    #[test]
    fn statuses_and_what_they_mean() {
        // As PyPI googleapis-common-protos writes them: RetryInfo of 2.5 s, and a detail of another kind.
        let retry = "CAgSBGJ1c3kaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIAhCAyrXuAQ";
        let other = "CAgaLAojdHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkhlbHASBQoDEgF4";
        // The help first, then the delay.
        let both = "CAgaLAojdHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkhlbHASBQoDEgF4CAgSBGJ1c3kaNgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIKCggIAhCAyrXuAQ";
        let s = |seconds| Some(Duration::from_secs_f64(seconds));
        for (code, details, expected) in [
            (1, None, s(0.0)),
            (2, None, None),
            (3, None, None),
            (4, None, s(0.0)),
            (7, None, None),
            (8, None, None),
            (8, Some(retry), s(2.5)),
            (8, Some(other), None),
            (8, Some(both), s(2.5)),
            (8, Some("!"), None),
            (8, Some(""), None),
            (10, None, s(0.0)),
            (11, None, s(0.0)),
            (12, None, None),
            (13, None, None),
            (14, None, s(0.0)),
            (14, Some(retry), s(2.5)),
            (15, None, s(0.0)),
            (16, None, None),
            (99, None, None),
        ] {
            let failure = failure(&Answer {
                code,
                why: "for%20a%0areason".to_owned(),
                details: details.map(str::to_owned),
                ..Answer::default()
            });
            assert_eq!(failure.again, expected, "{code} {details:?}");
            assert!(failure.why.contains("for a"), "{}", failure.why);
        }
    }
}
