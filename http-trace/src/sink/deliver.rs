//! Delivers alerts to files, commands, webhooks and syslog, in addition to the outputs. Each destination has its own
//! thread and bounded queue, so that one that hangs delays nothing else; undelivered alerts are counted and reported.
//! Must not format more than the destination's envelope.
//!
//! # Layout
//! - `target`: parses `--alerts-to`. `carrier`: the interface of destinations.
//! - `command`, `syslog`, `webhook`: one destination each.

mod carrier;
mod command;
mod syslog;
mod target;
#[cfg(feature = "live")]
mod webhook;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub use self::carrier::Notice;
use self::carrier::{Carrier, Failure};
pub use self::target::{Target, host_and_port, is_url, without_password};
use super::failing::{Failing, News};
use super::log_file::{Before, LogFile, check_place};
use crate::own_sockets::OwnSockets;
use crate::priority;
use crate::sync::{self, lock, wait_while};

/// Maximum number of queued alerts per destination.
const MOST_WAITING: usize = 1024;

/// How long queued alerts are still delivered after the end of a run; for programs as long as one may run. A second
/// signal ends it.
const LAST_WAIT: Duration = Duration::from_secs(5);
const LAST_WAIT_COMMAND: Duration = command::PATIENCE;
/// How long the end of a run waits for a program that is killed then.
const LAST_END: Duration = Duration::from_millis(300);

/// First pause after a temporary failure; doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After the end of a run: the pause, and how often a failure is retried, for all alerts together.
const LAST_PAUSE: Duration = Duration::from_millis(500);
const LAST_RETRIES: u32 = 2;
/// Number of failed attempts after which an alert is dropped.
const TRIES: u32 = 6;

/// Result of a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    pub delivered: u64,
    /// Undelivered alerts: the queue was full, the destination failed permanently, or the run ended.
    pub lost: u64,
    /// Why the last of them was not delivered; `None`: too slow.
    pub failure: Option<String>,
}

/// A destination, its queue and its thread.
#[derive(Debug)]
pub struct Delivery {
    /// Name of the destination in errors.
    pub name: String,
    last_wait: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Queue>,
    changed: Condvar,
    /// Whether the run ends without waiting any longer.
    over: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Notice>,
    /// Whether an alert is being delivered.
    busy: bool,
    /// Since when it is closing.
    closing: Option<Instant>,
    ended: bool,
    failing: Failing,
    told: Delivered,
}

impl Queue {
    /// Counts lost alerts. Their destination fails at present, or is too slow.
    fn lose(&mut self, count: u64) {
        self.told.lost += count;
        self.told.failure = self.failing.error.clone();
    }
}

impl Delivery {
    /// Opens a destination and starts its thread. `own` excludes its connections from tracing.
    ///
    /// # Errors
    /// A file that cannot be opened, a program that cannot be run, a destination that this build does not have, or a
    /// thread that cannot be started.
    pub fn start(target: &Target, own: &OwnSockets) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let carrier: Box<dyn Carrier> = match target {
            Target::Stdout => Box::new(Lines::new(io::stdout())),
            Target::File(path, mode) => {
                let file = LogFile::open(path, Before::Stays, *mode);
                Box::new(Lines::new(file.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?))
            }
            Target::Command(words) => {
                Box::new(command::Command::new(words.clone(), Arc::clone(&shared.over))?)
            }
            Target::Syslog(place) => Box::new(syslog::Syslog::new(place.clone())),
            #[cfg(feature = "live")]
            Target::Webhook(url) => {
                Box::new(webhook::Webhook::new(url.clone(), own.clone(), webhook::PATIENCE))
            }
            #[cfg(not(feature = "live"))]
            Target::Webhook(_) => {
                let _ = own;
                return Err(io::Error::other(
                    "this build has no webhooks: they need a build with the feature 'live'",
                ));
            }
        };
        let mut delivery = Self::of(shared, carrier, target.to_string())?;
        if matches!(target, Target::Command(_)) {
            delivery.last_wait = LAST_WAIT_COMMAND;
        }
        Ok(delivery)
    }

    /// Finds why a run could not start with this destination, without opening or contacting it.
    ///
    /// # Errors
    /// A file without a folder, a program that cannot be run, or a destination that this build does not have.
    pub fn check(target: &Target) -> io::Result<()> {
        match target {
            Target::File(path, _) => check_place(path),
            Target::Command(words) => {
                command::Command::new(words.clone(), Arc::default()).map(drop)
            }
            Target::Webhook(_) if cfg!(not(feature = "live")) => {
                Self::start(target, &OwnSockets::default()).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn of(shared: Arc<Shared>, carrier: Box<dyn Carrier>, name: String) -> io::Result<Self> {
        let of_thread = Arc::clone(&shared);
        priority::spawn("http-trace-alert", move || empty(&of_thread, carrier))?;
        Ok(Delivery { name, last_wait: LAST_WAIT, shared })
    }

    /// Queues an alert without blocking.
    pub fn send(&self, notice: Notice) {
        let mut state = lock(&self.shared.state);
        if state.waiting.len() >= MOST_WAITING || state.ended {
            state.lose(1);
            return;
        }
        state.waiting.push_back(notice);
        self.shared.changed.notify_all();
    }

    /// A change of state that was not reported yet.
    pub fn news(&self) -> Option<News> {
        lock(&self.shared.state).failing.news()
    }

    /// Undelivered alerts so far.
    pub fn lost(&self) -> u64 {
        lock(&self.shared.state).told.lost
    }

    /// Announces that nothing follows.
    pub fn end(&self) {
        lock(&self.shared.state).closing.get_or_insert_with(Instant::now);
        self.shared.changed.notify_all();
    }

    /// Delivers queued alerts for at most 30 s (programs) or 5 s (others) after [`Delivery::end`], and returns the
    /// result.
    pub fn close(self) -> Delivered {
        let wait = self.last_wait;
        self.close_within(wait)
    }

    fn close_within(self, wait: Duration) -> Delivered {
        self.end();
        let state = lock(&self.shared.state);
        let wait =
            wait.saturating_sub(state.closing.map_or(Duration::ZERO, |since| since.elapsed()));
        let mut state = wait_while(&self.shared.changed, state, wait, |state| !state.ended);
        let left = state.waiting.len() as u64 + u64::from(state.busy);
        if left > 0 {
            state.lose(left);
        }
        let told = state.told.clone();
        // No program stays behind, and none follows.
        state.waiting.clear();
        self.shared.over.store(true, Ordering::Relaxed);
        drop(wait_while(&self.shared.changed, state, LAST_END, |state| !state.ended));
        told
    }
}

/// The thread: delivers one alert after the other, and retries after temporary failures.
fn empty(shared: &Shared, mut carrier: Box<dyn Carrier>) {
    let mut state = lock(&shared.state);
    let mut last_retries = LAST_RETRIES;
    loop {
        let Some(notice) = state.waiting.pop_front() else {
            if state.closing.is_some() {
                break;
            }
            state = sync::wait(&shared.changed, state);
            continue;
        };
        state.busy = true;
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            drop(state);
            let result = carrier.carry(&notice);
            state = lock(&shared.state);
            let Err(failure) = result else {
                state.told.delivered += 1;
                state.failing.error = None;
                break;
            };
            state.failing.error = Some(failure.why);
            if failure.of_earlier && state.told.delivered > 0 {
                state.told.delivered -= 1;
                state.lose(1);
            }
            let gives_up = state.closing.is_some() && last_retries == 0;
            if !failure.passing || attempt == TRIES || gives_up {
                state.lose(1);
                break;
            }
            if state.closing.is_some() {
                last_retries -= 1;
                pause = LAST_PAUSE;
            }
            // The end of the run shortens the pause.
            let was_closing = state.closing;
            state = wait_while(&shared.changed, state, pause, |state| state.closing == was_closing);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        state.busy = false;
    }
    state.ended = true;
    shared.changed.notify_all();
}

/// Writes records as lines. The rest of a line that a full pipe did not accept is written later.
struct Lines<W> {
    to: W,
    /// Bytes still to be written.
    rest: Vec<u8>,
    /// The line at the end of `rest` that is being delivered.
    tried: Vec<u8>,
    within_line: bool,
}

impl<W: Write> Lines<W> {
    const fn new(to: W) -> Self {
        Lines { to, rest: Vec::new(), tried: Vec::new(), within_line: false }
    }

    /// Starts a line; a dropped line that was partly written is ended first.
    fn take(&mut self, line: &[u8]) {
        let end = memchr::memchr(b'\n', &self.rest).map_or(self.rest.len(), |at| at + 1);
        self.rest.truncate(if self.within_line { end } else { 0 });
        self.rest.extend_from_slice(line);
        self.tried = line.to_vec();
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.to.write(&self.rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let written = self.rest.drain(..n.min(self.rest.len()));
                    self.within_line = written.as_slice().last() != Some(&b'\n');
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.tried.clear();
        self.to.flush()
    }
}

impl<W: Write + Send> Carrier for Lines<W> {
    fn carry(&mut self, notice: &Notice) -> Result<(), Failure> {
        if self.tried != notice.line {
            self.take(&notice.line);
        }
        self.write().map_err(|error| match error.kind() {
            // Nobody reads it any more.
            io::ErrorKind::BrokenPipe => Failure::lasting(error),
            // A named pipe without a reader, or a full one; a disk without room.
            _ => Failure::passing(error),
        })
    }
}

#[cfg(test)]
mod tests;
