//! `cargo xtask manifests`: lints, renders and validates what `deploy/kubernetes` has, and writes the base for
//! kustomize from the chart. With `--check` nothing is written, and a base that differs is a failure.

use std::process::Command;

use anyhow::Result;

use crate::command::{self, tools, workspace};

/// Helm's own library, and the schemas of Kubernetes' API.
const PACKAGES: &[&str] = &[
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "pyyaml==6.0.3",
];
const CHECK: &str = "xtask/src/manifests/check.py";

/// Checks the manifests; writes the base unless it is only to be compared.
pub fn manifests(check: bool) -> Result<()> {
    let folder = tools().join("manifests");
    let python = folder.join("bin/python3");
    // Installed last, and so all of it.
    if !folder.join("bin/kubernetes-validate").is_file() {
        command::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet"]);
        command::run(install.args(PACKAGES))?;
    }
    let mut run = Command::new(&python);
    run.arg(workspace().join(CHECK));
    run.arg(workspace().join("deploy/kubernetes"));
    command::run(run.arg(if check { "check" } else { "write" }))
}
