//! `cargo xtask test`: every test, with a count of those that had to be skipped, and then a minute
//! of each fuzz target.
//!
//! A test that lacks something prints `SKIPPED (needs …): name` and passes; here those lines are
//! gathered, so that a green run always says what it did not show.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    process::Stdio,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{cargo, line},
    fuzz, privilege,
    setup::{self, Purpose},
};

/// What a skipped test's line begins with.
const SKIPPED: &str = "SKIPPED (needs ";

/// Builds and runs all tests; `args` go to `cargo test`.
pub fn test(args: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Test])?;
    let start = Instant::now();
    let mut cargo = cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "http-trace-ebpf",
        "--no-fail-fast",
    ]);
    cargo.args(args).env("HTTP_TRACE_REQUIRE_BPF", "1");
    if !privilege::may_trace() && privilege::may_sudo() {
        eprintln!("xtask: the privileged tests need root: running the tests with sudo");
        let target = env!("XTASK_TARGET").replace('-', "_").to_uppercase();
        cargo.env(
            format!("CARGO_TARGET_{target}_RUNNER"),
            "sudo --preserve-env",
        );
    }

    let shown = line(&cargo);
    let mut child = cargo
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{shown}` does not start"))?;
    let skipped = Mutex::new(Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        if let Some(err) = err {
            scope.spawn(|| forward(err, std::io::stderr(), &skipped));
        }
        if let Some(out) = out {
            forward(out, std::io::stdout(), &skipped);
        }
    });
    let status = child.wait()?;

    // A test that was asked for by name is not a fuzz target.
    let mut fuzzed = Ok(());
    let mut unfuzzed = None;
    if args.is_empty() {
        match fuzz::lacks() {
            Some(what) => unfuzzed = Some(format!("{SKIPPED}{what}): all fuzz targets")),
            None => {
                eprintln!("xtask: fuzz targets, a minute each, two at a time");
                fuzzed = fuzz::fuzz(&fuzz::Options::default());
            }
        }
    }

    let mut skipped = skipped.into_inner().unwrap_or_else(PoisonError::into_inner);
    skipped.extend(unfuzzed);
    skipped.sort();
    skipped.dedup();
    eprintln!("xtask: tests ran for {} s", start.elapsed().as_secs());
    if skipped.is_empty() {
        eprintln!("xtask: no test was skipped");
    } else {
        eprintln!("xtask: {} skipped:", skipped.len());
        for one in &skipped {
            eprintln!("  {one}");
        }
    }
    if !status.success() {
        bail!("tests failed: `{shown}` ({status})");
    }
    fuzzed?;
    let privileged = skipped.iter().filter(|one| needs_privilege(one)).count();
    if privileged > 0 && env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("{privileged} privileged tests were skipped, which CI does not accept");
    }
    Ok(())
}

/// Whether a skipped test's line says that it lacked privilege, or a tool that set-up installs;
/// rather than data that is not part of the repository, or what this kernel or machine has not.
fn needs_privilege(line: &str) -> bool {
    let needs = line
        .strip_prefix(SKIPPED)
        .and_then(|rest| rest.split(')').next())
        .unwrap_or(line);
    let elsewhere = ["corpus", "in the kernel", "two CPUs", "device"];
    !elsewhere.iter().any(|what| needs.contains(what))
}

/// Copies lines through and keeps those of skipped tests.
fn forward(from: impl Read, mut to: impl Write, skipped: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(at) = text.find(SKIPPED) {
            let line = text.get(at..).unwrap_or_default().trim_end().to_owned();
            skipped
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
        // A closed terminal must not stop the tests.
        let _ = to.write_all(&bytes).and_then(|()| to.flush());
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_gathered_and_told_apart() {
        let output = b"running 3 tests\ntest a ... SKIPPED (needs root): tc_attaches\nok\n\
            SKIPPED (needs the public corpus): recall\nlast line without end";
        let skipped = Mutex::new(Vec::new());
        let mut copy = Vec::new();
        forward(&output[..], &mut copy, &skipped);
        assert_eq!(copy, output);
        let skipped = skipped.into_inner().unwrap_or_default();
        assert_eq!(
            skipped,
            [
                "SKIPPED (needs root): tc_attaches",
                "SKIPPED (needs the public corpus): recall"
            ]
        );
        for (needs, is_failure) in [
            ("nginx", true),
            ("io_uring in the kernel", false),
            ("a VXLAN device", false),
        ] {
            let line = format!("{SKIPPED}{needs}): x");
            assert_eq!(needs_privilege(&line), is_failure, "{needs}");
        }
        assert_eq!(
            skipped
                .iter()
                .map(|s| needs_privilege(s))
                .collect::<Vec<_>>(),
            [true, false]
        );
    }
}
