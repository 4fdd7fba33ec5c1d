//! Bodies that a client may leave out, because it asked whether they are wanted and was refused.

use crate::talk::{Talk, check, get, ok};

/// RFC 9110 §10.1.1: a client that sent `Expect: 100-continue` and is refused may omit the body. Clients
/// authenticate this way (NTLM) on one connection.
#[test]
fn a_client_that_was_refused_may_leave_the_body_out() {
    const REFUSED: &str = "HTTP/1.1 401 U\r\nContent-Length: 2\r\n\r\nno";
    let post =
        |fields: &str| format!("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\n{fields}\r\n\r\n");
    for fields in ["Content-Length: 50000", "Transfer-Encoding: chunked"] {
        let talk = Talk::open()
            .c(&post(fields))
            .s(REFUSED)
            .c("POST /1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            .s(REFUSED)
            .c("POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
            .s(&ok("x"))
            .c(&get("/2"))
            .s(&ok(""));
        let expected = [
            "POST /1 -> 401 U 2 Length flags request_unfinished",
            "POST /1 -> 401 U 2 Length",
            "POST /1 -> 200 OK 1 Length",
            "GET /2 -> 200 OK 0 Length",
        ];
        check(fields, &talk, &expected);
    }
    // If the body comes nevertheless, it is body: anything that is not a request of a known method, and
    // a request within a body that has begun, or one that is unanswered, or that did not ask whether to send it.
    let like = get("/no");
    let body = format!("Content-Length: {}\r\n\r\n", like.len());
    let unasked = format!("POST /1 HTTP/1.1\r\n{body}");
    let post = format!("POST /1 HTTP/1.1\r\nExpect: 100-continue\r\n{body}");
    let words = "PUT it there".repeat(like.len()).split_off(11 * like.len());
    let (begun, rest) = like.split_at(4);
    let answered = || Talk::open().c(&post).s(REFUSED);
    let unanswered = Talk::open().c(&post).c(&like).s(REFUSED);
    let unfinished = "POST /1 -> 401 U 2 Length flags request_unfinished";
    // Nor after the server has asked for it, or of a version without such a field.
    let longer = |line: &str| {
        format!(
            "POST /1 {line}\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            like.len() + 3
        )
    };
    let continues = "HTTP/1.1 100 Continue\r\n\r\n";
    let asked = Talk::open().c(&longer("HTTP/1.1")).s(continues).s(REFUSED).c(&like).c("abc");
    let old = Talk::open().c(&longer("HTTP/1.0")).s(REFUSED).c(&like).c("abc");
    let continued = "POST /1 -> 100 401 U 2 Length flags request_unfinished";
    for (name, talk, refused) in [
        ("words", answered().c(&words), unfinished),
        ("as long as a request", answered().c(&like), unfinished),
        ("asked for", asked, continued),
        ("HTTP/1.0", old, unfinished),
        ("begun", Talk::open().c(&post).c(begun).s(REFUSED).c(rest), unfinished),
        ("unanswered", unanswered, "POST /1 -> 401 U 2 Length"),
        ("unasked", Talk::open().c(&unasked).s(REFUSED).c(&like), unfinished),
    ] {
        let talk = talk.c(&get("/2")).s(&ok(""));
        check(name, &talk, &[refused, "GET /2 -> 200 OK 0 Length"]);
    }
    let together = answered().c(&(like.clone() + &get("/2"))).s(&ok(""));
    check("with the next request", &together, &[unfinished, "GET /2 -> 200 OK 0 Length"]);
    // Where both are possible, one is assumed, until the server answers before the body would end.
    let (two, three) = (get("/no") + &get("/22"), get("/3"));
    let post = format!(
        "POST /1 HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        two.len()
    );
    let refused = Talk::open().c(&post).s(REFUSED).c(&get("/no"));
    check(
        "either",
        &refused.clone().c(&get("/22")).c(&three).s(&ok("")).c(&get("/4")).s(&ok("")),
        &[
            unfinished,
            "GET /no -> 200 OK 0 Length flags request_assumed",
            "GET /22 -> 200 OK 0 Length flags request_assumed",
            "(finish)",
            "GET /3 -> Unseen",
            "GET /4 -> Unseen",
        ],
    );
    check(
        "answered before",
        &refused.s(&ok("")).c(&get("/22")).s(&ok("")).c(&three).s(&ok("")),
        &[
            unfinished, "GET /no -> 200 OK 0 Length", "GET /22 -> 200 OK 0 Length",
            "GET /3 -> 200 OK 0 Length",
        ],
    );
}
