//! Exact distinct counts up to a threshold: the hashes of the most recent values, each with the bucket in
//! which it was last seen. Values beyond what the threshold needs are evicted, so that ever-changing values
//! cost bounded memory. Eviction depends only on the order of arrival, never on the hashes: their key differs
//! between runs, and results must not.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::window::{CELLS, TooLate, Window};

/// Values stored inline; most clients have no more.
const INLINE: usize = 4;

/// Maximum number of values searched without an index.
const NO_INDEX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SeenValue {
    hash: u64,
    /// Bucket in which it was last seen.
    bucket: u32,
}

/// A distinct count over a [`Window`]; values are in the order in which they first came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<SeenValue>")]
pub struct Distinct {
    seen: SmallVec<[SeenValue; INLINE]>,
    /// Positions by hash, if there are many values.
    #[serde(skip)]
    index: Option<Box<Index>>,
}

type Index = HashMap<u64, u32, foldhash::fast::RandomState>;

impl From<Vec<SeenValue>> for Distinct {
    fn from(saved: Vec<SeenValue>) -> Distinct {
        let mut distinct = Distinct::default();
        for seen in saved {
            if distinct.find(seen.hash).is_none() {
                distinct.push(seen);
            }
        }
        distinct
    }
}

impl Distinct {
    /// Records a value seen in `bucket`. Counts are exact up to `most` values; `window` counts each value in
    /// the bucket in which it was last seen. Returns whether the value is new in the window.
    pub fn see(
        &mut self,
        hash: u64,
        bucket: u32,
        most: usize,
        window: &mut Window,
    ) -> Result<bool, TooLate> {
        window.advance(bucket);
        if window.is_past(bucket) {
            return Err(TooLate);
        }
        if let Some(at) = self.find(hash) {
            let seen = &mut self.seen[at].bucket;
            let is_new = window.is_past(*seen);
            if is_new || bucket.wrapping_sub(*seen) as i32 > 0 {
                window.remove(*seen);
                window.add(bucket, 1)?;
                *seen = bucket;
            }
            return Ok(is_new);
        }
        let len = self.seen.len();
        if len >= INLINE && (len == self.seen.capacity() || len >= most.saturating_mul(2)) {
            self.evict(most, window);
        }
        window.add(bucket, 1)?;
        self.push(SeenValue { hash, bucket });
        Ok(true)
    }

    /// Takes a value back, if it is counted.
    pub fn forget(&mut self, hash: u64, window: &mut Window) {
        if let Some(at) = self.find(hash) {
            window.remove(self.seen.remove(at).bucket);
            self.build_index();
        }
    }

    fn find(&self, hash: u64) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&hash).map(|at| *at as usize),
            None => self.seen.iter().position(|seen| seen.hash == hash),
        }
    }

    /// Adds a value that is not there yet.
    fn push(&mut self, seen: SeenValue) {
        self.seen.push(seen);
        if let Some(index) = &mut self.index {
            index.insert(seen.hash, self.seen.len() as u32 - 1);
        } else if self.seen.len() > NO_INDEX {
            self.build_index();
        }
    }

    fn build_index(&mut self) {
        let places = self.seen.iter().map(|seen| seen.hash).zip(0..);
        let many = self.seen.len() > NO_INDEX;
        self.index = many.then(|| Box::new(places.collect()));
    }

    /// Evicts values that have left the window. If twice as many as the threshold needs remain, also evicts
    /// the oldest, those that came first within a bucket.
    fn evict(&mut self, most: usize, window: &mut Window) {
        self.seen.retain(|seen| !window.is_past(seen.bucket));
        if self.seen.len() >= most.saturating_mul(2) {
            let age = |seen: &SeenValue| window.newest().wrapping_sub(seen.bucket) as usize % CELLS;
            let mut evicted = [0_usize; CELLS];
            self.seen.iter().for_each(|seen| evicted[age(seen)] += 1);
            let mut left = self.seen.len() - most;
            for of_age in evicted.iter_mut().rev() {
                *of_age = left.min(*of_age);
                left -= *of_age;
            }
            let mut gone: SmallVec<[u32; 64]> = SmallVec::new();
            self.seen.retain(|seen| {
                let of_age = &mut evicted[age(seen)];
                let goes = *of_age > 0;
                if goes {
                    *of_age -= 1;
                    gone.push(seen.bucket);
                }
                !goes
            });
            gone.into_iter().for_each(|bucket| window.remove(bucket));
        }
        self.build_index();
    }

    pub fn heap_bytes(&self) -> usize {
        let seen = if self.seen.spilled() { self.seen.capacity() } else { 0 };
        let index =
            self.index.as_ref().map_or(0, |index| size_of::<Index>() + index.capacity() * 20);
        seen * size_of::<SeenValue>() + index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(value: u64) -> u64 {
        let h = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (h ^ h >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    #[test]
    fn memory_is_bounded_by_the_threshold() {
        let mut window = Window::new(5, false);
        let mut distinct = Distinct::default();
        for value in 0..100_000 {
            let seen = distinct.see(hash(value), 5, 30, &mut window);
            assert_eq!(seen, Ok(true));
            assert!(window.total() >= (value + 1).min(30));
        }
        let bytes = distinct.heap_bytes();
        assert!(bytes <= 128 * 36, "{bytes}");
    }

    /// The same values repeatedly, more than are kept: which are new must not depend on the hash key.
    #[test]
    fn what_is_new_does_not_depend_on_the_hashes() {
        let run = |key: u64| {
            let mut window = Window::new(5, false);
            let mut distinct = Distinct::default();
            let seen = (0..5000_u32).map(|n| {
                let value = u64::from(n * n % 331);
                let is_new = distinct.see(hash(value ^ key), 5 + n / 100, 30, &mut window);
                (is_new.expect("in time"), window.total())
            });
            seen.collect::<Vec<_>>()
        };
        let first = run(0);
        assert!(first.iter().filter(|(is_new, _)| !is_new).count() > 100);
        for key in 1..20 {
            assert!(run(key << 40) == first, "{key}");
        }
    }

    #[test]
    fn values_out_of_a_file_are_counted_once() {
        let seen = |hash| SeenValue { hash, bucket: 5 };
        let mut distinct = Distinct::from(vec![seen(7), seen(7), seen(8)]);
        assert_eq!(distinct.seen.len(), 2);
        let mut window = Window::new(5, false);
        assert_eq!(distinct.see(7, 5, 30, &mut window), Ok(false));
        assert_eq!(distinct.see(9, 5, 30, &mut window), Ok(true));
    }

    proptest! {
        #[test]
        fn against_a_naive_exact_model(
            most in 1_usize..20,
            steps in prop::collection::vec((0_u64..60, 0_u32..20, 0_u32..4), 1..300),
        ) {
            let mut bucket = 1000_u32;
            let mut window = Window::new(bucket, false);
            let mut distinct = Distinct::default();
            let mut last: HashMap<u64, u32> = HashMap::new();
            for (value, forward, late) in steps {
                bucket += forward / 6;
                let at = bucket - late;
                if distinct.see(hash(value), at, most, &mut window).is_err() {
                    continue;
                }
                let bytes = postcard::to_allocvec(&distinct).expect("encoded");
                distinct = postcard::from_bytes(&bytes).expect("it was written so");
                let seen = last.entry(value).or_insert(at);
                *seen = at.max(*seen);
                let newest = window.newest();
                let exact = last.values().filter(|b| newest - **b < CELLS as u32).count();
                let got = window.total() as usize;
                prop_assert!(got <= exact);
                prop_assert!(got >= exact.min(most), "{got} of {exact}, threshold {most}");
            }
        }
    }
}
