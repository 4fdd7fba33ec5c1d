//! Reads rule files: the one place of detection that performs I/O.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::parse::Source;
use super::rule::Origin;

/// The largest rule file that is read, in bytes.
const MOST_BYTES: u64 = 4 << 20;

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
/// their names.
///
/// What cannot be read is told beside what can.
pub fn read(path: &Path) -> (Vec<Source>, Vec<Unreadable>) {
    let mut found = (Vec::new(), Vec::new());
    let is_folder = path.is_dir();
    if is_folder {
        folder(path, DEPTH, &mut found);
    } else {
        file(path, &mut found);
    }
    found
}

fn file(path: &Path, found: &mut (Vec<Source>, Vec<Unreadable>)) {
    let text = fs::metadata(path).and_then(|about| {
        // Who opens a pipe waits for somebody to write into it.
        if !about.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        if about.len() > MOST_BYTES {
            return Err(io::Error::other("it is larger than 4 MiB"));
        }
        fs::read_to_string(path)
    });
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
