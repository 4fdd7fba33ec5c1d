//! Pace, back-pressure, and destinations that fail.

use std::sync::mpsc;

use super::*;
use crate::sink::failing::next;

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
    pace: Pace,
) -> (Writer, mpsc::Receiver<(Instant, Vec<u8>)>) {
    let (sender, receiver) = mpsc::channel();
    let writer = Writer::start(Box::new(Probe(sender)), "probe".into(), limit, when_full, pace);
    (writer.expect("a thread"), receiver)
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn lines_leave_though_nothing_follows_them() {
    let (writer, written) = start(WhenFull::Wait, 1 << 20, Pace::Blocks);
    // The first when nothing was written for long, the others soon after it, each time.
    for _ in 0..3 {
        let mut got = Vec::new();
        for lines in ["one\n", "two\nthree\n"] {
            for line in lines.split_inclusive('\n') {
                let taken =
                    writer.write(Records::EVENT, |out| out.extend_from_slice(line.as_bytes()));
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
    assert_eq!(writer.close(), Ok(Records::NONE));
}

#[test]
fn everything_is_written_in_order_and_in_blocks() {
    let (writer, written) = start(WhenFull::Wait, 256 << 10, Pace::Blocks);
    let mut expected = Vec::new();
    for n in 0..50_000_u32 {
        let line = format!("{n}\n");
        expected.extend_from_slice(line.as_bytes());
        assert_eq!(
            writer.write(Records::EVENT, |out| out.extend_from_slice(line.as_bytes())),
            Ok(true)
        );
    }
    assert_eq!(writer.close(), Ok(Records::NONE));
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
        Pace::Blocks,
    );
    let writer = writer.expect("a thread");
    let line = [b'x'; 1000];
    let taken = (0..1000)
        .filter(|_| {
            writer.write(Records::EVENT, |out| out.extend_from_slice(&line)).expect("not broken")
        })
        .count();
    assert!((64..=70).contains(&taken), "{taken} of 1000");
    // As soon as the reader goes on there is room again.
    drop(release);
    let begin = Instant::now();
    while !writer.write(Records::EVENT, |out| out.extend_from_slice(&line)).expect("not broken") {
        assert!(begin.elapsed() < LONG);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(writer.close(), Ok(Records::NONE));
}

/// A disk of so many bytes.
struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut disk = lock(&self.0);
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

#[test]
fn a_full_disk_that_has_room_again_goes_on_within_the_line() {
    let disk = Arc::new(Mutex::new((5, Vec::new())));
    let destination = Box::new(Disk(Arc::clone(&disk)));
    let writer = Writer::start(destination, "x".into(), 99, WhenFull::Drop, Pace::Blocks);
    let writer = writer.expect("a thread");
    for line in [b"one\n", b"two\n"] {
        assert_eq!(writer.write(Records::EVENT, |out| out.extend_from_slice(line)), Ok(true));
    }
    let full = io::Error::from(io::ErrorKind::StorageFull).to_string();
    assert_eq!(next(|| writer.news()), News::Fails(full));
    assert_eq!(writer.news(), None, "told once");
    disk.lock().expect("free").0 = 99;
    assert_eq!(next(|| writer.news()), News::GoesOn);
    assert_eq!(writer.news(), None, "told once");
    assert_eq!(writer.close(), Ok(Records::NONE));
    assert_eq!(disk.lock().expect("free").1, b"one\ntwo\n");
}

#[test]
fn a_full_disk_leaves_the_whole_queue_to_what_comes() {
    let disk = Arc::new(Mutex::new((0, Vec::new())));
    let to = Box::new(Disk(Arc::clone(&disk)));
    let writer = Writer::start(to, "x".into(), 1000, WhenFull::Drop, Pace::Lines);
    let writer = writer.expect("a thread");
    let write = || writer.write(Records::EVENT, |out| out.extend_from_slice(b"123456789\n"));
    // A single line is taken off the queue, and tried again until there is room.
    assert_eq!(write(), Ok(true));
    assert!(matches!(next(|| writer.news()), News::Fails(_)));
    let taken = 1 + (0..200).filter(|_| write() == Ok(true)).count();
    assert_eq!(taken, 100);
    disk.lock().expect("free").0 = 9999;
    assert_eq!(next(|| writer.news()), News::GoesOn);
    assert_eq!(writer.close(), Ok(Records::NONE));
    assert_eq!(disk.lock().expect("free").1.len(), 1000);
}

#[test]
fn a_disk_that_stays_full_is_told_at_the_end() {
    let destination = Box::new(Disk(Arc::default()));
    let writer = Writer::start(destination, "x".into(), 99, WhenFull::Drop, Pace::Blocks);
    let writer = writer.expect("a thread");
    assert_eq!(writer.write(Records::EVENT, |out| out.extend_from_slice(b"1\n")), Ok(true));
    assert!(matches!(next(|| writer.news()), News::Fails(_)));
    let begin = Instant::now();
    let (broken, unwritten) = writer.close().expect_err("full");
    assert!(begin.elapsed() < RETRY / 2, "nothing is waited for");
    assert!(matches!(broken, Broken::Failed(_)));
    assert_eq!(unwritten, Records::EVENT);
}

#[test]
fn events_of_a_block_that_were_written_are_no_loss() {
    for when_full in [WhenFull::Wait, WhenFull::Drop] {
        let disk = Arc::new(Mutex::new((9, Vec::new())));
        let to = Box::new(Disk(Arc::clone(&disk)));
        let writer = Writer::start(to, "x".into(), 99, when_full, Pace::Blocks);
        let writer = writer.expect("a thread");
        let held = lock(&disk);
        // The first two count without a line of their own, as `summary` does.
        for (records, line) in [
            (Records::EVENT, ""),
            (Records::EVENT, ""),
            (Records::EVENT, "123\n"),
            (Records::ALERT, "al\n"),
            (Records::EVENT, "456\n"),
            (Records::ALERT, "7\n"),
            (Records::EVENT, ""),
        ] {
            let taken = writer.write(records, |out| out.extend_from_slice(line.as_bytes()));
            assert_eq!(taken, Ok(true));
        }
        drop(held);
        let (_, unwritten) = writer.close().expect_err("full");
        assert_eq!(unwritten, Records { events: 2, alerts: 1 }, "{when_full:?}");
    }
}

/// Fails once, and then blocks for good.
struct FailsThenHangs(bool, mpsc::Receiver<()>);

impl Write for FailsThenHangs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !std::mem::replace(&mut self.0, true) {
            return Err(io::Error::other("answered 503"));
        }
        let _ = self.1.recv();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_destination_that_fails_is_not_called_slow() {
    let (release, stuck) = mpsc::channel();
    let to = Box::new(FailsThenHangs(false, stuck));
    let writer = Writer::start(to, "x".into(), 99, WhenFull::Drop, Pace::Blocks);
    let writer = writer.expect("a thread");
    assert_eq!(writer.write(Records::EVENT, |out| out.push(b'x')), Ok(true));
    assert!(matches!(next(|| writer.news()), News::Fails(_)));
    assert_eq!(writer.close(), Err((Broken::Failed("answered 503".into()), Records::EVENT)));
    drop(release);
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
    for (kind, closed) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
        let writer =
            Writer::start(Box::new(Fails(kind)), "x".into(), 9, WhenFull::Wait, Pace::Blocks);
        let writer = writer.expect("a thread");
        let _ = writer.write(Records::EVENT, |out| out.push(b'x'));
        let (broken, unwritten) = writer.close().expect_err("broken");
        assert_eq!(unwritten, Records::EVENT);
        assert_eq!(broken == Broken::Closed, closed, "{broken:?}");
    }
}

/// Otherwise a collector that does not answer delays SIGTERM by its timeout, and several by the sum of theirs.
#[test]
fn hung_destinations_are_left_together_once_the_run_is_to_end() {
    let stop = Arc::new(AtomicBool::new(false));
    let mut held = Vec::new();
    let writers = [WhenFull::Wait, WhenFull::Drop, WhenFull::Wait].map(|when_full| {
        let (hold, hung) = mpsc::channel();
        held.push(hold);
        let to = Box::new(Stuck(hung));
        let mut writer = Writer::start(to, "hung".into(), 4, when_full, Pace::Lines).expect("one");
        writer.stop = Some(Arc::clone(&stop));
        let put =
            |bytes: &'static [u8]| writer.write(Records::EVENT, |out| out.extend_from_slice(bytes));
        assert_eq!(put(b"a\n"), Ok(true));
        while !lock(&writer.shared.state).blocks.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(put(b"b\n"), Ok(true));
        writer
    });
    stop.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    for writer in &writers {
        assert_eq!(
            writer.write(Records::EVENT, |_| panic!("it is full")),
            Ok(false),
            "nobody waits"
        );
        writer.end();
    }
    for writer in writers {
        assert_eq!(writer.close(), Ok(Records { events: 2, alerts: 0 }));
    }
    assert!(begun.elapsed() < LAST_WAIT + Duration::from_secs(3), "{:?}", begun.elapsed());
}
