//! The field table: one entry for each field of an event, a loss or an alert, with its type, its
//! meaning, where on the wire it comes from, how to get it, how to read it back from JSON, and the
//! names under which rules may use it. The JSON writer, the JSON Schema, the reader of our own JSON,
//! the rule fields and `docs/FIELDS.md` are made from it. Formats nothing and performs no I/O.
//!
//! # Layout
//! - [`event`] is the table of events, [`derived`] that of fields which only rules see, [`loss`] that
//!   of losses. Alerts have theirs beside the JSON writer, since they are made by detection.
//! - [`draft`] is an event while it is read back.
//! - `value` and `entry` are what the tables are made of.
//!
//! To add a field: give it a member in [`HttpEvent`] and an entry in the table.

mod attribution;
pub mod derived;
pub mod draft;
mod entry;
pub mod event;
pub mod loss;
mod own;
mod value;

pub use attribution::{End, RUNTIMES, end_of};
pub use entry::{Field, Get, Read, View};
pub use value::{About, Kind, Value};

use crate::event::HttpEvent;

/// A field that rules may use. Two are equal if their names are.
#[derive(Clone, Copy, Debug)]
pub struct RuleField(&'static Field<HttpEvent>);

impl RuleField {
    /// The field of a name that rules use, in lower case.
    pub fn named(name: &str) -> Option<RuleField> {
        let mut fields = rule_fields();
        fields.find(|field| field.about().rules.contains(&name))
    }

    /// What is known of it without an event.
    pub const fn about(self) -> &'static About {
        &self.0.about
    }

    /// Its value; `None` also where detection computes it.
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
        for field in event::EVENT
            .iter()
            .copied()
            .flatten()
            .chain(derived::DERIVED)
        {
            assert!(names.insert(field.about.name), "{}", field.about.name);
            for name in field.about.rules {
                assert!(rules.insert(*name), "{name}");
                assert_eq!(
                    *name,
                    name.to_ascii_lowercase(),
                    "rules compare without case"
                );
            }
        }
    }
}
