//! Servers that answer, hang, refuse, or violate the protocol.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use http::{Response, StatusCode};
use tokio::runtime;

use super::*;
use crate::grpc::of_http;

/// Starts a server on a separate thread: each connection is passed to `serve`, in order.
fn listen(serve: impl Fn(TcpStream) + Send + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    let server = Server { host: "127.0.0.1".to_owned(), port, tls: false };
    Client::new(server, OwnSockets::default())
}

/// What a server received: connection number, path, header fields and body.
type Got = (usize, String, HeaderMap, Vec<u8>);

/// An HTTP/2 server whose streams may send `window` bytes at a time, and which responds with this body and
/// these trailers. It closes each connection after `calls` calls.
fn grpc(
    window: u32,
    calls: usize,
    body: &'static [u8],
    trailers: &'static [(&'static str, &'static str)],
) -> (Client, Receiver<Got>) {
    let (tell, got) = channel();
    let connections = std::sync::atomic::AtomicUsize::new(0);
    let client = listen(move |stream| {
        let n = connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        stream.set_nonblocking(true).expect("a socket");
        runtime.expect("a runtime").block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
            let mut server = h2::server::Builder::new();
            server.initial_window_size(window);
            let mut connection = server.handshake::<_, Bytes>(stream).await.expect("HTTP/2");
            let mut left = calls;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let (head, mut sent) = request.into_parts();
                    let mut all = Vec::new();
                    while let Some(Ok(data)) = sent.data().await {
                        all.extend_from_slice(&data);
                        let _ = sent.flow_control().release_capacity(data.len());
                    }
                    let _ = tell.send((n, head.uri.path().to_owned(), head.headers, all));
                    let mut stream = respond.send_response(Response::new(()), false).expect("open");
                    stream.send_data(body.into(), false).expect("open");
                    let pair = |(name, value): &(&'static str, &'static str)| {
                        (name.parse().expect("a name"), value.parse().expect("a value"))
                    };
                    let trailers: HeaderMap = trailers.iter().map(pair).collect();
                    let _ = stream.send_trailers(trailers);
                });
                left -= 1;
                if left == 0 {
                    connection.graceful_shutdown();
                }
            }
        });
    });
    (client, got)
}

fn call(client: &mut Client, message: &[u8]) -> io::Result<Answer> {
    call_within(client, message, Duration::from_secs(20))
}

fn call_within(client: &mut Client, message: &[u8], limit: Duration) -> io::Result<Answer> {
    client.call("/a.B/C", &HeaderMap::new(), message, false, Instant::now() + limit)
}

#[test]
fn calls_arrive_whole_however_little_a_server_takes_at_once() {
    let (mut client, got) = grpc(100, 9, b"\0\0\0\0\x02hi", &[("grpc-status", "0")]);
    let long = b"0123456789".repeat(20_000);
    let mut headers = HeaderMap::new();
    headers.insert("x-token", "5".parse().expect("a value"));
    for (message, gzip) in [(&b"short"[..], false), (&long[..], true)] {
        let deadline = Instant::now() + Duration::from_secs(20);
        let answer = client.call("/a.B/C", &headers, message, gzip, deadline);
        let answer = answer.expect("an answer");
        assert_eq!((answer.code, &answer.message[..]), (0, &b"hi"[..]));
        let (connection, path, got, sent) = got.recv().expect("it came");
        assert_eq!((connection, path.as_str()), (0, "/a.B/C"));
        assert_eq!(got["content-type"], "application/grpc");
        assert_eq!(got["te"], "trailers");
        assert_eq!(got["x-token"], "5");
        assert_eq!(got.get("grpc-encoding").is_some(), gzip);
        let [zipped, a, b, c, d, sent @ ..] = &sent[..] else { panic!("a message") };
        assert_eq!(*zipped, u8::from(gzip));
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        assert!(length == sent.len() && sent == message);
    }
}

#[test]
fn a_server_that_has_left_is_called_anew() {
    let (mut client, got) = grpc(100, 1, b"\0\0\0\0\0", &[("grpc-status", "0")]);
    for n in 0..3 {
        assert_eq!(call(&mut client, b"x").expect("an answer").code, 0);
        assert_eq!(got.recv().expect("it came").0, n);
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_not_said_to_be_well_is_not() {
    for (body, trailers, code, message) in [
        (&b"\0\0\0\0\x01a"[..], &[][..], 2, &b"a"[..]),
        (b"", &[("grpc-status", "x")], 2, b""),
        (b"", &[("grpc-status", "14"), ("grpc-message", "later")], 14, b""),
        (b"", &[("grpc-status", "0")], 13, b""),
        (b"\0\0\0\0\x09cut", &[("grpc-status", "0")], 13, b""),
        (b"\0\0\0\0\x01ab", &[("grpc-status", "0")], 13, b""),
        (b"\x01\0\0\0\x01z", &[("grpc-status", "0")], 13, b""),
        (b"\0\xff\xff\xff\xffz", &[("grpc-status", "0")], 13, b""),
    ] {
        let (mut client, _got) = grpc(100, 9, body, trailers);
        let answer = call(&mut client, b"x").expect("an answer");
        assert_eq!((answer.code, &answer.message[..]), (code, message), "{body:?}");
    }
}

#[test]
fn statuses_of_http_are_those_of_gateways() {
    for (status, expected) in [(401, 16), (404, 12), (429, 14), (503, 14), (500, 2), (302, 2)] {
        let status = StatusCode::from_u16(status).expect("one");
        assert_eq!(of_http(status).code, expected, "{status}");
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head[..], payload].concat()
}

/// Each of these causes an error by the deadline, with bounded memory ([`LARGEST`]).
#[test]
fn what_hangs_refuses_or_lies_is_an_error_in_time() {
    let settings = frame(4, 0, 0, &[]);
    let then = |rest: &[Vec<u8>]| [&settings[..], &rest.concat()].concat();
    let ok = frame(1, 4, 1, &[0x88]);
    for (name, bytes, again) in [
        ("nothing", Vec::new(), 0),
        ("settings", settings.clone(), 0),
        ("HTTP/1", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(), 1),
        ("garbage", vec![0xff; 4096], 1),
        ("no window", frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]), 0),
        ("no streams", frame(4, 0, 0, &[0, 3, 0, 0, 0, 0]), 0),
        ("reset", then(&[frame(3, 0, 1, &[0, 0, 0, 7])]), 0),
        ("goodbye", then(&[frame(7, 0, 0, &[0; 8])]), 0),
        ("an overflow", then(&[frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]), 0),
        ("a long answer", then(&[ok.clone(), frame(0, 0, 1, &[0; 16384])]), 9),
        ("endless headers", then(&[frame(1, 0, 1, &[0x88])]), 100_000),
        ("endless pings", settings.clone(), 100_001),
        ("no trailers", then(&[ok, frame(0, 0, 1, b"")]), 0),
    ] {
        let mut client = listen(move |mut stream| {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&bytes);
            for _ in 0..again {
                let more = match again {
                    9 => frame(0, 0, 1, &[0; 16384]),
                    100_000 => frame(9, 0, 1, b"\x00\x01a\x01b"),
                    100_001 => frame(6, 0, 0, &[0; 8]),
                    _ => Vec::new(),
                };
                if stream.write_all(&more).is_err() {
                    return;
                }
            }
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            while again != 1 && stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
        });
        let begun = Instant::now();
        let called = call_within(&mut client, &[b'x'; 100_000], Duration::from_millis(500));
        assert!(called.is_err(), "{name}: {called:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{name}");
    }
    let mut nobody = Client::new(
        Server { host: "127.0.0.1".to_owned(), port: 1, tls: false },
        OwnSockets::default(),
    );
    assert!(call(&mut nobody, b"x").is_err());
}
