//! How connections begin, are refused and are reset, and how tuples are reused: which SYNs and RSTs are
//! accepted (RFC 9293 §3.10.7, RFC 5961).

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use http_trace_model::event::NoResponse;

use super::Connection;
use crate::origin::first_position;
use crate::protocol::End;
use crate::transport::Env;
use crate::transport::streams::{JUMP, SYN_DATA};

/// A beginning at most this many bytes behind a stream's position belongs to that stream.
const COPY: i32 = 1 << 20;

impl Connection {
    /// Whether a record on a closed connection's tuple belongs to a new one.
    pub(super) fn is_reused(&self, d: usize, header: &RecordHeader) -> bool {
        let far = (header.seq.wrapping_sub(self.tcp.next[d]) as i32).unsigned_abs();
        // The other end's acknowledgement shows the position, too.
        let placed = self.tcp.link.known[d] || self.tcp.next[d] != 0;
        let elsewhere = !placed || u64::from(far) > JUMP;
        if header.flags & (flag::SYN | flag::STREAM_BEGINS) != 0 {
            let o = 1 - d;
            if let Some(start) = self.tcp.link.start(d) {
                return start != header.seq || self.is_foreign(o, header);
            }
            if header.has(flag::ACK)
                && self.tcp.payload
                && self.tcp.link.start(o) == Some(header.ack)
            {
                // It acknowledges the beginning of the closed connection. One that was refused before it
                // began may have been refused by a forged RST.
                return false;
            }
            // A late copy of a beginning, or of its SYN, is no new connection: the next one's sequence
            // numbers are ahead (RFC 9293 §3.4.1). Otherwise its answer would show it.
            let behind = seq_distance(header.seq, self.tcp.next[d]);
            return !(placed && (0..COPY).contains(&behind));
        }
        header.len > 0 && elsewhere
    }

    /// Whether a record with bytes of the client acknowledges what the server, direction `o`, of a closed
    /// connection never sent: the client has begun another at the same sequence number, as some devices and
    /// tools do. (A server may acknowledge more than was seen of a request.)
    fn is_foreign(&self, o: usize, header: &RecordHeader) -> bool {
        // A FIN takes one sequence number.
        let sent = |start| self.next(o).wrapping_sub(start).wrapping_add(1);
        let within = |start| header.ack.wrapping_sub(start) <= sent(start);
        let asks = header.has(flag::ACK) && header.len > 0 && self.tcp.link.is_client(1 - o);
        asks && self.tcp.link.start(o).is_some_and(|start| !within(start))
    }

    /// Whether a record is the first of another connection that begins where this one did, which was left, or whose
    /// server has begun anew.
    pub(super) fn begins_alike(&self, d: usize, header: &RecordHeader) -> bool {
        if self.tcp.link.start(d) != Some(header.seq) || !self.is_foreign(1 - d, header) {
            return false;
        }
        let Some(active) = self.flight.active() else { return false };
        let answered = active.syn.as_ref().is_some_and(|syn| syn.d != d && syn.seq == header.ack);
        self.is_left() || answered
    }

    /// Whether both ends said that they close the connection, or one reset it.
    fn is_left(&self) -> bool {
        let tcp = &self.tcp;
        let claims = |d| self.flight.active().is_some_and(|a| a.claimed_fin(tcp, d).is_some());
        (0..2).all(|d| tcp.fin[d] || claims(d)) || tcp.is_reset()
    }

    /// Begins another connection on the same tuple. Nothing may be in flight.
    pub(super) fn restart(&mut self, env: &mut Env<'_>) {
        *self = Connection::new(env.sink.restart(env.stats));
    }

    /// The stream of direction `d` begins at `seq`.
    pub(super) fn begin_stream(&mut self, d: usize, seq: u32) {
        let link = &mut self.tcp.link;
        link.set_start(d, seq);
        link.known[d] = true;
        self.tcp.next[d] = seq;
        if let Some(active) = self.flight.active_mut() {
            let link = &self.tcp.link;
            active.protocol.begin(link, d, first_position(seq));
        }
    }

    /// Handles a SYN, or a filter's record of one. Returns whether it is held until the SYN is confirmed.
    pub(super) fn syn(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) -> bool {
        let header = record.header;
        if header.len > 0 && !header.has(flag::SEGMENT_BEGINS) {
            return self.more_of_syn(env, d, record);
        }
        let tcp = &mut self.tcp;
        if tcp.link.start(d) == Some(header.seq) {
            // Some servers begin at the same number each time.
            let held = self.flight.active_mut().and_then(|active| active.syn.as_mut());
            let held = held.filter(|syn| header.has(flag::ACK) && syn.d != d);
            if let Some(syn) = held.filter(|syn| syn.is_answered_by(header.ack)) {
                syn.answer = Some(header.seq);
            }
            return false;
        }
        let next = match self.flight.active() {
            Some(active) if tcp.link.known[d] => active.protocol.next(d) as u32,
            _ => tcp.next[d],
        };
        let placed = tcp.link.known[d] || tcp.payload && tcp.next[d] != 0;
        let since = seq_distance(header.seq, next);
        if placed && tcp.link.start(d).is_none() && (0..JUMP as i32).contains(&since) {
            // The SYN of the current connection, seen late.
            if tcp.link.known[d] {
                tcp.begins_behind(d, header.seq);
            } else {
                self.begin_stream(d, header.seq);
            }
            return false;
        }
        if header.has(flag::ACK)
            && let Some(active) = self.flight.active_mut()
            && let Some(syn) = &mut active.syn
        {
            if syn.d != d && syn.is_answered_by(header.ack) {
                syn.answer = Some(header.seq);
            }
            // It says nothing about the open connection; its data is sent again.
            return true;
        }
        if !tcp.payload && !tcp.established {
            if tcp.link.client().is_none() || !header.has(flag::ACK) {
                tcp.link.set_client(if header.has(flag::ACK) { 1 - d } else { d });
            }
            if header.flags & (flag::FILTERED | flag::ACK) == flag::FILTERED {
                // A filter ships one if nothing has answered it.
                tcp.unanswered = true;
            }
            let asker = !tcp.link.known[1 - d] && header.has(flag::ACK);
            self.begin_stream(d, header.seq);
            if asker {
                // It acknowledges a SYN that was not seen, and perhaps data that came with it (RFC 7413
                // §4.1.2): the client's stream begins here or before.
                self.tcp.next[1 - d] = header.ack;
                if !header.has(flag::FILTERED) {
                    self.tcp.link.expect(1 - d, header.ack);
                }
            }
            return false;
        }
        let start = tcp.link.start(1 - d);
        let answered = start.is_some_and(|start| header.ack.wrapping_sub(start) <= SYN_DATA);
        if header.has(flag::ACK) && answered && !tcp.link.known[d] {
            // The answer to the SYN came after data that was sent with it.
            self.begin_stream(d, header.seq);
            return false;
        }
        if header.has(flag::ACK) && header.len == 0 && start == Some(header.ack) && self.is_left() {
            // It answers a SYN at the sequence number of the one before.
            self.stop(env, End::Closed);
            self.restart(env);
            self.tcp.link.set_client(1 - d);
            self.begin_stream(1 - d, header.ack);
            self.begin_stream(d, header.seq);
            return false;
        }
        if (self.tcp.fin[0] || self.tcp.fin[1]) && !self.is_busy() {
            self.stop(env, End::Closed);
            if header.len == 0 {
                self.begin_tentatively();
            } else {
                self.restart(env);
            }
            return self.syn(env, d, record);
        }
        // Anyone can send a SYN: it is accepted when later segments show that the peer accepted it.
        self.hold_syn(env, d, record);
        true
    }

    /// The filter saw the SYN and its acknowledgement.
    pub(super) fn stream_begins(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        if self.tcp.link.start(d) == Some(header.seq) {
            return;
        }
        if self.tcp.link.known[d] {
            let behind = (0..COPY).contains(&seq_distance(header.seq, self.next(d)));
            let (is_new, framed) = (self.tcp.link.start(d).is_none(), self.profile().framed[d]);
            if is_new && framed && behind {
                // Late, or a copy, of the current connection.
                self.tcp.begins_behind(d, header.seq);
                return;
            }
            if self.tcp.next[d] == header.seq && !framed {
                self.tcp.link.set_start(d, header.seq);
                return;
            }
            if self.was_joined_behind(d, header.seq) {
                return;
            }
            if is_new && behind {
                // A copy of bytes that passed unseen: another connection would begin ahead.
                self.tcp.begins_behind(d, header.seq);
                return;
            }
            self.stop(env, End::Closed);
            self.restart(env);
        } else if self.tcp.payload && self.tcp.next[d] != 0 {
            // The peer has acknowledged more of this direction than a stream that begins here has.
            let past = seq_distance(header.seq, self.tcp.next[d]);
            if !(0..COPY).contains(&past) {
                self.stop(env, End::Closed);
                self.restart(env);
            }
        }
        self.begin_stream(d, header.seq);
    }

    /// Learns the beginning of the server's stream, whose SYN-ACK may be lost, from what the client's
    /// first byte acknowledges. The server's first byte may acknowledge data that came with the SYN.
    pub(super) fn learn_start(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        let (tcp, o) = (&self.tcp, 1 - d);
        let first = tcp.link.start(d) == Some(header.seq);
        let asks = !tcp.link.is_client(o);
        // If there were two SYN-ACKs, this acknowledges the one that the client accepted.
        let other = !tcp.link.known[o] || tcp.link.start(o).is_some_and(|s| s != header.ack);
        if first && asks && header.has(flag::ACK) && other && !tcp.payload {
            if tcp.link.known[o] {
                self.tcp.dispute(env.stats, false);
            }
            self.begin_stream(o, header.ack);
        }
    }

    /// Handles a RST from an end that has sent nothing else.
    pub(super) fn refused(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        let o = 1 - d;
        let is_placed = header.ack == self.next(o) && self.tcp.link.start(o).is_some();
        if !header.has(flag::ACK) || !self.tcp.link.known[o] || !is_placed {
            env.stats.ignored_segments += 1;
            return;
        }
        if self.tcp.payload {
            // It refuses the data of a SYN (RFC 7413), if it is at 0 and its peer has acknowledged nothing (RFC 9293
            // §3.10.7.1); an answer to the SYN may still disprove it.
            match self.flight.active_mut() {
                Some(active) if self.tcp.next[d] == 0 => {
                    self.tcp.reset[d] = true;
                    active.reset_ns = env.now_ns.max(1);
                }
                _ => env.stats.ignored_segments += 1,
            }
            return;
        }
        self.tcp.closed = true;
        self.number_attempt(env);
        let (time_ns, why) = (header.time_ns, NoResponse::Refused);
        env.sink.attempt(env.stats, env.losses, &self.tcp.link, time_ns, why);
    }
}
