//! The classic pcap format (draft-ietf-opsawg-pcap): a header, then records of a 16-byte header and a packet.
//! Both byte orders, µs and ns, and the "modified" format with 24-byte headers.
//!
//! pcap-parser parses the file header. Records are parsed here, because some old systems wrote longer record
//! headers with the same magic numbers, which only the start of the second record reveals ([`Pcap::next`]),
//! and because old versions swap the two lengths.

use http_trace_common::walk::LinkType;
use pcap_parser::pcap::parse_pcap_header;

use super::error::Problem;
use super::frames::Meta;
use super::input::{Buffer, MAX_BLOCK};

/// Length of the file header in bytes.
const HEADER_LEN: usize = 24;

/// Extra bytes in the record headers of variants: 4 for Nokia (and SuSE 6.3, beyond the modified format), 8
/// for Red Hat 6.1.
const VARIANTS: [usize; 2] = [4, 8];

/// Maximum time between the first two packets for a variant to be accepted.
const YEAR_S: u32 = 366 * 24 * 3600;

/// Times before this second (1978) are rejected: otherwise any small number would pass.
const FIRST_DATE_S: u32 = 1 << 28;

/// A capture of this format, between two records.
#[derive(Debug)]
pub struct Pcap {
    big_endian: bool,
    nanoseconds: bool,
    record_header_len: usize,
    /// Writers before version 2.3, and some of 2.3, swap the two lengths.
    lengths_swapped: Swapped,
    link: LinkType,
    /// Time (s) of the file's first packet, if the length of record headers is not yet settled.
    after_first: Option<u32>,
    /// Whether a packet was read.
    begun: bool,
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
            after_first: None,
            begun: false,
        })
    }

    /// The next packet: its data are the first unread bytes of the buffer.
    ///
    /// A variant with longer record headers is detected if the header of the second record is available
    /// together with the first packet, as in any file. On a pipe the first packet is not held back for that;
    /// the variant is then only reported.
    pub fn next(&mut self, buffer: &mut Buffer) -> Result<Option<Meta>, Problem> {
        let offset = buffer.offset();
        if let Some(first_s) = self.after_first.take()
            && fill(buffer, 16)?
            && !self.is_header(buffer.available())
            && fill(buffer, 16 + VARIANTS[1])?
            && let Some(longer) = self.longer_headers(buffer.available(), first_s)
        {
            return Err(Problem::Damaged {
                offset,
                what: format!(
                    "the packet header is {longer} bytes longer, as in an old variant of pcap (Red \
                     Hat 6.1, SuSE 6.3, Nokia): name the file instead of piping it, or convert it \
                     with `editcap -F pcap`"
                ),
            });
        }
        if !fill(buffer, 1)? {
            return Ok(None);
        }
        need(buffer, self.record_header_len, "packet header")?;
        let Some(&[sec, frac, first, second]) =
            words(buffer.available(), self.big_endian).first_chunk()
        else {
            return Ok(None);
        };
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
        if !self.begun {
            self.begun = true;
            let next = buffer
                .available()
                .get(self.record_header_len + captured as usize..);
            match next.filter(|next| next.len() >= 16 + VARIANTS[1]) {
                Some(next) => {
                    let longer = self.longer_headers(next, sec);
                    self.record_header_len += longer.unwrap_or(0);
                }
                None => self.after_first = Some(sec),
            }
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

    /// Whether this may be a record header, ignoring its time.
    fn is_header(&self, bytes: &[u8]) -> bool {
        let [_, frac, captured, _] = words(bytes, self.big_endian);
        frac <= self.most_frac() && captured as usize <= MAX_BLOCK
    }

    fn most_frac(&self) -> u32 {
        if self.nanoseconds {
            999_999_999
        } else {
            999_999
        }
    }

    /// How many extra bytes record headers have, judging by the bytes where the second record should begin.
    /// `None` unless these cannot be a record header and those at a variant's distance look like one: a
    /// damaged file is not a variant.
    fn longer_headers(&self, next: &[u8], first_s: u32) -> Option<usize> {
        if self.is_header(next) {
            return None;
        }
        VARIANTS.into_iter().find(|&longer| {
            let [sec, frac, captured, original] =
                words(next.get(longer..).unwrap_or_default(), self.big_endian);
            sec >= FIRST_DATE_S
                && sec.abs_diff(first_s) <= YEAR_S
                && frac <= self.most_frac()
                && (1..=original).contains(&captured)
                && original as usize <= MAX_BLOCK
        })
    }
}

/// The first four 32-bit words.
fn words(bytes: &[u8], big_endian: bool) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = if big_endian {
            u32::from_be_bytes(*chunk)
        } else {
            u32::from_le_bytes(*chunk)
        };
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
