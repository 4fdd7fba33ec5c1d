//! Runs programs in the workspace; errors name the command line.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use anyhow::{Context, Result, bail};

/// The repository's root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo builds to.
pub fn target_folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace().join("target"), |folder| workspace().join(folder))
    });
    &FOLDER
}

/// Where tools that only this project uses are installed.
pub fn tools() -> PathBuf {
    target_folder().join("tools")
}

/// Python of a virtual environment with exactly these PyPI packages.
pub fn venv(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = tools().join(name);
    let python = folder.join("bin/python3");
    // Written after all packages are installed.
    let (list, wanted) = (folder.join("packages"), packages.join("\n"));
    if fs::read_to_string(&list).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet"]);
    run(install.args(packages))?;
    fs::write(list, wanted)?;
    Ok(python)
}

/// The cargo that runs xtask, in the workspace.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args).current_dir(workspace());
    // Variables of xtask's own package would rerun build scripts of other packages, and rebuild all that
    // depends on them.
    let of_package =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(of_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command to its end; the error names the command line.
pub fn run(command: &mut Command) -> Result<()> {
    let line = line(command);
    let status = command.status().with_context(|| format!("`{line}` does not start"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs a command without output; whether it succeeded.
pub fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The program and its arguments as typed in a shell.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    [name].into_iter().chain(args).collect::<Vec<_>>().join(" ")
}

/// Whether a program of this name is on the PATH.
pub fn on_path(name: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}
