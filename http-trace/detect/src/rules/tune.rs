//! Changes that a configuration makes to rules without copying them: internal networks, allow lists, and per
//! rule thresholds, windows, severities and suppression. Allow lists become Sigma filters, so that their
//! semantics are those of Sigma. Performs no I/O.

mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use super::builtin;
use super::document::Source;
use crate::rule::expr::Comparison;
use crate::rule::{Kind, Origin, RuleSet, Severity};

/// An allow list. Requests that it matches are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Allow {
    /// Client addresses, by network.
    #[serde(deserialize_with = "values::networks")]
    pub clients: Vec<IpNet>,
    /// User agents; `*` and `?` are wildcards here and below.
    #[serde(rename = "user-agents", alias = "user_agents", deserialize_with = "values::patterns")]
    pub user_agents: Vec<String>,
    #[serde(deserialize_with = "values::patterns")]
    pub paths: Vec<String>,
    #[serde(deserialize_with = "values::patterns")]
    pub hosts: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Override {
    /// Minimum count for an alert.
    #[serde(deserialize_with = "values::threshold")]
    pub threshold: Option<u64>,
    /// For a ratio: minimum percentage for an alert.
    #[serde(deserialize_with = "values::percent")]
    pub percent: Option<u8>,
    #[serde(rename = "window", deserialize_with = "values::time")]
    pub window_ns: Option<u64>,
    #[serde(deserialize_with = "values::severity")]
    pub severity: Option<Severity>,
    /// Time between updates of an alert, ns.
    #[serde(rename = "suppress", deserialize_with = "values::time")]
    pub suppress_ns: Option<u64>,
    /// Maximum alerts of one client on one server that are reported individually.
    #[serde(rename = "alert-limit", alias = "alert_limit", deserialize_with = "values::limit")]
    pub alert_limit: Option<u64>,
    /// Allow list of this rule.
    pub allow: Allow,
}

/// All changes that a configuration makes to rules: its table `[detect]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table ([detect])")]
pub struct Tuning {
    /// Internal networks; `None` keeps those of the built-in rules.
    #[serde(deserialize_with = "values::internal")]
    pub internal: Option<Vec<IpNet>>,
    /// Allow list of all rules.
    pub allow: Allow,
    /// Names of enabled built-in filters ([`builtin::FILTERS`]).
    #[serde(deserialize_with = "values::filters")]
    pub filters: Vec<&'static str>,
    pub rules: BTreeMap<String, Override>,
}

/// The built-in files where `c-ip|cidr` lists the internal networks.
const OF_NETWORKS: [&str; 6] = [
    "attempts.yml", "credentials.yml", "error-spike.yml", "probes.yml", "protocols.yml",
    "scanning.yml",
];

impl Tuning {
    /// Inserts the internal networks in the rules that use them, and adds filters.
    pub fn extend(&self, sources: &mut Vec<Source>) {
        if let Some(internal) = &self.internal {
            for source in &mut *sources {
                if matches!(source.origin, Origin::BuiltIn(file) if OF_NETWORKS.contains(&file)) {
                    source.text = with_networks(&source.text, internal);
                }
            }
        }
        sources.extend(self.allow.filter("any"));
        sources.extend(self.filters.iter().filter_map(|name| builtin::filter(name)));
        for (id, change) in &self.rules {
            sources.extend(change.allow.filter(&format!("[{}]", quoted(id))));
        }
    }

    /// Applies overrides of numbers. Returns the ids that no rule has.
    pub fn apply(&self, rules: &mut RuleSet) -> Vec<&str> {
        let mut unknown = Vec::new();
        for (id, change) in &self.rules {
            let Some(number) = rules.find(id) else {
                unknown.push(id.as_str());
                continue;
            };
            if let Some(rule) = rules.rules.get_mut(number) {
                let mut changed = (**rule).clone();
                changed.severity = change.severity.unwrap_or(changed.severity);
                changed.suppress_ns = change.suppress_ns.unwrap_or(changed.suppress_ns);
                changed.alert_limit = change.alert_limit.unwrap_or(changed.alert_limit);
                *rule = Arc::new(changed);
            }
            let its = |correlation: &&mut crate::rule::Correlation| correlation.rule == number;
            for correlation in rules.correlations.iter_mut().filter(its) {
                if let Some(threshold) = change.threshold {
                    correlation.condition = vec![(Comparison::Gte, threshold)];
                }
                correlation.window_ns = change.window_ns.unwrap_or(correlation.window_ns);
                if let (Kind::Ratio(percent), Some(changed)) =
                    (&mut correlation.kind, change.percent)
                {
                    *percent = changed;
                }
            }
        }
        unknown
    }
}

impl Allow {
    /// The allow list as a Sigma filter for the given rules; `None` if it is empty.
    fn filter(&self, rules: &str) -> Option<Source> {
        let networks: Vec<String> = self.clients.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "title: Allowed by the configuration\nlogsource:\n  category: webserver\nfilter:\n  \
             rules: {rules}\n"
        );
        let mut any = false;
        for (name, field, values) in [
            ("clients", "c-ip|cidr", &networks),
            ("user_agents", "cs-user-agent", &self.user_agents),
            ("paths", "cs-uri-stem", &self.paths),
            ("hosts", "cs-host", &self.hosts),
        ] {
            if values.is_empty() {
                continue;
            }
            any = true;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  selection_{name}:\n    {field}:");
            for value in values {
                let _ = writeln!(text, "      - {}", quoted(value));
            }
        }
        text.push_str("  condition: not 1 of selection_*\n");
        any.then(|| Source { origin: Origin::File("the configuration".into()), text })
    }
}

/// Quotes text as a YAML scalar (YAML 1.2 §7.3.2).
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Replaces the values of each `c-ip|cidr` list by these networks.
fn with_networks(text: &str, networks: &[IpNet]) -> String {
    let mut out = String::new();
    let mut in_list = false;
    for line in text.lines() {
        let begins = line.trim_start();
        if in_list && (begins.starts_with("- ") || begins.starts_with('#')) {
            continue;
        }
        in_list = begins.starts_with("c-ip|cidr:");
        out.push_str(line);
        out.push('\n');
        if in_list {
            for network in networks {
                let _ = writeln!(out, "      - {}", quoted(&network.to_string()));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::run;
    use crate::{Detector, Settings, rules::parse};
    use http_trace_samples as testing;

    fn tuned(tuning: &Tuning) -> (RuleSet, Vec<String>) {
        let mut sources = builtin::sources();
        tuning.extend(&mut sources);
        let parsed = parse::parse(&sources, &|_| false);
        let said = parsed.diagnostics.iter().map(ToString::to_string).collect();
        (parsed.rules, said)
    }

    #[test]
    fn numbers_of_one_rule_change_and_those_of_others_stay() {
        let change = Override {
            threshold: Some(7),
            percent: Some(3),
            window_ns: Some(60_000_000_000),
            severity: Severity::new(9),
            suppress_ns: Some(1),
            alert_limit: Some(4),
            allow: Allow::default(),
        };
        let tuning = Tuning {
            rules: [
                ("http-path-scan".to_owned(), change),
                ("nobody".to_owned(), Override::default()),
                (
                    "http-server-failing".to_owned(),
                    Override { percent: Some(35), ..Override::default() },
                ),
            ]
            .into(),
            ..Tuning::default()
        };
        let (before, _) = tuned(&tuning);
        let (mut after, _) = tuned(&tuning);
        assert_eq!(tuning.apply(&mut after), ["nobody"]);
        for (old, new) in before.correlations.iter().zip(&after.correlations) {
            let (was, is) = (&before.rules[old.rule], &after.rules[new.rule]);
            if &*is.id == "http-path-scan" {
                assert_eq!((new.threshold(), new.window_ns), (7, 60_000_000_000));
                assert_eq!((is.severity.score(), is.suppress_ns), (9, 1));
                assert_eq!(is.alert_limit, 4);
            } else if &*is.id == "http-server-failing" {
                assert_eq!((&old.kind, &new.kind), (&Kind::Ratio(20), &Kind::Ratio(35)));
            } else {
                assert_eq!(old, new);
                assert_eq!((was.severity, was.suppress_ns), (is.severity, is.suppress_ns));
            }
        }
    }

    #[test]
    fn filters_hide_what_they_say_and_nothing_else() {
        let google = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
        let table = [
            ("health-probes", "10.1.2.3", "kube-probe/1.30", "/ready?n=", true),
            ("health-probes", "10.1.2.3", "Mozilla/5.0", "/ready?n=", false),
            ("private-ranges", "10.1.2.3", "Mozilla/5.0", "/a", true),
            ("private-ranges", "fd00::7", "Mozilla/5.0", "/a", true),
            ("private-ranges", "203.0.113.9", "Mozilla/5.0", "/a", false),
            ("static-assets", "10.1.2.3", "Mozilla/5.0", "/a.png?n=", true),
            ("static-assets", "10.1.2.3", "Mozilla/5.0", "/a.php?n=", false),
            ("verified-crawlers", "66.249.66.1", google, "/a", true),
            ("verified-crawlers", "203.0.113.9", google, "/a", false),
            ("verified-crawlers", "66.249.66.1", "Mozilla/5.0", "/a", false),
        ];
        for (filter, client, agent, path, hidden) in table {
            let tuning = Tuning { filters: vec![filter], ..Tuning::default() };
            let (rules, said) = tuned(&tuning);
            assert!(said.is_empty(), "{said:#?}");
            let mut detector = Detector::new(rules, Settings::default());
            let errors = (0..400).map(|n| {
                let head =
                    format!("GET {path}{n} HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n\r\n");
                let mut event = testing::event_of(
                    testing::request(&head),
                    testing::response("HTTP/1.1 404 x\r\n\r\n"),
                );
                event.client.ip = client.parse().expect("an address");
                event.time_ns = testing::TIME_NS + n * 100_000_000;
                event
            });
            let (alerts, _) = run(&mut detector, errors);
            let about = format!("{filter}: {client} {agent} {path}");
            assert_eq!(alerts.is_empty(), hidden, "{about}: {alerts:?}");
        }
    }

    #[test]
    fn allow_lists_and_networks_load_whatever_is_in_them() {
        let net = |text: &str| text.parse::<IpNet>().expect("a network");
        let allow = Allow {
            clients: vec![net("192.0.2.0/24"), net("2001:db8::/32")],
            user_agents: vec!["it's: a \"probe\"*".into(), "#".into()],
            paths: vec!["/healthz".into(), "- x\n  rules: y".into()],
            hosts: vec!["*.example".into()],
        };
        let tuning = Tuning {
            internal: Some(vec![net("198.51.100.0/24"), net("fd00::/8")]),
            allow: allow.clone(),
            filters: vec!["health-probes", "static-assets", "verified-crawlers"],
            rules: [("http-path-scan".to_owned(), Override { allow, ..Override::default() })]
                .into(),
        };
        let (rules, said) = tuned(&tuning);
        assert!(said.is_empty(), "{said:#?}");
        let (plain, _) = tuned(&Tuning::default());
        assert_eq!(rules.rules.len(), plain.rules.len());
        assert!(rules.guards.iter().any(Option::is_some));
        let shown = format!("{:?}", rules.detections);
        // Servers are internal by their addresses alone.
        assert!(shown.contains("198.51.100.0/24") && shown.matches("172.16.0.0/12").count() == 1);
    }
}
