//! The client behind HAProxy is named by X-Forwarded-For, Forwarded and both versions of PROXY protocol.

use std::net::IpAddr;
use std::process::{Command, Stdio};

use http_trace_tests::agent::Agent;
use http_trace_tests::client::curl;
use http_trace_tests::need::program;
use http_trace_tests::needs;
use http_trace_tests::netns::{Pair, address};

/// Port of the proxy and port of the server behind it, both in one HAProxy.
const WAYS: [(u16, u16); 4] = [(8001, 80), (8002, 80), (8003, 81), (8004, 81)];

const CONFIGURATION: &str = "
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend in1
    bind 0.0.0.0:8001
    option forwardfor
    default_backend plain
frontend in2
    bind 0.0.0.0:8002
    http-request set-header Forwarded for=%[src];proto=http
    http-request del-header X-Forwarded-For
    default_backend plain
frontend in3
    bind 0.0.0.0:8003
    default_backend v1
frontend in4
    bind 0.0.0.0:8004
    default_backend v2
backend plain
    server origin 127.0.0.1:80
backend v1
    http-request del-header X-Forwarded-For
    server origin 127.0.0.1:81 send-proxy
backend v2
    http-request del-header X-Forwarded-For
    server origin 127.0.0.1:81 send-proxy-v2
frontend origin
    bind 127.0.0.1:80
    http-request return status 404
frontend proxied-origin
    bind 127.0.0.1:81 accept-proxy
    http-request return status 404
";

#[test]
fn the_client_behind_haproxy_is_named() {
    needs!("haproxy", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let folder = tempfile::tempdir().expect("a folder");
    let configuration = folder.path().join("haproxy.cfg");
    std::fs::write(&configuration, CONFIGURATION).expect("written");
    let mut command = Command::new(program("haproxy").expect("haproxy"));
    command.arg("-db").arg("-f").arg(&configuration);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let _haproxy = pair.server.serve(&mut command, ([127, 0, 0, 1], 8004).into()).expect("haproxy");

    let agent = Agent::start(&pair.server, &[]).expect("an agent");
    for (port, _) in WAYS {
        let url = |n| format!("http://{}:{port}/{n}", address::SERVER_V4);
        // Twice on one connection, with a made-up address from the client.
        let (first, second) = (url(1), url(2));
        let words = ["-H", "X-Forwarded-For: 8.8.8.8", &first, &second];
        let seen = curl(&pair.client, &words).expect("curl");
        assert!(seen.iter().all(|t| t.status == 404), "{seen:?}");
    }
    let outcome = agent.stop().expect("an outcome");

    let client: IpAddr = address::CLIENT_V4.parse().expect("an address");
    let loopback: IpAddr = [127, 0, 0, 1].into();
    let events = |server: (IpAddr, u16)| {
        outcome
            .report
            .responses
            .iter()
            .filter(move |seen| (seen.server.ip(), seen.server.port()) == server)
    };
    let server: IpAddr = address::SERVER_V4.parse().expect("an address");
    for (front, _) in WAYS {
        let seen: Vec<_> = events((server, front)).collect();
        assert_eq!(seen.len(), 2, "{front}");
        for one in seen {
            // The peer is no trusted proxy: its header fields are not believed.
            assert_eq!(one.json["client"]["ip"], address::CLIENT_V4);
            assert!(one.json["network"]["forwarded_ip"].is_null());
        }
    }
    for origin in [80, 81] {
        let seen: Vec<_> = events((loopback, origin)).collect();
        assert_eq!(seen.len(), 4, "{origin}");
        for one in seen {
            assert!(one.request.is_some() && one.missing.is_empty(), "{one:?}");
            assert_eq!(one.client.ip(), loopback);
            assert_eq!(one.json["client"]["ip"], client.to_string(), "{}", one.json);
            assert_eq!(one.json["network"]["forwarded_ip"], client.to_string());
        }
    }
    assert_eq!(outcome.counter("unsure"), 0, "{:?}", outcome.said);
}
