//! Message framing by RFC 9112.

use super::Script;
use crate::scene::{End, Scene, Side, Step, Transaction};
use std::time::Duration;

pub(super) fn scenes() -> Vec<Scene> {
    vec![
        keep_alive(),
        pipelined(),
        continue_100(),
        early_hints(),
        several_informational(),
        chunked_trailers(),
        many_chunks(),
        head_204_304(),
        until_close(),
        http_10(),
        split_status_line(),
        connect_tunnel(),
        connect_refused(),
        websocket(),
        h2c(),
        large_body(),
        lookalike_body(),
        too_large_413(),
        timeout_408(),
        answered_in_heads(),
        server_sent_events(),
        transfer_encodings(),
        methods(),
        no_longer_pipelined(),
    ]
}

fn get(target: &str) -> Transaction {
    Transaction::new("GET", target, 200, "OK")
}

fn keep_alive() -> Scene {
    Script::new("keep_alive").plain("/one").plain("/two?x=1").plain("/three").close()
}

/// Four requests in one segment, four responses in one segment, the last without a body.
fn pipelined() -> Scene {
    let asks: String = ["/a", "/b", "/c", "/d"]
        .map(|t| format!("GET {t} HTTP/1.1\r\nHost: scene.example\r\n\r\n"))
        .concat();
    Script::new("pipelined")
        .client(asks)
        .server(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nA\
             HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nB\r\n0\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\
             HTTP/1.1 204 No Content\r\n\r\n",
        )
        .expect(get("/a").header("Content-Length", "1").body(1, End::Length))
        .expect(
            Transaction::new("GET", "/b", 404, "Not Found")
                .header("Transfer-Encoding", "chunked")
                .body(1, End::Chunked),
        )
        .expect(get("/c").header("Content-Length", "0").body(0, End::Length))
        .expect(Transaction::new("GET", "/d", 204, "No Content").body(0, End::None))
        .close()
}

fn continue_100() -> Scene {
    Script::new("continue_100")
        .client(
            "PUT /upload HTTP/1.1\r\nHost: scene.example\r\nContent-Length: 11\r\n\
             Expect: 100-continue\r\n\r\n",
        )
        .server("HTTP/1.1 100 Continue\r\n\r\n")
        .client("hello world")
        .server("HTTP/1.1 201 Created\r\nLocation: /upload/1\r\nContent-Length: 0\r\n\r\n")
        .expect(
            Transaction::new("PUT", "/upload", 201, "Created")
                .after(&[100])
                .header("Location", "/upload/1")
                .header("Content-Length", "0")
                .body(0, End::Length),
        )
        .plain("/after")
        .close()
}

fn early_hints() -> Scene {
    Script::new("early_hints_103")
        .ask("GET", "/page")
        .server("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")
        .expect(
            get("/page")
                .after(&[103])
                .header("Content-Type", "text/html")
                .header("Content-Length", "6")
                .body(6, End::Length),
        )
        .close()
}

fn several_informational() -> Scene {
    Script::new("several_1xx")
        .ask("GET", "/slow")
        .server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        .server("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        .server(
            "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n\
             HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nbusy",
        )
        .expect(
            Transaction::new("GET", "/slow", 503, "Service Unavailable")
                .after(&[100, 102, 103, 103])
                .header("Retry-After", "5")
                .header("Content-Length", "4")
                .body(4, End::Length),
        )
        .plain("/after")
        .close()
}

fn chunked_trailers() -> Scene {
    Script::new("chunked_trailers")
        .ask("GET", "/report")
        .server("HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n")
        .server("5;signature=\"a;b\"\r\nhello\r\n00C\r\n, many words\r\n")
        .server("0;last\r\nX-Checksum: 8f00b204\r\nHTTP/1.1: not a status line\r\n\r\n")
        .expect(
            get("/report")
                .header("Trailer", "X-Checksum")
                .header("Transfer-Encoding", "chunked")
                .body(17, End::Chunked),
        )
        .plain("/after")
        .close()
}

/// One-byte chunks, far more per segment than heads would fit.
fn many_chunks() -> Scene {
    let mut body = "1\r\nx\r\n".repeat(400);
    body.push_str("0\r\n\r\n");
    Script::new("many_chunks")
        .ask("GET", "/drip")
        .server(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n{body}"))
        .expect(get("/drip").header("Transfer-Encoding", "Chunked").body(400, End::Chunked))
        .plain("/after")
        .close()
}

/// Responses without a body whose heads may say that there is one (RFC 9112 §6.3).
fn head_204_304() -> Scene {
    Script::new("head_204_304")
        .ask("HEAD", "/file")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        .expect(
            Transaction::new("HEAD", "/file", 200, "OK")
                .header("Content-Length", "1000")
                .body(0, End::None),
        )
        .ask("DELETE", "/file")
        .server("HTTP/1.1 204 No Content\r\nServer: scene\r\n\r\n")
        .expect(
            Transaction::new("DELETE", "/file", 204, "No Content")
                .header("Server", "scene")
                .body(0, End::None),
        )
        .ask("GET", "/cached")
        .server("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: \"v1\"\r\n\r\n")
        .expect(
            Transaction::new("GET", "/cached", 304, "Not Modified")
                .header("Content-Length", "77")
                .header("ETag", "\"v1\"")
                .body(0, End::None),
        )
        .ask("HEAD", "/stream")
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect(
            Transaction::new("HEAD", "/stream", 200, "OK")
                .header("Transfer-Encoding", "chunked")
                .body(0, End::None),
        )
        .plain("/after")
        .close()
}

fn until_close() -> Scene {
    Script::new("until_close")
        .plain("/before")
        .ask("GET", "/log")
        .server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        .server("first part, ")
        .server("second part")
        .expect(get("/log").header("Connection", "close").body(23, End::Close))
        .server_closes()
}

/// HTTP/1.0 and 1.1 on one connection.
fn http_10() -> Scene {
    Script::new("http_10")
        .client("GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .server("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold")
        .expect(
            get("/old")
                .minor(0)
                .header("Connection", "keep-alive")
                .header("Content-Length", "3")
                .body(3, End::Length),
        )
        .plain("/new")
        .client("GET /last HTTP/1.0\r\n\r\n")
        .server("HTTP/1.0 200 OK\r\n\r\nuntil close")
        .expect(get("/last").minor(0).body(11, End::Close))
        .server_closes()
}

/// Every byte of the head in a segment of its own.
fn split_status_line() -> Scene {
    Script::new("split_status_line")
        .ask("GET", "/drop/by/drop")
        .trickle("HTTP/1.1 404 Not Found\r\nServer: slow\r\nContent-Length: 4\r\n\r\ngone")
        .expect(
            Transaction::new("GET", "/drop/by/drop", 404, "Not Found")
                .header("Server", "slow")
                .header("Content-Length", "4")
                .body(4, End::Length),
        )
        .plain("/after")
        .close()
}

fn connect_tunnel() -> Scene {
    Script::new("connect_tunnel")
        .client("CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n")
        .server("HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n")
        .expect(
            Transaction::new("CONNECT", "db.example:5432", 200, "Connection established")
                .header("Content-Length", "5")
                .body(0, End::Tunnel),
        )
        // Bytes in the tunnel are not this connection's HTTP.
        .client("GET /inside HTTP/1.1\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .close()
}

fn connect_refused() -> Scene {
    Script::new("connect_refused")
        .client("CONNECT db.example:22 HTTP/1.1\r\nHost: db.example:22\r\n\r\n")
        .server("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        .expect(
            Transaction::new("CONNECT", "db.example:22", 403, "Forbidden")
                .header("Content-Length", "2")
                .body(2, End::Length),
        )
        .plain("/after")
        .close()
}

fn websocket() -> Scene {
    Script::new("websocket")
        .client(
            "GET /chat HTTP/1.1\r\nHost: scene.example\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n",
        )
        .server(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .expect(
            Transaction::new("GET", "/chat", 101, "Switching Protocols")
                .header("Upgrade", "websocket")
                .header("Connection", "Upgrade")
                .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                .body(0, End::Tunnel),
        )
        .client(&b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"[..])
        .server(&b"\x81\x1bHTTP/1.1 200 OK\r\nServer: x"[..])
        .server(&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..])
        .close()
}

/// HTTP/2 after an upgrade (RFC 7540 §3.2): nothing after it is HTTP/1.x, whatever it contains.
fn h2c() -> Scene {
    Script::new("h2c")
        .plain("/before")
        .client(
            "GET /page HTTP/1.1\r\nHost: scene.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        )
        .server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .expect(
            Transaction::new("GET", "/page", 101, "Switching Protocols")
                .header("Connection", "Upgrade")
                .header("Upgrade", "h2c")
                .body(0, End::Tunnel),
        )
        .server(&b"\0\0\0\x04\0\0\0\0\0\0\0\x1a\0\0\0\0\0\x01"[..])
        .client(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..])
        .client(&b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n"[..])
        .server(&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..])
        .close()
}

/// Long enough for skips over many segments.
fn large_body() -> Scene {
    let body = "0123456789abcdef".repeat(20_000);
    Script::new("large_body")
        .ask("GET", "/large")
        .server(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        .expect(get("/large").header("Content-Length", "320000").body(320_000, End::Length))
        .plain("/after")
        .close()
}

/// A body that is itself a conversation, as a capture served over HTTP would be.
fn lookalike_body() -> Scene {
    let body = "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nnoGET /x HTTP/1.1\r\n\r\n".repeat(40);
    Script::new("lookalike_body")
        .ask("GET", "/capture.txt")
        .server(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()))
        .server(body.clone())
        .expect(
            get("/capture.txt")
                .header("Content-Length", body.len().to_string())
                .body(body.len() as u64, End::Length),
        )
        .plain("/after")
        .close()
}

/// An answer before the request was read to its end.
fn too_large_413() -> Scene {
    Script::new("early_413")
        .client("POST /big HTTP/1.1\r\nHost: scene.example\r\nContent-Length: 100000\r\n\r\n")
        .client("x".repeat(1000))
        .server(
            "HTTP/1.1 413 Payload Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig",
        )
        .expect(
            Transaction::new("POST", "/big", 413, "Payload Too Large")
                .header("Connection", "close")
                .header("Content-Length", "3")
                .body(3, End::Length),
        )
        .server_closes()
}

/// A response to no request (RFC 9110 §15.5.9).
fn timeout_408() -> Scene {
    Script::new("unsolicited_408")
        .plain("/one")
        .server("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .expect(
            Transaction::new("", "", 408, "Request Timeout")
                .unsolicited()
                .header("Connection", "close")
                .header("Content-Length", "0")
                .body(0, End::Length),
        )
        .server_closes()
}

/// Responses before the end of their requests' heads; the connection goes on.
fn answered_in_heads() -> Scene {
    let mut script = Script::new("answered_in_heads");
    for (method, target, status, body) in [
        ("HEAD", "/1", 431, ""),
        ("HEAD", "/2", 408, ""),
        ("GET", "/3", 408, "0123456789"),
        ("GET", "/4", 431, "HTTP/1.1 2"),
    ] {
        let end = if body.is_empty() { End::None } else { End::Length };
        script = script
            .client(format!("{method} {target} HTTP/1.1\r\nHost: scene.example\r\nX-Long: "))
            .server(format!("HTTP/1.1 {status} No\r\nContent-Length: 10\r\n\r\n{body}"))
            .client("a\r\n\r\n")
            .expect(
                Transaction::new(method, target, status, "No")
                    .header("Content-Length", "10")
                    .body(body.len() as u64, end)
                    .flag("request_unfinished"),
            )
            .ask("HEAD", "/none")
            .server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            .expect(
                Transaction::new("HEAD", "/none", 200, "OK")
                    .header("Content-Length", "1000")
                    .body(0, End::None),
            )
            .plain("/between");
    }
    script
        .client("PUT /5 HTTP/1.1\r\nHost: scene.example\r\nContent-Length: 11\r\nX-Long: ")
        .server("HTTP/1.1 100 Continue\r\n\r\n")
        .client("a\r\n\r\nhello world")
        .server("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        .expect(
            Transaction::new("PUT", "/5", 201, "Created")
                .after(&[100])
                .header("Content-Length", "0")
                .body(0, End::Length),
        )
        .plain("/after")
        .close()
}

/// A stream that stays open; its event must not wait for an end.
fn server_sent_events() -> Scene {
    Script::new("server_sent_events")
        .ask("GET", "/events")
        .server("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        .server("data: 1\n\n")
        .step(Step::Pause(Duration::from_secs(4)))
        .server("data: 2\n\n")
        .expect({
            let mut open = get("/events").header("Content-Type", "text/event-stream");
            open.end = End::Open;
            open
        })
        .0
}

/// Several codings, and both kinds of length (RFC 9112 §6.3: chunked wins).
fn transfer_encodings() -> Scene {
    let chunked = "3\r\nabc\r\n0\r\n\r\n";
    Script::new("transfer_encodings")
        .ask("GET", "/list")
        .server(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{chunked}"))
        .expect(get("/list").header("Transfer-Encoding", "gzip, chunked").body(3, End::Chunked))
        .ask("GET", "/lines")
        .server(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n\
             {chunked}"
        ))
        .expect(
            get("/lines")
                .header("Transfer-Encoding", "gzip")
                .header("Transfer-Encoding", "chunked")
                .body(3, End::Chunked),
        )
        .ask("GET", "/both")
        .server(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
        ))
        .expect(
            get("/both")
                .header("Content-Length", "4")
                .header("Transfer-Encoding", "chunked")
                .body(3, End::Chunked),
        )
        .ask("GET", "/last")
        .server(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 4\r\n\r\nuntil close",
        )
        // The last coding is not chunked: the body ends with the connection.
        .expect(
            get("/last")
                .header("Transfer-Encoding", "gzip")
                .header("Content-Length", "4")
                .body(11, End::Close),
        )
        .server_closes()
}

fn methods() -> Scene {
    let mut script = Script::new("methods");
    for method in ["POST", "PUT", "PATCH", "PROPFIND", "M-SEARCH", "x!#$%&'*+-.^_`|~9"] {
        script = script
            .client(format!(
                "{method} /m HTTP/1.1\r\nHost: scene.example\r\nTransfer-Encoding: chunked\r\n\r\n\
                 4\r\nbody\r\n0\r\n\r\n"
            ))
            .server("HTTP/1.1 207 Multi-Status\r\nContent-Length: 2\r\n\r\nok")
            .expect(
                Transaction::new(method, "/m", 207, "Multi-Status")
                    .header("Content-Length", "2")
                    .body(2, End::Length),
            );
    }
    script.close()
}

/// Two requests are open when the server closes after the first.
fn no_longer_pipelined() -> Scene {
    Script::new("closed_behind_pipeline")
        .client("GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
        .server("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nA")
        .expect(
            get("/a")
                .header("Connection", "close")
                .header("Content-Length", "1")
                .body(1, End::Length),
        )
        .step(Step::Close(Side::Server))
        .step(Step::Close(Side::Client))
        .0
}
