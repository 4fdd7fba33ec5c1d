//! Rules at work, in the terms of the promises: exact thresholds, sliding windows, one alert.

use std::net::IpAddr;

use super::alert::{Alert, State};
mod counted;
mod evidence;
mod guessing;
mod hostile;
mod injection;
mod lines;
mod logged;
mod oracle;

use super::builtin;
use super::parse::{self, Source};
use super::rule::Origin;
use super::{Detected, Detector, Settings};
use crate::event::HttpEvent;
use crate::testing;

const S: u64 = 1_000_000_000;
/// A time at the beginning of a sub-bucket of every window here.
const BEGIN: u64 = 1_795_156_800 * S;

/// A response to a client at a time.
pub(super) fn response(client: &str, status: u16, path: &str, time_ns: u64) -> HttpEvent {
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    let mut event = testing::event_of(
        testing::request(&request),
        testing::response(&format!("HTTP/1.1 {status} x\r\n\r\n")),
    );
    event.client.ip = client.parse().expect("an address");
    if event.client.ip.is_ipv6() {
        event.server.ip = "2001:db8::80".parse().expect("an address");
    }
    event.time_ns = time_ns;
    event
}

/// Runs events through a detector; returns the alerts and which rules each event counted for.
pub(super) fn run(
    detector: &mut Detector,
    events: impl IntoIterator<Item = HttpEvent>,
) -> (Vec<Alert>, Vec<Vec<String>>) {
    let (mut alerts, mut rules) = (Vec::new(), Vec::new());
    let mut out = |detected| match detected {
        Detected::Event(event) => {
            rules.push(event.rules.iter().map(ToString::to_string).collect());
        }
        Detected::Alert(alert) => alerts.push(*alert),
    };
    for event in events {
        detector.push(Box::new(event), &mut out);
    }
    (alerts, rules)
}

/// The same for events far apart, as they come when the host's time has come as far as they.
pub(super) fn run_to_end(
    detector: &mut Detector,
    events: impl IntoIterator<Item = HttpEvent>,
) -> Vec<Alert> {
    let (mut alerts, mut last_ns) = (Vec::new(), 0);
    let mut out = |detected| {
        if let Detected::Alert(alert) = detected {
            alerts.push(*alert);
        }
    };
    for event in events {
        last_ns = event.time_ns;
        detector.push(Box::new(event), &mut out);
    }
    detector.tick(last_ns, &mut out);
    alerts
}

pub(super) fn built_in() -> Detector {
    let parsed = parse::parse(&builtin::sources(), &|_| false);
    Detector::new(parsed.rules, Settings::default())
}

/// A detector of one file.
pub(super) fn of(text: &str) -> Detector {
    let source = Source {
        origin: Origin::File("test.yml".into()),
        text: text.to_owned(),
    };
    let parsed = parse::parse(&[source], &|_| false);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    Detector::new(parsed.rules, Settings::default())
}

fn spikes(alerts: &[Alert]) -> Vec<(&str, State, u64)> {
    alerts
        .iter()
        .filter(|a| a.rule.id.starts_with("http-error-spike"))
        .map(|a| (&*a.rule.id, a.state, a.count))
        .collect()
}

#[test]
fn the_350th_error_within_five_minutes_raises_one_alert() {
    for (client, rule, severity) in [
        ("10.1.2.3", "http-error-spike-internal", 3),
        ("fd00::17", "http-error-spike-internal", 3),
        ("198.51.100.7", "http-error-spike-external", 2),
        ("2001:db8::7", "http-error-spike-external", 2),
    ] {
        let mut detector = built_in();
        let errors = |n: u64| (0..n).map(move |i| response(client, 500, "/", BEGIN + i * S / 2));
        let (alerts, rules) = run(&mut detector, errors(349));
        assert_eq!(spikes(&alerts), [], "{client}");
        assert!(rules[0].iter().any(|id| id == rule), "{rules:?}");
        let (alerts, _) = run(&mut detector, [response(client, 404, "/", BEGIN + 175 * S)]);
        assert_eq!(spikes(&alerts), [(rule, State::Opened, 350)]);
        let spike = alerts.iter().find(|a| &*a.rule.id == rule);
        assert_eq!(spike.map(|a| a.severity.score()), Some(severity));
        let (alerts, _) = run(&mut detector, [response(client, 404, "/", BEGIN + 176 * S)]);
        assert_eq!(spikes(&alerts), [], "one alert only");
    }
}

#[test]
fn the_summary_and_the_entities_are_as_the_seed_has_them() {
    let mut detector = built_in();
    let server: IpAddr = "10.8.8.8".parse().expect("an address");
    let errors = (0..350).map(|i| {
        let mut event = response("10.1.2.3", 404, "/", BEGIN + i * S / 10);
        if i % 3 == 0 {
            event.server.ip = server;
        }
        event
    });
    let (alerts, _) = run(&mut detector, errors);
    let alert = &alerts[0];
    let message = String::from_utf8(alert.message()).expect("text");
    assert_eq!(
        message,
        "High number of internal HTTP response errors from IP: 10.1.2.3 to 10.9.9.9"
    );
    let entities: Vec<(&str, &str, String)> = alert
        .entities
        .iter()
        .map(|e| {
            let value = String::from_utf8_lossy(&e.shown.value).into_owned();
            (&*e.role, e.kind(), value)
        })
        .collect();
    let ip = |role, value: &str| (role, "ip", value.to_owned());
    assert_eq!(
        entities,
        [
            ip("device_ip", "10.1.2.3"),
            ip("srcDevice_ip", "10.1.2.3"),
            ip("dstDevice_ip", "10.9.9.9"),
            ("dstDevice_hostname", "hostname", "shop.example".to_owned()),
        ]
    );
    assert_eq!(
        alert.rule.threat.tactics,
        ["TA0007", "TA0011", "TA0043", "TA0009"]
    );
    assert_eq!(alert.rule.threat.techniques, ["T1595", "T1190", "T1213"]);
    assert_eq!(
        alert.rule.threat.subtechniques,
        ["T1595.001", "T1595.002", "T1213.001"]
    );
    assert_eq!(alert.samples.len(), 10);
}

#[test]
fn windows_slide() {
    // 349 late in one stretch of five minutes and one early in the next.
    let mut detector = built_in();
    let late = (0..349).map(|i| response("10.1.2.3", 404, "/", BEGIN + 290 * S + i * S / 100));
    let (alerts, _) = run(&mut detector, late);
    assert_eq!(spikes(&alerts), []);
    let (alerts, _) = run(
        &mut detector,
        [response("10.1.2.3", 404, "/", BEGIN + 301 * S)],
    );
    assert_eq!(spikes(&alerts).len(), 1);
    // 350 spread over more than W·31/30 are none.
    let mut detector = built_in();
    let slow = (0..2000).map(|i| response("10.1.2.3", 404, "/", BEGIN + i * S * 311 / 349));
    let (alerts, _) = run(&mut detector, slow);
    assert_eq!(spikes(&alerts), []);
}

#[test]
fn addresses_of_one_ipv6_site_are_one_client_and_those_of_ipv4_are_not() {
    let mut detector = built_in();
    let site =
        (0..350).map(|i| response(&format!("2001:db8:0:1::{i:x}"), 404, "/", BEGIN + i * S / 2));
    assert_eq!(spikes(&run(&mut detector, site).0).len(), 1);
    let mut detector = built_in();
    let many = (0..350).map(|i| {
        response(
            &format!("198.51.100.{}", i % 2),
            404,
            "/",
            BEGIN + i * S / 2,
        )
    });
    assert_eq!(spikes(&run(&mut detector, many).0).len(), 0);
}

#[test]
fn an_alert_is_updated_and_ends_and_the_rule_is_armed_again() {
    let mut detector = built_in();
    // Two errors a second for two hours and four minutes.
    let errors = (0..2 * 7440).map(|i| response("10.1.2.3", 404, "/", BEGIN + i * S / 2));
    let (alerts, _) = run(&mut detector, errors);
    let states: Vec<State> = alerts
        .iter()
        .filter(|a| &*a.rule.id == "http-error-spike-internal")
        .map(|a| a.state)
        .collect();
    assert_eq!(states, [State::Opened, State::Updated, State::Updated]);
    let mut ended = Vec::new();
    detector.tick(BEGIN + 7450 * S, &mut |_| panic!("too early"));
    detector.tick(BEGIN + 9000 * S, &mut |detected| {
        if let Detected::Alert(alert) = detected {
            ended.push(*alert);
        }
    });
    let end = ended
        .iter()
        .find(|a| &*a.rule.id == "http-error-spike-internal")
        .expect("ended");
    assert_eq!((end.state, end.count), (State::Ended, 2 * 7440));
    assert!(end.time_ns > BEGIN + 7440 * S && end.time_ns < BEGIN + 7740 * S);
    let again = (0..350).map(|i| response("10.1.2.3", 404, "/", BEGIN + 9100 * S + i * S / 2));
    assert_eq!(spikes(&run(&mut detector, again).0).len(), 1);
}

#[test]
fn what_comes_later_than_the_window_is_dropped_and_counted() {
    let mut detector = built_in();
    run(
        &mut detector,
        [response("10.1.2.3", 429, "/", BEGIN + 3600 * S)],
    );
    run(&mut detector, [response("10.1.2.3", 429, "/", BEGIN)]);
    assert!(detector.stats().late > 0);
}

#[test]
fn scans_raise_what_says_what_they_do() {
    let ids = |alerts: &[Alert]| -> Vec<String> {
        let opened = alerts.iter().filter(|a| a.state == State::Opened);
        opened.map(|a| a.rule.id.to_string()).collect()
    };
    // A wordlist.
    let mut detector = built_in();
    let list =
        (0..501).map(|i| response("198.51.100.7", 404, &format!("/w{i}"), BEGIN + i * S / 50));
    let (alerts, _) = run(&mut detector, list);
    assert_eq!(
        ids(&alerts),
        [
            "http-path-scan",
            "http-error-spike-external",
            "http-wordlist-fuzzing"
        ]
    );
    assert_eq!(alerts[0].distinct, Some(30));
    assert_eq!(alerts[2].count, 501);
    // A load test on one missing path is a spike and no scan.
    let mut detector = built_in();
    let load = (0..2000).map(|i| response("198.51.100.7", 404, "/gone", BEGIN + i * S / 500));
    assert_eq!(
        ids(&run(&mut detector, load).0),
        ["http-error-spike-external"]
    );
    // Ten times refused and then let in.
    let mut detector = built_in();
    let mut guesses: Vec<HttpEvent> = (0..10)
        .map(|i| response("198.51.100.7", 401, "/login", BEGIN + i * S))
        .collect();
    guesses.push(response("198.51.100.7", 200, "/login", BEGIN + 11 * S));
    assert_eq!(
        ids(&run(&mut detector, guesses.clone()).0),
        ["http-guessed-credentials"]
    );
    // What another client was refused in between is not counted for this one.
    let other = (0..100).map(|i| response("198.51.100.9", 401, "/login", BEGIN + 10 * S + i));
    let mixed = guesses[..10]
        .iter()
        .cloned()
        .chain(other)
        .chain(guesses.last().cloned());
    let (alerts, _) = run(&mut built_in(), mixed);
    let guessed = alerts
        .iter()
        .find(|a| &*a.rule.id == "http-guessed-credentials");
    assert_eq!(guessed.map(|alert| alert.count), Some(10));
    guesses.swap(9, 10);
    guesses[9].time_ns = BEGIN + 9 * S;
    assert_eq!(ids(&run(&mut built_in(), guesses).0), [""; 0]);
    // Numbers that are counted through; those that are all there are no enumeration.
    let count = |there: u16| {
        (0..20).map(move |i| {
            let status = if i % 2 == 0 { 200 } else { there };
            response(
                "198.51.100.7",
                status,
                &format!("/users/{i}"),
                BEGIN + i * S,
            )
        })
    };
    assert_eq!(
        ids(&run(&mut built_in(), count(404)).0),
        ["http-id-enumeration"]
    );
    assert_eq!(ids(&run(&mut built_in(), count(200)).0), [""; 0]);
    // Servers swept.
    let sweep = (0..20).map(|i| {
        let mut event = response("10.1.2.3", 403, "/", BEGIN + i * S);
        event.server.ip = format!("10.0.0.{i}").parse().expect("an address");
        event
    });
    assert_eq!(ids(&run(&mut built_in(), sweep).0), ["http-ssrf-sweep"]);
}

/// One scan raised both alerts before.
#[test]
fn a_slow_scan_is_told_of_where_no_path_scan_is() {
    let scan = |client: &'static str, from: u64, n: u64, apart: u64, begin: u64| {
        (from..from + n).map(move |i| {
            let at = BEGIN + (begin + (i - from) * apart) * S;
            response(client, 404, &format!("/w{i}"), at)
        })
    };
    let told = |alerts: &[Alert]| -> Vec<(String, State)> {
        let scans = alerts.iter().filter(|a| a.rule.id.ends_with("-scan"));
        scans.map(|a| (a.rule.id.to_string(), a.state)).collect()
    };
    let of = |id: &str, state| (id.to_owned(), state);
    let (fast, slow) = ("http-path-scan", "http-slow-scan");
    // A hundred paths in a hundred seconds, and twenty more some hours later.
    let mut detector = built_in();
    let (alerts, _) = run(&mut detector, scan("198.51.100.7", 0, 100, 1, 0));
    assert_eq!(told(&alerts), [of(fast, State::Opened)]);
    let alerts = run_to_end(&mut detector, scan("198.51.100.7", 100, 20, 60, 4 * 3600));
    assert_eq!(told(&alerts), [of(fast, State::Ended)]);
    let hits = detector.hits_of(slow);
    assert_eq!(
        hits.map(|tally| (tally.count, tally.alerts)),
        // All but the first moved the rule forward.
        Some((119, 0))
    );
    // What was never told does not end either, nor goes on when all comes to its end.
    let mut rest = Vec::new();
    detector.tick(BEGIN + 60 * 3600 * S, &mut |detected| {
        if let Detected::Alert(alert) = detected {
            rest.push(*alert);
        }
    });
    assert_eq!(told(&rest), []);
    // A day later it is armed again; slow from the beginning, and another client meanwhile fast.
    let later = 61 * 3600;
    let both = scan("198.51.100.7", 200, 70, 120, later);
    let mut both: Vec<_> = both.chain(scan("198.51.100.8", 0, 40, 1, later)).collect();
    both.sort_by_key(|event| event.time_ns);
    let alerts = run_to_end(&mut detector, both);
    let opened: Vec<_> = told(&alerts)
        .into_iter()
        .filter(|(_, state)| *state == State::Opened)
        .collect();
    assert_eq!(opened, [of(fast, State::Opened), of(slow, State::Opened)]);
    let hits = detector.hits_of(slow);
    assert_eq!(hits.map(|tally| tally.alerts), Some(1));
    // It was told of first: it goes on beside a scan that becomes fast.
    let mut detector = built_in();
    let slowly = scan("198.51.100.7", 0, 60, 120, 0);
    let alerts = run_to_end(
        &mut detector,
        slowly.chain(scan("198.51.100.7", 60, 40, 1, 7200)),
    );
    let expected = [of(slow, State::Opened), of(fast, State::Opened)];
    assert_eq!(told(&alerts), expected);
}

#[test]
fn what_asks_for_metadata_and_serves_is_told_by_its_cgroup() {
    let asked = |cgroup: Option<u64>, path: &str, token: bool, at: u64| {
        let token = if token {
            "X-aws-ec2-metadata-token: t\r\n"
        } else {
            ""
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: 169.254.169.254\r\n{token}\r\n");
        let mut event = testing::event_of(
            testing::request(&request),
            testing::response("HTTP/1.1 200 OK\r\n\r\n"),
        );
        event.server.ip = "169.254.169.254".parse().expect("an address");
        (event.cgroup_id, event.egress) = (cgroup, Some(false));
        event.time_ns = BEGIN + at * S;
        event
    };
    let served = |cgroup: u64, egress: bool, at: u64| {
        let mut event = response("198.51.100.7", 200, "/", BEGIN + at * S);
        (event.cgroup_id, event.egress) = (Some(cgroup), Some(egress));
        event
    };
    let credentials = "/latest/meta-data/iam/security-credentials/";
    let told = |name: &str, events: Vec<HttpEvent>, expected: bool| {
        let (alerts, _) = run(&mut built_in(), events);
        let of_rule = alerts
            .iter()
            .find(|a| &*a.rule.id == "http-metadata-from-server");
        assert_eq!(of_rule.is_some(), expected, "{name}");
        assert!(
            of_rule.is_none_or(|alert| alert.severity.score() == 7),
            "{name}"
        );
        let any = alerts
            .iter()
            .filter(|a| &*a.rule.id == "http-metadata-service");
        assert!(any.count() == 1, "{name}");
    };
    let v1 = |cgroup| asked(Some(cgroup), credentials, false, 1);
    told("a web server", vec![v1(7), served(7, true, 2)], true);
    told(
        "before and after",
        vec![served(7, true, 0), v1(7), served(7, true, 2)],
        true,
    );
    told("another service", vec![v1(7), served(8, true, 2)], false);
    told("a client", vec![v1(7), served(7, false, 2)], false);
    told(
        "cloud-init",
        vec![v1(7), asked(Some(7), "/latest/user-data", false, 3)],
        false,
    );
    let v2 = asked(Some(7), credentials, true, 1);
    told("with a token", vec![v2, served(7, true, 2)], false);
    told("much later", vec![v1(7), served(7, true, 4000)], false);
    let unknown = asked(None, credentials, false, 1);
    let root = vec![v1(1), served(1, true, 2)];
    told("the root, which everything may be in", root, false);
    told("no cgroup known", vec![unknown, served(7, true, 2)], false);
}

#[test]
fn bodies_that_were_asked_for_have_a_posture_too() {
    let ids = |status: u16, media_type: &str, body: Option<&'static str>| {
        let mut event = response("198.51.100.7", status, "/page", BEGIN);
        let head = format!("HTTP/1.1 {status} x\r\nContent-Type: {media_type}\r\n\r\n");
        event.response = Some(testing::response(&head));
        event.body_snippet = body.map(|body| bytes::Bytes::from_static(body.as_bytes()));
        let (alerts, _) = run(&mut built_in(), [event]);
        let ids = alerts.iter().map(|a| a.rule.id.to_string());
        let ids: Vec<String> = ids
            .filter(|id| ["http-posture-sniffed", "http-posture-error-detail"].contains(&&**id))
            .collect();
        ids
    };
    let page = "<!DOCTYPE html><html>";
    assert_eq!(ids(200, "image/png", Some(page)), ["http-posture-sniffed"]);
    assert_eq!(
        ids(200, "application/json", Some("GIF89a")),
        ["http-posture-sniffed"]
    );
    assert_eq!(ids(200, "text/html; charset=utf-8", Some(page)), [""; 0]);
    assert_eq!(ids(200, "image/png", Some("{}")), [""; 0]);
    assert_eq!(ids(200, "image/png", None), [""; 0]);
    let trace = "<pre>Traceback (most recent call last):\n  File \"/srv/app.py\", line 3";
    assert_eq!(
        ids(500, "text/html", Some(trace)),
        ["http-posture-error-detail"]
    );
    let php = "<br />\n<b>Warning</b>:  mysqli_query(): x in /srv/a.php";
    assert_eq!(
        ids(200, "text/html", Some(php)),
        ["http-posture-error-detail"]
    );
    assert_eq!(
        ids(500, "text/html", Some("<h1>Internal Server Error</h1>")),
        [""; 0]
    );
}

#[test]
fn a_rule_that_is_yielded_to_must_be_there() {
    let text = "title: a\nname: one\nlogsource: {category: webserver}\ndetection: {s: {sc-status: 404}, condition: s}\n\
                yields-to: [http-path-scam]\n";
    let source = |text: &str| Source {
        origin: Origin::File("r.yml".into()),
        text: text.to_owned(),
    };
    let said = |text: &str, disabled: &dyn Fn(&str) -> bool| -> Vec<String> {
        let mut sources = builtin::sources();
        sources.push(source(text));
        let parsed = parse::parse(&sources, disabled);
        assert!(parsed.rules.find("one").is_some());
        parsed.diagnostics.iter().map(ToString::to_string).collect()
    };
    let expected = "r.yml:5:13: warning: 'http-path-scam' is no rule that is loaded; did you mean \
                    'http-path-scan'?";
    assert_eq!(said(text, &|_| false), [expected]);
    let right = text.replace("scam", "scan");
    assert_eq!(said(&right, &|_| false), [""; 0]);
    assert_eq!(said(&right, &|id| id == "http-path-scan"), [""; 0]);
    let wrong = text.replace("[http-path-scam]", "3");
    let parsed = parse::parse(&[source(&wrong)], &|_| false);
    let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["r.yml:5:1: error: want ids of rules"]);
}

#[test]
fn the_same_events_raise_the_same_alerts() {
    let events = || (0..900).map(|i| response("10.1.2.3", 404, &format!("/{i}"), BEGIN + i * S));
    let told = |alerts: Vec<Alert>| -> Vec<(u64, State, u64)> {
        alerts.iter().map(|a| (a.id, a.state, a.time_ns)).collect()
    };
    let first = told(run(&mut built_in(), events()).0);
    assert_eq!(first, told(run(&mut built_in(), events()).0));
    assert!(!first.is_empty());
}

#[test]
fn an_allow_list_is_a_filter() {
    let filter = "title: allowed\nlogsource: {category: webserver}\nfilter:\n  rules: [http-error-spike-internal]\n  selection:\n    c-ip: 10.1.2.3\n  condition: not selection\n";
    let mut sources = builtin::sources();
    sources.push(Source {
        origin: Origin::File("filter.yml".into()),
        text: filter.to_owned(),
    });
    let parsed = parse::parse(&sources, &|_| false);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    let mut detector = Detector::new(parsed.rules, Settings::default());
    for (client, expected) in [("10.1.2.3", 0), ("10.1.2.4", 1)] {
        let errors = (0..400).map(|i| response(client, 500, "/", BEGIN + i * S / 10));
        assert_eq!(spikes(&run(&mut detector, errors).0).len(), expected);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    let rule = |fields: &str| {
        format!(
            "title: a\nname: a\nlogsource:\n  category: webserver\ndetection:\n  sel:\n{fields}  condition: sel\n"
        )
    };
    let count = |condition: &str| {
        format!(
            "{}---\ntitle: b\nname: b\ncorrelation:\n  type: value_count\n  rules: a\n  group-by: c-ip\n  timespan: 1m\n  condition:\n{condition}",
            rule("    sc-status: 404\n")
        )
    };
    for (text, expected) in [
        (rule("    cs-uri-stm: x\n"), "x.yml:7:5: error: unknown field 'cs-uri-stm'; did you mean 'cs-uri-stem'?"),
        (rule("    cs-uri|re: 'a{1000}{1000}'\n"), "x.yml:7:17: error: the expression 'a{1000}{1000}' compiles to more than"),
        (rule("    cs-uri|re: '('\n"), "x.yml:7:17: error: the expression '(' is none: unclosed group"),
        (rule("    c-ip|cidr: 10.0.0.0/99\n"), "x.yml:7:16: error: '10.0.0.0/99' is not a network"),
        (rule("    cs-uri|contain: x\n"), "x.yml:7:12: error: there is no modifier 'contain'; did you mean 'contains'?"),
        (rule("    cs-uri: x\n").replace("webserver", "process_creation"), "x.yml:3:1: error: category process_creation is not seen"),
        (rule("    cs-uri: x\n").replace("condition: sel", "condition: self"), "x.yml:8:3: error: the condition names 'self'"),
        (rule("    cs-uri: x\n").replace("title: a", "title: [a"), "x.yml:"),
        (count("    gte: 30\n    lt: 20\n    field: c-ip\n"), "x.yml:17:3: error: no count fulfils it"),
        (count("    gte: 30\n    field: c-ip\n"), "x.yml:17:3: error: it can never hold: what is counted is the same"),
        (count("    gte: 1000\n    field: sc-status\n"), "it can never hold: there are 900 values at most"),
        (count("    gte: 30\n    field: cs-uri\n").replace("rules: a", "rules: http-a"), "x.yml:14:10: error: 'http-a' is no rule that is loaded"),
        (
            "title: f\nlogsource: {category: webserver}\nfilter:\n  rules: any\n  sel:\n    c-ip: 10.0.0.1\n  condition: sel\n".to_owned(),
            "x.yml:7:3: warning: a filter is ANDed",
        ),
    ] {
        let source = Source {
            origin: Origin::File("x.yml".into()),
            text: text.clone(),
        };
        let parsed = parse::parse(&[source], &|_| false);
        let said: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|s| s.contains(expected)), "{text}\n{said:#?}");
    }
}

#[test]
fn a_bad_rule_does_not_keep_the_good_ones_out() {
    let text = "title: good\nname: good\nlogsource: {category: webserver}\ndetection:\n  sel: {sc-status: 404}\n  condition: sel\n---\ntitle: bad\ndetection: 7\n---\n{{{\n";
    let source = Source {
        origin: Origin::File("x.yml".into()),
        text: text.to_owned(),
    };
    let parsed = parse::parse(&[source], &|_| false);
    assert_eq!(parsed.rules.rules.len(), 1);
    assert_eq!(parsed.diagnostics.len(), 2, "{:#?}", parsed.diagnostics);
}

#[test]
fn a_rule_without_correlation_raises_one_alert_a_client() {
    let mut detector = of(
        "title: t\nlogsource: {category: proxy}\ndetection:\n  sel:\n    c-uri|contains: 'example/x?'\n  condition: sel\nlevel: high\n",
    );
    let (alerts, rules) = run(
        &mut detector,
        ["/x?1", "/y?1", "/x?2"].map(|path| response("10.1.2.3", 200, path, BEGIN)),
    );
    assert_eq!(rules, [vec!["t"], vec![], vec!["t"]]);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].severity.score(), 7);
    assert_eq!(alerts[0].message(), b"t: 10.1.2.3");
}

pub(super) fn opened(alerts: &[Alert]) -> Vec<&str> {
    let opened = alerts.iter().filter(|a| a.state == State::Opened);
    opened.map(|a| &*a.rule.id).collect()
}

#[test]
fn a_server_that_fails_is_told_from_one_with_many_errors_among_more_responses() {
    for (good, expected) in [(1, true), (9, false)] {
        let mut events = Vec::new();
        for i in 0..50_u64 {
            for g in 0..good {
                events.push(response(
                    &format!("198.51.100.{g}"),
                    204,
                    "/",
                    BEGIN + i * S,
                ));
            }
            events.push(response(&format!("203.0.113.{i}"), 502, "/", BEGIN + i * S));
        }
        let (alerts, _) = run(&mut built_in(), events);
        assert_eq!(
            opened(&alerts).contains(&"http-server-failing"),
            expected,
            "{good}"
        );
    }
}

#[test]
fn times_that_tell_accounts_apart() {
    let guesses = |slow_ms: u64| {
        (0..30).map(move |i| {
            let mut event = response(&format!("203.0.113.{i}"), 401, "/login", BEGIN + i * S);
            let ms = if i % 3 == 0 { slow_ms } else { 10 };
            event.response_start_ns = Some(event.time_ns);
            event.request_end_ns = Some(event.time_ns - ms * 1_000_000);
            event
        })
    };
    assert_eq!(
        opened(&run(&mut built_in(), guesses(100)).0),
        ["http-timing-split"]
    );
    assert_eq!(opened(&run(&mut built_in(), guesses(20)).0), [""; 0]);
}

#[test]
fn ordinary_responses_leave_no_trace_and_odd_turns_do() {
    let mut detector = built_in();
    let pages = (0..1000).map(|i| response("198.51.100.7", 204, &format!("/{i}"), BEGIN + i * S));
    let (alerts, rules) = run(&mut detector, pages);
    assert!(alerts.is_empty() && rules.iter().all(Vec::is_empty));
    // The server's counter, and no client's.
    assert_eq!(detector.stats().keys, 1);
    let turns = (0..20).map(|i| {
        let status = if i % 2 == 0 { 403 } else { 200 };
        response("198.51.100.7", status, "/admin", BEGIN + 2000 * S + i * S)
    });
    assert_eq!(
        opened(&run(&mut detector, turns).0),
        ["http-status-sequence"]
    );
}

#[test]
fn alerts_about_what_looks_like_a_proxy_count_for_less() {
    let mut detector = built_in();
    let visit = |i: u64| {
        let mut event = response("198.51.100.7", 404, "/", BEGIN + i * S / 10);
        event.request = Some(testing::request(&format!(
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 203.0.113.{}\r\n\r\n",
            i % 20
        )));
        event
    };
    let (alerts, _) = run(&mut detector, (0..350).map(visit));
    assert_eq!(
        opened(&alerts),
        ["http-looks-like-a-proxy", "http-error-spike-external"]
    );
    assert_eq!(
        (alerts[1].proxy_suspected, alerts[1].severity.score()),
        (true, 0)
    );
}

#[test]
fn posture_is_told_once_a_host_and_is_quiet() {
    let mut detector = built_in();
    let pages = (0..100).map(|i| {
        let mut event = response("198.51.100.7", 200, "/login", BEGIN + i * S);
        event.response = Some(testing::response(
            "HTTP/1.1 200 OK\r\nServer: nginx/1.2.3\r\nContent-Type: text/html\r\n\
             Set-Cookie: a=b\r\n\r\n",
        ));
        event
    });
    let (alerts, _) = run(&mut detector, pages);
    let mut ids = opened(&alerts);
    ids.sort_unstable();
    assert_eq!(
        ids,
        [
            "http-posture-cookie",
            "http-posture-no-csp",
            "http-posture-no-nosniff",
            "http-posture-version"
        ]
    );
    assert!(
        alerts
            .iter()
            .all(|a| a.rule.quiet && a.severity.score() == 0)
    );
}
