//! TCP segments in IP fragments, at each hook: the host reassembles them and reports incomplete ones.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use http_trace_tests::agent::{Agent, ROOMY};
use http_trace_tests::bed::{UPSTREAM, log_differences, nothing};
use http_trace_tests::client::{curl, wrk};
use http_trace_tests::inject::inject;
use http_trace_tests::matrix::HOST;
use http_trace_tests::netns::{Namespace, run};
use http_trace_tests::nginx::Nginx;
use http_trace_tests::pieces::{cut, talk};
use http_trace_tests::tcp::Path;
use http_trace_tests::{needs, scenes};

/// A client and a server with normal links, and two routers joined by a narrow one.
struct Narrow {
    client: Namespace,
    server: Namespace,
    _routers: [Namespace; 2],
}

const SERVER: &str = "10.66.3.2";

impl Narrow {
    /// Both ends send without "don't fragment" (`net.ipv4.ip_no_pmtu_disc`).
    fn new() -> anyhow::Result<Self> {
        let [client, near, far, server] = ["client", "near", "far", "server"].map(Namespace::new);
        let (client, near, far, server) = (client?, near?, far?, server?);
        let links = [(&client, &near, 1, 1500), (&near, &far, 2, 576), (&far, &server, 3, 1500)];
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
        Ok(Narrow { client, server, _routers: [near, far] })
    }
}

/// Requests over the narrow link: responses and requests of one packet and of many, on connections with one
/// request and with several.
fn ask(net: &Narrow) {
    let url = |path: &str| format!("http://{SERVER}/{path}");
    wrk(&net.client, &url("small.txt"), 1, 2, Duration::from_secs(1)).expect("wrk");
    let cookie = format!("Cookie: long={}", "x".repeat(3000));
    let (text, small, large) = (url("text.txt"), url("small.txt"), url("large.bin"));
    let asked = curl(&net.client, &["-H", &cookie, &text, &small, &large, &small, &text]);
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
    // XDP sees ingress only: the server's end sees requests, the client's responses.
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
                println!("{hook}, host framing {host_framing}, at the {at}: {:?}", outcome.said);
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

/// IPv4 and IPv6 fragments at every hook that sees them, and packets that are never complete.
#[test]
fn at_every_hook_pieces_are_put_together_and_losses_told() {
    needs!("python3");
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let truth = scenes::named("keep_alive").truth;
    for path in [Path::v4(40_000), Path::v6(40_000)] {
        frames.extend(cut(&talk(&path)).into_iter().map(|(_, frame)| frame));
    }
    // A packet that is never complete, of another connection.
    let incomplete = cut(&talk(&Path::v4(40_002)));
    let first = incomplete.iter().position(|(_, frame)| frame[20] & 0x20 != 0).expect("a piece");
    frames.push(incomplete[first].1.clone());
    for hook in ["tc", "socket-filter", "xdp"] {
        let namespace = Namespace::new("pieces").expect("a namespace");
        namespace.ip("link add inject0 type veth peer name inject1").expect("a pair");
        for end in ["inject0", "inject1"] {
            namespace.ip(&format!("link set {end} up")).expect("up");
        }
        let options = ["-i", "inject1", "--hook", hook, "-v"];
        let agent = Agent::start(&namespace, &options).expect("an agent");
        namespace.enter(|| inject("inject0", &frames, || ())).expect("inside").expect("sent");
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while agent.so_far().expect("events").losses.is_empty() {
            assert!(std::time::Instant::now() < patience, "{hook}: no loss is told");
            std::thread::sleep(Duration::from_millis(50));
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
        let told: Vec<_> = losses.iter().map(|l| l["http_trace"]["lost"].clone()).collect();
        assert_eq!(told.len(), 1, "{hook}: {losses:?}");
        assert_eq!(told[0]["where"], "fragments_incomplete", "{hook}: {losses:?}");
        assert_eq!(told[0]["unit"], "packets");
        assert_eq!(told[0]["count"], 1);
    }
}
