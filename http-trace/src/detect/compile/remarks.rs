//! What there is to say of a detection section as it is written: whether it names fields, which of
//! them no event has, and what is hardly meant. Compiles nothing and refuses nothing.

use rsigma_parser::{ConditionExpr, Detection, Detections};

use super::Refused;
use super::names::field;
use super::selections::selects;

/// Whether any selection asks for a field.
pub(in crate::detect) fn has_field(detections: &Detections) -> bool {
    fn of(detection: &Detection) -> bool {
        match detection {
            Detection::AllOf(items) => items.iter().any(|item| item.field.name.is_some()),
            Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().any(of),
            _ => false,
        }
    }
    detections.named.values().any(of)
}

/// What loads and is hardly meant: selections that no condition takes in, fields without a value.
///
/// A name that begins with an underscore says that its selection is left out (of `them`, Sigma 2.0
/// appendix): of such a one, a YAML anchor's home or something put aside, no condition need know.
pub(in crate::detect) fn oddities(detections: &Detections) -> Vec<Refused> {
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
    fn empty(detection: &Detection, out: &mut Vec<Refused>) {
        match detection {
            Detection::AllOf(items) => {
                for item in items.iter().filter(|item| item.values.is_empty()) {
                    let name = item.field.name.as_deref().unwrap_or_default();
                    let why = format!("'{name}' has no value, so no event matches it");
                    out.push(Refused::new(name, why));
                }
            }
            Detection::AnyOf(parts) | Detection::And(parts) => {
                parts.iter().for_each(|part| empty(part, out));
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
        empty(detection, &mut out);
    }
    out.sort_by(|a, b| a.at.cmp(&b.at));
    out
}

/// Every field of a detection section that no event has.
pub(in crate::detect) fn unknown_fields(detections: &Detections) -> Vec<Refused> {
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
