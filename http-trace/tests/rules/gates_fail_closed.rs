//! With `--fail-on-alert`, a run that cannot establish that there was no alert exits with 2 and says why.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::GOOD;
use crate::command::{http_trace, run};
use crate::errors::capture_of_errors;

const GATE: [&str; 2] = ["--fail-on-alert", "low"];

#[test]
fn a_gate_whose_rules_are_not_all_at_work_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (capture, good, bad) = (path("c.pcap"), path("good.yml"), path("bad.yml"));
    fs::write(&capture, capture_of_errors(0..1)).unwrap();
    fs::write(&good, GOOD.replace("404", "500")).unwrap();
    fs::write(
        &bad,
        GOOD.replace("condition: selection", "condition: nothing"),
    )
    .unwrap();
    let missing = path("missing.yml");
    for (options, why) in [
        (
            vec!["--rules", &*good, "--rules", &*bad],
            "some rules do not load",
        ),
        (vec!["--rules", &*missing], "some rules do not load"),
        (
            vec!["--disable-rule", "http-path-scam"],
            "a given rule id matches no rule",
        ),
        (vec!["--no-builtin-rules"], "no rule is active"),
    ] {
        let arguments = [&["-r", &*capture, "-o", "json"], &GATE[..], &options].concat();
        let ran = run(&arguments);
        assert_eq!(ran.status, 2, "{options:?}: {}", ran.err);
        assert!(ran.err.contains(why), "{options:?}: {}", ran.err);
        assert!(
            ran.err.contains("--fail-on-alert"),
            "{options:?}: {}",
            ran.err
        );
        let ran = run(&[&["-r", &*capture, "-o", "json"], &options[..]].concat());
        assert_ne!(ran.status, 2, "without a gate it runs: {}", ran.err);
    }
    // Selecting events by a nonexistent rule would write nothing, with or without a gate.
    for gate in [&GATE[..], &[]] {
        let options = ["-r", &*capture, "-o", "json", "--rule", "http-path-scam"];
        let ran = run(&[&options, gate].concat());
        assert_eq!(ran.status, 2, "{}", ran.err);
        assert!(
            ran.err.contains("did you mean 'http-path-scan'?"),
            "{}",
            ran.err
        );
    }
    let ran = run(&[
        &["-r", &*capture, "-o", "json", "--rules", &good],
        &GATE[..],
    ]
    .concat());
    assert_eq!(ran.status, 0, "{}", ran.err);
}

#[test]
fn a_gate_that_is_interrupted_does_not_open() {
    let mut child = http_trace(&["-r", "-", "-o", "json"])
        .args(GATE)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&capture_of_errors(0..1)).unwrap();
    stdin.flush().unwrap();
    // The start line is printed after the signal handlers are installed.
    let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut err, &mut line).unwrap();
    let kill = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut err, &mut rest).unwrap();
    assert!(rest.contains("interrupted"), "{line}{rest}");
    drop(stdin);
}
