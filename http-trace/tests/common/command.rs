//! Runs the command without HTTP_TRACE_ variables in its environment.

use std::process::{Command, Stdio};

use serde_json::Value;

/// Result of a command.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// The command with these arguments and an empty standard input.
pub fn http_trace(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HTTP_TRACE_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs http-trace to its end.
pub fn run(arguments: &[&str]) -> Ran {
    ran(&mut http_trace(arguments))
}

/// Parses lines of json.
pub fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}
