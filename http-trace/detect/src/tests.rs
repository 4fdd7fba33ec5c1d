//! Tests of running rules: exact thresholds, sliding windows, one alert per occurrence.

use std::net::IpAddr;

use super::alert::{Alert, State};
mod counted;
mod digests;
mod evidence;
mod files;
mod fuzzing;
mod guessing;
mod hops;
mod hostile;
mod injection;
mod lines;
mod logged;
mod oracle;
mod spikes;

use super::builtin;
use super::parse::{self, Source};
use super::rule::Origin;
use super::{Detected, Detector, Settings};
use http_trace_model::event::HttpEvent;
use http_trace_samples as testing;

const S: u64 = 1_000_000_000;
/// A time at the start of a bucket of every window used here.
const BEGIN: u64 = 1_795_156_800 * S;

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

/// Runs events through a detector; returns the alerts, and the rules that counted each event.
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

/// The same for events far apart: ticks advance the clock to each event's time.
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

/// The alerts at the end of a run.
pub(super) fn finish(detector: &mut Detector) -> Vec<Alert> {
    let mut alerts = Vec::new();
    detector.finish(&mut |detected| {
        if let Detected::Alert(alert) = detected {
            alerts.push(*alert);
        }
    });
    alerts
}

pub(super) fn built_in() -> Detector {
    let parsed = parse::parse(&builtin::sources(), &|_| false);
    Detector::new(parsed.rules, Settings::default())
}

/// A detector with the rules of one file.
pub(super) fn of(text: &str) -> Detector {
    let source = Source { origin: Origin::File("test.yml".into()), text: text.to_owned() };
    let parsed = parse::parse(&[source], &|_| false);
    assert!(parsed.diagnostics.is_empty(), "{:#?}", parsed.diagnostics);
    Detector::new(parsed.rules, Settings::default())
}

#[test]
fn scans_raise_what_says_what_they_do() {
    let ids = |alerts: &[Alert]| -> Vec<String> {
        let opened = alerts.iter().filter(|a| a.state == State::Opened);
        let told = opened.filter(|a| !a.rule.quiet);
        told.map(|a| a.rule.id.to_string()).collect()
    };
    // A wordlist scan.
    let mut detector = built_in();
    let list =
        (0..501).map(|i| response("198.51.100.7", 404, &format!("/w{i}"), BEGIN + i * S / 50));
    let (alerts, _) = run(&mut detector, list);
    assert_eq!(
        ids(&alerts),
        ["http-path-scan", "http-error-spike-external", "http-wordlist-fuzzing"]
    );
    assert_eq!(alerts[1].distinct, Some(30));
    assert_eq!(alerts[3].count, 501);
    // A load test of one missing path is an error spike but not a scan.
    let mut detector = built_in();
    let load = (0..2000).map(|i| response("198.51.100.7", 404, "/gone", BEGIN + i * S / 500));
    assert_eq!(ids(&run(&mut detector, load).0), ["http-error-spike-external"]);
    // Ten refused logins followed by a successful one.
    let mut detector = built_in();
    let mut guesses: Vec<HttpEvent> =
        (0..10).map(|i| response("198.51.100.7", 401, "/login", BEGIN + i * S)).collect();
    guesses.push(response("198.51.100.7", 200, "/login", BEGIN + 11 * S));
    assert_eq!(ids(&run(&mut detector, guesses.clone()).0), ["http-guessed-credentials"]);
    // Refusals of another client in between do not count for this one.
    let other = (0..100).map(|i| response("198.51.100.9", 401, "/login", BEGIN + 10 * S + i));
    let mixed = guesses[..10].iter().cloned().chain(other).chain(guesses.last().cloned());
    let (alerts, _) = run(&mut built_in(), mixed);
    let guessed = alerts.iter().find(|a| &*a.rule.id == "http-guessed-credentials");
    // What led to it counts once, however many refusals there were, and the success.
    assert_eq!(guessed.map(|alert| alert.count), Some(2));
    guesses.swap(9, 10);
    guesses[9].time_ns = BEGIN + 9 * S;
    assert_eq!(ids(&run(&mut built_in(), guesses).0), [""; 0]);
    // Sequential ids; it is no enumeration if all of them exist.
    let count = |there: u16| {
        (0..20).map(move |i| {
            let status = if i % 2 == 0 { 200 } else { there };
            response("198.51.100.7", status, &format!("/users/{i}"), BEGIN + i * S)
        })
    };
    assert_eq!(ids(&run(&mut built_in(), count(404)).0), ["http-id-enumeration"]);
    assert_eq!(ids(&run(&mut built_in(), count(200)).0), [""; 0]);
    // A sweep over servers.
    let sweep = (0..20).map(|i| {
        let mut event = response("10.1.2.3", 403, "/", BEGIN + i * S);
        event.server.ip = format!("10.0.0.{i}").parse().expect("an address");
        event
    });
    assert_eq!(ids(&run(&mut built_in(), sweep).0), ["http-ssrf-sweep"]);
}

/// Regression: one scan raised both alerts.
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
        // All but the first event brought the condition closer.
        Some((119, 0))
    );
    // An alert that was never reported reports neither its end nor an update.
    let mut rest = Vec::new();
    detector.tick(BEGIN + 60 * 3600 * S, &mut |detected| {
        if let Detected::Alert(alert) = detected {
            rest.push(*alert);
        }
    });
    assert_eq!(told(&rest), []);
    // A day later the rule is armed again: a scan that is slow from the start, and meanwhile a
    // fast one of another client.
    let later = 61 * 3600;
    let both = scan("198.51.100.7", 200, 70, 120, later);
    let mut both: Vec<_> = both.chain(scan("198.51.100.8", 0, 40, 1, later)).collect();
    both.sort_by_key(|event| event.time_ns);
    let alerts = run_to_end(&mut detector, both);
    let opened: Vec<_> =
        told(&alerts).into_iter().filter(|(_, state)| *state == State::Opened).collect();
    assert_eq!(opened, [of(fast, State::Opened), of(slow, State::Opened)]);
    let hits = detector.hits_of(slow);
    assert_eq!(hits.map(|tally| tally.alerts), Some(1));
    // The slow scan was reported first: its alert stays open when the scan becomes fast.
    let mut detector = built_in();
    let slowly = scan("198.51.100.7", 0, 60, 120, 0);
    let alerts = run_to_end(&mut detector, slowly.chain(scan("198.51.100.7", 60, 40, 1, 7200)));
    let expected = [of(slow, State::Opened), of(fast, State::Opened)];
    assert_eq!(told(&alerts), expected);
}

#[test]
fn what_asks_for_metadata_and_serves_is_told_by_its_cgroup() {
    let asked = |cgroup: Option<u64>, path: &str, token: bool, at: u64| {
        let token = if token { "X-aws-ec2-metadata-token: t\r\n" } else { "" };
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
        let of_rule = alerts.iter().find(|a| &*a.rule.id == "http-metadata-from-server");
        assert_eq!(of_rule.is_some(), expected, "{name}");
        assert!(of_rule.is_none_or(|alert| alert.severity.score() == 7), "{name}");
        let any = alerts.iter().filter(|a| &*a.rule.id == "http-metadata-service");
        assert!(any.count() == 1, "{name}");
    };
    let v1 = |cgroup| asked(Some(cgroup), credentials, false, 1);
    told("a web server", vec![v1(7), served(7, true, 2)], true);
    told("before and after", vec![served(7, true, 0), v1(7), served(7, true, 2)], true);
    told("another service", vec![v1(7), served(8, true, 2)], false);
    told("a client", vec![v1(7), served(7, false, 2)], false);
    told("cloud-init", vec![v1(7), asked(Some(7), "/latest/user-data", false, 3)], false);
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
        let mut detector = built_in();
        run(&mut detector, [event]);
        let alerts = finish(&mut detector);
        let ids = alerts.iter().map(|a| a.rule.id.to_string());
        let ids: Vec<String> = ids
            .filter(|id| ["http-posture-sniffed", "http-posture-error-detail"].contains(&&**id))
            .collect();
        ids
    };
    let page = "<!DOCTYPE html><html>";
    assert_eq!(ids(200, "image/png", Some(page)), ["http-posture-sniffed"]);
    assert_eq!(ids(200, "application/json", Some("GIF89a")), ["http-posture-sniffed"]);
    assert_eq!(ids(200, "text/html; charset=utf-8", Some(page)), [""; 0]);
    assert_eq!(ids(200, "image/png", Some("{}")), [""; 0]);
    assert_eq!(ids(200, "image/png", None), [""; 0]);
    let trace = "<pre>Traceback (most recent call last):\n  File \"/srv/app.py\", line 3";
    assert_eq!(ids(500, "text/html", Some(trace)), ["http-posture-error-detail"]);
    let php = "<br />\n<b>Warning</b>:  mysqli_query(): x in /srv/a.php";
    assert_eq!(ids(200, "text/html", Some(php)), ["http-posture-error-detail"]);
    assert_eq!(ids(500, "text/html", Some("<h1>Internal Server Error</h1>")), [""; 0]);
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

/// Alerts that end or are updated at the same time come in the same order, whatever the hash key.
#[test]
fn the_same_events_raise_the_same_alerts_in_the_same_order() {
    let told = || {
        let mut detector = built_in();
        let errors = (0..350).flat_map(|i| {
            let response = move |n| response(&format!("10.1.2.{n}"), 404, "/", BEGIN + i * S / 2);
            (0..12).map(response)
        });
        let (mut alerts, _) = run(&mut detector, errors);
        let more = (0..12).map(|n| response(&format!("10.1.3.{n}"), 404, "/", BEGIN + 2000 * S));
        alerts.extend(run_to_end(&mut detector, more));
        alerts.iter().map(|a| (a.id, a.state)).collect::<Vec<_>>()
    };
    let first = told();
    assert!(first.iter().filter(|(_, state)| *state == State::Ended).count() >= 12);
    for _ in 0..4 {
        assert_eq!(told(), first);
    }
}

fn spikes(alerts: &[Alert]) -> Vec<(&str, State, u64)> {
    alerts
        .iter()
        .filter(|a| a.rule.id.starts_with("http-error-spike"))
        .map(|a| (&*a.rule.id, a.state, a.count))
        .collect()
}

pub(super) fn opened(alerts: &[Alert]) -> Vec<&str> {
    let opened = alerts.iter().filter(|a| a.state == State::Opened);
    opened.map(|a| &*a.rule.id).collect()
}

#[test]
fn a_server_that_fails_is_told_from_one_with_many_errors_among_more_responses() {
    // 501 and 505 tell of the request.
    for (good, status, expected) in
        [(1, 502, true), (9, 502, false), (1, 501, false), (1, 505, false)]
    {
        let mut events = Vec::new();
        for i in 0..50_u64 {
            for g in 0..good {
                events.push(response(&format!("198.51.100.{g}"), 204, "/", BEGIN + i * S));
            }
            events.push(response(&format!("203.0.113.{i}"), status, "/", BEGIN + i * S));
        }
        let (alerts, _) = run(&mut built_in(), events);
        let is_told = opened(&alerts).contains(&"http-server-failing");
        assert_eq!(is_told, expected, "{good} {status}");
    }
}

#[test]
fn times_that_tell_accounts_apart() {
    let guesses = |slow_ms: u64| {
        (0..30).map(move |i| {
            let mut event = response(&format!("203.0.113.{i}"), 401, "/login", BEGIN + i * S);
            let ms = if i % 3 == 0 { slow_ms } else { 10 };
            if let Some(request) = &mut event.request {
                request.method = "POST".into();
            }
            event.response_start_ns = Some(event.time_ns);
            event.request_end_ns = Some(event.time_ns - ms * 1_000_000);
            event
        })
    };
    assert_eq!(opened(&run(&mut built_in(), guesses(100)).0), ["http-timing-split"]);
    assert_eq!(opened(&run(&mut built_in(), guesses(20)).0), [""; 0]);
}

#[test]
fn ordinary_responses_leave_no_trace_and_odd_turns_do() {
    let mut detector = built_in();
    let pages = (0..1000).map(|i| response("198.51.100.7", 204, &format!("/{i}"), BEGIN + i * S));
    let (alerts, rules) = run(&mut detector, pages);
    assert!(alerts.is_empty() && rules.iter().all(Vec::is_empty));
    // Only the server has counters, of its failures per minute and lasting ones; no client does.
    assert_eq!(detector.stats().keys, 2);
    let turns = (0..20).map(|i| {
        let status = if i % 2 == 0 { 403 } else { 200 };
        response("198.51.100.7", status, "/admin", BEGIN + 2000 * S + i * S)
    });
    assert_eq!(opened(&run(&mut detector, turns).0), ["http-status-sequence"]);
}

#[test]
fn counts_over_the_clients_of_a_proxy_count_for_less() {
    let visit = |names: bool, target: &str, i: u64| {
        let mut event = response("198.51.100.7", 404, target, BEGIN + i * S / 10);
        let named = format!("X-Forwarded-For: 203.0.113.{}\r\n", i % 20);
        let lines = if names { named.as_str() } else { "" };
        event.request =
            Some(testing::request(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n")));
        event
    };
    // What many clients add up to; what one client does that has named some before; what one request shows.
    for (of_many, level) in [(true, 0), (false, 2)] {
        let mut detector = built_in();
        let visits = (0..400).map(|i| visit(of_many || i < 20, "/", i));
        let (alerts, _) = run(&mut detector, visits);
        assert_eq!(opened(&alerts), ["http-looks-like-a-proxy", "http-error-spike-external"]);
        let spike = &alerts[1];
        assert_eq!((spike.proxy_suspected, spike.severity.score()), (true, level), "{of_many}");
        let mut answered = visit(true, "/?x=../../etc/passwd", 401);
        answered.response = Some(testing::response("HTTP/1.1 200 OK\r\n\r\n"));
        let (alerts, _) = run(&mut detector, [answered]);
        let high = alerts.iter().find(|alert| &*alert.rule.id == "http-attack-answered");
        let high = high.map(|alert| (alert.proxy_suspected, alert.severity.score()));
        assert_eq!(high, Some((true, 7)), "{of_many}");
    }
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
    run(&mut detector, pages);
    let alerts = finish(&mut detector);
    let mut ids = opened(&alerts);
    ids.sort_unstable();
    assert_eq!(
        ids,
        [
            "http-posture-cookie", "http-posture-no-csp", "http-posture-no-nosniff",
            "http-posture-version"
        ]
    );
    assert!(alerts.iter().all(|a| a.rule.quiet && a.severity.score() == 0));
}
