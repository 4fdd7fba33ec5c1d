//! Latency histograms, used by [`crate::metrics`] and the output `summary`.

/// Upper bounds of the buckets in seconds (OpenTelemetry, semantic conventions for HTTP metrics).
pub const BOUNDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Count per bucket; the last is unbounded.
    counts: [u64; BOUNDS.len() + 1],
    pub sum_ns: u128,
}

impl Histogram {
    pub fn add(&mut self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let at = BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[at] += 1;
        self.sum_ns += u128::from(ns);
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Upper bound of each bucket in seconds (`None` for the last), with its count.
    pub fn ranges(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// Upper bound in seconds of the bucket that contains the quantile (`share` from 0 to 1); infinity for
    /// the last one. `None` if empty.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = (share * self.count() as f64).ceil() as u64;
        let mut sum = 0;
        let reaches = |(bound, count): (Option<f64>, u64)| {
            sum += count;
            (count > 0 && sum >= wanted).then_some(bound.unwrap_or(f64::INFINITY))
        };
        self.ranges().find_map(reaches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_bounds_of_their_ranges() {
        let mut of = Histogram::default();
        assert_eq!(of.quantile(0.5), None);
        for ms in [1, 5, 6, 60_000] {
            of.add(ms * 1_000_000);
        }
        assert_eq!(of.quantile(0.0), Some(0.005));
        assert_eq!(of.quantile(0.5), Some(0.005));
        assert_eq!(of.quantile(0.75), Some(0.01));
        assert_eq!(of.quantile(0.99), Some(f64::INFINITY));
    }
}
