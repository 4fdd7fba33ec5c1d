//! JSON with the names that servers and their users give its members.

use super::{one, read, shown};

/// Default formats of other servers.
#[test]
fn json_of_traefik_and_caddy_is_read() {
    let traefik = r#"{"ClientAddr":"192.0.2.7:40","ClientHost":"192.0.2.7","ClientUsername":"-","DownstreamContentSize":357,"DownstreamStatus":404,"Duration":3573,"RequestHost":"shop.example","RequestMethod":"GET","RequestPath":"/a?b=c","RequestProtocol":"HTTP/1.1","ServiceURL":{"Host":"10.0.0.3:80"},"StartUTC":"2021-12-08T14:02:43.5Z","request_User-Agent":"probe","request_Referer":"http://b/","time":"2021-12-08T14:02:43Z"}"#;
    let caddy = r#"{"level":"info","ts":1629470295.02,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"192.0.2.7","remote_port":"44790","proto":"HTTP/1.1","method":"GET","host":"shop.example","uri":"/a?b=c","headers":{"User-Agent":["probe"],"Referer":["http://b/"],"Accept":["*/*"]}},"user_id":"","duration":0.2,"size":357,"status":404,"resp_headers":{"Server":["Caddy"]}}"#;
    let line = [
        "192.0.2.7", "0.0.0.0:0", "GET /a?b=c", "404", "357", "shop.example", "probe", "http://b/",
    ];
    for (text, time) in [(traefik, "1638972163000000000"), (caddy, "1629470295020000000")] {
        let shown = shown(&one(text.as_bytes()));
        assert_eq!(shown[0], time);
        assert_eq!(shown[1..], line);
    }
    // That credentials were sent is told without them.
    let removed = caddy.replace("\"Referer\"", "\"Authorization\":[],\"Referer\"");
    let request = one(removed.as_bytes()).request.expect("a request");
    assert_eq!(request.headers.first("authorization"), Some(&b""[..]));
}

/// Names of Logstash's pattern for access logs, and others for the target.
#[test]
fn json_with_the_target_alone_is_read() {
    for target in
        [r#""request":"/a?b=c""#, r#""request_path":"/a","args":"b=c""#, r#""uri_path":"/a?b=c""#]
    {
        let text = format!(
            r#"{{"@timestamp":"2026-11-28T08:00:00Z","clientip":"192.0.2.7","verb":"GET",{target},"response":404}}"#
        );
        let event = one(text.as_bytes());
        let request = event.request.expect("a request");
        assert_eq!(
            (&request.method[..], &request.target[..]),
            (&b"GET"[..], &b"/a?b=c"[..]),
            "{text}"
        );
    }
}

/// Names that users give to HAProxy's variables, and the defaults of Istio and Kong.
#[test]
fn requests_under_other_names_are_read() {
    let client = r#""client_ip":"192.0.2.7","client_port":40"#;
    let haproxy = |request: &str| {
        format!(r#"{{"timestamp":"2026-11-20T08:00:00Z",{client},{request},"status_code":404}}"#)
    };
    let istio = r#"{"authority":"h.example","bytes_received":0,"downstream_remote_address":"192.0.2.7:40","method":"GET","path":"/a?b=c","protocol":"HTTP/1.1","response_code":404,"start_time":"2026-11-20T08:00:00Z","user_agent":"probe"}"#;
    let kong = r#"{"client_ip":"192.0.2.7","started_at":1795161600000,"request":{"method":"GET","uri":"/a?b=c","url":"http://h.example:8000/a?b=c","size":75,"headers":{"host":"h.example","user-agent":"probe"}},"response":{"status":404,"size":934,"headers":{"content-type":"text/html"}}}"#;
    for text in [
        haproxy(r#""http_method":"GET","http_request":"/a?b=c""#),
        haproxy(r#""http_request":"GET /a?b=c HTTP/1.1""#),
        haproxy(r#""http_method":"GET","http_uri":"/a?b=c""#),
        haproxy(r#""http_method":"GET","http_path":"/a","http_query":"b=c""#),
        istio.to_owned(),
        kong.to_owned(),
    ] {
        let event = one(text.as_bytes());
        assert_eq!(shown(&event)[..2], ["1795161600000000000", "192.0.2.7"], "{text}");
        assert_eq!(shown(&event)[3..5], ["GET /a?b=c", "404"], "{text}");
        let request = event.request.expect("a request");
        for name in ["method", "request", "uri", "path", "query"] {
            assert_eq!(request.headers.first(name), None, "{text}: {name}");
        }
        if text.contains("h.example") {
            assert_eq!(request.headers.first("host"), Some(&b"h.example"[..]), "{text}");
            assert_eq!(request.headers.first("user-agent"), Some(&b"probe"[..]), "{text}");
        }
    }
    // What a client puts into a target makes no request line of it.
    let odd = haproxy(r#""http_method":"GET","http_request":"/a b HTTP/1.1""#);
    assert_eq!(shown(&one(odd.as_bytes()))[3], "GET /a b HTTP/1.1");
}

/// A request under names that are not known would be an event that no rule can match.
#[test]
fn a_line_that_names_no_request_is_malformed() {
    for (status, request, is_read) in [
        (400, "", false),
        (400, r#","op":"GET","where":"/a""#, false),
        (400, r#","method":"GET""#, false),
        (400, r#","path":"/a""#, false),
        (200, r#","request":"/a""#, false),
        (400, r#","request":{"method":"GET"}"#, false),
        (400, r#","request":"""#, true),
        (400, r#","request":null"#, true),
        (400, r#","request_method":"","request_uri":"""#, true),
        (400, r#","request":{"method":"","uri":""}"#, true),
        // What a client sent in place of a request line.
        (400, r#","request":"/a?b=%%120""#, true),
    ] {
        let text = format!(
            r#"{{"remote_addr":"192.0.2.7","time":"2026-11-20T08:00:00Z","status":{status}{request}}}"#
        );
        let event = read(text.as_bytes()).remove(0);
        let read = event.as_ref().is_ok_and(|event| event.request.is_none());
        assert_eq!(read, is_read, "{text}: {event:?}");
        if let Err(why) = event {
            assert!(why.starts_with("line 1: missing or invalid request"), "{why}");
        }
    }
}

/// The type that a client claims for its body says nothing about the answer.
#[test]
fn the_type_of_the_content_is_that_of_the_response() {
    for (more, expected) in [
        (r#""content_type":"text/html""#, None),
        (r#""http_content_type":"text/html""#, None),
        (r#""content_type":"text/html","sent_http_content_type":"a/b""#, Some("a/b")),
        (r#""upstream_http_content_type":"a/b""#, Some("a/b")),
        (r#""downstream_Content-Type":"a/b""#, Some("a/b")),
        (r#""resp_headers":{"Server":["Caddy"],"Content-Type":["a/b"]}"#, Some("a/b")),
        (r#""response":{"headers":{"content-type":"a/b"}}"#, Some("a/b")),
        (r#""resp_headers":{"Content-Type":[]}"#, None),
    ] {
        let text = format!(
            r#"{{"remote_addr":"192.0.2.7","msec":1.5,"status":200,"request":"GET / HTTP/1.1",{more}}}"#
        );
        let response = one(text.as_bytes()).response.expect("a response");
        let seen = response.headers.first("content-type");
        assert_eq!(seen, expected.map(str::as_bytes), "{more}");
    }
}

/// As Filebeat's modules write them, nested or with dots, also where they say what kind of event it is.
#[test]
fn the_names_of_ecs_are_read() {
    let nested = |event: &str| {
        format!(
            r#"{{"@timestamp":"2026-11-20T08:00:00.000Z",{event}"source":{{"address":"192.0.2.7","ip":"192.0.2.7","port":40}},"http":{{"request":{{"method":"GET","referrer":"http://r/"}},"response":{{"status_code":404,"body":{{"bytes":153}}}},"version":"1.1"}},"url":{{"original":"/a?b=c","path":"/a","query":"b=c","domain":"h.example"}},"user_agent":{{"original":"probe","name":"Other"}},"user":{{"name":"bob"}}}}"#
        )
    };
    let dotted = r#"{"@timestamp":"2026-11-20T08:00:00.000Z","source.address":"192.0.2.7","http.request":{"method":"GET","referrer":"http://r/"},"http.response.status_code":404,"http.response.body.bytes":153,"http.version":"1.1","url.path":"/a","url.query":"b=c","url.domain":"h.example","user_agent.original":"probe","user.name":"bob"}"#;
    for text in [
        nested(""),
        nested(r#""event":{"module":"nginx"},"#),
        nested(r#""event":{"kind":"event","dataset":"apache.access"},"#),
        dotted.to_owned(),
    ] {
        let event = one(text.as_bytes());
        let expected = [
            "1795161600000000000", "192.0.2.7", "0.0.0.0:0", "GET /a?b=c", "404", "153",
            "h.example", "probe", "http://r/",
        ];
        assert_eq!(shown(&event), expected, "{text}");
        assert_eq!(event.minor_version(), Some(1));
        let request = event.request.expect("a request");
        assert!(request.headers.first("authorization").is_some(), "{text}");
    }
    // A module's record of a request line that is none, and a record that names its request otherwise.
    for (dataset, is_read) in [("nginx.access", true), ("shop.requests", false)] {
        let text = format!(
            r#"{{"@timestamp":"2026-11-20T08:00:00Z","event":{{"kind":"event","dataset":"{dataset}"}},"source":{{"ip":"192.0.2.7"}},"http":{{"response":{{"status_code":400}}}}}}"#
        );
        let event = read(text.as_bytes()).remove(0);
        assert_eq!(event.is_ok_and(|event| event.request.is_none()), is_read, "{text}");
    }
}

/// What collectors write that parse no lines.
#[test]
fn a_line_within_a_record_of_a_collector_is_read() {
    let line = r#"192.0.2.7 - - [20/Nov/2026:08:00:00 +0000] "GET /a\"b HTTP/1.1" 404 153"#;
    for (name, of) in
        [("message", "agent"), ("log", "kubernetes"), ("MESSAGE", "__REALTIME_TIMESTAMP")]
    {
        let text = serde_json::json!({of: "x", name: line}).to_string();
        let event = one(text.as_bytes());
        assert_eq!(shown(&event)[0], "1795161600000000000", "{text}");
        assert_eq!(shown(&event)[3], "GET /a\"b", "{text}");
    }
    // An application's own record may hold what a client sent.
    let own = serde_json::json!({"user": "anna", "message": line}).to_string();
    for text in [r#"{"message":"hello"}"#, &own] {
        let error = read(text.as_bytes()).remove(0).expect_err("refused");
        assert!(error.contains("unknown JSON record"), "{error}");
    }
}
