//! Small foreign programs at TC, beside the agent's. Made of raw instructions, in Python, since bpf(2) is
//! unsafe code in Rust.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::netns::{Namespace, Running};

const SCRIPT: &str = include_str!("neighbour.py");

/// What a neighbour does with packets: see `neighbour.py`.
pub const VERDICTS: [&str; 5] = ["OK", "PIPE", "UNSPEC", "SHOT", "REDIRECT"];

fn script(arguments: &str) -> Result<Command> {
    let python = crate::need::program("python3").context("python3")?;
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).args(arguments.split_whitespace());
    Ok(command)
}

/// Attaches a neighbour; at TCX it is detached on drop.
pub fn attach(namespace: &Namespace, arguments: &str) -> Result<Running> {
    let mut command = script(&format!("attach {arguments}"))?;
    let mut running = namespace.spawn(command.stdout(Stdio::piped()))?;
    running.first_line()?;
    Ok(running)
}

/// Runs the script to its end and returns what it prints.
pub fn ask(namespace: &Namespace, arguments: &str) -> Result<String> {
    let output = namespace.run(&mut script(arguments)?)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
