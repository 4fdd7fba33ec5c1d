//! The boundary between the transport of a connection's bytes and the protocol that reads them.
//!
//! A transport hands over each direction's bytes in order, with the gaps that will not be filled, the
//! skips that a filter declared and the closes. A [`Protocol`] makes [`Exchange`]s of them and gives
//! them to a [`Sink`]; those of one connection may end in any order. Must know neither segments nor
//! events: the only trace of TCP is an [`Ack`] beside the bytes, which a transport without
//! acknowledgements replaces by the position up to which the sender had read.
//!
//! # Layout
//! - [`body`]: the first bytes of a body.
//! - [`exchange`]: the results of a protocol.

pub(crate) mod body;
pub(crate) mod exchange;

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
    /// Sequence numbers of each direction's first byte, where `start_known`.
    start: [u32; 2],
    /// Whether it is known where each direction stands.
    pub known: [bool; 2],
    start_known: [bool; 2],
    /// Index of the direction that the client sends in, plus 1; 0 while it is not known.
    client_plus_1: u8,
    /// It is another connection's copy and makes no events.
    pub muted: bool,
    /// A close or a SYN came that what followed disproves; the next exchange says so.
    pub disputed: bool,
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

    /// Index of the direction that the client sends in; the first while nobody knows.
    pub fn client_or_first(&self) -> usize {
        self.client().unwrap_or(0) & 1
    }

    /// The client sends in direction `d`.
    pub const fn set_client(&mut self, d: usize) {
        self.client_plus_1 = (d as u8 & 1) + 1;
    }

    /// Which direction the client sends in is not known after all.
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

    /// The stream of direction `d` begins with `seq`.
    pub const fn set_start(&mut self, d: usize, seq: u32) {
        self.start[d] = seq;
        self.start_known[d] = true;
    }

    /// Where the streams begin is not known any more.
    pub const fn forget_starts(&mut self) {
        self.start_known = [false; 2];
    }

    /// The position in direction `d`, which stands at `next`, that `ack` is of.
    pub fn acknowledged(&self, d: usize, next: u64, ack: Ack) -> Option<u64> {
        let seq = ack.number()?;
        Some(if self.known[d] {
            position(next, seq)
        } else {
            first_position(seq)
        })
    }

    /// Whether the sender of direction `d` had received bytes of the other direction.
    pub fn has_received(&self, d: usize, ack: Ack) -> bool {
        let (start, ack) = (self.start(1 - d), ack.number());
        start
            .zip(ack)
            .is_some_and(|(start, ack)| seq_distance(start, ack) > 0)
    }
}

/// Direction number `d`.
pub(crate) const fn direction(d: usize) -> Direction {
    if d == 0 {
        Direction::FromA
    } else {
        Direction::FromB
    }
}

/// Surroundings of a protocol.
pub(crate) struct Cx<'a> {
    pub link: &'a mut Link,
    /// Ports of the senders of both directions.
    pub ports: [u16; 2],
    /// Event time.
    pub now_ns: u64,
    pub config: &'a PipelineConfig,
    pub stats: &'a mut Stats,
    pub losses: &'a mut Losses,
    pub sink: &'a mut dyn Sink,
}

impl Cx<'_> {
    /// Reports `count` bytes as lost here and now.
    pub fn lose_bytes(&mut self, place: &'static str, count: u64) {
        let now = self.now_ns;
        self.losses.add(place, LossUnit::Bytes, count, now, now);
    }

    /// Yields an exchange.
    pub fn exchange(&mut self, mut exchange: Exchange) {
        if std::mem::take(&mut self.link.disputed) {
            exchange.oddities.push(oddity::DISPUTED_SEGMENT);
        }
        self.sink.exchange(self.stats, self.link, exchange);
    }

    /// The server's port, as far as it is known.
    pub fn server_port(&self) -> u16 {
        match self.link.client() {
            Some(client) => self.ports[1 - client],
            None => self.ports[0].min(self.ports[1]),
        }
    }
}

/// Takes a protocol's results.
pub(crate) trait Sink {
    /// An exchange that is over, or of which nothing more is waited for.
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

    /// A message head was framed: finds connections that are copies of each other.
    fn head(&mut self, link: &mut Link, head: &HeadSeen<'_>);

    /// A PROXY protocol header named the source of the connection.
    fn source(&mut self, source: Forwarded);

    /// The protocol is spoken at this server port.
    fn served_at(&mut self, port: u16);

    /// Whether the connection is seen under several tuples.
    fn has_aliases(&self) -> bool;

    /// Another connection begins on the same tuple; its number.
    fn restart(&mut self, stats: &mut Stats) -> u64;
}

/// A message head, for the search for copies.
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

/// Kind of a message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadKind {
    Request,
    /// A response whose request was seen: no copy, but one of it may follow.
    Answer,
    /// A response whose request was not seen.
    Orphan,
}

/// Bytes of one direction, next in order.
pub(crate) struct Chunk<'a> {
    pub bytes: &'a [u8],
    /// A segment begins with them, or, from a filter that frames, a head.
    pub begins: bool,
    pub origin: &'a Origin,
}

/// Bytes of one direction that will not come.
pub(crate) struct Gap<'a> {
    pub len: u64,
    /// The other end had answered before they were sent.
    pub answered: bool,
    /// Where the bytes after the gap were seen.
    pub origin: &'a Origin,
}

/// How a direction, or the connection, came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN.
    Closed,
    /// RST.
    Reset,
    /// The capture, the run or the connection's time in the table is over.
    Stopped,
}

/// The transport's evidence about requests without a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witness {
    /// By direction: all that its sender sent so far was handed over, and its peer was heard of.
    pub complete: [bool; 2],
    /// Why no response will come.
    pub why: NoResponse,
    /// When that became so, ns.
    pub since_ns: u64,
}

/// Where the reading of a direction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Between,
    InMessage,
    /// Framing is lost.
    Lost,
    /// It is not read, for good.
    Opaque,
}

/// The unreadable protocol that the first bytes of a direction show.
pub(crate) fn unreadable(bytes: &[u8]) -> Unreadable {
    match bytes {
        // A TLS record: content type, then version 3.x (RFC 8446 §5.1).
        [0x14..=0x17, 0x03, 0x00..=0x04, ..] => Unreadable::Tls,
        _ if bytes.starts_with(b"PRI * HTTP/2.0") => Unreadable::Http2,
        _ => Unreadable::Other,
    }
}

/// Reads both directions of a connection. Directions are numbered as in the connection's key.
pub(crate) trait Protocol {
    /// Bytes follow in direction `d`.
    fn data(&mut self, cx: &mut Cx<'_>, d: usize, chunk: &Chunk<'_>);

    /// `n` bytes follow that a filter declared to be body.
    fn skip(&mut self, cx: &mut Cx<'_>, d: usize, n: u64, origin: &Origin);

    /// Bytes that follow will not come.
    fn gap(&mut self, cx: &mut Cx<'_>, d: usize, gap: &Gap<'_>);

    /// The direction goes on at `to`; how much is missing before it is not known.
    fn jump(&mut self, cx: &mut Cx<'_>, d: usize, to: u64, origin: &Origin);

    /// Bytes up to `end` came again `count` times.
    fn copied(&mut self, _d: usize, _end: u64, _count: u32, _origin: &Origin) {}

    /// Two copies of the bytes that come next differ.
    fn overlap_differs(&mut self, _d: usize) {}

    /// The peer has acknowledged bytes of direction `d` up to `end`; they are not waited for.
    fn never_seen(&mut self, _d: usize, _end: u64) {}

    /// The stream of direction `d` begins at `at`.
    fn begin(&mut self, _link: &Link, d: usize, at: u64) {
        self.rewind(d, at);
    }

    /// Direction `d`, in which nothing was framed, turns out to begin earlier.
    fn rewind(&mut self, d: usize, at: u64);

    /// The bytes of direction `d` so far are not known.
    fn joined(&mut self, _link: &Link, _d: usize) {}

    /// Position of the next byte of direction `d`.
    fn next(&self, d: usize) -> u64;

    /// How many bytes of direction `d` are body whatever they are.
    fn skippable(&self, d: usize) -> u64;

    fn standing(&self, d: usize) -> Standing;

    /// No exchange is in flight.
    fn is_answered(&self) -> bool {
        true
    }

    /// Nothing at all is in flight.
    fn is_quiet(&self) -> bool {
        true
    }

    /// Memory in use, in bytes.
    fn held(&self) -> usize {
        0
    }

    /// Whether no more depends on the end of direction `d` than where a body ends that lasts until then.
    fn is_ended_by_close(&self, _link: &Link, _d: usize) -> bool {
        true
    }

    /// Direction `d` has come to its end in an orderly way.
    fn end_direction(&mut self, _cx: &mut Cx<'_>, _d: usize, _witness: &Witness) {}

    /// The connection is over, of which the directions in `ended` were before; all in flight is
    /// yielded. The witness speaks only of one that did not stop in the middle.
    fn finish(&mut self, _cx: &mut Cx<'_>, _end: End, _ended: [bool; 2], _witness: &Witness) {}

    /// Yields everything that is due.
    fn tick(&mut self, _cx: &mut Cx<'_>, _witness: &Witness) {}

    /// When something will be due.
    fn deadline(&self, _now_ns: u64, _config: &PipelineConfig) -> Option<u64> {
        None
    }

    /// Before a filter's record of direction `d` is handed over.
    fn note_trial(&mut self, _d: usize, _header: &RecordHeader) {}

    /// The offer to a filter of this generation that lost its framing, by this connection's directions; `in_order` says that all bytes that came were handed over.
    fn hand_back(&mut self, _generation: u32, _in_order: bool) -> Option<HandBack> {
        None
    }
}
