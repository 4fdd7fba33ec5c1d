//! Finds a compiler and linker that can build the eBPF object on this machine.
//!
//! Shared by the build script, which uses them, and xtask, which installs them. Looks them up and queries
//! versions; never installs or writes.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The target of the eBPF object.
pub const TARGET: &str = "bpfel-unknown-none";

/// The newest LLVM version whose bitcode the pinned bpf-linker reads. With a newer compiler, linking fails
/// with "Invalid record".
pub const LINKER_LLVM: u32 = 22;

/// Debian's compiler, from the packages `rustc-web` and `cargo-web`.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

/// A compiler that can build for [`TARGET`].
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// Where it was found, for messages.
    pub name: &'static str,
    /// The compiler.
    pub rustc: PathBuf,
    /// The matching cargo.
    pub cargo: PathBuf,
    /// Whether core must be built from `rust-src`, because no prebuilt one is installed.
    pub build_std: bool,
}

impl Toolchain {
    /// The first usable toolchain: that of `HTTP_TRACE_BPF_RUSTC` and `_CARGO`, the running one (if it has
    /// `rust-src`), Debian's, the pinned nightly of rustup.
    pub fn find(running_rustc: &Path, running_cargo: &Path, pinned: &str) -> Option<Self> {
        if let Some(rustc) = env::var_os("HTTP_TRACE_BPF_RUSTC") {
            let cargo = env::var_os("HTTP_TRACE_BPF_CARGO").unwrap_or_else(|| "cargo".into());
            return Self::probe("HTTP_TRACE_BPF_RUSTC", rustc.as_ref(), cargo.as_ref());
        }
        let debian = || {
            Path::new(DEBIAN_CARGO).exists().then_some(())?;
            Self::probe("Debian's", DEBIAN_RUSTC.as_ref(), DEBIAN_CARGO.as_ref())
        };
        Self::probe("the running", running_rustc, running_cargo).or_else(debian).or_else(|| {
            let which = |tool| rustup_which(pinned, tool);
            Self::probe("rustup's pinned", &which("rustc")?, &which("cargo")?)
        })
    }

    /// Checks that `rustc` runs, is no newer than the linker, and has core (or its source) for BPF.
    fn probe(name: &'static str, rustc: &Path, cargo: &Path) -> Option<Self> {
        if llvm_major(rustc)? > LINKER_LLVM {
            return None;
        }
        let sysroot = PathBuf::from(stdout(Command::new(rustc).args(["--print", "sysroot"]))?);
        let rustlib = sysroot.join("lib/rustlib");
        // An installed target, not a folder left behind by a removed package.
        let ready_made = rustlib.join(TARGET).join("lib").read_dir().is_ok_and(|mut files| {
            files.any(|file| file.is_ok_and(|f| f.file_name().to_string_lossy().contains("core")))
        });
        let source = rustlib.join("src/rust/library/core/src/lib.rs").exists();
        (ready_made || source).then(|| Toolchain {
            name,
            rustc: rustc.into(),
            cargo: cargo.into(),
            build_std: !ready_made,
        })
    }
}

/// The major version of a compiler's LLVM.
pub fn llvm_major(rustc: &Path) -> Option<u32> {
    let verbose = stdout(Command::new(rustc).arg("-vV"))?;
    let version = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// Finds bpf-linker: `HTTP_TRACE_BPF_LINKER`, then `tools` (where xtask installs it), then PATH.
pub fn find_linker(tools: &Path) -> Option<PathBuf> {
    if let Some(named) = env::var_os("HTTP_TRACE_BPF_LINKER") {
        return Some(named.into());
    }
    let file = format!("bpf-linker{}", env::consts::EXE_SUFFIX);
    let on_path = env::var_os("PATH").unwrap_or_default();
    [tools.join("bin")]
        .into_iter()
        .chain(env::split_paths(&on_path))
        .map(|folder| folder.join(&file))
        .find(|candidate| candidate.is_file())
}

fn rustup_which(toolchain: &str, tool: &str) -> Option<PathBuf> {
    let mut rustup = Command::new("rustup");
    rustup.args(["which", "--toolchain", toolchain, tool]).env("RUSTUP_AUTO_INSTALL", "0");
    stdout(&mut rustup).map(PathBuf::from)
}

/// The trimmed output of a command; `None` if it cannot run or fails.
fn stdout(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
