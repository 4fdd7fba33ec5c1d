//! The conditions of all detections, made ready to be asked of many events: whatever several of them
//! ask of an event is asked once, and whatever was asked of a field line's value before is not asked
//! again of the same value. Says which detections an event matches; decides nothing else.

use std::collections::HashMap;

use super::field::{Field, Value, View};
use super::lines::{Name, Names, Noted};
use super::matcher::{Expr, Test, TextTest};
use super::prefilter::{Prefilter, STATUSES, line_of};
use super::watched::AllWatched;
use crate::event::HttpEvent;
use crate::http::fields::mime_type;

/// The conditions of a list of detections.
#[derive(Debug)]
pub struct Conditions {
    names: Names,
    prefilter: Prefilter,
    conditions: Vec<Cond>,
    facts: Facts,
}

/// What is asked of events, each thing by its number.
#[derive(Debug)]
struct Facts {
    watched: AllWatched,
    lines: Vec<LineTest>,
    tests: Vec<(Field, Test)>,
    /// Which tests were asked of the event at hand, and which it passed.
    asked: Vec<u64>,
    passed: Vec<u64>,
}

/// A condition over facts.
#[derive(Debug)]
enum Cond {
    Constant(bool),
    /// One of these statuses, a bit each.
    Status(Box<[u64]>),
    /// There is such a line, or there is none.
    HasLine(Name, bool),
    /// A test of a line, by its number.
    Line(usize),
    /// Another test, by its number.
    Test(usize),
    Keyword(TextTest),
    Not(Box<Cond>),
    All(Box<[Cond]>),
    AtLeast(usize, Box<[Cond]>),
}

/// A test whose outcome follows from the value of a field line.
#[derive(Debug)]
struct LineTest {
    read: Read,
    test: Test,
    name: Name,
    /// Among the tests of that name.
    number: usize,
}

/// What is read of field lines of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// Each of them.
    All,
    /// The first.
    First,
    /// The media type in the first.
    MediaType,
}

/// Numbers things that are asked, the same for the same.
struct Numbering {
    names: Names,
    facts: Facts,
    /// By what they ask, as it is written out.
    known: HashMap<String, usize>,
    /// The detection at hand.
    number: usize,
}

impl Conditions {
    /// Of detections in the order of their numbers.
    pub fn new(detections: Vec<Expr>) -> Self {
        let mut names = Names::default();
        let (prefilter, watched) = Prefilter::new(&detections, &mut names);
        let mut numbering = Numbering {
            names,
            facts: Facts {
                watched,
                lines: Vec::new(),
                tests: Vec::new(),
                asked: Vec::new(),
                passed: Vec::new(),
            },
            known: HashMap::new(),
            number: 0,
        };
        let conditions = (0..)
            .zip(detections)
            .map(|(number, expr)| {
                numbering.number = number;
                numbering.cond(expr)
            })
            .collect();
        let mut facts = numbering.facts;
        facts.watched.finish();
        facts.asked = vec![0; facts.tests.len().div_ceil(64)];
        facts.passed = facts.asked.clone();
        Conditions {
            names: numbering.names,
            prefilter,
            conditions,
            facts,
        }
    }

    /// Whether an event with the status of this one can match any detection.
    pub fn are_possible(&self, event: &HttpEvent) -> bool {
        self.prefilter.is_any_possible(event)
    }

    /// Notes where the lines are that conditions ask for.
    pub fn note(&self, event: &HttpEvent, noted: &mut Noted) {
        self.names.note(event, noted);
    }

    /// Hands the numbers of the detections that an event matches to `with`, in order.
    pub fn matching(&mut self, view: &View<'_>, with: &mut dyn FnMut(usize)) {
        let facts = &mut self.facts;
        facts.asked.fill(0);
        self.prefilter.find(view, &mut facts.watched);
        for word in 0..self.prefilter.words() {
            let (mut left, sure) = self.prefilter.found(word, view.event);
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let number = word * 64 + bit as usize;
                let Some(condition) = self.conditions.get(number) else {
                    continue;
                };
                if sure >> bit & 1 != 0 || condition.holds(view, facts) {
                    with(number);
                }
            }
        }
    }
}

impl Cond {
    fn holds(&self, view: &View<'_>, facts: &mut Facts) -> bool {
        match self {
            Cond::Constant(yes) => *yes,
            Cond::Status(statuses) => {
                let status = status_of(view.event);
                statuses[status / 64] >> (status % 64) & 1 != 0
            }
            Cond::HasLine(name, yes) => view.noted.has(*name) == *yes,
            Cond::Line(number) => facts.line(*number, view),
            Cond::Test(number) => facts.test(*number, view),
            Cond::Keyword(test) => view.any_text(&mut |text| test.passes(text)),
            Cond::Not(part) => !part.holds(view, facts),
            Cond::All(parts) => parts.iter().all(|part| part.holds(view, facts)),
            Cond::AtLeast(wanted, parts) => {
                let matching = parts.iter().filter(|part| part.holds(view, facts));
                matching.take(*wanted).count() == *wanted
            }
        }
    }

    /// What is asked first of several.
    fn cost(&self) -> usize {
        match self {
            Cond::Constant(_) | Cond::Status(_) => 0,
            Cond::HasLine(..) => 1,
            Cond::Line(_) => 2,
            Cond::Test(_) => 3,
            Cond::Keyword(_) => 4,
            Cond::Not(part) => part.cost(),
            Cond::All(parts) | Cond::AtLeast(_, parts) => {
                parts.iter().map(Cond::cost).max().unwrap_or(0)
            }
        }
    }
}

/// The status of an event, 0 without a response, as it is looked up.
fn status_of(event: &HttpEvent) -> usize {
    let status = event.response.as_ref().map_or(0, |r| r.status);
    usize::from(status).min(STATUSES - 1)
}

impl Facts {
    fn test(&mut self, number: usize, view: &View<'_>) -> bool {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.asked[word] & bit == 0 {
            let (field, test) = &self.tests[number];
            let passes = test.holds(field, view);
            self.asked[word] |= bit;
            self.passed[word] = self.passed[word] & !bit | if passes { bit } else { 0 };
        }
        self.passed[word] & bit != 0
    }

    fn line(&mut self, number: usize, view: &View<'_>) -> bool {
        let line = &self.lines[number];
        let Some(value) = view.noted.first(line.name, view.event) else {
            return line.passes(None, view);
        };
        if line.read == Read::All && view.noted.has_several(line.name) {
            let mut values = view.noted.all(line.name, view.event);
            return values.any(|value| line.passes(Some(value), view));
        }
        let passes = || line.passes(Some(value), view);
        match self.watched.of_name(line.name.number()) {
            Some(lines) => lines.known(line.number, passes),
            None => passes(),
        }
    }
}

impl LineTest {
    fn passes(&self, value: Option<&[u8]>, view: &View<'_>) -> bool {
        let value = match self.read {
            Read::All | Read::First => value,
            Read::MediaType => value.and_then(mime_type),
        };
        match value {
            Some(value) => self.test.passes(view, &Value::Text(value)),
            None => matches!(self.test, Test::Absent | Test::Missing),
        }
    }
}

impl Numbering {
    fn cond(&mut self, expr: Expr) -> Cond {
        match expr {
            Expr::Constant(yes) => Cond::Constant(yes),
            Expr::Keyword(test) => Cond::Keyword(test),
            Expr::Not(part) => Cond::Not(Box::new(self.cond(*part))),
            Expr::All(parts) => Cond::All(self.conds(parts)),
            Expr::AtLeast(wanted, parts) => Cond::AtLeast(wanted, self.conds(parts)),
            Expr::Item(field, test) => self.item(field, test),
        }
    }

    fn item(&mut self, field: Field, test: Test) -> Cond {
        let item = Expr::Item(field, test);
        if item.decided(None).is_some() {
            let mut statuses = vec![0; STATUSES.div_ceil(64)];
            for status in 0..STATUSES {
                let of = (status > 0).then_some(status as u16);
                if item.decided(of) == Some(true) {
                    statuses[status / 64] |= 1 << (status % 64);
                }
            }
            return Cond::Status(statuses.into());
        }
        let Expr::Item(field, test) = item else {
            return Cond::Constant(false);
        };
        let line = line_of(&field)
            .filter(|_| !matches!(test, Test::SameAs(..)))
            .and_then(|(response, name)| self.names.add(response, name));
        match line {
            Some(name) => self.line(name, &field, test),
            None => {
                let key = format!("{field:?} {test:?}");
                let next = self.facts.tests.len();
                let number = *self.known.entry(key).or_insert(next);
                if number == next {
                    self.facts.tests.push((field, test));
                }
                Cond::Test(number)
            }
        }
    }

    fn line(&mut self, name: Name, field: &Field, test: Test) -> Cond {
        let read = match field {
            Field::RequestHeader(_) | Field::ResponseHeader(_) => Read::All,
            Field::MimeType => Read::MediaType,
            _ => Read::First,
        };
        match test {
            Test::Present if read != Read::MediaType => return Cond::HasLine(name, true),
            Test::Missing if read != Read::MediaType => return Cond::HasLine(name, false),
            _ => {}
        }
        let watched = self.facts.watched.add(name);
        watched.ask_for(self.number);
        let key = format!("{name:?} {read:?} {test:?}");
        let next = self.facts.lines.len();
        let at = *self.known.entry(key).or_insert(next);
        if at == next {
            self.facts.lines.push(LineTest {
                read,
                test,
                name,
                number: watched.add_test(),
            });
        }
        Cond::Line(at)
    }

    fn conds(&mut self, parts: Box<[Expr]>) -> Box<[Cond]> {
        let mut conds: Vec<Cond> = parts.into_iter().map(|part| self.cond(part)).collect();
        conds.sort_by_key(Cond::cost);
        conds.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{builtin, parse};
    use crate::testing;

    /// What is asked once, remembered and asked in another order has the same answer: the built-in
    /// detections and some with several lines of a name, over events whose values come again.
    #[test]
    fn an_event_matches_what_each_condition_says_by_itself() {
        let mut sources = builtin::sources();
        let more = |number: usize, detection: &str| parse::Source {
            origin: crate::detect::rule::Origin::File("more.yml".into()),
            text: format!(
                "title: more {number}\nname: more-{number}\nlogsource: {{category: webserver}}\n\
                 detection: {{s: {detection}, condition: s}}\nlevel: low\n"
            ),
        };
        let detections = [
            "{response.header.set-cookie: null}",
            "{response.header.set-cookie|endswith: Secure}",
            "{request.header.x-tag|contains: [one, two], cs-method: GET}",
            "{request.header.x-tag|exists: false}",
            "{cs-user-agent: ''}",
            "{cs-user-agent|re: '[0-9]$', request.header.x-tag: Three}",
            "{http.response.mime_type|exists: true}",
            "{http.response.mime_type: null}",
            "[two, '*gone*']",
        ];
        sources.extend(
            detections
                .iter()
                .enumerate()
                .map(|(at, text)| more(at, text)),
        );
        let exprs = || -> Vec<Expr> {
            let parsed = parse::parse(&sources, &|_| false);
            let errors = parsed.diagnostics.iter().map(ToString::to_string);
            assert_eq!(errors.collect::<Vec<_>>(), [""; 0]);
            parsed
                .rules
                .detections
                .into_iter()
                .map(|d| d.expr)
                .collect()
        };
        let alone = exprs();
        let mut conditions = Conditions::new(exprs());
        let long = "x".repeat(400);
        let (mut noted, mut matched) = (Noted::default(), 0);
        let lines_of_request = [
            "",
            "User-Agent: sqlmap/1\r\n",
            "user-agent: curl/8.1\r\nX-Tag: three\r\n",
            "User-Agent: curl/8.1\r\nX-TAG: none\r\nx-tag: Two\r\n",
            "User-Agent: \r\nX-Tag: one\r\nReferer: http://h/a\r\nAuthorization: Basic YTpi\r\n",
            &format!("User-Agent: nikto {long}\r\nX-Tag: {long}\r\nX-Forwarded-Proto: https\r\n"),
        ];
        let lines_of_response = [
            "",
            "Content-Type: text/html; charset=utf-8\r\nServer: nginx/1.2\r\n",
            "content-type: none\r\nSet-Cookie: a=b; Secure\r\nSet-Cookie: c=d\r\n",
            "Set-Cookie: c=d\r\nX-Content-Type-Options: nosniff\r\nServer: AmazonS3\r\n",
        ];
        for turn in 0..2 {
            for path in [
                "/",
                "/users/17",
                "/a.js?x=1",
                "/../etc/passwd",
                "/?q=1+union+select+2",
            ] {
                for status in [200, 302, 401, 404, 500] {
                    for (of_request, of_response) in lines_of_request
                        .iter()
                        .flat_map(|a| lines_of_response.iter().map(move |b| (a, b)))
                    {
                        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{of_request}\r\n");
                        let response = format!("HTTP/1.1 {status} gone\r\n{of_response}\r\n");
                        let event = testing::event_of(
                            testing::request(&request),
                            testing::response(&response),
                        );
                        conditions.note(&event, &mut noted);
                        let view = View::new(&event, &noted, b"");
                        let mut got = Vec::new();
                        conditions.matching(&view, &mut |number| got.push(number));
                        let expected: Vec<usize> = (0..alone.len())
                            .filter(|number| alone[*number].matches(&view))
                            .collect();
                        assert_eq!(got, expected, "turn {turn}:\n{request}{response}");
                        matched += got.len();
                    }
                }
            }
        }
        assert!(matched > 1000, "{matched}");
    }
}
