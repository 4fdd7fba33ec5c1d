//! Signals: SIGINT and SIGTERM stop a run, SIGHUP has its rules read again. Acts on nothing itself.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::priority;

/// Signals that come this soon after the first are the same wish: timeout(1) signals its child, and then its
/// group.
const ONE_WISH: Duration = Duration::from_millis(300);

/// Requests to stop and to read the rules again, shared with the signal handler.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    stop: Arc<AtomicBool>,
    /// The next signal ends the process.
    insists: Arc<AtomicBool>,
    /// Has a byte for each signal, until [`Stop::watch`] takes it.
    signals: Arc<Mutex<Option<UnixStream>>>,
    hung_up: Arc<AtomicBool>,
    /// Whether there was a terminal at the start whose loss ends the run.
    had_terminal: bool,
}

impl Stop {
    /// Asks to stop, writing what has been read.
    pub fn request(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked.
    pub fn is_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Stops on SIGINT and SIGTERM; with [`Stop::watch`] a later one ends the process at once. SIGHUP asks
    /// for the rules to be read again, or to stop if it comes since the terminal is gone.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn on_signals(&mut self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let (signals, tell) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            let insists = self.insists.clone();
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, insists)?;
            signal_hook::flag::register(signal, self.stop.clone())?;
            signal_hook::low_level::pipe::register(signal, tell.try_clone()?)?;
        }
        if let Ok(mut place) = self.signals.lock() {
            *place = Some(signals);
        }
        self.had_terminal = has_terminal();
        signal_hook::flag::register(SIGHUP, self.hung_up.clone())?;
        Ok(())
    }

    /// Has a signal that comes later than the first end the process, whatever it waits for. Starts a thread,
    /// and so comes after the last change of privileges.
    pub fn watch(&self) {
        let signals = self
            .signals
            .lock()
            .ok()
            .and_then(|mut signals| signals.take());
        let Some(mut signals) = signals else { return };
        let insists = self.insists.clone();
        std::thread::spawn(move || {
            priority::ordinary();
            if signals.read_exact(&mut [0]).is_ok() {
                std::thread::sleep(ONE_WISH);
                insists.store(true, Ordering::Relaxed);
            }
        });
    }

    /// Whether the rules are to be read again; true once for each time that was asked.
    pub(super) fn wants_reload(&self) -> bool {
        // Mostly false: looked at without a write.
        if !self.hung_up.load(Ordering::Relaxed) || !self.hung_up.swap(false, Ordering::Relaxed) {
            return false;
        }
        if self.had_terminal && !has_terminal() {
            self.request();
            return false;
        }
        true
    }
}

/// Whether the process has a controlling terminal that is still there (tty(4)).
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}
