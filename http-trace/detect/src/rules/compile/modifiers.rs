//! What a field's modifiers ask for, and which of them go together. Never looks at a value.

use rsigma_parser::{DetectionItem, Modifier};

use super::Refused;
use crate::field::Field;
use crate::rule::expr::{Comparison, Expr, Test};

/// Where in a text a value has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    Start,
    End,
    Within,
}

/// What a field's modifiers ask for.
#[derive(Clone)]
pub(super) struct Modifiers {
    pub place: Place,
    pub all: bool,
    pub fold: bool,
    pub exists: bool,
    pub regex: bool,
    pub regex_flags: (bool, bool, bool),
    pub networks: bool,
    pub same_as: bool,
    pub comparison: Option<Comparison>,
    pub windash: bool,
    pub encodings: Vec<Modifier>,
}

/// The modifiers of an item.
///
/// # Errors
/// Those that mean nothing here, and those that do not go together.
pub(super) fn modifiers(item: &DetectionItem, name: &str) -> Result<Modifiers, Refused> {
    let mut m = Modifiers {
        place: Place::Whole,
        all: false,
        fold: true,
        exists: false,
        regex: false,
        regex_flags: (false, false, false),
        networks: false,
        same_as: false,
        comparison: None,
        windash: false,
        encodings: Vec::new(),
    };
    let two = |what: &str| {
        let why = format!("'{name}' has more than one {what}: leave one, or write two selections");
        Refused::new(name, why)
    };
    for modifier in &item.field.modifiers {
        let place = match modifier {
            Modifier::Contains => Place::Within,
            Modifier::StartsWith => Place::Start,
            Modifier::EndsWith => Place::End,
            _ => Place::Whole,
        };
        if place != Place::Whole {
            if m.place != Place::Whole && m.place != place {
                return Err(two("of |contains, |startswith and |endswith"));
            }
            m.place = place;
        }
        let comparison = match modifier {
            Modifier::Gt => Some(Comparison::Gt),
            Modifier::Gte => Some(Comparison::Gte),
            Modifier::Lt => Some(Comparison::Lt),
            Modifier::Lte => Some(Comparison::Lte),
            Modifier::Neq => Some(Comparison::Ne),
            _ => None,
        };
        if comparison.is_some() {
            if m.comparison.is_some() && m.comparison != comparison {
                return Err(two("comparison"));
            }
            m.comparison = comparison;
        }
        match modifier {
            Modifier::Contains
            | Modifier::StartsWith
            | Modifier::EndsWith
            | Modifier::Gt
            | Modifier::Gte
            | Modifier::Lt
            | Modifier::Lte
            | Modifier::Neq => {}
            Modifier::All => m.all = true,
            Modifier::Cased => m.fold = false,
            Modifier::Exists => m.exists = true,
            Modifier::Re => m.regex = true,
            Modifier::IgnoreCase => m.regex_flags.0 = true,
            Modifier::Multiline => m.regex_flags.1 = true,
            Modifier::DotAll => m.regex_flags.2 = true,
            Modifier::Cidr => m.networks = true,
            Modifier::FieldRef => m.same_as = true,
            Modifier::WindAsh => m.windash = true,
            Modifier::Base64
            | Modifier::Base64Offset
            | Modifier::Wide
            | Modifier::Utf16
            | Modifier::Utf16be => m.encodings.push(*modifier),
            Modifier::Expand => {
                return Err(Refused::new(
                    name,
                    "|expand needs a placeholder's values, which there are none of: write the values out",
                ));
            }
            Modifier::Minute
            | Modifier::Hour
            | Modifier::Day
            | Modifier::Week
            | Modifier::Month
            | Modifier::Year => {
                return Err(Refused::new(name, "no field of an event is a date"));
            }
        }
    }
    m.go_together(name)?;
    Ok(m)
}

impl Modifiers {
    /// Refuses modifiers of which one would be passed over.
    fn go_together(&self, name: &str) -> Result<(), Refused> {
        let is_order = self.comparison.is_some_and(|c| c != Comparison::Ne);
        let given = [
            ("|exists", self.exists),
            ("|cidr", self.networks),
            ("|fieldref", self.same_as),
            ("|re", self.regex),
            ("|gt, |gte, |lt or |lte", is_order),
            (
                "|contains, |startswith or |endswith",
                self.place != Place::Whole,
            ),
            ("an encoding", !self.encodings.is_empty()),
            ("|windash", self.windash),
            ("|neq", self.comparison == Some(Comparison::Ne)),
        ];
        let may = |a: &str, b: &str| {
            matches!(
                (a, b),
                (
                    "|fieldref",
                    "|gt, |gte, |lt or |lte" | "|contains, |startswith or |endswith"
                ) | ("|re", "|contains, |startswith or |endswith")
                    | (
                        "|contains, |startswith or |endswith",
                        "an encoding" | "|windash"
                    )
                    | ("an encoding", "|windash")
            ) || b == "|neq" && a != "|exists"
        };
        let given: Vec<&str> = given.iter().filter(|g| g.1).map(|g| g.0).collect();
        for (at, one) in given.iter().enumerate() {
            if let Some(other) = given[at + 1..].iter().find(|other| !may(one, other)) {
                let why =
                    format!("'{name}': {one} and {other} do not go together; leave one of them");
                return Err(Refused::new(name, why));
            }
        }
        Ok(())
    }

    /// With `|neq` the field is there and the condition does not hold; else the condition holds.
    pub(super) fn unless(&self, field: &Field, condition: Expr) -> Expr {
        match self.comparison {
            Some(Comparison::Ne) => Expr::All(
                [
                    Expr::Item(field.clone(), Test::Present),
                    Expr::Not(Box::new(condition)),
                ]
                .into(),
            ),
            _ => condition,
        }
    }
}
