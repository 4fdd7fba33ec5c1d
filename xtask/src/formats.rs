//! `cargo xtask formats`: what others wrote reads what the outputs write. The packages come from PyPI.

use std::process::Command;

use anyhow::Result;

use crate::command::{self, cargo, target_folder, venv, workspace};

/// The protocol's own messages and services, a server for them, and certificates for it.
const OTLP: &[&str] = &[
    "googleapis-common-protos==1.76.0",
    "grpcio==1.85.1",
    "opentelemetry-proto==1.45.2",
    "trustme==1.2.1",
];

/// Checks them all.
pub fn formats() -> Result<()> {
    command::run(&mut cargo(&["build", "--package", "http-trace"]))?;
    let mut run = Command::new(venv("otlp", OTLP)?);
    run.arg(workspace().join("xtask/src/formats/otlp.py"));
    run.arg(target_folder().join("debug/http-trace"));
    command::run(run.arg(workspace().join("tests/captures/nginx.pcap")))
}
