//! Bytes on their way to a file or to standard output: a bounded queue and a thread that empties
//! it, so that a slow reader never stops tracing without being told. Knows nothing of formats.
//!
//! Where events that are not written are lost ([`WhenFull::Drop`]), a destination that fails (a disk
//! that is full) is tried again until the end, and the queue takes what fits in it.
//!
//! While bytes come faster than every [`INTERVAL`] they leave in blocks of [`BLOCK`] bytes or at
//! least once per interval, which is shorter while few come; a lone line leaves at once.

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
    lines: bool,
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
    /// memory; with `lines` each line leaves at once.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        destination: Box<dyn Write + Send>,
        name: String,
        limit: usize,
        when_full: WhenFull,
        lines: bool,
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
                empty(&of_thread, destination, block, lines, when_full);
            })?;
        Ok(Writer {
            shared,
            thread: Some(thread),
            name,
            limit,
            block,
            when_full,
            lines,
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
            Waits::Company => self.lines || state.pending.len() >= self.block,
            Waits::Bytes => true,
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
    lines: bool,
    when_full: WhenFull,
) {
    let mut block = Vec::new();
    let mut last: Option<Instant> = None;
    let (mut window, mut bytes, mut interval) = (Instant::now(), 0, BRIEF);
    loop {
        let mut state = shared.lock();
        loop {
            if state.closing
                || (!state.pending.is_empty() && (lines || state.pending.len() >= enough))
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
        if now - window >= WINDOW {
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
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Sends each write to the test, with its time.
    struct Probe(mpsc::Sender<(Instant, Vec<u8>)>);

    impl Write for Probe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send((Instant::now(), bytes.to_vec()));
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(
        when_full: WhenFull,
        limit: usize,
        lines: bool,
    ) -> (Writer, mpsc::Receiver<(Instant, Vec<u8>)>) {
        let (sender, receiver) = mpsc::channel();
        let writer = Writer::start(
            Box::new(Probe(sender)),
            "probe".into(),
            limit,
            when_full,
            lines,
        );
        (writer.expect("a thread"), receiver)
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn lines_leave_though_nothing_follows_them() {
        let (writer, written) = start(WhenFull::Wait, 1 << 20, false);
        // The first when nothing was written for long, the others soon after it, each time.
        for _ in 0..3 {
            let mut got = Vec::new();
            for lines in ["one\n", "two\nthree\n"] {
                for line in lines.split_inclusive('\n') {
                    let taken = writer.write(1, |out| out.extend_from_slice(line.as_bytes()));
                    assert_eq!(taken, Ok(true));
                }
                got.clear();
                while got.len() < lines.len() {
                    let (_, bytes) = written.recv_timeout(LONG).expect("a block");
                    got.extend_from_slice(&bytes);
                }
                assert_eq!(got, lines.as_bytes());
            }
            std::thread::sleep(2 * INTERVAL);
        }
        assert_eq!(writer.close(), Ok(0));
    }

    #[test]
    fn everything_is_written_in_order_and_in_blocks() {
        let (writer, written) = start(WhenFull::Wait, 256 << 10, false);
        let mut expected = Vec::new();
        for n in 0..50_000_u32 {
            let line = format!("{n}\n");
            expected.extend_from_slice(line.as_bytes());
            assert_eq!(
                writer.write(1, |out| out.extend_from_slice(line.as_bytes())),
                Ok(true)
            );
        }
        assert_eq!(writer.close(), Ok(0));
        let blocks: Vec<Vec<u8>> = written.iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(blocks.concat(), expected);
        assert!(blocks.len() < 100, "{} blocks", blocks.len());
    }

    /// Blocks for good, as a pipe that nobody reads does.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_reader_costs_events_but_never_the_producer_and_memory_stays_bounded() {
        let (release, stuck) = mpsc::channel();
        let writer = Writer::start(
            Box::new(Stuck(stuck)),
            "stuck".into(),
            64 << 10,
            WhenFull::Drop,
            false,
        );
        let writer = writer.expect("a thread");
        let line = [b'x'; 1000];
        let taken = (0..1000)
            .filter(|_| {
                writer
                    .write(1, |out| out.extend_from_slice(&line))
                    .expect("not broken")
            })
            .count();
        assert!((30..=70).contains(&taken), "{taken} of 1000");
        // As soon as the reader goes on there is room again.
        drop(release);
        let begin = Instant::now();
        while !writer
            .write(1, |out| out.extend_from_slice(&line))
            .expect("not broken")
        {
            assert!(begin.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(writer.close(), Ok(0));
    }

    /// A disk of so many bytes.
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let room = disk.0.saturating_sub(disk.1.len()).min(bytes.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.1.extend_from_slice(&bytes[..room]);
            Ok(room)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn news(writer: &Writer) -> News {
        let begin = Instant::now();
        loop {
            match writer.news() {
                Some(news) => break news,
                None => assert!(begin.elapsed() < LONG),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_full_disk_that_has_room_again_goes_on_within_the_line() {
        let disk = Arc::new(Mutex::new((5, Vec::new())));
        let destination = Box::new(Disk(Arc::clone(&disk)));
        let writer = Writer::start(destination, "x".into(), 99, WhenFull::Drop, false);
        let writer = writer.expect("a thread");
        for line in [b"one\n", b"two\n"] {
            assert_eq!(writer.write(1, |out| out.extend_from_slice(line)), Ok(true));
        }
        let full = io::Error::from(io::ErrorKind::StorageFull).to_string();
        assert_eq!(news(&writer), News::Fails(full));
        assert_eq!(writer.news(), None, "told once");
        disk.lock().expect("free").0 = 99;
        assert_eq!(news(&writer), News::GoesOn);
        assert_eq!(writer.news(), None, "told once");
        assert_eq!(writer.close(), Ok(0));
        assert_eq!(disk.lock().expect("free").1, b"one\ntwo\n");
    }

    #[test]
    fn a_disk_that_stays_full_is_told_at_the_end() {
        let destination = Box::new(Disk(Arc::default()));
        let writer = Writer::start(destination, "x".into(), 99, WhenFull::Drop, false);
        let writer = writer.expect("a thread");
        assert_eq!(
            writer.write(1, |out| out.extend_from_slice(b"1\n")),
            Ok(true)
        );
        assert!(matches!(news(&writer), News::Fails(_)));
        let begin = Instant::now();
        let (broken, unwritten) = writer.close().expect_err("full");
        assert!(begin.elapsed() < RETRY / 2, "nothing is waited for");
        assert!(matches!(broken, Broken::Failed(_)));
        assert_eq!(unwritten, 1);
    }

    #[test]
    fn a_closed_pipe_is_told_apart_from_an_error() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (kind, closed) in [
            (io::ErrorKind::BrokenPipe, true),
            (io::ErrorKind::StorageFull, false),
        ] {
            let writer = Writer::start(Box::new(Fails(kind)), "x".into(), 9, WhenFull::Wait, false);
            let writer = writer.expect("a thread");
            let _ = writer.write(1, |out| out.push(b'x'));
            let (broken, unwritten) = writer.close().expect_err("broken");
            assert_eq!(unwritten, 1);
            assert_eq!(broken == Broken::Closed, closed, "{broken:?}");
        }
    }
}
