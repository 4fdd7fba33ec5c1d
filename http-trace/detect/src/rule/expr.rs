//! Conditions over the fields of an event, as data: made by [`crate::rules`], evaluated by
//! [`crate::matcher`]. Knows no event and evaluates nothing.

use std::fmt;

use std::sync::OnceLock;

use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::field::Field;

/// A condition.
#[derive(Debug)]
pub enum Expr {
    /// Always or never.
    Constant(bool),
    /// Each of them.
    All(Box<[Expr]>),
    /// At least so many of them.
    AtLeast(usize, Box<[Expr]>),
    /// Not this.
    Not(Box<Expr>),
    /// One test of one field.
    Item(Field, Test),
    /// A text anywhere in the event.
    Keyword(TextTest),
}

/// What is asked of a field's value. A field that is absent passes only [`Test::Absent`].
#[derive(Debug, PartialEq)]
pub enum Test {
    /// The event has the field.
    Present,
    /// The event does not have the field, or it is empty.
    Absent,
    /// The event does not have the field.
    Missing,
    /// Text, as it is or as the value is written.
    Text(TextTest),
    /// A number compared with the field's.
    Number(Comparison, f64),
    /// An address in one of these networks.
    Networks(Box<[IpNet]>),
    /// In a relation to another field of the event.
    SameAs(Field, Relation),
}

/// What a field's value is to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same text; `true`: in the same case.
    Equals(bool),
    /// Begins with it.
    Starts(bool),
    /// Ends with it.
    Ends(bool),
    /// Has it in it.
    Contains(bool),
    /// A number that compares so with the other.
    Number(Comparison),
}

/// How numbers compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `≠`
    Ne,
    /// `>`
    Gt,
    /// `≥`
    Gte,
    /// `<`
    Lt,
    /// `≤`
    Lte,
}

impl Comparison {
    /// Whether `left` compares so with `right`.
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

/// What is asked of a text. Literals are in lower case where `fold` is set.
#[derive(Debug, PartialEq)]
pub enum TextTest {
    /// All of it.
    Equals(Literal),
    /// Its beginning.
    Starts(Literal),
    /// Its end.
    Ends(Literal),
    /// A part of it.
    Contains(Literal),
    /// Any of these.
    AnyOf(Box<[TextTest]>),
    /// Literals between wildcards.
    Glob(Glob),
    /// A regular expression, found anywhere.
    Regex(Pattern),
}

/// Bytes to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// In lower case if `fold`.
    pub bytes: Box<[u8]>,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
}

/// A pattern with `*` (anything) and `?` (one byte).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// What is between the asterisks; `None` in a part is `?`.
    pub parts: Box<[Box<[Option<u8>]>]>,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
}

/// The most memory that one regular expression may compile to, in bytes.
pub const PATTERN_BYTES: usize = 1 << 20;

/// An expression that asks for fewer bytes of a text compiles to less than [`PATTERN_BYTES`].
const SMALL: usize = 2000;

/// A regular expression. It is compiled when it is first asked, unless it may take too much memory: most are
/// never, and to compile them all is most of what the start takes.
pub struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// Of a text, with its flags in it.
    ///
    /// # Errors
    /// Text that is no expression, or takes too much memory.
    pub fn new(text: String) -> Result<Self, regex::Error> {
        let mut parser = regex_syntax::ParserBuilder::new();
        let parsed = parser.unicode(false).utf8(false).build().parse(&text);
        let parsed = parsed.map_err(|error| regex::Error::Syntax(error.to_string()))?;
        let pattern = Pattern {
            text: text.into(),
            compiled: OnceLock::new(),
        };
        if size(&parsed) >= SMALL {
            let compiled = Some(pattern.compile()?);
            pattern.compiled.get_or_init(|| compiled);
        }
        Ok(pattern)
    }

    /// Whether it is found in a text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let compiled = self.compiled.get_or_init(|| self.compile().ok());
        compiled.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    fn compile(&self) -> Result<Regex, regex::Error> {
        RegexBuilder::new(&self.text)
            .unicode(false)
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES)
            .build()
    }
}

/// How many bytes of a text an expression asks for, in all its alternatives and repetitions.
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
    /// The text alone: [`crate::fingerprint`] is made of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_late_compiles() {
        for text in [
            "a{2000}",
            "(?i)[a-z]{900}",
            "(?:(?:a|[b-d]){30}){60}",
            "(?i)(?:aa|bb|cc){300}",
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
