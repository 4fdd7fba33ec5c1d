//! Frames of a page and more, which BPF_PROG_TEST_RUN refuses, are sent over a veth pair: the program and the
//! filter on the host ship the same records.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_trace::capture::Frames;
use http_trace::probe::interfaces::Wanted;
use http_trace::probe::{Options, Probe};
use http_trace_common::config::FilterConfig;
use http_trace_common::counter::Counter;
use http_trace_common::record::{Hook, Record};
use http_trace_common::walk::LinkType;
use http_trace_engine::host_filter::HostFilter;
use http_trace_tests::ethernet::PushEthernet;
use http_trace_tests::inject::inject;
use http_trace_tests::netns::Namespace;
use http_trace_tests::{at_tc, essence, needs, own_captures, public_captures, skip};

/// Size limit of BPF_PROG_TEST_RUN. Captures without larger frames belong to `kernel_host`.
const TEST_RUN_TAKES: usize = 3500;
/// The largest MTU of a veth, plus an Ethernet header.
const LARGEST: usize = 65_535 + 14;

/// Frames of a capture that has some frames too large for a test run, and none too large for a veth.
fn frames(capture: &Path) -> Option<Vec<Vec<u8>>> {
    let mut frames = Frames::open(&[capture.to_owned()]);
    let mut all = Vec::new();
    let mut large = false;
    while let Some(frame) = frames.next_frame() {
        let fits =
            (14..=LARGEST).contains(&frame.data.len()) && frame.data.len() as u32 == frame.wire_len;
        if frame.link != LinkType::ETHERNET || !fits {
            return None;
        }
        large |= frame.data.len() > TEST_RUN_TAKES;
        all.push(frame.data.to_vec());
    }
    large.then_some(all)
}

/// Records of the host's filter for the frames.
fn by_host(frames: &[Vec<u8>]) -> Vec<String> {
    let mut filter = HostFilter::new(FilterConfig::DEFAULT);
    let mut records = Vec::new();
    for (i, frame) in frames.iter().enumerate() {
        let context = at_tc(i, frame);
        let mut keep = |record: Record<'_>| records.push(essence(&record));
        filter.push_ethernet(frame, &context, &mut keep);
    }
    records
}

/// Records of the kernel's filter for the frames that arrive on `inject1`. Runs in the namespace.
fn by_kernel(frames: &[Vec<u8>]) -> Vec<String> {
    let options = Options {
        hooks: vec![Hook::Tc],
        interfaces: Wanted::new(&["inject1".to_owned()], &[]).expect("a name"),
        tc_mode: Default::default(),
        host_framing: false,
        settings: Default::default(),
        own: Default::default(),
        say: None,
    };
    let (mut probe, _) = Probe::start(options).expect("a probe");
    let mut records = Vec::new();
    // The system may send something on a new device, but never TCP.
    inject("inject0", frames, || {
        probe.drain(|record, _| records.push(essence(&record)));
    })
    .expect("sent");
    let patience = Instant::now() + Duration::from_secs(30);
    while probe.counters.get(Counter::Packets) < frames.len() as u64 {
        assert!(Instant::now() < patience, "frames did not arrive");
        std::thread::sleep(Duration::from_millis(5));
    }
    while probe.drain(|record, _| records.push(essence(&record))) > 0 {}
    records
}

fn check(folder: &Path, least: usize) {
    let namespace = Namespace::new("injected").expect("a namespace");
    namespace
        .ip("link add inject0 mtu 65535 type veth peer name inject1 mtu 65535")
        .expect("a pair");
    for end in ["inject0", "inject1"] {
        namespace.ip(&format!("link set {end} up")).expect("up");
    }
    let mut captures: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("captures")
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.is_file())
        .collect();
    captures.sort();
    let (mut compared, mut records) = (0, 0);
    for capture in captures {
        let Some(frames) = frames(&capture) else {
            continue;
        };
        let expected = by_host(&frames);
        let got = namespace.enter(|| by_kernel(&frames)).expect("inside");
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(got, expected, "{}, record {}", capture.display(), i + 1);
        }
        assert_eq!(got.len(), expected.len(), "{}", capture.display());
        compared += 1;
        records += got.len();
    }
    println!("{compared} captures, {records} records: kernel and host agree");
    assert!(compared >= least, "only {compared} captures could be compared");
}

#[test]
fn on_our_own_captures() {
    needs!();
    check(&own_captures(), 1);
}

#[test]
fn on_the_public_corpus() {
    needs!();
    let Some(captures) = public_captures() else {
        return skip!("the public corpus");
    };
    check(&captures, 1);
}
