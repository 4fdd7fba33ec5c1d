//! A program for each alert: the record on its standard input, one process at a time, without
//! capabilities. That there is such a program is asked at the start, since the first alert may be days
//! away.

use std::io::{self, Write};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::carrier::{Carrier, Failure, Notice};

/// A process that takes longer is ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Variables of this process that programs are given.
const KEPT: &[&str] = &["PATH", "HOME", "LANG", "LC_ALL", "TZ"];

pub(super) struct Command {
    words: Vec<String>,
    patience: Duration,
    /// Whether the thread that starts programs has capabilities still.
    #[cfg(target_os = "linux")]
    privileged: bool,
}

impl Command {
    /// # Errors
    /// A program that is not there, or that nobody may run.
    pub(super) fn new(words: Vec<String>) -> io::Result<Self> {
        if let Some(program) = words.first() {
            look_for(program)?;
        }
        Ok(Self::within(words, PATIENCE))
    }

    pub(super) const fn within(words: Vec<String>, patience: Duration) -> Self {
        Command {
            words,
            patience,
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
        let mut child = command
            .args(arguments)
            // What this process was given is none of the program's.
            .env_clear()
            .envs(
                KEPT.iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .env("HTTP_TRACE_RULE", without_nul(&notice.rule))
            .env("HTTP_TRACE_SEVERITY", notice.severity.to_string())
            .env("HTTP_TRACE_MESSAGE", without_nul(&notice.message))
            .stdin(Stdio::piped())
            // Standard output is the events'.
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| Failure::lasting(format!("{program}: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            let line = notice.line.clone();
            // A program that does not read must not hold this thread; the pipe goes with it.
            std::thread::spawn(move || {
                let _ = stdin.write_all(&line);
            });
        }
        let status = wait(&mut child, self.patience)
            .map_err(|error| Failure::lasting(format!("{program}: {error}")))?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failure::lasting(format!("{program}: {status}"))),
            None => Err(Failure::lasting(format!(
                "{program}: ended after {} s",
                self.patience.as_secs()
            ))),
        }
    }
}

/// Looks where the program will be looked for when it is started: at its path, or in the folders of
/// PATH if it has none.
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
    // What a C library searches without PATH differs; these two are in all.
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

/// Whether there is a file at `path` that can be started. That its path was found is all that is
/// asked of what is no script: what the kernel makes of a file shows when it runs.
fn is_runnable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let refused = |why: &str| {
        let why = format!("{} {why}", path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    };
    let of_path = |error: io::Error| {
        // A file where a folder is due is as good as none.
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

/// What a script's first line says is to run it; `None` of what is none, or cannot be read.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    let file = std::fs::File::open(path).ok()?.take(256);
    io::BufReader::new(file).read_until(b'\n', &mut line).ok()?;
    let line = String::from_utf8(line).ok()?;
    // What the kernel takes for the end of a word; the CR of a line that ends with CR LF is of it.
    let line = line.strip_prefix("#!")?.trim_end_matches('\n');
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    words.next().map(PathBuf::from)
}

/// An environment variable cannot hold NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Waits for the process; one that is not done in time is ended.
fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<std::process::ExitStatus>> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            end(child)?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Ends a process, and with it those of its group: what a script waits for would go on without it.
fn end(child: &mut Child) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Ok(id) = i32::try_from(child.id())
        && let Some(group) = rustix::process::Pid::from_raw(id)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.kill()
}
