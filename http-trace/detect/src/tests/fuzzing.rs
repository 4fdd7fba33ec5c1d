//! Tests of guessed names that get an answer: hosts and parameters.

use super::{BEGIN, S, built_in, opened, response, run};
use http_trace_model::event::HttpEvent;
use http_trace_samples as testing;

fn asked(n: u64, target: &str, head: &str) -> HttpEvent {
    let mut event = response("198.51.100.7", 200, "/", BEGIN + n * S / 10);
    event.request = Some(testing::request(&format!("GET {target} HTTP/1.1\r\n{head}\r\n")));
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
    let monitor =
        |n| asked(n, "/", &format!("Host: w{n}.example\r\nUser-Agent: Blackbox-Exporter/0.25\r\n"));
    assert_eq!(alerts(monitor, 300), [""; 0]);
    let proxy =
        |n| asked(n, "/", &format!("Host: w{n}.example\r\nX-Forwarded-For: 203.0.113.9\r\n"));
    assert_eq!(alerts(proxy, 300), [""; 0]);
    let crawler = |n| asked(n, &format!("/page/{n}"), &format!("Host: w{n}.example\r\n"));
    assert_eq!(alerts(crawler, 300), [""; 0]);
}

#[test]
fn parameters_that_are_tried_are_told_though_they_are_answered() {
    let to = |target: String, n| asked(n, &target, "Host: h\r\n");
    assert_eq!(alerts(|n| to(format!("/a?w{n}=1"), n), 19), [""; 0]);
    assert_eq!(alerts(|n| to(format!("/a?w{n}=1"), n), 20), ["http-parameter-fuzzing"]);
    for honest in ["/s?q=w", "/a?_=", "/tiles?x=", "/a?"] {
        assert_eq!(alerts(|n| to(format!("{honest}{n}"), n), 200), [""; 0], "{honest}");
    }
    let facets = ["color", "size", "brand", "page"];
    let facet = |n: u64| to(format!("/list?{}={n}", facets[n as usize % 4]), n);
    assert_eq!(alerts(facet, 200), [""; 0]);
}

#[test]
fn parameters_that_are_tried_beside_others_are_told() {
    let to = |target: String, n| asked(n, &target, "Host: h\r\n");
    let last = |n| to(format!("/a?id=7&lang=en&w{n}=1"), n);
    assert_eq!(alerts(last, 29), [""; 0]);
    assert_eq!(alerts(last, 30), ["http-parameter-fuzzing-last"]);
    let first = |n| to(format!("/a?w{n}=1&id=7"), n);
    assert_eq!(alerts(first, 29), [""; 0]);
    assert_eq!(alerts(first, 30), ["http-parameter-fuzzing-first"]);
    // Pages of one program, filters in any combination, beacons.
    let actions = |n| to(format!("/index?title=P{n}&action{}={n}", n % 12), n);
    assert_eq!(alerts(actions, 300), [""; 0]);
    let names = ["color", "size", "brand", "page", "sort", "min", "max"];
    let name = |n: u64| names[n as usize % names.len()];
    let filters =
        |n: u64| to(format!("/l?{}=1&{}=2&{}={n}", name(n), name(n / 7), name(n / 49)), n);
    assert_eq!(alerts(filters, 343), [""; 0]);
    let beacon = |n: u64| to(format!("/c?v=1&a=1&b=1&c=1&d=1&e=1&f=1&g=1&w{n}=1"), n);
    assert_eq!(alerts(beacon, 300), [""; 0]);
}
