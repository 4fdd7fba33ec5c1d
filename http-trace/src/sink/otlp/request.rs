//! What both transports to a collector share: header fields for tokens, compression, timeout. Must not send anything.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// Environment variable with header fields for requests: tokens do not belong on command lines.
pub const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// Timeout of a request.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// `name=value,…`, values with percent-encoding (OpenTelemetry, "Specifying headers via environment
/// variables"). Errors do not contain values, which may be tokens.
///
/// # Errors
/// The name of a malformed one.
pub fn headers(given: &str) -> Result<HeaderMap, String> {
    let all = given.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = name.trim();
        let parsed = HeaderName::try_from(name);
        let parsed = parsed.ok().filter(|_| pair.contains('='));
        let parsed = parsed.ok_or("is no name of a header with a value: name=value,name=value");
        let value = HeaderValue::from_bytes(&percent_decode_str(value.trim()).collect::<Vec<u8>>())
            .map_err(|_| "has a value that no header can have");
        let header = parsed.and_then(|name| Ok((name, value?)));
        header.map_err(|why| {
            let shown = if pair.contains('=') { name } else { "a part without '='" };
            format!("{HEADERS}: {shown} {why}")
        })
    };
    let mut headers = all.map(header).collect::<Result<HeaderMap, _>>()?;
    headers.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
    Ok(headers)
}

pub fn gzip(request: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(request.len() / 4), Compression::fast());
    // Writing to a vector cannot fail.
    let written = encoder.write_all(request);
    written.and_then(|()| encoder.finish()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_the_specification_has_them() {
        let told = headers("authorization=Bearer%20a=b, x-tenant = 5,,").expect("good");
        let told: Vec<_> =
            told.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(told, [("authorization", &b"Bearer a=b"[..]), ("x-tenant", b"5")]);
        for given in ["secret", "a b=secret", "x=secret%0d", "=secret"] {
            let error = headers(given).expect_err(given);
            assert!(error.contains(HEADERS) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn what_is_compressed_is_the_request() {
        let mut out = Vec::new();
        let request = b"abc".repeat(1000);
        let zipped = gzip(&request);
        let mut reader = flate2::read::GzDecoder::new(&zipped[..]);
        std::io::Read::read_to_end(&mut reader, &mut out).expect("read");
        assert!(out == request && zipped.len() < 100);
    }
}
