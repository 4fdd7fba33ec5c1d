//! What the command prints of itself: help, its version, manual pages, the built-in rules; and what it
//! says of words that it cannot take.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[expect(dead_code, reason = "nothing is read here")]
mod common;

use std::fs::File;
use std::process::{Command, Stdio};

use common::run;

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
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = command.args(words).stdout(Stdio::from(full)).output();
        let ran = ran.unwrap();
        let err = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(1), "{words:?}: {err}");
        assert!(
            err.contains("cannot write to standard output: No space left"),
            "{words:?}: {err}"
        );
        // Who reads no more has what he wanted.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran = command.stdout(writer).output().unwrap();
        assert_eq!(ran.status.code(), Some(0), "{words:?}");
    }
}

/// A word of which one is no text: clap does not say which.
#[cfg(unix)]
#[test]
fn a_word_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt as _;
    for (option, value, named) in [
        ("-o", &b"json:caf\xe9"[..], r"'json:caf\xe9' is not UTF-8"),
        ("--alerts-to", b"file:\xe9", r"'file:\xe9' is not UTF-8"),
        ("--state", b"\xff\n", r"'\xff\n' is not UTF-8"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
        let value = std::ffi::OsString::from_vec(value.to_vec());
        let ran = command
            .args(["-r", "x.pcap", option])
            .arg(value)
            .output()
            .unwrap();
        assert_eq!(ran.status.code(), Some(2), "{option}");
        let err = String::from_utf8(ran.stderr).unwrap();
        assert!(err.contains(named), "{option}: {err}");
    }
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
        seen += 1;
        let out = ran.out.replace('\\', "");
        let named = out.lines().filter_map(|line| line.strip_suffix("(1)"));
        for named in named.filter_map(|named| named.strip_prefix(&format!("{name}-"))) {
            pages.push(format!("{page} {named}"));
        }
    }
    assert!(seen > 10, "{seen}");
    let ran = run(&["man", "rules", "chek"]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.err
            .contains("'chek' is no command; there are list, check"),
        "{}",
        ran.err
    );
}

#[test]
fn detect_offers_no_option_that_has_no_effect_on_what_is_recorded() {
    let ran = run(&["detect", "--help"]);
    assert!(ran.out.contains("--trusted-proxies"), "{}", ran.out);
    for option in http_trace::cli::OF_PACKETS {
        assert!(!ran.out.contains(&format!("--{option}")), "{option}");
        assert!(run(&["--help"]).out.contains(&format!("--{option}")));
    }
}
