//! VLAN tags (IEEE 802.1Q, 802.1ad) at the hooks that see them: whatever stands before the IP header,
//! the responses are told, and with `--decap vlan` the event names the VLANs as that of a capture does.

use std::collections::BTreeSet;
use std::time::Duration;

use http_trace::probe::loader::Framing;
use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::record::Record;
use http_trace_common::walk::Tunnel;
use http_trace_tests::agent::{Agent, replay_frames};
use http_trace_tests::both::both;
use http_trace_tests::inject::inject;
use http_trace_tests::netns::Pair;
use http_trace_tests::pieces::pieces;
use http_trace_tests::seen::Report;
use http_trace_tests::tcp::{Layout, Path, segments};
use http_trace_tests::{at_tc, essence, needs, scenes};
use serde_json::Value;

/// Tags before a packet: the EtherType and the 16 bits of each.
const ARRANGEMENTS: [&[(u16, u16)]; 6] = [
    &[],
    &[(0x8100, 10)],
    // With a priority.
    &[(0x8100, 0x6000 | 20)],
    &[(0x88a8, 100), (0x8100, 10)],
    &[(0x8100, 100), (0x8100, 0x4000 | 10)],
    // A priority and no VLAN before one.
    &[(0x8100, 0xe000), (0x8100, 30)],
];

/// The frames of a connection for each arrangement, IPv4 and IPv6, from ports of their own: whole, and
/// in pieces.
fn all_frames() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut port = 40_000;
    for tags in ARRANGEMENTS {
        let tags = tags.iter().flat_map(|(kind, tag)| [*kind, *tag]);
        let tags: Vec<u8> = tags.flat_map(u16::to_be_bytes).collect();
        for (path, in_pieces) in [
            (Path::v4 as fn(u16) -> Path, false),
            (Path::v6, false),
            (Path::v4, true),
            (Path::v6, true),
        ] {
            port += 1;
            let segments = segments(&scenes::named("keep_alive"), &Layout::default());
            for (segment, number) in segments.iter().zip(port % 100 * 256..) {
                let frame = path(port).frame(segment);
                for mut piece in match in_pieces {
                    true => pieces(&frame, 96, number),
                    false => vec![frame],
                } {
                    piece.splice(12..12, tags.iter().copied());
                    all.push(piece);
                }
            }
        }
    }
    all
}

/// Client's port, number and status of each response, and the VLANs.
fn seen(report: &Report, named: bool) -> Vec<(u16, u64, Option<u16>, [Value; 2])> {
    let of = |json: &Value| {
        let network = &json["network"];
        match named {
            true => [network["vlan"].clone(), network["inner"].clone()],
            false => [Value::Null, Value::Null],
        }
    };
    let one = report.responses.iter();
    let one = one.map(|r| (r.client.port(), r.ordinal, r.status, of(&r.json)));
    let mut all: Vec<_> = one.collect();
    all.sort_by_key(|(port, ordinal, ..)| (*port, *ordinal));
    all
}

#[test]
fn every_arrangement_of_tags_at_every_hook() {
    needs!("python3");
    let frames = all_frames();
    let (replayed, _) = replay_frames(&frames).expect("a replay");
    assert!(seen(&replayed, false).len() >= 3 * 4 * ARRANGEMENTS.len());
    for (sent, hook) in [
        (false, "tc"),
        (false, "socket-filter"),
        (false, "xdp"),
        (true, "tc"),
        (true, "socket-filter"),
    ] {
        for named in [false, true] {
            let expected = seen(&replayed, named);
            let pair = Pair::new(1500).expect("a pair");
            let watched = if sent { &pair.client } else { &pair.server };
            let mut options = vec!["-i", "veth0", "--hook", hook, "-v"];
            if named {
                options.extend(["--decap", "vlan"]);
            }
            let agent = Agent::start(watched, &options).expect("an agent");
            let injected = pair.client.enter(|| inject("veth0", &frames, || ()));
            injected.expect("inside").expect("sent");
            let _ = agent.wait_for(expected.len(), Duration::from_secs(5));
            let outcome = agent.stop().expect("an outcome");
            let found = seen(&outcome.report, named);
            let what = format!("{hook}, sent: {sent}, named: {named}");
            assert_eq!(found, expected, "{what}: {:?}", outcome.said);
        }
    }
}

#[test]
fn kernel_and_host_say_the_same() {
    needs!();
    let frames = all_frames();
    for framing in [Framing::Kernel, Framing::Host] {
        for which in [0, decap::VLAN, decap::VLAN | decap::VXLAN] {
            let filter = FilterConfig {
                decap: which,
                ..FilterConfig::DEFAULT
            };
            let (mut kernel, mut host) = both(framing, filter);
            let mut told = [Vec::new(), Vec::new()];
            for (i, frame) in frames.iter().enumerate() {
                let one = |record: &Record<'_>| {
                    let vlans = record.tunnel.map(Tunnel::encap);
                    (i, record.header.netns, vlans, essence(record))
                };
                let [by_kernel, by_host] = &mut told;
                let mut keep = |record: Record<'_>| by_kernel.push(one(&record));
                kernel.push(frame, &mut keep).expect("a test run");
                let mut keep = |record: Record<'_>| by_host.push(one(&record));
                host.push_ethernet(frame, &at_tc(i, frame), &mut keep);
            }
            let [kernel, host] = told;
            assert_eq!(kernel, host, "{framing:?} {which}");
            let keys: BTreeSet<_> = kernel.iter().map(|record| record.1).collect();
            let expected = match which {
                0 => 1,
                // One of the six arrangements is none, and two have the same numbers.
                _ => 5,
            };
            assert_eq!(keys.len(), expected, "{framing:?} {which}");
        }
    }
}
