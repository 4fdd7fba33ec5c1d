//! Reads the description of a rule from the keys of its document: those of Sigma and our own
//! ([`KEYS`]). Compiles nothing.

use std::collections::HashMap;
use std::sync::Arc;

use rsigma_parser::{CorrelationRule, SigmaRule};
use yaml_serde::Value;

use super::diagnose::{Finding, nearest};
use super::document::Document;
use super::names;
use crate::field::Field;
use crate::rule::{Level, Rule, Severity, Threat};
use crate::template;
use http_trace_model::value;

/// Default time between updates of an alert: one hour.
const SUPPRESS_NS: u64 = 3_600_000_000_000;

/// Default maximum of alerts of one client on one server that are reported individually.
const ALERT_LIMIT: u64 = 10;

/// Default IPv6 prefix length of one client: the minimum that a site is assigned (RFC 6177).
const IPV6_PREFIX: u8 = 64;

/// Our own keys, bare or prefixed with `http-trace.`; the last four are read with a correlation.
const KEYS: &str = "severity category entities summary suppress alert-limit group-limit ipv6-prefix quiet \
                    marks yields-to native percent factor undo";

/// The keys common to detections and correlations.
pub(super) struct Description<'a> {
    title: &'a str,
    name: Option<&'a str>,
    id: Option<&'a str>,
    description: Option<&'a str>,
    references: &'a [String],
    version: Option<&'a String>,
    level: Option<rsigma_parser::Level>,
    tags: &'a [String],
    custom: &'a HashMap<String, Value>,
}

macro_rules! description {
    ($rule:ty) => {
        impl<'a> From<&'a $rule> for Description<'a> {
            fn from(rule: &'a $rule) -> Self {
                Description {
                    title: &rule.title,
                    name: rule.name.as_deref(),
                    id: rule.id.as_deref(),
                    description: rule.description.as_deref(),
                    references: &rule.references,
                    version: rule.modified.as_ref().or(rule.date.as_ref()),
                    level: rule.level,
                    tags: &rule.tags,
                    custom: &rule.custom_attributes,
                }
            }
        }
    };
}

description!(SigmaRule);
description!(CorrelationRule);

impl Description<'_> {
    /// Builds the rule; also returns what is wrong with its description.
    pub fn read(self, document: Document<'_>) -> (Rule, Vec<Finding>) {
        let mut keys = Keys { custom: self.custom, findings: unknown_keys(self.custom) };
        let level = self.level.and_then(|level| Level::named(level.as_str()));
        let severity = keys.read("severity", |v| {
            let score = v.as_u64().and_then(Severity::new);
            score.ok_or("want a number from 0 to 10".into())
        });
        let suppress_ns = keys.read("suppress", |v| {
            let text = v.as_str().ok_or("want a time such as 1h")?;
            let time = value::duration(text).map_err(|want| format!("want {want}"))?;
            Ok(time.as_nanos() as u64)
        });
        let alert_limit =
            keys.read("alert-limit", |v| v.as_u64().ok_or("want an integer from 0".into()));
        let group_limit = keys.read("group-limit", |v| {
            let limit = v.as_u64().filter(|n| *n > 0);
            let limit = limit.and_then(|n| usize::try_from(n).ok());
            limit.ok_or("want an integer from 1".into())
        });
        let ipv6_prefix = keys.read("ipv6-prefix", |v| {
            let bits = v.as_u64().and_then(|n| u8::try_from(n).ok());
            let bits = bits.filter(|n| *n <= 128);
            bits.ok_or("want a number from 0 to 128".into())
        });
        let quiet = keys.read("quiet", |v| v.as_bool().ok_or("want true or false".into()));
        let yields_to = keys.read("yields-to", |v| {
            let ids = strings(v).filter(|ids| !ids.is_empty());
            ids.ok_or("want rule ids".into())
        });
        let marks = keys.read("marks", |v| match v.as_str() {
            Some("proxy") => Ok(true),
            _ => Err("want proxy".into()),
        });
        let summary = keys.read("summary", |v| template::parse(v.as_str().ok_or("want text")?));
        let roles = keys.read("entities", |v| {
            let roles = Some(roles(v)).filter(|roles| !roles.is_empty());
            roles.ok_or("want field names, or roles with their fields".into())
        });
        let category = keys.get("category").and_then(Value::as_str);
        let mut findings = keys.findings;
        let mut entities: Vec<(String, Field)> = Vec::new();
        for (role, name) in roles.unwrap_or_default() {
            match names::field(&name) {
                Ok(field) => entities.push((role, field)),
                Err(finding) => findings.push(finding),
            }
        }
        let rule = Rule {
            id: match self.name.or(self.id) {
                Some(id) => id.into(),
                None => slug(self.title),
            },
            uuid: self.id.map(str::to_owned),
            title: self.title.to_owned(),
            description: self.description.unwrap_or_default().trim().to_owned(),
            references: self.references.to_vec(),
            severity: severity.unwrap_or(Severity::of(level.unwrap_or(Level::Low))),
            category: category.map(str::to_owned),
            version: self.version.cloned(),
            threat: threat(self.tags),
            entities,
            summary,
            input_titles: Vec::new(),
            suppress_ns: suppress_ns.unwrap_or(SUPPRESS_NS),
            alert_limit: alert_limit.unwrap_or(ALERT_LIMIT),
            group_limit,
            ipv6_prefix: ipv6_prefix.unwrap_or(IPV6_PREFIX),
            marks_proxy: marks.unwrap_or(false),
            quiet: quiet.unwrap_or(false),
            yields_to: yields_to.unwrap_or_default(),
            origin: document.origin.clone(),
            line: document.find("title").0,
        };
        (rule, findings)
    }
}

/// The value of one of our own keys.
pub(super) fn own<'a>(custom: &'a HashMap<String, Value>, key: &str) -> Option<&'a Value> {
    let prefixed = || custom.get(&format!("http-trace.{key}"));
    custom.get(key).or_else(prefixed)
}

/// Reads our own keys.
struct Keys<'a> {
    custom: &'a HashMap<String, Value>,
    findings: Vec<Finding>,
}

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        own(self.custom, key)
    }

    fn read<T>(&mut self, key: &str, read: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let read = read(self.get(key)?);
        read.map_err(|want| self.findings.push(Finding::error(key, want))).ok()
    }
}

/// A text, or a list of texts.
fn strings(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value.as_sequence() {
        Some(list) => list.iter().map(text).collect(),
        None => text(value).map(|one| vec![one]),
    }
}

/// Roles and field names; without roles, the field name is the role.
fn roles(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = value.as_sequence().into_iter().flatten();
    let mapping = value.as_mapping().into_iter().flatten();
    let fields = list.map(|name| (text(name), text(name)));
    let roles = mapping.map(|(role, name)| (text(role), text(name)));
    fields.chain(roles).collect()
}

/// Warns of unknown keys that resemble one of ours. Sigma allows any others.
fn unknown_keys(custom: &HashMap<String, Value>) -> Vec<Finding> {
    let is_known = |key: &&String| {
        let key = key.strip_prefix("http-trace.").unwrap_or(key);
        KEYS.split(' ').any(|known| known == key)
    };
    let unknown = custom.keys().filter(|key| !is_known(key));
    let findings = unknown.filter_map(|key| {
        let near = nearest(&key.replace('_', "-").to_ascii_lowercase(), KEYS.split(' '), 2)?;
        let why = format!("unknown key '{key}'; did you mean '{near}'?");
        Some(Finding::warning(key, why))
    });
    let mut findings: Vec<Finding> = findings.collect();
    findings.sort_unstable_by(|a, b| a.at.cmp(&b.at));
    findings
}

/// An id derived from the title, for rules without name and id.
fn slug(title: &str) -> Arc<str> {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join("-").to_ascii_lowercase().into()
}

/// Tactics by their names in Sigma, with ATT&CK ids.
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

/// ATT&CK ids from tags such as `attack.discovery` and `attack.t1595.001`.
fn threat(tags: &[String]) -> Threat {
    let mut threat = Threat::default();
    for tag in tags {
        let tag = tag.to_ascii_lowercase();
        let Some(name) = tag.strip_prefix("attack.") else { continue };
        let tactic = name.replace('_', "-");
        if let Some((_, number)) = TACTICS.iter().find(|(known, _)| *known == tactic) {
            threat.tactics.push((*number).to_owned());
            continue;
        }
        let list = match name.strip_prefix('t') {
            Some(rest) if rest.starts_with('a') => &mut threat.tactics,
            Some(rest) if rest.contains('.') => &mut threat.subtechniques,
            Some(rest) if rest.bytes().all(|b| b.is_ascii_digit()) => &mut threat.techniques,
            _ => continue,
        };
        list.push(name.to_ascii_uppercase());
    }
    threat
}
