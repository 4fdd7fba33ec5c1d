//! `cargo xtask image`: the OCI image of the static program, in `target/packages`; with `--check` it also runs as
//! the DaemonSet's pod would, under podman and runc, through containerd's CRI, and by docker-compose, on live traffic in
//! network namespaces of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{
    command::{self, target_folder, venv, workspace},
    dist,
    setup::{self, Purpose},
};

/// Debian packages for building.
const PACKAGES: &[&str] = &["buildah"];
/// What the check needs beside it.
const CHECK_PACKAGES: &[&str] = &[
    "containerd", "curl", "docker-compose", "gcc", "iproute2", "libc6-dev", "podman", "prometheus",
    "python3", "python3-venv", "runc",
];
/// What the check of the CRI needs of PyPI.
const CRI_PACKAGES: &[&str] = &["grpcio==1.85.1", "pyyaml==6.0.3"];
/// Asks containerd for the pod, as kubelet does.
const CRI: &str = "xtask/src/image/cri.py";
/// Serves, asks, and looks at what the container wrote.
const CHECK: &str = "xtask/src/image/check.sh";
/// Has docker-compose run it.
const COMPOSE: &str = "xtask/src/image/compose.sh";
/// What the cluster's pods are set to.
const BASE: &str = "deploy/kubernetes/base/http-trace.yaml";
/// The seccomp profile of the pods.
const SECCOMP: &str = "deploy/kubernetes/seccomp.json";

#[derive(Debug, Args)]
pub struct Options {
    /// Also run the image, as root.
    #[arg(long)]
    check: bool,
    /// Use this static program instead of building one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Builds the image; with `--check` also runs it.
pub fn image(options: &Options) -> Result<()> {
    setup::ensure_packages(PACKAGES)?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => {
            setup::ensure(&[Purpose::Build])?;
            dist::build(dist::Target::THIS)?
        }
    };
    let folder = target_folder().join("image");
    let context = folder.join("context");
    fs::create_dir_all(&context)?;
    fs::copy(&program, context.join("http-trace"))
        .with_context(|| program.display().to_string())?;
    let sources = workspace().join("deploy/image");
    fs::copy(sources.join("http-trace.toml"), context.join("http-trace.toml"))?;
    let name = concat!("localhost/http-trace:", env!("CARGO_PKG_VERSION"));
    let mut build = with_storage("buildah", &folder);
    // Reproducible: the same files give the same bytes.
    build.args(["bud", "--isolation", "chroot", "--timestamp", "0"]);
    build.args(["--tag", name, "--file"]);
    command::run(build.arg(sources.join("Containerfile")).arg(&context).stdout(Stdio::null()))?;
    let out = workspace().join("target/packages");
    fs::create_dir_all(&out)?;
    let archive = out.join(concat!("http-trace-", env!("CARGO_PKG_VERSION"), ".oci.tar"));
    if archive.exists() {
        fs::remove_file(&archive)?;
    }
    let mut push = with_storage("buildah", &folder);
    push.args(["push", "--quiet", name]);
    command::run(push.arg(format!("oci-archive:{}:{name}", archive.display())))?;
    println!("{} {}", fs::metadata(&archive)?.len(), archive.display());
    if options.check {
        check(&folder, name)?;
        check_by_cri(&archive, name)?;
        check_by_compose(&folder, name)?;
    }
    Ok(())
}

/// A container tool whose images and containers are all in this folder.
fn with_storage(tool: &str, folder: &Path) -> Command {
    let mut command = Command::new(tool);
    command.args(["--storage-driver", "vfs", "--root"]);
    command.arg(folder.join("storage")).arg("--runroot");
    command.arg(folder.join("run"));
    command
}

fn check(folder: &Path, name: &str) -> Result<()> {
    setup::ensure_packages(CHECK_PACKAGES)?;
    let config = folder.join("http-trace.toml");
    fs::write(&config, settings()?)?;
    let podman = with_storage("podman", folder);
    let mut check = Command::new("unshare");
    check.args(["--net", "--mount", "bash", "-eu"]);
    check.env("SECCOMP", workspace().join(SECCOMP));
    check.arg(workspace().join(CHECK)).arg(&config).arg(name).arg("podman");
    command::run(check.args(podman.get_args()))
}

/// The container of `deploy/compose.yaml`.
fn check_by_compose(folder: &Path, name: &str) -> Result<()> {
    let mut check = Command::new("unshare");
    check.args(["--net", "--mount", "bash", "-eu"]);
    check.arg(workspace().join(COMPOSE));
    check.arg(workspace().join("deploy")).arg(name);
    command::run(check.arg(folder))
}

/// The container as kubelet has containerd run it, from the manifest.
fn check_by_cri(archive: &Path, name: &str) -> Result<()> {
    let python = venv("cri", CRI_PACKAGES)?;
    let mut check = Command::new("unshare");
    check.args(["--net", "--mount"]).arg(python);
    check.arg(workspace().join(CRI)).arg(workspace().join(BASE));
    check.arg(archive).arg(name);
    command::run(check.arg(workspace().join(SECCOMP)))
}

fn settings() -> Result<String> {
    let base = fs::read_to_string(workspace().join(BASE))?;
    let lines = base.lines().skip_while(|line| !line.ends_with("http-trace.toml: |"));
    let lines = lines.skip(1).map_while(|line| line.strip_prefix("    "));
    let settings: String = lines.flat_map(|line| [line, "\n"]).collect();
    ensure!(!settings.is_empty(), "no settings in {BASE}");
    Ok(settings)
}
