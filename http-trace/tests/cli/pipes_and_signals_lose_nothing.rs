//! Captures on standard input, signals, and closed output pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::NGINX;
use crate::command::{http_trace, records, run};

/// Starts reading standard input and feeds it the start of a capture.
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

/// The start of a capture, and the number of responses in it that can be written before the end of the file.
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
    // Would hang if events were only written at the end of the pipe.
    for _ in 0..events {
        let line = lines.next().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap();
    }
    drop(stdin);
    child.wait().unwrap();
}

#[test]
fn a_signal_drains_what_was_read_though_the_pipe_is_silent() {
    let (bytes, events) = beginning_of_a_capture();
    for signal in ["-TERM", "-INT"] {
        let (mut child, stdin) = reading_stdin(&[], &bytes);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // These events show that the pipe has been read before the signal.
        let mut line = String::new();
        for _ in 0..events {
            line.clear();
            out.read_line(&mut line).unwrap();
        }
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = child.wait().unwrap();
        // Not everything was read, so the status is not 0.
        assert_eq!(status.code(), Some(1), "{signal}");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "{signal}");
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(err.contains(" responses ("), "{err}");
        drop(stdin);
    }
}

/// It waits for up to a minute otherwise, as the collector may come back.
#[test]
fn a_signal_ends_the_wait_for_a_collector_that_fails() {
    for took_some in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = format!("otlp:http://{}", listener.local_addr().unwrap());
        let mut child = http_trace(&["-r", NGINX, "-o", &collector, "--no-builtin-rules"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (asked, refused) = mpsc::channel();
        std::thread::spawn(move || {
            let first = took_some.then_some("200 OK");
            for answer in first.into_iter().chain(std::iter::repeat("503 Away")) {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let (mut reader, mut length, mut line) =
                    (BufReader::new(stream.try_clone().unwrap()), 0, String::new());
                while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                    let value = line.to_ascii_lowercase();
                    let value = value.strip_prefix("content-length:").map(|n| n.trim().parse());
                    length = value.and_then(Result::ok).unwrap_or(length);
                    line.clear();
                }
                let _ = reader.read_exact(&mut vec![0; length]);
                let head = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n");
                let _ = stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes());
                let _ = asked.send(answer);
            }
        });
        while refused.recv().unwrap() != "503 Away" {}
        let begun = Instant::now();
        let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let status = child.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        assert_eq!(status.code(), Some(1));
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert!(err.contains(": answered 503 Service Unavailable; up to "), "{err}");
        assert!(refused.try_iter().count() <= 3, "{err}");
    }
}

/// timeout(1) signals its child and then the child's process group: that must not lose what was read. A later
/// second signal ends the process even if nobody reads its output.
#[test]
fn signals_at_once_are_one_and_a_later_one_ends_it() {
    // A megabyte of events: more than pipe and queue can hold.
    const LONG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/detect/ab.pcap.gz");
    let signal = |child: &Child| {
        let id = child.id().to_string();
        let kill = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(kill.success());
    };
    let events = records(&run(&["-r", LONG, "-o", "json", "--no-builtin-rules"]).out).len();
    for again in [false, true] {
        let mut child = http_trace(&["-r", LONG, "-o", "json", "--no-builtin-rules"])
            .env("HTTP_TRACE_OUTPUT_QUEUE", "64KiB")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        // A pipe holds 64 KiB; the rest is written after the signal.
        while rustix::io::ioctl_fionread(&out).unwrap() < 48 << 10 {
            std::thread::sleep(Duration::from_millis(10));
        }
        signal(&child);
        std::thread::sleep(Duration::from_millis(50));
        signal(&child);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(child.try_wait().unwrap(), None, "it waits for the reader");
        if again {
            signal(&child);
            assert_eq!(child.wait().unwrap().code(), Some(130));
            continue;
        }
        let mut written = String::new();
        out.read_to_string(&mut written).unwrap();
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(" responses ("), "{err}");
        let written = records(&written).len();
        assert!((1..=events).contains(&written), "{written} of {events}");
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
    assert!(!err.to_lowercase().contains("pipe") && !err.contains("panicked"), "{err}");
}

/// Rules that raise an alert at the first response of any status, and a broken file.
/// The other outputs get everything.
#[test]
fn an_output_that_is_closed_ends_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let to_file = format!("json:{}", file.display());
    let (mut child, mut stdin) = reading_stdin(&["-o", &to_file], &[]);
    drop(child.stdout.take());
    let bytes = std::fs::read(NGINX).unwrap();
    stdin.write_all(&bytes).unwrap();
    drop(stdin);
    let mut said = String::new();
    let mut err = child.stderr.take().unwrap();
    err.read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    let written = std::fs::read_to_string(&file).unwrap();
    let alone = run(&["-r", NGINX, "-o", "json", "--no-builtin-rules"]).out;
    assert_eq!(records(&written).len(), records(&alone).len(), "{said}");
}

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
    let kill = Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    // While the pipe is silent: the alert of the removed rule ends, that of the remaining rule does not.
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
    let said = "rules reloaded: 3 active, 2 unchanged, 1 new, 1 removed or changed (1 alert ended)";
    assert!(err.contains(said), "{err}");
    assert!(err.contains("broken.yml:3"), "{err}");
    assert!(err.contains("fifo.yml: it is not a regular file"), "{err}");
    let stays = "breaks.yml: the rules last loaded from it stay active";
    assert!(err.contains("breaks.yml:3") && err.contains(stays), "{err}");
    assert!(!err.contains("broken.yml: the rules"), "{err}");
    for line in out {
        let record: Value = serde_json::from_str(&line.unwrap()).unwrap();
        for state in ["opened", "ended"] {
            assert_ne!(record["http_trace"]["alert"]["state"], state, "{record}");
        }
    }
}
