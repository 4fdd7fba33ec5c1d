//! Each event names the processes at both ends, and never a wrong one: servers and clients identify
//! themselves in a header field.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use http_trace_tests::agent::{Agent, Outcome};
use http_trace_tests::bed::own_port;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, Running, address};
use rustix::process::Signal;
use serde_json::Value;

const SCRIPT: &str = include_str!("../../src/processes.py");
const OPTIONS: [&str; 2] = ["--request-headers", "x-client-pid"];

/// Starts a server or client of the script; returns it with its first line.
fn python(namespace: &Namespace, arguments: &[&str]) -> (Running, String) {
    let mut command = Command::new(program("python3").expect("python3"));
    command.arg("-c").arg(SCRIPT).args(arguments);
    let mut running = namespace.spawn(command.stdout(Stdio::piped())).expect("python3");
    let line = running.first_line().expect("a line");
    (running, line)
}

/// Counts of named ends.
#[derive(Debug, Default)]
struct Named {
    events: usize,
    /// Ends without a name, for which `missing` has `process`.
    unknown: usize,
    /// Ends with a pid alone, since a busy host answered the lookup of their process late; `missing` says it.
    late: usize,
    executables: usize,
}

/// Compares names with what the ends reported themselves; `names` are the server's and the client's.
fn compare(outcome: &Outcome, names: [&str; 2]) -> Named {
    outcome.check_clean();
    let mut named = Named::default();
    for seen in &outcome.report.responses {
        let json = &seen.json;
        named.events += 1;
        let said_by_client = &json["http"]["request"]["headers"]["x-client-pid"][0];
        let said = [seen.headers["x-pid"][0].clone(), {
            said_by_client.as_str().expect("a number").to_owned()
        }];
        let ends = [json, &json["http_trace"]["client"]];
        for ((end, said), name) in ends.into_iter().zip(said).zip(names) {
            let process = &end["process"];
            let Some(pid) = process["pid"].as_u64() else {
                assert!(seen.missing.contains(&"process".to_owned()), "{json}");
                named.unknown += 1;
                continue;
            };
            assert_eq!(pid.to_string(), said, "another process is named: {json}");
            let Some(is_named) = process["name"].as_str() else {
                assert!(seen.missing.contains(&"process".to_owned()), "{json}");
                named.late += 1;
                continue;
            };
            assert!(is_named.starts_with(name), "{json}");
            named.executables += usize::from(process["executable"].is_string());
        }
    }
    // At least 99 of 100.
    assert!((named.unknown + named.late) * 50 <= named.events, "{named:?}");
    named
}

/// Names, at TC, of a server of the script and one of its clients over a veth pair.
fn told(server: &str, client: &[&str]) -> (Named, String) {
    let pair = Pair::new(1500).expect("a pair");
    let _server = python(&pair.server, &[server, "8080"]);
    let agent = Agent::start(&pair.server, &OPTIONS).expect("an agent");
    let arguments = [&client[..1], &[address::SERVER_V4, "8080"], &client[1..]].concat();
    let (mut client, line) = python(&pair.client, &arguments);
    assert!(client.wait().expect("its end").success());
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("an outcome");
    (compare(&outcome, ["python", "python"]), line)
}

#[test]
fn the_worker_of_nginx_that_answered_and_curl() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let folder = tempfile::tempdir().expect("a folder");
    let configuration = folder.path().join("nginx.conf");
    let text = format!(
        "daemon off; worker_processes 3; pid {0}/pid; error_log {0}/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{ access_log off; server {{ listen 80 reuseport; add_header X-Pid $pid always;\n\
         location / {{ return 200 ok; }} }} }}\n",
        folder.path().display()
    );
    std::fs::write(&configuration, text).expect("written");
    let mut command = Command::new(program("nginx").expect("nginx"));
    command.arg("-c").arg(&configuration).arg("-p").arg(folder.path());
    let nginx = pair
        .server
        .serve(command.stderr(Stdio::null()), ([127, 0, 0, 1], 80).into())
        .expect("nginx");
    let options = [&OPTIONS[..], &["--command-line"]].concat();
    let agent = Agent::start(&pair.server, &options).expect("an agent");
    let url = format!("http://{}/", address::SERVER_V4);
    let ask = format!(
        "for n in $(seq 60); do sh -c 'exec curl -so /dev/null -H X-Client-Pid:$$ {url}'; done"
    );
    for namespace in [&pair.client, &pair.server] {
        namespace.run(Command::new("sh").args(["-c", &ask])).expect("curl");
    }
    let outcome = agent.stop().expect("an outcome");
    let named = compare(&outcome, ["nginx", "curl"]);
    assert_eq!((named.events, named.unknown), (120, 0));
    for seen in &outcome.report.responses {
        let started = &seen.json["process"]["command_line"];
        assert_eq!(started, "'nginx: worker process'");
    }
    let master = u64::from(nginx.pid());
    let workers = outcome.report.responses.iter();
    let mut workers: Vec<_> = workers.map(|seen| seen.json["process"]["pid"].as_u64()).collect();
    workers.sort_unstable();
    workers.dedup();
    assert!(workers.len() > 1 && !workers.contains(&Some(master)), "{workers:?}");
}

#[test]
fn a_server_with_threads() {
    needs!("python3");
    let (named, _) = told("threads", &["many", "100", "200"]);
    assert_eq!((named.events, named.unknown), (100, 0));
}

#[test]
fn processes_that_end_at_once() {
    needs!("python3");
    let (named, line) = told("forks", &["many", "1500", "500"]);
    eprintln!("{named:?} {line}");
    assert_eq!(named.events, 1500);
}

/// The agent is root without the right to inspect other users' processes.
#[test]
fn which_files_they_run_with_a_capability_that_is_kept_for_it() {
    needs!("python3");
    let pair = Pair::new(1500).expect("a pair");
    let _server = python(&pair.server, &["threads", "8080"]);
    for (more, expected) in [(None, 0), (Some("--executables"), 20)] {
        let options: Vec<&str> = OPTIONS.into_iter().chain(more).collect();
        let agent = Agent::start(&pair.server, &options).expect("an agent");
        let arguments = ["keeps", address::SERVER_V4, "8080", "9"];
        let (mut client, _) = python(&pair.client, &arguments);
        client.signal(Signal::USR1).expect("signalled");
        assert!(client.wait().expect("its end").success());
        std::thread::sleep(Duration::from_millis(300));
        let named = compare(&agent.stop().expect("an outcome"), ["python", "python"]);
        let counts = (named.events, named.unknown, named.executables);
        assert_eq!(counts, (10, 0, expected), "{more:?}");
    }
}

/// Folders of the cgroup hierarchy as a container runtime creates them. Removed on drop.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that have ended may still be counted.
        for _ in 0..50 {
            if self.0.ancestors().take(2).all(|f| std::fs::remove_dir(f).is_ok() || !f.exists()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Processes of a container and of a pod, each of which exits before it is looked up. A late lookup does not
/// find what they ran in.
#[test]
fn what_they_run_in() {
    needs!("python3");
    let mounts = std::fs::read_to_string("/proc/mounts").expect("/proc");
    let root = mounts
        .lines()
        .find_map(|line| line.split(' ').nth(1).filter(|_| line.contains(" cgroup2 ")));
    let Some(root) = root else {
        return http_trace_tests::skip!("a cgroup v2 hierarchy");
    };
    let id = "5a".repeat(32);
    let pod = "6f1c4e5a-1b2c-4d3e-8f90-a1b2c3d4e5f6";
    let own = format!("http-trace-{}", std::process::id());
    let in_pod = format!(
        "{own}.slice/kubepods-pod{}.slice/cri-containerd-{id}.scope",
        pod.replace('-', "_")
    );
    for (path, runtime, pod) in [
        (format!("{own}.slice/docker-{id}.scope"), "docker", None),
        (in_pod, "containerd", Some(pod)),
    ] {
        let folder = Path::new(root).join(&path);
        std::fs::create_dir_all(&folder).expect("a cgroup");
        let above = folder.parent().expect("a folder").to_owned();
        let _above = (above.parent() != Some(Path::new(root))).then(|| Cgroup(above));
        let cgroup = Cgroup(folder);
        let pair = Pair::new(1500).expect("a pair");
        let _server = python(&pair.server, &["forks", "8080"]);
        let agent = Agent::start(&pair.server, &OPTIONS).expect("an agent");
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\"/cgroup.procs; exec python3 -c \"$@\""]);
        command.arg(&cgroup.0).arg(SCRIPT);
        command.args(["many", address::SERVER_V4, "8080", "50", "100"]);
        pair.client.run(&mut command).expect("a client");
        let outcome = agent.stop().expect("an outcome");
        assert_eq!(compare(&outcome, ["python", "python"]).unknown, 0);
        let mut known = 0;
        for seen in &outcome.report.responses {
            let client = &seen.json["http_trace"]["client"];
            assert!(seen.json["container"].is_null());
            if client["container"].is_null() {
                continue;
            }
            known += 1;
            assert_eq!(client["container"]["id"], *id, "{client}");
            assert_eq!(client["container"]["runtime"], runtime);
            let of_pod = &client["orchestrator"]["resource"]["id"];
            assert_eq!(of_pod.as_str(), pod);
        }
        assert!(known >= 40, "{known} of 50");
        assert_eq!(outcome.report.responses.len(), 50);
    }
}

/// Two connections of different processes with equal addresses and ports, in direct succession.
#[test]
fn who_takes_a_port_that_was_just_free() {
    needs!("python3");
    let (named, _) = told("forks", &["one-port", "100"]);
    assert_eq!((named.events, named.unknown), (100, 0));
}

/// A process that reads the request but sends nothing is not the one that answered.
#[test]
fn who_was_passed_the_socket() {
    needs!("python3");
    let (named, _) = told("passes", &["many", "100", "200"]);
    assert_eq!((named.events, named.unknown), (100, 0));
}

/// If several processes answer on one connection, the one that answered is named, or nobody.
#[test]
fn of_several_that_answer_on_a_connection_never_another() {
    needs!("python3");
    let pair = Pair::new(1500).expect("a pair");
    let _server = python(&pair.server, &["passes", "8080"]);
    let arguments = ["keeps", address::SERVER_V4, "8080", "100"];
    let (mut client, _) = python(&pair.client, &arguments);
    // The connection is older than the agent, and so are the processes.
    let agent = Agent::start(&pair.server, &OPTIONS).expect("an agent");
    client.signal(Signal::USR1).expect("signalled");
    assert!(client.wait().expect("its end").success());
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("an outcome");
    outcome.check_clean();
    for seen in &outcome.report.responses {
        // Another process may have sent before the event was written: then nobody is named.
        if let Some(pid) = seen.json["process"]["pid"].as_u64() {
            assert_eq!(pid.to_string(), seen.headers["x-pid"][0], "{}", seen.json);
        } else {
            assert!(seen.missing.contains(&"process".to_owned()));
        }
    }
    assert!(outcome.report.responses.len() >= 100);
}

#[test]
fn a_connection_that_was_open_before() {
    needs!("python3");
    let pair = Pair::new(1500).expect("a pair");
    let _server = python(&pair.server, &["threads", "8080"]);
    let arguments = ["keeps", address::SERVER_V4, "8080", "50"];
    let (mut client, _) = python(&pair.client, &arguments);
    let agent = Agent::start(&pair.server, &OPTIONS).expect("an agent");
    client.signal(Signal::USR1).expect("signalled");
    assert!(client.wait().expect("its end").success());
    std::thread::sleep(Duration::from_millis(300));
    let named = compare(&agent.stop().expect("an outcome"), ["python", "python"]);
    assert_eq!((named.events, named.unknown), (50, 0));
}

#[test]
fn in_two_namespaces_with_equal_addresses() {
    needs!("python3");
    let port = own_port().to_string();
    let pairs = [(); 2].map(|()| Pair::new(1500).expect("a pair"));
    let _servers = pairs.each_ref().map(|pair| python(&pair.server, &["threads", &port]));
    let options = [&OPTIONS[..], &["--hook", "cgroup", "-p", &port]].concat();
    let agent = Agent::start(&pairs[0].server, &options).expect("an agent");
    let arguments = ["one-port", address::SERVER_V4, &port, "50"];
    let clients = pairs.each_ref().map(|pair| python(&pair.client, &arguments));
    for (mut client, _) in clients {
        assert!(client.wait().expect("its end").success());
    }
    std::thread::sleep(Duration::from_millis(300));
    let named = compare(&agent.stop().expect("an outcome"), ["python", "python"]);
    assert_eq!((named.events, named.unknown), (100, 0));
}

#[test]
fn and_none_where_that_is_not_wanted() {
    needs!("python3");
    let pair = Pair::new(1500).expect("a pair");
    let _server = python(&pair.server, &["threads", "8080"]);
    let agent = Agent::start(&pair.server, &["--no-attribution"]).expect("an agent");
    python(&pair.client, &["many", address::SERVER_V4, "8080", "5", "100"]);
    let outcome = agent.stop().expect("an outcome");
    outcome.check_clean();
    assert_eq!(outcome.report.responses.len(), 5);
    for seen in &outcome.report.responses {
        let ends = [&seen.json["process"], &seen.json["http_trace"]["client"]];
        assert_eq!(ends, [&Value::Null; 2]);
        assert!(seen.missing.is_empty(), "{:?}", seen.missing);
    }
}
