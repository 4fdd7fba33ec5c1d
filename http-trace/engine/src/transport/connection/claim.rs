//! Closes are claims: anyone can send a RST or FIN that fits, and the receiver may drop it (wrong
//! checksum, failing option, too few hops).
//!
//! Whatever depends on a close waits: a request without a response, a response that is cut. Silence or
//! another connection confirms it. An acknowledgement of the FIN confirms it only for a body that lasts
//! until the close, since that may be forged, too. New bytes of the sender disprove it, because a closed
//! side sends nothing. New bytes of the other end may have crossed the RST and are still taken. If
//! nothing is in flight, the connection is closed at once, and reopened if bytes continue at its position.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{RecordHeader, flag};

use super::{Connection, Flight};
use crate::origin::position;
use crate::protocol::End;
use crate::protocols::Memory;
use crate::transport::Env;
use crate::transport::streams::{Before, JUMP, OpenSyn};
use crate::transport::tcp::Tcp;

impl Connection {
    /// Handles a RST.
    pub(super) fn reset(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        let tcp = &mut self.tcp;
        let Some(active) = self.flight.active_mut() else { return };
        let next = active.protocol.next(d);
        let at = position(next, header.skip_to);
        // After its FIN, the sender's RST is one sequence number further.
        let after_fin = tcp.fin[d] || active.claimed_fin(tcp, d).is_some();
        // The peer has received more than was seen here: the sender is at that position.
        let stands = next.max(active.streams[d].acked);
        let expected = at == next || at == stands || after_fin && at == next + 1;
        if !expected && !active.opaque(d) {
            env.stats.ignored_segments += 1;
            active.streams[d].reset = true;
            return;
        }
        tcp.reset[d] = true;
        if at == next {
            // A FIN further ahead does not come from the sender of this RST.
            active.streams[d].fin.take_if(|fin| fin.0 > next);
        }
        if active.protocol.is_quiet() || active.opaque(d) {
            return self.stop(env, End::Reset);
        }
        if active.reset_ns == 0 {
            active.reset_ns = env.now_ns.max(1);
        }
    }

    /// Whether a RST at `seq`, in a direction of which nothing else was seen, is at the position that
    /// the peer acknowledged; `stood` is that position before the RST.
    pub(super) const fn is_placed(&self, seq: u32, stood: u32) -> bool {
        self.tcp.payload && stood != 0 && seq == stood
    }

    /// New bytes of direction `d` disprove its sender's close.
    pub(super) fn disprove_close(&mut self, env: &mut Env<'_>, d: usize) {
        let tcp = &mut self.tcp;
        let ended = std::mem::take(&mut tcp.fin[d]);
        let closed = ended || tcp.reset[d];
        tcp.reset[d] = false;
        if closed {
            let active = self.flight.active();
            tcp.dispute(env.stats, active.is_some_and(|a| a.protocol.profile().framed[d]));
        }
        let is_reset = tcp.is_reset();
        if let Some(active) = self.flight.active_mut() {
            if ended {
                active.streams[d].fin = None;
            }
            if is_reset {
                active.heard_ns = env.now_ns;
            } else {
                active.reset_ns = 0;
            }
            if active.claimed_fin(tcp, 1 - d).is_some() {
                active.heard_ns = env.now_ns;
            }
        }
    }

    /// Whether a record on a closed connection continues at its position.
    pub(super) fn continues(&self, d: usize, header: &RecordHeader) -> bool {
        !self.profile().opaque[d] && follows(&self.tcp, d, header)
    }

    /// Advances the position of a closed tunnel that continues: nobody reads it, but a SYN may name that
    /// position.
    pub(super) fn pass_unread(&mut self, d: usize, header: &RecordHeader) {
        if follows(&self.tcp, d, header) {
            self.tcp.next[d] = header.skip_to;
        }
    }

    /// Begins another connection tentatively on the closed one's tuple, after a SYN without data.
    pub(super) fn begin_tentatively(&mut self) {
        let closed = std::mem::replace(self, Connection::new(self.number));
        // Of several SYNs, only the first found the closed connection.
        self.flight = match closed.flight {
            Flight::Quiet(memory) => {
                Flight::Begun(Box::new(Before { tcp: closed.tcp, memory, next: Memory::default() }))
            }
            Flight::Begun(mut before) => {
                before.next = Memory::default();
                Flight::Begun(before)
            }
            Flight::Busy(_) => return,
        };
    }

    /// Gives a connection attempt that is to be reported a number of its own.
    pub fn number_attempt(&mut self, env: &mut Env<'_>) {
        if self.flight.before().is_some() {
            self.number = env.sink.restart(env.stats);
        }
    }

    /// Payload confirms the connection that began tentatively.
    pub(super) fn believe_anew(&mut self, env: &mut Env<'_>) {
        let Some(before) = self.flight.take_before() else { return };
        if let Flight::Quiet(memory) = &mut self.flight {
            *memory = before.next;
        }
        self.number = env.sink.restart(env.stats);
    }

    /// If a record continues the connection before, that one was not closed and resumes; the tentative
    /// one becomes a SYN that waits to be confirmed.
    pub(super) fn take_up_before(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        let link = &self.tcp.link;
        let (begins, answer) = (link.start(d) == Some(header.seq), link.start(1 - d));
        let fits = self.flight.before().is_some_and(|before| {
            let tcp = &before.tcp;
            if begins && is_of_another(tcp, d, tcp.next[1 - d], answer, header) {
                return false;
            }
            let overlap = seq_distance(header.skip_from, before.tcp.next[d]);
            let near = 0..=if begins { 0 } else { JUMP as i32 };
            near.contains(&overlap) && follows(&before.tcp, d, header)
        });
        if !fits {
            return;
        }
        let Some(before) = self.flight.take_before() else { return };
        let tcp = std::mem::replace(&mut self.tcp, before.tcp);
        self.flight = Flight::Quiet(before.memory);
        self.reopen(env);
        let asked = tcp.link.client().and_then(|c| Some((c, tcp.link.start(c)?)));
        if let Some(active) = self.flight.active_mut()
            && let Some((client, seq)) = asked
        {
            active.syn = Some(OpenSyn {
                d: client,
                seq,
                client,
                answer: tcp.link.start(1 - client),
                data: None,
            });
        }
    }

    /// Whether a record repeats bytes of the connection before, late: it acknowledges what that one's peer
    /// had sent, and nothing of the connection that began tentatively.
    pub(super) fn repeats_before(&self, d: usize, header: &RecordHeader) -> bool {
        let Some(before) = self.flight.before() else { return false };
        let acknowledges = |tcp: &Tcp| {
            let start = tcp.link.start(1 - d);
            let sent = |start| tcp.next[1 - d].wrapping_sub(start);
            start.is_some_and(|start| header.ack.wrapping_sub(start) <= sent(start))
        };
        let behind = seq_distance(header.skip_to, before.tcp.next[d]);
        header.flags & (flag::ACK | flag::SYN) == flag::ACK
            && header.len > 0
            && (0..=JUMP as i32).contains(&behind)
            && acknowledges(&before.tcp)
            && !acknowledges(&self.tcp)
    }

    /// Reopens the connection after a close that was disproved.
    pub(super) fn reopen(&mut self, env: &mut Env<'_>) {
        self.tcp.closed = false;
        if self.profile().http && self.tcp.is_midstream() && !self.tcp.link.muted {
            env.stats.midstream = env.stats.midstream.saturating_sub(1);
        }
        self.activate(env);
        if let Some(active) = self.flight.active_mut() {
            active.heard_ns = env.now_ns;
            if self.tcp.is_reset() {
                active.reset_ns = env.now_ns.max(1);
            }
        }
    }
}

/// Whether a record at the position of a connection is another's, which begins exactly there: it acknowledges the
/// `answer` to another SYN, and not the position `peer_next`.
pub(super) fn is_of_another(
    tcp: &Tcp,
    d: usize,
    peer_next: u32,
    answer: Option<u32>,
    header: &RecordHeader,
) -> bool {
    header.has(flag::ACK)
        && answer == Some(header.ack)
        && peer_next != header.ack
        && tcp.link.start(d) != Some(header.seq)
}

/// Whether a record continues a closed connection at its position.
fn follows(tcp: &Tcp, d: usize, header: &RecordHeader) -> bool {
    let new = seq_distance(tcp.next[d], header.skip_to);
    // The direction's first bytes, if only the peer was seen before the close.
    let first = tcp.link.start(d) == Some(header.seq) && tcp.next[d] == header.seq;
    !header.has(flag::SYN)
        && (first || !header.has(flag::STREAM_BEGINS))
        && tcp.link.known[d]
        && header.skip_to != header.skip_from
        && (1..=JUMP as i32).contains(&new)
}
