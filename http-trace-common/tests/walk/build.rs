//! Frames to walk, and how they are checked.

use etherparse::PacketBuilder;
use http_trace_common::walk::{self, Encap, Found, LinkType, Segment, Skip, WalkOptions};

pub const PAYLOAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
pub const SERVER: [u8; 4] = [10, 0, 0, 1];
pub const CLIENT: [u8; 4] = [10, 0, 0, 2];

/// An IPv4 packet with the TCP segment that every frame here holds.
pub fn packet() -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4(SERVER, CLIENT, 64)
        .tcp(80, 50000, 1000, 4000)
        .ack(2000)
        .write(&mut out, PAYLOAD)
        .expect("a packet in memory");
    out
}

/// The same over IPv6.
pub fn packet_v6() -> Vec<u8> {
    let (mut src, mut dst) = ([0u8; 16], [0u8; 16]);
    (src[15], dst[15]) = (1, 2);
    let mut out = Vec::new();
    PacketBuilder::ipv6(src, dst, 64)
        .tcp(80, 50000, 1000, 4000)
        .ack(2000)
        .write(&mut out, PAYLOAD)
        .expect("a packet in memory");
    out
}

/// The same with an Ethernet header, as a tunnel carries it.
pub fn ethernet(inner: &[u8]) -> Vec<u8> {
    let kind = if inner[0] >> 4 == 4 {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    };
    cat(&[&[2; 12], &kind, inner])
}

/// An IPv4 packet of `protocol` from 192.0.2.1 to 192.0.2.2.
pub fn outer(protocol: u8, inner: &[u8]) -> Vec<u8> {
    let mut header = etherparse::Ipv4Header::new(
        inner.len() as u16,
        64,
        etherparse::IpNumber(protocol),
        [192, 0, 2, 1],
        [192, 0, 2, 2],
    )
    .expect("a length that fits");
    header.header_checksum = header.calc_header_checksum();
    cat(&[&header.to_bytes(), inner])
}

pub fn udp(port: u16, inner: &[u8]) -> Vec<u8> {
    let length = (inner.len() as u16 + 8).to_be_bytes();
    outer(
        17,
        &cat(&[
            &40000u16.to_be_bytes(),
            &port.to_be_bytes(),
            &length,
            &[0, 0],
            inner,
        ]),
    )
}

pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Layers as `name:id`, then how many outer IP headers there were.
pub fn describe(encap: &Encap) -> String {
    let layers: Vec<_> = encap
        .layers()
        .iter()
        .map(|l| format!("{}:{:x}", l.kind.name(), l.id))
        .collect();
    format!("{} +{}", layers.join(" "), encap.outers().len())
}

pub fn segment(found: Result<(Found, Encap), Skip>) -> Result<(Segment, Encap), Skip> {
    match found? {
        (Found::Segment(segment), encap) => Ok((segment, encap)),
        (Found::Fragment(_), _) => Err(Skip::Fragment),
    }
}

/// What a frame must be found to hold: its encapsulation, as [`describe`] says it.
pub fn check(name: &str, link: LinkType, frame: &[u8], expected: &str) {
    let found = walk::frame(frame, frame.len() as u32, link, WalkOptions::default());
    let (segment, encap) = segment(found).unwrap_or_else(|skip| panic!("{name}: {skip:?}"));
    assert_eq!(describe(&encap), expected, "{name}");
    let from = segment.payload_offset as usize;
    assert_eq!(
        &frame[from..from + segment.payload_len as usize],
        PAYLOAD,
        "{name}"
    );
    assert_eq!((segment.seq, segment.ack), (1000, 2000), "{name}");
    assert_eq!(segment.key.sender(segment.direction).1, 80, "{name}");

    // Checksums are right, so asking for them changes nothing.
    let strict = WalkOptions {
        verify_checksums: true,
        ..WalkOptions::default()
    };
    let verified = walk::frame(frame, frame.len() as u32, link, strict);
    assert_eq!(
        verified.map(|(_, encap)| encap),
        Ok(encap),
        "{name}, checksums verified"
    );

    // Cut anywhere it is an error or the same segment with fewer bytes.
    for n in 0..frame.len() {
        match walk::frame(
            &frame[..n],
            frame.len() as u32,
            link,
            WalkOptions::default(),
        ) {
            Ok((Found::Segment(cut), _)) => assert_eq!(cut, segment, "{name} cut to {n} bytes"),
            Ok((Found::Fragment(_), _)) => panic!("{name} cut to {n} bytes is a fragment"),
            Err(_) => {}
        }
    }
}
