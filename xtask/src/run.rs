//! `cargo xtask run`: builds and runs the agent, live or over captures, with no more privileges than needed.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{
    command::{self, cargo, target_folder},
    privilege,
    setup::{self, Purpose},
};

/// The cargo profile that builds fastest and still runs well.
const QUICK: &str = "quick";

/// Builds http-trace and runs it with `args`; returns its exit code.
pub fn run(release: bool, args: &[String]) -> Result<ExitCode> {
    let live = is_live(args);
    let mut build = cargo(&["build", "--package", "http-trace"]);
    // The reader is a different build: a folder of its own avoids rebuilding both alternately.
    let target = if live { target_folder().to_owned() } else { target_folder().join("reader") };
    build.arg("--target-dir").arg(&target);
    if live {
        setup::ensure(&[Purpose::Build])?;
        build.env("HTTP_TRACE_REQUIRE_BPF", "1");
    } else {
        build.arg("--no-default-features");
    }
    let profile = if release { "release" } else { QUICK };
    build.args(["--profile", profile]);
    command::run(&mut build)?;

    let binary = target.join(profile).join("http-trace");
    let mut agent = if !live || privilege::may_trace() {
        Command::new(&binary)
    } else if privilege::may_sudo() {
        eprintln!("xtask: tracing live needs root: asking sudo to run {}", binary.display());
        let mut sudo = Command::new("sudo");
        sudo.arg("--preserve-env").arg(&binary);
        sudo
    } else {
        bail!(
            "tracing live needs root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and there is no \
             sudo: run {} as root, or give it captures with `-- -r FILE`",
            binary.display()
        );
    };
    let status = agent
        .args(args)
        .status()
        .with_context(|| format!("{} does not start", binary.display()))?;
    // Ended by a signal.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(130);
    Ok(ExitCode::from(code))
}

/// Whether these arguments trace live. Reading captures, and subcommands that only print, need neither the
/// eBPF object nor privileges.
fn is_live(args: &[String]) -> bool {
    let quiet = ["completions", "man", "schema", "help", "-h", "--help", "-V", "--version"];
    let prints = args.first().is_some_and(|first| quiet.contains(&first.as_str()));
    let reads = args
        .iter()
        .any(|arg| arg == "--read" || arg.starts_with("--read=") || arg.starts_with("-r"));
    !prints && !reads
}

#[cfg(test)]
mod tests {
    use super::is_live;

    #[test]
    fn captures_and_printing_need_no_privilege() {
        let table: &[(&[&str], bool)] = &[
            (&[], true),
            (&["-i", "eth0", "-p", "8080"], true),
            (&["--request-headers", "Host"], true),
            (&["-r", "a.pcap"], false),
            (&["-o", "json", "-ra.pcap"], false),
            (&["--read", "a.pcap"], false),
            (&["--read=a.pcap", "-q"], false),
            (&["schema"], false),
            (&["--version"], false),
        ];
        for (args, live) in table {
            let args: Vec<String> = args.iter().map(|&arg| arg.into()).collect();
            assert_eq!(is_live(&args), *live, "{args:?}");
        }
    }
}
