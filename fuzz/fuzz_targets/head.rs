//! Any bytes as a head: decoded values are parts of it in order, parts of a target are parts of it, the
//! client it names is not invented, and option values are accepted or refused.
#![no_main]

use std::net::Ipv4Addr;

use http_trace::enrich::proxy::Trusted;
use http_trace::select::{Pattern, Statuses};
use http_trace_engine::http1::decode;
use http_trace_engine::http1::preface;
use http_trace_model::event::{Endpoint, HttpEvent};
use http_trace_model::head::{Headers, RequestHead};
use http_trace_model::target::Target;
use http_trace_model::value;
use libfuzzer_sys::fuzz_target;

/// Where the bytes occur in the head, from `from` on; their end.
fn after(head: &[u8], from: usize, bytes: &[u8]) -> Option<usize> {
    let rest = head.get(from..)?;
    let at = match bytes.is_empty() {
        true => Some(0),
        false => rest.windows(bytes.len()).position(|part| part == bytes),
    };
    Some(from + at? + bytes.len())
}

/// Names and values are parts of the head, in order. A folded value is made of several, which are not looked for.
fn are_of(head: &[u8], headers: &Headers) {
    let is_folded = [b"\n ", b"\n\t"].iter().any(|fold| after(head, 0, *fold).is_some());
    let mut last = 0;
    for header in headers.iter() {
        if !is_folded {
            last = after(head, last, header.name).expect("a name of the head");
            last = after(head, last, header.value).expect("a value of the head");
        }
        assert!(header.value.len() <= head.len());
        assert!(!header.value.contains(&b'\n'));
    }
}

/// Behind a trusted proxy, the named client is an address that the request contains.
fn names_a_client(request: &RequestHead) {
    let local = |port| Endpoint { ip: Ipv4Addr::LOCALHOST.into(), port };
    let mut event = HttpEvent::new(0, local(50_000), local(80));
    event.request = Some(request.clone());
    Trusted::default().name_client(&mut event);
    let fields = ["x-forwarded-for", "forwarded", "x-real-ip"];
    let has_any = fields.iter().any(|name| request.headers.first(name).is_some());
    assert!(has_any || (event.forwarded.is_none() && event.flags.is_empty()));
}

fuzz_target!(|data: &[u8]| {
    let _ = preface::source(data);
    if let Some((response, _)) = decode::response(data, data.len() as u64, 0) {
        assert!(response.status <= 999 && response.minor_version <= 9);
        are_of(data, &response.headers);
        assert_eq!(response.headers.all("date").next(), response.headers.first("date"));
    }
    if let Some((request, _)) = decode::request(data, data.len() as u64) {
        are_of(data, &request.headers);
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
