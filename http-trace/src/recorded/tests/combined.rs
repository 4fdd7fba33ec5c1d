//! Variants of the combined format.

use http_trace_model::event::basic_user;

use super::{one, read};

/// `%{X-Forwarded-For}i %h` and, in place of the address, `%{X-Forwarded-For}i`: formats that are in use behind load
/// balancers.
#[test]
fn a_list_of_clients_before_the_address_is_understood() {
    for (start, source, forwarded, host) in [
        ("203.0.113.7 10.0.0.1 - -", "10.0.0.1", Some("203.0.113.7"), None),
        (
            "203.0.113.7, 198.51.100.4 10.0.0.1 - -",
            "10.0.0.1",
            Some("203.0.113.7, 198.51.100.4"),
            None,
        ),
        ("2001:db8::7, 10.0.0.9 fd00::1 - -", "fd00::1", Some("2001:db8::7, 10.0.0.9"), None),
        ("- 10.0.0.1 - -", "10.0.0.1", None, None),
        ("203.0.113.7, 10.0.0.1 - bob smith", "10.0.0.1", Some("203.0.113.7"), None),
        ("203.0.113.7, 10.0.0.2, 10.0.0.1 - -", "10.0.0.1", Some("203.0.113.7, 10.0.0.2"), None),
        (
            "www.example.org:443 203.0.113.7, 10.0.0.1 - -",
            "10.0.0.1",
            Some("203.0.113.7"),
            Some("www.example.org:443"),
        ),
        (
            "www.example.org 203.0.113.7 198.51.100.4 - -",
            "198.51.100.4",
            Some("203.0.113.7"),
            Some("www.example.org"),
        ),
        ("203.0.113.7 198.51.100.4 - -", "198.51.100.4", None, Some("203.0.113.7")),
        ("\"203.0.113.7\" 10.0.0.1 - -", "10.0.0.1", Some("203.0.113.7"), None),
        (
            "\"203.0.113.7, 198.51.100.4\" 10.0.0.1 - -",
            "10.0.0.1",
            Some("203.0.113.7, 198.51.100.4"),
            None,
        ),
        ("\"-\" 198.51.100.4 - -", "198.51.100.4", None, None),
        ("(203.0.113.7) 10.0.0.1 - -", "10.0.0.1", Some("203.0.113.7"), None),
        ("unknown, 203.0.113.7 10.0.0.1 - -", "10.0.0.1", Some("203.0.113.7"), None),
    ] {
        let line = format!(
            "{start} [23/Nov/2026:09:52:56 +0000] \"GET / HTTP/1.1\" 404 397 \"-\" \"curl\" \"-\""
        );
        let event = one(line.as_bytes());
        assert_eq!(event.client.ip.to_string(), source, "{start}");
        let headers = event.request.expect("a request").headers;
        assert_eq!(headers.first("x-forwarded-for"), forwarded.map(str::as_bytes), "{start}");
        assert_eq!(headers.first("host"), host.map(str::as_bytes), "{start}");
    }
}

/// The last field of nginx's example of a format.
#[test]
fn a_proxy_that_names_its_clients_at_the_end_of_the_line_is_understood() {
    for (end, forwarded) in [
        (r#" "198.51.100.7""#, Some("198.51.100.7")),
        (r#" "198.51.100.7, 2001:db8::1""#, Some("198.51.100.7, 2001:db8::1")),
        (r#" "-""#, None),
        (r#" "0.004""#, None),
        (r#" 0.004"#, None),
        ("", None),
    ] {
        let line = format!(
            r#"10.0.0.5 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 404 1 "-" "curl/8"{end}"#
        );
        let request = one(line.as_bytes()).request.expect("a request");
        let seen = request.headers.first("x-forwarded-for");
        assert_eq!(seen, forwarded.map(str::as_bytes), "{end}");
    }
}

/// As Apache escapes it, whoever wrote it.
#[test]
fn quotes_in_the_list_of_clients_end_nothing() {
    for list in [r#"203.0.113.7\""#, r#"x\" 203.0.113.9 y"#] {
        let line = format!(
            r#""{list}" 10.0.0.1 - - [10/Oct/2026:13:55:36 +0000] "GET /a HTTP/1.1" 200 1"#
        );
        let event = one(line.as_bytes());
        assert_eq!(event.client.ip.to_string(), "10.0.0.1", "{list}");
        let headers = event.request.expect("a request").headers;
        assert_eq!(headers.first("x-forwarded-for"), None, "{list}");
    }
}

/// `-` in place of a quoted referrer.
#[test]
fn a_referrer_without_quotes_hides_no_user_agent() {
    let line = r#"10.0.0.1 - - [10/Oct/2026:13:55:36 +0000] "GET /a HTTP/1.1" 200 153 - "curl/8""#;
    let headers = one(line.as_bytes()).request.expect("a request").headers;
    assert_eq!(headers.first("referer"), None);
    assert_eq!(headers.first("user-agent"), Some(&b"curl/8"[..]));
}

/// Formats with times or lengths before the referrer.
#[test]
fn numbers_before_the_referrer_are_passed_over() {
    for numbers in ["", " 0.003", " 1523 0.003", " - 12", " 0.003,"] {
        let line = format!(
            r#"10.0.0.5 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 404 153{numbers} "http://h/" "curl/8""#
        );
        let headers = one(line.as_bytes()).request.expect("a request").headers;
        assert_eq!(headers.first("referer"), Some(&b"http://h/"[..]), "{numbers}");
        assert_eq!(headers.first("user-agent"), Some(&b"curl/8"[..]), "{numbers}");
    }
}

/// Older versions of Kubernetes' ingress-nginx: `ADDRESS - [ADDRESS] - USER`.
#[test]
fn an_address_in_brackets_is_no_user() {
    for (start, user) in [
        ("192.0.2.7 - [192.0.2.7] - -", None),
        ("192.0.2.7 - [192.0.2.7] - bob smith", Some("bob smith")),
        ("2001:db8::7 - [2001:db8::7] - -", None),
        ("192.0.2.7 - [198.51.100.4] - -", Some("[198.51.100.4] - -")),
        ("192.0.2.7 - [192.0.2.7]", Some("[192.0.2.7]")),
        ("192.0.2.7 - [x] - bob", Some("[x] - bob")),
    ] {
        let line = format!(r#"{start} [23/Nov/2026:09:52:56 +0000] "GET / HTTP/1.1" 401 12"#);
        let event = one(line.as_bytes());
        assert_eq!(basic_user(&event).as_deref(), user.map(str::as_bytes), "{start}");
        assert_eq!(event.client.ip.to_string(), start.split(' ').next().unwrap_or_default());
    }
}

/// Without a zone as Python's http.server and werkzeug write it, and as formats have it that users made.
#[test]
fn times_in_other_forms_are_read() {
    for (time, ns) in [
        ("20/Nov/2026:08:00:00 +0000", 0),
        ("20/Nov/2026:09:00:00 +0100", 0),
        ("20/Nov/2026:08:00:00.250 +0000", 250_000_000),
        ("20/Nov/2026:08:00:00.000001 +0000", 1000),
        ("20/Nov/2026:08:00:00.250", 250_000_000),
        ("20/Nov/2026 08:00:00", 0),
        ("2026-11-20T08:00:00+00:00", 0),
        ("2026-11-20T08:00:00.250Z", 250_000_000),
        ("1795161600.250", 250_000_000),
    ] {
        let line = format!(r#"192.0.2.7 - - [{time}] "GET /a HTTP/1.1" 200 -"#);
        let event = one(line.as_bytes());
        assert_eq!(event.time_ns, 1_795_161_600_000_000_000 + ns, "{time}");
        assert_eq!(event.request.expect("a request").target, "/a");
    }
    for time in [
        "1795161600", "20/Nov/2026", "99/Dec/2026:08:00:00 +0000", "8:00",
        "20/Nov/2026:08:00:00 UTC",
    ] {
        let line = format!(r#"192.0.2.7 - - [{time}] "GET /a HTTP/1.1" 200 -"#);
        let error = read(line.as_bytes()).remove(0).expect_err("refused");
        assert!(error.contains("missing or invalid time"), "{time}: {error}");
    }
}

#[test]
fn a_port_behind_the_address_is_the_clients() {
    for (start, ip) in [("192.0.2.7:40", "192.0.2.7"), ("[2001:db8::7]:40", "2001:db8::7")] {
        let line = format!(r#"{start} - bob [20/Nov/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 1"#);
        let event = one(line.as_bytes());
        assert_eq!((&*event.client.ip.to_string(), event.client.port), (ip, 40));
        assert_eq!(basic_user(&event).as_deref(), Some(&b"bob"[..]));
    }
    // The name of a host may be an address with a port.
    let line = r#"10.0.0.5:80 192.0.2.7 - - [20/Nov/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 1"#;
    assert_eq!(one(line.as_bytes()).client.ip.to_string(), "192.0.2.7");
}

/// lighttpd's default; what is in quotes may be a list of clients, and so the client's own text.
#[test]
fn hosts_in_other_places_are_the_host() {
    for (start, host) in [
        ("192.0.2.7 h.example - ", Some("h.example")),
        ("192.0.2.7 h.example:8080 - ", Some("h.example:8080")),
        ("\"h.example\" 192.0.2.7 - - ", None),
        ("192.0.2.7 0af.1b-22 - ", None),
        ("192.0.2.7 frank - ", None),
        ("192.0.2.7 - - ", None),
        ("\"-\" 192.0.2.7 - - ", None),
        ("\"unknown\" 192.0.2.7 - - ", None),
        ("\"a b.example\" 192.0.2.7 - - ", None),
        ("\"h.example:x\" 192.0.2.7 - - ", None),
        ("v.example 192.0.2.7 h.example - ", Some("v.example")),
    ] {
        let line = format!(r#"{start}[20/Nov/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 1"#);
        let event = one(line.as_bytes());
        assert_eq!(event.client.ip.to_string(), "192.0.2.7", "{start}");
        let headers = event.request.expect("a request").headers;
        assert_eq!(headers.first("host"), host.map(str::as_bytes), "{start}");
    }
}
