//! The eBPF programs of all hooks and the filter on the host ship the same records for the same frames,
//! except for time, CPU, interface, hook and socket.
//!
//! BPF_PROG_TEST_RUN accepts Ethernet frames of less than a page. The segments of other captures are put into
//! frames that fit.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use http_trace::capture::{Frames, Replay, ReplayOptions};
use http_trace::probe::loader::Framing;
use http_trace_common::config::FilterConfig;
use http_trace_common::counter::Counter;
use http_trace_common::filter::Context;
use http_trace_common::record::{Hook, Record, flag};
use http_trace_common::walk::{self, LinkType, Skip, Tunnel};
use http_trace_engine::host_filter::HostFilter;
use http_trace_tests::both::{host, kernel};
use http_trace_tests::ethernet::PushEthernet;
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{self, Segment};
use http_trace_tests::test_run::TestRun;
use http_trace_tests::{at_tc, essence, needs, own_captures, public_captures, skip};

/// Size limit of BPF_PROG_TEST_RUN: a page without headroom and tail.
const LARGEST: usize = 3500;

/// Payload of a rebuilt frame.
const PIECE: usize = 3000;

/// Frames of a capture; `None` if a test run does not accept all of them.
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

/// The segments of a capture in rebuilt frames.
fn made_anew(capture: &Path) -> Vec<Vec<u8>> {
    let frames = Frames::open(&[capture.to_owned()]);
    let mut replay = Replay::new(frames, ReplayOptions::default());
    let mut all = Vec::new();
    while let Some(record) = replay.next_record() {
        let h = record.header;
        let [client, server] = [(h.src, h.src_port), (h.dst, h.dst_port)]
            .map(|(address, port)| SocketAddr::new(IpAddr::from(address).to_canonical(), port));
        let path = tcp::Path { client, server, ..tcp::Path::v4(0) };
        let syn = h.has(flag::SYN);
        let mut segment = Segment {
            time_ns: 0,
            from: Side::Client,
            seq: h.seq.wrapping_sub(u32::from(syn)),
            ack: h.ack,
            syn,
            fin: false,
            rst: h.has(flag::RST),
            payload: Vec::new(),
        };
        let mut rest = record.bytes;
        loop {
            let (piece, later) = rest.split_at(rest.len().min(PIECE));
            segment.payload = piece.to_vec();
            segment.fin = later.is_empty() && h.has(flag::FIN);
            all.push(path.frame(&segment));
            segment.seq = segment.payload_seq().wrapping_add(piece.len() as u32);
            segment.syn = false;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }
    all
}

/// A program in the kernel, and its kind of packets.
struct Place {
    kernel: TestRun,
    framing: Framing,
    /// Whether its packets begin with the IP header; tagged ones are not IP to it.
    ip: bool,
}

fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for framing in [Framing::Kernel, Framing::Host] {
        for (hook, program, ip) in [
            (Hook::Tc, "http_trace_in", false),
            (Hook::Tc, "http_trace_out", false),
            (Hook::SocketFilter, "http_trace_sock", true),
            (Hook::Cgroup, "http_trace_cg_in", true),
            (Hook::Cgroup, "http_trace_cgout", true),
            (Hook::Xdp, "http_trace_xdp", false),
        ] {
            // XDP has no program without framing.
            if (hook, framing) == (Hook::Xdp, Framing::Host) {
                continue;
            }
            places.push(Place {
                kernel: kernel(hook, program, framing, FilterConfig::DEFAULT),
                framing,
                ip,
            });
        }
    }
    places
}

/// Whether the IP header directly follows the Ethernet header.
fn is_plain_ip(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x08, 0x00] | [0x86, 0xdd]))
}

/// Pushes a frame as programs see it whose packets begin with the IP header.
fn push_ip(
    host: &mut HostFilter,
    frame: &[u8],
    context: &Context,
    keep: &mut impl FnMut(Record<'_>),
) {
    match walk::ip(frame, 14, 0) {
        Ok(segment) => host.push(frame, &segment, context, keep),
        Err(Skip::Fragment) => host.push_fragment(Tunnel::default(), frame, (14, 0), context, keep),
        Err(_) => {}
    }
}

const COUNTED: [Counter; 4] =
    [Counter::BodySkipped, Counter::BecameUnsure, Counter::FlowsAdmitted, Counter::FlowsClosed];

/// Runs both filters over the frames; the records of each frame must be equal. Returns the number of records.
fn compare(name: &str, frames: &[Vec<u8>], place: &mut Place) -> usize {
    let Place { kernel, framing, ip } = place;
    let mut host = host(*framing, FilterConfig::DEFAULT);
    kernel.forget().expect("the tables");
    let before = COUNTED.map(|counter| kernel.counter(counter));
    let mut records = 0;
    for (i, frame) in frames.iter().enumerate() {
        if *ip && !is_plain_ip(frame) {
            continue;
        }
        let mut by_kernel = Vec::new();
        kernel.push(frame, |record| by_kernel.push(essence(&record))).expect("a test run");
        let mut by_host = Vec::new();
        let context = at_tc(i, frame);
        let mut keep = |record: Record<'_>| by_host.push(essence(&record));
        if *ip {
            push_ip(&mut host, frame, &context, &mut keep);
        } else {
            host.push_ethernet(frame, &context, &mut keep);
        }
        assert_eq!(by_kernel, by_host, "{name}, frame {}", i + 1);
        records += by_host.len();
    }
    for (counter, before) in COUNTED.into_iter().zip(before) {
        assert_eq!(
            kernel.counter(counter) - before,
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
            path.is_file() && path.extension().is_some_and(|e| e != "index" && e != "jsonl")
        })
        .collect();
    found.sort();
    found
}

fn check(folder: &Path, least: usize) {
    let mut places = places();
    let (mut as_they_are, mut anew, mut records) = (0, 0, 0);
    for capture in captures(folder) {
        let (frames, how) = match frames(&capture) {
            Some(frames) => (frames, &mut as_they_are),
            None => (made_anew(&capture), &mut anew),
        };
        *how += usize::from(!frames.is_empty());
        for place in &mut places {
            records += compare(&capture.display().to_string(), &frames, place);
        }
    }
    println!(
        "{as_they_are} captures as they are, {anew} made anew, {records} records at {} programs: \
         kernel and host agree",
        places.len()
    );
    assert!(as_they_are >= least, "only {as_they_are} captures could be compared");
    assert!(records > 0);
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
    check(&captures, 200);
}
