//! Conditions over the fields of an event, as data: made by [`crate::rules`], evaluated by
//! [`crate::matcher`]. Knows no event and evaluates nothing.

use std::fmt;

use aho_corasick::AhoCorasick;
use ipnet::IpNet;
use regex::bytes::Regex;

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
#[derive(Debug)]
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
    /// One of these numbers.
    Numbers(Box<[u64]>),
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
#[derive(Debug)]
pub enum TextTest {
    /// All of it.
    Equals(Literal),
    /// Its beginning.
    Starts(Literal),
    /// Its end.
    Ends(Literal),
    /// A part of it.
    Contains(Literal),
    /// One of many parts.
    ContainsAny(Box<Many>),
    /// Any of these.
    AnyOf(Box<[TextTest]>),
    /// Literals between wildcards.
    Glob(Glob),
    /// A regular expression, found anywhere.
    Regex(Box<Regex>),
}

/// Bytes to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// In lower case if `fold`.
    pub bytes: Box<[u8]>,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
}

/// Many texts, looked for at once.
pub struct Many {
    /// Finds them.
    pub automaton: AhoCorasick,
    /// The texts.
    pub texts: Vec<String>,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
}

impl fmt::Debug for Many {
    /// What is looked for, not how: [`crate::fingerprint`] is made of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many")
            .field("texts", &self.texts)
            .field("fold", &self.fold)
            .finish()
    }
}

/// A pattern with `*` (anything) and `?` (one byte).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// What is between the asterisks; `None` in a part is `?`.
    pub parts: Box<[Box<[Option<u8>]>]>,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
}
