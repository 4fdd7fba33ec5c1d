//! Sliding windows in event time. A window of length W is counted in buckets of W/30 on a common grid: the
//! newest bucket and the thirty before it. Events within W are therefore always counted together, and events
//! counted together lie within W·31/30.

use serde::{Deserialize, Serialize};

/// Buckets per window.
pub const PARTS: u64 = 30;

/// Buckets held: those of the window, and one that its start cuts.
pub const CELLS: usize = PARTS as usize + 1;

/// Length of a bucket in a window of `window_ns`, at least 1 ns; rounded up, so that the buckets
/// never cover less than the window.
pub const fn bucket_ns(window_ns: u64) -> u64 {
    let part = window_ns.div_ceil(PARTS);
    if part == 0 { 1 } else { part }
}

/// The number of the bucket of a time in a window of `window_ns`, wrapping.
pub const fn bucket(window_ns: u64, time_ns: u64) -> u32 {
    (time_ns / bucket_ns(window_ns)) as u32
}

/// Counts per bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Cells {
    /// For thresholds up to 65,535: a saturated bucket alone reaches them.
    Small([u16; CELLS]),
    /// For higher thresholds and for sums.
    Large(Box<[u64; CELLS]>),
}

/// A sliding count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    cells: Cells,
    total: u64,
    /// Number of the newest bucket, wrapping: a key that is silent for 2³¹ buckets was removed long before.
    newest: u32,
}

/// Error: the bucket has left the window, so nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLate;

impl Window {
    /// An empty window whose newest bucket is `bucket`; `large` allows more than 65,535 per bucket.
    pub fn new(bucket: u32, large: bool) -> Self {
        Window {
            cells: if large {
                Cells::Large(Box::new([0; CELLS]))
            } else {
                Cells::Small([0; CELLS])
            },
            total: 0,
            newest: bucket,
        }
    }

    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Number of the newest bucket.
    pub const fn newest(&self) -> u32 {
        self.newest
    }

    pub const fn is_past(&self, bucket: u32) -> bool {
        self.newest.wrapping_sub(bucket) as i32 >= CELLS as i32
    }

    /// Advances time to `bucket`; an earlier one changes nothing.
    #[inline]
    pub fn advance(&mut self, bucket: u32) {
        let steps = bucket.wrapping_sub(self.newest) as i32;
        if steps > 0 {
            self.advance_by(steps as u32);
            self.newest = bucket;
        }
    }

    #[inline(never)]
    fn advance_by(&mut self, steps: u32) {
        for step in 1..=steps.min(CELLS as u32) {
            self.set(index(self.newest.wrapping_add(step)), 0);
        }
    }

    fn cell(&self, at: usize) -> u64 {
        match &self.cells {
            Cells::Small(cells) => cells[at].into(),
            Cells::Large(cells) => cells[at],
        }
    }

    /// Sets a cell, saturating at its maximum.
    fn set(&mut self, at: usize, count: u64) {
        let before = self.cell(at);
        match &mut self.cells {
            Cells::Small(cells) => cells[at] = count.min(u16::MAX.into()) as u16,
            Cells::Large(cells) => cells[at] = count,
        }
        // Sums saturate.
        let after = self.cell(at);
        self.total = self.total.saturating_sub(before.saturating_sub(after));
        self.total = self.total.saturating_add(after.saturating_sub(before));
    }

    /// Adds `count` at `bucket`, advancing time if it is ahead.
    pub fn add(&mut self, bucket: u32, count: u64) -> Result<(), TooLate> {
        self.advance(bucket);
        if self.is_past(bucket) {
            return Err(TooLate);
        }
        let at = index(bucket);
        self.set(at, self.cell(at).saturating_add(count));
        Ok(())
    }

    /// Discards everything up to `bucket`, advancing time if it is ahead.
    pub fn clear(&mut self, bucket: u32) {
        self.advance(bucket);
        let newer = self.newest.wrapping_sub(bucket);
        for step in newer..CELLS as u32 {
            self.set(index(self.newest.wrapping_sub(step)), 0);
        }
    }

    /// Subtracts one at `bucket`, if its count is not zero.
    pub fn remove(&mut self, bucket: u32) {
        if self.is_past(bucket) || (bucket.wrapping_sub(self.newest) as i32) > 0 {
            return;
        }
        let at = index(bucket);
        self.set(at, self.cell(at).saturating_sub(1));
    }

    /// The first bucket at which fewer than `count` remain in the window, if nothing more is added.
    pub fn below(&self, count: u64) -> u32 {
        let mut left = self.total;
        for step in 0..=CELLS as u32 {
            if left < count {
                return self.newest.wrapping_add(step);
            }
            let at = index(self.newest.wrapping_add(step + 1));
            left = left.saturating_sub(self.cell(at));
        }
        self.newest.wrapping_add(CELLS as u32)
    }

    /// Whether both have cells of the same size.
    pub const fn is_like(&self, other: &Window) -> bool {
        matches!(
            (&self.cells, &other.cells),
            (Cells::Small(_), Cells::Small(_)) | (Cells::Large(_), Cells::Large(_))
        )
    }

    pub const fn heap_bytes(&self) -> usize {
        match &self.cells {
            Cells::Small(_) => 0,
            Cells::Large(_) => size_of::<[u64; CELLS]>(),
        }
    }
}

const fn index(bucket: u32) -> usize {
    // The ring's length does not divide 2³², so a window is mixed up when the number wraps, once in 2³²
    // buckets: four years for the shortest window.
    (bucket % CELLS as u32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slides_and_does_not_tumble() {
        // Five minutes in buckets of ten seconds.
        let bucket = |s: u32| s / 10;
        let mut window = Window::new(bucket(1000), false);
        for _ in 0..349 {
            window.add(bucket(1299), 1).expect("in time");
        }
        window.add(bucket(1301), 1).expect("in time");
        assert_eq!(window.total(), 350);
        window.advance(bucket(1599));
        assert_eq!(window.total(), 350);
        window.advance(bucket(1600));
        assert_eq!(window.total(), 1);
        assert_eq!(window.below(1), bucket(1610));
        assert_eq!(window.add(bucket(1299), 1), Err(TooLate));
        assert_eq!(window.add(bucket(1300), 1), Ok(()));
    }

    #[test]
    fn sums_beyond_the_largest_number_do_not_wrap() {
        // Two responses that declare 2^64 - 1 bytes, in two buckets.
        let mut window = Window::new(0, true);
        for bucket in [0, 1] {
            window.add(bucket, u64::MAX).expect("in time");
        }
        assert_eq!(window.total(), u64::MAX);
        let bytes = postcard::to_allocvec(&window).expect("encoded");
        let back: Window = postcard::from_bytes(&bytes).expect("it was written so");
        assert_eq!(back.total(), u64::MAX);
        assert!(window.below(1) > 0);
        window.advance(31);
        window.advance(32);
        assert_eq!(window.total(), 0);
    }

    #[test]
    fn a_full_bucket_reaches_any_small_threshold() {
        let mut window = Window::new(7, false);
        window.add(7, 1 << 40).expect("in time");
        assert_eq!(window.total(), 65_535);
        let mut window = Window::new(7, true);
        window.add(7, 1 << 40).expect("in time");
        assert_eq!(window.total(), 1 << 40);
    }

    proptest! {
        /// N events within W always count as N; fewer than N within W·31/30 never do.
        #[test]
        fn against_a_naive_exact_model(
            window_ns in prop::sample::select(vec![1_000_000_000_u64, 60_000_000_007, 300_000_000_000]),
            steps in prop::collection::vec((0_u64..40, 0_u64..1000, 0_u64..6), 1..120),
            large in any::<bool>(),
        ) {
            let part = bucket_ns(window_ns);
            let mut now = 1_700_000_000_000_000_000_u64;
            let mut times: Vec<u64> = Vec::new();
            let mut window = Window::new((now / part) as u32, large);
            for (buckets, thousandths, back) in steps {
                // Mostly forward, sometimes late by up to five buckets.
                let late = back * part;
                now += buckets * part / 4 + part * thousandths / 1000;
                let at = now.saturating_sub(late);
                if window.add((at / part) as u32, 1).is_ok() {
                    times.push(at);
                } else {
                    let newest = times.iter().copied().max().unwrap_or(now);
                    prop_assert!(newest - at >= window_ns);
                }
                let newest = times.iter().copied().max().unwrap_or(0);
                let within = |span: u64| times.iter().filter(|t| newest - **t < span).count() as u64;
                prop_assert!(window.total() >= within(window_ns));
                prop_assert!(window.total() <= within(part * 31));
                prop_assert!(part * 30 >= window_ns && part * 30 < window_ns + 30);
            }
        }

        #[test]
        fn the_end_is_foreseen(adds in prop::collection::vec((0_u32..31, 1_u64..5), 1..30), count in 1_u64..20) {
            let mut window = Window::new(100, false);
            for (bucket, n) in adds {
                window.add(100 + bucket, n).expect("in time");
            }
            let end = window.below(count);
            let mut then = window.clone();
            then.advance(end);
            prop_assert!(then.total() < count);
            if end != window.newest() {
                let mut before = window.clone();
                before.advance(end - 1);
                prop_assert!(before.total() >= count);
            }
        }
    }
}
