//! TCP segments in IP fragments give the events of whole packets.

use http_trace::capture::Frames;
use http_trace_common::counter::Counter;
use http_trace_common::walk::{self, Found, LinkType, WalkOptions};
use http_trace_engine::host_filter::Faults;
use http_trace_tests::judged::{Judged, filtered, is_truth, responses};
use http_trace_tests::pieces::{pieces, scene_in_pieces};
use http_trace_tests::scene::{End, Scene, Side, Step, Transaction};
use http_trace_tests::scenes;
use http_trace_tests::tcp::{Layout, Path, Timed, frames, segments};
use http_trace_tests::{public_captures, skip};

#[test]
fn every_scene_in_pieces_is_judged_by_its_truth() {
    let mut wrong = Vec::new();
    let mut cut_up = 0;
    for scene in scenes::all() {
        // After a loss of framing, only the beginning of a segment resynchronises.
        let odd = ["conflicting_lengths", "negative_length", "huge_length"];
        if odd.contains(&scene.name) {
            continue;
        }
        for path in [Path::v4(40_000), Path::v6(40_000)] {
            // Some fragments are larger than a record.
            for (cut, mtu) in [(1448, 576), (20_000, 576), (30_000, 9000), (400, 128)] {
                let frames = scene_in_pieces(&scene, &path, cut, mtu);
                let (judged, filter) = filtered(&frames, Faults::default());
                cut_up += filter.counter(Counter::Fragment);
                if let Err(error) = is_truth(&judged, &scene.truth) {
                    wrong.push(format!("{}, {cut}: {error}", scene.name));
                }
                if judged.stats.filter_disagrees > 0 {
                    wrong.push(format!("{}, {cut}: filter_disagrees", scene.name));
                }
            }
        }
    }
    let shown: Vec<_> = wrong.iter().map(|w| w.chars().take(1500).collect::<String>()).collect();
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), shown.join("\n\n"));
    assert!(cut_up > 1000, "{cut_up} pieces are no test");
}

/// Unfragmented packets are skipped as body between fragmented ones: the skip is reported before the host has
/// more bytes after it than it keeps waiting (1 MiB per direction).
#[test]
fn body_skipped_between_pieces_is_no_hole() {
    const BODY: usize = 4 << 20;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n");
    let length = BODY.to_string();
    let scene = Scene {
        name: "body_between_pieces",
        steps: vec![
            Step::client(&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
            Step::server([head.into_bytes(), vec![b'x'; BODY]].concat()),
            Step::Close(Side::Client),
            Step::Close(Side::Server),
        ],
        truth: vec![
            Transaction::new("GET", "/", 200, "OK")
                .header("Content-Length", length)
                .body(BODY as u64, End::Length),
        ],
    };
    let layout = Layout { cuts: vec![300, 1448, 1448, 16], ..Layout::default() };
    let mut cut = Vec::new();
    for (i, (time, frame)) in
        frames(&Path::v4(40_000), &segments(&scene, &layout)).iter().enumerate()
    {
        let all = pieces(frame, 576, i as u16);
        cut.extend(all.into_iter().map(|piece| (*time, piece)));
    }
    let (judged, filter) = filtered(&cut, Faults::default());
    is_truth(&judged, &scene.truth).expect("the truth");
    assert!(filter.counter(Counter::BodySkipped) > 300_000);
    assert_eq!(judged.stats.hole_bytes, 0);
    assert!(judged.losses.is_empty(), "{:?}", judged.losses);
}

/// Frames of a capture on Ethernet; none for other link types.
fn captured(capture: &std::path::Path) -> Vec<Timed> {
    let mut frames = Frames::open(&[capture.to_owned()]);
    let mut all = Vec::new();
    while let Some(frame) = frames.next_frame() {
        if frame.link != LinkType::ETHERNET || frame.data.len() as u32 != frame.wire_len {
            return Vec::new();
        }
        all.push((frame.time_ns, frame.data.to_vec()));
    }
    all
}

/// Whether a frame is a whole TCP packet directly on Ethernet, as sent.
fn is_whole(frame: &[u8]) -> bool {
    let options = WalkOptions { verify_checksums: true, ..WalkOptions::default() };
    let found = walk::frame(frame, frame.len() as u32, LinkType::ETHERNET, options);
    let plain = matches!(found, Ok((Found::Segment(_), encap)) if encap.is_empty());
    let direct = match frame.get(12..24) {
        Some([8, 0, rest @ ..]) => rest.get(9) == Some(&6),
        Some([0x86, 0xdd, rest @ ..]) => rest.get(6) == Some(&6),
        _ => false,
    };
    // Padding of a small frame is not part of the packet.
    plain && direct && frame.len() > 100
}

/// What is reported of each response, sorted: with fragments, connections may end in another order. The same
/// holds for ends of connections without an end in the capture.
fn told(judged: &Judged) -> Vec<String> {
    let mut all: Vec<_> = responses(judged)
        .into_iter()
        .map(|event| {
            let heads: Vec<_> = event
                .informational
                .iter()
                .chain(&event.response)
                .map(|head| (head.status, &head.reason, &head.headers))
                .collect();
            let body = event.complete.then_some((event.body_end, event.body_bytes));
            let ends = (event.client, event.server);
            format!("{ends:?} {} {:?} {heads:?} {body:?}", event.ordinal, event.request)
        })
        .collect();
    all.sort_unstable();
    all
}

/// Compares captures with themselves in fragments of `mtu` bytes.
fn check_captures(folder: &std::path::Path, mtu: usize, least: u64) {
    let mut captures: Vec<_> = std::fs::read_dir(folder)
        .expect("captures")
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter(|path| path.is_file())
        .collect();
    captures.sort();
    let (mut cut_up, mut wrong) = (0, Vec::new());
    for capture in captures {
        let whole = captured(&capture);
        let mut cut = Vec::new();
        for (i, (time, frame)) in whole.iter().enumerate() {
            if is_whole(frame) {
                let all = pieces(frame, mtu, i as u16);
                cut.extend(all.into_iter().map(|piece| (*time, piece)));
            } else {
                cut.push((*time, frame.clone()));
            }
        }
        let (expected, _) = filtered(&whole, Faults::default());
        let (got, filter) = filtered(&cut, Faults::default());
        cut_up += filter.counter(Counter::Fragment);
        let (expected, got) = (told(&expected), told(&got));
        for (expected, got) in expected.iter().zip(&got) {
            if expected != got {
                wrong.push(format!("{}: {got} instead of {expected}", capture.display()));
            }
        }
        if expected.len() != got.len() {
            let (a, b) = (expected.len(), got.len());
            wrong.push(format!("{}: {b} events instead of {a}", capture.display()));
        }
    }
    println!("{cut_up} pieces");
    let shown: Vec<_> = wrong.iter().map(|w| w.chars().take(3000).collect::<String>()).collect();
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), shown.join("\n\n"));
    assert!(cut_up >= least, "{cut_up} pieces");
}

#[test]
fn the_public_corpus_in_pieces() {
    let Some(captures) = public_captures() else {
        return skip!("the public corpus");
    };
    check_captures(&captures, 576, 10_000);
}
