//! Any bytes as recorded events: each line is an event, another record or an error with its number, and our
//! own json of an event reads back as an event.
#![no_main]

use http_trace::recorded::{Error, Recorded};
use http_trace::sink::Style;
use http_trace::sink::json::Json;
use http_trace::sink::{Entry, Render};
use http_trace_model::event::HttpEvent;
use libfuzzer_sys::fuzz_target;

/// Limit of events whose json is read back.
const AGAIN: usize = 16;

/// Members of an event that every format has.
fn essence(event: &HttpEvent) -> impl PartialEq + std::fmt::Debug {
    let response = event.response.as_ref();
    let request = event.request.as_ref();
    (
        event.client.ip,
        response.map(|response| (response.status, response.reason.clone())),
        request.map(|request| (request.method.clone(), request.target.clone())),
    )
}

fuzz_target!(|data: &[u8]| {
    let lines = data.split(|b| *b == b'\n').count() as u64;
    let mut recorded = Recorded::new(data);
    let (mut events, mut errors) = (Vec::new(), 0);
    while let Some(event) = recorded.next() {
        match event {
            Ok(event) => events.push(event),
            Err(Error::Line { line, why }) => {
                assert!(line >= 1 && line <= lines && !why.is_empty());
                errors += 1;
            }
            Err(Error::Input { error, .. }) => panic!("memory is read: {error}"),
        }
    }
    assert!(recorded.lines <= lines);
    assert!(recorded.events + recorded.others + errors <= recorded.lines);
    let mut json = Json::new(&Style::default());
    let mut out = Vec::new();
    for event in events.iter().take(AGAIN) {
        json.event(&Entry { event, user: None }, &mut out);
    }
    let mut again = Recorded::new(&out[..]);
    for event in events.iter().take(AGAIN) {
        let read = again.next().expect("a line").expect("our own json");
        assert_eq!(essence(event), essence(&read));
    }
    assert!(again.next().is_none(), "a line each");
});
