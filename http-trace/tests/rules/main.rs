//! Tests of the commands that use rules: `rules`, `detect` and `--state`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod an_attack_that_is_answered_outweighs_refusals;
#[path = "../common/command.rs"]
mod command;
mod counts_are_kept_in_the_state_file;
#[path = "../common/errors.rs"]
mod errors;
mod excuses_are_as_narrow_as_their_reason;
mod faulty_rules_are_named_and_the_rest_load;
mod gates_fail_closed;
mod guessing_at_other_doors_is_told;
mod interfaces_inside_are_told_from_attacks;
mod loads;
mod lookups_of_ordinary_tools_are_no_scan;
mod ordinary_targets_are_no_attacks;
mod other_forms_of_attacks_are_told;
mod programs_that_are_refused_are_no_attackers;
mod reading_back_raises_no_new_alert;
mod recorded_events_raise_the_alerts_of_the_capture;
mod routine_lines_of_logs_are_no_attacks;
mod rules_are_listed_explained_and_tested;
mod slow_clients_are_told_from_servers_that_hang;
mod what_is_gone_is_no_scan;
mod what_is_repeated_is_no_guess;
mod what_scanners_ask_for_is_named;
mod who_has_signed_in_is_no_attacker;

use std::collections::BTreeMap;

use serde_json::Value;

/// A valid rule, of which tests replace parts.
const GOOD: &str = "\
title: Not found
name: NAME
logsource:
  category: webserver
detection:
  selection:
    sc-status: 404
  condition: selection
level: low
";

/// A line of an access log (combined format): number of a public client, second, request and result.
fn log_line(
    client: usize,
    second: usize,
    request: (&str, &str),
    status: u16,
    agent: &str,
) -> String {
    let (method, target) = request;
    let (minute, second) = (second / 60 % 60, second % 60);
    format!(
        "198.51.{}.{} - - [22/Nov/2026:10:{minute:02}:{second:02} +0000] \"{method} {target} HTTP/1.1\" {status} 50 \
         \"-\" \"{agent}\"\n",
        client / 250,
        client % 250
    )
}

/// The rules that opened an alert about each client, with their severity.
fn alerts_of_log(log: &str) -> BTreeMap<usize, Vec<(String, u64)>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    std::fs::write(&file, log).unwrap();
    let ran = command::run(&["detect", "-o", "json", file.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let mut alerts: BTreeMap<usize, Vec<(String, u64)>> = BTreeMap::new();
    for alert in command::records(&ran.out) {
        if alert["http_trace"]["alert"]["state"] != "opened" {
            continue;
        }
        let ip = alert["http_trace"]["alert"]["clients"][0]["value"].as_str().unwrap();
        let mut parts = ip.split('.').skip(2).map(|part| part.parse::<usize>().unwrap());
        let client = parts.next().unwrap() * 250 + parts.next().unwrap();
        let rule = alert["rule"]["id"].as_str().unwrap().to_owned();
        let severity = alert["event"]["severity"].as_u64().unwrap();
        alerts.entry(client).or_default().push((rule, severity));
    }
    alerts
}

/// The alerts above informational that recorded events open, by rule.
fn alerts_of_events(events: &[Value]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let lines = events.iter().map(|event| format!("{event}\n"));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let ran = command::run(&["detect", "-o", "json", file.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let alerts = command::records(&ran.out);
    let opened = alerts.iter().filter(|alert| {
        alert["http_trace"]["alert"]["state"] == "opened"
            && alert["event"]["severity"].as_u64() > Some(0)
    });
    opened.map(|alert| alert["rule"]["id"].as_str().unwrap().to_owned()).collect()
}
