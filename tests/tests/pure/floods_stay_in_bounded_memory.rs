//! Floods end in reported losses within the memory bound, and hide no honest connection.

use std::io::{BufRead, BufReader, BufWriter};
use std::process::{Command, Stdio};
use std::time::Duration;

use http_trace_tests::agent::binary;
use http_trace_tests::bed::nothing;
use http_trace_tests::flood::{Flood, honest, honest_path};
use http_trace_tests::seen::{Report, differences};

/// Memory limit of a replay, whatever is in the capture: the configured bounds of reassembly (64 MiB), heads
/// in flight (64 MiB) and the flow table, plus the program itself.
const BOUND_KIB: u64 = 256 << 10;

/// Checks with every byte judged, and with the kernel's filter.
fn check(flood: Flood, count: u32) {
    check_with(flood, count, &[]);
    check_with(flood, count, &["--kernel-filter"]);
}

fn check_with(flood: Flood, count: u32, more: &[&str]) {
    let mut child = Command::new(binary().expect("the tracer"))
        .args(["-r", "-", "-o", "json", "-q"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tracer starts");
    let stdin = child.stdin.take().expect("a pipe");
    let stdout = child.stdout.take().expect("a pipe");
    let status = format!("/proc/{}/status", child.id());
    let peak = || -> Option<u64> {
        let text = std::fs::read_to_string(&status).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let (whole, seen, peak) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || Seen::read(BufReader::new(stdout)));
        let writer = scope.spawn(move || flood.write(BufWriter::new(stdin), count));
        let mut highest = 0;
        while !reader.is_finished() {
            highest = highest.max(peak().unwrap_or(0));
            std::thread::sleep(Duration::from_millis(5));
        }
        let whole = writer.join().expect("no panic").expect("the tracer reads to the end");
        (whole, reader.join().expect("no panic"), highest)
    });
    let status = child.wait().expect("an end");
    // 1: something was evicted, which the losses report.
    assert!(matches!(status.code(), Some(0 | 1)), "{flood:?}: {status}");
    let report = Report::read(&seen.kept).expect("json");
    println!("{flood:?} {more:?}: {count}: peak {peak} KiB, {} responses", seen.responses);
    assert!(peak > 0 && peak < BOUND_KIB, "{flood:?}: {peak} KiB");
    nothing(differences(&report.of(honest_path().client), &honest().truth));
    let all = seen.responses >= whole;
    assert!(
        all || !report.losses.is_empty(),
        "{flood:?}: {} of {whole}, and no loss told",
        seen.responses
    );
}

/// What is kept of a million events: the honest client's and the losses; of the others only their number, to
/// keep the test itself within bounds.
#[derive(Default)]
struct Seen {
    kept: Vec<u8>,
    responses: usize,
}

impl Seen {
    fn read(mut lines: impl BufRead) -> Self {
        let client = honest_path().client;
        let honest =
            format!("\"source\":{{\"ip\":\"{}\",\"port\":{}}}", client.ip(), client.port());
        let mut seen = Seen::default();
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).expect("stdout") > 0 {
            let text = std::str::from_utf8(&line).expect("UTF-8");
            let response = text.contains("\"status_code\":");
            seen.responses += usize::from(response);
            if text.contains(&honest) || text.contains("\"pipeline_error\"") {
                seen.kept.extend_from_slice(&line);
            }
            line.clear();
        }
        seen
    }
}

#[test]
fn half_open_connections() {
    check(Flood::Syns, 1_000_000);
    check(Flood::HalfRequests, 1_000_000);
}

#[test]
fn one_byte_segments() {
    check(Flood::OneByteSegments, 1_000_000);
    check(Flood::Holes, 1_000_000);
}

#[test]
fn flows_that_never_close() {
    check(Flood::NeverClosed, 1_000_000);
}

/// Memory of closed connections is bounded too.
#[test]
fn connections_that_close_at_once() {
    check(Flood::Closed, 1_000_000);
}

#[test]
fn heads_that_never_end() {
    check(Flood::EndlessHeads, 300_000);
}
