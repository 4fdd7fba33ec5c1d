//! What a head makes of the messages in flight: a request that waits, a response that answers one,
//! a tunnel, or the end of what could be followed.

use bytes::Bytes;
use http_trace_common::framer::{Body, HeadFacts, MethodKind, Phase, RequestQueue, flag};
use http_trace_common::start_line::{Match, status_line};

use super::Judge;
use super::half::{Message, begins_with_method, unreadable};
use crate::flow::Origin;
use crate::flow::reassembly::first_position;
use crate::http::body::Start;
use crate::http::connection::Facts;
use crate::http::context::{Context, Emit};
use crate::http::decode;
use crate::http::emit::How;
use crate::http::transaction::{BEFORE_ALL, Request, Response};
use crate::stats::Unreadable;
use http_trace_model::event::{BodyEnd, oddity};

impl Judge {
    pub(super) fn head_begins(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        back: u8,
        origin: &Origin,
    ) {
        // A head where a body was possible: there was none.
        if self.halves[d].message != Message::None {
            let undecided = std::mem::take(&mut self.halves[d].undecided);
            let first = self.halves[d].undecided_origin;
            self.message_ends(
                facts,
                cx,
                d,
                BodyEnd::None,
                first.as_ref().unwrap_or(origin),
            );
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
            half.head_origin = half.undecided_origin.or(half.head_origin);
            half.undecided.clear();
        }
        let half = &mut self.halves[d];
        (half.asked, half.told, half.answered) = (false, false, false);
    }

    /// While the order is in doubt the framer must be told what a response answers before its head
    /// ends, since its body depends on that.
    pub(super) fn start_line_ends(&mut self, facts: &Facts, d: usize) {
        let half = &mut self.halves[d];
        if half.framer.phase() != Phase::Head {
            return;
        }
        half.asked = true;
        if half.framer.is_response() != Some(true) {
            return;
        }
        let ack = self.acknowledged(facts, d);
        let doubt = self.exchanges.responses_lost || self.queue.is_unknown();
        if doubt || self.is_too_early(d, ack) {
            self.answer(facts, d, false);
        }
    }

    /// Whether the response at hand cannot answer the request whose turn it is. One that answers
    /// none ([`Judge::unsolicited`]) changes nothing.
    fn is_too_early(&self, d: usize, ack: Option<u64>) -> bool {
        self.halves[d].framer.status() != 408 && self.exchanges.is_too_early(ack)
    }

    /// Up to where the head at hand in direction `d` acknowledges the other.
    pub(super) fn acknowledged(&self, facts: &Facts, d: usize) -> Option<u64> {
        let ack = self.halves[d].head_origin?.ack()?;
        Some(self.halves[1 - d].position(facts.known[1 - d], ack))
    }

    /// Finds the exchange that the response head in direction `d` belongs to; `taken` says that the
    /// framer has taken its request from the queue.
    fn answer(&mut self, facts: &Facts, d: usize, taken: bool) {
        if facts.client() != Some(1 - d as u8) {
            return;
        }
        let ack = self.acknowledged(facts, d);
        let start = self.halves[d].head_start;
        self.reach(1 - d, ack);
        if self.is_too_early(d, ack) {
            self.exchanges.answer_early();
            return self.requeue(taken);
        }
        if self.exchanges.answer(start, ack) {
            self.requeue(taken);
        }
    }

    /// What was acknowledged up to `ack` of a body that goes by in direction `d` is its request's, though
    /// a filter tells of it only with what follows.
    fn reach(&mut self, d: usize, ack: Option<u64>) {
        let half = &self.halves[d];
        if let (Message::Request, Some(ack)) = (half.message, ack) {
            let body_end = half.next.saturating_add(half.framer.skippable());
            if let Some(request) = self.exchanges.request_mut(half.ordinal) {
                request.end = request.end.max(body_end.min(ack));
            }
        }
    }

    /// The order of requests is known again: so is what the framer asks of them. It has no more to
    /// ask of the current one if it has `taken` it.
    fn requeue(&mut self, taken: bool) {
        self.queue = RequestQueue::new();
        let current = self
            .exchanges
            .current
            .as_ref()
            .and_then(|current| current.request.as_ref())
            .filter(|_| !taken);
        for request in current.into_iter().chain(&self.exchanges.waiting) {
            if request.after_gap || request.malformed {
                self.queue.set_unknown();
            }
            self.queue.push(request.kind);
        }
        if self.exchanges.order.gap() || self.exchanges.responses_lost {
            self.queue.set_unknown();
        }
    }

    /// Whether the response at hand answers CONNECT with 2xx (RFC 9112 §6.3, item 2): the framer
    /// does not know when the order was in doubt.
    fn tunnels(&self, message: Message) -> bool {
        message == Message::Response
            && self.exchanges.current.as_ref().is_some_and(|current| {
                let connect = current.request.as_ref().map(|request| request.kind);
                let status = current
                    .response
                    .as_ref()
                    .map(|response| response.head.status);
                connect == Some(MethodKind::Connect) && matches!(status, Some(200..=299))
            })
    }

    /// The head's bytes, of which `here` are in the piece at hand.
    pub(super) fn take_head(&mut self, d: usize, here: &[u8], cx: &Context<'_>) -> Bytes {
        let half = &mut self.halves[d];
        if half.head.is_empty() {
            return Bytes::copy_from_slice(here.get(..cx.config.head_bytes).unwrap_or(here));
        }
        let room = cx.config.head_bytes.saturating_sub(half.head.len());
        half.head
            .extend_from_slice(here.get(..room).unwrap_or(here));
        let bytes = Bytes::copy_from_slice(&half.head);
        half.head.clear();
        bytes
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call site, all of them what a head's end is"
    )]
    pub(super) fn head_ends(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        raw: Bytes,
        head: HeadFacts,
        body: Body,
        origin: &Origin,
    ) {
        let first = !facts.http;
        let malformed = self.halves[d].framer.flags() & flag::MALFORMED_REQUEST != 0;
        let response = matches!(head, HeadFacts::Response { .. });
        if response {
            self.answered_early(facts, cx, 1 - d);
        }
        // Nothing comes of a malformed request before HTTP/1.x answers it.
        let believed =
            !malformed || (facts.client() != Some(1 - d as u8) && begins_with_method(&raw));
        if believed && (facts.http || !malformed) {
            facts.met_http(cx, d, response);
        }
        if response && self.exchanges.waiting.iter().any(|r| r.malformed) {
            facts.framed[1 - d] = true;
        }
        let message = match head {
            HeadFacts::Request { .. } if !believed => self.not_a_request(facts, cx, d),
            HeadFacts::Request { method } => {
                self.turn(facts, cx, d, first);
                self.sight_request(facts, cx, d, &raw);
                self.request(facts, d, raw, method, origin, cx)
            }
            HeadFacts::Response { status: 0, .. } => {
                cx.stats.bad_status += 1;
                // Its request was answered, with nothing that could be an event.
                self.turn(facts, cx, 1 - d, first);
                self.answer(facts, d, true);
                drop(self.exchanges.take_current());
                Message::Uncounted
            }
            HeadFacts::Response { .. } => {
                self.turn(facts, cx, 1 - d, first);
                let message = self.response(facts, cx, d, &raw, body, origin);
                self.sight_response(facts, cx, d, &raw);
                message
            }
        };
        self.halves[d].message = message;
        let body = if self.tunnels(message) {
            Body::Tunnel
        } else {
            body
        };
        match body {
            Body::None | Body::Length(0) => {
                let end = if matches!(body, Body::None) {
                    BodyEnd::None
                } else {
                    BodyEnd::Length
                };
                self.message_ends(facts, cx, d, end, origin);
            }
            Body::Tunnel => {
                self.exchanges.tunnel_begins();
                self.message_ends(facts, cx, d, BodyEnd::Tunnel, origin);
                cx.stats.tunnels += 1;
                self.clear(1 - d);
                self.become_opaque(facts);
            }
            Body::Unknown => {
                cx.stats.became_unsure += 1;
                self.abandon(facts, cx, d);
                self.doubt(facts, cx, d);
            }
            Body::Length(_) | Body::Chunked | Body::Close => {
                if cx.config.emit == Emit::Head && self.halves[d].message == Message::Response {
                    self.emit_early(facts, cx, How::Open);
                }
            }
        }
    }

    /// What was framed as a malformed request is not believed: another may be due for an answer.
    fn not_a_request(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) -> Message {
        facts.unframed(cx, d, self.halves[d].head_len, false);
        facts.not_readable(cx, Unreadable::Other);
        self.doubt(facts, cx, d);
        Message::Uncounted
    }

    fn request(
        &mut self,
        facts: &Facts,
        d: usize,
        raw: Bytes,
        method: MethodKind,
        origin: &Origin,
        cx: &mut Context<'_>,
    ) -> Message {
        let half = &self.halves[d];
        let first = half.head_origin.unwrap_or(*origin);
        let Some((head, odd)) = decode::request(&raw, half.head_len) else {
            // The framer saw a request line that is longer than what is kept of a head.
            self.exchanges.order.requests_lost(half.next);
            cx.stats.requests_unmatched += 1;
            return Message::Uncounted;
        };
        let server_next = self.halves[1 - d].next;
        let ordinal = self.exchanges.push(
            Request {
                ack: self.received(facts, d, &first),
                malformed: odd & decode::MALFORMED_REQUEST != 0
                    || half.framer.flags() & flag::MALFORMED_REQUEST != 0,
                reported: half.told,
                ..Request::new(head, method, half.head_start, half.next, first)
            },
            server_next,
        );
        self.halves[d].ordinal = ordinal;
        Message::Request
    }

    /// How far the server's bytes had come to the client when it sent `first` in direction `d`.
    pub(super) fn received(&self, facts: &Facts, d: usize, first: &Origin) -> u64 {
        match first.ack() {
            Some(ack) => self.halves[1 - d].position(facts.known[1 - d], ack),
            // Without an acknowledgement it came with the SYN: before all that the server sent.
            None if facts.start_known[1 - d] => first_position(facts.start[1 - d]),
            None => BEFORE_ALL,
        }
    }

    fn response(
        &mut self,
        facts: &Facts,
        cx: &Context<'_>,
        d: usize,
        raw: &Bytes,
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
        self.answer(facts, d, !informational);
        if self.exchanges.order.gap() {
            self.queue.set_unknown();
        }
        if informational {
            self.note_unasked(facts);
            self.exchanges.hold_response(&head);
            if let Some(current) = &mut self.exchanges.current {
                current.informational.push((head, first));
                current.flags |= flags;
            }
            return Message::Uncounted;
        }
        if status == 408 {
            self.unsolicited(facts, d, &first);
        }
        let mut oddities = std::mem::take(&mut self.halves[d].oddities);
        oddities.retain(|name| *name != oddity::BODY_GAP);
        if truncated {
            oddities.push(oddity::HEADERS_TRUNCATED);
        }
        if status == 408 && self.cuts_short(facts, d, &first) {
            oddities.push(oddity::REQUEST_UNFINISHED);
        }
        oddities.extend(decode_flags(odd));
        self.put_response(
            facts,
            Response {
                head_end_ns: origin.time_ns,
                last_ns: origin.time_ns,
                snippet: Start::of_status(&cx.config.snippet, status),
                oddities,
                ..Response::new(head, first, start, flags, body)
            },
        );
        Message::Response
    }

    fn put_response(&mut self, facts: &Facts, response: Response) {
        if facts.client().is_none() || self.exchanges.current.is_none() {
            // No request was ever seen: who answers is the server.
            self.exchanges.answer(response.start, None);
        }
        self.exchanges.hold_response(&response.head);
        self.exchanges.count_final();
        let Some(current) = &mut self.exchanges.current else {
            return;
        };
        let status = response.head.status;
        let without_request = current.request.is_none();
        current.response = Some(response);
        if without_request && let Some(client) = facts.client() {
            self.answer_begun(usize::from(client & 1));
        }
        if status != 408 {
            self.note_unasked(facts);
        }
    }

    /// What the head at hand answers may not have been seen: what is asked since may then be
    /// another's answer.
    fn note_unasked(&mut self, facts: &Facts) {
        let exchanges = &mut self.exchanges;
        let unasked = exchanges
            .current
            .as_ref()
            .is_some_and(|c| c.request.is_none())
            && exchanges.waiting.is_empty()
            && !exchanges.responses_lost
            && !exchanges.order.gap();
        if unasked && let Some(client) = facts.client() {
            let client = usize::from(client & 1);
            exchanges.order.requests_lost(self.halves[client].next);
        }
    }

    /// A 408 that came while the server waited for a request answers none (RFC 9110 §15.5.9).
    fn unsolicited(&mut self, facts: &Facts, d: usize, first: &Origin) {
        let client = &self.halves[1 - d];
        let Some(ack) = first
            .ack()
            .map(|ack| client.position(facts.known[1 - d], ack))
        else {
            return;
        };
        let current = self.exchanges.current.as_ref();
        let request = current.and_then(|current| current.request.as_ref());
        let doubtful = current.is_some_and(|current| current.by_numbers);
        if doubtful || request.is_some_and(|request| ack <= request.start) {
            self.exchanges.unanswer();
            self.requeue(true);
        }
    }

    /// A response head that was cut off after its status line is an event all the same; of any
    /// other, `for_good` says, nothing more will come.
    pub(super) fn cut_head(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        for_good: bool,
    ) {
        let half = &self.halves[d];
        if status_line(&half.head) != Match::Yes || !decode::has_start_line(&half.head) {
            if for_good && !half.told {
                facts.unframed(cx, d, half.head_len, half.lost);
            }
            return;
        }
        let first = match half.head_origin {
            Some(origin) => origin,
            None => return,
        };
        let raw = Bytes::copy_from_slice(&half.head);
        let (start, flags) = (half.head_start, half.framer.flags());
        let Some((head, _)) = decode::response(&raw, half.head_len, first.time_ns) else {
            return;
        };
        let new = !facts.http;
        facts.met_http(cx, d, true);
        self.turn(facts, cx, 1 - d, new);
        self.answer(facts, d, false);
        if (100..200).contains(&head.status) {
            let half = &self.halves[d];
            facts.unframed(cx, d, half.head_len, half.lost);
            return;
        }
        self.put_response(
            facts,
            Response {
                head_cut: true,
                ..Response::new(head, first, start, flags, Body::Unknown)
            },
        );
        self.finish(facts, cx, How::Lost);
    }

    /// The client is the sender of direction `d`; `first` says that this shows in the connection's
    /// first message.
    pub(super) fn turn(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, first: bool) {
        let client = Some(d as u8);
        if facts.client() == client {
            return;
        }
        if facts.client().is_some() {
            // What was taken for the client answers, or the other way round: nothing that waits
            // can be paired.
            self.finish(facts, cx, How::Lost);
            self.unanswered(facts, cx, None);
            if first {
                self.exchanges.order.begin_unknown(self.halves[d].next);
            } else {
                self.exchanges.order.requests_lost(self.halves[d].next);
            }
        } else {
            // What was noted of either direction's places was a guess at whose they are.
            let half = &self.halves[d];
            let in_head = half.message == Message::Head;
            let end = if in_head { half.head_start } else { half.next };
            self.exchanges.order.gap_goes_on(end);
            // Nor was it known that the head at hand is a server's, whose segments tell what was
            // received; what comes of its body may be skipped.
            let server = &self.halves[1 - d];
            if let (Message::Head, Some(origin)) = (server.message, server.head_origin) {
                let order = &mut self.exchanges.order;
                order.server_segment(server.head_start, origin.ack());
            }
        }
        facts.set_client(d);
    }

    pub(super) fn not_http(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        bytes: &[u8],
    ) {
        facts.unframed(cx, d, self.halves[d].head_len, false);
        self.clear(d);
        if !facts.http && facts.client() == Some(1 - d as u8) {
            // What answers is no HTTP: nor was what it answers a request.
            drop(self.exchanges.drain_waiting());
        }
        if facts.http {
            cx.stats.became_unsure += 1;
        } else {
            let kind = unreadable(bytes);
            facts.not_readable(cx, kind);
            if kind != Unreadable::Other && facts.start_known[d] {
                // The peer may still answer in HTTP/1.x: a server says 400 to what it cannot read.
                facts.opaque[d] = true;
                self.halves[d].framer.set_opaque();
            }
        }
        let last = self.exchanges.waiting.back();
        if facts.client() == Some(d as u8) && last.is_some_and(|r| r.kind == MethodKind::Connect) {
            // The tunnel's first bytes, if the answer makes it one: that it answers CONNECT stays.
            let end = self.halves[d].next;
            self.exchanges.order.requests_lost(end);
        } else {
            self.doubt(facts, cx, d);
        }
        if !facts.framed[d] && facts.client() != Some(1 - d as u8) {
            // What came before the first request is another protocol's (SOCKS, PROXY).
            self.exchanges.order.begin_unknown(self.halves[d].next);
        }
    }

    fn become_opaque(&mut self, facts: &mut Facts) {
        facts.opaque = [true; 2];
        for half in &mut self.halves {
            half.framer.set_opaque();
        }
    }
}

fn decode_flags(odd: u32) -> impl Iterator<Item = &'static str> {
    [
        (decode::LINE_WITHOUT_COLON, oddity::LINE_WITHOUT_COLON),
        (decode::SPACE_BEFORE_COLON, oddity::SPACE_BEFORE_COLON),
        (decode::BAD_FIELD_NAME, oddity::BAD_FIELD_NAME),
    ]
    .into_iter()
    .filter(move |(bit, _)| odd & bit != 0)
    .map(|(_, name)| name)
}
