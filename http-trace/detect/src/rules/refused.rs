//! Correlations as they are written, read leniently: their unknown keys, and the rules that a refused one
//! names. Those are made to be counted, and would otherwise raise an alert for every event. Compiles nothing.

use std::collections::HashSet;

use yaml_serde::Value;

use super::diagnose::{Finding, nearest};
use super::document::Document;
use crate::rule::{Origin, RuleSet};

/// Keys of a correlation (Sigma 2.1).
const KEYS: &str = "type rules group-by timespan timeframe condition aliases generate window gap";

/// The correlation of a document.
pub(super) enum Written {
    None,
    /// The document is no YAML, and has one.
    Unreadable,
    Correlation(Value),
}

impl Written {
    /// Those compiled in have no faults, and are not read twice: a start takes long enough.
    pub fn read(document: Document<'_>) -> Self {
        let is_own = matches!(document.origin, Origin::File(_));
        let is_one = |line: &str| line.starts_with("correlation:");
        if !(is_own && document.text.lines().any(is_one)) {
            return Written::None;
        }
        let value = yaml_serde::from_str::<Value>(document.text).ok();
        let correlation = value.and_then(|value| value.get("correlation").cloned());
        correlation.map_or(Written::Unreadable, Written::Correlation)
    }

    /// A misspelt key would be left out in silence: `group_by` counts all clients as one.
    pub fn unknown_keys(&self) -> impl Iterator<Item = Finding> {
        let mapping = match self {
            Written::Correlation(value) => value.as_mapping(),
            _ => None,
        };
        let keys = mapping.into_iter().flatten().filter_map(|(key, _)| key.as_str());
        keys.filter(|key| KEYS.split(' ').all(|known| known != *key)).map(|key| {
            let why = format!("unknown key '{key}' of 'correlation'");
            match nearest(&key.replace('_', "-").to_ascii_lowercase(), KEYS.split(' '), 2) {
                Some(near) => Finding::error(key, format!("{why}; did you mean '{near}'?")),
                None => Finding::warning(key, why),
            }
        })
    }

    /// What the document would have counted, if it did not load.
    pub fn refused(self, document: Document<'_>) -> Option<Refused<'_>> {
        let names = match self {
            Written::None => return None,
            Written::Unreadable => None,
            Written::Correlation(value) => {
                let rules = value.get("rules");
                let list = rules.and_then(Value::as_sequence).into_iter().flatten();
                let names = list.chain(rules).filter_map(Value::as_str);
                Some(names.map(str::to_owned).collect())
            }
        };
        Some(Refused { origin: document.origin, names })
    }
}

pub(super) struct Refused<'a> {
    origin: &'a Origin,
    /// The rules that it names; `None` if that cannot be read.
    names: Option<Vec<String>>,
}

impl Refused<'_> {
    /// Keeps its inputs from raising alerts; if they are not known, those of all rules in its file.
    pub fn silence(&self, rules: &mut RuleSet, fed: &mut HashSet<usize>) {
        let is_input = |number: usize| {
            let rule = &rules.rules[number];
            let is_named = |name: &String| {
                *name == *rule.id || Some(name) == rule.uuid.as_ref() || *name == rule.title
            };
            match &self.names {
                Some(names) => names.iter().any(is_named),
                None => rule.origin == *self.origin,
            }
        };
        let detections = rules.detections.iter().enumerate();
        fed.extend(detections.filter(|(_, of)| is_input(of.rule)).map(|(at, _)| at));
    }
}
