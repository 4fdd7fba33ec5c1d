//! Files that lines are appended to for as long as a run takes. What rotates logs moves, removes or
//! empties them meanwhile: one that is not at its path any more is opened anew there, so that what comes
//! is where its reader looks. Knows nothing of formats.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often it is looked whether the file is still at its path, at most.
const LOOK: Duration = Duration::from_secs(1);

/// What to do with what a file holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It stays: of an agent that was started again.
    Stays,
    /// It goes: of a capture that is read once more.
    Goes,
}

/// A file at a path.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Which file that is; none for what cannot be moved away: a pipe, a device.
    is: Option<(u64, u64)>,
    look: Instant,
    /// The last byte ended no line: what follows belongs to it.
    within_line: bool,
    /// The last write failed: of a line that was begun the rest may never find room where it is.
    failed: bool,
    /// What comes first is the rest of a line whose beginning is not in the file any more.
    skips: bool,
}

impl LogFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(path: &Path, before: Before) -> io::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        // At its end all the same: whoever empties it later finds no hole at its beginning.
        if before == Before::Goes && metadata.is_file() && metadata.len() > 0 {
            is_no_link(path)?;
            file.set_len(0)?;
        }
        Ok(LogFile {
            path: path.to_owned(),
            file,
            is: identity(&metadata),
            look: Instant::now() + LOOK,
            within_line: false,
            failed: false,
            skips: false,
        })
    }

    /// Opens the file anew if it is not at its path any more. Where that fails, what was open takes the
    /// lines as before. Whether what was written is gone from it.
    fn look(&mut self) -> bool {
        let Some(is) = self.is else { return false };
        if let Ok(there) = fs::metadata(&self.path)
            && identity(&there) == Some(is)
        {
            return there.len() == 0;
        }
        if let Ok(file) = open(&self.path)
            && let Ok(metadata) = file.metadata()
        {
            self.is = identity(&metadata);
            self.file = file;
            return true;
        }
        false
    }
}

/// Opens a file, or makes one for its owner alone: it may hold personal data.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Refuses a link to a file, which would be emptied in its place. Links of the system to what this process
/// has open (`/dev/stdout`) are meant.
fn is_no_link(path: &Path) -> io::Result<()> {
    let of_system = ["/dev", "/proc"]
        .iter()
        .any(|system| path.starts_with(system));
    match fs::read_link(path) {
        Ok(to) if !of_system => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!(
                "it is a link to {}, which would be emptied: name that file",
                to.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// Device and inode of a file; none of what is no file.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    (metadata.is_file()).then(|| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
const fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = Instant::now();
        if (!self.within_line || self.failed) && now >= self.look {
            self.look = now + LOOK;
            self.skips |= self.look() && self.within_line;
        }
        if self.skips {
            let end = memchr::memchr(b'\n', bytes);
            self.skips = end.is_none();
            self.within_line = self.skips;
            return Ok(end.map_or(bytes.len(), |at| at + 1));
        }
        let written = self.file.write(bytes);
        self.failed = written.is_err();
        let n = written?;
        if let Some(last) = bytes.get(..n).and_then(<[u8]>::last) {
            self.within_line = *last != b'\n';
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).expect("a file")
    }

    #[test]
    fn what_is_moved_or_removed_is_opened_anew_and_what_is_emptied_has_no_hole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.json");
        let moved = folder.path().join("events.json.1");
        fs::write(&path, "before\n").expect("written");
        let mut log = LogFile::open(&path, Before::Stays).expect("open");
        let write = |log: &mut LogFile, line: &str| {
            log.look = Instant::now();
            log.write_all(line.as_bytes()).expect("written");
        };
        write(&mut log, "1\n");
        fs::rename(&path, &moved).expect("moved");
        write(&mut log, "2\n");
        assert_eq!((&*read(&moved), &*read(&path)), ("before\n1\n", "2\n"));
        write(&mut log, "2 and");
        fs::rename(&path, &moved).expect("moved");
        write(&mut log, " its rest\n");
        assert_eq!(read(&moved), "2\n2 and its rest\n");
        write(&mut log, "3\n");
        assert_eq!(read(&path), "3\n");
        File::create(&path).expect("emptied");
        write(&mut log, "4\n");
        assert_eq!(read(&path), "4\n");
        // Where there is no place for it any more nothing fails.
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("in its place");
        write(&mut log, "5\n");
        fs::remove_dir(&path).expect("away again");
        write(&mut log, "6\n");
        assert_eq!(read(&path), "6\n");
    }

    /// A disk without room for the rest of a line: what makes room takes the line with it.
    #[test]
    fn where_the_rest_of_a_line_finds_no_room_a_file_that_went_is_let_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.json");
        let gone = [
            |path: &Path| fs::remove_file(path).expect("removed"),
            |path: &Path| drop(File::create(path).expect("emptied")),
        ];
        for gone in gone {
            let mut log = LogFile::open(&path, Before::Goes).expect("open");
            log.write_all(b"1\n2 and").expect("written");
            (log.failed, log.look) = (true, Instant::now());
            gone(&path);
            log.write_all(b" its rest\n3\n").expect("written");
            assert_eq!(read(&path), "3\n");
            log.write_all(b"4\n").expect("written");
            assert_eq!(read(&path), "3\n4\n");
        }
    }

    #[test]
    fn what_a_file_holds_stays_or_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.json");
        for (before, expected) in [
            (Before::Stays, "1\n"),
            (Before::Stays, "1\n1\n"),
            (Before::Goes, "1\n"),
        ] {
            let mut log = LogFile::open(&path, before).expect("open");
            log.write_all(b"1\n").expect("written");
            assert_eq!(read(&path), expected);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt as _, symlink};
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let link = folder.path().join("link");
            symlink(&path, &link).expect("linked");
            let refused = LogFile::open(&link, Before::Goes).expect_err("a link");
            assert!(refused.to_string().contains("which would be emptied"));
            assert_eq!(read(&path), "1\n");
            LogFile::open(&link, Before::Stays).expect("appended to");
        }
        let mut null = LogFile::open(Path::new("/dev/null"), Before::Goes).expect("open");
        null.write_all(b"1\n").expect("written");
        assert!(LogFile::open(folder.path(), Before::Goes).is_err());
    }
}
