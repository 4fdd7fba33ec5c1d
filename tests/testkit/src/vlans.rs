//! Frames with VLAN tags (IEEE 802.1Q, 802.1ad).

use crate::pieces::pieces;
use crate::scenes;
use crate::tcp::{Layout, Path, segments};

/// Tags before a packet: EtherType and tag control information of each.
pub const ARRANGEMENTS: [&[(u16, u16)]; 6] = [
    &[],
    &[(0x8100, 10)],
    // With a priority.
    &[(0x8100, 0x6000 | 20)],
    &[(0x88a8, 100), (0x8100, 10)],
    &[(0x8100, 100), (0x8100, 0x4000 | 10)],
    // A tag with a priority only, before one with a VLAN.
    &[(0x8100, 0xe000), (0x8100, 30)],
];

/// The frames of a connection for each arrangement, IPv4 and IPv6, each from its own port: whole, and in
/// fragments.
pub fn all_frames() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut port = 40_000;
    for tags in ARRANGEMENTS {
        let tags = tags.iter().flat_map(|(kind, tag)| [*kind, *tag]);
        let tags: Vec<u8> = tags.flat_map(u16::to_be_bytes).collect();
        for (path, in_pieces) in [
            (Path::v4 as fn(u16) -> Path, false),
            (Path::v6, false),
            (Path::v4, true),
            (Path::v6, true),
        ] {
            port += 1;
            let segments = segments(&scenes::named("keep_alive"), &Layout::default());
            for (segment, number) in segments.iter().zip(port % 100 * 256..) {
                let frame = path(port).frame(segment);
                for mut piece in match in_pieces {
                    true => pieces(&frame, 96, number),
                    false => vec![frame],
                } {
                    piece.splice(12..12, tags.iter().copied());
                    all.push(piece);
                }
            }
        }
    }
    all
}
