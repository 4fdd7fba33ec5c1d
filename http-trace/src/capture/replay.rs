//! Frames to records, without the filter: one record per TCP segment, payload or not, as the judge
//! takes them from the wire.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytemuck::Zeroable;
use http_trace_common::record::{Hook, Record, RecordHeader, flag};
use http_trace_common::walk::{self, Encap, Found, LinkType, More, Segment, Skip, WalkOptions};

use super::error::{CaptureError, Problem};
use super::frames::{Frame, Frames};
use super::lanes::Lanes;
use super::link;
use super::sums::Sums;
use http_trace_engine::fragments::{FragmentCounts, Fragments, PATIENCE_NS, Seen, Whole};
use http_trace_engine::origin::CapturePoint;

/// The most link types, over all files, that are told of one by one.
const MAX_REFUSED_LINKS: usize = 1000;

/// The most distinct encapsulations that get a number.
const MAX_ENCAPS: usize = 1 << 16;

/// How a replay reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Refuse packets whose IPv4 or TCP checksum is wrong.
    pub verify_checksums: bool,
}

/// What frames held, for the summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayCounts {
    /// Frames read.
    pub frames: u64,
    /// Bytes captured of them.
    pub frame_bytes: u64,
    /// TCP segments found.
    pub segments: u64,
    /// Segments cut by a snap length.
    pub cut_segments: u64,
    /// Payload bytes that the snap length cut off.
    pub cut_bytes: u64,
    /// Frames (or packets of an aggregate, or put together from fragments) without a segment, by [`Skip::index`].
    pub skipped: [u64; Skip::ALL.len()],
    /// Segments left out that nobody takes: for their checksum, which their sender fills in, or without ACK.
    pub disproved: u64,
    /// What became of IP fragments. A frame that held one is in none of the counts above.
    pub fragments: FragmentCounts,
}

impl ReplayCounts {
    /// Packets passed over for their checksum, which [`ReplayOptions::verify_checksums`] asks for
    /// (a tunnel that is only guessed must prove its inner header's in any case).
    pub fn bad_checksums(&self) -> u64 {
        let count = self.skipped.get(Skip::BadChecksum.index());
        count.copied().unwrap_or(0)
    }

    /// The reasons that occurred, by name.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Skip::ALL
            .into_iter()
            .map(|skip| {
                (
                    skip.name(),
                    self.skipped.get(skip.index()).copied().unwrap_or(0),
                )
            })
            .filter(|(_, count)| *count > 0)
    }
}

/// The records of captures.
#[derive(Debug)]
pub struct Replay {
    frames: Frames,
    options: WalkOptions,
    fragments: Fragments,
    /// The next packet of the current frame, when it aggregates several.
    more: Option<More>,
    /// The packet that the current record's bytes are of, when it came in fragments.
    whole: Option<Whole>,
    header: RecordHeader,
    /// Where the current record's bytes are in the frame, or in `whole`.
    bytes: std::ops::Range<usize>,
    /// Sequence number of a FIN whose place is after bytes that the snap length cut off: a record
    /// of its own.
    pending_fin: Option<u32>,
    encaps: Encaps,
    lanes: Lanes,
    sums: Sums,
    /// Link types that were told of, by file.
    refused_links: Vec<(Arc<str>, LinkType)>,
    counts: ReplayCounts,
}

impl Replay {
    /// Over files, folders and `-`. What cannot be read is told by [`Replay::problems`].
    pub fn open(paths: &[PathBuf], options: ReplayOptions) -> Self {
        Replay::new(Frames::open(paths), options)
    }

    /// Over frames.
    pub fn new(frames: Frames, options: ReplayOptions) -> Self {
        Replay {
            frames,
            options: WalkOptions {
                verify_checksums: options.verify_checksums,
                tunnels: None,
            },
            fragments: Fragments::default(),
            more: None,
            whole: None,
            header: RecordHeader::zeroed(),
            bytes: 0..0,
            pending_fin: None,
            encaps: Encaps::default(),
            lanes: Lanes::default(),
            sums: Sums::default(),
            refused_links: Vec::new(),
            counts: ReplayCounts::default(),
        }
    }

    /// The next record; `None` at the end of all captures. Blocks on a pipe until a whole frame
    /// with a TCP segment has come.
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        if self.advance() {
            Some(self.current())
        } else {
            None
        }
    }

    /// Goes to the next record; whether there is one. Blocks as [`Replay::next_record`] does.
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

    /// The record that [`Replay::advance`] went to.
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

    /// Walks the current frame, or its next packet; whether there is a record now.
    fn take_packet(&mut self) -> bool {
        self.whole = None;
        let Some(frame) = self.frames.current() else {
            self.more = None;
            return false;
        };
        let found = match walk::packet(
            frame.data,
            frame.wire_len,
            frame.link,
            self.options,
            &mut self.more,
        ) {
            Ok((Found::Segment(segment), encap)) => Ok((segment, encap)),
            Ok((Found::Fragment(piece), encap)) => {
                let seen = Seen {
                    encap: &encap,
                    time_ns: frame.time_ns,
                    point: CapturePoint::of_capture(),
                    stream_begins: false,
                    patience_ns: PATIENCE_NS,
                    goes_on: false,
                };
                let walked = self.fragments.walk(&piece, frame.data, &seen, self.options);
                let Some((whole, found)) = walked else {
                    return false;
                };
                self.whole = Some(whole);
                found
            }
            Err(skip) => Err(skip),
        };
        match found {
            Ok((segment, encap)) => {
                let packet = match &self.whole {
                    Some(whole) => whole.payload.as_slice(),
                    None => frame.data,
                };
                if segment.is_refused() || self.sums.disprove(packet, &segment) {
                    self.counts.disproved += 1;
                    return false;
                }
                self.header = header(&frame, &segment, packet.len());
                self.header.encap = self.encaps.number(&encap);
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
                if let Some(count) = self.counts.skipped.get_mut(skip.index()) {
                    *count += 1;
                }
                if skip == Skip::LinkType {
                    let link = frame.link;
                    self.refuse(link);
                }
                false
            }
        }
    }

    /// A FIN belongs after all of the segment's payload, which is further than its captured bytes.
    fn hold_back_fin(&mut self, payload_len: u32) {
        if self.header.has(flag::FIN) {
            self.header.flags &= !flag::FIN;
            self.pending_fin = Some(self.header.seq.wrapping_add(payload_len));
        }
    }

    /// Tells once per file of a link type that is not known.
    fn refuse(&mut self, link: LinkType) {
        let Some(file) = self.frames.current_file() else {
            return;
        };
        let told = |(f, l): &(Arc<str>, LinkType)| *f == file && *l == link;
        if self.refused_links.len() < MAX_REFUSED_LINKS && !self.refused_links.iter().any(told) {
            self.refused_links.push((file, link));
            self.frames.report_current(Problem::LinkType {
                number: link.0,
                name: link::name(link),
            });
        }
    }

    /// The name behind a number in [`RecordHeader::interfaces`].
    pub fn interface_name(&self, number: u32) -> Option<&Arc<str>> {
        self.frames.interface_name(number)
    }

    /// The tags and tunnels behind a number of [`RecordHeader::encap`].
    pub fn encap(&self, number: u32) -> Option<&Encap> {
        self.encaps.by_number.get(number.checked_sub(1)? as usize)
    }

    /// What was wrong with the captures, in the order it was met.
    pub fn problems(&self) -> &[CaptureError] {
        self.frames.problems()
    }

    /// Takes the problems met so far, so that they can be told while reading goes on.
    pub fn take_problems(&mut self) -> Vec<CaptureError> {
        self.frames.take_problems()
    }

    /// Files in folders that are no captures.
    pub fn skipped_files(&self) -> &[PathBuf] {
        self.frames.skipped()
    }

    /// Bytes of the files that were read, as they are stored, and of how many, as far as that is known.
    pub fn progress(&self) -> (u64, Option<u64>) {
        self.frames.progress()
    }

    /// What the frames held.
    pub fn counts(&self) -> ReplayCounts {
        let (frames, frame_bytes) = self.frames.totals();
        ReplayCounts {
            frames,
            frame_bytes,
            fragments: self.fragments.counts(),
            ..self.counts
        }
    }
}

/// The record's header of a segment of which `captured` bytes of the packet are there.
fn header(frame: &Frame<'_>, segment: &Segment, captured: usize) -> RecordHeader {
    let there = captured.saturating_sub(segment.payload_offset as usize);
    let len = (segment.payload_len as usize).min(there) as u32;
    RecordHeader {
        time_ns: frame.time_ns,
        wire_len: frame.wire_len,
        hook: Hook::Capture as u8,
        interfaces: [frame.interface, 0, 0, 0],
        ..RecordHeader::of_segment(segment, len)
    }
}

/// Encapsulations and their numbers, from 1.
#[derive(Debug, Default)]
struct Encaps {
    by_number: Vec<Encap>,
    numbers: HashMap<Encap, u32, foldhash::quality::RandomState>,
}

impl Encaps {
    fn number(&mut self, encap: &Encap) -> u32 {
        if encap.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(encap) {
            return *number;
        }
        if self.by_number.len() >= MAX_ENCAPS {
            return 0;
        }
        self.by_number.push(*encap);
        let number = self.by_number.len() as u32;
        self.numbers.insert(*encap, number);
        number
    }
}
