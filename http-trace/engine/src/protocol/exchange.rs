//! The result of a protocol: a request, its responses, and how they ended. Must not hold state that only
//! pairing needs.

use http_trace_model::event::{BodyEnd, NoResponse};
use http_trace_model::head::{RequestHead, ResponseHead};

use super::body::BodyStart;
use crate::origin::Origin;

/// How far an exchange was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// To the response's end.
    Ended(BodyEnd),
    /// The response continues after the time limit of its event.
    StillOpen,
    /// The response's end was not awaited.
    Open,
    /// The response's end is unknown: bytes that framing needs are missing.
    Lost,
    /// Informational responses came and no final one.
    Informational,
    /// No response came, and none is awaited since this time (Unix ns).
    Unanswered(NoResponse, u64),
}

/// A request and its responses.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Number within the connection.
    pub ordinal: u32,
    pub request: Option<Box<Request>>,
    pub informational: Vec<(ResponseHead, Origin)>,
    pub response: Option<Box<Response>>,
    pub outcome: Outcome,
    /// Names of oddities, in any order.
    pub oddities: Vec<&'static str>,
}

/// A request, updated while its body passes.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub head: RequestHead,
    /// Position of its first byte.
    pub start: u64,
    pub start_ns: u64,
    /// Time of its last byte, once seen.
    pub end_ns: Option<u64>,
    pub body_bytes: u64,
    /// The framing of its body was lost: there may be more.
    pub body_lost: bool,
    /// Its head exceeded the limit of what is kept of one.
    pub head_cut: bool,
    /// Where its head was seen.
    pub origin: Origin,
}

/// A final response, updated while its body passes.
#[derive(Debug)]
pub(crate) struct Response {
    pub head: ResponseHead,
    pub origin: Origin,
    pub interfaces: [u32; 4],
    /// Position of its first byte.
    pub start: u64,
    pub head_end_ns: u64,
    pub last_ns: u64,
    /// Its last byte is among bytes that were not seen.
    pub end_unseen: bool,
    pub body_bytes: u64,
    /// The first bytes of the body, as far as wanted.
    pub snippet: BodyStart,
    /// Bytes that are neither head nor body, such as chunk framing and trailers.
    pub framing_bytes: u64,
    pub copies: u32,
    /// Part of the head was not seen.
    pub head_cut: bool,
}

impl Response {
    /// A response whose head begins at `start`, before any of its body.
    pub fn new(head: ResponseHead, origin: Origin, start: u64) -> Self {
        Response {
            head,
            interfaces: origin.interfaces,
            origin,
            start,
            head_end_ns: 0,
            last_ns: 0,
            end_unseen: false,
            body_bytes: 0,
            snippet: BodyStart::default(),
            framing_bytes: 0,
            copies: 0,
            head_cut: false,
        }
    }

    /// Its bytes so far.
    pub fn wire_len(&self) -> u64 {
        self.head.wire_len + self.body_bytes + self.framing_bytes
    }

    /// Counts copies of bytes before `end` if they belong to this response.
    pub fn copied(&mut self, end: u64, count: u32, origin: &Origin) {
        if end <= self.start {
            return;
        }
        // The same bytes on the other side of a translation were sent only once.
        if self.origin.path == origin.path {
            self.copies = self.copies.saturating_add(count);
        }
        for &index in origin.interfaces.iter().filter(|&&index| index != 0) {
            if !self.interfaces.contains(&index)
                && let Some(free) = self.interfaces.iter_mut().find(|slot| **slot == 0)
            {
                *free = index;
            }
        }
    }
}
