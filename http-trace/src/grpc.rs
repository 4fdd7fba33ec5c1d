//! *I/O*: unary gRPC calls, one at a time, over a persistent HTTP/2 connection. Its connections are excluded
//! from tracing. Does not know what is called, and retries nothing.

use std::future::Future;
use std::io;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, Response, StatusCode};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, crypto::ring};

use crate::own_sockets::{Excluded, OwnSockets};

/// Maximum size of a response, and of header fields, in bytes.
const LARGEST: usize = 64 << 10;
const LARGEST_HEADERS: u32 = 16 << 10;
/// How long an idle connection is polled before use, to handle a close or a ping by its peer.
const LOOK: Duration = Duration::from_millis(1);

/// gRPC status codes (github.com/grpc/grpc, doc/statuscodes.md).
pub mod code {
    pub const OK: u32 = 0;
    pub const CANCELLED: u32 = 1;
    pub const UNKNOWN: u32 = 2;
    pub const DEADLINE_EXCEEDED: u32 = 4;
    pub const PERMISSION_DENIED: u32 = 7;
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    pub const ABORTED: u32 = 10;
    pub const OUT_OF_RANGE: u32 = 11;
    pub const UNIMPLEMENTED: u32 = 12;
    pub const INTERNAL: u32 = 13;
    pub const UNAVAILABLE: u32 = 14;
    pub const DATA_LOSS: u32 = 15;
    pub const UNAUTHENTICATED: u32 = 16;
}

/// The server to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether to use TLS.
    pub tls: bool,
}

impl Server {
    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// Result of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// One of [`code`], or another status.
    pub code: u32,
    /// Status message, percent-encoded.
    pub why: String,
    /// `google.rpc.Status`, base64-encoded.
    pub details: Option<String>,
    /// Response message.
    pub message: Bytes,
}

/// A client of one server.
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
        Client {
            server,
            own,
            runtime: None,
            open: None,
        }
    }

    /// Calls `path` (`/package.Service/Method`) with these header fields and this message; `gzip` means that
    /// the message is already compressed.
    ///
    /// # Errors
    /// Those of the connection, `TimedOut` at the deadline, `InvalidData` if the response is not gRPC.
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
            None => runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        };
        let open = self.open.take();
        let called: io::Result<_> = runtime.block_on(async {
            let open = match still_open(open).await {
                Some(open) => open,
                None => within(deadline, self.connect(deadline)).await?,
            };
            let request = self.request(path, headers, gzip)?;
            let answer = exchange(open.send.clone(), request, body(message, gzip)?);
            // A connection that failed, or still owes a response, is not reused.
            Ok((within(deadline, answer).await?, open))
        });
        self.runtime = Some(runtime);
        let (answer, open) = called?;
        self.open = Some(open);
        Ok(answer)
    }

    fn request(&self, path: &str, headers: &HeaderMap, gzip: bool) -> io::Result<Request<()>> {
        let scheme = if self.server.tls { "https" } else { "http" };
        let mut request = Request::post(format!("{scheme}://{}{path}", self.server.authority()))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header(
                "user-agent",
                concat!("http-trace/", env!("CARGO_PKG_VERSION")),
            );
        if gzip {
            request = request.header("grpc-encoding", "gzip");
        }
        let mut request = request.body(()).map_err(io::Error::other)?;
        for (name, value) in headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
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
            stream.set_nodelay(true)?;
            let stream = TcpStream::from_std(stream)?;
            let (send, connection) = match tls {
                true => handshake(encrypted(stream, host).await?).await?,
                false => handshake(stream).await?,
            };
            return Ok(Open {
                send,
                connection,
                _excluded: excluded,
            });
        }
        Err(last)
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> io::Result<(SendRequest<Bytes>, JoinHandle<()>)> {
    let (send, connection) = Builder::new()
        .max_header_list_size(LARGEST_HEADERS)
        .enable_push(false)
        .handshake(stream)
        .await
        .map_err(io_error)?;
    // The call that fails reports why the connection ended.
    let connection = tokio::spawn(async move { drop(connection.await) });
    Ok((send, connection))
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
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Ok(stream),
        _ => Err(bad("a server without HTTP/2".to_owned())),
    }
}

async fn within<T>(deadline: Instant, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout_at(deadline.into(), what).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The persistent connection, unless its peer has closed it.
async fn still_open(open: Option<Open>) -> Option<Open> {
    let mut open = open?;
    let ended = tokio::time::timeout(LOOK, &mut open.connection).await;
    ended.is_err().then_some(open)
}

/// Adds the gRPC prefix of five bytes: compression flag and length.
fn body(message: &[u8], gzip: bool) -> io::Result<Bytes> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&[gzip.into()][..], &length.to_be_bytes(), message]
        .concat()
        .into())
}

async fn exchange(
    send: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> io::Result<Answer> {
    let mut send = send.ready().await.map_err(io_error)?;
    let (response, mut stream) = send.send_request(request, false).map_err(io_error)?;
    stream.send_data(body, true).map_err(io_error)?;
    let (head, mut body) = response.await.map_err(io_error)?.into_parts();
    let head = Response::from_parts(head, ());
    if head.status() != StatusCode::OK {
        return Ok(of_http(head.status()));
    }
    if head.headers().contains_key("grpc-status") {
        return Ok(answer(head.headers(), &[]));
    }
    let mut received = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(io_error)?;
        if received.len() + data.len() > LARGEST {
            return Err(bad("an answer that is too large".to_owned()));
        }
        received.extend_from_slice(&data);
        body.flow_control()
            .release_capacity(data.len())
            .map_err(io_error)?;
    }
    let trailers = body.trailers().await.map_err(io_error)?;
    Ok(answer(&trailers.unwrap_or_default(), &received))
}

/// Parses the trailers. Without a status the call has failed.
fn answer(fields: &HeaderMap, received: &[u8]) -> Answer {
    let text = |name| Some(fields.get(name)?.to_str().ok()?.to_owned());
    let status = text("grpc-status").and_then(|status| status.parse().ok());
    // A call has one message. Compression was not offered, and a truncated message is invalid.
    let message = match received {
        [0, a, b, c, d, rest @ ..] => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            (rest.len() == length).then_some(rest)
        }
        _ => None,
    };
    let (code, unsaid) = match status {
        Some(code::OK) if message.is_none() => (code::INTERNAL, "OK without one whole message"),
        Some(code) => (code, ""),
        None => (code::UNKNOWN, "no status: no gRPC"),
    };
    Answer {
        code,
        why: text("grpc-message").unwrap_or_else(|| unsaid.to_owned()),
        details: text("grpc-status-details-bin"),
        message: Bytes::copy_from_slice(message.unwrap_or_default()),
    }
}

/// Maps HTTP statuses other than 200 (github.com/grpc/grpc, doc/http-grpc-status-mapping.md).
fn of_http(status: StatusCode) -> Answer {
    let code = match status.as_u16() {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502..=504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    };
    Answer {
        code,
        why: format!("answered {status}"),
        ..Answer::default()
    }
}

fn io_error(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
        false => bad(error.to_string()),
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
