//! Reads rule files: the one place of detection that performs I/O.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::parse::Source;
use crate::rule::Origin;

/// The largest rule file that is read, in bytes.
const MOST_BYTES: u64 = 4 << 20;

/// How long a pipe is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most folders within folders.
const DEPTH: usize = 16;

/// A file or folder that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read rules from {}: {why}", path.display())]
pub struct Unreadable {
    path: PathBuf,
    why: io::Error,
}

impl Unreadable {
    /// Which one.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a rule file, or every `.yml` and `.yaml` in a folder and those in it, in the order of
/// their names. A pipe is read too if it is named itself, as a shell does for `<(command)`.
///
/// What cannot be read is told beside what can.
pub fn read(path: &Path) -> (Vec<Source>, Vec<Unreadable>) {
    let mut found = (Vec::new(), Vec::new());
    if path.is_dir() {
        folder(path, DEPTH, &mut found);
    } else if is_pipe(path) {
        add(path, pipe(path), &mut found);
    } else {
        file(path, &mut found);
    }
    found
}

/// Whether there is any file of rules in a folder.
pub fn has_any(path: &Path) -> bool {
    let (sources, unreadable) = read(path);
    !(sources.is_empty() && unreadable.is_empty())
}

/// Whether a path is a pipe: what it held can be read once.
pub fn is_pipe(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|about| about.file_type().is_fifo())
}

/// Opens it as well, and waits for whom writes into it, so that a thread does that.
fn pipe(path: &Path) -> io::Result<String> {
    let (sender, receiver) = mpsc::channel();
    let of = path.to_owned();
    let read = move || {
        let text = fs::File::open(of).and_then(|file| {
            let mut text = String::new();
            file.take(MOST_BYTES + 1).read_to_string(&mut text)?;
            Ok(text)
        });
        // Nobody waits any more, else.
        let _ = sender.send(text);
    };
    std::thread::Builder::new()
        .name("rules-pipe".into())
        .spawn(read)?;
    let silent = || io::Error::other("nobody has written into it and closed it within 10 seconds");
    let text = receiver.recv_timeout(PATIENCE).map_err(|_| silent())??;
    match text.len() as u64 > MOST_BYTES {
        true => Err(too_large()),
        false => Ok(text),
    }
}

fn too_large() -> io::Error {
    io::Error::other("it is larger than 4 MiB")
}

fn file(path: &Path, found: &mut (Vec<Source>, Vec<Unreadable>)) {
    let text = fs::metadata(path).and_then(|about| {
        // Who opens a pipe waits for somebody to write into it.
        if !about.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        if about.len() > MOST_BYTES {
            return Err(too_large());
        }
        fs::read_to_string(path)
    });
    add(path, text, found);
}

fn add(path: &Path, text: io::Result<String>, found: &mut (Vec<Source>, Vec<Unreadable>)) {
    match text {
        Ok(text) => found.0.push(Source {
            origin: Origin::File(path.to_owned()),
            text,
        }),
        Err(why) => found.1.push(Unreadable {
            path: path.to_owned(),
            why,
        }),
    }
}

fn folder(path: &Path, depth: usize, found: &mut (Vec<Source>, Vec<Unreadable>)) {
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(why) => {
            found.1.push(Unreadable {
                path: path.to_owned(),
                why,
            });
            return;
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to a folder is not followed: it may lead in a circle.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 0 {
            folder(&path, depth - 1, found);
        } else if matches!(
            path.extension().and_then(|e| e.to_str()),
            Some("yml" | "yaml")
        ) {
            file(&path, found);
        }
    }
}
