//! A run from its configuration to its exit status: opens the source and the outputs, turns one
//! into the other, and says on standard error how it began and how it ended.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::{Config, Source};
use crate::detect::diagnose::Fault;
use crate::detect::rule::RuleSet;
use crate::detect::{builtin, load, parse};
use crate::engine::Engine;

#[cfg(feature = "live")]
mod live;
pub mod recorded;
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

/// A request to stop, shared with the handler of signals.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks to stop, writing what has been read.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Stops on SIGINT and SIGTERM; the second of them ends the process at once.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        for signal in [SIGINT, SIGTERM] {
            let flag = &self.0;
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, flag.clone())?;
            signal_hook::flag::register(signal, flag.clone())?;
        }
        Ok(())
    }
}

/// Says something of the run on standard error.
pub fn say(line: &str) {
    // Nobody can be told when standard error is closed.
    let _ = writeln!(std::io::stderr().lock(), "http-trace: {line}");
}

/// Runs until the source ends, the outputs have enough, or `stop` is requested.
pub fn run(config: &Config, stop: &Stop) -> Ended {
    match &config.source {
        Source::Captures(paths) => replay::run(config, paths, stop),
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

/// The rules that a run is to work with. What is wrong with files is said; the good rules of them
/// load.
fn rule_set(config: &Config) -> RuleSet {
    let mut sources = if config.detect.built_in {
        builtin::sources()
    } else {
        Vec::new()
    };
    for path in &config.detect.rules {
        let (read, unreadable) = load::read(path);
        sources.extend(read);
        for error in unreadable {
            say(&error.to_string());
        }
    }
    let disabled = |id: &str| config.detect.disabled.iter().any(|d| d == id);
    let parsed = parse::parse(&sources, &disabled);
    for diagnostic in &parsed.diagnostics {
        if diagnostic.fault == Fault::Error || !config.quiet {
            say(&diagnostic.to_string());
        }
    }
    parsed.rules
}

/// The start line: where packets come from and what is limited.
fn started(config: &Config, from: &str) {
    if config.quiet {
        return;
    }
    let mut line = from.to_owned();
    if !config.scope.is_unlimited() {
        line.push_str(&format!("; only {}", config.scope));
    }
    if let Some(time) = config.duration {
        line.push_str(&format!("; for {time:?}"));
    }
    if let Some(count) = config.count {
        line.push_str(&format!("; until {count} responses are written"));
    }
    say(&line);
    if config.secrets.is_none() {
        say("secrets are shown: cookies, credentials and tokens are written as they were sent");
    }
    if !config.without_effect.is_empty() {
        say(&format!(
            "without effect here: {}",
            config.without_effect.join(", ")
        ));
    }
}

/// Closes the engine and says how the run went; `lines` are the source's own.
fn finish(config: &Config, engine: Engine, lines: Vec<String>, problems: bool) -> Ended {
    let finished = engine.finish();
    for failure in &finished.written.failed {
        say(failure);
    }
    if !config.quiet {
        for line in finished.lines().iter().chain(&lines) {
            say(line);
        }
        if config.verbose > 0 {
            say(&finished.counters());
        }
    }
    let worst = finished.written.worst.map(|severity| severity.level());
    if config
        .detect
        .fail_on
        .is_some_and(|level| worst >= Some(level))
    {
        Ended::Alerted
    } else if problems || finished.written.is_lossy() {
        Ended::Lossy
    } else {
        Ended::Done
    }
}
