//! Text of help and manual pages other than option descriptions: filters, examples, exit statuses,
//! environment and files. Prints nothing.

use std::io::{self, Write};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::config::KEYS;
use crate::config::key::Form;

const FILTERS: &str = "A filter's value may begin with '!' to exclude what it matches: --path \
                       '!/healthz'. Of several values of one option any must match, of several \
                       options all. An exclusion always wins.";

/// Exit statuses of runs that trace or read.
const OF_RUNS: &[(&str, &str)] = &[
    ("0", "done"),
    (
        "1",
        "data was lost, the state was not kept, rules or a file were unreadable or truncated, or -r was \
         interrupted",
    ),
    ("2", "usage error, cannot start, or --fail-on-alert is inconclusive"),
    ("3", "an alert at or above the level of --fail-on-alert"),
];

/// Exit statuses of commands that neither trace nor read.
const OF_OTHERS: &[(&str, &str)] = &[
    ("0", "done"),
    (
        "1",
        "a rule was rejected, a file could not be read or was not overwritten, or the output could \
         not be written",
    ),
    ("2", "usage error, or unknown name"),
];

const FILES: &[(&str, &str)] = &[
    (
        "the file of --config",
        "TOML with a key for every option, and the table [detect]; only its owner may have write \
         permission",
    ),
    ("the file of --state", "rule counters, kept across runs; unredacted, mode 0600"),
    (
        "files of --output and --alerts-to",
        "created with mode 0600; reopened within 1 s after being moved, removed or truncated",
    ),
];

/// Examples: the words of a command, what to type, and what that does.
const EXAMPLES: &[(&[&str], &str, &str)] = &[
    (&[], "http-trace", "every interface, every port"),
    (&[], "http-trace -i eth0 -p 80,8080-8090", "one interface, some ports"),
    (
        &[],
        "http-trace --status 404,5xx --path '!/healthz'",
        "write only these; rules still see everything",
    ),
    (
        &[],
        "http-trace -o pretty -o json:events.jsonl",
        "readable on standard output, JSON to a file",
    ),
    (&[], "http-trace -r day1.pcapng.gz captures/", "captures, in time order"),
    (&[], "ssh host tcpdump -U -w - port 80 | http-trace -r -", "packets of another host"),
    (&[], "http-trace -r capture.pcap --fail-on-alert medium", "for CI: exit status 3"),
    (&["detect"], "http-trace detect access.log", "rules over an access log"),
    (
        &["detect"],
        "tail -F access.log | http-trace detect --alerts-to command:/usr/local/bin/ban",
        "as it is written",
    ),
    (
        &["detect"],
        "zcat http.log.gz | http-trace detect --fail-on-alert high",
        "Zeek's log, as a gate: exit status 3",
    ),
    (&["rules"], "http-trace rules list", "all active rules"),
    (&["rules", "list"], "http-trace rules list mine/", "built-in rules and those of a folder"),
    (&["rules", "check"], "http-trace rules check mine/", "faults with file, line and column"),
    (&["rules", "explain"], "http-trace rules explain http-path-scan", "what it counts, and why"),
    (
        &["rules", "test"],
        "http-trace rules test mine.yml -r capture.pcap",
        "the alerts of one rule",
    ),
    (
        &["rules", "hits"],
        "http-trace rules hits --state /var/lib/http-trace/state --days 30",
        "what each rule counted, by day",
    ),
    (
        &["rules", "export"],
        "http-trace rules export mine/",
        "the built-in rules, as a starting point",
    ),
    (
        &["doctor"],
        "sudo http-trace doctor --duration 10s",
        "why is no traffic, or only some, seen?",
    ),
    (
        &["config", "check"],
        "http-trace config check /etc/http-trace/http-trace.toml",
        "before a reload (exit status 2: a fault)",
    ),
    (
        &["config", "show"],
        "http-trace config show http-trace.toml -p 8080",
        "settings in effect, and their origin",
    ),
    (&["man"], "http-trace man | man -l -", "read the manual page"),
    (
        &["man"],
        "http-trace man rules check > http-trace-rules-check.1",
        "the manual page of a command",
    ),
    (
        &["completions"],
        "http-trace completions bash > /etc/bash_completion.d/http-trace",
        "for all users of bash",
    ),
    (&["schema"], "http-trace schema | jq .", "the JSON Schema"),
    (&["help"], "http-trace help rules check", "the help of a command"),
];

/// Text that follows the options in `--help`.
pub(super) fn after_help() -> String {
    let statuses: Vec<String> = OF_RUNS.iter().map(|(n, why)| format!("{n} {why}")).collect();
    format!(
        "{FILTERS}\n\nEvery option is also a key of the --config file (port = [8080]) and an \
         environment variable (HTTP_TRACE_PORT=8080). Options take precedence over the \
         environment, the environment over the file.\n\nExit status: {}.\n\nExamples:\n{}",
        statuses.join("; "),
        examples(&[])
            .map(|(typed, does)| format!("  {typed}\n          {does}"))
            .collect::<Vec<_>>()
            .join("\n")
    )
}

fn examples<'a>(words: &'a [String]) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    let of = EXAMPLES.iter().filter(move |(command, ..)| *command == words);
    of.map(|(_, typed, does)| (*typed, *does))
}

/// Writes the manual page (roff) of `command`, whose path is `words`.
pub fn page(command: clap::Command, words: &[String], out: &mut dyn Write) -> io::Result<()> {
    let has_options = words.is_empty() || *words == ["detect"];
    let has_commands = command.has_subcommands();
    // A subcommand has no version of its own.
    let page = Man::new(command).source(concat!("http-trace ", env!("CARGO_PKG_VERSION")));
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    if has_commands {
        page.render_subcommands_section(out)?;
    }
    let mut roff = Roff::new();
    if has_options {
        roff.control("SH", ["FILTERS"]).text([roman(FILTERS)]);
    }
    let is_run = has_options || *words == ["rules", "test"];
    list(&mut roff, "EXIT STATUS", if is_run { OF_RUNS } else { OF_OTHERS });
    if has_options {
        environment(&mut roff);
        list(&mut roff, "FILES", FILES);
    }
    let examples: Vec<_> = examples(words).collect();
    list(&mut roff, "EXAMPLES", &examples);
    roff.to_writer(out)
}

/// Environment variables, in particular those without an option.
fn environment(roff: &mut Roff) {
    list(
        roff,
        "ENVIRONMENT",
        &[
            (
                "HTTP_TRACE_NAME",
                "as --name; lists with commas (HTTP_TRACE_PORT=80,8080), or with line breaks where values may contain \
                 commas (HTTP_TRACE_OUTPUT)",
            ),
            ("HTTP_TRACE_CONFIG", "as --config"),
            ("NO_COLOR, CLICOLOR_FORCE", "disable colours, or force them without a terminal"),
        ],
    );
    for key in KEYS.iter().filter(|key| key.form == Form::Absent) {
        let default = match key.default {
            "" => String::new(),
            default => format!(" [default: {default}]"),
        };
        term(roff, &key.variable(), &format!("{}{default}", key.meaning));
    }
}

/// Writes a heading followed by terms and their meanings.
fn list(roff: &mut Roff, heading: &str, items: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (name, meaning) in items {
        term(roff, name, meaning);
    }
}

fn term(roff: &mut Roff, name: &str, meaning: &str) {
    roff.control("TP", []).text([bold(name)]).text([roman(meaning)]);
}
