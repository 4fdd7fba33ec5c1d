//! Finds the TCP segment in a frame. Knows nothing of HTTP and keeps no state between packets.
//!
//! [`ethernet`] and [`ip`] are the lean walk of the kernel's hooks: Ethernet, IPv4 or IPv6, TCP. If
//! configured, [`inner_ip`] looks into one tunnel and [`tags`] reads the VLANs. [`piece()`] reads a
//! fragment.
//!
//! [`frame`] is the full walk of a replay: every link type, tag and tunnel down to the innermost TCP
//! segment, with its encapsulation as an [`Encap`].

mod checksum;
mod cursor;
mod encap;
mod full;
mod inside;
mod lean;
mod link;
mod link_layer;
mod piece;
mod segment;
mod tag;
mod tunnel;

pub use checksum::{HEADER_SPACE, Sum, of_header, of_segment};
pub use cursor::{Found, Fragment, FragmentId, More, WalkOptions};
pub use encap::{Encap, Layer, LayerKind, MAX_LAYERS, MAX_OUTERS, Outer, TUNNEL_LEN, Tunnel};
pub use full::{frame, packet, resume};
pub use inside::{inner_ip, tags};
pub use lean::{ethernet, ip, ip_of_ethernet};
pub use link::LinkType;
pub use piece::{Piece, first_piece, piece, piece_key};
pub use segment::{
    PacketBytes, Segment, Skip, TAG_LEN, VLAN_NUMBER, ether_type, ip_proto, is_tag, tcp_flag,
};

#[cfg(test)]
mod tests;
