//! Conversations of which part was not seen: nothing false comes of them, and what is missing is
//! said.

use super::*;

fn switch(n: usize) -> Step {
    Step::server(format!("HTTP/1.1 101 OK\r\n{NUMBER}: {n}\r\n\r\n").into_bytes())
}

/// The transaction of a [`switch`].
fn switched(n: usize) -> Transaction {
    Transaction::new("GET", &format!("/{n}/"), 101, "OK")
        .header(NUMBER, n.to_string())
        .body(0, End::Tunnel)
}

/// Two requests, and their answers when both are there.
fn two_at_once(what: &'static str) -> Found {
    Found::new(
        what,
        closed(vec![get(0), get(1), ok(0, b""), ok(1, b"")]),
        vec![answered("GET", 0, 0), answered("GET", 1, 0)],
    )
}

#[test]
fn nothing_false_is_told() {
    let all = [
        two_at_once("neither the SYN nor the first of two requests was seen").seen(&[1, 2, 4]),
        Found::new(
            "a late first request, and a response whose beginning is lost",
            vec![
                get(0),
                ok(0, &[b'x'; 2231]),
                get(1),
                ok(1, b""),
                get(2),
                ok(2, b""),
            ],
            vec![
                answered("GET", 0, 2231),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
        )
        .cuts(&[40, 18, 578, 1645])
        .seen(&[1, 2, 5, 6, 7, 8, 3, 9]),
        Found::new(
            "a copy of the beginning after a late SYN-ACK and a hole",
            closed(vec![get(0), ok(0, b""), ok(1, b"")]),
            vec![answered("GET", 0, 0), answered("GET", 1, 0)],
        )
        .cuts(&[40, 47, 20])
        .seen(&[2, 3, 4, 1, 6, 4]),
        Found::new(
            "no payload was seen at all",
            vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            vec![answered("GET", 0, 0)],
        )
        .acked()
        .seen(&[2, 0, 4]),
        Found::new(
            "of a request no more was seen than the place after it",
            vec![get(0), ok(0, b"")],
            vec![answered("GET", 0, 0)],
        )
        .acked()
        .seen(&[4, 0, 6]),
        Found::new(
            "half of the first request and the 1xx that answered it are lost",
            closed(vec![
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
            ]),
            (0..5)
                .map(|n| answered("GET", n, if n == 2 { 15000 } else { 0 }).after(&[100]))
                .collect(),
        )
        .cuts(&[21, 7838])
        .acked()
        .seen(&[0, 1, 2, 4, 5, 7]),
        Found::new(
            "two requests were not seen, and the first was answered before the third",
            vec![
                get(0),
                ok(0, b""),
                get(1),
                Step::client(b"HEAD /2/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                ok(1, &[b'x'; 500]),
                ok(2, b""),
            ],
            vec![
                answered("GET", 0, 0),
                answered("GET", 1, 500),
                answered("HEAD", 2, 0),
            ],
        )
        .acked()
        .seen(&[0, 1, 2, 4, 5, 6, 8, 9]),
        Found::new(
            "a SYN is seen after its connection, and then a copy of the response",
            vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            vec![answered("GET", 0, 0)],
        )
        .cuts(&[40, 26])
        .seen(&[3, 4, 5, 6, 0, 4]),
        Found::new(
            "a request cut in its method, after an answer to one that was not seen",
            closed(vec![
                get(0),
                wait(),
                ok(0, b""),
                get(1),
                Step::client(b"HEAD /2/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                wait(),
                ok(1, b""),
                ok(2, b""),
            ]),
            vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0).after(&[100]),
                answered("HEAD", 2, 0),
            ],
        )
        .cuts(&[40, 21, 47, 1, 39, 41, 10, 11, 47, 47])
        .acked()
        .seen(&[
            2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 15,
        ]),
        Found::new(
            "a first request is copied after a tunnel's close, and so is the answer",
            closed(vec![
                get(0),
                switch(0),
                Step::client(vec![0xc3; 300]),
                Step::server(vec![0xc3; 300]),
            ]),
            vec![switched(0)],
        )
        .cuts(&[300])
        .seen(&[1, 2, 4, 6, 7, 8, 3, 4]),
        Found::new(
            "the second request, and the first answer again, after both FINs",
            closed(vec![get(0), ok(0, b""), get(1), ok(1, b"")]),
            vec![answered("GET", 0, 0), answered("GET", 1, 0)],
        )
        .cuts(&[40])
        .acked()
        .seen(&[1, 2, 4, 5, 6, 7, 11, 12, 13, 14, 8, 5]),
        Found::new(
            "part of a head is lost whose answer makes a tunnel",
            closed(vec![
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
                switch(1),
                Step::server(vec![0xc3; 300]),
            ]),
            vec![answered("GET", 0, 0), switched(1)],
        )
        .cuts(&[40, 47, 566, 1500, 1500, 4000])
        .seen(&[0, 1, 2, 3, 4, 5, 6, 9, 7]),
        Found::new(
            "the request is seen after the RST, and then the response again",
            vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            vec![answered("GET", 0, 0)],
        )
        .cuts(&[47])
        .seen(&[0, 1, 2, 4, 5, 3, 4]),
        Found::new(
            "the end of a body and the request of a tunnel are lost",
            closed(vec![
                get(0),
                ok(0, &[b'x'; 3500]),
                get(1),
                switch(1),
                Step::client(vec![0xc3; 300]),
                Step::server(vec![0xc3; 300]),
            ]),
            vec![answered("GET", 0, 3500), switched(1)],
        )
        .cuts(&[1000])
        .seen(&[0, 1, 2, 3, 4, 5, 6, 9]),
        Found::new(
            "the first request was not seen, and its answer is late",
            vec![
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
            vec![
                answered("GET", 0, 0).after(&[100]),
                Transaction::new("CONNECT", "db.example:443", 301, "OK")
                    .header(NUMBER, "1")
                    .header("Content-Length", "0")
                    .body(0, End::Length),
                answered("GET", 2, 0).after(&[100]),
            ],
        )
        .seen(&[0, 1, 2, 4, 6, 7, 8, 5]),
        Found::new(
            "an answer that had not received what seemed to be its turn",
            closed(vec![
                get(0),
                ok(0, b""),
                get(1),
                get(2),
                ok(1, &[b'x'; 3000]),
                ok(2, b""),
                Step::client(b"CONNECT db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
                Step::server(b"HTTP/1.1 200 OK\r\nX-Nr: 3\r\n\r\n".to_vec()),
            ]),
            vec![
                answered("GET", 0, 0),
                answered("GET", 1, 3000),
                answered("GET", 2, 0),
                Transaction::new("CONNECT", "db.example:443", 200, "OK")
                    .header(NUMBER, "3")
                    .body(0, End::Tunnel),
            ],
        )
        .seen(&[0, 1, 2, 6]),
        Found::new(
            "no handshake, and requests cut in their lines",
            closed(vec![
                get(0),
                get(1),
                get(2),
                wait(),
                ok(0, b""),
                ok(1, b""),
                ok(2, b""),
            ]),
            vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
        )
        .cuts(&[14, 26, 14, 26, 40, 1448, 1448])
        .seen(&[3, 4, 5, 6, 7]),
        Found::new(
            "no handshake: a first request cut after a byte, and part of a 1xx lost",
            closed(vec![
                get(0),
                get(1),
                long_wait(783),
                ok(0, b""),
                wait(),
                ok(1, b""),
                get(2),
                wait(),
                ok(2, b""),
            ]),
            vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0).after(&[100]),
                answered("GET", 2, 0).after(&[100]),
            ],
        )
        .cuts(&[1, 45, 223, 781])
        .seen(&[2, 3, 4, 5, 6]),
        Found::new(
            "no handshake: the second of three requests at once begins with a blank line",
            vec![
                get(0),
                Step::client(b"\r\nGET /1/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                get(2),
                long_wait(131),
                ok(0, b""),
                ok(1, b""),
                ok(2, b""),
                Step::Close(Side::Client),
                Step::Close(Side::Server),
            ],
            vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
        )
        .cuts(&[19, 24, 40, 28])
        .seen(&[3, 4, 5, 6, 7, 8, 9]),
        Found::new(
            "no handshake's answer: a tunnel's request cut after a byte",
            closed(vec![
                Step::client(b"HEAD /0/ HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec()),
                ok(0, b""),
                Step::client(b"CONNECT 1.db.example:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
                ok(1, b""),
                Step::client(vec![0xc3; 300]),
                Step::server(vec![0xc3; 300]),
            ]),
            vec![
                Transaction::new("HEAD", "/0/", 200, "OK")
                    .header(NUMBER, "0")
                    .header("Content-Length", "0")
                    .body(0, End::None),
                Transaction::new("CONNECT", "1.db.example:443", 200, "OK")
                    .header(NUMBER, "1")
                    .header("Content-Length", "0")
                    .body(0, End::Tunnel),
            ],
        )
        .isn([2_857_746_428, 0])
        .cuts(&[1, 99])
        .seen(&[0, 2]),
        two_at_once("the SYN was not seen, with which the first of two requests came")
            .fast_open()
            .cuts(&[40])
            .seen(&[1, 2]),
        two_at_once("no SYN-ACK was seen, and the first of two requests came with the SYN")
            .fast_open()
            .cuts(&[40])
            .seen(&[0, 2]),
        Found::new(
            "no handshake: the first request was not seen, and part of a 1xx is lost",
            closed(vec![get(0), get(1), long_wait(808), ok(0, b""), ok(1, b"")]),
            vec![answered("GET", 0, 0).after(&[100]), answered("GET", 1, 0)],
        )
        .cuts(&[19, 789, 40])
        .seen(&[5, 6, 8]),
        Found::new(
            "a whole exchange is seen the wrong way round after its RST",
            vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            vec![answered("GET", 0, 0)],
        )
        .cuts(&[4097])
        .acked()
        .seen(&[0, 1, 2, 4, 5, 6, 7, 3, 5]),
        Found::new(
            "the tail of a request is seen after the RST, and then the response again",
            vec![get(0), ok(0, b""), Step::Reset(Side::Server)],
            vec![answered("GET", 0, 0)],
        )
        .cuts(&[1, 48])
        .seen(&[5, 6, 4, 5]),
        Found::new(
            "the beginning is seen after what it begins, and its first response too",
            closed(vec![get(0), ok(0, b""), get(1), ok(1, b"")]),
            vec![answered("GET", 0, 0), answered("GET", 1, 0)],
        )
        .seen(&[2, 6, 1, 4]),
        Found::new(
            "the second request, then the SYN-ACK and the first",
            closed(vec![
                get(0),
                get(1),
                wait(),
                ok(0, b""),
                ok(1, b""),
                get(2),
                ok(2, b""),
            ]),
            vec![
                answered("GET", 0, 0).after(&[100]),
                answered("GET", 1, 0),
                answered("GET", 2, 0),
            ],
        )
        .cuts(&[3007, 948, 2, 2, 36, 22])
        .seen(&[2, 4, 1, 3]),
        Found::new(
            "a tunnel's request is seen after its FIN",
            closed(vec![
                get(0),
                switch(0),
                Step::client(vec![0xc3; 300]),
                Step::server(vec![0xc3; 300]),
            ]),
            vec![switched(0)],
        )
        .cuts(&[300])
        .seen(&[1, 2, 4, 5, 7, 3, 8]),
        Found::new(
            "the handshake comes after the response that it precedes, and a copy of that",
            vec![
                get(0),
                ok(0, b""),
                Step::Close(Side::Client),
                Step::Close(Side::Server),
            ],
            vec![answered("GET", 0, 0)],
        )
        .cuts(&[40, 47])
        .seen(&[2, 4, 1, 0, 3, 6, 4, 7]),
        Found::new(
            "a server's FIN is the first that a filter tells of its stream",
            vec![
                Step::client(pipelined(3)),
                Step::server([0, 1, 2].map(head).concat()),
                get(3),
                ok(3, b""),
                Step::Close(Side::Client),
                Step::Close(Side::Server),
            ],
            (0..4).map(|n| answered("GET", n, 0)).collect(),
        )
        .cuts(&[120, 1, 140, 40])
        .acked()
        .seen(&[0, 2, 4, 5, 6, 7, 8, 3, 9, 11, 12, 13, 10, 14]),
    ];
    for found in all {
        found.check(is_honest);
    }
}
