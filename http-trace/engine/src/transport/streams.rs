//! One direction's TCP state while something is in flight, and segments that wait to be confirmed.
//! Decides nothing.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::FAR;
use super::reassembly::Buffer;
use super::tcp::Tcp;
use crate::config::PipelineConfig;
use crate::origin::Origin;
use crate::protocols::Memory;

/// A jump of this size between messages looks like another connection on the same tuple; segments
/// further away are outside any window.
pub(super) const JUMP: u64 = 16 << 20;

/// Limit of data in a SYN: one packet, in bytes.
pub(super) const SYN_DATA: u32 = 0xffff;

/// One direction's TCP state.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub buffer: Buffer<Origin>,
    /// Position up to which the peer has acknowledged.
    pub acked: u64,
    /// Position before which missing bytes are no longer waited for.
    pub given_up: u64,
    /// Since when acknowledged bytes are missing, ns; 0 if none are.
    pub short_ns: u64,
    /// Since when the next byte is missing, or bytes wait for the other direction, ns; 0 for neither.
    pub waiting_ns: u64,
    /// Position of the FIN, and where it was seen.
    pub fin: Option<Box<(u64, Origin)>>,
    /// Position up to which a snap length has cut the last segment, and its origin: passed over unless a whole copy is next.
    pub cut: Option<Box<(u64, Origin)>>,
    /// The peer's segments are captured live, not read from a file.
    pub live: bool,
    /// A RST came at an unexpected position.
    pub reset: bool,
}

impl Stream {
    /// Whether nothing waits, is missing or claims to end the stream.
    pub fn is_settled(&self) -> bool {
        self.buffer.is_empty()
            && self.fin.is_none()
            && self.cut.is_none()
            && self.short_ns == 0
            && self.waiting_ns == 0
    }

    /// Position and origin of the next thing that waits: buffered bytes or the FIN.
    pub fn waits(&self, next: u64) -> Option<(u64, Origin)> {
        match self.buffer.first() {
            Some(first) => Some((first.start, first.meta)),
            None => self.fin.as_deref().copied().filter(|(fin, _)| *fin > next),
        }
    }

    /// Whether the peer has acknowledged bytes that are missing at `next` and are not body; `skippable`
    /// bytes are.
    pub fn is_short(&self, next: u64, skippable: u64) -> bool {
        let missing = self.acked.saturating_sub(next);
        self.fin.is_none()
            && self.acked > self.given_up
            && (2..=FAR).contains(&missing)
            && skippable != u64::MAX
    }
}

/// A record held until something confirms that it belongs to the stream.
#[derive(Debug)]
pub(crate) struct Held {
    pub header: RecordHeader,
    pub bytes: Vec<u8>,
    /// The name of the connection that it bears, as a path number.
    pub path: u8,
}

impl Held {
    pub fn of(record: &Record<'_>, path: u8) -> Self {
        Held { header: *record.header, bytes: record.bytes.to_vec(), path }
    }

    pub fn record(&self) -> Record<'_> {
        Record { tunnel: None, header: &self.header, bytes: &self.bytes }
    }

    /// Memory in use, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Held>() + self.bytes.capacity()
    }

    /// When it is dropped if nothing confirms it, ns.
    pub fn until_ns(&self, config: &PipelineConfig) -> u64 {
        self.header.time_ns.saturating_add(config.unseen_hole_ns)
    }
}

/// A segment far outside the window.
#[derive(Debug)]
pub(crate) struct FarSegment {
    pub held: Held,
    /// It came after the previous connection on the tuple was closed.
    pub after_close: bool,
}

impl FarSegment {
    /// Whether it is dropped if nothing confirms it; `known` is whether other bytes of the direction
    /// were seen.
    pub const fn is_dropped(&self, known: bool) -> bool {
        known || self.after_close
    }

    /// Whether a record of the same direction continues where this one ends, or ends the stream there.
    pub fn is_followed(&self, header: &RecordHeader) -> bool {
        let ahead = seq_distance(self.held.header.skip_to, header.seq);
        header.len > 0 && (0..=JUMP as i32).contains(&ahead) || header.has(flag::FIN) && ahead == 0
    }

    /// Whether a record of the other direction acknowledges bytes of this one, or bytes after it.
    pub fn is_acknowledged(&self, header: &RecordHeader) -> bool {
        let past = seq_distance(self.held.header.seq, header.ack);
        header.has(flag::ACK) && (1..=JUMP as i32).contains(&past)
    }
}

/// The closed connection on the tuple of a connection that is only a SYN so far. Both the close and the
/// SYN may be forged, so this one's number is kept until the next connection is accepted.
#[derive(Debug)]
pub(crate) struct Before {
    pub tcp: Tcp,
    pub memory: Memory,
    /// Initial state of the next connection.
    pub next: Memory,
}

/// A SYN on an open connection. It may be forged.
#[derive(Debug)]
pub(crate) struct OpenSyn {
    pub d: usize,
    pub seq: u32,
    /// Index of the direction that the client sends in: the SYN's own, unless it is a SYN-ACK.
    pub client: usize,
    /// Sequence number of the peer's first byte, from the SYN-ACK.
    pub answer: Option<u32>,
    /// Its data: one record, though a filter may have shipped it in several.
    pub data: Option<Box<Held>>,
}

impl OpenSyn {
    /// Memory in use beside the connection's own, in bytes.
    pub fn size(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.size())
    }

    /// How long its data waits to be confirmed.
    pub fn until_ns(&self, config: &PipelineConfig) -> Option<u64> {
        self.data.as_ref().map(|data| data.until_ns(config))
    }

    /// Whether `ack` acknowledges the SYN and no more than its data.
    pub fn is_answered_by(&self, ack: u32) -> bool {
        ack.wrapping_sub(self.seq) <= self.len()
    }

    /// Whether `ack` acknowledges some of its data.
    pub fn is_taken_by(&self, ack: u32) -> bool {
        self.is_answered_by(ack) && ack != self.seq
    }

    pub fn len(&self) -> u32 {
        let data = self.data.as_ref();
        data.map_or(0, |data| data.header.skip_to.wrapping_sub(self.seq))
    }
}
