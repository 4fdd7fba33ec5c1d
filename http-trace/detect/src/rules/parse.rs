//! From the text of Sigma files to a [`RuleSet`]: reads, resolves references between rules, applies
//! filters, and says what is wrong where. A faulty rule is left out, the others load. No I/O.

use std::collections::HashSet;
use std::sync::Arc;

use rsigma_parser::{
    ConditionExpr, FilterRule, FilterRuleTarget, LogSource, SigmaRule, parse_sigma_yaml,
};

use super::builtin;
use super::compile::{self, Refused};
use super::correlation::{self, Pending};
use super::diagnose::{Diagnostic, Document, Fault};
use super::meta;
use super::worded;
use crate::field::Field;
use crate::rule::expr::{Comparison, Expr};
use crate::rule::{
    Correlation, Detection, Group, Input, Kind, MOST_CORRELATIONS, Origin, Rule, RuleSet,
};

/// Window of a rule that no correlation counts: how long its alert stays open after the last match.
const ALONE_WINDOW_NS: u64 = 300_000_000_000;

/// The text of a rule file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is from.
    pub origin: Origin,
    /// YAML.
    pub text: String,
}

/// What rule files gave.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The rules that load.
    pub rules: RuleSet,
    /// What is wrong, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parsed {
    /// How many rules have such a fault. Several of one rule are told, each in its place.
    pub fn with(&self, fault: Fault, sources: &[Source]) -> usize {
        let of = |d: &Diagnostic| {
            let source = sources
                .iter()
                .position(|source| source.origin == d.origin)?;
            let documents = Document::split(&sources[source].text);
            let before = documents.iter().rposition(|doc| doc.lines_before < d.line);
            Some((source, before.unwrap_or(0)))
        };
        let faults = self.diagnostics.iter().filter(|d| d.fault == fault);
        faults.filter_map(of).collect::<HashSet<_>>().len()
    }
}

/// Reads rule files. Rules for which `disabled` says so are read and left out.
pub fn parse(sources: &[Source], disabled: &dyn Fn(&str) -> bool) -> Parsed {
    let mut reader = Reader::default();
    for source in sources {
        reader.file(source);
    }
    reader.resolve(disabled)
}

/// A place for diagnostics: a document of a file.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) origin: &'a Origin,
    pub(super) document: Document<'a>,
}

impl Place<'_> {
    pub(super) fn diagnostic(&self, fault: Fault, at: &str, message: String) -> Diagnostic {
        let (line, column) = self.document.find(at);
        Diagnostic {
            fault,
            origin: self.origin.clone(),
            line,
            column,
            message,
        }
    }

    pub(super) fn refused(&self, refused: Refused) -> Diagnostic {
        let mut said = self.diagnostic(Fault::Error, &refused.at, refused.why);
        let value = refused.value.as_deref();
        if let Some(place) = value.and_then(|value| self.document.find_value(value)) {
            (said.line, said.column) = place;
        }
        said
    }

    /// What loads. The same value may stand elsewhere too: that of the field is meant.
    fn odd(&self, odd: Refused) -> Diagnostic {
        let mut said = self.diagnostic(Fault::Warning, &odd.at, odd.why);
        let value = odd.value.as_deref();
        if let Some(place) = value.and_then(|value| self.document.word_of(&odd.at, value)) {
            (said.line, said.column) = place;
        }
        said
    }
}

#[derive(Default)]
struct Reader<'a> {
    detections: Vec<(Place<'a>, SigmaRule)>,
    correlations: Vec<Pending<'a>>,
    /// Where the correlations are.
    places: Vec<Place<'a>>,
    filters: Vec<(Place<'a>, FilterRule)>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn file(&mut self, source: &'a Source) {
        let whole = Document {
            text: &source.text,
            lines_before: 0,
        };
        if whole.text.trim().is_empty() {
            self.diagnostics.push(Diagnostic {
                fault: Fault::Warning,
                origin: source.origin.clone(),
                line: 1,
                column: 1,
                message: "there is nothing in it".to_owned(),
            });
        }
        // Documents that act on others cannot be read alone.
        let acts = source.text.lines().any(|line| line.starts_with("action:"));
        let documents = if acts {
            vec![whole]
        } else {
            Document::split(&source.text)
        };
        for document in documents {
            self.document(Place {
                origin: &source.origin,
                document,
            });
        }
    }

    fn document(&mut self, place: Place<'a>) {
        if let Some((line, column)) = place.document.too_deep() {
            self.diagnostics.push(Diagnostic {
                fault: Fault::Error,
                origin: place.origin.clone(),
                line,
                column,
                message: "brackets are nested too deep: want a flat list of values".to_owned(),
            });
            return;
        }
        let parsed = match parse_sigma_yaml(place.document.text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let message = error.to_string();
                self.error_at_message(place, message);
                return;
            }
        };
        for message in parsed.errors {
            self.error_at_message(place, message);
        }
        let with_place = |rule| (place, rule);
        self.detections
            .extend(parsed.rules.into_iter().map(with_place));
        self.filters
            .extend(parsed.filters.into_iter().map(|filter| (place, filter)));
        self.places
            .extend(parsed.correlations.iter().map(|_| place));
        self.correlations.extend(
            parsed
                .correlations
                .into_iter()
                .map(|rule| Pending { place, rule }),
        );
    }

    fn error_at_message(&mut self, place: Place<'a>, message: String) {
        if let Some(message) = of_condition(&message) {
            let fault = place.diagnostic(Fault::Error, "condition", message);
            self.diagnostics.push(fault);
            return;
        }
        // A rule without a level loads, as one that is low.
        let fault = match worded::is_harmless(&message) {
            true => Fault::Warning,
            false => Fault::Error,
        };
        if let Some((number, why)) = worded::of_related(&message) {
            let mut said = place.diagnostic(fault, "related", why);
            if let Some(at) = place.document.nth_within("related", "type", number) {
                (said.line, said.column) = at;
            }
            self.diagnostics.push(said);
            return;
        }
        if let Some((at, why)) = worded::of_parser(&message) {
            self.diagnostics.push(place.diagnostic(fault, &at, why));
            return;
        }
        if let Some(key) = worded::twice(&message) {
            let first = place.document.at_message(&message);
            if let Some((line, column)) = place.document.again(key, first) {
                self.diagnostics.push(Diagnostic {
                    fault,
                    origin: place.origin.clone(),
                    line,
                    column,
                    message: format!(
                        "'{key}' is there already: a key stands in a mapping once; for several \
                         values want a list"
                    ),
                });
                return;
            }
        }
        let message = match message.contains("cannot start any token") {
            true => format!("{message} (a tab? YAML takes blanks)"),
            false => message,
        };
        let ((line, column), message) = match quoted(&message) {
            Some(what) if !message.contains("line ") => (place.document.find(what), message),
            _ => (
                place.document.at_message(&message),
                place.document.in_file(&message),
            ),
        };
        self.diagnostics.push(Diagnostic {
            fault: Fault::Error,
            origin: place.origin.clone(),
            line,
            column,
            message,
        });
    }

    fn resolve(mut self, disabled: &dyn Fn(&str) -> bool) -> Parsed {
        let mut rules = RuleSet::default();
        self.compile_detections(&mut rules, disabled);
        let of_detections = rules.rules.len();
        let pending = std::mem::take(&mut self.correlations);
        let fed = correlation::resolve(pending, &mut rules, disabled, &mut self.diagnostics);
        self.apply_filters(&mut rules);
        self.rules_alone(&mut rules, of_detections, &fed);
        self.name_unknown(&rules, disabled);
        self.leave_out_beyond(MOST_CORRELATIONS, &mut rules);
        self.diagnostics.sort_by_key(|d| d.fault != Fault::Error);
        Parsed {
            rules,
            diagnostics: self.diagnostics,
        }
    }

    fn compile_detections(&mut self, rules: &mut RuleSet, disabled: &dyn Fn(&str) -> bool) {
        for (place, rule) in &self.detections {
            let (meta, mut faults) = meta::of_detection(place, rule);
            if meta.is_disabled(disabled) {
                continue;
            }
            if let Some(first) = rules.find(&meta.id) {
                let why = there_already(&rules.rules[first]);
                faults.push(place.diagnostic(Fault::Error, &meta.id, why));
            }
            if let Some(why) = wrong_source(&rule.logsource, compile::has_field(&rule.detection)) {
                faults.push(place.diagnostic(Fault::Error, "logsource", why));
            }
            for (key, why) in worded::unknown_keys_of(rule) {
                faults.push(place.diagnostic(Fault::Warning, &key, why));
            }
            let compiled = compile::detections(&rule.detection);
            match compiled {
                Ok(expr) if faults.iter().all(|f| f.fault != Fault::Error) => {
                    for odd in compile::oddities(&rule.detection) {
                        faults.push(place.odd(odd));
                    }
                    rules.detections.push(Detection {
                        rule: rules.rules.len(),
                        expr,
                    });
                    rules.add(meta);
                }
                Ok(_) => {}
                Err(refused) => {
                    let more = compile::unknown_fields(&rule.detection);
                    let more = more.into_iter().filter(|other| *other != refused);
                    let more: Vec<Refused> = more.collect();
                    faults.push(place.refused(refused));
                    faults.extend(more.into_iter().map(|other| place.refused(other)));
                }
            }
            self.diagnostics.append(&mut faults);
        }
    }

    /// A filter's condition comes to the conditions of the rules it names.
    fn apply_filters(&mut self, rules: &mut RuleSet) {
        for (place, filter) in &self.filters {
            if let Err(refused) = compile::detections(&filter.detection) {
                self.diagnostics.push(place.refused(refused));
                continue;
            }
            if !filter.detection.conditions.iter().any(negates) {
                self.diagnostics.push(
                    place.diagnostic(
                        Fault::Warning,
                        "condition",
                        "a filter is ANDed with the rule, so this keeps only what it selects; an \
                     allow list needs 'condition: not selection'"
                            .to_owned(),
                    ),
                );
            }
            let again = || compile::detections(&filter.detection).unwrap_or(Expr::Constant(true));
            match &filter.rules {
                FilterRuleTarget::Any => {
                    for detection in &mut rules.detections {
                        and(&mut detection.expr, again());
                    }
                }
                FilterRuleTarget::Specific(names) => {
                    for name in names {
                        let Some(number) = rules
                            .find(name)
                            .or_else(|| rules.rules.iter().position(|rule| rule.title == *name))
                        else {
                            self.diagnostics.push(place.diagnostic(
                                Fault::Warning,
                                name,
                                format!(
                                    "the filter names '{name}', which is no rule that is loaded"
                                ),
                            ));
                            continue;
                        };
                        for detection in &mut rules.detections {
                            if detection.rule == number {
                                and(&mut detection.expr, again());
                            }
                        }
                        for (at, correlation) in rules.correlations.iter().enumerate() {
                            if correlation.rule == number
                                && let Some(guard) = rules.guards.get_mut(at)
                            {
                                let before = guard.take().unwrap_or(Expr::Constant(true));
                                *guard = Some(compile::all(vec![before, again()]));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Names after `yields-to` that are nobody's: such a rule raises its alerts beside all others. A
    /// built-in rule that is not there was left out with all of them.
    fn name_unknown(&mut self, rules: &RuleSet, disabled: &dyn Fn(&str) -> bool) {
        let places = self.detections.iter().map(|(place, _)| *place);
        let places = places.chain(self.places.iter().copied());
        let mut said = Vec::new();
        for rule in &rules.rules {
            for name in &rule.yields_to {
                if rules.find(name).is_some() || disabled(name) || builtin::has(name) {
                    continue;
                }
                let near = rules
                    .nearest(name)
                    .map_or_else(String::new, |n| format!("; did you mean '{n}'?"));
                let why = format!("'{name}' is no rule that is loaded{near}");
                let of_rule = |place: &Place<'_>| {
                    *place.origin == rule.origin && place.document.find("title").0 == rule.line
                };
                if let Some(place) = places.clone().find(of_rule) {
                    said.push(place.diagnostic(Fault::Warning, name, why));
                }
            }
        }
        self.diagnostics.append(&mut said);
    }

    /// There are numbers for so many correlations and no more.
    fn leave_out_beyond(&mut self, most: usize, rules: &mut RuleSet) {
        let more = rules.correlations.len().saturating_sub(most);
        let Some(first) = rules.correlations.get(most) else {
            return;
        };
        let first = &rules.rules[first.rule];
        self.diagnostics.push(Diagnostic {
            fault: Fault::Error,
            origin: first.origin.clone(),
            line: first.line,
            column: 1,
            message: format!(
                "there are more than {most} rules: {more} of them, from '{}' on, are not at work",
                first.id
            ),
        });
        // None before them takes them in.
        rules.correlations.truncate(most);
        rules.guards.truncate(most);
    }

    /// Rules that no correlation takes in raise alerts themselves: one per client.
    fn rules_alone(&self, rules: &mut RuleSet, of_detections: usize, fed: &HashSet<usize>) {
        for at in 0..rules.detections.len() {
            let rule = rules.detections[at].rule;
            debug_assert!(rule < of_detections);
            if fed.contains(&at) {
                continue;
            }
            rules.correlations.push(Correlation {
                rule,
                kind: Kind::EventCount,
                inputs: vec![Input::Detection(at)],
                group_by: vec![Group {
                    name: "c-ip".to_owned(),
                    of: vec![Field::ClientIp],
                }],
                window_ns: ALONE_WINDOW_NS,
                condition: vec![(Comparison::Gte, 1)],
                alerts: true,
            });
            rules.guards.push(None);
        }
    }
}

/// Why a rule of the same id as another is refused.
pub(super) fn there_already(first: &Rule) -> String {
    let what = format!(
        "'{}' is already at {}:{}",
        first.id, first.origin, first.line
    );
    match first.origin {
        Origin::BuiltIn(_) => format!(
            "{what}: give this one another name, or leave that one out with --disable-rule {} (all \
             of them with --no-builtin-rules)",
            first.id
        ),
        Origin::File(_) => what,
    }
}

fn and(expr: &mut Expr, more: Expr) {
    let before = std::mem::replace(expr, Expr::Constant(true));
    *expr = compile::all(vec![before, more]);
}

fn negates(condition: &ConditionExpr) -> bool {
    match condition {
        ConditionExpr::Not(_) => true,
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => parts.iter().any(negates),
        ConditionExpr::Identifier(_) | ConditionExpr::Selector { .. } => false,
    }
}

/// What the parser says of a condition, in one line and with what would be right.
fn of_condition(message: &str) -> Option<String> {
    if !message.starts_with("Condition ") {
        return None;
    }
    // It shows the condition between a line with the number and one with a pointer at the fault.
    let shown = message
        .lines()
        .find_map(|line| line.strip_prefix("1 | "))
        .unwrap_or_default();
    if shown.contains('|') {
        let why = "'|' in a condition is of old Sigma: leave it and 'timeframe' out and add a rule with \
                   'correlation: {type: event_count, rules: …, group-by: …, timespan: …, condition: {gte: …}}'";
        return Some(why.to_owned());
    }
    let lines = message.lines().map(str::trim);
    let expected = lines.rev().find_map(|line| line.strip_prefix("= "));
    let short = |text: &str| text.chars().take(80).collect::<String>();
    Some(match expected {
        Some(expected) if !shown.is_empty() => {
            format!(
                "the condition '{}' is not understood: {expected}",
                short(shown)
            )
        }
        _ => short(message.lines().next().unwrap_or_default()),
    })
}

/// What stands between quotes in a message of the parser.
fn quoted(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once('\'')?;
    rest.split('\'').next().filter(|what| !what.is_empty())
}

/// Why a rule is not about HTTP responses, if it is not. Servers write of requests and of errors
/// under one name: what asks for a field is about requests.
fn wrong_source(source: &LogSource, has_field: bool) -> Option<String> {
    let category = source.category.as_deref();
    let product = source.product.as_deref();
    let service = source.service.as_deref();
    match (category, product, service) {
        (Some("webserver" | "proxy"), ..) | (_, Some("http-trace"), _) => None,
        (_, Some("zeek"), Some("http")) => None,
        // Its W3C logs are of requests only.
        (None, None | Some("windows"), Some("iis")) => None,
        (None, _, Some("apache" | "nginx")) if has_field => None,
        (None, None, None) => Some(
            "the log source is missing: want category webserver or proxy, or product http-trace"
                .to_owned(),
        ),
        _ => {
            let named = |what, value: Option<&str>| value.map(|v| format!("{what} {v}"));
            let given: Vec<String> = [
                named("category", category),
                named("product", product),
                named("service", service),
            ]
            .into_iter()
            .flatten()
            .collect();
            Some(format!(
                "{} is not seen in HTTP responses: want category webserver or proxy, or product \
                 http-trace",
                given.join(", ")
            ))
        }
    }
}

/// An id made of a title, for rules that have neither name nor id.
pub(super) fn slug(title: &str) -> Arc<str> {
    let mut out = String::new();
    for c in title.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    out.trim_end_matches('-').into()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let source = Source {
            origin: Origin::File("r.yml".into()),
            text: rules.join("---\n"),
        };
        let mut set = parse(std::slice::from_ref(&source), &|_| false).rules;
        let mut reader = Reader::default();
        reader.leave_out_beyond(5, &mut set);
        assert_eq!((set.correlations.len(), reader.diagnostics.len()), (5, 0));
        reader.leave_out_beyond(3, &mut set);
        assert_eq!((set.correlations.len(), set.guards.len()), (3, 3));
        let said: Vec<String> = reader.diagnostics.iter().map(ToString::to_string).collect();
        let expected = "r.yml:16:1: error: there are more than 3 rules: 2 of them, from 'n3' on, are \
                        not at work";
        assert_eq!(said, [expected]);
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
        let source = Source {
            origin: Origin::File("r.yml".into()),
            text: text.join("---\n"),
        };
        let parsed = parse(&[source], &|_| false);
        let ids: Vec<&str> = parsed.rules.rules.iter().map(|rule| &*rule.id).collect();
        assert_eq!(ids, ["base", "a", "b", "c"]);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains("take each other in, in a circle"),
            "{said:?}"
        );
    }
}
