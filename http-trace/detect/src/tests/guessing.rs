//! Tests of password guessing at forms that do not report failure by a status, and of similar
//! harmless traffic.

use super::{BEGIN, S, built_in, opened, response, run};
use http_trace_model::event::HttpEvent;
use http_trace_samples as testing;

const RULE: &str = "http-login-guessing";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const HTML: &str = "Content-Type: text/html\r\n";

/// A login request and its response.
#[derive(Clone, Copy)]
struct Post {
    path: &'static str,
    kind: &'static str,
    /// Length of the request body.
    sent: u64,
    status: u16,
    /// Header fields of the response.
    fields: &'static str,
    /// Length of the response body.
    answer: u64,
}

const FAILED: Post =
    Post { path: "/login", kind: FORM, sent: 24, status: 200, fields: HTML, answer: 98 };
const LET_IN: Post = Post { status: 302, fields: "Location: /home?from=/login\r\n", ..FAILED };

fn post(of: Post, ns: u64) -> HttpEvent {
    let Post { path, kind, sent, .. } = of;
    let mut event = response("198.51.100.7", of.status, path, BEGIN + ns);
    event.request = Some(testing::request(&format!(
        "POST {path} HTTP/1.1\r\nHost: shop.example\r\nContent-Type: {kind}\r\nContent-Length: {sent}\r\n\r\n"
    )));
    let head = format!("HTTP/1.1 {} x\r\n{}\r\n", of.status, of.fields);
    event.response = Some(testing::response(&head));
    event.body_bytes = Some(of.answer);
    event
}

/// This number of requests, one per second, with bodies of this many different lengths.
fn posts(number: u64, lengths: u64, of: Post) -> Vec<HttpEvent> {
    let each = (0..number).map(|i| Post { sent: of.sent + i % lengths, ..of });
    each.zip(0..).map(|(of, i)| post(of, i * S)).collect()
}

fn is_told(events: Vec<HttpEvent>) -> bool {
    let (alerts, _) = run(&mut built_in(), events);
    let told = opened(&alerts);
    let only =
        |id: &&str| [RULE, "http-logins-refused"].contains(id) || id.starts_with("http-posture-");
    assert!(told.iter().all(only), "{told:?}");
    told.contains(&RULE)
}

#[test]
fn the_twentieth_guess_is_told_and_the_nineteenth_is_not() {
    let page = |path| Post { path, ..FAILED };
    let back =
        Post { status: 302, fields: "Location: https://shop.example/login?error=1\r\n", ..FAILED };
    let unprocessed = Post { kind: JSON, status: 422, fields: "", ..FAILED };
    let xml_rpc = Post {
        path: "/xmlrpc.php",
        kind: "text/xml",
        fields: "Content-Type: text/xml; charset=UTF-8\r\n",
        answer: 403,
        ..FAILED
    };
    for (name, guess) in [
        ("the form again", FAILED),
        ("a framework's name", page("/users/sign_in")),
        ("a page's name", page("/Account/LogOn.aspx")),
        ("what a form posts to", page("/j_spring_security_check")),
        ("a way back to the form", back),
        ("JSON that cannot be processed", unprocessed),
        ("WordPress", page("/blog/wp-login.php")),
        ("XML-RPC", xml_rpc),
    ] {
        assert!(!is_told(posts(19, 5, guess)), "{name}");
        assert!(is_told(posts(20, 5, guess)), "{name}");
    }
    // Twenty in six minutes.
    let mut slow = posts(20, 5, FAILED);
    for (event, i) in slow.iter_mut().zip(0..) {
        event.time_ns = BEGIN + i * 19 * S;
    }
    assert!(!is_told(slow));
}

#[test]
fn the_alert_says_how_often_and_where() {
    let (alerts, _) = run(&mut built_in(), posts(20, 5, FAILED));
    let alert = alerts.iter().find(|alert| &*alert.rule.id == RULE);
    let alert = alert.expect("told");
    assert_eq!(
        String::from_utf8_lossy(&alert.message()),
        "198.51.100.7 guesses passwords at /login on 10.9.9.9: 20 failed within 5m"
    );
    assert!((4..=6).contains(&alert.severity.score()));
    assert_eq!(alert.rule.threat.techniques, ["T1110"]);
}

#[test]
fn one_password_in_fifty_that_is_right_does_not_hide_the_others() {
    let mut all = posts(100, 5, FAILED);
    all[10] = post(LET_IN, 10 * S);
    all[15] = post(LET_IN, 15 * S);
    assert!(is_told(all));
}

#[test]
fn what_is_no_guessing_is_silent() {
    let at = |path| Post { path, ..FAILED };
    let of_json = |path| Post { kind: JSON, ..at(path) };
    let token = Post { fields: "Content-Type: application/json\r\n", ..at("/oauth/token") };
    for (name, load) in [
        ("a load test", posts(500, 1, LET_IN)),
        ("a load test of many accounts", posts(500, 9, LET_IN)),
        ("one whose password is wrong", posts(500, 1, FAILED)),
        ("accounts numbered from 1 to 500", posts(500, 3, FAILED)),
        ("five times mistyped", posts(5, 5, FAILED)),
        ("a session kept alive", posts(300, 1, at("/session"))),
        ("reports of a page", posts(300, 9, of_json("/session"))),
        ("tokens", posts(300, 9, token)),
        ("GraphQL", posts(300, 9, of_json("/graphql"))),
        ("another form", posts(300, 9, at("/search"))),
        ("a name within another", posts(300, 9, at("/catalog/design"))),
        ("what is below a login", posts(300, 9, at("/login/help"))),
    ] {
        assert!(!is_told(load), "{name}");
    }
    // Successful logins answered with 200 and a page, as old forms do.
    let greeted = (0..100).map(|i| {
        let of = Post { sent: 24 + i % 7, answer: 900 + i % 9, ..FAILED };
        post(of, i * S)
    });
    assert!(!is_told(greeted.collect()));
    // A thousand users behind one address; one in six mistypes the password.
    let people = (0..1000_u64).map(|i| {
        let of = if i % 6 == 0 { FAILED } else { LET_IN };
        let of = Post { sent: 24 + i % 9, ..of };
        post(of, i * S / 10)
    });
    assert!(!is_told(people.collect()));
}

#[test]
fn of_wordpress_an_access_log_is_enough() {
    let attempts = |number: u64| {
        let each = (0..number).map(|i| {
            let mut event = post(FAILED, i * S);
            let request = "POST /wp-login.php HTTP/1.1\r\n\r\n";
            event.request = Some(testing::request(request));
            event.response = Some(testing::response("HTTP/1.1 200 OK\r\n\r\n"));
            event
        });
        each.collect()
    };
    assert!(!is_told(attempts(19)));
    assert!(is_told(attempts(20)));
}
