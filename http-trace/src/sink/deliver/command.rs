//! Runs a program for each state of an alert, with the record on its standard input, one process at a time, without
//! capabilities. Checks at the start that the program exists, because the first alert may be days away. Must not use a
//! shell.

use std::io::{self, Write};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::carrier::{Carrier, Failure, Notice};

/// A process that runs longer is killed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Environment variables that programs inherit.
const KEPT: &[&str] = &["PATH", "HOME", "LANG", "LC_ALL", "TZ"];

pub(super) struct Command {
    words: Vec<String>,
    patience: Duration,
    /// Whether nobody waits for it any more: the process is killed.
    over: Arc<AtomicBool>,
    /// Whether the thread that starts programs still has capabilities.
    #[cfg(target_os = "linux")]
    privileged: bool,
}

impl Command {
    pub(super) fn new(words: Vec<String>, over: Arc<AtomicBool>) -> io::Result<Self> {
        if let Some(program) = words.first() {
            look_for(program)?;
        }
        Ok(Command { over, ..Self::within(words, PATIENCE) })
    }

    pub(super) fn within(words: Vec<String>, patience: Duration) -> Self {
        Command {
            words,
            patience,
            over: Arc::default(),
            #[cfg(target_os = "linux")]
            privileged: true,
        }
    }
}

impl Carrier for Command {
    fn carry(&mut self, notice: &Notice) -> Result<(), Failure> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(Failure::lasting("no program"));
        };
        #[cfg(target_os = "linux")]
        if self.privileged {
            use crate::privileges::{CapabilitySet, enter};
            let none = CapabilitySet::empty();
            enter(None, none, none)
                .map_err(|error| Failure::lasting(format!("cannot drop capabilities: {error}")))?;
            self.privileged = false;
        }
        let mut command = std::process::Command::new(program);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let begun = Instant::now();
        let mut child = command
            .args(arguments)
            // The agent's environment may contain secrets.
            .env_clear()
            .envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("HTTP_TRACE_RULE", without_nul(&notice.rule))
            .env("HTTP_TRACE_ALERT_STATE", notice.state.name())
            .env("HTTP_TRACE_SEVERITY", notice.severity.to_string())
            .env("HTTP_TRACE_MESSAGE", without_nul(&notice.message))
            .stdin(Stdio::piped())
            // Standard output belongs to events.
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| Failure::lasting(format!("{program}: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            let line = notice.line.clone();
            // A program that does not read must not block this thread.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&line);
            });
        }
        let status = wait(&mut child, self.patience, &self.over)
            .map_err(|error| Failure::lasting(format!("{program}: {error}")))?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failure::lasting(format!("{program}: {status}"))),
            None => Err(Failure::lasting(format!(
                "{program}: ended after {} s",
                begun.elapsed().as_secs()
            ))),
        }
    }
}

/// Searches the program like exec does: at its path, or in the folders of PATH if it has none.
fn look_for(program: &str) -> io::Result<()> {
    if program.contains('/') {
        let path = Path::new(program);
        return is_runnable(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::new(
                error.kind(),
                format!("there is no program {program}; give the path of one that is there"),
            ),
            _ => error,
        });
    }
    // C libraries have different default paths; all contain these two.
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut not = None;
    for folder in std::env::split_paths(&path) {
        match is_runnable(&folder.join(program)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => not = not.or(Some(error)),
        }
    }
    Err(not.unwrap_or_else(|| {
        let why = format!(
            "no folder of PATH ({}) has a program '{program}'; give its whole path, as in \
             'command:/usr/local/bin/{program}'",
            path.display()
        );
        io::Error::new(io::ErrorKind::NotFound, why)
    }))
}

/// Whether `path` is an executable file, and the interpreter of a script exists. Other formats are not checked.
fn is_runnable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let refused = |why: &str| {
        let why = format!("{} {why}", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    };
    let of_path = |error: io::Error| {
        // A file in place of a folder means that the path does not exist.
        let kind = match error.kind() {
            io::ErrorKind::NotADirectory => io::ErrorKind::NotFound,
            kind => kind,
        };
        io::Error::new(kind, format!("{}: {error}", path.display()))
    };
    let what = std::fs::metadata(path).map_err(of_path)?;
    if !what.is_file() {
        return refused("is no file, so no program; give the program's path");
    }
    if what.permissions().mode() & 0o111 == 0 {
        return refused("is not executable: chmod +x it, or give another program");
    }
    match interpreter(path) {
        Some(with) if !with.is_file() => refused(&format!(
            "is to be run by {with:?}, which is not there; correct its first line (CR LF at its end?)"
        )),
        _ => Ok(()),
    }
}

/// The interpreter of a script; `None` if the file is not a script or cannot be read.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    let file = std::fs::File::open(path).ok()?.take(256);
    io::BufReader::new(file).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    // The kernel ends the word at blanks; a CR before LF belongs to it.
    let line = line.strip_prefix("#!")?.trim_end_matches('\n');
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    words.next().map(PathBuf::from)
}

/// An environment variable cannot hold NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Waits for the process, and kills it after the time limit, or when nobody waits any more.
fn wait(
    child: &mut Child,
    patience: Duration,
    over: &AtomicBool,
) -> io::Result<Option<std::process::ExitStatus>> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline || over.load(Ordering::Relaxed) {
            end(child)?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Kills a process with its process group, so that children of a script do not go on.
fn end(child: &mut Child) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Ok(id) = i32::try_from(child.id())
        && let Some(group) = rustix::process::Pid::from_raw(id)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.kill()
}
