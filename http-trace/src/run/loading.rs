//! The rules of a run: loaded at the start, and reloaded together with the settings on request, on a separate
//! thread so that neither a slow disk nor many rules delay events. If a file is now broken, the rules last
//! loaded from it stay active. Does not interpret rules.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::exit::{Ended, cannot_start, say};
use crate::config::Config;
use crate::driver::{self, Driver};
use crate::messages::counted;
use crate::priority;
use crate::select::Pattern;
use http_trace_detect::diagnose::{Diagnostic, Fault};
use http_trace_detect::parse::{self, Parsed, Source};
use http_trace_detect::rule::{Origin, RuleSet};
use http_trace_detect::{Prepared, Reloaded, builtin, load};

/// The rules of a run, and the thread that reloads them.
#[derive(Debug)]
pub struct Rules {
    known: RuleFiles,
    /// Whether some could not be read at the start, or failed to load in a run that tests rules.
    pub is_faulty: bool,
    /// Whether some could not be read or did not load at the start.
    pub lacks_some: bool,
    /// Whether something in the rules, or of what the settings say of them, has no effect.
    pub has_faults: bool,
    /// Why `--fail-on-alert` could have missed an alert after a reload.
    pub hole_in_gate: Option<&'static str>,
    thread: Option<JoinHandle<ReloadedRules>>,
    /// Whether a reload was requested since the thread started.
    asked: bool,
}

/// The result of a reload.
type ReloadedRules = (Config, Prepared, Loaded);

/// Rule files by path, with the text that last loaded.
type RuleFiles = BTreeMap<PathBuf, File>;

#[derive(Clone, Debug)]
struct File {
    text: String,
    ids: Vec<Arc<str>>,
    errors: usize,
}

#[derive(Debug, Default)]
struct Loaded {
    known: RuleFiles,
    /// Messages for the user.
    said: Vec<String>,
    /// Number of unreadable files and folders.
    unreadable: usize,
    /// Number of errors that prevent rules from loading.
    errors: usize,
    /// Number of rule names in the settings that match no rule.
    unknown: usize,
    /// Whether one of these selects what is written.
    unknown_chosen: bool,
    /// Number of given paths in which there is no rule.
    without_rules: usize,
    /// Why `--fail-on-alert` could miss an alert with these rules; the cause is among the messages.
    hole_in_gate: Option<&'static str>,
}

impl Rules {
    /// Loads the initial rules. Errors in files are reported; their valid rules load.
    pub fn begin(config: &Config) -> Result<(Self, RuleSet), Ended> {
        let (set, loaded) = load(config, &RuleFiles::new());
        loaded.said.iter().for_each(|line| say(line));
        if config.tries_rules && !set.correlations.iter().any(|c| c.alerts) {
            let of: Vec<String> = config.rules.iter().map(|path| shown(path)).collect();
            let of = of.join(", ");
            return Err(cannot_start(format!("no rule to test in {of}")));
        }
        if loaded.unknown_chosen {
            // The run would never write anything.
            return Err(Ended::CannotStart);
        }
        // `rules test` has its own exit status for this.
        if config.fail_on_alert.is_some()
            && !config.tries_rules
            && let Some(why) = loaded.hole_in_gate
        {
            return Err(cannot_start(format!(
                "{why}, so that --fail-on-alert could miss an alert"
            )));
        }
        let rules = Rules {
            lacks_some: loaded.unreadable + loaded.errors > 0,
            is_faulty: loaded.unreadable > 0 || config.tries_rules && loaded.errors > 0,
            has_faults: loaded.unreadable + loaded.errors + loaded.unknown + loaded.without_rules
                > 0,
            known: loaded.known,
            hole_in_gate: None,
            thread: None,
            asked: false,
        };
        Ok((rules, set))
    }

    /// Reads the settings and the rules again if that was asked for, without waiting for it, and sets to
    /// work what was read; whether it did that now.
    pub fn work(&mut self, asked: bool, config: &mut Config, driver: &mut Driver) -> bool {
        let mut loaded_now = false;
        self.asked |= asked;
        if let Some(thread) = self.thread.take_if(|thread| thread.is_finished()) {
            match thread.join() {
                Ok((again, prepared, loaded)) => {
                    loaded.said.iter().for_each(|line| say(line));
                    self.known = loaded.known;
                    self.hole_in_gate = self.hole_in_gate.or(loaded.hole_in_gate);
                    if (&config.filters, &config.sampled) != (&again.filters, &again.sampled) {
                        let outlet = &mut driver.stages.exit.outlet;
                        outlet
                            .written
                            .reloads(&config.filters.join(" "), &config.sampled.join(" "));
                    }
                    *config = again;
                    loaded_now = true;
                    driver.set(config);
                    let reloaded = driver.reload(prepared);
                    if !config.quiet {
                        say(&reload_line(reloaded));
                    }
                }
                Err(_) => say("rules unchanged: the reload failed"),
            }
        }
        // A request made during a reload may concern later changes.
        if self.thread.is_none() && std::mem::take(&mut self.asked) {
            let (config, known) = (config.clone(), self.known.clone());
            let read = move || {
                let (config, said) = settings(config);
                let (rules, mut loaded) = load(&config, &known);
                loaded.said.splice(..0, said);
                let prepared = Prepared::new(rules, driver::detection(&config));
                (config, prepared, loaded)
            };
            match priority::spawn("rules", read) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    say(&format!("rules unchanged: cannot start a thread to read them: {error}"))
                }
            }
        }
        loaded_now
    }
}

/// Re-reads the settings; keeps the old ones on an error. Also returns messages.
fn settings(config: Config) -> (Config, Vec<String>) {
    let (again, [taken, waiting]) = match config.again() {
        Ok(again) => again,
        Err(error) => {
            // The error may have several lines.
            let line = format!("settings unchanged: {error}");
            return (config, vec![line]);
        }
    };
    // A path that is new and cannot be read is a fault of the settings; one that is gone keeps the last rules.
    let new = again.rules.iter().filter(|path| !config.rules.contains(path));
    let mut unreadable =
        new.filter(|path| !load::is_pipe(path)).flat_map(|path| load::read(path).1);
    if let Some(error) = unreadable.next() {
        return (config, vec![format!("settings unchanged: {error}")]);
    }
    let mut said = Vec::new();
    if !waiting.is_empty() {
        said.push(format!("restart to change {}", waiting.join(", ")));
    }
    if !taken.is_empty() && !config.quiet {
        said.push(format!("settings reloaded: {} changed", taken.join(", ")));
    }
    (again, said)
}

/// Why `--fail-on-alert` could miss an alert.
fn hole_in_gate(set: &RuleSet, loaded: &Loaded) -> Option<&'static str> {
    if loaded.unreadable > 0 || loaded.errors > 0 {
        Some("some rules do not load")
    } else if loaded.without_rules > 0 {
        Some("a given file or folder has no rules")
    } else if loaded.unknown > 0 {
        Some("a given rule id matches no rule")
    } else if !set.correlations.iter().any(|c| c.alerts) {
        Some("no rule is active")
    } else {
        None
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn reload_line(reloaded: Reloaded) -> String {
    if reloaded.kept == reloaded.rules && reloaded.gone == 0 {
        return format!("rules read again: {} active, none changed", reloaded.rules);
    }
    let mut line = format!(
        "rules reloaded: {} active, {} unchanged, {} new, {} removed or changed",
        reloaded.rules,
        reloaded.kept,
        reloaded.rules - reloaded.kept,
        reloaded.gone,
    );
    if reloaded.ended > 0 {
        line.push_str(&format!(" ({} ended)", counted(reloaded.ended as u64, "alert")));
    }
    line
}

/// The rules of a run with this configuration, messages about them, and whether all files were read and all rules in
/// them loaded.
pub fn rules_of(config: &Config) -> (RuleSet, Vec<String>, bool) {
    let (rules, loaded) = load(config, &RuleFiles::new());
    let well = loaded.unreadable == 0 && loaded.errors == 0;
    (rules, loaded.said, well)
}

/// Reads and parses the rule files; a pipe only the first time. The last good text of a `known` file is used
/// if it cannot be read now or has new errors.
fn load(config: &Config, known: &RuleFiles) -> (RuleSet, Loaded) {
    let mut loaded = Loaded::default();
    let mut files = Vec::new();
    for path in &config.rules {
        if let Some(file) = known.get(path).filter(|_| load::is_pipe(path)) {
            // The pipe was read to its end.
            files.push(source(path, file));
            continue;
        }
        let (read, unreadable) = load::read(path);
        if unreadable.is_empty() && read.iter().all(Source::is_empty) {
            loaded.without_rules += 1;
        }
        if read.is_empty() && unreadable.is_empty() {
            loaded
                .said
                .push(format!("{} holds no rules: it has no .yml or .yaml file", path.display()));
        }
        files.extend(read);
        for error in unreadable {
            loaded.unreadable += 1;
            let before: Vec<Source> = known
                .iter()
                .filter(|(path, _)| path.starts_with(&error.path))
                .map(|(path, file)| source(path, file))
                .collect();
            loaded.said.push(match before.is_empty() {
                true => error.to_string(),
                false => format!("{error}; the rules last loaded from it stay active"),
            });
            files.extend(before);
        }
    }
    let (mut parsed, mut unknown) = parse(config, &files);
    let found = parsed.diagnostics.clone();
    let mut stay = Vec::new();
    loop {
        let before = stay.len();
        for file in &mut files {
            if let Origin::File(path) = &file.origin
                && let Some(last) = known.get(path)
                && last.text != file.text
                && is_worse(last, &file.origin, &parsed)
            {
                stay.push(shown(path));
                file.text.clone_from(&last.text);
            }
        }
        if stay.len() == before {
            break;
        }
        (parsed, unknown) = parse(config, &files);
    }
    let new = parsed.diagnostics.iter().filter(|d| !found.contains(d));
    for diagnostic in found.iter().chain(new) {
        let is_error = diagnostic.fault == Fault::Error;
        loaded.errors += usize::from(is_error);
        if is_error || !config.quiet {
            loaded.said.push(diagnostic.to_string());
        }
    }
    loaded.said.extend(
        stay.iter().map(|path| format!("{path}: the rules last loaded from it stay active")),
    );
    loaded.unknown = unknown.len();
    loaded.said.extend(unknown);
    let mut chosen = config.rule.named();
    loaded.unknown_chosen = chosen.any(|id| parsed.rules.find(id).is_none());
    loaded.known = known_now(files, &parsed);
    loaded.hole_in_gate = hole_in_gate(&parsed.rules, &loaded);
    (parsed.rules, loaded)
}

fn source(path: &Path, file: &File) -> Source {
    Source { origin: Origin::File(path.to_owned()), text: file.text.clone() }
}

fn is_error_of(diagnostic: &Diagnostic, origin: &Origin) -> bool {
    diagnostic.fault == Fault::Error && diagnostic.origin == *origin
}

/// Whether a file has more errors than before, or has any and lacks a rule that it had.
fn is_worse(last: &File, origin: &Origin, parsed: &Parsed) -> bool {
    let errors = parsed.diagnostics.iter();
    let errors = errors.filter(|d| is_error_of(d, origin)).count();
    let has = |id: &Arc<str>| {
        let mut rules = parsed.rules.rules.iter();
        rules.any(|rule| rule.id == *id && rule.origin == *origin)
    };
    errors > last.errors || errors > 0 && !last.ids.iter().all(has)
}

/// The current files with the rules that loaded and the number of errors of each.
fn known_now(files: Vec<Source>, parsed: &Parsed) -> RuleFiles {
    let mut known = RuleFiles::new();
    for file in files {
        if let Origin::File(path) = file.origin {
            let (text, ids) = (file.text, Vec::new());
            known.insert(path, File { text, ids, errors: 0 });
        }
    }
    for rule in &parsed.rules.rules {
        if let Origin::File(path) = &rule.origin
            && let Some(file) = known.get_mut(path)
        {
            file.ids.push(Arc::clone(&rule.id));
        }
    }
    for diagnostic in &parsed.diagnostics {
        if let Origin::File(path) = &diagnostic.origin
            && diagnostic.fault == Fault::Error
            && let Some(file) = known.get_mut(path)
        {
            file.errors += 1;
        }
    }
    known
}

/// Parses built-in and file rules as changed by the configuration. Also returns a message for each rule that
/// the configuration names and that is not loaded.
fn parse(config: &Config, files: &[Source]) -> (Parsed, Vec<String>) {
    let mut sources = if config.no_builtin_rules { Vec::new() } else { builtin::sources() };
    sources.extend_from_slice(files);
    config.tuning.extend(&mut sources);
    let left_out = RefCell::new(BTreeSet::new());
    let globs = config.disable_rule.iter().filter(|d| d.is_glob());
    let globbed = alerting(&sources, &globs.collect::<Vec<_>>());
    let disabled = |id: &str| {
        let given = config.disable_rule.iter().any(|d| d.text() == id);
        if given {
            left_out.borrow_mut().insert(id.to_owned());
        }
        given || globbed.contains(id)
    };
    let mut parsed = parse::parse(&sources, &disabled);
    let changed = config.tuning.apply(&mut parsed.rules);
    let left_out = left_out.into_inner();
    let rules = &parsed.rules;
    let changed = changed.iter();
    let mut unknown: Vec<String> = changed.map(|id| no_such("detect.rules", id, rules)).collect();
    let is_of_any = |pattern: &&Pattern| match pattern.is_glob() {
        true => globbed.iter().any(|id| pattern.matches(id.as_bytes())),
        false => left_out.contains(pattern.text()),
    };
    let disabled = config.disable_rule.iter().filter(|of| !is_of_any(of));
    unknown.extend(disabled.map(|of| no_such("disable-rule", of.text(), rules)));
    let selected = config.rule.named();
    let selected = selected.filter(|id| rules.find(id).is_none());
    unknown.extend(selected.map(|id| no_such("rule", id, rules)));
    (parsed, unknown)
}

/// Ids of rules that raise alerts and match a pattern. Other rules stay loaded, because correlations may use
/// them.
fn alerting(sources: &[Source], globs: &[&Pattern]) -> BTreeSet<String> {
    if globs.is_empty() {
        return BTreeSet::new();
    }
    let rules = parse::parse(sources, &|_| false).rules;
    let alerting = rules.correlations.iter().filter(|c| c.alerts);
    let ids = alerting.map(|c| rules.rules[c.rule].id.to_string());
    ids.filter(|id| globs.iter().any(|glob| glob.matches(id.as_bytes()))).collect()
}

fn no_such(option: &str, id: &str, rules: &RuleSet) -> String {
    let hint = match rules.nearest(id) {
        Some(near) => format!("did you mean '{near}'?"),
        None => "'http-trace rules list' lists the ids".to_owned(),
    };
    format!("{option} '{id}': no loaded rule has this id; {hint}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::KEYS;
    use crate::config::layers::Layers;

    fn rule(name: &str, status: &str) -> String {
        format!(
            "title: {name}\nname: {name}\nlogsource: {{category: webserver}}\n\
             detection: {{s: {{sc-status: {status}}}, condition: s}}\n"
        )
    }

    #[test]
    fn a_reload_with_rules_that_are_not_there_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, good, other] =
            ["c.toml", "r.yml", "other.yml"].map(|name| folder.path().join(name));
        let write = |rules: &Path| {
            fs::write(&file, format!("status = \"4xx\"\nrules = [{rules:?}]\n")).expect("written");
        };
        fs::write(&good, rule("a", "404")).expect("written");
        write(&good);
        let layers = Layers::gather(KEYS, vec![], &|_| None, Some(&file)).expect("good");
        let config = Config::from_layers(&layers).expect("good");
        write(&other);
        let (again, said) = settings(config.clone());
        assert_eq!(again.rules, std::slice::from_ref(&good));
        assert!(said[0].starts_with("settings unchanged: ") && said.len() == 1, "{said:?}");
        // Once it is there, it is taken; one that was taken and is gone later is no fault of the settings.
        fs::write(&other, rule("b", "404")).expect("written");
        let (again, _) = settings(config);
        assert_eq!(again.rules, std::slice::from_ref(&other));
        fs::remove_file(&other).expect("removed");
        let (_, said) = settings(again);
        assert!(said.is_empty(), "{said:?}");
    }

    /// File text, rules active after the reload, and whether the old text is kept.
    #[test]
    fn a_file_with_new_faults_stays_as_it_was_last_loaded() {
        let two = format!("{}---\n{}", rule("a", "404"), rule("b", "500"));
        let one_bad = two.replace("sc-status: 500", "sc-statsu: 500");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("r.yml");
        let other = folder.path().join("other.yml");
        fs::write(&other, rule("other", "403")).expect("written");
        let named = [&path, &other].map(|path| path.to_str().expect("UTF-8").to_owned());
        let typed = vec![("rules", named.to_vec()), ("no-builtin-rules", vec!["true".to_owned()])];
        let layers = Layers::gather(KEYS, typed, &|_| None, None).expect("good");
        let config = Config::from_layers(&layers).expect("good");
        for (first, now, expected, stays) in [
            (&two, Some("title: [".to_owned()), vec!["a", "b"], true),
            (&two, Some(one_bad.clone()), vec!["a", "b"], true),
            (&two, None, vec!["a", "b"], true),
            (&two, Some(rule("b", "500")), vec!["b"], false),
            (&two, Some(rule("c", "500")), vec!["c"], false),
            (&two, Some(String::new()), vec![], false),
            // Errors that the file already had do not block its other changes.
            (&one_bad, Some(format!("{one_bad}---\n{}", rule("c", "1"))), vec!["a", "c"], false),
            (&one_bad, Some(two.clone()), vec!["a", "b"], false),
            (&one_bad, Some(one_bad.replace("404", "x|y: [")), vec!["a"], true),
        ] {
            fs::write(&path, first).expect("written");
            let (_, loaded) = load(&config, &RuleFiles::new());
            match &now {
                Some(text) => fs::write(&path, text).expect("written"),
                None => fs::remove_file(&path).expect("removed"),
            }
            let (rules, again) = load(&config, &loaded.known);
            let mut ids: Vec<&str> = rules.rules.iter().map(|rule| &*rule.id).collect();
            ids.retain(|id| *id != "other");
            ids.sort_unstable();
            assert_eq!(ids, expected, "{now:?}");
            assert!(rules.find("other").is_some());
            let said = again.said.join("\n");
            let kept = said.contains("the rules last loaded from it stay active");
            assert_eq!(kept, stays, "{now:?}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_gone_from_its_folder_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rules");
        fs::create_dir(&path).expect("made");
        for name in ["a", "b"] {
            fs::write(path.join(format!("{name}.yml")), rule(name, "404")).expect("written");
        }
        let named = path.to_str().expect("UTF-8").to_owned();
        let typed = vec![("rules", vec![named]), ("no-builtin-rules", vec!["true".to_owned()])];
        let layers = Layers::gather(KEYS, typed, &|_| None, None).expect("good");
        let config = Config::from_layers(&layers).expect("good");
        let (_, loaded) = load(&config, &RuleFiles::new());
        fs::remove_file(path.join("b.yml")).expect("removed");
        let (rules, loaded) = load(&config, &loaded.known);
        assert!(rules.find("a").is_some() && rules.find("b").is_none());
        // Now the folder itself is unreadable.
        fs::remove_dir_all(&path).expect("removed");
        let (rules, loaded) = load(&config, &loaded.known);
        assert!(rules.find("a").is_some() && rules.find("b").is_none());
        assert_eq!(loaded.unreadable, 1);
    }
}
