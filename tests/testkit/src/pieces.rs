//! IP packets in fragments, as a router with a small MTU (RFC 791 §3.2) or a sender of IPv6 (RFC 8200 §4.5)
//! makes them.

use crate::scene::Scene;
use crate::scenes;
use crate::tcp::{Layout, Path, Timed, frames, segments};

/// The fragments of the IP packet in an untagged Ethernet frame, of at most `mtu` bytes each, in order; the
/// frame itself if it is small enough. `identification` identifies the packet.
pub fn pieces(frame: &[u8], mtu: usize, identification: u16) -> Vec<Vec<u8>> {
    let v6 = frame[14] >> 4 == 6;
    // Without padding and checksum of the frame.
    let length = |at: usize| usize::from(u16::from_be_bytes([frame[at], frame[at + 1]]));
    let packet_len = if v6 { 40 + length(18) } else { length(16) };
    let packet = &frame[14..frame.len().min(14 + packet_len)];
    if packet.len() <= mtu {
        return vec![frame.to_vec()];
    }
    let header_len = if v6 { 40 } else { usize::from(packet[0] & 15) * 4 };
    let (header, payload) = packet.split_at(header_len);
    let room = (mtu - header_len - if v6 { 8 } else { 0 }) / 8 * 8;
    let mut all = Vec::new();
    for (i, data) in payload.chunks(room).enumerate() {
        let offset = u16::try_from(i * room).expect("a packet");
        let more = usize::from(offset) + data.len() < payload.len();
        let mut piece = frame[..14].to_vec();
        if v6 {
            let length = u16::try_from(8 + data.len()).expect("a packet");
            piece.extend(header);
            piece[18..20].copy_from_slice(&length.to_be_bytes());
            piece[20] = 44;
            piece.extend([header[6], 0]);
            piece.extend((offset | u16::from(more)).to_be_bytes());
            piece.extend([0, 1]);
            piece.extend(identification.to_be_bytes());
        } else {
            let length = u16::try_from(header_len + data.len()).expect("a packet");
            piece.extend(header);
            piece[16..18].copy_from_slice(&length.to_be_bytes());
            piece[18..20].copy_from_slice(&identification.to_be_bytes());
            let field = (offset / 8) | if more { 0x2000 } else { 0 };
            piece[20..22].copy_from_slice(&field.to_be_bytes());
            piece[24..26].copy_from_slice(&[0, 0]);
            let sum = piece[14..14 + header_len]
                .chunks(2)
                .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
                .sum::<u32>();
            let folded = (sum & 0xffff) + (sum >> 16);
            let sum = !((folded & 0xffff) + (folded >> 16)) as u16;
            piece[24..26].copy_from_slice(&sum.to_be_bytes());
        }
        piece.extend(data);
        all.push(piece);
    }
    all
}

/// A scene's frames, with packets of more than `mtu` bytes in fragments. The last fragment of every other
/// packet comes first, as Linux once sent them, and every third packet comes twice.
pub fn scene_in_pieces(scene: &Scene, path: &Path, cut: usize, mtu: usize) -> Vec<Timed> {
    let layout = Layout { cuts: vec![cut], coalesce: true, ..Layout::default() };
    let mut all = Vec::new();
    for (i, (time, frame)) in frames(path, &segments(scene, &layout)).iter().enumerate() {
        let number = u16::try_from(i).expect("short scenes");
        let mut cut = pieces(frame, mtu, number);
        if i % 2 == 1 {
            cut.reverse();
        }
        let again = if i % 3 == 0 { cut.clone() } else { Vec::new() };
        all.extend(cut.into_iter().chain(again).map(|piece| (*time, piece)));
    }
    all
}

/// A frame in fragments of 48 bytes: a TCP header and enough to recognise a message.
pub fn small(frame: &[u8], number: u16) -> Vec<Vec<u8>> {
    let v6 = frame[14] >> 4 == 6;
    pieces(frame, if v6 { 96 } else { 68 }, number)
}

/// The frames in small fragments, each packet with its own identification.
pub fn cut(frames: &[Timed]) -> Vec<Timed> {
    let mut all = Vec::new();
    for ((time_ns, frame), number) in frames.iter().zip(100..) {
        let pieces = small(frame, number);
        all.extend(pieces.into_iter().map(|piece| (*time_ns, piece)));
    }
    all
}

/// Frames, with those of more than `mtu` bytes in fragments.
pub fn in_pieces(frames: &[Vec<u8>], mtu: usize, number: u16) -> Vec<Vec<u8>> {
    let numbers = (number % 100 * 256)..;
    frames.iter().zip(numbers).flat_map(|(frame, number)| pieces(frame, mtu, number)).collect()
}

/// The frames of a connection with a series of responses.
pub fn talk(path: &Path) -> Vec<Timed> {
    let layout = Layout { coalesce: true, ..Layout::default() };
    frames(path, &segments(&scenes::named("keep_alive"), &layout))
}
