//! The `[detect]` table of the configuration file: changes to rules.

use std::ops::Range;

use http_trace_detect::diagnose::nearest;
use http_trace_detect::tune::Tuning;
use serde::Deserialize as _;
use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use super::layers::worded as of_types;

/// Its position in the file, if known, and its text.
type Fault = (Option<Range<usize>>, String);

/// Reads the table, and all that is wrong with it: what is faulty is left out, and the rest read again.
pub(super) fn read(mut table: Spanned<DeValue<'_>>) -> (Tuning, Vec<Fault>) {
    let mut faults = Vec::new();
    loop {
        let mut track = serde_path_to_error::Track::new();
        let value = ValueDeserializer::from(table.clone());
        let error =
            match Tuning::deserialize(serde_path_to_error::Deserializer::new(value, &mut track)) {
                Ok(tuning) => return (tuning, faults),
                Err(error) => error,
            };
        let path = track.path();
        faults.push((error.span(), worded(&path.to_string(), error.message())));
        let keys = path.iter().map_while(|segment| match segment {
            Segment::Map { key } => Some(key.as_str()),
            _ => None,
        });
        if !remove(table.get_mut(), &keys.collect::<Vec<_>>()) {
            return (Tuning::default(), faults);
        }
    }
}

/// Removes the value at this path; whether it was there.
fn remove(from: &mut DeValue<'_>, path: &[&str]) -> bool {
    let DeValue::Table(table) = from else { return false };
    match path {
        [] => false,
        [key] => table.remove(*key).is_some(),
        [key, below @ ..] => {
            table.get_mut(*key).is_some_and(|value| remove(value.get_mut(), below))
        }
    }
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
    // A name with hyphens may also be written with underscores.
    let is_twin = |name: &&str| name.contains('_') && known.contains(&&*name.replace('_', "-"));
    let hint = match nearest(name, known.iter().copied(), 2) {
        Some(near) => format!("did you mean '{near}'?"),
        None => {
            let known: Vec<&str> = known.iter().copied().filter(|name| !is_twin(name)).collect();
            format!("want one of {}", known.join(", "))
        }
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
        let value = DeValue::Table(table.into_inner());
        let (tuning, mut faults) = read(Spanned::new(span, value));
        assert!(faults.len() < 2, "{faults:?}");
        faults.pop().map_or(Ok(tuning), |(_, what)| Err(format!("f.toml: {what}")))
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
            (
                "[rules.a]\nlevel = 'low'",
                "want one of threshold, percent, window, severity, suppress, alert-limit, allow",
            ),
            ("[rules.a.allow]\npaths = ['']", "detect.rules.a.allow.paths '': want text"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_named_at_once() {
        let text = "internl = []\nfilters = ['probes']\n[allow]\nclients = ['192.0.2.1', 'x']\nagents = 'y'\n\
                    [rules.a]\nthreshold = -1\nwindow = 5\npercent = 30\n[rules.b]\nsevrity = 3\n";
        let table = toml::de::DeTable::parse(text).expect("TOML");
        let value = DeValue::Table(table.into_inner());
        let (tuning, faults) = read(Spanned::new(0..text.len(), value));
        for expected in [
            "unknown key 'detect.internl'",
            "detect.filters 'probes'",
            "detect.allow.clients 'x'",
            "unknown key 'detect.allow.agents'",
            "detect.rules.a.threshold '-1'",
            "detect.rules.a.window '5'",
            "unknown key 'detect.rules.b.sevrity'",
        ] {
            let of = faults.iter().filter(|(_, what)| what.contains(expected));
            assert_eq!(of.count(), 1, "{expected}: {faults:?}");
        }
        assert_eq!(faults.len(), 7, "{faults:?}");
        assert_eq!(tuning.rules["a"].percent, Some(30));
    }
}
