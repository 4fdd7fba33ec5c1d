//! Gives up what the rest of a run does not need: capabilities, and the user if another is named. Called
//! while the process has one thread. Decides who the process is, and nothing about what it does.

use crate::config::Config;

/// What reading needs: nothing but its files.
///
/// # Errors
/// In words.
pub fn reading(config: &Config) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    confine(config, crate::privileges::CapabilitySet::empty())?;
    let _ = config;
    Ok(())
}

/// Looks for the user that is named.
///
/// # Errors
/// In words, when there is none.
pub fn user(config: &Config) -> Result<(), String> {
    #[cfg(target_os = "linux")]
    config
        .user
        .as_deref()
        .map(crate::privileges::User::find)
        .transpose()?;
    let _ = config;
    Ok(())
}

#[cfg(target_os = "linux")]
pub use self::linux::confine;

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::os::unix::fs::FileTypeExt as _;
    use std::path::{Path, PathBuf};

    use rustix::fs::{Access, access};

    use crate::config::Config;
    use crate::privileges::{self, CapabilitySet, User};
    use crate::run::clash;
    use crate::run::exit::say;

    /// Becomes the user that is named, and keeps these capabilities alone. Root that stays root keeps
    /// CAP_DAC_OVERRIDE too if a file of the run is not its own.
    ///
    /// # Errors
    /// In words.
    pub fn confine(config: &Config, mut keep: CapabilitySet) -> Result<(), String> {
        let user = config.user.as_deref().map(User::find).transpose()?;
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
                because = format!("; CAP_DAC_OVERRIDE for {path}, which is another user's");
            }
        }
        let mut handed = CapabilitySet::empty();
        if config.ban_plan().is_some_and(|plan| plan.lasts.is_some()) {
            handed = CapabilitySet::NET_ADMIN;
        }
        let kept = privileges::enter(user.as_ref(), keep, handed).map_err(|error| match &config.user {
            Some(user) => format!(
                "cannot become the user {user}: {error}; start as root, or with CAP_SETUID and CAP_SETGID"
            ),
            None => format!("capabilities cannot be dropped: {error}"),
        })?;
        if config.verbose > 0 {
            say(&format!(
                "capabilities from here on: {}{because}",
                privileges::names(kept)
            ));
        }
        Ok(())
    }

    /// Whether a file, or all of a folder, can be read.
    fn may_read(path: &Path) -> bool {
        if path.as_os_str() == "-" {
            return true;
        }
        match fs::read_dir(path) {
            Ok(entries) => {
                let mut paths = entries.map_while(Result::ok).map(|entry| entry.path());
                paths.all(|path| path.is_symlink() || may_read(&path))
            }
            Err(_) => !path.is_dir() && access(path, Access::READ_OK).is_ok(),
        }
    }

    /// Whether a file can be written, and made again in its folder.
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
}
