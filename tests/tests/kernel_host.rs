//! The filter in the kernel and on the host: the same frames, pushed through BPF_PROG_TEST_RUN and
//! through the host's filter, ship the same records but for time, CPU, interface, hook and socket.

use std::path::{Path, PathBuf};

use http_trace::capture::Frames;
use http_trace::probe::loader::Framing;
use http_trace_common::config::FilterConfig;
use http_trace_common::counter::Counter;
use http_trace_common::record::Record;
use http_trace_common::walk::LinkType;
use http_trace_tests::both::both;
use http_trace_tests::need::{self, skipped};
use http_trace_tests::{at_tc, essence, own_captures, public_captures};

/// What BPF_PROG_TEST_RUN takes: less than a page with its own headroom and tail.
const LARGEST: usize = 3500;

/// Frames of a capture, or `None` when it has some that this test cannot push.
fn frames(capture: &Path) -> Option<Vec<Vec<u8>>> {
    let mut frames = Frames::open(&[capture.to_owned()]);
    let mut all = Vec::new();
    while let Some(frame) = frames.next_frame() {
        let fits =
            (14..=LARGEST).contains(&frame.data.len()) && frame.data.len() as u32 == frame.wire_len;
        if frame.link != LinkType::ETHERNET || !fits {
            return None;
        }
        all.push(frame.data.to_vec());
    }
    Some(all)
}

/// Both filters over the frames; each frame's records must agree. How many records there were.
fn compare(name: &str, frames: &[Vec<u8>], framing: Framing) -> usize {
    let (mut kernel, mut host) = both(framing, FilterConfig::DEFAULT);
    let mut records = 0;
    for (i, frame) in frames.iter().enumerate() {
        let mut by_kernel = Vec::new();
        kernel
            .push(frame, |record| by_kernel.push(essence(&record)))
            .expect("a test run");
        let mut by_host = Vec::new();
        let context = at_tc(i, frame);
        let mut keep = |record: Record<'_>| by_host.push(essence(&record));
        host.push_ethernet(frame, &context, &mut keep);
        assert_eq!(by_kernel, by_host, "{name}, frame {}", i + 1);
        records += by_host.len();
    }
    for counter in [
        Counter::BodySkipped,
        Counter::BecameUnsure,
        Counter::FlowsAdmitted,
        Counter::FlowsClosed,
    ] {
        assert_eq!(
            kernel.counter(counter),
            host.counter(counter),
            "{name}: {}",
            counter.name()
        );
    }
    records
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| {
            path.is_file()
                && path
                    .extension()
                    .is_some_and(|e| e != "index" && e != "jsonl")
        })
        .collect();
    found.sort();
    found
}

fn check(folder: &Path, least: usize) {
    let (mut compared, mut records) = (0, 0);
    for capture in captures(folder) {
        let Some(frames) = frames(&capture) else {
            continue;
        };
        for framing in [Framing::Kernel, Framing::Host] {
            records += compare(&capture.display().to_string(), &frames, framing);
        }
        compared += 1;
    }
    println!("{compared} captures, {records} records: kernel and host agree");
    assert!(
        compared >= least,
        "only {compared} captures could be compared"
    );
    assert!(records > 0);
}

#[test]
fn on_our_own_captures() {
    if !need::root() {
        return skipped("root", "kernel_host::on_our_own_captures");
    }
    check(&own_captures(), 1);
}

#[test]
fn on_the_public_corpus() {
    if !need::root() {
        return skipped("root", "kernel_host::on_the_public_corpus");
    }
    let Some(captures) = public_captures() else {
        return skipped("the public corpus", "kernel_host::on_the_public_corpus");
    };
    check(&captures, 200);
}
