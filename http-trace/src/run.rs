//! A run from its configuration to its exit status: opens the source and the outputs, turns one
//! into the other, and says on standard error how it began and how it ended.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::config::{Config, Source};
use crate::engine::Engine;
use crate::own::OwnSockets;
use crate::sink::writer::WhenFull;
use crate::state::Keeper;
use crate::state::file::Taken;
use crate::summary::counted;
use crate::text::lines_for_terminal;
use http_trace_detect::Restored;
use http_trace_detect::snapshot::BadSnapshot;

mod clash;
pub mod hits;
#[cfg(feature = "live")]
mod live;
mod loading;
mod pipe;
mod recorded;
mod replay;
pub mod rules;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was there was written.
    Done,
    /// Something was lost by us, or a file was unreadable or cut.
    Lossy,
    /// It could not start.
    CannotStart,
    /// There was an alert of the level that `--fail-on-alert` names.
    Alerted,
}

impl Ended {
    /// The exit status.
    pub const fn status(self) -> u8 {
        match self {
            Ended::Done => 0,
            Ended::Lossy => 1,
            Ended::CannotStart => 2,
            Ended::Alerted => 3,
        }
    }
}

/// Requests to stop and to read the rules again, shared with the handler of signals.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    stop: Arc<AtomicBool>,
    hung_up: Arc<AtomicBool>,
    rules: Arc<loading::Rules>,
    /// Whether there was a terminal at the start whose loss ends the run.
    had_terminal: bool,
}

impl Stop {
    /// Asks to stop, writing what has been read.
    pub fn request(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked.
    pub fn is_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Stops on SIGINT and SIGTERM; the second of them ends the process at once. SIGHUP asks for
    /// the rules to be read again, or to stop if it comes since the terminal is gone.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn on_signals(&mut self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        for signal in [SIGINT, SIGTERM] {
            let flag = &self.stop;
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, flag.clone())?;
            signal_hook::flag::register(signal, flag.clone())?;
        }
        self.had_terminal = has_terminal();
        signal_hook::flag::register(SIGHUP, self.hung_up.clone())?;
        Ok(())
    }

    /// Whether the rules are to be read again; true once for each time that was asked.
    fn wants_reload(&self) -> bool {
        // Mostly false: looked at without a write.
        if !self.hung_up.load(Ordering::Relaxed) || !self.hung_up.swap(false, Ordering::Relaxed) {
            return false;
        }
        if self.had_terminal && !has_terminal() {
            self.request();
            return false;
        }
        true
    }
}

/// Whether the process has a controlling terminal that is still there (tty(4)).
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Says something of the run on standard error.
pub fn say(line: &str) {
    // Names of files, interfaces and rules are in it, which others may have given.
    let line = lines_for_terminal(line);
    // Nobody can be told when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "http-trace: {line}");
}

/// Runs until the source ends, the outputs have enough, or `stop` is requested.
pub fn run(config: &Config, stop: &Stop) -> Ended {
    config.warnings.iter().for_each(|line| say(line));
    match &config.source {
        Source::Captures(paths) => replay::run(config, paths, stop),
        Source::Recorded(paths) => recorded::run(config, paths, stop),
        #[cfg(feature = "live")]
        Source::Live => live::run(config, stop),
        #[cfg(not(feature = "live"))]
        Source::Live => reads_captures_only(),
    }
}

#[cfg(not(feature = "live"))]
fn reads_captures_only() -> Ended {
    say(
        "this build only reads captures: name some with -r FILE (tracing live needs Linux and a \
         build with the feature 'live')",
    );
    Ended::CannotStart
}

/// What is due from time to time beside the source's own.
fn upkeep(config: &Config, engine: &mut Engine, stop: &Stop) {
    loading::work(config, engine, stop);
    if let Some(line) = engine.keep_state() {
        say(&line);
    }
    engine.output_news().iter().for_each(|line| say(line));
}

/// What a run's records go through, with the state that `--state` kept.
fn open(
    config: &Config,
    stop: &Stop,
    when_full: WhenFull,
    own: &OwnSockets,
) -> Result<Engine, Ended> {
    if let Some(why) = clash::find(config) {
        say(&why);
        return Err(Ended::CannotStart);
    }
    let rules = loading::begin(config, stop)?;
    match Engine::open(config, rules, when_full, own) {
        Ok(mut engine) => {
            restore(config, &mut engine);
            Ok(engine)
        }
        Err(error) => {
            say(&error.to_string());
            Err(Ended::CannotStart)
        }
    }
}

/// Goes on from the file of `--state` and keeps it from now on. A file that is of no use is named
/// and moved aside; one that cannot be moved is left alone, and nothing is kept then.
fn restore(config: &Config, engine: &mut Engine) {
    let Some(path) = &config.state else {
        return;
    };
    let name = path.display();
    let (taken, read) = Taken::take(path);
    let read = match read {
        Ok(None) => None,
        // Made for it, and never written.
        Ok(Some(bytes)) if bytes.is_empty() => None,
        Ok(Some(bytes)) => match engine.restore(&bytes, now_ns(config)) {
            Err(BadSnapshot::NotOurs) => {
                say(&format!(
                    "no state is kept in {name}: {}; name another file, or remove this one",
                    BadSnapshot::NotOurs
                ));
                return engine.keep_nothing();
            }
            restored => Some(restored.map_err(|why| why.to_string())),
        },
        Err(why) => Some(Err(why.to_string())),
    };
    let Some(mut taken) = taken else {
        let why = read.and_then(Result::err).unwrap_or_default();
        say(&format!("no state is kept in {name}: {why}"));
        return engine.keep_nothing();
    };
    match read {
        Some(Ok(restored)) if !config.quiet => say(&went_on(&name.to_string(), restored)),
        None | Some(Ok(_)) => {}
        Some(Err(why)) => match taken.move_aside() {
            Ok(aside) => say(&format!(
                "the state {name} is not used: {why}; it is {} now",
                aside.display()
            )),
            Err(error) => {
                say(&format!(
                    "the state {name} is not used: {why}; none is kept, since it cannot be moved \
                     aside: {error}"
                ));
                return engine.keep_nothing();
            }
        },
    }
    engine.keep(Keeper::new(taken, config.state_interval, config.state_size));
}

/// The time by the clock of this host (Unix ns), where event time is that.
fn now_ns(config: &Config) -> u64 {
    if !matches!(config.source, Source::Live) {
        return u64::MAX;
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(u64::MAX, |since| since.as_nanos() as u64)
}

fn went_on(name: &str, restored: Restored) -> String {
    let mut line = format!(
        "{name}: {} go on, {} open",
        counted(restored.keys as u64, "counter"),
        counted(restored.open as u64, "alert"),
    );
    for (count, what) in [
        (restored.changed, "of rules that are gone or changed"),
        (restored.no_room, "beyond detect-memory"),
        (restored.future, "that counted later than it is now"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {what} left out"));
        }
    }
    line
}

/// The start line: where packets come from and what is limited.
fn started(config: &Config, from: &str) {
    if config.quiet {
        return;
    }
    let mut line = from.to_owned();
    let scope = config.scope();
    if !scope.is_unlimited() {
        line.push_str(&format!("; only {scope}"));
    }
    if let Some(time) = config.duration {
        line.push_str(&format!("; for {time:?}"));
    }
    if let Some(count) = config.count {
        let are = if count == 1 { "is" } else { "are" };
        line.push_str(&format!(
            "; until {} {are} written",
            counted(count, "response")
        ));
    }
    say(&line);
    if config.show_secrets {
        say("secrets are shown: cookies, credentials and tokens are written as they were sent");
    }
    let without_effect = config.without_effect();
    if !without_effect.is_empty() {
        say(&format!(
            "without effect here: {}",
            without_effect.join(", ")
        ));
    }
}

/// Closes the engine and says how the run went; `lines` are the source's own.
fn finish(
    config: &Config,
    stop: &Stop,
    engine: Engine,
    lines: Vec<String>,
    problems: bool,
) -> Ended {
    let problems = problems || loading::was_faulty(stop);
    let finished = engine.finish();
    for failure in finished.written.failed.iter().chain(&finished.kept.failure) {
        say(failure);
    }
    if !config.quiet {
        for line in finished
            .kept
            .said
            .iter()
            .chain(&finished.lines(!matches!(config.source, Source::Recorded(_))))
            .chain(&lines)
        {
            say(line);
        }
        if config.verbose > 0 {
            say(&finished.counters());
        }
    }
    let not_kept = finished.keeps_nothing || finished.kept.failure.is_some();
    let worst = finished.written.worst.map(|severity| severity.level());
    if config
        .fail_on_alert
        .is_some_and(|level| worst >= Some(level))
    {
        Ended::Alerted
    } else if problems || not_kept || finished.written.is_lossy() {
        Ended::Lossy
    } else {
        Ended::Done
    }
}
