//! Approximate recent frequency of keys in little memory: a count-min sketch that ages by
//! halving. Decides which keys are admitted to a full table, so that a million addresses seen
//! once do not displace frequent ones.

/// Rows and columns of a line, and number of lines. All counts of a key lie in one cache line, so that a
/// sighting touches one place in memory instead of four.
const ROWS: usize = 4;
const COLUMNS: usize = 16;
const LINES: usize = 1 << 12;

#[derive(Clone, Debug, Default)]
#[repr(align(64))]
struct Line([[u8; COLUMNS]; ROWS]);

/// Counts up to 255; apart from halving, a count is never too low.
#[derive(Debug)]
pub struct Sketch {
    lines: Box<[Line]>,
    /// The next line to be halved, and the sightings since the last halving. One line is halved at a time, so
    /// that no event waits for all of them. A count is halved after as many sightings as there are counts; in
    /// that time it grows by four on average if every sighting is of another key.
    cursor: usize,
    wait: usize,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { lines: vec![Line::default(); LINES].into(), cursor: 0, wait: 0 }
    }
}

impl Sketch {
    /// Counts a sighting and returns the number of recent ones.
    pub fn see(&mut self, hash: u64) -> u8 {
        self.wait += 1;
        if self.wait == ROWS * COLUMNS {
            self.halve();
        }
        let mut least = u8::MAX;
        if let Some(line) = self.lines.get_mut((hash >> 16) as usize % LINES) {
            for (number, row) in line.0.iter_mut().enumerate() {
                let count = &mut row[(hash >> (number * 4)) as usize % COLUMNS];
                *count = count.saturating_add(1);
                least = least.min(*count);
            }
        }
        least
    }

    /// Halves the counts of the next line.
    fn halve(&mut self) {
        if let Some(line) = self.lines.get_mut(self.cursor) {
            line.0.iter_mut().flatten().for_each(|count| *count /= 2);
        }
        self.cursor = (self.cursor + 1) % LINES;
        self.wait = 0;
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
