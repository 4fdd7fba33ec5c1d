//! Runs the tracer as a user runs it.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::netns::Namespace;
use crate::pcap;
use crate::seen::Report;

/// Path of the tracer's executable: `HTTP_TRACE_BIN`, or built now in the profile of the tests, so that it is
/// never older than they are.
pub fn binary() -> Result<&'static Path> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build() -> Result<PathBuf> {
    if let Some(ready) = std::env::var_os("HTTP_TRACE_BIN") {
        return Ok(ready.into());
    }
    let exe = std::env::current_exe()?;
    let release = exe.components().any(|part| part.as_os_str() == "release");
    let profile = if release { "release" } else { "test" };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Dependencies get the same features as in `cargo test --workspace` only with the same packages and a
    // test among the targets; otherwise half of them would be built again.
    command.args([
        "build", "--workspace", "--exclude", "http-trace-ebpf", "--bin", "http-trace", "--test",
        "framer", "--profile", profile,
    ]);
    command.args(["--message-format", "json-render-diagnostics"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    // Variables of this test's own package would rerun build scripts of other packages, and rebuild all that
    // depends on them.
    let of_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
    let output = command.output().context("cargo build")?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    let lines = output.stdout.split(|b| *b == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let executable = messages
        .filter(|message| message["target"]["name"] == "http-trace")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.context("cargo built no executable http-trace")
}

/// A ring that holds some seconds of clients at full speed. Where a test is not about an agent without CPU,
/// other load on the machine then changes nothing.
pub const ROOMY: (&str, &str) = ("HTTP_TRACE_RING_SIZE", "128MiB");

/// A live agent that writes json to a file. Killed on drop.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    folder: TempDir,
    lines: Receiver<String>,
    reader: Option<JoinHandle<()>>,
    said: Vec<String>,
    start: Duration,
}

/// The result of a run of the agent.
#[derive(Debug)]
pub struct Outcome {
    /// The json output.
    pub report: Report,
    /// Lines of stderr.
    pub said: Vec<String>,
    pub status: ExitStatus,
    /// From its start to the line on stderr that says that it traces.
    pub start: Duration,
    /// From the request to end to its end.
    pub stop: Duration,
}

impl Agent {
    /// Starts the agent inside `namespace` with these options, `-o json:FILE --show-secrets` and [`ROOMY`];
    /// waits for the line on stderr that says that it traces.
    pub fn start(namespace: &Namespace, options: &[&str]) -> Result<Self> {
        Self::start_with(namespace, options, &[ROOMY])
    }

    /// As [`Agent::start`], with these environment variables instead of [`ROOMY`].
    pub fn start_with(
        namespace: &Namespace,
        options: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // The agent may switch to another user before it writes.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
        let mut output = std::ffi::OsString::from("json:");
        output.push(folder.path().join("events.jsonl"));
        let mut command = Command::new(binary()?);
        command
            .args(["--show-secrets", "-o"])
            .arg(output)
            .args(options)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .stdin(Stdio::null());
        let begun = Instant::now();
        let mut child = namespace.enter(|| command.spawn())?.context("start the agent")?;
        let stderr = BufReader::new(child.stderr.take().context("stderr is a pipe")?);
        let (send, lines) = channel();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(std::io::Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut agent = Agent {
            child,
            folder,
            lines,
            reader: Some(reader),
            said: Vec::new(),
            start: Duration::ZERO,
        };
        loop {
            let Ok(line) = agent.lines.recv_timeout(Duration::from_secs(60)) else {
                bail!("the agent did not start: {:?}: {:?}", agent.child.try_wait()?, agent.said);
            };
            let ready = line.contains("tracing");
            agent.said.push(line);
            if ready {
                break;
            }
        }
        agent.start = begun.elapsed();
        Ok(agent)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("signal the agent")
    }

    /// What it has written so far; complete lines only.
    pub fn so_far(&self) -> Result<Report> {
        let text = std::fs::read(self.folder.path().join("events.jsonl")).unwrap_or_default();
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        Report::read(&text[..whole])
    }

    /// Waits until it has written that many responses, or for `time`.
    pub fn wait_for(&self, responses: usize, time: Duration) -> Result<Report> {
        let end = Instant::now() + time;
        loop {
            let report = self.so_far()?;
            if report.responses.len() >= responses || Instant::now() > end {
                return Ok(report);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has written nothing for a second.
    pub fn wait_until_idle(&self) -> Result<()> {
        let events = self.folder.path().join("events.jsonl");
        let (mut length, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(50));
            let now = events.metadata()?.len();
            if now != length {
                (length, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Waits for a line on stderr with this text, at most for `time`; whether it came.
    pub fn wait_for_line(&mut self, text: &str, time: Duration) -> bool {
        self.wait_for_lines(text, 1, time)
    }

    /// As [`Agent::wait_for_line`], for `count` lines.
    pub fn wait_for_lines(&mut self, text: &str, count: usize, time: Duration) -> bool {
        let end = Instant::now() + time;
        let has = |line: &&String| line.contains(text);
        while self.said.iter().filter(has).count() < count {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                Err(_) => return false,
            }
        }
        true
    }

    /// Ends it as Ctrl-C does and reads all that it wrote.
    pub fn stop(self) -> Result<Outcome> {
        self.stop_by(Signal::INT)
    }

    /// As [`Agent::stop`], with another signal.
    pub fn stop_by(self, signal: Signal) -> Result<Outcome> {
        let events = self.folder.path().join("events.jsonl");
        let mut text = Vec::new();
        let mut outcome = self.end(signal, || {
            text = std::fs::read(&events)?;
            Ok(())
        })?;
        outcome.report = Report::read(&text)?;
        Ok(outcome)
    }

    /// Kills it, as a crash would, and reads the complete lines that it wrote.
    pub fn kill(mut self) -> Result<Report> {
        self.child.kill()?;
        self.child.wait()?;
        self.so_far()
    }

    /// As [`Agent::stop`], for more output than memory holds: passes each written line to `line`, and leaves
    /// the report empty.
    pub fn stop_with(self, mut line: impl FnMut(&[u8])) -> Result<Outcome> {
        let events = self.folder.path().join("events.jsonl");
        self.end(Signal::INT, || {
            let mut file = BufReader::with_capacity(1 << 20, std::fs::File::open(&events)?);
            let mut text = Vec::new();
            while file.read_until(b'\n', &mut text)? > 0 {
                line(text.strip_suffix(b"\n").unwrap_or(&text));
                text.clear();
            }
            Ok(())
        })
    }

    /// Ends it; `read` reads its output.
    fn end(mut self, signal: Signal, read: impl FnOnce() -> Result<()>) -> Result<Outcome> {
        self.signal(signal)?;
        let asked = Instant::now();
        let end = asked + Duration::from_secs(60);
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                bail!("the agent did not end within a minute of {signal:?}: {:?}", self.said);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stop = asked.elapsed();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.said.extend(self.lines.try_iter());
        read()?;
        Ok(Outcome {
            report: Report::default(),
            said: std::mem::take(&mut self.said),
            status,
            start: self.start,
            stop,
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Replays captures with these options and `-o json`; returns what the tracer wrote.
pub fn replay(captures: &[&Path], options: &[&str]) -> Result<(Report, std::process::Output)> {
    let mut command = Command::new(binary()?);
    for capture in captures {
        command.arg("-r").arg(capture);
    }
    command.args(["-o", "json", "--show-secrets"]).args(options).stdin(Stdio::null());
    let output = command.output().context("start http-trace")?;
    Ok((Report::read(&output.stdout)?, output))
}

/// As [`replay`], for Ethernet frames a millisecond apart.
pub fn replay_frames(frames: &[Vec<u8>]) -> Result<(Report, std::process::Output)> {
    let capture = pcap::temporary(pcap::LinkType::Ethernet, frames);
    replay(&[capture.path()], &[])
}
