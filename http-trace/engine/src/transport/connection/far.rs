//! Segments far outside the window.
//!
//! A sender is never further ahead of its peer's acknowledgements than the peer's window (RFC 9293
//! §3.4), which is at most 1 GiB and hardly ever more than [`JUMP`]. A segment further away is forged,
//! garbage, the next connection's on the same ports, or follows a loss of our own: a ring buffer that
//! overflows for seconds loses gigabytes. The last two continue, and the peer acknowledges them. So such
//! a segment is held until a second one follows it or the peer acknowledges it. It is dropped when the
//! stream continues at its old position, or at the end. A record that a filter has framed is accepted at
//! once: the filter saw the stream without a break.
//!
//! The first segment of a direction is also held if it is far from what the other direction
//! acknowledged, or comes after the connection's close; in the first case it is accepted at the end
//! unless something contradicts it. If nothing is known of a direction, its first segment defines its
//! position.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::Connection;
use crate::origin::{Origin, first_position, position};
use crate::protocols::begins_message;
use crate::transport::reassembly::Buffer;
use crate::transport::streams::{FarSegment, Held, JUMP};
use crate::transport::{Env, FAR};

impl Connection {
    /// Whether bytes are so far from the direction's position that they must not be used yet. An
    /// accepted start line there, between messages, begins another connection.
    pub(super) fn is_elsewhere(
        &mut self,
        env: &mut Env<'_>,
        d: usize,
        start: u64,
        record: &Record<'_>,
        origin: &Origin,
    ) -> bool {
        let Some(active) = self.flight.active_mut() else { return true };
        let (stream, next) = (&active.streams[d], active.protocol.next(d));
        // A lower acknowledgement is old, or of bytes that are not accepted yet.
        let ahead = [stream.acked, stream.buffer.end().unwrap_or(0)];
        let mut places = ahead.into_iter().filter(|place| *place > next);
        let near = |place: u64| place.abs_diff(start) <= JUMP;
        if near(next) || places.any(near) {
            return false;
        }
        if !origin.framed_by_filter() {
            let far = FarSegment { held: Held::of(record, origin.path), after_close: false };
            if active.far[d].replace(Box::new(far)).is_some() {
                env.stats.ignored_segments += 1;
            }
            return true;
        }
        self.go_far(env, d, start, record, origin)
    }

    /// Accepts distant bytes at `start` and moves the stream there. Returns whether they are to be ignored.
    fn go_far(
        &mut self,
        env: &mut Env<'_>,
        d: usize,
        start: u64,
        record: &Record<'_>,
        origin: &Origin,
    ) -> bool {
        let Some(active) = self.flight.active_mut() else { return true };
        let quiet = active.protocol.is_quiet()
            && active.streams.iter().all(|stream| stream.buffer.is_empty());
        let segment = record.header.has(flag::SEGMENT_BEGINS);
        let tcp = &mut self.tcp;
        if quiet && segment && begins_message(record.bytes, None) {
            active.protocol.begin_anew(&tcp.link, d, start);
            tcp.link.known[1 - d] = false;
            tcp.link.forget_starts();
            return false;
        }
        let next = active.protocol.next(d);
        if start < next || start - next > FAR {
            // 32-bit sequence numbers do not show how much is missing.
            active.lose(tcp, env, d, 1, origin, false);
            let stream = &mut active.streams[d];
            (stream.buffer, stream.acked, stream.given_up) = (Buffer::default(), 0, 0);
            let cx = &mut env.cx(&mut tcp.link);
            active.protocol.jump(cx, d, start, origin);
        }
        false
    }

    /// Whether a record with the first bytes of a direction is far from the direction's position, as
    /// known from the peer or the connection before.
    pub(super) fn begins_far(&self, d: usize, header: &RecordHeader) -> bool {
        let tcp = &self.tcp;
        let off = seq_distance(tcp.next[d], header.skip_from).unsigned_abs();
        let framed = header.flags & (flag::FILTERED | flag::UNFILTERED) == flag::FILTERED;
        !tcp.link.known[d]
            && tcp.next[d] != 0
            && !self.profile().opaque[d]
            && u64::from(off) > JUMP
            && header.len > 0
            && header.flags & (flag::SYN | flag::STREAM_BEGINS) == 0
            && !framed
    }

    /// Holds such a record until something confirms it.
    pub(super) fn hold_first(
        &mut self,
        env: &mut Env<'_>,
        d: usize,
        record: &Record<'_>,
        after_close: bool,
    ) {
        self.activate(env);
        let Some(active) = self.flight.active_mut() else { return };
        let far = FarSegment {
            held: Held::of(record, env.path),
            after_close: after_close || active.far[d].as_ref().is_some_and(|far| far.after_close),
        };
        if active.far[d].replace(Box::new(far)).is_some() {
            env.stats.ignored_segments += 1;
        }
    }

    /// At the end of the connection: accepts a direction's only bytes, which nothing contradicts.
    pub(super) fn believe_first(&mut self, env: &mut Env<'_>) {
        for d in 0..2 {
            if let Some(active) = self.flight.active_mut()
                && !self.tcp.link.known[d]
                && let Some(far) = active.far[d].take_if(|far| !far.after_close)
            {
                self.believe(env, d, &far);
            }
        }
    }

    /// Checks whether a record confirms or contradicts a held segment.
    pub(super) fn confirm_far(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) {
        for e in [1 - d, d] {
            let Some(active) = self.flight.active_mut() else { return };
            let header = record.header;
            let next = if self.tcp.link.known[e] {
                active.protocol.next(e)
            } else {
                first_position(self.tcp.next[e])
            };
            let ends = position(next, header.skip_to);
            let Some(far) = &active.far[e] else { continue };
            let confirmed =
                if e == d { far.is_followed(header) } else { far.is_acknowledged(header) };
            if confirmed && let Some(far) = active.far[e].take() {
                self.believe(env, e, &far);
            } else if e == d && header.len > 0 && ends > next && ends - next <= JUMP {
                // The stream continues at its old position.
                active.far[e] = None;
                env.stats.ignored_segments += 1;
            }
        }
    }

    fn believe(&mut self, env: &mut Env<'_>, d: usize, far: &FarSegment) {
        if !self.tcp.link.known[d] {
            if far.after_close {
                self.tcp.next[d] = 0;
            }
            return self.take_held(env, d, &far.held);
        }
        let Some(active) = self.flight.active() else { return };
        let record = far.held.record();
        let origin = Origin::of(record.header, far.held.path);
        let start = position(active.protocol.next(d), record.header.skip_from);
        if !self.go_far(env, d, start, &record, &origin) {
            self.insert(env, d, &record, &origin);
        }
    }

    /// Drops held segments that were not confirmed by `now_ns`.
    pub(super) fn drop_far(&mut self, env: &mut Env<'_>, now_ns: u64) {
        let Some(active) = self.flight.active_mut() else { return };
        for (d, far) in active.far.iter_mut().enumerate() {
            let known = self.tcp.link.known[d] || now_ns == u64::MAX;
            if far
                .as_ref()
                .is_some_and(|far| far.is_dropped(known) && far.held.until_ns(env.config) <= now_ns)
            {
                *far = None;
                env.stats.ignored_segments += 1;
            }
        }
    }
}
