//! Alerts by POST to a URL. The connection is opened here rather than by the HTTP library, so that
//! its local end can be kept out of what is traced.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};
use ureq::{Agent, Error};

use super::carrier::{Carrier, Failure, Notice};
use crate::own_sockets::{Excluded, OwnSockets};

/// How long one delivery may take, from the name's look-up to the answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Webhook {
    agent: Agent,
    url: String,
}

impl Webhook {
    pub(super) fn new(url: String, own: OwnSockets) -> Self {
        Self::within(url, own, PATIENCE)
    }

    pub(super) fn within(url: String, own: OwnSockets, patience: Duration) -> Self {
        let roots = ureq::tls::RootCerts::PlatformVerifier;
        let tls = ureq::tls::TlsConfig::builder().root_certs(roots).build();
        let config = Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            // A redirection could lead inside the network that the agent watches.
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("http-trace/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build();
        let connector = Open { own }.chain(RustlsConnector::default());
        Webhook {
            agent: Agent::with_parts(config, connector, DefaultResolver::default()),
            url,
        }
    }
}

impl Carrier for Webhook {
    fn carry(&mut self, notice: &Notice) -> Result<(), Failure> {
        let answer = self
            .agent
            .post(&self.url)
            .header("content-type", "application/json")
            .send(notice.line.trim_ascii_end());
        match answer {
            Ok(answer) => {
                let status = answer.status();
                match status.as_u16() {
                    200..=299 => Ok(()),
                    408 | 429 | 500.. => Err(Failure::passing(format!("answered {status}"))),
                    _ => Err(Failure::lasting(format!("answered {status}"))),
                }
            }
            Err(error @ (Error::BadUri(_) | Error::Http(_))) => Err(Failure::lasting(error)),
            Err(error) => Err(Failure::passing(error)),
        }
    }
}

/// Opens connections.
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
        let patience = details.timeout.not_zero().map_or(PATIENCE, |left| *left);
        let mut last = Error::HostNotFound;
        for address in &details.addrs {
            match self.own.connect(*address, patience) {
                Ok((stream, excluded)) => {
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

/// The library wants to know which of its limits was reached.
fn told(error: std::io::Error, timeout: NextTimeout) -> Error {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
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
        self.stream
            .write_all(bytes)
            .map_err(|error| told(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let patience = timeout.not_zero().map(|left| *left);
        self.stream.set_read_timeout(patience)?;
        let room = self.buffers.input_append_buf();
        let read = self
            .stream
            .read(room)
            .map_err(|error| told(error, timeout))?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        // A new connection for each alert: they are rare, and an idle one may be gone.
        false
    }
}
