//! Keys that have no option: each in the documentation, and read from the file and the environment.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

#[expect(dead_code, reason = "what is written is looked into as text")]
mod common;

use std::fs;

use common::{capture_of_errors, run};
use http_trace::config::source::{Sources, variable};
use http_trace::config::{Config, KEYS};

/// What a configuration has under a key, as text.
type Read = fn(&Config) -> String;

/// Key, a value and how the configuration shows it, and a value that is refused.
const TABLE: &[(&str, &str, Read, &str, &str)] = &[
    (
        "output-queue",
        "3MiB",
        |c| c.limits.output_queue.to_string(),
        "3145728",
        "3MB",
    ),
    (
        "ring-size",
        "65536",
        |c| format!("{:?}", c.kernel.ring),
        "Some(65536)",
        "0",
    ),
    (
        "max-flows",
        "77",
        |c| format!("{:?}", c.limits.flows),
        "Some(77)",
        "0",
    ),
    (
        "heads-memory",
        "2KiB",
        |c| format!("{:?}", c.limits.heads_memory),
        "Some(2048)",
        "-1",
    ),
    (
        "reorder-memory",
        "1KiB",
        |c| format!("{:?}", c.limits.reorder_memory),
        "Some(1024)",
        "x",
    ),
    (
        "detect-memory",
        "1GiB",
        |c| c.detect.memory.to_string(),
        "1073741824",
        "1.5GiB",
    ),
    (
        "response-timeout",
        "5s",
        |c| format!("{:?}", c.limits.response_timeout),
        "Some(5s)",
        "0s",
    ),
    (
        "state-interval",
        "2m",
        |c| format!("{:?}", c.detect.state_interval),
        "120s",
        "2",
    ),
    (
        "state-size",
        "64KiB",
        |c| c.detect.state_size.to_string(),
        "65536",
        "63KiB",
    ),
    (
        "tc",
        "clsact",
        |c| c.kernel.clsact.to_string(),
        "true",
        "tcx",
    ),
    (
        "framing",
        "host",
        |c| c.kernel.host_framing.to_string(),
        "true",
        "kernel",
    ),
    (
        "own-endpoints",
        "[::1]:4318",
        |c| format!("{:?}", c.own_endpoints),
        "[[::1]:4318]",
        "::1",
    ),
];

/// From the environment, or from a file with this line.
fn config(key: &str, value: &str, of_file: bool) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{key} = \"{value}\"\n")).unwrap();
    let environment = |name: &str| (name == variable(key)).then(|| value.to_owned());
    let sources = match of_file {
        true => Sources::gather(Vec::new(), &|_| None, Some(file.path())),
        false => Sources::gather(Vec::new(), &environment, None),
    };
    Config::from_sources(&sources.unwrap()).map_err(|error| error.to_string())
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
            assert!(
                error.contains(&format!("{origin} '{wrong}': want ")),
                "{error}"
            );
        }
    }
}

#[test]
fn keys_without_an_option_are_documented() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md"));
    let text = text.unwrap();
    for key in KEYS.iter().filter(|key| !key.option) {
        let row = format!("| `{}` | `{}` | ", key.name, variable(key.name));
        assert!(text.contains(&row), "{row}");
        let tested = TABLE.iter().any(|(name, ..)| *name == key.name);
        assert!(tested || key.name.starts_with("redact-"), "{}", key.name);
    }
    // The file that it shows is one.
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), shown).unwrap();
    let sources = Sources::gather(Vec::new(), &|_| None, Some(file.path())).unwrap();
    let config = Config::from_sources(&sources).unwrap();
    assert_eq!(config.limits.output_queue, 16 << 20);
    // As are the defaults of what is always there.
    let config = Config::from_sources(&Sources::default()).unwrap();
    assert_eq!(config.limits.output_queue, 64 << 20);
    assert_eq!(config.detect.memory, 64 << 20);
    assert_eq!(config.detect.state_size, 64 << 20);
    assert_eq!(config.detect.state_interval.as_secs(), 60);
}

#[test]
fn what_a_file_names_is_redacted_too() {
    let folder = tempfile::tempdir().unwrap();
    let (file, capture) = (folder.path().join("c.toml"), folder.path().join("c.pcap"));
    fs::write(&capture, capture_of_errors(0..1)).unwrap();
    let all = ["-r", capture.to_str().unwrap(), "-o", "json", "-q"];
    let plain = run(&all).out;
    assert!(
        plain.contains("?q=0\"") && plain.contains("[\"nginx\"]"),
        "{plain}"
    );
    fs::write(
        &file,
        "redact-headers = 'server'\nredact_parameters = ['Q']\n",
    )
    .unwrap();
    let with_file = [&all[..], &["--config", file.to_str().unwrap()]].concat();
    let redacted = run(&with_file).out;
    assert!(redacted.contains("?q=‹redacted:1 byte"), "{redacted}");
    assert!(redacted.contains("[\"‹redacted:5 bytes›\"]"), "{redacted}");
}
