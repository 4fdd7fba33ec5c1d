//! The state of the filter: per connection, and its working memory.

use bytemuck::{Pod, Zeroable};

use crate::{
    flow::{Direction, FlowKey},
    framer::{Framer, RequestQueue},
    record::{MAX_BYTES, RecordHeader},
    walk::Tunnel,
};

/// Whether more steps are needed.
pub type Continue = bool;

/// Bits of [`Side::flags`].
pub mod side_flag {
    /// `floor`, `next` and `reported` are valid.
    pub const KNOWN: u16 = 1 << 0;
    /// Nothing of this side has shipped, and its first byte is the first of its stream.
    pub const AT_START: u16 = 1 << 1;
    /// FIN was seen.
    pub const FIN: u16 = 1 << 2;
    /// RST was seen at the position of the side.
    pub const RST: u16 = 1 << 3;
    /// The side has ended, as far as was seen.
    pub const CLOSED: u16 = FIN | RST;
    /// FIN was seen beyond the position of the side, so bytes that continue may precede it.
    pub const FIN_AHEAD: u16 = 1 << 4;
    /// From this bit on: bits 10 to 20 of the sequence number after the last bytes that shipped.
    pub const SHIPPED_TO: u32 = 5;
}

/// One direction of a followed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Side {
    /// Framing state of the side.
    pub framer: Framer,
    /// The lowest sequence number from which on everything was handled without a gap.
    pub floor: u32,
    /// The sequence number after the highest byte handled.
    pub next: u32,
    /// The host knows everything up to here: shipped, or declared as skipped.
    pub reported: u32,
    /// Payload bytes shipped while `Unsure`.
    pub unsure_bytes: u32,
    /// Copies since the last record.
    pub retransmissions: u16,
    /// Bits of [`side_flag`].
    pub flags: u16,
    /// Where its bytes are first seen: the interface, the hook, and whether they leave by it. A copy at the same
    /// place is a retransmission; elsewhere it is the same packet on its way.
    pub place: u32,
}

impl Side {
    /// The side begins at `seq`, or resumes there: nothing before it counts.
    #[inline(always)]
    pub(super) fn stand_at(&mut self, seq: u32) {
        self.floor = seq;
        self.next = seq;
        self.reported = seq;
    }

    /// Notes the sequence number after bytes that ship.
    #[inline(always)]
    pub(super) fn note_shipped(&mut self, end: u32) {
        self.flags &= (1 << side_flag::SHIPPED_TO) - 1;
        self.flags |= (end >> 10 << side_flag::SHIPPED_TO) as u16;
    }

    /// Whether bytes shipped within 64 KiB from `seq` on, as the rest of its head does if bytes there are of one; or
    /// a segment before it, as that may be a copy too.
    #[inline(always)]
    pub(super) fn ships_near(&self, seq: u32) -> bool {
        let before = (seq >> 10).wrapping_sub(u32::from(self.flags >> side_flag::SHIPPED_TO));
        before.wrapping_add(64) & 0x7ff <= 66
    }
}

/// A followed connection: the value in the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Flow {
    /// Who holds the flow: 0 for nobody, otherwise the CPU's number plus one. In the table only the
    /// atomic operations of the environment access it.
    pub claim: u64,
    /// Requests without a final response.
    pub queue: RequestQueue,
    /// Indexed by [`Direction::index`].
    pub sides: [Side; 2],
    /// Distinguishes this use of the tuple from the next.
    pub generation: u32,
    /// Kernel time of the last segment, in seconds. The host deletes idle flows by it.
    pub last_seen_s: u32,
    /// Interfaces since the last record, 0 for none.
    pub interfaces: [u32; 4],
    /// 1 if a SYN was seen that may begin another connection on the tuple.
    pub syn_pending: u16,
    /// When the host was last informed that a connection continues after a RST, in units of 2^28 ns.
    pub reported_at: u16,
    /// Bytes of the current response body that still have to ship ([`crate::config::Snippet`]).
    pub wanted: u32,
}

/// What the SYNs of a tuple said: the value in the small LRU map of handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Syn {
    /// Sequence number of the first payload byte (ISN + 1), indexed by [`Direction::index`].
    pub first: [u32; 2],
    /// With [`Syn::PREVIOUS`]: the position of the previous connection in both directions, taken between
    /// messages when it was closed, or when a SYN came before its first byte. The close or SYN may be
    /// forged; bytes that continue at that position disprove it.
    pub previous: [u32; 2],
    /// Which of `first` are valid: bits 0 and 1. The other bits are the constants below.
    pub valid: u32,
    /// When the SYN was first seen, in ms of the kernel's clock (lower 32 bits).
    pub since_ms: u32,
}

impl Syn {
    /// Set in `valid` when the SYN was acknowledged.
    pub const ACKNOWLEDGED: u32 = 1 << 2;
    /// Set in `valid` when the SYN was shipped.
    pub const SHIPPED: u32 = 1 << 3;
    /// Set in `valid` when a RST that refused the SYN was shipped; the same RST at another hook is not
    /// shipped again.
    pub const REFUSED: u32 = 1 << 4;
    /// Set in `valid` when `previous` is valid.
    pub const PREVIOUS: u32 = 1 << 5;
    /// Set in `valid` when the sender of the first direction fills in TCP checksums; shifted by one,
    /// that of the second.
    pub const SUMMED: u32 = 1 << 6;
    /// Set in `valid` with [`Syn::PREVIOUS`] when the previous connection had not sent a byte.
    pub const SILENT: u32 = 1 << 8;
    /// Set in `valid` when data came with the SYN (RFC 7413).
    pub const DATA: u32 = 1 << 9;
    /// Bits that a SYN does not change.
    pub const KEPT: u32 = Syn::SUMMED | Syn::SUMMED << 1 | Syn::BEFORE;
    /// Bits about the previous connection.
    pub const BEFORE: u32 = Syn::PREVIOUS | Syn::SILENT;
    /// The handshake was seen in both directions.
    pub const OPEN: u32 = Syn::ACKNOWLEDGED | 3;

    /// Sequence number of the first payload byte in a direction. Unless [`Syn::knows`] it, this is what
    /// a SYN-ACK acknowledged.
    #[inline(always)]
    pub const fn first(&self, direction: Direction) -> u32 {
        match direction {
            Direction::FromA => self.first[0],
            Direction::FromB => self.first[1],
        }
    }

    /// Whether the ISN of a direction was seen.
    #[inline(always)]
    pub const fn knows(&self, direction: Direction) -> bool {
        self.valid & (1 << direction.index()) != 0
    }

    /// Whether `seq` continues a followed connection that was closed.
    #[inline(always)]
    pub const fn continues(&self, direction: Direction, seq: u32) -> bool {
        self.valid & Syn::PREVIOUS != 0 && self.previous(direction) == seq
    }

    /// Remembers the open connection when a SYN or SYN-ACK of another arrives. That one may be forged,
    /// so the starts of both are kept until one of them sends data.
    #[inline(always)]
    pub const fn keep_open(&mut self) {
        if self.valid & (Syn::OPEN | Syn::SILENT) == Syn::OPEN {
            self.previous = self.first;
            self.valid |= Syn::BEFORE;
        }
    }

    /// The position of the previous connection in a direction; only valid with [`Syn::PREVIOUS`].
    #[inline(always)]
    pub const fn previous(&self, direction: Direction) -> u32 {
        match direction {
            Direction::FromA => self.previous[0],
            Direction::FromB => self.previous[1],
        }
    }

    /// Whether `seq` is that of the first payload byte of a direction.
    #[inline(always)]
    pub const fn begins(&self, direction: Direction, seq: u32) -> bool {
        self.knows(direction) && self.first(direction) == seq
    }
}

/// The host's position in one direction of a connection whose framing the filter lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Handed {
    /// The host's framer at `from`.
    pub framer: Framer,
    /// Sequence number up to which the host has framed.
    pub from: u32,
    /// Up to here everything is body by the host's framing; equal to `from` outside a body.
    pub to: u32,
}

/// What the host hands back so that the filter can skip bodies again: the value in a small LRU map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HandBack {
    /// Indexed by [`Direction::index`]; valid with [`handed::PLACES`].
    pub sides: [Handed; 2],
    /// The requests without a final response after both positions.
    pub queue: RequestQueue,
    /// The [`Flow::generation`] it is meant for.
    pub generation: u32,
    /// Bits of [`handed`].
    pub what: u32,
    /// Where the trials began that the host has judged, indexed by [`Direction::index`].
    pub trials: [u32; 2],
}

/// Bits of [`HandBack::what`].
pub mod handed {
    /// The positions of the host in both directions are valid.
    pub const PLACES: u32 = 1 << 0;
    /// The trial of the first direction is right; shifted by one, that of the second.
    pub const RIGHT: u32 = 1 << 1;
    /// The trial of the first direction is wrong; shifted by one, that of the second.
    pub const WRONG: u32 = 1 << 3;
}

/// Maximum number of bytes that are loaded into a [`Block`] at once.
pub const BLOCK_BYTES: u32 = MAX_BYTES as u32;

/// Room after them, so that reading a word at the last byte stays inside.
const SLACK: usize = 64;

/// The record being built: the header directly before the bytes, as the ring buffer needs them, and
/// before it the tunnel of the current packet, which ships if there is one.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Block {
    /// Always 0, which the verifier does not know; see `Verified::forget`.
    pub zero: u64,
    /// The tunnel; set at the start of each packet.
    pub tunnel: Tunnel,
    /// The fixed part of the record.
    pub header: RecordHeader,
    /// Payload bytes.
    pub bytes: [u8; MAX_BYTES + SLACK],
}

/// What still has to be reported when a segment is done.
pub mod unreported {
    pub const NOTHING: u32 = 0;
    /// The skipped end of a message.
    pub const END: u32 = 1;
    /// The start of the direction.
    pub const BEGINNING: u32 = 2;
}

/// Whether the flow in the table is claimed, in [`Scratch::held`].
pub mod held {
    /// It is not claimed, or there is none.
    pub const NOT: u32 = 0;
    /// It is claimed, and the segment belongs to it.
    pub const FLOW: u32 = 1;
    /// It is claimed, but the segment may belong to another connection: the flow stays as it is.
    pub const FOR_ANOTHER: u32 = 2;
    /// Another context holds it.
    pub const REFUSED: u32 = 3;
}

/// How the rest of a segment is handled.
pub mod mode {
    /// Framed: everything but body ships.
    pub const FRAME: u32 = 0;
    /// Shipped as it is.
    pub const RAW: u32 = 1;
    /// Searched for the end of a request line that would admit the connection.
    pub const PROBE: u32 = 2;
}

/// What the framer found, as far as the filter must act on it: bits of [`Scratch::met`].
pub mod met {
    pub const HEAD_BEGINS: u32 = 1 << 0;
    /// A head is complete.
    pub const HEAD_ENDS: u32 = 1 << 1;
    /// It was a status line without a status code.
    pub const BAD_STATUS: u32 = 1 << 2;
    /// The connection becomes a tunnel after it.
    pub const TUNNEL: u32 = 1 << 3;
    /// Framing is lost.
    pub const LOST: u32 = 1 << 4;
    /// Bytes that are not HTTP/1.x, in a direction that has not framed a message yet.
    pub const NEVER_HTTP: u32 = 1 << 5;
    /// The same after messages.
    pub const NOT_HTTP: u32 = 1 << 6;
}

/// Working memory of the filter: too large for the kernel's stack, so one of a few per CPU.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Scratch {
    /// A copy of the connection's state, written back at the end.
    pub flow: Flow,
    /// What the host handed back; filled in on demand.
    pub hand_back: HandBack,
    /// When the segment was seen; like the four fields below, see `Context`.
    pub time_ns: u64,
    /// The frame's length on the wire.
    pub wire_len: u32,
    /// Index of the interface.
    pub interface: u32,
    /// The number of the hook.
    pub hook: u32,
    /// The segment's acknowledgement number.
    pub ack: u32,
    /// The connection.
    pub key: FlowKey,
    /// What the SYNs of the connection said; filled in on demand.
    pub syn: Syn,
    /// [`Direction::index`] of the segment.
    pub direction: u32,
    /// One of [`mode`].
    pub mode: u32,
    /// Sequence number of the segment's first payload byte.
    pub seq: u32,
    /// The segment's TCP flags.
    pub tcp_flags: u32,
    /// Offset of the payload in the frame.
    pub payload_offset: u32,
    /// Length of the payload.
    pub end: u32,
    /// Offset in the payload of the first byte of the block.
    pub at: u32,
    /// Bytes loaded into the block.
    pub loaded: u32,
    /// Bytes of the block that are framed and not shipped yet.
    pub cursor: u32,
    /// In [`mode::RAW`]: payload offset at which raw shipping ends.
    pub raw_end: u32,
    /// In [`mode::RAW`]: payload offset at which framing resumes.
    pub frame_from: u32,
    /// In [`mode::RAW`]: whether the current bytes are the next of their direction, so that it may be
    /// framed on trial.
    pub in_order: u32,
    /// In [`mode::RAW`]: whether the bytes are dropped and only framed on trial.
    pub dropped: u32,
    /// One of [`held`].
    pub held: u32,
    /// Whether to delete the flow at the end.
    pub delete: u32,
    /// What no record has reported: one of [`unreported`].
    pub unreported: u32,
    /// Flags of the record being built.
    pub record_flags: u32,
    /// Heads found in this segment.
    pub heads: u32,
    /// Steps left for this segment.
    pub steps: u32,
    /// What the framer found in its last step: bits of [`met`].
    pub met: u32,
    /// The record being built.
    pub block: Block,
}

#[inline(always)]
pub(super) fn side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 { &mut s.flow.sides[0] } else { &mut s.flow.sides[1] }
}

#[inline(always)]
pub(super) fn other_side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 { &mut s.flow.sides[1] } else { &mut s.flow.sides[0] }
}

/// The generation of a flow that begins at this time: never 0, which means none.
#[inline(always)]
pub(super) const fn generation(time_ns: u64) -> u32 {
    (time_ns >> 16) as u32 | 1
}

/// For the direction of the segment, then the other: whether a SYN was seen, and where the stream
/// begins.
#[inline(always)]
pub(super) fn both(s: &Scratch) -> (bool, u32, bool, u32) {
    let [a, b] = s.syn.first;
    let (knows_a, knows_b) = (s.syn.valid & 1 != 0, s.syn.valid & 2 != 0);
    if s.direction == 0 { (knows_a, a, knows_b, b) } else { (knows_b, b, knows_a, a) }
}

/// Maximum distance in bytes from the start of its stream at which a segment may report that start.
/// Beyond it, the stored SYN may belong to an older connection.
pub(super) const NEAR_START: i32 = 1 << 20;
