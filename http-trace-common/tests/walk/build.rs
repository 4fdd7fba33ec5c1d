//! Frames to walk, and how they are checked.

use std::net::Ipv6Addr;

use http_trace_common::walk::{self, Encap, Found, LinkType, Segment, Skip, WalkOptions};
use http_trace_testkit::layers;
pub use http_trace_testkit::layers::{cat, ethernet_of as ethernet};
use http_trace_testkit::scene::Side;
use http_trace_testkit::tcp::{self, Path};

pub const PAYLOAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
pub const SERVER: [u8; 4] = [10, 0, 0, 1];
pub const CLIENT: [u8; 4] = [10, 0, 0, 2];

/// A path of raw IPv4 packets between [`CLIENT`] and [`SERVER`].
pub fn v4() -> Path {
    Path {
        client: (CLIENT, 50_000).into(),
        server: (SERVER, 80).into(),
        link: tcp::LinkType::Raw,
        vlan: None,
    }
}

fn of(path: Path) -> Vec<u8> {
    path.frame(&tcp::Segment { ack: 2000, ..tcp::Segment::new(Side::Server, 1000, PAYLOAD) })
}

/// An IPv4 packet with the TCP segment that every frame here holds.
pub fn packet() -> Vec<u8> {
    of(v4())
}

/// The same over IPv6.
pub fn packet_v6() -> Vec<u8> {
    // Zeros but for the end: tests write prefixes into them.
    let end = |last| Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, last);
    of(Path { client: (end(2), 50_000).into(), server: (end(1), 80).into(), ..v4() })
}

/// An IPv4 packet of `protocol` from 192.0.2.1 to 192.0.2.2.
pub fn outer(protocol: u8, inner: &[u8]) -> Vec<u8> {
    layers::ipv4(protocol, [[192, 0, 2, 1], [192, 0, 2, 2]], inner)
}

/// The same of UDP, to this port.
pub fn udp(port: u16, inner: &[u8]) -> Vec<u8> {
    outer(17, &layers::udp(port, inner))
}

/// Layers as `name:id`, then how many outer IP headers there were.
pub fn describe(encap: &Encap) -> String {
    let layers: Vec<_> =
        encap.layers().iter().map(|l| format!("{}:{:x}", l.kind.name(), l.id)).collect();
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
    assert_eq!(&frame[from..from + segment.payload_len as usize], PAYLOAD, "{name}");
    assert_eq!((segment.seq, segment.ack), (1000, 2000), "{name}");
    assert_eq!(segment.key.sender(segment.direction).1, 80, "{name}");

    // Checksums are right, so asking for them changes nothing.
    let strict = WalkOptions { verify_checksums: true, ..WalkOptions::default() };
    let verified = walk::frame(frame, frame.len() as u32, link, strict);
    assert_eq!(verified.map(|(_, encap)| encap), Ok(encap), "{name}, checksums verified");

    // Cut anywhere it is an error or the same segment with fewer bytes.
    for n in 0..frame.len() {
        match walk::frame(&frame[..n], frame.len() as u32, link, WalkOptions::default()) {
            Ok((Found::Segment(cut), _)) => assert_eq!(cut, segment, "{name} cut to {n} bytes"),
            Ok((Found::Fragment(_), _)) => panic!("{name} cut to {n} bytes is a fragment"),
            Err(_) => {}
        }
    }
}
