//! How one event changes one counter, and whether the rule's condition holds then. Exact in the
//! terms of [`super::window`]; knows nothing of alerts.

use std::net::{IpAddr, Ipv6Addr};

use super::counter::Counter;
use super::distinct::Distinct;
use super::entity;
use super::field::{Field, Value, View};
use super::hashes::Hashes;
use super::native;
use super::rule::{Correlation, Kind};
use super::window::{CELLS, TooLate, Window, bucket_ns};

/// The most values that a percentile is made of: the last ones.
const VALUES: usize = 512;

/// An event on its way to a counter.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// The event.
    pub view: &'a View<'a>,
    /// When it counts.
    pub time_ns: u64,
    /// The number of the bucket that this is in, wrapped.
    pub bucket: u32,
    /// The correlation's threshold.
    pub threshold: u64,
    /// Which inputs of the correlation it is, a bit each; the first where it makes no difference.
    pub inputs: u64,
    /// Which inputs are correlations themselves.
    pub thresholds: u64,
    /// The keyed hash of the value of which the correlation counts distinct ones.
    pub distinct: Option<u64>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Whether the condition holds.
    pub holds: bool,
    /// What the condition was asked of.
    pub value: u64,
    /// Whether the event moved the condition forward: not if its value is the first of its key or
    /// had been seen, not if nothing of a sequence came before it.
    pub moved: bool,
}

/// A hash of the value that a rule counts distinct ones of, the same in every run: for numbers that
/// are shown, not for tables that an attacker could make collide.
pub fn shown_hash(correlation: &Correlation, hit: &Hit<'_>) -> Option<u64> {
    let Kind::ValueCount(fields) = &correlation.kind else {
        return None;
    };
    let one =
        |all: u64, field| Some(SHOWN.mix(all, entity::hash_field(&SHOWN, field, 128, hit.view)?));
    fields.iter().try_fold(0, one)
}

/// Of numbers that are shown; any will do.
static SHOWN: Hashes = Hashes::with_key([0x4164_d839_9f76_7c45, 0xb0c1_1fde_cb91_ce37]);

/// The network that an address is counted as: an IPv6 site, an IPv4 address.
pub fn network(ip: IpAddr, ipv6_prefix: u8) -> u128 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => 0xffff << 32 | u128::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(ipv6_prefix))
                .unwrap_or(0);
            ip.to_bits() & mask
        }
    }
}

/// That network as text; an address stays one.
pub fn network_text(ip: IpAddr, ipv6_prefix: u8) -> String {
    match ip.to_canonical() {
        IpAddr::V6(ip) if ipv6_prefix < 128 => {
            let network = Ipv6Addr::from_bits(network(ip.into(), ipv6_prefix));
            format!("{network}/{ipv6_prefix}")
        }
        ip => ip.to_string(),
    }
}

/// The number of a time's bucket, wrapped.
pub const fn bucket(correlation: &Correlation, time_ns: u64) -> u32 {
    (time_ns / bucket_ns(correlation.window_ns)) as u32
}

/// A counter for a correlation.
pub fn make(correlation: &Correlation, time_ns: u64) -> Counter {
    let bucket = bucket(correlation, time_ns);
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
        Kind::ValueCount(_)
        | Kind::StatusSequence
        | Kind::EventCount
        | Kind::TimingSplit(_)
        | Kind::ValueSum(_)
        | Kind::ValuePercentile(..) => {}
    }
    counter
}

/// How far a correlation counts distinct values, if it does.
pub fn distinct_up_to(correlation: &Correlation) -> Option<usize> {
    let most = usize::try_from(correlation.threshold()).unwrap_or(usize::MAX);
    matches!(correlation.kind, Kind::ValueCount(_)).then_some(most.max(1))
}

/// Whether an event that changes nothing but a number or two of a counter that is there has been
/// counted: what ordinary responses are to most counters, such as one more of a server, one more
/// to the client of the same server, one more header that a host lacks. Whether the condition holds now is
/// for the caller to ask, of `event_count`s that others take in. Otherwise nothing has happened,
/// and [`count`] does it. The counter takes no more room afterwards. `is_quiet` is set when nobody is
/// to know of each event whether the condition holds once an alert is open.
pub fn is_quickly_counted(
    correlation: &Correlation,
    is_quiet: bool,
    hit: &Hit<'_>,
    counter: &mut Counter,
) -> bool {
    if is_over(hit, counter) {
        return false;
    }
    match &correlation.kind {
        // Far from the threshold, or beyond it and told of, or told by others.
        Kind::EventCount => {
            let says_nothing = match counter.active().is_some() {
                true => is_quiet && counter.is_silent_at(hit.time_ns),
                false => {
                    !correlation.alerts
                        || (counter.window.total() + 1).saturating_mul(2) < hit.threshold
                }
            };
            let done = says_nothing && counter.window.add(hit.bucket, 1).is_ok();
            counter.events += u64::from(done);
            done
        }
        // Far from the threshold, with a value that is in the window.
        Kind::ValueCount(_) => {
            let is_far = counter.active().is_none()
                && counter.window.total().saturating_mul(2) < hit.threshold;
            let Some(hash) = hit.distinct.filter(|_| is_far) else {
                return false;
            };
            let Counter {
                window, few, more, ..
            } = counter;
            let done = match more.as_mut().and_then(|more| more.distinct.as_mut()) {
                Some(set) => set.see_again(hash, hit.bucket, window),
                None => few.see_again(hash, hit.bucket, window),
            };
            counter.events += u64::from(done);
            done
        }
        Kind::Ratio(_) if hit.inputs == 2 => {
            let all = counter.more.as_mut().and_then(|more| more.addends.as_mut());
            let done = all.is_some_and(|all| all.add(hit.bucket, 1).is_ok());
            if done {
                counter.window.advance(hit.bucket);
            }
            done
        }
        Kind::StatusSequence => {
            let status = hit.view.event.response.as_ref().map(|r| r.status);
            let Some(status) = status else {
                return false;
            };
            let done = !native::is_odd_turn(counter.status.into(), status);
            if done {
                counter.status = status;
            }
            done
        }
        // One of several that is no threshold, with none of the others there: evidence begins later.
        Kind::Temporal(None) if hit.thresholds != 0 && hit.inputs & hit.thresholds == 0 => {
            let done = counter.active().is_none()
                && !counter.has_evidence()
                && has_none_of_the_others(correlation, hit, counter)
                && counter.window.add(hit.bucket, 1).is_ok();
            if done {
                counter.events += 1;
                if let Some(more) = &mut counter.more {
                    mark_seen(&mut more.seen, hit);
                }
            }
            done
        }
        _ => false,
    }
}

/// Whether there are other inputs than the event, of which none was seen within the window.
fn has_none_of_the_others(correlation: &Correlation, hit: &Hit<'_>, counter: &Counter) -> bool {
    let seen = counter.more.as_ref().map_or(&[][..], |more| &more.seen);
    let mut others = (0..).zip(seen).filter(|(at, _)| hit.inputs & 1 << at == 0);
    let is_there = |seen: u64| is_within(seen, hit, correlation.window_ns);
    others.clone().next().is_some() && !others.any(|(_, seen)| is_there(*seen))
}

/// Whether the event is one more of a threshold that was reached, and others of which none was are waited
/// for: it moves the condition forward, which does not hold.
pub fn waits_for_others(correlation: &Correlation, hit: &Hit<'_>, counter: &Counter) -> bool {
    matches!(correlation.kind, Kind::Temporal(None))
        && hit.inputs & hit.thresholds != 0
        && !is_over(hit, counter)
        && has_none_of_the_others(correlation, hit, counter)
}

/// Whether nothing that a counter has counted is in the window of an event any more.
const fn is_over(hit: &Hit<'_>, counter: &Counter) -> bool {
    hit.bucket.wrapping_sub(counter.window.newest()) as i32 > CELLS as i32
}

/// Notes when the inputs that an event is were seen, of which the order makes no difference; whether it is
/// any.
pub fn mark_seen(seen: &mut [u64], hit: &Hit<'_>) -> bool {
    let mut any = false;
    for (at, seen) in seen.iter_mut().enumerate() {
        if hit.inputs & 1 << at != 0 {
            *seen = (*seen).max(hit.time_ns.max(1));
            any = true;
        }
    }
    any
}

/// Whether [`is_quickly_counted`] is worth asking.
pub const fn has_quick_way(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::EventCount
            | Kind::ValueCount(_)
            | Kind::Ratio(_)
            | Kind::StatusSequence
            | Kind::Temporal(None)
    )
}

/// Whether something was seen at a time so near to an event that they count together; 0 is never.
const fn is_within(time_ns: u64, hit: &Hit<'_>, window_ns: u64) -> bool {
    time_ns != 0 && hit.time_ns.saturating_sub(time_ns) <= window_ns
}

/// Whether what moves nothing forward is no evidence: where others are to reach a threshold, what comes
/// before is what everybody does.
pub const fn begins_late(kind: &Kind, hit: &Hit<'_>) -> bool {
    matches!(kind, Kind::Temporal(_)) && hit.thresholds != 0
}

/// Whether counting an event of this kind may make a counter larger.
pub const fn may_grow(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::EventCount
            | Kind::Ratio(_)
            | Kind::StatusSequence
            | Kind::Temporal(_)
            | Kind::TemporalOrdered
    )
}

/// Counts an event.
///
/// # Errors
/// When it is older than the window.
pub fn count(
    correlation: &Correlation,
    hit: &Hit<'_>,
    counter: &mut Counter,
) -> Result<Option<Counted>, TooLate> {
    let bucket = hit.bucket;
    if is_over(hit, counter) && counter.active().is_none() {
        // Nothing of before is in the window: what is counted from here on is another matter.
        counter.events = 0;
        if let Some(more) = &mut counter.more {
            more.evidence = None;
        }
    }
    let number = |field: &Field| match hit.view.first(field) {
        Some(Value::Number(n)) => Some(n),
        Some(other) => other.with_text(|text| std::str::from_utf8(text).ok()?.trim().parse().ok()),
        None => None,
    };
    let mut moved = true;
    let value = match &correlation.kind {
        Kind::EventCount => {
            counter.window.add(bucket, 1)?;
            counter.window.total()
        }
        Kind::ValueCount(_) => {
            let Some(hash) = hit.distinct else {
                return Ok(None);
            };
            moved = see_distinct(correlation, counter, hash, bucket)?;
            // One value is what every client has.
            moved &= counter.window.total() >= hit.threshold.min(2);
            counter.window.total()
        }
        Kind::ValueSum(field) => {
            let Some(n) = number(field) else {
                return Ok(None);
            };
            counter.window.add(bucket, n)?;
            counter.window.total()
        }
        Kind::ValueAvg(field) => {
            let Some(n) = number(field) else {
                return Ok(None);
            };
            counter.window.add(bucket, n)?;
            let sum = counter.window.total();
            let Some(addends) = counter.more.as_mut().and_then(|m| m.addends.as_mut()) else {
                return Ok(None);
            };
            addends.add(bucket, 1)?;
            sum / addends.total().max(1)
        }
        Kind::ValuePercentile(field, percentile) => {
            let Some(n) = number(field) else {
                return Ok(None);
            };
            counter.window.add(bucket, 1)?;
            percentile_of(counter, hit.time_ns, n, correlation.window_ns, *percentile)
        }
        Kind::Ratio(_) => {
            if hit.inputs & 2 != 0
                && let Some(all) = counter.more.as_mut().and_then(|m| m.addends.as_mut())
            {
                all.add(bucket, 1)?;
            }
            if hit.inputs & 1 == 0 {
                counter.window.advance(bucket);
                return Ok(None);
            }
            counter.window.add(bucket, 1)?;
            counter.window.total()
        }
        Kind::TimingSplit(_) => {
            let Some(ns) = hit.view.event.ttfb_ns() else {
                return Ok(None);
            };
            counter.window.add(bucket, 1)?;
            keep_value(counter, hit.time_ns, ns);
            counter.window.total()
        }
        Kind::StatusSequence => {
            let Some(status) = hit.view.event.response.as_ref().map(|r| r.status) else {
                return Ok(None);
            };
            let before = std::mem::replace(&mut counter.status, status);
            if !native::is_odd_turn(before.into(), status) {
                return Ok(None);
            }
            counter.window.add(bucket, 1)?;
            counter.window.total()
        }
        Kind::Temporal(_) | Kind::TemporalOrdered => {
            let ordered = matches!(correlation.kind, Kind::TemporalOrdered);
            moved = goes_on(correlation, counter, hit);
            if !see(counter, hit, ordered, correlation.window_ns) {
                return Ok(None);
            }
            counter.window.add(bucket, 1)?;
            counter.window.total()
        }
    };
    counter.events += 1;
    Ok(Some(Counted {
        holds: holds(correlation, counter, hit, value),
        value,
        moved,
    }))
}

/// Notes a distinct value; whether it is new in the window.
fn see_distinct(
    correlation: &Correlation,
    counter: &mut Counter,
    hash: u64,
    bucket: u32,
) -> Result<bool, TooLate> {
    if counter.distinct().is_none() {
        if let Some(is_new) = counter.few.see(hash, bucket, &mut counter.window)? {
            return Ok(is_new);
        }
        let most = distinct_up_to(correlation).unwrap_or(1);
        let few = std::mem::take(&mut counter.few);
        let distinct = Distinct::after(few, most, &counter.window);
        counter.more().distinct = Some(distinct);
    }
    let set = counter.more.as_mut().and_then(|m| m.distinct.as_mut());
    set.map_or(Ok(false), |set| set.see(hash, bucket, &mut counter.window))
}

/// Whether an event goes on with what was seen before it, or is itself more than one event: the
/// threshold of another correlation.
fn goes_on(correlation: &Correlation, counter: &Counter, hit: &Hit<'_>) -> bool {
    let within = |time: u64| is_within(time, hit, correlation.window_ns);
    let seen = counter.more.as_ref().map_or(&[][..], |more| &more.seen);
    // In order, a link goes on with the one before it only; `see` has the last word on that.
    let earlier = match correlation.kind {
        Kind::TemporalOrdered => {
            (1..seen.len()).any(|at| hit.inputs & 1 << at != 0 && within(seen[at - 1]))
        }
        _ => (0..seen.len()).any(|at| hit.inputs & 1 << at == 0 && within(seen[at])),
    };
    earlier || hit.inputs & hit.thresholds != 0
}

fn percentile_of(
    counter: &mut Counter,
    time_ns: u64,
    n: u64,
    window_ns: u64,
    percentile: u8,
) -> u64 {
    keep_value(counter, time_ns, n);
    let values = &counter.more().values;
    let newest = values.iter().map(|(t, _)| *t).max().unwrap_or(time_ns);
    let mut within: Vec<u64> = values
        .iter()
        .filter(|(t, _)| newest - t < window_ns)
        .map(|(_, n)| *n)
        .collect();
    within.sort_unstable();
    // Nearest rank: the least value that so many percent do not exceed.
    let rank = (within.len() * usize::from(percentile))
        .div_ceil(100)
        .max(1);
    within.get(rank - 1).copied().unwrap_or(n)
}

fn keep_value(counter: &mut Counter, time_ns: u64, n: u64) {
    let more = counter.more();
    if more.values.len() >= VALUES {
        more.values.pop_front();
    }
    more.values.push_back((time_ns, n));
    if let Some((least, most)) = &mut more.extremes {
        (*least, *most) = ((*least).min(n), (*most).max(n));
    }
}

/// Notes which inputs were seen, or how far an ordered chain has come; whether that changed
/// anything.
fn see(counter: &mut Counter, hit: &Hit<'_>, ordered: bool, window_ns: u64) -> bool {
    let seen = &mut counter.more().seen;
    if !ordered {
        return mark_seen(seen, hit);
    }
    let mut any = false;
    let time = hit.time_ns.max(1);
    for at in (0..seen.len()).rev().filter(|at| hit.inputs & 1 << at != 0) {
        // From the last on: one event is not two links of a chain.
        let begun = match at.checked_sub(1).map(|before| seen[before]) {
            None => time,
            Some(0) => continue,
            Some(begun) if time.saturating_sub(begun) > window_ns => continue,
            Some(begun) => begun,
        };
        seen[at] = seen[at].max(begun);
        any = true;
    }
    any
}

fn holds(correlation: &Correlation, counter: &mut Counter, hit: &Hit<'_>, value: u64) -> bool {
    let Some(more) = &mut counter.more else {
        return correlation.holds(value);
    };
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
            if !correlation.holds(value) || !native::are_apart(more.extremes(), *factor) {
                // Nearly always all are too near one another, also those that are past.
                return false;
            }
            more.extremes = None;
            native::is_split(more.values.iter().filter(|(t, _)| within(*t)), *factor)
        }
        // At the event that ends the chain.
        Kind::TemporalOrdered => {
            let last = more.seen.len().saturating_sub(1);
            hit.inputs & 1 << last != 0 && more.seen.last().is_some_and(|t| within(*t))
        }
        _ => correlation.holds(value),
    }
}
