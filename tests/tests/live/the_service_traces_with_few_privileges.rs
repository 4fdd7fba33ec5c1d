//! With the capabilities of `deploy/systemd/http-trace.service` and the settings of `deploy/http-trace.toml`,
//! an unprivileged user traces, notifies the service manager, and serves metrics at the port of `--listen`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http_trace_tests::agent;
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;
use rustix::process::Signal;

const UNIT: &str = include_str!("../../../deploy/systemd/http-trace.service");
const SETTINGS: &str = include_str!("../../../deploy/http-trace.toml");

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const LISTEN: &str = "127.0.0.1:9464";
/// `nobody`.
const USER: u32 = 65534;

fn of_unit(key: &str) -> Vec<&'static str> {
    let line = UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.expect("a key of the unit").split(' ').collect()
}

/// The next notification to the service manager.
fn told(manager: &UnixDatagram) -> String {
    let mut text = [0; 256];
    let len = manager.recv(&mut text).expect("a message in time");
    String::from_utf8_lossy(&text[..len]).trim().to_owned()
}

fn status_of(pid: u32, key: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.expect("a key of /proc/PID/status").trim().to_owned()
}

/// The answer of the port of `--listen`.
fn ask(pair: &Pair, path: &str) -> String {
    let asked = pair.server.enter(|| {
        let mut stream = TcpStream::connect(LISTEN)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    });
    asked.expect("the namespace").expect("an answer")
}

#[test]
fn as_the_unit_has_it() {
    needs!("nginx", "curl", "setpriv");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    chown(folder.path(), Some(USER), Some(USER)).expect("chown");
    // Another user may not read the build folder.
    fs::copy(agent::binary().expect("the agent"), at("http-trace")).expect("a copy");
    let here = format!("{}/", folder.path().display());
    let settings =
        SETTINGS.replace("/var/log/http-trace/", &here).replace("/var/lib/http-trace/", &here);
    let settings = format!("listen = \"{LISTEN}\"\n{settings}");
    fs::write(at("http-trace.toml"), settings).expect("settings");
    let manager = UnixDatagram::bind(at("manager")).expect("a socket");
    fs::set_permissions(at("manager"), fs::Permissions::from_mode(0o777)).expect("chmod");
    manager.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");

    let all = of_unit("CapabilityBoundingSet");
    assert_eq!(all, of_unit("AmbientCapabilities"));
    let set: String = all
        .iter()
        .map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let mut command = Command::new(program("setpriv").expect("setpriv"));
    command.args([&format!("--reuid={USER}"), &format!("--regid={USER}")]);
    command.args(["--clear-groups", "--no-new-privs"]);
    for sort in ["inh-caps", "ambient-caps", "bounding-set"] {
        command.arg(format!("--{sort}=-all{set}"));
    }
    command.arg(at("http-trace")).args(["--quiet", "--config"]).arg(at("http-trace.toml"));
    command.env("NOTIFY_SOCKET", at("manager")).env("WATCHDOG_USEC", "1000000");
    let mut service = pair.server.spawn(&mut command).expect("the service");

    assert_eq!(told(&manager), "READY=1");
    let pid = service.pid();
    assert_eq!(status_of(pid, "Uid"), format!("{USER}\t{USER}\t{USER}\t{USER}"));
    assert_eq!(status_of(pid, "NoNewPrivs"), "1");
    let mask = |key| u64::from_str_radix(&status_of(pid, key), 16).expect("a mask");
    assert_eq!(mask("CapBnd").count_ones() as usize, all.len());
    // CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF: the others were only for the start.
    assert_eq!(mask("CapEff"), 1 << 12 | 1 << 38 | 1 << 39);

    let url = |file: &str| format!("http://{}/{file}", address::SERVER_V4);
    let asked = curl(&pair.client, &[&url("small.txt"), &url("nowhere")]).expect("curl");
    assert_eq!(asked.iter().map(|one| one.status).collect::<Vec<_>>(), [200, 404]);
    assert_eq!(told(&manager), "WATCHDOG=1");
    assert_eq!(told(&manager), "WATCHDOG=1");
    assert!(ask(&pair, "/readyz").starts_with("HTTP/1.1 200 "));
    // Unwritten events count too; answers of the port itself do not.
    let numbers = ask(&pair, "/metrics");
    let responses = numbers.lines().filter(|line| line.starts_with("http_trace_responses_total{"));
    let responses: Vec<_> = responses.collect();
    let expected = [("2xx", 200), ("4xx", 404)].map(|(class, code)| {
        format!(r#"http_trace_responses_total{{class="{class}",code="{code}",server_port="80",workload=""#)
    });
    let are =
        |(line, expected): (&&str, &String)| line.starts_with(expected) && line.ends_with("} 1");
    assert!(responses.len() == 2 && responses.iter().zip(&expected).all(are), "{numbers}");
    service.signal(Signal::TERM).expect("a signal");
    let mut last = told(&manager);
    while last == "WATCHDOG=1" {
        last = told(&manager);
    }
    assert_eq!(last, "STOPPING=1");
    assert!(service.wait().expect("its end").success());

    let written = fs::read_to_string(at("events.jsonl")).expect("events");
    let events = written.lines().filter(|line| line.contains(r#""kind":"event""#));
    let events: Vec<_> = events.collect();
    assert_eq!(events.len(), 1, "{written}");
    assert!(events[0].contains(r#""status_code":404"#), "{written}");
    assert!(Path::new(&at("state")).exists());
}
