//! Follows the message framing of both directions: bytes in order become heads, bodies and ends.
//!
//! It knows segments only by where they begin: a direction whose framing was lost resynchronises nowhere
//! else.

use http_trace_common::framer::{Body, Event, Phase, Span};
use http_trace_common::record::flag;
use http_trace_common::start_line::{Match, status_line};
use http_trace_model::event::{BodyEnd, oddity};

use super::half::{Message, begins_message, begins_request, ends_as_heads_do, may_begin};
use super::{Http1, carries_responses, preface};
use crate::origin::Origin;
use crate::protocol::body::BodyStart;
use crate::protocol::exchange::Outcome;
use crate::protocol::{Chunk, Cx, Gap, unreadable};

impl Http1 {
    /// Frames the next bytes of direction `d`.
    pub(super) fn feed(&mut self, cx: &mut Cx<'_>, d: usize, chunk: &Chunk<'_>) {
        let &Chunk { bytes, begins, origin } = chunk;
        self.halves[d].seen(origin);
        if cx.link.is_client(1 - d) && !bytes.is_empty() {
            self.exchanges.order.server_segment(self.halves[d].next, origin.ack);
        }
        self.weigh_claim(cx, d, origin);
        self.note_overlap(cx.link, d, origin);
        if self.halves[d].framer.awaits_first_field()
            && begins
            && begins_message(bytes, carries_responses(&self.profile, cx.link, d))
        {
            // The malformed line is followed by another message, not by a field.
            let start = std::mem::take(&mut self.halves[d].head);
            self.halves[d].framer.lose();
            self.not_http(cx, d, &start);
        }
        if begins && self.is_refused(d) && begins_request(bytes) && !self.is_whole_body(d, bytes) {
            let half = &self.halves[d];
            let until = half.next.saturating_add(half.framer.skippable());
            // Where a chunk is expected, no other message can begin.
            let may_be_body = half.framer.is_length_unbegun();
            self.message_ends(cx, d, BodyEnd::None, origin);
            let half = &mut self.halves[d];
            half.framer.leave_out_body();
            half.left_out = may_be_body.then_some(until);
        }
        if self.halves[d].framer.phase() == Phase::Unsure && !self.resumes(cx, d, chunk) {
            return;
        }
        let mut at = 0;
        // Where the current head begins in `bytes`.
        let mut head_from = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.halves[d].framer.phase() == Phase::Peek {
                self.decide_unheard(cx, d, at > 0, origin);
            }
            let step = self.halves[d].framer.step(&mut self.queue, rest);
            let taken = step.taken as usize;
            self.take_span(cx, d, step.span, rest.get(..taken).unwrap_or_default(), origin);
            at += taken;
            match step.event {
                None => {
                    if self.halves[d].message == Message::Head && !self.halves[d].paired {
                        self.start_line_ends(cx.link, d);
                    }
                    if taken == 0 {
                        break;
                    }
                }
                Some(Event::HeadBegins { back }) => {
                    let at_segment = begins && at == usize::from(back);
                    if !self.believes_head(cx, d, back, at_segment, origin) {
                        continue;
                    }
                    head_from = at;
                    self.head_begins(cx, d, back, origin);
                }
                Some(Event::HeadEnds { head, body }) => {
                    let raw = self.take_head(d, bytes.get(head_from..at).unwrap_or_default(), cx);
                    self.head_ends(cx, d, &raw, head, body, origin);
                }
                Some(Event::Preface) => {
                    let raw = self.take_head(d, bytes.get(head_from..at).unwrap_or_default(), cx);
                    if let Some(source) = preface::source(&raw) {
                        cx.sink.source(source);
                    }
                    self.clear(d);
                }
                Some(Event::NotHttp { .. }) => {
                    let start = self.take_head(d, bytes.get(head_from..).unwrap_or_default(), cx);
                    self.other_request(cx, d, &start, false);
                    self.not_http(cx, d, &start);
                }
                Some(event) => self.event(cx, d, event, origin),
            }
        }
        let half = &mut self.halves[d];
        half.passed_ack = origin.ack.number();
        if half.message == Message::Head {
            let room = cx.config.head_bytes.saturating_sub(half.head.len());
            let rest = bytes.get(head_from..).unwrap_or_default();
            half.head.extend_from_slice(rest.get(..room).unwrap_or(rest));
        }
    }

    /// Takes the bytes of one span of direction `d`.
    #[inline]
    fn take_span(&mut self, cx: &mut Cx<'_>, d: usize, span: Span, bytes: &[u8], origin: &Origin) {
        let half = &mut self.halves[d];
        let len = bytes.len() as u64;
        // Advance first: the request's end, noted below, is after these bytes.
        half.next += len;
        match span {
            Span::Head => half.head_len += len,
            Span::Body => {
                self.count(d, len, true, origin);
                self.keep_body(d, bytes);
            }
            Span::ChunkFraming | Span::Trailers => self.count(d, len, false, origin),
            Span::Undecided => {
                if half.undecided.is_empty() {
                    half.undecided_origin = Some(Box::new(*origin));
                }
                half.undecided.extend_from_slice(bytes);
            }
            Span::Ignored if half.framer.phase() == Phase::Unsure => {
                let lost = half.lost;
                self.profile.unframed(cx, d, len, lost);
            }
            Span::Ignored => {}
        }
    }

    /// Whether the bytes from `back` before the current position of direction `d` are taken for a head. Otherwise the
    /// framing is lost, or the bytes belong to no message.
    fn believes_head(
        &mut self,
        cx: &mut Cx<'_>,
        d: usize,
        back: u8,
        at_segment: bool,
        origin: &Origin,
    ) -> bool {
        let start = self.halves[d].next - u64::from(back);
        // A body was possible here: it was unknown whether HEAD was answered.
        if back > 0
            && !self.answers_begun_head()
            && !(at_segment && self.is_response_proven(cx, d, start, origin))
        {
            self.halves[d].framer.lose();
            self.event(cx, d, Event::Lost, origin);
            return false;
        }
        self.weigh_head(cx, d, origin)
    }

    /// Whether the framing of direction `d`, which was lost, resumes with this segment; its bytes are passed over if not.
    fn resumes(&mut self, cx: &mut Cx<'_>, d: usize, chunk: &Chunk<'_>) -> bool {
        let &Chunk { bytes, begins, origin } = chunk;
        let whole = begins_message(bytes, carries_responses(&self.profile, cx.link, d));
        let resumes = if origin.framed_by_filter() {
            // The filter followed the stream from its beginning, or was told where a message begins.
            begins && (whole || may_begin(bytes))
        } else {
            begins
                && whole
                && (status_line(bytes) == Match::No
                    || self.is_response_proven(cx, d, self.halves[d].next, origin))
        };
        if !resumes {
            self.pass_unframed(cx, d, bytes, origin);
            return false;
        }
        self.halves[d].framer.restart();
        // What rests on a claim may still be lost.
        self.halves[d].lost &= self.claim.as_ref().is_some_and(|claim| claim.d == d);
        let passed_head = std::mem::take(&mut self.halves[d].passed_head);
        if passed_head && self.exchanges.order.begins_unknown() && !is_response(bytes) {
            // The end of a request's head passed: the next request is not the first.
            self.exchanges.order.requests_lost(self.halves[d].next);
        }
        if self.profile.framed[d] {
            cx.stats.resynchronised += 1;
        }
        true
    }

    /// Passes over bytes of direction `d` that no framing explains.
    fn pass_unframed(&mut self, cx: &mut Cx<'_>, d: usize, bytes: &[u8], origin: &Origin) {
        if !self.profile.http && self.profile.unreadable.is_none() && !bytes.is_empty() {
            self.profile.not_readable(cx, unreadable(bytes));
        }
        self.profile.unframed(cx, d, bytes.len() as u64, self.halves[d].lost);
        self.halves[d].next += bytes.len() as u64;
        self.halves[d].passed_ack = origin.ack.number();
        self.halves[d].passed_head |= ends_as_heads_do(bytes);
        if cx.link.is_client(d) {
            let (order, next) = (&mut self.exchanges.order, self.halves[d].next);
            if order.begins_unknown() && self.profile.framed[1 - d] {
                // The server had answered before: bytes that are not understood may be a request.
                order.requests_lost(next);
            }
            order.gap_goes_on(next);
        }
    }

    /// Whether direction `d` may omit the body of a request that was answered before any of the body came: only
    /// after `Expect: 100-continue` (RFC 9110 §10.1.1). Otherwise its client would choose what counts as a request.
    fn is_refused(&self, d: usize) -> bool {
        self.halves[d].message == Message::Request
            && self.halves[d].expects
            && self.halves[d].framer.is_body_unbegun()
            && self.queue.has_none()
    }

    /// Whether these bytes are as many as the body that is expected, or end it and begin the next request: of a client that
    /// leaves the body out, they are so only by chance.
    fn is_whole_body(&self, d: usize, bytes: &[u8]) -> bool {
        let framer = &self.halves[d].framer;
        let len = usize::try_from(framer.skippable()).unwrap_or(usize::MAX);
        let rest = bytes.get(len..).filter(|_| framer.is_length_unbegun());
        rest.is_some_and(|rest| rest.is_empty() || begins_request(rest))
    }

    /// Where the client is not heard, bytes after a head with a length are its body, whatever they look like, if the
    /// server has received nothing since. `here` says that the head ended in this segment.
    fn decide_unheard(&mut self, cx: &mut Cx<'_>, d: usize, here: bool, origin: &Origin) {
        let (half, client) = (&self.halves[d], &self.halves[1 - d]);
        let is_heard = cx.link.known[1 - d] && cx.link.first(1 - d) != Some(client.next);
        let ack = origin.ack.number();
        let continues = here || ack.is_some() && half.passed_ack == ack;
        let mut framer = half.framer;
        if !is_heard
            && continues
            && half.undecided.is_empty()
            && let Some(event) = framer.decide_body()
            && framer.phase() == Phase::Body
        {
            self.halves[d].framer = framer;
            self.event(cx, d, event, origin);
        }
    }

    /// Bytes [next, next + n) were declared skipped as body.
    pub(super) fn pass_skip(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, origin: &Origin) {
        self.halves[d].seen(origin);
        // The filter saw the deciding bytes and did not ship them: they were body.
        if n > 0
            && let Some(event) = self.halves[d].framer.decide_body()
        {
            self.event(cx, d, event, origin);
        }
        let known = n.min(self.halves[d].framer.skippable());
        self.step_over(cx, d, known, origin);
        let rest = n - known;
        if rest == 0 {
            return;
        }
        // A filter that does not know which request is answered takes what follows an answer to HEAD for
        // body unless it is a start line. Such bytes count as unframed, not as a disagreement.
        let guessed = origin.flags & flag::ORDER_UNKNOWN != 0;
        if !guessed && !matches!(self.halves[d].framer.phase(), Phase::Unsure | Phase::Opaque) {
            cx.stats.filter_disagrees += 1;
        }
        if self.halves[d].framer.phase() != Phase::Opaque {
            self.profile.unframed(cx, d, rest, origin.is_live());
        }
        self.lose(cx, d, rest, origin);
    }

    /// Bytes [next, next + n) will not come.
    pub(super) fn pass_gap(&mut self, cx: &mut Cx<'_>, d: usize, gap: &Gap<'_>) {
        let &Gap { len: n, is_cut, answered, origin } = gap;
        self.halves[d].seen(origin);
        let known = n.min(self.halves[d].framer.skippable());
        if known > 0 && self.halves[d].framer.phase() != Phase::Opaque {
            self.halves[d].odd(oddity::BODY_GAP);
            self.flag_response(d, oddity::BODY_GAP);
        }
        // If the message ends there, nobody knows when.
        self.in_gap(d, true);
        self.step_over(cx, d, known, origin);
        self.in_gap(d, false);
        if n == known {
            return;
        }
        if self.halves[d].message == Message::Head {
            let end = self.halves[d].next + n;
            self.cut_request(cx, d, end, is_cut);
        }
        self.lose(cx, d, n - known, origin);
        // A gap that is body hides no request, whether the filter skips it or the gap is passed here.
        let answered = answered || self.profile.framed[1 - d];
        let spoken = !cx.link.is_client(1 - d) && origin.ack.number().is_some();
        if answered && spoken && self.exchanges.order.begins_unknown() {
            // The bytes before did not belong to another protocol.
            let end = self.halves[d].next;
            self.exchanges.order.requests_lost(end);
        }
    }

    fn in_gap(&mut self, d: usize, is: bool) {
        if self.halves[d].message == Message::Response
            && let Some(response) = self.exchanges.response_mut()
        {
            response.end_unseen = is;
        }
    }

    fn step_over(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, origin: &Origin) {
        if n == 0 {
            return;
        }
        let event = self.halves[d].framer.skip(n);
        self.halves[d].next += n;
        self.count(d, n, true, origin);
        if let Some(start) = self.start_of_body(d) {
            start.close();
        }
        if let Some(event) = event {
            self.event(cx, d, event, origin);
        }
    }

    /// `n` bytes are missing where messages could begin or end.
    fn lose(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, origin: &Origin) {
        let begins = !self.profile.framed[d] && cx.link.first(d) == Some(self.halves[d].next);
        self.halves[d].next += n;
        self.halves[d].passed_ack = None;
        if self.halves[d].framer.phase() == Phase::Opaque {
            return;
        }
        self.halves[d].lost = origin.is_live();
        self.abandon(cx, d);
        if self.halves[d].framer.phase() != Phase::Unsure {
            cx.stats.became_unsure += 1;
        }
        self.halves[d].framer.lose();
        self.doubt(cx, d);
        let spoken = cx.link.has_received(d, origin.ack);
        let filtered = origin.flags & flag::FILTERED != 0;
        if begins && filtered && spoken && !cx.link.is_client(1 - d) {
            // The filter passes over bytes that are not a start line (SOCKS), and the peer has answered them.
            self.exchanges.order.begin_unknown(self.halves[d].next);
        }
    }

    /// Direction `d` continues at `to`, after an unknown number of missing bytes.
    pub(super) fn jump_to(&mut self, cx: &mut Cx<'_>, d: usize, to: u64, origin: &Origin) {
        self.halves[d].seen(origin);
        self.halves[d].next = to;
        self.lose(cx, d, 0, origin);
    }

    /// Messages may have passed unseen in direction `d`.
    pub(super) fn doubt(&mut self, cx: &mut Cx<'_>, d: usize) {
        if !cx.link.is_client(1 - d) {
            let end = self.halves[d].next;
            self.exchanges.order.requests_lost(end);
            self.queue.set_unknown();
        }
        if !cx.link.is_client(d) {
            self.exchanges.lose_answers_of_closed(self.halves[1 - d].next);
            self.exchanges.responses_lost = true;
            if let Some(exchange) = self.exchanges.take_unfinished() {
                self.yield_informational(cx, exchange);
            }
            self.queue.set_unknown();
        }
    }

    /// The current message of direction `d` cannot be followed to its end.
    pub(super) fn abandon(&mut self, cx: &mut Cx<'_>, d: usize) {
        match self.halves[d].message {
            Message::Head => self.cut_head(cx, d, true),
            Message::Response => self.yield_current(cx, Outcome::Lost),
            Message::Request => {
                // Its end is unknown from here on; it may already have ended.
                if let Some(pending) = self.exchanges.request_mut(self.halves[d].ordinal) {
                    pending.end_lost = true;
                    pending.request.body_lost = true;
                }
            }
            _ => {}
        }
        self.clear(d);
    }

    pub(super) fn clear(&mut self, d: usize) {
        let half = &mut self.halves[d];
        half.message = Message::None;
        half.head.clear();
        half.undecided.clear();
        half.undecided_origin = None;
        half.oddities.clear();
    }

    fn event(&mut self, cx: &mut Cx<'_>, d: usize, event: Event, origin: &Origin) {
        match event {
            Event::BodyBegins { back } => {
                self.count(d, u64::from(back), true, origin);
                let undecided = std::mem::take(&mut self.halves[d].undecided);
                let from = undecided.len().saturating_sub(usize::from(back));
                self.keep_body(d, undecided.get(from..).unwrap_or_default());
                self.halves[d].undecided.clear();
            }
            Event::MessageEnds => {
                let current = self.exchanges.current.as_ref();
                let chunked = current.is_some_and(|c| c.body == Body::Chunked);
                let end = if chunked { BodyEnd::Chunked } else { BodyEnd::Length };
                self.message_ends(cx, d, end, origin);
            }
            Event::Lost => {
                self.contradict_claim(cx, d);
                cx.stats.became_unsure += 1;
                self.abandon(cx, d);
                self.doubt(cx, d);
            }
            Event::HeadBegins { .. }
            | Event::HeadEnds { .. }
            | Event::Preface
            | Event::NotHttp { .. } => {}
        }
    }

    pub(super) fn message_ends(
        &mut self,
        cx: &mut Cx<'_>,
        d: usize,
        end: BodyEnd,
        origin: &Origin,
    ) {
        match self.halves[d].message {
            Message::Request => {
                let (ordinal, next) = (self.halves[d].ordinal, self.halves[d].next);
                if let Some(request) = self.exchanges.request_mut(ordinal) {
                    // Its last bytes may have come before the first.
                    let begin_ns = request.request.start_ns;
                    request.request.end_ns = Some(origin.time_ns.max(begin_ns));
                    request.end = next;
                }
            }
            Message::Response => {
                if let Some(response) = self.exchanges.response_mut() {
                    response.last_ns = origin.time_ns.max(response.head_end_ns);
                }
                self.exchanges.weigh_patience(self.halves[d].next);
                self.yield_current(cx, Outcome::Ended(end));
            }
            Message::None | Message::Head | Message::Uncounted => {}
        }
        self.clear(d);
    }

    /// Counts `n` bytes of the current message: body, or other bytes such as chunk framing.
    fn count(&mut self, d: usize, n: u64, is_body: bool, origin: &Origin) {
        let half = &self.halves[d];
        let (next, ordinal) = (half.next, half.ordinal);
        match half.message {
            Message::Response => {
                if let Some(response) = self.exchanges.response_mut() {
                    let counter = match is_body {
                        true => &mut response.body_bytes,
                        false => &mut response.framing_bytes,
                    };
                    *counter += n;
                    response.last_ns = origin.time_ns.max(response.head_end_ns);
                }
            }
            Message::Request => {
                if let Some(pending) = self.exchanges.request_mut(ordinal) {
                    pending.request.body_bytes += if is_body { n } else { 0 };
                    pending.end = next.max(pending.end);
                }
            }
            Message::None | Message::Head | Message::Uncounted => {}
        }
    }

    /// Keeps the first bytes of a response's body, if wanted.
    fn keep_body(&mut self, d: usize, bytes: &[u8]) {
        if let Some(start) = self.start_of_body(d) {
            start.push(bytes);
        }
    }

    fn start_of_body(&mut self, d: usize) -> Option<&mut BodyStart> {
        if self.halves[d].message != Message::Response {
            return None;
        }
        let current = self.exchanges.current.as_mut()?;
        Some(&mut current.response.as_mut()?.snippet)
    }

    /// Adds an oddity to the response that passes in direction `d`.
    pub fn flag_response(&mut self, d: usize, name: &'static str) {
        if self.halves[d].message == Message::Response
            && let Some(current) = &mut self.exchanges.current
        {
            if !current.oddities.contains(&name) {
                current.oddities.push(name);
            }
        } else if self.halves[d].message == Message::Head {
            self.halves[d].odd(name);
        }
    }
}

/// Whether a message that begins with these bytes is a response.
fn is_response(bytes: &[u8]) -> bool {
    status_line(bytes) != Match::No
}
