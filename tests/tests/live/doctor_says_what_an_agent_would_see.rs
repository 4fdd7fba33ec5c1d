//! `http-trace doctor`: each hook on this kernel, traffic by protocol, leftovers of an earlier run, and the
//! exit status.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use http_trace_tests::agent::{self, Agent, ROOMY};
use http_trace_tests::bed::server_v4;
use http_trace_tests::client::curl;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;
use serde_json::Value;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// Runs doctor in the server's namespace: its status, and `check: found` with the state of each finding.
fn doctor(pair: &Pair, options: &[&str]) -> (Option<i32>, Vec<(String, String)>) {
    let mut command = Command::new(agent::binary().expect("the agent"));
    command.args(["doctor", "--json"]).args(options);
    let ran = pair.server.enter(|| command.output());
    let ran = ran.expect("the namespace").expect("doctor");
    let report: Value = serde_json::from_slice(&ran.stdout).expect("json");
    let findings = report["findings"].as_array().expect("findings").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let found = findings.map(|one| {
        let line = format!("{}: {}", text(&one["check"]), text(&one["found"]));
        (line, text(&one["state"]))
    });
    (ran.status.code(), found.collect())
}

fn state_of<'a>(findings: &'a [(String, String)], what: &str) -> &'a str {
    let found = findings.iter().find(|(line, _)| line.contains(what));
    &found.unwrap_or_else(|| panic!("no {what:?}: {findings:?}")).1
}

#[test]
fn hooks_and_traffic() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    pair.server.ip("link add idle0 type veth peer name idle1").expect("an interface");
    let (status, quiet) = doctor(&pair, &["--duration", "1s"]);
    assert_eq!(state_of(&quiet, "interfaces: idle0 is down"), "ok");
    for check in ["btf: ", "seccomp: ", "memlock: "] {
        assert_eq!(state_of(&quiet, check), "ok");
    }
    assert_eq!(status, Some(0), "{quiet:?}");
    for hook in ["tc", "socket-filter", "cgroup", "xdp"] {
        assert_eq!(state_of(&quiet, &format!("hook: {hook}: framing in")), "ok");
    }
    assert_eq!(state_of(&quiet, "in 1 s"), "note");
    assert_eq!(quiet.iter().filter(|(line, _)| line.starts_with("traffic")).count(), 1);

    // Bytes of a TLS handshake record, in both directions.
    let record = [&[0x16, 3, 3, 0, 32][..], &[1; 32]].concat();
    let listener = pair.server.enter(|| TcpListener::bind(server_v4(443)));
    let listener = listener.expect("the namespace").expect("a listener");
    let (status, busy) = std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming().take(1).flatten() {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(&record);
            }
        });
        scope.spawn(|| {
            // Once it traces, repeated until it ends.
            let end = Instant::now() + Duration::from_secs(8);
            while Instant::now() < end {
                let url = format!("http://{}/small.txt", address::SERVER_V4);
                curl(&pair.client, &[&url]).expect("curl");
                std::thread::sleep(Duration::from_millis(100));
            }
            let connected = pair.client.enter(|| TcpStream::connect(server_v4(443)));
            let mut stream = connected.expect("the namespace").expect("connected");
            stream.write_all(&record).expect("sent");
            let _ = stream.read(&mut [0; 64]);
        });
        doctor(&pair, &["--duration", "12s"])
    });
    assert_eq!(status, Some(1), "{busy:?}");
    assert_eq!(state_of(&busy, "not readable: 1 connection TLS on :443 ("), "limited");
    assert_eq!(state_of(&busy, " responses on :80 (nginx)"), "ok");
    let (traffic, _) = busy.iter().find(|(line, _)| line.starts_with("traffic")).expect("traffic");
    assert!(!traffic.contains(", 0 connections with HTTP/1.x"), "{traffic}");
}

#[test]
fn an_interface_that_is_not_there_is_named_at_once() {
    needs!();
    let pair = Pair::new(1500).expect("a pair");
    let begun = Instant::now();
    let (status, found) = doctor(&pair, &["-i", "nope", "--duration", "30s"]);
    assert_eq!(status, Some(2), "{found:?}");
    let what = "interfaces: no interface that is up matches nope";
    assert_eq!(state_of(&found, what), "failed");
    assert!(begun.elapsed() < Duration::from_secs(20), "no traffic is waited for");
}

/// The command that it suggests works as it is.
#[test]
fn without_cgroup2_it_says_how_to_mount_it() {
    needs!("unshare", "sh");
    let pair = Pair::new(1500).expect("a pair");
    // `ip netns exec` has an empty /sys/fs/cgroup as well.
    let script = "umount -a -t cgroup2; doctor() { \"$0\" doctor --duration 100ms; }; doctor; \
                  eval \"$(doctor | sed -n 's/.*run `\\(.*\\)`.*/\\1/p')\" && doctor";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(agent::binary().expect("the agent"));
    let ran = pair.server.enter(|| command.output()).expect("the namespace").expect("unshare");
    let said = String::from_utf8_lossy(&ran.stdout);
    let hooks: Vec<&str> = said.lines().filter(|line| line.contains(" hook: cgroup: ")).collect();
    let [before, after] = hooks[..] else { panic!("{ran:?}") };
    assert!(before.contains("/proc/mounts has none"), "{said}");
    assert!(after.contains("framing in"), "{said}");
}

#[test]
fn what_an_earlier_run_left() {
    needs!("tc");
    let pair = Pair::new(1500).expect("a pair");
    let clsact = [ROOMY, ("HTTP_TRACE_TC", "clsact")];
    let agent = Agent::start_with(&pair.server, &["-i", "veth0"], &clsact).expect("the agent");
    let (_, beside) = doctor(&pair, &["--duration", "100ms"]);
    assert_eq!(state_of(&beside, "leftovers: none"), "ok");
    agent.kill().expect("its end");
    let (status, left) = doctor(&pair, &["--duration", "100ms"]);
    assert_eq!(status, Some(1), "{left:?}");
    let what = "leftovers: filters of an earlier run: veth0 ingress, veth0 egress";
    assert_eq!(state_of(&left, what), "limited");
    let (status, cleaned) = doctor(&pair, &["--clean", "--duration", "100ms"]);
    assert_eq!(status, Some(0), "{cleaned:?}");
    assert!(cleaned.iter().all(|(line, _)| !line.starts_with("traffic")), "{cleaned:?}");
    let (status, after) = doctor(&pair, &["--duration", "100ms"]);
    assert_eq!(status, Some(0), "{after:?}");
    assert_eq!(state_of(&after, "leftovers: none"), "ok");
}
