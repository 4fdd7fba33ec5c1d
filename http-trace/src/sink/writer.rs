//! Bytes on their way to a file or to standard output: a bounded queue and a thread that empties
//! it, so that a slow reader never stops tracing without being told. Knows nothing of formats.
//!
//! While bytes come faster than every [`INTERVAL`] they leave in blocks of [`BLOCK`] bytes or at
//! least once per interval; a lone line leaves at once.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that are written without waiting for more.
pub const BLOCK: usize = 64 << 10;

/// The longest that a line waits for company.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// How long a stuck reader is waited for at the end of a live run.
const LAST_WAIT: Duration = Duration::from_secs(5);

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

/// A queue and its thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    name: String,
    limit: usize,
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

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Events in `pending`, and in what the thread is writing.
    events: [u64; 2],
    closing: bool,
    ended: bool,
    broken: Option<Broken>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("http-trace-out".to_owned())
            .spawn(move || empty(&of_thread, destination, lines))?;
        // One half may wait while the other is being written.
        let limit = (limit / 2).max(1);
        Ok(Writer {
            shared,
            thread: Some(thread),
            name,
            limit,
            when_full,
            lines,
        })
    }

    /// Lets `render` append one event's lines. `Ok(false)`: the queue was full and it was not
    /// called.
    ///
    /// # Errors
    /// When nothing can be written any more.
    pub fn write(&self, render: impl FnOnce(&mut Vec<u8>)) -> Result<bool, Broken> {
        let mut state = self.shared.lock();
        while state.pending.len() >= self.limit && state.broken.is_none() {
            if self.when_full == WhenFull::Drop {
                return Ok(false);
            }
            state = self
                .shared
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let before = state.pending.len();
        render(&mut state.pending);
        state.events[0] += 1;
        if before == 0 || self.lines || (before < BLOCK && state.pending.len() >= BLOCK) {
            self.shared.bytes.notify_one();
        }
        Ok(true)
    }

    /// What errors call the destination.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes what is left. Returns how many events were not written: a reader that is stuck at
    /// the end of a live run is given up after five seconds.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn close(mut self) -> Result<u64, Broken> {
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
        drop(state);
        if let Some(thread) = self.thread.take() {
            // It has ended; a panic of it would have been told by the panic hook.
            let _ = thread.join();
        }
        broken.map_or(Ok(0), Err)
    }
}

/// Writes what is pending until the queue is closed or the destination breaks.
fn empty(shared: &Shared, mut destination: Box<dyn Write + Send>, lines: bool) {
    let mut block = Vec::with_capacity(BLOCK + BLOCK / 2);
    let mut last: Option<Instant> = None;
    loop {
        let mut state = shared.lock();
        loop {
            if state.closing
                || (!state.pending.is_empty() && (lines || state.pending.len() >= BLOCK))
            {
                break;
            }
            if state.pending.is_empty() {
                state = shared
                    .bytes
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = last.map_or(INTERVAL, |l| l.elapsed());
            if waited >= INTERVAL {
                break;
            }
            state = shared
                .bytes
                .wait_timeout(state, INTERVAL - waited)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        std::mem::swap(&mut state.pending, &mut block);
        state.events = [0, state.events[0]];
        let finished = block.is_empty() && state.closing;
        drop(state);
        shared.room.notify_all();
        let result = if finished {
            Ok(())
        } else {
            write_all(&mut *destination, &block)
        };
        last = Some(Instant::now());
        block.clear();
        if block.capacity() > KEEP {
            block = Vec::with_capacity(BLOCK + BLOCK / 2);
        }
        let mut state = shared.lock();
        if result.is_ok() {
            state.events[1] = 0;
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

fn write_all(destination: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match destination.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
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
    fn a_lone_line_leaves_at_once_and_the_next_within_the_bound() {
        let (writer, written) = start(WhenFull::Wait, 1 << 20, false);
        let begin = Instant::now();
        writer
            .write(|out| out.extend_from_slice(b"one\n"))
            .expect("written");
        let (first, bytes) = written.recv_timeout(LONG).expect("a block");
        assert_eq!(bytes, b"one\n");
        assert!(first - begin < INTERVAL, "{:?}", first - begin);
        let begin = Instant::now();
        for _ in 0..3 {
            writer
                .write(|out| out.extend_from_slice(b"two\n"))
                .expect("written");
        }
        let (second, bytes) = written.recv_timeout(LONG).expect("a block");
        assert_eq!(bytes, b"two\ntwo\ntwo\n");
        assert!(
            second - begin < Duration::from_millis(200),
            "{:?}",
            second - begin
        );
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
                writer.write(|out| out.extend_from_slice(line.as_bytes())),
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
                    .write(|out| out.extend_from_slice(&line))
                    .expect("not broken")
            })
            .count();
        assert!((30..=70).contains(&taken), "{taken} of 1000");
        // As soon as the reader goes on there is room again.
        drop(release);
        let begin = Instant::now();
        while !writer
            .write(|out| out.extend_from_slice(&line))
            .expect("not broken")
        {
            assert!(begin.elapsed() < LONG);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(writer.close(), Ok(0));
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
            let _ = writer.write(|out| out.push(b'x'));
            let broken = writer.close().expect_err("broken");
            assert_eq!(broken == Broken::Closed, closed, "{broken:?}");
        }
    }
}
