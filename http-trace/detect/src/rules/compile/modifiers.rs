//! Parses the modifiers of a field, and checks their combinations. Does not look at values.

use rsigma_parser::{DetectionItem, Modifier as M};

use crate::field::Field;
use crate::rule::expr::{Comparison, Expr, Test};
use crate::rules::diagnose::Finding;

/// Where in a text the value must be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Start,
    End,
    Within,
}

/// How a value is compared with a field. `|re` and `|fieldref` also take a part, `|fieldref` also an order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Text,
    /// `|gt`, `|gte`, `|lt` and `|lte`.
    Order(Comparison),
    Regex,
    Exists,
    Networks,
    /// `|fieldref`, with an order if given.
    OtherField(Option<Comparison>),
}

/// The parsed modifiers of a field.
pub(super) struct Modifiers {
    pub operation: Operation,
    pub part: Part,
    /// `|neq`.
    pub negated: bool,
    pub all: bool,
    /// Whether ASCII letters match in either case.
    pub fold: bool,
    /// Flags of a regular expression, such as `(?i)`.
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

/// Groups of modifiers, and the later groups that each may be combined with.
const GROUPS: &[(&str, &[M], &[&str])] = &[
    ("|exists", &[M::Exists], &[]),
    ("|cidr", &[M::Cidr], &["|neq"]),
    ("|fieldref", &[M::FieldRef], &["|gt, |gte, |lt or |lte", PART, "|neq"]),
    ("|re", &[M::Re], &[PART, "|neq"]),
    ("|gt, |gte, |lt or |lte", ORDERS, &[]),
    (PART, PARTS, &[ENCODING, "|windash", "|neq"]),
    (ENCODING, ENCODINGS, &["|windash", "|neq"]),
    ("|windash", &[M::WindAsh], &["|neq"]),
    ("|neq", &[M::Neq], &[]),
];

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
                "'{name}' has more than one {what}: keep one, or write two selections"
            ))),
        }
    };
    if has(M::Expand) {
        let why = "|expand is not supported: there are no placeholder values; write the values out";
        return Err(error(why.to_owned()));
    }
    if has_any(DATES) {
        return Err(error("events have no date fields".to_owned()));
    }
    let part = only(PARTS, "of |contains, |startswith and |endswith")?;
    let comparison = only(COMPARISONS, "comparison")?;
    let mut groups = GROUPS.iter().filter(|group| has_any(group.1));
    while let Some((one, _, others)) = groups.next() {
        let mut later = groups.clone().map(|group| group.0);
        if let Some(other) = later.find(|other| !others.contains(other)) {
            let why = format!("'{name}': {one} and {other} cannot be combined; keep one of them");
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
    let flags = [(M::IgnoreCase, "(?i)"), (M::Multiline, "(?m)"), (M::DotAll, "(?s)")];
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
        regex_flags: flags.iter().filter(|flag| has(flag.0)).map(|flag| flag.1).collect(),
        windash: has(M::WindAsh),
        encodings: given.iter().copied().filter(|of| ENCODINGS.contains(of)).collect(),
    })
}

impl Modifiers {
    /// Whether values are compared as written.
    pub fn is_plain(&self) -> bool {
        self.operation == Operation::Text && !self.windash && self.encodings.is_empty()
    }

    /// With `|neq`, the field must be present and the condition must not hold; otherwise it must hold.
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
