//! Selects the detections that an event can match, and matches them. The status rules most of them out; of the
//! rest those are evaluated that need nothing else, or one of whose witnesses, tests that an event passes
//! whenever the detection matches, has passed. Leaves nothing out that matches.

use super::bits::{self, Bits, is_in, put, take_next};
use super::facts::{Builder, Facts, Literals, TestId, is_asked_alone, is_of_line};
use super::field::Field;
use super::matcher::literals_of;
use super::rule::expr::{Expr, Test, TextTest};
use super::view::View;
use http_trace_model::event::HttpEvent;

/// Statuses from 0 (no response) to 999.
const STATUSES: usize = 1000;

/// The conditions of all detections, ready to be asked of many events.
#[derive(Debug)]
pub struct Candidates {
    conditions: Vec<Condition>,
    words: usize,
    /// For each status the detections that can match.
    by_status: Vec<u64>,
    /// Detections without a witness.
    always: Bits,
    /// Groups of tests with witnesses among them.
    groups: Vec<WitnessGroup>,
    /// For each test the detections that it is a witness of.
    witness_of: Vec<Vec<u32>>,
    /// Literals of keywords, which may be anywhere, and the detections that they are a witness of.
    keywords: Option<(Literals, Bits)>,
    facts: Facts,
    alone: Vec<(Field, Test)>,
    candidates: Bits,
}

#[derive(Debug)]
struct WitnessGroup {
    group: usize,
    /// The detections that its tests are witnesses of.
    of: Bits,
}

/// A condition over tests by their numbers.
#[derive(Debug)]
enum Condition {
    Constant(bool),
    /// One of these statuses, a bit each.
    Status(Bits),
    Test(TestId),
    /// A test that is asked by itself.
    Alone(usize),
    Keyword(TextTest),
    Not(Box<Condition>),
    All(Box<[Condition]>),
    AtLeast(usize, Box<[Condition]>),
}

/// Something that an event has whenever a condition holds.
#[derive(Clone, Debug)]
enum Witness {
    /// It passes this test, which is so rare.
    Test(TestId, usize),
    /// It has this literal somewhere.
    Keyword(Vec<u8>),
}

/// The status of an event, 0 without a response.
pub fn status_of(event: &HttpEvent) -> usize {
    let status = event.response.as_ref().map_or(0, |r| r.status);
    usize::from(status).min(STATUSES - 1)
}

impl Candidates {
    /// Of detections in the order of their numbers.
    pub fn new(detections: Vec<Expr>) -> Self {
        let number = detections.len();
        let words = number.div_ceil(64);
        let mut by_status = vec![0; STATUSES * words];
        for (status, possible) in by_status.chunks_exact_mut(words.max(1)).enumerate() {
            let status = (status > 0).then_some(status as u16);
            for (number, expr) in detections.iter().enumerate() {
                if expr.decided(status) != Some(false) {
                    put(possible, number);
                }
            }
        }
        let mut compiler = Compiler::default();
        let compiled: Vec<_> = detections
            .into_iter()
            .map(|expr| compiler.compile(expr))
            .collect();
        let Compiler { tests, alone } = compiler;
        let facts = tests.build();
        let (groups, words_of_tests) = facts.sizes();
        let mut made = Candidates {
            conditions: Vec::with_capacity(number),
            words,
            by_status,
            always: bits::none(number),
            groups: Vec::new(),
            witness_of: vec![Vec::new(); words_of_tests * 64],
            keywords: None,
            facts,
            alone,
            candidates: bits::none(number),
        };
        let mut of_groups = vec![bits::none(number); groups];
        let (mut keywords, mut of_keywords) = (Vec::new(), bits::none(number));
        for (number, (condition, witnesses)) in compiled.into_iter().enumerate() {
            made.conditions.push(condition);
            match witnesses {
                None => put(&mut made.always, number),
                Some(witnesses) => {
                    for witness in witnesses {
                        match witness {
                            Witness::Test(id, _) => {
                                let (group, bit) = made.facts.place(id);
                                put(&mut of_groups[group], number);
                                made.witness_of[bit].push(number as u32);
                            }
                            Witness::Keyword(literal) => {
                                put(&mut of_keywords, number);
                                keywords.push((literal, number as u32));
                            }
                        }
                    }
                }
            }
        }
        let of_groups = of_groups.into_iter().enumerate();
        let of_groups = of_groups.filter(|(_, of)| of.iter().any(|word| *word != 0));
        made.groups = of_groups
            .map(|(group, of)| WitnessGroup { group, of })
            .collect();
        if !keywords.is_empty() {
            match Literals::new(keywords) {
                Some(literals) => made.keywords = Some((literals, of_keywords)),
                None => (made.always.iter_mut().zip(&of_keywords)).for_each(|(a, of)| *a |= of),
            }
        }
        made
    }

    /// The detections that an event with this status can match.
    fn possible(&self, status: usize) -> &[u64] {
        &self.by_status[status * self.words..][..self.words]
    }

    /// Whether an event with the status of this one can match any detection.
    pub fn are_possible(&self, event: &HttpEvent) -> bool {
        self.possible(status_of(event))
            .iter()
            .any(|word| *word != 0)
    }

    /// Puts the detections that an event matches into `matched`; whether there are any.
    pub fn matching(&mut self, view: &View<'_>, matched: &mut [u64]) -> bool {
        self.facts.begin();
        self.select(view);
        let (mut word, mut any) = (0, false);
        while let Some(number) = take_next(&mut self.candidates, &mut word) {
            if self.conditions[number].holds(view, &mut self.facts, &self.alone) {
                put(matched, number);
                any = true;
            }
        }
        any
    }

    fn select(&mut self, view: &View<'_>) {
        let at = status_of(view.event) * self.words;
        let possible = &self.by_status[at..at + self.words];
        let candidates = &mut self.candidates;
        candidates.copy_from_slice(&self.always);
        let are_open = |of: &[u64], candidates: &[u64]| {
            let mut all = of.iter().zip(possible).zip(candidates);
            all.any(|((of, possible), candidates)| of & possible & !candidates != 0)
        };
        for WitnessGroup { group, of } in &self.groups {
            if are_open(of, candidates) {
                let (first, passed) = self.facts.passed(*group, view);
                for bit in bits::numbers(passed) {
                    let of = self.witness_of[first * 64 + bit].iter();
                    of.for_each(|number| put(candidates, *number as usize));
                }
            }
        }
        if let Some((literals, of)) = &self.keywords
            && are_open(of, candidates)
        {
            view.any_text(&mut |text| {
                literals.search(text, |number| put(candidates, number as usize));
                false
            });
        }
        (candidates.iter_mut().zip(possible)).for_each(|(all, possible)| *all &= possible);
    }
}

impl Condition {
    fn holds(&self, view: &View<'_>, facts: &mut Facts, alone: &[(Field, Test)]) -> bool {
        match self {
            Condition::Constant(yes) => *yes,
            Condition::Status(statuses) => is_in(statuses, status_of(view.event)),
            Condition::Test(id) => facts.passes(*id, view),
            Condition::Alone(at) => {
                let (field, test) = &alone[*at];
                test.holds(field, view)
            }
            Condition::Keyword(test) => view.any_text(&mut |text| test.passes(text)),
            Condition::Not(part) => !part.holds(view, facts, alone),
            Condition::All(parts) => parts.iter().all(|part| part.holds(view, facts, alone)),
            Condition::AtLeast(wanted, parts) => {
                let matching = parts.iter().filter(|part| part.holds(view, facts, alone));
                matching.take(*wanted).count() == *wanted
            }
        }
    }

    /// The cheapest of several parts is asked first.
    fn cost(&self) -> usize {
        match self {
            Condition::Constant(_) | Condition::Status(_) => 0,
            Condition::Test(_) => 1,
            Condition::Alone(_) => 2,
            Condition::Keyword(_) => 3,
            Condition::Not(part) => part.cost(),
            Condition::All(parts) | Condition::AtLeast(_, parts) => {
                parts.iter().map(Condition::cost).max().unwrap_or(0)
            }
        }
    }
}

/// Numbers tests, the same for the same, and finds witnesses.
#[derive(Default)]
struct Compiler {
    tests: Builder,
    alone: Vec<(Field, Test)>,
}

/// Witnesses of which an event has at least one whenever the condition holds; `None` when there are no
/// such.
type Witnesses = Option<Vec<Witness>>;

impl Compiler {
    fn compile(&mut self, expr: Expr) -> (Condition, Witnesses) {
        match expr {
            Expr::Constant(yes) => (Condition::Constant(yes), None),
            Expr::Keyword(test) => {
                let literals = literals_of(&test);
                let witnesses = literals.map(|all| all.into_iter().map(Witness::Keyword).collect());
                (Condition::Keyword(test), witnesses)
            }
            Expr::Not(part) => {
                let (part, _) = self.compile(*part);
                (Condition::Not(Box::new(part)), None)
            }
            Expr::All(parts) => {
                let (parts, witnesses) = self.parts(parts);
                // Of the part whose most common witness is the rarest.
                let witnesses = witnesses.into_iter().flatten();
                let rarest = witnesses.max_by_key(|set| set.iter().map(Witness::rarity).min());
                (Condition::All(parts), rarest)
            }
            Expr::AtLeast(wanted, parts) => {
                let (parts, witnesses) = self.parts(parts);
                let all: Option<Vec<_>> = witnesses.into_iter().collect();
                let all = all.filter(|_| wanted > 0);
                (
                    Condition::AtLeast(wanted, parts),
                    all.map(|all| all.concat()),
                )
            }
            Expr::Item(field, test) => self.item(field, test),
        }
    }

    fn parts(&mut self, parts: Box<[Expr]>) -> (Box<[Condition]>, Vec<Witnesses>) {
        let parts = parts.into_iter().map(|part| self.compile(part));
        let (mut conditions, witnesses): (Vec<_>, Vec<_>) = parts.unzip();
        conditions.sort_by_key(Condition::cost);
        (conditions.into(), witnesses)
    }

    fn item(&mut self, field: Field, test: Test) -> (Condition, Witnesses) {
        let item = Expr::Item(field, test);
        if item.decided(None).is_some() {
            let mut statuses = bits::none(STATUSES);
            for status in 0..STATUSES {
                if item.decided((status > 0).then_some(status as u16)) == Some(true) {
                    put(&mut statuses, status);
                }
            }
            return (Condition::Status(statuses), None);
        }
        let Expr::Item(field, test) = item else {
            return (Condition::Constant(false), None);
        };
        let rarity = rarity(&field, &test);
        if is_asked_alone(&field, &test) {
            // What follows from a line is there only with it.
            let witness = rarity.filter(|_| is_of_line(&field)).map(|rarity| {
                let present = self.tests.add(&field, Test::Present);
                vec![Witness::Test(present, rarity)]
            });
            self.alone.push((field, test));
            return (Condition::Alone(self.alone.len() - 1), witness);
        }
        let id = self.tests.add(&field, test);
        let witness = rarity.map(|rarity| vec![Witness::Test(id, rarity)]);
        (Condition::Test(id), witness)
    }
}

impl Witness {
    const fn rarity(&self) -> usize {
        match self {
            Witness::Test(_, rarity) => *rarity,
            // Looked for in everything, so that anything else is better.
            Witness::Keyword(_) => 1,
        }
    }
}

/// How rarely an event passes a test, roughly: the length of the shortest literal that must be there, or
/// a guess; `None` for tests that most events pass, or that are of no use as a witness.
fn rarity(field: &Field, test: &Test) -> Option<usize> {
    /// Lines that nearly every head has.
    const COMMON: [&str; 11] = [
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "host",
        "server",
        "user-agent",
    ];
    const COMMON_METHODS: [&[u8]; 3] = [b"get", b"post", b"head"];
    let of_field = match field {
        Field::RequestHeader(name) | Field::ResponseHeader(name) if COMMON.contains(&&**name) => 0,
        Field::UserAgent | Field::MimeType | Field::Cookie | Field::Referrer => 0,
        Field::PathId => 2,
        _ => 8,
    };
    match test {
        Test::Absent | Test::Missing => None,
        Test::Text(text) => {
            let literals = literals_of(text);
            let is_common = |literal: &[u8]| match field {
                Field::Method => (COMMON_METHODS.iter())
                    .any(|method| memchr::memmem::find(method, literal).is_some()),
                Field::Version | Field::StatusClass | Field::Reason | Field::Interfaces => true,
                _ => false,
            };
            Some(match literals {
                Some(literals) if literals.iter().any(|literal| is_common(literal)) => 0,
                Some(literals) => literals.iter().map(Vec::len).min().unwrap_or(0),
                None => of_field,
            })
        }
        Test::Present => Some(of_field),
        Test::Number(..) | Test::Numbers(_) | Test::Networks(_) => Some(0),
        Test::SameAs(..) => Some(of_field),
    }
}

#[cfg(test)]
mod tests;
