//! The command `http-trace`.
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, IsTerminal, Write};
use std::iter;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use http_trace::cli::{self, Cli, Command, Doctor, Rules, Settings, manual};
use http_trace::config::key::Form;
use http_trace::config::{Config, KEYS};
use http_trace::run::{self, Ended, Stop};
use http_trace::schema;
use http_trace::text::lines_for_terminal;
use http_trace_detect::diagnose::nearest;
use http_trace_model::columns::wrapped_columns;
use terminal_size::terminal_size_of;

fn main() -> ExitCode {
    let ended = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => unparsed(error),
    };
    let ended = ended.unwrap_or_else(|why| {
        run::say(&why);
        Ended::CannotStart
    });
    ExitCode::from(ended.status())
}

/// Runs what was asked for; an error is a message about why it cannot start.
fn run(mut cli: Cli) -> Result<Ended, String> {
    // Whether to report only from the kept inventory.
    let mut is_report = false;
    let before = |cli: &mut Cli| std::mem::take(&mut cli.options);
    match cli.command.take() {
        Some(Command::Rules(Rules::Help { command })) => {
            let words = command.iter().map(String::as_str);
            return help(&iter::once("rules").chain(words).collect::<Vec<_>>());
        }
        Some(Command::Help { command }) => {
            return help(&command.iter().map(String::as_str).collect::<Vec<_>>());
        }
        Some(Command::Rules(Rules::Test { path, read })) => {
            cli.options.set("no-builtin-rules", "true");
            cli.options.set("fail-on-alert", "info");
            cli.options.read = read;
            cli.alerts_only = true;
            cli.tried_rules = Some(path);
        }
        Some(Command::Detect(detect)) => {
            let options = detect.options.after(before(&mut cli));
            if !options.read.is_empty() {
                return Err(
                    "detect reads recorded events: name them without -r (captures: http-trace -r FILE)"
                        .to_owned(),
                );
            }
            if let (Some((option, word)), true) =
                (options.swallowed(|word| Path::new(word).is_file()), detect.files.is_empty())
            {
                return Err(format!(
                    "--{option} takes all words that follow it, including the file '{word}': name \
                     files before options"
                ));
            }
            cli.options = options;
            cli.alerts_only = !detect.events;
            cli.recorded = Some(detect.files);
        }
        Some(Command::Report(asked)) => {
            asked.check()?;
            cli.options = asked.options.clone().after(before(&mut cli));
            cli.options.add("output", asked.output());
            cli.report_to = asked.to;
            is_report = asked.files.is_empty();
            if run::are_captures(&asked.files)? {
                cli.options.read = asked.files.iter().map(Into::into).collect();
            } else {
                cli.recorded = Some(asked.files);
            }
        }
        Some(Command::Doctor(asked)) => {
            cli.options = asked.options.clone().after(before(&mut cli));
            return doctor(&asked, cli);
        }
        Some(Command::Config(command)) => {
            let (Settings::Check(settled) | Settings::Show(settled)) = &command;
            cli.options = settled.options().after(before(&mut cli));
            return settings(cli, matches!(command, Settings::Show(_)));
        }
        Some(command) => {
            if let Some(option) = cli.options.of_runs() {
                return Err(format!(
                    "--{option} is an option of runs and `detect`, not of this command: see its \
                     --help"
                ));
            }
            return print(&command);
        }
        None => {
            let is_command = |word: &str| cli::command_of(&[word]).is_ok();
            if let Some((option, word)) = cli.options.swallowed(is_command)
                && (option != "read" || !Path::new(word).exists())
            {
                return Err(format!(
                    "--{option} takes all words that follow it, including the command '{word}': \
                     type the command first"
                ));
            }
        }
    }
    let config = Config::try_from(cli)?;
    if is_report && config.state.is_some() {
        return run::inventory::run(&config);
    }
    Ok(run::run(&config, &stop_on_signals(&config)?))
}

fn stop_on_signals(config: &Config) -> Result<Stop, String> {
    let mut stop = Stop::default();
    stop.on_signals().map_err(|error| {
        // Mostly for lack of open files, of which the check says how many are needed.
        run::check(config).err().unwrap_or_else(|| format!("cannot handle signals: {error}"))
    })?;
    Ok(stop)
}

/// What is typed instead of a command that other tools have.
const COMMANDS_OF_OTHERS: &[(&[&str], &str)] = &[
    (&["read", "replay"], "to read captures: `http-trace -r FILE`; logs: `http-trace detect FILE`"),
    (&["live", "run", "start", "trace", "watch"], "to trace this host: `http-trace` and options"),
    (&["summary", "stats"], "to count instead of writing events: `http-trace --summary`"),
    (&["hits"], "what rules have counted: `http-trace rules hits --state FILE`"),
    (&["version"], "`http-trace --version`"),
];

/// Answers habits of other tracers: what is to be typed instead.
fn habit(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    match (text(ContextKind::InvalidArg), text(ContextKind::InvalidSubcommand)) {
        (Some("-w"), _) => Some(
            "-w: http-trace writes no captures; `-o json:FILE` writes its events, and `tcpdump -w` \
             captures that -r reads"
                .to_owned(),
        ),
        (Some("-n"), _) => Some("-n is not needed: addresses are never resolved".to_owned()),
        (_, Some(filter)) => {
            let of_others = COMMANDS_OF_OTHERS.iter().find(|(words, _)| words.contains(&filter));
            if let Some((_, instead)) = of_others.filter(|_| !Path::new(filter).exists()) {
                return Some(format!("'{filter}' is not a command; {instead}"));
            }
            let first = filter.split(' ').next()?;
            ["port", "tcp", "host", "net", "src", "dst"].contains(&first).then(|| {
                format!(
                    "'{filter}' is a filter of captures; options limit what is traced here: \
                     -p 80, --client 10.0.0.0/8, --server 10.0.0.1"
                )
            })
        }
        _ => None,
    }
}

/// Explains a command line that does not parse. An existing file is not a misspelt command.
fn unparsed(mut error: clap::Error) -> Result<Ended, String> {
    if let Some(answer) = habit(&error) {
        return Err(answer);
    }
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && Path::new(word).exists()
    {
        return Err(format!(
            "'{word}' is not a command; to read captures: `http-trace -r FILE`; logs and \
             http-trace's json: `http-trace detect FILE`"
        ));
    }
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && let Some(key) = KEYS.iter().find(|key| word.strip_prefix("--") == Some(key.name))
        && matches!(key.form, Form::Absent)
    {
        return Err(format!(
            "{word} is not an option: set `{} = …` in the file of --config, or {}",
            key.name,
            key.variable()
        ));
    }
    if error.kind() == ErrorKind::InvalidUtf8 {
        // clap does not say which argument is meant.
        let no_text = env::args_os().skip(1).filter(|word| word.to_str().is_none());
        let words = no_text.map(|word| format!("'{}'", word.as_encoded_bytes().escape_ascii()));
        return Err(format!(
            "{} is not UTF-8, which is only allowed for file names of --config, -r and --to, and \
             of the commands `detect`, `report` and `rules`; rename it or use a symlink",
            words.collect::<Vec<_>>().join(" or ")
        ));
    }
    // No command takes a word that begins with -- as a value, and what clap takes for similar often is not.
    if let Some(ContextValue::StyledStrs(mut tips)) = error.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains("as a value"));
        if !tips.is_empty() {
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    if let [Some(ContextValue::String(word)), Some(ContextValue::String(meant))] =
        [ContextKind::InvalidArg, ContextKind::SuggestedArg].map(|kind| error.get(kind))
        && nearest(word.trim_start_matches('-'), iter::once(meant.trim_start_matches('-')), 3)
            .is_none()
    {
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Usage);
    }
    // Help and version go to standard output.
    let printed = error.print();
    Ok(if error.use_stderr() { Ended::CannotStart } else { ended(printed, Ended::Done) })
}

/// How printing ended; a closed pipe is not an error.
fn ended(printed: io::Result<()>, otherwise: Ended) -> Ended {
    match printed.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            run::say(&format!("cannot write to standard output: {error}"));
            Ended::Lossy
        }
        _ => otherwise,
    }
}

/// Prints text that may contain what others chose: rules, names of clients, interfaces and programs.
fn put(mut text: String, done: Ended) -> Ended {
    if io::stdout().is_terminal() {
        text = lines_for_terminal(&text);
        if let Some((width, _)) = terminal_size_of(io::stdout()) {
            text = wrapped_columns(&text, width.0.into());
        }
    }
    ended(io::stdout().write_all(text.as_bytes()), done)
}

/// Reports what this host allows the agent to do.
#[cfg(feature = "live")]
fn doctor(asked: &Doctor, cli: Cli) -> Result<Ended, String> {
    use http_trace::config::Source;
    let config = Config::try_from(cli)?;
    if config.source != Source::Live {
        return Err(
            "doctor checks what live tracing needs, and reads no capture: leave -r out".to_owned()
        );
    }
    let (text, done) = run::doctor::run(asked, &config, &stop_on_signals(&config)?);
    Ok(match asked.json {
        true => ended(io::stdout().write_all(text.as_bytes()), done),
        false => put(lines_for_terminal(&text), done),
    })
}

#[cfg(not(feature = "live"))]
fn doctor(_: &Doctor, _: Cli) -> Result<Ended, String> {
    Err("this build only reads captures: doctor needs a build with the feature 'live'".to_owned())
}

/// Checks or prints the settings of a run.
fn settings(cli: Cli, show: bool) -> Result<Ended, String> {
    let config = Config::try_from(cli)?;
    run::check(&config)?;
    let text = match show {
        true => config.to_string(),
        false => {
            run::check_destinations(&config)?;
            if let Err(ended) = run::check_rules(&config) {
                return Ok(ended);
            }
            format!("{}\n", config.summary())
        }
    };
    Ok(ended(io::stdout().write_all(text.as_bytes()), Ended::Done))
}

/// Prints the help of the command with this path.
fn help(words: &[&str]) -> Result<Ended, String> {
    cli::command_of(words)?;
    Ok(match Cli::try_parse_from([&["http-trace"], words, &["--help"]].concat()) {
        Err(help) => ended(help.print(), Ended::Done),
        Ok(_) => Ended::Done,
    })
}

fn print(command: &Command) -> Result<Ended, String> {
    let mut out = Vec::new();
    match command {
        Command::Rules(command) => {
            let mut text = String::new();
            let done = run::rules::run(command, &mut text)?;
            return Ok(put(text, done));
        }
        Command::Bans(command) => {
            let mut text = String::new();
            let done = run::bans::run(command, &mut text)?;
            return Ok(put(text, done));
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut cli::command(), "http-trace", &mut out);
            // The script for bash takes the hyphen of the program's name for the boundary to a subcommand.
            out =
                String::from_utf8_lossy(&out).replace("http__subcmd__trace", "http__trace").into();
        }
        Command::Man { command } => {
            let page = manual::page(cli::command_of(command)?, command, &mut out);
            page.map_err(|error| error.to_string())?;
        }
        Command::Schema => out.extend_from_slice(schema::record().as_bytes()),
        Command::Help { .. }
        | Command::Detect(_)
        | Command::Report(_)
        | Command::Config(_)
        | Command::Doctor(_) => {}
    }
    Ok(ended(io::stdout().write_all(&out), Ended::Done))
}
