//! `http-trace rules` as a person types it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod common;

use std::fs;
use std::path::Path;

use common::{alerts, capture_of_errors, run};

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
    assert_eq!(ran.out, "2 rules load, 0 refused, 0 with a warning\n");
    assert_eq!(ran.status, 0);
    // Nor have the other commands that it shows anything to say of them.
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
    // Every field that it names is one.
    let fields = text.split("| field | what |").nth(1).unwrap();
    let (fields, _) = fields.split_once("\n\n").unwrap();
    let names = fields.lines().filter_map(|line| line.split('|').nth(1));
    let names: Vec<&str> = names
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let all = names
        .iter()
        .map(|name| format!("    {name}|exists: true\n"));
    let rule = GOOD.replace("    sc-status: 404\n", &all.collect::<String>());
    fs::write(file, rule).unwrap();
    let ran = run(&["rules", "check", file]);
    assert_eq!(ran.status, 0, "{}", ran.out);
}

/// What a shell makes of `<(command)`: refused before.
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
    assert_eq!(out, "1 rule loads, 0 refused, 0 with a warning\n");
    let (status, out, err) = ran("\"$AGENT\" rules list <(cat \"$FILE\")");
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("\npiped "), "{out}");
    let named = "mkfifo \"$FOLDER/p\"; cat \"$FILE\" > \"$FOLDER/p\" & \"$AGENT\" rules check \"$FOLDER/p\"";
    let (status, out, err) = ran(named);
    assert_eq!((status, err.as_str()), (Some(0), ""), "{out}");
    // Its faults have a place too.
    let (status, out, _) = ran("\"$AGENT\" rules check <(sed s/sc-status/sc-statsu/ \"$FILE\")");
    assert_eq!(status, Some(1));
    assert!(
        out.contains(":7:5: error: unknown field 'sc-statsu'"),
        "{out}"
    );
}

/// A rule that loads, of which parts are replaced.
const GOOD: &str = "\
title: Not found
name: NAME
logsource:
  category: webserver
detection:
  selection:
    sc-status: 404
  condition: selection
level: low
";

/// File, text, and how the line about it goes on after the folder.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "aggregation.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    sc-status: 404\n  timeframe: 10m\n  condition: s | count() by c-ip > 10\n",
        "aggregation.yml:7:3: error: '|' in a condition is of old Sigma",
    ),
    (
        "body.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    cs-body|contains: x\n  condition: s\n",
        "body.yml:5:5: error: no event has 'cs-body': rules do not look into bodies",
    ),
    (
        "brackets.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: (s\n",
        "brackets.yml:6:3: error: the condition '(s' is not understood: expected ",
    ),
    (
        "circle.yml",
        "\
title: One
name: one
correlation:
  type: event_count
  rules: two
  timespan: 1m
  condition: { gte: 2 }
---
title: Two
name: two
correlation:
  type: event_count
  rules: one
  timespan: 1m
  condition: { gte: 2 }
",
        "circle.yml:5:3: error: its rules take each other in, in a circle",
    ),
    (
        "condition.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  selection:\n    c-uri: x\n  condition: selektion\n",
        "condition.yml:6:3: error: the condition names 'selektion', which is not defined; there are selection",
    ),
    (
        "correlation.yml",
        "\
title: t
correlation:
  type: event_count
  rules: http-refused
  timespan: 1m
  condition: { gte: 2 }
",
        "correlation.yml:4:10: error: 'http-refused' is no rule that is loaded",
    ),
    (
        "expand.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-ip|expand: '%scanners%'\n  condition: s\n",
        "expand.yml:5:5: error: |expand needs a placeholder's values",
    ),
    (
        "field.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    sc-statsu: 404\n  condition: s\n",
        "field.yml:5:5: error: unknown field 'sc-statsu'; did you mean 'sc-status'?",
    ),
    (
        "filter.yml",
        "\
title: Our scanner
logsource: { category: webserver }
filter:
  rules: [http-path-refused]
  selection:
    c-ip: 10.0.0.1
  condition: selection
",
        "filter.yml:7:3: warning: a filter is ANDed with the rule",
    ),
    (
        "regex.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri|re: '(a'\n  condition: s\n",
        "regex.yml:5:16: error: the expression '(a' is none: unclosed group",
    ),
    (
        "regex-large.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri|re: '((a{100}){100}){100}'\n  condition: s\n",
        "regex-large.yml:5:16: error: the expression '((a{100}){100}){100}' compiles to more than 1048576 bytes: bound its repetitions",
    ),
    (
        "source.yml",
        "title: t\nlogsource:\n  category: process_creation\n  product: windows\ndetection:\n  s:\n    c-uri: x\n  condition: s\n",
        "source.yml:2:1: error: category process_creation, product windows is not seen in HTTP responses",
    ),
    (
        "threshold.yml",
        "\
title: t
correlation:
  type: value_count
  rules: http-path-refused
  group-by: c-ip
  timespan: 1m
  condition: { gte: 1000, field: sc-status }
",
        "threshold.yml:7:3: error: it can never hold: there are 900 values at most",
    ),
    (
        "twice.yml",
        "title: t\nname: good\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: s\n",
        "twice.yml:2:7: error: 'good' is already at ",
    ),
    (
        "yaml.yml",
        "title: t\nlogsource: { category: proxy\ndetection:\n",
        "yaml.yml:2:12: error: YAML parse error: ",
    ),
];

fn faulty(folder: &Path) {
    fs::write(folder.join("a-good.yml"), GOOD.replace("NAME", "good")).unwrap();
    for (name, text, _) in FAULTS {
        fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
fn check_names_each_fault_with_its_place_and_loads_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    faulty(folder.path());
    let ran = run(&["rules", "check", folder.path().to_str().unwrap()]);
    assert_eq!(ran.status, 1, "{}{}", ran.out, ran.err);
    for (name, _, expected) in FAULTS {
        let expected = format!("{}/{expected}", folder.path().display());
        let said = ran.out.lines().filter(|line| line.starts_with(&expected));
        assert_eq!(said.count(), 1, "{name}: want '{expected}' in\n{}", ran.out);
    }
    assert!(ran.out.ends_with("1 with a warning\n"), "{}", ran.out);
    assert!(ran.out.contains("\n1 rule load"), "{}", ran.out);
}

#[test]
fn a_run_names_what_is_wrong_and_goes_on_with_the_good_rules() {
    let folder = tempfile::tempdir().unwrap();
    faulty(folder.path());
    let capture = folder.path().join("errors.pcap");
    fs::write(&capture, capture_of_errors(0..1)).unwrap();
    let ran = run(&[
        "-r",
        capture.to_str().unwrap(),
        "-o",
        "json",
        "--no-builtin-rules",
        "--rules",
        folder.path().to_str().unwrap(),
    ]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert_eq!(alerts(&ran.out), ["good opened"]);
    assert!(ran.err.contains("field.yml:5:5: error: "), "{}", ran.err);
}

#[test]
fn check_of_good_files_says_how_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.yml");
    fs::write(&file, GOOD.replace("NAME", "good")).unwrap();
    let path = file.to_str().unwrap();
    let ran = run(&["rules", "check", path]);
    assert_eq!(ran.status, 0, "{}", ran.out);
    assert_eq!(ran.out, "1 rule loads, 0 refused, 0 with a warning\n");
    let ran = run(&["rules", "check", path, "/nonexistent.yml"]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.err.contains("cannot read rules from /nonexistent.yml"),
        "{}",
        ran.err
    );
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
    let ran = run(&["rules", "explain", "http-error-spyke"]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("no rule has the id"), "{}", ran.err);
}

#[test]
fn test_runs_these_rules_alone_and_ends_with_3_when_one_speaks() {
    let folder = tempfile::tempdir().unwrap();
    let (rule, capture) = (folder.path().join("r.yml"), folder.path().join("c.pcap"));
    fs::write(&capture, capture_of_errors(0..400)).unwrap();
    for (status, ended, expected) in [(404, 3, "mine opened"), (500, 0, "")] {
        let text = GOOD
            .replace("NAME", "mine")
            .replace("404", &status.to_string());
        fs::write(&rule, text).unwrap();
        let ran = run(&[
            "rules",
            "test",
            rule.to_str().unwrap(),
            "-r",
            capture.to_str().unwrap(),
        ]);
        assert_eq!(ran.status, ended, "{}", ran.err);
        let told = alerts(&ran.out);
        assert_eq!(told.first().map_or("", String::as_str), expected);
        assert!(
            told.iter().all(|alert| alert.starts_with("mine ")),
            "{told:?}"
        );
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
    fs::write(
        at("some/broken.yml"),
        good.replace("sc-status", "sc-statsu"),
    )
    .unwrap();
    for (path, status, expected) in [
        ("missing.yml", 2, "there is no rule to test in "),
        ("none", 2, "there is no rule to test in "),
        ("some/broken.yml", 2, "there is no rule to test in "),
        ("some", 1, "unknown field 'sc-statsu'"),
        ("some/good.yml", 0, ""),
    ] {
        let ran = run(&["rules", "test", &at(path), "-r", &at("c.pcap")]);
        assert_eq!(ran.status, status, "{path}: {}", ran.err);
        assert!(ran.err.contains(expected), "{path}: {}", ran.err);
    }
}

#[test]
fn rules_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("c.pcap");
    fs::write(&capture, capture_of_errors(0..400)).unwrap();
    let capture = capture.to_str().unwrap();
    let spike = "http-error-spike-internal opened".to_owned();
    let empty = tempfile::tempdir().unwrap();
    let ran = run(&["-r", capture, "--rules", empty.path().to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let said = "holds no rules: no .yml or .yaml file is in it\n";
    assert!(ran.err.contains(said), "{}", ran.err);
    let ran = run(&["-r", capture, "-o", "json", "--rules", "/nonexistent.yml"]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(
        ran.err.contains("rules from /nonexistent.yml"),
        "{}",
        ran.err
    );
    assert!(alerts(&ran.out).contains(&spike));
    for option in ["--disable-rule", "--rule"] {
        let ran = run(&[
            "-r",
            capture,
            "-o",
            "json",
            option,
            "http-error-spike-internl",
        ]);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let said = "rule 'http-error-spike-internl': no rule that is loaded has this id; did you \
                    mean 'http-error-spike-internal'?";
        assert!(ran.err.contains(said), "{}", ran.err);
        let ran = run(&[
            "-r",
            capture,
            "-o",
            "json",
            option,
            "http-error-spike-internal",
        ]);
        assert!(!ran.err.contains("has this id"), "{}", ran.err);
    }
}

/// Several faults of one rule are one rule that is refused, and one with warnings loads.
#[test]
fn rules_are_counted_and_not_what_is_said_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.yml");
    let bad = GOOD.replace("sc-status: 404", "cs-foo: x\n    cs-bar: y");
    let odd = GOOD.replace("level: low", "level: low\nstatus: wip\nsevrity: 3");
    let text = [
        bad.replace("NAME", "bad"),
        odd.replace("NAME", "odd"),
        GOOD.to_owned(),
    ];
    fs::write(&file, text.join("---\n")).unwrap();
    let ran = run(&["rules", "check", file.to_str().unwrap()]);
    assert!(
        ran.out
            .ends_with("\n2 rules load, 1 refused, 1 with a warning\n"),
        "{}",
        ran.out
    );
    fs::write(&file, text[1..].join("---\n")).unwrap();
    let ran = run(&["rules", "check", file.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{}", ran.out);
}

#[test]
fn list_takes_rules_as_a_run_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.yml");
    fs::write(&file, GOOD.replace("NAME", "mine")).unwrap();
    let ran = run(&[
        "rules",
        "list",
        "--no-builtin-rules",
        "--rules",
        file.to_str().unwrap(),
    ]);
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    assert!(ran.out.starts_with("mine "), "{}", ran.out);
}

/// What loaded and never matched, or was told in a way that nobody could act on.
#[test]
fn faults_say_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.yml");
    let detection = |selection: &str| {
        format!(
            "title: t\nlogsource: {{ category: webserver }}\ndetection:\n  s:\n    {selection}\n  \
             condition: s\n"
        )
    };
    let correlation = |rest: &str| {
        format!(
            "title: t\ncorrelation:\n  rules: http-path-refused\n  group-by: c-ip\n  timespan: 5m\n  \
             {rest}\n"
        )
    };
    let good = detection("sc-status: 404");
    for (text, expected) in [
        (
            detection("c-ip: 10.0.0.0/8"),
            &["5:5: error: '10.0.0.0/8' is a network: want 'c-ip|cidr'"][..],
        ),
        (
            detection("sc-status: not found"),
            &["5:5: error: 'not found' is no number, and 'sc-status' always is"],
        ),
        (detection("sc-status: ['404', '4*', '-']"), &[]),
        (
            detection("cs-foo: x\n    sc-statsu: 404"),
            &[
                "5:5: error: unknown field 'cs-foo'",
                "6:5: error: unknown field 'sc-statsu'; did you mean 'sc-status'?",
            ],
        ),
        (
            detection("cs-uri|startwith: /x"),
            &["5:12: error: there is no modifier 'startwith'; did you mean 'startswith'?"],
        ),
        (
            good.clone() + "level: hgih\n",
            &[
                "7:8: warning: 'hgih' is no level: want informational, low, medium, high or critical",
            ],
        ),
        (
            good.clone() + "sevrity: 3\n",
            &["7:1: warning: 'sevrity' means nothing here; did you mean 'severity'?"],
        ),
        (
            good.clone() + "yields_to: good\n",
            &["7:1: warning: 'yields_to' means nothing here; did you mean 'yields-to'?"],
        ),
        (good.clone() + "owner: me\n", &[]),
        (
            correlation("type: event_cont\n  condition: {gte: 3}"),
            &[
                "6:9: error: there is no correlation 'event_cont': want event_count, value_count, temporal, \
               temporal_ordered, value_sum, value_avg, value_median, value_percentile",
            ],
        ),
        (
            correlation("type: event_count"),
            &["2:1: error: it needs a condition, such as 'condition: {gte: 10}'"],
        ),
        (
            correlation("type: event_count\n  condition:\n    gte: many"),
            &["8:5: error: 'gte' wants a number"],
        ),
        (
            correlation("type: event_count\n  condition: {gte: 3}").replace("5m", "5 minutes"),
            &["5:13: error: '5 minutes' is no time: want a number and s, m, h or d, such as 5m"],
        ),
        (
            "title: t\n".to_owned(),
            &["1:1: error: it is no rule: want 'detection', 'correlation' or 'filter'"],
        ),
        (String::new(), &["1:1: warning: there is nothing in it"]),
        (
            good.clone() + "status: wip\n",
            &[
                "7:9: warning: 'wip' is no status: want stable, test, experimental, deprecated or \
                 unsupported",
            ],
        ),
        (
            good.clone()
                + "related:\n  - id: one\n    type: derived\n  - type: obsoletes\n    id: two\n",
            &[
                "10:5: warning: 'obsoletes' is nothing that rules are to each other: want derived, \
                 obsolete, merged, renamed or similar",
            ],
        ),
        (
            detection("cs-port: 80"),
            &["5:5: error: unknown field 'cs-port'; did you mean 's-port'?"],
        ),
        (
            detection("cs-body: x"),
            &[
                "5:5: error: no event has 'cs-body': rules do not look into bodies of requests; remove \
                 the selection or the rule",
            ],
        ),
        (
            detection("cs-uri-query|re:\n      - 'a'\n      - '(b'"),
            &["7:10: error: the expression '(b' is none: unclosed group"],
        ),
        (
            detection("c-ip|cidr:\n      - 10.0.0.0/8\n      - 10.0.0.0/33"),
            &[
                "7:9: error: '10.0.0.0/33' is not a network such as 10.0.0.0/8 or fd00::/8, or an address",
            ],
        ),
        (
            detection("cs-host: a\n    c-uri: b\n    cs-host: c"),
            &[
                "7:5: error: 'cs-host' is there already: a key stands in a mapping once; for several \
                 values want a list",
            ],
        ),
        (
            good.clone() + "title: u\n",
            &[
                "7:1: error: 'title' is there already: a key stands in a mapping once; for several \
                 values want a list",
            ],
        ),
        (
            detection("cs-uri-query: []"),
            &["5:5: warning: 'cs-uri-query' has no value, so no event matches it"],
        ),
        (
            detection("sc-status: 404\n  other:\n    c-uri: x"),
            &["6:3: warning: the condition does not use 'other'"],
        ),
        // Such a name leaves it out of "them", and may be an anchor's: it is meant.
        (detection("sc-status: 404\n  _other:\n    c-uri: []"), &[]),
        (
            detection("c-uri|re|base64: x"),
            &["5:5: error: 'c-uri': |re and an encoding do not go together; leave one of them"],
        ),
        (
            detection("cs-host|fieldref|gt: cs-referer"),
            &["5:5: error: 'cs-host' is no number, so it is neither more nor less"],
        ),
        (
            detection("cs-host|fieldref|re: cs-referer"),
            &["5:5: error: 'cs-host': |fieldref and |re do not go together; leave one of them"],
        ),
        (
            detection("'|re': x"),
            &[
                "5:5: error: keywords are texts that are anywhere in an event: of modifiers they take \
                 |all, |contains and |cased; name a field for others",
            ],
        ),
        (good.replace("category: webserver", "service: apache"), &[]),
        (good.replace("category: webserver", "service: nginx"), &[]),
        (
            good.replace("category: webserver", "product: windows, service: iis"),
            &[],
        ),
        (
            good.replace("category: webserver", "service: nginx")
                .replace("s:\n    sc-status: 404", "s:\n    - exited on signal"),
            &[
                "2:1: error: service nginx is not seen in HTTP responses: want category webserver or \
                 proxy, or product http-trace",
            ],
        ),
    ] {
        fs::write(&file, &text).unwrap();
        let ran = run(&["rules", "check", file.to_str().unwrap()]);
        let mut said: Vec<&str> = ran.out.lines().collect();
        said.pop();
        let at = format!("{}:", file.display());
        let said: Vec<&str> = said
            .iter()
            .filter_map(|line| line.strip_prefix(&at))
            .collect();
        assert_eq!(said, expected, "{text}");
    }
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let ran = run(&["rules", "check", empty.to_str().unwrap()]);
    assert_eq!(ran.status, 1);
    assert!(
        ran.err.contains("their names end in .yml or .yaml"),
        "{}",
        ran.err
    );
    let ran = run(&["rules", "explain", "http-path-scn"]);
    assert!(
        ran.err.contains("did you mean 'http-path-scan'?"),
        "{}",
        ran.err
    );
    let ran = run(&["rules", "explain", "http-path-refused"]);
    let line = ran.out.lines().find(|line| line.starts_with("counted by"));
    assert!(
        line.is_some_and(|line| line.contains("http-slow-scan")),
        "{}",
        ran.out
    );
}
