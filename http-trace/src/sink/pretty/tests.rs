//! Lines as a person sees them.

use super::*;
use http_trace_model::event::{LossUnit, Missing};
use http_trace_samples as testing;

fn pretty(verbose: u8, color: bool, events: &[HttpEvent]) -> String {
    let mut pretty = Pretty::new(&crate::sink::Style { verbose, color, ..Default::default() });
    let mut out = Vec::new();
    for event in events {
        pretty.event(&Entry { event, user: None }, &mut out);
    }
    pretty.loss(
        &Loss {
            count: 3,
            unit: LossUnit::Records,
            place: "ring_full",
            since_ns: testing::TIME_NS - 1_000_000_000,
            until_ns: testing::TIME_NS,
            detail: None,
        },
        &mut out,
    );
    String::from_utf8(out).expect("UTF-8")
}

fn some_events() -> Vec<HttpEvent> {
    let mut slow = testing::event_of(
        testing::request(
            "POST http://api.example:8080/v1/orders?id=0123456789012345678901234567890123456789 HTTP/1.1\r\n\r\n",
        ),
        testing::response(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 1234567\r\nRetry-After: 5\r\n\r\n",
        ),
    );
    slow.request_end_ns = Some(testing::TIME_NS - 2_345_000_000);
    slow.server.ip = "2001:db8::80".parse().expect("an address");
    slow.informational.push(testing::response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"));
    let mut hostile = testing::event_of(
        testing::request("GET /\u{1b}]0;owned\u{7}\u{202e}\u{9b}31m HTTP/1.1\r\nHost: h\r\n\r\n"),
        testing::response("HTTP/1.1 200 \u{1b}[2J\r\nX: a\u{1b}[31m\r\n\r\n"),
    );
    hostile.flags = vec!["bare_lf"];
    let mut unknown = testing::event();
    (unknown.request, unknown.request_end_ns, unknown.request_start_ns) = (None, None, None);
    (unknown.body_bytes, unknown.complete) = (None, false);
    unknown.missing = vec![Missing::Request, Missing::End];
    let mut unanswered = testing::event();
    (unanswered.response, unanswered.no_response) = (None, Some(NoResponse::Reset));
    (unanswered.response_start_ns, unanswered.body_bytes) = (None, None);
    vec![testing::event(), slow, hostile, unknown, unanswered]
}

/// The client's address is where it is, however long the method.
#[test]
fn long_methods_shift_no_column() {
    let events: Vec<HttpEvent> = ["GET", "OPTIONS", "PROPPATCH", "VERSION-CONTROL"]
        .map(|method| {
            let request = format!("{method} /a/b?c=d HTTP/1.1\r\nHost: shop.example\r\n\r\n");
            let response = testing::response("HTTP/1.1 200 OK\r\n\r\n");
            testing::event_of(testing::request(&request), response)
        })
        .into();
    for width in [None, Some(80), Some(100), Some(110), Some(160), Some(200)] {
        let mut pretty = Pretty::new(&crate::sink::Style { width, ..Default::default() });
        let mut out = Vec::new();
        for event in &events {
            pretty.event(&Entry { event, user: None }, &mut out);
        }
        let text = String::from_utf8(out).expect("UTF-8");
        let column = |line: &str| line.find("10.1.2.3").map(|at| columns(&line[..at]));
        let mut places: Vec<_> = text.lines().map(column).collect();
        places.dedup();
        assert!(places.len() == 1 && places[0].is_some(), "{width:?}:\n{text}");
    }
}

/// Whatever is on a line: long methods, hosts and addresses, remarks, alerts and losses.
#[test]
fn nothing_is_broken_in_its_middle_on_a_terminal_of_eighty_columns_or_more() {
    let mut events = some_events();
    let request = format!(
        "VERSION-CONTROL-AND-MORE /{} HTTP/1.1\r\nHost: 日本.example\r\n\r\n",
        "日".repeat(90)
    );
    let mut long =
        testing::event_of(testing::request(&request), testing::response("HTTP/1.1 200 OK\r\n\r\n"));
    long.client.ip = "2001:db8:1111:2222:3333:4444:5555:6666".parse().expect("an address");
    events.push(long.clone());
    long.server.ip = long.client.ip;
    long.server_process = Some(std::sync::Arc::new(http_trace_model::process::Process {
        pid: 4_194_304,
        name: Some("kube-controller".into()),
        ..Default::default()
    }));
    events.push(long);
    for width in [80, 90, 109, 110, 120, 140, 160, 200, 300] {
        let mut pretty =
            Pretty::new(&crate::sink::Style { width: Some(width), ..Default::default() });
        for event in &events {
            let mut out = Vec::new();
            pretty.event(&Entry { event, user: None }, &mut out);
            let text = String::from_utf8(out).expect("UTF-8");
            let remarked =
                event.no_response.is_some() || !event.complete || !event.informational.is_empty();
            assert!(text.lines().count() <= 1 + usize::from(remarked), "{width}: {text}");
            for line in text.lines() {
                assert!(columns(line) <= width, "{width}: {} {line}", columns(line));
            }
        }
        let mut out = Vec::new();
        let mut alert = http_trace_samples::alert();
        alert.proxy_suspected = true;
        pretty.alert(&alert, &mut out);
        pretty.loss(
            &Loss {
                count: 3,
                unit: LossUnit::Records,
                place: "ring_full",
                since_ns: testing::TIME_NS,
                until_ns: testing::TIME_NS,
                detail: Some("a program of somebody else dropped what it took for an attack, on eth0 and eth1".into()),
            },
            &mut out,
        );
        let text = String::from_utf8(out).expect("UTF-8");
        for line in text.lines() {
            assert!(columns(line) <= width, "{width}: {line}");
        }
    }
}

/// As on a terminal of eighty columns: a line each, whatever is on it.
#[test]
fn a_narrow_terminal_gets_lines_that_fit() {
    for width in [46, 60, 61, 80, 109] {
        let mut pretty =
            Pretty::new(&crate::sink::Style { width: Some(width), ..Default::default() });
        let mut out = Vec::new();
        let event = testing::event();
        pretty.event(&Entry { event: &event, user: None }, &mut out);
        let mut long = testing::event_of(
            testing::request(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200))),
            testing::response("HTTP/1.1 404 Not Found\r\n\r\n"),
        );
        long.client.ip = [255; 4].into();
        pretty.event(&Entry { event: &long, user: None }, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(text.lines().count(), 2, "{text}");
        for line in text.lines() {
            assert!(columns(line) <= width, "{line}");
            assert!(line.contains(" 404  GET "), "{line}");
        }
    }
}

#[test]
fn golden() {
    insta::assert_snapshot!("lines", pretty(0, false, &some_events()));
    insta::assert_snapshot!("verbose", pretty(2, false, &some_events()));
    insta::assert_snapshot!("colours", pretty(0, true, &some_events()).replace('\u{1b}', "ESC"));
}

#[test]
fn an_alert_stands_out_and_is_escaped() {
    let mut out = Vec::new();
    for color in [false, true] {
        let mut pretty = Pretty::new(&crate::sink::Style { color, ..Default::default() });
        pretty.alert(&http_trace_samples::alert(), &mut out);
    }
    let text = String::from_utf8(out).expect("UTF-8");
    insta::assert_snapshot!("alert", text.replace('\u{1b}', "ESC"));
}

#[test]
fn an_end_that_is_not_known_is_not_shown() {
    let mut event = testing::event();
    event.server.port = 0;
    let text = pretty(0, false, &[event.clone()]);
    assert!(text.contains("  10.1.2.3 → 10.9.9.9  "), "{text}");
    event.server = Endpoint::NOBODY;
    let text = pretty(0, false, &[event]);
    assert!(text.contains("  10.1.2.3  "), "{text}");
}

#[test]
fn an_unanswered_request_is_unfinished_when_it_was_not_sent_whole() {
    let mut event = testing::event();
    event.complete = false;
    let cut = event.clone();
    (event.response, event.no_response) = (None, Some(NoResponse::Timeout));
    let whole = event.clone();
    event.flags.push("request_unfinished");
    for (event, expected) in [(cut, 1), (whole, 0), (event, 1)] {
        let is_request = event.response.is_none() && expected > 0;
        let text = pretty(0, false, &[event]);
        assert_eq!(text.matches("unfinished").count(), expected, "{text}");
        assert_eq!(text.contains("request unfinished"), is_request, "{text}");
    }
}

#[test]
fn a_request_whose_answer_nobody_saw_has_no_latency() {
    let mut event = testing::event();
    (event.response, event.no_response) = (None, Some(NoResponse::Unseen));
    assert_eq!(latency_of(&event), "-");
}

#[test]
fn what_a_rule_is_called_is_escaped_and_one_event_is_one() {
    let mut alert = http_trace_samples::alert();
    let mut rule = (*alert.rule).clone();
    rule.id = "a\u{1b}[31mb".into();
    (alert.rule, alert.count) = (std::sync::Arc::new(rule), 1);
    let mut out = Vec::new();
    let mut pretty = Pretty::new(&crate::sink::Style::default());
    pretty.alert(&alert, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    assert!(text.contains(r"a\x1b[31mb: 1 event (404)"), "{text}");
}

#[test]
fn nothing_from_the_network_drives_the_terminal() {
    let text = pretty(2, false, &some_events());
    let control = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{text:?}");
    assert!(!text.contains('\u{202e}'));
}

#[test]
fn numbers_are_short() {
    for (ns, expected) in [
        (0, "0.0 µs"),
        (1_234, "1.2 µs"),
        (1_200_000, "1.2 ms"),
        (999_000_000, "999 ms"),
        (61_000_000_000, "61 s"),
    ] {
        assert_eq!(latency(ns), expected);
    }
    for (bytes, expected) in [
        (0, "0 B"),
        (512, "512 B"),
        (9_999, "9999 B"),
        (10_240, "10.0 KiB"),
        (11 << 20, "11.0 MiB"),
        (11 << 30, "11.0 GiB"),
    ] {
        assert_eq!(size(bytes), expected);
    }
}

#[test]
fn times_are_of_the_zone() {
    let shown = |zone: Option<&str>| {
        let zone = zone.map(|name| jiff::tz::TimeZone::posix(name).expect("a zone"));
        let pretty = Pretty::new(&choice::Style { zone, ..choice::Style::default() });
        pretty.clock(testing::event().time_ns)
    };
    assert_eq!(shown(None), "06:40:07.123");
    assert_eq!(shown(Some("EET-2")), "08:40:07.123");
    assert_eq!(shown(Some("NST3:30")), "03:10:07.123");
}

#[test]
fn urls_make_room_for_processes_on_a_terminal() {
    let mut event = testing::event();
    if let Some(request) = &mut event.request {
        request.target = bytes::Bytes::from(format!("/{}", "x".repeat(200)));
    }
    event.server_process = Some(std::sync::Arc::new(http_trace_model::process::Process {
        pid: 812,
        name: Some("nginx".into()),
        ..Default::default()
    }));
    for (width, is_shown) in [(80, false), (120, true), (160, true)] {
        let style = choice::Style { width: Some(width), ..choice::Style::default() };
        let (mut pretty, mut out) = (Pretty::new(&style), Vec::new());
        let entry = Entry { event: &event, user: None };
        pretty.event(&entry, &mut out);
        let line = String::from_utf8(out).expect("UTF-8");
        assert!(columns(line.trim_end()) <= width, "{width}: {line}");
        assert_eq!(line.trim_end().ends_with("  nginx[812]"), is_shown, "{line}");
    }
}
