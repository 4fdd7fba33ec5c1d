//! A connection's life in TCP: where its streams begin, which bytes are next, which will not come
//! any more, and how it ends. What the bytes say, the judge of it knows.

mod hand_back;

use http_trace_common::flow::{Direction, seq_distance};
use http_trace_common::framer::{Framer, Phase, RequestQueue};
use http_trace_common::record::{Hook, Record, RecordHeader, flag};

use super::context::{Context, Emit};
use super::emit;
use super::judge::{End, Half, Judge, begins_message};
use super::order::Order;
use super::transaction::Exchanges;
use crate::event::NoResponse;
use crate::flow::Origin;
use crate::flow::reassembly::{Buffer, Content, Piece, first_position, position};
use crate::stats::Unreadable;

/// Distances beyond this are no reordering and no loss that TCP could have outlived.
const FAR: u64 = 1 << 30;
/// A jump that, between messages, looks like another connection on the same tuple.
const JUMP: u64 = 16 << 20;

/// What is remembered of a connection while nothing is in flight.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Number of the connection in this run, from 1.
    pub number: u64,
    /// When the pipeline will look at it again, 0 for never.
    /// As [`timer`] makes it.
    pub timer: u32,
    /// Sequence numbers of each direction's next byte.
    pub next: [u32; 2],
    /// Sequence numbers of each direction's first byte.
    pub start: [u32; 2],
    pub order: Order,
    /// Whether `next` is known.
    pub known: [bool; 2],
    pub start_known: [bool; 2],
    /// Framing of the direction is lost.
    pub unsure: [bool; 2],
    /// A head was framed in the direction.
    pub framed: [bool; 2],
    /// The direction has come to its FIN.
    pub fin: [bool; 2],
    /// Index of the direction that the client sends in.
    /// plus 1; 0 while it is not known.
    client_plus_1: u8,
    /// Bit by direction: bytes that are missing next have been waited for.
    impatient: u8,
    /// What the direction carries is not HTTP/1.x, for good.
    pub opaque: [bool; 2],
    pub closed: bool,
    /// A message was framed.
    pub http: bool,
    /// Payload was seen.
    pub payload: bool,
    pub queue_unknown: bool,
    /// An [`Unreadable`] as its number, 0 while nothing speaks against HTTP/1.x.
    pub protocol: u8,
}

/// A deadline in units of 2^20 ns, never 0: two words are what a connection's place has left.
pub(crate) const fn timer(deadline_ns: u64) -> u32 {
    (deadline_ns >> 20) as u32 | 1
}

impl Facts {
    /// Index of the direction that the client sends in, if it is known.
    pub const fn client(&self) -> Option<u8> {
        self.client_plus_1.checked_sub(1)
    }

    /// The client sends in direction `d`.
    pub const fn set_client(&mut self, d: usize) {
        self.client_plus_1 = (d as u8 & 1) + 1;
    }

    fn direction(d: usize) -> Direction {
        if d == 0 {
            Direction::FromA
        } else {
            Direction::FromB
        }
    }

    /// The server's port, as far as is known when direction `d` sends.
    fn server_port(&self, cx: &Context<'_>) -> u16 {
        match self.client() {
            Some(client) => {
                cx.key
                    .sender(Self::direction(1 - usize::from(client & 1)))
                    .1
            }
            None => cx.key.a_port.min(cx.key.b_port),
        }
    }

    /// A message was framed in direction `d`.
    pub fn met_http(&mut self, cx: &mut Context<'_>, d: usize, response: bool) {
        self.framed[d & 1] = true;
        if self.http {
            return;
        }
        if let Some(kind) = kind_of(self.protocol) {
            let port = self.server_port(cx);
            cx.stats.uncount_unreadable(kind, port);
        }
        self.http = true;
        cx.stats.http_flows += 1;
        let server = if response { d } else { 1 - d };
        cx.ports.insert(cx.key.sender(Self::direction(server)).1);
    }

    /// The connection's first bytes are of another protocol.
    pub fn not_readable(&mut self, cx: &mut Context<'_>, kind: Unreadable) {
        if self.http || self.protocol != 0 {
            return;
        }
        self.protocol = kind as u8;
        let port = self.server_port(cx);
        cx.stats.count_unreadable(kind, port);
    }
}

const fn kind_of(protocol: u8) -> Option<Unreadable> {
    match protocol {
        1 => Some(Unreadable::Tls),
        2 => Some(Unreadable::Http2),
        3 => Some(Unreadable::Other),
        _ => None,
    }
}

/// One direction's TCP state while something is in flight.
#[derive(Debug, Default)]
struct Stream {
    buffer: Buffer<Origin>,
    /// Position up to which the peer has acknowledged.
    acked: u64,
    /// Position before which missing bytes are not waited for.
    given_up: u64,
    /// Since when bytes that the peer has acknowledged are missing; 0 when none are.
    short_ns: u64,
    /// Since when the next byte is missing, or bytes wait for the other direction; 0 for neither.
    waiting_ns: u64,
    fin: Option<u64>,
    /// A RST came that was not at the expected place.
    reset: bool,
}

impl Stream {
    /// Whether the peer has acknowledged bytes that are missing.
    fn is_short(&self, half: &Half) -> bool {
        let missing = self.acked.saturating_sub(half.next);
        self.fin.is_none()
            && self.acked > self.given_up
            && (2..=FAR).contains(&missing)
            && half.framer.skippable() != u64::MAX
    }
}

/// A SYN on a connection that is open (RFC 9293 §3.10.7.4).
#[derive(Clone, Copy, Debug)]
struct NewSyn {
    d: usize,
    seq: u32,
    /// Sequence number of the peer's first byte, from the SYN-ACK.
    answer: Option<u32>,
}

/// What is kept while something is in flight.
#[derive(Debug)]
pub(crate) struct Active {
    judge: Judge,
    streams: [Stream; 2],
    syn: Option<NewSyn>,
    /// Where what was last handed back to a filter ends, by direction.
    handed_back: [u64; 2],
}

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
            facts: Facts {
                number,
                ..Facts::default()
            },
        }
    }

    /// Memory of heads and messages in flight, and of bytes out of order.
    pub fn memory(&self) -> (usize, usize) {
        self.active.as_ref().map_or((0, 0), |active| {
            let judge = &active.judge;
            let heads = size_of::<Active>()
                + judge.exchanges.held
                + judge.halves.iter().map(Half::held).sum::<usize>();
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
        if self.facts.closed {
            if !self.is_reused(d, header) {
                cx.stats.copied_bytes += u64::from(header.len);
                return;
            }
            self.restart(cx);
        }
        if header.has(flag::SYN) {
            self.syn(cx, d, header);
        } else if header.has(flag::STREAM_BEGINS) {
            self.stream_begins(cx, d, header);
            // The filter was there from the start: what an end acknowledges with its first bytes
            // is where the peer's begin, whether or not those will be seen.
            if !self.facts.known[1 - d] && header.has(flag::ACK) {
                self.begin_stream(1 - d, header.ack);
            }
        }
        if header.has(flag::OPAQUE) {
            self.opaque_record(cx, d, record);
        }
        self.confirm_syn(cx, d, header);
        let spans =
            header.len > 0 || header.skip_from != header.seq || header.skip_to != header.seq;
        let ends = header.flags & (flag::FIN | flag::RST) != 0;
        if spans {
            self.facts.payload = true;
            if !self.facts.known[d] {
                self.take_up(d, header);
            }
        }
        if self.active.is_none()
            && (!spans || self.facts.opaque[d])
            && !ends
            && !self.acknowledges_unseen(d, header)
        {
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
            self.facts.next[d] = header.seq;
            self.facts.known[d] = true;
        }
        let origin = Origin::of(header);
        self.activate();
        self.acknowledge(d, &origin);
        if spans {
            self.data(cx, d, record, &origin);
        }
        if header.has(flag::FIN)
            && let Some(active) = &mut self.active
        {
            let end = position(active.judge.halves[d].next, header.skip_to);
            active.streams[d].fin.get_or_insert(end);
        }
        self.settle(cx);
        if header.has(flag::RST) {
            self.reset(cx, d, header);
        }
        self.hand_back(cx, header);
        self.deactivate();
    }

    /// Whether a record on a closed connection's tuple is of a new one.
    fn is_reused(&self, d: usize, header: &RecordHeader) -> bool {
        if header.flags & (flag::SYN | flag::STREAM_BEGINS) != 0 {
            return !self.facts.start_known[d] || self.facts.start[d] != header.seq;
        }
        let far = (header.seq.wrapping_sub(self.facts.next[d]) as i32).unsigned_abs();
        header.len > 0 && (!self.facts.known[d] || u64::from(far) > JUMP)
    }

    /// From here on another connection on the same tuple. What was in flight must be out already.
    fn restart(&mut self, cx: &mut Context<'_>) {
        *cx.connections += 1;
        cx.stats.flows += 1;
        *self = Connection::new(*cx.connections);
    }

    /// The stream of direction `d` begins with `seq`.
    fn begin_stream(&mut self, d: usize, seq: u32) {
        self.facts.start[d] = seq;
        self.facts.next[d] = seq;
        self.facts.start_known[d] = true;
        self.facts.known[d] = true;
        if let Some(active) = &mut self.active {
            active.judge.halves[d].next = first_position(seq);
        }
    }

    fn syn(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let facts = &mut self.facts;
        if facts.start_known[d] && facts.start[d] == header.seq {
            return;
        }
        if header.has(flag::ACK)
            && let Some(active) = &mut self.active
            && let Some(syn) = &mut active.syn
        {
            if syn.d != d && header.ack == syn.seq {
                syn.answer = Some(header.seq);
            }
            return;
        }
        if !facts.payload {
            if facts.client().is_none() || !header.has(flag::ACK) {
                facts.set_client(if header.has(flag::ACK) { 1 - d } else { d });
            }
            self.begin_stream(d, header.seq);
            return;
        }
        if header.has(flag::ACK) && facts.start_known[1 - d] && !facts.known[d] {
            // The answer to the SYN came after data that was sent with it.
            self.begin_stream(d, header.seq);
            return;
        }
        if facts.fin[0] && facts.fin[1] || (facts.fin[0] || facts.fin[1]) && self.active.is_none() {
            self.stop(cx, End::Closed);
            self.restart(cx);
            self.syn(cx, d, header);
            return;
        }
        // Anybody can send a SYN: it is believed when what follows shows that the peer did.
        self.activate();
        if let Some(active) = &mut self.active {
            active.syn = Some(NewSyn {
                d,
                seq: header.seq,
                answer: None,
            });
        }
    }

    /// The filter saw the SYN and its acknowledgement.
    fn stream_begins(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let facts = &mut self.facts;
        if facts.start_known[d] && facts.start[d] == header.seq {
            return;
        }
        if facts.known[d] {
            if facts.next[d] == header.seq && !facts.framed[d] {
                facts.start[d] = header.seq;
                facts.start_known[d] = true;
                return;
            }
            self.stop(cx, End::Closed);
            self.restart(cx);
        }
        self.begin_stream(d, header.seq);
    }

    /// Data at a new SYN's sequence number makes it true.
    fn confirm_syn(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let Some(syn) = self.active.as_ref().and_then(|active| active.syn) else {
            return;
        };
        if header.len == 0 || syn.d != d || header.seq != syn.seq {
            return;
        }
        let quiet = self
            .active
            .as_ref()
            .is_some_and(|active| active.judge.exchanges.is_quiet());
        if syn.answer.is_none() && !quiet {
            cx.stats.ignored_segments += 1;
            return;
        }
        self.stop(cx, End::Closed);
        self.restart(cx);
        self.facts.set_client(d);
        for (d, seq) in [(d, Some(syn.seq)), (1 - d, syn.answer)] {
            if let Some(seq) = seq {
                self.begin_stream(d, seq);
            }
        }
    }

    fn opaque_record(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>) {
        let kind = super::judge::unreadable(record.bytes);
        self.facts.not_readable(cx, kind);
        if self.active.is_none() {
            self.facts.opaque[d] = true;
        }
    }

    /// The first bytes of a direction whose beginning was not seen.
    fn take_up(&mut self, d: usize, header: &RecordHeader) {
        let facts = &mut self.facts;
        facts.known[d] = true;
        facts.next[d] = header.skip_from;
        facts.unsure[d] = true;
        facts.order.begin_unknown();
        if let Some(active) = &mut self.active {
            let half = &mut active.judge.halves[d];
            half.next = first_position(header.skip_from);
            half.framer.lose();
            active.judge.exchanges.order.begin_unknown();
        }
    }

    /// A RST from an end that has sent nothing else.
    fn refused(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let o = 1 - d;
        let answers =
            header.has(flag::ACK) && self.facts.known[o] && header.ack == self.facts.next[o];
        if self.facts.payload || !answers || !self.facts.start_known[o] {
            cx.stats.ignored_segments += 1;
            return;
        }
        self.facts.closed = true;
        emit::attempt(&self.facts, cx, header.time_ns, NoResponse::Refused);
    }

    /// Brings what was remembered back to where bytes can be judged.
    fn activate(&mut self) {
        if self.active.is_some() {
            return;
        }
        let facts = &self.facts;
        let half = |d: usize| {
            let is_response = match facts.client() {
                Some(client) if facts.framed[d] => Some(client as usize != d),
                _ => None,
            };
            let mut framer = Framer::between(is_response);
            if facts.unsure[d] {
                framer.lose();
            }
            if facts.opaque[d] {
                framer.set_opaque();
            }
            Half::new(framer, first_position(facts.next[d]))
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
            handed_back: [0; 2],
        }));
    }

    /// Lets go of what is only needed while something is in flight.
    fn deactivate(&mut self) {
        let Some(active) = &self.active else { return };
        let judge = &active.judge;
        let quiet = judge.exchanges.is_quiet()
            && judge.halves.iter().all(Half::is_quiet)
            && active.syn.is_none()
            && active
                .streams
                .iter()
                .all(|stream| stream.buffer.is_empty() && !stream.reset && stream.short_ns == 0)
            && !active.fin_waits(&self.facts);
        if !quiet && !self.facts.closed {
            return;
        }
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
        facts.impatient = (0..2)
            .filter(|&d| active.streams[d].given_up > active.judge.halves[d].next)
            .fold(0, |bits, d| bits | 1 << d);
        facts.order = active.judge.exchanges.order;
        facts.queue_unknown = active.judge.queue.is_unknown();
    }

    /// Direction `d` acknowledges the other's bytes.
    fn acknowledge(&mut self, d: usize, origin: &Origin) {
        let o = 1 - d;
        if let (Some(active), Some(ack), true) =
            (&mut self.active, origin.ack(), self.facts.known[o])
        {
            let half = &active.judge.halves[o];
            let stream = &mut active.streams[o];
            stream.acked = stream.acked.max(position(half.next, ack));
            if stream.short_ns == 0 && stream.is_short(half) {
                stream.short_ns = origin.time_ns.max(1);
            }
        }
    }

    /// Whether a record of direction `d` acknowledges bytes of the other that were not seen. One
    /// byte is a FIN's, or a probe's.
    fn acknowledges_unseen(&self, d: usize, header: &RecordHeader) -> bool {
        let (facts, o) = (&self.facts, 1 - d);
        let missing = seq_distance(facts.next[o], header.ack);
        header.has(flag::ACK)
            && facts.known[o]
            && !facts.opaque[o]
            && !facts.fin[o]
            && (2..=FAR as i32).contains(&missing)
    }

    fn data(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>, origin: &Origin) {
        let header = record.header;
        let Some(active) = &mut self.active else {
            return;
        };
        if self.facts.fin[d] {
            cx.stats.copied_bytes += u64::from(header.len);
            return;
        }
        let next = active.judge.halves[d].next;
        let seq = position(next, header.seq);
        let end = seq + record.bytes.len() as u64;
        let skip_from = position(next, header.skip_from).min(seq);
        let skip_to = position(next, header.skip_to).max(end);
        let begins = if origin.framed_by_filter() {
            flag::HEAD_BEGINS
        } else {
            flag::SEGMENT_BEGINS
        };
        let begins = header.has(begins);
        if self.is_elsewhere(d, skip_from, record) {
            cx.stats.ignored_segments += 1;
            return;
        }
        let Some(active) = &mut self.active else {
            return;
        };
        let next = active.judge.halves[d].next;
        if active.syn.is_some_and(|syn| syn.d == d) && skip_from <= next && skip_to > next {
            // The old connection goes on: the SYN was not the peer's.
            active.syn = None;
            cx.stats.ignored_segments += 1;
        }
        let copies = u32::from(header.retransmissions);
        if copies > 0 {
            active.judge.copied(d, seq, copies, &origin.interfaces);
        }
        if skip_to <= next {
            if record.bytes.is_empty() {
                return;
            }
            if begins && seq < next && self.rewinds(d, seq, record.bytes) {
                return self.data(cx, d, record, origin);
            }
            let Some(active) = &mut self.active else {
                return;
            };
            cx.stats.copied_bytes += record.bytes.len() as u64;
            active.judge.copied(d, end, 1, &origin.interfaces);
            return;
        }
        active.streams[d].reset = false;
        if active.streams[d].buffer.is_empty()
            && skip_from <= next
            && !active.holds(&self.facts, d, origin)
        {
            let facts = &mut self.facts;
            if seq > next {
                active.judge.skip(facts, cx, d, seq - next, origin);
            }
            if end > next {
                let past = next.saturating_sub(seq);
                cx.stats.copied_bytes += past;
                let bytes = record.bytes.get(past as usize..).unwrap_or_default();
                active
                    .judge
                    .feed(facts, cx, d, bytes, begins && past == 0, origin);
                active.goes_on(d);
            }
            let next = active.judge.halves[d].next;
            if skip_to > next {
                active.judge.skip(facts, cx, d, skip_to - next, origin);
            }
            return;
        }
        let buffer = &mut active.streams[d].buffer;
        if seq > skip_from.max(next) {
            buffer.insert_skip(skip_from.max(next), seq, *origin);
        }
        if end > next {
            let past = next.saturating_sub(seq);
            let bytes = record.bytes.get(past as usize..).unwrap_or_default();
            let inserted = buffer.insert_bytes(seq + past, bytes, begins && past == 0, *origin);
            cx.stats.copied_bytes += inserted.copied;
            if inserted.differs {
                cx.stats.overlaps_differ += 1;
                active.judge.flag_next(d, "overlap_differs");
            }
        }
        if skip_to > end.max(next) {
            active.streams[d]
                .buffer
                .insert_skip(end.max(next), skip_to, *origin);
        }
    }

    /// Whether bytes are so far from where the direction is that they cannot belong to it. Between
    /// messages a start line there begins another connection.
    fn is_elsewhere(&mut self, d: usize, start: u64, record: &Record<'_>) -> bool {
        let Some(active) = &self.active else {
            return true;
        };
        let distance = active.judge.halves[d].next.abs_diff(start);
        if distance <= JUMP {
            return false;
        }
        let quiet = active.judge.exchanges.is_quiet()
            && active.judge.halves.iter().all(Half::is_quiet)
            && active.streams.iter().all(|stream| stream.buffer.is_empty());
        let segment = record.header.has(flag::SEGMENT_BEGINS);
        if !(quiet && segment && begins_message(record.bytes)) {
            return distance > FAR;
        }
        if let Some(active) = &mut self.active {
            let half = &mut active.judge.halves[d];
            half.next = start;
            half.framer.lose();
            active.judge.queue = RequestQueue::new();
            active.judge.exchanges.order.begin_unknown();
        }
        self.facts.known[1 - d] = false;
        self.facts.start_known = [false; 2];
        false
    }

    /// A direction that was taken up in the middle may turn out to begin earlier, as long as no
    /// message was framed in it.
    fn rewinds(&mut self, d: usize, seq: u64, bytes: &[u8]) -> bool {
        let facts = &self.facts;
        if facts.framed[d] || facts.start_known[d] || facts.opaque[d] || !begins_message(bytes) {
            return false;
        }
        let Some(active) = &mut self.active else {
            return false;
        };
        let half = &mut active.judge.halves[d];
        if half.framer.phase() != Phase::Unsure || half.next - seq > JUMP {
            return false;
        }
        half.next = seq;
        true
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
        for d in 0..2 {
            let at_fin = active.streams[d]
                .fin
                .is_some_and(|fin| active.judge.halves[d].next >= fin);
            if at_fin && !facts.fin[d] {
                active.direction_ends(facts, cx, d);
            }
        }
        if facts.fin[0] && facts.fin[1] {
            self.stop(cx, End::Closed);
        }
    }

    fn reset(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let Some(active) = &mut self.active else {
            return;
        };
        let next = active.judge.halves[d].next;
        let at = position(next, header.skip_to);
        // After its FIN the sender's RST is one further.
        let expected = at == next || self.facts.fin[d] && at == next + 1;
        if expected || self.facts.opaque[d] {
            self.stop(cx, End::Reset);
        } else {
            cx.stats.ignored_segments += 1;
            active.streams[d].reset = true;
        }
    }

    /// The connection is over: everything in flight comes out.
    pub fn stop(&mut self, cx: &mut Context<'_>, end: End) {
        if let Some(mut active) = self.active.take() {
            let facts = &mut self.facts;
            active.drain(facts, cx, true);
            let end = match end {
                End::Stopped if active.streams.iter().any(|stream| stream.reset) => End::Reset,
                end => end,
            };
            // The server's last: it may still answer what the client's close leaves.
            let client = facts.client().map_or(0, usize::from) & 1;
            for d in [client, 1 - client] {
                if !facts.fin[d] {
                    active.judge.close(facts, cx, d, end);
                }
            }
            let why = match end {
                End::Closed => Some(NoResponse::Closed),
                End::Reset => Some(NoResponse::Reset),
                End::Stopped => None,
            };
            let heard = facts.known[1 - client];
            active.judge.unanswered(facts, cx, why.filter(|_| heard));
            self.active = Some(active);
            self.remember();
            self.active = None;
        }
        self.facts.closed = true;
    }

    /// Time has passed: whether anything in flight is due, and when the next thing will be.
    pub fn tick(&mut self, cx: &mut Context<'_>) -> Option<u64> {
        self.settle(cx);
        if let Some(active) = &mut self.active {
            active.due(&mut self.facts, cx);
        }
        self.deactivate();
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
        if let Some(active) = &mut self.active {
            active.drain(&mut self.facts, cx, true);
        }
        self.settle(cx);
        self.deactivate();
    }
}

impl Active {
    fn fin_waits(&self, facts: &Facts) -> bool {
        (0..2).any(|d| self.streams[d].fin.is_some() && !facts.fin[d])
    }

    /// Whether bytes that acknowledge `origin.ack` must wait for a request that came later.
    fn holds(&self, facts: &Facts, d: usize, origin: &Origin) -> bool {
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
        let mut missing = ack - half.next;
        if let Some(fin) = stream.fin
            && ack > fin
        {
            missing -= 1;
        }
        // One byte is a FIN that was not seen, or a probe's.
        let too_short = missing <= 1 && half.framer.phase() == Phase::Idle;
        !(missing == 0 || too_short || half.framer.skippable() >= missing)
    }

    /// The next piece of direction `d`, if it may be judged now.
    fn ready(&mut self, facts: &Facts, d: usize, force: bool) -> Option<Piece<Origin>> {
        let next = self.judge.halves[d].next;
        let first = self.streams[d].buffer.first()?;
        let old = first.end() <= next;
        if !force && !old && (first.start > next || self.holds(facts, d, &first.meta)) {
            return None;
        }
        self.streams[d].buffer.pop_from(next)
    }

    /// Judges all that is next, in both directions; with `force` also across holes.
    fn drain(&mut self, facts: &mut Facts, cx: &mut Context<'_>, force: bool) {
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
            let stream = &mut self.streams[d];
            stream.waiting_ns = match stream.buffer.first() {
                None => 0,
                Some(first) if stream.waiting_ns == 0 => first.meta.time_ns.max(1),
                Some(_) => stream.waiting_ns,
            };
        }
    }

    fn hole(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize, n: u64, origin: &Origin) {
        cx.stats.holes += 1;
        cx.stats.hole_bytes += n;
        if origin.hook() != Hook::Capture {
            cx.lose_bytes("hole", n);
        }
        self.judge.hole(facts, cx, d, n, origin);
    }

    /// How long direction `d` waits for what it waits for.
    fn patience(&self, facts: &Facts, cx: &Context<'_>, d: usize) -> u64 {
        let Some(first) = self.streams[d].buffer.first() else {
            return u64::MAX;
        };
        let stream = &self.streams[d];
        if stream.buffer.size() > cx.config.reorder_bytes_per_direction
            || stream.given_up >= first.start
        {
            return 0;
        }
        if first.start <= self.judge.halves[d].next {
            // It waits for the other direction, whose bytes it acknowledges.
            return cx.config.hole_ns;
        }
        if stream.acked >= first.start || first.meta.framed_by_filter() {
            cx.config.hole_ns
        } else if !facts.known[1 - d] || first.meta.hook() != Hook::Capture {
            cx.config.unseen_hole_ns
        } else {
            u64::MAX
        }
    }

    /// Bytes of direction `d` were judged: the next hole is waited for again.
    fn goes_on(&mut self, d: usize) {
        let stream = &mut self.streams[d];
        stream.given_up = stream.given_up.min(self.judge.halves[d].next);
    }

    /// Acknowledged bytes that have not come for long enough will not be waited for.
    fn give_up_short(&mut self, cx: &Context<'_>, d: usize) {
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
    fn give_up(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) -> bool {
        self.give_up_short(cx, d);
        let since = self.streams[d].waiting_ns;
        let patience = self.patience(facts, cx, d);
        if patience == u64::MAX || patience > 0 && cx.now_ns < since.saturating_add(patience) {
            return false;
        }
        let Some(first) = self.streams[d].buffer.first() else {
            return false;
        };
        let (start, meta) = (first.start, first.meta);
        let next = self.judge.halves[d].next;
        if start > next {
            self.hole(facts, cx, d, start - next, &meta);
        } else {
            let o = 1 - d;
            if let Some(ack) = meta.ack() {
                let ack = position(self.judge.halves[o].next, ack);
                self.streams[o].given_up = self.streams[o].given_up.max(ack);
                self.judge.exchanges.order.requests_lost(ack);
                self.judge.queue.set_unknown();
            }
        }
        self.streams[d].waiting_ns = 0;
        true
    }

    /// Direction `d` has come to its FIN.
    fn direction_ends(&mut self, facts: &mut Facts, cx: &mut Context<'_>, d: usize) {
        self.judge.close(facts, cx, d, End::Closed);
        facts.fin[d] = true;
        if facts.client() != Some(d as u8) {
            self.judge.unanswered(facts, cx, Some(NoResponse::Closed));
        }
    }

    /// Writes what is due by now.
    fn due(&mut self, facts: &mut Facts, cx: &mut Context<'_>) {
        let config = cx.config;
        let exchanges = &mut self.judge.exchanges;
        if config.emit == Emit::Auto
            && let Some(current) = &exchanges.current
            && let Some(response) = &current.response
            && cx.now_ns >= response.head_end_ns.saturating_add(config.emit_after_ns)
        {
            self.judge.emit_early(facts, cx);
        }
        let heard = facts
            .client()
            .is_some_and(|client| facts.known[1 - usize::from(client & 1)]);
        let reset = self.streams.iter().any(|stream| stream.reset);
        let why = if reset {
            NoResponse::Reset
        } else {
            NoResponse::Timeout
        };
        self.judge.overdue(facts, cx, why, heard);
    }
}
