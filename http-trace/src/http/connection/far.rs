//! Payload from where TCP would hardly have let it be.
//!
//! A sender is never further ahead of what its peer acknowledged than the peer's window (RFC 9293
//! §3.4), which is at most 1 GiB and hardly ever more than [`JUMP`]. What lies further off is forged,
//! garbage, the next connection on the same ports, or what follows a loss of our own: a ring buffer
//! that overflowed for seconds loses gigabytes. The last two go on, and the peer acknowledges them.
//! So such a segment waits, and nothing is made of it, until a second one follows it, or the peer
//! acknowledges it; and it is dropped when the stream goes on where it was, or in the end. What a
//! filter has framed it was there for without a break, and is believed at once.

use http_trace_common::flow::seq_distance;
use http_trace_common::framer::RequestQueue;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::{Connection, FAR, JUMP};
use crate::flow::Origin;
use crate::flow::reassembly::{Buffer, position};
use crate::http::context::{Context, PipelineConfig};
use crate::http::judge::{Half, begins_message};

/// A record that is not believed yet.
#[derive(Debug)]
pub(crate) struct Far {
    header: RecordHeader,
    bytes: Vec<u8>,
    origin: Origin,
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

    /// Whether a record of the same direction goes on where this one ends.
    fn is_followed(&self, header: &RecordHeader) -> bool {
        let ahead = seq_distance(self.header.skip_to, header.seq);
        header.len > 0 && (0..=JUMP as i32).contains(&ahead)
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
            active.hole(&mut self.facts, cx, d, 1, origin);
            let stream = &mut active.streams[d];
            (stream.buffer, stream.acked, stream.given_up) = (Buffer::default(), 0, 0);
            active
                .judge
                .lose_track(&mut self.facts, cx, d, start, origin);
        }
        false
    }

    /// A record shows that what came from far off is the stream's, or that it is not.
    pub(super) fn confirm_far(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>) {
        for e in [1 - d, d] {
            let Some(active) = &mut self.active else {
                return;
            };
            let header = record.header;
            let next = active.judge.halves[e].next;
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
        let Some(active) = &self.active else {
            return;
        };
        let record = Record {
            tunnel: None,
            header: &far.header,
            bytes: &far.bytes,
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
        for far in &mut active.far {
            if far
                .as_ref()
                .is_some_and(|far| far.until_ns(cx.config) <= now_ns)
            {
                *far = None;
                cx.stats.ignored_segments += 1;
            }
        }
    }
}
