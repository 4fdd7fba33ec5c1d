//! A histogram of durations, accurate to an eighth of the value, whose memory does not grow with their
//! number. Knows nothing of events.

use serde::{Deserialize, Serialize};

/// Buckets per power of two.
const PARTS: u32 = 8;

/// Upper bound of the number of buckets.
const BUCKETS: usize = 600;

/// Counts of durations, by bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<(usize, u32)>", into = "Vec<(usize, u32)>")]
pub struct Times {
    /// Counts by bucket; buckets are of microseconds.
    buckets: Vec<u32>,
    count: u64,
}

impl Times {
    pub fn add(&mut self, ns: u64) {
        self.add_to(bucket(ns / 1000), 1);
    }

    fn add_to(&mut self, bucket: usize, count: u32) {
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] = self.buckets[bucket].saturating_add(count);
        self.count = self.count.saturating_add(u64::from(count));
    }

    /// Adds the counts of another histogram.
    pub fn join(&mut self, other: &Times) {
        let each = other.buckets.iter().enumerate();
        each.filter(|(_, count)| **count > 0)
            .for_each(|(bucket, count)| self.add_to(bucket, *count));
    }

    /// The duration in microseconds that this share (0 to 1) of all durations does not exceed;
    /// `None` if empty.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.buckets.iter().enumerate().find_map(|(at, count)| {
            seen += u64::from(*count);
            (seen >= rank).then(|| middle(at))
        })
    }
}

/// From non-empty buckets and their counts.
impl From<Vec<(usize, u32)>> for Times {
    fn from(counts: Vec<(usize, u32)>) -> Self {
        let mut times = Times::default();
        let each = counts.into_iter().filter(|(bucket, _)| *bucket < BUCKETS);
        each.for_each(|(bucket, count)| times.add_to(bucket, count));
        times
    }
}

impl From<Times> for Vec<(usize, u32)> {
    fn from(times: Times) -> Self {
        let each = times.buckets.into_iter().enumerate();
        each.filter(|(_, count)| *count > 0).collect()
    }
}

fn bucket(micros: u64) -> usize {
    let value = micros.max(1);
    let power = value.ilog2();
    let shift = power.saturating_sub(PARTS.ilog2());
    // Below PARTS, each value has its own bucket.
    match power < PARTS.ilog2() {
        true => value as usize,
        false => ((shift + 1) * PARTS) as usize + (value >> shift) as usize - PARTS as usize,
    }
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let parts = u64::from(PARTS);
    if bucket < parts {
        return bucket;
    }
    let shift = bucket / parts - 1;
    let low = (bucket % parts + parts) << shift;
    low + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), None);
        for ms in 1..=1000 {
            times.add(ms * 1_000_000);
        }
        for (share, expected) in [(0.5, 500_000.0), (0.95, 950_000.0), (1.0, 1_000_000.0)] {
            let found = times.quantile(share).unwrap_or_default() as f64;
            assert!((found / expected - 1.0).abs() < 0.07, "{share}: {found}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_duration_is_within_an_eighth(micros in 1..u64::MAX / 1000) {
            let found = middle(bucket(micros)) as f64;
            proptest::prop_assert!((found / micros as f64 - 1.0).abs() <= 0.125);
            proptest::prop_assert!(bucket(micros) < BUCKETS);
        }
    }
}
