//! An event on its way to the counters of all correlations that take it in, and the alerts that they raise
//! at it.

use std::cmp::Reverse;

use crate::alert::{Alert, State};
use crate::bits::{is_in, put, take_next};
use crate::correlate::{self, Counted, Hit};
use crate::counters::Key;
use crate::evidence::Sighting;
use crate::hits;
use crate::lifecycle::Subject;
use crate::rule::{Correlation, Input, MOST_INPUTS};
use crate::view::View;

use super::{Core, Due, over_at};

/// For each detection, and for each correlation, the correlations that take it in.
#[derive(Debug)]
pub(super) struct Feeds {
    of_detection: Vec<Vec<usize>>,
    of_correlation: Vec<Vec<usize>>,
}

impl Feeds {
    /// Of so many detections to some correlations.
    pub fn new(detections: usize, correlations: &[Correlation]) -> Self {
        let mut feeds = Feeds {
            of_detection: vec![Vec::new(); detections],
            of_correlation: vec![Vec::new(); correlations.len()],
        };
        for (number, correlation) in correlations.iter().enumerate() {
            for input in correlation.inputs.iter().take(MOST_INPUTS) {
                match input {
                    Input::Detection(at) => feeds.of_detection[*at].push(number),
                    Input::Correlation(at) => feeds.of_correlation[*at].push(number),
                }
            }
        }
        feeds
    }
}

/// What the event at hand counts for.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// Detections that it matches.
    pub matched: Vec<u64>,
    /// Correlations that it is still to be counted for.
    left: Vec<u64>,
    /// Correlations whose condition holds at it.
    held: Vec<u64>,
    /// Correlations with alerts of which it moved the condition forward, in order.
    pub moved: Vec<usize>,
}

impl Fed {
    /// Of so many detections and correlations.
    pub fn new(detections: usize, correlations: usize) -> Self {
        Fed {
            matched: vec![0; detections.div_ceil(64)],
            left: vec![0; correlations.div_ceil(64)],
            held: vec![0; correlations.div_ceil(64)],
            moved: Vec::with_capacity(correlations.min(64)),
        }
    }

    /// Forgets the event before.
    pub fn clear(&mut self) {
        for set in [&mut self.matched, &mut self.left, &mut self.held] {
            set.fill(0);
        }
        self.moved.clear();
    }

    /// Feeds the correlations that take in what is matched; whether there are any.
    pub fn feed(&mut self, feeds: &Feeds) -> bool {
        let mut any = false;
        for detection in crate::bits::numbers(&self.matched) {
            for number in &feeds.of_detection[detection] {
                put(&mut self.left, *number);
                any = true;
            }
        }
        any
    }

    /// The condition of a correlation holds at the event, which is fed to those that take it in: they come
    /// after it.
    fn hold(&mut self, number: usize, feeds: &Feeds) {
        put(&mut self.held, number);
        for other in &feeds.of_correlation[number] {
            put(&mut self.left, *other);
        }
    }

    /// Which inputs of a correlation the event is, a bit each.
    fn inputs(&self, correlation: &Correlation) -> u64 {
        let is = |input: &Input| match input {
            Input::Detection(at) => is_in(&self.matched, *at),
            Input::Correlation(at) => is_in(&self.held, *at),
        };
        let inputs = correlation.inputs.iter().take(MOST_INPUTS).enumerate();
        inputs.fold(0, |all, (at, input)| all | u64::from(is(input)) << at)
    }
}

impl Core {
    /// Counts the event wherever it was fed to.
    pub(super) fn count_all<'e>(
        &mut self,
        view: &'e View<'e>,
        time_ns: u64,
        fed: &mut Fed,
        alerts: &mut Vec<Alert>,
    ) {
        self.keys.begin();
        self.counters.begin();
        let mut sighting = None;
        let mut word = 0;
        while let Some(number) = take_next(&mut fed.left, &mut word) {
            let inputs = fed.inputs(&self.correlations[number]);
            let mut hit = Hit {
                view,
                time_ns,
                inputs,
                distinct: None,
            };
            let Some((key, slot)) = self.slot(number, &hit) else {
                continue;
            };
            hit.distinct = self.keys.value(number, view);
            let Some(counted) = self.count(key, slot, &hit, &mut sighting, alerts) else {
                continue;
            };
            if counted.moved && self.correlations[number].alerts {
                fed.moved.push(number);
            }
            if counted.holds {
                fed.hold(number, &self.feeds);
            }
        }
    }

    /// The slot of the counter that an event is on its way to; made if it can begin with the event and is
    /// admitted.
    fn slot(&mut self, number: usize, hit: &Hit<'_>) -> Option<(Key, usize)> {
        let correlation = &self.correlations[number];
        let begins = correlate::can_begin(&correlation.kind, hit.inputs, hit.view);
        if !begins && self.counters.len_of(number) == 0 {
            return None;
        }
        let guard = self.guards.get(number).and_then(Option::as_ref);
        if guard.is_some_and(|guard| !guard.matches(hit.view)) {
            return None;
        }
        let input = hit.inputs.trailing_zeros() as usize;
        let key = Key {
            correlation: number as u16,
            hash: self.keys.group(number, input, hit.view)?,
        };
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

    fn count<'e>(
        &mut self,
        key: Key,
        slot: usize,
        hit: &Hit<'e>,
        sighting: &mut Option<Sighting<'e>>,
        alerts: &mut Vec<Alert>,
    ) -> Option<Counted> {
        let number = usize::from(key.correlation);
        let correlation = &self.correlations[number];
        let rule = &self.rules[correlation.rule];
        let counter = self.counters.use_at(slot)?;
        let counted = correlate::count(correlation, hit, counter);
        let mut due = None;
        if let Ok(Some(counted)) = &counted
            && correlation.alerts
        {
            let subject = Subject::new(rule, correlation, false);
            due = subject.judge(counter, hit, counted, sighting, self.keys.hashes());
            let opened = due == Some(State::Opened);
            if counted.moved || opened {
                // Whether it will be told is not known yet, if it yields to others.
                let told = opened && self.yields[number].is_empty();
                self.hits.count(number, key.hash, hit.time_ns, told, || {
                    hits::values(correlation, rule, hit.inputs, hit.view)
                });
            }
        }
        self.stats.late += u64::from(counted.is_err());
        self.counters.settle(slot);
        let counted = counted.ok()??;
        if let Some(state) = due {
            let alert = self.raise(key, slot, hit, &counted, state);
            alerts.extend(alert);
        }
        Some(counted)
    }

    /// What a key has to say at an event.
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
        let silent = yields && self.is_told_already(number, hit.view);
        if yields && !silent {
            self.hits.opened(number, key.hash);
        }
        let correlation = &self.correlations[number];
        let lossy = self.is_lossy(correlation, hit.time_ns);
        let subject = Subject::new(&self.rules[correlation.rule], correlation, lossy);
        let counter = self.counters.use_at(slot)?;
        let mut alert = subject.raise(counter, hit, counted, state, of_inputs);
        if let Some(alert) = &alert
            && state == State::Opened
        {
            self.stats.opened += u64::from(!silent);
            let over_ns = over_at(correlation, counter, hit.time_ns);
            self.due.push(Reverse(Due::new(over_ns, alert.id, key)));
        }
        if silent {
            subject.silence(counter);
            alert = None;
        }
        self.counters.settle(slot);
        alert
    }

    /// The counter that the event is of under another correlation.
    fn key_of(&mut self, correlation: usize, view: &View<'_>) -> Option<Key> {
        Some(Key {
            correlation: u16::try_from(correlation).ok()?,
            hash: self.keys.group(correlation, 0, view)?,
        })
    }

    /// The highest count among the correlations that one takes in, for whom the event is of.
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

    /// Whether an alert is open, of a rule that the correlation yields to, about whom the event is of.
    fn is_told_already(&mut self, number: usize, view: &View<'_>) -> bool {
        (0..self.yields[number].len()).any(|at| {
            let key = self.key_of(self.yields[number][at], view);
            let counter = key.and_then(|key| self.counters.get_mut(key));
            counter.is_some_and(|counter| counter.active().is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Kind, Seen};

    fn correlation(kind: Kind, inputs: Vec<Input>) -> Correlation {
        Correlation {
            rule: 0,
            kind,
            inputs,
            group_by: Vec::new(),
            window_ns: 1,
            condition: Vec::new(),
            alerts: false,
        }
    }

    /// Each correlation comes once, those that others feed while the event is counted after these.
    #[test]
    fn all_that_feed_one_come_before_it() {
        use Input::{Correlation as C, Detection as D};
        let count = || Kind::EventCount;
        let correlations = [
            correlation(count(), vec![D(0)]),
            correlation(count(), vec![D(70)]),
            correlation(Kind::Temporal(None), vec![C(0), D(1), C(1)]),
            correlation(Kind::Temporal(Some(Seen::Input(0))), vec![C(2), D(0)]),
        ];
        let feeds = Feeds::new(71, &correlations);
        let mut fed = Fed::new(71, correlations.len());
        for detections in [vec![0, 70], vec![0], vec![1]] {
            fed.clear();
            detections.iter().for_each(|at| put(&mut fed.matched, *at));
            assert!(fed.feed(&feeds));
            let (mut word, mut order) = (0, Vec::new());
            while let Some(number) = take_next(&mut fed.left, &mut word) {
                order.push((number, fed.inputs(&correlations[number])));
                fed.hold(number, &feeds);
            }
            let expected = match detections[..] {
                [0, 70] => vec![(0, 1), (1, 1), (2, 0b101), (3, 0b11)],
                [0] => vec![(0, 1), (2, 1), (3, 0b11)],
                _ => vec![(2, 0b10), (3, 1)],
            };
            assert_eq!(order, expected, "{detections:?}");
        }
    }
}
