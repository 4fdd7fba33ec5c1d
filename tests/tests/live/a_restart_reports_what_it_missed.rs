//! With `--state`, the second of two runs reports what crossed between them, which is no failure of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_trace_tests::agent::{Agent, Outcome};
use http_trace_tests::client::curl;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::Nginx;
use serde_json::Value;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);
/// How long before its end an agent may have ticked last.
const APART: Duration = Duration::from_secs(2);

/// Since when and until when nothing was traced, Unix seconds.
fn missed(outcome: &Outcome) -> Vec<(f64, f64)> {
    let of = |loss: &Value| {
        let lost = &loss["http_trace"]["lost"];
        let time = |name: &str| {
            let text = lost[name].as_str().expect("a time");
            let time: jiff::Timestamp = text.parse().expect("a time");
            time.as_nanosecond() as f64 / 1e9
        };
        (lost["where"] == "not_running").then(|| (time("since"), time("until")))
    };
    outcome.report.losses.iter().filter_map(of).collect()
}

fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs_f64()
}

#[test]
fn what_crossed_between_two_runs_is_reported() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let state = state.to_str().expect("a path");
    let url = format!("http://{}/index.html", address::SERVER_V4);
    let run = || {
        let begun = now();
        let agent = Agent::start(&pair.server, &["--state", state]).expect("the agent");
        let traces = now();
        curl(&pair.client, &[&url]).expect("curl");
        ([begun, traces], agent.stop().expect("an outcome"))
    };
    let (_, first) = run();
    assert_eq!(missed(&first), [], "nothing is known of a time before");
    assert_eq!(first.status.code(), Some(0));
    let ended = now();
    std::thread::sleep(2 * APART);
    curl(&pair.client, &[&url]).expect("curl");
    let ([begun, traces], second) = run();
    let missed = missed(&second);
    let [(since, until)] = missed[..] else { panic!("{missed:?}: {:?}", second.report.losses) };
    assert!(since < ended + 0.1 && since > ended - APART.as_secs_f64(), "{since} {ended}");
    assert!(until > begun && until < traces + 0.1, "{begun} {until} {traces}");
    assert_eq!(second.status.code(), Some(0), "{:?}", second.said);
    let told = |line: &String| line.contains("nothing was traced in the ");
    assert!(second.said.iter().any(told), "{:?}", second.said);
}

/// Even on a quiet host, the file says until when a run traced that was killed.
#[test]
fn since_when_after_a_run_that_was_killed() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let _nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let options = ["--state", state.to_str().expect("a path")];
    let often = [("HTTP_TRACE_STATE_INTERVAL", "100ms")];
    let first = Agent::start_with(&pair.server, &options, &often).expect("the agent");
    let url = format!("http://{}/index.html", address::SERVER_V4);
    curl(&pair.client, &[&url]).expect("curl");
    std::thread::sleep(4 * APART);
    let killed = now();
    first.kill().expect("killed");
    let second = Agent::start(&pair.server, &options).expect("the agent");
    let missed = missed(&second.stop().expect("an outcome"));
    let [(since, _)] = missed[..] else { panic!("{missed:?}") };
    // Ten intervals, and time to write on a busy host.
    let earliest = killed - 2.0 * APART.as_secs_f64();
    assert!(since > earliest && since < killed + 0.1, "{since} {killed}");
}
