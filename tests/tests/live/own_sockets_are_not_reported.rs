//! Traffic of the agent's own sockets is counted and not reported.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use http_trace::own_sockets::OwnSockets;
use http_trace::probe::interfaces::Wanted;
use http_trace::probe::loader::Settings;
use http_trace::probe::{Options, Probe};
use http_trace_common::counter::Counter;
use http_trace_common::record::Hook;
use http_trace_tests::agent::Agent;
use http_trace_tests::bed::server_v4;
use http_trace_tests::client::Raw;
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair};
use http_trace_tests::nginx::Python;

const REQUESTS: usize = 5;

/// A collector beside the agent, named in its settings, and an unrelated server.
#[test]
fn own_endpoints_are_counted_and_not_reported() {
    needs!(alone; "python3");
    let pair = Pair::new(1500).expect("a pair");
    let (own, other) = (server_v4(4318), server_v4(8000));
    let _servers =
        [own, other].map(|at| Python::start(&pair.server, at).expect("a server of Python"));
    for hook in ["tc", "socket-filter", "cgroup", "xdp"] {
        let agent = Agent::start_with(
            &pair.server,
            &["-i", "veth0", "--hook", hook, "-v"],
            &[("HTTP_TRACE_OWN_ENDPOINTS", &own.to_string())],
        )
        .expect("the agent");
        for to in [own, other] {
            for _ in 0..REQUESTS {
                let mut raw = Raw::connect(&pair.client, to).expect("a connection");
                raw.send(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
                raw.drain().expect("an answer");
            }
        }
        let wait = Duration::from_secs(10);
        let _ = agent.wait_for(REQUESTS, wait).expect("a report");
        let outcome = agent.stop().expect("the agent's end");
        outcome.check_clean();
        let servers: Vec<SocketAddr> = outcome.report.responses.iter().map(|r| r.server).collect();
        assert_eq!(servers, [other; REQUESTS], "{hook}");
        // At least each request and each answer, which begin like messages.
        let counted = outcome.counter("own_traffic");
        assert!(counted >= 2 * REQUESTS as u64, "{hook}: {:?}", outcome.said);
    }
}

/// A client inside the agent: its connection, an unrelated one, and one that is refused.
#[test]
fn a_connection_of_the_agents_own_leaves_no_record() {
    needs!(alone; "python3");
    let namespace = Namespace::new("own").expect("a namespace");
    let server: SocketAddr = ([127, 0, 0, 1], 8000).into();
    let nobody: SocketAddr = ([127, 0, 0, 1], 9).into();
    let _server = Python::start(&namespace, server).expect("python");
    let (own_port, other_port, refused_port, told, counted) = namespace
        .enter(|| {
            let own = OwnSockets::default();
            let (mut probe, _) = Probe::start(Options {
                hooks: vec![Hook::Tc],
                interfaces: Wanted::new(&[], &[]).expect("everything"),
                tc_mode: Default::default(),
                host_framing: false,
                settings: Settings::default(),
                own: own.clone(),
                say: None,
            })
            .expect("the probe");
            let wait = Duration::from_secs(10);
            let (stream, excluded) = own.connect(server, wait).expect("a connection");
            let own_port = ask(stream);
            drop(excluded);
            let error = own.connect(nobody, wait).expect_err("nobody listens");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            let refused = TcpStream::connect(nobody).expect_err("nobody listens");
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let other_port = ask(TcpStream::connect(server).expect("a connection"));
            let mut told = BTreeSet::new();
            let mut refused_port = 0;
            let end = Instant::now() + wait;
            while !told.contains(&other_port) && Instant::now() < end {
                probe.drain(|record, _| {
                    let h = record.header;
                    if h.dst_port == nobody.port() {
                        refused_port += 1;
                    }
                    told.insert(if h.src_port == server.port() { h.dst_port } else { h.src_port });
                });
                std::thread::sleep(Duration::from_millis(10));
            }
            let counted = probe.counters.get(Counter::OwnTraffic);
            (own_port, other_port, refused_port, told, counted)
        })
        .expect("in the namespace");
    assert!(told.contains(&other_port), "{told:?}");
    assert!(!told.contains(&own_port), "{told:?}");
    assert_eq!(refused_port, 1, "the refusal of the other's SYN, and no more");
    assert!(counted >= 2, "{counted} segments counted");
}

/// Sends one request; returns its source port.
fn ask(mut stream: TcpStream) -> u16 {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert!(answer.starts_with(b"HTTP/1."), "{answer:?}");
    stream.local_addr().expect("an address").port()
}
