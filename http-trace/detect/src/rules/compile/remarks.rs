//! What there is to say of a detection section as it is written: whether it names fields, which of
//! them no event has, and what is hardly meant. Compiles nothing and refuses nothing.

use std::ops::RangeInclusive;

use rsigma_parser::{ConditionExpr, Detection, DetectionItem, Detections, Modifier, SigmaValue};

use super::Refused;
use super::names::field;
use super::selections::selects;
use crate::field::Field;

/// Three digits, of which the first is no zero: what is no such status line makes no event.
const STATUSES: RangeInclusive<f64> = 100.0..=999.0;

/// Whether any selection asks for a field.
pub(crate) fn has_field(detections: &Detections) -> bool {
    fn of(detection: &Detection) -> bool {
        match detection {
            Detection::AllOf(items) => items.iter().any(|item| item.field.name.is_some()),
            Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().any(of),
            _ => false,
        }
    }
    detections.named.values().any(of)
}

/// What loads and is hardly meant: selections that no condition takes in, fields without a value,
/// statuses that no response has.
///
/// A name that begins with an underscore says that its selection is left out (of `them`, Sigma 2.0
/// appendix): of such a one, a YAML anchor's home or something put aside, no condition need know.
pub(crate) fn oddities(detections: &Detections) -> Vec<Refused> {
    fn takes(expr: &ConditionExpr, name: &str) -> bool {
        match expr {
            ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
                parts.iter().any(|part| takes(part, name))
            }
            ConditionExpr::Not(part) => takes(part, name),
            ConditionExpr::Identifier(of) => of == name,
            ConditionExpr::Selector { pattern, .. } => selects(pattern, name),
        }
    }
    fn of_items(detection: &Detection, out: &mut Vec<Refused>) {
        match detection {
            Detection::AllOf(items) => {
                for item in items {
                    let name = item.field.name.as_deref().unwrap_or_default();
                    if item.values.is_empty() {
                        let why = format!("'{name}' has no value, so no event matches it");
                        out.push(Refused::new(name, why));
                    }
                    if matches!(field(name), Ok(Field::Status)) {
                        let values = item.values.iter();
                        out.extend(values.filter_map(|value| no_status(name, item, value)));
                    }
                }
            }
            Detection::AnyOf(parts) | Detection::And(parts) => {
                parts.iter().for_each(|part| of_items(part, out));
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    for (name, detection) in &detections.named {
        if !detections.conditions.iter().any(|expr| takes(expr, name)) {
            if name.starts_with('_') {
                continue;
            }
            let why = format!("the condition does not use '{name}'");
            out.push(Refused::new(name, why));
        }
        of_items(detection, &mut out);
    }
    out.sort_by(|a, b| a.at.cmp(&b.at));
    out
}

/// Says that no status is what a value asks for, if that is so.
fn no_status(name: &str, item: &DetectionItem, value: &SigmaValue) -> Option<Refused> {
    let number = match value {
        SigmaValue::Integer(n) => *n as f64,
        SigmaValue::Float(n) => *n,
        SigmaValue::String(text) => text.as_plain()?.parse().ok()?,
        _ => return None,
    };
    let (least, most) = (*STATUSES.start(), *STATUSES.end());
    let (there_is, asked) = match item.field.modifiers[..] {
        [] | [Modifier::Neq] => (STATUSES.contains(&number) && number.fract() == 0.0, ""),
        [Modifier::Gt] => (number < most, "above "),
        [Modifier::Gte] => (number <= most, "from "),
        [Modifier::Lt] => (number > least, "below "),
        [Modifier::Lte] => (number >= least, "up to "),
        _ => return None,
    };
    let why = format!("there is no status {asked}{value}: they are {least} to {most}");
    (!there_is).then(|| Refused::new(name, why).of_value(value.to_string()))
}

/// Every field of a detection section that no event has.
pub(crate) fn unknown_fields(detections: &Detections) -> Vec<Refused> {
    fn of(detection: &Detection, out: &mut Vec<Refused>) {
        match detection {
            Detection::AllOf(items) => {
                let names = items.iter().filter_map(|item| item.field.name.as_deref());
                out.extend(names.filter_map(|name| field(name).err()));
            }
            Detection::AnyOf(parts) | Detection::And(parts) => {
                parts.iter().for_each(|part| of(part, out));
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    detections.named.values().for_each(|one| of(one, &mut out));
    out.sort_by(|a, b| a.at.cmp(&b.at));
    out.dedup();
    out
}
