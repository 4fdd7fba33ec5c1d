//! Two connections at once with equal addresses and ports, in two namespaces or VLANs: each response is
//! reported once, with its own request.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use http_trace_tests::agent::{Agent, Outcome};
use http_trace_tests::bed::{own_port, server_v4};
use http_trace_tests::inject::inject;
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::tcp::{Layout, Path, segments};
use http_trace_tests::twins::{
    AT_ONCE, DRAWN, EQUAL, FROM, REQUESTS, VLANS, in_two_vlans, request, response, scene, target,
};
use serde_json::{Value, json};

/// Both ends of one of the connections: its client uses one port, its server listens.
fn place(pair: Pair, port: u16) -> (Pair, TcpListener) {
    let only = format!("{FROM} {FROM}");
    let set = |path| std::fs::write(path, &only);
    let set = || set("/proc/sys/net/ipv4/ip_local_port_range");
    pair.client.enter(set).expect("in the namespace").expect("a setting of the namespace");
    let listen = || TcpListener::bind(server_v4(port));
    let listener = pair.server.enter(listen).expect("in the namespace");
    (pair, listener.expect("listen"))
}

fn say(from: &mut TcpStream, to: &mut TcpStream, bytes: &str) {
    from.write_all(bytes.as_bytes()).expect("sent");
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).expect("received");
}

/// Sends on both connections, which always have requests open, and answers in the opposite order.
fn talk(places: &[(Pair, TcpListener); 2], port: u16) {
    let mut ends = places.each_ref().map(|(pair, listener)| {
        let connect = || TcpStream::connect(server_v4(port));
        let client = pair.client.enter(connect).expect("in the namespace");
        let client = client.expect("connect");
        let (server, from) = listener.accept().expect("accepted");
        assert_eq!(from.port(), FROM);
        (client, server)
    });
    for first in (0..REQUESTS).step_by(AT_ONCE) {
        let batch = first..first + AT_ONCE;
        for (connection, (client, server)) in ends.iter_mut().enumerate() {
            let all: String = batch.clone().map(|n| request(connection, n)).collect();
            say(client, server, &all);
        }
        for number in batch {
            for (connection, (client, server)) in ends.iter_mut().enumerate().rev() {
                say(server, client, &response(connection, number));
            }
        }
    }
}

/// Each connection's responses are reported once, with their own requests; returns an event of each.
fn told_apart(outcome: &Outcome) -> [Value; 2] {
    outcome.check_clean();
    let mut events = [Value::Null, Value::Null];
    let mut by = BTreeMap::<String, Vec<(u64, String, String)>>::new();
    for seen in &outcome.report.responses {
        let transaction = seen.json["http_trace"]["transaction"].as_str();
        let (connection, _) = transaction.and_then(|t| t.split_once('.')).expect("a name");
        let (_, target) = seen.request.clone().expect("a request");
        let of = seen.headers["x-of"][0].clone();
        events[usize::from(of.starts_with('1'))] = seen.json.clone();
        assert!(seen.complete, "{}", seen.json);
        assert_eq!(seen.json["http_trace"]["retransmissions"].as_u64(), Some(0));
        let of_connection = by.entry(connection.to_owned()).or_default();
        of_connection.push((seen.ordinal, target, of));
    }
    let truth = |connection| {
        let all = 0..REQUESTS;
        let one = |n| (n as u64 + 1, target(connection, n), format!("{connection} {n}"));
        all.map(one).collect::<Vec<_>>()
    };
    let mut told: Vec<_> = by.into_values().collect();
    told.sort_by_key(|all| all[0].2.clone());
    assert_eq!(told, [truth(0), truth(1)], "{:?}", outcome.said);
    events
}

fn in_two_namespaces(hooks: &str) {
    let port = own_port();
    let places = [(); 2].map(|()| place(Pair::new(1500).expect("a pair"), port));
    let ports = port.to_string();
    let options = ["--hook", hooks, "-p", &ports, "-vv"];
    let agent = Agent::start(&places[0].0.server, &options).expect("the agent");
    talk(&places, port);
    std::thread::sleep(Duration::from_millis(300));
    told_apart(&agent.stop().expect("an outcome"));
}

/// Each is seen at its client's and at its server's end, which are namespaces of their own: real copies.
#[test]
fn in_two_namespaces_by_the_cgroup_hook() {
    needs!();
    in_two_namespaces("cgroup");
}

/// Only one of them at TC too.
#[test]
fn in_two_namespaces_by_the_cgroup_hook_and_tc() {
    needs!();
    in_two_namespaces("tc,cgroup");
}

/// Tagged frames: the kernel keeps the tag of a received frame beside it, except for XDP; in a sent frame it
/// is where the sender wrote it.
#[test]
fn in_two_vlans_by_their_frames() {
    needs!("python3");
    for (interface, hook) in [
        ("veth0", "tc"),
        ("veth0", "socket-filter"),
        ("veth0", "xdp"),
        ("sent", "tc"),
        ("sent", "socket-filter"),
    ] {
        for isn in [DRAWN, EQUAL] {
            let frames: Vec<_> = in_two_vlans(isn, None).into_iter().map(|f| f.1).collect();
            let pair = Pair::new(1500).expect("a pair");
            let watched = match interface {
                "sent" => &pair.client,
                _ => &pair.server,
            };
            let options = ["-i", "veth0", "--hook", hook, "--decap", "vlan", "-v"];
            let agent = Agent::start(watched, &options).expect("an agent");
            let sent = pair.client.enter(|| inject("veth0", &frames, || ()));
            sent.expect("inside").expect("sent");
            let waited = agent.wait_for(2 * REQUESTS, Duration::from_secs(20));
            waited.expect("events");
            let events = told_apart(&agent.stop().expect("an outcome"));
            let vlans = events.map(|e| e["network"]["vlan"].clone());
            assert_eq!(vlans, VLANS.map(told), "{interface} {hook} {isn:x?}");
        }
    }
}

/// The fields of an event about its VLAN.
fn told(id: u16) -> Value {
    json!({"id": id.to_string()})
}

/// One connection, tagged on a trunk and untagged beside it, as at its VLAN device: two keys and one event
/// per response.
#[test]
fn on_a_trunk_and_above_it() {
    needs!("python3");
    let pair = Pair::new(1500).expect("a pair");
    let link = pair.client.link("above0", &pair.server, "above0", 1500);
    link.expect("a second link");
    for end in [&pair.client, &pair.server] {
        end.ip("link set above0 up").expect("up");
    }
    for hook in ["tc", "socket-filter", "xdp"] {
        let options = ["-i", "veth0", "above0", "--hook", hook];
        let options = [&options[..], &["--decap", "vlan", "-v"]].concat();
        let agent = Agent::start(&pair.server, &options).expect("an agent");
        let [tagged, plain] = [Some(VLANS[0]), None].map(|vlan| {
            let path = Path { vlan, ..Path::v4(FROM) };
            let segments = segments(&scene(0), &Layout::default());
            segments.iter().map(|s| path.frame(s)).collect::<Vec<_>>()
        });
        let send = |interface, frames: &[Vec<u8>]| {
            let pace = || std::thread::sleep(Duration::from_millis(2));
            let sent = pair.client.enter(|| inject(interface, frames, pace));
            sent.expect("inside").expect("sent");
        };
        std::thread::scope(|scope| {
            scope.spawn(|| send("veth0", &tagged));
            send("above0", &plain);
        });
        let waited = agent.wait_for(REQUESTS, Duration::from_secs(20));
        waited.expect("events");
        std::thread::sleep(Duration::from_millis(300));
        let outcome = agent.stop().expect("an outcome");
        let told = outcome.report.responses.iter();
        let mut told: Vec<_> = told.map(|r| r.request.clone().map(|r| r.1)).collect();
        let mut truth: Vec<_> = (0..REQUESTS).map(|n| Some(target(0, n))).collect();
        told.sort();
        truth.sort();
        assert_eq!(told, truth, "{hook}: {:?}", outcome.said);
    }
}
