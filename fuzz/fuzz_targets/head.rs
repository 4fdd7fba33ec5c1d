//! Any bytes as a head: decoded values are parts of it in order, parts of a target are parts of it, the
//! client it names is not invented, and option values are accepted or refused.
#![no_main]

use std::net::Ipv4Addr;

use bytes::Bytes;
use http_trace_model::value;
use http_trace::enrich::proxy::Trusted;
use http_trace_model::event::{Endpoint, HttpEvent};
use http_trace_engine::http1::decode;
use http_trace_model::head::{Headers, RequestHead};
use http_trace_engine::http1::preface;
use http_trace_model::target::Target;
use http_trace::select::{Pattern, Statuses};
use libfuzzer_sys::fuzz_target;

/// Names and values are slices of the head, in order; a folded value is a new string.
fn are_of(head: &Bytes, headers: &Headers) {
    let whole = head.as_ptr_range();
    let mut last = whole.start;
    for header in headers.iter() {
        let name = header.name.as_ptr_range();
        if !header.name.is_empty() {
            assert!(last <= name.start && name.end <= whole.end);
            last = name.end;
        }
        let value = header.value.as_ptr_range();
        if whole.contains(&value.start) && !header.value.is_empty() {
            assert!(last <= value.start && value.end <= whole.end);
            last = value.end;
        }
        assert!(header.value.len() <= head.len());
        assert!(!header.value.contains(&b'\n'));
    }
}

/// Behind a trusted proxy, the named client is an address that the request contains.
fn names_a_client(request: &RequestHead) {
    let local = |port| Endpoint {
        ip: Ipv4Addr::LOCALHOST.into(),
        port,
    };
    let mut event = HttpEvent::new(0, local(50_000), local(80));
    event.request = Some(request.clone());
    Trusted::default().name_client(&mut event);
    let fields = ["x-forwarded-for", "forwarded", "x-real-ip"];
    let has_any = fields
        .iter()
        .any(|name| request.headers.first(name).is_some());
    assert!(has_any || (event.forwarded.is_none() && event.flags.is_empty()));
}

fuzz_target!(|data: &[u8]| {
    let head = Bytes::copy_from_slice(data);
    let _ = preface::source(data);
    if let Some((response, _)) = decode::response(&head, data.len() as u64, 0) {
        assert!(response.status <= 999 && response.minor_version <= 9);
        are_of(&head, &response.headers);
        assert_eq!(
            response.headers.all("date").next(),
            response.headers.first("date")
        );
    }
    if let Some((request, _)) = decode::request(&head, data.len() as u64) {
        are_of(&head, &request.headers);
        names_a_client(&request);
        assert!(!request.target.contains(&b'\n'));
        let target = Target::of(&request);
        for part in [target.scheme, target.host, target.path, target.query] {
            assert!(part.is_none_or(|part| part.len() <= data.len().max(b"http".len())));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        for text in text.lines().take(8) {
            let (_, rest) = value::negated(text);
            if let Ok(ports) = value::ports(rest) {
                assert!(ports.first <= ports.last && ports.first > 0);
            }
            if let Ok(statuses) = Statuses::parse(rest) {
                assert!(statuses.first <= statuses.last && statuses.first >= 100);
            }
            let _ = (value::network(rest), value::duration(rest));
            let _ = (value::bytes(rest), value::positive(rest));
            if rest.len() < 200
                && let Ok(pattern) = Pattern::parse(rest, true)
            {
                pattern.matches(data.get(..200).unwrap_or(data));
            }
        }
    }
});
