//! Sigma correlations: from what the file says to what is counted. Resolves the rules they name,
//! in an order in which none comes before what it takes in.

use std::collections::{BTreeSet, HashMap, HashSet};

use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType,
    Quantifier, SelectorPattern, WindowMode,
};

use super::compile::{self, Refused};
use super::diagnose::{Diagnostic, Fault};
use super::meta;
use super::parse::{Place, there_already};
use super::worded;
use crate::field::Field;
use crate::rule::expr::Comparison;
use crate::rule::{Correlation, Group, Input, Kind, MOST_INPUTS, RuleSet, Seen};

/// A correlation whose rules are not yet found.
pub(super) struct Pending<'a> {
    pub(super) place: Place<'a>,
    pub(super) rule: CorrelationRule,
}

impl Pending<'_> {
    fn names(&self) -> impl Iterator<Item = &str> {
        let rule = &self.rule;
        [rule.name.as_deref(), rule.id.as_deref(), Some(&*rule.title)]
            .into_iter()
            .flatten()
    }
}

/// The order in which correlations are resolved: that of the files, but none before those that it
/// names.
struct Order {
    /// Those that wait for no other.
    ready: BTreeSet<usize>,
    /// How many others each waits for, by name.
    waits_for: Vec<usize>,
    /// By name: how many that are not yet resolved have it, and who waits for it.
    names: HashMap<String, (usize, Vec<usize>)>,
    names_of: Vec<Vec<String>>,
}

impl Order {
    fn new(pending: &[Pending<'_>]) -> Self {
        let mut names: HashMap<String, (usize, Vec<usize>)> = HashMap::new();
        let mut names_of = Vec::with_capacity(pending.len());
        for one in pending {
            let of: Vec<String> = one.names().map(str::to_owned).collect();
            for name in &of {
                names.entry(name.clone()).or_default().0 += 1;
            }
            names_of.push(of);
        }
        let mut waits_for = vec![0; pending.len()];
        for (at, one) in pending.iter().enumerate() {
            for name in &one.rule.rules {
                if let Some((_, waiting)) = names.get_mut(name) {
                    waiting.push(at);
                    waits_for[at] += 1;
                }
            }
        }
        let ready = (0..pending.len()).filter(|at| waits_for[*at] == 0);
        Order {
            ready: ready.collect(),
            waits_for,
            names,
            names_of,
        }
    }

    /// The next one; what is left when there is none waits for itself.
    fn next(&mut self) -> Option<usize> {
        let at = self.ready.pop_first()?;
        for name in std::mem::take(&mut self.names_of[at]) {
            let Some((left, waiting)) = self.names.get_mut(&name) else {
                continue;
            };
            *left -= 1;
            if *left > 0 {
                continue;
            }
            for other in std::mem::take(waiting) {
                self.waits_for[other] -= 1;
                if self.waits_for[other] == 0 {
                    self.ready.insert(other);
                }
            }
        }
        Some(at)
    }
}

/// Adds the correlations to `rules`; returns the detections that they take in and that raise no
/// alerts of their own.
pub(super) fn resolve(
    pending: Vec<Pending<'_>>,
    rules: &mut RuleSet,
    disabled: &dyn Fn(&str) -> bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> HashSet<usize> {
    let mut fed = HashSet::new();
    let mut silent = HashSet::new();
    let mut order = Order::new(&pending);
    let mut pending: Vec<Option<Pending<'_>>> = pending.into_iter().map(Some).collect();
    while let Some(at) = order.next() {
        let Some(one) = pending[at].take() else {
            continue;
        };
        let (meta, mut faults) = meta::of_correlation(&one.place, &one.rule);
        let generates = one.rule.generate;
        for (key, why) in worded::unknown_keys(one.rule.custom_attributes.keys()) {
            faults.push(one.place.diagnostic(Fault::Warning, &key, why));
        }
        if let Some(first) = rules.find(&meta.id) {
            let why = there_already(&rules.rules[first]);
            faults.push(one.place.diagnostic(Fault::Error, &meta.id, why));
        }
        let made = correlation(&one, rules, &mut faults);
        // What a disabled rule alone takes in shall raise no alerts either.
        let inputs = made.as_ref().map(|c| c.inputs.clone()).unwrap_or_default();
        for input in &inputs {
            match input {
                Input::Detection(at) if !generates => {
                    fed.insert(*at);
                }
                Input::Correlation(at) if !generates => {
                    silent.insert(*at);
                }
                Input::Detection(_) | Input::Correlation(_) => {}
            }
        }
        let is_good = faults.iter().all(|f| f.fault != Fault::Error);
        diagnostics.append(&mut faults);
        if let (Some(correlation), true) = (made, is_good && !meta.is_disabled(disabled)) {
            rules.correlations.push(correlation);
            rules.guards.push(None);
            rules.add(meta);
        }
    }
    for one in pending.into_iter().flatten() {
        let why = "its rules take each other in, in a circle".to_owned();
        diagnostics.push(one.place.diagnostic(Fault::Error, "rules", why));
    }
    for at in silent {
        if let Some(correlation) = rules.correlations.get_mut(at) {
            correlation.alerts = false;
        }
    }
    fed
}

fn correlation(
    one: &Pending<'_>,
    rules: &RuleSet,
    faults: &mut Vec<Diagnostic>,
) -> Option<Correlation> {
    let rule = &one.rule;
    let place = &one.place;
    let mut wrong = |refused: Refused| faults.push(place.refused(refused));
    let refused = |at: &str, why: &str| Refused::new(at, why);
    let mut inputs = Vec::new();
    for name in &rule.rules {
        match find_input(rules, name) {
            Some(input) => inputs.push(input),
            None => {
                let near = rules
                    .nearest(name)
                    .map_or_else(String::new, |n| format!("; did you mean '{n}'?"));
                wrong(refused(
                    name,
                    &format!("'{name}' is no rule that is loaded{near}"),
                ));
            }
        }
    }
    if rule.rules.len() > MOST_INPUTS {
        let why = format!("a correlation takes in {MOST_INPUTS} rules at most: make two of it");
        wrong(refused("rules", &why));
        return None;
    }
    if rule.rules.is_empty() {
        wrong(refused("rules", "a correlation takes in one rule at least"));
    }
    if rule.window != WindowMode::Sliding {
        wrong(refused("window", "windows slide here: leave 'window' out"));
    }
    let group_by = groups(rule, &mut wrong);
    let (predicates, fields, percentile) = match &rule.condition {
        CorrelationCondition::Threshold {
            predicates,
            field,
            percentile,
        } => (
            predicates.clone(),
            field.clone().unwrap_or_default(),
            *percentile,
        ),
        CorrelationCondition::Extended(_) => Default::default(),
    };
    let mut of = Vec::new();
    for name in &fields {
        match compile::field(name) {
            Ok(field) => of.push(field),
            Err(why) => wrong(why),
        }
    }
    let mut one_field = |of: &[Field]| match of {
        [field] => Some(field.clone()),
        _ => {
            faults.push(place.refused(refused("condition", "it needs 'field: NAME' of one field")));
            None
        }
    };
    let native = rule
        .custom_attributes
        .get("native")
        .map(|v| v.as_str().unwrap_or_default());
    let of_native = |name: &str, otherwise: u64| {
        let given = rule.custom_attributes.get(name).and_then(|v| v.as_u64());
        u8::try_from(given.unwrap_or(otherwise)).unwrap_or(u8::MAX)
    };
    let kind = match rule.correlation_type {
        CorrelationType::EventCount => match native {
            None => Kind::EventCount,
            Some("ratio") if rule.rules.len() == 2 => Kind::Ratio(of_native("percent", 50)),
            Some("timing-split") => Kind::TimingSplit(of_native("factor", 5)),
            Some("status-sequence") => Kind::StatusSequence,
            Some(_) => {
                let want = "want ratio (of two rules), timing-split or status-sequence";
                faults.push(place.refused(refused("native", want)));
                return None;
            }
        },
        CorrelationType::ValueCount if of.is_empty() => {
            one_field(&of)?;
            return None;
        }
        CorrelationType::ValueCount => Kind::ValueCount(of),
        CorrelationType::Temporal => {
            Kind::Temporal(seen(&rule.condition, &rule.rules).unwrap_or_else(|why| {
                faults.push(place.refused(why));
                None
            }))
        }
        CorrelationType::TemporalOrdered => Kind::TemporalOrdered,
        CorrelationType::ValueSum => Kind::ValueSum(one_field(&of)?),
        CorrelationType::ValueAvg => Kind::ValueAvg(one_field(&of)?),
        CorrelationType::ValueMedian => Kind::ValuePercentile(one_field(&of)?, 50),
        CorrelationType::ValuePercentile => {
            let percentile = u8::try_from(percentile.unwrap_or(50))
                .ok()
                .filter(|p| *p <= 100);
            let Some(percentile) = percentile else {
                faults.push(place.refused(refused("percentile", "want a number from 0 to 100")));
                return None;
            };
            Kind::ValuePercentile(one_field(&of)?, percentile)
        }
    };
    if rule.timespan.seconds == 0 {
        faults.push(place.refused(refused("timespan", "a window of no time holds nothing")));
    }
    let temporal = matches!(kind, Kind::Temporal(_) | Kind::TemporalOrdered);
    let condition: Vec<(Comparison, u64)> = if temporal {
        Vec::new()
    } else {
        predicates
            .iter()
            .map(|(op, n)| (comparison(*op), *n))
            .collect()
    };
    let correlation = Correlation {
        rule: rules.rules.len(),
        kind,
        inputs,
        group_by,
        window_ns: rule.timespan.seconds.saturating_mul(1_000_000_000),
        condition,
        alerts: true,
    };
    if let Some((fault, why)) = impossible(&correlation) {
        faults.push(place.diagnostic(fault, "condition", why));
    }
    Some(correlation)
}

fn groups(rule: &CorrelationRule, wrong: &mut dyn FnMut(Refused)) -> Vec<Group> {
    let mut groups = Vec::new();
    for name in &rule.group_by {
        let alias = rule.aliases.iter().find(|alias| alias.alias == *name);
        let mut of = Vec::new();
        for input in &rule.rules {
            let named = alias
                .and_then(|alias| alias.mapping.get(input))
                .unwrap_or(name);
            match compile::field(named) {
                Ok(field) => of.push(field),
                Err(refused) => {
                    wrong(refused);
                    break;
                }
            }
        }
        groups.push(Group {
            name: name.clone(),
            of,
        });
    }
    groups
}

fn find_input(rules: &RuleSet, name: &str) -> Option<Input> {
    let number = rules
        .find(name)
        .or_else(|| rules.rules.iter().position(|rule| rule.title == name))?;
    // Both are in the order of the rules as long as correlations are resolved.
    let detection = rules.detections.binary_search_by_key(&number, |d| d.rule);
    let correlation = || rules.correlations.binary_search_by_key(&number, |c| c.rule);
    let detection = detection.ok().map(Input::Detection);
    detection.or_else(|| correlation().ok().map(Input::Correlation))
}

/// The condition of a temporal correlation; `None`: all of its rules.
fn seen(condition: &CorrelationCondition, inputs: &[String]) -> Result<Option<Seen>, Refused> {
    let wrong = |why: String| Refused::new("condition", why);
    match condition {
        CorrelationCondition::Extended(expr) => extended(expr, inputs).map(Some).map_err(wrong),
        CorrelationCondition::Threshold { predicates, .. } => match predicates[..] {
            // What the parser puts where the file says nothing.
            [(ConditionOperator::Gte, 1)] | [] => Ok(None),
            [(ConditionOperator::Gte | ConditionOperator::Eq, n)] if n as usize <= inputs.len() => {
                let all = (0..inputs.len()).map(Seen::Input).collect();
                Ok(Some(Seen::AtLeast(n as usize, all)))
            }
            _ => Err(wrong(format!(
                "it can never hold: want 'gte' with how many of its {} rules must be seen",
                inputs.len()
            ))),
        },
    }
}

fn extended(expr: &ConditionExpr, inputs: &[String]) -> Result<Seen, String> {
    let many = |parts: &[ConditionExpr]| {
        parts
            .iter()
            .map(|p| extended(p, inputs))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match expr {
        ConditionExpr::And(parts) => Seen::All(many(parts)?),
        ConditionExpr::Or(parts) => Seen::AtLeast(1, many(parts)?),
        ConditionExpr::Not(part) => Seen::Not(Box::new(extended(part, inputs)?)),
        ConditionExpr::Identifier(name) => {
            let at = inputs.iter().position(|input| input == name);
            Seen::Input(at.ok_or_else(|| format!("'{name}' is not among its rules"))?)
        }
        ConditionExpr::Selector {
            quantifier,
            pattern,
        } => {
            let selected: Vec<Seen> = inputs
                .iter()
                .enumerate()
                .filter(|(_, name)| match pattern {
                    SelectorPattern::Them => true,
                    SelectorPattern::Pattern(pattern) => globset::Glob::new(pattern)
                        .is_ok_and(|g| g.compile_matcher().is_match(name)),
                })
                .map(|(at, _)| Seen::Input(at))
                .collect();
            match quantifier {
                Quantifier::Any => Seen::AtLeast(1, selected),
                Quantifier::All => Seen::All(selected),
                Quantifier::Count(n) => Seen::AtLeast(*n as usize, selected),
            }
        }
    })
}

const fn comparison(operator: ConditionOperator) -> Comparison {
    match operator {
        ConditionOperator::Lt => Comparison::Lt,
        ConditionOperator::Lte => Comparison::Lte,
        ConditionOperator::Gt => Comparison::Gt,
        ConditionOperator::Gte => Comparison::Gte,
        ConditionOperator::Eq => Comparison::Eq,
        ConditionOperator::Neq => Comparison::Ne,
    }
}

/// Why a condition can never hold, or always does.
fn impossible(correlation: &Correlation) -> Option<(Fault, String)> {
    if matches!(correlation.kind, Kind::Temporal(_) | Kind::TemporalOrdered) {
        return None;
    }
    let bounds = correlation
        .condition
        .iter()
        .flat_map(|(_, n)| [n.saturating_sub(1), *n, n.saturating_add(1)]);
    // Counts begin at 1; between its bounds a condition does not change.
    let mut tried = bounds.chain([1, u64::MAX]).filter(|n| *n >= 1);
    if !tried.any(|n| correlation.holds(n)) {
        return Some((Fault::Error, "no count fulfils it".to_owned()));
    }
    if let Kind::ValueCount(fields) = &correlation.kind {
        let most = fields.iter().try_fold(1_u64, |n, field| {
            Some(n.saturating_mul(distinct_values(field)?))
        });
        if let Some(most) = most.filter(|most| correlation.threshold() > *most) {
            return Some((
                Fault::Error,
                format!("it can never hold: there are {most} values at most"),
            ));
        }
        let grouped = |field: &Field| {
            correlation
                .group_by
                .iter()
                .any(|g| g.of.iter().all(|f| f == field))
        };
        if fields.iter().all(grouped) && correlation.threshold() > 1 {
            let why = "it can never hold: what is counted is the same in the whole group";
            return Some((Fault::Error, why.to_owned()));
        }
    }
    let counts = matches!(correlation.kind, Kind::EventCount | Kind::ValueCount(_));
    // "One at least" is how a rule is written that has a window of its own.
    let once = correlation.condition == [(Comparison::Gte, 1)];
    if counts && !once && correlation.holds(1) {
        let why = "it holds at the first event: want 'gte' with a number from 2, or a rule without correlation";
        return Some((Fault::Warning, why.to_owned()));
    }
    None
}

/// How many values a field can have, where that is few.
const fn distinct_values(field: &Field) -> Option<u64> {
    match field {
        Field::Status => Some(900),
        Field::StatusClass => Some(6),
        Field::SameSite | Field::Version => Some(2),
        Field::NoResponse => Some(5),
        Field::ServerPort | Field::ClientPort => Some(65_535),
        _ => None,
    }
}
