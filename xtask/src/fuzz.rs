//! `cargo xtask fuzz`: runs every fuzz target for a minute, with seeds made from our own captures.
//! `cargo xtask test` ends with a shorter run.
//!
//! libFuzzer comes as source with a crate and needs a C++ compiler. The instrumentation is LLVM's own, so the
//! stable toolchain is enough (`fuzz/.cargo/config.toml`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    sync::PoisonError,
    thread,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{self, cargo, line, on_path, target_folder, workspace};

/// Which targets run, and for how long.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Targets; default: all of fuzz/fuzz_targets.
    targets: Vec<String>,
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How many targets run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
}

impl Options {
    /// All targets, each for this many seconds.
    pub const fn all(seconds: u32) -> Self {
        Options { targets: Vec::new(), seconds, jobs: 2 }
    }
}

/// What building the targets needs and this machine lacks.
pub fn lacks() -> Option<&'static str> {
    let compilers = ["c++", "g++", "clang++"];
    (!compilers.into_iter().any(on_path)).then_some("a C++ compiler, for libFuzzer")
}

/// Builds the targets and runs each.
pub fn fuzz(options: &Options) -> Result<()> {
    if let Some(what) = lacks() {
        bail!("fuzzing needs {what}: install g++");
    }
    let targets = chosen(options)?;
    let place = target_folder().join("fuzz");
    build(&place)?;
    let seeds = place.join("seeds");
    let mut cargo = cargo(&["run", "--quiet", "--package", "http-trace-tests"]);
    cargo.args(["--bin", "seeds", "--"]).arg(&seeds);
    command::run(&mut cargo)?;

    let queue = Mutex::new(targets.into_iter());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(target) = next else { break };
                    match one(&target, &place, options.seconds) {
                        Ok(inputs) => eprintln!(
                            "xtask: fuzz target {target}: no finding in {inputs} inputs, {} s",
                            options.seconds
                        ),
                        Err(error) => {
                            eprintln!("xtask: fuzz target {target}: {error:#}");
                            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                            failed.push(target);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        bail!("fuzzing found something: {}", failed.join(", "));
    }
    Ok(())
}

/// All targets, or the chosen ones.
fn chosen(options: &Options) -> Result<Vec<String>> {
    let folder = workspace().join("fuzz/fuzz_targets");
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            all.push(name.to_owned());
        }
    }
    all.sort();
    if let Some(unknown) = options.targets.iter().find(|one| !all.contains(one)) {
        bail!("there is no fuzz target {unknown}: there are {}", all.join(", "));
    }
    if options.targets.is_empty() {
        return Ok(all);
    }
    Ok(options.targets.clone())
}

/// Cargo in the workspace of the targets, which must not inherit the flags of the tests.
fn build(place: &Path) -> Result<()> {
    let mut cargo = cargo(&["build", "--release", "--quiet"]);
    cargo.current_dir(workspace().join("fuzz")).env("CARGO_TARGET_DIR", place);
    command::run(&mut cargo)
}

/// Runs a target; the number of inputs.
fn one(target: &str, place: &Path, seconds: u32) -> Result<u64> {
    let corpus = place.join("corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
    let findings: PathBuf = place.join(format!("{target}-"));
    let program = place.join(env!("XTASK_TARGET")).join("release").join(target);
    let mut run = std::process::Command::new(program);
    run.arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}", findings.display()))
        // A fixed seed makes runs comparable; an input that takes 60 s is an endless loop.
        .args(["-seed=1", "-timeout=60", "-rss_limit_mb=2048"])
        .arg("-print_final_stats=1")
        .args([corpus, place.join("seeds").join(target)])
        .stdin(Stdio::null());
    let shown = line(&run);
    let output = run.output().with_context(|| format!("`{shown}` does not start"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        // The output ends with the panic, the input and the file with it.
        let from = told.find("panicked at").unwrap_or(0);
        let text: String = told.get(from..).unwrap_or(&told).chars().take(4000).collect();
        bail!("`{shown}` ({}):\n{text}", output.status);
    }
    executed(&told).with_context(|| format!("`{shown}` did not say what it ran"))
}

/// `stat::number_of_executed_units: 1234`
fn executed(told: &str) -> Option<u64> {
    let (_, rest) = told.split_once("stat::number_of_executed_units:")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_built_and_known() {
        let all = chosen(&Options::all(1)).expect("targets");
        let manifest = fs::read_to_string(workspace().join("fuzz/Cargo.toml")).expect("a file");
        for name in &all {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
        let unknown = Options { targets: vec!["nonsense".to_owned()], ..Options::all(1) };
        let error = chosen(&unknown).expect_err("refused").to_string();
        assert!(error.contains("there are capture, filter"), "{error}");
    }

    #[test]
    fn what_ran_is_read_from_the_statistics() {
        for (told, expected) in [
            ("stat::number_of_executed_units: 812\nstat::x: 1", Some(812)),
            ("Done 3 runs in 1 second(s)", None),
        ] {
            assert_eq!(executed(told), expected, "{told}");
        }
    }
}
