//! Parsers for values that users write, and of hexadecimal digits. Errors state only what was expected; the caller adds
//! the option's name.

use std::time::Duration;

use http_trace_common::config::PortRange;
use ipnet::IpNet;

/// Splits off a leading `!`, which excludes what the rest matches.
pub fn negated(text: &str) -> (bool, &str) {
    match text.strip_prefix('!') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    }
}

/// `80` or `8000-8099`.
pub fn ports(text: &str) -> Result<PortRange, &'static str> {
    const WANT: &str = "a port from 1 to 65535, or a range such as 8000-8099";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |t: &str| t.trim().parse::<u16>().ok().filter(|p| *p > 0).ok_or(WANT);
    let range = PortRange { first: number(first)?, last: number(last)? };
    if range.first <= range.last { Ok(range) } else { Err("the smaller port first") }
}

/// `10.0.0.0/8`, `fd00::/8`, or one address.
pub fn network(text: &str) -> Result<IpNet, &'static str> {
    const WANT: &str = "a network such as 10.0.0.0/8 or fd00::/8, or an address";
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(network.trunc());
    }
    text.parse::<std::net::IpAddr>().map(IpNet::from).map_err(|_| WANT)
}

/// `30s`, `100ms`, `1.5m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const WANT: &str = "a time with its unit, such as 100ms, 30s, 5m or 1h";
    // A number without a unit is rejected, including 0.
    let has_unit = text.ends_with(char::is_alphabetic);
    let whole = if text.starts_with('.') { "0" } else { "" };
    let time = has_unit.then(|| humantime::parse_duration(&format!("{whole}{text}")));
    match time.ok_or(WANT)? {
        Ok(time) if u64::try_from(time.as_nanos()).is_ok() => Ok(time),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => Err("at most 500 years"),
        Err(_) => Err(WANT),
    }
}

/// A duration greater than zero.
pub fn some_time(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        time if time.is_zero() => Err("a time of more than nothing, such as 30s"),
        time => Ok(time),
    }
}

/// `true` or `false` (or yes, no, on, off, 1, 0).
pub fn boolean(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("true or false"),
    }
}

/// A whole number of at least 1.
pub fn positive(text: &str) -> Result<u64, &'static str> {
    text.parse::<u64>().ok().filter(|n| *n > 0).ok_or("a whole number from 1")
}

/// `64MiB`, `4096`.
pub fn bytes(text: &str) -> Result<usize, &'static str> {
    const WANT: &str = "a number of bytes, such as 65536, 512KiB or 64MiB";
    let size: bytesize::ByteSize = text.parse().map_err(|_| WANT)?;
    let bytes = usize::try_from(size.as_u64()).map_err(|_| WANT)?;
    // Overflow saturates at the maximum, so the maximum itself is rejected.
    (1..usize::MAX).contains(&bytes).then_some(bytes).ok_or(WANT)
}

/// The byte that two hexadecimal digits stand for.
pub fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    }
}

/// A field name (RFC 9110 §5.1: a token), in lower case.
pub fn field_name(text: &str) -> Result<String, &'static str> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("a header name, such as Content-Type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ns) in [
            ("30s", Some(30_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("1.5m", Some(90_000_000_000)),
            (".5s", Some(500_000_000)),
            ("2h", Some(7_200_000_000_000)),
            ("7ns", Some(7)),
            ("1h 30m", Some(5_400_000_000_000)),
            ("1.s", None),
            ("0", None),
            ("30", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("-1s", None),
            ("1 fortnight", None),
            ("99999999999999999999s", None),
            ("999999999999d", None),
            ("", None),
        ] {
            assert_eq!(duration(text).ok().map(|d| d.as_nanos()), ns, "{text:?}");
        }
    }

    #[test]
    fn a_time_that_is_too_long_is_told_from_one_that_is_none() {
        for text in ["99999999999999999999s", "99999999999999999h", "999999999999d"] {
            assert_eq!(duration(text), Err("at most 500 years"), "{text}");
        }
    }

    #[test]
    fn no_time_at_all_is_none() {
        assert_eq!(some_time("1ns"), Ok(Duration::from_nanos(1)));
        for text in ["0s", "0ms", "0.0000000001s", "30"] {
            assert!(some_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn port_ranges() {
        for (text, expected) in [
            ("80", Some((80, 80))),
            ("8000-8099", Some((8000, 8099))),
            ("0", None),
            ("65536", None),
            ("90-80", None),
            ("-80", None),
            ("http", None),
        ] {
            assert_eq!(ports(text).ok().map(|r| (r.first, r.last)), expected, "{text:?}");
        }
    }

    #[test]
    fn networks() {
        for (text, expected) in [
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.1.2.3", Some("10.1.2.3/32")),
            ("fd00::1/8", Some("fd00::/8")),
            ("::1", Some("::1/128")),
            ("10.0.0.0/33", None),
            ("example", None),
        ] {
            assert_eq!(network(text).ok().map(|n| n.to_string()).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes_and_names() {
        for (text, expected) in [
            ("64MiB", Some(64 << 20)),
            ("512 KiB", Some(512 << 10)),
            ("0", None),
            ("1MB", Some(1_000_000)),
            ("1.5GiB", Some(3 << 29)),
            ("1kB", Some(1000)),
            ("1TiB", Some(1 << 40)),
            ("1TB", Some(1_000_000_000_000)),
            ("99999999999999999999", None),
            ("-1", None),
            ("3 potatoes", None),
        ] {
            assert_eq!(bytes(text).ok(), expected, "{text:?}");
        }
        assert_eq!(field_name("X-Id").as_deref(), Ok("x-id"));
        assert!(field_name("a b").is_err() && field_name("").is_err());
    }
}
