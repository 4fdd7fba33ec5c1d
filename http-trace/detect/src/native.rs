//! What Sigma cannot say: response times in two modes, statuses in an odd order. Pure functions of
//! what was counted; the rules that use them are files like any other (`native: timing-split`).

/// Whether a status after another is an odd turn for one client at one endpoint. Whoever logs in
/// goes from 401 to 200, and whoever makes a thing from 404 to 200 once; what was open and is
/// closed, or is there and is not, turn by turn, is being tried.
pub const fn is_odd_turn(before: u64, now: u16) -> bool {
    matches!(
        (before, now),
        (200..=299, 401 | 403 | 404) | (404 | 403, 200..=299) | (401, 403 | 404) | (403 | 404, 401)
    )
}

/// The least share of the smaller mode, in per cent: a few slow answers are no mode.
const SHARE: usize = 20;

/// The least distance of the modes, in ns: 5 ms. Less is queueing, and over a network nobody can
/// tell it from chance; what is meant by the rule is 10 ms against 100.
const APART_NS: u64 = 5_000_000;

/// Whether the least and the greatest of times are as far apart as the medians of two modes are.
pub const fn are_apart((least, most): (u64, u64), factor: u8) -> bool {
    let least = if least == 0 { 1 } else { least };
    most >= least.saturating_mul(factor as u64) && most.saturating_sub(least) >= APART_NS
}

/// Whether times fall into two modes whose medians are `factor` apart, with a gap between them
/// that no value is in: what is found only for accounts that exist takes longer, for example.
pub fn is_split<'a>(values: impl Iterator<Item = &'a (u64, u64)> + Clone, factor: u8) -> bool {
    // They need not be sorted to see that all are near one another.
    let all = values.clone().map(|(_, ns)| *ns);
    let extremes = all.fold((u64::MAX, 0), |(least, most), ns| {
        (least.min(ns), most.max(ns))
    });
    if !are_apart(extremes, factor) {
        return false;
    }
    let mut times: Vec<u64> = values.map(|(_, ns)| (*ns).max(1)).collect();
    times.sort_unstable();
    let least = (times.len() * SHARE).div_ceil(100).max(1);
    // The widest gap with enough on either side.
    let cut = (least..=times.len().saturating_sub(least))
        .filter(|at| *at > 0 && *at < times.len())
        .max_by(|a, b| {
            let ratio = |at: usize| times[at] as f64 / times[at - 1] as f64;
            ratio(*a).total_cmp(&ratio(*b))
        });
    let Some(cut) = cut else { return false };
    let (low, high) = times.split_at(cut);
    let (low_median, high_median) = (low[low.len() / 2], high[high.len() / 2]);
    high_median >= low_median.saturating_mul(factor.into())
        && high_median - low_median >= APART_NS
        && high[0] >= low[low.len() - 1].saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_modes_are_told_from_a_long_tail() {
        let ms = |n: u64| (0, n * 1_000_000);
        let two: Vec<_> = (0..30)
            .map(|i| {
                if i % 3 == 0 {
                    ms(100 + i)
                } else {
                    ms(10 + i % 4)
                }
            })
            .collect();
        let tail: Vec<_> = (0..30).map(|i| ms(10 + i * i)).collect();
        let few: Vec<_> = (0..30)
            .map(|i| if i < 3 { ms(100) } else { ms(10) })
            .collect();
        // nginx that answers some of many pipelined requests at once.
        let queued: Vec<_> = (0..30).map(|i| (0, 25_000 + i / 15 * 600_000)).collect();
        for (values, expected) in [
            (&two, true),
            (&queued, false),
            (&tail, false),
            (&few, false),
            (&vec![], false),
        ] {
            assert_eq!(is_split(values.iter(), 5), expected, "{values:?}");
        }
        assert!(!is_split(two.iter(), 20));
    }

    #[test]
    fn odd_turns() {
        for (before, now, expected) in [
            (0, 200, false),
            (401, 200, false),
            (200, 200, false),
            (200, 403, true),
            (404, 200, true),
            (200, 304, false),
        ] {
            assert_eq!(is_odd_turn(before, now), expected, "{before} {now}");
        }
    }
}
