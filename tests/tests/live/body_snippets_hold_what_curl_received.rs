//! `--body-snippet` holds the beginning of the body that curl received.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{UPSTREAM, own_port};
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::Nginx;

/// Length of the requested snippets, in bytes.
const MOST: usize = 300;

/// A body as curl returns it, with codings undone.
fn body(namespace: &Namespace, url: &str, coded: bool) -> Vec<u8> {
    let mut command = Command::new(program("curl").expect("curl"));
    command.args(["--silent", "--max-time", "20", "--noproxy", "*", url]);
    if coded {
        command.arg("--compressed");
    }
    namespace.run(&mut command).expect("curl").stdout
}

/// Requests with their status and a header that the response must have, to prove the case.
const ASKED: &[(&str, bool, u16, &str, &str)] = &[
    // An error page from a file, a short text, and text that nginx compresses or generates while sending.
    ("nothing-here", false, 404, "content-length", ""),
    ("503", false, 503, "content-length", "5"),
    ("text.txt", true, 200, "content-encoding", "gzip"),
    ("text.txt", true, 200, "transfer-encoding", "chunked"),
    ("page.shtml", false, 200, "transfer-encoding", "chunked"),
    ("large.bin", false, 200, "content-length", ""),
];

fn at(hook: &str, statuses: &str, wanted: impl Fn(u16) -> bool) {
    let pair = Pair::new(1500).expect("a pair");
    let port = own_port();
    let nginx = Nginx::start_at(&pair.server, port, UPSTREAM.into()).expect("nginx");
    let (ports, snippet) = (port.to_string(), format!("{MOST}{statuses}"));
    let mut options = vec!["--hook", hook, "-p", &ports, "--body-snippet", &snippet];
    if hook != "cgroup" {
        options.extend(["-i", "veth0"]);
    }
    options.push("-v");
    // At the client's end, where responses arrive: XDP sees ingress only.
    let agent = Agent::start(&pair.client, &options).expect("an agent");
    let bodies: Vec<Vec<u8>> = ASKED
        .iter()
        .map(|(path, coded, ..)| {
            let server: SocketAddr =
                format!("{}:{port}", address::SERVER_V4).parse().expect("an address");
            body(&pair.client, &format!("http://{server}/{path}"), *coded)
        })
        .collect();
    drop(nginx);
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("the agent's end");
    outcome.check_clean();
    let seen = &outcome.report.responses;
    assert_eq!(seen.len(), ASKED.len(), "{hook}: {:?}", outcome.said);
    for ((seen, (path, _, status, name, value)), body) in seen.iter().zip(ASKED).zip(&bodies) {
        let response = &seen.json["http"]["response"];
        assert_eq!(seen.status, Some(*status), "{hook}: {path}");
        let fields = response["headers"].to_string().to_ascii_lowercase();
        assert!(fields.contains(name) && fields.contains(value), "{fields}");
        let content = response["body"]["content"].as_str();
        if !wanted(*status) {
            assert_eq!(content, None, "{hook}: {path}");
            continue;
        }
        let first = &body[..body.len().min(MOST)];
        let expected = std::str::from_utf8(first).expect("text");
        assert_eq!(content, Some(expected), "{hook}: {path}: {response}");
    }
}

#[test]
fn what_curl_saw() {
    needs!(alone; "nginx", "curl");
    for hook in ["tc", "socket-filter", "cgroup", "xdp"] {
        at(hook, "", |_| true);
        at(hook, ":4xx,503", |status| status >= 400);
    }
}
