//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each section with its own byte order and
//! interfaces, each interface with its own link type and clock.
//!
//! Blocks without a packet are skipped without buffering, whatever their length. pcap-parser parses interface
//! descriptions; packet blocks are parsed here, because it collects the options of each in a list and cannot
//! tell at which byte a file is truncated.

use std::sync::Arc;

use http_trace_common::walk::LinkType;
use pcap_parser::OptionCode;
use pcap_parser::pcapng::{parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le};

use super::error::Problem;
use super::frames::Meta;
use super::input::{Buffer, MAX_BLOCK};
use super::pcap::{fill, need};

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Maximum number of interfaces of a section.
const MAX_INTERFACES: usize = 4096;

/// A capture of this format, between two blocks.
#[derive(Debug, Default)]
pub struct PcapNg {
    big_endian: bool,
    /// Interfaces of the current section.
    interfaces: Vec<Interface>,
    /// The first packet that referred to no interface of its section.
    pub unknown_interface: Option<Problem>,
}

#[derive(Clone, Debug)]
pub struct Interface {
    /// `if_name`, if present and not empty.
    pub name: Option<Arc<str>>,
    /// Set by the caller: the number of the name, 0 until assigned.
    pub number: u32,
    link: LinkType,
    snaplen: u32,
    units_per_second: u64,
    offset_seconds: i64,
}

impl PcapNg {
    /// An interface of the current section, by [`Meta::interface`].
    pub fn interface_mut(&mut self, number: u32) -> Option<&mut Interface> {
        self.interfaces.get_mut(number as usize)
    }

    /// The next packet: its data are in the first unread bytes of the buffer.
    pub fn next(&mut self, buffer: &mut Buffer) -> Result<Option<Meta>, Problem> {
        loop {
            let offset = buffer.offset();
            if !fill(buffer, 1)? {
                return Ok(None);
            }
            need(buffer, 12, "block")?;
            let head = buffer.available();
            let kind = self.word(head, 0);
            if kind == SECTION_HEADER {
                self.begin_section(offset, head)?;
            }
            let length = self.word(buffer.available(), 4);
            if length < 12 || !length.is_multiple_of(4) {
                return Err(damaged(offset, format!("a block of length {length}")));
            }
            match kind {
                INTERFACE_DESCRIPTION => {
                    self.hold(buffer, length)?;
                    self.describe(offset, buffer.available())?;
                    buffer.consume(length as usize);
                }
                PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                    self.hold(buffer, length)?;
                    let block = buffer.available().get(..length as usize).unwrap_or_default();
                    if let Some(meta) = self.packet(offset, kind, block)? {
                        return Ok(Some(meta));
                    }
                    buffer.consume(length as usize);
                }
                _ => skip(buffer, length)?,
            }
        }
    }

    /// Makes a whole block available and checks the length at its end.
    fn hold(&self, buffer: &mut Buffer, length: u32) -> Result<(), Problem> {
        let offset = buffer.offset();
        if length as usize > MAX_BLOCK {
            return Err(damaged(offset, format!("a block that claims {length} bytes")));
        }
        need(buffer, length as usize, "block")?;
        let trailer = self.word(buffer.available(), length as usize - 4);
        if trailer != length {
            return Err(damaged(
                offset,
                format!("a block whose length is {length} at its start and {trailer} at its end"),
            ));
        }
        Ok(())
    }

    /// Begins a section, which resets byte order and interfaces.
    fn begin_section(&mut self, offset: u64, head: &[u8]) -> Result<(), Problem> {
        self.big_endian = match head.get(8..12) {
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
            _ => {
                return Err(damaged(
                    offset,
                    "a section header without byte-order magic".to_owned(),
                ));
            }
        };
        self.interfaces.clear();
        Ok(())
    }

    /// Parses an interface description.
    fn describe(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Problem> {
        let parse = if self.big_endian {
            parse_interfacedescriptionblock_be
        } else {
            parse_interfacedescriptionblock_le
        };
        let Ok((_, block)) = parse(bytes) else {
            return Err(damaged(
                offset,
                "an interface description that cannot be parsed".to_owned(),
            ));
        };
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(damaged(offset, format!("more than {MAX_INTERFACES} interfaces")));
        }
        let Some(units_per_second) = units_per_second(block.if_tsresol) else {
            return Err(damaged(offset, format!("a clock resolution of {:#x}", block.if_tsresol)));
        };
        let name = match block.if_name() {
            Some(Ok(name)) => Some(name.trim_end_matches('\0')).filter(|name| !name.is_empty()),
            _ => None,
        };
        // Not parsed by pcap-parser, which assumes little-endian.
        let offset_seconds = block.options.iter().find(|o| o.code == OptionCode::IfTsoffset);
        let offset_seconds = offset_seconds.and_then(|o| o.value.first_chunk::<8>()).map(|bytes| {
            if self.big_endian { i64::from_be_bytes(*bytes) } else { i64::from_le_bytes(*bytes) }
        });
        self.interfaces.push(Interface {
            name: name.map(Arc::from),
            number: 0,
            link: LinkType(block.linktype.0 as u32 & 0xffff),
            snaplen: block.snaplen,
            units_per_second,
            offset_seconds: offset_seconds.unwrap_or(0),
        });
        Ok(())
    }

    /// Parses a packet block of any of the three kinds; `None` if the packet is left out.
    fn packet(&mut self, offset: u64, kind: u32, block: &[u8]) -> Result<Option<Meta>, Problem> {
        // Fields and offset of the data: draft §4.3, §4.4, and appendix A for the obsolete block.
        let data_offset = if kind == SIMPLE_PACKET { 12 } else { 28 };
        let room = block.len().saturating_sub(data_offset + 4);
        if block.len() < data_offset + 4 {
            return Err(damaged(offset, format!("a packet block of {} bytes", block.len())));
        }
        let number = match kind {
            ENHANCED_PACKET => self.word(block, 8),
            PACKET => self.word(block, 8) & 0xffff,
            _ => 0,
        };
        // In a big-endian obsolete block the interface is the upper half of the word.
        let number =
            if kind == PACKET && self.big_endian { self.word(block, 8) >> 16 } else { number };
        let Some(interface) = self.interfaces.get(number as usize) else {
            self.unknown_interface
                .get_or_insert(Problem::UnknownInterface { offset, interface: number });
            return Ok(None);
        };
        let (captured, original, time_ns) = if kind == SIMPLE_PACKET {
            let original = self.word(block, 8);
            let limit = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
            (original.min(limit).min(room as u32), original, None)
        } else {
            let units = u64::from(self.word(block, 12)) << 32 | u64::from(self.word(block, 16));
            (self.word(block, 20), self.word(block, 24), Some(interface.unix_ns(units)))
        };
        if captured as usize > room {
            return Err(damaged(
                offset,
                format!("a packet of {captured} bytes in a block with room for {room}"),
            ));
        }
        Ok(Some(Meta {
            time_ns,
            link: interface.link,
            interface: number,
            data_offset,
            data_len: captured as usize,
            wire_len: original.max(captured),
            block_len: block.len(),
        }))
    }

    /// The 32-bit word at `at`; 0 past the end, which the callers exclude.
    fn word(&self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes.get(at..).and_then(|b| b.first_chunk::<4>()).copied().unwrap_or_default();
        if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }
}

impl Interface {
    /// Converts a time of this interface's clock, saturating.
    fn unix_ns(&self, units: u64) -> u64 {
        let ns = u128::from(units) * 1_000_000_000 / u128::from(self.units_per_second.max(1));
        let ns = i128::try_from(ns).unwrap_or(i128::MAX);
        let offset = i128::from(self.offset_seconds) * 1_000_000_000;
        u64::try_from(ns.saturating_add(offset).max(0)).unwrap_or(u64::MAX)
    }
}

/// Units per second of `if_tsresol` (draft §4.2): a negative power of two if the highest bit is set,
/// otherwise of ten. `None` on overflow.
///
/// The function of pcap-parser rejects all powers of two.
fn units_per_second(resolution: u8) -> Option<u64> {
    let (base, exponent): (u64, _) =
        if resolution & 0x80 != 0 { (2, resolution & 0x7f) } else { (10, resolution) };
    base.checked_pow(u32::from(exponent))
}

/// Skips a block without a packet.
fn skip(buffer: &mut Buffer, length: u32) -> Result<(), Problem> {
    let offset = buffer.offset();
    match buffer.skip(u64::from(length)) {
        Ok(have) if have < u64::from(length) => {
            Err(Problem::Cut { offset, what: "block", need: u64::from(length), have })
        }
        Ok(_) => Ok(()),
        Err(source) => Err(Problem::Read { offset: buffer.offset(), source }),
    }
}

fn damaged(offset: u64, what: String) -> Problem {
    Problem::Damaged { offset, what }
}
