//! Segments whose checksum or timestamp shows that their receiver does not take them.
//!
//! For SYNs, FINs and RSTs without payload, the kernel's filter does the same with its table of SYNs
//! (`http_trace_common::filter::sum::is_disproved`).
//!
//! Segments with payload need more care, because dropping them may hide a connection. Tools that rewrite
//! payload or addresses of captures leave its checksum unchanged, and network cards that merge segments keep
//! that of the first. So the sender must have sent payload with a right checksum before, and the segment must
//! fit into one packet.

use std::collections::HashMap;

use super::stamps::{Sent, Stamps, timestamps};
use http_trace_common::flow::FlowKey;
use http_trace_common::walk::{Segment, Sum, of_segment, tcp_flag};

/// Maximum number of connections remembered; the older half is evicted at once.
const MAX_TUPLES: usize = 1 << 16;

/// Longest payload of a segment that cannot have been merged from several, with an MTU of 1,500 bytes.
const ONE_PACKET: u32 = 1_460;

/// Which kinds of segments a direction's sender has sent with a right checksum.
#[derive(Clone, Copy, Debug, Default)]
struct Right {
    syn: bool,
    payload: bool,
}

/// Of a connection, by direction.
#[derive(Clone, Copy, Debug, Default)]
struct Tuple {
    right: [Right; 2],
    stamps: Stamps,
}

type Known = HashMap<FlowKey, Tuple, foldhash::fast::RandomState>;

/// Which senders fill in checksums, by connection and direction: first of all those of whose SYN it is right. And
/// the timestamps of both.
#[derive(Debug, Default)]
pub struct Sums {
    young: Known,
    old: Known,
}

impl Sums {
    /// Whether `segment`, found in `packet`, is one that its receiver refuses: it has a wrong checksum, of a sender
    /// who fills it in, or a timestamp that is too old.
    pub fn disprove(&mut self, packet: &[u8], segment: &Segment) -> bool {
        const CONTROL: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
        if segment.flags & CONTROL == 0 && segment.payload_len == 0 {
            return false;
        }
        let begin = segment
            .payload_offset
            .checked_sub(segment.header_len.into());
        let begins = begin.and_then(|begin| packet.get(begin as usize..));
        let Some(bytes) = begins.filter(|_| segment.header_len > 0) else {
            return false;
        };
        self.has_wrong_sum(bytes, segment) || self.is_stale(bytes, segment)
    }

    /// Whether `bytes`, which begin with the segment's header, have a wrong checksum.
    fn has_wrong_sum(&mut self, bytes: &[u8], segment: &Segment) -> bool {
        const CONTROL: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
        let (control, payload) = (segment.flags & CONTROL != 0, segment.payload_len > 0);
        if !control && segment.payload_len > ONE_PACKET {
            return false;
        }
        let (d, syn) = (
            segment.direction.index(),
            segment.flags & tcp_flag::SYN != 0,
        );
        let known = self.young.get(&segment.key);
        let known = known.or_else(|| self.old.get(&segment.key));
        let known = known.map(|known| known.right[d]).unwrap_or_default();
        if !known.syn && !syn {
            return false;
        }
        let len = u32::from(segment.header_len) + segment.payload_len;
        let Some(bytes) = bytes.get(..len as usize) else {
            return false;
        };
        match of_segment(&segment.key, bytes) {
            Sum::Unknown => false,
            Sum::Right => {
                if !known.syn || payload && !known.payload {
                    let own = &mut self.of(segment.key).right[d];
                    own.syn = true;
                    own.payload |= payload;
                }
                false
            }
            Sum::Wrong if payload && !control => known.payload,
            Sum::Wrong => known.syn,
        }
    }

    /// Whether the segment's timestamp is older than what its receiver has taken. Only of connections whose SYN had
    /// timestamps.
    fn is_stale(&mut self, bytes: &[u8], segment: &Segment) -> bool {
        let header = bytes.get(..segment.header_len.into());
        let Some(stamps) = header.and_then(timestamps) else {
            return false;
        };
        let syn = segment.flags & tcp_flag::SYN != 0;
        if !syn && !self.young.contains_key(&segment.key) && !self.old.contains_key(&segment.key) {
            return false;
        }
        let ack = segment.flags & tcp_flag::ACK != 0;
        let sent = Sent {
            seq: segment.seq,
            ack: ack.then_some(segment.ack),
            syn,
            rst: segment.flags & tcp_flag::RST != 0,
            stamps,
        };
        let known = &mut self.of(segment.key).stamps;
        known.stale(segment.direction.index(), &sent)
    }

    fn of(&mut self, key: FlowKey) -> &mut Tuple {
        if !self.young.contains_key(&key) {
            if self.young.len() >= MAX_TUPLES / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            let known = self.old.remove(&key).unwrap_or_default();
            self.young.insert(key, known);
        }
        self.young.entry(key).or_default()
    }
}
