//! The latest payload of each direction, kept for a while to detect copies that differ from bytes
//! already handed over. Decides nothing.

/// Slots for directions; on a collision the later direction wins.
const SLOTS: u64 = 512;

/// Limit of bytes kept per direction.
const MOST: usize = 8 << 10;

/// The latest bytes of recent directions.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Connection number and direction index.
    of: (u64, usize),
    seq: u32,
    bytes: Vec<u8>,
}

impl Recent {
    /// Appends the next bytes of direction `d` of connection `number`.
    pub fn note(&mut self, (number, d): (u64, usize), seq: u32, bytes: &[u8]) {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); SLOTS as usize];
        }
        let Some(slot) = self.slots.get_mut(place((number, d))) else { return };
        let end = slot.seq.wrapping_add(slot.bytes.len() as u32);
        if slot.of != (number, d) || end != seq {
            slot.of = (number, d);
            slot.seq = seq;
            slot.bytes.clear();
        }
        let all = slot.bytes.len() + bytes.len();
        if all > MOST {
            // Drop at least half, to move bytes rarely.
            let past = (all - MOST / 2).min(slot.bytes.len());
            slot.bytes.drain(..past);
            slot.seq = slot.seq.wrapping_add(past as u32);
        }
        let past = bytes.len().saturating_sub(MOST);
        if past > 0 {
            slot.seq = seq.wrapping_add(past as u32);
        }
        slot.bytes.extend_from_slice(bytes.get(past..).unwrap_or_default());
    }

    /// Whether different bytes were seen at this position.
    pub fn differs(&self, of: (u64, usize), seq: u32, bytes: &[u8]) -> bool {
        let Some(slot) = self.slots.get(place(of)).filter(|slot| slot.of == of) else {
            return false;
        };
        let ahead = seq.wrapping_sub(slot.seq) as i32;
        let (ours, theirs) = if ahead >= 0 {
            (slot.bytes.get(ahead as usize..), Some(bytes))
        } else {
            let behind = ahead.unsigned_abs() as usize;
            (Some(slot.bytes.as_slice()), bytes.get(behind..))
        };
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return false };
        let len = ours.len().min(theirs.len());
        ours.get(..len) != theirs.get(..len)
    }
}

const fn place((number, d): (u64, usize)) -> usize {
    ((number * 2 + d as u64) % SLOTS) as usize
}

#[cfg(test)]
mod tests {
    use super::{MOST, Recent};

    #[test]
    fn copies_are_compared_where_they_overlap() {
        let (of, mut recent) = ((7, 1), Recent::default());
        let seq = u32::MAX - 2;
        recent.note(of, seq, b"abcd");
        recent.note(of, 1, b"efgh");
        for (at, bytes, differs) in [
            (0, "abcdefgh", false),
            (0, "abXd", true),
            (3, "defghi", false),
            (3, "dXfghi", true),
            (-2, "..ab", false),
            (-2, "..aX", true),
            (-2, "..", false),
            (8, "X", false),
            (100, "X", false),
        ] {
            let seq = seq.wrapping_add_signed(at);
            assert_eq!(recent.differs(of, seq, bytes.as_bytes()), differs, "{at} {bytes}");
            assert!(!recent.differs((8, 1), seq, bytes.as_bytes()));
        }
    }

    #[test]
    fn of_long_ones_the_end_is_kept() {
        let (of, mut recent) = ((1, 0), Recent::default());
        let all: Vec<u8> = (0..50_000u32).map(|n| (n / 251 + n) as u8).collect();
        let mut at = 0;
        for len in [1_000, 3_000, 5_000, 20_000, 1_000] {
            recent.note(of, at as u32, &all[at..at + len]);
            at += len;
            let from = at - len.min(MOST / 2);
            assert!(!recent.differs(of, from as u32, &all[from..at]), "{at}");
            let mut other = all[from..at].to_vec();
            other[0] ^= 1;
            assert!(recent.differs(of, from as u32, &other), "{at}");
        }
    }
}
