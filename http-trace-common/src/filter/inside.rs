//! Segments that need no working memory, because their first byte begins no message: of connections that are not followed,
//! like most packets that are not HTTP/1.x, or inside a body, like most of a download. The latter are settled in the flow
//! table.

use super::{
    env::interface_of,
    segment::may_begin,
    state::{Flow, Side, side_flag},
};
use crate::{
    config::{FilterConfig, decap},
    flow::seq_distance,
    walk::{Segment, tcp_flag},
};

/// Whether a segment with this first byte is settled without working memory if its connection is not followed, or
/// [`skip_inside`] takes it.
#[inline(always)]
pub fn may_settle(config: &FilterConfig, segment: &Segment, first: u8) -> bool {
    let control = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
    // Tags belong to the key and are not known yet.
    let is_plain =
        config.port_ranges == 0 && config.snippet.bytes == 0 && config.decap & decap::VLAN == 0;
    is_plain && segment.flags & control == 0 && !segment.is_refused() && !may_begin(first)
}

/// A segment with payload and without SYN, FIN or RST.
#[derive(Clone, Copy, Debug)]
pub struct Inside {
    /// [`crate::flow::Direction::index`].
    pub direction: u32,
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Length of its payload.
    pub len: u32,
    /// [`Side::place`] of where it was seen.
    pub place: u32,
    /// Whether the flow stays as it was all the same ([`crate::config::FilterConfig::no_write_back`]).
    pub no_write_back: bool,
}

/// Skips a segment in the middle of a body, in a flow that is claimed. Returns `false` and leaves the flow as it was if the
/// body may end with it or something may have to be reported: then [`super::begin`] decides, as it could here too.
#[inline(always)]
pub fn skip_inside(flow: &mut Flow, segment: &Inside, now_s: u32) -> bool {
    let closed = (flow.sides[0].flags | flow.sides[1].flags) & side_flag::CLOSED != 0;
    let other_interface = flow.interfaces[0] != interface_of(segment.place);
    if closed || other_interface || flow.syn_pending != 0 || flow.wanted != 0 {
        return false;
    }
    let skipped = if segment.direction == 0 {
        skip(&mut flow.sides[0], segment)
    } else {
        skip(&mut flow.sides[1], segment)
    };
    if skipped {
        flow.last_seen_s = now_s;
    }
    skipped
}

/// How far a body may be skipped without a report. Sequence numbers are compared over less than half of their range, 2^31.
const FAR_BYTES: i32 = 1 << 28;

#[inline(always)]
fn skip(side: &mut Side, segment: &Inside) -> bool {
    let len = u64::from(segment.len);
    let continues = side.flags & side_flag::KNOWN != 0 && side.next == segment.seq;
    let is_near = seq_distance(side.reported, side.next) < FAR_BYTES;
    let ends = side.framer.skippable() <= len || side.framer.is_length_unbegun();
    if !continues || side.place != segment.place || !is_near || ends {
        return false;
    }
    if !segment.no_write_back {
        side.framer.skip(len);
        side.next = segment.seq.wrapping_add(segment.len);
    }
    true
}
