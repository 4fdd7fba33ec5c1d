//! Writes the eBPF object to `$OUT_DIR/http-trace.bpf.o`: the compressed one beside the sources, if it was
//! built from these sources, otherwise one compiled here.
//!
//! Only for feature `live`. If it must be compiled and there is no BPF compiler or linker, the object is
//! empty and a warning is printed; reading captures and all pure tests still work. With
//! `HTTP_TRACE_REQUIRE_BPF=1` (set by xtask) and in release builds that is an error.

#[path = "build/compile.rs"]
mod compile;
#[path = "build/shipped.rs"]
mod shipped;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use compile::compile;
use toolchain::{TARGET, Toolchain, find_linker};

/// Why a compiler is needed, and how to install it.
const HOW: &str = "the eBPF programs differ from those of the object beside the sources; run `cargo xtask \
     setup` and build again, or build the reader alone with --no-default-features";

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
    for watched in ["http-trace-ebpf", "http-trace-common", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    if let Some(object) = shipped::fitting(&workspace)? {
        fs::write(&out, object)?;
        return Ok(());
    }
    let target = target_folder(&path_from("OUT_DIR")?)?;
    let tools = target.join("tools");
    let pinned = include_str!("build/nightly").trim();
    let found = Toolchain::find(&path_from("RUSTC")?, &path_from("CARGO")?, pinned)
        .zip(find_linker(&tools));
    let Some((toolchain, linker)) = found else {
        // Build again once they are installed.
        println!("cargo::rerun-if-changed={}", tools.join("bin/bpf-linker").display());
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
    let built =
        compile(&workspace, &target.join("bpf"), &path_from("RUSTC")?, &toolchain, &linker)?;
    fs::copy(&built, &out).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(())
}

/// The folder that contains `debug/` and `release/`, given `…/PROFILE/build/PACKAGE-HASH/out`.
fn target_folder(out_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = out_dir.ancestors().nth(4).ok_or("OUT_DIR has no target folder above it")?;
    // `--target TRIPLE` adds a folder in between.
    let cross = env::var("TARGET").is_ok_and(|triple| folder.ends_with(triple));
    Ok(if cross { folder.parent().unwrap_or(folder) } else { folder }.to_owned())
}

fn path_from(variable: &str) -> Result<PathBuf, Box<dyn Error>> {
    env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("{variable} is not set").into())
}
