//! Keyed hashes of values, so that an attacker cannot choose collisions. The key is random. It is saved with
//! the counters, which are looked up by these hashes after a restart too.

use std::hash::{BuildHasher, Hasher};

/// A keyed hash function.
#[derive(Clone, Debug)]
pub struct Hashes {
    key: [u64; 2],
}

impl Default for Hashes {
    /// With a random key from the operating system.
    fn default() -> Self {
        let random = || std::hash::RandomState::new().build_hasher().finish();
        // Two states of one thread differ only in a counter, so hash another value as well.
        let other = std::hash::RandomState::new().hash_one(random());
        Hashes::with_key([random(), other])
    }
}

impl Hashes {
    pub const fn with_key(key: [u64; 2]) -> Self {
        Hashes { key }
    }

    pub const fn key(&self) -> [u64; 2] {
        self.key
    }

    pub const fn number(&self, number: u128) -> u64 {
        let one = self.mix(number as u64, (number >> 64) as u64);
        self.mix(one, !one.rotate_left(23))
    }

    /// The hash of a text, with each eight bytes mapped by `map`. Equal bytes must map to
    /// equal bytes at any position.
    pub fn text(&self, text: &[u8], map: impl Fn(u64) -> u64) -> u64 {
        let word = |bytes: &[u8; 8]| map(u64::from_le_bytes(*bytes));
        let half = |bytes: &[u8; 4]| map(u32::from_le_bytes(*bytes).into());
        let len = text.len() as u64;
        let (one, other) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            (Some(first), Some(last)) => (word(first), word(last)),
            _ => match (text.first_chunk::<4>(), text.last_chunk::<4>(), text) {
                (Some(first), Some(last), _) => (half(first), half(last)),
                (.., [a, b, c]) => (half(&[*a, *b, *c, 0]), 3),
                (.., [a, b]) => (half(&[*a, *b, 0, 0]), 2),
                (.., [a]) => (half(&[*a, 0, 0, 0]), 1),
                _ => (0, 0),
            },
        };
        let mut hash = self.mix(one ^ len.rotate_left(32), other);
        // The bytes between the first eight and the last eight.
        if let Some(between) = text.get(8..text.len().max(16) - 8) {
            let (words, rest) = between.as_chunks::<8>();
            // In pairs, each half with its own part of the key: halves the dependency chain.
            let (pairs, odd) = words.as_chunks::<2>();
            for [one, other] in pairs {
                hash = self.mix(hash ^ word(one), word(other));
            }
            for bytes in odd {
                hash = self.mix(hash, word(bytes));
            }
            if !rest.is_empty()
                && let Some(bytes) = text.get(text.len() - 16..).and_then(<[u8]>::first_chunk)
            {
                hash = self.mix(hash, word(bytes));
            }
        }
        self.mix(hash, !hash.rotate_left(23))
    }

    /// Combines two hashes of this key; the order matters.
    pub const fn mix(&self, one: u64, other: u64) -> u64 {
        let full = (one ^ self.key[0]) as u128 * (other ^ self.key[1].rotate_left(32)) as u128;
        full as u64 ^ (full >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use http_trace_model::known::to_lower;

    #[test]
    fn texts_and_numbers_are_told_apart_and_case_is_not_when_it_should_not() {
        let hashes = Hashes::with_key([0x4164_d839_9f76_7c45, 0xb0c1_1fde_cb91_ce37]);
        let mut seen = HashSet::new();
        for len in 0..70 {
            let text: Vec<u8> = (0..len).map(|n| b'a' + n as u8 % 26).collect();
            assert!(seen.insert(hashes.text(&text, |word| word)), "{len}");
            let lower = hashes.text(&text, to_lower);
            assert_eq!(lower, hashes.text(&text.to_ascii_uppercase(), to_lower));
            for at in 0..len {
                let mut other = text.clone();
                other[at] ^= 1;
                assert!(seen.insert(hashes.text(&other, |word| word)), "{len} {at}");
                other[at] = 0;
                assert!(seen.insert(hashes.text(&other, |word| word)), "{len} {at}");
            }
        }
        let numbers: HashSet<u64> = (0..100_000_u128)
            .flat_map(|n| [n, n << 64, n << 100, n | 0xffff << 32])
            .map(|n| hashes.number(n))
            .collect();
        let all: HashSet<u128> =
            (0..100_000_u128).flat_map(|n| [n, n << 64, n << 100, n | 0xffff << 32]).collect();
        assert_eq!(numbers.len(), all.len());
        // All bits must vary: table positions are made from some of them.
        for shift in [0, 16, 32, 44, 57] {
            let few: HashSet<u64> =
                (0..4096_u128).map(|n| hashes.number(n | 0xffff << 32) >> shift & 127).collect();
            assert_eq!(few.len(), 128, "{shift}");
        }
    }
}
