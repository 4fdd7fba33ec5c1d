//! What a rule says of itself, from the keys of its file: those of Sigma and our own (`severity`,
//! `category`, `entities`, `summary`, `suppress`, `group-limit`, `ipv6-prefix`, `quiet`, `marks`,
//! `yields-to`; `native` is read with what is counted).

use rsigma_parser::{CorrelationRule, SigmaRule};

use super::compile;
use super::diagnose::{Diagnostic, Fault};
use super::parse::{Place, slug};
use crate::field::Field;
use crate::rule::{Level, Rule, Severity, Threat};
use crate::summary::Template;
use http_trace_model::value;

/// How long after an alert its next update comes, unless the rule says otherwise: an hour.
const SUPPRESS_NS: u64 = 3_600_000_000_000;

/// Network of one IPv6 client: what a site is given at least (RFC 6177).
const IPV6_PREFIX: u8 = 64;

/// Reads a setting of our own; the type of its value is the parser's.
macro_rules! own {
    ($rule:expr, $name:literal) => {
        $rule
            .custom_attributes
            .get($name)
            .or_else(|| $rule.custom_attributes.get(concat!("http-trace.", $name)))
    };
}

macro_rules! read {
    ($place:expr, $rule:expr) => {{
        let (place, rule) = ($place, $rule);
        let mut faults = Vec::new();
        let mut wrong = |key: &str, why: String| {
            faults.push(place.diagnostic(Fault::Error, key, why));
        };
        let id = match (&rule.name, &rule.id) {
            (Some(name), _) => name.as_str().into(),
            (None, Some(id)) => id.as_str().into(),
            (None, None) => slug(&rule.title),
        };
        let mut severity = Severity::of(rule.level.map_or(Level::Low, level));
        if let Some(given) = own!(rule, "severity") {
            match given.as_u64().and_then(Severity::new) {
                Some(given) => severity = given,
                None => wrong("severity", "want a number from 0 to 10".to_owned()),
            }
        }
        let mut suppress_ns = SUPPRESS_NS;
        if let Some(given) = own!(rule, "suppress") {
            match given.as_str().map(value::duration) {
                Some(Ok(time)) => suppress_ns = time.as_nanos() as u64,
                Some(Err(want)) => wrong("suppress", format!("want {want}")),
                None => wrong("suppress", "want a time such as 1h".to_owned()),
            }
        }
        let mut group_limit = None;
        if let Some(given) = own!(rule, "group-limit") {
            match given.as_u64().filter(|n| *n > 0) {
                Some(n) => group_limit = usize::try_from(n).ok(),
                None => wrong("group-limit", "want a whole number from 1".to_owned()),
            }
        }
        let mut ipv6_prefix = IPV6_PREFIX;
        if let Some(given) = own!(rule, "ipv6-prefix") {
            match given
                .as_u64()
                .and_then(|n| u8::try_from(n).ok())
                .filter(|n| *n <= 128)
            {
                Some(n) => ipv6_prefix = n,
                None => wrong("ipv6-prefix", "want a number from 0 to 128".to_owned()),
            }
        }
        let mut quiet = false;
        if let Some(given) = own!(rule, "quiet") {
            match given.as_bool() {
                Some(yes) => quiet = yes,
                None => wrong("quiet", "want true or false".to_owned()),
            }
        }
        let mut yields_to = Vec::new();
        if let Some(given) = own!(rule, "yields-to") {
            let one = given.as_str().map(|name| vec![name.to_owned()]);
            let all = given.as_sequence().and_then(|names| {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect::<Option<Vec<_>>>()
            });
            match one.or(all).filter(|names| !names.is_empty()) {
                Some(names) => yields_to = names,
                None => wrong("yields-to", "want ids of rules".to_owned()),
            }
        }
        let marks_proxy = match own!(rule, "marks").map(|v| v.as_str()) {
            None => false,
            Some(Some("proxy")) => true,
            Some(_) => {
                wrong("marks", "want proxy".to_owned());
                false
            }
        };
        let mut summary = None;
        if let Some(given) = own!(rule, "summary") {
            match given.as_str().map(Template::parse) {
                Some(Ok(template)) => summary = Some(template),
                Some(Err(why)) => wrong("summary", why),
                None => wrong("summary", "want text".to_owned()),
            }
        }
        let mut entities: Vec<(String, Field)> = Vec::new();
        if let Some(given) = own!(rule, "entities") {
            let mut pairs: Vec<(String, String)> = Vec::new();
            for name in given.as_sequence().into_iter().flatten() {
                let name = name.as_str().unwrap_or_default().to_owned();
                pairs.push((name.clone(), name));
            }
            for (role, name) in given.as_mapping().into_iter().flatten() {
                let text = |v: Option<&str>| v.unwrap_or_default().to_owned();
                pairs.push((text(role.as_str()), text(name.as_str())));
            }
            if pairs.is_empty() {
                wrong(
                    "entities",
                    "want fields, or roles with their fields".to_owned(),
                );
            }
            for (role, name) in pairs {
                match compile::field(&name) {
                    Ok(field) => entities.push((role, field)),
                    Err(refused) => wrong(&refused.at, refused.why),
                }
            }
        }
        let category = own!(rule, "category")
            .and_then(|v| v.as_str())
            .map(str::to_owned);
        let (line, _) = place.document.find("title");
        let meta = Rule {
            id,
            uuid: rule.id.clone(),
            title: rule.title.clone(),
            description: rule
                .description
                .clone()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            references: rule.references.clone(),
            severity,
            category,
            version: rule.modified.clone().or(rule.date.clone()),
            threat: threat(&rule.tags),
            entities,
            summary,
            suppress_ns,
            group_limit,
            ipv6_prefix,
            marks_proxy,
            quiet,
            yields_to,
            origin: place.origin.clone(),
            line,
        };
        (meta, faults)
    }};
}

/// Of a detection.
pub(super) fn of_detection(place: &Place<'_>, rule: &SigmaRule) -> (Rule, Vec<Diagnostic>) {
    read!(place, rule)
}

/// Of a correlation.
pub(super) fn of_correlation(place: &Place<'_>, rule: &CorrelationRule) -> (Rule, Vec<Diagnostic>) {
    read!(place, rule)
}

impl Rule {
    /// Whether a list of what is disabled names the rule.
    pub(super) fn is_disabled(&self, disabled: &dyn Fn(&str) -> bool) -> bool {
        disabled(&self.id) || self.uuid.as_deref().is_some_and(disabled)
    }
}

const fn level(level: rsigma_parser::Level) -> Level {
    match level {
        rsigma_parser::Level::Informational => Level::Informational,
        rsigma_parser::Level::Low => Level::Low,
        rsigma_parser::Level::Medium => Level::Medium,
        rsigma_parser::Level::High => Level::High,
        rsigma_parser::Level::Critical => Level::Critical,
    }
}

/// Sigma's names of the tactics, and ATT&CK's numbers.
const TACTICS: &[(&str, &str)] = &[
    ("reconnaissance", "TA0043"),
    ("resource-development", "TA0042"),
    ("initial-access", "TA0001"),
    ("execution", "TA0002"),
    ("persistence", "TA0003"),
    ("privilege-escalation", "TA0004"),
    ("defense-evasion", "TA0005"),
    ("credential-access", "TA0006"),
    ("discovery", "TA0007"),
    ("lateral-movement", "TA0008"),
    ("collection", "TA0009"),
    ("command-and-control", "TA0011"),
    ("exfiltration", "TA0010"),
    ("impact", "TA0040"),
];

fn threat(tags: &[String]) -> Threat {
    let mut threat = Threat::default();
    for tag in tags {
        let Some(name) = tag
            .to_ascii_lowercase()
            .strip_prefix("attack.")
            .map(str::to_owned)
        else {
            continue;
        };
        let tactic = TACTICS.iter().find(|(n, _)| *n == name.replace('_', "-"));
        let list = if let Some((_, number)) = tactic {
            threat.tactics.push((*number).to_owned());
            continue;
        } else if name.starts_with("ta") {
            &mut threat.tactics
        } else if name.starts_with('t') && name.contains('.') {
            &mut threat.subtechniques
        } else if name.starts_with('t') && name[1..].bytes().all(|b| b.is_ascii_digit()) {
            &mut threat.techniques
        } else {
            continue;
        };
        list.push(name.to_ascii_uppercase());
    }
    threat
}
