//! Truncated, damaged and unreadable captures are read as far as possible, and the error is reported.

use std::io::Cursor;
use std::path::Path;

use http_trace::capture::{CaptureError, Frames, Problem, Replay, ReplayOptions};
use proptest::prelude::*;

use http_trace_testkit::files::*;

use crate::rows::*;

/// All complete packets of a truncated file are delivered, and the truncation is reported with its offset.
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
    let pcap = [PLAIN.header(4, 1), PLAIN.record(1, 0, &data, len), PLAIN.record(2, 0, &data, len)];
    for (parts, is_packet) in
        [(&ng[..], [false, false, true, false, true].as_slice()), (&pcap, &[false, true, true])]
    {
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
            let packets =
                ends.iter().zip(is_packet).filter(|(end, packet)| **packet && **end <= n).count();
            assert_eq!(rows.len(), packets, "{n} bytes");
            let begins = ends.iter().copied().rfind(|end| *end <= n).unwrap_or(0);
            match problems.as_slice() {
                [] => assert!(ends.contains(&n), "{n} bytes and no problem"),
                [CaptureError { problem: Problem::NotACapture(_), .. }] => assert!(n < 4),
                [error @ CaptureError { problem: Problem::Cut { offset, have, .. }, file }] => {
                    assert_eq!((*offset, *have), (begins as u64, (n - begins) as u64), "{n} bytes");
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
        ("two files in one", [PLAIN.pcap(1, 1), PLAIN.pcap(1, 1)].concat(), "another capture"),
        (
            "a block of 4 GiB",
            [start.clone(), long_block, vec![0; 99]].concat(),
            "claims 4294967280 bytes",
        ),
        ("a block of length 0", [start.clone(), vec![0; 40]].concat(), "length 0"),
        ("two lengths", [start.clone(), wrong_end].concat(), "at its end"),
        ("a packet larger than its block", [start.clone(), long_packet].concat(), "with room for"),
        (
            "no byte-order magic",
            [start.clone(), PLAIN.block(0x0a0d_0d0a, &[0; 16])].concat(),
            "byte-order magic",
        ),
    ];
    for (name, bytes, what) in table {
        let (rows, problems) = read_bytes(bytes);
        assert_eq!(rows.len(), 1, "{name}");
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains(what) && text.contains("byte "), "{name}: {text}");
    }
    // Only packets of an undescribed interface are left out.
    let file = [start, PLAIN.enhanced(7, 1, &data, len), good].concat();
    let (rows, problems) = read_bytes(&file);
    assert_eq!(rows.len(), 2);
    assert!(matches!(problems[0].problem, Problem::UnknownInterface { interface: 7, .. }));
}

#[test]
fn what_is_no_capture() {
    let scratch = Scratch::new("no-capture");
    let missing = scratch.0.join("missing.pcap");
    let text = scratch.file("notes/readme.txt", b"Captures of the week");
    let table: &[(&Path, &str)] = &[
        (&missing, "cannot be opened"),
        (&text, "is not a capture: it is text"),
        (&scratch.0, "holds no captures"),
    ];
    for (path, what) in table {
        let mut frames = Frames::open(&[path.to_path_buf()]);
        assert!(frames.next_frame().is_none());
        let errors = frames.take_problems();
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        let text = error.to_string();
        assert!(text.starts_with(&path.display().to_string()) && text.contains(what), "{text}");
    }
    let tar = |name: &[u8]| [name, &vec![0; 257 - name.len()], b"ustar\0"].concat();
    // A line of a log, as its client can make it.
    let like_tar = [&[b'a'; 257][..], b"ustar"].concat();
    for (begin, expected) in [
        (&b"snoop\0\0\0"[..], "convert it with `editcap -F pcap`"),
        (&tar(b"site/access.log"), "it is a tar archive: unpack it"),
        (&tar(b"./"), "it is a tar archive: unpack it"),
        (&like_tar, "it is text"),
        (b"ABCD\0\x01", "its format is unknown"),
        (b"BZh5....", "`bzip2 -dc FILE | http-trace -r -`"),
        (b"\xfd7zXZ\0..", "`xz -dc FILE | http-trace -r -`"),
        (b"\x01\x02\x03\x04\x05", "its format is unknown"),
    ] {
        let text = read_bytes(begin).1[0].to_string();
        assert!(text.contains(expected), "{text}");
    }
    let twice = gzip(&gzip(&PLAIN.pcap(100, 3)));
    let text = read_bytes(&twice).1[0].to_string();
    assert!(text.contains("compressed twice: decompress it once"), "{text}");
    assert!(matches!(read_bytes(b"").1[0].problem, Problem::NotACapture("it is empty")));
}

/// A folder that cannot be listed may contain captures.
#[test]
fn a_folder_that_cannot_be_listed_is_not_called_empty() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("locked");
    let inner = scratch.0.join("locked");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read_dir(&inner).is_ok() {
        return; // root can read everything
    }
    for folder in [&inner, &scratch.0] {
        let errors = Frames::open(std::slice::from_ref(folder)).take_problems();
        let [error] = errors.as_slice() else { panic!("{errors:?}") };
        assert!(matches!(error.problem, Problem::Open(_)), "{error}");
    }
    std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o700)).unwrap();
}

proptest! {
    /// Arbitrary bytes after a valid start end reading, without a panic.
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
            Frames::from_reader("test", Box::new(Cursor::new(file))),
            ReplayOptions::default(),
        );
        while let Some(record) = replay.next_record() {
            prop_assert_eq!(record.header.len as usize, record.bytes.len());
        }
        for problem in replay.frames.problems() {
            prop_assert!(!problem.to_string().is_empty());
        }
    }
}

/// The last line tells what the snap length cut off, whether or not the filter runs.
#[test]
fn what_the_snap_length_cut_off_was_not_readable() {
    let body = [b'x'; 1_000];
    let answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".as_slice(), &body].concat();
    let talk = crate::open().ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").answer(&answer);
    let scratch = Scratch::new("snap-length");
    for (snap_length, expected) in [
        (40, "bytes of connections were not seen (2 truncated segments); none of it gave an event"),
        (100, "bytes of connections were not seen (1 gap); the rest was readable"),
        (2_000, "nothing was lost; everything was readable"),
    ] {
        let mut file = PLAIN.header(4, 101);
        for (n, frame) in (1..).zip(talk.frames()) {
            let kept = &frame[..frame.len().min(snap_length)];
            file.extend(PLAIN.record(n, 0, kept, frame.len() as u32));
        }
        let path = scratch.file("cut.pcap", &file);
        for (more, expected) in [
            (&["--kernel-filter"][..], expected),
            (
                &[],
                if snap_length < 2_000 { "bytes of connections were not seen (" } else { expected },
            ),
        ] {
            let ran = crate::command::run(&[&["-r", path.to_str().unwrap()], more].concat());
            let last = ran.err.lines().last().unwrap_or_default();
            assert!(last.contains(expected), "{snap_length} {more:?}: {}", ran.err);
            assert!(snap_length == 2_000 || !last.contains("everything"), "{last}");
        }
    }
}

/// Heads that a snap length cut after their first lines are events and pair, as if they had been whole.
#[test]
fn heads_that_are_cut_pair() {
    let padding = format!("X-Long: {}", "x".repeat(400));
    let mut talk = crate::open();
    for n in 0..6 {
        let body = "x".repeat(n * 700);
        let length = body.len();
        let asked = format!("GET /{n}?a=<script> HTTP/1.1\r\nHost: x\r\n{padding}\r\n\r\n");
        let answer =
            format!("HTTP/1.1 20{n} OK\r\n{padding}\r\nContent-Length: {length}\r\n\r\n{body}");
        talk = talk.ask(asked.as_bytes());
        for segment in answer.as_bytes().chunks(1_400) {
            talk = talk.answer(segment);
        }
    }
    let whole =
        http_trace_testkit::pcap::temporary(http_trace_testkit::tcp::LinkType::Raw, &talk.frames());
    let whole = std::fs::read(whole.path()).unwrap();
    let scratch = Scratch::new("cut-heads");
    for snap_length in [120, 300, 600, 2_000] {
        let path = scratch.file("cut.pcap", &http_trace_testkit::pcap::cut(&whole, snap_length));
        for more in [&["--kernel-filter"][..], &[]] {
            let path = path.to_str().unwrap();
            let ran = crate::command::run(&[&["-r", path, "-o", "json"], more].concat());
            let records = crate::admitted(&ran);
            let events = records.iter().filter(|record| record["event"]["kind"] == "event");
            let pairs = events.map(|event| {
                let status = &event["http"]["response"]["status_code"];
                // The rest of the head may have declared a body.
                let size = &event["http"]["request"]["body"]["bytes"];
                assert_eq!(size.is_null(), snap_length < 600, "{event}");
                format!("{status} {}", event["url"]["path"].as_str().unwrap_or_default())
            });
            let expected: Vec<_> = (0..6).map(|n| format!("20{n} /{n}")).collect();
            assert_eq!(pairs.collect::<Vec<_>>(), expected, "{snap_length} {more:?}");
        }
    }
}

/// A capture of these frames, each cut to its length.
fn cut_each(frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut file = PLAIN.header(4, 101);
    for (n, (frame, len)) in (1..).zip(frames) {
        let kept = &frame[..frame.len().min(*len)];
        file.extend(PLAIN.record(n, 0, kept, frame.len() as u32));
    }
    file
}

/// `STATUS PATH no_response missing` of each event, without and with the filter.
fn told(scratch: &Scratch, file: &[u8]) -> [Vec<String>; 2] {
    let path = scratch.file("cut.pcap", file);
    let path = path.to_str().unwrap();
    [&[][..], &["--kernel-filter"]].map(|more| {
        let ran = crate::command::run(&[&["-r", path, "-o", "json"], more].concat());
        let records = crate::admitted(&ran);
        let events = records.iter().filter(|record| record["event"]["kind"] == "event");
        let shown = events.map(|event| {
            let status = &event["http"]["response"]["status_code"];
            let own = &event["http_trace"];
            let (path, why) = (&event["url"]["path"], &own["no_response"]);
            format!("{status} {path} {why} {}", own["missing"])
        });
        shown.collect()
    })
}

/// As of two points with different snap lengths.
#[test]
fn whole_copies_behind_cut_ones_count() {
    let answer = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(300));
    let mut talk = crate::open();
    for n in 0..3 {
        let asked = format!("GET /{n} HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(300));
        talk = talk.ask(asked.as_bytes()).answer(answer.as_bytes());
    }
    let twice = talk.frames().into_iter().flat_map(|frame| [(frame.clone(), 120), (frame, 9_000)]);
    let file = cut_each(&twice.collect::<Vec<_>>());
    let expected: Vec<_> = (0..3).map(|n| format!("200 \"/{n}\" null []")).collect();
    let [plain, _] = told(&Scratch::new("two-taps"), &file);
    assert_eq!(plain, expected);
}

/// Of a connection that was open before, and of a client that does not wait.
#[test]
fn cut_bodies_and_lines_lose_no_response_and_pair_none_wrongly() {
    let scratch = Scratch::new("cut-bodies");
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n{}\r\n0\r\n\r\n",
        "x".repeat(512)
    );
    let mut talk = crate::open();
    for n in 0..4 {
        let asked = format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n");
        talk = talk.ask(asked.as_bytes()).answer(chunked.as_bytes());
    }
    let frames = talk.frames();
    for begin in [0, frames.len() - 8] {
        let cut: Vec<_> = frames[begin..].iter().map(|frame| (frame.clone(), 200)).collect();
        for told in told(&scratch, &cut_each(&cut)) {
            let paths: Vec<_> = told.iter().map(|event| &event[..8]).collect();
            assert_eq!(
                paths,
                [r#"200 "/0""#, r#"200 "/1""#, r#"200 "/2""#, r#"200 "/3""#],
                "{begin}"
            );
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "l".repeat(300));
    let talk = crate::open()
        .ask(long.as_bytes())
        .ask(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
        .answer(b"HTTP/1.1 201 Long\r\nContent-Length: 0\r\n\r\n")
        .answer(b"HTTP/1.1 202 Short\r\nContent-Length: 0\r\n\r\n");
    let cut: Vec<_> = talk.frames().into_iter().map(|frame| (frame, 150)).collect();
    for told in told(&scratch, &cut_each(&cut)) {
        assert!(told.iter().all(|event| !event.starts_with("201 \"/short")), "{told:?}");
        assert!(told.iter().any(|event| event.starts_with("201 ")), "{told:?}");
    }
}

/// Behind a head that is cut, a body may imitate requests.
#[test]
fn what_may_be_a_body_is_no_request_without_an_answer() {
    let post = format!("POST /1 HTTP/1.1\r\nContent-Length: 62\r\nX: {}\r\n\r\n", "x".repeat(300));
    let talk = crate::open()
        .ask(post.as_bytes())
        .ask(b"GET /fake HTTP/1.1\r\nHost: x\r\n\r\n")
        .ask(b"GET /fake HTTP/1.1\r\nHost: x\r\n\r\n");
    let cut: Vec<_> = talk.frames().into_iter().map(|frame| (frame, 150)).collect();
    for told in told(&Scratch::new("fake"), &cut_each(&cut)) {
        assert_eq!(told, [r#"null "/1" "unseen" ["request_headers"]"#]);
    }
}
