//! What a step of the framer yields: spans of bytes, and events between them.

use super::MethodKind;
#[cfg(doc)]
use super::{Phase, RequestQueue};

/// What the bytes of one step are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Span {
    /// Start line, field lines, the blank line.
    Head,
    /// Body, without chunk framing.
    Body,
    /// Chunk size lines and the line ends after chunks.
    ChunkFraming,
    /// Trailer fields and the blank line that ends a chunked body.
    Trailers,
    /// After a head whose body is in doubt; the event that follows decides.
    Undecided,
    /// Blank lines between messages, and everything while opaque or unsure.
    Ignored,
}

/// How the length of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// There is none; the message ends with its head.
    None,
    /// So many bytes. With 0 the message ends with its head.
    Length(u64),
    /// Chunked (RFC 9112 §7.1).
    Chunked,
    /// Until the connection closes.
    Close,
    /// None: the connection becomes a tunnel or another protocol.
    Tunnel,
    /// Its length cannot be told (conflicting or impossible declarations): framing is lost.
    Unknown,
}

/// What a completed head was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadFacts {
    /// A request.
    Request {
        /// What of its method matters to framing.
        method: MethodKind,
    },
    /// A response.
    Response {
        /// Its status code; 0 for `HTTP/1.x` with an impossible one, which is no event.
        status: u16,
        /// Whether the request it answers was known ([`RequestQueue`]); without it the body is
        /// decided by the bytes that follow, see [`Phase::Peek`].
        answers: Option<MethodKind>,
    },
}

/// What happened after the bytes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A head begins `back` bytes before here: 0, or 12 after [`Phase::Peek`] found a status line
    /// (then the message before it had no body).
    HeadBegins {
        /// Bytes of the head already taken, as [`Span::Undecided`].
        back: u8,
    },
    /// A head is complete. No [`Event::MessageEnds`] follows when the body is `None`, `Length(0)`,
    /// `Tunnel` or `Unknown`.
    HeadEnds {
        /// What it was.
        head: HeadFacts,
        /// What follows.
        body: Body,
    },
    /// After [`Phase::Peek`]: it is a body, which began `back` bytes before here.
    BodyBegins {
        /// Bytes of the body already taken, as [`Span::Undecided`].
        back: u8,
    },
    /// A body (with its trailers) is complete.
    MessageEnds,
    /// What was taken since the head began is a PROXY protocol header, version 1 or 2, before the
    /// direction's first message (HAProxy, The PROXY protocol, §2).
    Preface,
    /// Bytes that are no HTTP/1.x where a start line was due; the phase is now `Unsure`.
    NotHttp {
        /// Whether a message had been framed in this direction before.
        after_messages: bool,
    },
    /// Framing was lost inside a message (a chunk size that is none); the phase is now `Unsure`.
    Lost,
}

/// One step of the framer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes consumed.
    pub taken: u32,
    /// What they are.
    pub span: Span,
    /// What happened after them.
    pub event: Option<Event>,
}

impl Step {
    /// Bytes taken, and nothing happened.
    #[inline(always)]
    pub(super) const fn took(taken: u32, span: Span) -> Self {
        Step {
            taken,
            span,
            event: None,
        }
    }
}
