//! Completed heads: a request that waits, a response that answers one, a tunnel, or the end of framing.

use std::borrow::Cow;

use http_trace_common::framer::{Body, HeadFacts, MethodKind, Phase, RequestQueue, flag};

use http_trace_model::event::{BodyEnd, NoResponse, oddity};
use http_trace_model::head::Headers;

use super::half::{Answered, Message, begins_with_method};
use super::pending::{BEFORE_ALL, Pending};
use super::transaction::Transaction;
use super::{Http1, decode};
use crate::config::Emit;
use crate::origin::{Ack, Origin};
use crate::protocol::body::BodyStart;
use crate::protocol::exchange::{Outcome, Response};
use crate::protocol::{Cx, HeadKind, HeadSeen, Link};
use crate::stats::Unreadable;

impl Http1 {
    pub(super) fn head_begins(&mut self, cx: &mut Cx<'_>, d: usize, back: u8, origin: &Origin) {
        // A head where a body was possible: there was no body.
        if self.halves[d].message != Message::None {
            let undecided = std::mem::take(&mut self.halves[d].undecided);
            let first = self.halves[d].undecided_origin.take();
            self.message_ends(cx, d, BodyEnd::None, first.as_deref().unwrap_or(origin));
            self.halves[d].undecided = undecided;
            self.halves[d].undecided_origin = first;
        }
        let half = &mut self.halves[d];
        half.message = Message::Head;
        half.head.clear();
        half.head_len = u64::from(back);
        half.head_start = half.next - u64::from(back);
        half.head_origin = Some(*origin);
        let start = half.head_start;
        if let Some(trial) = &mut half.trial {
            trial.meet(start);
        }
        if back > 0 {
            half.head.extend_from_slice(&half.undecided);
            half.head_origin = half.undecided_origin.as_deref().copied().or(half.head_origin);
            half.undecided.clear();
        }
        let half = &mut self.halves[d];
        (half.paired, half.reported, half.has_event) = (false, false, false);
        half.answered = Answered::No;
    }

    /// While the order is in doubt, the framer must learn which request a response answers before the
    /// response's head ends, since its body depends on the request.
    pub(super) fn start_line_ends(&mut self, link: &Link, d: usize) {
        let half = &mut self.halves[d];
        if half.framer.phase() != Phase::Head {
            return;
        }
        half.paired = true;
        if half.framer.is_response() != Some(true) {
            return;
        }
        let ack = self.acknowledged(link, d);
        let doubt = self.exchanges.responses_lost || self.queue.is_unknown();
        if doubt || self.is_too_early(d, ack) {
            self.answer(link, d, false);
            self.requeue_answered();
        }
    }

    /// Tells the framer which request is answered now, if its queue does not know but the order does.
    fn requeue_answered(&mut self) {
        let answered = self.exchanges.answered();
        let answered = answered.filter(|request| !request.after_gap && !request.malformed);
        if let Some(kind) = answered.map(|request| request.kind)
            && self.queue.is_unknown()
            && !self.exchanges.responses_lost
        {
            self.queue = RequestQueue::new();
            self.queue.push(kind);
        }
    }

    /// Whether the current response cannot answer the request that is next in order. An unsolicited
    /// response ([`Http1::unsolicited`]) does not affect the order.
    fn is_too_early(&self, d: usize, ack: Option<u64>) -> bool {
        self.halves[d].framer.status() != 408 && self.exchanges.is_too_early(ack)
    }

    /// The position up to which the current head of direction `d` acknowledges the other direction.
    pub(super) fn acknowledged(&self, link: &Link, d: usize) -> Option<u64> {
        self.acknowledged_by(link, d, self.halves[d].head_origin?.ack)
    }

    /// The position of the other direction that a segment of direction `d` acknowledges.
    pub(super) fn acknowledged_by(&self, link: &Link, d: usize, ack: Ack) -> Option<u64> {
        let next = self.halves[1 - d].next;
        // Without an acknowledgement it was not made by TCP: it follows what was seen.
        let seen = link.known[1 - d].then_some(next);
        link.acknowledged(1 - d, next, ack).or(seen)
    }

    /// Finds the exchange of the response head in direction `d`; `taken` says that the framer has
    /// removed its request from the queue.
    pub(super) fn answer(&mut self, link: &Link, d: usize, taken: bool) {
        if !link.is_client(1 - d) {
            return;
        }
        let ack = self.acknowledged(link, d);
        let start = self.halves[d].head_start;
        self.reach(1 - d, ack);
        if let Some(ack) = ack
            && let Some(until) = self.halves[1 - d].left_out.take_if(|until| ack < *until)
        {
            // A server that reads the body would still wait for the rest of it.
            self.exchanges.begin_before(until);
        }
        if self.is_too_early(d, ack) {
            self.exchanges.answer_early();
            return self.requeue(taken);
        }
        if self.exchanges.answer(start, ack) {
            self.requeue(taken);
        }
    }

    /// Extends the request whose body passes in direction `d` up to `ack`: a filter declares the skip
    /// only with the bytes that follow.
    pub(super) fn reach(&mut self, d: usize, ack: Option<u64>) {
        let half = &self.halves[d];
        if let (Message::Request, Some(ack)) = (half.message, ack) {
            let body_end = half.next.saturating_add(half.framer.skippable());
            self.halves[d].received = ack;
            let half = &self.halves[d];
            if let Some(request) = self.exchanges.request_mut(half.ordinal) {
                request.end = request.end.max(body_end.min(ack));
            }
        }
    }

    /// Rebuilds the framer's queue once the order of requests is known again. The current request is
    /// left out if the framer has `taken` it.
    pub(super) fn requeue(&mut self, taken: bool) {
        self.queue = RequestQueue::new();
        let current = self.exchanges.awaiting_final().filter(|_| !taken);
        for request in current.into_iter().chain(&self.exchanges.waiting) {
            if request.after_gap || request.malformed {
                self.queue.set_unknown();
            }
            self.queue.push(request.kind);
        }
        let order = &self.exchanges.order;
        if order.gap || order.owes() || self.exchanges.responses_lost {
            self.queue.set_unknown();
        }
    }

    /// Whether the current response answers CONNECT with 2xx (RFC 9112 §6.3, item 2), which the framer
    /// does not know if the order was in doubt.
    fn tunnels(&self, message: Message) -> bool {
        message == Message::Response
            && self.exchanges.current.as_ref().is_some_and(|current| {
                let connect = current.pending.as_ref().map(|pending| pending.kind);
                let status = current.response.as_ref().map(|r| r.head.status);
                connect == Some(MethodKind::Connect) && matches!(status, Some(200..=299))
            })
    }

    /// The head's bytes, of which `here` are in the current chunk.
    pub(super) fn take_head<'a>(&mut self, d: usize, here: &'a [u8], cx: &Cx<'_>) -> Cow<'a, [u8]> {
        let mut head = std::mem::take(&mut self.halves[d].head);
        let room = cx.config.head_bytes.saturating_sub(head.len());
        let here = here.get(..room).unwrap_or(here);
        if head.is_empty() {
            return here.into();
        }
        head.extend_from_slice(here);
        head.into()
    }

    pub(super) fn head_ends(
        &mut self,
        cx: &mut Cx<'_>,
        d: usize,
        raw: &[u8],
        head: HeadFacts,
        body: Body,
        origin: &Origin,
    ) {
        let first = !self.profile.http;
        let malformed = self.halves[d].framer.flags() & flag::MALFORMED_REQUEST != 0;
        let response = matches!(head, HeadFacts::Response { .. });
        if response {
            self.answered_early(cx, 1 - d);
        }
        // A malformed request has no effect until HTTP/1.x answers it.
        let believed = !malformed || (!cx.link.is_client(1 - d) && begins_with_method(raw));
        if believed && (self.profile.http || !malformed) {
            self.profile.met_http(cx, d, response);
        }
        // The start line may have taken it already.
        let mut asked = self.exchanges.waiting.iter().chain(self.exchanges.answered());
        if response && asked.any(|request| request.malformed) {
            self.profile.framed[1 - d] = true;
        }
        let message = match head {
            HeadFacts::Request { .. } if !believed => self.not_a_request(cx, d),
            HeadFacts::Request { method } => {
                self.turn(cx, d, first);
                self.seen(cx, d, HeadKind::Request, raw);
                self.request(cx, d, raw, method, origin)
            }
            HeadFacts::Response { status, .. } if status == 0 || self.is_unasked(d) => {
                self.response_is_no_event(cx, d, first, origin);
                Message::Uncounted
            }
            HeadFacts::Response { .. } => {
                self.turn(cx, 1 - d, first);
                let message = self.response(cx, d, raw, body, origin);
                // Under another name, all of the request's head may have come before.
                let early = self.halves[1 - d].answered != Answered::No;
                let orphan = early || self.exchanges.answered().is_none();
                let kind = if orphan { HeadKind::Orphan } else { HeadKind::Answer };
                self.seen(cx, d, kind, raw);
                message
            }
        };
        self.halves[d].message = message;
        let body = if self.tunnels(message) { Body::Tunnel } else { body };
        if self.exchanges.answered().is_some_and(|r| r.begun && r.kind != MethodKind::Head) {
            // The framer did not know that the answered request has a response with a body.
            self.halves[d].framer.decide_body();
        }
        self.body_begins(cx, d, body, origin);
    }

    /// Takes a response that cannot be an event: its status is none, or nobody can have asked for it.
    fn response_is_no_event(&mut self, cx: &mut Cx<'_>, d: usize, first: bool, origin: &Origin) {
        cx.stats.bad_status += 1;
        // Its request was answered, by nothing that could be an event of its own.
        self.turn(cx, 1 - d, first);
        self.answer(cx.link, d, true);
        let answered = self.exchanges.take_current();
        if answered.as_ref().is_some_and(|answered| answered.owed) {
            self.exchanges.order.settle();
        }
        if let Some(answered) = answered.filter(|a| a.pending.is_some() && !a.emitted) {
            let why = Outcome::Unanswered(NoResponse::Unreadable, origin.time_ns);
            self.yield_exchange(cx, answered.into_exchange(why));
        }
    }

    /// What follows the head that ended in direction `d`.
    fn body_begins(&mut self, cx: &mut Cx<'_>, d: usize, body: Body, origin: &Origin) {
        match body {
            Body::None | Body::Length(0) => {
                let end = if matches!(body, Body::None) { BodyEnd::None } else { BodyEnd::Length };
                self.message_ends(cx, d, end, origin);
            }
            Body::Tunnel => {
                self.exchanges.tunnel_begins();
                let next = self.exchanges.current.as_ref().map_or(Unreadable::Tunnel, what_follows);
                self.message_ends(cx, d, BodyEnd::Tunnel, origin);
                if !cx.link.muted {
                    cx.stats.count_unreadable(next, cx.server_port());
                }
                self.clear(1 - d);
                self.become_opaque();
            }
            Body::Unknown => {
                cx.stats.became_unsure += 1;
                self.abandon(cx, d);
                self.doubt(cx, d);
            }
            Body::Length(_) | Body::Chunked | Body::Close => {
                if cx.config.emit == Emit::Head && self.halves[d].message == Message::Response {
                    self.yield_early(cx, Outcome::Open);
                }
            }
        }
    }

    /// Whether the current status line has another version than HTTP/1.x, and no request is known that it answers: it may
    /// belong to another protocol.
    fn is_unasked(&self, d: usize) -> bool {
        self.halves[d].framer.flags() & flag::OTHER_VERSION != 0
            && self.exchanges.answered().is_none()
            && self.exchanges.waiting.is_empty()
    }

    /// Reports the head in direction `d`, so that copies of the connection are found.
    fn seen(&self, cx: &mut Cx<'_>, d: usize, kind: HeadKind, bytes: &[u8]) {
        let len = self.halves[d].head_len;
        self.seen_part(cx, d, kind, bytes, len);
    }

    /// The same for the first `len` bytes, where the rest may not have passed under every name.
    pub(super) fn seen_part(
        &self,
        cx: &mut Cx<'_>,
        d: usize,
        kind: HeadKind,
        bytes: &[u8],
        len: u64,
    ) {
        let half = &self.halves[d];
        if let Some(origin) = half.head_origin {
            let head = HeadSeen { d, kind, start: half.head_start, origin, bytes, len };
            cx.sink.head(cx.link, &head);
        }
    }

    /// A malformed request line is refused: another request may be next in order.
    fn not_a_request(&mut self, cx: &mut Cx<'_>, d: usize) -> Message {
        self.profile.unframed(cx, d, self.halves[d].head_len, false);
        self.profile.not_readable(cx, Unreadable::Other);
        self.doubt(cx, d);
        Message::Uncounted
    }

    fn request(
        &mut self,
        cx: &mut Cx<'_>,
        d: usize,
        raw: &[u8],
        method: MethodKind,
        origin: &Origin,
    ) -> Message {
        let half = &self.halves[d];
        if half.answered == Answered::Taken {
            self.requeue(true);
            return Message::Uncounted;
        }
        let first = half.head_origin.unwrap_or(*origin);
        let Some((head, odd)) = decode::request(raw, half.head_len) else {
            // Its method alone exceeds the limit of a head.
            self.exchanges.order.requests_lost(half.next);
            cx.stats.requests_unmatched += 1;
            return Message::Uncounted;
        };
        let ack = self.received(cx.link, d, &first);
        self.weigh_request(cx, d, ack, first.time_ns);
        let half = &self.halves[d];
        if self.exchanges.is_quiet() && self.exchanges.order.was_answered(ack, half.next) {
            // Its response went without it.
            cx.stats.requests_unmatched += 1;
            return Message::Uncounted;
        }
        let has_body = half.framer.is_body_unbegun();
        // HTTP/1.0 has no such field (RFC 9110 section 10.1.1).
        let expects = has_body && head.minor_version > 0 && expects_continue(&head.headers);
        let may_be_body = half.left_out.is_some_and(|until| half.head_start < until);
        let is_body_optional =
            may_be_body || has_body && matches!(&head.method[..], b"GET" | b"HEAD" | b"DELETE");
        let flags = half.framer.flags() | odd;
        let mut pending = Pending {
            ack,
            malformed: flags & flag::MALFORMED_REQUEST != 0,
            flags,
            differs: half.oddities.contains(&oddity::OVERLAP_DIFFERS),
            reported: half.reported,
            has_event: half.has_event,
            assumed: may_be_body,
            is_body_optional,
            ..Pending::new(head, method, half.head_start, half.next, first)
        };
        pending.request.head_cut = half.head_len > raw.len() as u64;
        let informed = half.answered == Answered::Informed;
        let mut ordinal = self.push(d, pending);
        if informed {
            ordinal = self.exchanges.complete_begun();
        }
        let half = &mut self.halves[d];
        (half.ordinal, half.answered) = (ordinal, Answered::No);
        half.expects = expects;
        Message::Request
    }

    /// Adds a request of direction `d`, as [`super::transaction::Exchanges::push`].
    pub(super) fn push(&mut self, d: usize, request: Pending) -> u32 {
        let server = &self.halves[1 - d];
        self.exchanges.push(request, server.next, server.seen_ns)
    }

    /// How much of the server's stream the client had received when it sent `first` in direction `d`.
    pub(super) fn received(&self, link: &Link, d: usize, first: &Origin) -> u64 {
        let received = link.acknowledged(1 - d, self.halves[1 - d].next, first.ack);
        // Without an acknowledgement it came with the SYN, before anything that the server sent, or was not made by
        // TCP.
        let seen = link.known[1 - d].then_some(self.halves[1 - d].next);
        received.or(link.first(1 - d)).or(seen).unwrap_or(BEFORE_ALL)
    }

    fn response(
        &mut self,
        cx: &Cx<'_>,
        d: usize,
        raw: &[u8],
        body: Body,
        origin: &Origin,
    ) -> Message {
        let half = &self.halves[d];
        let first = half.head_origin.unwrap_or(*origin);
        let (start, flags) = (half.head_start, half.framer.flags());
        let truncated = half.head_len > raw.len() as u64;
        let Some((head, odd)) = decode::response(raw, half.head_len, first.time_ns) else {
            return Message::Uncounted;
        };
        let status = head.status;
        let informational = (100..200).contains(&status) && status != 101;
        self.answer(cx.link, d, !informational);
        if !informational && self.queue.has_none() && !self.exchanges.waiting.is_empty() {
            // The queue held the request that this answers: see `requeue_answered`.
            self.requeue(true);
        }
        if self.exchanges.order.gap {
            self.queue.set_unknown();
        }
        if informational {
            if status != 100 {
                self.exchanges.order.inform();
            }
            let asked = self.exchanges.awaiting_final().map(|pending| pending.ordinal);
            if status == 100 && asked == Some(self.halves[1 - d].ordinal) {
                // The body is wanted now, and comes.
                self.halves[1 - d].expects = false;
            }
            self.exchanges.hold_response(&head);
            if let Some(current) = &mut self.exchanges.current {
                current.informational.push((head, first));
                current.flags |= flags;
                if current.is_open() {
                    self.answer_begun(cx.link, Answered::Informed);
                }
            }
            self.note_unasked(cx.link);
            return Message::Uncounted;
        }
        if status == 408 {
            self.unsolicited(cx.link, d, &first);
            self.requeue(true);
        }
        let mut oddities = std::mem::take(&mut self.halves[d].oddities);
        oddities.retain(|name| *name != oddity::BODY_GAP);
        if truncated {
            oddities.push(oddity::HEADERS_TRUNCATED);
        }
        if status == 408 && self.cuts_short(cx.link, d, &first) {
            oddities.push(oddity::REQUEST_UNFINISHED);
        }
        let response = Box::new(Response {
            head_end_ns: origin.time_ns.max(first.time_ns),
            last_ns: origin.time_ns.max(first.time_ns),
            snippet: BodyStart::of_status(&cx.config.snippet, status),
            ..Response::new(head, first, start)
        });
        self.put_response(cx.link, response, flags | odd, body);
        if let Some(current) = &mut self.exchanges.current {
            current.oddities.append(&mut oddities);
        }
        Message::Response
    }

    pub(super) fn put_response(
        &mut self,
        link: &Link,
        response: Box<Response>,
        flags: u32,
        body: Body,
    ) {
        if link.client().is_none() || self.exchanges.current.is_none() {
            // No request was ever seen: the sender of a response is the server.
            self.exchanges.answer(response.start, None);
        }
        self.exchanges.hold_response(&response.head);
        if self.exchanges.count_final() {
            // The next response answers what came after the close.
            self.requeue(true);
        }
        let Some(current) = &mut self.exchanges.current else { return };
        let (status, is_open) = (response.head.status, current.is_open());
        current.response = Some(response);
        current.flags |= flags;
        current.body = body;
        if is_open {
            self.answer_begun(link, Answered::Taken);
        }
        if status != 408 {
            self.note_unasked(link);
        }
    }

    /// Notes that the request of the current head may not have been seen: later requests may then get
    /// the wrong answer.
    fn note_unasked(&mut self, link: &Link) {
        let exchanges = &mut self.exchanges;
        let unasked = exchanges.current.as_ref().is_some_and(|c| c.pending.is_none() && !c.owed)
            && exchanges.waiting.is_empty()
            && !exchanges.responses_lost
            && !exchanges.order.gap;
        if unasked && let Some(client) = link.client() {
            exchanges.order.requests_lost(self.halves[client].next);
        }
    }

    /// A 408 that came while the server waited for a request answers none (RFC 9110 §15.5.9).
    fn unsolicited(&mut self, link: &Link, d: usize, first: &Origin) {
        let Some(ack) = link.acknowledged(1 - d, self.halves[1 - d].next, first.ack) else {
            return;
        };
        let request = self.exchanges.answered().map(|pending| &pending.request);
        let current = self.exchanges.current.as_ref();
        let doubtful = current.is_some_and(|current| current.by_numbers);
        if doubtful || request.is_some_and(|request| ack <= request.start) {
            self.exchanges.unanswer();
        }
    }

    /// Sets the sender of direction `d` as the client; `first` says that this is known from the
    /// connection's first message.
    pub(super) fn turn(&mut self, cx: &mut Cx<'_>, d: usize, first: bool) {
        if cx.link.is_client(d) {
            return;
        }
        if cx.link.client().is_some() {
            // Client and server were confused: no waiting request can be paired.
            self.yield_current(cx, Outcome::Lost);
            self.unanswered(cx, None, false);
            if first {
                self.exchanges.order.begin_unknown(self.halves[d].next);
            } else {
                self.exchanges.order.requests_lost(self.halves[d].next);
            }
        } else {
            // Positions were noted without knowing which direction is the client's.
            let half = &self.halves[d];
            let in_head = half.message == Message::Head;
            let end = if in_head { half.head_start } else { half.next };
            self.exchanges.order.gap_goes_on(end);
            // Nor was the current head known to be a server's, whose segments acknowledge requests; its
            // body may be skipped.
            let server = &self.halves[1 - d];
            if let (Message::Head, Some(origin)) = (server.message, server.head_origin) {
                let order = &mut self.exchanges.order;
                order.server_segment(server.head_start, origin.ack);
            }
        }
        cx.link.set_client(d);
    }

    fn become_opaque(&mut self) {
        for (d, half) in self.halves.iter_mut().enumerate() {
            self.profile.opaque[d] = true;
            half.framer.set_opaque();
        }
    }
}

/// The protocol that a connection continues with after this response.
fn what_follows(current: &Transaction) -> Unreadable {
    let response = current.response.as_ref();
    let upgrade = response.and_then(|response| response.head.headers.first("upgrade"));
    let is_h2c = upgrade.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"));
    if is_h2c { Unreadable::Http2 } else { Unreadable::Tunnel }
}

/// Whether a request asks to be told whether its body is wanted (RFC 9110 §10.1.1).
fn expects_continue(headers: &Headers) -> bool {
    headers.all("expect").any(|value| value.to_ascii_lowercase().starts_with(b"100-continue"))
}
