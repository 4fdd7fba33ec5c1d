//! Recorded events, whatever headers they hold, raise no alert that the capture did not raise.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use http_trace_testkit::pcap;
use http_trace_testkit::talk::Talk;
use http_trace_testkit::tcp;
use http_trace_testkit::tcp::LinkType;

use crate::command::{records, run};

/// Formats that can be read back.
const FORMATS: [&str; 4] = ["json", "zeek", "zeek-tsv", "eve"];

/// Choices of header fields.
const CHOICES: [&[&str]; 5] = [
    &[],
    &["-H", "none"],
    &["-H", "content-type,location"],
    &["--request-headers", "x-forwarded-proto,host"],
    &["-H", "content-type", "--request-headers", "all"],
];

const SERVER: [u8; 4] = [10, 9, 9, 9];
const METADATA: [u8; 4] = [169, 254, 169, 254];

/// Exchanges whose header fields keep rules about absent ones silent: server, request (may be absent), response.
const SILENT: [([u8; 4], Option<&str>, &str); 5] = [
    (
        SERVER,
        Some("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\
         Content-Security-Policy: default-src 'self'\r\nX-Content-Type-Options: nosniff\r\n\
         Strict-Transport-Security: max-age=63072000\r\n\r\na",
    ),
    (
        SERVER,
        Some("GET /a.css HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: https\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nContent-Length: 1\r\n\
         X-Content-Type-Options: nosniff\r\nStrict-Transport-Security: max-age=1\r\n\r\na",
    ),
    (
        METADATA,
        Some(
            "GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\
             X-aws-ec2-metadata-token: dG9rZW4=\r\n\r\n",
        ),
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\na",
    ),
    (
        SERVER,
        None,
        "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ),
    (
        SERVER,
        None,
        "HTTP/1.1 400 Bad Request\r\nDate: Fri, 20 Nov 2026 06:40:00 GMT\r\nContent-Length: 0\r\n\r\n",
    ),
];

/// A capture of [`SILENT`], each exchange on a connection of its own and often enough for every threshold.
fn silent() -> Vec<u8> {
    const START_NS: u64 = 1_795_156_800_000_000_000;
    let mut packets = Vec::new();
    for nth in 0..20 * SILENT.len() {
        let (server, request, response) = SILENT[nth % SILENT.len()];
        let path = tcp::Path {
            client: ([10, 1, 2, 3], 40_000 + u16::try_from(nth).unwrap()).into(),
            server: (server, 80).into(),
            link: LinkType::Raw,
            vlan: None,
        };
        let mut talk = Talk::new(path).at(START_NS + nth as u64 * 100_000_000).handshake();
        if let Some(request) = request {
            talk = talk.ask(request.as_bytes());
        }
        packets.extend(talk.answer(response.as_bytes()).timed());
    }
    pcap::of(LinkType::Raw, &packets)
}

/// Number of alerts opened, by rule.
fn opened(json: &str) -> BTreeMap<String, usize> {
    let mut opened = BTreeMap::new();
    for record in records(json) {
        if record["http_trace"]["alert"]["state"] == "opened" {
            let rule = record["rule"]["id"].as_str().unwrap().to_owned();
            *opened.entry(rule).or_default() += 1;
        }
    }
    opened
}

fn check(capture: &Path, folder: &Path) {
    for choice in CHOICES {
        let file = |format: &str| folder.join(format).to_str().unwrap().to_owned();
        let outputs = FORMATS.map(|format| format!("{format}:{}", file(format)));
        let mut arguments = vec!["-r", capture.to_str().unwrap(), "--body-snippet", "256"];
        arguments.extend(choice);
        for output in &outputs {
            arguments.extend(["-o", output]);
        }
        let ran = run(&arguments);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let of_capture = opened(&fs::read_to_string(file("json")).unwrap());
        for format in FORMATS {
            let ran = run(&["detect", &file(format), "-o", "json"]);
            assert_eq!(ran.status, 0, "{}", ran.err);
            for (rule, count) in opened(&ran.out) {
                let of_capture = of_capture.get(&rule).copied().unwrap_or(0);
                assert!(
                    count <= of_capture,
                    "{}, {format}, {choice:?}: {rule} {count} times, {of_capture} of the capture",
                    capture.display()
                );
            }
            fs::remove_file(file(format)).unwrap();
        }
    }
}

#[test]
fn header_fields_that_are_not_recorded_count_as_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("silent.pcap");
    fs::write(&capture, silent()).unwrap();
    let ran = run(&["-r", capture.to_str().unwrap(), "-o", "json"]);
    let opened: Vec<_> = opened(&ran.out).into_keys().collect();
    assert_eq!(opened, ["http-metadata-service"]);
    check(&capture, folder.path());
}

#[test]
fn captures_of_tools_raise_nothing_else_when_read_back() {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures");
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "nginx.pcap",
        "detect/browser.pcap.gz",
        "detect/hydra-form-200.pcap.gz",
        "detect/wapiti.pcap.gz",
    ] {
        check(&captures.join(PathBuf::from(name)), folder.path());
    }
}

#[test]
fn a_record_says_which_header_fields_it_does_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("silent.pcap");
    fs::write(&capture, silent()).unwrap();
    let log = folder.path().join("log");
    for (output, choice, written, read) in [
        ("json", CHOICES[0], "", "request_headers"),
        ("json", CHOICES[1], "", "request_headers headers"),
        ("json", CHOICES[2], "headers", "headers request_headers"),
        ("json", CHOICES[3], "", ""),
        ("json", &["--request-headers", "host"], "request_headers", "request_headers"),
        ("json", CHOICES[4], "headers", "headers"),
        ("json", &["-H", "all", "--request-headers", "all"], "", ""),
        ("zeek", CHOICES[4], "", "request_headers headers"),
        ("eve", CHOICES[0], "", "request_headers"),
        ("eve", CHOICES[4], "headers", "headers"),
    ] {
        let mut arguments = vec!["-r", capture.to_str().unwrap(), "-o", output];
        arguments.extend(choice);
        let ran = run(&arguments);
        let missing = |out: &str| {
            let first = records(out).swap_remove(0);
            let names = first.pointer("/http_trace/missing").cloned();
            let names: Vec<String> =
                names.map_or_else(Vec::new, |names| serde_json::from_value(names).unwrap());
            names.join(" ")
        };
        assert_eq!(missing(&ran.out), written, "{output} {choice:?}");
        fs::write(&log, &ran.out).unwrap();
        let all = ["detect", log.to_str().unwrap(), "--events", "-o", "json"];
        let ran = run(&[&all[..], &["--request-headers", "all"]].concat());
        assert_eq!(missing(&ran.out), read, "{output} {choice:?}: {}", ran.err);
    }
}
