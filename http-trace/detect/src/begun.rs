//! Paths on which something has begun that other events only go on with: a chain, a sequence of
//! statuses. Most responses are of other paths, which is seen here for all correlations at once, without
//! hashing whom they are for and looking for what is not there. Says no only when nothing has begun;
//! forgets what has begun for a correlation of which nothing is counted any more, once that is enough to
//! be worth it.

use super::field::Field;
use super::plans::{is_in, put};
use super::rule::{Correlation, Kind};

/// About how many bits all marks have (at most twice that), and the fewest marks.
const BITS: usize = 1 << 21;
const LEAST: usize = 1 << 11;

/// Of each of some correlations the paths on which it has begun, by marks that several paths may share.
#[derive(Debug)]
pub struct Begun {
    /// The correlations that begin on a path, and not with any event.
    of_path: Vec<u64>,
    /// Those of them that may have begun on any path.
    on_any: Vec<u64>,
    /// For each mark those that have begun; empty when none has.
    marks: Vec<u64>,
    /// How many marks there are, a power of two.
    number: usize,
    /// How many marks each correlation has set since it was forgotten.
    set: Vec<usize>,
}

/// Whether events only go on with what others began: none but these is ever left out.
pub const fn goes_on(correlation: &Correlation) -> bool {
    matches!(
        correlation.kind,
        Kind::TemporalOrdered | Kind::StatusSequence
    )
}

impl Begun {
    /// Of these correlations none has begun.
    pub fn new(correlations: &[Correlation]) -> Self {
        let is_of_path = |correlation: &Correlation| {
            let of_path = |field: &Field| *field == Field::Path;
            let mut groups = correlation.group_by.iter();
            goes_on(correlation)
                && groups.any(|group| !group.of.is_empty() && group.of.iter().all(of_path))
        };
        let words = correlations.len().div_ceil(64);
        let mut of_path = vec![0; words];
        for (number, correlation) in correlations.iter().enumerate() {
            if is_of_path(correlation) {
                put(&mut of_path, number);
            }
        }
        Begun {
            of_path,
            on_any: vec![0; words],
            marks: Vec::new(),
            number: (BITS / 64 / words.max(1)).max(LEAST).next_power_of_two(),
            set: vec![0; correlations.len()],
        }
    }

    /// Leaves in `fed` what an event on this path can count for: what begins with it, which is noted,
    /// and what may have begun before: something of it is counted, as `with_keys` says, and on this
    /// path, if it is one of a path. Of an event without a path nothing else is known.
    pub fn sift(
        &mut self,
        path: Option<&[u8]>,
        fed: &mut [u64],
        begins: &[u64],
        with_keys: &[u64],
    ) {
        let mut is_any = false;
        for (word, (fed, begins)) in fed.iter_mut().zip(begins).enumerate() {
            let with_keys = with_keys.get(word).copied().unwrap_or_default();
            let gone = *fed & !begins & !with_keys;
            if gone & self.of_path[word] != 0 {
                self.forget_all(word, gone & self.of_path[word]);
            }
            *fed &= !gone;
            is_any |= *fed & self.of_path[word] != 0;
        }
        let Some(path) = path.filter(|_| is_any) else {
            return;
        };
        let words = self.of_path.len();
        let at = (mark(path) & (self.number - 1)) * words;
        for (word, (fed, begins)) in fed.iter_mut().zip(begins).enumerate() {
            let of_path = self.of_path[word];
            let here = self.marks.get(at + word).copied().unwrap_or_default();
            let new = *fed & begins & of_path & !here;
            if new != 0 {
                self.note(at, word, new);
            }
            *fed &= !of_path | begins | here | self.on_any[word];
        }
    }

    /// Notes that correlations, bits of one word, begin at a mark.
    #[inline(never)]
    fn note(&mut self, at: usize, word: usize, mut new: u64) {
        self.marks.resize(self.number * self.of_path.len(), 0);
        self.marks[at + word] |= new;
        while new != 0 {
            self.set[word * 64 + new.trailing_zeros() as usize] += 1;
            new &= new - 1;
        }
    }

    /// All correlations may have begun on any path.
    pub fn on_any(&mut self) {
        self.on_any.copy_from_slice(&self.of_path);
    }

    /// Nothing is counted any more of correlations, bits of one word.
    #[inline(never)]
    fn forget_all(&mut self, word: usize, mut correlations: u64) {
        while correlations != 0 {
            self.forget(word * 64 + correlations.trailing_zeros() as usize);
            correlations &= correlations - 1;
        }
    }

    /// Nothing of a correlation is counted any more.
    fn forget(&mut self, correlation: usize) {
        let (word, others) = (correlation / 64, !(1 << (correlation % 64)));
        self.on_any[word] &= others;
        // A few marks cost less than going through all of them.
        if is_in(&self.of_path, correlation) && self.set[correlation] > self.number / 16 {
            self.set[correlation] = 0;
            let marks = self.marks.iter_mut().skip(word);
            let marks = marks.step_by(self.of_path.len());
            marks.for_each(|mark| *mark &= others);
        }
    }
}

/// Tells most paths apart, by their length and sixteen bytes of them. No keyed hash: who makes paths
/// share a mark has them looked for as if there were none of this.
fn mark(path: &[u8]) -> usize {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let (first, last) = match (path.first_chunk::<8>(), path.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (
            path.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)),
            0,
        ),
    };
    let all = first.rotate_left(17) ^ last ^ (path.len() as u64) << 32;
    ((all ^ all >> 29).wrapping_mul(PRIME) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Group;

    /// The second and the last of seventy go on, on a path.
    fn begun() -> Begun {
        let of = |number: usize| Correlation {
            rule: 0,
            kind: match number {
                1 | 69 => Kind::TemporalOrdered,
                _ => Kind::EventCount,
            },
            inputs: Vec::new(),
            group_by: vec![Group {
                name: "path".to_owned(),
                of: vec![Field::Path],
            }],
            window_ns: 1,
            condition: Vec::new(),
            alerts: true,
        };
        Begun::new(&(0..70).map(of).collect::<Vec<_>>())
    }

    /// What is left of all that can be fed when these begin.
    fn left(begun: &mut Begun, path: usize, begin: &[usize]) -> [bool; 3] {
        let path = format!("{}/{path}/edit", "/users".repeat(path % 3));
        let (mut fed, mut begins) = ([u64::MAX; 2], [0; 2]);
        begin.iter().for_each(|number| put(&mut begins, *number));
        begun.sift(Some(path.as_bytes()), &mut fed, &begins, &[u64::MAX; 2]);
        [0, 1, 69].map(|number| is_in(&fed, number))
    }

    #[test]
    fn what_has_begun_is_known_and_most_else_is_not() {
        let mut begun = begun();
        for path in 0..3000 {
            assert_eq!(left(&mut begun, path, &[]), [true, false, false]);
        }
        for path in 0..1000 {
            assert!(left(&mut begun, path, &[0, 1])[1]);
        }
        for path in 0..1000 {
            assert!(left(&mut begun, path, &[])[1]);
        }
        let others: Vec<_> = (1000..3000).map(|n| left(&mut begun, n, &[])).collect();
        assert!(others.iter().all(|left| left[0] && !left[2]));
        let falsely = others.iter().filter(|left| left[1]).count();
        assert!(falsely < 200, "{falsely}");
        assert!(left(&mut begun, 1, &[69])[2]);
    }

    #[test]
    fn without_a_path_nothing_is_known_and_after_a_reload_all_may_have_begun() {
        let mut begun = begun();
        let mut fed = [u64::MAX; 2];
        begun.sift(None, &mut fed, &[0; 2], &[u64::MAX; 2]);
        assert_eq!(fed, [u64::MAX; 2]);
        begun.on_any();
        assert_eq!(left(&mut begun, 5, &[]), [true, true, true]);
        begun.forget(1);
        assert_eq!(left(&mut begun, 5, &[]), [true, false, true]);
    }

    #[test]
    fn many_marks_are_forgotten_of_one_alone() {
        let mut begun = begun();
        for path in 0..6000 {
            left(&mut begun, path, &[1, 69]);
        }
        begun.forget(1);
        for path in 0..6000 {
            assert_eq!(left(&mut begun, path, &[]), [true, false, true]);
        }
    }
}
