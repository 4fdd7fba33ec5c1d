//! No output overwrites an input or another output.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::NGINX;
use crate::command::{http_trace, ran, run};
use crate::errors::capture_of_errors;

#[test]
fn nothing_is_written_over_what_is_read_or_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let capture = capture_of_errors(0..3);
    for name in ["t.pcap", "folder/in.pcap"] {
        fs::create_dir_all(folder.path().join("folder")).unwrap();
        fs::write(at(name), &capture).unwrap();
    }
    fs::write(at("r.yml"), "title: t\n").unwrap();
    fs::write(at("c.toml"), "quiet = true\n").unwrap();
    std::os::unix::fs::symlink(at("t.pcap"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("later"), at("dangling")).unwrap();
    fs::hard_link(at("t.pcap"), at("hard")).unwrap();
    let (t, over_t) = (at("t.pcap"), format!("json:{}", at("t.pcap")));
    let to = |name: &str| format!("json:{}", at(name));
    let table: &[(&[&str], &str)] = &[
        (&["-r", &t, "-o", &over_t], "would overwrite"),
        (&["-r", &t, "-o", &to("folder/../link")], "would overwrite"),
        (&["-r", &t, "-o", &to("hard")], "would overwrite"),
        (&["-r", &at("hard"), "--state", &t], "would overwrite"),
        (&["-r", &t, "--alerts-to", &format!("file:{t}")], "would overwrite"),
        (&["-r", &at("folder"), "-o", &to("folder/in.pcap")], "overwrite a capture in"),
        (&["detect", &t, "-o", &over_t], "would overwrite"),
        (&["-r", &t, "--rules", &at("r.yml"), "-o", &to("r.yml")], "would overwrite"),
        (&["-r", &t, "--config", &at("c.toml"), "-o", &to("c.toml")], "would overwrite"),
        (
            &["-r", &t, "-o", &to("new"), "-o", &format!("pretty:{}", at("folder/../new"))],
            "are the same file",
        ),
        (
            &["-r", &t, "-o", &to("later"), "-o", &format!("pretty:{}", at("dangling"))],
            "are the same file",
        ),
        (&["-r", &t, "-o", &to("new"), "--state", &at("new")], "are the same file"),
        (
            &["-r", &t, "-o", &to("new"), "--alerts-to", &format!("file:{}", at("new"))],
            "are the same file",
        ),
    ];
    for (arguments, expected) in table {
        let ran = run(arguments);
        assert_eq!(ran.status, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
        assert!(!folder.path().join("new").exists(), "{arguments:?}");
    }
    let ran = ran(http_trace(&["-r", "-", "-o", &over_t]).stdin(fs::File::open(&t).unwrap()));
    assert_eq!(ran.status, 2, "{}", ran.err);
    for name in ["t.pcap", "folder/in.pcap"] {
        assert_eq!(fs::read(at(name)).unwrap(), capture, "{name}");
    }
    // The output of an earlier run in the folder is not a capture, and devices may be shared.
    for _ in 0..2 {
        let again = to("folder/out.json");
        let ran = run(&["-r", &at("folder"), "-o", &again, "-o", "pretty:/dev/null"]);
        assert_eq!(ran.status, 0, "{}", ran.err);
    }
}

#[test]
fn a_report_replaces_an_earlier_one_once_it_is_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("t.pcap"), capture_of_errors(0..3)).unwrap();
    for form in ["html", "md", "allow", "json"] {
        let report = at(&format!("site.{form}"));
        fs::write(&report, "earlier\n").unwrap();
        fs::set_permissions(&report, fs::Permissions::from_mode(0o644)).unwrap();
        for missing in ["missing.pcap", "missing.log"] {
            let ran = run(&["report", &at(missing), "--to", &report]);
            assert_eq!(ran.status, 1, "{}", ran.err);
            assert_eq!(fs::read(&report).unwrap(), b"earlier\n", "{form}: nothing was read");
        }
        let to = format!("report:{report}");
        let ran = run(&["-r", &at("t.pcap"), &at("missing.pcap"), "-o", &to]);
        assert_eq!(ran.status, 1, "{}", ran.err);
        let text = fs::read_to_string(&report).unwrap();
        assert!(!text.is_empty() && !text.starts_with("earlier"), "{form}: {text}");
        let mode = fs::metadata(&report).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{form}");
        assert!(!fs::exists(at(&format!("site.{form}.http-trace-new"))).unwrap(), "{form}");
    }
    // Where nothing can be made beside it, it is overwritten.
    fs::create_dir(at("site.html.http-trace-new")).unwrap();
    fs::write(at("site.html"), "earlier\n").unwrap();
    let ran = run(&["report", &at("t.pcap"), "--to", &at("site.html")]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(fs::read_to_string(at("site.html")).unwrap().starts_with("<!doctype"));
}

#[test]
fn a_file_that_another_run_writes_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (output, alerts) = (format!("json:{}", at("out")), format!("file:{}", at("alerts")));
    let options = ["-o", &output, "--alerts-to", &alerts];
    let mut other = http_trace(&["detect"]);
    let mut other =
        other.args(options).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let is_locked = |name: &str| {
        let file = fs::File::open(at(name));
        file.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
    };
    while !is_locked("out") || !is_locked("alerts") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let warned = || {
        let said = run(&[&["-r", NGINX], &options[..]].concat()).err;
        said.matches(": another process writes to it; every event may be there twice\n").count()
    };
    assert_eq!(warned(), 2);
    drop(other.stdin.take());
    other.wait().unwrap();
    assert_eq!(warned(), 0);
}
