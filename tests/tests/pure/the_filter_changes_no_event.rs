//! The filter changes nothing: every capture replayed with the kernel's filter in front of the
//! judge gives the events that it gives without, but for the request of one exception
//! ([`is_line_unshipped`]).

use std::io::Write;
use std::path::{Path, PathBuf};

use http_trace_tests::agent::replay;
use http_trace_tests::pcap::{self, LinkType};
use http_trace_tests::scene::{Scene, Side, Step};
use http_trace_tests::skip;
use http_trace_tests::tcp::{self, Layout};
use serde_json::{Value, json};

/// What a record says but for times, copies, what was still to come of a body that did not end, and
/// flags that tell of bytes which the filter need not ship.
fn essence(mut record: Value) -> Value {
    let complete = record["http_trace"]["complete"] == true;
    if let Some(top) = record.as_object_mut() {
        top.remove("@timestamp");
        top.remove("observer");
    }
    for (object, fields) in [
        (
            "/event",
            &["start", "end", "duration", "id", "sequence"][..],
        ),
        (
            "/http_trace",
            &[
                "ttfb_ns",
                "ttlb_ns",
                "retransmissions",
                "packet_len",
                "interfaces",
                "transaction",
            ],
        ),
        ("/http/request", &["bytes", "body"]),
    ] {
        if let Some(object) = record.pointer_mut(object).and_then(Value::as_object_mut) {
            fields.iter().for_each(|field| drop(object.remove(*field)));
        }
    }
    if !complete && let Some(response) = record.pointer_mut("/http/response") {
        for field in ["bytes", "body"] {
            response.as_object_mut().map(|r| r.remove(field));
        }
    }
    if let Some(flags) = record
        .pointer_mut("/http_trace/flags")
        .and_then(Value::as_array_mut)
    {
        flags.retain(|f| !f.as_str().is_some_and(|f| f.starts_with("overlap")));
    }
    record
}

/// Whether the two differ only in that the second has no request: a line at a stream's first byte that
/// is no HTTP/1.x, which the filter does not ship (see `docs/FIDELITY.md`), with the request's own flag
/// and what rules find in it.
fn is_line_unshipped(without: &Value, with: &Value) -> bool {
    let words = |record: &Value, list: &str, but: &str| -> Vec<String> {
        let words = record["http_trace"][list].as_array().into_iter().flatten();
        let words = words.filter_map(Value::as_str).filter(|word| *word != but);
        words.map(str::to_owned).collect()
    };
    let has = |record: &Value, list: &str, what: &str| {
        words(record, list, "").iter().any(|word| word == what)
    };
    let told = has(without, "flags", "malformed_request") && !has(without, "missing", "request");
    let untold = !has(with, "flags", "malformed_request") && has(with, "missing", "request");
    // A malformed request of HTTP that fields follow is shipped; nearly all have a Host.
    let version = &without["http_trace"]["request_version"];
    let other = version
        .as_str()
        .is_some_and(|v| !v.to_ascii_uppercase().starts_with("HTTP/"));
    let line = without["http_trace"]["ordinal"] == 1
        && (other || without["url"]["domain"].is_null())
        && with["http"]["request"].is_null();
    let same = words(without, "flags", "malformed_request") == words(with, "flags", "")
        && words(without, "missing", "") == words(with, "missing", "request");
    let (mut all, mut some) = (without.clone(), with.clone());
    for record in [&mut all, &mut some] {
        for (object, fields) in [
            ("", &["url"][..]),
            ("/http", &["request"]),
            (
                "/http_trace",
                &["request_version", "missing", "rules", "flags"],
            ),
        ] {
            if let Some(object) = record.pointer_mut(object).and_then(Value::as_object_mut) {
                fields.iter().for_each(|field| drop(object.remove(*field)));
            }
        }
    }
    told && untold && line && same && all == some
}

/// Returns the number of events, and a line for each capture that differs.
fn check(captures: &[PathBuf], more: &[&str]) -> (usize, Vec<String>) {
    let mut events = 0;
    let mut wrong = Vec::new();
    for capture in captures {
        let run = |options: &[&str]| {
            let options = [options, more].concat();
            let (report, _) = replay(&[capture], &options).expect("a replay");
            let all = report.responses.into_iter().chain(report.unanswered);
            let mut all: Vec<_> = all.map(|seen| essence(seen.json)).collect();
            // Events of different connections may end in another order.
            all.sort_by_key(|json| {
                (
                    json["source"].to_string(),
                    json["http_trace"]["ordinal"].as_u64(),
                )
            });
            all
        };
        let (without, with) = (
            run(&["--emit", "end"]),
            run(&["--emit", "end", "--kernel-filter"]),
        );
        events += without.len();
        if without.len() != with.len() {
            wrong.push(format!(
                "{}: {} and {}",
                capture.display(),
                without.len(),
                with.len()
            ));
        }
        let differ = without.iter().zip(&with);
        let differ = differ.filter(|(a, b)| a != b && !is_line_unshipped(a, b));
        if let Some((a, b)) = differ.clone().next() {
            let count = differ.count();
            wrong.push(format!(
                "{}: {count} differ:\n  {a}\n  {b}",
                capture.display()
            ));
        }
    }
    (events, wrong)
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut files: Vec<_> = files
        .filter(|f| f.extension().is_some_and(|e| e == "pcap" || e == "pcapng"))
        .collect();
    files.sort();
    files
}

/// A connection on which these lines are sent, each is answered with 400, and both ends close.
fn refused(lines: &[&str]) -> tempfile::NamedTempFile {
    const BAD: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad";
    let asked = lines.iter().map(|line| line.as_bytes().to_vec());
    let mut steps: Vec<_> = asked
        .flat_map(|line| [Step::client(line), Step::server(BAD)])
        .collect();
    steps.extend([Step::Close(Side::Server), Step::Close(Side::Client)]);
    let scene = Scene {
        name: "refused",
        steps,
        truth: Vec::new(),
    };
    let path = tcp::Path::v4(40_000);
    let frames = tcp::segments(&scene, &Layout::default());
    let frames: Vec<_> = frames.iter().map(|segment| path.frame(segment)).collect();
    let timed = (1_700_000_000_000_000_000..).step_by(1_000_000);
    let timed = timed.zip(frames.iter().map(Vec::as_slice));
    let mut file = tempfile::NamedTempFile::with_suffix(".pcap").expect("a file");
    file.write_all(&pcap::file(LinkType::Ethernet, timed))
        .expect("a capture");
    file
}

#[test]
fn of_a_line_at_a_streams_first_byte_the_request_alone_is_not_told() {
    let with = |file: &tempfile::NamedTempFile, options: &[&str]| -> Vec<bool> {
        let (report, _) = replay(&[file.path()], options).expect("a replay");
        let all = report.responses.iter();
        all.map(|seen| !seen.json["http"]["request"].is_null())
            .collect()
    };
    for line in [
        "GET /\r\n\r\n",
        "HELP\r\n\r\n",
        "OPTIONS / RTSP/1.0\r\n\r\n",
        "OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/TCP nm\r\n\r\n",
    ] {
        let file = refused(&[line]);
        let (events, wrong) = check(&[file.path().to_owned()], &[]);
        assert_eq!((events, &wrong[..]), (1, &[][..]), "{line:?}");
        assert_eq!(with(&file, &[]), [true], "{line:?}");
        assert_eq!(with(&file, &["--kernel-filter"]), [false], "{line:?}");
    }
    // Behind a request, and with fields, it is.
    for lines in [
        &["GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /2\r\n\r\n"][..],
        &["GET /1\r\nHost: x\r\n\r\n"],
    ] {
        let file = refused(lines);
        let (events, wrong) = check(&[file.path().to_owned()], &[]);
        assert_eq!((events, &wrong[..]), (lines.len(), &[][..]), "{lines:?}");
        let all = vec![true; lines.len()];
        assert_eq!(with(&file, &[]), all, "{lines:?}");
        assert_eq!(with(&file, &["--kernel-filter"]), all, "{lines:?}");
    }
}

#[test]
fn nothing_else_may_differ() {
    let without = json!({
        "http": {"request": {"method": "GET"}, "response": {"status_code": 400}},
        "http_trace": {"ordinal": 1, "missing": [], "flags": ["bare_lf", "malformed_request"]},
        "url": {"original": "/"},
    });
    let with = json!({
        "http": {"response": {"status_code": 400}},
        "http_trace": {"ordinal": 1, "missing": ["request"], "flags": ["bare_lf"]},
    });
    assert!(is_line_unshipped(&without, &with));
    let differ = |pointer: &str, value: Value| {
        let (mut without, mut with) = (without.clone(), with.clone());
        let (record, pointer) = match pointer.strip_prefix('-') {
            Some(pointer) => (&mut without, pointer),
            None => (&mut with, pointer),
        };
        let (object, name) = pointer.rsplit_once('/').expect("a field's place");
        record.pointer_mut(object).expect("an object")[name] = value;
        !is_line_unshipped(&without, &with)
    };
    for (pointer, value) in [
        ("/http/response/status_code", json!(401)),
        ("/http/request", json!({"method": "GET"})),
        ("/http_trace/ordinal", json!(2)),
        ("/http_trace/complete", json!(false)),
        ("/http_trace/missing", json!([])),
        ("/http_trace/missing", json!(["end", "request"])),
        ("/http_trace/flags", json!([])),
        ("/http_trace/flags", json!(["bare_lf", "malformed_request"])),
        ("-/http_trace/flags", json!(["bare_lf"])),
        ("-/url/domain", json!("x")),
    ] {
        assert!(differ(pointer, value.clone()), "{pointer} {value}");
    }
    // Of HTTP in lower case it is shipped as other requests of HTTP are.
    let mut framed = without.clone();
    framed["url"]["domain"] = json!("x");
    for (version, is_other) in [("http/1.1", false), ("HTTP/1.", false), ("RTSP/1.0", true)] {
        framed["http_trace"]["request_version"] = json!(version);
        assert_eq!(is_line_unshipped(&framed, &with), is_other, "{version}");
    }
}

#[test]
fn our_own_captures() {
    let captures = captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("captures"));
    // The beginnings of bodies are the same too, where they are asked for.
    for more in [&[][..], &["--body-snippet", "300"]] {
        let (events, wrong) = check(&captures, more);
        assert!(events > 150, "{events}");
        assert!(
            wrong.is_empty(),
            "{} captures, {more:?}:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

/// How many captures of the public corpus differ today: connections whose beginning was not seen,
/// or came late, or with holes, where the filter is unsure and the judge with all bytes is not. (Of two
/// the SYN alone is missing: both say `request_assumed`, and with the filter `resynchronised`.)
/// May only fall.
const KNOWN: usize = 18;

#[test]
fn the_public_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/pcap");
    let captures = captures(&corpus);
    if captures.is_empty() {
        return skip!("the public corpus");
    }
    let (_, wrong) = check(&captures, &[]);
    println!(
        "{} of {} captures differ:\n{}",
        wrong.len(),
        captures.len(),
        wrong.join("\n")
    );
    assert!(
        wrong.len() <= KNOWN,
        "{} captures differ, {KNOWN} did:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
