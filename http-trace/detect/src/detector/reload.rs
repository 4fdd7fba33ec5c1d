//! Replaces the rules while running. Correlations with an unchanged definition keep their state, including
//! open alerts; others start over.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::alert::State;
use crate::counters::Key;
use crate::lifecycle::Subject;
use crate::rule::RuleSet;

use super::core::{Core, Due, pass_on};
use super::{Detected, Detector, Settings};

/// Result of a reload, in numbers of rules that raise alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Active rules now.
    pub rules: usize,
    /// Of these, rules that kept their state.
    pub kept: usize,
    /// Previously active rules that were removed or changed.
    pub gone: usize,
    /// Open alerts of those, which were ended.
    pub ended: usize,
}

/// Rules prepared for activation. Preparing many takes seconds, so it is done outside the event thread.
#[derive(Debug)]
pub struct Prepared(Core);

impl Prepared {
    pub fn new(rules: RuleSet, settings: Settings) -> Self {
        Prepared(Core::new(rules, settings))
    }
}

impl Detector {
    /// Replaces the active rules. A correlation keeps its state if its fingerprint is unchanged; open alerts
    /// of removed or changed ones end.
    pub fn reload(&mut self, rules: Prepared, out: &mut dyn FnMut(Detected)) -> Reloaded {
        let now_ns = self.clock.now_ns();
        self.core.end_expired(now_ns, out);
        self.core.reload(rules.0, now_ns, out)
    }
}

impl Core {
    fn reload(&mut self, mut new: Core, now_ns: u64, out: &mut dyn FnMut(Detected)) -> Reloaded {
        let mut of_new: HashMap<u64, u16> = new
            .fingerprints
            .iter()
            .zip(0..)
            .map(|(fingerprint, number)| (*fingerprint, number))
            .collect();
        let numbers: Vec<Option<u16>> =
            self.fingerprints.iter().map(|fingerprint| of_new.remove(fingerprint)).collect();
        let number = |old: u16| numbers.get(usize::from(old)).copied().flatten();

        let alerting = |core: &Core| core.correlations.iter().filter(|c| c.alerts).count();
        let kept = self.correlations.iter().zip(&numbers);
        let kept = kept.filter(|(c, number)| c.alerts && number.is_some());
        let kept = kept.count();
        let reloaded = Reloaded {
            rules: alerting(&new),
            kept,
            gone: alerting(self) - kept,
            ended: self.end_all(now_ns, &|key| number(key.correlation).is_none(), out),
        };

        std::mem::swap(&mut new.counters, &mut self.counters);
        new.counters.renumber(number);
        new.due = std::mem::take(&mut self.due)
            .into_iter()
            .filter_map(|Reverse(Due { at_ns, id, key, .. })| {
                let correlation = number(key.correlation)?;
                Some(Reverse(Due::new(at_ns, id, Key { correlation, ..key })))
            })
            .collect();
        new.keys.hash_as(self.keys.hashes().clone());
        new.hits = std::mem::take(&mut self.hits);
        new.bind_hits();
        new.suspects = std::mem::take(&mut self.suspects);
        new.lossy_until_ns = self.lossy_until_ns;
        new.stats = self.stats;
        new.changes = self.changes + 1;
        *self = new;
        reloaded
    }

    /// Ends open alerts of these keys, in the order in which they opened; returns how many.
    fn end_all(
        &mut self,
        now_ns: u64,
        which: &dyn Fn(Key) -> bool,
        out: &mut dyn FnMut(Detected),
    ) -> usize {
        let mut ended = 0;
        for key in self.open(&|key, _| which(key)) {
            let Some(correlation) = self.correlations.get(usize::from(key.correlation)) else {
                continue;
            };
            let lossy = self.is_lossy(correlation, now_ns);
            let subject = Subject::new(&self.rules[correlation.rule], correlation, lossy);
            let Some(counter) = self.counters.get_mut(key) else { continue };
            for alert in subject.end(counter, now_ns) {
                ended += usize::from(alert.state == State::Ended);
                pass_on(&self.suspects, alert, out);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::parse::{self, Source};
    use crate::rule::Origin;
    use crate::tests::{response, run};

    const S: u64 = 1_000_000_000;
    const BEGIN: u64 = 1_795_156_800 * S;

    /// One rule: `threshold` events of a status per client in 5 minutes.
    fn rule(name: &str, status: u16, threshold: u64) -> String {
        format!(
            "title: one {name}
name: one-{name}
logsource: {{category: webserver}}
detection: {{s: {{sc-status: {status}}}, condition: s}}
---
title: {name}
name: {name}
correlation:
  type: event_count
  rules: [one-{name}]
  group-by: [c-ip]
  timespan: 5m
  condition: {{gte: {threshold}}}
---
"
        )
    }

    fn set(texts: &[String]) -> RuleSet {
        let sources: Vec<Source> = texts
            .iter()
            .map(|text| Source {
                origin: Origin::File("r.yml".into()),
                text: text.trim_end().trim_end_matches("---").to_owned(),
            })
            .collect();
        parse::parse(&sources, &|_| false).rules
    }

    fn events(status: u16, n: u64, from: u64) -> Vec<http_trace_model::event::HttpEvent> {
        (0..n).map(|i| response("198.51.100.7", status, "/", BEGIN + (from + i) * S)).collect()
    }

    fn reload(detector: &mut Detector, texts: &[String]) -> (Reloaded, Vec<(String, State)>) {
        let mut alerts = Vec::new();
        let prepared = Prepared::new(set(texts), Settings::default());
        let reloaded = detector.reload(prepared, &mut |detected| {
            if let Detected::Alert(alert) = detected {
                alerts.push((alert.rule.id.to_string(), alert.state));
            }
        });
        (reloaded, alerts)
    }

    fn told(alerts: &[Alert]) -> Vec<(&str, State, u64)> {
        let told = |a: &'_ Alert| (a.state, a.count);
        let ids = alerts.iter().map(|a| &*a.rule.id);
        ids.zip(alerts.iter().map(told)).map(|(id, (state, count))| (id, state, count)).collect()
    }

    #[test]
    fn what_is_counted_goes_on_where_the_definition_is_the_same() {
        let mut detector =
            Detector::new(set(&[rule("a", 404, 10), rule("b", 500, 10)]), Settings::default());
        run(&mut detector, events(404, 9, 0));
        run(&mut detector, events(500, 9, 9));
        // 'b' gets another threshold, and a rule before 'a' changes its index.
        let texts = [rule("new", 403, 5), rule("b", 500, 11), rule("a", 404, 10)];
        let (reloaded, alerts) = reload(&mut detector, &texts);
        let expected = Reloaded { rules: 3, kept: 1, gone: 1, ended: 0 };
        assert_eq!((reloaded, alerts.len()), (expected, 0));
        let (alerts, _) = run(&mut detector, events(404, 1, 20));
        assert_eq!(told(&alerts), [("a", State::Opened, 10)]);
        let (alerts, _) = run(&mut detector, events(500, 10, 30));
        assert_eq!(told(&alerts), [], "counts anew");
        let (alerts, _) = run(&mut detector, events(500, 1, 40));
        assert_eq!(told(&alerts), [("b", State::Opened, 11)]);
        assert_eq!(detector.stats().opened, 2);
    }

    #[test]
    fn open_alerts_go_on_or_end() {
        let rules = [rule("a", 404, 4), rule("b", 500, 4), rule("c", 403, 4)];
        let mut detector = Detector::new(set(&rules), Settings::default());
        for (status, from) in [(404, 0), (500, 4), (403, 8)] {
            let (alerts, _) = run(&mut detector, events(status, 4, from));
            assert_eq!(alerts.len(), 1);
        }
        // 'b' is removed, 'c' is changed.
        let texts = [rule("c", 403, 5), rule("a", 404, 4)];
        let (reloaded, alerts) = reload(&mut detector, &texts);
        let expected = Reloaded { rules: 2, kept: 1, gone: 2, ended: 2 };
        assert_eq!(reloaded, expected);
        let ended = [("b".to_owned(), State::Ended), ("c".to_owned(), State::Ended)];
        assert_eq!(alerts, ended);
        // The alert of 'a' is still open: it does not open again, and ends in time.
        let (alerts, _) = run(&mut detector, events(404, 4, 20));
        assert_eq!(told(&alerts), []);
        let mut alerts = Vec::new();
        detector.tick(BEGIN + 3600 * S, &mut |detected| {
            if let Detected::Alert(alert) = detected {
                alerts.push(*alert);
            }
        });
        assert_eq!(told(&alerts), [("a", State::Ended, 8)]);
    }

    #[test]
    fn the_same_rules_again_change_nothing() {
        let parsed = || parse::parse(&crate::builtin::sources(), &|_| false).rules;
        let mut detector = Detector::new(parsed(), Settings::default());
        run(&mut detector, events(404, 349, 0));
        let before = detector.stats();
        let prepared = Prepared::new(parsed(), Settings::default());
        let reloaded = detector.reload(prepared, &mut |_| panic!("nothing to say"));
        assert_eq!(reloaded.kept, reloaded.rules);
        assert_eq!((reloaded.gone, reloaded.ended), (0, 0));
        assert_eq!(detector.stats(), before);
    }
}
