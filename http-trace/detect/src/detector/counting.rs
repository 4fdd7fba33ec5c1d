//! An event on its way to the counters of all correlations that it is fed to, and what they have to
//! say at it.

use std::cmp::Reverse;
use std::sync::Arc;

use super::super::alert::{Alert, State};
use super::super::begun;
use super::super::count::{self, Counted, Hit};
use super::super::counter::Counter;
use super::super::entity::{Entities, Shape};
use super::super::evidence::Sighting;
use super::super::field::View;
use super::super::hits;
use super::super::matcher::Expr;
use super::super::plans::Feed;
use super::super::prefilter::status_of;
use super::super::rule::{Correlation, Group, Input, Kind, MOST_INPUTS, Rule};
use super::super::table::Key;
use super::fed::Fed;
use super::subject::{Subject, gathers};
use super::{Core, Due, over_at};

/// What is known of a correlation before there is any event.
#[derive(Debug)]
pub(super) struct Ready {
    /// What it takes in; nothing when that is one thing, or nobody asks which it is.
    inputs: Box<[Input]>,
    has_quick_way: bool,
    /// Which inputs are correlations, a bit each.
    thresholds: u64,
    /// The shape of its keys ([`Entities::hash`]), if it is one for all inputs; and of the values of
    /// which it counts distinct ones.
    keys: Option<Shape>,
    values: Option<Shape>,
    /// Each event moves the condition forward, also one that is counted quickly.
    counts_events: bool,
    /// The rule is quiet, and no other correlation asks when the condition holds.
    is_quiet: bool,
    /// Sometimes it only gathers evidence of what it counts, see [`gathers`], and no other correlation asks
    /// when the condition holds.
    only_gathers: bool,
    is_guarded: bool,
    /// Among what it feeds is some that only goes on with what has begun.
    feeds_what_goes_on: bool,
    /// The most keys that it may have.
    limit: Option<usize>,
    alerts: bool,
    threshold: u64,
}

impl Ready {
    /// Of each of some correlations, with their guards and what they feed.
    pub(super) fn of(
        rules: &[Arc<Rule>],
        correlations: &[Correlation],
        entities: &Entities,
        guards: &[Option<Expr>],
        feeds: &[Vec<Feed>],
    ) -> Vec<Ready> {
        let each = correlations.iter().enumerate();
        let is_quiet = |of: &Correlation| rules.get(of.rule).is_some_and(|rule| rule.quiet);
        let feeds_none = |number: usize| feeds.get(number).is_some_and(Vec::is_empty);
        let goes_on = |feed: &Feed| correlations.get(feed.number).is_some_and(begun::goes_on);
        let ready = |(number, correlation): (usize, &Correlation)| Ready {
            inputs: match &correlation.inputs[..] {
                [_] => Box::default(),
                several if tells_inputs_apart(correlation) => several.into(),
                _ => Box::default(),
            },
            has_quick_way: count::has_quick_way(&correlation.kind),
            thresholds: thresholds(&correlation.inputs),
            keys: entities.shape_of_keys(number),
            values: entities.shape_of_values(number),
            counts_events: correlation.kind == Kind::EventCount,
            is_quiet: is_quiet(correlation) && feeds_none(number),
            only_gathers: (correlation.kind == Kind::EventCount
                || correlation.kind == Kind::Temporal(None)
                    && thresholds(&correlation.inputs) != 0)
                && correlation.alerts
                && !is_quiet(correlation)
                && feeds_none(number),
            limit: rules
                .get(correlation.rule)
                .and_then(|rule| rule.group_limit),
            is_guarded: guards.get(number).is_some_and(Option::is_some),
            feeds_what_goes_on: feeds.get(number).is_some_and(|all| all.iter().any(goes_on)),
            alerts: correlation.alerts,
            threshold: correlation.threshold(),
        };
        each.map(ready).collect()
    }
}

/// The counter that an event is on its way to.
struct To {
    key: Key,
    /// The event makes it, if it is not there.
    begins: bool,
    /// What the table said of it, if it is known not to be there: whether it is late.
    admitted: Option<bool>,
}

/// Whether it makes a difference as which input something is counted.
fn tells_inputs_apart(correlation: &Correlation) -> bool {
    let is_counted_alike = matches!(
        correlation.kind,
        Kind::EventCount | Kind::ValueCount(_) | Kind::StatusSequence
    );
    let mut groups = correlation.group_by.iter();
    let differs = |group: &Group| group.of.iter().any(|field| Some(field) != group.of.first());
    !is_counted_alike || groups.any(differs)
}

fn thresholds(inputs: &[Input]) -> u64 {
    let inputs = inputs.iter().take(MOST_INPUTS).enumerate();
    inputs.fold(0, |all, (at, input)| {
        all | u64::from(matches!(input, Input::Correlation(_))) << at
    })
}

impl Core {
    /// Counts the event wherever it was fed to; those that take in others come after them.
    #[inline(never)]
    pub(super) fn count_all(
        &mut self,
        view: &View<'_>,
        time_ns: u64,
        fed: &mut Fed,
        alerts: &mut Vec<Alert>,
    ) {
        let mut sighting = None;
        self.buckets.turn_to(time_ns);
        fed.sift(&mut self.begun, self.table.with_keys(), view);
        while let Some((number, begins)) = fed.next() {
            let Some(ready) = self.ready.get(number) else {
                continue;
            };
            let inputs = match &ready.inputs[..] {
                [] => 1,
                several => fed.inputs(several),
            };
            if ready.is_guarded {
                let guard = self.guards.get(number).and_then(Option::as_ref);
                if guard.is_some_and(|guard| !guard.matches(view)) {
                    continue;
                }
            }
            let hash = match ready.keys {
                Some(shape) => self.entities.hash(shape, view),
                None => {
                    let input = inputs.trailing_zeros() as usize;
                    self.entities.key(number, input, view)
                }
            };
            let Some(hash) = hash else {
                continue;
            };
            let values = ready.values;
            let distinct = values.and_then(|shape| self.entities.hash(shape, view));
            let hit = Hit {
                view,
                time_ns,
                bucket: self.buckets.number(number),
                threshold: ready.threshold,
                inputs,
                thresholds: ready.thresholds,
                distinct,
            };
            let key = Key {
                correlation: number as u16,
                hash,
            };
            let mut admitted = None;
            if ready.has_quick_way {
                let correlation = &self.correlations[number];
                let hashes = self.entities.hashes();
                let (mut total, mut moved) = (0, ready.counts_events);
                let quickly = |counter: &mut Counter| {
                    let mut done =
                        count::is_quickly_counted(correlation, ready.is_quiet, &hit, counter);
                    if !done && ready.only_gathers {
                        done = gathers(correlation, counter, &hit, &mut sighting, hashes);
                        moved = done;
                    }
                    total = counter.window.total();
                    done
                };
                match self.table.glance(key, quickly) {
                    Some(false) => {}
                    None if begins => {
                        admitted = self.table.admit(key, ready.limit);
                        if admitted.is_none() {
                            continue;
                        }
                    }
                    Some(true) if moved && ready.alerts => {
                        let rules = &self.rules;
                        self.hits.count(number, hash, time_ns, false, || {
                            hits::values(correlation, &rules[correlation.rule], inputs, view)
                        });
                        self.tags.add(number);
                        continue;
                    }
                    Some(true) if ready.counts_events && correlation.holds(total) => {
                        self.hold(number, fed, view);
                        continue;
                    }
                    Some(true) | None => continue,
                }
            }
            let alerts_itself = ready.alerts;
            let to = To {
                key,
                begins,
                admitted,
            };
            let Some(counted) = self.count(&to, &hit, &mut sighting, alerts) else {
                continue;
            };
            if counted.moved && alerts_itself {
                self.tags.add(number);
            }
            if counted.holds {
                self.hold(number, fed, view);
            }
        }
    }

    /// The condition of a correlation holds at the event, which is fed to those that take it in.
    fn hold(&mut self, number: usize, fed: &mut Fed, view: &View<'_>) {
        let feeds = &self.fed_by[number];
        if !feeds.is_empty() {
            fed.hold(number, feeds, status_of(view.event));
            if self.ready[number].feeds_what_goes_on {
                fed.sift(&mut self.begun, self.table.with_keys(), view);
            }
        }
    }

    /// The most that the correlations that one takes in have counted of whom the event is of.
    fn counted_by_inputs(&mut self, number: usize, view: &View<'_>) -> Option<u64> {
        let mut most = None;
        for at in 0..self.correlations[number].inputs.len() {
            let Input::Correlation(other) = self.correlations[number].inputs[at] else {
                continue;
            };
            let Some(hash) = self.entities.key(other, 0, view) else {
                continue;
            };
            let key = Key {
                correlation: u16::try_from(other).ok()?,
                hash,
            };
            let counter = self.table.get_mut(key);
            most = most.max(counter.map(|counter| counter.window.total()));
        }
        most
    }

    /// Whether an alert is open, of a rule that the correlation yields to, about whom the event is of.
    fn is_told_already(&mut self, number: usize, view: &View<'_>) -> bool {
        for at in 0..self.yields[number].len() {
            let other = self.yields[number][at];
            let (Ok(correlation), Some(hash)) =
                (u16::try_from(other), self.entities.key(other, 0, view))
            else {
                continue;
            };
            let counter = self.table.get_mut(Key { correlation, hash });
            if counter.is_some_and(|counter| counter.active().is_some()) {
                return true;
            }
        }
        false
    }

    #[inline(never)]
    fn count<'e>(
        &mut self,
        to: &To,
        hit: &Hit<'e>,
        sighting: &mut Option<Sighting<'e>>,
        alerts: &mut Vec<Alert>,
    ) -> Option<Counted> {
        let key = to.key;
        let number = usize::from(key.correlation);
        let correlation = &self.correlations[number];
        let rule = &self.rules[correlation.rule];
        let (stats, of_rule) = (&mut self.stats, &mut self.hits);
        let hashes = self.entities.hashes();
        // Whether it will be told is not known yet.
        let yields = !self.yields[number].is_empty();
        let may_grow = count::may_grow(&correlation.kind);
        let worked = self.table.work(
            key,
            to.admitted,
            rule.group_limit,
            to.begins
                .then_some(|| count::make(correlation, hit.time_ns)),
            |counter| {
                let before = counter.windows_of_evidence();
                let counted = match count::count(correlation, hit, counter) {
                    Ok(Some(counted)) => counted,
                    other => {
                        stats.late += u64::from(other.is_err());
                        return (None, true);
                    }
                };
                if !correlation.alerts {
                    return (Some((counted, None)), may_grow);
                }
                let of_event = Subject::new(rule, correlation, false);
                let due = of_event.judge(counter, hit, &counted, sighting, hashes);
                let resized = may_grow || before != counter.windows_of_evidence();
                let opened = due == Some(State::Opened);
                // What bears the rule's id is a hit of it.
                if counted.moved || opened {
                    of_rule.count(number, key.hash, hit.time_ns, opened && !yields, || {
                        hits::values(correlation, rule, hit.inputs, hit.view)
                    });
                }
                (Some((counted, due)), resized)
            },
        );
        let (counted, due) = worked.flatten()?;
        if let Some(state) = due {
            alerts.extend(self.raise(key, hit, &counted, state));
        }
        Some(counted)
    }

    /// What a key has to say at an event.
    fn raise(&mut self, key: Key, hit: &Hit<'_>, counted: &Counted, state: State) -> Option<Alert> {
        let number = usize::from(key.correlation);
        let of_others = self.counted_by_inputs(number, hit.view);
        let yields = state == State::Opened && !self.yields[number].is_empty();
        let silent = yields && self.is_told_already(number, hit.view);
        if yields && !silent {
            self.hits.opened(number, key.hash);
        }
        let correlation = &self.correlations[number];
        let rule = &self.rules[correlation.rule];
        let lossy = self.lossy_until_ns != 0
            && hit.time_ns.saturating_sub(self.lossy_until_ns) < correlation.window_ns;
        let (due, stats) = (&mut self.due, &mut self.stats);
        let there = None::<fn() -> Counter>;
        let raised = self.table.work(key, None, None, there, |counter| {
            let subject = Subject::new(rule, correlation, lossy);
            let mut alert = subject.raise(counter, hit, counted, state, of_others);
            if let Some(alert) = &alert
                && state == State::Opened
            {
                stats.opened += u64::from(!silent);
                let over_ns = over_at(correlation, counter, hit.time_ns);
                due.push(Reverse(Due::new(over_ns, alert.id, key)));
            }
            if silent {
                subject.silence(counter);
                alert = None;
            }
            (alert, true)
        });
        raised.flatten()
    }
}
