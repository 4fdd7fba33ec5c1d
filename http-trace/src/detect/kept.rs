//! Values that come again and again, such as user agents and media types, and what was found out
//! about each: a bit for each thing that may be asked. Bounded; compared whole, so that nobody can
//! choose a value that is taken for another.

use std::hash::BuildHasher as _;

/// Values that are kept in mind, and the longest of them.
const KEPT: usize = 64;
const LONGEST: usize = 192;

/// Values of one kind.
#[derive(Debug)]
pub struct Kept {
    hashes: foldhash::fast::RandomState,
    values: Vec<Value>,
    /// What is known of each, `words` words a value.
    bits: Vec<u64>,
    words: usize,
}

#[derive(Debug)]
struct Value {
    len: usize,
    bytes: [u8; LONGEST],
}

impl Kept {
    /// With so many words of bits for each value.
    pub fn new(words: usize) -> Self {
        let value = || Value {
            len: usize::MAX,
            bytes: [0; LONGEST],
        };
        Kept {
            hashes: foldhash::fast::RandomState::default(),
            values: (0..KEPT).map(|_| value()).collect(),
            bits: vec![0; KEPT * words],
            words,
        }
    }

    /// The place of a value, and whether it is new there: its bits are all zero then. `None` when it
    /// is too long to be kept.
    pub fn place(&mut self, value: &[u8]) -> Option<(usize, bool)> {
        if value.len() > LONGEST {
            return None;
        }
        let at = self.hashes.hash_one(value) as usize % KEPT;
        let kept = self.values.get_mut(at)?;
        let new = kept.len != value.len() || kept.bytes[..value.len()] != *value;
        if new {
            kept.len = value.len();
            kept.bytes[..value.len()].copy_from_slice(value);
            self.bits(at).fill(0);
        }
        Some((at, new))
    }

    /// What is known of the value at a place.
    pub fn bits(&mut self, at: usize) -> &mut [u64] {
        &mut self.bits[at * self.words..][..self.words]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_of_the_value_that_they_were_noted_for() {
        let mut kept = Kept::new(2);
        let mut again = 0;
        for turn in 0..3_u64 {
            for n in 0..200_u64 {
                let value = format!("value {n}");
                let (at, new) = kept.place(value.as_bytes()).expect("short");
                let expected = if new { [0, 0] } else { [n, n * 3] };
                assert_eq!(kept.bits(at), expected, "{turn} {n}");
                kept.bits(at).copy_from_slice(&[n, n * 3]);
                assert_eq!(kept.place(value.as_bytes()), Some((at, false)));
                again += u64::from(!new);
            }
        }
        assert!(again < 3 * KEPT as u64, "{again}");
        assert_eq!(kept.place(&[b'x'; LONGEST + 1]), None);
        assert!(kept.place(b"").is_some_and(|(_, new)| new));
    }
}
