//! What a packaged program is built for: this machine, or another architecture on Debian. For the latter, Debian's compiler
//! is used with the standard library of that architecture's package, which is only unpacked, and programs run under
//! qemu-user. That has no bpf(2), so such programs only read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    command::{self, cargo, tools, workspace},
    setup,
};

/// The target of this machine. The gnu target also links statically, and needs no second standard library.
pub const HOST: &str = env!("XTASK_TARGET");

/// Another architecture.
#[derive(Debug)]
struct Foreign {
    triple: &'static str,
    /// Its name for Debian.
    architecture: &'static str,
    /// The C compiler, which links.
    linker: &'static str,
    emulator: &'static str,
    packages: &'static [&'static str],
}

const FOREIGN: &[Foreign] = &[Foreign {
    triple: "aarch64-unknown-linux-gnu",
    architecture: "arm64",
    linker: "aarch64-linux-gnu-gcc",
    emulator: "qemu-aarch64-static",
    packages: &[
        "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static", "lld-22",
        "rustc-web", "cargo-web",
    ],
}];

/// What a program is built for.
#[derive(Clone, Copy, Debug)]
pub struct Target(Option<&'static Foreign>);

impl Target {
    pub const THIS: Self = Self(None);

    pub fn named(triple: &str) -> Result<Self> {
        if triple == HOST {
            return Ok(Self::THIS);
        }
        let found = FOREIGN.iter().find(|foreign| foreign.triple == triple);
        let triples = FOREIGN.iter().map(|foreign| foreign.triple);
        let known = [HOST].into_iter().chain(triples).collect::<Vec<_>>();
        let found = found.with_context(|| format!("{triple}: known are {}", known.join(", ")))?;
        Ok(Self(Some(found)))
    }

    pub fn triple(self) -> &'static str {
        self.0.map_or(HOST, |foreign| foreign.triple)
    }

    pub fn is_foreign(self) -> bool {
        self.0.is_some()
    }

    /// Installs what building for it needs.
    pub fn ensure(self) -> Result<()> {
        let Some(foreign) = self.0 else { return Ok(()) };
        setup::ensure_packages(foreign.packages)?;
        let folder = foreign.folder();
        let bin = folder.join("bin");
        fs::create_dir_all(&bin)?;
        let lld = bin.join("ld.lld");
        if !lld.exists() {
            std::os::unix::fs::symlink("/usr/lib/llvm-22/bin/ld.lld", &lld)?;
        }
        foreign.unpack_standard_library(&folder)
    }

    /// The cargo that builds for it, with these arguments and these flags of the compiler.
    pub fn cargo(self, args: &[&str], flags: &[&str]) -> Command {
        let mut flags: Vec<String> = flags.iter().map(|flag| flag.to_string()).collect();
        let mut build = cargo(args);
        if let Some(foreign) = self.0 {
            let folder = foreign.folder();
            build = Command::new("/usr/bin/cargo");
            build.args(args).current_dir(workspace());
            build.env("RUSTC", "/usr/bin/rustc");
            let variable = foreign.triple.to_uppercase().replace('-', "_");
            build.env(format!("CARGO_TARGET_{variable}_LINKER"), foreign.linker);
            flags.push(format!("--sysroot={}", folder.join("std/usr").display()));
            flags.push("-Clink-arg=-fuse-ld=lld".into());
            flags.push(format!("-Clink-arg=-B{}", folder.join("bin").display()));
        }
        // With --target, RUSTFLAGS do not apply to build scripts.
        build.args(["--target", self.triple()]);
        build.env("RUSTFLAGS", flags.join(" "));
        build
    }

    /// Runs a program that was built for it.
    pub fn program(self, path: &Path) -> Command {
        let Some(foreign) = self.0 else {
            return Command::new(path);
        };
        let mut emulated = Command::new(foreign.emulator);
        emulated.arg(path);
        emulated
    }
}

impl Foreign {
    fn folder(&self) -> PathBuf {
        tools().join(self.triple)
    }

    /// Unpacks Debian's package of the standard library, of the version of the installed compiler.
    fn unpack_standard_library(&self, folder: &Path) -> Result<()> {
        const PACKAGE: &str = "libstd-rust-web-dev";
        let version = Command::new("dpkg-query")
            .args(["--show", "--showformat=${Version}", "rustc-web"])
            .output()?;
        ensure!(version.status.success(), "rustc-web is not installed");
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        // Written after all is unpacked.
        let (std, unpacked) = (folder.join("std"), folder.join("unpacked"));
        if fs::read_to_string(&unpacked).is_ok_and(|known| known == version) {
            return Ok(());
        }
        let (lists, archives) = (folder.join("lists"), folder.join("cache"));
        fs::create_dir_all(lists.join("partial"))?;
        fs::create_dir_all(archives.join("archives/partial"))?;
        // Lists and files of its own: the machine gets no second architecture.
        let options = [
            format!("APT::Architecture={}", self.architecture),
            format!("APT::Architectures={}", self.architecture),
            format!("Dir::State::lists={}", lists.display()),
            format!("Dir::Cache={}", archives.display()),
            "APT::Sandbox::User=root".to_owned(),
        ];
        let apt = |words: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.arg("--quiet=2").current_dir(folder);
            for option in &options {
                apt.args(["--option", option]);
            }
            command::run(apt.args(words))
        };
        apt(&["update"])?;
        let wanted = format!("{PACKAGE}:{}={version}", self.architecture);
        apt(&["download", &wanted])?;
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with(PACKAGE) && name.ends_with(".deb"))
        };
        let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).filter(is_ours);
        let Some(file) = files.next() else {
            bail!("apt-get downloaded no {wanted}");
        };
        if std.exists() {
            fs::remove_dir_all(&std)?;
        }
        command::run(Command::new("dpkg").arg("-x").args([&file, &std]))?;
        fs::remove_file(file)?;
        fs::write(unpacked, version)?;
        Ok(())
    }
}
