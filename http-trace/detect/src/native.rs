//! Conditions that Sigma cannot express: bimodal response times and unusual status sequences. Pure functions
//! of counted values; the rules that use them are ordinary rule files (`native: timing-split`).

/// Whether this status change is unusual for one client at one endpoint. A login goes from 401 to 200,
/// creating a resource from 404 to 200 once. Access that is granted and denied in turn, or a resource that
/// exists and does not, indicates probing.
pub const fn is_odd_turn(before: u64, now: u16) -> bool {
    matches!(
        (before, now),
        (200..=299, 401 | 403 | 404) | (404 | 403, 200..=299) | (401, 403 | 404) | (403 | 404, 401)
    )
}

/// Minimum share of the smaller mode, in per cent: a few slow answers are no mode.
const SHARE: usize = 20;

/// Minimum distance of the modes, in ns: 5 ms. Less is queueing, and over a network it cannot be told from
/// chance; the rule is meant for differences such as 10 ms against 100 ms.
const APART_NS: u64 = 5_000_000;

/// Whether minimum and maximum are as far apart as the medians of two modes must be.
pub const fn are_apart((least, most): (u64, u64), factor: u8) -> bool {
    let least = if least == 0 { 1 } else { least };
    most >= least.saturating_mul(factor as u64) && most.saturating_sub(least) >= APART_NS
}

/// Whether times fall into two modes whose medians differ by at least `factor`, with an empty gap between
/// them: for example, a lookup that takes longer only for accounts that exist.
pub fn is_split<'a>(values: impl Iterator<Item = &'a (u64, u64)> + Clone, factor: u8) -> bool {
    // Check the extremes first: most sets are close together and need no sorting.
    let all = values.clone().map(|(_, ns)| *ns);
    let extremes = all.fold((u64::MAX, 0), |(least, most), ns| (least.min(ns), most.max(ns)));
    if !are_apart(extremes, factor) {
        return false;
    }
    let mut times: Vec<u64> = values.map(|(_, ns)| (*ns).max(1)).collect();
    times.sort_unstable();
    let least = (times.len() * SHARE).div_ceil(100).max(1);
    // The widest gap (by ratio) with enough values on either side.
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
        let two: Vec<_> =
            (0..30).map(|i| if i % 3 == 0 { ms(100 + i) } else { ms(10 + i % 4) }).collect();
        let tail: Vec<_> = (0..30).map(|i| ms(10 + i * i)).collect();
        let few: Vec<_> = (0..30).map(|i| if i < 3 { ms(100) } else { ms(10) }).collect();
        // nginx answering some of many pipelined requests at once.
        let queued: Vec<_> = (0..30).map(|i| (0, 25_000 + i / 15 * 600_000)).collect();
        for (values, expected) in
            [(&two, true), (&queued, false), (&tail, false), (&few, false), (&vec![], false)]
        {
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
