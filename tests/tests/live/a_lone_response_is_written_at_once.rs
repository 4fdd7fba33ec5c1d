//! A response on a quiet host is written without waiting for a timer.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use http_trace_tests::bed::{Bed, UPSTREAM, server_v4};
use http_trace_tests::client::Raw;
use http_trace_tests::needs;
use http_trace_tests::nginx::Nginx;

const RESPONSES: usize = 31;
/// Long enough for the agent to treat the host as quiet.
const PAUSE: Duration = Duration::from_millis(120);
/// Bound for half of the responses, on a busy machine. A timer of 100 ms alone would take half of that on
/// average.
const BOUND: Duration = Duration::from_millis(20);

#[test]
fn half_of_them_within_20_ms() {
    needs!(alone; "nginx");
    let bed = Bed::new(1500, &["-p", "80"]).expect("a bed");
    let _nginx = Nginx::start(&bed.pair.server, UPSTREAM.into()).expect("nginx");
    let connect = || TcpStream::connect(server_v4(80)).expect("connect");
    let mut raw = Raw::over(bed.pair.client.enter(connect).expect("enter")).expect("raw");
    let mut took: Vec<Duration> = (1..=RESPONSES)
        .map(|n| {
            std::thread::sleep(PAUSE);
            raw.send(b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
            assert_eq!(raw.receive().expect("an answer").status, 200);
            let received = Instant::now();
            while bed.agent.so_far().expect("events").responses.len() < n {
                assert!(received.elapsed() < Duration::from_secs(10), "response {n}");
                std::thread::sleep(Duration::from_millis(1));
            }
            received.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("{took:?}");
    assert!(took[RESPONSES / 2] < BOUND, "{took:?}");
    bed.stop().expect("an outcome").check_clean();
}
