//! Fragments that are incomplete, altered or not HTTP take no room from others, and losses are reported.

use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::counter::Counter;
use http_trace_common::flow::v4_mapped;
use http_trace_common::record::{Record, flag};
use http_trace_engine::fragments::shipped::Shipped;
use http_trace_engine::host_filter::{Faults, HostFilter};
use http_trace_model::event::LossUnit;
use http_trace_tests::ethernet::PushEthernet;
use http_trace_tests::judged::{filtered, filtered_by, is_truth, responses};
use http_trace_tests::pieces::{cut, pieces, small, talk};
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{Layout, Path, Segment, Timed, frames, segments};
use http_trace_tests::{at_tc, layers, scenes};

/// A segment without HTTP from the same server.
fn other(path: &Path, len: usize) -> Vec<u8> {
    path.frame(&Segment {
        time_ns: 0,
        from: Side::Server,
        seq: 1,
        ack: 1,
        syn: false,
        fin: false,
        rst: false,
        payload: vec![0x80; len],
    })
}

/// Packets of another connection without HTTP have the same identifications as later HTTP packets. Leftovers
/// of the former do not mix with the latter.
#[test]
fn what_is_not_wanted_leaves_nothing_behind() {
    for path in [Path::v4, Path::v6] {
        let wanted = talk(&path(40_000));
        for backwards in [false, true] {
            let mut all = Vec::new();
            for ((time_ns, frame), number) in wanted.iter().zip(100..) {
                let mut unwanted = small(&other(&path(40_001), 400), number);
                assert!(unwanted.len() > 3);
                if backwards {
                    unwanted.reverse();
                }
                let wanted = small(frame, number);
                let both = unwanted.into_iter().chain(wanted);
                all.extend(both.map(|piece| (*time_ns, piece)));
            }
            let (judged, filter) = filtered(&all, Faults::default());
            is_truth(&judged, &scenes::named("keep_alive").truth).expect("the truth");
            assert!(judged.losses.is_empty(), "{:?}", judged.losses);
            assert!(filter.counter(Counter::NotHttp) > 0);
        }
    }
}

/// The record of an unwanted first fragment has no bytes; the host drops the others without a loss.
#[test]
fn of_an_unwanted_packet_only_that_is_told() {
    let mut filter = HostFilter::new(FilterConfig::DEFAULT);
    let mut shipped = Shipped::default();
    let mut lens = Vec::new();
    for (i, piece) in small(&other(&Path::v4(40_000), 400), 7).iter().enumerate() {
        filter.push_ethernet(piece, &at_tc(i, piece), &mut |record: Record<'_>| {
            assert!(record.header.has(flag::FRAGMENT));
            lens.push(record.bytes.len());
            assert!(shipped.push(&record, |_| 0).is_none());
        });
    }
    assert_eq!(lens[0], 0);
    assert!(lens.len() > 3 && lens[1..].iter().all(|len| *len > 0), "{lens:?}");
    shipped.expire(u64::MAX);
    assert!(shipped.losses().iter().all(|(_, count)| *count == 0));
}

/// Packets that cannot be reassembled are reported as lost, once, with the reason.
#[test]
fn what_is_not_put_together_is_a_loss_in_the_stream() {
    let whole = talk(&Path::v4(40_000));
    // A second connection advances time.
    let clock: Vec<Timed> = talk(&Path::v4(40_001))
        .into_iter()
        .map(|(time_ns, frame)| (time_ns + 5_000_000_000, frame))
        .collect();
    type Damage = fn(&mut Vec<Timed>);
    let table: &[(&str, Damage, &[(&str, u64)])] = &[
        ("nothing", |_| (), &[]),
        (
            "a last piece is lost",
            |all| drop(all.remove(last_piece(all))),
            &[("fragments_incomplete", 1)],
        ),
        (
            "a byte is not what it was",
            |all| {
                let at = last_piece(all);
                *all[at].1.last_mut().expect("bytes") ^= 1;
            },
            &[("fragments_bad_checksum", 1)],
        ),
    ];
    for (what, damage, expected) in table {
        let mut all = cut(&whole);
        damage(&mut all);
        all.extend(clock.clone());
        let (judged, _) = filtered(&all, Faults::default());
        let losses: Vec<_> = judged
            .losses
            .iter()
            .filter(|loss| loss.unit == LossUnit::Packets)
            .map(|loss| (loss.place, loss.count))
            .collect();
        assert_eq!(losses, *expected, "{what}");
    }
}

/// Index of the last fragment of the last fragmented packet.
fn last_piece(all: &[Timed]) -> usize {
    let is_last = |frame: &[u8]| frame[20] & 0x20 == 0 && (frame[20] & 0x1f != 0 || frame[21] != 0);
    all.iter().rposition(|(_, frame)| is_last(frame)).expect("pieces")
}

/// A UDP datagram with a whole frame after eight bytes.
fn datagram(frame: &[u8], port: u16, header: [u8; 8]) -> Vec<u8> {
    let inside = layers::udp(port, &layers::cat(&[&header, frame]));
    let ends = [[203, 0, 113, 1], [203, 0, 113, 2]];
    layers::ethernet(0x0800, &layers::ipv4(17, ends, &inside))
}

/// A fragmented tunnel packet is decapsulated if the configuration asks for that, and not otherwise.
#[test]
fn pieces_of_tunnels_are_looked_into_as_whole_packets_are() {
    let inside = talk(&Path::v4(40_000));
    let truth = scenes::named("keep_alive").truth;
    let vxlan = |frame: &[u8]| datagram(frame, 4789, [8, 0, 0, 0, 0, 0, 42, 0]);
    let geneve = |frame: &[u8]| datagram(frame, 6081, [0, 0, 0x65, 0x58, 0, 0, 42, 0]);
    // VXLAN in VXLAN: only one level is decapsulated.
    let twice = |frame: &[u8]| vxlan(&vxlan(frame));
    type Wrap<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    let table: [(&str, Wrap<'_>, u32, bool); 5] = [
        ("vxlan", &vxlan, decap::VXLAN, true),
        ("vxlan", &vxlan, decap::IPIP, false),
        ("vxlan", &vxlan, 0, false),
        ("geneve", &geneve, decap::VXLAN | decap::IPIP, false),
        ("vxlan in vxlan", &twice, decap::VXLAN, false),
    ];
    for (what, wrap, which, found) in table {
        for mtu in [1500, 120] {
            let wrapped = inside.iter().map(|(t, frame)| (*t, wrap(frame)));
            let cut: Vec<Timed> = wrapped
                .zip(100..)
                .flat_map(|((t, frame), number)| {
                    let pieces = pieces(&frame, mtu, number);
                    pieces.into_iter().map(move |piece| (t, piece))
                })
                .collect();
            let filter = HostFilter::new(FilterConfig { decap: which, ..FilterConfig::DEFAULT });
            let seen = cut.iter().map(|(t, frame)| (*t, 1, frame.as_slice()));
            let (judged, _) = filtered_by(filter, Shipped::new(which), seen);
            let expected = if found { truth.len() } else { 0 };
            assert_eq!(responses(&judged).len(), expected, "{what}, {which}, {mtu}");
        }
    }
}

/// The same fragments at two interfaces are no retransmission; at one interface they are.
#[test]
fn pieces_at_two_interfaces_are_one_packet() {
    // The first 40 bytes of each response's head come in two segments, the rest after them.
    let layout = Layout { cuts: vec![40], ..Layout::default() };
    let talk = segments(&scenes::named("keep_alive"), &layout);
    let frames = frames(&Path::v4(40_000), &talk);
    let cut: Vec<Timed> = frames
        .iter()
        .zip(100..)
        .flat_map(|((t, frame), number)| {
            let pieces = pieces(frame, 60, number);
            pieces.into_iter().map(move |piece| (*t, piece))
        })
        .collect();
    let truth = scenes::named("keep_alive").truth;
    for (again_on, expected) in [(1, true), (2, false)] {
        // Each packet passes a second interface once it is complete.
        let mut all = Vec::new();
        for same in cut.chunk_by(|(_, a), (_, b)| a[18..20] == b[18..20]) {
            for interface in [1, again_on] {
                all.extend(same.iter().map(|(t, frame)| (*t, interface, frame.as_slice())));
            }
        }
        let filter = HostFilter::new(FilterConfig::DEFAULT);
        let (judged, _) = filtered_by(filter, Shipped::default(), all);
        is_truth(&judged, &truth).expect("the truth");
        let again: Vec<_> = responses(&judged).iter().map(|e| e.retransmissions).collect();
        assert_eq!(again.iter().any(|n| *n > 0), expected, "{again:?}");
    }
}

/// The agent's own connections are not reported, however little of its TCP header a first fragment has.
#[test]
fn first_pieces_of_own_connections_are_not_wanted() {
    let path = Path::v4(40_000);
    let request: Vec<_> = segments(&scenes::named("keep_alive"), &Layout::default())
        .into_iter()
        .filter(|segment| !segment.payload.is_empty())
        .map(|segment| path.frame(&segment))
        .take(1)
        .collect();
    for room in [8, 16, 24, 32, 48] {
        for excluded in [false, true] {
            let mut filter = HostFilter::new(FilterConfig::DEFAULT);
            if excluded {
                filter.exclude(v4_mapped([198, 51, 100, 80]), 80);
            }
            let first = &pieces(&request[0], 20 + room, 7)[0];
            let mut lens = Vec::new();
            filter.push_ethernet(first, &at_tc(0, first), &mut |record: Record<'_>| {
                lens.push(record.bytes.len());
            });
            let expected = if excluded { 0 } else { room };
            assert_eq!(lens, [expected], "{room} bytes, excluded {excluded}");
            let counted = filter.counter(Counter::OwnTraffic);
            assert_eq!(counted, u64::from(excluded), "{room} bytes");
        }
    }
}
