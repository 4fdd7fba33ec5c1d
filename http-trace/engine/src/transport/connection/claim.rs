//! A close is a claim: anybody can send a RST or a FIN that fits, and its receiver may not take it (a
//! wrong checksum, an option that fails, too few hops).
//!
//! What depends on it waits: a request without a response, a response that is cut. Silence, a SYN or an
//! acknowledgement of the FIN confirms the close; new bytes of the sender disprove it, because who has
//! closed sends none. New bytes of the other end may have crossed the RST, and are taken too. Where
//! nothing is in flight the connection is closed at once, and opened again when bytes go on where it stood.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{RecordHeader, flag};

use super::Connection;
use crate::origin::position;
use crate::protocol::End;
use crate::transport::Env;
use crate::transport::streams::JUMP;

impl Connection {
    /// A RST.
    pub(super) fn reset(&mut self, env: &mut Env<'_>, d: usize, header: &RecordHeader) {
        let tcp = &mut self.tcp;
        let Some(active) = self.flight.active_mut() else {
            return;
        };
        let next = active.protocol.next(d);
        let at = position(next, header.skip_to);
        // After its FIN the sender's RST is one further.
        let after_fin = tcp.fin[d] || active.claimed_fin(tcp, d).is_some();
        // The peer has received more than was seen here: it stands there.
        let stands = next.max(active.streams[d].acked);
        let expected = at == next || at == stands || after_fin && at == next + 1;
        if !expected && !active.opaque(d) {
            env.stats.ignored_segments += 1;
            active.streams[d].reset = true;
            return;
        }
        tcp.set_reset_by(d, true);
        if active.protocol.is_quiet() || active.opaque(d) {
            return self.stop(env, End::Reset);
        }
        if active.reset_ns == 0 {
            active.reset_ns = env.now_ns.max(1);
        }
    }

    /// Whether a RST at `seq`, of a direction of which nothing else was seen, comes from where the peer
    /// says that the direction stands; `stood` is where that was before the RST.
    pub(super) const fn is_placed(&self, seq: u32, stood: u32) -> bool {
        self.tcp.payload() && stood != 0 && seq == stood
    }

    /// New bytes of direction `d`: its sender has not closed.
    pub(super) fn disprove_close(&mut self, env: &mut Env<'_>, d: usize) {
        let tcp = &mut self.tcp;
        let ended = std::mem::take(&mut tcp.fin[d]);
        let closed = ended || tcp.is_reset_by(d);
        tcp.set_reset_by(d, false);
        if closed {
            let active = self.flight.active();
            tcp.dispute(
                env.stats,
                active.is_some_and(|a| a.protocol.profile().framed(d)),
            );
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

    /// Whether a record on a closed connection goes on where that stood.
    pub(super) fn goes_on(&self, d: usize, header: &RecordHeader) -> bool {
        let new = seq_distance(self.tcp.next[d], header.skip_to);
        header.flags & (flag::SYN | flag::STREAM_BEGINS) == 0
            && self.tcp.link.known[d]
            && header.skip_to != header.skip_from
            && (1..=JUMP as i32).contains(&new)
            && !self.profile().opaque(d)
    }

    /// The connection goes on after its close.
    pub(super) fn reopen(&mut self, env: &mut Env<'_>) {
        self.tcp.closed = false;
        if self.profile().http() && self.tcp.is_midstream() && !self.tcp.link.muted {
            env.stats.midstream = env.stats.midstream.saturating_sub(1);
        }
        self.activate();
        if let Some(active) = self.flight.active_mut() {
            active.heard_ns = env.now_ns;
            if self.tcp.is_reset() {
                active.reset_ns = env.now_ns.max(1);
            }
        }
    }
}
