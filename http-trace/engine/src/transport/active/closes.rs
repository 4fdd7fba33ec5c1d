//! FINs, and the end of directions and of the connection: when a FIN is accepted, and what is known of requests
//! that are then unanswered. Must not decide about RSTs.

use http_trace_model::event::NoResponse;

use super::Active;
use crate::origin::{Origin, position};
use crate::protocol::{End, Witness};
use crate::transport::streams::JUMP;
use crate::transport::tcp::Tcp;
use crate::transport::{CROSSING_NS, Env};

impl Active {
    /// Collects the evidence about requests without a response.
    pub(super) fn witness(&self, tcp: &Tcp, why: NoResponse, since_ns: u64) -> Witness {
        let complete = |d: usize| {
            let (stream, next) = (&self.streams[d], self.protocol.next(d));
            // Of a sender that was never heard, all bytes may pass elsewhere. A FIN takes one sequence number.
            tcp.heard[d]
                && stream.acked <= next + 1
                && stream.waits(next).is_none()
                && tcp.link.known[1 - d]
        };
        Witness { complete: [complete(0), complete(1)], why, since_ns }
    }

    /// Notes a FIN at `seq`. The first one is kept, unless bytes have passed beyond it, or this one is
    /// at the direction's position.
    pub fn note_fin(&mut self, env: &mut Env<'_>, d: usize, seq: u32, origin: &Origin) {
        let next = self.protocol.next(d);
        let end = position(next, seq);
        let stream = &mut self.streams[d];
        let places = [next, stream.acked, stream.buffer.end().unwrap_or(0)];
        if places.iter().all(|place| place.abs_diff(end) > JUMP) {
            env.stats.ignored_segments += 1;
            return;
        }
        let fin = &mut stream.fin;
        let first = fin.as_ref().map(|first| first.0);
        if first.is_none_or(|first| first != end && (first < next || end == next)) {
            env.stats.ignored_segments += u64::from(first.is_some());
            *fin = Some(Box::new((end, *origin)));
        }
    }

    /// The FIN at the position of direction `d`, if the direction has not ended there yet.
    pub fn claimed_fin(&self, tcp: &Tcp, d: usize) -> Option<(u64, Origin)> {
        let next = self.protocol.next(d);
        self.streams[d].fin.as_deref().copied().filter(|(fin, _)| *fin == next && !tcp.fin[d])
    }

    /// When the FIN at the position of direction `d` is accepted if nothing else comes.
    pub fn fin_due_ns(&self, tcp: &Tcp, d: usize) -> Option<u64> {
        let (_, origin) = self.claimed_fin(tcp, d)?;
        let since = origin.time_ns.max(self.heard_ns);
        Some(since.saturating_add(CROSSING_NS))
    }

    /// Whether the FIN at the position of direction `d` is accepted: nothing depends on it, or nothing
    /// has come for long enough. An acknowledgement may be forged as well, and suffices only if a body
    /// that lasts until the close depends on it.
    pub fn is_fin_believed(&self, tcp: &Tcp, env: &Env<'_>, d: usize) -> bool {
        let Some((fin, _)) = self.claimed_fin(tcp, d) else { return false };
        self.protocol.is_quiet()
            || self.opaque(d)
            // A higher acknowledgement covers bytes beyond the FIN.
            || self.streams[d].acked == fin + 1 && self.protocol.is_ended_by_close(&tcp.link, d)
            || self.fin_due_ns(tcp, d).is_some_and(|due| env.now_ns >= due)
    }

    /// Accepts FINs at the directions' positions.
    pub fn believe_fins(&mut self, tcp: &mut Tcp, env: &mut Env<'_>) {
        let client = tcp.link.client_or_first();
        for d in [client, 1 - client] {
            if self.claimed_fin(tcp, d).is_some() {
                self.end_direction(tcp, env, d);
            }
        }
    }

    /// Direction `d` has reached its FIN.
    pub fn end_direction(&mut self, tcp: &mut Tcp, env: &mut Env<'_>, d: usize) {
        let fin_ns = self.streams[d].fin.as_ref().map(|fin| fin.1.time_ns);
        let fin_ns = fin_ns.unwrap_or(env.now_ns);
        let (why, since_ns) = if self.reset_ns == 0 || fin_ns <= self.reset_ns {
            (NoResponse::Closed, fin_ns)
        } else {
            (NoResponse::Reset, self.reset_ns)
        };
        let witness = self.witness(tcp, why, since_ns);
        tcp.fin[d] = true;
        let cx = &mut env.cx(&mut tcp.link);
        self.protocol.end_direction(cx, d, &witness);
    }

    /// The connection is over.
    pub fn finish(&mut self, tcp: &mut Tcp, env: &mut Env<'_>, end: End) {
        self.pass_cuts(tcp, env, None);
        self.drain(tcp, env, true);
        self.believe_fins(tcp, env);
        self.report_gaps(&tcp.link, env);
        if !env.is_copied(&tcp.link) {
            self.count_unseen(&tcp.link, env);
        }
        let reset = self.streams.iter().any(|stream| stream.reset);
        let end = match end {
            End::Stopped if reset => End::Reset,
            End::Stopped if tcp.fin == [true; 2] => End::Closed,
            end => end,
        };
        let why = match end {
            End::Reset => NoResponse::Reset,
            End::Closed | End::Stopped => NoResponse::Closed,
        };
        let fins = self.streams.iter().filter_map(|stream| stream.fin.as_ref());
        let ended = fins.map(|fin| fin.1.time_ns).max();
        let since_ns = match (self.reset_ns, ended) {
            (0, Some(fin_ns)) if end == End::Closed => fin_ns,
            (0, _) => env.now_ns,
            (reset_ns, _) => reset_ns,
        };
        for d in 0..2 {
            // An end that refused a SYN with data has sent nothing else.
            if tcp.reset[d] && !tcp.link.known[d] {
                tcp.link.known[d] = true;
                tcp.link.set_start(d, tcp.next[d]);
            }
        }
        let witness = self.witness(tcp, why, since_ns);
        let cx = &mut env.cx(&mut tcp.link);
        self.protocol.finish(cx, end, tcp.fin, &witness);
    }
}
