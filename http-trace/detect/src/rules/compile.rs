//! From a parsed Sigma detection to a condition over typed fields. Refuses what it cannot say
//! exactly, with a reason; performs no I/O.
//!
//! # Layout
//! - `selections`: the selections of a rule, and its conditions over them.
//! - `item`: a field and its values; `names`: which field that is; `modifiers`: what is asked of it.
//! - `value`: one value; `texts`: the texts that it stands for, `expression`: one that is a regular
//!   expression, `relation`: one that names another field.
//! - `keywords`: texts that are looked for anywhere.
//! - `connectives`: conditions put together; `as_sent`: what they ask of URLs, at last.
//! - `remarks`: what there is to say of a detection that is not compiled.

mod as_sent;
mod connectives;
mod expression;
mod item;
mod keywords;
mod modifiers;
mod names;
mod relation;
mod remarks;
mod selections;
mod texts;
mod value;

pub(super) use self::connectives::all;
pub(super) use self::names::field;
pub(super) use self::remarks::{has_field, oddities, unknown_fields};
pub(super) use self::selections::detections;

/// Why a detection is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// What in the text of the rule it is about.
    pub at: String,
    /// The reason, and what would be right.
    pub why: String,
    /// The value that it is about, if it is one: its place is more exact.
    pub value: Option<String>,
}

impl Refused {
    /// Of something in the text of the rule.
    pub(super) fn new(at: &str, why: impl Into<String>) -> Self {
        Refused {
            at: at.to_owned(),
            why: why.into(),
            value: None,
        }
    }

    fn of_value(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }
}
