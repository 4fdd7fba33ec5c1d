//! State of the full walk within one frame: the range that the next header may use, and the layers passed so far.
//! Knows no header format.

use super::encap::Encap;
use super::segment::{PacketBytes, Segment, Skip};
use crate::flow::Address;

/// How strict the walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Reject IPv4 headers and TCP segments with a wrong checksum. Off by default, because checksum offload makes them
    /// common in captures taken on the sending host.
    pub verify_checksums: bool,
    /// Look only into these tunnels (bits of [`crate::config::decap`]), one level deep and into no rarer layer, like
    /// the lean walk of the kernel's hooks. `None` means everything, at any depth.
    pub tunnels: Option<u32>,
}

/// What a frame contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A TCP segment; its payload offset counts from the start of the walked bytes.
    Segment(Segment),
    /// An IP fragment.
    Fragment(Fragment),
}

/// An IP fragment (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Identifies the packet that the fragment belongs to.
    pub id: FragmentId,
    /// Protocol of the payload according to this fragment.
    pub protocol: u8,
    /// Offset of its first byte in the payload of the packet.
    pub offset: u32,
    /// Offset of its bytes in the walked bytes.
    pub data_offset: u32,
    /// Number of its bytes.
    pub data_len: u32,
    /// Whether more fragments follow.
    pub more: bool,
}

/// Addresses, protocol and identification of a fragmented packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentId {
    /// Sender.
    pub src: Address,
    /// Receiver.
    pub dst: Address,
    /// The identification field.
    pub identification: u32,
    /// Protocol of the payload. In IPv6 the fragments need not agree (RFC 8200 §4.5): that of the first fragment
    /// counts, and this is 0.
    pub protocol: u8,
    /// 4 or 6.
    pub version: u8,
}

/// State of the walk besides the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    pub bytes: &'a [u8],
    /// Where the frame ended on the wire.
    pub wire_end: u32,
    /// Where the innermost enclosing layer ends. May lie after the captured bytes, but not after a length that a
    /// header gave.
    pub end: u32,
    pub encap: Encap,
    /// Addresses of the last IP header.
    pub ip: Option<(Address, Address)>,
    /// Whether the layer was guessed from a port and still has to be confirmed by its contents.
    pub guessed: bool,
    pub options: WalkOptions,
    /// The next packet in an aggregate.
    pub more: Option<More>,
}

/// The next packet of a frame that aggregates several (an A-MSDU of 802.11): where it begins, and the layers that
/// precede all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    pub(super) offset: u32,
    pub(super) end: u32,
    pub(super) encap: Encap,
    pub(super) ip: Option<(Address, Address)>,
}

/// The kind of header at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Ethernet,
    EtherType(u16),
    Llc,
    /// IPv4 or IPv6, according to the first four bits.
    Ip,
    IpProtocol(u8),
    Ppp,
    Pppoe,
    Mpls,
    Udp,
    Gre,
    Erspan2,
    Erspan3,
    Ieee80211,
    /// A subframe of an A-MSDU.
    Subframe,
}

/// One step: the next header and its offset, or the end of the walk.
pub(super) enum Step {
    Next(At, u32),
    Done(Found),
}

impl Walk<'_> {
    /// `N` bytes at `offset`, if they lie within the enclosing layer and were captured.
    pub(super) fn read<const N: usize>(&self, offset: u32) -> Result<[u8; N], Skip> {
        let past = offset.checked_add(N as u32).ok_or(Skip::Malformed)?;
        if past > self.end {
            return Err(Skip::Malformed);
        }
        self.bytes.read::<N>(offset).ok_or(Skip::Malformed)
    }

    pub(super) fn read_u16(&self, offset: u32) -> Result<u16, Skip> {
        self.read(offset).map(u16::from_be_bytes)
    }

    /// Limits the enclosing layer to `len` bytes from `offset`.
    pub(super) fn narrow(&mut self, offset: u32, len: u32) {
        self.end = self.end.min(offset.saturating_add(len));
    }
}
