//! Parses `--alerts-to`. Must not open anything.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::sink::log_file::parse_mode;

/// One destination of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output, as lines of json.
    Stdout,
    /// A file to which lines of json are appended, and its permissions if it is created.
    File(PathBuf, Option<u32>),
    /// A program and its arguments; the record is its standard input.
    Command(Vec<String>),
    /// A URL, by POST.
    Webhook(String),
    /// RFC 5424.
    Syslog(SyslogServer),
}

/// Where syslog listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogServer {
    /// The local daemon's socket.
    Local,
    /// Datagrams (RFC 5426) to `HOST:PORT`.
    Udp(String),
    /// A stream with octet counting (RFC 6587 §3.4.1) to `HOST:PORT`.
    Tcp(String),
}

/// Default ports of syslog: 514 for datagrams (RFC 5426 §3.3), 601 for streams (RFC 3195).
const UDP_PORT: u16 = 514;
const TCP_PORT: u16 = 601;

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_file = !text.contains(':') && text.contains(['.', '/']);
        Self::parse(text).map_err(|want| match is_file {
            true => format!("{want}; did you mean file:{text}?"),
            false => want.to_owned(),
        })
    }
}

impl Target {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const WANT: &str = "stdout, file:PATH[,mode=640], command:PROGRAM ARGUMENTS, http://… or https://…, \
                            syslog, syslog:udp://HOST[:PORT] or syslog:tcp://HOST[:PORT]";
        let mut parts = text.split(',').skip(1).map(str::trim_start);
        const WHERE: [&str; 6] = ["stdout", "file:", "command:", "http://", "https://", "syslog"];
        if !text.starts_with("command:")
            && parts.any(|part| WHERE.iter().any(|start| part.starts_with(start)))
        {
            return Err(
                "one destination per value: repeat --alerts-to; in HTTP_TRACE_ALERTS_TO give each a line, in \
                        the file a list",
            );
        }
        if text.contains(", mode=") {
            return Err("no space before the option: ,mode=640");
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return match is_url(text, &["http://", "https://"]) {
                true => Ok(Target::Webhook(text.to_owned())),
                false => Err("a URL with a host, and a port from 1 to 65535 if it has one"),
            };
        }
        match text.split_once(':').unwrap_or((text, "")) {
            ("stdout", "") => Ok(Target::Stdout),
            ("file", place) if !place.is_empty() => match place.rsplit_once(",mode=") {
                Some((path, mode)) => {
                    let mode = parse_mode(mode).filter(|_| !path.is_empty()).ok_or(WANT)?;
                    Ok(Target::File(path.into(), Some(mode)))
                }
                None => Ok(Target::File(place.into(), None)),
            },
            ("command", line) => {
                let words = shell_words::split(line);
                let words = words.map_err(|_| "a command whose quotes are closed")?;
                if words.is_empty() { Err(WANT) } else { Ok(Target::Command(words)) }
            }
            ("syslog", "") => Ok(Target::Syslog(SyslogServer::Local)),
            ("syslog", place) => match place.split_once("://") {
                Some(("udp", host)) => {
                    Ok(Target::Syslog(SyslogServer::Udp(with_port(host, UDP_PORT).ok_or(WANT)?)))
                }
                Some(("tcp", host)) => {
                    Ok(Target::Syslog(SyslogServer::Tcp(with_port(host, TCP_PORT).ok_or(WANT)?)))
                }
                _ => Err(WANT),
            },
            _ => Err(WANT),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stdout => f.write_str("stdout"),
            Target::File(path, _) => write!(f, "file:{}", path.display()),
            // Arguments may contain secrets.
            Target::Command(words) => write!(f, "command:{}", words.first().map_or("", |w| w)),
            // Paths and queries of webhooks often contain secrets.
            Target::Webhook(url) => {
                let [scheme, _, place, _] = parts(url);
                write!(f, "{scheme}{place}")
            }
            Target::Syslog(SyslogServer::Local) => f.write_str("syslog"),
            Target::Syslog(SyslogServer::Udp(host)) => write!(f, "syslog:udp://{host}"),
            Target::Syslog(SyslogServer::Tcp(host)) => write!(f, "syslog:tcp://{host}"),
        }
    }
}

/// Whether it is a URL with one of these schemes (`http://`), a host, and no malformed port.
pub fn is_url(text: &str, schemes: &[&str]) -> bool {
    let [scheme, _, place, _] = parts(text);
    let is_place = || host_and_port(place).is_some() && !text.contains(char::is_whitespace);
    schemes.contains(&scheme) && is_place()
}

/// A value for display: user and password of a URL are removed (RFC 3986 §3.2.1).
pub fn without_password(value: &str) -> Cow<'_, str> {
    match parts(value) {
        ["", ..] | [_, "", ..] => Cow::Borrowed(value),
        [scheme, _, place, rest] => Cow::Owned(format!("{scheme}{place}{rest}")),
    }
}

/// Scheme with `://`, user and password with `@`, host and port, and the rest of a URL (RFC 3986 §3).
fn parts(url: &str) -> [&str; 4] {
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let (place, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, place) = place.split_at(place.rfind('@').map_or(0, |at| at + 1));
    [scheme, user, place, rest]
}

/// Parses `HOST`, `HOST:PORT`, or either with an IPv6 address in brackets. Checked here because clients use the
/// default port in place of a malformed one.
pub fn host_and_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let number = |port: &str| {
        let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        digits?.parse().ok().filter(|port| *port > 0)
    };
    let port = if port.is_empty() { None } else { Some(number(port)?) };
    (!host.is_empty()).then_some((host, port))
}

fn with_port(host: &str, port: u16) -> Option<String> {
    let is_given = host_and_port(host)?.1.is_some();
    Some(if is_given { host.to_owned() } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_what_they_mean() {
        let command = |words: &[&str]| Target::Command(words.iter().map(|w| (*w).into()).collect());
        for (text, expected, shown) in [
            ("stdout", Target::Stdout, "stdout"),
            ("file:/a b", Target::File("/a b".into(), None), "file:/a b"),
            ("file:a,b,mode=640", Target::File("a,b".into(), Some(0o640)), "file:a,b"),
            ("command:/bin/x", command(&["/bin/x"]), "command:/bin/x"),
            (
                "command:x 'a b' \"c\\\"d\" '' e\\ f",
                command(&["x", "a b", "c\"d", "", "e f"]),
                "command:x",
            ),
            (
                "https://hooks.example/services/SECRET",
                Target::Webhook("https://hooks.example/services/SECRET".into()),
                "https://hooks.example",
            ),
            ("http://u:p@h/x", Target::Webhook("http://u:p@h/x".into()), "http://h"),
            (
                "http://u:p@[::1]:8080?k=v",
                Target::Webhook("http://u:p@[::1]:8080?k=v".into()),
                "http://[::1]:8080",
            ),
            ("syslog", Target::Syslog(SyslogServer::Local), "syslog"),
            (
                "syslog:udp://[::1]",
                Target::Syslog(SyslogServer::Udp("[::1]:514".into())),
                "syslog:udp://[::1]:514",
            ),
            (
                "syslog:tcp://logs:6514",
                Target::Syslog(SyslogServer::Tcp("logs:6514".into())),
                "syslog:tcp://logs:6514",
            ),
        ] {
            let target: Target = text.parse().expect(text);
            assert_eq!(target, expected);
            assert_eq!(target.to_string(), shown);
        }
        for text in [
            "", "file:", "command:", "command:'a", "http://", "https:///x", "http://u:p@/x",
            "http://127.0.0.1:65536/x", "http://127.0.0.1:0/x", "http://127.0.0.1:/x",
            "http://127.0.0.1:abc/x", "http://127.0.0.1:-1/x", "http://[::1/x",
            "http://[::1]8080/x", "syslog:udp://logs:99999", "syslog:tcp://", "syslog:a", "x",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        for (text, expected) in [
            ("file:a1,file:a2", "one destination per value: repeat --alerts-to"),
            ("stdout,syslog", "one destination per value: repeat --alerts-to"),
            ("https://a/x, https://b/y", "in HTTP_TRACE_ALERTS_TO give each a line"),
            ("file:a, mode=640", "no space before"),
            ("alerts.jsonl", "; did you mean file:alerts.jsonl?"),
            ("/var/log/alerts,mode=640", "; did you mean file:/var/log/alerts,mode=640?"),
        ] {
            assert!(text.parse::<Target>().expect_err(text).contains(expected), "{text}");
        }
        for text in ["command:x a,file:b", "file:a,b:c", "https://a/x?y=1,2"] {
            assert!(text.parse::<Target>().is_ok(), "{text}");
        }
    }
}
