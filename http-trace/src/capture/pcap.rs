//! The classic pcap format (draft-ietf-opsawg-pcap): a header, then records of a 16-byte header and a packet.
//! Both byte orders, µs and ns, and the "modified" format with 24-byte headers.
//!
//! pcap-parser parses the file header. Records are parsed here, because old versions swap the two lengths.

use http_trace_common::walk::LinkType;
use pcap_parser::pcap::parse_pcap_header;

use super::error::Problem;
use super::frames::Meta;
use super::input::{Buffer, MAX_BLOCK};
use super::magic::Kind;

/// Length of the file header in bytes.
const HEADER_LEN: usize = 24;

/// Second word of a file header, in both byte orders: version 2.4.
const VERSION: [u32; 2] = [0x0004_0002, 0x0002_0004];

/// A capture of this format, between two records.
#[derive(Debug)]
pub struct Pcap {
    big_endian: bool,
    nanoseconds: bool,
    record_header_len: usize,
    /// Writers before version 2.3, and some of 2.3, swap the two lengths.
    lengths_swapped: Swapped,
    link: LinkType,
}

#[derive(Clone, Copy, Debug)]
enum Swapped {
    Never,
    WhenImpossible,
    Always,
}

impl Pcap {
    /// Reads the file header.
    pub fn open(buffer: &mut Buffer) -> Result<Self, Problem> {
        let offset = buffer.offset();
        need(buffer, HEADER_LEN, "file header")?;
        let (_, header) = parse_pcap_header(buffer.available()).map_err(|_| Problem::Damaged {
            offset,
            what: "a file header that cannot be parsed".to_owned(),
        })?;
        buffer.consume(HEADER_LEN);
        Ok(Pcap {
            big_endian: header.is_bigendian(),
            nanoseconds: header.is_nanosecond_precision(),
            record_header_len: if header.is_modified_format() { 24 } else { 16 },
            lengths_swapped: match (header.version_major, header.version_minor) {
                (2, 0..=2) => Swapped::Always,
                (2, 3) => Swapped::WhenImpossible,
                _ => Swapped::Never,
            },
            // The upper bits hold the length of the frame check sequence (draft §4).
            link: LinkType(header.network.0 as u32 & 0x03ff_ffff),
        })
    }

    /// The next packet: its data are the first unread bytes of the buffer.
    pub fn next(&self, buffer: &mut Buffer) -> Result<Option<Meta>, Problem> {
        let offset = buffer.offset();
        if !fill(buffer, 1)? {
            return Ok(None);
        }
        need(buffer, self.record_header_len, "packet header")?;
        let Some(&[sec, frac, first, second]) =
            words(buffer.available(), self.big_endian).first_chunk()
        else {
            return Ok(None);
        };
        let begins = buffer.available().first_chunk();
        if begins.is_some_and(|&begins| Kind::of(begins) == Kind::Pcap) && VERSION.contains(&frac) {
            return Err(Problem::Damaged {
                offset,
                what: "the header of another capture: read each with its own -r".to_owned(),
            });
        }
        let (captured, original) = match self.lengths_swapped {
            Swapped::Always => (second, first),
            Swapped::WhenImpossible if first > second => (second, first),
            _ => (first, second),
        };
        if captured as usize > MAX_BLOCK {
            return Err(Problem::Damaged {
                offset,
                what: format!("a packet that claims {captured} bytes"),
            });
        }
        let whole = self.record_header_len + captured as usize;
        need(buffer, whole, "packet")?;
        buffer.consume(self.record_header_len);
        let unit = if self.nanoseconds { 1 } else { 1000 };
        Ok(Some(Meta {
            time_ns: Some(u64::from(sec) * 1_000_000_000 + u64::from(frac) * unit),
            link: self.link,
            interface: 0,
            data_offset: 0,
            data_len: captured as usize,
            wire_len: original.max(captured),
            block_len: captured as usize,
        }))
    }
}

/// The first four 32-bit words.
fn words(bytes: &[u8], big_endian: bool) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = if big_endian { u32::from_be_bytes(*chunk) } else { u32::from_le_bytes(*chunk) };
    }
    words
}

/// [`Buffer::fill`] with a typed error.
pub fn fill(buffer: &mut Buffer, n: usize) -> Result<bool, Problem> {
    buffer.fill(n).map_err(|source| Problem::Read {
        offset: buffer.offset() + buffer.available().len() as u64,
        source,
    })
}

/// Makes `n` bytes available, or reports a truncated file.
pub fn need(buffer: &mut Buffer, n: usize, what: &'static str) -> Result<(), Problem> {
    if fill(buffer, n)? {
        return Ok(());
    }
    Err(Problem::Cut {
        offset: buffer.offset(),
        what,
        need: n as u64,
        have: buffer.available().len() as u64,
    })
}
