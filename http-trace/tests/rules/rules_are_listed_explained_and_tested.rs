//! `http-trace rules`: list, explain, check and test.

use std::fs;

use crate::GOOD;
use crate::command::run;
use crate::errors::{alerts, capture_of_errors};

#[test]
fn the_rules_that_the_documentation_shows_load() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/RULES.md"));
    let text = text.unwrap();
    let (_, rest) = text.split_once("```yaml\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yml");
    fs::write(&file, shown).unwrap();
    let ran = run(&["rules", "check", file.to_str().unwrap()]);
    assert_eq!(ran.out, "2 rules load, 0 rejected, 0 with warnings\n");
    assert_eq!(ran.status, 0);
    // The other commands in the documentation accept the rules without warnings too.
    let (capture, log) = (folder.path().join("day.pcap"), folder.path().join("a.log"));
    fs::write(&capture, capture_of_errors(0..3)).unwrap();
    fs::write(&log, "").unwrap();
    let (file, capture) = (file.to_str().unwrap(), capture.to_str().unwrap());
    let detect = ["detect", "--no-builtin-rules", "--rules", file];
    for arguments in [
        &["rules", "test", file, "-r", capture][..],
        &[&detect[..], &[log.to_str().unwrap()]].concat(),
        &["-r", capture, "--rules", file],
    ] {
        let ran = run(arguments);
        assert_eq!(ran.status, 0, "{}", ran.err);
        assert!(!ran.err.contains("warning"), "{arguments:?}: {}", ran.err);
    }
    // Every documented field exists.
    let fields = text.split("| field | what |").nth(1).unwrap();
    let (fields, _) = fields.split_once("\n\n").unwrap();
    let names = fields.lines().filter_map(|line| line.split('|').nth(1));
    let names: Vec<&str> = names.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 10, "{names:?}");
    let all = names.iter().map(|name| format!("    {name}|exists: true\n"));
    let rule = GOOD.replace("    sc-status: 404\n", &all.collect::<String>());
    fs::write(file, rule).unwrap();
    let ran = run(&["rules", "check", file]);
    assert_eq!(ran.status, 0, "{}", ran.out);
}

/// Regression: shell process substitution, `<(command)`, was refused.
#[test]
fn rules_come_from_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rule.yml");
    fs::write(&file, GOOD.replace("NAME", "piped")).unwrap();
    let ran = |command: &str| {
        let out = std::process::Command::new("bash")
            .args(["-c", command])
            .env("AGENT", env!("CARGO_BIN_EXE_http-trace"))
            .env("FILE", &file)
            .env("FOLDER", folder.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (status, out, err) = ran("\"$AGENT\" rules check <(cat \"$FILE\")");
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out, "1 rule loads, 0 rejected, 0 with warnings\n");
    let (status, out, err) = ran("\"$AGENT\" rules list <(cat \"$FILE\")");
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("\npiped "), "{out}");
    let named = "mkfifo \"$FOLDER/p\"; cat \"$FILE\" > \"$FOLDER/p\" & \"$AGENT\" rules check \"$FOLDER/p\"";
    let (status, out, err) = ran(named);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    // Errors in it have a position too.
    let (status, out, _) = ran("\"$AGENT\" rules check <(sed s/sc-status/sc-statsu/ \"$FILE\")");
    assert_eq!(status, Some(1));
    assert!(out.contains(":7:5: error: unknown field 'sc-statsu'"), "{out}");
}

#[test]
fn list_and_explain_tell_what_a_rule_counts() {
    let ran = run(&["rules", "list"]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    let line = |id: &str| {
        let mut lines = ran.out.lines();
        let found = lines.find(|line| line.split(' ').next() == Some(id));
        found.unwrap_or_else(|| panic!("no {id}")).to_owned()
    };
    for (id, level, condition) in [
        ("http-error-spike-internal", "low", "350 / 5m"),
        ("http-path-scan", "medium", "30 distinct cs-uri-stem / 10m"),
        ("http-guessed-credentials", "high", "in order / 15m"),
        ("http-metadata-service", "informational", "each"),
    ] {
        let line = line(id);
        assert!(line.contains(level) && line.contains(condition), "{line}");
    }
    let ran = run(&["rules", "explain", "http-error-spike-internal"]);
    assert_eq!(ran.status, 0);
    for expected in ["350 / 5m", "TA0007", "Sumo Logic", "error-spike.yml:"] {
        assert!(ran.out.contains(expected), "{expected}: {}", ran.out);
    }
    // A description is printed once, and one that is missing leaves no gap.
    let ran = run(&["rules", "explain", "http-metadata-service"]);
    assert!(!ran.out.contains("\nof "), "{}", ran.out);
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare.yml");
    let text = "title: it\nname: it\nlevel: high\nlogsource: {category: webserver}\n\
                detection: {s: {sc-status: 404}, condition: s}\n";
    fs::write(&bare, text).unwrap();
    let ran = run(&["rules", "explain", "it", bare.to_str().unwrap()]);
    assert!(ran.out.starts_with("it  (it)\n\nseverity "), "{}", ran.out);
    // As the configuration changes them.
    let file = folder.path().join("c.toml");
    let changes =
        "disable-rule = ['http-posture-*']\n[detect.rules.http-path-scan]\nthreshold = 60\n";
    fs::write(&file, changes).unwrap();
    let with = |args: &[&str]| run(&[args, &["--config", file.to_str().unwrap()]].concat());
    let listed = with(&["rules", "list"]).out;
    assert!(listed.contains("60 distinct cs-uri-stem") && !listed.contains("http-posture-"));
    let posture = run(&["rules", "list"]).out;
    let posture = posture.split_whitespace().find(|id| id.starts_with("http-posture-")).unwrap();
    assert!(with(&["rules", "explain", posture]).out.contains("disabled (disable-rule)"));
    let ran = run(&["rules", "explain", "http-error-spike-internal", "/no/such.yml"]);
    assert!(ran.err.contains("/no/such.yml"), "{}", ran.err);
    let ran = run(&["rules", "explain", "http-error-spyke"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("unknown rule"), "{}", ran.err);
}

#[test]
fn test_runs_these_rules_alone_and_ends_with_3_when_one_speaks() {
    let folder = tempfile::tempdir().unwrap();
    let (rule, capture) = (folder.path().join("r.yml"), folder.path().join("c.pcap"));
    fs::write(&capture, capture_of_errors(0..400)).unwrap();
    for (status, ended, expected) in [(404, 3, "mine opened"), (500, 0, "")] {
        let text = GOOD.replace("NAME", "mine").replace("404", &status.to_string());
        fs::write(&rule, text).unwrap();
        let ran = run(&["rules", "test", rule.to_str().unwrap(), "-r", capture.to_str().unwrap()]);
        assert_eq!(ran.status, ended, "{}", ran.err);
        let told = alerts(&ran.out);
        assert_eq!(told.first().map_or("", String::as_str), expected);
        assert!(told.iter().all(|alert| alert.starts_with("mine ")), "{told:?}");
        assert!(!ran.out.contains("\"kind\":\"event\""), "{}", ran.out);
    }
}

#[test]
fn test_without_all_of_its_rules_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("c.pcap"), capture_of_errors(0..3)).unwrap();
    fs::create_dir(at("some")).unwrap();
    fs::create_dir(at("none")).unwrap();
    let good = GOOD.replace("NAME", "good").replace("404", "500");
    fs::write(at("some/good.yml"), &good).unwrap();
    fs::write(at("some/broken.yml"), good.replace("sc-status", "sc-statsu")).unwrap();
    for (path, status, expected) in [
        ("missing.yml", 2, "no rule to test in "),
        ("none", 2, "no rule to test in "),
        ("some/broken.yml", 2, "no rule to test in "),
        ("some", 1, "unknown field 'sc-statsu'"),
        ("some/good.yml", 0, ""),
    ] {
        let ran = run(&["rules", "test", &at(path), "-r", &at("c.pcap")]);
        assert_eq!(ran.status, status, "{path}: {}", ran.err);
        assert!(ran.err.contains(expected), "{path}: {}", ran.err);
    }
}

/// Several errors in a rule count as one refused rule, and a rule with warnings loads.
#[test]
fn rules_are_counted_and_not_what_is_said_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.yml");
    let bad = GOOD.replace("sc-status: 404", "cs-foo: x\n    cs-bar: y");
    let odd = GOOD.replace("level: low", "level: low\nstatus: wip\nsevrity: 3");
    let text = [bad.replace("NAME", "bad"), odd.replace("NAME", "odd"), GOOD.to_owned()];
    fs::write(&file, text.join("---\n")).unwrap();
    let ran = run(&["rules", "check", file.to_str().unwrap()]);
    assert!(ran.out.ends_with("\n2 rules load, 1 rejected, 1 with warnings\n"), "{}", ran.out);
    fs::write(&file, text[1..].join("---\n")).unwrap();
    let ran = run(&["rules", "check", file.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{}", ran.out);
}

#[test]
fn list_takes_rules_as_a_run_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.yml");
    fs::write(&file, GOOD.replace("NAME", "mine")).unwrap();
    let ran = run(&["rules", "list", "--no-builtin-rules", "--rules", file.to_str().unwrap()]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    assert!(ran.out.starts_with("mine "), "{}", ran.out);
}
