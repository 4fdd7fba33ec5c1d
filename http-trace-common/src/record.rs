//! The layout in which bytes travel from a hook, or from a capture, to the judge.
//!
//! There is one kind of record: a fixed header and up to [`MAX_BYTES`] bytes (more in a replay without
//! the filter). The bytes are TCP payload of one direction, contiguous from `seq`. A record also declares
//! what was *skipped as body* around its bytes: [`skip_from`, `seq`) before them and [`seq + len`,
//! `skip_to`) after them. Bytes missing before `skip_from` were lost. The exception is a record that
//! shipped without its flow: it cannot declare what was skipped, so body may be missing before it.
//!
//! If the hook looked into a tunnel, a [`Tunnel`] precedes the header.

use bytemuck::{Pod, Zeroable};

use crate::flow::{Address, Direction, FlowKey};
use crate::walk::{Fragment, FragmentId, Segment, TUNNEL_LEN, Tunnel, tcp_flag};

/// Version of this layout; readers check it first.
pub const VERSION: u8 = 1;

/// Maximum number of payload bytes in one record from the kernel.
pub const MAX_BYTES: usize = 4096;

/// Bits of [`RecordHeader::flags`].
pub mod flag {
    /// The bytes begin where the payload of a TCP segment began. The judge resynchronises only there.
    pub const SEGMENT_BEGINS: u16 = 1 << 0;
    /// The filter saw a message head begin at the first byte.
    pub const HEAD_BEGINS: u16 = 1 << 1;
    /// Shipped without framing: the direction was `Unsure`, the bytes were below its floor, or claiming
    /// the flow was refused.
    pub const UNFILTERED: u16 = 1 << 2;
    /// The first byte is the first of the direction's stream (ISN + 1 of a SYN that was seen). Without
    /// bytes, this is said of `seq`.
    pub const STREAM_BEGINS: u16 = 1 << 3;
    /// A SYN; `seq` is then that of the first payload byte (ISN + 1). Without [`ACK`], a filter ships it if nothing
    /// that it saw has answered it.
    pub const SYN: u16 = 1 << 4;
    /// The segment carried FIN, which comes after the last byte (or skip) of this record.
    pub const FIN: u16 = 1 << 5;
    /// The segment carried RST.
    pub const RST: u16 = 1 << 6;
    /// `ack` is valid.
    pub const ACK: u16 = 1 << 7;
    /// The bytes show a protocol other than HTTP/1.x (TLS, the HTTP/2 preface); the filter does not
    /// follow this connection.
    pub const OPAQUE: u16 = 1 << 8;
    /// The hook saw the segment leave the host (egress); otherwise enter it.
    pub const EGRESS: u16 = 1 << 9;
    /// The record comes from the filter: bytes missing between records of this direction were body where
    /// declared, and lost otherwise. Not set in a replay that ships every segment.
    pub const FILTERED: u16 = 1 << 10;
    /// Reassembled from IP fragments; the flow declared what it had skipped before they shipped. Set on
    /// the host.
    pub const IN_PIECES: u16 = 1 << 11;
    /// The bytes are an IP fragment's, not those of a stream: see [`super::FragmentHeader`].
    pub const FRAGMENT: u16 = 1 << 12;
    /// The same packet was already seen elsewhere, so this is not a retransmission. Set on the host.
    pub const SEEN_ELSEWHERE: u16 = 1 << 13;
    /// Framing was lost and is on trial. [`HEAD_BEGINS`] then says whether a head begins with this
    /// segment according to the trial. Nothing was skipped because of it.
    pub const TRIAL: u16 = 1 << 14;
    /// The filter does not know which requests are outstanding: it decided from the following bytes
    /// whether a head of this direction has a body ([`crate::framer::Phase::Peek`]).
    pub const ORDER_UNKNOWN: u16 = 1 << 15;
}

/// Set by the host in an interface index of another network namespace, which must not get the name of the
/// local interface with the same index. Indexes from the kernel are positive as C `int`.
pub const ELSEWHERE: u32 = 1 << 31;

crate::named_enum! {
    /// The hook that took a record.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    #[repr(u8)]
    pub enum Hook {
        /// A capture file.
        #[default]
        Capture = "capture",
        /// TC, ingress or egress (TCX from 6.6, clsact below).
        Tc = "tc",
        /// An AF_PACKET socket with an eBPF filter.
        SocketFilter = "socket-filter",
        /// cgroup_skb, ingress or egress.
        Cgroup = "cgroup",
        /// XDP (ingress only).
        Xdp = "xdp",
    }
}

impl Hook {
    /// The hook with number `n`.
    pub const fn from_number(n: u8) -> Option<Self> {
        if (n as usize) < Hook::ALL.len() { Some(Hook::ALL[n as usize]) } else { None }
    }
}

/// The fixed part of a record; `len` payload bytes follow it directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct RecordHeader {
    /// When the hook saw the segment, in ns: CLOCK_BOOTTIME from the kernel, Unix time in a replay.
    pub time_ns: u64,
    /// cgroup id of the socket, 0 if the hook does not know it.
    pub cgroup_id: u64,
    /// Socket cookie, 0 if the hook does not know it.
    pub socket_cookie: u64,
    /// Address of the sender.
    pub src: Address,
    /// Address of the receiver.
    pub dst: Address,
    /// As in [`FlowKey::netns`].
    pub netns: u32,
    /// Identifies this use of the flow-table entry; a new connection on the same tuple has another value.
    /// 0 if the bytes shipped without the flow, because another CPU held it or because they came in
    /// fragments (but not if nothing is framed).
    pub generation: u32,
    /// Sequence number of the first byte, or the position of a record without bytes.
    pub seq: u32,
    /// The acknowledgement number of the segment, if [`flag::ACK`] is set.
    pub ack: u32,
    /// [`skip_from`, `seq`) was skipped as body; equal to `seq` if nothing was.
    pub skip_from: u32,
    /// [`seq + len`, `skip_to`) was skipped as body; equal to `seq + len` if nothing was. Without [`flag::FILTERED`], a
    /// snap length has cut it.
    pub skip_to: u32,
    /// Number of payload bytes that follow.
    pub len: u32,
    /// Length of the frame on the wire, in bytes.
    pub wire_len: u32,
    /// Number of earlier attempts of this CPU to ship a record: a jump means that a record was lost.
    pub attempt: u32,
    /// TCP port of the sender, host byte order.
    pub src_port: u16,
    /// TCP port of the receiver, host byte order.
    pub dst_port: u16,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Copies in this direction since its last record (retransmissions, or the same packet at another
    /// hook), saturating.
    pub retransmissions: u16,
    /// The CPU that shipped the record.
    pub cpu: u16,
    /// [`VERSION`].
    pub version: u8,
    /// The number of the [`Hook`].
    pub hook: u8,
    /// Interface indexes at which the flow was seen since its last record; 0 means none. The first is
    /// that of this segment.
    pub interfaces: [u32; 4],
    /// Sequence number at which the trial began, with [`flag::TRIAL`].
    pub trial_from: u32,
    /// Number that the host assigns to the tags and tunnels of the segment, 0 for none. A hook puts a
    /// [`Tunnel`] before the header instead.
    pub encap: u32,
}

/// Size of the header in bytes.
pub const HEADER_LEN: usize = size_of::<RecordHeader>();

const _: () = assert!(HEADER_LEN == 128);

impl RecordHeader {
    /// Header for a segment whose first `len` payload bytes are present. Fields that the segment does not
    /// determine are zero.
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
        FlowKey::new(&self.src, self.src_port, &self.dst, self.dst_port, self.netns)
    }

    /// The fragment in a record with [`flag::FRAGMENT`].
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

/// The header of a record with [`flag::FRAGMENT`]. Fields that it shares with [`RecordHeader`] have the
/// same offset.
///
/// [`flag::SEGMENT_BEGINS`] means that the fragment begins here; it may span several records.
/// [`flag::STREAM_BEGINS`] is about the segment in the packet. A record without bytes says that the
/// packet of which this is the first fragment is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct FragmentHeader {
    /// As [`RecordHeader::time_ns`].
    pub time_ns: u64,
    /// As [`RecordHeader::cgroup_id`].
    pub cgroup_id: u64,
    /// As [`RecordHeader::socket_cookie`].
    pub socket_cookie: u64,
    /// Sender of the packet.
    pub src: Address,
    /// Receiver of the packet.
    pub dst: Address,
    /// As in [`FlowKey::netns`].
    pub netns: u32,
    /// Always 0: no flow is known.
    pub generation: u32,
    /// Identification of the packet.
    pub identification: u32,
    /// Protocol of the payload.
    pub protocol: u8,
    /// 1 if more fragments follow.
    pub more: u8,
    /// 1 for IPv6, 0 for IPv4.
    pub v6: u8,
    /// Always 0.
    pub pad: u8,
    /// Offset of the bytes in the payload of the packet.
    pub offset: u32,
    /// End offset of the bytes (exclusive).
    pub end: u32,
    /// Number of bytes that follow.
    pub len: u32,
    /// As [`RecordHeader::wire_len`].
    pub wire_len: u32,
    /// As [`RecordHeader::attempt`].
    pub attempt: u32,
    /// Always 0: the ports are in the payload.
    pub ports: [u16; 2],
    /// Bits of [`flag`].
    pub flags: u16,
    /// Always 0.
    pub retransmissions: u16,
    /// As [`RecordHeader::cpu`].
    pub cpu: u16,
    /// [`VERSION`].
    pub version: u8,
    /// The number of the [`Hook`].
    pub hook: u8,
    /// As [`RecordHeader::interfaces`].
    pub interfaces: [u32; 4],
    /// Always 0.
    pub rest: [u32; 2],
}

const _: () = assert!(size_of::<FragmentHeader>() == HEADER_LEN);

impl FragmentHeader {
    /// The fragment that it describes.
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

/// Why a buffer is not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its header, or than the header says.
    Short,
    /// Written by another version of the program.
    Version(u8),
}

impl<'a> Record<'a> {
    /// Parses a record as the ring buffer delivers it (8-byte aligned).
    pub fn parse(buffer: &'a [u8]) -> Result<Self, Malformed> {
        let (tunnel, buffer) = match buffer.split_at_checked(TUNNEL_LEN) {
            Some((tunnel, rest)) if buffer.first_chunk().is_some_and(begins_with_tunnel) => {
                let tunnel = bytemuck::try_from_bytes(tunnel).map_err(|_| Malformed::Short)?;
                (Some(tunnel), rest)
            }
            _ => (None, buffer),
        };
        let (head, rest) = buffer.split_at_checked(HEADER_LEN).ok_or(Malformed::Short)?;
        let header: &RecordHeader = bytemuck::try_from_bytes(head).map_err(|_| Malformed::Short)?;
        if header.version != VERSION {
            return Err(Malformed::Version(header.version));
        }
        let bytes = rest.get(..header.len as usize).ok_or(Malformed::Short)?;
        Ok(Record { tunnel, header, bytes })
    }
}

/// Whether a record with this first word begins with a tunnel, and not with a header and its time.
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
