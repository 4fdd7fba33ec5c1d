//! `cargo xtask formats`: checks outputs with third-party software, from PyPI and npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::command::{self, cargo, target_folder, tools, venv, workspace};

/// OTLP messages and services, a gRPC server, and certificates for it.
const OTLP: &[&str] = &[
    "googleapis-common-protos==1.76.0",
    "grpcio==1.85.1",
    "opentelemetry-proto==1.45.2",
    "trustme==1.2.1",
];

/// The compiler of Vector's language (VRL).
const RECIPES: &[&str] = &["pyVRL==0.0.2", "pyyaml==6.0.3"];

/// The field table of the Elastic Common Schema.
const ECS: &str = "@elastic/ecs@9.4.0";

/// Runs all checks.
pub fn formats() -> Result<()> {
    command::run(&mut cargo(&["build", "--package", "http-trace"]))?;
    let check = |python: &Path, script: &str| {
        let mut run = Command::new(python);
        run.arg(workspace().join("xtask/src/formats").join(script));
        run.arg(target_folder().join("debug/http-trace"));
        run.arg(workspace().join("tests/captures/nginx.pcap"));
        run
    };
    let deploy = workspace().join("deploy");
    let python = venv("recipes", RECIPES)?;
    let mut recipes = check(&python, "recipes.py");
    recipes.arg(deploy.join("vector"));
    command::run(recipes.arg(deploy.join("http-trace.toml")))?;
    let mut ecs = check(&python, "ecs.py");
    ecs.arg(deploy.join("elastic/index-template.json"));
    ecs.arg(workspace().join("docs/FORMATS.md"));
    command::run(ecs.arg(npm(ECS)?.join("generated/ecs_flat.ts")))?;
    command::run(&mut check(&venv("otlp", OTLP)?, "otlp.py"))
}

/// Fetches an npm package; its folder.
fn npm(package: &str) -> Result<PathBuf> {
    let folder = tools().join(package.replace(['@', '/'], "-"));
    if !folder.join("package/package.json").is_file() {
        fs::create_dir_all(&folder)?;
        let mut pack = Command::new("npm");
        pack.args(["pack", "--silent", package]).current_dir(&folder);
        let named = String::from_utf8(pack.output()?.stdout)?;
        let mut unpack = Command::new("tar");
        command::run(unpack.args(["-xzf", named.trim()]).current_dir(&folder))?;
    }
    Ok(folder.join("package"))
}
