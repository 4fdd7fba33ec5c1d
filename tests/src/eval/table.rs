//! What is run and which alerts the rules must raise: `detect/tools.toml`.

use anyhow::{Context, Result};
use serde::Deserialize;

const TEXT: &str = include_str!("../../detect/tools.toml");

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// A browser's user agent.
    pub browser: String,
    /// Distinct requests within which an attack must be caught.
    pub within_requests: usize,
    /// Seconds within which an attack with fewer requests must be caught.
    pub within_seconds: f64,
    pub attack: Vec<Attack>,
    /// Loads that do not.
    pub benign: Vec<Benign>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// Its name, unique.
    pub name: String,
    pub package: Option<String>,
    /// Other packages it needs.
    #[serde(default)]
    pub packages: Vec<String>,
    /// What it does, if the name does not say.
    #[serde(default)]
    pub what: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Arguments that set the user agent.
    #[serde(default)]
    pub agent: Vec<String>,
    /// The whole command with another user agent, where arguments cannot set it.
    #[serde(default)]
    pub with_agent: Vec<String>,
    /// Arguments at the end.
    #[serde(default)]
    pub last: Vec<String>,
    /// One of these must catch it.
    pub rules: Vec<String>,
    /// These must fire too.
    #[serde(default)]
    pub also: Vec<String>,
    /// Whether its own user agent identifies it.
    #[serde(default)]
    pub says: bool,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
    /// Why no rule can catch it.
    pub blind: Option<String>,
    /// Replaces the table's value.
    pub within_requests: Option<usize>,
    /// Frames to record, at most.
    #[serde(default = "frames")]
    pub frames: u32,
    /// Time limit in seconds.
    pub seconds: u64,
}

/// A load that is no attack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benign {
    /// Its name, unique.
    pub name: String,
    pub package: Option<String>,
    /// Other packages it needs.
    #[serde(default)]
    pub packages: Vec<String>,
    /// The program, if it is not named like the package.
    pub program: Option<String>,
    /// Whether it may be missing.
    #[serde(default)]
    pub optional: bool,
    /// A server beside the site, program and arguments, that listens on `server_port`.
    #[serde(default)]
    pub server: Vec<String>,
    #[serde(default)]
    pub server_port: u16,
    #[serde(default)]
    pub what: String,
    /// Program and arguments, or
    #[serde(default)]
    pub command: Vec<String>,
    /// the clients of this name in [`super::scenes`].
    pub scene: Option<String>,
    #[serde(default)]
    pub options: Vec<String>,
    /// Rules above informational that may fire: a true spike.
    #[serde(default)]
    pub may: Vec<String>,
    /// Whether those must fire.
    #[serde(default)]
    pub must: bool,
    /// Frames to record, at most.
    #[serde(default = "frames")]
    pub frames: u32,
    /// Time limit in seconds.
    pub seconds: u64,
}

/// Enough frames for most rules.
const fn frames() -> u32 {
    400
}

impl Table {
    /// The table as it was compiled in.
    pub fn read() -> Result<Self> {
        toml::from_str(TEXT).context("tests/detect/tools.toml")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_and_names_each_run_once() {
        let table = Table::read().expect("the table");
        let attacks = table.attack.iter().map(|run| &run.name);
        let mut names: Vec<_> = attacks.chain(table.benign.iter().map(|run| &run.name)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for attack in &table.attack {
            let caught = attack.rules.is_empty();
            assert!(!caught || attack.blind.is_some(), "{}: no rule", attack.name);
        }
        for load in &table.benign {
            assert!(load.command.is_empty() != load.scene.is_none(), "{}", load.name);
        }
    }
}
