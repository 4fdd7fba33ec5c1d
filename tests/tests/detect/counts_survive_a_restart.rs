//! Counts of detection and the inventory survive SIGTERM, SIGKILL and SIGHUP of the live agent.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use http_trace_tests::agent::{Agent, binary};
use http_trace_tests::client::Raw;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::seen::Report;
use rustix::process::Signal;
use serde_json::{Value, json};

const SPIKE: &str = "http-error-spike-internal";
const GENEROUS: Duration = Duration::from_secs(30);

struct Site {
    pair: Pair,
    _nginx: Nginx,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let pair = Pair::new(1500).expect("a pair");
        // The upstream is never requested.
        let upstream = SocketAddr::from(([127, 0, 0, 1], 9));
        let nginx = Nginx::start(&pair.server, upstream).expect("nginx");
        Site { pair, _nginx: nginx, folder: tempfile::tempdir().expect("a folder") }
    }

    fn state(&self) -> String {
        let state = self.folder.path().join("state");
        state.to_str().expect("a name").to_owned()
    }

    /// An agent that saves its state at this interval.
    fn agent(&self, interval: &str) -> Agent {
        let options = ["-i", "veth0", "--state", &self.state()];
        let interval = [("HTTP_TRACE_STATE_INTERVAL", interval)];
        Agent::start_with(&self.pair.server, &options, &interval).expect("an agent")
    }

    /// Requests this many missing pages, on one connection.
    fn errors(&self, numbers: Range<u32>) {
        let server = format!("{}:80", address::SERVER_V4).parse();
        let mut client =
            Raw::connect(&self.pair.client, server.expect("an address")).expect("a connection");
        for n in numbers {
            let request = format!("GET /missing/{n} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
            client.send(request.as_bytes()).expect("sent");
            assert_eq!(client.receive().expect("an answer").status, 404);
        }
    }

    /// The count of the error spike's rule in `rules hits`.
    fn hits(&self) -> Option<u64> {
        let mut command = Command::new(binary().expect("a binary"));
        command.args(["rules", "hits", "--rule", SPIKE, "-o", "json", "--state"]);
        let output = command.arg(self.state()).output().expect("hits");
        let line = output.stdout.split(|b| *b == b'\n').next()?;
        let record: Value = serde_json::from_slice(line).ok()?;
        record["count"].as_u64()
    }
}

/// State, count and message of the error spike's alerts.
fn spikes(report: &Report) -> Vec<(String, u64, String)> {
    let of_rule = report.alerts.iter().filter(|r| r["rule"]["id"] == SPIKE);
    let told = of_rule.map(|record| {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let alert = &record["http_trace"]["alert"];
        let count = alert["count"].as_u64().expect("a count");
        (text(&alert["state"]), count, text(&record["message"]))
    });
    told.collect()
}

/// Events and hits of the endpoint in the report of the inventory.
fn inventory(state: &str) -> Option<(u64, u64)> {
    let mut command = Command::new(binary().ok()?);
    let output = command.args(["report", "--as", "json", "--state", state]).output();
    let report: Value = serde_json::from_slice(&output.ok()?.stdout).ok()?;
    let rows = report["endpoints"].as_array()?;
    let row = rows.iter().find(|row| row["template"] == "/small.txt");
    let hits = row.and_then(|row| row["hits"].as_u64());
    Some((report["events"].as_u64()?, hits.unwrap_or(0)))
}

fn one(state: &str, count: u64) -> Vec<(String, u64, String)> {
    let message = format!(
        "High number of internal HTTP response errors from IP: {} to {}",
        address::CLIENT_V4,
        address::SERVER_V4
    );
    vec![(state.to_owned(), count, message)]
}

#[test]
fn two_hundred_errors_before_sigterm_and_150_after_are_one_alert_of_350() {
    needs!("nginx");
    let site = Site::new();
    let agent = site.agent("1h");
    site.errors(0..200);
    agent.wait_for(200, GENEROUS).expect("a report");
    let first = agent.stop_by(Signal::TERM).expect("an outcome");
    assert!(first.status.success(), "{:?}", first.said);
    assert_eq!(first.report.responses.len(), 200);
    assert_eq!(spikes(&first.report), []);
    assert_eq!(site.hits(), Some(200));

    let mut agent = site.agent("1h");
    site.errors(200..300);
    agent.wait_for(100, GENEROUS).expect("a report");
    agent.signal(Signal::HUP).expect("a signal");
    assert!(agent.wait_for_line("rules read again: ", GENEROUS));
    site.errors(300..350);
    agent.wait_for(150, GENEROUS).expect("a report");
    let second = agent.stop_by(Signal::TERM).expect("an outcome");
    assert!(second.status.success(), "{:?}", second.said);
    for said in [" counters restored, ", "rules read again: "] {
        let said_so = second.said.iter().any(|line| line.contains(said));
        assert!(said_so, "{said}: {:?}", second.said);
    }
    assert_eq!(spikes(&second.report), one("opened", 350));
    let of_rule = |r: &&Value| r["rule"]["id"] == SPIKE;
    let alert = second.report.alerts.iter().find(of_rule).expect("an alert");
    let alert = &alert["http_trace"]["alert"];
    // From the 175th on; events between the two runs were not seen.
    assert_eq!(alert["statuses"], json!({"404": 176}));
    assert_eq!(alert["under_counted"], true);

    // It is still open: it does not open again, and its last update counts what came since.
    let agent = site.agent("1h");
    site.errors(350..360);
    agent.wait_for(10, GENEROUS).expect("a report");
    let third = agent.stop_by(Signal::TERM).expect("an outcome");
    assert_eq!(spikes(&third.report), one("updated", 360));
    assert_eq!(site.hits(), Some(360));
    assert!(!Path::new(&format!("{}.new", site.state())).exists());
}

#[test]
fn what_was_written_before_sigkill_counts_after_it() {
    needs!("nginx");
    let site = Site::new();
    let agent = site.agent("100ms");
    site.errors(0..200);
    let end = Instant::now() + GENEROUS;
    while site.hits() != Some(200) {
        assert!(Instant::now() < end, "{:?}", site.hits());
        std::thread::sleep(Duration::from_millis(50));
    }
    let first = agent.kill().expect("a report");
    assert_eq!(spikes(&first), []);

    let agent = site.agent("100ms");
    site.errors(200..350);
    agent.wait_for(150, GENEROUS).expect("a report");
    let second = agent.stop().expect("an outcome");
    assert_eq!(spikes(&second.report), one("opened", 350), "{:?}", second.said);
    assert_eq!(site.hits(), Some(350));
}

/// Read while the agent runs, after SIGKILL during traffic, and after another run has added to it.
#[test]
fn the_inventory_is_whole_after_sigkill_and_grows_with_the_next_run() {
    needs!("nginx");
    let site = Site::new();
    let state = site.state();
    let ask = |count: u32| {
        let server = format!("{}:80", address::SERVER_V4).parse();
        let mut client =
            Raw::connect(&site.pair.client, server.expect("an address")).expect("a connection");
        for _ in 0..count {
            client.send(b"GET /small.txt HTTP/1.1\r\nHost: shop.example\r\n\r\n").expect("sent");
            assert_eq!(client.receive().expect("an answer").status, 200);
        }
    };
    let wait = |expected: (u64, u64)| {
        let end = Instant::now() + GENEROUS;
        while inventory(&state) != Some(expected) {
            assert!(Instant::now() < end, "{:?} for {expected:?}", inventory(&state));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let agent = site.agent("20ms");
    ask(100);
    wait((100, 100));
    // Killed while it writes: what was read before is still there, and nothing beyond the requests.
    ask(300);
    agent.kill().expect("a report");
    let (events, hits) = inventory(&state).expect("readable");
    assert!(events == hits && (100..=400).contains(&hits), "{events} {hits}");
    let agent = site.agent("20ms");
    ask(50);
    wait((events + 50, hits + 50));
    let ended = agent.stop().expect("an outcome");
    assert!(ended.status.success(), "{:?}", ended.said);
    assert_eq!(inventory(&state), Some((events + 50, hits + 50)));
}
