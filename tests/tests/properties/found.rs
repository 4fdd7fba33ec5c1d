//! What the properties have found: segments of a conversation in the order in which they are seen.

use super::*;
use http_trace_tests::generate::NUMBER;
use http_trace_tests::scene::{End, Side, Transaction};

fn get(n: usize) -> Step {
    Step::client(format!("GET /{n}/ HTTP/1.1\r\nHost: shop.example\r\n\r\n").into_bytes())
}

fn ok(n: usize, body: &[u8]) -> Step {
    let head = format!(
        "HTTP/1.1 200 OK\r\n{NUMBER}: {n}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Step::server([head.as_bytes(), body].concat())
}

fn wait() -> Step {
    Step::server(b"HTTP/1.1 100 Wait\r\n\r\n".to_vec())
}

/// A 1xx head of so many bytes.
fn long_wait(len: usize) -> Step {
    let filler = "v".repeat(len - 31);
    Step::server(format!("HTTP/1.1 100 Wait\r\nServer: {filler}\r\n\r\n").into_bytes())
}

fn answered(method: &str, n: usize, body: usize) -> Transaction {
    Transaction::new(method, &format!("/{n}/"), 200, "OK")
        .header(NUMBER, n.to_string())
        .header("Content-Length", body.to_string())
        .body(body as u64, End::Length)
}

fn pipelined(count: usize) -> Vec<u8> {
    let get = |n| format!("GET /{n}/ HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    (0..count).map(get).collect::<String>().into_bytes()
}

fn head(n: usize) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{NUMBER}: {n}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

struct Found {
    name: &'static str,
    steps: Vec<Step>,
    truth: Vec<Transaction>,
    /// Initial sequence numbers of client and server.
    isn: [u32; 2],
    cuts: &'static [usize],
    /// Numbers of the segments, in the order in which they are seen; then all that follow.
    seen: &'static [usize],
    /// The receiver acknowledges each run with an empty segment.
    acks: bool,
    /// Nothing is lost: the events must be the truth.
    whole: bool,
}

#[test]
fn holds_now() {
    let close = || [Step::Close(Side::Server), Step::Close(Side::Client)];
    let chunk = [b"3e8\r\n".as_slice(), &[b'x'; 1000], b"\r\n0\r\n\r\n"].concat();
    let post = b"POST /0/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let until_close = Transaction::new("GET", "/0/", 200, "OK").header(NUMBER, "0");
    let lookalike = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh";
    let all = [
        Found {
            name: "a body that was skipped before a hole is told",
            steps: [Step::client([post.as_slice(), &chunk].concat()), ok(0, b"")]
                .into_iter()
                .chain(close())
                .collect(),
            truth: vec![answered("POST", 0, 0)],
            isn: [0, 0],
            cuts: &[300],
            seen: &[0, 1, 2, 3, 4, 5, 7, 6],
            acks: false,
            whole: true,
        },
        Found {
            name: "a FIN overtakes the body that it ends",
            steps: [
                get(0),
                Step::server(
                    [
                        b"HTTP/1.1 200 OK\r\nX-Nr: 0\r\n\r\n".as_slice(),
                        &[b'x'; 74],
                    ]
                    .concat(),
                ),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![until_close.body(74, End::Close)],
            isn: [0, 0],
            cuts: &[40, 28, 74],
            seen: &[0, 1, 2, 3, 6, 4, 5],
            acks: false,
            whole: true,
        },
        Found {
            name: "a body like a response while the filter does not know the order",
            steps: [
                get(0),
                get(1),
                ok(0, lookalike),
                ok(1, b""),
                get(2),
                ok(2, b""),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 39),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
            isn: [0, 0],
            cuts: &[24, 4],
            seen: &[0, 1, 2, 3, 4, 5, 7, 6],
            acks: false,
            whole: true,
        },
        Found {
            name: "neither the SYN nor the first of two requests was seen",
            steps: [get(0), get(1), ok(0, b""), ok(1, b"")]
                .into_iter()
                .chain(close())
                .collect(),
            truth: vec![answered("GET", 0, 0), answered("GET", 1, 0)],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[1, 2, 4],
            acks: false,
            whole: false,
        },
        Found {
            name: "a late first request, and a response whose beginning is lost",
            steps: vec![
                get(0),
                ok(0, &[b'x'; 2231]),
                get(1),
                ok(1, b""),
                get(2),
                ok(2, b""),
            ],
            truth: vec![
                answered("GET", 0, 2231),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
            isn: [0, 0],
            cuts: &[40, 18, 578, 1645],
            seen: &[1, 2, 5, 6, 7, 8, 3, 9],
            acks: false,
            whole: false,
        },
        Found {
            name: "a copy after the close of a connection whose SYN-ACK came late",
            steps: [get(0), ok(0, b"")].into_iter().chain(close()).collect(),
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[0, 2, 1, 3, 4, 5, 6, 7, 4],
            acks: false,
            whole: true,
        },
        Found {
            name: "a copy of the beginning after a late SYN-ACK and a hole",
            steps: [get(0), ok(0, b""), ok(1, b"")]
                .into_iter()
                .chain(close())
                .collect(),
            truth: vec![answered("GET", 0, 0), answered("GET", 1, 0)],
            isn: [0, 0],
            cuts: &[40, 47, 20],
            seen: &[2, 3, 4, 1, 6, 4],
            acks: false,
            whole: false,
        },
        Found {
            name: "no payload was seen at all",
            steps: vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[2, 0, 4],
            acks: true,
            whole: false,
        },
        Found {
            name: "of a request no more was seen than the place after it",
            steps: vec![get(0), ok(0, b"")],
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[4, 0, 6],
            acks: true,
            whole: false,
        },
        Found {
            name: "half of the first request and the 1xx that answered it are lost",
            steps: [
                get(0),
                wait(),
                ok(0, b""),
                Step::client(b"\r\nGET /1/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                get(2),
                wait(),
                ok(1, b""),
                wait(),
                ok(2, &[b'x'; 15000]),
                get(3),
                wait(),
                ok(3, b""),
                get(4),
                wait(),
                ok(4, b""),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: (0..5)
                .map(|n| answered("GET", n, if n == 2 { 15000 } else { 0 }).after(&[100]))
                .collect(),
            isn: [0, 0],
            cuts: &[21, 7838],
            seen: &[0, 1, 2, 4, 5, 7],
            acks: true,
            whole: false,
        },
        Found {
            name: "two requests were not seen, and the first was answered before the third",
            steps: vec![
                get(0),
                ok(0, b""),
                get(1),
                Step::client(b"HEAD /2/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                ok(1, &[b'x'; 500]),
                ok(2, b""),
            ],
            truth: vec![
                answered("GET", 0, 0),
                answered("GET", 1, 500),
                answered("HEAD", 2, 0),
            ],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[0, 1, 2, 4, 5, 6, 8, 9],
            acks: true,
            whole: false,
        },
        Found {
            name: "a SYN is seen after its connection, and then a copy of the response",
            steps: vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[40, 26],
            seen: &[3, 4, 5, 6, 0, 4],
            acks: false,
            whole: false,
        },
        Found {
            name: "a request cut in its method, after an answer to one that was not seen",
            steps: [
                get(0),
                wait(),
                ok(0, b""),
                get(1),
                Step::client(b"HEAD /2/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                wait(),
                ok(1, b""),
                ok(2, b""),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0).after(&[100]),
                answered("HEAD", 2, 0),
            ],
            isn: [0, 0],
            cuts: &[40, 21, 47, 1, 39, 41, 10, 11, 47, 47],
            seen: &[
                2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 15,
            ],
            acks: true,
            whole: false,
        },
        Found {
            name: "a first request is copied after a tunnel's close, and so is the answer",
            steps: [
                get(0),
                Step::server(b"HTTP/1.1 101 OK\r\nX-Nr: 0\r\n\r\n".to_vec()),
                Step::client([0xc3; 300].to_vec()),
                Step::server([0xc3; 300].to_vec()),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                Transaction::new("GET", "/0/", 101, "OK")
                    .header(NUMBER, "0")
                    .body(0, End::Tunnel),
            ],
            isn: [0, 0],
            cuts: &[300],
            seen: &[1, 2, 4, 6, 7, 8, 3, 4],
            acks: false,
            whole: false,
        },
        Found {
            name: "the second request, and the first answer again, after both FINs",
            steps: [get(0), ok(0, b""), get(1), ok(1, b"")]
                .into_iter()
                .chain(close())
                .collect(),
            truth: vec![answered("GET", 0, 0), answered("GET", 1, 0)],
            isn: [0, 0],
            cuts: &[40],
            seen: &[1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 8, 5],
            acks: true,
            whole: false,
        },
        Found {
            name: "part of a head is lost whose answer makes a tunnel",
            steps: [
                get(0),
                ok(0, b""),
                Step::client(
                    [
                        b"GET /1/ HTTP/1.1\r\nServer: ".as_slice(),
                        &[b'v'; 5000],
                        b"\r\n\r\n",
                    ]
                    .concat(),
                ),
                Step::server(b"HTTP/1.1 101 OK\r\nX-Nr: 1\r\n\r\n".to_vec()),
                Step::server([0xc3; 300].to_vec()),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 0),
                Transaction::new("GET", "/1/", 101, "OK")
                    .header(NUMBER, "1")
                    .body(0, End::Tunnel),
            ],
            isn: [0, 0],
            cuts: &[40, 47, 566, 1500, 1500, 4000],
            seen: &[0, 1, 2, 3, 4, 5, 6, 9, 7],
            acks: false,
            whole: false,
        },
        Found {
            name: "the request is seen after the RST, and then the response again",
            steps: vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[47],
            seen: &[0, 1, 2, 4, 5, 3, 4],
            acks: false,
            whole: false,
        },
        Found {
            name: "the end of a body and the request of a tunnel are lost",
            steps: [
                get(0),
                ok(0, &[b'x'; 3500]),
                get(1),
                Step::server(b"HTTP/1.1 101 OK\r\nX-Nr: 1\r\n\r\n".to_vec()),
                Step::client([0xc3; 300].to_vec()),
                Step::server([0xc3; 300].to_vec()),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 3500),
                Transaction::new("GET", "/1/", 101, "OK")
                    .header(NUMBER, "1")
                    .body(0, End::Tunnel),
            ],
            isn: [0, 0],
            cuts: &[1000],
            seen: &[0, 1, 2, 3, 4, 5, 6, 9],
            acks: false,
            whole: false,
        },
        Found {
            name: "the first request was not seen, and its answer is late",
            steps: vec![
                get(0),
                wait(),
                ok(0, b""),
                Step::client(b"CONNECT db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
                Step::server(b"HTTP/1.1 301 OK\r\nX-Nr: 1\r\nContent-Length: 0\r\n\r\n".to_vec()),
                get(2),
                wait(),
                ok(2, b""),
                Step::Reset(Side::Server),
            ],
            truth: vec![
                answered("GET", 0, 0).after(&[100]),
                Transaction::new("CONNECT", "db.example:443", 301, "OK")
                    .header(NUMBER, "1")
                    .header("Content-Length", "0")
                    .body(0, End::Length),
                answered("GET", 2, 0).after(&[100]),
            ],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[0, 1, 2, 4, 6, 7, 8, 5],
            acks: false,
            whole: false,
        },
        Found {
            name: "an answer that had not received what seemed to be its turn",
            steps: [
                get(0),
                ok(0, b""),
                get(1),
                get(2),
                ok(1, &[b'x'; 3000]),
                ok(2, b""),
                Step::client(b"CONNECT db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
                Step::server(b"HTTP/1.1 200 OK\r\nX-Nr: 3\r\n\r\n".to_vec()),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 0),
                answered("GET", 1, 3000),
                answered("GET", 2, 0),
                Transaction::new("CONNECT", "db.example:443", 200, "OK")
                    .header(NUMBER, "3")
                    .body(0, End::Tunnel),
            ],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[0, 1, 2, 6],
            acks: false,
            whole: false,
        },
        Found {
            name: "no handshake, and requests cut in their lines",
            steps: [
                get(0),
                get(1),
                get(2),
                wait(),
                ok(0, b""),
                ok(1, b""),
                ok(2, b""),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
            isn: [0, 0],
            cuts: &[14, 26, 14, 26, 40, 1448, 1448],
            seen: &[3, 4, 5, 6, 7],
            acks: false,
            whole: false,
        },
        Found {
            name: "no handshake: a first request cut after a byte, and part of a 1xx lost",
            steps: [
                get(0),
                get(1),
                long_wait(783),
                ok(0, b""),
                wait(),
                ok(1, b""),
                get(2),
                wait(),
                ok(2, b""),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0).after(&[100]),
                answered("GET", 2, 0).after(&[100]),
            ],
            isn: [0, 0],
            cuts: &[1, 45, 223, 781],
            seen: &[2, 3, 4, 5, 6],
            acks: false,
            whole: false,
        },
        Found {
            name: "no handshake: the second of three requests at once begins with a blank line",
            steps: [
                get(0),
                Step::client(b"\r\nGET /1/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                get(2),
                long_wait(131),
                ok(0, b""),
                ok(1, b""),
                ok(2, b""),
            ]
            .into_iter()
            .chain([Step::Close(Side::Client), Step::Close(Side::Server)])
            .collect(),
            truth: vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
            isn: [0, 0],
            cuts: &[19, 24, 40, 28],
            seen: &[3, 4, 5, 6, 7, 8, 9],
            acks: false,
            whole: false,
        },
        Found {
            name: "no handshake's answer: a tunnel's request cut after a byte",
            steps: [
                Step::client(b"HEAD /0/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                ok(0, b""),
                Step::client(b"CONNECT 1.db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
                ok(1, b""),
                Step::client([0xc3; 300].to_vec()),
                Step::server([0xc3; 300].to_vec()),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                Transaction::new("HEAD", "/0/", 200, "OK")
                    .header(NUMBER, "0")
                    .header("Content-Length", "0")
                    .body(0, End::None),
                Transaction::new("CONNECT", "1.db.example:443", 200, "OK")
                    .header(NUMBER, "1")
                    .header("Content-Length", "0")
                    .body(0, End::Tunnel),
            ],
            isn: [2_857_746_428, 0],
            cuts: &[1, 99],
            seen: &[0, 2],
            acks: false,
            whole: false,
        },
        Found {
            name: "no handshake: the first request was not seen, and part of a 1xx is lost",
            steps: [get(0), get(1), long_wait(808), ok(0, b""), ok(1, b"")]
                .into_iter()
                .chain(close())
                .collect(),
            truth: vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0)],
            isn: [0, 0],
            cuts: &[19, 789, 40],
            seen: &[5, 6, 8],
            acks: false,
            whole: false,
        },
        Found {
            name: "a whole exchange is seen the wrong way round after its RST",
            steps: vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[4097],
            seen: &[0, 1, 2, 4, 5, 6, 7, 3, 5],
            acks: true,
            whole: false,
        },
        Found {
            name: "the tail of a request is seen after the RST, and then the response again",
            steps: vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[1, 48],
            seen: &[5, 6, 4, 5],
            acks: false,
            whole: false,
        },
        Found {
            name: "the beginning is seen after what it begins, and its first response too",
            steps: [get(0), ok(0, b""), get(1), ok(1, b"")]
                .into_iter()
                .chain(close())
                .collect(),
            truth: vec![answered("GET", 0, 0), answered("GET", 1, 0)],
            isn: [0, 0],
            cuts: &[1448],
            seen: &[2, 6, 1, 4],
            acks: false,
            whole: false,
        },
        Found {
            name: "the second request, then the SYN-ACK and the first",
            steps: [
                get(0),
                get(1),
                wait(),
                ok(0, b""),
                ok(1, b""),
                get(2),
                ok(2, b""),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
            isn: [0, 0],
            cuts: &[3007, 948, 2, 2, 36, 22],
            seen: &[2, 4, 1, 3],
            acks: false,
            whole: false,
        },
        Found {
            name: "a tunnel's request is seen after its FIN",
            steps: [
                get(0),
                Step::server(b"HTTP/1.1 101 OK\r\nX-Nr: 0\r\n\r\n".to_vec()),
                Step::client([0xc3; 300].to_vec()),
                Step::server([0xc3; 300].to_vec()),
            ]
            .into_iter()
            .chain(close())
            .collect(),
            truth: vec![
                Transaction::new("GET", "/0/", 101, "OK")
                    .header(NUMBER, "0")
                    .body(0, End::Tunnel),
            ],
            isn: [0, 0],
            cuts: &[300],
            seen: &[1, 2, 4, 5, 7, 3, 8],
            acks: false,
            whole: false,
        },
        Found {
            name: "the handshake comes after the response that it precedes, and a copy of that",
            steps: [get(0), ok(0, b"")]
                .into_iter()
                .chain([Step::Close(Side::Client), Step::Close(Side::Server)])
                .collect(),
            truth: vec![answered("GET", 0, 0)],
            isn: [0, 0],
            cuts: &[40, 47],
            seen: &[2, 4, 1, 0, 3, 6, 4, 7],
            acks: false,
            whole: false,
        },
        Found {
            name: "a server's FIN is the first that a filter tells of its stream",
            steps: vec![
                Step::client(pipelined(3)),
                Step::server([0, 1, 2].map(head).concat()),
                get(3),
                ok(3, b""),
                Step::Close(Side::Client),
                Step::Close(Side::Server),
            ],
            truth: (0..4).map(|n| answered("GET", n, 0)).collect(),
            isn: [0, 0],
            cuts: &[120, 1, 140, 40],
            seen: &[0, 2, 4, 5, 6, 7, 8, 3, 9, 11, 12, 13, 10, 14],
            acks: true,
            whole: false,
        },
    ];
    for found in all {
        let scene = Scene {
            name: found.name,
            steps: found.steps,
            truth: found.truth,
        };
        let layout = Layout {
            cuts: found.cuts.to_vec(),
            isn: found.isn,
            acks: found.acks,
            ..Layout::default()
        };
        let sent = segments(&scene, &layout);
        let rest = found.seen.iter().max().map_or(0, |n| n + 1)..sent.len();
        let mut seen: Vec<Segment> = found
            .seen
            .iter()
            .copied()
            .chain(rest)
            .map(|n| sent[n].clone())
            .collect();
        for (n, segment) in seen.iter_mut().enumerate() {
            segment.time_ns = layout.start_ns + n as u64 * layout.step_ns;
        }
        let frames = frames(&Path::v4(40_000), &seen);
        let runs = [plain(&frames), filtered(&frames, Faults::default()).0];
        for (judged, how) in runs.iter().zip(["all bytes", "filtered"]) {
            let result = if found.whole {
                is_truth(judged, &scene.truth)
            } else {
                is_honest(judged, &scene.truth)
            };
            assert_eq!(result, Ok(()), "{}: {how}", found.name);
            assert_eq!(judged.stats.filter_disagrees, 0, "{}: {how}", found.name);
        }
    }
}

/// The filter cannot have the flow for one segment, and a 1xx head is seen before its request: that
/// one is not the next response's.
#[test]
fn a_request_that_comes_after_its_first_head_is_not_the_next_ones() {
    let scene = Scene {
        name: "a 1xx head before its request",
        steps: vec![
            get(0),
            wait(),
            ok(0, b""),
            get(1),
            ok(1, b""),
            Step::Close(Side::Client),
            Step::Close(Side::Server),
        ],
        truth: vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0)],
    };
    let layout = Layout {
        cuts: vec![40],
        ..Layout::default()
    };
    let mut seen = segments(&scene, &layout);
    let request = seen.remove(3);
    seen.insert(5, request);
    let frames = frames(&Path::v4(40_000), &seen);
    for refuse_claim_every in 1..20 {
        let faults = Faults {
            refuse_claim_every,
            ..Faults::default()
        };
        let (some, _) = filtered_late(&frames, faults, &[Return::NEVER]);
        let honest = is_honest(&some, &scene.truth);
        assert_eq!(honest, Ok(()), "every {refuse_claim_every}");
    }
}
