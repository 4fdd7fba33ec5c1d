//! Copies of a connection under translated addresses make no second event; the event has the tuple nearest
//! the server.

use std::net::SocketAddr;

use http_trace_common::config::FilterConfig;
use http_trace_common::filter::Context;
use http_trace_common::record::{Hook, Record};
use http_trace_common::walk;
use http_trace_engine::host_filter::HostFilter;
use http_trace_engine::pipeline::{Pipeline, PipelineConfig};
use http_trace_model::event::{Endpoint, HttpEvent, Output};
use http_trace_tests::generate::{self, conversation};
use http_trace_tests::judged::{self, essence};
use http_trace_tests::mangle::{self, Mangle};
use http_trace_tests::scene::Side;
use http_trace_tests::scenes;
use http_trace_tests::tcp::{Layout, Path, Segment, Timed, segments};
use proptest::prelude::*;

/// An observation point, and the tuple at it.
#[derive(Clone, Copy, Debug)]
struct Point {
    path: Path,
    hook: Hook,
    interface: u32,
    netns: u32,
    /// How long after the client's side a request passes here, and how long before it a response, ns.
    away_ns: u64,
    /// Whether requests pass here too, or responses only.
    both: bool,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The points of a connection to `198.51.100.80:80`, nearest the client first.
fn points(kind: usize) -> Vec<Point> {
    let point = |client: &str, server: &str, hook, interface, netns, away_ns| Point {
        path: Path { client: address(client), server: address(server), ..Path::v4(40_000) },
        hook,
        interface,
        netns,
        away_ns,
        both: true,
    };
    let (client, server) = ("192.0.2.7:40000", "198.51.100.80:80");
    let (router, inside) = ("203.0.113.1:61000", "10.0.0.5:8080");
    match kind {
        // Masquerade, with the key's ends in either order.
        0 => vec![
            point(client, server, Hook::Tc, 2, 1, 0),
            point(router, server, Hook::Tc, 3, 1, 9_000),
        ],
        // DNAT to an address that sorts before the client's.
        1 => vec![
            point(client, server, Hook::Tc, 2, 1, 0),
            point(client, inside, Hook::Tc, 3, 1, 9_000),
        ],
        // Both, the server's own namespace, and a hook that sees yet another tuple.
        2 => vec![
            point(client, server, Hook::Tc, 2, 1, 0),
            point(router, server, Hook::Cgroup, 3, 1, 700),
            point(router, inside, Hook::Tc, 4, 1, 9_000),
            point(router, inside, Hook::Cgroup, 2, 7, 11_000),
        ],
        // A translated port only, at another hook.
        3 => vec![
            point(client, "198.51.100.80:80", Hook::Tc, 2, 1, 0),
            point(client, "198.51.100.80:8080", Hook::Cgroup, 2, 1, 500),
        ],
        // A bridge in between, where answers have one of two translations undone.
        4 => vec![
            point(client, server, Hook::Tc, 2, 1, 0),
            Point { both: false, ..point(client, inside, Hook::Tc, 3, 1, 8_000) },
            point(router, inside, Hook::Tc, 4, 1, 9_000),
        ],
        // The same for a client on this host, whose own side no hook sees.
        5 => vec![
            Point { both: false, ..point("127.0.0.1:40000", inside, Hook::Tc, 3, 1, 8_000) },
            point(router, inside, Hook::Tc, 4, 1, 9_000),
        ],
        // A pod's side of a veth and the host's.
        _ => vec![
            point(client, server, Hook::Cgroup, 2, 9, 0),
            point(client, server, Hook::Tc, 5, 1, 2_000),
        ],
    }
}

const KINDS: usize = 7;

/// The segments of one connection as seen at a point.
fn at(point: &Point, segments: &[Segment]) -> Vec<(u64, Point, Side, Vec<u8>)> {
    let time = |s: &Segment| match s.from {
        Side::Client => s.time_ns + point.away_ns,
        Side::Server => s.time_ns - point.away_ns,
    };
    segments
        .iter()
        .filter(|s| point.both || s.from == Side::Server)
        .map(|s| (time(s), *point, s.from, point.path.frame(s)))
        .collect()
}

/// The judge's events for these frames, through a kernel's filter.
fn live(mut frames: Vec<(u64, Point, Side, Vec<u8>)>) -> (Vec<HttpEvent>, u64) {
    frames.sort_by_key(|(time, ..)| *time);
    run(&frames)
}

fn run(frames: &[(u64, Point, Side, Vec<u8>)]) -> (Vec<HttpEvent>, u64) {
    let mut filter = HostFilter::new(FilterConfig::DEFAULT);
    let mut pipeline = Pipeline::new(PipelineConfig::default());
    let mut events = Vec::new();
    let mut keep = |output| {
        if let Output::Http(event) = output {
            events.push(*event);
        }
    };
    for (time_ns, point, from, frame) in frames {
        let segment = walk::ethernet(frame.as_slice(), point.netns).expect("a TCP segment");
        let context = Context {
            time_ns: *time_ns,
            interface: point.interface,
            wire_len: frame.len() as u32,
            egress: *from == Side::Client,
            hook: point.hook,
        };
        let mut push = |record: Record<'_>| pipeline.push(&record, &mut keep);
        filter.push(frame, &segment, &context, &mut push);
    }
    pipeline.finish(&mut keep);
    let aliases = pipeline.stats().aliases;
    (events, aliases)
}

/// Essences of the events, in wire order.
fn essences(events: &[HttpEvent]) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    let first = events.iter().map(|event| event.connection).min();
    events
        .iter()
        .map(|event| {
            let mut event = event.clone();
            // Connections that turned out to be copies have numbers too.
            event.connection -= first.unwrap_or(0);
            essence(&event)
        })
        .collect()
}

fn end(address: SocketAddr) -> Endpoint {
    Endpoint { ip: address.ip(), port: address.port() }
}

fn is_that_of_the_server_side(events: &[HttpEvent], points: &[Point]) -> Result<(), String> {
    let (first, last) = (points[0].path, points[points.len() - 1].path);
    let nat = |outer: SocketAddr, inner: SocketAddr| (outer != inner).then(|| end(outer));
    for event in events {
        let got = (event.client, event.server, event.nat_client, event.nat_server);
        let want = (
            end(last.client),
            end(last.server),
            nat(first.client, last.client),
            nat(first.server, last.server),
        );
        if got != want {
            return Err(format!("{got:?} instead of {want:?}"));
        }
        if event.retransmissions != 0 {
            return Err(format!("{} retransmissions", event.retransmissions));
        }
    }
    Ok(())
}

/// A layout with enough time between segments for each to pass every point.
fn layout(isn: [u32; 2], cuts: Vec<usize>) -> Layout {
    Layout { isn, cuts, step_ns: 100_000, ..Layout::default() }
}

#[test]
fn every_scene_makes_the_same_events_however_many_names_it_passes() {
    for scene in scenes::all() {
        let segments = segments(&scene, &layout([0x8000_0000, 0x9000_0000], vec![1448]));
        for kind in 0..KINDS {
            let points = points(kind);
            let last = &points[points.len() - 1];
            let (expected, none) = live(at(last, &segments));
            assert_eq!(none, 0);
            let all = points.iter().flat_map(|p| at(p, &segments)).collect();
            let (got, aliases) = live(all);
            assert_eq!(essences(&got), essences(&expected), "{} {kind}", scene.name);
            let asked = expected.iter().any(|event| event.request.is_some());
            let both = points.iter().all(|point| point.both);
            let names = points.len() as u64 - 1;
            let names = if asked && both { names } else { aliases };
            assert_eq!(aliases, names, "{} {kind}", scene.name);
            if asked && points[0].both {
                is_that_of_the_server_side(&got, &points)
                    .unwrap_or_else(|wrong| panic!("{} {kind}: {wrong}", scene.name));
            }
        }
    }
}

/// A capture of all interfaces of a router, as with `tcpdump -i any`.
#[test]
fn a_capture_of_both_sides_of_a_translation_makes_each_event_once() {
    for scene in scenes::all() {
        let layout = layout([0x8000_0000, 0x9000_0000], vec![1448]);
        let segments = segments(&scene, &layout);
        for kind in 0..2 {
            let points = points(kind);
            let frames = |points: &[Point]| -> Vec<Timed> {
                let mut frames: Vec<Timed> = points
                    .iter()
                    .flat_map(|p| at(p, &segments))
                    .map(|(time, _, _, frame)| (time, frame))
                    .collect();
                frames.sort_by_key(|(time, _)| *time);
                frames
            };
            let expected = judged::plain(&frames(&points[1..]));
            let got = judged::plain(&frames(&points));
            let (got, expected) = (essences(&got.events), essences(&expected.events));
            assert_eq!(got, expected, "{} {kind}", scene.name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Copies that come late, with other boundaries, out of order and twice.
    #[test]
    fn copies_make_nothing_twice(
        scene in conversation(generate::Options { lookalikes: false, ..Default::default() }),
        isn in any::<[u32; 2]>(),
        cuts in prop::collection::vec(40usize..3000, 1..6),
        kind in 0..KINDS,
        late in 0u64..40_000,
        mangles in prop::collection::vec(mangle::mangles(mangle::Options {
            count: 3,
            loss: false,
            reach: 3,
            causal: true,
        }), 4),
        swaps in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let segments = segments(&scene, &layout(isn, cuts));
        let mut points = points(kind);
        let last = points.len() - 1;
        points[last].away_ns += late;
        let (expected, _) = live(at(&points[last], &segments));
        let copies = |(point, mangles): (&Point, &Vec<Mangle>)| {
            at(point, &mangle::apply(&segments, mangles, 3, true).0)
        };
        let mut all: Vec<_> = points.iter().zip(&mangles).flat_map(copies).collect();
        all.sort_by_key(|(time, ..)| *time);
        // Records of two CPUs may not be ordered by time.
        for swap in &swaps {
            let i = swap.index(all.len() - 1);
            if all[i].1.path != all[i + 1].1.path {
                all.swap(i, i + 1);
            }
        }
        // Delays may reverse the order of the points, which determines the tuples.
        let unnamed = |mut events: Vec<HttpEvent>| {
            let name = points[last].path;
            for event in &mut events {
                (event.client, event.server) = (end(name.client), end(name.server));
            }
            essences(&events)
        };
        let (got, expected) = (unnamed(run(&all).0), unnamed(expected));
        if got != expected {
            // What is undecidable on one path may be so on many.
            for mut alone in points.iter().zip(&mangles).map(copies) {
                alone.sort_by_key(|(time, ..)| *time);
                prop_assume!(unnamed(run(&alone).0) == expected);
            }
            prop_assert_eq!(got, expected);
        }
    }
}
