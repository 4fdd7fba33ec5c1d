//! `cargo xtask lint`: formatting, the eBPF object, module order, warnings, licences.

use std::{env, path::Path, process::Stdio};

use anyhow::Result;

use crate::{
    command::{self, cargo, target_folder, tools, workspace},
    ebpf,
    setup::{self, Purpose, pinned_nightly},
    tidy,
    toolchain::{TARGET, Toolchain},
};

/// Runs all checks; stops at the first failure.
pub fn lint() -> Result<()> {
    setup::ensure(&[Purpose::Ebpf, Purpose::Lint])?;
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    // The fuzz targets have a lock file of their own, which a new dependency leaves behind.
    let mut locked = cargo(&["metadata", "--locked", "--format-version", "1"]);
    command::run(locked.current_dir(workspace().join("fuzz")).stdout(Stdio::null()))?;
    // Formatting a program's file changes what its object was built from.
    ebpf::check()?;
    tidy::tidy(false)?;
    for selection in [
        &["--workspace"] as &[&str],
        // The reader alone, which builds on every system.
        &["--package", "http-trace", "--no-default-features"],
    ] {
        let mut clippy = cargo(&["clippy", "--all-targets"]);
        clippy.args(selection).args(["--", "-D", "warnings"]);
        command::run(&mut clippy)?;
    }
    lint_bpf()?;
    // Names in comments, of private items too, go out of date like any others.
    let mut doc = cargo(&["doc", "--no-deps", "--document-private-items", "--workspace"]);
    doc.args(["--exclude", "http-trace-ebpf"]);
    command::run(doc.env(
        "RUSTDOCFLAGS",
        "-D rustdoc::broken_intra_doc_links -A rustdoc::private_intra_doc_links",
    ))?;
    if setup::cargo_deny().is_some() {
        let mut deny = std::process::Command::new(tools().join("bin/cargo-deny"));
        deny.args(["check", "licenses", "bans", "sources"]).current_dir(workspace());
        command::run(&mut deny)?;
    } else {
        eprintln!("xtask: SKIPPED licences and bans: cargo-deny is not installed");
    }
    Ok(())
}

/// Clippy for the eBPF program, for its own target and with the compiler that builds it.
fn lint_bpf() -> Result<()> {
    let Some(toolchain) = Toolchain::find(Path::new("rustc"), Path::new("cargo"), pinned_nightly())
    else {
        anyhow::bail!("no compiler for {TARGET}: run `cargo xtask setup`");
    };
    let driver = toolchain.rustc.with_file_name("clippy-driver");
    if !driver.exists() {
        eprintln!("xtask: SKIPPED clippy for {TARGET}: {} is missing", driver.display());
        return Ok(());
    }
    let mut check = std::process::Command::new(&toolchain.cargo);
    check
        .current_dir(workspace())
        .args(["check", "--release", "--package", "http-trace-ebpf", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_folder().join("bpf-lint"))
        .env("RUSTC", &toolchain.rustc)
        .env("RUSTC_WORKSPACE_WRAPPER", &driver)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__")
        .env("CARGO_ENCODED_RUSTFLAGS", format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH))
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    if toolchain.build_std {
        check.args(["-Z", "build-std=core"]);
    }
    command::run(&mut check)
}
