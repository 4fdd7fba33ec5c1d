//! Conditions over the fields of an event, as data. Created by [`crate::rules`], evaluated by
//! [`crate::matcher`].

use std::fmt;

use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::field::Field;

#[derive(Clone, Debug)]
pub enum Expr {
    /// Always true or always false.
    Constant(bool),
    /// All parts hold.
    All(Box<[Expr]>),
    /// At least this many parts hold.
    AtLeast(usize, Box<[Expr]>),
    /// The part does not hold.
    Not(Box<Expr>),
    Item(Field, Test),
    /// A text anywhere in the event.
    Keyword(TextTest),
}

/// A test of a field's value. An absent field passes only [`Test::Absent`] and [`Test::Missing`].
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The event has the field.
    Present,
    /// The event lacks the field, or it is empty.
    Absent,
    /// The event lacks the field.
    Missing,
    Text(TextTest),
    /// A numeric comparison with the value.
    Number(Comparison, f64),
    /// The value is an address in one of these networks.
    Networks(Box<[IpNet]>),
    /// A relation to another field of the event.
    SameAs(Field, Relation),
}

/// Relation of a field's value to another's. For text, `true` means case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same text.
    Equals(bool),
    Starts(bool),
    Ends(bool),
    Contains(bool),
    Number(Comparison),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Comparison {
    pub fn holds<T: PartialOrd>(self, left: T, right: T) -> bool {
        match self {
            Comparison::Eq => left == right,
            Comparison::Ne => left != right,
            Comparison::Gt => left > right,
            Comparison::Gte => left >= right,
            Comparison::Lt => left < right,
            Comparison::Lte => left <= right,
        }
    }
}

/// A test of text. Literals with `fold` set are in lower case.
#[derive(Clone, Debug, PartialEq)]
pub enum TextTest {
    Equals(Literal),
    Starts(Literal),
    Ends(Literal),
    Contains(Literal),
    /// Any of these tests passes.
    AnyOf(Box<[TextTest]>),
    /// A regular expression, unanchored, or the form of a text with wildcards.
    Regex(Pattern),
}

/// Bytes to search for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// In lower case if `fold`.
    pub bytes: Box<[u8]>,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
}

/// Maximum compiled size of a regular expression, in bytes.
pub const PATTERN_BYTES: usize = 1 << 20;

/// An expression whose [`size`] is below this compiles to less than [`PATTERN_BYTES`].
const SMALL: usize = 2000;

/// Maximum number of literals that stand for a regular expression.
const MOST_LITERALS: usize = 64;

/// A regular expression. It is compiled on first use, unless it might exceed the size limit: most are never
/// used, and compiling all of them would dominate start-up time. Copies share the compiled form.
#[derive(Clone)]
pub struct Pattern {
    text: Arc<str>,
    literals: Arc<[Vec<u8>]>,
    shortest: usize,
    compiled: Arc<OnceLock<Option<Regex>>>,
}

impl Pattern {
    /// Parses a pattern, including its flags.
    ///
    /// # Errors
    /// Invalid syntax, or a compiled size above [`PATTERN_BYTES`].
    pub fn new(text: String) -> Result<Self, regex::Error> {
        let mut parser = regex_syntax::ParserBuilder::new();
        let parsed = parser.unicode(false).utf8(false).build().parse(&text);
        let parsed = parsed.map_err(|error| regex::Error::Syntax(error.to_string()))?;
        let literals = required(&parsed).unwrap_or_default().into();
        let shortest = parsed.properties().minimum_len().unwrap_or_default();
        let pattern = Pattern { text: text.into(), literals, shortest, compiled: Arc::default() };
        if size(&parsed) >= SMALL {
            let compiled = Some(pattern.compile()?);
            pattern.compiled.get_or_init(|| compiled);
        }
        Ok(pattern)
    }

    /// Whether the expression matches anywhere in a text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        if text.len() < self.shortest {
            return false;
        }
        let compiled = self.compiled.get_or_init(|| self.compile().ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// Lower-case literals of which every text that matches contains at least one, in some case; empty if none are
    /// known.
    pub fn literals(&self) -> &[Vec<u8>] {
        &self.literals
    }

    /// No text shorter than this matches.
    pub const fn shortest(&self) -> usize {
        self.shortest
    }

    fn compile(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.text)
            .unicode(false)
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES)
            .build()
    }
}

/// Lower-case literals of which every match contains at least one; `None` if there are none, or too many.
fn required(of: &Hir) -> Option<Vec<Vec<u8>>> {
    match of.kind() {
        HirKind::Capture(part) => required(&part.sub),
        HirKind::Repetition(part) if part.min > 0 => required(&part.sub),
        HirKind::Alternation(parts) => {
            let all = parts.iter().map(required).collect::<Option<Vec<_>>>()?.concat();
            (all.len() <= MOST_LITERALS).then_some(all)
        }
        HirKind::Concat(parts) => {
            // Neighbours that stand for one text each are one literal.
            let (mut best, mut run) = (None, Vec::new());
            for part in parts {
                match one_text(part) {
                    Some(text) => run.extend(text),
                    None => {
                        let run = (!run.is_empty()).then(|| vec![std::mem::take(&mut run)]);
                        best = [best, run, required(part)].into_iter().max_by_key(shortest)?;
                    }
                }
            }
            let run = (!run.is_empty()).then(|| vec![run]);
            [best, run].into_iter().max_by_key(shortest)?
        }
        _ => one_text(of).filter(|text| !text.is_empty()).map(|text| vec![text]),
    }
}

/// The length of the shortest of these literals.
fn shortest(literals: &Option<Vec<Vec<u8>>>) -> Option<usize> {
    literals.as_ref()?.iter().map(Vec::len).min()
}

/// The only text that an expression matches, in lower case, apart from its case.
fn one_text(of: &Hir) -> Option<Vec<u8>> {
    match of.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(Vec::new()),
        HirKind::Literal(literal) => Some(literal.0.to_ascii_lowercase()),
        HirKind::Class(Class::Bytes(class)) => {
            let mut letters = class.ranges().iter().flat_map(|range| range.start()..=range.end());
            let first = letters.next()?.to_ascii_lowercase();
            letters.all(|letter| letter.to_ascii_lowercase() == first).then(|| vec![first])
        }
        _ => None,
    }
}

/// Number of byte positions in an expression, over all alternatives and repetitions.
fn size(of: &Hir) -> usize {
    let all = |parts: &[Hir]| parts.iter().map(size).fold(1, usize::saturating_add);
    match of.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Class(Class::Bytes(class)) => class.ranges().len(),
        HirKind::Class(Class::Unicode(_)) => SMALL,
        HirKind::Repetition(part) => {
            let times = part.max.unwrap_or(part.min).max(1);
            size(&part.sub).saturating_mul(times as usize)
        }
        HirKind::Capture(part) => size(&part.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => all(parts),
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Pattern {
    /// Only the text: [`crate::fingerprint`] is computed from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_the_literals_that_it_cannot_match_without() {
        for (text, expected) in [
            ("a[bc]+def", &["def"][..]),
            ("(?i)Ab(?:c|D)?e", &["ab"]),
            (r"(?i)\b(?:one|two\w*)=", &["one", "two"]),
            (r"\$\{[a-z]{1,12}\$\{", &["${"]),
            ("(?:ab)+x{2,}", &["ab"]),
            ("x|[0-9]", &[]),
            ("(?:abc)?", &[]),
            ("^$", &[]),
        ] {
            let pattern = Pattern::new(text.to_owned()).expect(text);
            let literals: Vec<_> =
                pattern.literals().iter().map(|l| l.escape_ascii().to_string()).collect();
            assert_eq!(literals, expected, "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_nothing_shorter_than_it_says() {
        for (text, shortest) in [
            ("^.{2000}", 2000),
            ("(?:ab|c)+d?", 1),
            ("(?i)^(?:[a-z]+=[^&]*&){99}", 297),
            ("(?u)^é$", 2),
            ("[a&&b]", 0),
            ("$", 0),
        ] {
            let pattern = Pattern::new(text.to_owned()).expect(text);
            assert_eq!(pattern.shortest(), shortest, "{text}");
        }
    }

    #[test]
    fn what_is_compiled_late_compiles() {
        for text in [
            "a{2000}", "(?i)[a-z]{900}", "(?:(?:a|[b-d]){30}){60}", "(?i)(?:aa|bb|cc){300}",
            "(?s).{1990}",
        ] {
            let pattern = Pattern::new(text.to_owned()).expect(text);
            assert!(pattern.compile().is_ok(), "{text}");
        }
        for text in ["(?:a{1000}){1000}", "[a-z]{100000}", "("] {
            assert!(Pattern::new(text.to_owned()).is_err(), "{text}");
        }
    }
}
