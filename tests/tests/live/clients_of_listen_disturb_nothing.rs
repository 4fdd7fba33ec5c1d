//! Clients of `--listen` that are slow or hostile: probes are answered within a second, and every response is
//! reported.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_trace_tests::agent::{self, Agent};
use http_trace_tests::bed::server_v4;
use http_trace_tests::client::Raw;
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::nginx::Nginx;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
const LISTEN: &str = "127.0.0.1:9464";
const EACH: usize = 15;
const TIME: Duration = Duration::from_secs(5);

/// Sends `first`, then `then` every 50 ms, and reads nothing; connects again when it is closed.
fn misbehave(first: &[u8], then: &[u8], is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(LISTEN) else {
            continue;
        };
        let mut sent = stream.write_all(first);
        while sent.is_ok() && !is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
            sent = stream.write_all(then);
            let error = stream.take_error();
            sent = sent.and(error.and_then(|error| error.map_or(Ok(()), Err)));
        }
    }
}

/// Asks nginx for a while, one request after another; returns how many.
fn ask(pair: &Pair) -> usize {
    let mut raw = Raw::connect(&pair.client, server_v4(80)).expect("a connection");
    let until = Instant::now() + TIME;
    let mut asked = 0;
    while Instant::now() < until {
        raw.send(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
        assert_eq!(raw.receive().expect("an answer").status, 200);
        asked += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    asked
}

fn probe() -> Duration {
    let asked = Instant::now();
    let mut stream = TcpStream::connect(LISTEN).expect("a connection");
    stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    asked.elapsed()
}

#[test]
fn dozens_that_say_nothing_too_little_or_too_much() {
    needs!("nginx");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let options = ["-i", "veth0", "--listen", LISTEN];
    let agent = Agent::start(&pair.server, &options).expect("the agent");
    let huge = [b"GET /metrics HTTP/1.1\r\nA: ", &[b'a'; 1 << 20][..]].concat();
    let is_over = AtomicBool::new(false);
    let (asked, probes) = pair
        .server
        .enter(|| {
            std::thread::scope(|scope| {
                for (first, then) in [
                    (&b""[..], &b""[..]),
                    (b"", b"G"),
                    (&huge, b""),
                    (b"GET /metrics HTTP/1.1\r\n\r\n", b""),
                ] {
                    for _ in 0..EACH {
                        let is_over = &is_over;
                        scope.spawn(move || misbehave(first, then, is_over));
                    }
                }
                let load = scope.spawn(|| ask(&pair));
                let mut probes = Vec::new();
                while !load.is_finished() {
                    probes.push(probe());
                    std::thread::sleep(Duration::from_millis(50));
                }
                is_over.store(true, Ordering::Relaxed);
                (load.join().expect("answers"), probes)
            })
        })
        .expect("the namespace");
    let outcome = agent.stop().expect("an outcome");
    outcome.check_clean();
    let slowest = probes.iter().max();
    eprintln!("{} probes, slowest {slowest:?}; {asked} requests", probes.len());
    assert!(slowest < Some(&Duration::from_secs(1)), "{slowest:?}");
    assert_eq!(outcome.report.responses.len(), asked);
}

#[test]
fn a_start_whose_port_is_taken_leaves_no_file() {
    needs!();
    let pair = Pair::new(1500).expect("a pair");
    let _taken = pair.server.enter(|| TcpListener::bind(LISTEN)).expect("entered").expect("bound");
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(agent::binary().expect("the agent"));
    command.args(["-i", "veth0", "--listen", LISTEN, "-o", "json:out", "--state", "state"]);
    command.args(["--alerts-to", "file:alerts"]).current_dir(folder.path());
    let ran = pair.server.enter(|| command.output()).expect("entered").expect("ran");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains(&format!("cannot listen at {LISTEN}")), "{said}");
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0, "{said}");
}
