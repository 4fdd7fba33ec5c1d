//! Connections with something other than HTTP/1.x, and HTTP/1.x that ends badly.

use super::Script;
use crate::scene::{End, Scene, Transaction};

pub(super) fn scenes() -> Vec<Scene> {
    vec![
        tls(),
        http_2(),
        http_09(),
        cut_length(),
        cut_until_close(),
        cut_chunk_size(),
        cut_chunk(),
        answer_to_nonsense(),
    ]
}

/// The first bytes of a TLS 1.3 handshake; nothing in it may be read as HTTP.
fn tls() -> Scene {
    let mut hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".to_vec();
    hello.extend((0..194_u32).map(|n| (n * 37 % 251) as u8));
    let mut answer = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03".to_vec();
    answer.extend((0..117_u32).map(|n| (n * 91 % 253) as u8));
    Script::new("tls")
        .client(hello)
        .server(answer)
        .client(&b"\x17\x03\x03\x00\x1bHTTP/1.1 200 OK\r\nServer: x"[..])
        .server(&b"\x17\x03\x03\x00\x13HTTP/1.1 200 OK\r\n\r\n"[..])
        .close()
}

/// HTTP/2 with prior knowledge (RFC 9113 §3.4): the preface looks like a request.
fn http_2() -> Scene {
    Script::new("http_2")
        .client(&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..])
        .server(&b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0"[..])
        .server(&b"\0\0\x01\x01\x05\0\0\0\x01\x88"[..])
        .close()
}

/// HTTP/0.9 has no status line, so there is no response to report.
fn http_09() -> Scene {
    Script::new("http_09")
        .client("GET /\r\n")
        .server("<html>HTTP/1.1 200 OK\r\n\r\n</html>")
        .server_closes()
}

fn cut_length() -> Scene {
    Script::new("cut_length")
        .ask("GET", "/cut")
        .server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
        .expect(
            Transaction::new("GET", "/cut", 200, "OK")
                .header("Content-Length", "1000")
                .body(9, End::Cut)
                .flag("length_mismatch"),
        )
        .server_closes()
}

fn cut_until_close() -> Scene {
    Script::new("cut_until_close")
        .ask("GET", "/cut")
        .server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nonly this")
        .expect(
            Transaction::new("GET", "/cut", 200, "OK")
                .header("Connection", "close")
                .body(9, End::Cut),
        )
        .server_resets()
}

/// Reset in the middle of a chunk's size line.
fn cut_chunk_size() -> Scene {
    Script::new("cut_chunk_size")
        .plain("/before")
        .ask("GET", "/cut")
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1")
        .expect(
            Transaction::new("GET", "/cut", 200, "OK")
                .header("Transfer-Encoding", "chunked")
                .body(5, End::Cut),
        )
        .server_resets()
}

fn cut_chunk() -> Scene {
    Script::new("cut_chunk")
        .ask("GET", "/cut")
        .server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this")
        .expect(
            Transaction::new("GET", "/cut", 200, "OK")
                .header("Transfer-Encoding", "chunked")
                .body(9, End::Cut),
        )
        .server_closes()
}

/// The first bytes are no request, so it is unknown which request the answer is for. Its first bytes tell its
/// body from a next message.
fn answer_to_nonsense() -> Scene {
    let body = "<html>".repeat(50);
    Script::new("answer_to_nonsense")
        .client("nonsense\r\n\r\n")
        .server(format!(
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 300\r\n\r\n{body}"
        ))
        .expect(
            Transaction::new("", "", 400, "Bad Request")
                .unsolicited()
                .header("Connection", "close")
                .header("Content-Length", "300")
                .body(300, End::Length),
        )
        .server_closes()
}
