//! Plays a scene on real sockets, both ends in lockstep: each write is read by the other end before the next
//! step, so that the order on the wire is that of the scene.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::netns::Namespace;
use crate::scene::{Scene, Side, Step};

/// Time limit of a step.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connection of a played scene, as the server's side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Played {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
    /// Both addresses as the client's side sees them; they differ if they are translated on the way.
    pub outside: (SocketAddr, SocketAddr),
}

/// A stage for scenes: a listener in one namespace, clients in another (or the same).
#[derive(Debug)]
pub struct Stage<'a> {
    client: &'a Namespace,
    listener: TcpListener,
    server: SocketAddr,
    front: SocketAddr,
    /// Clients of played scenes, as the server's side sees them.
    clients: Mutex<HashSet<SocketAddr>>,
}

impl<'a> Stage<'a> {
    /// Listens at `server` inside that namespace; clients come from the other.
    pub fn new(client: &'a Namespace, inside: &Namespace, server: SocketAddr) -> Result<Self> {
        let listener = inside.enter(|| TcpListener::bind(server))?.context("listen")?;
        let server = listener.local_addr()?;
        Ok(Stage { client, listener, server, front: server, clients: Mutex::default() })
    }

    /// Clients connect to `front`, which is translated on the way.
    pub fn behind(self, front: SocketAddr) -> Self {
        Stage { front, ..self }
    }

    /// Plays scenes one after another, those with pauses in parallel.
    pub fn play_all(&self, scenes: Vec<Scene>) -> Result<Vec<(Played, Scene)>> {
        let play = |scene: Scene| anyhow::Ok((self.play(&scene)?, scene));
        let pauses = |scene: &Scene| scene.steps.iter().any(|s| matches!(s, Step::Pause(_)));
        let (pausing, others): (Vec<_>, Vec<_>) = scenes.into_iter().partition(pauses);
        std::thread::scope(|scope| {
            let players: Vec<_> =
                pausing.into_iter().map(|scene| scope.spawn(move || play(scene))).collect();
            let mut played = others.into_iter().map(play).collect::<Result<Vec<_>>>()?;
            for player in players {
                let last = player.join();
                played.push(last.map_err(|_| anyhow::anyhow!("a player panicked"))??);
            }
            Ok(played)
        })
    }

    /// Plays `scene` on a new connection. What is still open at the end is closed.
    pub fn play(&self, scene: &Scene) -> Result<Played> {
        let mut ends = self.connect()?;
        for end in &ends {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(PATIENCE))?;
            end.set_write_timeout(Some(PATIENCE))?;
        }
        let played = Played {
            client: ends[1].peer_addr()?,
            server: self.server,
            outside: (ends[0].local_addr()?, self.front),
        };
        for (number, step) in scene.steps.iter().enumerate() {
            let failed = || format!("scene {}, step {number}", scene.name);
            match step {
                Step::Send(side, bytes) => {
                    hand_over(&mut ends, *side, bytes).with_context(failed)?
                }
                Step::Trickle(side, bytes) => {
                    for byte in bytes.iter() {
                        hand_over(&mut ends, *side, &[*byte]).with_context(failed)?;
                    }
                }
                Step::Pause(time) => std::thread::sleep(*time),
                Step::Close(side) => {
                    let (from, to) = (side.index(), side.peer().index());
                    ends[from].shutdown(std::net::Shutdown::Write).with_context(failed)?;
                    let mut rest = Vec::new();
                    ends[to].read_to_end(&mut rest).with_context(failed)?;
                    anyhow::ensure!(rest.is_empty(), "{}: unexpected {rest:?}", failed());
                }
                Step::Reset(side) => {
                    // Closing with zero linger time sends RST instead of FIN.
                    let [client, server] = ends;
                    let (resets, other) = match side {
                        Side::Client => (client, server),
                        Side::Server => (server, client),
                    };
                    rustix::net::sockopt::set_socket_linger(&resets, Some(Duration::ZERO))?;
                    drop(resets);
                    // The read fails once the other end has received the reset.
                    let _ = (&other).read(&mut [0]);
                    return Ok(played);
                }
            }
        }
        Ok(played)
    }

    /// Connects from a port that no scene used before: reports of two connections with one tuple could not be
    /// told apart. A port whose connection the server closed is free at once, and Linux changes where it
    /// searches for free ports every ten seconds.
    fn connect(&self) -> Result<[TcpStream; 2]> {
        // Held until connected, so that the accepted connection is the one that was connected.
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // Keeps used ports busy until a new one is found.
        let mut taken = Vec::new();
        loop {
            let connected = self.client.enter(|| TcpStream::connect(self.front))?;
            let ends = [connected.context("connect")?, self.listener.accept()?.0];
            if clients.insert(ends[1].peer_addr()?) {
                return Ok(ends);
            }
            taken.push(ends);
        }
    }
}

/// One end writes and the other reads everything, concurrently where it exceeds the buffers.
fn hand_over(ends: &mut [TcpStream; 2], side: Side, bytes: &[u8]) -> Result<()> {
    let [client, server] = ends;
    let (from, to) = match side {
        Side::Client => (client, server),
        Side::Server => (server, client),
    };
    let mut got = vec![0; bytes.len()];
    if bytes.len() <= 16 << 10 {
        from.write_all(bytes)?;
        to.read_exact(&mut got)?;
    } else {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| from.write_all(bytes));
            to.read_exact(&mut got)?;
            writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
            anyhow::Ok(())
        })?;
    }
    anyhow::ensure!(got == bytes, "other bytes came out");
    Ok(())
}
