//! The conditions of all detections, made ready to be asked of many events. What follows from an
//! event's status, its addresses ([`super::addresses`]) and its header lines ([`super::watched`]) is worked out once for
//! all events of the same kind ([`super::plans`]); what is left is asked once, however many detections
//! ask it. Says which detections an event matches; decides nothing else.

use std::collections::HashMap;

use super::addresses::{Addresses, Whose};
use super::field::{Field, View};
use super::lines::{self, Name, Names, Noted};
use super::matcher::{Expr, Literal, Test, TextTest, at_least};
use super::plans::{Draft, Feed, Kind, Lengths, OfTargets, Plan, Plans, clear, is_in, put};
use super::prefilter::{Hosts, Prefilter, STATUSES, Sign, Signs, line_of, status_of};
use super::targets::Place;
use super::watched::{AllWatched, LineTest, Read, Watched};
use http_trace_model::event::HttpEvent;

/// The conditions of a list of detections.
#[derive(Debug)]
pub struct Conditions {
    names: Names,
    prefilter: Prefilter,
    conditions: Vec<Cond>,
    /// What stands for each of them.
    stands: Vec<Stands>,
    /// Of what kind the event at hand is.
    kind: Kind,
    plans: Plans,
    of_targets: OfTargets,
    facts: Facts,
    hosts: Hosts,
    /// Of each detection what it feeds.
    feeds: Vec<Vec<Feed>>,
    /// Detections for which a text is there, of the event at hand.
    found: Vec<u64>,
}

/// What follows of an event.
#[derive(Debug, Default)]
pub struct Matched {
    /// The detections that it matches.
    pub detections: Vec<u64>,
    /// What those feed.
    pub feeds: Vec<u64>,
    /// What of that can begin with the event.
    pub begins: Vec<u64>,
}

impl Matched {
    fn set(&mut self, plan: Plan<'_>) {
        let set = |to: &mut Vec<u64>, from: &[u64]| {
            to.resize(from.len(), 0);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        };
        set(&mut self.detections, plan.sure);
        set(&mut self.feeds, plan.feeds);
        set(&mut self.begins, plan.begins);
    }
}

/// What stands for a condition, see [`Signs`].
#[derive(Debug)]
struct Stands {
    always: bool,
    texts: bool,
    lines: Box<[Cond]>,
}

/// What is asked of events, each thing by its number.
#[derive(Debug)]
struct Facts {
    watched: AllWatched,
    servers: Addresses,
    clients: Addresses,
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
    /// A test of the lines that are watched at a place, by its number there.
    Line(usize, usize),
    /// A test of an address, by its number.
    Address(Whose, usize),
    /// There is an identifier in the path.
    PathId,
    /// It is known why there is no response.
    Unanswered,
    /// Another test, by its number.
    Test(usize),
    Keyword(TextTest),
    Not(Box<Cond>),
    All(Box<[Cond]>),
    AtLeast(usize, Box<[Cond]>),
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
    /// Of detections in the order of their numbers, each of which feeds what `feeds` says: numbers less
    /// than `fed`.
    pub fn new(detections: Vec<Expr>, feeds: Vec<Vec<Feed>>, fed: usize) -> Self {
        let (prefilter, signs) = Prefilter::new(&detections);
        let words = prefilter.words();
        let len = Lengths {
            detections: words,
            feeds: fed.div_ceil(64),
        };
        let mut numbering = Numbering {
            names: Names::default(),
            facts: Facts {
                watched: AllWatched::new(words),
                servers: Addresses::new(Whose::Server, words),
                clients: Addresses::new(Whose::Client, words),
                tests: Vec::new(),
                asked: Vec::new(),
                passed: Vec::new(),
            },
            known: HashMap::new(),
            number: 0,
        };
        let mut conditions = Vec::with_capacity(detections.len());
        let mut stands = Vec::with_capacity(detections.len());
        for (number, (expr, signs)) in detections.into_iter().zip(signs).enumerate() {
            numbering.number = number;
            conditions.push(numbering.cond(expr));
            stands.push(numbering.stands(signs));
        }
        let mut facts = numbering.facts;
        let possible = (0..STATUSES).map(|status| prefilter.possible(status));
        facts.watched.finish(possible);
        facts.asked = vec![0; facts.tests.len().div_ceil(64)];
        facts.passed = facts.asked.clone();
        Conditions {
            names: numbering.names,
            prefilter,
            conditions,
            stands,
            kind: Kind::default(),
            plans: Plans::new(len),
            of_targets: OfTargets::new(len),
            facts,
            hosts: Hosts::default(),
            feeds,
            found: vec![0; words],
        }
    }

    /// Whether an event with the status of this one can match any detection.
    pub fn are_possible(&self, event: &HttpEvent) -> bool {
        let possible = self.prefilter.possible(status_of(event));
        possible.iter().any(|word| *word != 0)
    }

    /// Notes where the lines are that conditions ask for.
    pub fn note(&self, event: &HttpEvent, noted: &mut Noted) {
        self.names.note(event, noted);
    }

    /// Finds the detections that an event matches, and what they feed. `target` is where its target is
    /// kept.
    pub fn matching(&mut self, view: &View<'_>, target: Option<Place>, matched: &mut Matched) {
        self.find_kind(view);
        let status = status_of(view.event);
        let (facts, conditions) = (&mut self.facts, &self.conditions);
        let (prefilter, stands, feeds) = (&self.prefilter, &self.stands, &self.feeds);
        let place = self.plans.find(&self.kind, |mut draft| {
            plan(view, prefilter, conditions, stands, facts, &mut draft);
            draft.feed(feeds, status);
        });
        let (plans, number) = (&self.plans, self.plans.number(place));
        let (found, hosts) = (&mut self.found[..], &mut self.hosts);
        clear(found);
        let plan = match target.filter(|_| number != 0) {
            Some(target) => self.of_targets.find(number, target, |mut draft| {
                let plan = plans.at(place);
                prefilter.find_in_target(view, hosts, plan.by_text, found);
                plan_of_target(view, prefilter, conditions, facts, plan, found, &mut draft);
                draft.feed(feeds, status);
                clear(found);
            }),
            None => {
                let plan = plans.at(place);
                prefilter.find_in_target(view, hosts, plan.by_text, found);
                plan
            }
        };
        prefilter.find_elsewhere(view, plan.by_text, found);
        matched.set(plan);
        let mut is_first = true;
        for (word, open) in plan.open.iter().enumerate() {
            let mut left = open | plan.by_text[word] & found[word];
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let number = word * 64 + bit as usize;
                if std::mem::take(&mut is_first) {
                    clear(&mut facts.asked);
                }
                if conditions[number].holds(view, facts) {
                    put(&mut matched.detections, number);
                    for feed in &feeds[number] {
                        feed.put(status, &mut matched.feeds, &mut matched.begins);
                    }
                }
            }
        }
    }

    /// Finds of what kind an event is. Only lines count that are asked for under its status.
    fn find_kind(&mut self, view: &View<'_>) {
        let status = status_of(view.event);
        let possible = self.prefilter.possible(status);
        let (server, void_by_server) = self.facts.servers.classify(view, possible);
        let (client, void_by_client) = self.facts.clients.classify(view, possible);
        let mut void = void_by_server || void_by_client;
        let (kind, watched) = (&mut self.kind, &mut self.facts.watched);
        kind.begin(status, view.event.no_response.is_some(), server, client);
        let mut add = |number: usize, lines: Option<&mut Watched>| {
            if let Some(lines) = lines {
                let (class, now_void) = lines.classify(view);
                void |= now_void;
                kind.add(number, class);
            }
        };
        let (there, asked) = (lines::known(view.event), watched.known(status));
        lines::each_of([there[0] & asked[0], there[1] & asked[1]], |number| {
            add(number, watched.named(number));
        });
        for number in view.noted.others() {
            add(number, watched.asked_for(number, possible));
        }
        if void {
            self.plans.forget();
        }
    }
}

/// Works out what follows for the kind of an event.
fn plan(
    view: &View<'_>,
    prefilter: &Prefilter,
    conditions: &[Cond],
    stands: &[Stands],
    facts: &Facts,
    draft: &mut Draft<'_>,
) {
    let status = status_of(view.event);
    let (possible, sure) = (prefilter.possible(status), prefilter.sure(status));
    for (number, (condition, stands)) in conditions.iter().zip(stands).enumerate() {
        if !is_in(possible, number) {
            continue;
        }
        let decided = match is_in(sure, number) {
            true => Some(true),
            false => condition.decided(view, facts, false),
        };
        let has_line = || {
            let mut lines = stands.lines.iter();
            lines.any(|line| line.decided(view, facts, false) != Some(false))
        };
        match decided {
            Some(true) => put(draft.sure, number),
            Some(false) => {}
            None if stands.always || has_line() => put(draft.open, number),
            None if stands.texts => put(draft.by_text, number),
            None => {}
        }
    }
}

/// Works out what follows from the target for the kind of an event: `plan` is of the kind alone, `found`
/// are detections for which a text is in the target.
fn plan_of_target(
    view: &View<'_>,
    prefilter: &Prefilter,
    conditions: &[Cond],
    facts: &Facts,
    plan: Plan<'_>,
    found: &[u64],
    draft: &mut Draft<'_>,
) {
    for (number, condition) in conditions.iter().enumerate() {
        let by_text = is_in(plan.by_text, number);
        let is_open = is_in(plan.open, number) || by_text && is_in(found, number);
        let may_be = is_open || by_text && is_in(&prefilter.by_others, number);
        if !may_be {
            continue;
        }
        match condition.decided(view, facts, true) {
            Some(true) => put(draft.sure, number),
            Some(false) => {}
            None if is_open => put(draft.open, number),
            None => put(draft.by_text, number),
        }
    }
    (draft.sure.iter_mut().zip(plan.sure)).for_each(|(all, sure)| *all |= sure);
}

impl Cond {
    fn holds(&self, view: &View<'_>, facts: &mut Facts) -> bool {
        match self {
            Cond::Constant(yes) => *yes,
            Cond::Status(statuses) => is_in(statuses, status_of(view.event)),
            Cond::HasLine(name, yes) => view.noted.has(*name, view.event) == *yes,
            Cond::Line(place, test) => facts.watched.get(*place).passes(*test, view),
            Cond::Address(whose, test) => facts.addresses(*whose).passes(*test),
            Cond::PathId => view.path_id.is_some(),
            Cond::Unanswered => view.event.no_response.is_some(),
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

    /// What it is for all events of the same kind as this one, or for those of them that ask for the
    /// same target; `None` when that depends on more.
    fn decided(&self, view: &View<'_>, facts: &Facts, same_target: bool) -> Option<bool> {
        let of_part = |part: &Cond| part.decided(view, facts, same_target);
        match self {
            Cond::Constant(yes) => Some(*yes),
            Cond::Status(statuses) => Some(is_in(statuses, status_of(view.event))),
            Cond::HasLine(name, yes) => Some(view.noted.has(*name, view.event) == *yes),
            Cond::Line(place, test) => Some(facts.watched.get(*place).passes(*test, view)),
            Cond::Address(whose, test) => Some(facts.addresses(*whose).passes(*test)),
            Cond::PathId => same_target.then(|| view.path_id.is_some()),
            Cond::Unanswered => Some(view.event.no_response.is_some()),
            Cond::Test(number) => {
                let (field, test) = facts.tests.get(*number)?;
                let follows = field.is_of_target() && !matches!(test, Test::SameAs(..));
                (same_target && follows).then(|| test.holds(field, view))
            }
            Cond::Keyword(_) => None,
            Cond::Not(part) => of_part(part).map(|yes| !yes),
            Cond::All(parts) => at_least(parts.len(), parts, of_part),
            Cond::AtLeast(wanted, parts) => at_least(*wanted, parts, of_part),
        }
    }

    /// What is asked first of several.
    fn cost(&self) -> usize {
        match self {
            Cond::Constant(_) | Cond::Status(_) | Cond::Unanswered => 0,
            Cond::HasLine(..) | Cond::Address(..) | Cond::PathId => 1,
            Cond::Line(..) => 2,
            Cond::Test(_) => 3,
            Cond::Keyword(_) => 4,
            Cond::Not(part) => part.cost(),
            Cond::All(parts) | Cond::AtLeast(_, parts) => {
                parts.iter().map(Cond::cost).max().unwrap_or(0)
            }
        }
    }
}

impl Facts {
    const fn addresses(&self, whose: Whose) -> &Addresses {
        match whose {
            Whose::Server => &self.servers,
            Whose::Client => &self.clients,
        }
    }

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
        if field == Field::PathId && matches!(test, Test::Present) {
            return Cond::PathId;
        }
        if field == Field::NoResponse && matches!(test, Test::Present) {
            return Cond::Unanswered;
        }
        if let Some(whose) = Whose::asked(&field, &test) {
            return self.address(whose, field, test);
        }
        let line = line_of(&field)
            .filter(|_| !matches!(test, Test::SameAs(..)))
            .and_then(|(response, name)| self.names.add(response, name));
        match line {
            Some(name) => self.line(name, &field, test),
            None => self.test(field, test),
        }
    }

    fn address(&mut self, whose: Whose, field: Field, test: Test) -> Cond {
        let addresses = match whose {
            Whose::Server => &mut self.facts.servers,
            Whose::Client => &mut self.facts.clients,
        };
        let key = format!("{whose:?} {test:?}");
        let number = match self.known.get(&key) {
            Some(number) => *number,
            None => match addresses.add(test) {
                Ok(number) => *self.known.entry(key).or_insert(number),
                Err(test) => return self.test(field, test),
            },
        };
        addresses.ask_for(self.number);
        Cond::Address(whose, number)
    }

    fn test(&mut self, field: Field, test: Test) -> Cond {
        let key = format!("{field:?} {test:?}");
        let next = self.facts.tests.len();
        let number = *self.known.entry(key).or_insert(next);
        if number == next {
            self.facts.tests.push((field, test));
        }
        Cond::Test(number)
    }

    fn line(&mut self, name: Name, field: &Field, test: Test) -> Cond {
        let read = match field {
            Field::RequestHeader(_) | Field::ResponseHeader(_) => Read::All,
            Field::MimeType => Read::MediaType,
            _ => Read::First,
        };
        let watched = &mut self.facts.watched;
        let place = watched.add(name);
        let lines = watched.at(place);
        lines.ask_for(self.number);
        match test {
            Test::Present if read != Read::MediaType => return Cond::HasLine(name, true),
            Test::Missing if read != Read::MediaType => return Cond::HasLine(name, false),
            _ => {}
        }
        let key = format!("{name:?} {read:?} {test:?}");
        let number = *self
            .known
            .entry(key)
            .or_insert_with(|| lines.add_test(LineTest { read, test }));
        Cond::Line(place, number)
    }

    /// Makes ready what stands for a condition.
    fn stands(&mut self, signs: Signs) -> Stands {
        let mut always = signs.always;
        let mut lines = Vec::with_capacity(signs.lines.len());
        for Sign {
            response,
            name,
            literal,
        } in signs.lines
        {
            let Some(number) = self.names.add(response, &name) else {
                // Too many names to be noted.
                always = true;
                continue;
            };
            let field = match response {
                true => Field::ResponseHeader(name),
                false => Field::RequestHeader(name),
            };
            let test = literal.map_or(Test::Present, |bytes| {
                Test::Text(TextTest::Contains(Literal {
                    bytes: bytes.into(),
                    fold: true,
                }))
            });
            lines.push(self.line(number, &field, test));
        }
        Stands {
            always,
            texts: signs.texts,
            lines: lines.into(),
        }
    }

    fn conds(&mut self, parts: Box<[Expr]>) -> Box<[Cond]> {
        let mut conds: Vec<Cond> = parts.into_iter().map(|part| self.cond(part)).collect();
        conds.sort_by_key(Cond::cost);
        conds.into()
    }
}

#[cfg(test)]
mod tests;
