//! What is remembered of a connection while nothing is in flight: it must stay small.

use http_trace_common::flow::Direction;

use crate::http::context::Context;
use crate::http::order::Order;
use crate::stats::Unreadable;

/// What is remembered of a connection while nothing is in flight.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Number of the connection in this run, from 1.
    pub number: u64,
    /// When the pipeline will look at it again, 0 for never.
    /// As [`timer`] makes it.
    pub timer: u32,
    /// Sequence numbers of each direction's next byte; until that is known, the furthest
    /// place that either end said it stands at, or 0.
    pub next: [u32; 2],
    /// Sequence numbers of each direction's first byte. While that is not known: how many bytes of
    /// it were framed as no message, until it is known whether this is HTTP.
    pub start: [u32; 2],
    pub order: Order,
    /// Whether `next` is known.
    pub known: [bool; 2],
    pub start_known: [bool; 2],
    /// Framing of the direction is lost.
    pub unsure: [bool; 2],
    /// A head was framed in the direction.
    pub framed: [bool; 2],
    /// The direction has come to its FIN.
    pub fin: [bool; 2],
    /// Index of the direction that the client sends in.
    /// plus 1; 0 while it is not known.
    client_plus_1: u8,
    /// Bit by direction: bytes that are missing next have been waited for. And [`PASSED_UNSEEN`]
    /// and
    /// [`PASSED_HEAD`], [`BEGUN_LATE`] and [`ESTABLISHED`].
    pub impatient: u8,
    /// What the direction carries is not HTTP/1.x, for good.
    pub opaque: [bool; 2],
    pub closed: bool,
    /// A message was framed.
    pub http: bool,
    /// Payload was seen.
    pub payload: bool,
    pub queue_unknown: bool,
    /// An [`Unreadable`] as its number, 0 while nothing speaks against HTTP/1.x.
    pub protocol: u8,
    /// It is another connection's copy: nothing comes of it any more.
    pub muted: bool,
}

/// In [`Facts::impatient`], which has the room: a segment without payload stood further on than what
/// was seen, so that bytes went by before it.
const PASSED_UNSEEN: u8 = 1 << 2;
/// As that one, shifted by the direction: what was passed over in it ended as a head does.
const PASSED_HEAD: u8 = 1 << 3;
/// As those: where a direction begins was told only after bytes from behind it had been framed.
const BEGUN_LATE: u8 = 1 << 5;
/// As those: the handshake was seen to its end.
const ESTABLISHED: u8 = 1 << 6;

/// A deadline in units of 2^20 ns, never 0: two words are what a connection's place has left.
pub(crate) const fn timer(deadline_ns: u64) -> u32 {
    (deadline_ns >> 20) as u32 | 1
}

impl Facts {
    /// Of connection `number`.
    pub fn new(number: u64) -> Self {
        Facts {
            number,
            ..Facts::default()
        }
    }

    /// Index of the direction that the client sends in, if it is known.
    pub const fn client(&self) -> Option<u8> {
        self.client_plus_1.checked_sub(1)
    }

    /// Whether direction `d` has carried responses, or requests, so far; `None` for neither.
    pub fn carries_responses(&self, d: usize) -> Option<bool> {
        let client = self.client().filter(|_| self.framed[d & 1])?;
        Some(usize::from(client) != d)
    }

    /// The client sends in direction `d`.
    pub const fn set_client(&mut self, d: usize) {
        self.client_plus_1 = (d as u8 & 1) + 1;
    }

    /// Bytes that nobody saw went by before a segment without payload.
    pub const fn pass_unseen(&mut self) {
        self.impatient |= PASSED_UNSEEN;
    }

    /// Whether bytes of either direction went by unseen: see [`Facts::pass_unseen`].
    pub const fn passed_unseen(&self) -> bool {
        self.impatient & PASSED_UNSEEN != 0
    }

    /// The stream of direction `d`, which is at work, begins with `seq`: its SYN was seen late, or
    /// its first bytes were not. What lies between was framed as far as it was seen.
    pub fn begins_behind(&mut self, d: usize, seq: u32) {
        self.start[d] = seq;
        self.start_known[d] = true;
        self.impatient |= BEGUN_LATE;
    }

    /// The client sent something else than its SYN in direction `d`, and was answered before.
    pub fn note_established(&mut self, d: usize) {
        if self.start_known == [true; 2] && self.client() == Some(d as u8) {
            self.impatient |= ESTABLISHED;
        }
    }

    /// Whether the handshake was seen to its end (RFC 9293 §3.5).
    pub const fn is_established(&self) -> bool {
        self.impatient & ESTABLISHED != 0
    }

    /// Whether the SYN was answered, be it that only the answer was seen.
    pub fn is_answered(&self) -> bool {
        let server = self.client().map(|client| usize::from(1 - (client & 1)));
        server.is_some_and(|server| self.start_known[server])
    }

    /// Bit by direction: see [`Facts::impatient`].
    pub const fn set_impatient(&mut self, directions: u8) {
        self.impatient = self.impatient & !3 | directions & 3;
    }

    /// Whether what was passed over in direction `d` ended as a head does.
    pub const fn passed_head(&self, d: usize) -> bool {
        self.impatient & PASSED_HEAD << (d & 1) != 0
    }

    /// See [`Facts::passed_head`].
    pub fn set_passed_head(&mut self, passed: [bool; 2]) {
        for (d, passed) in passed.into_iter().enumerate() {
            let bit = PASSED_HEAD << d;
            self.impatient = self.impatient & !bit | if passed { bit } else { 0 };
        }
    }

    /// Direction number `d`.
    pub const fn direction(d: usize) -> Direction {
        if d == 0 {
            Direction::FromA
        } else {
            Direction::FromB
        }
    }

    /// The server's port, as far as is known when direction `d` sends.
    fn server_port(&self, cx: &Context<'_>) -> u16 {
        match self.client() {
            Some(client) => {
                cx.key
                    .sender(Self::direction(1 - usize::from(client & 1)))
                    .1
            }
            None => cx.key.a_port.min(cx.key.b_port),
        }
    }

    /// A message was framed in direction `d`.
    pub fn met_http(&mut self, cx: &mut Context<'_>, d: usize, response: bool) {
        self.framed[d & 1] = true;
        if self.http {
            return;
        }
        if let Some(kind) = kind_of(self.protocol) {
            let port = self.server_port(cx);
            cx.stats.uncount_unreadable(kind, port);
        }
        self.http = true;
        cx.stats.http_flows += 1;
        for d in (0..2).filter(|&d| !self.start_known[d]) {
            cx.stats.unframed_bytes += u64::from(std::mem::take(&mut self.start[d]));
        }
        let server = if response { d } else { 1 - d };
        cx.ports.insert(cx.key.sender(Self::direction(server)).1);
    }

    /// `n` bytes of direction `d` were framed as no message. They count once this is known to be HTTP: of another
    /// protocol none would be. `lost` says that they follow
    /// a loss that is ours.
    pub fn unframed(&mut self, cx: &mut Context<'_>, d: usize, n: u64, lost: bool) {
        if self.muted {
            return;
        }
        if !self.http {
            if !self.start_known[d & 1] {
                let so_far = &mut self.start[d & 1];
                *so_far = so_far.saturating_add(n.min(u32::MAX.into()) as u32);
            }
            return;
        }
        cx.stats.unframed_bytes += n;
        if lost && n > 0 {
            cx.lose_bytes("unframed", n);
        }
    }

    /// The connection is over, or out of sight: what is not known of it is counted. `ended` says
    /// that its end was seen.
    pub fn account(&mut self, cx: &mut Context<'_>, ended: bool) {
        if self.closed || self.muted {
            return;
        }
        if self.http {
            let late = (0..2).any(|d| self.known[d] && !self.start_known[d])
                || self.impatient & BEGUN_LATE != 0;
            cx.stats.midstream += u64::from(late);
            cx.stats.unended += u64::from(!ended);
        } else if self.payload || self.passed_unseen() {
            self.not_readable(cx, Unreadable::Other);
        }
    }

    /// The connection's first bytes are of another protocol.
    pub fn not_readable(&mut self, cx: &mut Context<'_>, kind: Unreadable) {
        if self.http || self.protocol != 0 {
            return;
        }
        self.protocol = kind as u8;
        let port = self.server_port(cx);
        cx.stats.count_unreadable(kind, port);
    }
}

const fn kind_of(protocol: u8) -> Option<Unreadable> {
    match protocol {
        1 => Some(Unreadable::Tls),
        2 => Some(Unreadable::Http2),
        3 => Some(Unreadable::Other),
        _ => None,
    }
}
