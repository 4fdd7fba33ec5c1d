//! Captures of scanners and honest loads raise the alerts in `captures/detect/labels.toml`, and no others.
//! `detect_eval --record` recorded them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use http_trace_tests::agent::{binary, replay};
use http_trace_tests::eval::heard::Heard;
use http_trace_tests::seen::Report;
use serde::Deserialize;
use serde_json::Value;

/// Expectations for one capture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    /// All rules with an alert above informational.
    raises: BTreeSet<String>,
    /// Rules with an informational alert, at least.
    #[serde(default)]
    informs: BTreeSet<String>,
    /// If `raises` is not empty: limit of distinct requests until the first of them.
    #[serde(default)]
    within: usize,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures/detect")
}

fn labels() -> BTreeMap<String, Label> {
    let text = std::fs::read_to_string(folder().join("labels.toml")).expect("labels.toml");
    toml::from_str(&text).expect("labels.toml")
}

#[test]
fn every_capture_has_a_label() {
    let files = std::fs::read_dir(folder()).expect("the folder");
    let names = files.map(|file| file.expect("an entry").file_name());
    let names: BTreeSet<String> = names
        .filter_map(|name| name.to_str()?.strip_suffix(".pcap.gz").map(str::to_owned))
        .collect();
    let labels: BTreeSet<String> = labels().into_keys().collect();
    assert_eq!(names, labels);
}

#[test]
fn labelled_captures_raise_what_they_should() {
    hold(&[]);
}

#[test]
fn and_so_they_do_behind_the_kernels_filter() {
    hold(&["--kernel-filter"]);
}

fn hold(options: &[&str]) {
    let mut wrong = Vec::new();
    for (name, label) in labels() {
        let file = folder().join(format!("{name}.pcap.gz"));
        let (report, _) = replay(&[&file], options).expect("replay");
        assert!(!report.responses.is_empty(), "{name} holds no response");
        let heard = Heard::of(&report).expect("alerts that can be read");
        let raised: BTreeSet<String> = heard.raised().into_iter().map(str::to_owned).collect();
        if raised != label.raises {
            wrong.push(format!("{name} raised {raised:?}, not {:?}", label.raises));
        }
        let informed = heard.alerts.iter().filter(|alert| alert.severity == 0);
        let informed: BTreeSet<String> = informed.map(|alert| alert.rule.clone()).collect();
        if !informed.is_superset(&label.informs) {
            wrong.push(format!("{name} told {informed:?}, not all of {:?}", label.informs));
        }
        let first = heard.alerts.iter().filter(|alert| alert.severity > 0);
        let first = first.map(|alert| alert.distinct).min().unwrap_or(0);
        if first > label.within {
            wrong.push(format!("{name} raised its first alert after {first} requests"));
        }
    }
    assert!(wrong.is_empty(), "{options:?}:\n{}", wrong.join("\n"));
}

/// The json output of a run raises the same alerts as the run.
#[test]
fn and_so_do_their_recorded_events() {
    for name in labels().into_keys() {
        let file = folder().join(format!("{name}.pcap.gz"));
        let options = ["--request-headers", "all"];
        let (report, output) = replay(&[&file], &options).expect("replay");
        let recording = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(recording.path(), &output.stdout).expect("written");
        let mut detect = Command::new(binary().expect("a binary"));
        detect.arg("detect").arg(recording.path());
        let again = detect.args(["-o", "json"]).output().expect("detect");
        assert!(again.status.success(), "{name}");
        let again = Report::read(&again.stdout).expect("alerts");
        assert_eq!(alerts(&again), alerts(&report), "{name}");
    }
}

/// Time, rule, reason and entities of each alert.
fn alerts(report: &Report) -> Vec<[&Value; 4]> {
    const PARTS: [&str; 4] = ["@timestamp", "rule", "event", "source"];
    let alerts = report.alerts.iter();
    alerts.map(|alert| PARTS.map(|part| &alert[part])).collect()
}
