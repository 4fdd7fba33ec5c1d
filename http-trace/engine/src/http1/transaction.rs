//! Requests and responses of one connection, and which belongs to which.
//!
//! Pairing is by order (RFC 9112 §9.3.2). If part of a direction was lost, the order is in doubt, and a
//! response gets a request only if the sequence and acknowledgement numbers leave no other: a response
//! without its request is better than one with the wrong request.

use std::collections::VecDeque;
use std::ops::Range;

use http_trace_common::framer::{Body, MethodKind, flag};
use http_trace_model::event::{BodyEnd, oddity};
use http_trace_model::head::ResponseHead;

use super::order::Order;
use super::pauses::Pauses;
use super::pending::{BEFORE_ALL, Pending, head_cost};
use crate::origin::Origin;
use crate::protocol::exchange::{Exchange, Outcome, Response};

/// Limit of requests that wait for a response on one connection; beyond it the order is lost. Their memory counts as that
/// of the connection.
const MAX_WAITING: usize = 1 << 14;

/// A request and its responses, once the first response head has begun.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub ordinal: u32,
    pub pending: Option<Pending>,
    pub informational: Vec<(ResponseHead, Origin)>,
    /// Bits of [`flag`] of all its responses.
    pub flags: u32,
    pub response: Option<Box<Response>>,
    /// How its body ends, as declared by the response's head.
    pub body: Body,
    /// Names of oddities, without those of `flags`.
    pub oddities: Vec<&'static str>,
    /// Its event was written before its end.
    pub emitted: bool,
    /// The request was found by sequence numbers because the order was in doubt.
    pub by_numbers: bool,
    /// The pairing is only assumed: see [`Order::certain`].
    pub assumed: bool,
    /// It answers the first waiting request, or a later one: once it is final, the first is done.
    pub ends_front: bool,
    /// It answers a request that a close had ended ([`Order::owes`]).
    pub owed: bool,
}

impl Transaction {
    /// Whether no request with a complete head is known that it answers.
    pub fn is_open(&self) -> bool {
        self.pending.as_ref().is_none_or(|pending| pending.begun)
    }

    /// The exchange to yield.
    pub fn into_exchange(mut self, outcome: Outcome) -> Exchange {
        let kind = self.pending.as_ref().map(|pending| pending.kind);
        let body_bytes = self.response.as_ref().map_or(0, |r| r.body_bytes);
        let outcome = match outcome {
            // The head was framed without knowing that HEAD was requested (RFC 9112 §6.3, item 1).
            Outcome::Ended(BodyEnd::Length | BodyEnd::Close)
                if kind == Some(MethodKind::Head) && body_bytes == 0 =>
            {
                Outcome::Ended(BodyEnd::None)
            }
            outcome => outcome,
        };
        if self.assumed && outcome != Outcome::Informational {
            self.oddities.push(oddity::REQUEST_ASSUMED);
        }
        if let Some(pending) = &self.pending {
            pending.add_oddities(&mut self.oddities);
            let unfinished = oddity::REQUEST_UNFINISHED;
            if pending.is_unfinished() && !self.oddities.contains(&unfinished) {
                self.oddities.push(unfinished);
            }
        }
        self.oddities.extend(flag::named(self.flags, &flag::NAMES));
        Exchange {
            ordinal: self.ordinal,
            request: self.pending.map(|pending| pending.request),
            informational: self.informational,
            response: self.response,
            outcome,
            oddities: self.oddities,
        }
    }

    fn cost(&self) -> usize {
        let informational = self.informational.iter().map(|(head, _)| response_cost(head));
        let response = self.response.as_ref().map(|r| response_cost(&r.head));
        self.pending.as_ref().map_or(0, Pending::cost)
            + response.unwrap_or(0)
            + informational.sum::<usize>()
    }
}

/// The connection's exchanges in flight.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    /// Unanswered requests, oldest first.
    pub waiting: VecDeque<Pending>,
    /// The exchange whose response has begun.
    pub current: Option<Transaction>,
    pub order: Order,
    /// Responses may have been lost since the last one that was matched.
    pub responses_lost: bool,
    /// Memory of heads held, in bytes.
    pub held: usize,
    /// Of a client that kept requests open, whose order is in doubt.
    pub(super) pauses: Pauses,
    /// Final responses since the last request.
    pub(super) finals: u8,
    /// Requests that no longer wait, without a response or an event, since this was last counted.
    pub(super) dropped: u64,
}

impl Exchanges {
    /// Whether nothing is in flight.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    /// Adds a request whose head is complete, and returns its ordinal. The server's bytes are seen up to `server_next`,
    /// the last at `seen_ns`.
    pub fn push(&mut self, mut request: Pending, server_next: u64, seen_ns: u64) -> u32 {
        self.order.ordinal = self.order.ordinal.saturating_add(1);
        let ordinal = self.order.ordinal;
        request.ordinal = ordinal;
        let current = self.current.as_ref();
        let informed = current.is_some_and(|c| !c.informational.is_empty() && c.response.is_none());
        let open =
            current.is_some_and(|c| c.response.is_some() || c.emitted || informed && !c.is_open());
        if self.waiting.front().is_some_and(|front| front.after_gap) {
            let one = self.finals == 1 && request.ack == server_next && !informed;
            let pauses = self.pauses.add(one, request.request.start_ns, seen_ns);
            self.order.alternates(one, pauses);
        }
        self.finals = 0;
        if self.waiting.back().or(self.answered()).is_some_and(|before| before.is_body_optional) {
            (request.assumed, request.is_body_optional) = (true, true);
        }
        let lossy = self.responses_lost;
        self.order.request(&mut request, &self.waiting, open, lossy, server_next);
        if self.waiting.len() >= MAX_WAITING {
            self.drop_front();
            if let Some(front) = self.waiting.front_mut() {
                front.after_gap = true;
            }
        }
        self.held += request.cost();
        self.waiting.push_back(request);
        ordinal
    }

    /// The current response belongs to a request of which only `begun` was seen so far.
    pub fn answer_begun(&mut self, begun: Pending) {
        if let Some(current) = &mut self.current {
            self.held += begun.cost();
            let before = current.pending.replace(begun);
            self.held = self.held.saturating_sub(before.map_or(0, |before| before.cost()));
        }
    }

    /// The request that was added last is the one whose informational responses came before its head ended. Returns
    /// its ordinal.
    pub fn complete_begun(&mut self) -> u32 {
        let waits = self.awaiting_final().is_some_and(|pending| pending.begun);
        let whole = if waits { self.waiting.pop_back() } else { None };
        if let (Some(mut whole), Some(current)) = (whole, &mut self.current) {
            (whole.ordinal, self.order.ordinal) = (current.ordinal, current.ordinal);
            let begun = current.pending.replace(whole);
            self.held = self.held.saturating_sub(begun.map_or(0, |begun| begun.cost()));
        }
        self.order.ordinal
    }

    /// What begins before `until` are requests, and no body that imitates them.
    pub fn begin_before(&mut self, until: u64) {
        let begin = self.waiting.iter_mut().filter(|request| request.request.start < until);
        begin.for_each(|request| (request.assumed, request.is_body_optional) = (false, false));
    }

    /// The server's stream begins at `first`.
    pub fn server_begins(&mut self, first: u64) {
        let early = self.waiting.iter_mut().filter(|r| r.ack == BEFORE_ALL);
        early.for_each(|request| request.ack = first);
    }

    /// Whether a server's segment at `start` that acknowledges `ack` continues an answer without having
    /// received the last request that was sent when everything before `start` had been received, or
    /// those sent with it.
    pub fn overlaps(&self, start: u64, ack: u64) -> bool {
        let mut sent = self.waiting.iter().rev();
        let Some(last) = sent.find(|request| request.ack <= start) else {
            return false;
        };
        let together = sent.take_while(|request| request.ack == last.ack);
        let first = together.last().unwrap_or(last);
        first.ack != BEFORE_ALL && ack <= first.request.start
    }

    /// A response begins at `start` and acknowledges `ack`. Unless it is known which request it answers,
    /// assumes the first of those that were sent when everything before it had been received; returns
    /// whether it did. Not for a client that keeps requests open, which sends the next ones then as well.
    pub fn assume_batch(&mut self, start: u64, ack: u64) -> bool {
        if self.order.overlaps || self.order.informs {
            return false;
        }
        let first = self.waiting.iter().position(|request| request.ack == start);
        let Some(first) = first.filter(|_| self.order.certain(&self.waiting, start, ack).is_none())
        else {
            return false;
        };
        for _ in 0..first {
            self.drop_front();
        }
        for request in &mut self.waiting {
            request.after_gap = false;
        }
        self.responses_lost = false;
        true
    }

    /// What was taken for responses was refuted: the requests before `end` may or may not be answered.
    pub fn lose_answers(&mut self, end: u64) {
        self.lose_answers_of_closed(end);
        self.responses_lost = true;
        match self.waiting.front_mut() {
            Some(front) => front.after_gap = true,
            // Of what came before the first request nothing was known anyway.
            None if self.order.begins_unknown() => {}
            None => self.order.requests_lost(end),
        }
    }

    /// Responses may have been lost, also those to requests that a close had ended, before the waiting ones.
    pub fn lose_answers_of_closed(&mut self, end: u64) {
        if self.order.owes() {
            self.order.lose_owed(end, true);
            if let Some(front) = self.waiting.front_mut() {
                front.after_gap = true;
            }
        }
    }

    fn drop_front(&mut self) {
        if let Some(request) = self.waiting.pop_front() {
            self.held = self.held.saturating_sub(request.cost());
            self.dropped += u64::from(!request.has_event && !request.told);
        }
    }

    /// Whether a response that acknowledges `ack` began before its sender had received any of the
    /// request that is next in order, if that order rests on an assumption. It does not answer that
    /// request. (If the order is certain, the client takes it for the answer, even if it is forged.)
    pub fn is_too_early(&self, ack: Option<u64>) -> bool {
        let free = self.current.is_none() && self.order.assumed;
        let next = self.waiting.front().filter(|_| free);
        next.zip(ack).is_some_and(|(next, ack)| ack <= next.request.start)
    }

    /// A response begins that [`Exchanges::is_too_early`]: it answers an unseen request, or the one
    /// before it did.
    pub fn answer_early(&mut self) {
        if let Some(next) = self.waiting.front_mut() {
            next.after_gap = true;
        }
        self.begin_orphan();
    }

    /// A response's first head begins at `start` in a segment that acknowledged the client's bytes up to
    /// `ack`: makes its exchange the current one. Returns whether the order is known again after being
    /// in doubt; the framer's queue is then to be rebuilt.
    pub fn answer(&mut self, start: u64, ack: Option<u64>) -> bool {
        if self.current.is_some() {
            return false;
        }
        if self.order.owes() {
            self.begin_orphan();
            if let Some(current) = &mut self.current {
                current.owed = true;
            }
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
                if assumed || index > 0 {
                    self.order.assumed = true;
                }
                if let Some(front) = self.waiting.front_mut() {
                    front.after_gap = false;
                }
                if assumed {
                    self.assume_rest_of_batch();
                }
                self.begin();
                if let Some(current) = &mut self.current {
                    current.by_numbers = true;
                    current.assumed = assumed || self.order.seems_stopped();
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

    /// What was sent together with the first waiting request is answered as surely as that is.
    fn assume_rest_of_batch(&mut self) {
        let ack = self.waiting.front().map(|front| front.ack);
        let rest = self.waiting.iter_mut().skip(1);
        rest.take_while(|request| Some(request.ack) == ack).for_each(|r| r.assumed = true);
    }

    fn begin(&mut self) {
        match self.waiting.pop_front() {
            Some(request) => {
                let assumed = request.assumed || self.order.seems_stopped();
                self.current = Some(Transaction {
                    ordinal: request.ordinal,
                    pending: Some(request),
                    assumed,
                    ..Transaction::default()
                });
            }
            None => self.begin_orphan(),
        }
    }

    fn begin_orphan(&mut self) {
        self.order.ordinal = self.order.ordinal.saturating_add(1);
        let ordinal = self.order.ordinal;
        self.current = Some(Transaction { ordinal, ..Transaction::default() });
    }

    /// Detaches the request from the current response: it waits again.
    pub fn unanswer(&mut self) {
        if let Some(current) = &mut self.current
            && let Some(request) = current.pending.take()
        {
            self.order.ordinal = self.order.ordinal.saturating_add(1);
            current.ordinal = self.order.ordinal;
            self.responses_lost |= current.by_numbers;
            let assumed = std::mem::take(&mut current.assumed);
            self.wait_on(request, assumed);
        }
    }

    /// Removes the exchange whose final response may have been lost after its 1xx heads; its request
    /// waits again.
    pub fn take_unfinished(&mut self) -> Option<Transaction> {
        if self.current.as_ref().is_none_or(|c| c.response.is_some() || c.emitted) {
            return None;
        }
        let exchange = self.take_current()?;
        if let Some(request) = &exchange.pending {
            self.held += request.cost();
            self.wait_on(Pending { told: true, ..request.clone() }, exchange.assumed);
        }
        Some(exchange)
    }

    /// Returns an unanswered request to the queue; `assumed` says that the pair was a guess.
    fn wait_on(&mut self, mut request: Pending, assumed: bool) {
        if request.begun {
            // It waits once its head is complete.
            self.held = self.held.saturating_sub(request.cost());
            return;
        }
        request.after_gap |= assumed;
        self.waiting.push_front(request);
    }

    /// Counts a final response's head. Returns whether it was the last to answer what a close had ended.
    pub fn count_final(&mut self) -> bool {
        let mut paid = false;
        if let Some(current) = &mut self.current {
            if current.owed {
                self.order.settle();
                paid = !self.order.owes();
            }
            if std::mem::take(&mut current.ends_front) {
                self.drop_front();
            }
        }
        self.finals = self.finals.saturating_add(1);
        paid
    }

    /// The current response ends at `end`: looks whether the client sent its next request, which waits, when it had
    /// received exactly this, and none since the first 1xx head.
    pub fn weigh_patience(&mut self, end: u64) {
        let Some(current) = &self.current else { return };
        let Some(response) =
            current.response.as_ref().filter(|_| !current.informational.is_empty())
        else {
            return;
        };
        let heads = current.informational.iter().map(|(head, _)| head.wire_len).sum();
        let informed = response.start.saturating_sub(heads);
        if self.waiting.iter().map(|next| next.ack).find(|ack| *ack > informed) == Some(end) {
            self.order.wait();
        }
    }

    /// Adds a response's head to the memory held.
    pub fn hold_response(&mut self, head: &ResponseHead) {
        self.held += response_cost(head);
    }

    pub fn take_current(&mut self) -> Option<Transaction> {
        let exchange = self.current.take()?;
        self.release(&exchange);
        Some(exchange)
    }

    /// Takes the current exchange for an early event; what stays only follows the message.
    pub fn take_for_early_event(&mut self) -> Option<Transaction> {
        let current = self.current.as_mut()?;
        if current.emitted {
            return None;
        }
        let rest = Transaction {
            ordinal: current.ordinal,
            emitted: true,
            by_numbers: current.by_numbers,
            ..Transaction::default()
        };
        let exchange = std::mem::replace(current, rest);
        self.release(&exchange);
        Some(exchange)
    }

    fn release(&mut self, transaction: &Transaction) {
        self.held = self.held.saturating_sub(transaction.cost());
    }

    pub fn response_mut(&mut self) -> Option<&mut Response> {
        self.current.as_mut()?.response.as_deref_mut()
    }

    /// Bytes held of the current body.
    pub fn snippet_bytes(&self) -> usize {
        let response = self.current.as_ref().and_then(|c| c.response.as_ref());
        response.map_or(0, |response| response.snippet.held())
    }

    /// The request that is being answered, if it was seen.
    pub fn answered(&self) -> Option<&Pending> {
        self.current.as_ref()?.pending.as_ref()
    }

    /// The request that is being answered, until its final response has begun.
    pub fn awaiting_final(&self) -> Option<&Pending> {
        let current = self.current.as_ref()?;
        let awaits = current.response.is_none() && !current.emitted;
        current.pending.as_ref().filter(|_| awaits)
    }

    /// Notes that two copies of these bytes of the client differ.
    pub fn requests_differ(&mut self, bytes: &Range<u64>) {
        let current = self.current.as_mut().and_then(|c| c.pending.as_mut());
        for pending in self.waiting.iter_mut().chain(current) {
            pending.differs |= pending.request.start < bytes.end && bytes.start < pending.end;
        }
    }

    /// The request with this ordinal, wherever it is.
    pub fn request_mut(&mut self, ordinal: u32) -> Option<&mut Pending> {
        if let Some(request) = self.current.as_mut().and_then(|current| current.pending.as_mut())
            && request.ordinal == ordinal
        {
            return Some(request);
        }
        self.waiting.back_mut().filter(|request| request.ordinal == ordinal)
    }

    /// The current response opens a tunnel: what its client sent after the request belongs to the
    /// tunnel, whatever it looks like (RFC 9110 §9.3.6, §7.8). If it is not certain which request that
    /// is, it may be one of those that wait.
    pub fn tunnel_begins(&mut self) {
        let known = self.current.as_ref().is_some_and(|c| c.pending.is_some());
        if !known || self.responses_lost {
            return;
        }
        for request in self.waiting.drain(..) {
            self.held = self.held.saturating_sub(request.cost());
        }
    }

    /// Removes all waiting requests, each with whether it is certainly unanswered. What follows CONNECT
    /// may belong to the tunnel as long as its answer is not known.
    pub fn drain_waiting(&mut self) -> Vec<(Pending, bool)> {
        let mut certain = !self.responses_lost;
        let mut out = Vec::with_capacity(self.waiting.len());
        while let Some(request) = self.waiting.pop_front() {
            self.held = self.held.saturating_sub(request.cost());
            certain &= !request.after_gap;
            let connects = request.kind == MethodKind::Connect;
            out.push((request, certain));
            certain &= !connects;
        }
        out
    }
}

/// Memory of an exchange that is over, in bytes.
pub(super) fn exchange_cost(exchange: &Exchange) -> usize {
    let informational = exchange.informational.iter();
    let informational = informational.map(|(head, _)| response_cost(head));
    let response = exchange.response.as_ref().map(|r| response_cost(&r.head));
    size_of::<Exchange>() + response.unwrap_or(0) + informational.sum::<usize>()
}

fn response_cost(head: &ResponseHead) -> usize {
    size_of::<Response>() + head_cost(head.wire_len, head.headers.len())
}
