//! Pieces of IP packets that no honest sender makes, that are lost, or that are not of HTTP: they cost
//! what they are allowed to, and what they take with them is told.

use http_trace::probe::loader::Framing;
use http_trace_common::config::{FilterConfig, decap};
use http_trace_common::counter::Counter;
use http_trace_common::flow::v4_mapped;
use http_trace_common::record::{Record, flag};
use http_trace_engine::fragments::shipped::Shipped;
use http_trace_engine::host_filter::{Faults, HostFilter};
use http_trace_model::event::LossUnit;
use http_trace_tests::agent::Agent;
use http_trace_tests::both::both;
use http_trace_tests::inject::inject;
use http_trace_tests::judged::{Timed, filtered, filtered_by, frames, is_truth, responses};
use http_trace_tests::need::{self, skipped};
use http_trace_tests::netns::Namespace;
use http_trace_tests::pieces::pieces;
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{Layout, Path, Segment, segments};
use http_trace_tests::{at_tc, essence, needs, scenes};

/// The frames of a connection over which one response after another comes.
fn talk(path: &Path) -> Vec<Timed> {
    let layout = Layout {
        coalesce: true,
        ..Layout::default()
    };
    frames(path, &segments(&scenes::named("keep_alive"), &layout))
}

/// A frame in pieces of 48 bytes: a TCP header and what shows whether a message begins.
fn small(frame: &[u8], number: u16) -> Vec<Vec<u8>> {
    let v6 = frame[14] >> 4 == 6;
    pieces(frame, if v6 { 96 } else { 68 }, number)
}

/// The frames in small pieces, each packet with an identification of its own.
fn cut(frames: &[Timed]) -> Vec<Timed> {
    let mut all = Vec::new();
    for ((time_ns, frame), number) in frames.iter().zip(100..) {
        let pieces = small(frame, number);
        all.extend(pieces.into_iter().map(|piece| (*time_ns, piece)));
    }
    all
}

/// A segment of no HTTP from the same server.
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

/// Packets of another connection that are no HTTP have the identifications that HTTP's have after
/// them. What is left of the former does not meet the latter.
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

/// The record of an unwanted first piece has no bytes; the host drops the others without a loss.
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
    assert!(
        lens.len() > 3 && lens[1..].iter().all(|len| *len > 0),
        "{lens:?}"
    );
    shipped.expire(u64::MAX);
    assert!(shipped.losses().iter().all(|(_, count)| *count == 0));
}

/// What cannot be put together is told as lost, by its reason, and once.
#[test]
fn what_is_not_put_together_is_a_loss_in_the_stream() {
    let whole = talk(&Path::v4(40_000));
    // A connection beside it moves time on.
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

/// The place of the last piece of the last packet that came in pieces.
fn last_piece(all: &[Timed]) -> usize {
    let is_last = |frame: &[u8]| frame[20] & 0x20 == 0 && (frame[20] & 0x1f != 0 || frame[21] != 0);
    all.iter()
        .rposition(|(_, frame)| is_last(frame))
        .expect("pieces")
}

/// A UDP datagram with a whole frame behind eight bytes.
fn datagram(frame: &[u8], port: u16, header: [u8; 8]) -> Vec<u8> {
    let length = (16 + frame.len() as u16).to_be_bytes();
    let total = (36 + frame.len() as u16).to_be_bytes();
    let mut all = frame[..12].to_vec();
    all.extend([8, 0, 0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, 17, 0, 0]);
    all.extend([203, 0, 113, 1, 203, 0, 113, 2]);
    all.extend([0xc0, 0]);
    all.extend(port.to_be_bytes());
    all.extend([length[0], length[1], 0, 0]);
    all.extend(header);
    all.extend(frame);
    all
}

/// A tunnel's packet that came in pieces is looked into if the configuration asks for that of one
/// which came whole, and not otherwise.
#[test]
fn pieces_of_tunnels_are_looked_into_as_whole_packets_are() {
    let inside = talk(&Path::v4(40_000));
    let truth = scenes::named("keep_alive").truth;
    let vxlan = |frame: &[u8]| datagram(frame, 4789, [8, 0, 0, 0, 0, 0, 42, 0]);
    let geneve = |frame: &[u8]| datagram(frame, 6081, [0, 0, 0x65, 0x58, 0, 0, 42, 0]);
    // VXLAN in VXLAN: one deep.
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
            let filter = HostFilter::new(FilterConfig {
                decap: which,
                ..FilterConfig::DEFAULT
            });
            let seen = cut.iter().map(|(t, frame)| (*t, 1, frame.as_slice()));
            let (judged, _) = filtered_by(filter, Shipped::new(which), seen);
            let expected = if found { truth.len() } else { 0 };
            assert_eq!(responses(&judged).len(), expected, "{what}, {which}, {mtu}");
        }
    }
}

/// The same pieces at two interfaces are no retransmission; the same at one are.
#[test]
fn pieces_at_two_interfaces_are_one_packet() {
    // Of each response's head the first 40 bytes come in two pieces, the rest behind it.
    let layout = Layout {
        cuts: vec![40],
        ..Layout::default()
    };
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
        // Each packet goes on by another interface when all of it is there.
        let mut all = Vec::new();
        for same in cut.chunk_by(|(_, a), (_, b)| a[18..20] == b[18..20]) {
            for interface in [1, again_on] {
                all.extend(
                    same.iter()
                        .map(|(t, frame)| (*t, interface, frame.as_slice())),
                );
            }
        }
        let filter = HostFilter::new(FilterConfig::DEFAULT);
        let (judged, _) = filtered_by(filter, Shipped::default(), all);
        is_truth(&judged, &truth).expect("the truth");
        let again: Vec<_> = responses(&judged)
            .iter()
            .map(|e| e.retransmissions)
            .collect();
        assert_eq!(again.iter().any(|n| *n > 0), expected, "{again:?}");
    }
}

/// However little of its TCP header a first piece has, the agent's own connections are not told of.
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

/// Small numbers from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

/// Pieces with a few bytes of their headers changed: lengths, offsets, header lengths, next headers.
fn mutated(count: usize) -> Vec<Vec<u8>> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut honest = Vec::new();
    for path in [Path::v4(40_000), Path::v6(40_000)] {
        honest.extend(cut(&talk(&path)).into_iter().map(|(_, frame)| frame));
    }
    honest.retain(|frame| frame.len() > 60);
    (0..count)
        .map(|_| {
            let mut frame = honest[dice.roll(honest.len())].clone();
            for _ in 0..=dice.roll(3) {
                let at = 12 + dice.roll(62.min(frame.len() - 12));
                let odd = [0, 1, 4, 6, 0x40, 0x44, 0x60, 0x7f, 0xff, 44, 51];
                frame[at] = odd[dice.roll(odd.len())];
            }
            frame
        })
        .collect()
}

#[test]
fn kernel_and_host_agree_on_hostile_pieces() {
    if !need::root() {
        return skipped(
            "root",
            "hostile_fragments::kernel_and_host_agree_on_hostile_pieces",
        );
    }
    let frames = mutated(6000);
    for (framing, which) in [
        (Framing::Kernel, 0),
        (Framing::Kernel, decap::VXLAN | decap::IPIP),
        (Framing::Host, 0),
    ] {
        let filter = FilterConfig {
            decap: which,
            ..FilterConfig::DEFAULT
        };
        let (mut kernel, mut host) = both(framing, filter);
        let (mut shipped, mut records) = (Shipped::new(which), 0);
        for (i, frame) in frames.iter().enumerate() {
            let (mut by_host, mut by_kernel) = (Vec::new(), Vec::new());
            host.push_ethernet(frame, &at_tc(i, frame), &mut |record: Record<'_>| {
                by_host.push(essence(&record));
                if record.header.has(flag::FRAGMENT) {
                    records += 1;
                    shipped.push(&record, |_| 0);
                }
            });
            kernel
                .push(frame, |record| by_kernel.push(essence(&record)))
                .expect("a test run");
            assert_eq!(
                by_kernel, by_host,
                "{framing:?}, {which}, frame {i}: {frame:x?}"
            );
        }
        assert!(records > 1000, "{records}");
    }
}

/// IPv4 and IPv6 in pieces at every hook that has them, and packets that are never whole.
#[test]
fn at_every_hook_pieces_are_put_together_and_losses_told() {
    needs!("python3");
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let truth = scenes::named("keep_alive").truth;
    for path in [Path::v4(40_000), Path::v6(40_000)] {
        frames.extend(cut(&talk(&path)).into_iter().map(|(_, frame)| frame));
    }
    // One packet that is never whole, of a connection that is another's.
    let incomplete = cut(&talk(&Path::v4(40_002)));
    let first = incomplete
        .iter()
        .position(|(_, frame)| frame[20] & 0x20 != 0)
        .expect("a piece");
    frames.push(incomplete[first].1.clone());
    for hook in ["tc", "socket-filter", "xdp"] {
        let namespace = Namespace::new("pieces").expect("a namespace");
        namespace
            .ip("link add inject0 type veth peer name inject1")
            .expect("a pair");
        for end in ["inject0", "inject1"] {
            namespace.ip(&format!("link set {end} up")).expect("up");
        }
        let options = ["-i", "inject1", "--hook", hook, "-v"];
        let agent = Agent::start(&namespace, &options).expect("an agent");
        namespace
            .enter(|| inject("inject0", &frames, || ()))
            .expect("inside")
            .expect("sent");
        let patience = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while agent.so_far().expect("events").losses.is_empty() {
            assert!(
                std::time::Instant::now() < patience,
                "{hook}: no loss is told"
            );
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let outcome = agent.stop().expect("the agent's end");
        for v6 in [false, true] {
            let seen = outcome.report.responses.iter();
            let seen: Vec<_> = seen.filter(|r| r.server.is_ipv6() == v6).collect();
            let status: Vec<_> = seen.iter().map(|r| r.status).collect();
            let expected: Vec<_> = truth.iter().map(|t| Some(t.status)).collect();
            assert_eq!(status, expected, "{hook}, v6 {v6}: {:?}", outcome.said);
        }
        let losses = &outcome.report.losses;
        let told: Vec<_> = losses
            .iter()
            .map(|l| l["http_trace"]["lost"].clone())
            .collect();
        assert_eq!(told.len(), 1, "{hook}: {losses:?}");
        assert_eq!(
            told[0]["where"], "fragments_incomplete",
            "{hook}: {losses:?}"
        );
        assert_eq!(told[0]["unit"], "packets");
        assert_eq!(told[0]["count"], 1);
    }
}
