//! What the filter keeps per connection, and where it works.

use bytemuck::{Pod, Zeroable};

use crate::{
    flow::{Direction, FlowKey},
    framer::{Framer, RequestQueue},
    record::{MAX_BYTES, RecordHeader},
    walk::Tunnel,
};

/// Whether any step remains to be taken.
pub type Continue = bool;

/// Bits of [`Side::flags`].
pub mod side_flag {
    /// `floor`, `next` and `told` are valid.
    pub const KNOWN: u16 = 1 << 0;
    /// Nothing of this side has been shipped, and its first byte is its stream's first.
    pub const AT_START: u16 = 1 << 1;
    /// FIN was seen.
    pub const FIN: u16 = 1 << 2;
    /// RST was seen where the side stands.
    pub const RST: u16 = 1 << 3;
    /// FIN was seen further on than the side stood, so that what goes on may not have come to it yet.
    pub const FIN_AHEAD: u16 = 1 << 4;
}

/// One direction of a followed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Side {
    /// Where in a message the side is.
    pub framer: Framer,
    /// The lowest sequence number from which on all has been handled without a break.
    pub floor: u32,
    /// The sequence number after the highest byte handled.
    pub next: u32,
    /// Up to here the host has been told: shipped, or declared as skipped.
    pub told: u32,
    /// Payload bytes shipped while `Unsure`.
    pub unsure_bytes: u32,
    /// Copies since the last record.
    pub retransmissions: u16,
    /// Bits of [`side_flag`].
    pub flags: u16,
    /// Where its bytes are seen first: the interface and whether they leave by it. A copy met
    /// there is a retransmission; elsewhere it is the same packet on its way.
    pub place: u32,
}

/// A followed connection: the value in the flow table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Flow {
    /// Who works on it: 0 nobody, otherwise the CPU's number plus one. Only the environment's
    /// atomic operations touch it in the table.
    pub claim: u64,
    /// Requests without a final response.
    pub queue: RequestQueue,
    /// By [`Direction::index`].
    pub sides: [Side; 2],
    /// Tells this use of the tuple from the next.
    pub generation: u32,
    /// Kernel time of the last segment, in seconds, for the host that deletes idle flows.
    pub last_seen_s: u32,
    /// Interfaces since the last record, 0 for none.
    pub interfaces: [u32; 4],
    /// 1 when a SYN was seen that may begin another connection on the tuple.
    pub syn_pending: u16,
    /// When the host was last told that a connection goes on after a RST, in units of 2^28 ns.
    pub told_at: u16,
    /// Body bytes of the response at hand that are still to ship ([`crate::config::Snippet`]).
    pub wanted: u32,
}

/// What the SYNs of a tuple said: the value in the small LRU of connections that begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Syn {
    /// Sequence number of the first payload byte (ISN + 1), by [`Direction::index`].
    pub first: [u32; 2],
    /// With [`Syn::STOOD`]: where the connection before stood in both directions, between messages, when
    /// it was closed, or when a SYN came before its first byte. Both are claims, which bytes that go on
    /// there disprove.
    pub stood: [u32; 2],
    /// Which of `first` are valid: bit 0 and bit 1; bit 2 when a SYN-ACK acknowledged the SYN, bit 3
    /// when the host was told of it.
    pub valid: u32,
    /// When the SYN was first seen, in ms of the kernel's clock (its low half).
    pub since_ms: u32,
}

impl Syn {
    /// Set in `valid` when the SYN was acknowledged.
    pub const ACKNOWLEDGED: u32 = 1 << 2;
    /// Set in `valid` when the SYN was shipped.
    pub const TOLD: u32 = 1 << 3;
    /// Set in `valid` when a RST of it was shipped; a copy of that at another hook is none.
    pub const REFUSED: u32 = 1 << 4;
    /// Set in `valid` when `stood` is.
    pub const STOOD: u32 = 1 << 5;
    /// Set in `valid` when the first direction's sender fills TCP checksums in; shifted by one, the
    /// second's.
    pub const SUMMED: u32 = 1 << 6;
    /// Set in `valid` with [`Syn::STOOD`] when the connection before had not sent a byte.
    pub const UNSPOKEN: u32 = 1 << 8;
    /// Set in `valid` when data came with the SYN (RFC 7413).
    pub const DATA: u32 = 1 << 9;
    /// What a SYN does not change.
    pub const KEPT: u32 = Syn::SUMMED | Syn::SUMMED << 1 | Syn::BEFORE;
    /// What is known of the connection before.
    pub const BEFORE: u32 = Syn::STOOD | Syn::UNSPOKEN;
    /// The handshake was seen in both directions.
    pub const OPEN: u32 = Syn::ACKNOWLEDGED | 3;

    /// The first payload byte's sequence number in a direction; only if [`Syn::knows`] it, else what a
    /// SYN-ACK acknowledged.
    #[inline(always)]
    pub const fn first(&self, direction: Direction) -> u32 {
        match direction {
            Direction::FromA => self.first[0],
            Direction::FromB => self.first[1],
        }
    }

    /// Sets [`Syn::first`].
    #[inline(always)]
    pub const fn set_first(&mut self, direction: Direction, seq: u32) {
        match direction {
            Direction::FromA => self.first[0] = seq,
            Direction::FromB => self.first[1] = seq,
        }
    }

    /// Whether a direction's ISN was seen.
    #[inline(always)]
    pub const fn knows(&self, direction: Direction) -> bool {
        self.valid & (1 << direction.index()) != 0
    }

    /// Whether a followed connection that was closed goes on with `seq`.
    #[inline(always)]
    pub const fn goes_on(&self, direction: Direction, seq: u32) -> bool {
        self.valid & Syn::STOOD != 0 && self.stood(direction) == seq
    }

    /// A SYN or SYN-ACK of another connection than the one that is open may be forged: of both it is
    /// remembered where they begin, as long as nobody spoke.
    #[inline(always)]
    pub const fn keep_open(&mut self) {
        if self.valid & (Syn::OPEN | Syn::UNSPOKEN) == Syn::OPEN {
            self.stood = self.first;
            self.valid |= Syn::BEFORE;
        }
    }

    /// Where a direction of the connection before stood; only with [`Syn::STOOD`].
    #[inline(always)]
    pub const fn stood(&self, direction: Direction) -> u32 {
        match direction {
            Direction::FromA => self.stood[0],
            Direction::FromB => self.stood[1],
        }
    }

    /// Whether `seq` is that of a direction's first payload byte.
    #[inline(always)]
    pub const fn begins(&self, direction: Direction, seq: u32) -> bool {
        self.knows(direction) && self.first(direction) == seq
    }
}

/// Where the host stands in one direction of a connection whose framing the filter lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Handed {
    /// The host's framer at `from`.
    pub framer: Framer,
    /// Sequence number up to which the host has framed.
    pub from: u32,
    /// Up to here all is body by the host's framing; equal to `from` when it is not in a body.
    pub to: u32,
}

/// What the host hands back, so that the filter can skip bodies again: the value in a small LRU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct HandBack {
    /// By [`Direction::index`]; with [`handed::PLACES`].
    pub sides: [Handed; 2],
    /// The requests without a final response after both places.
    pub queue: RequestQueue,
    /// The [`Flow::generation`] it is meant for.
    pub generation: u32,
    /// Bits of [`handed`].
    pub what: u32,
    /// Where the trials began that the host has looked at, by [`Direction::index`].
    pub trials: [u32; 2],
}

/// Bits of [`HandBack::what`].
pub mod handed {
    /// Where the host stands in both directions.
    pub const PLACES: u32 = 1 << 0;
    /// The trial of the first direction is right; shifted by one, of the second.
    pub const RIGHT: u32 = 1 << 1;
    /// The trial of the first direction is wrong; shifted by one, of the second.
    pub const WRONG: u32 = 1 << 3;
}

/// Bytes of a [`Block`] that can be loaded at once.
pub const BLOCK_BYTES: u32 = MAX_BYTES as u32;

/// Room after them, so that a word read at the last byte stays inside.
const SLACK: usize = 64;

/// A record in the making: the header directly before the bytes, as the ring buffer wants them, and
/// before it the tunnel that the packet at hand came in, which ships if there is one.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Block {
    /// Always 0, which the verifier does not know: see `Verified::forget`.
    pub zero: u64,
    /// The tunnel; set at the beginning of each packet.
    pub tunnel: Tunnel,
    /// The record's fixed part.
    pub header: RecordHeader,
    /// Payload bytes.
    pub bytes: [u8; MAX_BYTES + SLACK],
}

/// What of a segment is still to be told when it is done.
pub mod untold {
    /// Nothing.
    pub const NOTHING: u32 = 0;
    /// That a message's end was skipped.
    pub const END: u32 = 1;
    /// Where the direction begins.
    pub const BEGINNING: u32 = 2;
}

/// Whether the flow in the table is claimed by us, in [`Scratch::held`].
pub mod held {
    /// It is not, or there is none.
    pub const NOT: u32 = 0;
    /// It is, and the segment is of it.
    pub const FLOW: u32 = 1;
    /// It is, but the segment may be of another connection: the flow stays as it is.
    pub const FOR_ANOTHER: u32 = 2;
    /// Somebody else has it.
    pub const REFUSED: u32 = 3;
}

/// How the rest of a segment is handled.
pub mod mode {
    /// Framed: what is not body ships.
    pub const FRAME: u32 = 0;
    /// Shipped as it is.
    pub const RAW: u32 = 1;
    /// Searched for the end of a request line that would admit the connection.
    pub const PROBE: u32 = 2;
}

/// What the framer met, as far as the filter has to act on it: bits of [`Scratch::met`].
pub mod met {
    /// A head begins.
    pub const HEAD_BEGINS: u32 = 1 << 0;
    /// A head is complete.
    pub const HEAD_ENDS: u32 = 1 << 1;
    /// It was a status line without a status.
    pub const BAD_STATUS: u32 = 1 << 2;
    /// After it the connection is a tunnel.
    pub const TUNNEL: u32 = 1 << 3;
    /// Framing is lost.
    pub const LOST: u32 = 1 << 4;
    /// Bytes that are no HTTP/1.x, in a direction that has not framed a message yet.
    pub const NEVER_HTTP: u32 = 1 << 5;
    /// As before, after messages.
    pub const NOT_HTTP: u32 = 1 << 6;
}

/// The filter's working place: too large for the kernel's stack, so one of a few per CPU.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Scratch {
    /// A copy of the connection's state, written back at the end.
    pub flow: Flow,
    /// What the host handed back, when it is looked at.
    pub hand_back: HandBack,
    /// When the segment was seen; see `Context`, as the four below.
    pub time_ns: u64,
    /// The frame's length on the wire.
    pub wire_len: u32,
    /// Index of the interface.
    pub interface: u32,
    /// The hook's number.
    pub hook: u32,
    /// The segment's acknowledgement number.
    pub ack: u32,
    /// The connection.
    pub key: FlowKey,
    /// What its SYNs said, when that is looked at.
    pub syn: Syn,
    /// [`Direction::index`] of the segment.
    pub direction: u32,
    /// One of [`mode`].
    pub mode: u32,
    /// Sequence number of the segment's first payload byte.
    pub seq: u32,
    /// The segment's TCP flags.
    pub tcp_flags: u32,
    /// The payload's offset in the frame.
    pub payload_offset: u32,
    /// The payload's length.
    pub end: u32,
    /// Offset in the payload of the block's first byte.
    pub at: u32,
    /// Bytes loaded into the block.
    pub loaded: u32,
    /// Bytes of the block that are framed and wait to be shipped.
    pub cursor: u32,
    /// In [`mode::RAW`]: payload offset at which raw shipping ends.
    pub raw_end: u32,
    /// In [`mode::RAW`]: payload offset at which framing goes on.
    pub frame_from: u32,
    /// In [`mode::RAW`]: whether the bytes at hand are the next of their direction, so that it may be
    /// framed on trial.
    pub in_order: u32,
    /// In [`mode::RAW`]: whether they are dropped, and only framed on trial.
    pub dropped: u32,
    /// One of [`held`].
    pub held: u32,
    /// Whether to delete it at the end.
    pub delete: u32,
    /// What no record has told: one of [`untold`].
    pub untold: u32,
    /// Flags of the record in the making.
    pub record_flags: u32,
    /// Heads found in this segment.
    pub heads: u32,
    /// Steps left for this segment.
    pub steps: u32,
    /// What the framer met in its last step: bits of [`met`].
    pub met: u32,
    /// The record in the making.
    pub block: Block,
}

#[inline(always)]
pub(super) fn side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 {
        &mut s.flow.sides[0]
    } else {
        &mut s.flow.sides[1]
    }
}

#[inline(always)]
pub(super) fn other_side(s: &mut Scratch) -> &mut Side {
    if s.direction == 0 {
        &mut s.flow.sides[1]
    } else {
        &mut s.flow.sides[0]
    }
}

/// Of a flow that begins at this time: never 0, which stands for none.
#[inline(always)]
pub(super) const fn generation(time_ns: u64) -> u32 {
    (time_ns >> 16) as u32 | 1
}

/// Of the segment's direction, then of the other: whether a SYN was seen, and where the stream begins.
#[inline(always)]
pub(super) fn both(s: &Scratch) -> (bool, u32, bool, u32) {
    let [a, b] = s.syn.first;
    let (knows_a, knows_b) = (s.syn.valid & 1 != 0, s.syn.valid & 2 != 0);
    if s.direction == 0 {
        (knows_a, a, knows_b, b)
    } else {
        (knows_b, b, knows_a, a)
    }
}

/// How far behind its stream's beginning a segment may be that tells of it, in bytes: the SYN that
/// is remembered may be of an older connection.
pub(super) const NEAR_START: i32 = 1 << 20;
