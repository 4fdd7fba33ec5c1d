//! TCP segments that come in pieces of IP packets: the programs ship the pieces, the host puts them
//! together, and the events are those of whole packets.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use http_trace::capture::Frames;
use http_trace::probe::loader::{Framing, Settings};
use http_trace::probe::test_run::TestRun;
use http_trace_common::config::FilterConfig;
use http_trace_common::counter::Counter;
use http_trace_common::record::{Hook, Record, flag};
use http_trace_common::walk::{self, Found, LinkType, Skip, WalkOptions};
use http_trace_engine::host_filter::Faults;
use http_trace_tests::agent::{Agent, ROOMY};
use http_trace_tests::bed::{UPSTREAM, log_differences, nothing};
use http_trace_tests::both::both;
use http_trace_tests::client::{curl, wrk};
use http_trace_tests::judged::{Judged, Timed, filtered, frames, is_truth, responses};
use http_trace_tests::matrix::HOST;
use http_trace_tests::need::{self, skipped};
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, run};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::pieces::pieces;
use http_trace_tests::scene::{End, Scene, Side, Step, Transaction};
use http_trace_tests::scenes;
use http_trace_tests::tcp::{Layout, Path, segments};
use http_trace_tests::{at_tc, essence, public_captures};

/// A scene's frames, packets of more than `mtu` bytes in pieces; of every other packet the last piece
/// comes first, as Linux once sent them, and every third packet comes twice.
fn in_pieces(scene: &Scene, path: &Path, cut: usize, mtu: usize) -> Vec<Timed> {
    let layout = Layout {
        cuts: vec![cut],
        coalesce: true,
        ..Layout::default()
    };
    let mut all = Vec::new();
    for (i, (time, frame)) in frames(path, &segments(scene, &layout)).iter().enumerate() {
        let number = u16::try_from(i).expect("short scenes");
        let mut cut = pieces(frame, mtu, number);
        if i % 2 == 1 {
            cut.reverse();
        }
        let again = if i % 3 == 0 { cut.clone() } else { Vec::new() };
        all.extend(cut.into_iter().chain(again).map(|piece| (*time, piece)));
    }
    all
}

#[test]
fn every_scene_in_pieces_is_judged_by_its_truth() {
    let mut wrong = Vec::new();
    let mut cut_up = 0;
    for scene in scenes::all() {
        // Where framing is lost, only a segment's beginning brings it back.
        let odd = ["conflicting_lengths", "negative_length", "huge_length"];
        if odd.contains(&scene.name) {
            continue;
        }
        for path in [Path::v4(40_000), Path::v6(40_000)] {
            // Pieces of more than a record's bytes among them.
            for (cut, mtu) in [(1448, 576), (20_000, 576), (30_000, 9000), (400, 128)] {
                let frames = in_pieces(&scene, &path, cut, mtu);
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
    let shown: Vec<_> = wrong
        .iter()
        .map(|w| w.chars().take(1500).collect::<String>())
        .collect();
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), shown.join("\n\n"));
    assert!(cut_up > 1000, "{cut_up} pieces are no test");
}

/// Whole packets that are skipped as body between others that come in pieces: what was skipped is
/// told before the host has more bytes after it than it keeps in wait (1 MiB a direction).
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
    let layout = Layout {
        cuts: vec![300, 1448, 1448, 16],
        ..Layout::default()
    };
    let mut cut = Vec::new();
    for (i, (time, frame)) in frames(&Path::v4(40_000), &segments(&scene, &layout))
        .iter()
        .enumerate()
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

/// Frames of a capture on Ethernet; none where there are others.
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

/// Whether a frame is a whole packet of TCP directly on Ethernet, as it left its sender.
fn is_whole(frame: &[u8]) -> bool {
    let options = WalkOptions {
        verify_checksums: true,
        ..WalkOptions::default()
    };
    let found = walk::frame(frame, frame.len() as u32, LinkType::ETHERNET, options);
    let plain = matches!(found, Ok((Found::Segment(_), encap)) if encap.is_empty());
    let direct = match frame.get(12..24) {
        Some([8, 0, rest @ ..]) => rest.get(9) == Some(&6),
        Some([0x86, 0xdd, rest @ ..]) => rest.get(6) == Some(&6),
        _ => false,
    };
    // What a small frame is filled up with is not of the packet.
    plain && direct && frame.len() > 100
}

/// What is told of each response, in an order of its own: which of two connections ends first is
/// another matter in pieces. What is told of the end of one that has none in the capture is, too.
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
            format!(
                "{ends:?} {} {:?} {heads:?} {body:?}",
                event.ordinal, event.request
            )
        })
        .collect();
    all.sort_unstable();
    all
}

/// Captures, and what becomes of them in pieces of `mtu` bytes.
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
                wrong.push(format!(
                    "{}: {got} instead of {expected}",
                    capture.display()
                ));
            }
        }
        if expected.len() != got.len() {
            let (a, b) = (expected.len(), got.len());
            wrong.push(format!("{}: {b} events instead of {a}", capture.display()));
        }
    }
    println!("{cut_up} pieces");
    let shown: Vec<_> = wrong
        .iter()
        .map(|w| w.chars().take(3000).collect::<String>())
        .collect();
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), shown.join("\n\n"));
    assert!(cut_up >= least, "{cut_up} pieces");
}

#[test]
fn the_public_corpus_in_pieces() {
    let Some(captures) = public_captures() else {
        return skipped(
            "the public corpus",
            "fragments::the_public_corpus_in_pieces",
        );
    };
    check_captures(&captures, 576, 10_000);
}

#[test]
fn kernel_and_host_ship_the_same_pieces() {
    if !need::root() {
        return skipped("root", "fragments::kernel_and_host_ship_the_same_pieces");
    }
    let scene = scenes::named("lookalike_body");
    for framing in [Framing::Kernel, Framing::Host] {
        for path in [Path::v4(40_000), Path::v6(40_000)] {
            let (mut kernel, mut host) = both(framing, FilterConfig::DEFAULT);
            let mut shipped = 0;
            for (i, (_, frame)) in in_pieces(&scene, &path, 1448, 576).iter().enumerate() {
                let context = at_tc(i, frame);
                let (mut by_host, mut by_kernel) = (Vec::new(), Vec::new());
                let mut keep = |record: Record<'_>| {
                    shipped += usize::from(record.header.has(flag::FRAGMENT));
                    by_host.push(essence(&record));
                };
                host.push_ethernet(frame, &context, &mut keep);
                kernel
                    .push(frame, |record| by_kernel.push(essence(&record)))
                    .expect("a test run");
                assert_eq!(by_kernel, by_host, "{framing:?}, frame {}", i + 1);
            }
            assert!(shipped > 3, "{shipped} pieces");
            let counted = kernel.counter(Counter::Fragment);
            assert!(counted > 0 && counted <= shipped as u64, "{counted}");
        }
    }
}

#[test]
fn a_flood_of_pieces_stays_within_its_budget() {
    if !need::root() {
        return skipped(
            "root",
            "fragments::a_flood_of_pieces_stays_within_its_budget",
        );
    }
    let kernel =
        TestRun::new(&Settings::default(), Hook::Tc, "http_trace_in").expect("the program loads");
    let scene = scenes::named("lookalike_body");
    let frames = in_pieces(&scene, &Path::v4(40_000), 1448, 576);
    let (_, piece) = frames
        .iter()
        .find(|(_, frame)| walk::ethernet(&frame[..], 0) == Err(Skip::Fragment))
        .expect("a piece");
    // In one second of the budget, however slow the machine is: in one run of the program.
    kernel.time(piece, 100_000).expect("a test run");
    let (shipped, dropped) = (
        kernel.counter(Counter::Fragment),
        kernel.counter(Counter::FragmentDropped),
    );
    assert_eq!(shipped + dropped, 100_000);
    assert!(dropped > 0, "{shipped} of 100000 shipped");
    assert!(kernel.counter(Counter::FragmentDroppedBytes) > dropped * 8);
}

/// A client and a server with usual links, and two routers that are joined by a narrow one.
struct Narrow {
    client: Namespace,
    server: Namespace,
    _routers: [Namespace; 2],
}

const SERVER: &str = "10.66.3.2";

impl Narrow {
    /// Both ends send without "don't fragment", as `net.ipv4.ip_no_pmtu_disc` has it.
    fn new() -> anyhow::Result<Self> {
        let [client, near, far, server] = ["client", "near", "far", "server"].map(Namespace::new);
        let (client, near, far, server) = (client?, near?, far?, server?);
        let links = [
            (&client, &near, 1, 1500),
            (&near, &far, 2, 576),
            (&far, &server, 3, 1500),
        ];
        for (left, right, number, mtu) in links {
            let name = format!("net{number}");
            run(Command::new("ip").args([
                "link",
                "add",
                "name",
                &name,
                "mtu",
                &mtu.to_string(),
                "netns",
                left.name(),
                "type",
                "veth",
                "peer",
                "name",
                &name,
                "mtu",
                &mtu.to_string(),
                "netns",
                right.name(),
            ]))?;
            for (end, host) in [(left, 1), (right, 2)] {
                end.ip(&format!("address add 10.66.{number}.{host}/24 dev {name}"))?;
                end.ip(&format!("link set {name} up"))?;
            }
        }
        client.ip("route add default via 10.66.1.2")?;
        near.ip("route add default via 10.66.2.2")?;
        far.ip("route add default via 10.66.2.1")?;
        server.ip("route add default via 10.66.3.1")?;
        for (namespace, setting) in [
            (&near, "ip_forward"),
            (&far, "ip_forward"),
            (&client, "ip_no_pmtu_disc"),
            (&server, "ip_no_pmtu_disc"),
        ] {
            let set = format!("echo 1 > /proc/sys/net/ipv4/{setting}");
            namespace.run(Command::new("sh").args(["-c", &set]))?;
        }
        Ok(Narrow {
            client,
            server,
            _routers: [near, far],
        })
    }
}

/// What a client asks over the narrow link: responses and requests of one packet and of many, on
/// connections of one request and of several.
fn ask(net: &Narrow) {
    let url = |path: &str| format!("http://{SERVER}/{path}");
    wrk(&net.client, &url("small.txt"), 1, 2, Duration::from_secs(1)).expect("wrk");
    let cookie = format!("Cookie: long={}", "x".repeat(3000));
    let (text, small, large) = (url("text.txt"), url("small.txt"), url("large.bin"));
    let asked = curl(
        &net.client,
        &["-H", &cookie, &text, &small, &large, &small, &text],
    );
    assert!(asked.expect("curl").iter().all(|t| t.status == 200));
    for _ in 0..4 {
        let asked = curl(&net.client, &[text.as_str(); 20]).expect("curl");
        assert!(asked.iter().all(|t| t.status == 200));
    }
    curl(&net.client, &["-H", &cookie, "-I", &text, &text]).expect("curl");
}

#[test]
fn behind_a_narrow_link() {
    needs!("nginx", "wrk", "curl");
    // At XDP only what comes in is seen: the server's end sees requests, the client's responses.
    for hook in ["tc", "socket-filter"] {
        for host_framing in [false, true] {
            let net = Narrow::new().expect("namespaces");
            let nginx = Nginx::start(&net.server, UPSTREAM.into()).expect("nginx");
            let framing: &[_] = if host_framing { &[HOST] } else { &[] };
            let agents = [(&net.client, "net1"), (&net.server, "net3")].map(|(at, device)| {
                let options = ["--hook", hook, "-v", "-i", device];
                let environment = [framing, &[ROOMY]].concat();
                Agent::start_with(at, &options, &environment).expect("an agent")
            });
            ask(&net);
            let log = nginx.stop().expect("an access log");
            assert!(log.len() > 20, "{} requests are no load", log.len());
            std::thread::sleep(Duration::from_millis(300));
            for (agent, at) in agents.into_iter().zip(["client", "server"]) {
                let outcome = agent.stop().expect("the agent's end");
                println!(
                    "{hook}, host framing {host_framing}, at the {at}: {:?}",
                    outcome.said
                );
                outcome.check_clean();
                nothing(log_differences(&outcome.report, &log));
                assert!(outcome.counter("fragment") > 0, "{:?}", outcome.said);
                assert_eq!(outcome.counter("fragment_dropped"), 0);
            }
        }
    }
}

#[test]
fn at_xdp_behind_a_narrow_link() {
    needs!("nginx", "wrk", "curl");
    let net = Narrow::new().expect("namespaces");
    let nginx = Nginx::start(&net.server, UPSTREAM.into()).expect("nginx");
    let options = ["--hook", "xdp", "-v", "-i", "net1"];
    let agent = Agent::start(&net.client, &options).expect("an agent");
    let url = format!("http://{SERVER}/text.txt");
    let asked = curl(&net.client, &[&url, &url, &url]).expect("curl");
    drop(nginx);
    std::thread::sleep(Duration::from_millis(300));
    let outcome = agent.stop().expect("the agent's end");
    println!("{:?}", outcome.said);
    outcome.check_clean();
    let server: SocketAddr = format!("{SERVER}:80").parse().expect("an address");
    let seen = &outcome.report.responses;
    assert_eq!(seen.len(), asked.len());
    for response in seen {
        assert_eq!((response.status, response.server), (Some(200), server));
        assert!(response.complete, "{response:?}");
        let length = &response.json["http"]["response"]["body"]["bytes"];
        assert_eq!(length.as_u64(), Some(asked[0].body), "{response:?}");
    }
    assert!(outcome.counter("fragment") > 0, "{:?}", outcome.said);
}
