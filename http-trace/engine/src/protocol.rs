//! The boundary between a connection's transport and the protocol that reads it.
//!
//! A transport hands over each direction's bytes in order, with gaps that will not be filled, skips that
//! a filter declared, and closes. A [`Protocol`] turns them into [`Exchange`]s and gives these to a
//! [`Sink`]; exchanges of one connection may end in any order. Must know neither segments nor events.
//! The only trace of TCP is an [`Ack`] beside the bytes; a transport without acknowledgements gives the
//! position up to which the sender had read.
//!
//! What a connection has twice is a pair, indexed by direction: `d` is 0 for [`Direction::FromA`] and 1 for
//! [`Direction::FromB`], and `1 - d` is the opposite.
//!
//! # Layout
//! - [`body`]: the first bytes of a body.
//! - [`exchange`]: the results of a protocol.

pub(crate) mod body;
pub(crate) mod exchange;

use std::ops::Range;

use http_trace_common::filter::HandBack;
use http_trace_common::flow::{Direction, seq_distance};
use http_trace_common::record::RecordHeader;
use http_trace_model::event::{Forwarded, LossUnit, NoResponse, oddity};

use self::exchange::Exchange;
use crate::config::PipelineConfig;
use crate::origin::{Ack, Origin, first_position, position};
use crate::stats::{Losses, Stats, Unreadable};

/// State of a connection that transport and protocol share.
#[derive(Debug, Default)]
pub(crate) struct Link {
    /// Sequence numbers of each direction's first byte, valid if `start_known`; the client's also while it is
    /// [expected](Self::expected).
    start: [u32; 2],
    /// Whether each direction's position is known.
    pub known: [bool; 2],
    start_known: [bool; 2],
    /// Index of the direction that the client sends in, plus 1; 0 if unknown.
    client_plus_1: u8,
    /// The connection is a copy of another one and makes no events.
    pub muted: bool,
    /// A close or a SYN was disproved by what followed; the next exchange is marked.
    pub disputed: bool,
    /// A SYN-ACK was seen without its SYN, and the wait for the client is not over.
    expects: bool,
}

impl Link {
    /// Index of the direction that the client sends in, if it is known.
    pub fn client(&self) -> Option<usize> {
        self.client_plus_1.checked_sub(1).map(usize::from)
    }

    /// Whether the client is known to send in direction `d`.
    pub fn is_client(&self, d: usize) -> bool {
        self.client() == Some(d)
    }

    /// Index of the direction that the client sends in; the first one while it is unknown.
    pub fn client_or_first(&self) -> usize {
        self.client().unwrap_or(0) & 1
    }

    pub const fn set_client(&mut self, d: usize) {
        self.client_plus_1 = (d as u8 & 1) + 1;
    }

    /// The client's direction is unknown after all.
    pub const fn forget_client(&mut self) {
        self.client_plus_1 = 0;
    }

    /// Sequence number of the first byte of direction `d`, if it is known.
    pub fn start(&self, d: usize) -> Option<u32> {
        self.start_known[d].then_some(self.start[d])
    }

    /// Position of the first byte of direction `d`, if it is known.
    pub fn first(&self, d: usize) -> Option<u64> {
        self.start(d).map(first_position)
    }

    pub const fn set_start(&mut self, d: usize, seq: u32) {
        self.start[d] = seq;
        self.start_known[d] = true;
    }

    /// A SYN-ACK says that the client's stream, direction `d`, begins at `seq`, or before with data in the SYN.
    pub const fn expect(&mut self, d: usize, seq: u32) {
        self.start[d] = seq;
        self.expects = true;
    }

    /// Where the first bytes of direction `d` are expected, of which nothing was seen.
    pub fn expected(&self, d: usize) -> Option<u32> {
        let unseen = !self.is_client(1 - d) && !self.known[d] && !self.start_known[d];
        (self.expects && unseen).then_some(self.start[d])
    }

    /// The client's bytes may pass elsewhere.
    pub const fn expect_nothing(&mut self) {
        self.expects = false;
    }

    /// The beginnings of the streams are no longer known.
    pub const fn forget_starts(&mut self) {
        self.start_known = [false; 2];
    }

    /// The position in direction `d`, near `next`, that `ack` acknowledges.
    pub fn acknowledged(&self, d: usize, next: u64, ack: Ack) -> Option<u64> {
        let seq = ack.number()?;
        Some(if self.known[d] { position(next, seq) } else { first_position(seq) })
    }

    /// Whether the sender of direction `d` had received bytes of the other direction.
    pub fn has_received(&self, d: usize, ack: Ack) -> bool {
        let (start, ack) = (self.start(1 - d), ack.number());
        start.zip(ack).is_some_and(|(start, ack)| seq_distance(start, ack) > 0)
    }
}

pub(crate) const fn direction(d: usize) -> Direction {
    if d == 0 { Direction::FromA } else { Direction::FromB }
}

pub(crate) struct Cx<'a> {
    pub link: &'a mut Link,
    /// Ports of the senders of both directions.
    pub ports: [u16; 2],
    /// Event time, ns.
    pub now_ns: u64,
    /// Records were lost up to this time, ns: of any connection.
    pub lost_ns: u64,
    pub config: &'a PipelineConfig,
    pub stats: &'a mut Stats,
    pub losses: &'a mut Losses,
    pub sink: &'a mut dyn Sink,
}

impl Cx<'_> {
    /// Reports `count` bytes as lost between `since_ns` and the current event time.
    pub fn lose_bytes(&mut self, place: &'static str, count: u64, since_ns: u64) {
        self.losses.add(place, LossUnit::Bytes, count, since_ns, self.now_ns);
    }

    pub fn exchange(&mut self, mut exchange: Exchange) {
        if std::mem::take(&mut self.link.disputed) {
            exchange.oddities.push(oddity::DISPUTED_SEGMENT);
        }
        self.sink.exchange(self.stats, self.link, exchange);
    }

    /// The server's port; a guess while the client is unknown.
    pub fn server_port(&self) -> u16 {
        match self.link.client() {
            Some(client) => self.ports[1 - client],
            None => self.ports[0].min(self.ports[1]),
        }
    }
}

/// Takes the results of a protocol.
pub(crate) trait Sink {
    /// An exchange that is over, or for which nothing more is awaited.
    fn exchange(&mut self, stats: &mut Stats, link: &Link, exchange: Exchange);

    /// A connection attempt that was refused or never answered.
    fn attempt(
        &mut self,
        stats: &mut Stats,
        losses: &mut Losses,
        link: &Link,
        time_ns: u64,
        why: NoResponse,
    );

    /// A message head was framed; used to find copies of a connection.
    fn head(&mut self, link: &mut Link, head: &HeadSeen<'_>);

    /// A PROXY protocol header named the source of the connection.
    fn source(&mut self, source: Forwarded);

    /// The protocol is spoken at this server port.
    fn served_at(&mut self, port: u16);

    /// Whether the connection is seen under several tuples.
    fn has_aliases(&self) -> bool;

    /// Another connection begins on the same tuple; returns its number.
    fn restart(&mut self, stats: &mut Stats) -> u64;
}

/// A message head, for finding copies.
pub(crate) struct HeadSeen<'a> {
    /// Direction of its sender.
    pub d: usize,
    pub kind: HeadKind,
    /// Position of its first byte.
    pub start: u64,
    /// Where its first byte was seen.
    pub origin: Origin,
    pub bytes: &'a [u8],
    /// Its length on the wire, in bytes.
    pub len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadKind {
    Request,
    /// A response whose request was seen: not a copy, but copies of it may follow.
    Answer,
    /// A response whose request was not seen.
    Orphan,
}

/// Bytes of one direction, next in order.
pub(crate) struct Chunk<'a> {
    pub bytes: &'a [u8],
    /// A segment or, from a filter that frames, a head begins with these bytes.
    pub begins: bool,
    pub origin: &'a Origin,
}

/// Bytes of one direction that will not come.
pub(crate) struct Gap<'a> {
    pub len: u64,
    /// A snap length has cut them: they were there.
    pub is_cut: bool,
    /// The other end had answered before they were sent.
    pub answered: bool,
    /// Where the bytes after the gap were seen.
    pub origin: &'a Origin,
}

/// How a direction or the connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Closed,
    /// RST.
    Reset,
    /// The capture or the run ended, or the connection was evicted or expired.
    Stopped,
}

/// The transport's evidence about requests without a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness {
    /// By direction: everything that its sender has sent was handed over, and its peer was seen.
    pub complete: [bool; 2],
    /// Why no response will come.
    pub why: NoResponse,
    pub since_ns: u64,
}

/// State of a direction's framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Between,
    InMessage,
    Lost,
    /// It is permanently not read.
    Opaque,
}

/// The unreadable protocol that a direction's first bytes belong to.
pub(crate) fn unreadable(bytes: &[u8]) -> Unreadable {
    match bytes {
        // A TLS record: content type, then version 3.x (RFC 8446 §5.1).
        [0x14..=0x17, 0x03, 0x00..=0x04, ..] => Unreadable::Tls,
        _ if bytes.starts_with(b"PRI * HTTP/2.0") => Unreadable::Http2,
        // A server may speak first: a SETTINGS frame on stream 0 (RFC 9113 §3.4).
        [0, _, _, 4, 0, 0, 0, 0, 0, ..] => Unreadable::Http2,
        _ => Unreadable::Other,
    }
}

/// Reads both directions of a connection. Directions are numbered as in the connection's key.
pub(crate) trait Protocol {
    /// The next bytes of direction `d`.
    fn data(&mut self, cx: &mut Cx<'_>, d: usize, chunk: &Chunk<'_>);

    /// The next `n` bytes were declared as body by a filter.
    fn skip(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, origin: &Origin);

    /// The next bytes will not come.
    fn gap(&mut self, cx: &mut Cx<'_>, d: usize, gap: &Gap<'_>);

    /// The direction continues at `to`, after an unknown number of missing bytes.
    fn jump(&mut self, cx: &mut Cx<'_>, d: usize, to: u64, origin: &Origin);

    /// Bytes up to `end` came again, `count` times.
    fn copied(&mut self, _d: usize, _end: u64, _count: u32, _origin: &Origin) {}

    /// Two copies of these bytes differ, of which the first was or will be handed over.
    fn overlap_differs(&mut self, _link: &Link, _d: usize, _bytes: Range<u64>) {}

    /// The peer has acknowledged direction `d` up to `end`; these bytes are no longer waited for.
    fn never_seen(&mut self, _d: usize, _end: u64) {}

    /// The stream of direction `d` begins at `at`.
    fn begin(&mut self, _link: &Link, d: usize, at: u64) {
        self.rewind(d, at);
    }

    /// Direction `d`, in which nothing was framed, begins earlier than assumed.
    fn rewind(&mut self, d: usize, at: u64);

    /// Direction `d` is joined in midstream: the bytes before are unknown.
    fn joined(&mut self, _link: &Link, _d: usize) {}

    /// Position of the next byte of direction `d`.
    fn next(&self, d: usize) -> u64;

    /// How many next bytes of direction `d` are certainly body.
    fn skippable(&self, d: usize) -> u64;

    fn standing(&self, d: usize) -> Standing;

    /// Whether no exchange is in flight.
    fn is_answered(&self) -> bool {
        true
    }

    /// Whether nothing at all is in flight.
    fn is_quiet(&self) -> bool {
        true
    }

    /// Memory in use, in bytes.
    fn held(&self) -> usize {
        0
    }

    /// Whether at most a body that lasts until the close depends on the end of direction `d`.
    fn is_ended_by_close(&self, _link: &Link, _d: usize) -> bool {
        true
    }

    /// Direction `d` has ended by FIN.
    fn end_direction(&mut self, _cx: &mut Cx<'_>, _d: usize, _witness: &Witness) {}

    /// The connection is over, and everything in flight is yielded; `ended` marks the directions that
    /// had ended before. The witness is valid only if tracing did not stop in the middle.
    fn finish(&mut self, _cx: &mut Cx<'_>, _end: End, _ended: [bool; 2], _witness: &Witness) {}

    /// Yields everything that is due.
    fn tick(&mut self, _cx: &mut Cx<'_>, _witness: &Witness) {}

    /// When something becomes due, ns.
    fn deadline(&self, _now_ns: u64, _config: &PipelineConfig) -> Option<u64> {
        None
    }

    /// Notes the trial in a filter's record of direction `d`, before its bytes are handed over.
    fn note_trial(&mut self, _d: usize, _header: &RecordHeader) {}

    /// The offer to a filter of this generation that lost framing, in this connection's directions;
    /// `in_order` says that all bytes that came were handed over.
    fn hand_back(&mut self, _generation: u32, _in_order: bool) -> Option<HandBack> {
        None
    }
}
