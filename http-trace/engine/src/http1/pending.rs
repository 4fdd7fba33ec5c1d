//! A request that has no response yet, with the state that pairing needs. Decides nothing.

use http_trace_common::framer::MethodKind;
use http_trace_model::event::{NoResponse, oddity};
use http_trace_model::head::{LINE_COST, RequestHead};

use crate::origin::Origin;
use crate::protocol::exchange::{Exchange, Outcome, Request};

/// In [`Pending::ack`]: it came with the client's SYN (RFC 7413), and where the server's bytes begin
/// is not known.
pub(crate) const BEFORE_ALL: u64 = 0;

/// A request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub request: Request,
    pub kind: MethodKind,
    pub ordinal: u32,
    /// Position after its head.
    pub head_end: u64,
    /// Position after its last byte, or after its head while the body goes on.
    pub end: u64,
    /// Up to where the client had acknowledged the server's bytes when it sent this.
    pub ack: u64,
    /// Its last byte cannot be recognised any more.
    pub end_lost: bool,
    /// Requests may have been lost before this one.
    pub after_gap: bool,
    /// All that was asked before had been answered when this was sent, or was lost as a whole.
    pub begins_batch: bool,
    /// The bytes before it are not known at all.
    pub first_known: bool,
    /// Its request line is none to the letter ([`super::decode::MALFORMED_REQUEST`]).
    pub malformed: bool,
    /// Reported as unanswered already.
    pub reported: bool,
}

impl Pending {
    /// A request whose head begins at `start` and was seen up to `head_end`.
    pub fn new(
        head: RequestHead,
        kind: MethodKind,
        start: u64,
        head_end: u64,
        origin: Origin,
    ) -> Self {
        Pending {
            request: Request {
                head,
                start,
                start_ns: origin.time_ns,
                end_ns: None,
                body_bytes: 0,
                origin,
            },
            kind,
            ordinal: 0,
            head_end,
            end: head_end,
            ack: BEFORE_ALL,
            end_lost: false,
            after_gap: false,
            begins_batch: false,
            first_known: false,
            malformed: false,
            reported: false,
        }
    }

    /// Its last byte was not seen, and was not lost either.
    pub const fn is_unfinished(&self) -> bool {
        self.request.end_ns.is_none() && !self.end_lost
    }

    /// Nothing answers it since `since_ns`.
    pub fn unanswered(self, why: NoResponse, since_ns: u64) -> Exchange {
        let mut oddities = Vec::new();
        if self.malformed {
            oddities.push(oddity::MALFORMED_REQUEST);
        }
        if self.is_unfinished() {
            oddities.push(oddity::REQUEST_UNFINISHED);
        }
        Exchange {
            ordinal: self.ordinal,
            request: Some(self.request),
            informational: Vec::new(),
            response: None,
            outcome: Outcome::Unanswered(why, since_ns),
            oddities,
        }
    }

    /// Memory in use, in bytes.
    pub fn cost(&self) -> usize {
        let head = &self.request.head;
        size_of::<Pending>() + head_cost(head.wire_len, head.headers.len())
    }
}

/// Memory of a head, in bytes.
pub(super) fn head_cost(wire_len: u64, lines: usize) -> usize {
    wire_len.min(1 << 16) as usize + lines * LINE_COST
}
