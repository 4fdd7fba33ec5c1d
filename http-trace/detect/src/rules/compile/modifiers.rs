//! What the modifiers of a field ask for, and which of them go together. Looks at no value.

use rsigma_parser::{DetectionItem, Modifier as M};

use crate::field::Field;
use crate::rule::expr::{Comparison, Expr, Test};
use crate::rules::diagnose::Finding;

/// Where in a text a value has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Start,
    End,
    Within,
}

/// How a value is compared with a field. `|re` and `|fieldref` also take a part, `|fieldref` an order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Text,
    /// `|gt` and the like.
    Order(Comparison),
    Regex,
    Exists,
    Networks,
    /// `|fieldref`, with `|gt` and the like if given.
    OtherField(Option<Comparison>),
}

/// What the modifiers of a field ask for.
pub(super) struct Modifiers {
    pub operation: Operation,
    pub part: Part,
    /// `|neq`.
    pub negated: bool,
    pub all: bool,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
    /// `(?i)` and the like, for a regular expression.
    pub regex_flags: String,
    pub windash: bool,
    pub encodings: Vec<M>,
}

const PART: &str = "|contains, |startswith or |endswith";
const ENCODING: &str = "an encoding";
const PARTS: &[M] = &[M::Contains, M::StartsWith, M::EndsWith];
const ORDERS: &[M] = &[M::Gt, M::Gte, M::Lt, M::Lte];
const COMPARISONS: &[M] = &[M::Gt, M::Gte, M::Lt, M::Lte, M::Neq];
const ENCODINGS: &[M] = &[M::Base64, M::Base64Offset, M::Wide, M::Utf16, M::Utf16be];
const DATES: &[M] = &[M::Minute, M::Hour, M::Day, M::Week, M::Month, M::Year];

/// Groups of modifiers, and the later groups that each goes together with.
const GROUPS: &[(&str, &[M], &[&str])] = &[
    ("|exists", &[M::Exists], &[]),
    ("|cidr", &[M::Cidr], &["|neq"]),
    (
        "|fieldref",
        &[M::FieldRef],
        &["|gt, |gte, |lt or |lte", PART, "|neq"],
    ),
    ("|re", &[M::Re], &[PART, "|neq"]),
    ("|gt, |gte, |lt or |lte", ORDERS, &[]),
    (PART, PARTS, &[ENCODING, "|windash", "|neq"]),
    (ENCODING, ENCODINGS, &["|windash", "|neq"]),
    ("|windash", &[M::WindAsh], &["|neq"]),
    ("|neq", &[M::Neq], &[]),
];

/// The modifiers of an item.
///
/// # Errors
/// Those that mean nothing here, and those that do not go together.
pub(super) fn modifiers(item: &DetectionItem, name: &str) -> Result<Modifiers, Finding> {
    let given = &item.field.modifiers;
    let has = |modifier| given.contains(&modifier);
    let has_any = |of: &[M]| of.iter().any(|modifier| has(*modifier));
    let error = |why: String| Finding::error(name, why);
    let only = |of: &[M], what| {
        let mut given = of.iter().copied().filter(|modifier| has(*modifier));
        match (given.next(), given.next()) {
            (one, None) => Ok(one),
            _ => Err(error(format!(
                "'{name}' has more than one {what}: leave one, or write two selections"
            ))),
        }
    };
    if has(M::Expand) {
        let why =
            "|expand needs a placeholder's values, which there are none of: write the values out";
        return Err(error(why.to_owned()));
    }
    if has_any(DATES) {
        return Err(error("no field of an event is a date".to_owned()));
    }
    let part = only(PARTS, "of |contains, |startswith and |endswith")?;
    let comparison = only(COMPARISONS, "comparison")?;
    let mut groups = GROUPS.iter().filter(|group| has_any(group.1));
    while let Some((one, _, others)) = groups.next() {
        let mut later = groups.clone().map(|group| group.0);
        if let Some(other) = later.find(|other| !others.contains(other)) {
            let why = format!("'{name}': {one} and {other} do not go together; leave one of them");
            return Err(error(why));
        }
    }
    let order = match comparison {
        Some(M::Gt) => Some(Comparison::Gt),
        Some(M::Gte) => Some(Comparison::Gte),
        Some(M::Lt) => Some(Comparison::Lt),
        Some(M::Lte) => Some(Comparison::Lte),
        _ => None,
    };
    let flags = [
        (M::IgnoreCase, "(?i)"),
        (M::Multiline, "(?m)"),
        (M::DotAll, "(?s)"),
    ];
    Ok(Modifiers {
        operation: if has(M::Exists) {
            Operation::Exists
        } else if has(M::Cidr) {
            Operation::Networks
        } else if has(M::FieldRef) {
            Operation::OtherField(order)
        } else if has(M::Re) {
            Operation::Regex
        } else {
            order.map_or(Operation::Text, Operation::Order)
        },
        part: match part {
            Some(M::Contains) => Part::Within,
            Some(M::StartsWith) => Part::Start,
            Some(M::EndsWith) => Part::End,
            _ => Part::Whole,
        },
        negated: has(M::Neq),
        all: has(M::All),
        fold: !has(M::Cased),
        regex_flags: flags
            .iter()
            .filter(|flag| has(flag.0))
            .map(|flag| flag.1)
            .collect(),
        windash: has(M::WindAsh),
        encodings: given
            .iter()
            .copied()
            .filter(|of| ENCODINGS.contains(of))
            .collect(),
    })
}

impl Modifiers {
    /// Whether values are compared as they are written.
    pub fn is_plain(&self) -> bool {
        self.operation == Operation::Text
            && !(self.negated || self.windash || !self.encodings.is_empty())
    }

    /// With `|neq` the field exists and the condition does not hold; else the condition holds.
    pub fn unless(&self, field: &Field, condition: Expr) -> Expr {
        match self.negated {
            true => {
                let exists = Expr::Item(field.clone(), Test::Present);
                Expr::All([exists, Expr::Not(Box::new(condition))].into())
            }
            false => condition,
        }
    }
}
