//! A run from its configuration to its exit status: opens the source and the outputs, turns one
//! into the other, and says on standard error how it began and how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::config::Config;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was there was written.
    Done,
    /// Something was lost by us, or a file was unreadable or cut.
    Lossy,
    /// It could not start.
    CannotStart,
}

impl Ended {
    /// The exit status (3 is kept for alerts).
    pub const fn status(self) -> u8 {
        match self {
            Ended::Done => 0,
            Ended::Lossy => 1,
            Ended::CannotStart => 2,
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
    eprintln!("http-trace: {line}");
}

/// What limits a run and how it writes, for the start line.
pub fn described(config: &Config) -> String {
    let mut parts = Vec::new();
    if !config.scope.is_unlimited() {
        parts.push(format!("only {}", config.scope));
    }
    if let Some(time) = config.duration {
        parts.push(format!("for {time:?}"));
    }
    if let Some(count) = config.count {
        parts.push(format!("until {count} are written"));
    }
    if config.secrets.is_none() {
        parts.push("secrets are shown".to_owned());
    }
    if !config.without_effect.is_empty() {
        parts.push(format!(
            "without effect here: {}",
            config.without_effect.join(", ")
        ));
    }
    parts.join("; ")
}

/// Runs until the source ends, the outputs have enough, or `stop` is requested.
pub fn run(config: &Config, stop: &Stop) -> Ended {
    let _ = (config, stop);
    say("cannot start: this build has no pipeline yet");
    Ended::CannotStart
}
