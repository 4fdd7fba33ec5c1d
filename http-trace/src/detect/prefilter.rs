//! Which detections an event can match at all, found without evaluating them: by its status, by the
//! names of its field lines, and by one pass over each text that literals are looked for in. Leaves
//! nothing out that matches.

use aho_corasick::automaton::Automaton as _;
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind, StartKind};

use super::field::{Field, View};
use super::lines::Lines;
use super::matcher::{Expr, Test, TextTest};

/// Statuses from 0 (no response) to 999.
const STATUSES: usize = 1000;

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
    request: Lines,
    response: Lines,
    /// Detections for which an identifier in the path stands.
    path_id: Bits,
    /// Detections that something was found for, of the event at hand.
    found: Bits,
}

/// Literals that are looked for in a text.
#[derive(Debug)]
pub struct Literals {
    automaton: Box<DFA>,
    /// For each literal the detections it stands for.
    of: Vec<Box<[u32]>>,
    /// Detections that have a literal here.
    pub mask: Bits,
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
    /// Over detections in the order of their numbers.
    pub fn new(detections: &[&Expr]) -> Self {
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
            Ok(literals) => Some(literals).filter(|l| !l.of.is_empty()),
            Err(mask) => {
                merge(&mut always, &mask);
                None
            }
        };
        let mut of_request = Vec::new();
        let mut of_response = Vec::new();
        for (response, name, mut present, entries) in lines {
            let literals = match Literals::new(entries, words) {
                Ok(literals) => Some(literals).filter(|l| !l.of.is_empty()),
                Err(mask) => {
                    merge(&mut present, &mask);
                    None
                }
            };
            let side = if response {
                &mut of_response
            } else {
                &mut of_request
            };
            side.push((name, present, literals));
        }
        Prefilter {
            words,
            by_status,
            sure,
            always,
            texts: built,
            keywords,
            request: Lines::new(of_request, words),
            response: Lines::new(of_response, words),
            path_id,
            found: zero(),
        }
    }

    /// Hands the numbers of the detections that may match to `with`, in order, and whether each is
    /// known to match.
    pub fn each(&mut self, view: &View<'_>, with: &mut dyn FnMut(usize, bool)) {
        let response = view.event.response.as_ref();
        let status = response.map_or(0, |r| r.status);
        let at = usize::from(status).min(STATUSES - 1) * self.words;
        let possible = &self.by_status[at..at + self.words];
        let sure = &self.sure[at..at + self.words];
        if possible.iter().all(|word| *word == 0) {
            return;
        }
        let asked = |mask: &Bits| mask.iter().zip(possible).any(|(a, b)| a & b != 0);
        self.found.copy_from_slice(&self.always);
        let found = &mut self.found;
        if let Some(request) = &view.event.request
            && asked(&self.request.mask)
        {
            self.request.search(&request.headers, found);
        }
        if let Some(response) = response
            && asked(&self.response.mask)
        {
            self.response.search(&response.headers, found);
        }
        if asked(&self.path_id) && view.first(&Field::PathId).is_some() {
            merge(found, &self.path_id);
        }
        for (field, literals) in &self.texts {
            if asked(&literals.mask) {
                literals.search_field(field, view, found);
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
        for (word, (possible, found)) in possible.iter().zip(&self.found).enumerate() {
            let mut left = possible & (found | sure[word]);
            while left != 0 {
                let bit = left.trailing_zeros();
                with(word * 64 + bit as usize, sure[word] & 1 << bit != 0);
                left &= left - 1;
            }
        }
    }
}

impl Literals {
    /// Over literals and the detection that each stands for; `words` is the length of the sets.
    ///
    /// # Errors
    /// With all the detections when there are too many literals for an automaton.
    pub fn new(mut entries: Vec<(Vec<u8>, u32)>, words: usize) -> Result<Self, Bits> {
        entries.sort();
        entries.dedup();
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut of: Vec<Vec<u32>> = Vec::new();
        let mut mask = vec![0_u64; words].into_boxed_slice();
        for (literal, number) in entries {
            if patterns.last() != Some(&literal) {
                patterns.push(literal);
                of.push(Vec::new());
            }
            if let Some(last) = of.last_mut() {
                last.push(number);
            }
            mask[number as usize / 64] |= 1 << (number % 64);
        }
        let automaton = DFA::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .start_kind(StartKind::Unanchored)
            .build(&patterns);
        match automaton {
            Ok(automaton) => Ok(Literals {
                automaton: Box::new(automaton),
                of: of.into_iter().map(Vec::into_boxed_slice).collect(),
                mask,
            }),
            Err(_) => Err(mask),
        }
    }

    fn search_field(&self, field: &Field, view: &View<'_>, found: &mut Bits) {
        // Of these the longer value contains the other, and with it every literal in it.
        let longest = match field {
            Field::Uri if !view.uri.is_empty() => Some(view.uri),
            Field::Query => view.path_and_query(),
            _ => None,
        };
        if let Some(text) = longest {
            self.search(text, found);
            return;
        }
        let _ = view.any(field, &mut |value| {
            value.with_text(|bytes| self.search(bytes, found));
            false
        });
    }

    /// Adds the detections of the literals that are in a text.
    pub fn search(&self, bytes: &[u8], found: &mut Bits) {
        let dfa = &*self.automaton;
        let Ok(mut state) = dfa.start_state(Anchored::No) else {
            return;
        };
        for byte in bytes {
            state = dfa.next_state(Anchored::No, state, *byte);
            if !dfa.is_special(state) || !dfa.is_match(state) {
                continue;
            }
            for at in 0..dfa.match_len(state) {
                let pattern = dfa.match_pattern(state, at).as_usize();
                for number in self.of.get(pattern).into_iter().flatten() {
                    found[*number as usize / 64] |= 1 << (number % 64);
                }
            }
        }
    }
}

/// Adds one set to another.
pub fn merge(into: &mut Bits, other: &Bits) {
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
fn line_of(field: &Field) -> Option<(bool, &str)> {
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
