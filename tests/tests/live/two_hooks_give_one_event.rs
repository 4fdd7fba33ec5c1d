//! Packets that pass two hooks give one event, and at most one flow in 10⁴ loses its framing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{UPSTREAM, log_differences, nothing, own_port, server_v4};
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::Nginx;

/// Connections of a run, by four concurrent clients, with two requests each.
const CONNECTIONS: usize = 10_000;
const CLIENTS: usize = 4;

/// Opens the connections with two requests each; the server closes.
fn visit(namespace: &Namespace, server: SocketAddr) {
    let one = || {
        let mut stream = TcpStream::connect(server).expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        stream.write_all(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        let mut first = [0; 1];
        stream.read_exact(&mut first).expect("an answer");
        stream
            .write_all(b"GET /small.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the answers");
    };
    namespace
        .enter(|| {
            std::thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| (0..CONNECTIONS / CLIENTS).for_each(|_| one()));
                }
            });
        })
        .expect("in the namespace");
}

/// A run with these hooks in `place`, which each packet passes twice.
fn check(place: &Namespace, client: &Namespace, server: &Namespace, to: SocketAddr, hooks: &str) {
    let nginx = Nginx::start(server, UPSTREAM.into()).expect("nginx");
    let agent = Agent::start(place, &["--hook", hooks, "-p", "80", "-v"]).expect("the agent");
    visit(client, to);
    let log = nginx.stop().expect("an access log");
    assert_eq!(log.len(), 2 * CONNECTIONS);
    // Waits until the last packets have been seen.
    std::thread::sleep(Duration::from_millis(500));
    let outcome = agent.stop().expect("the agent's end");
    outcome.check_clean();
    nothing(log_differences(&outcome.report, &log));
    let flows = outcome.counter("flows_admitted");
    let unsure = outcome.counter("became_unsure");
    let judged = outcome.counter("unsure");
    let refused = outcome.counter("claim_refused");
    let copies = outcome.counter("copies");
    println!(
        "{hooks}: {flows} flows, {unsure} times unsure in the kernel, {judged} on the host, \
         {refused} claims refused, {copies} copies"
    );
    assert!(flows >= CONNECTIONS as u64, "{:?}", outcome.said);
    assert!(copies >= flows, "each packet is seen twice: {:?}", outcome.said);
    assert!(unsure * 10_000 <= flows, "{unsure} of {flows}: {:?}", outcome.said);
    assert!(judged * 10_000 <= flows, "{judged} of {flows}: {:?}", outcome.said);
}

#[test]
fn at_tc_and_at_the_cgroup() {
    needs!(alone; "nginx");
    let pair = Pair::new(1500).expect("a pair");
    check(&pair.server, &pair.client, &pair.server, server_v4(80), "tc,cgroup");
}

#[test]
fn at_tc_on_both_sides_of_a_router() {
    needs!(alone; "nginx");
    let name = |label| Namespace::new(label).expect("a namespace");
    let (client, router, server) = (name("client"), name("router"), name("server"));
    for (end, side, net) in [(&client, "left", 1), (&server, "right", 2)] {
        end.link("eth0", &router, side, 1500).expect("a veth pair");
        for (namespace, command) in [
            (end, format!("address add 10.78.{net}.2/24 dev eth0")),
            (end, "link set eth0 up".into()),
            (&router, format!("address add 10.78.{net}.1/24 dev {side}")),
            (&router, format!("link set {side} up")),
            (end, format!("route add default via 10.78.{net}.1")),
        ] {
            namespace.ip(&command).expect("ip");
        }
    }
    let settings = "echo 1 > /proc/sys/net/ipv4/ip_forward; \
                    for q in /sys/class/net/*/queues/rx-0/rps_cpus; do echo f > $q; done";
    let _ = router.run(Command::new("sh").args(["-c", settings]));
    check(&router, &client, &server, ([10, 78, 2, 2], 80).into(), "tc");
}

/// A port of a bridge and the bridge itself: at XDP a packet for this host passes both, and TC sees its
/// answer at both.
#[test]
fn at_xdp_on_a_port_and_its_bridge() {
    needs!(alone; "nginx");
    bridged(&["link", "bridge"]);
}

/// Below a bridge with a program at XDP, the kernel accepts none on a port; TC takes its place.
#[test]
fn at_xdp_on_a_bridge_and_its_port() {
    needs!(alone; "nginx");
    bridged(&["bridge", "link"]);
}

/// The agent attaches in this order.
fn bridged(made: &[&str]) {
    let name = |label| Namespace::new(label).expect("a namespace");
    let (client, host) = (name("client"), name("host"));
    for device in made {
        match *device {
            "bridge" => drop(host.ip("link add br0 type bridge").expect("a bridge")),
            _ => client.link("eth0", &host, "port", 1500).expect("a pair"),
        }
    }
    for (namespace, command) in [
        (&host, "link set port master br0"),
        (&host, "address add 10.79.0.1/24 dev br0"),
        (&host, "link set port up"),
        (&host, "link set br0 up"),
        (&client, "address add 10.79.0.2/24 dev eth0"),
        (&client, "link set eth0 up"),
    ] {
        namespace.ip(command).expect("ip");
    }
    check(&host, &client, &host, ([10, 79, 0, 1], 80).into(), "xdp");
}

/// At a second hook of the same interface, packets are the ones that the first saw: their bodies do not ship.
#[test]
fn a_second_hook_of_an_interface_ships_no_bodies() {
    needs!("nginx", "curl");
    for hooks in ["tc,socket-filter", "tc,xdp", "tc,cgroup"] {
        let pair = Pair::new(1500).expect("a pair");
        let port = own_port();
        let _nginx = Nginx::start_at(&pair.server, port, UPSTREAM.into()).expect("nginx");
        let ports = port.to_string();
        let options = ["--hook", hooks, "-i", "veth0", "-p", &ports, "-v"];
        let agent = Agent::start(&pair.client, &options).expect("the agent");
        let url = format!("http://{}:{port}/large.bin", address::SERVER_V4);
        let bytes: u64 = (0..20).map(|_| fetch(&pair.client, &url)).sum();
        std::thread::sleep(Duration::from_millis(500));
        let outcome = agent.stop().expect("the agent's end");
        outcome.check_clean();
        assert_eq!(outcome.report.responses.len(), 20, "{hooks}: {:?}", outcome.said);
        let shipped = outcome.counter("record_bytes");
        // Hooks that meet a connection at once ship what they see.
        assert!(shipped < bytes / 20, "{hooks}: {shipped} bytes of {bytes}");
    }
}

/// `-i` names interfaces of the agent's own network namespace, whose numbers others have too.
#[test]
fn the_cgroup_hook_takes_no_interface_of_another_namespace_for_a_named_one() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let port = own_port();
    let _nginx = Nginx::start_at(&pair.client, port, UPSTREAM.into()).expect("nginx");
    let ports = port.to_string();
    let url = format!("http://127.0.0.1:{port}/small.txt");
    for (options, seen) in [(&["-i", "lo"][..], 0), (&["--exclude-interface", "lo"], 1), (&[], 1)] {
        let options = [&["--hook", "cgroup", "-p", &ports], options].concat();
        let agent = Agent::start(&pair.server, &options).expect("the agent");
        fetch(&pair.client, &url);
        std::thread::sleep(Duration::from_millis(300));
        let outcome = agent.stop().expect("the agent's end");
        assert_eq!(outcome.report.responses.len(), seen, "{options:?}: {:?}", outcome.said);
    }
}

/// Length of the body.
fn fetch(namespace: &Namespace, url: &str) -> u64 {
    let mut command = Command::new("curl");
    command.args(["--write-out", "%{size_download}"]);
    command
        .args(["--silent", "--fail", "--max-time", "20", "--noproxy", "*", "-o", "/dev/null", url]);
    let output = namespace.run(&mut command).expect("curl");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).parse().expect("a number")
}
