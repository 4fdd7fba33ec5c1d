//! Paths on which something has begun that other events only go on with: a chain, a sequence of
//! statuses. Most responses are of other paths, which is seen here without hashing whom they are for
//! and looking for what is not there (a tenth of what an event takes). Says no only when nothing has
//! begun; forgets when nothing of the correlation is counted any more.

use super::field::Field;
use super::rule::{Correlation, Kind};

/// Marks of one correlation, and of all of them.
const MOST: usize = 1 << 16;
const LEAST: usize = 1 << 12;
const ALL: usize = 1 << 20;

/// The paths of one correlation, by marks that several may share.
#[derive(Debug)]
pub struct Begun {
    /// A power of two of marks, a bit each; empty when none is set.
    marks: Vec<u64>,
    number: usize,
    /// Set when it is not known which paths there are.
    any: bool,
}

impl Begun {
    /// For each of some correlations; `None` for what may begin with any event or is not of a path.
    pub fn of(correlations: &[Correlation]) -> Vec<Option<Begun>> {
        let goes_on = |correlation: &Correlation| {
            let kind = matches!(
                correlation.kind,
                Kind::TemporalOrdered | Kind::StatusSequence
            );
            let of_path = |field: &Field| *field == Field::Path;
            let mut groups = correlation.group_by.iter();
            kind && groups.any(|group| !group.of.is_empty() && group.of.iter().all(of_path))
        };
        let share = ALL / correlations.iter().filter(|c| goes_on(c)).count().max(1);
        let number = share.clamp(LEAST, MOST).next_power_of_two();
        let begun = || Begun {
            marks: Vec::new(),
            number,
            any: false,
        };
        let each = correlations.iter();
        each.map(|correlation| goes_on(correlation).then(begun))
            .collect()
    }

    fn place(&self, path: Mark) -> (usize, u32) {
        let at = path.0 >> 40 & (self.number - 1);
        (at / 64, at as u32 % 64)
    }

    /// Something begins on a path.
    pub fn note(&mut self, path: Mark) {
        if self.marks.is_empty() {
            self.marks.resize(self.number / 64, 0);
        }
        let (word, bit) = self.place(path);
        self.marks[word] |= 1 << bit;
    }

    /// Whether something may have begun on a path.
    pub fn may_have(&self, path: Mark) -> bool {
        let (word, bit) = self.place(path);
        self.any
            || self
                .marks
                .get(word)
                .is_some_and(|word| word >> bit & 1 != 0)
    }

    /// Something may have begun on any path.
    pub const fn on_any(&mut self) {
        self.any = true;
    }

    /// Nothing has begun.
    pub fn forget(&mut self) {
        self.any = false;
        self.marks.clear();
    }
}

/// Tells most paths apart, by their length and sixteen bytes of them. No keyed hash: who makes paths
/// share a mark has them looked for as if there were none of this.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

impl Mark {
    /// Of a path.
    pub fn of(path: &[u8]) -> Mark {
        const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
        let (first, last) = match (path.first_chunk::<8>(), path.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (
                path.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
                0,
            ),
        };
        let all = first.rotate_left(17) ^ last ^ (path.len() as u64) << 32;
        Mark((all ^ all >> 29).wrapping_mul(PRIME) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_begun_is_known_and_most_else_is_not() {
        let mut begun = Begun {
            marks: Vec::new(),
            number: MOST,
            any: false,
        };
        let path = |n: usize| Mark::of(format!("{}/{n}/edit", "/users".repeat(n % 3)).as_bytes());
        assert!((0..3000).all(|n| !begun.may_have(path(n))));
        (0..1000).for_each(|n| begun.note(path(n)));
        assert!((0..1000).all(|n| begun.may_have(path(n))));
        let others = (1000..3000).filter(|n| begun.may_have(path(*n))).count();
        assert!(others < 200, "{others}");
        begun.on_any();
        assert!(begun.may_have(Mark::of(b"/")));
        begun.forget();
        assert!((0..3000).all(|n| !begun.may_have(path(n))));
    }
}
