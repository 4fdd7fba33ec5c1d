//! Header values that were found to have no secrets: servers and clients repeat most of theirs, and comparing one
//! costs a tenth of searching it. Holds no value that was redacted.

/// Number of values; one that hashes to a slot in use replaces the value there.
const SLOTS: usize = 256;
/// Shorter values are searched faster than they are looked up; longer ones would take memory.
const LENGTHS: std::ops::RangeInclusive<usize> = 12..=1024;

/// Values without secrets.
#[derive(Clone, Debug, Default)]
pub(super) struct Clean(Vec<Vec<u8>>);

impl Clean {
    /// Whether the value is known to have no secrets.
    pub(super) fn contains(&self, value: &[u8]) -> bool {
        LENGTHS.contains(&value.len())
            && self.0.get(slot(value)).is_some_and(|known| known == value)
    }

    /// Adds a value without secrets.
    pub(super) fn add(&mut self, value: &[u8]) {
        if !LENGTHS.contains(&value.len()) {
            return;
        }
        self.0.resize(SLOTS, Vec::new());
        let known = &mut self.0[slot(value)];
        known.clear();
        known.extend_from_slice(value);
    }
}

/// Slot of a value of at least eight bytes: from its length and both ends, where most values differ.
fn slot(value: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let ends = word(value.first_chunk()) ^ word(value.last_chunk()).rotate_left(31);
    // Each bit affects the highest ones.
    let mixed = (ends ^ value.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_exactly_the_values_that_were_added_last() {
        let mut clean = Clean::default();
        let values: Vec<Vec<u8>> = (0..2000_usize)
            .map(|n| format!("max-age={n}; {}", "x".repeat(n)).into_bytes())
            .collect();
        for value in &values {
            assert!(!clean.contains(value));
            clean.add(value);
            assert_eq!(clean.contains(value), LENGTHS.contains(&value.len()));
            let mut other = value.clone();
            for at in 0..value.len() {
                other[at] ^= 1;
                assert!(!clean.contains(&other));
                other[at] ^= 1;
            }
        }
        let known = values.iter().filter(|value| clean.contains(value));
        assert!((SLOTS / 2..=SLOTS).contains(&known.count()));
        // As in one response.
        let dates = [27, 28].map(|second| format!("Tue, 24 Nov 2026 23:47:{second} GMT"));
        dates.iter().for_each(|date| clean.add(date.as_bytes()));
        assert!(dates.iter().all(|date| clean.contains(date.as_bytes())));
    }
}
