//! *I/O*: unary gRPC calls over HTTP/2. Does not know what is called, and retries nothing.
//!
//! # Layout
//! - [`client`] calls a server over TCP or TLS, and keeps the connection.

pub mod client;

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinHandle;

/// Maximum size of a response, and of header fields, in bytes.
const LARGEST: usize = 1 << 20;
const LARGEST_HEADERS: u32 = 16 << 10;

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

/// Result of a call.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// One of [`code`], or another status.
    pub code: u32,
    /// Status message, percent-encoded.
    pub why: String,
    /// `google.rpc.Status`, base64-encoded.
    pub details: Option<String>,
    pub message: Bytes,
}

/// Calls `path` (`/package.Service/Method`) at a Unix socket, over a connection of its own.
///
/// # Errors
/// Those of the connection, `TimedOut` at the deadline, `InvalidData` if the response is not gRPC.
pub fn call(socket: &Path, path: &str, message: &[u8], deadline: Instant) -> io::Result<Answer> {
    runtime()?.block_on(within(deadline, async {
        let (send, _) = handshake(UnixStream::connect(socket).await?).await?;
        let request = request("http://localhost", path, false)?;
        exchange(send, request, body(message, false)?).await
    }))
}

fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}

/// The head of a request; `origin` is the scheme and authority of its URL.
fn request(origin: &str, path: &str, gzip: bool) -> io::Result<Request<()>> {
    let mut request = Request::post(format!("{origin}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", concat!("http-trace/", env!("CARGO_PKG_VERSION")));
    if gzip {
        request = request.header("grpc-encoding", "gzip");
    }
    request.body(()).map_err(io::Error::other)
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

async fn within<T>(deadline: Instant, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout_at(deadline.into(), what).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Adds the gRPC prefix of five bytes: compression flag and length.
fn body(message: &[u8], gzip: bool) -> io::Result<Bytes> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&[gzip.into()][..], &length.to_be_bytes(), message].concat().into())
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
            // Not an error of the connection: the call may have done what was asked.
            return Ok(Answer {
                code: code::INTERNAL,
                why: "an answer that is too large".to_owned(),
                ..Answer::default()
            });
        }
        received.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).map_err(io_error)?;
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
    Answer { code, why: format!("answered {status}"), ..Answer::default() }
}

fn io_error(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()),
        false => bad(error.to_string()),
    }
}

fn bad(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
