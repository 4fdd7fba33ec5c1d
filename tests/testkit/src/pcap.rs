//! Writes classic pcap files with nanosecond stamps
//! (draft-ietf-opsawg-pcap: magic 0xA1B23C4D, version 2.4).

use std::io::{self, Write};

use tempfile::NamedTempFile;

/// Link types (draft-ietf-opsawg-pcaplinktype).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum LinkType {
    /// Frames begin with an Ethernet header.
    Ethernet = 1,
    /// Frames begin with an IPv4 or IPv6 header.
    Raw = 101,
}

impl From<LinkType> for u32 {
    fn from(link: LinkType) -> u32 {
        link as u32
    }
}

#[derive(Debug)]
pub struct PcapWriter<W: Write> {
    out: W,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file header.
    pub fn new(mut out: W, link: impl Into<u32>) -> io::Result<Self> {
        out.write_all(&0xa1b2_3c4d_u32.to_le_bytes())?;
        out.write_all(&2_u16.to_le_bytes())?;
        out.write_all(&4_u16.to_le_bytes())?;
        out.write_all(&[0; 8])?;
        out.write_all(&262_144_u32.to_le_bytes())?;
        out.write_all(&link.into().to_le_bytes())?;
        Ok(PcapWriter { out })
    }

    /// Appends a frame with its time (Unix ns).
    pub fn write(&mut self, time_ns: u64, frame: &[u8]) -> io::Result<()> {
        let field = |n: u64| u32::try_from(n).map_err(io::Error::other);
        let len = field(frame.len() as u64)?.to_le_bytes();
        self.out.write_all(&field(time_ns / 1_000_000_000)?.to_le_bytes())?;
        self.out.write_all(&field(time_ns % 1_000_000_000)?.to_le_bytes())?;
        self.out.write_all(&len)?;
        self.out.write_all(&len)?;
        self.out.write_all(frame)
    }

    /// Flushes and returns the sink.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A complete file with these frames (Unix ns, bytes).
pub fn file<'a>(
    link: impl Into<u32>,
    frames: impl IntoIterator<Item = (u64, &'a [u8])>,
) -> Vec<u8> {
    let mut writer = PcapWriter::new(Vec::new(), link).expect("a Vec takes every write");
    for (time_ns, frame) in frames {
        writer.write(time_ns, frame).expect("times and lengths of built packets fit 32 bits");
    }
    writer.finish().expect("a Vec takes every write")
}

/// A complete file with these frames and times.
pub fn of(link: impl Into<u32>, frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    file(link, frames.iter().map(|(time, frame)| (*time, &frame[..])))
}

/// A file as [`file()`] makes it, with what a capture with this snap length has of its frames.
pub fn cut(file: &[u8], snap_length: usize) -> Vec<u8> {
    let (header, mut rest) = file.split_at(24);
    let mut out = header.to_vec();
    while let Some((record, behind)) = rest.split_at_checked(16) {
        let len = record.get(12..16).and_then(|len| len.try_into().ok()).map(u32::from_le_bytes);
        let (frame, behind) = behind.split_at(len.unwrap_or_default() as usize);
        let kept = frame.get(..snap_length).unwrap_or(frame);
        out.extend_from_slice(record.get(..8).unwrap_or_default());
        out.extend_from_slice(&(kept.len() as u32).to_le_bytes());
        out.extend_from_slice(record.get(12..).unwrap_or_default());
        out.extend_from_slice(kept);
        rest = behind;
    }
    out
}

/// A temporary file with these frames, a millisecond apart; deleted on drop.
pub fn temporary(link: impl Into<u32>, frames: &[Vec<u8>]) -> NamedTempFile {
    let times = (1_700_000_000_000_000_000..).step_by(1_000_000);
    let timed = times.zip(frames.iter().map(Vec::as_slice));
    let mut capture = NamedTempFile::with_suffix(".pcap").expect("a file");
    capture.write_all(&file(link, timed)).expect("written");
    capture
}
