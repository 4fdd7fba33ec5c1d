//! Every chore of the project: `cargo xtask --help`.
//!
//! Chores run programs and install what those need; nothing here knows about HTTP.
#![forbid(unsafe_code)]

mod command;
#[path = "../../http-trace/build/compile.rs"]
mod compile;
mod corpus;
mod detect_eval;
mod dist;
mod ebpf;
mod formats;
mod fuzz;
mod image;
mod kernels;
mod lint;
mod manifests;
mod privilege;
mod run;
mod setup;
// Uses `sha1::Sha1`, which tidy would miss in a file of another package.
#[path = "../../http-trace/build/shipped.rs"]
mod shipped;
mod test;
mod tidy;
#[path = "../../http-trace/build/toolchain.rs"]
mod toolchain;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use command::{cargo, target_folder};
use setup::Purpose;

/// Chores of http-trace. Each installs what it needs first.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what building, testing and linting need and lack: Debian packages as root, then tools with
    /// rustup and cargo.
    Setup {
        /// Only report what is installed and what is missing; exit with 1 if something is missing.
        #[arg(long)]
        check: bool,
    },
    /// Build the agent, its eBPF object included.
    Build(Profile),
    /// Compile the checked-in eBPF object. Needed after a change of the programs or of
    /// http-trace-common; commit what it writes.
    Ebpf {
        /// Write nothing; fail if the object differs from what its sources compile to.
        #[arg(long)]
        check: bool,
    },
    /// Build the agent and run it: live (asks for sudo if needed), or over captures with `-r`
    /// (without eBPF tools and without privileges).
    Run {
        /// Build with full optimisation: slower to build, cheaper to trace.
        #[arg(long)]
        release: bool,
        /// Arguments for http-trace.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test: pure, kernel, live, detection, then each fuzz target for 15 s. Prints how long each
    /// group took and what was skipped. With CI=true a skipped privileged test is a failure.
    Test {
        /// Arguments for `cargo test`, for example a test's name.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run each fuzz target for a while, with seeds made from our own captures.
    Fuzz(fuzz::Options),
    /// Check what the compiler does not: import cycles, module order, file lengths.
    Tidy {
        /// Only count lines of code without tests, by crate and module.
        #[arg(long)]
        lines: bool,
    },
    /// rustfmt, tidy, clippy with warnings denied (for the eBPF program on its own target too), and
    /// cargo-deny for licences and bans.
    Lint,
    /// Replay a folder of captures and compare with what each is expected to hold.
    Corpus(corpus::Options),
    /// Run scanners and honest loads against a site in namespaces, with the live agent, and compare the
    /// alerts with `tests/detect/tools.toml`. Takes about nineteen minutes.
    DetectEval {
        /// Arguments for the evaluation, for example `--only dirb`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Boot Debian's kernels under qemu and trace on each, at every hook. Meant for a nightly run.
    Kernels(kernels::Options),
    /// Pack what users install: a static program, a tarball and a Debian package, in target/packages; --check installs,
    /// upgrades, restarts and removes it under systemd.
    Dist(dist::Options),
    /// Build the OCI image of the static program, in target/packages.
    Image(image::Options),
    /// Check outputs with third-party software: OTLP receivers, the ECS table, Vector's compiler.
    Formats,
    /// Lint, render and validate the Helm chart, and write the kustomize base from it.
    Manifests {
        /// Write nothing; fail if the base differs from the chart.
        #[arg(long)]
        check: bool,
    },
    /// Measure: cost of the kernel programs, replays, and the tracer beside a real server.
    Bench {
        /// Benchmarks to run: kernel, replay, detect, live. Default: all.
        what: Vec<String>,
        /// Compare with httpry, Suricata and tcpdump, which are installed first; writes the tables of
        /// docs/PERFORMANCE.md. Ten minutes, on an otherwise idle machine.
        #[arg(long, conflicts_with = "what")]
        peers: bool,
        /// Arguments for the benchmark.
        #[arg(last = true)]
        args: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct Profile {
    /// Build with optimisation, to target/release.
    #[arg(long)]
    release: bool,
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Setup { check } => setup::setup(check),
        Chore::Build(profile) => build(profile),
        Chore::Ebpf { check: false } => ebpf::write(),
        Chore::Ebpf { check: true } => ebpf::report(),
        Chore::Run { release, args } => return exit(run::run(release, &args)),
        Chore::Test { args } => test::test(&args),
        Chore::Fuzz(options) => fuzz::fuzz(&options),
        Chore::Tidy { lines } => tidy::tidy(lines),
        Chore::Lint => lint::lint(),
        Chore::Corpus(options) => corpus::corpus(&options),
        Chore::DetectEval { args } => detect_eval::detect_eval(&args),
        Chore::Kernels(options) => kernels::kernels(&options),
        Chore::Dist(options) => dist::dist(&options),
        Chore::Image(options) => image::image(&options),
        Chore::Formats => formats::formats(),
        Chore::Manifests { check } => manifests::manifests(check),
        Chore::Bench { peers: true, .. } => peers(),
        Chore::Bench { what, args, .. } => bench(&what, &args),
    };
    exit(done.map(|()| ExitCode::SUCCESS))
}

/// Reports a failed chore in one line (with its causes) and exits with 1.
fn exit(done: Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn build(profile: Profile) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    let mut cargo = cargo(&["build", "--package", "http-trace"]);
    cargo.env("HTTP_TRACE_REQUIRE_BPF", "1");
    if profile.release {
        cargo.arg("--release");
    }
    command::run(&mut cargo)?;
    let built = if profile.release { "release" } else { "debug" };
    let program = target_folder().join(built).join("http-trace");
    eprintln!("xtask: built {}", program.display());
    Ok(())
}

fn bench(what: &[String], args: &[String]) -> Result<()> {
    const ALL: [&str; 5] = ["kernel", "replay", "detect", "live", "scaling"];
    setup::ensure(&[Purpose::Build, Purpose::Test])?;
    if let Some(unknown) = what.iter().find(|one| !ALL.contains(&one.as_str())) {
        anyhow::bail!("there is no benchmark {unknown}: there are {}", ALL.join(", "));
    }
    let chosen = |name: &&str| what.is_empty() || what.iter().any(|one| one == name);
    let benches: Vec<&str> =
        ALL.into_iter().filter(chosen).flat_map(|name| ["--bench", name]).collect();
    run_benches(&benches, args)
}

fn peers() -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Test])?;
    setup::ensure_packages(&["httpry", "suricata", "tcpdump"])?;
    run_benches(&["--bench", "peers"], &[])
}

fn run_benches(benches: &[&str], args: &[String]) -> Result<()> {
    let mut cargo = cargo(&["bench", "--package", "http-trace-tests"]);
    cargo.args(benches).env("HTTP_TRACE_REQUIRE_BPF", "1").arg("--").args(args);
    command::run(&mut cargo)
}
