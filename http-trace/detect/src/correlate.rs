//! Applies one event to one counter, and evaluates the rule's condition. Exact as far as [`super::window`]
//! is; knows nothing of alerts.

use super::counter::Counter;
use super::field::Field;
use super::hashes::Hashes;
use super::keys;
use super::native;
use super::rule::{Correlation, Input, Kind, MOST_INPUTS};
use super::view::{Value, View};
use super::window::{CELLS, TooLate, Window, bucket};

/// Maximum number of values kept for percentiles and timing; the most recent ones.
const VALUES: usize = 512;

/// An event to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    pub view: &'a View<'a>,
    /// Time at which it counts, ns.
    pub time_ns: u64,
    /// Bit set of the correlation's inputs that the event matches.
    pub inputs: u64,
    /// Keyed hash of the value that the correlation counts distinct ones of.
    pub distinct: Option<u64>,
}

/// Result of counting an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub holds: bool,
    /// Value that the condition was evaluated on.
    pub value: u64,
    /// Whether the event brought the condition closer. False if its value is the key's first or was seen
    /// before, or if no earlier part of its sequence was seen.
    pub moved: bool,
}

/// Hash of the value that a rule counts distinct ones of, equal in every run: for displayed numbers only,
/// because an attacker could make it collide.
pub fn shown_hash(correlation: &Correlation, hit: &Hit<'_>) -> Option<u64> {
    let Kind::ValueCount(fields) = &correlation.kind else { return None };
    let one =
        |all: u64, field| Some(SHOWN.mix(all, keys::hash_field(&SHOWN, field, 128, hit.view)?));
    fields.iter().try_fold(0, one)
}

/// Fixed hash for displayed numbers; any key will do.
static SHOWN: Hashes = Hashes::with_key([0x4164_d839_9f76_7c45, 0xb0c1_1fde_cb91_ce37]);

pub fn make(correlation: &Correlation, time_ns: u64) -> Counter {
    let bucket = bucket(correlation.window_ns, time_ns);
    let large = match correlation.kind {
        Kind::ValueSum(_) | Kind::ValueAvg(_) => true,
        _ => correlation.threshold() > u64::from(u16::MAX),
    };
    let mut counter = Counter::new(Window::new(bucket, large));
    match &correlation.kind {
        Kind::Temporal(_) | Kind::TemporalOrdered => {
            counter.more().seen = vec![0; correlation.inputs.len()];
        }
        Kind::ValueAvg(_) | Kind::Ratio(_) => {
            counter.more().addends = Some(Window::new(bucket, false));
        }
        _ => {}
    }
    counter
}

/// Whether an event may create a counter. What only continues something else does not, so that ordinary
/// responses leave no trace.
pub fn can_begin(correlation: &Correlation, inputs: u64, view: &View<'_>) -> bool {
    match correlation.kind {
        Kind::TemporalOrdered => inputs & 1 != 0,
        // A successful response does not begin a sequence of statuses.
        Kind::StatusSequence => {
            let status = view.event.response.as_ref().map(|r| r.status);
            status.is_some_and(|status| !matches!(status, 0 | 200..=299))
        }
        _ => !correlation.undoes(inputs),
    }
}

/// Bit set of the inputs that are themselves correlations.
pub fn thresholds(inputs: &[Input]) -> u64 {
    let inputs = inputs.iter().take(MOST_INPUTS).enumerate();
    inputs.fold(0, |all, (at, input)| all | u64::from(matches!(input, Input::Correlation(_))) << at)
}

/// Whether only events that bring the condition closer are evidence: if other rules must reach thresholds
/// first, the events before that are ordinary traffic.
pub fn begins_late(correlation: &Correlation) -> bool {
    matches!(correlation.kind, Kind::Temporal(_)) && thresholds(&correlation.inputs) != 0
}

/// Whether a time is close enough to an event to count together with it; 0 means never.
const fn is_within(time_ns: u64, hit: &Hit<'_>, window_ns: u64) -> bool {
    time_ns != 0 && hit.time_ns.saturating_sub(time_ns) <= window_ns
}

/// Whether everything that a counter counted has left the window at a bucket.
pub const fn is_over(bucket: u32, counter: &Counter) -> bool {
    bucket.wrapping_sub(counter.window.newest()) as i32 > CELLS as i32
}

/// Counts an event; `None` if it is not something that the correlation counts.
pub fn count(
    correlation: &Correlation,
    hit: &Hit<'_>,
    counter: &mut Counter,
) -> Result<Option<Counted>, TooLate> {
    let bucket = bucket(correlation.window_ns, hit.time_ns);
    let begins_anew = correlation.kind == Kind::EventCount && correlation.undoes(hit.inputs);
    if (begins_anew || is_over(bucket, counter)) && counter.active().is_none() {
        // Nothing from before counts, so a new count begins.
        counter.events = 0;
        if let Some(more) = &mut counter.more {
            more.evidence = None;
        }
    }
    let mut moved = true;
    let value = match &correlation.kind {
        Kind::EventCount if begins_anew => {
            counter.window.clear(bucket);
            return Ok(None);
        }
        Kind::EventCount | Kind::Digest => add(counter, bucket, 1)?,
        Kind::ValueCount(_) => {
            let Some(hash) = hit.distinct else { return Ok(None) };
            if correlation.undoes(hit.inputs) {
                counter.window.advance(bucket);
                counter.distinct.forget(hash, &mut counter.window);
                return Ok(None);
            }
            let threshold = correlation.threshold();
            let most = usize::try_from(threshold).unwrap_or(usize::MAX).max(1);
            moved = counter.distinct.see(hash, bucket, most, &mut counter.window)?;
            // A single value is normal for every client.
            moved &= counter.window.total() >= threshold.min(2);
            counter.window.total()
        }
        Kind::ValueSum(field) => {
            let Some(n) = number(hit, field) else { return Ok(None) };
            add(counter, bucket, n)?
        }
        Kind::ValueAvg(field) => {
            let Some(n) = number(hit, field) else { return Ok(None) };
            let sum = add(counter, bucket, n)?;
            let Some(addends) = addends(counter) else { return Ok(None) };
            addends.add(bucket, 1)?;
            sum / addends.total().max(1)
        }
        Kind::ValuePercentile(field, percentile) => {
            let Some(n) = number(hit, field) else { return Ok(None) };
            add(counter, bucket, 1)?;
            keep_value(counter, hit.time_ns, n);
            percentile_of(counter, hit.time_ns, correlation.window_ns, *percentile).unwrap_or(n)
        }
        Kind::Ratio(_) => {
            if hit.inputs & 2 != 0
                && let Some(all) = addends(counter)
            {
                all.add(bucket, 1)?;
            }
            if hit.inputs & 1 == 0 {
                counter.window.advance(bucket);
                return Ok(None);
            }
            add(counter, bucket, 1)?
        }
        Kind::TimingSplit(_) => {
            let Some(ns) = hit.view.event.ttfb_ns() else { return Ok(None) };
            let total = add(counter, bucket, 1)?;
            keep_value(counter, hit.time_ns, ns);
            total
        }
        Kind::StatusSequence => {
            let Some(status) = hit.view.event.response.as_ref().map(|r| r.status) else {
                return Ok(None);
            };
            let before = std::mem::replace(&mut counter.status, status);
            if !native::is_odd_turn(before.into(), status) {
                return Ok(None);
            }
            add(counter, bucket, 1)?
        }
        Kind::Temporal(_) | Kind::TemporalOrdered => {
            moved = continues(correlation, counter, hit);
            if !see(correlation, counter, hit) {
                return Ok(None);
            }
            add(counter, bucket, 1)?
        }
    };
    counter.events += 1;
    Ok(Some(Counted { holds: holds(correlation, counter, hit, value), value, moved }))
}

/// Adds to the window; returns its new total.
fn add(counter: &mut Counter, bucket: u32, count: u64) -> Result<u64, TooLate> {
    counter.window.add(bucket, count)?;
    Ok(counter.window.total())
}

fn addends(counter: &mut Counter) -> Option<&mut Window> {
    counter.more.as_mut()?.addends.as_mut()
}

fn number(hit: &Hit<'_>, field: &Field) -> Option<u64> {
    match hit.view.first(field)? {
        Value::Number(n) => Some(n),
        other => other.with_text(|text| std::str::from_utf8(text).ok()?.trim().parse().ok()),
    }
}

/// Whether an event continues what was seen before, or itself stands for several events, as another
/// correlation's threshold does.
fn continues(correlation: &Correlation, counter: &Counter, hit: &Hit<'_>) -> bool {
    let within = |time: u64| is_within(time, hit, correlation.window_ns);
    let seen = counter.more.as_ref().map_or(&[][..], |more| &more.seen);
    // In an ordered chain, a link continues only the one before it; `see` makes the final decision.
    let earlier = match correlation.kind {
        Kind::TemporalOrdered => {
            (1..seen.len()).any(|at| hit.inputs & 1 << at != 0 && within(seen[at - 1]))
        }
        _ => (0..seen.len()).any(|at| hit.inputs & 1 << at == 0 && within(seen[at])),
    };
    earlier || hit.inputs & thresholds(&correlation.inputs) != 0
}

/// Records which inputs were seen, or how far an ordered chain has come; returns whether anything changed.
fn see(correlation: &Correlation, counter: &mut Counter, hit: &Hit<'_>) -> bool {
    let seen = &mut counter.more().seen;
    let time = hit.time_ns.max(1);
    let is_ordered = matches!(correlation.kind, Kind::TemporalOrdered);
    let mut any = false;
    // Backwards, so that one event does not count as two links of a chain.
    for at in (0..seen.len()).rev().filter(|at| hit.inputs & 1 << at != 0) {
        let begun = match at.checked_sub(1).filter(|_| is_ordered) {
            None => time,
            Some(before) => match seen[before] {
                0 => continue,
                begun if time.saturating_sub(begun) > correlation.window_ns => continue,
                begun => begun,
            },
        };
        seen[at] = seen[at].max(begun);
        any = true;
    }
    any
}

fn keep_value(counter: &mut Counter, time_ns: u64, n: u64) {
    let values = &mut counter.more().values;
    if values.len() >= VALUES {
        values.pop_front();
    }
    values.push_back((time_ns, n));
}

/// Nearest-rank percentile of the values in the window.
fn percentile_of(
    counter: &mut Counter,
    time_ns: u64,
    window_ns: u64,
    percentile: u8,
) -> Option<u64> {
    let values = &counter.more().values;
    let newest = values.iter().map(|(t, _)| *t).max().unwrap_or(time_ns);
    let within = values.iter().filter(|(t, _)| newest - t < window_ns);
    let mut within: Vec<u64> = within.map(|(_, n)| *n).collect();
    within.sort_unstable();
    let rank = (within.len() * usize::from(percentile)).div_ceil(100).max(1);
    within.get(rank - 1).copied()
}

fn holds(correlation: &Correlation, counter: &Counter, hit: &Hit<'_>, value: u64) -> bool {
    let Some(more) = &counter.more else { return correlation.holds(value) };
    let within = |time: u64| is_within(time, hit, correlation.window_ns);
    match &correlation.kind {
        Kind::Temporal(None) => more.seen.iter().all(|t| within(*t)),
        Kind::Temporal(Some(seen)) => {
            seen.holds(&|at| more.seen.get(at).is_some_and(|t| within(*t)))
        }
        Kind::Ratio(percent) => {
            let all = more.addends.as_ref().map_or(0, Window::total);
            correlation.holds(value)
                && value.saturating_mul(100) >= all.saturating_mul((*percent).into())
        }
        Kind::TimingSplit(factor) => {
            let values = more.values.iter().filter(|(t, _)| within(*t));
            correlation.holds(value) && native::is_split(values, *factor)
        }
        // Holds at the event that completes the chain.
        Kind::TemporalOrdered => {
            let last = more.seen.len().saturating_sub(1);
            hit.inputs & 1 << last != 0 && more.seen.last().is_some_and(|t| within(*t))
        }
        _ => correlation.holds(value),
    }
}
