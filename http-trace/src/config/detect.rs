//! The `[detect]` table of the configuration file: changes to rules.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use http_trace_detect::builtin::FILTERS;
use http_trace_detect::rule::Severity;
use http_trace_detect::tune::{Allow, Override, Tuning};
use http_trace_model::value;
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::de::ValueDeserializer;

use super::scalars::{self, Scalars};

#[derive(Deserialize)]
#[serde(remote = "Tuning", deny_unknown_fields, expecting = "a table ([detect])")]
struct TuningTable {
    #[serde(default, deserialize_with = "internal")]
    internal: Option<Vec<IpNet>>,
    #[serde(default, with = "AllowTable")]
    allow: Allow,
    #[serde(default, deserialize_with = "filters")]
    filters: Vec<&'static str>,
    #[serde(default, deserialize_with = "rules")]
    rules: BTreeMap<String, Override>,
}

#[derive(Deserialize)]
#[serde(remote = "Override", deny_unknown_fields, expecting = "a table")]
struct OverrideTable {
    #[serde(default, deserialize_with = "threshold")]
    threshold: Option<u64>,
    #[serde(default, deserialize_with = "percent")]
    percent: Option<u8>,
    #[serde(default, rename = "window", deserialize_with = "time")]
    window_ns: Option<u64>,
    #[serde(default, deserialize_with = "severity")]
    severity: Option<Severity>,
    #[serde(default, rename = "suppress", deserialize_with = "time")]
    suppress_ns: Option<u64>,
    #[serde(default, rename = "alert-limit", alias = "alert_limit", deserialize_with = "limit")]
    alert_limit: Option<u64>,
    #[serde(default, with = "AllowTable")]
    allow: Allow,
}

#[derive(Deserialize)]
#[serde(remote = "Allow", deny_unknown_fields, expecting = "a table")]
struct AllowTable {
    #[serde(default, deserialize_with = "networks")]
    clients: Vec<IpNet>,
    #[serde(default, rename = "user-agents", alias = "user_agents", deserialize_with = "patterns")]
    user_agents: Vec<String>,
    #[serde(default, deserialize_with = "patterns")]
    paths: Vec<String>,
    #[serde(default, deserialize_with = "patterns")]
    hosts: Vec<String>,
}

#[derive(Deserialize)]
struct Rule(#[serde(with = "OverrideTable")] Override);

/// Reads the table; an error is its position in the file, if known, and its text.
pub(super) fn read(table: ValueDeserializer<'_>) -> Result<Tuning, (Option<Range<usize>>, String)> {
    let mut track = serde_path_to_error::Track::new();
    let table = serde_path_to_error::Deserializer::new(table, &mut track);
    let read = TuningTable::deserialize(table);
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
        return format!("{path}{separator}{}", scalars::worded(message));
    }
    // serde puts the unknown field and then the known ones between backticks.
    let mut names = message.split('`').skip(1).step_by(2);
    let name = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let distance = |known: &&&str| strsim::damerau_levenshtein(name, known);
    let hint = match known.iter().min_by_key(distance) {
        Some(near) if distance(&near) <= 2 => format!("did you mean '{near}'?"),
        _ => format!("want one of {}", known.join(", ")),
    };
    let below = path.strip_suffix(name).and_then(|path| path.strip_suffix('.'));
    format!("unknown key '{}.{name}'; {hint}", below.unwrap_or(&path))
}

/// Parses a string, or each string of a list.
fn each<'de, D: Deserializer<'de>, T, W: fmt::Display>(
    from: D,
    parse: impl Fn(&str) -> Result<T, W>,
) -> Result<Vec<T>, D::Error> {
    let wrong = |text: &str, want: W| D::Error::custom(format!("'{text}': want {want}"));
    let scalars = Scalars::deserialize(from)?.0;
    let parsed = scalars.iter().map(|text| parse(text).map_err(|want| wrong(text, want)));
    parsed.collect()
}

/// Parses one string.
fn one<'de, D: Deserializer<'de>, T, W: fmt::Display>(
    from: D,
    parse: impl Fn(&str) -> Result<T, W>,
) -> Result<Option<T>, D::Error> {
    let mut all = each(from, parse)?;
    match all.len() {
        1 => Ok(all.pop()),
        n => Err(D::Error::custom(format!("want one value, not {n}"))),
    }
}

macro_rules! parsers {
    ($($name:ident -> $type:ty = $read:expr;)+) => {
        $(fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<$type, D::Error> {
            $read(from)
        })+
    };
}

parsers! {
    networks -> Vec<IpNet> = |from| each(from, value::network);
    internal -> Option<Vec<IpNet>> = |from| each(from, value::network).map(Some);
    patterns -> Vec<String> = |from| each(from, pattern);
    filters -> Vec<&'static str> = |from| each(from, filter);
    threshold -> Option<u64> = |from| one(from, number);
    percent -> Option<u8> = |from| one(from, per_cent);
    severity -> Option<Severity> = |from| one(from, score);
    time -> Option<u64> = |from| one(from, nanoseconds);
    limit -> Option<u64> = |from| one(from, alerts);
    rules -> BTreeMap<String, Override> = |from| {
        let rules: BTreeMap<String, Rule> = Deserialize::deserialize(from)?;
        Ok(rules.into_iter().map(|(id, rule)| (id, rule.0)).collect())
    };
}

fn per_cent(text: &str) -> Result<u8, &'static str> {
    let number = text.parse().ok().filter(|n| (1..=100).contains(n));
    number.ok_or("a percentage from 1 to 100, for rules of type ratio")
}

fn pattern(text: &str) -> Result<String, &'static str> {
    match text.is_empty() {
        true => Err("text; * matches anything"),
        false => Ok(text.to_owned()),
    }
}

/// Looks up a built-in filter by name.
fn filter(text: &str) -> Result<&'static str, String> {
    let names = || FILTERS.iter().map(|(name, ..)| *name);
    let known = names().find(|name| *name == text);
    known.ok_or_else(|| format!("names from {}", names().collect::<Vec<_>>().join(", ")))
}

fn number(text: &str) -> Result<u64, &'static str> {
    let number = text.parse().ok().filter(|n| (1..=1_000_000_000).contains(n));
    number.ok_or("a number from 1 to 1000000000")
}

fn alerts(text: &str) -> Result<u64, &'static str> {
    let number = text.parse().ok().filter(|n| *n <= 1_000_000_000);
    number.ok_or("a number of alerts; 0 combines all of a server in one")
}

fn score(text: &str) -> Result<Severity, &'static str> {
    let score = text.parse().ok().and_then(Severity::new);
    score.ok_or("a number from 0 to 10")
}

fn nanoseconds(text: &str) -> Result<u64, &'static str> {
    value::some_time(text).map(|time| time.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
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
