//! `cargo xtask build --guided` and `bench --guided`: built twice, the second time with a profile of
//! the first at work, so that the compiler knows which way is taken and lays that out together.
//!
//! A profile is of one compiler, one set of features and dependencies and nearly of one commit, so none
//! is kept: it is made anew where it is used. What the first build is run on is in
//! `tests/examples/training.rs`.

use std::{
    collections::hash_map::DefaultHasher,
    env,
    ffi::OsString,
    fs,
    hash::{Hash as _, Hasher as _},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{cargo, line, run, target_folder, workspace},
    setup::running_rustc,
    toolchain::llvm_major,
};

/// What the agent does with each capture of the training, and with how much room for what rules count:
/// with little its table is full, as under a flood of made-up addresses.
const WORK: [(&[&str], &str); 3] = [
    (&["-o", "json:/dev/null"], "64MiB"),
    (&["-o", "json:/dev/null", "--kernel-filter"], "256KiB"),
    (&["-o", "pretty:/dev/null", "-v"], "64MiB"),
];

/// A program that cargo built.
struct Built {
    is_bench: bool,
    path: PathBuf,
}

impl Built {
    /// Out of one of cargo's messages.
    fn of(message: &str) -> Option<Built> {
        let message: serde_json::Value = serde_json::from_str(message).ok()?;
        let path = message.get("executable")?.as_str()?.into();
        let kind = message.pointer("/target/kind/0")?;
        let is_bench = kind == "bench";
        Some(Built { is_bench, path })
    }
}

fn agent_of(built: &[Built]) -> Result<&Path> {
    let mut all = built.iter().map(|built| &*built.path);
    all.find(|path| path.ends_with("http-trace"))
        .context("the agent is not among what was built")
}

/// Builds the agent in release.
pub fn agent() -> Result<()> {
    let chosen = ["--package", "http-trace"];
    build(&chosen, &chosen).map(drop)
}

/// Builds benchmarks, chosen by cargo's arguments, and the agent that they run, and runs them.
pub fn bench(benches: &[&str], args: &[String]) -> Result<()> {
    let mut chosen = vec!["--package", "http-trace", "--package", "http-trace-tests"];
    chosen.extend(["--bin", "http-trace"]);
    // An example, so that what the agent is built of has the features that it has beside a benchmark:
    // otherwise nothing that is noted would be found again.
    let first = [&chosen[..], &["--example", "training"]].concat();
    chosen.extend(benches);
    let built = build(&first, &chosen)?;
    let agent = agent_of(&built)?;
    for built in built.iter().filter(|built| built.is_bench) {
        let mut bench = Command::new(&built.path);
        bench.arg("--bench").args(args);
        bench.env("HTTP_TRACE_BIN", agent);
        run(bench.current_dir(workspace().join("tests")))?;
    }
    Ok(())
}

/// Builds what cargo's arguments choose, after what `first` chooses of the same packages has noted where
/// it goes; the agent is among both.
fn build(first: &[&str], chosen: &[&str]) -> Result<Vec<Built>> {
    let profdata = profdata()?;
    let place = target_folder().join("guided");
    let raw = place.join("raw");
    eprintln!("xtask: guided build, first: an agent that notes where it goes");
    let first = compile(first, &format!("-Cprofile-generate={}", raw.display()))?;
    let agent = agent_of(&first)?;
    // What the compiler's own helpers noted while building, and what is left of another time.
    remove(&place)?;
    let captures = place.join("training");
    let trained = train(agent, &captures);
    // Whatever comes now, it is not to be taken for the agent that was asked for.
    fs::remove_file(agent)?;
    trained?;
    remove(&captures)?;

    let merged = place.join("merged.profdata");
    // Sparse: of what never ran nothing is said, so that it is built as ever and not as small as can be.
    let mut merge = Command::new(profdata);
    run(merge
        .args(["merge", "--sparse", "-o"])
        .arg(&merged)
        .arg(&raw))?;
    // By its content, as cargo sees only the name.
    let profile = place.join(format!("{:016x}.profdata", hash(&fs::read(&merged)?)));
    fs::rename(&merged, &profile)?;
    remove(&raw)?;
    eprintln!("xtask: guided build, third: with what was noted");
    compile(chosen, &format!("-Cprofile-use={}", profile.display()))
}

/// Builds with one more flag for the compiler.
fn compile(chosen: &[&str], flag: &str) -> Result<Vec<Built>> {
    let mut build = cargo(&[
        "build",
        "--release",
        "--message-format",
        "json-render-diagnostics",
    ]);
    build
        .args(chosen)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(flag))
        .env("HTTP_TRACE_REQUIRE_BPF", "1")
        .stderr(Stdio::inherit());
    let output = build.output().context("cargo does not start")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(&build), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(Built::of).collect())
}

/// Those that the environment asks for, and one more, as cargo takes them: instead of those of its
/// configuration, which cargo heeds only where the environment has none.
fn flags(flag: &str) -> OsString {
    let mut flags = env::var_os("CARGO_ENCODED_RUSTFLAGS").unwrap_or_else(|| {
        let plain = env::var("RUSTFLAGS").unwrap_or_default();
        plain
            .split_whitespace()
            .collect::<Vec<_>>()
            .join("\x1f")
            .into()
    });
    if !flags.is_empty() {
        flags.push("\x1f");
    }
    flags.push(flag);
    flags
}

/// Makes the captures and runs the agent over them, as it is used most.
fn train(agent: &Path, captures: &Path) -> Result<()> {
    run(cargo(&["run", "--quiet", "--package", "http-trace-tests"])
        .args(["--example", "training", "--"])
        .arg(captures))?;
    eprintln!(
        "xtask: guided build, second: at work on {}",
        captures.display()
    );
    for entry in fs::read_dir(captures)? {
        let capture = entry?.path();
        for (options, room) in WORK {
            let mut agent = Command::new(agent);
            agent.args(["--quiet", "-r"]).arg(&capture).args(options);
            run(agent.env("HTTP_TRACE_DETECT_MEMORY", room))?;
        }
    }
    Ok(())
}

/// What merges the notes: of the LLVM that the compiler was built with, since others cannot read them.
fn profdata() -> Result<PathBuf> {
    let rustc = running_rustc();
    let major = llvm_major(&rustc).context("the compiler does not say which LLVM it has")?;
    let sysroot = Command::new(&rustc)
        .args(["--print", "target-libdir"])
        .output();
    let of_rustup = sysroot.ok().and_then(|output| {
        let libraries = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        Some(libraries.parent()?.join("bin/llvm-profdata"))
    });
    let of_debian = PathBuf::from(format!("/usr/lib/llvm-{major}/bin/llvm-profdata"));
    let mut all = of_rustup.into_iter().chain([of_debian]);
    all.find(|path| path.is_file()).with_context(|| {
        format!(
            "a guided build needs llvm-profdata of LLVM {major}: install Debian's llvm-{major}, or \
             run `rustup component add llvm-tools`"
        )
    })
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::Built;

    #[test]
    fn programs_and_benchmarks_are_told_apart_in_what_cargo_says() {
        let of = |kind: &str, executable: &str| {
            let message = format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"x"}},"executable":{executable}}}"#
            );
            Built::of(&message).map(|built| (built.is_bench, built.path))
        };
        assert_eq!(of("bin", r#""/t/x""#), Some((false, "/t/x".into())));
        assert_eq!(of("bench", r#""/t/x-1""#), Some((true, "/t/x-1".into())));
        assert_eq!(of("lib", "null"), None);
        assert!(Built::of(r#"{"reason":"build-finished","success":true}"#).is_none());
        assert!(Built::of("no message").is_none());
    }
}
