//! A body that never ends is the client's doing, whatever the server answers at last. A request that is left without an
//! answer is the server's doing where it answers hardly anybody.

use crate::alerts_of_events;
use serde_json::{Value, json};

/// Status, or why there is none; flags; how long it took, in ms.
type Outcome = (Result<u16, &'static str>, &'static [&'static str], u64);

const ANSWERED: Outcome = (Ok(200), &[], 10);
const LEFT: Outcome = (Err("closed"), &[], 5_000);
const UNFINISHED: &[&str] = &["request_unfinished"];

/// What happens to each of 200 requests, and the rule that must say so, if any.
const LOADS: &[(&str, fn(usize) -> Outcome, Option<&str>)] = &[
    ("bodies that never end", |_| (Ok(400), UNFINISHED, 46_000), Some("http-slow-requests")),
    ("the same, timed out", |_| (Ok(408), UNFINISHED, 60_000), Some("http-slow-requests")),
    ("the same, left", |_| (Err("closed"), UNFINISHED, 46_000), Some("http-slow-requests")),
    ("bodies that are refused at once", |_| (Ok(400), UNFINISHED, 100), None),
    ("bodies that are too large", |_| (Ok(413), UNFINISHED, 6_000), None),
    ("forms that are slow and wrong", |_| (Ok(400), &[], 6_000), None),
    ("long polls, beside pages", |n| if n % 5 == 0 { ANSWERED } else { LEFT }, None),
    (
        "a server that hangs",
        |n| if n % 20 == 0 { ANSWERED } else { LEFT },
        Some("http-server-down"),
    ),
    (
        "a server that fails, or hangs",
        |n| if n % 2 == 0 { (Ok(502), &[], 10) } else { LEFT },
        Some("http-server-down"),
    ),
    ("a server that closes at once", |_| (Err("closed"), &[], 20), Some("http-server-down")),
    ("a server that resets", |_| (Err("reset"), &[], 5_000), Some("http-server-down")),
];

fn event(n: usize, (outcome, flags, ms): Outcome) -> Value {
    let at = |ms: u64| {
        let (minute, second) = (ms / 60_000, ms / 1000 % 60);
        format!("2026-11-24T10:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    };
    let start = n as u64 * 2_500;
    let mut event = json!({
        "@timestamp": at(start + ms),
        "event": {"kind": "event", "duration": ms * 1_000_000, "start": at(start), "end": at(start + ms)},
        "http_trace": {"missing": [], "flags": flags},
        "source": {"ip": "198.51.100.7"},
        "destination": {"ip": "192.0.2.1", "port": 80},
        "url": {"original": "/poll"},
        "http": {"request": {"method": "POST"}},
    });
    match outcome {
        Ok(status) => event["http"]["response"] = json!({"status_code": status}),
        Err(why) => event["http_trace"]["no_response"] = json!(why),
    }
    event
}

#[test]
fn each_load_raises_its_alert_or_none() {
    for (what, outcome, expected) in LOADS {
        let events: Vec<_> = (0..200).map(|n| event(n, outcome(n))).collect();
        let raised = alerts_of_events(&events);
        assert_eq!(
            raised.iter().map(String::as_str).collect::<Vec<_>>(),
            expected.as_slice(),
            "{what}"
        );
    }
}
