//! A capture of errors, and the alerts that they raise.

use std::ops::Range;

use http_trace_testkit::pcap;
use http_trace_testkit::talk::Talk;
use http_trace_testkit::tcp::{LinkType, Path};
use serde_json::Value;

use crate::command::records;

/// The client of [`capture_of_errors`], a private address.
pub const CLIENT: [u8; 4] = [10, 1, 2, 3];

/// The alerts among the records: `RULE STATE`.
pub fn alerts(text: &str) -> Vec<String> {
    records(text)
        .iter()
        .filter(|record| record["event"]["kind"] == "alert")
        .map(|alert| {
            let word = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str);
            let rule = word("/rule/id").expect("a rule");
            format!("{rule} {}", word("/http_trace/alert/state").expect("a state"))
        })
        .collect()
}

/// A capture of a connection with requests for missing paths, 0.1 s apart, with these numbers.
pub fn capture_of_errors(errors: Range<u32>) -> Vec<u8> {
    const START_NS: u64 = 1_795_156_800_000_000_000;
    let path = Path {
        client: (CLIENT, 50_000).into(),
        server: ([10, 9, 9, 9], 80).into(),
        link: LinkType::Raw,
        vlan: None,
    };
    let at = |ms: u32| START_NS + u64::from(ms) * 1_000_000;
    let mut talk = Talk::new(path).at(at(errors.start * 100)).handshake();
    for n in errors {
        let request = format!(
            "GET /missing/{n}?q={n} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: test/1.0\r\n\r\n"
        );
        let response = b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n";
        let (asked, answered) = (at(10 + n * 100), at(15 + n * 100));
        talk = talk.at(asked).ask(request.as_bytes()).at(answered).answer(response);
    }
    pcap::of(LinkType::Raw, &talk.timed())
}
