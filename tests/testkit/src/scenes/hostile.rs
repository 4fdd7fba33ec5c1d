//! Heads that are odd, broken or meant to break the reader.

use super::Script;
use crate::scene::{End, Scene, Transaction};

pub(super) fn scenes() -> Vec<Scene> {
    vec![
        bare_lf(),
        obs_fold(),
        empty_reason(),
        not_a_status_code(),
        empty_lines(),
        many_empty_lines(),
        empty_lines_alone(),
        blanks_before_a_request(),
        words_apart_by_tabs(),
        other_versions(),
        request_line_beyond_the_limit(),
        repeated_fields(),
        foreign_bytes(),
        control_characters(),
        long_head(),
        ten_thousand_fields(),
        equal_lengths(),
        conflicting_lengths(),
        negative_length(),
        huge_length(),
        hostile_request_line(),
        no_field_line(),
    ]
}

fn get(target: &str) -> Transaction {
    Transaction::new("GET", target, 200, "OK")
}

/// Lines that end with LF alone (RFC 9112 §2.2).
fn bare_lf() -> Scene {
    Script::new("bare_lf")
        .client("GET /lf HTTP/1.1\nHost: scene.example\n\n")
        .server("HTTP/1.1 200 OK\nContent-Length: 4\nServer: unix\n\nbody")
        .expect(
            get("/lf")
                .header("Content-Length", "4")
                .header("Server", "unix")
                .body(4, End::Length)
                .flag("bare_lf"),
        )
        .plain("/after")
        .close()
}

/// A value over several lines (RFC 9112 §5.2), one of which looks like a framing field.
fn obs_fold() -> Scene {
    Script::new("obs_fold")
        .ask("GET", "/fold")
        .server(
            "HTTP/1.1 200 OK\r\nX-Long: one\r\n two\r\n\tthree\r\nX-Trap: a\r\n \
             Content-Length: 99\r\nContent-Length: 2\r\n\r\nok",
        )
        .expect(
            get("/fold")
                .header("X-Long", "one two three")
                .header("X-Trap", "a Content-Length: 99")
                .header("Content-Length", "2")
                .body(2, End::Length)
                .flag("obs_fold"),
        )
        .plain("/after")
        .close()
}

/// An empty reason phrase, with and without the blank before it (RFC 9112 §4).
fn empty_reason() -> Scene {
    Script::new("empty_reason")
        .ask("GET", "/blank")
        .server("HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\na")
        .expect(
            Transaction::new("GET", "/blank", 200, "")
                .header("Content-Length", "1")
                .body(1, End::Length),
        )
        .ask("GET", "/no-blank")
        .server("HTTP/1.1 404\r\nContent-Length: 1\r\n\r\nb")
        .expect(
            Transaction::new("GET", "/no-blank", 404, "")
                .header("Content-Length", "1")
                .body(1, End::Length),
        )
        .ask("GET", "/odd")
        .server("HTTP/1.1 999 It's {odd}: 100% \r\nContent-Length: 1\r\n\r\nc")
        .expect(
            Transaction::new("GET", "/odd", 999, "It's {odd}: 100%")
                .header("Content-Length", "1")
                .body(1, End::Length),
        )
        .close()
}

/// Invalid status codes. They are framed, so that what follows is found, and take their request, but make no
/// events.
fn not_a_status_code() -> Scene {
    let mut script = Script::new("not_a_status_code");
    for (target, code) in [("/zero", "000"), ("/long", "1000"), ("/short", "99"), ("/hex", "2xx")] {
        script = script
            .ask("GET", target)
            .server(format!("HTTP/1.1 {code} Odd\r\nContent-Length: 3\r\n\r\nodd"))
            .plain(&format!("{target}/after"));
    }
    script.close()
}

/// Empty lines before a message (RFC 9112 §2.2 for requests; they occur before responses as well).
fn empty_lines() -> Scene {
    Script::new("empty_lines")
        .plain("/one")
        .client("\r\n\r\nGET /two HTTP/1.1\r\nHost: scene.example\r\n\r\n")
        .server("\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
        .expect(get("/two").header("Content-Length", "3").body(3, End::Length))
        .plain("/after")
        .close()
}

/// As many empty lines as servers pass over before the first request.
fn many_empty_lines() -> Scene {
    let empty = "\r\n".repeat(40);
    Script::new("many_empty_lines")
        .client(format!("{empty}GET /one HTTP/1.1\r\nHost: scene.example\r\n\r\n"))
        .server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        .expect(get("/one").header("Content-Length", "3").body(3, End::Length))
        .plain("/after")
        .close()
}

/// The same in a segment of their own.
fn empty_lines_alone() -> Scene {
    Script::new("empty_lines_alone")
        .client("\r\n\r\n\r\n")
        .plain("/one")
        .client("\n\n\n\n\n\n\n")
        .plain("/after")
        .close()
}

/// Blanks before the first request, which some servers pass over.
fn blanks_before_a_request() -> Scene {
    Script::new("blanks_before_a_request")
        .client(" \t GET /one HTTP/1.1\r\nHost: scene.example\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        .expect(get("/one").header("Content-Length", "3").body(3, End::Length))
        .plain("/after")
        .close()
}

/// Words of a request line that tabs and form feeds separate (RFC 9112 §3).
fn words_apart_by_tabs() -> Scene {
    let mut script = Script::new("words_apart_by_tabs").plain("/before");
    for (line, target) in [("GET\t/one\tHTTP/1.1", "/one"), ("GET\x0c\x0b/two HTTP/1.1", "/two")] {
        script = script
            .client(format!("{line}\r\nHost: scene.example\r\n\r\n"))
            .server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
            .expect(get(target).header("Content-Length", "3").body(3, End::Length));
    }
    script.plain("/after").close()
}

/// Versions other than HTTP/1.x, which some servers accept and repeat.
fn other_versions() -> Scene {
    let mut script = Script::new("other_versions").plain("/before");
    for version in ["HTTP/2.0", "HTTP/1.10", "HTTP/0.9", "HTTP/1", "HTTP/1.1.1"] {
        script = script
            .client(format!("GET /x {version}\r\nHost: scene.example\r\n\r\n"))
            .server(format!("{version} 200 OK\r\nContent-Length: 3\r\n\r\none"))
            .expect(
                get("/x").header("Content-Length", "3").body(3, End::Length).flag("other_version"),
            );
    }
    script.plain("/after").close()
}

/// A request line that is longer than what is kept of a head: its beginning is.
fn request_line_beyond_the_limit() -> Scene {
    const LIMIT: usize = 64 << 10;
    let target = format!("/?x=${{jndi:ldap://e/a}}&{}", "a".repeat(LIMIT));
    Script::new("request_line_beyond_the_limit")
        .client(format!("GET {target} HTTP/1.1\r\nHost: scene.example\r\n\r\n"))
        .server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
        .expect(get(&target[..LIMIT - 4]).header("Content-Length", "3").body(3, End::Length))
        .plain("/after")
        .close()
}

fn repeated_fields() -> Scene {
    Script::new("repeated_fields")
        .ask("GET", "/cookies")
        .server(
            "HTTP/1.1 200 OK\r\nVary: a\r\nsEt-CoOkIe: one=1\r\nX-Empty:\r\nVary:b\r\n\
             Set-Cookie: two=2; Path=/\r\nX-Blanks: \t padded \t \r\nContent-Length: 0\r\n\r\n",
        )
        .expect(
            get("/cookies")
                .header("Vary", "a")
                .header("sEt-CoOkIe", "one=1")
                .header("X-Empty", "")
                .header("Vary", "b")
                .header("Set-Cookie", "two=2; Path=/")
                .header("X-Blanks", "padded")
                .header("Content-Length", "0")
                .body(0, End::Length),
        )
        .close()
}

/// Bytes above 0x7f in the reason phrase and in values: obs-text (RFC 9110 §5.5).
fn foreign_bytes() -> Scene {
    let mut latin = Transaction::new("GET", "/latin", 200, "");
    latin.reason = b"tr\xe8s bien".to_vec();
    Script::new("foreign_bytes")
        .ask("GET", "/latin")
        .server(&b"HTTP/1.1 200 tr\xe8s bien\r\nX-Name: J\xfcrgen\r\nContent-Length: 0\r\n\r\n"[..])
        .expect(
            latin
                .header("X-Name", &b"J\xfcrgen"[..])
                .header("Content-Length", "0")
                .body(0, End::Length),
        )
        .ask("GET", "/utf-8/\u{e9}")
        .server("HTTP/1.1 200 \u{2713}\r\nX-Name: J\u{fc}rgen\r\nContent-Length: 0\r\n\r\n")
        .expect(
            Transaction::new("GET", "/utf-8/\u{e9}", 200, "\u{2713}")
                .header("X-Name", "J\u{fc}rgen")
                .header("Content-Length", "0")
                .body(0, End::Length),
        )
        .close()
}

/// NUL, escape and bell where a terminal or a C string would trip over them.
fn control_characters() -> Scene {
    Script::new("control_characters")
        .ask("GET", "/control")
        .server(
            &b"HTTP/1.1 200 O\x1b[31mK\r\nX-Bell: a\x07b\x00c\x1b]0;owned\x07\r\nContent-Length: 2\r\n\r\nok"
                [..],
        )
        .expect(
            Transaction::new("GET", "/control", 200, "O\x1b[31mK")
                .header("X-Bell", &b"a\x07b\x00c\x1b]0;owned\x07"[..])
                .header("Content-Length", "2")
                .body(2, End::Length),
        )
        .plain("/after")
        .close()
}

/// Just under 64 KiB in one field line.
fn long_head() -> Scene {
    let value = "v".repeat(65_000);
    Script::new("long_head")
        .ask("GET", "/long")
        .server(format!("HTTP/1.1 200 OK\r\nX-Long: {value}\r\nContent-Length: 2\r\n\r\nok"))
        .expect(
            get("/long").header("X-Long", value).header("Content-Length", "2").body(2, End::Length),
        )
        .plain("/after")
        .close()
}

fn ten_thousand_fields() -> Scene {
    let mut truth = get("/many");
    let mut head = String::from("HTTP/1.1 200 OK\r\n");
    for _ in 0..10_000 {
        head.push_str("a:b\r\n");
        truth = truth.header("a", "b");
    }
    head.push_str("Content-Length: 2\r\n\r\nok");
    Script::new("ten_thousand_fields")
        .ask("GET", "/many")
        .server(head)
        .expect(truth.header("Content-Length", "2").body(2, End::Length))
        .plain("/after")
        .close()
}

/// The same length twice is one length (RFC 9112 §6.3 item 5).
fn equal_lengths() -> Scene {
    Script::new("equal_lengths")
        .ask("GET", "/twice")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok")
        .expect(
            get("/twice")
                .header("Content-Length", "2")
                .header("Content-Length", "2")
                .body(2, End::Length),
        )
        .ask("GET", "/list")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok")
        .expect(get("/list").header("Content-Length", "2, 2").body(2, End::Length))
        .plain("/after")
        .close()
}

/// The end of such a message is unknown; the next message that begins with a segment is found again.
fn conflicting_lengths() -> Scene {
    Script::new("conflicting_lengths")
        .ask("GET", "/conflict")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 30\r\n\r\nok")
        .expect({
            let mut conflict = get("/conflict")
                .header("Content-Length", "2")
                .header("Content-Length", "30")
                .flag("length_conflict");
            conflict.end = End::Open;
            conflict
        })
        .plain("/after")
        .plain("/after/that")
        .close()
}

/// An invalid length (RFC 9112 §6.3 item 5: unrecoverable).
fn negative_length() -> Scene {
    bad_length("negative_length", "-5")
}

/// More than 64 bits.
fn huge_length() -> Scene {
    bad_length("huge_length", "99999999999999999999999")
}

fn bad_length(name: &'static str, value: &'static str) -> Scene {
    Script::new(name)
        .plain("/before")
        .ask("GET", "/odd")
        .server(format!("HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nok"))
        .expect({
            let mut odd = get("/odd").header("Content-Length", value);
            odd.end = End::Open;
            odd
        })
        .plain("/after")
        .close()
}

/// Raw whitespace, quotes and a NUL in the target, as scanners send them.
fn hostile_request_line() -> Scene {
    let mut script = Script::new("hostile_request_line");
    for target in ["/a b/../..//c", "/<script>alert(\"1\")</script>", "/%00%0a HTTP/1.1 x"] {
        script = script
            .ask("GET", target)
            .server("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad")
            .expect(
                Transaction::new("GET", target, 400, "Bad Request")
                    .header("Content-Length", "3")
                    .body(3, End::Length),
            );
    }
    script.close()
}

/// A line without a colon and one that begins with whitespace: the rest of the head still counts.
fn no_field_line() -> Scene {
    Script::new("no_field_line")
        .ask("GET", "/noise")
        .server(
            "HTTP/1.1 200 OK\r\nServer: x\r\nthis is no field line\r\nContent-Length: 2\r\n\r\nok",
        )
        .expect(
            get("/noise").header("Server", "x").header("Content-Length", "2").body(2, End::Length),
        )
        .plain("/after")
        .close()
}
