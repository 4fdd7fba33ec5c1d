//! OTLP/HTTP: requests by POST (opentelemetry.io, OTLP specification 1.x, "OTLP/HTTP").

use std::io::{self, Write as _};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use ureq::http::{HeaderName, HeaderValue};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Error};

use super::exporter::{Failure, HEADERS, Transport};
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
    gzip: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Http {
    /// `url` without the path of a signal; `headers` as [`HEADERS`] has them.
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

/// `name=value,…`, values with percent-encoding (OpenTelemetry, "Specifying headers via environment
/// variables"). Errors do not tell a value: it may be a token.
fn headers(given: &str) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let all = given
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = name.trim();
        let parsed = HeaderName::try_from(name);
        let parsed = parsed.ok().filter(|_| pair.contains('='));
        let parsed = parsed.ok_or("is no name of a header with a value: name=value,name=value");
        let value = HeaderValue::from_bytes(&decoded(value.trim()))
            .map_err(|_| "has a value that no header can have");
        let header = parsed.and_then(|name| Ok((name, value?)));
        header.map_err(|why| {
            let shown = if pair.contains('=') {
                name
            } else {
                "a part without '='"
            };
            format!("{HEADERS}: {shown} {why}")
        })
    };
    let mut headers = all.map(header).collect::<Result<Vec<_>, _>>()?;
    headers
        .iter_mut()
        .for_each(|(_, value)| value.set_sensitive(true));
    Ok(headers)
}

/// Takes percent-encoding off.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn gzip(request: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(request.len() / 4), Compression::fast());
    // A buffer takes everything.
    let written = encoder.write_all(request);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_the_specification_has_them() {
        let told = headers("authorization=Bearer%20a=b, x-tenant = 5,,").expect("good");
        let told: Vec<_> = told
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(
            told,
            [("authorization", &b"Bearer a=b"[..]), ("x-tenant", b"5")]
        );
        for given in ["secret", "a b=secret", "x=secret%0d", "=secret"] {
            let error = headers(given).expect_err(given);
            assert!(
                error.contains(HEADERS) && !error.contains("secret"),
                "{error}"
            );
        }
        assert_eq!(decoded("%4a%zz%"), b"J%zz%");
    }

    #[test]
    fn what_is_compressed_is_the_request() {
        let mut out = Vec::new();
        let request = b"abc".repeat(1000);
        let zipped = gzip(&request);
        let mut reader = flate2::read::GzDecoder::new(&zipped[..]);
        io::Read::read_to_end(&mut reader, &mut out).expect("read");
        assert!(out == request && zipped.len() < 100);
    }
}
