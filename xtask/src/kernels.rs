//! `cargo xtask kernels`: boots Debian's kernels under qemu and traces on each of them.
//!
//! A kernel's package is fetched with apt and unpacked, never installed. The guest is an initramfs of
//! busybox, the agent with its libraries, and the modules of clsact.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    command::{self, cargo, target_folder},
    setup::{self, Purpose},
};

/// What is installed for it.
const PACKAGES: &[&str] = &["qemu-system-x86", "busybox-static", "cpio"];
/// Kernels that are tried unless others are named.
const KERNELS: &[&str] = &["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"];
/// Seconds for a guest, which may be emulated.
const PATIENCE_S: &str = "420";
/// What the guest runs first.
const INIT: &str = include_str!("kernels/init");

#[derive(Debug, Args)]
pub struct Options {
    /// Debian packages of kernels, or their .deb files.
    kernels: Vec<String>,
}

/// Boots each kernel; fails when one of them does not trace.
pub fn kernels(options: &Options) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    setup::ensure_packages(PACKAGES)?;
    command::run(&mut cargo(&["build", "--package", "http-trace"]))?;
    let folder = target_folder().join("kernels");
    fs::create_dir_all(&folder)?;
    let named: Vec<&str> = match options.kernels.as_slice() {
        [] => KERNELS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let mut failed = Vec::new();
    for kernel in named {
        println!("== {kernel}");
        match boot(&folder, kernel) {
            Ok(()) => {}
            Err(error) => {
                eprintln!("xtask: {kernel}: {error:#}");
                failed.push(kernel);
            }
        }
    }
    ensure!(failed.is_empty(), "not traced: {}", failed.join(", "));
    Ok(())
}

/// Boots one and prints what the guest reports.
fn boot(folder: &Path, kernel: &str) -> Result<()> {
    let root = unpack(folder, kernel)?;
    let image = only(&root.join("boot"), "vmlinuz-")?;
    let release = image
        .file_name()
        .and_then(|name| name.to_str()?.strip_prefix("vmlinuz-"))
        .context("a kernel without a version")?
        .to_owned();
    let archive = initramfs(folder, &root, &release)?;
    let mut qemu = Command::new("timeout");
    qemu.args([PATIENCE_S, "qemu-system-x86_64", "-m", "1024", "-smp", "2"]);
    qemu.args(["-nographic", "-no-reboot", "-nic", "none"]);
    if Path::new("/dev/kvm").exists() {
        qemu.arg("-enable-kvm");
    }
    qemu.arg("-kernel").arg(&image).arg("-initrd").arg(&archive);
    qemu.args(["-append", "console=ttyS0 panic=-1"]);
    let output = qemu.stdin(Stdio::null()).output().context("qemu")?;
    let text = String::from_utf8_lossy(&output.stdout);
    fs::write(folder.join(format!("{release}.log")), text.as_bytes())?;
    let lines = || {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("SMOKE "))
    };
    lines().for_each(|line| println!("{release}: {line}"));
    ensure!(
        lines().any(|line| line == "done"),
        "the guest did not come to its end: see {release}.log in {}",
        folder.display()
    );
    let bad: Vec<&str> = lines().filter(|line| line.contains("FAILED")).collect();
    ensure!(bad.is_empty(), "{}", bad.join("; "));
    Ok(())
}

/// The folder in which a package is unpacked; of a metapackage, what it stands for.
fn unpack(folder: &Path, kernel: &str) -> Result<PathBuf> {
    let package = if kernel.ends_with(".deb") {
        fs::canonicalize(kernel).with_context(|| kernel.to_owned())?
    } else {
        download(folder, &resolve(kernel)?)?
    };
    let name = package.file_stem().context("a package without a name")?;
    let root = folder.join(name);
    if !root.join("boot").is_dir() {
        let mut unpack = Command::new("dpkg-deb");
        command::run(unpack.arg("-x").arg(&package).arg(&root))?;
    }
    Ok(root)
}

/// The package with the image that a metapackage depends on.
fn resolve(package: &str) -> Result<String> {
    let mut command = Command::new("apt-cache");
    let output = command.args(["depends", package]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let depends = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "));
    let image = depends
        .map(str::trim)
        .find(|name| name.starts_with("linux-image-"));
    Ok(image.unwrap_or(package).to_owned())
}

fn download(folder: &Path, package: &str) -> Result<PathBuf> {
    let prefix = format!("{package}_");
    if let Ok(there) = only(folder, &prefix) {
        return Ok(there);
    }
    let mut apt = Command::new("apt-get");
    apt.args(["download", package]).current_dir(folder);
    command::run(&mut apt)?;
    only(folder, &prefix)
}

/// The entry of a folder whose name begins so; of packages, the file.
fn only(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let names = entries.flatten().map(|entry| entry.path());
    let mut found = names.filter(|path| {
        path.is_file()
            && path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(prefix))
    });
    found
        .next()
        .with_context(|| format!("no {prefix}… in {}", folder.display()))
}

/// Packs the guest's files.
fn initramfs(folder: &Path, kernel: &Path, release: &str) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in [
        "bin", "modules", "proc", "sys", "dev", "tmp", "www", "cgroup",
    ] {
        fs::create_dir_all(root.join(name))?;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    copy(
        Path::new(busybox.context("busybox-static")?),
        &root.join("bin/busybox"),
    )?;
    symlink("busybox", root.join("bin/sh"))?;
    let agent = target_folder().join("debug/http-trace");
    copy(&agent, &root.join("bin/http-trace"))?;
    for library in libraries(&agent)? {
        let to = root.join(library.strip_prefix("/").unwrap_or(&library));
        fs::create_dir_all(to.parent().context("a library's folder")?)?;
        fs::copy(&library, &to).with_context(|| library.display().to_string())?;
    }
    // In the order in which they are loaded; built in where they are missing.
    let modules = [kernel.join("lib/modules"), kernel.join("usr/lib/modules")];
    let modules = modules.iter().find(|path| path.is_dir());
    if let Some(modules) = modules {
        for name in ["sch_ingress", "cls_bpf"] {
            let of = modules.join(release).join("kernel/net/sched");
            for end in ["ko", "ko.xz"] {
                let module = of.join(format!("{name}.{end}"));
                if module.exists() {
                    let to = root.join(format!("modules/{name}.{end}"));
                    fs::copy(&module, &to)?;
                    if end == "ko.xz" {
                        command::run(Command::new("xz").args(["-d", "-f"]).arg(&to))?;
                    }
                }
            }
        }
    }
    fs::write(root.join("www/index.html"), "it is there\n")?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    pack(&root, &folder.join(format!("{release}.cpio")))
}

fn pack(root: &Path, archive: &Path) -> Result<PathBuf> {
    let find = Command::new("find").arg(".").current_dir(root).output()?;
    let mut cpio = Command::new("cpio");
    cpio.args(["-o", "-H", "newc", "--quiet"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(archive)?);
    let mut child = cpio.spawn().context("cpio")?;
    child
        .stdin
        .take()
        .context("cpio's input")?
        .write_all(&find.stdout)?;
    if !child.wait()?.success() {
        bail!("cpio failed");
    }
    Ok(archive.to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    // Debug information is most of it.
    let _ = Command::new("strip").arg(to).output();
    Ok(())
}

/// The shared libraries that a program needs, the loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| {
        line.split_whitespace()
            .find(|word| word.starts_with('/'))
            .map(PathBuf::from)
    });
    Ok(words.collect())
}
