//! A collector that is down for as many responses as a host with 20 per second has in an hour costs only what
//! exceeds the queue, each record of it reported, and no memory. Delivery resumes by itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_trace_tests::agent::Agent;
use http_trace_tests::bed::{own_port, server_v4};
use http_trace_tests::needs;
use http_trace_tests::netns::Pair;
use http_trace_tests::nginx::Nginx;
use http_trace_tests::pusher::Push;
use serde_json::Value;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
/// An hour at 20 responses per second.
const RESPONSES: u64 = 72_000;
const QUEUE: &str = "2MiB";
/// Memory that an allocator may keep after use.
const FLAT_KIB: u64 = 4096;

/// What a collector received: log records of responses, and the number of records reported as lost.
#[derive(Default)]
struct Got {
    delivered: AtomicU64,
    lost: AtomicU64,
}

fn positions(body: &[u8], text: &'static [u8]) -> impl Iterator<Item = usize> {
    let all = body.windows(text.len()).enumerate();
    all.filter(move |(_, window)| *window == text).map(|(at, _)| at)
}

impl Got {
    fn body(&self, body: &[u8]) {
        // `event_name`, field 12 of a log record (opentelemetry/proto/logs/v1/logs.proto).
        let named = positions(body, b"\x62\x13http_trace.response").count();
        self.delivered.fetch_add(named as u64, Ordering::Relaxed);
        // An attribute: its key, then an `AnyValue` with an int, field 3.
        const COUNT: &[u8] = b"http_trace.lost.count";
        for at in positions(body, COUNT) {
            let digits = body[at + COUNT.len() + 3..].iter().enumerate();
            let mut value = 0;
            for (n, digit) in digits {
                value |= u64::from(digit & 0x7f) << (7 * n);
                if *digit < 0x80 {
                    break;
                }
            }
            self.lost.fetch_add(value, Ordering::Relaxed);
        }
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let (mut length, mut line) = (0, String::new());
            while stream.read_line(&mut line)? > 2 {
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            if line.is_empty() {
                return Ok(());
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body)?;
            self.body(&body);
            let stream = stream.get_mut();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
}

fn resident_kib(agent: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()));
    let status = status.expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.expect("a number")
}

/// The number of events in a loss of an output's queue.
fn loss_of_queue(loss: &Value) -> u64 {
    let lost = &loss["http_trace"]["lost"];
    assert_eq!(lost["where"], "output_queue", "{loss}");
    lost["count"].as_u64().expect("a count")
}

#[test]
fn an_hour_away_costs_what_is_told_and_no_memory() {
    needs!(alone; "nginx");
    let pair = Pair::new(1500).expect("a pair");
    let port = own_port();
    let nginx = Nginx::start_at(&pair.server, port, NOWHERE.into()).expect("nginx");
    let collector: SocketAddr = ([127, 0, 0, 1], 4318).into();
    let output = format!("otlp:http://{collector},signals=logs,metrics,every=1s");
    let port_text = port.to_string();
    let options = ["-i", "veth0", "-p", &port_text, "-H", "none", "-o", &output];
    let environment = [("HTTP_TRACE_OUTPUT_QUEUE", QUEUE), http_trace_tests::agent::ROOMY];
    let mut agent = Agent::start_with(&pair.server, &options, &environment).expect("the agent");
    let ask = |run, responses| {
        let push = Push { connections: 4, depth: 8, ahead: false, run };
        let asked = push.run(&pair.client, server_v4(port), |pushing| pushing.wait_for(responses));
        asked.expect("clients");
        agent.wait_until_idle().expect("a file");
        resident_kib(&agent)
    };
    // The queue is full after some thousand records.
    let full = ask(1, RESPONSES / 4);
    let end = ask(2, RESPONSES * 3 / 4);
    assert!(end < full + FLAT_KIB, "{full} KiB, then {end} KiB");
    let named = agent.wait_for_line("cannot write to http://", Duration::from_secs(5));
    assert!(named, "{agent:?}");

    let listener = pair.server.enter(|| TcpListener::bind(collector));
    let listener = listener.expect("entered").expect("a port");
    let got: &'static Got = Box::leak(Box::default());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = got.answer(stream);
        }
    });
    // The queued records come within the longest pause, without a further event.
    let until = Instant::now() + Duration::from_secs(30);
    while got.lost.load(Ordering::Relaxed) == 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let outcome = agent.stop().expect("an outcome");
    drop(nginx);
    let (delivered, lost) = (&got.delivered, &got.lost);
    let [delivered, lost] = [delivered, lost].map(|n| n.load(Ordering::Relaxed));
    let seen = outcome.report.responses.len() as u64;
    println!("{seen} responses, {delivered} delivered, {lost} lost; {full} KiB, then {end} KiB");
    // The file's queue is as short, and its writer may have to wait for a CPU.
    let losses = &outcome.report.losses;
    let unwritten: u64 = losses.iter().map(loss_of_queue).sum();
    assert!(seen + unwritten >= RESPONSES && delivered > 500 && lost > RESPONSES * 9 / 10);
    assert_eq!(delivered + lost, seen + unwritten, "{:?}", outcome.said);
}
