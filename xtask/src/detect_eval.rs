//! `cargo xtask detect-eval`: installs the tools that `tests/detect/tools.toml` names and runs them.

use std::fs;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::{
    command::{self, cargo, workspace},
    privilege,
    setup::{self, Purpose},
};

/// Runs the evaluation; `args` are its own.
pub fn detect_eval(args: &[String]) -> Result<()> {
    let file = workspace().join("tests/detect/tools.toml");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let table: Table = text.parse().with_context(|| file.display().to_string())?;
    setup::ensure(&[Purpose::Build, Purpose::Test])?;
    // Not every machine runs Debian: the evaluation names what is missing.
    if let Err(error) = setup::ensure_packages(&packages(&table)) {
        eprintln!("xtask: {error:#}");
    }

    let mut run = cargo(&["run", "--quiet", "--package", "http-trace-tests"]);
    run.args(["--bin", "detect_eval", "--"]).args(args);
    run.env("HTTP_TRACE_REQUIRE_BPF", "1");
    if !privilege::may_trace() && privilege::may_sudo() {
        let target = env!("XTASK_TARGET").replace('-', "_").to_uppercase();
        run.env(format!("CARGO_TARGET_{target}_RUNNER"), "sudo --preserve-env");
    }
    command::run(&mut run)
}

/// The packages of all runs, without duplicates.
fn packages(table: &Table) -> Vec<&str> {
    let runs = ["attack", "benign"].iter();
    let runs = runs.filter_map(|kind| table.get(*kind)?.as_array()).flatten();
    let named = runs.flat_map(|run| {
        let more = run.get("packages").and_then(Value::as_array);
        let more = more.into_iter().flatten();
        run.get("package").into_iter().chain(more)
    });
    // tcpdump for recordings.
    let mut all: Vec<&str> = named.filter_map(Value::as_str).chain(["tcpdump"]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_all_runs_once() {
        let text = r#"
            [[attack]]
            package = "wfuzz"
            [[attack]]
            package = "hydra"
            packages = ["wfuzz"]
            [[benign]]
            package = "apache2-utils"
            [[benign]]
            scene = "browser"
        "#;
        let table: Table = text.parse().unwrap_or_default();
        assert_eq!(packages(&table), ["apache2-utils", "hydra", "tcpdump", "wfuzz"]);
    }
}
