//! The command over captures that a test builds, frame by frame: what it writes and says.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod build;
mod checksums;
mod snippet;
mod wrapped;

use std::process::{Command, Stdio};

use serde_json::Value;

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// The records, each of which the schema admits.
    pub fn records(&self) -> Vec<Value> {
        let schema: Value =
            serde_json::from_str(&command(&["schema"]).out).expect("the schema is JSON");
        let schema = jsonschema::draft202012::new(&schema).expect("a schema");
        let records: Vec<Value> = self
            .out
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        for record in &records {
            if let Err(error) = schema.validate(record) {
                panic!("{error} at {}: {record}", error.instance_path);
            }
        }
        records
    }
}

/// Runs the command without a terminal.
pub fn command(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-trace"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HTTP_TRACE_")) {
        command.env_remove(name);
    }
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Reads a capture.
pub fn read(capture: &tempfile::NamedTempFile, arguments: &[&str]) -> Ran {
    let path = capture.path().to_str().unwrap();
    command(&[&["-r", path], arguments].concat())
}
