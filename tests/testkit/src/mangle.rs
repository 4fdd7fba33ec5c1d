//! What a network or capture point does to segments: cuts them differently, copies, reorders, delays and
//! loses them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::scene::Side;
use crate::tcp::Segment;

/// One change of the sequence. Positions refer to the sequence at that time.
#[derive(Clone, Debug)]
pub enum Mangle {
    /// A segment is lost. `spare_handshake` protects the handshake.
    Drop(Index),
    /// A copy appears this many segments later.
    Copy(Index, usize),
    /// A segment is seen this many segments late.
    Delay(Index, usize),
    /// A later copy begins in the middle of this segment and reaches into the next of its direction (a
    /// retransmission with other boundaries).
    Recut(Index, usize),
    /// A segment is seen as two.
    Split(Index, Index),
}

/// What is still true after the changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mangled {
    /// Bytes, or a SYN, FIN or RST, are not seen at all.
    pub lost: bool,
}

/// Which changes may occur.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The maximum number of changes.
    pub count: usize,
    /// Whether segments may be lost.
    pub loss: bool,
    /// The maximum distance a segment moves, in segments.
    pub reach: usize,
    /// Whether no segment may be delayed behind one of the other direction or behind a RST: reordering within
    /// the network, not a capture with effects before their causes.
    pub causal: bool,
}

/// Random changes.
pub fn mangles(options: Options) -> impl Strategy<Value = Vec<Mangle>> {
    let far = 1..=options.reach.max(1);
    let index = any::<Index>;
    let harmless = prop_oneof![
        (index(), far.clone()).prop_map(|(i, by)| Mangle::Copy(i, by)),
        (index(), far.clone()).prop_map(|(i, by)| Mangle::Delay(i, by)),
        (index(), far).prop_map(|(i, by)| Mangle::Recut(i, by)),
        (index(), index()).prop_map(|(i, at)| Mangle::Split(i, at)),
    ];
    let any_mangle = if options.loss {
        prop_oneof![2 => index().prop_map(Mangle::Drop), 3 => harmless].boxed()
    } else {
        harmless.boxed()
    };
    vec(any_mangle, 0..=options.count)
}

/// Applies `mangles` to the segments of one connection. Times stay in place: a segment that moves takes the
/// time of its new position. The first `spare` segments (the handshake) stay as they are.
pub fn apply(
    segments: &[Segment],
    mangles: &[Mangle],
    spare: usize,
    causal: bool,
) -> (Vec<Segment>, Mangled) {
    let mut sequence = segments.to_vec();
    let mut mangled = Mangled::default();
    for mangle in mangles {
        let Some(free) = sequence.len().checked_sub(spare).filter(|n| *n > 0) else {
            break;
        };
        let place = |index: &Index| spare + index.index(free);
        match mangle {
            Mangle::Drop(index) => {
                let gone = sequence.remove(place(index));
                // What a copy still shows is not lost.
                let shown = sequence.iter().any(|s| covers(s, &gone));
                let empty = gone.payload.is_empty() && !gone.syn && !gone.fin && !gone.rst;
                mangled.lost |= !shown && !empty;
            }
            Mangle::Copy(index, by) => {
                let at = place(index);
                let copy = sequence[at].clone();
                sequence.insert((at + by).min(sequence.len()), copy);
            }
            Mangle::Delay(index, by) => {
                let at = place(index);
                let late = sequence.remove(at);
                let free =
                    sequence[at..].iter().take_while(|s| s.from == late.from && !s.rst).count();
                let by = if causal { free.min(*by) } else { *by };
                sequence.insert((at + by).min(sequence.len()), late);
            }
            Mangle::Recut(index, by) => {
                let at = place(index);
                if let Some((copy, next)) = recut(&sequence, at) {
                    // A segment is not retransmitted before it was sent.
                    let sent = if causal { next + 1 } else { 0 };
                    sequence.insert((at + by).max(sent).min(sequence.len()), copy);
                }
            }
            Mangle::Split(index, cut) => {
                let at = place(index);
                let len = sequence[at].payload.len();
                if len >= 2 {
                    let cut = 1 + cut.index(len - 1);
                    let mut second = sequence[at].clone();
                    second.payload = sequence[at].payload.split_off(cut);
                    second.seq = sequence[at].payload_seq().wrapping_add(cut as u32);
                    second.syn = false;
                    sequence[at].fin = false;
                    sequence[at].rst = false;
                    sequence.insert(at + 1, second);
                }
            }
        }
    }
    let start = segments.first().map_or(0, |s| s.time_ns);
    for (position, segment) in sequence.iter_mut().enumerate() {
        let time = segments.get(position).or(segments.last()).map_or(start, |s| s.time_ns);
        segment.time_ns = time + position.saturating_sub(segments.len()) as u64 * 100_000;
    }
    (sequence, mangled)
}

/// Whether the segments show that an end sent data: payload, or positions in a stream, of its sender or in
/// the peer's acknowledgements, that differ by more than a FIN. What came before the first SYN or payload
/// belongs to no connection yet.
pub fn shows_speech(seen: &[Segment]) -> bool {
    let begins = |segment: &Segment| segment.syn || !segment.payload.is_empty();
    let first = seen.iter().position(begins).unwrap_or(seen.len());
    let seen = seen.get(first..).unwrap_or_default();
    let apart = |side: Side| {
        let places = seen.iter().filter_map(|segment| {
            if segment.from == side {
                return Some(segment.payload_seq());
            }
            let acknowledges = !segment.syn || segment.from == Side::Server;
            acknowledges.then_some(segment.ack)
        });
        let mut places = places.peekable();
        let first = places.peek().copied().unwrap_or(0);
        places.any(|place| (place.wrapping_sub(first) as i32).unsigned_abs() > 1)
    };
    let payload = seen.iter().any(|segment| !segment.payload.is_empty());
    payload || apart(Side::Client) || apart(Side::Server)
}

/// Whether `seen` shows all of `gone`.
fn covers(seen: &Segment, gone: &Segment) -> bool {
    let offset = gone.payload_seq().wrapping_sub(seen.payload_seq()) as usize;
    seen.from == gone.from
        && (seen.syn || !gone.syn)
        && (seen.fin || !gone.fin)
        && (seen.rst || !gone.rst)
        && seen.payload.get(offset..).is_some_and(|rest| rest.starts_with(&gone.payload))
}

/// A copy of the second half of a segment and the first half of the next one of its direction, and the index
/// of that one.
fn recut(sequence: &[Segment], at: usize) -> Option<(Segment, usize)> {
    let first = sequence.get(at).filter(|s| s.payload.len() >= 2)?;
    let end = first.payload_seq().wrapping_add(first.payload.len() as u32);
    let half = first.payload.len() / 2;
    let mut payload = first.payload[half..].to_vec();
    let next = sequence
        .iter()
        .position(|s| s.from == first.from && s.payload_seq() == end && !s.payload.is_empty());
    let next = next.unwrap_or(at);
    if next != at {
        let next = &sequence[next].payload;
        payload.extend_from_slice(&next[..next.len().div_ceil(2)]);
    }
    let copy = Segment {
        seq: first.payload_seq().wrapping_add(half as u32),
        syn: false,
        fin: false,
        rst: false,
        payload,
        ..sequence[next].clone()
    };
    Some((copy, next))
}
