//! The selections of a rule and the conditions over them. What a selection asks of a field is up to
//! [`super::item`], what it asks of all texts to [`super::keywords`]: no values are looked at here.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use rsigma_parser::{ConditionExpr, Detection, Detections, Quantifier, SelectorPattern};

use super::Refused;
use super::as_sent::as_sent;
use super::connectives::{all, any, at_least};
use super::item::item;
use super::keywords::any_keyword;
use crate::rule::expr::Expr;

/// The most conditions within conditions: each is a call when an event is matched.
const DEEP: usize = 100;

/// Compiles the conditions of a detection section; several conditions are alternatives.
///
/// # Errors
/// Unknown fields, selections and modifiers that have no meaning here, values that do not fit.
pub(crate) fn detections(detections: &Detections) -> Result<Expr, Refused> {
    let mut names: Vec<&str> = detections.named.keys().map(String::as_str).collect();
    names.sort_unstable();
    let selections = Selections {
        detections: &detections.named,
        names,
        used: RefCell::default(),
    };
    let alternatives = detections
        .conditions
        .iter()
        .map(|expr| condition(expr, &selections, DEEP))
        .collect::<Result<Vec<_>, _>>()?;
    // Those that no condition names too, so that no fault stays hidden; many texts take long, so
    // none of the others a second time.
    let used = selections.used.into_inner();
    for name in selections.names.iter().filter(|name| !used.contains(*name)) {
        detection(&detections.named[*name])?;
    }
    Ok(as_sent(any(alternatives), false))
}

/// The selections of a rule, by name.
struct Selections<'a> {
    detections: &'a HashMap<String, Detection>,
    /// Sorted.
    names: Vec<&'a str>,
    /// Those that were compiled.
    used: RefCell<HashSet<&'a str>>,
}

impl<'a> Selections<'a> {
    fn compile(&self, name: &str) -> Option<Result<Expr, Refused>> {
        let (name, found) = self.detections.get_key_value(name)?;
        self.used.borrow_mut().insert(name);
        Some(detection(found))
    }
}

fn condition(
    expr: &ConditionExpr,
    selections: &Selections<'_>,
    deep: usize,
) -> Result<Expr, Refused> {
    let Some(deep) = deep.checked_sub(1) else {
        let why = format!("the condition is nested more than {DEEP} deep");
        return Err(Refused::new("condition", why));
    };
    let many = |parts: &[ConditionExpr]| {
        parts
            .iter()
            .map(|part| condition(part, selections, deep))
            .collect::<Result<Vec<_>, _>>()
    };
    match expr {
        ConditionExpr::And(parts) => Ok(all(many(parts)?)),
        ConditionExpr::Or(parts) => Ok(any(many(parts)?)),
        ConditionExpr::Not(part) => {
            condition(part, selections, deep).map(|part| Expr::Not(Box::new(part)))
        }
        ConditionExpr::Identifier(name) => match selections.compile(name) {
            Some(compiled) => compiled,
            None => Err(Refused::new(
                "condition",
                format!(
                    "the condition names '{name}', which is not defined; there are {}",
                    selections.names.join(", ")
                ),
            )),
        },
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let selected: Vec<&&str> = selections
                .names
                .iter()
                .filter(|name| selects(pattern, name))
                .collect();
            if selected.is_empty() {
                return Err(Refused::new(
                    "condition",
                    format!(
                        "'{pattern}' selects nothing; there are {}",
                        selections.names.join(", ")
                    ),
                ));
            }
            let parts = selected
                .into_iter()
                .filter_map(|name| selections.compile(name))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(match quantifier {
                Quantifier::Any => any(parts),
                Quantifier::All => all(parts),
                Quantifier::Count(n) => at_least(usize::try_from(*n).unwrap_or(usize::MAX), parts),
            })
        }
    }
}

/// Whether a selector takes in the selection of this name.
pub(super) fn selects(selector: &SelectorPattern, name: &str) -> bool {
    match selector {
        // Names with an underscore are left out of "them" (Sigma 2.0 appendix).
        SelectorPattern::Them => !name.starts_with('_'),
        SelectorPattern::Pattern(pattern) => name_matches(pattern, name),
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) if !end.contains('*') => {
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
        Some(_) => globset::Glob::new(pattern).is_ok_and(|g| g.compile_matcher().is_match(name)),
        None => pattern == name,
    }
}

fn detection(detection: &Detection) -> Result<Expr, Refused> {
    match detection {
        Detection::AllOf(items) => items.iter().map(item).collect::<Result<_, _>>().map(all),
        Detection::AnyOf(parts) => {
            let parts: Result<Vec<_>, _> = parts.iter().map(self::detection).collect();
            parts.map(any)
        }
        Detection::And(parts) => {
            let parts: Result<Vec<_>, _> = parts.iter().map(self::detection).collect();
            parts.map(all)
        }
        Detection::Keywords(values) => Ok(any_keyword(values, true)),
        Detection::ArrayMatch { field, .. } => Err(Refused::new(
            field,
            "events have no arrays of objects; name the field without [any] or [all]",
        )),
        Detection::Conditional { .. } => Err(Refused::new(
            "condition",
            "events have no arrays of objects",
        )),
    }
}
