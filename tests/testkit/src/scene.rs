//! A scene: what both ends of one connection send, in order, and what a correct tracer reports.
//!
//! The same scene becomes packets ([`crate::tcp`]), is played on real sockets (`play` of the tests) and is
//! recorded into captures, so that one table of expectations serves replay and live runs.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// One of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that opened the connection.
    Client,
    /// The end that accepted it.
    Server,
}

impl Side {
    /// The other end.
    pub const fn peer(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// 0 for the client, 1 for the server.
    pub const fn index(self) -> usize {
        match self {
            Side::Client => 0,
            Side::Server => 1,
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Writes the bytes at once.
    Send(Side, Cow<'static, [u8]>),
    /// Writes the bytes, one per segment.
    Trickle(Side, Cow<'static, [u8]>),
    /// A pause of both ends.
    Pause(Duration),
    /// Closes its sending direction (FIN).
    Close(Side),
    Reset(Side),
}

/// How a response's body ended, named as in `http_trace_model::event::BodyEnd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// There is no body.
    None,
    /// After Content-Length bytes.
    Length,
    /// With the last chunk and its trailers.
    Chunked,
    /// With the connection's orderly close.
    Close,
    /// By a reset, or a close before the declared length.
    Cut,
    /// The connection became a tunnel or another protocol.
    Tunnel,
    /// It did not: the stream was still open at the end of the scene.
    Open,
}

/// One response as it was on the wire, with the request it answers.
#[derive(Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Method and target of the request; `None` if the response answers none (408).
    pub request: Option<(Vec<u8>, Vec<u8>)>,
    /// Status codes of the 1xx heads before the final one, in order.
    pub informational: Vec<u16>,
    /// The digit after `HTTP/1.` of the final response.
    pub minor_version: u8,
    /// Final status code.
    pub status: u16,
    /// Reason phrase as sent.
    pub reason: Vec<u8>,
    /// Field lines of the final response: names as sent, values without surrounding whitespace.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Body bytes on the wire, without chunk framing; `None` if the scene does not say.
    pub body_bytes: Option<u64>,
    /// How the body ended.
    pub end: End,
    /// Flags that the event must carry (it may carry others).
    pub flags: Vec<&'static str>,
}

/// The script of a connection, and the truth about it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Unique among the scenes of a table; also the stem of its capture's file name.
    pub name: &'static str,
    pub steps: Vec<Step>,
    /// Every response, in order.
    pub truth: Vec<Transaction>,
}

/// Bytes as a failing test prints them.
struct Shown<'a>(&'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_at_checked(600) {
            Some((start, rest)) => {
                write!(f, "\"{}\"… and {} bytes", start.escape_ascii(), rest.len())
            }
            None => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Send(side, bytes) => write!(f, "{side:?} sends {:?}", Shown(bytes)),
            Step::Trickle(side, bytes) => write!(f, "{side:?} trickles {:?}", Shown(bytes)),
            Step::Pause(time) => write!(f, "Pause {time:?}"),
            Step::Close(side) => write!(f, "{side:?} closes"),
            Step::Reset(side) => write!(f, "{side:?} resets"),
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.request.as_ref().map(|(m, t)| (Shown(m), Shown(t)));
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (Shown(n), Shown(v))).collect();
        let status = (self.minor_version, self.status, Shown(&self.reason));
        write!(f, "{request:?} {:?} {status:?} {headers:?} ", self.informational)?;
        write!(f, "{:?} {:?} {:?}", self.body_bytes, self.end, self.flags)
    }
}

impl Transaction {
    /// A response to `method target` with this status line, no headers yet.
    pub fn new(method: &str, target: &str, status: u16, reason: &str) -> Self {
        Transaction {
            request: Some((method.into(), target.into())),
            informational: Vec::new(),
            minor_version: 1,
            status,
            reason: reason.into(),
            headers: Vec::new(),
            body_bytes: None,
            end: End::Length,
            flags: Vec::new(),
        }
    }

    /// Adds a field line.
    pub fn header(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the 1xx heads before the final one.
    pub fn after(mut self, informational: &[u16]) -> Self {
        self.informational = informational.to_vec();
        self
    }

    /// Sets the body's length and its end.
    pub fn body(mut self, bytes: u64, end: End) -> Self {
        self.body_bytes = Some(bytes);
        self.end = end;
        self
    }

    /// Adds a flag the event must carry.
    pub fn flag(mut self, flag: &'static str) -> Self {
        self.flags.push(flag);
        self
    }

    /// Marks the response as answering no request.
    pub fn unsolicited(mut self) -> Self {
        self.request = None;
        self
    }

    /// Sets the minor version of the status line.
    pub fn minor(mut self, minor_version: u8) -> Self {
        self.minor_version = minor_version;
        self
    }
}

impl Step {
    /// The client writes `bytes` at once.
    pub fn client(bytes: impl Into<Cow<'static, [u8]>>) -> Step {
        Step::Send(Side::Client, bytes.into())
    }

    /// The server writes `bytes` at once.
    pub fn server(bytes: impl Into<Cow<'static, [u8]>>) -> Step {
        Step::Send(Side::Server, bytes.into())
    }
}

impl Scene {
    /// All bytes that `side` sends, in order.
    pub fn stream(&self, side: Side) -> Vec<u8> {
        let mut out = Vec::new();
        for step in &self.steps {
            if let Step::Send(s, bytes) | Step::Trickle(s, bytes) = step
                && *s == side
            {
                out.extend_from_slice(bytes);
            }
        }
        out
    }
}
