//! *I/O*: calls to one server, one at a time, over a persistent connection, which is excluded from tracing.

use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderMap;
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, crypto::ring};

use super::{Answer, bad, body, exchange, handshake, request, runtime, within};
use crate::own_sockets::{Excluded, OwnSockets};

/// How long an idle connection is polled before use, to handle a close or a ping by its peer.
const LOOK: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host name or address, without brackets.
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl Server {
    /// Scheme, host and port of its URLs.
    fn origin(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        match self.host.contains(':') {
            true => format!("{scheme}://[{}]:{}", self.host, self.port),
            false => format!("{scheme}://{}:{}", self.host, self.port),
        }
    }
}

pub struct Client {
    server: Server,
    own: OwnSockets,
    /// Created on the calling thread.
    runtime: Option<Runtime>,
    open: Option<Open>,
}

struct Open {
    send: SendRequest<Bytes>,
    connection: JoinHandle<()>,
    _excluded: Excluded,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    /// Creates a client without connecting.
    pub const fn new(server: Server, own: OwnSockets) -> Self {
        Client { server, own, runtime: None, open: None }
    }

    /// Calls `path` (`/package.Service/Method`) with these header fields and this message; `gzip` means that
    /// the message is already compressed.
    pub fn call(
        &mut self,
        path: &str,
        headers: &HeaderMap,
        message: &[u8],
        gzip: bool,
        deadline: Instant,
    ) -> io::Result<Answer> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => runtime()?,
        };
        let open = self.open.take();
        let called: io::Result<_> = runtime.block_on(async {
            let open = match still_open(open).await {
                Some(open) => open,
                None => within(deadline, self.connect(deadline)).await?,
            };
            let mut request = request(&self.server.origin(), path, gzip)?;
            for (name, value) in headers {
                request.headers_mut().insert(name, value.clone());
            }
            let answer = exchange(open.send.clone(), request, body(message, gzip)?);
            // A connection that failed, or still owes a response, is not reused.
            Ok((within(deadline, answer).await?, open))
        });
        self.runtime = Some(runtime);
        let (answer, open) = called?;
        self.open = Some(open);
        Ok(answer)
    }

    async fn connect(&self, deadline: Instant) -> io::Result<Open> {
        let Server { host, port, tls } = &self.server;
        let mut last = io::Error::other("the name has no address");
        for address in (host.as_str(), *port).to_socket_addrs()? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let (stream, excluded) = match self.own.connect(address, left) {
                Ok(connected) => connected,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            stream.set_nonblocking(true)?;
            let stream = TcpStream::from_std(stream)?;
            let (send, connection) = match tls {
                true => handshake(encrypted(stream, host).await?).await?,
                false => handshake(stream).await?,
            };
            return Ok(Open { send, connection, _excluded: excluded });
        }
        Err(last)
    }
}

async fn encrypted(
    stream: TcpStream,
    host: &str,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_platform_verifier())
        .map_err(io::Error::other)?;
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Ok(stream),
        _ => Err(bad("a server without HTTP/2".to_owned())),
    }
}

/// The persistent connection, unless its peer has closed it.
async fn still_open(open: Option<Open>) -> Option<Open> {
    let mut open = open?;
    let ended = tokio::time::timeout(LOOK, &mut open.connection).await;
    ended.is_err().then_some(open)
}

#[cfg(test)]
mod tests;
