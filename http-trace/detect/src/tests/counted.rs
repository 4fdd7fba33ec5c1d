//! Tests of the rule ids in a response: those of the rules whose condition it brought closer.

use super::{BEGIN, Detected, S, State, built_in, of, response, run};
use http_trace_model::event::HttpEvent;

const PATHS: &str = "
title: Missing
name: missing
logsource: { category: webserver }
detection: { s: { sc-status: 404 }, condition: s }
---
title: Found
name: found
logsource: { category: webserver }
detection: { s: { sc-status: 200 }, condition: s }
---
title: Paths
name: paths
correlation:
  type: value_count
  rules: missing
  group-by: c-ip
  timespan: 30s
  condition: { gte: 3, field: cs-uri-stem }
---
title: Errors
name: errors
correlation:
  type: event_count
  rules: missing
  group-by: c-ip
  timespan: 30s
  condition: { gte: 100 }
---
title: Many
name: many
correlation:
  type: event_count
  rules: missing
  group-by: c-ip
  timespan: 30s
  generate: true
  condition: { gte: 3 }
---
title: Missing, then found
name: in-order
correlation:
  type: temporal_ordered
  rules: [missing, found]
  group-by: c-ip
  timespan: 30s
---
title: Many, then found
name: after-many
correlation:
  type: temporal_ordered
  rules: [many, found]
  group-by: c-ip
  timespan: 30s
---
title: Both
name: both
correlation:
  type: temporal
  rules: [missing, found]
  group-by: c-ip
  timespan: 30s
";

#[test]
fn a_response_bears_the_rules_that_it_moved_forward() {
    let mut detector = of(PATHS);
    // Second, status, path, and the rules that counted it; for a 404 also `errors` and `many`.
    let visits: &[(u64, u16, &str, &[&str])] = &[
        // No 404 came before, so it completes no sequence.
        (0, 200, "/", &[]),
        // The client's first value does not count for `paths`; `both` has already seen its other input.
        (1, 404, "/a", &["both"]),
        (2, 404, "/a", &["both"]),
        (3, 404, "/b", &["paths", "both", "after-many"]),
        (4, 404, "/b", &["both", "after-many"]),
        (5, 200, "/", &["in-order", "after-many", "both"]),
        // Everything has left the windows.
        (60, 200, "/", &[]),
        (61, 404, "/c", &["both"]),
        (62, 200, "/", &["in-order", "both"]),
        (110, 404, "/c", &[]),
    ];
    for (at, status, path, expected) in visits {
        let visit = response("198.51.100.7", *status, path, BEGIN + at * S);
        let (_, rules) = run(&mut detector, [visit]);
        let mut got = rules[0].clone();
        got.retain(|id| id != "errors" && id != "many");
        got.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(got, expected, "{status} {path} after {at} s");
        let errors = rules[0].iter().filter(|id| *id == "errors").count();
        assert_eq!(errors, usize::from(*status == 404), "{at}");
    }
}

#[test]
fn an_ordinary_response_bears_no_built_in_rule() {
    let mut detector = built_in();
    let visits =
        (0..200).map(|i| response("198.51.100.7", 200, &format!("/page{i}"), BEGIN + i * S));
    let (alerts, rules) = run(&mut detector, visits);
    assert!(alerts.is_empty());
    assert!(rules.iter().all(Vec::is_empty), "{:?}", rules.concat());
    // The first 404 counts for the error rule, a second path for the path rule.
    let missing = (0..2).map(|i| response("198.51.100.8", 404, &format!("/{i}"), BEGIN + i * S));
    let (_, rules) = run(&mut detector, missing);
    let has = |at: usize, id: &str| rules[at].iter().any(|rule| rule == id);
    assert!(has(0, "http-error-spike-external") && !has(0, "http-path-scan"));
    assert!(has(1, "http-error-spike-external") && has(1, "http-path-scan"));
    assert!(!has(0, "http-ssrf-sweep") && !has(1, "http-ssrf-sweep"));
}

/// A capture gives the same result in every run, even with more recurring values than are kept.
#[test]
fn what_a_response_bears_is_the_same_in_every_run() {
    let visits = (0..2000_u64).map(|n| {
        let path = format!("/{}", n * n % 17);
        response("198.51.100.7", 404, &path, BEGIN + n * S / 40)
    });
    let visits: Vec<_> = visits.collect();
    // Each detector has its own hash key.
    let rules = || run(&mut of(PATHS), visits.clone()).1;
    let first = rules();
    let paths = |of: &Vec<String>| of.iter().any(|id| id == "paths");
    let counted = first.iter().filter(|of| paths(of)).count();
    assert!((100..1900).contains(&counted), "{counted}");
    assert!((0..10).all(|_| rules() == first));
}

#[test]
fn an_undoing_event_begins_a_count_of_events_anew() {
    const STREAK: &str = "
---
title: Streak
name: streak
correlation:
  type: event_count
  rules: [missing, found]
  group-by: c-ip
  timespan: 100s
  condition: { gte: 5 }
undo: found
";
    let statuses = |turns: &[(u16, u64)]| -> Vec<HttpEvent> {
        let all = turns.iter().flat_map(|(status, n)| (0..*n).map(move |_| *status));
        let visit = |(i, status)| response("198.51.100.7", status, "/", BEGIN + i as u64 * S);
        all.enumerate().map(visit).collect()
    };
    for (turns, expected) in [
        (&[(404, 5)][..], vec![(State::Opened, 5)]),
        (&[(404, 4), (200, 1), (404, 4)], vec![]),
        (&[(200, 9), (404, 4), (200, 1), (404, 5)], vec![(State::Opened, 5)]),
        // An open alert ends.
        (&[(404, 6), (200, 1), (404, 1)], vec![(State::Opened, 5), (State::Ended, 7)]),
    ] {
        let mut detector = of(&format!("{PATHS}{STREAK}"));
        let (mut alerts, _) = run(&mut detector, statuses(turns));
        detector.tick(BEGIN + 300 * S, &mut |detected| {
            if let Detected::Alert(alert) = detected {
                alerts.push(*alert);
            }
        });
        let streaks = alerts.iter().filter(|alert| &*alert.rule.id == "streak");
        let told: Vec<_> = streaks.map(|alert| (alert.state, alert.count)).collect();
        let opened = told.iter().filter(|(state, _)| *state == State::Opened).count();
        assert_eq!(told[..expected.len().min(told.len())], expected, "{turns:?}");
        assert_eq!(opened, usize::from(!expected.is_empty()), "{turns:?}: {told:?}");
    }
}
