//! The Internet checksum (RFC 1071).

use crate::flow::Address;

/// The one's-complement sum of `len` bytes at `offset` and `initial`, complemented: 0 when a stored
/// checksum is right. `None` when the bytes are not there.
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

/// The sum of the pseudo-header (RFC 9293 §3.1; RFC 8200 §8.1). The prefix of an IPv4-mapped
/// address adds 0xffff for each of the two, which is nothing in one's complement.
pub fn pseudo_header(src: &Address, dst: &Address, protocol: u8, len: u32) -> u32 {
    let mut sum = u32::from(protocol) + (len >> 16) + (len & 0xffff);
    for pair in src.as_chunks::<2>().0.iter().chain(dst.as_chunks::<2>().0) {
        sum += u32::from(u16::from_be_bytes(*pair));
    }
    sum
}
