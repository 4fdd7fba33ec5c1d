//! Keys without an option are documented, and read from the file and the environment.

use std::fs;

use http_trace::config::key::{Form, Key, Shape};
use http_trace::config::layers::Layers;
use http_trace::config::{Config, KEYS};

use crate::command::run;
use crate::errors::capture_of_errors;

/// Formats a setting of a configuration.
type Read = fn(&Config) -> String;

/// Key, a value and how the configuration shows it, and a value that is refused.
const TABLE: &[(&str, &str, Read, &str, &str)] = &[
    ("output-queue", "3MiB", |c| c.output_queue.to_string(), "3145728", "3 potatoes"),
    ("ring-size", "65536", |c| c.ring_size.to_string(), "65536", "0"),
    ("max-flows", "77", |c| c.max_flows.to_string(), "77", "0"),
    ("heads-memory", "2KiB", |c| c.heads_memory.to_string(), "2048", "-1"),
    ("reorder-memory", "1KiB", |c| c.reorder_memory.to_string(), "1024", "x"),
    ("ban-most", "7", |c| c.ban_most.to_string(), "7", "0"),
    ("detect-memory", "1GiB", |c| c.detect_memory.to_string(), "1073741824", "1.5"),
    ("response-timeout", "5s", |c| format!("{:?}", c.response_timeout), "5s", "0s"),
    ("state-interval", "2m", |c| format!("{:?}", c.state_interval), "120s", "2"),
    ("state-size", "64KiB", |c| c.state_size.to_string(), "65536", "63KiB"),
    ("tc", "clsact", |c| format!("{:?}", c.tc), "Clsact", "tcx"),
    ("framing", "host", |c| format!("{:?}", c.framing), "Host", "kernel"),
    ("node-name", "node-1", |c| format!("{:?}", c.node_name), "Some(\"node-1\")", "node 1"),
    (
        "pod-labels",
        "app,example.org/tier",
        |c| format!("{:?}", c.pod_labels),
        "[\"app\", \"example.org/tier\"]",
        "a b",
    ),
    ("inventory-keep", "30d", |c| format!("{:?}", c.inventory_keep), "2592000s", "soon"),
    ("inventory-size", "1MiB", |c| c.inventory_size.to_string(), "1048576", "1KiB"),
    ("metric-templates", "true", |c| c.metric_templates.to_string(), "true", "maybe"),
    ("own-endpoints", "[::1]:4318", |c| format!("{:?}", c.own_endpoints), "[[::1]:4318]", "::1"),
];

fn variable(key: &str) -> String {
    let key = KEYS.iter().find(|k| k.name == key);
    key.map(Key::variable).unwrap()
}

/// Reads this setting from the environment, or from a file.
fn config(key: &str, value: &str, of_file: bool) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{key} = \"{value}\"\n")).unwrap();
    let environment = |name: &str| (name == variable(key)).then(|| value.to_owned());
    let layers = match of_file {
        true => Layers::gather(KEYS, Vec::new(), &|_| None, Some(file.path())),
        false => Layers::gather(KEYS, Vec::new(), &environment, None),
    };
    Config::from_layers(&layers.unwrap())
}

#[test]
fn keys_without_an_option_come_from_the_file_and_from_the_environment() {
    for (key, value, read, expected, wrong) in TABLE {
        for of_file in [false, true] {
            let good = config(key, value, of_file).unwrap();
            assert_eq!(read(&good), *expected, "{key}");
            let error = config(key, wrong, of_file).unwrap_err();
            let origin = match of_file {
                true => format!(": {key}"),
                false => variable(key),
            };
            assert!(error.contains(&format!("{origin} '{wrong}': want ")), "{error}");
        }
    }
}

#[test]
fn every_key_without_an_option_is_tested() {
    for key in KEYS.iter().filter(|key| key.form == Form::Absent) {
        let tested = TABLE.iter().any(|(name, ..)| *name == key.name);
        assert!(tested || key.name.starts_with("redact-"), "{}", key.name);
    }
}

/// The generated part of docs/CONFIG.md: a table per group of settings.
fn tables() -> String {
    let mut text = String::new();
    let mut group = "";
    for key in KEYS {
        if key.group != group {
            group = key.group;
            text.push_str(&format!(
                "\n## {group}\n\n| key | option | variable | default | meaning |\n|---|---|---|---|---|\n"
            ));
        }
        let code = |text: &str| match text {
            "" => String::new(),
            text => format!("`{}`", text.replace('|', "\\|")),
        };
        let short = key.short.map_or_else(String::new, |letter| format!(" `-{letter}`"));
        let option = match key.form {
            Form::Absent => String::new(),
            Form::Switch | Form::Flag | Form::Count => format!("`--{}`{short}", key.name),
            Form::Value => code(&format!("--{} {}", key.name, key.value)) + &short,
            Form::Words => code(&format!("--{} {} …", key.name, key.value)) + &short,
        };
        text.push_str(&format!(
            "| `{}` | {option} | `{}` | {} | {} |\n",
            key.name,
            key.variable(),
            code(key.default),
            key.meaning
        ));
    }
    let names = |keys: &dyn Fn(&Key) -> bool| {
        let names = KEYS.iter().filter(|key| keys(key)).map(|key| format!("`{}`", key.name));
        names.collect::<Vec<_>>().join(", ")
    };
    text.push_str(&format!(
        "\n## Several values\n\nA comma separates values: `--port 80,8080`, `HTTP_TRACE_PORT=80,8080`. These may contain \
         commas: repeat the option,\nand give each value a line of its own in the variable \
         (`HTTP_TRACE_OUTPUT=$'pretty\\njson:/tmp/events.jsonl'` in bash):\n{}.\n",
        names(&|key| key.shape == Shape::Whole)
    ));
    let reloaded = names(&|key| key.reloads);
    text.push_str(&format!(
        "\n## On SIGHUP\n\nThe file is read again. These settings and the table `[detect]` take effect at once; others \
         need a restart, and are named:\n{}.\n",
        reloaded
    ));
    text
}

const BEGIN: &str = "<!-- generated: UPDATE=1 cargo test -p http-trace --test cli -->\n";
const END: &str = "\n<!-- end of the generated part -->";

#[test]
fn the_documentation_is_that_of_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md");
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (is, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, [before, BEGIN, &tables(), END, after].concat()).unwrap();
    } else {
        let tables = tables();
        let missing = tables.lines().find(|line| is.lines().all(|is| is != *line));
        let more = is.lines().find(|is| tables.lines().all(|line| line != *is));
        assert_eq!((missing, more), (None, None), "UPDATE=1 writes docs/CONFIG.md");
        assert_eq!(is, tables);
    }
    // The documented example file is valid.
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), shown).unwrap();
    let layers = Layers::gather(KEYS, Vec::new(), &|_| None, Some(file.path())).unwrap();
    let config = Config::from_layers(&layers).unwrap();
    assert_eq!(config.output_queue, 16 << 20);
    // All defaults are valid values.
    let layers = Layers::gather(KEYS, Vec::new(), &|_| None, None).unwrap();
    let config = Config::from_layers(&layers).unwrap();
    assert_eq!(config.output_queue, 64 << 20);
    assert_eq!(config.detect_memory, 64 << 20);
    assert_eq!(config.state_size, 64 << 20);
    assert_eq!(config.state_interval.as_secs(), 60);
}

/// The output of `config show` is a file with the same meaning.
#[test]
fn settings_are_shown_with_where_each_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    fs::write(
        &first,
        "status = ['4xx', 503]\nport = 80\nquiet = true\npath = '/{a,b}'\n\
         alerts-to = 'https://u:secret@host/x'\n",
    )
    .unwrap();
    let first = first.to_str().unwrap();
    let shown = run(&["config", "show", "--config", first, "-p", "8080", "-v"]).out;
    for line in [
        "# interface not set".to_owned(),
        "hook = [\"tc\"]  # default".to_owned(),
        format!("status = [\"4xx\", \"503\"]  # {first}:1"),
        "port = [\"8080\"]  # --port".to_owned(),
        "verbose = 1  # --verbose".to_owned(),
        format!("quiet = true  # {first}:3"),
        format!("path = [\"/{{a,b}}\"]  # {first}:4"),
        format!("alerts-to = [\"https://host/x\"]  # {first}:5"),
    ] {
        assert!(shown.lines().any(|is| is == line), "{line}\n{shown}");
    }
    fs::write(&second, &shown).unwrap();
    let again = run(&["config", "show", "--config", second.to_str().unwrap()]).out;
    let settings = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let settings = lines.map(|line| line.split("  # ").next().unwrap_or_default());
        settings.map(str::to_owned).collect()
    };
    assert_eq!(settings(&again), settings(&shown));
}

#[test]
fn settings_are_checked_as_a_run_would() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let name = file.to_str().unwrap();
    for (text, status, expected) in [
        ("port = 80\nquiet = true\n", 0, "; 2 settings given"),
        ("status = '6xz'", 2, ":1: status '6xz': want a code"),
        ("prot = 80", 2, "unknown key 'prot'; did you mean 'port'?"),
        ("[detect\n", 2, "is not valid TOML"),
        ("user = 'no such'", 2, "--user no such: no such user in /etc/passwd"),
        ("output = 'json:/x'\nstate = '/x'", 2, "are the same file"),
        ("listen = '0.0.0.0:9464'", 2, "cannot listen at 0.0.0.0:9464: give one address"),
        (
            "quiet = true\noutput = 'json:/no/such/x'",
            2,
            ":2: output: cannot write to /no/such/x: there is no folder /no/such: create it",
        ),
        ("alerts-to = 'file:/tmp'", 2, "cannot write to file:/tmp: is a directory"),
    ] {
        fs::write(&file, text).unwrap();
        let ran = run(&["config", "check", "--config", name]);
        assert_eq!(ran.status, status, "{text}: {}", ran.err);
        let short = run(&["config", "check", name]);
        assert_eq!((&short.out, &short.err), (&ran.out, &ran.err), "{text}");
        let (out, said) = (ran.out, ran.err);
        let told = if status == 0 { &out } else { &said };
        assert!(told.contains(expected), "{text}: {told}");
        let lines = out.lines().count() + said.lines().count();
        assert!(lines == 1 || text.contains("[detect"), "{text}: {out}{said}");
    }
}

#[test]
fn what_a_file_names_is_redacted_too() {
    let folder = tempfile::tempdir().unwrap();
    let (file, capture) = (folder.path().join("c.toml"), folder.path().join("c.pcap"));
    fs::write(&capture, capture_of_errors(0..1)).unwrap();
    let all = ["-r", capture.to_str().unwrap(), "-o", "json", "-q"];
    let plain = run(&all).out;
    assert!(plain.contains("?q=0\"") && plain.contains("[\"nginx\"]"), "{plain}");
    fs::write(&file, "redact-headers = 'server'\nredact_parameters = ['Q']\n").unwrap();
    let with_file = [&all[..], &["--config", file.to_str().unwrap()]].concat();
    let redacted = run(&with_file).out;
    assert!(redacted.contains("?q=‹redacted:1 byte"), "{redacted}");
    assert!(redacted.contains("[\"‹redacted:5 bytes›\"]"), "{redacted}");
}

#[test]
fn a_misspelt_rule_of_the_settings_is_told_with_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    fs::write(&file, "[detect.rules.http-path-scn]\nthreshold = 3\n").unwrap();
    let ran = run(&["config", "check", file.to_str().unwrap()]);
    let expected =
        "detect.rules 'http-path-scn': no loaded rule has this id; did you mean 'http-path-scan'?";
    assert!(ran.err.contains(expected), "{}", ran.err);
}

/// Names of rules that are none are found by the check too, not first by the run.
#[test]
fn a_check_says_of_rules_what_a_run_would() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    for (text, code) in [
        ("rule = [\"nosuch\"]\n", 2),
        ("disable-rule = [\"nosuch\"]\n", 2),
        ("[detect.rules.nosuch]\nthreshold = 3\n", 2),
        ("rules = [\"missing\"]\n", 2),
        ("fail-on-alert = \"low\"\nrules = [\"missing\"]\n", 2),
    ] {
        fs::write(&file, text).unwrap();
        let ran = run(&["config", "check", file.to_str().unwrap()]);
        assert_eq!(ran.status, code, "{text}{}", ran.err);
        let named = ran.err.contains("nosuch") || ran.err.contains("missing");
        assert!(named, "{text}{}", ran.err);
        assert_eq!(ran.out, "", "a fault and 'no faults' contradict each other: {text}");
    }
}

#[test]
fn all_faults_of_a_file_are_named_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let text = "stauts = 404\nport = \"http\"\nhost = 1.5\nmin-latency = 3\n[detect]\ninternl = []\n\
         [detect.rules.http-path-scan]\nthreshold = -1\n";
    fs::write(&file, text).unwrap();
    let ran = run(&["config", "check", file.to_str().unwrap()]);
    assert_eq!((ran.status, &*ran.out), (2, ""), "{}", ran.err);
    let named = [
        "1: unknown key 'stauts'",
        "2: port 'http'",
        "3: host",
        "4: min-latency '3'",
        "6: unknown",
        "8: detect.rules.http-path-scan.threshold '-1'",
    ];
    assert_eq!(ran.err.lines().count(), named.len(), "{}", ran.err);
    for (fault, line) in named.iter().zip(ran.err.lines()) {
        assert!(line.contains(&format!("c.toml:{fault}")), "{fault}: {}", ran.err);
    }
}
