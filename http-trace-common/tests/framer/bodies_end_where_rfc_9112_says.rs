//! Message framing by RFC 9112 §6.3: lengths, chunks, and responses without a body.

use http_trace_common::framer::{Framer, MethodKind, RequestQueue};

use crate::{OTHER, requests, response, run};

#[test]
fn response_bodies_by_rfc_9112_6_3() {
    response(
        &[OTHER, OTHER],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404\r\ncontent-length:0\r\n\r\n",
        &["begin-0", "Head 38", "head 200 to Other Length(5) []", "Body 5", "end", "begin-0", "Head 34",
          "head 404 to Other Length(0) []", "Idle"],
    );
    response(
        &[MethodKind::Head, OTHER],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        &[
            "begin-0", "Head 38", "head 200 to Head None []", "begin-0", "Head 19",
            "head 204 to Other None []", "Idle",
        ],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
        &["begin-0", "Head 25", "head 100 None []", "begin-0", "Head 27", "head 103 None []", "begin-0", "Head 37",
          "head 304 to Other None []", "Idle"],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5;x=y\r\nhello\r\n00\r\nT: 1\r\n\r\n",
        &["begin-0", "Head 53", "head 200 to Other Chunked []", "ChunkFraming 7", "Body 5", "ChunkFraming 6",
          "Trailers 8", "end", "Idle"],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc",
        &[
            "begin-0",
            "Head 53",
            "head 200 to Other Close [coding_not_chunked]",
            "Body 3",
            "UntilClose",
        ],
    );
    response(
        &[OTHER],
        b"HTTP/1.0 200 OK\r\n\r\nabc",
        &["begin-0", "Head 19", "head 200 to Other Close []", "Body 3", "UntilClose"],
    );
    response(
        &[OTHER],
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\x81\x05hello",
        &["begin-0", "Head 38", "head 101 to Other Tunnel []", "Ignored 7", "Opaque"],
    );
    response(
        &[MethodKind::Connect],
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\x16\x03\x01",
        &["begin-0", "Head 38", "head 200 to Connect Tunnel []", "Ignored 3", "Opaque"],
    );
    response(
        &[MethodKind::Connect],
        b"HTTP/1.1 407 No\r\nContent-Length: 3\r\n\r\nabc",
        &["begin-0", "Head 38", "head 407 to Connect Length(3) []", "Body 3", "end", "Idle"],
    );
}

#[test]
fn lengths() {
    let cases: &[(&str, &str)] = &[
        ("Content-Length: 3", "Length(3) []"),
        ("Content-Length:3", "Length(3) []"),
        ("Content-Length: \t3 \t", "Length(3) []"),
        ("CONTENT-LENGTH: 3", "Length(3) []"),
        ("Content-Length : 3", "Length(3) [space_before_colon]"),
        ("Content-Length: 3\r\nContent-Length: 3", "Length(3) [length_repeated]"),
        ("Content-Length: 3, 3", "Length(3) [length_repeated]"),
        ("Content-Length: 3\r\nContent-Length: 4", "Unknown [length_conflict]"),
        ("Content-Length: 3, 4", "Unknown [length_conflict]"),
        ("Content-Length: -3", "Unknown [length_invalid]"),
        ("Content-Length: +3", "Unknown [length_invalid]"),
        ("Content-Length:", "Unknown [length_invalid]"),
        ("Content-Length: 3 3", "Unknown [length_invalid]"),
        ("Content-Length: 0x3", "Unknown [length_invalid]"),
        ("Content-Length: 99999999999999999999999999", "Unknown [length_invalid]"),
        ("Content-Length: 003", "Length(3) []"),
        ("Content-Length:\r\n 3", "Length(3) [obs_fold]"),
        ("Content-Length: 3\r\n 4", "Unknown [obs_fold,length_invalid]"),
        ("X-Content-Length: 3", "Close []"),
        ("Content-Lengthy: 3", "Close []"),
        ("Content-Length2: 3", "Close []"),
        ("X: 1\r\n Content-Length: 3", "Close [obs_fold]"),
        ("Transfer-Encoding: chunked", "Chunked []"),
        ("Transfer-Encoding:chunked", "Chunked []"),
        ("transfer-encoding: CHUNKED ", "Chunked []"),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", "Chunked []"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: chunked;q=1", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: chunked,", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: chunkedx", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: xchunked", "Close [coding_not_chunked]"),
        ("Transfer-Encoding: gzip,\r\n chunked", "Chunked [obs_fold]"),
        ("Transfer-Encoding: identity", "Close []"),
        ("Transfer-Encoding: Identity \r\nContent-Length: 3", "Length(3) []"),
        ("Content-Length: 3\r\nTransfer-Encoding:\r\n identity", "Length(3) [obs_fold]"),
        ("Transfer-Encoding: identity, chunked", "Chunked []"),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "Chunked []"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Chunked []"),
        ("Transfer-Encoding: chunked, identity", "Close [coding_not_chunked]"),
        (
            "Transfer-Encoding: identityx\r\nContent-Length: 3",
            "Close [coding_and_length,coding_not_chunked]",
        ),
        (
            "Transfer-Encoding: identit\r\nContent-Length: 3",
            "Close [coding_and_length,coding_not_chunked]",
        ),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", "Chunked [coding_and_length]"),
        (
            "Content-Length: 3\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
            "Chunked [length_conflict,coding_and_length]",
        ),
        ("X: y\nContent-Length: 3", "Length(3) [bare_lf]"),
        ("X: y\rContent-Length: 3", "Close []"),
    ];
    for (fields, expected) in cases {
        let stream = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        let got = run(&mut Framer::new(), &mut requests(&[OTHER]), &[stream.as_bytes()]);
        let head = got.iter().find_map(|l| l.strip_prefix("head 200 to Other ")).unwrap_or("none");
        assert_eq!(head, *expected, "{fields:?}: {got:?}");
    }
}

#[test]
fn a_body_is_unbegun_until_its_first_byte() {
    let post = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (head, begun) in [(&post[..], &b"a"[..]), (chunked, b"2")] {
        let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
        run(&mut framer, &mut queue, &[head]);
        assert!(framer.is_body_unbegun());
        let mut refused = framer;
        refused.leave_out_body();
        let lines = run(&mut refused, &mut queue, &[b"GET / HTTP/1.1\r\n\r\n"]);
        assert_eq!(lines.last().map(String::as_str), Some("Idle"), "{lines:?}");
        assert!(!refused.is_body_unbegun());
        run(&mut framer, &mut queue, &[begun]);
        assert!(!framer.is_body_unbegun());
    }
    // Stepped over, it has begun as well; and a response's is never left out.
    let (mut framer, mut queue) = (Framer::new(), RequestQueue::new());
    run(&mut framer, &mut queue, &[post]);
    framer.skip(2);
    assert!(!framer.is_body_unbegun());
    let mut framer = Framer::new();
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    run(&mut framer, &mut requests(&[OTHER]), &[ok]);
    assert!(!framer.is_body_unbegun());
}
