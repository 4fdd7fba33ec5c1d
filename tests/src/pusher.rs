//! Clients that request as fast as a server answers: several connections, each with many requests in flight,
//! every target with a unique number, and all answered before the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::netns::Namespace;

/// How clients send requests.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// Number of connections, each with its own thread.
    pub connections: u32,
    /// Requests per write.
    pub depth: u32,
    /// Whether the next batch is sent before this one is answered.
    pub ahead: bool,
    /// Keeps the numbers of this run apart from those of other runs with the same server.
    pub run: u32,
}

/// Running clients; they end early only on an error.
#[derive(Debug)]
pub struct Pushing<'a> {
    answered: &'a AtomicU64,
}

impl Pushing<'_> {
    /// Responses received so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until `more` requests are answered.
    ///
    /// # Panics
    /// If that takes more than a minute.
    pub fn wait_for(&self, more: u64) {
        let until = self.answered() + more;
        let end = Instant::now() + Duration::from_secs(60);
        while self.answered() < until {
            assert!(Instant::now() < end, "{} of {until}", self.answered());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Push {
    /// Sends requests to `server` from inside `namespace` while `during` runs, then waits until all are
    /// answered. Returns their number.
    pub fn run<T>(
        self,
        namespace: &Namespace,
        server: SocketAddr,
        during: impl FnOnce(&Pushing<'_>) -> T,
    ) -> Result<(u64, T)> {
        let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
        let ended = std::thread::scope(|scope| {
            let clients = scope.spawn(|| {
                namespace.enter(|| {
                    std::thread::scope(|scope| {
                        let client = |number| {
                            let (stop, answered) = (&stop, &answered);
                            move || self.client(number, server, stop, answered)
                        };
                        let clients: Vec<_> = (0..self.connections)
                            .map(|number| scope.spawn(client(number)))
                            .collect();
                        clients
                            .into_iter()
                            .map(|client| client.join().expect("no panic in a client"))
                            .collect::<Result<Vec<()>>>()
                    })
                })
            });
            let during = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                during(&Pushing { answered: &answered })
            }));
            stop.store(true, Ordering::Relaxed);
            let clients = clients.join().expect("no panic among clients");
            match during {
                Ok(during) => clients.and_then(|clients| clients).map(|_| during),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })?;
        Ok((answered.load(Ordering::Relaxed), ended))
    }

    fn client(
        self,
        number: u32,
        server: SocketAddr,
        stop: &AtomicBool,
        answered: &AtomicU64,
    ) -> Result<()> {
        let mut stream = TcpStream::connect(server).context("connect")?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_nodelay(true)?;
        let mut asked = 0;
        let mut batch = |count: u32| -> String {
            let one = |_| {
                asked += 1;
                let (run, number) = (self.run, number);
                format!("GET /small.txt?{run}{number:02}{asked:08} HTTP/1.1\r\nHost: a\r\n\r\n")
            };
            (0..count).map(one).collect()
        };
        // All numbers have the same width, so all responses have the length of the first.
        stream.write_all(batch(1).as_bytes()).context("send")?;
        let mut first = vec![0; 64 << 10];
        let mut length = 0;
        let end = b"0123456789abcdef";
        while !first.get(..length).is_some_and(|got| got.ends_with(end)) {
            let room = first.get_mut(length..).context("a longer response")?;
            let got = stream.read(room).context("the first answer")?;
            anyhow::ensure!(got > 0, "the server closed");
            length += got;
        }
        answered.fetch_add(1, Ordering::Relaxed);
        let mut answers = vec![0; length * self.depth as usize];
        if self.ahead {
            stream.write_all(batch(self.depth).as_bytes())?;
        }
        loop {
            let last = stop.load(Ordering::Relaxed);
            if !(last && self.ahead) {
                stream.write_all(batch(self.depth).as_bytes()).context("send")?;
            }
            stream.read_exact(&mut answers).context("answers")?;
            anyhow::ensure!(answers.ends_with(end), "answers of other lengths");
            answered.fetch_add(u64::from(self.depth), Ordering::Relaxed);
            if last {
                return Ok(());
            }
        }
    }
}
