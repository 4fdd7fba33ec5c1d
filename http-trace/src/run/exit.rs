//! Exit status of a run, and printing on standard error.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use terminal_size::terminal_size_of;

use crate::text::lines_for_terminal;
use http_trace_model::columns::wrapped;

/// How a run ended. As an error: the cause has been printed.
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    #[default]
    Whole,
    /// Some lines could not be parsed; they were reported.
    Faulty,
    Interrupted,
}

impl Ended {
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

pub fn cannot_start(why: impl Display) -> Ended {
    say(&why.to_string());
    Ended::CannotStart
}

/// Why a thread could not be started, and what limits their number.
pub fn no_thread(error: impl Display) -> String {
    format!(
        "cannot start a thread: {error}; raise the limit of processes (ulimit -u, the cgroup's pids.max)"
    )
}

/// What every line begins with.
const BEFORE: &str = "http-trace: ";

/// Prints a line on standard error; on a terminal, broken between words.
pub fn say(line: &str) {
    clear_line(false);
    let stderr = std::io::stderr();
    let width = terminal_size_of(&stderr).map(|(width, _)| width.0.into());
    // Nobody reads it if standard error is closed.
    let _ = writeln!(stderr.lock(), "{}", shown(line, width));
}

/// The line as it is printed, on a terminal of so many columns if there is one.
fn shown(line: &str, width: Option<usize>) -> String {
    // It may hold names of files, interfaces and rules that others chose.
    let mut line = lines_for_terminal(line);
    if let Some(width) = width {
        line = wrapped(&line, width, BEFORE.len(), 2);
    }
    format!("{BEFORE}{line}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_trace_model::columns::columns;

    #[test]
    fn lines_break_between_words_on_a_terminal_alone() {
        let url = format!("http://127.0.0.1/{}", "x".repeat(100));
        for words in ["a word ".repeat(60), "日本 語 ".repeat(40), format!("see {url} now")] {
            let line = words.trim_end();
            assert_eq!(shown(line, None), format!("{BEFORE}{line}"));
            for width in [1, 20, 80, 200] {
                let shown = shown(line, Some(width));
                let fits =
                    |line: &str| columns(line) <= width || line.split_whitespace().count() <= 2;
                assert!(shown.lines().all(fits), "{width}: {shown}");
                let again: Vec<&str> = shown.split_whitespace().skip(1).collect();
                assert_eq!(again.join(" "), line, "{width}");
            }
        }
        assert_eq!(shown("a\u{1b}[2J", Some(80)), format!("{BEFORE}a\\x1b[2J"));
    }

    #[test]
    fn several_lines_are_wrapped_each() {
        let line = format!("{}\n{}", "a ".repeat(30).trim_end(), "b ".repeat(30).trim_end());
        let shown = shown(&line, Some(80));
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }
}
