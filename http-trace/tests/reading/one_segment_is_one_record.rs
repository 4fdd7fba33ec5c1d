//! Each captured TCP segment yields one record.

use std::io::Cursor;

use http_trace::capture::{Frames, Replay, ReplayOptions};
use http_trace_common::record::flag;

use http_trace_testkit::files::*;
use http_trace_testkit::scene::Side;
use http_trace_testkit::tcp::{Path, Segment};

/// One record per TCP segment.
#[test]
fn records() {
    let tcp = |set: &dyn Fn(&mut Segment), payload: &[u8]| {
        let mut segment = Segment { ack: 7, ..Segment::new(Side::Server, 1000, payload) };
        set(&mut segment);
        Path::v4(50_000).frame(&segment)
    };
    // A SYN without ACK is from a client.
    let syn = |payload: &[u8]| tcp(&|s| (s.from, s.ack, s.syn) = (Side::Client, 0, true), payload);
    let fin = tcp(&|s| (s.ack, s.fin) = (5, true), b"HTTP/1.1 200 OK");
    let frames: &[(Vec<u8>, usize)] = &[
        (syn(b""), 0),
        (tcp(&|s| s.syn = true, b""), 0),
        (syn(b"GET"), 0),
        (tcp(&|_| (), b""), 0),
        (tcp(&|_| (), b"HTTP"), 0),
        (fin.clone(), 0),
        (fin, 11),
        (tcp(&|s| s.rst = true, b"goodbye"), 0),
    ];
    let mut file = PLAIN.header(4, 1);
    for (data, cut) in frames {
        file.extend(PLAIN.record(1, 0, &data[..data.len() - cut], data.len() as u32));
    }
    let mut replay = Replay::new(
        Frames::from_reader("test", Box::new(Cursor::new(file))),
        ReplayOptions::default(),
    );
    let mut rows = Vec::new();
    while let Some(record) = replay.next_record() {
        let h = *record.header;
        assert_eq!(h.skip_from, h.seq);
        let cut = h.skip_to - h.seq - h.len;
        rows.push((h.flags, h.seq, h.ack, record.bytes.to_vec(), cut));
        assert_eq!(
            replay.frames.interface_name(h.interfaces[0]).map(|n| n.to_string()),
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
        // Truncated by the snap length: the FIN keeps its position, and the missing bytes are a gap.
        (flag::ACK | BEGINS, 1000, 5, b"HTTP"),
        (flag::ACK | flag::FIN, 1015, 5, b""),
        (flag::ACK | flag::RST, 1000, 7, b""),
    ];
    let expected: Vec<_> = expected
        .iter()
        .zip([0, 0, 0, 0, 0, 0, 11, 0, 0])
        .map(|((flags, seq, ack, bytes), cut)| (*flags, *seq, *ack, bytes.to_vec(), cut))
        .collect();
    assert_eq!(rows, expected);
    let counts = replay.counts();
    assert_eq!(
        (counts.frames, counts.segments, counts.cut_segments, counts.cut_bytes),
        (8, 8, 1, 11)
    );
}

/// Segments without flags are taken until one has flags: no TCP sends them, but tools that make packets of a text do.
#[test]
fn segments_of_a_tool_have_no_flags() {
    let frame = |flagged: bool, seq: u32| {
        let mut frame = Path::v4(50_000).frame(&Segment::new(Side::Server, seq, b"HTTP"));
        frame[14 + 20 + 13] = if flagged { 0x10 } else { 0 };
        frame
    };
    let mut file = PLAIN.header(4, 1);
    for (flagged, seq) in [(false, 0), (false, 4), (true, 8), (false, 12), (true, 16)] {
        let frame = frame(flagged, seq);
        file.extend(PLAIN.record(1, 0, &frame, frame.len() as u32));
    }
    let frames = Frames::from_reader("test", Box::new(Cursor::new(file)));
    let mut replay = Replay::new(frames, ReplayOptions::default());
    let mut taken = Vec::new();
    while let Some(record) = replay.next_record() {
        taken.push((record.header.seq, record.header.has(flag::ACK)));
    }
    assert_eq!(taken, [(0, true), (4, true), (8, true), (16, true)]);
    assert_eq!(replay.counts().disproved, 1);
}

/// Unsupported link types are reported by name, once per file.
#[test]
fn unknown_link_type() {
    let mut file = PLAIN.header(4, 195);
    for _ in 0..3 {
        file.extend(PLAIN.record(1, 0, &frame(1, b"HTTP"), 58));
    }
    let mut replay = Replay::new(
        Frames::from_reader("test", Box::new(Cursor::new(file))),
        ReplayOptions::default(),
    );
    assert!(replay.next_record().is_none());
    assert_eq!(replay.counts().reasons().collect::<Vec<_>>(), [("link_type", 3)]);
    let [error] = replay.frames.problems() else { panic!("{:?}", replay.frames.problems()) };
    assert!(error.to_string().contains("195 (IEEE802_15_4_WITHFCS)"), "{error}");
}

/// A fragmented segment, with fragments in any order and duplicated, yields one record.
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
            vec![piece(1, 0, 24, None), piece(1, 24, 80, None), piece(1, 80, n, None)],
            1,
            0,
        ),
        (
            "backwards",
            vec![piece(1, 80, n, None), piece(1, 24, 80, None), piece(1, 0, 24, None)],
            1,
            0,
        ),
        ("copies", vec![piece(1, 0, 24, None), piece(1, 0, 24, None), piece(1, 24, n, None)], 1, 0),
        (
            "a part of it again, whatever it says",
            vec![piece(1, 0, 48, None), piece(1, 24, 48, Some(0)), piece(1, 48, n, None)],
            1,
            0,
        ),
        (
            "overlap, as Linux drops it",
            vec![piece(1, 0, 48, None), piece(1, 24, 80, Some(0)), piece(1, 48, n, None)],
            0,
            1,
        ),
        (
            "overlap, and another packet of the same name",
            vec![
                piece(1, 0, 48, None),
                piece(1, 24, 80, Some(0)),
                piece(1, 48, n, None),
                piece(1, 0, 48, None),
                piece(1, 48, n, None),
            ],
            1,
            1,
        ),
        ("other ids", vec![piece(1, 0, 24, None), piece(2, 24, n, None)], 0, 0),
        ("a hole", vec![piece(1, 0, 24, None), piece(1, 80, n, None)], 0, 0),
    ];
    for (name, pieces, records, overlapping) in table {
        let mut file = PLAIN.header(4, 1);
        for data in pieces {
            file.extend(PLAIN.record(1, 0, data, data.len() as u32));
        }
        let mut replay = Replay::new(
            Frames::from_reader("test", Box::new(Cursor::new(file))),
            ReplayOptions { verify_checksums: false },
        );
        let mut found = Vec::new();
        while let Some(record) = replay.next_record() {
            found.push((record.header.seq, record.bytes.to_vec()));
        }
        let expected = vec![(1000, vec![b'x'; 100]); *records];
        assert_eq!(found, expected, "{name}");
        let counts = replay.counts().fragments;
        assert_eq!(counts.reassembled as usize, *records, "{name}");
        assert_eq!(counts.overlapping, *overlapping, "{name}: {counts:?}");
    }
}
