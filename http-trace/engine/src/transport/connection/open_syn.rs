//! A SYN on an open connection, and its data (RFC 9293 §3.10.7.4, RFC 7413).
//!
//! Anyone can send one, and the peer of an open connection does not accept it. So SYN and data are held,
//! and the open connection continues, until a SYN-ACK, a filter's record of the other direction, or
//! later segments show that the peer has begun another connection. The data is then that connection's
//! first; otherwise it is dropped and counted.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::Connection;
use super::claim::is_of_another;
use crate::protocol::End;
use crate::transport::Env;
use crate::transport::streams::{Held, JUMP, OpenSyn, SYN_DATA};

impl Connection {
    /// Holds a SYN that would begin another connection.
    pub(super) fn hold_syn(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) {
        let header = record.header;
        self.activate(env);
        let Some(active) = self.flight.active_mut() else { return };
        let same = |syn: &&mut OpenSyn| syn.d == d && syn.seq == header.seq;
        let data = (header.len > 0).then(|| {
            let mut held = Held::of(record, env.path);
            // A filter's state in it belongs to the connection before.
            (held.header.generation, held.header.retransmissions) = (0, 0);
            Box::new(held)
        });
        match active.syn.as_mut().filter(same) {
            // A repeated SYN, usually without data; the first copy of the data counts.
            Some(syn) if syn.data.is_none() => syn.data = data,
            Some(_) => {}
            None => {
                self.drop_syn_data(env, u64::MAX);
                if let Some(active) = self.flight.active_mut() {
                    active.syn = Some(OpenSyn {
                        d,
                        seq: header.seq,
                        client: if header.has(flag::ACK) { 1 - d } else { d },
                        answer: None,
                        data,
                    });
                }
            }
        }
    }

    /// Whether a record completes the handshake of the connection that the held SYN would begin: it says
    /// nothing about the open one.
    pub(super) fn is_of_open_syn(&self, d: usize, header: &RecordHeader) -> bool {
        let Some(OpenSyn { d: asked, seq, answer: Some(answer), data: None, .. }) =
            self.flight.active().and_then(|active| active.syn.as_ref())
        else {
            return false;
        };
        // It may overtake data of the one who asked.
        let (of_answer, of_syn) = match d == *asked {
            true => (header.ack, header.seq),
            false => (header.seq, header.ack),
        };
        let empty = header.len == 0 && header.skip_from == header.skip_to;
        empty
            && header.flags & (flag::SYN | flag::FIN | flag::RST) == 0
            && of_answer == *answer
            && u64::from(of_syn.wrapping_sub(*seq)) <= JUMP
    }

    /// Appends the rest of a SYN's data that is longer than one record: a filter ships it in records
    /// that begin no segment. Returns whether such a record is held as well; after an accepted SYN it is not.
    pub(super) fn more_of_syn(&mut self, env: &mut Env<'_>, d: usize, record: &Record<'_>) -> bool {
        let header = record.header;
        let past = self.next(d).wrapping_sub(header.seq);
        let continues = !self.tcp.link.known[d] || past <= SYN_DATA;
        let active = self.flight.active_mut();
        let syn = active.and_then(|active| active.syn.as_mut());
        let data = syn.filter(|syn| syn.d == d).and_then(|s| s.data.as_mut());
        match data {
            Some(data) if data.header.skip_to == header.seq => {
                data.bytes.extend_from_slice(record.bytes);
                data.header.len += header.len;
                data.header.skip_to = header.skip_to;
            }
            None if continues => return false,
            // A copy, or the record before it is lost.
            _ => env.stats.ignored_segments += 1,
        }
        true
    }

    /// Whether a record of the connection shows that the peer accepted the held SYN with its data: it
    /// then begins another connection.
    pub(super) fn confirm_syn_data(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        let Some(active) = self.flight.active() else { return };
        let Some(syn) = active.syn.as_ref().filter(|syn| syn.data.is_some()) else {
            return;
        };
        let (tcp, o) = (&self.tcp, 1 - d);
        let ack = header.has(flag::ACK).then_some(header.ack);
        let answer = if syn.d == d {
            // It continues the SYN, and nothing of the connection before waits.
            let follows = header.seq == syn.seq.wrapping_add(syn.len())
                && (header.len > 0 || header.has(flag::FIN))
                && !header.has(flag::SYN);
            if !follows || !active.protocol.is_answered() {
                return;
            }
            syn.answer
        } else if header.has(flag::SYN) {
            if !ack.is_some_and(|ack| syn.is_taken_by(ack)) {
                return;
            }
            Some(header.seq)
        } else if header.has(flag::STREAM_BEGINS) {
            // A filter saw the SYN and its answer.
            let known = tcp.link.start(d) == Some(header.seq);
            let past = ack.map_or(0, |ack| seq_distance(syn.seq, ack));
            if known || !(1..=JUMP as i32).contains(&past) {
                return;
            }
            Some(header.seq)
        } else {
            // Where the connection before never was, nothing else can be acknowledged.
            let next = active.protocol.next(o) as u32;
            let off = seq_distance(next, syn.seq).unsigned_abs();
            let far = !tcp.link.known[o] || u64::from(off) > JUMP;
            if !far || !ack.is_some_and(|ack| syn.is_taken_by(ack)) {
                return;
            }
            None
        };
        self.begin_anew(env, answer);
    }

    /// Accepts the held SYN and its data.
    pub(super) fn begin_anew(&mut self, env: &mut Env<'_>, answer: Option<u32>) {
        let Some(syn) = self.flight.active_mut().and_then(|active| active.syn.take()) else {
            return;
        };
        self.stop(env, End::Closed);
        self.restart(env);
        self.tcp.link.set_client(syn.client);
        for (d, seq) in [(syn.d, Some(syn.seq)), (1 - syn.d, answer)] {
            if let Some(seq) = seq {
                self.begin_stream(d, seq);
            }
        }
        if let Some(data) = syn.data {
            self.take_held(env, syn.d, &data);
        }
    }

    /// Data at a new SYN's sequence number confirms that SYN.
    pub(super) fn confirm_syn(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        let Some(active) = self.flight.active_mut() else { return };
        let quiet = active.protocol.is_answered();
        let [next, peer_next] = [d, 1 - d].map(|d| active.protocol.next(d) as u32);
        let Some(syn) = &mut active.syn else { return };
        let answer = syn.answer;
        let continues =
            next == header.seq && !is_of_another(&self.tcp, d, peer_next, answer, header);
        if header.len == 0 || syn.d != d || header.seq != syn.seq || continues {
            return;
        }
        if answer.is_none() && !quiet {
            env.stats.ignored_segments += 1;
            return;
        }
        // The peer did not accept the SYN's data: this is its retransmission.
        syn.data = None;
        self.begin_anew(env, answer);
    }

    /// The open connection continues: the peer did not accept the SYN.
    pub(super) fn forget_syn(&mut self, env: &mut Env<'_>) {
        if let Some(active) = self.flight.active_mut()
            && let Some(syn) = active.syn.take()
        {
            let framed = active.protocol.profile().framed[syn.d];
            self.tcp.dispute(env.stats, framed);
        }
    }

    /// Drops the data of a SYN that was not confirmed by `now_ns`.
    pub(super) fn drop_syn_data(&mut self, env: &mut Env<'_>, now_ns: u64) {
        if let Some(active) = self.flight.active_mut()
            && let Some(syn) = &active.syn
            && syn.until_ns(env.config).is_some_and(|until| until <= now_ns)
        {
            self.forget_syn(env);
        }
    }
}
