//! During a flood of connections that stay open, more than the tables hold, every honest exchange is
//! reported.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{log_differences_at, nothing, own_port, server_v4};
use http_trace_tests::client::Raw;
use http_trace_tests::crowd::{Crowd, KINDS};
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::nginx::Nginx;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
/// Number of addresses of the flood.
const ATTACKERS: u8 = 8;
/// Request interval of each keep-alive connection, in ms: the last connection becomes idle in between.
const KEEP_ALIVE_MS: [u64; 4] = [50, 300, 1_000, 6_500];
/// Interval of new connections.
const NEW_EVERY: Duration = Duration::from_millis(40);

fn connect(server: SocketAddr) -> Raw {
    Raw::over(TcpStream::connect(server).expect("connect")).expect("raw")
}

fn ask(raw: &mut Raw, n: usize) {
    let request = format!("GET /small.txt?{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    raw.send(request.as_bytes()).expect("sent");
    assert_eq!(raw.receive().expect("an answer").status, 200);
}

/// Sends requests on new and on keep-alive connections until `over`.
fn honest(server: SocketAddr, over: &AtomicBool) {
    let begun = Instant::now();
    let mut kept = KEEP_ALIVE_MS.map(|every_ms| (every_ms, 0, connect(server)));
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        ask(&mut connect(server), n);
        for (every_ms, asked, raw) in &mut kept {
            if begun.elapsed() >= Duration::from_millis(*every_ms * *asked) {
                *asked += 1;
                ask(raw, n);
            }
        }
        n += 1;
        std::thread::sleep(NEW_EVERY);
    }
    for (_, _, raw) in &mut kept {
        ask(raw, n);
    }
}

/// Checks a table of `flows` connections with a flood beyond it.
fn check(flows: u32, connections: u32, per_second: u32) {
    let pair = Pair::new(1500).expect("a pair");
    let attackers: Vec<Ipv4Addr> = (0..ATTACKERS).map(|n| [10, 77, 0, 10 + n].into()).collect();
    for attacker in &attackers {
        let address = format!("address add {attacker}/24 dev veth0");
        pair.client.ip(&address).expect("an address");
    }
    let (port, flooded) = (own_port(), own_port());
    let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let listener = pair.server.enter(|| TcpListener::bind(server_v4(flooded)));
    let listener = listener.expect("enter").expect("a listener");
    let flows = flows.to_string();
    let environment = [("HTTP_TRACE_MAX_FLOWS", &flows[..])];
    let agent = Agent::start_with(&pair.server, &["-i", "veth0", "-v"], &environment);
    let agent = agent.expect("the agent");
    let crowd = Crowd { from: attackers, connections, per_second };
    let over = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        let visitors = scope.spawn(|| pair.client.enter(|| honest(server_v4(port), &over)));
        let took = pair.client.enter(|| crowd.open(&listener));
        over.store(true, Ordering::Relaxed);
        visitors.join().expect("no panic").expect("enter");
        took.expect("enter").expect("a flood")
    });
    std::thread::sleep(Duration::from_millis(300));
    let log = nginx.stop().expect("a log");
    let outcome = agent.stop().expect("an outcome");
    println!(
        "{connections} connections in {took:?}, {} honest exchanges\n{}",
        log.len(),
        outcome.said.join("\n")
    );
    nothing(log_differences_at(port, &outcome.report, &log));
    let of_flood = outcome.report.responses.iter();
    let answered =
        of_flood.filter(|seen| seen.server.port() == flooded && seen.status == Some(204));
    assert_eq!(answered.count() as u32, (connections + 1) / KINDS);
    assert_eq!(outcome.counter("table_full"), 0, "admitted late");
    // Evicted from the table, or for the memory of unfinished heads.
    let evicted = |loss: &serde_json::Value| loss["http_trace"]["lost"]["unit"] == "flows";
    assert!(outcome.report.losses.iter().any(evicted), "the flood was too small");
}

#[test]
fn of_thousands() {
    needs!(alone; "nginx", "python3");
    check(4_096, 10_000, 1_500);
}

/// The default bound. Run by hand: `cargo test --release --test live of_ten_thousands -- --ignored`.
#[test]
#[ignore = "takes a minute, and says something of an optimised build only"]
fn of_ten_thousands() {
    needs!(alone; "nginx", "python3");
    check(65_536, 100_000, 2_000);
}
