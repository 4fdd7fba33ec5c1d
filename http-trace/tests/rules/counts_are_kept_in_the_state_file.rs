//! `--state` carries counts from run to run, and `rules hits` shows them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::command::{Ran, records, run};
use crate::errors::{alerts, capture_of_errors};

const SPIKE: &str = "http-error-spike-internal";

/// A folder with a capture of errors and a state file.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Bench { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Reads these errors with the state and these options.
    fn errors(&self, errors: std::ops::Range<u32>, options: &[&str]) -> Ran {
        let capture = self.path("c.pcap");
        fs::write(&capture, capture_of_errors(errors)).unwrap();
        let (capture, state) = (text(&capture), text(&self.path("state")));
        let mut arguments = vec!["-r", &capture, "-o", "json", "--state", &state];
        arguments.extend(options);
        run(&arguments)
    }

    fn hits(&self, options: &[&str]) -> Ran {
        let state = text(&self.path("state"));
        let mut arguments = vec!["rules", "hits", "--state", &state];
        arguments.extend(options);
        run(&arguments)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// State and count of the spike rule's alerts.
fn spikes(ran: &Ran) -> Vec<(String, u64)> {
    let all = records(&ran.out).into_iter();
    all.filter(|r| r["event"]["kind"] == "alert" && r["rule"]["id"] == SPIKE)
        .map(|r| {
            let alert = &r["http_trace"]["alert"];
            let state = alert["state"].as_str().unwrap().to_owned();
            (state, alert["count"].as_u64().unwrap())
        })
        .collect()
}

fn told(state: &str, count: u64) -> Vec<(String, u64)> {
    vec![(state.to_owned(), count)]
}

#[test]
fn one_alert_over_two_runs_and_what_is_open_at_the_end_goes_on() {
    let bench = Bench::new();
    let first = bench.errors(0..200, &[]);
    assert_eq!((first.status, spikes(&first)), (0, vec![]), "{}", first.err);
    let second = bench.errors(200..350, &[]);
    // The alert opens at the 350th error; nothing follows, so there is no update and no end.
    assert_eq!(spikes(&second), told("opened", 350), "{}", second.err);
    let record = records(&second.out).into_iter().find(|r| r["rule"]["id"] == SPIKE).unwrap();
    assert_eq!(
        record["message"],
        "High number of internal HTTP response errors from IP: 10.1.2.3 to 10.9.9.9"
    );
    // Counted since the 175th error, mostly before the end of the first run.
    let alert = &record["http_trace"]["alert"];
    assert_eq!(alert["statuses"], serde_json::json!({"404": 176}), "{alert}");
    assert_eq!(alert["under_counted"], false, "captures lack nothing");
    // It does not open again; errors since its last record are reported at the end.
    let third = bench.errors(350..360, &[]);
    assert_eq!(spikes(&third), told("updated", 360), "{}", third.err);
    assert!(third.err.contains("still open at the end"), "{}", third.err);
    // Much later it ends, once.
    let fourth = bench.errors(10_000..10_001, &[]);
    assert_eq!(spikes(&fourth), told("ended", 360), "{}", fourth.err);
    assert_eq!(spikes(&bench.errors(10_001..10_002, &[])), vec![]);
}

#[test]
fn without_a_state_the_halves_are_two() {
    let bench = Bench::new();
    let capture = bench.path("c.pcap");
    for half in [0..200, 200..350] {
        fs::write(&capture, capture_of_errors(half)).unwrap();
        let ran = run(&["-r", &text(&capture), "-o", "json"]);
        assert!(!alerts(&ran.out).iter().any(|a| a.starts_with(SPIKE)));
    }
}

#[test]
fn a_file_of_no_use_is_named_and_nothing_is_written_over() {
    let bench = Bench::new();
    let state = bench.path("state");
    bench.errors(0..200, &[]);
    let good = fs::read(&state).unwrap();
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    let mut older = good.clone();
    older[8] = 0;
    let table = [
        (damaged.as_slice(), "it is damaged: its checksum is wrong", "state.bad"),
        (&older, "it has version 0, this http-trace reads version ", "state.bad2"),
    ];
    for (bytes, why, aside) in table {
        fs::write(&state, bytes).unwrap();
        let hits = bench.hits(&[]);
        assert_eq!((hits.status, hits.out.as_str()), (2, ""), "{}", hits.err);
        assert!(hits.err.contains(why), "{}", hits.err);
        let ran = bench.errors(200..350, &[]);
        assert_eq!((ran.status, spikes(&ran)), (0, vec![]), "{}", ran.err);
        let lines: Vec<&str> = ran.err.lines().filter(|l| l.contains(why)).collect();
        assert_eq!(lines.len(), 1, "{}", ran.err);
        assert!(lines[0].ends_with(&format!("/{aside}")), "{}", lines[0]);
        assert_eq!(fs::read(bench.path(aside)).unwrap(), bytes);
        // The new file is valid and contains only later counts.
        let more = bench.errors(350..549, &[]);
        assert_eq!(spikes(&more), vec![], "{}", more.err);
        assert_eq!(spikes(&bench.errors(549..550, &[])), told("opened", 350));
    }
}

#[test]
fn what_cannot_be_moved_is_left_alone_and_the_run_goes_on() {
    let bench = Bench::new();
    let state = bench.path("state");
    std::os::unix::fs::symlink("/dev/null", &state).unwrap();
    let not_kept = |why: &str| {
        let ran = bench.errors(0..350, &[]);
        assert_eq!((ran.status, spikes(&ran)), (1, told("opened", 350)));
        assert!(ran.err.contains("no state is kept in "), "{}", ran.err);
        assert!(ran.err.contains(why), "{}", ran.err);
    };
    not_kept("it is not a regular file");
    assert!(state.is_symlink());
    fs::remove_file(&state).unwrap();
    // A mistyped path names a file of somebody else.
    fs::write(&state, b"notes").unwrap();
    not_kept("it is not a state file of http-trace");
    assert_eq!(fs::read(&state).unwrap(), b"notes");
    fs::write(&state, b"").unwrap();
    assert_eq!(bench.errors(0..1, &[]).status, 0, "made for it");
    fs::remove_file(&state).unwrap();
    bench.errors(0..1, &[]);
    let before = fs::read(&state).unwrap();
    let taken = File::open(&state).unwrap();
    taken.lock().unwrap();
    not_kept("another http-trace uses it");
    assert_eq!(fs::read(&state).unwrap(), before);
}

#[test]
fn a_limit_is_said_once_and_kept() {
    let bench = Bench::new();
    let (log, config) = (bench.path("access.log"), bench.path("c.toml"));
    let line = |n: u32| {
        let second = n / 100;
        format!(
            "10.7.{}.{} - - [20/Nov/2026:00:00:{second:02} +0000] \"GET /{n} HTTP/1.1\" 404 0 \"-\" \"x\"\n",
            n >> 8,
            n & 255
        )
    };
    fs::write(&log, (0..3000).map(line).collect::<String>()).unwrap();
    let file = text(&bench.path("state"));
    let keys = format!("state = '{file}'\nstate-size = '64KiB'\nstate-interval = '1ms'\n");
    fs::write(&config, keys).unwrap();
    let (log, config) = (text(&log), text(&config));
    let state = text(&bench.path("state"));
    let ran = run(&["detect", &log, "--config", &config]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let said = ran.err.matches("larger than state-size (65536 bytes)");
    assert_eq!(said.count(), 1, "{}", ran.err);
    let len = fs::metadata(&state).unwrap().len();
    assert!((32 << 10..=64 << 10).contains(&len), "{len}");
    fs::write(bench.path("none.log"), "").unwrap();
    let none = text(&bench.path("none.log"));
    let ran = run(&["detect", &none, "--state", &state]);
    assert!(ran.err.contains(" counters restored, "), "{}", ran.err);
    fs::write(bench.path("c.toml"), "state-size = '1KiB'\n").unwrap();
    let ran = run(&["detect", &none, "--state", &state, "--config", &config]);
    assert_eq!(ran.status, 2, "{}", ran.err);
    assert!(ran.err.contains("at least 64KiB"), "{}", ran.err);
}

#[test]
fn hits_show_each_day_for_a_person_and_for_programs() {
    const DAY: u32 = 864_000;
    let bench = Bench::new();
    let rules = ["--disable-rule=http-posture", "--disable-rule=http-broken-link"];
    for (day, errors) in [(0, 350), (1, 90), (3, 7)] {
        let ran = bench.errors(day * DAY..day * DAY + errors, &rules);
        assert_eq!(ran.status, 0, "{}", ran.err);
    }
    let hits = bench.hits(&["--rule", SPIKE]);
    let expected = "\
hits by day (UTC) up to 2026-11-23 06:40

rule and entity            11-20  11-21  11-22  11-23  all  alerts  last
http-error-spike-internal    350     90      ·      7  447       1  2026-11-23 06:40
  10.1.2.3                   350     90      ·      7  447       1  2026-11-23 06:40
";
    let four = bench.hits(&["--rule", SPIKE, "--days", "4"]);
    assert_eq!((four.status, four.out.as_str()), (0, expected));
    assert!(hits.out.contains("  11-17  "), "{}", hits.out);
    let all = bench.hits(&[]).out;
    assert!(all.contains("http-path-scan"), "{all}");
    let silent = all.split_once("\nno hits:\n").unwrap().1;
    assert!(silent.contains(" http-429-storm "), "{all}");
    assert!(silent.lines().all(|line| line.len() <= 80), "{all}");
    let none = bench.hits(&["--rule", "no-such"]);
    assert_eq!(none.status, 2);
    assert!(none.err.contains("has no rule 'no-such'"), "{}", none.err);

    let json = records(&bench.hits(&["--rule", SPIKE, "-o", "json"]).out);
    assert_eq!(json.len(), 2, "the rule and its one entity");
    for record in &json {
        assert_eq!(record["rule"], SPIKE);
        assert_eq!((&record["count"], &record["alerts"]), (&447.into(), &1.into()));
        let days = record["days"].as_object().unwrap();
        let days: Vec<(&str, u64)> =
            days.iter().map(|(d, n)| (d.as_str(), n.as_u64().unwrap())).collect();
        assert_eq!(days, [("2026-11-20", 350), ("2026-11-21", 90), ("2026-11-23", 7)]);
    }
    assert_eq!(json[1]["entity"]["c-ip"], "10.1.2.3");
    // Rules without hits are listed too.
    let json = records(&bench.hits(&["-o", "json"]).out);
    let silent = json.iter().find(|r| r["count"] == 0).unwrap();
    assert_eq!((silent["days"].as_object().unwrap().len(), silent.get("last_seen")), (0, None));
}

/// Regression: a dangling symlink was taken for the file of another run.
#[test]
fn a_link_that_leads_nowhere_yet_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("c.pcap");
    fs::write(&capture, capture_of_errors(0..3)).unwrap();
    let (link, target) = (folder.path().join("link"), folder.path().join("target"));
    std::os::unix::fs::symlink("target", &link).unwrap();
    for _ in 0..2 {
        let ran = run(&["-r", capture.to_str().unwrap(), "--state", link.to_str().unwrap()]);
        assert_eq!(ran.status, 0, "{}", ran.err);
        assert!(!ran.err.contains("another http-trace"), "{}", ran.err);
        assert!(target.is_file() && fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}

/// Regression: fields that the run's configuration redacts were shown.
#[test]
fn hits_are_redacted_as_the_run_is() {
    let bench = Bench::new();
    let put = |name: &str, content: &str| {
        fs::write(bench.path(name), content).unwrap();
        text(&bench.path(name))
    };
    let log = put(
        "access.log",
        "10.1.2.3 - - [20/Nov/2026:06:40:00 +0000] \"GET /x?pan=1234&token=abcd HTTP/1.1\" 404 9 \
         \"-\" \"-\"\n",
    );
    let rules = put(
        "rules.yml",
        "title: a\nname: one\nlogsource: {category: webserver}\n\
         detection: {s: {sc-status: 404}, condition: s}\n---\n\
         title: b\nname: targets\ncorrelation:\n  type: event_count\n  rules: one\n  \
         group-by: cs-uri\n  timespan: 5m\n  condition: {gte: 1}\n",
    );
    let state = text(&bench.path("state"));
    let ran = run(&["detect", &log, "--no-builtin-rules", "--rules", &rules, "--state", &state]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let pins = put("pins.toml", "redact-parameters = [\"pan\"]\n");
    let all = put("all.toml", "show-secrets = true\n");
    let wrong = put("wrong.toml", "redact-parameter = [\"pan\"]\n");
    for (options, pin, token) in [
        (&[][..], true, false),
        (&["--config", &pins], false, false),
        (&["--config", &all], true, true),
    ] {
        for format in ["json", "text"] {
            let hits = bench.hits(&[options, &["-o", format]].concat());
            assert_eq!(hits.status, 0, "{}", hits.err);
            let shown = (hits.out.contains("1234"), hits.out.contains("abcd"));
            assert_eq!(shown, (pin, token), "{options:?} {}", hits.out);
        }
    }
    let hits = bench.hits(&["--config", &wrong]);
    assert_eq!(hits.status, 2, "{}", hits.out);
    assert!(hits.err.contains("redact-parameters"), "{}", hits.err);
}

#[test]
fn a_server_that_a_log_does_not_name_is_not_named() {
    let bench = Bench::new();
    let (log, rules) = (bench.path("access.log"), bench.path("rules.yml"));
    let line = "10.1.2.3 - - [20/Nov/2026:06:40:00 +0000] \"GET /x HTTP/1.1\" 404 9 \"-\" \"-\"\n";
    fs::write(&log, line).unwrap();
    fs::write(
        &rules,
        "title: a\nname: one\nlogsource: {category: webserver}\n\
         detection: {s: {sc-status: 404}, condition: s}\n---\n\
         title: b\nname: servers\ncorrelation:\n  type: event_count\n  rules: one\n  \
         group-by: [c-ip, s-ip]\n  timespan: 5m\n  condition: {gte: 1}\n",
    )
    .unwrap();
    let ran = run(&[
        "detect",
        &text(&log),
        "--no-builtin-rules",
        "--rules",
        &text(&rules),
        "--state",
        &text(&bench.path("state")),
    ]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let hits = bench.hits(&[]).out;
    assert!(hits.contains("\n  10.1.2.3 the server  "), "{hits}");
    let hits = records(&bench.hits(&["-o", "json"]).out);
    let entities: Vec<_> = hits.iter().filter_map(|r| r.get("entity")).collect();
    assert_eq!(entities, [&serde_json::json!({"c-ip": "10.1.2.3"})]);
}

/// Regression: the text of rules over some fields, which tells whether they have changed, had an address of the process
/// in it, so that their counts were left out.
#[test]
fn counts_of_rules_over_any_field_go_on() {
    let bench = Bench::new();
    let rules = bench.path("rules.yml");
    let names =
        http_trace_model::field::rule_fields().flat_map(|field| field.about().rules.first());
    let all: Vec<String> = names
        .enumerate()
        .map(|(number, name)| {
            format!(
                "title: One\nname: one-{number}\nlogsource: {{category: webserver}}\ndetection: {{s: {{sc-status: 404}}, \
                 t: {{'{name}|exists': true}}, condition: s or t}}\n---\ntitle: Many\nname: many-{number}\ncorrelation: \
                 {{type: event_count, rules: [one-{number}], group-by: [c-ip], timespan: 1h, condition: {{gte: 100}}}}\n"
            )
        })
        .collect();
    assert!(all.len() > 80, "{}", all.len());
    fs::write(&rules, all.join("---\n")).unwrap();
    let rules = text(&rules);
    let options = ["--rules", &rules, "--no-builtin-rules"];
    let first = bench.errors(0..60, &options);
    assert_eq!(first.status, 0, "{}", first.err);
    let second = bench.errors(60..120, &options);
    assert!(!second.err.contains("left out"), "{}", second.err);
    let opened = second.out.matches("\"state\":\"opened\"").count();
    assert_eq!(opened, all.len(), "{}", second.err);
}
