//! Runs the program from its configuration to its exit status: opens the source and the outputs, and prints
//! start and end messages on standard error.
//!
//! # Layout
//! - `exit`: exit status and standard error. `stop`: signals.
//! - [`doctor`]: what this host lets the agent do.
//! - `limits`: what the system allows.
//! - `changes`: files of settings and rules that change.
//! - `clash`: outputs that would overwrite an input.
//! - `confine`: drops capabilities and switches to the configured user.
//! - `listen`: the HTTP server of `--listen`.
//! - `loading`: rules, loaded at the start and again on SIGHUP.
//! - `service`: notifications to the service manager.
//! - `session`: the driver with rules and state, for any source.
//! - `pipe`: sources whose reads may block.
//! - `progress`: progress of reading captures.
//! - `replay`, `recorded`, `live`: the three sources.
//! - [`inventory`]: the report of the inventory kept by earlier runs.
//! - [`rules`], `hits`: commands about rules. [`bans`]: those about bans.

use std::fmt::Display;
use std::path::PathBuf;

pub mod bans;
mod changes;
mod clash;
#[cfg(target_os = "linux")]
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

use self::exit::cannot_start;
pub use self::exit::{Ended, say};
pub use self::stop::Stop;
use crate::capture::input::Input;
use crate::config::{Config, Source};
use crate::own_sockets::OwnSockets;
use crate::sink::Destination;
use crate::sink::deliver::Delivery;
use crate::sink::log_file::check_place;

/// Checks for problems that can be found before anything is opened; prints warnings.
pub fn check(config: &Config) -> Result<(), String> {
    config.warnings.iter().chain(&config.names_none()).for_each(|line| say(line));
    limits::check(config)?.iter().for_each(|line| say(line));
    #[cfg(target_os = "linux")]
    confine::user(config)?;
    clash::find(config).map_or(Ok(()), Err)
}

/// Checks destinations and the port of `--listen` that a run would not start with, without opening or contacting them.
pub fn check_destinations(config: &Config) -> Result<(), String> {
    let cannot = |name: &dyn Display, why| format!("cannot write to {name}: {why}");
    for output in &config.output {
        if let Destination::Collector(collector) = &output.place {
            let transport = collector.transport(&OwnSockets::default());
            transport.map_err(|why| cannot(&output.place, why))?;
        }
        if let Some(path) = output.place.file() {
            let origin = config.layers.given("output").map_or("--output", |given| &given.origin);
            check_place(path).map_err(|why| format!("{origin}: {}", cannot(&output.place, why)))?;
        }
    }
    for target in &config.alerts_to {
        Delivery::check(target).map_err(|why| cannot(target, why))?;
    }
    #[cfg(feature = "live")]
    if let Some(at) = config.listen {
        listen::check(at).map_err(|why| format!("cannot listen at {at}: {why}"))?;
    }
    Ok(())
}

/// Loads the rules of a run, and prints what is wrong with them and with what the settings say of them. A run
/// starts without a rule that does not load, but the settings are at fault.
pub fn check_rules(config: &Config) -> Result<(), Ended> {
    match loading::Rules::begin(config)?.0.has_faults {
        true => Err(Ended::CannotStart),
        false => Ok(()),
    }
}

/// Whether the files are captures rather than recorded events.
pub fn are_captures(files: &[PathBuf]) -> Result<bool, String> {
    // What a pipe holds can be read only once.
    let is_capture = |path: &&PathBuf| {
        path.is_dir() || path.is_file() && Input::Named((*path).clone()).kind().is_capture()
    };
    match files.iter().filter(is_capture).count() {
        0 => Ok(false),
        some if some == files.len() => Ok(true),
        _ => {
            Err("captures and recorded events cannot be mixed in one report: name one kind"
                .to_owned())
        }
    }
}

/// Runs until the source ends, the outputs have reached their limit, or `stop` is requested.
pub fn run(config: &Config, stop: &Stop) -> Ended {
    try_run(config, stop).unwrap_or_else(|ended| ended)
}

fn try_run(config: &Config, stop: &Stop) -> Result<Ended, Ended> {
    check(config).map_err(cannot_start)?;
    #[cfg(target_os = "linux")]
    if config.source != Source::Live {
        confine::reading(config).map_err(cannot_start)?;
    }
    match &config.source {
        Source::Captures(paths) => replay::run(config, paths, stop),
        Source::Recorded(paths) => recorded::run(config, paths, stop),
        #[cfg(feature = "live")]
        Source::Live => live::run(config, stop),
        #[cfg(not(feature = "live"))]
        Source::Live => Err(cannot_start(
            "this build only reads captures: give -r FILE (live tracing needs Linux and a build \
             with the feature 'live')",
        )),
    }
}
