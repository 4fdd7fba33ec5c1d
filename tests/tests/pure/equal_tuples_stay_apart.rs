//! Two connections at once with equal addresses and ports, in VLANs or tunnels of a capture, stay apart, and
//! copies of each are still recognised.

use std::collections::{BTreeMap, BTreeSet};

use http_trace_common::config::{FilterConfig, decap};
use http_trace_engine::fragments::shipped::Shipped;
use http_trace_engine::host_filter::HostFilter;
use http_trace_model::event::{HttpEvent, Missing};
use http_trace_tests::ethernet::PushEthernet;
use http_trace_tests::judged::{Judged, filtered_by, is_truth, plain};
use http_trace_tests::tcp::{Layout, Path, Timed, segments};
use http_trace_tests::tunnels::{NETWORKS, Outer, in_turn, of_one_tuple, wrap};
use http_trace_tests::twins::{Copied, DRAWN, EQUAL, REQUESTS, VLANS, in_two_vlans, scene, target};
use http_trace_tests::{apart, at_tc, scenes};

/// The output by connection, in the order of their first events.
fn by_connection(judged: Judged) -> Vec<Judged> {
    let mut by = BTreeMap::<u64, Vec<HttpEvent>>::new();
    for event in judged.events {
        by.entry(event.connection).or_default().push(event);
    }
    let of_one = |events| Judged { events, losses: Vec::new(), stats: judged.stats.clone() };
    by.into_values().map(of_one).collect()
}

/// Fails unless both connections are reported as played; returns the output of each.
fn are_both(judged: Judged, what: &str) -> Vec<Judged> {
    let told = by_connection(judged);
    assert_eq!(told.len(), 2, "{what}");
    for (connection, of_one) in told.iter().enumerate() {
        is_truth(of_one, &scene(connection).truth)
            .unwrap_or_else(|wrong| panic!("{what}, {connection}: {wrong}"));
    }
    told
}

#[test]
fn in_two_vlans_of_a_capture() {
    for (isn, copy) in [
        (DRAWN, None),
        (DRAWN, Some(Copied::AtBothPorts)),
        (DRAWN, Some(Copied::AboveTheTrunk)),
        (EQUAL, None),
        (EQUAL, Some(Copied::AtBothPorts)),
    ] {
        let judged = plain(&in_two_vlans(isn, copy));
        are_both(judged, &format!("{isn:x?} {copy:?}"));
    }
}

/// The same with the filter and the option.
#[test]
fn in_two_vlans_of_a_trunk_that_are_told_apart() {
    for (isn, copy) in [
        (DRAWN, None),
        (DRAWN, Some(Copied::AtBothPorts)),
        (EQUAL, None),
        (EQUAL, Some(Copied::AtBothPorts)),
    ] {
        let judged = filtered(&in_two_vlans(isn, copy));
        let what = format!("{isn:x?} {copy:?}");
        for (vlan, of_one) in VLANS.into_iter().zip(are_both(judged, &what)) {
            let vlan = u32::from(vlan);
            assert!(of_one.events.iter().all(|e| e.vlans().eq([vlan])), "{what}");
        }
    }
}

/// What a filter with the option lets through.
fn filtered(frames: &[Timed]) -> Judged {
    let frames = frames.iter().map(|(time, frame)| (*time, 1, &frame[..]));
    let filter = HostFilter::new(FilterConfig { decap: decap::VLAN, ..FilterConfig::DEFAULT });
    filtered_by(filter, Shipped::new(decap::VLAN), frames).0
}

/// Without the option a hook at a trunk has one key for both, so they are not told apart. Still nothing is
/// false, and the loss is reported.
#[test]
fn in_two_vlans_of_a_trunk_without_the_option() {
    for isn in [DRAWN, EQUAL] {
        let frames = in_two_vlans(isn, None);
        let frames = frames.iter().map(|(time, frame)| (*time, 1, &frame[..]));
        let filter = HostFilter::new(FilterConfig::DEFAULT);
        let (judged, _) = filtered_by(filter, Shipped::default(), frames);
        let mut seen = BTreeSet::new();
        for event in &judged.events {
            let Some(head) = &event.response else {
                continue;
            };
            let of = head.headers.first("x-of").expect("a whole head");
            let of = std::str::from_utf8(of).expect("as sent").to_owned();
            let (connection, number) = of.split_once(' ').expect("two numbers");
            let parse = |n: &str| n.parse().expect("a number");
            let target = target(parse(connection), parse(number));
            if event.request.is_none() {
                assert!(event.missing.contains(&Missing::Request), "{event:#?}");
            }
            if let Some(request) = &event.request {
                assert_eq!(request.target, target.as_bytes(), "{isn:x?}: {event:#?}");
            }
            assert!(seen.insert(of), "twice: {event:#?}");
        }
        let stats = &judged.stats;
        let told = stats.requests_unmatched + stats.holes + stats.unframed_bytes;
        assert!(seen.len() < 2 * REQUESTS && told > 0, "{isn:x?}: {stats:?}");
    }
}

#[test]
fn one_tuple_in_several_networks_is_as_many_connections() {
    for frames_in_kernel in [true, false] {
        let shipped = |frames: &[Vec<u8>], which: u32| {
            let filter = FilterConfig { decap: which, ..FilterConfig::DEFAULT };
            let mut host = match frames_in_kernel {
                true => HostFilter::new(filter),
                false => HostFilter::without_framing(filter),
            };
            let mut records: Vec<(u64, u32, String)> = Vec::new();
            for (i, frame) in frames.iter().enumerate() {
                host.push_ethernet(frame, &at_tc(i, frame), &mut |record| {
                    let number = record.tunnel.map_or(0, |tunnel| tunnel.what & 0xff);
                    records.push((number, record.header.netns, apart(&record).0));
                });
            }
            records
        };
        let each = of_one_tuple(Outer::V4, 40_000);
        let together = shipped(&in_turn(&each), decap::VXLAN);
        let mut places = BTreeSet::new();
        for ((number, _), frames) in NETWORKS.iter().zip(&each) {
            let of_it = |records: &[(u64, u32, String)]| -> Vec<_> {
                let of_it = records.iter().filter(|r| r.0 == u64::from(*number));
                of_it.cloned().collect()
            };
            let alone = shipped(frames, decap::VXLAN);
            assert!(alone.len() > 3, "{alone:?}");
            assert_eq!(of_it(&together), alone, "{number}");
            let own: BTreeSet<_> = alone.iter().map(|record| record.1).collect();
            assert_eq!(own.len(), 1);
            places.extend(own);
        }
        assert_eq!(places.len(), NETWORKS.len(), "as many keys");
        let joined = shipped(&in_turn(&each), decap::VXLAN | decap::JOINED);
        assert!(joined.iter().all(|record| record.1 == 0));
    }
}

/// Each direction is in its receiver's VXLAN network, as with routers between networks: with the numbers kept
/// apart, its halves would be two connections.
#[test]
fn a_connection_of_two_networks_is_one_where_they_are_joined() {
    let segments = segments(&scenes::named("keep_alive"), &Layout::default());
    let path = Path::v4(40_000);
    let wrapped = |number: [u8; 2]| -> Vec<_> {
        let frames = segments.iter().map(|segment| {
            wrap(&path.frame(segment), Outer::V4, Some(number[segment.from.index()]))
        });
        frames.collect()
    };
    let shipped = |frames: Vec<Vec<u8>>, which: u32| {
        let mut host = HostFilter::new(FilterConfig { decap: which, ..FilterConfig::DEFAULT });
        let mut records = Vec::new();
        for (i, frame) in frames.iter().enumerate() {
            host.push_ethernet(frame, &at_tc(i, frame), &mut |record| {
                records.push((record.header.netns, apart(&record).0));
            });
        }
        records
    };
    let joined = shipped(wrapped([7, 8]), decap::VXLAN | decap::JOINED);
    let one = shipped(wrapped([7, 7]), decap::VXLAN | decap::JOINED);
    assert!(one.len() > 3);
    assert_eq!(joined, one);
    let apart = shipped(wrapped([7, 8]), decap::VXLAN);
    let keys: BTreeSet<_> = apart.iter().map(|(netns, _)| netns).collect();
    assert_eq!(keys.len(), 2);
}
