//! The live matrix (`http_trace_tests::matrix`) with framing in the kernel: at every hook the events equal
//! the servers' logs and what the clients saw.

use std::time::Duration;

use http_trace_tests::matrix::{Framing, Lane, wrk_run};
use http_trace_tests::needs;

http_trace_tests::live_matrix!(Kernel);

/// `cargo test --release -p http-trace-tests --test live wrk_a_million -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes, and says something of an optimised build on a quiet machine only"]
fn wrk_a_million_responses() {
    needs!("nginx", "wrk");
    let seconds = std::env::var("SECONDS_OF_WRK").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let lane = Lane::new("tc", Framing::Kernel);
    wrk_run(lane, 16, Duration::from_secs(seconds), 1_000_000);
}
