//! The extended log format of the W3C.

use http_trace_model::event::basic_user;

use super::{one, read, shown};

const IIS: &str = "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Date: 2026-11-20 08:00:00\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken\n";

#[test]
fn logs_of_iis_are_read() {
    let row = "2026-11-20 08:00:00 10.0.0.5 GET /a b=c 8080 DOM\\bob 192.0.2.7 Mozilla/5.0+(X11) http://r/ 404 0 2 12\r\n";
    let event = one(format!("{IIS}{row}").as_bytes());
    let expected = [
        "1795161600000000000", "192.0.2.7", "10.0.0.5:8080", "GET /a?b=c", "404", "-", "-",
        "Mozilla/5.0 (X11)", "http://r/",
    ];
    assert_eq!(shown(&event), expected);
    assert_eq!(basic_user(&event).as_deref(), Some(&b"DOM\\bob"[..]));
    // Other columns from here on, and nothing in some.
    let later = format!(
        "{IIS}{row}#Fields: time date c-ip cs-method cs-uri-stem cs-uri-query sc-status sc-bytes cs-host\n08:00:01 2026-11-20 192.0.2.8 - - - 400 99 h.example\n"
    );
    let event = read(later.as_bytes()).pop().expect("two").expect("an event");
    assert_eq!(event.client.ip.to_string(), "192.0.2.8");
    assert!(event.request.is_none());
    assert_eq!(event.response_bytes, Some(99));
}

/// What was sent as `%27` is logged as `%2527`.
#[test]
fn logs_of_cloudfront_are_read() {
    let log = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query x-host-header cs-protocol-version sc-content-type\n2026-11-20\t08:00:00\tFRA50\t1234\t192.0.2.7\tGET\td1.cloudfront.example\t/a\t404\t-\ta%20b+c\tid=%2527\th.example\tHTTP/1.1\ttext/html\n";
    let event = one(log.as_bytes());
    assert_eq!(shown(&event)[3..8], ["GET /a?id=%27", "404", "-", "h.example", "a b+c"]);
    assert_eq!(event.minor_version(), Some(1));
    let response = event.response.expect("a response");
    assert_eq!(response.headers.first("content-type"), Some(&b"text/html"[..]));
}

#[test]
fn rows_that_cannot_be_read_say_why() {
    let head = "#Fields: date time c-ip cs-method cs-uri-stem sc-status\n";
    for (row, why) in [
        ("2026-11-20 08:00:00 192.0.2.7 GET /a", "5 columns of 6"),
        ("2026-11-20 noon 192.0.2.7 GET /a 200", "missing or invalid date and time"),
        ("2026-11-20 08:00:00 - GET /a 200", "missing or invalid c-ip"),
        ("2026-11-20 08:00:00 192.0.2.7 GET /a 20", "missing or invalid sc-status"),
    ] {
        let error = read(format!("{head}{row}").as_bytes()).remove(0).expect_err("refused");
        assert!(error.contains(why), "{error}");
    }
    let no_request = "#Fields: date time c-ip sc-status\n2026-11-20 08:00:00 192.0.2.7 200";
    let error = read(no_request.as_bytes()).remove(0).expect_err("refused");
    assert!(error.contains("missing or invalid cs-method"), "{error}");
    // Lines of other logs may follow.
    let line = "192.0.2.7 - - [20/Nov/2026:08:00:00 +0000] \"GET /a HTTP/1.1\" 404 153";
    assert_eq!(shown(&one(format!("{head}{line}").as_bytes()))[3], "GET /a");
}
