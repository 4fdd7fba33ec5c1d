//! Progress of reading captures, on a terminal that shows nothing else meanwhile. Knows nothing about what is
//! read.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use terminal_size::terminal_size_of;

use super::exit::clear_line;
use crate::capture::Replay;
use crate::config::Config;
use crate::sink::Destination;
use http_trace_model::columns::cut;

/// Update interval, and the delay before the first one: most captures are read sooner.
const EVERY: Duration = Duration::from_millis(250);
const FIRST: Duration = Duration::from_secs(1);

/// Records between looks at the clock.
const RECORDS: u64 = 1024;

/// A progress line, erased at the end.
#[derive(Debug)]
pub struct Progress {
    records: u64,
    begun: Instant,
    next: Instant,
}

impl Progress {
    /// `None` where nobody looks, or where events are shown.
    pub fn of(config: &Config) -> Option<Self> {
        let to_stdout = config.output.is_empty()
            || config.output.iter().any(|o| o.place == Destination::Stdout);
        let shows_events = to_stdout && io::stdout().is_terminal();
        if config.quiet || shows_events || !io::stderr().is_terminal() {
            return None;
        }
        let now = Instant::now();
        Some(Progress { records: 0, begun: now, next: now + FIRST })
    }

    /// Shows how far it is, now and then: called for each record.
    pub fn tick(&mut self, replay: &Replay) {
        self.records += 1;
        if !self.records.is_multiple_of(RECORDS) || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        let (bytes, total) = replay.frames.progress();
        let line = line(bytes, total, self.begun.elapsed());
        let columns = terminal_size_of(io::stderr()).map(|(columns, _)| columns.0.into());
        let line = fitted(&line, columns);
        clear_line(true);
        let mut stderr = io::stderr().lock();
        let _ = write!(stderr, "{line}").and_then(|()| stderr.flush());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        clear_line(false);
    }
}

/// Cut to the columns of the terminal, of which the last may hold the cursor: what is broken into two lines cannot
/// be erased.
fn fitted(line: &str, columns: Option<usize>) -> String {
    cut(line, columns.map_or(usize::MAX, |columns| columns.saturating_sub(1)))
}

/// Formats `120 of 480 MB read (25 %), 60 MB/s, 6 s left`.
fn line(bytes: u64, total: Option<u64>, elapsed: Duration) -> String {
    let mega = |bytes: u64| bytes / 1_000_000;
    let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
    let per_second = mega(rate as u64);
    match total.filter(|total| *total > 0) {
        None => format!("{} MB read, {per_second} MB/s", mega(bytes)),
        Some(total) => {
            let bytes = bytes.min(total);
            let percent = bytes * 100 / total;
            let left = (total - bytes) as f64 / rate.max(1.0);
            format!(
                "{} of {} MB read ({percent} %), {per_second} MB/s, {} left",
                mega(bytes),
                mega(total),
                match left as u64 {
                    seconds @ 0..100 => format!("{seconds} s"),
                    seconds => format!("{} min", seconds / 60 + 1),
                }
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_on_any_terminal() {
        let line = line(120_000_000, Some(480_000_000), Duration::from_secs(2));
        assert_eq!(fitted(&line, None), line);
        assert_eq!(fitted(&line, Some(80)), line);
        assert_eq!(fitted(&line, Some(20)), "120 of 480 MB read…");
        assert!(fitted(&line, Some(0)).chars().count() <= 1);
    }

    #[test]
    fn lines_say_how_far_how_fast_and_how_long() {
        let mega = 1_000_000;
        for (bytes, total, seconds, expected) in [
            (120 * mega, Some(480 * mega), 2, "120 of 480 MB read (25 %), 60 MB/s, 6 s left"),
            (mega, Some(1000 * mega), 1, "1 of 1000 MB read (0 %), 1 MB/s, 17 min left"),
            (9 * mega, Some(8 * mega), 1, "8 of 8 MB read (100 %), 9 MB/s, 0 s left"),
            (9 * mega, None, 3, "9 MB read, 3 MB/s"),
            (0, Some(0), 0, "0 MB read, 0 MB/s"),
        ] {
            assert_eq!(line(bytes, total, Duration::from_secs(seconds)), expected);
        }
    }
}
