//! Drops the privileges that the rest of a run does not need: capabilities, and the user if another is
//! configured. Called while the process is single-threaded. Decides only about privileges.

use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::config::Config;
use crate::privileges::{self, CapabilitySet, User};
use crate::run::clash;
use crate::run::exit::say;

/// Drops all capabilities: reading files needs none.
pub fn reading(config: &Config) -> Result<(), String> {
    confine(config, CapabilitySet::empty())
}

/// Looks up the configured user.
pub fn user(config: &Config) -> Result<Option<User>, String> {
    config.user.as_deref().map(User::find).transpose()
}

/// Switches to the configured user and keeps only the capabilities in `keep`. If the process stays root,
/// it also keeps CAP_DAC_OVERRIDE when a file of the run belongs to somebody else.
pub fn confine(config: &Config, mut keep: CapabilitySet) -> Result<(), String> {
    let user = user(config)?;
    let mut because = String::new();
    let files_of_all = CapabilitySet::DAC_OVERRIDE;
    if user.is_none() && privileges::held().contains(files_of_all) {
        let (read, written) = clash::files(config);
        let foreign = || {
            let read = read.iter().find(|path| !may_read(path));
            let path = read.or_else(|| written.iter().find(|path| !may_write(path)));
            path.map(|path| path.display().to_string())
        };
        if let Some(path) = privileges::without(foreign).flatten() {
            keep |= files_of_all;
            because = format!("; CAP_DAC_OVERRIDE for {path}, which belongs to another user");
        }
    }
    let mut handed = CapabilitySet::empty();
    if config.ban_plan().is_some_and(|plan| plan.lasts.is_some()) {
        handed = CapabilitySet::NET_ADMIN;
    }
    let kept =
        privileges::enter(user.as_ref(), keep, handed).map_err(|error| match &config.user {
            Some(user) => format!(
                "cannot switch to user {user}: {error}; start as root, or with CAP_SETUID and \
             CAP_SETGID"
            ),
            None => format!("cannot drop capabilities: {error}"),
        })?;
    if config.verbose > 0 && !config.quiet {
        say(&format!("capabilities from now on: {}{because}", privileges::names(kept)));
    }
    Ok(())
}

/// Whether a file, or everything in a folder, is readable, or known not to exist.
fn may_read(path: &Path) -> bool {
    if path.as_os_str() == "-" {
        return true;
    }
    match fs::read_dir(path) {
        Ok(entries) => {
            let mut paths = entries.map_while(Result::ok).map(|entry| entry.path());
            paths.all(|path| path.is_symlink() || may_read(&path))
        }
        Err(_) if path.is_dir() => false,
        Err(_) => matches!(access(path, Access::READ_OK), Ok(()) | Err(Errno::NOENT)),
    }
}

/// Whether a file is writable and can be re-created in its folder.
fn may_write(path: &Path) -> bool {
    let there = fs::metadata(path).ok();
    if there.is_some() && access(path, Access::WRITE_OK).is_err() {
        return false;
    }
    let is_special = there.is_some_and(|about| {
        let kind = about.file_type();
        kind.is_char_device() || kind.is_fifo() || kind.is_socket()
    });
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    is_special || access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}
