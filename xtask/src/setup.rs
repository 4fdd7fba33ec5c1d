//! Installs what the other chores need: Debian packages as root, then tools with rustup and cargo.
//!
//! Tools go to `target/tools`; nothing is put on the user's PATH, and nothing installed is changed.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Result, anyhow, bail};

use crate::{
    command::{self, cargo, on_path, succeeds, target_folder, tools, workspace},
    privilege::as_root,
    shipped,
    toolchain::{LINKER_LLVM, TARGET, Toolchain, find_linker, llvm_major},
};

/// A BPF compiler with `core`, and what building bpf-linker needs.
const BUILD_PACKAGES: &[&str] = &[
    "rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "rust-web-src", "llvm-22-dev", "clang-22",
    "lld-22", "libpolly-22-dev", "libzstd-dev", "zlib1g-dev",
];

/// Packages for the tests on real servers.
const TEST_PACKAGES: &str = include_str!("../../tests/packages.txt");

/// The packages of [`TEST_PACKAGES`], each with the program that shows that it is installed.
fn test_packages() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEST_PACKAGES
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let package = words.next().unwrap_or(line);
            (package, words.next().unwrap_or(package))
        })
}

const LINKER: &str = "0.13.0";
/// The last version that loads LLVM from the compiler's own library and so needs no LLVM packages.
const LINKER_WITHOUT_LLVM: &str = "0.10.1";
const DENY: &str = "0.20.2";
const CARGO_DEB: &str = "3.8.0";

/// A purpose to install tools for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Building the agent. Needs nothing while the checked-in eBPF object matches its sources.
    Build,
    /// Compiling the eBPF object.
    Ebpf,
    /// Debian packages.
    Dist,
    /// The tests on real servers.
    Test,
    /// `cargo xtask lint`.
    Lint,
}

impl Purpose {
    const ALL: &[Purpose] = &[Purpose::Ebpf, Purpose::Test, Purpose::Lint];
}

/// The nightly that rustup fetches if neither the running toolchain nor Debian's suffices.
pub fn pinned_nightly() -> &'static str {
    include_str!("../../http-trace/build/nightly").trim()
}

/// `cargo xtask setup`: installs everything, or with `check` only reports.
pub fn setup(check: bool) -> Result<()> {
    if !check {
        ensure(Purpose::ALL)?;
    }
    let missing = report();
    if missing > 0 {
        bail!("{missing} missing; `cargo xtask setup` installs what it can");
    }
    Ok(())
}

/// Installs what `purposes` need and lack. What only tests use may stay missing (they skip); a missing BPF
/// compiler or linker is an error.
pub fn ensure(purposes: &[Purpose]) -> Result<()> {
    let mut packages: Vec<&str> = Vec::new();
    let wanted =
        purposes.contains(&Purpose::Ebpf) || purposes.contains(&Purpose::Build) && !has_object();
    let ebpf = wanted && !can_compile();
    if ebpf {
        packages.extend(BUILD_PACKAGES.iter().filter(|package| !is_installed(package)));
    }
    if purposes.contains(&Purpose::Test) {
        let missing = test_packages().filter(|(_, program)| !program_exists(program));
        packages.extend(missing.map(|(package, _)| package));
    }
    if purposes.contains(&Purpose::Lint) && Path::new("/usr/bin/rustc").exists() | ebpf {
        let driver = Path::new("/usr/bin/clippy-driver");
        packages.extend((!driver.exists()).then_some("rust-web-clippy"));
    }
    if !packages.is_empty() {
        // Tests skip without them; the checks below decide about building.
        if let Err(error) = install_packages(&packages) {
            eprintln!("xtask: {error:#}");
        }
    }
    if ebpf {
        ensure_compiler()?;
        ensure_linker()?;
    }
    if purposes.contains(&Purpose::Lint) {
        ensure_lint_tools();
    }
    if purposes.contains(&Purpose::Dist) && !tools().join("bin/cargo-deb").is_file() {
        let mut install = cargo(&["install", "--quiet", "--locked", "cargo-deb"]);
        install.args(["--version", CARGO_DEB, "--no-default-features", "--root"]);
        step(install.arg(tools()))?;
    }
    Ok(())
}

/// Installs the missing ones of these Debian packages.
pub fn ensure_packages(packages: &[&str]) -> Result<()> {
    let missing = packages.iter().copied();
    let missing: Vec<&str> = missing.filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install_packages(&missing)
}

/// Prints what is installed and what is missing; returns the number of missing ones.
fn report() -> usize {
    let mut missing = 0;
    let mut row = |name: &str, found: Option<String>| {
        missing += usize::from(found.is_none());
        eprintln!("  {name:<24} {}", found.as_deref().unwrap_or("missing"));
    };
    let compiler = compiler();
    row(
        "compiler for BPF",
        compiler.map(|toolchain| {
            let core = if toolchain.build_std { "builds core" } else { "core ready-made" };
            format!("{} ({}; {core})", toolchain.rustc.display(), toolchain.name)
        }),
    );
    row("bpf-linker", find_linker(&tools()).map(|path| path.display().to_string()));
    for (package, program) in test_packages() {
        let there = program_exists(program);
        row(&format!("{package} (tests)"), there.then(|| "installed".into()));
    }
    for component in ["fmt", "clippy"] {
        let there = succeeds(&mut cargo(&[component, "--version"]));
        row(&format!("cargo {component} (lint)"), there.then(|| "installed".into()));
    }
    row("cargo-deny (lint)", cargo_deny().map(|path| path.display().to_string()));
    missing
}

fn compiler() -> Option<Toolchain> {
    let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    Toolchain::find(&running_rustc(), &cargo, pinned_nightly())
}

fn can_compile() -> bool {
    compiler().is_some() && find_linker(&tools()).is_some()
}

/// Whether the agent builds without compiling the eBPF object.
fn has_object() -> bool {
    env::var_os("HTTP_TRACE_BPF_OBJECT").is_some()
        || shipped::fitting(workspace()).is_ok_and(|object| object.is_some())
}

/// The compiler beside the running cargo, which does not pass its name on.
pub fn running_rustc() -> PathBuf {
    let beside = |cargo: &Path| Some(cargo.with_file_name("rustc")).filter(|path| path.exists());
    env::var_os("CARGO")
        .and_then(|cargo| beside(Path::new(&cargo)))
        .unwrap_or_else(|| "rustc".into())
}

fn ensure_compiler() -> Result<()> {
    if compiler().is_some() {
        return Ok(());
    }
    if !on_path("rustup") || is_ci() {
        bail!(
            "no compiler for {TARGET}: install Debian's packages {} as root, or use rustup, then \
             run `cargo xtask setup` again",
            BUILD_PACKAGES.join(" ")
        );
    }
    // With rust-src the running compiler can build core, unless its LLVM is too new for the linker.
    if llvm_major(&running_rustc()).is_some_and(|llvm| llvm <= LINKER_LLVM) {
        let _ = step(Command::new("rustup").args(["component", "add", "rust-src"]));
    }
    if compiler().is_none() {
        step(Command::new("rustup").args([
            "toolchain",
            "install",
            pinned_nightly(),
            "--profile",
            "minimal",
            "--component",
            "rust-src",
        ]))?;
    }
    compiler().map(drop).ok_or_else(|| anyhow!("still no compiler for {TARGET}"))
}

fn ensure_linker() -> Result<()> {
    if find_linker(&tools()).is_some() {
        return Ok(());
    }
    let llvm = format!("/usr/lib/llvm-{LINKER_LLVM}");
    let mut install = cargo(&["install", "--quiet", "--locked", "bpf-linker"]);
    install.arg("--root").arg(tools());
    if Path::new(&llvm).join("bin/llvm-config").exists() {
        install
            .args(["--version", LINKER, "--no-default-features", "--features"])
            .arg(format!("llvm-{LINKER_LLVM}"))
            .env("LLVM_PREFIX", &llvm);
    } else {
        install.args(["--version", LINKER_WITHOUT_LLVM]);
    }
    step(&mut install)
}

/// Nothing here is fatal: lint reports what it skipped.
fn ensure_lint_tools() {
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !succeeds(&mut cargo(&[tool, "--version"])) && on_path("rustup") {
            let _ = step(Command::new("rustup").args(["component", "add", component]));
        }
    }
    if cargo_deny().is_none() {
        let mut install =
            cargo(&["install", "--quiet", "--locked", "cargo-deny", "--version", DENY]);
        let _ = step(install.arg("--root").arg(tools()));
    }
}

/// cargo-deny, if it is installed.
pub fn cargo_deny() -> Option<PathBuf> {
    Some(tools().join("bin/cargo-deny")).filter(|path| path.is_file())
}

/// Installs Debian packages as root.
fn install_packages(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !on_path("apt-get") {
        bail!("missing here, and this is no Debian: {list}");
    }
    let apt = || {
        let mut apt = as_root("env")?;
        // RUNLEVEL=1 keeps packages from starting their services.
        apt.args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "--quiet=2"]);
        apt.args(["--option", "DPkg::Lock::Timeout=300"]);
        Some(apt)
    };
    let run = |arguments: &[&str], packages: &[&str]| {
        let Some(mut apt) = apt() else {
            bail!("as root, run `apt-get install {list}`");
        };
        step(apt.args(arguments).args(packages))
    };
    const INSTALL: [&str; 3] = ["install", "--yes", "--no-install-recommends"];
    run(&["update"], &[])?;
    let (mut ordinary, mut lacking): (Vec<&str>, Vec<&str>) =
        packages.iter().partition(|package| has_candidate(package));
    let backports = backports()?.filter(|_| !lacking.is_empty());
    if backports.is_none() {
        ordinary.append(&mut lacking);
    }
    if !ordinary.is_empty() {
        run(&INSTALL, &ordinary)?;
    }
    let Some((release, list)) = backports else {
        return Ok(());
    };
    let source = format!("Dir::Etc::SourceList={}", list.display());
    run(&["update", "--option", &source], &[])?;
    let of = ["--option", &source, "--target-release", &release];
    run(&[&INSTALL[..], &of].concat(), &lacking)
}

/// Whether the configured sources have this package.
fn has_candidate(package: &str) -> bool {
    let policy = Command::new("apt-cache").args(["policy", package]).output();
    policy.is_ok_and(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        text.contains("Candidate:") && !text.contains("Candidate: (none)")
    })
}

/// The backports of this Debian release, and a list of sources that has them, for this run alone.
fn backports() -> Result<Option<(String, PathBuf)>> {
    let about = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |key: &str| about.lines().find_map(|line| line.strip_prefix(key));
    let (Some("debian"), Some(codename)) = (value("ID="), value("VERSION_CODENAME=")) else {
        return Ok(None);
    };
    let release = format!("{codename}-backports");
    let mut sources = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    sources.push_str(&format!(
        "\ndeb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian {release} main\n"
    ));
    fs::create_dir_all(tools())?;
    let list = tools().join("backports.list");
    fs::write(&list, sources)?;
    Ok(Some((release, list)))
}

fn is_installed(package: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["--show", "--showformat=${Status}", package]).output();
    query.is_ok_and(|output| output.stdout.starts_with(b"install ok installed"))
}

/// Whether this program is installed, from a package or not.
fn program_exists(name: &str) -> bool {
    // A user's PATH often lacks the sbin folders.
    on_path(name) || ["/usr/sbin", "/sbin"].iter().any(|f| Path::new(f).join(name).is_file())
}

fn is_ci() -> bool {
    env::var("CI").is_ok_and(|ci| ci == "true")
}

/// Runs one step; prints its command line, then how long it took.
fn step(command: &mut Command) -> Result<()> {
    let line = command::line(command);
    let note =
        if line.contains(" install --quiet ") { " (compiles silently for minutes)" } else { "" };
    eprintln!("xtask: {line}{note}");
    fs::create_dir_all(target_folder())?;
    let start = Instant::now();
    command::run(command)?;
    eprintln!("xtask: done in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package listed with a wrong program would be reported as missing for ever.
    #[test]
    fn each_package_is_told_by_a_program_that_it_brings() {
        for (package, program) in test_packages() {
            if is_installed(package) {
                assert!(program_exists(program), "{package} brings no {program}");
            }
        }
    }
}
