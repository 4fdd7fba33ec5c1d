//! Tunnels that the programs look into (`--decap`): an agent on the underlay reports what is inside
//! under the inner addresses, and without the option nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http_trace::probe::loader::Framing;
use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::counter::Counter;
use http_trace_common::record::Record;
use http_trace_common::walk::{self, Encap, LinkType, Tunnel, WalkOptions};
use http_trace_engine::host_filter::HostFilter;
use http_trace_tests::agent::{Agent, replay_frames};
use http_trace_tests::bed::{UPSTREAM, log_differences, nothing};
use http_trace_tests::both::both;
use http_trace_tests::client::wrk;
use http_trace_tests::inject::inject;
use http_trace_tests::need::{self, skipped};
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::pieces::pieces;
use http_trace_tests::seen::Report;
use http_trace_tests::tcp::{Layout, Path, segments};
use http_trace_tests::{at_tc, essence, needs, scenes};
use serde_json::{Value, json};

const INNER: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// Joins the ends of a pair by a tunnel of this type, or says that there is no such device.
fn tunnel(pair: &Pair, kind: &str) -> Result<(), String> {
    let ends = [
        (
            &pair.client,
            address::CLIENT_V4,
            address::SERVER_V4,
            INNER[0],
        ),
        (
            &pair.server,
            address::SERVER_V4,
            address::CLIENT_V4,
            INNER[1],
        ),
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

/// What an event says of one tunnel between the ends of a pair.
fn told(layer: &Value) -> Value {
    json!({
        "layers": [layer],
        "outer": [{
            "client": {"ip": address::CLIENT_V4},
            "server": {"ip": address::SERVER_V4},
        }],
    })
}

/// wrk through the tunnel, seen by an agent on the underlay.
fn on_the_underlay(kind: &str, option: &str, layer: Value, hooks: &[&str]) -> bool {
    for hook in hooks {
        let pair = Pair::new(1500).expect("a pair");
        if tunnel(&pair, kind).is_err() {
            return false;
        }
        let nginx = Nginx::start(&pair.server, UPSTREAM.into()).expect("nginx");
        let options = ["-i", "veth0", "--hook", hook, "-v"];
        // An interface has one XDP program: the agent without the option watches elsewhere.
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
            assert_eq!(
                response.json["http_trace"]["tunnel"],
                told(&layer),
                "{hook}"
            );
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
    // At the cgroup a tunnel's outer packets are not seen: they are no socket's.
    let hooks = ["tc", "socket-filter", "xdp"];
    let (device, layer) = (
        "vxlan id 42 dstport 4789 dev veth0",
        json!({"type": "vxlan", "id": 42}),
    );
    if !on_the_underlay(device, "vxlan", layer, &hooks) {
        skipped("a VXLAN device", "tunnel::vxlan");
    }
}

#[test]
fn ipip() {
    needs!("nginx", "wrk");
    let (layer, hooks) = (json!({"type": "ip"}), ["tc", "socket-filter", "xdp"]);
    if !on_the_underlay("ipip", "ipip", layer, &hooks) {
        // Not skipped: what the programs make of IP in IP is tested below, where no device is needed.
        println!("this kernel has no IPIP device");
    }
}

/// An IPv4 header (RFC 791) before a payload of `len` bytes.
fn ipv4(protocol: u8, len: usize) -> Vec<u8> {
    let total = u16::try_from(20 + len).expect("short").to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, protocol, 0, 0];
    header.extend([203, 0, 113, 1, 203, 0, 113, 2]);
    header
}

/// An IPv6 header (RFC 8200).
fn ipv6(next: u8, len: usize) -> Vec<u8> {
    let length = u16::try_from(len).expect("short").to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    header.extend([0xfd; 32]);
    header
}

/// IPv6 extension headers (RFC 8200 §4): each kind, and what follows them.
fn extensions(next: u8) -> Vec<u8> {
    const PAD: [u8; 6] = [1, 4, 0, 0, 0, 0];
    let mut all = Vec::new();
    // Hop-by-hop options, a routing header without segments left, an atomic fragment (RFC 6946), an
    // authentication header, destination options of 16 bytes.
    all.extend([43, 0].iter().chain(&PAD));
    all.extend([44, 0, 4, 0, 0, 0, 0, 0]);
    all.extend([51, 0, 0, 0, 0, 0, 0, 9]);
    all.extend([60, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
    all.extend(
        [next, 1]
            .iter()
            .chain(&PAD)
            .chain(&[1, 6, 0, 0, 0, 0, 0, 0]),
    );
    all
}

/// What a tunnel's packets begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outer {
    V4,
    V6,
    /// With extension headers.
    V6Extended,
}

/// A frame wrapped in a tunnel.
fn wrap(frame: &[u8], outer: Outer, vxlan: Option<u8>) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(14);
    let mut inside = Vec::new();
    let protocol = if let Some(number) = vxlan {
        // UDP (RFC 768) to port 4789, then the VXLAN header (RFC 7348 §5) and a whole frame.
        let length = u16::try_from(16 + frame.len())
            .expect("short")
            .to_be_bytes();
        inside.extend([0xc0, 0, 0x12, 0xb5, length[0], length[1], 0, 0]);
        inside.extend([8, 0, 0, 0, 0, 0, number, 0]);
        inside.extend(frame);
        17
    } else {
        inside.extend(packet);
        if packet[0] >> 4 == 6 { 41 } else { 4 }
    };
    let header = match outer {
        Outer::V4 => ipv4(protocol, inside.len()),
        Outer::V6 => ipv6(protocol, inside.len()),
        Outer::V6Extended => {
            let extensions = extensions(protocol);
            [ipv6(0, extensions.len() + inside.len()), extensions].concat()
        }
    };
    let kind = if outer == Outer::V4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    [&ethernet[..12], &kind, &header, &inside].concat()
}

/// A scene's frames wrapped in each of the tunnels: in what, and whether it is VXLAN.
fn wrapped(plain: &[Vec<u8>]) -> impl Iterator<Item = (Outer, bool, Vec<Vec<u8>>)> {
    let outers = [Outer::V4, Outer::V6, Outer::V6Extended];
    let tunnels = outers.map(|outer| [(outer, None), (outer, Some(42))]);
    tunnels.into_iter().flatten().map(move |(outer, vxlan)| {
        let frames = plain.iter().map(|frame| wrap(frame, outer, vxlan));
        (outer, vxlan.is_some(), frames.collect())
    })
}

/// The frames of a connection.
fn plain(path: &Path) -> Vec<Vec<u8>> {
    segments(&scenes::named("keep_alive"), &Layout::default())
        .iter()
        .map(|segment| path.frame(segment))
        .collect()
}

/// The tunnel that the full walk finds a frame in.
fn walked(frame: &[u8]) -> Encap {
    let options = WalkOptions::default();
    let found = walk::frame(frame, frame.len() as u32, LinkType::ETHERNET, options);
    found.expect("a segment").1
}

/// A record without its tunnel, and that.
fn apart(record: &Record<'_>) -> (String, Option<Encap>) {
    let tunnel = record.tunnel.map(Tunnel::encap);
    let record = Record {
        tunnel: None,
        ..*record
    };
    (essence(&record), tunnel)
}

#[test]
fn every_tunnel_gives_the_records_of_what_is_inside_and_names_it() {
    if !need::root() {
        return skipped(
            "root",
            "tunnel::every_tunnel_gives_the_records_of_what_is_inside_and_names_it",
        );
    }
    let records = |frames: &[Vec<u8>], framing: Framing, which: u32| {
        let filter = FilterConfig {
            decap: which,
            ..FilterConfig::DEFAULT
        };
        let (mut kernel, mut host) = both(framing, filter);
        let (mut records, mut by_host) = (Vec::new(), Vec::new());
        let mut networks = [Vec::new(), Vec::new()];
        for (i, frame) in frames.iter().enumerate() {
            let mut keep = |record: Record<'_>| {
                records.push((i, apart(&record)));
                networks[0].push(record.header.netns);
            };
            kernel.push(frame, &mut keep).expect("a test run");
            let mut keep = |record: Record<'_>| {
                by_host.push((i, apart(&record)));
                networks[1].push(record.header.netns);
            };
            host.push_ethernet(frame, &at_tc(i, frame), &mut keep);
        }
        assert_eq!(records, by_host, "{framing:?}");
        assert_eq!(networks[0], networks[1], "{framing:?}");
        (records, kernel.counter(Counter::Decapsulated))
    };
    const BOTH: u32 = decap::VXLAN | decap::IPIP;
    for framing in [Framing::Kernel, Framing::Host] {
        for path in [Path::v4, Path::v6] {
            let (plain, other) = (plain(&path(40_000)), plain(&path(40_001)));
            let (expected, none) = records(&[&plain[..], &other].concat(), framing, BOTH);
            assert!(expected.len() > 3 && none == 0, "{expected:?}");
            assert!(expected.iter().all(|(_, (_, tunnel))| tunnel.is_none()));
            for (outer, vxlan, wrapped) in wrapped(&plain) {
                let what = format!("{framing:?}, {outer:?}, vxlan {vxlan}");
                let bit = if vxlan { decap::VXLAN } else { decap::IPIP };
                // What comes after a tunnel's packets is not of that tunnel.
                let mixed = [&wrapped[..], &other].concat();
                let (inside, count) = records(&mixed, framing, bit);
                let tunnel = |i: usize| (i < wrapped.len()).then(|| walked(&wrapped[i]));
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(i, (record, _))| (*i, (record.clone(), tunnel(*i))))
                    .collect();
                assert_eq!(inside, expected, "{what}");
                assert_eq!(count, wrapped.len() as u64);
                for which in [0, bit ^ BOTH] {
                    let (nothing, count) = records(&wrapped, framing, which);
                    assert!(nothing.is_empty() && count == 0, "not asked for");
                }
            }
        }
    }
}

/// What is told of each response and of where it was.
fn seen(report: &Report) -> Vec<(SocketAddr, u64, Option<u16>, Value)> {
    let responses = report.responses.iter();
    let mut all: Vec<_> = responses
        .map(|r| {
            (
                r.client,
                r.ordinal,
                r.status,
                r.json["http_trace"]["tunnel"].clone(),
            )
        })
        .collect();
    all.sort_by_key(|(client, ordinal, ..)| (*client, *ordinal));
    all
}

/// Every tunnel, in whole packets and in pieces, the same from the wire as from a capture.
#[test]
fn the_event_names_the_tunnel_as_that_of_a_capture_does() {
    needs!("python3");
    let mut frames = Vec::new();
    let mut port = 40_000;
    for path in [Path::v4, Path::v6] {
        for kind in 0..6 {
            // Whole; the outer packets in pieces; the inner ones.
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
        namespace
            .ip("link add inject0 type veth peer name inject1")
            .expect("a pair");
        for end in ["inject0", "inject1"] {
            namespace.ip(&format!("link set {end} up")).expect("up");
        }
        let options = [
            "-i",
            "inject1",
            "--hook",
            hook,
            "--decap",
            "vxlan,ipip",
            "-v",
        ];
        let agent = Agent::start(&namespace, &options).expect("an agent");
        namespace
            .enter(|| inject("inject0", &frames, || ()))
            .expect("inside")
            .expect("sent");
        agent
            .wait_for(expected.len(), Duration::from_secs(20))
            .expect("events");
        let outcome = agent.stop().expect("the agent's end");
        assert_eq!(
            seen(&outcome.report),
            expected,
            "{hook}: {:?}",
            outcome.said
        );
        assert!(outcome.counter("fragment") > 50, "{:?}", outcome.said);
    }
}

/// Frames, those of more than `mtu` bytes in pieces.
fn in_pieces(frames: &[Vec<u8>], mtu: usize, number: u16) -> Vec<Vec<u8>> {
    let numbers = (number % 100 * 256)..;
    frames
        .iter()
        .zip(numbers)
        .flat_map(|(frame, number)| pieces(frame, mtu, number))
        .collect()
}

/// One tuple in three VXLAN networks at once: what each connection's frames are, in turn.
const NETWORKS: [(u8, &str); 3] = [
    (7, "keep_alive"),
    (8, "chunked_trailers"),
    (9, "head_204_304"),
];

/// The frames of each connection, wrapped in its network's VXLAN.
fn of_one_tuple(outer: Outer, port: u16) -> [Vec<Vec<u8>>; 3] {
    NETWORKS.map(|(number, scene)| {
        let layout = Layout {
            isn: [
                u32::from(number) * 1_000_000,
                u32::from(number) * 77_000_000,
            ],
            cuts: vec![100],
            ..Layout::default()
        };
        let segments = segments(&scenes::named(scene), &layout);
        let frames = segments.iter().map(|segment| Path::v4(port).frame(segment));
        frames
            .map(|frame| wrap(&frame, outer, Some(number)))
            .collect()
    })
}

/// These frames in turn, one of each.
fn in_turn(all: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    let most = all.iter().map(Vec::len).max().unwrap_or(0);
    (0..most)
        .flat_map(|i| all.iter().filter_map(move |frames| frames.get(i).cloned()))
        .collect()
}

#[test]
fn one_tuple_in_several_networks_is_as_many_connections() {
    for frames_in_kernel in [true, false] {
        let shipped = |frames: &[Vec<u8>], which: u32| {
            let filter = FilterConfig {
                decap: which,
                ..FilterConfig::DEFAULT
            };
            let mut host = match frames_in_kernel {
                true => HostFilter::new(filter),
                false => HostFilter::without_framing(filter),
            };
            let mut records: Vec<(u64, u32, String)> = Vec::new();
            for (i, frame) in frames.iter().enumerate() {
                host.push_ethernet(frame, &at_tc(i, frame), &mut |record| {
                    let number = record.tunnel.map_or(0, |tunnel| tunnel.what & 0xff);
                    records.push((number, record.header.netns, apart(&record).0));
                });
            }
            records
        };
        let each = of_one_tuple(Outer::V4, 40_000);
        let together = shipped(&in_turn(&each), decap::VXLAN);
        let mut places = BTreeSet::new();
        for ((number, _), frames) in NETWORKS.iter().zip(&each) {
            let of_it = |records: &[(u64, u32, String)]| -> Vec<_> {
                let of_it = records.iter().filter(|r| r.0 == u64::from(*number));
                of_it.cloned().collect()
            };
            let alone = shipped(frames, decap::VXLAN);
            assert!(alone.len() > 3, "{alone:?}");
            assert_eq!(of_it(&together), alone, "{number}");
            let own: BTreeSet<_> = alone.iter().map(|record| record.1).collect();
            assert_eq!(own.len(), 1);
            places.extend(own);
        }
        assert_eq!(places.len(), NETWORKS.len(), "as many keys");
        let joined = shipped(&in_turn(&each), decap::VXLAN | decap::JOINED);
        assert!(joined.iter().all(|record| record.1 == 0));
    }
}

/// Each direction in the network of its receiver, as routers between networks have it: with the
/// numbers told apart its halves would be two connections.
#[test]
fn a_connection_of_two_networks_is_one_where_they_are_joined() {
    let segments = segments(&scenes::named("keep_alive"), &Layout::default());
    let path = Path::v4(40_000);
    let wrapped = |number: [u8; 2]| -> Vec<_> {
        let frames = segments.iter().map(|segment| {
            wrap(
                &path.frame(segment),
                Outer::V4,
                Some(number[segment.from.index()]),
            )
        });
        frames.collect()
    };
    let shipped = |frames: Vec<Vec<u8>>, which: u32| {
        let mut host = HostFilter::new(FilterConfig {
            decap: which,
            ..FilterConfig::DEFAULT
        });
        let mut records = Vec::new();
        for (i, frame) in frames.iter().enumerate() {
            host.push_ethernet(frame, &at_tc(i, frame), &mut |record| {
                records.push((record.header.netns, apart(&record).0));
            });
        }
        records
    };
    let joined = shipped(wrapped([7, 8]), decap::VXLAN | decap::JOINED);
    let one = shipped(wrapped([7, 7]), decap::VXLAN | decap::JOINED);
    assert!(one.len() > 3);
    assert_eq!(joined, one);
    let apart = shipped(wrapped([7, 8]), decap::VXLAN);
    let keys: BTreeSet<_> = apart.iter().map(|(netns, _)| netns).collect();
    assert_eq!(keys.len(), 2);
}

#[test]
fn one_tuple_in_several_networks_gives_each_its_events() {
    needs!("python3");
    for (hook, outer) in [
        ("tc", Outer::V4),
        ("socket-filter", Outer::V6Extended),
        ("xdp", Outer::V6),
    ] {
        let mut frames = Vec::new();
        for port in 40_000..40_010 {
            // Some in pieces, of the outer packets.
            let each = of_one_tuple(outer, port);
            let all = in_turn(&each);
            frames.extend(match port % 2 {
                0 => all,
                _ => in_pieces(&all, 160, port),
            });
        }
        let namespace = Namespace::new("networks").expect("a namespace");
        namespace
            .ip("link add inject0 type veth peer name inject1")
            .expect("a pair");
        for end in ["inject0", "inject1"] {
            namespace.ip(&format!("link set {end} up")).expect("up");
        }
        let options = ["-i", "inject1", "--hook", hook, "--decap", "vxlan", "-v"];
        let agent = Agent::start(&namespace, &options).expect("an agent");
        namespace
            .enter(|| inject("inject0", &frames, || ()))
            .expect("inside")
            .expect("sent");
        let truths = NETWORKS.map(|(_, scene)| scenes::named(scene).truth);
        let expected = truths.iter().map(Vec::len).sum::<usize>() * 10;
        agent
            .wait_for(expected, Duration::from_secs(20))
            .expect("events");
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
                    .map(|r| {
                        (
                            r.request.as_ref().map(|(_, target)| target.clone()),
                            r.status,
                        )
                    })
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

/// The underlay and the tunnel's device at once: two keys of one connection, and one event.
#[test]
fn underlay_and_device_together_give_one_event_each() {
    needs!("nginx", "wrk");
    let pair = Pair::new(1500).expect("a pair");
    if tunnel(&pair, "vxlan id 42 dstport 4789 dev veth0").is_err() {
        return skipped(
            "a VXLAN device",
            "tunnel::underlay_and_device_together_give_one_event_each",
        );
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
