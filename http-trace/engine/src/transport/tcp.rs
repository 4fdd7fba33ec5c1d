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
    bits: u16,
}

/// The wait for the next missing bytes is over; shifted by the direction.
const GIVEN_UP: u16 = 1 << 0;
/// A segment without payload was ahead of the bytes seen: some passed before it unseen.
const PASSED_UNSEEN: u16 = 1 << 2;
/// The beginning of a direction became known only after later bytes were handed over.
const BEGUN_LATE: u16 = 1 << 3;
/// The whole handshake was seen.
const ESTABLISHED: u16 = 1 << 4;
const PAYLOAD: u16 = 1 << 5;
/// The direction's sender has reset the connection, or claims to; shifted by the direction.
const RESET: u16 = 1 << 6;
/// The client's SYN had no answer when it was repeated, or when a filter shipped it.
const UNANSWERED: u16 = 1 << 8;
const CLOSED: u16 = 1 << 9;
/// The direction's sender was heard; shifted by the direction.
const HEARD: u16 = 1 << 10;

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

    /// Notes that bytes before a segment without payload passed unseen.
    pub const fn pass_unseen(&mut self) {
        self.bits |= PASSED_UNSEEN;
    }

    /// Whether bytes of either direction passed unseen: see [`Tcp::pass_unseen`].
    pub const fn passed_unseen(&self) -> bool {
        self.bits & PASSED_UNSEEN != 0
    }

    /// Whether a RST came in direction `d` that nothing has disproved.
    pub const fn is_reset_by(&self, d: usize) -> bool {
        self.bits & RESET << (d & 1) != 0
    }

    /// Whether [`Tcp::is_reset_by`] holds for either direction.
    pub const fn is_reset(&self) -> bool {
        self.bits & (RESET | RESET << 1) != 0
    }

    pub const fn set_reset_by(&mut self, d: usize, reset: bool) {
        let bit = RESET << (d & 1);
        self.bits = self.bits & !bit | if reset { bit } else { 0 };
    }

    pub const fn set_closed(&mut self, closed: bool) {
        self.bits = self.bits & !CLOSED | if closed { CLOSED } else { 0 };
    }

    pub const fn is_closed(&self) -> bool {
        self.bits & CLOSED != 0
    }

    pub const fn set_heard(&mut self, d: usize) {
        self.bits |= HEARD << (d & 1);
    }

    /// Whether anything of direction `d` was seen, here or by the filter. Otherwise all of it may pass elsewhere.
    pub const fn is_heard(&self, d: usize) -> bool {
        self.bits & HEARD << (d & 1) != 0
    }

    pub const fn set_payload(&mut self) {
        self.bits |= PAYLOAD;
    }

    pub const fn payload(&self) -> bool {
        self.bits & PAYLOAD != 0
    }

    /// Sets the beginning of direction `d`, which is already in use: its SYN was seen late, or its first
    /// bytes were missed.
    pub const fn begins_behind(&mut self, d: usize, seq: u32) {
        self.link.set_start(d, seq);
        self.bits |= BEGUN_LATE;
    }

    /// Whether the beginning of a direction was not seen, or only after later bytes.
    pub fn is_midstream(&self) -> bool {
        let link = &self.link;
        (0..2).any(|d| link.known[d] && link.start(d).is_none()) || self.bits & BEGUN_LATE != 0
    }

    /// Notes that the client sent something other than its SYN in direction `d` after it was answered.
    pub fn note_established(&mut self, d: usize) {
        let link = &self.link;
        if link.start(0).is_some() && link.start(1).is_some() && link.is_client(d) {
            self.bits |= ESTABLISHED;
        }
    }

    /// Whether the whole handshake was seen (RFC 9293 §3.5).
    pub const fn is_established(&self) -> bool {
        self.bits & ESTABLISHED != 0
    }

    pub const fn set_unanswered(&mut self) {
        self.bits |= UNANSWERED;
    }

    pub const fn was_unanswered(&self) -> bool {
        self.bits & UNANSWERED != 0
    }

    /// Whether the SYN was answered, even if only the answer was seen.
    pub fn is_answered(&self) -> bool {
        let server = self.link.client().map(|client| 1 - client);
        server.is_some_and(|server| self.link.start(server).is_some())
    }

    /// Whether the wait for the next missing bytes of direction `d` is over.
    pub const fn given_up(&self, d: usize) -> bool {
        self.bits & GIVEN_UP << (d & 1) != 0
    }

    pub const fn set_given_up(&mut self, d: usize, given_up: bool) {
        let bit = GIVEN_UP << (d & 1);
        self.bits = self.bits & !bit | if given_up { bit } else { 0 };
    }
}
