//! Delivers alerts to destinations beside the outputs: a file, a command, a webhook, syslog. Each has
//! its own thread and bounded queue, so that one that hangs delays neither events nor the others; alerts
//! that it does not take are counted and reported. Formats only the destination's envelope.
//!
//! # Layout
//! - `target`: the text of `--alerts-to`. `carrier`: what all destinations have in common.
//! - `command`, `syslog`, `webhook`: one destination each.

mod carrier;
mod command;
mod syslog;
mod target;
#[cfg(feature = "webhook")]
mod webhook;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::carrier::Notice;
use self::carrier::{Carrier, Failure};
pub use self::target::{Target, is_url};
use super::log_file::{Before, LogFile};
use crate::own_sockets::OwnSockets;
use crate::priority;

/// Most alerts that wait for one destination.
const MOST_WAITING: usize = 1024;

/// How long what waits is delivered after the end of a run. Programs have as long as one of them
/// may take; a second signal cuts it short.
const LAST_WAIT: Duration = Duration::from_secs(5);
const LAST_WAIT_COMMAND: Duration = command::PATIENCE;

/// First pause after a failure that may pass; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so many failures an alert is given up.
const TRIES: u32 = 6;

/// What became of the alerts for one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Taken by the destination.
    pub delivered: u64,
    /// Not taken: the queue was full, the destination failed for good or the run ended.
    pub lost: u64,
    /// The last failure, in words.
    pub failure: Option<String>,
}

/// A destination, its queue and its thread.
#[derive(Debug)]
pub struct Delivery {
    name: String,
    last_wait: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Notice>,
    /// One is on its way.
    busy: bool,
    closing: bool,
    ended: bool,
    told: Delivered,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivery {
    /// Opens a destination and starts its thread.
    /// `own` keeps what delivering sends out of what is traced.
    ///
    /// # Errors
    /// A file that cannot be opened, a program that cannot be run, a destination that this build does
    /// not have, or no thread.
    pub fn start(target: &Target, own: &OwnSockets) -> io::Result<Self> {
        let carrier: Box<dyn Carrier> = match target {
            Target::Stdout => Box::new(Lines::new(io::stdout())),
            Target::File(path, mode) => {
                let file = LogFile::open(path, Before::Stays, *mode);
                Box::new(Lines::new(file.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?))
            }
            Target::Command(words) => Box::new(command::Command::new(words.clone())?),
            Target::Syslog(place) => Box::new(syslog::Syslog::new(place.clone())),
            #[cfg(feature = "webhook")]
            Target::Webhook(url) => Box::new(webhook::Webhook::new(url.clone(), own.clone())),
            #[cfg(not(feature = "webhook"))]
            Target::Webhook(_) => {
                let _ = own;
                return Err(io::Error::other(
                    "this build has no webhooks; build it with the feature `webhook`",
                ));
            }
        };
        let mut delivery = Self::of(carrier, target.to_string())?;
        if matches!(target, Target::Command(_)) {
            delivery.last_wait = LAST_WAIT_COMMAND;
        }
        Ok(delivery)
    }

    fn of(carrier: Box<dyn Carrier>, name: String) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("http-trace-alert".to_owned())
            .spawn(move || {
                priority::ordinary();
                empty(&of_thread, carrier);
            })?;
        Ok(Delivery {
            name,
            last_wait: LAST_WAIT,
            shared,
        })
    }

    /// What errors call the destination.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Queues an alert; never waits.
    pub fn send(&self, notice: Notice) {
        let mut state = self.shared.lock();
        if state.waiting.len() >= MOST_WAITING || state.ended {
            state.told.lost += 1;
            return;
        }
        state.waiting.push_back(notice);
        self.shared.changed.notify_all();
    }

    /// Waits for what is queued, 30 s for programs and 5 s for all else; says what became of it all.
    pub fn close(self) -> Delivered {
        let wait = self.last_wait;
        self.close_within(wait)
    }

    fn close_within(self, wait: Duration) -> Delivered {
        let deadline = Instant::now() + wait;
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.changed.notify_all();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let left = state.waiting.len() as u64 + u64::from(state.busy);
        let mut told = std::mem::take(&mut state.told);
        told.lost += left;
        told
    }
}

/// The thread: one alert after the other, a failure that may pass tried again later.
fn empty(shared: &Shared, mut carrier: Box<dyn Carrier>) {
    let mut state = shared.lock();
    loop {
        let Some(notice) = state.waiting.pop_front() else {
            if state.closing {
                break;
            }
            let woken = shared.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.busy = true;
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            drop(state);
            let result = carrier.carry(&notice);
            state = shared.lock();
            match result {
                Ok(()) => {
                    state.told.delivered += 1;
                    break;
                }
                Err(failure) => {
                    state.told.failure = Some(failure.why);
                    if !failure.passing || attempt == TRIES || state.closing {
                        state.told.lost += 1;
                        break;
                    }
                }
            }
            // The end of the run cuts the pause short and leaves one more try.
            let (woken, _) = shared
                .changed
                .wait_timeout_while(state, pause, |state| !state.closing)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        state.busy = false;
    }
    state.ended = true;
    shared.changed.notify_all();
}

/// Records as lines, each once: what a full pipe did not take of a line follows when there is room.
struct Lines<W> {
    to: W,
    /// What is left to be written.
    rest: Vec<u8>,
    /// The line that `rest` ends with, while it is tried.
    tried: Vec<u8>,
    within_line: bool,
}

impl<W: Write> Lines<W> {
    const fn new(to: W) -> Self {
        Lines {
            to,
            rest: Vec::new(),
            tried: Vec::new(),
            within_line: false,
        }
    }

    /// Takes up a line; of one that was given up, what was begun of it is ended.
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
            // A named pipe that nobody reads, or that is full.
            io::ErrorKind::NotConnected | io::ErrorKind::WouldBlock => Failure::passing(error),
            _ => Failure::lasting(error),
        })
    }
}

#[cfg(test)]
mod tests;
