//! Our own captures, recorded from real servers by the `record` binary: a replay reports what the access log
//! or the scene says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http_trace_tests::agent::replay;
use http_trace_tests::bed::{log_differences, nothing, scene_differences};
use http_trace_tests::nginx::read_log;
use http_trace_tests::play::Played;
use http_trace_tests::seen::Report;
use http_trace_tests::{node, scenes};

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures").join(name)
}

fn report(name: &str) -> Report {
    let (report, output) = replay(&[&capture(name)], &[]).expect("a replay");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    assert!(report.losses.is_empty(), "{:?}", report.losses);
    report
}

#[test]
fn nginx_s_access_log() {
    for name in ["nginx", "nginx-v6"] {
        let log = std::fs::read(capture(&format!("{name}.access.jsonl"))).expect("a log");
        let log = read_log(&log).expect("a log");
        nothing(log_differences(&report(&format!("{name}.pcap")), &log));
    }
}

#[test]
fn scenes_as_they_were_played() {
    let index = std::fs::read_to_string(capture("scenes.index")).expect("an index");
    let played: Vec<_> = index
        .lines()
        .map(|line| {
            let (client, name) = line.split_once(' ').expect("an address and a name");
            let client: SocketAddr = client.parse().expect("an address");
            let server = SocketAddr::new("10.77.0.2".parse().expect("an address"), 8000);
            let outside = (client, server);
            (Played { client, server, outside }, scenes::named(name))
        })
        .collect();
    nothing(scene_differences(&report("scenes.pcap"), &played));
}

#[test]
fn node_and_python() {
    let node = report("node.pcap").responses;
    node::check_fields(&node);
    let mut seen: Vec<_> =
        node.into_iter().map(|s| (s.request, s.informational, s.status)).collect();
    let mut truth: Vec<_> = node::VISITS
        .iter()
        .flat_map(|visits| visits.iter())
        .map(|v| {
            let request = Some((v.method.to_owned(), v.target.to_owned()));
            (request, v.informational.to_vec(), Some(v.status))
        })
        .collect();
    // A response cut off by a RST is reported after the wait for confirmation, later than others that began
    // after it.
    seen.sort_unstable();
    truth.sort_unstable();
    assert_eq!(seen, truth);
    let python: Vec<_> = report("python.pcap").responses.into_iter().map(|s| s.status).collect();
    assert_eq!(python, [200, 404, 301, 200, 501, 200].map(Some));
}

#[test]
fn tls_is_opaque() {
    let report = report("tls.pcap");
    assert!(report.responses.is_empty() && report.unanswered.is_empty(), "{report:?}");
}
