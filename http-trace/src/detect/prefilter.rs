//! Which detections an event can match at all, found without evaluating them: by its status, by the
//! names of its field lines, and by one pass over each text that literals are looked for in. Leaves
//! nothing out that matches.

use super::field::{Field, View};
use super::lines::Names;
use super::literals::Literals;
use super::matcher::{Expr, Test, TextTest};
use super::watched::AllWatched;
use crate::event::HttpEvent;

/// Statuses from 0 (no response) to 999.
pub const STATUSES: usize = 1000;

/// The most literals of one detection; with more it is always evaluated.
const LITERALS: usize = 512;

/// A set of detections by their number.
pub type Bits = Box<[u64]>;

/// The prefilter of a list of detections.
#[derive(Debug)]
pub struct Prefilter {
    words: usize,
    /// For each status the detections that it leaves possible.
    by_status: Vec<u64>,
    /// For each status the detections that match whatever else the event has.
    sure: Vec<u64>,
    /// Detections that nothing stands for.
    always: Bits,
    texts: Vec<(Field, Literals)>,
    /// Literals that may be anywhere.
    keywords: Option<Literals>,
    /// Detections for which an identifier in the path stands.
    path_id: Bits,
    /// Detections that something was found for, of the event at hand.
    found: Bits,
}

/// Something that an event has when a detection matches it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    /// A literal in a line of the request (`false`) or of the response, in lower case.
    InLine(bool, Box<str>, Vec<u8>),
    /// Such a line.
    Line(bool, Box<str>),
    /// An identifier in the path.
    PathId,
}

/// A sign, or a literal in a field that is no line of a head.
#[derive(Clone, Debug)]
enum Witness {
    Sign(Sign),
    Text(Field, Vec<u8>),
    /// A literal anywhere in the event.
    Keyword(Vec<u8>),
}

impl Prefilter {
    /// Over detections in the order of their numbers; also the lines that are to be watched, whose
    /// names are noted from now on.
    pub fn new(detections: &[Expr], names: &mut Names) -> (Self, AllWatched) {
        let words = detections.len().div_ceil(64).max(1);
        let zero = || vec![0_u64; words].into_boxed_slice();
        let mut by_status = vec![0; STATUSES * words];
        let mut sure = vec![0; STATUSES * words];
        let mut always = zero();
        let mut path_id = zero();
        let mut texts: Vec<(Field, Vec<(Vec<u8>, u32)>)> = Vec::new();
        let mut lines: Vec<(bool, Box<str>, Bits, Vec<(Vec<u8>, u32)>)> = Vec::new();
        let mut keywords: Vec<(Vec<u8>, u32)> = Vec::new();
        for (number, expr) in detections.iter().enumerate() {
            let (word, bit) = (number / 64, 1 << (number % 64));
            for status in 0..STATUSES {
                let decided = expr.decided((status > 0).then_some(status as u16));
                if decided != Some(false) {
                    by_status[status * words + word] |= bit;
                }
                if decided == Some(true) {
                    sure[status * words + word] |= bit;
                }
            }
            let Some(found) = witnesses(expr).filter(|set| set.len() <= LITERALS) else {
                always[word] |= bit;
                continue;
            };
            for witness in found {
                match witness {
                    Witness::Text(field, literal) => {
                        let at = texts.iter().position(|(f, _)| *f == field);
                        let at = at.unwrap_or_else(|| {
                            texts.push((field, Vec::new()));
                            texts.len() - 1
                        });
                        texts[at].1.push((literal, number as u32));
                    }
                    Witness::Keyword(literal) => keywords.push((literal, number as u32)),
                    Witness::Sign(Sign::PathId) => path_id[word] |= bit,
                    Witness::Sign(Sign::Line(response, ref name))
                    | Witness::Sign(Sign::InLine(response, ref name, _)) => {
                        let at = lines
                            .iter()
                            .position(|(r, n, ..)| *r == response && n == name);
                        let at = at.unwrap_or_else(|| {
                            lines.push((response, name.clone(), zero(), Vec::new()));
                            lines.len() - 1
                        });
                        match witness {
                            Witness::Sign(Sign::InLine(_, _, literal)) => {
                                lines[at].3.push((literal, number as u32));
                            }
                            _ => lines[at].2[word] |= bit,
                        }
                    }
                }
            }
        }
        // Too many literals for an automaton: their detections are evaluated always, or whenever
        // the line is there.
        let mut built = Vec::new();
        for (field, entries) in texts {
            match Literals::new(entries, words) {
                Ok(literals) => built.push((field, literals)),
                Err(mask) => merge(&mut always, &mask),
            }
        }
        let keywords = match Literals::new(keywords, words) {
            Ok(literals) => Some(literals).filter(|l| !l.is_empty()),
            Err(mask) => {
                merge(&mut always, &mask);
                None
            }
        };
        let mut watched = AllWatched::new(words);
        for (response, name, mut present, entries) in lines {
            let literals = match Literals::new(entries, words) {
                Ok(literals) => Some(literals).filter(|l| !l.is_empty()),
                Err(mask) => {
                    merge(&mut present, &mask);
                    None
                }
            };
            let Some(name) = names.add(response, &name) else {
                // Too many names to be noted: their detections are evaluated always.
                merge(&mut always, &present);
                if let Some(literals) = &literals {
                    merge(&mut always, &literals.mask);
                }
                continue;
            };
            watched.add(name).stands_for(present, literals);
        }
        let prefilter = Prefilter {
            words,
            by_status,
            sure,
            always,
            texts: built,
            keywords,
            path_id,
            found: zero(),
        };
        (prefilter, watched)
    }

    /// How many words a set of detections has.
    pub const fn words(&self) -> usize {
        self.words
    }

    /// Where the sets of an event's status begin.
    fn of_status(&self, event: &HttpEvent) -> usize {
        let status = event.response.as_ref().map_or(0, |r| r.status);
        usize::from(status).min(STATUSES - 1) * self.words
    }

    /// Whether the status of an event leaves any detection possible.
    pub fn is_any_possible(&self, event: &HttpEvent) -> bool {
        let at = self.of_status(event);
        self.by_status[at..at + self.words]
            .iter()
            .any(|word| *word != 0)
    }

    /// Finds the detections that an event may match.
    pub fn find(&mut self, view: &View<'_>, watched: &mut AllWatched) {
        let at = self.of_status(view.event);
        let possible = &self.by_status[at..at + self.words];
        let asked = |mask: &Bits| is_any_of(mask, possible);
        self.found.copy_from_slice(&self.always);
        let found = &mut self.found;
        for name in view.noted.seen() {
            if let Some(lines) = watched.of_name(name) {
                lines.find(view, possible, found);
            }
        }
        if asked(&self.path_id) && view.path_id.is_some() {
            merge(found, &self.path_id);
        }
        for (field, literals) in &self.texts {
            if asked(&literals.mask) {
                search_field(literals, field, view, found);
            }
        }
        if let Some(literals) = &self.keywords
            && asked(&literals.mask)
        {
            let _ = view.any_text(&mut |text| {
                literals.search(text, found);
                false
            });
        }
        let sure = &self.sure[at..at + self.words];
        for ((found, possible), sure) in found.iter_mut().zip(possible).zip(sure) {
            *found = possible & (*found | sure);
        }
    }

    /// A word of what was found, and of what is known to match an event with the status of this one.
    pub fn found(&self, word: usize, event: &HttpEvent) -> (u64, u64) {
        (self.found[word], self.sure[self.of_status(event) + word])
    }
}

fn search_field(literals: &Literals, field: &Field, view: &View<'_>, found: &mut [u64]) {
    // Of these the longer value contains the other, and with it every literal in it.
    let longest = match field {
        Field::Uri if !view.uri.is_empty() => Some(view.uri),
        Field::Query => view.path_and_query(),
        _ => None,
    };
    if let Some(text) = longest {
        literals.search(text, found);
        return;
    }
    let _ = view.any(field, &mut |value| {
        value.with_text(|bytes| literals.search(bytes, found));
        false
    });
}

/// Whether any of some detections is among others.
pub fn is_any_of(mask: &[u64], others: &[u64]) -> bool {
    mask.iter().zip(others).any(|(a, b)| a & b != 0)
}

/// Adds one set to another.
pub fn merge(into: &mut [u64], other: &[u64]) {
    for (into, other) in into.iter_mut().zip(other) {
        *into |= other;
    }
}

/// Lines that nearly every head has: that they are there tells little.
const COMMON: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "referer",
    "server",
    "user-agent",
];

impl Witness {
    /// How rare it is taken to be.
    fn rarity(&self) -> usize {
        match self {
            Witness::Text(_, literal) | Witness::Sign(Sign::InLine(_, _, literal)) => literal.len(),
            Witness::Sign(Sign::Line(_, name)) if COMMON.contains(&&**name) => 0,
            Witness::Sign(Sign::Line(..)) => 8,
            Witness::Sign(Sign::PathId) => 2,
            // Looked for in everything, so anything else is better.
            Witness::Keyword(_) => 1,
        }
    }

    /// A literal in a field.
    fn literal(field: &Field, bytes: &[u8]) -> Witness {
        let literal = bytes.to_ascii_lowercase();
        match line_of(field) {
            Some((response, name)) => Witness::Sign(Sign::InLine(response, name.into(), literal)),
            None => Witness::Text(field.clone(), literal),
        }
    }
}

/// The line whose value a field is, or is a part of: whether of the response, and its name.
pub fn line_of(field: &Field) -> Option<(bool, &str)> {
    Some(match field {
        Field::RequestHeader(name) => (false, name),
        Field::ResponseHeader(name) => (true, name),
        Field::UserAgent => (false, "user-agent"),
        Field::Referrer => (false, "referer"),
        Field::Cookie => (false, "cookie"),
        Field::MimeType => (true, "content-type"),
        _ => return None,
    })
}

/// What an event has one of when it has a field at all; `None` when nothing is known.
fn signs_of(field: &Field) -> Option<Vec<Witness>> {
    let lines = |response, names: &[&str]| {
        let line = |name: &&str| Witness::Sign(Sign::Line(response, (*name).into()));
        Some(names.iter().map(line).collect())
    };
    if let Some((response, name)) = line_of(field) {
        return lines(response, &[name]);
    }
    match field {
        Field::PathId => Some(vec![Witness::Sign(Sign::PathId)]),
        Field::CookieLacks => lines(true, &["set-cookie"]),
        Field::UserName => lines(false, &["authorization"]),
        Field::SameSite => lines(false, &["referer"]),
        Field::ForwardedClient => lines(false, &["x-forwarded-for", "forwarded", "x-real-ip"]),
        _ => None,
    }
}

/// Witnesses of which an event has at least one whenever the condition holds; `None` when there is
/// no such set.
fn witnesses(expr: &Expr) -> Option<Vec<Witness>> {
    match expr {
        Expr::Constant(_) | Expr::Not(_) => None,
        Expr::Keyword(test) => literals_of(test, &|literal| {
            Witness::Keyword(literal.to_ascii_lowercase())
        }),
        Expr::Item(_, Test::Absent | Test::Missing) => None,
        // What follows from a line is there only with it.
        Expr::Item(field, _) if line_of(field).is_none() && signs_of(field).is_some() => {
            signs_of(field)
        }
        Expr::Item(field, Test::Text(test)) => {
            literals_of(test, &|literal| Witness::literal(field, literal))
                .or_else(|| signs_of(field))
        }
        Expr::Item(field, _) => signs_of(field),
        // The part that is the rarest.
        Expr::All(parts) => parts
            .iter()
            .filter_map(witnesses)
            .max_by_key(|set| set.iter().map(Witness::rarity).min()),
        Expr::AtLeast(_, parts) => {
            let mut set = Vec::new();
            for part in parts {
                set.extend(witnesses(part)?);
            }
            Some(set)
        }
    }
}

/// Literals of which a text that passes has at least one, as `with` says where they are.
fn literals_of(test: &TextTest, with: &dyn Fn(&[u8]) -> Witness) -> Option<Vec<Witness>> {
    let one = |bytes: &[u8]| (!bytes.is_empty()).then(|| vec![with(bytes)]);
    match test {
        TextTest::Equals(l) | TextTest::Starts(l) | TextTest::Ends(l) | TextTest::Contains(l) => {
            one(&l.bytes)
        }
        TextTest::Glob(glob) => glob
            .parts
            .iter()
            .flat_map(|part| part.split(Option::is_none))
            .map(|run| run.iter().copied().flatten().collect::<Vec<u8>>())
            .max_by_key(Vec::len)
            .and_then(|longest| one(&longest)),
        TextTest::ContainsAny(many) => Some(
            many.texts
                .iter()
                .map(|text| with(text.as_bytes()))
                .collect(),
        ),
        TextTest::AnyOf(tests) => {
            let each = tests.iter().map(|test| literals_of(test, with));
            Some(each.collect::<Option<Vec<_>>>()?.concat())
        }
        TextTest::Regex(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::tests::{of, response, run};

    /// What is left out unevaluated is what does not match: each is also asked with a condition
    /// that nothing stands for, which is evaluated always.
    #[test]
    fn nothing_that_matches_is_left_out() {
        for (detection, path, expected) in [
            ("['/${jndi:', Absent-Word]", "/a?x=/${JNDI:ldap", true),
            ("['/${jndi:', Absent-Word]", "/a?x=jndi", false),
            ("[shop.EXAMPLE]", "/", true),
            ("[sh?p*ample]", "/", true),
            ("['*']", "/", true),
            ("{cs-uri-stem: [/a, /B]}", "/b", true),
            ("{cs-uri-stem: [/a, /B]}", "/c", false),
            ("{cs-uri-stem|re: '/[0-9]'}", "/x/7", true),
            ("{cs-uri-stem|re: '/[0-9]$'}", "/x/77", false),
            ("{cs-uri-stem|re: '^/[ab]'}", "/x/a", false),
            ("{cs-uri-stem|re: '(?i)/(one|two)'}", "/TWO", true),
            ("{cs-host|contains: [SHOP, none]}", "/", true),
            ("{s-ip: [169.254.169.254, 192.0.2.10]}", "/", true),
            ("{s-ip: [169.254.169.254, '192.0.2.1']}", "/", false),
        ] {
            for condition in ["s", "not (not s)"] {
                let rule = format!(
                    "title: one\nname: one\nlogsource: {{category: webserver}}\n\
                     detection: {{s: {detection}, condition: {condition}}}\nlevel: low\n"
                );
                let mut event = response("198.51.100.7", 404, path, 1_795_156_800_000_000_000);
                event.server.ip = "192.0.2.10".parse().expect("an address");
                let (_, rules) = run(&mut of(&rule), [event]);
                let counted = rules.first().is_some_and(|rules| !rules.is_empty());
                assert_eq!(counted, expected, "{detection} {condition} {path}");
            }
        }
    }
}
