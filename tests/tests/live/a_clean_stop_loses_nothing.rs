//! A run that is stopped under load, at any moment, reports no loss: exchanges that it did not see to the end
//! because it stopped are none.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_trace_tests::agent::{Agent, ROOMY, binary};
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::Nginx;
use rustix::process::Signal;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

fn stops(hook: &str, environment: &[(&str, &str)]) {
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    // Many small responses, and one of many segments: at any moment some are in flight.
    let url = |file: &str| format!("http://{}/{file}", address::SERVER_V4);
    let load = |file: &str| {
        let mut wrk = Command::new(program("wrk").expect("wrk"));
        wrk.args(["-t", "1", "-c", "2", "-d", "60s", &url(file)]).stdout(Stdio::null());
        pair.client.spawn(&mut wrk).expect("wrk")
    };
    let environment = [environment, &[ROOMY]].concat();
    for round in 0..4 {
        let options = ["--hook", hook, "-i", "veth0", "-p", "80"];
        let agent = Agent::start_with(&pair.server, &options, &environment).expect("the agent");
        // Connections open before the agent's start are not part of this test.
        let load = [load("small.txt"), load("large.bin")];
        std::thread::sleep(Duration::from_millis(400 + 74 * round));
        let outcome = std::thread::scope(|scope| {
            // The load continues while programs are detached, then leaves the CPUs to the agent.
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(700));
                drop(load);
            });
            agent.stop().expect("the agent's end")
        });
        assert!(!outcome.report.responses.is_empty(), "{hook}: no load");
        outcome.check_clean();
    }
}

#[test]
fn at_tcx() {
    needs!(alone; "nginx", "wrk");
    stops("tc", &[]);
}

#[test]
fn at_clsact() {
    needs!(alone; "nginx", "wrk");
    stops("tc", &[("HTTP_TRACE_TC", "clsact")]);
}

#[test]
fn at_the_cgroup() {
    needs!(alone; "nginx", "wrk");
    stops("cgroup", &[]);
}

#[test]
fn at_xdp() {
    needs!(alone; "nginx", "wrk");
    stops("xdp", &[]);
}

/// A service manager kills what takes long to end: what rules have counted is in the state before that.
#[test]
fn the_state_does_not_wait_for_a_command_that_hangs() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let [state, rules] =
        ["state", "rules.yml"].map(|name| folder.path().join(name).display().to_string());
    let rule = "title: a page\nid: a-page\nlevel: high\nlogsource: {category: webserver}\n\
                detection: {a: {url.path: /index.html}, condition: a}\n";
    std::fs::write(&rules, rule).expect("a rule");
    let options = ["--state", &state, "--rules", &rules, "--alerts-to", "command:sleep 20"];
    let agent = Agent::start(&pair.server, &options).expect("the agent");
    curl(&pair.client, &[&format!("http://{}/index.html", address::SERVER_V4)]).expect("curl");
    agent.wait_for(1, Duration::from_secs(5)).expect("a response");
    agent.signal(Signal::TERM).expect("signalled");
    let end = Instant::now() + Duration::from_secs(10);
    let hits = || {
        let mut command = Command::new(binary().expect("the tracer"));
        let ran = command.args(["rules", "hits", "--state", &state]).output().expect("it runs");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    while !hits().contains("a-page") {
        assert!(Instant::now() < end, "the state has: {}", hits());
        std::thread::sleep(Duration::from_millis(100));
    }
    agent.kill().expect("killed");
}

/// Otherwise the agent of a pipeline that was ended stays until the next event.
#[test]
fn where_the_reader_has_gone_though_nothing_was_to_write() {
    needs!();
    let namespace = Namespace::new("gone").expect("a namespace");
    let mut command = Command::new(binary().expect("the tracer"));
    command.args(["-o", "json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut agent = namespace.enter(|| command.spawn()).expect("entered").expect("started");
    let mut said = BufReader::new(agent.stderr.take().expect("a pipe")).lines();
    let begins =
        |line: &std::io::Result<String>| line.as_ref().is_ok_and(|l| l.contains("tracing at"));
    assert!(said.any(|line| begins(&line)));
    std::thread::sleep(Duration::from_millis(500));
    assert!(agent.try_wait().expect("its status").is_none(), "it traces");
    drop(agent.stdout.take());
    let said: Vec<String> = said.map_while(Result::ok).collect();
    assert!(agent.wait().expect("its end").success());
    let why = "http-trace: stopped, as nobody reads the output any more";
    assert!(said.iter().any(|line| line == why), "{said:?}");
}
