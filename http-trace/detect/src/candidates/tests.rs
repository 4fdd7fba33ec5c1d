//! Candidate selection must give the same results as plain evaluation, whatever is cached and in any order.

use super::*;
use crate::view::ViewContext;
use crate::{builtin, parse};
use http_trace_samples as testing;

/// Compares cached with plain evaluation of the built-in detections, and of some with several lines of a
/// name, over events whose values recur.
#[test]
fn an_event_matches_what_each_condition_says_by_itself() {
    let mut sources = builtin::sources();
    let more = |number: usize, detection: &str| parse::Source {
        origin: crate::rule::Origin::File("more.yml".into()),
        text: format!(
            "title: more {number}\nname: more-{number}\nlogsource: {{category: webserver}}\n\
             detection: {{s: {detection}, condition: s}}\nlevel: low\n"
        ),
    };
    let detections = [
        // Relations of two fields, tests without header lines or heads, with a literal in
        // every value, and without one.
        "{url.original|fieldref: cs-uri-stem}",
        "{cs-uri-query|exists: false}",
        "{cs-uri-query: null}",
        "{c-uri|contains: [http, zzz], cs-uri-stem|re: '^/[a-z]+'}",
        "{c-ip|cidr: 10.0.0.0/8, sc-status: [200, 404], cs-method|startswith: g}",
        "{cs-username: a}",
        "{response.header.set-cookie|re: '^c=', c-port|gte: 1}",
        "{response.header.set-cookie: null}",
        "{response.header.set-cookie|endswith: Secure}",
        "{request.header.x-tag|contains: [one, two], cs-method: GET}",
        "{request.header.x-tag|exists: false}",
        "{cs-user-agent: ''}",
        "{cs-user-agent|re: '[0-9]$', request.header.x-tag: Three}",
        "{http.response.mime_type|exists: true}",
        "{http.response.mime_type: null}",
        "[two, '*gone*']",
        // Lists of plain texts, expressions with a rare literal and others, and what only long texts match.
        "{cs-uri-stem: ['*.js', '/us*rs/?7', '*passw?', '/u*s/17']}",
        "{cs-uri-stem: ['/never', '/us*rs/?7', '/etc/pass*?']}",
        "{http_trace.path_template: ['/', '/users*{*}']}",
        "{cs-uri-query|re: ['^x{200}', 'select', '^x=']}",
        "{cs-uri-query|re: '^x=.{200}'}",
        "{cs-uri-query|re: ['^.{200}', 'select', 'union']}",
    ];
    sources.extend(detections.iter().enumerate().map(|(at, text)| more(at, text)));
    let exprs = || -> Vec<Expr> {
        let parsed = parse::parse(&sources, &|_| false);
        let errors = parsed.diagnostics.iter().map(ToString::to_string);
        assert_eq!(errors.collect::<Vec<_>>(), [""; 0]);
        parsed.rules.detections.into_iter().map(|d| d.expr).collect()
    };
    let alone = exprs();
    let mut candidates = Candidates::new(exprs());
    let mut got = bits::none(alone.len());
    let mut matched = 0;
    let long = "x".repeat(400);
    let paths = [
        "/",
        "/users/17",
        "/a.js?x=1",
        "/../etc/passwd",
        "/?q=1+union+select+2",
        &format!("/a?x={long}"),
    ];
    let lines_of_request = [
        "",
        "User-Agent: sqlmap/1\r\n",
        "user-agent: curl/8.1\r\nX-Tag: three\r\n",
        "User-Agent: curl/8.1\r\nX-TAG: none\r\nx-tag: Two\r\n",
        "User-Agent: \r\nX-Tag: one\r\nReferer: http://h/a\r\nAuthorization: Basic YTpi\r\n",
        &format!("User-Agent: nikto {long}\r\nX-Tag: {long}\r\nX-Forwarded-Proto: https\r\n"),
    ];
    let lines_of_response = [
        "",
        "Content-Type: text/html; charset=utf-8\r\nServer: nginx/1.2\r\n",
        "content-type: none\r\nSet-Cookie: a=b; Secure\r\nSet-Cookie: c=d\r\n",
        "Set-Cookie: c=d\r\nX-Content-Type-Options: nosniff\r\nServer: AmazonS3\r\n",
    ];
    for turn in 0..2 {
        for path in paths {
            for status in [200, 302, 401, 404, 500] {
                for (of_request, of_response) in lines_of_request
                    .iter()
                    .flat_map(|a| lines_of_response.iter().map(move |b| (a, b)))
                {
                    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{of_request}\r\n");
                    let response = format!("HTTP/1.1 {status} gone\r\n{of_response}\r\n");
                    let event =
                        testing::event_of(testing::request(&request), testing::response(&response));
                    let uri = ViewContext::default();
                    let view = View::new(&event, &uri);
                    got.fill(0);
                    let any = candidates.matching(&view, &mut got);
                    let got: Vec<usize> = bits::numbers(&got).collect();
                    assert_eq!(any, !got.is_empty());
                    let expected: Vec<usize> =
                        (0..alone.len()).filter(|number| alone[*number].matches(&view)).collect();
                    assert_eq!(got, expected, "turn {turn}:\n{request}{response}");
                    matched += got.len();
                }
            }
        }
    }
    assert!(matched > 1000, "{matched}");
}
