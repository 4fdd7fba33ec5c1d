//! HTTP/1.x: frames messages, decodes their heads and pairs responses with requests.
//!
//! Takes each direction's bytes in order and yields exchanges. Of TCP it must know only the
//! acknowledgements that come with the bytes.
//!
//! Bytes pass through `framing`, which turns them into heads, bodies and ends; `heads` decodes a completed
//! head and applies it; `transaction` and `order` find the request that a response answers. An exchange
//! is yielded when it ends or its event is due, unless it rests on a claim: then `proof` decides whether
//! and when.
//!
//! # Layout
//! - `order`, `pauses`, `pending`, `transaction`: requests in flight and which of them a response answers.
//! - `claim`: responses held back until they are confirmed.
//! - `memory`: state of a quiet connection.
//! - [`decode`], [`preface`]: decode heads and PROXY protocol headers.
//! - `half`, `hand_back`: framing of one direction, and how a filter resynchronises with it.
//! - `heads`, `lines`, `unfinished`, `cut`, `ends`: completed heads; what is not HTTP/1.x; heads that
//!   are never completed; heads with a gap; how exchanges end.
//! - `proof`: whether a message begins where framing was lost.
//! - `framing`: from bytes to heads, bodies and ends.

mod claim;
mod cut;
pub mod decode;
mod ends;
mod framing;
mod half;
mod hand_back;
mod heads;
mod lines;
mod memory;
mod order;
mod pauses;
mod pending;
pub mod preface;
mod proof;
mod transaction;
mod unfinished;

use std::collections::VecDeque;
use std::ops::Range;

use http_trace_common::filter::HandBack;
use http_trace_common::framer::{Framer, Phase, RequestQueue};
use http_trace_common::record::RecordHeader;
use http_trace_model::event::oddity;

use self::claim::Claim;
pub(crate) use self::half::begins_message;
use self::half::{Half, Message};
use self::hand_back::Verdicts;
pub(crate) use self::memory::{Memory, Profile};
use self::transaction::Exchanges;
use crate::config::{Emit, PipelineConfig};
use crate::origin::Origin;
use crate::protocol::exchange::Outcome;
use crate::protocol::{Chunk, Cx, End, Gap, Link, Protocol, Standing, Witness};

/// Both directions' framing and what is in flight between them.
#[derive(Debug)]
pub(crate) struct Http1 {
    halves: [Half; 2],
    /// Unanswered requests, as far as they matter to framing.
    queue: RequestQueue,
    exchanges: Exchanges,
    pub profile: Profile,
    verdicts: Verdicts,
    /// End of the last hand-back, by direction.
    handed_back: [u64; 2],
    /// Responses held back because nothing confirms them yet.
    claim: Option<Box<Claim>>,
}

impl Http1 {
    /// Resumes a quiet connection, with the directions at these positions.
    pub fn resume(memory: &Memory, link: &Link, next: [u64; 2]) -> Self {
        let profile = memory.profile;
        let half = |d: usize| {
            let mut framer = Framer::between(carries_responses(&profile, link, d));
            if memory.unsure[d] {
                framer.lose();
            }
            if profile.opaque[d] {
                framer.set_opaque();
            }
            let (passed_head, lost) = (memory.passed_head[d], memory.lost[d]);
            Half { passed_head, lost, ..Half::new(framer, next[d]) }
        };
        let exchanges = Exchanges {
            waiting: VecDeque::with_capacity(1),
            order: memory.order,
            ..Exchanges::default()
        };
        Http1 {
            halves: [half(0), half(1)],
            queue: if memory.queue_unknown { RequestQueue::unknown() } else { RequestQueue::new() },
            exchanges,
            profile,
            verdicts: Verdicts::default(),
            handed_back: [0; 2],
            claim: None,
        }
    }

    /// The state to keep once nothing is in flight.
    pub fn memory(&self) -> Memory {
        let halves = [&self.halves[0], &self.halves[1]];
        Memory {
            order: self.exchanges.order,
            profile: self.profile,
            // A message that was cut by the connection's close may continue.
            unsure: halves.map(|half| half.framer.phase() == Phase::Unsure || !half.is_quiet()),
            passed_head: halves.map(|half| half.passed_head),
            lost: halves.map(|half| half.lost),
            queue_unknown: self.queue.is_unknown() || self.exchanges.order.owes(),
        }
    }

    /// Direction `d` is joined in midstream; see [`Memory::join`].
    pub fn join(&mut self, d: usize, at: u64, requests: Option<(u64, bool)>) {
        let half = &mut self.halves[d];
        half.next = at;
        half.passed_ack = None;
        if !self.profile.opaque[d] {
            half.framer.lose();
        }
        self.exchanges.order.join(requests);
    }

    /// Direction `d` belongs to another connection from position `at` on.
    pub fn begin_anew(&mut self, d: usize, at: u64) {
        let half = &mut self.halves[d];
        half.next = at;
        half.framer.lose();
        self.queue = RequestQueue::new();
        self.exchanges.order.begin_unknown(at);
    }
}

/// Whether direction `d` carries responses (or requests); `None` if neither was seen.
fn carries_responses(profile: &Profile, link: &Link, d: usize) -> Option<bool> {
    let client = link.client().filter(|_| profile.framed[d])?;
    Some(client != d)
}

impl Protocol for Http1 {
    fn data(&mut self, cx: &mut Cx<'_>, d: usize, chunk: &Chunk<'_>) {
        self.feed(cx, d, chunk);
        cx.stats.requests_unmatched += std::mem::take(&mut self.exchanges.dropped);
    }

    fn skip(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, origin: &Origin) {
        self.pass_skip(cx, d, n, origin);
    }

    fn gap(&mut self, cx: &mut Cx<'_>, d: usize, gap: &Gap<'_>) {
        self.pass_gap(cx, d, gap);
    }

    fn jump(&mut self, cx: &mut Cx<'_>, d: usize, to: u64, origin: &Origin) {
        self.jump_to(cx, d, to, origin);
    }

    fn copied(&mut self, d: usize, end: u64, count: u32, origin: &Origin) {
        if self.halves[d].message == Message::Response
            && let Some(response) = self.exchanges.response_mut()
        {
            response.copied(end, count, origin);
        }
    }

    fn overlap_differs(&mut self, link: &Link, d: usize, bytes: Range<u64>) {
        let half = &mut self.halves[d];
        let in_message = half.message != Message::None && bytes.end > half.head_start;
        if in_message || bytes.end > half.next {
            half.odd(oddity::OVERLAP_DIFFERS);
        }
        self.flag_response(d, oddity::OVERLAP_DIFFERS);
        if link.is_client(d) {
            self.exchanges.requests_differ(&bytes);
        }
    }

    fn never_seen(&mut self, _d: usize, end: u64) {
        self.exchanges.order.requests_lost(end);
        self.queue.set_unknown();
    }

    fn begin(&mut self, link: &Link, d: usize, at: u64) {
        self.halves[d].next = at;
        if !link.is_client(d) {
            self.exchanges.server_begins(at);
        }
    }

    fn rewind(&mut self, d: usize, at: u64) {
        self.halves[d].next = at;
    }

    fn joined(&mut self, link: &Link, d: usize) {
        if !link.is_client(d) {
            // A request without an acknowledgement was not made by TCP: it came before what is seen.
            self.exchanges.server_begins(self.halves[d].next);
        }
        self.exchanges.responses_lost |= !link.is_client(d);
        self.queue.set_unknown();
    }

    fn next(&self, d: usize) -> u64 {
        self.halves[d].next
    }

    fn skippable(&self, d: usize) -> u64 {
        self.halves[d].framer.skippable()
    }

    fn standing(&self, d: usize) -> Standing {
        match self.halves[d].framer.phase() {
            Phase::Idle => Standing::Between,
            Phase::Unsure => Standing::Lost,
            Phase::Opaque => Standing::Opaque,
            _ => Standing::InMessage,
        }
    }

    fn is_answered(&self) -> bool {
        self.exchanges.is_quiet()
    }

    fn is_quiet(&self) -> bool {
        self.exchanges.is_quiet() && self.claim.is_none() && self.halves.iter().all(Half::is_quiet)
    }

    fn held(&self) -> usize {
        self.exchanges.held
            + self.exchanges.snippet_bytes()
            + self.claim.as_ref().map_or(0, |claim| claim.size())
            + self.halves.iter().map(Half::held).sum::<usize>()
    }

    fn is_ended_by_close(&self, link: &Link, d: usize) -> bool {
        let half = &self.halves[d];
        if link.is_client(d) {
            return half.message == Message::None;
        }
        let lasts = matches!(half.framer.phase(), Phase::UntilClose | Phase::Peek);
        let rests = half.message == Message::None && self.exchanges.current.is_none();
        (rests || half.message == Message::Response && lasts)
            && self.exchanges.waiting.is_empty()
            && self.halves[1 - d].message == Message::None
    }

    fn end_direction(&mut self, cx: &mut Cx<'_>, d: usize, witness: &Witness) {
        // A head that its client does not finish may still be answered, like a complete one.
        if self.is_in_request_head(d) {
            return;
        }
        let in_head = self.halves[d].message == Message::Head;
        self.close_half(cx, d, End::Closed, witness.since_ns);
        if !cx.link.is_client(d) {
            if cx.link.known[1 - d] {
                self.settle_claim(cx, false);
            }
            let unfinished = self.take_unfinished(cx, u64::MAX, witness.complete);
            let (why, since_ns) = (witness.why, witness.since_ns);
            self.yield_unanswered(cx, why, since_ns, witness.complete[d]);
            if let Some(pending) = unfinished {
                cx.exchange(pending.unanswered(why, since_ns));
            }
        }
        if in_head {
            // If it continues after all, the rest is not a head.
            self.halves[d].framer.lose();
            self.doubt(cx, d);
        }
    }

    fn finish(&mut self, cx: &mut Cx<'_>, end: End, ended: [bool; 2], witness: &Witness) {
        let stopped = end == End::Stopped;
        let unfinished =
            if stopped { None } else { self.take_unfinished(cx, u64::MAX, witness.complete) };
        // The server's last byte: it may still answer after the client's close.
        let client = cx.link.client_or_first();
        self.owe_answers(client);
        for d in [client, 1 - client] {
            if !ended[d] || self.is_in_request_head(d) {
                self.close_half(cx, d, end, witness.since_ns);
            }
        }
        self.settle_claim(cx, stopped);
        let server = 1 - client;
        let heard = !stopped && cx.link.known[server] && witness.complete[server];
        let why = heard.then_some((witness.why, witness.since_ns));
        if !heard {
            self.yield_unseen(cx, stopped);
        }
        self.unanswered(cx, why, ended[server]);
        if let (Some(pending), Some((why, since_ns))) = (unfinished, why) {
            cx.exchange(pending.unanswered(why, since_ns));
        }
    }

    fn tick(&mut self, cx: &mut Cx<'_>, witness: &Witness) {
        self.confirm_due(cx);
        if cx.config.emit == Emit::Auto
            && let Some(current) = &self.exchanges.current
            && let Some(response) = &current.response
            && cx.now_ns >= response.head_end_ns.saturating_add(cx.config.emit_after_ns)
        {
            // For some responses, only the first byte after the head shows whether there is a body.
            let mut halves = self.halves.iter();
            let is_undecided = halves.any(|half| half.framer.phase() == Phase::Peek);
            let outcome = if is_undecided { Outcome::Open } else { Outcome::StillOpen };
            self.yield_early(cx, outcome);
        }
        let client = cx.link.client();
        let heard = client.map(|client| 1 - client);
        let heard = heard.is_some_and(|server| cx.link.known[server] && witness.complete[server]);
        self.overdue(cx, witness.why, heard);
        self.first_fields_overdue(cx);
        let since_ns = cx.now_ns.saturating_sub(cx.config.response_timeout_ns);
        if let Some(pending) = self.take_unfinished(cx, since_ns, witness.complete) {
            let due = pending.request.start_ns.saturating_add(cx.config.response_timeout_ns);
            cx.exchange(pending.unanswered(witness.why, due.min(witness.since_ns)));
        }
    }

    fn deadline(&self, now_ns: u64, config: &PipelineConfig) -> Option<u64> {
        let begun = [self.awaits_first_field_since(), self.begun_since()];
        let current = self.exchanges.current.as_ref();
        let current = current.filter(|c| config.emit == Emit::Auto && !c.emitted);
        let response = current.and_then(|current| current.response.as_ref());
        let mut waiting = self.exchanges.waiting.iter();
        let waiting = waiting.find(|pending| !pending.reported);
        let waiting = waiting.map(|pending| pending.request.end_ns.unwrap_or(now_ns));
        let timeouts = begun.into_iter().flatten().chain(waiting);
        timeouts
            .map(|ns| ns.saturating_add(config.response_timeout_ns))
            .chain(response.map(|r| r.head_end_ns.saturating_add(config.emit_after_ns)))
            .chain(self.claim_due_ns())
            .min()
    }

    fn note_trial(&mut self, d: usize, header: &RecordHeader) {
        self.remember_trial(d, header);
    }

    fn hand_back(&mut self, generation: u32, in_order: bool) -> Option<HandBack> {
        self.offer(generation, in_order)
    }
}
