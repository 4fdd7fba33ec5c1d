//! How exchanges end: with their response, with the connection, or by timeout. Frames nothing.

use http_trace_common::framer::{Body, MethodKind, Phase};
use http_trace_model::event::{BodyEnd, NoResponse, oddity};
use http_trace_model::head::RequestHead;

use super::Http1;
use super::half::{Half, Message};
use super::transaction::Transaction;
use crate::protocol::exchange::Outcome;
use crate::protocol::{Cx, End};

impl Http1 {
    /// The direction has ended, at `end_ns` unless nothing ended it.
    pub(super) fn close_half(&mut self, cx: &mut Cx<'_>, d: usize, end: End, end_ns: u64) {
        let half = &mut self.halves[d];
        let phase = half.framer.phase();
        let undecided = half.undecided.len() as u64;
        match half.message {
            Message::Head => {
                self.cut_head(cx, d, end != End::Stopped);
                self.clear(d);
            }
            Message::Response => {
                let outcome = match (end, phase) {
                    (End::Stopped, _) => Outcome::Open,
                    (End::Closed, Phase::UntilClose) => Outcome::Ended(BodyEnd::Close),
                    // It was unknown whether there was a body; none came.
                    (End::Closed, Phase::Peek) if undecided == 0 => {
                        let current = self.exchanges.current.as_ref();
                        let until_close = current.is_some_and(|c| c.body == Body::Close);
                        Outcome::Ended(if until_close { BodyEnd::Close } else { BodyEnd::None })
                    }
                    _ => Outcome::Ended(BodyEnd::Cut),
                };
                if let Some(response) = self.exchanges.response_mut() {
                    response.body_bytes += undecided;
                    if matches!(outcome, Outcome::Ended(BodyEnd::Close | BodyEnd::Cut)) {
                        // The receiver learns only now that nothing follows.
                        response.last_ns = response.last_ns.max(end_ns);
                    }
                }
                self.yield_current(cx, outcome);
                self.clear(d);
            }
            _ => self.clear(d),
        }
    }

    /// Yields the waiting requests as unanswered, as the server's direction seems to have ended; `heard` says that
    /// all of it was seen. They keep waiting, since the end may be disproved.
    pub(super) fn yield_unanswered(
        &mut self,
        cx: &mut Cx<'_>,
        why: NoResponse,
        since_ns: u64,
        heard: bool,
    ) {
        let mut certain = heard && !self.exchanges.responses_lost;
        for pending in &mut self.exchanges.waiting {
            certain &= !pending.after_gap;
            let sure = certain;
            certain &= pending.kind != MethodKind::Connect;
            // A malformed request line alone is not evidence of HTTP.
            if !self.profile.http || std::mem::replace(&mut pending.reported, true) {
                continue;
            }
            if sure {
                cx.exchange(pending.unanswered_so_far(why, since_ns));
            }
        }
    }

    /// The connection is over. If its close is disproved, the open requests are answered first, so their
    /// number is kept (and nothing else).
    pub(super) fn owe_answers(&mut self, client: usize) {
        let (half, server) = (&self.halves[client], &self.halves[1 - client]);
        let (waiting, at_head) = (&self.exchanges.waiting, half.message == Message::Head);
        let mut all = waiting.iter();
        let current = self.exchanges.current.as_ref();
        let unfinished = current.is_some_and(|c| c.response.is_none() && !c.emitted);
        let count = waiting.len() + usize::from(unfinished);
        let certain = !self.exchanges.responses_lost
            && !self.exchanges.order.gap
            && all.all(|r| !r.after_gap && !r.malformed && r.kind != MethodKind::Connect);
        // A message that was cut is not framed further.
        let rests = |half: &Half| half.is_quiet() && half.framer.phase() == Phase::Idle;
        if certain && rests(half) && rests(server) && count < usize::from(u8::MAX) {
            return self.exchanges.order.owe(count);
        }
        let open = count + usize::from(at_head) + usize::from(!server.is_quiet());
        if count > 0 || at_head || !rests(half) {
            let end = half.next;
            self.exchanges.order.lose_owed(end, open > 1);
        }
    }

    /// Yields the requests that will get no response, with the reason and its time, and 1xx heads
    /// without a final response. A response may be among records that were lost, unless the server's stream
    /// was seen up to its end.
    pub(super) fn unanswered(
        &mut self,
        cx: &mut Cx<'_>,
        why: Option<(NoResponse, u64)>,
        to_the_end: bool,
    ) {
        let current = self.exchanges.current.as_ref();
        if let Some(current) = current.filter(|c| c.response.is_none() && !c.emitted) {
            if current.informational.is_empty() {
                self.exchanges.unanswer();
                drop(self.exchanges.take_current());
            } else if let Some(transaction) = self.exchanges.take_current() {
                self.yield_informational(cx, transaction);
            }
        }
        for (request, certain) in self.exchanges.drain_waiting() {
            // A malformed request line alone is not evidence of HTTP.
            if request.has_event || !self.profile.http {
                continue;
            }
            let certain = certain && (to_the_end || request.request.start_ns > cx.lost_ns);
            match why.filter(|_| certain && !request.reported) {
                Some((why, since_ns)) => cx.exchange(request.unanswered(why, since_ns)),
                _ => cx.stats.requests_unmatched += 1,
            }
        }
    }

    /// Yields the requests of a capture that ends before their answers could come, or that has nothing of their server.
    pub(super) fn yield_unseen(&mut self, cx: &mut Cx<'_>, stopped: bool) {
        let Some(client) = cx.link.client().filter(|_| self.profile.http) else { return };
        // What does not begin with a request may be a body that imitates one.
        let begins = match (cx.link.first(client), self.exchanges.waiting.front()) {
            (Some(first), Some(front)) => front.request.start == first,
            _ => !self.profile.passed,
        };
        let nothing = self.halves[1 - client].seen_ns == 0 && self.exchanges.current.is_none();
        let mut unheard = begins && nothing;
        let mut certain = stopped && !self.exchanges.responses_lost;
        // Whether a gap before the next request hides only the rest of a head.
        let mut follows = true;
        for pending in &mut self.exchanges.waiting {
            unheard &= follows || !pending.after_gap;
            follows = pending.request.head_cut && has_no_body(&pending.request.head);
            certain &= !pending.after_gap && !pending.reported;
            let is_one = (unheard || certain) && !pending.malformed && !pending.has_event;
            if is_one && !pending.request.origin.is_live() {
                let since_ns = pending.request.end_ns.unwrap_or(pending.request.start_ns);
                cx.exchange(pending.unanswered_so_far(NoResponse::Unseen, since_ns));
            }
            let goes_on = pending.kind != MethodKind::Connect;
            (certain, unheard) = (certain && goes_on, unheard && goes_on);
        }
    }

    /// Yields requests that have waited too long, each once; `heard` says that all that the server sent was seen,
    /// as its client acknowledges it.
    pub(super) fn overdue(&mut self, cx: &mut Cx<'_>, why: NoResponse, heard: bool) {
        let mut certain = heard && !self.exchanges.responses_lost;
        for pending in &mut self.exchanges.waiting {
            certain &= !pending.after_gap;
            let sure = certain;
            // What follows CONNECT may belong to the tunnel.
            certain &= pending.kind != MethodKind::Connect;
            let end_ns = pending.request.end_ns;
            let due = end_ns.map(|end| end.saturating_add(cx.config.response_timeout_ns));
            let Some(due) = due.filter(|due| !pending.reported && *due <= cx.now_ns) else {
                continue;
            };
            pending.reported = true;
            if sure && self.profile.http {
                // In a capture, the next packet may come days later.
                let mut exchange = pending.unanswered_so_far(why, due);
                if pending.request.start_ns <= cx.lost_ns {
                    exchange.oddities.push(oddity::RESPONSE_MAY_BE_LOST);
                }
                cx.exchange(exchange);
            }
        }
    }

    /// When the oldest line began that counts as a malformed request only if a field follows.
    pub(super) fn awaits_first_field_since(&self) -> Option<u64> {
        let awaiting = self.halves.iter().filter(|h| h.framer.awaits_first_field());
        awaiting.filter_map(|h| Some(h.head_origin?.time_ns)).min()
    }

    /// Gives up lines that no field has followed for long. They are not requests: line-based protocols
    /// send such lines, which would be held for the life of their connections.
    pub(super) fn first_fields_overdue(&mut self, cx: &mut Cx<'_>) {
        let since = cx.now_ns.saturating_sub(cx.config.response_timeout_ns);
        for d in 0..2 {
            let half = &mut self.halves[d];
            let begun_ns = half.head_origin.map_or(0, |origin| origin.time_ns);
            if half.framer.awaits_first_field() && begun_ns <= since {
                let line = std::mem::take(&mut half.head);
                half.framer.lose();
                self.not_http(cx, d, &line);
            }
        }
    }

    /// Yields the current response before its end.
    pub(super) fn yield_early(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        if let Some(transaction) = self.exchanges.take_for_early_event() {
            self.yield_exchange(cx, transaction.into_exchange(outcome));
        }
    }

    /// The current response is over, or cannot be followed any further.
    pub(super) fn yield_current(&mut self, cx: &mut Cx<'_>, outcome: Outcome) {
        let current = self.exchanges.current.as_ref();
        if current.is_none_or(|c| c.response.is_none() && !c.emitted) {
            return;
        }
        self.believe_body();
        if let Some(transaction) = self.exchanges.take_current()
            && !transaction.emitted
        {
            self.yield_exchange(cx, transaction.into_exchange(outcome));
        }
    }

    /// A declared body is whole if the server had received all of it when it answered, also if part was not seen: a
    /// segment that came before the head, where the filter did not know the connection yet.
    fn believe_body(&mut self) {
        let current = self.exchanges.current.as_mut();
        let Some(request) = current.and_then(|current| current.pending.as_mut()) else { return };
        let mut halves = self.halves.iter();
        let passes =
            |half: &&Half| half.message == Message::Request && half.ordinal == request.ordinal;
        let Some(half) = halves.find(passes).filter(|_| !request.end_lost) else { return };
        let rest = half.framer.skippable();
        let end = half.next.saturating_add(rest);
        if half.framer.phase() == Phase::Body && request.end >= end {
            request.end_lost = true;
            request.request.body_bytes = request.request.body_bytes.saturating_add(rest);
        } else if half.received > end + 1 {
            // The chunks that follow were not seen, and may have been the last ones. One more number is a FIN.
            request.end_lost = true;
            request.request.body_lost = true;
        }
    }

    /// Yields informational responses whose final response may be lost.
    pub(super) fn yield_informational(&mut self, cx: &mut Cx<'_>, transaction: Transaction) {
        self.yield_exchange(cx, transaction.into_exchange(Outcome::Informational));
    }
}

/// Whether a request whose head is cut has no body, as far as its head shows.
fn has_no_body(head: &RequestHead) -> bool {
    let declares = |name| head.headers.first(name).is_some();
    matches!(&head.method[..], b"GET" | b"HEAD" | b"OPTIONS")
        && !["content-length", "transfer-encoding"].into_iter().any(declares)
}
