//! TCP state of a connection while nothing is in flight. One exists per connection: it must stay small.

use crate::protocol::Link;
use crate::stats::Stats;

/// Positions of both directions.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    pub link: Link,
    /// When the pipeline looks at the connection again, as [`timer`] encodes it; 0 for never.
    pub timer: u32,
    /// Sequence number of each direction's next byte at the last quiet moment; until that is known, the
    /// highest position that either end reported, or 0.
    pub next: [u32; 2],
    /// The direction has reached its FIN.
    pub fin: [bool; 2],
    /// A RST came in the direction that nothing has disproved.
    pub reset: [bool; 2],
    /// Something of the direction was seen, here or by the filter. Otherwise all of it may pass elsewhere.
    pub heard: [bool; 2],
    /// The wait for the direction's next missing bytes is over.
    pub given_up: [bool; 2],
    /// A segment without payload was ahead of the bytes seen: some passed before it unseen.
    pub passed_unseen: bool,
    /// The beginning of a direction became known only after later bytes were handed over.
    begun_late: bool,
    /// The whole handshake was seen (RFC 9293 §3.5).
    pub established: bool,
    pub payload: bool,
    /// The client's SYN had no answer when it was repeated, or when a filter shipped it.
    pub unanswered: bool,
    pub closed: bool,
}

/// A deadline in units of 2^20 ns, never 0.
pub(crate) const fn timer(deadline_ns: u64) -> u32 {
    (deadline_ns >> 20) as u32 | 1
}

impl Tcp {
    /// A close or a SYN is disproved. The next exchange is marked if the sender has sent a message; before
    /// that, a filter does not report it.
    pub const fn dispute(&mut self, stats: &mut Stats, framed: bool) {
        stats.disputed_segments += 1;
        self.link.disputed |= framed;
    }

    /// Whether a RST came in either direction that nothing has disproved.
    pub const fn is_reset(&self) -> bool {
        self.reset[0] || self.reset[1]
    }

    /// Sets the beginning of direction `d`, which is already in use: its SYN was seen late, or its first
    /// bytes were missed.
    pub const fn begins_behind(&mut self, d: usize, seq: u32) {
        self.link.set_start(d, seq);
        self.begun_late = true;
    }

    /// Whether the beginning of a direction was not seen, or only after later bytes.
    pub fn is_midstream(&self) -> bool {
        let link = &self.link;
        (0..2).any(|d| link.known[d] && link.start(d).is_none()) || self.begun_late
    }

    /// Notes that the client sent something other than its SYN in direction `d` after it was answered.
    pub fn note_established(&mut self, d: usize) {
        let link = &self.link;
        if link.start(0).is_some() && link.start(1).is_some() && link.is_client(d) {
            self.established = true;
        }
    }

    /// Whether the SYN was answered, even if only the answer was seen.
    pub fn is_answered(&self) -> bool {
        let server = self.link.client().map(|client| 1 - client);
        server.is_some_and(|server| self.link.start(server).is_some())
    }
}
