//! Frames inside tunnels: IP in IP and VXLAN over IPv4 and IPv6, with extension headers.

use crate::scenes;
use crate::tcp::{Layout, Path, segments};

/// What a tunnel's packets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    V4,
    V6,
    /// With extension headers.
    V6Extended,
}

/// An IPv4 header (RFC 791) before a payload of `len` bytes.
fn ipv4(protocol: u8, len: usize) -> Vec<u8> {
    let total = u16::try_from(20 + len).expect("short").to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, protocol, 0, 0];
    header.extend([203, 0, 113, 1, 203, 0, 113, 2]);
    header
}

/// An IPv6 header (RFC 8200).
fn ipv6(next: u8, len: usize) -> Vec<u8> {
    let length = u16::try_from(len).expect("short").to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    header.extend([0xfd; 32]);
    header
}

/// IPv6 extension headers (RFC 8200 §4): each kind, and what follows them.
fn extensions(next: u8) -> Vec<u8> {
    const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let mut all = Vec::new();
    // Hop-by-hop options, a routing header without segments left, an atomic fragment (RFC 6946), an
    // authentication header, destination options of 16 bytes.
    all.extend([43, 0].iter().chain(&PAD));
    all.extend([44, 0, 4, 0, 0, 0, 0, 0]);
    all.extend([51, 0, 0, 0, 0, 0, 0, 9]);
    all.extend([60, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    all.extend(
        [next, 1]
            .iter()
            .chain(&PAD)
            .chain(&[1, 6, 0, 0, 0, 0, 0, 0]),
    );
    all
}

/// A frame wrapped in a tunnel.
pub fn wrap(frame: &[u8], outer: Outer, vxlan: Option<u8>) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(14);
    let mut inside = Vec::new();
    let protocol = if let Some(number) = vxlan {
        // UDP (RFC 768) to port 4789, then the VXLAN header (RFC 7348 §5) and a whole frame.
        let length = u16::try_from(16 + frame.len())
            .expect("short")
            .to_be_bytes();
        inside.extend([0xc0, 0, 0x12, 0xb5, length[0], length[1], 0, 0]);
        inside.extend([8, 0, 0, 0, 0, 0, number, 0]);
        inside.extend(frame);
        17
    } else {
        inside.extend(packet);
        if packet[0] >> 4 == 6 { 41 } else { 4 }
    };
    let header = match outer {
        Outer::V4 => ipv4(protocol, inside.len()),
        Outer::V6 => ipv6(protocol, inside.len()),
        Outer::V6Extended => {
            let extensions = extensions(protocol);
            [ipv6(0, extensions.len() + inside.len()), extensions].concat()
        }
    };
    let kind = if outer == Outer::V4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    [&ethernet[..12], &kind, &header, &inside].concat()
}

/// A scene's frames wrapped in each of the tunnels: in what, and whether it is VXLAN.
pub fn wrapped(plain: &[Vec<u8>]) -> impl Iterator<Item = (Outer, bool, Vec<Vec<u8>>)> {
    let outers = [Outer::V4, Outer::V6, Outer::V6Extended];
    let tunnels = outers.map(|outer| [(outer, None), (outer, Some(42))]);
    tunnels.into_iter().flatten().map(move |(outer, vxlan)| {
        let frames = plain.iter().map(|frame| wrap(frame, outer, vxlan));
        (outer, vxlan.is_some(), frames.collect())
    })
}

/// The frames of a connection.
pub fn plain(path: &Path) -> Vec<Vec<u8>> {
    segments(&scenes::named("keep_alive"), &Layout::default())
        .iter()
        .map(|segment| path.frame(segment))
        .collect()
}

/// One tuple in three VXLAN networks at once: what each connection's frames are, in turn.
pub const NETWORKS: [(u8, &str); 3] = [
    (7, "keep_alive"),
    (8, "chunked_trailers"),
    (9, "head_204_304"),
];

/// The frames of each connection, wrapped in its network's VXLAN.
pub fn of_one_tuple(outer: Outer, port: u16) -> [Vec<Vec<u8>>; 3] {
    NETWORKS.map(|(number, scene)| {
        let layout = Layout {
            isn: [
                u32::from(number) * 1_000_000,
                u32::from(number) * 77_000_000,
            ],
            cuts: vec![100],
            ..Layout::default()
        };
        let segments = segments(&scenes::named(scene), &layout);
        let frames = segments.iter().map(|segment| Path::v4(port).frame(segment));
        frames
            .map(|frame| wrap(&frame, outer, Some(number)))
            .collect()
    })
}

/// These frames in turn, one of each.
pub fn in_turn(all: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let most = all.iter().map(Vec::len).max().unwrap_or(0);
    (0..most)
        .flat_map(|i| all.iter().filter_map(move |frames| frames.get(i).cloned()))
        .collect()
}
