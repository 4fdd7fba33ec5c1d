//! Each event names the container and pod of a process, and never a wrong one: servers identify themselves in
//! a header field, and containers are named after their servers.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_trace_tests::agent::{Agent, Outcome};
use http_trace_tests::api_server::{ApiServer, Mode, pod};
use http_trace_tests::need::program;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::pods::Cgroup;
use http_trace_tests::seen::Seen;
use http_trace_tests::{needs, skip};

/// When an event is written at the latest, on a busy host: less than anything here waits for an answer.
const SOON: Duration = Duration::from_millis(1500);

/// Sends `count` requests to this port.
fn ask(namespace: &Namespace, port: u16, count: usize) {
    let url = format!("http://{}:{port}/", address::SERVER_V4);
    let mut command = Command::new(program("curl").expect("curl"));
    command.args(["-sS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]);
    for _ in 0..count {
        command.args(["-o", "/dev/null", &url]);
    }
    namespace.run(&mut command).expect("curl");
}

/// Names at a server's end of an event: container, image, pod, namespace, owner.
fn names(seen: &Seen) -> [String; 5] {
    let json = &seen.json;
    let resource = &json["orchestrator"]["resource"];
    [
        &json["container"]["name"],
        &json["container"]["image"]["name"],
        &resource["name"],
        &json["orchestrator"]["namespace"],
        &resource["parent"]["name"],
    ]
    .map(|value| value.as_str().unwrap_or("-").to_owned())
}

/// Whether the event was written before everything was known of a process, which it says: the lookup came
/// late on a busy host. The names it has must still be right.
fn is_late(seen: &Seen, expected: &[&str]) -> bool {
    let is_late = seen.missing.contains(&"process".to_owned());
    if is_late {
        for (name, expected) in names(seen).iter().zip(expected) {
            assert!(name == expected || name == "-", "{}", seen.json);
        }
    }
    is_late
}

const UIDS: [&str; 3] = [
    "6f1c4e5a-1b2c-4d3e-8f90-000000000001",
    "6f1c4e5a-1b2c-4d3e-8f90-000000000002",
    "6f1c4e5a-1b2c-4d3e-8f90-000000000003",
];

fn id(number: u8) -> String {
    format!("{number:064x}")
}

#[test]
fn pods_by_an_api_server_that_comes_and_goes() {
    needs!("curl", "python3");
    let pair = Pair::new(1500).expect("a pair");
    let Some(app) = Cgroup::new(UIDS[0], &id(1)) else {
        return skip!("cgroup v2");
    };
    let sidecar = Cgroup::new(UIDS[0], &id(2)).expect("a cgroup");
    let other = Cgroup::new(UIDS[1], &id(3)).expect("a cgroup");
    let late = Cgroup::new(UIDS[2], &id(4)).expect("a cgroup");
    let listener = pair.server.enter(|| TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("entered").expect("a port");
    let server = ApiServer::listen(listener).expect("a server");
    server.put(UIDS[0], &pod(UIDS[0], "web-5d-a", "n1", &[("app", &id(1)), ("sidecar", &id(2))]));
    server.put(UIDS[1], &pod(UIDS[1], "other-5d-b", "n1", &[("app", &id(3))]));
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    fs::write(&kubeconfig, server.kubeconfig()).expect("written");
    let kubeconfig = kubeconfig.to_str().expect("a path");

    // All in one network namespace, like pods with hostNetwork.
    let (of_app, _of_sidecar, of_other, _of_late) = (
        app.serve(&pair.server, 8081),
        sidecar.serve(&pair.server, 8082),
        other.serve(&pair.server, 8083),
        late.serve(&pair.server, 8084),
    );
    let options = ["--kubernetes", kubeconfig, "--cri-socket", "off"];
    let mut agent = Agent::start_with(&pair.server, &options, &[("HTTP_TRACE_NODE_NAME", "n1")])
        .expect("an agent");
    let until = Instant::now() + Duration::from_secs(10);
    while server.asked().len() < 2 {
        assert!(Instant::now() < until, "the API server was not asked");
        std::thread::sleep(Duration::from_millis(10));
    }
    for port in 8081..=8084 {
        ask(&pair.client, port, 20);
    }
    let first = agent.wait_for(80, Duration::from_secs(10)).expect("events");
    let expected = [
        ["app", "registry/app:1", "web-5d-a", "shop", "web"],
        ["sidecar", "registry/sidecar:1", "web-5d-a", "shop", "web"],
        ["app", "registry/app:1", "other-5d-b", "shop", "other"],
        ["-"; 5],
    ];
    assert_eq!(first.responses.len(), 80);
    let mut late = 0;
    for seen in &first.responses {
        let at = usize::from(seen.server.port() - 8081);
        if is_late(seen, &expected[at]) {
            late += 1;
            continue;
        }
        assert_eq!(names(seen), expected[at], "{}", seen.json);
        let missing = ["container", "orchestrator"].map(str::to_owned);
        let missing = if at == 3 { &missing[..] } else { &[] };
        assert_eq!(seen.missing, missing, "{}", seen.json);
        assert_eq!(seen.json["orchestrator"]["resource"]["id"], UIDS[at.saturating_sub(1)]);
    }
    let of = &first.responses[0].json;
    assert_eq!(of["service"]["name"], "web");
    assert_eq!(of["kubernetes"]["node"]["name"], "n1");
    assert_eq!(of["orchestrator"]["resource"]["parent"]["type"], "Deployment");
    assert_eq!(of["orchestrator"]["resource"]["label"][0], "app=web");

    // Known names stay, whatever happens to the API server.
    server.set_mode(Mode::Status(503));
    server.disconnect();
    assert!(
        agent.wait_for_line("pods are not named: http://127.0.0.1", Duration::from_secs(10)),
        "it is said"
    );
    ask(&pair.client, 8081, 20);
    // Its port is reused by another pod at once.
    drop(of_app);
    drop(of_other);
    let _of_other = other.serve(&pair.server, 8081);
    ask(&pair.client, 8081, 20);
    // A name that comes late completes what was named before.
    server.put(UIDS[2], &pod(UIDS[2], "late-5d-c", "n1", &[("app", &id(4))]));
    server.forget();
    server.set_mode(Mode::Works);
    assert!(agent.wait_for_line("pods are named again", Duration::from_secs(30)), "it is said");
    ask(&pair.client, 8084, 20);
    let outcome = agent.stop().expect("an outcome");
    outcome.check_clean();
    let rest = &outcome.report.responses[80..];
    assert_eq!(rest.len(), 60);
    let later = ["app", "registry/app:1", "late-5d-c", "shop", "late"];
    for (number, seen) in rest.iter().enumerate() {
        let expected = match number {
            0..20 => expected[0],
            20..40 => expected[2],
            _ => later,
        };
        if is_late(seen, &expected) {
            late += 1;
            continue;
        }
        assert_eq!(names(seen), expected, "{number}: {}", seen.json);
        assert_eq!(seen.missing, [""; 0], "{}", seen.json);
    }
    // Only those for which no CPU was available in time.
    assert!(late <= 7, "{late} of 140 were written before their process was known");
    let lines = outcome.said.iter().filter(|line| line.contains("pods are"));
    assert_eq!(lines.count(), 2, "{:?}", outcome.said);
}

/// Where names come from in [`a_bad_source_costs_names_alone`].
enum Bad {
    /// A kubeconfig file: the valid one with the first text replaced by the second.
    Kubeconfig(&'static str, &'static str),
    NoKubeconfig,
    Server(Mode),
    NoServer,
    Certificate,
    CriThatHangs,
    NoCri,
}

/// Whatever is wrong with the source of names: names are absent, one line says why, the ends are counted, and
/// events are written as soon as without it.
#[test]
fn a_bad_source_costs_names_alone() {
    needs!("curl", "python3", "openssl");
    let pair = Pair::new(1500).expect("a pair");
    let Some(pod) = Cgroup::new(UIDS[0], &id(1)) else {
        return skip!("cgroup v2");
    };
    let _server = pod.serve(&pair.server, 8081);
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let listener = pair.server.enter(|| TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("entered").expect("a port");
    let server = ApiServer::listen(listener).expect("a server");
    let _hangs = UnixListener::bind(at("cri.sock")).expect("a socket");
    let mut openssl = Command::new(program("openssl").expect("openssl"));
    openssl.current_dir(&folder).stdout(Stdio::null());
    openssl.stderr(Stdio::null()).args(["req", "-x509", "-nodes"]);
    openssl.args(["-newkey", "rsa:2048", "-subj", "/CN=localhost"]);
    openssl.args(["-keyout", "key.pem", "-out", "cert.pem"]);
    assert!(openssl.status().expect("openssl").success());
    let mut openssl = Command::new(program("openssl").expect("openssl"));
    openssl.current_dir(&folder).stdout(Stdio::null());
    openssl.stderr(Stdio::null()).args(["s_server", "-quiet"]);
    openssl.args(["-accept", "127.0.0.1:8443", "-www"]);
    openssl.args(["-cert", "cert.pem", "-key", "key.pem"]);
    let _tls = pair.server.spawn(&mut openssl).expect("openssl");
    for (bad, said) in [
        (Bad::Kubeconfig("clusters:", "clusters: 7 #"), "invalid kubeconfig"),
        (Bad::Kubeconfig("current-context: test", ""), "no context ''"),
        (Bad::NoKubeconfig, "No such file"),
        (Bad::NoServer, "Connection refused"),
        (Bad::Certificate, "certificate"),
        (Bad::Server(Mode::Status(410)), "410 Gone"),
        (Bad::Server(Mode::Status(403)), "403 Forbidden"),
        (Bad::Server(Mode::Garbage), "invalid pod list"),
        (Bad::Server(Mode::Hangs), "timeout"),
        (Bad::CriThatHangs, "timed out"),
        (Bad::NoCri, "No such file"),
    ] {
        let mut kubeconfig = server.kubeconfig();
        server.set_mode(Mode::Works);
        let of_server = format!("http://{}", server.address());
        let mut cri = "off".to_owned();
        match bad {
            Bad::Kubeconfig(from, to) => kubeconfig = kubeconfig.replace(from, to),
            Bad::Server(mode) => server.set_mode(mode),
            Bad::NoServer => kubeconfig = kubeconfig.replace(&of_server, "http://127.0.0.1:1"),
            Bad::Certificate => {
                kubeconfig = kubeconfig.replace(&of_server, "https://127.0.0.1:8443");
            }
            Bad::NoKubeconfig => {}
            Bad::CriThatHangs => cri = at("cri.sock"),
            Bad::NoCri => cri = at("nowhere.sock"),
        }
        fs::write(at("config"), kubeconfig).expect("written");
        let from = match bad {
            Bad::NoKubeconfig => at("nowhere"),
            Bad::CriThatHangs | Bad::NoCri => "off".to_owned(),
            _ => at("config"),
        };
        let options = ["-v", "--kubernetes", &from, "--cri-socket", &cri];
        let environment = [("HTTP_TRACE_NODE_NAME", "n1")];
        let mut agent = Agent::start_with(&pair.server, &options, &environment).expect("an agent");
        ask(&pair.client, 8081, 20);
        let asked = Instant::now();
        let report = agent.wait_for(20, SOON).expect("events");
        assert_eq!(report.responses.len(), 20, "{said}");
        assert!(asked.elapsed() < SOON, "{said}: {:?}", asked.elapsed());
        assert!(agent.wait_for_line(said, Duration::from_secs(30)), "{said}");
        ask(&pair.client, 8081, 10);
        let outcome = agent.stop().expect("an outcome");
        outcome.check_clean();
        assert_eq!(outcome.report.responses.len(), 30, "{said}");
        let mut late = 0;
        for seen in &outcome.report.responses {
            if is_late(seen, &["-"; 5]) {
                late += 1;
                continue;
            }
            assert_eq!(names(seen), ["-"; 5], "{said}: {}", seen.json);
            assert_eq!(seen.missing, ["container", "orchestrator"], "{said}");
            assert_eq!(seen.json["container"]["id"], id(1));
            assert_eq!(seen.json["orchestrator"]["resource"]["id"], UIDS[0]);
        }
        assert!(late <= 3, "{late} of 30 were late");
        let lines = outcome.said.iter();
        let lines = lines.filter(|of| of.contains("not named") || of.contains("cannot be named"));
        assert_eq!(lines.count(), 1, "{said}: {:?}", outcome.said);
        let counted = format!("{} endpoints in an unnamed pod", 30 - late);
        assert!(outcome.said.iter().any(|line| line.contains(&counted)), "{:?}", outcome.said);
    }
}

/// A podman store of the test's own, with one image: nginx and its libraries.
struct Podman {
    folder: tempfile::TempDir,
}

const IMAGE: &str = "localhost/web:1.2";

impl Podman {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let podman = Podman { folder };
        let script = "set -e; mkdir -p $0/root/tmp $0/root/etc; \
            for f in $1 $(ldd $1 | grep -o '/[^ ]*') /lib/*-linux-gnu/libnss_files.so.2; do \
            install -D $f $0/root$f; done; echo root:x:0:0::/: > $0/root/etc/passwd; \
            echo root:x:0: > $0/root/etc/group; tar -C $0/root -cf $0/image.tar .";
        let nginx = program("nginx").expect("nginx");
        let made = Command::new("sh")
            .args(["-c", script])
            .arg(podman.folder.path())
            .arg(nginx)
            .output()
            .expect("sh");
        assert!(made.status.success(), "{made:?}");
        let image = podman.folder.path().join("image.tar");
        podman.run(&["import", image.to_str().expect("a path"), IMAGE]);
        podman
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(program("podman").expect("podman"));
        command.arg("--root").arg(at("store")).arg("--runroot").arg(at("run"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        command.arg("--tmpdir").arg(at("tmp"));
        if let Some(runc) = program("runc") {
            command.arg("--runtime").arg(runc);
        }
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let ran = self.command().args(words).output().expect("podman");
        assert!(ran.status.success(), "{words:?}: {ran:?}");
        // It prints the container that it replaces first.
        let told = String::from_utf8_lossy(&ran.stdout);
        told.lines().last().unwrap_or_default().to_owned()
    }

    /// Starts a server with this name in this network namespace; returns its id.
    fn serve(&self, name: &str, namespace: &Namespace, port: u16) -> String {
        let nginx = program("nginx").expect("nginx");
        let configuration = self.folder.path().join(format!("{name}-{port}.conf"));
        let text = format!(
            "daemon off; user root; worker_processes 2; pid /tmp/pid; error_log stderr;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b;\n\
             fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;\n\
             server {{ listen {port}; add_header X-Name {name} always;\n\
             location / {{ return 200 ok; }} }} }}\n"
        );
        fs::write(&configuration, text).expect("written");
        let volume = format!("{}:/nginx.conf:ro", configuration.display());
        self.run(&[
            "run",
            "--detach",
            "--replace",
            "--name",
            name,
            "--network",
            &format!("ns:/run/netns/{}", namespace.name()),
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
            "--volume",
            &volume,
            IMAGE,
            nginx.to_str().expect("a path"),
            "-c",
            "/nginx.conf",
            "-e",
            "stderr",
        ])
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command().args(["rm", "--all", "--force", "--time", "0"]).output();
    }
}

/// Compares containers with the names that they report and the ids from podman; returns how many were written
/// too early to be named.
fn compare(outcome: &Outcome, ids: &[String]) -> usize {
    outcome.check_clean();
    let mut late = 0;
    for seen in &outcome.report.responses {
        let said = &seen.headers["x-name"][0];
        if is_late(seen, &[said, IMAGE]) {
            late += 1;
            continue;
        }
        assert_eq!(names(seen)[..2], [said, IMAGE], "{}", seen.json);
        let container = &seen.json["container"];
        assert_eq!(container["runtime"], "podman", "{}", seen.json);
        let id = container["id"].as_str().expect("an id").to_owned();
        assert!(ids.contains(&id), "{id} is none of {ids:?}");
        assert_eq!(seen.json["process"]["name"], "nginx");
    }
    late
}

#[test]
fn containers_of_podman() {
    needs!("podman", "runc", "nginx", "curl", "ldd", "tar");
    let pair = Pair::new(1500).expect("a pair");
    let podman = Podman::new();
    // One starts before the agent.
    let mut ids = vec![podman.serve("first", &pair.server, 8081)];
    let agent = Agent::start(&pair.server, &[]).expect("an agent");
    ids.push(podman.serve("second", &pair.server, 8082));
    for port in [8081, 8082] {
        ask(&pair.client, port, 30);
    }
    // Another one with the same name.
    ids.push(podman.serve("second", &pair.server, 8082));
    ask(&pair.client, 8082, 30);
    // The address of one is reused by another at once.
    podman.run(&["rm", "--force", "--time", "0", "first"]);
    ids.push(podman.serve("third", &pair.server, 8081));
    ask(&pair.client, 8081, 30);
    let outcome = agent.stop().expect("an outcome");
    let late = compare(&outcome, &ids);
    let responses = &outcome.report.responses;
    assert_eq!(responses.len(), 120);
    assert!(late <= 6, "{late} of 120 were not named");
    for (at, id) in ids.iter().enumerate() {
        let of_id = responses.iter().filter(|seen| seen.json["container"]["id"] == **id);
        assert!((30 - late..=30).contains(&of_id.count()), "{at}");
    }
}

/// podman's files about its containers belong to root.
#[test]
fn containers_of_podman_by_an_agent_that_is_not_root() {
    needs!("podman", "runc", "nginx", "curl", "ldd", "tar");
    let pair = Pair::new(1500).expect("a pair");
    let podman = Podman::new();
    let ids = [podman.serve("first", &pair.server, 8081)];
    let options = ["--user", "nobody", "--no-hotplug"];
    let agent = Agent::start(&pair.server, &options).expect("an agent");
    ask(&pair.client, 8081, 30);
    let outcome = agent.stop().expect("an outcome");
    let late = compare(&outcome, &ids);
    assert_eq!(outcome.report.responses.len(), 30);
    assert!(late <= 3, "{late} of 30 were not named");
}

/// A filter that leaves everything out is said at the start, not by an empty output.
#[test]
fn a_filter_by_pod_where_nothing_names_pods_is_warned_of() {
    needs!();
    let runtimes = ["/run/containerd", "/run/k3s", "/run/crio", "/run/cri-dockerd.sock"];
    let stores = ["/var/lib/docker", "/var/lib/containers/storage", "/run/containers/storage"];
    if runtimes.iter().chain(&stores).any(|place| Path::new(place).exists()) {
        return skip!("a host without container runtimes");
    }
    let pair = Pair::new(1500).expect("a pair");
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("cri.sock").display().to_string();
    let output = format!("json:{},namespace=web", folder.path().join("x").display());
    for (options, warned) in [
        (&["--pod", "web-*"][..], true),
        (&["-o", &output], true),
        (&["--pod", "!web-*"], false),
        (&["--process", "nginx"], false),
        (&["--pod", "web-*", "--cri-socket", &socket], false),
    ] {
        let agent = Agent::start(&pair.server, options).expect("the agent");
        let said = agent.stop().expect("the agent's end").said;
        let is_said = said.iter().any(|line| line.contains("nothing here names pods"));
        assert_eq!(is_said, warned, "{options:?}: {said:?}");
    }
}
