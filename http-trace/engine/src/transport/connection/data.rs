//! Payload on its way to the protocol: new bytes, copies, and bytes that must wait. Must not frame messages.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::Connection;
use crate::origin::{Origin, position};
use crate::protocol::{Chunk, Standing};
use crate::protocols::begins_message;
use crate::transport::streams::JUMP;
use crate::transport::{Env, FAR};

impl Connection {
    /// Whether a record of direction `d` acknowledges bytes of the other that were not seen. One byte is
    /// a FIN or a keepalive probe.
    pub(super) fn acknowledges_unseen(&self, d: usize, header: &RecordHeader) -> bool {
        let (tcp, o) = (&self.tcp, 1 - d);
        let missing = seq_distance(tcp.next[o], header.ack);
        header.has(flag::ACK)
            && tcp.link.known[o]
            && !self.profile().opaque[o]
            && !tcp.fin[o]
            && (2..=FAR as i32).contains(&missing)
    }

    /// Notes the positions that a record shows: its acknowledgement and, without payload, its own
    /// sequence number. A position ahead of the bytes seen means that some passed unseen.
    pub(super) fn note_positions(&mut self, d: usize, header: &RecordHeader) {
        if header.has(flag::SYN) {
            return;
        }
        if !header.has(flag::RST) {
            self.tcp.note_established(d);
        }
        let empty = header.len == 0 && header.skip_from == header.seq;
        let sent = empty.then_some((d, header.seq));
        let acknowledged = header.has(flag::ACK).then_some((1 - d, header.ack));
        for (d, seq) in [sent, acknowledged].into_iter().flatten() {
            let opaque = self.profile().opaque[d];
            let tcp = &mut self.tcp;
            let ahead = seq_distance(tcp.next[d], seq);
            let noted = tcp.link.known[d] || tcp.next[d] != 0;
            let apart = (2..=FAR as u32).contains(&ahead.unsigned_abs());
            if noted && apart && !opaque && !tcp.fin[d] {
                tcp.passed_unseen = true;
            }
            if !tcp.link.known[d] && (!noted || ahead > 0) {
                tcp.next[d] = seq;
            }
        }
    }

    /// Handles payload, or a declared skip, of direction `d`.
    pub(super) fn data(
        &mut self,
        env: &mut Env<'_>,
        d: usize,
        record: &Record<'_>,
        origin: &Origin,
    ) {
        let Some(active) = self.flight.active() else { return };
        let next = active.protocol.next(d);
        let start = position(next, record.header.skip_from);
        let is_new = position(next, record.header.skip_to) > next;
        if self.tcp.fin[d] && !is_new {
            env.stats.copied_bytes += u64::from(record.header.len);
        } else if !self.is_elsewhere(env, d, start, record, origin) {
            if is_new {
                self.disprove_close(env, d);
            }
            self.insert(env, d, record, origin);
        }
    }

    /// Inserts a record's payload at its position in the stream.
    pub(super) fn insert(
        &mut self,
        env: &mut Env<'_>,
        d: usize,
        record: &Record<'_>,
        origin: &Origin,
    ) {
        let header = record.header;
        let Some(active) = self.flight.active() else { return };
        let next = active.protocol.next(d);
        let seq = position(next, header.seq);
        let end = seq + record.bytes.len() as u64;
        let skip_from = position(next, header.skip_from).min(seq);
        let skip_to = position(next, header.skip_to).max(end);
        let begins = header.has(if origin.framed_by_filter() {
            flag::HEAD_BEGINS
        } else {
            flag::SEGMENT_BEGINS
        });
        let follows_syn = active.syn.as_ref().is_some_and(|syn| syn.d == d);
        if follows_syn && skip_from <= next && skip_to > next {
            self.forget_syn(env);
        }
        let differs = self.compare(env, d, record, end > next);
        let Some(active) = self.flight.active_mut() else { return };
        let copies = u32::from(header.retransmissions);
        if copies > 0 {
            active.protocol.copied(d, seq, copies, origin);
        }
        if skip_to <= next {
            if record.bytes.is_empty() {
                return;
            }
            if begins && seq < next && self.rewinds(d, seq, record.bytes) {
                return self.insert(env, d, record, origin);
            }
            env.stats.copied_bytes += record.bytes.len() as u64;
            if let Some(active) = self.flight.active_mut() {
                let sent_again = u32::from(!header.has(flag::SEEN_ELSEWHERE));
                active.protocol.copied(d, end, sent_again, origin);
            }
            return;
        }
        active.streams[d].reset = false;
        let skips = seq > skip_from.max(next) || skip_to > end;
        let other_waits = !active.streams[1 - d].buffer.is_empty();
        let past = next.saturating_sub(seq);
        let bytes = record.bytes.get(past as usize..).unwrap_or_default();
        let begins = begins && past == 0;
        let tcp = &mut self.tcp;
        if active.streams[d].buffer.is_empty()
            && !(skips && other_waits)
            && skip_from <= next
            && !active.holds(tcp, d, origin)
        {
            if seq > next {
                active.skip(tcp, env, d, seq - next, origin);
            }
            if end > next {
                env.stats.copied_bytes += past;
                let chunk = Chunk { bytes, begins, origin };
                active.data(tcp, env, d, &chunk);
            }
            let next = active.protocol.next(d);
            if skip_to > next {
                active.skip(tcp, env, d, skip_to - next, origin);
            }
            return;
        }
        let buffer = &mut active.streams[d].buffer;
        if seq > skip_from.max(next) {
            buffer.insert_skip(skip_from.max(next), seq, *origin);
        }
        if end > next {
            let inserted = buffer.insert_bytes(seq + past, bytes, begins, *origin);
            env.stats.copied_bytes += inserted.copied;
            if inserted.stored == 0 && inserted.copied > 0 && !header.has(flag::SEEN_ELSEWHERE) {
                buffer.count_copy(end);
            }
            if inserted.differs && !differs {
                env.stats.overlaps_differ += 1;
                active.protocol.overlap_differs(&tcp.link, d, seq..end);
            }
        }
        if skip_to > end.max(next) {
            let buffer = &mut active.streams[d].buffer;
            buffer.insert_skip(end.max(next), skip_to, *origin);
        }
    }

    /// Compares the part of a record that was seen before, and remembers the record if it continues the
    /// stream. A filter ships copies where it cannot frame, and those that begin as a start line does. One
    /// byte may be a keepalive probe.
    pub(super) fn compare(
        &mut self,
        env: &mut Env<'_>,
        d: usize,
        record: &Record<'_>,
        continues: bool,
    ) -> bool {
        let (header, bytes) = (record.header, record.bytes);
        if bytes.is_empty() {
            return false;
        }
        let of = (self.number, d);
        let differs = bytes.len() > 1 && env.recent.differs(of, header.seq, bytes);
        if differs {
            env.stats.overlaps_differ += 1;
            if let Some(active) = self.flight.active_mut() {
                let start = position(active.protocol.next(d), header.seq);
                let copy = start..start + bytes.len() as u64;
                active.protocol.overlap_differs(&self.tcp.link, d, copy);
            }
        } else if continues {
            env.recent.note(of, header.seq, bytes);
        }
        differs
    }

    /// Whether a direction that was joined in midstream turns out to begin earlier, which counts while
    /// no message was framed in it.
    fn rewinds(&mut self, d: usize, seq: u64, bytes: &[u8]) -> bool {
        let known = self.profile().framed[d]
            || self.tcp.link.start(d).is_some()
            || self.profile().opaque[d];
        let Some(active) = self.flight.active_mut().filter(|_| !known) else {
            return false;
        };
        let rewinds = begins_message(bytes, None)
            && active.protocol.standing(d) == Standing::Lost
            && active.protocol.next(d) - seq <= JUMP;
        if rewinds {
            active.protocol.rewind(d, seq);
        }
        rewinds
    }
}
