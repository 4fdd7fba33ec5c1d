//! *I/O*: a unary gRPC call over a Unix socket. Each connection serves one call, so only a few HTTP/2 frames
//! (RFC 9113) are needed: one stream, at most one window update, and no response header that must be
//! understood, hence no HPACK table. Does not know what is called.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest response that is read, in bytes.
const LARGEST: usize = 1 << 20;
/// Largest frame by default (RFC 9113 §4.2).
const LARGEST_FRAME: usize = 1 << 14;
/// Initial flow-control window (RFC 9113 §6.9.2).
const WINDOW: usize = (1 << 16) - 1;

/// Frame types (RFC 9113 §6).
mod frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
}

/// `END_STREAM`; `ACK` for settings and pings.
const END: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// Calls `path` (`/package.Service/Method`) with this message. `Ok(None)` is a response without a message:
/// the service returned an error.
///
/// # Errors
/// Those of the socket, `TimedOut` at the deadline, and `InvalidData` if the response is not gRPC.
pub fn call(
    socket: &Path,
    path: &str,
    message: &[u8],
    deadline: Instant,
) -> io::Result<Option<Vec<u8>>> {
    let stream = UnixStream::connect(socket)?;
    let mut call = Call { stream, deadline };
    call.send(&request(path, message))?;
    call.answer()
}

fn request(path: &str, message: &[u8]) -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    // The initial window of streams; the connection's window is updated separately.
    let window = u32::try_from(LARGEST).unwrap_or(u32::MAX);
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    put(&mut out, frame::SETTINGS, 0, 0, &settings);
    let more = window - u32::try_from(WINDOW).unwrap_or(0);
    put(&mut out, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
    // `:method: POST` and `:scheme: http` from the static table; the rest as literals without indexing (RFC
    // 7541 §6.1, §6.2.2).
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x04][..], path),
        (&[0x01], "localhost"),
        (&[0x0f, 0x10], "application/grpc"),
        (b"\x00\x02te", "trailers"),
    ] {
        head.extend_from_slice(name);
        // Lengths below 127 take one byte; no service path is longer.
        head.push(value.len().min(126) as u8);
        head.extend_from_slice(&value.as_bytes()[..value.len().min(126)]);
    }
    put(&mut out, frame::HEADERS, END_HEADERS, 1, &head);
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let body = [&[0][..], &length.to_be_bytes(), message].concat();
    put(&mut out, frame::DATA, END, 1, &body);
    out
}

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

struct Call {
    stream: UnixStream,
    deadline: Instant,
}

impl Call {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(left),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(bytes)
    }

    fn read(&mut self, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(into) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => into = &mut into[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn answer(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut body = Vec::new();
        loop {
            let mut head = [0; 9];
            self.read(&mut head)?;
            let [a, b, c, kind, flags, stream @ ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > LARGEST_FRAME {
                return Err(bad("a frame that is too large"));
            }
            let mut payload = vec![0; length];
            self.read(&mut payload)?;
            let is_ours = u32::from_be_bytes(stream) & 0x7fff_ffff == 1;
            match kind {
                frame::SETTINGS if flags & END == 0 => self.reply(frame::SETTINGS, &[])?,
                frame::PING if flags & END == 0 => self.reply(frame::PING, &payload)?,
                frame::RST_STREAM if is_ours => return Err(bad("a stream that was reset")),
                frame::GOAWAY => return Err(bad("a connection that was given up")),
                frame::DATA if is_ours => {
                    body.extend_from_slice(unpadded(&payload, flags)?);
                    if body.len() > LARGEST {
                        return Err(bad("an answer that is too large"));
                    }
                }
                _ => {}
            }
            let may_end = kind == frame::DATA || kind == frame::HEADERS;
            if is_ours && may_end && flags & END != 0 {
                return message(&body);
            }
        }
    }

    fn reply(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        put(&mut out, kind, END, 0, payload);
        self.send(&out)
    }
}

fn unpadded(payload: &[u8], flags: u8) -> io::Result<&[u8]> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let data = payload.split_first().and_then(|(padding, rest)| {
        let end = rest.len().checked_sub(usize::from(*padding))?;
        rest.get(..end)
    });
    data.ok_or_else(|| bad("padding beyond its frame"))
}

/// Removes the gRPC prefix: compression flag and length.
fn message(body: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let [compressed, a, b, c, d, message @ ..] = body else {
        return match body {
            [] => Ok(None),
            _ => Err(bad("a message that is cut")),
        };
    };
    let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
    match message.get(..length) {
        Some(message) if *compressed == 0 => Ok(Some(message.to_vec())),
        _ => Err(bad("a message that is cut or compressed")),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: no gRPC"))
}
