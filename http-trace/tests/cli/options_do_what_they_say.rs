//! Options, environment and file: what each limits, adds or prints.

use std::io::Write;

use serde_json::Value;

use crate::command::{http_trace, ran, records, run};
use crate::{NGINX, statuses};

/// Lines of an access log from two clients.
const LOG: &str = concat!(
    "192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] \"GET /api HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n",
    "192.0.2.2 - - [22/Nov/2026:10:00:01 +0000] \"GET /api/v1 HTTP/1.1\" 404 5 \"-\" \"curl/8\"\n",
);

#[test]
fn options_before_a_command_are_its_own() {
    let mut log = tempfile::NamedTempFile::new().unwrap();
    log.write_all(LOG.as_bytes()).unwrap();
    let log = log.path().to_str().unwrap();
    let ran = run(&["-q", "-o", "json", "detect", "--events", log]);
    assert_eq!((ran.status, &*ran.err), (0, ""));
    assert_eq!(statuses(&ran.out), [200, 404]);
    let ran = run(&["--status", "200", "-q", "detect", "--events", log, "--status", "404"]);
    assert_eq!(statuses(&ran.out), [404], "what stands behind it wins");
    let ran = run(&["-p", "80", "schema"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("including the command 'schema'"), "{}", ran.err);
    let ran = run(&["-c", "1", "schema"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("--count is an option of runs"), "{}", ran.err);
    assert_eq!(run(&["-q", "schema"]).status, 0);
}

#[test]
fn what_matches_nothing_says_how_much_it_left_out_and_what_may_be_meant() {
    let mut log = tempfile::NamedTempFile::new().unwrap();
    log.write_all(LOG.as_bytes()).unwrap();
    let log = log.path().to_str().unwrap();
    for (options, expected) in [
        (
            &["--status", "6xx"][..],
            &[
                "HTTP has no status codes above 599",
                "0 events written, 2 left out by --status 6xx\n",
            ][..],
        ),
        (&["--sample", "9xx=1%"], &["--sample: HTTP has no status codes above 599"]),
        (&["--status", "404,5xx,!400-599"], &["--status: all that it selects it excludes, too"]),
        (
            &["--path", "/ap"],
            &["2 left out by --path /ap", "'/ap' matches only /ap itself; did you mean '/ap*'?"],
        ),
        (&["--path", "/api"], &["1 event written, 1 left out by --path /api"]),
        (
            &["--client", "10.0.0.0/8,fd00::/8"],
            &["nothing matches --client 10.0.0.0/8,fd00::/8: 2 events left out"],
        ),
        (&["--peer", "192.0.2.1"], &["1 response (2xx 1); 1 event written\n"]),
    ] {
        let ran = run(&[&["detect", "--events", log][..], options].concat());
        assert_eq!(ran.status, 0, "{}", ran.err);
        for expected in expected {
            assert!(ran.err.contains(expected), "{options:?}: {}", ran.err);
        }
        let hints = ran.err.matches("did you mean").count();
        assert_eq!(hints, usize::from(options == ["--path", "/ap"]), "{}", ran.err);
    }
    let ran = run(&["detect", "--status", "6xx", log]);
    assert!(!ran.err.contains("left out"), "events are not asked for: {}", ran.err);
}

#[test]
fn times_are_local_and_with_utc_they_are_not() {
    // As POSIX has it, so that no database of zones is needed; and as the database has it, where there is one.
    let mut zones = vec![("JST-9", "18:23:14")];
    if std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        zones.push(("Asia/Tokyo", "18:23:14"));
    }
    for (zone, local) in zones {
        for (option, expected) in [(None, local), (Some("--utc"), "09:23:14")] {
            let options = ["-r", NGINX, "-q", "-o", "pretty"].into_iter().chain(option);
            let mut command = http_trace(&options.collect::<Vec<_>>());
            let ran = ran(command.env("TZ", zone));
            assert!(ran.out.starts_with(expected), "{zone} {option:?}: {}", ran.out);
        }
    }
}

#[test]
fn an_output_that_takes_nothing_says_why_and_what_may_be_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.jsonl");
    let all = format!("json:{}", file.display());
    for (output, expected) in [
        (
            "eve,status=9xx",
            &[
                "--output eve: status=: HTTP has no status codes above 599",
                "eve: 49 events left out by status=9xx\n",
            ][..],
        ),
        (
            "csv,path=/tex,status=2xx,404",
            &[
                "csv: 49 events left out by path=/tex,status=2xx,404\n",
                "path='/tex' matches only /tex itself; did you mean '/tex*'?",
            ],
        ),
        ("csv,status=5xx", &["csv: 46 events left out by status=5xx\n"]),
    ] {
        let ran = run(&["-r", NGINX, "-o", output, "-o", &all]);
        assert_eq!(ran.status, 0, "{}", ran.err);
        assert!(ran.err.contains("49 events written\n"), "{}", ran.err);
        for expected in expected {
            assert!(ran.err.contains(expected), "{output}: {}", ran.err);
        }
    }
    let ran = run(&["-r", NGINX, "-o", "json,status=5xx"]);
    let expected = "3 events written, 46 left out by what outputs take\n";
    assert!(ran.err.contains(expected), "{}", ran.err);
}

#[test]
fn the_last_line_says_what_was_not_readable_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pcap");
    let whole = std::fs::read(NGINX).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let cut = cut.to_str().unwrap();
    let tls = NGINX.replace("nginx", "tls");
    let losses = folder.path().join("losses.jsonl");
    std::fs::write(&losses, "{\"event\":{\"kind\":\"pipeline_error\"}}\n").unwrap();
    let losses = losses.to_str().unwrap();
    for (options, expected) in [
        (&["-r", &tls][..], "nothing was lost; not readable: 1 TLS on :443"),
        (&["-r", cut], "; not all of the input was read; the rest was readable"),
        (&["-r", NGINX, "-o", "json:/dev/full"], "lost: what could not be written or delivered"),
        (&["detect", losses], "nothing was lost; none of it gave an event"),
        (&["detect", "/dev/null"], "nothing was lost; there was nothing to read"),
    ] {
        let ran = run(options);
        let last = ran.err.lines().last().unwrap_or_default();
        assert!(last.contains(expected), "{options:?}: {}", ran.err);
    }
}

#[test]
fn the_end_tells_what_was_seen_and_quiet_tells_nothing() {
    let ran_loud = run(&["-r", NGINX]);
    assert_eq!(ran_loud.status, 0);
    assert!(ran_loud.err.starts_with("http-trace: reading "), "{}", ran_loud.err);
    assert!(
        ran_loud.err.contains("48 responses (2xx 26, 3xx 3, 4xx 16, 5xx 3), 2 informational heads"),
        "{}",
        ran_loud.err
    );
    let last = ran_loud.err.lines().last().unwrap_or_default();
    assert_eq!(last, "http-trace: nothing was lost; everything was readable");
    let quiet = run(&["-r", NGINX, "-q"]);
    assert_eq!((quiet.status, quiet.err.as_str()), (0, ""));
    assert_eq!(quiet.out, ran_loud.out);
}

#[test]
fn the_start_line_says_what_is_limited() {
    let ran = run(&["-r", NGINX, "-p", "80,8000-8099", "--client", "!10.9.0.0/16", "-i", "lo"]);
    let first = ran.err.lines().next().unwrap();
    assert!(first.ends_with("; only ports 80,8000-8099; clients !10.9.0.0/16"), "{first}");
    assert!(ran.err.contains("no effect in this run: --interface"), "{}", ran.err);
    assert_eq!(statuses(&ran.out).len(), 48);
    let none = run(&["-r", NGINX, "-p", "81"]);
    assert_eq!((none.status, none.out.as_str()), (0, ""));
}

#[test]
fn filters_limit_what_is_written() {
    let ran = run(&["-r", NGINX, "--status", "404,5xx", "--method", "!POST"]);
    let got = statuses(&ran.out);
    assert!(!got.is_empty() && got.iter().all(|s| *s == 404 || (500..600).contains(s)), "{got:?}");
    // Every response has a request, including that to a request line of one word, so every one has a path.
    for more in [&[][..], &["--kernel-filter"]] {
        let ran = run(&[&["-r", NGINX, "--path", "!*"], more].concat());
        assert_eq!(statuses(&ran.out).len(), 0, "{more:?}");
    }
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
    assert_eq!(records(&run(&["-r", NGINX, "--duration", "1h"]).out).len(), all);
}

#[test]
fn several_outputs_and_headers_that_are_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.jsonl");
    let json = format!("json:{}", file.display());
    let ran = run(&[
        "-r", NGINX, "-o", "pretty", "-o", &json, "-H", "Server,Date", "--request-headers", "host",
    ]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let records = records(&std::fs::read_to_string(&file).unwrap());
    // `pretty` does not show alerts about a server's posture.
    let shown = records.iter().filter(|r| r["event"]["kind"] != "alert");
    assert_eq!(shown.count(), ran.out.lines().count());
    assert!(ran.out.contains("  404  GET      "), "{}", ran.out);
    for record in records.iter().filter(|r| r["http"]["response"].is_object()) {
        let names: Vec<&String> =
            record["http"]["response"]["headers"].as_object().unwrap().keys().collect();
        assert!(names.iter().all(|n| *n == "server" || *n == "date"), "{names:?}");
    }
    assert!(records.iter().any(|r| r["http"]["request"]["headers"]["host"][0].is_string()));
    let none = run(&["-r", NGINX, "-H", "none"]);
    assert!(!none.out.contains("\"headers\""));
}

#[test]
fn the_environment_and_the_file_hold_every_option() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"status = [404]\ncount = 5\noutput = 'json'\nquiet = true\n").unwrap();
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
    assert!(wrong.err.contains("HTTP_TRACE_STATUS '9': want a code"), "{}", wrong.err);
    let mut bad = tempfile::NamedTempFile::new().unwrap();
    bad.write_all(b"port = 8080\nstauts = 404\n").unwrap();
    let wrong = run(&["-r", NGINX, "--config", bad.path().to_str().unwrap()]);
    assert_eq!(wrong.status, 2);
    assert!(wrong.err.contains("unknown key 'stauts'; did you mean 'status'?"), "{}", wrong.err);
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
    let validator =
        jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
    for record in records(&run(&["-r", NGINX, "--request-headers", "all"]).out) {
        let errors: Vec<String> = validator.iter_errors(&record).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {record}");
    }
}

/// The filter may change how records are cut, how copies are counted and when a body is known to have ended,
/// and nothing else.
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
            // A response to an invalid request has no certain body length, and only the judge accepts a
            // single word as a request.
            records.retain(|r| r["url"]["original"].as_str().is_some_and(|url| !url.is_empty()));
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

/// Regression: names that are not UTF-8 were refused.
#[cfg(target_os = "linux")]
#[test]
fn a_captures_name_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9 1.pcap"));
    std::fs::copy(NGINX, &path).unwrap();
    let ran = ran(http_trace(&["-o", "json", "-r"]).arg(&path));
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(statuses(&ran.out), statuses(&run(&["-o", "json", "-r", NGINX]).out));
}

/// The allow list of a report is valid as the list of known endpoints; endpoints missing in it are reported
/// once each, and templates work the same way in both.
#[test]
fn what_is_not_in_the_list_of_known_endpoints_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let line = |client: u8, path: &str, status: u16| {
        format!(
            "shop.example:80 192.0.2.{client} - - [22/Nov/2026:10:00:00 +0000] \"GET {path} HTTP/1.1\" \
             {status} 5 \"-\" \"curl/8\"\n"
        )
    };
    let text: String = [
        line(1, "/cart/7", 200),
        line(2, "/cart/8", 200),
        line(1, "/users/anna", 200),
        line(3, "/users/bert", 200),
        line(3, "/gone", 404),
    ]
    .concat();
    std::fs::write(&log, text).unwrap();
    let log = log.to_str().unwrap();
    let allow = folder.path().join("known.allow");
    let list = allow.to_str().unwrap();
    let template = ["--template", "/users/{name}"];
    let ran = run(&[&["report", log, "--as", "allow", "--to", list][..], &template].concat());
    assert_eq!(ran.status, 0, "{}", ran.err);
    let known = std::fs::read_to_string(&allow).unwrap();
    for endpoint in ["GET shop.example /cart/{id}", "GET shop.example /users/{name}"] {
        assert!(known.contains(endpoint), "{known}");
    }
    let unknown = |options: &[&str]| {
        let detect = ["detect", log, "-o", "json", "--known", list];
        let ran = run(&[&detect[..], options].concat());
        assert_eq!(ran.status, 0, "{}", ran.err);
        let records = records(&ran.out).into_iter();
        let told = records.filter(|r| {
            r["rule"]["id"] == "http-unknown-endpoint"
                && r["http_trace"]["alert"]["state"] == "opened"
        });
        told.map(|r| r["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(unknown(&template), Vec::<String>::new());
    assert_eq!(unknown(&[]).len(), 2, "without the template names are paths");
    std::fs::write(&allow, "GET shop.example /users/{name}\n").unwrap();
    let told = unknown(&template);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("/cart/{id}"), "{told:?}");

    // A log without host and server: its service is `-`.
    let nameless = folder.path().join("nameless.log");
    let line = r#"10.0.0.1 - - [01/Nov/2026:00:00:01 +0000] "GET /new HTTP/1.1" 200 5 "-" "ua""#;
    std::fs::write(&nameless, format!("{line}\n")).unwrap();
    let nameless = nameless.to_str().unwrap();
    for (list_line, expected) in [("GET - /old", 1), ("GET - /new", 0)] {
        std::fs::write(&allow, format!("{list_line}\n")).unwrap();
        let ran = run(&["detect", nameless, "-o", "json", "--known", list]);
        let told = ran.out.matches("GET /new of - answers and is not known");
        assert_eq!(told.count(), expected, "{list_line}: {}", ran.out);
    }
    std::fs::write(&allow, "GET /x\n").unwrap();
    let ran = run(&["detect", log, "--known", list]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("line 1: want METHOD SERVICE PATH"), "{}", ran.err);
}
