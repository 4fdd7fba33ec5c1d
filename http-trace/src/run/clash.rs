//! Refuses outputs that would overwrite an input or each other, before anything is opened for writing.
//! Compares files, not names; changes nothing.

use std::fs::{self, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::capture::magic::{self, Kind};
use crate::config::{Config, Source};
use crate::sink::Destination;
use crate::sink::deliver::Target;
#[cfg(feature = "live")]
use crate::state_file::inventory;

/// Identifies a file regardless of the name used for it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    /// Device and inode.
    Inode(u64, u64),
    /// Its path, or the path at which it will be created.
    Path(PathBuf),
}

/// A file that the run reads or writes.
struct Used {
    /// How messages refer to it: `--output json:x`.
    named: String,
    path: PathBuf,
    identity: Identity,
}

/// The files and folders that a run reads, and the files that it writes.
pub fn files(config: &Config) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let read = read_paths(config).into_iter().map(|(_, path)| path.to_owned());
    let written = outputs(config).into_iter().map(|used| used.path);
    (read.collect(), written.collect())
}

/// Outputs that another process writes, which locks them as this one will.
pub fn shared(config: &Config) -> impl Iterator<Item = String> {
    let is_locked = |path: &Path| {
        let locked = fs::File::open(path).map(|file| file.try_lock());
        matches!(locked, Ok(Err(TryLockError::WouldBlock)))
    };
    let is_shared = move |used: &Used| {
        // The file of --state has a lock of its own.
        let appends = ["--output", "--alerts-to"].iter().any(|to| used.named.starts_with(to));
        appends && is_locked(&used.path)
    };
    outputs(config).into_iter().filter(is_shared).map(|used| {
        format!("{}: another process writes to it; every event may be there twice", used.named)
    })
}

/// The first output that would overwrite something, as a message.
pub fn find(config: &Config) -> Option<String> {
    let read = inputs(config);
    let mut written: Vec<Used> = Vec::new();
    for output in outputs(config) {
        if let Some(input) = read.iter().find(|input| input.identity == output.identity) {
            return Some(format!(
                "{} would overwrite {}, which is read ({}): name another file",
                output.named,
                input.path.display(),
                input.named
            ));
        }
        if let Some(folder) = folder_of(config, &output) {
            return Some(format!(
                "{} would overwrite a capture in {}, which is read: name another file",
                output.named,
                folder.display()
            ));
        }
        if let Some(other) = written.iter().find(|w| w.identity == output.identity) {
            return Some(format!(
                "{} and {} are the same file: name a separate file for each",
                other.named, output.named
            ));
        }
        written.push(output);
    }
    None
}

/// Paths that a run reads, each with its option.
fn read_paths(config: &Config) -> Vec<(&'static str, &Path)> {
    let (paths, option) = match &config.source {
        Source::Live => (&[][..], ""),
        Source::Captures(paths) => (paths.as_slice(), "-r "),
        Source::Recorded(paths) => (paths.as_slice(), ""),
    };
    let is_standard_input = matches!(&config.source, Source::Recorded(paths) if paths.is_empty());
    let standard_input = is_standard_input.then_some(("", Path::new("-")));
    let source = paths.iter().map(|path| (option, path.as_path()));
    let rules = config.rules.iter().map(|path| ("--rules ", path.as_path()));
    let settings = config.file.iter().map(|path| ("--config ", path.as_path()));
    standard_input.into_iter().chain(source).chain(rules).chain(settings).collect()
}

fn inputs(config: &Config) -> Vec<Used> {
    read_paths(config)
        .into_iter()
        .filter_map(|(option, path)| {
            let file = if path.as_os_str() == "-" { Path::new("/dev/stdin") } else { path };
            Some(Used {
                named: format!("{option}{}", path.display()),
                path: path.to_owned(),
                identity: of_existing(file)?,
            })
        })
        .collect()
}

fn outputs(config: &Config) -> Vec<Used> {
    let mut all: Vec<(String, &Path)> = Vec::new();
    let mut to_stdout = config.output.is_empty();
    for output in &config.output {
        match &output.place {
            Destination::File(path) => all.push((format!("--output {}", path.display()), path)),
            Destination::Stdout => to_stdout = true,
            Destination::Collector(_) => {}
        }
    }
    for target in &config.alerts_to {
        match target {
            Target::File(path, _) => all.push((format!("--alerts-to {target}"), path)),
            Target::Stdout => to_stdout = true,
            Target::Command(_) | Target::Webhook(_) | Target::Syslog(_) => {}
        }
    }
    #[cfg(feature = "live")]
    let inventory = config.state.as_deref().map(inventory::path);
    if let Some(path) = &config.state {
        all.push((format!("--state {}", path.display()), path));
    }
    #[cfg(feature = "live")]
    if let Some(path) = &inventory {
        all.push((format!("the inventory {}", path.display()), path));
    }
    let stdout = Path::new("/dev/stdout");
    if to_stdout {
        all.push(("standard output".to_owned(), stdout));
    }
    all.into_iter()
        .filter_map(|(named, path)| {
            let identity = match of_existing(path) {
                Some(identity) => identity,
                // Terminals and pipes: writing destroys nothing.
                None if path.exists() || path == stdout => return None,
                None => to_be_made(path)?,
            };
            Some(Used { named, path: path.to_owned(), identity })
        })
        .collect()
}

/// The identity of an existing regular file.
fn of_existing(path: &Path) -> Option<Identity> {
    let about = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some(Identity::Inode(about.dev(), about.ino()))
}

/// The identity of a file that does not exist yet.
fn to_be_made(path: &Path) -> Option<Identity> {
    // Creating the file follows a dangling symlink.
    let path = match fs::read_link(path) {
        Ok(target) => path.parent()?.join(target),
        Err(_) => path.to_owned(),
    };
    let folder = match path.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    Some(Identity::Path(folder.canonicalize().ok()?.join(path.file_name()?)))
}

/// The input folder that contains the output, if the output is itself a capture. Other files in the folder
/// are skipped when reading, so an output of an earlier run may be there.
fn folder_of<'a>(config: &'a Config, output: &Used) -> Option<&'a Path> {
    let Source::Captures(paths) = &config.source else { return None };
    let file = output.path.canonicalize().ok()?;
    let folder = paths.iter().find(|path| {
        path.is_dir() && path.canonicalize().is_ok_and(|folder| file.starts_with(folder))
    })?;
    begins_as_capture(&file).then_some(folder)
}

/// Whether the file starts with the magic number of a readable capture.
fn begins_as_capture(path: &Path) -> bool {
    use std::io::Read as _;
    let mut first = [0; magic::LEN];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && Kind::of(first).is_read()
}
