//! Which tests of all rules the event at hand passes. Tests of one field, or of several that follow from the
//! same bytes, form a group: a group is evaluated at most once an event, and not at all for a value that the
//! [`super::memo`] knows or that the event lacks. Knows tests, not conditions.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::bits;
use super::field::Field;
use super::matcher::literals_of;
use super::memo::{Memo, PARTS};
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

/// The longest value that is remembered, all its parts together.
const LONGEST: usize = 192;

/// All tests of fields, and what is known of the event at hand.
#[derive(Debug)]
pub struct Facts {
    fields: Vec<FieldTests>,
    groups: Vec<Group>,
    /// The tests that an event passes which has nothing of what is asked for, a bit each.
    without: Box<[u8]>,
    /// The tests that the event at hand passes.
    passed: Box<[u8]>,
    /// The event at hand, and for each late group the event that it was evaluated for.
    event: u64,
    evaluated: Vec<u64>,
    memo: Memo<u8>,
}

/// The groups to evaluate of an event.
#[derive(Debug, Default)]
pub struct Plan {
    /// Those of lines whose names have a number, which are nearly all, by the numbers; of responses, then of
    /// requests.
    lines: [(u64, Vec<(u8, u32)>); 2],
    others: Vec<u32>,
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
    /// Where its bits are, in bytes.
    bytes: Range<usize>,
    literals: Option<Literals>,
    /// Tests for which no literal stands: each value is asked them.
    always: Vec<u32>,
}

/// Fields that follow from the same bytes; their bits are neighbours.
#[derive(Debug)]
struct Group {
    source: Source,
    fields: Vec<usize>,
    /// Where its bits are, in bytes.
    bytes: Range<usize>,
    /// Whether it is evaluated when a condition first asks for it.
    is_late: bool,
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
    /// The server's address: there are few.
    Server,
    /// Other parts of the event; numbers are cheaper to test than to look up, and clients are many.
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
    /// Whether the event surely has none of what it is; for the most part that shows at once.
    #[inline]
    fn is_absent(&self, view: &View<'_>) -> bool {
        match self {
            Source::Target => view.event.request.is_none(),
            Source::Server => false,
            Source::Line {
                response, known, ..
            } => !headers(view, *response).is_some_and(|headers| headers.has(*known)),
            Source::Other(field) => view.lacks(field),
        }
    }

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
            | Field::FirstSegment
            | Field::OnlyParameter => Source::Target,
            Field::ServerIp => Source::Server,
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
        // Of a line it is asked once for each value.
        Test::Text(test) => has_regex(test) && !is_of_line(field),
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
                    bytes: 0..0,
                    is_late: false,
                });
            }
            groups[group].fields.push(at);
            fields.push(FieldTests::new(field, tests, group));
        }
        let mut without = Vec::new();
        for group in &mut groups {
            let begin = without.len();
            for &at in &group.fields {
                let field = &mut fields[at];
                field.bytes = without.len()..without.len() + field.tests.len().div_ceil(8);
                without.resize(field.bytes.end, 0);
                field.without(&mut without[field.bytes.clone()]);
            }
            group.bytes = begin..without.len();
        }
        let longest = groups.iter().map(|group| group.bytes.len()).max();
        Facts {
            fields,
            passed: without.clone().into(),
            without: without.into(),
            event: 0,
            evaluated: vec![0; groups.len()],
            groups,
            memo: Memo::new(LONGEST, longest.unwrap_or_default()),
        }
    }
}

impl Facts {
    /// How many groups there are.
    pub const fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The group of a test, and its bit among those of all tests.
    pub fn place(&self, id: TestId) -> (usize, usize) {
        let field = &self.fields[id.field as usize];
        (field.group, field.bytes.start * 8 + id.test as usize)
    }

    /// The bits of a group.
    pub fn bytes(&self, group: usize) -> Range<usize> {
        self.groups[group].bytes.clone()
    }

    /// Evaluates a group only when a condition asks for it, if that does not cost more than to remember what
    /// it says.
    pub fn make_late(&mut self, group: usize) {
        let group = &mut self.groups[group];
        group.is_late = matches!(group.source, Source::Other(_));
    }

    /// Whether a group is evaluated when a condition asks for it.
    pub fn is_late(&self, group: usize) -> bool {
        self.groups[group].is_late
    }

    /// A plan for these groups.
    pub fn plan(&self, groups: impl Iterator<Item = usize>) -> Plan {
        let mut plan = Plan::default();
        for group in groups.filter(|group| !self.is_late(*group)) {
            match self.groups[group].source {
                Source::Line {
                    response, known, ..
                } if known != Known::NONE => {
                    let (mask, of) = &mut plan.lines[usize::from(!response)];
                    *mask |= 1 << known.number();
                    of.push((known.number() as u8, group as u32));
                }
                _ => plan.others.push(group as u32),
            }
        }
        plan.lines.iter_mut().for_each(|(_, of)| of.sort_unstable());
        plan
    }

    /// Evaluates the groups of a plan for the next event; returns the tests that it passes, void of those of
    /// other groups.
    pub fn evaluate(&mut self, plan: &Plan, view: &View<'_>) -> &[u8] {
        self.event += 1;
        self.passed.copy_from_slice(&self.without);
        for ((mask, groups), response) in plan.lines.iter().zip([true, false]) {
            let there = headers(view, response).map_or(0, Headers::known) & mask;
            if there != 0 {
                let groups = groups.iter().filter(|(known, _)| there >> known & 1 != 0);
                groups.for_each(|(_, group)| self.evaluate_group(*group as usize, view));
            }
        }
        for group in &plan.others {
            let is_absent = self.groups[*group as usize].source.is_absent(view);
            if !is_absent {
                self.evaluate_group(*group as usize, view);
            }
        }
        &self.passed
    }

    /// Whether the event at hand passes a test, which is of a group of the plan or of a late one.
    pub fn passes(&mut self, id: TestId, view: &View<'_>) -> bool {
        let (group, bit) = self.place(id);
        if self.groups[group].is_late && self.evaluated[group] != self.event {
            self.evaluated[group] = self.event;
            self.evaluate_group(group, view);
        }
        bits::byte_has(&self.passed, bit)
    }

    fn evaluate_group(&mut self, number: usize, view: &View<'_>) {
        let group = &self.groups[number];
        let passed = &mut self.passed[group.bytes.clone()];
        let octets;
        let key: [&[u8]; PARTS] = match &group.source {
            Source::Other(_) => return evaluate_fields(&self.fields, group, view, passed),
            Source::Target => {
                let host = view.request_line(Known::HOST).unwrap_or_default();
                let request = view.event.request.as_ref();
                request.map_or([b"", b"", host], |r| [&r.method, &r.target, host])
            }
            Source::Server => {
                // An IPv4 address that is mapped to IPv6 is another one.
                let family = match view.event.server.ip {
                    IpAddr::V4(ip) => {
                        octets = ip.to_ipv6_mapped().octets();
                        b"4"
                    }
                    IpAddr::V6(ip) => {
                        octets = ip.octets();
                        b"6"
                    }
                };
                [family, &octets, b""]
            }
            Source::Line {
                response,
                known,
                name,
            } => match lines(headers(view, *response), *known, name) {
                Lines::None => return,
                Lines::One(value) => [value, b"", b""],
                Lines::Several => return evaluate_fields(&self.fields, group, view, passed),
            },
        };
        let id = number as u32;
        match self.memo.get(id, key) {
            Ok(outcome) => passed.copy_from_slice(&outcome[..passed.len()]),
            Err(place) => {
                evaluate_fields(&self.fields, group, view, passed);
                if let Some(place) = place {
                    self.memo.put(place, id, key, passed);
                }
            }
        }
    }
}

fn evaluate_fields(fields: &[FieldTests], group: &Group, view: &View<'_>, passed: &mut [u8]) {
    let begin = group.bytes.start;
    for &at in &group.fields {
        let Range { start, end } = fields[at].bytes;
        fields[at].evaluate(view, &mut passed[start - begin..end - begin]);
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
            bytes: 0..0,
            literals,
            always,
        }
    }

    /// Sets the bits of the tests that an event without the field passes.
    fn without(&self, passed: &mut [u8]) {
        for (number, test) in self.tests.iter().enumerate() {
            if matches!(test, Test::Absent | Test::Missing) {
                bits::put_in_byte(passed, number);
            }
        }
    }

    fn evaluate(&self, view: &View<'_>, passed: &mut [u8]) {
        passed.fill(0);
        let mut any = false;
        view.any(&self.field, &mut |value| {
            any = true;
            let mut ask = |number: u32| {
                let at = number as usize;
                if !bits::byte_has(passed, at) && self.tests[at].passes(view, &value) {
                    bits::put_in_byte(passed, at);
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
