//! The command as a person types it: what it prints, what it says, and how it ends.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Recorded from nginx: 49 responses, among them 404s and a 103.
const NGINX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/nginx.pcap");

fn http_trace(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
    command
        .args(arguments)
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HTTP_TRACE_")) {
        command.env_remove(name);
    }
    command
}

struct Ran {
    status: i32,
    out: String,
    err: String,
}

fn ran(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(arguments: &[&str]) -> Ran {
    ran(&mut http_trace(arguments))
}

fn records(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn statuses(text: &str) -> Vec<u64> {
    records(text)
        .iter()
        .filter_map(|r| r["http"]["response"]["status_code"].as_u64())
        .collect()
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    let table: &[(&[&str], &str)] = &[
        (&["--nonsense"], "unexpected argument '--nonsense'"),
        (
            &["-r", NGINX, "--client", "10.0.0.0/99"],
            "--client '10.0.0.0/99': want a network such as",
        ),
        (
            &["-r", NGINX, "--status", "6"],
            "--status '6': want a code from 100 to 999",
        ),
        (
            &["-r", NGINX, "-p", "http"],
            "--port 'http': want a port from 1 to 65535",
        ),
        (
            &["-r", NGINX, "-o", "yaml"],
            "--output 'yaml': want json, pretty, tracee or csv",
        ),
        (
            &["-r", NGINX, "-c", "none"],
            "--count 'none': want a whole number",
        ),
        (
            &["-r", NGINX, "--config", "/nonexistent.toml"],
            "cannot read the configuration /nonexistent.toml",
        ),
        (
            &["-r", NGINX, "-o", "json:/nonexistent/x"],
            "cannot write to /nonexistent/x",
        ),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
        (&["-r", ""], "--read '': the value is empty"),
        (
            &[NGINX],
            "is no command: captures are read by `http-trace -r FILE`",
        ),
        (&["/nonexistent.pcap"], "unrecognized subcommand"),
        (
            &["-r", NGINX, "--client", ""],
            "--client '': the value is empty",
        ),
        (
            &[
                "-r",
                NGINX,
                "--alerts-to",
                "http://me:secret@127.0.0.1:65536/x",
            ],
            "--alerts-to 'http://127.0.0.1:65536/x': want a URL with a host, and a port from 1",
        ),
    ];
    for (arguments, expected) in table {
        let ran = run(arguments);
        assert_eq!(ran.status, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

/// The first alert may be days away.
#[cfg(unix)]
#[test]
fn a_program_for_alerts_that_is_not_there_is_told_before_anything_is_read() {
    let ran = run(&[
        "-r",
        NGINX,
        "--alerts-to",
        "command:/no/such/program secret",
    ]);
    assert_eq!((ran.status, &*ran.out), (2, ""), "{}", ran.err);
    assert_eq!(
        ran.err,
        "http-trace: cannot write to command:/no/such/program: there is no program \
         /no/such/program; give the path of one that is there\n"
    );
}

#[test]
fn a_file_that_is_missing_or_no_capture_ends_with_1_after_the_others_were_read() {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (bad, expected) in [
        (
            "/nonexistent.pcap",
            "http-trace: /nonexistent.pcap cannot be opened: ",
        ),
        (text, "Cargo.toml is no capture: "),
    ] {
        let ran = run(&["-r", NGINX, bad, "-o", "json"]);
        assert_eq!(ran.status, 1, "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
        assert_eq!(statuses(&ran.out).len(), 48, "{}", ran.err);
    }
}

#[test]
fn a_cut_capture_gives_all_it_holds_and_then_its_byte() {
    let whole = std::fs::read(NGINX).unwrap();
    let mut cut = tempfile::NamedTempFile::new().unwrap();
    cut.write_all(&whole[..whole.len() / 2]).unwrap();
    let path = cut.path().to_str().unwrap();
    let ran = run(&["-r", path, "-o", "json"]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.err.contains(&format!("{path} is cut: at byte ")),
        "{}",
        ran.err
    );
    assert!(statuses(&ran.out).len() > 10);
}

#[test]
fn the_end_tells_what_was_seen_and_quiet_tells_nothing() {
    let ran_loud = run(&["-r", NGINX]);
    assert_eq!(ran_loud.status, 0);
    assert!(
        ran_loud.err.starts_with("http-trace: reading "),
        "{}",
        ran_loud.err
    );
    assert!(
        ran_loud
            .err
            .contains("48 responses (2xx 26, 3xx 3, 4xx 16, 5xx 3), 2 informational heads"),
        "{}",
        ran_loud.err
    );
    let quiet = run(&["-r", NGINX, "-q"]);
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""));
    assert_eq!(quiet.out, ran_loud.out);
}

#[test]
fn the_start_line_says_what_is_limited() {
    let ran = run(&[
        "-r",
        NGINX,
        "-p",
        "80,8000-8099",
        "--client",
        "!10.9.0.0/16",
        "-i",
        "lo",
    ]);
    let first = ran.err.lines().next().unwrap();
    assert!(
        first.ends_with("; only ports 80,8000-8099; clients !10.9.0.0/16"),
        "{first}"
    );
    assert!(
        ran.err.contains("without effect here: --interface"),
        "{}",
        ran.err
    );
    assert_eq!(statuses(&ran.out).len(), 48);
    let none = run(&["-r", NGINX, "-p", "81"]);
    assert_eq!((none.status, none.out.as_str()), (0, ""));
}

#[test]
fn filters_limit_what_is_written() {
    let ran = run(&["-r", NGINX, "--status", "404,5xx", "--method", "!POST"]);
    let got = statuses(&ran.out);
    assert!(
        !got.is_empty() && got.iter().all(|s| *s == 404 || (500..600).contains(s)),
        "{got:?}"
    );
    // A word alone, which nginx answers; the filter does not take it for a request.
    let ran = run(&["-r", NGINX, "--kernel-filter", "--path", "!*"]);
    assert_eq!(
        statuses(&ran.out).len(),
        1,
        "only the response without its request"
    );
}

#[test]
fn count_stops_after_that_many_responses() {
    let ran = run(&["-r", NGINX, "-c", "3", "-o", "json"]);
    assert_eq!((ran.status, statuses(&ran.out).len()), (0, 3));
    let ran = run(&["-r", NGINX, "-c", "2", "--status", "404", "-o", "json"]);
    assert_eq!((ran.status, statuses(&ran.out)), (0, vec![404, 404]));
}

#[test]
fn duration_is_capture_time() {
    let all = records(&run(&["-r", NGINX]).out).len();
    let some = records(&run(&["-r", NGINX, "--duration", "5ms"]).out).len();
    assert!(some > 0 && some < all, "{some} of {all}");
    assert_eq!(
        records(&run(&["-r", NGINX, "--duration", "1h"]).out).len(),
        all
    );
}

#[test]
fn several_outputs_and_headers_that_are_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.jsonl");
    let json = format!("json:{}", file.display());
    let ran = run(&[
        "-r",
        NGINX,
        "-o",
        "pretty",
        "-o",
        &json,
        "-H",
        "Server,Date",
        "--request-headers",
        "host",
    ]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let records = records(&std::fs::read_to_string(&file).unwrap());
    // Alerts about a server's posture are for reports, not for a person.
    let shown = records.iter().filter(|r| r["event"]["kind"] != "alert");
    assert_eq!(shown.count(), ran.out.lines().count());
    assert!(ran.out.contains("  404  GET      "), "{}", ran.out);
    for record in records.iter().filter(|r| r["http"]["response"].is_object()) {
        let names: Vec<&String> = record["http"]["response"]["headers"]
            .as_object()
            .unwrap()
            .keys()
            .collect();
        assert!(
            names.iter().all(|n| *n == "server" || *n == "date"),
            "{names:?}"
        );
    }
    assert!(
        records
            .iter()
            .any(|r| r["http"]["request"]["headers"]["host"][0].is_string())
    );
    let none = run(&["-r", NGINX, "-H", "none"]);
    assert!(!none.out.contains("\"headers\""));
}

#[test]
fn the_environment_and_the_file_hold_every_option() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"status = [404]\ncount = 5\noutput = 'json'\nquiet = true\n")
        .unwrap();
    let path = file.path().to_str().unwrap();
    let ran_file = run(&["-r", NGINX, "--config", path]);
    assert_eq!((ran_file.status, ran_file.err.as_str()), (0, ""));
    assert_eq!(statuses(&ran_file.out), [404; 5]);
    let ran_both = ran(http_trace(&["-r", NGINX, "--config", path]).env("HTTP_TRACE_COUNT", "2"));
    assert_eq!(statuses(&ran_both.out), [404; 2]);
    let ran_all =
        ran(http_trace(&["-r", NGINX, "--config", path, "-c", "1"]).env("HTTP_TRACE_COUNT", "2"));
    assert_eq!(statuses(&ran_all.out), [404; 1]);
    let wrong = ran(http_trace(&["-r", NGINX]).env("HTTP_TRACE_STATUS", "9"));
    assert_eq!(wrong.status, 2);
    assert!(
        wrong.err.contains("HTTP_TRACE_STATUS '9': want a code"),
        "{}",
        wrong.err
    );
    let mut bad = tempfile::NamedTempFile::new().unwrap();
    bad.write_all(b"port = 8080\nstauts = 404\n").unwrap();
    let wrong = run(&["-r", NGINX, "--config", bad.path().to_str().unwrap()]);
    assert_eq!(wrong.status, 2);
    assert!(
        wrong
            .err
            .contains("unknown key 'stauts'; did you mean 'status'?"),
        "{}",
        wrong.err
    );
}

#[test]
fn secrets_are_redacted_unless_asked_and_asking_is_told() {
    let node = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/node.pcap");
    let arguments = ["-r", node, "--request-headers", "all"];
    let redacted = run(&arguments);
    assert!(redacted.out.contains("‹redacted:"), "{}", redacted.out);
    assert!(!redacted.err.contains("secrets"));
    let shown = ran(http_trace(&arguments).arg("--show-secrets"));
    assert!(!shown.out.contains("‹redacted:"));
    assert!(shown.err.contains("secrets are shown"), "{}", shown.err);
}

#[test]
fn colours_are_for_terminals_or_on_request() {
    let escapes = |arguments: &[&str]| {
        let mut all = vec!["-r", NGINX, "-q", "-o", "pretty"];
        all.extend(arguments);
        run(&all).out.contains('\u{1b}')
    };
    assert!(!escapes(&[]));
    assert!(escapes(&["--color", "always"]));
    assert!(!escapes(&["--color", "never"]));
}

#[test]
fn completions_manual_and_schema() {
    for (arguments, expected) in [
        (&["completions", "bash"][..], "complete -F"),
        (&["completions", "zsh"], "#compdef http-trace"),
        (&["man"], ".TH http-trace 1"),
        (&["man"], "\\-\\-state"),
        (&["completions", "fish"], "-l state"),
        (&["schema"], "https://json-schema.org/draft/2020-12/schema"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let ran = run(arguments);
        assert_eq!(ran.status, 0, "{arguments:?}: {}", ran.err);
        assert!(ran.out.contains(expected), "{arguments:?}");
    }
    let schema: Value = serde_json::from_str(&run(&["schema"]).out).unwrap();
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    for record in records(&run(&["-r", NGINX, "--request-headers", "all"]).out) {
        let errors: Vec<String> = validator
            .iter_errors(&record)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?} in {record}");
    }
}

/// Starts reading standard input and feeds it the beginning of a capture.
fn reading_stdin(arguments: &[&str], bytes: &[u8]) -> (Child, std::process::ChildStdin) {
    let mut child = http_trace(&["-r", "-", "-o", "json", "--no-builtin-rules"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(bytes).unwrap();
    stdin.flush().unwrap();
    (child, stdin)
}

/// The first bytes of a capture, and how many responses they hold, none of which needs the end of
/// the file to be written.
fn beginning_of_a_capture() -> (Vec<u8>, usize) {
    let mut bytes = std::fs::read(NGINX).unwrap();
    bytes.truncate(20_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("beginning.pcap");
    std::fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();
    let out = run(&["-r", file, "-o", "json", "--no-builtin-rules"]).out;
    let events = records(&out);
    let complete = |event: &Value| event["http_trace"]["complete"] == true;
    assert!(events.len() >= 2 && events.iter().all(complete), "{out}");
    (bytes, events.len())
}

#[test]
fn a_pipe_that_stays_open_prints_what_it_holds() {
    let (bytes, events) = beginning_of_a_capture();
    let (mut child, stdin) = reading_stdin(&[], &bytes);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Would hang for good if the events waited for the pipe's end.
    for _ in 0..events {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap();
    }
    drop(stdin);
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn a_signal_drains_what_was_read_though_the_pipe_is_silent() {
    let (bytes, events) = beginning_of_a_capture();
    for signal in ["-TERM", "-INT"] {
        let (mut child, stdin) = reading_stdin(&[], &bytes);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // The signal must not come before the pipe was read: these events say that it was.
        let mut line = String::new();
        for _ in 0..events {
            line.clear();
            out.read_line(&mut line).unwrap();
        }
        let kill = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(kill.success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "{signal}");
        let mut err = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        assert!(err.contains(" responses ("), "{err}");
        drop(stdin);
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let mut child = http_trace(&["-r", NGINX, "-o", "json", "--line-buffered"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        !err.to_lowercase().contains("pipe") && !err.contains("panicked"),
        "{err}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_ends_with_1() {
    let ran = run(&["-r", NGINX, "-o", "json:/dev/full"]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.err
            .contains("cannot write to /dev/full: No space left on device"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("; 0 events written\n"), "{}", ran.err);
}

#[cfg(target_os = "linux")]
#[test]
fn what_an_output_lacks_is_said_of_that_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let good = format!("json:{}", file.display());
    let ran = run(&["-r", NGINX, "-o", "json:/dev/full", "-o", &good]);
    assert_eq!(ran.status, 1);
    let text = std::fs::read_to_string(&file).unwrap();
    // Reading may end as soon as it is known that one fails.
    let events = text.matches(r#""kind":"event""#).count();
    let lacks = format!("device (os error 28); {events} event");
    assert!(events > 0 && ran.err.contains(&lacks), "{}", ran.err);
    let has = format!("; {events} event");
    assert!(
        ran.err
            .lines()
            .any(|l| l.contains(&has) && l.ends_with(" written")),
        "{}",
        ran.err
    );
}

#[test]
fn without_captures_a_reader_says_what_it_is() {
    if cfg!(feature = "live") {
        return;
    }
    let ran = run(&["-i", "lo"]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.err.contains("this build only reads captures"),
        "{}",
        ran.err
    );
}

/// The filter in front of the judge may change how records are cut, how copies are counted and
/// when a body is known to have ended, and nothing else.
#[test]
fn the_kernel_filter_in_front_gives_the_same_events() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures");
    for name in ["nginx", "nginx-v6", "node", "python"] {
        let path = format!("{folder}/{name}.pcap");
        let events = |more: &[&str]| {
            let mut arguments = vec!["-r", &path, "-o", "json"];
            arguments.extend(more);
            let ran = run(&arguments);
            assert_eq!(ran.status, 0, "{name}: {}", ran.err);
            let mut records = records(&ran.out);
            // Of a response to what is no request, the length of the body is in doubt, and a word alone
            // is one to the judge alone.
            records.retain(|r| {
                r["url"]["original"]
                    .as_str()
                    .is_some_and(|url| !url.is_empty())
            });
            for record in &mut records {
                for field in ["packet_len", "retransmissions", "ttlb_ns"] {
                    record["http_trace"].as_object_mut().unwrap().remove(field);
                }
                for field in ["end", "duration"] {
                    record["event"].as_object_mut().unwrap().remove(field);
                }
            }
            records
        };
        let (plain, filtered) = (events(&[]), events(&["--kernel-filter"]));
        assert_eq!(plain.len(), filtered.len(), "{name}");
        for (plain, filtered) in plain.iter().zip(&filtered) {
            assert_eq!(plain, filtered, "{name}");
        }
    }
}

/// Rules that raise an alert at the first response of any status, and one file that is broken.
#[cfg(unix)]
#[test]
fn sighup_reads_the_rules_again_and_a_broken_file_stops_nothing() {
    let rule = |name: &str, status: u16| {
        format!(
            "title: {name}\nname: {name}\nlogsource: {{category: webserver}}\n\
             detection: {{s: {{sc-status: {status}}}, condition: s}}\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("stays.yml", &rule("stays", 404));
    put("goes.yml", &rule("goes", 200));
    put("breaks.yml", &rule("breaks", 404));
    let (bytes, events) = beginning_of_a_capture();
    let rules = folder.path().to_str().unwrap();
    let arguments = ["--rules", rules];
    let (mut child, stdin) = reading_stdin(&arguments, &bytes);
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&out.next().unwrap().unwrap()).unwrap() };
    let mut responses = 0;
    while responses < events {
        responses += usize::from(next()["event"]["kind"] != "alert");
    }
    std::fs::remove_file(folder.path().join("goes.yml")).unwrap();
    put("broken.yml", "title: broken\ndetection: {s: [");
    put("breaks.yml", "title: broken\ndetection: {s: [");
    let fifo = folder.path().join("fifo.yml");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    put("new.yml", &rule("new", 500));
    let kill = Command::new("kill")
        .args(["-HUP", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(kill.success());
    // While the pipe is silent: the rule that is gone ends its alert, that which stays does not.
    let ended = loop {
        let record = next();
        if record["http_trace"]["alert"]["state"] == "ended" {
            break record;
        }
    };
    assert_eq!(ended["rule"]["id"], "goes");
    assert!(child.try_wait().unwrap().is_none(), "it goes on");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(1), "the pipe is cut");
    let mut err = String::new();
    let mut from = child.stderr.take().unwrap();
    from.read_to_string(&mut err).unwrap();
    let said =
        "rules reloaded: 3 at work, 2 unchanged, 1 new, 1 removed or changed (1 alert ended)";
    assert!(err.contains(said), "{err}");
    assert!(err.contains("broken.yml:3"), "{err}");
    assert!(err.contains("fifo.yml: it is no regular file"), "{err}");
    let stays = "breaks.yml: the rules last loaded from it stay at work";
    assert!(err.contains("breaks.yml:3") && err.contains(stays), "{err}");
    assert!(!err.contains("broken.yml: the rules"), "{err}");
    for line in out {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        for state in ["opened", "ended"] {
            assert_ne!(record["http_trace"]["alert"]["state"], state, "{record}");
        }
    }
}

/// A name that is no text was refused before it was looked at.
#[cfg(target_os = "linux")]
#[test]
fn a_captures_name_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder
        .path()
        .join(std::ffi::OsStr::from_bytes(b"caf\xe9 1.pcap"));
    std::fs::copy(NGINX, &path).unwrap();
    let ran = ran(http_trace(&["-o", "json", "-r"]).arg(&path));
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(
        statuses(&ran.out),
        statuses(&run(&["-o", "json", "-r", NGINX]).out)
    );
}
