//! Help, version, manual pages and built-in rules are printed completely, and invalid arguments are named.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use http_trace::config::KEYS;
use http_trace::config::key::runs;

use crate::NGINX;
use crate::command::{self, http_trace, records, run};
use crate::errors::{alerts, capture_of_errors};

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_ends_with_1() {
    for words in [
        &["--help"][..],
        &["-V"],
        &["rules", "--help"],
        &["detect", "-h"],
        &["man"],
        &["schema"],
        &["completions", "fish"],
        &["rules", "list"],
        &["rules", "export", "-"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = command.args(words).stdout(std::process::Stdio::from(full)).output();
        let ran = ran.unwrap();
        let err = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{words:?}: {err}");
        assert!(err.contains("cannot write to standard output: No space left"), "{words:?}: {err}");
        // A closed pipe is not an error.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = command.stdout(writer).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{words:?}");
    }
}

/// Arguments that are not UTF-8: clap does not say which.
#[test]
fn a_word_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt as _;
    for (option, value, named) in [
        ("-o", &b"json:caf\xe9"[..], r"'json:caf\xe9' is not UTF-8"),
        ("--alerts-to", b"file:\xe9", r"'file:\xe9' is not UTF-8"),
        ("--state", b"\xff\n", r"'\xff\n' is not UTF-8"),
        ("--rules", b"\xff.yml", "--to, and of the commands `detect`, `report` and `rules`"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
        let value = std::ffi::OsString::from_vec(value.to_vec());
        let ran = command.args(["-r", "x.pcap", option]).arg(value).output().unwrap();
        assert_eq!(ran.status.code(), Some(2), "{option}");
        let err = String::from_utf8(ran.stderr).unwrap();
        assert!(err.contains(named), "{option}: {err}");
    }
}

#[test]
fn names_of_files_may_hold_any_bytes() {
    use std::os::unix::ffi::OsStringExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &[u8]| folder.path().join(std::ffi::OsString::from_vec(name.to_vec()));
    let (report, rule) = (path(b"q\xff.html"), path(b"f\xff.yml"));
    let mut command = http_trace(&["report", "-q", NGINX, "--to"]);
    let ran = command::ran(command.arg(&report));
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(fs::read_to_string(&report).unwrap().starts_with("<!"));
    let of_404 = "title: it\nname: it\nlevel: high\nlogsource: {category: webserver}\n\
                  detection: {s: {sc-status: 404}, condition: s}\n";
    fs::write(&rule, of_404).unwrap();
    let mut command = http_trace(&["rules", "test"]);
    let ran = command::ran(command.arg(&rule).args(["-r", NGINX]));
    assert_eq!(ran.status, 3, "{}", ran.err);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn each_command_that_a_manual_page_names_has_one() {
    let mut pages = vec![String::new()];
    let mut seen = 0;
    while let Some(page) = pages.pop() {
        let words: Vec<&str> = page.split_whitespace().collect();
        let ran = run(&[&["man"], &words[..]].concat());
        assert_eq!(ran.status, 0, "{page}: {}", ran.err);
        let name = ["http-trace"].iter().chain(&words).copied();
        let name = name.collect::<Vec<_>>().join("-");
        assert!(ran.out.contains(&format!(".TH {name} 1 ")), "{}", ran.out);
        let version = concat!("\"http-trace ", env!("CARGO_PKG_VERSION"), "\"");
        assert!(ran.out.contains(version), "{}", ran.out);
        seen += 1;
        let takes_options = ["", "detect"].contains(&page.trim());
        for (section, is_due) in [
            ("EXIT STATUS", true),
            ("EXAMPLES", true),
            ("ENVIRONMENT", takes_options),
            ("FILES", takes_options),
        ] {
            let found = ran.out.contains(&format!(".SH {section}\n"))
                || ran.out.contains(&format!(".SH \"{section}\"\n"));
            assert_eq!(found, is_due, "{page}: {section}: {}", ran.out);
        }
        let out = ran.out.replace('\\', "");
        let named = out.lines().filter_map(|line| line.strip_suffix("(1)"));
        for named in named.filter_map(|named| named.strip_prefix(&format!("{name}-"))) {
            pages.push(format!("{page} {named}"));
        }
    }
    assert!(seen > 10, "{seen}");
    let ran = run(&["man", "rules", "chek"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("'chek' is not a command; want one of list, check"), "{}", ran.err);
}

/// Asks the script's function as bash would at the tab key.
#[test]
fn bash_completes_subcommands_and_values() {
    let script = run(&["completions", "bash"]);
    assert_eq!(script.status, 0, "{}", script.err);
    let ask = r#"source /dev/stdin; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _http__trace http-trace "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        echo "${COMPREPLY[@]}""#;
    for (words, offered) in [
        (&["rules", ""][..], &["list", "check", "explain", "hits"][..]),
        (&["rules", "hits", "--st"], &["--state"]),
        (&["detect", "--ev"], &["--events"]),
        (&["config", "c"], &["check"]),
        (&["help", "--"], &["--help"]),
        (&["--hook", "x"], &["xdp"]),
        (&["--color", ""], &["auto", "always", "never"]),
        (&["report", "--as", "h"], &["html"]),
        (&["--fail-on-alert", "c"], &["critical"]),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", ask, "bash", "http-trace"]).args(words);
        bash.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut bash = bash.spawn().unwrap();
        bash.stdin.take().unwrap().write_all(script.out.as_bytes()).unwrap();
        let said = String::from_utf8(bash.wait_with_output().unwrap().stdout).unwrap();
        let said: Vec<&str> = said.split_whitespace().collect();
        assert!(offered.iter().all(|word| said.contains(word)), "{words:?}: {said:?}");
    }
}

#[test]
fn help_is_a_command_too() {
    for (words, same) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "detect"], &["detect", "--help"]),
        (&["help", "rules"], &["rules", "--help"]),
        (&["help", "rules", "check"], &["rules", "check", "--help"]),
        (&["rules", "help", "check"], &["rules", "check", "--help"]),
        (&["rules", "help"], &["rules", "--help"]),
    ] {
        let (help, option) = (run(words), run(same));
        assert_eq!((help.status, &*help.err), (0, ""), "{words:?}");
        assert_eq!(help.out, option.out, "{words:?}");
    }
    let ran = run(&["help", "detct"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("'detct' is not a command; want one of"), "{}", ran.err);
}

#[test]
fn detect_offers_no_option_that_has_no_effect_on_what_is_recorded() {
    let ran = run(&["detect", "--help"]);
    assert!(ran.out.contains("--trusted-proxies"), "{}", ran.out);
    let of_packets = KEYS.iter().filter(|key| key.runs & runs::RECORDED == 0);
    let of_packets: Vec<&str> = of_packets.map(|key| key.name).collect();
    assert_eq!(of_packets.len(), 22);
    let words = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    for option in of_packets {
        let option = format!("--{option}");
        assert!(!ran.out.split(words).any(|word| word == option), "{option}");
        assert!(run(&["--help"]).out.contains(&option));
    }
}

#[test]
fn rules_are_listed_as_json_too() {
    let text = run(&["rules", "list"]).out;
    let ran = run(&["rules", "list", "--json"]);
    assert_eq!((ran.status, &*ran.err), (0, ""));
    let ids: Vec<String> = ran
        .out
        .lines()
        .map(|line| {
            let rule: serde_json::Value = serde_json::from_str(line).expect("json");
            assert!(rule["counts"].is_string() && rule["attack"].is_array(), "{line}");
            rule["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    let listed: Vec<&str> =
        text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, listed);
}

#[test]
fn export_to_standard_output_is_one_stream_of_rules() {
    let folder = tempfile::tempdir().unwrap();
    let exported = run(&["rules", "export", "-"]);
    assert_eq!(exported.status, 0, "{}", exported.err);
    let file = folder.path().join("all.yml");
    fs::write(&file, &exported.out).unwrap();
    let file = file.to_str().unwrap();
    let checked = run(&["rules", "check", "--no-builtin-rules", file]);
    assert!(checked.out.ends_with(" 0 rejected, 0 with warnings\n"), "{}", checked.out);
    let of = |paths: &[&str]| run(&[&["rules", "list"], paths].concat()).out;
    assert_eq!(of(&["--no-builtin-rules", file]), of(&[]));
}

#[test]
fn what_export_writes_checks_clean_and_raises_what_the_built_in_rules_do() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    let rules = rules.to_str().unwrap();
    assert_eq!(run(&["rules", "export", rules]).status, 0);
    let ran = run(&["rules", "check", "--no-builtin-rules", rules]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.ends_with(" 0 rejected, 0 with warnings\n"), "{}", ran.out);
    let capture = folder.path().join("c.pcap");
    fs::write(&capture, capture_of_errors(0..400)).unwrap();
    let capture = capture.to_str().unwrap();
    let built_in = run(&["-r", capture, "-o", "json"]);
    let exported = run(&["-r", capture, "-o", "json", "--no-builtin-rules", "--rules", rules]);
    assert!(alerts(&built_in.out).contains(&"http-error-spike-internal opened".to_owned()));
    // Equal except for the ruleset, and for the order of alerts from one event, which follows the files.
    let of = |out: &str| {
        let mut records = records(out);
        for record in &mut records {
            if let Some(rule) = record["rule"].as_object_mut() {
                rule.remove("ruleset");
            }
            if let Some(rules) = record["http_trace"]["rules"].as_array_mut() {
                rules.sort_by_key(ToString::to_string);
            }
        }
        let mut lines: Vec<String> = records.iter().map(ToString::to_string).collect();
        lines.sort();
        lines
    };
    assert_eq!(of(&built_in.out), of(&exported.out));
    let nowhere = run(&["rules", "export", "/proc/nowhere"]);
    assert_eq!(nowhere.status, 2);
    assert!(nowhere.err.contains("cannot write rules to /proc/nowhere"));
}

#[test]
fn export_leaves_edited_copies_alone() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules");
    let export =
        |more: &[&str]| run(&[&["rules", "export", rules.to_str().unwrap()], more].concat());
    assert_eq!(export(&[]).status, 0);
    assert_eq!(export(&[]).status, 0, "the same again");
    let (edited, linked) = (rules.join("cloud.yml"), rules.join("proxy.yml"));
    let elsewhere = folder.path().join("mine.yml");
    fs::write(&edited, "# mine\n").unwrap();
    fs::write(&elsewhere, "# mine too\n").unwrap();
    fs::remove_file(&linked).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &linked).unwrap();
    let ran = export(&[]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    for path in [&edited, &linked] {
        let said = format!("{} not overwritten", path.display());
        assert!(ran.err.contains(&said), "{}", ran.err);
    }
    assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
    assert_eq!(fs::read_to_string(&edited).unwrap(), "# mine\n");
    assert_eq!(export(&["--force"]).status, 0);
    assert_ne!(fs::read_to_string(&edited).unwrap(), "# mine\n");
    assert!(!fs::symlink_metadata(&linked).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "# mine too\n");
}
