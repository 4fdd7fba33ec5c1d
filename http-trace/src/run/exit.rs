//! Exit status of a run, and printing on standard error.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use terminal_size::terminal_size_of;

use crate::text::columns::wrapped;
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

/// What every line begins with.
const BEFORE: &str = "http-trace: ";

/// Prints a line on standard error; on a terminal, broken between words.
pub fn say(line: &str) {
    clear_line(false);
    // It may hold names of files, interfaces and rules that others chose.
    let mut line = lines_for_terminal(line);
    let stderr = std::io::stderr();
    if let Some((width, _)) = terminal_size_of(&stderr) {
        line = wrapped(&line, width.0.into(), BEFORE.len(), 2);
    }
    // Nobody reads it if standard error is closed.
    let _ = writeln!(stderr.lock(), "{BEFORE}{line}");
}
