//! Tests of rules written for logs of web servers and proxies: fields, relations between fields, and keywords
//! must have the meaning that such rules expect.

use super::{of, run};
use http_trace_model::event::{Endpoint, HttpEvent};
use http_trace_samples as testing;

const BROWSER: &str = "Host: shop.example\r\nUser-Agent: Mozilla/5.0\r\n\
                       Referer: http://shop.example/a\r\nCookie: a=1\r\n";

fn event(line: &str, lines: &str) -> HttpEvent {
    let mut event = testing::event_of(
        testing::request(&format!("{line}\r\n{lines}\r\n")),
        testing::response("HTTP/1.1 404 Not Found\r\nServer: nginx\r\nX-Port: 99\r\n\r\n"),
    );
    event.client.ip = "203.0.113.9".parse().expect("an address");
    event
}

/// Whether an event matches a detection section, checked also in a form that evaluates every part.
fn matches(detection: &str, event: &HttpEvent) -> bool {
    let one = |detection: &str| {
        let rule = format!(
            "title: one\nname: one\nlogsource: {{category: webserver}}\ndetection: \
             {{{detection}}}\nlevel: low\n"
        );
        let (_, rules) = run(&mut of(&rule), [event.clone()]);
        rules.first().is_some_and(|rules| !rules.is_empty())
    };
    let found = one(detection);
    if let Some((selections, condition)) = detection.rsplit_once("condition: ") {
        let again = one(&format!("{selections}condition: not (not ({condition}))"));
        assert_eq!(found, again, "{detection}");
    }
    found
}

fn expect(cases: &[(&str, bool)], event: &HttpEvent) {
    for (selection, expected) in cases {
        let detection = format!("s: {selection}, condition: s");
        assert_eq!(matches(&detection, event), *expected, "{selection}");
    }
}

#[test]
fn what_a_request_has_not_is_empty_or_a_dash() {
    let bare = event("GET /a HTTP/1.1", "");
    let full = event("GET /a?b=c HTTP/1.1", &format!("{BROWSER}Authorization: Basic Ym9iOng=\r\n"));
    let empty = event("GET /a? HTTP/1.1", "User-Agent: \r\nReferer: \r\nCookie: \r\n");
    for field in
        ["c-useragent", "cs-referer", "cs-cookie", "cs-username", "cs-host", "cs-uri-query"]
    {
        for value in ["''", "'-'", "null", "[curl, '']", "[curl, null]"] {
            let one = format!("{{{field}: {value}}}");
            expect(&[(&one, true)], &bare);
            expect(&[(&one, false)], &full);
        }
    }
    for field in ["c-useragent", "cs-referer", "cs-cookie", "cs-uri-query"] {
        for value in ["''", "null"] {
            expect(&[(&format!("{{{field}: {value}}}"), true)], &empty);
        }
    }
    let there = "{cs-uri-query|exists: true}";
    for (event, expected) in [(&bare, false), (&full, true), (&empty, true)] {
        expect(&[(there, expected)], event);
    }
    // A method is never absent.
    expect(&[("{cs-method: ''}", false), ("{cs-uri-query: '-'}", true)], &bare);
}

#[test]
fn a_version_is_written_with_and_without_its_protocol() {
    for (line, digit, other) in [("1.1", '1', '0'), ("1.0", '0', '1')] {
        let event = event(&format!("GET / HTTP/{line}"), BROWSER);
        for prefix in ["1.", "HTTP/1.", "http/1."] {
            let is = format!("{{cs-version: '{prefix}{digit}'}}");
            let is_not = format!("{{cs-version: '{prefix}{other}'}}");
            expect(&[(&is, true), (&is_not, false)], &event);
        }
    }
}

#[test]
fn a_url_has_its_host_whatever_the_form_it_was_sent_in() {
    let origin = event("GET /ipfs/a.html?u=joe@corp.com HTTP/1.1", "Host: ipfs.io\r\n");
    for field in ["cs-uri", "c-uri"] {
        for (test, expected) in [
            ("|re: 'ipfs\\.io/.+@'", true),
            ("|contains: 'ipfs.io/'", true),
            ("|startswith: '/ipfs'", true),
            ("|startswith: 'http://ipfs'", true),
            ("|startswith: 'ipfs'", false),
            ("|endswith: 'corp.com'", true),
            (": '/ipfs/a.html?u=joe@corp.com'", true),
        ] {
            expect(&[(&format!("{{{field}{test}}}"), expected)], &origin);
        }
    }
    // The target as sent has no host.
    expect(&[("{url.original|contains: 'ipfs.io'}", false)], &origin);
}

/// Regression: `not c-uri|startswith: http` was never true, because a URL has a scheme even if
/// it was not sent.
#[test]
fn a_filter_on_the_scheme_asks_whether_one_was_sent() {
    let origin = event("GET /x/a HTTP/1.1", "Host: get.example\r\n");
    let absolute = event("GET http://get.example/x/a HTTP/1.1", "Host: get.example\r\n");
    for (filter, of_origin, of_absolute) in [
        ("{c-uri|startswith: http}", true, false),
        ("{c-uri|startswith: 'http://'}", true, false),
        ("{c-uri|contains: '://'}", true, false),
        ("{c-uri|re: '^https?://'}", true, false),
        ("{c-uri|startswith: ['https://', 'http://']}", true, false),
        ("{c-uri|startswith: ['http://', '/y']}", true, false),
        ("{c-uri|startswith: ['http://', '/x']}", false, false),
        // A test of more than the scheme applies to the whole URL.
        ("{c-uri|contains: 'get.example/'}", false, false),
        ("{c-uri|startswith: ['ftp://', 'http://get.example/']}", false, false),
        ("{c-uri|contains: ['://', other.example, a1, a2, a3, a4, 'get.example']}", false, false),
        ("{c-uri|contains: ['://', other.example, a1, a2, a3, a4]}", true, false),
        ("{c-uri|re: '^http://get\\.'}", false, false),
        ("{c-uri|contains: 'put.example/'}", true, true),
        ("{c-uri|endswith: '/x/b'}", true, true),
    ] {
        let detection = format!("s: {{c-uri|contains: '/x'}}, f: {filter}, condition: s and not f");
        assert_eq!(matches(&detection, &origin), of_origin, "{filter}");
        assert_eq!(matches(&detection, &absolute), of_absolute, "{filter}");
    }
    expect(&[("{c-uri|startswith: 'http://'}", true)], &origin);
}

#[test]
fn a_keyword_is_anywhere_in_what_a_log_has() {
    let of_user = format!("{BROWSER}Authorization: Basic Ym9iOng=\r\n");
    let event = event("POST /abc?q=Zz HTTP/1.1", &of_user);
    expect(
        &[
            ("[post]", true),
            ("['404']", true),
            ("[404]", true),
            ("[40]", true),
            ("[200]", false),
            ("['HTTP/1.1']", true),
            ("['HTTP/1.0']", false),
            ("['203.0.113.9']", true),
            ("['203.0.113.8']", false),
            ("[bob]", true),
            ("['shop.example/abc']", true),
            ("['shop*ABC']", true),
            ("[zz]", true),
            ("[nginx]", true),
            ("['4?4']", true),
            ("['4?5']", false),
            ("{'|all': [POST, 404, /abc, 'q=', bob]}", true),
            ("{'|all': [POST, 200]}", false),
            ("{'|cased': [Zz]}", true),
            ("{'|cased': [zz]}", false),
            ("[a1, a2, a3, a4, a5, 404]", true),
            ("[a1, a2, a3, a4, a5, BOB]", true),
            ("[a1, a2, a3, a4, a5, a6]", false),
            // The scheme is not on the wire.
            ("['http://shop.example/abc']", false),
        ],
        &event,
    );
}

#[test]
fn fields_are_in_the_relation_that_the_modifiers_ask_for() {
    let event = event("GET / HTTP/1.1", BROWSER);
    let numbers = "[c-ip, s-ip, cs-method, sc-status, cs-version, cs-host]";
    let literal = testing_with_referrer("xx cs-cookie xx");
    expect(
        &[
            ("{cs-referer|fieldref: cs-host}", false),
            ("{cs-host|fieldref: r-dns}", true),
            ("{cs-host|fieldref|neq: r-dns}", false),
            ("{cs-referer|fieldref|neq: cs-host}", true),
            ("{cs-username|fieldref|neq: cs-host}", false),
            ("{cs-host|fieldref|neq: cs-username}", false),
            ("{cs-referer|fieldref|contains: cs-host}", true),
            ("{cs-referer|contains|fieldref: cs-host}", true),
            ("{cs-referer|contains|fieldref|neq: cs-host}", false),
            ("{cs-referer|fieldref|startswith: cs-host}", false),
            ("{c-uri|fieldref|startswith: cs-host}", false),
            ("{cs-referer|startswith|fieldref: http_trace.first_segment}", false),
            ("{cs-uri-stem|fieldref|endswith: cs-uri-stem}", true),
            (&format!("{{cs-referer|contains|fieldref: {numbers}}}"), true),
            (&format!("{{cs-cookie|contains|fieldref: {numbers}}}"), false),
            ("{sc-status|fieldref|gt: response.header.x-port}", true),
            ("{sc-status|fieldref|lte: response.header.x-port}", false),
            ("{c-port|fieldref|gte: s-port}", true),
            ("{cs-host|re|startswith: 'op'}", false),
            ("{cs-host|re|startswith: 'sh'}", true),
            ("{cs-host|re|endswith: 'shop|[a-z]ple'}", true),
            ("{cs-host|re|endswith: 'shop'}", false),
            ("{cs-host|contains|neq: shop}", false),
            ("{cs-host|contains|neq: spam}", true),
            ("{c-ip|cidr|neq: 203.0.113.0/24}", false),
            ("{c-ip: '::ffff:203.0.113.9'}", true),
            ("{c-ip|neq: '::ffff:203.0.113.9'}", false),
        ],
        &event,
    );
    let fields = "[cs-host, c-ip, s-ip, cs-method, cs-cookie, cs-version]";
    expect(&[(&format!("{{cs-referer|contains|fieldref: {fields}}}"), false)], &literal);
}

#[test]
fn what_a_recording_does_not_say_of_an_end_is_absent() {
    let known = event("GET /a HTTP/1.1", "");
    let mut unknown = known.clone();
    unknown.server = Endpoint::NOBODY;
    unknown.client.port = 0;
    for (selection, of_known) in [
        ("{dst_ip|exists: true}", true),
        ("{dst_ip|cidr: '0.0.0.0/0'}", true),
        ("{dst_ip|cidr: ['::/0', '0.0.0.0/0']}", true),
        ("{dst_ip: '0.0.0.0'}", false),
        ("{dst_port|exists: true}", true),
        ("{dst_port|lt: 1024}", true),
        ("{src_port|gte: 0}", true),
    ] {
        expect(&[(selection, of_known)], &known);
        expect(&[(selection, false)], &unknown);
    }
    for selection in ["{dst_ip: null}", "{dst_port: null}", "{src_port: null}"] {
        expect(&[(selection, false)], &known);
        expect(&[(selection, true)], &unknown);
    }
}

fn testing_with_referrer(referrer: &str) -> HttpEvent {
    event("GET / HTTP/1.1", &format!("Host: h.example\r\nReferer: {referrer}\r\n"))
}

#[test]
fn bytes_of_a_request_are_known_where_its_framing_is() {
    let mut plain = event("POST /a HTTP/1.1", "Host: h\r\nContent-Length: 7\r\n");
    let head = plain.request.as_ref().map_or(0, |r| r.wire_len);
    plain.request_body_bytes = Some(7);
    let whole = format!("{{cs-bytes: {}}}", head + 7);
    let body = "{http.request.body.bytes: 7, request_body_len|gt: 6}";
    expect(&[(&whole, true), (body, true)], &plain);
    let mut chunked = event("POST /a HTTP/1.1", "Host: h\r\nTransfer-Encoding: chunked\r\n");
    chunked.request_body_bytes = Some(7);
    expect(&[("{cs-bytes: null}", true), (body, true)], &chunked);
}
