//! Reads sources that may block on a separate thread, so that signals, upkeep and the clock do not wait for
//! the next byte. Knows nothing about what is read.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::exit::{no_thread, say};
use super::session::Session;
use crate::sink::outlet::Next;
use crate::sync::{lock, unix_ns};

/// How long a pipe may be silent before the host clock advances its event time.
const SILENCE: Duration = Duration::from_millis(100);

/// How far event time then lags behind the clock, because more input may be in buffers.
const SLACK_NS: u64 = 1_000_000_000;

/// Maximum difference between input and host clock for input to count as live.
const NOW_NS: u64 = 60_000_000_000;

/// The session and the position of the source, shared by both threads.
pub struct Shared {
    /// `None` once the main thread has taken it from the reading thread.
    pub session: Option<Session>,
    /// Whether reads may block.
    blocks: bool,
    /// Time of the last input (Unix ns) and when it had been processed by the host clock; `None` if the input
    /// is not live.
    last: Option<(u64, Instant)>,
}

impl Shared {
    /// Records that input with this time (Unix ns) has been processed; time spent waiting for an output is no
    /// silence of the source. Only the event time of live input follows the host clock during silence: that
    /// of an old capture whose sender pauses stands still.
    pub fn came(&mut self, time_ns: u64) {
        if !self.blocks {
            return;
        }
        let now_ns = unix_ns().unwrap_or(0);
        self.last = (time_ns.abs_diff(now_ns) <= NOW_NS).then(|| (time_ns, Instant::now()));
    }
}

/// Why reading did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It was still waiting for input when the run had to stop.
    Blocked,
    /// The thread could not be started, or panicked; that was printed.
    Failed,
}

/// Whether reads of this path may block: standard input, a FIFO, a device.
pub fn may_block(path: &Path) -> bool {
    path.as_os_str() == "-" || path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Runs `read`, on a separate thread if it `blocks`; returns the session and the result of `read`.
pub fn drive<T: Send + 'static>(
    session: Session,
    blocks: bool,
    read: impl FnOnce(&Mutex<Shared>) -> T + Send + 'static,
) -> (Option<Session>, Result<T, Unfinished>) {
    let shared = Arc::new(Mutex::new(Shared { session: Some(session), blocks, last: None }));
    let told = if blocks {
        let (sender, finished) = mpsc::channel();
        let of_thread = Arc::clone(&shared);
        let read = move || {
            let _ = sender.send(read(&of_thread));
        };
        match std::thread::Builder::new().spawn(read) {
            Ok(_) => follow_clock(&shared, &finished),
            Err(error) => {
                say(&no_thread(error));
                Err(Unfinished::Failed)
            }
        }
    } else {
        Ok(read(&shared))
    };
    (lock(&shared).session.take(), told)
}

/// Waits for the reading thread. While the source is silent, event time follows the host clock; on a signal
/// the thread is abandoned.
fn follow_clock<T>(shared: &Mutex<Shared>, finished: &mpsc::Receiver<T>) -> Result<T, Unfinished> {
    loop {
        match finished.recv_timeout(SILENCE / 2) {
            Ok(told) => return Ok(told),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Unfinished::Failed),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        let mut shared = lock(shared);
        let last = shared.last;
        let Some(session) = shared.session.as_mut() else { continue };
        if session.stop.is_requested() {
            drop(shared);
            // The thread ends by itself unless a read blocks it.
            return finished.recv_timeout(SILENCE).map_err(|_| Unfinished::Blocked);
        }
        session.upkeep();
        let Some((time_ns, came)) = last else { continue };
        let silent = came.elapsed();
        if silent < SILENCE {
            continue;
        }
        let now_ns = time_ns.saturating_add(silent.as_nanos() as u64).saturating_sub(SLACK_NS);
        if now_ns > time_ns && session.driver.tick(now_ns) == Next::Stop {
            return Err(Unfinished::Blocked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_now_goes_on_with_the_clock() {
        let now_ns = unix_ns().expect("after 1970");
        let goes_on = |blocks, time_ns| {
            let mut shared = Shared { session: None, blocks, last: None };
            shared.came(now_ns);
            shared.came(time_ns);
            shared.last.map(|(time_ns, _)| time_ns)
        };
        assert_eq!(goes_on(true, now_ns - NOW_NS / 2), Some(now_ns - NOW_NS / 2));
        assert_eq!(goes_on(true, now_ns - 2 * NOW_NS), None);
        assert_eq!(goes_on(true, now_ns + 2 * NOW_NS), None);
        assert_eq!(goes_on(false, now_ns), None, "a file does not wait");
    }
}
