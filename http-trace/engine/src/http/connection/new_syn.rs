//! A SYN on a connection that is open, and the data that came with it (RFC 9293 §3.10.7.4, RFC 7413).
//!
//! Anybody can send one, and the peer of an open connection does not take it. So nothing is made of
//! either, and the connection that is there goes on, until something shows that the peer has begun
//! another one: a SYN-ACK or a filter's word for the other direction, or what follows. The data is then
//! the first of the new connection; otherwise it is dropped and counted.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::{Connection, JUMP};
use crate::http::context::{Context, PipelineConfig};
use crate::http::judge::End;

/// The most bytes that come with a SYN: a packet's.
pub(super) const SYN_DATA: u32 = 0xffff;

/// A SYN that is not believed yet.
#[derive(Debug)]
pub(crate) struct NewSyn {
    pub d: usize,
    pub seq: u32,
    /// Index of the direction that the client sends in: the SYN's own, unless it is a SYN-ACK.
    client: usize,
    /// Sequence number of the peer's first byte, from the SYN-ACK.
    pub answer: Option<u32>,
    data: Option<Box<SynData>>,
}

/// What came with it: one record, which a filter may have shipped in several.
#[derive(Debug)]
struct SynData {
    header: RecordHeader,
    bytes: Vec<u8>,
    path: u8,
}

impl NewSyn {
    /// Memory in use beside the connection's own.
    pub fn held(&self) -> usize {
        self.data
            .as_ref()
            .map_or(0, |data| size_of::<SynData>() + data.bytes.capacity())
    }

    /// How long its data waits for something that confirms it.
    pub fn until_ns(&self, config: &PipelineConfig) -> Option<u64> {
        let data = self.data.as_ref()?;
        Some(data.header.time_ns.saturating_add(config.unseen_hole_ns))
    }

    /// Whether this acknowledges the SYN and nothing but what came with it.
    pub fn is_answered_by(&self, ack: u32) -> bool {
        ack.wrapping_sub(self.seq) <= self.len()
    }

    /// Whether this acknowledges some of what came with it.
    fn is_taken_by(&self, ack: u32) -> bool {
        self.is_answered_by(ack) && ack != self.seq
    }

    fn len(&self) -> u32 {
        let data = self.data.as_ref();
        data.map_or(0, |data| data.header.skip_to.wrapping_sub(self.seq))
    }
}

impl Connection {
    /// A SYN that would begin another connection. Whether its record waits for proof: only one with
    /// data does.
    pub(super) fn note_new_syn(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        record: &Record<'_>,
    ) -> bool {
        let header = record.header;
        self.activate();
        let Some(active) = &mut self.active else {
            return false;
        };
        let same = |syn: &&mut NewSyn| syn.d == d && syn.seq == header.seq;
        let data = (header.len > 0).then(|| {
            Box::new(SynData {
                // What a filter says there of the connection is of the one that it follows.
                header: RecordHeader {
                    generation: 0,
                    retransmissions: 0,
                    ..*header
                },
                bytes: record.bytes.to_vec(),
                path: cx.path,
            })
        });
        let waits = data.is_some();
        match active.syn.as_mut().filter(same) {
            // Repeated, as a rule without the data; the first copy of it is the one that counts.
            Some(syn) if syn.data.is_none() => syn.data = data,
            Some(_) => {}
            None => {
                self.drop_syn_data(cx, u64::MAX);
                if let Some(active) = &mut self.active {
                    active.syn = Some(NewSyn {
                        d,
                        seq: header.seq,
                        client: if header.has(flag::ACK) { 1 - d } else { d },
                        answer: None,
                        data,
                    });
                }
            }
        }
        waits
    }

    /// What came with a SYN is longer than a record, and a filter ships the rest in records that begin
    /// no segment. Whether such a one waits as well; of a SYN that is believed it does not.
    pub(super) fn more_of_syn(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        record: &Record<'_>,
    ) -> bool {
        let header = record.header;
        let facts = &self.facts;
        let next = match &self.active {
            Some(active) => active.judge.halves[d].next as u32,
            None => facts.next[d],
        };
        let past = next.wrapping_sub(header.seq);
        let goes_on = !facts.known[d] || past <= SYN_DATA;
        let syn = self.active.as_mut().and_then(|active| active.syn.as_mut());
        match syn
            .filter(|syn| syn.d == d)
            .and_then(|syn| syn.data.as_mut())
        {
            Some(data) if data.header.skip_to == header.seq => {
                data.bytes.extend_from_slice(record.bytes);
                data.header.len += header.len;
                data.header.skip_to = header.skip_to;
            }
            None if goes_on => return false,
            // A copy, or the record before it is lost.
            _ => cx.stats.ignored_segments += 1,
        }
        true
    }

    /// Whether a record of the connection shows that the peer took the SYN that waits, with its data:
    /// then that begins another connection.
    pub(super) fn confirm_syn_data(
        &mut self,
        cx: &mut Context<'_>,
        d: usize,
        header: &RecordHeader,
    ) {
        let Some(active) = &self.active else {
            return;
        };
        let Some(syn) = active.syn.as_ref().filter(|syn| syn.data.is_some()) else {
            return;
        };
        let (facts, o) = (&self.facts, 1 - d);
        let ack = header.has(flag::ACK).then_some(header.ack);
        let answer = if syn.d == d {
            // It goes on, and nobody is known to wait for the one before.
            let follows = header.seq == syn.seq.wrapping_add(syn.len())
                && (header.len > 0 || header.has(flag::FIN))
                && !header.has(flag::SYN);
            if !follows || !active.judge.exchanges.is_quiet() {
                return;
            }
            syn.answer
        } else if header.has(flag::SYN) {
            if !ack.is_some_and(|ack| syn.is_taken_by(ack)) {
                return;
            }
            Some(header.seq)
        } else if header.has(flag::STREAM_BEGINS) {
            // A filter saw the SYN, and its answer.
            let known = facts.start_known[d] && facts.start[d] == header.seq;
            let past = ack.map_or(0, |ack| seq_distance(syn.seq, ack));
            if known || !(1..=JUMP as i32).contains(&past) {
                return;
            }
            Some(header.seq)
        } else {
            // Where the one before never was, nothing else can be acknowledged.
            let next = active.judge.halves[o].next as u32;
            let off = seq_distance(next, syn.seq).unsigned_abs();
            let far = !facts.known[o] || u64::from(off) > JUMP;
            if !far || !ack.is_some_and(|ack| syn.is_taken_by(ack)) {
                return;
            }
            None
        };
        self.begin_anew(cx, answer);
    }

    /// The SYN that waits is believed; so is what came with it.
    pub(super) fn begin_anew(&mut self, cx: &mut Context<'_>, answer: Option<u32>) {
        let Some(syn) = self.active.as_mut().and_then(|active| active.syn.take()) else {
            return;
        };
        self.stop(cx, End::Closed);
        self.restart(cx);
        self.facts.set_client(syn.client);
        for (d, seq) in [(syn.d, Some(syn.seq)), (1 - syn.d, answer)] {
            if let Some(seq) = seq {
                self.begin_stream(d, seq);
            }
        }
        if let Some(data) = syn.data {
            let record = Record {
                tunnel: None,
                header: &data.header,
                bytes: &data.bytes,
            };
            let path = std::mem::replace(&mut cx.path, data.path);
            self.take(cx, syn.d, &record);
            cx.path = path;
        }
    }

    /// Data at a new SYN's sequence number makes it true.
    pub(super) fn confirm_syn(&mut self, cx: &mut Context<'_>, d: usize, header: &RecordHeader) {
        let Some(active) = &mut self.active else {
            return;
        };
        let quiet = active.judge.exchanges.is_quiet();
        let Some(syn) = &mut active.syn else {
            return;
        };
        if header.len == 0 || syn.d != d || header.seq != syn.seq {
            return;
        }
        let answer = syn.answer;
        if answer.is_none() && !quiet {
            cx.stats.ignored_segments += 1;
            return;
        }
        // The peer did not take what came with the SYN: here it is again.
        syn.data = None;
        self.begin_anew(cx, answer);
    }

    /// The connection that was there goes on: the SYN was not the peer's.
    pub(super) fn forget_syn(&mut self, cx: &mut Context<'_>) {
        if let Some(active) = &mut self.active
            && active.syn.take().is_some()
        {
            cx.stats.ignored_segments += 1;
        }
    }

    /// Drops what came with a SYN and was not confirmed by `now_ns`.
    pub(super) fn drop_syn_data(&mut self, cx: &mut Context<'_>, now_ns: u64) {
        if let Some(active) = &mut self.active
            && let Some(syn) = &active.syn
            && syn.until_ns(cx.config).is_some_and(|until| until <= now_ns)
        {
            self.forget_syn(cx);
        }
    }
}
