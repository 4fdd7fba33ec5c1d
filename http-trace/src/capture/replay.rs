//! Converts frames to records without the filter: one record per TCP segment, with or without payload, as on
//! the wire.

use std::path::PathBuf;
use std::sync::Arc;

use bytemuck::Zeroable;
use http_trace_common::record::{Hook, Record, RecordHeader, flag};
use http_trace_common::walk::{
    self, Encap, Found, LinkType, More, Segment, Skip, WalkOptions, tcp_flag,
};

use super::error::Problem;
use super::frames::{Frame, Frames};
use super::lanes::Lanes;
use super::link;
use super::sums::Sums;
use http_trace_engine::fragments::{FragmentCounts, FragmentOrigin, Fragments, PATIENCE_NS, Whole};
use http_trace_engine::origin::CapturePoint;

/// Maximum number of link types reported, over all files.
const MAX_REFUSED_LINKS: usize = 1000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Drop packets with a wrong IPv4 or TCP checksum.
    pub verify_checksums: bool,
}

/// Counts of frames, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    pub frames: u64,
    /// Frames that are earlier than the one before them in their file.
    pub backwards: u64,
    /// TCP segments found.
    pub segments: u64,
    /// Segments truncated by the snap length.
    pub cut_segments: u64,
    /// Payload bytes removed by the snap length.
    pub cut_bytes: u64,
    /// Frames (or packets of an aggregate, or reassembled packets) without a segment, by number of [`Skip`].
    pub skipped: [u64; Skip::ALL.len()],
    /// Segments dropped because a receiver would drop them: wrong checksum from a sender that fills it in, or
    /// no ACK.
    pub disproved: u64,
    /// Counters of IP fragments. Frames with a fragment are in none of the counts above.
    pub fragments: FragmentCounts,
}

impl ReplayCounts {
    /// Packets dropped for their checksum, if [`ReplayOptions::verify_checksums`] is set (the inner header of
    /// a tunnel that is only guessed is always verified).
    pub fn bad_checksums(&self) -> u64 {
        self.skipped[Skip::BadChecksum as usize]
    }

    /// Reasons that occurred, by name.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Skip::ALL
            .into_iter()
            .map(|skip| (skip.name(), self.skipped[skip as usize]))
            .filter(|(_, count)| *count > 0)
    }
}

/// The records of captures.
pub struct Replay {
    /// The frames, with their problems, interfaces and files.
    pub frames: Frames,
    options: WalkOptions,
    fragments: Fragments,
    /// The next packet of the current frame, if it aggregates several.
    more: Option<More>,
    /// The reassembled packet with the current record's bytes, if it was fragmented.
    whole: Option<Whole>,
    header: RecordHeader,
    /// Range of the current record's bytes in the frame, or in `whole`.
    bytes: std::ops::Range<usize>,
    /// Sequence number of a FIN after bytes that the snap length removed: it becomes a record of its own.
    pending_fin: Option<u32>,
    /// Tags and tunnels of the current record.
    encap: Encap,
    lanes: Lanes,
    sums: Sums,
    /// Whether a segment had a SYN, RST or ACK, as the first of every TCP has.
    flagged: bool,
    /// Link types already reported, by file.
    refused_links: Vec<(Arc<str>, LinkType)>,
    counts: ReplayCounts,
}

impl Replay {
    /// Reads files, folders and `-`. Errors are in [`Frames::problems`].
    pub fn open(paths: &[PathBuf], options: ReplayOptions) -> Self {
        Replay::new(Frames::open(paths), options)
    }

    pub fn new(frames: Frames, options: ReplayOptions) -> Self {
        Replay {
            frames,
            options: WalkOptions { verify_checksums: options.verify_checksums, tunnels: None },
            fragments: Fragments::default(),
            more: None,
            whole: None,
            header: RecordHeader::zeroed(),
            bytes: 0..0,
            pending_fin: None,
            encap: Encap::default(),
            lanes: Lanes::default(),
            sums: Sums::default(),
            flagged: false,
            refused_links: Vec::new(),
            counts: ReplayCounts::default(),
        }
    }

    /// The next record; `None` at the end of all captures. Blocks on a pipe until a whole frame with a TCP
    /// segment has arrived.
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        if self.advance() { Some(self.current()) } else { None }
    }

    /// Moves to the next record; `false` at the end. Blocks like [`Replay::next_record`].
    pub fn advance(&mut self) -> bool {
        if let Some(seq) = self.pending_fin.take() {
            self.header.flags = self.header.flags & (flag::ACK | flag::RST) | flag::FIN;
            (self.header.seq, self.header.skip_from, self.header.skip_to) = (seq, seq, seq);
            self.header.len = 0;
            self.bytes = 0..0;
            return true;
        }
        while self.more.is_some() || self.frames.advance() {
            if self.take_packet() {
                return true;
            }
        }
        false
    }

    /// The current record, after [`Replay::advance`].
    pub fn current(&self) -> Record<'_> {
        let bytes = match &self.whole {
            Some(whole) => whole.payload.as_slice(),
            None => self.frames.current().map_or(&[][..], |frame| frame.data),
        };
        Record {
            tunnel: None,
            header: &self.header,
            bytes: bytes.get(self.bytes.clone()).unwrap_or_default(),
        }
    }

    /// Parses the current frame, or its next packet; returns whether it yields a record.
    fn take_packet(&mut self) -> bool {
        self.whole = None;
        let Some(frame) = self.frames.current() else {
            self.more = None;
            return false;
        };
        let found = match walk::packet(
            frame.data, frame.wire_len, frame.link, self.options, &mut self.more,
        ) {
            Ok((Found::Segment(segment), encap)) => Ok((segment, encap)),
            Ok((Found::Fragment(piece), encap)) => {
                let seen = FragmentOrigin {
                    encap: &encap,
                    time_ns: frame.time_ns,
                    point: CapturePoint::of_capture(),
                    stream_begins: false,
                    patience_ns: PATIENCE_NS,
                    continues: false,
                };
                let walked = self.fragments.walk(&piece, frame.data, &seen, self.options);
                let Some((whole, found)) = walked else { return false };
                self.whole = Some(whole);
                found
            }
            Err(skip) => Err(skip),
        };
        match found {
            Ok((mut segment, encap)) => {
                let packet = match &self.whole {
                    Some(whole) => whole.payload.as_slice(),
                    None => frame.data,
                };
                self.flagged |= !segment.is_refused();
                if !self.flagged {
                    // No TCP sent it: tools that make packets of a text set no flags (text2pcap).
                    segment.flags |= tcp_flag::ACK;
                }
                if segment.is_refused() || self.sums.disprove(packet, &segment) {
                    self.counts.disproved += 1;
                    return false;
                }
                self.header = header(&frame, &segment, packet.len());
                self.encap = encap;
                let begin = segment.payload_offset as usize;
                self.bytes = begin..begin + self.header.len as usize;
                let payload = packet.get(self.bytes.clone()).unwrap_or_default();
                let place = self.lanes.place(&segment, payload, &encap, frame.interface);
                self.header.netns = place.lane;
                if place.stream_begins {
                    self.header.flags |= flag::STREAM_BEGINS;
                }
                self.counts.segments += 1;
                let cut = segment.payload_len - self.header.len;
                if cut > 0 {
                    self.counts.cut_segments += 1;
                    self.counts.cut_bytes += u64::from(cut);
                    self.hold_back_fin(segment.payload_len);
                }
                true
            }
            Err(skip) => {
                self.counts.skipped[skip as usize] += 1;
                if skip == Skip::LinkType {
                    let link = frame.link;
                    self.refuse(link);
                }
                false
            }
        }
    }

    /// Moves a FIN after the segment's whole payload, which is longer than the captured bytes.
    fn hold_back_fin(&mut self, payload_len: u32) {
        if self.header.has(flag::FIN) {
            self.header.flags &= !flag::FIN;
            self.pending_fin = Some(self.header.seq.wrapping_add(payload_len));
        }
    }

    /// Reports an unsupported link type once per file.
    fn refuse(&mut self, link: LinkType) {
        let Some(file) = self.frames.current_file() else { return };
        let told = |(f, l): &(Arc<str>, LinkType)| *f == file && *l == link;
        if self.refused_links.len() < MAX_REFUSED_LINKS && !self.refused_links.iter().any(told) {
            self.refused_links.push((file, link));
            self.frames
                .report_current(Problem::LinkType { number: link.0, name: link::name(link) });
        }
    }

    /// Tags and tunnels of the current record, whose [`RecordHeader::encap`] is 0.
    pub fn encap(&self) -> &Encap {
        &self.encap
    }

    /// What the frames held.
    pub fn counts(&self) -> ReplayCounts {
        let Frames { delivered, backwards, .. } = self.frames;
        ReplayCounts {
            frames: delivered,
            backwards,
            fragments: self.fragments.counts(),
            ..self.counts
        }
    }
}

/// The record header of a segment; `captured` bytes of its packet are available.
fn header(frame: &Frame<'_>, segment: &Segment, captured: usize) -> RecordHeader {
    let there = captured.saturating_sub(segment.payload_offset as usize);
    let len = (segment.payload_len as usize).min(there) as u32;
    RecordHeader {
        time_ns: frame.time_ns,
        wire_len: frame.wire_len,
        hook: Hook::Capture as u8,
        interfaces: [frame.interface, 0, 0, 0],
        skip_to: segment.payload_seq().wrapping_add(segment.payload_len),
        ..RecordHeader::of_segment(segment, len)
    }
}
