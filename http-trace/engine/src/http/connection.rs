//! A connection's life in TCP: where its streams begin, which bytes are next, which will not come
//! any more, and how it ends. What the bytes say, the judge of it knows.

//!
//! # Layout
//! - `facts`: what is remembered while nothing is in flight.
//! - `active`: both directions at work: order and holes.
//! - `data`: payload on its way to the judge.
//! - `far`: payload from where TCP would hardly have let it be.
//! - `syn`: which SYNs and RSTs are believed.
//! - `new_syn`: a SYN that is not believed yet, and the data that came with it.
//! - `copies`: what comes under another name of it.
//! - `hand_back`: framing for a filter that lost its own.

mod active;
mod copies;
mod data;
mod facts;
mod far;
mod hand_back;
mod new_syn;
mod syn;

use http_trace_common::flow::seq_distance;
use http_trace_common::framer::{Framer, Phase, RequestQueue};
use http_trace_common::record::{Record, RecordHeader, flag};
use http_trace_common::start_line::{Match, status_line};

use self::active::{Active, Stream};
pub(crate) use self::facts::{Facts, timer};
pub(crate) use self::hand_back::Trial;
use self::hand_back::Verdicts;
use super::context::{Context, Emit};
use super::judge::{End, Half, Judge, unreadable};
use super::order::Order;
use super::transaction::Exchanges;
use crate::flow::Origin;
use crate::flow::reassembly::{first_position, position};
use http_trace_model::event::NoResponse;

/// Distances beyond this are no reordering and no loss that TCP could have outlived.
const FAR: u64 = 1 << 30;
/// A jump that, between messages, looks like another connection on the same tuple.
const JUMP: u64 = 16 << 20;

/// How long a server's segments may cross the client's RST: a round trip, and some patience.
const CROSSING_NS: u64 = 1_000_000_000;

/// A connection in the table.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub active: Option<Box<Active>>,
    pub facts: Facts,
}

impl Connection {
    pub fn new(number: u64) -> Self {
        Connection {
            active: None,
            facts: Facts::new(number),
        }
    }

    /// Memory of heads and messages in flight, and of bytes out of order.
    pub fn memory(&self) -> (usize, usize) {
        self.active.as_ref().map_or((0, 0), |active| {
            let judge = &active.judge;
            let heads = size_of::<Active>()
                + judge.exchanges.held
                + judge.exchanges.snippet_bytes()
                + judge.halves.iter().map(Half::held).sum::<usize>()
                + active
                    .far
                    .iter()
                    .flatten()
                    .map(|far| far.held())
                    .sum::<usize>()
                + active.syn.as_ref().map_or(0, |syn| syn.held());
            (
                heads,
                active
                    .streams
                    .iter()
                    .map(|stream| stream.buffer.size())
                    .sum(),
            )
        })
    }

    /// A record of direction `d`.
    pub fn record(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>) {
        let header = record.header;
        let closed = self.facts.closed;
        if closed {
            if !self.is_reused(d, header) {
                cx.stats.copied_bytes += u64::from(header.len);
                return;
            }
            // Where the one before stood tells what is far off; and a SYN that was refused, by a RST
            // that may be forged, is what a SYN-ACK answers.
            let (o, place) = (1 - d, self.facts.next[d]);
            let asked = header.has(flag::SYN)
                && header.has(flag::ACK)
                && self.facts.start_known[o]
                && self.facts.start[o] == header.ack;
            self.restart(cx);
            self.facts.next[d] = place;
            if asked {
                self.facts.set_client(o);
                self.begin_stream(o, header.ack);
            }
        }
        self.confirm_syn_data(cx, d, header);
        if !(header.has(flag::SYN) && header.len > 0) {
            self.confirm_far(cx, d, record);
        }
        if self.begins_far(d, header) {
            return self.hold_first(cx, d, record, closed);
        }
        if closed {
            self.facts.next[d] = 0;
        }
        self.take(cx, d, record);
    }

    /// A record that is believed to be of the connection.
    fn take(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>) {
        let header = record.header;
        // A response acknowledges what it answers, not where the peer's stream begins.
        let answers = !record.bytes.is_empty() && status_line(record.bytes) != Match::No;
        if header.has(flag::SYN) {
            if self.syn(cx, d, record) {
                return;
            }
        } else if header.has(flag::STREAM_BEGINS) {
            self.stream_begins(cx, d, header);
            // The filter was there from the start: what an end acknowledges with its first bytes
            // is where the peer's begin, whether or not those will be seen.
            let asks = self.facts.client() != Some(1 - d as u8);
            if asks && !answers && !self.facts.known[1 - d] && header.has(flag::ACK) {
                self.begin_stream(1 - d, header.ack);
            }
        }
        if header.has(flag::OPAQUE) {
            self.opaque_record(cx, d, record);
        }
        self.confirm_syn(cx, d, header);
        if !answers {
            self.learn_start(d, header);
        }
        let spans =
            header.len > 0 || header.skip_from != header.seq || header.skip_to != header.seq;
        let ends = header.flags & (flag::FIN | flag::RST) != 0;
        let mut taken_up = false;
        if spans {
            self.facts.payload = true;
            if !self.facts.known[d] {
                self.take_up(d, header);
                taken_up = true;
            }
        }
        let unseen = self.acknowledges_unseen(d, header);
        // Bytes went by, though none was seen.
        self.facts.payload |= unseen;
        let stood = self.facts.next[d];
        self.note_places(d, header);
        if self.active.is_none() && (!spans || self.facts.opaque[d]) && !ends && !unseen {
            if spans {
                self.facts.next[d] = header.skip_to;
            }
            return;
        }
        if header.has(flag::RST) && !self.facts.known[d] {
            self.refused(cx, d, header);
            return;
        }
        if !self.facts.known[d] {
            if !ends {
                return;
            }
            // Bytes went by unseen before the end, unless it always stood there.
            taken_up = stood != header.seq || self.facts.passed_unseen();
            self.facts.next[d] = header.seq;
            self.facts.known[d] = true;
        }
        let origin = Origin {
            path: cx.path,
            ..Origin::of(header)
        };
        self.activate();
        if taken_up && let Some(active) = &mut self.active {
            active.judge.taken_up(&self.facts, d);
        }
        self.acknowledge(d, &origin);
        if spans {
            self.note_trial(d, header);
            self.data(cx, d, record, &origin);
        }
        if header.has(flag::FIN)
            && let Some(active) = &mut self.active
        {
            let end = position(active.judge.halves[d].next, header.skip_to);
            active.streams[d].fin.get_or_insert((end, origin));
        }
        self.settle(cx);
        if header.has(flag::RST) {
            self.reset(cx, d, header);
        }
        self.hand_back(cx, d, header);
        self.deactivate(cx);
    }

    fn opaque_record(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>) {
        let kind = unreadable(record.bytes);
        self.facts.not_readable(cx, kind);
        if self.active.is_none() {
            self.facts.opaque[d] = true;
        }
    }

    /// The first bytes of a direction whose beginning was not seen.
    fn take_up(&mut self, d: usize, header: &RecordHeader) {
        let facts = &mut self.facts;
        // Bytes that the peer had not acknowledged yet are missing before these: sent, and not seen.
        let missing = seq_distance(facts.next[d], header.skip_from);
        let passed = facts.next[d] != 0 && (2..=FAR as i32).contains(&missing);
        facts.known[d] = true;
        facts.next[d] = header.skip_from;
        facts.unsure[d] = true;
        // What a filter frames it was told the beginning of: the records before this one are lost.
        let framed = header.flags & (flag::FILTERED | flag::UNFILTERED) == flag::FILTERED;
        let lost = framed || passed;
        let start = first_position(header.skip_from);
        // The order is that of requests: of the server's bytes only responses are missing, and no
        // request where the client is followed from its first byte.
        let client = facts.client().map_or(d, usize::from) & 1;
        let end = match &self.active {
            _ if client == d => start,
            Some(active) => active.judge.halves[client].next,
            None => facts.next[client].into(),
        };
        let followed = client != d && facts.start_known[client];
        let unknown = |order: &mut Order| {
            if lost && !followed {
                order.requests_lost(end);
            } else if !followed {
                order.begin_unknown(end);
            }
        };
        unknown(&mut facts.order);
        if let Some(active) = &mut self.active {
            let half = &mut active.judge.halves[d];
            half.next = start;
            if !facts.opaque[d] {
                half.framer.lose();
            }
            unknown(&mut active.judge.exchanges.order);
        }
    }

    /// Brings what was remembered back to where bytes can be judged.
    fn activate(&mut self) {
        if self.active.is_some() {
            return;
        }
        let facts = &self.facts;
        let half = |d: usize| {
            let mut framer = Framer::between(facts.carries_responses(d));
            if facts.unsure[d] {
                framer.lose();
            }
            if facts.opaque[d] {
                framer.set_opaque();
            }
            Half {
                passed_head: facts.passed_head(d),
                ..Half::new(framer, first_position(facts.next[d]))
            }
        };
        let mut exchanges = Exchanges::default();
        exchanges.order = facts.order;
        let impatient = facts.impatient;
        let stream = |d: usize| Stream {
            given_up: if impatient & 1 << d != 0 { u64::MAX } else { 0 },
            ..Stream::default()
        };
        self.active = Some(Box::new(Active {
            judge: Judge {
                halves: [half(0), half(1)],
                queue: if facts.queue_unknown {
                    RequestQueue::unknown()
                } else {
                    RequestQueue::new()
                },
                exchanges,
            },
            streams: [stream(0), stream(1)],
            syn: None,
            far: [None, None],
            handed_back: [0; 2],
            verdicts: Verdicts::default(),
            untold: 0,
            reset_ns: 0,
        }));
    }

    /// Lets go of what is only needed while something is in flight.
    fn deactivate(&mut self, cx: &mut Context<'_>) {
        let Some(active) = &mut self.active else {
            return;
        };
        let judge = &active.judge;
        let quiet = judge.exchanges.is_quiet()
            && judge.halves.iter().all(Half::is_quiet)
            && active.syn.is_none()
            && active.far.iter().all(Option::is_none)
            && active
                .streams
                .iter()
                .all(|stream| stream.buffer.is_empty() && !stream.reset && stream.short_ns == 0)
            && !active.fin_waits(&self.facts);
        if !quiet && !self.facts.closed {
            return;
        }
        if active.reset_ns != 0 && !self.facts.closed {
            // All that was due has come.
            return self.stop(cx, End::Reset);
        }
        active.tell_holes(&self.facts, cx);
        self.remember();
        self.active = None;
    }

    fn remember(&mut self) {
        let Some(active) = &self.active else { return };
        let facts = &mut self.facts;
        for d in 0..2 {
            let half = &active.judge.halves[d];
            facts.next[d] = half.next as u32;
            facts.unsure[d] = half.framer.phase() == Phase::Unsure;
        }
        let impatient = (0..2)
            .filter(|&d| active.streams[d].given_up > active.judge.halves[d].next)
            .fold(0, |bits, d| bits | 1 << d);
        facts.set_impatient(impatient);
        facts.set_passed_head([0, 1].map(|d| active.judge.halves[d].passed_head));
        facts.order = active.judge.exchanges.order;
        facts.queue_unknown = active.judge.queue.is_unknown();
    }

    /// Hands on what has become next, gives up what will not come, and minds the FINs.
    fn settle(&mut self, cx: &mut Context<'_>) {
        let Some(active) = &mut self.active else {
            return;
        };
        let facts = &mut self.facts;
        loop {
            active.drain(facts, cx, false);
            let mut again = false;
            for d in 0..2 {
                if active.give_up(facts, cx, d) {
                    again = true;
                }
            }
            if !again {
                break;
            }
        }
        if facts.http {
            active.tell_holes(facts, cx);
        }
        for d in 0..2 {
            let next = active.judge.halves[d].next;
            // Bytes beyond it show that the FIN was not the sender's.
            let stream = &mut active.streams[d];
            stream.fin = stream.fin.filter(|(fin, _)| *fin >= next);
            let at_fin = stream.fin.is_some_and(|(fin, _)| fin == next);
            if at_fin && !facts.fin[d] {
                active.direction_ends(facts, cx, d);
            }
        }
        if facts.fin[0] && facts.fin[1] {
            self.stop(cx, End::Closed);
        }
    }

    /// The connection is over: everything in flight comes out.
    pub fn stop(&mut self, cx: &mut Context<'_>, end: End) {
        let reset_ns = self.active.as_ref().map_or(0, |active| active.reset_ns);
        let end = if reset_ns == 0 { end } else { End::Reset };
        self.believe_first(cx);
        self.drop_far(cx, u64::MAX);
        self.drop_syn_data(cx, u64::MAX);
        if let Some(mut active) = self.active.take() {
            let facts = &mut self.facts;
            active.drain(facts, cx, true);
            active.tell_holes(facts, cx);
            if !copied(facts, cx) {
                active.count_unseen(cx);
            }
            let end = match end {
                End::Stopped if active.streams.iter().any(|stream| stream.reset) => End::Reset,
                end => end,
            };
            let why = match end {
                End::Closed => Some(NoResponse::Closed),
                End::Reset => Some(NoResponse::Reset),
                End::Stopped => None,
            };
            let begun = why.and_then(|_| active.take_begun(facts, cx, u64::MAX));
            // The server's last: it may still answer what the client's close leaves.
            let client = facts.client().map_or(0, usize::from) & 1;
            for d in [client, 1 - client] {
                if !facts.fin[d] || active.judge.is_in_request_head(d) {
                    active.judge.close(facts, cx, d, end);
                }
            }
            let heard = facts.known[1 - client];
            let since_ns = if reset_ns == 0 { cx.now_ns } else { reset_ns };
            let why = why.filter(|_| heard).map(|why| (why, since_ns));
            active.judge.unanswered(facts, cx, why);
            if let Some(why) = why {
                active.judge.unfinished(facts, cx, begun, why);
            }
            self.active = Some(active);
            self.remember();
            self.active = None;
        }
        self.facts.account(cx, end != End::Stopped);
        self.facts.closed = true;
    }

    /// Time has passed: whether anything in flight is due, and when the next thing will be.
    pub fn tick(&mut self, cx: &mut Context<'_>) -> Option<u64> {
        self.drop_far(cx, cx.now_ns);
        self.drop_syn_data(cx, cx.now_ns);
        self.settle(cx);
        if let Some(active) = &mut self.active {
            if active.reset_ns != 0 && cx.now_ns >= active.reset_ns.saturating_add(CROSSING_NS) {
                self.stop(cx, End::Reset);
            } else {
                active.due(&mut self.facts, cx);
            }
        }
        self.deactivate(cx);
        self.deadline(cx)
    }

    /// When something in flight will be due.
    pub fn deadline(&self, cx: &Context<'_>) -> Option<u64> {
        let active = self.active.as_ref()?;
        let config = cx.config;
        let mut deadline: Option<u64> = None;
        let mut at = |ns: u64| deadline = Some(deadline.map_or(ns, |other| other.min(ns)));
        for (d, stream) in active.streams.iter().enumerate() {
            if stream.short_ns != 0 {
                at(stream.short_ns.saturating_add(config.hole_ns));
            }
            if stream.waiting_ns != 0 {
                let wait = active.patience(&self.facts, cx, d);
                if wait != u64::MAX {
                    at(stream.waiting_ns.saturating_add(wait));
                }
            }
        }
        if active.reset_ns != 0 {
            at(active.reset_ns.saturating_add(CROSSING_NS));
        }
        for (d, far) in active.far.iter().enumerate() {
            if let Some(far) = far
                && far.is_dropped(self.facts.known[d])
            {
                at(far.until_ns(config));
            }
        }
        if let Some(until_ns) = active.syn.as_ref().and_then(|syn| syn.until_ns(config)) {
            at(until_ns);
        }
        if let Some(begun_ns) = active.judge.awaits_first_field_since() {
            at(begun_ns.saturating_add(config.response_timeout_ns));
        }
        if let Some(begun_ns) = active.judge.begun_since() {
            at(begun_ns.saturating_add(config.response_timeout_ns));
        }
        let exchanges = &active.judge.exchanges;
        if let Some(current) = &exchanges.current
            && let Some(response) = &current.response
            && config.emit == Emit::Auto
            && !current.emitted
        {
            at(response.head_end_ns.saturating_add(config.emit_after_ns));
        }
        if let Some(request) = exchanges.waiting.iter().find(|request| !request.reported) {
            at(request
                .end_ns
                .unwrap_or(cx.now_ns)
                .saturating_add(config.response_timeout_ns));
        }
        deadline
    }

    /// Throws out bytes that wait for missing ones; what of them is next is judged.
    pub fn flush_buffers(&mut self, cx: &mut Context<'_>) {
        self.drop_far(cx, u64::MAX);
        self.drop_syn_data(cx, u64::MAX);
        if let Some(active) = &mut self.active {
            active.drain(&mut self.facts, cx, true);
        }
        self.settle(cx);
        self.deactivate(cx);
    }
}

/// Whether the connection is seen under several names, or is a copy of another: what one name's
/// hook missed, or acknowledged early, another's may have seen, so that nothing is known to be lost.
pub(crate) fn copied(facts: &Facts, cx: &Context<'_>) -> bool {
    facts.muted || cx.aliases.names(facts.number).is_some()
}
