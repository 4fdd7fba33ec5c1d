//! Any bytes as a capture file: reading ends without a panic, allocates nothing that only a length field
//! claims, and its counts add up.
#![no_main]

use std::io::Cursor;

use http_trace::capture::{Frames, Replay, ReplayOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let frames = Frames::from_reader("fuzz", Box::new(Cursor::new(data.to_vec())));
    let mut replay = Replay::new(frames, ReplayOptions::default());
    let mut records = 0;
    while let Some(record) = replay.next_record() {
        assert_eq!(record.header.len as usize, record.bytes.len());
        assert!(record.header.skip_to.wrapping_sub(record.header.seq) >= record.header.len);
        records += 1;
    }
    let counts = replay.counts();
    assert!(counts.segments <= records && records <= 2 * counts.segments);
    let skipped: u64 = counts.skipped.iter().sum();
    let left_out = skipped + counts.disproved;
    assert!(counts.segments + left_out + counts.fragments.fragments >= counts.frames);
    for problem in replay.frames.problems() {
        assert!(problem.to_string().contains("fuzz"));
    }
});
