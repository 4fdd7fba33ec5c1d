//! Tests of the alert limit per client, and of the counts in digests.

use super::{BEGIN, S, built_in, finish, of, response, run};
use crate::alert::{Alert, State};
use crate::builtin;
use crate::parse::parse;
use crate::tune::{Override, Tuning};
use crate::{Detected, Detector, Settings};
use http_trace_model::event::HttpEvent;
use http_trace_samples as testing;

const RULES: &str = "
title: Missing
name: missing
logsource: { category: webserver }
detection: { s: { sc-status: [404, 403] }, condition: s }
---
title: Missing on a host
name: by-host
correlation:
  type: event_count
  rules: missing
  group-by: [c-ip, cs-host]
  timespan: 10m
  condition: { gte: 2 }
entities: [c-ip, cs-host]
summary: '{{cs-host}}'
";

fn asked(client: &str, host: &str, time_ns: u64) -> HttpEvent {
    let mut event = response(client, 404, "/a", time_ns);
    let request = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    event.request = Some(testing::request(&request));
    event
}

/// A client that invents hosts, and requests each twice.
fn hosts(client: &'static str, from: u64, to: u64) -> impl Iterator<Item = HttpEvent> {
    (from * 2..to * 2).map(move |i| asked(client, &format!("h{}", i / 2), BEGIN + i * S / 10))
}

fn tick(detector: &mut Detector, time_ns: u64) -> Vec<Alert> {
    let mut alerts = Vec::new();
    detector.tick(time_ns, &mut |detected| {
        if let Detected::Alert(alert) = detected {
            alerts.push(*alert);
        }
    });
    alerts
}

fn told(alerts: &[Alert]) -> Vec<(State, u64, Option<u64>)> {
    let told = alerts.iter().map(|a| (a.state, a.count, a.stands_for));
    told.collect()
}

#[test]
fn beyond_ten_alerts_of_a_client_on_a_server_one_stands_for_the_rest() {
    let mut detector = of(RULES);
    let (alerts, _) = run(&mut detector, hosts("198.51.100.7", 0, 300));
    assert_eq!(alerts.len(), 11);
    let singly = alerts.iter().filter(|a| a.stands_for.is_none());
    assert_eq!(singly.count(), 10);
    let digest = &alerts[10];
    assert_eq!(told(&alerts[10..]), [(State::Opened, 11, Some(1))]);
    assert_eq!(
        digest.message(),
        b"further alerts in one: Missing on a host: 198.51.100.7, 10.9.9.9"
    );
    assert!(digest.hosts.iter().any(|(host, _)| host == b"h10"));
    // Another client has its own limit, and counting continues at the limit.
    let (others, _) = run(&mut detector, hosts("198.51.100.8", 300, 310));
    assert_eq!(others.len(), 10);
    // All end: the ten alerts, the other client's ten, and the digest, which replaces 290.
    let ended = tick(&mut detector, BEGIN + 4 * 3600 * S);
    assert!(ended.iter().all(|alert| alert.state == State::Ended));
    assert_eq!(ended.len(), 21);
    let digests = ended.into_iter().filter(|a| a.stands_for.is_some());
    let digests: Vec<Alert> = digests.collect();
    assert_eq!(told(&digests), [(State::Ended, 300, Some(290))]);
    assert_eq!(digests[0].id, digest.id);
}

/// Attackers with many addresses under many names are bounded together.
#[test]
fn beyond_ten_alerts_across_clients_one_stands_for_the_rest() {
    let spread = (0..400).map(|i| {
        let mut event = asked(&format!("198.51.100.{}", i % 20), "h", BEGIN + i * S / 10);
        let name = i / 20;
        event.request = Some(testing::request(&format!(
            "GET /a?f=../../../../etc/passwd HTTP/1.1\r\nHost: h\r\nUser-Agent: n{name}\r\n\r\n"
        )));
        event
    });
    let (alerts, _) = run(&mut built_in(), spread);
    let of_rule = |alert: &&Alert| &*alert.rule.id == "http-spread-attack";
    let alerts: Vec<Alert> = alerts.iter().filter(of_rule).cloned().collect();
    assert_eq!(alerts.len(), 11);
    assert_eq!(told(&alerts[10..]), [(State::Opened, 11, Some(1))]);
}

#[test]
fn a_restart_raises_no_limit() {
    let mut before = of(RULES);
    run(&mut before, hosts("198.51.100.7", 0, 100));
    let (state, _) = before.save().into_file(usize::MAX);
    let mut after = of(RULES);
    let restored = after.restore(&state.to_vec(), u64::MAX).expect("a state");
    assert_eq!(restored.changed, 0);
    let (alerts, _) = run(&mut after, hosts("198.51.100.7", 100, 300));
    assert_eq!(told(&alerts), []);
    let digests = finish(&mut after);
    let digests: Vec<Alert> = digests.into_iter().filter(|a| a.stands_for.is_some()).collect();
    assert_eq!(told(&digests), [(State::Updated, 300, Some(290))]);
}

/// A page of a host, without hardening headers.
fn page(host: u64, time_ns: u64) -> HttpEvent {
    let mut event = asked("198.51.100.7", &format!("h{host}"), time_ns);
    event.response = Some(testing::response(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.2.3\r\nContent-Type: text/html\r\n\r\n",
    ));
    event
}

#[test]
fn posture_is_one_alert_a_rule_and_server() {
    let pages = || (0..900).map(|i| page(i % 300, BEGIN + i * S / 10));
    let posture = |alerts: Vec<Alert>| {
        let mut of = alerts;
        of.retain(|alert| alert.rule.id.starts_with("http-posture-"));
        of
    };
    let mut detector = built_in();
    assert_eq!(told(&posture(run(&mut detector, pages()).0)), []);
    let alerts = posture(finish(&mut detector));
    assert_eq!(told(&alerts), [(State::Opened, 300, Some(300)); 3]);
    assert!(alerts.iter().all(|alert| alert.hosts.len() == 8));
    // A continuing run reports them after an hour, and updates once per day.
    let mut detector = built_in();
    run(&mut detector, pages());
    let alerts = posture(tick(&mut detector, BEGIN + 3599 * S));
    assert_eq!(told(&alerts), []);
    let alerts = posture(tick(&mut detector, BEGIN + 3601 * S));
    assert_eq!(told(&alerts), [(State::Opened, 300, Some(300)); 3]);
    run(&mut detector, [page(301, BEGIN + 3700 * S)]);
    assert_eq!(told(&posture(tick(&mut detector, BEGIN + 9000 * S))), []);
    let alerts = posture(finish(&mut detector));
    assert_eq!(told(&alerts), [(State::Updated, 301, Some(301)); 3]);
    // With a limit, alerts are reported individually.
    let change = Override { alert_limit: Some(500), ..Override::default() };
    let tuning =
        Tuning { rules: [("http-posture-no-csp".to_owned(), change)].into(), ..Tuning::default() };
    let mut rules = parse(&builtin::sources(), &|_| false).rules;
    tuning.apply(&mut rules);
    let mut detector = Detector::new(rules, Settings::default());
    let alerts = posture(run(&mut detector, pages()).0);
    assert_eq!(told(&alerts), [(State::Opened, 1, None); 300]);
}

/// Whatever is counted, statuses add up to the count or the alert says why not.
#[test]
fn statuses_that_do_not_add_up_are_explained() {
    let kinds = [
        "type: event_count\n  condition: { gte: 8 }",
        "type: event_count\n  condition: { gte: 1 }",
        "type: value_count\n  condition: { gte: 6, field: cs-uri-stem }",
        "type: value_sum\n  condition: { gte: 3000, field: sc-status }",
    ];
    let mut text = RULES.split("---").next().expect("the detection").to_owned();
    for (at, kind) in kinds.iter().enumerate() {
        text += &format!(
            "---\ntitle: k{at}\nname: k{at}\nsuppress: 7s\nquiet: {}\ncorrelation:\n  {kind}\n  \
             rules: missing\n  group-by: c-ip\n  timespan: 30s\n",
            at == 1
        );
    }
    text += "---\ntitle: both\nname: both\ncorrelation: { type: temporal, rules: [k0, k2], \
             group-by: [c-ip], timespan: 30s }\ngenerate: true\n";
    let text = text.replace("condition: { gte", "generate: true\n  condition: { gte");
    let mut detector = of(&text);
    let (mut same, mut reasons) = (0, std::collections::BTreeSet::new());
    let mut check = |alerts: Vec<Alert>| {
        for alert in alerts {
            let shown: u64 = alert.statuses.iter().map(|(_, times)| times).sum();
            assert_eq!(shown == alert.count, alert.differs.is_empty(), "{alert:?}");
            same += u64::from(alert.differs.is_empty());
            reasons.extend(alert.differs.iter().map(|why| why.name()));
        }
    };
    let mut time_ns = BEGIN;
    let mut random = 7_u64;
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        time_ns += (random >> 33) % (5 * S) / 2 * u64::from(random >> 60 > 3);
        let client = ["198.51.100.7", "10.0.0.1"][(random >> 40) as usize % 2];
        let status = [404, 403, 200, 301][(random >> 44) as usize % 4];
        let path = format!("/{}", (random >> 48) % 9);
        check(run(&mut detector, [response(client, status, &path, time_ns)]).0);
    }
    check(finish(&mut detector));
    assert!(same > 5, "{same}");
    for why in ["between_updates", "from_half", "of_part"] {
        assert!(reasons.contains(why), "{reasons:?}");
    }
}
