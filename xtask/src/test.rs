//! `cargo xtask test`: runs all tests, those with the fewest needs first, then each fuzz target for a short
//! while. Prints the time of each group and the skipped tests.
//!
//! A test that lacks something prints `SKIPPED (needs …): name` and passes. Those lines are collected here,
//! so that a green run always shows what it did not check.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    command::{cargo, line},
    ebpf, fuzz, privilege,
    setup::{self, Purpose},
};

/// Prefix of a skipped test's line.
const SKIPPED: &str = "SKIPPED (needs ";

/// Arguments of every cargo call here.
const ALL: [&str; 6] =
    ["test", "--workspace", "--exclude", "http-trace-ebpf", "--no-fail-fast", "--quiet"];

/// Seconds per fuzz target; `cargo xtask fuzz` takes longer.
const FUZZ_SECONDS: u32 = 15;

/// Makes live tests print which of them must run alone (`needs!(alone; …)`), and do nothing else.
const LIST_ALONE: &str = "HTTP_TRACE_LIST_ALONE";
/// Prefix of such a line.
const ALONE: &str = "ALONE: ";
/// How many live tests run at a time that need not run alone: most of their time they wait.
const LIVE_THREADS: &str = "--test-threads=3";

/// How many of the slowest test programs are listed.
const SLOWEST: usize = 8;

/// Runs all tests by group, or passes `args` to `cargo test`.
pub fn test(args: &[String]) -> Result<()> {
    setup::ensure(&[Purpose::Ebpf, Purpose::Test])?;
    let start = Instant::now();
    let mut run = Run::new();
    if args.is_empty() {
        run.groups()?;
    } else {
        let mut cargo = cargo(&ALL[..ALL.len() - 1]);
        if let Some(runner) = &run.runner {
            let target = env!("XTASK_TARGET").replace('-', "_").to_uppercase();
            cargo.env(format!("CARGO_TARGET_{target}_RUNNER"), runner.join(" "));
        }
        run.program(cargo.args(args).env("HTTP_TRACE_REQUIRE_BPF", "1"))?;
    }
    eprintln!("xtask: tests ran for {} s", start.elapsed().as_secs());
    run.report()
}

/// The groups, in the order in which they run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Group {
    Pure,
    Kernel,
    Live,
    Detect,
}

impl Group {
    const ALL: [Group; 4] = [Group::Pure, Group::Kernel, Group::Live, Group::Detect];

    const fn name(self) -> &'static str {
        match self {
            Group::Pure => "pure",
            Group::Kernel => "kernel",
            Group::Live => "live",
            Group::Detect => "detect",
        }
    }

    /// From the name of the test program: `tests/tests` has a folder for each group.
    fn of(package: &Path, target: &str) -> Group {
        let mut all = Group::ALL.into_iter();
        let named = all.find(|group| group.name() == target);
        match named {
            Some(group) if package.ends_with("tests") => group,
            _ => Group::Pure,
        }
    }
}

/// A test program that cargo built.
#[derive(Debug, PartialEq)]
struct Program {
    group: Group,
    /// `package/target`.
    name: String,
    path: PathBuf,
    /// The folder of its package, where cargo runs it.
    folder: PathBuf,
}

impl Program {
    /// From one of cargo's JSON messages.
    fn of(message: &str) -> Option<Program> {
        let message: Value = serde_json::from_str(message).ok()?;
        let path = message.get("executable")?.as_str()?.into();
        if message.pointer("/profile/test")? != &Value::Bool(true) {
            return None;
        }
        let target = message.pointer("/target/name")?.as_str()?;
        let folder = Path::new(message.get("manifest_path")?.as_str()?).parent()?;
        let package = folder.file_name()?.to_string_lossy();
        Some(Program {
            group: Group::of(folder, target),
            name: format!("{package}/{target}"),
            path,
            folder: folder.to_owned(),
        })
    }
}

struct Run {
    /// Command prefix that makes test programs root.
    runner: Option<Vec<String>>,
    /// The agent for live tests; without it each test program builds its own.
    agent: Option<PathBuf>,
    skipped: Mutex<Vec<String>>,
    failed: Vec<String>,
}

impl Run {
    fn new() -> Run {
        let needs_sudo = !privilege::may_trace() && privilege::may_sudo();
        if needs_sudo {
            eprintln!("xtask: the privileged tests need root: running the tests with sudo");
        }
        Run {
            runner: needs_sudo.then(|| vec!["sudo".into(), "--preserve-env".into()]),
            agent: None,
            skipped: Mutex::new(Vec::new()),
            failed: Vec::new(),
        }
    }

    fn groups(&mut self) -> Result<()> {
        let mut times = Vec::new();
        let start = Instant::now();
        match ebpf::check() {
            Ok(None) => {}
            Ok(Some(needs)) => self.skip(format!("{SKIPPED}{needs}): the shipped eBPF object")),
            Err(error) => self.failed.push(format!("{error:#}")),
        }
        times.push(("eBPF object", start.elapsed()));
        let start = Instant::now();
        let messages = build()?;
        let programs: Vec<_> = messages.lines().filter_map(Program::of).collect();
        self.agent = messages.lines().find_map(agent);
        times.push(("build", start.elapsed()));
        let mut each = Vec::new();
        for group in Group::ALL {
            let start = Instant::now();
            for program in programs.iter().filter(|program| program.group == group) {
                let start = Instant::now();
                match group {
                    Group::Live => self.live_program(program)?,
                    _ => self.test_program(program, &[])?,
                }
                each.push((&program.name, start.elapsed()));
            }
            if group == Group::Pure {
                let mut docs = cargo(&ALL);
                self.program(docs.arg("--doc").env("HTTP_TRACE_REQUIRE_BPF", "1"))?;
            }
            times.push((group.name(), start.elapsed()));
        }
        let start = Instant::now();
        match fuzz::lacks() {
            Some(what) => self.skip(format!("{SKIPPED}{what}): all fuzz targets")),
            None => {
                eprintln!("xtask: fuzz targets, {FUZZ_SECONDS} s each, two at a time");
                if let Err(error) = fuzz::fuzz(&fuzz::Options::all(FUZZ_SECONDS)) {
                    self.failed.push(format!("{error:#}"));
                }
            }
        }
        times.push(("fuzz", start.elapsed()));

        each.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        eprintln!("xtask: the slowest test programs:");
        for (name, time) in each.iter().take(SLOWEST) {
            eprintln!("{}", seconds(name, *time));
        }
        eprintln!("xtask: time by group:");
        for (name, time) in times {
            eprintln!("{}", seconds(name, time));
        }
        Ok(())
    }

    /// Runs live tests: first those that may run beside others, then the rest one by one. Within one run of the
    /// program each of the latter would make all others wait.
    fn live_program(&mut self, program: &Program) -> Result<()> {
        let listed = self
            .command_of(program)
            .env(LIST_ALONE, "1")
            .output()
            .with_context(|| format!("`{}` does not start", program.name))?;
        let listed = String::from_utf8_lossy(&listed.stderr);
        let mut names: Vec<&str> =
            listed.lines().filter_map(|line| Some(line.split_once(ALONE)?.1)).collect();
        names.sort_unstable();
        let skips = names.iter().flat_map(|name| ["--skip", name]);
        let beside: Vec<&str> = ["--exact", LIVE_THREADS].into_iter().chain(skips).collect();
        self.test_program(program, &beside)?;
        if names.is_empty() {
            return Ok(());
        }
        let alone = [&["--exact", "--test-threads=1"][..], &names].concat();
        self.test_program(program, &alone)
    }

    fn test_program(&mut self, program: &Program, arguments: &[&str]) -> Result<()> {
        eprintln!("xtask: {} {}", program.group.name(), program.name);
        let mut test = self.command_of(program);
        self.program(test.args(arguments))
    }

    /// The command that runs a test program.
    fn command_of(&self, program: &Program) -> Command {
        let mut test = match self.runner.as_deref() {
            Some([sudo, options @ ..]) => {
                let mut test = Command::new(sudo);
                test.args(options).arg(&program.path);
                test
            }
            _ => Command::new(&program.path),
        };
        test.arg("--quiet")
            .current_dir(&program.folder)
            .env("CARGO_MANIFEST_DIR", &program.folder)
            .env("HTTP_TRACE_REQUIRE_BPF", "1");
        if let Some(agent) = self.agent.as_ref().filter(|_| program.folder.ends_with("tests")) {
            test.env("HTTP_TRACE_BIN", agent);
        }
        test
    }

    /// Runs a program, forwards its output, and records skipped tests and failure.
    fn program(&mut self, command: &mut Command) -> Result<()> {
        let shown = line(command);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{shown}` does not start"))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            if let Some(err) = err {
                scope.spawn(|| forward(err, std::io::stderr(), &self.skipped));
            }
            if let Some(out) = out {
                forward(out, std::io::stdout(), &self.skipped);
            }
        });
        let status = child.wait()?;
        if !status.success() {
            self.failed.push(format!("`{shown}` ({status})"));
        }
        Ok(())
    }

    fn skip(&self, line: String) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        skipped.push(line);
    }

    /// Prints what was skipped; an error if something failed.
    fn report(self) -> Result<()> {
        let mut skipped = self.skipped.into_inner().unwrap_or_else(PoisonError::into_inner);
        skipped.sort();
        skipped.dedup();
        if skipped.is_empty() {
            eprintln!("xtask: no test was skipped");
        } else {
            eprintln!("xtask: {} skipped:", skipped.len());
            for one in &skipped {
                eprintln!("  {one}");
            }
        }
        if !self.failed.is_empty() {
            bail!("tests failed: {}", self.failed.join(", "));
        }
        let privileged = skipped.iter().filter(|one| needs_privilege(one)).count();
        if privileged > 0 && env::var("CI").is_ok_and(|ci| ci == "true") {
            bail!("{privileged} privileged tests were skipped, which CI does not accept");
        }
        Ok(())
    }
}

/// The agent's executable, if this message of cargo is about it.
fn agent(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_program = message.pointer("/target/kind/0")? == "bin";
    let is_test = message.pointer("/profile/test")? == &Value::Bool(true);
    let is_agent = is_program && !is_test && message.pointer("/target/name")? == "http-trace";
    let path = message.get("executable")?.as_str()?;
    is_agent.then(|| path.into())
}

/// Builds all test programs and what they run; returns cargo's messages.
fn build() -> Result<String> {
    let mut build = cargo(&ALL);
    build
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        .env("HTTP_TRACE_REQUIRE_BPF", "1")
        .stderr(Stdio::inherit());
    let output = build.output().context("cargo does not start")?;
    if !output.status.success() {
        bail!("`{}` failed ({})", line(&build), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn seconds(name: &str, time: Duration) -> String {
    format!("{:>7.1} s  {name}", time.as_secs_f64())
}

/// Whether a test was skipped for lack of privileges or of a tool that set-up installs, and not for data
/// outside the repository or a missing feature of the kernel or machine.
fn needs_privilege(line: &str) -> bool {
    let needs = line.strip_prefix(SKIPPED).and_then(|rest| rest.split(')').next()).unwrap_or(line);
    let elsewhere = ["corpus", "in the kernel", "two CPUs", "device"];
    !elsewhere.iter().any(|what| needs.contains(what))
}

/// Forwards lines and collects those of skipped tests.
fn forward(from: impl Read, mut to: impl Write, skipped: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(at) = text.find(SKIPPED) {
            let line = text.get(at..).unwrap_or_default().trim_end().to_owned();
            skipped.lock().unwrap_or_else(PoisonError::into_inner).push(line);
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
    fn test_programs_are_grouped_by_the_folder_that_they_are_of() {
        let of = |folder: &str, target: &str, is_test: bool| {
            let message = format!(
                r#"{{"manifest_path":"/r/{folder}/Cargo.toml","target":{{"name":"{target}"}},"profile":{{"test":{is_test}}},"executable":"/t/x"}}"#
            );
            Program::of(&message).map(|program| (program.group, program.name))
        };
        let table = [
            ("tests", "live", Group::Live, "tests/live"),
            ("tests", "pure", Group::Pure, "tests/pure"),
            ("http-trace", "detect", Group::Pure, "http-trace/detect"),
        ];
        for (folder, target, group, name) in table {
            assert_eq!(of(folder, target, true), Some((group, name.to_owned())));
        }
        assert_eq!(of("http-trace", "http-trace", false), None);
        assert_eq!(Program::of(r#"{"reason":"build-finished"}"#), None);
        assert!(Group::ALL.is_sorted());
    }

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
            ["SKIPPED (needs root): tc_attaches", "SKIPPED (needs the public corpus): recall"]
        );
        for (needs, is_failure) in
            [("nginx", true), ("io_uring in the kernel", false), ("a VXLAN device", false)]
        {
            let line = format!("{SKIPPED}{needs}): x");
            assert_eq!(needs_privilege(&line), is_failure, "{needs}");
        }
        assert_eq!(skipped.iter().map(|s| needs_privilege(s)).collect::<Vec<_>>(), [true, false]);
    }
}
