//! The built-in rules: the Sigma files of `rules/`, which `http-trace rules export` writes out.

use super::document::Source;
use crate::rule::Origin;

macro_rules! text {
    ($name:literal) => {
        include_str!(concat!("../../rules/", $name))
    };
}

/// Name and text of each rule file.
pub const FILES: &[(&str, &str)] = &[
    ("error-spike.yml", text!("error-spike.yml")),
    ("scanning.yml", text!("scanning.yml")),
    ("credentials.yml", text!("credentials.yml")),
    ("injection.yml", text!("injection.yml")),
    ("attempts.yml", text!("attempts.yml")),
    ("probes.yml", text!("probes.yml")),
    ("spread.yml", text!("spread.yml")),
    ("protocols.yml", text!("protocols.yml")),
    ("cloud.yml", text!("cloud.yml")),
    ("availability.yml", text!("availability.yml")),
    ("proxy.yml", text!("proxy.yml")),
    ("endpoints.yml", text!("endpoints.yml")),
    ("posture.yml", text!("posture.yml")),
];

/// Filters that the configuration can enable: name, file name, and text.
#[rustfmt::skip]
pub const FILTERS: &[(&str, &str, &str)] = &[
    ("health-probes", "filters/health-probes.yml", text!("filters/health-probes.yml")),
    ("private-ranges", "filters/private-ranges.yml", text!("filters/private-ranges.yml")),
    ("static-assets", "filters/static-assets.yml", text!("filters/static-assets.yml")),
    ("verified-crawlers", "filters/verified-crawlers.yml", text!("filters/verified-crawlers.yml")),
];

pub fn filter(name: &str) -> Option<Source> {
    let (_, file, text) = FILTERS.iter().find(|(known, ..)| *known == name)?;
    Some(Source { origin: Origin::BuiltIn(file), text: (*text).to_owned() })
}

pub fn has(id: &str) -> bool {
    let mut lines = FILES.iter().flat_map(|(_, text)| text.lines());
    lines.any(|line| line.strip_prefix("name: ") == Some(id))
}

/// The built-in rule files.
pub fn sources() -> Vec<Source> {
    FILES
        .iter()
        .map(|(name, text)| Source { origin: Origin::BuiltIn(name), text: (*text).to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::parse;

    #[test]
    fn all_load_without_a_word() {
        let parsed = parse::parse(&sources(), &|_| false);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert!(said.is_empty(), "{said:#?}");
        for rule in &parsed.rules.rules {
            let id = &rule.id;
            assert!(!rule.description.is_empty(), "{id} describes nothing");
            assert!(has(id), "{id}");
        }
        for correlation in parsed.rules.correlations.iter().filter(|c| c.alerts) {
            let rule = &parsed.rules.rules[correlation.rule];
            let id = &rule.id;
            assert!(rule.summary.is_some(), "{id} has no summary");
            assert!(!rule.references.is_empty(), "{id} names no source");
            assert!(rule.category.is_some(), "{id} has no category");
        }
    }
}
