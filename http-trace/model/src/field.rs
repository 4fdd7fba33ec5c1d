//! The field table: one entry per field of an event, a loss or an alert, with its type, meaning, source on
//! the wire, getter, reader (from JSON) and rule names. The JSON writer, the JSON Schema, the reader of our
//! own JSON, the rule fields and `docs/FIELDS.md` are generated from it. Formats nothing and performs no I/O.
//!
//! # Layout
//! - [`event`] is the table of event fields, [`derived`] of fields that only rules see, [`loss`] of loss
//!   fields. The table of alert fields is next to the JSON writer, because detection creates alerts.
//! - [`draft`] is an event while it is being read back.
//! - `value` and `entry` define the types of the tables.
//!
//! To add a field: add a member to [`HttpEvent`] and an entry to the table.

mod attribution;
pub mod derived;
pub mod draft;
mod entry;
pub mod event;
pub mod loss;
mod own;
mod value;

pub use attribution::{End, RUNTIMES, end_of};
pub use entry::{Field, Get, Read, View, always, field};
pub use value::{About, Kind, Value};

use crate::event::HttpEvent;

/// An entry of a field that has the same text in all records: `constant!(name, text)`.
#[macro_export]
macro_rules! constant {
    ($name:literal, $text:literal) => {
        $crate::field::Field::new($crate::field::About::new(
            $name,
            $crate::field::Kind::Constant($text),
            "constant",
            "",
        ))
        .always()
        .get(|_| Some($crate::field::Value::word($text)))
    };
}

/// A field that rules may use. Fields are equal if their names are.
#[derive(Clone, Copy)]
pub struct RuleField(&'static Field<HttpEvent>);

impl std::fmt::Debug for RuleField {
    /// Only the name: saved states are compared by the text of rules, and addresses of functions differ between runs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.about().name.fmt(f)
    }
}

impl RuleField {
    /// Looks up a field by one of its rule names, in lower case.
    pub fn named(name: &str) -> Option<RuleField> {
        let mut fields = rule_fields();
        fields.find(|field| field.about().rules.contains(&name))
    }

    pub const fn about(self) -> &'static About {
        &self.0.about
    }

    /// Its value; `None` also if detection computes it.
    pub fn of<'a>(self, view: &View<'a, HttpEvent>) -> Option<Value<'a>> {
        self.0.get?(view)
    }
}

impl PartialEq for RuleField {
    fn eq(&self, other: &Self) -> bool {
        self.about().name == other.about().name
    }
}

impl Eq for RuleField {}

impl std::hash::Hash for RuleField {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.about().name.hash(state);
    }
}

/// The fields that rules may use.
pub fn rule_fields() -> impl Iterator<Item = RuleField> {
    let all = event::EVENT.iter().copied().flatten();
    let all = all.chain(derived::DERIVED).map(RuleField);
    all.filter(|field| !field.about().rules.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let (mut names, mut rules) = (HashSet::new(), HashSet::new());
        for field in event::EVENT.iter().copied().flatten().chain(derived::DERIVED) {
            assert!(names.insert(field.about.name), "{}", field.about.name);
            for name in field.about.rules {
                assert!(rules.insert(*name), "{name}");
                assert_eq!(*name, name.to_ascii_lowercase(), "rules compare without case");
            }
        }
    }
}
