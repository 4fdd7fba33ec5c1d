//! Warns about items that load but are probably mistakes: fields without a value, impossible
//! statuses. Rejects nothing.

use std::ops::RangeInclusive;

use rsigma_parser::{DetectionItem, Modifier, SigmaValue};

use crate::field::Field;
use crate::rules::diagnose::Finding;

/// Three digits, the first not zero: a status line with another status makes no event.
const STATUSES: RangeInclusive<f64> = 100.0..=999.0;

/// Warnings about an item.
pub(super) fn item(item: &DetectionItem) -> Vec<Finding> {
    let name = item.field.name.as_deref().unwrap_or_default();
    if item.values.is_empty() {
        let why = format!("'{name}' has no value, so it never matches");
        return vec![Finding::warning(name, why)];
    }
    if Field::named(name) != Some(Field::Status) {
        return Vec::new();
    }
    let modifiers = &item.field.modifiers;
    let values = item.values.iter();
    let findings = values.filter_map(|value| no_status(name, modifiers, value));
    findings.collect()
}

/// A warning if no status can match the value.
fn no_status(name: &str, modifiers: &[Modifier], value: &SigmaValue) -> Option<Finding> {
    let number = match value {
        SigmaValue::Integer(n) => *n as f64,
        SigmaValue::Float(n) => *n,
        SigmaValue::String(text) => text.as_plain()?.parse().ok()?,
        _ => return None,
    };
    let (least, most) = (*STATUSES.start(), *STATUSES.end());
    let (exists, asked) = match modifiers {
        [] | [Modifier::Neq] => (STATUSES.contains(&number) && number.fract() == 0.0, ""),
        [Modifier::Gt] => (number < most, "above "),
        [Modifier::Gte] => (number <= most, "from "),
        [Modifier::Lt] => (number > least, "below "),
        [Modifier::Lte] => (number >= least, "up to "),
        _ => return None,
    };
    let why = format!("status {asked}{value} is out of range: want {least} to {most}");
    (!exists).then(|| Finding::warning(name, why).of_value(value.to_string()))
}
