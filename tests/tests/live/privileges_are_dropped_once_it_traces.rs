//! Once the programs are attached, no thread of the agent has more privileges than it needs, and what it
//! opens and starts belongs to the user that it has switched to.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use http_trace_tests::agent::{self, Agent};
use http_trace_tests::bed::own_port;
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const NOTHING: &str = "0000000000000000";
/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF (linux/capability.h).
const ATTACHING: &str = "000000c000001000";
/// CAP_DAC_READ_SEARCH.
const READING: &str = "0000000000000004";
/// The thread that names containers, which may keep that capability where the agent is not root.
const NAMING: &str = "attribution";
/// `nobody`.
const USER: u32 = 65534;
const SOON: Duration = Duration::from_secs(30);

/// The values of a key of `status` over all threads of a process, or over those that `is_meant` selects.
fn of_tasks(pid: u32, key: &str, is_meant: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("/proc");
    let values = tasks.filter_map(|task| {
        // A thread may end at any time.
        let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let of = |key| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let value = line.and_then(|line| line.strip_prefix(':'));
            value.expect("a key of status").trim().to_owned()
        };
        is_meant(&of("Name")).then(|| of(key))
    });
    values.collect()
}

/// Checks that each thread has exactly these capabilities, and cannot gain others.
fn has_alone(pid: u32, capabilities: &str) {
    have_alone(pid, capabilities, |_| true);
}

fn have_alone(pid: u32, capabilities: &str, is_meant: impl Fn(&str) -> bool) {
    assert!(fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.count() > 1));
    for (key, expected) in [
        ("CapPrm", capabilities),
        ("CapEff", capabilities),
        ("CapInh", NOTHING),
        ("CapAmb", NOTHING),
        ("CapBnd", NOTHING),
        ("NoNewPrivs", "1"),
    ] {
        let values: Vec<String> = of_tasks(pid, key, &is_meant).into_iter().collect();
        assert_eq!(values, [expected], "{key}");
    }
}

fn url(port: u16, file: &str) -> String {
    format!("http://{}:{port}/{file}", address::SERVER_V4)
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !is_there() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn of_all_but_what_hot_plug_takes() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let port = own_port();
    let _nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let port_text = port.to_string();
    for (options, expected) in [
        (&["--hook", "tc"][..], ATTACHING),
        (&["--hook", "cgroup"], ATTACHING),
        (&["--hook", "socket-filter"], NOTHING),
        (&["--hook", "tc,cgroup", "--no-hotplug"], NOTHING),
        (&["--hook", "xdp", "--no-hotplug"], NOTHING),
    ] {
        let options = [options, &["-v", "-p", &port_text]].concat();
        let mut agent = Agent::start(&pair.server, &options).expect("the agent");
        has_alone(agent.pid(), expected);
        let plugged = pair.server.ip("link add late type veth peer name late2");
        plugged.expect("a new interface");
        for name in ["late", "late2"] {
            pair.server.ip(&format!("link set {name} up")).expect("up");
        }
        if options.contains(&"tc") {
            assert!(agent.wait_for_line("tracing late too", SOON), "{options:?}");
        }
        curl(&pair.client, &[&url(port, "small.txt"), &url(port, "nowhere")]).expect("curl");
        let report = agent.wait_for(2, SOON).expect("events");
        assert_eq!(report.responses.len(), 2, "{options:?}");
        has_alone(agent.pid(), expected);
        let outcome = agent.stop().expect("the agent's end");
        outcome.check_clean();
        pair.server.ip("link del late").expect("ip");
    }
}

/// A filter at clsact is detached by a request that needs a capability.
#[test]
fn of_all_but_what_leaving_takes() {
    needs!("tc");
    let pair = Pair::new(1500).expect("a pair");
    let clsact = [("HTTP_TRACE_TC", "clsact")];
    let agent = Agent::start_with(&pair.server, &["--no-hotplug"], &clsact).expect("the agent");
    has_alone(agent.pid(), "0000000000001000");
    agent.stop().expect("the agent's end").check_clean();
    let mut tc = Command::new(program("tc").expect("tc"));
    tc.args(["filter", "show", "dev", "veth0", "ingress"]);
    let left = pair.server.run(&mut tc).expect("tc").stdout;
    assert_eq!(String::from_utf8_lossy(&left), "");
}

#[test]
fn and_all_that_it_writes_is_its_users() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    chown(folder.path(), Some(USER), Some(USER)).expect("chown");
    fs::write(
        at("rule.yml"),
        "title: missing\nname: missing\nlevel: high\nlogsource: {category: webserver}\n\
         detection: {s: {sc-status: 404}, condition: s}\n",
    )
    .expect("a rule");
    let of = |name: &str| at(name).display().to_string();
    let alert = format!("command:sh -c 'cat /proc/self/status > {}'", of("status"));
    let mut command = Command::new(agent::binary().expect("the agent"));
    command
        .args(["--user", "nobody", "--no-hotplug", "-o"])
        .arg(format!("json:{}", of("events")))
        .args(["--state", &of("state"), "--rules", &of("rule.yml")])
        .args(["--alerts-to", &format!("file:{}", of("alerts"))])
        .args(["--alerts-to", &alert]);
    let mut agent = pair.server.spawn(&mut command).expect("the agent");
    wait_for("tracing", || at("state").exists());
    have_alone(agent.pid(), NOTHING, |name| name != NAMING);
    have_alone(agent.pid(), READING, |name| name == NAMING);
    curl(&pair.client, &[&url(80, "nowhere")]).expect("curl");
    let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    wait_for("an alert", || text(&at("status")).contains("NoNewPrivs:\t1"));
    let ids: Vec<String> =
        ["Uid", "Gid"].iter().flat_map(|key| of_tasks(agent.pid(), key, |_| true)).collect();
    let four = [&*USER.to_string(); 4].join("\t");
    assert_eq!(ids, [four.clone(), four]);
    assert_eq!(of_tasks(agent.pid(), "Groups", |_| true).into_iter().collect::<Vec<_>>(), [""]);
    agent.signal(rustix::process::Signal::TERM).expect("a signal");
    assert!(agent.wait().expect("its end").success());
    assert!(text(&at("status")).contains(&format!("Uid:\t{USER}\t{USER}")));
    assert!(text(&at("events")).contains(r#""status_code":404"#));
    for name in ["events", "state", "alerts", "status"] {
        let owner = fs::metadata(at(name)).expect(name).uid();
        assert_eq!(owner, USER, "{name}");
    }
}

/// A copy of the agent that another user may run, and how to run it with these capabilities alone.
struct Unprivileged(tempfile::TempDir);

impl Unprivileged {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        chown(folder.path(), Some(USER), Some(USER)).expect("chown");
        let copy = folder.path().join("http-trace");
        fs::copy(agent::binary().expect("the agent"), copy).expect("a copy");
        Unprivileged(folder)
    }

    fn run(&self, pair: &Pair, held: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("setpriv").expect("setpriv"));
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}")]);
        command.arg("--clear-groups");
        for sort in ["inh-caps", "ambient-caps", "bounding-set"] {
            command.arg(format!("--{sort}=-all,{held}"));
        }
        command.arg(self.0.path().join("http-trace"));
        command.args(arguments).stdin(Stdio::null());
        let output = pair.server.enter(|| command.output());
        output.expect("the namespace").expect("the agent")
    }
}

const BRIEFLY: [&str; 2] = ["--duration", "100ms"];

#[test]
fn and_what_is_missing_is_named_with_what_is_lost() {
    needs!("setpriv");
    let pair = Pair::new(1500).expect("a pair");
    let agent = Unprivileged::new();
    let all = "+net_admin,+bpf,+perfmon";
    for (held, options, status, expected) in [
        (
            "+net_admin,+bpf",
            &["--hook", "tc"][..],
            2,
            "live tracing needs CAP_PERFMON (without it, the kernel rejects",
        ),
        (
            "+net_admin,+perfmon",
            &["--hook", "cgroup"],
            2,
            "live tracing needs CAP_BPF (without it, programs cannot be loaded)",
        ),
        (
            "+bpf,+perfmon",
            &["--hook", "xdp"],
            2,
            "live tracing needs CAP_NET_ADMIN (without it, programs cannot be attached)",
        ),
        (
            all,
            &["--hook", "socket-filter"],
            2,
            "CAP_NET_RAW (without it, the hook socket-filter is not available)",
        ),
        (
            all,
            &["--executables", "--duration", "100ms"],
            0,
            "CAP_SYS_PTRACE (without it, --executables cannot read",
        ),
        (all, &["--user", "daemon"], 2, "cannot switch to user daemon: "),
        (all, &["--user", "no such"], 2, "--user no such: no such user in /etc/passwd"),
        (all, &BRIEFLY, 0, "CAP_SYS_NICE (without it, the reader and writer threads"),
    ] {
        let output = agent.run(&pair, held, options);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{options:?}: {said}");
        if expected.starts_with("CAP_SYS_NICE")
            && rustix::process::getpriority_process(None) != Ok(0)
        {
            // The agent leaves a priority other than the default unchanged, and reports nothing.
            continue;
        }
        let lines = said.lines().filter(|line| line.contains(expected));
        assert_eq!(lines.count(), 1, "{options:?}: {said}");
    }
}

/// doctor has one line for each capability that is not held; only needed ones count.
#[test]
fn and_doctor_names_each_that_is_missing() {
    needs!("setpriv");
    let pair = Pair::new(1500).expect("a pair");
    let agent = Unprivileged::new();
    let used = ["net_admin", "net_raw", "perfmon", "bpf", "sys_ptrace", "sys_nice", "sys_admin"];
    for (missing, options, state) in [
        ("net_admin", &BRIEFLY[..], "failed"),
        ("bpf", &BRIEFLY, "failed"),
        ("perfmon", &BRIEFLY, "failed"),
        ("net_raw", &["--hook", "socket-filter"], "failed"),
        ("net_raw", &BRIEFLY, "ok"),
        ("sys_nice", &BRIEFLY, "limited"),
        ("sys_ptrace", &BRIEFLY, "ok"),
        ("sys_ptrace", &["--executables", "--duration", "100ms"], "limited"),
        ("sys_admin", &BRIEFLY, "ok"),
    ] {
        // CAP_SYS_ADMIN includes some of the others.
        let is_held = |one: &&str| *one != missing && (*one != "sys_admin" || state != "failed");
        let held: Vec<String> =
            used.into_iter().filter(is_held).map(|one| format!("+{one}")).collect();
        let arguments = [&["doctor"], options].concat();
        let output = agent.run(&pair, &held.join(","), &arguments);
        let said = String::from_utf8_lossy(&output.stdout);
        let name = format!("CAP_{} (without it, ", missing.to_uppercase());
        let is_of_it = |line: &&str| line.contains(" capabilities: ") && line.contains(&name);
        let lines: Vec<_> = said.lines().filter(is_of_it).collect();
        assert!(
            matches!(lines[..], [line] if line.starts_with(state)),
            "{missing} {options:?}: {said}"
        );
        let could_not = output.status.code() == Some(2);
        assert_eq!(could_not, state == "failed", "{missing}: {said}");
    }
}

/// Reading keeps none; only files of other users need one.
#[test]
fn and_reading_keeps_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let capture = folder.path().join("a.pcap");
    let foreign = folder.path().join("foreign");
    fs::create_dir(&foreign).expect("a folder");
    chown(&foreign, Some(USER), Some(USER)).expect("chown");
    for (output, expected) in [
        (folder.path().join("out"), NOTHING),
        // CAP_DAC_OVERRIDE
        (foreign.join("out"), "0000000000000002"),
    ] {
        rustix::fs::mknodat(rustix::fs::CWD, &capture, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a pipe");
        let mut command = Command::new(agent::binary().expect("the agent"));
        command.arg("-r").arg(&capture).arg("-o").arg(format!("json:{}", output.display()));
        let mut reader = command.stderr(Stdio::null()).spawn().expect("the agent");
        let pipe = fs::File::options().write(true).open(&capture).expect("opened");
        wait_for("its output", || output.exists());
        has_alone(reader.id(), expected);
        drop(pipe);
        reader.wait().expect("its end");
        fs::remove_file(&capture).expect("removed");
    }
}

/// Files of other users are found in folders too, and a missing one is not taken for one that may not be read.
#[test]
fn and_files_of_others_are_read_wherever_they_are() {
    needs!();
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder");
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/captures");
    for name in ["a.pcap", "b.pcap"] {
        let file = home.join(name);
        fs::copy(Path::new(captures).join("nginx.pcap"), &file).expect("copied");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
        chown(&file, Some(USER), Some(USER)).expect("chown");
    }
    for mode in [0o755, 0o700] {
        fs::set_permissions(&home, fs::Permissions::from_mode(mode)).expect("chmod");
        chown(&home, Some(USER), Some(USER)).expect("chown");
        for (arguments, expected) in [
            (&["-r", "home", "-o", "json:/dev/null"][..], " 48 responses"),
            (&["-r", "home/a.pcap", "-o", "json:/dev/null", "--rules", "home"], " 48 responses"),
            (&["detect", "home/none.log"], "No such file or directory"),
            (&["-r", "home/none.pcap"], "No such file or directory"),
        ] {
            let mut command = Command::new(agent::binary().expect("the agent"));
            let output = command.args(arguments).current_dir(folder.path()).output().expect("ran");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(expected), "{mode:o} {arguments:?}: {said}");
            assert!(!said.contains("Permission denied"), "{mode:o} {arguments:?}: {said}");
        }
    }
}
