//! Inputs of captures: files, folders, standard input; decompression based on content, not names; and
//! [`Buffer`], the look-ahead buffer of the parsers.
//!
//! The buffer never waits for more bytes than the parser needs, so that a packet from a pipe is available as
//! soon as it is complete. It grows only as bytes arrive, so that a length field alone cannot cause a large
//! allocation.

use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::{
    error::{CaptureError, Problem},
    magic::{self, Kind},
    zstd,
};

/// Maximum size in bytes of a packet or block that must be buffered. Linux captures packets of up to 512 KiB
/// (BIG TCP).
pub const MAX_BLOCK: usize = 4 << 20;

/// Read size.
const CHUNK: usize = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    Stdin,
    /// A file given by name: it is an error if it is no capture.
    Named(PathBuf),
    /// A file found in a folder: skipped if it is no capture.
    Found(PathBuf),
}

impl Input {
    pub fn name(&self) -> String {
        match self {
            Input::Stdin => "-".to_owned(),
            Input::Named(path) | Input::Found(path) => path.display().to_string(),
        }
    }

    /// Opens it, decompressing gzip and zstd.
    ///
    /// # Errors
    /// [`Problem::Open`], or [`Problem::Read`] when its first bytes cannot be read.
    ///
    /// `read` counts its bytes, as they are stored.
    pub fn open(&self, read: &Arc<AtomicU64>) -> Result<Buffer, Problem> {
        let reader: Box<dyn Read + Send> = match self {
            Input::Stdin => Box::new(io::stdin()),
            Input::Named(path) | Input::Found(path) => {
                Box::new(File::open(path).map_err(Problem::Open)?)
            }
        };
        let read = Arc::clone(read);
        Buffer::decompressing(Box::new(Counted { reader, read }))
    }

    /// The kind of its content, decompressed; unknown if it is short or cannot be read.
    pub fn kind(&self) -> Kind {
        let first = || {
            let mut buffer = self.open(&Arc::default()).ok()?;
            buffer.fill(magic::LEN).ok()?;
            buffer.available().first_chunk().copied()
        };
        first().map_or(Kind::Unknown, Kind::of)
    }

    /// Bytes of it, as they are stored, if it is a regular file.
    pub fn size(&self) -> Option<u64> {
        match self {
            Input::Stdin => None,
            Input::Named(path) | Input::Found(path) => {
                let about = fs::metadata(path).ok()?;
                about.is_file().then_some(about.len())
            }
        }
    }
}

/// Counts what is read of a file.
struct Counted {
    reader: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The inputs given by `paths`, with folders expanded recursively in order of name. `-` is standard input.
/// Folders that cannot be listed are added to `errors`.
pub fn expand(paths: &[PathBuf], errors: &mut Vec<CaptureError>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            if !inputs.contains(&Input::Stdin) {
                inputs.push(Input::Stdin);
            }
        } else if path.is_dir() {
            walk_folder(path, &mut inputs, errors);
        } else {
            inputs.push(Input::Named(path.clone()));
        }
    }
    inputs
}

/// Adds all files below `folder`. Symbolic links to folders are not followed, because they may form loops.
fn walk_folder(folder: &Path, inputs: &mut Vec<Input>, errors: &mut Vec<CaptureError>) {
    let listed = |folder: &Path, errors: &mut Vec<CaptureError>| {
        let listing = fs::read_dir(folder).and_then(|entries| {
            let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
            entries.sort_by_key(fs::DirEntry::file_name);
            Ok(entries)
        });
        let entries = listing.unwrap_or_else(|source| {
            errors.push(CaptureError {
                file: folder.display().to_string(),
                problem: Problem::Open(source),
            });
            Vec::new()
        });
        entries.into_iter()
    };
    let mut open = vec![listed(folder, errors)];
    while let Some(entries) = open.last_mut() {
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => open.push(listed(&path, errors)),
            // Regular files only: pipes and devices could block forever.
            Ok(_) if fs::metadata(&path).is_ok_and(|m| m.is_file()) => {
                inputs.push(Input::Found(path));
            }
            _ => {}
        }
    }
}

/// A reader with bounded look-ahead.
pub struct Buffer {
    reader: Box<dyn Read + Send>,
    data: Vec<u8>,
    /// Unread bytes are `data[start..end]`.
    start: usize,
    end: usize,
    /// Stream offset of `data[start]`.
    offset: u64,
}

impl Buffer {
    /// Reads uncompressed bytes.
    pub fn new(reader: Box<dyn Read + Send>) -> Self {
        Buffer { reader, data: Vec::new(), start: 0, end: 0, offset: 0 }
    }

    /// Reads bytes that may be compressed with gzip (also several members) or zstd.
    pub fn decompressing(reader: Box<dyn Read + Send>) -> Result<Self, Problem> {
        let failed = |source| Problem::Read { offset: 0, source };
        let mut plain = Buffer::new(reader);
        plain.fill(magic::LEN).map_err(failed)?;
        Ok(match plain.available().first_chunk().copied().map(Kind::of) {
            Some(Kind::Gzip) => Buffer::new(Box::new(MultiGzDecoder::new(plain))),
            Some(Kind::Zstd) => Buffer::new(Box::new(zstd::Decoder::new(plain))),
            _ => plain,
        })
    }

    /// Reads until at least `n` unread bytes are available; `false` if the stream ends before that.
    pub fn fill(&mut self, n: usize) -> io::Result<bool> {
        while self.end - self.start < n {
            if self.read_some()? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads once into free space; 0 at the end of the stream.
    fn read_some(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.data.len() - self.end < CHUNK / 4 && self.start >= CHUNK {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.data.len() - self.end < CHUNK / 4 {
            self.data.resize(self.end + CHUNK, 0);
        }
        loop {
            match self.reader.read(&mut self.data[self.end..]) {
                Ok(n) => {
                    self.end += n;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    pub fn available(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    /// Discards `n` unread bytes (or all, if fewer are available).
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.offset += n as u64;
    }

    /// Reads and discards `n` bytes without buffering them; returns how many there were.
    pub fn skip(&mut self, n: u64) -> io::Result<u64> {
        let mut left = n;
        while left > 0 {
            if self.start == self.end && self.read_some()? == 0 {
                break;
            }
            let step = left.min((self.end - self.start) as u64);
            self.consume(step as usize);
            left -= step;
        }
        Ok(n - left)
    }

    /// Offset of the first unread byte in the (decompressed) stream.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// Lets a decompressor read from the bytes that were inspected.
impl Read for Buffer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        BufRead::consume(self, n);
        Ok(n)
    }
}

impl BufRead for Buffer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill(1)?;
        Ok(self.available())
    }
    fn consume(&mut self, n: usize) {
        Buffer::consume(self, n);
    }
}
