//! What a network, or a capture point, does to segments: cuts them elsewhere, copies, reorders,
//! delays and loses them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::scene::Side;
use crate::tcp::Segment;

/// One thing that happens to the segments. Positions are of the sequence as it then is.
#[derive(Clone, Debug)]
pub enum Mangle {
    /// A segment is never seen. The handshake is spared where `spare_handshake` says so.
    Drop(Index),
    /// A copy appears this many segments later.
    Copy(Index, usize),
    /// A segment is seen this many segments later than it was sent.
    Delay(Index, usize),
    /// A copy appears later that begins in the middle of this segment and reaches into the next of
    /// its direction (a retransmission that was cut elsewhere).
    Recut(Index, usize),
    /// A segment is seen as two.
    Split(Index, Index),
}

/// What the mangling left true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mangled {
    /// Bytes, or a SYN, FIN or RST, are seen nowhere any more.
    pub lost: bool,
}

/// Which manglings may occur.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most of them.
    pub count: usize,
    /// Whether segments may be lost.
    pub loss: bool,
    /// The furthest a segment moves, in segments.
    pub reach: usize,
    /// No segment is delayed behind one of the other direction: a reordering within the network,
    /// not a capture that shows effects before their causes. Nor behind a RST, which ends all.
    pub causal: bool,
}

/// Random manglings.
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

/// Applies `mangles` to the segments of one connection. The times of the sequence stay where they
/// were: what moves takes the time of its new place. The first `spare` segments (the handshake)
/// stay as they are.
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
                let free = sequence[at..]
                    .iter()
                    .take_while(|s| s.from == late.from && !s.rst)
                    .count();
                let by = if causal { free.min(*by) } else { *by };
                sequence.insert((at + by).min(sequence.len()), late);
            }
            Mangle::Recut(index, by) => {
                let at = place(index);
                if let Some((copy, next)) = recut(&sequence, at) {
                    // Nobody sends again what was not sent yet.
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
        let time = segments
            .get(position)
            .or(segments.last())
            .map_or(start, |s| s.time_ns);
        segment.time_ns = time + position.saturating_sub(segments.len()) as u64 * 100_000;
    }
    (sequence, mangled)
}

/// Whether anything that was seen of a connection shows that an end spoke: payload, or places in a
/// stream, of its sender or as the peer acknowledges them, that are further apart than by a FIN. What
/// came before the first SYN or payload is of no connection yet.
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

/// Whether `seen` shows all that `gone` did.
fn covers(seen: &Segment, gone: &Segment) -> bool {
    let offset = gone.payload_seq().wrapping_sub(seen.payload_seq()) as usize;
    seen.from == gone.from
        && (seen.syn || !gone.syn)
        && (seen.fin || !gone.fin)
        && (seen.rst || !gone.rst)
        && seen
            .payload
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(&gone.payload))
}

/// A copy of the second half of a segment and the first of the next of its direction, and where
/// that one is.
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
