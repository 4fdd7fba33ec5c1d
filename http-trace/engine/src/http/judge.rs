//! Frames both directions of a connection and decides what was a message.
//!
//! Gets each direction's bytes in order, declared skips, holes that will not be filled and the
//! close. Knows nothing of segments but where one begins, since only there a direction whose
//! framing was lost is taken up again.

mod begun;
mod half;
mod heads;
mod lines;
mod sight;

use http_trace_common::flow::seq_distance;
use http_trace_common::framer::{Body, Event, MethodKind, Phase, RequestQueue, Span};
use http_trace_common::record::{Hook, flag};
use http_trace_common::start_line::{Match, status_line};

use self::half::Message;
pub(crate) use self::half::{Half, begins_message, unreadable};
use super::body::Start;
use super::connection::Facts;
use super::context::Context;
use super::emit::{self, How};
use super::preface;
use super::transaction::Exchanges;
use crate::flow::Origin;
use crate::flow::reassembly::first_position;
use http_trace_model::event::{BodyEnd, NoResponse, oddity};

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
        if self.halves[d].framer.awaits_first_field()
            && begins
            && begins_message(bytes, facts.carries_responses(d))
        {
            // No field follows the malformed line, but another message.
            let start = std::mem::take(&mut self.halves[d].head);
            self.halves[d].framer.lose();
            self.not_http(facts, cx, d, &start);
        }
        if begins && self.is_refused(d) && half::begins_request(bytes) {
            self.message_ends(facts, cx, d, BodyEnd::None, origin);
            self.halves[d].framer.leave_out_body();
        }
        if self.halves[d].framer.phase() == Phase::Unsure {
            let whole = begins_message(bytes, facts.carries_responses(d));
            let resumes = begins && (whole || origin.framed_by_filter() && half::may_begin(bytes));
            if !resumes {
                if !facts.http && facts.protocol == 0 && !bytes.is_empty() {
                    facts.not_readable(cx, unreadable(bytes));
                }
                facts.unframed(cx, d, bytes.len() as u64, self.halves[d].lost);
                self.halves[d].next += bytes.len() as u64;
                self.halves[d].passed_head |= half::end_as_heads_do(bytes);
                if facts.client() == Some(d as u8) {
                    let (order, next) = (&mut self.exchanges.order, self.halves[d].next);
                    if order.begins_unknown() && facts.framed[1 - d] {
                        // The server had answered before: what is not understood may be a request.
                        order.requests_lost(next);
                    }
                    order.gap_goes_on(next);
                }
                return;
            }
            self.halves[d].framer.restart();
            self.halves[d].lost = false;
            let passed_head = std::mem::take(&mut self.halves[d].passed_head);
            if passed_head && self.exchanges.order.begins_unknown() && !is_response(bytes) {
                // The rest of a request's head: this is not the first.
                self.exchanges.order.requests_lost(self.halves[d].next);
            }
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
            // Before the request's end is noted, which is after these.
            half.next += taken as u64;
            match step.span {
                Span::Head => half.head_len += taken as u64,
                Span::Body => {
                    self.count_body(d, taken as u64, origin);
                    self.keep_body(d, rest.get(..taken).unwrap_or_default());
                }
                Span::ChunkFraming | Span::Trailers => self.count_framing(d, taken as u64, origin),
                Span::Undecided => {
                    if half.undecided.is_empty() {
                        half.undecided_origin = Some(*origin);
                    }
                    half.undecided
                        .extend_from_slice(rest.get(..taken).unwrap_or_default());
                }
                Span::Ignored if half.framer.phase() == Phase::Unsure => {
                    let lost = half.lost;
                    facts.unframed(cx, d, taken as u64, lost);
                }
                Span::Ignored => {}
            }
            at += taken;
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
                Some(Event::Preface) => {
                    let raw = self.take_head(d, bytes.get(head_from..at).unwrap_or_default(), cx);
                    if let Some(source) = preface::source(&raw) {
                        cx.proxied.entry(facts.number).or_insert(source);
                    }
                    self.clear(d);
                }
                Some(Event::NotHttp { .. }) => {
                    let start = self.take_head(d, bytes.get(head_from..).unwrap_or_default(), cx);
                    // No other head may come for long.
                    self.halves[d].head = Vec::new();
                    self.other_request(facts, cx, d, &start, false);
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

    /// Whether direction `d` owes the body of a request that was answered before any of it came.
    fn is_refused(&self, d: usize) -> bool {
        self.halves[d].message == Message::Request
            && self.halves[d].framer.is_body_unbegun()
            && self.queue.has_none()
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
        // A filter that does not know which request is answered takes for body what follows an answer
        // to HEAD and is no start line; that is told as bytes that nothing framed, and no more.
        let guessed = origin.flags & flag::ORDER_UNKNOWN != 0;
        if !guessed && !matches!(self.halves[d].framer.phase(), Phase::Unsure | Phase::Opaque) {
            cx.stats.filter_disagrees += 1;
        }
        if self.halves[d].framer.phase() != Phase::Opaque {
            facts.unframed(cx, d, rest, origin.hook() != Hook::Capture);
        }
        self.lose(facts, cx, d, rest, origin);
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
            self.halves[d].odd(oddity::BODY_GAP);
            self.flag_response(d, oddity::BODY_GAP);
        }
        self.step_over(facts, cx, d, known, origin);
        if n > known {
            self.lose(facts, cx, d, n - known, origin);
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
        if let Some(start) = self.start_of_body(d) {
            start.close();
        }
        if let Some(event) = event {
            self.event(facts, cx, d, event, origin);
        }
    }

    /// `n` bytes are missing where messages could begin or end.
    fn lose(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, n: u64, origin: &Origin) {
        let begins = facts.start_known[d]
            && !facts.framed[d]
            && self.halves[d].next == first_position(facts.start[d]);
        self.halves[d].next += n;
        if self.halves[d].framer.phase() == Phase::Opaque {
            return;
        }
        self.abandon(facts, cx, d);
        if self.halves[d].framer.phase() != Phase::Unsure {
            cx.stats.became_unsure += 1;
        }
        self.halves[d].framer.lose();
        self.halves[d].lost = origin.hook() != Hook::Capture;
        self.doubt(facts, cx, d);
        let spoken = facts.start_known[1 - d]
            && origin
                .ack()
                .is_some_and(|ack| seq_distance(facts.start[1 - d], ack) > 0);
        let filtered = origin.flags & flag::FILTERED != 0;
        if begins && filtered && spoken && facts.client() != Some(1 - d as u8) {
            // The filter passes over what is no start line (SOCKS), and the peer has answered it.
            self.exchanges.order.begin_unknown(self.halves[d].next);
        }
    }

    /// Direction `d` goes on at `to`, so far off that nobody knows what is missing before it.
    pub fn lose_track(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        to: u64,
        origin: &Origin,
    ) {
        self.halves[d].next = to;
        self.lose(facts, cx, d, 0, origin);
    }

    /// What direction `d` carried so far is not known: which requests, or which of them are answered.
    pub fn taken_up(&mut self, facts: &Facts, d: usize) {
        self.exchanges.responses_lost |= facts.client() != Some(d as u8);
        self.queue.set_unknown();
    }

    /// Messages may have gone by unseen in direction `d`.
    pub fn doubt(&mut self, facts: &Facts, cx: &mut Context<'_>, d: usize) {
        if facts.client() != Some(1 - d as u8) {
            let end = self.halves[d].next;
            self.exchanges.order.requests_lost(end);
            self.queue.set_unknown();
        }
        if facts.client() != Some(d as u8) {
            self.exchanges.responses_lost = true;
            if let Some(exchange) = self.exchanges.take_unfinished() {
                emit::informational_alone(facts, cx, exchange);
            }
            self.queue.set_unknown();
        }
    }

    /// The message at hand in direction `d` cannot be followed to its end.
    fn abandon(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) {
        match self.halves[d].message {
            Message::Head => self.cut_head(facts, cx, d, true),
            Message::Response => self.finish(facts, cx, How::Lost),
            Message::Request => {
                // Where it ends cannot be told any more; it may have ended.
                if let Some(request) = self.exchanges.waiting.back_mut() {
                    request.end_lost = true;
                }
            }
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
                self.cut_head(facts, cx, d, end != End::Stopped);
                self.clear(d);
            }
            Message::Response => {
                let how = match (end, phase) {
                    (End::Stopped, _) => How::Open,
                    (End::Closed, Phase::UntilClose) => How::Ended(BodyEnd::Close),
                    // Nobody knew whether there was a body; none came.
                    (End::Closed, Phase::Peek) if undecided == 0 => {
                        let current = self.exchanges.current.as_ref();
                        let response = current.and_then(|current| current.response.as_ref());
                        let until_close = response.is_some_and(|r| matches!(r.body, Body::Close));
                        How::Ended(if until_close {
                            BodyEnd::Close
                        } else {
                            BodyEnd::None
                        })
                    }
                    _ => How::Ended(BodyEnd::Cut),
                };
                if let Some(response) = self.exchanges.response_mut() {
                    response.body_bytes += undecided;
                }
                self.finish(facts, cx, how);
                self.clear(d);
            }
            _ => self.clear(d),
        }
    }

    /// Requests that no response will come for are told, 1xx heads without a final one too; with why,
    /// and since when.
    pub fn unanswered(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        why: Option<(NoResponse, u64)>,
    ) {
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
            if !facts.http {
                // A malformed request line alone shows none.
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
                let undecided = std::mem::take(&mut self.halves[d].undecided);
                let from = undecided.len().saturating_sub(usize::from(back));
                self.keep_body(d, undecided.get(from..).unwrap_or_default());
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
                self.doubt(facts, cx, d);
            }
            Event::HeadBegins { .. }
            | Event::HeadEnds { .. }
            | Event::Preface
            | Event::NotHttp { .. } => {}
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
                if let Some(response) = self.exchanges.response_mut() {
                    response.last_ns = origin.time_ns;
                }
                self.finish(facts, cx, How::Ended(end));
            }
            Message::None | Message::Head | Message::Uncounted => {}
        }
        self.clear(d);
    }

    fn count_body(&mut self, d: usize, n: u64, origin: &Origin) {
        match self.halves[d].message {
            Message::Response => {
                if let Some(response) = self.exchanges.response_mut() {
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

    /// Keeps the first bytes of a response's body, if they are wanted.
    fn keep_body(&mut self, d: usize, bytes: &[u8]) {
        if let Some(start) = self.start_of_body(d) {
            start.push(bytes);
        }
    }

    fn start_of_body(&mut self, d: usize) -> Option<&mut Start> {
        if self.halves[d].message != Message::Response {
            return None;
        }
        let current = self.exchanges.current.as_mut()?;
        Some(&mut current.response.as_mut()?.snippet)
    }

    fn count_framing(&mut self, d: usize, n: u64, origin: &Origin) {
        match self.halves[d].message {
            Message::Response => {
                if let Some(response) = self.exchanges.response_mut() {
                    response.framing_bytes += n;
                    response.last_ns = origin.time_ns;
                }
            }
            Message::Request => {
                let (ordinal, next) = (self.halves[d].ordinal, self.halves[d].next);
                if let Some(request) = self.exchanges.request_mut(ordinal) {
                    request.end = next.max(request.end);
                }
            }
            Message::None | Message::Head | Message::Uncounted => {}
        }
    }

    /// Names an oddity of the response that goes by in direction `d`.
    pub fn flag_response(&mut self, d: usize, name: &'static str) {
        if self.halves[d].message == Message::Response
            && let Some(response) = self.exchanges.response_mut()
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
            let sure = certain;
            // What follows may be the tunnel's.
            certain &= request.kind != MethodKind::Connect;
            let due = request
                .end_ns
                .map(|end| end.saturating_add(cx.config.response_timeout_ns));
            if request.reported || due.is_none_or(|due| due > cx.now_ns) {
                continue;
            }
            request.reported = true;
            if sure && facts.http {
                emit::no_response(facts, cx, request.clone(), (why, cx.now_ns));
            }
        }
    }

    /// When the first line began, of those that are a malformed request's if a field follows.
    pub fn awaits_first_field_since(&self) -> Option<u64> {
        let awaiting = self.halves.iter().filter(|h| h.framer.awaits_first_field());
        awaiting.filter_map(|h| Some(h.head_origin?.time_ns)).min()
    }

    /// Lines that no field follows for long are no requests: protocols of lines have such, and
    /// would be held as long as their connections last.
    pub fn first_fields_overdue(&mut self, facts: &mut Facts, cx: &mut Context<'_>) {
        let since = cx.now_ns.saturating_sub(cx.config.response_timeout_ns);
        for d in 0..2 {
            let half = &mut self.halves[d];
            let begun_ns = half.head_origin.map_or(0, |origin| origin.time_ns);
            if half.framer.awaits_first_field() && begun_ns <= since {
                let line = std::mem::take(&mut half.head);
                half.framer.lose();
                self.not_http(facts, cx, d, &line);
            }
        }
    }

    /// Bytes before `next` came again: the response's, if it goes on.
    pub fn copied(&mut self, d: usize, end: u64, count: u32, origin: &Origin) {
        if self.halves[d].message != Message::Response {
            return;
        }
        if let Some(response) = self.exchanges.response_mut()
            && end > response.start
        {
            // The same bytes on the other side of a translation were sent but once.
            if response.origin.path == origin.path {
                response.copies = response.copies.saturating_add(count);
            }
            merge_interfaces(&mut response.interfaces, &origin.interfaces);
        }
    }

    /// Writes the event of the response at hand before its end.
    pub fn emit_early(&mut self, facts: &mut Facts, cx: &mut Context<'_>, how: How) {
        if let Some(exchange) = self.exchanges.take_for_early_event() {
            emit::response(facts, cx, exchange, how);
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

/// Whether a message that begins with these bytes is a response.
fn is_response(bytes: &[u8]) -> bool {
    status_line(bytes) != Match::No
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
