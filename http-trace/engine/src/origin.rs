//! Where and when bytes were seen, and their position in the stream.
//!
//! Positions are 64-bit numbers whose low half is the TCP sequence number, so they do not wrap. Keeps no
//! state.

use http_trace_common::flow::{FlowKey, seq_distance};
use http_trace_common::record::{Hook, RecordHeader, flag};

/// Flags of a filter's record that it did not frame.
const UNFRAMED: u16 = flag::FILTERED | flag::UNFILTERED;

/// The position nearest to `near` whose low half is `seq`.
#[inline]
pub const fn position(near: u64, seq: u32) -> u64 {
    near.wrapping_add_signed(seq_distance(near as u32, seq) as i64)
}

/// The position at which a stream is joined with `seq`: far enough from 0 that positions before it are
/// not negative.
pub const fn first_position(seq: u32) -> u64 {
    (1 << 33) | seq as u64
}

/// A segment's acknowledgement: after a loss, it shows which request a response answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack(Option<u32>);

impl Ack {
    pub const fn of(number: u32) -> Self {
        Ack(Some(number))
    }

    pub const fn number(self) -> Option<u32> {
        self.0
    }
}

/// Where and when bytes were seen: a record's header without its position in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Unix time, ns.
    pub time_ns: u64,
    /// Socket cookie, 0 when unknown.
    pub socket_cookie: u64,
    /// cgroup id, 0 when unknown.
    pub cgroup_id: u64,
    /// Interface indexes, 0 for none.
    pub interfaces: [u32; 4],
    /// Acknowledgement of the other direction.
    pub ack: Ack,
    /// The frame's length on the wire, in bytes.
    pub wire_len: u32,
    /// Number of its tags and tunnels, 0 for none.
    pub encap: u32,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Number of copies that the filter dropped before this record.
    pub retransmissions: u16,
    /// Where the record was made.
    pub hook: Hook,
    /// Name of the connection that it was seen under, as [`Alias::path`](crate::names::Alias::path); 0
    /// for the connection's own.
    pub path: u8,
    /// A filter shipped it unframed and without its flow, which another CPU had claimed, so it could not
    /// declare skips before it.
    pub without_flow: bool,
}

impl Origin {
    /// From a record under the connection's name number `path`.
    pub fn of(header: &RecordHeader, path: u8) -> Self {
        Origin {
            time_ns: header.time_ns,
            socket_cookie: header.socket_cookie,
            cgroup_id: header.cgroup_id,
            interfaces: header.interfaces,
            ack: if header.has(flag::ACK) { Ack::of(header.ack) } else { Ack::default() },
            wire_len: header.wire_len,
            encap: header.encap,
            flags: header.flags,
            retransmissions: header.retransmissions,
            hook: Hook::from_number(header.hook).unwrap_or(Hook::Capture),
            path,
            without_flow: header.generation == 0
                && header.flags & (UNFRAMED | flag::TRIAL | flag::IN_PIECES) == UNFRAMED,
        }
    }

    /// For something that no packet showed.
    pub fn at(time_ns: u64) -> Self {
        Origin { time_ns, ..Origin::default() }
    }

    /// Whether a filter shipped this: what else it saw is body or no HTTP/1.x.
    pub const fn is_filtered(&self) -> bool {
        self.flags & flag::FILTERED != 0
    }

    /// Whether a filter shipped this after framing it.
    pub const fn framed_by_filter(&self) -> bool {
        self.flags & UNFRAMED == flag::FILTERED
    }

    /// Whether it was seen live, so that missing bytes are a loss of our own.
    pub fn is_live(&self) -> bool {
        self.hook != Hook::Capture
    }

    /// Cookies of the sending and the receiving socket, as far as known. A packet carries its sender's
    /// cookie until it is received; the cgroup hook sees what a socket has received.
    pub fn sockets(&self) -> [Option<u64>; 2] {
        let cookie = (self.socket_cookie != 0).then_some(self.socket_cookie);
        if self.hook == Hook::Cgroup && !self.is_egress() { [None, cookie] } else { [cookie, None] }
    }

    /// Whether it was leaving the host.
    pub const fn is_egress(&self) -> bool {
        self.flags & flag::EGRESS != 0
    }
}

/// The point at which a packet was seen, and its direction there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CapturePoint {
    pub(crate) hook: Hook,
    pub(crate) interface: u32,
    pub(crate) egress: bool,
    pub(crate) netns: u32,
}

impl CapturePoint {
    pub fn of(header: &RecordHeader) -> Self {
        CapturePoint {
            hook: Hook::from_number(header.hook).unwrap_or(Hook::Capture),
            interface: header.interfaces[0],
            egress: header.flags & flag::EGRESS != 0,
            netns: header.netns,
        }
    }

    /// From a segment of the connection named `key`.
    pub fn of_segment(key: &FlowKey, origin: &Origin) -> Self {
        CapturePoint {
            hook: origin.hook,
            interface: origin.interfaces[0],
            egress: origin.is_egress(),
            // The other hooks are in one namespace, where a tunnel's number distinguishes keys and two
            // tunnels pass one point.
            netns: match origin.hook {
                Hook::Tc | Hook::SocketFilter | Hook::Xdp => 0,
                Hook::Cgroup | Hook::Capture => key.netns,
            },
        }
    }

    /// The single point of a capture.
    pub const fn of_capture() -> Self {
        CapturePoint { hook: Hook::Capture, interface: 0, egress: false, netns: 0 }
    }

    /// Whether it sees packets live.
    pub fn is_live(&self) -> bool {
        self.hook != Hook::Capture
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn only_what_a_filter_shipped_without_the_flow_that_it_has_may_follow_what_was_skipped() {
        let without_flow = |flags: u16, generation: u32| {
            Origin::of(&RecordHeader { flags, generation, ..RecordHeader::zeroed() }, 0)
                .without_flow
        };
        assert!(without_flow(UNFRAMED, 0));
        for (flags, generation, what) in [
            (0, 0, "a replay without the filter"),
            (flag::FILTERED, 0, "framed"),
            (UNFRAMED, 7, "with its flow"),
            (UNFRAMED | flag::IN_PIECES, 0, "put together"),
            (UNFRAMED | flag::TRIAL, 0, "on trial"),
        ] {
            assert!(!without_flow(flags, generation), "{what}");
        }
    }

    #[test]
    fn positions_follow_wrapping_sequence_numbers() {
        let start = first_position(0xffff_fff0);
        assert_eq!(position(start, 0x10), start + 0x20);
        assert_eq!(position(start + 0x20, 0xffff_fff0), start);
        assert_eq!(position(start, 0xffff_ffef), start - 1);
    }
}
