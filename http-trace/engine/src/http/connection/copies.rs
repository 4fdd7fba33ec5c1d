//! What a connection has to do with its copies under other names.

use http_trace_common::framer::Phase;
use http_trace_common::record::{RecordHeader, flag};

use super::{Connection, JUMP};
use crate::flow::reassembly::position;

impl Connection {
    /// Whether a record that came under another name, of direction `d`, can be of this connection.
    /// The name may be used for another one since.
    pub fn has_bytes_of(&self, d: usize, header: &RecordHeader) -> bool {
        let facts = &self.facts;
        if header.flags & (flag::SYN | flag::STREAM_BEGINS) != 0 && facts.start_known[d] {
            return facts.start[d] == header.seq;
        }
        let near = (header.seq.wrapping_sub(facts.next[d]) as i32).unsigned_abs();
        !facts.known[d] || u64::from(near) <= JUMP
    }

    /// A copy knows of streams of which this connection has seen nothing: `flipped` says that its
    /// directions are the other way round.
    pub fn learn(&mut self, copy: &Connection, flipped: bool) {
        for d in 0..2 {
            let o = d ^ usize::from(flipped);
            let next = copy
                .active
                .as_ref()
                .map_or(copy.facts.next[o], |a| a.judge.halves[o].next as u32);
            let start = copy.facts.start[o];
            if !self.facts.known[d] && copy.facts.start_known[o] && next == start {
                self.begin_stream(d, start);
            }
        }
    }

    /// Direction `d` was taken up a little behind `seq`, where it really begins, and nothing was
    /// framed in it yet: by a segment that overtook its first, or by its copy on another path.
    pub(super) fn was_taken_up_behind(&mut self, d: usize, seq: u32) -> bool {
        let facts = &mut self.facts;
        let Some(active) = &mut self.active else {
            return false;
        };
        let half = &mut active.judge.halves[d];
        let start = position(half.next, seq);
        if facts.start_known[d]
            || facts.framed[d]
            || half.framer.phase() != Phase::Unsure
            || start > half.next
            || half.next - start > JUMP
        {
            return false;
        }
        half.next = start;
        facts.start[d] = seq;
        facts.start_known[d] = true;
        true
    }
}
