//! Which rules a response bears the ids of: those whose condition it moved forward.

use super::{BEGIN, S, built_in, of, response, run};

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
    // Seconds, status, path, what it counted for beside `errors` and `many` of each 404.
    let visits: &[(u64, u16, &str, &[&str])] = &[
        // Nothing was missing before, so it is no end of anything.
        (0, 200, "/", &[]),
        // The first value of the client; `both` had its other half.
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
    // A 404 bears what counts errors, a second path what counts paths.
    let missing = (0..2).map(|i| response("198.51.100.8", 404, &format!("/{i}"), BEGIN + i * S));
    let (_, rules) = run(&mut detector, missing);
    let has = |at: usize, id: &str| rules[at].iter().any(|rule| rule == id);
    assert!(has(0, "http-error-spike-external") && !has(0, "http-path-scan"));
    assert!(has(1, "http-error-spike-external") && has(1, "http-path-scan"));
    assert!(!has(0, "http-ssrf-sweep") && !has(1, "http-ssrf-sweep"));
}

/// A capture says the same whenever it is read: more values than a count keeps, which come again.
#[test]
fn what_a_response_bears_is_the_same_in_every_run() {
    let visits = (0..2000_u64).map(|n| {
        let path = format!("/{}", n * n % 17);
        response("198.51.100.7", 404, &path, BEGIN + n * S / 40)
    });
    let visits: Vec<_> = visits.collect();
    // Each detector hashes with a key of its own.
    let rules = || run(&mut of(PATHS), visits.clone()).1;
    let first = rules();
    let paths = |of: &Vec<String>| of.iter().any(|id| id == "paths");
    let counted = first.iter().filter(|of| paths(of)).count();
    assert!((100..1900).contains(&counted), "{counted}");
    assert!((0..10).all(|_| rules() == first));
}
