//! What a step of the framer yields: spans of bytes, and events between them.

use super::MethodKind;
#[cfg(doc)]
use super::{Phase, RequestQueue};

/// Kind of the bytes of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Start line, field lines, the blank line.
    Head,
    /// Body without chunk framing.
    Body,
    /// Chunk size lines and the line ends after chunks.
    ChunkFraming,
    /// Trailer fields and the blank line that ends a chunked body.
    Trailers,
    /// Bytes after a head of which it is unknown whether a body follows; the next event decides.
    Undecided,
    /// Blank lines between messages, and everything in an opaque or `Unsure` direction.
    Ignored,
}

/// How the length of a body is determined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Body {
    /// No body; the message ends with its head.
    None,
    /// This many bytes. With 0 the message ends with its head.
    Length(u64),
    /// Chunked (RFC 9112 §7.1).
    Chunked,
    /// Until the connection closes.
    Close,
    /// No body: the connection becomes a tunnel or switches to another protocol.
    Tunnel,
    /// The length is undeterminable (conflicting or invalid declarations): framing is lost.
    #[default]
    Unknown,
}

/// Kind of a completed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadFacts {
    Request {
        /// The part of its method that matters to framing.
        method: MethodKind,
    },
    Response {
        /// Its status code; 0 for `HTTP/1.x` with an invalid code, which makes no event.
        status: u16,
        /// The method of the request that it answers, if known ([`RequestQueue`]). If not, the
        /// bytes that follow decide whether there is a body; see [`Phase::Peek`].
        answers: Option<MethodKind>,
    },
}

/// What happened after the bytes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A head began `back` bytes ago: 0, or 12 after [`Phase::Peek`] found a status line (then the
    /// previous message had no body).
    HeadBegins {
        /// Bytes of the head that were already taken as [`Span::Undecided`].
        back: u8,
    },
    /// A head is complete. No [`Event::MessageEnds`] follows when the body is `None`, `Length(0)`,
    /// `Tunnel` or `Unknown`.
    HeadEnds {
        /// Kind of the head.
        head: HeadFacts,
        /// What follows.
        body: Body,
    },
    /// [`Phase::Peek`] found a body, which began `back` bytes ago.
    BodyBegins {
        /// Bytes of the body that were already taken as [`Span::Undecided`].
        back: u8,
    },
    /// A body (with its trailers) is complete.
    MessageEnds,
    /// The bytes taken since the head began are a PROXY protocol header, version 1 or 2, before the
    /// first message of the direction (HAProxy, The PROXY protocol, §2).
    Preface,
    /// The bytes are not HTTP/1.x where a start line was expected; the phase is now `Unsure`.
    NotHttp {
        /// Whether a message was framed in this direction before.
        after_messages: bool,
    },
    /// Framing was lost inside a message (invalid chunk size); the phase is now `Unsure`.
    Lost,
}

/// One step of the framer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes consumed.
    pub taken: u32,
    /// Kind of the bytes.
    pub span: Span,
    /// What happened after them.
    pub event: Option<Event>,
}

impl Step {
    /// A step that took bytes and yields no event.
    #[inline(always)]
    pub(super) const fn took(taken: u32, span: Span) -> Self {
        Step { taken, span, event: None }
    }
}
