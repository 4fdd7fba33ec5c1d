//! Records of a connection under its other names. Must not look for such names.

use http_trace_common::record::{RecordHeader, flag};

use super::Connection;
use crate::origin::position;
use crate::protocol::Standing;
use crate::transport::streams::JUMP;

impl Connection {
    /// Whether a record of direction `d` under another name can belong to this connection. Another
    /// connection may use the name by now.
    pub fn has_bytes_of(&self, d: usize, header: &RecordHeader) -> bool {
        let tcp = &self.tcp;
        if header.flags & (flag::SYN | flag::STREAM_BEGINS) != 0
            && let Some(start) = tcp.link.start(d)
        {
            return start == header.seq;
        }
        let near = (header.seq.wrapping_sub(tcp.next[d]) as i32).unsigned_abs();
        !tcp.link.known[d] || u64::from(near) <= JUMP
    }

    /// Learns the beginnings of streams from a copy where this connection has seen nothing; `flipped`
    /// says that its directions are swapped.
    pub fn learn(&mut self, copy: &Connection, flipped: bool) {
        for d in 0..2 {
            let o = d ^ usize::from(flipped);
            let start = copy.tcp.link.start(o);
            let start = start.filter(|&start| copy.next(o) == start);
            if let Some(start) = start.filter(|_| !self.tcp.link.known[d]) {
                self.begin_stream(d, start);
            }
        }
    }

    /// Whether direction `d` was joined a little after its real beginning `seq`, and nothing was framed
    /// in it yet: by a segment that overtook its first, or by a copy on another path.
    pub(super) fn was_joined_behind(&mut self, d: usize, seq: u32) -> bool {
        let known = self.tcp.link.start(d).is_some() || self.profile().framed[d];
        let Some(active) = self.flight.active_mut().filter(|_| !known) else {
            return false;
        };
        let next = active.protocol.next(d);
        let start = position(next, seq);
        if active.protocol.standing(d) != Standing::Lost || start > next || next - start > JUMP {
            return false;
        }
        active.protocol.rewind(d, start);
        self.tcp.link.set_start(d, seq);
        true
    }
}
