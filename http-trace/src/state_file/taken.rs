//! The state file on disk: locked by one run at a time, read once, replaced atomically. Of its format it only
//! knows the magic number: other files belong to somebody else and are left alone.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use http_trace_detect::snapshot::MAGIC;

/// Maximum size of a file, in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// Maximum number of unusable files that are kept aside.
const ASIDE: usize = 9;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// A folder, a device, a pipe.
    #[error("it is not a regular file")]
    NotAFile,
    /// Locked by another run.
    #[error("another http-trace uses it")]
    InUse,
    /// No file can be created beside it.
    #[error("cannot write to its folder: {0}")]
    Folder(io::Error),
    /// Somebody else may have written it.
    #[error("it is not trusted: it belongs to user id {0}")]
    Foreign(u32),
    /// Others may write to it.
    #[error("it is not trusted: other users can write to it (mode {0:o})")]
    Open(u32),
    /// Larger than any state.
    #[error("it is larger than 1 GiB")]
    TooLarge,
    /// An error of the file system.
    #[error("cannot read it: {0}")]
    Unreadable(io::Error),
}

impl Unusable {
    /// Whether the file can be moved aside: it is a regular file and not in use.
    pub const fn is_movable(&self) -> bool {
        !matches!(self, Unusable::NotAFile | Unusable::InUse | Unusable::Folder(_))
    }
}

/// Reads a file, whoever owns it; `None` if there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, Unusable> {
    match open(path)? {
        Some((mut file, _)) => content(&mut file).map(Some),
        None => Ok(None),
    }
}

/// Maximum number of symlinks followed, as in path_resolution(7).
const LINKS: usize = 40;

fn open(path: &Path) -> Result<Option<(File, Metadata)>, Unusable> {
    // Check before opening too: opening a pipe blocks until its other end is open.
    if of_file(fs::metadata(path))?.is_none() {
        return Ok(None);
    }
    let file = File::open(path).map_err(Unusable::Unreadable)?;
    let metadata = of_file(file.metadata())?;
    Ok(metadata.map(|metadata| (file, metadata)))
}

/// The metadata, if it is of a regular file; `None` if there is no file.
pub fn of_file(found: io::Result<Metadata>) -> Result<Option<Metadata>, Unusable> {
    match present(found).map_err(Unusable::Unreadable)? {
        Some(metadata) if !metadata.is_file() => Err(Unusable::NotAFile),
        found => Ok(found),
    }
}

/// `None` if there is no such file.
pub fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn content(file: &mut File) -> Result<Vec<u8>, Unusable> {
    let mut bytes = Vec::new();
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(Unusable::Unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Unusable::TooLarge);
    }
    Ok(bytes)
}

/// Where a missing file will be created, following dangling symlinks.
fn to_be_made(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    path
}

/// A file that only this run replaces.
#[derive(Debug)]
pub struct Taken {
    pub path: PathBuf,
    /// Holds the lock while open.
    lock: Option<File>,
}

impl Taken {
    /// Locks the file, if it exists, and reads it. If it cannot be used, the error says why; a returned value
    /// can then move it aside.
    pub fn take(path: &Path) -> (Option<Taken>, Result<Option<Vec<u8>>, Unusable>) {
        // Replace the target of a symlink, not the link.
        let path = resolved(path);
        let mut taken = Taken { path, lock: None };
        let read = taken.lock_and_read();
        match read {
            Err(why) if !why.is_movable() || !taken.is_ours() => (None, Err(why)),
            read => (Some(taken), read),
        }
    }

    fn lock_and_read(&mut self) -> Result<Option<Vec<u8>>, Unusable> {
        let opened = loop {
            let Some((file, metadata)) = open(&self.path)? else { break None };
            // On file systems without locks, continue without.
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                return Err(Unusable::InUse);
            }
            // If the file was replaced between open and lock, its writer is still running.
            if is_same(&fs::metadata(&self.path), &metadata) {
                break Some((file, metadata));
            }
        };
        let ours = of_ours(&self.path)?;
        let Some((mut file, metadata)) = opened else { return Ok(None) };
        is_trusted(&metadata, &ours)?;
        let bytes = content(&mut file)?;
        self.lock = Some(file);
        Ok(Some(bytes))
    }

    /// Whether the file begins with our magic number.
    fn is_ours(&self) -> bool {
        let mut first = [0; MAGIC.len()];
        let read = File::open(&self.path).and_then(|mut file| file.read_exact(&mut first));
        read.is_ok() && first == MAGIC
    }

    /// Moves the file aside without overwriting another; returns the new path.
    ///
    /// # Errors
    /// Those of the file system, or that there are too many files already.
    pub fn move_aside(&mut self) -> io::Result<PathBuf> {
        let aside = move_aside(&self.path)?;
        self.lock = None;
        Ok(aside)
    }

    /// Replaces the contents of the file atomically, with permissions for its owner only.
    pub fn replace<'a>(&mut self, content: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        if self.lock.is_none() && fs::symlink_metadata(&self.path).is_ok() {
            // The file did not exist when this run started.
            return Err(io::Error::other(Unusable::InUse));
        }
        let beside = beside(&self.path);
        let written = create(&beside).and_then(|file| {
            // Lock it before it becomes visible under its name.
            let _ = file.try_lock();
            let mut writer = io::BufWriter::with_capacity(1 << 18, &file);
            for part in content {
                writer.write_all(part)?;
            }
            writer.flush()?;
            drop(writer);
            file.sync_all()?;
            fs::rename(&beside, &self.path)?;
            Ok(file)
        });
        if written.is_err() {
            // A partial file is useless, and takes space on a full disk.
            let _ = fs::remove_file(&beside);
        }
        self.lock = Some(written?);
        // Sync the folder to make the rename durable.
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// Moves a file aside without overwriting another; returns the new path.
pub fn move_aside(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=ASIDE {
        let suffix = match number {
            1 => ".bad".to_owned(),
            n => format!(".bad{n}"),
        };
        let aside = with_suffix(path, &suffix);
        if fs::symlink_metadata(&aside).is_err() {
            fs::rename(path, &aside)?;
            return Ok(aside);
        }
    }
    let names = with_suffix(path, ".bad*");
    Err(io::Error::other(format!("{ASIDE} backups of {} exist already", names.display())))
}

/// The path of the file, or of where it will be created, with symlinks resolved.
pub fn resolved(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| to_be_made(path))
}

/// Temporary name for new contents of a file.
pub fn beside(path: &Path) -> PathBuf {
    with_suffix(path, ".new")
}

/// Metadata of a file created by us in this folder.
fn of_ours(path: &Path) -> Result<Metadata, Unusable> {
    let beside = beside(path);
    let made = create(&beside).map_err(Unusable::Folder)?;
    let ours = made.metadata().map_err(Unusable::Folder)?;
    let _ = fs::remove_file(beside);
    Ok(ours)
}

/// Opens an existing file beside the state, if it is no symlink and nobody else can have written it.
pub fn open_trusted(path: &Path) -> Result<Option<File>, Unusable> {
    let ours = of_ours(path)?;
    let Some(metadata) = of_file(fs::symlink_metadata(path))? else { return Ok(None) };
    is_trusted(&metadata, &ours)?;
    File::open(path).map(Some).map_err(Unusable::Unreadable)
}

/// Creates a file with permissions for its owner only, replacing one that a killed run left. Never follows a
/// symlink.
pub fn create(path: &Path) -> io::Result<File> {
    present(fs::remove_file(path))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

fn is_same(found: &io::Result<Metadata>, opened: &Metadata) -> bool {
    let id = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    found.as_ref().is_ok_and(|found| id(found) == id(opened))
}

/// Checks that nobody but root and the owner of our own files can have written a file.
fn is_trusted(file: &Metadata, ours: &Metadata) -> Result<(), Unusable> {
    if file.uid() != ours.uid() && file.uid() != 0 {
        return Err(Unusable::Foreign(file.uid()));
    }
    match file.mode() & 0o7777 {
        mode if mode & 0o022 != 0 => Err(Unusable::Open(mode)),
        _ => Ok(()),
    }
}

/// Appends a suffix to the file name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(taken: &mut Taken, bytes: &[u8]) {
        taken.replace(bytes.chunks(3)).expect("written");
    }

    #[test]
    fn it_is_whole_and_private_and_taken_by_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let (taken, read_) = Taken::take(&path);
        let mut taken = taken.expect("taken");
        assert!(read_.expect("none").is_none());
        for bytes in [&b"one"[..], b"two two"] {
            fs::write(beside(&taken.path), b"left behind").expect("written");
            put(&mut taken, bytes);
            assert_eq!(read(&path).expect("read").as_deref(), Some(bytes));
            let (other, why) = Taken::take(&path);
            assert!(other.is_none());
            assert!(matches!(why, Err(Unusable::InUse)), "{why:?}");
        }
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        drop(taken);
        let (taken, bytes) = Taken::take(&path);
        assert_eq!(bytes.expect("read").as_deref(), Some(&b"two two"[..]));
        drop(taken);
        let left = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 1, "nothing else is left");
    }

    #[test]
    fn of_two_that_begin_without_a_file_one_keeps_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let take = || Taken::take(&path).0.expect("taken");
        let (mut one, mut two) = (take(), take());
        put(&mut one, b"one");
        let why = two.replace([&b"two"[..]].into_iter());
        let why = why.expect_err("it is there").to_string();
        assert!(why.contains("another http-trace"), "{why}");
        put(&mut one, b"one again");
        let read = read(&path).expect("read");
        assert_eq!(read.as_deref(), Some(&b"one again"[..]));
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_nothing_beside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        let mut taken = Taken::take(&path).0.expect("taken");
        put(&mut taken, b"one");
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert!(taken.replace([&b"two"[..]].into_iter()).is_err());
        assert!(!beside(&taken.path).exists());
        fs::remove_dir(&path).expect("removed");
        put(&mut taken, b"three");
        assert_eq!(fs::read(&path).expect("read"), b"three");
    }

    #[test]
    fn what_is_moved_aside_is_never_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state");
        for number in 0..ASIDE {
            let (taken, _) = Taken::take(&path);
            let mut taken = taken.expect("taken");
            put(&mut taken, &[number as u8]);
            let aside = taken.move_aside().expect("moved");
            assert!(!path.exists());
            assert_eq!(fs::read(aside).expect("read"), [number as u8]);
        }
        let (taken, _) = Taken::take(&path);
        let mut taken = taken.expect("taken");
        put(&mut taken, b"one more");
        let why = taken.move_aside().expect_err("too many").to_string();
        assert!(why.contains("state.bad*"), "{why}");
        let first = fs::read(with_suffix(&path, ".bad")).expect("read");
        assert_eq!(first, [0], "the first is as it was");
    }

    #[test]
    fn what_is_no_file_or_not_trusted_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let why = |name: &str| match Taken::take(&path(name)) {
            (taken, Err(why)) => (taken.is_some(), why.to_string()),
            (_, Ok(_)) => panic!("{name} is used"),
        };
        fs::create_dir(path("folder")).expect("made");
        let no_file = (false, "it is not a regular file".to_owned());
        assert_eq!(why("folder"), no_file);
        symlink("/dev/null", path("null")).expect("linked");
        assert_eq!(why("null"), no_file);
        let (taken, beside) = why("nowhere/state");
        assert!(!taken && beside.contains("cannot write to its folder"), "{beside}");
        fs::write(path("open"), b"x").expect("written");
        fs::write(path("open state"), MAGIC).expect("written");
        let mode = |name, mode| {
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).expect("set");
        };
        for (name, is_ours) in [("open", false), ("open state", true)] {
            mode(name, 0o622);
            let (taken, open) = why(name);
            assert_eq!(taken, is_ours, "{name}");
            assert!(open.contains("other users can write to it (mode 622)"));
        }
        mode("open", 0o644);
        symlink(path("open"), path("link")).expect("linked");
        let (taken, read) = Taken::take(&path("link"));
        assert_eq!(read.expect("read").as_deref(), Some(&b"x"[..]));
        put(&mut taken.expect("taken"), b"y");
        assert_eq!(fs::read(path("open")).expect("read"), b"y");
        assert!(path("link").is_symlink());
        // Only root can change owners.
        fs::write(path("foreign"), MAGIC).expect("written");
        if std::os::unix::fs::chown(path("foreign"), Some(12_345), None).is_ok() {
            let (taken, foreign) = why("foreign");
            assert!(taken && foreign.contains("id 12345"), "{foreign}");
        }
    }
}
