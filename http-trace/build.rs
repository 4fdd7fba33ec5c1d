//! Builds the eBPF object into `$OUT_DIR/http-trace.bpf.o`.
//!
//! Feature `live` only. Without a compiler or linker for BPF the object is empty and a warning
//! says so, which leaves the reader and all pure tests usable; with `HTTP_TRACE_REQUIRE_BPF=1`
//! (xtask sets it) and in release builds that is an error.

#[path = "build/toolchain.rs"]
mod toolchain;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use toolchain::{TARGET, Toolchain, find_linker};

/// The program's package and its binary.
const PACKAGE: &str = "http-trace-ebpf";
const BINARY: &str = "http-trace-bpf";

/// What installs what is missing.
const HOW: &str = "run `cargo xtask setup`, or build the reader alone with --no-default-features";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    if env::var_os("CARGO_FEATURE_LIVE").is_none() {
        return ExitCode::SUCCESS;
    }
    match object() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

fn object() -> Result<(), Box<dyn Error>> {
    for variable in ["OBJECT", "RUSTC", "CARGO", "LINKER"] {
        println!("cargo::rerun-if-env-changed=HTTP_TRACE_BPF_{variable}");
    }
    println!("cargo::rerun-if-env-changed=HTTP_TRACE_REQUIRE_BPF");

    let out = path_from("OUT_DIR")?.join("http-trace.bpf.o");
    if let Some(ready) = env::var_os("HTTP_TRACE_BPF_OBJECT").map(PathBuf::from) {
        println!("cargo::rerun-if-changed={}", ready.display());
        fs::copy(&ready, &out).map_err(|error| format!("{}: {error}", ready.display()))?;
        return Ok(());
    }

    let workspace = path_from("CARGO_MANIFEST_DIR")?.join("..").canonicalize()?;
    for watched in [
        "http-trace-ebpf",
        "http-trace-common/src",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(watched).display()
        );
    }
    let target = target_folder(&path_from("OUT_DIR")?)?;
    let tools = target.join("tools");
    let pinned = include_str!("build/nightly").trim();
    let found = Toolchain::find(&path_from("RUSTC")?, &path_from("CARGO")?, pinned)
        .zip(find_linker(&tools));
    let Some((toolchain, linker)) = found else {
        // So that the next build looks again once they are there.
        println!(
            "cargo::rerun-if-changed={}",
            tools.join("bin/bpf-linker").display()
        );
        println!("cargo::rerun-if-changed=/usr/bin/rustc");
        let required = env::var_os("HTTP_TRACE_REQUIRE_BPF").is_some_and(|v| v == "1")
            || env::var("PROFILE").is_ok_and(|profile| profile == "release");
        if required {
            return Err(format!("no compiler and linker for {TARGET} found: {HOW}").into());
        }
        println!("cargo::warning=built without the eBPF object, so it cannot trace live: {HOW}");
        fs::write(&out, [])?;
        return Ok(());
    };
    let built = compile(&workspace, &target.join("bpf"), &toolchain, &linker)?;
    fs::copy(&built, &out).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(())
}

/// Runs the BPF compiler's own cargo, free of everything the outer cargo set up for this build.
fn compile(
    workspace: &Path,
    target: &Path,
    toolchain: &Toolchain,
    linker: &Path,
) -> Result<PathBuf, Box<dyn Error>> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let cargo_home = env::var("CARGO_HOME")
        .or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // BTF is made of the debug information.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        "-Ctarget-feature=+allows-misaligned-mem-access".to_owned(),
        format!("--remap-path-prefix={}=.", workspace.display()),
    ];
    if !cargo_home.is_empty() {
        flags.push(format!("--remap-path-prefix={cargo_home}=cargo"));
    }

    let mut cargo = Command::new(&toolchain.cargo);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let set_by_cargo = text.starts_with("CARGO_") && text != "CARGO_HOME"
            || text.starts_with("RUSTC")
            || matches!(
                &*text,
                "CARGO" | "RUSTFLAGS" | "RUSTUP_TOOLCHAIN" | "TARGET" | "HOST"
            );
        if set_by_cargo {
            cargo.env_remove(&name);
        }
    }
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--release",
            "--package",
            PACKAGE,
            "--target",
            TARGET,
            "--target-dir",
        ])
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
    let sysroot = Command::new(path_from("RUSTC")?)
        .args(["--print", "sysroot"])
        .output()?
        .stdout;
    cargo.env(
        "LD_LIBRARY_PATH",
        Path::new(String::from_utf8(sysroot)?.trim()).join("lib"),
    );
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

/// The folder that holds `debug/` and `release/`, from `…/PROFILE/build/PACKAGE-HASH/out`.
fn target_folder(out_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = out_dir
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR has no target folder above it")?;
    // `--target TRIPLE` puts one more folder in between.
    let cross = env::var("TARGET").is_ok_and(|triple| folder.ends_with(triple));
    Ok(if cross {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    }
    .to_owned())
}

fn path_from(variable: &str) -> Result<PathBuf, Box<dyn Error>> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{variable} is not set").into())
}
