//! The programs for kernels before Linux 5.17 (no `bpf_loop`), forced on this kernel: whole connections ship
//! and the host frames them. Within the budget (1 MiB per direction, then 32 MiB per second and CPU) they
//! report the same as the framing programs. XDP has no such program.
//!
//! What they can miss, each of it reported or counted:
//! - beyond the budget, segments that do not begin with a start line;
//! - beyond 128 KiB of a super-packet, the rest;
//! - on connections open before the start, the first request if its line is longer than 512 bytes or split.

use std::collections::BTreeMap;
use std::time::Duration;

use http_trace_tests::agent::{Agent, ROOMY};
use http_trace_tests::bed::{Bed, UPSTREAM, log_differences, nothing, server_v4};
use http_trace_tests::client::{Raw, curl};
use http_trace_tests::matrix::HOST;
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::{LARGE, Nginx};

http_trace_tests::live_matrix!(Host);

/// XDP needs newer kernels (5.18) than those that cannot frame.
#[test]
fn xdp_says_that_it_cannot() {
    needs!();
    let namespace = Namespace::new("xdp").expect("a namespace");
    let agent = Agent::start_with(&namespace, &["--hook", "xdp"], &[HOST]);
    let error = format!("{:#}", agent.expect_err("it starts"));
    assert!(error.contains("use --hook tc"), "{error}");
}

/// A connection that is older than the agent is reported from its next message on.
#[test]
fn a_connection_open_before_the_start() {
    needs!(alone; "nginx");
    let pair = Pair::new(1500).expect("a pair");
    let nginx = Nginx::start(&pair.server, UPSTREAM.into()).expect("nginx");
    let mut raw = Raw::connect(&pair.client, server_v4(80)).expect("a connection");
    let get = |raw: &mut Raw, target: &str| {
        raw.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("sent");
        raw.receive().expect("an answer");
    };
    get(&mut raw, "/before");
    let agent =
        Agent::start_with(&pair.server, &["-i", "veth0"], &[ROOMY, HOST]).expect("the agent");
    // A line longer than the limit is not known as a request that a response could answer.
    get(&mut raw, &format!("/{}", "x".repeat(600)));
    get(&mut raw, "/after");
    drop(raw);
    drop(nginx.stop().expect("an access log"));
    let report = agent.wait_for(1, Duration::from_secs(10)).expect("a report");
    let requests: Vec<_> = report.responses.iter().map(|r| r.request.clone()).collect();
    assert_eq!(requests, [Some(("GET".to_owned(), "/after".to_owned()))]);
    assert!(agent.stop().expect("an outcome").status.success());
}

/// Large bodies beyond the budget: what is reported is true, and what is missing is reported.
#[test]
fn past_the_budget_nothing_is_invented_and_the_loss_is_told() {
    needs!(alone; "nginx", "curl");
    const DOWNLOADS: usize = 120;
    let pair = Pair::new(1500).expect("a pair");
    let agent = Agent::start_with(&pair.server, &["-i", "veth0", "-v"], &[ROOMY, HOST]);
    let agent = agent.expect("the agent");
    let bed = Bed { pair, agent };
    let nginx = Nginx::start(&bed.pair.server, UPSTREAM.into()).expect("nginx");
    let large = format!("http://{}/large.bin", address::SERVER_V4);
    let small = format!("http://{}/small.txt", address::SERVER_V4);
    let urls: Vec<&str> = (0..DOWNLOADS).flat_map(|_| [&*large, &*small]).collect();
    let seen = curl(&bed.pair.client, &urls).expect("curl");
    assert_eq!(seen.len(), 2 * DOWNLOADS);
    assert!(seen.iter().step_by(2).all(|t| t.body == LARGE as u64));
    let log = nginx.stop().expect("an access log");
    let outcome = bed.stop().expect("an outcome");
    let mut truth = BTreeMap::new();
    for line in &log {
        let what = (line.client, line.target.clone(), line.status);
        *truth.entry(what).or_insert(0usize) += 1;
    }
    for response in &outcome.report.responses {
        let status = response.status.expect("a status");
        // A response without its request says so; one with a request has the right one.
        let Some((_, target)) = &response.request else {
            assert!(response.missing.contains(&"request".to_owned()), "{}", response.json);
            continue;
        };
        let left = truth.get_mut(&(response.client, target.clone(), status));
        let left = left.unwrap_or_else(|| panic!("never was: {}", response.json));
        assert!(*left > 0, "once too often: {}", response.json);
        *left -= 1;
    }
    let reported = outcome.report.responses.len();
    let dropped = outcome.counter("unsure_dropped_bytes");
    println!("{reported} of {} reported, {dropped} bytes dropped", log.len());
    assert!(reported <= log.len());
    if dropped > 0 {
        assert!(!outcome.report.losses.is_empty(), "{:?}", outcome.said);
    } else {
        nothing(log_differences(&outcome.report, &log));
    }
    // Segments that begin with a start line are exempt from the budget.
    assert!(reported * 2 > log.len(), "{reported} of {}", log.len());
}
