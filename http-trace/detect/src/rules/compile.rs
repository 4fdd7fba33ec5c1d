//! Compiles a parsed detection section to a condition over typed fields. Rejects what it
//! cannot express exactly; sees no event.
//!
//! # Layout
//! - `item` compiles a field with its values, or keywords; `modifiers` parses the field's modifiers.
//! - `value` compiles one value; `texts` text searches; `expression` regular expressions.
//! - `connectives` combines conditions; `negated_url` adapts tests of a URL under "not".
//! - `check` warns about values that are probably mistakes.

mod check;
mod connectives;
mod expression;
mod item;
mod modifiers;
mod negated_url;
mod texts;
mod value;

use std::collections::{HashMap, HashSet};

use rsigma_parser::{ConditionExpr, Detection, Detections, Quantifier, SelectorPattern};

pub(super) use self::connectives::all;
use self::connectives::{any, at_least};
use super::diagnose::{Fault, Finding};
use crate::rule::expr::Expr;

/// Maximum nesting of conditions: each level is a call when an event is matched.
const MAX_DEPTH: usize = 100;

/// A compiled detection section.
pub(super) struct Compiled {
    /// Meaningless if the findings contain an error.
    pub expr: Expr,
    pub names_fields: bool,
    pub findings: Vec<Finding>,
}

/// Compiles a detection section; several conditions are alternatives.
pub(super) fn detections(section: &Detections) -> Compiled {
    let mut names: Vec<&str> = section.named.keys().map(String::as_str).collect();
    names.sort_unstable();
    // Compile all of them, to report faults also in those that no condition uses.
    let mut walks: Vec<Walk> = names.iter().map(|_| Walk::default()).collect();
    let each = names.iter().zip(&mut walks);
    let mut selections = Selections {
        compiled: each.map(|(name, walk)| (*name, walk.detection(&section.named[*name]))).collect(),
        used: HashSet::new(),
        names: &names,
    };
    let (mut alternatives, mut findings) = (Vec::new(), Vec::new());
    for condition in &section.conditions {
        match selections.condition(condition, MAX_DEPTH) {
            Ok(expr) => alternatives.push(expr),
            Err(finding) => findings.push(finding),
        }
    }
    let names_fields = walks.iter().any(|walk| walk.names_fields);
    for (name, walk) in names.iter().zip(walks) {
        let is_used = selections.used.contains(name);
        // Names with `_` are excluded from `them` (Sigma 2.0 appendix): disabled, or defining a YAML anchor.
        let is_aside = !is_used && name.starts_with('_');
        if !is_used && !is_aside {
            let why = format!("the condition does not use '{name}'");
            findings.push(Finding::warning(name, why));
        }
        let found = walk.findings.into_iter();
        findings.extend(found.filter(|finding| !is_aside || finding.fault == Fault::Error));
    }
    Compiled { expr: negated_url::as_sent(any(alternatives), false), names_fields, findings }
}

/// One pass over a selection.
#[derive(Default)]
struct Walk {
    findings: Vec<Finding>,
    names_fields: bool,
}

impl Walk {
    fn detection(&mut self, detection: &Detection) -> Expr {
        let result = match detection {
            Detection::AllOf(items) => {
                let items = items.iter().map(|item| {
                    self.names_fields |= item.field.name.is_some();
                    self.findings.extend(check::item(item));
                    let compiled = item::item(item);
                    self.or_constant(compiled)
                });
                Ok(all(items.collect()))
            }
            Detection::AnyOf(parts) => {
                Ok(any(parts.iter().map(|part| self.detection(part)).collect()))
            }
            Detection::And(parts) => {
                Ok(all(parts.iter().map(|part| self.detection(part)).collect()))
            }
            Detection::Keywords(values) => item::any_keyword(values, true),
            Detection::ArrayMatch { field, .. } => Err(Finding::error(
                field,
                "[any] and [all] are not supported: events have no arrays of objects",
            )),
            Detection::Conditional { .. } => {
                Err(Finding::error("condition", "events have no arrays of objects"))
            }
        };
        self.or_constant(result)
    }

    fn or_constant(&mut self, result: Result<Expr, Finding>) -> Expr {
        result.unwrap_or_else(|finding| {
            self.findings.push(finding);
            Expr::Constant(false)
        })
    }
}

struct Selections<'a> {
    compiled: HashMap<&'a str, Expr>,
    used: HashSet<&'a str>,
    /// Sorted.
    names: &'a [&'a str],
}

impl<'a> Selections<'a> {
    fn condition(&mut self, expr: &ConditionExpr, depth: usize) -> Result<Expr, Finding> {
        let Some(depth) = depth.checked_sub(1) else {
            let why = format!("the condition is nested more than {MAX_DEPTH} levels deep");
            return Err(Finding::error("condition", why));
        };
        let mut each = |parts: &[ConditionExpr]| {
            let parts = parts.iter().map(|part| self.condition(part, depth));
            parts.collect::<Result<Vec<_>, _>>()
        };
        match expr {
            ConditionExpr::And(parts) => each(parts).map(all),
            ConditionExpr::Or(parts) => each(parts).map(any),
            ConditionExpr::Not(part) => Ok(Expr::Not(Box::new(self.condition(part, depth)?))),
            ConditionExpr::Identifier(name) => {
                let named = self.names.iter().find(|known| *known == name);
                let named = *named.ok_or_else(|| {
                    self.none(format!("the condition uses '{name}', which is not defined"))
                })?;
                Ok(self.take(named))
            }
            ConditionExpr::Selector { quantifier, pattern } => {
                let names = self.names.iter().copied();
                let selected: Vec<&str> = names.filter(|name| selects(pattern, name)).collect();
                if selected.is_empty() {
                    return Err(self.none(format!("'{pattern}' selects nothing")));
                }
                let parts = selected.into_iter().map(|name| self.take(name)).collect();
                Ok(match quantifier {
                    Quantifier::Any => any(parts),
                    Quantifier::All => all(parts),
                    Quantifier::Count(n) => {
                        at_least(usize::try_from(*n).unwrap_or(usize::MAX), parts)
                    }
                })
            }
        }
    }

    fn take(&mut self, name: &'a str) -> Expr {
        self.used.insert(name);
        self.compiled[name].clone()
    }

    fn none(&self, why: String) -> Finding {
        let known = self.names.join(", ");
        Finding::error("condition", format!("{why}; defined: {known}"))
    }
}

fn selects(selector: &SelectorPattern, name: &str) -> bool {
    match selector {
        SelectorPattern::Them => !name.starts_with('_'),
        SelectorPattern::Pattern(pattern) => pattern_matches(pattern, name),
    }
}

/// Whether a name matches a pattern with asterisks.
pub(super) fn pattern_matches(pattern: &str, name: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inner = name.strip_prefix(begin).and_then(|name| name.strip_suffix(end));
    let Some(mut inner) = inner else { return false };
    for part in middle.split('*') {
        let Some(at) = inner.find(part) else { return false };
        inner = &inner[at + part.len()..];
    }
    true
}
