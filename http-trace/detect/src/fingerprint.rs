//! Tells whether a correlation is unchanged, by a hash of everything that determines what it counts: inputs
//! with their conditions, guard, group, window and threshold, but not the wording of its alerts. Equal
//! definitions have equal fingerprints in every run and file.

use std::fmt::{self, Write};

use super::rule::{Correlation, Input, RuleSet};

/// FNV-1a over formatted text. Not keyed, because the operator writes what is hashed.
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

/// The fingerprint of each correlation of a set, by index; all differ.
pub fn fingerprints(set: &RuleSet) -> Vec<u64> {
    let mut made: Vec<u64> = Vec::with_capacity(set.correlations.len());
    for (number, correlation) in set.correlations.iter().enumerate() {
        // The correlations that it takes as inputs come before it.
        let one = fingerprint(set, number, correlation, &made);
        made.push(one);
    }
    made
}

fn fingerprint(set: &RuleSet, number: usize, correlation: &Correlation, before: &[u64]) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    let guard = set.guards.get(number);
    // Indexes are not part of the definition: they change when a rule before it is added or removed.
    let definition = Correlation { rule: 0, inputs: Vec::new(), ..correlation.clone() };
    let rule = set.rules.get(correlation.rule);
    let identity = rule.map(|rule| (&rule.id, rule.ipv6_prefix));
    // Writing to the hash cannot fail.
    let _ = write!(hash, "{identity:?} {definition:?} {guard:?}");
    for input in &correlation.inputs {
        let _ = match input {
            Input::Detection(at) => {
                write!(hash, " {:?}", set.detections.get(*at).map(|d| &d.expr))
            }
            Input::Correlation(at) => write!(hash, " {:?}", before.get(*at)),
        };
    }
    hash.0
}

#[cfg(test)]
mod tests {
    use super::super::parse::{self, Source};
    use super::super::rule::{Origin, RuleSet};
    use super::*;

    const RULES: &str = "
title: Errors
name: errors
logsource: {category: webserver}
detection:
  s:
    sc-status: [404, 403]
    cs-uri-stem|re|i: ^/admin
    c-useragent|contains: [aa, bb, cc, dd, ee, ff, gg]
  condition: s
---
title: Many errors
name: many-errors
description: What it is.
correlation:
  type: event_count
  rules: [errors]
  group-by: [c-ip]
  timespan: 5m
  condition: {gte: 10}
";

    fn set(text: &str) -> RuleSet {
        let origin = Origin::File("r.yml".into());
        let text = text.to_owned();
        let text_rules = text.matches("title:").count();
        let parsed = parse::parse(&[Source { origin, text }], &|_| false);
        assert_eq!(parsed.rules.rules.len(), text_rules, "{:?}", parsed.diagnostics);
        parsed.rules
    }

    #[test]
    fn what_it_counts_makes_a_difference_and_how_it_reads_does_not() {
        let before = fingerprints(&set(RULES));
        assert_eq!(before.len(), 1);
        for (from, to, same) in [
            ("What it is.", "What it was.", true),
            ("title: Many errors", "title: Lots of errors", true),
            ("[404, 403]", "[404, 401]", false),
            ("^/admin", "^/Admin/", false),
            ("|re|i:", "|re:", false),
            ("[aa, bb", "[aa, bc", false),
            ("c-useragent|contains:", "c-useragent|contains|cased:", false),
            ("[c-ip]", "[c-ip, cs-host]", false),
            ("5m", "6m", false),
            ("{gte: 10}", "{gte: 11}", false),
            ("name: many-errors", "name: more-errors", false),
        ] {
            let text = RULES.replacen(from, to, 1);
            assert_ne!(text, RULES);
            assert_eq!(fingerprints(&set(&text)) == before, same, "{from} -> {to}");
        }
        // Other rules before it change only its index.
        let others = RULES.replace("errors", "faults").replace("[404, 403]", "[500, 502]");
        let both = format!("{others}---{RULES}");
        assert_eq!(fingerprints(&set(&both))[1], before[0]);
    }
}
