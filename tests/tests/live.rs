//! The live matrix: real servers and clients in namespaces, the agent beside the server. What the
//! tracer reports equals what the client and the server's access log say.

use std::net::SocketAddr;
use std::time::Duration;

use http_trace_tests::bed::{
    Bed, UPSTREAM, log_differences, nothing, scene_differences, server_v4, server_v6,
};
use http_trace_tests::client::{Raw, curl, wrk};
use http_trace_tests::netns::{Pair, address};
use http_trace_tests::nginx::{LARGE, Nginx, Python};
use http_trace_tests::play::{Played, Stage};
use http_trace_tests::scene::{End, Scene};
use http_trace_tests::{needs, node, scenes, visits};

/// Verbose enough for the summary to list the counters.
const COUNTERS: &str = "-vv";

#[test]
fn nginx_as_curl_and_raw_clients_visit_it() {
    needs!("nginx", "curl", "python3");
    let bed = Bed::new(1500, &[COUNTERS]).expect("a bed");
    let _python = Python::start(&bed.pair.server, UPSTREAM.into()).expect("python");
    let nginx = Nginx::start(&bed.pair.server, UPSTREAM.into()).expect("nginx");
    visits::curls(&bed.pair.client, address::SERVER_V4).expect("curl");
    visits::curls(&bed.pair.client, &format!("[{}]", address::SERVER_V6)).expect("curl");
    visits::raws(&bed.pair.client, server_v4(80)).expect("raw");
    visits::raws(&bed.pair.client, server_v6(80)).expect("raw");
    let log = nginx.stop().expect("an access log");
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(log_differences(&outcome.report, &log));
    let of_100 = outcome
        .report
        .responses
        .iter()
        .filter(|r| r.informational == [100])
        .count();
    assert!(of_100 >= 4, "100 Continue rode on {of_100} responses");
    let v6 = outcome
        .report
        .responses
        .iter()
        .filter(|r| r.client.is_ipv6())
        .count();
    assert_eq!(v6 * 2, outcome.report.responses.len());
    assert!(
        outcome.counter("skb_several_heads") > 0,
        "pipelined: {:?}",
        outcome.said
    );
}

/// Plays every scene against a stage on this pair and compares.
fn play_all(bed: Bed, server: SocketAddr, inside: bool) {
    let client = if inside {
        &bed.pair.server
    } else {
        &bed.pair.client
    };
    let stage = Stage::new(client, &bed.pair.server, server).expect("a stage");
    let play = |scene: Scene| -> (Played, Scene) {
        (
            stage
                .play(&scene)
                .unwrap_or_else(|error| panic!("{error:#}")),
            scene,
        )
    };
    let played: Vec<_> = scenes::all().into_iter().map(play).collect();
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(scene_differences(&outcome.report, &played));
}

#[test]
fn scenes_over_veth() {
    needs!();
    play_all(Bed::new(1500, &[]).expect("a bed"), server_v4(8000), false);
}

#[test]
fn scenes_over_ipv6_and_a_small_mtu() {
    needs!("ethtool");
    let bed = Bed::new(1280, &[]).expect("a bed");
    bed.pair.client.offloads("veth0", false).expect("ethtool");
    bed.pair.server.offloads("veth0", false).expect("ethtool");
    play_all(bed, server_v6(8000), false);
}

#[test]
fn scenes_over_lo() {
    needs!();
    let bed = Bed::over(Pair::new(1500).expect("a pair"), &["-i", "lo"]).expect("a bed");
    play_all(bed, ([127, 0, 0, 1], 8000).into(), true);
}

#[test]
fn scenes_over_a_device_without_a_link_layer() {
    needs!("python3");
    let (pair, _pipe) = Pair::tun().expect("a pair");
    let bed = Bed::over(pair, &["-i", "tun0", COUNTERS]).expect("a bed");
    let stage = Stage::new(&bed.pair.client, &bed.pair.server, server_v4(8000)).expect("a stage");
    let scene = scenes::named("keep_alive");
    let played = vec![(stage.play(&scene).expect("played"), scene)];
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(scene_differences(&outcome.report, &played));
    assert!(outcome.counter("skb_l3") > 0, "{:?}", outcome.said);
}

#[test]
fn large_files_by_sendfile() {
    needs!("nginx", "curl");
    let bed = Bed::new(1500, &[COUNTERS]).expect("a bed");
    let nginx = Nginx::start(&bed.pair.server, UPSTREAM.into()).expect("nginx");
    let url = format!("http://{}/large.bin", address::SERVER_V4);
    let small = format!("http://{}/small.txt", address::SERVER_V4);
    let seen = curl(&bed.pair.client, &[&url, &small, &url, &small]).expect("curl");
    assert_eq!(seen[2].body, LARGE as u64);
    let log = nginx.stop().expect("an access log");
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(log_differences(&outcome.report, &log));
    for counter in ["skb_non_linear", "skb_gso"] {
        assert!(
            outcome.counter(counter) > 0,
            "{counter}: {:?}",
            outcome.said
        );
    }
    let skipped = outcome.counter("body_skipped");
    assert!(
        skipped > 2 * LARGE as u64 * 999 / 1000,
        "{skipped} body bytes skipped"
    );
}

#[test]
fn node_sends_what_others_do_not() {
    needs!("node");
    let bed = Bed::new(1500, &[]).expect("a bed");
    let _node = node::start(&bed.pair.server, server_v4(3000)).expect("node");
    let clients = node::visit(&bed.pair.client, server_v4(3000)).expect("visits");
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    for (client, visits) in clients.iter().zip(node::VISITS) {
        let seen: Vec<_> = outcome
            .report
            .of(*client)
            .into_iter()
            .map(|s| (s.request.clone(), s.informational.clone(), s.status))
            .collect();
        let truth: Vec<_> = visits
            .iter()
            .map(|v| {
                let request = Some((v.method.to_owned(), v.target.to_owned()));
                (request, v.informational.to_vec(), Some(v.status))
            })
            .collect();
        assert_eq!(seen, truth);
    }
}

#[test]
fn python_s_http_server() {
    needs!("python3", "curl");
    let bed = Bed::new(1500, &[]).expect("a bed");
    let _python = Python::start(&bed.pair.server, server_v4(8080)).expect("python");
    let url = |path: &str| format!("http://{}:8080{path}", address::SERVER_V4);
    let (small, none) = (url("/small.txt"), url("/none"));
    let mut told = curl(&bed.pair.client, &[&small, &none, &small]).expect("curl");
    told.extend(curl(&bed.pair.client, &["--data", "x", &small]).expect("curl"));
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    let seen: Vec<_> = outcome
        .report
        .responses
        .iter()
        .map(|s| {
            let (method, target) = s.request.clone().expect("a request");
            (s.client.port(), method, url(&target), s.status)
        })
        .collect();
    let told: Vec<_> = told
        .into_iter()
        .map(|t| (t.port, t.method, t.url, Some(t.status)))
        .collect();
    assert_eq!(seen, told);
}

/// An event stream that never ends is told of two seconds after its head.
#[test]
fn a_stream_that_stays_open_is_told() {
    needs!();
    let bed = Bed::new(1500, &[]).expect("a bed");
    let stage = Stage::new(&bed.pair.client, &bed.pair.server, server_v4(8000)).expect("a stage");
    let scene = scenes::named("server_sent_events");
    assert_eq!(scene.truth[0].end, End::Open);
    let report = std::thread::scope(|scope| {
        // The scene keeps the connection open for two and a half seconds.
        let player = scope.spawn(|| stage.play(&scene));
        let report = bed
            .agent
            .wait_for(1, Duration::from_millis(2450))
            .expect("a report");
        player.join().expect("no panic").expect("played");
        report
    });
    assert_eq!(report.responses.len(), 1, "while it was open");
    assert!(!report.responses[0].complete);
    assert_eq!(report.responses[0].missing, ["end"]);
    let outcome = bed.stop().expect("an outcome");
    assert_eq!(
        outcome.report.responses.len(),
        1,
        "once, not again at its end"
    );
}

/// One request on each of many connections, sixteen at a time.
#[test]
fn ten_thousand_connections() {
    needs!("nginx");
    let bed = Bed::new(1500, &[COUNTERS]).expect("a bed");
    let nginx = Nginx::start(&bed.pair.server, UPSTREAM.into()).expect("nginx");
    let (client, server) = (&bed.pair.client, server_v4(80));
    let request = b"GET /small.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client
        .enter(|| {
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        for _ in 0..625 {
                            let stream = std::net::TcpStream::connect(server).expect("connect");
                            let mut raw = Raw::over(stream).expect("a client");
                            raw.send(request).expect("send");
                            assert_eq!(raw.receive().expect("an answer").status, 200);
                        }
                    });
                }
            })
        })
        .expect("enter");
    let log = nginx.stop().expect("an access log");
    assert_eq!(log.len(), 10_000);
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(log_differences(&outcome.report, &log));
}

/// What wrk does for some seconds, on one hook: no line of the access log is missing, no direction
/// is ever unsure.
fn wrk_run(connections: u32, time: Duration, at_least: u64) {
    let bed = Bed::new(1500, &[COUNTERS]).expect("a bed");
    let nginx = Nginx::start(&bed.pair.server, UPSTREAM.into()).expect("nginx");
    let url = format!("http://{}/small.txt", address::SERVER_V4);
    let load = wrk(&bed.pair.client, &url, 1, connections, time).expect("wrk");
    let log = nginx.stop().expect("an access log");
    let outcome = bed.stop().expect("an outcome");
    println!("{}{}", load.printed, outcome.said.join("\n"));
    assert!(load.requests >= at_least, "{load:?}");
    outcome.check_clean();
    nothing(log_differences(&outcome.report, &log));
    assert_eq!(outcome.counter("became_unsure"), 0, "{:?}", outcome.said);
}

#[test]
fn wrk_on_one_connection() {
    needs!("nginx", "wrk");
    wrk_run(1, Duration::from_secs(5), 10_000);
}

/// `cargo test --release -p http-trace-tests --test live -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes, and says something of an optimised build on a quiet machine only"]
fn wrk_a_million_responses() {
    needs!("nginx", "wrk");
    let seconds = std::env::var("SECONDS_OF_WRK")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(60);
    wrk_run(16, Duration::from_secs(seconds), 1_000_000);
}
