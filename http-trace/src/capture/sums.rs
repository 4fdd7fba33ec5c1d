//! Segments whose checksum or timestamp shows that their receiver does not take them.
//!
//! For SYNs, FINs and RSTs without payload, the kernel's filter does the same with its table of SYNs
//! (`http_trace_common::filter::sum::is_disproved`).
//!
//! Segments with payload need more care, because dropping them may hide a connection. Tools that rewrite
//! payload or addresses of captures leave its checksum unchanged, and network cards that merge segments keep
//! that of the first. So the sender must have sent payload with a right checksum before, and the segment must
//! fit into one packet.

use std::num::NonZeroUsize;

use super::stamps::{Sent, Stamps, timestamps};
use http_trace_common::flow::FlowKey;
use http_trace_common::walk::{Segment, Sum, of_segment, tcp_flag};
use lru::LruCache;

/// Maximum number of connections remembered; the one that was not seen for the longest time is evicted.
const MAX_TUPLES: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

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

/// Which senders fill in checksums, by connection and direction: first of all those of whose SYN it is right. And
/// the timestamps of both.
#[derive(Debug)]
pub struct Sums(LruCache<FlowKey, Tuple>);

impl Default for Sums {
    fn default() -> Self {
        Sums(LruCache::sparse(MAX_TUPLES))
    }
}

impl Sums {
    /// Whether `segment`, found in `packet`, is one that its receiver refuses: it has a wrong checksum, of a sender
    /// who fills it in, or a timestamp that is too old.
    pub fn disprove(&mut self, packet: &[u8], segment: &Segment) -> bool {
        let has = |flags: u8| segment.flags & flags != 0;
        let control = has(tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST);
        let payload = segment.payload_len > 0;
        if !control && !payload {
            return false;
        }
        let header_len = segment.header_len.into();
        let begin = segment.payload_offset.checked_sub(header_len);
        let begins = begin.and_then(|begin| packet.get(begin as usize..));
        let Some(bytes) = begins.filter(|_| header_len > 0) else {
            return false;
        };
        let syn = has(tcp_flag::SYN);
        let stamps = bytes.get(..header_len as usize).and_then(timestamps);
        let sum = || {
            let len = header_len + segment.payload_len;
            let whole = bytes.get(..len as usize);
            let whole = whole.filter(|_| control || segment.payload_len <= ONE_PACKET);
            whole.map_or(Sum::Unknown, |bytes| of_segment(&segment.key, bytes))
        };
        // Other senders are not known before their SYN.
        let is_new = syn && (stamps.is_some() || matches!(sum(), Sum::Right));
        let known = if is_new {
            Some(self.0.get_or_insert_mut(segment.key, Tuple::default))
        } else {
            self.0.get_mut(&segment.key)
        };
        let Some(known) = known else { return false };
        let d = segment.direction.index();
        let right = &mut known.right[d];
        if right.syn || syn {
            match sum() {
                Sum::Unknown => {}
                Sum::Right => {
                    right.syn = true;
                    right.payload |= payload;
                }
                Sum::Wrong if payload && !control => {
                    if right.payload {
                        return true;
                    }
                }
                Sum::Wrong => {
                    if right.syn {
                        return true;
                    }
                }
            }
        }
        stamps.is_some_and(|stamps| {
            let sent = Sent {
                seq: segment.seq,
                ack: has(tcp_flag::ACK).then_some(segment.ack),
                syn,
                rst: has(tcp_flag::RST),
                stamps,
            };
            known.stamps.stale(d, &sent)
        })
    }
}
