//! Decides which correlations an event is fed to, and as which of their inputs. Does not count.

use crate::bits::{put, take_next};
use crate::rule::{Correlation, Input, MOST_INPUTS};

/// For each detection and each correlation, the correlations that take it as input, and the
/// bit of that input.
#[derive(Debug)]
pub struct Feeds {
    of_detection: Vec<Vec<(usize, u64)>>,
    of_correlation: Vec<Vec<(usize, u64)>>,
}

impl Feeds {
    pub fn new(detections: usize, correlations: &[Correlation]) -> Self {
        let mut feeds = Feeds {
            of_detection: vec![Vec::new(); detections],
            of_correlation: vec![Vec::new(); correlations.len()],
        };
        for (number, correlation) in correlations.iter().enumerate() {
            for (at, input) in correlation.inputs.iter().take(MOST_INPUTS).enumerate() {
                let of = match input {
                    Input::Detection(at) => &mut feeds.of_detection[*at],
                    Input::Correlation(at) => &mut feeds.of_correlation[*at],
                };
                of.push((number, 1 << at));
            }
        }
        feeds
    }
}

/// What the current event counts for.
#[derive(Debug, Default)]
pub struct Fed {
    /// Bit set of the detections that it matches.
    pub matched: Vec<u64>,
    /// Bit set of the correlations that it still has to be counted for.
    left: Vec<u64>,
    /// For each correlation, the bit set of the inputs that the event matches.
    inputs: Vec<u64>,
    /// Correlations of which it takes everything back, once it was counted for all others.
    pub undone: Vec<(usize, u64)>,
    /// Correlations with alerts whose condition it brought closer, in order.
    pub moved: Vec<usize>,
}

impl Fed {
    /// Empty, for these numbers of detections and correlations.
    pub fn new(detections: usize, correlations: usize) -> Self {
        Fed {
            matched: vec![0; detections.div_ceil(64)],
            left: vec![0; correlations.div_ceil(64)],
            inputs: vec![0; correlations],
            undone: Vec::new(),
            moved: Vec::with_capacity(correlations.min(64)),
        }
    }

    /// Feeds the correlations that take the matched detections as inputs, and forgets these; returns whether
    /// there are any. The previous event must have been fully counted.
    pub fn feed(&mut self, feeds: &Feeds) -> bool {
        self.moved.clear();
        self.undone.clear();
        let (mut any, mut word) = (false, 0);
        while let Some(detection) = take_next(&mut self.matched, &mut word) {
            for (number, input) in &feeds.of_detection[detection] {
                put(&mut self.left, *number);
                self.inputs[*number] |= input;
                any = true;
            }
        }
        any
    }

    /// Feeds the event to the correlations that take this one as input, because its condition
    /// holds. They come after it.
    pub fn hold(&mut self, number: usize, feeds: &Feeds) {
        for (other, input) in &feeds.of_correlation[number] {
            put(&mut self.left, *other);
            self.inputs[*other] |= input;
        }
    }

    /// The next correlation at or after this word that the event is to be counted for, and the
    /// bit set of the inputs that it matches.
    pub fn next(&mut self, word: &mut usize) -> Option<(usize, u64)> {
        let number = take_next(&mut self.left, word)?;
        Some((number, std::mem::take(&mut self.inputs[number])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{InputCondition, Kind};

    fn correlation(kind: Kind, inputs: Vec<Input>) -> Correlation {
        Correlation {
            rule: 0,
            kind,
            inputs,
            group_by: Vec::new(),
            window_ns: 1,
            condition: Vec::new(),
            alerts: false,
            undo: 0,
        }
    }

    /// Each correlation comes once, and after those that feed it while the event is counted.
    #[test]
    fn all_that_feed_one_come_before_it() {
        use Input::{Correlation as C, Detection as D};
        let count = || Kind::EventCount;
        let correlations = [
            correlation(count(), vec![D(0)]),
            correlation(count(), vec![D(70)]),
            correlation(Kind::Temporal(None), vec![C(0), D(1), C(1)]),
            correlation(Kind::Temporal(Some(InputCondition::Input(0))), vec![C(2), D(0)]),
        ];
        let feeds = Feeds::new(71, &correlations);
        let mut fed = Fed::new(71, correlations.len());
        for detections in [vec![0, 70], vec![0], vec![1]] {
            fed.matched.fill(0);
            detections.iter().for_each(|at| put(&mut fed.matched, *at));
            assert!(fed.feed(&feeds));
            let (mut word, mut order) = (0, Vec::new());
            while let Some((number, inputs)) = fed.next(&mut word) {
                order.push((number, inputs));
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
