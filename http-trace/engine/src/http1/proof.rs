//! Decides whether a message begins where framing was lost: a body may imitate one at the beginning of
//! every segment. Must not frame.
//!
//! A response is proven by the request that it answers: when the client sent that request, it had
//! received everything before the response, and the response acknowledges the request. A client that
//! asks again before it has its answer may have done so in the middle of a body. So the result is a
//! claim, held back until both ends continue as the framing says: the next request comes when all are
//! answered, and acknowledges the end of the last answer.
//!
//! While only the server is seen, its responses are claims as well, and are dropped as soon as the
//! client is seen. They are accepted once the server has received bytes that nobody saw, or at the end.

use http_trace_common::flow::seq_distance;
use http_trace_common::framer::Phase;
use http_trace_model::event::oddity;

use super::Http1;
use super::claim::{Basis, Claim};
use super::half::Message;
use super::pending::{BEFORE_ALL, Pending};
use crate::origin::Origin;
use crate::protocol::exchange::{Exchange, Outcome, Response};
use crate::protocol::{Cx, Link};

/// Limit of exchanges that a claim may hold back.
const MAX_HELD: usize = 256;

impl Http1 {
    /// Whether the status line at the beginning of a segment of `origin`, at position `at` of direction
    /// `d`, begins a response although framing was lost, as far as the numbers show.
    pub(super) fn is_response_proven(
        &mut self,
        cx: &mut Cx<'_>,
        d: usize,
        at: u64,
        origin: &Origin,
    ) -> bool {
        let basis = if !cx.link.known[1 - d] {
            // If the server has received nothing since the bytes before, those continue.
            let ack = origin.ack.number();
            let continues = ack.is_some() && self.halves[d].passed_ack == ack;
            (!continues).then(|| Basis::Unheard { ack, received: false, live: origin.is_live() })
        } else if self.answers(cx.link, d, at, origin) {
            let ack = self.acknowledged_by(cx.link, d, origin.ack);
            self.reach(1 - d, ack);
            let paired = self.exchanges.assume_batch(at, ack.unwrap_or(u64::MAX));
            self.requeue(false);
            Some(Basis::Asked { at, paired })
        } else {
            None
        };
        let Some(basis) = basis else {
            cx.stats.unproven += 1;
            return false;
        };
        let followed = cx.link.start(d).is_some();
        let trusted = self.exchanges.order.is_trusted(followed);
        // A batch that is assumed to be complete waits for proof: inside the gap, even a client that has
        // asked one at a time may have asked twice.
        if trusted && matches!(basis, Basis::Asked { paired: false, .. }) {
            return true;
        }
        match &mut self.claim {
            // From here on it is an assumption, whatever it was before.
            Some(claim) if matches!(basis, Basis::Asked { paired: true, .. }) => {
                claim.basis = basis;
            }
            Some(_) => {}
            None => {
                self.claim = Some(Box::new(Claim {
                    d,
                    since_ns: origin.time_ns,
                    basis,
                    amid: self.halves[d].passed_ack.is_some(),
                    held: Vec::new(),
                }));
            }
        }
        true
    }

    /// Whether what begins at `start` with a segment of `origin` answers a request.
    fn answers(&self, link: &Link, d: usize, start: u64, origin: &Origin) -> bool {
        if !link.is_client(1 - d) {
            return false;
        }
        let ack = self.acknowledged_by(link, d, origin.ack).unwrap_or(u64::MAX);
        let asks = &self.halves[1 - d];
        let in_head = asks.message == Message::Head && asks.head_start < ack;
        let in_head = in_head
            && asks.head_origin.is_some_and(|first| self.received(link, 1 - d, &first) == start);
        // A request in the SYN was sent before everything else.
        let waits = |asked: &Pending| {
            (asked.ack == start || asked.ack == BEFORE_ALL) && asked.request.start < ack
        };
        in_head || self.exchanges.waiting.iter().any(waits)
    }

    /// While it is unknown which requests are answered: notes whether the server sent this segment of
    /// direction `d` without having received a request that the client sent when it had everything
    /// before, that is, in the middle of an answer.
    pub(super) fn note_overlap(&mut self, link: &Link, d: usize, origin: &Origin) {
        if !self.queue.is_unknown() || !link.is_client(1 - d) {
            return;
        }
        let ack = link.acknowledged(1 - d, self.halves[1 - d].next, origin.ack);
        if ack.is_some_and(|ack| self.exchanges.overlaps(self.halves[d].next, ack)) {
            self.exchanges.order.overlaps = true;
        }
    }

    /// Weighs the claim after bytes of `origin` in direction `d`.
    pub(super) fn weigh_claim(&mut self, cx: &mut Cx<'_>, d: usize, origin: &Origin) {
        let Some(claim) = &mut self.claim else { return };
        if let Basis::Unheard { ack, received, .. } = &mut claim.basis {
            if cx.link.known[1 - claim.d] {
                if !self.is_claim_followed(cx.link, d, origin) {
                    return self.refute(cx);
                }
                // The next response shows whether the server had waited for what the client sends now.
                let at = self.halves[1 - d].next;
                if let Some(claim) = &mut self.claim {
                    claim.basis = Basis::Asked { at, paired: false };
                }
                return;
            }
            if let (Some(before), Some(ack)) = (*ack, origin.ack.number()) {
                *received |= d == claim.d && seq_distance(before, ack) > 0;
            }
        }
        self.confirm_due(cx);
    }

    /// Whether the client, whose first seen bytes come with `origin` in direction `d`, continues like
    /// one that received the single claimed response. In live traffic that is not enough: of many bodies
    /// in progress, one may end as such a response does.
    fn is_claim_followed(&self, link: &Link, d: usize, origin: &Origin) -> bool {
        let Some(claim) = self.claim.as_ref().filter(|claim| claim.d != d) else {
            return false;
        };
        let Basis::Unheard { ack, live: false, .. } = claim.basis else {
            return false;
        };
        let server = self.halves[claim.d].next;
        self.is_at_rest(claim.d)
            && claim.held.len() == 1
            && link.acknowledged(claim.d, server, origin.ack) == Some(server)
            && ack == Some(self.halves[d].next as u32)
    }

    fn is_at_rest(&self, d: usize) -> bool {
        let framer = &self.halves[d].framer;
        framer.at_rest() || framer.phase() == Phase::Opaque
    }

    /// Weighs the claim when a request head of direction `d` is complete, which begins in a segment of
    /// `sent_ns`; the client had received everything before `ack`.
    pub(super) fn weigh_request(&mut self, cx: &mut Cx<'_>, d: usize, ack: u64, sent_ns: u64) {
        let server = &self.halves[1 - d];
        if server.seen_ns > sent_ns || self.exchanges.order.was_answered(ack, self.halves[d].next) {
            // It waited behind a hole, or was seen late. What the server has sent since shows nothing about it.
            return;
        }
        let doubt = self.queue.is_unknown() && cx.link.known[1 - d];
        if doubt && (BEFORE_ALL + 1..server.next).contains(&ack) {
            self.exchanges.order.overlaps = true;
        }
        let Some(claim) = &self.claim else { return };
        let Basis::Asked { at, .. } = claim.basis else { return };
        if ack == at {
            return;
        }
        let server = &self.halves[claim.d];
        let missing = ack.saturating_sub(server.next);
        let answered =
            self.exchanges.is_quiet() && (self.is_at_rest(claim.d) || self.is_cut(claim));
        if missing > 0 {
            // The client has received more than was seen.
            if server.framer.skippable() == missing && self.exchanges.waiting.is_empty() {
                self.confirm(cx, true);
            }
        } else if answered && server.next == ack {
            self.confirm(cx, true);
        } else {
            self.exchanges.order.overlaps = true;
            self.refute(cx);
        }
    }

    /// Whether the last claimed response ends in a gap, as in captures with a snap length, of a client that asks one at a
    /// time. Where such a response ends is only known from the request that follows it.
    fn is_cut(&self, claim: &Claim) -> bool {
        let server = &self.halves[claim.d];
        let last = claim.held.last().map(|(exchange, _)| exchange.outcome);
        last == Some(Outcome::Lost)
            && server.framer.phase() == Phase::Unsure
            && server.passed_ack.is_none()
            && !self.exchanges.order.pipelines()
    }

    /// Whether a head that begins in direction `d` is accepted. One that answers nothing refutes a claim
    /// that all requests are known.
    pub(super) fn weigh_head(&mut self, cx: &mut Cx<'_>, d: usize, origin: &Origin) -> bool {
        let claimed = self
            .claim
            .as_ref()
            .is_some_and(|claim| claim.d == d && matches!(claim.basis, Basis::Asked { .. }));
        let asks = &self.halves[1 - d];
        let ack = cx.link.acknowledged(1 - d, asks.next, origin.ack);
        let ack = ack.unwrap_or(u64::MAX);
        let received = match self.exchanges.waiting.front() {
            Some(asked) => ack > asked.request.start,
            // A request's head is passing, or was not seen. One more byte is a FIN.
            None => asks.message == Message::Head || ack > asks.next + 1,
        };
        if !claimed || received || self.exchanges.current.is_some() {
            return true;
        }
        self.exchanges.order.overlaps = true;
        self.refute(cx);
        false
    }

    /// Framing that rests on a claim in direction `d` was lost.
    pub(super) fn contradict_claim(&mut self, cx: &mut Cx<'_>, d: usize) {
        let rests = self.claim.as_ref().is_some_and(|claim| {
            claim.d == d && !matches!(claim.basis, Basis::Unheard { received: true, .. })
        });
        if rests {
            self.refute(cx);
        }
    }

    /// Yields the held exchanges if their claim is due.
    pub(super) fn confirm_due(&mut self, cx: &mut Cx<'_>) {
        if self.claim_due_ns().is_some_and(|due| cx.now_ns >= due) {
            self.exchanges.order.trusted = true;
            self.confirm(cx, false);
        }
    }

    /// The connection is over: nothing will contradict a claim any more. `stopped` says that tracing
    /// ended, not the connection.
    pub(super) fn settle_claim(&mut self, cx: &mut Cx<'_>, stopped: bool) {
        let Some(claim) = &self.claim else { return };
        match claim.basis {
            // The client was seen to close.
            Basis::Unheard { live, .. } if cx.link.known[1 - claim.d] => {
                if live || claim.held.len() != 1 || !self.is_at_rest(claim.d) {
                    return self.refute(cx);
                }
                self.confirm(cx, false);
            }
            Basis::Unheard { live: true, .. } if stopped => self.refute(cx),
            Basis::Asked { .. } if claim.may_be_body() => self.refute(cx),
            _ if !self.is_whole(claim) => self.refute(cx),
            _ => self.confirm(cx, false),
        }
    }

    /// Yields the held exchanges. `surely` says that both ends continued as the framing says.
    fn confirm(&mut self, cx: &mut Cx<'_>, surely: bool) {
        let Some(claim) = self.claim.take() else { return };
        let is_batch = claim.held.iter().any(|(_, paired)| *paired)
            || matches!(claim.basis, Basis::Asked { paired: true, .. });
        // More responses than requests: the batch was not complete, and any of them may answer those that were seen.
        let in_excess =
            |(exchange, paired): &(Exchange, bool)| *paired && exchange.request.is_none();
        let is_complete = !claim.held.iter().any(in_excess);
        let pairs = surely && is_complete;
        if is_batch && pairs {
            self.exchanges.order.assumed = true;
        } else if is_batch {
            if !is_complete {
                self.exchanges.order.overlaps = true;
            }
            self.exchanges.unanswer();
            self.exchanges.lose_answers(self.halves[1 - claim.d].next);
            self.queue.set_unknown();
        }
        self.halves[claim.d].lost &= self.halves[claim.d].framer.phase() == Phase::Unsure;
        for (mut exchange, paired) in claim.held {
            if paired && pairs && self.exchanges.order.pipelines() {
                // A client that is always one batch ahead would go on like this, too.
                exchange.oddities.push(oddity::REQUEST_ASSUMED);
            } else if paired && !pairs {
                exchange.request = None;
                exchange.oddities.retain(|&name| name != oddity::REQUEST_ASSUMED);
                cx.stats.requests_unmatched += 1;
            }
            cx.exchange(exchange);
        }
    }

    /// Drops the held exchanges: what was claimed was not a response.
    fn refute(&mut self, cx: &mut Cx<'_>) {
        let Some(claim) = self.claim.take() else { return };
        let d = claim.d;
        let current = self.exchanges.take_current();
        let asked = claim.held.iter().filter(|(exchange, _)| exchange.request.is_some());
        let asked =
            asked.count() + usize::from(current.as_ref().is_some_and(|c| c.pending.is_some()));
        cx.stats.requests_unmatched += asked as u64;
        cx.stats.unproven += claim.held.len() as u64 + u64::from(current.is_some());
        cx.stats.became_unsure += 1;
        let held = claim.held.iter().map(|(exchange, _)| exchange.response.as_deref());
        let current = current.as_ref().map(|current| current.response.as_deref());
        let responses = held.chain(current).flatten().map(Response::wire_len).sum::<u64>();
        let half = &self.halves[d];
        let head = if half.message == Message::Head { half.head_len } else { 0 };
        self.profile.dropped(cx, responses + head, claim.since_ns, half.lost);
        self.clear(d);
        self.halves[d].framer.lose();
        if let Basis::Unheard { .. } = claim.basis {
            self.profile.framed[d] = false;
            if cx.link.is_client(1 - d) {
                cx.link.forget_client();
            }
        }
        self.exchanges.lose_answers(self.halves[1 - d].next);
        self.queue.set_unknown();
    }

    /// Yields an exchange, or holds it back.
    pub(super) fn yield_exchange(&mut self, cx: &mut Cx<'_>, exchange: Exchange) {
        match &mut self.claim {
            Some(claim) if claim.held.len() < MAX_HELD => {
                let paired = matches!(claim.basis, Basis::Asked { paired: true, .. });
                claim.held.push((exchange, paired));
                if self.is_borne_out() {
                    self.confirm(cx, true);
                }
            }
            Some(claim) => {
                cx.stats.unproven += 1;
                let dropped = exchange.response.as_ref().map_or(0, |response| response.wire_len());
                let (since, lost) = (claim.since_ns, self.halves[claim.d].lost);
                self.profile.dropped(cx, dropped, since, lost);
            }
            None => cx.exchange(exchange),
        }
    }

    /// Whether the next request, which was seen while the claimed bytes waited behind a hole, was sent when exactly these
    /// had been received: as [`Http1::weigh_request`] for one that comes later.
    fn is_borne_out(&self) -> bool {
        let Some(claim) = &self.claim else { return false };
        let Basis::Asked { at, .. } = claim.basis else { return false };
        let end = self.halves[claim.d].next;
        let next = self.exchanges.waiting.front();
        end != at && self.is_at_rest(claim.d) && next.is_some_and(|next| next.ack == end)
    }

    /// When the current claim is accepted.
    pub(super) fn claim_due_ns(&self) -> Option<u64> {
        let claim = self.claim.as_ref().filter(|claim| self.is_whole(claim))?;
        claim.due_ns()
    }

    /// Whether nothing contradicts a claim so far: if some requests are answered, all are, and the
    /// client was not seen to ask in the middle of an answer.
    fn is_whole(&self, claim: &Claim) -> bool {
        match claim.basis {
            Basis::Unheard { .. } => true,
            Basis::Asked { paired, .. } => {
                !self.exchanges.order.overlaps && (!paired || self.exchanges.waiting.is_empty())
            }
        }
    }
}
