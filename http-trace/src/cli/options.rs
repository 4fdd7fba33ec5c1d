//! The options of runs: one for each key of the settings table. Must not parse their values, which
//! [`crate::config`] does for every layer.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use crate::config::KEYS;
use crate::config::key::{Form, Key, Shape};

/// Options as text: those of the settings table, and `--config`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Typed values by key; options that were not typed are absent.
    pub typed: Vec<(&'static str, Vec<String>)>,
    /// Capture paths; they may contain any bytes.
    pub read: Vec<OsString>,
    pub config: Option<PathBuf>,
}

impl Options {
    /// Sets an option as if it had been typed, replacing earlier values.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.typed.retain(|(typed, _)| *typed != name);
        self.typed.push((name, vec![value.to_owned()]));
    }

    /// Adds a value as if it had been typed as well.
    pub fn add(&mut self, name: &'static str, value: String) {
        match self.typed.iter_mut().find(|(typed, _)| *typed == name) {
            Some((_, values)) => values.push(value),
            None => self.typed.push((name, vec![value])),
        }
    }

    /// Merges options typed before the command; those typed after it win.
    #[must_use]
    pub fn after(self, before: Options) -> Options {
        let mut typed = before.typed;
        typed.retain(|(name, _)| self.typed.iter().all(|(later, _)| later != name));
        typed.extend(self.typed);
        Options {
            typed,
            read: if self.read.is_empty() { before.read } else { self.read },
            config: self.config.or(before.config),
        }
    }

    /// An option that only has meaning for commands that trace or read.
    pub fn of_runs(&self) -> Option<&'static str> {
        const OF_ALL: &[&str] = &["quiet", "verbose"];
        let mut names = self.typed.iter().map(|(name, _)| *name);
        let found = names.find(|name| !OF_ALL.contains(name));
        found.or_else(|| self.config.is_some().then_some("config"))
    }

    /// Finds a word that was meant on its own but was consumed by an option that takes all words up to the
    /// next option.
    pub fn swallowed(&self, is_meant: impl Fn(&str) -> bool) -> Option<(&'static str, &str)> {
        let is_greedy = |name| KEYS.iter().any(|k| k.name == name && k.form == Form::Words);
        let greedy = self.typed.iter().filter(|(name, _)| is_greedy(*name));
        greedy.into_iter().find_map(|(option, values)| {
            let later = values.iter().skip(1).map(String::as_str);
            Some((*option, later.into_iter().find(|word| is_meant(word))?))
        })
    }
}

impl Args for Options {
    fn augment_args(command: clap::Command) -> clap::Command {
        let options = KEYS.iter().filter(|key| key.form != Form::Absent);
        command.args(options.map(argument)).arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("TOML file with a key for every option")
                .help_heading("Output"),
        )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut options =
            Options { config: matches.get_one("config").cloned(), ..Options::default() };
        for key in KEYS.iter().filter(|key| key.form != Form::Absent) {
            let values: Vec<String> = match key.form {
                _ if matches.value_source(key.name) != Some(ValueSource::CommandLine) => continue,
                Form::Flag => vec!["true".to_owned()],
                Form::Count => vec![matches.get_count(key.name).to_string()],
                _ if key.name == "read" => {
                    let paths = matches.get_many(key.name).unwrap_or_default();
                    options.read = paths.cloned().collect();
                    let lossy = options.read.iter().map(|path| path.to_string_lossy());
                    lossy.map(|path| path.into_owned()).collect()
                }
                _ => matches.get_many(key.name).unwrap_or_default().cloned().collect(),
            };
            options.typed.push((key.name, values));
        }
        Ok(options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Builds the option of a key. Its value stays text: [`crate::config`] parses the values of every layer.
fn argument(key: &Key) -> Arg {
    let default = match key.form {
        Form::Value | Form::Words if !key.default.is_empty() => {
            format!(" [default: {}]", key.default)
        }
        _ => String::new(),
    };
    let argument = Arg::new(key.name)
        .long(key.name)
        .short(key.short)
        .help_heading(key.group)
        .help(format!("{}{default}", key.meaning));
    match key.form {
        Form::Flag => argument.action(ArgAction::SetTrue),
        Form::Count => argument.action(ArgAction::Count),
        Form::Switch => argument
            .value_name(key.value)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Form::Words if key.name == "read" => argument
            .value_name(key.value)
            .action(ArgAction::Append)
            .num_args(1..)
            .value_parser(clap::value_parser!(OsString)),
        Form::Words => argument
            .value_name(key.value)
            .action(ArgAction::Append)
            .num_args(1..)
            .allow_negative_numbers(true),
        // An error about `-1` names its option.
        Form::Value | Form::Absent => argument
            .value_name(key.value)
            .allow_negative_numbers(true)
            .value_parser(Offers(key.offers))
            .hide_possible_values(true)
            .action(match key.shape {
                Shape::One => ArgAction::Set,
                Shape::List | Shape::Whole => ArgAction::Append,
            }),
    }
}

/// Takes any text, and names values for completion scripts.
#[derive(Clone)]
pub struct Offers(pub &'static [&'static str]);

impl TypedValueParser for Offers {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = self.0.iter().map(PossibleValue::new);
        (!self.0.is_empty()).then(|| Box::new(values) as Box<dyn Iterator<Item = _>>)
    }
}
