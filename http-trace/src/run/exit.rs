//! Exit status of a run, and printing on standard error.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::text::lines_for_terminal;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything was written.
    Done,
    /// Something was lost by the agent, or a file was unreadable or truncated.
    Lossy,
    /// The run could not start.
    CannotStart,
    /// `--fail-on-alert` could not establish that there was no alert.
    Unproven,
    /// There was an alert at or above the level of `--fail-on-alert`.
    Alerted,
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// All input was read.
    Whole,
    /// Some lines could not be parsed; they were reported.
    Faulty,
    /// A signal interrupted it.
    Interrupted,
}

impl Ended {
    /// The exit status.
    pub const fn status(self) -> u8 {
        match self {
            Ended::Done => 0,
            Ended::Lossy => 1,
            Ended::CannotStart | Ended::Unproven => 2,
            Ended::Alerted => 3,
        }
    }
}

/// Whether standard error currently ends in an unterminated line.
static HAS_LINE: AtomicBool = AtomicBool::new(false);

/// Erases an unterminated line, and records whether another one follows.
pub fn clear_line(follows: bool) {
    if HAS_LINE.swap(follows, Ordering::Relaxed) {
        let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
    }
}

/// Prints a line on standard error.
pub fn say(line: &str) {
    clear_line(false);
    // The line may contain names of files, interfaces and rules chosen by others.
    let line = lines_for_terminal(line);
    // If standard error is closed, nobody can be told.
    let _ = writeln!(std::io::stderr().lock(), "http-trace: {line}");
}
