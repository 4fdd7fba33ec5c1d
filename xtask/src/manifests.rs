//! `cargo xtask manifests`: lints, renders and validates `deploy/kubernetes`, and writes the kustomize base
//! from the chart. With `--check` nothing is written, and a base that differs is a failure.

use std::process::Command;

use anyhow::Result;

use crate::command::{self, venv, workspace};

/// Helm's library, and the schemas of the Kubernetes API.
const PACKAGES: &[&str] =
    &["helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0", "pyyaml==6.0.3"];
const CHECK: &str = "xtask/src/manifests/check.py";

/// Checks the manifests; writes the base, or with `check` only compares it.
pub fn manifests(check: bool) -> Result<()> {
    let mut run = Command::new(venv("manifests", PACKAGES)?);
    run.arg(workspace().join(CHECK));
    run.arg(workspace().join("deploy/kubernetes"));
    command::run(run.arg(if check { "check" } else { "write" }))
}
