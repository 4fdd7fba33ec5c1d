//! Which tests of all rules the event at hand passes. Tests of what follows from the same bytes, the target or
//! the lines of one name, form a group: it is evaluated at most once an event, and not at all for a value that
//! the [`super::memo`] knows or that the event lacks. Knows tests, not conditions.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use smallvec::SmallVec;

use super::bits;
use super::field::Field;
use super::matcher::{has_regex, literals_of};
use super::memo::Memo;
use super::rule::expr::{Test, TextTest};
use super::view::{Value, View};
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

/// The most literals in a DFA; more of them take an automaton that is smaller and slower.
const DFA_LITERALS: usize = 2000;

/// The longest value that is remembered.
pub const LONGEST: usize = 192;

/// A test, by its group and its number there.
#[derive(Clone, Copy, Debug)]
pub struct TestId {
    group: usize,
    test: usize,
}

/// Collects tests.
#[derive(Debug, Default)]
pub struct Builder {
    groups: Vec<(Source, Vec<FieldTest>)>,
    places: HashMap<Option<Field>, usize>,
    alone: Vec<(Field, Test)>,
}

/// A test of a field; keywords are of none.
type FieldTest = (Option<Field>, Test);

/// All tests, and what is known of the event at hand.
#[derive(Debug)]
pub struct Facts {
    groups: Vec<Group>,
    /// Tests that are asked by themselves.
    alone: Vec<(Field, Test)>,
    /// The groups of lines by the number of their name, which all names without one share; of responses, then
    /// of requests.
    of_lines: [Vec<Vec<usize>>; 2],
    /// The tests that an event passes which has nothing of what is asked for, a bit each.
    without: Box<[u8]>,
    /// The tests that the event at hand passes.
    passed: Box<[u8]>,
    /// Of those that are asked by themselves what is known of the event at hand.
    passed_alone: Vec<Option<bool>>,
    /// Whether keywords have been looked for in it.
    has_searched: bool,
    memo: Memo<u8>,
    /// What the target of the event at hand is remembered by; empty until it is asked for.
    target: Vec<u8>,
}

/// The groups to evaluate of an event.
#[derive(Debug, Default)]
pub struct Plan {
    /// Those of lines by the numbers of their names, a bit each.
    lines: [u64; 2],
    others: Vec<usize>,
}

/// Tests of what follows from the same bytes.
#[derive(Debug)]
struct Group {
    source: Source,
    tests: Vec<FieldTest>,
    /// Where its bits are, in bytes.
    bytes: Range<usize>,
    /// Finds candidates among the tests.
    literals: Option<Literals>,
    /// Tests for which no literal stands: they are asked of every value.
    always: Vec<usize>,
}

/// What the values of a group follow from.
#[derive(Debug, PartialEq)]
enum Source {
    /// The request's method, target and `Host`.
    Target,
    /// The lines of one name, of the response or of the request.
    Line {
        response: bool,
        known: Known,
        name: Box<str>,
    },
    /// Other parts of the event: numbers are cheaper to test than to look up, and clients are many.
    Event(Field),
    /// Any text of the event: searched when a condition asks for it.
    Anywhere,
}

impl Source {
    fn of(field: &Field) -> Source {
        let (response, name): (bool, &str) = match field {
            Field::RequestHeader(name) => (false, name),
            Field::ResponseHeader(name) => (true, name),
            Field::UserAgent => (false, "user-agent"),
            Field::Referrer => (false, "referer"),
            Field::Cookie => (false, "cookie"),
            Field::UserName => (false, "authorization"),
            Field::MimeType => (true, "content-type"),
            Field::CookieLacks => (true, "set-cookie"),
            Field::Method
            | Field::Path
            | Field::Query
            | Field::Target
            | Field::DecodedTarget
            | Field::Uri
            | Field::Host
            | Field::Extension
            | Field::PathId
            | Field::PathTemplate
            | Field::FirstSegment
            | Field::OnlyParameter => return Source::Target,
            other => return Source::Event(other.clone()),
        };
        Source::Line {
            response,
            known: Known::of(name.as_bytes()),
            name: name.into(),
        }
    }

    /// Whether the values of a field are parts of its texts.
    const fn has_text_of(&self, field: Option<&Field>) -> bool {
        let is_made = matches!(
            field,
            Some(Field::UserName | Field::CookieLacks | Field::PathTemplate)
        );
        !(is_made || matches!(self, Source::Event(_)))
    }

    /// Hands on all texts of an event, until `work` is done with them.
    fn texts(&self, view: &View<'_>, work: &mut dyn FnMut(&[u8]) -> bool) {
        match self {
            Source::Target => {
                let host = view.request_line(Known::HOST).unwrap_or_default();
                let method = view
                    .event
                    .request
                    .as_ref()
                    .map(|request| &request.method[..]);
                // The target is the end of the whole URL, but for its encodings.
                let _ = work(view.uri())
                    || matches!(view.first(&Field::DecodedTarget), Some(Value::Made(decoded)) if work(&decoded))
                    || work(host)
                    || work(method.unwrap_or_default());
            }
            Source::Line { response, name, .. } => {
                let lines = headers(view, *response).into_iter();
                _ = lines.flat_map(|headers| headers.all(name)).any(work);
            }
            Source::Event(_) => {}
            Source::Anywhere => _ = view.any_text(work),
        }
    }
}

/// Whether a test is asked by itself, when a condition needs it: it asks of more than the value, or takes long
/// and is seldom needed.
pub fn is_asked_alone(field: &Field, test: &Test) -> bool {
    match test {
        Test::SameAs(..) => true,
        // Of a line it is asked once for each value.
        Test::Text(test) => has_regex(test) && !matches!(Source::of(field), Source::Line { .. }),
        _ => false,
    }
}

impl Builder {
    /// Adds a test of a field, or a keyword, unless it is there.
    pub fn add(&mut self, field: Option<Field>, test: Test) -> TestId {
        let groups = &mut self.groups;
        let group = *self.places.entry(field.clone()).or_insert_with(|| {
            let source = field.as_ref().map_or(Source::Anywhere, Source::of);
            let known = groups.iter().position(|(known, _)| *known == source);
            known.unwrap_or_else(|| {
                groups.push((source, Vec::new()));
                groups.len() - 1
            })
        });
        let test = place(&mut groups[group].1, (field, test));
        TestId { group, test }
    }

    /// Adds a test that is asked by itself, unless it is there.
    pub fn add_alone(&mut self, field: Field, test: Test) -> usize {
        place(&mut self.alone, (field, test))
    }

    /// Makes the tests ready to be asked.
    pub fn build(self) -> Facts {
        let mut of_lines = [(); 2].map(|()| vec![Vec::new(); u64::BITS as usize]);
        let mut without = Vec::new();
        let mut groups = Vec::with_capacity(self.groups.len());
        for (source, tests) in self.groups {
            if let Source::Line {
                response, known, ..
            } = source
            {
                of_lines[usize::from(!response)][known.number()].push(groups.len());
            }
            let bytes = without.len()..without.len() + tests.len().div_ceil(8);
            without.resize(bytes.end, 0);
            for (number, (_, test)) in tests.iter().enumerate() {
                if matches!(test, Test::Absent | Test::Missing) {
                    bits::put_in_byte(&mut without[bytes.clone()], number);
                }
            }
            groups.push(Group::new(source, tests, bytes));
        }
        let longest = groups.iter().map(|group| group.bytes.len()).max();
        Facts {
            groups,
            passed_alone: vec![None; self.alone.len()],
            alone: self.alone,
            of_lines,
            passed: without.clone().into(),
            without: without.into(),
            has_searched: false,
            memo: Memo::new(LONGEST, longest.unwrap_or_default().max(1)),
            target: Vec::with_capacity(LONGEST),
        }
    }
}

impl Plan {
    /// Adds the group of a test.
    pub fn add(&mut self, facts: &Facts, id: TestId) {
        match facts.groups[id.group].source {
            Source::Line {
                response, known, ..
            } => {
                self.lines[usize::from(!response)] |= 1 << known.number();
            }
            _ if self.others.contains(&id.group) => {}
            _ => self.others.push(id.group),
        }
    }
}

impl Facts {
    /// Evaluates the groups of a plan for the next event; the tests of others stay as without a value.
    pub fn evaluate(&mut self, plan: &Plan, view: &View<'_>) {
        self.has_searched = false;
        self.target.clear();
        self.passed_alone.fill(None);
        self.passed.copy_from_slice(&self.without);
        for (direction, lines) in plan.lines.iter().enumerate() {
            let headers = headers(view, direction == 0);
            let mut there = headers.map_or(0, Headers::known) & lines;
            while there != 0 {
                let known = there.trailing_zeros();
                there &= there - 1;
                for at in 0..self.of_lines[direction][known as usize].len() {
                    self.evaluate_group(self.of_lines[direction][known as usize][at], view);
                }
            }
        }
        for group in &plan.others {
            self.evaluate_group(*group, view);
        }
    }

    /// The tests that the event at hand passes, of the groups that were evaluated.
    pub fn passed(&self) -> &[u8] {
        &self.passed
    }

    /// Whether it passes a test of such a group.
    pub fn passes(&self, id: TestId) -> bool {
        let bytes = self.groups[id.group].bytes.clone();
        bits::byte_has(&self.passed[bytes], id.test)
    }

    /// Whether it passes a test that is asked by itself.
    pub fn passes_alone(&mut self, number: usize, view: &View<'_>) -> bool {
        if let Some(known) = self.passed_alone[number] {
            return known;
        }
        let (field, test) = &self.alone[number];
        let passes = test.holds(field, view);
        self.passed_alone[number] = Some(passes);
        passes
    }

    /// Whether the outcome of a test that is asked by itself follows from [`Facts::target`].
    pub fn is_alone_of_target(&self, number: usize) -> bool {
        let (field, test) = &self.alone[number];
        !matches!(test, Test::SameAs(..)) && Source::of(field) == Source::Target
    }

    /// What values of the target of the event at hand follow from together.
    pub fn target(&mut self, view: &View<'_>) -> &[u8] {
        write_target(&mut self.target, view);
        &self.target
    }

    /// Whether a keyword is in it.
    pub fn has_keyword(&mut self, id: TestId, view: &View<'_>) -> bool {
        if !std::mem::replace(&mut self.has_searched, true) {
            let group = &self.groups[id.group];
            group.evaluate(view, &mut self.passed[group.bytes.clone()]);
        }
        self.passes(id)
    }

    fn evaluate_group(&mut self, number: usize, view: &View<'_>) {
        let group = &self.groups[number];
        let passed = &mut self.passed[group.bytes.clone()];
        let key = match &group.source {
            Source::Anywhere => return,
            Source::Event(field) if view.lacks(field) => return,
            Source::Event(_) => return group.evaluate(view, passed),
            Source::Target => {
                write_target(&mut self.target, view);
                &self.target[..]
            }
            Source::Line {
                response,
                known,
                name,
            } => match line(headers(view, *response), *known, name) {
                Some((value, false)) => value,
                Some((_, true)) => return group.evaluate(view, passed),
                None => return,
            },
        };
        let evaluate = |passed: &mut [u8]| group.evaluate(view, passed);
        let outcome = self.memo.of(number as u32, key, evaluate);
        passed.copy_from_slice(&outcome[..passed.len()]);
    }
}

/// The place of an item in a list, added if it is not there.
fn place<T: PartialEq>(all: &mut Vec<T>, item: T) -> usize {
    let known = all.iter().position(|known| *known == item);
    known.unwrap_or_else(|| {
        all.push(item);
        all.len() - 1
    })
}

/// Puts what values of the target follow from together, unless that is done.
fn write_target(out: &mut Vec<u8>, view: &View<'_>) {
    let Some(request) = view.event.request.as_ref().filter(|_| out.is_empty()) else {
        return;
    };
    for len in [request.method.len(), request.target.len()] {
        out.extend(len.to_le_bytes());
    }
    let host = view.request_line(Known::HOST).unwrap_or_default();
    for part in [&request.method, &request.target, host] {
        out.extend_from_slice(part);
    }
}

fn headers<'a>(view: &View<'a>, response: bool) -> Option<&'a Headers> {
    match response {
        true => view.event.response.as_ref().map(|head| &head.headers),
        false => view.event.request.as_ref().map(|head| &head.headers),
    }
}

/// The value of the first line of a name, and whether there are more.
fn line<'a>(headers: Option<&'a Headers>, known: Known, name: &str) -> Option<(&'a [u8], bool)> {
    let headers = headers.filter(|headers| headers.has(known))?;
    if known == Known::NONE {
        let mut all = headers.all(name);
        return Some((all.next()?, all.next().is_some()));
    }
    let (at, has_more) = headers.place(known)?;
    Some((headers.value(at)?, has_more))
}

impl Group {
    fn new(source: Source, tests: Vec<FieldTest>, bytes: Range<usize>) -> Self {
        let (mut always, mut entries) = (Vec::new(), Vec::new());
        for (number, (field, test)) in tests.iter().enumerate() {
            let known = match test {
                Test::Text(text) if source.has_text_of(field.as_ref()) => {
                    let each = alternatives(text).iter().map(literals_of).enumerate();
                    let each =
                        each.map(|(at, all)| Some(all?.into_iter().map(move |one| (one, at))));
                    each.collect::<Option<Vec<_>>>()
                }
                _ => None,
            };
            match known {
                Some(all) => {
                    let all = all.into_iter().flatten();
                    entries.extend(all.map(|(literal, at)| (literal, (number, at))));
                }
                None => always.push(number),
            }
        }
        let literals = Literals::new(entries);
        if literals.is_none() {
            always = (0..tests.len()).collect();
        }
        Group {
            source,
            tests,
            bytes,
            literals,
            always,
        }
    }

    /// Sets the bits of the tests that the event passes.
    fn evaluate(&self, view: &View<'_>, passed: &mut [u8]) {
        passed.fill(0);
        let is_there = |field: &Option<Field>, text: &TextTest| match field {
            Some(field) => view.any(field, &mut |value| value.with_text(|t| text.passes(t))),
            None => view.any_text(&mut |t| text.passes(t)),
        };
        for number in &self.always {
            let holds = match &self.tests[*number] {
                (Some(field), test) => test.holds(field, view),
                (None, Test::Text(text)) => is_there(&None, text),
                (None, _) => false,
            };
            if holds {
                bits::put_in_byte(passed, *number);
            }
        }
        let Some(literals) = &self.literals else {
            return;
        };
        let mut found: SmallVec<[usize; 32]> = SmallVec::new();
        self.source.texts(view, &mut |text| {
            for hit in literals.automaton.find_overlapping_iter(text) {
                let literal = hit.pattern().as_usize();
                if !found.contains(&literal) {
                    found.push(literal);
                }
            }
            false
        });
        for (number, at) in found.iter().flat_map(|literal| &literals.of[*literal]) {
            if let (field, Test::Text(text)) = &self.tests[*number]
                && !bits::byte_has(passed, *number)
                && is_there(field, &alternatives(text)[*at])
            {
                bits::put_in_byte(passed, *number);
            }
        }
    }
}

/// The tests of which one has to pass.
fn alternatives(text: &TextTest) -> &[TextTest] {
    match text {
        TextTest::AnyOf(tests) => tests,
        one => std::slice::from_ref(one),
    }
}

/// Literals that stand for tests, all looked for in one pass, whatever their case.
#[derive(Debug)]
struct Literals {
    automaton: AhoCorasick,
    /// For each literal the tests that it stands for, and which of their alternatives.
    of: Vec<Box<[(usize, usize)]>>,
}

impl Literals {
    /// `None` when there are none, or too many for an automaton.
    fn new(mut entries: Vec<(Vec<u8>, (usize, usize))>) -> Option<Self> {
        if entries.is_empty() {
            return None;
        }
        entries.sort_unstable();
        let of = entries.chunk_by(|a, b| a.0 == b.0);
        let of = of.map(|same| same.iter().map(|(_, test)| *test).collect());
        let of = of.collect();
        entries.dedup_by(|a, b| a.0 == b.0);
        let dfa = (entries.len() <= DFA_LITERALS).then_some(AhoCorasickKind::DFA);
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(dfa)
            .build(entries.iter().map(|(literal, _)| literal));
        Some(Literals {
            automaton: automaton.ok()?,
            of,
        })
    }
}

#[cfg(test)]
mod tests;
