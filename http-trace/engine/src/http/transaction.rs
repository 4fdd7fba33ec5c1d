//! Requests and responses of one connection, and which belongs to which.
//!
//! Pairing is by order (RFC 9112 §9.3.2). Where something of a direction was lost the order is in
//! doubt, and then a response gets a request only if the sequence and acknowledgement numbers leave
//! no other: rather a response without its request than one with another's.

use std::collections::VecDeque;

use http_trace_common::framer::{Body, MethodKind};

use super::body::Start;
use super::order::Order;
use crate::flow::Origin;
use http_trace_model::head::{RequestHead, ResponseHead};

/// Requests that may wait for their response on one connection; more lose their order.
const MAX_WAITING: usize = 1024;

/// In [`Request::ack`]: it came with the client's SYN (RFC 7413), and where the server's bytes begin
/// is not known.
pub(crate) const BEFORE_ALL: u64 = 0;

/// A request as it goes by.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub head: RequestHead,
    pub kind: MethodKind,
    pub ordinal: u32,
    /// Position of its first byte.
    pub start: u64,
    /// Position after its head.
    pub head_end: u64,
    /// Position after its last byte, or after its head while the body goes on.
    pub end: u64,
    /// Up to where the client had acknowledged the server's bytes when it sent this.
    pub ack: u64,
    pub start_ns: u64,
    /// Time of its last byte, once seen.
    pub end_ns: Option<u64>,
    /// Its last byte will not be known for what it is.
    pub end_lost: bool,
    pub body_bytes: u64,
    /// Requests may have been lost before this one.
    pub after_gap: bool,
    /// All that was asked before had been answered when this was sent, or was lost as a whole.
    pub begins_batch: bool,
    /// What came before it is not known at all.
    pub first_known: bool,
    /// Its request line is none to the letter ([`super::decode::MALFORMED_REQUEST`]).
    pub malformed: bool,
    /// Reported as unanswered already.
    pub reported: bool,
    /// Where its head was seen.
    pub origin: Origin,
}

impl Request {
    /// A request whose head begins at `start` and was seen up to `head_end`.
    pub fn new(
        head: RequestHead,
        kind: MethodKind,
        start: u64,
        head_end: u64,
        origin: Origin,
    ) -> Self {
        Request {
            head,
            kind,
            ordinal: 0,
            start,
            head_end,
            end: head_end,
            ack: BEFORE_ALL,
            start_ns: origin.time_ns,
            end_ns: None,
            end_lost: false,
            body_bytes: 0,
            after_gap: false,
            begins_batch: false,
            first_known: false,
            malformed: false,
            reported: false,
            origin,
        }
    }
}

/// A final response as it goes by.
#[derive(Debug)]
pub(crate) struct Response {
    pub head: ResponseHead,
    pub origin: Origin,
    pub interfaces: [u32; 4],
    /// Position of its first byte.
    pub start: u64,
    pub head_end_ns: u64,
    pub last_ns: u64,
    pub body_bytes: u64,
    /// The first bytes of the body, as far as they are wanted.
    pub snippet: Start,
    /// Chunk framing and trailers.
    pub framing_bytes: u64,
    /// The framer's flags, at the head's end.
    pub flags: u32,
    /// How the head says that its body ends.
    pub body: Body,
    /// Names of what the framer does not know.
    pub oddities: Vec<&'static str>,
    pub copies: u32,
    /// Part of the head was not seen.
    pub head_cut: bool,
}

impl Response {
    /// One whose head begins at `start`, of which no body has come.
    pub fn new(head: ResponseHead, origin: Origin, start: u64, flags: u32, body: Body) -> Self {
        Response {
            head,
            interfaces: origin.interfaces,
            origin,
            start,
            head_end_ns: 0,
            last_ns: 0,
            body_bytes: 0,
            snippet: Start::default(),
            framing_bytes: 0,
            flags,
            body,
            oddities: Vec::new(),
            copies: 0,
            head_cut: false,
        }
    }
}

/// A request and what answers it, from the first head of the answer on.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub ordinal: u32,
    pub request: Option<Request>,
    pub informational: Vec<(ResponseHead, Origin)>,
    /// The framer's flags of those.
    pub flags: u32,
    pub response: Option<Response>,
    /// The event was written before the end.
    pub emitted: bool,
    /// The request was found by numbers, the order being in doubt.
    pub by_numbers: bool,
    /// That it is this request is only assumed: see [`Order::certain`].
    pub assumed: bool,
    /// It answers the first of those that wait, or a later one: once it is final, the first is over.
    pub ends_front: bool,
}

impl Exchange {
    /// One of which nothing but its request is known, if that.
    const fn new(ordinal: u32, request: Option<Request>) -> Self {
        Exchange {
            ordinal,
            request,
            informational: Vec::new(),
            flags: 0,
            response: None,
            emitted: false,
            by_numbers: false,
            assumed: false,
            ends_front: false,
        }
    }
}

/// The connection's exchanges in flight.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    /// Requests without an answer, oldest first.
    pub waiting: VecDeque<Request>,
    /// The exchange whose answer has begun.
    pub current: Option<Exchange>,
    pub order: Order,
    /// Responses may have been lost since the last one that was matched.
    pub responses_lost: bool,
    /// Bytes held, in heads.
    pub held: usize,
    /// Requests that were dropped because their response was not seen.
    pub unmatched: u64,
    /// Final responses since the last request.
    finals: u8,
}

impl Exchanges {
    /// Nothing in flight.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    /// A request's head is complete; `server_next` is how far the server's bytes were seen. Its
    /// ordinal.
    pub fn push(&mut self, mut request: Request, server_next: u64) -> u32 {
        self.order.ordinal = self.order.ordinal.saturating_add(1);
        let ordinal = self.order.ordinal;
        request.ordinal = ordinal;
        if self.waiting.front().is_some_and(|front| front.after_gap) {
            let one = self.finals == 1 && request.ack == server_next;
            self.order.alternates(one);
        }
        self.finals = 0;
        let open = self
            .current
            .as_ref()
            .is_some_and(|current| current.response.is_some() || current.emitted);
        let lossy = self.responses_lost;
        self.order
            .request(&mut request, &self.waiting, open, lossy, server_next);
        if self.waiting.len() >= MAX_WAITING {
            self.drop_front();
            if let Some(front) = self.waiting.front_mut() {
                front.after_gap = true;
            }
        }
        self.held += request_cost(&request.head);
        self.waiting.push_back(request);
        ordinal
    }

    /// The server's stream begins at `first`.
    pub fn server_begins(&mut self, first: u64) {
        let early = self.waiting.iter_mut().filter(|r| r.ack == BEFORE_ALL);
        early.for_each(|request| request.ack = first);
    }

    fn drop_front(&mut self) -> Option<Request> {
        let request = self.waiting.pop_front()?;
        self.held = self.held.saturating_sub(request_cost(&request.head));
        self.unmatched += 1;
        Some(request)
    }

    /// Whether a response that acknowledges `ack` began before its sender had any of the request
    /// whose turn it is, if that turn rests on an assumption: it does not answer that one. (Where it
    /// rests on nothing that was lost, the client takes it for the answer, forged as it may be.)
    pub fn is_too_early(&self, ack: Option<u64>) -> bool {
        let free = self.current.is_none() && self.order.rests_on_assumption();
        let next = self.waiting.front().filter(|_| free);
        next.zip(ack).is_some_and(|(next, ack)| ack <= next.start)
    }

    /// A response begins that [`Exchanges::is_too_early`]: it answers what was not seen, or what came
    /// before it answered that.
    pub fn answer_early(&mut self) {
        if let Some(next) = self.waiting.front_mut() {
            next.after_gap = true;
        }
        self.begin_orphan();
    }

    /// A response's first head begins at `start` in a segment that acknowledged `ack` of the
    /// client's bytes: makes the exchange that it belongs to the current one. Whether the order
    /// is known again after it was not; the framer's queue is then to be built anew.
    pub fn answer(&mut self, start: u64, ack: Option<u64>) -> bool {
        if self.current.is_some() {
            return false;
        }
        let doubt =
            self.responses_lost || self.waiting.front().is_some_and(|front| front.after_gap);
        if !doubt {
            self.begin();
            return false;
        }
        match ack.and_then(|ack| self.order.certain(&self.waiting, start, ack)) {
            Some((index, assumed)) => {
                for _ in 0..index {
                    self.drop_front();
                }
                self.responses_lost = false;
                if assumed {
                    self.order.assume();
                }
                if let Some(front) = self.waiting.front_mut() {
                    front.after_gap = false;
                }
                self.begin();
                if let Some(current) = &mut self.current {
                    current.by_numbers = true;
                    current.assumed = assumed;
                }
                true
            }
            None => {
                let front = self.waiting.front().filter(|front| !front.after_gap);
                let over = front.is_some_and(|front| ack.is_none_or(|ack| front.head_end <= ack));
                self.begin_orphan();
                if let Some(current) = &mut self.current {
                    current.ends_front = over;
                }
                false
            }
        }
    }

    fn begin(&mut self) {
        match self.waiting.pop_front() {
            Some(request) => {
                self.current = Some(Exchange::new(request.ordinal, Some(request)));
            }
            None => self.begin_orphan(),
        }
    }

    fn begin_orphan(&mut self) {
        self.order.ordinal = self.order.ordinal.saturating_add(1);
        self.current = Some(Exchange::new(self.order.ordinal, None));
    }

    /// The current response takes no request after all: its request waits on.
    pub fn unanswer(&mut self) {
        if let Some(current) = &mut self.current
            && let Some(request) = current.request.take()
        {
            self.order.ordinal = self.order.ordinal.saturating_add(1);
            current.ordinal = self.order.ordinal;
            self.responses_lost |= current.by_numbers;
            let assumed = std::mem::take(&mut current.assumed);
            self.wait_on(request, assumed);
        }
    }

    /// The answer to the current exchange may have been lost after its 1xx heads: what is known of
    /// it, for an event; its request waits on.
    pub fn take_unfinished(&mut self) -> Option<Exchange> {
        if self
            .current
            .as_ref()
            .is_none_or(|c| c.response.is_some() || c.emitted)
        {
            return None;
        }
        let exchange = self.take_current()?;
        if let Some(request) = &exchange.request {
            self.held += request_cost(&request.head);
            self.wait_on(request.clone(), exchange.assumed);
        }
        Some(exchange)
    }

    /// A request had begun to be answered, and is not; what was only `assumed` of it is not known.
    fn wait_on(&mut self, mut request: Request, assumed: bool) {
        request.after_gap |= assumed;
        self.waiting.push_front(request);
    }

    /// A final response's head went by.
    pub fn count_final(&mut self) {
        let current = self.current.as_mut();
        if current.is_some_and(|current| std::mem::take(&mut current.ends_front)) {
            self.drop_front();
        }
        self.finals = self.finals.saturating_add(1);
    }

    /// A response's head came into memory.
    pub fn hold_response(&mut self, head: &ResponseHead) {
        self.held += response_cost(head);
    }

    /// Takes the current exchange out.
    pub fn take_current(&mut self) -> Option<Exchange> {
        let exchange = self.current.take()?;
        self.release(&exchange);
        Some(exchange)
    }

    /// Takes what the current exchange holds for its event; what is left only follows the message.
    pub fn take_for_early_event(&mut self) -> Option<Exchange> {
        let current = self.current.as_mut()?;
        if current.emitted {
            return None;
        }
        let rest = Exchange {
            emitted: true,
            by_numbers: current.by_numbers,
            ..Exchange::new(current.ordinal, None)
        };
        let exchange = std::mem::replace(current, rest);
        self.release(&exchange);
        Some(exchange)
    }

    fn release(&mut self, exchange: &Exchange) {
        let mut held = 0;
        if let Some(request) = &exchange.request {
            held += request_cost(&request.head);
        }
        if let Some(response) = &exchange.response {
            held += response_cost(&response.head);
        }
        held += exchange
            .informational
            .iter()
            .map(|(head, _)| response_cost(head))
            .sum::<usize>();
        self.held = self.held.saturating_sub(held);
    }

    /// The response at hand.
    pub fn response_mut(&mut self) -> Option<&mut Response> {
        self.current.as_mut()?.response.as_mut()
    }

    /// Bytes held of the body at hand.
    pub fn snippet_bytes(&self) -> usize {
        let response = self.current.as_ref().and_then(|c| c.response.as_ref());
        response.map_or(0, |response| response.snippet.held())
    }

    /// The request with this ordinal, wherever it is.
    pub fn request_mut(&mut self, ordinal: u32) -> Option<&mut Request> {
        if let Some(request) = self
            .current
            .as_mut()
            .and_then(|current| current.request.as_mut())
            && request.ordinal == ordinal
        {
            return Some(request);
        }
        self.waiting
            .back_mut()
            .filter(|request| request.ordinal == ordinal)
    }

    /// The current response makes the connection a tunnel: what its client sent after the request
    /// was the tunnel's, whatever it looked like (RFC 9110 §9.3.6, §7.8). Where it is not certain
    /// which request that is, those that wait may be it.
    pub fn tunnel_begins(&mut self) {
        let known = self.current.as_ref().is_some_and(|c| c.request.is_some());
        if !known || self.responses_lost {
            return;
        }
        for request in self.waiting.drain(..) {
            self.held = self.held.saturating_sub(request_cost(&request.head));
        }
    }

    /// Takes all waiting requests out, with whether each is certainly without an answer. What
    /// follows CONNECT may be the tunnel's, for all that is known without its answer.
    pub fn drain_waiting(&mut self) -> Vec<(Request, bool)> {
        let mut certain = !self.responses_lost;
        let mut out = Vec::with_capacity(self.waiting.len());
        while let Some(request) = self.waiting.pop_front() {
            self.held = self.held.saturating_sub(request_cost(&request.head));
            certain &= !request.after_gap;
            let connects = request.kind == MethodKind::Connect;
            out.push((request, certain));
            certain &= !connects;
        }
        out
    }
}

/// What a header costs in memory beside the head's bytes.
const HEADER_COST: usize = http_trace_model::head::LINE_COST;

fn request_cost(head: &RequestHead) -> usize {
    size_of::<Request>() + head.wire_len.min(1 << 16) as usize + head.headers.len() * HEADER_COST
}

fn response_cost(head: &ResponseHead) -> usize {
    size_of::<Response>() + head.wire_len.min(1 << 16) as usize + head.headers.len() * HEADER_COST
}
