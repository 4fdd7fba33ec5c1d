//! Capture files and folders are read in order of time.

use std::io::Read;
use std::sync::mpsc;
use std::time::Duration;

use http_trace::capture::Frames;

use http_trace_testkit::files::*;

use crate::rows::*;

#[test]
fn folders_are_read_in_time_order_and_other_files_skipped() {
    let scratch = Scratch::new("folder");
    let text = scratch.file("a/readme.txt", b"Captures of the week");
    scratch.file("b.pcap", &PLAIN.pcap(10, 3));
    scratch.file("a/z.pcap.gz", &PLAIN.pcap(11, 3));
    scratch.file("c/empty", b"");
    let cut = PLAIN.pcap(1, 2);
    scratch.file("c/cut.pcap", &cut[..cut.len() - 1]);
    let sizes = ["a/readme.txt", "b.pcap", "a/z.pcap.gz", "c/empty", "c/cut.pcap"];
    let sizes = sizes.map(|name| scratch.0.join(name).metadata().expect("a file").len());
    let total: u64 = sizes.iter().sum();
    let mut frames = Frames::open(std::slice::from_ref(&scratch.0));
    // What was no capture, and what was looked at to learn its time: the first is done with.
    assert_eq!(frames.progress(), (sizes[0] + sizes[3], Some(total)));
    let rows = read(&mut frames);
    assert_eq!(frames.progress(), (total, Some(total)));
    let seconds: Vec<_> = rows.iter().map(|row| row.0 / 1_000_000_000).collect();
    assert_eq!(seconds, [1, 10, 11, 11, 12, 12, 13]);
    assert_eq!(frames.skipped(), [text, scratch.0.join("c/empty")]);
    let problems = frames.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].file.ends_with("cut.pcap"), "{problems:?}");
}

#[test]
fn however_deep_a_capture_is_it_is_read() {
    let scratch = Scratch::new("deep");
    let path = format!("{}deep.pcap", "d/".repeat(300));
    scratch.file(&path, &PLAIN.pcap(1, 1));
    let mut frames = Frames::open(std::slice::from_ref(&scratch.0));
    assert_eq!(read(&mut frames).len(), 1);
    assert!(frames.problems().is_empty(), "{:?}", frames.problems());
}

/// The folder of a capture says nothing about its interface.
#[test]
fn an_interface_without_a_name_has_that_of_its_file() {
    let scratch = Scratch::new("names");
    let data = frame(1, b"x");
    let named = |name: Option<&[u8]>| {
        let options: Vec<(u16, &[u8])> = name.into_iter().map(|name| (2, name)).collect();
        let parts = [
            PLAIN.section(),
            PLAIN.interface(1, 0, &options),
            PLAIN.enhanced(0, 0, &data, data.len() as u32),
        ];
        parts.concat()
    };
    let table: &[(&str, Vec<u8>, &str)] = &[
        ("a/one.pcap", PLAIN.pcap(1, 1), "one.pcap"),
        ("b/one.pcap", PLAIN.pcap(2, 1), "one.pcap"),
        ("b/plain.pcapng", named(None), "plain.pcapng"),
        ("b/named.pcapng", named(Some(b"eth0")), "eth0"),
        ("b/empty.pcapng", named(Some(b"")), "empty.pcapng"),
    ];
    for (path, bytes, expected) in table {
        let mut frames = Frames::open(&[scratch.file(path, bytes)]);
        let rows = read(&mut frames);
        assert_eq!(rows.len(), 1, "{path}: {:?}", frames.problems());
        assert_eq!(rows[0].2, *expected, "{path}");
    }
    // Same name, but different interfaces.
    let mut frames = Frames::open(&[scratch.0.join("a/one.pcap"), scratch.0.join("b/one.pcap")]);
    let numbers = [(); 2].map(|()| frames.next_frame().map(|frame| frame.interface));
    assert_eq!(numbers, [Some(1), Some(2)]);
}

/// Within a file, packets stay in file order whatever their times; those that go backwards are counted.
#[test]
fn times_may_go_backwards() {
    let data = frame(1, b"x");
    let mut file = PLAIN.header(4, 1);
    for second in [5, 3, 9] {
        file.extend(PLAIN.record(second, 0, &data, data.len() as u32));
    }
    let scratch = Scratch::new("backwards");
    let a = scratch.file("a.pcap", &file);
    let b = scratch.file("b.pcap", &PLAIN.pcap(4, 1));
    let mut frames = Frames::open(&[a, b]);
    let seconds: Vec<_> = read(&mut frames).iter().map(|row| row.0 / 1_000_000_000).collect();
    assert_eq!(seconds, [4, 5, 3, 9]);
    assert_eq!(frames.backwards, 1);
}

/// A pipe written by the test.
struct Pipe(mpsc::Receiver<Vec<u8>>, Vec<u8>);

impl Read for Pipe {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.1.is_empty() {
            match self.0.recv() {
                Ok(bytes) => self.1 = bytes,
                Err(_) => return Ok(0),
            }
        }
        let n = self.1.len().min(out.len());
        out[..n].copy_from_slice(&self.1[..n]);
        self.1.drain(..n);
        Ok(n)
    }
}

/// A packet is available as soon as its last byte is, compressed or not.
#[test]
fn a_pipe_yields_packets_as_they_come() {
    let (to_reader, pipe) = mpsc::channel();
    let (to_test, seen) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut frames = Frames::from_reader("-", Box::new(Pipe(pipe, Vec::new())));
        while let Some(frame) = frames.next_frame() {
            to_test.send(frame.time_ns).unwrap();
        }
        frames.take_problems().len()
    });
    let wait = Duration::from_secs(20);
    to_reader.send(PLAIN.header(4, 1)).unwrap();
    for second in 1..4u32 {
        let data = frame(second, b"x");
        let record = PLAIN.record(second, 0, &data, data.len() as u32);
        let (most, last) = record.split_at(record.len() - 1);
        to_reader.send(most.to_vec()).unwrap();
        assert!(seen.recv_timeout(Duration::from_millis(20)).is_err(), "not whole yet");
        to_reader.send(last.to_vec()).unwrap();
        assert_eq!(seen.recv_timeout(wait), Ok(u64::from(second) * 1_000_000_000));
    }
    drop(to_reader);
    assert_eq!(reader.join().unwrap(), 0);
}
