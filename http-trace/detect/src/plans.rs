//! What is known of an event by its status and the classes of its addresses and of its header lines
//! alone: which detections match it and which it must still be asked. Most events of a site are of
//! a few kinds; what was worked out for one of a kind holds for all of them. Bounded; kinds are
//! compared whole. Allocates nothing after it was made.

use super::kept::Lots;
use super::prefilter::Bits;
use super::targets::{MOST as MOST_TARGETS, Place};

/// Plans that are kept, and the most classes that one depends on.
const PLANS: usize = 1024;
const MOST: usize = 14;

const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

/// What events have in common that a plan is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kind {
    /// One more than the status, so that the default is no kind, whether it is known why there is no
    /// response, and the classes of the addresses.
    of_event: u64,
    len: usize,
    /// Numbers of names with the classes of their values, those with a number of their own first; what is
    /// after the last is of another kind.
    lines: [u32; MOST],
    /// Of all of it, mixed.
    mixed: u64,
}

impl PartialEq for Kind {
    /// Line by line: they were written so just before, and what is read in one piece that was written
    /// in several has to wait for all of them.
    fn eq(&self, other: &Kind) -> bool {
        self.mixed == other.mixed
            && self.of_event == other.of_event
            && self.len == other.len
            && (self.lines.iter().zip(&other.lines).take(self.len)).all(|(one, other)| one == other)
    }
}

impl Eq for Kind {}

impl Kind {
    /// From now on of events with this status, or without a response and maybe known why, a server and a
    /// client of these classes and none of the lines.
    pub const fn begin(&mut self, status: usize, unanswered: bool, server: usize, client: usize) {
        let status = (status as u64 + 1) << 1 | unanswered as u64;
        self.of_event = status << 32 | (client as u64) << 16 | server as u64;
        self.len = 0;
        self.mixed = self.of_event;
    }

    /// With a line whose value is of this class.
    pub fn add(&mut self, name: usize, class: usize) {
        let added = (name as u32) << 16 | class as u32;
        if let Some(line) = self.lines.get_mut(self.len) {
            *line = added;
        }
        self.mixed = (self.mixed.rotate_left(23) ^ u64::from(added)).wrapping_mul(PRIME);
        self.len += 1;
    }

    /// Whether it is more than can be told apart.
    const fn is_too_long(&self) -> bool {
        self.len > MOST
    }

    /// The place of its plan, or the one beside that.
    const fn place(&self) -> usize {
        (self.mixed.wrapping_mul(PRIME) >> 32) as usize % PLANS
    }
}

/// Plans by their kinds.
#[derive(Debug)]
pub struct Plans {
    kinds: Vec<Kind>,
    /// The number of each plan among all that were ever made; of what is not kept 0.
    numbers: Vec<u64>,
    made: u64,
    /// Of each two places that which was used last.
    last: Vec<usize>,
    /// Of each of them, and of one plan more for what is not kept.
    sets: Sets,
}

/// The sets of plans: of each three sets of detections, and two of what they feed.
#[derive(Debug)]
struct Sets {
    words: Vec<u64>,
    len: Lengths,
}

/// How long sets are, in words.
#[derive(Clone, Copy, Debug)]
pub struct Lengths {
    /// Of detections.
    pub detections: usize,
    /// Of what detections feed.
    pub feeds: usize,
}

impl Lengths {
    const fn of_plan(self) -> usize {
        3 * self.detections + 2 * self.feeds
    }
}

/// What is to be done with an event.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Detections that match.
    pub sure: &'a [u64],
    /// Those that must be asked.
    pub open: &'a [u64],
    /// Those that need be asked only when a text of theirs is found.
    pub by_text: &'a [u64],
    /// What the detections that match feed.
    pub feeds: &'a [u64],
    /// What of that can begin with the event.
    pub begins: &'a [u64],
}

/// Something that a detection feeds.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// Its number.
    pub number: usize,
    /// Which events it can begin with.
    pub begins: Begins,
}

/// Which events that feed a counter can be the first of it: what only goes on with something else needs
/// none of its own, so that ordinary responses leave no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// All.
    Always,
    /// Those whose status begins a sequence.
    WithStatus,
    /// None.
    Never,
}

impl Feed {
    /// Adds it to what an event with this status feeds, and, if it can, begins.
    pub fn put(self, status: usize, feeds: &mut [u64], begins: &mut [u64]) {
        put(feeds, self.number);
        let can_begin = match self.begins {
            Begins::Always => true,
            Begins::WithStatus => begins_sequence(status),
            Begins::Never => false,
        };
        if can_begin {
            put(begins, self.number);
        }
    }
}

/// Whether a response with this status, 0 for none, begins a sequence of statuses: what is as it
/// should be does not.
const fn begins_sequence(status: usize) -> bool {
    status != 0 && !matches!(status, 200..=299)
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
    /// See [`Plan::feeds`].
    pub feeds: &'a mut [u64],
    /// See [`Plan::begins`].
    pub begins: &'a mut [u64],
}

impl Draft<'_> {
    /// Adds what the detections that match feed, which `feeds` says of each, with this status.
    pub fn feed(&mut self, feeds: &[Vec<Feed>], status: usize) {
        for number in numbers(self.sure) {
            for feed in &feeds[number] {
                feed.put(status, self.feeds, self.begins);
            }
        }
    }
}

impl Sets {
    fn new(plans: usize, len: Lengths) -> Self {
        Sets {
            words: vec![0; plans * len.of_plan()],
            len,
        }
    }

    /// The plan at a place.
    fn plan(&self, place: usize) -> Plan<'_> {
        let all = &self.words[place * self.len.of_plan()..][..self.len.of_plan()];
        let (sure, rest) = all.split_at(self.len.detections);
        let (open, rest) = rest.split_at(self.len.detections);
        let (by_text, rest) = rest.split_at(self.len.detections);
        let (feeds, begins) = rest.split_at(self.len.feeds);
        Plan {
            sure,
            open,
            by_text,
            feeds,
            begins,
        }
    }

    /// An empty one at a place.
    fn draft(&mut self, place: usize) -> Draft<'_> {
        let all = &mut self.words[place * self.len.of_plan()..][..self.len.of_plan()];
        all.fill(0);
        let (sure, rest) = all.split_at_mut(self.len.detections);
        let (open, rest) = rest.split_at_mut(self.len.detections);
        let (by_text, rest) = rest.split_at_mut(self.len.detections);
        let (feeds, begins) = rest.split_at_mut(self.len.feeds);
        Draft {
            sure,
            open,
            by_text,
            feeds,
            begins,
        }
    }
}

impl Plans {
    /// Over sets of these lengths.
    pub fn new(len: Lengths) -> Self {
        Plans {
            kinds: vec![Kind::default(); PLANS],
            numbers: vec![0; PLANS + 1],
            made: 0,
            last: vec![0; PLANS / 2],
            sets: Sets::new(PLANS + 1, len),
        }
    }

    /// Where the plan for a kind is, made with `make` if it is not there.
    pub fn find(&mut self, kind: &Kind, make: impl FnOnce(Draft<'_>)) -> usize {
        let at = if kind.is_too_long() {
            PLANS
        } else {
            // Of two places that which was used last stays: what is kept by its number goes with a plan, so
            // that one of many events must not make room for each that is rare.
            let (one, other) = (kind.place(), kind.place() ^ 1);
            let last = &mut self.last[one / 2];
            for at in [one, other] {
                if self.kinds[at] == *kind {
                    *last = at;
                    return at;
                }
            }
            let at = if *last == one { other } else { one };
            *last = at;
            self.made += 1;
            (self.kinds[at], self.numbers[at]) = (*kind, self.made);
            at
        };
        make(self.sets.draft(at));
        at
    }

    /// The plan at a place.
    pub fn at(&self, place: usize) -> Plan<'_> {
        self.sets.plan(place)
    }

    /// The number of the plan at a place: no other plan that was ever kept has it; 0 is that of one that
    /// is not kept.
    pub fn number(&self, place: usize) -> u64 {
        self.numbers[place]
    }

    /// Forgets all of them: classes have other numbers.
    pub fn forget(&mut self) {
        self.kinds.fill(Kind::default());
    }
}

/// What is left of plans once the target is known too, of targets that are kept
/// ([`super::targets`]): most events ask for what an event of their kind has asked for before.
#[derive(Debug)]
pub struct OfTargets {
    /// The number of a plan, and the target for which it is ([`Place::since`]).
    of: Vec<(u64, u64)>,
    /// Of each of them.
    sets: Sets,
    lots: Lots,
}

/// Plans that are kept of one target, and of all of them.
const WAYS: usize = 4;
const OF_TARGETS: usize = WAYS * MOST_TARGETS;

impl OfTargets {
    /// Over sets of these lengths.
    pub fn new(len: Lengths) -> Self {
        OfTargets {
            of: vec![(0, 0); OF_TARGETS],
            sets: Sets::new(OF_TARGETS, len),
            lots: Lots::default(),
        }
    }

    /// The plan for a target that is kept, made with `make` if it is not there. The plan without it must
    /// be one that is kept.
    pub fn find(&mut self, plan: u64, target: Place, make: impl FnOnce(Draft<'_>)) -> Plan<'_> {
        let first = target.at() * WAYS;
        let of = (plan, target.since());
        let ways = &self.of[first..first + WAYS];
        let there = ways.iter().position(|one| *one == of);
        let way = there.unwrap_or_else(|| {
            // What was for a target that was kept there before goes first.
            let over = ways.iter().position(|(_, since)| *since != of.1);
            over.unwrap_or_else(|| self.lots.draw(WAYS))
        });
        let at = first + way;
        if self.of[at] != of {
            self.of[at] = of;
            make(self.sets.draft(at));
        }
        self.sets.plan(at)
    }
}

/// Puts a number into a set.
pub const fn put(set: &mut [u64], number: usize) {
    set[number / 64] |= 1 << (number % 64);
}

/// Empties a set: of a word or two that are mostly empty, which a call takes longer for than a look.
#[inline]
pub fn clear(set: &mut [u64]) {
    for word in set {
        if *word != 0 {
            *word = 0;
        }
    }
}

/// Whether it is in one.
pub const fn is_in(set: &[u64], number: usize) -> bool {
    set[number / 64] >> (number % 64) & 1 != 0
}

/// The numbers in a set, in order.
pub fn numbers(set: &[u64]) -> impl Iterator<Item = usize> {
    (0..set.len() * 64).filter(|number| is_in(set, *number))
}

/// An empty set.
pub fn none(words: usize) -> Bits {
    vec![0; words].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: Lengths = Lengths {
        detections: 2,
        feeds: 1,
    };

    #[test]
    fn a_plan_is_of_its_kind_alone() {
        let mut plans = Plans::new(LEN);
        let mut made = 0;
        for turn in 0..2_usize {
            for status in [0, 200, 404, 999] {
                for (lines, class) in (1..20).flat_map(|lines| [(lines, 0), (lines, 7)]) {
                    let mut kind = Kind::default();
                    kind.begin(status, false, lines % 2, lines % 3);
                    (0..lines).for_each(|name| kind.add(name, class));
                    let mark = (status * 100 + lines * 10 + class + 1) as u64;
                    let at = plans.find(&kind, |draft| {
                        made += 1;
                        (draft.sure[1], draft.by_text[0]) = (mark, mark * 2);
                        (draft.feeds[0], draft.begins[0]) = (mark * 3, mark * 5);
                    });
                    let plan = plans.at(at);
                    assert_eq!(
                        (plan.sure, plan.open),
                        (&[0, mark][..], &[0, 0][..]),
                        "{turn}"
                    );
                    assert_eq!(
                        (plan.by_text, plan.feeds, plan.begins),
                        (&[mark * 2, 0][..], &[mark * 3][..], &[mark * 5][..])
                    );
                }
            }
        }
        // Not all are made twice.
        assert!(made < 2 * 4 * 38, "{made}");
        plans.forget();
        let (mut kind, mut again) = (Kind::default(), false);
        kind.begin(200, false, 0, 0);
        plans.find(&kind, |_| again = true);
        assert!(again);
    }

    /// A kind that comes with every second event stays, whatever others come.
    #[test]
    fn a_plan_of_many_events_stays() {
        let mut plans = Plans::new(LEN);
        let mut made = 0;
        let mut find = |status: usize, server: usize| {
            let mut kind = Kind::default();
            kind.begin(status, false, server, 0);
            let mut new = false;
            plans.find(&kind, |_| new = true);
            new
        };
        for n in 1..20_000 {
            made += usize::from(find(200, 0));
            find(404, n);
        }
        assert_eq!(made, 1);
    }

    /// Whatever was there before.
    #[test]
    fn plans_that_come_in_turns_are_all_kept() {
        let (mut plans, mut of_targets) = (Plans::new(LEN), OfTargets::new(LEN));
        let mut made_of_targets = 0;
        for n in 0..20_000_usize {
            let mut made = 0;
            let mut kinds = [Kind::default(), Kind::default()];
            kinds[0].begin(200, false, n, 0);
            kinds[1].begin(404, false, n, 1);
            for (turn, kind) in (0..100).zip(kinds.iter().cycle()) {
                let mark = (n * 2 + turn % 2) as u64;
                let at = plans.find(kind, |draft| {
                    made += 1;
                    draft.sure[0] = mark;
                });
                assert_eq!(plans.at(at).sure[0], mark);
                let target = Place::new(n, n as u64 / MOST_TARGETS as u64 + 1).expect("a place");
                let number = plans.number(at);
                let plan = of_targets.find(number, target, |draft| {
                    made_of_targets += 1;
                    draft.sure[0] = mark;
                });
                assert_eq!(plan.sure[0], mark);
            }
            assert_eq!(made, 2, "{n}");
        }
        assert!(made_of_targets < 4 * 20_000, "{made_of_targets}");
    }

    #[test]
    fn a_plan_of_a_target_is_of_both_alone() {
        let mut plans = OfTargets::new(LEN);
        let mut made = 0;
        for since in 1..100_u64 {
            for turn in 0..3 {
                for plan in 1..7_u64 {
                    let mark = plan << 32 | since;
                    let target = Place::new(since as usize % 40, since).expect("a place");
                    let plan = plans.find(plan, target, |draft| {
                        made += 1;
                        (draft.sure[0], draft.open[1], draft.by_text[1]) =
                            (mark, mark * 2, mark * 3);
                        draft.feeds[0] = mark * 4;
                    });
                    assert_eq!((plan.sure, plan.open), (&[mark, 0][..], &[0, mark * 2][..]));
                    assert_eq!(
                        (plan.by_text, plan.feeds),
                        (&[0, mark * 3][..], &[mark * 4][..]),
                        "{turn}"
                    );
                }
            }
        }
        // Some of more than there is room for are still there.
        assert!(made < 3 * 6 * 99, "{made}");
    }
}
