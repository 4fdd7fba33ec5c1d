//! Pieces of IP packets that the programs in the kernel shipped, put together to what they would
//! have shipped of the whole packet.

use bytemuck::Zeroable;
use http_trace_common::record::{Record, RecordHeader, flag};
use http_trace_common::walk::{Encap, Segment, Skip, Tunnel, WalkOptions, tcp_flag};

use super::{FragmentCounts, Fragments, Place, Seen, Whole};

/// Checksums are verified here and not elsewhere: who cuts a packet into pieces, or sends the
/// pieces, has computed them, and two packets of one identification must not become one (RFC 4963).
const OPTIONS: WalkOptions = WalkOptions {
    verify_checksums: true,
};

/// How long a packet waits for its pieces, ns. The programs keep back the first pieces of what is no
/// HTTP, and what is left of those packets must not meet the next of the same identification.
const PATIENCE_NS: u64 = 1_000_000_000;

/// Packets in the making, by where their pieces were seen.
#[derive(Debug, Default)]
pub struct Shipped {
    fragments: Fragments,
    /// The packet of the record at hand.
    whole: Option<Whole>,
    header: Option<RecordHeader>,
    bytes: std::ops::Range<usize>,
    bad_checksums: u64,
}

impl Shipped {
    /// Takes a record with [`flag::FRAGMENT`]; the record of the segment in the packet that it made
    /// whole, as it would have shipped from a connection that is not framed. `number` numbers the
    /// tunnels that the segment was in.
    pub fn push(
        &mut self,
        record: &Record<'_>,
        number: impl FnOnce(&Encap) -> u32,
    ) -> Option<Record<'_>> {
        let header = record.header;
        let seen = Seen {
            encap: &record.tunnel.map(Tunnel::encap).unwrap_or_default(),
            time_ns: header.time_ns,
            place: Place::of(header),
            stream_begins: header.has(flag::STREAM_BEGINS),
            patience_ns: PATIENCE_NS,
        };
        let (whole, found) =
            self.fragments
                .walk(&header.fragment(), record.bytes, &seen, OPTIONS)?;
        let (segment, encap) = match found {
            Ok(found) => found,
            Err(skip) => {
                self.bad_checksums += u64::from(skip == Skip::BadChecksum);
                return None;
            }
        };
        let begin = segment.payload_offset as usize;
        let bytes = whole
            .payload
            .get(begin..)
            .and_then(|rest| rest.get(..segment.payload_len as usize))?;
        self.bytes = begin..begin + bytes.len();
        let header = self.header.insert(of_segment(
            header,
            &segment,
            bytes.len() as u32,
            whole.stream_begins,
        ));
        header.reserved[0] = number(&encap);
        let whole = self.whole.insert(whole);
        Some(Record {
            tunnel: None,
            header,
            bytes: whole.payload.get(self.bytes.clone())?,
        })
    }

    /// What became of the pieces.
    pub fn counts(&self) -> FragmentCounts {
        self.fragments.counts()
    }

    /// Packets whose pieces were not of one packet, or were damaged on the way.
    pub const fn bad_checksums(&self) -> u64 {
        self.bad_checksums
    }
}

/// The header of the segment in a packet whose last piece to come was that of `header`.
fn of_segment(
    header: &RecordHeader,
    segment: &Segment,
    len: u32,
    stream_begins: bool,
) -> RecordHeader {
    let (src, src_port) = segment.key.sender(segment.direction);
    let (dst, dst_port) = segment.key.sender(segment.direction.opposite());
    let seq = segment.payload_seq();
    let mut flags = flag::FILTERED | flag::UNFILTERED | header.flags & flag::EGRESS;
    for (tcp, record) in [
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
        if stream_begins || segment.flags & tcp_flag::SYN != 0 {
            flags |= flag::STREAM_BEGINS;
        }
    }
    RecordHeader {
        time_ns: header.time_ns,
        cgroup_id: header.cgroup_id,
        socket_cookie: header.socket_cookie,
        src,
        dst,
        netns: header.netns,
        seq,
        ack: segment.ack,
        skip_from: seq,
        skip_to: seq.wrapping_add(len),
        len,
        wire_len: header.wire_len,
        attempt: header.attempt,
        src_port,
        dst_port,
        flags,
        cpu: header.cpu,
        version: header.version,
        hook: header.hook,
        interfaces: header.interfaces,
        ..RecordHeader::zeroed()
    }
}
