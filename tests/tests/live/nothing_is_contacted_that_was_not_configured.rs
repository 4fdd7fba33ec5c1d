//! The agent opens no connection and sends no datagram that was not configured. nft notes what a namespace begins.

use std::process::Command;
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// Notes what this side begins, to any address: the other end is its router.
const WATCH: &str = "table inet watch {
  set begun { type inet_proto . inet_service; flags dynamic; }
  chain out {
    type filter hook output priority 0
    tcp flags & (syn | ack) == syn add @begun { meta l4proto . tcp dport }
    meta l4proto udp ct state new add @begun { meta l4proto . udp dport }
  }
}";

/// Protocols and ports of what was begun since the namespace is watched.
fn begun(pair: &Pair) -> Option<String> {
    let nft = program("nft").expect("nft");
    let list = ["list", "set", "inet", "watch", "begun"];
    let listed = pair.server.run(Command::new(nft).args(list));
    let listed = String::from_utf8_lossy(&listed.expect("nft").stdout).into_owned();
    assert!(listed.contains("set begun"), "{listed}");
    let elements = listed.split_once("elements = ")?.1;
    Some(elements.trim_end_matches(['}', '\n', '\t', ' ']).to_owned())
}

fn trace(pair: &Pair, options: &[&str]) {
    let state = tempfile::tempdir().expect("a folder");
    let state = state.path().join("state");
    let state = ["--state", state.to_str().expect("a path")];
    let agent = Agent::start(&pair.server, &[options, &state].concat()).expect("the agent");
    for n in 0..30 {
        let url = format!("http://{}/a{n}/..%2f..%2f..%2fetc/passwd", address::SERVER_V4);
        curl(&pair.client, &["--path-as-is", &url]).expect("curl");
    }
    // Reloads, and whatever the agent does from time to time.
    let pid = agent.pid().to_string();
    let hup = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(hup.expect("kill").success());
    std::thread::sleep(Duration::from_secs(2));
    let outcome = agent.stop().expect("an outcome");
    assert!(!outcome.report.alerts.is_empty(), "{:?}", outcome.said);
}

#[test]
fn what_begins_is_what_was_configured() {
    needs!("nginx", "curl", "nft");
    let pair = Pair::new(1500).expect("a pair");
    let route = format!("route add default via {}", address::CLIENT_V4);
    pair.server.ip(&route).expect("a route");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let nft = program("nft").expect("nft");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("watch.nft");
    std::fs::write(&file, WATCH).expect("a file");
    let watched = pair.server.run(Command::new(nft).arg("-f").arg(&file));
    assert!(watched.expect("nft").status.success());
    trace(&pair, &["--listen", "127.0.0.1:9464"]);
    assert_eq!(begun(&pair), None, "nothing was configured");
    trace(&pair, &["--alerts-to", "http://198.51.100.1:9/hook"]);
    let begun = begun(&pair).expect("what is configured is seen here");
    assert!(begun.contains("tcp . 9"), "{begun}");
}
