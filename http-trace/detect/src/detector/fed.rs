//! Which correlations an event is fed to, as which of their inputs, and which of them can begin with it.
//! Does not count.

use super::super::begun::Begun;
use super::super::conditions::Matched;
use super::super::field::View;
use super::super::plans::{Begins, Feed, clear, is_in, put};
use super::super::rule::{Correlation, Input, Kind, MOST_INPUTS};

/// Who feeds whom: for each detection, and for each correlation, the correlations that take it in.
#[derive(Debug)]
pub(super) struct Feeds {
    pub by_detection: Vec<Vec<Feed>>,
    pub by_correlation: Vec<Vec<Feed>>,
}

impl Feeds {
    /// Of so many detections to some correlations.
    pub fn new(detections: usize, correlations: &[Correlation]) -> Self {
        let mut feeds = Feeds {
            by_detection: vec![Vec::new(); detections],
            by_correlation: vec![Vec::new(); correlations.len()],
        };
        for (number, correlation) in correlations.iter().enumerate() {
            for (at, input) in correlation.inputs.iter().take(MOST_INPUTS).enumerate() {
                let begins = match correlation.kind {
                    Kind::TemporalOrdered if at > 0 => Begins::Never,
                    Kind::StatusSequence => Begins::WithStatus,
                    _ => Begins::Always,
                };
                let feed = Feed { number, begins };
                match input {
                    Input::Detection(at) => feeds.by_detection[*at].push(feed),
                    Input::Correlation(at) => feeds.by_correlation[*at].push(feed),
                }
            }
        }
        feeds
    }
}

/// What the event at hand is fed to.
#[derive(Debug, Default)]
pub(super) struct Fed {
    /// The detections that it matches, and the correlations that it is still to be counted for.
    pub matched: Matched,
    /// Correlations whose condition holds at it.
    held: Vec<u64>,
    /// All words of what it is fed to before this one are done with: who takes others in comes after
    /// them.
    at: usize,
}

impl Fed {
    /// For so many correlations.
    pub fn new(correlations: usize) -> Self {
        Fed {
            matched: Matched::default(),
            held: vec![0; correlations.div_ceil(64)],
            at: 0,
        }
    }

    /// The next event, whose matches are to be found.
    pub fn begin(&mut self) -> &mut Matched {
        clear(&mut self.held);
        self.at = 0;
        &mut self.matched
    }

    /// Whether there is anything to be counted.
    pub fn is_any(&self) -> bool {
        self.matched.feeds.iter().any(|word| *word != 0)
    }

    /// The condition of a correlation holds at the event, which is fed to those that take it in.
    pub fn hold(&mut self, number: usize, feeds: &[Feed], status: usize) {
        put(&mut self.held, number);
        for feed in feeds {
            feed.put(status, &mut self.matched.feeds, &mut self.matched.begins);
        }
    }

    /// Leaves out what only goes on with what has not begun; `with_keys` are the correlations of which
    /// anything is counted.
    pub fn sift(&mut self, begun: &mut Begun, with_keys: &[u64], view: &View<'_>) {
        let Matched { feeds, begins, .. } = &mut self.matched;
        begun.sift(view.target.path, feeds, begins, with_keys);
    }

    /// The correlation of the least number that the event is still to be counted for, and whether it can
    /// begin with the event.
    pub fn next(&mut self) -> Option<(usize, bool)> {
        let Matched { feeds, begins, .. } = &mut self.matched;
        while let (Some(word), Some(begins)) = (feeds.get_mut(self.at), begins.get(self.at)) {
            if *word != 0 {
                let bit = word.trailing_zeros() as usize;
                *word &= *word - 1;
                return Some((self.at * 64 + bit, begins >> bit & 1 != 0));
            }
            self.at += 1;
        }
        None
    }

    /// Whether the event is an input.
    pub fn is(&self, input: &Input) -> bool {
        match input {
            Input::Detection(at) => is_in(&self.matched.detections, *at),
            Input::Correlation(at) => is_in(&self.held, *at),
        }
    }

    /// Which of these inputs the event is, a bit each.
    pub fn inputs(&self, inputs: &[Input]) -> u64 {
        let inputs = inputs.iter().take(MOST_INPUTS).enumerate();
        inputs.fold(0, |all, (at, input)| all | u64::from(self.is(input)) << at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_counted_once_for_each_that_takes_in_what_it_is() {
        let takes = |inputs: &[Input]| Correlation {
            rule: 0,
            kind: Kind::EventCount,
            inputs: inputs.to_vec(),
            group_by: Vec::new(),
            window_ns: 1,
            condition: Vec::new(),
            alerts: true,
        };
        let (a, b) = (Input::Detection(0), Input::Detection(1));
        let mut correlations = vec![takes(&[a]), takes(&[b, a])];
        // Beyond the first word.
        correlations.extend((2..70).map(|_| takes(&[b])));
        correlations.push(takes(&[Input::Correlation(1), a, Input::Correlation(2)]));
        let feeds = Feeds::new(2, &correlations);
        let mut fed = Fed::new(correlations.len());
        for (matches, holds, expected) in [
            (vec![0], true, vec![(0, 1), (1, 2), (70, 3)]),
            (vec![0], false, vec![(0, 1), (1, 2), (70, 2)]),
            (vec![], true, vec![]),
        ] {
            let matched = fed.begin();
            matched.detections = vec![0];
            matched.feeds = vec![0; correlations.len().div_ceil(64)];
            matched.begins = matched.feeds.clone();
            for detection in matches {
                put(&mut matched.detections, detection);
                for feed in &feeds.by_detection[detection] {
                    feed.put(200, &mut matched.feeds, &mut matched.begins);
                }
            }
            assert_eq!(fed.is_any(), !expected.is_empty());
            let mut counted = Vec::new();
            while let Some((number, _)) = fed.next() {
                counted.push((number, fed.inputs(&correlations[number].inputs)));
                if holds && number == 1 {
                    fed.hold(number, &feeds.by_correlation[number], 200);
                }
            }
            assert_eq!(counted, expected);
        }
    }
}
