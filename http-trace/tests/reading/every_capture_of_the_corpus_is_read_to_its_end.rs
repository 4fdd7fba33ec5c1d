//! Every capture of the public corpus opens and is read to its end.

use std::path::PathBuf;

use http_trace::capture::{Replay, ReplayOptions};

/// The folder of public captures, if there is one.
fn corpus() -> Option<Vec<PathBuf>> {
    let folder = std::env::var_os("HTTP_TRACE_CORPUS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpus")),
        PathBuf::from,
    );
    let mut files: Vec<_> = std::fs::read_dir(folder.join("pcap"))
        .ok()?
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .collect();
    files.sort();
    Some(files)
}

#[test]
fn every_capture_is_read_to_its_end() {
    let Some(files) = corpus() else {
        println!(
            "SKIPPED (needs the public corpus): capture_corpus::every_capture_is_read_to_its_end"
        );
        return;
    };
    let mut segments = 0;
    for file in &files {
        let mut replay = Replay::open(std::slice::from_ref(file), ReplayOptions::default());
        let mut records = 0u64;
        while let Some(record) = replay.next_record() {
            assert_eq!(record.header.len as usize, record.bytes.len());
            records += 1;
        }
        let counts = replay.counts();
        assert!(
            replay.frames.problems().is_empty(),
            "{}: {:?}",
            file.display(),
            replay.frames.problems()
        );
        // Every frame is accounted for: a segment, a skip reason, disproved, or a fragment.
        let skipped: u64 = counts.skipped.iter().sum();
        assert_eq!(
            counts.segments + skipped + counts.disproved + counts.fragments.fragments
                - counts.fragments.reassembled,
            counts.frames,
            "{}: {counts:?}",
            file.display()
        );
        segments += records;
    }
    println!("{} captures, {segments} records", files.len());
    assert!(files.is_empty() || segments > 0, "not one TCP segment in {} captures", files.len());
}
