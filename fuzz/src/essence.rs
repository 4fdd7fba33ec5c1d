//! The parts of an event that must not depend on whether the filter ran.

use std::fmt::Debug;

use http_trace_model::event::HttpEvent;

/// The event without times, counts of copies, the interface, and the bytes so far of an unfinished body,
/// which the filter reports at its end.
pub fn essence(event: &HttpEvent) -> impl Debug + PartialEq + use<> {
    let heads: Vec<_> = event
        .informational
        .iter()
        .chain(&event.response)
        .map(|head| {
            (
                head.minor_version,
                head.status,
                head.reason.clone(),
                head.headers.clone(),
                head.wire_len,
            )
        })
        .collect();
    let flags: Vec<_> =
        event.flags.iter().filter(|flag| !flag.starts_with("overlap")).copied().collect();
    let body = event.body_end.map(|end| (end, event.body_bytes, event.response_bytes));
    let asked = event.request_end_ns.map(|_| event.request_body_bytes);
    (
        (event.client, event.server, event.connection, event.ordinal),
        (event.request.clone(), asked, event.no_response),
        (heads, body, event.complete),
        (event.missing.clone(), flags),
    )
}
