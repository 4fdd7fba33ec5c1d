//! An address that passes from one pod to another, again and again, with equal ports: each event names the pod
//! that answered.

use std::process::Command;

use http_trace_tests::agent::Agent;
use http_trace_tests::need::program;
use http_trace_tests::netns::Namespace;
use http_trace_tests::pods::Cgroup;
use http_trace_tests::{needs, skip};

const SCRIPT: &str = include_str!("../../src/processes.py");
const UIDS: [&str; 2] =
    ["6f1c4e5a-1b2c-4d3e-8f90-0000000000a1", "6f1c4e5a-1b2c-4d3e-8f90-0000000000a2"];
/// The address of both pods.
const POD: &str = "10.88.0.2";
const ROUNDS: usize = 10;
const REQUESTS: usize = 10;

#[test]
fn which_other_pods_had_within_the_same_second() {
    needs!("python3");
    let node = Namespace::new("node").expect("a namespace");
    let pods = ["a", "b"].map(|label| Namespace::new(label).expect("a namespace"));
    let mut cgroups = Vec::new();
    for (at, pod) in pods.iter().enumerate() {
        let Some(cgroup) = Cgroup::new(UIDS[at], &format!("{at:064x}")) else {
            return skip!("cgroup v2");
        };
        cgroups.push(cgroup);
        node.link(&format!("pod{at}"), pod, "eth0", 1500).expect("a link");
        for (of, arguments) in [
            (pod, format!("address add {POD}/32 dev eth0")),
            (pod, "link set eth0 up".to_owned()),
            (pod, "route add 10.88.0.1 dev eth0".to_owned()),
            (&node, format!("link set pod{at} up")),
        ] {
            of.ip(&arguments).expect("ip");
        }
    }
    node.ip("address add 10.88.0.1/32 dev lo").expect("ip");
    let servers: Vec<_> =
        cgroups.iter().zip(&pods).map(|(cgroup, pod)| cgroup.serve(pod, 8080)).collect();
    let agent = Agent::start(&node, &["--request-headers", "x-client-pid"]).expect("an agent");
    for round in 0..ROUNDS {
        let of = format!("route replace {POD} dev pod{} src 10.88.0.1", round % 2);
        node.ip(&of).expect("ip");
        let mut client = Command::new(program("python3").expect("python3"));
        client.args(["-c", SCRIPT, "one-port", POD, "8080"]);
        node.run(client.arg(REQUESTS.to_string())).expect("a client");
    }
    let outcome = agent.stop().expect("an outcome");
    outcome.check_clean();
    let responses = &outcome.report.responses;
    assert_eq!(responses.len(), ROUNDS * REQUESTS);
    for (at, seen) in responses.iter().enumerate() {
        let answered =
            servers.iter().position(|of| of.pid().to_string() == seen.headers["x-pid"][0]);
        let answered = answered.expect("one of the servers");
        if let Some(pod) = seen.json["orchestrator"]["resource"]["id"].as_str() {
            assert_eq!(pod, UIDS[answered], "another pod is named: {}", seen.json);
            assert_eq!(seen.json["process"]["pid"], servers[answered].pid());
        } else {
            // Only the first round of each may come before its process is known.
            assert!(at < 2 * REQUESTS, "response {at} names no pod: {}", seen.json);
        }
    }
}
