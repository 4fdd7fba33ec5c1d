//! A run from its configuration to its exit status: opens the source and the outputs, and says on
//! standard error how it began and how it ended.
//!
//! # Layout
//! - `exit`: exit status and standard error. `stop`: signals.
//! - [`doctor`]: what this host lets the agent do.
//! - `limits`: what the system allows.
//! - `changes`: files of settings and rules that change.
//! - `clash`: outputs that would overwrite an input.
//! - `confine`: capabilities and the user that the rest of a run needs.
//! - `listen`: the port of `--listen`.
//! - `loading`: rules, read at the start and again on SIGHUP.
//! - `service`: what a service manager is told.
//! - `session`: the engine with rules and state, whatever the source.
//! - `pipe`: sources whose reading may block.
//! - `progress`: how far the reading of captures is.
//! - `replay`, `recorded`, `live`: the three sources.
//! - [`inventory`]: the report of what earlier runs kept.
//! - [`rules`], `hits`: commands about rules. [`bans`]: those about bans.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

pub mod bans;
mod changes;
mod clash;
mod confine;
#[cfg(feature = "live")]
pub mod doctor;
mod exit;
mod hits;
pub mod inventory;
mod limits;
#[cfg(feature = "live")]
mod listen;
#[cfg(feature = "live")]
mod live;
mod loading;
mod pipe;
mod progress;
mod recorded;
mod replay;
pub mod rules;
#[cfg(feature = "live")]
mod service;
mod session;
mod stop;

pub use self::exit::{Ended, say};
pub use self::stop::Stop;
use crate::capture::magic::{self, Kind};
use crate::config::{Config, Source};

/// What can be known to hinder a run before it opens anything; warnings are said.
///
/// # Errors
/// In words.
pub fn check(config: &Config) -> Result<(), String> {
    config.warnings.iter().for_each(|line| say(line));
    limits::check(config)?.iter().for_each(|line| say(line));
    confine::user(config)?;
    clash::find(config).map_or(Ok(()), Err)
}

/// Whether files are captures, and not recorded events.
///
/// # Errors
/// When there are both.
pub fn are_captures(files: &[PathBuf]) -> Result<bool, String> {
    let is_capture = |path: &&PathBuf| {
        let mut first = [0; magic::LEN];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
        path.is_dir() || read.is_ok() && !matches!(Kind::of(first), Kind::Text | Kind::Unknown)
    };
    match files.iter().filter(is_capture).count() {
        0 => Ok(false),
        some if some == files.len() => Ok(true),
        _ => Err("captures and recorded events have a report each: name one kind".to_owned()),
    }
}

/// Runs until the source ends, the outputs have enough, or `stop` is requested.
pub fn run(config: &Config, stop: &Stop) -> Ended {
    let mut ready = check(config);
    if config.source != Source::Live {
        ready = ready.and_then(|()| confine::reading(config));
    }
    if let Err(why) = ready {
        say(&why);
        return Ended::CannotStart;
    }
    match &config.source {
        Source::Captures(paths) => replay::run(config, paths, stop),
        Source::Recorded(paths) => recorded::run(config, paths, stop),
        #[cfg(feature = "live")]
        Source::Live => live::run(config, stop),
        #[cfg(not(feature = "live"))]
        Source::Live => {
            say(
                "this build only reads captures: name some with -r FILE (tracing live needs Linux \
                 and a build with the feature 'live')",
            );
            Ended::CannotStart
        }
    }
}
