//! Which tests of all rules the event at hand passes. Tests of one field, or of several that follow from the
//! same bytes, form a group: a group is evaluated when a condition first asks for it, at most once an
//! event, and not at all for a value that the [`super::memo`] knows. Knows tests, not conditions.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::field::Field;
use super::matcher::literals_of;
use super::memo::{Memo, Parts};
use super::rule::expr::{Test, TextTest};
use super::view::View;
use http_trace_model::head::Headers;
use http_trace_model::known::Known;

/// The most literals in a DFA; more of them take an automaton that is smaller and slower.
const DFA_LITERALS: usize = 2000;

/// A test, by its field's place and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestId {
    field: u32,
    test: u32,
}

/// All tests of fields, and what is known of the event at hand.
#[derive(Debug)]
pub struct Facts {
    fields: Vec<FieldTests>,
    groups: Vec<Group>,
    /// The tests that the event passes, a bit each; of a group that is not evaluated, void.
    passed: Vec<u64>,
    /// The event at hand, and for each group the event that it was evaluated for.
    event: u64,
    evaluated: Vec<u64>,
    memo: Memo,
}

/// Collects tests, each once.
#[derive(Debug, Default)]
pub struct Builder {
    fields: Vec<(Field, Vec<Test>)>,
    places: HashMap<Field, u32>,
    /// By what they ask, as it is written out.
    known: HashMap<(u32, String), TestId>,
}

/// The tests of one field.
#[derive(Debug)]
struct FieldTests {
    field: Field,
    tests: Vec<Test>,
    group: usize,
    /// Where its bits begin, in words.
    word: usize,
    literals: Option<Literals>,
    /// Tests for which no literal stands: each value is asked them.
    always: Vec<u32>,
}

/// Fields that follow from the same bytes; their bits are neighbours.
#[derive(Debug)]
struct Group {
    source: Source,
    fields: Vec<usize>,
    word: usize,
    words: usize,
    /// The tests that an event without any value passes.
    without: Box<[u64]>,
}

/// What the values of a group follow from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// The request's method, target and `Host`.
    Target,
    /// The lines of one name, of the response or of the request.
    Line {
        response: bool,
        known: Known,
        name: Box<str>,
    },
    /// Other parts of the event; numbers and addresses are cheaper to test than to look up.
    Other(Field),
}

/// The lines whose values a field follows from: whether of the response, and their name.
fn line_of(field: &Field) -> Option<(bool, &str)> {
    Some(match field {
        Field::RequestHeader(name) => (false, name),
        Field::ResponseHeader(name) => (true, name),
        Field::UserAgent => (false, "user-agent"),
        Field::Referrer => (false, "referer"),
        Field::Cookie => (false, "cookie"),
        Field::UserName => (false, "authorization"),
        Field::MimeType => (true, "content-type"),
        Field::CookieLacks => (true, "set-cookie"),
        _ => return None,
    })
}

impl Source {
    fn of(field: &Field) -> Source {
        if let Some((response, name)) = line_of(field) {
            return Source::Line {
                response,
                known: Known::of(name.as_bytes()),
                name: name.into(),
            };
        }
        match field {
            Field::Method
            | Field::Path
            | Field::Query
            | Field::Target
            | Field::Uri
            | Field::Host
            | Field::Extension
            | Field::PathId
            | Field::PathTemplate
            | Field::FirstSegment => Source::Target,
            other => Source::Other(other.clone()),
        }
    }
}

/// Whether a field is there only when some lines of the heads are.
pub fn is_of_line(field: &Field) -> bool {
    line_of(field).is_some()
}

/// Whether a test is asked by itself, when a condition needs it: it asks of more than the value, or takes
/// long and is seldom needed.
pub fn is_asked_alone(field: &Field, test: &Test) -> bool {
    fn has_regex(test: &TextTest) -> bool {
        match test {
            TextTest::Regex(_) => true,
            TextTest::AnyOf(tests) => tests.iter().any(has_regex),
            _ => false,
        }
    }
    match test {
        Test::SameAs(..) => true,
        Test::Text(test) => has_regex(test),
        Test::Present | Test::Absent | Test::Missing => *field == Field::Query,
        _ => false,
    }
}

impl Builder {
    /// Adds a test of a field, unless it is there.
    pub fn add(&mut self, field: &Field, test: Test) -> TestId {
        let next = self.fields.len() as u32;
        let field_id = *self.places.entry(field.clone()).or_insert(next);
        if field_id == next {
            self.fields.push((field.clone(), Vec::new()));
        }
        let tests = &mut self.fields[field_id as usize].1;
        let id = TestId {
            field: field_id,
            test: tests.len() as u32,
        };
        let known = self.known.entry((field_id, format!("{test:?}")));
        let known = *known.or_insert(id);
        if known == id {
            tests.push(test);
        }
        known
    }

    /// Makes the tests ready to be asked.
    pub fn build(self) -> Facts {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_source: HashMap<String, usize> = HashMap::new();
        let mut fields: Vec<FieldTests> = Vec::new();
        for (at, (field, tests)) in self.fields.into_iter().enumerate() {
            let source = Source::of(&field);
            let group = *by_source
                .entry(format!("{source:?}"))
                .or_insert(groups.len());
            if group == groups.len() {
                groups.push(Group {
                    source,
                    fields: Vec::new(),
                    word: 0,
                    words: 0,
                    without: Box::default(),
                });
            }
            groups[group].fields.push(at);
            fields.push(FieldTests::new(field, tests, group));
        }
        let mut words = 0;
        for group in &mut groups {
            group.word = words;
            let mut without = Vec::new();
            for &at in &group.fields {
                fields[at].word = words;
                let mut bits = vec![0; fields[at].words()];
                fields[at].without(&mut bits);
                words += bits.len();
                without.extend(bits);
            }
            group.words = without.len();
            group.without = without.into();
        }
        let longest = groups.iter().map(|group| group.words).max();
        Facts {
            fields,
            passed: vec![0; words],
            event: 0,
            evaluated: vec![0; groups.len()],
            groups,
            memo: Memo::new(longest.unwrap_or_default()),
        }
    }
}

impl Facts {
    /// The next event, of which nothing is known.
    pub const fn begin(&mut self) {
        self.event += 1;
    }

    /// Whether the event at hand passes a test.
    #[inline]
    pub fn passes(&mut self, id: TestId, view: &View<'_>) -> bool {
        let field = &self.fields[id.field as usize];
        let (group, bit) = (field.group, field.word * 64 + id.test as usize);
        self.evaluate(group, view);
        self.passed[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// How many groups there are, and how many words the bits of all tests take.
    pub const fn sizes(&self) -> (usize, usize) {
        (self.groups.len(), self.passed.len())
    }

    /// The group of a test, and its bit among those of all tests.
    pub fn place(&self, id: TestId) -> (usize, usize) {
        let field = &self.fields[id.field as usize];
        (field.group, field.word * 64 + id.test as usize)
    }

    /// The tests of a group that the event passes: the place of the first word, and the words.
    pub fn passed(&mut self, group: usize, view: &View<'_>) -> (usize, &[u64]) {
        self.evaluate(group, view);
        let Group { word, words, .. } = self.groups[group];
        (word, &self.passed[word..word + words])
    }

    #[inline]
    fn evaluate(&mut self, group: usize, view: &View<'_>) {
        if self.evaluated[group] != self.event {
            self.evaluated[group] = self.event;
            self.evaluate_group(group, view);
        }
    }

    fn evaluate_group(&mut self, number: usize, view: &View<'_>) {
        let group = &self.groups[number];
        let passed = &mut self.passed[group.word..group.word + group.words];
        let key = match &group.source {
            Source::Other(_) => None,
            Source::Target => match &view.event.request {
                Some(request) => Some([
                    &request.method[..],
                    &request.target,
                    view.request_line(Known::HOST).unwrap_or_default(),
                ]),
                None => return passed.copy_from_slice(&group.without),
            },
            Source::Line {
                response,
                known,
                name,
            } => match lines(headers(view, *response), *known, name) {
                Lines::None => return passed.copy_from_slice(&group.without),
                Lines::One(value) => Some([value, b"", b""]),
                Lines::Several => None,
            },
        };
        let Some(key) = key else {
            return evaluate_fields(&self.fields, group, view, passed);
        };
        let id = number as u32;
        match self.memo.get(id, &key) {
            Ok(outcome) => passed.copy_from_slice(&outcome[..passed.len()]),
            Err(place) => {
                evaluate_fields(&self.fields, group, view, passed);
                if let Some(place) = place {
                    self.memo.put(place, id, &key as &Parts<'_>, passed);
                }
            }
        }
    }
}

fn evaluate_fields(fields: &[FieldTests], group: &Group, view: &View<'_>, passed: &mut [u64]) {
    let mut rest = passed;
    for &at in &group.fields {
        let field = &fields[at];
        let (words, after) = rest.split_at_mut(field.words());
        field.evaluate(view, words);
        rest = after;
    }
}

fn headers<'a>(view: &View<'a>, response: bool) -> Option<&'a Headers> {
    match response {
        true => view.event.response.as_ref().map(|head| &head.headers),
        false => view.event.request.as_ref().map(|head| &head.headers),
    }
}

enum Lines<'a> {
    None,
    One(&'a [u8]),
    Several,
}

fn lines<'a>(headers: Option<&'a Headers>, known: Known, name: &str) -> Lines<'a> {
    let Some(headers) = headers.filter(|headers| headers.has(known)) else {
        return Lines::None;
    };
    let (first, has_more) = if known == Known::NONE {
        let mut all = headers.all(name);
        (all.next(), all.next().is_some())
    } else {
        let place = headers.place(known);
        let first = place.and_then(|(at, _)| headers.value(at));
        (first, place.is_some_and(|(_, has_more)| has_more))
    };
    match first {
        None => Lines::None,
        Some(value) if !has_more => Lines::One(value),
        Some(_) => Lines::Several,
    }
}

impl FieldTests {
    fn new(field: Field, tests: Vec<Test>, group: usize) -> Self {
        let (mut always, mut entries) = (Vec::new(), Vec::new());
        for (number, test) in (0..).zip(&tests) {
            match test {
                Test::Text(text) if let Some(literals) = literals_of(text) => {
                    entries.extend(literals.into_iter().map(|literal| (literal, number)));
                }
                _ => always.push(number),
            }
        }
        let literals = match entries.is_empty() {
            true => None,
            false => Literals::new(entries),
        };
        if literals.is_none() {
            always = (0..tests.len() as u32).collect();
        }
        FieldTests {
            field,
            tests,
            group,
            word: 0,
            literals,
            always,
        }
    }

    const fn words(&self) -> usize {
        self.tests.len().div_ceil(64)
    }

    /// Sets the bits of the tests that an event without the field passes.
    fn without(&self, passed: &mut [u64]) {
        for (number, test) in self.tests.iter().enumerate() {
            if matches!(test, Test::Absent | Test::Missing) {
                passed[number / 64] |= 1 << (number % 64);
            }
        }
    }

    fn evaluate(&self, view: &View<'_>, passed: &mut [u64]) {
        passed.fill(0);
        let mut any = false;
        view.any(&self.field, &mut |value| {
            any = true;
            let mut ask = |number: u32| {
                let (word, bit) = (number as usize / 64, 1 << (number % 64));
                if passed[word] & bit == 0 && self.tests[number as usize].passes(view, &value) {
                    passed[word] |= bit;
                }
            };
            self.always.iter().copied().for_each(&mut ask);
            if let Some(literals) = &self.literals {
                value.with_text(|text| literals.search(text, &mut ask));
            }
            false
        });
        if !any {
            self.without(passed);
        }
    }
}

/// Literals that stand for others, all looked for in one pass, whatever their case.
#[derive(Debug)]
pub struct Literals {
    automaton: AhoCorasick,
    /// For each literal whom it stands for.
    of: Vec<Box<[u32]>>,
}

impl Literals {
    /// Of literals and whom each stands for; `None` when there are too many for an automaton.
    pub fn new(mut entries: Vec<(Vec<u8>, u32)>) -> Option<Self> {
        entries.sort();
        entries.dedup();
        let of = entries.chunk_by(|a, b| a.0 == b.0);
        let of: Vec<_> = of
            .map(|same| same.iter().map(|(_, n)| *n).collect())
            .collect();
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

    /// Calls `found` with whom the literals in a text stand for, some more than once.
    pub fn search(&self, text: &[u8], mut found: impl FnMut(u32)) {
        for hit in self.automaton.find_overlapping_iter(text) {
            self.of[hit.pattern().as_usize()]
                .iter()
                .copied()
                .for_each(&mut found);
        }
    }
}
