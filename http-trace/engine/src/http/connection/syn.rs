//! How connections begin, begin anew on the same tuple, are refused and are reset: which SYNs and
//! RSTs are believed (RFC 9293 §3.10.7, RFC 5961).

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::new_syn::SYN_DATA;
use super::{Connection, JUMP};
use crate::flow::reassembly::{first_position, position};
use crate::http::context::Context;
use crate::http::emit;
use crate::http::judge::End;
use http_trace_model::event::NoResponse;

/// The beginning of a stream that is so little behind what was seen, in bytes, is that one's.
const COPY: i32 = 1 << 20;

impl Connection {
    /// Whether a record on a closed connection's tuple is of a new one.
    pub(super) fn is_reused(&self, d: usize, header: &RecordHeader) -> bool {
        let far = (header.seq.wrapping_sub(self.facts.next[d]) as i32).unsigned_abs();
        // Where an end stood shows in what the other acknowledged, too.
        let placed = self.facts.known[d] || self.facts.next[d] != 0;
        let elsewhere = !placed || u64::from(far) > JUMP;
        if header.flags & (flag::SYN | flag::STREAM_BEGINS) != 0 {
            if self.facts.start_known[d] {
                return self.facts.start[d] != header.seq;
            }
            let o = 1 - d;
            if header.has(flag::ACK)
                && self.facts.payload
                && self.facts.start_known[o]
                && self.facts.start[o] == header.ack
            {
                // It acknowledges the beginning of the connection that there was. One that was
                // refused before it began may have been so by a forged RST.
                return false;
            }
            // A copy of a beginning that was not known for one is no new connection, nor is its SYN
            // that is seen late: the next one's is ahead (RFC 9293 §3.4.1). Were it not, the answer
            // to it would show.
            let behind = seq_distance(header.seq, self.facts.next[d]);
            return !(placed && (0..COPY).contains(&behind));
        }
        header.len > 0 && elsewhere
    }

    /// From here on another connection on the same tuple. What was in flight must be out already.
    pub(super) fn restart(&mut self, cx: &mut Context<'_>) {
        *cx.connections += 1;
        cx.stats.flows += 1;
        cx.aliases.forget(self.facts.number);
        cx.proxied.remove(&self.facts.number);
        *self = Connection::new(*cx.connections);
    }

    /// The stream of direction `d` begins with `seq`.
    pub(super) fn begin_stream(&mut self, d: usize, seq: u32) {
        self.facts.start[d] = seq;
        self.facts.next[d] = seq;
        self.facts.start_known[d] = true;
        self.facts.known[d] = true;
        if let Some(active) = &mut self.active {
            active.judge.halves[d].next = first_position(seq);
            if self.facts.client() != Some(d as u8) {
                active.judge.exchanges.server_begins(first_position(seq));
            }
        }
    }

    /// A SYN, or what a filter ships of one. Whether the record waits until the SYN is believed.
    pub(super) fn syn(&mut self, cx: &mut Context<'_>, d: usize, record: &Record<'_>) -> bool {
        let header = record.header;
        if header.len > 0 && !header.has(flag::SEGMENT_BEGINS) {
            return self.more_of_syn(cx, d, record);
        }
        let facts = &mut self.facts;
        if facts.start_known[d] && facts.start[d] == header.seq {
            return false;
        }
        let next = match &self.active {
            Some(active) if facts.known[d] => active.judge.halves[d].next as u32,
            _ => facts.next[d],
        };
        let placed = facts.known[d] || facts.payload && facts.next[d] != 0;
        let since = seq_distance(header.seq, next);
        if placed && !facts.start_known[d] && (0..JUMP as i32).contains(&since) {
            // The SYN of what is already at work, seen late.
            if facts.known[d] {
                facts.begins_behind(d, header.seq);
            } else {
                self.begin_stream(d, header.seq);
            }
            return false;
        }
        if header.has(flag::ACK)
            && let Some(active) = &mut self.active
            && let Some(syn) = &mut active.syn
        {
            if syn.d != d && syn.is_answered_by(header.ack) {
                syn.answer = Some(header.seq);
            }
            // What came with it is sent again.
            return header.len > 0;
        }
        if !facts.payload {
            if facts.client().is_none() || !header.has(flag::ACK) {
                facts.set_client(if header.has(flag::ACK) { 1 - d } else { d });
            }
            let asker = !facts.known[1 - d] && header.has(flag::ACK);
            self.begin_stream(d, header.seq);
            if asker {
                // It acknowledges the SYN, which was not seen, and may acknowledge data that came
                // with it (RFC 7413 §4.1.2): the client's stream begins here or before.
                self.facts.next[1 - d] = header.ack;
            }
            return false;
        }
        let answered = header.ack.wrapping_sub(facts.start[1 - d]) <= SYN_DATA;
        if header.has(flag::ACK) && facts.start_known[1 - d] && answered && !facts.known[d] {
            // The answer to the SYN came after data that was sent with it.
            self.begin_stream(d, header.seq);
            return false;
        }
        let is_reset = self.active.as_ref().is_some_and(|a| a.reset_ns != 0);
        let ends = facts.fin[0] || facts.fin[1];
        if facts.fin[0] && facts.fin[1] || ends && self.active.is_none() || is_reset {
            self.stop(cx, End::Closed);
            self.restart(cx);
            return self.syn(cx, d, record);
        }
        // Anybody can send a SYN: it is believed when what follows shows that the peer did.
        self.note_new_syn(cx, d, record)
    }

    /// The filter saw the SYN and its acknowledgement.
    pub(super) fn stream_begins(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let facts = &mut self.facts;
        if facts.start_known[d] && facts.start[d] == header.seq {
            return;
        }
        if facts.known[d] {
            let next = match &self.active {
                Some(active) => active.judge.halves[d].next as u32,
                None => facts.next[d],
            };
            let behind = (0..COPY).contains(&seq_distance(header.seq, next));
            if !facts.start_known[d] && facts.framed[d] && behind {
                // Told late, or copied, of what is already at work.
                facts.begins_behind(d, header.seq);
                return;
            }
            if facts.next[d] == header.seq && !facts.framed[d] {
                facts.start[d] = header.seq;
                facts.start_known[d] = true;
                return;
            }
            if self.was_taken_up_behind(d, header.seq) {
                return;
            }
            let facts = &mut self.facts;
            if !facts.start_known[d] && behind {
                // A copy of what went by unseen: another connection would begin ahead.
                facts.begins_behind(d, header.seq);
                return;
            }
            self.stop(cx, End::Closed);
            self.restart(cx);
        }
        self.begin_stream(d, header.seq);
    }

    /// What the client acknowledges with its first byte is where the server's stream begins: the
    /// SYN-ACK may have been lost. The server's may acknowledge what came with the SYN.
    pub(super) fn learn_start(&mut self, d: usize, header: &RecordHeader) {
        let (facts, o) = (&self.facts, 1 - d);
        let first = facts.start_known[d] && facts.start[d] == header.seq;
        let asks = facts.client() != Some(o as u8);
        if first && asks && header.has(flag::ACK) && !facts.known[o] && !facts.payload {
            self.begin_stream(o, header.ack);
        }
    }

    /// A RST from an end that has sent nothing else.
    pub(super) fn refused(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
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

    /// A RST. That of a client whose requests are not all answered does not end the connection at
    /// once: what the server sends until it hears of it crosses the wire, and is what it answered.
    pub(super) fn reset(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let facts = &mut self.facts;
        let Some(active) = &mut self.active else {
            return;
        };
        let next = active.judge.halves[d].next;
        let at = position(next, header.skip_to);
        // After its FIN the sender's RST is one further.
        let expected = at == next || facts.fin[d] && at == next + 1;
        if !expected && !facts.opaque[d] {
            cx.stats.ignored_segments += 1;
            active.streams[d].reset = true;
            return;
        }
        let o = 1 - d;
        let due = facts.client() == Some(d as u8)
            && facts.known[o]
            && !facts.fin[o]
            && !facts.opaque[d]
            && !active.judge.exchanges.is_quiet();
        if !due {
            self.stop(cx, End::Reset);
            return;
        }
        if active.reset_ns == 0 {
            active.reset_ns = cx.now_ns.max(1);
            if !facts.fin[d] {
                if !active.judge.is_in_request_head(d) {
                    active.judge.close(facts, cx, d, End::Reset);
                }
                facts.fin[d] = true;
            }
        }
    }
}
