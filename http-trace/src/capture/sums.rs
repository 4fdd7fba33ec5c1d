//! Segments whose checksum shows that their receiver drops them.
//!
//! For SYNs, FINs and RSTs without payload, the kernel's filter does the same with its table of SYNs
//! (`http_trace_common::filter::sum::is_disproved`).
//!
//! Segments with payload need more care, because dropping them may hide a connection. Tools that rewrite
//! payload or addresses of captures leave its checksum unchanged, and network cards that merge segments keep
//! that of the first. So the sender must have sent payload with a right checksum before, and the segment must
//! fit into one packet.

use std::collections::HashMap;

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

type Known = HashMap<FlowKey, [Right; 2], foldhash::fast::RandomState>;

/// Which senders fill in checksums, by connection and direction. A sender is only tracked once its SYN had a
/// right checksum.
#[derive(Debug, Default)]
pub struct Sums {
    young: Known,
    old: Known,
}

impl Sums {
    /// Whether `segment` in `packet` has a wrong checksum although its sender fills checksums in.
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
