//! Compiles rule files to a rule set: reads the documents, resolves references between rules, applies
//! filters. A faulty rule is omitted; the others load. Performs no I/O.

use std::collections::HashSet;

use rsigma_parser::{
    ConditionExpr, CorrelationRule, FilterRule, FilterRuleTarget, LogSource, SigmaRule,
    parse_sigma_yaml,
};

use super::building::{Building, loads};
use super::diagnose::{Diagnostic, Fault, Finding};
use super::document::Document;
pub use super::document::Source;
use super::meta::Description;
use super::refused::{Refused, Written};
use super::wording::reworded;
use super::{builtin, compile, correlation};
use crate::field::Field;
use crate::rule::expr::{Comparison, Expr};
use crate::rule::{Correlation, Detection, Group, Input, Kind, MOST_CORRELATIONS, Origin, RuleSet};

/// Window of a detection without a correlation: its alert stays open for this long after the last match.
const ALONE_WINDOW_NS: u64 = 300_000_000_000;

/// Result of parsing rule files.
#[derive(Debug, Default)]
pub struct Parsed {
    pub rules: RuleSet,
    /// Diagnostics: errors first, each group in file order.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// Number of rules with at least one diagnostic of this kind.
    pub fn with(&self, fault: Fault, sources: &[Source]) -> usize {
        let of = |d: &Diagnostic| {
            let source = sources.iter().position(|source| source.origin == d.origin)?;
            let documents = Document::split(&sources[source]);
            let before = documents.iter().rposition(|doc| doc.lines_before < d.line);
            Some((source, before.unwrap_or(0)))
        };
        let faults = self.diagnostics.iter().filter(|d| d.fault == fault);
        faults.filter_map(of).collect::<HashSet<_>>().len()
    }
}

/// Parses rule files. Rules that are `disabled` are parsed and omitted.
pub fn parse(sources: &[Source], disabled: &dyn Fn(&str) -> bool) -> Parsed {
    let mut building = Building::new(disabled);
    let mut documents = Documents::default();
    for source in sources {
        documents.read(source, &mut building.diagnostics);
    }
    let is_built_in = |origin: &Origin| matches!(origin, Origin::BuiltIn(_));
    if !sources.iter().all(|source| is_built_in(&source.origin)) {
        let correlations = documents.correlations.iter();
        let built_in = correlations.filter(|(document, _)| is_built_in(document.origin));
        let rules = built_in.map(|(document, rule)| Description::from(rule).read(*document).0);
        building.reserved = rules.filter(|rule| !building.disables(rule)).collect();
    }
    for (document, rule) in &documents.detections {
        detection(*document, rule, &mut building);
    }
    let mut fed = correlation::resolve(&documents.correlations, &mut building);
    for refused in &documents.refused {
        refused.silence(&mut building.rules, &mut fed);
    }
    for (document, filter) in &documents.filters {
        apply(*document, filter, &mut building);
    }
    count_alone(&mut building.rules, &fed);
    name_unknown(&mut building);
    leave_out_beyond(MOST_CORRELATIONS, &mut building.rules, &mut building.diagnostics);
    let mut diagnostics = building.diagnostics;
    diagnostics.sort_by_key(|d| d.fault != Fault::Error);
    Parsed { rules: building.rules, diagnostics }
}

#[derive(Default)]
struct Documents<'a> {
    detections: Vec<(Document<'a>, SigmaRule)>,
    correlations: Vec<(Document<'a>, CorrelationRule)>,
    filters: Vec<(Document<'a>, FilterRule)>,
    refused: Vec<Refused<'a>>,
}

impl<'a> Documents<'a> {
    fn read(&mut self, source: &'a Source, diagnostics: &mut Vec<Diagnostic>) {
        let whole = Document::whole(source);
        if source.is_empty() {
            let why = "the file has no rules".to_owned();
            diagnostics.push(whole.diagnostic(Fault::Warning, (1, 1), why));
        }
        // Documents with an `action` affect others, so they cannot be read separately.
        let acts = source.text.lines().any(|line| line.starts_with("action:"));
        let documents = if acts { vec![whole] } else { Document::split(source) };
        for document in documents {
            if let Some(position) = document.too_deep() {
                let why = "brackets are nested too deeply: want a flat list of values".to_owned();
                diagnostics.push(document.diagnostic(Fault::Error, position, why));
                continue;
            }
            let correlations_before = self.correlations.len();
            let errors = match parse_sigma_yaml(document.text) {
                Ok(parsed) => {
                    let detections = parsed.rules.into_iter();
                    self.detections.extend(detections.map(|rule| (document, rule)));
                    let correlations = parsed.correlations.into_iter();
                    self.correlations.extend(correlations.map(|rule| (document, rule)));
                    let filters = parsed.filters.into_iter();
                    self.filters.extend(filters.map(|filter| (document, filter)));
                    parsed.errors
                }
                Err(error) => vec![error.to_string()],
            };
            if !errors.is_empty() && self.correlations.len() == correlations_before {
                self.refused.extend(Written::read(document).refused(document));
            }
            diagnostics.extend(errors.iter().map(|error| reworded(error, document)));
        }
    }
}

fn detection<'a>(document: Document<'a>, rule: &SigmaRule, building: &mut Building<'a>) {
    let (meta, mut findings) = Description::from(rule).read(document);
    if building.disables(&meta) {
        return;
    }
    let compiled = compile::detections(&rule.detection);
    findings.extend(building.taken(&meta));
    let source = wrong_source(&rule.logsource, compiled.names_fields);
    findings.extend(source.map(|why| Finding::error("logsource", why)));
    if loads(&findings) && loads(&compiled.findings) {
        let detection = Detection { rule: building.rules.rules.len(), expr: compiled.expr };
        building.rules.detections.push(detection);
        building.add(document, meta);
        findings.extend(compiled.findings);
    } else {
        findings.extend(errors(compiled.findings));
    }
    building.report(document, findings);
}

fn errors(findings: Vec<Finding>) -> impl Iterator<Item = Finding> {
    let findings = findings.into_iter();
    findings.filter(|finding| finding.fault == Fault::Error)
}

/// Adds a filter's condition to those of the rules that it names.
fn apply<'a>(document: Document<'a>, filter: &FilterRule, building: &mut Building<'a>) {
    let compiled = compile::detections(&filter.detection);
    let mut findings: Vec<Finding> = errors(compiled.findings).collect();
    if !findings.is_empty() {
        building.report(document, findings);
        return;
    }
    if !filter.detection.conditions.iter().any(negates) {
        let why = "a filter is ANDed with the rule, so this keeps only what it selects; an allow \
                   list needs 'condition: not selection'";
        findings.push(Finding::warning("condition", why));
    }
    let mut numbers = HashSet::new();
    if let FilterRuleTarget::Specific(names) = &filter.rules {
        for name in names {
            let why = || format!("the filter names '{name}', which is not a loaded rule");
            match building.find(name) {
                Some(number) => _ = numbers.insert(number),
                None if building.is_disabled(name) => {}
                None => findings.push(Finding::warning(name, why())),
            }
        }
    }
    building.report(document, findings);
    let is_any = filter.rules == FilterRuleTarget::Any;
    for detection in &mut building.rules.detections {
        if is_any || numbers.contains(&detection.rule) {
            let before = std::mem::replace(&mut detection.expr, Expr::Constant(true));
            detection.expr = compile::all(vec![before, compiled.expr.clone()]);
        }
    }
    let correlations = building.rules.correlations.iter();
    for (correlation, guard) in correlations.zip(&mut building.rules.guards) {
        if numbers.contains(&correlation.rule) {
            let before = guard.take().unwrap_or(Expr::Constant(true));
            *guard = Some(compile::all(vec![before, compiled.expr.clone()]));
        }
    }
}

fn negates(condition: &ConditionExpr) -> bool {
    match condition {
        ConditionExpr::Not(_) => true,
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().any(negates),
        ConditionExpr::Identifier(_) | ConditionExpr::Selector { .. } => false,
    }
}

/// Detections that are not an input of a correlation raise alerts themselves, one per client.
fn count_alone(rules: &mut RuleSet, fed: &HashSet<usize>) {
    for (at, detection) in rules.detections.iter().enumerate() {
        if fed.contains(&at) {
            continue;
        }
        rules.correlations.push(Correlation {
            rule: detection.rule,
            kind: Kind::EventCount,
            inputs: vec![Input::Detection(at)],
            group_by: vec![Group { name: "c-ip".to_owned(), of: vec![Field::ClientIp] }],
            window_ns: ALONE_WINDOW_NS,
            condition: vec![(Comparison::Gte, 1)],
            alerts: true,
            undo: 0,
        });
        rules.guards.push(None);
    }
}

/// Warns of unknown names in `yields-to`. A built-in rule that is not loaded was omitted on purpose.
fn name_unknown(building: &mut Building<'_>) {
    let mut unknown = Vec::new();
    for (rule, document) in building.rules.rules.iter().zip(&building.documents) {
        let names = rule.yields_to.iter().filter(|name| {
            let is_known = building.rules.find(name).is_some() || building.is_disabled(name);
            !(is_known || builtin::has(name))
        });
        let findings = names.map(|name| Finding::warning(name, building.unknown(name)));
        unknown.extend(findings.map(|finding| document.locate(finding)));
    }
    building.diagnostics.append(&mut unknown);
}

/// Omits correlations beyond the limit, with a diagnostic: they are numbered with 16 bits.
fn leave_out_beyond(most: usize, rules: &mut RuleSet, diagnostics: &mut Vec<Diagnostic>) {
    let more = rules.correlations.len().saturating_sub(most);
    let Some(first) = rules.correlations.get(most) else { return };
    let first = &rules.rules[first.rule];
    diagnostics.push(Diagnostic {
        fault: Fault::Error,
        origin: first.origin.clone(),
        line: first.line,
        column: 1,
        message: format!(
            "more than {most} rules: the last {more}, from '{}' on, are not active",
            first.id
        ),
    });
    // No earlier correlation has them as inputs.
    rules.correlations.truncate(most);
    rules.guards.truncate(most);
}

/// Why a rule's log source does not fit HTTP responses, if it does not. Servers log requests and errors under
/// one name; a rule that names a field concerns requests.
fn wrong_source(source: &LogSource, has_field: bool) -> Option<String> {
    let category = source.category.as_deref();
    let product = source.product.as_deref();
    let service = source.service.as_deref();
    match (category, product, service) {
        (Some("webserver" | "proxy"), ..) | (_, Some("http-trace"), _) => None,
        (_, Some("zeek"), Some("http")) => None,
        // Its W3C logs contain only requests.
        (None, None | Some("windows"), Some("iis")) => None,
        (None, _, Some("apache" | "nginx")) if has_field => None,
        (None, None, None) => Some(
            "the log source is missing: want category webserver or proxy, or product http-trace"
                .to_owned(),
        ),
        _ => {
            let given = [("category", category), ("product", product), ("service", service)];
            let given =
                given.into_iter().filter_map(|(key, value)| Some(format!("{key} {}", value?)));
            let given: Vec<String> = given.collect();
            Some(format!(
                "{} does not apply to HTTP responses: want category webserver or proxy, or product \
                 http-trace",
                given.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Origin;

    #[test]
    fn rules_beyond_what_there_are_numbers_for_are_named() {
        let rules: Vec<String> = (0..5)
            .map(|n| {
                format!(
                    "title: t{n}\nname: n{n}\nlogsource: {{category: webserver}}\n\
                     detection: {{s: {{sc-status: 404}}, condition: s}}\n"
                )
            })
            .collect();
        let source = Source { origin: Origin::File("r.yml".into()), text: rules.join("---\n") };
        let mut set = parse(std::slice::from_ref(&source), &|_| false).rules;
        let mut diagnostics = Vec::new();
        leave_out_beyond(5, &mut set, &mut diagnostics);
        assert_eq!((set.correlations.len(), diagnostics.len()), (5, 0));
        leave_out_beyond(3, &mut set, &mut diagnostics);
        assert_eq!((set.correlations.len(), set.guards.len()), (3, 3));
        let said: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        let expected = "r.yml:16:1: error: more than 3 rules: the last 2, from 'n3' on, are not \
                        active";
        assert_eq!(said, [expected]);
    }

    /// Regression: only the first was reported, at the position of the same text elsewhere.
    #[test]
    fn every_error_of_a_rule_is_reported_at_its_value() {
        let text = "title: a\nname: a\nlogsource: {category: webserver}\ndetection:\n  s:\n    \
                    cs-host: '('\n    c-uri|re: '('\n  t:\n    c-ip|cidr: a\n  condition: s or u\n";
        let source = Source { origin: Origin::File("r.yml".into()), text: text.to_owned() };
        let parsed = parse(&[source], &|_| false);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "r.yml:7:16: error: the expression '(' is invalid: unclosed group",
                "r.yml:9:16: error: 'a' is not a network such as 10.0.0.0/8 or fd00::/8, or an \
                 address",
                "r.yml:10:3: error: the condition uses 'u', which is not defined; defined: s, t",
            ]
        );
    }

    #[test]
    fn correlations_come_after_what_they_take_in_in_whatever_order_files_have_them() {
        let one = |name: &str, takes: &str| {
            format!(
                "title: {name}\nname: {name}\ncorrelation: {{type: temporal, rules: [{takes}], \
                 group-by: [c-ip], timespan: 5m}}\n"
            )
        };
        let base = "title: base\nname: base\nlogsource: {category: webserver}\n\
                    detection: {s: {sc-status: 404}, condition: s}\n";
        let text = [
            one("c", "a, b"),
            one("b", "a, base"),
            one("circle", "circle, base"),
            base.to_owned(),
            one("a", "base, base"),
        ];
        let source = Source { origin: Origin::File("r.yml".into()), text: text.join("---\n") };
        let parsed = parse(&[source], &|_| false);
        let ids: Vec<&str> = parsed.rules.rules.iter().map(|rule| &*rule.id).collect();
        assert_eq!(ids, ["base", "a", "b", "c"]);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("refer to each other in a cycle"), "{said:?}");
    }
}
