//! Passes the build target to xtask, since the name of cargo's runner variable contains it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=XTASK_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
