//! Payload from where TCP would hardly have let it be.
//!
//! A sender is never further ahead of what its peer acknowledged than the peer's window (RFC 9293
//! §3.4), which is at most 1 GiB and hardly ever more than [`JUMP`]. What lies further off is forged,
//! garbage, the next connection on the same ports, or what follows a loss of our own: a ring buffer
//! that overflowed for seconds loses gigabytes. The last two go on, and the peer acknowledges them.
//! So such a segment waits, and nothing is made of it, until a second one follows it, or the peer
//! acknowledges it; and it is dropped when the stream goes on where it was, or in the end. What a
//! filter has framed it was there for without a break, and is believed at once.
//!
//! So it is with the first segment of a direction whose place the other one has acknowledged, but that
//! in the end, when nothing has spoken against it, it is what was on the wire; and with one that comes
//! after the connection's close, from where that did not stand. Of a direction of which nothing at all
//! is known the first segment says where it is.

use http_trace_common::flow::seq_distance;
use http_trace_common::framer::RequestQueue;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::{Connection, FAR, JUMP};
use crate::flow::Origin;
use crate::flow::reassembly::{Buffer, first_position, position};
use crate::http::context::{Context, PipelineConfig};
use crate::http::judge::{Half, begins_message};

/// A record that is not believed yet.
#[derive(Debug)]
pub(crate) struct Far {
    header: RecordHeader,
    bytes: Vec<u8>,
    origin: Origin,
    /// It came after the close of the connection that was there before.
    after_close: bool,
}

impl Far {
    /// Memory in use.
    pub fn held(&self) -> usize {
        size_of::<Far>() + self.bytes.capacity()
    }

    /// How long it may be confirmed.
    pub fn until_ns(&self, config: &PipelineConfig) -> u64 {
        self.header.time_ns.saturating_add(config.unseen_hole_ns)
    }

    /// Whether it is dropped when nothing confirms it; `known` is whether other bytes of the direction
    /// were seen.
    pub const fn is_dropped(&self, known: bool) -> bool {
        known || self.after_close
    }

    /// Whether a record of the same direction goes on where this one ends, or ends the stream there.
    fn is_followed(&self, header: &RecordHeader) -> bool {
        let ahead = seq_distance(self.header.skip_to, header.seq);
        header.len > 0 && (0..=JUMP as i32).contains(&ahead) || header.has(flag::FIN) && ahead == 0
    }

    /// Whether a record of the other direction acknowledges some of this one, or what follows it.
    fn is_acknowledged(&self, header: &RecordHeader) -> bool {
        let past = seq_distance(self.header.seq, header.ack);
        header.has(flag::ACK) && (1..=JUMP as i32).contains(&past)
    }
}

impl Connection {
    /// Whether bytes are so far from where the direction is that nothing may come of them yet.
    /// Between messages a start line that is believed there begins another connection.
    pub(super) fn is_elsewhere(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        start: u64,
        record: &Record<'_>,
        origin: &Origin,
    ) -> bool {
        let Some(active) = &mut self.active else {
            return true;
        };
        let (stream, next) = (&active.streams[d], active.judge.halves[d].next);
        // An acknowledgement of less is old, or is of what is not believed yet.
        let ahead = [stream.acked, stream.buffer.end().unwrap_or(0)];
        let mut places = ahead.into_iter().filter(|place| *place > next);
        let near = |place: u64| place.abs_diff(start) <= JUMP;
        if near(next) || places.any(near) {
            return false;
        }
        if !origin.framed_by_filter() {
            let far = Far {
                header: *record.header,
                bytes: record.bytes.to_vec(),
                origin: *origin,
                after_close: false,
            };
            if active.far[d].replace(Box::new(far)).is_some() {
                cx.stats.ignored_segments += 1;
            }
            return true;
        }
        self.go_far(cx, d, start, record, origin)
    }

    /// Bytes at `start`, far off, are believed: makes that a place of the stream. Whether there is
    /// nothing to be made of them.
    fn go_far(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        start: u64,
        record: &Record<'_>,
        origin: &Origin,
    ) -> bool {
        let Some(active) = &mut self.active else {
            return true;
        };
        let quiet = active.judge.exchanges.is_quiet()
            && active.judge.halves.iter().all(Half::is_quiet)
            && active.streams.iter().all(|stream| stream.buffer.is_empty());
        let segment = record.header.has(flag::SEGMENT_BEGINS);
        if quiet && segment && begins_message(record.bytes, None) {
            let half = &mut active.judge.halves[d];
            half.next = start;
            half.framer.lose();
            active.judge.queue = RequestQueue::new();
            active.judge.exchanges.order.begin_unknown(start);
            self.facts.known[1 - d] = false;
            self.facts.start_known = [false; 2];
            return false;
        }
        let next = active.judge.halves[d].next;
        if start < next || start - next > FAR {
            // How much is missing cannot be told from numbers of 32 bits.
            active.lose(&mut self.facts, cx, d, 1, origin);
            let stream = &mut active.streams[d];
            (stream.buffer, stream.acked, stream.given_up) = (Buffer::default(), 0, 0);
            active
                .judge
                .lose_track(&mut self.facts, cx, d, start, origin);
        }
        false
    }

    /// Whether a record with the first bytes of a direction is far from where the peer, or the
    /// connection that was there before, says that the direction stands.
    pub(super) fn begins_far(&self, d: usize, header: &RecordHeader) -> bool {
        let facts = &self.facts;
        let off = seq_distance(facts.next[d], header.skip_from).unsigned_abs();
        let framed = header.flags & (flag::FILTERED | flag::UNFILTERED) == flag::FILTERED;
        !facts.known[d]
            && facts.next[d] != 0
            && !facts.opaque[d]
            && u64::from(off) > JUMP
            && header.len > 0
            && header.flags & (flag::SYN | flag::STREAM_BEGINS) == 0
            && !framed
    }

    /// Keeps such a record until something confirms it.
    pub(super) fn hold_first(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        record: &Record<'_>,
        after_close: bool,
    ) {
        self.activate();
        let Some(active) = &mut self.active else {
            return;
        };
        let far = Far {
            header: *record.header,
            bytes: record.bytes.to_vec(),
            origin: Origin {
                path: cx.path,
                ..Origin::of(record.header)
            },
            after_close: after_close || active.far[d].as_ref().is_some_and(|far| far.after_close),
        };
        if active.far[d].replace(Box::new(far)).is_some() {
            cx.stats.ignored_segments += 1;
        }
    }

    /// The connection ends: the only bytes of a direction, which nothing speaks against, are what was
    /// on the wire.
    pub(super) fn believe_first(&mut self, cx: &mut Context<'_>) {
        for d in 0..2 {
            if let Some(active) = &mut self.active
                && !self.facts.known[d]
                && let Some(far) = active.far[d].take_if(|far| !far.after_close)
            {
                self.believe(cx, d, &far);
            }
        }
    }

    /// A record shows that what came from far off is the stream's, or that it is not.
    pub(super) fn confirm_far(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>) {
        for e in [1 - d, d] {
            let Some(active) = &mut self.active else {
                return;
            };
            let header = record.header;
            let next = if self.facts.known[e] {
                active.judge.halves[e].next
            } else {
                first_position(self.facts.next[e])
            };
            let ends = position(next, header.skip_to);
            let Some(far) = &active.far[e] else {
                continue;
            };
            let confirmed = if e == d {
                far.is_followed(header)
            } else {
                far.is_acknowledged(header)
            };
            if confirmed && let Some(far) = active.far[e].take() {
                self.believe(cx, e, &far);
            } else if e == d && header.len > 0 && ends > next && ends - next <= JUMP {
                // The stream goes on where it was.
                active.far[e] = None;
                cx.stats.ignored_segments += 1;
            }
        }
    }

    fn believe(&mut self, cx: &mut Context<'_>, d: usize, far: &Far) {
        let record = Record {
            tunnel: None,
            header: &far.header,
            bytes: &far.bytes,
        };
        if !self.facts.known[d] {
            if far.after_close {
                self.facts.next[d] = 0;
            }
            let path = std::mem::replace(&mut cx.path, far.origin.path);
            self.take(cx, d, &record);
            cx.path = path;
            return;
        }
        let Some(active) = &self.active else {
            return;
        };
        let start = position(active.judge.halves[d].next, far.header.skip_from);
        if !self.go_far(cx, d, start, &record, &far.origin) {
            self.place(cx, d, &record, &far.origin);
        }
    }

    /// Drops what came from far off and was not confirmed by `now_ns`.
    pub(super) fn drop_far(&mut self, cx: &mut Context<'_>, now_ns: u64) {
        let Some(active) = &mut self.active else {
            return;
        };
        for (d, far) in active.far.iter_mut().enumerate() {
            let known = self.facts.known[d] || now_ns == u64::MAX;
            if far
                .as_ref()
                .is_some_and(|far| far.is_dropped(known) && far.until_ns(cx.config) <= now_ns)
            {
                *far = None;
                cx.stats.ignored_segments += 1;
            }
        }
    }
}
