//! The Internet checksum (RFC 1071).

use crate::flow::{Address, FlowKey};

/// The complemented one's-complement sum of `len` bytes at `offset` and `initial`: 0 if a checksum
/// contained in them is correct. `None` if the bytes are not there.
pub fn internet(bytes: &[u8], offset: u32, len: u32, initial: u32) -> Option<u16> {
    let bytes = bytes.get(offset as usize..)?.get(..len as usize)?;
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut sum = u64::from(initial);
    for pair in pairs {
        sum += u64::from(u16::from_be_bytes(*pair));
    }
    if let [last] = rest {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    Some(!(sum as u16))
}

/// The sum of the pseudo-header (RFC 9293 §3.1; RFC 8200 §8.1). The prefix of each IPv4-mapped address
/// adds 0xffff, which is zero in one's complement.
pub fn pseudo_header(src: &Address, dst: &Address, protocol: u8, len: u32) -> u32 {
    let mut sum = u32::from(protocol) + (len >> 16) + (len & 0xffff);
    for pair in src.as_chunks::<2>().0.iter().chain(dst.as_chunks::<2>().0) {
        sum += u32::from(u16::from_be_bytes(*pair));
    }
    sum
}

/// Result of verifying the TCP checksum of a segment (RFC 9293 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// The checksum is correct.
    Right,
    /// The receiver drops the segment, if its sender fills checksums in.
    Wrong,
    /// The checksum may be left to the network card, which gets the sum of the pseudo-header (Linux,
    /// BSD), the same without the length (segmentation offload), or nothing; or the segment is
    /// incomplete.
    Unknown,
}

impl Sum {
    /// Compares the sum of a segment with its pseudo-header (`all`), the checksum in it, and the values
    /// that stand for a checksum that is not filled in (`left`), all in one byte order. One's-complement
    /// numbers are equal if they are equal modulo 0xffff.
    #[inline(always)]
    fn of(all: u64, stored: u16, left: &[u64]) -> Self {
        if all.is_multiple_of(0xffff) {
            return Sum::Right;
        }
        let stored = u64::from(stored) % 0xffff;
        for left in left {
            if left % 0xffff == stored {
                return Sum::Unknown;
            }
        }
        Sum::Wrong
    }
}

/// The protocol number of TCP.
const TCP: u16 = 6;

/// The sum of the pseudo-header of a connection without the length, in host byte order.
#[inline(always)]
fn of_ends(key: &FlowKey) -> u64 {
    let words: &[u32; size_of::<FlowKey>() / 4] = bytemuck::cast_ref(key);
    // Both addresses. Add the words one by one: the verifier needs constant indexes.
    let [a, b, c, d, e, f, g, h, ..] = *words;
    let mut sum = u64::from(TCP.to_be());
    for word in [a, b, c, d, e, f, g, h] {
        sum += u64::from(word);
    }
    sum
}

/// Room for the longest TCP header, rounded up to whole words.
pub const HEADER_SPACE: usize = 64;

/// Verifies the checksum of a segment without payload: `len` bytes of header, followed by zeroes.
#[inline(always)]
pub fn of_header(key: &FlowKey, header: &[u8; HEADER_SPACE], len: u32) -> Sum {
    let words: [u32; HEADER_SPACE / 4] = bytemuck::pod_read_unaligned(header);
    let pseudo = of_ends(key) + u64::from((len as u16).to_be());
    let mut all = pseudo;
    for word in words {
        all += u64::from(word);
    }
    let stored = u16::from_ne_bytes([header[16], header[17]]);
    Sum::of(all, stored, &[pseudo, 0])
}

/// Verifies the checksum of a whole segment; `bytes` begins with its header.
pub fn of_segment(key: &FlowKey, bytes: &[u8]) -> Sum {
    let len = bytes.len() as u32;
    let ends = of_ends(key);
    let length = |part: u32| u64::from((part as u16).to_be());
    let pseudo = ends + length(len) + length(len >> 16);
    // Sum two words at a time; the result is the same modulo 0xffff.
    let (words, rest) = bytes.as_chunks::<4>();
    let word = |bytes: [u8; 4]| u64::from(u32::from_ne_bytes(bytes));
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    let sum: u64 = words.iter().map(|bytes| word(*bytes)).sum();
    let stored = match bytes.get(16..18) {
        Some(&[a, b]) => u16::from_ne_bytes([a, b]),
        _ => 0,
    };
    Sum::of(pseudo + sum + word(last), stored, &[pseudo, ends, 0])
}
