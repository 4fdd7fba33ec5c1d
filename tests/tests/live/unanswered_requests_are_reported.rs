//! Requests and connection attempts without an answer are reported, as dropped or refused.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::server_v4;
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::play::Stage;
use http_trace_tests::routed::nft;
use http_trace_tests::scenes;

/// `no_response` and method of the events for a server port.
fn told(report: &http_trace_tests::seen::Report, port: u16) -> Vec<(String, Option<String>)> {
    let of_port = report.unanswered.iter().filter(|s| s.server.port() == port);
    of_port
        .map(|seen| {
            assert_eq!(seen.json["event"]["outcome"], "failure", "{}", seen.json);
            assert!(seen.json["http"]["response"].is_null(), "{}", seen.json);
            let why = seen.json["http_trace"]["no_response"].as_str();
            let method = seen.request.as_ref().map(|(method, _)| method.clone());
            (why.unwrap_or("?").to_owned(), method)
        })
        .collect()
}

fn connect(pair: &Pair, to: SocketAddr) -> std::io::Result<TcpStream> {
    pair.client
        .enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(1500)))
        .expect("a namespace")
}

#[test]
fn what_firewalls_and_closed_ports_do() {
    needs!("nft");
    let pair = Pair::new(1500).expect("a pair");
    nft(
        &pair.server,
        "table inet wall {
            chain in {
                type filter hook input priority filter;
                tcp dport 8101 drop
                tcp dport 8102 reject with tcp reset
                tcp dport 8103 meta length > 80 reject with tcp reset
                tcp dport 8104 meta length > 80 drop
            }
        }",
    )
    .expect("rules");
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("http-trace.toml");
    std::fs::write(&config, "response-timeout = \"2s\"\n").expect("a file");
    let config = config.to_str().expect("a name");
    let options = ["-i", "veth0", "-p", "8100-8110", "--config", config];
    let agent = Agent::start(&pair.server, &options).expect("the agent");
    let at = server_v4;

    // Nothing listens there; the kernel refuses.
    assert!(connect(&pair, at(8100)).is_err());
    // One SYN is dropped; a firewall refuses another.
    assert!(connect(&pair, at(8101)).is_err());
    assert!(connect(&pair, at(8102)).is_err());
    // The handshake succeeds and the request is reset.
    let stage = Stage::new(&pair.client, &pair.server, at(8103)).expect("a stage");
    let mut reset = connect(&pair, at(8103)).expect("a connection");
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(100));
    reset.write_all(request.as_bytes()).expect("a request");
    // The handshake succeeds and the request is dropped.
    let hole = Stage::new(&pair.client, &pair.server, at(8104)).expect("a stage");
    let mut waits = connect(&pair, at(8104)).expect("a connection");
    waits.write_all(request.as_bytes()).expect("a request");
    // Served, which proves that the run works.
    let served = Stage::new(&pair.client, &pair.server, at(8105)).expect("a stage");
    let played = served.play(&scenes::all()[0]).expect("a scene");
    // The server closes without an answer.
    let closes = pair
        .server
        .enter(|| std::net::TcpListener::bind(at(8106)))
        .expect("a namespace")
        .expect("a listener");
    let mut closed = connect(&pair, at(8106)).expect("a connection");
    closed.write_all(b"GET /closed HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let (mut end, _) = closes.accept().expect("a client");
    let _ = std::io::Read::read(&mut end, &mut [0; 1024]);
    drop((end, closed));
    std::thread::sleep(Duration::from_secs(4));
    drop((stage, hole, waits));
    let outcome = agent.stop().expect("an outcome");
    let report = &outcome.report;
    assert_eq!(report.of(played.client).len(), scenes::all()[0].truth.len());
    let get = || Some("GET".to_owned());
    for (port, expected) in [
        (8100, vec![("refused".to_owned(), None)]),
        (8101, vec![("unreachable".to_owned(), None)]),
        (8102, vec![("refused".to_owned(), None)]),
        (8103, vec![("reset".to_owned(), get())]),
        (8104, vec![("timeout".to_owned(), get())]),
        (8106, vec![("closed".to_owned(), get())]),
    ] {
        assert_eq!(told(report, port), expected, "{port}: {:?}", outcome.said);
    }
}
