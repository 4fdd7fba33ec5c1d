//! Selects the detections that an event can match, and evaluates them. The status alone
//! decides many. Results that depend only on the status and on cached tests are cached too;
//! only the rest is evaluated on the event itself.

use super::bits::{self, Bits, put, take_next};
use super::facts::{Builder, Facts, LONGEST, Plan, TestId, is_asked_alone, is_text_asked_alone};
use super::field::Field;
use super::matcher::{at_least, literals_of};
use super::memo::Memo;
use super::rule::expr::{Expr, Test, TextTest};
use super::view::{Value, View};
use http_trace_model::event::HttpEvent;

/// Statuses from 0 (no response) to 999.
const STATUSES: usize = 1000;

/// The conditions of all detections, compiled.
#[derive(Debug)]
pub struct Candidates {
    conditions: Vec<Condition>,
    /// What each status decides, computed at its first event.
    of_status: Vec<Option<Box<OfStatus>>>,
    facts: Facts,
    /// By status and passed tests: the detections that match, followed by those that are still undecided. By
    /// status, passed tests and target: those of `of_target` that match.
    memo: Memo<u64>,
    /// Detections whose remaining tests depend only on the target.
    of_target: Bits,
    /// Buffers for such a key, and for the undecided detections.
    key: Vec<u8>,
    open: Bits,
}

/// What a status decides.
#[derive(Debug)]
struct OfStatus {
    /// Detections that match whatever else the event has.
    sure: Bits,
    /// Detections that depend on more than the status.
    open: Bits,
    /// Evaluates the tests that these need.
    plan: Plan,
}

/// A compiled condition, over test ids.
#[derive(Debug)]
enum Condition {
    Constant(bool),
    Status(Test),
    Test(TestId),
    /// An individually evaluated test.
    Alone(usize),
    Keyword(TestId),
    Not(Box<Condition>),
    AtLeast(usize, Box<[Condition]>),
}

/// The status of an event; 0 without a response.
fn status_of(event: &HttpEvent) -> usize {
    let status = event.response.as_ref().map_or(0, |r| r.status);
    usize::from(status).min(STATUSES - 1)
}

impl Candidates {
    /// Compiles detections, in the order of their numbers.
    pub fn new(detections: Vec<Expr>) -> Self {
        let mut tests = Builder::default();
        let detections = detections.into_iter();
        let conditions: Vec<_> = detections.map(|expr| compile(expr, &mut tests)).collect();
        let facts = tests.build();
        let mut of_target = bits::none(conditions.len());
        let words = of_target.len();
        for (number, condition) in conditions.iter().enumerate() {
            if condition.is_of_target(&facts) {
                put(&mut of_target, number);
            }
        }
        let tests = facts.passed().len();
        Candidates {
            of_status: (0..STATUSES).map(|_| None).collect(),
            memo: Memo::new(tests + LONGEST, 2 * words),
            of_target,
            key: Vec::new(),
            open: bits::none(conditions.len()),
            facts,
            conditions,
        }
    }

    /// Writes the matching detections to `matched`; returns whether there are any.
    pub fn matching(&mut self, view: &View<'_>, matched: &mut [u64]) -> bool {
        let status = status_of(view.event);
        let (conditions, facts) = (&self.conditions, &mut self.facts);
        let OfStatus { sure, open, plan } = &**self.of_status[status]
            .get_or_insert_with(|| Box::new(OfStatus::new(status, conditions, facts)));
        matched.copy_from_slice(sure);
        if open.iter().any(|word| *word != 0) {
            facts.evaluate(plan, view);
            let found = self.memo.of(status as u32, facts.passed(), |found| {
                let (matched, left) = found.split_at_mut(open.len());
                matched.copy_from_slice(sure);
                left.fill(0);
                for number in bits::numbers(open) {
                    match conditions[number].known(status, Some(facts)) {
                        Some(true) => put(matched, number),
                        Some(false) => {}
                        None => put(left, number),
                    }
                }
            });
            let (decided, left) = found.split_at(open.len());
            matched.copy_from_slice(decided);
            self.open.copy_from_slice(left);
            if left.iter().zip(&self.of_target).any(|(left, of)| left & of != 0) {
                self.key.clear();
                self.key.extend_from_slice(facts.passed());
                self.key.extend_from_slice(facts.target(view));
                let group = (STATUSES + status) as u32;
                let found = self.memo.of(group, &self.key, |found| {
                    found.fill(0);
                    let both = self.open.iter().zip(&self.of_target);
                    for number in bits::numbers_of(both.map(|(left, of)| left & of)) {
                        if conditions[number].holds(status, view, facts) {
                            put(found, number);
                        }
                    }
                });
                let all = self.open.iter_mut().zip(&self.of_target);
                for ((open, of), (matched, found)) in all.zip(matched.iter_mut().zip(found)) {
                    *open &= !of;
                    *matched |= found;
                }
            }
            let mut word = 0;
            while let Some(number) = take_next(&mut self.open, &mut word) {
                if conditions[number].holds(status, view, facts) {
                    put(matched, number);
                }
            }
        }
        matched.iter().any(|word| *word != 0)
    }
}

impl OfStatus {
    fn new(status: usize, conditions: &[Condition], facts: &Facts) -> Self {
        let (sure, open) = (bits::none(conditions.len()), bits::none(conditions.len()));
        let plan = Plan::default();
        let mut of = OfStatus { sure, open, plan };
        for (number, condition) in conditions.iter().enumerate() {
            match condition.known(status, None) {
                Some(true) => put(&mut of.sure, number),
                Some(false) => {}
                None => {
                    put(&mut of.open, number);
                    condition.plan(facts, &mut of.plan);
                }
            }
        }
        of
    }
}

impl Condition {
    /// Whether it holds, if the status and the passed tests decide it; without `facts`, if the
    /// status alone does.
    fn known(&self, status: usize, facts: Option<&Facts>) -> Option<bool> {
        match self {
            Condition::Constant(yes) => Some(*yes),
            Condition::Status(test) => Some(match status {
                0 => matches!(test, Test::Absent | Test::Missing),
                status => test.passes(&Value::Number(status as u64)),
            }),
            Condition::Test(id) => facts.map(|facts| facts.passes(*id)),
            Condition::Alone(_) | Condition::Keyword(_) => None,
            Condition::Not(part) => part.known(status, facts).map(|yes| !yes),
            Condition::AtLeast(wanted, parts) => {
                at_least(*wanted, parts, |part| part.known(status, facts))
            }
        }
    }

    /// Whether it holds for the current event.
    fn holds(&self, status: usize, view: &View<'_>, facts: &mut Facts) -> bool {
        match self {
            Condition::Test(id) => facts.passes(*id),
            Condition::Alone(number) => facts.passes_alone(*number, view),
            Condition::Keyword(id) => facts.has_keyword(*id, view),
            Condition::Not(part) => !part.holds(status, view, facts),
            // Nearly all want one or all; conditions of errors have hundreds of parts.
            Condition::AtLeast(1, parts) => {
                parts.iter().any(|part| part.holds(status, view, facts))
            }
            Condition::AtLeast(wanted, parts) if *wanted == parts.len() => {
                parts.iter().all(|part| part.holds(status, view, facts))
            }
            Condition::AtLeast(wanted, parts) => {
                let part = |part: &Condition| Some(part.holds(status, view, facts));
                at_least(*wanted, parts, part) == Some(true)
            }
            known => known.known(status, Some(facts)) == Some(true),
        }
    }

    /// Whether its result depends only on the status, cached tests, and the target.
    fn is_of_target(&self, facts: &Facts) -> bool {
        match self {
            Condition::Alone(number) => facts.is_alone_of_target(*number),
            Condition::Keyword(_) => false,
            Condition::Not(part) => part.is_of_target(facts),
            Condition::AtLeast(_, parts) => parts.iter().all(|part| part.is_of_target(facts)),
            _ => true,
        }
    }

    /// Adds the tests that it needs to a plan.
    fn plan(&self, facts: &Facts, plan: &mut Plan) {
        match self {
            Condition::Test(id) => plan.add(facts, *id),
            Condition::Not(part) => part.plan(facts, plan),
            Condition::AtLeast(_, parts) => parts.iter().for_each(|part| part.plan(facts, plan)),
            _ => {}
        }
    }

    /// Relative cost, so that the cheapest part is evaluated first.
    fn cost(&self, tests: &Builder) -> usize {
        match self {
            Condition::Constant(_) | Condition::Status(_) => 0,
            Condition::Test(_) => 1,
            Condition::Alone(number) => 2 + usize::from(tests.is_search(*number)),
            Condition::Keyword(_) => 4,
            Condition::Not(part) => part.cost(tests),
            Condition::AtLeast(_, parts) => {
                let costs = parts.iter().map(|part| part.cost(tests));
                costs.max().unwrap_or(0)
            }
        }
    }
}

fn compile(expr: Expr, tests: &mut Builder) -> Condition {
    match expr {
        Expr::Constant(yes) => Condition::Constant(yes),
        Expr::Keyword(test) => Condition::Keyword(tests.add(None, Test::Text(test))),
        Expr::Not(part) => Condition::Not(Box::new(compile(*part, tests))),
        Expr::All(parts) => at_least_of(parts.len(), parts, tests),
        Expr::AtLeast(wanted, parts) => at_least_of(wanted, parts, tests),
        Expr::Item(Field::Status, test) if !matches!(test, Test::SameAs(..)) => {
            Condition::Status(test)
        }
        Expr::Item(field, Test::Text(TextTest::AnyOf(any))) => {
            // One expression that is asked alone, or that no literal tells, must not make the whole list be tried one
            // by one.
            let is_alone =
                |one: &TextTest| is_text_asked_alone(&field, one) || literals_of(one).is_none();
            let (alone, others): (Vec<_>, Vec<_>) = any.into_iter().partition(is_alone);
            let parts = [others, alone].into_iter().filter(|part| !part.is_empty());
            let compile = |part: Vec<_>| {
                let test = Test::Text(TextTest::AnyOf(part.into()));
                compile_test(field.clone(), test, tests)
            };
            let mut parts: Vec<_> = parts.map(compile).collect();
            match parts.len() {
                1 => parts.remove(0),
                _ => Condition::AtLeast(1, parts.into()),
            }
        }
        Expr::Item(field, test) => compile_test(field, test, tests),
    }
}

fn compile_test(field: Field, test: Test, tests: &mut Builder) -> Condition {
    match is_asked_alone(&field, &test) {
        true => Condition::Alone(tests.add_alone(field, test)),
        false => Condition::Test(tests.add(Some(field), test)),
    }
}

fn at_least_of(wanted: usize, parts: Box<[Expr]>, tests: &mut Builder) -> Condition {
    let parts = parts.into_iter().map(|part| compile(part, tests));
    let mut parts: Vec<_> = parts.collect();
    parts.sort_by_key(|part| part.cost(tests));
    Condition::AtLeast(wanted, parts.into())
}

#[cfg(test)]
mod tests;
