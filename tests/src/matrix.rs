//! The live matrix: real servers and clients in namespaces, the agent beside the server, at each hook, with
//! framing in the kernel and without. The tracer's report must equal what the client and the server's access
//! log say.
//!
//! [`BLIND`] lists what a hook cannot see or tell; there are no other exceptions.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

pub use http_trace::probe::loader::Framing;

use crate::agent::{Agent, ROOMY};
use crate::bed::{
    Bed, UPSTREAM, log_differences_at, nothing, own_port, scene_differences, server_v4, server_v6,
};
use crate::client::{Raw, curl, wrk};
use crate::netns::Pair;
use crate::nginx::{LARGE, Nginx, Python};
use crate::play::Stage;
use crate::{needs, node, others, scenes, visits};

/// Makes the summary list the counters.
const COUNTERS: &str = "-vv";

/// Forces the programs for kernels that cannot frame.
pub const HOST: (&str, &str) = ("HTTP_TRACE_FRAMING", "host");

/// A hook of the matrix, who frames, and the port of the current test, to which the agent is limited: the
/// cgroup hook also sees other tests.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    hook: &'static str,
    framing: Framing,
    port: u16,
}

/// What a hook cannot see or tell: hook, what, why.
const BLIND: &[(&str, &str, &str)] = &[
    (
        "socket-filter",
        "skb_non_linear",
        "a socket filter has no direct access to the packet, so it does not know what is linear",
    ),
    (
        "socket-filter",
        "skb_gso",
        "the kernel does not let a socket filter read the number of segments",
    ),
];

impl Lane {
    /// A lane with its own port.
    pub fn new(hook: &'static str, framing: Framing) -> Self {
        Lane { hook, framing, port: own_port() }
    }

    fn is_blind_to(self, what: &str) -> bool {
        BLIND.iter().any(|(hook, blind, _)| *hook == self.hook && *blind == what)
    }

    fn frames(self) -> bool {
        self.framing == Framing::Kernel
    }

    fn v4(self) -> SocketAddr {
        server_v4(self.port)
    }

    fn v6(self) -> SocketAddr {
        server_v6(self.port)
    }

    /// Starts the agent on this interface of the server's namespace.
    fn over(self, pair: Pair, interface: &str, options: &[&str]) -> Bed {
        let port = self.port.to_string();
        let mut all = vec!["--hook", self.hook, "-p", &port];
        // Interface indexes are per namespace, and the cgroup hook sees several.
        if self.hook != "cgroup" {
            all.extend(["-i", interface]);
        }
        all.extend(options);
        let environment: &[_] = if self.frames() { &[ROOMY] } else { &[ROOMY, HOST] };
        let agent = Agent::start_with(&pair.server, &all, environment).expect("the agent");
        Bed { pair, agent }
    }

    fn bed(self, mtu: u32, options: &[&str]) -> Bed {
        self.over(Pair::new(mtu).expect("a pair"), "veth0", options)
    }

    fn nginx(self, bed: &Bed) -> Nginx {
        Nginx::start_at(&bed.pair.server, self.port, UPSTREAM.into()).expect("nginx")
    }
}

/// Every case at every hook; `live_matrix!(Host)` without framing in the kernel, except XDP, which needs it.
#[macro_export]
macro_rules! live_matrix {
    (Kernel) => {
        $crate::live_matrix! { @hooks Kernel, tc "tc", socket_filter "socket-filter", cgroup "cgroup", xdp "xdp" }
    };
    (Host) => {
        $crate::live_matrix! { @hooks Host, tc "tc", socket_filter "socket-filter", cgroup "cgroup" }
    };
    (@hooks $framing:ident, $($module:ident $hook:literal),+) => {
        $(
            mod $module {
                $crate::live_matrix! {
                    @hook $hook, $framing;
                    nginx_as_curl_and_raw_clients_visit_it,
                    apache,
                    haproxy_before_python,
                    scenes_over_veth,
                    scenes_over_ipv6_and_a_small_mtu,
                    scenes_over_lo,
                    scenes_over_a_device_without_a_link_layer,
                    large_files_by_sendfile,
                    node_sends_what_others_do_not,
                    python_s_http_server,
                    a_stream_that_stays_open_is_told,
                    ten_thousand_connections,
                    wrk_on_one_connection,
                }
            }
        )+
    };
    (@hook $hook:literal, $framing:ident; $($case:ident,)+) => {
        $(
            #[test]
            fn $case() {
                $crate::matrix::$case($crate::matrix::Lane::new($hook, $crate::matrix::Framing::$framing));
            }
        )+
    };
}

pub fn nginx_as_curl_and_raw_clients_visit_it(lane: Lane) {
    needs!("nginx", "curl", "python3");
    let bed = lane.bed(1500, &[COUNTERS]);
    let _python = Python::start(&bed.pair.server, UPSTREAM.into()).expect("python");
    let nginx = lane.nginx(&bed);
    for server in [lane.v4(), lane.v6()] {
        visits::curls(&bed.pair.client, &server.to_string()).expect("curl");
        visits::raws(&bed.pair.client, server).expect("raw");
    }
    let log = nginx.stop().expect("an access log");
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(log_differences_at(lane.port, &outcome.report, &log));
    let of_100 = outcome.report.responses.iter().filter(|r| r.informational == [100]).count();
    assert!(of_100 >= 4, "100 Continue rode on {of_100} responses");
    let v6 = outcome.report.responses.iter().filter(|r| r.client.is_ipv6()).count();
    assert_eq!(v6 * 2, outcome.report.responses.len());
    let said = &outcome.said;
    let who = if lane.frames() { "framing HTTP/1.x here" } else { "the host does framing" };
    assert!(said.iter().any(|line| line.contains(who)), "{said:?}");
    let several_heads = outcome.counter("skb_several_heads") > 0;
    assert_eq!(several_heads, lane.frames(), "pipelined: {said:?}");
}

/// Compares one of the other servers, whose framing differs from nginx's, with its own log.
fn other(lane: Lane, bed: Bed, server: others::Server) {
    let seen = others::visit(&bed.pair.client, lane.v4()).expect("visits");
    let log = server.stop().expect("a log");
    assert_eq!(log.len(), seen, "{log:#?}");
    let mut outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    // The harness itself probed whether the server listens, which the cgroup hook sees too.
    let responses = &mut outcome.report.responses;
    responses.retain(|seen| !seen.client.ip().is_loopback());
    nothing(log_differences_at(lane.port, &outcome.report, &log));
}

pub fn apache(lane: Lane) {
    needs!("apache2", "curl");
    let bed = lane.bed(1500, &[]);
    let apache = others::apache(&bed.pair.server, lane.port).expect("apache");
    other(lane, bed, apache);
}

pub fn haproxy_before_python(lane: Lane) {
    needs!("haproxy", "curl", "python3");
    let bed = lane.bed(1500, &[]);
    let server = &bed.pair.server;
    let _python = Python::start(server, UPSTREAM.into()).expect("python");
    let haproxy = others::haproxy(server, lane.port, UPSTREAM.into()).expect("haproxy");
    other(lane, bed, haproxy);
}

/// Plays every scene against a stage on this pair and compares.
fn play_all(bed: Bed, server: SocketAddr, inside: bool) {
    let client = if inside { &bed.pair.server } else { &bed.pair.client };
    let stage = Stage::new(client, &bed.pair.server, server).expect("a stage");
    let played = stage.play_all(scenes::all()).expect("played");
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(scene_differences(&outcome.report, &played));
}

pub fn scenes_over_veth(lane: Lane) {
    needs!();
    play_all(lane.bed(1500, &[]), lane.v4(), false);
}

pub fn scenes_over_ipv6_and_a_small_mtu(lane: Lane) {
    needs!("ethtool");
    let bed = lane.bed(1280, &[]);
    bed.pair.client.offloads("veth0", false).expect("ethtool");
    bed.pair.server.offloads("veth0", false).expect("ethtool");
    play_all(bed, lane.v6(), false);
}

pub fn scenes_over_lo(lane: Lane) {
    needs!();
    let bed = lane.over(Pair::new(1500).expect("a pair"), "lo", &[COUNTERS]);
    play_all(bed, ([127, 0, 0, 1], lane.port).into(), true);
}

pub fn scenes_over_a_device_without_a_link_layer(lane: Lane) {
    needs!("python3");
    let (pair, _pipe) = Pair::tun().expect("a pair");
    let bed = lane.over(pair, "tun0", &[COUNTERS]);
    let stage = Stage::new(&bed.pair.client, &bed.pair.server, lane.v4()).expect("a stage");
    let scene = scenes::named("keep_alive");
    let played = vec![(stage.play(&scene).expect("played"), scene)];
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(scene_differences(&outcome.report, &played));
    // At other hooks every packet begins with its IP header.
    if matches!(lane.hook, "tc" | "xdp") {
        assert!(outcome.counter("skb_l3") > 0, "{:?}", outcome.said);
    }
}

pub fn large_files_by_sendfile(lane: Lane) {
    needs!("nginx", "curl");
    let bed = lane.bed(1500, &[COUNTERS]);
    let nginx = lane.nginx(&bed);
    let url = format!("http://{}/large.bin", lane.v4());
    let small = format!("http://{}/small.txt", lane.v4());
    let seen = curl(&bed.pair.client, &[&url, &small, &url, &small]).expect("curl");
    assert_eq!(seen[2].body, LARGE as u64);
    let log = nginx.stop().expect("an access log");
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    nothing(log_differences_at(lane.port, &outcome.report, &log));
    for counter in ["skb_non_linear", "skb_gso"] {
        assert_eq!(
            outcome.counter(counter) > 0,
            !lane.is_blind_to(counter),
            "{counter}: {:?}",
            outcome.said
        );
    }
    let skipped = outcome.counter("body_skipped");
    let expected = if lane.frames() { 2 * LARGE as u64 * 999 / 1000..u64::MAX } else { 0..1 };
    assert!(expected.contains(&skipped), "{skipped} body bytes skipped");
}

pub fn node_sends_what_others_do_not(lane: Lane) {
    needs!("node");
    let bed = lane.bed(1500, &[]);
    let _node = node::start(&bed.pair.server, lane.v4()).expect("node");
    let clients = node::visit(&bed.pair.client, lane.v4()).expect("visits");
    let outcome = bed.stop().expect("an outcome");
    outcome.check_clean();
    node::check_fields(&outcome.report.responses);
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

pub fn python_s_http_server(lane: Lane) {
    needs!("python3", "curl");
    let bed = lane.bed(1500, &[]);
    let _python = Python::start(&bed.pair.server, lane.v4()).expect("python");
    let url = |path: &str| format!("http://{}{path}", lane.v4());
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
    let told: Vec<_> =
        told.into_iter().map(|t| (t.port, t.method, t.url, Some(t.status))).collect();
    assert_eq!(seen, told);
}

/// An event stream that never ends is reported two seconds after its head.
pub fn a_stream_that_stays_open_is_told(lane: Lane) {
    needs!();
    let bed = lane.bed(1500, &[]);
    let bind = || TcpListener::bind(lane.v4());
    let listener = bed.pair.server.enter(bind).expect("enter").expect("bind");
    let connect = || TcpStream::connect(lane.v4());
    let mut client = bed.pair.client.enter(connect).expect("enter").expect("a stream");
    let (mut server, _) = listener.accept().expect("accept");
    client.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("send");
    let asked = server.read(&mut [0; 1024]).expect("a request");
    assert_ne!(asked, 0);
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
    server.write_all(head).expect("send");
    let report = bed.agent.wait_for(1, Duration::from_secs(20)).expect("a report");
    assert_eq!(report.responses.len(), 1, "while it is open");
    assert!(!report.responses[0].complete);
    assert!(report.responses[0].missing.contains(&"end".to_owned()));
    server.write_all(b"data: 2\n\n").expect("send");
    drop((client, server));
    let outcome = bed.stop().expect("an outcome");
    let events = outcome.report.responses.len();
    assert_eq!(events, 1, "once, not again at its end");
}

/// One request on each of many connections, sixteen at a time.
pub fn ten_thousand_connections(lane: Lane) {
    needs!("nginx");
    let bed = lane.bed(1500, &[COUNTERS]);
    let nginx = lane.nginx(&bed);
    let (client, server) = (&bed.pair.client, lane.v4());
    let request = b"GET /small.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client
        .enter(|| {
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| {
                        for _ in 0..625 {
                            let stream = TcpStream::connect(server).expect("connect");
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
    nothing(log_differences_at(lane.port, &outcome.report, &log));
}

/// Load of wrk at one hook: no line of the access log is missing, and no direction becomes unsure.
pub fn wrk_run(lane: Lane, connections: u32, time: Duration, at_least: u64) {
    let bed = lane.bed(1500, &[COUNTERS]);
    let nginx = lane.nginx(&bed);
    let url = format!("http://{}/small.txt", lane.v4());
    let load = wrk(&bed.pair.client, &url, 1, connections, time).expect("wrk");
    let log = nginx.stop().expect("an access log");
    let outcome = bed.stop().expect("an outcome");
    println!("{}{}", load.printed, outcome.said.join("\n"));
    assert!(load.requests >= at_least, "{load:?}");
    outcome.check_clean();
    nothing(log_differences_at(lane.port, &outcome.report, &log));
    assert_eq!(outcome.counter("became_unsure"), 0, "{:?}", outcome.said);
}

pub fn wrk_on_one_connection(lane: Lane) {
    needs!("nginx", "wrk");
    wrk_run(lane, 1, Duration::from_secs(3), 3_000);
}
