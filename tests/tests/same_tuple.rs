//! Two connections at once with the same addresses and ports, in two network namespaces or two VLANs:
//! each response is told once and with its own request, and neither is taken for a copy of the other,
//! while real copies of both are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use http_trace::event::{HttpEvent, Missing};
use http_trace::fragments::shipped::Shipped;
use http_trace::host_filter::HostFilter;
use http_trace_common::config::FilterConfig;
use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{own_port, server_v4};
use http_trace_tests::judged::{Judged, Timed, filtered_by, frames, is_truth, plain};
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::scene::{End, Scene, Side, Step, Transaction};
use http_trace_tests::tcp::{Layout, Path, Segment, segments};

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

/// Where both ends of one of the connections are.
fn pair(port: u16) -> (Pair, TcpListener) {
    let pair = Pair::new(1500).expect("a pair");
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

fn in_two_namespaces(hooks: &str) {
    let port = own_port();
    let places = [pair(port), pair(port)];
    let ports = port.to_string();
    let options = ["--hook", hooks, "-p", &ports, "-vv"];
    let agent = Agent::start(&places[0].0.server, &options).expect("the agent");
    let mut ends = places.each_ref().map(|(pair, listener)| {
        let connect = || TcpStream::connect(server_v4(port));
        let client = pair.client.enter(connect).expect("in the namespace");
        let client = client.expect("connect");
        let (server, from) = listener.accept().expect("accepted");
        assert_eq!(from.port(), FROM);
        (client, server)
    });
    // Both connections always have requests open, and answer in the other order.
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
    drop(ends);
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("an outcome");
    outcome.check_clean();
    let mut by = BTreeMap::<String, Vec<(u64, String, String)>>::new();
    for seen in &outcome.report.responses {
        let transaction = seen.json["http_trace"]["transaction"].as_str();
        let (connection, _) = transaction.and_then(|t| t.split_once('.')).expect("a name");
        let (_, target) = seen.request.clone().expect("a request");
        let of = seen.headers["x-of"][0].clone();
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
    assert_eq!(told, [truth(0), truth(1)], "{hooks}: {:?}", outcome.said);
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

/// Frames of both connections, in VLANs 10 and 20 of one trunk, with these initial sequence numbers;
/// `copy` says how a frame is seen once more.
fn in_two_vlans(isn: [[u32; 2]; 2], copy: Option<Copied>) -> Vec<Timed> {
    let mut all = Vec::new();
    for (connection, isn) in isn.into_iter().enumerate() {
        let layout = Layout {
            isn,
            start_ns: Layout::default().start_ns + connection as u64 * 50_000,
            cuts: vec![700, 1448, 90],
            ..Layout::default()
        };
        let segments = segments(&scene(connection), &layout);
        let tagged = Path {
            vlan: Some(10 * (connection as u16 + 1)),
            ..Path::v4(FROM)
        };
        all.extend(frames(&tagged, &segments));
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
        let told = by_connection(plain(&in_two_vlans(isn, copy)));
        let what = format!("{isn:x?} {copy:?}");
        assert_eq!(told.len(), 2, "{what}");
        for (connection, judged) in told.iter().enumerate() {
            is_truth(judged, &scene(connection).truth)
                .unwrap_or_else(|wrong| panic!("{what}, {connection}: {wrong}"));
        }
    }
}

/// A hook at a trunk has one key for both: they are not told apart. Nothing is false all the same,
/// and that something is missing is told.
#[test]
fn in_two_vlans_of_a_trunk_that_is_traced() {
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
