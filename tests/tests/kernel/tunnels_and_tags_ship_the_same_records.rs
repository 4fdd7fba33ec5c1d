//! The programs and the host's filter ship the same records for tunnels and VLANs, with the same names.

use std::collections::BTreeSet;

use http_trace::probe::loader::Framing;
use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::counter::Counter;
use http_trace_common::record::Record;
use http_trace_common::walk::{self, Encap, LinkType, Tunnel, WalkOptions};
use http_trace_tests::both::both;
use http_trace_tests::ethernet::PushEthernet;
use http_trace_tests::tcp::Path;
use http_trace_tests::tunnels::{plain, wrapped};
use http_trace_tests::vlans::all_frames;
use http_trace_tests::{apart, at_tc, essence, needs};

/// The tunnel in which the full walk finds a frame's segment.
fn walked(frame: &[u8]) -> Encap {
    let options = WalkOptions::default();
    let found = walk::frame(frame, frame.len() as u32, LinkType::ETHERNET, options);
    found.expect("a segment").1
}

#[test]
fn every_tunnel_gives_the_records_of_what_is_inside_and_names_it() {
    needs!();
    let records = |frames: &[Vec<u8>], framing: Framing, which: u32| {
        let filter = FilterConfig { decap: which, ..FilterConfig::DEFAULT };
        let (mut kernel, mut host) = both(framing, filter);
        let (mut records, mut by_host) = (Vec::new(), Vec::new());
        let mut networks = [Vec::new(), Vec::new()];
        for (i, frame) in frames.iter().enumerate() {
            let mut keep = |record: Record<'_>| {
                records.push((i, apart(&record)));
                networks[0].push(record.header.netns);
            };
            kernel.push(frame, &mut keep).expect("a test run");
            let mut keep = |record: Record<'_>| {
                by_host.push((i, apart(&record)));
                networks[1].push(record.header.netns);
            };
            host.push_ethernet(frame, &at_tc(i, frame), &mut keep);
        }
        assert_eq!(records, by_host, "{framing:?}");
        assert_eq!(networks[0], networks[1], "{framing:?}");
        (records, kernel.counter(Counter::Decapsulated))
    };
    const BOTH: u32 = decap::VXLAN | decap::IPIP;
    for framing in [Framing::Kernel, Framing::Host] {
        for path in [Path::v4, Path::v6] {
            let (plain, other) = (plain(&path(40_000)), plain(&path(40_001)));
            let (expected, none) = records(&[&plain[..], &other].concat(), framing, BOTH);
            assert!(expected.len() > 3 && none == 0, "{expected:?}");
            assert!(expected.iter().all(|(_, (_, tunnel))| tunnel.is_none()));
            for (outer, vxlan, wrapped) in wrapped(&plain) {
                let what = format!("{framing:?}, {outer:?}, vxlan {vxlan}");
                let bit = if vxlan { decap::VXLAN } else { decap::IPIP };
                // Packets after those of a tunnel do not belong to it.
                let mixed = [&wrapped[..], &other].concat();
                let (inside, count) = records(&mixed, framing, bit);
                let tunnel = |i: usize| (i < wrapped.len()).then(|| walked(&wrapped[i]));
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(i, (record, _))| (*i, (record.clone(), tunnel(*i))))
                    .collect();
                assert_eq!(inside, expected, "{what}");
                assert_eq!(count, wrapped.len() as u64);
                for which in [0, bit ^ BOTH] {
                    let (nothing, count) = records(&wrapped, framing, which);
                    assert!(nothing.is_empty() && count == 0, "not asked for");
                }
            }
        }
    }
}

#[test]
fn kernel_and_host_say_the_same() {
    needs!();
    let frames = all_frames();
    for framing in [Framing::Kernel, Framing::Host] {
        for which in [0, decap::VLAN, decap::VLAN | decap::VXLAN] {
            let filter = FilterConfig { decap: which, ..FilterConfig::DEFAULT };
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
                // One of the six arrangements has no tag, and two have the same VLAN ids.
                _ => 5,
            };
            assert_eq!(keys.len(), expected, "{framing:?} {which}");
        }
    }
}
