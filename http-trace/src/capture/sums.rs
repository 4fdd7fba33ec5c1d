//! SYNs, FINs and RSTs whose checksum shows that their receiver does not take them.
//!
//! The kernel's filter does the same with its table of SYNs (`http_trace_common::filter::sum::is_disproved`).

use std::collections::HashMap;

use http_trace_common::flow::FlowKey;
use http_trace_common::walk::{Segment, Sum, of_segment, tcp_flag};

/// The most connections remembered; of those that began the longest time ago, half go at once.
const MAX_TUPLES: usize = 1 << 16;

type Known = HashMap<FlowKey, [bool; 2], foldhash::fast::RandomState>;

/// Which senders fill in checksums, by connection and direction: those of whose SYN it is right.
#[derive(Debug, Default)]
pub struct Sums {
    young: Known,
    old: Known,
}

impl Sums {
    /// Whether `segment`, found in `packet`, is a SYN, FIN or RST with a wrong checksum, of a sender who
    /// fills it in.
    pub fn disprove(&mut self, packet: &[u8], segment: &Segment) -> bool {
        const CONTROL: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
        if segment.flags & CONTROL == 0 {
            return false;
        }
        let d = segment.direction.index();
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
                if segment.flags & tcp_flag::SYN != 0 {
                    self.of(segment.key)[d] = true;
                }
                false
            }
            Sum::Wrong => {
                let known = self.young.get(&segment.key);
                known
                    .or_else(|| self.old.get(&segment.key))
                    .is_some_and(|known| known[d])
            }
        }
    }

    fn of(&mut self, key: FlowKey) -> &mut [bool; 2] {
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
