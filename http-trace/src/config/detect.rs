//! The `[detect]` table of the configuration file: changes to rules.

use std::ops::Range;

use http_trace_detect::diagnose::nearest;
use http_trace_detect::tune::Tuning;
use serde::Deserialize as _;
use toml::de::ValueDeserializer;

use super::layers::worded as of_types;

/// Reads the table; an error is its position in the file, if known, and its text.
pub(super) fn read(table: ValueDeserializer<'_>) -> Result<Tuning, (Option<Range<usize>>, String)> {
    let mut track = serde_path_to_error::Track::new();
    let table = serde_path_to_error::Deserializer::new(table, &mut track);
    let read = Tuning::deserialize(table);
    read.map_err(|error| (error.span(), worded(&track.path().to_string(), error.message())))
}

/// Formats `detect.PATH MESSAGE`, suggesting the nearest name for an unknown field.
fn worded(path: &str, message: &str) -> String {
    // An element of a list is identified by its value, not its index.
    let path = path.split('[').next().unwrap_or_default();
    let path = match path {
        "." => "detect".to_owned(),
        below => format!("detect.{below}"),
    };
    if !message.starts_with("unknown field") {
        let separator = if message.starts_with('\'') { " " } else { ": " };
        return format!("{path}{separator}{}", of_types(message));
    }
    // serde puts the unknown field and then the known ones between backticks.
    let mut names = message.split('`').skip(1).step_by(2);
    let name = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let hint = match nearest(name, known.iter().copied(), 2) {
        Some(near) => format!("did you mean '{near}'?"),
        None => format!("want one of {}", known.join(", ")),
    };
    let below = path.strip_suffix(name).and_then(|path| path.strip_suffix('.'));
    format!("unknown key '{}.{name}'; {hint}", below.unwrap_or(&path))
}

#[cfg(test)]
mod tests {
    use http_trace_detect::rule::Severity;

    use super::*;

    fn parse(text: &str) -> Result<Tuning, String> {
        let table = toml::de::DeTable::parse(text).expect("TOML");
        let span = table.span();
        let value = toml::de::DeValue::Table(table.into_inner());
        let value = toml::Spanned::new(span, value);
        read(value.into()).map_err(|(_, what)| format!("f.toml: {what}"))
    }

    #[test]
    fn a_table_and_what_it_means() {
        let tuning = parse(
            "internal = '10.0.0.0/8'\nfilters = 'health-probes'\n[allow]\nclients = ['192.0.2.1', 'fd00::/8']\n\
             user_agents = 'kube-probe*'\n[rules.http-path-scan]\nthreshold = 50\npercent = 30\nwindow = '5m'\n\
             severity = 7\nsuppress = '30m'\nalert-limit = 0\nallow = { paths = ['/old/*'] }\n",
        )
        .expect("good");
        assert_eq!(tuning.internal.map(|all| all.len()), Some(1));
        assert_eq!(tuning.allow.clients.len(), 2);
        assert_eq!(tuning.filters, ["health-probes"]);
        assert_eq!(tuning.allow.user_agents, ["kube-probe*"]);
        let change = &tuning.rules["http-path-scan"];
        assert_eq!(change.threshold, Some(50));
        assert_eq!(change.percent, Some(30));
        assert_eq!(change.window_ns, Some(300_000_000_000));
        assert_eq!(change.severity, Severity::new(7));
        assert_eq!(change.suppress_ns, Some(1_800_000_000_000));
        assert_eq!(change.alert_limit, Some(0));
        assert_eq!(change.allow.paths, ["/old/*"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (text, expected) in [
            ("internl = []", "f.toml: unknown key 'detect.internl'; did you mean 'internal'?"),
            ("internal = ['x']", "f.toml: detect.internal 'x': want a network such as"),
            (
                "[allow]\nclients = ['192.0.2.1', '192.0.2.0/33']",
                "f.toml: detect.allow.clients '192.0.2.0/33': want a network such as",
            ),
            (
                "internal = ['10.0.0.0/8', 10]",
                "f.toml: detect.internal '10': want a network such as",
            ),
            ("allow = 1", "f.toml: detect.allow: want a table"),
            (
                "filters = ['probes']",
                "f.toml: detect.filters 'probes': want names from health-probes, private-ranges, \
                 static-assets, verified-crawlers",
            ),
            ("[allow]\nagents = 'x'", "unknown key 'detect.allow.agents'; want one of clients"),
            ("[rules.a]\nthreshold = 0", "detect.rules.a.threshold '0': want a number from 1 to"),
            ("[rules.a]\nwindow = 5", "detect.rules.a.window '5': want a time with its unit"),
            ("[rules.a]\nwindow = '0s'", "detect.rules.a.window '0s': want a time"),
            (
                "[rules.a]\nseverity = 11",
                "detect.rules.a.severity '11': want a number from 0 to 10",
            ),
            ("[rules.a]\ntreshold = 1", "did you mean 'threshold'?"),
            ("[rules.a.allow]\npaths = ['']", "detect.rules.a.allow.paths '': want text"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
