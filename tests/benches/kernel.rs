//! What the programs cost the kernel: nanoseconds a packet by kind, over BPF_PROG_TEST_RUN, each
//! beside the cheapest packet of the same run. A measurement, not a test: it judges nothing.

use http_trace::probe::loader::Settings;
use http_trace::probe::test_run::TestRun;
use http_trace_common::record::Hook;
use http_trace_tests::need;
use http_trace_tests::scene::Side;
use http_trace_tests::tcp::{Path, Segment};

const PROGRAM: &str = "http_trace_in";
const REPEAT: u32 = 200_000;
const ROUNDS: usize = 5;

fn main() {
    if !need::root() {
        return need::skipped("root", "kernel ns per packet");
    }
    let settings = Settings::default();
    let mut repeating = settings.clone();
    repeating.filter.no_write_back = 1;

    println!("{:<34} {:>8} {:>10}", "packet", "bytes", "ns");
    for (name, before, frame) in kinds() {
        let mut seed = TestRun::new(&settings, Hook::Tc, PROGRAM).expect("load");
        for frame in &before {
            seed.push(frame, |_| {}).expect("test run");
        }
        let mut bench = TestRun::new(&repeating, Hook::Tc, PROGRAM).expect("load");
        bench.copy_flows(&seed).expect("same table");
        let mut best = u128::MAX;
        for _ in 0..ROUNDS {
            best = best.min(bench.time(&frame, REPEAT).expect("test run").as_nanos());
        }
        println!("{name:<34} {:>8} {best:>10}", frame.len());
    }
}

fn segment(from: Side, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
    Path::v4(40_000).frame(&Segment {
        time_ns: 0,
        from,
        seq,
        ack,
        syn: false,
        fin: false,
        rst: false,
        payload: payload.to_vec(),
    })
}

/// A response head of so many bytes.
fn head(len: usize) -> Vec<u8> {
    let mut head =
        b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Fri, 20 Nov 2026 08:00:00 GMT\r\n\
        Content-Type: text/html\r\nContent-Length: 612\r\nLast-Modified: Tue, 01 Jan 2026 00:00:00 \
        GMT\r\nConnection: keep-alive\r\nETag: \"63a5c0f8-264\"\r\nAccept-Ranges: bytes\r\n"
            .to_vec();
    let mut n = 0;
    while head.len() + 2 < len {
        let left = len - 2 - head.len();
        let line = format!("X-Header-{n}: ");
        let fill = left.saturating_sub(line.len() + 2).min(60);
        head.extend(line.bytes());
        head.extend(std::iter::repeat_n(b'x', fill));
        head.extend(b"\r\n");
        n += 1;
    }
    head.extend(b"\r\n");
    head
}

/// Name, the frames that bring the flow into its state, and the frame that is repeated.
fn kinds() -> Vec<(&'static str, Vec<Vec<u8>>, Vec<u8>)> {
    const CLIENT: u32 = 1_000;
    const SERVER: u32 = 5_000_000;
    let syn = |from, ack| Segment {
        time_ns: 0,
        from,
        seq: if from == Side::Client { CLIENT } else { SERVER },
        ack,
        syn: true,
        fin: false,
        rst: false,
        payload: Vec::new(),
    };
    let path = Path::v4(40_000);
    let handshake = vec![
        path.frame(&syn(Side::Client, 0)),
        path.frame(&syn(Side::Server, CLIENT + 1)),
    ];
    let (c, s) = (CLIENT + 1, SERVER + 1);
    let get = b"GET /index.html HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: wrk\r\n\r\n";
    let request = segment(Side::Client, c, s, get);
    let c2 = c + get.len() as u32;
    let mut asked = handshake.clone();
    asked.push(request.clone());
    let mut download = asked.clone();
    let large = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
    download.push(segment(Side::Server, s, c2, large));

    let mut pipelined = handshake.clone();
    pipelined.push(segment(Side::Client, c, s, &get.repeat(10)));
    let not_modified = b"HTTP/1.1 304 Not Modified\r\nServer: nginx\r\nETag: \"1\"\r\n\r\n";

    let mut udp = segment(Side::Client, c, s, get);
    udp[23] = 17;
    let mut chunked = asked.clone();
    chunked.push(segment(
        Side::Server,
        s,
        c2,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ));
    let after = |len: usize| s + len as u32;
    let chunks = b"10\r\n0123456789abcdef\r\n".repeat(20);
    let (head_235, head_973) = (head(235), head(973));
    let mut tls = vec![0x17, 3, 3, 4, 0];
    tls.resize(1_000, 0xa5);
    vec![
        ("UDP", vec![], udp),
        (
            "bare acknowledgement",
            download.clone(),
            segment(Side::Client, c2, s, b""),
        ),
        (
            "TLS data, not followed",
            vec![],
            segment(Side::Server, s, c, &tls),
        ),
        (
            "body, 1,000 bytes",
            download.clone(),
            segment(Side::Server, after(large.len()), c2, &[b'x'; 1_000]),
        ),
        (
            "copy, 1,000 bytes",
            download,
            segment(Side::Server, s, c2, large),
        ),
        ("request", handshake.clone(), request),
        (
            "response head, 235 bytes",
            asked.clone(),
            segment(Side::Server, s, c2, &head_235),
        ),
        (
            "response head, 973 bytes",
            asked.clone(),
            segment(Side::Server, s, c2, &head_973),
        ),
        (
            "ten heads in one skb",
            pipelined,
            segment(
                Side::Server,
                s,
                c2 + 9 * get.len() as u32,
                &not_modified.repeat(10),
            ),
        ),
        (
            "twenty chunks in one skb",
            chunked,
            segment(Side::Server, after(47), c2, &chunks),
        ),
    ]
}
