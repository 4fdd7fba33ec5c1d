use std::sync::{Arc, Mutex, mpsc};

use super::*;
use http_trace_samples as testing;

/// A reader that takes nothing until it is released, and everything from then on.
struct Slow {
    asked: mpsc::Sender<()>,
    released: mpsc::Receiver<()>,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.asked.send(());
        let _ = self.released.recv();
        let mut got = self.got.lock().map_err(|_| io::ErrorKind::Other)?;
        got.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// JSON to a reader that is slow, with 64 KiB of queue, which drops when full; the first event
/// is in the reader's hands, and nothing leaves the queue any more.
fn stuck(
    released: mpsc::Receiver<()>,
    got: &Arc<Mutex<Vec<u8>>>,
    first: &Entry<'_>,
    written: &mut WrittenCounts,
) -> OneOutput {
    let (asked, stuck) = mpsc::channel();
    let got = Arc::clone(got);
    let slow = Slow { asked, released, got };
    let limit = 64 << 10;
    let writer = Writer::start(Box::new(slow), "slow".into(), limit, WhenFull::Drop, Pace::Blocks);
    let mut one = OneOutput {
        #[cfg(feature = "live")]
        is_stdout: false,
        format: Format::Json,
        alerts: Alerts::None,
        only: None,
        takes: true,
        by_filters: ByOutput::default(),
        render: Box::new(Json::new(&Style::default())),
        left_out: 0,
        writer: Some(writer.expect("a thread")),
        rotates: Arc::default(),
        exporter: State::default(),
        behind: ReportedLosses::default(),
        dropped: None,
        lost: 0,
        lost_alerts: 0,
        closed: false,
        failure: None,
    };
    one.event(first, testing::TIME_NS, written);
    stuck.recv_timeout(std::time::Duration::from_secs(10)).expect("the reader is asked");
    one
}

#[test]
fn what_a_full_queue_cost_is_told_in_the_stream_and_at_the_end() {
    let (release, released) = mpsc::channel();
    let got = Arc::new(Mutex::new(Vec::new()));
    let mut written = WrittenCounts::default();
    let event = testing::event();
    let entry = Entry { event: &event, user: None };
    let mut one = stuck(released, &got, &entry, &mut written);
    let now_ns = testing::TIME_NS + 2_000_000_000;
    for _ in 2..=200 {
        one.event(&entry, now_ns, &mut written);
    }
    let (dropped, since_ns) = one.dropped.expect("the queue is full");
    let dropped = dropped.events;
    // Each is told as what it is.
    assert!(!one.write(Records::ALERT, [now_ns; 2], &mut written, |_, out| out.push(b'x')));
    // The loss covers the time of what is missing, not of its being dropped.
    assert!(dropped > 0);
    assert_eq!(Some(since_ns), event.request_start_ns);
    assert!(written.is_lossy(), "the stream may never be read again");
    drop(release);
    let begin = std::time::Instant::now();
    while one.dropped.is_some() {
        assert!(begin.elapsed() < std::time::Duration::from_secs(10));
        std::thread::sleep(std::time::Duration::from_millis(1));
        one.tell_dropped(now_ns);
    }
    one.event(&entry, now_ns, &mut written);
    assert_eq!(one.writer.take().expect("open").close(), Ok(Records::NONE));
    assert_eq!(written.lost.get(&("output_queue", "events")), Some(&dropped));
    assert_eq!(written.lost.get(&("output_queue", "alerts")), Some(&1));
    let text = String::from_utf8(got.lock().expect("free").clone()).expect("UTF-8");
    let lost: Vec<&str> = text.lines().filter(|l| l.contains("responses-lost")).collect();
    let expected = format!("\"lost\":{{\"count\":{dropped},\"unit\":\"events\"");
    assert_eq!(lost.len(), 2);
    assert!(lost[0].contains(&expected), "{}", lost[0]);
    assert!(lost[1].contains("\"lost\":{\"count\":1,\"unit\":\"alerts\""), "{}", lost[1]);
    assert_eq!(text.lines().count() as u64, 200 - dropped + 3);
}

/// Has something to write at any time.
#[derive(Debug)]
struct AlwaysDue;

impl Render for AlwaysDue {
    fn event(&mut self, _: &Entry<'_>, out: &mut Vec<u8>) {
        out.extend([b'x'; 1000]);
    }
    fn due_ns(&self) -> Option<u64> {
        Some(0)
    }
    fn tick(&mut self, _: u64, out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}

#[test]
fn what_is_due_and_finds_no_room_is_no_loss() {
    let (release, released) = mpsc::channel();
    let mut written = WrittenCounts::default();
    let event = testing::event();
    let entry = Entry { event: &event, user: None };
    let mut one = stuck(released, &Arc::default(), &entry, &mut written);
    one.render = Box::new(AlwaysDue);
    let mut dropped = 0;
    for _ in 2..=200 {
        one.event(&entry, testing::TIME_NS, &mut written);
        dropped = one.dropped.map_or(0, |(records, _)| records.events);
        one.tick(testing::TIME_NS);
    }
    assert!(dropped > 100, "{dropped}");
    let expected = Records { events: dropped, alerts: 0 };
    assert_eq!(one.dropped.map(|(counts, _)| counts), Some(expected));
    assert_eq!(one.lost, dropped);
    one.close(testing::TIME_NS, &mut written);
    drop(release);
}

#[test]
fn what_a_reader_that_is_stuck_to_the_end_cost_is_counted() {
    let (release, released) = mpsc::channel();
    let mut written = WrittenCounts::default();
    let event = testing::event();
    let entry = Entry { event: &event, user: None };
    let mut one = stuck(released, &Arc::default(), &entry, &mut written);
    for _ in 2..=200 {
        one.event(&entry, testing::TIME_NS, &mut written);
    }
    one.close(testing::TIME_NS, &mut written);
    drop(release);
    assert_eq!(one.lost, 200);
    // An alert alone is no silent loss either.
    let (release, released) = mpsc::channel();
    let mut of_alert = WrittenCounts::default();
    let mut one = stuck(released, &Arc::default(), &entry, &mut of_alert);
    assert!(
        one.write(Records::ALERT, [testing::TIME_NS; 2], &mut of_alert, |_, out| out.push(b'x'))
    );
    one.close(testing::TIME_NS, &mut of_alert);
    drop(release);
    assert_eq!(of_alert.lost.get(&("output_queue", "alerts")), Some(&1));
    assert_eq!(of_alert.failed, ["slow is too slow: up to 1 event and 1 alert not written there"]);
    assert_eq!(written.lost.get(&("output_queue", "events")), Some(&200));
}
