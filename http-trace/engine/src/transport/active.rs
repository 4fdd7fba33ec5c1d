//! Both directions of a connection while something is in flight: which bytes are next, which wait, and
//! until when. Must not decide whether a segment belongs to the connection.
//!
//! # Layout
//! - `closes`: FINs, and the end of directions and of the connection.

mod closes;

use http_trace_common::filter::HandBack;
use http_trace_common::record::{RecordHeader, flag};
use http_trace_model::event::NoResponse;

use super::reassembly::{Content, Piece};
use super::streams::{Before, FarSegment, OpenSyn, Stream};
use super::tcp::Tcp;
use super::{CROSSING_NS, Env, FAR};
use crate::origin::{Origin, first_position, position};
use crate::protocol::{Chunk, Gap, Link, Standing};
use crate::protocols::{Implementation, Memory, answers};

/// States of connections that are quiet again, for the next ones.
pub(crate) type Spare = Vec<Box<Active>>;

/// State of a connection while something is in flight.
#[derive(Debug)]
pub(crate) struct Active {
    pub protocol: Implementation,
    pub streams: [Stream; 2],
    pub syn: Option<OpenSyn>,
    /// The closed connection before, if this one is only a SYN so far.
    pub before: Option<Box<Before>>,
    /// By direction: a segment far outside the window, not yet accepted.
    pub far: [Option<Box<FarSegment>>; 2],
    /// The server's buffered bytes waited for a client that was not seen.
    unheard: bool,
    /// Bytes of gaps before the first head, not yet reported as lost.
    unreported: u64,
    /// Time of a RST that came while something was in flight; 0 for none. See [`super::connection::claim`].
    pub reset_ns: u64,
    /// Time of the last bytes that neither confirm nor disprove a claimed close.
    pub heard_ns: u64,
}

impl Active {
    /// Resumes a quiet connection.
    pub fn new(tcp: &Tcp, memory: &Memory) -> Self {
        let stream = |d: usize| Stream {
            given_up: if tcp.given_up[d] { u64::MAX } else { 0 },
            ..Stream::default()
        };
        let next = tcp.next.map(first_position);
        Active {
            protocol: Implementation::resume(memory, &tcp.link, next),
            streams: [stream(0), stream(1)],
            syn: None,
            before: None,
            far: [None, None],
            unheard: false,
            unreported: 0,
            reset_ns: 0,
            heard_ns: 0,
        }
    }

    /// Saves the positions of both directions.
    pub fn remember(&self, tcp: &mut Tcp) -> Memory {
        for (d, stream) in self.streams.iter().enumerate() {
            let next = self.protocol.next(d);
            tcp.next[d] = next as u32;
            tcp.given_up[d] = stream.given_up > next;
        }
        self.protocol.memory()
    }

    /// Memory of heads and messages in flight, and of bytes out of order.
    pub fn size(&self) -> (usize, usize) {
        let far = self.far.iter().flatten().map(|far| far.held.size());
        let heads = size_of::<Active>()
            + self.protocol.held()
            + far.sum::<usize>()
            + self.syn.as_ref().map_or(0, OpenSyn::size);
        let buffers = self.streams.iter().map(|stream| stream.buffer.size());
        (heads, buffers.sum())
    }

    /// Whether nothing is in flight, so that the small state suffices.
    pub fn is_quiet(&self, tcp: &Tcp) -> bool {
        let fin_waits = (0..2).any(|d| self.streams[d].fin.is_some() && !tcp.fin[d]);
        self.protocol.is_quiet()
            && self.syn.is_none()
            && self.far.iter().all(Option::is_none)
            && self
                .streams
                .iter()
                .all(|stream| stream.buffer.is_empty() && !stream.reset && stream.short_ns == 0)
            && !fin_waits
    }

    /// Whether direction `d` is permanently opaque.
    pub fn opaque(&self, d: usize) -> bool {
        self.protocol.profile().opaque[d]
    }

    /// Whether the bytes of `origin` must wait because they acknowledge bytes of the other direction
    /// that were not handed over yet.
    pub fn holds(&self, tcp: &Tcp, d: usize, origin: &Origin) -> bool {
        let (o, link) = (1 - d, &tcp.link);
        // Bytes that came before a RST are still handed over first.
        let over = tcp.fin[o] || tcp.reset[o] && self.streams[o].buffer.is_empty();
        if link.is_client(d) || self.opaque(o) || over {
            return false;
        }
        let Some(ack) = origin.ack.number() else { return false };
        let (next, stream) = (self.protocol.next(o), &self.streams[o]);
        // Of two taps, one may be late: after a SYN-ACK, the client's SYN and first request still come.
        let expected = || link.expected(o).map(|seq| position(next, seq));
        let Some(next) = link.known[o].then_some(next).or_else(expected) else { return false };
        let ack = position(next, ack);
        if ack <= next.max(stream.given_up) || ack - next > FAR {
            return false;
        }
        let skippable = self.protocol.skippable(o);
        if let Some(Piece { start, content, .. }) = stream.buffer.first()
            && *start <= next
            && let Content::Skip(n) = *content
            && (*start + n >= ack || n > skippable)
        {
            // A filter's skip will never be filled; if it is not body, these bytes opened the tunnel.
            return false;
        }
        let mut missing = ack - next;
        if let Some(fin) = &stream.fin
            && ack > fin.0
        {
            missing -= 1;
        }
        // One byte is an unseen FIN, or a keepalive probe.
        let too_short = missing <= 1 && self.protocol.standing(o) == Standing::Between;
        !(missing == 0 || too_short || skippable >= missing)
    }

    /// The next piece of direction `d`, if it may be handed over now.
    fn ready(&mut self, tcp: &Tcp, d: usize, force: bool) -> Option<Piece<Origin>> {
        let next = self.protocol.next(d);
        let first = self.streams[d].buffer.first()?;
        let old = first.end() <= next;
        if !force && !old && (first.start > next || self.holds(tcp, d, &first.meta)) {
            return None;
        }
        if !old && self.follows_other(tcp, d, first, force) {
            return None;
        }
        self.streams[d].buffer.pop_from(next)
    }

    /// Whether a declared skip that is not body yet may become body by bytes that the other direction
    /// sent before and has ready: the response that opens a tunnel.
    fn follows_other(&self, tcp: &Tcp, d: usize, first: &Piece<Origin>, force: bool) -> bool {
        let skippable = self.protocol.skippable(d);
        if !matches!(first.content, Content::Skip(n) if n > skippable) {
            return false;
        }
        let o = 1 - d;
        let waiting = &self.streams[o].buffer;
        let ready = waiting.first().is_some_and(|piece| {
            // Bytes that wait their turn behind this direction are not waited for.
            let passes = match piece.content {
                Content::Bytes(_) => true,
                Content::Skip(n) => n <= self.protocol.skippable(o),
            };
            let in_order = piece.start <= self.protocol.next(o) && !self.holds(tcp, o, &piece.meta);
            passes && (in_order || force)
        });
        ready
            && waiting.pieces().any(|piece| {
                matches!(piece.content, Content::Bytes(_))
                    && piece.meta.time_ns <= first.meta.time_ns
            })
    }

    /// Whether the next bytes of direction `d` acknowledge bytes of the other direction that wait here,
    /// and may be handed over first.
    fn follows_waiting(&self, tcp: &Tcp, d: usize, force: bool) -> bool {
        let o = 1 - d;
        let Some((asked, waits)) =
            self.streams[d].buffer.first().zip(self.streams[o].buffer.first())
        else {
            return false;
        };
        let next = self.protocol.next(o);
        let ready = force || waits.start <= next && !self.holds(tcp, o, &waits.meta);
        let ack = asked.meta.ack.number().map(|ack| position(next, ack));
        ready && ack.is_some_and(|ack| ack > waits.start && ack - waits.start <= FAR)
    }

    /// Hands over everything that is next, in both directions; with `force` also across gaps.
    pub fn drain(&mut self, tcp: &mut Tcp, env: &mut Env<'_>, force: bool) {
        // Requests first, so that responses find them; but nothing before the bytes it acknowledges.
        let client = tcp.link.client_or_first();
        let unheard = std::mem::take(&mut self.unheard) || tcp.link.expected(client).is_some();
        let mut causal = true;
        loop {
            let mut progress = false;
            for d in [client, 1 - client] {
                while !(causal && self.follows_waiting(tcp, d, force))
                    && let Some(piece) = self.ready(tcp, d, force)
                {
                    progress = true;
                    let next = self.protocol.next(d);
                    if piece.start > next {
                        self.pass_gap(tcp, env, d, piece.start - next, &piece.meta);
                    }
                    match &piece.content {
                        Content::Skip(n) if !piece.meta.is_filtered() => {
                            self.lose(tcp, env, d, *n, &piece.meta, true);
                        }
                        Content::Skip(n) => self.skip(tcp, env, d, *n, &piece.meta),
                        Content::Bytes(bytes) => {
                            let chunk = Chunk { bytes, begins: piece.begins, origin: &piece.meta };
                            self.data(tcp, env, d, &chunk);
                            if piece.copies > 0 {
                                self.protocol.copied(d, piece.end(), piece.copies, &piece.meta);
                            }
                        }
                    }
                    if unheard && self.protocol.is_quiet() {
                        // What waited in vain is framed as if it had come one by one: between two messages, a connection
                        // at rest remembers no more than this.
                        let next = [0, 1].map(|d| self.protocol.next(d));
                        let memory = self.protocol.memory();
                        self.protocol = Implementation::resume(&memory, &tcp.link, next);
                    }
                }
            }
            if !progress && !causal {
                break;
            }
            causal = progress;
        }
        for d in 0..2 {
            let next = self.protocol.next(d);
            if force
                && let Some((fin, origin)) = self.streams[d].fin.as_deref().copied()
                && fin > next
            {
                if self.streams[d].acked == fin + 1 || !self.protocol.is_quiet() {
                    self.pass_gap(tcp, env, d, fin - next, &origin);
                } else {
                    // If neither this FIN nor the close is real, the direction keeps its position.
                    self.streams[d].fin = None;
                    self.count_lost(env, d, fin - next, &origin);
                }
                continue;
            }
            let stream = &mut self.streams[d];
            stream.waiting_ns = match stream.waits(next) {
                None => 0,
                Some((_, origin)) if stream.waiting_ns == 0 => origin.time_ns.max(1),
                Some(_) => stream.waiting_ns,
            };
        }
    }

    /// Hands over bytes of direction `d`; the wait for the next gap starts again.
    pub fn data(&mut self, tcp: &mut Tcp, env: &mut Env<'_>, d: usize, chunk: &Chunk<'_>) {
        self.protocol.data(&mut env.cx(&mut tcp.link), d, chunk);
        let stream = &mut self.streams[d];
        stream.given_up = stream.given_up.min(self.protocol.next(d));
    }

    /// Hands over a declared skip of direction `d`. Where no filter declares it, a snap length has cut these bytes.
    pub fn skip(&mut self, tcp: &mut Tcp, env: &mut Env<'_>, d: usize, n: u64, origin: &Origin) {
        if !origin.is_filtered() {
            let end = self.protocol.next(d) + n;
            self.streams[d].cut = Some(Box::new((end, *origin)));
            return;
        }
        let cx = &mut env.cx(&mut tcp.link);
        self.protocol.skip(cx, d, n, origin);
    }

    /// Passes over what a snap length has cut, before a record of direction `d` if there is one. The other bytes of a whole
    /// copy, seen at another point, follow at once.
    pub fn pass_cuts(
        &mut self,
        tcp: &mut Tcp,
        env: &mut Env<'_>,
        record: Option<(usize, &RecordHeader)>,
    ) {
        let client = tcp.link.client_or_first();
        for o in [client, 1 - client] {
            let Some(cut) = self.streams[o].cut.take() else { continue };
            let next = self.protocol.next(o);
            let is_copy = record.is_some_and(|(d, header)| {
                let start = position(next, header.seq);
                d == o && start <= next && start + u64::from(header.len) > next
            });
            let (end, origin) = *cut;
            if end > next && !is_copy {
                self.lose(tcp, env, o, end - next, &origin, true);
            }
        }
    }

    /// Passes over `n` missing bytes: as a skip where the filter has skipped them, otherwise as a loss.
    fn pass_gap(&mut self, tcp: &mut Tcp, env: &mut Env<'_>, d: usize, n: u64, origin: &Origin) {
        if n <= self.protocol.skippable(d) && origin.without_flow {
            // The filter skipped this body and declares it with the next record that has the flow, which
            // may come later than we wait, or never if the other end sends a RST first. A record dropped
            // for lack of room would be reported.
            return self.skip(tcp, env, d, n, origin);
        }
        self.lose(tcp, env, d, n, origin, false);
    }

    /// Passes over `n` lost bytes; `is_cut` says that a snap length has cut them.
    pub fn lose(
        &mut self,
        tcp: &mut Tcp,
        env: &mut Env<'_>,
        d: usize,
        n: u64,
        origin: &Origin,
        is_cut: bool,
    ) {
        self.count_lost(env, d, n, origin);
        if self.protocol.profile().http {
            self.report_gaps(&tcp.link, env);
        }
        let answered = self.answer_waits(&tcp.link, 1 - d, origin);
        let gap = Gap { len: n, is_cut, answered, origin };
        self.protocol.gap(&mut env.cx(&mut tcp.link), d, &gap);
    }

    /// Counts `n` bytes of direction `d` as lost.
    fn count_lost(&mut self, env: &mut Env<'_>, d: usize, n: u64, origin: &Origin) {
        // Opaque directions are not shipped, so nothing is lost.
        if self.protocol.standing(d) != Standing::Opaque {
            env.stats.holes += 1;
            env.stats.hole_bytes += n;
            self.unreported += if origin.is_live() { n } else { 0 };
        }
    }

    /// Whether direction `o` had sent a response, not handed over yet, that the other direction
    /// acknowledged with `origin`.
    fn answer_waits(&self, link: &Link, o: usize, origin: &Origin) -> bool {
        let Some(ack) = link.acknowledged(o, self.protocol.next(o), origin.ack) else {
            return false;
        };
        let waiting = self.streams[o].buffer.pieces();
        waiting.take_while(|piece| piece.start < ack).any(|piece| match &piece.content {
            Content::Bytes(bytes) => piece.begins && answers(bytes),
            Content::Skip(_) => false,
        })
    }

    /// Reports missing bytes as lost, unless the connection is known under another name as well. Only
    /// its first head shows that, so nothing is reported before the head or the connection's end.
    pub fn report_gaps(&mut self, link: &Link, env: &mut Env<'_>) {
        let n = std::mem::take(&mut self.unreported);
        if n > 0 && !self.is_other(link) && !env.is_copied(link) {
            env.lose_bytes("hole", n);
        }
    }

    /// Whether the connection was seen from its start and no message was framed: what did not ship is another
    /// protocol's. A record that was lost is counted where it was lost.
    fn is_other(&self, link: &Link) -> bool {
        !self.protocol.profile().http && (0..2).all(|d| link.start(d).is_some())
    }

    /// At the end of the connection: acknowledged bytes that never came are a gap, unless they are
    /// certainly body. One byte is a FIN or a keepalive probe.
    fn count_unseen(&self, link: &Link, env: &mut Env<'_>) {
        for (d, stream) in self.streams.iter().enumerate() {
            let missing = stream.acked.saturating_sub(self.protocol.next(d));
            if stream.fin.is_some() || !(2..=FAR).contains(&missing) {
                continue;
            }
            let missing = missing.saturating_sub(self.protocol.skippable(d));
            if missing > 1 {
                env.stats.holes += 1;
                env.stats.hole_bytes += missing;
                if stream.live && !self.is_other(link) {
                    env.lose_bytes("hole", missing);
                }
            }
        }
    }

    /// How long direction `d` waits for missing bytes, or for the other direction, ns.
    fn patience(&self, tcp: &Tcp, env: &Env<'_>, d: usize) -> u64 {
        let (stream, next) = (&self.streams[d], self.protocol.next(d));
        let Some((start, origin)) = stream.waits(next) else { return u64::MAX };
        let config = env.config;
        if stream.buffer.size() > config.reorder_bytes_per_direction || stream.given_up >= start {
            return 0;
        }
        if start <= next {
            // It waits for bytes of the other direction that it acknowledges.
            return config.hole_ns;
        }
        let body = start - next <= self.protocol.skippable(d);
        if stream.buffer.is_empty() && tcp.link.known[1 - d] && !body {
            // A FIN alone may be forged: bytes before it are missing only if the peer acknowledged it.
            return if stream.acked == start + 1 { config.hole_ns } else { u64::MAX };
        }
        // Body that the filter skipped is not lost and will not come.
        let is_skipped = || origin.without_flow && start - next <= self.protocol.skippable(d);
        if stream.acked >= start || origin.framed_by_filter() || is_skipped() {
            config.hole_ns
        } else if !tcp.link.known[1 - d] || origin.is_live() {
            config.unseen_hole_ns
        } else {
            u64::MAX
        }
    }

    /// A segment of the other direction acknowledges direction `d` up to here.
    pub fn acknowledge(&mut self, d: usize, origin: &Origin) {
        let Some(ack) = origin.ack.number() else { return };
        let (next, skippable) = (self.protocol.next(d), self.protocol.skippable(d));
        let stream = &mut self.streams[d];
        stream.acked = stream.acked.max(position(next, ack));
        stream.live = origin.is_live();
        if stream.short_ns == 0 && stream.is_short(next, skippable) {
            stream.short_ns = origin.time_ns.max(1);
        }
    }

    /// Stops waiting for acknowledged bytes that were missing for too long.
    fn give_up_short(&mut self, env: &Env<'_>, d: usize) {
        let (next, skippable) = (self.protocol.next(d), self.protocol.skippable(d));
        let stream = &mut self.streams[d];
        if stream.short_ns == 0 {
            return;
        }
        if !stream.is_short(next, skippable) {
            stream.short_ns = 0;
        } else if env.now_ns >= stream.short_ns.saturating_add(env.config.hole_ns) {
            stream.given_up = stream.acked;
            stream.short_ns = 0;
        }
    }

    /// Whether direction `d` has waited long enough and continues without the missing bytes.
    pub fn give_up(&mut self, tcp: &mut Tcp, env: &mut Env<'_>, d: usize) -> bool {
        self.give_up_short(env, d);
        let since = self.streams[d].waiting_ns;
        let patience = self.patience(tcp, env, d);
        if patience == u64::MAX || patience > 0 && env.now_ns < since.saturating_add(patience) {
            return false;
        }
        let next = self.protocol.next(d);
        let Some((start, meta)) = self.streams[d].waits(next) else {
            return false;
        };
        if start > next {
            self.pass_gap(tcp, env, d, start - next, &meta);
        } else if tcp.link.expected(1 - d).is_some() {
            tcp.link.expect_nothing();
            self.unheard = true;
        } else if let Some(ack) = meta.ack.number() {
            let o = 1 - d;
            let next = self.protocol.next(o);
            let ack = position(next, ack);
            self.streams[o].given_up = self.streams[o].given_up.max(ack);
            self.protocol.never_seen(o, ack);
            // Do not wait for a direction that never sent anything. Of one whose start a filter saw, the bytes
            // passed there and are not HTTP/1.x.
            let has_sent = !self.streams[o].buffer.is_empty();
            tcp.link.known[o] &= has_sent || tcp.link.first(o) != Some(next) || meta.is_filtered();
        }
        self.streams[d].waiting_ns = 0;
        true
    }

    /// Yields everything that is due.
    pub fn tick(&mut self, tcp: &mut Tcp, env: &mut Env<'_>) {
        let reset = self.reset_ns != 0 || self.streams.iter().any(|stream| stream.reset);
        let why = if reset { NoResponse::Reset } else { NoResponse::Timeout };
        let witness = self.witness(tcp, why, env.now_ns);
        let cx = &mut env.cx(&mut tcp.link);
        self.protocol.tick(cx, &witness);
    }

    /// When the RST is accepted if nothing else comes.
    pub fn reset_due_ns(&self) -> u64 {
        self.reset_ns.max(self.heard_ns).saturating_add(CROSSING_NS)
    }

    /// When something in flight becomes due.
    pub fn deadline(&self, tcp: &Tcp, env: &Env<'_>) -> Option<u64> {
        let config = env.config;
        let mut deadline = self.protocol.deadline(env.now_ns, config);
        let mut at = |ns: u64| deadline = Some(deadline.map_or(ns, |other| other.min(ns)));
        for (d, stream) in self.streams.iter().enumerate() {
            if stream.short_ns != 0 {
                at(stream.short_ns.saturating_add(config.hole_ns));
            }
            if stream.waiting_ns != 0 {
                let wait = self.patience(tcp, env, d);
                if wait != u64::MAX {
                    at(stream.waiting_ns.saturating_add(wait));
                }
            }
            if let Some(far) = &self.far[d]
                && far.is_dropped(tcp.link.known[d])
            {
                at(far.held.until_ns(config));
            }
        }
        if self.reset_ns != 0 {
            at(self.reset_due_ns());
        }
        for due in (0..2).filter_map(|d| self.fin_due_ns(tcp, d)) {
            at(due);
        }
        if let Some(until_ns) = self.syn.as_ref().and_then(|syn| syn.until_ns(config)) {
            at(until_ns);
        }
        deadline
    }

    /// The offer to a filter after this record, if it is new.
    pub fn hand_back(&mut self, tcp: &Tcp, header: &RecordHeader) -> Option<HandBack> {
        let in_order = header.has(flag::FILTERED | flag::UNFILTERED)
            && tcp.link.known == [true; 2]
            && self.streams.iter().all(|stream| stream.buffer.is_empty());
        self.protocol.hand_back(header.generation, in_order)
    }
}
