//! Events for rules: a few responses of different kinds, a second apart.

use http_trace::recorded::Recorded;
use http_trace_model::event::HttpEvent;

/// The client of most of them.
const LOG: &str = r#"10.1.2.3 - - [20/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 12 "-" "Mozilla/5.0"
10.1.2.3 - frank [20/Nov/2026:10:00:01 +0000] "GET /missing?a=%27%20or%201 HTTP/1.1" 404 0 "-" "sqlmap/1.8"
10.1.2.3 - - [20/Nov/2026:10:00:02 +0000] "POST /login HTTP/1.1" 401 99 "http://shop.example/" "curl/8.5.0"
192.0.2.7 - - [20/Nov/2026:10:00:03 +0000] "HEAD /.git/config HTTP/1.0" 500 0 "-" "-"
"#;

/// The responses.
///
/// # Panics
/// If a line of the text above is not an event.
pub fn events() -> Vec<HttpEvent> {
    let all = Recorded::new(LOG.as_bytes());
    all.map(|event| event.expect("an event")).collect()
}
