//! With `--decap` an agent on the underlay reports the inner connections and their tunnel; without it,
//! nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http_trace_tests::agent::{Agent, replay_frames};
use http_trace_tests::bed::{UPSTREAM, log_differences, nothing};
use http_trace_tests::client::wrk;
use http_trace_tests::inject::inject;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::pieces::in_pieces;
use http_trace_tests::seen::Report;
use http_trace_tests::tcp::Path;
use http_trace_tests::tunnels::{NETWORKS, Outer, in_turn, of_one_tuple, plain, wrapped};
use http_trace_tests::{needs, scenes, skip};
use serde_json::{Value, json};

const INNER: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// Joins the ends of a pair by a tunnel of this type; an error if there is no such device.
fn tunnel(pair: &Pair, kind: &str) -> Result<(), String> {
    let ends = [
        (&pair.client, address::CLIENT_V4, address::SERVER_V4, INNER[0]),
        (&pair.server, address::SERVER_V4, address::CLIENT_V4, INNER[1]),
    ];
    for (namespace, local, remote, inner) in ends {
        for command in [
            format!("link add tunnel0 type {kind} local {local} remote {remote}"),
            format!("address add {inner}/24 dev tunnel0"),
            "link set tunnel0 up".to_owned(),
        ] {
            namespace.ip(&command).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The fields of an event for one tunnel between the ends of a pair.
fn told(layer: &Value) -> Value {
    json!({
        "layers": [layer],
        "outer": [{
            "client": {"ip": address::CLIENT_V4},
            "server": {"ip": address::SERVER_V4},
        }],
    })
}

/// wrk through the tunnel, with an agent on the underlay.
fn on_the_underlay(kind: &str, option: &str, layer: Value, hooks: &[&str]) -> bool {
    for hook in hooks {
        let pair = Pair::new(1500).expect("a pair");
        if tunnel(&pair, kind).is_err() {
            return false;
        }
        let nginx = Nginx::start(&pair.server, UPSTREAM.into()).expect("nginx");
        let options = ["-i", "veth0", "--hook", hook, "-v"];
        // An interface has one XDP program: the agent without the option uses another interface.
        let blind =
            (*hook != "xdp").then(|| Agent::start(&pair.server, &options).expect("an agent"));
        let with = [&options[..], &["--decap", option]].concat();
        let agent = Agent::start(&pair.server, &with).expect("an agent");
        let url = format!("http://{}/small.txt", INNER[1]);
        wrk(&pair.client, &url, 1, 4, Duration::from_secs(1)).expect("wrk");
        let log = nginx.stop().expect("an access log");
        assert!(log.len() > 50, "{} requests are no load", log.len());
        std::thread::sleep(Duration::from_millis(300));
        let outcome = agent.stop().expect("the agent's end");
        outcome.check_clean();
        nothing(log_differences(&outcome.report, &log));
        let inner: SocketAddr = format!("{}:80", INNER[1]).parse().expect("an address");
        assert!(outcome.report.responses.iter().all(|r| r.server == inner));
        assert!(outcome.counter("decapsulated") > 0, "{:?}", outcome.said);
        for response in &outcome.report.responses {
            assert_eq!(response.json["http_trace"]["tunnel"], told(&layer), "{hook}");
        }
        if let Some(blind) = blind {
            let blind = blind.stop().expect("the agent's end");
            assert!(blind.report.responses.is_empty(), "{hook}: not asked for");
        }
    }
    true
}

#[test]
fn vxlan() {
    needs!("nginx", "wrk");
    // The cgroup hook does not see a tunnel's outer packets: they belong to no socket.
    let hooks = ["tc", "socket-filter", "xdp"];
    let (device, layer) =
        ("vxlan id 42 dstport 4789 dev veth0", json!({"type": "vxlan", "id": 42}));
    if !on_the_underlay(device, "vxlan", layer, &hooks) {
        skip!("a VXLAN device");
    }
}

#[test]
fn ipip() {
    needs!("nginx", "wrk");
    let (layer, hooks) = (json!({"type": "ip"}), ["tc", "socket-filter", "xdp"]);
    if !on_the_underlay("ipip", "ipip", layer, &hooks) {
        // Not skipped: the next test checks what the programs make of IP in IP, without a device.
        println!("this kernel has no IPIP device");
    }
}

/// Client, ordinal, status and tunnel of each response.
fn seen(report: &Report) -> Vec<(SocketAddr, u64, Option<u16>, Value)> {
    let responses = report.responses.iter();
    let mut all: Vec<_> = responses
        .map(|r| (r.client, r.ordinal, r.status, r.json["http_trace"]["tunnel"].clone()))
        .collect();
    all.sort_by_key(|(client, ordinal, ..)| (*client, *ordinal));
    all
}

/// Every tunnel, in whole packets and in fragments, gives the same events live and from a capture.
#[test]
fn the_event_names_the_tunnel_as_that_of_a_capture_does() {
    needs!("python3");
    let mut frames = Vec::new();
    let mut port = 40_000;
    for path in [Path::v4, Path::v6] {
        for kind in 0..6 {
            // Whole; outer packets in fragments; inner packets in fragments.
            for cut in 0..3 {
                port += 1;
                let mut inside = plain(&path(port));
                if cut == 2 {
                    inside = in_pieces(&inside, 96, port);
                }
                let (_, _, outside) = wrapped(&inside).nth(kind).expect("a kind");
                frames.extend(match cut {
                    1 => in_pieces(&outside, 160, port),
                    _ => outside,
                });
            }
        }
    }
    let (replayed, output) = replay_frames(&frames).expect("a replay");
    let expected = seen(&replayed);
    println!("{}", String::from_utf8_lossy(&output.stderr));
    let distinct: BTreeSet<_> = expected.iter().map(|e| e.3.to_string()).collect();
    assert_eq!(distinct.len(), 4, "{distinct:?}");
    assert!(expected.len() >= 36, "{}", expected.len());
    for hook in ["tc", "socket-filter", "xdp"] {
        let namespace = Namespace::new("tunnels").expect("a namespace");
        namespace.ip("link add inject0 type veth peer name inject1").expect("a pair");
        for end in ["inject0", "inject1"] {
            namespace.ip(&format!("link set {end} up")).expect("up");
        }
        let options = ["-i", "inject1", "--hook", hook, "--decap", "vxlan,ipip", "-v"];
        let agent = Agent::start(&namespace, &options).expect("an agent");
        namespace.enter(|| inject("inject0", &frames, || ())).expect("inside").expect("sent");
        agent.wait_for(expected.len(), Duration::from_secs(20)).expect("events");
        let outcome = agent.stop().expect("the agent's end");
        assert_eq!(seen(&outcome.report), expected, "{hook}: {:?}", outcome.said);
        assert!(outcome.counter("fragment") > 50, "{:?}", outcome.said);
    }
}

#[test]
fn one_tuple_in_several_networks_gives_each_its_events() {
    needs!("python3");
    for (hook, outer) in
        [("tc", Outer::V4), ("socket-filter", Outer::V6Extended), ("xdp", Outer::V6)]
    {
        let mut frames = Vec::new();
        for port in 40_000..40_010 {
            // Some of the outer packets in fragments.
            let each = of_one_tuple(outer, port);
            let all = in_turn(&each);
            frames.extend(match port % 2 {
                0 => all,
                _ => in_pieces(&all, 160, port),
            });
        }
        let namespace = Namespace::new("networks").expect("a namespace");
        namespace.ip("link add inject0 type veth peer name inject1").expect("a pair");
        for end in ["inject0", "inject1"] {
            namespace.ip(&format!("link set {end} up")).expect("up");
        }
        let options = ["-i", "inject1", "--hook", hook, "--decap", "vxlan", "-v"];
        let agent = Agent::start(&namespace, &options).expect("an agent");
        namespace.enter(|| inject("inject0", &frames, || ())).expect("inside").expect("sent");
        let truths = NETWORKS.map(|(_, scene)| scenes::named(scene).truth);
        let expected = truths.iter().map(Vec::len).sum::<usize>() * 10;
        agent.wait_for(expected, Duration::from_secs(20)).expect("events");
        let outcome = agent.stop().expect("the agent's end");
        assert_eq!(outcome.report.responses.len(), expected, "{hook}");
        for ((number, scene), truth) in NETWORKS.iter().zip(&truths) {
            for port in 40_000..40_010 {
                let mut found: Vec<_> = outcome
                    .report
                    .responses
                    .iter()
                    .filter(|r| r.client.port() == port)
                    .filter(|r| r.json["http_trace"]["tunnel"]["layers"][0]["id"] == *number)
                    .collect();
                found.sort_by_key(|r| r.ordinal);
                let found: Vec<_> = found
                    .iter()
                    .map(|r| (r.request.as_ref().map(|(_, target)| target.clone()), r.status))
                    .collect();
                let expected: Vec<_> = truth
                    .iter()
                    .map(|t| {
                        let target = t.request.as_ref().map(|(_, target)| target);
                        let target = target.map(|t| String::from_utf8_lossy(t).into_owned());
                        (target, Some(t.status))
                    })
                    .collect();
                assert_eq!(found, expected, "{hook} {scene} {port}");
            }
        }
    }
}

/// The underlay and the tunnel's device at once: two keys of one connection, and one event per response.
#[test]
fn underlay_and_device_together_give_one_event_each() {
    needs!("nginx", "wrk");
    let pair = Pair::new(1500).expect("a pair");
    if tunnel(&pair, "vxlan id 42 dstport 4789 dev veth0").is_err() {
        return skip!("a VXLAN device");
    }
    let nginx = Nginx::start(&pair.server, UPSTREAM.into()).expect("nginx");
    let options = ["-i", "veth0", "-i", "tunnel0", "--decap", "vxlan", "-v"];
    let agent = Agent::start(&pair.server, &options).expect("an agent");
    let url = format!("http://{}/small.txt", INNER[1]);
    wrk(&pair.client, &url, 1, 4, Duration::from_secs(1)).expect("wrk");
    let log = nginx.stop().expect("an access log");
    assert!(log.len() > 50, "{} requests are no load", log.len());
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("the agent's end");
    nothing(log_differences(&outcome.report, &log));
    assert!(outcome.counter("decapsulated") > 0, "{:?}", outcome.said);
    let translated = outcome.report.responses.iter().filter(|r| {
        let ends = ["client", "server", "source", "destination"];
        ends.iter().any(|end| !r.json[end]["nat"].is_null())
    });
    assert_eq!(translated.count(), 0, "no address was translated");
}
