//! *I/O*: the agent's own HTTP client. Opens connections itself rather than in the library, so that their
//! local endpoints can be excluded from tracing. Does not know what is requested.

use std::fmt::Display;
use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ureq::Agent;
use ureq::Body;
use ureq::Error;
use ureq::config::{Config, ConfigBuilder};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};

use crate::own_sockets::{Excluded, OwnSockets};

/// Connect timeout per address if no other is set.
const CONNECTING: Duration = Duration::from_secs(10);

/// Common settings of all requests of the agent.
pub fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        // A redirect could point into the network that the agent monitors.
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("http-trace/", env!("CARGO_PKG_VERSION")))
}

/// A client whose requests take at most this long, from name resolution to the end of the answer; it trusts the
/// certificates of this host.
pub fn within(patience: Duration, own: OwnSockets) -> Agent {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    agent(config().timeout_global(Some(patience)).tls_config(tls).build(), own)
}

/// A client whose connections are not traced.
pub fn agent(config: Config, own: OwnSockets) -> Agent {
    let connector = Open { own }.chain(RustlsConnector::default());
    Agent::with_parts(config, connector, DefaultResolver::default())
}

/// The longest answer that is read, in bytes.
pub const LONGEST_ANSWER: u64 = 64 << 10;

/// Reads an answer to its end. The time that it may take is that of its request (`timeout_global`).
///
/// # Errors
/// In words: it is longer than [`LONGEST_ANSWER`], does not end in time, or breaks off.
pub fn read_answer(body: &mut Body) -> Result<Vec<u8>, String> {
    let read = body.with_config().limit(LONGEST_ANSWER + 1).read_to_vec();
    match read {
        Ok(answer) if answer.len() as u64 <= LONGEST_ANSWER => Ok(answer),
        Ok(_) | Err(Error::BodyExceedsLimit(_)) => {
            Err(format!("more than {} KiB", LONGEST_ANSWER >> 10))
        }
        Err(Error::Timeout(_)) => Err("no end of the answer in time".to_owned()),
        Err(error) => Err(format!("an answer that breaks off ({error})")),
    }
}

/// An error of a request in words.
pub fn worded(error: &impl Display) -> String {
    let text = error.to_string();
    let hint = text.ends_with("InvalidContentType").then_some(" (does the server speak TLS?)");
    format!("{}{}", text.strip_prefix("io: ").unwrap_or(&text), hint.unwrap_or_default())
}

/// Enables keep-alive, so that a vanished peer is noticed within a minute.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
        sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
        sockopt::set_tcp_keepcnt(stream, 3)?;
    }
    let _ = stream;
    Ok(())
}

#[derive(Debug)]
struct Open {
    own: OwnSockets,
}

impl Connector for Open {
    type Out = Connection;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> Result<Option<Connection>, Error> {
        let patience = details.timeout.not_zero().map_or(CONNECTING, |left| *left);
        let mut last = Error::HostNotFound;
        for address in &details.addrs {
            match self.own.connect(*address, patience) {
                Ok((stream, excluded)) => {
                    keep_alive(&stream)?;
                    let config = details.config;
                    return Ok(Some(Connection {
                        stream,
                        _excluded: excluded,
                        buffers: LazyBuffers::new(
                            config.input_buffer_size(),
                            config.output_buffer_size(),
                        ),
                    }));
                }
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }
}

/// An open connection, excluded from the trace while it lives.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    _excluded: Excluded,
    buffers: LazyBuffers,
}

/// ureq expects to be told which of its timeouts expired.
fn ureq_error(error: io::Error, timeout: NextTimeout) -> Error {
    match error.kind() {
        TimedOut | WouldBlock => Error::Timeout(timeout.reason),
        _ => error.into(),
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let patience = timeout.not_zero().map(|left| *left);
        self.stream.set_write_timeout(patience)?;
        let bytes = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(bytes).map_err(|error| ureq_error(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let patience = timeout.not_zero().map(|left| *left);
        self.stream.set_read_timeout(patience)?;
        let room = self.buffers.input_append_buf();
        let read = self.stream.read(room).map_err(|error| ureq_error(error, timeout))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // An idle connection may be closed; unsolicited data makes it unusable.
        let mut byte = [0];
        let is_silent = self.stream.set_nonblocking(true).is_ok()
            && matches!(self.stream.peek(&mut byte), Err(error) if error.kind() == WouldBlock);
        is_silent && self.stream.set_nonblocking(false).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_for_whoever_gave_the_url() {
        for (error, expected) in [
            (io::Error::other("Connection refused"), "Connection refused"),
            (
                io::Error::other("received corrupt message of type InvalidContentType"),
                "received corrupt message of type InvalidContentType (does the server speak TLS?)",
            ),
        ] {
            assert_eq!(worded(&Error::from(error)), expected);
        }
    }
}
