//! What is known of an event by its status, its server's address and the classes of its header lines
//! alone: which detections
//! match it and which it must still be asked. Most events of a site are of a few kinds; what was
//! worked out for one of a kind holds for all of them. Bounded; kinds are compared whole. Allocates
//! nothing after it was made.

use super::prefilter::Bits;

/// Plans that are kept, and the most classes that one depends on.
const PLANS: usize = 256;
const MOST: usize = 14;

/// What events have in common that a plan is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// One more than the status, so that the default is no kind.
    status: u16,
    server: u16,
    len: u16,
    /// Numbers of names with the classes of their values, in the order of the lines.
    lines: [u32; MOST],
}

impl Kind {
    /// Of events with this status, a server of this class and none of the lines.
    pub const fn new(status: usize, server: usize) -> Self {
        Kind {
            status: status as u16 + 1,
            server: server as u16,
            len: 0,
            lines: [0; MOST],
        }
    }

    /// With a line whose value is of this class.
    pub fn add(&mut self, name: usize, class: usize) {
        if let Some(line) = self.lines.get_mut(usize::from(self.len)) {
            *line = (name as u32) << 16 | class as u32;
        }
        self.len = self.len.saturating_add(1);
    }

    /// Whether it is more than can be told apart.
    const fn is_too_long(&self) -> bool {
        self.len as usize > MOST
    }

    /// The place of its plan.
    fn place(&self) -> usize {
        const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
        let lines = self.lines.get(..usize::from(self.len)).unwrap_or_default();
        let begin = u64::from(self.status) << 16 | u64::from(self.server);
        let all = lines.iter().fold(begin, |all, line| {
            (all.rotate_left(23) ^ u64::from(*line)).wrapping_mul(PRIME)
        });
        (all.wrapping_mul(PRIME) >> 32) as usize % PLANS
    }
}

/// Plans by their kinds.
#[derive(Debug)]
pub struct Plans {
    kinds: Vec<Kind>,
    /// For each of them three sets of detections, and one plan more for what is not kept.
    sets: Vec<u64>,
    words: usize,
}

/// What is to be done with an event.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Detections that match.
    pub sure: &'a [u64],
    /// Those that must be asked.
    pub open: &'a [u64],
    /// Those that need be asked only when a text of theirs is found.
    pub by_text: &'a [u64],
}

/// A plan that is being made.
#[derive(Debug)]
pub struct Draft<'a> {
    /// See [`Plan::sure`].
    pub sure: &'a mut [u64],
    /// See [`Plan::open`].
    pub open: &'a mut [u64],
    /// See [`Plan::by_text`].
    pub by_text: &'a mut [u64],
}

impl Plans {
    /// Over sets of detections of so many words.
    pub fn new(words: usize) -> Self {
        Plans {
            kinds: vec![Kind::default(); PLANS],
            sets: vec![0; (PLANS + 1) * 3 * words],
            words,
        }
    }

    /// Where the plan for a kind is, made with `make` if it is not there.
    pub fn find(&mut self, kind: &Kind, make: impl FnOnce(Draft<'_>)) -> usize {
        let at = if kind.is_too_long() {
            PLANS
        } else {
            // Two places: two kinds that come in turns do not drive each other out.
            let (one, other) = (kind.place(), kind.place() ^ 1);
            if self.kinds[one] == *kind {
                return one;
            }
            if self.kinds[other] == *kind {
                return other;
            }
            let is_free = self.kinds[other] == Kind::default();
            let at = if is_free { other } else { one };
            self.kinds[at] = *kind;
            at
        };
        let words = self.words;
        let sets: &mut [u64] = &mut self.sets[at * 3 * words..][..3 * words];
        sets.fill(0);
        let (sure, rest) = sets.split_at_mut(words);
        let (open, by_text) = rest.split_at_mut(words);
        make(Draft {
            sure,
            open,
            by_text,
        });
        at
    }

    /// The plan at a place.
    pub fn at(&self, place: usize) -> Plan<'_> {
        let words = self.words;
        let sets = &self.sets[place * 3 * words..][..3 * words];
        Plan {
            sure: &sets[..words],
            open: &sets[words..2 * words],
            by_text: &sets[2 * words..],
        }
    }

    /// Forgets all of them: classes have other numbers.
    pub fn forget(&mut self) {
        self.kinds.fill(Kind::default());
    }
}

/// Puts a detection into a set.
pub const fn put(set: &mut [u64], detection: usize) {
    set[detection / 64] |= 1 << (detection % 64);
}

/// Whether it is in one.
pub const fn is_in(set: &[u64], detection: usize) -> bool {
    set[detection / 64] >> (detection % 64) & 1 != 0
}

/// An empty set.
pub fn none(words: usize) -> Bits {
    vec![0; words].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_of_its_kind_alone() {
        let mut plans = Plans::new(2);
        let mut made = 0;
        for turn in 0..2_usize {
            for status in [0, 200, 404, 999] {
                for (lines, class) in (1..20).flat_map(|lines| [(lines, 0), (lines, 7)]) {
                    let mut kind = Kind::new(status, lines % 2);
                    (0..lines).for_each(|name| kind.add(name, class));
                    let mark = (status * 100 + lines * 10 + class + 1) as u64;
                    let at = plans.find(&kind, |draft| {
                        made += 1;
                        (draft.sure[1], draft.by_text[0]) = (mark, mark * 2);
                    });
                    let plan = plans.at(at);
                    assert_eq!(
                        (plan.sure, plan.open),
                        (&[0, mark][..], &[0, 0][..]),
                        "{turn}"
                    );
                    assert_eq!(plan.by_text, [mark * 2, 0]);
                }
            }
        }
        // Not all are made twice.
        assert!(made < 2 * 4 * 38, "{made}");
        plans.forget();
        let (kind, mut again) = (Kind::new(200, 0), false);
        plans.find(&kind, |_| again = true);
        assert!(again);
    }
}
