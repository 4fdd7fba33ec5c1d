//! `cargo xtask dist`: what users install, in `target/packages`: one static program, and it with manual
//! pages, completions, the service and its settings as a tarball and as a Debian package. With `--check` the package is
//! installed, upgraded, restarted and removed under systemd, with traffic running, in namespaces of its own; a program for
//! another architecture reads captures as that for this machine does.

mod target;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use object::Object;

pub use target::Target;

use crate::{
    command::{self, target_folder, workspace},
    privilege::as_root,
    setup::{self, Purpose},
};

/// Cargo profile of the packaged program.
const PROFILE: &str = "dist";
/// Size limit of the program in bytes.
const MOST: u64 = 12_500_000;

/// Commands with a manual page of their own.
const PAGES: &[&[&str]] = &[&[], &["detect"], &["rules"]];
/// Shells and the names of their completion files.
const SHELLS: &[(&str, &str)] =
    &[("bash", "http-trace.bash"), ("fish", "http-trace.fish"), ("zsh", "_http-trace")];

/// Repository files in the tarball, and their folder in it.
const FILES: &[(&str, &str)] = &[
    ("README.md", ""),
    ("ARCHITECTURE.md", ""),
    ("CHANGELOG.md", ""),
    ("LICENSE-APACHE", ""),
    ("LICENSE-MIT", ""),
    ("deploy/http-trace.toml", "etc"),
    ("deploy/http-trace.logrotate", "etc"),
    ("deploy/systemd/http-trace.service", "systemd"),
    // What the documentation links to, with the folders below.
    ("fuzz/README.md", "fuzz"),
    ("tests/detect/tools.toml", "tests/detect"),
];
/// Folders of the repository in the tarball.
const FOLDERS: [&str; 2] = ["docs", "deploy"];

const CHECK_PACKAGES: &[&str] = &["iproute2", "procps", "python3", "systemd"];
const CHECK: &str = "xtask/src/dist";
/// Captures that a program for another architecture reads.
const CAPTURES: &str = "tests/captures";

#[derive(Debug, Args)]
pub struct Options {
    /// Install, upgrade, restart and remove the package too, as root. For another architecture: read captures
    /// under qemu-user, and compare with the program for this machine.
    #[arg(long)]
    check: bool,
    /// What to pack for; aarch64-unknown-linux-gnu is built with Debian's compiler, and needs root once.
    #[arg(long, value_name = "TRIPLE", default_value = target::HOST)]
    target: String,
    /// Check this package instead of one that is built now.
    #[arg(long, value_name = "FILE", requires = "check", conflicts_with = "target")]
    package: Option<PathBuf>,
}

/// Builds and packs, and checks the package if asked for.
pub fn dist(options: &Options) -> Result<()> {
    let target = Target::named(&options.target)?;
    let package = match &options.package {
        Some(package) => package.clone(),
        None => pack(target)?,
    };
    match options.check {
        true if target.is_foreign() => check_reading(target),
        true => check(&package),
        false => Ok(()),
    }
}

/// Reads captures with the program for another architecture and with that for this machine.
fn check_reading(target: Target) -> Result<()> {
    let read = |target: Target| {
        let mut read = target.program(&build(target)?);
        read.arg("-r").arg(workspace().join(CAPTURES));
        let output = read.args(["-o", "json"]).output()?;
        anyhow::Ok(output)
    };
    let (theirs, ours) = (read(target)?, read(Target::THIS)?);
    let same = theirs.stdout == ours.stdout && theirs.status == ours.status;
    ensure!(
        same,
        "{} gives another output:\n{}",
        target.triple(),
        String::from_utf8_lossy(&theirs.stderr)
    );
    let lines = ours.stdout.split(|b| *b == b'\n').count();
    ensure!(lines > 1, "{CAPTURES} has no events");
    println!("{CAPTURES} gives the same {} lines as on this machine", lines - 1);
    Ok(())
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
fn pack(target: Target) -> Result<PathBuf> {
    setup::ensure(&[Purpose::Build, Purpose::Dist])?;
    let program = build(target)?;
    let size = fs::metadata(&program)?.len();
    ensure!(size <= MOST, "{} has {size} bytes, more than {MOST}", program.display());
    // `Cargo.toml` names this folder, whatever the target folder is.
    let out = workspace().join("target/packages");
    let share = out.join("share");
    if share.exists() {
        fs::remove_dir_all(&share)?;
    }
    write_share(target, &program, &share)?;
    let mut packed = vec![tarball(target, &program, &out)?];
    let mut deb = Command::new(command::tools().join("bin/cargo-deb"));
    deb.args(["--no-build", "--no-strip", "--package", "http-trace"]);
    deb.args(["--profile", PROFILE, "--target", target.triple(), "--output"]);
    deb.arg(&out).current_dir(workspace());
    let printed = deb.output().context("cargo-deb does not start")?;
    ensure!(printed.status.success(), "cargo-deb: {}", String::from_utf8_lossy(&printed.stderr));
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
pub fn build(target: Target) -> Result<PathBuf> {
    target.ensure()?;
    // All relocations are relative: packing them saves half a megabyte. Identical code is folded, and
    // nothing unwinds.
    let flags = [
        "-Ctarget-feature=+crt-static",
        "-Clink-arg=-Wl,-z,pack-relative-relocs,--icf=all",
        "-Cforce-unwind-tables=no",
    ];
    let words = ["build", "--package", "http-trace", "--profile", PROFILE];
    let mut build = target.cargo(&words, &flags);
    build.env("CFLAGS", "-fno-asynchronous-unwind-tables");
    build.env("HTTP_TRACE_REQUIRE_BPF", "1");
    command::run(&mut build)?;
    let folder = target_folder().join(target.triple());
    let program = folder.join(PROFILE).join("http-trace");
    let bytes = fs::read(&program)?;
    let file = object::File::parse(&*bytes)?;
    ensure!(file.section_by_name(".interp").is_none(), "{} is not static", program.display());
    Ok(program)
}

/// Manual pages and completions, as the program prints them.
fn write_share(target: Target, program: &Path, share: &Path) -> Result<()> {
    let (man, completions) = (share.join("man"), share.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    for words in PAGES {
        let name = [&["http-trace"], *words].concat().join("-");
        let page = printed(target.program(program), &[&["man"], *words].concat())?;
        fs::write(man.join(name + ".1"), page)?;
    }
    for (shell, file) in SHELLS {
        let script = printed(target.program(program), &["completions", shell])?;
        fs::write(completions.join(file), script)?;
    }
    Ok(())
}

fn printed(mut program: Command, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = program.args(arguments).output()?;
    ensure!(
        output.status.success(),
        "{}: {}",
        command::line(&program),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// One folder with everything, reproducible: the same files give the same bytes.
fn tarball(target: Target, program: &Path, out: &Path) -> Result<PathBuf> {
    let arch = target.triple().split('-').next().unwrap_or_default();
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
    let folders = FOLDERS.iter().map(|folder| workspace().join(folder));
    for from in folders.chain([out.join("share")]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_hold_what_their_documentation_links_to() -> Result<()> {
        let read = |file: &Path| fs::read_to_string(workspace().join(file));
        let manifest = read(Path::new("http-trace/Cargo.toml"))?;
        let mut texts: Vec<PathBuf> = FILES.iter().map(|(file, _)| file.into()).collect();
        for entry in fs::read_dir(workspace().join("docs"))? {
            texts.push(Path::new("docs").join(entry?.file_name()));
        }
        texts.retain(|text| text.extension().is_some_and(|of| of == "md"));
        for text in &texts {
            let content = read(text)?;
            let links = content.split("](").skip(1);
            let links = links.filter_map(|rest| rest.split([')', '#']).next());
            for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
                let folder = text.parent().unwrap_or(Path::new(""));
                let file = match link.strip_prefix("../") {
                    Some(link) => link.into(),
                    None => folder.join(link),
                };
                let said = format!("{}: {}", text.display(), file.display());
                ensure!(workspace().join(&file).exists(), "{said} does not exist");
                let is_in_folder = FOLDERS.iter().any(|folder| file.starts_with(folder));
                let is_packed = FILES.iter().any(|(from, _)| Path::new(from) == file);
                ensure!(is_in_folder || is_packed, "{said} is not in the tarball");
                let asset = format!("\"../{}\"", file.display());
                ensure!(is_in_folder || manifest.contains(&asset), "{said} is not in the package");
            }
        }
        Ok(())
    }
}
