//! Settings: [`Config`], read from the command line, the environment and the configuration file. All
//! validation happens here, with errors that say where the value was given and what was expected; later
//! stages need not check again. Opens the configuration file and nothing else.
//!
//! # Layout
//! - [`key`] is a row of the settings table, [`types`] are setting types that belong to no stage.
//! - `values` parses the text of one setting.
//! - `detect` reads the `[detect]` table of the file.
//! - [`layers`] collects what was given in each layer.
//! - `settings` is the table itself, `show` prints it.

mod detect;
pub mod key;
pub mod layers;
mod settings;
mod show;
mod types;
mod values;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use http_trace_common::config::{MAX_PORT_RANGES, Snippet};
use http_trace_common::record::Hook;

use self::layers::Layers;
pub use self::settings::{Config, KEYS};
pub use self::types::{AlsoRedacted, FramingChoice, Source, TcMode};
use crate::ban::Plan;
use crate::enrich::proxy::Trusted;
use crate::redact::Secrets;
use crate::scope::Scope;
use crate::select::Selection;
use crate::sink::{Destination, Format, OutputSpec};
use http_trace_engine::config::Emit;
use http_trace_model::endpoint::{Endpoints, Templates};

impl Config {
    /// Combines the environment, the file and the typed options (by key).
    pub fn load(
        typed: Vec<(&'static str, Vec<String>)>,
        file: Option<&Path>,
    ) -> Result<Self, String> {
        let (variables, warnings) = layers::environment(KEYS, std::env::vars_os())?;
        let environment = |name: &str| variables.get(name).cloned();
        let mut config = Config::from_layers(&Layers::gather(KEYS, typed, &environment, file)?)?;
        config.warnings.extend(warnings);
        Ok(config)
    }

    /// Parses every setting.
    ///
    /// # Errors
    /// All faults of the file and invalid values, and settings that conflict.
    pub fn from_layers(layers: &Layers) -> Result<Self, String> {
        let mut config = Config::read(layers)?;
        config.tuning = layers.tuning.clone();
        config.file.clone_from(&layers.file);
        if !config.read.is_empty() {
            config.source = Source::Captures(config.read.clone());
        }
        if config.summary {
            config.output.push(OutputSpec::new(Format::Summary, Destination::Stdout));
        }
        let mut seen: Vec<Hook> = Vec::new();
        config.hook.retain(|hook| {
            let new = !seen.contains(hook);
            seen.push(*hook);
            new
        });
        let refused = |name: &str, what: String| match layers.given(name) {
            Some(given) => Err(format!("{}: {what}", given.origin)),
            None => Ok(()),
        };
        let ranges = config.port.len();
        if ranges > MAX_PORT_RANGES {
            refused(
                "port",
                format!(
                    "{ranges} ranges given; want at most {MAX_PORT_RANGES} (join adjacent ports: \
                     8000-8099)"
                ),
            )?;
        }
        for (at, output) in config.output.iter().enumerate() {
            let mut before = config.output[..at].iter();
            if before.any(|other| other.place == output.place) {
                let place = &output.place;
                refused(
                    "output",
                    format!("two outputs go to {place}; want a separate file for each (json:FILE)"),
                )?;
            }
        }
        if config.ban.is_none() && config.ban_for.is_some() {
            let what = "no set for the bans; also give --ban nft:TABLE/SET";
            refused("ban-for", what.to_owned())?;
        }
        if config.body_snippet.is_some() && config.emit == Emit::Head {
            config.warnings.push(
                "--body-snippet has no effect with --emit head: the event is written before the \
                 body arrives; use --emit auto or end"
                    .to_owned(),
            );
        }
        let names_few = |hook: &Hook| matches!(hook, Hook::Xdp | Hook::SocketFilter);
        if config.selection().chooses_processes() && config.hook.iter().all(names_few) {
            config.warnings.push(format!(
                "--hook {} does not name all processes: filters by process, container, pod or namespace leave out what \
                 others sent: use --hook tc",
                config.hook[0].name()
            ));
        }
        config.warnings.extend(config.selection().unlikely("--", ": "));
        for output in &config.output {
            let before = format!("--output {}: ", output.name());
            let unlikely = output.only.selection.unlikely(&before, "=: ");
            config.warnings.extend(unlikely);
            let file = output.place.file();
            let is_compressed = |end: &OsStr| ["gz", "zst"].iter().any(|known| end == *known);
            if let Some(file) = file.filter(|file| file.extension().is_some_and(is_compressed)) {
                config.warnings.push(format!("{} is written uncompressed", file.display()));
            }
        }
        let as_given = |name: &str| layers.given(name).map(|given| given.to_string());
        let of = |names: &[&str]| names.iter().filter_map(|name| as_given(name)).collect();
        config.limits = of(&["port", "client", "peer", "server"]);
        let filters = KEYS.iter().filter(|key| key.group == "Filters");
        let filters = filters.map(|key| key.name);
        let filters = filters.filter(|name| !["sample", "count"].contains(name));
        config.filters = of(&filters.collect::<Vec<_>>());
        config.sampled = of(&["sample"]);
        config.layers = layers.clone();
        Ok(config)
    }

    /// Re-reads the environment and the file; settings that need a restart keep their value. Also returns the
    /// names of the settings that were applied, and of those that need a restart.
    pub fn again(&self) -> Result<(Self, [Vec<&'static str>; 2]), String> {
        let (variables, _) = layers::environment(KEYS, std::env::vars_os())?;
        let now = self.layers.again(&|name| variables.get(name).cloned())?;
        Config::from_layers(&now)?;
        let mut layers = self.layers.clone();
        let changed = layers.take(now);
        let now = Config::from_layers(&layers)?;
        let config = Config {
            source: self.source.clone(),
            alerts_only: self.alerts_only,
            tries_rules: self.tries_rules,
            rules: if self.tries_rules { self.rules.clone() } else { now.rules },
            ..now
        };
        Ok((config, changed))
    }

    /// The files and folders that [`Config::again`] and the rules are read from.
    pub fn read_again(&self) -> Vec<PathBuf> {
        let known = self.layers.given("known").map(|given| given.values.iter());
        let known = known.into_iter().flatten().map(PathBuf::from);
        let rules = self.rules.iter().cloned();
        self.file.iter().cloned().chain(rules).chain(known).collect()
    }

    /// Options that were given but have no effect on a run of this source.
    pub fn without_effect(&self) -> Vec<&str> {
        let without = KEYS.iter();
        without
            .filter(|key| key.runs & self.source.run() == 0 || self.lacks_other(key.name))
            .filter_map(|key| Some(&*self.layers.given(key.name)?.origin))
            .collect()
    }

    /// Whether this setting only changes what another one does, which was not given.
    fn lacks_other(&self, name: &str) -> bool {
        match name {
            "watch-config" => self.read_again().is_empty(),
            "ban-level" | "ban-allow" | "ban-most" => self.ban.is_none(),
            "ban-reset" | "ban-lift" => self.ban.is_none() || self.ban_for.is_none(),
            "executables" | "command-line" => self.no_attribution,
            _ => false,
        }
    }

    /// Filters by process of which nothing passes, because the run names none: a warning.
    pub fn names_none(&self) -> Option<String> {
        let why = match self.source {
            Source::Live if self.no_attribution => "--no-attribution names no process",
            Source::Captures(_) => "captures do not name processes",
            _ => return None,
        };
        self.any_selection(Selection::wants_processes).then(|| {
            format!("{why}: filters by process, container, pod or namespace leave everything out")
        })
    }

    /// Whether the filters of the run, or of one of its outputs, are so.
    pub fn any_selection(&self, is_so: fn(&Selection) -> bool) -> bool {
        is_so(&self.selection()) || self.output.iter().any(|output| is_so(&output.only.selection))
    }

    /// Which connections are traced.
    pub fn scope(&self) -> Scope {
        Scope {
            ports: self.port.clone(),
            clients: self.client.clone(),
            peers: self.peer.clone(),
            servers: self.server.clone(),
        }
    }

    /// Which events are written.
    pub fn selection(&self) -> Selection {
        Selection {
            alerts_only: self.alerts_only,
            status: self.status.clone(),
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.path.clone(),
            user_agent: self.user_agent.clone(),
            header: self.header.clone(),
            process: self.process.clone(),
            container: self.container.clone(),
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            rule: self.rule.clone(),
            min_latency_ns: self.min_latency.clone(),
            sample: self.sample.clone(),
            ..Selection::default()
        }
    }

    /// Proxies trusted to name the client: loopback and the given networks; `none` excludes loopback.
    pub fn trusted(&self) -> Trusted {
        let networks = self.trusted_proxies.iter().copied().flatten();
        match self.trusted_proxies.contains(&None) {
            true => Trusted::only(networks.collect()),
            false => Trusted::with(networks),
        }
    }

    /// Which clients to ban, and how; `None` without `--ban`.
    pub fn ban_plan(&self) -> Option<Plan> {
        Some(Plan {
            set: self.ban.clone()?,
            lasts: self.ban_for,
            level: self.ban_level,
            allow: self.ban_allow.clone(),
            most: usize::try_from(self.ban_most).unwrap_or(usize::MAX),
            reset: self.ban_reset,
            lift: self.ban_lift,
        })
    }

    /// How paths are grouped into endpoints, and which endpoints are known.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints { templates: Templates::new(&self.template), known: self.known.clone() }
    }

    /// What to redact; `None` with `--show-secrets`.
    pub fn secrets(&self) -> Option<Secrets> {
        let (headers, parameters) = (&self.redact_headers, &self.redact_parameters);
        let personal = !self.redact.is_empty();
        let written = self.request_headers.of_requests();
        (!self.show_secrets).then(|| Secrets::with(headers, parameters, personal, written))
    }

    /// Which bodies' first bytes are written.
    pub fn snippet(&self) -> Snippet {
        self.body_snippet.unwrap_or(Snippet::NONE)
    }

    /// Whether to name the processes at both ends. Skipped when no output or rule can show them; built-in
    /// rules do not use process fields.
    pub fn names_processes(&self) -> bool {
        let counts = |output: &OutputSpec| {
            let only = &output.only.selection;
            output.format == Format::Summary && !only.chooses_processes()
        };
        let only_counts = !self.output.is_empty() && self.output.iter().all(counts);
        let is_asked_for =
            !self.rules.is_empty() || self.listen.is_some() || self.selection().chooses_processes();
        !self.no_attribution && (!only_counts || is_asked_for)
    }

    /// Tunnels that the eBPF programs decapsulate: bits of [`http_trace_common::config::decap`].
    pub fn decap_bits(&self) -> u32 {
        self.decap.iter().fold(0, |all, one| all | one)
    }
}

#[cfg(test)]
pub mod testing {
    //! Configurations from typed command lines, for tests.

    use clap::Parser as _;

    use super::*;

    /// Parses a command line, ignoring environment and file.
    pub fn try_config<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Config, String> {
        let cli = crate::cli::Cli::try_parse_from(words).expect("parses");
        Config::from_layers(&Layers::gather(KEYS, cli.options.typed, &|_| None, None)?)
    }

    /// The same for a valid command line.
    pub fn config<'a>(words: impl IntoIterator<Item = &'a str>) -> Config {
        try_config(words).expect("a valid command line")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Color, HeaderChoice};

    #[test]
    fn defaults() {
        let config = testing::config(["http-trace"]);
        assert_eq!(config.source, Source::Live);
        assert_eq!(config.hook, [Hook::Tc]);
        assert!(config.scope().is_unlimited() && config.output.is_empty());
        assert_eq!(config.headers, HeaderChoice::All);
        assert_eq!(config.request_headers, HeaderChoice::None);
        assert_eq!((config.emit, config.color), (Emit::Auto, Color::Auto));
        assert!(config.secrets().is_some());
    }

    #[test]
    fn processes_are_named_where_something_can_tell_them() {
        for (words, named) in [
            (&["http-trace"][..], true),
            (&["http-trace", "--no-attribution"], false),
            (&["http-trace", "--summary"], false),
            (&["http-trace", "--summary", "-o", "json:x"], true),
            (&["http-trace", "-o", "summary:x", "--process", "nginx"], true),
            (&["http-trace", "-o", "summary:x,container=3f*"], true),
            (&["http-trace", "--summary", "--rules", "own.yml"], true),
            (&["http-trace", "--summary", "--listen", "127.0.0.1:9464"], true),
        ] {
            let config = testing::config(words.iter().copied());
            assert_eq!(config.names_processes(), named, "{words:?}");
        }
    }

    #[test]
    fn every_wrong_value_is_named_with_what_would_be_right() {
        for (typed, expected) in [
            (
                ["--status", "6xz"],
                "--status '6xz': want a code from 100 to 999, a class or a range",
            ),
            (["--status", "404,,x"], "--status 'x': want"),
            (["--port", "0"], "--port '0': want a port from 1 to 65535"),
            (["-p", "1-2-3"], "--port '1-2-3': want a port"),
            (["--client", "10.0.0.0/40"], "--client '10.0.0.0/40': want a network such as"),
            (["--server", "!x"], "--server '!x': want a network such as"),
            (["--hook", "kprobe"], "--hook 'kprobe': want tc, socket-filter, cgroup or xdp"),
            (["--path", "[a"], "--path '[a': want a pattern such as /api/*"),
            (["--header", "Accept"], "--header 'Accept': want NAME=PATTERN"),
            (["--min-latency", "100"], "--min-latency '100': want a time with its unit"),
            (["--duration", "soon"], "--duration 'soon': want a time with its unit"),
            (
                ["--duration", "0s"],
                "--duration '0s': want a time of more than nothing, such as 30s",
            ),
            (["-c", "0"], "--count '0': want a whole number from 1"),
            (
                ["--body-snippet", "5000"],
                "--body-snippet '5000': want a number of bytes from 1 to 4096",
            ),
            (["--body-snippet", "100:6"], "--body-snippet '100:6': want a code from 100 to 999"),
            (
                ["-o", "xml"],
                "--output 'xml': want json, pretty, tracee, tracee-v1, eve, zeek, zeek-tsv, csv, otlp, report or summary",
            ),
            (["-o", "json:"], "--output 'json:': want a file's name after the colon"),
            (["-o", "json:a,clients=internal"], "there is no clients="),
            (["-H", "a b"], "--headers 'a b': want all, none, or header names"),
            (["-H", "all,Date"], "--headers 'all': want it alone"),
            (["--emit", "now"], "--emit 'now': want auto, head, end"),
            (["--color", "red"], "--color 'red': want auto, always, never"),
            (["--line-buffered=maybe", "-q"], "--line-buffered 'maybe': want true or false"),
            (["-i", "[a"], "--interface '[a': want an interface such as eth0"),
        ] {
            let words = std::iter::once("http-trace").chain(typed);
            let error = testing::try_config(words).expect_err("refused").to_string();
            assert!(error.contains(expected), "{typed:?}: {error}");
        }
    }

    #[test]
    fn what_completion_offers_is_accepted() {
        for key in KEYS {
            for offered in key.offers {
                testing::config(["http-trace", &format!("--{}={offered}", key.name)]);
            }
        }
        let command = crate::cli::command_of(&["report"]).expect("a command");
        let form = command.get_arguments().find(|a| a.get_long() == Some("as")).expect("--as");
        let offered = form.get_possible_values();
        let forms = http_trace_report::Form::ALL;
        assert!(offered.iter().map(|value| value.get_name()).eq(forms.map(|form| form.name())));
    }

    #[test]
    fn bodies_by_status() {
        for (text, bytes, wanted, not) in [
            ("512", 512, &[100, 200, 404, 999][..], &[99, 1000][..]),
            ("1:404", 1, &[404], &[403, 405, 200]),
            ("4096:4xx,503", 4096, &[400, 499, 503], &[399, 500, 502, 504]),
            ("64:!2xx,!404", 64, &[199, 300, 500], &[200, 299, 404]),
            ("64:4xx, !404", 64, &[400, 405], &[404, 500]),
        ] {
            let snippet = testing::config(["http-trace", "--body-snippet", text]).snippet();
            for status in wanted {
                assert_eq!(snippet.of(*status), bytes, "{text}: {status}");
            }
            for status in not {
                assert_eq!(snippet.of(*status), 0, "{text}: {status}");
            }
        }
        assert_eq!(testing::config(["http-trace"]).snippet(), Snippet::NONE);
    }

    #[test]
    fn a_body_that_no_event_can_show_is_warned_of() {
        for (emit, warned) in [("head", true), ("auto", false), ("end", false)] {
            let config = testing::config(["http-trace", "--body-snippet", "9", "--emit", emit]);
            assert_eq!(!config.warnings.is_empty(), warned, "{emit}");
        }
        assert!(testing::config(["http-trace", "--emit", "head"]).warnings.is_empty());
    }

    #[test]
    fn a_file_named_as_if_compressed_is_warned_of() {
        for (output, warned) in [("json:a.json.gz", true), ("csv:b.zst", true), ("json:gz", false)]
        {
            let config = testing::config(["http-trace", "-o", output]);
            assert_eq!(!config.warnings.is_empty(), warned, "{:?}", config.warnings);
        }
    }

    #[test]
    fn a_filter_by_process_where_few_are_named_is_warned_of() {
        for (hook, warned) in
            [("tc", false), ("tc,xdp", false), ("xdp", true), ("socket-filter", true)]
        {
            let config = testing::config(["http-trace", "--hook", hook, "--process", "nginx"]);
            assert_eq!(!config.warnings.is_empty(), warned, "{hook}: {:?}", config.warnings);
            assert!(testing::config(["http-trace", "--hook", hook]).warnings.is_empty(), "{hook}");
        }
    }

    #[test]
    fn outputs_do_not_share_a_place() {
        let error = testing::try_config(["http-trace", "-o", "json", "-o", "pretty:-"]);
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("two outputs go to standard output"), "{error}");
        let two = testing::config(["http-trace", "-o", "pretty", "-o", "json:/tmp/x:y"]);
        assert_eq!(two.output[1].place.to_string(), "/tmp/x:y");
    }

    #[test]
    fn a_filter_by_process_where_none_is_named_is_warned_of() {
        for (words, warned) in [
            (&["--process", "nginx", "--no-attribution"][..], true),
            (&["--process", "nginx"], false),
            (&["--process", "!nginx", "--no-attribution"], false),
            (&["--pod", "web-*", "-r", "x"], true),
            (&["-o", "json:x,container=3f*", "-r", "x"], true),
            (&["-r", "x"], false),
        ] {
            let mut config = testing::config(["http-trace"].iter().chain(words).copied());
            if words.contains(&"-r") {
                config.source = Source::Captures(vec!["x".into()]);
            }
            assert_eq!(config.names_none().is_some(), warned, "{words:?}");
        }
    }

    #[test]
    fn options_that_have_no_effect_are_named() {
        let config = testing::config(["http-trace", "-r", "x", "-i", "lo", "--hook", "xdp"]);
        assert_eq!(config.without_effect(), ["--interface", "--hook"]);
        let config = testing::config(["http-trace", "--kernel-filter", "--verify-checksums"]);
        assert_eq!(config.without_effect(), ["--kernel-filter", "--verify-checksums"]);
        for (words, expected) in [
            ("--watch-config", &["--watch-config"][..]),
            ("--watch-config --rules x", &[]),
            (
                "--ban-lift --ban-reset --ban-level high",
                &["--ban-level", "--ban-reset", "--ban-lift"],
            ),
            ("--ban-lift --ban-level high --ban nft:t/s", &["--ban-lift"]),
            ("--ban-lift --ban-level high --ban nft:t/s --ban-for 1h", &[]),
            ("--executables --no-attribution", &["--executables"]),
            ("--executables --command-line", &[]),
        ] {
            let config = testing::config(["http-trace"].into_iter().chain(words.split(' ')));
            let mut without = config.without_effect();
            without.sort_by_key(|name| expected.iter().position(|wanted| wanted == name));
            assert_eq!(without, expected, "{words}");
        }
    }
}
