//! Bytes on their way to a file or to standard output: a bounded queue and a thread that empties
//! it, so that a slow reader never stops tracing without being told. Knows nothing of formats.
//!
//! Where events that are not written are lost ([`WhenFull::Drop`]), a destination that fails (a disk
//! that is full) is tried again until the end, and the queue takes what fits in it.
//!
//! While bytes come faster than every [`INTERVAL`] they leave in blocks of [`BLOCK`] bytes or at
//! least once per interval, which is shorter while few come; a lone line leaves at once. [`Pace`] has the others.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::priority;

/// Bytes that are written without waiting for more, unless the queue is shorter.
pub const BLOCK: usize = 256 << 10;

/// The longest that a line waits for company.
pub const INTERVAL: Duration = Duration::from_millis(25);

/// The same while few bytes come.
const BRIEF: Duration = Duration::from_millis(3);

/// How many bytes are few in a [`WINDOW`]: some six hundred events in a second.
const FEW: usize = 100_000;

/// How long a record waits for company in a batch.
const BATCH: Duration = Duration::from_secs(1);

/// When bytes leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each line at once.
    Lines,
    /// In blocks, and soon.
    Blocks,
    /// In blocks, and at most once a second unless one is full: each costs the destination.
    Batches,
}

/// How often the bytes are counted.
const WINDOW: Duration = Duration::from_millis(100);

/// How long a stuck reader is waited for at the end of a live run.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// How long after a failure the destination is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Buffers that grew beyond this are given back.
const KEEP: usize = 1 << 20;

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The producer waits: a capture can be read as slowly as its events are.
    Wait,
    /// Events are dropped, counted and told as soon as there is room: the wire does not wait.
    Drop,
}

/// Why nothing can be written any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The reader went away (`| head`); not an error.
    Closed,
    /// Anything else, in words.
    Failed(String),
}

/// What a destination that is tried again has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It fails, in words.
    Fails(String),
    /// It takes bytes again.
    GoesOn,
}

/// A queue and its thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    name: String,
    limit: usize,
    /// Bytes that are written without waiting for more.
    block: usize,
    when_full: WhenFull,
    pace: Pace,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For the thread: there are bytes.
    bytes: Condvar,
    /// For the producer: there is room, or there never will be.
    room: Condvar,
}

/// What the thread waits for: to wake it costs a system call on either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    /// For nothing: it looks at what is pending before it waits again.
    #[default]
    Not,
    /// For a block, or the end of the interval.
    Company,
    /// For anything.
    Bytes,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    waits: Waits,
    /// Whether the producer waits for room.
    full: bool,
    /// Events in `pending`, and in what the thread is writing.
    events: [u64; 2],
    closing: bool,
    ended: bool,
    broken: Option<Broken>,
    /// Why the last write failed, if it did and is tried again.
    failing: Option<String>,
    /// Whether somebody was told that it does.
    told: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a write that failed is due again; false once the queue is closed.
    fn wait_after(&self, error: &io::Error) -> bool {
        let mut state = self.lock();
        if state.closing {
            return false;
        }
        state.failing = Some(error.to_string());
        let until = Instant::now() + RETRY;
        while !state.closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.bytes.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Writer {
    /// Starts the thread. `name` is what errors call the destination; `limit` bounds the bytes in
    /// memory.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        destination: Box<dyn Write + Send>,
        name: String,
        limit: usize,
        when_full: WhenFull,
        pace: Pace,
    ) -> io::Result<Self> {
        // One half may wait while the other is being written.
        let limit = (limit / 2).max(1);
        let block = BLOCK.min(limit);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("http-trace-out".to_owned())
            .spawn(move || {
                if when_full == WhenFull::Drop {
                    priority::raise();
                }
                empty(&of_thread, destination, block, pace, when_full);
            })?;
        Ok(Writer {
            shared,
            thread: Some(thread),
            name,
            limit,
            block,
            when_full,
            pace,
        })
    }

    /// Lets `render` append the lines of so many events, or of what is none. `Ok(false)`: the queue was
    /// full and it was not called.
    ///
    /// # Errors
    /// When nothing can be written any more.
    pub fn write(&self, events: u64, render: impl FnOnce(&mut Vec<u8>)) -> Result<bool, Broken> {
        let mut state = self.shared.lock();
        while state.pending.len() >= self.limit && state.broken.is_none() {
            if self.when_full == WhenFull::Drop {
                return Ok(false);
            }
            state.full = true;
            state = self
                .shared
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        render(&mut state.pending);
        state.events[0] += events;
        let wake = match state.waits {
            Waits::Not => false,
            Waits::Company => self.pace == Pace::Lines || state.pending.len() >= self.block,
            // A format may have only counted the event.
            Waits::Bytes => !state.pending.is_empty(),
        };
        if wake {
            // Once: it is awake from now on.
            state.waits = Waits::Not;
            drop(state);
            self.shared.bytes.notify_one();
        }
        Ok(true)
    }

    /// What errors call the destination.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is new of a destination that fails and is tried again, once.
    pub fn news(&self) -> Option<News> {
        if self.when_full == WhenFull::Wait {
            return None;
        }
        let mut state = self.shared.lock();
        if state.failing.is_some() == state.told {
            return None;
        }
        state.told = !state.told;
        Some(state.failing.clone().map_or(News::GoesOn, News::Fails))
    }

    /// Events that were taken and are not known to be written.
    pub fn unwritten(&self) -> u64 {
        self.shared.lock().events.iter().sum()
    }

    /// Writes what is left. Returns how many events were not written: a reader that is stuck at
    /// the end of a live run is given up after five seconds.
    ///
    /// # Errors
    /// As [`Writer::write`], with the events that were taken and not written.
    pub fn close(mut self) -> Result<u64, (Broken, u64)> {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.bytes.notify_one();
        let deadline = Instant::now() + LAST_WAIT;
        while !state.ended {
            state = match self.when_full {
                WhenFull::Wait => self
                    .shared
                    .room
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                WhenFull::Drop => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(state.events.iter().sum());
                    }
                    let waited = self.shared.room.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let broken = state.broken.take();
        let unwritten = state.events.iter().sum();
        drop(state);
        if let Some(thread) = self.thread.take() {
            // It has ended; a panic of it would have been told by the panic hook.
            let _ = thread.join();
        }
        broken.map_or(Ok(0), |broken| Err((broken, unwritten)))
    }
}

/// Writes what is pending, in blocks of `enough` bytes, until the queue is closed or the destination
/// breaks.
fn empty(
    shared: &Shared,
    mut destination: Box<dyn Write + Send>,
    enough: usize,
    pace: Pace,
    when_full: WhenFull,
) {
    let mut block = Vec::new();
    let mut last: Option<Instant> = None;
    let (mut window, mut bytes) = (Instant::now(), 0);
    let mut interval = if pace == Pace::Batches { BATCH } else { BRIEF };
    loop {
        let mut state = shared.lock();
        loop {
            if state.closing
                || (!state.pending.is_empty()
                    && (pace == Pace::Lines || state.pending.len() >= enough))
            {
                break;
            }
            let waited = last.map_or(interval, |l| l.elapsed());
            if waited < interval {
                state.waits = Waits::Company;
                state = shared
                    .bytes
                    .wait_timeout(state, interval - waited)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                continue;
            }
            if !state.pending.is_empty() {
                break;
            }
            state.waits = Waits::Bytes;
            state = shared
                .bytes
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waits = Waits::Not;
        let full = std::mem::take(&mut state.full);
        std::mem::swap(&mut state.pending, &mut block);
        state.events = [0, state.events[0]];
        let finished = block.is_empty() && state.closing;
        drop(state);
        if full {
            shared.room.notify_all();
        }
        let mut rest = &block[..];
        let result = loop {
            match write_all(&mut *destination, &mut rest) {
                Err(error)
                    if when_full == WhenFull::Drop
                        && error.kind() != io::ErrorKind::BrokenPipe
                        && shared.wait_after(&error) => {}
                result => break result,
            }
        };
        let now = Instant::now();
        last = Some(now);
        bytes += block.len();
        if pace != Pace::Batches && now - window >= WINDOW {
            interval = if bytes > FEW { INTERVAL } else { BRIEF };
            (window, bytes) = (now, 0);
        }
        block.clear();
        if block.capacity() > KEEP {
            block = Vec::new();
        }
        let mut state = shared.lock();
        if result.is_ok() {
            state.events[1] = 0;
            state.failing = None;
        }
        if let Err(error) = result {
            state.broken = Some(match error.kind() {
                io::ErrorKind::BrokenPipe => Broken::Closed,
                _ => Broken::Failed(error.to_string()),
            });
        }
        if finished || state.broken.is_some() {
            state.ended = true;
            drop(state);
            shared.room.notify_all();
            return;
        }
    }
}

/// Takes from `bytes` what is written.
fn write_all(destination: &mut dyn Write, bytes: &mut &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match destination.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => *bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Standard output may have been made non-blocking by whoever else holds it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
    destination.flush()
}

#[cfg(test)]
mod tests;
