//! Tests of the threshold of each built-in rule: exactly enough events, one fewer, and events
//! that must not count.

use super::{BEGIN, S, built_in, finish, opened, response, run, run_to_end};
use http_trace_model::event::{HttpEvent, Missing, NoResponse};
use http_trace_samples as testing;

/// A request to a server and its response.
#[derive(Clone)]
struct Visit {
    client: String,
    server: String,
    method: &'static str,
    path: String,
    status: u16,
    /// Header fields of the request, and of the response.
    asked: String,
    said: String,
}

impl Visit {
    fn new(status: u16, path: impl Into<String>) -> Self {
        Visit {
            client: "198.51.100.7".into(),
            server: "10.9.9.9".into(),
            method: "GET",
            path: path.into(),
            status,
            asked: "Host: shop.example\r\n".into(),
            said: String::new(),
        }
    }

    fn event(&self, time_ns: u64) -> HttpEvent {
        let Visit { method, path, asked, said, status, .. } = self;
        let mut event = response(&self.client, *status, path, time_ns);
        event.server.ip = self.server.parse().expect("an address");
        event.request = Some(testing::request(&format!("{method} {path} HTTP/1.1\r\n{asked}\r\n")));
        event.response = Some(testing::response(&format!("HTTP/1.1 {status} x\r\n{said}\r\n")));
        event.body_bytes = Some(98);
        event
    }
}

/// The severity of the rule's alert, if this many visits at this interval raise one.
fn told(rule: &str, number: u64, apart_ms: u64, visit: &dyn Fn(u64) -> Visit) -> Option<u8> {
    let events = (0..number).map(|i| visit(i).event(BEGIN + i * apart_ms * (S / 1000)));
    let mut detector = built_in();
    let mut alerts = run_to_end(&mut detector, events);
    alerts.extend(finish(&mut detector));
    opened(&alerts).contains(&rule).then_some(())?;
    let alert = alerts.iter().find(|alert| &*alert.rule.id == rule)?;
    Some(alert.severity.score())
}

#[test]
fn every_threshold_is_the_one_that_is_documented() {
    const BASIC: &str = "Host: h\r\nAuthorization: Basic YTpi\r\n";
    let missing = |i: u64| Visit::new(404, format!("/w{i}"));
    let with = |visit: Visit, asked: &str| Visit { asked: asked.into(), ..visit };
    let said = |visit: Visit, said: &str| Visit { said: said.into(), ..visit };
    let from = |visit: Visit, i: u64| Visit { client: format!("203.0.113.{i}"), ..visit };
    let post = |status| Visit { method: "POST", ..Visit::new(status, "/do") };
    let many_words = |i: u64| Visit::new(404, format!("/w{}", i % 251));
    let few_words = |i: u64| Visit::new(404, format!("/w{}", i % 250));
    let not_there = |i: u64| {
        let status = if i < 5 { 404 } else { 200 };
        Visit::new(status, format!("/users/{}/card", 100 + i))
    };
    let bucket_host = |i: u64| {
        let asked = format!("Host: b{i}.store.example\r\n");
        said(with(Visit::new(403, "/k"), &asked), "x-amz-request-id: A\r\n")
    };
    let bucket = |i: u64| said(Visit::new(404, format!("/b{i}/k")), "Server: MinIO\r\n");
    let server = |i: u64| Visit { server: format!("10.0.0.{i}"), ..Visit::new(401, "/") };
    let failing = |i: u64| from(Visit::new(if i % 5 == 4 { 503 } else { 200 }, "/"), i % 200);
    let well = |i: u64| from(Visit::new(if i % 6 == 5 { 503 } else { 200 }, "/"), i % 200);
    let link = |i: u64| {
        let asked = "Host: shop.example\r\nReferer: http://shop.example/\r\n";
        from(with(Visit::new(404, "/old"), asked), i)
    };
    let turns = |i: u64| Visit::new(if i.is_multiple_of(2) { 403 } else { 200 }, "/a");
    let forwarded = |i: u64| {
        let asked = format!("Host: h\r\nX-Forwarded-For: 203.0.113.{i}\r\n");
        with(Visit::new(200, "/"), &asked)
    };
    let agent = |_: u64| with(Visit::new(200, "/"), "Host: h\r\nUser-Agent: sqlmap/1.7\r\n");
    let traversal = |i: u64| Visit::new(404, format!("/view?n={i}&f=%2Fetc%2Fpasswd"));
    let sql = |i: u64| Visit::new(200, format!("/item?id={i}'+or+1=1"));
    let late = |_: u64| Visit::new(429, "/");
    let refused = |i: u64| match i % 3 {
        0 => post(401),
        1 => Visit { method: "POST", ..Visit::new(403, "/login") },
        _ => Visit { method: "POST", ..Visit::new(422, "/api/2fa/verify") },
    };
    let forbidden = |_: u64| post(403);
    let unauthorised = |_: u64| with(Visit::new(401, "/"), BASIC);
    let no_credentials = |_: u64| Visit::new(401, "/");
    let outside =
        |visit: Visit| Visit { client: "10.1.1.1".into(), server: "203.0.113.80".into(), ..visit };
    let words_outside = |i: u64| outside(missing(i));
    let links_outside = |i: u64| outside(with(missing(i), &format!("Host: h{i}\r\n")));
    let to_login = |i: u64| said(Visit::new(302, format!("/w{i}")), "Location: /login?next=/w\r\n");
    let elsewhere = |i: u64| said(Visit::new(302, format!("/w{i}")), "Location: /page\r\n");
    let moved = |i: u64| match i {
        0..=2 => Visit::new(301, format!("/x{i}/.env")),
        _ => Visit::new(301, format!("/w{i}")),
    };
    let linked = |i: u64| with(moved(i), "Referer: http://www.example/page\r\n");
    let one_page =
        |i: u64| said(Visit::new(200, format!("/a/w{i}")), "Content-Type: text/html\r\n");
    let methods = |i: u64| {
        let names = ["TRACE", "PUT", "DELETE", "PATCH", "TRACK", "DEBUG"];
        Visit { method: names[i as usize % 6], ..Visit::new(405, "/") }
    };
    let mined = |i: u64| {
        let names: String = (0..100).map(|at| format!("p{i}x{at}=1&")).collect();
        Visit::new(200, format!("/api?{names}"))
    };
    type Of<'a> = &'a dyn Fn(u64) -> Visit;
    // Rule, severity, required number, interval in ms, visit, and a visit that must not count.
    let lines: &[(&str, u8, u64, u64, Of<'_>, Option<Of<'_>>)] = &[
        ("http-path-scan", 5, 30, 19_000, &missing, Some(&late)),
        ("http-path-scan-outside", 5, 30, 19_000, &words_outside, Some(&links_outside)),
        ("http-path-scan", 5, 30, 19_000, &missing, Some(&words_outside)),
        ("http-paths-to-login", 5, 60, 4_900, &to_login, Some(&elsewhere)),
        ("http-paths-moved", 5, 60, 4_900, &moved, Some(&linked)),
        ("http-paths-answered-folder", 5, 150, 1_900, &one_page, None),
        ("http-method-probing", 2, 6, 50_000, &methods, None),
        ("http-parameter-mining", 5, 10, 29_000, &mined, None),
        ("http-slow-scan", 2, 60, 1_400_000, &missing, None),
        ("http-wordlist-fuzzing", 7, 501, 1_100, &many_words, Some(&few_words)),
        ("http-brute-force", 5, 20, 14_000, &refused, Some(&no_credentials)),
        ("http-brute-force-slow", 2, 100, 210_000, &refused, Some(&forbidden)),
        ("http-credential-abuse", 7, 50, 5_800, &unauthorised, Some(&no_credentials)),
        ("http-id-enumeration", 5, 20, 29_000, &not_there, None),
        ("http-bucket-enumeration-host", 5, 20, 29_000, &bucket_host, None),
        ("http-bucket-enumeration-path", 5, 20, 29_000, &bucket, None),
        ("http-ssrf-sweep", 7, 20, 29_000, &server, None),
        ("http-traversal", 2, 20, 14_000, &traversal, None),
        ("http-sql-injection", 5, 11, 27_000, &sql, None),
        ("http-scanner-user-agent", 2, 2, 50_000, &agent, None),
        ("http-429-storm", 2, 100, 500, &late, None),
        ("http-server-failing", 5, 250, 200, &failing, Some(&well)),
        ("http-broken-link", 0, 10, 350_000, &link, None),
        ("http-status-sequence", 0, 7, 80_000, &turns, None),
        ("http-looks-like-a-proxy", 0, 20, 29_000, &forwarded, None),
    ];
    for (rule, severity, number, apart, visit, other) in lines {
        let at = told(rule, *number, *apart, visit);
        assert_eq!(at, Some(*severity), "{rule} at {number}");
        let below = told(rule, number - 1, *apart, visit);
        assert_eq!(below, None, "{rule} below {number}");
        // At half the rate, too few are within the window.
        let slow = told(rule, *number, apart * 2, visit);
        assert_eq!(slow, None, "{rule} at half the rate");
        if let Some(other) = other {
            let none = told(rule, *number, *apart, other);
            assert_eq!(none, None, "{rule} of something else");
        }
    }
}

#[test]
fn tokens_of_many_that_expire_are_no_abuse() {
    let token = |i: u64, status| Visit {
        asked: format!("Host: h\r\nAuthorization: Bearer {i}\r\n"),
        ..Visit::new(status, "/api")
    };
    let expiring = |i: u64| token(i, if i.is_multiple_of(2) { 401 } else { 200 });
    assert_eq!(told("http-credential-abuse", 200, 1_000, &expiring), None);
    let tried = |i: u64| token(i, if i.is_multiple_of(5) { 200 } else { 401 });
    assert_eq!(told("http-credential-abuse", 200, 1_000, &tried), Some(7));
}

#[test]
fn servers_that_do_not_answer_are_swept_too() {
    let sweep = |number: u8, why| {
        let events = (0..number).map(move |i| {
            let visit = Visit { server: format!("10.0.0.{i}"), ..Visit::new(200, "/") };
            let mut event = visit.event(BEGIN + u64::from(i) * S);
            (event.response, event.no_response) = (None, Some(why));
            event
        });
        let (alerts, _) = run(&mut built_in(), events);
        opened(&alerts).contains(&"http-ssrf-sweep")
    };
    for why in [
        NoResponse::Timeout,
        NoResponse::Refused,
        NoResponse::Unreachable,
        NoResponse::Reset,
        NoResponse::Closed,
    ] {
        assert!(sweep(20, why), "{why:?}");
        assert!(!sweep(19, why), "{why:?}");
    }
}

#[test]
fn responses_that_are_held_open() {
    let told = |number: u16, flags: &[&'static str], said: &str, port: fn(u16) -> u16| {
        let events = (0..number).map(|i| {
            let visit = Visit { said: said.into(), ..Visit::new(200, "/archive") };
            let mut event = visit.event(BEGIN + u64::from(i) * S);
            event.client.port = port(i);
            event.missing = vec![Missing::End];
            event.flags = flags.to_vec();
            event
        });
        let alerts = run_to_end(&mut built_in(), events);
        opened(&alerts).contains(&"http-held-responses")
    };
    let own = |i| 40_000 + i;
    assert!(told(50, &["still_open"], "", own));
    assert!(!told(49, &["still_open"], "", own));
    // One file after the other on few connections, as mirroring tools do.
    assert!(!told(58, &["still_open"], "", |i| 40_000 + i % 16));
    let stream = "Content-Type: text/event-stream\r\n";
    assert!(!told(58, &["still_open"], stream, own));
    // Cut off, or at the end of a run.
    assert!(!told(58, &[], "", own));
}

/// Regression: those of containers and of two clouds were missing.
#[test]
fn metadata_services_of_all_clouds() {
    let told = |server: &str, status: u16| {
        let visit = Visit { server: server.into(), ..Visit::new(status, "/latest/") };
        told("http-metadata-service", 1, 1, &|_| visit.clone())
    };
    for server in [
        "169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "fd00:ec2::23",
        "100.100.100.200", "192.0.0.192", "fd20:ce::254", "fe80::a9fe:a9fe",
    ] {
        assert_eq!(told(server, 200), Some(0), "{server}");
    }
    assert_eq!(told("169.254.169.253", 200), None);
}

/// Regression: targets with encoded slashes were not recognised.
#[test]
fn files_outside_of_the_tree_however_they_are_written() {
    for target in [
        "/../../x", "/view?f=..%2f..%2fx", "/view?f=%2E%2E%2Fx", "/view?f=%252e%252e%252fx",
        "/view?f=..%c0%afx", "/view?f=..\\..\\x", "/view?f=/etc/passwd", "/view?f=%2Fetc%2Fpasswd",
        "/view?f=%2fetc%2fshadow%00",
    ] {
        let attempt = |status| told("http-traversal", 20, 1000, &|_| Visit::new(status, target));
        assert_eq!(attempt(400), Some(2), "{target}");
        assert_eq!(attempt(200), None, "{target}");
    }
}

/// Regression: only pages were distinguished from other files, so an image served as a script
/// was not reported.
#[test]
fn media_types_are_held_against_extensions() {
    let told = |path: &str, kind: &str, status: u16| {
        let visit = Visit { said: format!("Content-Type: {kind}\r\n"), ..Visit::new(status, path) };
        told("http-posture-mime", 1, 1, &|_| visit.clone()).is_some()
    };
    for (path, right, wrong) in [
        ("/a.js", &["text/javascript", "application/x-javascript"][..], "text/html"),
        ("/a.js", &["application/javascript; charset=utf-8"], "image/png"),
        ("/a.css", &["text/css"], "application/json"),
        ("/a.json", &["application/json", "application/ld+json", "text/javascript"], "text/plain"),
        ("/a.png", &["image/png", "image/webp"], "application/javascript"),
        ("/a.svg", &["image/svg+xml"], "application/json"),
        ("/a.pdf", &["application/pdf", "application/octet-stream"], "text/html"),
        ("/a.woff2", &["font/woff2", "application/octet-stream"], "text/html"),
        ("/a.html", &["text/html", "application/xhtml+xml"], "application/json"),
    ] {
        for right in right {
            assert!(!told(path, right, 200), "{path} {right}");
        }
        assert!(told(path, wrong, 200), "{path} {wrong}");
        assert!(!told(path, wrong, 404), "{path} {wrong}");
    }
    assert!(!told("/download", "image/png", 200));
}

/// Regression: a redirect to https with the unchanged target was reported as injection.
#[test]
fn what_was_injected_is_told_from_what_comes_back_encoded() {
    let told = |path: &str, said: &str| {
        let visit = Visit { said: said.into(), ..Visit::new(301, path) };
        told("http-posture-injection", 1, 1, &|_| visit.clone()).is_some()
    };
    let probe = "/a?x=%0d%0aSet-Cookie:%20crlf=1";
    assert!(told(probe, "Set-Cookie: crlf=1\r\n"));
    assert!(told("/a?x=%0d%0aX-Injected:1", "X-Injected: 1\r\n"));
    assert!(!told("/a", "X-Injected: 1\r\n"));
    assert!(!told(probe, "Set-Cookie: session=1; HttpOnly\r\n"));
    let back = "Location: https://shop.example/a?x=%0d%0aSet-Cookie:%20crlf=1\r\n";
    assert!(!told(probe, back));
}
