//! What is meant: [`Config`], from the command line, the environment and the file. Everything a
//! value may mean wrong ends here, with an error that names where it was given and what would be
//! right; later stages need not check again. Opens the configuration file and nothing else.

pub mod source;
pub mod value;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http_trace_common::config::MAX_PORT_RANGES;
use http_trace_common::record::Hook;

use crate::cli::Cli;
use crate::redact::Secrets;
use crate::scope::Scope;
use crate::select::{Choice, HeaderPattern, Pattern, Selection, Statuses};
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
        Error(format!("{} '{value}': want {want}", given.origin))
    }
}

/// Where packets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This host's interfaces.
    Live,
    /// Capture files, folders of them, or `-` for standard input.
    Captures(Vec<PathBuf>),
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One ECS object a line.
    Json,
    /// For a person.
    Pretty,
}

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// How.
    pub format: Format,
    /// Where to; `None` is standard output.
    pub file: Option<PathBuf>,
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

/// Which headers go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChoice {
    /// All of them.
    All,
    /// None of them.
    None,
    /// These, in lower case, sorted.
    Names(Vec<String>),
}

impl HeaderChoice {
    /// Whether a field goes out; names compare without case.
    pub fn admits(&self, name: &[u8]) -> bool {
        match self {
            HeaderChoice::All => true,
            HeaderChoice::None => false,
            HeaderChoice::Names(names) => names
                .iter()
                .any(|n| n.as_bytes().eq_ignore_ascii_case(name)),
        }
    }
}

/// When `pretty` is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
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

/// Everything that can be set, with defaults applied.
#[derive(Clone, Debug)]
pub struct Config {
    /// Live or captures.
    pub source: Source,
    /// Globs of interfaces; empty: all.
    pub interfaces: Vec<String>,
    /// Globs of interfaces that are left out.
    pub exclude_interfaces: Vec<String>,
    /// Hooks, without repeats, in the order given.
    pub hooks: Vec<Hook>,
    /// What is traced.
    pub scope: Scope,
    /// Whether a replay runs the kernel's filter.
    pub kernel_filter: bool,
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
    /// Whether each line is flushed.
    pub line_buffered: bool,
    /// What is redacted; `None` with `--show-secrets`.
    pub secrets: Option<Secrets>,
    /// Whether standard error gets errors only.
    pub quiet: bool,
    /// How much `pretty` shows.
    pub verbose: u8,
    /// Bounds on memory and time.
    pub limits: Limits,
    /// Options that were given and have no effect in this run, for the start line.
    pub without_effect: Vec<String>,
}

impl TryFrom<Cli> for Config {
    type Error = Error;

    /// Reads the environment and the file too.
    fn try_from(cli: Cli) -> Result<Self, Error> {
        let environment = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let file = cli.options.config.as_deref();
        let sources = Sources::gather(cli.options.typed(), &environment, file)?;
        Config::from_sources(&sources)
    }
}

impl Config {
    /// Reads every setting; the first that is wrong is the error.
    pub fn from_sources(sources: &Sources) -> Result<Self, Error> {
        let s = Reader(sources);
        let source = match sources.get("read") {
            Some(given) => Source::Captures(given.values.iter().map(PathBuf::from).collect()),
            None => Source::Live,
        };
        let live_only = ["interface", "exclude-interface", "hook"];
        let replay_only = ["kernel-filter"];
        let without_effect = match source {
            Source::Live => &replay_only[..],
            Source::Captures(_) => &live_only[..],
        };
        let without_effect = without_effect
            .iter()
            .filter_map(|k| Some(sources.get(k)?.origin.to_string()));
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
        let shows_secrets = s.one("show-secrets", value::boolean)?.unwrap_or(false);
        let secrets = Secrets::with(
            s.all("redact-headers", value::field_name)?,
            s.all("redact-parameters", |t| {
                Ok::<_, &str>(t.to_ascii_lowercase())
            })?,
        );
        Ok(Config {
            source,
            interfaces: s.all("interface", interface_glob)?,
            exclude_interfaces: s.all("exclude-interface", interface_glob)?,
            hooks,
            scope,
            kernel_filter: s.one("kernel-filter", value::boolean)?.unwrap_or(false),
            duration: s.one("duration", value::duration)?,
            selection: selection(&s)?,
            count: s.one("count", value::positive)?,
            outputs: outputs(sources, s.all("output", output)?)?,
            headers: header_choice(sources, "headers", HeaderChoice::All)?,
            request_headers: header_choice(sources, "request-headers", HeaderChoice::None)?,
            emit: s
                .one(
                    "emit",
                    word(&[
                        ("auto", Emit::Auto),
                        ("head", Emit::Head),
                        ("end", Emit::End),
                    ]),
                )?
                .unwrap_or_default(),
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
            line_buffered: s.one("line-buffered", value::boolean)?.unwrap_or(false),
            secrets: (!shows_secrets).then_some(secrets),
            quiet: s.one("quiet", value::boolean)?.unwrap_or(false),
            verbose: s
                .one("verbose", |t| {
                    t.parse::<u8>().map_err(|_| "a number: 0, 1 or 2")
                })?
                .unwrap_or(0),
            limits: Limits {
                output_queue: s.one("output-queue", value::bytes)?.unwrap_or(64 << 20),
                flows: s.one("max-flows", value::positive)?.map(|n| n as usize),
                heads_memory: s.one("heads-memory", value::bytes)?,
                reorder_memory: s.one("reorder-memory", value::bytes)?,
                response_timeout: s.one("response-timeout", value::duration)?,
            },
            without_effect: without_effect.collect(),
        })
    }
}

/// Reads settings and words the errors.
struct Reader<'a>(&'a Sources);

impl Reader<'_> {
    fn all<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Vec<T>, Error> {
        let Some(given) = self.0.get(key) else {
            return Ok(Vec::new());
        };
        given
            .values
            .iter()
            .map(|v| parse(v).map_err(|want| Error::value(given, v, want)))
            .collect()
    }

    fn negatable<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Vec<(bool, T)>, Error> {
        self.all(key, |text| {
            let (excluded, rest) = value::negated(text);
            parse(rest).map(|parsed| (excluded, parsed))
        })
    }

    fn one<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Option<T>, Error> {
        let mut all = self.all(key, parse)?;
        match (self.0.get(key), all.len()) {
            (Some(given), 2..) => Err(Error::new(format!(
                "{}: given {} times; want one",
                given.origin,
                all.len()
            ))),
            _ => Ok(all.pop()),
        }
    }

    fn choice<T, W: fmt::Display>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, W>,
    ) -> Result<Choice<T>, Error> {
        let mut choice = Choice::default();
        for (excluded, pattern) in self.negatable(key, parse)? {
            choice.push(excluded, pattern);
        }
        Ok(choice)
    }
}

fn selection(s: &Reader<'_>) -> Result<Selection, Error> {
    let latency = |t: &str| value::duration(t).map(|d| d.as_nanos() as u64);
    Ok(Selection {
        status: s.choice("status", Statuses::parse)?,
        method: s.choice("method", method)?,
        host: s.choice("host", |t| Pattern::parse(t, true))?,
        path: s.choice("path", |t| Pattern::parse(t, false))?,
        user_agent: s.choice("user-agent", |t| Pattern::parse(t, true))?,
        header: s.choice("header", header_pattern)?,
        min_latency_ns: s.choice("min-latency", latency)?,
    })
}

fn method(text: &str) -> Result<String, &'static str> {
    // Methods are case-sensitive (RFC 9110 §9.1) and those in use are capitals.
    value::field_name(text)
        .map(|m| m.to_ascii_uppercase())
        .map_err(|_| "a method, such as GET")
}

fn header_pattern(text: &str) -> Result<HeaderPattern, String> {
    let want = || "NAME=PATTERN, such as content-type=text/*".to_owned();
    let (name, pattern) = text.split_once('=').ok_or_else(want)?;
    Ok(HeaderPattern {
        name: value::field_name(name.trim()).map_err(|_| want())?,
        value: Pattern::parse(pattern.trim(), true)?,
    })
}

fn hook(text: &str) -> Result<Hook, &'static str> {
    [Hook::Tc, Hook::SocketFilter, Hook::Cgroup, Hook::Xdp]
        .into_iter()
        .find(|h| h.name() == text)
        .ok_or("tc, socket-filter, cgroup or xdp")
}

fn interface_glob(text: &str) -> Result<String, String> {
    globset::Glob::new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("an interface such as eth0, or a pattern such as veth* ({error})"))
}

fn output(text: &str) -> Result<OutputSpec, &'static str> {
    const WANT: &str = "json or pretty, with :FILE to write to a file";
    let (format, file) = match text.split_once(':') {
        Some((format, file)) => (format, Some(file)),
        None => (text, None),
    };
    let format = match format {
        "json" => Format::Json,
        "pretty" => Format::Pretty,
        _ => return Err(WANT),
    };
    match file {
        Some("") => Err(WANT),
        // The notation of filters of one output; refused rather than taken for a file's name.
        Some(file)
            if file
                .rsplit_once(',')
                .is_some_and(|(_, last)| last.contains('=')) =>
        {
            Err("a file's name; outputs have no filters of their own")
        }
        Some("-") | None => Ok(OutputSpec { format, file: None }),
        Some(file) => Ok(OutputSpec {
            format,
            file: Some(PathBuf::from(file)),
        }),
    }
}

fn outputs(sources: &Sources, outputs: Vec<OutputSpec>) -> Result<Vec<OutputSpec>, Error> {
    for (at, one) in outputs.iter().enumerate() {
        if let (Some(given), true) = (
            sources.get("output"),
            outputs[..at].iter().any(|o| o.file == one.file),
        ) {
            let place = match &one.file {
                Some(file) => file.display().to_string(),
                None => "standard output".to_owned(),
            };
            return Err(Error::new(format!(
                "{}: two outputs go to {place}; want a file for each (json:FILE)",
                given.origin
            )));
        }
    }
    Ok(outputs)
}

fn header_choice(
    sources: &Sources,
    key: &str,
    default: HeaderChoice,
) -> Result<HeaderChoice, Error> {
    let Some(given) = sources.get(key) else {
        return Ok(default);
    };
    let mut names = Vec::new();
    for v in &given.values {
        match v.as_str() {
            "all" if given.values.len() == 1 => return Ok(HeaderChoice::All),
            "none" if given.values.len() == 1 => return Ok(HeaderChoice::None),
            "all" | "none" => return Err(Error::value(given, v, "it alone, or names of headers")),
            name => names.push(
                value::field_name(name)
                    .map_err(|_| Error::value(given, v, "all, none, or names of headers"))?,
            ),
        }
    }
    names.sort();
    names.dedup();
    Ok(HeaderChoice::Names(names))
}

/// A parser of one word out of a few.
fn word<'a, T: Copy>(words: &'a [(&'a str, T)]) -> impl Fn(&str) -> Result<T, String> + 'a {
    move |text| {
        words
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                words
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ")
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
            (["-c", "0"], "--count '0': want a whole number from 1"),
            (["-o", "xml"], "--output 'xml': want json or pretty"),
            (["-o", "json:"], "--output 'json:': want json or pretty"),
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
        let config = testing::config(["http-trace", "--kernel-filter"]);
        assert_eq!(config.without_effect, ["--kernel-filter"]);
    }
}
