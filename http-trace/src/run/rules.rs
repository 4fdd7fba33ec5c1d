//! `http-trace rules`: list, check, explain and export. Reads and writes rule files; returns its output
//! instead of printing it.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::exit::{Ended, say};
use super::{hits, loading};
use serde_json::json;
use terminal_size::terminal_size_of;

use crate::cli::Rules;
use crate::config::Config;
use http_trace_detect::detector::window_text;
use http_trace_detect::diagnose::{Fault, did_you_mean};
use http_trace_detect::parse::{self, Parsed, Source};
use http_trace_detect::rule::{Correlation, Input, Kind, Rule, RuleSet};
use http_trace_detect::{builtin, load};
use http_trace_model::columns::aligned;

/// Runs the command; standard output is appended to `out`.
pub fn run(command: &Rules, out: &mut String) -> Result<Ended, String> {
    Ok(match command {
        Rules::List { paths, rules, no_builtin_rules, config, json } => {
            let mut config = Config::load(Vec::new(), config.as_deref())?;
            config.rules.extend(paths.iter().chain(rules).cloned());
            config.no_builtin_rules |= no_builtin_rules;
            config.warnings.iter().for_each(|line| say(line));
            let (rules, messages, well) = loading::rules_of(&config);
            messages.iter().for_each(|line| say(line));
            match json {
                true => list_json(&rules, out),
                false => list(&rules, out),
            }
            ended(well)
        }
        Rules::Check { paths, no_builtin_rules } => check(!no_builtin_rules, paths, out),
        Rules::Explain { id, paths, config } => {
            let mut config = Config::load(Vec::new(), config.as_deref())?;
            config.rules.extend_from_slice(paths);
            let (mut rules, messages, _) = loading::rules_of(&config);
            config.warnings.iter().chain(&messages).for_each(|line| say(line));
            let is_active = rules.find(id).is_some();
            if !is_active {
                config.disable_rule.clear();
                (rules, ..) = loading::rules_of(&config);
            }
            if let Some(number) = rules.find(id) {
                explain(&rules, number, is_active, out);
            } else if let Some(filter) = builtin::filter(id) {
                out.push_str(&filter.text);
            } else {
                let near = did_you_mean(rules.nearest(id));
                return Err(format!(
                    "unknown rule '{id}': 'http-trace rules list' lists the ids{near}"
                ));
            }
            Ended::Done
        }
        Rules::Export { folder, .. } if folder.as_os_str() == "-" => {
            for (name, text) in builtin::FILES {
                let _ = write!(out, "---\n# {name}\n{text}");
            }
            Ended::Done
        }
        Rules::Export { folder, force } => {
            let left = export(folder, *force)
                .map_err(|why| format!("cannot write rules to {}: {why}", folder.display()))?;
            if left.is_empty() {
                say(&format!("the built-in rules are in {}", folder.display()));
            }
            for path in &left {
                say(&format!(
                    "{} not overwritten: it exists with different content (--force replaces it)",
                    path.display()
                ));
            }
            ended(left.is_empty())
        }
        Rules::Hits { state, rule, days, output, config } => {
            let secrets = Config::load(Vec::new(), config.as_deref())?.secrets();
            let asked = hits::HitsQuery {
                rule: rule.as_deref(),
                days: *days,
                width: terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into()),
                format: *output,
                secrets: secrets.as_ref(),
            };
            hits::run(state, asked, out)?;
            Ended::Done
        }
        // Started as a run by the main function.
        Rules::Test { .. } | Rules::Help { .. } => Ended::CannotStart,
    })
}

const fn ended(well: bool) -> Ended {
    if well { Ended::Done } else { Ended::Lossy }
}

/// The parsed rules, their files, and whether all files could be read.
fn parsed(with_built_in: bool, paths: &[PathBuf]) -> (Parsed, Vec<Source>, bool) {
    let mut sources: Vec<Source> = Vec::new();
    if with_built_in {
        sources.extend(builtin::sources());
    }
    let mut readable = true;
    for path in paths {
        let (read, unreadable) = load::read(path);
        sources.extend(read);
        for error in unreadable {
            readable = false;
            say(&error.to_string());
        }
    }
    (parse::parse(&sources, &|_| false), sources, readable)
}

fn errors(parsed: &Parsed) -> usize {
    let errors = parsed.diagnostics.iter().filter(|d| d.fault == Fault::Error);
    errors.count()
}

/// Checks rule files. Loads built-in rules too, because files may refer to them.
fn check(with_built_in: bool, paths: &[PathBuf], out: &mut String) -> Ended {
    let (parsed, sources, readable) = parsed(with_built_in, paths);
    for diagnostic in &parsed.diagnostics {
        let _ = writeln!(out, "{diagnostic}");
    }
    let empty = paths.iter().filter(|path| path.is_dir() && !load::has_any(path));
    let empty: Vec<&PathBuf> = empty.collect();
    for folder in &empty {
        say(&format!("no rule files (.yml or .yaml) in {}", folder.display()));
    }
    let of_files = parsed
        .rules
        .rules
        .iter()
        .filter(|rule| matches!(rule.origin, http_trace_detect::rule::Origin::File(_)));
    let refused = parsed.with(Fault::Error, &sources);
    let warnings = parsed.with(Fault::Warning, &sources);
    let good = of_files.count() as u64;
    let verb = if good == 1 { "loads" } else { "load" };
    let _ = writeln!(
        out,
        "{} {verb}, {refused} rejected, {warnings} with warnings",
        crate::messages::counted(good, "rule")
    );
    ended(readable && errors(&parsed) == 0 && empty.is_empty())
}

fn listed(rules: &RuleSet) -> impl Iterator<Item = (&Rule, &Correlation)> {
    let listed = rules.correlations.iter().filter(|correlation| correlation.alerts);
    listed.map(|correlation| (&*rules.rules[correlation.rule], correlation))
}

fn list_json(rules: &RuleSet, out: &mut String) {
    for (rule, correlation) in listed(rules) {
        let by: Vec<&str> = correlation.group_by.iter().map(|field| &*field.name).collect();
        let record = json!({
            "id": &*rule.id,
            "title": rule.title,
            "description": rule.description,
            "level": rule.severity.level().name(),
            "severity": rule.severity.score(),
            "category": rule.category,
            "counts": condition(correlation),
            "threshold": correlation.threshold(),
            "window_seconds": correlation.window_ns / 1_000_000_000,
            "by": by,
            "yields_to": rule.yields_to,
            "attack": threat(rule),
            "references": rule.references,
            "file": rule.origin.to_string(),
            "line": rule.line,
        });
        let _ = writeln!(out, "{record}");
    }
}

fn list(rules: &RuleSet, out: &mut String) {
    let row = |(rule, correlation): (&Rule, &Correlation)| {
        let level = rule.severity.level().name().to_owned();
        // In one column: either alone would be as wide as the widest, and a terminal is narrow.
        vec![rule.id.to_string(), level, format!("{}: {}", rule.title, condition(correlation))]
    };
    let rows: Vec<_> = listed(rules).map(row).collect();
    aligned(&rows, |_| false).iter().for_each(|line| out.extend([line, "\n"]));
}

/// Formats `30 distinct cs-uri-stem / 10m`.
fn condition(correlation: &Correlation) -> String {
    let window = window_text(correlation.window_ns);
    let least = correlation.threshold();
    match &correlation.kind {
        Kind::EventCount if least == 1 => "each".to_owned(),
        Kind::EventCount => format!("{least} / {window}"),
        Kind::ValueCount(fields) => {
            let names: Vec<String> = fields.iter().map(|f| f.name()).collect();
            format!("{least} distinct {} / {window}", names.join("+"))
        }
        Kind::Temporal(_) => format!("together / {window}"),
        Kind::TemporalOrdered => format!("in order / {window}"),
        Kind::ValueSum(field) => format!("sum of {} {least} / {window}", field.name()),
        Kind::ValueAvg(field) => format!("mean of {} {least} / {window}", field.name()),
        Kind::ValuePercentile(field, p) => {
            format!("p{p} of {} {least} / {window}", field.name())
        }
        Kind::Ratio(percent) => format!("{least} and {percent} % / {window}"),
        Kind::TimingSplit(factor) => format!("{least} in two modes {factor}× apart / {window}"),
        // Not used by any rule that is listed.
        Kind::Digest => String::new(),
        Kind::StatusSequence => format!("{least} odd turns / {window}"),
    }
}

fn explain(rules: &RuleSet, number: usize, is_active: bool, out: &mut String) {
    let rule = &rules.rules[number];
    let _ = writeln!(out, "{}  ({})\n", rule.title, rule.id);
    if !rule.description.is_empty() {
        let _ = writeln!(out, "{}\n", rule.description);
    }
    let mut line = |name: &str, text: &str| {
        if !text.is_empty() {
            let _ = writeln!(out, "{name:12}{text}");
        }
    };
    line("state", if is_active { "" } else { "disabled (disable-rule)" });
    line("severity", &format!("{} ({})", rule.severity.score(), rule.severity.level().name()));
    line("category", rule.category.as_deref().unwrap_or_default());
    let correlation = rules.correlations.iter().find(|c| c.rule == number);
    if let Some(correlation) = correlation {
        line("counts", &condition(correlation));
        let groups: Vec<&str> = correlation.group_by.iter().map(|g| &*g.name).collect();
        line("by", &groups.join(", "));
        let inputs = correlation.inputs.iter();
        let inputs = inputs.filter(|input| number_of(rules, **input) != Some(number));
        let inputs: Vec<String> = inputs.map(|input| input_name(rules, *input)).collect();
        line("of", &inputs.join("; "));
        let suppress = window_text(rule.suppress_ns);
        line("yields to", &rule.yields_to.join(", "));
        line("updates", &format!("at most every {suppress} while active, and once when it ends"));
    }
    let takes_it_in = |of: &&Correlation| {
        let of = of.inputs.iter();
        of.filter_map(|input| number_of(rules, *input)).any(|at| at == number)
    };
    let by = rules.correlations.iter().filter(takes_it_in);
    let by: Vec<&str> =
        by.filter(|of| of.rule != number).map(|of| &*rules.rules[of.rule].id).collect();
    line("counted by", &by.join(", "));
    line("att&ck", &threat(rule).join(" "));
    for reference in &rule.references {
        line("source", reference);
    }
    line("file", &format!("{}:{}", rule.origin, rule.line));
}

fn number_of(rules: &RuleSet, input: Input) -> Option<usize> {
    match input {
        Input::Detection(at) => rules.detections.get(at).map(|d| d.rule),
        Input::Correlation(at) => rules.correlations.get(at).map(|c| c.rule),
    }
}

fn input_name(rules: &RuleSet, input: Input) -> String {
    let rule = number_of(rules, input).and_then(|number| rules.rules.get(number));
    rule.map_or_else(String::new, |rule| format!("{} ({})", rule.description, rule.id))
}

/// Ids of ATT&CK.
fn threat(rule: &Rule) -> Vec<&str> {
    let threat = &rule.threat;
    let all = threat.tactics.iter().chain(&threat.techniques);
    all.chain(&threat.subtechniques).map(String::as_str).collect()
}

/// Writes the files; returns existing files with other content, which are only replaced with `force`.
fn export(folder: &Path, force: bool) -> std::io::Result<Vec<PathBuf>> {
    // Filters are not exported as rule files: loading the folder must not enable them.
    fs::create_dir_all(folder.join("filters"))?;
    let rules = builtin::FILES.iter().map(|(name, text)| ((*name).to_owned(), *text));
    let filters = builtin::FILTERS.iter().map(|(_, file, text)| (format!("{file}.off"), *text));
    let mut left = Vec::new();
    for (name, text) in rules.chain(filters) {
        let path = folder.join(name);
        if !export_file(&path, text, force)? {
            left.push(path);
        }
    }
    Ok(left)
}

/// Whether the file has this content now. Never writes in place, because the path may be a symlink.
fn export_file(path: &Path, text: &str, force: bool) -> std::io::Result<bool> {
    let create = || {
        let mut file = fs::File::options().write(true).create_new(true).open(path)?;
        file.write_all(text.as_bytes())
    };
    match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        done => return done.map(|()| true),
    }
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    if is_file && fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(true);
    }
    if force {
        fs::remove_file(path)?;
        create()?;
    }
    Ok(force)
}
