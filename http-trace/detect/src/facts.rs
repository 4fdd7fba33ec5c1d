//! Which tests, of all rules, the current event passes. Tests that depend on the same bytes (the target, or
//! the lines of one name) form a group. A group is evaluated at most once per event, and not at all if the
//! value is in the [`super::memo`] or absent from the event. Knows tests, not conditions.

use std::collections::HashMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use smallvec::SmallVec;

use super::bits;
use super::field::{Basis, Field};
use super::matcher::{literals_of, patterns_of};
use super::memo::Memo;
use super::rule::expr::{Pattern, Test, TextTest};
use super::view::View;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

/// Maximum length of a cached value, in bytes: of most cookies, which recur in all requests of a browser.
pub const LONGEST: usize = 512;

/// Literals shorter than this occur in nearly all texts. A test that has only such literals is evaluated directly,
/// which costs less than to confirm each find.
const SHORTEST_LITERAL: usize = 2;

/// Literals of at least this length occur in few targets, and few targets are this long. A regular expression that needs
/// either is evaluated like a plain text, the others only when a condition needs them.
const RARE_LITERAL: usize = 5;
const LONG_TARGET: usize = 128;

/// A test, identified by its group and its index there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestId {
    group: usize,
    test: usize,
}

/// Collects and deduplicates tests.
#[derive(Debug, Default)]
pub struct Builder {
    groups: Vec<(Source, Vec<FieldTest>)>,
    places: HashMap<Option<Field>, usize>,
    alone: Vec<(Field, Test)>,
}

/// A test of a field; `None` for a keyword.
type FieldTest = (Option<Field>, Test);

/// All tests, and their results for the current event.
#[derive(Debug)]
pub struct Facts {
    groups: Vec<Group>,
    /// Tests evaluated individually.
    alone: Vec<(Field, Test)>,
    /// Groups of header lines by the number of their name: those of responses, then those of requests.
    of_lines: [Vec<Vec<usize>>; 2],
    /// The groups of names without a number, by name in lower case.
    of_others: [HashMap<Box<[u8]>, usize, foldhash::fast::RandomState>; 2],
    /// Bit set of the tests that an event without any of the values passes.
    without: Box<[u8]>,
    /// Bit set of the tests that the current event passes.
    passed: Box<[u8]>,
    /// Results of the individual tests for the current event, as far as they were evaluated.
    passed_alone: Vec<Option<bool>>,
    /// Whether the current event was searched for keywords.
    has_searched: bool,
    memo: Memo<u8>,
    /// Cache key of the current event's target; empty until needed.
    target: Vec<u8>,
    /// Buffer for a name in lower case.
    name: Vec<u8>,
}

/// What to evaluate for an event.
#[derive(Debug, Default)]
pub struct Plan {
    /// Groups of header lines, as bit sets of name numbers: of responses, then of requests.
    lines: [u64; 2],
    /// Other groups.
    others: Vec<usize>,
}

/// Tests that depend on the same bytes.
#[derive(Debug)]
struct Group {
    source: Source,
    tests: Vec<FieldTest>,
    /// The bytes that hold its results.
    bytes: Range<usize>,
    /// Finds candidates among the tests.
    literals: Option<Literals>,
    /// Tests without literals, which must be evaluated on every value.
    always: Vec<usize>,
}

/// What the values of a group depend on: the [`Basis`] of its fields, or more.
#[derive(Debug, PartialEq)]
enum Source {
    Target,
    Url,
    Line {
        response: bool,
        known: Known,
        name: Box<str>,
    },
    /// Another field of the event; not cached: numbers are cheaper to test than to look up, and clients are
    /// many.
    Event(Field),
    /// Any text of the event; searched only when a condition needs it.
    Anywhere,
}

impl Source {
    fn of(field: &Field) -> Source {
        let (response, name) = match field.basis() {
            Basis::Target => return Source::Target,
            Basis::Url => return Source::Url,
            Basis::Event => return Source::Event(field.clone()),
            Basis::RequestLine(name) => (false, name),
            Basis::ResponseLine(name) => (true, name),
        };
        Source::Line { response, known: Known::of(name.as_bytes()), name: name.into() }
    }

    /// Whether the values of a field are substrings of its texts.
    fn has_text_of(&self, field: Option<&Field>) -> bool {
        !(field.is_some_and(is_made) || matches!(self, Source::Event(_)))
    }

    /// Passes all texts of an event to `work` until it returns true.
    fn texts(&self, view: &View<'_>, work: &mut dyn FnMut(&[u8]) -> bool) {
        match self {
            Source::Target => {
                let host = view.request_line(Known::HOST).unwrap_or_default();
                let method = view.event.request.as_ref().map(|request| &request.method[..]);
                let (target, decoded) = (view.raw_target(), view.decoded_target());
                let _ = work(target)
                    || (decoded != target && work(decoded))
                    || work(host)
                    || work(method.unwrap_or_default());
            }
            // It ends with the target.
            Source::Url => _ = work(view.uri()),
            Source::Line { response, name, .. } => {
                let lines = headers(view, *response).into_iter();
                _ = lines.flat_map(|headers| headers.all(name)).any(work);
            }
            Source::Event(_) => {}
            Source::Anywhere => _ = view.any_text(work),
        }
    }
}

/// Whether a test is evaluated individually, and only when a condition needs it: it depends on more than the
/// value, or is expensive and seldom needed.
pub fn is_asked_alone(field: &Field, test: &Test) -> bool {
    match test {
        Test::SameAs(..) => true,
        Test::Text(test) => is_text_asked_alone(field, test),
        // Numbers of all kinds, mostly of events that other parts of a condition select.
        _ => matches!(field, Field::Plain(_)),
    }
}

/// The same of a test of text, or of one of a list.
pub fn is_text_asked_alone(field: &Field, test: &TextTest) -> bool {
    match field.basis() {
        // The result for a header line is cached by its value.
        Basis::RequestLine(_) | Basis::ResponseLine(_) => false,
        _ if matches!(field, Field::Plain(_)) => true,
        _ => patterns_of(test).iter().any(|pattern| is_made(field) || !is_rare(pattern)),
    }
}

/// Whether few targets have a literal of a regular expression, or are long enough for it.
fn is_rare(pattern: &Pattern) -> bool {
    let shortest = pattern.literals().iter().map(Vec::len).min();
    shortest.is_some_and(|len| len >= RARE_LITERAL) || pattern.shortest() >= LONG_TARGET
}

/// Whether the values of a field are no substrings of what it depends on.
const fn is_made(field: &Field) -> bool {
    matches!(
        field,
        Field::UserName
            | Field::CookieLacks
            | Field::PathTemplate
            | Field::ParametersAfter
            | Field::ParametersBefore
    )
}

impl Builder {
    /// Adds a test of a field, or a keyword; returns the existing one if it is known.
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

    /// Adds an individually evaluated test; returns the existing one if it is known.
    pub fn add_alone(&mut self, field: Field, test: Test) -> usize {
        place(&mut self.alone, (field, test))
    }

    /// Whether an individual test searches with a regular expression.
    pub fn is_search(&self, alone: usize) -> bool {
        matches!(&self.alone[alone].1, Test::Text(test) if !patterns_of(test).is_empty())
    }

    /// Compiles the tests.
    pub fn build(self) -> Facts {
        let mut of_lines = [(); 2].map(|()| vec![Vec::new(); u64::BITS as usize]);
        let mut of_others = [(); 2].map(|()| HashMap::default());
        let mut without = Vec::new();
        let mut groups = Vec::with_capacity(self.groups.len());
        for (source, tests) in self.groups {
            match &source {
                Source::Line { response, known: Known::NONE, name } => {
                    let name = name.as_bytes().to_ascii_lowercase();
                    of_others[usize::from(!response)].insert(name.into(), groups.len());
                }
                Source::Line { response, known, .. } => {
                    of_lines[usize::from(!response)][known.number()].push(groups.len());
                }
                _ => {}
            }
            let bytes = without.len()..without.len() + tests.len().div_ceil(8);
            without.resize(bytes.end, 0);
            for (number, (_, test)) in tests.iter().enumerate() {
                if matches!(test, Test::Absent | Test::Missing) {
                    bits::set_in_byte(&mut without[bytes.clone()], number, true);
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
            of_others,
            passed: without.clone().into(),
            without: without.into(),
            has_searched: false,
            memo: Memo::new(LONGEST, longest.unwrap_or_default().max(1)),
            target: Vec::with_capacity(LONGEST),
            name: Vec::new(),
        }
    }
}

impl Plan {
    pub fn add(&mut self, facts: &Facts, id: TestId) {
        match facts.groups[id.group].source {
            Source::Line { response, known, .. } => {
                self.lines[usize::from(!response)] |= 1 << known.number();
            }
            Source::Anywhere => {}
            _ if self.others.contains(&id.group) => {}
            _ => self.others.push(id.group),
        }
    }
}

impl Facts {
    /// Evaluates the groups of a plan for the next event; tests of other groups get the result
    /// for an absent value.
    pub fn evaluate(&mut self, plan: &Plan, view: &View<'_>) {
        self.has_searched = false;
        self.target.clear();
        self.passed_alone.fill(None);
        self.passed.copy_from_slice(&self.without);
        for (direction, lines) in plan.lines.iter().enumerate() {
            let Some(headers) = headers(view, direction == 0) else { continue };
            let mut there = headers.known() & lines;
            if there & 1 << Known::NONE.number() != 0 {
                self.evaluate_others(direction, headers, view);
            }
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

    /// Evaluates the groups of the lines whose names have no number, each once.
    fn evaluate_others(&mut self, direction: usize, headers: &Headers, view: &View<'_>) {
        let mut done: SmallVec<[usize; 8]> = SmallVec::new();
        for line in headers.iter().filter(|line| line.known == Known::NONE) {
            self.name.clear();
            self.name.extend(line.name.iter().map(u8::to_ascii_lowercase));
            if let Some(group) = self.of_others[direction].get(&self.name[..])
                && !done.contains(group)
            {
                let group = *group;
                done.push(group);
                self.evaluate_group(group, view);
            }
        }
    }

    /// Bit set of the tests that the current event passes, in the evaluated groups.
    pub fn passed(&self) -> &[u8] {
        &self.passed
    }

    /// Whether the current event passes a test of an evaluated group.
    pub fn passes(&self, id: TestId) -> bool {
        let first = self.groups[id.group].bytes.start;
        bits::byte_has(&self.passed[first..], id.test)
    }

    /// Whether the current event passes an individual test.
    pub fn passes_alone(&mut self, number: usize, view: &View<'_>) -> bool {
        if let Some(known) = self.passed_alone[number] {
            return known;
        }
        let (field, test) = &self.alone[number];
        let passes = test.holds(field, view);
        self.passed_alone[number] = Some(passes);
        passes
    }

    /// Whether the result of an individual test depends only on [`Facts::target`].
    pub fn is_alone_of_target(&self, number: usize) -> bool {
        let (field, test) = &self.alone[number];
        !matches!(test, Test::SameAs(..)) && matches!(field.basis(), Basis::Target | Basis::Url)
    }

    /// The bytes that all values derived from the current event's target depend on.
    pub fn target(&mut self, view: &View<'_>) -> &[u8] {
        write_target(&mut self.target, view);
        &self.target
    }

    /// Whether the current event contains a keyword.
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
            Source::Event(field) => return group.evaluate_each(field, view, passed),
            Source::Target | Source::Url => {
                write_target(&mut self.target, view);
                &self.target[..]
            }
            Source::Line { response, known, name } => {
                match line(headers(view, *response), *known, name) {
                    Some((value, false)) => value,
                    Some((_, true)) => return group.evaluate(view, passed),
                    None => return,
                }
            }
        };
        let evaluate = |passed: &mut [u8]| group.evaluate(view, passed);
        let outcome = self.memo.of(number as u32, key, evaluate);
        passed.copy_from_slice(&outcome[..passed.len()]);
    }
}

/// The index of an item in a list; appends it if it is not there.
fn place<T: PartialEq>(all: &mut Vec<T>, item: T) -> usize {
    let known = all.iter().position(|known| *known == item);
    known.unwrap_or_else(|| {
        all.push(item);
        all.len() - 1
    })
}

/// Writes the cache key of the target, unless it is there already.
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
                    let each = alternatives(text).iter().map(literals_of);
                    let each = each.collect::<Option<Vec<_>>>();
                    let is_long = |one: &Vec<u8>| one.len() >= SHORTEST_LITERAL;
                    each.filter(|each| each.iter().flatten().any(is_long))
                }
                _ => None,
            };
            match known {
                Some(each) => {
                    for (at, all) in each.into_iter().enumerate() {
                        entries.extend(all.into_iter().map(|literal| (literal, (number, at))));
                    }
                }
                None => always.push(number),
            }
        }
        let literals = Literals::new(entries);
        if literals.is_none() {
            always = (0..tests.len()).collect();
        }
        Group { source, tests, bytes, literals, always }
    }

    /// The same as [`Group::evaluate`] where all tests are of one field; keeps the bits if the event lacks it.
    fn evaluate_each(&self, field: &Field, view: &View<'_>, passed: &mut [u8]) {
        let mut is_first = true;
        view.any(field, &mut |value| {
            if std::mem::take(&mut is_first) {
                passed.fill(0);
            }
            for (number, (_, test)) in self.tests.iter().enumerate() {
                if test.passes(&value) {
                    bits::set_in_byte(passed, number, true);
                }
            }
            false
        });
    }

    /// Sets the bits of the tests that the event passes, and clears the others.
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
                bits::set_in_byte(passed, *number, true);
            }
        }
        let Some(literals) = &self.literals else { return };
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
                bits::set_in_byte(passed, *number, true);
            }
        }
    }
}

/// The tests of which one must pass.
fn alternatives(text: &TextTest) -> &[TextTest] {
    match text {
        TextTest::AnyOf(tests) => tests,
        one => std::slice::from_ref(one),
    }
}

/// Literals that represent tests, searched for in one pass, case-insensitively.
#[derive(Debug)]
struct Literals {
    automaton: AhoCorasick,
    /// For each literal, the tests that it represents, and which of their alternatives.
    of: Vec<Box<[(usize, usize)]>>,
}

impl Literals {
    /// `None` if there are none, or too many for an automaton.
    fn new(mut entries: Vec<(Vec<u8>, (usize, usize))>) -> Option<Self> {
        if entries.is_empty() {
            return None;
        }
        entries.sort_unstable();
        let of = entries.chunk_by(|a, b| a.0 == b.0);
        let of = of.map(|same| same.iter().map(|(_, test)| *test).collect());
        let of = of.collect();
        entries.dedup_by(|a, b| a.0 == b.0);
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(entries.iter().map(|(literal, _)| literal));
        Some(Literals { automaton: automaton.ok()?, of })
    }
}

#[cfg(test)]
mod tests;
