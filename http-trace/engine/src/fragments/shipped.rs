//! Reassembles fragments that the programs in the kernel shipped, into the records that they would have
//! shipped of the whole packets. Must not frame payload.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;

use http_trace_common::record::{Record, RecordHeader, flag};
use http_trace_common::walk::{
    Encap, FragmentId, LayerKind, Segment, Skip, Tunnel, WalkOptions, tcp_flag,
};
use lru::LruCache;

use super::{FragmentCounts, FragmentOrigin, Fragments, Whole};
use crate::origin::CapturePoint;

/// How long a packet waits for its fragments, ns. Identifications are reused, the sooner the faster the
/// sender is.
pub const PATIENCE_NS: u64 = 1_000_000_000;

/// Limit of completed packets that are remembered to recognise their copies at other points.
const MOST_MET: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Incomplete packets, by the point where their fragments were seen.
#[derive(Debug)]
pub struct Shipped {
    fragments: Fragments,
    options: WalkOptions,
    /// The packet of the current record.
    whole: Option<Whole>,
    header: Option<RecordHeader>,
    bytes: std::ops::Range<usize>,
    bad_checksums: u64,
    met: Met,
    /// Losses as last reported.
    reported: [u64; 3],
}

impl Default for Shipped {
    fn default() -> Self {
        Shipped::new(0)
    }
}

impl Shipped {
    /// `decap` selects the tunnels that the programs look into, bits of [`http_trace_common::config::decap`].
    pub fn new(decap: u32) -> Self {
        Shipped {
            fragments: Fragments::default(),
            options: WalkOptions {
                // Verified only here: whoever fragments a packet, or sends the fragments, has computed
                // the checksums, and fragments of two packets with one identification must not be joined
                // (RFC 4963).
                verify_checksums: true,
                tunnels: Some(decap),
            },
            whole: None,
            header: None,
            bytes: 0..0,
            bad_checksums: 0,
            met: Met::default(),
            reported: [0; 3],
        }
    }

    /// Takes a record with [`flag::FRAGMENT`]. If it completes a packet, returns the record of the
    /// packet's segment, as it would have shipped from a connection that is not framed. `number` assigns
    /// numbers to the segment's tunnels.
    pub fn push(
        &mut self,
        record: &Record<'_>,
        number: impl FnOnce(&Encap) -> u32,
    ) -> Option<Record<'_>> {
        let header = record.header;
        let piece = header.fragment();
        let seen = FragmentOrigin {
            encap: &record.tunnel.map(Tunnel::encap).unwrap_or_default(),
            time_ns: header.time_ns,
            point: CapturePoint::of(header),
            stream_begins: header.has(flag::STREAM_BEGINS),
            patience_ns: PATIENCE_NS,
            continues: !header.has(flag::SEGMENT_BEGINS),
        };
        self.expire(header.time_ns);
        if record.bytes.is_empty() {
            self.fragments.refuse(piece.id, &seen);
            return None;
        }
        let (whole, found) = self.fragments.walk(&piece, record.bytes, &seen, self.options)?;
        let (segment, encap) = match found {
            Ok(found) => found,
            Err(skip) => {
                self.bad_checksums += u64::from(skip == Skip::BadChecksum);
                return None;
            }
        };
        if segment.is_refused() {
            return None;
        }
        let begin = segment.payload_offset as usize;
        let end = begin.checked_add(segment.payload_len as usize)?;
        let len = whole.payload.get(begin..end)?.len() as u32;
        let mut of_segment = of_segment(header, &segment, len, whole.stream_begins);
        of_segment.encap = number(&encap);
        if record.tunnel.is_none_or(|tunnel| tunnel.what & Tunnel::VLAN != 0)
            && let Some(which) = self.options.tunnels
            && let Some(vxlan) = encap.layers().iter().find(|l| l.kind == LayerKind::Vxlan)
        {
            // The fragments were of the outer packet: the network's number is known only now.
            let what = Tunnel::VXLAN | u64::from(vxlan.id);
            of_segment.netns = Tunnel::netns(what, header.netns, which);
        }
        if self.met.elsewhere(&whole, seen.point, header.time_ns) {
            of_segment.flags |= flag::SEEN_ELSEWHERE;
        }
        self.bytes = begin..end;
        let header = self.header.insert(of_segment);
        let whole = self.whole.insert(whole);
        Some(Record { tunnel: None, header, bytes: whole.payload.get(self.bytes.clone())? })
    }

    /// Drops packets that have waited for too long.
    pub fn expire(&mut self, now_ns: u64) {
        self.fragments.expire(now_ns, PATIENCE_NS);
    }

    /// Packets lost since the last call, by reason: those that could not be reassembled and may have
    /// contained a message.
    pub fn losses(&mut self) -> [(&'static str, u64); 3] {
        const REASONS: [&str; 3] =
            ["fragments_incomplete", "fragments_displaced", "fragments_bad_checksum"];
        let counts = self.fragments.decided();
        let now = [counts.given_up, counts.displaced, self.bad_checksums];
        let last = std::mem::replace(&mut self.reported, now);
        std::array::from_fn(|at| (REASONS[at], now[at] - last[at]))
    }

    pub fn counts(&self) -> FragmentCounts {
        self.fragments.counts()
    }

    /// Packets whose fragments did not belong together, or were damaged on the way.
    pub const fn bad_checksums(&self) -> u64 {
        self.bad_checksums
    }
}

/// Completed packets: one that is completed at another point shortly after was sent only once.
#[derive(Debug)]
struct Met {
    packets: LruCache<FragmentId, Meeting>,
    hasher: foldhash::quality::RandomState,
}

impl Default for Met {
    fn default() -> Self {
        Met { packets: LruCache::sparse(MOST_MET), hasher: Default::default() }
    }
}

/// Where a packet was completed first, and a hash of its payload.
#[derive(Debug)]
struct Meeting {
    point: CapturePoint,
    payload: u64,
    time_ns: u64,
}

impl Met {
    /// Whether the packet was seen at another point before; remembers it if it was not seen before.
    fn elsewhere(&mut self, whole: &Whole, point: CapturePoint, time_ns: u64) -> bool {
        let payload = self.hasher.hash_one(&whole.payload);
        if let Some(met) = self.packets.peek(&whole.id)
            && met.payload == payload
            && time_ns.saturating_sub(met.time_ns) <= PATIENCE_NS
        {
            return met.point != point;
        }
        self.packets.put(whole.id, Meeting { point, payload, time_ns });
        false
    }
}

/// The header for the segment of a packet that was completed by the record with `header`.
fn of_segment(
    header: &RecordHeader,
    segment: &Segment,
    len: u32,
    stream_begins: bool,
) -> RecordHeader {
    let of_segment = RecordHeader::of_segment(segment, len);
    let mut flags = flag::FILTERED | flag::UNFILTERED | flag::IN_PIECES;
    flags |= header.flags & flag::EGRESS;
    // SYNs have records of their own; data in a SYN is the stream's first.
    flags |= of_segment.flags & !flag::SYN;
    if len > 0 && (stream_begins || segment.flags & tcp_flag::SYN != 0) {
        flags |= flag::STREAM_BEGINS;
    }
    RecordHeader {
        time_ns: header.time_ns,
        cgroup_id: header.cgroup_id,
        socket_cookie: header.socket_cookie,
        netns: header.netns,
        wire_len: header.wire_len,
        attempt: header.attempt,
        flags,
        cpu: header.cpu,
        version: header.version,
        hook: header.hook,
        interfaces: header.interfaces,
        ..of_segment
    }
}
