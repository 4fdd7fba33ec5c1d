//! A program for each alert: the record on its standard input, one process at a time.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{Carrier, Failure, Notice};

/// A process that takes longer is ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Command {
    words: Vec<String>,
    patience: Duration,
}

impl Command {
    pub(super) const fn new(words: Vec<String>) -> Self {
        Command {
            words,
            patience: PATIENCE,
        }
    }

    #[cfg(test)]
    pub(super) const fn within(words: Vec<String>, patience: Duration) -> Self {
        Command { words, patience }
    }
}

impl Carrier for Command {
    fn carry(&mut self, notice: &Notice) -> Result<(), Failure> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(Failure::lasting("no program"));
        };
        let mut child = std::process::Command::new(program)
            .args(arguments)
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

/// An environment variable cannot hold NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Waits for the process; one that is not done in time is ended.
fn wait(
    child: &mut Child,
    patience: Duration,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let deadline = Instant::now() + patience;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
