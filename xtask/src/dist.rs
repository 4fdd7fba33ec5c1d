//! `cargo xtask dist`: what users install, in `target/packages`: one static program, and it with manual
//! pages, completions, the service and its settings as a tarball and as a Debian package. With `--check` the package is
//! installed, upgraded, restarted and removed under systemd, with traffic running, in namespaces of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    command::{self, cargo, target_folder, workspace},
    privilege::as_root,
    setup::{self, Purpose},
};

/// Cargo profile of the packaged program.
const PROFILE: &str = "dist";
/// The gnu target also links statically, and needs no second standard library.
const TARGET: &str = env!("XTASK_TARGET");
/// Size limit of the program in bytes.
const MOST: u64 = 12_000_000;

/// Commands with a manual page of their own.
const PAGES: &[&[&str]] = &[&[], &["detect"], &["rules"]];
/// Shells and the names of their completion files.
const SHELLS: &[(&str, &str)] = &[
    ("bash", "http-trace.bash"),
    ("fish", "http-trace.fish"),
    ("zsh", "_http-trace"),
];

/// Repository files in the tarball, and their folder in it.
const FILES: &[(&str, &str)] = &[
    ("README.md", ""),
    ("CHANGELOG.md", ""),
    ("LICENSE-APACHE", ""),
    ("LICENSE-MIT", ""),
    ("deploy/http-trace.toml", "etc"),
    ("deploy/http-trace.logrotate", "etc"),
    ("deploy/systemd/http-trace.service", "systemd"),
];

/// What the check needs.
const CHECK_PACKAGES: &[&str] = &["iproute2", "procps", "python3", "systemd"];
/// The folder of the check.
const CHECK: &str = "xtask/src/dist";

#[derive(Debug, Args)]
pub struct Options {
    /// Install, upgrade, restart and remove the package too, as root.
    #[arg(long)]
    check: bool,
    /// Check this package instead of one that is built now.
    #[arg(long, value_name = "FILE", requires = "check")]
    package: Option<PathBuf>,
}

/// Builds and packs, and checks the package if asked for.
pub fn dist(options: &Options) -> Result<()> {
    let package = match &options.package {
        Some(package) => package.clone(),
        None => pack()?,
    };
    match options.check {
        true => check(&package),
        false => Ok(()),
    }
}

fn check(package: &Path) -> Result<()> {
    setup::ensure_packages(CHECK_PACKAGES)?;
    let Some(mut check) = as_root("bash") else {
        bail!("the check takes root");
    };
    let folder = workspace().join(CHECK);
    check.arg("-eu").arg(folder.join("check.sh"));
    command::run(check.arg(package).arg(folder))
}

/// The Debian package, beside the tarball.
fn pack() -> Result<PathBuf> {
    setup::ensure(&[Purpose::Build, Purpose::Dist])?;
    let program = build()?;
    let size = fs::metadata(&program)?.len();
    ensure!(
        size <= MOST,
        "{} has {size} bytes, more than {MOST}",
        program.display()
    );
    // `Cargo.toml` names this folder, whatever the target folder is.
    let out = workspace().join("target/packages");
    let share = out.join("share");
    if share.exists() {
        fs::remove_dir_all(&share)?;
    }
    write_share(&program, &share)?;
    let mut packed = vec![tarball(&program, &out)?];
    let mut deb = Command::new(command::tools().join("bin/cargo-deb"));
    deb.args(["--no-build", "--no-strip", "--package", "http-trace"]);
    deb.args(["--profile", PROFILE, "--target", TARGET, "--output"]);
    deb.arg(&out).current_dir(workspace());
    let printed = deb.output().context("cargo-deb does not start")?;
    ensure!(
        printed.status.success(),
        "cargo-deb: {}",
        String::from_utf8_lossy(&printed.stderr)
    );
    let printed = String::from_utf8_lossy(&printed.stdout);
    let package = printed.lines().last().map(PathBuf::from);
    let package = package.context("cargo-deb names no package")?;
    packed.push(package.clone());
    for file in packed {
        println!("{} {}", fs::metadata(&file)?.len(), file.display());
    }
    Ok(package)
}

/// The program, linked statically.
pub fn build() -> Result<PathBuf> {
    let mut build = cargo(&["build", "--package", "http-trace", "--profile", PROFILE]);
    // With --target, RUSTFLAGS do not apply to build scripts.
    build.args(["--target", TARGET]);
    // All relocations are relative: packing them saves half a megabyte. Identical code is folded, and
    // nothing unwinds.
    let flags = [
        "-Ctarget-feature=+crt-static",
        "-Clink-arg=-Wl,-z,pack-relative-relocs,--icf=all",
        "-Cforce-unwind-tables=no",
    ];
    build.env("RUSTFLAGS", flags.join(" "));
    build.env("CFLAGS", "-fno-asynchronous-unwind-tables");
    build.env("HTTP_TRACE_REQUIRE_BPF", "1");
    command::run(&mut build)?;
    Ok(target_folder()
        .join(TARGET)
        .join(PROFILE)
        .join("http-trace"))
}

/// Manual pages and completions, as the program prints them.
fn write_share(program: &Path, share: &Path) -> Result<()> {
    let (man, completions) = (share.join("man"), share.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for words in PAGES {
        let name = [&["http-trace"], *words].concat().join("-");
        let page = printed(program, &[&["man"], *words].concat())?;
        fs::write(man.join(name + ".1"), page)?;
    }
    for (shell, file) in SHELLS {
        let script = printed(program, &["completions", shell])?;
        fs::write(completions.join(file), script)?;
    }
    Ok(())
}

fn printed(program: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new(program).args(arguments).output()?;
    ensure!(
        output.status.success(),
        "{} {}: {}",
        program.display(),
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// One folder with everything, reproducible: the same files give the same bytes.
fn tarball(program: &Path, out: &Path) -> Result<PathBuf> {
    let arch = TARGET.split('-').next().unwrap_or(TARGET);
    let name = format!("http-trace-{}-{arch}-linux", env!("CARGO_PKG_VERSION"));
    let root = out.join(&name);
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    fs::copy(program, root.join("http-trace"))?;
    for (file, folder) in FILES {
        let from = workspace().join(file);
        let folder = root.join(folder);
        fs::create_dir_all(&folder)?;
        let name = from.file_name().context("a file without a name")?;
        fs::copy(&from, folder.join(name))?;
    }
    for from in ["share", "docs"] {
        let from = match from {
            "share" => out.join(from),
            _ => workspace().join(from),
        };
        let mut copy = Command::new("cp");
        command::run(copy.arg("-r").arg(from).arg(&root))?;
    }
    let packed = out.join(name.clone() + ".tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.args(["--mtime=2000-01-01 00:00Z", "--create", "--gzip", "--file"]);
    command::run(tar.arg(&packed).arg("--directory").arg(out).arg(name))?;
    fs::remove_dir_all(root)?;
    Ok(packed)
}
