//! Segments whose checksum shows that their receiver does not take them.
//!
//! Of SYNs, FINs and RSTs without payload the kernel's filter does the same with its table of SYNs
//! (`http_trace_common::filter::sum::is_disproved`).
//!
//! Payload is more careful a matter: what hides it hides a connection. Tools that replace payload or addresses in
//! captures leave its checksums as they were, and network cards that merge segments the first one's. So of its
//! sender payload with a right one must have been seen before, and it must fit into one packet.

use std::collections::HashMap;

use http_trace_common::flow::FlowKey;
use http_trace_common::walk::{Segment, Sum, of_segment, tcp_flag};

/// The most connections remembered; of those that began the longest time ago, half go at once.
const MAX_TUPLES: usize = 1 << 16;

/// The longest payload of a segment that cannot have been merged from several, with an MTU of 1,500 bytes.
const ONE_PACKET: u32 = 1_460;

/// Of a direction's sender: of what its checksums were right.
#[derive(Clone, Copy, Debug, Default)]
struct Right {
    syn: bool,
    payload: bool,
}

type Known = HashMap<FlowKey, [Right; 2], foldhash::fast::RandomState>;

/// Which senders fill in checksums, by connection and direction: first of all those of whose SYN it is right.
#[derive(Debug, Default)]
pub struct Sums {
    young: Known,
    old: Known,
}

impl Sums {
    /// Whether `segment`, found in `packet`, has a wrong checksum, of a sender who fills it in.
    pub fn disprove(&mut self, packet: &[u8], segment: &Segment) -> bool {
        const CONTROL: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
        let (control, payload) = (segment.flags & CONTROL != 0, segment.payload_len > 0);
        if !control && !(1..=ONE_PACKET).contains(&segment.payload_len) {
            return false;
        }
        let (d, syn) = (
            segment.direction.index(),
            segment.flags & tcp_flag::SYN != 0,
        );
        let known = self.young.get(&segment.key);
        let known = known.or_else(|| self.old.get(&segment.key));
        let known = known.map(|known| known[d]).unwrap_or_default();
        if !known.syn && !syn {
            return false;
        }
        let len = u32::from(segment.header_len) + segment.payload_len;
        let begin = segment
            .payload_offset
            .checked_sub(segment.header_len.into());
        let bytes = begin.and_then(|begin| packet.get(begin as usize..)?.get(..len as usize));
        let Some(bytes) = bytes.filter(|_| segment.header_len > 0) else {
            return false;
        };
        match of_segment(&segment.key, bytes) {
            Sum::Unknown => false,
            Sum::Right => {
                if !known.syn || payload && !known.payload {
                    let own = &mut self.of(segment.key)[d];
                    own.syn = true;
                    own.payload |= payload;
                }
                false
            }
            Sum::Wrong if payload && !control => known.payload,
            Sum::Wrong => known.syn,
        }
    }

    fn of(&mut self, key: FlowKey) -> &mut [Right; 2] {
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
