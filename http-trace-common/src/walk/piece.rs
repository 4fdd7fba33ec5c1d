//! IP fragments at the kernel's hooks, which ship them as they are: the host alone puts packets together.

use bytemuck::{Pod, Zeroable};

use super::lean::{ExtensionHeader, Ipv4Header, Ipv6Header, MAX_EXTENSIONS, mapped, tcp};
use super::segment::{PacketBytes, Segment, Skip, ip_proto};
use crate::flow::{FlowKey, Words};

/// An IP fragment: which packet it belongs to, and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Sender.
    pub src: Words,
    /// Receiver.
    pub dst: Words,
    /// The identification field.
    pub identification: u32,
    /// Protocol of the payload according to this fragment.
    pub protocol: u8,
    /// 1 if more fragments follow, 0 for the last one.
    pub more: u32,
    /// 1 for IPv6, 0 for IPv4.
    pub v6: u32,
    /// Offset of its first byte in the payload of the packet.
    pub offset: u32,
    /// Offset of its bytes in the frame.
    pub data_offset: u32,
    /// Number of its bytes, 1 to 65,535.
    pub data_len: u32,
}

/// An IPv6 fragment header (RFC 8200 §4.5); integers in network byte order.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FragmentHeader {
    next: u8,
    reserved: u8,
    offset: u16,
    identification: u32,
}

/// Parses the fragment in the IP packet at `at`, for which the walk returned [`Skip::Fragment`].
///
/// # Errors
/// [`Skip::Malformed`] if it cannot be one.
#[inline(always)]
pub fn piece(bytes: &(impl PacketBytes + ?Sized), at: u32) -> Result<Piece, Skip> {
    let [first] = bytes.read::<1>(at).ok_or(Skip::Malformed)?;
    let piece = if first >> 4 == 4 {
        let h: Ipv4Header = bytes.read_as(at).ok_or(Skip::Malformed)?;
        let header_len = u32::from(first & 0x0f) * 4;
        if header_len < 20 {
            return Err(Skip::Malformed);
        }
        let total = u32::from(u16::from_be(h.total_length));
        let field = u32::from(u16::from_be(h.flags_and_offset));
        Piece {
            src: mapped(h.src),
            dst: mapped(h.dst),
            identification: u32::from(u16::from_be(h.id)),
            protocol: h.protocol,
            more: field >> 13 & 1,
            v6: 0,
            offset: (field & 0x1fff) * 8,
            data_offset: at.wrapping_add(header_len),
            data_len: total.wrapping_sub(header_len),
        }
    } else {
        let h: Ipv6Header = bytes.read_as(at).ok_or(Skip::Malformed)?;
        let mut to = at.wrapping_add(40);
        let end = to.wrapping_add(u32::from(u16::from_be(h.payload_length)));
        let mut next = h.next;
        for _ in 0..MAX_EXTENSIONS {
            if next == ip_proto::FRAGMENT {
                break;
            }
            let e: ExtensionHeader = bytes.read_as(to).ok_or(Skip::Malformed)?;
            to = to.wrapping_add(if next == ip_proto::AH {
                u32::from(e.length) * 4 + 8
            } else {
                u32::from(e.length) * 8 + 8
            });
            next = e.next;
        }
        if next != ip_proto::FRAGMENT {
            return Err(Skip::Malformed);
        }
        let f: FragmentHeader = bytes.read_as(to).ok_or(Skip::Malformed)?;
        let field = u32::from(u16::from_be(f.offset));
        Piece {
            src: h.src,
            dst: h.dst,
            identification: u32::from_be(f.identification),
            protocol: f.next,
            more: field & 1,
            v6: 1,
            offset: field & 0xfff8,
            data_offset: to.wrapping_add(8),
            data_len: end.wrapping_sub(to.wrapping_add(8)),
        }
    };
    // All fragments but the last are multiples of eight bytes, and no packet exceeds 64 KiB.
    let cut_badly = piece.more != 0 && piece.data_len % 8 != 0;
    if piece.data_len == 0
        || piece.data_len > 0xffff
        || piece.offset + piece.data_len > 0xffff
        || cut_badly
    {
        return Err(Skip::Malformed);
    }
    Ok(piece)
}

/// The beginning of the TCP segment in the first fragment of a packet; its payload length is that
/// of the fragment.
///
/// # Errors
/// [`Skip::Malformed`] if the TCP header is not complete in the fragment.
#[inline(always)]
pub fn first_piece(
    bytes: &(impl PacketBytes + ?Sized),
    piece: &Piece,
    netns: u32,
) -> Result<Segment, Skip> {
    let end = piece.data_offset.wrapping_add(piece.data_len);
    tcp(bytes, piece.data_offset, end, piece.src, piece.dst, netns)
}

/// The connection of the first fragment of a packet, from the ports at the start of its TCP header.
#[inline(always)]
pub fn piece_key(
    bytes: &(impl PacketBytes + ?Sized),
    piece: &Piece,
    netns: u32,
) -> Option<FlowKey> {
    let [src_port, dst_port]: [u16; 2] = bytes.read_as(piece.data_offset)?;
    let (src_port, dst_port) = (u16::from_be(src_port), u16::from_be(dst_port));
    Some(FlowKey::from_words(piece.src, src_port, piece.dst, dst_port, netns).0)
}
