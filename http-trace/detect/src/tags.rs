//! The ids that events bear of the rules that they counted for. Most events count for the same few
//! sets of rules: each set's list of ids is made once and shared.

use std::sync::Arc;

use super::kept::Lots;
use super::plans::{clear, numbers};
use http_trace_model::event::RuleIds;

/// Lists that are kept in mind.
const KEPT: usize = 512;

/// Lists of ids by the correlations that an event counted for.
#[derive(Debug)]
pub struct Tags {
    kept: Vec<(Box<[u64]>, RuleIds)>,
    /// The correlations that the event at hand counted for.
    counted: Box<[u64]>,
    lots: Lots,
}

impl Tags {
    /// For so many correlations.
    pub fn new(correlations: usize) -> Self {
        let counted = vec![0; correlations.div_ceil(64)].into_boxed_slice();
        Tags {
            kept: vec![(counted.clone(), RuleIds::default()); KEPT],
            counted,
            lots: Lots::default(),
        }
    }

    /// The event at hand counts for a correlation.
    pub fn add(&mut self, correlation: usize) {
        self.counted[correlation / 64] |= 1 << (correlation % 64);
    }

    /// The ids of what the event at hand counted for, in the order of the correlations' numbers;
    /// for the next one, nothing is.
    pub fn take(&mut self, id: impl Fn(usize) -> Arc<str>) -> RuleIds {
        if self.counted.iter().all(|word| *word == 0) {
            return RuleIds::default();
        }
        const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = |all: u64, word: &u64| (all.rotate_left(23) ^ word).wrapping_mul(PRIME);
        let one = (self.counted.iter().fold(0, mixed) >> 32) as usize % KEPT;
        let is_there = |at: &usize| self.kept[*at].0 == self.counted;
        let places = [one, one ^ 1];
        let at = places.into_iter().find(is_there).unwrap_or_else(|| {
            let mut empty = places.into_iter().filter(|at| self.kept[*at].1.is_empty());
            let at = empty.next().unwrap_or_else(|| places[self.lots.draw(2)]);
            let (of, ids) = &mut self.kept[at];
            of.copy_from_slice(&self.counted);
            let numbers = numbers(&self.counted);
            *ids = numbers.map(id).collect::<Vec<_>>().into();
            at
        });
        clear(&mut self.counted);
        self.kept[at].1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever was there before.
    #[test]
    fn two_sets_that_come_in_turns_are_both_kept() {
        let made = std::cell::Cell::new(0);
        let id = |number: usize| {
            made.set(made.get() + 1);
            Arc::from(number.to_string())
        };
        let (mut tags, mut all) = (Tags::new(128), 0.0);
        for n in 0..4096_usize {
            made.set(0);
            for turn in 0..100 {
                (0..12)
                    .filter(|bit| n >> bit & 1 != 0)
                    .for_each(|bit| tags.add(bit));
                tags.add(64 + turn % 2);
                tags.take(id);
            }
            let both = 2 * (n.count_ones() + 1);
            assert!(made.get() < 20 * both, "{n}");
            all += f64::from(made.get()) / f64::from(both);
        }
        assert!(all < 4.0 * 4096.0, "{all}");
    }

    #[test]
    fn each_set_has_its_ids() {
        let mut tags = Tags::new(70);
        let id = |number: usize| Arc::from(number.to_string());
        for turn in 0..3 {
            for number in 0..70 {
                assert!(tags.take(id).is_empty(), "{turn}");
                tags.add(number);
                tags.add(69);
                let ids = tags.take(id);
                let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
                let expected = [number.to_string(), "69".to_owned()];
                let expected = &expected[..if number == 69 { 1 } else { 2 }];
                assert_eq!(ids, expected);
            }
        }
    }
}
