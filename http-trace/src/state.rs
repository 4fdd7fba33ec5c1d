//! The file of `--state`: read at the start, written at the end and every minute. Written beside
//! and renamed, so that it is always whole, and for the agent's user alone, since it holds what was
//! on the wire. What is in it is [`crate::detect`]'s matter.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is written.
const EVERY: Duration = Duration::from_secs(60);

/// The largest file that is read, in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// Reads a state file; `None` when there is none.
///
/// # Errors
/// A file that cannot be read, or is too large to be one.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::other("it is larger than 1 GiB"));
    }
    Ok(Some(bytes))
}

/// Moves a file that is of no use out of the way; returns where it is then.
///
/// # Errors
/// A folder that cannot be written to.
pub fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = with_suffix(path, ".bad");
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Puts `bytes` in the place of the file: whole or not at all, for its owner alone.
///
/// # Errors
/// What the file system says.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = with_suffix(path, ".new");
    // Of a run that was killed; never followed if it is a link.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if cfg!(unix) {
        // The rename lasts when the folder does.
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// Writes the file while the run goes on.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    next: Instant,
    writing: Option<JoinHandle<io::Result<()>>>,
}

impl Keeper {
    /// For this file.
    pub fn new(path: PathBuf) -> Self {
        Keeper {
            path,
            next: Instant::now() + EVERY,
            writing: None,
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is time; not while the last one is being written.
    pub fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if now < self.next || self.writing.as_ref().is_some_and(|w| !w.is_finished()) {
            return false;
        }
        self.next = now + EVERY;
        true
    }

    /// Writes it on another thread: a disk may be slow. Returns how the last one went.
    ///
    /// # Errors
    /// What the file system said of the last one.
    pub fn keep(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let last = self.wait();
        let path = self.path.clone();
        self.writing = Some(std::thread::spawn(move || write(&path, &bytes)));
        last
    }

    /// Waits for what is being written.
    ///
    /// # Errors
    /// What the file system said.
    pub fn wait(&mut self) -> io::Result<()> {
        match self.writing.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread that writes it panicked")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_whole_and_private_and_what_is_bad_is_kept_beside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        assert!(read(&path).expect("none").is_none());
        for bytes in [&b"one"[..], b"two two"] {
            fs::write(with_suffix(&path, ".new"), b"left behind").expect("written");
            write(&path, bytes).expect("written");
            assert_eq!(read(&path).expect("read").as_deref(), Some(bytes));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let aside = move_aside(&path).expect("moved");
        assert_eq!(fs::read(aside).expect("read"), b"two two");
        assert!(read(&path).expect("none").is_none());
        let mut keeper = Keeper::new(path.clone());
        assert!(!keeper.is_due());
        keeper.keep(b"three".to_vec()).expect("begun");
        keeper.wait().expect("written");
        assert_eq!(read(&path).expect("read").as_deref(), Some(&b"three"[..]));
    }
}
