//! What was typed. Everything stays text here; [`crate::config`] decides what it means, so that
//! the command line, the environment and the file are judged by the same code.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

/// Trace every HTTP/1.x response that crosses this host, or that is in captures.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "http-trace",
    version,
    about = "Traces every HTTP/1.x response that crosses this host, or that is in captures",
    long_about = "Traces every HTTP/1.x response that crosses this host (needs root or the \
                  capabilities that README.md lists), or, with -r, every one that is in captures \
                  (no privilege). One event per response goes to standard output; what the agent \
                  itself has to say goes to standard error.",
    after_help = "A filter's value may begin with '!' to exclude what it matches: \
                  --path '!/healthz'. Several values of one option: any of them. Several options: \
                  all of them. An exclusion always wins.\n\
                  Every option is also a key of the --config file (port = [8080]) and a variable \
                  of the environment (HTTP_TRACE_PORT=8080). What is typed wins over the \
                  environment, the environment over the file.\n\
                  Exit status: 0 done; 1 something was lost, or a file was unreadable or cut; \
                  2 wrong usage, or it cannot start; 3 an alert of the level of --fail-on-alert.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Options of tracing and reading.
    #[command(flatten)]
    pub options: Options,
    /// Anything else than tracing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Whether alerts are written and responses are not (`rules test`, `detect`).
    #[arg(skip)]
    pub alerts_only: bool,
    /// Whether the rules are what is tried: a run without all of them says nothing of them
    /// (`rules test`).
    #[arg(skip)]
    pub tries_rules: bool,
    /// Recorded events that are read instead of tracing (`detect`).
    #[arg(skip)]
    pub recorded: Option<Vec<PathBuf>>,
}

/// What is done instead of tracing.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff), or that of a command: 'man detect', 'man rules check'
    Man {
        /// The command
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Print the JSON Schema of every record that '-o json' writes
    Schema,
    /// List, check, explain, try and export detection rules
    #[command(subcommand)]
    Rules(Rules),
    /// Run rules over recorded events and write their alerts: our own json, Zeek's http.log (JSON
    /// or TSV), access logs in the common or combined format
    Detect(Box<Detect>),
}

/// Rules over recorded events.
#[derive(Args, Clone, Debug, Default)]
#[command(mut_args(hidden_if_of_packets))]
pub struct Detect {
    /// Files of recorded events; default: standard input, which - is too
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write the events too, each with the rules it counted for
    #[arg(long)]
    pub events: bool,
    /// Options as of a run; those of tracing have no effect.
    #[command(flatten)]
    pub options: Options,
}

/// Options that have no effect on recorded events, which have no packets any more and are as they
/// were written.
pub const OF_PACKETS: &[&str] = &[
    "read",
    "interface",
    "exclude-interface",
    "hook",
    "decap",
    "kernel-filter",
    "verify-checksums",
    "duration",
    "body-snippet",
    "emit",
];

fn hidden_if_of_packets(argument: clap::Arg) -> clap::Arg {
    let hidden = argument.get_long().is_some_and(|l| OF_PACKETS.contains(&l));
    argument.hide(hidden)
}

/// How hits are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HitsFormat {
    /// An object a line.
    Json,
    /// For a person.
    Text,
}

/// What is done with rules.
#[derive(Clone, Debug, Subcommand)]
pub enum Rules {
    /// List the rules that raise alerts: id, level, window and threshold, title
    List {
        /// Rule files and folders to list beside the built-in ones
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The same, as a run takes them
        #[arg(long, value_name = "PATH")]
        rules: Vec<PathBuf>,
        /// Leave out the rules that are built in
        #[arg(long)]
        no_builtin_rules: bool,
    },
    /// Check rule files: every fault with file, line and column; status 1 when a rule is refused
    Check {
        /// Rule files and folders
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// Leave out the rules that are built in: for a folder that `export` wrote
        #[arg(long)]
        no_builtin_rules: bool,
    },
    /// Say what a rule counts, when it raises an alert, and where its numbers come from
    Explain {
        /// Id of the rule
        id: String,
        /// Rule files and folders to look in beside the built-in ones
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Run rules, and no others, over captures and write their alerts; status 3 when there is one
    Test {
        /// A rule file or a folder of them
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Captures
        #[arg(short, long, value_name = "FILE", num_args = 1.., required = true)]
        read: Vec<OsString>,
    },
    /// What each rule has counted, of whom and on which day (UTC), from a state file
    Hits {
        /// The file that a run with --state keeps
        #[arg(long, value_name = "FILE")]
        state: PathBuf,
        /// Only this rule, with all of its entities
        #[arg(long, value_name = "ID")]
        rule: Option<String>,
        /// How many days the text shows; json has all that are kept
        #[arg(long, value_name = "N", default_value = "7",
              value_parser = clap::value_parser!(u32).range(1..=400))]
        days: u32,
        /// How it is printed
        #[arg(short, long, value_enum, default_value = "text")]
        output: HitsFormat,
        /// The configuration file of that run: what it has redacted is redacted here too
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Write the built-in rules into a folder, to copy from
    Export {
        /// The folder, made if it is not there; - is standard output, to which all rules go in one
        /// stream, without the filters
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Replace files that are there and say something else
        #[arg(long)]
        force: bool,
    },
}

/// The options, as text. The name of each field is its key in the configuration file, with `-`
/// for `_`.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Read captures instead of tracing: pcap, pcapng, .gz or .zst of either, folders, - for stdin
    #[arg(short, long, value_name = "FILE", num_args = 1.., help_heading = "Source")]
    pub read: Vec<OsString>,
    /// Trace these interfaces (globs); default: all that are up, and new ones as they appear
    #[arg(short, long, value_name = "IF", num_args = 1.., help_heading = "Source")]
    pub interface: Vec<String>,
    /// Never trace these interfaces (globs)
    #[arg(long, value_name = "IF", num_args = 1.., help_heading = "Source")]
    pub exclude_interface: Vec<String>,
    /// Where to look: tc (default), socket-filter, cgroup, xdp; several at once: tc,cgroup
    #[arg(long, value_name = "LIST", help_heading = "Source")]
    pub hook: Vec<String>,
    /// Tunnels to look into, live: vxlan, vxlan-joined, ipip; and vlan, to tell VLANs apart (captures:
    /// always all)
    #[arg(long, value_name = "LIST", help_heading = "Source")]
    pub decap: Vec<String>,
    /// Only these server ports; default: every port
    #[arg(short, long, value_name = "PORT[-PORT]", num_args = 1.., help_heading = "Source")]
    pub port: Vec<String>,
    /// Only clients in these networks
    #[arg(long, value_name = "CIDR", help_heading = "Source")]
    pub client: Vec<String>,
    /// Only servers in these networks
    #[arg(long, value_name = "CIDR", help_heading = "Source")]
    pub server: Vec<String>,
    /// Believe these proxies (networks) when they name the client in X-Forwarded-For, Forwarded or
    /// X-Real-IP, or by PROXY protocol; loopback always is believed, unless `none` is given
    #[arg(long, value_name = "CIDR", num_args = 1.., help_heading = "Source")]
    pub trusted_proxies: Vec<String>,
    /// With -r: run the kernel's filter in front of the judge, as live tracing does
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Source", hide_possible_values = true)]
    pub kernel_filter: Option<String>,
    /// With -r: pass over packets whose IP or TCP checksum is wrong
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Source", hide_possible_values = true)]
    pub verify_checksums: Option<String>,
    /// Stop after this time, e.g. 30s (with -r: of capture time)
    #[arg(long, value_name = "TIME", help_heading = "Source")]
    pub duration: Option<String>,

    /// Write only these statuses: 404, 5xx, 400-499; 1xx selects informational heads too
    #[arg(long, value_name = "LIST", help_heading = "What is written")]
    pub status: Vec<String>,
    /// Write only these request methods
    #[arg(long, value_name = "LIST", help_heading = "What is written")]
    pub method: Vec<String>,
    /// Write only these hosts (Host header, or the authority of the target)
    #[arg(long, value_name = "GLOB", help_heading = "What is written")]
    pub host: Vec<String>,
    /// Write only these paths (without the query)
    #[arg(long, value_name = "GLOB", help_heading = "What is written")]
    pub path: Vec<String>,
    /// Write only these user agents
    #[arg(long, value_name = "GLOB", help_heading = "What is written")]
    pub user_agent: Vec<String>,
    /// Write only what has such a header, in the request or the response
    #[arg(long, value_name = "NAME=GLOB", help_heading = "What is written")]
    pub header: Vec<String>,
    /// Write only what counted for these rules, and their alerts
    #[arg(long, value_name = "ID", help_heading = "What is written")]
    pub rule: Vec<String>,
    /// Write only what took at least this long to its first byte (http_trace.ttfb_ns), e.g. 100ms
    #[arg(long, value_name = "TIME", help_heading = "What is written")]
    pub min_latency: Option<String>,
    /// Stop after N response events were written
    #[arg(short, long, value_name = "N", help_heading = "What is written")]
    pub count: Option<String>,

    /// Add the Sigma rules of this file, or of all .yml and .yaml files of this folder
    #[arg(long, value_name = "PATH", help_heading = "Detection")]
    pub rules: Vec<String>,
    /// Leave a rule out, by its id
    #[arg(long, value_name = "ID", help_heading = "Detection")]
    pub disable_rule: Vec<String>,
    /// Leave out the rules that are built in
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "Detection", hide_possible_values = true)]
    pub no_builtin_rules: Option<String>,
    /// End with status 3 when there was an alert of this level or above: info, low, medium, high, critical
    #[arg(long, value_name = "LEVEL", help_heading = "Detection")]
    pub fail_on_alert: Option<String>,
    /// Keep what is counted, open alerts and hits in this file from one run to the next
    #[arg(long, value_name = "FILE", help_heading = "Detection")]
    pub state: Option<String>,
    /// Send alerts here as well: stdout, file:PATH, command:PROGRAM ARGUMENTS, a URL, syslog,
    /// syslog:udp://HOST or syslog:tcp://HOST
    #[arg(long, value_name = "WHERE", help_heading = "Detection")]
    pub alerts_to: Vec<String>,

    /// json, pretty, tracee or csv (times in UTC), to a file with :FILE (live, what it holds stays); repeatable; default: pretty on a terminal, json otherwise
    #[arg(
        short,
        long,
        value_name = "FORMAT[:FILE]",
        help_heading = "How it is written"
    )]
    pub output: Vec<String>,
    /// Which response headers go out: all (default), none, or names
    #[arg(
        short = 'H',
        long,
        value_name = "all|none|NAME,…",
        help_heading = "How it is written"
    )]
    pub headers: Vec<String>,
    /// Which request headers go out: none (default), all, or names
    #[arg(long, value_name = "NAME,…", help_heading = "How it is written")]
    pub request_headers: Vec<String>,
    /// The first N bytes of bodies go out too (N up to 4096), decoded: 512:4xx,5xx; statuses as with --status
    #[arg(long, value_name = "N[:STATUS]", help_heading = "How it is written")]
    pub body_snippet: Option<String>,
    /// When an event is written: auto (at the end, or 2 s after the head), head, end
    #[arg(long, value_name = "WHEN", help_heading = "How it is written")]
    pub emit: Option<String>,
    /// Colours of 'pretty': auto, always, never
    #[arg(long, value_name = "WHEN", help_heading = "How it is written")]
    pub color: Option<String>,
    /// Flush after every line
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "How it is written")]
    pub line_buffered: Option<String>,
    /// Write cookies, credentials and tokens as they were sent
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", help_heading = "How it is written")]
    pub show_secrets: Option<String>,
    /// Say nothing on standard error but errors
    #[arg(short, long, help_heading = "How it is written")]
    pub quiet: bool,
    /// 'pretty' shows headers (-v), flags and interfaces (-vv); the summary shows every counter (-v),
    /// and the programs in the kernel say what they are and which errors they meet (-vv)
    #[arg(short, long, action = ArgAction::Count, help_heading = "How it is written")]
    pub verbose: u8,
    /// TOML file with a key for every option
    #[arg(long, value_name = "FILE", help_heading = "How it is written")]
    pub config: Option<PathBuf>,
}

impl Options {
    /// What was typed, by key; an option that was not typed is absent.
    pub fn typed(&self) -> Vec<(&'static str, Vec<String>)> {
        let one = |v: &Option<String>| v.iter().cloned().collect::<Vec<_>>();
        let verbose = if self.verbose > 0 {
            vec![self.verbose.to_string()]
        } else {
            Vec::new()
        };
        let mut all = vec![
            // As text, for messages; the names themselves need not be any.
            (
                "read",
                self.read
                    .iter()
                    .map(|p| p.to_string_lossy().into_owned())
                    .collect(),
            ),
            ("interface", self.interface.clone()),
            ("exclude-interface", self.exclude_interface.clone()),
            ("hook", self.hook.clone()),
            ("decap", self.decap.clone()),
            ("port", self.port.clone()),
            ("client", self.client.clone()),
            ("server", self.server.clone()),
            ("trusted-proxies", self.trusted_proxies.clone()),
            ("kernel-filter", one(&self.kernel_filter)),
            ("verify-checksums", one(&self.verify_checksums)),
            ("duration", one(&self.duration)),
            ("status", self.status.clone()),
            ("method", self.method.clone()),
            ("host", self.host.clone()),
            ("path", self.path.clone()),
            ("user-agent", self.user_agent.clone()),
            ("header", self.header.clone()),
            ("rule", self.rule.clone()),
            ("min-latency", one(&self.min_latency)),
            ("count", one(&self.count)),
            ("rules", self.rules.clone()),
            ("disable-rule", self.disable_rule.clone()),
            ("no-builtin-rules", one(&self.no_builtin_rules)),
            ("fail-on-alert", one(&self.fail_on_alert)),
            ("state", one(&self.state)),
            ("alerts-to", self.alerts_to.clone()),
            ("output", self.output.clone()),
            ("headers", self.headers.clone()),
            ("request-headers", self.request_headers.clone()),
            ("body-snippet", one(&self.body_snippet)),
            ("emit", one(&self.emit)),
            ("color", one(&self.color)),
            ("line-buffered", one(&self.line_buffered)),
            ("show-secrets", one(&self.show_secrets)),
            (
                "quiet",
                if self.quiet {
                    vec!["true".to_owned()]
                } else {
                    Vec::new()
                },
            ),
            ("verbose", verbose),
        ];
        all.retain(|(_, values)| !values.is_empty());
        all
    }
}

impl Options {
    /// A file among the values of an option that takes all words up to the next option: it was meant
    /// to stand for itself.
    pub fn file_among_values(&self) -> Option<(&'static str, &str)> {
        let greedy = [
            ("interface", &self.interface),
            ("exclude-interface", &self.exclude_interface),
            ("port", &self.port),
            ("trusted-proxies", &self.trusted_proxies),
        ];
        greedy.into_iter().find_map(|(option, values)| {
            let later = values.iter().skip(1);
            let file = later.map(String::as_str).find(|v| Path::new(v).is_file())?;
            Some((option, file))
        })
    }
}

/// The command line's description, for completions, the manual page and the tests.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The description of the command that these words name (none: of all), for its manual page.
///
/// # Errors
/// The first word that is no command, and those that there are.
pub fn command_of(words: &[String]) -> Result<clap::Command, String> {
    let mut command = command();
    command.build();
    for word in words {
        command = match command.find_subcommand(word) {
            Some(found) => found.clone(),
            None => {
                let all: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
                let there_are = match all.is_empty() {
                    true => format!("'{}' has none below it", command.get_name()),
                    false => format!("there are {}", all.join(", ")),
                };
                return Err(format!("'{word}' is no command; {there_are}"));
            }
        };
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_option_has_a_key() {
        let keys: Vec<&str> = crate::config::KEYS.iter().map(|k| k.name).collect();
        for argument in command().get_arguments() {
            let Some(long) = argument.get_long() else {
                continue;
            };
            if !["help", "version", "config"].contains(&long) {
                assert!(keys.contains(&long), "--{long} has no key");
            }
        }
    }

    #[test]
    fn what_is_typed_arrives_under_its_key() {
        type Typed = &'static [(&'static str, &'static [&'static str])];
        let table: &[(&[&str], Typed)] = &[
            (
                &["-r", "a", "b", "-c", "3"],
                &[("read", &["a", "b"]), ("count", &["3"])],
            ),
            (&["-r", "-"], &[("read", &["-"])]),
            (
                &["-p", "80", "443", "-i", "lo"],
                &[("interface", &["lo"]), ("port", &["80", "443"])],
            ),
            (&["-q"], &[("quiet", &["true"])]),
            (
                &["-vv", "--line-buffered=false"],
                &[("line-buffered", &["false"]), ("verbose", &["2"])],
            ),
            (
                &["--status", "!2xx", "--status=404"],
                &[("status", &["!2xx", "404"])],
            ),
            (
                &["-o", "json:a", "-o", "pretty"],
                &[("output", &["json:a", "pretty"])],
            ),
        ];
        for (typed, expected) in table {
            let words = std::iter::once("http-trace").chain(typed.iter().copied());
            let cli = Cli::try_parse_from(words).expect("parses");
            let got = cli.options.typed();
            let got: Vec<(&str, Vec<&str>)> = got
                .iter()
                .map(|(k, v)| (*k, v.iter().map(String::as_str).collect()))
                .collect();
            let expected: Vec<(&str, Vec<&str>)> =
                expected.iter().map(|(k, v)| (*k, v.to_vec())).collect();
            assert_eq!(got, expected, "{typed:?}");
        }
    }
}
