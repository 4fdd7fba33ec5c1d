//! The layout in which bytes travel from a hook, or from a capture, to the judge.
//!
//! One kind of record: a fixed header and up to [`MAX_BYTES`] bytes (more in a replay without the
//! filter). Bytes are TCP payload of one direction, contiguous from `seq`. A record also declares
//! what was *skipped as body* around its bytes: [`skip_from`, `seq`) before them and
//! [`seq + len`, `skip_to`) after them. What the host lacks before `skip_from` was lost, but for body
//! before a record that shipped without its flow, of which nothing was at hand to declare.
//!
//! Where the hook looked into a tunnel, the [`Tunnel`] stands before the header.

use bytemuck::{Pod, Zeroable};

use crate::flow::{Address, Direction, FlowKey};
use crate::walk::{Fragment, FragmentId, Segment, TUNNEL_LEN, Tunnel, tcp_flag};

/// Version of this layout; the first thing a reader checks.
pub const VERSION: u8 = 1;

/// The most payload bytes in one record from the kernel.
pub const MAX_BYTES: usize = 4096;

/// Bits of [`RecordHeader::flags`].
pub mod flag {
    /// The bytes begin where a TCP segment's payload began. The judge resynchronises only there.
    pub const SEGMENT_BEGINS: u16 = 1 << 0;
    /// The filter saw a message head begin at the first byte.
    pub const HEAD_BEGINS: u16 = 1 << 1;
    /// Shipped without framing: the direction was `Unsure`, below its floor, or its claim refused.
    pub const UNFILTERED: u16 = 1 << 2;
    /// The first byte is the first of the direction's stream (ISN + 1 of a SYN that was seen), or,
    /// with no bytes, `seq` is.
    pub const STREAM_BEGINS: u16 = 1 << 3;
    /// A SYN; `seq` is then that of the first payload byte (ISN + 1).
    pub const SYN: u16 = 1 << 4;
    /// The segment carried FIN, whose place is after the last byte (or skip) of this record.
    pub const FIN: u16 = 1 << 5;
    /// The segment carried RST.
    pub const RST: u16 = 1 << 6;
    /// `ack` is valid.
    pub const ACK: u16 = 1 << 7;
    /// Bytes that show a protocol which is not HTTP/1.x (TLS, the HTTP/2 preface); the filter has
    /// looked away from this connection.
    pub const OPAQUE: u16 = 1 << 8;
    /// The hook saw the segment leaving the host (egress); otherwise entering.
    pub const EGRESS: u16 = 1 << 9;
    /// Comes from the filter: bytes missing between records of this direction were body where
    /// declared and lost otherwise. Absent in a replay that ships every segment.
    pub const FILTERED: u16 = 1 << 10;
    /// Put together from pieces of an IP packet: before these shipped, the flow told what it had skipped.
    /// Set on the host.
    pub const IN_PIECES: u16 = 1 << 11;
    /// The bytes are a piece of an IP packet's payload, not of a stream: see
    /// [`super::FragmentHeader`].
    pub const FRAGMENT: u16 = 1 << 12;
    /// The same packet was seen at another place before, so that this is no retransmission. Set on the
    /// host.
    pub const SEEN_ELSEWHERE: u16 = 1 << 13;
    /// Framing was lost and is on trial, of which [`HEAD_BEGINS`] says whether by it a head begins
    /// with this segment. Nothing was skipped by it.
    pub const TRIAL: u16 = 1 << 14;
    /// The filter does not know which requests are outstanding: whether a body follows a head of this
    /// direction it took from the bytes after it ([`crate::framer::Phase::Peek`]).
    pub const ORDER_UNKNOWN: u16 = 1 << 15;
}

/// Set by the host in an interface's index that is another network namespace's: it must not get the
/// name of one here that has the same. The kernel's are positive as C's `int`.
pub const ELSEWHERE: u32 = 1 << 31;

/// Where a record was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Hook {
    /// A capture file.
    Capture = 0,
    /// TC, ingress or egress (TCX from 6.6, clsact below).
    Tc = 1,
    /// An AF_PACKET socket with an eBPF filter.
    SocketFilter = 2,
    /// cgroup_skb, ingress or egress.
    Cgroup = 3,
    /// XDP (ingress only).
    Xdp = 4,
}

impl Hook {
    /// The hook whose number is `n`.
    pub const fn from_number(n: u8) -> Option<Self> {
        Some(match n {
            0 => Hook::Capture,
            1 => Hook::Tc,
            2 => Hook::SocketFilter,
            3 => Hook::Cgroup,
            4 => Hook::Xdp,
            _ => return None,
        })
    }

    /// The name used on the command line and in events.
    pub const fn name(self) -> &'static str {
        match self {
            Hook::Capture => "capture",
            Hook::Tc => "tc",
            Hook::SocketFilter => "socket-filter",
            Hook::Cgroup => "cgroup",
            Hook::Xdp => "xdp",
        }
    }
}

/// The fixed part of a record; `len` payload bytes follow it directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RecordHeader {
    /// When the hook saw the segment, in ns: CLOCK_BOOTTIME from the kernel, Unix time in a replay.
    pub time_ns: u64,
    /// cgroup id of the socket, 0 when the hook does not know it.
    pub cgroup_id: u64,
    /// Socket cookie, 0 when the hook does not know it.
    pub socket_cookie: u64,
    /// Sender's address.
    pub src: Address,
    /// Receiver's address.
    pub dst: Address,
    /// As in [`FlowKey::netns`].
    pub netns: u32,
    /// Which use of the flow table's entry this is; a new connection on the same tuple has another.
    /// 0 where bytes shipped without it, since another CPU held it or they came in pieces; not where
    /// nothing is framed.
    pub generation: u32,
    /// Sequence number of the first byte; with no bytes, of where they would be.
    pub seq: u32,
    /// The segment's acknowledgement number, when [`flag::ACK`] is set.
    pub ack: u32,
    /// [`skip_from`, `seq`) was skipped as body; equal to `seq` when nothing was.
    pub skip_from: u32,
    /// [`seq + len`, `skip_to`) was skipped as body; equal to `seq + len` when nothing was.
    pub skip_to: u32,
    /// Number of payload bytes that follow.
    pub len: u32,
    /// The frame's length on the wire, in bytes.
    pub wire_len: u32,
    /// How many records this CPU had tried to ship before: a gap is a lost record.
    pub attempt: u32,
    /// Sender's TCP port, host order.
    pub src_port: u16,
    /// Receiver's TCP port, host order.
    pub dst_port: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Copies (retransmissions, or the same packet at another hook) of this direction since its
    /// last record, saturating.
    pub retransmissions: u16,
    /// The CPU that shipped the record.
    pub cpu: u16,
    /// [`VERSION`].
    pub version: u8,
    /// A [`Hook`] as its number.
    pub hook: u8,
    /// Interface indexes at which the flow was seen since its last record; 0 is none. The first is
    /// this segment's own.
    pub interfaces: [u32; 4],
    /// Sequence number where the trial began, with [`flag::TRIAL`].
    pub trial_from: u32,
    /// Number of the tags and tunnels that the segment was wrapped in, 0 for none. The host numbers
    /// them; a hook puts a [`Tunnel`] before the header.
    pub encap: u32,
}

/// Size of the header in bytes.
pub const HEADER_LEN: usize = size_of::<RecordHeader>();

const _: () = assert!(HEADER_LEN == 128);

impl RecordHeader {
    /// Of a segment of whose payload `len` bytes are there, from its first on; what is not in the
    /// segment is zero.
    pub fn of_segment(segment: &Segment, len: u32) -> Self {
        let (src, src_port) = segment.key.sender(segment.direction);
        let (dst, dst_port) = segment.key.sender(segment.direction.opposite());
        let seq = segment.payload_seq();
        let mut flags = 0;
        for (tcp, record) in [
            (tcp_flag::SYN, flag::SYN),
            (tcp_flag::FIN, flag::FIN),
            (tcp_flag::RST, flag::RST),
            (tcp_flag::ACK, flag::ACK),
        ] {
            if segment.flags & tcp != 0 {
                flags |= record;
            }
        }
        if len > 0 {
            flags |= flag::SEGMENT_BEGINS;
        }
        RecordHeader {
            src,
            dst,
            netns: segment.key.netns,
            seq,
            ack: segment.ack,
            skip_from: seq,
            skip_to: seq.wrapping_add(len),
            len,
            src_port,
            dst_port,
            flags,
            version: VERSION,
            ..RecordHeader::zeroed()
        }
    }

    /// The connection and the direction.
    #[inline(always)]
    pub fn key(&self) -> (FlowKey, Direction) {
        FlowKey::new(
            &self.src,
            self.src_port,
            &self.dst,
            self.dst_port,
            self.netns,
        )
    }

    /// The piece that a record with [`flag::FRAGMENT`] holds.
    pub fn fragment(&self) -> Fragment {
        let header: &FragmentHeader = bytemuck::cast_ref(self);
        header.fragment()
    }

    /// Whether all bits of `bits` are set.
    #[inline(always)]
    pub const fn has(&self, bits: u16) -> bool {
        self.flags & bits == bits
    }
}

/// The header of a record with [`flag::FRAGMENT`]. What a [`RecordHeader`] has too is at the same place.
///
/// [`flag::SEGMENT_BEGINS`] means that the piece begins, which may be several records;
/// [`flag::STREAM_BEGINS`] is about the segment in the packet. A record without bytes says that nobody
/// wants the packet of which this is the first piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FragmentHeader {
    /// As [`RecordHeader::time_ns`].
    pub time_ns: u64,
    /// As [`RecordHeader::cgroup_id`].
    pub cgroup_id: u64,
    /// As [`RecordHeader::socket_cookie`].
    pub socket_cookie: u64,
    /// The packet's sender.
    pub src: Address,
    /// The packet's receiver.
    pub dst: Address,
    /// As in [`FlowKey::netns`].
    pub netns: u32,
    /// 0: no flow is known.
    pub generation: u32,
    /// The packet's identification.
    pub identification: u32,
    /// The payload's protocol.
    pub protocol: u8,
    /// 1 when pieces follow.
    pub more: u8,
    /// 1 of an IPv6 packet, 0 of an IPv4 one.
    pub v6: u8,
    /// 0.
    pub pad: u8,
    /// Place of the bytes in the packet's payload.
    pub offset: u32,
    /// Place of the byte after them.
    pub end: u32,
    /// Number of bytes that follow.
    pub len: u32,
    /// As [`RecordHeader::wire_len`].
    pub wire_len: u32,
    /// As [`RecordHeader::attempt`].
    pub attempt: u32,
    /// 0: the ports are in the payload.
    pub ports: [u16; 2],
    /// Bits of [`flag`].
    pub flags: u16,
    /// 0.
    pub retransmissions: u16,
    /// As [`RecordHeader::cpu`].
    pub cpu: u16,
    /// [`VERSION`].
    pub version: u8,
    /// A [`Hook`] as its number.
    pub hook: u8,
    /// As [`RecordHeader::interfaces`].
    pub interfaces: [u32; 4],
    /// 0.
    pub rest: [u32; 2],
}

const _: () = assert!(size_of::<FragmentHeader>() == HEADER_LEN);

impl FragmentHeader {
    /// What it says of the piece.
    pub const fn fragment(&self) -> Fragment {
        let v6 = self.v6 != 0;
        Fragment {
            id: FragmentId {
                src: self.src,
                dst: self.dst,
                identification: self.identification,
                protocol: if v6 { 0 } else { self.protocol },
                version: if v6 { 6 } else { 4 },
            },
            protocol: self.protocol,
            offset: self.offset,
            data_offset: 0,
            data_len: self.len,
            more: self.more != 0,
        }
    }
}

/// One record: its header and its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The tunnel that a hook found the segment in; see [`RecordHeader::encap`].
    pub tunnel: Option<&'a Tunnel>,
    /// The fixed part.
    pub header: &'a RecordHeader,
    /// The payload bytes, `header.len` of them.
    pub bytes: &'a [u8],
}

/// Why a buffer is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its header, or than the header says.
    Short,
    /// Written by another version of the program.
    Version(u8),
}

impl<'a> Record<'a> {
    /// Reads a record as the ring buffer hands it over (8-byte aligned).
    pub fn parse(buffer: &'a [u8]) -> Result<Self, Malformed> {
        let (tunnel, buffer) = match buffer.split_at_checked(TUNNEL_LEN) {
            Some((tunnel, rest)) if buffer.first_chunk().is_some_and(begins_with_tunnel) => {
                let tunnel = bytemuck::try_from_bytes(tunnel).map_err(|_| Malformed::Short)?;
                (Some(tunnel), rest)
            }
            _ => (None, buffer),
        };
        let (head, rest) = buffer
            .split_at_checked(HEADER_LEN)
            .ok_or(Malformed::Short)?;
        let header: &RecordHeader = bytemuck::try_from_bytes(head).map_err(|_| Malformed::Short)?;
        if header.version != VERSION {
            return Err(Malformed::Version(header.version));
        }
        let bytes = rest.get(..header.len as usize).ok_or(Malformed::Short)?;
        Ok(Record {
            tunnel,
            header,
            bytes,
        })
    }
}

/// Whether what begins with this word is a tunnel, and not a header with its time.
fn begins_with_tunnel(word: &[u8; 8]) -> bool {
    u64::from_ne_bytes(*word) & Tunnel::MARK != 0
}

#[cfg(test)]
mod tests {
    use super::{FragmentHeader, RecordHeader};

    #[test]
    fn a_fragments_header_has_what_both_have_at_the_same_place() {
        macro_rules! same {
            ($($field:ident)*) => {
                $(assert_eq!(
                    core::mem::offset_of!(FragmentHeader, $field),
                    core::mem::offset_of!(RecordHeader, $field),
                    stringify!($field)
                );)*
            };
        }
        same!(time_ns cgroup_id socket_cookie src dst netns generation len wire_len attempt flags);
        same!(retransmissions cpu version hook interfaces);
    }
}
