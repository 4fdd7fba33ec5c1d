//! A run that starts under load reports no loss: what crossed before all programs were attached is not part of it.

use std::process::{Command, Stdio};
use std::time::Duration;

use http_trace_tests::agent::{Agent, ROOMY};
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

fn starts(hook: &str) {
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    // Short connections of three exchanges: many begin while the programs are attached.
    let url = format!("-o /dev/null http://{}/small.txt ", address::SERVER_V4).repeat(3);
    for _ in 0..4 {
        let load = [(); 3].map(|()| {
            let mut visitors = Command::new("sh");
            visitors.args(["-c", &format!("for n in $(seq 100000); do curl -s {url}; done")]);
            pair.client.spawn(visitors.stdout(Stdio::null())).expect("visitors")
        });
        std::thread::sleep(Duration::from_millis(100));
        let options = ["--hook", hook, "-p", "80"];
        let agent = Agent::start_with(&pair.server, &options, &[ROOMY]).expect("the agent");
        std::thread::sleep(Duration::from_millis(700));
        drop(load);
        std::thread::sleep(Duration::from_millis(300));
        let outcome = agent.stop().expect("the agent's end");
        assert!(!outcome.report.responses.is_empty(), "{hook}: no load");
        outcome.check_clean();
    }
}

#[test]
fn at_tc() {
    needs!(alone; "nginx", "curl");
    starts("tc");
}

#[test]
fn at_tc_and_the_cgroup() {
    needs!(alone; "nginx", "curl");
    starts("tc,cgroup");
}
