//! Each format as its writer produces it, and lines that are no format.

mod access_json;
mod combined;
mod own;
mod proxies;
mod w3c;
mod zeek;

use super::*;
use http_trace_model::event::NoResponse;

fn read(text: &[u8]) -> Vec<Result<HttpEvent, String>> {
    Recorded::new(text).map(|event| event.map_err(|e| e.to_string())).collect()
}

fn one(text: &[u8]) -> HttpEvent {
    let mut all = read(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).expect("an event")
}

fn shown(event: &HttpEvent) -> Vec<String> {
    let request = event.request.as_ref();
    let of = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = |name| request.and_then(|r| r.headers.first(name)).map_or("-".to_owned(), of);
    vec![
        event.time_ns.to_string(),
        event.client_ip().to_string(),
        format!("{}:{}", event.server.ip, event.server.port),
        request.map_or("-".into(), |r| format!("{} {}", of(&r.method), of(&r.target))),
        event.response.as_ref().map_or("-".into(), |r| r.status.to_string()),
        event.body_bytes.map_or("-".into(), |n| n.to_string()),
        header("host"),
        header("user-agent"),
        header("referer"),
    ]
}

#[test]
fn alerts_and_losses_are_no_events() {
    assert!(
        read(b"{\"event\":{\"kind\":\"alert\"}}\n{\"event\":{\"kind\":\"pipeline_error\"}}\n\n")
            .is_empty()
    );
}

#[test]
fn access_logs() {
    let line = br#"10.0.0.1 - frank [20/Nov/2020:06:20:07 +0000] "GET /a\"b HTTP/1.0" 404 162 "http://r/" "curl/8 \x41""#;
    let event = one(line);
    assert_eq!(
        shown(&event),
        [
            "1605853207000000000", "10.0.0.1", "0.0.0.0:0", "GET /a\"b", "404", "162", "-",
            "curl/8 A", "http://r/"
        ]
    );
    let request = event.request.expect("a request");
    assert_eq!(request.minor_version, 0);
    assert_eq!(request.headers.first("authorization"), Some(&b"Basic ZnJhbms6"[..]));
    // Common format, another time zone, no length, and an invalid request line.
    let event = one(b"2001:db8::1 - - [19/Nov/2020:23:20:07 -0700] \"\\x16\\x03\\x01\" 400 -");
    assert_eq!(
        shown(&event),
        ["1605853207000000000", "2001:db8::1", "0.0.0.0:0", "-", "400", "-", "-", "-", "-"]
    );
}

/// What containers write, as their runtimes keep it.
#[test]
fn lines_in_the_envelopes_of_container_runtimes() {
    let line =
        r#"10.0.0.1 - - [20/Nov/2020:06:20:07 +0000] "GET /a HTTP/1.1" 404 162 "-" "curl/8""#;
    let json = r#"{"time":"2020-11-20T06:20:07Z","remote_addr":"10.0.0.1","status":404,"request":"GET /a HTTP/1.1","body_bytes_sent":162,"http_user_agent":"curl/8"}"#;
    let cri = |stream: &str, tag: &str, text: &str| {
        format!("2026-11-24T10:00:00.000000000+01:00 {stream} {tag} {text}\n").into_bytes()
    };
    let docker = |text: &str| {
        let log = serde_json::to_string(text).expect("JSON");
        let rest = r#""stream":"stdout","time":"2026-11-24T10:00:00.1Z""#;
        format!("{{\"log\":{log},{rest}}}\n").into_bytes()
    };
    let (begin, end) = line.split_at(20);
    for text in [
        cri("stdout", "F", line),
        cri("stderr", "F", json),
        [cri("stdout", "P", begin), cri("stderr", "F", "an error"), cri("stdout", "F", end)]
            .concat(),
        docker(&format!("{line}\n")),
        docker(&format!("{json}\r\n")),
        [docker(begin), docker(&format!("{end}\n"))].concat(),
    ] {
        let expected = ["1605853207000000000", "10.0.0.1", "0.0.0.0:0", "GET /a", "404", "162"];
        assert_eq!(shown(&one(&text))[..6], expected, "{}", text.escape_ascii());
    }
    for before in [
        "nginx-1  | ",
        "web_nginx.1.k2@node-1    | ",
        "nginx-1 | 2026-11-24T10:00:00.000000001Z ",
        "2026-11-24T10:00:00.000000001+01:00 ",
        "[pod/nginx-abc/nginx] ",
        "[pod/nginx-abc/nginx] 2026-11-24T10:00:00.1Z ",
    ] {
        for line in [line, json] {
            let event = one(format!("{before}{line}\n").as_bytes());
            assert_eq!(shown(&event)[1], "10.0.0.1", "{before}");
            let request = event.request.expect("a request");
            assert_eq!(request.headers.first("authorization"), None, "{before}");
            assert_eq!(request.headers.first("host"), None, "{before}");
        }
    }
    // On standard output an unreadable line is one; a line without end is reported.
    assert!(
        matches!(&read(&cri("stdout", "F", "x"))[..], [Err(why)] if why.starts_with("line 1: "))
    );
    assert!(read(&cri("stderr", "F", "x")).is_empty());
    assert!(
        matches!(&read(&cri("stdout", "P", begin))[..], [Err(why)] if why.contains("is missing"))
    );
    // Too long, although each part is not.
    let part = "x".repeat(MAX_LINE - 99);
    let long = [cri("stdout", "P", &part), cri("stdout", "P", &part), cri("stdout", "F", line)];
    assert!(matches!(&read(&long.concat())[..], [Err(why)] if why.contains("longer than")));
}

/// nginx writes 000 or 499, and as JSON Caddy writes 0, if the client left before there was a status.
#[test]
fn a_line_without_a_status_is_a_request_without_response() {
    let time = "[10/Oct/2000:13:55:36 -0700]";
    for (request, is_event) in [("GET /a HTTP/1.1", true), ("-", false)] {
        for text in [
            format!("10.0.0.1 - - {time} \"{request}\" 000 0 \"-\" \"-\""),
            format!("10.0.0.1 - - {time} \"{request}\" 499 0 \"-\" \"-\""),
            format!(
                r#"{{"remote_addr":"10.0.0.1","msec":"1.5","status":"000","request":"{request}"}}"#
            ),
            format!(
                r#"{{"remote_addr":"10.0.0.1","msec":"1.5","status":0,"request":"{request}"}}"#
            ),
        ] {
            let all = read(text.as_bytes());
            assert_eq!(all.len(), usize::from(is_event), "{text}: {all:?}");
            for event in all {
                let event = event.expect("an event");
                assert!(event.response.is_none() && event.body_bytes.is_none(), "{text}");
                assert_eq!(event.no_response, Some(NoResponse::Closed), "{text}");
                assert_eq!(event.given_up_ns, Some(event.time_ns), "{text}");
            }
        }
    }
    let low = read(b"10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 99 0");
    assert!(low[0].is_err(), "{low:?}");
}

#[test]
fn each_line_of_a_log_has_an_id_of_its_own_which_stays() {
    let line = "10.0.0.1 - - [20/Nov/2020:06:40:07 +0000] \"GET / HTTP/1.1\" 200 1\n";
    let ids = |text: &str| -> Vec<u64> {
        read(text.as_bytes()).into_iter().map(|event| event.expect("an event").id).collect()
    };
    let all = ids(&line.repeat(100));
    assert_eq!(all, ids(&line.repeat(100)));
    let distinct: std::collections::HashSet<&u64> = all.iter().collect();
    assert!(distinct.len() == 100 && !distinct.contains(&0));
}

/// Servers answer a request line without a version, so that a scanner which leaves it out must not be overlooked.
#[test]
fn a_version_is_what_was_logged_or_absent() {
    for (line, target, version, sent) in [
        ("GET /a HTTP/1.1", Some("/a"), Some(1), None),
        ("GET /a b HTTP/1.0", Some("/a b"), Some(0), None),
        ("GET /a HTTP/2.0", Some("/a"), None, Some("HTTP/2.0")),
        ("GET /a", Some("/a"), None, Some("")),
        ("GET /a b", Some("/a b"), None, Some("")),
        ("-", None, None, None),
        ("hello", None, None, None),
        (" /a", None, None, None),
    ] {
        let log = format!("10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"{line}\" 404 1");
        let json = format!(
            r#"{{"remote_addr":"10.0.0.1:5","msec":"1000000000.5","status":404,"request":"{line}"}}"#
        );
        for text in [log, json] {
            let event = one(text.as_bytes());
            assert_eq!(event.minor_version(), version, "{text}");
            assert_eq!(event.client.ip.to_string(), "10.0.0.1");
            let request = event.request.as_ref();
            let seen = request.map(|head| &head.target[..]);
            assert_eq!(seen, target.map(str::as_bytes), "{text}");
            let seen = request.and_then(|head| head.version.as_deref());
            assert_eq!(seen, sent.map(str::as_bytes), "{text}");
        }
    }
}

/// Two digits follow `\x`; a sign is none. The letters are those of Apache; before others, a writer without escaping
/// left the backslash.
#[test]
fn escapes_of_access_logs_are_undone() {
    for (escaped, expected) in [
        (r"\x0f\xF0", &b"\x0f\xf0"[..]),
        (r"\x+f", br"\x+f"),
        (r"\x1", br"\x1"),
        (r"..\..\win.ini", br"..\..\win.ini"),
        (r"\n\t\r\v\b", b"\n\t\r\x0b\x08"),
        (r#"\"\\"#, b"\"\\"),
    ] {
        let line = format!(
            r#"10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 1 "-" "{escaped}""#
        );
        let request = one(line.as_bytes()).request.expect("a request");
        assert_eq!(request.headers.first("user-agent"), Some(expected), "{escaped}");
    }
}

/// `copytruncate` of logrotate cuts a file that its writer may go on to write at its old place.
#[test]
fn zeros_before_a_line_are_no_part_of_it() {
    let line = "10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1\r\n";
    for zeros in [1, 3, MAX_LINE + 7] {
        let text = ["\0".repeat(zeros).as_str(), line, line, "\0\0\n"].concat();
        for capacity in [1, 1 << 16] {
            let input = io::BufReader::with_capacity(capacity, text.as_bytes());
            let mut recorded = Recorded::new(input);
            assert_eq!(recorded.by_ref().filter(Result::is_ok).count(), 2, "{zeros}");
            assert_eq!((recorded.lines, recorded.others), (3, 0), "{zeros}");
        }
    }
}

#[test]
fn members_of_any_name_hide_no_line_of_an_access_log() {
    let log = r#""remote_addr":"192.0.2.7","status":200,"time_iso8601":"2026-01-01T00:00:00Z","request":"GET /e HTTP/1.1""#;
    for more in [
        r#""event_type":"request""#,
        r#""event_type":"request","timestamp":"2026-01-01T00:00:00Z""#,
        r#""event_type":"http","http":{},"timestamp":"2026-01-01T00:00:00Z""#,
        r#""_path":"/e""#,
        r#""_path":"http""#,
        r#""event":{"kind":"request"}"#,
        r#""event":{"kind":"event"}"#,
        r#""level":"info","msg":"request""#,
    ] {
        let event = one(format!("{{{log},{more}}}").as_bytes());
        assert_eq!(event.request.expect("a request").target, "/e", "{more}");
    }
}

#[test]
fn other_records_are_counted_and_malformed_ones_are_named() {
    for (line, is_other) in [
        (r#"{"event":{"kind":"alert"}}"#, true),
        (r#"{"event_type":"stats","timestamp":"2026-01-01T00:00:00Z"}"#, true),
        (r#"{"event_type":"flow","flow_id":7}"#, true),
        (r#"{"event_type":"request"}"#, false),
        (
            r#"{"_path":"ssh","ts":1.5,"id.orig_h":"192.0.2.7","status":"failure","client":"a"}"#,
            true,
        ),
        (r#"{"level":"info","ts":1629470295.02,"msg":"serving initial configuration"}"#, true),
        (r#"{"level":"info","time":"2026-01-01T00:00:00Z","message":"Traefik version 3"}"#, true),
        (r#"{"level":"info","msg":"request","status":200}"#, false),
        (r#"{"level":"info","msg":"request","request":{"remote_ip":"192.0.2.7"}}"#, false),
        (r#"{"msg":"request"}"#, false),
    ] {
        let mut recorded = Recorded::new(line.as_bytes());
        assert_eq!(recorded.by_ref().count(), usize::from(!is_other), "{line}");
        assert_eq!(recorded.others, u64::from(is_other), "{line}");
    }
}

/// Of tens of thousands, as many as a line can hold.
#[test]
fn many_header_fields_take_time_linear_in_their_number() {
    let fields: String = (0..50_000).map(|nth| format!(",\"http_x{nth}\":\"v\"")).collect();
    let line = format!(
        r#"{{"remote_addr":"192.0.2.7","status":200,"msec":1.5,"request":"GET / HTTP/1.1","http_host":"a"{fields}}}"#
    );
    assert!(line.len() <= MAX_LINE);
    let started = std::time::Instant::now();
    assert_eq!(one(line.as_bytes()).request.expect("a request").headers.len(), 50_001);
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

/// Four requests as written by nginx 1.22 in every supported form. Data from the client must neither hide its
/// own line nor affect others.
#[test]
fn one_request_reads_alike_in_every_form() {
    let combined: [&[u8]; 4] = [
        br#"192.0.2.7 - - [23/Nov/2026:09:51:57 +0000] "GET /no?q=%27 HTTP/1.1" 404 153 "http://x/\x22" "a\x22b\x5Cc""#,
        br#"192.0.2.7 - - [23/Nov/2026:09:51:57 +0000] "GET /\xFF\xE9 HTTP/1.1" 404 153 "-" "\xC3\xA9\xFF\x5Cx41""#,
        br#"192.0.2.7 - - [23/Nov/2026:09:51:57 +0000] "\x16\x03\x01\x00garbage" 400 157 "-" "-""#,
        br#"192.0.2.7 - bob [23/Nov/2026:09:51:57 +0000] "GET / HTTP/1.1" 200 6 "-" "curl/7.88.1""#,
    ];
    let json: [&[u8]; 4] = [
        br#"{"time":"2026-11-23T09:51:57+00:00","remote_addr":"192.0.2.7","remote_user":"","request":"GET /no?q=%27 HTTP/1.1","status":404,"body_bytes_sent":153,"http_referer":"http://x/\"","http_user_agent":"a\"b\\c"}"#,
        b"{\"time\":\"2026-11-23T09:51:57+00:00\",\"remote_addr\":\"192.0.2.7\",\"request\":\"GET /\xff\xe9 HTTP/1.1\",\"status\":404,\"body_bytes_sent\":153,\"http_user_agent\":\"\xc3\xa9\xff\\\\x41\"}",
        br#"{"time_iso8601":"2026-11-23T09:51:57+00:00","remote_addr":"192.0.2.7","request":"\u0016\u0003\u0001\u0000garbage","status":400,"body_bytes_sent":157,"http_user_agent":""}"#,
        br#"{"msec":"1795427517.000","remote_addr":"192.0.2.7","remote_user":"bob","request_method":"GET","request_uri":"/","server_protocol":"HTTP/1.1","status":"200","body_bytes_sent":"6","http_user_agent":"curl/7.88.1"}"#,
    ];
    // Without `escape=json`, which is not valid JSON if a client sends a quote.
    let unescaped: [&[u8]; 4] = [
        br#"{"time_local":"23/Nov/2026:09:51:57 +0000","remote_addr":"192.0.2.7","request":"GET /no?q=%27 HTTP/1.1","status":"404","bytes":"153","referer":"http://x/\x22","agent":"a\x22b\x5Cc"}"#,
        br#"{"time_local":"23/Nov/2026:09:51:57 +0000","remote_addr":"192.0.2.7","request":"GET /\xFF\xE9 HTTP/1.1","status":"404","bytes":"153","agent":"\xC3\xA9\xFF\x5Cx41"}"#,
        br#"{"time_local":"23/Nov/2026:09:51:57 +0000","remote_addr":"192.0.2.7","request":"\x16\x03\x01\x00garbage","status":"400","bytes":"157","agent":"-"}"#,
        br#"{"time_local":"23/Nov/2026:09:51:57 +0000","remote_addr":"192.0.2.7","remote_user":"bob","request":"GET / HTTP/1.1","status":"200","bytes":"6","agent":"curl/7.88.1"}"#,
    ];
    let prefixes: [&[u8]; 8] = [
        b"",
        b"<190>Nov 23 09:51:57 vm nginx: ",
        b"<190>Nov  3 09:51:57 nginx: ",
        b"Nov 23 09:51:57 vm nginx[12]: ",
        b"2026-11-23T09:51:57.123456+00:00 vm nginx: ",
        b"<13>1 2026-11-23T09:52:41.874478+00:00 vm nginx - - [timeQuality tzKnown=\"1\"] ",
        b"<13>1 2026-11-23T09:52:41Z vm nginx 7 - [a@1 b=\"c\\]\\\" ] d\"][e@1] \xef\xbb\xbf",
        b"<13>1 - vm nginx - - - ",
    ];
    for (nth, line) in combined.iter().enumerate() {
        let expected = shown(&one(line));
        for form in [combined, json, unescaped] {
            for prefix in prefixes {
                let event = one(&[prefix, form[nth]].concat());
                assert_eq!(shown(&event), expected, "{}", String::from_utf8_lossy(form[nth]));
                let user =
                    event.request.and_then(|r| r.headers.first("authorization").map(<[u8]>::len));
                assert_eq!(user.is_some(), nth == 3);
            }
        }
    }
    let event = one(combined[1]);
    let request = event.request.expect("a request");
    assert_eq!(request.headers.first("user-agent"), Some(&b"\xc3\xa9\xff\\x41"[..]));
    assert_eq!(request.target, &b"/\xff\xe9"[..]);
}

#[test]
fn what_a_json_log_names_beside_that_is_read_too() {
    let event = one(br#"{"msec":1795427517.849,"client_ip":"192.0.2.7","remote_port":"4711","method":"GET","uri":"/a","args":"b=1","protocol":"HTTP/1.0","status":200,"bytes_sent":240,"body_bytes_sent":6,"request_time":0.250,"http_host":"h.example","http_x_forwarded_for":"203.0.113.9","http_accept_language":"en","sent_http_content_type":"text/html; charset=utf-8"}"#);
    let request = event.request.as_ref().expect("a request");
    assert_eq!((&request.target[..], request.minor_version), (&b"/a?b=1"[..], 0));
    for (name, value) in
        [("host", "h.example"), ("x-forwarded-for", "203.0.113.9"), ("accept-language", "en")]
    {
        assert_eq!(request.headers.first(name), Some(value.as_bytes()), "{name}");
    }
    assert_eq!((event.response_bytes, event.body_bytes), (Some(240), Some(6)));
    assert_eq!(event.duration_ns(), Some(250_000_000));
    assert_eq!(event.client.port, 4711);
    let head = event.response.expect("a response");
    assert_eq!(head.headers.first("content-type"), Some(&b"text/html; charset=utf-8"[..]));
    for (line, expected) in [
        (
            &br#"{"remote_addr":"1.2.3","status":200,"time":"2026-11-23T09:51:57Z"}"#[..],
            "missing or invalid client address",
        ),
        (
            br#"{"remote_addr":"192.0.2.7","status":2000,"time":"2026-11-23T09:51:57Z"}"#,
            "missing or invalid status",
        ),
        (br#"{"remote_addr":"192.0.2.7","status":200,"time":"noon"}"#, "missing or invalid time"),
        (br#"{"status":200,"time":"noon"}"#, "unknown JSON record"),
    ] {
        let error = read(line).remove(0).expect_err("refused");
        assert!(error.contains(expected), "{error}");
    }
}

/// `vhost_combined` of Apache 2.4, whose size includes the head.
#[test]
fn a_virtual_host_before_the_client_is_the_host() {
    for (line, host) in [
        (&br#"www.example.org:80 192.0.2.7 - - [23/Nov/2026:09:52:56 +0000] "GET / HTTP/1.1" 404 397 "-" "curl/7.88.1""#[..], "www.example.org"),
        (br#"www.example.org:8080 ::1 - - [23/Nov/2026:09:52:56 +0000] "GET / HTTP/1.1" 404 397 "-" "a\"b\\c""#, "www.example.org:8080"),
        (br#"10.0.0.5 192.0.2.7 - - [23/Nov/2026:09:52:56 +0000] "GET / HTTP/1.1" 404 397"#, "10.0.0.5"),
    ] {
        let event = one(line);
        assert_ne!(event.client.ip.to_string(), "10.0.0.5");
        let request = event.request.expect("a request");
        assert_eq!(request.headers.first("host"), Some(host.as_bytes()));
    }
}

/// Lines written by Suricata 7.0.10, shortened.
#[test]
fn suricatas_records_of_http() {
    let event = one(br#"{"timestamp":"2026-11-20T09:23:14.813689+0000","flow_id":678531381334537,"pcap_cnt":31,"event_type":"http","src_ip":"10.77.0.1","src_port":35536,"dest_ip":"10.77.0.2","dest_port":80,"proto":"TCP","tx_id":2,"http":{"hostname":"10.77.0.2","http_port":8080,"url":"/502\\xff","http_user_agent":"curl/7.88.1","http_content_type":"text/html","http_refer":"http://r/","http_method":"GET","protocol":"HTTP/1.1","status":502,"length":157,"xff":"203.0.113.9"}}
{"timestamp":"2026-11-20T09:23:14.8+0000","event_type":"flow","src_ip":"10.77.0.1"}
{"timestamp":"2026-11-20T09:23:14.8+0000","event_type":"http","src_ip":"10.77.0.1","dest_ip":"10.77.0.2","http":{"version":"2","http2":{"stream_id":0}}}
"#);
    assert_eq!(
        shown(&event),
        [
            "1795166594813689000", "10.77.0.1", "10.77.0.2:80", "GET /502\u{fffd}", "502", "157",
            "10.77.0.2:8080", "curl/7.88.1", "http://r/"
        ]
    );
    assert_eq!((event.client.port, event.ordinal), (35536, 3));
    let request = event.request.expect("a request");
    assert_eq!(request.headers.first("x-forwarded-for"), Some(&b"203.0.113.9"[..]));
    let early = one(br#"{"timestamp":"2026-11-20T09:23:14.8+0000","event_type":"http","src_ip":"10.77.0.1","dest_ip":"10.77.0.2","http":{"http_method":"PUT","url":"/","status":100,"length":0}}"#);
    assert!(early.response.is_none() && early.informational.len() == 1);
    let error = read(br#"{"timestamp":"2026-11-20T09:23:14.8+0000","event_type":"http","src_ip":"10.77.0.1","http":{"status":200}}"#);
    assert!(error[0].as_ref().expect_err("no server").contains("missing dest_ip"));
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
        ("[20/Nov/2020:06:40:07 +0000]", Some("[20/Nov/2020:06:40:07 +0000]")),
        (forged, Some("x [20/Nov/2020:06:40:07 +0000] \"GET /forged HTTP/1.1\" 200")),
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
fn what_cannot_be_read_is_told_and_the_rest_goes_on() {
    let good = "10.0.0.1 - - [20/Nov/2020:06:40:07 +0000] \"GET / HTTP/1.1\" 200 1";
    let long = "x".repeat(MAX_LINE + 1);
    let text = format!(
        "hello\n{{\"a\":1}}\n{{\n{long}\n{good}\n{{\"event\":{{\"kind\":\"event\"}}}}\n{good}"
    );
    let all = read(text.as_bytes());
    let errors: Vec<&str> =
        all.iter().filter_map(|e| e.as_ref().err()).map(String::as_str).collect();
    assert_eq!(all.len() - errors.len(), 2);
    for (error, expected) in errors.iter().zip([
        "line 1: missing client address",
        "line 2: unknown JSON record",
        "line 3: not valid JSON: EOF while parsing an object at column 1",
        "line 4: longer than",
        "line 6: missing @timestamp",
    ]) {
        assert!(error.starts_with(expected), "{error}");
    }
    assert_eq!(errors.len(), 5);
}

proptest::proptest! {
    #[test]
    fn any_bytes(bytes: Vec<u8>, begin in 0_usize..13) {
        let begins: [&[u8]; 13] = [b"", b"{\"event_type\":\"http\",\"http\":{", b"<1>1 - a b c d [", b"{\"remote_addr\":\"1.1.1.1\",\"status\":200,\"time\":\"", b"{\"id.orig_h\":", b"#separator \\x09\n#fields\tts\n", b"1.1.1.1 - - [", b"#Fields: date time c-ip cs-method cs-uri-stem sc-status\n2026-11-20 08:00:00 192.0.2.7 GET / ", b"#Fields: ", b"[2026-11-20T08:00:00Z] \"", b"[2026-11-20T08:00:00Z] \"GET / HTTP/1.1\" 200 - ", b"[20/Nov/2026:08:00:00 +0000] 200 - GET http h \"/\" [Client ", b"http 2026-11-20T08:00:00Z "];
        let text = [begins[begin], &bytes].concat();
        let _ = read(&text);
    }
}
