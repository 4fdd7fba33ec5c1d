//! The table `[detect]` of the configuration file: what the file changes of rules.

use ipnet::IpNet;
use toml::{Table, Value};

use super::Error;
use http_trace_detect::builtin::FILTERS;
use http_trace_detect::rule::Severity;
use http_trace_detect::tune::{Allow, Override, Tuning};
use http_trace_model::value;

/// Reads the table; `file` is how errors name the file.
pub(super) fn read(table: &Table, file: &str) -> Result<Tuning, Error> {
    let mut tuning = Tuning::default();
    for (name, value) in table {
        let at = At(file, format!("detect.{name}"));
        match name.as_str() {
            "internal" => tuning.internal = Some(at.each(value, network)?),
            "allow" => tuning.allow = allow(at.table(value)?, &at)?,
            "filters" => tuning.filters = filters(value, &at)?,
            "rules" => {
                for (id, value) in at.table(value)? {
                    let at = At(file, format!("detect.rules.{id}"));
                    let change = change(at.table(value)?, &at)?;
                    tuning.rules.insert(id.clone(), change);
                }
            }
            _ => return Err(at.unknown(&["internal", "allow", "filters", "rules"])),
        }
    }
    Ok(tuning)
}

fn change(table: &Table, of: &At<'_>) -> Result<Override, Error> {
    let mut change = Override::default();
    for (name, value) in table {
        let at = of.below(name);
        match name.as_str() {
            "threshold" => change.threshold = Some(at.number(value, 1..=1_000_000_000)?),
            "window" => change.window_ns = Some(at.duration(value)?),
            "severity" => {
                change.severity = Severity::new(at.number(value, 0..=10)?);
            }
            "suppress" => change.suppress_ns = Some(at.duration(value)?),
            "allow" => change.allow = allow(at.table(value)?, &at)?,
            _ => {
                return Err(at.unknown(&["threshold", "window", "severity", "suppress", "allow"]));
            }
        }
    }
    Ok(change)
}

fn allow(table: &Table, of: &At<'_>) -> Result<Allow, Error> {
    let mut allow = Allow::default();
    for (name, value) in table {
        let at = of.below(name);
        match name.replace('_', "-").as_str() {
            "clients" => allow.clients = at.each(value, network)?,
            "user-agents" => allow.user_agents = at.each(value, text)?,
            "paths" => allow.paths = at.each(value, text)?,
            "hosts" => allow.hosts = at.each(value, text)?,
            _ => return Err(at.unknown(&["clients", "user-agents", "paths", "hosts"])),
        }
    }
    Ok(allow)
}

/// Names of built-in filters.
fn filters(value: &Value, at: &At<'_>) -> Result<Vec<&'static str>, Error> {
    let mut names = Vec::new();
    for wanted in at.each(value, text)? {
        let known = FILTERS.iter().find(|(name, ..)| *name == wanted);
        let Some((name, ..)) = known else {
            let all: Vec<&str> = FILTERS.iter().map(|(name, ..)| *name).collect();
            return Err(at.error(&format!("some of {}, not '{wanted}'", all.join(", "))));
        };
        names.push(*name);
    }
    Ok(names)
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    value::network(text)
}

fn text(text: &str) -> Result<String, &'static str> {
    match text.is_empty() {
        true => Err("some text; * stands for anything"),
        false => Ok(text.to_owned()),
    }
}

/// A place in the file: its name and the key.
struct At<'a>(&'a str, String);

impl<'a> At<'a> {
    fn below(&self, name: &str) -> At<'a> {
        At(self.0, format!("{}.{name}", self.1))
    }

    fn error(&self, want: &str) -> Error {
        Error::new(format!("{}: {}: want {want}", self.0, self.1))
    }

    /// The same, of one entry.
    fn entry(&self, entry: &str, want: &str) -> Error {
        Error::new(format!("{}: {} '{entry}': want {want}", self.0, self.1))
    }

    fn unknown(&self, known: &[&str]) -> Error {
        let name = self.1.rsplit('.').next().unwrap_or_default();
        let near = known
            .iter()
            .min_by_key(|k| strsim::damerau_levenshtein(name, k))
            .filter(|k| strsim::damerau_levenshtein(name, k) <= 2);
        let hint = match near {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", known.join(", ")),
        };
        Error::new(format!("{}: unknown key '{}'; {hint}", self.0, self.1))
    }

    fn table<'v>(&self, value: &'v Value) -> Result<&'v Table, Error> {
        value.as_table().ok_or_else(|| self.error("a table"))
    }

    /// A text or a list of them.
    fn each<T>(
        &self,
        value: &Value,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Vec<T>, Error> {
        let items = match value {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        let one = |item: &Value| match item.as_str() {
            Some(text) => parse(text).map_err(|want| self.entry(text, want)),
            None => Err(self.entry(&item.to_string(), "text, or a list of texts")),
        };
        items.iter().map(one).collect()
    }

    fn number(&self, value: &Value, within: std::ops::RangeInclusive<u64>) -> Result<u64, Error> {
        value
            .as_integer()
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| within.contains(n))
            .ok_or_else(|| {
                self.error(&format!(
                    "a number from {} to {}",
                    within.start(),
                    within.end()
                ))
            })
    }

    fn duration(&self, value: &Value) -> Result<u64, Error> {
        let text = value.as_str().unwrap_or_default();
        let duration = value::duration(text).map_err(|want| self.error(want))?;
        match u64::try_from(duration.as_nanos()) {
            Ok(ns) if ns > 0 => Ok(ns),
            _ => Err(self.error("a time of more than nothing, such as 5m")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Tuning, String> {
        let table: Table = text.parse().expect("TOML");
        read(&table, "f.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn a_table_and_what_it_means() {
        let tuning = parse(
            "internal = '10.0.0.0/8'\nfilters = 'health-probes'\n[allow]\nclients = ['192.0.2.1', 'fd00::/8']\n\
             user_agents = 'kube-probe*'\n[rules.http-path-scan]\nthreshold = 50\nwindow = '5m'\n\
             severity = 7\nsuppress = '30m'\nallow = { paths = ['/old/*'] }\n",
        )
        .expect("good");
        assert_eq!(tuning.internal.map(|all| all.len()), Some(1));
        assert_eq!(tuning.allow.clients.len(), 2);
        assert_eq!(tuning.filters, ["health-probes"]);
        assert_eq!(tuning.allow.user_agents, ["kube-probe*"]);
        let change = &tuning.rules["http-path-scan"];
        assert_eq!(change.threshold, Some(50));
        assert_eq!(change.window_ns, Some(300_000_000_000));
        assert_eq!(change.severity, Severity::new(7));
        assert_eq!(change.suppress_ns, Some(1_800_000_000_000));
        assert_eq!(change.allow.paths, ["/old/*"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (text, expected) in [
            (
                "internl = []",
                "f.toml: unknown key 'detect.internl'; did you mean 'internal'?",
            ),
            (
                "internal = ['x']",
                "f.toml: detect.internal 'x': want a network such as",
            ),
            (
                "[allow]\nclients = ['192.0.2.1', '192.0.2.0/33']",
                "f.toml: detect.allow.clients '192.0.2.0/33': want a network such as",
            ),
            (
                "internal = ['10.0.0.0/8', 10]",
                "f.toml: detect.internal '10': want text, or a list of texts",
            ),
            ("allow = 1", "f.toml: detect.allow: want a table"),
            (
                "filters = ['probes']",
                "f.toml: detect.filters: want some of health-probes, private-ranges, static-assets, \
                 verified-crawlers, not 'probes'",
            ),
            (
                "[allow]\nagents = 'x'",
                "unknown key 'detect.allow.agents'; there are clients",
            ),
            (
                "[rules.a]\nthreshold = 0",
                "detect.rules.a.threshold: want a number from 1 to",
            ),
            (
                "[rules.a]\nwindow = 5",
                "detect.rules.a.window: want a time with its unit",
            ),
            (
                "[rules.a]\nwindow = '0s'",
                "detect.rules.a.window: want a time",
            ),
            (
                "[rules.a]\nseverity = 11",
                "detect.rules.a.severity: want a number from 0 to 10",
            ),
            ("[rules.a]\ntreshold = 1", "did you mean 'threshold'?"),
            (
                "[rules.a.allow]\npaths = ['']",
                "detect.rules.a.allow.paths '': want some text",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
