//! A run between start and end: the driver with its rules and state. Knows nothing about where events come
//! from.

use std::path::PathBuf;

use super::changes::Changes;
use super::clash;
use super::exit::{Ended, Reading, cannot_start, no_thread, say};
use super::loading::Rules;
use super::stop::Stop;
use crate::ban::{Bans, Plan};
use crate::capture::error::shown;
use crate::config::{Config, Source};
use crate::driver::{Driver, detection};
use crate::messages::counted;
use crate::own_sockets::OwnSockets;
use crate::sink::writer::WhenFull;
use crate::state_file::Keeper;
#[cfg(feature = "live")]
use crate::state_file::inventory::{self, InventoryKeeper};
use crate::state_file::taken::Taken;
use crate::sync::unix_ns;
use http_trace_detect::snapshot::BadSnapshot;
use http_trace_detect::{Detector, Restored};
use http_trace_model::event::{Loss, LossUnit, NOT_RUNNING};
use http_trace_model::shown::span;

/// A run in progress; see the module.
pub struct Session {
    pub config: Config,
    /// Processes records and events.
    pub driver: Driver,
    pub stop: Stop,
    rules: Rules,
    changes: Option<Changes>,
    /// Read errors, to be printed at the end where they are not overlooked.
    pub problems: Vec<String>,
    /// Recorded lines that were read, be they events or not.
    pub lines: u64,
    /// Those of them that were malformed.
    pub malformed: u64,
    /// Logs that broke off.
    pub broken: u64,
    /// Segments truncated by the snap length, and how many of their bytes a capture lacks.
    pub truncated: [u64; 2],
    /// Until when earlier runs with this `--state` have traced, Unix ns.
    traced_until_ns: Option<u64>,
}

/// Slow preparation that needs no privileges, done beside the loading of programs so that records need not
/// wait.
#[derive(Debug)]
pub struct Ready {
    rules: Rules,
    detector: Detector,
}

impl Ready {
    /// Loads the rules.
    pub fn new(config: &Config) -> Result<Self, Ended> {
        let (rules, set) = Rules::begin(config)?;
        let detector = Detector::new(set, detection(config));
        Ok(Ready { rules, detector })
    }
}

impl Session {
    /// Opens the outputs and restores the file of `--state`.
    pub fn open(
        config: &Config,
        stop: &Stop,
        ready: Ready,
        when_full: WhenFull,
        own: &OwnSockets,
    ) -> Result<Self, Ended> {
        stop.watch().map_err(|error| cannot_start(no_thread(error)))?;
        let Ready { rules, detector } = ready;
        clash::shared(config).for_each(|line| say(&line));
        let mut driver = Driver::open(config, detector, when_full, own).map_err(cannot_start)?;
        if when_full == WhenFull::Wait {
            driver.stages.exit.outlet.end_waits_with(stop.flag());
        }
        if let Some(plan) = config.ban_plan() {
            let live = config.source == Source::Live;
            let line = bans_line(&plan, live);
            let bans = Bans::open(plan, config.trusted(), live)
                .map_err(|why| cannot_start(format!("cannot ban clients: {why}")))?;
            if !config.quiet {
                say(&line);
            }
            driver.stages.exit.bans = Some(bans);
        }
        let traced_until_ns = restore(config, &mut driver).unwrap_or_else(|why| {
            say(&why);
            driver.keeps_nothing = true;
            None
        });
        let changes =
            watch(config).map_err(|why| cannot_start(format!("files cannot be watched: {why}")))?;
        Ok(Session {
            config: config.clone(),
            driver,
            stop: stop.clone(),
            rules,
            changes,
            problems: Vec::new(),
            lines: 0,
            malformed: 0,
            broken: 0,
            truncated: [0; 2],
            traced_until_ns,
        })
    }

    /// [`Session::open`] for files, which can wait for a slow output.
    pub fn of_files(config: &Config, stop: &Stop) -> Result<Self, Ended> {
        let (ready, own) = (Ready::new(config)?, OwnSockets::default());
        Session::open(config, stop, ready, WhenFull::Wait, &own)
    }

    /// Reports what crossed between an earlier run with this `--state` and this one, which traces since then (Unix
    /// ns): nobody knows how much.
    #[cfg_attr(not(feature = "live"), expect(dead_code, reason = "what is recorded has no gap"))]
    pub fn add_gap(&mut self, since_ns: u64) {
        if let Some(until_ns) = self.traced_until_ns.filter(|until_ns| *until_ns < since_ns) {
            self.driver.pipeline.add_loss(&Loss {
                count: 1,
                unit: LossUnit::Hooks,
                place: NOT_RUNNING,
                since_ns: until_ns,
                until_ns: since_ns,
                detail: Some("no run with this --state".into()),
            });
        }
    }

    /// Periodic work common to all sources: rules, state, messages from outputs.
    pub fn upkeep(&mut self) {
        let have_changed = self.changes.as_ref().is_some_and(Changes::any);
        let asked = self.stop.wants_reload() || have_changed;
        let is_loaded = self.rules.work(asked, &mut self.config, &mut self.driver);
        if let Some(changes) = self.changes.as_ref().filter(|_| is_loaded) {
            changes.loaded(&self.config);
        }
        if let Some(line) = self.driver.keep_state() {
            say(&line);
        }
        self.driver.output_news().iter().for_each(|line| say(line));
    }

    /// Closes the driver and prints the summary, followed by the source's own `lines`.
    pub fn finish(self, lines: Vec<String>, reading: Reading) -> Ended {
        let has_lines = self.lines > 0;
        let Session { config, mut driver, rules, problems, malformed, broken, truncated, .. } =
            self;
        driver.stages.exit.outlet.unread(malformed, problems.len() as u64 + broken);
        let finished = driver.finish();
        if !config.quiet {
            let said = finished.kept.said.iter().chain(&finished.inventory.said);
            said.for_each(|line| say(line));
            // If nothing could be read there is nothing else to report.
            let is_read = problems.is_empty() || !finished.is_empty();
            let summary = is_read.then(|| finished.lines(&config));
            for line in summary.iter().flatten().chain(&lines).filter(|_| is_read) {
                say(line);
            }
        }
        let not_kept = [&finished.kept.failure, &finished.inventory.failure];
        let not_kept = not_kept.into_iter().flatten();
        let failures = finished.written.failed.iter().chain(not_kept.clone());
        failures.chain(&problems).for_each(|line| say(line));
        // With --count, the rest was not to be read.
        let is_closed =
            finished.had_enough && config.count.is_none_or(|count| finished.written.events < count);
        let is_unread = is_closed && config.source != Source::Live;
        let is_cut = reading != Reading::Whole || is_unread || !problems.is_empty();
        if finished.written.failed.is_empty() && !config.quiet {
            finished.written.readers_gone(is_closed).iter().for_each(|line| say(line));
        }
        if !config.quiet && (problems.is_empty() || !finished.is_empty()) {
            say(&finished.verdict(is_cut, has_lines, truncated, rules.lacks_some));
        }
        let problems = reading != Reading::Whole || rules.is_faulty || !problems.is_empty();
        let not_kept = finished.keeps_nothing || not_kept.count() > 0;
        let worst = finished.written.worst.map(|severity| severity.level());
        let level = config.fail_on_alert;
        let hole_in_gate = match reading {
            Reading::Interrupted => Some("reading was interrupted"),
            _ if is_unread => Some("the output was closed before all input was read"),
            _ => rules.hole_in_gate,
        };
        if level.is_some_and(|level| worst >= Some(level)) {
            Ended::Alerted
        } else if let Some(why) = level.and(hole_in_gate) {
            say(&format!("{why}, so that --fail-on-alert may have missed an alert"));
            Ended::Unproven
        } else if problems || not_kept || finished.written.is_lossy() {
            Ended::Lossy
        } else {
            Ended::Done
        }
    }
}

/// With `--watch-config`, the thread that sees changes.
fn watch(config: &Config) -> std::io::Result<Option<Changes>> {
    let is_asked = config.watch_config && config.source == Source::Live;
    is_asked.then(|| Changes::watch(config)).transpose()
}

/// Who is banned, or would be.
fn bans_line(plan: &Plan, live: bool) -> String {
    let (level, set) = (plan.level.name(), &plan.set);
    match plan.lasts.filter(|_| live) {
        Some(lasts) => format!(
            "banning clients of {level} and higher alerts for {} in {set}; the eBPF programs only \
             observe",
            span(lasts.as_secs())
        ),
        None => format!(
            "bans are a dry run: clients of {level} and higher alerts would be added to {set}{}",
            if live { "; give --ban-for TIME to ban them" } else { "" }
        ),
    }
}

/// Formats `a, b and 3 more`: at most `most` names.
pub fn some_of(names: impl ExactSizeIterator<Item = String>, most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let named = names.take(most).collect::<Vec<_>>().join(", ");
    match more {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// Formats `reading a.pcap, b.pcap and 3 more`.
pub fn reading(paths: &[PathBuf]) -> String {
    let names = paths.iter();
    let names = names.map(|path| shown(&path.display().to_string()).to_owned());
    format!("reading {}", some_of(names, 3))
}

/// Prints the start line: the source and its limits.
pub fn started(config: &Config, from: &str) {
    if config.quiet {
        return;
    }
    let mut line = from.to_owned();
    let scope = config.scope();
    if !scope.is_unlimited() {
        line.push_str(&format!("; only {scope}"));
    }
    let is_recorded = matches!(config.source, Source::Recorded(_));
    if let Some(time) = config.duration.filter(|_| !is_recorded) {
        line.push_str(&format!("; for {time:?}"));
    }
    if let Some(count) = config.count {
        let are = if count == 1 { "is" } else { "are" };
        line.push_str(&format!("; until {} {are} written", counted(count, "response")));
    }
    say(&line);
    if config.show_secrets {
        say("secrets are shown: cookies, credentials and tokens are written as sent");
    }
    let without_effect = config.without_effect();
    if !without_effect.is_empty() {
        say(&format!("no effect in this run: {}", without_effect.join(", ")));
    }
}

/// Restores the file of `--state` and keeps it from now on. An unusable file is moved aside with a message.
/// Returns until when earlier runs have traced, Unix ns.
///
/// # Errors
/// Why no state is kept; the file is left alone.
fn restore(config: &Config, driver: &mut Driver) -> Result<Option<u64>, String> {
    let Some(path) = &config.state else { return Ok(None) };
    let name = path.display();
    let is_live = matches!(config.source, Source::Live);
    let now_ns = unix_ns().filter(|_| is_live).unwrap_or(u64::MAX);
    let (taken, read) = Taken::take(path);
    let restored = match read {
        // Created by an earlier run but never written.
        Ok(bytes) if bytes.as_ref().is_none_or(Vec::is_empty) => Ok(None),
        Ok(bytes) => match driver.stages.detector.restore(&bytes.unwrap_or_default(), now_ns) {
            Err(BadSnapshot::NotOurs) => {
                return Err(format!(
                    "no state is kept in {name}: {}; name another file or remove this one",
                    BadSnapshot::NotOurs
                ));
            }
            restored => restored.map(Some).map_err(|why| why.to_string()),
        },
        Err(why) => Err(why.to_string()),
    };
    let Some(mut taken) = taken else {
        let why = restored.err().unwrap_or_default();
        return Err(format!("no state is kept in {name}: {why}"));
    };
    let mut until_ns = None;
    match restored {
        Ok(Some(restored)) => {
            until_ns = Some(restored.until_ns).filter(|until_ns| *until_ns > 0);
            if !config.quiet {
                say(&went_on(&name.to_string(), restored));
            }
        }
        Ok(None) => {}
        Err(why) => {
            let not_used = format!("state {name} not used: {why}");
            let aside = taken.move_aside().map_err(|error| {
                format!("{not_used}; it cannot be moved aside, so no state is kept: {error}")
            })?;
            say(&format!("{not_used}; moved to {}", aside.display()));
        }
    }
    driver.keeper = Some(Keeper::new(taken, config.state_interval, config.state_size));
    #[cfg(feature = "live")]
    keep_inventory(config, path, driver);
    Ok(until_ns)
}

/// Also keeps the inventory, unless the run only tests rules.
#[cfg(feature = "live")]
fn keep_inventory(config: &Config, state: &std::path::Path, driver: &mut Driver) {
    if config.tries_rules {
        return;
    }
    let path = inventory::path(state);
    let asked = inventory::KeeperSettings {
        endpoints: config.endpoints(),
        every: config.state_interval,
        keep: config.inventory_keep,
        bytes: config.inventory_size as u64,
        waits: config.source != Source::Live,
    };
    match InventoryKeeper::open(path.clone(), asked) {
        Ok((keeper, said)) => {
            said.iter().for_each(|line| say(line));
            driver.stages.exit.inventory = Some(keeper);
        }
        Err(why) => {
            say(&format!("no inventory is kept in {}: {why}", path.display()));
            driver.keeps_nothing = true;
        }
    }
}

fn went_on(name: &str, restored: Restored) -> String {
    let mut line = format!(
        "{name}: {} restored, {} open",
        counted(restored.keys as u64, "counter"),
        counted(restored.open as u64, "alert"),
    );
    for (count, what) in [
        (restored.changed, "of removed or changed rules"),
        (restored.no_room, "beyond detect-memory"),
        (restored.future, "with times in the future"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {what} left out"));
        }
    }
    line
}
