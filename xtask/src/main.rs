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

/// Chores of http-trace. Each sets up what it needs first.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Install what building, testing and linting need: what is there already, then Debian's
    /// packages as root, then rustup.
    Setup {
        /// Only report what is there and what is missing; exits with 1 when something is.
        #[arg(long)]
        check: bool,
    },
    /// Build the agent, its eBPF object included.
    Build(Profile),
    /// Compile the eBPF object that lies beside the sources. Needed after a change of the programs
    /// or of http-trace-common; commit what it writes.
    Ebpf {
        /// Write nothing; fail if the object is not what its sources give.
        #[arg(long)]
        check: bool,
    },
    /// Build the agent and run it: live (asks for sudo where needed), or over captures with `-r`
    /// (then without eBPF tools and without privilege).
    Run {
        /// Build with full optimisation: it takes longer to build and costs less to trace.
        #[arg(long)]
        release: bool,
        /// Arguments for http-trace.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run every test, pure ones first, then those of the kernel, live ones and detection, then each fuzz
    /// target for 15 s; says how long each group took and what it skipped. With CI=true a privileged test
    /// that was skipped is a failure.
    Test {
        /// Arguments for `cargo test`, for example a test's name.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run the fuzz targets for a while each, from seeds made of our own captures.
    Fuzz(fuzz::Options),
    /// Check what the compiler does not: import cycles, the order of modules, the length of files.
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
    /// Run scanners and honest loads against a site in namespaces, through the live agent, and hold
    /// the alerts against `tests/detect/tools.toml`. Takes a quarter of an hour.
    DetectEval {
        /// Arguments for the evaluation, for example `--only dirb`.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Boot Debian's kernels under qemu and trace on each of them, at every hook; for every night.
    Kernels(kernels::Options),
    /// Pack what users install: a static program, a tarball and a Debian package, in target/packages; --check installs,
    /// upgrades, restarts and removes it under systemd.
    Dist(dist::Options),
    /// Build the OCI image of the static program, in target/packages.
    Image(image::Options),
    /// Have others' packages read what outputs write: OTLP receivers, the table of ECS, the recipes for Vector.
    Formats,
    /// Lint, render and validate the Helm chart, and write the base for kustomize from it.
    Manifests {
        /// Write nothing; fail if the base is not what the chart gives.
        #[arg(long)]
        check: bool,
    },
    /// Measure: what the kernel's programs cost, replays, and the tracer beside a real server.
    Bench {
        /// Which benchmarks, of kernel, replay, detect and live; all without.
        what: Vec<String>,
        /// The tracer beside httpry, Suricata and tcpdump, which are installed first; writes the tables of
        /// docs/PERFORMANCE.md. Ten minutes, on a machine that does nothing else.
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

/// A failed chore says why in one line (with its causes) and exits with 1.
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
    const ALL: [&str; 4] = ["kernel", "replay", "detect", "live"];
    setup::ensure(&[Purpose::Build, Purpose::Test])?;
    if let Some(unknown) = what.iter().find(|one| !ALL.contains(&one.as_str())) {
        anyhow::bail!(
            "there is no benchmark {unknown}: there are {}",
            ALL.join(", ")
        );
    }
    let chosen = |name: &&str| what.is_empty() || what.iter().any(|one| one == name);
    let benches: Vec<&str> = ALL
        .into_iter()
        .filter(chosen)
        .flat_map(|name| ["--bench", name])
        .collect();
    run_benches(&benches, args)
}

fn peers() -> Result<()> {
    setup::ensure(&[Purpose::Build, Purpose::Test])?;
    setup::ensure_packages(&["httpry", "suricata", "tcpdump"])?;
    run_benches(&["--bench", "peers"], &[])
}

fn run_benches(benches: &[&str], args: &[String]) -> Result<()> {
    let mut cargo = cargo(&["bench", "--package", "http-trace-tests"]);
    cargo
        .args(benches)
        .env("HTTP_TRACE_REQUIRE_BPF", "1")
        .arg("--")
        .args(args);
    command::run(&mut cargo)
}
