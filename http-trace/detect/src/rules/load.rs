//! Reads rule files: the only I/O of detection.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::document::Source;
use crate::rule::Origin;

/// Maximum size of a rule file, in bytes.
const MAX_BYTES: u64 = 4 << 20;

const PIPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum nesting of directories.
const MAX_DEPTH: usize = 16;

/// A file or directory that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read rules from {}: {why}", path.display())]
pub struct Unreadable {
    pub path: PathBuf,
    why: io::Error,
}

/// Reads a rule file, or every `.yml` and `.yaml` in a folder and those in it, in the order of
/// their names; also a pipe that is named itself, as a shell does for `<(command)`. Returns what
/// cannot be read beside what can.
pub fn read(named: &Path) -> (Vec<Source>, Vec<Unreadable>) {
    let (mut sources, mut unreadable) = (Vec::new(), Vec::new());
    for (path, listed) in files(named) {
        let text = listed.and_then(|()| match path == named && is_pipe(&path) {
            true => pipe(&path),
            false => file(&path),
        });
        match text {
            Ok(mut text) => {
                // A byte order mark is not of the text (YAML 1.2 section 5.2).
                if text.starts_with('\u{feff}') {
                    text.remove(0);
                }
                sources.push(Source { origin: Origin::File(path), text });
            }
            Err(why) => unreadable.push(Unreadable { path, why }),
        }
    }
    (sources, unreadable)
}

/// The files that [`read`] reads, and folders that cannot be listed.
pub fn files(path: &Path) -> Vec<(PathBuf, io::Result<()>)> {
    let mut files = Vec::new();
    match path.is_dir() {
        true => list(path, MAX_DEPTH, &mut files),
        false => files.push((path.to_owned(), Ok(()))),
    }
    files
}

/// Whether there is any rule file in a folder.
pub fn has_any(path: &Path) -> bool {
    let (sources, unreadable) = read(path);
    !(sources.is_empty() && unreadable.is_empty())
}

/// Whether a path is a pipe, which can be read only once.
pub fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.file_type().is_fifo())
}

/// Reads a pipe in a thread, because opening it blocks until there is a writer.
fn pipe(path: &Path) -> io::Result<String> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    let read = move || {
        let mut text = String::new();
        let read = fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
        // After the timeout there is no receiver.
        let _ = sender.send(read.map(|_| text));
    };
    let name = "rules-pipe".to_owned();
    std::thread::Builder::new().name(name).spawn(read)?;
    let silent = |_| io::Error::other("no writer wrote to the pipe and closed it within 10 s");
    let text = receiver.recv_timeout(PIPE_TIMEOUT).map_err(silent)??;
    not_too_large(text.len() as u64).map(|()| text)
}

fn file(path: &Path) -> io::Result<String> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    not_too_large(about.len())?;
    fs::read_to_string(path)
}

fn not_too_large(bytes: u64) -> io::Result<()> {
    if bytes > MAX_BYTES { Err(io::Error::other("it is larger than 4 MiB")) } else { Ok(()) }
}

fn list(folder: &Path, depth: usize, files: &mut Vec<(PathBuf, io::Result<()>)>) {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(why) => return files.push((folder.to_owned(), Err(why))),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        // A mounted ConfigMap has its files a second time, in a folder `..TIME`; editors keep theirs as `.#NAME`.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            let why = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true if depth > 0 => {
                    list(&path, depth - 1, files);
                    continue;
                }
                true => "it is nested too deeply: name it itself",
                // They may form a cycle.
                false => "links to folders are not followed: name the folder itself",
            };
            files.push((path, Err(io::Error::other(why))));
        } else if path.extension().is_some_and(|end| end == "yml" || end == "yaml") {
            files.push((path, Ok(())));
        }
    }
}
