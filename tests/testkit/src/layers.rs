//! Single headers around a packet, which [`crate::tcp::Path`] has no field for.

use etherparse::{IpNumber, Ipv4Header};

/// Concatenates these parts.
pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// An Ethernet header with this EtherType before `inner`.
pub fn ethernet(kind: u16, inner: &[u8]) -> Vec<u8> {
    cat(&[&[2; 12], &kind.to_be_bytes(), inner])
}

/// An Ethernet header before an IP packet.
pub fn ethernet_of(packet: &[u8]) -> Vec<u8> {
    let kind = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    ethernet(kind, packet)
}

/// An IPv4 packet (RFC 791) from the first address to the second, with a correct checksum.
pub fn ipv4(protocol: u8, [src, dst]: [[u8; 4]; 2], inner: &[u8]) -> Vec<u8> {
    let len = u16::try_from(inner.len()).expect("a packet");
    let mut header =
        Ipv4Header::new(len, 64, IpNumber(protocol), src, dst).expect("a length that fits");
    header.header_checksum = header.calc_header_checksum();
    cat(&[&header.to_bytes(), inner])
}

/// An IPv6 packet (RFC 8200) from the first address to the second.
pub fn ipv6(next: u8, [src, dst]: [[u8; 16]; 2], inner: &[u8]) -> Vec<u8> {
    let len = u16::try_from(inner.len()).expect("a packet").to_be_bytes();
    cat(&[&[0x60, 0, 0, 0], &len, &[next, 64], &src, &dst, inner])
}

/// A UDP datagram (RFC 768) from port 40,000, without a checksum.
pub fn udp(port: u16, inner: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + inner.len()).expect("a datagram");
    let fields = [40_000, port, len, 0].map(u16::to_be_bytes);
    cat(&[&fields.concat(), inner])
}
