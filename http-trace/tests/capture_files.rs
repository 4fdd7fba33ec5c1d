//! The readers: formats, compression, order, and files that are cut, damaged or no captures.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use etherparse::PacketBuilder;
use http_trace::capture::{CaptureError, Frames, Problem, Replay, ReplayOptions};
use http_trace_common::record::flag;
use proptest::prelude::*;

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("http-trace-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An Ethernet frame from server to client.
fn frame(seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ethernet2([1; 6], [2; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(80, 50000, seq, 4000)
        .ack(1)
        .write(&mut out, payload)
        .unwrap();
    out
}

/// How a classic file is written.
#[derive(Clone, Copy)]
struct Style {
    big_endian: bool,
    nanoseconds: bool,
}

const PLAIN: Style = Style {
    big_endian: false,
    nanoseconds: false,
};

impl Style {
    fn u32(self, n: u32) -> [u8; 4] {
        if self.big_endian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }
    fn u16(self, n: u16) -> [u8; 2] {
        if self.big_endian {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }

    fn header(self, minor: u16, link: u32) -> Vec<u8> {
        let magic = if self.nanoseconds {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        };
        [
            &self.u32(magic)[..],
            &self.u16(2),
            &self.u16(minor),
            &[0; 8],
            &self.u32(262_144),
            &self.u32(link),
        ]
        .concat()
    }

    fn record(self, seconds: u32, fraction: u32, data: &[u8], wire_len: u32) -> Vec<u8> {
        let len = data.len() as u32;
        let words = [seconds, fraction, len, wire_len].map(|n| self.u32(n));
        [&words.concat(), data].concat()
    }

    /// A file of one packet a second from `start`, one byte of payload each.
    fn pcap(self, start: u32, packets: u32) -> Vec<u8> {
        let mut out = self.header(4, 1);
        for i in 0..packets {
            let data = frame(start + i, &[b'a' + (i % 26) as u8]);
            out.extend(self.record(start + i, 7, &data, data.len() as u32));
        }
        out
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = self.u32((12 + body.len() + padding.len()) as u32);
        [&self.u32(kind)[..], &length, body, &padding, &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let body = [
            &self.u32(0x1a2b_3c4d)[..],
            &self.u16(1),
            &self.u16(0),
            &[0xff; 8],
        ]
        .concat();
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface with options (code, value).
    fn interface(self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(link)[..], &[0, 0], &self.u32(snaplen)].concat();
        for (code, value) in options {
            body.extend(self.u16(*code));
            body.extend(self.u16(value.len() as u16));
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, time: u64, data: &[u8], wire_len: u32) -> Vec<u8> {
        let words = [
            interface,
            (time >> 32) as u32,
            time as u32,
            data.len() as u32,
            wire_len,
        ];
        self.block(6, &[&words.map(|n| self.u32(n)).concat(), data].concat())
    }
}

/// What a test asks of a frame: time, link type, interface, captured bytes, length on the wire.
type Row = (u64, u32, String, Vec<u8>, u32);

fn read(frames: &mut Frames) -> Vec<Row> {
    let mut rows = Vec::new();
    while let Some(frame) = frames.next_frame() {
        let row = (
            frame.time_ns,
            frame.link.0,
            frame.interface,
            frame.data.to_vec(),
            frame.wire_len,
        );
        let name = frames
            .interface_name(row.2)
            .map_or_else(String::new, |n| n.to_string());
        rows.push((row.0, row.1, name, row.3, row.4));
    }
    rows
}

fn read_bytes(bytes: &[u8]) -> (Vec<Row>, Vec<CaptureError>) {
    let mut frames = Frames::from_reader("test", Box::new(std::io::Cursor::new(bytes.to_vec())));
    let rows = read(&mut frames);
    (rows, frames.take_problems())
}

fn times(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.0).collect()
}

#[test]
fn classic_in_both_byte_orders_and_units() {
    for big_endian in [false, true] {
        for nanoseconds in [false, true] {
            let style = Style {
                big_endian,
                nanoseconds,
            };
            let (rows, problems) = read_bytes(&style.pcap(100, 3));
            let fraction = if nanoseconds { 7 } else { 7000 };
            let expected: Vec<_> = (100..103).map(|s| s * 1_000_000_000 + fraction).collect();
            assert_eq!(times(&rows), expected);
            assert!(
                rows.iter()
                    .all(|row| row.1 == 1 && row.2 == "test" && row.4 == 55)
            );
            assert!(problems.is_empty(), "{problems:?}");
        }
    }
}

#[test]
fn classic_oddities() {
    let data = frame(1, b"x");
    let len = data.len() as u32;
    // Version 2.2 has the lengths in the other order; 2.3 in either.
    for (minor, swapped) in [(2, true), (3, true), (3, false)] {
        let mut file = PLAIN.header(minor, 1);
        let mut record = PLAIN.record(1, 0, &data, len + 9);
        if swapped {
            let (a, b): ([u8; 4], [u8; 4]) = (
                record[8..12].try_into().unwrap(),
                record[12..16].try_into().unwrap(),
            );
            record[8..12].copy_from_slice(&b);
            record[12..16].copy_from_slice(&a);
        }
        file.extend(record);
        let (rows, problems) = read_bytes(&file);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(
            (rows[0].3.len() as u32, rows[0].4),
            (len, len + 9),
            "2.{minor}"
        );
    }
    // The modified format: eight more bytes in each record's header.
    let mut file = PLAIN.header(4, 1);
    file[..4].copy_from_slice(&0xa1b2_cd34_u32.to_le_bytes());
    for i in 0..2 {
        let record = PLAIN.record(i, 0, &data, len);
        file.extend_from_slice(&record[..16]);
        file.extend_from_slice(&[9; 8]);
        file.extend_from_slice(&data);
    }
    let (rows, problems) = read_bytes(&file);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        rows.iter().map(|row| row.3.clone()).collect::<Vec<_>>(),
        [data.clone(), data.clone()]
    );
    // A frame check sequence is announced in the upper bits of the link type.
    let mut file = PLAIN.header(4, 1 | 0x2400_0000 | 0x1000_0000);
    file.extend(PLAIN.record(1, 0, &data, len));
    assert_eq!(read_bytes(&file).0[0].1, 1);
}

#[test]
fn pcapng_with_several_interfaces_sections_and_clocks() {
    for big_endian in [false, true] {
        let style = Style {
            big_endian,
            nanoseconds: false,
        };
        let other = Style {
            big_endian: !big_endian,
            nanoseconds: false,
        };
        let data = frame(1, b"x");
        let len = data.len() as u32;
        let raw = &data[14..];
        let offset = if big_endian {
            10i64.to_be_bytes()
        } else {
            10i64.to_le_bytes()
        };
        let obsolete = [
            &style.u16(1)[..],
            &style.u16(3),
            &style.u32(0),
            &style.u32(5_000),
            &style.u32(raw.len() as u32),
            &style.u32(raw.len() as u32),
            raw,
        ]
        .concat();
        let file = [
            style.section(),
            style.interface(1, 0, &[(2, b"eth0")]),
            style.interface(101, 0, &[(2, b"tun0"), (9, &[3]), (14, &offset)]),
            style.interface(1, 60, &[(2, b"eth1"), (9, &[0x80 | 10])]),
            // Name resolution: skipped unseen.
            style.block(4, &[0; 400]),
            style.enhanced(0, 1_000_001, &data, len),
            style.enhanced(1, 2_000, raw, 1500),
            style.block(2, &obsolete),
            style.enhanced(2, 3 << 10 | 1 << 9, &data, len),
            // Interface statistics.
            style.block(5, &[0; 12]),
            style.block(3, &[&style.u32(len)[..], &data].concat()),
            // A section of the other byte order, whose interface has no name.
            other.section(),
            other.interface(1, 0, &[(9, &[9])]),
            other.enhanced(0, 42, &data, len),
        ]
        .concat();
        let (rows, problems) = read_bytes(&file);
        assert!(problems.is_empty(), "{problems:?}");
        let brief: Vec<_> = rows
            .iter()
            .map(|r| (r.0, r.1, r.2.as_str(), r.3.len() as u32, r.4))
            .collect();
        assert_eq!(
            brief,
            [
                (1_000_001_000, 1, "eth0", len, len),
                (12_000_000_000, 101, "tun0", len - 14, 1500),
                (15_000_000_000, 101, "tun0", len - 14, len - 14),
                (3_500_000_000, 1, "eth1", len, len),
                // A simple packet: of the first interface, with the time of the one before it.
                (3_500_000_000, 1, "eth0", len, len),
                (42, 1, "test", len, len),
            ]
        );
    }
}

#[test]
fn compressed_by_content_not_by_name() {
    let plain = PLAIN.pcap(5, 4);
    let gzip = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    let (a, b) = plain.split_at(100);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let skippable = [
        &[0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..],
        &zstd(&plain),
    ]
    .concat();
    let expected = read_bytes(&plain).0;
    for (name, bytes) in [
        ("gzip", gzip(&plain)),
        ("gzip of several members", [gzip(a), gzip(b)].concat()),
        ("zstd", zstd(&plain)),
        ("zstd of several frames", [zstd(a), zstd(b)].concat()),
        ("zstd after a skippable frame", skippable),
    ] {
        let (rows, problems) = read_bytes(&bytes);
        assert!(problems.is_empty(), "{name}: {problems:?}");
        assert_eq!(rows, expected, "{name}");
    }
    // Cut within the compressed stream: what could be decompressed is delivered.
    let cut = gzip(&PLAIN.pcap(0, 2000));
    let (rows, problems) = read_bytes(&cut[..cut.len() / 2]);
    assert!(!rows.is_empty() && rows.len() < 2000, "{}", rows.len());
    assert!(
        matches!(problems[0].problem, Problem::Read { .. }),
        "{problems:?}"
    );
}

/// Every whole packet of a cut file is delivered, and the cut is told of with its place.
#[test]
fn cut_at_every_byte() {
    let data = frame(1, b"x");
    let len = data.len() as u32;
    let ng = [
        PLAIN.section(),
        PLAIN.interface(1, 0, &[(2, b"eth0")]),
        PLAIN.enhanced(0, 1, &data, len),
        PLAIN.block(4, &[0; 40]),
        PLAIN.enhanced(0, 2, &data, len),
    ];
    let pcap = [
        PLAIN.header(4, 1),
        PLAIN.record(1, 0, &data, len),
        PLAIN.record(2, 0, &data, len),
    ];
    for (parts, is_packet) in [
        (&ng[..], [false, false, true, false, true].as_slice()),
        (&pcap, &[false, true, true]),
    ] {
        let whole = parts.concat();
        let ends: Vec<_> = parts
            .iter()
            .scan(0, |end, part| {
                *end += part.len();
                Some(*end)
            })
            .collect();
        for n in 0..=whole.len() {
            let (rows, problems) = read_bytes(&whole[..n]);
            let packets = ends
                .iter()
                .zip(is_packet)
                .filter(|(end, packet)| **packet && **end <= n)
                .count();
            assert_eq!(rows.len(), packets, "{n} bytes");
            let begins = ends
                .iter()
                .copied()
                .filter(|end| *end <= n)
                .next_back()
                .unwrap_or(0);
            match problems.as_slice() {
                [] => assert!(ends.contains(&n), "{n} bytes and no problem"),
                [
                    CaptureError {
                        problem: Problem::NotACapture(_),
                        ..
                    },
                ] => assert!(n < 4),
                [
                    error @ CaptureError {
                        problem: Problem::Cut { offset, have, .. },
                        file,
                    },
                ] => {
                    assert_eq!(
                        (*offset, *have),
                        (begins as u64, (n - begins) as u64),
                        "{n} bytes"
                    );
                    let text = error.to_string();
                    assert!(
                        text.contains(file) && text.contains(&format!("byte {offset}")),
                        "{text}"
                    );
                }
                other => panic!("{n} bytes: {other:?}"),
            }
        }
    }
}

#[test]
fn damaged_files_are_read_as_far_as_they_go() {
    let data = frame(1, b"x");
    let len = data.len() as u32;
    let good = PLAIN.enhanced(0, 1, &data, len);
    let start = [PLAIN.section(), PLAIN.interface(1, 0, &[]), good.clone()].concat();
    let mut wrong_end = good.clone();
    let last = wrong_end.len() - 1;
    wrong_end[last] = 1;
    let mut absurd = PLAIN.record(1, 0, &data, len);
    absurd[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut long_block = good.clone();
    long_block[4..8].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let mut long_packet = good.clone();
    long_packet[20..24].copy_from_slice(&(len + 400).to_le_bytes());
    let table: &[(&str, Vec<u8>, &str)] = &[
        (
            "a packet of 4 GiB",
            [PLAIN.pcap(1, 1), absurd, vec![0; 99]].concat(),
            "claims 4294967295 bytes",
        ),
        (
            "a block of 4 GiB",
            [start.clone(), long_block, vec![0; 99]].concat(),
            "claims 4294967280 bytes",
        ),
        (
            "a block of length 0",
            [start.clone(), vec![0; 40]].concat(),
            "length 0",
        ),
        (
            "two lengths",
            [start.clone(), wrong_end].concat(),
            "at its end",
        ),
        (
            "a packet larger than its block",
            [start.clone(), long_packet].concat(),
            "with room for",
        ),
        (
            "no byte-order magic",
            [start.clone(), PLAIN.block(0x0a0d_0d0a, &[0; 16])].concat(),
            "byte-order magic",
        ),
    ];
    for (name, bytes, what) in table {
        let (rows, problems) = read_bytes(bytes);
        assert_eq!(rows.len(), 1, "{name}");
        let text = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(
            text.contains(what) && text.contains("byte "),
            "{name}: {text}"
        );
    }
    // An unknown interface costs its packets only.
    let file = [start, PLAIN.enhanced(7, 1, &data, len), good].concat();
    let (rows, problems) = read_bytes(&file);
    assert_eq!(rows.len(), 2);
    assert!(matches!(
        problems[0].problem,
        Problem::UnknownInterface { interface: 7, .. }
    ));
}

#[test]
fn what_is_no_capture() {
    let scratch = Scratch::new("no-capture");
    let missing = scratch.0.join("missing.pcap");
    let text = scratch.file("notes/readme.txt", b"Captures of the week");
    let table: &[(&Path, &str)] = &[
        (&missing, "cannot be opened"),
        (&text, "is no capture: its first bytes are unknown"),
        (&scratch.0, "holds no capture"),
    ];
    for (path, what) in table {
        let mut frames = Frames::open(&[path.to_path_buf()]);
        assert!(frames.next_frame().is_none());
        let errors = frames.take_problems();
        let [error] = errors.as_slice() else {
            panic!("{errors:?}")
        };
        let text = error.to_string();
        assert!(
            text.starts_with(&path.display().to_string()) && text.contains(what),
            "{text}"
        );
    }
    assert!(matches!(
        read_bytes(b"").1[0].problem,
        Problem::NotACapture("it is empty")
    ));
}

#[test]
fn folders_are_read_in_time_order_and_other_files_skipped() {
    let scratch = Scratch::new("folder");
    let text = scratch.file("a/readme.txt", b"Captures of the week");
    scratch.file("b.pcap", &PLAIN.pcap(10, 3));
    scratch.file("a/z.pcap.gz", &PLAIN.pcap(11, 3));
    scratch.file("c/empty", b"");
    let cut = PLAIN.pcap(1, 2);
    scratch.file("c/cut.pcap", &cut[..cut.len() - 1]);
    let mut frames = Frames::open(std::slice::from_ref(&scratch.0));
    let rows = read(&mut frames);
    let seconds: Vec<_> = rows.iter().map(|row| row.0 / 1_000_000_000).collect();
    assert_eq!(seconds, [1, 10, 11, 11, 12, 12, 13]);
    assert_eq!(frames.skipped(), [text, scratch.0.join("c/empty")]);
    let problems = frames.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].file.ends_with("cut.pcap"), "{problems:?}");
}

/// Within a file the order is the file's, whatever its times say.
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
    let seconds: Vec<_> = read(&mut frames)
        .iter()
        .map(|row| row.0 / 1_000_000_000)
        .collect();
    assert_eq!(seconds, [4, 5, 3, 9]);
}

/// A pipe whose other end the test holds.
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

/// A packet is there as soon as its last byte is, compressed or not.
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
        assert!(
            seen.recv_timeout(Duration::from_millis(20)).is_err(),
            "not whole yet"
        );
        to_reader.send(last.to_vec()).unwrap();
        assert_eq!(
            seen.recv_timeout(wait),
            Ok(u64::from(second) * 1_000_000_000)
        );
    }
    drop(to_reader);
    assert_eq!(reader.join().unwrap(), 0);
}

/// One TCP segment, one record.
#[test]
fn records() {
    let tcp = |build: &dyn Fn(
        etherparse::PacketBuilderStep<etherparse::TcpHeader>,
    ) -> etherparse::PacketBuilderStep<etherparse::TcpHeader>,
               payload: &[u8]| {
        let step = PacketBuilder::ethernet2([1; 6], [2; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(80, 50000, 1000, 4000);
        let mut out = Vec::new();
        build(step).write(&mut out, payload).unwrap();
        out
    };
    let fin = tcp(&|t| t.fin().ack(5), b"HTTP/1.1 200 OK");
    let frames: &[(Vec<u8>, usize)] = &[
        (tcp(&|t| t.syn(), b""), 0),
        (tcp(&|t| t.syn().ack(7), b""), 0),
        (tcp(&|t| t.syn(), b"GET"), 0),
        (tcp(&|t| t.ack(7), b""), 0),
        (tcp(&|t| t.ack(7), b"HTTP"), 0),
        (fin.clone(), 0),
        (fin, 11),
        (tcp(&|t| t.rst().ack(7), b"goodbye"), 0),
    ];
    let mut file = PLAIN.header(4, 1);
    for (data, cut) in frames {
        file.extend(PLAIN.record(1, 0, &data[..data.len() - cut], data.len() as u32));
    }
    let mut replay = Replay::new(
        Frames::from_reader("test", Box::new(std::io::Cursor::new(file))),
        ReplayOptions::default(),
    );
    let mut rows = Vec::new();
    while let Some(record) = replay.next_record() {
        let h = *record.header;
        assert_eq!((h.skip_from, h.skip_to), (h.seq, h.seq + h.len));
        rows.push((h.flags, h.seq, h.ack, record.bytes.to_vec()));
        assert_eq!(
            replay
                .interface_name(h.interfaces[0])
                .map(|n| n.to_string()),
            Some("test".to_owned())
        );
    }
    const BEGINS: u16 = flag::SEGMENT_BEGINS;
    let expected: &[(u16, u32, u32, &[u8])] = &[
        (flag::SYN, 1001, 0, b""),
        (flag::SYN | flag::ACK, 1001, 7, b""),
        (flag::SYN | BEGINS, 1001, 0, b"GET"),
        (flag::ACK, 1000, 7, b""),
        (flag::ACK | BEGINS, 1000, 7, b"HTTP"),
        (flag::ACK | BEGINS | flag::FIN, 1000, 5, b"HTTP/1.1 200 OK"),
        // Cut by the snap length: the FIN is where it was, and what is missing is a hole.
        (flag::ACK | BEGINS, 1000, 5, b"HTTP"),
        (flag::ACK | flag::FIN, 1015, 5, b""),
        (flag::ACK | flag::RST, 1000, 7, b""),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(flags, seq, ack, bytes)| (*flags, *seq, *ack, bytes.to_vec()))
        .collect();
    assert_eq!(rows, expected);
    let counts = replay.counts();
    assert_eq!(
        (
            counts.frames,
            counts.segments,
            counts.cut_segments,
            counts.cut_bytes
        ),
        (8, 8, 1, 11)
    );
}

/// Link types that are not known are refused by name, once a file.
#[test]
fn unknown_link_type() {
    let mut file = PLAIN.header(4, 195);
    for _ in 0..3 {
        file.extend(PLAIN.record(1, 0, &frame(1, b"HTTP"), 58));
    }
    let mut replay = Replay::new(
        Frames::from_reader("test", Box::new(std::io::Cursor::new(file))),
        ReplayOptions::default(),
    );
    assert!(replay.next_record().is_none());
    assert_eq!(
        replay.counts().reasons().collect::<Vec<_>>(),
        [("link_type", 3)]
    );
    let [error] = replay.problems() else {
        panic!("{:?}", replay.problems())
    };
    assert!(
        error.to_string().contains("195 (IEEE802_15_4_WITHFCS)"),
        "{error}"
    );
}

/// A segment in fragments, in any order and with copies, is one record.
#[test]
fn fragments() {
    let whole = frame(1000, &[b'x'; 100]);
    let (head, body) = whole[14..].split_at(20);
    let piece = |id: u8, from: usize, to: usize, fill: Option<u8>| {
        let mut header = head.to_vec();
        let data = match fill {
            Some(byte) => vec![byte; to - from],
            None => body[from..to].to_vec(),
        };
        let more = if to < body.len() { 0x20 } else { 0 };
        header[2..4].copy_from_slice(&(20 + data.len() as u16).to_be_bytes());
        header[5] = id;
        header[6] = more;
        header[7] = (from / 8) as u8;
        [&whole[..14], &header, &data].concat()
    };
    let n = body.len();
    let table: &[(&str, Vec<Vec<u8>>, usize, u64)] = &[
        (
            "in order",
            vec![
                piece(1, 0, 24, None),
                piece(1, 24, 80, None),
                piece(1, 80, n, None),
            ],
            1,
            0,
        ),
        (
            "backwards",
            vec![
                piece(1, 80, n, None),
                piece(1, 24, 80, None),
                piece(1, 0, 24, None),
            ],
            1,
            0,
        ),
        (
            "copies",
            vec![
                piece(1, 0, 24, None),
                piece(1, 0, 24, None),
                piece(1, 24, n, None),
            ],
            1,
            0,
        ),
        (
            "overlap, the first wins",
            vec![
                piece(1, 0, 48, None),
                piece(1, 24, 80, Some(0)),
                piece(1, 48, n, None),
            ],
            1,
            1,
        ),
        (
            "other ids",
            vec![piece(1, 0, 24, None), piece(2, 24, n, None)],
            0,
            0,
        ),
        (
            "a hole",
            vec![piece(1, 0, 24, None), piece(1, 80, n, None)],
            0,
            0,
        ),
    ];
    for (name, pieces, records, differing) in table {
        let mut file = PLAIN.header(4, 1);
        for data in pieces {
            file.extend(PLAIN.record(1, 0, data, data.len() as u32));
        }
        let mut replay = Replay::new(
            Frames::from_reader("test", Box::new(std::io::Cursor::new(file))),
            ReplayOptions {
                verify_checksums: false,
            },
        );
        let mut found = Vec::new();
        while let Some(record) = replay.next_record() {
            found.push((record.header.seq, record.bytes.to_vec()));
        }
        // Where bytes differ, those of the first copy are there: offset 48 on came from the zeros.
        let mut payload = vec![b'x'; 100];
        if *differing > 0 {
            payload[28..60].fill(0);
        }
        let expected = vec![(1000, payload); *records];
        assert_eq!(found, expected, "{name}");
        let counts = replay.counts().fragments;
        assert_eq!(counts.reassembled as usize, *records, "{name}");
        assert_eq!(
            counts.differing_overlaps > 0,
            *differing > 0,
            "{name}: {counts:?}"
        );
    }
}

proptest! {
    /// Any bytes behind a good beginning end, and never panic.
    #[test]
    fn any_bytes(
        which in 0usize..4,
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let data = frame(1, b"x");
        let mut file = match which {
            0 => Vec::new(),
            1 => PLAIN.pcap(1, 3),
            2 => Style { big_endian: true, nanoseconds: true }.pcap(1, 3),
            _ => [
                PLAIN.section(),
                PLAIN.interface(1, 0, &[(2, b"eth0"), (9, &[9])]),
                PLAIN.enhanced(0, 1, &data, data.len() as u32),
                PLAIN.enhanced(0, 2, &data, data.len() as u32),
            ].concat(),
        };
        file.extend_from_slice(&bytes);
        for (at, value) in &changes {
            if !file.is_empty() {
                let at = at.index(file.len());
                file[at] = *value;
            }
        }
        let mut replay = Replay::new(
            Frames::from_reader("test", Box::new(std::io::Cursor::new(file))),
            ReplayOptions::default(),
        );
        while let Some(record) = replay.next_record() {
            prop_assert_eq!(record.header.len as usize, record.bytes.len());
        }
        for problem in replay.problems() {
            prop_assert!(!problem.to_string().is_empty());
        }
    }
}
