//! Frames inside tunnels: IP in IP and VXLAN over IPv4 and IPv6, with extension headers.

use crate::layers;
use crate::scenes;
use crate::tcp::{Layout, Path, segments};

/// Outer headers of a tunnel's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    V4,
    V6,
    /// IPv6 with extension headers.
    V6Extended,
}

/// IPv6 extension headers (RFC 8200 §4), followed by this next header.
fn extensions(next: u8) -> Vec<u8> {
    const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let mut all = Vec::new();
    // Hop-by-hop options, a routing header without segments left, an atomic fragment (RFC 6946), an
    // authentication header, destination options of 16 bytes.
    all.extend([43, 0].iter().chain(&PAD));
    all.extend([44, 0, 4, 0, 0, 0, 0, 0]);
    all.extend([51, 0, 0, 0, 0, 0, 0, 9]);
    all.extend([60, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    all.extend([next, 1].iter().chain(&PAD).chain(&[1, 6, 0, 0, 0, 0, 0, 0]));
    all
}

/// A frame wrapped in a tunnel.
pub fn wrap(frame: &[u8], outer: Outer, vxlan: Option<u8>) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(14);
    let (protocol, inside) = match vxlan {
        Some(number) => (17, layers::udp(4789, &vxlan_header(number, frame))),
        None if packet[0] >> 4 == 6 => (41, packet.to_vec()),
        None => (4, packet.to_vec()),
    };
    const V4: [[u8; 4]; 2] = [[203, 0, 113, 1], [203, 0, 113, 2]];
    const V6: [[u8; 16]; 2] = [[0xfd; 16]; 2];
    let packet = match outer {
        Outer::V4 => layers::ipv4(protocol, V4, &inside),
        Outer::V6 => layers::ipv6(protocol, V6, &inside),
        Outer::V6Extended => layers::ipv6(0, V6, &[extensions(protocol), inside].concat()),
    };
    let kind = if outer == Outer::V4 { [8, 0] } else { [0x86, 0xdd] };
    [&ethernet[..12], &kind, &packet].concat()
}

/// A frame after the VXLAN header (RFC 7348 §5) with this network number.
fn vxlan_header(number: u8, frame: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0, 0, 0, number, 0], frame].concat()
}

/// A scene's frames wrapped in each tunnel; the flag says whether it is VXLAN.
pub fn wrapped(plain: &[Vec<u8>]) -> impl Iterator<Item = (Outer, bool, Vec<Vec<u8>>)> {
    let outers = [Outer::V4, Outer::V6, Outer::V6Extended];
    let tunnels = outers.map(|outer| [(outer, None), (outer, Some(42))]);
    tunnels.into_iter().flatten().map(move |(outer, vxlan)| {
        let frames = plain.iter().map(|frame| wrap(frame, outer, vxlan));
        (outer, vxlan.is_some(), frames.collect())
    })
}

/// Frames of a connection, without a tunnel.
pub fn plain(path: &Path) -> Vec<Vec<u8>> {
    segments(&scenes::named("keep_alive"), &Layout::default())
        .iter()
        .map(|segment| path.frame(segment))
        .collect()
}

/// One tuple in three VXLAN networks at once: the network of each connection.
pub const NETWORKS: [(u8, &str); 3] =
    [(7, "keep_alive"), (8, "chunked_trailers"), (9, "head_204_304")];

/// The frames of each connection, wrapped in its network's VXLAN.
pub fn of_one_tuple(outer: Outer, port: u16) -> [Vec<Vec<u8>>; 3] {
    NETWORKS.map(|(number, scene)| {
        let layout = Layout {
            isn: [u32::from(number) * 1_000_000, u32::from(number) * 77_000_000],
            cuts: vec![100],
            ..Layout::default()
        };
        let segments = segments(&scenes::named(scene), &layout);
        let frames = segments.iter().map(|segment| Path::v4(port).frame(segment));
        frames.map(|frame| wrap(&frame, outer, Some(number))).collect()
    })
}

/// Interleaves these frames, one of each in turn.
pub fn in_turn(all: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let most = all.iter().map(Vec::len).max().unwrap_or(0);
    (0..most).flat_map(|i| all.iter().filter_map(move |frames| frames.get(i).cloned())).collect()
}
