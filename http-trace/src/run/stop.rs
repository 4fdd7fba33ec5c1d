//! Signals: SIGINT and SIGTERM stop a run, SIGHUP reloads its rules. Only records requests.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::priority;

/// Signals within this time of the first count as the same request: timeout(1) signals its child and then its
/// process group.
const ONE_WISH: Duration = Duration::from_millis(300);

/// Requests to stop and to reload, shared with the signal handlers.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    stop: Arc<AtomicBool>,
    /// Set once the next signal ends the process.
    insists: Arc<AtomicBool>,
    /// Receives a byte per signal, until [`Stop::watch`] takes it.
    signals: Arc<Mutex<Option<UnixStream>>>,
    hung_up: Arc<AtomicBool>,
    /// Whether there was a controlling terminal at the start; losing it ends the run.
    had_terminal: bool,
}

impl Stop {
    /// Requests a stop; what has been read is still written.
    pub fn request(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Is set once a stop was requested.
    pub fn flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    pub fn is_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Stops on SIGINT and SIGTERM; after [`Stop::watch`], a second signal ends the process at once. SIGHUP
    /// requests a reload, or a stop if the terminal is gone; SIGUSR1, SIGUSR2 and SIGXFSZ do nothing.
    pub fn on_signals(&mut self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
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
        // By default they would end this process without a word: other daemons open their logs anew at the first two, and
        // a file that may not grow any more (RLIMIT_FSIZE) is then an error like a full disk.
        for signal in [SIGUSR1, SIGUSR2, SIGXFSZ] {
            signal_hook::flag::register(signal, Arc::default())?;
        }
        signal_hook::flag::register(SIGHUP, self.hung_up.clone())?;
        Ok(())
    }

    /// Makes a second signal end the process at once. Starts a thread, so it is called after the last change
    /// of privileges.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(&self) -> std::io::Result<()> {
        let signals = self.signals.lock().ok().and_then(|mut signals| signals.take());
        let Some(mut signals) = signals else { return Ok(()) };
        let insists = self.insists.clone();
        let watch = move || {
            if signals.read_exact(&mut [0]).is_ok() {
                std::thread::sleep(ONE_WISH);
                insists.store(true, Ordering::Relaxed);
            }
        };
        priority::spawn("http-trace-stop", watch).map(drop)
    }

    /// Whether to reload; true once per request.
    pub(super) fn wants_reload(&self) -> bool {
        // Usually false, so load before swapping.
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

/// Whether the process still has a controlling terminal (tty(4)).
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}
