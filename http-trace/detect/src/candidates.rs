//! Selects the detections that an event can match, and matches them. The status decides many of them; of the
//! rest those are evaluated that need nothing else, or one of whose witnesses, tests that an event passes
//! whenever the detection matches, has passed. What depends on the status and on tests alone is remembered.
//! Leaves nothing out that matches.

use std::collections::HashMap;

use super::bits::{self, Bits, is_in, put, take_next};
use super::facts::{Builder, Facts, Literals, Plan, TestId, is_asked_alone, is_of_line};
use super::field::Field;
use super::matcher::literals_of;
use super::memo::{Memo, PARTS};
use super::rule::expr::{Expr, Test, TextTest};
use super::view::View;
use http_trace_model::event::HttpEvent;

/// Statuses from 0 (no response) to 999.
const STATUSES: usize = 1000;

/// The conditions of all detections, ready to be asked of many events.
#[derive(Debug)]
pub struct Candidates {
    conditions: Vec<Condition>,
    /// The class of each status, and what holds for all statuses of a class.
    class_of: Vec<u16>,
    classes: Vec<Class>,
    /// For each test the detections that it is a witness of.
    witness_of: Vec<Vec<u32>>,
    /// Detections that tests of the plan decide.
    closed: Bits,
    /// Literals of keywords, which may be anywhere, with the detections that they are a witness of.
    keywords: Option<Literals>,
    facts: Facts,
    alone: Vec<(Field, Test)>,
    /// By status and the tests that an event passes: the detections that it matches, and after them those
    /// that are to be asked more.
    memo: Memo<u64>,
    found: Vec<u64>,
    /// Room for the tests that an event passes, where they are not remembered yet.
    passed: Vec<u8>,
}

/// What statuses have in common that decide every detection alike.
#[derive(Debug)]
struct Class {
    /// Detections that match whatever else the event has.
    sure: Bits,
    /// Those that match or not by what else it has, and those of them that have no witness.
    open: Bits,
    always: Bits,
    /// Evaluates what these ask for.
    plan: Plan,
    /// Whether keywords are witnesses of others.
    keywords: bool,
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
        let (class_of, decided) = classes(&detections);
        let mut compiler = Compiler::default();
        let compiled: Vec<_> = detections
            .into_iter()
            .map(|expr| compiler.compile(expr))
            .collect();
        let Compiler { tests, alone } = compiler;
        let mut facts = tests.build();
        let mut always = bits::none(number);
        let (mut keywords, mut of_keywords) = (Vec::new(), bits::none(number));
        let mut witness_of: HashMap<usize, Vec<u32>> = HashMap::new();
        let mut with_witness = vec![false; facts.groups()];
        let mut asked = vec![Vec::new(); number];
        let mut conditions = Vec::with_capacity(number);
        for (number, (condition, witnesses)) in compiled.into_iter().enumerate() {
            conditions.push(condition);
            let Some(witnesses) = witnesses else {
                put(&mut always, number);
                continue;
            };
            for witness in witnesses {
                match witness {
                    Witness::Test(id, _) => {
                        let (group, bit) = facts.place(id);
                        with_witness[group] = true;
                        asked[number].push(group);
                        witness_of.entry(bit).or_default().push(number as u32);
                    }
                    Witness::Keyword(literal) => {
                        put(&mut of_keywords, number);
                        keywords.push((literal, number as u32));
                    }
                }
            }
        }
        let keywords = match keywords.is_empty() {
            true => None,
            false => {
                let literals = Literals::new(keywords);
                if literals.is_none() {
                    (always.iter_mut().zip(&of_keywords)).for_each(|(a, of)| *a |= of);
                }
                literals
            }
        };
        let without_witness = (0..).zip(&with_witness).filter(|(_, has)| !**has);
        without_witness.for_each(|(group, _)| facts.make_late(group));
        let mut closed = bits::none(number);
        for (number, condition) in conditions.iter().enumerate() {
            let mut decides = true;
            condition.visit(&mut |part| match part {
                Condition::Test(id) => {
                    let (group, _) = facts.place(*id);
                    decides &= !facts.is_late(group);
                    asked[number].push(group);
                }
                Condition::Alone(_) | Condition::Keyword(_) => decides = false,
                _ => {}
            });
            if decides {
                put(&mut closed, number);
            }
        }
        let class = |(sure, open): (Bits, Bits)| {
            let mut groups: Vec<usize> = bits::numbers(&open)
                .flat_map(|number| asked[number].iter().copied())
                .collect();
            groups.sort_unstable();
            groups.dedup();
            let met = |of: &Bits| -> Bits { of.iter().zip(&open).map(|(a, b)| a & b).collect() };
            Class {
                always: met(&always),
                plan: facts.plan(groups.into_iter()),
                keywords: keywords.is_some() && met(&of_keywords).iter().any(|word| *word != 0),
                sure,
                open,
            }
        };
        let last = facts.groups().checked_sub(1);
        let bytes = last.map_or(0, |last| facts.bytes(last).end);
        let words = number.div_ceil(64);
        Candidates {
            classes: decided.into_iter().map(class).collect(),
            class_of,
            witness_of: (0..bytes * 8)
                .map(|bit| witness_of.remove(&bit).unwrap_or_default())
                .collect(),
            closed,
            keywords,
            facts,
            alone,
            memo: Memo::new(bytes, 2 * words),
            found: vec![0; 2 * words],
            passed: Vec::with_capacity(bytes),
            conditions,
        }
    }

    fn class(&self, event: &HttpEvent) -> &Class {
        &self.classes[usize::from(self.class_of[status_of(event)])]
    }

    /// Whether an event with the status of this one can match any detection.
    pub fn are_possible(&self, event: &HttpEvent) -> bool {
        let Class { sure, open, .. } = self.class(event);
        sure.iter().chain(open).any(|word| *word != 0)
    }

    /// Puts the detections that an event matches into `matched`; whether there are any.
    pub fn matching(&mut self, view: &View<'_>, matched: &mut [u64]) -> bool {
        let status = status_of(view.event);
        let class = &self.classes[usize::from(self.class_of[status])];
        let passed = self.facts.evaluate(&class.plan, view);
        match self.memo.get(status as u32, [passed, b"", b""]) {
            Ok(found) => self.found.copy_from_slice(found),
            Err(place) => {
                let mut kept = std::mem::take(&mut self.passed);
                kept.clear();
                kept.extend_from_slice(passed);
                self.select(status, &kept, view);
                if let Some(place) = place {
                    let key: [&[u8]; PARTS] = [&kept, b"", b""];
                    self.memo.put(place, status as u32, key, &self.found);
                }
                self.passed = kept;
            }
        }
        let (decided, open) = self.found.split_at_mut(matched.len());
        matched.copy_from_slice(decided);
        let class = &self.classes[usize::from(self.class_of[status])];
        if let Some(literals) = self.keywords.as_ref().filter(|_| class.keywords) {
            view.any_text(&mut |text| {
                literals.search(text, |number| put(open, number as usize));
                false
            });
            (open.iter_mut().zip(&class.open)).for_each(|(of, open)| *of &= open);
        }
        let mut word = 0;
        while let Some(number) = take_next(open, &mut word) {
            if self.conditions[number].holds(view, &mut self.facts, &self.alone) {
                put(matched, number);
            }
        }
        matched.iter().any(|word| *word != 0)
    }

    /// Finds what events of a status match that pass these tests, and what else they are to be asked.
    fn select(&mut self, status: usize, passed: &[u8], view: &View<'_>) {
        let class = &self.classes[usize::from(self.class_of[status])];
        let (matched, open) = self.found.split_at_mut(class.sure.len());
        matched.copy_from_slice(&class.sure);
        open.copy_from_slice(&class.always);
        for (byte, of) in self.witness_of.chunks(8).enumerate() {
            if passed[byte] != 0 {
                let of = (0..8)
                    .zip(of)
                    .filter(|(bit, _)| passed[byte] >> bit & 1 != 0);
                of.flat_map(|(_, of)| of)
                    .for_each(|number| put(open, *number as usize));
            }
        }
        for (word, closed) in self.closed.iter().enumerate() {
            open[word] &= class.open[word];
            let mut decided = [open[word] & closed];
            open[word] &= !closed;
            while let Some(bit) = take_next(&mut decided, &mut 0) {
                let number = word * 64 + bit;
                if self.conditions[number].holds(view, &mut self.facts, &self.alone) {
                    put(matched, number);
                }
            }
        }
    }
}

/// The class of each status, and for each class the detections that surely match and those that may.
fn classes(detections: &[Expr]) -> (Vec<u16>, Vec<(Bits, Bits)>) {
    let mut known: HashMap<(Bits, Bits), u16> = HashMap::new();
    let class = |status: usize| {
        let status = (status > 0).then_some(status as u16);
        let (mut sure, mut open) = (bits::none(detections.len()), bits::none(detections.len()));
        for (number, expr) in detections.iter().enumerate() {
            match expr.decided(status) {
                Some(true) => put(&mut sure, number),
                Some(false) => {}
                None => put(&mut open, number),
            }
        }
        let next = known.len() as u16;
        *known.entry((sure, open)).or_insert(next)
    };
    let class_of = (0..STATUSES).map(class).collect();
    let mut all: Vec<_> = known.into_iter().collect();
    all.sort_by_key(|(_, number)| *number);
    (
        class_of,
        all.into_iter().map(|(decided, _)| decided).collect(),
    )
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

    /// Calls `with` for it and all its parts.
    fn visit(&self, with: &mut dyn FnMut(&Condition)) {
        with(self);
        match self {
            Condition::Not(part) => part.visit(with),
            Condition::All(parts) | Condition::AtLeast(_, parts) => {
                parts.iter().for_each(|part| part.visit(with));
            }
            _ => {}
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
