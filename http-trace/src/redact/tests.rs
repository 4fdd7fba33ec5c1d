//! Tables of what is a secret and what is not.

use memchr::memmem;
use proptest::prelude::*;

use super::*;
use http_trace_detect::{evidence, hits};
use http_trace_model::testing;

fn value(name: &str, text: &str) -> String {
    let clean = Secrets::default().value(name.as_bytes(), text.as_bytes());
    clean.map_or("unchanged".to_owned(), |c| String::from_utf8_lossy(&c).into_owned())
}

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

/// Recorded events hold marks, and clients may send what looks like one.
#[test]
fn marks_stay_and_hide_nothing_beside_them() {
    for (name, text, expected) in [
        ("Authorization", "‹redacted:10 bytes›", "‹redacted:10 bytes›"),
        ("Authorization", "‹redacted:10 bytes›x", "‹redacted:24 bytes›"),
        ("Authorization", "x‹redacted:10 bytes›", "‹redacted:24 bytes›"),
        ("Authorization", "‹redacted:1 bytes›‹redacted:2 bytes›", "‹redacted:44 bytes›"),
        ("Authorization", "‹redacted: bytes›", "‹redacted:21 bytes›"),
        ("Authorization", "‹redacted:x bytes›", "‹redacted:22 bytes›"),
        ("Authorization", "‹redacted:123456789 bytes›", "‹redacted:30 bytes›"),
        ("Cookie", "a=‹redacted:3 bytes›; b=c", "a=‹redacted:3 bytes›; b=‹redacted:1 bytes›"),
        ("Cookie", "a=‹redacted:3 bytes›c", "a=‹redacted:23 bytes›"),
        ("Location", "/?token=‹redacted:3 bytes›", "unchanged"),
        (
            "Location",
            "/?token=‹redacted:3 bytes›&sig=d",
            "/?token=‹redacted:3 bytes›&sig=‹redacted:1 bytes›",
        ),
        ("Location", "/?token=‹redacted:3 bytes›c", "/?token=‹redacted:23 bytes›"),
        ("Location", "/?token=c‹redacted:3 bytes›", "/?token=‹redacted:23 bytes›"),
        ("Location", "http://‹redacted:3 bytes›@h/", "unchanged"),
        ("Location", "http://‹redacted:3 bytes›:p@h/", "http://‹redacted:24 bytes›@h/"),
    ] {
        assert_eq!(value(name, text), expected, "{name}: {text}");
    }
}

#[test]
fn header_values() {
    let bearer = format!("Bearer {JWT}");
    for (name, text, expected) in [
        ("Server", "nginx", "unchanged"),
        ("Authorization", "Basic YTpi", "‹redacted:10 bytes›"),
        ("PROXY-AUTHORIZATION", "x", "‹redacted:1 bytes›"),
        ("X-Api-Key", "", "unchanged"),
        ("Cookie", "a=1; b=22;c=", "a=‹redacted:1 bytes›; b=‹redacted:2 bytes›;c="),
        ("Cookie", "  loose", "  ‹redacted:5 bytes›"),
        ("Cookie", ";;=x", ";;=‹redacted:1 bytes›"),
        (
            "Set-Cookie",
            "sid=0123456789abcdef; Path=/; HttpOnly; Max-Age=60",
            "sid=‹redacted:16 bytes›; Path=/; HttpOnly; Max-Age=60",
        ),
        ("X-Other", &bearer, "Bearer ‹redacted:49 bytes›"),
        ("X-Other", "eyJhbGciOiJIUzI1NiJ9", "unchanged"),
        ("X-Other", "eyJhbGciOiJIUzI1NiJ9.x.", "unchanged"),
        ("X-Other", "v1.eyJhbGciOiJIUzI1NiJ9.e30.", "v1.‹redacted:25 bytes›"),
        ("Location", "/next?a=1&token=abc#top", "/next?a=1&token=‹redacted:3 bytes›#top"),
        ("Location", "/#access_token=abc&x=1", "/#access_token=‹redacted:3 bytes›&x=1"),
        ("Location", "/cb?code=abc&state=d", "/cb?code=‹redacted:3 bytes›&state=d"),
        ("Location", "/shop?code=abc", "unchanged"),
        ("Location", "https://u:p@h.example/@x", "https://‹redacted:3 bytes›@h.example/@x"),
        ("Location", "/x?next=http://u:p@h/", "/x?next=http://‹redacted:3 bytes›@h/"),
        ("Location", "/?token=http://u:p@h/&b=1", "/?token=‹redacted:13 bytes›&b=1"),
        ("Location", "/a;jsessionid=AB/b;c=d?e", "/a;jsessionid=‹redacted:2 bytes›/b;c=d?e"),
        ("Referer", "http://h/?user[password]=ab", "http://h/?user[password]=‹redacted:2 bytes›"),
        ("Referer", "http://h/?pass%77ord=ab", "http://h/?pass%77ord=‹redacted:2 bytes›"),
        (
            "Link",
            "</a?sig=xy>; rel=next, <http://u@h/b?c=d>; rel=\"x\"",
            "</a?sig=‹redacted:2 bytes›>; rel=next, <http://‹redacted:1 bytes›@h/b?c=d>; rel=\"x\"",
        ),
        ("Refresh", "5; url='/a?token=x y'", "5; url='/a?token=‹redacted:3 bytes›'"),
        ("Server", "/a?token=x", "/a?token=‹redacted:1 bytes›"),
        ("Server", "Apache/2.4 (token ring)", "unchanged"),
        ("Date", "Fri, 20 Nov 2020 06:40:07 GMT", "unchanged"),
        ("Cache-Control", "private=\"set-cookie\", max-age=0", "unchanged"),
        ("Access-Control-Allow-Credentials", "true", "unchanged"),
        ("X-Other", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", "‹redacted:36 bytes›"),
        // Encoded within another URL.
        (
            "Location",
            "/login?next=%2Fcb%3Ftoken%3Dabc%26x%3D1&y=2",
            "/login?next=%2Fcb%3Ftoken%3D‹redacted:3 bytes›%26x%3D1&y=2",
        ),
        (
            "Referer",
            "http://h/?u=http%3A%2F%2Fu%3Apw%40h%2F",
            "http://h/?u=http%3A%2F%2F‹redacted:6 bytes›%40h%2F",
        ),
        (
            "X-Original-URI",
            "/a?b=%252Fc%253Ftoken%253Dabc",
            "/a?b=%252Fc%253Ftoken%253D‹redacted:3 bytes›",
        ),
        ("X-Rewrite-URL", "/v1/token:refresh?a=b", "unchanged"),
        ("X-Forwarded-Uri", "/a?token=abc", "/a?token=‹redacted:3 bytes›"),
        ("Destination", "http://u:pw@h/", "http://‹redacted:4 bytes›@h/"),
        ("Origin", "http://u:pw@h", "http://‹redacted:4 bytes›@h"),
        ("Location", "//u:pw@h/", "//‹redacted:4 bytes›@h/"),
        ("Referer", "http://u:a b c@h/", "http://‹redacted:7 bytes›@h/"),
        ("Refresh", "0;url=/?token=a;b", "0;url=/?token=‹redacted:3 bytes›"),
        ("Host", "u:pw@h:80", "‹redacted:4 bytes›@h:80"),
        ("Host", "h:80", "unchanged"),
        (
            "User-Agent",
            "x http://u:pw@h/?token=abc (y)",
            "x http://‹redacted:4 bytes›@h/?token=‹redacted:3 bytes› (y)",
        ),
        (
            "Set-Cookie",
            "a=1; Expires=Wed, 09 Jun 2021 10:18:14 GMT, sid=abc; HttpOnly",
            "a=‹redacted:1 bytes›; Expires=Wed, 09 Jun 2021 10:18:14 GMT, sid=‹redacted:3 bytes›; HttpOnly",
        ),
        (
            "Set-Cookie",
            "token=1; Path=/, sid=abc; HttpOnly",
            "token=‹redacted:1 bytes›; Path=/, sid=‹redacted:3 bytes›; HttpOnly",
        ),
        // A folded line within this field.
        ("X-Other", "a Authorization: Basic abc", "a Authorization: ‹redacted:9 bytes›"),
        ("Authorization\0", "Basic abc", "‹redacted:9 bytes›"),
        (
            "X-Other",
            "{\"token\": [\"a\", \"b\"], \"c\": 1}",
            "{\"token\": ‹redacted:10 bytes›, \"c\": 1}",
        ),
    ] {
        assert_eq!(value(name, text), expected, "{name}: {text}");
    }
}

#[test]
fn targets_of_requests() {
    for (line, expected) in [
        ("GET /a?b=c HTTP/1.1", "/a?b=c"),
        ("GET /a?password=a b;c&d=e HTTP/1.1", "/a?password=‹redacted:5 bytes›&d=e"),
        ("GET http://u:p@h/ HTTP/1.1", "http://‹redacted:3 bytes›@h/"),
        ("CONNECT u:p@h:443 HTTP/1.1", "‹redacted:3 bytes›@h:443"),
        ("GET /a@b HTTP/1.1", "/a@b"),
        ("GET /v1/token:refresh?x=1 HTTP/1.1", "/v1/token:refresh?x=1"),
        ("GET /?next=%2Fcb%3Ftoken%3Dabc HTTP/1.1", "/?next=%2Fcb%3Ftoken%3D‹redacted:3 bytes›"),
        ("GET /%3Ftoken=abc HTTP/1.1", "/%3Ftoken=‹redacted:3 bytes›"),
        ("GET /?+token=abc HTTP/1.1", "/?+token=‹redacted:3 bytes›"),
        (
            "GET /?Access-Token=abc&pass=de HTTP/1.1",
            "/?Access-Token=‹redacted:3 bytes›&pass=‹redacted:2 bytes›",
        ),
        ("GET /?%74oken=abc HTTP/1.1", "/?%74oken=‹redacted:3 bytes›"),
        ("GET /?x=1\u{b}token=abc HTTP/1.1", "/?x=1\u{b}token=‹redacted:3 bytes›"),
    ] {
        let mut event = testing::event();
        event.request = Some(testing::request(&format!("{line}\r\n\r\n")));
        Secrets::default().redact(&mut event);
        let target = event.request.map(|r| r.target).expect("a request");
        assert_eq!(String::from_utf8_lossy(&target), expected, "{line}");
    }
}

/// The version is arbitrary data from the client.
#[test]
fn versions_of_requests() {
    for (version, expected) in [
        ("RTSP/1.0", "RTSP/1.0"),
        ("HTTP/1.1?access_token=SECRET", "HTTP/1.1?access_token=‹redacted:6 bytes›"),
        (&*format!("HTTP/{JWT}"), "HTTP/‹redacted:49 bytes›"),
    ] {
        let mut event = testing::event();
        let request = event.request.as_mut().expect("a request");
        request.version = Some(Bytes::copy_from_slice(version.as_bytes()));
        Secrets::default().redact(&mut event);
        let clean = event.request.and_then(|request| request.version);
        assert_eq!(clean.as_deref(), Some(expected.as_bytes()), "{version}");
    }
}

#[test]
fn a_list_of_ones_own_extends_it() {
    let secrets = Secrets::with(&["x-mine".into()], &["pan".into()], false);
    assert!(secrets.value(b"X-Mine", b"a").is_some());
    assert!(secrets.value(b"Location", b"/?PAN=1234").is_some());
    assert!(secrets.value(b"Cookie", b"a=b").is_some());
}

#[test]
fn nothing_is_copied_where_nothing_is_secret() {
    let mut event = testing::event();
    let before: Vec<*const u8> =
        event.response.iter().flat_map(|r| r.headers.iter()).map(|h| h.value.as_ptr()).collect();
    Secrets::default().redact(&mut event);
    let after: Vec<*const u8> =
        event.response.iter().flat_map(|r| r.headers.iter()).map(|h| h.value.as_ptr()).collect();
    assert_eq!(before, after);
}

#[test]
fn the_user_of_basic() {
    for (text, expected) in [
        ("Basic YWxpY2U6c2VjcmV0", Some("alice")),
        ("basic  YWxpY2U6c2VjcmV0 ", Some("alice")),
        ("Basic OnNlY3JldA==", None),
        ("Basic ????", None),
        ("Bearer YWxpY2U6c2VjcmV0", None),
        ("Ba", None),
    ] {
        let mut event = testing::event();
        event.request =
            Some(testing::request(&format!("GET / HTTP/1.1\r\nAuthorization: {text}\r\n\r\n")));
        let user = http_trace_model::event::basic_user(&event)
            .map(|u| String::from_utf8_lossy(&u).into_owned());
        assert_eq!(user.as_deref(), expected, "{text}");
    }
}

#[test]
fn values_behind_names_that_say_so() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
    for (text, expected) in [
        ("no secret in here: really", None),
        ("", None),
        (
            r#"{"user":"a","password":"b\"c","x":1}"#,
            Some(r#"{"user":"a","password":"‹redacted:4 bytes›","x":1}"#),
        ),
        (r#"{"Token" : 1234, "y": 2}"#, Some(r#"{"Token" : ‹redacted:4 bytes›, "y": 2}"#)),
        (
            r#"{"inner":"{\"secret\":\"ab\",\"z\":1}"}"#,
            Some(r#"{"inner":"{\"secret\":\"‹redacted:2 bytes›\",\"z\":1}"}"#),
        ),
        // Truncated by the requested number of bytes.
        (r#"{"api_key":"abc"#, Some(r#"{"api_key":"‹redacted:3 bytes›"#)),
        ("grant=x&password=hunter2&scope=y", Some("grant=x&password=‹redacted:7 bytes›&scope=y")),
        ("password=hunter2", Some("password=‹redacted:7 bytes›")),
        (
            "Host: a\r\nAuthorization: Basic YTpi\r\nAccept: */*",
            Some("Host: a\r\nAuthorization: ‹redacted:10 bytes›\r\nAccept: */*"),
        ),
        ("<a href=\"/x?token=abc&b=1\">", Some("<a href=\"/x?token=‹redacted:3 bytes›&b=1\">")),
        (
            "cannot reach http://user:pass@db.example/x now",
            Some("cannot reach http://‹redacted:9 bytes›@db.example/x now"),
        ),
        (
            "{\"refreshToken\":\"ab\",\"clientSecret\":\"cd\"}",
            Some(
                "{\"refreshToken\":\"‹redacted:2 bytes›\",\"clientSecret\":\"‹redacted:2 bytes›\"}",
            ),
        ),
        ("{\"token\":[\"ab\",\"c]\"],\"x\":1}", Some("{\"token\":‹redacted:11 bytes›,\"x\":1}")),
        (
            "{\"password\":{\"value\":\"ab\"},\"x\":1}",
            Some("{\"password\":‹redacted:14 bytes›,\"x\":1}"),
        ),
        ("{\"password\":\n  \"ab\"}", Some("{\"password\":\n  \"‹redacted:2 bytes›\"}")),
        (
            "{\"headers\":{\"cookie\":[\"sid=ab\"]}}",
            Some("{\"headers\":{\"cookie\":‹redacted:10 bytes›}}"),
        ),
        (
            "{\"name\":\"Authorization\",\"value\":\"Basic ab\"}",
            Some("{\"name\":\"Authorization\",\"value\":\"‹redacted:8 bytes›\"}"),
        ),
        (
            "{\"value\":\"ab\",\"name\":\"token\"},{\"value\":\"c\"}",
            Some("{\"value\":\"‹redacted:2 bytes›\",\"name\":\"token\"},{\"value\":\"c\"}"),
        ),
        (
            "<r><password>ab</password><a>b</a></r>",
            Some("<r><password>‹redacted:2 bytes›</password><a>b</a></r>"),
        ),
        ("<ns:Password x=\"y\">ab", Some("<ns:Password x=\"y\">‹redacted:2 bytes›")),
        ("<password/><a>b</a>", None),
        (
            "<input type=\"hidden\" name=\"token\" value=\"a>b\"> value=\"c\"",
            Some("<input type=\"hidden\" name=\"token\" value=\"‹redacted:3 bytes›\"> value=\"c\""),
        ),
        (
            "<meta name=\"csrf-token\" content=\"ab\">",
            Some("<meta name=\"csrf-token\" content=\"‹redacted:2 bytes›\">"),
        ),
        ("<input name=\"user\" value=\"ab\">", None),
        (
            "array('password' => 'ab', 'x' => 'y')",
            Some("array('password' => '‹redacted:2 bytes›', 'x' => 'y')"),
        ),
        ("{:password=>\"ab\", :x=>1}", Some("{:password=>\"‹redacted:2 bytes›\", :x=>1}")),
        ("{'token': b\"ab\"}", Some("{'token': b\"‹redacted:2 bytes›\"}")),
        (
            "&quot;token&quot;:&quot;ab&quot;,&quot;x&quot;:1",
            Some("&quot;token&quot;:&quot;‹redacted:2 bytes›&quot;,&quot;x&quot;:1"),
        ),
        (
            "DB_PASSWORD=ab\nAWS_SECRET_ACCESS_KEY=cd\nX=y",
            Some("DB_PASSWORD=‹redacted:2 bytes›\nAWS_SECRET_ACCESS_KEY=‹redacted:2 bytes›\nX=y"),
        ),
        ("password: |\n  ab\n  cd\nx: y", Some("password: ‹redacted:11 bytes›\nx: y")),
        ("password:\n  ab\nx: y", Some("password:\n  ‹redacted:2 bytes›\nx: y")),
        ("token: ab,cd\nx: y", Some("token: ‹redacted:5 bytes›\nx: y")),
        ("authorization=Bearer ab x", Some("authorization=‹redacted:9 bytes› x")),
        (
            "Content-Disposition: form-data; name=\"password\"\r\n\r\nab\r\n--x",
            Some(
                "Content-Disposition: form-data; name=\"password\"\r\n\r\n‹redacted:3 bytes›\n--x",
            ),
        ),
        (
            "data=%7B%22token%22%3A%22ab%22%7D&x=y",
            Some("data=%7B%22token%22%3A%22‹redacted:2 bytes›%22%7D&x=y"),
        ),
        ("code=ab&state=c", Some("code=‹redacted:2 bytes›&state=c")),
        ("see http://user:pass", Some("see http://‹redacted:9 bytes›")),
        ("see http://host:80", None),
        ("a cut eyJhbGciOiJIUzI1NiJ9.eyJz", Some("a cut ‹redacted:25 bytes›")),
        ("a cut eyJhbGciOiJI", Some("a cut ‹redacted:12 bytes›")),
        (jwt, Some("‹redacted:49 bytes›")),
        ("the password is wrong", None),
        ("password=", None),
        // Value on the next line.
        ("password=\r\nhunter2\r\nuser=me", Some("password=\r\n‹redacted:7 bytes›\r\nuser=me")),
        ("Password:\nhunter2", Some("Password:\n‹redacted:7 bytes›")),
        ("api_key =\n    'a b'\n", Some("api_key =\n    '‹redacted:3 bytes›'\n")),
        (
            "{\n  \"password\"\n  :\n  \"ab\",\n  \"x\": 1\n}",
            Some("{\n  \"password\"\n  :\n  \"‹redacted:2 bytes›\",\n  \"x\": 1\n}"),
        ),
        (
            "{\n  \"token\": [\n    \"ab\",\n    \"cd\"\n  ],\n  \"x\": 1",
            Some("{\n  \"token\": ‹redacted:24 bytes›,\n  \"x\": 1"),
        ),
        (
            r#"{"log":"{\n  \"password\":\n    \"ab\",\n  \"x\": 1"}"#,
            Some(r#"{"log":"{\n  \"password\":\n    \"‹redacted:2 bytes›\",\n  \"x\": 1"}"#),
        ),
        // No value on the next line.
        ("DB_PASSWORD=\nX=y\n", None),
        ("password:\nuser: me\n", None),
        ("Password:\nmay have any letters", None),
        ("<label>Password:\n<input>", None),
    ] {
        let got = Secrets::default().clean(text.as_bytes(), &Context::BODY);
        let got = got.map(|clean| String::from_utf8(clean).expect("UTF-8"));
        assert_eq!(got.as_deref(), expected, "{text}");
    }
}

#[test]
fn alerts_are_redacted_though_their_texts_were_cut() {
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}", "a".repeat(400));
    let mut alert = http_trace_detect::testing::alert();
    let target = format!("/verify?t={jwt}").as_bytes()[..evidence::TEXT].to_vec();
    alert.samples[0].target.clone_from(&target);
    alert.paths = vec![(target.clone(), 1)];
    alert.hosts = vec![(b"u:HIDDEN@h".to_vec(), 1)];
    let long = format!("{} http://u:HIDDEN{}", "x".repeat(100), "y".repeat(400));
    alert.user_agents = vec![
        (b"x http://u:HIDDEN@h/?token=HIDDEN".to_vec(), 1),
        (long.as_bytes()[..evidence::TEXT].to_vec(), 1),
    ];
    let shown = |field| Shown { field, value: target.clone() };
    alert.summary = [Field::Target, Field::Query, Field::RequestHeader("x-a".into())]
        .map(|field| Piece::Value(shown(field)))
        .into();
    Secrets::default().redact_alert(&mut alert);
    let text = format!("{:?}", alert);
    let mut out = alert.message();
    let agents = alert.user_agents.iter().chain(&alert.hosts);
    for (text, _) in agents.chain(&alert.paths) {
        out.extend_from_slice(text);
    }
    alert.samples.iter().for_each(|s| out.extend_from_slice(&s.target));
    for secret in ["HIDDEN", "eyJ"] {
        assert!(memmem::find(&out, secret.as_bytes()).is_none(), "{text}");
    }
}

#[test]
fn reasons_of_responses() {
    let mut event = testing::event();
    event.response = Some(testing::response("HTTP/1.1 302 token=abc http://u:pw@h/\r\n\r\n"));
    Secrets::default().redact(&mut event);
    let reason = event.response.map(|r| r.reason).expect("a response");
    assert_eq!(
        String::from_utf8_lossy(&reason),
        "token=‹redacted:3 bytes› http://‹redacted:4 bytes›@h/"
    );
}

#[test]
fn what_hits_keep_is_redacted_though_it_was_cut() {
    let query = format!("t=eyJhbGciOiJIUzI1NiJ9{}", "a".repeat(400));
    let mut shown = Shown { field: Field::Query, value: query.as_bytes()[..hits::TEXT].to_vec() };
    Secrets::default().shown(&mut shown);
    assert_eq!(String::from_utf8_lossy(&shown.value), "t=‹redacted:126 bytes›");
}

proptest! {
    #[test]
    fn any_bytes_are_survived_and_a_secret_never_is(
        name in prop::sample::select(vec!["Cookie", "Set-Cookie", "Location", "Link", "Refresh", "X"]),
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"eyJ.;=&?#@:/[]%<>token ".to_vec())], 0..200),
    ) {
        let secrets = Secrets::default();
        let _ = secrets.value(name.as_bytes(), &bytes);
        let _ = secrets.clean(&bytes, &Context::BODY);
        let hidden = [&bytes[..], b"?token=HIDDEN"].concat();
        let clean = secrets.clean(&hidden, &Context::URL).expect("changed");
        prop_assert!(memmem::find(&clean, b"HIDDEN").is_none());
    }
}
