//! Whether a key may be in a table at all, told by one place in memory: most keys that events ask for are
//! not there when a million clients come once, and each look into the table's index would take two places
//! more. How many keys share a cell is counted, so that keys can go again. Never says no of a key that is
//! there.

/// Cells of a row, four bits each: those of one group of values are in one line of a cache.
const CELLS: usize = 128;

/// The most cells: of larger tables several keys share one, which costs looks and nothing else.
const MOST: usize = 1 << 23;

/// What a cell counts to. One that was full stays so: how many keys it had is not known.
const FULL: u8 = 15;

/// Counts of keys by what they have in common.
#[derive(Debug)]
pub struct Presence {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
#[repr(align(64))]
struct Row([u8; CELLS / 2]);

impl Row {
    const NONE: Row = Row([0; CELLS / 2]);
}

/// A cell: its row, the byte in it and the place of its bits in that.
struct Cell {
    row: usize,
    byte: usize,
    shift: u32,
}

impl Presence {
    /// With about so many cells, in rows of which there is a power of two.
    pub fn new(cells: usize) -> Self {
        let rows = (cells.min(MOST) / CELLS).next_power_of_two();
        Presence {
            rows: vec![Row::NONE; rows],
        }
    }

    /// The cell of a key of this group of values under this correlation.
    #[inline]
    fn cell(&self, hash: u64, correlation: u16) -> Cell {
        // All cells are used alike, though some correlations have far more keys than others.
        let column = ((hash >> 8) as usize ^ usize::from(correlation)) % CELLS;
        Cell {
            row: (hash >> 32) as usize & (self.rows.len() - 1),
            byte: column / 2,
            shift: column as u32 % 2 * 4,
        }
    }

    /// Whether a key may be there.
    #[inline]
    pub fn may_have(&self, hash: u64, correlation: u16) -> bool {
        let Cell { row, byte, shift } = self.cell(hash, correlation);
        let row = self.rows.get(row);
        row.is_none_or(|row| row.0[byte] >> shift & FULL != 0)
    }

    /// One key more.
    pub fn add(&mut self, hash: u64, correlation: u16) {
        self.change(hash, correlation, |count| (count + 1).min(FULL));
    }

    /// One key less, which was there.
    pub fn remove(&mut self, hash: u64, correlation: u16) {
        let one_less = |count: u8| count.saturating_sub(u8::from(count != FULL));
        self.change(hash, correlation, one_less);
    }

    fn change(&mut self, hash: u64, correlation: u16, change: impl FnOnce(u8) -> u8) {
        let Cell { row, byte, shift } = self.cell(hash, correlation);
        if let Some(byte) = self.rows.get_mut(row).map(|row| &mut row.0[byte]) {
            let count = change(*byte >> shift & FULL);
            *byte = *byte & !(FULL << shift) | count << shift;
        }
    }

    /// All keys are gone.
    pub fn clear(&mut self) {
        self.rows.fill(Row::NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        let h = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (h ^ h >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn what_is_there_may_be_there_and_most_else_is_not() {
        let mut presence = Presence::new(1 << 16);
        let keys = |n: u64| (hash(n), (n % 3 * 30) as u16);
        let may_have = |presence: &Presence, n| presence.may_have(keys(n).0, keys(n).1);
        for n in 0..10_000 {
            presence.add(keys(n).0, keys(n).1);
        }
        assert!((0..10_000).all(|n| may_have(&presence, n)));
        let falsely = (10_000..30_000).filter(|n| may_have(&presence, *n)).count();
        assert!((100..5000).contains(&falsely), "{falsely}");
        for n in 0..5000 {
            presence.remove(keys(n).0, keys(n).1);
        }
        assert!((5000..10_000).all(|n| may_have(&presence, n)));
        assert!((0..5000).filter(|n| may_have(&presence, *n)).count() < 1000);
        presence.clear();
        assert!(!(0..10_000).any(|n| may_have(&presence, n)));
    }

    #[test]
    fn more_keys_than_can_be_counted_are_there_for_good() {
        let mut presence = Presence::new(0);
        (0..16).for_each(|_| presence.add(7, 1));
        (0..15).for_each(|_| presence.remove(7, 1));
        assert!(presence.may_have(7, 1) && !presence.may_have(7, 2));
    }
}
