//! Counts an event for all correlations that it is fed to, and raises their alerts.

use std::cmp::Reverse;

use crate::alert::{Alert, State};
use crate::correlate::{self, Counted, Hit};
use crate::counters::Key;
use crate::hits;
use crate::lifecycle::{Subject, over_at};
use crate::rule::{Input, Kind};
use crate::view::View;

use super::core::{Core, Due};
use super::fed::Fed;

impl Core {
    /// Counts the event for all correlations that it is fed to.
    pub(super) fn count_all<'e>(
        &mut self,
        view: &'e View<'e>,
        time_ns: u64,
        fed: &mut Fed,
        alerts: &mut Vec<Alert>,
    ) {
        self.keys.begin();
        self.counters.begin();
        let (inner, mut keys) = (self.hops.take_inner(view.event), Vec::new());
        let mut word = 0;
        while let Some((number, inputs)) = fed.next(&mut word) {
            let correlation = &self.correlations[number];
            if correlation.kind == Kind::EventCount && correlation.undoes(inputs) {
                if self.counters.len_of(number) > 0 {
                    fed.undone.push((number, inputs));
                }
                continue;
            }
            let mut hit = Hit { view, time_ns, inputs, distinct: None };
            let Some((key, slot)) = self.slot(number, &hit) else { continue };
            if view.event.forwarded.is_some() {
                keys.push(key);
            }
            if inner.contains(&key) {
                continue;
            }
            hit.distinct = self.keys.value(number, view);
            let Some(counted) = self.count(key, slot, &hit, alerts) else {
                continue;
            };
            if counted.moved && self.correlations[number].alerts {
                fed.moved.push(number);
            }
            if counted.holds {
                fed.hold(number, &self.feeds);
            }
        }
        for (number, inputs) in &fed.undone {
            let hit = Hit { view, time_ns, inputs: *inputs, distinct: None };
            if let Some((key, slot)) = self.slot(*number, &hit) {
                self.count(key, slot, &hit, alerts);
            }
        }
        self.hops.remember(view.event, keys);
    }

    /// The slot of the counter for an event; created if the event can begin a counter and the
    /// key is admitted.
    fn slot(&mut self, number: usize, hit: &Hit<'_>) -> Option<(Key, usize)> {
        let correlation = &self.correlations[number];
        let begins = correlate::can_begin(correlation, hit.inputs, hit.view);
        if !begins && self.counters.len_of(number) == 0 {
            return None;
        }
        let guard = self.guards.get(number).and_then(Option::as_ref);
        if guard.is_some_and(|guard| !guard.matches(hit.view)) {
            return None;
        }
        let input = hit.inputs.trailing_zeros() as usize;
        let key =
            Key { correlation: number as u16, hash: self.keys.group(number, input, hit.view)? };
        if let Some(slot) = self.counters.find(key) {
            return Some((key, slot));
        }
        if !begins {
            return None;
        }
        let limit = self.rules[correlation.rule].group_limit;
        let incomplete = self.counters.admit(key, limit)?;
        let mut counter = correlate::make(correlation, hit.time_ns);
        counter.incomplete = incomplete;
        Some((key, self.counters.insert(key, counter)))
    }

    fn count(
        &mut self,
        key: Key,
        slot: usize,
        hit: &Hit<'_>,
        alerts: &mut Vec<Alert>,
    ) -> Option<Counted> {
        let number = usize::from(key.correlation);
        let correlation = &self.correlations[number];
        let rule = &self.rules[correlation.rule];
        let counter = self.counters.use_at(slot)?;
        let counted = correlate::count(correlation, hit, counter);
        // Only values and evidence take memory. Evidence that a new count discards is subtracted with the next.
        let mut resized = correlation.kind.keeps_values();
        let mut due = None;
        if let Ok(Some(counted)) = &counted
            && correlation.leads_to_alerts()
        {
            let subject = Subject::new(rule, correlation, false);
            let judged = subject.judge(counter, hit, counted);
            resized |= judged.is_some();
            due = judged.flatten();
            let opened = due == Some(State::Opened);
            if counted.moved || opened {
                // If the rule yields to others, it is not known yet whether the alert will be reported.
                let reported = opened && self.yields[number].is_empty();
                self.hits.count(number, key.hash, hit.time_ns, reported, || {
                    hits::values(correlation, rule, hit.inputs, hit.view)
                });
            }
        }
        self.stats.late += u64::from(counted.is_err());
        if resized {
            self.counters.settle(slot);
        }
        let counted = counted.ok()??;
        if let Some(state) = due {
            let alert = self.raise(key, slot, hit, &counted, state);
            alerts.extend(alert);
        }
        Some(counted)
    }

    /// Raises the alert of a key at an event.
    fn raise(
        &mut self,
        key: Key,
        slot: usize,
        hit: &Hit<'_>,
        counted: &Counted,
        state: State,
    ) -> Option<Alert> {
        let number = usize::from(key.correlation);
        let of_inputs = self.counted_by_inputs(number, hit.view);
        let yields = state == State::Opened && !self.yields[number].is_empty();
        let mut silent = yields && self.is_told_already(number, hit.view);
        if yields && !silent {
            self.hits.opened(number, key.hash);
        }
        let mut of_digest = None;
        if state == State::Opened
            && !silent
            && let Some(alert) = self.digest(number, hit)
        {
            (silent, of_digest) = (true, alert);
        }
        let correlation = &self.correlations[number];
        let lossy = self.is_lossy(correlation, hit.time_ns);
        let subject = Subject::new(&self.rules[correlation.rule], correlation, lossy);
        let counter = self.counters.use_at(slot)?;
        let mut alert = subject.raise(counter, hit, counted, state, of_inputs);
        if silent {
            subject.silence(counter);
            alert = of_digest;
        }
        if state == State::Opened
            && let Some(active) = counter.active()
        {
            self.stats.opened += u64::from(!silent);
            let over_ns = active.due(over_at(correlation, counter, hit.time_ns));
            self.due.push(Reverse(Due::new(over_ns, active.id, key)));
        }
        self.counters.settle(slot);
        alert
    }

    /// Counts an alert that is about to open towards its client's limit on its server. Beyond the limit,
    /// returns `Some`: the digest replaces the alert, and is included if it is to be reported.
    fn digest(&mut self, number: usize, hit: &Hit<'_>) -> Option<Option<Alert>> {
        let digest = self.digests.get(number).copied().flatten()?;
        let hit = Hit { inputs: 1, distinct: None, ..*hit };
        let (key, slot) = self.slot(digest, &hit)?;
        let mut alerts = Vec::new();
        self.count(key, slot, &hit, &mut alerts);
        self.counters.get_mut(key)?.active()?;
        Some(alerts.pop())
    }

    /// The event's key under another correlation.
    fn key_of(&mut self, correlation: usize, view: &View<'_>) -> Option<Key> {
        Some(Key {
            correlation: u16::try_from(correlation).ok()?,
            hash: self.keys.group(correlation, 0, view)?,
        })
    }

    /// The highest count, for the event's key, among the correlations that this one takes as inputs.
    fn counted_by_inputs(&mut self, number: usize, view: &View<'_>) -> Option<u64> {
        let mut most = None;
        for at in 0..self.correlations[number].inputs.len() {
            if let Input::Correlation(other) = self.correlations[number].inputs[at]
                && let Some(key) = self.key_of(other, view)
            {
                let counter = self.counters.get_mut(key);
                most = most.max(counter.map(|counter| counter.window.total()));
            }
        }
        most
    }

    /// Whether a rule that this correlation yields to has an open alert for the event's key.
    fn is_told_already(&mut self, number: usize, view: &View<'_>) -> bool {
        (0..self.yields[number].len()).any(|at| {
            let key = self.key_of(self.yields[number][at], view);
            let counter = key.and_then(|key| self.counters.get_mut(key));
            counter.is_some_and(|counter| counter.active().is_some())
        })
    }
}
