//! Bounds the alerts of a rule that one client, or clients under many names, can raise on one server. A rule that
//! groups by values a client can invent, such as hosts or paths, gets an internal correlation that counts its opening
//! alerts. Beyond the rule's limit, one alert (the digest) is reported in place of them. Knows no counters.

use crate::field::Field;
use crate::rule::expr::Comparison;
use crate::rule::{Correlation, Group, Kind, MOST_CORRELATIONS, Rule, RuleSet};

/// How long a digest that replaces every alert gathers before it is reported, in ns: one hour.
pub const GATHER_NS: u64 = 3_600_000_000_000;

/// Adds digests to a set; returns for each correlation the index of its digest, if it has one.
pub fn add(set: &mut RuleSet) -> Vec<Option<usize>> {
    let mut places = Vec::with_capacity(set.correlations.len());
    let mut digests = Vec::new();
    let most = MOST_CORRELATIONS.saturating_sub(set.correlations.len());
    for correlation in &set.correlations {
        let made_up = |group: &Group| group.of.iter().any(is_made_up);
        let is_bounded = !correlation.group_by.iter().any(made_up);
        let rule = set.rules.get(correlation.rule);
        let rule = rule.filter(|rule| correlation.alerts && !(is_bounded && rule.alert_limit > 0));
        places.push(match rule {
            Some(rule) if digests.len() < most => {
                digests.push(digest(correlation, rule));
                Some(set.correlations.len() + digests.len() - 1)
            }
            _ => None,
        });
    }
    set.correlations.append(&mut digests);
    set.guards.resize_with(set.correlations.len(), || None);
    places
}

fn digest(of: &Correlation, rule: &Rule) -> Correlation {
    let client = ("c-ip", Field::ClientIp);
    let server = ("s-ip", Field::ServerIp);
    // A rule across clients that groups by what they call themselves is bounded for all of them.
    let names_itself = |group: &Group| group.of.contains(&Field::ClientKind);
    let is_across_clients = of.group_by.iter().any(names_itself)
        && !of.group_by.iter().any(|group| group.of.contains(&Field::ClientIp));
    let groups = if rule.alert_limit == 0 || is_across_clients {
        vec![server]
    } else {
        vec![client, server]
    };
    let groups =
        groups.into_iter().map(|(name, field)| Group { name: name.to_owned(), of: vec![field] });
    Correlation {
        rule: of.rule,
        kind: Kind::Digest,
        inputs: Vec::new(),
        group_by: groups.collect(),
        window_ns: of.window_ns.max(rule.suppress_ns),
        condition: vec![(Comparison::Gt, rule.alert_limit)],
        // It reports alerts of another rule and is not listed as a rule.
        alerts: false,
        undo: 0,
    }
}

/// Whether a client can choose arbitrarily many values of a field.
const fn is_made_up(field: &Field) -> bool {
    !matches!(
        field,
        Field::ClientIp
            | Field::PeerIp
            | Field::ServerIp
            | Field::ServerPort
            | Field::Status
            | Field::StatusClass
            | Field::ClientCgroup
            | Field::ServerCgroup
    )
}
