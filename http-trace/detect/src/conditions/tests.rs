//! What is asked once, remembered and asked in another order has the same answer.

use super::*;
use crate::plans::{Begins, numbers};
use crate::targets::Targets;
use crate::uri::Uri;
use crate::{builtin, parse};
use http_trace_model::testing;

/// What is asked once, remembered and asked in another order has the same answer: the built-in
/// detections and some with several lines of a name, over events whose values come again.
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
        "{response.header.set-cookie: null}",
        "{response.header.set-cookie|endswith: Secure}",
        "{request.header.x-tag|contains: [one, two], cs-method: GET}",
        "{request.header.x-tag|exists: false}",
        "{cs-user-agent: ''}",
        "{cs-user-agent|re: '[0-9]$', request.header.x-tag: Three}",
        "{http.response.mime_type|exists: true}",
        "{http.response.mime_type: null}",
        "[two, '*gone*']",
    ];
    sources.extend(
        detections
            .iter()
            .enumerate()
            .map(|(at, text)| more(at, text)),
    );
    let exprs = || -> Vec<Expr> {
        let parsed = parse::parse(&sources, &|_| false);
        let errors = parsed.diagnostics.iter().map(ToString::to_string);
        assert_eq!(errors.collect::<Vec<_>>(), [""; 0]);
        parsed
            .rules
            .detections
            .into_iter()
            .map(|d| d.expr)
            .collect()
    };
    let alone = exprs();
    // Some of what is fed begins with any event, some with none.
    let feeds = (0..alone.len()).map(|number| {
        let feed = |number, begins| Feed { number, begins };
        let begins = [Begins::Always, Begins::Never][number % 2];
        vec![feed(number, Begins::WithStatus), feed(number / 3, begins)]
    });
    let mut conditions = Conditions::new(exprs(), feeds.collect(), alone.len());
    let mut matched_now = Matched::default();
    let long = "x".repeat(400);
    let (mut noted, mut matched) = (Noted::default(), 0);
    let mut targets = Targets::default();
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
        for path in [
            "/",
            "/users/17",
            "/a.js?x=1",
            "/../etc/passwd",
            "/?q=1+union+select+2",
        ] {
            for status in [200, 302, 401, 404, 500] {
                for (of_request, of_response) in lines_of_request
                    .iter()
                    .flat_map(|a| lines_of_response.iter().map(move |b| (a, b)))
                {
                    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{of_request}\r\n");
                    let response = format!("HTTP/1.1 {status} gone\r\n{of_response}\r\n");
                    let event =
                        testing::event_of(testing::request(&request), testing::response(&response));
                    conditions.note(&event, &mut noted);
                    let uri = Uri::default();
                    let (view, place) = targets.view(&event, &noted, &uri);
                    conditions.matching(&view, place, &mut matched_now);
                    let got: Vec<usize> = numbers(&matched_now.detections).collect();
                    let expected: Vec<usize> = (0..alone.len())
                        .filter(|number| alone[*number].matches(&view))
                        .collect();
                    assert_eq!(got, expected, "turn {turn}:\n{request}{response}");
                    let mut fed: Vec<usize> = got
                        .iter()
                        .flat_map(|number| [*number, number / 3])
                        .collect();
                    fed.sort_unstable();
                    fed.dedup();
                    assert_eq!(numbers(&matched_now.feeds).collect::<Vec<_>>(), fed);
                    let with_status = |number: usize| status != 200 && got.contains(&number);
                    let begins = |number: &usize| {
                        let mut of = [3 * number, 3 * number + 1, 3 * number + 2].into_iter();
                        with_status(*number) || of.any(|n| n % 2 == 0 && got.contains(&n))
                    };
                    fed.retain(begins);
                    assert_eq!(numbers(&matched_now.begins).collect::<Vec<_>>(), fed);
                    matched += got.len();
                }
            }
        }
    }
    assert!(matched > 1000, "{matched}");
}
