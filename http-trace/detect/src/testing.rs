//! Sample alerts for tests of crates that depend on this one.

use http_trace_model::testing::{event_of, request, response};

use crate::alert::Alert;
use crate::{Detected, Detector, Settings, builtin, parse};

/// An alert of the built-in spike rule, raised by hostile requests.
pub fn alert() -> Alert {
    let parsed = parse::parse(&builtin::sources(), &|_| false);
    let mut detector = Detector::new(parsed.rules, Settings::default());
    let mut alerts = Vec::new();
    for n in 0..350_u64 {
        let mut event = event_of(
            request(
                "GET /\u{1b}[2J\u{202e}?token=hidden HTTP/1.1\r\nHost: shop.example\r\n\
                 User-Agent: \u{1b}]0;owned\u{7}\r\n\r\n",
            ),
            response("HTTP/1.1 404 Not Found\r\n\r\n"),
        );
        event.time_ns += n * 1_000_000;
        detector.push(Box::new(event), &mut |detected| {
            if let Detected::Alert(alert) = detected {
                alerts.push(*alert);
            }
        });
    }
    alerts.pop().expect("an alert")
}
