//! A bounded queue in front of a file or standard output, and the thread that drains it, so that a slow reader
//! never stalls tracing silently. Must not know formats.
//!
//! With [`WhenFull::Drop`], a write that fails (disk full) is retried until the end of the run; the queue meanwhile
//! fills up to its limit.
//!
//! A lone line is written at once. Under load, lines are written in blocks of [`BLOCK`] bytes, or every [`INTERVAL`];
//! the interval is shorter while there are few bytes. [`Pace`] lists the alternatives.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::failing::{Failing, News};
use crate::messages::Records;
use crate::priority;
use crate::sync::{self, lock, wait_for, wait_while};

/// Bytes that are written without waiting for more; at most half of the queue's limit.
pub const BLOCK: usize = 256 << 10;

/// Longest wait of a line for others.
pub const INTERVAL: Duration = Duration::from_millis(25);

/// The same under low load.
const BRIEF: Duration = Duration::from_millis(3);

/// Low load: at most this many bytes per [`WINDOW`], about 600 events per second.
const FEW: usize = 100_000;

/// Longest wait of a record for its batch.
const BATCH: Duration = Duration::from_secs(1);

/// When bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Each line at once.
    Lines,
    /// In blocks, with a short delay.
    Blocks,
    /// In full blocks, or once a second: each write is a request to the destination.
    Batches,
}

/// Interval over which bytes are counted.
const WINDOW: Duration = Duration::from_millis(100);

/// Longest wait for a stuck reader at the end of a live run, and for a stuck collector after a signal.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// How often a wait that a signal ends looks for it.
const LOOK: Duration = Duration::from_millis(50);

/// Time between a failed write and its retry.
const RETRY: Duration = Duration::from_secs(1);

/// Buffers with a larger capacity are freed.
const KEEP: usize = 1 << 20;

/// What happens when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The producer waits: reading a capture may take as long as writing its events.
    Wait,
    /// Events are dropped and counted, and reported as soon as there is room: live traffic does not wait.
    Drop,
}

/// Why writing stopped for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The reader closed the pipe (`| head`); not an error.
    Closed,
    /// Another error, as text.
    Failed(String),
}

/// A queue and the thread that drains it.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Name of the destination in errors.
    pub name: String,
    limit: usize,
    /// Bytes that are written without waiting for more; see [`BLOCK`].
    block: usize,
    when_full: WhenFull,
    pace: Pace,
    /// Once it is set, waiting for a collector ends as it does in a live run.
    pub stop: Option<Arc<AtomicBool>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread: there are bytes.
    bytes: Condvar,
    /// Wakes the producer: there is room, or writing stopped for good.
    room: Condvar,
}

/// What the thread waits for. Waking it costs a system call in both threads, so it is done only when needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waits {
    /// Nothing: it checks for pending bytes before it waits again.
    #[default]
    Not,
    /// A full block, or the end of the interval.
    Company,
    Bytes,
}

/// Lines that are written together.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// Where in `bytes` records end, and how many do there.
    ends: Vec<(usize, Records)>,
}

impl Block {
    /// Records that end beyond the first `written` bytes.
    fn records_beyond(&self, written: usize) -> Records {
        self.ends.iter().filter(|(end, _)| *end > written).map(|(_, records)| *records).sum()
    }

    /// The same memory without lines, unless it is large.
    fn emptied(mut self) -> Self {
        self.bytes.clear();
        self.ends.clear();
        if self.bytes.capacity() > KEEP { Block::default() } else { self }
    }
}

#[derive(Debug, Default)]
struct State {
    /// What the thread has not taken yet; each but the last is full.
    blocks: VecDeque<Block>,
    /// Bytes of these and of the block that is being written.
    bytes: usize,
    /// Memory of a block that was written.
    spare: Block,
    waits: Waits,
    /// Whether the producer waits for room in the queue.
    full: bool,
    /// Records for which nothing was appended yet: some formats only count until they are due.
    counted: Records,
    /// Records in the block that is being written.
    in_block: Records,
    /// Since when it is closing.
    closing: Option<Instant>,
    ended: bool,
    broken: Option<Broken>,
    failing: Failing,
}

impl State {
    /// Records that were accepted and may not have been written.
    fn unwritten(&self) -> Records {
        let of_blocks = self.blocks.iter().map(|block| block.records_beyond(0));
        of_blocks.chain([self.counted, self.in_block]).sum()
    }

    /// Bytes of the next block.
    fn next_bytes(&self) -> usize {
        self.blocks.front().map_or(0, |block| block.bytes.len())
    }

    /// The block to append to, which is of fewer than `enough` bytes.
    fn last(&mut self, enough: usize) -> Block {
        match self.blocks.pop_back() {
            Some(last) if last.bytes.len() < enough => last,
            full => {
                self.blocks.extend(full);
                std::mem::take(&mut self.spare)
            }
        }
    }
}

impl Shared {
    /// Takes back a block, of which the last `unwritten` bytes were not written: then writing is `broken`.
    fn give_back(&self, block: Block, unwritten: usize, broken: Option<Broken>) {
        let mut state = lock(&self.state);
        let length = block.bytes.len();
        state.in_block = block.records_beyond(length - unwritten);
        state.bytes -= length;
        state.spare = block.emptied();
        if broken.is_none() {
            state.failing.error = None;
        }
        state.broken = broken;
        if std::mem::take(&mut state.full) {
            drop(state);
            self.room.notify_all();
        }
    }

    /// Waits until a failed write is due for its retry; false once the queue is closed.
    fn wait_after(&self, error: &io::Error) -> bool {
        let mut state = lock(&self.state);
        if state.closing.is_some() {
            return false;
        }
        state.failing.error = Some(error.to_string());
        drop(wait_while(&self.bytes, state, RETRY, |state| state.closing.is_none()));
        true
    }
}

impl Writer {
    /// Starts the thread. `name` names the destination in errors; `limit` is the maximum of bytes in memory.
    pub fn start(
        destination: Box<dyn Write + Send>,
        name: String,
        limit: usize,
        when_full: WhenFull,
        pace: Pace,
    ) -> io::Result<Self> {
        // One block can fill while another is being written.
        let block = BLOCK.min(limit / 2).max(1);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("http-trace-out".to_owned()).spawn(move || {
                if when_full == WhenFull::Drop {
                    priority::raise();
                }
                empty(&of_thread, destination, Schedule::new(pace, block), when_full);
            })?;
        Ok(Writer { shared, thread: Some(thread), name, limit, block, when_full, pace, stop: None })
    }

    /// Calls `render` to append lines that stand for these records (none for losses). `Ok(false)`: the queue was full
    /// and `render` was not called.
    pub fn write(
        &self,
        records: Records,
        render: impl FnOnce(&mut Vec<u8>),
    ) -> Result<bool, Broken> {
        let mut state = lock(&self.shared.state);
        while state.bytes >= self.limit && state.broken.is_none() {
            if self.when_full == WhenFull::Drop || self.is_stopped() {
                return Ok(false);
            }
            state.full = true;
            state = match self.stop {
                Some(_) => wait_for(&self.shared.room, state, LOOK),
                None => sync::wait(&self.shared.room, state),
            };
        }
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let mut block = state.last(self.block);
        let begin = block.bytes.len();
        render(&mut block.bytes);
        state.counted += records;
        let end = block.bytes.len();
        if end > begin && state.counted != Records::NONE {
            block.ends.push((end, std::mem::take(&mut state.counted)));
        }
        state.bytes += end - begin;
        state.blocks.push_back(block);
        let wake = match state.waits {
            Waits::Not => false,
            Waits::Company => self.pace == Pace::Lines || state.next_bytes() >= self.block,
            Waits::Bytes => state.next_bytes() > 0,
        };
        if wake {
            // It is awake from now on: wake it once.
            state.waits = Waits::Not;
            drop(state);
            self.shared.bytes.notify_one();
        }
        Ok(true)
    }

    /// A change of state that was not reported yet.
    pub fn news(&self) -> Option<News> {
        if self.when_full == WhenFull::Wait {
            return None;
        }
        lock(&self.shared.state).failing.news()
    }

    /// Records that were accepted and may not have been written.
    pub fn unwritten(&self) -> Records {
        lock(&self.shared.state).unwritten()
    }

    /// Whether a write failed for good: nothing more is taken.
    #[cfg(feature = "live")]
    pub fn broken(&self) -> Option<Broken> {
        lock(&self.shared.state).broken.clone()
    }

    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Announces that nothing follows.
    pub fn end(&self) {
        lock(&self.shared.state).closing.get_or_insert_with(Instant::now);
        self.shared.bytes.notify_one();
    }

    /// Writes what is pending. Returns which records were not written: at the end of a live run, a stuck reader is
    /// abandoned five seconds after [`Writer::end`].
    ///
    /// # Errors
    /// As [`Writer::write`], with the records that were accepted and not written. Also if the reader is
    /// abandoned while writes to it fail.
    pub fn close(mut self) -> Result<Records, (Broken, Records)> {
        self.end();
        let mut state = lock(&self.shared.state);
        let hurries = self.when_full == WhenFull::Drop || self.is_stopped();
        let mut since = state.closing.filter(|_| hurries);
        while !state.ended && since.is_none_or(|since| since.elapsed() < LAST_WAIT) {
            state = wait_while(&self.shared.room, state, LOOK, |state| !state.ended);
            if since.is_none() && self.is_stopped() {
                since = Some(Instant::now());
            }
        }
        let unwritten = state.unwritten();
        if !state.ended {
            let why = state.failing.error.clone().map(Broken::Failed);
            return why.map_or(Ok(unwritten), |why| Err((why, unwritten)));
        }
        let broken = state.broken.take();
        drop(state);
        if let Some(thread) = self.thread.take() {
            // It has ended; the panic hook reports a panic.
            let _ = thread.join();
        }
        broken.map_or(Ok(Records::NONE), |broken| Err((broken, unwritten)))
    }
}

/// When blocks are written: see [`Pace`].
struct Schedule {
    pace: Pace,
    /// Size of a block that waits for nothing.
    enough: usize,
    /// Longest wait of a line, by the load of the last [`WINDOW`].
    interval: Duration,
    last: Option<Instant>,
    window: Instant,
    /// Bytes written in the window.
    bytes: usize,
}

impl Schedule {
    fn new(pace: Pace, enough: usize) -> Self {
        let interval = if pace == Pace::Batches { BATCH } else { BRIEF };
        Schedule { pace, enough, interval, last: None, window: Instant::now(), bytes: 0 }
    }

    /// Waits until a block is due, and takes it; `None` if the queue is closed and nothing is left.
    fn next(&self, shared: &Shared) -> Option<Block> {
        let mut state = lock(&shared.state);
        loop {
            let ready = state.next_bytes();
            let is_full = ready > 0 && (self.pace == Pace::Lines || ready >= self.enough);
            let waited = self.last.map_or(self.interval, |last| last.elapsed());
            if state.closing.is_some() || is_full || ready > 0 && waited >= self.interval {
                break;
            }
            if waited < self.interval {
                state.waits = Waits::Company;
                state = wait_for(&shared.bytes, state, self.interval - waited);
            } else {
                state.waits = Waits::Bytes;
                state = sync::wait(&shared.bytes, state);
            }
        }
        state.waits = Waits::Not;
        let block = state.blocks.pop_front().filter(|block| !block.bytes.is_empty());
        state.in_block = block.as_ref().map_or(Records::NONE, |block| block.records_beyond(0));
        block
    }

    fn note_written(&mut self, bytes: usize) {
        let now = Instant::now();
        self.last = Some(now);
        self.bytes += bytes;
        if self.pace != Pace::Batches && now - self.window >= WINDOW {
            self.interval = if self.bytes > FEW { INTERVAL } else { BRIEF };
            (self.window, self.bytes) = (now, 0);
        }
    }
}

/// Writes blocks until the queue is closed or writing fails for good.
fn empty(
    shared: &Shared,
    mut destination: Box<dyn Write + Send>,
    mut schedule: Schedule,
    when_full: WhenFull,
) {
    let mut broken = None;
    while broken.is_none()
        && let Some(block) = schedule.next(shared)
    {
        let mut rest = &block.bytes[..];
        let result = loop {
            match write_all(&mut *destination, &mut rest) {
                Err(error)
                    if when_full == WhenFull::Drop
                        && error.kind() != io::ErrorKind::BrokenPipe
                        && shared.wait_after(&error) => {}
                result => break result,
            }
        };
        broken = result.err().map(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Broken::Closed,
            _ => Broken::Failed(error.to_string()),
        });
        schedule.note_written(block.bytes.len());
        let unwritten = rest.len();
        shared.give_back(block, unwritten, broken.clone());
    }
    lock(&shared.state).ended = true;
    shared.room.notify_all();
}

/// Advances `bytes` past what was written.
fn write_all(destination: &mut dyn Write, bytes: &mut &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match destination.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => *bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another holder of standard output may have made it non-blocking.
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
