//! The command line: its commands. Their values stay text, which [`crate::config`] parses.
//!
//! # Layout
//! - [`options`] makes the options of runs from the settings table ([`crate::config`]).
//! - [`manual`] holds the text of help and manual pages other than option descriptions.

pub mod manual;
pub mod options;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Arg, Args, CommandFactory, Parser, Subcommand};

use self::options::{Offers, Options};
use crate::config::key::runs;
use crate::config::{Config, KEYS, Source};
use crate::sink::Destination;
use http_trace_model::value;

/// Trace every HTTP/1.x response that crosses this host, or that is in captures.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "http-trace",
    version,
    about = "Traces every HTTP/1.x response that crosses this host, or in captures",
    long_about = "Traces every HTTP/1.x response that crosses this host (needs root or the \
                  capabilities listed in README.md), or, with -r, every one in captures (no \
                  privileges). One event per response goes to standard output; messages of the \
                  agent go to standard error.",
    after_help = manual::after_help(),
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Options of tracing and reading.
    #[command(flatten)]
    pub options: Options,
    /// Anything else than tracing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Write alerts but no responses (`rules test`, `detect`).
    #[arg(skip)]
    pub alerts_only: bool,
    /// Rules to test: the run makes no sense without all of them (`rules test`).
    #[arg(skip)]
    pub tried_rules: Option<PathBuf>,
    /// The file of the report (`report`).
    #[arg(skip)]
    pub report_to: Option<PathBuf>,
    /// Recorded events to read instead of tracing (`detect`).
    #[arg(skip)]
    pub recorded: Option<Vec<PathBuf>>,
}

/// What is done instead of tracing.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print this help, or that of a command: 'help detect', 'help rules check'
    Help {
        /// The command
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
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
    /// Print the JSON Schema of every record that '-o json' writes without fields=
    Schema,
    /// List, check, explain, test and export detection rules, and show their hits
    #[command(subcommand)]
    Rules(Rules),
    /// Check what this host allows a run with these settings to do and see: kernel, capabilities, each
    /// hook, other programs, and a few seconds of traffic; exit status 1: limited, 2: not possible
    Doctor(Box<Doctor>),
    /// Check the settings of a run, or show each with its origin
    #[command(subcommand)]
    Config(Settings),
    /// Report the inventory of a site: services, endpoints with statuses, times and sizes, failing and slow
    /// endpoints, broken links, and alerts; from captures, access logs or recorded events
    Report(Box<Report>),
    /// List or lift the bans in an nftables set
    #[command(subcommand)]
    Bans(Bans),
    /// Run rules over recorded events and write their alerts. Input: http-trace's json, Zeek's http.log
    /// (JSON or TSV), Suricata's eve.json, access logs (common, combined, vhost_combined, JSON, W3C of IIS
    /// and CloudFront, Envoy, load balancers of AWS; with or without syslog headers, or as a container's
    /// runtime keeps them: CRI, Docker's json-file)
    Detect(Box<Detect>),
}

/// Rules over recorded events.
#[derive(Args, Clone, Debug, Default)]
#[command(mut_args(hidden_if_of_packets))]
pub struct Detect {
    /// Files of recorded events; default: standard input (-)
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Also write the events, each with the rules it counted for
    #[arg(long)]
    pub events: bool,
    /// Options as of a run; those of tracing have no effect.
    #[command(flatten)]
    pub options: Options,
}

/// An inventory of a site.
#[derive(Args, Clone, Debug, Default)]
#[command(mut_args(hidden_if_of_packets))]
pub struct Report {
    /// Captures, or events as `detect` reads them; default: the inventory kept with --state, otherwise recorded
    /// events from standard input (-)
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Format: table, markdown, json, html, or allow (endpoints that answered with success, one per line);
    /// default: by the extension of --to, otherwise table
    #[arg(long = "as", value_name = "FORM", hide_possible_values = true,
          value_parser = Offers(&http_trace_report::Form::NAMES))]
    pub form: Option<String>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// List endpoints not seen for this long before the end, e.g. 30d
    #[arg(long, value_name = "TIME")]
    pub unseen: Option<String>,
    /// Options as of a run; those of tracing have no effect.
    #[command(flatten)]
    pub options: Options,
}

impl Report {
    /// Refuses values with the options that were typed, of which [`Report::output`] makes others.
    pub fn check(&self) -> Result<(), String> {
        let is_form = |form: &&String| http_trace_report::Form::of(form).is_some();
        if let Some(form) = self.form.as_ref().filter(|form| !is_form(form)) {
            let forms = http_trace_report::Form::NAMES.join(", ");
            return Err(format!("--as '{form}': want {forms}"));
        }
        let unseen = self.unseen.as_ref().map(|unseen| (unseen, value::duration(unseen)));
        match unseen {
            Some((unseen, Err(want))) => Err(format!("--unseen '{unseen}': want {want}")),
            _ => Ok(()),
        }
    }

    /// The equivalent value of `--output`.
    pub fn output(&self) -> String {
        let mut output = "report".to_owned();
        if let Some(file) = &self.to {
            output.extend([":", &file.display().to_string()]);
        }
        let options = [("as", &self.form), ("unseen", &self.unseen)];
        for (name, value) in options {
            if let Some(value) = value {
                output.extend([",", name, "=", value]);
            }
        }
        output
    }
}

/// How it is said what this host lets the agent do.
#[derive(Args, Clone, Debug, Default)]
pub struct Doctor {
    /// Print a JSON object
    #[arg(long)]
    pub json: bool,
    /// Remove tc filters that an earlier run left at a clsact qdisc; watches no traffic
    #[arg(long)]
    pub clean: bool,
    /// Options as of a run; --duration says how long traffic is watched (5s).
    #[command(flatten)]
    pub options: Options,
}

/// What is done with settings.
#[derive(Clone, Debug, Subcommand)]
pub enum Settings {
    /// Check the settings of a run, and the rules that they name; exit status 2 if something is wrong
    Check(Box<Settled>),
    /// Print all settings as a file for --config, each with its origin
    Show(Box<Settled>),
}

/// Settings of a run that is not started.
#[derive(Args, Clone, Debug, Default)]
pub struct Settled {
    /// The same as --config FILE
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,
    /// Options as of a run
    #[command(flatten)]
    options: Options,
}

impl Settled {
    /// As the options of a run.
    pub fn options(&self) -> Options {
        let config = self.file.clone().or(self.options.config.clone());
        Options { config, ..self.options.clone() }
    }
}

/// What is done with bans.
#[derive(Clone, Debug, Subcommand)]
pub enum Bans {
    /// Print the banned clients: address, time left, and the rule if http-trace recorded it
    List {
        /// Where they are
        #[command(flatten)]
        place: BanPlace,
        /// Print one JSON object per client
        #[arg(long)]
        json: bool,
    },
    /// Remove clients from the set; exit status 1 if one of them is not banned
    Lift {
        /// Where they are
        #[command(flatten)]
        place: BanPlace,
        /// Client addresses
        #[arg(value_name = "ADDRESS")]
        clients: Vec<IpAddr>,
        /// Lift all bans
        #[arg(long, conflicts_with = "clients")]
        all: bool,
    },
}

/// The set of bans, or the configuration that names it.
#[derive(Args, Clone, Debug)]
pub struct BanPlace {
    /// The nftables set of the run
    #[arg(long, value_name = "nft:TABLE/SET")]
    pub ban: Option<String>,
    /// The configuration file of the run
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Hides options that have no effect on recorded events.
fn hidden_if_of_packets(argument: Arg) -> Arg {
    let key = KEYS.iter().find(|key| argument.get_long() == Some(key.name));
    argument.hide(key.is_some_and(|key| key.runs & runs::RECORDED == 0))
}

/// How hits are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum HitsFormat {
    /// One JSON object per line
    Json,
    /// Text tables
    Text,
}

/// What is done with rules.
#[derive(Clone, Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Rules {
    /// Print this help, or that of a command: 'rules help check'
    #[command(hide = true)]
    Help {
        /// The command
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// List the active rules that raise alerts: id, level, title, threshold and window
    List {
        /// Rule files and folders to list in addition to the built-in rules
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The same, spelt as the option of a run
        #[arg(long, value_name = "PATH")]
        rules: Vec<PathBuf>,
        /// Leave out the built-in rules
        #[arg(long)]
        no_builtin_rules: bool,
        /// The configuration file whose rules, changes and disabled rules apply
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print one JSON object per rule
        #[arg(long)]
        json: bool,
    },
    /// Check rule files; report faults with file, line and column; exit status 1 if a rule is rejected
    Check {
        /// Rule files and folders
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// Leave out the built-in rules: for a folder written by `export`
        #[arg(long)]
        no_builtin_rules: bool,
    },
    /// Explain what a rule counts, when it raises an alert, and where its numbers come from
    Explain {
        /// Rule id
        id: String,
        /// Rule files and folders to search in addition to the built-in rules
        #[arg(value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// The configuration file whose rules, changes and disabled rules apply
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Run only the given rules over captures and write their alerts; exit status 3 if there is one
    Test {
        /// A rule file or a folder of rule files
        #[arg(value_name = "PATH")]
        path: PathBuf,
        /// Captures
        #[arg(short, long, value_name = "FILE", num_args = 1.., required = true)]
        read: Vec<OsString>,
    },
    /// Show what each rule has counted, by entity and day (UTC), from a state file
    Hits {
        /// The --state file of a run
        #[arg(long, value_name = "FILE")]
        state: PathBuf,
        /// Only this rule, with all its entities
        #[arg(long, value_name = "ID")]
        rule: Option<String>,
        /// Number of days in the text output, on a terminal as many as fit; json has all that are kept
        #[arg(long, value_name = "N", default_value = "7",
              value_parser = clap::value_parser!(u32).range(1..=400))]
        days: u32,
        /// Output format
        #[arg(short, long, value_enum, default_value = "text")]
        output: HitsFormat,
        /// The configuration file of that run, whose redaction applies here too
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Write the built-in rules to a folder, as a starting point for your own
    Export {
        /// Target folder, created if missing; - writes all rules as one stream to standard output, without
        /// the filters
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Overwrite existing files that differ
        #[arg(long)]
        force: bool,
    },
}

impl TryFrom<Cli> for Config {
    type Error = String;

    /// Also reads the environment and the configuration file.
    fn try_from(cli: Cli) -> Result<Self, String> {
        let options = cli.options;
        let mut config = Config::load(options.typed, options.config.as_deref())?;
        config.alerts_only = cli.alerts_only;
        if let Some(path) = cli.tried_rules {
            config.tries_rules = true;
            config.rules = vec![path];
        }
        // A name may hold any bytes, of which values, which are text, do not.
        for output in &mut config.output {
            if let (Destination::File(place), Some(file)) = (&mut output.place, &cli.report_to)
                && place.to_str() == Some(&file.to_string_lossy())
            {
                place.clone_from(file);
            }
        }
        if !options.read.is_empty() {
            config.source = Source::Captures(options.read.iter().map(PathBuf::from).collect());
        }
        if let Some(paths) = cli.recorded {
            config.source = Source::Recorded(paths);
        }
        Ok(config)
    }
}

/// The clap definition of the command line, for completions, manual pages and tests.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The clap definition of the command named by `words` (empty: the root command), for its manual page.
pub fn command_of(words: &[impl AsRef<str>]) -> Result<clap::Command, String> {
    let mut command = command();
    command.build();
    for word in words {
        command = match command.find_subcommand(word.as_ref()) {
            Some(found) => found.clone(),
            None => {
                let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
                let all: Vec<&str> = shown.map(|c| c.get_name()).collect();
                let there_are = match all.is_empty() {
                    true => format!("'{}' has no subcommands", command.get_name()),
                    false => format!("want one of {}", all.join(", ")),
                };
                let word = word.as_ref();
                return Err(format!("'{word}' is not a command; {there_are}"));
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
    fn what_is_typed_arrives_under_its_key() {
        type Typed = &'static [(&'static str, &'static [&'static str])];
        let table: &[(&[&str], Typed)] = &[
            (&["-r", "a", "b", "-c", "3"], &[("read", &["a", "b"]), ("count", &["3"])]),
            (&["-r", "-"], &[("read", &["-"])]),
            (&["-p", "80", "443", "-i", "lo"], &[("interface", &["lo"]), ("port", &["80", "443"])]),
            (&["-q"], &[("quiet", &["true"])]),
            (
                &["-vv", "--line-buffered=false"],
                &[("line-buffered", &["false"]), ("verbose", &["2"])],
            ),
            (&["--status", "!2xx", "--status=404"], &[("status", &["!2xx", "404"])]),
            (&["-c", "-1", "-p", "-2"], &[("port", &["-2"]), ("count", &["-1"])]),
            (&["-o", "json:a", "-o", "pretty"], &[("output", &["json:a", "pretty"])]),
        ];
        for (typed, expected) in table {
            let words = std::iter::once("http-trace").chain(typed.iter().copied());
            let cli = Cli::try_parse_from(words).expect("parses");
            let got = cli.options.typed;
            let got: Vec<(&str, Vec<&str>)> =
                got.iter().map(|(k, v)| (*k, v.iter().map(String::as_str).collect())).collect();
            let expected: Vec<(&str, Vec<&str>)> =
                expected.iter().map(|(k, v)| (*k, v.to_vec())).collect();
            assert_eq!(got, expected, "{typed:?}");
        }
    }
}
