//! Two connections at once with the same addresses and ports, in two network namespaces or two VLANs:
//! each response is told once and with its own request, and neither is taken for a copy of the other,
//! while real copies of both are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use http_trace_common::config::{FilterConfig, decap};
use http_trace_engine::fragments::shipped::Shipped;
use http_trace_engine::host_filter::HostFilter;
use http_trace_model::event::{HttpEvent, Missing};
use http_trace_tests::agent::{Agent, Outcome};
use http_trace_tests::bed::{own_port, server_v4};
use http_trace_tests::inject::inject;
use http_trace_tests::judged::{Judged, Timed, filtered_by, frames, is_truth, plain};
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::scene::{End, Scene, Side, Step, Transaction};
use http_trace_tests::tcp::{Layout, Path, Segment, segments};
use serde_json::{Value, json};

/// Requests of a connection.
const REQUESTS: usize = 40;
/// So many are sent at once.
const AT_ONCE: usize = 4;

/// The port that each client uses.
const FROM: u16 = 40_000;

/// Every second request is the same bytes on both connections.
fn target(connection: usize, number: usize) -> String {
    match number % 2 {
        0 => format!("/{number}"),
        _ => format!("/{connection}/{number}"),
    }
}

fn request(connection: usize, number: usize) -> String {
    let target = target(connection, number);
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The body's length differs too, so that framing one by the other's would fail.
fn response(connection: usize, number: usize) -> String {
    let body = "b".repeat(number * (1 + connection));
    format!(
        "HTTP/1.1 200 OK\r\nX-Of: {connection} {number}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Where both ends of one of the connections are: its client uses one port, its server listens.
fn place(pair: Pair, port: u16) -> (Pair, TcpListener) {
    let only = format!("{FROM} {FROM}");
    let set = |path| std::fs::write(path, &only);
    let set = || set("/proc/sys/net/ipv4/ip_local_port_range");
    pair.client
        .enter(set)
        .expect("in the namespace")
        .expect("a setting of the namespace");
    let listen = || TcpListener::bind(server_v4(port));
    let listener = pair.server.enter(listen).expect("in the namespace");
    (pair, listener.expect("listen"))
}

fn say(from: &mut TcpStream, to: &mut TcpStream, bytes: &str) {
    from.write_all(bytes.as_bytes()).expect("sent");
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).expect("received");
}

/// Talks on both connections, each of which always has requests open, and answers them in the other
/// order.
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

/// Each connection's responses are told, once and with their own requests; returned with an event of
/// each.
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
        let one = |n| {
            (
                n as u64 + 1,
                target(connection, n),
                format!("{connection} {n}"),
            )
        };
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

/// Each is seen at its client's and at its server's, which are namespaces of their own: real copies.
#[test]
fn in_two_namespaces_by_the_cgroup_hook() {
    needs!();
    in_two_namespaces("cgroup");
}

/// One of them at TC too.
#[test]
fn in_two_namespaces_by_the_cgroup_hook_and_tc() {
    needs!();
    in_two_namespaces("tc,cgroup");
}

/// Frames with tags: the kernel keeps a received one beside the frame, but not from XDP; in one that is
/// sent it is where it was written.
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

/// What an event says of its VLAN.
fn told(id: u16) -> Value {
    json!({"id": id.to_string()})
}

/// One connection, with its tag on a trunk and without beside it, as at the device of its VLAN: two keys
/// and one event each.
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
            let path = Path {
                vlan,
                ..Path::v4(FROM)
            };
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

fn scene(connection: usize) -> Scene {
    let mut steps = Vec::new();
    for first in (0..REQUESTS).step_by(AT_ONCE) {
        let batch = first..first + AT_ONCE;
        let mut send = |side, text: String| steps.push(Step::Send(side, text.into_bytes().into()));
        send(
            Side::Client,
            batch.clone().map(|n| request(connection, n)).collect(),
        );
        for number in batch {
            send(Side::Server, response(connection, number));
        }
    }
    steps.push(Step::Close(Side::Client));
    steps.push(Step::Close(Side::Server));
    let truth = |number: usize| {
        let bytes = number * (1 + connection);
        Transaction::new("GET", &target(connection, number), 200, "OK")
            .header("X-Of", format!("{connection} {number}"))
            .header("Content-Length", bytes.to_string())
            .body(bytes as u64, End::Length)
    };
    Scene {
        name: "same_tuple",
        steps,
        truth: (0..REQUESTS).map(truth).collect(),
    }
}

/// The VLAN of each connection.
const VLANS: [u16; 2] = [10, 20];

/// Frames of both connections, in VLANs of one trunk, with these initial sequence numbers;
/// `copy` says how a frame is seen once more.
fn in_two_vlans(isn: [[u32; 2]; 2], copy: Option<Copied>) -> Vec<Timed> {
    let each = [0, 1].map(|connection| in_its_vlan(connection, isn[connection], copy));
    let mut all = each.concat();
    all.sort_by_key(|(time, _)| *time);
    all
}

/// The frames of one of them.
fn in_its_vlan(connection: usize, isn: [u32; 2], copy: Option<Copied>) -> Vec<Timed> {
    let layout = Layout {
        isn,
        start_ns: Layout::default().start_ns + connection as u64 * 50_000,
        cuts: vec![700, 1448, 90],
        ..Layout::default()
    };
    let segments = segments(&scene(connection), &layout);
    let tagged = Path {
        vlan: Some(VLANS[connection]),
        ..Path::v4(FROM)
    };
    let mut all = frames(&tagged, &segments);
    let later = |s: &Segment| Segment {
        time_ns: s.time_ns + 1_000,
        ..s.clone()
    };
    let later: Vec<_> = segments.iter().map(later).collect();
    match copy {
        Some(Copied::AtBothPorts) => all.extend(frames(&tagged, &later)),
        Some(Copied::AboveTheTrunk) => all.extend(frames(&Path::v4(FROM), &later)),
        None => {}
    }
    all.sort_by_key(|(time, _)| *time);
    all
}

#[derive(Clone, Copy, Debug)]
enum Copied {
    /// At another port of a bridge, with its tag.
    AtBothPorts,
    /// At the device of its VLAN, without.
    AboveTheTrunk,
}

/// What is told of each connection, in the order of their first events.
fn by_connection(judged: Judged) -> Vec<Judged> {
    let mut by = BTreeMap::<u64, Vec<HttpEvent>>::new();
    for event in judged.events {
        by.entry(event.connection).or_default().push(event);
    }
    let of_one = |events| Judged {
        events,
        losses: Vec::new(),
        stats: judged.stats.clone(),
    };
    by.into_values().map(of_one).collect()
}

/// Fails unless both connections are told, each as it was played; gives what was told of each.
fn are_both(judged: Judged, what: &str) -> Vec<Judged> {
    let told = by_connection(judged);
    assert_eq!(told.len(), 2, "{what}");
    for (connection, of_one) in told.iter().enumerate() {
        is_truth(of_one, &scene(connection).truth)
            .unwrap_or_else(|wrong| panic!("{what}, {connection}: {wrong}"));
    }
    told
}

/// Drawn by hosts, and the same in both.
const DRAWN: [[u32; 2]; 2] = [[0x1234_5678, 0x9abc_def0], [0x2468_ace0, 0x1357_9bdf]];
const EQUAL: [[u32; 2]; 2] = [[0x1234_5678, 0x9abc_def0]; 2];

#[test]
fn in_two_vlans_of_a_capture() {
    for (isn, copy) in [
        (DRAWN, None),
        (DRAWN, Some(Copied::AtBothPorts)),
        (DRAWN, Some(Copied::AboveTheTrunk)),
        (EQUAL, None),
        (EQUAL, Some(Copied::AtBothPorts)),
    ] {
        let judged = plain(&in_two_vlans(isn, copy));
        are_both(judged, &format!("{isn:x?} {copy:?}"));
    }
}

/// The same behind the filter, where the option is on.
#[test]
fn in_two_vlans_of_a_trunk_that_are_told_apart() {
    for (isn, copy) in [
        (DRAWN, None),
        (DRAWN, Some(Copied::AtBothPorts)),
        (EQUAL, None),
        (EQUAL, Some(Copied::AtBothPorts)),
    ] {
        let judged = filtered(&in_two_vlans(isn, copy));
        let what = format!("{isn:x?} {copy:?}");
        for (vlan, of_one) in VLANS.into_iter().zip(are_both(judged, &what)) {
            let vlan = u32::from(vlan);
            assert!(of_one.events.iter().all(|e| e.vlans().eq([vlan])), "{what}");
        }
    }
}

/// What a filter with the option lets through.
fn filtered(frames: &[Timed]) -> Judged {
    let frames = frames.iter().map(|(time, frame)| (*time, 1, &frame[..]));
    let filter = HostFilter::new(FilterConfig {
        decap: decap::VLAN,
        ..FilterConfig::DEFAULT
    });
    filtered_by(filter, Shipped::new(decap::VLAN), frames).0
}

/// Without the option a hook at a trunk has one key for both: they are not told apart. Nothing is
/// false all the same, and that something is missing is told.
#[test]
fn in_two_vlans_of_a_trunk_without_the_option() {
    for isn in [DRAWN, EQUAL] {
        let frames = in_two_vlans(isn, None);
        let frames = frames.iter().map(|(time, frame)| (*time, 1, &frame[..]));
        let filter = HostFilter::new(FilterConfig::DEFAULT);
        let (judged, _) = filtered_by(filter, Shipped::default(), frames);
        let mut seen = BTreeSet::new();
        for event in &judged.events {
            let Some(head) = &event.response else {
                continue;
            };
            let of = head.headers.first("x-of").expect("a whole head");
            let of = std::str::from_utf8(of).expect("as sent").to_owned();
            let (connection, number) = of.split_once(' ').expect("two numbers");
            let parse = |n: &str| n.parse().expect("a number");
            let target = target(parse(connection), parse(number));
            if event.request.is_none() {
                assert!(event.missing.contains(&Missing::Request), "{event:#?}");
            }
            if let Some(request) = &event.request {
                assert_eq!(request.target, target.as_bytes(), "{isn:x?}: {event:#?}");
            }
            assert!(seen.insert(of), "twice: {event:#?}");
        }
        let stats = &judged.stats;
        let told = stats.requests_unmatched + stats.holes + stats.unframed_bytes;
        assert!(seen.len() < 2 * REQUESTS && told > 0, "{isn:x?}: {stats:?}");
    }
}
