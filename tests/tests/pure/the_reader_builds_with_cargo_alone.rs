//! The reader builds with cargo alone and has no Linux-only dependency.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Linux-only crates, by name or prefix. `libc` and `rustix` are not among them: standard crates use them on
/// every Unix.
const LINUX_ONLY: [&str; 9] = [
    "aya", "caps", "libbpf", "linux-raw-sys", "neli", "netlink", "procfs", "rtnetlink", "sd-notify",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(args: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).args(args).current_dir(workspace()).output().expect("cargo starts");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[test]
fn nothing_of_linux_alone_is_in_the_readers_tree() {
    for target in ["x86_64-pc-windows-msvc", "aarch64-apple-darwin"] {
        let tree = cargo(&[
            "tree", "--locked", "--package", "http-trace", "--no-default-features", "--edges",
            "normal", "--prefix", "none", "--format", "{p}", "--target", target,
        ]);
        let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
        assert!(tree.contains("pcap-parser"), "the tree was read");
        let found: Vec<&str> = tree
            .lines()
            .filter(|line| LINUX_ONLY.iter().any(|name| line.starts_with(name)))
            .collect();
        assert!(found.is_empty(), "{target}: {found:?}");
    }
}

#[test]
fn cargo_install_gives_a_reader_that_reads() {
    let root = tempfile::tempdir().expect("a folder");
    let root_arg = root.path().to_str().expect("a plain path");
    cargo(&[
        "install", "--locked", "--debug", "--path", "http-trace", "--no-default-features",
        "--root", root_arg, "--target-dir", "target/reader-install",
    ]);
    let capture = workspace().join("tests/captures/nginx.pcap");
    let output = Command::new(root.path().join("bin/http-trace"))
        .arg("-r")
        .arg(capture)
        .args(["-o", "json", "--status", "404", "-c", "1"])
        .output()
        .expect("the reader starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let responses = text.lines().filter(|l| l.contains("\"kind\":\"event\""));
    assert_eq!(responses.count(), 1);
    assert!(text.contains("\"status_code\":404"), "{text}");
    let live =
        Command::new(root.path().join("bin/http-trace")).output().expect("the reader starts");
    let why = String::from_utf8_lossy(&live.stderr).into_owned();
    assert_eq!(live.status.code(), Some(2));
    assert!(why.contains("-r"), "says what to do instead: {why}");
}
