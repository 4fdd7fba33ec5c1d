//! `cargo xtask kernels`: boots Debian's kernels under qemu and traces on each.
//!
//! A kernel package is fetched with apt and unpacked, never installed. The guest is an initramfs with
//! busybox, the agent with its libraries, and the modules of clsact. It is emulated, since KVM may exist and
//! not work in a virtual machine; a boot takes two to five minutes of CPU time.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{
    command::{self, cargo, target_folder},
    setup::{self, Purpose},
};

/// Debian packages for emulation.
const PACKAGES: &[&str] = &["qemu-system-x86", "busybox-static", "cpio"];
/// Default kernel packages.
const KERNELS: &[&str] = &["linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64"];
/// Limit of CPU time between two lines of the guest's report; independent of the machine's load.
const PATIENCE: Duration = Duration::from_secs(300);
/// The same in wall time, for a guest that sleeps.
const SLEEP: Duration = Duration::from_secs(1800);
/// The guest's init.
const INIT: &str = include_str!("kernels/init");

#[derive(Debug, Args)]
pub struct Options {
    /// Debian packages of kernels, or their .deb files.
    kernels: Vec<String>,
    /// Use this agent instead of building one.
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

/// Boots each kernel; fails if one of them does not trace.
pub fn kernels(options: &Options) -> Result<()> {
    setup::ensure(&[Purpose::Build])?;
    setup::ensure_packages(PACKAGES)?;
    let agent = match &options.agent {
        Some(agent) => agent.clone(),
        None => {
            command::run(&mut cargo(&["build", "--package", "http-trace"]))?;
            target_folder().join("debug/http-trace")
        }
    };
    let folder = target_folder().join("kernels");
    fs::create_dir_all(&folder)?;
    let named: Vec<&str> = match options.kernels.as_slice() {
        [] => KERNELS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    let mut failed = Vec::new();
    for kernel in named {
        println!("== {kernel}");
        match boot(&folder, kernel, &agent) {
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

/// Boots one kernel and prints the guest's report.
fn boot(folder: &Path, kernel: &str, agent: &Path) -> Result<()> {
    let root = unpack(folder, kernel)?;
    let image = only(&root.join("boot"), "vmlinuz-")?;
    let release = image
        .file_name()
        .and_then(|name| name.to_str()?.strip_prefix("vmlinuz-"))
        .context("a kernel without a version")?
        .to_owned();
    let archive = initramfs(folder, &root, &release, agent)?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "1"]);
    qemu.args(["-nographic", "-no-reboot", "-nic", "none"]);
    qemu.arg("-kernel").arg(&image).arg("-initrd").arg(&archive);
    qemu.args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off"]);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut guest = qemu.spawn().context("qemu-system-x86_64")?;
    let log = folder.join(format!("{release}.log"));
    let report = watch(&mut guest, &release, &log);
    let _ = guest.kill();
    guest.wait()?;
    let report = report.with_context(|| format!("see {}", log.display()))?;
    let bad: Vec<&str> =
        report.iter().map(String::as_str).filter(|line| line.contains("FAILED")).collect();
    ensure!(bad.is_empty(), "{}", bad.join("; "));
    Ok(())
}

/// Prints the guest's report as it comes, writes all its output to `log`, and returns the report.
fn watch(guest: &mut Child, release: &str, log: &Path) -> Result<Vec<String>> {
    let console = BufReader::new(guest.stdout.take().context("qemu's output")?);
    let (to, lines) = channel();
    std::thread::spawn(move || {
        let lines = console.split(b'\n').map_while(Result::ok);
        lines.map(|line| to.send(line)).take_while(Result::is_ok).count()
    });
    let mut log = fs::File::create(log)?;
    let mut report = Vec::new();
    let (mut since, mut spent) = (Instant::now(), Duration::ZERO);
    loop {
        match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => {
                log.write_all(&line)?;
                log.write_all(b"\n")?;
                let line = String::from_utf8_lossy(&line).into_owned();
                let Some((_, line)) = line.trim().split_once("SMOKE ") else {
                    continue;
                };
                println!("{release}: {line}");
                report.push(line.to_owned());
                if line == "done" {
                    return Ok(report);
                }
                (since, spent) = (Instant::now(), cpu_time(guest.id())?);
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the guest did not come to its end"),
            Err(RecvTimeoutError::Timeout) => {
                let idle = cpu_time(guest.id())?.saturating_sub(spent);
                ensure!(
                    idle < PATIENCE && since.elapsed() < SLEEP,
                    "the guest says nothing after {} s of CPU time",
                    idle.as_secs()
                );
            }
        }
    }
}

/// The CPU time of a process so far (proc(5): fields 14 and 15 of stat, in hundredths of a second).
fn cpu_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// The folder of the unpacked package; for a metapackage, of the package it depends on.
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

/// The image package that a metapackage depends on.
fn resolve(package: &str) -> Result<String> {
    let mut command = Command::new("apt-cache");
    let output = command.args(["depends", package]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let depends = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let image = depends.map(str::trim).find(|name| name.starts_with("linux-image-"));
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

/// The entry of a folder whose name has this prefix; for packages, the file.
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
    found.next().with_context(|| format!("no {prefix}… in {}", folder.display()))
}

/// Packs the guest's files into an initramfs.
fn initramfs(folder: &Path, kernel: &Path, release: &str, agent: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in ["bin", "modules", "proc", "sys", "dev", "tmp", "www", "cgroup"] {
        fs::create_dir_all(root.join(name))?;
    }
    let busybox =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    copy(Path::new(busybox.context("busybox-static")?), &root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/sh"))?;
    copy(agent, &root.join("bin/http-trace"))?;
    for library in libraries(agent)? {
        let to = root.join(library.strip_prefix("/").unwrap_or(&library));
        fs::create_dir_all(to.parent().context("a library's folder")?)?;
        fs::copy(&library, &to).with_context(|| library.display().to_string())?;
    }
    // In load order. A missing module is built in.
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
    child.stdin.take().context("cpio's input")?.write_all(&find.stdout)?;
    if !child.wait()?.success() {
        bail!("cpio failed");
    }
    Ok(archive.to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    // Most of the program is debug information.
    let _ = Command::new("strip").arg(to).output();
    Ok(())
}

/// The shared libraries of a program, its dynamic loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.lines().filter_map(|line| {
        line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from)
    });
    Ok(words.collect())
}
