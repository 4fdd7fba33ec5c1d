//! With sendfile, splice, MSG_ZEROCOPY and io_uring the events are those of a plain send.

use std::process::{Command, Stdio};

use http_trace_tests::bed::{Bed, own_port, server_v4};
use http_trace_tests::client::Raw;
use http_trace_tests::need::program;
use http_trace_tests::netns::Pair;
use http_trace_tests::{needs, skip};

/// Body lengths: none, within the head's segment, of several segments, and larger than buffers.
const LENGTHS: &[u64] = &[0, 1, 16, 1_000, 20_000, 70_000, 3_000_000, 5];
/// Ways to send other than `send`.
const WAYS: &[&str] = &["sendfile", "splice", "zerocopy", "io_uring", "io_uring_zerocopy"];

fn same_as_send(hook: &str) {
    let pair = Pair::new(1500).expect("a pair");
    let server = server_v4(own_port());
    let mut command = Command::new(program("python3").expect("python3"));
    command.args(["-c", include_str!("../../src/ways.py")]);
    command.args([server.ip().to_string(), server.port().to_string()]);
    let mut python = pair.server.spawn(command.stdout(Stdio::piped())).expect("a server");
    let has = python.first_line().expect("it listens");
    let has: Vec<&str> = has.split_whitespace().collect();
    let port = server.port().to_string();
    let bed = Bed::over(pair, &["--hook", hook, "-p", &port, "-vv"]).expect("a bed");
    let mut asked = Vec::new();
    for way in ["send"].iter().chain(WAYS) {
        if !has.contains(way) {
            skip!(&format!("{way} in the kernel"));
            continue;
        }
        let mut raw = Raw::connect(&bed.pair.client, server).expect("a connection");
        for length in LENGTHS {
            let request = format!("GET /{way}/{length} HTTP/1.1\r\nHost: a\r\n\r\n");
            raw.send(request.as_bytes()).expect("sent");
            let answer = raw.receive().unwrap_or_else(|error| panic!("{way} {length}: {error:#}"));
            assert_eq!(answer.body, *length, "{way}");
        }
        asked.push((*way, raw.address().expect("an address")));
    }
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    for (way, client) in asked {
        let seen = outcome.report.of(client);
        assert_eq!(seen.len(), LENGTHS.len(), "{hook}, {way}: {:?}", outcome.said);
        for (number, (seen, length)) in seen.iter().zip(LENGTHS).enumerate() {
            let request = Some(("GET".to_owned(), format!("/{way}/{length}")));
            let facts = (&seen.request, seen.status, seen.body_bytes, seen.complete);
            assert_eq!(facts, (&request, Some(200), Some(*length), true), "{hook}, {way}");
            assert_eq!(seen.ordinal, number as u64 + 1, "{hook}, {way}");
            // These hooks cannot know whether the server is on this host.
            let is_blind = ["socket-filter", "xdp"].contains(&hook);
            let missing: Vec<_> =
                seen.missing.iter().filter(|m| !is_blind || *m != "process").collect();
            let doubts = (&seen.flags, &missing);
            assert!(seen.flags.is_empty() && missing.is_empty(), "{way}: {doubts:?}");
            let names: Vec<_> = seen.headers.keys().map(String::as_str).collect();
            assert_eq!(names, ["content-length", "content-type"], "{hook}, {way}");
        }
    }
    let bodies = LENGTHS.iter().sum::<u64>();
    assert!(outcome.counter("body_skipped") > bodies, "{:?}", outcome.said);
}

#[test]
fn however_a_server_sends() {
    needs!("python3");
    for hook in ["tc", "socket-filter", "cgroup", "xdp"] {
        same_as_send(hook);
    }
}
