//! Evaluates detection with real tools: the site, the tools and loads, and the agent's alerts.
//!
//! # Layout
//! - [`table`]: what is run and what has to fire, read from a data file.
//! - [`site`]: nginx and an application, as the tools find them.
//! - [`scenes`]: clients that are no tool: browsers, deployments, proxies.
//! - [`heard`]: alerts, and after how many requests they came.
//! - [`record`]: captures of the runs.

pub mod heard;
pub mod record;
pub mod scenes;
pub mod site;
pub mod table;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::CommandExt;

use crate::agent::Agent;
use crate::need::program;
use crate::netns::{Namespace, Pair, address};
use heard::Heard;
use record::Recording;
use site::Site;

/// What clients do in a run.
#[derive(Clone, Copy, Debug)]
pub enum Load<'a> {
    /// Program and arguments, with `{url}` and others filled in by [`fill`].
    Command(&'a [String]),
    /// Clients of [`scenes`].
    Scene(&'a str),
}

/// What runs in the server's namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host<'a> {
    pub options: &'a [String],
    /// A server beside the site, and the port it listens on.
    pub server: Option<(&'a [String], u16)>,
}

/// One run: a new pair of namespaces, with the site and the agent in the server's and the clients in the
/// other. The clients end after `time` at the latest.
pub fn run(
    load: Load<'_>,
    time: Duration,
    host: Host<'_>,
    capture: Option<(&Path, u32)>,
) -> Result<Heard> {
    let pair = Pair::new(1500)?;
    let mut site = Site::start(&pair.server)?;
    let folder = tempfile::tempdir()?;
    let _server = host
        .server
        .map(|(command, port)| {
            let mut command = prepared(command, folder.path())?;
            pair.server.serve(&mut command, ([127, 0, 0, 1], port).into())
        })
        .transpose()?;
    let mut all = vec!["-i", "veth0"];
    all.extend(host.options.iter().map(String::as_str));
    let agent = Agent::start(&pair.server, &all)?;
    let recording =
        capture.map(|(file, packets)| Recording::start(&pair, file, packets)).transpose()?;
    match load {
        Load::Command(command) => run_command(&pair.client, command, time)?,
        Load::Scene(name) => scenes::run(name, &pair, &mut site)?,
    }
    // The last connections close, and the agent sees that.
    std::thread::sleep(Duration::from_millis(500));
    let outcome = agent.stop()?;
    recording.map(Recording::stop).transpose()?;
    Heard::of(&outcome.report)
}

/// A command with its placeholders filled in.
pub fn fill(command: &[String], agent: &str) -> Vec<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("detect");
    let fill = |word: &String| {
        word.replace("{url}", &format!("http://{}", address::SERVER_V4))
            .replace("{host}", address::SERVER_V4)
            .replace("{here}", &here.display().to_string())
            .replace("{agent}", agent)
    };
    command.iter().map(fill).collect()
}

/// A command of the table, with `folder` as its working directory.
fn prepared(command: &[String], folder: &Path) -> Result<Command> {
    let here = folder.display().to_string();
    let (name, arguments) = command.split_first().context("an empty command")?;
    let mut child = Command::new(program(name).with_context(|| format!("{name} is missing"))?);
    child
        .args(arguments.iter().map(|word| word.replace("{dir}", &here)))
        .current_dir(folder)
        .env("HOME", folder)
        // Debian's tools need Debian's Python.
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(child)
}

fn run_command(namespace: &Namespace, command: &[String], time: Duration) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut child = prepared(command, folder.path())?;
    // Its children must end with it.
    child.process_group(0);
    let name = &command[0];
    let mut child = namespace.enter(|| child.spawn())?.context(name.clone())?;
    let end = Instant::now() + time;
    while child.try_wait()?.is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let group = Pid::from_child(&child);
    // Fails if it and all its children have ended already.
    let _ = kill_process_group(group, Signal::KILL);
    child.wait()?;
    Ok(())
}
