//! The inventory of `--state`: kept across runs, printed by `report`, and never written over another file.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::NGINX;
use crate::command::{http_trace, run};

fn report(state: &str, more: &[&str]) -> Value {
    let ran = run(&[&["report", "--state", state, "--as", "json"], more].concat());
    assert_eq!(ran.status, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn line(day: u32, path: &str) -> String {
    format!(
        "10.0.0.1 - - [{day:02}/Nov/2024:10:00:00 +0000] \"GET {path} HTTP/1.1\" 200 5 \"-\" \"x\"\n"
    )
}

#[test]
fn runs_add_up_and_what_is_not_seen_for_long_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let state = at("state");
    let once = run(&["report", NGINX, "--as", "json", "--to", &at("once.json")]);
    assert_eq!(once.status, 0, "{}", once.err);
    for _ in 0..2 {
        // Filters on the output have no effect.
        let ran = run(&["-r", NGINX, "--state", &state, "--status", "5xx", "-o", "json"]);
        assert_eq!(ran.status, 0, "{}", ran.err);
    }
    let once: Value = serde_json::from_slice(&fs::read(at("once.json")).unwrap()).unwrap();
    let twice = report(&state, &[]);
    assert_eq!(once["events"].as_u64().map(|n| 2 * n), twice["events"].as_u64());
    let names = |report: &Value| -> Vec<(String, u64)> {
        let all = report["endpoints"].as_array().unwrap().iter();
        let name =
            |row: &Value| format!("{} {} {}", row["method"], row["service"], row["template"]);
        let mut all: Vec<_> = all.map(|row| (name(row), row["hits"].as_u64().unwrap())).collect();
        all.sort();
        all
    };
    let mut expected = names(&once);
    expected.iter_mut().for_each(|(_, hits)| *hits *= 2);
    // The second run already knows these endpoints before they answer with success.
    let hits = |all: &[(String, u64)]| all.iter().map(|(_, hits)| *hits).sum::<u64>();
    assert_eq!(names(&twice).len(), expected.len());
    assert!(hits(&names(&twice)) >= hits(&expected));

    let state = at("log-state");
    for (name, text) in [
        ("1.log", line(1, "/old") + &line(2, "/both")),
        ("2.log", line(20, "/both") + &line(21, "/new")),
    ] {
        fs::write(at(name), text).unwrap();
        let ran = run(&["detect", &at(name), "--state", &state]);
        assert_eq!(ran.status, 0, "{}", ran.err);
    }
    let told = report(&state, &["--unseen", "7d"]);
    let unseen = |row: &Value| row["unseen"] == true;
    let rows = told["endpoints"].as_array().unwrap().iter().filter(|row| unseen(row));
    let rows: Vec<&Value> = rows.map(|row| &row["template"]).collect();
    assert_eq!(rows, ["/old"]);
    assert_eq!(
        (&told["from"], &told["until"]),
        (&"2024-11-01T10:00:00Z".into(), &"2024-11-21T10:00:00Z".into())
    );
    let ran = run(&["report", "--state", &state, "--to", &at("site.html")]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(fs::read_to_string(at("site.html")).unwrap().contains("/both"));

    // Two days are kept: days up to the 21st are removed once there is an event on the 30th.
    fs::write(at("3.log"), line(30, "/last")).unwrap();
    let config = at("c.toml");
    fs::write(&config, "inventory-keep = '2d'\n").unwrap();
    let ran = run(&["detect", &at("3.log"), "--state", &state, "--config", &config]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(names(&report(&state, &[])).len(), 1);
}

/// As the last line of a run: what was lost, and what was not readable.
#[test]
fn reports_say_what_was_not_readable() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").to_str().unwrap().to_owned();
    let tls = NGINX.replace("nginx", "tls");
    let once = run(&["report", &tls]);
    for expected in ["lost            nothing", "other protocols 1 TLS on :443"] {
        assert!(once.out.contains(expected), "{}", once.out);
    }
    for file in [&tls, NGINX, &tls] {
        let ran = run(&["-q", "-r", file, "--state", &state]);
        assert_eq!(ran.status, 0, "{}", ran.err);
    }
    assert_eq!(report(&state, &[])["unreadable"]["TLS:443"], 2);
    assert_eq!(report(&state, &[])["lost"], 0);
}

/// At most what came since it was last saved is missing.
#[test]
fn what_was_saved_survives_a_kill_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").to_str().unwrap().to_owned();
    let (mut saved, mut sent) = (0, 0);
    for pause_ms in [0, 7, 40] {
        let mut child = http_trace(&["detect", "--state", &state])
            .env("HTTP_TRACE_STATE_INTERVAL", "1s")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let begun = Instant::now();
        let before = saved;
        while saved == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing is saved");
            stdin.write_all(line(1, "/a").repeat(100).as_bytes()).unwrap();
            sent += 100;
            std::thread::sleep(Duration::from_millis(50));
            if Path::new(&format!("{state}.inventory.db")).exists() {
                saved = report(&state, &[])["events"].as_u64().unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let told = report(&state, &[])["events"].as_u64().unwrap();
        assert!((saved..=sent).contains(&told), "{told} of {sent}, {saved} saved");
        saved = told;
    }
}

#[test]
fn a_file_of_no_use_is_moved_aside_or_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (state, database) = (at("state"), at("state.inventory.db"));
    let log = at("a.log");
    fs::write(&log, line(1, "/a")).unwrap();
    let keep = || run(&["detect", &log, "--state", &state]);
    let ran = run(&["report", "--state", &state]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("does not exist: a run with --state"), "{}", ran.err);

    fs::write(&database, "mine\n").unwrap();
    let ran = keep();
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(
        ran.err.contains("no inventory is kept in")
            && ran.err.contains("it is not an http-trace inventory"),
        "{}",
        ran.err
    );
    assert_eq!(fs::read(&database).unwrap(), b"mine\n");
    assert_eq!(run(&["report", "--state", &state]).status, 2);

    fs::remove_file(&database).unwrap();
    assert_eq!(keep().status, 0);
    let mut bytes = fs::read(&database).unwrap();
    bytes[60..64].copy_from_slice(&7_u32.to_be_bytes());
    fs::write(&database, &bytes).unwrap();
    let ran = run(&["report", "--state", &state]);
    assert!(ran.status == 2 && ran.err.contains("version 7"), "{}", ran.err);
    let ran = keep();
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(
        ran.err.contains("it has version 7") && ran.err.contains("state.inventory.db.bad"),
        "{}",
        ran.err
    );
    assert_eq!(fs::read(at("state.inventory.db.bad")).unwrap(), bytes);
    assert_eq!(report(&state, &[])["events"], 1);

    let whole = fs::read(&database).unwrap();
    fs::write(&database, &whole[..whole.len() / 2]).unwrap();
    let ran = run(&["report", "--state", &state]);
    assert!(ran.status == 2 && ran.err.contains("malformed"), "{}", ran.err);
    let ran = keep();
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(Path::new(&at("state.inventory.db.bad2")).exists(), "{}", ran.err);
    assert_eq!(report(&state, &[])["events"], 1);
}
