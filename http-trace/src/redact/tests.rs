//! Tables of what is a secret and what is not.

mod hostile;
mod variants;

use memchr::memmem;
use proptest::prelude::*;

use super::*;
use http_trace_detect::{evidence, hits};
use http_trace_samples as testing;

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

/// Recorded events hold marks, and clients may send what looks like one.
#[test]
fn marks_stay_and_hide_nothing_beside_them() {
    let value = |name: &str, text: &str| {
        let clean = Secrets::default().value(name.as_bytes(), text.as_bytes());
        clean.map_or("unchanged".to_owned(), |c| String::from_utf8_lossy(&c).into_owned())
    };
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

/// What the table cannot say.
#[test]
fn empty_values_and_odd_names() {
    let value = |name: &str, text: &str| Secrets::default().value(name.as_bytes(), text.as_bytes());
    assert_eq!(value("X-Api-Key", ""), None);
    assert_eq!(value("Authorization\0", "Basic abc"), Some(redacted(b"Basic abc")));
    assert_eq!(Secrets::default().clean(b"", &Context::BODY), None);
    let mut event = testing::event();
    event.request = Some(testing::request("CONNECT u:p@h:443 HTTP/1.1\r\n\r\n"));
    Secrets::default().redact(&mut event);
    let target = event.request.map(|r| r.target).expect("a request");
    assert_eq!(target, [&redacted(b"u:p")[..], b"@h:443"].concat());
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
    let secrets = Secrets::with(&["x-mine".into()], &["pan".into()], false, None);
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
fn alerts_are_redacted_though_their_texts_were_cut() {
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}", "a".repeat(400));
    let mut alert = http_trace_samples::alert();
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
