//! Replaces a file as a whole: it keeps its former content until the new one is on the disk, or if there is none. Must
//! not know formats.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::log_file::{Before, LogFile, is_no_link};

/// Collects what is written, and replaces the file with it at the first flush.
#[derive(Debug)]
struct WholeFile {
    path: PathBuf,
    mode: Option<u32>,
    /// Empty again once it is in place.
    content: Vec<u8>,
}

/// Opens a file to be replaced, or a pipe or device, which can only be written. `mode`: permissions of a new file, by
/// default 0600.
///
/// # Errors
/// If it cannot be written, before anything is.
pub fn open(path: &Path, mode: Option<u32>) -> io::Result<Box<dyn Write + Send>> {
    if fs::metadata(path).is_ok_and(|about| !about.is_file()) {
        return Ok(Box::new(LogFile::open(path, Before::Goes, mode)?));
    }
    LogFile::open(path, Before::Stays, mode)?;
    if fs::metadata(path)?.len() > 0 {
        is_no_link(path)?;
    }
    Ok(Box::new(WholeFile { path: path.to_owned(), mode, content: Vec::new() }))
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.content.is_empty() {
            return Ok(());
        }
        match replace(&self.path, &self.content) {
            // Without permission in its folder, or mounted by itself, a file can only be overwritten.
            Err(error) if !is_full(&error) => {
                let mut file = LogFile::open(&self.path, Before::Goes, self.mode)?;
                file.write_all(&self.content)?;
            }
            replaced => replaced?,
        }
        self.content.clear();
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Writes a file beside it, with its owner and permissions, and renames that.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".http-trace-new");
    let beside = PathBuf::from(name);
    let about = fs::metadata(&path)?;
    let mode = Permissions::from_mode(about.mode() & 0o777);
    // A run that was killed may have left one.
    let _ = fs::remove_file(&beside);
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = fchown(&file, Some(about.uid()), Some(about.gid()))
        .and_then(|()| file.set_permissions(mode))
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
