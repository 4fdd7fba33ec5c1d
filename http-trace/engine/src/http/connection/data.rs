//! Payload on its way to the judge: what is new of it, what is a copy, what must wait, and what
//! cannot belong here.

use http_trace_common::flow::seq_distance;
use http_trace_common::framer::Phase;
use http_trace_common::record::{Hook, Record, RecordHeader, flag};

use super::{Connection, FAR, JUMP};
use crate::flow::Origin;
use crate::flow::reassembly::position;
use crate::http::context::Context;
use crate::http::judge::begins_message;
use http_trace_model::event::oddity;

impl Connection {
    /// Direction `d` acknowledges the other's bytes.
    pub(super) fn acknowledge(&mut self, d: usize, origin: &Origin) {
        let o = 1 - d;
        if let (Some(active), Some(ack), true) =
            (&mut self.active, origin.ack(), self.facts.known[o])
        {
            let half = &active.judge.halves[o];
            let stream = &mut active.streams[o];
            stream.acked = stream.acked.max(position(half.next, ack));
            stream.live = origin.hook() != Hook::Capture;
            if stream.short_ns == 0 && stream.is_short(half) {
                stream.short_ns = origin.time_ns.max(1);
            }
        }
    }

    /// Whether a record of direction `d` acknowledges bytes of the other that were not seen. One
    /// byte is a FIN's, or a probe's.
    pub(super) fn acknowledges_unseen(&self, d: usize, header: &RecordHeader) -> bool {
        let (facts, o) = (&self.facts, 1 - d);
        let missing = seq_distance(facts.next[o], header.ack);
        header.has(flag::ACK)
            && facts.known[o]
            && !facts.opaque[o]
            && !facts.fin[o]
            && (2..=FAR as i32).contains(&missing)
    }

    /// A record says where its receiver's stream stands, and without payload where its sender's
    /// does: further on than what was seen only once bytes went by. Where those do not come after
    /// all, the end knows of them by this; where the direction is taken up, its first bytes do.
    pub(super) fn note_places(&mut self, d: usize, header: &RecordHeader) {
        if header.has(flag::SYN) {
            return;
        }
        if !header.has(flag::RST) {
            self.facts.note_established(d);
        }
        let empty = header.len == 0 && header.skip_from == header.seq;
        let sent = empty.then_some((d, header.seq));
        let acknowledged = header.has(flag::ACK).then_some((1 - d, header.ack));
        for (d, place) in [sent, acknowledged].into_iter().flatten() {
            let facts = &mut self.facts;
            let ahead = seq_distance(facts.next[d], place);
            let noted = facts.known[d] || facts.next[d] != 0;
            let apart = (2..=FAR as u32).contains(&ahead.unsigned_abs());
            if noted && apart && !facts.opaque[d] && !facts.fin[d] {
                facts.pass_unseen();
            }
            if !facts.known[d] && (!noted || ahead > 0) {
                facts.next[d] = place;
            }
        }
    }

    pub(super) fn data(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        record: &Record<'_>,
        origin: &Origin,
    ) {
        let Some(active) = &self.active else {
            return;
        };
        let start = position(active.judge.halves[d].next, record.header.skip_from);
        if self.facts.fin[d] {
            cx.stats.copied_bytes += u64::from(record.header.len);
        } else if !self.is_elsewhere(cx, d, start, record, origin) {
            self.place(cx, d, record, origin);
        }
    }

    /// Puts a record's payload where it belongs in the stream.
    pub(super) fn place(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        record: &Record<'_>,
        origin: &Origin,
    ) {
        let header = record.header;
        let Some(active) = &mut self.active else {
            return;
        };
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
        if active.syn.as_ref().is_some_and(|syn| syn.d == d) && skip_from <= next && skip_to > next
        {
            self.forget_syn(cx);
        }
        let Some(active) = &mut self.active else {
            return;
        };
        let copies = u32::from(header.retransmissions);
        if copies > 0 {
            active.judge.copied(d, seq, copies, origin);
        }
        if skip_to <= next {
            if record.bytes.is_empty() {
                return;
            }
            if begins && seq < next && self.rewinds(d, seq, record.bytes) {
                return self.place(cx, d, record, origin);
            }
            let Some(active) = &mut self.active else {
                return;
            };
            cx.stats.copied_bytes += record.bytes.len() as u64;
            let sent_again = u32::from(!header.has(flag::SEEN_ELSEWHERE));
            active.judge.copied(d, end, sent_again, origin);
            return;
        }
        active.streams[d].reset = false;
        let skips = seq > skip_from.max(next) || skip_to > end;
        let other_waits = !active.streams[1 - d].buffer.is_empty();
        if active.streams[d].buffer.is_empty()
            && !(skips && other_waits)
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
                active.judge.flag_next(d, oddity::OVERLAP_DIFFERS);
            }
        }
        if skip_to > end.max(next) {
            active.streams[d]
                .buffer
                .insert_skip(end.max(next), skip_to, *origin);
        }
    }

    /// A direction that was taken up in the middle may turn out to begin earlier, as long as no
    /// message was framed in it.
    pub(super) fn rewinds(&mut self, d: usize, seq: u64, bytes: &[u8]) -> bool {
        let facts = &self.facts;
        if facts.framed[d]
            || facts.start_known[d]
            || facts.opaque[d]
            || !begins_message(bytes, None)
        {
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
}
