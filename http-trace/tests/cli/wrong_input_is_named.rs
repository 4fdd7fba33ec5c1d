//! Usage errors, unreadable files and unwritable outputs are reported with a remedy.

use std::io::Write;

use crate::command::run;
use crate::{NGINX, statuses};

#[test]
fn wrong_usage_ends_with_2_and_says_what_would_be_right() {
    let table: &[(&[&str], &str)] = &[
        (&["--nonsense"], "unexpected argument '--nonsense'"),
        (
            &["--max-flows", "9"],
            "--max-flows is not an option: set `max-flows = …` in the file of --config, or HTTP_TRACE_MAX_FLOWS",
        ),
        (
            &["-r", NGINX, "--client", "10.0.0.0/99"],
            "--client '10.0.0.0/99': want a network such as",
        ),
        (&["-r", NGINX, "--status", "6"], "--status '6': want a code from 100 to 999"),
        (&["--listen", ":9464"], "an address and a port, such as 127.0.0.1:9464 or [::1]:9464"),
        (&["-r", NGINX, "-p", "http"], "--port 'http': want a port from 1 to 65535"),
        (
            &["-r", NGINX, "-o", "yaml"],
            "--output 'yaml': want json, pretty, tracee, tracee-v1, eve, zeek, zeek-tsv, csv, otlp, report or summary",
        ),
        (&["-r", NGINX, "-o", "json:"], "--output 'json:': want a file's name after the colon"),
        (&["-r", NGINX, "-c", "-1"], "--count '-1': want a whole number from 1"),
        (&["-r", NGINX, "-o", "json:x,status="], "want a value after status="),
        (&["-r", NGINX, "-c", "none"], "--count 'none': want a whole number"),
        (
            &["-r", NGINX, "--config", "/nonexistent.toml"],
            "cannot read the configuration /nonexistent.toml",
        ),
        (&["-r", NGINX, "-o", "json:/nonexistent/x"], "cannot write to /nonexistent/x"),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
        (&["report", NGINX, "--as", "csv"], "--as 'csv': want table, markdown, json, html, allow"),
        (&["report", NGINX, "--unseen", "x"], "--unseen 'x': want a time"),
        (&["bans", "lift", "--ban", "nft:t/s"], "or lift all bans with --all"),
        (&["-r", ""], "--read '': the value is empty"),
        (&[NGINX], "is not a command; to read captures: `http-trace -r FILE`"),
        (&["/nonexistent.pcap"], "unrecognized subcommand"),
        (&["-w", "out.pcap", "-r", NGINX], "-w: http-trace writes no captures; `-o json:FILE`"),
        (&["-n", "-r", NGINX], "-n is not needed: addresses are never resolved"),
        (
            &["port 80"],
            "'port 80' is a filter of captures; options limit what is traced here: -p 80",
        ),
        (&["tcp", "port", "80"], "'tcp' is a filter of captures"),
        (&["replay", NGINX], "'replay' is not a command; to read captures: `http-trace -r FILE`"),
        (&["hits"], "'hits' is not a command; what rules have counted: `http-trace rules hits"),
        (&["-r", NGINX, "--duration", "99999999999999999h"], "want at most 500 years"),
        (&["-r", NGINX, "--client", ""], "--client '': the value is empty"),
        (
            &["-r", NGINX, "--alerts-to", "http://me:secret@127.0.0.1:65536/x"],
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

#[test]
fn variables_with_wrong_values_end_with_2() {
    use std::os::unix::ffi::OsStrExt as _;
    for (name, value, expected) in [
        (
            "HTTP_TRACE_MAX_FLOWS",
            &b"4000000000"[..],
            "HTTP_TRACE_MAX_FLOWS '4000000000': want a whole number from 1 to 67108864",
        ),
        ("HTTP_TRACE_PATH", b"f\xff", r"HTTP_TRACE_PATH 'f\xff': want UTF-8"),
    ] {
        let mut command = crate::command::http_trace(&["-r", NGINX]);
        let ran = crate::command::ran(command.env(name, std::ffi::OsStr::from_bytes(value)));
        assert_eq!((ran.status, &*ran.out), (2, ""), "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

#[test]
fn a_file_that_is_no_log_is_told_in_a_line() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all("<p>no log</p>\n".repeat(5).as_bytes()).unwrap();
    let ran = run(&["detect", file.path().to_str().unwrap()]);
    assert_eq!(ran.status, 1);
    assert_eq!(ran.err.matches("missing client address at the start").count(), 1, "{}", ran.err);
    assert!(ran.err.contains("5 malformed\n"), "{}", ran.err);
}

#[test]
fn only_words_that_are_near_are_suggested() {
    for (words, tip) in [
        (&["rules", "export", "--json"][..], None),
        (&["detect", "a.log", "--no-such"], None),
        (&["config", "show", "--foo"], None),
        (&["--statsu", "404"], Some("a similar argument exists: '--status'")),
        (&["--json", "doctor"], Some("'doctor --json' exists")),
        (&["reprot"], Some("a similar subcommand exists: 'report'")),
    ] {
        let ran = run(words);
        assert_eq!(ran.status, 2, "{words:?}: {}", ran.err);
        assert_eq!(ran.err.contains("tip:"), tip.is_some(), "{words:?}: {}", ran.err);
        assert!(ran.err.contains(tip.unwrap_or("--help")), "{words:?}: {}", ran.err);
        assert!(!ran.err.contains("--hook"), "{words:?}: {}", ran.err);
    }
}

/// The first alert may come days later.
#[test]
fn a_program_for_alerts_that_is_not_there_is_told_before_anything_is_read() {
    for command in [&["-r", NGINX][..], &["config", "check"]] {
        let target = ["--alerts-to", "command:/no/such/program secret"];
        let ran = run(&[command, &target].concat());
        assert_eq!((ran.status, &*ran.out), (2, ""), "{}", ran.err);
        assert_eq!(
            ran.err,
            "http-trace: cannot write to command:/no/such/program: there is no program \
             /no/such/program; give the path of one that is there\n"
        );
    }
}

#[test]
fn a_file_that_is_missing_or_no_capture_ends_with_1_after_the_others_were_read() {
    let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    for (bad, expected) in [
        ("/nonexistent.pcap", "http-trace: /nonexistent.pcap cannot be opened: "),
        (text, "Cargo.toml is not a capture: "),
    ] {
        let ran = run(&["-r", NGINX, bad, "-o", "json"]);
        assert_eq!(ran.status, 1, "{}", ran.err);
        let mut last = ran.err.lines().rev();
        let verdict = last.next().unwrap();
        assert!(verdict.contains("; not all of the input was read; "), "{}", ran.err);
        let named = last.next().unwrap();
        assert!(named.contains(expected), "it is not overlooked: {}", ran.err);
        assert_eq!(statuses(&ran.out).len(), 48, "{}", ran.err);
    }
}

#[test]
fn of_what_cannot_be_read_at_all_nothing_else_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pcap");
    std::fs::write(&empty, "").unwrap();
    let (folder, empty) = (folder.path().to_str().unwrap(), empty.to_str().unwrap());
    for (words, expected) in [
        (&["-r", empty][..], "is not a capture: it is empty"),
        (&["-r", "/nonexistent"], "/nonexistent cannot be opened"),
        (&["-r", folder], "holds no captures"),
        (&["detect", folder], "it is a folder"),
        (&["detect", NGINX], "is a capture: `http-trace -r FILE`"),
    ] {
        let ran = run(words);
        assert_eq!((ran.status, &*ran.out), (1, ""), "{}", ran.err);
        let (first, rest) = ran.err.split_once('\n').unwrap();
        assert!(first.contains("reading "), "{}", ran.err);
        assert!(rest.contains(expected), "{}", ran.err);
        assert_eq!(rest.lines().count(), 1, "{}", ran.err);
    }
    // What was read from the other files is reported, with the error.
    let ran = run(&["-r", NGINX, empty, "-o", "json"]);
    assert!(ran.err.contains("49 events written\n"), "{}", ran.err);
}

#[test]
fn a_cut_capture_gives_all_it_holds_and_then_its_byte() {
    let whole = std::fs::read(NGINX).unwrap();
    let mut cut = tempfile::NamedTempFile::new().unwrap();
    cut.write_all(&whole[..whole.len() / 2]).unwrap();
    let path = cut.path().to_str().unwrap();
    let ran = run(&["-r", path, "-o", "json"]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains(&format!("{path} is truncated: the ")), "{}", ran.err);
    assert!(statuses(&ran.out).len() > 10);
}

#[cfg(target_os = "linux")]
#[test]
fn limits_that_do_not_suffice_are_named_in_a_line() {
    // Twelve captures of the same time.
    let folder = tempfile::tempdir().unwrap();
    for n in 0..12 {
        std::fs::copy(NGINX, folder.path().join(format!("{n}.pcap"))).unwrap();
    }
    let captures = folder.path().to_str().unwrap();
    for (limit, read, status, expected) in [
        (
            "-v 50000",
            NGINX,
            2,
            "http-trace: memory is limited to 48 MiB (RLIMIT_AS, ulimit -v); at least 64 MiB are \
             needed: raise the limit\n",
        ),
        (
            "-n 5",
            NGINX,
            2,
            "http-trace: the open file limit is 5 (RLIMIT_NOFILE); reading needs 8: `ulimit -n 1024`\n",
        ),
        (
            "-n 10",
            captures,
            1,
            "too many captures overlap in time for the open file limit; raise it",
        ),
    ] {
        let script = format!("ulimit {limit}; exec \"$@\"");
        let words = ["-c", &script, "sh", env!("CARGO_BIN_EXE_http-trace")];
        let mut command = std::process::Command::new("sh");
        command.args(words).args(["-q", "-o", "json:/dev/null", "-r", read]);
        let ran = crate::command::ran(&mut command);
        assert_eq!(ran.status, status, "{}", ran.err);
        assert!(ran.err.contains(expected), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_and_ends_with_1() {
    let ran = run(&["-r", NGINX, "-o", "json:/dev/full"]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("cannot write to /dev/full: No space left on device"), "{}", ran.err);
    assert!(ran.err.contains("; 0 events written\n"), "{}", ran.err);
}

/// RLIMIT_FSIZE, of which the kernel tells with a signal (SIGXFSZ) first.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_not_grow_is_named_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let mut shell = std::process::Command::new("sh");
    let script = "ulimit -f 1; exec \"$0\" -r \"$1\" -o \"json:$2\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_http-trace"), NGINX]).arg(&file);
    let ran = crate::command::ran(&mut shell);
    assert_eq!(ran.status, 1, "{}", ran.err);
    let why = format!("cannot write to {}: File too large", file.display());
    assert!(ran.err.contains(&why), "{}", ran.err);
    assert!(ran.err.contains("not written there"), "{}", ran.err);
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
    // Reading may stop as soon as an output is known to have failed.
    let events = text.matches(r#""kind":"event""#).count();
    let lacks = format!("device (os error 28); up to {events} event");
    assert!(events > 0 && ran.err.contains(&lacks), "{}", ran.err);
    let has = format!("; {events} event");
    assert!(ran.err.lines().any(|l| l.contains(&has) && l.ends_with(" written")), "{}", ran.err);
}

#[test]
fn without_captures_a_reader_says_what_it_is() {
    if cfg!(feature = "live") {
        return;
    }
    let ran = run(&["-i", "lo"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("this build only reads captures"), "{}", ran.err);
}
