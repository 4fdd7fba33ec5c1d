//! A request that has no response yet, with the state that pairing needs. Decides nothing.

use http_trace_common::framer::{MethodKind, flag};
use http_trace_model::event::{NoResponse, oddity};
use http_trace_model::head::{LINE_COST, RequestHead};

use crate::origin::Origin;
use crate::protocol::exchange::{Exchange, Outcome, Request};

/// Value of [`Pending::ack`]: the request came with the client's SYN (RFC 7413), and the beginning of
/// the server's stream is not known.
pub(crate) const BEFORE_ALL: u64 = 0;

/// A request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub request: Box<Request>,
    pub kind: MethodKind,
    pub ordinal: u32,
    /// Its head was incomplete when its response came.
    pub begun: bool,
    /// Position after its head.
    pub head_end: u64,
    /// Position after its last byte, or as far as its body was seen.
    pub end: u64,
    /// Position up to which the client had acknowledged the server's bytes when it sent this.
    pub ack: u64,
    /// Its last byte can no longer be recognised.
    pub end_lost: bool,
    /// Requests may have been lost before this one.
    pub after_gap: bool,
    /// Everything requested before had been answered when this was sent, or was lost entirely.
    pub begins_batch: bool,
    /// The bytes before it are entirely unknown.
    pub first_known: bool,
    /// It was sent together with one whose answer is only assumed ([`super::order::Order::certain`]).
    pub assumed: bool,
    /// Its server may ignore its body, or that of one before it that was open when this was sent, and answer what the
    /// body looks like.
    pub is_body_optional: bool,
    /// Its request line is malformed ([`flag::MALFORMED_REQUEST`]).
    pub malformed: bool,
    /// Oddities of its head ([`flag`]).
    pub flags: u32,
    /// Other bytes came at the same place.
    pub differs: bool,
    /// Already reported as unanswered, or too uncertain for that.
    pub reported: bool,
    /// An event without a response was written for it.
    pub has_event: bool,
    /// An event has its 1xx responses.
    pub told: bool,
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
            request: Box::new(Request {
                head,
                start,
                start_ns: origin.time_ns,
                end_ns: None,
                body_bytes: 0,
                body_lost: false,
                head_cut: false,
                origin,
            }),
            kind,
            ordinal: 0,
            begun: false,
            head_end,
            end: head_end,
            ack: BEFORE_ALL,
            end_lost: false,
            after_gap: false,
            begins_batch: false,
            first_known: false,
            assumed: false,
            is_body_optional: false,
            malformed: false,
            flags: 0,
            differs: false,
            reported: false,
            has_event: false,
            told: false,
        }
    }

    /// Whether its last byte was not seen yet, and was not lost either.
    pub const fn is_unfinished(&self) -> bool {
        self.request.end_ns.is_none() && !self.end_lost
    }

    /// The exchange of a request that is unanswered since `since_ns` and may be answered later.
    pub fn unanswered_so_far(&mut self, why: NoResponse, since_ns: u64) -> Exchange {
        let exchange = self.clone().unanswered(why, since_ns);
        self.has_event = true;
        exchange
    }

    /// The exchange of a request that is unanswered since `since_ns`.
    pub fn unanswered(self, why: NoResponse, since_ns: u64) -> Exchange {
        let mut oddities = Vec::new();
        self.add_oddities(&mut oddities);
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

    pub fn add_oddities(&self, names: &mut Vec<&'static str>) {
        if self.malformed {
            names.push(oddity::MALFORMED_REQUEST);
        }
        names.extend(flag::named(self.flags, &oddity::OF_REQUESTS));
        if self.has_event {
            names.push(oddity::REPORTED_UNANSWERED);
        }
        if self.differs && !names.contains(&oddity::OVERLAP_DIFFERS) {
            names.push(oddity::OVERLAP_DIFFERS);
        }
    }

    /// Memory in use, in bytes.
    pub fn cost(&self) -> usize {
        let head = &self.request.head;
        size_of::<Pending>() + size_of::<Request>() + head_cost(head.wire_len, head.headers.len())
    }
}

/// Memory of a head, in bytes.
pub(super) fn head_cost(wire_len: u64, lines: usize) -> usize {
    wire_len.min(1 << 16) as usize + lines * LINE_COST
}
