//! The command `http-trace`.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use http_trace::cli::{self, Bans, Cli, Command, Doctor, Rules, Settings, manual};
use http_trace::config::Config;
use http_trace::run::{self, Ended, Stop};
use http_trace::schema;
use http_trace::text::lines_for_terminal;

fn main() -> ExitCode {
    let mut cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    // Whether to report only from the kept inventory.
    let mut is_report = false;
    match cli.command.take() {
        Some(Command::Rules(Rules::Help { command })) => {
            let words = command.iter().map(String::as_str);
            return help(&std::iter::once("rules").chain(words).collect::<Vec<_>>());
        }
        Some(Command::Help { command }) => {
            return help(&command.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Some(Command::Rules(Rules::Test { path, read })) => {
            cli.options.set("rules", &path.display().to_string());
            cli.options.set("no-builtin-rules", "true");
            cli.options.set("fail-on-alert", "info");
            cli.options.read = read;
            cli.alerts_only = true;
            cli.tries_rules = true;
        }
        Some(Command::Detect(detect)) => {
            let options = detect.options.after(std::mem::take(&mut cli.options));
            if !options.read.is_empty() {
                run::say(
                    "detect reads recorded events: name them without -r (captures: http-trace -r FILE)",
                );
                return ExitCode::from(Ended::CannotStart.status());
            }
            if let (Some((option, word)), true) = (
                options.swallowed(|word| Path::new(word).is_file()),
                detect.files.is_empty(),
            ) {
                run::say(&format!(
                    "--{option} takes all words that follow it, including the file '{word}': name \
                     files before options"
                ));
                return ExitCode::from(Ended::CannotStart.status());
            }
            cli.options = options;
            cli.alerts_only = !detect.events;
            cli.recorded = Some(detect.files);
        }
        Some(Command::Report(asked)) => {
            let options = asked.options.clone();
            cli.options = options.after(std::mem::take(&mut cli.options));
            cli.options.add("output", asked.output());
            is_report = asked.files.is_empty();
            match run::are_captures(&asked.files) {
                Ok(true) => cli.options.read = asked.files.iter().map(Into::into).collect(),
                Ok(false) => cli.recorded = Some(asked.files),
                Err(why) => {
                    run::say(&why);
                    return ExitCode::from(Ended::CannotStart.status());
                }
            }
        }
        Some(Command::Doctor(asked)) => {
            let options = asked.options.clone();
            cli.options = options.after(std::mem::take(&mut cli.options));
            return doctor(&asked, cli);
        }
        Some(Command::Config(command)) => {
            let (Settings::Check(options) | Settings::Show(options)) = &command;
            cli.options = (**options).clone().after(std::mem::take(&mut cli.options));
            return settings(cli, matches!(command, Settings::Show(_)));
        }
        Some(command) => {
            if let Some(option) = cli.options.of_runs() {
                run::say(&format!(
                    "--{option} is an option of runs and `detect`, not of this command: see its \
                     --help"
                ));
                return ExitCode::from(Ended::CannotStart.status());
            }
            return match command {
                Command::Rules(command) => rules(&command),
                Command::Bans(command) => bans(&command),
                command => print(&command),
            };
        }
        None => {
            let is_command = |word: &str| cli::command_of(&[word]).is_ok();
            if let Some((option, word)) = cli.options.swallowed(is_command)
                && (option != "read" || !Path::new(word).exists())
            {
                return unknown(&format!(
                    "--{option} takes all words that follow it, including the command '{word}': \
                     type the command first"
                ));
            }
        }
    }
    let config = match Config::try_from(cli) {
        Ok(config) => config,
        Err(error) => {
            run::say(&error.to_string());
            return ExitCode::from(Ended::CannotStart.status());
        }
    };
    if is_report && config.state.is_some() {
        return ExitCode::from(run::inventory::run(&config).status());
    }
    let mut stop = Stop::default();
    if let Err(error) = stop.on_signals() {
        // Mostly for lack of open files, of which the check says how many are needed.
        let why = run::check(&config).err();
        run::say(&why.unwrap_or_else(|| format!("cannot handle signals: {error}")));
        return ExitCode::from(Ended::CannotStart.status());
    }
    ExitCode::from(run::run(&config, &stop).status())
}

/// Explains a command line that does not parse. An existing file is not a misspelt command.
fn unparsed(error: &clap::Error) -> ExitCode {
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && Path::new(word).exists()
    {
        run::say(&format!(
            "'{word}' is not a command; to read captures: `http-trace -r FILE`; logs and \
             http-trace's json: `http-trace detect FILE`"
        ));
        return ExitCode::from(Ended::CannotStart.status());
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        // clap does not say which argument is meant.
        let no_text = env::args_os()
            .skip(1)
            .filter(|word| word.to_str().is_none());
        let words = no_text.map(|word| format!("'{}'", word.as_encoded_bytes().escape_ascii()));
        run::say(&format!(
            "{} is not UTF-8, which is only allowed for file names of --config, -r, detect and \
             rules; rename it or use a symlink",
            words.collect::<Vec<_>>().join(" or ")
        ));
        return ExitCode::from(Ended::CannotStart.status());
    }
    // Help and version go to standard output.
    let printed = error.print();
    if error.use_stderr() {
        return ExitCode::from(Ended::CannotStart.status());
    }
    ended(printed, Ended::Done)
}

/// The exit status after printing; a closed pipe is not an error.
fn ended(printed: io::Result<()>, otherwise: Ended) -> ExitCode {
    match printed.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            run::say(&format!("cannot write to standard output: {error}"));
            ExitCode::from(Ended::Lossy.status())
        }
        _ => ExitCode::from(otherwise.status()),
    }
}

fn rules(command: &Rules) -> ExitCode {
    let mut out = String::new();
    let done = run::rules::run(command, &mut out);
    if io::stdout().is_terminal() {
        // It may contain rule texts by others, and names of clients from the state.
        out = lines_for_terminal(&out);
    }
    ended(io::stdout().write_all(out.as_bytes()), done)
}

fn bans(command: &Bans) -> ExitCode {
    let mut out = String::new();
    let done = run::bans::run(command, &mut out);
    if io::stdout().is_terminal() {
        // Others may have written to the set.
        out = lines_for_terminal(&out);
    }
    ended(io::stdout().write_all(out.as_bytes()), done)
}

/// Reports what this host allows the agent to do.
#[cfg(feature = "live")]
fn doctor(asked: &Doctor, cli: Cli) -> ExitCode {
    let mut stop = Stop::default();
    let config = match Config::try_from(cli) {
        Ok(config) => config,
        Err(error) => return unknown(&error.to_string()),
    };
    if let Err(error) = stop.on_signals() {
        return unknown(&format!("cannot handle signals: {error}"));
    }
    let (text, done) = run::doctor::run(asked, &config, &stop);
    let text = match asked.json {
        true => text,
        // Others chose the names of interfaces, programs and processes.
        false => lines_for_terminal(&text),
    };
    ended(io::stdout().write_all(text.as_bytes()), done)
}

#[cfg(not(feature = "live"))]
fn doctor(_: &Doctor, _: Cli) -> ExitCode {
    unknown("this build only reads captures: doctor needs a build with the feature 'live'")
}

/// Checks or prints the settings of a run.
fn settings(cli: Cli, show: bool) -> ExitCode {
    let config = match Config::try_from(cli) {
        Ok(config) => config,
        Err(error) => return unknown(&error.to_string()),
    };
    if let Err(why) = run::check(&config) {
        return unknown(&why);
    }
    let text = match show {
        true => config.to_string(),
        false => format!("{}\n", config.summary()),
    };
    ended(io::stdout().write_all(text.as_bytes()), Ended::Done)
}

/// Prints a usage error.
fn unknown(why: &str) -> ExitCode {
    run::say(why);
    ExitCode::from(Ended::CannotStart.status())
}

/// Prints the help of the command with this path.
fn help(words: &[&str]) -> ExitCode {
    if let Err(why) = cli::command_of(words) {
        return unknown(&why);
    }
    match Cli::try_parse_from([&["http-trace"], words, &["--help"]].concat()) {
        Err(help) => ended(help.print(), Ended::Done),
        Ok(_) => ExitCode::from(Ended::Done.status()),
    }
}

/// Prints the output of a subcommand.
fn print(command: &Command) -> ExitCode {
    let mut out = Vec::new();
    let rendered = match command {
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut cli::command(), "http-trace", &mut out);
            Ok(())
        }
        Command::Man { command } => match cli::command_of(command) {
            Ok(named) => manual::page(named, command, &mut out),
            Err(why) => return unknown(&why),
        },
        Command::Schema => out.write_all(schema::record().as_bytes()),
        Command::Help { .. }
        | Command::Rules(_)
        | Command::Bans(_)
        | Command::Detect(_)
        | Command::Report(_)
        | Command::Config(_)
        | Command::Doctor(_) => Ok(()),
    };
    ended(
        rendered.and_then(|()| io::stdout().write_all(&out)),
        Ended::Done,
    )
}
