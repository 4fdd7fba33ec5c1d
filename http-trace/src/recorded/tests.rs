//! Each format as its own writer writes it, and what is none of them.

use super::*;
use crate::sink::Style;
use crate::sink::json::Json;
use crate::sink::{Entry, Render};
use bytes::Bytes;
use http_trace_model::event::{Endpoint, Missing, NoResponse};
use http_trace_model::testing;

fn read(text: &[u8]) -> Vec<Result<HttpEvent, String>> {
    Recorded::new(text)
        .map(|event| event.map_err(|e| e.to_string()))
        .collect()
}

fn one(text: &[u8]) -> HttpEvent {
    let mut all = read(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).expect("an event")
}

fn shown(event: &HttpEvent) -> Vec<String> {
    let request = event.request.as_ref();
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = |name| {
        request
            .and_then(|r| r.headers.first(name))
            .map_or("-".to_owned(), of)
    };
    vec![
        event.time_ns.to_string(),
        event.client_ip().to_string(),
        format!("{}:{}", event.server.ip, event.server.port),
        request.map_or("-".into(), |r| {
            format!("{} {}", of(&r.method), of(&r.target))
        }),
        event
            .response
            .as_ref()
            .map_or("-".into(), |r| r.status.to_string()),
        event.body_bytes.map_or("-".into(), |n| n.to_string()),
        header("host"),
        header("user-agent"),
        header("referer"),
    ]
}

#[test]
fn our_own_json_comes_back() {
    let mut json = Json::new(&Style::default());
    let mut proxied = testing::event();
    proxied.forwarded = Some(http_trace_model::event::Forwarded {
        ip: "203.0.113.9".parse().expect("an address"),
        port: None,
    });
    let mut posted = testing::event();
    posted.request_body_bytes = Some(30);
    let mut unanswered = testing::event();
    (unanswered.response, unanswered.no_response) = (None, Some(NoResponse::Timeout));
    (unanswered.body_bytes, unanswered.response_bytes) = (None, None);
    unanswered.given_up_ns = unanswered.response_end_ns;
    unanswered.response_start_ns = None;
    unanswered.head_end_ns = None;
    unanswered.response_end_ns = None;
    let mut open = testing::event();
    (open.complete, open.missing) = (false, vec![Missing::Request, Missing::End]);
    (open.request, open.request_body_bytes) = (None, None);
    open.flags = vec!["bare_lf", "still_open"];
    open.interfaces = vec!["eth0".into(), "eth1".into()];
    let mut other_version = testing::event();
    if let Some(request) = &mut other_version.request {
        request.version = Some(Bytes::from_static(b"RTSP/1.0"));
    }
    let mut logged = testing::event();
    (logged.server, logged.client.port) = (Endpoint::NOBODY, 0);
    let mut anonymous = logged.clone();
    anonymous.client = Endpoint::NOBODY;
    for event in [
        testing::event(),
        logged,
        anonymous,
        proxied,
        posted,
        unanswered,
        open,
        other_version,
    ] {
        let mut line = Vec::new();
        json.event(
            &Entry {
                event: &event,
                user: None,
            },
            &mut line,
        );
        let back = one(&line);
        assert_eq!(shown(&back), shown(&event));
        assert_eq!((back.client, back.server), (event.client, event.server));
        assert_eq!(back.id, event.id);
        assert_eq!(back.request_bytes(), event.request_bytes());
        assert_eq!(back.ttfb_ns(), event.ttfb_ns());
        assert!(event.duration_ns().is_some());
        assert_eq!(back.duration_ns(), event.duration_ns());
        assert_eq!(back.no_response, event.no_response);
        assert_eq!(back.missing, event.missing);
        assert_eq!(back.flags, event.flags);
        assert_eq!(back.interfaces, event.interfaces);
        let version = |e: &HttpEvent| e.request.as_ref().and_then(|r| r.version.clone());
        assert_eq!(version(&back), version(&event));
        let count = |e: &HttpEvent| e.response.as_ref().map(|r| r.headers.len());
        assert_eq!(count(&back), count(&event));
    }
}

#[test]
fn bytes_that_are_no_text_come_back_as_they_were() {
    let wire: [&[u8]; 5] = [
        br"\x16x03",
        b"/caf\xe9 \x16\x03",
        br"C:\x5c",
        b"\\\xff",
        "\u{202e}\u{e9}".as_bytes(),
    ];
    let mut json = Json::new(&Style::default());
    for bytes in wire {
        let mut event = testing::event();
        let copy = Bytes::copy_from_slice(bytes);
        let request = event.request.as_mut().expect("a request");
        (request.method, request.target) = (copy.clone(), copy.clone());
        request.headers.push(b"x-bytes", bytes);
        let response = event.response.as_mut().expect("a response");
        response.reason = copy.clone();
        event.body_snippet = Some(copy.clone());
        let mut line = Vec::new();
        let entry = Entry {
            event: &event,
            user: None,
        };
        json.event(&entry, &mut line);
        let back = one(&line);
        let (request, response) = (back.request.expect("one"), back.response.expect("one"));
        assert_eq!(request.method, bytes);
        assert_eq!(request.target, bytes);
        assert_eq!(request.headers.first("x-bytes"), Some(bytes));
        assert_eq!(response.reason, bytes);
        assert_eq!(back.body_snippet.as_deref(), Some(bytes));
    }
}

#[test]
fn alerts_and_losses_are_no_events() {
    assert!(
        read(b"{\"event\":{\"kind\":\"alert\"}}\n{\"event\":{\"kind\":\"pipeline_error\"}}\n\n")
            .is_empty()
    );
}

#[test]
fn zeek_as_json_and_as_tsv() {
    let expected = [
        "1605853207123456000",
        "10.0.0.1",
        "10.0.0.2:8080",
        "GET /a?b=1",
        "404",
        "162",
        "h.example",
        "curl/8",
        "-",
    ];
    let json = br#"{"_path":"http","ts":1605853207.123456,"uid":"C1","id.orig_h":"10.0.0.1","id.orig_p":4711,"id.resp_h":"10.0.0.2","id.resp_p":8080,"trans_depth":3,"method":"GET","host":"h.example","uri":"/a?b=1","version":"1.1","user_agent":"curl/8","request_body_len":0,"response_body_len":162,"status_code":404,"status_msg":"Not Found","tags":[]}
{"_path":"conn","ts":1605853207.1,"id.orig_h":"10.0.0.1"}
"#;
    let event = one(json);
    assert_eq!(shown(&event), expected);
    assert_eq!(event.ordinal, 3);
    let tsv = b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\thttp\n\
        #fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tmethod\thost\turi\treferrer\tuser_agent\tresponse_body_len\tstatus_code\n\
        #types\ttime\taddr\tport\taddr\tport\tstring\tstring\tstring\tstring\tstring\tcount\tcount\n\
        1605853207.123456\t10.0.0.1\t4711\t10.0.0.2\t8080\tGET\th.example\t/a?b=1\t-\tcurl/8\t162\t404\n\
        #close\t2020-11-20-06-40-07\n";
    assert_eq!(shown(&one(tsv)), expected);
}

#[test]
fn access_logs() {
    let line = br#"10.0.0.1 - frank [20/Nov/2020:06:20:07 +0000] "GET /a\"b HTTP/1.0" 404 162 "http://r/" "curl/8 \x41""#;
    let event = one(line);
    assert_eq!(
        shown(&event),
        [
            "1605853207000000000",
            "10.0.0.1",
            "0.0.0.0:0",
            "GET /a\"b",
            "404",
            "162",
            "-",
            "curl/8 A",
            "http://r/"
        ]
    );
    let request = event.request.expect("a request");
    assert_eq!(request.minor_version, 0);
    assert_eq!(
        request.headers.first("authorization"),
        Some(&b"Basic ZnJhbms6"[..])
    );
    // The common format, another zone, no length, and a request line that is none.
    let event = one(b"2001:db8::1 - - [19/Nov/2020:23:20:07 -0700] \"\\x16\\x03\\x01\" 400 -");
    assert_eq!(
        shown(&event),
        [
            "1605853207000000000",
            "2001:db8::1",
            "0.0.0.0:0",
            "-",
            "400",
            "-",
            "-",
            "-",
            "-"
        ]
    );
}

#[test]
fn a_name_that_the_client_chose_hides_no_line() {
    use base64::Engine as _;
    let forged = r#"x [20/Nov/2020:06:40:07 +0000] \"GET /forged HTTP/1.1\" 200"#;
    for (name, expected) in [
        ("-", None),
        ("bob smith", Some("bob smith")),
        ("a [b] c", Some("a [b] c")),
        ("[", Some("[")),
        ("a]", Some("a]")),
        (r#"a\"b"#, Some("a\"b")),
        (r"a\x22b", Some("a\"b")),
        (r"a\\", Some("a\\")),
        (
            "[20/Nov/2020:06:40:07 +0000]",
            Some("[20/Nov/2020:06:40:07 +0000]"),
        ),
        (
            forged,
            Some("x [20/Nov/2020:06:40:07 +0000] \"GET /forged HTTP/1.1\" 200"),
        ),
    ] {
        let line =
            format!("10.0.0.1 - {name} [20/Nov/2020:06:20:07 +0000] \"GET /a HTTP/1.1\" 404 162");
        let event = one(line.as_bytes());
        assert_eq!(event.time_ns, 1_605_853_207_000_000_000, "{name}");
        let request = event.request.expect("a request");
        assert_eq!(&request.target[..], b"/a", "{name}");
        let user = request.headers.first("authorization").map(|value| {
            let pair = base64::engine::general_purpose::STANDARD.decode(&value[6..]);
            let pair = String::from_utf8(pair.expect("base64")).expect("UTF-8");
            pair.strip_suffix(':').expect("a colon").to_owned()
        });
        assert_eq!(user.as_deref(), expected, "{name}");
    }
}

#[test]
fn our_own_json_that_is_malformed_says_what() {
    let record = |stamp: &str, ip: &str, status: &str| {
        format!(
            r#"{{"@timestamp":{stamp},"event":{{"kind":"event"}},"source":{{"ip":{ip}}},"destination":{{"ip":"10.0.0.2"}},"http":{{"response":{{"status_code":{status}}}}}}}"#
        )
    };
    let (stamp, ip) = (r#""2020-11-20T06:20:07Z""#, r#""10.0.0.1""#);
    for (line, expected) in [
        (record(stamp, ip, "200"), None),
        (format!("\u{feff}{}", record(stamp, ip, "200")), None),
        (
            record(stamp, ip, "99999"),
            Some("malformed http.response.status_code in it"),
        ),
        (
            record(stamp, ip, "99"),
            Some("malformed http.response.status_code in it"),
        ),
        (
            record(stamp, ip, "\"200\""),
            Some("malformed http.response.status_code in it"),
        ),
        (
            record("\"yesterday\"", ip, "200"),
            Some("malformed @timestamp in it"),
        ),
        (record("5", ip, "200"), Some("malformed @timestamp in it")),
        (
            record(stamp, "\"10.0.0.300\"", "200"),
            Some("malformed source.ip in it"),
        ),
        (record(stamp, "7", "200"), Some("malformed source.ip in it")),
    ] {
        let mut all = read(line.as_bytes());
        let got = all.remove(0).map(|e| e.response.map(|r| r.status));
        let expected = match expected {
            Some(why) => Err(format!("line 1: {why}")),
            None => Ok(Some(200)),
        };
        assert_eq!(got, expected, "{line}");
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_goes_on() {
    let good = "10.0.0.1 - - [20/Nov/2020:06:40:07 +0000] \"GET / HTTP/1.1\" 200 1";
    let long = "x".repeat(MAX_LINE + 1);
    let text = format!(
        "hello\n{{\"a\":1}}\n{{\n{long}\n{good}\n{{\"event\":{{\"kind\":\"event\"}}}}\n{good}"
    );
    let all = read(text.as_bytes());
    let errors: Vec<&str> = all
        .iter()
        .filter_map(|e| e.as_ref().err())
        .map(String::as_str)
        .collect();
    assert_eq!(all.len() - errors.len(), 2);
    for (error, expected) in errors.iter().zip([
        "line 1: no client address",
        "line 2: neither event.kind",
        "line 3: EOF",
        "line 4: longer than",
        "line 6: no @timestamp in it",
    ]) {
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(errors.len(), 5);
}

proptest::proptest! {
    #[test]
    fn any_bytes(bytes: Vec<u8>, begin in 0_usize..4) {
        let begins: [&[u8]; 4] = [b"", b"{\"id.orig_h\":", b"#separator \\x09\n#fields\tts\n", b"1.1.1.1 - - ["];
        let text = [begins[begin], &bytes].concat();
        let _ = read(&text);
    }
}
