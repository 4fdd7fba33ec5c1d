//! Frames both directions of a connection and decides what was a message.
//!
//! Gets each direction's bytes in order, declared skips, holes that will not be filled and the
//! close. Knows nothing of segments but where one begins, since only there a direction whose
//! framing was lost is taken up again.

use bytes::Bytes;
use http_trace_common::framer::{
    Body, Event, Framer, HeadFacts, MethodKind, Phase, RequestQueue, Span,
};
use http_trace_common::start_line::{Match, request_line, status_line};

use super::connection::Facts;
use super::context::{Context, Emit};
use super::decode;
use super::emit::{self, How};
use super::transaction::{Exchanges, Request, Response};
use crate::event::{BodyEnd, NoResponse};
use crate::flow::Origin;
use crate::flow::reassembly::{first_position, position};
use crate::stats::Unreadable;

/// How a direction, or the connection, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Closed,
    /// RST.
    Reset,
    /// The capture, the run or the connection's time in the table is over.
    Stopped,
}

/// What a direction is in the middle of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Message {
    #[default]
    None,
    Head,
    Request,
    Response,
    /// A head with an impossible status code, and its body: framed, counted, no event.
    Uncounted,
}

/// One direction's framing.
#[derive(Debug)]
pub(crate) struct Half {
    pub framer: Framer,
    /// Position of the next byte.
    pub next: u64,
    message: Message,
    /// The head's bytes from before the piece at hand.
    head: Vec<u8>,
    head_len: u64,
    head_start: u64,
    head_origin: Option<Origin>,
    /// What the head at hand answers has been looked for.
    asked: bool,
    /// Bytes after a head that may be the next one ([`Phase::Peek`]).
    undecided: Vec<u8>,
    undecided_origin: Option<Origin>,
    /// Ordinal of the request whose body goes by.
    ordinal: u32,
    /// Names of oddities to be put on the response at hand.
    oddities: Vec<&'static str>,
}

impl Half {
    pub fn new(framer: Framer, next: u64) -> Self {
        Half {
            framer,
            next,
            message: Message::None,
            head: Vec::new(),
            head_len: 0,
            head_start: 0,
            head_origin: None,
            asked: false,
            undecided: Vec::new(),
            undecided_origin: None,
            ordinal: 0,
            oddities: Vec::new(),
        }
    }

    /// Nothing of a message is held.
    pub fn is_quiet(&self) -> bool {
        self.message == Message::None
            && match self.framer.phase() {
                Phase::Idle => self.framer.at_rest(),
                phase => matches!(phase, Phase::Unsure | Phase::Opaque),
            }
    }

    pub fn held(&self) -> usize {
        self.head.capacity() + self.undecided.capacity()
    }

    /// The position of an acknowledgement of this direction's bytes; `known` says whether any of
    /// them, or its SYN, was seen.
    fn position(&self, known: bool, ack: u32) -> u64 {
        if known {
            position(self.next, ack)
        } else {
            first_position(ack)
        }
    }

    fn odd(&mut self, name: &'static str) {
        if !self.oddities.contains(&name) {
            self.oddities.push(name);
        }
    }
}

/// Both directions' framing and what is in flight between them.
#[derive(Debug)]
pub(crate) struct Judge {
    pub halves: [Half; 2],
    pub queue: RequestQueue,
    pub exchanges: Exchanges,
}

impl Judge {
    /// `bytes` follow in direction `d`; `begins` says that a segment (or, from a filter, a head)
    /// begins with them.
    pub fn feed(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        bytes: &[u8],
        begins: bool,
        origin: &Origin,
    ) {
        if facts.client() == Some(1 - d as u8) && !bytes.is_empty() {
            self.exchanges
                .order
                .server_segment(self.halves[d].next, origin.ack());
        }
        if self.halves[d].framer.phase() == Phase::Unsure {
            let resumes = begins && begins_message(bytes);
            if !resumes {
                if !facts.http && facts.protocol == 0 && !bytes.is_empty() {
                    facts.not_readable(cx, unreadable(bytes));
                }
                self.halves[d].next += bytes.len() as u64;
                if facts.client() == Some(d as u8) {
                    self.exchanges.order.gap_goes_on(self.halves[d].next);
                }
                return;
            }
            self.halves[d].framer.restart();
            if facts.framed[d] {
                cx.stats.resynchronised += 1;
            }
        }
        let mut at = 0;
        // Where in `bytes` the head at hand begins.
        let mut head_from = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let half = &mut self.halves[d];
            let step = half.framer.step(&mut self.queue, rest);
            let taken = step.taken as usize;
            match step.span {
                Span::Head => half.head_len += taken as u64,
                Span::Body => self.count_body(d, taken as u64, origin),
                Span::ChunkFraming | Span::Trailers => self.count_framing(d, taken as u64, origin),
                Span::Undecided => {
                    if half.undecided.is_empty() {
                        half.undecided_origin = Some(*origin);
                    }
                    half.undecided
                        .extend_from_slice(rest.get(..taken).unwrap_or_default());
                }
                Span::Ignored => {}
            }
            at += taken;
            self.halves[d].next += taken as u64;
            match step.event {
                None => {
                    if self.halves[d].message == Message::Head && !self.halves[d].asked {
                        self.start_line_ends(facts, d);
                    }
                    if taken == 0 {
                        break;
                    }
                }
                Some(Event::HeadBegins { back }) => {
                    head_from = at;
                    self.head_begins(facts, cx, d, back, origin);
                }
                Some(Event::HeadEnds { head, body }) => {
                    let raw = self.take_head(d, bytes.get(head_from..at).unwrap_or_default(), cx);
                    self.head_ends(facts, cx, d, raw, head, body, origin);
                }
                Some(Event::NotHttp { .. }) => {
                    let mut start = std::mem::take(&mut self.halves[d].head);
                    start.extend_from_slice(bytes.get(head_from..).unwrap_or_default());
                    self.not_http(facts, cx, d, &start);
                }
                Some(event) => self.event(facts, cx, d, event, origin),
            }
        }
        let half = &mut self.halves[d];
        if half.message == Message::Head {
            let room = cx.config.head_bytes.saturating_sub(half.head.len());
            let rest = bytes.get(head_from..).unwrap_or_default();
            half.head
                .extend_from_slice(rest.get(..room).unwrap_or(rest));
        }
    }

    /// [next, next + n) was declared skipped as body.
    pub fn skip(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        n: u64,
        origin: &Origin,
    ) {
        // What is in doubt here was decided by the bytes that the filter saw and did not ship.
        if n > 0
            && let Some(event) = self.halves[d].framer.decide_body()
        {
            self.event(facts, cx, d, event, origin);
        }
        let known = n.min(self.halves[d].framer.skippable());
        self.step_over(facts, cx, d, known, origin);
        let rest = n - known;
        if rest == 0 {
            return;
        }
        if !matches!(self.halves[d].framer.phase(), Phase::Unsure | Phase::Opaque) {
            cx.stats.filter_disagrees += 1;
        }
        self.lose(facts, cx, d, rest);
    }

    /// [next, next + n) will not come.
    pub fn hole(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        n: u64,
        origin: &Origin,
    ) {
        let known = n.min(self.halves[d].framer.skippable());
        if known > 0 && self.halves[d].framer.phase() != Phase::Opaque {
            self.halves[d].odd("body_gap");
            self.flag_response(d, "body_gap");
        }
        self.step_over(facts, cx, d, known, origin);
        if n > known {
            self.lose(facts, cx, d, n - known);
        }
    }

    fn step_over(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        n: u64,
        origin: &Origin,
    ) {
        if n == 0 {
            return;
        }
        let event = self.halves[d].framer.skip(n);
        self.halves[d].next += n;
        self.count_body(d, n, origin);
        if let Some(event) = event {
            self.event(facts, cx, d, event, origin);
        }
    }

    /// `n` bytes are missing where messages could begin or end.
    fn lose(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, n: u64) {
        self.halves[d].next += n;
        if self.halves[d].framer.phase() == Phase::Opaque {
            return;
        }
        self.abandon(facts, cx, d);
        if self.halves[d].framer.phase() != Phase::Unsure {
            cx.stats.became_unsure += 1;
        }
        self.halves[d].framer.lose();
        self.doubt(facts, d);
    }

    /// Messages may have gone by unseen in direction `d`.
    pub fn doubt(&mut self, facts: &Facts, d: usize) {
        if facts.client() != Some(1 - d as u8) {
            let end = self.halves[d].next;
            self.exchanges.order.requests_lost(end);
            self.queue.set_unknown();
        }
        if facts.client() != Some(d as u8) {
            self.exchanges.responses_lost = true;
            self.queue.set_unknown();
        }
    }

    /// The message at hand in direction `d` cannot be followed to its end.
    fn abandon(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) {
        match self.halves[d].message {
            Message::Head => self.cut_head(facts, cx, d),
            Message::Response => self.finish(facts, cx, How::Lost),
            _ => {}
        }
        self.clear(d);
    }

    fn clear(&mut self, d: usize) {
        let half = &mut self.halves[d];
        half.message = Message::None;
        half.head.clear();
        half.undecided.clear();
        half.undecided_origin = None;
        half.oddities.clear();
    }

    /// The direction has come to its end.
    pub fn close(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, end: End) {
        let half = &mut self.halves[d];
        let phase = half.framer.phase();
        let undecided = half.undecided.len() as u64;
        match half.message {
            Message::Head => {
                self.cut_head(facts, cx, d);
                self.clear(d);
            }
            Message::Response => {
                let how = match (end, phase) {
                    (End::Stopped, _) => How::Open,
                    (End::Closed, Phase::UntilClose) => How::Ended(BodyEnd::Close),
                    // Nobody knew whether there was a body; none came.
                    (End::Closed, Phase::Peek) if undecided == 0 => How::Ended(BodyEnd::None),
                    _ => How::Ended(BodyEnd::Cut),
                };
                if let Some(response) = self
                    .exchanges
                    .current
                    .as_mut()
                    .and_then(|c| c.response.as_mut())
                {
                    response.body_bytes += undecided;
                }
                self.finish(facts, cx, how);
                self.clear(d);
            }
            _ => self.clear(d),
        }
    }

    /// Requests that no response will come for are told, 1xx heads without a final one too.
    pub fn unanswered(&mut self, facts: &mut Facts, cx: &mut Context<'_>, why: Option<NoResponse>) {
        if self
            .exchanges
            .current
            .as_ref()
            .is_some_and(|c| c.response.is_none() && !c.emitted)
        {
            if self
                .exchanges
                .current
                .as_ref()
                .is_some_and(|c| c.informational.is_empty())
            {
                self.exchanges.unanswer();
                drop(self.exchanges.take_current());
            } else if let Some(exchange) = self.exchanges.take_current() {
                emit::informational_alone(facts, cx, exchange);
            }
        }
        for (request, certain) in self.exchanges.drain_waiting() {
            if request.reported {
                continue;
            }
            match why {
                Some(why) if certain => emit::no_response(facts, cx, request, why),
                _ => cx.stats.requests_unmatched += 1,
            }
        }
    }

    fn event(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        event: Event,
        origin: &Origin,
    ) {
        match event {
            Event::BodyBegins { back } => {
                self.count_body(d, u64::from(back), origin);
                self.halves[d].undecided.clear();
            }
            Event::MessageEnds => {
                let response = self
                    .exchanges
                    .current
                    .as_ref()
                    .and_then(|c| c.response.as_ref());
                let chunked = response.is_some_and(|r| matches!(r.body, Body::Chunked));
                let end = if chunked {
                    BodyEnd::Chunked
                } else {
                    BodyEnd::Length
                };
                self.message_ends(facts, cx, d, end, origin);
            }
            Event::Lost => {
                cx.stats.became_unsure += 1;
                self.abandon(facts, cx, d);
                self.doubt(facts, d);
            }
            Event::HeadBegins { .. } | Event::HeadEnds { .. } | Event::NotHttp { .. } => {}
        }
    }

    fn message_ends(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        end: BodyEnd,
        origin: &Origin,
    ) {
        match self.halves[d].message {
            Message::Request => {
                let (ordinal, next) = (self.halves[d].ordinal, self.halves[d].next);
                if let Some(request) = self.exchanges.request_mut(ordinal) {
                    request.end_ns = Some(origin.time_ns);
                    request.end = next;
                }
            }
            Message::Response => {
                if let Some(response) = self
                    .exchanges
                    .current
                    .as_mut()
                    .and_then(|c| c.response.as_mut())
                {
                    response.last_ns = origin.time_ns;
                }
                self.finish(facts, cx, How::Ended(end));
            }
            Message::None | Message::Head | Message::Uncounted => {}
        }
        self.clear(d);
    }

    fn head_begins(
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
        if back > 0 {
            half.head.extend_from_slice(&half.undecided);
            half.head_origin = half.undecided_origin.or(half.head_origin);
            half.undecided.clear();
        }
        self.halves[d].asked = false;
    }

    /// While the order is in doubt the framer must be told what a response answers before its head
    /// ends, since its body depends on that.
    fn start_line_ends(&mut self, facts: &Facts, d: usize) {
        let half = &mut self.halves[d];
        if half.framer.phase() != Phase::Head {
            return;
        }
        half.asked = true;
        if half.framer.is_response() == Some(true)
            && (self.exchanges.responses_lost || self.queue.is_unknown())
        {
            self.answer(facts, d);
        }
    }

    /// Finds the exchange that the response head in direction `d` belongs to.
    fn answer(&mut self, facts: &Facts, d: usize) {
        if facts.client() != Some(1 - d as u8) {
            return;
        }
        let half = &self.halves[d];
        let client = &self.halves[1 - d];
        let ack = half
            .head_origin
            .and_then(|origin| origin.ack())
            .map(|ack| client.position(facts.known[1 - d], ack));
        if self.exchanges.answer(half.head_start, ack) {
            self.requeue();
        }
    }

    /// The order of requests is known again: so is what the framer asks of them.
    fn requeue(&mut self) {
        self.queue = RequestQueue::new();
        let current = self
            .exchanges
            .current
            .as_ref()
            .and_then(|current| current.request.as_ref());
        for request in current.into_iter().chain(&self.exchanges.waiting) {
            if request.after_gap {
                self.queue.set_unknown();
            }
            self.queue.push(request.kind);
        }
        if self.exchanges.order.gap() {
            self.queue.set_unknown();
        }
    }

    /// The head's bytes, of which `here` are in the piece at hand.
    fn take_head(&mut self, d: usize, here: &[u8], cx: &Context<'_>) -> Bytes {
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
    fn head_ends(
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
        facts.met_http(cx, d, matches!(head, HeadFacts::Response { .. }));
        let message = match head {
            HeadFacts::Request { method } => {
                self.turn(facts, cx, d, first);
                self.request(facts, d, raw, method, origin, cx)
            }
            HeadFacts::Response { status: 0, .. } => {
                cx.stats.bad_status += 1;
                // Its request was answered, with nothing that could be an event.
                self.turn(facts, cx, 1 - d, first);
                self.answer(facts, d);
                drop(self.exchanges.take_current());
                Message::Uncounted
            }
            HeadFacts::Response { status, .. } => {
                self.turn(facts, cx, 1 - d, first);
                self.response(facts, d, &raw, status, body, origin)
            }
        };
        self.halves[d].message = message;
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
                self.message_ends(facts, cx, d, BodyEnd::Tunnel, origin);
                cx.stats.tunnels += 1;
                self.become_opaque(facts);
            }
            Body::Unknown => {
                cx.stats.became_unsure += 1;
                self.abandon(facts, cx, d);
                self.doubt(facts, d);
            }
            Body::Length(_) | Body::Chunked | Body::Close => {
                if cx.config.emit == Emit::Head && self.halves[d].message == Message::Response {
                    self.emit_early(facts, cx);
                }
            }
        }
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
        let Some((head, _)) = decode::request(&raw, half.head_len) else {
            // The framer saw a request line that is longer than what is kept of a head.
            self.exchanges.order.requests_lost(half.next);
            cx.stats.requests_unmatched += 1;
            return Message::Uncounted;
        };
        let server = &self.halves[1 - d];
        let server_next = server.next;
        let ack = first
            .ack()
            .map(|ack| server.position(facts.known[1 - d], ack));
        let ordinal = self.exchanges.push(
            Request {
                head,
                kind: method,
                ordinal: 0,
                start: half.head_start,
                end: half.next,
                ack,
                start_ns: first.time_ns,
                end_ns: None,
                body_bytes: 0,
                after_gap: false,
                begins_batch: false,
                first_known: false,
                reported: false,
                origin: first,
            },
            server_next,
        );
        self.halves[d].ordinal = ordinal;
        Message::Request
    }

    fn response(
        &mut self,
        facts: &Facts,
        d: usize,
        raw: &Bytes,
        status: u16,
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
        self.answer(facts, d);
        let informational = (100..200).contains(&status) && status != 101;
        if informational {
            self.exchanges.hold_response(&head);
            if let Some(current) = &mut self.exchanges.current {
                current.informational.push((head, first));
            }
            return Message::Uncounted;
        }
        if status == 408 {
            self.unsolicited(facts, d, &first);
        }
        let mut oddities = std::mem::take(&mut self.halves[d].oddities);
        oddities.retain(|name| *name != "body_gap");
        if truncated {
            oddities.push("headers_truncated");
        }
        oddities.extend(decode_flags(odd));
        self.put_response(
            facts,
            Response {
                head,
                origin: first,
                interfaces: first.interfaces,
                start,
                head_end_ns: origin.time_ns,
                last_ns: origin.time_ns,
                body_bytes: 0,
                framing_bytes: 0,
                flags,
                body,
                oddities,
                copies: 0,
                head_cut: false,
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
        current.response = Some(response);
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
        let request = self
            .exchanges
            .current
            .as_ref()
            .and_then(|current| current.request.as_ref());
        if request.is_some_and(|request| ack <= request.start) {
            self.exchanges.unanswer();
            self.requeue();
        }
    }

    /// A response head that was cut off after its status line is an event all the same.
    fn cut_head(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) {
        let half = &self.halves[d];
        if status_line(&half.head) != Match::Yes || !decode::has_start_line(&half.head) {
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
        self.answer(facts, d);
        if (100..200).contains(&head.status) {
            return;
        }
        self.put_response(
            facts,
            Response {
                head,
                origin: first,
                interfaces: first.interfaces,
                start,
                head_end_ns: 0,
                last_ns: 0,
                body_bytes: 0,
                framing_bytes: 0,
                flags,
                body: Body::Unknown,
                oddities: Vec::new(),
                copies: 0,
                head_cut: true,
            },
        );
        self.finish(facts, cx, How::Lost);
    }

    /// The client is the sender of direction `d`; `first` says that this shows in the connection's
    /// first message.
    fn turn(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, first: bool) {
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
                self.exchanges.order.begin_unknown();
            } else {
                self.exchanges.order.requests_lost(self.halves[d].next);
            }
        }
        facts.set_client(d);
    }

    fn not_http(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, bytes: &[u8]) {
        self.clear(d);
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
        self.doubt(facts, d);
        if !facts.framed[d] && facts.client() != Some(1 - d as u8) {
            // What came before the first request is another protocol's (SOCKS, PROXY).
            self.exchanges.order.begin_unknown();
        }
    }

    fn become_opaque(&mut self, facts: &mut Facts) {
        facts.opaque = [true; 2];
        for half in &mut self.halves {
            half.framer.set_opaque();
        }
    }

    fn count_body(&mut self, d: usize, n: u64, origin: &Origin) {
        match self.halves[d].message {
            Message::Response => {
                if let Some(response) = self
                    .exchanges
                    .current
                    .as_mut()
                    .and_then(|c| c.response.as_mut())
                {
                    response.body_bytes += n;
                    response.last_ns = origin.time_ns;
                }
            }
            Message::Request => {
                let ordinal = self.halves[d].ordinal;
                let next = self.halves[d].next;
                if let Some(request) = self.exchanges.request_mut(ordinal) {
                    request.body_bytes += n;
                    request.end = next.max(request.end);
                }
            }
            Message::None | Message::Head | Message::Uncounted => {}
        }
    }

    fn count_framing(&mut self, d: usize, n: u64, origin: &Origin) {
        if self.halves[d].message == Message::Response
            && let Some(response) = self
                .exchanges
                .current
                .as_mut()
                .and_then(|c| c.response.as_mut())
        {
            response.framing_bytes += n;
            response.last_ns = origin.time_ns;
        }
    }

    /// Names an oddity of the response that goes by in direction `d`.
    pub fn flag_response(&mut self, d: usize, name: &'static str) {
        if self.halves[d].message == Message::Response
            && let Some(response) = self
                .exchanges
                .current
                .as_mut()
                .and_then(|c| c.response.as_mut())
            && !response.oddities.contains(&name)
        {
            response.oddities.push(name);
        } else if self.halves[d].message == Message::Head {
            self.halves[d].odd(name);
        }
    }

    /// Names an oddity of the bytes that come next in direction `d`.
    pub fn flag_next(&mut self, d: usize, name: &'static str) {
        self.halves[d].odd(name);
        self.flag_response(d, name);
    }

    /// Requests that have waited too long are told, once.
    pub fn overdue(&mut self, facts: &Facts, cx: &mut Context<'_>, why: NoResponse, heard: bool) {
        let mut certain = heard && !self.exchanges.responses_lost;
        for request in &mut self.exchanges.waiting {
            certain &= !request.after_gap;
            let due = request
                .end_ns
                .map(|end| end.saturating_add(cx.config.response_timeout_ns));
            if request.reported || due.is_none_or(|due| due > cx.now_ns) {
                continue;
            }
            request.reported = true;
            if certain {
                emit::no_response(facts, cx, request.clone(), why);
            }
        }
    }

    /// Bytes before `next` came again: the response's, if it goes on.
    pub fn copied(&mut self, d: usize, end: u64, count: u32, interfaces: &[u32; 4]) {
        if self.halves[d].message != Message::Response {
            return;
        }
        if let Some(response) = self
            .exchanges
            .current
            .as_mut()
            .and_then(|c| c.response.as_mut())
            && end > response.start
        {
            response.copies = response.copies.saturating_add(count);
            merge_interfaces(&mut response.interfaces, interfaces);
        }
    }

    /// Writes the event of the response at hand before its end.
    pub fn emit_early(&mut self, facts: &mut Facts, cx: &mut Context<'_>) {
        if let Some(exchange) = self.exchanges.take_for_early_event() {
            emit::response(facts, cx, exchange, How::Open);
        }
    }

    /// The response at hand is over, or cannot be followed any further.
    fn finish(&mut self, facts: &mut Facts, cx: &mut Context<'_>, how: How) {
        if !self
            .exchanges
            .current
            .as_ref()
            .is_some_and(|c| c.response.is_some() || c.emitted)
        {
            return;
        }
        if let Some(exchange) = self.exchanges.take_current()
            && !exchange.emitted
        {
            emit::response(facts, cx, exchange, how);
        }
    }
}

/// Adds interfaces that are not there yet, while there is room.
pub(crate) fn merge_interfaces(into: &mut [u32; 4], from: &[u32; 4]) {
    for &index in from.iter().filter(|&&index| index != 0) {
        if !into.contains(&index)
            && let Some(free) = into.iter_mut().find(|slot| **slot == 0)
        {
            *free = index;
        }
    }
}

/// Whether a segment's bytes are, or may be, the beginning of a message.
pub(crate) fn begins_message(bytes: &[u8]) -> bool {
    match status_line(bytes) {
        Match::Yes => return true,
        Match::NeedMore if bytes.len() >= 5 => return true,
        _ => {}
    }
    match request_line(bytes) {
        Match::Yes => true,
        // The line goes on in the next segment: believed when its method is in capitals.
        Match::NeedMore => bytes
            .iter()
            .position(|&b| b == b' ')
            .and_then(|sp| bytes.get(..sp))
            .is_some_and(|method| method.len() >= 3 && method.iter().all(u8::is_ascii_uppercase)),
        Match::No => false,
    }
}

/// What protocol the first bytes of a direction show.
pub(crate) fn unreadable(bytes: &[u8]) -> Unreadable {
    match bytes {
        // A TLS record: content type, then version 3.x (RFC 8446 §5.1).
        [0x14..=0x17, 0x03, 0x00..=0x04, ..] => Unreadable::Tls,
        _ if bytes.starts_with(b"PRI * HTTP/2.0") => Unreadable::Http2,
        _ => Unreadable::Other,
    }
}

fn decode_flags(odd: u32) -> impl Iterator<Item = &'static str> {
    [
        (decode::LINE_WITHOUT_COLON, "line_without_colon"),
        (decode::SPACE_BEFORE_COLON, "space_before_colon"),
        (decode::BAD_FIELD_NAME, "bad_field_name"),
    ]
    .into_iter()
    .filter(move |(bit, _)| odd & bit != 0)
    .map(|(_, name)| name)
}
