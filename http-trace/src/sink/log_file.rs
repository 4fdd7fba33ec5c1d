//! Appends lines to a file. If log rotation moves or removes the file, it is reopened at its path; where that fails,
//! so do writes, because what goes into a file that is nowhere any more is lost. With rotation of its own, it is
//! renamed to `PATH.1` between two lines, `PATH.1` to `PATH.2` and so on. A named pipe without a reader does not block.
//! Must not know formats.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{
    FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::failing::Failing;
use crate::sync::lock;

/// Longest wait of a replay for the reader of a named pipe, which may be starting.
const READER: Duration = Duration::from_secs(5);

/// Shortest interval between checks whether the file is still at its path.
const LOOK: Duration = Duration::from_secs(1);

/// What to do with existing content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Append: the agent was restarted.
    Stays,
    /// Truncate: a capture is read again.
    Goes,
}

/// When a file is rotated, and how many old files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Maximum size, bytes; exceeded by a longer line, or by one that was written in parts.
    pub bytes: Option<u64>,
    /// Maximum age: it is rotated before the first line after that time.
    pub age: Option<Duration>,
    /// Number of old files that are kept.
    pub keep: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation { bytes: None, age: None, keep: 7 }
    }
}

impl Rotation {
    /// Parses a size or age: `100M`, `1G`, `1d`; upper-case units are sizes, in powers of 1024.
    pub fn set(&mut self, text: &str, age_ns: impl Fn(&str) -> Option<u64>) -> Option<()> {
        let size = text.trim_end_matches("iB");
        let units = [("K", 10), ("M", 20), ("G", 30)];
        let unit =
            units.into_iter().find_map(|(unit, power)| Some((size.strip_suffix(unit)?, power)));
        match unit {
            Some((number, power)) => {
                let number: u64 = number.parse().ok().filter(|n| (1..1 << 30).contains(n))?;
                self.bytes = Some(number << power);
            }
            None => {
                let age = Duration::from_nanos(age_ns(text)?);
                self.age = Some(age).filter(|age| *age >= Duration::from_secs(1));
                self.age?;
            }
        }
        Some(())
    }

    pub const fn is_set(&self) -> bool {
        self.bytes.is_some() || self.age.is_some()
    }
}

#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// Permissions of a new file; `None`: 0600.
    mode: Option<u32>,
    /// `None` while a named pipe has no reader.
    file: Option<File>,
    /// Whether to wait for another reader when one closes the pipe.
    waits: bool,
    /// Device and inode; `None` for pipes and devices, which cannot be rotated.
    is: Option<(u64, u64)>,
    look: Instant,
    /// Header of each file, and how many of its bytes are not written yet.
    head: Vec<u8>,
    head_left: usize,
    /// Whether the last line is incomplete.
    within_line: bool,
    /// Whether an earlier run left an incomplete line, which has to be ended first.
    is_cut: bool,
    /// Whether the last write failed; the rest of an incomplete line may never fit.
    failed: bool,
    /// Whether the file is no longer at its path and could not be reopened there.
    is_gone: bool,
    /// Whether the next bytes are the rest of a line whose beginning is no longer in the file.
    skips: bool,
    rotation: Rotation,
    /// Tells, while it is written, whether rotating it fails.
    pub rotates: Arc<Mutex<Failing>>,
    /// Size of the file, as far as this run knows.
    size: u64,
    made: SystemTime,
    /// After a failed rotation: time of the next attempt.
    rotate_again: Instant,
}

impl LogFile {
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
        if let (Some(file), Some(true)) = (&file, metadata.as_ref().map(Metadata::is_file)) {
            // Tells other processes that it is written. Those that write it as well warn of it.
            let _ = file.try_lock();
        }
        // Appends even then: if it is truncated later, no hole remains at its beginning.
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
            is_cut: before == Before::Stays && is_cut(path),
            failed: false,
            is_gone: false,
            skips: false,
            rotation: Rotation::default(),
            rotates: Arc::default(),
            size: 0,
            made: SystemTime::now(),
            rotate_again: Instant::now(),
        })
    }

    /// Enables rotation.
    ///
    /// # Errors
    /// For links, whose file has another name, and anything that is not a regular file.
    pub fn rotating(mut self, rotation: Rotation) -> io::Result<Self> {
        if rotation.is_set() {
            let metadata = fs::symlink_metadata(&self.path)?;
            if !metadata.is_file() {
                return Err(io::Error::other(
                    "only a file rotates, and no link to one: name the file, or leave rotate= out",
                ));
            }
            self.size = metadata.len();
            self.made = metadata.created().unwrap_or(self.made);
            self.rotation = rotation;
        }
        Ok(self)
    }

    /// How many of these bytes, which begin a line, still fit; 0: rotate first.
    fn fits(&self, bytes: &[u8]) -> usize {
        let Some(most) = self.rotation.bytes else { return bytes.len() };
        let room = usize::try_from(most.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return bytes.len();
        }
        let end = |of: &[u8]| memchr::memrchr(b'\n', of).map_or(0, |at| at + 1);
        match end(&bytes[..room]) {
            // A line that exceeds the maximum size gets a file of its own.
            0 if self.size <= self.head.len() as u64 => {
                memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
            }
            whole => whole,
        }
    }

    fn is_old(&self) -> bool {
        let age = self.rotation.age.filter(|_| self.size > self.head.len() as u64);
        age.is_some_and(|age| self.made.elapsed().is_ok_and(|is| is >= age))
    }

    /// Renames the file, unless it was already moved: [`LogFile::look`] opens a new one.
    fn rotate(&mut self) -> io::Result<()> {
        self.rotate_again = Instant::now() + LOOK;
        let there = fs::symlink_metadata(&self.path)?;
        if self.is.is_none() || identity(&there) != self.is {
            // logrotate has moved the file.
            return Ok(());
        }
        if there.len() < self.size {
            self.size = there.len();
            return Ok(());
        }
        for number in (0..self.rotation.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if number == 0 || error.kind() != io::ErrorKind::NotFound => {
                    let to = self.numbered(number + 1);
                    return Err(io::Error::other(format!("{}: {error}", to.display())));
                }
                _ => {}
            }
        }
        if self.rotation.keep == 0 {
            fs::remove_file(&self.path)?;
        }
        self.rotate_again = Instant::now();
        Ok(())
    }

    /// `PATH`, `PATH.1` …
    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        if number > 0 {
            name.push(format!(".{number}"));
        }
        PathBuf::from(name)
    }

    /// Sets the header of each new file and of each reader of a pipe.
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

    /// Reopens the file if it is no longer at its path. Returns whether earlier content is no longer in the file.
    ///
    /// # Errors
    /// It cannot be reopened. The open one is kept, but must not be written.
    fn look(&mut self) -> io::Result<bool> {
        let Some(is) = self.is else { return Ok(false) };
        self.is_gone = false;
        if let Ok(there) = fs::metadata(&self.path)
            && identity(&there) == Some(is)
        {
            let is_empty = there.len() == 0;
            if is_empty {
                self.is_cut = false;
                self.size = 0;
                self.head_left = self.head.len();
            }
            return Ok(is_empty);
        }
        let opened = open(&self.path, self.mode).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| {
            self.is_gone = true;
            io::Error::new(error.kind(), format!("cannot reopen the file: {error}"))
        })?;
        self.is = identity(&metadata);
        self.file = Some(file);
        self.is_cut = is_cut(&self.path);
        (self.size, self.made) = (metadata.len(), SystemTime::now());
        if metadata.len() == 0 {
            self.head_left = self.head.len();
        }
        Ok(true)
    }

    /// Writes to the open file, or to a named pipe that has a reader again.
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_cut {
            self.put_bytes(b"\n")?;
            self.is_cut = false;
        }
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
            _ => {
                self.size += *written.as_ref().unwrap_or(&0) as u64;
                written
            }
        }
    }
}

/// Parses permissions of three octal digits: readable and writable by the owner, executable by nobody, not writable
/// by others.
pub fn parse_mode(text: &str) -> Option<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| text.len() == 3)?;
    (mode & 0o600 == 0o600 && mode & 0o113 == 0).then_some(mode)
}

/// Finds why a file could not be opened or created at this path, without doing it: its folder is not there, or a folder
/// is in its place.
pub fn check_place(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let about = fs::metadata(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            error.kind(),
            format!("there is no folder {}: create it", folder.display()),
        ),
        _ => error,
    })?;
    match about.is_dir() {
        false => Err(io::ErrorKind::NotADirectory.into()),
        true if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        true => Ok(()),
    }
}

/// Opens a file, or creates it with mode 0600, because it may contain personal data. Does not wait for the reader of
/// a named pipe.
fn open(path: &Path, mode: Option<u32>) -> io::Result<File> {
    let mut options = File::options();
    options.append(true);
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
        // Regardless of the umask.
        made.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(made)
}

fn unread() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "nobody reads this named pipe; start its reader")
}

fn is_unread(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotConnected
}

fn is_pipe(metadata: &Metadata) -> bool {
    metadata.file_type().is_fifo()
}

/// Refuses links to files, because truncating would affect the target. Links to this process's open files
/// (`/dev/stdout`) are allowed.
pub fn is_no_link(path: &Path) -> io::Result<()> {
    let of_system = ["/dev", "/proc"].iter().any(|system| path.starts_with(system));
    match fs::read_link(path) {
        Ok(to) if !of_system => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("it is a link to {}, which would be emptied: name that file", to.display()),
        )),
        _ => Ok(()),
    }
}

/// Whether a regular file ends within a line.
fn is_cut(path: &Path) -> bool {
    let last = || {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
        let mut last = [0];
        File::open(path).ok()?.read_exact_at(&mut last, metadata.len().checked_sub(1)?).ok()?;
        Some(last)
    };
    last().is_some_and(|last| last != *b"\n")
}

/// Device and inode of a regular file.
fn identity(metadata: &Metadata) -> Option<(u64, u64)> {
    (metadata.is_file()).then(|| (metadata.dev(), metadata.ino()))
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = Instant::now();
        if self.is_gone || (!self.within_line || self.failed) && now >= self.look {
            self.look = now + LOOK;
            self.skips |= self.look()? && self.within_line;
        }
        if self.skips {
            let end = memchr::memchr(b'\n', bytes);
            self.skips = end.is_none();
            self.within_line = self.skips;
            return Ok(end.map_or(bytes.len(), |at| at + 1));
        }
        if self.file.is_none() && self.within_line {
            // The next reader must not get the rest of a line.
            let file = open(&self.path, self.mode)?;
            self.file = Some(file);
            self.skips = true;
            return self.write(bytes);
        }
        let mut bytes = bytes;
        if !self.within_line && self.rotation.is_set() && now >= self.rotate_again {
            if self.is_old() || self.fits(bytes) == 0 {
                // A file that cannot be renamed grows.
                let rotated = self.rotate().map_err(|error| error.to_string());
                lock(&self.rotates).error = rotated.err();
                self.look()?;
            }
            match self.fits(bytes) {
                0 => {}
                some => bytes = &bytes[..some],
            }
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
mod tests;
