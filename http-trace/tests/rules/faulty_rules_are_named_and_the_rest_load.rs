//! Errors in rule files are reported with file, line and a remedy; valid rules in them load.

use std::fs;
use std::path::Path;

use crate::GOOD;
use crate::command::run;
use crate::errors::{alerts, capture_of_errors};

/// File, contents, and the message after the folder.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "aggregation.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    sc-status: 404\n  timeframe: 10m\n  condition: s | count() by c-ip > 10\n",
        "aggregation.yml:7:3: error: '|' in a condition is Sigma 1 syntax",
    ),
    (
        "back.yml",
        "\
title: One
name: back-missing
logsource: { category: proxy }
detection:
  s:
    sc-status: 404
  condition: s
---
title: Many
correlation:
  type: value_count
  rules: back-missing
  timespan: 5m
  condition: { gte: 3, field: cs-uri-stem }
undo: other
",
        "back.yml:15:1: error: want the name of one of its rules; only allowed in value_count and event_count",
    ),
    (
        "body.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    cs-body|contains: x\n  condition: s\n",
        "body.yml:5:5: error: 'cs-body' is not available: request bodies",
    ),
    (
        "brackets.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: (s\n",
        "brackets.yml:6:3: error: the condition '(s' cannot be parsed at its end: want 'and', 'or' or ')'",
    ),
    (
        "beside.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: not s s\n",
        "beside.yml:6:3: error: the condition 'not s s' cannot be parsed at 's': want 'and' or 'or' between names",
    ),
    (
        "unsaid.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: ''\n",
        "unsaid.yml:6:3: error: the condition '' cannot be parsed at its end: want ",
    ),
    (
        "of.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: s or all of\n",
        "of.yml:6:3: error: the condition 's or all of' cannot be parsed at its end: want 'them' or ",
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
        "circle.yml:5:3: error: its rules refer to each other in a cycle",
    ),
    (
        "below.yml",
        "\
title: Many
correlation:
  type: event_count
  rules: back-missing
  timespan: 5m
  condition: { gte: -3 }
",
        "below.yml:6:3: error: '-3' is no count: want a number from 1, such as '{gte: 10}'",
    ),
    (
        "below-all.yml",
        "\
title: Many
correlation:
  type: temporal
  rules: back-missing
  timespan: 5m
  condition: { gte: 0 }
",
        "below-all.yml:6:3: error: it always has the same result: want 'gte' with a number of rules, from 1 to 1",
    ),
    (
        "condition.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  selection:\n    c-uri: x\n  condition: selektion\n",
        "condition.yml:6:3: error: the condition uses 'selektion', which is not defined; defined: \
         selection",
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
        "correlation.yml:4:10: error: 'http-refused' is not a loaded rule",
    ),
    (
        "expand.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-ip|expand: '%scanners%'\n  condition: s\n",
        "expand.yml:5:5: error: |expand is not supported",
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
        "regex.yml:5:16: error: the expression '(a' is invalid: unclosed group",
    ),
    (
        "regex-large.yml",
        "title: t\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri|re: '((a{100}){100}){100}'\n  condition: s\n",
        "regex-large.yml:5:16: error: the expression '((a{100}){100}){100}' compiles to more than \
         1048576 bytes: limit its repetitions",
    ),
    (
        "source.yml",
        "title: t\nlogsource:\n  category: process_creation\n  product: windows\ndetection:\n  s:\n    c-uri: x\n  condition: s\n",
        "source.yml:2:1: error: category process_creation, product windows does not apply to HTTP responses",
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
        "threshold.yml:7:3: error: it can never be true: the fields have at most 900 values",
    ),
    (
        "twice.yml",
        "title: t\nname: good\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: s\n",
        "twice.yml:2:7: error: 'good' is already defined at ",
    ),
    // A rule that counts is added after all others, and keeps its name all the same.
    (
        "taken.yml",
        "title: t\nname: http-path-scan\nlogsource: { category: proxy }\ndetection:\n  s:\n    c-uri: x\n  condition: s\n",
        "taken.yml:2:7: error: 'http-path-scan' is already defined at built-in/scanning.yml:",
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
    assert!(ran.out.ends_with("1 with warnings\n"), "{}", ran.out);
    assert!(ran.out.contains("\n2 rules load"), "{}", ran.out);
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
    assert!(ran.err.trim_end().ends_with("; not all rules were loaded"), "{}", ran.err);
}

#[test]
fn check_of_good_files_says_how_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("good.yml");
    fs::write(&file, GOOD.replace("NAME", "good")).unwrap();
    let path = file.to_str().unwrap();
    let ran = run(&["rules", "check", path]);
    assert_eq!(ran.status, 0, "{}", ran.out);
    assert_eq!(ran.out, "1 rule loads, 0 rejected, 0 with warnings\n");
    let ran = run(&["rules", "check", path, "/nonexistent.yml"]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("cannot read rules from /nonexistent.yml"), "{}", ran.err);
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
    let said = "holds no rules: it has no .yml or .yaml file\n";
    assert!(ran.err.contains(said), "{}", ran.err);
    let ran = run(&["-r", capture, "-o", "json", "--rules", "/nonexistent.yml"]);
    assert_eq!(ran.status, 1, "{}", ran.err);
    assert!(ran.err.contains("rules from /nonexistent.yml"), "{}", ran.err);
    assert!(alerts(&ran.out).contains(&spike));
    // A nonexistent rule would select nothing.
    for (option, status) in [("--disable-rule", 0), ("--rule", 2)] {
        let ran = run(&["-r", capture, "-o", "json", option, "http-error-spike-internl"]);
        assert_eq!(ran.status, status, "{}", ran.err);
        let said = "rule 'http-error-spike-internl': no loaded rule has this id; did you mean \
                    'http-error-spike-internal'?";
        assert!(ran.err.contains(said), "{}", ran.err);
        let ran = run(&["-r", capture, "-o", "json", option, "http-error-spike-internal"]);
        assert!(!ran.err.contains("has this id"), "{}", ran.err);
    }
}

/// A glob disables rules that raise alerts, but not rules that other rules count.
#[test]
fn a_glob_disables_rules_and_one_that_matches_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("c.pcap");
    fs::write(&capture, capture_of_errors(0..400)).unwrap();
    let capture = capture.to_str().unwrap();
    let with = |glob: &str| run(&["-r", capture, "-o", "json", "--disable-rule", glob]);
    let spike = "http-error-spike-internal opened".to_owned();
    assert!(alerts(&with("http-posture-*").out).contains(&spike));
    let ran = with("http-error-spike-*,http-posture-*");
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(!ran.err.contains("rule"), "nothing is broken: {}", ran.err);
    assert!(!alerts(&ran.out).contains(&spike), "{}", ran.out);
    let ran = with("http-eror-spike-*");
    let said = "disable-rule 'http-eror-spike-*': no loaded rule has this id; did you mean \
                'http-error-spike-";
    assert!(ran.err.contains(said), "{}", ran.err);
    assert!(alerts(&ran.out).contains(&spike));
}

/// Regression: rules that loaded but never matched, and messages that did not help.
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
            &["5:5: error: 'not found' is not a number, but 'sc-status' is numeric"],
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
            &["5:12: error: unknown modifier 'startwith'; did you mean 'startswith'?"],
        ),
        (
            good.clone() + "level: hgih\n",
            &["7:8: warning: unknown level 'hgih': want informational, low, medium, high or \
                 critical"],
        ),
        (
            good.clone() + "sevrity: 3\n",
            &["7:1: warning: unknown key 'sevrity'; did you mean 'severity'?"],
        ),
        (
            good.clone() + "yields_to: good\n",
            &["7:1: warning: unknown key 'yields_to'; did you mean 'yields-to'?"],
        ),
        (good.clone() + "owner: me\n", &[]),
        (
            correlation("type: event_cont\n  condition: {gte: 3}"),
            &["6:9: error: unknown correlation type 'event_cont': want event_count, value_count, \
                 temporal, temporal_ordered, value_sum, value_avg, value_median or value_percentile"],
        ),
        (
            correlation("type: event_count"),
            &["2:1: error: it needs a condition, such as 'condition: {gte: 10}'"],
        ),
        (
            correlation("type: event_count\n  condition:\n    gte: many"),
            &["8:5: error: 'gte' needs a number"],
        ),
        (
            correlation("type: event_count\n  condition: {gte: 3}").replace("5m", "5 minutes"),
            &["5:13: error: invalid time '5 minutes': want a number and s, m, h or d, such as 5m"],
        ),
        (
            "title: t\n".to_owned(),
            &["1:1: error: not a rule: want 'detection', 'correlation' or 'filter'"],
        ),
        (String::new(), &["1:1: warning: the file has no rules"]),
        ("# none\n---\n".to_owned(), &["1:1: warning: the file has no rules"]),
        (
            good.clone() + "status: wip\n",
            &["7:9: warning: unknown status 'wip': want stable, test, experimental, deprecated \
                 or unsupported"],
        ),
        (
            good.clone()
                + "related:\n  - id: one\n    type: derived\n  - type: obsoletes\n    id: two\n",
            &["10:5: warning: unknown type 'obsoletes' of a related rule: want derived, \
                 obsolete, merged, renamed or similar"],
        ),
        (
            detection("cs-port: 80"),
            &["5:5: error: unknown field 'cs-port'; did you mean 's-port'?"],
        ),
        (
            detection("cs-body: x"),
            &["5:5: error: 'cs-body' is not available: request bodies are not available; remove \
                 the selection or the rule"],
        ),
        (
            detection("cs-uri-query|re:\n      - 'a'\n      - '(b'"),
            &["7:10: error: the expression '(b' is invalid: unclosed group"],
        ),
        (
            detection("c-ip|cidr:\n      - 10.0.0.0/8\n      - 10.0.0.0/33"),
            &[
                "7:9: error: '10.0.0.0/33' is not a network such as 10.0.0.0/8 or fd00::/8, or an address",
            ],
        ),
        (
            detection("cs-host: a\n    c-uri: b\n    cs-host: c"),
            &["7:5: error: duplicate key 'cs-host': for several values want a list"],
        ),
        (
            good.clone() + "title: u\n",
            &["7:1: error: duplicate key 'title': for several values want a list"],
        ),
        (
            detection("cs-uri-query: []"),
            &["5:5: warning: 'cs-uri-query' has no value, so it never matches"],
        ),
        (
            detection("sc-status: 404\n  other:\n    c-uri: x"),
            &["6:3: warning: the condition does not use 'other'"],
        ),
        // A leading underscore excludes it from "them", and may mark an anchor: no warning.
        (detection("sc-status: 404\n  _other:\n    c-uri: []"), &[]),
        (
            detection("c-uri|re|base64: x"),
            &["5:5: error: 'c-uri': |re and an encoding cannot be combined; keep one of them"],
        ),
        (
            detection("cs-host|fieldref|gt: cs-referer"),
            &["5:5: error: 'cs-host' is not a numeric field: numeric comparison is not possible"],
        ),
        (
            detection("cs-host|fieldref|re: cs-referer"),
            &["5:5: error: 'cs-host': |fieldref and |re cannot be combined; keep one of them"],
        ),
        (
            detection("'|re': x"),
            &["5:5: error: keywords match anywhere in an event and only take |all, |contains and \
                 |cased; name a field for other modifiers"],
        ),
        (good.replace("category: webserver", "service: apache"), &[]),
        (good.replace("category: webserver", "service: nginx"), &[]),
        (good.replace("category: webserver", "product: windows, service: iis"), &[]),
        (
            good.replace("category: webserver", "service: nginx")
                .replace("s:\n    sc-status: 404", "s:\n    - exited on signal"),
            &["2:1: error: service nginx does not apply to HTTP responses: want category \
                 webserver or proxy, or product http-trace"],
        ),
    ] {
        fs::write(&file, &text).unwrap();
        let ran = run(&["rules", "check", file.to_str().unwrap()]);
        let mut said: Vec<&str> = ran.out.lines().collect();
        said.pop();
        let at = format!("{}:", file.display());
        let said: Vec<&str> = said.iter().filter_map(|line| line.strip_prefix(&at)).collect();
        assert_eq!(said, expected, "{text}");
    }
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let ran = run(&["rules", "check", empty.to_str().unwrap()]);
    assert_eq!(ran.status, 1);
    assert!(ran.err.contains("no rule files (.yml or .yaml) in "), "{}", ran.err);
    let ran = run(&["rules", "explain", "http-path-scn"]);
    assert!(ran.err.contains("did you mean 'http-path-scan'?"), "{}", ran.err);
    let ran = run(&["rules", "explain", "http-path-refused"]);
    let line = ran.out.lines().find(|line| line.starts_with("counted by"));
    assert!(line.is_some_and(|line| line.contains("http-refused-many")), "{}", ran.out);
}

/// What a correlation would have counted raises no alert for every event because the correlation has a fault.
#[test]
fn the_inputs_of_a_refused_correlation_stay_silent() {
    let faults = [
        ("timespan: 5m", "timespan: 1.5m"),
        ("timespan: 5m", "timespan: 5"),
        ("gte: 3", "gt3: 3"),
        ("event_count", "event_cont"),
        ("  timespan", "\ttimespan"),
        ("group-by", "group_by"),
        ("rules: base404", "rules: [base404, base500]"),
        ("timespan: 5m", "timespan: 0s"),
    ];
    let good = "title: Base\nname: base404\nlogsource: { category: proxy }\ndetection:\n  s: { sc-status: 404 }\n  \
                condition: s\nlevel: high\n---\ntitle: Many\nname: many\ncorrelation:\n  type: event_count\n  \
                rules: base404\n  group-by: c-ip\n  timespan: 5m\n  condition: { gte: 3 }\nlevel: high\n";
    let folder = tempfile::tempdir().unwrap();
    let (log, rules) = (folder.path().join("access.log"), folder.path().join("own.yml"));
    fs::write(&log, crate::log_line(1, 0, ("GET", "/x"), 404, "x").repeat(3)).unwrap();
    let alerts = |text: &str| {
        fs::write(&rules, text).unwrap();
        let (log, rules) = (log.to_str().unwrap(), rules.to_str().unwrap());
        let ran = run(&["detect", "--no-builtin-rules", "--rules", rules, "-o", "json", log]);
        let names = crate::command::records(&ran.out).into_iter();
        let names: Vec<_> = names.map(|alert| alert["rule"]["id"].to_string()).collect();
        (names, ran.err)
    };
    assert!(alerts(good).0.contains(&"\"many\"".to_owned()));
    for (what, fault) in faults {
        let (names, told) = alerts(&good.replace(what, fault));
        assert!(names.is_empty() && told.contains("own.yml:"), "{fault}: {names:?} {told}");
    }
}
