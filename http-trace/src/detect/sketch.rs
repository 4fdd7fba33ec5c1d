//! How often a key was seen lately, roughly and in little memory: a count-min sketch that forgets
//! by halving. Decides who is admitted to a full table, so that a million addresses seen once do
//! not push out those that are seen all the time.

const ROWS: usize = 4;
const COLUMNS: usize = 1 << 16;

/// Counts up to 255, never too low but for halving.
#[derive(Debug)]
pub struct Sketch {
    counts: Box<[u8]>,
    /// The next count to be halved: one at each sighting, so that none waits for all of them. A
    /// count is halved after as many sightings as there are counts, in which time it grows by four
    /// on average when every sighting is of another key.
    cursor: usize,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch {
            counts: vec![0; ROWS * COLUMNS].into(),
            cursor: 0,
        }
    }
}

impl Sketch {
    /// Counts a sighting and returns how many there were lately.
    pub fn see(&mut self, hash: u64) -> u8 {
        if let Some(count) = self.counts.get_mut(self.cursor) {
            *count /= 2;
        }
        self.cursor = (self.cursor + 1) % (ROWS * COLUMNS);
        let mut least = u8::MAX;
        for row in 0..ROWS {
            let column = (hash >> (row * 16)) as usize % COLUMNS;
            if let Some(count) = self.counts.get_mut(row * COLUMNS + column) {
                *count = count.saturating_add(1);
                least = least.min(*count);
            }
        }
        least
    }
}

#[cfg(test)]
mod tests {
    use super::Sketch;

    fn hash(value: u64) -> u64 {
        let h = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let h = (h ^ h >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h ^ h >> 32
    }

    #[test]
    fn one_among_a_million_is_found_and_few_others_are() {
        let mut sketch = Sketch::default();
        let mut others = 0;
        let mut most = 0;
        for value in 0..1_000_000_u64 {
            others += u32::from(sketch.see(hash(value)) > 16);
            if value % 1000 == 0 {
                most = most.max(sketch.see(hash(u64::MAX - 7)));
            }
        }
        assert!(most > 16, "{most}");
        assert!(others < 1_000, "{others}");
    }
}
