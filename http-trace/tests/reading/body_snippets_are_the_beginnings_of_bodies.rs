//! `--body-snippet` prints the start of a body, decoded, without control characters.

use http_trace_testkit::files::gzip;
use http_trace_testkit::talk::Talk;
use serde_json::{Value, json};

use crate::{admitted, open, raw, read};

fn head(status: &str, lines: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{lines}\r\n\r\n").into_bytes()
}

fn length(status: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    [&head(status, &length)[..], body].concat()
}

fn chunked(status: &str, more: &str, chunks: &[&[u8]]) -> Vec<u8> {
    let mut out = head(status, &format!("Transfer-Encoding: chunked{more}"));
    for chunk in chunks {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Sends a response in segments of at most `most` bytes.
fn answer(mut talk: Talk, bytes: &[u8], most: usize) -> Talk {
    for piece in bytes.chunks(most) {
        talk = talk.answer(piece);
    }
    talk
}

#[test]
fn bodies_of_chosen_statuses_are_in_the_event() {
    let long: Vec<u8> = (0..20_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let alphabet = String::from_utf8(long[..100].to_vec()).unwrap();
    let packed = gzip(b"{\"error\":\"out of stock\"}");
    let (first, second) = packed.split_at(11);
    let hidden = gzip(b"{\"user\":\"a\",\"password\":\"hunter2\"}");
    let (hidden_first, hidden_second) = hidden.split_at(20);
    let table: &[(&str, Vec<u8>, &str, Value)] = &[
        ("not asked for", length("500 E", b"oops"), "100:4xx", Value::Null),
        ("asked for", length("500 E", b"oops"), "100:4xx,5xx", json!("oops")),
        ("excluded", length("500 E", b"oops"), "100:!500", Value::Null),
        ("all", length("200 OK", b"fine"), "100", json!("fine")),
        ("the beginning", length("200 OK", b"fine"), "2", json!("fi")),
        ("empty", length("200 OK", b""), "100", Value::Null),
        ("long", length("200 OK", &long), "100", json!(alphabet)),
        (
            "chunks, tiny and large",
            chunked("404 N", "", &[b"ab", b"c", &long]),
            "103",
            json!(format!("abc{alphabet}")),
        ),
        (
            "gzip in chunks",
            chunked("404 N", "\r\nContent-Encoding: gzip", &[first, second]),
            "4096:404",
            json!("{\"error\":\"out of stock\"}"),
        ),
        (
            "until the close",
            [&head("502 Bad Gateway", "X: y")[..], b"upstream\r\nis down"].concat(),
            "4096",
            json!("upstream\r\nis down"),
        ),
        (
            "bytes that are no text",
            length("200 OK", b"a\xff\x00\x1b[2J"),
            "100",
            json!("a\\xff\u{0}\u{1b}[2J"),
        ),
        (
            "a secret",
            length("500 E", b"{\"user\":\"a\",\"password\":\"b\"}"),
            "100",
            json!("{\"user\":\"a\",\"password\":\"‹redacted:1 bytes›\"}"),
        ),
        (
            "a secret in gzip in chunks",
            chunked("500 E", "\r\nContent-Encoding: gzip", &[hidden_first, hidden_second]),
            "4096",
            json!("{\"user\":\"a\",\"password\":\"‹redacted:7 bytes›\"}"),
        ),
        (
            "1xx before it",
            [&head("103 Early Hints", "Link: </a>")[..], &length("500 E", b"oops")].concat(),
            "100:500",
            json!("oops"),
        ),
    ];
    for (name, response, option, expected) in table {
        for most in [1460, 7, 1] {
            // 20 kB byte by byte would take too many frames.
            if response.len() / most > 4000 {
                continue;
            }
            let talk = open().ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let file = raw(&answer(talk, response, most).frames());
            let options = ["-o", "json", "--emit", "end", "--body-snippet", option];
            let all = admitted(&read(&file, &options));
            assert_eq!(all.len(), 1, "{name}");
            let content = &all[0]["http"]["response"]["body"]["content"];
            assert_eq!(content, expected, "{name}, {most} bytes a segment");
            let filtered = admitted(&read(&file, &[&options[..], &["--kernel-filter"]].concat()));
            // With the filter, the size of a body that goes on is not known.
            let goes_on = all[0]["http_trace"]["body_end"].is_null();
            let response = |records: &[Value]| {
                let mut response = records[0]["http"]["response"].clone();
                if goes_on {
                    response["bytes"].take();
                    response["body"]["bytes"].take();
                }
                response
            };
            assert_eq!(response(&filtered), response(&all), "{name}, {most}, filtered");
        }
    }
}

#[test]
fn a_head_and_pipelined_answers_keep_their_own() {
    let talk = open()
        .ask(b"GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\n\r\n")
        .answer(
            &[
                length("200 OK", b"one"),
                head("200 OK", "Content-Length: 9"),
                length("304 N", b""),
                length("200 OK", &[b'4'; 3000]),
            ]
            .concat(),
        );
    let file = raw(&talk.frames());
    for more in [&[][..], &["--kernel-filter"]] {
        let options = ["-o", "json", "--body-snippet", "5"];
        let records = admitted(&read(&file, &[&options[..], more].concat()));
        let contents: Vec<&Value> =
            records.iter().map(|r| &r["http"]["response"]["body"]["content"]).collect();
        let expected = [json!("one"), Value::Null, Value::Null, json!("44444")];
        assert_eq!(contents, expected.iter().collect::<Vec<_>>(), "{more:?}");
    }
}

#[test]
fn a_body_does_not_drive_the_terminal() {
    let body = length("500 E", b"line one\r\nline \x1b[31mtwo\x07\xc2\x9b");
    let talk = open().ask(b"GET / HTTP/1.1\r\n\r\n").answer(&body);
    let ran = read(&raw(&talk.frames()), &["-o", "pretty", "--body-snippet", "99"]);
    assert!(ran.out.contains("\n    | line one\n    | line "), "{}", ran.out);
    let control = ran.out.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{}", ran.out);
}
