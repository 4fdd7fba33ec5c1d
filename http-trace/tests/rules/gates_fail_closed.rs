//! With `--fail-on-alert`, a run that cannot establish that there was no alert exits with 2 and says why.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};

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
    fs::write(&bad, GOOD.replace("condition: selection", "condition: nothing")).unwrap();
    let missing = path("missing.yml");
    let (empty, comments) = (path("empty"), path("comments.yml"));
    fs::create_dir(&empty).unwrap();
    fs::write(&comments, "# title: none\n---\n").unwrap();
    let (linked, deep) = (path("linked"), path("deep"));
    fs::create_dir(&linked).unwrap();
    std::os::unix::fs::symlink(&empty, format!("{linked}/more")).unwrap();
    fs::create_dir_all(format!("{deep}{}", "/d".repeat(17))).unwrap();
    let without = "a given file or folder has no rules";
    for (options, why) in [
        (vec!["--rules", &*empty], without),
        (vec!["--rules", &*good, "--rules", &*empty], without),
        (vec!["--rules", &*comments], without),
        (vec!["--rules", &*linked], "some rules do not load"),
        (vec!["--rules", &*deep], "some rules do not load"),
        (vec!["--disable-rule", "*"], "no rule is active"),
        (vec!["--rules", &*good, "--rules", &*bad], "some rules do not load"),
        (vec!["--rules", &*missing], "some rules do not load"),
        (vec!["--disable-rule", "http-path-scam"], "a given rule id matches no rule"),
        (vec!["--no-builtin-rules"], "no rule is active"),
    ] {
        let arguments = [&["-r", &*capture, "-o", "json"], &GATE[..], &options].concat();
        let ran = run(&arguments);
        assert_eq!(ran.status, 2, "{options:?}: {}", ran.err);
        assert!(ran.err.contains(why), "{options:?}: {}", ran.err);
        assert!(ran.err.contains("--fail-on-alert"), "{options:?}: {}", ran.err);
        let ran = run(&[&["-r", &*capture, "-o", "json"], &options[..]].concat());
        assert_ne!(ran.status, 2, "without a gate it runs: {}", ran.err);
    }
    // Selecting events by a nonexistent rule would write nothing, with or without a gate.
    for gate in [&GATE[..], &[]] {
        let options = ["-r", &*capture, "-o", "json", "--rule", "http-path-scam"];
        let ran = run(&[&options, gate].concat());
        assert_eq!(ran.status, 2, "{}", ran.err);
        assert!(ran.err.contains("did you mean 'http-path-scan'?"), "{}", ran.err);
    }
    let ran = run(&[&["-r", &*capture, "-o", "json", "--rules", &good], &GATE[..]].concat());
    assert_eq!(ran.status, 0, "{}", ran.err);
}

/// A gate reading standard input, past its start line; signal handlers are installed before that is printed.
fn begin(arguments: &[&str]) -> (Child, ChildStdin, BufReader<ChildStderr>) {
    let mut child = http_trace(arguments)
        .args(GATE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut String::new()).unwrap();
    (child, stdin, err)
}

fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    let kill = kill.args([name, &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

fn line(number: usize) -> String {
    format!(
        "10.0.0.1 - - [24/Nov/2026:10:00:00 +0000] \"GET /{number} HTTP/1.1\" 200 9 \"-\" \"a/1\"\n"
    )
}

#[test]
fn a_gate_that_is_interrupted_does_not_open() {
    for (command, input) in [
        (&["-r", "-", "-o", "json"][..], capture_of_errors(0..1)),
        (&["detect"], line(0).into_bytes()),
    ] {
        let (mut child, mut stdin, mut err) = begin(command);
        stdin.write_all(&input).unwrap();
        stdin.flush().unwrap();
        signal(&child, "-TERM");
        assert_eq!(child.wait().unwrap().code(), Some(2), "{command:?}");
        let mut rest = String::new();
        err.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("reading was interrupted"), "{rest}");
    }
}

/// Whoever reads the output and leaves, such as `head`, keeps the rest from being read.
#[test]
fn a_gate_whose_output_is_closed_does_not_open() {
    let (mut child, mut stdin, mut err) = begin(&["detect", "--events", "-o", "json"]);
    drop(child.stdout.take());
    // Until reading ends, which closes the pipe.
    for number in 0..1_000_000 {
        if stdin.write_all(line(number).as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let mut rest = String::new();
    err.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("the output was closed"), "{rest}");
}

#[test]
fn a_gate_whose_rules_are_broken_by_a_reload_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("r.yml");
    for (text, why) in [
        ("title: [", "some rules do not load"),
        ("# none\n", "a given file or folder has no rules"),
    ] {
        fs::write(&rules, GOOD).unwrap();
        let (mut child, mut stdin, mut err) =
            begin(&["detect", "--rules", rules.to_str().unwrap()]);
        fs::write(&rules, text).unwrap();
        signal(&child, "-HUP");
        let mut said = String::new();
        while !["rules reloaded", "rules read again"].iter().any(|done| said.contains(done)) {
            assert_ne!(err.read_line(&mut said).unwrap(), 0, "{said}");
        }
        stdin.write_all(line(0).as_bytes()).unwrap();
        drop(stdin);
        err.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
}

/// Without a gate too: what was not read of a file is missing.
#[test]
fn a_file_that_is_not_read_to_its_end_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    fs::write(&log, (0..200_000).map(line).collect::<String>()).unwrap();
    let mut child = http_trace(&["detect", log.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    err.read_line(&mut String::new()).unwrap();
    signal(&child, "-TERM");
    let mut said = String::new();
    err.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("not all of the input was read"), "{said}");
}
