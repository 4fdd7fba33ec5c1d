//! One direction's TCP state while something is in flight, and the segments that wait for proof.
//! Decides nothing.

use http_trace_common::flow::seq_distance;
use http_trace_common::record::{Record, RecordHeader, flag};

use super::FAR;
use super::reassembly::Buffer;
use super::tcp::Tcp;
use crate::config::PipelineConfig;
use crate::origin::Origin;
use crate::protocols::Memory;

/// A jump that, between messages, looks like another connection on the same tuple; segments further
/// off than this are out of any window.
pub(super) const JUMP: u64 = 16 << 20;

/// The most bytes that come with a SYN: a packet's.
pub(super) const SYN_DATA: u32 = 0xffff;

/// One direction's TCP state.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub buffer: Buffer<Origin>,
    /// Position up to which the peer has acknowledged.
    pub acked: u64,
    /// Position before which missing bytes are not waited for.
    pub given_up: u64,
    /// Since when bytes that the peer has acknowledged are missing; 0 when none are.
    pub short_ns: u64,
    /// Since when the next byte is missing, or bytes wait for the other direction; 0 for neither.
    pub waiting_ns: u64,
    /// Position of the FIN, and where it was seen.
    pub fin: Option<(u64, Origin)>,
    /// The peer's segments are seen as they happen, not in a capture.
    pub live: bool,
    /// A RST came that was not at the expected place.
    pub reset: bool,
}

impl Stream {
    /// Where the next thing is that was seen, and where it came from: bytes that wait, or the FIN.
    pub fn waits(&self, next: u64) -> Option<(u64, Origin)> {
        match self.buffer.first() {
            Some(first) => Some((first.start, first.meta)),
            None => self.fin.filter(|(fin, _)| *fin > next),
        }
    }

    /// Whether the peer has acknowledged bytes that are missing at `next`, where `skippable` bytes are
    /// body.
    pub fn is_short(&self, next: u64, skippable: u64) -> bool {
        let missing = self.acked.saturating_sub(next);
        self.fin.is_none()
            && self.acked > self.given_up
            && (2..=FAR).contains(&missing)
            && skippable != u64::MAX
    }
}

/// A record that waits for proof that it is the stream's.
#[derive(Debug)]
pub(crate) struct Held {
    pub header: RecordHeader,
    pub bytes: Vec<u8>,
    /// Under which of the connection's names it came.
    pub path: u8,
}

impl Held {
    pub fn of(record: &Record<'_>, path: u8) -> Self {
        Held {
            header: *record.header,
            bytes: record.bytes.to_vec(),
            path,
        }
    }

    pub fn record(&self) -> Record<'_> {
        Record {
            tunnel: None,
            header: &self.header,
            bytes: &self.bytes,
        }
    }

    /// Memory in use.
    pub fn size(&self) -> usize {
        size_of::<Held>() + self.bytes.capacity()
    }

    /// How long it may be confirmed.
    pub fn until_ns(&self, config: &PipelineConfig) -> u64 {
        self.header.time_ns.saturating_add(config.unseen_hole_ns)
    }
}

/// A segment from outside any window.
#[derive(Debug)]
pub(crate) struct FarSegment {
    pub held: Held,
    /// It came after the close of the connection that was there before.
    pub after_close: bool,
}

impl FarSegment {
    /// Whether it is dropped when nothing confirms it; `known` is whether other bytes of the direction
    /// were seen.
    pub const fn is_dropped(&self, known: bool) -> bool {
        known || self.after_close
    }

    /// Whether a record of the same direction goes on where this one ends, or ends the stream there.
    pub fn is_followed(&self, header: &RecordHeader) -> bool {
        let ahead = seq_distance(self.held.header.skip_to, header.seq);
        header.len > 0 && (0..=JUMP as i32).contains(&ahead) || header.has(flag::FIN) && ahead == 0
    }

    /// Whether a record of the other direction acknowledges some of this one, or what follows it.
    pub fn is_acknowledged(&self, header: &RecordHeader) -> bool {
        let past = seq_distance(self.held.header.seq, header.ack);
        header.has(flag::ACK) && (1..=JUMP as i32).contains(&past)
    }
}

/// The closed connection on the tuple of one that is no more than a SYN so far. Both the close and the SYN
/// may be forged: its number stays until the next connection is believed.
#[derive(Debug)]
pub(crate) struct Before {
    pub tcp: Tcp,
    pub memory: Memory,
    /// What is known of the next connection: nothing.
    pub next: Memory,
}

/// A SYN on an open connection, which anybody can send.
#[derive(Debug)]
pub(crate) struct OpenSyn {
    pub d: usize,
    pub seq: u32,
    /// Index of the direction that the client sends in: the SYN's own, unless it is a SYN-ACK.
    pub client: usize,
    /// Sequence number of the peer's first byte, from the SYN-ACK.
    pub answer: Option<u32>,
    /// Its data: one record, which a filter may have shipped in several.
    pub data: Option<Box<Held>>,
}

impl OpenSyn {
    /// Memory in use beside the connection's own.
    pub fn size(&self) -> usize {
        self.data.as_ref().map_or(0, |data| data.size())
    }

    /// How long its data waits for something that confirms it.
    pub fn until_ns(&self, config: &PipelineConfig) -> Option<u64> {
        self.data.as_ref().map(|data| data.until_ns(config))
    }

    /// Whether this acknowledges the SYN and at most its data.
    pub fn is_answered_by(&self, ack: u32) -> bool {
        ack.wrapping_sub(self.seq) <= self.len()
    }

    /// Whether this acknowledges some of its data.
    pub fn is_taken_by(&self, ack: u32) -> bool {
        self.is_answered_by(ack) && ack != self.seq
    }

    pub fn len(&self) -> u32 {
        let data = self.data.as_ref();
        data.map_or(0, |data| data.header.skip_to.wrapping_sub(self.seq))
    }
}
