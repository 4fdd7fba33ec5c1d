//! Tests of guessed names that get an answer: hosts and parameters.

use super::{BEGIN, S, built_in, opened, response, run};
use http_trace_model::event::HttpEvent;
use http_trace_model::testing;

fn asked(n: u64, target: &str, head: &str) -> HttpEvent {
    let mut event = response("198.51.100.7", 200, "/", BEGIN + n * S / 10);
    event.request = Some(testing::request(&format!(
        "GET {target} HTTP/1.1\r\n{head}\r\n"
    )));
    event
}

fn alerts(event: impl Fn(u64) -> HttpEvent, number: u64) -> Vec<String> {
    let alerts = run(&mut built_in(), (0..number).map(event)).0;
    opened(&alerts).into_iter().map(str::to_owned).collect()
}

#[test]
fn hosts_that_are_tried_are_told_though_they_are_answered() {
    let tried = |n| asked(n, "/", &format!("Host: w{n}.example\r\n"));
    assert_eq!(alerts(tried, 49), [""; 0]);
    assert_eq!(alerts(tried, 300), ["http-host-enumeration"]);
    let monitor = |n| {
        asked(
            n,
            "/",
            &format!("Host: w{n}.example\r\nUser-Agent: Blackbox-Exporter/0.25\r\n"),
        )
    };
    assert_eq!(alerts(monitor, 300), [""; 0]);
    let proxy = |n| {
        asked(
            n,
            "/",
            &format!("Host: w{n}.example\r\nX-Forwarded-For: 203.0.113.9\r\n"),
        )
    };
    assert_eq!(alerts(proxy, 300), [""; 0]);
    let crawler = |n| asked(n, &format!("/page/{n}"), &format!("Host: w{n}.example\r\n"));
    assert_eq!(alerts(crawler, 300), [""; 0]);
}

#[test]
fn parameters_that_are_tried_are_told_though_they_are_answered() {
    let to = |target: String, n| asked(n, &target, "Host: h\r\n");
    assert_eq!(alerts(|n| to(format!("/a?w{n}=1"), n), 19), [""; 0]);
    assert_eq!(
        alerts(|n| to(format!("/a?w{n}=1"), n), 20),
        ["http-parameter-fuzzing"]
    );
    for honest in ["/s?q=w", "/a?_=", "/tiles?x=", "/a?"] {
        assert_eq!(
            alerts(|n| to(format!("{honest}{n}"), n), 200),
            [""; 0],
            "{honest}"
        );
    }
    let facets = ["color", "size", "brand", "page"];
    let facet = |n: u64| to(format!("/list?{}={n}", facets[n as usize % 4]), n);
    assert_eq!(alerts(facet, 200), [""; 0]);
}
