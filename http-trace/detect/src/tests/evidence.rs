//! Tests of the evidence in alerts: only of counted events, and never more than there were.

use super::{BEGIN, S, of, response, run};
use crate::alert::State;

const RULES: &str = "
title: Missing
name: missing
logsource: { category: webserver }
detection: { s: { sc-status: 404 }, condition: s }
---
title: Errors
name: errors
correlation:
  type: event_count
  rules: missing
  group-by: c-ip
  timespan: 30s
  condition: { gte: 10 }
---
title: Paths
name: paths
correlation:
  type: value_count
  rules: missing
  group-by: c-ip
  timespan: 24h
  condition: { gte: 3, field: cs-uri-stem }
suppress: 1s
";

#[test]
fn what_left_the_window_before_an_alert_is_no_evidence_of_it() {
    let mut detector = of(RULES);
    // Nine events are collected as evidence and raise nothing; an hour later there are ten.
    let early = (0..9).map(|i| response("198.51.100.7", 404, "/early", BEGIN + i * S));
    let late = BEGIN + 3600 * S;
    // Enough events for the clock to accept the jump in time.
    let ten = (0..20).map(|i| response("198.51.100.7", 404, "/late", late + i * S));
    let (alerts, _) = run(&mut detector, early.chain(ten));
    let alert = alerts.iter().find(|alert| &*alert.rule.id == "errors");
    let alert = alert.expect("ten within the window");
    assert!(alert.first_seen_ns >= late, "{}", alert.first_seen_ns);
    assert!(alert.paths.iter().all(|(path, _)| path == b"/late"), "{:?}", alert.paths);
    assert!(alert.samples.iter().all(|sample| sample.time_ns >= late));
    assert!(alert.statuses.iter().all(|(_, count)| *count <= 10), "{:?}", alert.statuses);
}

#[test]
fn who_stays_near_the_threshold_for_hours_is_shown_with_what_led_to_the_alert() {
    let mut detector = of(RULES);
    let client = "198.51.100.7";
    // Six within each window: more than half of the threshold.
    let hour = 720;
    let slow = (0..hour).map(|i| response(client, 404, "/slow", BEGIN + i * 5 * S));
    let end = BEGIN + hour * 5 * S;
    let fast = (0..10).map(|i| response(client, 404, "/fast", end + i * S));
    let (alerts, _) = run(&mut detector, slow.chain(fast));
    let opened = |a: &&crate::alert::Alert| a.state == State::Opened;
    let alert = alerts.iter().find(|a| opened(a) && &*a.rule.id == "errors");
    let alert = alert.expect("ten within the window");
    let window = 30 * S;
    let ago = alert.time_ns - alert.first_seen_ns;
    assert!((window - 5 * S..=2 * window + 5 * S).contains(&ago), "{ago}");
    // At least those of one window, at most those of two.
    let all: u64 = alert.statuses.iter().map(|(_, count)| count).sum();
    assert!((alert.count..=alert.count + 8).contains(&all), "{all}");
    let paths: Vec<_> = alert.paths.iter().map(|(path, n)| (&path[..], *n)).collect();
    let of = |path: &[u8]| paths.iter().find(|(p, _)| *p == path).map_or(0, |(_, n)| *n);
    assert_eq!((paths.len(), of(b"/slow") + of(b"/fast")), (2, all));
    assert_eq!(alert.samples.len(), 10);
    assert!(alert.samples.is_sorted_by_key(|sample| sample.time_ns));
    assert_eq!(alert.samples.last().map(|s| s.time_ns), Some(alert.time_ns));
}

#[test]
fn no_update_tells_of_more_distinct_values_than_there_were() {
    let mut detector = of(RULES);
    let paths = (0..3000).map(|i| response("198.51.100.7", 404, &format!("/{i}"), BEGIN + i * S));
    let (alerts, _) = run(&mut detector, paths);
    let mut told = 0;
    for alert in alerts.iter().filter(|alert| &*alert.rule.id == "paths") {
        let exact = (alert.time_ns - BEGIN) / S + 1;
        let distinct = alert.distinct.expect("of values");
        assert!(distinct <= exact, "{distinct} of {exact}");
        assert!(
            alert.state == State::Opened || (distinct + 2) * 5 >= exact * 4,
            "{distinct} of {exact}"
        );
        told += 1;
    }
    assert!(told > 1000, "{told}");
}

const BOTH: &str = "
title: Missing
name: missing
logsource: { category: webserver }
detection: { s: { sc-status: 404 }, condition: s }
---
title: Refused
name: refused
logsource: { category: webserver }
detection: { s: { sc-status: 401 }, condition: s }
---
title: Both
name: both
correlation:
  type: temporal
  rules: [missing, refused]
  group-by: c-ip
  timespan: 30s
";

/// After an alert has ended, the first of several inputs is evidence again, even in the bucket
/// in which the alert ended.
#[test]
fn what_comes_after_an_alert_that_ended_is_evidence_of_the_next() {
    for later in 28..40 {
        let mut detector = of(BOTH);
        let client = "198.51.100.7";
        let first = [404, 401].map(|status| response(client, status, "/first", BEGIN));
        let again = BEGIN + later * S;
        let next = [
            response(client, 404, "/missing", again),
            response(client, 401, "/refused", again + S),
        ];
        // Enough events for the clock to accept the jump in time.
        let others = (0..20).map(|_| response("203.0.113.1", 200, "/", again));
        let events = first.into_iter().chain(others).chain(next);
        let (alerts, _) = run(&mut detector, events);
        let opened: Vec<_> = alerts.iter().filter(|a| a.state == State::Opened).collect();
        assert_eq!(opened.len(), if later > 30 { 2 } else { 1 }, "{later}");
        if let [_, second] = opened[..] {
            let paths: Vec<_> = second.paths.iter().map(|(path, _)| &path[..]).collect();
            assert_eq!(paths, [&b"/missing"[..], b"/refused"], "{later}");
        }
    }
}
