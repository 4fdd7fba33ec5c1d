//! Files that lines are appended to for as long as a run takes. What rotates logs moves, removes or
//! empties them meanwhile: one that is not at its path any more is opened anew there, so that what comes
//! is where its reader looks. One that is to rotate by itself becomes `PATH.1` between two lines, and what was
//! that `PATH.2`. A named pipe without a reader blocks nothing. Knows nothing of formats.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

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

/// When a file gives way to a new one, and how many of them stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The most bytes of a file, but for a line that is longer, or came in pieces.
    pub bytes: Option<u64>,
    /// How old it becomes: from when it was made to the first line after that time.
    pub age: Option<Duration>,
    /// How many stay beside it.
    pub keep: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Rotation {
            bytes: None,
            age: None,
            keep: 7,
        }
    }
}

impl Rotation {
    /// Sets size or age: `100M`, `1G`, `1d`; upper case are sizes, as powers of 1024.
    pub fn set(&mut self, text: &str, age_ns: impl Fn(&str) -> Option<u64>) -> Option<()> {
        let size = text.trim_end_matches("iB");
        let units = [("K", 10), ("M", 20), ("G", 30)];
        let unit = units
            .into_iter()
            .find_map(|(unit, power)| Some((size.strip_suffix(unit)?, power)));
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

    /// Whether there is anything to do.
    pub const fn is_set(&self) -> bool {
        self.bytes.is_some() || self.age.is_some()
    }
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
    rotation: Rotation,
    /// Bytes of the file, as far as this run knows.
    size: u64,
    made: SystemTime,
    /// Where it could not be moved: not to be tried before.
    rotate_again: Instant,
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
            rotation: Rotation::default(),
            size: 0,
            made: SystemTime::now(),
            rotate_again: Instant::now(),
        })
    }

    /// Has it rotate by itself.
    ///
    /// # Errors
    /// A link, whose file has another name, and what is no file.
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

    /// How many of these bytes, which begin a line, go into the file as it is; none: it has to rotate before.
    fn fits(&self, bytes: &[u8]) -> usize {
        let Some(most) = self.rotation.bytes else {
            return bytes.len();
        };
        let room = usize::try_from(most.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if bytes.len() <= room {
            return bytes.len();
        }
        let end = |of: &[u8]| memchr::memrchr(b'\n', of).map_or(0, |at| at + 1);
        match end(&bytes[..room]) {
            // A line that is longer than any file may be has one of its own.
            0 if self.size <= self.head.len() as u64 => {
                memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
            }
            whole => whole,
        }
    }

    fn is_old(&self) -> bool {
        let age = self
            .rotation
            .age
            .filter(|_| self.size > self.head.len() as u64);
        age.is_some_and(|age| self.made.elapsed().is_ok_and(|is| is >= age))
    }

    /// Moves the file out of the way and opens another. Where that fails, or others moved it, what is open goes on.
    fn rotate(&mut self) -> io::Result<()> {
        self.rotate_again = Instant::now() + LOOK;
        let there = fs::symlink_metadata(&self.path)?;
        if self.is.is_none() || identity(&there) != self.is {
            // logrotate was here.
            self.look = Instant::now();
            return Ok(());
        }
        if there.len() < self.size {
            self.size = there.len();
            return Ok(());
        }
        for number in (0..self.rotation.keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if number == 0 || error.kind() != io::ErrorKind::NotFound => {
                    return Err(error);
                }
                _ => {}
            }
        }
        if self.rotation.keep == 0 {
            fs::remove_file(&self.path)?;
        }
        self.rotate_again = Instant::now();
        self.look();
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
                self.size = 0;
                self.head_left = self.head.len();
            }
            return is_empty;
        }
        if let Ok(file) = open(&self.path, self.mode)
            && let Ok(metadata) = file.metadata()
        {
            self.is = identity(&metadata);
            self.file = Some(file);
            (self.size, self.made) = (metadata.len(), SystemTime::now());
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
            _ => {
                self.size += *written.as_ref().unwrap_or(&0) as u64;
                written
            }
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
        let mut bytes = bytes;
        if !self.within_line && self.rotation.is_set() && now >= self.rotate_again {
            if self.is_old() || self.fits(bytes) == 0 {
                // Where it cannot be moved it grows.
                let _ = self.rotate();
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
