//! `http-trace detect` on recorded events raises the same alerts as the capture.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use http_trace_testkit::files::gzip;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::command::{http_trace, ran, records, run};
use crate::errors::{alerts, capture_of_errors};

const ERRORS: u32 = 350;

/// Our own json of [`capture_of_errors`], from a run over the capture.
fn own_json(folder: &Path) -> String {
    let capture = folder.join("c.pcap");
    fs::write(&capture, capture_of_errors(0..ERRORS)).unwrap();
    let ran = run(&["-r", capture.to_str().unwrap(), "-o", "json"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    ran.out
}

/// The lines that are events.
fn events_of(json: &str) -> String {
    let events = json.lines().filter(|line| line.contains("\"kind\":\"event\""));
    events.map(|line| format!("{line}\n")).collect()
}

fn zeek_json() -> String {
    let mut out = String::new();
    for n in 0..ERRORS {
        let _ = writeln!(
            out,
            r#"{{"ts":{}.5,"uid":"C{n}","id.orig_h":"10.1.2.3","id.orig_p":50000,"id.resp_h":"10.9.9.9","id.resp_p":80,"method":"GET","host":"shop.example","uri":"/missing/{n}","version":"1.1","status_code":404,"status_msg":"Not Found"}}"#,
            1_795_156_800 + n / 2
        );
    }
    out
}

fn zeek_tsv() -> String {
    let mut out = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n\
                   #path\thttp\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\t\
                   method\thost\turi\tstatus_code\n"
        .to_owned();
    for n in 0..ERRORS {
        let _ = writeln!(
            out,
            "{}.25\tC{n}\t10.1.2.3\t50000\t10.9.9.9\t80\tGET\tshop.example\t/missing/{n}\t404",
            1_795_156_800 + n / 2
        );
    }
    out
}

fn access_log() -> String {
    let mut out = String::new();
    for n in 0..ERRORS {
        let (minute, second) = (40 + n / 120, n / 2 % 60);
        let _ = writeln!(
            out,
            "10.1.2.3 - - [20/Nov/2026:06:{minute:02}:{second:02} +0000] \
             \"GET /missing/{n} HTTP/1.1\" 404 153 \"-\" \"test/1.0\""
        );
    }
    out
}

fn spikes(out: &str) -> usize {
    let told = alerts(out);
    let opened = told.iter();
    opened.filter(|alert| *alert == "http-error-spike-internal opened").count()
}

#[test]
fn the_350th_error_of_a_recording_raises_the_spike() {
    let folder = tempfile::tempdir().unwrap();
    let formats = [
        ("own json", events_of(&own_json(folder.path()))),
        ("Zeek's json", zeek_json()),
        ("Zeek's tsv", zeek_tsv()),
        ("access log", access_log()),
    ];
    for (name, text) in formats {
        let file = folder.path().join("recorded");
        // Without the last error there is no alert.
        let last = text.lines().rfind(|line| line.contains("404")).unwrap();
        for (text, expected) in [(text.clone(), 1), (text.replace(last, ""), 0)] {
            fs::write(&file, text).unwrap();
            let ran = run(&["detect", file.to_str().unwrap(), "-o", "json"]);
            assert_eq!(ran.status, 0, "{name}: {}", ran.err);
            assert_eq!(spikes(&ran.out), expected, "{name}: {}", ran.out);
            // An access log does not name its server.
            assert!(!ran.out.contains("0.0.0.0"), "{name}: {}", ran.out);
            let kinds = records(&ran.out);
            let events = kinds.iter().filter(|r| r["event"]["kind"] == "event");
            assert_eq!(events.count(), 0, "{name}: alerts only");
        }
    }
}

/// A shell names `access.log` before `access.log.1`, and two servers have a log each.
#[test]
fn files_are_read_together_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = access_log();
    let lines: Vec<&str> = log.lines().collect();
    let (older, newer) = lines.split_at(lines.len() / 2);
    let each_second = |from: usize| lines.iter().skip(from).step_by(2).copied().collect();
    for (first, last) in [(newer.to_vec(), older.to_vec()), (each_second(1), each_second(0))] {
        let names = [("access.log", first), ("access.log.1", last)].map(|(name, lines)| {
            let path = folder.path().join(name);
            fs::write(&path, lines.join("\n")).unwrap();
            path.to_str().unwrap().to_owned()
        });
        let ran = run(&["detect", &names[0], &names[1], "-o", "json"]);
        assert_eq!((ran.status, spikes(&ran.out)), (0, 1), "{}", ran.err);
        assert!(ran.err.contains("350 lines read: 350 events"), "{}", ran.err);
    }
}

#[test]
fn standard_input_is_read_and_events_are_written_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    fs::write(&file, access_log()).unwrap();
    for arguments in [&["detect", "-o", "json"][..], &["detect", "-", "-o", "json", "--events"]] {
        let ran = ran(http_trace(arguments).stdin(Stdio::from(File::open(&file).unwrap())));
        assert_eq!(ran.status, 0, "{}", ran.err);
        assert_eq!(spikes(&ran.out), 1);
        let records = records(&ran.out);
        let events: Vec<_> =
            records.iter().filter(|record| record["event"]["kind"] == "event").collect();
        let expected = if arguments.len() == 3 { 0 } else { ERRORS };
        assert_eq!(events.len(), expected as usize);
        for event in events {
            let rules = event["http_trace"]["rules"].as_array().unwrap();
            assert!(rules.iter().any(|id| id == "http-error-spike-internal"), "{event}");
        }
    }
    let ran = run(&["detect", file.to_str().unwrap(), "--fail-on-alert", "low"]);
    assert_eq!(ran.status, 3, "{}", ran.err);
}

#[test]
fn a_recording_of_a_capture_raises_the_alerts_of_the_capture() {
    let folder = tempfile::tempdir().unwrap();
    let live = own_json(folder.path());
    let file = folder.path().join("events.jsonl");
    fs::write(&file, &live).unwrap();
    let ran = run(&["detect", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let of = |out: &str| -> Vec<String> {
        records(out)
            .iter()
            .filter(|record| record["event"]["kind"] == "alert")
            .map(ToString::to_string)
            .collect()
    };
    assert!(spikes(&live) == 1 && of(&live).len() > 1, "{:?}", alerts(&live));
    assert_eq!(of(&live), of(&ran.out));
}

#[test]
fn what_an_access_log_does_not_say_is_not_made_up() {
    let folder = tempfile::tempdir().unwrap();
    let (log, json) = (folder.path().join("access.log"), folder.path().join("j"));
    fs::write(&log, access_log()).unwrap();
    let of_log = run(&["detect", log.to_str().unwrap(), "--events", "-o", "json"]);
    assert_eq!(of_log.status, 0, "{}", of_log.err);
    fs::write(&json, &of_log.out).unwrap();
    let of_json = run(&["detect", json.to_str().unwrap(), "--events", "-o", "json"]);
    assert_eq!(of_json.status, 0, "{}", of_json.err);
    for out in [&of_log.out, &of_json.out] {
        assert_eq!(spikes(out), 1);
        let records = records(out);
        let is_event = |r: &&serde_json::Value| r["event"]["kind"] == "event";
        let events: Vec<_> = records.iter().filter(is_event).collect();
        assert_eq!(events.len(), ERRORS as usize);
        for event in events {
            assert_eq!(event["source"], serde_json::json!({"ip": "10.1.2.3"}));
            assert!(event["client"].get("port").is_none(), "{event}");
            for absent in ["/destination", "/server", "/network/community_id"] {
                assert_eq!(event.pointer(absent), None, "{event}");
            }
        }
    }
    let ran = run(&["detect", log.to_str().unwrap(), "--events", "-o", "pretty"]);
    assert!(ran.out.contains("  10.1.2.3  "), "{}", ran.out);
    assert!(!ran.out.contains("0.0.0.0"), "{}", ran.out);
}

/// Apache with HostnameLookups, and nginx behind a Unix socket. Each name is counted for itself.
#[test]
fn a_client_without_an_address_is_known_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let named = |name: &str| access_log().replace("10.1.2.3 ", name);
    for (log, expected) in [
        (named("h1.example.net "), Some("h1.example.net")),
        (named("shop.example:80 h1.example.net "), Some("h1.example.net")),
        (named("unix: "), Some("unix:")),
        (
            named("h1 ")
                .split_inclusive('\n')
                .zip(named("h2 ").split_inclusive('\n'))
                .enumerate()
                .map(|(n, (one, other))| if n % 2 == 0 { one } else { other })
                .collect(),
            None,
        ),
    ] {
        fs::write(&file, log).unwrap();
        let mut out = run(&["detect", file.to_str().unwrap(), "--events", "-o", "json"]).out;
        // From the log, and from what was written of it.
        for _ in 0..2 {
            // It is not known to be internal.
            let told = alerts(&out);
            let told = told.iter().any(|alert| alert == "http-error-spike-external opened");
            assert_eq!(told, expected.is_some(), "{expected:?}");
            for record in records(&out) {
                let alert = &record["http_trace"]["alert"];
                let Some(name) = expected.filter(|_| alert["entities"][0]["role"] == "client")
                else {
                    assert!(
                        record["source"].is_null() && record["client"]["ip"].is_null(),
                        "{record}"
                    );
                    assert!(record["network"]["type"].is_null(), "{record}");
                    continue;
                };
                let entity =
                    serde_json::json!({"role": "client", "type": "hostname", "value": name});
                assert_eq!(alert["entities"][0], entity);
                assert_eq!(record["related"]["hosts"].as_array().unwrap().last().unwrap(), name);
            }
            fs::write(&file, events_of(&out)).unwrap();
            out = run(&["detect", file.to_str().unwrap(), "--events", "-o", "json"]).out;
        }
    }
    fs::write(&file, named("h1.example.net ")).unwrap();
    for (format, shown) in [("csv", ",h1.example.net,"), ("pretty", "  h1.example.net  ")] {
        let ran = run(&["detect", file.to_str().unwrap(), "--events", "-o", format]);
        assert!(ran.out.contains(shown) && !ran.out.contains("0.0.0.0"), "{}", ran.out);
    }
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    fs::write(&file, format!("not a line of it\n{}", access_log())).unwrap();
    let ran = run(&["detect", "/nonexistent.log", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert_eq!(spikes(&ran.out), 1);
    assert!(ran.err.contains("/nonexistent.log cannot be opened: "), "{}", ran.err);
    assert!(ran.err.contains("access.log: line 1: "), "{}", ran.err);
    for said in [
        "351 lines read: 350 events, 1 malformed\n",
        "http-error-spike-internal 1",
        "still open at the end\n",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    assert!(!ran.err.contains("connection"), "{}", ran.err);
    let quiet = folder.path().join("quiet.log");
    fs::write(&quiet, "").unwrap();
    let ran = run(&["detect", quiet.to_str().unwrap()]);
    assert!(ran.err.contains("no alerts\n"), "{}", ran.err);
    assert!(ran.err.contains("0 lines read: 0 events\n"), "{}", ran.err);
    let ran = run(&["detect", "-r", file.to_str().unwrap()]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("without -r"), "{}", ran.err);
    let ran = run(&["detect", folder.path().to_str().unwrap()]);
    assert_eq!(ran.status, 1);
    let said = format!("{}: it is a folder", folder.path().display());
    assert!(ran.err.contains(&said), "{}", ran.err);
    let ran = run(&["detect", "--interface", "lo", file.to_str().unwrap()]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("name files before options"), "{}", ran.err);
    let ran = run(&["detect", file.to_str().unwrap(), "--interface", "lo"]);
    assert!(ran.err.contains("no effect in this run: --interface"), "{}", ran.err);
}

#[test]
fn what_does_not_begin_with_lines_is_named_once() {
    let folder = tempfile::tempdir().unwrap();
    for (name, begin, expected) in [
        ("day.pcap", &b"\xd4\xc3\xb2\xa1\n\n\nx"[..], "day.pcap is a capture: `http-trace -r"),
        ("day.pcapng", b"\n\r\r\n\0\0\n", "day.pcapng is a capture: `http-trace -r"),
        (
            "access.log.lz4",
            b"\x04\x22\x4d\x18\n\n\n",
            "access.log.lz4 is compressed with lz4: `lz4cat",
        ),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, begin).unwrap();
        let ran = run(&["detect", file.to_str().unwrap()]);
        assert_eq!(ran.status, 1, "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
        assert!(!ran.err.contains("line 1"), "{}", ran.err);
    }
}

/// Rotated logs are compressed; what a name says does not count.
#[test]
fn compressed_logs_are_read_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let log = access_log();
    let gzip = gzip(log.as_bytes());
    let zstd = compress_to_vec(log.as_bytes(), CompressionLevel::Fastest);
    for (name, bytes, status) in [
        ("access.log.1", log.as_bytes(), 0),
        ("access.log.2.gz", &gzip, 0),
        ("access.log.3", &zstd, 0),
        ("access.log.4.gz", &gzip[..gzip.len() / 2], 1),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        let file = file.to_str().unwrap();
        let from_stdin = http_trace(&["detect", "-", "--events", "-o", "json"])
            .stdin(Stdio::from(File::open(file).unwrap()))
            .output()
            .unwrap();
        let out = String::from_utf8(from_stdin.stdout).unwrap();
        let detected = run(&["detect", file, "--events", "-o", "json"]);
        assert_eq!(detected.out, out, "{name}");
        assert_eq!(detected.status, status, "{name}: {}", detected.err);
        let reported = run(&["report", file, "--as", "json"]);
        assert_eq!(reported.status, status, "{name}: {}", reported.err);
        let report = serde_json::from_str::<serde_json::Value>(&reported.out).unwrap();
        assert_eq!(report["unread"], serde_json::json!({"lines": 0, "files": status}), "{name}");
        let events = report["events"].as_u64().unwrap();
        assert_eq!(events, events_of(&out).lines().count() as u64, "{name}");
        match status {
            0 => assert_eq!(events, u64::from(ERRORS), "{name}"),
            _ => assert!(events > 0 && events < u64::from(ERRORS), "{name}: {events}"),
        }
    }
}

/// A log that is still being written, and becomes silent.
#[test]
fn what_a_silent_pipe_brought_is_kept_and_a_signal_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_http-trace"))
        .args(["detect", "-o", "json", "--state", state])
        .env("HTTP_TRACE_STATE_INTERVAL", "20ms")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(access_log().as_bytes()).unwrap();
    let kept = || {
        let ran = run(&["rules", "hits", "--state", state, "-o", "json"]);
        let all = format!(r#"{{"alerts":1,"count":{ERRORS},"#);
        ran.out.lines().any(|line| line.starts_with(&all))
    };
    let begin = Instant::now();
    while !kept() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never kept");
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill").arg(child.id().to_string()).status();
    assert!(kill.unwrap().success());
    // Standard input is still open.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("350 lines read: 350 events\n"), "{err}");
    assert_eq!(spikes(&String::from_utf8(output.stdout).unwrap()), 1);
}
