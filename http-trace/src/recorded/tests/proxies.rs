//! Text formats of proxies and load balancers.

use super::{one, read, shown};

const TIME: &str = "1795161600000000000";

#[test]
fn lines_of_envoy_and_istio_are_read() {
    for (line, client, forwarded) in [
        (
            r#"[2026-11-20T08:00:00.000Z] "GET /a?b=c HTTP/1.1" 404 - 0 153 5 4 "192.0.2.7" "probe" "abc-def" "h.example" "10.0.0.5:80""#,
            "192.0.2.7:0",
            None,
        ),
        (
            r#"[2026-11-20T08:00:00.000Z] "GET /a?b=c HTTP/1.1" 404 NR 0 153 5 - "198.51.100.4,192.0.2.7" "probe" "abc-def" "h.example" "-""#,
            "192.0.2.7:0",
            Some("198.51.100.4"),
        ),
        (
            r#"[2026-11-20T08:00:00.000Z] "GET /a?b=c HTTP/1.1" 404 - via_upstream - "-" 0 153 5 4 "198.51.100.4" "probe" "abc-def" "h.example" "10.0.0.5:80" inbound|80|| 127.0.0.6:1 10.0.0.5:80 192.0.2.7:40 - default"#,
            "192.0.2.7:40",
            Some("198.51.100.4"),
        ),
        (
            r#"[2026-11-20T08:00:00.000Z] "GET /a?b=c HTTP/1.1" 404 UF upstream_reset - "delayed_connect_error:_111" 0 153 5 - "-" "probe" "abc-def" "h.example" "10.0.0.5:80" inbound|80|| - 10.0.0.5:80 192.0.2.7:40 - default"#,
            "192.0.2.7:40",
            None,
        ),
    ] {
        for before in ["", "istio-proxy-1  | ", "[pod/web-1/istio-proxy] "] {
            let event = one(format!("{before}{line}\n").as_bytes());
            let expected =
                [TIME, &client[..9], "0.0.0.0:0", "GET /a?b=c", "404", "153", "h.example", "probe"];
            assert_eq!(shown(&event)[..8], expected, "{line}");
            assert_eq!(format!("{}:{}", event.client.ip, event.client.port), client);
            assert_eq!(event.minor_version(), Some(1));
            let request = event.request.expect("a request");
            let seen = request.headers.first("x-forwarded-for");
            assert_eq!(seen, forwarded.map(str::as_bytes), "{line}");
        }
    }
    // No request, and no answer.
    let event = one(br#"[2026-11-20T08:00:00.000Z] "- - HTTP/1.1" 400 DPE 0 11 0 - "192.0.2.7" "-" "-" "-" "-""#);
    assert!(event.request.is_none() && event.response.is_some());
    let event = one(
        br#"[2026-11-20T08:00:00.000Z] "GET /a HTTP/2" 0 DC 0 0 5 - "192.0.2.7" "-" "-" "h" "-""#,
    );
    assert!(event.request.is_some() && event.response.is_none());
}

/// Envoy escapes nothing.
#[test]
fn quotes_of_a_client_forge_no_line_of_envoy() {
    let istio = "inbound|80|| 127.0.0.6:1 10.0.0.5:80 192.0.2.7:40 - default";
    for (request, forwarded, agent) in [
        ("GET /a", r#"6.6.6.6" "x"#, "probe"),
        ("GET /a", "6.6.6.6", r#"x" "y" "z" inbound|80|| a b 6.6.6.6:1 - default"#),
        ("GET /a", "-", r#"x HTTP/1.1" 200 - - - "-" 0 1 2 3 "6.6.6.6"#),
    ] {
        let rest =
            format!(r#"404 - 0 153 5 4 "{forwarded}" "{agent}" "id" "h.example" "10.0.0.5:80""#);
        let line = format!(r#"[2026-11-20T08:00:00Z] "{request} HTTP/1.1" {rest}"#);
        let event = one(format!("{line} {istio}").as_bytes());
        assert_eq!(shown(&event)[1], "192.0.2.7", "{line}");
        assert_eq!(shown(&event)[3..6], ["GET /a", "404", "153"], "{line}");
        // Without the peer, the address is not known.
        let error = read(line.as_bytes()).remove(0).expect_err("refused");
        assert!(error.contains("missing client address in a line of Envoy's log"), "{error}");
    }
    let forged = r#"[2026-11-20T08:00:00Z] "GET /a" 200 - 0 1 2 3 "6.6.6.6" "x" "id" "h" "u" HTTP/1.1" 404 - 0 153 5 4 "192.0.2.7" "probe" "id" "h" "u""#;
    assert_eq!(shown(&one(forged.as_bytes()))[1], "192.0.2.7");
}

#[test]
fn lines_of_nginx_proxy_manager_are_read() {
    let end = r#"[Client 192.0.2.7] [Length 153] [Gzip -] [Sent-to 10.0.0.5] "a\x22b" "http://r/""#;
    for start in ["- 404 404 - GET", "HIT - 404 - GET", "404 - GET"] {
        let line =
            format!(r#"[20/Nov/2026:08:00:00 +0000] {start} https h.example "/a?b=\x22c" {end}"#);
        let expected = [
            TIME, "192.0.2.7", "0.0.0.0:0", "GET /a?b=\"c", "404", "153", "h.example", "a\"b",
            "http://r/",
        ];
        assert_eq!(shown(&one(line.as_bytes())), expected, "{line}");
    }
    let none = format!(r#"[20/Nov/2026:08:00:00 +0000] - - 400 - - http h.example "-" {end}"#);
    assert!(one(none.as_bytes()).request.is_none());
    let wrong =
        r#"[20/Nov/2026:08:00:00 +0000] 404 - GET https h.example "/a" [Client x] [Length 1]"#;
    let error = read(wrong.as_bytes()).remove(0).expect_err("refused");
    assert!(error.contains("missing client address in a line of Nginx"), "{error}");
}

#[test]
fn lines_of_an_application_load_balancer_are_read() {
    for (scheme, url, target, host) in [
        ("http", "http://h.example:80/a?b=c", "/a?b=c", "h.example"),
        ("h2", "https://h.example:443/a?b=c", "/a?b=c", "h.example"),
        ("https", "https://h.example:8443/", "/", "h.example:8443"),
        ("ws", "http://h.example:80", "/", "h.example"),
    ] {
        let line = format!(
            r#"{scheme} 2026-11-20T08:00:00.000000Z app/lb/abc 192.0.2.7:40 10.0.0.5:80 0.000 0.001 0.000 404 404 34 366 "GET {url} HTTP/1.1" "probe" - - arn:aws:x "Root=1-x" "-" "-" 0 2026-11-20T08:00:00.000000Z "forward" "-" "-" "10.0.0.5:80" "404" "-" "-""#
        );
        let event = one(line.as_bytes());
        let target = format!("GET {target}");
        let expected = [TIME, "192.0.2.7", "0.0.0.0:0", &target, "404", "-", host, "probe"];
        assert_eq!(shown(&event)[..8], expected, "{line}");
        assert_eq!((event.client.port, event.response_bytes), (40, Some(366)));
    }
    let none = r#"http 2026-11-20T08:00:00Z app/lb/abc 192.0.2.7:40 - -1 -1 -1 400 - 0 272 "- http://h.example:80- -" "-" - -"#;
    assert!(one(none.as_bytes()).request.is_none());
    let wrong =
        r#"http 2026-11-20T08:00:00Z app/lb/abc 192.0.2.7:40 - -1 -1 400 - 0 272 "GET / HTTP/1.1""#;
    let error = read(wrong.as_bytes()).remove(0).expect_err("refused");
    assert!(error.contains("missing columns in a line of a load balancer"), "{error}");
}
