//! Zeek's logs, as JSON and as TSV.

use super::{Recorded, one, read, shown};

/// The `#` lines of a log, with `#path` and the names of its columns.
fn tsv(path: &str, fields: &[&str]) -> String {
    let fields = fields.join("\t");
    format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{path}\n\
         #fields\t{fields}\n"
    )
}

#[test]
fn zeek_as_json_and_as_tsv() {
    let expected = [
        "1605853207123456000", "10.0.0.1", "10.0.0.2:8080", "GET /a?b=1", "404", "162",
        "h.example", "curl/8", "-",
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
fn bytes_in_zeeks_json_are_those_in_its_tsv() {
    let json = br#"{"ts":1.5,"id.orig_h":"192.0.2.7","id.resp_h":"198.51.100.80","id.resp_p":80,"method":"GET","host":"a","uri":"/\\xff\\x5c","status_code":200}"#;
    let event = one(json);
    let request = event.request.as_ref().expect("a request");
    assert_eq!(&request.target[..], b"/\xff\\");
}

/// Header fields of which the log holds only the content: of credentials, of proxies, the origin.
#[test]
fn what_zeek_says_of_header_fields_is_header_fields() {
    const NONE: &[&str] = &[];
    let begin =
        r#"{"ts":1.5,"id.orig_h":"192.0.2.7","id.resp_h":"198.51.100.80","method":"GET","uri":"/""#;
    let names = ["ts", "id.orig_h", "id.resp_h", "method", "uri"];
    for (name, json, cell, field, expected) in [
        ("username", r#""anna""#, "anna", "authorization", &["Basic YW5uYTo="][..]),
        ("username", r#""""#, "(empty)", "authorization", NONE),
        ("username", "null", "-", "authorization", NONE),
        ("origin", r#""http://o""#, "http://o", "origin", &["http://o"]),
        (
            "proxied",
            r#"["X-FORWARDED-FOR -> 9.9.9.9"]"#,
            "X-FORWARDED-FOR -> 9.9.9.9",
            "x-forwarded-for",
            &["9.9.9.9"],
        ),
        (
            "proxied",
            r#"["VIA -> 1.1 a","X-FORWARDED-FOR -> 9.9.9.9, 8.8.8.8","X-FORWARDED-FOR -> 7.7.7.7"]"#,
            r"VIA -> 1.1 a,X-FORWARDED-FOR -> 9.9.9.9\x2c 8.8.8.8,X-FORWARDED-FOR -> 7.7.7.7",
            "x-forwarded-for",
            &["9.9.9.9, 8.8.8.8", "7.7.7.7"],
        ),
        (
            "proxied",
            r#"["FORWARDED -> for=a -> b"]"#,
            "FORWARDED -> for=a -> b",
            "forwarded",
            &["for=a -> b"],
        ),
        ("proxied", r#"["COOKIE -> a"]"#, "COOKIE -> a", "cookie", NONE),
        ("proxied", "[]", "(empty)", "x-forwarded-for", NONE),
        ("proxied", "7", "-", "x-forwarded-for", NONE),
    ] {
        let names = [&names[..], &[name]].concat();
        let row = format!("1.5\t192.0.2.7\t198.51.100.80\tGET\t/\t{cell}\n");
        for text in [format!("{begin},\"{name}\":{json}}}"), tsv("http", &names) + &row] {
            let request = one(text.as_bytes()).request.expect("a request");
            let values: Vec<&[u8]> = request.headers.all(field).collect();
            let expected: Vec<&[u8]> = expected.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(values, expected, "{text}");
        }
    }
}

/// A file may hold several logs, with or without the line that ends one.
#[test]
fn other_lines_after_rows_of_tsv_are_read() {
    let access = "192.0.2.7 - - [20/Nov/2020:06:40:07 +0000] \"GET /a HTTP/1.1\" 200 1\n";
    let behind_syslog = format!("Nov 22 10:00:00 vm nginx: {access}");
    let fields = ["ts", "id.orig_h", "id.resp_h"];
    for path in ["http", "conn"] {
        for row in ["", "1.5\t192.0.2.7\t198.51.100.80\n"] {
            for close in ["", "#close\t2020-11-20-06-40-07\n"] {
                for line in [access, &behind_syslog] {
                    let text = format!("{}{row}{close}{line}{line}", tsv(path, &fields));
                    let mut recorded = Recorded::new(text.as_bytes());
                    let events: Vec<_> = recorded.by_ref().collect();
                    assert!(events.iter().all(Result::is_ok), "{text}: {events:?}");
                    assert_eq!(events.len(), 2, "{text}");
                    assert_eq!(recorded.lines, 2 + recorded.others, "{text}");
                }
                let text = tsv(path, &fields) + row + "1.5\t192.0.2.7\n";
                let errors: Vec<_> = read(text.as_bytes()).into_iter().map(Result::err).collect();
                assert_eq!(errors.len(), 1, "{text}");
                let error = errors[0].as_deref().unwrap_or_default();
                assert!(error.contains("2 columns of 3"), "{text}: {error}");
            }
        }
    }
}

/// Filters may name http.log otherwise, and sip.log has columns of the same names.
#[test]
fn a_log_of_http_is_told_by_its_name_or_its_columns() {
    let ends = ["ts", "id.orig_h", "id.resp_h"];
    let http = ["method", "uri", "status_code"];
    for (path, more, is_read) in [
        ("http", &http[..1], true),
        ("http", &["method", "call_id"], true),
        ("shop", &http, true),
        ("shop", &http[..2], false),
        ("shop", &["method", "uri", "status_code", "call_id"], false),
        ("sip", &http, false),
        ("conn", &[], false),
        ("", &http, true),
        ("", &["method", "uri", "request_path"], false),
    ] {
        let names = [&ends[..], more].concat();
        let cell = |name: &&str| match *name {
            "ts" => "1.5",
            "id.orig_h" => "192.0.2.7",
            "id.resp_h" => "198.51.100.80",
            "status_code" => "200",
            _ => "GET",
        };
        let row: Vec<_> = names.iter().map(cell).collect();
        let mut members: Vec<_> =
            names.iter().map(|name| format!("\"{name}\":\"{}\"", cell(name))).collect();
        let mut log = tsv(path, &names);
        match path {
            "" => log = log.replace("#path\t\n", ""),
            path => members.push(format!("\"_path\":\"{path}\"")),
        }
        for text in [format!("{log}{}\n", row.join("\t")), format!("{{{}}}", members.join(","))] {
            let all = read(text.as_bytes());
            assert!(all.iter().all(Result::is_ok), "{text}: {all:?}");
            assert_eq!(all.len(), usize::from(is_read), "{text}");
        }
    }
    let record = |more: &str| {
        format!(r#"{{"ts":1.5,"id.orig_h":"192.0.2.7","id.resp_h":"198.51.100.80",{more}}}"#)
    };
    for (more, is_read) in [
        (r#""method":"INVITE","uri":"sip:a@b","status_code":200"#, false),
        (r#""method":"OPTIONS","uri":"SIPS:a@b""#, false),
        (r#""method":"INVITE","uri":"sip:a@b","version":"1.1""#, true),
        (r#""method":"GET","uri":"sip:a@b","host":"b""#, true),
        (r#""method":"GET","uri":"/sip:a""#, true),
    ] {
        assert_eq!(read(record(more).as_bytes()).len(), usize::from(is_read), "{more}");
    }
}

#[test]
fn cells_may_be_empty_and_escape_bytes_with_two_digits() {
    let fields = ["ts", "id.orig_h", "id.resp_h", "method", "uri", "status_code", "user_agent"];
    let log = tsv("http", &fields).replace("(empty)", "").replace("_field\t-", "_field\t");
    for (end, uri, agent) in [
        ("/a\t200\t", "/a", None),
        ("/a\t\t", "/a", None),
        ("/a\t\t\r", "/a", None),
        ("/a\t200\tb \r", "/a", Some("b ")),
        (r"/\x41\x+f\x4	200	\x2d", r"/A\x+f\x4", Some("-")),
    ] {
        let text = format!("{log}1.5\t192.0.2.7\t198.51.100.80\tGET\t{end}\n");
        let request = one(text.as_bytes()).request.expect("a request");
        assert_eq!(request.target, uri.as_bytes(), "{text}");
        assert_eq!(request.headers.first("user-agent"), agent.map(str::as_bytes), "{text}");
    }
    for separator in [r"\x+9", r"\x9", r"\x"] {
        let log = log.replace(r"\x09", separator);
        assert!(read(log.as_bytes())[0].is_err(), "{separator}");
    }
}
