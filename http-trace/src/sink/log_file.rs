//! Files that lines are appended to for as long as a run takes. What rotates logs moves, removes or
//! empties them meanwhile: one that is not at its path any more is opened anew there, so that what comes
//! is where its reader looks. A named pipe without a reader blocks nothing. Knows nothing of formats.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a capture waits for the reader of a named pipe, which may be starting.
const READER: Duration = Duration::from_secs(5);

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
    /// Permissions of a file that is made; none: its owner's alone.
    mode: Option<u32>,
    /// None while nobody reads a named pipe.
    file: Option<File>,
    /// Whether another reader is waited for when one goes.
    waits: bool,
    /// Which file that is; none for what cannot be moved away: a pipe, a device.
    is: Option<(u64, u64)>,
    look: Instant,
    /// What a file begins with, and how much of it is to be written still.
    head: Vec<u8>,
    head_left: usize,
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
    pub fn open(path: &Path, before: Before, mode: Option<u32>) -> io::Result<Self> {
        let until = Instant::now() + READER;
        let file = loop {
            match open(path, mode) {
                Ok(file) => break Some(file),
                Err(error) if !is_unread(&error) => return Err(error),
                Err(_) if before == Before::Stays => break None,
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => std::thread::sleep(READER / 100),
            }
        };
        let metadata = file.as_ref().map(File::metadata).transpose()?;
        // At its end all the same: whoever empties it later finds no hole at its beginning.
        if let (Some(file), Some(metadata)) = (&file, &metadata)
            && before == Before::Goes
            && metadata.is_file()
            && metadata.len() > 0
        {
            is_no_link(path)?;
            file.set_len(0)?;
        }
        Ok(LogFile {
            path: path.to_owned(),
            mode,
            waits: before == Before::Stays && metadata.as_ref().is_none_or(is_pipe),
            file,
            is: metadata.as_ref().and_then(identity),
            look: Instant::now() + LOOK,
            head: Vec::new(),
            head_left: 0,
            within_line: false,
            failed: false,
            skips: false,
        })
    }

    /// Begins each file that is empty with these lines, and what each reader of a pipe gets.
    ///
    /// # Errors
    /// Those of the system.
    pub fn headed(mut self, head: Vec<u8>) -> io::Result<Self> {
        let metadata = self.file.as_ref().map(File::metadata).transpose()?;
        let is_begun = metadata.is_some_and(|metadata| metadata.is_file() && metadata.len() > 0);
        self.head = head;
        if !is_begun {
            self.head_left = self.head.len();
            if self.file.is_some() {
                self.put_head()?;
            }
        }
        Ok(self)
    }

    /// Opens the file anew if it is not at its path any more. Where that fails, what was open takes the
    /// lines as before. Whether what was written is gone from it.
    fn look(&mut self) -> bool {
        let Some(is) = self.is else { return false };
        if let Ok(there) = fs::metadata(&self.path)
            && identity(&there) == Some(is)
        {
            let is_empty = there.len() == 0;
            if is_empty {
                self.head_left = self.head.len();
            }
            return is_empty;
        }
        if let Ok(file) = open(&self.path, self.mode)
            && let Ok(metadata) = file.metadata()
        {
            self.is = identity(&metadata);
            self.file = Some(file);
            if metadata.len() == 0 {
                self.head_left = self.head.len();
            }
            return true;
        }
        false
    }

    /// Writes to what is open, or to a named pipe that has a reader again.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put_head()?;
        self.put_bytes(bytes)
    }

    fn put_head(&mut self) -> io::Result<()> {
        while self.head_left > 0 {
            let head = std::mem::take(&mut self.head);
            let written = self.put_bytes(&head[head.len() - self.head_left..]);
            self.head = head;
            self.head_left -= written?;
        }
        Ok(())
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(&self.path, self.mode)?),
        };
        let written = file.write(bytes);
        match &written {
            Err(error) if self.waits && error.kind() == io::ErrorKind::BrokenPipe => {
                self.file = None;
                self.head_left = self.head.len();
                Err(unread())
            }
            _ => written,
        }
    }
}

/// The permissions of three octal digits: its owner reads and writes it, nobody runs it, and not everybody
/// writes it.
pub fn parse_mode(text: &str) -> Option<u32> {
    let mode = u32::from_str_radix(text, 8)
        .ok()
        .filter(|_| text.len() == 3)?;
    (mode & 0o600 == 0o600 && mode & 0o113 == 0).then_some(mode)
}

/// Opens a file, or makes one for its owner alone: it may hold personal data. Does not wait for the reader
/// of a named pipe.
fn open(path: &Path, mode: Option<u32>) -> io::Result<File> {
    let mut options = File::options();
    options.append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        if fs::metadata(path).is_ok_and(|metadata| is_pipe(&metadata)) {
            options.custom_flags(libc::O_NONBLOCK);
        }
        match options.open(path) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Err(unread()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
        options.mode(mode.unwrap_or(0o600));
        let made = options.create(true).open(path)?;
        if let Some(mode) = mode {
            // What the umask took away too.
            made.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(made)
    }
    #[cfg(not(unix))]
    {
        let _ = mode;
        options.create(true).open(path)
    }
}

fn unread() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "nobody reads this named pipe; start its reader",
    )
}

fn is_unread(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}

#[cfg(unix)]
fn is_pipe(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
const fn is_pipe(_: &Metadata) -> bool {
    false
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
        if self.file.is_none() && self.within_line {
            // The next reader gets no rest of a line.
            let file = open(&self.path, self.mode)?;
            self.file = Some(file);
            self.skips = true;
            return self.write(bytes);
        }
        let written = self.put(bytes);
        self.failed = written.is_err();
        let n = written?;
        if let Some(last) = bytes.get(..n).and_then(<[u8]>::last) {
            self.within_line = *last != b'\n';
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), File::flush)
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
        let mut log = LogFile::open(&path, Before::Stays, None).expect("open");
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
            let mut log = LogFile::open(&path, Before::Goes, None).expect("open");
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
            let mut log = LogFile::open(&path, before, None).expect("open");
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
            let refused = LogFile::open(&link, Before::Goes, None).expect_err("a link");
            assert!(refused.to_string().contains("which would be emptied"));
            assert_eq!(read(&path), "1\n");
            LogFile::open(&link, Before::Stays, None).expect("appended to");
        }
        let mut null = LogFile::open(Path::new("/dev/null"), Before::Goes, None).expect("open");
        null.write_all(b"1\n").expect("written");
        assert!(LogFile::open(folder.path(), Before::Goes, None).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_gets_the_mode_that_was_asked_for_whatever_the_umask() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        for (mode, expected) in [(None, 0o600), (Some(0o640), 0o640), (Some(0o664), 0o664)] {
            let path = folder.path().join(expected.to_string());
            let mut log = LogFile::open(&path, Before::Stays, mode).expect("open");
            let is = || fs::metadata(&path).expect("there").permissions().mode() & 0o777;
            assert_eq!(is(), expected);
            // The next one, too, but not what somebody else made.
            fs::remove_file(&path).expect("removed");
            log.look = Instant::now();
            log.write_all(b"1\n").expect("written");
            assert_eq!(is(), expected);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("set");
            LogFile::open(&path, Before::Stays, mode).expect("open");
            assert_eq!(is(), 0o604);
        }
    }

    #[cfg(feature = "live")]
    #[test]
    fn a_named_pipe_blocks_nothing_and_each_reader_gets_whole_lines() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::io::Read as _;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
        let mut log = LogFile::open(&path, Before::Stays, None).expect("open");
        for _ in 0..2 {
            let error = log.write(b"1\n").expect_err("nobody reads");
            assert!(is_unread(&error), "{error}");
        }
        let reader = || {
            let mut options = File::options();
            std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
            options.read(true).open(&path).expect("a reader")
        };
        let mut got = [0; 99];
        let mut first = reader();
        log.write_all(b"1\n2 and").expect("written");
        assert_eq!(first.read(&mut got).expect("read"), 7);
        drop(first);
        assert!(is_unread(&log.write(b" its rest\n3\n").expect_err("gone")));
        let mut second = reader();
        log.write_all(b" its rest\n3\n").expect("written");
        let n = second.read(&mut got).expect("read");
        assert_eq!(&got[..n], b"3\n");
    }
}
