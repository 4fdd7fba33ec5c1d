//! Signals: SIGINT and SIGTERM stop a run, SIGHUP has its rules read again. Acts on nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests to stop and to read the rules again, shared with the signal handler.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    stop: Arc<AtomicBool>,
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

    /// Stops on SIGINT and SIGTERM; the second of them ends the process at once. SIGHUP asks for
    /// the rules to be read again, or to stop if it comes since the terminal is gone.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn on_signals(&mut self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        for signal in [SIGINT, SIGTERM] {
            let flag = &self.stop;
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, flag.clone())?;
            signal_hook::flag::register(signal, flag.clone())?;
        }
        self.had_terminal = has_terminal();
        signal_hook::flag::register(SIGHUP, self.hung_up.clone())?;
        Ok(())
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
