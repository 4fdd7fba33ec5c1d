//! Admission: which segment causes an unknown connection to be followed.

use super::{
    env::{Claim, Context, Env, Verified, View},
    first::{First, PEEK},
    known::unsure,
    segment::{clear_flow, first_bytes},
    ship::{ship_all, ship_raw, ship_start},
    state::{
        Block, Continue, Scratch, Syn, both, generation, held, mode, other_side, side, side_flag,
    },
    syn::ship_unanswered,
};
use crate::{
    config::FilterConfig,
    counter::Counter,
    flow::Direction,
    framer::{RequestQueue, Window},
    record::flag,
    start_line,
    walk::tcp_flag,
};

/// Handles a segment of a connection that is not followed: admits the connection if the segment
/// begins a message.
#[inline(always)]
pub(super) fn admit<E: Env>(
    s: &mut Scratch,
    env: &mut E,
    config: &FilterConfig,
    context: &Context,
) -> Continue {
    let first = first_bytes::<E>(s, env);
    if first == First::Other {
        env.count(Counter::NotHttp, 1);
        return false;
    }
    if env.is_own(&s.key) {
        env.count(Counter::OwnTraffic, 1);
        return false;
    }
    env.syn(&s.key, &mut s.syn);
    let beginning = E::begin_flow(s, context.place());
    let begins = beginning == beginning::SYN;
    let at_start = beginning != beginning::UNSEEN;
    match first {
        First::Tls | First::Http2 => {
            // Ship the first bytes once, at the start of the connection, so that the host can
            // report what it cannot read.
            if begins {
                let len = if s.end < PEEK { s.end } else { PEEK };
                env.count(if first == First::Tls { Counter::Tls } else { Counter::Http2 }, 1);
                E::fill_header(s);
                s.block.header.flags = s.record_flags as u16
                    | flag::OPAQUE
                    | flag::SEGMENT_BEGINS
                    | flag::STREAM_BEGINS;
                s.block.header.len = len;
                s.block.header.skip_to = s.seq.wrapping_add(len);
                env.emit(&mut s.block);
            } else {
                env.count(Counter::NotHttp, 1);
            }
            return false;
        }
        First::Prefix if !at_start => {
            env.count(Counter::NotHttp, 1);
            return false;
        }
        _ => {}
    }
    if E::FRAMES
        && begins
        && s.syn.valid & Syn::ACKNOWLEDGED == 0
        && other_side(s).flags & side_flag::KNOWN != 0
    {
        ship_unanswered(s, env);
    }
    if at_start {
        let inserted = insert(s, env);
        if !E::FRAMES {
            ship_all(s);
        }
        return inserted;
    }
    s.flow.queue = RequestQueue::unknown();
    if first == First::Status {
        side(s).framer.lose();
        env.count(Counter::BecameUnsure, 1);
        ship_start(s, env);
        if !insert(s, env) {
            return false;
        }
        s.record_flags |= u32::from(flag::HEAD_BEGINS);
        return unsure(s, env, config);
    }
    if !E::FRAMES {
        if !has_request_line(s, env) {
            env.count(Counter::NotHttp, 1);
            return false;
        }
        let continues = insert(s, env);
        ship_all(s);
        return continues;
    }
    s.mode = mode::PROBE;
    true
}

/// Where the first segment of a flow stands in its stream.
pub mod beginning {
    /// The stream's beginning was not seen.
    pub const UNSEEN: u32 = 0;
    /// It is the first after a SYN.
    pub const SYN: u32 = 1;
    /// It continues a followed connection that was closed.
    pub const BEFORE: u32 = 2;
}

/// Sets the flow to a connection whose first segment is the current one; the tuple's entry of SYNs is loaded.
/// Returns one of [`beginning`].
///
/// A separate function so that the verifier does not walk all that follows for each of its paths.
#[inline(always)]
pub fn begin_flow<E: Env>(s: &mut Scratch, place: u32) -> u32 {
    clear_flow::<E>(s);
    s.flow.generation = generation(s.time_ns);
    s.flow.last_seen_s = (s.time_ns / 1_000_000_000) as u32;
    s.flow.interfaces = [s.interface, 0, 0, 0];
    let (seq, ack) = (s.seq, s.ack);
    let acknowledges = s.tcp_flags as u8 & tcp_flag::ACK != 0;
    let (_, _, peer_known, peer_first) = both(s);
    let direction = if s.direction == 0 { Direction::FromA } else { Direction::FromB };
    let previous = s.syn.previous(direction.opposite());
    let mut continues = s.syn.continues(direction, seq);
    let mut begins = s.syn.begins(direction, seq);
    if continues && s.syn.valid & Syn::SILENT != 0 {
        // Two handshakes are possible: take the one that this segment acknowledges or whose numbers
        // fit.
        if !begins || ack == previous {
            s.syn.first = s.syn.previous;
            s.syn.valid |= 3;
            begins = true;
        }
        continues = false;
    } else if continues && begins && peer_known && ack == peer_first && ack != previous {
        // Another connection begins exactly where the one before ended.
        continues = false;
    }
    // A SYN that came since then may still begin another connection.
    s.flow.syn_pending = u16::from(continues && s.syn.valid & 3 != 0);
    let own = side(s);
    own.stand_at(seq);
    own.flags = side_flag::KNOWN;
    own.place = place;
    if continues {
        let other = other_side(s);
        other.stand_at(previous);
        other.flags = side_flag::KNOWN;
        return beginning::BEFORE;
    }
    if !begins {
        return beginning::UNSEEN;
    }
    own.flags |= side_flag::AT_START;
    let (_, _, peer_known, peer_first) = both(s);
    if peer_known || acknowledges {
        let next = if peer_known { peer_first } else { ack };
        let spoken = acknowledges && ack != next;
        let other = other_side(s);
        other.stand_at(if spoken { ack } else { next });
        other.flags = side_flag::KNOWN;
        if spoken {
            // The peer has sent bytes that were not seen, so this segment does not answer a
            // known request.
            other.framer.lose();
            s.flow.queue = RequestQueue::unknown();
        } else if peer_known {
            other.flags |= side_flag::AT_START;
        }
    }
    beginning::SYN
}

/// Longest request line that is searched for without the framer.
const REQUEST_LINE: u32 = 512;

/// Whether the segment, which begins with a method and SP, begins with a complete request line.
/// [`mode::PROBE`] finds the same with the framer.
#[inline(always)]
fn has_request_line<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    let len = if s.end < REQUEST_LINE { s.end } else { REQUEST_LINE };
    if !env.load(&mut s.block, s.payload_offset, len) {
        env.count(Counter::LoadFailed, 1);
        return false;
    }
    env.ends_request_line(&s.block, len)
}

/// Whether the first line in the `len` bytes of a block ends like a request line.
#[inline(always)]
pub fn ends_request_line<E: Verified>(block: &Block, len: u32) -> bool {
    let view = View::<E>::new(block);
    let mut state = start_line::SUFFIX_NONE;
    let mut i = 0;
    while i < REQUEST_LINE && i < len {
        let b = view.byte(i);
        if b == b'\n' {
            return start_line::suffix_complete(state);
        }
        state = start_line::suffix_next(state, b);
        i += 1;
    }
    false
}

#[inline(always)]
pub(super) fn insert<E: Env>(s: &mut Scratch, env: &mut E) -> bool {
    match env.insert(&s.key, &mut s.flow) {
        Claim::Held => {
            s.held = held::FLOW;
            env.count(Counter::FlowsAdmitted, 1);
            true
        }
        Claim::Refused => {
            // Another CPU was faster and holds the state; this one only ships.
            env.count(Counter::ClaimRefused, 1);
            ship_raw::<E>(s);
            true
        }
        Claim::Missing => {
            env.count(Counter::TableFull, 1);
            false
        }
    }
}
