//! Compiles the eBPF object from its sources.
//!
//! Shared by the build script and xtask. The object is the same, byte for byte, wherever it is
//! built with the same compiler and linker: no path of this machine may get into it.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

use crate::toolchain::{TARGET, Toolchain};

/// The program's package and its binary.
const PACKAGE: &str = "http-trace-ebpf";
const BINARY: &str = "http-trace-bpf";

/// Runs the BPF compiler's own cargo, free of everything the outer cargo set up for this build.
///
/// `running_rustc` is the compiler of the outer cargo; `target` the folder to build in. Returns the
/// object's path.
pub fn compile(
    workspace: &Path,
    target: &Path,
    running_rustc: &Path,
    toolchain: &Toolchain,
    linker: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    let mut flags: Vec<String> = [
        // aya-ebpf has registers of a traced program for each architecture. Nothing here reads
        // them, so one object serves all.
        "--cfg=bpf_target_arch=\"x86_64\"",
        // BTF is made of the debug information.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
        "-Ctarget-feature=+allows-misaligned-mem-access",
    ]
    .map(str::to_owned)
    .into();
    flags.extend(path_prefixes(workspace));

    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let set_by_cargo = text.starts_with("CARGO_") && text != "CARGO_HOME"
            || text.starts_with("RUSTC")
            || matches!(&*text, "CARGO" | "RUSTFLAGS" | "RUSTUP_TOOLCHAIN" | "TARGET" | "HOST");
        if set_by_cargo {
            cargo.env_remove(&name);
        }
    }
    cargo
        .current_dir(workspace)
        .args(["build", "--release", "--package", PACKAGE, "--target", TARGET, "--target-dir"])
        .arg(target)
        .env("RUSTC", &toolchain.rustc)
        // aya-ebpf uses `asm_experimental_arch`; a stable compiler refuses it without this.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        // The linker does its own link-time optimisation over all of it.
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false");
    if toolchain.build_std {
        cargo.args(["-Z", "build-std=core"]);
    }
    // A bpf-linker that was built without LLVM packages uses the LLVM of the running compiler.
    let sysroot = Command::new(running_rustc).args(["--print", "sysroot"]).output()?.stdout;
    cargo.env("LD_LIBRARY_PATH", Path::new(String::from_utf8(sysroot)?.trim()).join("lib"));
    let status = cargo
        .status()
        .map_err(|error| format!("{} does not start: {error}", toolchain.cargo.display()))?;
    if !status.success() {
        return Err(format!(
            "the eBPF program does not build with {} toolchain ({}) and {}: see above",
            toolchain.name,
            toolchain.rustc.display(),
            linker.display()
        )
        .into());
    }
    Ok(target.join(TARGET).join("release").join(BINARY))
}

/// Flags that take the paths of this machine out of the object: of the workspace and of the crates
/// that cargo unpacked.
fn path_prefixes(workspace: &Path) -> Vec<String> {
    let mut flags = vec![format!("--remap-path-prefix={}=.", workspace.display())];
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let registries = cargo_home.and_then(|home| home.join("registry/src").read_dir().ok());
    for registry in registries.into_iter().flatten().flatten() {
        flags.push(format!("--remap-path-prefix={}=crates", registry.path().display()));
    }
    flags
}
