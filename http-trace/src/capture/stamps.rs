//! TCP timestamps of both ends of a connection (RFC 7323): which segments their receiver drops as too old. Keeps no
//! state of other connections and knows no packet format.
//!
//! A receiver drops a segment that is older than the last timestamp it accepted (PAWS, section 5), and echoes that
//! timestamp in each of its own segments. So an observer of both ends knows what the receiver drops, as long as nobody
//! forges both ends. If an end later echoes an older timestamp, somebody does, and no segment sent to that end is
//! disproved any more.

/// Number of ticks that a segment may be older than the last: Linux's `TCP_PAWS_WINDOW`.
const WINDOW: i32 = 1;

/// Maximum distance of a segment ahead of what its receiver has acknowledged, within which it certainly belongs to
/// this connection. In one capture several connections may have the same addresses and ports.
const NEAR: u32 = 1 << 20;

/// A segment with payload, or one that opens or closes a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub seq: u32,
    pub ack: Option<u32>,
    pub syn: bool,
    pub rst: bool,
    /// Its own timestamp, and the echoed one.
    pub stamps: (u32, u32),
}

/// Timestamps of both directions of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps([Side; 2]);

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// Its latest timestamp.
    latest: Option<u32>,
    /// What its peer has accepted: the latest timestamp, and the bytes up to here.
    taken: Option<(u32, u32)>,
    /// The peer contradicted itself, so somebody forges its segments.
    contradicted: bool,
}

impl Stamps {
    /// Whether the peer of direction `d` drops this segment as too old. If not, the segment updates the state.
    pub(super) fn stale(&mut self, d: usize, sent: &Sent) -> bool {
        let (own, echoed) = sent.stamps;
        let Some([side, peer]) = self.0.get_disjoint_mut([d, 1 - d]).ok() else {
            return false;
        };
        if sent.syn {
            *side = Side::default();
        } else if let Some((taken, acked)) = side.taken
            && !side.contradicted
            && !sent.rst
            && ahead(taken, own) > WINDOW
            // A segment that was acknowledged before it was seen is late in the capture, not at its receiver.
            && sent.seq.wrapping_sub(acked) < NEAR
        {
            return true;
        }
        if side.latest.is_none_or(|latest| ahead(own, latest) > 0) {
            side.latest = Some(own);
        }
        let was_sent = peer.latest.is_some_and(|latest| ahead(latest, echoed) >= 0);
        let Some(ack) = sent.ack.filter(|_| was_sent) else { return false };
        match &mut peer.taken {
            Some((taken, acked)) if ahead(ack, *acked) >= 0 => {
                peer.contradicted |= ahead(*taken, echoed) > WINDOW;
                *acked = ack;
                if ahead(echoed, *taken) > 0 {
                    *taken = echoed;
                }
            }
            Some(_) => {}
            none => *none = Some((echoed, ack)),
        }
        false
    }
}

/// How far `a` is ahead of `b`, modulo 2^32.
const fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// The timestamps in the options of a TCP header: its own, and the echoed one.
pub(super) fn timestamps(header: &[u8]) -> Option<(u32, u32)> {
    let mut options = header.get(20..)?;
    loop {
        options = match options {
            [1, rest @ ..] => rest,
            [8, 10, a, b, c, d, e, f, g, h, ..] => {
                return Some((
                    u32::from_be_bytes([*a, *b, *c, *d]),
                    u32::from_be_bytes([*e, *f, *g, *h]),
                ));
            }
            [kind, len, ..] if *kind != 0 && *len >= 2 => options.get(usize::from(*len)..)?,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Direction, sequence number, acknowledgement number, own timestamp, echoed timestamp, whether it is dropped.
    type Row = (usize, u32, u32, u32, u32, bool);

    fn check(handshake: [u32; 2], rows: &[Row]) {
        // Timestamps and sequence numbers wrap within the connection.
        let base = u32::MAX - 5;
        let mut known = Stamps::default();
        for (d, stamp) in handshake.into_iter().enumerate() {
            let sent = Sent {
                seq: base,
                ack: (d == 1).then_some(base.wrapping_add(1)),
                syn: true,
                rst: false,
                stamps: (base.wrapping_add(stamp), base),
            };
            assert!(!known.stale(d, &sent));
        }
        for (n, &(d, seq, ack, own, echoed, refused)) in rows.iter().enumerate() {
            let sent = Sent {
                seq: base.wrapping_add(seq),
                ack: Some(base.wrapping_add(ack)),
                syn: false,
                rst: false,
                stamps: (base.wrapping_add(own), base.wrapping_add(echoed)),
            };
            assert_eq!(known.stale(d, &sent), refused, "row {n} of {rows:?}");
        }
    }

    #[test]
    fn what_is_older_than_what_the_peer_has_taken_is_refused() {
        check(
            [0, 0],
            &[
                (0, 1, 1, 10, 0, false),
                (1, 1, 11, 11, 10, false),
                // Nothing is too old before the peer has echoed a timestamp.
                (1, 21, 11, 2, 10, false),
                (0, 11, 21, 12, 11, false),
                // From either end: a forged segment, the right one, one that is one tick older, a copy of an
                // acknowledged one.
                (1, 21, 21, 9, 12, true),
                (1, 21, 21, 13, 12, false),
                (0, 21, 31, 10, 13, true),
                (0, 21, 31, 11, 13, false),
                (0, 5, 31, 8, 13, false),
                // Another connection with the same addresses and ports.
                (0, 1 << 30, 31, 3, 13, false),
            ],
        );
    }

    #[test]
    fn who_echoes_what_was_never_sent_disproves_nothing() {
        check(
            [0, 0],
            &[
                (0, 1, 1, 10, 0, false),
                (1, 1, 11, 11, 5000, false),
                (0, 11, 21, 12, 11, false),
                (1, 21, 21, 13, 12, false),
            ],
        );
    }

    #[test]
    fn a_forger_of_both_ends_is_believed_once() {
        check(
            [0, 0],
            &[
                (0, 1, 1, 10, 0, false),
                (1, 1, 11, 11, 10, false),
                // Forged segments of both ends, far in the future.
                (0, 11, 21, 5000, 11, false),
                (1, 21, 21, 12, 5000, false),
                // The right ones: what their peer echoes exposes the forged ones.
                (0, 21, 21, 13, 12, true),
                (1, 21, 31, 14, 13, false),
                (0, 31, 31, 15, 14, false),
            ],
        );
    }

    #[test]
    fn options_are_found_behind_others_and_cut_ones_are_none() {
        let header = |options: &[u8]| [&[0; 20][..], options].concat();
        let stamps = [8, 10, 0, 0, 1, 2, 0, 0, 3, 4];
        for options in [
            stamps.to_vec(),
            [&[1, 1][..], &stamps].concat(),
            [&[2, 4, 5, 0xb4, 4, 2][..], &stamps].concat(),
        ] {
            assert_eq!(timestamps(&header(&options)), Some((0x0102, 0x0304)));
        }
        for options in [&[][..], &stamps[..9], &[0, 0, 0, 0], &[3, 1, 1, 1], &[3, 40]] {
            assert_eq!(timestamps(&header(options)), None, "{options:?}");
        }
        assert_eq!(timestamps(&[0; 10]), None);
    }
}
