//! Both directions of a connection at work: which pieces are next, what waits for what, and when
//! waiting ends.

use http_trace_common::framer::Phase;
use http_trace_common::record::Hook;
use http_trace_common::start_line::{Match, status_line};

use super::FAR;
use super::facts::Facts;
use super::far::Far;
use super::hand_back::Verdicts;
use super::new_syn::NewSyn;
use crate::flow::Origin;
use crate::flow::reassembly::{Buffer, Content, Piece, first_position, position};
use crate::http::context::{Context, Emit};
use crate::http::emit::How;
use crate::http::judge::{End, Half, Judge};
use crate::http::transaction::Request;
use http_trace_model::event::NoResponse;

/// One direction's TCP state while something is in flight.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub buffer: Buffer<Origin>,
    /// Position up to which the peer has acknowledged.
    pub acked: u64,
    /// Position before which missing bytes are not waited for.
    pub given_up: u64,
    /// Since when bytes that the peer has acknowledged are missing; 0 when none are.
    pub short_ns: u64,
    /// Since when the next byte is missing, or bytes wait for the other direction; 0 for neither.
    pub waiting_ns: u64,
    /// Position of the FIN, and where it was seen.
    pub fin: Option<(u64, Origin)>,
    /// The peer's segments are seen as they happen, not in a capture.
    pub live: bool,
    /// A RST came that was not at the expected place.
    pub reset: bool,
}

impl Stream {
    /// Where the next thing is that was seen, and where it came from: bytes that wait, or the FIN.
    fn waits(&self, next: u64) -> Option<(u64, Origin)> {
        match self.buffer.first() {
            Some(first) => Some((first.start, first.meta)),
            None => self.fin.filter(|(fin, _)| *fin > next),
        }
    }

    /// Whether the peer has acknowledged bytes that are missing.
    pub fn is_short(&self, half: &Half) -> bool {
        let missing = self.acked.saturating_sub(half.next);
        self.fin.is_none()
            && self.acked > self.given_up
            && (2..=FAR).contains(&missing)
            && half.framer.skippable() != u64::MAX
    }
}

/// What is kept while something is in flight.
#[derive(Debug)]
pub(crate) struct Active {
    pub judge: Judge,
    pub streams: [Stream; 2],
    pub syn: Option<NewSyn>,
    /// By direction: what came from far off and is not believed yet.
    pub far: [Option<Box<Far>>; 2],
    /// Where what was last handed back to a filter ends, by direction.
    pub handed_back: [u64; 2],
    /// What was found of filters' framing on trial.
    pub verdicts: Verdicts,
    /// Bytes of holes before the first head, which are not told as lost yet.
    pub untold: u64,
    /// When the client reset the connection while answers were due; 0 when it did not. What the
    /// server had sent before it heard of that is still to come by.
    pub reset_ns: u64,
}

impl Active {
    pub fn fin_waits(&self, facts: &Facts) -> bool {
        (0..2).any(|d| self.streams[d].fin.is_some() && !facts.fin[d])
    }

    /// Whether bytes that acknowledge `origin.ack` must wait for a request that came later.
    pub fn holds(&self, facts: &Facts, d: usize, origin: &Origin) -> bool {
        let o = 1 - d;
        if facts.client() == Some(d as u8) || !facts.known[o] || facts.opaque[o] || facts.fin[o] {
            return false;
        }
        let Some(ack) = origin.ack() else {
            return false;
        };
        let half = &self.judge.halves[o];
        let stream = &self.streams[o];
        let ack = position(half.next, ack);
        if ack <= half.next.max(stream.given_up) || ack - half.next > FAR {
            return false;
        }
        if let Some(Piece { start, content, .. }) = stream.buffer.first()
            && *start <= half.next
            && let Content::Skip(n) = *content
            && (*start + n >= ack || n > half.framer.skippable())
        {
            // Nobody will bring what a filter has skipped; where that is no body, these bytes are
            // what made it a tunnel.
            return false;
        }
        let mut missing = ack - half.next;
        if let Some((fin, _)) = stream.fin
            && ack > fin
        {
            missing -= 1;
        }
        // One byte is a FIN that was not seen, or a probe's.
        let too_short = missing <= 1 && half.framer.phase() == Phase::Idle;
        !(missing == 0 || too_short || half.framer.skippable() >= missing)
    }

    /// The next piece of direction `d`, if it may be judged now.
    pub fn ready(&mut self, facts: &Facts, d: usize, force: bool) -> Option<Piece<Origin>> {
        let next = self.judge.halves[d].next;
        let first = self.streams[d].buffer.first()?;
        let old = first.end() <= next;
        if !force && !old && (first.start > next || self.holds(facts, d, &first.meta)) {
            return None;
        }
        if !old && self.follows_other(facts, d, first, force) {
            return None;
        }
        self.streams[d].buffer.pop_from(next)
    }

    /// Whether a declared skip that the framing does not make body here may become one by what the
    /// other direction has ready and sent before: the answer that makes a tunnel.
    fn follows_other(&self, facts: &Facts, d: usize, first: &Piece<Origin>, force: bool) -> bool {
        let skippable = self.judge.halves[d].framer.skippable();
        if !matches!(first.content, Content::Skip(n) if n > skippable) {
            return false;
        }
        let o = 1 - d;
        let (half, waiting) = (&self.judge.halves[o], &self.streams[o].buffer);
        let ready = waiting.first().is_some_and(|next| {
            // What waits in turn for this direction is not waited for.
            let judged = match next.content {
                Content::Bytes(_) => true,
                Content::Skip(n) => n <= half.framer.skippable(),
            };
            let in_order = next.start <= half.next && !self.holds(facts, o, &next.meta);
            judged && (in_order || force)
        });
        ready
            && waiting.pieces().any(|piece| {
                matches!(piece.content, Content::Bytes(_))
                    && piece.meta.time_ns <= first.meta.time_ns
            })
    }

    /// Judges all that is next, in both directions; with `force` also across holes.
    pub fn drain(&mut self, facts: &mut Facts, cx: &mut Context<'_>, force: bool) {
        // Requests first, so that what answers them finds them.
        let client = facts.client().map_or(0, usize::from) & 1;
        loop {
            let mut progress = false;
            for d in [client, 1 - client] {
                while let Some(piece) = self.ready(facts, d, force) {
                    progress = true;
                    let next = self.judge.halves[d].next;
                    if piece.start > next {
                        self.hole(facts, cx, d, piece.start - next, &piece.meta);
                    }
                    match &piece.content {
                        Content::Skip(n) => self.judge.skip(facts, cx, d, *n, &piece.meta),
                        Content::Bytes(bytes) => {
                            self.judge
                                .feed(facts, cx, d, bytes, piece.begins, &piece.meta);
                            self.goes_on(d);
                        }
                    }
                }
            }
            if !progress {
                break;
            }
        }
        for d in 0..2 {
            let next = self.judge.halves[d].next;
            let stream = &mut self.streams[d];
            if force
                && let Some((fin, origin)) = stream.fin
                && fin > next
            {
                self.hole(facts, cx, d, fin - next, &origin);
                continue;
            }
            stream.waiting_ns = match stream.waits(next) {
                None => 0,
                Some((_, origin)) if stream.waiting_ns == 0 => origin.time_ns.max(1),
                Some(_) => stream.waiting_ns,
            };
        }
    }

    /// So many bytes are not there.
    fn hole(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, n: u64, origin: &Origin) {
        let is_body = n <= self.judge.halves[d].framer.skippable();
        if is_body && origin.without_flow {
            // The filter has skipped it on purpose, and declares it with the next record that has the
            // flow: later than we wait, or never, where a RST of the other end comes first. Were it a
            // record for which there was no room, that would be told by itself.
            return self.judge.skip(facts, cx, d, n, origin);
        }
        self.lose(facts, cx, d, n, origin);
    }

    /// So many bytes are lost, or, when track is lost of the direction, nobody knows how many.
    pub fn lose(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        d: usize,
        n: u64,
        origin: &Origin,
    ) {
        let is_body = n <= self.judge.halves[d].framer.skippable();
        // What is not HTTP/1.x is not shipped, and nothing is lost with it.
        if self.judge.halves[d].framer.phase() != Phase::Opaque {
            cx.stats.holes += 1;
            cx.stats.hole_bytes += n;
            if origin.hook() != Hook::Capture {
                self.untold += n;
                if facts.http {
                    self.tell_holes(facts, cx);
                }
            }
        }
        self.judge.hole(facts, cx, d, n, origin);
        let begins_unknown = self.judge.exchanges.order.begins_unknown();
        // No request is missing with a body, whoever steps over it, the filter or we.
        if !is_body && begins_unknown && self.has_answered(facts, 1 - d, origin) {
            // What was there before was no other protocol's.
            let end = self.judge.halves[d].next;
            self.judge.exchanges.order.requests_lost(end);
        }
    }

    /// Whether direction `o` had sent a response when the other one acknowledged it with `origin`,
    /// be it judged or not yet.
    fn has_answered(&self, facts: &Facts, o: usize, origin: &Origin) -> bool {
        let Some(ack) = origin.ack().filter(|_| facts.client() != Some(o as u8)) else {
            return false;
        };
        let half = &self.judge.halves[o];
        let ack = half.position(facts.known[o], ack);
        let answers = |piece: &Piece<Origin>| match &piece.content {
            Content::Bytes(bytes) => piece.begins && status_line(bytes) == Match::Yes,
            Content::Skip(_) => false,
        };
        facts.framed[o]
            || self.streams[o]
                .buffer
                .pieces()
                .take_while(|piece| piece.start < ack)
                .any(answers)
    }

    /// Tells what is missing as lost, but for a connection that is known under another name as
    /// well. Its first head shows whether it is, so nothing is told before that or its end.
    pub fn tell_holes(&mut self, facts: &Facts, cx: &mut Context<'_>) {
        let n = std::mem::take(&mut self.untold);
        if n > 0 && !super::copied(facts, cx) {
            cx.lose_bytes("hole", n);
        }
    }

    /// The connection is over: what an end acknowledged of the other's bytes and never came is a
    /// hole, but for what the framing says is body. One byte is a FIN's, or a probe's.
    pub fn count_unseen(&mut self, cx: &mut Context<'_>) {
        for (stream, half) in self.streams.iter().zip(&self.judge.halves) {
            let missing = stream.acked.saturating_sub(half.next);
            if stream.fin.is_some() || !(2..=FAR).contains(&missing) {
                continue;
            }
            let missing = missing.saturating_sub(half.framer.skippable());
            if missing > 1 {
                cx.stats.holes += 1;
                cx.stats.hole_bytes += missing;
                if stream.live {
                    cx.lose_bytes("hole", missing);
                }
            }
        }
    }

    /// How long direction `d` waits for what it waits for.
    pub fn patience(&self, facts: &Facts, cx: &Context<'_>, d: usize) -> u64 {
        let (stream, next) = (&self.streams[d], self.judge.halves[d].next);
        let Some((start, origin)) = stream.waits(next) else {
            return u64::MAX;
        };
        if stream.buffer.size() > cx.config.reorder_bytes_per_direction || stream.given_up >= start
        {
            return 0;
        }
        if start <= next {
            // It waits for the other direction, whose bytes it acknowledges.
            return cx.config.hole_ns;
        }
        // Body that the filter has skipped was there, and does not come.
        let is_skipped = || {
            let missing = start - next;
            origin.without_flow && missing <= self.judge.halves[d].framer.skippable()
        };
        if stream.acked >= start || origin.framed_by_filter() || is_skipped() {
            cx.config.hole_ns
        } else if !facts.known[1 - d] || origin.hook() != Hook::Capture {
            cx.config.unseen_hole_ns
        } else {
            u64::MAX
        }
    }

    /// Bytes of direction `d` were judged: the next hole is waited for again.
    pub fn goes_on(&mut self, d: usize) {
        let stream = &mut self.streams[d];
        stream.given_up = stream.given_up.min(self.judge.halves[d].next);
    }

    /// Acknowledged bytes that have not come for long enough will not be waited for.
    pub fn give_up_short(&mut self, cx: &Context<'_>, d: usize) {
        let stream = &mut self.streams[d];
        if stream.short_ns == 0 {
            return;
        }
        if !stream.is_short(&self.judge.halves[d]) {
            stream.short_ns = 0;
        } else if cx.now_ns >= stream.short_ns.saturating_add(cx.config.hole_ns) {
            stream.given_up = stream.acked;
            stream.short_ns = 0;
        }
    }

    /// Whether direction `d` has waited long enough and goes on without.
    pub fn give_up(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) -> bool {
        self.give_up_short(cx, d);
        let since = self.streams[d].waiting_ns;
        let patience = self.patience(facts, cx, d);
        if patience == u64::MAX || patience > 0 && cx.now_ns < since.saturating_add(patience) {
            return false;
        }
        let next = self.judge.halves[d].next;
        let Some((start, meta)) = self.streams[d].waits(next) else {
            return false;
        };
        if start > next {
            self.hole(facts, cx, d, start - next, &meta);
        } else {
            let o = 1 - d;
            if let Some(ack) = meta.ack() {
                let ack = position(self.judge.halves[o].next, ack);
                self.streams[o].given_up = self.streams[o].given_up.max(ack);
                self.judge.exchanges.order.requests_lost(ack);
                self.judge.queue.set_unknown();
                // A direction of which nothing ever came is not there to be waited for.
                let nothing_came = facts.start_known[o]
                    && self.judge.halves[o].next == first_position(facts.start[o]);
                facts.known[o] &= !nothing_came;
            }
        }
        self.streams[d].waiting_ns = 0;
        true
    }

    /// Direction `d` has come to its FIN.
    pub fn direction_ends(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) {
        // A head that its client does not finish may still be answered, as a whole one may.
        let begun = self.judge.is_in_request_head(d);
        if !begun {
            self.judge.close(facts, cx, d, End::Closed);
        }
        facts.fin[d] = true;
        if facts.client() != Some(d as u8) && !begun {
            let why = match self.reset_ns {
                0 => (NoResponse::Closed, cx.now_ns),
                at_ns => (NoResponse::Reset, at_ns),
            };
            let begun = self.take_begun(facts, cx, u64::MAX);
            self.judge.unanswered(facts, cx, Some(why));
            self.judge.unfinished(facts, cx, begun, why);
        }
    }

    /// The request that its client began at `since_ns` or before and did not finish, if all that it
    /// sent was seen, and the server was heard.
    pub fn take_begun(
        &mut self,
        facts: &mut Facts,
        cx: &mut Context<'_>,
        since_ns: u64,
    ) -> Option<Request> {
        let mut begun = None;
        for d in 0..2 {
            let (stream, next) = (&self.streams[d], self.judge.halves[d].next);
            // A FIN is acknowledged as one byte more.
            let all_seen =
                stream.acked <= next + 1 && stream.waits(next).is_none() && facts.known[1 - d];
            let taken = self.judge.take_begun(facts, cx, d, since_ns, all_seen);
            begun = begun.or(taken);
        }
        begun
    }

    /// Writes what is due by now.
    pub fn due(&mut self, facts: &mut Facts, cx: &mut Context<'_>) {
        let config = cx.config;
        let exchanges = &mut self.judge.exchanges;
        if config.emit == Emit::Auto
            && let Some(current) = &exchanges.current
            && let Some(response) = &current.response
            && cx.now_ns >= response.head_end_ns.saturating_add(config.emit_after_ns)
        {
            // Before its first byte nobody knows of some responses whether there is a body.
            let mut halves = self.judge.halves.iter();
            let is_undecided = halves.any(|half| half.framer.phase() == Phase::Peek);
            let how = if is_undecided {
                How::Open
            } else {
                How::StillOpen
            };
            self.judge.emit_early(facts, cx, how);
        }
        let heard = facts
            .client()
            .is_some_and(|client| facts.known[1 - usize::from(client & 1)]);
        let reset = self.reset_ns != 0 || self.streams.iter().any(|stream| stream.reset);
        let why = if reset {
            NoResponse::Reset
        } else {
            NoResponse::Timeout
        };
        self.judge.overdue(facts, cx, why, heard);
        self.judge.first_fields_overdue(facts, cx);
        let since_ns = cx.now_ns.saturating_sub(config.response_timeout_ns);
        let begun = self.take_begun(facts, cx, since_ns);
        self.judge.unfinished(facts, cx, begun, (why, cx.now_ns));
    }
}
