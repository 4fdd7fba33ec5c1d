//! The state of the full walk within one frame: the range that the next header may use, and what was
//! passed so far. Knows no header.

use super::encap::Encap;
use super::segment::{PacketBytes, Segment, Skip};
use crate::flow::Address;

/// How strict the walk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkOptions {
    /// Refuse IPv4 headers and TCP segments whose checksum is wrong. Off by default: checksum
    /// offload makes wrong ones common in captures on the sending host.
    pub verify_checksums: bool,
    /// Look into these tunnels only (bits of [`crate::config::decap`]), one deep, and no rarer layer, as the lean walk
    /// of the kernel's hooks does. `None` for everything, however deep.
    pub tunnels: Option<u32>,
}

/// What a frame held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A TCP segment; its payload offset is from the start of the bytes that were walked.
    Segment(Segment),
    /// A piece of an IP packet.
    Fragment(Fragment),
}

/// A piece of an IP packet (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What tells one packet's pieces from another's.
    pub id: FragmentId,
    /// Protocol of the payload, as this piece says.
    pub protocol: u8,
    /// Where its first byte belongs in the packet's payload.
    pub offset: u32,
    /// Where its bytes begin in what was walked.
    pub data_offset: u32,
    /// How many they are.
    pub data_len: u32,
    /// Whether pieces follow it.
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
    /// Protocol of the payload. For IPv6 the pieces need not agree (RFC 8200 §4.5): the first
    /// piece's counts, and this is 0.
    pub protocol: u8,
    /// 4 or 6.
    pub version: u8,
}

/// What the walk knows besides the bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    pub bytes: &'a [u8],
    /// Where the frame ended on the wire.
    pub wire_end: u32,
    /// Where the innermost enclosing layer ends; may lie past the captured bytes, but not past a
    /// length that a header gave.
    pub end: u32,
    pub encap: Encap,
    /// The IP header that was last walked.
    pub ip: Option<(Address, Address)>,
    /// Whether the layer was guessed by a port and has yet to prove itself.
    pub guessed: bool,
    pub options: WalkOptions,
    /// The packet after this one in an aggregate.
    pub more: Option<More>,
}

/// The next packet of a frame that aggregates several (an A-MSDU of 802.11): where it begins, and
/// what stands before all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    pub(super) offset: u32,
    pub(super) end: u32,
    pub(super) encap: Encap,
    pub(super) ip: Option<(Address, Address)>,
}

/// What is at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Ethernet,
    EtherType(u16),
    Llc,
    /// IPv4 or IPv6, by its first four bits.
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

/// One step: what comes next and where, or the end of the walk.
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

    /// Narrows the enclosing layer to `len` bytes from `offset`.
    pub(super) fn narrow(&mut self, offset: u32, len: u32) {
        self.end = self.end.min(offset.saturating_add(len));
    }
}
