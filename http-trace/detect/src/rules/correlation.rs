//! Compiles Sigma correlations. Resolves the rules that they name, in an order in which every
//! rule comes after its inputs.

use std::collections::{BTreeSet, HashMap, HashSet};

use http_trace_model::event::NoResponse;
use rsigma_parser::{
    ConditionExpr, ConditionOperator, CorrelationCondition, CorrelationRule, CorrelationType,
    Quantifier, SelectorPattern, WindowMode,
};

use super::building::{Building, loads};
use super::compile::pattern_matches;
use super::diagnose::{Fault, Finding};
use super::document::Document;
use super::meta::{Description, own};
use super::names;
use super::refused::Written;
use crate::field::Field;
use crate::rule::expr::Comparison;
use crate::rule::{Correlation, Group, Input, InputCondition, Kind, MOST_INPUTS, RuleSet};

/// Adds the correlations to the rules; returns the detections that are inputs and raise no
/// alerts of their own.
pub(super) fn resolve<'a>(
    pending: &[(Document<'a>, CorrelationRule)],
    building: &mut Building<'a>,
) -> HashSet<usize> {
    let (mut fed, mut silent) = (HashSet::new(), HashSet::new());
    let (order, circular) = order(pending);
    for (document, rule) in order.into_iter().map(|at| &pending[at]) {
        let (mut meta, mut findings) = Description::from(rule).read(*document);
        findings.extend(building.taken(&meta));
        findings.extend(Written::read(*document).unknown_keys());
        let correlation = correlation(rule, building, &mut findings);
        let titles = correlation.inputs.iter().filter_map(|input| title(&building.rules, *input));
        meta.input_titles = titles.map(str::to_owned).collect();
        // The inputs of a faulty or disabled rule raise no alerts either.
        for input in &correlation.inputs {
            match input {
                _ if rule.generate => {}
                Input::Detection(at) => _ = fed.insert(*at),
                Input::Correlation(at) => _ = silent.insert(*at),
            }
        }
        if loads(&findings) && !building.disables(&meta) {
            building.rules.correlations.push(correlation);
            building.rules.guards.push(None);
            building.add(*document, meta);
        }
        building.report(*document, findings);
    }
    for (document, _) in circular.into_iter().map(|at| &pending[at]) {
        let why = "its rules refer to each other in a cycle";
        building.report(*document, vec![Finding::error("rules", why)]);
    }
    for at in silent {
        if let Some(correlation) = building.rules.correlations.get_mut(at) {
            correlation.alerts = false;
        }
    }
    fed
}

/// Indexes in file order, except that rules come after their inputs; and those of rules in a cycle.
fn order(pending: &[(Document<'_>, CorrelationRule)]) -> (Vec<usize>, Vec<usize>) {
    // Same precedence as in lookups: ids before titles, the first of each.
    let mut named: HashMap<&str, usize> = HashMap::new();
    for (at, (_, rule)) in pending.iter().enumerate() {
        for name in rule.name.iter().chain(&rule.id) {
            named.entry(name).or_insert(at);
        }
    }
    for (at, (_, rule)) in pending.iter().enumerate() {
        named.entry(&rule.title).or_insert(at);
    }
    let mut waits_for = vec![0; pending.len()];
    let mut waiting = vec![Vec::new(); pending.len()];
    for (at, (_, rule)) in pending.iter().enumerate() {
        for input in rule.rules.iter().filter_map(|name| named.get(&**name)) {
            waits_for[at] += 1;
            waiting[*input].push(at);
        }
    }
    let all = 0..pending.len();
    let mut ready: BTreeSet<usize> = all.clone().filter(|at| waits_for[*at] == 0).collect();
    let mut order = Vec::new();
    while let Some(at) = ready.pop_first() {
        order.push(at);
        for next in &waiting[at] {
            waits_for[*next] -= 1;
            if waits_for[*next] == 0 {
                ready.insert(*next);
            }
        }
    }
    (order, all.filter(|at| waits_for[*at] > 0).collect())
}

/// Compiles a correlation; if the findings contain an error, only its inputs are meaningful.
fn correlation(
    rule: &CorrelationRule,
    building: &Building<'_>,
    findings: &mut Vec<Finding>,
) -> Correlation {
    let mut inputs = Vec::new();
    for name in &rule.rules {
        let number = building.find(name);
        match number.and_then(|number| input(&building.rules, number)) {
            Some(input) => inputs.push(input),
            None => findings.push(Finding::error(name, building.unknown(name))),
        }
    }
    let mut wrong = |at: &str, why: &str| findings.push(Finding::error(at, why));
    if rule.rules.len() > MOST_INPUTS {
        let why = format!("a correlation takes at most {MOST_INPUTS} rules: split it");
        wrong("rules", &why);
    }
    if rule.rules.is_empty() {
        wrong("rules", "a correlation needs at least one rule");
    }
    if rule.window != WindowMode::Sliding {
        wrong("window", "only sliding windows are supported: remove 'window'");
    }
    if rule.timespan.seconds == 0 {
        wrong("timespan", "want a time greater than 0");
    }
    let kind = kind(rule).map_err(|finding| findings.push(finding));
    let is_known = kind.is_ok();
    let kind = kind.unwrap_or(Kind::EventCount);
    let undo = undo(rule, &kind, findings);
    let group_by = groups(rule, findings);
    let condition = match &rule.condition {
        CorrelationCondition::Threshold { predicates, .. } if !is_temporal(&kind) => {
            let predicates = predicates.iter();
            predicates.map(|(op, n)| (comparison(*op), *n)).collect()
        }
        _ => Vec::new(),
    };
    let correlation = Correlation {
        rule: building.rules.rules.len(),
        kind,
        inputs,
        group_by,
        window_ns: rule.timespan.seconds.saturating_mul(1_000_000_000),
        condition,
        alerts: true,
        undo,
    };
    if is_known && let Some((fault, message)) = impossible(&correlation) {
        let finding = Finding::error("condition", message);
        findings.push(Finding { fault, ..finding });
    }
    correlation
}

/// Index of a rule among detections or correlations. Both are sorted by rule while correlations are resolved.
fn input(rules: &RuleSet, number: usize) -> Option<Input> {
    let detection = rules.detections.binary_search_by_key(&number, |d| d.rule);
    let correlation = rules.correlations.binary_search_by_key(&number, |c| c.rule);
    let correlation = || correlation.ok().map(Input::Correlation);
    detection.ok().map(Input::Detection).or_else(correlation)
}

fn title(rules: &RuleSet, input: Input) -> Option<&str> {
    let rule = match input {
        Input::Detection(at) => rules.detections.get(at)?.rule,
        Input::Correlation(at) => rules.correlations.get(at)?.rule,
    };
    Some(&rules.rules.get(rule)?.title)
}

const fn is_temporal(kind: &Kind) -> bool {
    matches!(kind, Kind::Temporal(_) | Kind::TemporalOrdered)
}

/// The kind of count.
fn kind(rule: &CorrelationRule) -> Result<Kind, Finding> {
    let (names, percentile) = match &rule.condition {
        CorrelationCondition::Threshold { field, percentile, .. } => {
            (field.as_deref().unwrap_or_default(), *percentile)
        }
        CorrelationCondition::Extended(_) => Default::default(),
    };
    let fields = names.iter().map(|name| names::field(name));
    let fields = fields.collect::<Result<Vec<Field>, _>>()?;
    let no_field = || Finding::error("condition", "want 'field: NAME' with one field");
    let one_field = || match &fields[..] {
        [field] => Ok(field.clone()),
        _ => Err(no_field()),
    };
    Ok(match rule.correlation_type {
        CorrelationType::EventCount => native(rule)?,
        CorrelationType::ValueCount if fields.is_empty() => return Err(no_field()),
        CorrelationType::ValueCount => Kind::ValueCount(fields),
        CorrelationType::Temporal => Kind::Temporal(seen(&rule.condition, &rule.rules)?),
        CorrelationType::TemporalOrdered => Kind::TemporalOrdered,
        CorrelationType::ValueSum => Kind::ValueSum(one_field()?),
        CorrelationType::ValueAvg => Kind::ValueAvg(one_field()?),
        CorrelationType::ValueMedian => Kind::ValuePercentile(one_field()?, 50),
        CorrelationType::ValuePercentile => {
            let percentile = u8::try_from(percentile.unwrap_or(50)).ok();
            let wanted = || Finding::error("percentile", "want a number from 0 to 100");
            let percentile = percentile.filter(|p| *p <= 100).ok_or_else(wanted)?;
            Kind::ValuePercentile(one_field()?, percentile)
        }
    })
}

/// A count of events, or a condition that Sigma cannot express, given by `native`.
fn native(rule: &CorrelationRule) -> Result<Kind, Finding> {
    let own = |key| own(&rule.custom_attributes, key);
    let number = |key, otherwise| {
        let given = own(key).and_then(|value| value.as_u64());
        u8::try_from(given.unwrap_or(otherwise)).unwrap_or(u8::MAX)
    };
    match own("native").map(|value| value.as_str().unwrap_or_default()) {
        None => Ok(Kind::EventCount),
        Some("ratio") if rule.rules.len() == 2 => Ok(Kind::Ratio(number("percent", 50))),
        Some("timing-split") => Ok(Kind::TimingSplit(number("factor", 5))),
        Some("status-sequence") => Ok(Kind::StatusSequence),
        Some(_) => {
            let want = "want ratio (of two rules), timing-split or status-sequence";
            Err(Finding::error("native", want))
        }
    }
}

/// Bit set of the inputs that take counts back: `undo` names one of the rules.
fn undo(rule: &CorrelationRule, kind: &Kind, findings: &mut Vec<Finding>) -> u64 {
    let Some(named) = own(&rule.custom_attributes, "undo") else { return 0 };
    let at = rule.rules.iter().position(|name| Some(name.as_str()) == named.as_str());
    match at {
        Some(at) if matches!(kind, Kind::ValueCount(_) | Kind::EventCount) && at < MOST_INPUTS => {
            1 << at
        }
        _ => {
            let want =
                "want the name of one of its rules; only allowed in value_count and event_count";
            findings.push(Finding::error("undo", want));
            0
        }
    }
}

fn groups(rule: &CorrelationRule, findings: &mut Vec<Finding>) -> Vec<Group> {
    let mut groups = Vec::new();
    for name in &rule.group_by {
        let alias = rule.aliases.iter().find(|alias| alias.alias == *name);
        let of_input = |input| alias.and_then(|alias| alias.mapping.get(input));
        let fields = rule.rules.iter();
        let fields = fields.map(|input| names::field(of_input(input).unwrap_or(name)));
        match fields.collect() {
            Ok(of) => groups.push(Group { name: name.clone(), of }),
            Err(finding) => findings.push(finding),
        }
    }
    groups
}

/// The condition of a temporal correlation; `None` requires all inputs.
fn seen(
    condition: &CorrelationCondition,
    inputs: &[String],
) -> Result<Option<InputCondition>, Finding> {
    let wrong = |why: String| Finding::error("condition", why);
    match condition {
        CorrelationCondition::Extended(expr) => extended(expr, inputs).map(Some).map_err(wrong),
        CorrelationCondition::Threshold { predicates, .. } => match predicates[..] {
            // The parser's default.
            [(ConditionOperator::Gte, 1)] | [] => Ok(None),
            [(ConditionOperator::Gte | ConditionOperator::Eq, n)]
                if (1..=inputs.len() as u64).contains(&n) =>
            {
                let all = (0..inputs.len()).map(InputCondition::Input).collect();
                Ok(Some(InputCondition::AtLeast(n as usize, all)))
            }
            _ => Err(wrong(format!(
                "it always has the same result: want 'gte' with a number of rules, from 1 to {}",
                inputs.len()
            ))),
        },
    }
}

fn extended(expr: &ConditionExpr, inputs: &[String]) -> Result<InputCondition, String> {
    let each = |parts: &[ConditionExpr]| {
        let parts = parts.iter().map(|part| extended(part, inputs));
        parts.collect::<Result<Vec<_>, _>>()
    };
    Ok(match expr {
        ConditionExpr::And(parts) => InputCondition::All(each(parts)?),
        ConditionExpr::Or(parts) => InputCondition::AtLeast(1, each(parts)?),
        ConditionExpr::Not(part) => InputCondition::Not(Box::new(extended(part, inputs)?)),
        ConditionExpr::Identifier(name) => {
            let at = inputs.iter().position(|input| input == name);
            InputCondition::Input(at.ok_or_else(|| format!("'{name}' is not among its rules"))?)
        }
        ConditionExpr::Selector { quantifier, pattern } => {
            let selects = |name: &str| match pattern {
                SelectorPattern::Them => true,
                SelectorPattern::Pattern(pattern) => pattern_matches(pattern, name),
            };
            let selected = (0..).zip(inputs).filter(|(_, name)| selects(name));
            let selected: Vec<InputCondition> =
                selected.map(|(at, _)| InputCondition::Input(at)).collect();
            match quantifier {
                Quantifier::Any => InputCondition::AtLeast(1, selected),
                Quantifier::All => InputCondition::All(selected),
                Quantifier::Count(n) => InputCondition::AtLeast(*n as usize, selected),
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

/// Why a condition never or always holds.
fn impossible(correlation: &Correlation) -> Option<(Fault, String)> {
    if is_temporal(&correlation.kind) {
        return None;
    }
    let error = |why: &str| Some((Fault::Error, why.to_owned()));
    // The parser reads -3 as 2^64 - 3.
    let negative = correlation.condition.iter().find(|(_, n)| i64::try_from(*n).is_err());
    if let Some((_, n)) = negative {
        let n = n.wrapping_neg();
        return error(&format!("'-{n}' is no count: want a number from 1, such as '{{gte: 10}}'"));
    }
    let bounds = correlation.condition.iter();
    let bounds = bounds.flat_map(|(_, n)| [n.saturating_sub(1), *n, n.saturating_add(1)]);
    // Counts begin at 1; between its bounds the result of a condition does not change.
    let mut tried = bounds.chain([1, u64::MAX]).filter(|n| *n >= 1);
    if !tried.any(|n| correlation.holds(n)) {
        return error("it can never be true for any count");
    }
    if let Kind::ValueCount(fields) = &correlation.kind {
        let values = fields.iter().map(distinct_values);
        let most = values.reduce(|all, of| Some(all?.saturating_mul(of?))).flatten();
        if let Some(most) = most.filter(|most| correlation.threshold() > *most) {
            return error(&format!("it can never be true: the fields have at most {most} values"));
        }
        let groups = &correlation.group_by;
        let grouped = |field| groups.iter().any(|group| group.of.iter().all(|of| of == field));
        if correlation.threshold() > 1 && fields.iter().all(grouped) {
            return error("it can never be true: the counted field is also in group-by");
        }
    }
    let counts = matches!(correlation.kind, Kind::EventCount | Kind::ValueCount(_));
    // "At least one" is used to give a rule its own window.
    let once = correlation.condition == [(Comparison::Gte, 1)];
    if counts && !once && correlation.holds(1) {
        let why = "it is true at the first event: want 'gte' with a number from 2, or a rule \
                   without correlation";
        return Some((Fault::Warning, why.to_owned()));
    }
    None
}

/// Number of values that a field can have, if it is small.
const fn distinct_values(field: &Field) -> Option<u64> {
    match field {
        Field::Status => Some(900),
        Field::StatusClass => Some(6),
        Field::SameSite | Field::Version => Some(2),
        Field::NoResponse => Some(NoResponse::ALL.len() as u64),
        Field::ServerPort | Field::ClientPort => Some(65_535),
        _ => None,
    }
}
