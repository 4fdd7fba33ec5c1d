//! What is meant: [`Config`], from the command line, the environment and the file. Everything a
//! value may mean wrong ends here, with an error that names where it was given and what would be
//! right; later stages need not check again. Opens the configuration file and nothing else.

mod detect;
mod option;
pub mod source;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_trace_common::config::{MAX_PORT_RANGES, Snippet, decap};
use http_trace_common::record::Hook;
use http_trace_model::value;

use crate::cli::{Cli, OF_PACKETS};
use crate::enrich::proxy::Trusted;
use crate::redact::Secrets;
use crate::scope::Scope;
use crate::select::Selection;
use crate::sink::deliver::Target;
use crate::sink::{Color, HeaderChoice, OutputSpec};
use http_trace_detect::rule::Level;
use http_trace_detect::tune::Tuning;
use option::{Reader, header_choice, hook, interface_glob, outputs, selection, snippet, word};
pub use source::KEYS;
use source::{Given, Sources};

/// Why a configuration is refused; its text is complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Error(text.into())
    }

    /// `--status '6': want …`.
    fn value(given: &Given, value: &str, want: impl fmt::Display) -> Self {
        let value = without_password(value);
        Error(format!("{} '{value}': want {want}", given.origin))
    }
}

/// A value as a message may show it: without user and password, if it is a URL (RFC 3986 §3.2.1).
fn without_password(value: &str) -> Cow<'_, str> {
    let shown = || {
        let (scheme, rest) = value.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (_, place) = rest[..end].rsplit_once('@')?;
        Some(format!("{scheme}://{place}{}", &rest[end..]))
    };
    shown().map_or(Cow::Borrowed(value), Cow::Owned)
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This host's interfaces.
    Live,
    /// Capture files, folders of them, or `-` for standard input.
    Captures(Vec<PathBuf>),
    /// Files of recorded events, or `-` for standard input.
    Recorded(Vec<PathBuf>),
}

impl Source {
    /// Options that have no effect on it.
    const fn unaffected_by(&self) -> &'static [&'static str] {
        match self {
            // Live, the network card has verified what came in, and what goes out has no sum yet.
            Source::Live => &["kernel-filter", "verify-checksums"],
            Source::Captures(_) => &["interface", "exclude-interface", "hook", "decap"],
            Source::Recorded(_) => OF_PACKETS,
        }
    }
}

/// When an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emit {
    /// At the end of the message, or 2 s after its head.
    #[default]
    Auto,
    /// When the head is complete.
    Head,
    /// At the end of the message only.
    End,
}

/// Bounds that have keys and no options; `None` is the pipeline's own default.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most bytes that wait for a slow reader of an output.
    pub output_queue: usize,
    /// The most connections in the table.
    pub flows: Option<usize>,
    /// The most bytes of heads in flight.
    pub heads_memory: Option<usize>,
    /// The most bytes that wait for others before them.
    pub reorder_memory: Option<usize>,
    /// How long a request is waited for an answer.
    pub response_timeout: Option<Duration>,
}

/// How the kernel's programs are attached, where there is a choice: keys without options, so that
/// what older kernels get can be had on any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// TC programs hang at clsact, as below Linux 6.6.
    pub clsact: bool,
    /// The programs leave all framing to the host, as below Linux 5.17.
    pub host_framing: bool,
    /// Tunnels that the programs look into: bits of [`decap`].
    pub decap: u32,
    /// Size in bytes of the ring buffer between kernel and agent, where it is not the usual one.
    pub ring: Option<usize>,
}

/// Less than this would keep next to nothing of a state.
const LEAST_STATE: usize = 64 << 10;

/// Which rules are at work, and what follows from their alerts.
#[derive(Clone, Debug)]
pub struct Detect {
    /// Rule files and folders of them.
    pub rules: Vec<PathBuf>,
    /// Whether the run is to try them, and means nothing without them.
    pub on_trial: bool,
    /// Ids of rules that are left out.
    pub disabled: Vec<String>,
    /// Whether the rules that are compiled in are at work.
    pub built_in: bool,
    /// From which level on an alert makes the exit status 3.
    pub fail_on: Option<Level>,
    /// Where alerts go beside the outputs.
    pub alerts_to: Vec<Target>,
    /// What the file changes of rules.
    pub tuning: Tuning,
    /// The most bytes for what is counted.
    pub memory: usize,
    /// The file that keeps it from one run to the next.
    pub state: Option<PathBuf>,
    /// How often it is written.
    pub state_interval: Duration,
    /// The most bytes it takes.
    pub state_size: usize,
}

/// Everything that can be set, with defaults applied.
#[derive(Clone, Debug)]
pub struct Config {
    /// Live, captures or recorded events.
    pub source: Source,
    /// Globs of interfaces; empty: all.
    pub interfaces: Vec<String>,
    /// Globs of interfaces that are left out.
    pub exclude_interfaces: Vec<String>,
    /// Hooks, without repeats, in the order given.
    pub hooks: Vec<Hook>,
    /// What is traced.
    pub scope: Scope,
    /// Proxies that are believed when they name a client.
    pub trusted: Trusted,
    /// Whether a replay runs the kernel's filter.
    pub kernel_filter: bool,
    /// Whether a replay passes over packets whose checksum is wrong.
    pub verify_checksums: bool,
    /// When to stop.
    pub duration: Option<Duration>,
    /// What is written.
    pub selection: Selection,
    /// After how many response events to stop.
    pub count: Option<u64>,
    /// Where and how; empty: the default for standard output.
    pub outputs: Vec<OutputSpec>,
    /// Response headers.
    pub headers: HeaderChoice,
    /// Request headers.
    pub request_headers: HeaderChoice,
    /// When.
    pub emit: Emit,
    /// Colours.
    pub color: Color,
    /// Which bodies' first bytes go out.
    pub snippet: Snippet,
    /// Whether each line is flushed.
    pub line_buffered: bool,
    /// What is redacted; `None` with `--show-secrets`.
    pub secrets: Option<Secrets>,
    /// Whether standard error gets errors only.
    pub quiet: bool,
    /// How much `pretty` shows.
    pub verbose: u8,
    /// Detection.
    pub detect: Detect,
    /// Bounds on memory and time.
    pub limits: Limits,
    /// How the kernel's programs are attached.
    pub kernel: Kernel,
    /// The file that settings were read from, if any.
    pub file: Option<PathBuf>,
    /// Endpoints that count as the agent's own: of a forwarder beside it, say.
    pub own_endpoints: Vec<SocketAddr>,
    /// Options that were given and have no effect in this run, for the start line.
    pub without_effect: Vec<String>,
    /// What is odd about how it was given, and no error.
    pub warnings: Vec<String>,
}

impl TryFrom<Cli> for Config {
    type Error = Error;

    /// Reads the environment and the file too.
    fn try_from(cli: Cli) -> Result<Self, Error> {
        let (variables, warnings) = source::environment(std::env::vars_os());
        let environment = |name: &str| variables.get(name).cloned();
        let file = cli.options.config.as_deref();
        let sources = Sources::gather(cli.options.typed(), &environment, file)?;
        let mut config = Config::from_sources(&sources)?;
        config.warnings.extend(warnings);
        config.selection.alerts_only = cli.alerts_only;
        config.detect.on_trial = cli.tries_rules;
        if let (Source::Captures(paths), false) = (&mut config.source, cli.options.read.is_empty())
        {
            // A file's name may be any bytes.
            *paths = cli.options.read.iter().map(PathBuf::from).collect();
        }
        if let Some(paths) = cli.recorded {
            config.source = Source::Recorded(paths);
            config.without_effect = without_effect(&config.source, &sources);
        }
        Ok(config)
    }
}

/// What is redacted, as the environment and a configuration file have it; for what is no run.
///
/// # Errors
/// When the file cannot be read, or one of these settings is wrong.
pub fn redaction(file: Option<&Path>) -> Result<Option<Secrets>, Error> {
    let (variables, _) = source::environment(std::env::vars_os());
    let environment = |name: &str| variables.get(name).cloned();
    secrets(&Reader(&Sources::gather(Vec::new(), &environment, file)?))
}

/// `None` with `--show-secrets`.
fn secrets(s: &Reader<'_>) -> Result<Option<Secrets>, Error> {
    let shows_secrets = s.one("show-secrets", value::boolean)?.unwrap_or(false);
    let secrets = Secrets::with(
        s.all("redact-headers", value::field_name)?,
        s.all("redact-parameters", |t| {
            Ok::<_, &str>(t.to_ascii_lowercase())
        })?,
    );
    Ok((!shows_secrets).then_some(secrets))
}

/// Options that were given and that the source is not affected by.
fn without_effect(source: &Source, sources: &Sources) -> Vec<String> {
    let given = source.unaffected_by().iter();
    given
        .filter_map(|k| Some(sources.get(k)?.origin.to_string()))
        .collect()
}

impl Config {
    /// Reads every setting; the first that is wrong is the error.
    pub fn from_sources(sources: &Sources) -> Result<Self, Error> {
        let s = Reader(sources);
        let source = match sources.get("read") {
            Some(given) => Source::Captures(given.values.iter().map(PathBuf::from).collect()),
            None => Source::Live,
        };
        let without_effect = without_effect(&source, sources);
        let scope = Scope {
            ports: s.all("port", value::ports)?,
            clients: s.negatable("client", value::network)?,
            servers: s.negatable("server", value::network)?,
        };
        if let (Some(given), true) = (sources.get("port"), scope.ports.len() > MAX_PORT_RANGES) {
            return Err(Error::new(format!(
                "{}: {} ranges given; want at most {MAX_PORT_RANGES} (join neighbours: 8000-8099)",
                given.origin,
                scope.ports.len()
            )));
        }
        let mut hooks = s.all("hook", hook)?;
        if hooks.is_empty() {
            hooks.push(Hook::Tc);
        }
        let mut seen = Vec::new();
        hooks.retain(|h| {
            !seen.contains(h) && {
                seen.push(*h);
                true
            }
        });
        let secrets = secrets(&s)?;
        let emit = s
            .one(
                "emit",
                word(&[
                    ("auto", Emit::Auto),
                    ("head", Emit::Head),
                    ("end", Emit::End),
                ]),
            )?
            .unwrap_or_default();
        let snippet = s.one("body-snippet", snippet)?.unwrap_or(Snippet::NONE);
        let mut warnings = Vec::new();
        if snippet != Snippet::NONE && emit == Emit::Head {
            warnings.push(
                "--body-snippet shows nothing with --emit head: the event is written before the \
                 body comes; use --emit auto or end"
                    .to_owned(),
            );
        }
        Ok(Config {
            source,
            interfaces: s.all("interface", interface_glob)?,
            exclude_interfaces: s.all("exclude-interface", interface_glob)?,
            hooks,
            scope,
            trusted: option::trusted(&s)?,
            kernel_filter: s.one("kernel-filter", value::boolean)?.unwrap_or(false),
            verify_checksums: s.one("verify-checksums", value::boolean)?.unwrap_or(false),
            duration: s.one("duration", value::some_time)?,
            selection: selection(&s)?,
            count: s.one("count", value::positive)?,
            outputs: outputs(sources, s.all("output", str::parse)?)?,
            headers: header_choice(sources, "headers", HeaderChoice::All)?,
            request_headers: header_choice(sources, "request-headers", HeaderChoice::None)?,
            emit,
            color: s
                .one(
                    "color",
                    word(&[
                        ("auto", Color::Auto),
                        ("always", Color::Always),
                        ("never", Color::Never),
                    ]),
                )?
                .unwrap_or_default(),
            snippet,
            line_buffered: s.one("line-buffered", value::boolean)?.unwrap_or(false),
            secrets,
            quiet: s.one("quiet", value::boolean)?.unwrap_or(false),
            verbose: s
                .one("verbose", |t| {
                    t.parse::<u8>().map_err(|_| "a number: 0, 1 or 2")
                })?
                .unwrap_or(0),
            detect: Detect {
                rules: s.all("rules", |t| Ok::<_, &str>(PathBuf::from(t)))?,
                on_trial: false,
                disabled: s.all("disable-rule", |t| Ok::<_, &str>(t.to_owned()))?,
                built_in: !s.one("no-builtin-rules", value::boolean)?.unwrap_or(false),
                fail_on: s.one("fail-on-alert", |t| {
                    Level::named(t).ok_or("info, low, medium, high or critical")
                })?,
                alerts_to: s.all("alerts-to", str::parse)?,
                tuning: sources.tuning.clone(),
                state: s.one("state", |t| Ok::<_, &str>(PathBuf::from(t)))?,
                state_interval: s
                    .one("state-interval", value::some_time)?
                    .unwrap_or(Duration::from_secs(60)),
                state_size: s
                    .one("state-size", |t| match value::bytes(t)? {
                        bytes if bytes < LEAST_STATE => Err("at least 64KiB"),
                        bytes => Ok(bytes),
                    })?
                    .unwrap_or(64 << 20),
                memory: s.one("detect-memory", value::bytes)?.unwrap_or(64 << 20),
            },
            limits: Limits {
                output_queue: s.one("output-queue", value::bytes)?.unwrap_or(64 << 20),
                flows: s.one("max-flows", value::positive)?.map(|n| n as usize),
                heads_memory: s.one("heads-memory", value::bytes)?,
                reorder_memory: s.one("reorder-memory", value::bytes)?,
                response_timeout: s.one("response-timeout", value::some_time)?,
            },
            own_endpoints: s.all("own-endpoints", |t| {
                t.parse::<SocketAddr>()
                    .map_err(|_| "an address and a port, such as 127.0.0.1:4318 or [::1]:4318")
            })?,
            kernel: Kernel {
                clsact: s
                    .one("tc", word(&[("auto", false), ("clsact", true)]))?
                    .unwrap_or(false),
                decap: s
                    .all(
                        "decap",
                        word(&[
                            ("vxlan", decap::VXLAN),
                            ("vxlan-joined", decap::VXLAN | decap::JOINED),
                            ("ipip", decap::IPIP),
                            ("vlan", decap::VLAN),
                        ]),
                    )?
                    .into_iter()
                    .fold(0, |all, one| all | one),
                host_framing: s
                    .one("framing", word(&[("auto", false), ("host", true)]))?
                    .unwrap_or(false),
                ring: s.one("ring-size", value::bytes)?,
            },
            without_effect,
            file: sources.file.clone(),
            warnings,
        })
    }
}

#[cfg(test)]
pub mod testing {
    //! Configurations as they are typed.

    use clap::Parser;

    use super::*;

    /// What a command line means without environment and file.
    pub fn try_config<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Config, Error> {
        let cli = Cli::try_parse_from(words).expect("parses");
        Config::from_sources(&Sources::gather(cli.options.typed(), &|_| None, None)?)
    }

    /// The same of a right one.
    pub fn config<'a>(words: impl IntoIterator<Item = &'a str>) -> Config {
        try_config(words).expect("a valid command line")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let config = testing::config(["http-trace"]);
        assert_eq!(config.source, Source::Live);
        assert_eq!(config.hooks, [Hook::Tc]);
        assert!(config.scope.is_unlimited() && config.outputs.is_empty());
        assert_eq!(config.headers, HeaderChoice::All);
        assert_eq!(config.request_headers, HeaderChoice::None);
        assert_eq!((config.emit, config.color), (Emit::Auto, Color::Auto));
        assert!(config.secrets.is_some());
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
            (
                ["--client", "10.0.0.0/40"],
                "--client '10.0.0.0/40': want a network such as",
            ),
            (["--server", "!x"], "--server '!x': want a network such as"),
            (
                ["--hook", "kprobe"],
                "--hook 'kprobe': want tc, socket-filter, cgroup or xdp",
            ),
            (
                ["--path", "[a"],
                "--path '[a': want a pattern such as /api/*",
            ),
            (
                ["--header", "Accept"],
                "--header 'Accept': want NAME=PATTERN",
            ),
            (
                ["--min-latency", "100"],
                "--min-latency '100': want a time with its unit",
            ),
            (
                ["--duration", "soon"],
                "--duration 'soon': want a time with its unit",
            ),
            (
                ["--duration", "0s"],
                "--duration '0s': want a time of more than nothing, such as 30s",
            ),
            (["-c", "0"], "--count '0': want a whole number from 1"),
            (
                ["--body-snippet", "5000"],
                "--body-snippet '5000': want a number of bytes from 1 to 4096",
            ),
            (
                ["--body-snippet", "100:6"],
                "--body-snippet '100:6': want a code from 100 to 999",
            ),
            (
                ["-o", "xml"],
                "--output 'xml': want json, pretty, tracee or csv",
            ),
            (
                ["-o", "json:"],
                "--output 'json:': want json, pretty, tracee or csv",
            ),
            (
                ["-o", "json:a,client=internal"],
                "outputs have no filters of their own",
            ),
            (["-H", "a b"], "--headers 'a b': want all, none, or names"),
            (["-H", "all,Date"], "--headers 'all': want it alone"),
            (["--emit", "now"], "--emit 'now': want auto, head, end"),
            (
                ["--color", "red"],
                "--color 'red': want auto, always, never",
            ),
            (
                ["--line-buffered=maybe", "-q"],
                "--line-buffered 'maybe': want true or false",
            ),
            (
                ["-i", "[a"],
                "--interface '[a': want an interface such as eth0",
            ),
        ] {
            let words = std::iter::once("http-trace").chain(typed);
            let error = testing::try_config(words).expect_err("refused").to_string();
            assert!(error.contains(expected), "{typed:?}: {error}");
        }
    }

    #[test]
    fn bodies_by_status() {
        for (text, bytes, wanted, not) in [
            ("512", 512, &[100, 200, 404, 999][..], &[99, 1000][..]),
            ("1:404", 1, &[404], &[403, 405, 200]),
            (
                "4096:4xx,503",
                4096,
                &[400, 499, 503],
                &[399, 500, 502, 504],
            ),
            ("64:!2xx,!404", 64, &[199, 300, 500], &[200, 299, 404]),
            ("64:4xx, !404", 64, &[400, 405], &[404, 500]),
        ] {
            let snippet = testing::config(["http-trace", "--body-snippet", text]).snippet;
            for status in wanted {
                assert_eq!(snippet.of(*status), bytes, "{text}: {status}");
            }
            for status in not {
                assert_eq!(snippet.of(*status), 0, "{text}: {status}");
            }
        }
        assert_eq!(testing::config(["http-trace"]).snippet, Snippet::NONE);
    }

    #[test]
    fn a_body_that_no_event_can_show_is_warned_of() {
        for (emit, warned) in [("head", true), ("auto", false), ("end", false)] {
            let config = testing::config(["http-trace", "--body-snippet", "9", "--emit", emit]);
            assert_eq!(!config.warnings.is_empty(), warned, "{emit}");
        }
        assert!(
            testing::config(["http-trace", "--emit", "head"])
                .warnings
                .is_empty()
        );
    }

    #[test]
    fn outputs_do_not_share_a_place() {
        let error = testing::try_config(["http-trace", "-o", "json", "-o", "pretty:-"]);
        let error = error.expect_err("refused").to_string();
        assert!(
            error.contains("two outputs go to standard output"),
            "{error}"
        );
        let two = testing::config(["http-trace", "-o", "pretty", "-o", "json:/tmp/x:y"]);
        assert_eq!(two.outputs[1].file, Some(PathBuf::from("/tmp/x:y")));
    }

    #[test]
    fn options_that_have_no_effect_are_named() {
        let config = testing::config(["http-trace", "-r", "x", "-i", "lo", "--hook", "xdp"]);
        assert_eq!(config.without_effect, ["--interface", "--hook"]);
        let config = testing::config(["http-trace", "--kernel-filter", "--verify-checksums"]);
        assert_eq!(
            config.without_effect,
            ["--kernel-filter", "--verify-checksums"]
        );
    }
}
