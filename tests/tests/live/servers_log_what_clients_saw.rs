//! The servers' logs equal what the clients saw, before a tracer is compared with either.

use std::net::SocketAddr;
use std::time::Duration;

use http_trace_tests::client::{Raw, curl, wrk};
use http_trace_tests::needs;
use http_trace_tests::netns::{Namespace, Pair, address};
use http_trace_tests::nginx::{LARGE, Nginx, Python};
use http_trace_tests::others;

const NOWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

#[test]
fn nginx_logs_what_curl_saw() {
    needs!("nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let nginx = Nginx::start(&pair.server, NOWHERE.into()).expect("nginx");
    let v4 = |path: &str| format!("http://{}{path}", address::SERVER_V4);
    let v6 = |path: &str| format!("http://[{}]{path}", address::SERVER_V6);
    let mut seen = Vec::new();
    for urls in [
        vec![v4("/"), v4("/small.txt"), v4("/none"), v4("/204"), v4("/301"), v4("/403")],
        vec![v4("/500"), v4("/502"), v4("/503"), v4("/large.bin"), v4("/page.shtml")],
        vec![v6("/"), v6("/a%20b?c=d")],
    ] {
        let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
        seen.extend(curl(&pair.client, &urls).expect("curl"));
    }
    let statuses: Vec<u16> = seen.iter().map(|t| t.status).collect();
    assert_eq!(statuses, [200, 200, 404, 204, 301, 403, 500, 502, 503, 200, 200, 200, 404]);
    assert_eq!(seen[9].body, LARGE as u64);
    let log = nginx.stop().expect("an access log");
    let mut logged: Vec<_> =
        log.iter().map(|l| (l.client.port(), l.method.as_str(), l.status)).collect();
    let mut told: Vec<_> = seen.iter().map(|t| (t.port, t.method.as_str(), t.status)).collect();
    // Two workers share the log: only lines of one connection are in order.
    logged.sort_by_key(|(port, ..)| *port);
    told.sort_by_key(|(port, ..)| *port);
    assert_eq!(logged, told);
    assert!(log.iter().any(|l| l.target == "/a%20b?c=d"));
    assert!(log.iter().any(|l| l.number == 6), "one connection");
}

#[test]
fn nginx_logs_what_wrk_and_raw_clients_did() {
    needs!("nginx", "wrk");
    let namespace = Namespace::new("wrk").expect("a namespace");
    let nginx = Nginx::start(&namespace, NOWHERE.into()).expect("nginx");
    let server: SocketAddr = ([127, 0, 0, 1], 80).into();
    let mut raw = Raw::connect(&namespace, server).expect("connect");
    raw.send(&b"GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5)).expect("send");
    for _ in 0..5 {
        let answer = raw.receive().expect("an answer");
        assert_eq!((answer.status, answer.body), (200, 16));
    }
    let load = wrk(&namespace, "http://127.0.0.1/empty.txt", 1, 8, Duration::from_secs(1));
    let load = load.expect("wrk");
    let log = nginx.stop().expect("an access log");
    let of_raw = log.iter().filter(|l| Ok(l.client) == raw.address().map_err(drop)).count();
    assert_eq!(of_raw, 5);
    let of_wrk = log.len() as u64 - 5;
    assert!(of_wrk >= load.requests && of_wrk <= load.requests + 8, "{of_wrk} of {load:?}");
}

#[test]
fn python_serves() {
    needs!("python3", "curl");
    let namespace = Namespace::new("python").expect("a namespace");
    let _python = Python::start(&namespace, ([127, 0, 0, 1], 8080).into()).expect("a server");
    let seen = curl(&namespace, &["http://127.0.0.1:8080/small.txt", "http://127.0.0.1:8080/no"]);
    let seen = seen.expect("curl");
    assert_eq!(seen.iter().map(|t| t.status).collect::<Vec<_>>(), [200, 404]);
}

#[test]
fn apache_and_haproxy_log_what_came_back() {
    needs!("apache2", "haproxy", "nginx", "curl");
    let pair = Pair::new(1500).expect("a pair");
    let server = SocketAddr::new(address::SERVER_V4.parse().expect("an address"), 80);
    let apache = others::apache(&pair.server, 80).expect("apache");
    let seen = others::visit(&pair.client, server).expect("visits");
    let log = apache.stop().expect("a log");
    assert_eq!(log.len(), seen, "{log:#?}");
    for status in [200, 206, 299, 302, 304, 400, 403, 404, 416] {
        assert!(log.iter().any(|l| l.status == status), "no {status}: {log:#?}");
    }
    let backend = SocketAddr::from(([127, 0, 0, 1], 8080));
    let _python = Python::start(&pair.server, backend).expect("python");
    let haproxy = others::haproxy(&pair.server, 80, backend).expect("haproxy");
    let seen = others::visit(&pair.client, server).expect("visits");
    let log = haproxy.stop().expect("a log");
    assert_eq!(log.len(), seen, "{log:#?}");
    for status in [200, 303, 400, 404, 408, 429, 503] {
        assert!(log.iter().any(|l| l.status == status), "no {status}: {log:#?}");
    }
}
