//! Connections below HTTP: the table that holds them and the reassembly of their bytes.
//!
//! Knows sequence numbers and bounds; knows nothing of messages.

pub mod alias;
pub mod encaps;
pub mod reassembly;
pub mod table;

use http_trace_common::record::{Hook, IN_PIECES, RecordHeader, flag};

/// Bits of what a filter ships as it is.
const UNFRAMED: u16 = flag::FILTERED | flag::UNFILTERED;

/// Where and when bytes were seen: what is kept of a record's header beside its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When, Unix ns.
    pub time_ns: u64,
    /// Socket cookie, 0 when unknown.
    pub socket_cookie: u64,
    /// cgroup id, 0 when unknown.
    pub cgroup_id: u64,
    /// Interface indexes, 0 for none.
    pub interfaces: [u32; 4],
    /// Acknowledgement number, valid with [`flag::ACK`] in `flags`.
    pub ack: u32,
    /// The frame's length on the wire, in bytes.
    pub wire_len: u32,
    /// Number of the tags and tunnels it was wrapped in, 0 for none.
    pub encap: u32,
    /// Bits of [`flag`].
    pub flags: u16,
    /// Copies that the filter dropped before this record.
    pub retransmissions: u16,
    /// A [`Hook`] as its number.
    pub hook: u8,
    /// Under which of the connection's names, as [`alias::Alias::path`]; 0 for its own.
    pub path: u8,
    /// A filter shipped it as it is and without the connection's flow, which another CPU held: it
    /// could not say what was skipped as body before.
    pub without_flow: bool,
}

impl Origin {
    /// Of a record.
    pub const fn of(header: &RecordHeader) -> Self {
        Origin {
            time_ns: header.time_ns,
            socket_cookie: header.socket_cookie,
            cgroup_id: header.cgroup_id,
            interfaces: header.interfaces,
            ack: header.ack,
            wire_len: header.wire_len,
            encap: header.reserved,
            flags: header.flags,
            retransmissions: header.retransmissions,
            hook: header.hook,
            path: 0,
            without_flow: header.generation == 0
                && header.flags & (UNFRAMED | flag::TRIAL) == UNFRAMED
                && header.trial_from != IN_PIECES,
        }
    }

    /// The acknowledgement number, if there is one.
    pub const fn ack(&self) -> Option<u32> {
        if self.flags & flag::ACK != 0 {
            Some(self.ack)
        } else {
            None
        }
    }

    /// Whether a filter shipped this as what it framed.
    pub const fn framed_by_filter(&self) -> bool {
        self.flags & UNFRAMED == flag::FILTERED
    }

    /// The hook; a capture when its number is none.
    pub fn hook(&self) -> Hook {
        Hook::from_number(self.hook).unwrap_or(Hook::Capture)
    }
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable as _;

    use super::*;

    #[test]
    fn only_what_a_filter_shipped_without_the_flow_that_it_has_may_follow_what_was_skipped() {
        let without_flow = |flags: u16, generation: u32, trial_from: u32| {
            Origin::of(&RecordHeader {
                flags,
                generation,
                trial_from,
                ..RecordHeader::zeroed()
            })
            .without_flow
        };
        assert!(without_flow(UNFRAMED, 0, 0));
        for (flags, generation, trial_from, what) in [
            (0, 0, 0, "a replay without the filter"),
            (flag::FILTERED, 0, 0, "framed"),
            (UNFRAMED, 7, 0, "with its flow"),
            (UNFRAMED, 0, IN_PIECES, "put together"),
            (UNFRAMED | flag::TRIAL, 0, 9, "on trial"),
        ] {
            assert!(!without_flow(flags, generation, trial_from), "{what}");
        }
    }
}
