//! The HTTP server of `--listen`: answers `/metrics`, `/healthz` and `/readyz` on its own thread. The run's
//! event loop supplies the numbers; it polls for requests a few times a second. A slow or hostile client
//! occupies one of a few connections, until it is the oldest of too many, and never blocks the loop.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::own_sockets::{Excluded, OwnSockets};
use crate::priority;
use crate::sync::lock;

/// Maximum concurrent connections: a further one closes the oldest, so that a probe is answered at once.
const MOST: usize = 32;
/// How long a connection is kept even so: a client that has just connected has yet to send its request.
const GRACE: Duration = Duration::from_millis(20);
/// Time limit of a connection, from first to last byte.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the loop may be busy before it counts as stuck.
const ALIVE: Duration = Duration::from_secs(3);
/// Maximum size of a request head in bytes.
const MOST_HEAD: usize = 8 << 10;

const TEXT: &str = "text/plain; charset=utf-8";
/// <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

type Answer = Arc<str>;
/// Asks the event loop for the numbers.
type Ask = SyncSender<oneshot::Sender<Answer>>;

/// The event loop's end of the server.
pub struct Listener {
    questions: Receiver<oneshot::Sender<Answer>>,
    health: Arc<Health>,
    pub at: SocketAddr,
    _excluded: Excluded,
}

struct Health {
    /// When the loop last polled.
    alive: Mutex<Instant>,
    /// Whether the programs are attached.
    ready: AtomicBool,
}

/// Refuses an unspecified address, without binding it.
pub fn check(at: SocketAddr) -> io::Result<()> {
    match at.ip().is_unspecified() {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "give one address of this host, so that the traffic of this port can be left out of the trace",
        )),
        false => Ok(()),
    }
}

impl Listener {
    /// Binds the port, excludes it from tracing, and starts answering; not ready yet.
    ///
    /// # Errors
    /// Those of bind(2), and an unspecified address.
    pub fn open(at: SocketAddr, own: &OwnSockets) -> io::Result<Self> {
        check(at)?;
        let listener = TcpListener::bind(at).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied if at.port() < 1024 => io::Error::new(
                error.kind(),
                "ports below 1024 need a capability that http-trace does not keep: choose another",
            ),
            _ => error,
        })?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        let excluded = own.exclude(at)?;
        let (ask, questions) = sync_channel(MOST);
        let health =
            Arc::new(Health { alive: Mutex::new(Instant::now()), ready: AtomicBool::new(false) });
        let shared = health.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        priority::spawn("listen", move || runtime.block_on(accept(listener, ask, shared)))?;
        Ok(Listener { questions, health, at, _excluded: excluded })
    }

    /// Marks the agent as ready: the programs are attached.
    pub fn ready(&self) {
        self.health.ready.store(true, Ordering::Relaxed);
    }

    /// Called by the loop: sends all waiting clients the same text, which is built once.
    pub fn answer(&self, text: impl FnOnce() -> String) {
        *lock(&self.health.alive) = Instant::now();
        let waiting: Vec<_> = self.questions.try_iter().collect();
        if waiting.is_empty() {
            return;
        }
        let text = Answer::from(text());
        for client in waiting {
            // The client has stopped waiting.
            let _ = client.send(text.clone());
        }
    }
}

impl Health {
    fn is_alive(&self) -> bool {
        lock(&self.alive).elapsed() < ALIVE
    }
}

/// Serves all connections. One beyond [`MOST`] closes the oldest, once that is no longer new.
async fn accept(listener: TcpListener, ask: Ask, health: Arc<Health>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut open: VecDeque<(Instant, AbortHandle)> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Most likely too many open files, which is temporary.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        open.retain(|(_, task)| !task.is_finished());
        if open.len() >= MOST
            && let Some((since, oldest)) = open.pop_front()
        {
            sleep(GRACE.saturating_sub(since.elapsed())).await;
            oldest.abort();
        }
        let (ask, health) = (ask.clone(), health.clone());
        let served = async move { timeout(PATIENCE, serve(stream, &ask, &health)).await };
        open.push_back((Instant::now(), tokio::spawn(served).abort_handle()));
    }
}

async fn serve(mut stream: TcpStream, ask: &Ask, health: &Health) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    let (status, kind, body) = answer(&head, ask, health).await;
    let fields = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(fields.as_bytes()).await?;
    if !head.starts_with(b"HEAD ") {
        stream.write_all(body.as_bytes()).await?;
    }
    Ok(())
}

/// Reads until the empty line after the header fields, or until [`MOST_HEAD`] bytes.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let n = stream.read_buf(&mut head).await?;
        let ends = memchr::memmem::find(&head, b"\r\n\r\n").is_some();
        if ends || n == 0 || head.len() > MOST_HEAD {
            return Ok(head);
        }
    }
}

/// Returns status, content type and content.
async fn answer(head: &[u8], ask: &Ask, health: &Health) -> (&'static str, &'static str, Answer) {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    // The absolute form, as to a proxy (RFC 9112 §3.2.2).
    let target = match target.strip_prefix(b"http://") {
        Some(rest) => &rest[rest.iter().position(|b| *b == b'/').unwrap_or(rest.len())..],
        None => target,
    };
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let said = |status, text: &str| (status, TEXT, Answer::from(text));
    let unavailable = |text: &str| said("503 Service Unavailable", text);
    if !matches!(method, Some(b"GET" | b"HEAD")) {
        return said("405 Method Not Allowed\r\nAllow: GET, HEAD", "only GET and HEAD\n");
    }
    match path {
        b"/healthz" if health.is_alive() => said("200 OK", "ok\n"),
        b"/healthz" | b"/readyz" if !health.is_alive() => {
            unavailable("the agent does not respond\n")
        }
        b"/readyz" if health.ready.load(Ordering::Relaxed) => said("200 OK", "ok\n"),
        b"/readyz" => unavailable("the programs are not attached yet\n"),
        b"/metrics" => match numbers(ask).await {
            Some(text) => ("200 OK", METRICS, text),
            None => unavailable("the agent is busy\n"),
        },
        _ => said("404 Not Found", "not found: want /metrics, /healthz or /readyz\n"),
    }
}

/// The numbers, if the loop supplies them in time.
async fn numbers(ask: &Ask) -> Option<Answer> {
    let (reply, answer) = oneshot::channel();
    ask.try_send(reply).ok()?;
    timeout(ALIVE, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;

    use super::*;

    fn ask(at: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(at).expect("a connection");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn listener() -> (Listener, SocketAddr) {
        let any = ([127, 0, 0, 1], 0).into();
        let listener = Listener::open(any, &OwnSockets::default()).expect("bind");
        let at = listener.at;
        (listener, at)
    }

    #[test]
    fn numbers_and_health_come_from_the_loop() {
        let (listener, at) = listener();
        assert!(ask(at, "GET /readyz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
        listener.ready();
        let answers = thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let paths = ["/metrics", "/healthz", "/readyz?verbose", "/", "/metrics"];
                paths.map(|path| ask(at, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")))
            });
            while !asked.is_finished() {
                listener.answer(|| "a_total 1\n".to_owned());
                thread::sleep(Duration::from_millis(5));
            }
            asked.join().expect("answers")
        });
        assert!(answers[0].starts_with("HTTP/1.1 200 OK\r\n"), "{answers:?}");
        assert!(answers[0].ends_with("\r\n\r\na_total 1\n"), "{answers:?}");
        assert!(answers[1].ends_with("\r\n\r\nok\n"), "{answers:?}");
        assert!(answers[2].starts_with("HTTP/1.1 200 "), "{answers:?}");
        assert!(answers[3].starts_with("HTTP/1.1 404 "), "{answers:?}");
        assert_eq!(answers[0], answers[4]);
        assert!(ask(at, "GET http://a:1/healthz HTTP/1.1\r\n\r\n").contains("200 OK"));
        assert!(ask(at, "GET http://a HTTP/1.1\r\n\r\n").contains("404 Not Found"));
        assert!(ask(at, "POST /metrics HTTP/1.1\r\n\r\n").contains("Allow: GET, HEAD"));
        let head = ask(at, "HEAD /healthz HTTP/1.1\r\n\r\n");
        assert!(head.contains("Content-Length: 3") && head.ends_with("\r\n\r\n"), "{head}");
    }

    /// Connects again and again, and treats each connection in this way until the server closes it.
    fn misbehave(at: SocketAddr, how: &str, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let Ok(mut stream) = TcpStream::connect(at) else { continue };
            let bytes = match how {
                "idle" => "",
                "slow" => "G",
                "huge" => &format!("GET /metrics HTTP/1.1\r\nA: {}", "a".repeat(1 << 20)),
                "deaf" => "GET /metrics HTTP/1.1\r\n\r\n",
                other => panic!("{other}"),
            };
            let _ = stream.set_read_timeout(Some(Duration::from_millis(100)));
            let mut is_open = stream.write_all(bytes.as_bytes()).is_ok();
            while is_open && !is_over.load(Ordering::Relaxed) {
                is_open = match how {
                    "deaf" => {
                        thread::sleep(Duration::from_millis(100));
                        stream.take_error().is_ok_and(|error| error.is_none())
                    }
                    _ => {
                        let read = stream.read(&mut [0]);
                        let has_time = read.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
                        has_time && (how != "slow" || stream.write_all(b"E").is_ok())
                    }
                };
            }
        }
    }

    #[test]
    fn probes_are_answered_within_a_second_whatever_other_clients_do() {
        let (listener, at) = listener();
        let is_over = AtomicBool::new(false);
        // More than a socket holds, so that a client that does not read blocks the writer.
        let text = "a_total 1\n".repeat(1 << 20);
        let mut took = thread::scope(|scope| {
            for how in ["idle", "slow", "huge", "deaf"] {
                for _ in 0..12 {
                    let is_over = &is_over;
                    scope.spawn(move || misbehave(at, how, is_over));
                }
            }
            let probes = scope.spawn(|| {
                let probe = || {
                    thread::sleep(Duration::from_millis(20));
                    let asked = Instant::now();
                    // Who probes asks again before it ends a service.
                    let mut answers = (0..3).map(|_| ask(at, "GET /healthz HTTP/1.1\r\n\r\n"));
                    assert!(answers.any(|answer| answer.starts_with("HTTP/1.1 200 ")));
                    asked.elapsed()
                };
                let took: Vec<_> = (0..100).map(|_| probe()).collect();
                is_over.store(true, Ordering::Relaxed);
                took
            });
            while !probes.is_finished() {
                listener.answer(|| text.clone());
                thread::sleep(Duration::from_millis(20));
            }
            is_over.store(true, Ordering::Relaxed);
            probes.join().expect("answers")
        });
        // A machine that is busy with something else may delay a few.
        took.sort_unstable();
        assert!(took[took.len() / 2] < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn an_address_that_stands_for_several_is_refused() {
        let any = "0.0.0.0:0".parse().expect("an address");
        assert!(Listener::open(any, &OwnSockets::default()).is_err());
    }
}
