//! Which correlations an event is fed to, and as which of their inputs. Does not count.

use crate::bits::{is_in, numbers, put};
use crate::rule::{Correlation, Input, MOST_INPUTS};

/// For each detection, and for each correlation, the correlations that take it in.
#[derive(Debug)]
pub struct Feeds {
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
pub struct Fed {
    /// Detections that it matches.
    pub matched: Vec<u64>,
    /// Correlations that it is still to be counted for.
    pub left: Vec<u64>,
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
        for detection in numbers(&self.matched) {
            for number in &feeds.of_detection[detection] {
                put(&mut self.left, *number);
                any = true;
            }
        }
        any
    }

    /// The condition of a correlation holds at the event, which is fed to those that take it in: they come
    /// after it.
    pub fn hold(&mut self, number: usize, feeds: &Feeds) {
        put(&mut self.held, number);
        for other in &feeds.of_correlation[number] {
            put(&mut self.left, *other);
        }
    }

    /// Which inputs of a correlation the event is, a bit each.
    pub fn inputs(&self, correlation: &Correlation) -> u64 {
        let is = |input: &Input| match input {
            Input::Detection(at) => is_in(&self.matched, *at),
            Input::Correlation(at) => is_in(&self.held, *at),
        };
        let inputs = correlation.inputs.iter().take(MOST_INPUTS).enumerate();
        inputs.fold(0, |all, (at, input)| all | u64::from(is(input)) << at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::take_next;
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
