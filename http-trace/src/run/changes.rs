//! Detects changes of settings and rule files for `--watch-config`, on its own thread, so that a slow disk delays no
//! event. Compares names, sizes and times; does not read contents and does not load what has changed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io, thread};

use crate::config::Config;
use crate::priority;
use crate::sync::lock;
use http_trace_detect::load;

/// Interval between checks.
const EVERY: Duration = Duration::from_secs(1);

/// The handle of the event loop to the watching thread.
#[derive(Debug)]
pub struct Changes {
    changed: Arc<AtomicBool>,
    files: Arc<Mutex<Vec<PathBuf>>>,
}

impl Changes {
    /// Watches the files that these settings were read from.
    pub fn watch(config: &Config) -> io::Result<Self> {
        let changes =
            Changes { changed: Arc::default(), files: Arc::new(Mutex::new(config.read_again())) };
        let (changed, files) = (changes.changed.clone(), changes.files.clone());
        let now = move || stamp(&lock(&files));
        let mut seen = SettledStamp::new(now());
        priority::spawn("config", move || {
            // Until the event loop has dropped its handle.
            while Arc::strong_count(&changed) > 1 {
                thread::sleep(EVERY);
                if seen.is_new(now()) {
                    changed.store(true, Ordering::Relaxed);
                }
            }
        })?;
        Ok(changes)
    }

    /// Whether there is something to load; returns true once per change.
    pub fn any(&self) -> bool {
        self.changed.load(Ordering::Relaxed) && self.changed.swap(false, Ordering::Relaxed)
    }

    /// The settings were loaded and may name other files now.
    pub fn loaded(&self, config: &Config) {
        *lock(&self.files) = config.read_again();
    }
}

/// Reports a change once it is complete: the same stamp twice in a row, and different from the last reported one.
#[derive(Debug)]
struct SettledStamp {
    last: u64,
    reported: u64,
}

impl SettledStamp {
    const fn new(stamp: u64) -> Self {
        SettledStamp { last: stamp, reported: stamp }
    }

    fn is_new(&mut self, stamp: u64) -> bool {
        let is_still = stamp == std::mem::replace(&mut self.last, stamp);
        is_still && stamp != std::mem::replace(&mut self.reported, stamp)
    }
}

/// A hash that changes with the files, including those in directories.
fn stamp(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files.iter().flat_map(|path| load::files(path)) {
        let (path, listed) = file;
        path.hash(&mut hasher);
        listed.is_ok().hash(&mut hasher);
        about(&path).hash(&mut hasher);
    }
    hasher.finish()
}

/// Identity of a file (links followed), its size and its modification time.
fn about(path: &Path) -> Option<[u64; 5]> {
    let about = fs::metadata(path).ok()?;
    Some([about.dev(), about.ino(), about.size(), about.mtime() as u64, about.mtime_nsec() as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Updates files like the kubelet: a new directory, and a link that is renamed over the old one.
    #[test]
    fn a_config_map_changes_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mount = |version: &str| {
            fs::create_dir(at(version)).expect("a folder");
            for file in ["http-trace.toml", "one.yml"] {
                fs::write(at(version).join(file), version).expect("a file");
            }
            std::os::unix::fs::symlink(version, at("..data_tmp")).expect("a link");
            fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
        };
        mount("..1");
        for file in ["http-trace.toml", "one.yml"] {
            let to = Path::new("..data").join(file);
            std::os::unix::fs::symlink(to, at(file)).expect("a link");
        }
        let named = [at("http-trace.toml"), folder.path().to_owned()];
        let listed = load::files(folder.path());
        assert_eq!(listed.len(), 1, "each rule file once: {listed:?}");
        let first = stamp(&named);
        assert_eq!(stamp(&named), first);
        mount("..2");
        assert_ne!(stamp(&named), first);
        let second = stamp(&named);
        fs::remove_file(at("one.yml")).expect("removed");
        assert_ne!(stamp(&named), second);
    }

    #[test]
    fn a_change_is_told_once_and_when_it_is_complete() {
        let mut seen = SettledStamp::new(0);
        let stamps = [0, 1, 2, 2, 2, 0, 2, 2, 3, 3];
        let told = stamps.map(|stamp| seen.is_new(stamp));
        let expected = [3, 9];
        for (at, told) in told.into_iter().enumerate() {
            assert_eq!(told, expected.contains(&at), "{at}");
        }
    }
}
