//! Tests of clients that receive very many errors: when an alert opens, is updated and ends,
//! and what it says.

use super::*;
use crate::alert::Piece;

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
    assert_eq!(alert.rule.threat.tactics, ["TA0007", "TA0011", "TA0043", "TA0009"]);
    assert_eq!(alert.rule.threat.techniques, ["T1595", "T1190", "T1213"]);
    assert_eq!(alert.rule.threat.subtechniques, ["T1595.001", "T1595.002", "T1213.001"]);
    assert_eq!(alert.samples.len(), 10);
}

#[test]
fn windows_slide() {
    // 349 late in one period of five minutes, and one early in the next.
    let mut detector = built_in();
    let late = (0..349).map(|i| response("10.1.2.3", 404, "/", BEGIN + 290 * S + i * S / 100));
    let (alerts, _) = run(&mut detector, late);
    assert_eq!(spikes(&alerts), []);
    let (alerts, _) = run(&mut detector, [response("10.1.2.3", 404, "/", BEGIN + 301 * S)]);
    assert_eq!(spikes(&alerts).len(), 1);
    // 350 spread over more than W·31/30 raise nothing.
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
    let many =
        (0..350).map(|i| response(&format!("198.51.100.{}", i % 2), 404, "/", BEGIN + i * S / 2));
    assert_eq!(spikes(&run(&mut detector, many).0).len(), 0);
}

#[test]
fn an_alert_is_updated_and_ends_and_the_rule_is_armed_again() {
    let mut detector = built_in();
    // Two errors per second for two hours and four minutes.
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
    let end = ended.iter().find(|a| &*a.rule.id == "http-error-spike-internal").expect("ended");
    assert_eq!((end.state, end.count), (State::Ended, 2 * 7440));
    assert!(end.time_ns > BEGIN + 7440 * S && end.time_ns < BEGIN + 7740 * S);
    let again = (0..350).map(|i| response("10.1.2.3", 404, "/", BEGIN + 9100 * S + i * S / 2));
    assert_eq!(spikes(&run(&mut detector, again).0).len(), 1);
}

#[test]
fn what_comes_later_than_the_window_is_dropped_and_counted() {
    let mut detector = built_in();
    run(&mut detector, [response("10.1.2.3", 429, "/", BEGIN + 3600 * S)]);
    run(&mut detector, [response("10.1.2.3", 429, "/", BEGIN)]);
    assert!(detector.stats().late > 0);
}

/// The message of the end has the numbers of the end, not those at which the alert opened.
#[test]
fn a_message_and_its_alert_say_the_same_number() {
    let mut detector = built_in();
    let missing = (0..200).map(|i| response("10.1.2.3", 404, &format!("/w{i}"), BEGIN + i * S / 2));
    run(&mut detector, missing);
    let ended = finish(&mut detector);
    let scan = ended.iter().find(|alert| &*alert.rule.id == "http-path-scan").expect("ended");
    let distinct = scan.distinct.expect("a number").to_string();
    let is_number = |piece: &Piece| *piece == Piece::Text(distinct.clone());
    assert!(scan.summary.iter().any(is_number), "{distinct}: {:?}", scan.summary);
}

/// Handshakes and questions, answered 401 each time, and let in: nobody guessed. Guesses are told.
#[test]
fn a_challenge_is_no_refusal() {
    let ask = |i: u64, method: &str, lines: &str, status: u16, challenge: &str| {
        let mut event = response("198.51.100.7", status, "/", BEGIN + i * S);
        event.request = Some(testing::request(&format!(
            "{method} /me HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n{lines}\r\n"
        )));
        event.response = Some(testing::response(&format!(
            "HTTP/1.1 {status} x\r\nWWW-Authenticate: {challenge}\r\n\r\n"
        )));
        event
    };
    let legs: [(&str, &str, &str, bool); 8] = [
        ("GET", "", "Digest realm=\"a\", nonce=\"b\"", false),
        ("GET", "Authorization: NTLM TlRMTVNTUAABAAAA\r\n", "NTLM TlRMTVNTUAACAAAA", false),
        ("GET", "Authorization: Negotiate YIIa\r\n", "Negotiate oYG2MIGzoAMKAQGhCwYJ", false),
        (
            "GET",
            "Authorization: Digest username=\"a\"\r\n",
            "Digest nonce=\"c\", stale=true",
            false,
        ),
        ("GET", "Authorization: NTLM TlRMTVNTUAADAAAA\r\n", "NTLM", true),
        // The nonce may be out of date, as the success after it shows.
        ("GET", "Authorization: Digest username=\"a\"\r\n", "Digest nonce=\"c\"", false),
        ("GET", "Authorization: Negotiate YIIa\r\n", "Negotiate oQcwBaADCgEC", true),
        ("POST", "", "Form", true),
    ];
    for (method, lines, challenge, is_guess) in legs {
        let visits = (0..60).flat_map(|i| {
            [
                ask(i, method, lines, 401, challenge),
                ask(i, method, "Authorization: x\r\n", 200, "x"),
            ]
        });
        let (alerts, _) = run(&mut built_in(), visits);
        let raised = opened(&alerts);
        let told =
            raised.iter().any(|id| ["http-brute-force", "http-guessed-credentials"].contains(id));
        assert_eq!(told, is_guess, "{method} {lines} {challenge}: {raised:?}");
    }
    // Keys of another field: guessed only if they differ.
    for (keys, expected) in [(20, true), (1, false)] {
        let visits = (0..20).map(|i| {
            let key = format!("X-Api-Key: {}\r\n", i % keys);
            let (status, challenge) = if i == 19 { (200, "x") } else { (401, "Key") };
            ask(i, "GET", &key, status, challenge)
        });
        let (alerts, _) = run(&mut built_in(), visits);
        let raised = opened(&alerts);
        assert_eq!(raised.contains(&"http-guessed-credentials"), expected, "{raised:?}");
    }
}
