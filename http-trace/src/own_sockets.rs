//! The agent's own sockets, whose traffic is counted but never traced: otherwise exported alerts would become
//! new events.
//!
//! Code that opens a socket (a webhook, an exporter) takes an [`OwnSockets`] and connects through it, or
//! excludes the socket before its first byte. The eBPF programs look endpoints up before they first report a
//! connection. In a replay all of this has no effect.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
#[cfg(feature = "live")]
use std::net::TcpStream;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// How long an endpoint stays excluded after its socket was closed: packets in flight still belong to it.
const LINGER: Duration = Duration::from_secs(5);

/// Where exclusions are applied.
pub trait Table: fmt::Debug + Send {
    /// Excludes an endpoint.
    fn add(&mut self, local: SocketAddr) -> Result<(), String>;
    /// Ends an exclusion.
    fn remove(&mut self, local: SocketAddr);
}

/// All of the agent's own sockets. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnSockets(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    table: Option<Box<dyn Table>>,
    /// By local address: number of holders, and when the last one was dropped.
    endpoints: BTreeMap<SocketAddr, Endpoint>,
}

#[derive(Debug, Default)]
struct Endpoint {
    holders: usize,
    closed: Option<Instant>,
}

impl OwnSockets {
    /// Excludes the connections of a local endpoint until the returned value is dropped, and a few seconds
    /// more. The endpoint is that of a listener bound to one address, or of a client socket. A client that
    /// does not use [`OwnSockets::connect`] must call this before its first byte, with the socket's
    /// `local_addr()`; if bound to [`OwnSockets::source_of`] it can do so before it connects.
    ///
    /// # Errors
    /// If the address or port is unspecified, or if the kernel's table is full (1,024 endpoints).
    pub fn exclude(&self, local: SocketAddr) -> io::Result<Excluded> {
        if local.ip().is_unspecified() || local.port() == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{local} names no endpoint: bind the socket to one address and port first"),
            ));
        }
        let local = canonical(local);
        let mut state = lock(&self.0);
        state.sweep(Instant::now());
        if !state.endpoints.contains_key(&local)
            && let Some(table) = &mut state.table
        {
            table.add(local).map_err(|why| refused(local, &why))?;
        }
        let endpoint = state.endpoints.entry(local).or_default();
        endpoint.holders += 1;
        endpoint.closed = None;
        Ok(Excluded { sockets: self.clone(), local })
    }

    /// Opens a connection to `to` that is not traced at all, not even a failed attempt. Sends without delay: the end
    /// of a request must not wait until its beginning is acknowledged.
    ///
    /// # Errors
    /// Those of connect(2) and [`OwnSockets::exclude`]; `TimedOut` after `timeout`.
    #[cfg(feature = "live")]
    pub fn connect(&self, to: SocketAddr, timeout: Duration) -> io::Result<(TcpStream, Excluded)> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

        let source = SocketAddr::new(Self::source_of(to)?, 0);
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &source)?;
        let stream = TcpStream::from(socket);
        let excluded = self.exclude(stream.local_addr()?)?;
        // On Linux the send timeout also applies to connect (socket(7)).
        sockopt::set_socket_timeout(&stream, sockopt::Timeout::Send, Some(timeout))?;
        match rustix::net::connect(&stream, &to) {
            Ok(()) => {}
            Err(rustix::io::Errno::INPROGRESS | rustix::io::Errno::AGAIN) => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error.into()),
        }
        stream.set_write_timeout(None)?;
        stream.set_nodelay(true)?;
        Ok((stream, excluded))
    }

    /// The source address of a connection to `to`, for binding a socket.
    pub fn source_of(to: SocketAddr) -> io::Result<IpAddr> {
        // Connecting a datagram socket does a route lookup and sends nothing.
        let any: SocketAddr =
            if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        Ok(socket.local_addr()?.ip())
    }

    /// Applies exclusions in `table` from now on, including existing ones.
    pub fn set_table(&self, mut table: Box<dyn Table>) -> io::Result<()> {
        let mut state = lock(&self.0);
        for local in state.endpoints.keys() {
            table.add(*local).map_err(|why| refused(*local, &why))?;
        }
        state.table = Some(table);
        Ok(())
    }

    /// Forgets endpoints whose sockets were closed a while ago. Call it periodically.
    pub fn sweep(&self, now: Instant) {
        lock(&self.0).sweep(now);
    }
}

impl State {
    fn sweep(&mut self, now: Instant) {
        let table = &mut self.table;
        self.endpoints.retain(|local, endpoint| {
            let keep =
                endpoint.closed.is_none_or(|closed| now.saturating_duration_since(closed) < LINGER);
            if !keep && let Some(table) = table {
                table.remove(*local);
            }
            keep
        });
    }
}

/// Excludes an endpoint until dropped.
#[derive(Debug)]
pub struct Excluded {
    sockets: OwnSockets,
    local: SocketAddr,
}

impl Drop for Excluded {
    fn drop(&mut self) {
        let mut state = lock(&self.sockets.0);
        if let Some(endpoint) = state.endpoints.get_mut(&self.local) {
            endpoint.holders = endpoint.holders.saturating_sub(1);
            if endpoint.holders == 0 {
                endpoint.closed = Some(Instant::now());
            }
        }
    }
}

/// The address on the wire: an IPv6 socket that uses IPv4 sends from an IPv4 address.
fn canonical(local: SocketAddr) -> SocketAddr {
    SocketAddr::new(local.ip().to_canonical(), local.port())
}

fn refused(local: SocketAddr, why: &str) -> io::Error {
    io::Error::other(format!("cannot exclude the agent's socket {local} from the trace ({why})"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Fake(Arc<Mutex<BTreeSet<SocketAddr>>>);

    impl Table for Fake {
        fn add(&mut self, local: SocketAddr) -> Result<(), String> {
            let mut set = self.0.lock().expect("not poisoned");
            if set.len() >= 2 {
                return Err("full".to_owned());
            }
            set.insert(local);
            Ok(())
        }
        fn remove(&mut self, local: SocketAddr) {
            self.0.lock().expect("not poisoned").remove(&local);
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an endpoint")
    }

    #[test]
    fn an_endpoint_stays_excluded_while_held_and_a_little_longer() {
        let (own, fake) = (OwnSockets::default(), Fake::default());
        let has = |text: &str| fake.0.lock().expect("not poisoned").contains(&at(text));
        let early = own.exclude(at("10.0.0.1:1000")).expect("excluded");
        own.set_table(Box::new(fake.clone())).expect("room");
        assert!(has("10.0.0.1:1000"), "what was excluded before the table");
        let mapped = own.exclude(at("[::ffff:10.0.0.1]:1000")).expect("the same");
        drop(early);
        own.sweep(Instant::now() + LINGER);
        assert!(has("10.0.0.1:1000"), "somebody still holds it");
        drop(mapped);
        own.sweep(Instant::now());
        assert!(has("10.0.0.1:1000"), "bytes may be on their way");
        own.sweep(Instant::now() + LINGER);
        assert!(!has("10.0.0.1:1000") && lock(&own.0).endpoints.is_empty());
    }

    #[cfg(feature = "live")]
    #[test]
    fn connections_send_without_delay() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = listener.local_addr().expect("bound");
        let (stream, _held) =
            OwnSockets::default().connect(to, Duration::from_secs(10)).expect("connected");
        assert!(stream.nodelay().expect("an option"));
    }

    #[test]
    fn what_cannot_be_excluded_is_refused_by_name() {
        let own = OwnSockets::default();
        for nowhere in ["0.0.0.0:80", "[::]:80", "127.0.0.1:0"] {
            let error = own.exclude(at(nowhere)).expect_err("no endpoint");
            assert!(error.to_string().contains("names no endpoint"), "{error}");
        }
        own.set_table(Box::new(Fake::default())).expect("empty");
        let _held = [1, 2].map(|port| own.exclude(([127, 0, 0, 1], port).into()).expect("room"));
        let error = own.exclude(at("127.0.0.1:3")).expect_err("full");
        assert!(
            error.to_string().starts_with("cannot exclude the agent's socket 127.0.0.1:3"),
            "{error}"
        );
        assert_eq!(lock(&own.0).endpoints.len(), 2);
    }
}
